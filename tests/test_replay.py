"""The replay against a plain simulation of one group and one occurrence at a time, the record, and the laws."""

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from datetime import timedelta
from heapq import heapify, heappop, heappush
from importlib import import_module
from time import perf_counter

import numpy as np
import polars as pl
import pytest
from histories import COUNTS, HOUR, MONDAY, slow_limit
from polars.testing import assert_frame_equal

import issue_analytics as ia
from issue_analytics.backtest.policy import PRODUCTION, PRODUCTION_2023
from issue_analytics.backtest.replay import replay
from issue_analytics.backtest.velocity import velocity_escalations
from issue_analytics.counts import panels
from issue_analytics.frames import check, empty

KEY = ["project_id", "group_id"]
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
DAYS = 34
END = MONDAY + DAYS * DAY
OPENS = MONDAY + 7 * DAY
CHANGES = empty("StatusChanges").schema
ARCHIVED = "archived_until_escalating"

# where a recorded change leads, from which states alone if not from all
FROM = {
    ("escalating", "condition"): ("unknown", "archived_until_condition_met", "ignored"),
    ("escalating", "velocity"): ("unknown", "new", "unresolved"),
    ("regressed", None): ("unknown", "resolved"),
    ("first_seen", None): ("unknown",),
}


@dataclass
class Group:
    """One group as a loop sees it."""

    moments: list
    changes: list  # at, kind, cause
    watched: bool = True
    alerts: list = field(default_factory=list)
    states: list = field(default_factory=list)


