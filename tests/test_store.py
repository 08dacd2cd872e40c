"""The store, the same suite on SQLite and on a real PostgreSQL server."""

import itertools
import pickle
import random
import sqlite3
import time
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from histories import HOUR, MONDAY, UTC_US
from polars.testing import assert_frame_equal

import issue_analytics as ia
from issue_analytics.frames import check, empty
from issue_analytics.issues.lifecycle import MAKERS, STATES, Priority, makers, priority_after
from issue_analytics.issues.store import Issue, database, migrations
from issue_analytics.issues.store.columns import FRAMES
from issue_analytics.issues.store.database import Database
from issue_analytics.issues.store.migrations import STEPS, carry_out, version_of
from issue_analytics.issues.store.tables import METADATA

NAMES = [state.name for state in STATES]
DAY = timedelta(days=1)
HOSTILE = "'); DROP TABLE issues; --\0 \x1b[31m <b>%(a)s</b> :b ? $1 \\ \"é\U0001f600"
CLEAN = HOSTILE.replace("\0", "\ufffd")


@pytest.fixture
def store(place):
    return ia.open_store(place)


def occurrence(number, group=7, at=MONDAY, **more):
    return ia.IssueOccurrence.from_dict(
        {"id": f"o{number}", "project_id": 1, "event_id": f"e{number}", "fingerprint": [f"group-{group}"], "type": 1,
         "group_id": group, "issue_title": "Timeout", "detection_time": at.isoformat(), **more}
    )  # fmt: skip


def in_states(store, names=NAMES, first=100):
    """One issue of project 1 in each of these states, numbered from ``first``; since Monday, seen since then."""
    frame = pl.DataFrame(
        {"group_id": range(first, first + len(names)), "state": names},
        schema={"group_id": pl.Int64, "state": pl.String},
    )
    moment = pl.lit(MONDAY, UTC_US)
    store.put(frame.with_columns(project_id=pl.lit(1, pl.Int64), first_seen=moment, since=moment))
    return {name: (1, first + number) for number, name in enumerate(names)}


# ---- issues ----


def test_an_issue_is_made_found_and_survives_a_reopen(store, place):
    made = store.create(
        1, 7, title="Timeout", culprit="shop.pay", level="error", type=1001, first_seen=MONDAY, who="ada"
    )
    assert made == Issue(
        project_id=1, group_id=7, state="new", since=MONDAY, priority=25, initial_priority=25, priority_locked_at=None,
        type=1001, title="Timeout", culprit="shop.pay", level="error", first_seen=MONDAY, last_seen=None, times_seen=0,
        condition=None, version=1,
    )  # fmt: skip
    assert ia.open_store(place, create=False).get(1, 7) == made
    assert store.get(2, 7) is None
    with pytest.raises(ia.ConflictError, match="1:7 is there already"):
        store.create(1, 7)
    assert store.history()["kind"].to_list() == ["new"]


def test_issues_are_listed_filtered_and_paged(store):
    frame = pl.DataFrame(
        {
            "project_id": [1, 1, 2, 2, 2],
            "group_id": [1, 2, 1, 2, 3],
            "state": ["new", "resolved", "archived_forever", "escalating", "ongoing"],
            "title": ["100% CPU", "1000 things", "under_score", "Underscore", None],
            "culprit": [None, None, None, None, "app.CPU"],
            "last_seen": [MONDAY, MONDAY + DAY, None, MONDAY + DAY, MONDAY],
            "type": [1, 1, 2, 2, None],
        }
    )
    assert store.put(frame) == 5

    def keys(**filters):
        return store.list(**filters).select("project_id", "group_id").rows()

    assert keys() == [(1, 2), (2, 2), (1, 1), (2, 3), (2, 1)]
    assert keys(sort="group_id", descending=False) == [(1, 1), (2, 1), (1, 2), (2, 2), (2, 3)]
    assert [keys(limit=2, offset=offset) for offset in (0, 2, 4, 6)] == [
        [(1, 2), (2, 2)], [(1, 1), (2, 3)], [(2, 1)], []
    ]  # fmt: skip
    assert keys(state="unresolved") == [(2, 2), (1, 1), (2, 3)]
    assert keys(state=["archived", "resolved"]) == [(1, 2), (2, 1)]
    assert keys(project_id=[1], type=1, state="new") == [(1, 1)]
    # a text is looked for as it stands: % and _ are characters, and case does not matter
    assert keys(text="100%") == [(1, 1)]
    assert keys(text="r_s") == [(2, 1)]
    assert keys(text="cpu") == [(1, 1), (2, 3)]
    assert keys(seen_since=MONDAY + DAY) == [(1, 2), (2, 2)]
    assert keys(project_id=[]) == []
    # more than a statement has parameters for
    assert keys(project_id=range(2, 70_000), group_id=range(2, 70_000)) == [(2, 2), (2, 3)]
    assert store.count(group_id=range(70_000), type=range(2, 70_000)) == 2
    assert store.count(state="unresolved") == 3
    assert store.list().schema == FRAMES["issues"]
    assert store.list(text="nowhere").schema == FRAMES["issues"]
    with pytest.raises(ia.SettingsError, match="state 'gone': known are unresolved"):
        store.list(state="gone")
    with pytest.raises(ia.SettingsError, match="sort 'title; DROP"):
        store.list(sort="title; DROP TABLE issues")
    with pytest.raises(ia.SettingsError, match="limit: -1"):
        store.list(limit=-1)


