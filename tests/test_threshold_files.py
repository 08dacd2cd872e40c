"""Sets of thresholds as files: what is written is read back, and an edit by hand shows."""

import json
import pickle
import re
import resource
import tempfile
import tomllib
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from issue_analytics.errors import DatasetError, SettingsError
from issue_analytics.scores.strata import STRATA
from issue_analytics.threshold_files import (
    SEGMENTS,
    ThresholdSet,
    load_thresholds,
    read_threshold_set,
    write_thresholds,
)
from issue_analytics.thresholds import LOOSER, NAMED, STANDARD, TIGHTER, ThresholdVariables

OTHER = ThresholdVariables(4.1, 4, 7, 1.75, 5)

numbers = st.one_of(st.integers(0, 1000), st.floats(0, 1000))
texts = st.text(st.characters(exclude_categories=["Cs"]))
offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
facts = st.one_of(
    texts,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.dates(),
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=offsets),  # noqa: DTZ001 - zones are drawn
)


@st.composite
def variables(draw):
    k, a, b, c, d = (draw(numbers) for _ in range(5))
    return ThresholdVariables(k, min(a, b), max(a, b), min(c, d), max(c, d))


@st.composite
def sets(draw):
    by = draw(st.sampled_from([None, *SEGMENTS]))
    values = st.none() | st.integers(0, 2**63 - 1) if by in ("project_id", "type") else texts
    own = {} if by is None else draw(st.dictionaries(values, variables(), max_size=4))
    provenance = draw(st.dictionaries(texts, facts, max_size=6))
    return ThresholdSet(thresholds=draw(variables()), provenance=provenance, by=by, segments=own)


def write(path, made, **options):
    return write_thresholds(
        path, made.thresholds, provenance=made.provenance, by=made.by, segments=made.segments, **options
    )


# ---- what is written is read ---- #


@settings(deadline=None)
@given(sets())
@example(
    ThresholdSet(thresholds=STANDARD, provenance={"": "", '"': "\\", "a.b": '"""\n[x]', "\x00\x7f\r": "\u202e'#="})
)
def test_what_is_written_is_read_back(made):
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "set.toml", made)
        found = read_threshold_set(path)
        assert found == made
        assert (found.checked, found.digest, hash(found)) == (True, made.digest, hash(made))
        # equal is not alike: 1 == True == 1.0
        assert [type(value) for value in found.provenance.values()] == list(map(type, made.provenance.values()))
        assert list(found.provenance) == list(made.provenance)
        assert list(found.segments) == list(made.segments)
        assert load_thresholds(path) == made.thresholds
        assert [entry.name for entry in path.parent.iterdir()] == ["set.toml"]
        text = path.read_text()
        assert all(character.isprintable() or character == "\n" for character in text)
        assert tomllib.loads(text)["thresholds"] == made.thresholds.to_dict()


def test_the_file_is_one_a_person_can_read(tmp_path):
    path = write_thresholds(
        tmp_path / "acme.toml",
        OTHER,
        provenance={"data": 'acme "live"', "at": datetime(2026, 8, 3, 9, 30, tzinfo=timezone(timedelta(hours=2)))},
        by="project_id",
        segments={17: TIGHTER},
    )
    assert path.read_text() == (
        "# Thresholds for issue_analytics. The digest is that of the values, so that an edit by hand shows.\n"
        f'digest = "{read_threshold_set(path).digest}"\nby = "project_id"\n\n'
        "[thresholds]\nstd_multiplier = 4.1\nmin_spike_multiplier = 4\nmax_spike_multiplier = 7\n"
        "min_bursty_multiplier = 1.75\nmax_bursty_multiplier = 5\n\n"
        '[segments."17"]\nstd_multiplier = 4\nmin_spike_multiplier = 4\nmax_spike_multiplier = 7\n'
        "min_bursty_multiplier = 2\nmax_bursty_multiplier = 4\n\n"
        '[provenance]\ndata = "acme \\"live\\""\nat = 2026-08-03T07:30:00+00:00\n'
    )
    again = tmp_path / "again.toml"
    assert write(again, read_threshold_set(path)).read_text() == path.read_text()