def one_at_a_time(group, thresholds, policy, buckets="sparse", *, end=END, opens=OPENS):
    """Everything in the order of time: refreshes, occurrences, what the record says."""
    hours = np.zeros(int((end - MONDAY) / HOUR), dtype=np.int64)
    for at in group.moments:
        hours[(at - MONDAY) // HOUR] += 1
    born = min((at for at, kind, _ in group.changes if kind == "first_seen"), default=None)
    state, made, as_of = "unknown", None, None
    refreshes = policy.moments(opens, end)

    # at one instant: what the clock does, occurrences, what people do
    items = [(at, 0, "refresh", None) for at in refreshes]
    items += [(at, 1, "occurrence", number) for number, at in enumerate(group.moments)]
    before = None
    for at, kind, cause in sorted(group.changes, key=lambda change: (change[0], change[1] == ARCHIVED)):
        if not (kind == "ongoing" and before in ("first_seen", "new", "regressed", "escalating", "ongoing")) and (
            cause != "forecast"
        ):
            items.append((at, 2, kind, cause))
        if kind != "first_seen" or before is None:  # seen late is not new again
            before = kind
    # what the loop adds later comes after what is due at the same time, and before any occurrence
    items = [(at, order, number, what, more) for number, (at, order, what, more) in enumerate(items)]
    heapify(items)
    own_way = False
    known = {}

    def window(at):
        first = int((at - MONDAY) / HOUR) - 168
        return None if first < 0 else hours[first : first + 168].tolist()

    def make(at, moment):
        nonlocal made, as_of
        points = window(at)
        if points is not None and any(points):
            made, as_of = moment, at

    def limit_at(at):
        if made is None or at - made >= policy.hold_days * DAY:
            return policy.fallback, "fallback"
        day = (made.date() + min((at.date() - made.date()).days, 13) * DAY).weekday()
        young = buckets == "dense" and born is not None and timedelta(0) <= as_of - born < 7 * DAY
        points = window(as_of)
        if young:
            return 10 * max(points), "new"
        if (as_of, day) not in known:
            known[as_of, day] = slow_limit(points, as_of, day, thresholds, sparse=buckets == "sparse")
        return known[as_of, day]

    while items:
        at, _, _, what, more = heappop(items)
        if at >= end:
            break
        if what == "refresh":
            seen = hours[: int((at - MONDAY) / HOUR)][-24 * policy.seen_days :]
            if state == ARCHIVED and group.watched and seen.any():
                make(at, at)
        elif what == "make up":
            if state == ARCHIVED and (made is None or at - made >= policy.hold_days * DAY):
                make(at, at)
        elif what == "occurrence":
            young = born is not None and born <= at < born + timedelta(hours=policy.min_age_hours)
            if not (state == ARCHIVED and group.watched and not young and at >= opens):
                continue
            limit, rule = limit_at(at)
            hour = at.replace(minute=0, second=0, microsecond=0)
            if rule == "fallback" and policy.regenerate:
                heappush(items, (hour + HOUR, 0.5, more, "make up", None))
            so_far = more + 1 - bisect_left(group.moments, hour)
            if limit is not None and limit > 0 and so_far > limit:
                group.alerts.append((at, limit, rule))
                state = "escalating"
                group.states.append((at, state))
                own_way = policy.rearchive != "record"
                if policy.rearchive_after is not None:
                    again = max(at + policy.rearchive_after, hour + HOUR)
                    heappush(items, (again, 0.7, more, "again", None))
        else:
            target = {"first_seen": "new", "again": ARCHIVED}.get(what, what)
            if own_way and what != "again":
                continue
            if (what, more) in FROM and state not in FROM[what, more]:
                continue
            if what == state == "escalating":
                continue
            state = target
            group.states.append((at, state))
            if state == ARCHIVED and group.watched and policy.refresh_on_archive and at >= MONDAY:
                make(at.replace(minute=0, second=0, microsecond=0), at)
    return group


def spans(states, policy, end=END):
    """States as the replay tells them: no empty spans, ongoing after a while."""
    found = []
    for (start, state), after in zip(states, [*(at for at, _ in states), None][1:]):
        if after == start or start >= end:
            continue
        settles = start + policy.ongoing_days * DAY if policy.ongoing_days else None
        if settles and state in ("new", "regressed", "escalating") and settles < (after or end):
            found += [(state, start, settles), ("ongoing", settles, after)]
        else:
            found.append((state, start, after))
    return found


def random_group(rng):
    """Bursts, silences of days and weeks, and changes at awkward moments."""
    hours = DAYS * 24
    rate = float(rng.choice([0.02, 0.2, 1.0, 6.0], p=[0.35, 0.35, 0.2, 0.1]))
    counts = rng.poisson(rate, hours)
    for _ in range(rng.integers(0, 3)):
        at = int(rng.integers(0, hours))
        counts[at : at + int(rng.choice([100, 340, 500]))] = 0
    for _ in range(rng.integers(0, 8)):
        at, size = int(rng.integers(0, hours)), int(rng.integers(1, 60))
        counts[at : at + int(rng.integers(1, 4))] += size
    moments = []
    for hour in np.nonzero(counts)[0].tolist():
        within = rng.integers(0, 3_600_000_000, counts[hour])
        within[rng.random(within.size) < 0.05] = 0
        within[rng.random(within.size) < 0.05] = 3_599_999_999
        moments += [MONDAY + hour * HOUR + int(us) * TICK for us in within]
    moments.sort()

    def some_time():
        choice = rng.random()
        if choice < 0.2 and moments:
            return moments[int(rng.integers(0, len(moments)))] + int(rng.integers(-1, 2)) * TICK
        if choice < 0.35:
            return MONDAY + int(rng.integers(0, DAYS)) * DAY + int(rng.integers(-1, 2)) * TICK
        if choice < 0.5:
            return MONDAY + int(rng.integers(0, hours)) * HOUR
        return MONDAY + timedelta(hours=float(rng.uniform(-24, hours)))

    kinds = [
        (ARCHIVED, None), ("archived_forever", None), ("archived_until_condition_met", None), ("resolved", None),
        ("regressed", None), ("escalating", "condition"), ("escalating", "velocity"), ("escalating", "platform"),
        ("ongoing", None), ("unresolved", None), ("ignored", None), ("escalating", "forecast"),
    ]  # fmt: skip
    odds = np.array([12, 1, 1, 2, 1, 1, 1, 0.5, 1, 1, 1, 4])
    changes = []
    if rng.random() < 0.7:
        born = moments[0] if moments and rng.random() < 0.5 else some_time()
        changes.append((born, "first_seen", None))
    for _ in range(rng.integers(1, 7)):
        at = some_time()
        changes.append((at, *kinds[rng.choice(len(kinds), p=odds / odds.sum())]))
        if rng.random() < 0.3:  # and something else in the same hour
            changes.append((at + int(rng.integers(0, 600)) * timedelta(seconds=1), ARCHIVED, None))
    # two changes at one instant have no order that the record would tell
    once = {at: (at, kind, cause) for at, kind, cause in changes}
    return Group(moments, list(once.values()), watched=rng.random() < 0.95)


def frames(groups):
    """Occurrences, hourly counts, status changes and types of groups."""
    occurrences = pl.DataFrame(
        [(1, number, at) for number, group in enumerate(groups) for at in group.moments],
        schema={"project_id": pl.Int64, "group_id": pl.Int64, "detected_at": pl.Datetime("us", "UTC")},
        orient="row",
    ).with_columns(type=pl.lit(1, dtype=pl.Int64))
    # the span of all groups, whoever is silent
    edges = pl.DataFrame({"project_id": 1, "group_id": 10**6, "hour": [MONDAY, END - HOUR], "count": 1}, schema=COUNTS)
    counts = pl.concat([ia.hourly_counts(occurrences), edges])
    changes = pl.DataFrame(
        [(1, number, *change) for number, group in enumerate(groups) for change in group.changes],
        schema=["project_id", "group_id", "at", "kind", "cause"],
        orient="row",
    ).select(
        *KEY,
        pl.col("at").cast(pl.Datetime("us", "UTC")),
        "kind",
        "cause",
        forecast=pl.when(pl.col("cause") == "forecast").then(pl.lit(12)),
        source=pl.lit("activity"),
    )
    types = pl.DataFrame(
        {"project_id": 1, "group_id": range(len(groups)), "type": [1 if g.watched else 7001 for g in groups]}
    )
    return occurrences.sample(fraction=1, shuffle=True, seed=1), counts, changes.cast(CHANGES), types.cast(pl.Int64)


SPARSE = "sparse"
SETTINGS = [
    (ia.STANDARD, PRODUCTION, "sparse"),
    (ia.TIGHTER, PRODUCTION_2023, "dense"),
    (ia.LOOSER, replace(PRODUCTION, every="1w", rearchive="2d", regenerate=False), "sparse"),
    (ia.STANDARD, replace(PRODUCTION, every="12h", offset="5h", rearchive="0h", min_age_hours=0, seen_days=3), SPARSE),
    (ia.STANDARD, replace(PRODUCTION, hold_days=2, every="1w", ongoing_days=None, fallback=4), "dense"),
    (ia.STANDARD, replace(PRODUCTION, refresh_on_archive=False, fallback=None, rearchive="never"), "sparse"),
]  # fmt: skip


@pytest.fixture(scope="module")
def histories():
    rng = np.random.default_rng(17)
    groups = [random_group(rng) for _ in range(350)]
    return groups, *frames(groups)


@pytest.mark.parametrize(("thresholds", "policy", "buckets"), SETTINGS)
def test_it_equals_a_loop_over_one_occurrence_at_a_time(histories, thresholds, policy, buckets):
    """Of 2,100 random histories, over the settings."""
    known, occurrences, counts, changes, types = histories
    opens = policy.moments(OPENS, END)[0]
    groups = [Group(one.moments, one.changes, one.watched) for one in known]
    for group in groups:
        one_at_a_time(group, thresholds, policy, buckets, opens=opens)
    played = replay(
        counts, changes, occurrences=occurrences, thresholds=thresholds, policy=policy, buckets=buckets, types=types
    )
    assert played.opens == opens
    expected = sorted((n, at, limit, rule) for n, group in enumerate(groups) for at, limit, rule in group.alerts)
    assert len(expected) > 60
    assert played.alerts.select("group_id", "at", "limit", "rule").rows() == expected
    states = [(n, *span) for n, group in enumerate(groups) for span in spans(group.states, policy)]
    assert played.states.select("group_id", "state", "start", "end").rows() == states
    for name in ("alerts", "exposure", "limits"):
        check(getattr(played, name), name.capitalize())


# --- hours without the times of occurrences ---------------------------------------------------------------------------


@pytest.mark.parametrize("rearchive", ["0h", "2d"])
def test_by_the_hour_it_is_as_if_all_occurred_at_the_end_of_the_hour(histories, rearchive):
    _, occurrences, counts, changes, types = histories
    policy = replace(PRODUCTION, rearchive=rearchive)
    # one archiving each: a second one could fall into an hour that fired
    archived = changes.filter(pl.col("kind") == ARCHIVED).sort("at").unique(KEY, keep="first")
    late = occurrences.with_columns(pl.col("detected_at").dt.truncate("1h") + HOUR - TICK)
    by_hour = replay(counts, archived, policy=policy, types=types)
    exact = replay(counts, archived, occurrences=late, policy=policy, types=types)
    assert by_hour.alerts.height > 100
    assert by_hour.alerts["at"].null_count() == by_hour.alerts.height
    assert_frame_equal(by_hour.alerts.drop("at"), exact.alerts.drop("at"))
    seconds = pl.col("start", "end").dt.round("1s")
    assert_frame_equal(by_hour.exposure.with_columns(seconds), exact.exposure.with_columns(seconds))


def test_an_hour_whose_occurrences_are_not_all_there_counts_as_a_whole():
    at = OPENS + 100 * HOUR
    counts = history({-30: 3, 100: 50})
    few = pl.DataFrame({"project_id": 1, "group_id": 7, "type": 1, "detected_at": [at] * 20}).cast(
        {"detected_at": pl.Datetime("us", "UTC"), "project_id": pl.Int64, "group_id": pl.Int64, "type": pl.Int64}
    )
    played = replay(counts, record((OPENS - 40 * HOUR, ARCHIVED)), occurrences=few)
    assert played.alerts.select("hour", "count", "at").rows() == [(at, 50, None)]


# --- single rules -----------------------------------------------------------------------------------------------------


def history(counts, *, days=DAYS):
    """Counts of one group, by hours since the first judged one; the span is always the same."""
    rows = [(1, 7, OPENS + hour * HOUR, count) for hour, count in counts.items()]
    edges = [(1, 10**6, at, 1) for at in (MONDAY, MONDAY + days * DAY - HOUR)]
    return pl.DataFrame([*rows, *edges], schema=COUNTS, orient="row")


def record(*changes):
    rows = [(1, 7, at, kind, *(more or [None]), None, "activity") for at, kind, *more in changes]
    return pl.DataFrame(rows, schema=CHANGES, orient="row")


def alerts(counts, changes, policy=PRODUCTION, **more):
    played = replay(counts, changes, policy=policy, **more)
    return played.alerts.select((pl.col("hour") - OPENS).dt.total_hours(), "count", "limit", "rule").rows()


EARLY = OPENS - DAY


def test_only_what_is_archived_until_it_escalates_is_checked():
    counts = history({-20: 3, 50: 31, 80: 500})
    assert alerts(counts, record((EARLY, ARCHIVED))) == [(50, 31, 30, "new")]
    for kind in ("archived_forever", "archived_until_condition_met", "resolved", "ongoing", "ignored"):
        assert alerts(counts, record((EARLY, kind))) == []
    # and it is out until it is archived again, with limits made anew
    again = record((EARLY, ARCHIVED), (OPENS + 60 * HOUR, ARCHIVED))
    assert alerts(counts, again) == [(50, 31, 30, "new"), (80, 500, 310, "new")]


@pytest.mark.parametrize(
    ("rearchive", "expected"),
    [("never", [50]), ("0h", [50, 51, 80]), ("1d", [50, 80]), ("2d", [50])],
)
def test_rules_for_archiving_again(rearchive, expected):
    counts = history({-20: 3, 50: 31, 51: 32, 80: 500})
    policy = replace(PRODUCTION, rearchive=rearchive, refresh_on_archive=False, every="1w")
    ignored = (OPENS + 52 * HOUR, ARCHIVED)  # the record has ended where the replay went its own way
    assert [hour for hour, *_ in alerts(counts, record((EARLY, ARCHIVED), ignored), policy)] == expected


def test_equal_to_the_limit_is_not_above_it():
    assert alerts(history({-20: 3, 50: 30}), record((EARLY, ARCHIVED))) == []


def test_a_group_in_its_first_day_is_not_checked():
    counts = history({0: 3, 20: 400})
    archived = (OPENS + 10 * HOUR, ARCHIVED)
    assert alerts(counts, record((OPENS - 3 * HOUR, "first_seen"), archived)) == []
    assert alerts(counts, record((OPENS - 4 * HOUR, "first_seen"), archived)) == [(20, 400, 30, "new")]


def test_a_quiet_group_keeps_its_limit_for_14_days_and_then_has_the_fallback():
    archived = record((EARLY, ARCHIVED))
    # seen last 4 hours before the judging begins: refreshed until six days later, to midnight 20 days later
    for hour, limit, rule in ((20 * 24 - 1, 70, "new"), (20 * 24, 10, "fallback")):
        counts = history({-4: 7, hour: 71}, days=40)
        assert alerts(counts, archived) == [(hour, 71, limit, rule)]
    # what finds no limit has one made, for the next hour on
    counts = history({-4: 7, 480: 9, 481: 89, 482: 1000}, days=40)
    assert alerts(counts, archived) == [(482, 1000, 90, "new")]
    once = replace(PRODUCTION, regenerate=False)
    assert alerts(counts, archived, once) == [(481, 89, 10, "fallback")]
    assert alerts(counts, archived, replace(once, fallback=None)) == []
    assert alerts(counts, archived, replace(once, hold_days=1, seen_days=1)) == [(481, 89, 10, "fallback")]


def test_a_limit_lapses_to_the_hour_between_refreshes_too():
    policy = replace(PRODUCTION, every="3d", offset="5h", regenerate=False)
    first = policy.moments(OPENS, END)[0]  # the group was seen last 4 hours before
    quiet = int((first - OPENS) / HOUR)
    for hour, expected in ((20 * 24 - 1, []), (20 * 24, [(quiet + 20 * 24, 11, 10, "fallback")])):
        counts = history({quiet - 4: 7, quiet + hour: 11}, days=40)
        assert alerts(counts, record((EARLY, ARCHIVED)), policy) == expected


def test_archived_again_within_an_hour_that_fired_it_is_checked_from_the_next_hour_on():
    """Where only hours are known, that hour has said all it can."""
    again = OPENS + 50 * HOUR + timedelta(minutes=30)
    counts = history({-20: 3, 50: 31, 51: 32, 80: 500})
    assert alerts(counts, record((EARLY, ARCHIVED), (again, ARCHIVED))) == [(50, 31, 30, "new"), (51, 32, 30, "new")]
    counts = history({-20: 3, 50: 31, 80: 500})
    assert alerts(counts, record((EARLY, ARCHIVED), (again, ARCHIVED))) == [(50, 31, 30, "new"), (80, 500, 310, "new")]


def test_by_its_count_a_group_escalates_before_it_is_archived_again_and_stays_archived():
    """The hour's end would come after the archive that lies in it."""
    again = OPENS + 50 * HOUR + timedelta(minutes=30)
    played = replay(history({-20: 3, 50: 31}), record((EARLY, ARCHIVED), (again, ARCHIVED)))
    assert played.alerts.height == 1
    assert played.states.select("state", "start", "end").rows() == [(ARCHIVED, EARLY, again), (ARCHIVED, again, None)]
    assert played.exposure.select("start", "end").rows() == [(OPENS, again), (again, None)]


def test_a_limit_that_lapses_on_the_hour_judges_nothing_of_that_hour():
    """With hours only: not even an empty piece of it."""
    archived = record((OPENS + 6 * DAY + 19 * HOUR, ARCHIVED))  # a limit of 70, and no refresh later
    lapses = 20 * 24 + 19
    fallback = replace(PRODUCTION, regenerate=False, fallback=100)
    assert alerts(history({-4: 7, lapses - 1: 80}, days=40), archived, fallback) == [(lapses - 1, 80, 70, "new")]
    assert alerts(history({-4: 7, lapses: 80}, days=40), archived, fallback) == []


def test_a_limit_made_anew_lapses_later_than_the_one_before():
    """An hour is not cut where a limit lapses that is not in force any more."""
    policy = replace(PRODUCTION, hold_days=2)
    archived = record((OPENS + timedelta(hours=5, minutes=4), ARCHIVED))
    played = replay(history({-20: 3, 53: 31}), archived, policy=policy)
    assert played.states["start"].to_list()[1] == OPENS + 54 * HOUR


def snapshots(*changes):
    return record(*changes).with_columns(source=pl.lit("group_attributes"))


def test_snapshots_tell_the_cause_by_the_state_before():
    """A new group that was loud is left to the rule for new ones; a condition needs a group that waits for one."""
    loud = snapshots((OPENS, "new"), (OPENS + 5 * HOUR, "escalating"))
    counts = history({0: 1})
    assert replay(counts, loud).states["state"].to_list() == ["new", "escalating", "ongoing"]
    assert replay(counts, loud, policy=replace(PRODUCTION, velocity=True)).states["state"].to_list() == [
        "new",
        "ongoing",
    ]
    met = snapshots((EARLY, ARCHIVED), (OPENS + 5 * HOUR, "archived_until_condition_met"), (OPENS + DAY, "escalating"))
    own = replace(PRODUCTION, rearchive="5d")
    assert replay(counts, met).states["state"].to_list()[1:3] == ["archived_until_condition_met", "escalating"]
    assert replay(counts, met, policy=own).states["state"].to_list()[2] == "escalating"


@pytest.mark.parametrize(
    ("before", "cause", "follows"),
    [("ignored", "condition", True), ("ignored", "platform", True), ("ignored", "velocity", False),
     ("unresolved", "velocity", True), ("unresolved", "platform", True), ("unresolved", "condition", False)],
)  # fmt: skip
def test_a_status_that_says_no_more_may_be_any_of_its_states(before, cause, follows):
    played = replay(history({0: 1}), record((EARLY, before), (OPENS, "escalating", cause)))
    assert ("escalating" in played.states["state"].to_list()) is follows


def test_what_is_recorded_twice_counts_once():
    changes = record((EARLY, ARCHIVED), (OPENS + DAY, "resolved"), (OPENS + 2 * DAY, "regressed"),
                     (OPENS + 9 * DAY, "ongoing"), (OPENS + 9 * DAY, "ongoing"))  # fmt: skip
    played = replay(history({0: 1}), pl.concat([changes, changes]))
    assert played.states.select("state", "by").rows()[-2:] == [("regressed", "record"), ("ongoing", "clock")]


@pytest.mark.parametrize("day", range(15))
def test_each_day_has_its_own_limit_and_the_last_one_serves_the_day_after(day):
    """A week that differs by weekday, then silence: nothing but the forecast of the archive is ever in force."""
    week = {hour - 168: 40 + 6 * (hour // 24) for hour in range(168)}
    archived = OPENS + timedelta(minutes=10)
    weekdays = [(archived + min(ahead, 13) * DAY).weekday() for ahead in range(15)]
    window = list(week.values())
    limits = [slow_limit(window, OPENS, weekday, ia.STANDARD, sparse=False) for weekday in weekdays]
    assert {rule for _, rule in limits} == {"spike"}
    assert limits[11] != limits[12] != limits[13] == limits[14] != limits[0]
    limit = limits[day][0]
    # on the last day before ten past midnight, when the forecast lapses
    hour = 24 * day + (0 if day == 14 else 12)
    at = OPENS + hour * HOUR + timedelta(minutes=5)
    policy = replace(PRODUCTION, seen_days=1, fallback=None)
    for count, fires in ((limit, 0), (limit + 1, 1)):
        occurrences = pl.DataFrame({"project_id": 1, "group_id": 7, "type": 1, "detected_at": [at] * count}).cast(
            {"detected_at": pl.Datetime("us", "UTC"), "project_id": pl.Int64, "group_id": pl.Int64, "type": pl.Int64}
        )
        played = replay(
            history({**week, hour: count}),
            record((archived, ARCHIVED)),
            occurrences=occurrences,
            policy=policy,
            buckets="dense",
        )
        assert played.alerts.select("limit", "at").rows() == [(limit, at)] * fires


def test_the_limit_on_archive_is_baked_in():
    """Archiving in the middle of a spike takes the spike for the ordinary."""
    counts = history({-100: 3, 30: 90, 31: 90, 32: 90, 40: 95})
    assert alerts(counts, record((OPENS + 32 * HOUR, ARCHIVED))) == []
    stale = replace(PRODUCTION, refresh_on_archive=False)
    assert alerts(counts, record((EARLY, ARCHIVED), (OPENS + 32 * HOUR, ARCHIVED)), stale) == [
        (30, 90, 30, "new"),
        (32, 90, 30, "new"),
    ]


def test_refreshes_follow_the_policy():
    counts = history({-20: 3, 20: 30, 27: 31, 33: 301})
    archived = record((EARLY, ARCHIVED))
    assert alerts(counts, archived, replace(PRODUCTION, every="1w")) == [(27, 31, 30, "new")]
    assert alerts(counts, archived, PRODUCTION) == [(33, 301, 300, "new")]
    counts = history({-20: 3, 20: 30, 27: 300, 33: 301})
    assert alerts(counts, archived, PRODUCTION) == [(33, 301, 300, "new")]
    assert alerts(counts, archived, PRODUCTION_2023) == []  # the refresh at 06:00 has seen the hour 27


def test_types_that_cannot_escalate_are_not_checked():
    counts, archived = history({-20: 3, 50: 31}), record((EARLY, ARCHIVED))
    feedback = pl.DataFrame({"project_id": [1], "group_id": [7], "type": [6001]})
    assert alerts(counts, archived, types=feedback.with_columns(type=pl.lit(1))) == [(50, 31, 30, "new")]
    assert alerts(counts, archived, types=feedback) == []
    assert alerts(counts, archived, types=feedback.with_columns(type=pl.lit(424242))) == [(50, 31, 30, "new")]


def test_groups_left_out_are_named():
    counts, archived = history({-20: 3, 50: 31}), record((EARLY, ARCHIVED))
    out = pl.DataFrame({"project_id": [1, 1], "group_id": [7, 8]})
    played = replay(counts, archived, leave_out=out)
    assert played.alerts.is_empty()
    assert played.left_out.rows() == [(1, 7)]


def test_it_becomes_ongoing_after_a_week():
    played = replay(history({-20: 3, 50: 31}), record((EARLY, ARCHIVED)))
    back = OPENS + 51 * HOUR  # an hour counts at its end
    assert played.states.select("state", "start", "end", "by").rows() == [
        (ARCHIVED, EARLY, back, "record"),
        ("escalating", back, back + 7 * DAY, "replay"),
        ("ongoing", back + 7 * DAY, None, "clock"),
    ]
    assert played.exposure.select("start", "end").rows() == [(OPENS, back)]
    assert played.burden.select("date", "alerts", "groups_checked").rows() == [
        (OPENS.date(), 0, 1), ((OPENS + DAY).date(), 0, 1), ((OPENS + 2 * DAY).date(), 1, 1)
    ]  # fmt: skip
    assert played.summary().select("groups", "alerts", "groups_alerted", "at_fallback").row(0) == (1, 1, 1, 0)


def test_what_the_record_says_of_the_forecast_and_the_clock_is_not_taken():
    """A recorded escalation that the replay does not see leaves the group archived."""
    changes = record(
        (EARLY, ARCHIVED),
        (OPENS + 10 * HOUR, "escalating", "forecast"),
        (OPENS + 10 * HOUR + 7 * DAY, "ongoing"),
    )
    played = replay(history({-20: 3, 10: 12}), changes)
    assert played.states["state"].to_list() == [ARCHIVED]
    met = record((EARLY, ARCHIVED), (OPENS + 10 * HOUR, "escalating", "condition"))
    assert replay(history({-20: 3}), met).states["state"].to_list() == [ARCHIVED]
    said = record((EARLY, ARCHIVED), (OPENS + 10 * HOUR, "escalating", "platform"))
    assert replay(history({-20: 3}), said).states["state"].to_list() == [ARCHIVED, "escalating", "ongoing"]


def test_groups_without_a_record_are_not_played():
    played = replay(history({-20: 3, 50: 31}), record())
    assert played.alerts.is_empty()
    assert played.states.is_empty()
    assert played.burden.is_empty()
    assert played.summary()["series_weeks"].item() == 0


def test_errors_say_what_to_do():
    counts, archived = history({-20: 3}), record((EARLY, ARCHIVED))
    with pytest.raises(ia.SettingsError, match="no lifecycle"):
        replay(counts, archived, policy=ia.EVERY_HOUR)
    with pytest.raises(ia.FrameError, match="hours are too few"):
        replay(history({-20: 3}, days=7), archived)
    with pytest.raises(ia.SettingsError, match="after the first hour"):
        replay(counts, archived, start=OPENS)
    with pytest.raises(ia.FrameError, match="types: no column type"):
        replay(counts, archived, types=pl.DataFrame({"project_id": [1], "group_id": [7]}))
    keys = pl.DataFrame({"project_id": ["1"], "group_id": [7], "type": ["error"]})
    with pytest.raises(ia.FrameError, match="types: project_id is String, type is String, not Int64"):
        replay(counts, archived, types=keys)
    with pytest.raises(ia.FrameError, match="leave_out: project_id is String, not Int64"):
        replay(counts, archived, leave_out=keys)
    for field_, value in (("fallback", 0), ("hold_days", 15), ("rearchive", "soon"), ("seen_days", 8),
                          ("every", "٣h"), ("velocity", "no"), ("lifecycle", 1)):  # fmt: skip
        with pytest.raises(ia.SettingsError, match=field_):
            replace(PRODUCTION, **{field_: value})


def test_a_clock_that_was_off_by_decades_costs_no_hour_each():
    """One count of 1971 opens half a million hours; those before the first archive need no look."""
    stray = pl.DataFrame([(1, 8, MONDAY.replace(year=1971), 1)], schema=COUNTS, orient="row")
    counts = pl.concat([history({-20: 3, 50: 31}), stray])
    many = [record((EARLY, ARCHIVED)).with_columns(group_id=pl.lit(n, dtype=pl.Int64)) for n in range(7, 60)]
    began = perf_counter()
    played = replay(counts, pl.concat(many))
    assert perf_counter() - began < 5  # it took 20 s
    assert played.alerts.select("count", "limit").rows() == [(31, 30)]


def test_counts_that_began_before_the_first_count():
    """Who knows that counting began earlier is judged from earlier on."""
    counts = pl.DataFrame(
        [(1, 7, OPENS - HOUR, 3), (1, 7, OPENS + 5 * HOUR, 31), (1, 7, OPENS + 9 * DAY, 1)], schema=COUNTS, orient="row"
    )
    archived = record((EARLY, ARCHIVED))
    assert alerts(counts, archived) == []
    assert alerts(counts, archived, start=MONDAY) == [(5, 31, 30, "new")]


# --- the laws ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_times", [True, False])
@pytest.mark.parametrize("policy", [PRODUCTION, replace(PRODUCTION_2023, rearchive="1d")])
def test_the_future_changes_nothing_before_it(histories, policy, with_times):
    _, occurrences, counts, changes, types = histories
    cut = MONDAY + 20 * DAY + 7 * HOUR
    whole = replay(counts, changes, occurrences=occurrences if with_times else None, policy=policy, types=types)
    past = replay(
        pl.concat([counts.filter(pl.col("hour") < cut), counts.filter(pl.col("hour") == MONDAY).head(0)]),
        changes.filter(pl.col("at") < cut),
        occurrences=occurrences.filter(pl.col("detected_at") < cut) if with_times else None,
        policy=policy,
        types=types,
    )
    assert past.alerts.height > 50
    assert_frame_equal(past.alerts, whole.alerts.filter(pl.col("hour") < cut))
    before = whole.states.filter(pl.col("start") < cut).with_columns(end=pl.when(pl.col("end") < cut).then("end"))
    assert_frame_equal(past.states.with_columns(end=pl.when(pl.col("end") < cut).then("end")), before)
    assert_frame_equal(
        past.limits.filter(pl.col("date") < cut.date()), whole.limits.filter(pl.col("date") < cut.date())
    )


def test_splitting_and_shuffling_change_nothing(histories, monkeypatch):
    _, occurrences, counts, changes, types = histories
    whole = replay(counts, changes, occurrences=occurrences, types=types)
    # by name the package would give the function of the same name
    module = import_module("issue_analytics.backtest.replay")
    monkeypatch.setattr(module, "panels", lambda *given, **more: panels(*given, **more, cells=2000))
    parts = replay(
        counts.sample(fraction=1, shuffle=True, seed=3).lazy(),
        changes.sample(fraction=1, shuffle=True, seed=4).lazy(),
        occurrences=occurrences.sample(fraction=1, shuffle=True, seed=5).lazy(),
        types=types.lazy(),
    )
    for name in ("alerts", "states", "exposure", "limits", "burden"):
        assert_frame_equal(getattr(parts, name), getattr(whole, name))


# --- the record itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_under_the_policy_of_the_record_it_reproduces_the_record(seed, tmp_path):
    """Through an export: every recorded escalation by the algorithm with its limit and its moment, and no other."""
    sim = ia.simulate(groups=400, days=42, seed=seed)
    sim.write(tmp_path / "export")
    dataset = ia.import_export(tmp_path / "export", tmp_path / "dataset", progress=False)
    occurrences, changes = dataset.occurrences.collect(), dataset.status_changes.collect()
    played = replay(dataset.hourly_counts, changes, occurrences=occurrences, start=MONDAY)
    escalations, _ = ia.label_escalations(changes)
    recorded = escalations.filter(pl.col("provenance") == "algorithm").select(*KEY, at="escalated_at")
    assert recorded.height >= 9
    assert_frame_equal(played.alerts.select(*KEY, "at"), recorded)
    limits = changes.filter(pl.col("cause") == "forecast").select(*KEY, "at", limit="forecast")
    assert_frame_equal(played.alerts.select(*KEY, "at", "limit"), limits.sort(*KEY, "at"))
    by_hour = replay(dataset.hourly_counts, changes, types=occurrences.select(*KEY, "type").unique(), start=MONDAY)
    assert_frame_equal(by_hour.alerts.drop("at"), played.alerts.drop("at"))


def test_what_is_held_against_the_record_is_named():
    changes = record(
        (EARLY, ARCHIVED),
        (OPENS + 10 * HOUR, "escalating", "forecast"),
        (OPENS + 20 * HOUR, ARCHIVED),
        (OPENS + 50 * HOUR + 9 * TICK, "escalating", "forecast"),
    ).with_columns(forecast=pl.when(pl.col("cause") == "forecast").then(pl.lit(30, dtype=pl.Int64)))
    played = replay(history({-20: 3, 50: 31, 90: 4000}), changes)
    held = played.against_record(changes)
    assert held.select((pl.col("hour") - OPENS).dt.total_hours(), "recorded_limit", "limit", "in").rows() == [
        (10, 30, None, "record"),
        (50, 30, 30, "both"),
    ]
    tighter = replay(history({-20: 3, 50: 31, 90: 4000}), changes, policy=replace(PRODUCTION, rearchive="1d"))
    assert tighter.against_record(changes)["in"].to_list() == ["record", "both", "replay"]


def test_a_replay_is_written_whole_or_not_at_all(tmp_path):
    played = replay(history({-20: 3, 50: 31}), record((EARLY, ARCHIVED)))
    folder = played.write(tmp_path / "there")
    for name in ("alerts", "states", "exposure", "limits", "burden", "left_out"):
        assert_frame_equal(pl.read_parquet(folder / f"{name}.parquet"), getattr(played, name))
    with pytest.raises(ia.DatasetError, match="exists already"):
        played.write(folder)
    with pytest.raises(ia.DatasetError, match="could not be written"):
        played.write(folder / "alerts.parquet" / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize("with_times", [True, False])
def test_new_issues_may_escalate_by_the_rule_for_their_rate(with_times):
    sim = ia.simulate(groups=600, days=42, seed=3)
    types = sim.groups.select(*KEY, "type")
    policy = replace(PRODUCTION, velocity=True)
    events = sim.occurrences if with_times else None
    played = replay(sim.hourly_counts, sim.status_changes, occurrences=events, types=types, policy=policy)
    ages = sim.groups.select(*KEY, "first_seen", "type")
    others = sim.status_changes.filter((pl.col("cause") != "velocity").fill_null(value=True))
    events = sim.occurrences if with_times else sim.hourly_counts
    expected = velocity_escalations(events, ages, status_changes=others)
    assert expected.height >= 5
    by_limit = played.alerts.select(*KEY, "hour").unique()
    loud = (
        played.states.filter(pl.col("state") == "escalating", pl.col("by") == "replay")
        .with_columns(hour=(pl.col("start") - TICK).dt.truncate("1h"))
        .join(by_limit, on=[*KEY, "hour"], how="anti")
    )
    at = (
        expected.select(*KEY, start="escalated_at")
        if with_times
        else expected.select(*KEY, start=pl.col("escalated_at").dt.truncate("1h") + HOUR)
    )
    assert_frame_equal(loud.select(*KEY, "start"), at.sort(*KEY))
    # the record's own are not taken beside them
    assert (
        played.states.filter(pl.col("state") == "escalating", pl.col("by") == "record")["start"]
        .is_in(sim.status_changes.filter(pl.col("cause") == "velocity")["at"].implode())
        .sum()
        == 0
    )


# --- judged -----------------------------------------------------------------------------------------------------------


def test_a_backtest_judges_what_users_would_have_seen():
    sim = ia.simulate(groups=400, days=42, seed=1)
    given = {"status_changes": sim.status_changes, "types": sim.groups.select(*KEY, "type")}
    escalations, exposure = ia.label_escalations(sim.status_changes)
    recorded = escalations.filter(pl.col("provenance") == "algorithm")
    played = replay(sim.hourly_counts, sim.status_changes, types=given["types"], occurrences=sim.occurrences)
    result = ia.backtest(sim.hourly_counts, recorded, policy=PRODUCTION, occurrences=sim.occurrences, **given)
    summary = result.summary().row(0, named=True)
    assert (summary["alerts"], summary["events_caught"], summary["events"]) == (recorded.height,) * 3
    assert summary["recall"] == summary["precision"] == 1
    assert summary["policy"] == "production"
    assert_frame_equal(result.crossings, played.alerts.select(result.crossings.columns))
    assert result.groups["days_fallback"].sum() > 0
    # the hours judged are those in which the replay checked
    inside = result.crossings.join(result.exposure, on=KEY).filter(
        pl.col("hour").is_between("start", "end", closed="left")
    )
    assert inside.height == result.crossings.height
    with pytest.raises(ia.SettingsError, match="give status_changes="):
        ia.backtest(sim.hourly_counts, recorded, policy=PRODUCTION)
    with pytest.raises(ia.SettingsError, match="no exposure="):
        ia.backtest(sim.hourly_counts, recorded, policy=PRODUCTION, exposure=exposure, **given)