def test_who_changes_an_issue_must_have_seen_it_as_it_is(store):
    seen = store.create(1, 7, title="Timeout")
    done = store.update(1, 7, version=seen.version, title="Timeout in checkout", priority=75, who="ada", at=seen.since)
    assert (done.title, done.priority, done.priority_locked_at, done.version) == (
        "Timeout in checkout", 75, seen.since, 2
    )  # fmt: skip
    with pytest.raises(ia.ConflictError, match="has version 2, not 1"):
        store.update(1, 7, version=1, title="Mine")
    assert store.get(1, 7) == done
    row = store.history((1, 7)).row(-1, named=True)
    assert (row["kind"], row["who"], row["version"]) == ("edited", "ada", 2)
    assert "title: Timeout -> Timeout in checkout" in row["note"]
    # what changes nothing is no change
    assert store.update(1, 7, version=2, priority=75) == done
    unlocked = store.update(1, 7, version=2, priority_locked_at=None)
    assert unlocked == replace(done, priority_locked_at=None, version=3)
    both = store.update(1, 7, version=3, priority=25, priority_locked_at=None)
    assert (both.priority, both.priority_locked_at, both.version) == (25, None, 4)
    with pytest.raises(ia.SettingsError, match="state cannot be set"):
        store.update(1, 7, version=4, state="resolved")
    with pytest.raises(ia.FrameError, match="priority: 60 is none of 25, 50, 75"):
        store.update(1, 7, version=4, priority=60)
    with pytest.raises(ia.FrameError, match="no issue 1:8"):
        store.update(1, 8, version=1, title="x")


def test_deleting_takes_what_was_collected_and_leaves_what_was_decided(store):
    store.record([occurrence(1), occurrence(2, group=8)])
    store.put_forecasts(forecasts([7, 8]))
    store.label(1, 7, MONDAY, "noise")
    assert store.delete((1, 7), who="ada") == 1
    assert store.get(1, 7) is None
    assert store.occurrences()["group_id"].to_list() == [8]
    assert store.forecasts()["group_id"].to_list() == [8]
    assert store.history((1, 7)).select("kind", "maker", "who", "version").rows() == [
        ("new", "first_event", None, 1),
        ("pending_deletion", "user", "ada", 2),
        ("deletion_in_progress", "deletion", "ada", 3),
    ]
    assert store.labels((1, 7)).height == 1
    with pytest.raises(ia.FrameError, match="no issue 1:7"):
        store.delete([(1, 8), (1, 7)])
    assert store.get(1, 8) is not None
    # later events make a new issue, and what was counted before counts again
    store.record(occurrence(1))
    assert store.get(1, 7).state == "new"


def test_many_issues_are_put_at_once_and_put_again_without_effect(store):
    there = in_states(store, ["new", "archived_until_escalating"])
    frame = pl.DataFrame(
        {
            "project_id": [1, 1, 1, 1],
            "group_id": [there["new"][1], there["archived_until_escalating"][1], 7, 8],
            "state": [None, "escalating", "escalating", None],
            "since": [None, MONDAY + DAY, MONDAY + DAY, None],
            "first_seen": [None, None, MONDAY, MONDAY],
            "title": ["A", None, "C", "D"],
            "type": [None, None, 1001, None],
            "times_seen": [5, None, 6, 7],
        }
    )
    assert store.put(frame, who="sync") == 4
    assert store.put(frame, who="sync") == 0
    found = store.list(sort="group_id", descending=False)
    assert found.select("group_id", "state", "since", "priority", "title", "times_seen", "version").rows() == [
        (7, "escalating", MONDAY + DAY, 50, "C", 6, 2),
        (8, "new", MONDAY, 50, "D", 7, 1),
        (100, "new", MONDAY, 50, "A", 5, 2),
        (101, "escalating", MONDAY + DAY, 75, None, 0, 3),
    ]
    assert store.history((1, 7)).select("kind", "at", "maker", "cause", "who").rows() == [
        ("new", MONDAY, "first_event", None, None),
        ("escalating", MONDAY + DAY, "platform", "platform", "sync"),
    ]
    assert store.history((1, 100))["kind"].to_list() == ["new", "edited"]
    assert store.history((1, 8))["kind"].to_list() == ["new"]
    with pytest.raises(ia.FrameError, match="escalating -> new"):
        store.put(pl.DataFrame({"project_id": [1], "group_id": [7], "state": ["new"]}))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"group_id": [1]}, "no column project_id"),
        ({"project_id": [1], "group_id": [1], "name": ["a"]}, "unknown column name"),
        ({"project_id": [1], "group_id": ["1"]}, "group_id is String, not Int64"),
        ({"project_id": [1, 1], "group_id": [1, 1]}, "two rows are of the same issue"),
        ({"project_id": [1, None], "group_id": [1, 2]}, "holds nulls"),
        ({"project_id": [1], "group_id": [-2]}, "a number is negative"),
        ({"project_id": [1], "group_id": [1], "priority": [60]}, "priority: one of 25, 50, 75"),
        ({"project_id": [1], "group_id": [1], "state": ["gone"]}, "state: one of new"),
        ({"project_id": [1], "group_id": [1], "since": [datetime(2026, 1, 1)]}, "since is Datetime"),  # noqa: DTZ001
    ],
)
def test_issues_that_make_no_sense_are_refused(tmp_path, columns, message):
    store = ia.open_store(tmp_path / "a.db")
    with pytest.raises(ia.FrameError, match=message):
        store.put(pl.DataFrame(columns))
    assert store.count() == 0


