import json
import re
import warnings
from itertools import product
from pathlib import Path

import polars as pl
import pytest

from issue_analytics.cli import show
from issue_analytics.coverage import coverage
from issue_analytics.dataset import import_export, open_dataset
from issue_analytics.errors import FrameError
from issue_analytics.exports import read_status_changes
from issue_analytics.issues import lifecycle
from issue_analytics.issues.codes import read_state
from issue_analytics.issues.lifecycle import (
    ARCHIVED_STATES,
    MAKERS,
    STATES,
    TRANSITIONS,
    UNRESOLVED_STATES,
    Priority,
    State,
    Status,
    Substatus,
    check_transition,
    diagram,
    documentation,
    makers,
    priority_after,
    state_of,
)

LEGAL = {
    (0, 7): "new",
    (0, 3): "ongoing",
    (0, 2): "escalating",
    (0, 6): "regressed",
    (2, 1): "archived_until_escalating",
    (2, 4): "archived_until_condition_met",
    (2, 5): "archived_forever",
    (1, None): "resolved",
    (3, None): "pending_deletion",
    (4, None): "deletion_in_progress",
    (5, None): "pending_merge",
    (6, None): "reprocessing",
}

SHORT = {
    "NEW": "new", "ONG": "ongoing", "ESC": "escalating", "REG": "regressed", "AUE": "archived_until_escalating",
    "AUC": "archived_until_condition_met", "AFE": "archived_forever", "RES": "resolved", "DEL": "pending_deletion",
    "DIP": "deletion_in_progress", "MRG": "pending_merge", "RPR": "reprocessing",
}  # fmt: skip

# Written by hand, not from the table: rows leave, columns arrive. u user, a auto_ongoing, v velocity, e escalation,
# c condition, r regression, d deletion, f first_event, p platform (its messages may set all but new), . nobody
MATRIX = """
       NEW  ONG  ESC  REG  AUE  AUC  AFE  RES  DEL  DIP  MRG  RPR
none   f    .    .    .    .    .    .    .    .    .    .    .
NEW    .    ap   vp   p    up   up   up   up   up   p    up   up
ONG    .    .    p    p    up   up   up   up   up   p    up   up
ESC    .    uap  .    p    up   up   up   up   up   p    up   up
REG    .    uap  p    .    up   up   up   up   up   p    up   up
AUE    .    up   ep   p    .    up   up   up   up   p    up   up
AUC    .    ucp  cp   p    up   .    up   up   up   p    up   up
AFE    .    up   p    p    up   up   .    up   up   p    up   up
RES    .    up   p    rp   p    p    p    .    up   p    up   up
DEL    .    p    p    p    p    p    p    p    .    dp   p    p
DIP    .    p    p    p    p    p    p    p    p    .    p    p
MRG    .    p    p    p    p    p    p    p    p    p    .    p
RPR    .    p    p    p    p    p    p    p    p    p    p    .
"""
LETTERS = {
    "u": "user", "a": "auto_ongoing", "v": "velocity", "e": "escalation", "c": "condition", "r": "regression",
    "d": "deletion", "f": "first_event", "p": "platform",
}  # fmt: skip


def by_hand():
    head, *rows = [line.split() for line in MATRIX.strip().splitlines()]
    return {
        (SHORT.get(row[0]), SHORT[after]): {LETTERS[letter] for letter in cell.strip(".")}
        for row in rows
        for after, cell in zip(head, row[1:], strict=True)
    }


def test_the_matrix_by_hand_is_whole():
    names = {state.name for state in STATES}
    assert set(by_hand()) == set(product([None, *names], names))
    assert set(LETTERS.values()) == set(MAKERS)


@pytest.mark.parametrize(
    ("way", "expected"),
    [*by_hand().items()],
    ids=lambda way: "-".join(sorted(map(str, way))) if isinstance(way, set) else "-".join(map(str, way)),
)
def test_every_pair_of_states_and_every_maker(way, expected):
    assert set(makers(*way)) == expected
    for by in MAKERS:
        if by in expected:
            check_transition(*way, by)
        else:
            with pytest.raises(FrameError, match=rf"{way[1]}: .*By {by} it goes "):
                check_transition(*way, by)


def test_no_transition_twice_and_each_says_when():
    ways = [(one.before, one.after, one.by) for one in TRANSITIONS]
    assert len(ways) == len(set(ways))
    assert all(one.when and one.by in MAKERS for one in TRANSITIONS)


def test_what_is_known_not_to_happen():
    assert makers("ongoing", "escalating") == ("platform",)
    assert set(makers("archived_forever", "ongoing")) == {"user", "platform"}
    assert not any(makers(state.name, "new") for state in STATES)


