import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from commands import Shell
from histories import COUNTS, HOUR, MONDAY, UTC_US, random_counts, slow_limit
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import issue_analytics as ia
from issue_analytics import frames
from issue_analytics.backtest.made import History
from issue_analytics.backtest.parity import DIFFERENCES, parity
from issue_analytics.backtest.policy import EVERY_HOUR, PRODUCTION, PRODUCTION_2023
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.forecast import forecast

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
INSTANT = timedelta(microseconds=1)
CHANGES = frames.empty("StatusChanges").schema
FORECASTS = frames.empty("RecordedForecasts").schema
ARCHIVED = "archived_until_escalating"
QUIET = [(MONDAY + n * HOUR, 3) for n in range(0, 600, 5)]
AT = MONDAY + 20 * DAY + 15 * HOUR


def counted(*rows, group=7):
    return pl.DataFrame([(1, group, hour, count) for hour, count in rows], schema=COUNTS, orient="row")


def changed(*rows, group=7):
    """Rows of (at, kind) or, for an escalation by forecast, (at, limit)."""
    return pl.DataFrame(
        [
            (1, group, at, "escalating", "forecast", what, "activity")
            if isinstance(what, int)
            else (1, group, at, what, None, None, "activity")
            for at, what in rows
        ],
        schema=CHANGES,
        orient="row",
    )


def happened(*stamps, group=7):
    return pl.DataFrame(
        [(1, group, at) for at in stamps],
        schema={"project_id": pl.Int64, "group_id": pl.Int64, "detected_at": UTC_US},
        orient="row",
    )


def only(found):
    return found.rows.select("recorded", "ours", "rule", "made_at", "cause", "cause_at").row(0, named=True)