def test_numbers_of_a_sweep_are_written_as_numbers(tmp_path):
    """Rows of a frame or an array give numpy's numbers, whose repr is no TOML."""
    swept = ThresholdVariables(*(np.float64(value) for value in OTHER.to_dict().values()))
    facts = {"groups": np.int64(400), "share": np.float64(0.1)}
    found = read_threshold_set(write_thresholds(tmp_path / "a.toml", swept, provenance=facts))
    assert found.thresholds == OTHER
    assert dict(found.provenance) == {"groups": 400, "share": 0.1}


def test_a_set_is_a_value_of_its_own():
    provenance, own = {"data": "acme"}, {"<1/day": TIGHTER}
    made = ThresholdSet(thresholds=STANDARD, provenance=provenance, by="volume", segments=own)
    provenance["data"], own["<1/day"] = "other", LOOSER
    assert made == ThresholdSet(
        thresholds=STANDARD, provenance={"data": "acme"}, by="volume", segments={"<1/day": TIGHTER}
    )
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - our own bytes
    assert len({made, replace(made, checked=True)}) == 1
    assert made.of("<1/day") == TIGHTER
    assert made.of("silent") == made.of(None) == STANDARD


def test_segments_are_those_that_strata_can_tell():
    assert SEGMENTS == STRATA


def test_groups_of_no_known_type_may_have_their_own(tmp_path):
    path = write_thresholds(tmp_path / "a.toml", STANDARD, by="type", segments={None: TIGHTER, "7": LOOSER})
    assert '\n[segments."unknown"]\n' in path.read_text()
    found = read_threshold_set(path)
    assert found.segments == {None: TIGHTER, 7: LOOSER}
    assert (found.of(None), found.of(7), found.of(8)) == (TIGHTER, LOOSER, STANDARD)
    with pytest.raises(SettingsError, match="segments by age: expected text, got None"):
        write_thresholds(path, STANDARD, by="age", segments={None: TIGHTER})


# ---- the digest ---- #


@settings(deadline=None)
@given(sets(), st.data())
def test_the_digest_is_of_what_the_set_does(made, data):
    """Equal digests exactly where every group gets the same thresholds, listed or not."""
    own = {value: data.draw(st.sampled_from([it, made.thresholds, OTHER])) for value, it in made.segments.items()}
    kept = {value: it for value, it in own.items() if data.draw(st.booleans())}
    changed = replace(made, segments=kept, provenance={})
    same = all(made.of(value) == changed.of(value) for value in made.segments)
    assert (changed.digest == made.digest) == same
    assert (made.digest == made.thresholds.digest) == all(it == made.thresholds for it in made.segments.values())


def test_the_digest_tells_columns_values_and_segments_apart():
    sets = [
        ThresholdSet(thresholds=thresholds, by=by, segments=own)
        for thresholds, by, own in [
            (STANDARD, None, {}),
            (TIGHTER, None, {}),
            (STANDARD, "project_id", {1: TIGHTER}),
            (STANDARD, "project_id", {2: TIGHTER}),
            (STANDARD, "type", {1: TIGHTER}),
            (STANDARD, "type", {1: OTHER}),
            (STANDARD, "type", {1: TIGHTER, 2: TIGHTER}),
            (LOOSER, "type", {1: TIGHTER}),
        ]
    ]
    assert len({made.digest for made in sets}) == len(sets)
    zeros = [ThresholdVariables(zero) for zero in (0, 0.0, -0.0)]
    assert len({made.digest for made in zeros}) == 1
    assert len({ThresholdSet(thresholds=STANDARD, by="type", segments={1: own}).digest for own in zeros}) == 1
    turned = ThresholdSet(thresholds=STANDARD, by="type", segments={2: TIGHTER, 1: TIGHTER})
    assert turned.digest == sets[6].digest
    assert sets[0].digest == STANDARD.digest


LINES = ("std_multiplier = 4.1", "max_bursty_multiplier = 5", "min_bursty_multiplier = 2", 'by = "volume"', '"<1/day"')
EDITS = ("std_multiplier = 4.2", "max_bursty_multiplier = 4", "min_bursty_multiplier = 1", 'by = "branch"', '"silent"')