@pytest.mark.parametrize("name", ["archived", "", "NEW"])
def test_no_such_state_is_an_error_that_names_them(name):
    for call in (
        lambda: makers(name, "ongoing"),
        lambda: makers("ongoing", name),
        lambda: check_transition(None, name, "user"),
        lambda: priority_after(name, 25, 25),
    ):
        with pytest.raises(FrameError, match=r"no state .* States are new, ongoing"):
            call()
    with pytest.raises(FrameError, match="no state None"):
        makers("ongoing", None)
    with pytest.raises(FrameError, match=r"nobody called 'me'.*first_event, user"):
        check_transition("new", "ongoing", "me")


CODES = [*range(-1, 9), None]


@pytest.mark.parametrize(("status", "substatus"), [*product(CODES, CODES)])
def test_every_pair_of_codes_is_a_state_or_an_error(status, substatus):
    if (status, substatus) in LEGAL:
        state = state_of(status, substatus)
        assert (state.name, state.status, state.substatus) == (LEGAL[status, substatus], status, substatus)
        assert read_state(status, substatus) == (state.name, None)
        assert isinstance(state, State)
        assert isinstance(state.status, Status)
    else:
        with pytest.raises(FrameError, match=r"is no state\. (Legal with it|Statuses are)"):
            state_of(status, substatus)


def test_groups_of_states():
    assert set(UNRESOLVED_STATES) == {name for (status, _), name in LEGAL.items() if status == 0}
    assert set(ARCHIVED_STATES) == {name for (status, _), name in LEGAL.items() if status == 2}


DRAFT = {
    (0, 4): "regressed",
    (0, 5): "new",
    (2, 6): "archived_forever",
    (2, 7): "archived_until_condition_met",
}
STATUSES = {
    0: "unresolved", 1: "resolved", 2: "ignored", 3: "pending_deletion", 4: "deletion_in_progress", 5: "pending_merge",
    6: "reprocessing",
}  # fmt: skip


@pytest.mark.parametrize(("status", "substatus"), [*product(CODES, CODES)])
def test_every_pair_of_codes_is_read(status, substatus):
    name, warning = read_state(status, substatus)
    if (status, substatus) in LEGAL:
        expected = LEGAL[status, substatus]
    elif (status, substatus) in DRAFT:
        expected = DRAFT[status, substatus]
        assert "early 2023" in warning
        assert expected in warning
    elif status is None:
        # a substatus goes with one status
        expected = {sub: found for (_, sub), found in LEGAL.items() if sub is not None}.get(substatus)
        assert (warning is None) == (substatus in (1, 2, 3))
    else:
        expected = STATUSES.get(status, f"status_{status}")
        assert warning
    assert name == expected
    if (status, substatus) not in LEGAL and status is not None:
        assert warning
        assert "\n" not in warning
    if -1 not in (status, substatus):
        as_text = [None if code is None else str(code) for code in (status, substatus)]
        assert read_state(*as_text) == (name, warning)


@pytest.mark.parametrize(
    ("status", "substatus", "name", "warning"),
    [
        ("ignored", "archived_until_escalating", "archived_until_escalating", None),
        (" Ignored", "ARCHIVED_FOREVER", "archived_forever", None),
        ("muted", "archived_forever", "archived_forever", None),
        ("unresolved", "escalating", "escalating", None),
        ("resolved", None, "resolved", None),
        ("pending_deletion", None, "pending_deletion", None),
        (None, "regressed", "regressed", None),
        (2, "until_escalating", "archived_until_escalating", "old word for 'archived_until_escalating'"),
        ("2", "until_condition_met", "archived_until_condition_met", "old word for 'archived_until_condition_met'"),
        ("ignored", "forever", "archived_forever", "old word for 'archived_forever'"),
        (None, "forever", "archived_forever", "old word"),
        ("unresolved", None, "unresolved", "without substatus"),
        ("ignored", None, "ignored", "without substatus"),
        ("ignored", "simmering", "ignored", "unknown substatus of ignored"),
        ("resolved", "simmering", "resolved", "unknown substatus of resolved"),
        ("resolved", "escalating", "resolved", "'escalating' does not go with resolved"),
        # a word is not a number of the draft
        ("ignored", "regressed", "ignored", "'regressed' does not go with ignored"),
        ("open", "new", None, "unknown word"),
        (None, "simmering", None, "no status"),
        (None, None, None, "no status"),
        ("9" * 40, None, None, "unknown word"),
    ],
)
def test_words_of_the_api_are_read(status, substatus, name, warning):
    found, told = read_state(status, substatus)
    assert found == name
    assert told is None if warning is None else warning in told


def test_warnings_are_few_whatever_an_export_holds():
    codes = [*range(-3, 400), None, "x", "<script>", *map(str, range(50))]
    told = {read_state(status, substatus)[1] for status, substatus in product([0, 1, 2, 6, 99, "x", None], codes)}
    assert len(told) < 40
    assert not any("script" in warning for warning in told if warning)