# ---------------------------------------------------------------------------------------------------------------------
# Limits of pairs


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), buckets=st.sampled_from(["sparse", "dense"]))
def test_a_limit_made_for_one_group_is_that_made_for_all(seed, buckets):
    rng = np.random.default_rng(seed)
    # the last one is busy all the time, and more so on Sundays: its limits differ from day to day
    busy = [(3, 20, MONDAY + n * HOUR, 40 + 4 * (n // 24 % 7) + int(rng.integers(3))) for n in range(400)]
    counts = pl.concat([random_counts(rng, groups=6, hours=400), pl.DataFrame(busy, schema=COUNTS, orient="row")])
    keys = counts.select("project_id", "group_id").unique().sort("group_id", "project_id").rows()
    born = pl.DataFrame(
        [(*key, MONDAY + int(rng.integers(-400, 300)) * HOUR) for key in keys[::2]],
        schema={"project_id": pl.Int64, "group_id": pl.Int64, "first_seen": UTC_US},
        orient="row",
    )
    rows = []
    for _ in range(12):
        made = MONDAY + int(rng.integers(1, 500)) * HOUR + int(rng.integers(0, 60)) * MINUTE
        rows.append((*keys[int(rng.integers(len(keys)))], made, made.date() + int(rng.integers(0, 14)) * DAY))
    late = MONDAY + int(rng.integers(180, 390)) * HOUR
    rows += [(3, 20, late, late.date() + n * DAY) for n in range(14)] + [(1, 999, MONDAY, MONDAY.date())]
    edge = [(3, 20, late - int(rng.choice([167, 168, 169])) * HOUR)]
    born = pl.concat([born.filter(pl.col("project_id") != 3), pl.DataFrame(edge, schema=born.schema, orient="row")])
    pairs = pl.DataFrame(
        rows, schema={"project_id": pl.Int64, "group_id": pl.Int64, "made": UTC_US, "date": pl.Date}, orient="row"
    )
    found = History(counts, born).limits(pairs, thresholds=ia.TIGHTER, buckets=buckets)
    for (project, group, made, date), (limit, rule) in zip(rows, found.rows(), strict=True):
        as_of = made.replace(minute=0)
        mine = counts.filter(project_id=project, group_id=group)
        all_at_once = forecast(mine, as_of, thresholds=ia.TIGHTER, buckets=buckets, first_seen=born).filter(date=date)
        assert (limit, rule) == (all_at_once.select("limit", "rule").row(0) if all_at_once.height else (None, "none"))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), busy=st.booleans())
def test_a_window_to_the_minute_holds_169_hours_two_of_them_in_part(seed, busy):
    rng = np.random.default_rng(seed)
    stamps = rng.integers(0, 300 * 60, 600 if busy else 60).tolist()
    if busy:
        stamps += [60 * hour + 30 for hour in range(300)]
    events = happened(*(MONDAY + at * MINUTE for at in stamps))
    history = History(ia.hourly_counts(events), events.clear().rename({"detected_at": "first_seen"}), events)
    until = MONDAY + int(rng.integers(180 * 60, 290 * 60)) * MINUTE
    ahead = int(rng.integers(0, 14))
    pair = pl.DataFrame(
        [(1, 7, until, until.replace(minute=0), until.date() + ahead * DAY)],
        schema={"project_id": pl.Int64, "group_id": pl.Int64, "until": UTC_US, "made": UTC_US, "date": pl.Date},
        orient="row",
    )
    inside = sorted(at for at in events["detected_at"] if until - 168 * HOUR <= at < until)
    labels = sorted({at.replace(minute=0) for at in inside})
    points = [sum(at.replace(minute=0) == label for at in inside) for label in labels]
    expected = ia.generate_issue_forecast({"intervals": [str(label) for label in labels], "data": points}, until)
    found = history.limits_to_the_minute(pair, thresholds=ia.STANDARD)["limit"].item()
    assert found == (expected[ahead]["forecasted_value"] if points else None)
    assert not busy or len(points) in (168, 169)


# ---------------------------------------------------------------------------------------------------------------------
# The limit in force


@pytest.fixture(scope="module")
def sim():
    return ia.simulate(groups=1200, days=42, seed=4)


def test_a_simulated_tracker_is_matched_to_the_last_limit(sim):
    for occurrences in (sim.occurrences, sim.occurrences.lazy(), None):
        found = parity(sim.hourly_counts, sim.status_changes, occurrences=occurrences)
        assert found.rows.height == (sim.status_changes["cause"] == "forecast").sum() >= 15
        assert found.rows["comparable"].all()
        assert found.summary().filter(source="all").select("equal", "share_equal").row(0) == (found.rows.height, 1.0)
        assert found.rows["rule"].n_unique() > 1
        assert found.by_cause().select("cause", "share", "meaning").rows() == [("equal", 1.0, DIFFERENCES["equal"])]


def slow_in_force(counts, occurrences, changes, at, policy):
    """What happened to one group up to ``at``, one thing after the other: (limit, when it was made)."""
    hours = dict(counts.select("hour", "count").rows())
    born = next((when for when, kind in changes.select("at", "kind").rows() if kind == "first_seen"), None)
    stored, archived, pending = None, False, None

    def make(when):
        as_of = when.replace(minute=0, second=0, microsecond=0)
        window = [hours.get(as_of - back * HOUR, 0) for back in range(168, 0, -1)]
        if not any(window):
            return stored
        days = [slow_limit(window, as_of, (as_of + n * DAY).weekday(), ia.STANDARD, sparse=True)[0] for n in range(14)]
        return when, days

    def lacking(when):
        return stored is None or when - stored[0] >= 14 * DAY

    things = [(when, 0, "refresh") for when in policy.moments(MONDAY, at + INSTANT)]
    things += [(when, 1, "occurrence") for when in occurrences["detected_at"] if when < at]
    things += [(when, 2, kind) for when, kind in changes.select("at", "kind").rows() if when < at]
    for when, _, what in sorted(things):
        if pending and when >= pending:
            if archived and lacking(pending):
                stored = make(pending)
            pending = None
        if what == "refresh":
            stored = make(when) if archived else stored
        elif what == "occurrence":
            ripe = born is None or when - born >= DAY
            if archived and ripe and lacking(when) and not pending:
                pending = when.replace(minute=0, second=0, microsecond=0) + HOUR
        elif what == ARCHIVED:
            stored, archived = make(when), True
        elif what not in ("first_seen", "assigned"):
            archived, pending = False, None
    if pending and at >= pending and lacking(pending):
        stored = make(pending)
    if lacking(at):
        return 10, None
    return stored[1][min((at.date() - stored[0].date()).days, 13)], stored[0]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), policy=st.sampled_from([PRODUCTION, PRODUCTION_2023]), exact=st.booleans())