# ---- occurrences ----


def test_an_occurrence_counts_once(store):
    first, second = occurrence(1, at=MONDAY + HOUR), occurrence(2, at=MONDAY, issue_title="Older", level="fatal")
    made = store.record([first, first, second])
    assert made.select("state", "since", "first_seen", "last_seen", "times_seen", "title", "level").rows() == [
        ("new", MONDAY, MONDAY, MONDAY + HOUR, 2, "Timeout", "info")
    ]
    assert store.record([first]).is_empty()
    assert store.record(ia.IssueOccurrence.from_dict(first.to_dict())).is_empty()
    later = occurrence(3, at=MONDAY + DAY, issue_title="Newer", culprit="shop.pay")
    found = store.record([second, later]).row(0, named=True)
    assert (found["times_seen"], found["last_seen"], found["title"]) == (3, MONDAY + DAY, "Newer")
    assert (found["culprit"], found["version"]) == ("shop.pay", 1)
    assert store.record([]).is_empty()
    kept = store.occurrences((1, 7))
    assert_frame_equal(
        check(kept, "Occurrences"),
        pl.DataFrame([one.to_row() for one in (second, first, later)], schema=empty("Occurrences").schema),
    )


def test_a_frame_of_occurrences_is_recorded_as_its_records_are(new_place):
    sim = ia.simulate(groups=30, days=10, seed=4)
    one, other = ia.open_store(new_place()), ia.open_store(new_place())
    one.record(sim.occurrences)
    rows = sim.occurrences.sort("detected_at")
    for part in (rows[::2], rows[1::3], rows):
        other.record(part.lazy())
    assert_frame_equal(one.occurrences(), other.occurrences())
    counted = sim.occurrences.group_by("project_id", "group_id").agg(
        first_seen=pl.col("detected_at").min(),
        last_seen=pl.col("detected_at").max(),
        times_seen=pl.len().cast(pl.Int64),
    )
    for store in (one, other):
        found = store.list().select(counted.columns)
        assert_frame_equal(found, counted, check_row_order=False)
    assert_frame_equal(ia.hourly_counts(one.occurrences()), ia.hourly_counts(sim.occurrences), check_row_order=False)


def test_an_event_after_its_resolution_makes_an_issue_regressed(store):
    store.record([occurrence(1), occurrence(2, group=8)])
    store.resolve([(1, 7), (1, 8)], at=MONDAY + DAY)
    store.record([occurrence(3, at=MONDAY + HOUR), occurrence(4, group=8, at=MONDAY + DAY)])
    assert set(store.list()["state"]) == {"resolved"}  # both happened before, or as it was resolved
    again = [occurrence(5, at=MONDAY + 3 * DAY), occurrence(6, at=MONDAY + 2 * DAY)]
    assert store.record(again).select("group_id", "state", "since", "version").rows() == [
        (7, "regressed", MONDAY + 2 * DAY, 3)
    ]
    assert store.history((1, 7)).select("at", "kind", "maker").rows()[-1] == (
        MONDAY + 2 * DAY, "regressed", "regression"
    )  # fmt: skip
    assert store.get(1, 8).state == "resolved"


def test_an_issue_begins_with_the_priority_of_its_first_event_or_type(store):
    store.record([
        occurrence(1, group=1, initial_issue_priority=75), occurrence(2, group=2, type=1001),
        occurrence(3, group=3, type=424242), occurrence(4, group=4, initial_issue_priority=3),
    ])  # fmt: skip
    found = store.list(sort="group_id", descending=False)
    assert found["priority"].to_list() == found["initial_priority"].to_list() == [75, 25, 50, 50]


# ---- states ----


def test_a_state_changes_exactly_as_the_lifecycle_says(store):
    """Every state, every maker, every other state."""
    legal = [(before, after, by) for before in NAMES for after in NAMES for by in makers(before, after)]
    illegal = set(itertools.product(NAMES, NAMES, MAKERS)) - set(legal)
    first = itertools.count(1000, 100)
    for after, by in itertools.product(NAMES, MAKERS):
        befores = [before for before in NAMES if (before, after, by) in legal]
        if befores:
            groups = in_states(store, befores, first=next(first))
            moved = store.move(list(groups.values()), after, by=by, at=MONDAY + DAY)
            assert moved.select("state", "since").unique().rows() == [(after, MONDAY + DAY)]
            last = store.history(list(groups.values())).group_by("group_id").last()
            assert last.select("kind", "maker", "at").unique().rows() == [(after, by, MONDAY + DAY)]
            assert set(last["version"]) <= {2, 3}
    groups = in_states(store)
    # on one database: a connection per try costs more than it teaches
    tried = illegal if store.name.endswith(".db") else sorted(illegal)[::40]
    for before, after, by in tried:
        if before != after:
            with pytest.raises(ia.FrameError, match=f"{before} -> {after}"):
                store.move(groups[before], after, by=by)
        else:
            assert store.move(groups[before], after, by=by).is_empty()
    assert dict(store.list(group_id=range(100, 112)).select("state", "version").rows()) == {
        name: 1 if name == "new" else 2 for name in NAMES
    }