@pytest.mark.parametrize(("line", "edit"), list(zip(LINES, EDITS)))
def test_an_edit_by_hand_shows(tmp_path, line, edit):
    made = ThresholdSet(thresholds=OTHER, by="volume", segments={"<1/day": TIGHTER})
    path = write(tmp_path / "acme.toml", made)
    text = path.read_text()
    assert line in text
    path.write_text(text.replace(line, edit, 1))
    with pytest.raises(SettingsError) as caught:
        load_thresholds(path)
    found = re.fullmatch(
        rf"{re.escape(str(path))}: says digest '{made.digest}', but its values give '(\w{{8}})': .*"
        r'if the edit is meant, let it say digest = "(\w{8})"\.',
        str(caught.value),
    )
    assert found[1] == found[2] != made.digest
    # what it says to do is what helps
    path.write_text(path.read_text().replace(made.digest, found[1]))
    assert read_threshold_set(path).digest == found[1]


def test_what_is_no_value_may_be_edited(tmp_path):
    path = write_thresholds(tmp_path / "acme.toml", OTHER, provenance={"data": "acme"})
    text = path.read_text().replace('data = "acme"', 'data = "acme, May"\nnote = "ask Ada"  # she knows')
    path.write_text(text.replace("max_bursty_multiplier = 5", "max_bursty_multiplier = 5.0"))
    found = read_threshold_set(path)
    assert found.checked
    assert dict(found.provenance) == {"data": "acme, May", "note": "ask Ada"}


# ---- what is there already ---- #


def test_what_says_the_same_is_left_as_it_is(tmp_path):
    path = write_thresholds(tmp_path / "acme.toml", OTHER, provenance={"data": "acme"})
    path.write_text(path.read_text() + "# ask Ada\n")
    before = path.stat()
    assert write_thresholds(path, OTHER, provenance={"data": "acme"}) == path
    assert path.read_text().endswith("# ask Ada\n")
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino


@pytest.mark.parametrize(
    "there",
    [
        "std_multiplier = 4.2\n",
        'digest = "00000000"\n[thresholds]\nstd_multiplier = 5\n',
        "[thresholds]\nstd_multiplier = 5",
    ],
    ids=["another", "edited", "without a digest"],
)
def test_another_set_is_replaced_only_when_told(tmp_path, there):
    path = tmp_path / "acme.toml"
    path.write_text(there)
    with pytest.raises(SettingsError, match=r"acme\.toml: exists already.*allow overwriting"):
        write_thresholds(path, STANDARD)
    assert path.read_text() == there
    write_thresholds(path, STANDARD, overwrite=True)
    assert read_threshold_set(path) == ThresholdSet(thresholds=STANDARD)


def test_another_provenance_is_another_set(tmp_path):
    path = write_thresholds(tmp_path / "acme.toml", STANDARD, provenance={"data": "May"})
    with pytest.raises(SettingsError, match="exists already"):
        write_thresholds(path, STANDARD)
    assert read_threshold_set(path).provenance == {"data": "May"}


@pytest.mark.parametrize("there", ['[project]\nname = "acme"\n', "std_multiplier = lots", "", "\xff\xfe"])
def test_what_holds_no_thresholds_is_never_touched(tmp_path, there):
    path = tmp_path / "pyproject.toml"
    path.write_text(there, encoding="latin-1")
    with pytest.raises(SettingsError, match="holds no thresholds, and is left alone"):
        write_thresholds(path, STANDARD, overwrite=True)
    assert path.read_text(encoding="latin-1") == there


