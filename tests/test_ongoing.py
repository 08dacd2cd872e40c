from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import issue_analytics as ia
from issue_analytics import frames
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.issues.lifecycle import STATES, check_transition, priority_after
from issue_analytics.issues.ongoing import PASSING_STATES, due_for_ongoing, transition_to_ongoing

START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
TIME = pl.Datetime("us", "UTC")
SCHEMA = {
    "project_id": pl.Int64, "group_id": pl.Int64, "state": pl.String, "since": TIME, "priority": pl.Int64,
    "initial_priority": pl.Int64, "priority_locked_at": TIME, "first_seen": TIME, "title": pl.String,
}  # fmt: skip

moments = st.one_of(st.none(), st.integers(-20, 20).map(lambda halves: START + halves * DAY / 2))
priorities = st.sampled_from([25, 50, 75])
issues = st.lists(
    st.tuples(
        st.sampled_from([state.name for state in STATES]), moments, priorities, priorities, moments, moments
    ),
    max_size=12,
)  # fmt: skip


def frame_of(rows):
    full = [(1 + n % 2, n, *row, f"issue {n}") for n, row in enumerate(rows)]
    return pl.DataFrame(full, schema=SCHEMA, orient="row")


def one_by_one(frame, at, days):
    """The rule for one issue after the other."""
    after, changes = [], []
    for row in frame.rows(named=True):
        begun = (row["first_seen"] or row["since"]) if row["state"] == "new" else row["since"]
        if row["state"] in ("new", "regressed", "escalating") and begun is not None and at - begun >= days * DAY:
            check_transition(row["state"], "ongoing", "auto_ongoing")
            priority = priority_after(
                "ongoing", row["priority"], row["initial_priority"],
                before=row["state"], locked=row["priority_locked_at"] is not None,
            )  # fmt: skip
            changes.append((row["project_id"], row["group_id"], at, "ongoing", None, None, "auto_ongoing"))
            if priority != row["priority"]:
                changes.append((row["project_id"], row["group_id"], at, "set_priority", None, None, "auto_ongoing"))
            row |= {"state": "ongoing", "since": at, "priority": int(priority)}
        after.append(tuple(row.values()))
    return after, sorted(changes, key=lambda row: row[:2])


@settings(max_examples=300, deadline=None)
@given(issues, st.integers(-10, 30).map(lambda halves: START + halves * DAY / 2), st.sampled_from([0, 1, 7, 14]))
def test_the_set_operation_equals_a_loop(rows, at, days):
    frame = frame_of(rows)
    after, changes = transition_to_ongoing(frame, at, days)
    expected, recorded = one_by_one(frame, at, days)
    assert after.rows() == expected
    assert changes.rows() == recorded
    assert after.schema == frame.schema
    frames.check(changes, "StatusChanges")
    due = due_for_ongoing(frame, at, days)
    assert due.join(changes.filter(kind="ongoing"), on=["project_id", "group_id"], how="semi").equals(due)
    assert due.height == changes.filter(kind="ongoing").height
    # the second time, and at any later time, nothing is left to do
    again, none = transition_to_ongoing(after, at, days)
    assert again.equals(after)
    assert none.is_empty()
    lazy, made = transition_to_ongoing(frame.lazy(), at, days)
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.collect().equals(after)
    assert made.collect().equals(changes)


def test_a_store_does_the_same(tmp_path):
    rows = [
        (state.name, begun, priority, initial, locked, born)
        for state in STATES
        for begun in (START, START + 6 * DAY, START + 7 * DAY)
        for priority, initial, locked in ((75, 25, None), (75, 25, START), (50, 50, None))
        for born in (START - DAY, begun)
    ]
    store = ia.open_store(tmp_path / "issues.db")
    store.put(frame_of(rows))
    before = store.list()
    after, changes = transition_to_ongoing(before, START + 13 * DAY)
    moved = store.ongoing(START + 13 * DAY)
    assert moved.height == changes.filter(kind="ongoing").height > 0
    assert_frame_equal(store.list().drop("version"), after.drop("version"))
    assert store.ongoing(START + 13 * DAY).is_empty()


def test_which_states_pass():
    assert set(PASSING_STATES) == {"new", "regressed", "escalating"}


@pytest.mark.parametrize("state", [state.name for state in STATES])
def test_only_what_is_still_in_such_a_state_is_changed(state):
    frame = frame_of([(state, START, 75, 25, None, None)])
    after, changes = transition_to_ongoing(frame, START + 30 * DAY)
    passes = state in ("new", "regressed", "escalating")
    assert after["state"].item() == ("ongoing" if passes else state)
    assert (changes.height > 0) == passes
    assert after["priority"].item() == (25 if state == "escalating" else 75)


def test_seven_days_to_the_moment():
    frame = frame_of([("regressed", START, 50, 50, None, START - 90 * DAY), ("new", START, 50, 50, None, START - DAY)])
    early = START + 7 * DAY - timedelta(microseconds=1)
    # a regressed issue was first seen long ago: that does not count; of a new one it does
    assert due_for_ongoing(frame, early)["state"].to_list() == ["new"]
    assert due_for_ongoing(frame, START + 7 * DAY)["state"].to_list() == ["regressed", "new"]
    assert due_for_ongoing(frame, (START + 7 * DAY).astimezone(timezone(timedelta(hours=-9)))).height == 2


def test_what_is_not_known_stays():
    frame = frame_of([("escalating", None, 75, 25, None, START), ("escalating", START, 75, 25, START, None)])
    after, changes = transition_to_ongoing(frame, START + 30 * DAY)
    assert after["state"].to_list() == ["escalating", "ongoing"]
    assert after["priority"].to_list() == [75, 75]
    assert changes["kind"].to_list() == ["ongoing"]
    unknown = frame_of([("escalating", START, 75, None, None, None), ("escalating", START, None, 25, None, None)])
    after, changes = transition_to_ongoing(unknown, START + 30 * DAY)
    assert after["priority"].to_list() == [75, 25]
    assert changes.select("group_id", "kind").rows() == [(0, "ongoing"), (1, "ongoing"), (1, "set_priority")]


def test_columns_that_need_not_be_there():
    frame = frame_of([("escalating", START, 75, 25, None, None)]).drop("priority_locked_at", "first_seen", "title")
    assert transition_to_ongoing(frame, START + 7 * DAY)[0].rows()[0][2:] == ("ongoing", START + 7 * DAY, 25, 25)


def test_what_cannot_be_done_is_said():
    frame = frame_of([])
    with pytest.raises(SettingsError, match="at: expected a datetime with a time zone"):
        due_for_ongoing(frame, START.replace(tzinfo=None))
    for days in (-1, 1.5, True, None):
        with pytest.raises(SettingsError, match="is no number of days"):
            transition_to_ongoing(frame, START, days)
    with pytest.raises(FrameError, match=r"issues: no column state, since\. Found: project_id"):
        due_for_ongoing(frame.drop("state", "since"), START)
    with pytest.raises(FrameError, match=r"issues: first_seen is Int64, not Datetime"):
        transition_to_ongoing(frame.with_columns(pl.col("first_seen").cast(pl.Int64)), START)