def test_a_word_that_means_nothing_is_told_though_nothing_would_change(store):
    store.create(1, 7)
    for groups in ((1, 7), []):
        with pytest.raises(ia.SettingsError, match="by 'me': one of first_event, user"):
            store.move(groups, "new", by="me")
        with pytest.raises(ia.FrameError, match="no state 'gone'"):
            store.move(groups, "gone", by="user")


def test_what_cannot_be_done_to_all_is_done_to_none(store):
    groups = in_states(store)
    before = store.list(), store.history()
    with pytest.raises(ia.FrameError, match=r"issue 1:101: ongoing -> escalating: not by escalation, only by platform"):
        store.escalate([groups["archived_until_escalating"], groups["ongoing"]])
    with pytest.raises(ia.FrameError, match=r"no issue 9:9 \(and 1 more\)"):
        store.resolve([groups["new"], (9, 9), (9, 10)])
    with pytest.raises(ia.FrameError, match="would come before it"):
        store.resolve([groups["new"]], at=MONDAY - HOUR)
    for found, kept in zip((store.list(), store.history()), before, strict=True):
        assert_frame_equal(found, kept)


def test_issues_are_archived_until_something_happens(store):
    store.put(pl.DataFrame({"project_id": [1] * 3, "group_id": [1, 2, 3], "first_seen": [MONDAY] * 3}))
    assert store.archive((1, 1), who="ada")["state"].item() == "archived_until_escalating"
    assert store.archive((1, 2), "forever")["state"].item() == "archived_forever"
    until = {"count": 100, "window": 60, "until": MONDAY + DAY}
    store.archive((1, 3), "condition", condition=until)
    issue = store.get(1, 3)
    assert issue.state == "archived_until_condition_met"
    assert issue.condition == {"count": 100, "window": 60, "until": "2026-01-06T00:00:00+00:00"}
    # the same once more is no change; another condition is
    assert store.archive([(1, 1), (1, 2)]).select("group_id", "state").rows() == [(2, "archived_until_escalating")]
    assert store.archive((1, 3), "condition", condition=until).is_empty()
    assert store.archive((1, 3), "condition", condition={"users": 2})["version"].item() == 3
    assert store.escalate((1, 3), by="condition").select("state", "condition").rows() == [("escalating", None)]
    history = store.history((1, 3))
    assert history.select("kind", "cause").rows()[-1] == ("escalating", "condition")
    assert history["version"].to_list() == [1, 2, 3, 4]
    for condition, message in [
        (None, "name at least one"), ({}, "name at least one"), ({"hours": 3}, "'hours' is none of"),
        ({"count": 0}, "met before"), ({"count": "7"}, "whole number"), ({"window": 5}, "name one of them"),
        ({"until": datetime(2026, 1, 1)}, "no time zone"), ({"count": None}, "leave out"),  # noqa: DTZ001
    ]:  # fmt: skip
        with pytest.raises(ia.SettingsError, match=message):
            store.archive((1, 1), "condition", condition=condition)
    with pytest.raises(ia.SettingsError, match="waits for none"):
        store.archive((1, 1), condition={"count": 3})
    with pytest.raises(ia.SettingsError, match="until 'never'"):
        store.archive((1, 1), "never")


def test_priorities_follow_the_lifecycle(store):
    cases = list(itertools.product(NAMES, [*Priority], [*Priority], (False, True)))
    frame = pl.DataFrame(
        [(1, number, state, int(now), int(first), MONDAY if locked else None, MONDAY, MONDAY)
         for number, (state, now, first, locked) in enumerate(cases)],
        schema={"project_id": pl.Int64, "group_id": pl.Int64, "state": pl.String, "priority": pl.Int64,
                "initial_priority": pl.Int64, "priority_locked_at": UTC_US, "first_seen": UTC_US, "since": UTC_US},
        orient="row",
    )  # fmt: skip
    for after, by in [("escalating", "platform"), ("ongoing", "platform"), ("resolved", "platform")]:
        store.put(frame.with_columns(project_id=pl.lit(NAMES.index(after), pl.Int64)))
        store.move(store.list(project_id=NAMES.index(after)), after, by=by)
        found = dict(store.list(project_id=NAMES.index(after)).select("group_id", "priority").rows())
        for number, (state, now, first, locked) in enumerate(cases):
            wanted = now if state == after else priority_after(after, now, first, before=state, locked=locked)
            assert found[number] == wanted, (state, now, first, locked)
    store.put(frame.with_columns(project_id=pl.lit(99, pl.Int64)))
    store.ongoing(MONDAY + 7 * DAY)
    found = dict(store.list(project_id=99).select("group_id", "priority").rows())
    for number, (state, now, first, locked) in enumerate(cases):
        moved = state in ("new", "regressed", "escalating")
        assert found[number] == (priority_after("ongoing", now, first, before=state, locked=locked) if moved else now)