@pytest.mark.parametrize(
    ("state", "before", "priority", "initial", "expected"),
    [
        ("escalating", "archived_until_escalating", 25, 25, 50),
        ("escalating", "archived_until_escalating", 50, 50, 75),
        ("escalating", "archived_until_escalating", 75, 75, 75),
        ("escalating", "new", 25, 75, 50),
        ("ongoing", "escalating", 75, 50, 50),
        ("ongoing", "escalating", 50, 25, 25),
        ("ongoing", "escalating", 25, 75, 75),
        ("ongoing", "regressed", 75, 50, 75),
        ("ongoing", None, 75, 50, 75),
        ("archived_forever", "escalating", 75, 25, 75),
        ("resolved", "escalating", 75, 25, 75),
        ("regressed", "resolved", 75, 25, 75),
    ],
)
def test_priorities(state, before, priority, initial, expected):
    assert priority_after(state, priority, initial, before=before) is Priority(expected)
    assert priority_after(state, priority, initial, before=before, locked=True) is Priority(priority)


def test_no_such_priority():
    with pytest.raises(FrameError, match=r"no priority 60\. Priorities are 25 \(low\), 50 \(medium\), 75 \(high\)"):
        priority_after("ongoing", 50, 60)


def message(status, substatus, number=0):
    return {
        "payload_type": "status_change", "project_id": 1, "group_id": 7, "new_status": status,
        "new_substatus": substatus, "update_date": 1767603600 + number,
    }  # fmt: skip


ODD = [
    message(2, 1), message(2, 7, 1), message(2, 7, 2), message("ignored", "forever", 3), message(0, None, 4),
    message("Unresolved", "ESCALATING", 5), message(4, None, 6), message(2, "3.0", 7), message(1, " ", 8),
]  # fmt: skip
KINDS = [
    "archived_until_escalating", "archived_until_condition_met", "archived_until_condition_met", "archived_forever",
    "unresolved", "escalating", "deletion_in_progress", "ignored", "resolved",
]  # fmt: skip
TOLD = {
    "substatus 7 of ignored is a number of early 2023: read as 'archived_until_condition_met'": 2,
    "substatus 'forever' is an old word for 'archived_forever'": 1,
    "unresolved without substatus: which of its states is not known": 1,
    "substatus 'ongoing' does not go with ignored: which of its states is not known": 1,
    "unknown substatus of resolved": 1,
}


def test_odd_states_load_and_the_user_is_told(tmp_path, capsys):
    file = tmp_path / "odd.jsonl"
    file.write_text("\n".join(map(json.dumps, ODD)))
    with warnings.catch_warnings(record=True, action="always") as warned:
        changes, rejects = read_status_changes(file)
    assert (changes["kind"].to_list(), rejects.height) == (KINDS, 0)
    assert [str(one.message) for one in warned] == [f"{file}: {said} (rows: {number})" for said, number in TOLD.items()]
    dataset = import_export(file, tmp_path / "data")
    assert dataset.status_changes.collect().equals(changes)
    assert dataset.manifest["sources"][0]["warnings"] == TOLD
    show.show_dataset(dataset)
    out = capsys.readouterr().out
    assert all(f"warning: {number} status change{'s' * (number > 1)}: {said}\n" in out for said, number in TOLD.items())
    found = coverage(open_dataset(tmp_path / "data"))
    assert found.facts["warnings"] == TOLD
    (odd,) = [finding for finding in found.findings if finding.name == "odd or old states"]
    assert (odd.found, odd.level) == ("6 status changes", "look")
    # once a row is a duplicate, it is not told again
    import_export(write_again(tmp_path), tmp_path / "data")
    assert open_dataset(tmp_path / "data").manifest["sources"][1]["warnings"] == {}


def write_again(folder):
    file = folder / "again.jsonl"
    file.write_text("\n".join(map(json.dumps, reversed(ODD))))
    return file


def test_groups_about_to_be_merged_or_deleted_are_altered(tmp_path):
    file = tmp_path / "codes.jsonl"
    file.write_text("\n".join(json.dumps({**message(*codes), "group_id": n}) for n, codes in enumerate(LEGAL)))
    altered = import_export(file, tmp_path / "data").altered_groups.collect()
    assert {why for (why,) in altered["why"]} == set(list(LEGAL.values())[-4:])


def test_nothing_is_told_of_states_as_they_should_be(tmp_path):
    file = tmp_path / "fine.jsonl"
    records = [message(*codes, number) for number, codes in enumerate(LEGAL)]
    file.write_text("\n".join(map(json.dumps, records)))
    changes, _ = read_status_changes(file)  # a warning would be an error
    assert changes["kind"].to_list() == list(LEGAL.values())
    dataset = import_export(file, tmp_path / "data")
    assert "warning" not in dataset.status_changes.collect_schema()
    assert not [finding for finding in coverage(dataset).findings if finding.name == "odd or old states"]