def test_a_write_is_whole_or_none(tmp_path):
    path = write_thresholds(tmp_path / "new" / "acme.toml", STANDARD)
    (tmp_path / "usual").touch()
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode  # not for its writer alone
    before, inode = path.read_text(), path.stat().st_ino
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # as on a disk that is full after 100 bytes
    try:
        for name in ("acme.toml", "b.toml"):
            with pytest.raises(DatasetError, match=f"{name}: cannot be written .File too large"):
                write_thresholds(path.with_name(name), TIGHTER, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["acme.toml"]
    # moved there, not written there: whoever reads meanwhile has the old file
    with path.open() as reader:
        write_thresholds(path, TIGHTER, overwrite=True)
        assert reader.read() == before
    assert path.stat().st_ino != inode


def test_it_is_written_where_it_can_be_and_as_toml(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="cannot be written"):
        write_thresholds(tmp_path / "file" / "acme.toml", STANDARD)
    with pytest.raises(SettingsError, match=r"end in \.toml"):
        write_thresholds(tmp_path / "acme.json", STANDARD)
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(SettingsError, match="left alone"):
        write_thresholds(tmp_path / "folder.toml", STANDARD, overwrite=True)


# ---- what is refused ---- #


@pytest.mark.parametrize(
    "value",
    [None, float("nan"), float("inf"), [1], {"a": 1}, 2**63, 10**5000, datetime(2026, 1, 1), "\ud800", b"x", Path("a"),  # noqa: DTZ001
     datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_fact_that_no_file_can_hold_is_refused(tmp_path, value):
    with pytest.raises(SettingsError, match="provenance 'run'") as caught:
        write_thresholds(tmp_path / "a.toml", STANDARD, provenance={"run": value})
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"thresholds": "standard"}, "expected ThresholdVariables"),
        ({"provenance": {5: "x"}}, "provenance: expected text, got 5"),
        ({"provenance": {"\udc80": "x"}}, "surrogate"),
        ({"provenance": ["acme"]}, "provenance: expected values by name"),
        ({"by": "title"}, "no segments by 'title'. There are: volume, variation, age, branch, type, project_id."),
        ({"by": ["volume"]}, "no segments by"),
        ({"segments": {"a": TIGHTER}}, "segments: by names their column"),
        ({"by": "volume", "segments": [TIGHTER]}, "segments: expected values by name"),
        ({"by": "volume", "segments": {"a": "tighter"}}, "expected ThresholdVariables"),
        ({"by": "volume", "segments": {1: TIGHTER}}, "segments by volume: expected text, got 1"),
        ({"by": "project_id", "segments": {"acme": TIGHTER}}, "segments by project_id: expected a whole number"),
        ({"by": "project_id", "segments": {"017": TIGHTER}}, "whole number"),
        ({"by": "project_id", "segments": {"\u0661": TIGHTER}}, "whole number"),
        ({"by": "type", "segments": {True: TIGHTER}}, "whole number"),
        ({"by": "type", "segments": {-1: TIGHTER}}, "whole number"),
        ({"by": "type", "segments": {10**5000: TIGHTER}}, "whole number"),
        ({"by": "type", "segments": {1: TIGHTER, "1": OTHER}}, "twice"),
    ],
)
def test_a_set_that_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(SettingsError, match=re.escape(message)):
        ThresholdSet(**({"thresholds": STANDARD} | wrong))


# ---- files by hand ---- #


def test_thresholds_from_files(tmp_path):
    (tmp_path / "mine.toml").write_text("[thresholds]\nstd_multiplier = 4.5\n")
    assert load_thresholds(tmp_path / "mine.toml") == ThresholdVariables(std_multiplier=4.5)
    assert not read_threshold_set(tmp_path / "mine.toml").checked
    (tmp_path / "bare.toml").write_bytes(b"\xef\xbb\xbfstd_multiplier = 4.5\r\n")
    assert load_thresholds(tmp_path / "bare.toml") == ThresholdVariables(std_multiplier=4.5)
    (tmp_path / "mine.json").write_text(json.dumps({"max_spike_multiplier": 12}))
    assert load_thresholds(str(tmp_path / "mine.json")) == ThresholdVariables(max_spike_multiplier=12)
    assert load_thresholds("STANDARD") is STANDARD
    assert {name: read_threshold_set(name) for name in NAMED} == {
        name: ThresholdSet(thresholds=known) for name, known in NAMED.items()
    }