def test_after_seven_days_issues_are_ongoing_once(store):
    groups = in_states(store)
    store.escalate(groups["archived_until_escalating"], at=MONDAY + HOUR, forecast=12)
    assert store.ongoing(MONDAY + 7 * DAY - timedelta(microseconds=1)).is_empty()
    moved = store.ongoing(MONDAY + 7 * DAY, who="cron")
    names = {key: name for name, key in groups.items()}
    assert [names[key] for key in moved.select("project_id", "group_id").rows()] == ["new", "escalating", "regressed"]
    assert moved.select("state", "since").unique().rows() == [("ongoing", MONDAY + 7 * DAY)]
    told = store.history(groups["escalating"]).row(-1, named=True)
    assert (told["kind"], told["maker"], told["at"], told["who"]) == (
        "ongoing", "auto_ongoing", MONDAY + 7 * DAY, "cron"
    )  # fmt: skip
    before = store.list(), store.history()
    assert store.ongoing(MONDAY + 7 * DAY).is_empty()
    for found, kept in zip((store.list(), store.history()), before, strict=True):
        assert_frame_equal(found, kept)
    assert store.ongoing(MONDAY + 7 * DAY + HOUR)["group_id"].to_list() == [groups["archived_until_escalating"][1]]


def test_no_change_is_dated_before_the_last_one(store):
    """New since Tuesday, first seen, as it turned out later, a month before."""
    store.record(occurrence(1, at=MONDAY + DAY))
    store.record(occurrence(2, at=MONDAY - 30 * DAY))
    assert store.ongoing(MONDAY).is_empty()
    assert store.ongoing(MONDAY + 2 * DAY).height == 1


def test_users_bring_issues_back(store):
    groups = in_states(store)
    assert store.unresolve(groups["resolved"], who="ada")["state"].item() == "ongoing"
    assert store.unarchive([groups["archived_forever"], groups["ongoing"]]).height == 1
    assert store.review([groups["regressed"], groups["escalating"]]).height == 2
    with pytest.raises(ia.FrameError, match="is new; only resolved or ongoing is meant"):
        store.unresolve(groups["new"])
    with pytest.raises(ia.FrameError, match="is new; only"):
        store.unarchive(groups["new"])


def test_the_history_is_a_record_of_status_changes(store):
    store.record(occurrence(1))
    store.archive((1, 7), at=MONDAY + HOUR)
    store.escalate((1, 7), forecast=46, at=MONDAY + 2 * DAY)
    history = store.history()
    assert history.schema == FRAMES["history"]
    changes = check(history, "StatusChanges")
    escalations, exposure = ia.label_escalations(changes)
    assert escalations.select("escalated_at", "provenance").rows() == [(MONDAY + 2 * DAY, "algorithm")]
    assert exposure.height == 1
    assert changes["forecast"].to_list() == [None, None, 46]


def test_recorded_changes_are_taken_up_once(store):
    recorded = pl.DataFrame(
        [
            (1, 7, MONDAY, "first_seen", None, None),
            (1, 7, MONDAY + HOUR, "archived_until_escalating", None, None),
            (1, 7, MONDAY + DAY, "note", None, None),
            (1, 7, MONDAY + 2 * DAY, "escalating", "forecast", 46),
            (1, 8, MONDAY, "unresolved", None, None),
        ],
        schema=["project_id", "group_id", "at", "kind", "cause", "forecast"],
        orient="row",
    ).with_columns(source=pl.lit("activity"))
    assert store.load(recorded[:3]) == 3
    assert store.get(1, 7).state == "archived_until_escalating"
    assert store.load(recorded.lazy()) == 2
    assert store.load(recorded) == 0
    issue = store.get(1, 7)
    assert (issue.state, issue.since, issue.first_seen, issue.version) == ("escalating", MONDAY + 2 * DAY, MONDAY, 5)
    assert store.get(1, 8).state == "ongoing"
    assert store.history((1, 7)).select("kind", "maker", "source", "version").rows() == [
        ("new", "first_event", "store", 1),
        ("first_seen", None, "activity", 2),
        ("archived_until_escalating", None, "activity", 3),
        ("note", None, "activity", 4),
        ("escalating", "escalation", "activity", 5),
    ]
    # what was done here since is newer than what is told now
    store.resolve((1, 7), at=MONDAY + 5 * DAY)
    late = recorded.filter(kind="escalating").with_columns(at=pl.lit(MONDAY + 4 * DAY, UTC_US))
    assert store.load(late) == 1
    assert store.get(1, 7).state == "resolved"


# ---- forecasts and labels ----


def test_recorded_changes_may_come_in_portions(new_place):
    """The last state, since when it lasts and the priority are those of all changes at once."""
    chance = random.Random(4)  # noqa: S311 - no secret
    kinds = [*(name for name in NAMES if name != "new"), "unresolved", "ignored", "note", "escalating", "escalating"]
    rows = [
        {"project_id": 1, "group_id": group, "at": MONDAY + chance.randrange(30 * 24) * HOUR,
         "kind": chance.choice(kinds), "source": "activity"}
        for group in range(40) for _ in range(chance.randrange(1, 9))
    ]  # fmt: skip
    rows.append({"project_id": 1, "group_id": 7, "at": MONDAY, "kind": "first_seen", "source": "activity"})
    frame = pl.DataFrame(rows, schema_overrides={"at": UTC_US})
    # what happens to an issue at one instant is in no order
    frame = pl.concat([empty("StatusChanges"), frame], how="diagonal").unique(["group_id", "at"], keep="last")
    whole, portions = ia.open_store(new_place()), ia.open_store(new_place())
    assert whole.load(frame) == frame.height
    for first in range(0, 31, 3):
        some = pl.col("at").is_between(MONDAY + first * DAY, MONDAY + (first + 3) * DAY, closed="left")
        portions.load(frame.filter(some))
    assert_frame_equal(portions.list(sort="group_id"), whole.list(sort="group_id"))
    assert_frame_equal(portions.history(), whole.history())
    assert whole.list()["priority"].n_unique() == 2


