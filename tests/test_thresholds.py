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
)

numbers = st.one_of(st.integers(0, 1000), st.floats(0, 1000))


@st.composite
def thresholds(draw):
    k, a, b, c, d = (draw(numbers) for _ in range(5))
    return ThresholdVariables(k, min(a, b), max(a, b), min(c, d), max(c, d))


@given(thresholds())
def test_round_trips(variables):
    assert ThresholdVariables.from_json(variables.to_json()) == variables
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


@pytest.mark.parametrize(
    "wrong", [{"window_hours": 100}, {"window_hours": 0}, {"weekday_weight": 1.5}, {"bursty_rate": 0.1}]
)
def test_constants_out_of_range_are_refused(wrong):
    with pytest.raises(SettingsError):
        FormulaConstants(**wrong)