def test_the_limit_in_force_is_that_of_a_tracker_played_event_by_event(seed, policy, exact):
    rng = np.random.default_rng(seed)
    minutes = 45 * 24 * 60
    bursts = [int(at) + rng.integers(0, 600, int(rng.integers(1, 40))) for at in rng.integers(0, minutes - 600, 5)]
    stamps = np.unique(np.concatenate([*bursts, rng.integers(0, minutes, int(rng.choice([0, 3, 60])))]))
    if not exact:
        # one event an hour, in its last minute: hours are as telling
        stamps = np.unique(stamps // 60) * 60 + 59
    events = happened(*(MONDAY + int(at) * MINUTE + 7 * timedelta(seconds=1) for at in stamps))
    rows, at = [], 0
    if rng.random() < 0.7:
        rows.append((MONDAY + int(rng.integers(-30, 20)) * DAY, "first_seen"))
    while True:
        at += int(rng.integers(60, 60 * 24 * 12))
        at += -at % 1440 if rng.random() < 0.2 else 0  # now and then at midnight
        end = at + int(rng.choice([60, 60 * 24, 60 * 24 * 20]) * rng.uniform(0.1, 1))
        end += -end % 1440 if rng.random() < 0.2 else 0
        if end >= minutes:
            break
        rows.append((MONDAY + at * MINUTE, ARCHIVED))
        if rng.random() < 0.3:
            rows.append((MONDAY + (at + 1) * MINUTE, "assigned"))
        last = 7 if rng.random() < 0.8 else "resolved"
        rows.append((MONDAY + end * MINUTE, last))
        at = end
    changes = changed(*rows)
    counts = ia.hourly_counts(events)
    found = parity(
        counts, changes, occurrences=events if exact else None, policy=policy, start=MONDAY - 30 * DAY
    ).rows  # fmt: skip
    frames_at = changes.filter(cause="forecast")["at"].sort()
    assert found["at"].to_list() == frames_at.to_list()
    for at, ours, made, rule, cause in found.select("at", "ours", "made_at", "rule", "cause").rows():
        if counts["hour"].min() >= at:
            assert (ours, cause) == (None, "no counts")
            continue
        assert (ours, made) == slow_in_force(counts, events, changes, at, policy)
        assert (rule == "fallback") == (made is None)


def test_an_archive_that_is_not_in_the_record_is_no_matter():
    counts = counted(*((MONDAY + n * HOUR, 5) for n in range(0, 400, 7)))
    at = MONDAY + 380 * HOUR
    for before in ([], [(at - 5 * DAY, "ongoing")], [(at - 5 * DAY, "ongoing"), (at - 3 * DAY, "merged")]):
        found = only(parity(counts, changed(*before, (at, 50))))
        assert (found["ours"], found["made_at"], found["cause"]) == (50, MONDAY + 15 * DAY, "equal")
    # since it was ongoing, no refresh came, nor an event that would have made up for it
    found = only(parity(counts, changed((MONDAY + 379 * HOUR, "ongoing"), (at, 10))))
    assert (found["ours"], found["rule"], found["made_at"]) == (10, "fallback", None)


def in_force(events, at, *before, **options):
    found = only(parity(ia.hourly_counts(events), changed(*before, (at, 99)), occurrences=events, **options))
    return found["ours"], found["rule"], found["made_at"]


def test_a_forecast_is_in_force_for_14_days_to_the_microsecond():
    archived = MONDAY + 20 * DAY + 9 * HOUR + 7 * MINUTE
    # silent since the eighth day before: no refresh after the archive has an event in its window
    events = happened(*[archived - 168 * HOUR] * 4, archived + 20 * DAY)
    before = (archived, ARCHIVED)
    assert in_force(events, archived + 14 * DAY - INSTANT, before) == (40, "new", archived)
    assert in_force(events, archived + 14 * DAY, before) == (10, "fallback", None)


def test_an_event_makes_up_for_a_forecast_once_it_has_lapsed_and_the_group_is_of_age():
    archived = MONDAY + 20 * DAY + 9 * HOUR + 7 * MINUTE
    last = archived.replace(hour=0, minute=0) + 8 * DAY  # the last refresh that saw an event
    events = [*[archived + HOUR] * 3, last + 14 * DAY + 5 * HOUR, last + 14 * DAY + 9 * HOUR]
    assert in_force(happened(*events), events[3] + MINUTE, (archived, ARCHIVED)) == (10, "fallback", None)
    made_up = (10, "new", last + 14 * DAY + 6 * HOUR)
    assert in_force(happened(*events), events[4], (archived, ARCHIVED)) == made_up
    # a group of less than 24 hours is not looked at, and nothing made up for
    weekly = replace(PRODUCTION, every="7d", offset="0h")
    born = archived - 5 * MINUTE
    events = happened(born, born + 3 * HOUR, born + 25 * HOUR)
    before = (born, "first_seen"), (archived, ARCHIVED)
    assert in_force(events, born + 25 * HOUR, *before, policy=weekly)[1:] == ("fallback", None)
    assert in_force(events, born + 25 * HOUR, *before[1:], policy=weekly)[1] == "new"


def test_what_was_made_up_for_holds_on_in_the_next_archive():
    first = MONDAY + 20 * DAY + 16 * HOUR
    events = happened(*(first + HOUR + n * MINUTE for n in range(4)))
    before = (first, ARCHIVED), (first + 3 * HOUR, "resolved"), (first + 10 * DAY, ARCHIVED)
    assert in_force(events, first + 16 * DAY, *before) == (10, "fallback", None)
    assert in_force(events, first + 11 * DAY, *before) == (40, "new", first + 2 * HOUR)


def test_a_merge_ends_no_archive():
    counts = [at for at, _ in QUIET]
    found = in_force(happened(*counts), AT, (AT - 9 * DAY, ARCHIVED), (AT - DAY, "merged"))
    assert found == (10, "new", AT.replace(hour=0))


# ---------------------------------------------------------------------------------------------------------------------
# Why ours is another


@pytest.mark.parametrize("kind", ["unresolved", "escalating"])
def test_limits_are_known_from_old_records_as_labels_know_them(kind):
    """Of spring 2023: an issue with a forecast became unresolved; and who records a limit is the algorithm."""
    now = changed((AT - 30 * HOUR, ARCHIVED), (AT, 30))
    old = now.with_columns(
        kind=pl.when(pl.col("cause") == "forecast").then(pl.lit(kind)).otherwise("kind"),
        cause=pl.lit(None, dtype=pl.String),
    )
    assert ia.label_escalations(old)[0]["provenance"].to_list() == ["algorithm"]
    found = parity(counted(*QUIET), old)
    assert found.rows.height == 1
    assert_frame_equal(found.rows, parity(counted(*QUIET), now).rows)


def test_other_thresholds_are_named():
    rng = np.random.default_rng(2)
    at = MONDAY + 300 * HOUR
    counts, changes = [], []
    for group, name in enumerate(["tighter", "looser", "tighter", "tighter", "standard"]):
        # cv near 1: there the sets differ
        series = np.maximum(rng.lognormal(3, 0.62, 310).astype(int), 1)
        mine = counted(*((MONDAY + n * HOUR, int(count)) for n, count in enumerate(series)), group=group)
        limit = forecast(mine, MONDAY + 12 * DAY, thresholds=ia.load_thresholds(name), days=1)["limit"].item()
        counts.append(mine)
        changes.append(changed((at - 2 * DAY, ARCHIVED), (at, limit), group=group))
    steady = counted(*((MONDAY + n * HOUR, 6) for n in range(310)), group=9)  # 36 standard, 30 tighter
    counts.append(steady)
    changes.append(changed((at - 2 * DAY, ARCHIVED), (at, 30), group=9))
    found = parity(pl.concat(counts), pl.concat(changes)).rows
    named = dict(found.select("group_id", "cause").rows())
    assert named[9] == "tighter thresholds"
    assert named[4] == "equal"
    assert {named[group] for group in (0, 2, 3)} <= {"tighter thresholds", "equal"}
    assert named[1] in ("looser thresholds", "equal")
    other = parity(pl.concat(counts), pl.concat(changes), thresholds=ia.TIGHTER).rows
    assert dict(other.select("group_id", "cause").rows())[9] == "equal"


def refreshed_every_6_hours(sim):
    """The simulator's record, as a tracker with the schedule of 2023 would have written it."""
    ours = parity(sim.hourly_counts, sim.status_changes, occurrences=sim.occurrences, policy=PRODUCTION_2023).rows
    return (
        sim.status_changes.join(
            ours.select("project_id", "group_id", "at", "ours", kind=pl.lit("escalating")),
            on=["project_id", "group_id", "at", "kind"],
            how="left",
            maintain_order="left",
        )
        .with_columns(forecast=pl.when(pl.col("cause") == "forecast").then("ours"))
        .drop("ours")
    )


def test_another_schedule_is_named(sim):
    changes = refreshed_every_6_hours(sim)
    found = parity(sim.hourly_counts, changes, occurrences=sim.occurrences)
    causes = dict(found.by_cause().select("cause", "limits").rows())
    assert causes.keys() == {"equal", "refreshed every 6 hours"}
    assert causes["refreshed every 6 hours"] >= 3
    other = found.rows.filter(cause="refreshed every 6 hours")
    assert (other["cause_at"].dt.hour() % 6 == 0).all()
    assert (other["at"] - other["cause_at"] < 6 * HOUR).all()
    again = parity(sim.hourly_counts, changes, occurrences=sim.occurrences, policy=PRODUCTION_2023)
    assert again.summary()["share_equal"].to_list() == [1.0, 1.0]
    # and the other way round
    other = parity(sim.hourly_counts, sim.status_changes, occurrences=sim.occurrences, policy=PRODUCTION_2023)
    assert set(other.rows["cause"]) == {"equal", "refreshed daily"}


def test_other_buckets_are_named(sim):
    found = parity(sim.hourly_counts, sim.status_changes, occurrences=sim.occurrences, buckets="dense").rows
    assert set(found.filter(pl.col("cause") != "equal")["cause"]) == {"sparse buckets"}
    assert (found["cause"] == "equal").mean() < 0.3
    quiet = counted(*((MONDAY + n * HOUR, 50) for n in range(0, 400, 7)))
    at = MONDAY + 380 * HOUR
    dense = forecast(quiet, MONDAY + 15 * DAY, buckets="dense", days=1)["limit"].item()
    assert only(parity(quiet, changed((at - 5 * DAY, ARCHIVED), (at, dense))))["cause"] == "dense buckets"


def test_a_removed_event_is_named():
    # the busiest hour had five, one of which is gone from the export
    counts = counted(*((MONDAY + n * HOUR, 3) for n in range(0, 400, 5)), (MONDAY + 251 * HOUR, 4))
    changes = changed((MONDAY + 300 * HOUR, ARCHIVED), (MONDAY + 380 * HOUR, 50))
    found = only(parity(counts, changes))
    assert (found["ours"], found["cause"]) == (40, "counts differ")
    altered = pl.DataFrame({"project_id": [1], "group_id": [7], "why": [["deleted"]]})
    assert only(parity(counts, changes, altered=altered))["cause"] == "altered counts"
    other = altered.with_columns(group_id=pl.lit(8, pl.Int64))
    assert only(parity(counts, changes, altered=other))["cause"] == "counts differ"
    two_gone = changed((MONDAY + 300 * HOUR, ARCHIVED), (MONDAY + 380 * HOUR, 60))
    assert only(parity(counts, two_gone))["cause"] == "unexplained"


def cause(counts, recorded, *before, occurrences=None, **options):
    before = before or ((AT - 12 * DAY, ARCHIVED),)
    found = only(parity(counted(*counts), changed(*before, (AT, recorded)), occurrences=occurrences, **options))
    return found["cause"], found["cause_at"]


def test_the_fallback_rounding_and_the_floor_are_named():
    assert cause(QUIET, 30) == ("equal", None)
    assert cause(QUIET, 10) == ("fallback", None)
    assert cause(QUIET, 31) == ("rounding", None)
    assert cause(QUIET, 29) == ("rounding", None)
    assert cause(QUIET, 200) == ("floor of 200", None)
    assert cause(QUIET, 77) == ("unexplained", None)
    loud = [(hour, count * 11) for hour, count in QUIET]
    assert cause(loud, 200) == ("unexplained", None)  # 33 in the busiest hour
    assert cause(loud, 300) == ("counts differ", None)  # 330: within a tenth
    assert cause(loud, 290) == ("unexplained", None)


def test_a_forecast_of_the_archive_that_was_never_refreshed_is_named():
    archived = AT - 6 * DAY + 7 * MINUTE
    # after the archive it became louder; before, seven days ago, it was louder still
    counts = [*QUIET, (archived.replace(minute=0) - 160 * HOUR, 9), (AT - 3 * DAY - HOUR, 5)]
    assert cause(counts, 50, (archived, ARCHIVED)) == ("equal", None)
    assert cause(counts, 90, (archived, ARCHIVED)) == ("made on archive", archived)


def test_a_refresh_that_did_not_happen_is_named():
    # louder until 16 days ago, so that the refreshes of the 8th to 12th January say 120
    counts = [*QUIET, (MONDAY + 9 * DAY, 12)]
    found = cause(counts, 120)
    assert found == ("earlier refresh", MONDAY + 16 * DAY)
    # not longer ago than a forecast lives
    assert cause([*QUIET, (MONDAY - 2 * DAY, 12)], 120, (MONDAY - 10 * DAY, ARCHIVED))[0] == "unexplained"


def test_a_forecast_of_another_hour_is_named():
    # a busy hour that morning: a refresh at 14:00 would have seen it
    counts = [*QUIET, (AT - 3 * HOUR, 8)]
    assert cause(counts, 80) == ("another hour", AT)
    assert cause(counts, 30)[0] == "equal"
    with_6_hours = [*QUIET, (AT - 4 * HOUR, 8)]
    assert cause(with_6_hours, 80) == ("refreshed every 6 hours", AT - 3 * HOUR)


def test_an_hour_in_part_is_named():
    archived = AT - 2 * HOUR - 20 * MINUTE  # at 12:40, no refresh since
    stamps = [hour + n * MINUTE for hour, count in QUIET for n in range(count)]
    # nine in the hour of the archive, six of them before it
    stamps += [archived.replace(minute=5) + n * 6 * MINUTE for n in range(9)]
    # and nine in the first hour, two of them inside the 168 hours
    counts = ia.hourly_counts(happened(*stamps)).select("hour", "count").rows()
    now, first = archived.replace(minute=0), archived.replace(minute=0) - 168 * HOUR
    before = sum(now <= at < archived for at in stamps)
    assert before == 6
    assert cause(counts, 60, (archived, ARCHIVED), occurrences=happened(*stamps)) == ("running hour", None)
    assert cause(counts, 90, (archived, ARCHIVED)) == ("running hour", None)
    early = [
        *stamps,
        *(first + n * 10 * MINUTE for n in range(6)),
        *(first + 41 * MINUTE + n * MINUTE for n in range(4)),
    ]
    without = [at for at in early if not now <= at < now + HOUR]
    counts = ia.hourly_counts(happened(*without)).select("hour", "count").rows()
    inside = sum(archived - 168 * HOUR <= at < first + HOUR for at in without)
    assert cause(counts, 10 * inside, (archived, ARCHIVED), occurrences=happened(*without))[0] == "running hour"


def test_what_the_export_lacks_is_named():
    cut = [(hour, count) for hour, count in QUIET if hour >= AT - 4 * DAY]
    # archived two days ago, a week of counts is not there
    found = parity(counted(*cut), changed((AT - 12 * DAY, ARCHIVED), (AT, 90))).rows.row(0, named=True)
    assert (found["cause"], found["comparable"], found["ours"]) == ("counts cut off", False, 30)
    assert cause(cut, 30)[0] == "equal"
    midnight = AT.replace(hour=0)
    for start, enough in ((midnight - 168 * HOUR, True), (midnight - 167 * HOUR, False)):
        rows = parity(counted(*cut), changed((AT - 12 * DAY, ARCHIVED), (AT, 90)), start=start).rows
        assert rows["comparable"].to_list() == [enough]
    assert cause(cut, 90, start=MONDAY)[0] == "unexplained"
    later = [(AT + HOUR, 99)]
    assert cause(later, 10) == ("no counts", None)
    assert cause(later, 77) == ("no counts", None)
    found = parity(counted(*later), changed((AT, 10)))
    assert found.rows.select("ours", "rule", "difference", "ratio", "comparable").row(0) == (
        None,
        None,
        None,
        None,
        False,
    )
    assert found.summary().filter(source="all").select("limits", "comparable", "share_equal").row(0) == (1, 0, None)
    assert found.by_rule().is_empty()


def test_the_cause_that_explains_most_is_told():
    """Where two ways lead to one value, the one that also explains the others is likelier."""
    archived = AT - 9 * HOUR - 30 * MINUTE  # 05:30; a refresh at 06:00 and at 12:00 saw no more than the archive did
    both = pl.concat([counted(*QUIET, (archived.replace(minute=0) - HOUR, 8), group=group) for group in range(3)])
    changes = [changed((archived, ARCHIVED), (AT, 80), group=group) for group in range(2)]
    # this one was archived long before: only the refresh at 06:00 explains it
    changes.append(changed((AT - 9 * DAY, ARCHIVED), (AT, 80), group=2))
    found = parity(both, pl.concat(changes[2:])).rows
    assert found["cause"].to_list() == ["refreshed every 6 hours"]
    found = parity(both, pl.concat(changes)).rows
    assert found["cause"].to_list() == ["equal", "equal", "refreshed every 6 hours"]


# ---------------------------------------------------------------------------------------------------------------------
# Stored forecasts


def stored(limits, made):
    return pl.DataFrame(
        [(1, 7, made.date() + n * DAY, limit, made) for n, limit in enumerate(limits)], schema=FORECASTS, orient="row"
    )


def test_stored_forecasts_are_compared_day_by_day():
    rng = np.random.default_rng(3)
    counts = counted(*((MONDAY + n * HOUR, 40 + 4 * (n // 24 % 7) + int(rng.integers(3))) for n in range(400)))
    made = MONDAY + 12 * DAY + 9 * HOUR + 20 * MINUTE
    limits = forecast(counts, made.replace(minute=0))["limit"].to_list()
    assert len(set(limits)) >= 4
    nothing = changed((AT, "ongoing"))
    found = parity(counts, nothing, stored(limits, made))
    assert found.rows.select("source", "recorded", "ours").rows() == [("forecast", limit, limit) for limit in limits]
    assert found.rows["date"].to_list() == [made.date() + n * DAY for n in range(14)]
    assert found.summary().select("source", "limits", "share_equal").rows() == [("all", 14, 1.0), ("forecast", 14, 1.0)]
    # each day is its own: the days of the second week repeat those of the first
    shifted = parity(counts, nothing, stored(limits[1:] + limits[:1], made)).rows
    assert shifted["difference"].to_list() == [
        ours - theirs for ours, theirs in zip(limits, limits[1:] + limits[:1], strict=True)
    ]
    tens = parity(counts, nothing, stored([10] * 14, made))
    assert set(tens.rows["cause"]) == {"fallback"}
    dense = forecast(counts, made.replace(minute=0), thresholds=ia.TIGHTER)["limit"].to_list()
    assert set(parity(counts, nothing, stored(dense, made)).rows["cause"]) <= {"tighter thresholds", "equal"}
    earlier = forecast(counts, MONDAY + 12 * DAY + 2 * HOUR)["limit"].to_list()
    causes = parity(counts, nothing, stored(earlier, made)).rows["cause"].unique().to_list()
    assert set(causes) <= {"another hour", "equal", "rounding"}


def test_both_sources_are_told_apart(sim):
    key = sim.status_changes.filter(cause="forecast").select("project_id", "group_id").row(0)
    mine = pl.col("project_id") == key[0], pl.col("group_id") == key[1]
    as_of = MONDAY + 20 * DAY
    kept = forecast(sim.hourly_counts.filter(*mine), as_of).drop_nulls("limit")
    kept = kept.select("project_id", "group_id", "date", pl.col("limit") + 1000, made_at="as_of")
    found = parity(sim.hourly_counts, sim.status_changes, kept.lazy())
    by_source = dict(found.summary().select("source", "share_equal").rows())
    assert by_source["escalation"] == 1.0
    assert by_source["forecast"] == 0.0
    assert 0 < by_source["all"] < 1


# ---------------------------------------------------------------------------------------------------------------------
# Laws, refusals, the command


def test_the_future_changes_nothing(sim):
    cut = sim.hourly_counts["hour"].min() + 25 * DAY
    whole = parity(sim.hourly_counts, refreshed_every_6_hours(sim), occurrences=sim.occurrences, thresholds=ia.TIGHTER)
    changes = refreshed_every_6_hours(sim).filter(pl.col("at") < cut)
    past = parity(
        sim.hourly_counts.filter(pl.col("hour") < cut), changes,
        occurrences=sim.occurrences.filter(pl.col("detected_at") < cut), thresholds=ia.TIGHTER,
    )  # fmt: skip
    assert past.rows.height > 5
    ours = whole.rows.filter(pl.col("at") < cut)
    # what is likely may change with what else there is to explain, but not ours
    assert_frame_equal(past.rows.drop("cause", "cause_at"), ours.drop("cause", "cause_at"))


def test_groups_alone_and_in_any_order_are_as_all_together(sim):
    changes = refreshed_every_6_hours(sim)
    whole = parity(sim.hourly_counts, changes).rows
    shuffled = parity(
        sim.hourly_counts.sample(fraction=1, shuffle=True, seed=1), changes.sample(fraction=1, shuffle=True, seed=2)
    ).rows
    assert_frame_equal(whole, shuffled)
    start = sim.hourly_counts["hour"].min()
    parts = [
        parity(sim.hourly_counts.filter(mine), changes.filter(mine), start=start).rows
        for mine in (pl.col("group_id") % 2 == 0, pl.col("group_id") % 2 == 1)
    ]
    together = pl.concat(parts).sort("project_id", "group_id", "at")
    assert_frame_equal(together.drop("cause", "cause_at"), whole.drop("cause", "cause_at"))


def test_nothing_recorded_nothing_compared():
    found = parity(counted(*QUIET), changed((AT, ARCHIVED)))
    assert found.rows.is_empty()
    assert found.rows.schema == parity(counted(*QUIET), changed((AT, 10))).rows.schema
    assert found.summary().is_empty()
    assert repr(found).endswith("0 of 0 equal)")
    assert parity(counted(), changed()).rows.is_empty()
    assert parity(counted(), changed((AT, 10))).rows["cause"].to_list() == ["no counts"]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(SettingsError, match="no lifecycle"):
        parity(counted(*QUIET), changed((AT, 10)), policy=EVERY_HOUR)
    with pytest.raises(SettingsError, match="buckets"):
        parity(counted(*QUIET), changed((AT, 10)), buckets="wide")
    with pytest.raises(FrameError, match="StatusChanges"):
        parity(counted(*QUIET), counted(*QUIET))
    with pytest.raises(FrameError, match="altered: no column"):
        parity(counted(*QUIET), changed((AT, 10)), altered=pl.DataFrame({"gid": [1]}))
    with pytest.raises(FrameError, match="altered: group_id is String, not Int64"):
        parity(counted(*QUIET), changed((AT, 10)), altered=pl.DataFrame({"project_id": [1], "group_id": ["7"]}))


SHELL = Shell()


def run(*arguments, cwd):
    return SHELL.run(arguments, cwd=cwd, env={"COLUMNS": "80", "PATH": "/usr/bin"})


def test_the_command(tmp_path):
    small = ia.simulate(groups=300, days=28, seed=1)
    small.write(tmp_path / "exports", progress=False)
    ia.import_export(tmp_path / "exports", tmp_path / "data", progress=False)
    done = run("parity", "data", "--out", "rows.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    number = (small.status_changes["cause"] == "forecast").sum()
    assert number > 1
    assert f"equal: {number} of {number} comparable, 100.0%" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert pl.read_csv(tmp_path / "rows.csv").height == number
    done = run("parity", "data", "--policy", "production-2023", "--buckets", "dense", cwd=tmp_path)
    assert "fallback" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    told = json.loads(run("parity", "data", "--json", cwd=tmp_path).stdout)
    assert told["summary"][0]["share_equal"] == 1.0
    assert told["by_cause"][0]["cause"] == "equal"
    assert run("parity", "data", "--policy", "none", cwd=tmp_path).returncode == 2
    (tmp_path / "app.csv").write_text("group_id,detected_at\n7,2026-01-05T09:00:00Z\n")
    ia.import_export(tmp_path / "app.csv", tmp_path / "other", progress=False)
    done = run("parity", "other", cwd=tmp_path)
    assert done.returncode == 3
    assert "records no limits" in done.stderr
