import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from issue_analytics.errors import SettingsError
from issue_analytics.thresholds import (
    LOOSER,
    NAMED,
    STANDARD,
    TIGHTER,
    FormulaConstants,
    ThresholdVariables,
    load_thresholds,
)

numbers = st.one_of(st.integers(0, 1000), st.floats(0, 1000))


@st.composite
def thresholds(draw):
    k, a, b, c, d = (draw(numbers) for _ in range(5))
    return ThresholdVariables(k, min(a, b), max(a, b), min(c, d), max(c, d))


@given(thresholds())
def test_round_trips(variables):
    assert ThresholdVariables.from_json(variables.to_json()) == variables
    assert ThresholdVariables.from_toml(variables.to_toml()) == variables
    assert ThresholdVariables.from_dict(variables.to_dict()) == variables
    assert ThresholdVariables.from_json(variables.to_json()).digest == variables.digest


def test_named_sets_are_the_published_ones():
    assert [list(known.to_dict().values()) for known in (STANDARD, LOOSER, TIGHTER)] == [
        [5, 5, 8, 2, 5], [6, 5, 9, 2, 6], [4, 4, 7, 2, 4],
    ]  # fmt: skip
    assert [known.name for known in NAMED.values()] == list(NAMED)
    assert ThresholdVariables(1, 1, 1, 1, 1).name is None


@pytest.mark.parametrize("name", list(STANDARD.to_dict()))
@pytest.mark.parametrize("nonsense", [-1, float("nan"), float("inf"), "5", None, True, 1001, 1e300, 10**400])
def test_nonsense_is_refused(name, nonsense):
    with pytest.raises(SettingsError, match=name):
        ThresholdVariables(**{**STANDARD.to_dict(), name: nonsense})


def test_a_minimum_above_its_maximum_is_refused():
    with pytest.raises(SettingsError, match="min_spike_multiplier 9 is above max_spike_multiplier 8"):
        ThresholdVariables(min_spike_multiplier=9)
    with pytest.raises(SettingsError, match="min_bursty_multiplier"):
        ThresholdVariables(max_bursty_multiplier=1)


def test_the_digest_is_short_stable_and_tells_settings_apart():
    assert STANDARD.digest == "9d2bd171"
    assert len({known.digest for known in NAMED.values()}) == 3
    again = subprocess.run(
        [sys.executable, "-c", "from issue_analytics.thresholds import STANDARD; print(STANDARD.digest)"],
        capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "12345"},
    )  # fmt: skip
    assert again.stdout.strip() == STANDARD.digest


def test_thresholds_from_files(tmp_path):
    (tmp_path / "mine.toml").write_text("[thresholds]\nstd_multiplier = 4.5\n")
    assert load_thresholds(tmp_path / "mine.toml") == ThresholdVariables(std_multiplier=4.5)
    (tmp_path / "bare.toml").write_text("std_multiplier = 4.5\n")
    assert load_thresholds(tmp_path / "bare.toml") == ThresholdVariables(std_multiplier=4.5)
    (tmp_path / "mine.json").write_text(json.dumps({"max_spike_multiplier": 12}))
    assert load_thresholds(str(tmp_path / "mine.json")) == ThresholdVariables(max_spike_multiplier=12)
    assert load_thresholds("STANDARD") is STANDARD


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "std_multiplier = ", "not TOML"),
        ("a.json", "{", "not JSON"),
        ("a.json", "[5]", "JSON object"),
        ("a.json", '{"std_multiplier": ' + "9" * 5000 + "}", "not JSON"),
        ("a.json", "[" * 100_000, "not JSON"),
        ("a.toml", "sdt_multiplier = 5", "no setting sdt_multiplier. There are: std_multiplier"),
        ("a.toml", "std_multiplier = nan", "not a finite number"),
        ("a.toml", "thresholds = 5", "expected a table"),
    ],
)
def test_bad_files_are_named_with_the_reason(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        load_thresholds(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(SettingsError, match="standard, looser, tighter"):
        load_thresholds("standart")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_thresholds("absent.toml")


@pytest.mark.parametrize(
    "wrong", [{"window_hours": 100}, {"window_hours": 0}, {"weekday_weight": 1.5}, {"bursty_rate": 0.1}]
)
def test_constants_out_of_range_are_refused(wrong):
    with pytest.raises(SettingsError):
        FormulaConstants(**wrong)