def forecasts(groups, at=MONDAY, first=46):
    rows = [(1, group, at, [first + day for day in range(14)]) for group in groups]
    return pl.DataFrame(rows, schema=FRAMES["forecasts"], orient="row")


def test_forecasts_are_kept_and_read_as_a_frame(store):
    store.record([occurrence(1), occurrence(2, group=8)])
    assert store.put_forecasts(forecasts([7, 8])) == 2
    assert store.put_forecasts(forecasts([7], at=MONDAY + DAY).lazy()) == 1
    assert_frame_equal(store.forecasts((1, 7)), pl.concat([forecasts([7]), forecasts([7], at=MONDAY + DAY)]))
    assert_frame_equal(store.forecasts(latest=True), pl.concat([forecasts([7], at=MONDAY + DAY), forecasts([8])]))
    store.put_forecasts(forecasts([8], first=1))
    assert_frame_equal(check(store.forecasts((1, 8)), "ForecastRecords"), forecasts([8], first=1))
    with pytest.raises(ia.FrameError, match="no issue 1:9"):
        store.put_forecasts(forecasts([8, 9]))
    with pytest.raises(ia.FrameError, match="14 limits"):
        store.put_forecasts(forecasts([7]).with_columns(pl.col("forecast").list.head(13)))


def test_labels_become_a_human_truth(store):
    """The last word on an alert counts, whoever has it; nothing that was said is lost."""
    sim = ia.simulate(groups=40, days=21, seed=2)
    counts = ia.hourly_counts(sim.occurrences)
    alert = ia.backtest(counts, buckets="dense").alerts.row(0, named=True)
    key, hour = (alert["project_id"], alert["group_id"]), alert["hour"]
    store.label(*key, hour + timedelta(minutes=20), "noise", who="ada", note=HOSTILE, at=MONDAY)
    assert store.human_escalations().is_empty()
    store.label(*key, hour, "escalated", who="bob", at=MONDAY - DAY)
    store.label(*key, hour + HOUR, "noise")
    assert store.labels().select("hour", "verdict", "who").rows() == [
        (hour, "escalated", "bob"), (hour + HOUR, "noise", None)
    ]  # fmt: skip
    everything = store.labels(key, superseded=True)
    assert everything["verdict"].to_list() == ["noise", "escalated", "noise"]
    assert everything["note"][0] == CLEAN
    truth = store.human_escalations()
    assert truth["provenance"].to_list() == ["human"]
    assert truth["escalated_at"].to_list() == [hour]
    result = ia.backtest(counts, truth, buckets="dense")
    assert result.matches["provenance"].to_list() == ["human"]
    assert result.summary()["events_caught"].item() == 1
    # what nobody labelled is not judged: neither caught, nor missed, nor false
    labelled = store.human_exposure()
    assert labelled.select("start", "end").rows() == [(hour, hour + HOUR), (hour + HOUR, hour + 2 * HOUR)]
    judged = ia.backtest(counts, truth, exposure=labelled, buckets="dense")
    assert judged.exposure.select("start", "end").rows() == [(hour, hour + 2 * HOUR)]
    assert judged.summary().select("alerts", "events", "events_caught", "false_alarms").row(0) == (1, 1, 1, 0)
    assert result.summary()["false_alarms"].item() > 0
    with pytest.raises(ia.SettingsError, match="verdict 'maybe': one of escalated, noise"):
        store.label(*key, hour, "maybe")
    with pytest.raises(ia.SettingsError, match="no time zone"):
        store.label(*key, datetime(2026, 1, 5), "noise")  # noqa: DTZ001


def test_an_alert_that_nobody_judged_is_neither_a_catch_nor_a_false_alarm(store):
    sim = ia.simulate(groups=40, days=28, seed=2)
    counts = ia.hourly_counts(sim.occurrences)
    alerts = ia.backtest(counts, buckets="dense").alerts
    # one alert of each group: no other lies near
    first = alerts.unique(["project_id", "group_id"], keep="first", maintain_order=True)
    said = ["escalated", "noise", "noise", None]
    assert first.height > len(said)
    for row, verdict in zip(first.iter_rows(named=True), itertools.cycle(said)):
        if verdict:
            store.label(row["project_id"], row["group_id"], row["hour"] + timedelta(minutes=59), verdict)
    right = len(range(0, first.height, 4))
    wrong = len(range(1, first.height, 4)) + len(range(2, first.height, 4))
    assert store.human_exposure().height == right + wrong
    judged = ia.backtest(counts, store.human_escalations(), exposure=store.human_exposure(), buckets="dense")
    scores = judged.summary().row(0, named=True)
    assert (scores["events"], scores["events_caught"], scores["false_alarms"]) == (right, right, wrong)
    assert scores["precision"] == pytest.approx(right / (right + wrong))
    everything = ia.backtest(counts, store.human_escalations(), buckets="dense").summary().row(0, named=True)
    assert everything["false_alarms"] == alerts.height - right > wrong