@pytest.mark.parametrize("dtype", [pl.Float64, pl.Int64, pl.String, pl.Int8])
def test_codes_of_tables_of_any_type(tmp_path, dtype):
    file = tmp_path / "codes.parquet"
    pairs = pl.DataFrame([(*pair, 7, 1767603600 + i) for i, pair in enumerate(LEGAL)], orient="row",
                         schema=["new_status", "new_substatus", "group_id", "at"])  # fmt: skip
    frame = pairs.with_columns(pl.col("new_status", "new_substatus").cast(dtype))
    if dtype == pl.Float64:
        frame = frame.with_columns(pl.col("new_substatus").fill_null(float("nan")))
    frame.write_parquet(file)
    assert read_status_changes(file)[0]["kind"].to_list() == list(LEGAL.values())


def test_a_table_with_words_of_old(tmp_path):
    file = tmp_path / "old.csv"
    file.write_text("group_id,at,kind\n7,2023-05-01T00:00:00Z,until_escalating\n7,2023-05-02T00:00:00Z,Forever\n"
                    "7,2023-05-03T00:00:00Z,escalating\n7,2023-05-04T00:00:00Z,anything else\n")  # fmt: skip
    with warnings.catch_warnings(record=True, action="always") as warned:
        changes, _ = read_status_changes(file)
    kinds = ["archived_until_escalating", "archived_forever", "escalating", "anything else"]
    assert changes["kind"].to_list() == kinds
    assert len(warned) == 2


def drawn():
    """Every single change in the diagram, with its makers: groups taken apart again."""
    text = diagram()
    groups = {
        "any_unresolved": UNRESOLVED_STATES,
        "any_archived": ARCHIVED_STATES,
        "any_visible": (*UNRESOLVED_STATES, *ARCHIVED_STATES, "resolved"),
    }
    said = re.findall(r'^    state "([^"]+)" as (any_\w+)$', text, re.MULTILINE)
    assert {name for _, name in said} == set(groups)
    arrows = re.findall(r"^    (\S+) --> (\S+): (.+)$", text, re.MULTILINE)
    assert len(text.splitlines()) == 1 + len(groups) + len(arrows)
    found = []
    for one, other, by in arrows:
        befores = [None] if one == "[*]" else groups.get(one, (one,))
        ways = [way for way in product(befores, groups.get(other, (other,))) if way[0] != way[1]]
        found += [(*way, maker) for way in ways for maker in by.split(", ")]
    return found


def test_the_diagram_shows_each_change_once():
    shown = drawn()
    assert len(shown) == len(set(shown))
    assert set(shown) == {(one.before, one.after, one.by) for one in TRANSITIONS if one.by != "platform"}


def test_the_docs_hold_what_the_tables_give():
    text = (Path(__file__).parents[1] / "data" / "README.md").read_text()
    begin, end = "<!-- made by tools/lifecycle.py -->\n\n", "\n<!-- end of what tools/lifecycle.py made -->\n"
    assert text.count(begin) == text.count(end) == 1
    # where they differ: .venv/bin/python tools/lifecycle.py
    assert text.split(begin)[1].split(end)[0] == documentation()


def test_the_table_of_changes_is_that_of_transitions():
    groups = {
        "any unresolved": UNRESOLVED_STATES,
        "any archived": ARCHIVED_STATES,
        "unresolved, archived or resolved": (*UNRESOLVED_STATES, *ARCHIVED_STATES, "resolved"),
        "any state but `new`": [state.name for state in STATES if state.name != "new"],
        "any state": [state.name for state in STATES],
        "no issue yet": [None],
    }

    def names(cell):
        for words, members in groups.items():
            if cell.startswith(words):
                rest = cell.removeprefix(words).removeprefix(", ")
                return [*members, *(names(rest) if rest else [])]
        return re.findall(r"`(\w+)`", cell)

    rows = re.findall(r"^\| (\w+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", documentation(), re.MULTILINE)[1:]
    found = [
        (before, after, by, when)
        for by, from_, to, when in rows
        for before, after in product(names(from_), names(to))
        if before != after
    ]
    assert sorted(map(str, found)) == sorted(str((one.before, one.after, one.by, one.when)) for one in TRANSITIONS)


def test_codes_are_those_of_the_tracker():
    assert [(code.name, code.value) for code in Substatus] == [
        ("UNTIL_ESCALATING", 1), ("ESCALATING", 2), ("ONGOING", 3), ("UNTIL_CONDITION_MET", 4), ("FOREVER", 5),
        ("REGRESSED", 6), ("NEW", 7),
    ]  # fmt: skip
    assert [code.value for code in Priority] == [25, 50, 75]
    assert {name for name in lifecycle.__all__ if not hasattr(lifecycle, name)} == set()