def test_what_a_segment_leaves_out_is_as_in_the_common_thresholds(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('by = "type"\nstd_multiplier = 4.5\nmax_spike_multiplier = 9\n[segments.1]\nstd_multiplier = 3\n')
    found = read_threshold_set(path)
    assert found.thresholds == ThresholdVariables(4.5, 5, 9, 2, 5)
    assert found.segments == {1: ThresholdVariables(3, 5, 9, 2, 5)}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "std_multiplier = ", "not TOML"),
        ("a.toml", "a = " + "[" * 100_000, "not TOML"),
        ("a.toml", "std_multiplier = " + "9" * 5000, "not TOML"),
        ("a.toml", "", "no thresholds in it"),
        ("a.toml", "[thresholds]\n", "no thresholds in it"),
        ("a.toml", 'digest = "9d2bd171"\n', "no thresholds in it"),
        ("a.toml", "sdt_multiplier = 5", "no setting sdt_multiplier. There are: std_multiplier"),
        ("a.toml", '"a\\nalerts: 0 \\u202e" = 5', r"no setting 'a\\nalerts: 0 \\u202e'. There are"),
        ("a.toml", "std_multiplier = nan", "not a finite number"),
        ("a.toml", "thresholds = 5", "thresholds: expected a table"),
        (
            "a.toml",
            "[thresholds]\nstd_multiplier = 5\n[segmnts.a]\nstd_multiplier = 4",
            "nothing is known of 'segmnts'",
        ),
        ("a.toml", "digest = 5\nstd_multiplier = 5", "digest: expected text"),
        ("a.toml", 'digest = "a\\n\\u001b[31m' + "b" * 9000 + '"\nstd_multiplier = 5', r"says digest 'a\\n\\x1b"),
        ("a.toml", "std_multiplier = 5\n[segments.a]\nstd_multiplier = 4", "by names their column"),
        ("a.toml", "segments = 5\nstd_multiplier = 5", "segments: expected a table"),
        ("a.toml", 'by = "volume"\nstd_multiplier = 5\n[segments]\na = 4', "segment 'a': its values: expected a table"),
        ("a.toml", 'by = "volume"\nstd_multiplier = 5\n[segments.a]\nb = 4', "segment 'a': no setting b"),
        ("a.toml", "provenance = 5\nstd_multiplier = 5", "provenance: expected a table"),
        ("a.toml", "std_multiplier = 5\n[provenance]\nruns = [1]", "provenance 'runs': expected text"),
        ("a.toml", "std_multiplier = 5\n[provenance]\nat = 2026-08-03T07:30:00", "provenance 'at': .*has no zone"),
        ("a.toml", "std_multiplier = 5\n[provenance]\nat = 07:30:00", "provenance 'at': expected text"),
        ("a.json", "{", "not JSON"),
        ("a.json", "[5]", "JSON object"),
        ("a.json", '{"std_multiplier": ' + "9" * 5000 + "}", "not JSON"),
        ("a.json", "[" * 100_000, "not JSON"),
    ],
)
def test_bad_files_are_named_with_the_reason(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        load_thresholds(tmp_path / name)
    told = str(caught.value)
    assert told.startswith(f"{tmp_path / name}: ")
    assert len(told) < 600
    assert told.isprintable()


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "folder.toml").mkdir()
    for name in ("a.toml", "folder.toml", "absent.toml", "nul\0.toml"):
        with pytest.raises(SettingsError, match="cannot be read"):
            load_thresholds(tmp_path / name)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(SettingsError, match="standard, looser, tighter"):
        load_thresholds("standart")


@settings(deadline=None)
@given(sets(), st.data())
def test_a_damaged_file_is_read_right_or_refused(made, data):
    """Whatever becomes of a character, thresholds are never others than those that were written."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "set.toml", made)
        text = path.read_text()
        at = data.draw(st.integers(0, len(text) - 1))
        path.write_text(text[:at] + data.draw(st.sampled_from(["", "1", '"', "=", "\n", "#"])) + text[at + 1 :])
        try:
            found = read_threshold_set(path)
        except SettingsError:
            return
        # a line of the digest that is gone is all that takes the check away
        assert found.digest == made.digest or not found.checked