# ---- hostile text, sizes ----


def test_text_is_data(store):
    store.create(1, 7, title=HOSTILE, culprit=HOSTILE, level="\ud83d", who=HOSTILE)
    issue = store.get(1, 7)
    assert (issue.title, issue.culprit, issue.level) == (CLEAN, CLEAN, "\ufffd")
    assert store.count(text=HOSTILE) == 1
    store.update(1, 7, version=1, title=f"{HOSTILE}{HOSTILE}", who=HOSTILE)
    store.resolve((1, 7), who=HOSTILE)
    assert store.history((1, 7))["who"].to_list()[1:] == [CLEAN, CLEAN]
    long = "x" * 10_000 + HOSTILE
    hostile = [
        occurrence(
            1, group=8, id=HOSTILE, event_id=HOSTILE, fingerprint=[HOSTILE, long], issue_title=long, level=HOSTILE
        ),
        occurrence(2, group=8, id=long, issue_title=None),
        occurrence(3, group=8, id=f"{long}!"),
    ]
    assert store.record(hostile)["times_seen"].to_list() == [3]
    assert store.record(hostile).is_empty()
    kept = store.occurrences((1, 8)).filter(pl.col("event_id") == CLEAN)
    assert kept["fingerprint"].to_list() == [[HOSTILE, long]]
    assert store.count() == 2


def test_numbers_no_database_holds_are_refused(store):
    for key in [(1, 2**63), (-1, 7), (1, None), (1, "7"), (True, 7)]:
        with pytest.raises(ia.FrameError):
            store.get(*key)
    largest = 2**63 - 1
    store.create(largest, largest)
    assert store.get(largest, largest).group_id == largest
    with pytest.raises(ia.FrameError, match="too large"):
        store.escalate((largest, largest), forecast=2**63, by="platform")
    with pytest.raises(ia.FrameError, match="is no pair"):
        store.resolve([(1, 2, 3)])
    assert store.resolve([]).is_empty()


def test_a_hundred_thousand_issues_in_one_call(store):
    """More than a statement has parameters for, and within seconds."""
    number = pl.int_range(100_000, dtype=pl.Int64, eager=True)
    frame = pl.DataFrame({"project_id": number % 50, "group_id": number}).with_columns(
        title=pl.format("Error {}", number), first_seen=pl.lit(MONDAY, UTC_US), times_seen=number,
        state=pl.when(number % 2 == 0).then(pl.lit("archived_until_escalating")), since=pl.lit(MONDAY, UTC_US),
    )  # fmt: skip
    started = time.monotonic()
    assert store.put(frame) == 100_000
    assert time.monotonic() - started < 60  # two seconds on an idle machine
    assert store.count(state="archived_until_escalating") == 50_000
    escalated = store.escalate(store.list(state="archived"), forecast=3)
    assert escalated.height == 50_000
    assert store.ongoing(MONDAY + 7 * DAY)["state"].to_list() == ["ongoing"] * 50_000
    history = store.history()
    assert history.height == 250_000
    assert history.group_by("kind").len().sort("kind").rows() == [
        ("archived_until_escalating", 50_000), ("escalating", 50_000), ("new", 100_000), ("ongoing", 50_000)
    ]  # fmt: skip


# ---- places, versions ----


def test_what_is_no_store_is_refused(tmp_path):
    text = tmp_path / "notes.db"
    text.write_text("no database at all, but long enough to look at" * 20)
    with pytest.raises(ia.DatasetError, match="not a database"):
        ia.open_store(text)
    other = tmp_path / "other.db"
    for table in ("bookmarks", "issues"):
        with sqlite3.connect(other) as connection:
            connection.execute(f"CREATE TABLE {table} (id)")
        connection.close()
        before = other.read_bytes()
        for create in (True, False):
            with pytest.raises(ia.DatasetError, match=r"no store's \(bookmarks"):
                ia.open_store(other, create=create)
        assert other.read_bytes() == before  # somebody else's file is left as it was
    with pytest.raises(ia.DatasetError, match="a folder"):
        ia.open_store(tmp_path)
    for missing in (tmp_path / "typo.db", "sqlite:////nowhere/typo.db"):
        with pytest.raises(ia.DatasetError, match="no store"):
            ia.open_store(missing, create=False)
    assert not (tmp_path / "typo.db").exists()
    (tmp_path / "empty.db").touch()
    with pytest.raises(ia.DatasetError, match="no store"):
        ia.open_store(tmp_path / "empty.db", create=False)
    assert ia.open_store(tmp_path / "new" / "a.db").count() == 0
    assert ia.open_store(f"sqlite:///{tmp_path}/new/b.db").count() == 0
    for wrong in ("", "a\0b.db", ":memory:", "sqlite://", "mysql://a:geheim@host/db", "redis://x"):
        with pytest.raises(ia.SettingsError) as error:
            ia.open_store(wrong)
        assert "geheim" not in str(error.value)


def test_a_server_that_is_not_there_is_told_without_its_password(postgres):
    with pytest.raises(ia.DatasetError, match="refused") as error:
        ia.open_store("postgresql://ia:geheim@127.0.0.1:1/issues")
    assert "geheim" not in str(error.value)
    wrong = postgres.replace("://tests:", "://tests:geheim")
    with pytest.raises(ia.DatasetError, match="password authentication failed") as error:
        ia.open_store(wrong)
    assert "geheim" not in str(error.value)
    with pytest.raises(ia.DatasetError, match="no store"):
        ia.open_store(postgres, create=False)
    with pytest.raises(ia.DatasetError, match="no schema"):
        ia.open_store(f"{postgres}?options=-csearch_path%3Dnowhere")


def test_a_url_that_makes_no_sense_is_told_without_its_password(postgres):
    for wrong in (
        "postgresql:ia:geheim@host/db", "postgresql:/ia:geheim@host/db", "Postgres+psycopg:ia:geheim@host/db",
        "postgresql://ia:geheim@host/db?host=a&port=geheim",
    ):  # fmt: skip
        with pytest.raises(ia.SettingsError, match="the URL makes no sense") as error:
            ia.open_store(wrong)
        assert "geheim" not in str(error.value)
    with pytest.raises(ia.DatasetError, match='invalid connection option "colour"'):
        ia.open_store(f"{postgres}?colour=geheim")


def test_a_store_of_a_newer_version_is_refused(store, place):
    store.create(1, 7)
    database = Database(place)
    newer = sa.text("INSERT INTO schema_version (version, at) VALUES (99, 0)")
    database.write(lambda connection: connection.execute(newer))
    with pytest.raises(ia.DatasetError, match="version 99, written by a newer issue_analytics"):
        ia.open_store(place)


def version_1(place):
    """A store as version 1 of the package left it: a dump of a real one."""
    statements = Path(__file__).with_name("store_version_1.sql").read_text()
    if place.endswith(".db"):
        connection = sqlite3.connect(place)
        connection.executescript(statements)
        connection.close()
        return
    import psycopg

    engine = sa.create_engine(place.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        carry_out(connection, 1)
    rows = [line for line in statements.splitlines() if line.startswith("INSERT") and "sqlite_" not in line]
    rows = [row.replace('"history" VALUES', '"history" OVERRIDING SYSTEM VALUE VALUES') for row in rows]
    rows = [row.replace('"labels" VALUES', '"labels" OVERRIDING SYSTEM VALUE VALUES') for row in rows]
    with psycopg.connect(place) as connection:
        # issues before what refers to them
        for row in sorted(rows, key=lambda row: '"issues"' not in row):
            if "schema_version" not in row:
                connection.execute(row)
        for table in ("history", "labels"):
            connection.execute(f"ALTER TABLE {table} ALTER COLUMN id RESTART WITH 100")


def test_a_store_of_version_1_is_brought_up_to_date(place):
    version_1(place)
    store = ia.open_store(place)
    issue = asdict(store.get(1, 7))
    assert (issue["state"], issue["title"], issue["times_seen"], issue["version"]) == (
        "escalating", "Timeout in checkout", 2, 3
    )  # fmt: skip
    assert store.history((1, 7)).select("kind", "forecast", "note").rows() == [
        ("new", None, None), ("archived_until_escalating", None, None), ("escalating", 46, None)
    ]  # fmt: skip
    assert store.human_escalations().height == 1
    assert store.forecasts()["forecast"].to_list() == [[46] * 14]
    assert store.occurrences().height == 3
    store.move((1, 7), "ongoing", by="user", note="seen", who="ada")
    assert store.history((1, 7))["note"].to_list() == [None, None, None, "seen"]
    assert Database(place).read(version_of) == len(STEPS)


def test_a_migration_that_fails_leaves_the_store_as_it_was(store, place, monkeypatch):
    store.create(1, 7)
    broken = (*STEPS, ("CREATE TABLE extra (a BIGINT)", "UPDATE issues SET title = 'lost'", "DROP TABLE nowhere"))
    for module in (migrations, database):
        monkeypatch.setattr(module, "STEPS", broken)
    with pytest.raises((ia.DatasetError, sa.exc.DBAPIError), match="nowhere"):
        ia.open_store(place)
    monkeypatch.undo()
    assert ia.open_store(place).get(1, 7).title is None
    tables = Database(place).read(lambda connection: sa.inspect(connection).get_table_names())
    assert "extra" not in tables


def test_the_tables_are_those_that_the_migrations_make(store, place):
    def found(connection):
        return {
            table: [column["name"] for column in sa.inspect(connection).get_columns(table)]
            for table in sa.inspect(connection).get_table_names()
        }

    tables = {table.name: [column.name for column in table.columns] for table in METADATA.sorted_tables}
    assert Database(place).read(found) == tables
    for name, columns in FRAMES.items():
        assert list(columns) == [column for column in tables[name] if column != "id"]


def test_nothing_stays_open(store):
    """A store can be handed to another thread or process as it is."""
    copy = pickle.loads(pickle.dumps(store))  # noqa: S301
    store.create(1, 7)
    assert copy.get(1, 7) == store.get(1, 7)
    assert repr(copy) == repr(store)
    assert ":***@" in repr(store) or "://" not in repr(store)
