from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from histories import COUNTS, HOUR, MONDAY, UTC_US
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import issue_analytics as ia
from issue_analytics import frames
from issue_analytics.backtest.velocity import VELOCITY, VelocityRule, velocity_escalations, velocity_thresholds
from issue_analytics.counts import hourly_counts
from issue_analytics.errors import FrameError, SettingsError

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
MINUTE = timedelta(minutes=1)
INSTANT = timedelta(microseconds=1)
AT = MONDAY + 2 * WEEK
SEEN = {"project_id": pl.Int64, "group_id": pl.Int64, "first_seen": UTC_US, "type": pl.Int64}
EVENTS = {"project_id": pl.Int64, "group_id": pl.Int64, "detected_at": UTC_US}


def counted(*rows):
    """Rows of (group, hour, count)."""
    return pl.DataFrame([(1, *row) for row in rows], schema=COUNTS, orient="row")


def seen(*rows):
    """Rows of (group, first_seen) or (group, first_seen, type)."""
    return pl.DataFrame([(1, *row, *[None] * (3 - len(row))) for row in rows], schema=SEEN, orient="row")


def happened(*rows):
    """Rows of (group, times)."""
    return pl.DataFrame([(1, group, at) for group, times in rows for at in times], schema=EVENTS, orient="row")


def threshold(counts, first_seen, at=AT, **rule):
    return velocity_thresholds(counts, first_seen, at, rule=VelocityRule(**rule)).select("threshold", "groups").row(0)


# ---------------------------------------------------------------------------------------------------------------------
# The threshold


def test_older_groups_are_divided_by_the_week_and_younger_ones_by_the_hours_begun_since():
    one = counted((7, AT - HOUR, 336))
    assert threshold(one, seen((7, AT - WEEK - INSTANT))) == (2.0, 1)
    assert threshold(one, seen((7, AT - WEEK))) == (2.0, 1)
    assert threshold(one, seen((7, AT - WEEK + INSTANT))) == (2.0, 1)
    # six days and two minutes: 145 hours have begun since, not 144.03
    assert threshold(one, seen((7, AT - 6 * DAY - 2 * MINUTE))) == (336 / 145, 1)
    assert threshold(one, seen((7, AT - 2 * HOUR))) == (168.0, 1)
    assert threshold(one, seen((7, AT - HOUR - INSTANT))) == (168.0, 1)


def test_who_counts():
    one = counted((7, AT - HOUR, 2))
    assert threshold(one, seen((7, AT - HOUR))) == (None, 0)
    assert threshold(one, seen((7, AT + HOUR))) == (None, 0)
    assert threshold(one, seen((7, AT - 90 * DAY)), lookback_days=90) == (2 / 168, 1)
    assert threshold(one, seen((7, AT - 90 * DAY - INSTANT)), lookback_days=90) == (None, 0)
    assert threshold(one, seen((7, AT - 90 * DAY - INSTANT))) == (2 / 168, 1)
    assert threshold(one, seen()) == (2 / 168, 1)
    assert threshold(one, seen((7, AT - DAY, 1)))[1] == 1
    assert threshold(one, seen((7, AT - DAY, 1018)))[1] == 0
    # more than one event in the past seven days
    assert threshold(counted((7, AT - HOUR, 1)), seen((7, AT - DAY))) == (None, 0)
    assert threshold(counted((7, AT - WEEK, 2)), seen()) == (2 / 168, 1)
    assert threshold(counted((7, AT - WEEK - HOUR, 2)), seen()) == (None, 0)
    assert threshold(counted((7, AT - HOUR, 1), (7, AT, 99)), seen()) == (None, 0)


def test_the_percentile_is_interpolated_as_numpy_does():
    rates = np.random.default_rng(1).integers(2, 1000, 37)
    counts = counted(*((group, AT - HOUR, int(count)) for group, count in enumerate(rates)))
    for quantile in (0.95, 0.9, 0.99, 0.5, 0, 1):
        assert threshold(counts, seen(), quantile=quantile)[0] == pytest.approx(
            np.quantile(rates / 168, quantile), rel=1e-15
        )


def test_the_oldest_groups_count_where_there_are_too_many():
    groups = [(group, AT - HOUR, 168 * (group + 1)) for group in range(6)]
    ages = seen(*((group, AT - 8 * DAY - group % 3 * DAY) for group in range(6)))
    # 2 and 5 are the oldest, then 1 and 4, then 0 and 3
    assert threshold(counted(*groups), ages, most_groups=2, quantile=0) == (3.0, 2)
    assert threshold(counted(*groups), ages, most_groups=3, quantile=0) == (2.0, 3)
    assert threshold(counted(*groups), ages, most_groups=3, quantile=1) == (6.0, 3)
    # the same day: by id; of unknown age: before all
    ages = ages.filter(pl.col("group_id") != 3)
    assert threshold(counted(*groups), ages, most_groups=1) == (4.0, 1)


def slow_threshold(counts, ages, project, at, rule):
    rates = []
    for group in sorted(set(counts.filter(project_id=project)["group_id"])):
        first, kind = ages.get((project, group), (None, None))
        mine = counts.filter(project_id=project, group_id=group)
        events = sum(count for hour, count in mine.select("hour", "count").rows() if at - WEEK <= hour < at)
        if events <= 1 or kind not in (None, 1):
            continue
        if first is None:
            rates.append(((MONDAY - 999 * DAY, group), events / 168))
            continue
        if at - first <= HOUR or (rule.lookback_days and at - first > rule.lookback_days * DAY):
            continue
        boundaries, moment = 0, first
        while at - first <= WEEK and moment.replace(minute=0, second=0, microsecond=0) < at:
            boundaries, moment = boundaries + 1, moment + HOUR
        rates.append(((first, group), events / (168 if at - first > WEEK else boundaries)))
    rates = [rate for _, rate in sorted(rates)[: rule.most_groups]]
    return (float(np.quantile(rates, rule.quantile)), len(rates)) if rates else (None, 0)


def random_project(rng, *, days=12, groups=9):
    """Occurrences and ages of two projects; some groups are born on the way, in a burst, some on an hour's edge."""
    rows, ages = [], []
    for number in range(groups):
        key = (1 + number % 2, 10 + number // 2)
        born = (
            int(rng.choice([-200, -100, -9, -1, *rng.integers(0, days, 6)])) * DAY
            + int(rng.choice([0, 59, 60, 61, 600, 1439])) * MINUTE
        )
        age = MONDAY + born
        start = max(timedelta(0), born)
        length = int((days * DAY - start) / MINUTE)
        if length <= 0:
            continue
        ordinary = start + rng.integers(0, length, int(rng.integers(1, 40))) * MINUTE
        burst = start + rng.choice([0, 0, 1, 5, 59, 60, 120, 1438, 1439, 1440, 1441], int(rng.integers(0, 30))) * MINUTE
        early = [start - 90 * MINUTE] if rng.random() < 0.2 and start > DAY else []
        rows += [(*key, MONDAY + at) for at in [*ordinary, *burst, *early] if timedelta(0) <= at < days * DAY]
        if rng.random() < 0.85:
            ages.append((*key, age, [None, 1, 1018][int(rng.choice([0, 1, 1, 1, 2]))]))
    return (
        pl.DataFrame(rows, schema=EVENTS, orient="row").sample(fraction=1, shuffle=True, seed=int(rng.integers(99))),
        pl.DataFrame(ages, schema=SEEN, orient="row"),
    )


def as_dict(ages):
    return {(project, group): (at, kind) for project, group, at, kind in ages.rows()}


RULES = (VELOCITY, VelocityRule(quantile=0.5, least_events=3, age_hours=30, lookback_days=None, most_groups=3))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), rule=st.sampled_from(RULES))
def test_thresholds_of_all_projects_and_days_are_each_one_alone(seed, rule):
    rng = np.random.default_rng(seed)
    events, ages = random_project(rng)
    counts = hourly_counts(events)
    moments = [MONDAY + int(hour) * HOUR for hour in rng.choice(13 * 24, 6)]
    found = velocity_thresholds(counts, ages, moments, rule=rule)
    known = {
        (project, at)
        for project, first in counts.group_by("project_id").agg(pl.col("hour").min()).rows()
        for at in moments
        if first < at
    }
    assert set(found.select("project_id", "at").rows()) == known
    for project, at, value, groups in found.rows():
        expected, number = slow_threshold(counts, as_dict(ages), project, at, rule)
        assert groups == number
        assert value == (None if expected is None else pytest.approx(expected, rel=1e-14))
    # several at once, in any order and lazily, are each one alone
    assert_frame_equal(found, velocity_thresholds(counts.lazy(), ages.lazy(), moments[::-1], rule=rule))
    one = velocity_thresholds(counts, ages, moments[0], rule=rule)
    assert_frame_equal(found.filter(at=moments[0]), one)
    # nothing later matters
    past = counts.filter(pl.col("hour") < moments[0])
    assert_frame_equal(one, velocity_thresholds(past, ages, moments[0], rule=rule))


# ---------------------------------------------------------------------------------------------------------------------
# Escalations

CALM = (7, [MONDAY + n * HOUR for n in range(21 * 24)])  # one event an hour: the threshold is 1.0
OLD = (7, MONDAY - 30 * DAY)


def first(times, *, born=AT, **options):
    """When a group with events at these minutes of its life escalates, in minutes."""
    events = happened(CALM, (8, [born + at * MINUTE for at in times]))
    found = velocity_escalations(events, seen(OLD, (8, born)), **options)
    return [(at - born) / MINUTE for at in found["escalated_at"]]


def test_ten_events_faster_than_the_threshold():
    assert first(range(9)) == []
    assert first(range(10)) == [9]
    assert first([*range(0, 600, 60), 599]) == [540]  # ten in nine hours
    assert first([0] * 10) == [0]
    assert first([0] * 9 + [5, 6]) == [5]


def test_the_rate_must_be_strictly_more():
    slow = [0] * 9
    assert first([*slow, 600]) == []  # ten in ten hours: exactly one an hour
    assert first([*slow, 599]) == [599]
    assert first([*slow, 600, 659]) == [659]  # eleven in less


def test_a_life_of_less_than_an_hour_counts_as_one():
    loud = (7, [MONDAY + n * 5 * MINUTE for n in range(21 * 24 * 12)])  # 12 an hour
    events = happened(loud, (8, [AT + n * MINUTE for n in range(13)]))
    found = velocity_escalations(events, seen(OLD, (8, AT)))
    assert found.select("times_seen", "rate", "threshold").rows() == [(13, 13.0, 12.0)]


def test_only_within_the_first_24_hours():
    few = [0] * 9
    assert first([*few, *[1440 - 1] * 20]) == [1439]
    assert first([*few, *[1440] * 30]) == []


def test_events_before_the_group_was_seen_count_but_do_not_fire():
    assert first([-3] * 10) == []
    assert first([-3] * 9 + [2]) == [2]


def test_only_errors_where_the_type_is_known():
    events = happened(CALM, (8, [AT] * 10))
    for kind, number in ((1, 1), (None, 1), (1018, 0)):
        assert velocity_escalations(events, seen(OLD, (8, AT, kind))).height == number
        typed = events.with_columns(
            type=pl.when(pl.col("group_id") == 8).then(pl.lit(kind, dtype=pl.Int64)).otherwise(1)
        )
        assert velocity_escalations(typed, seen(OLD, (8, AT))).height == number
    # and a project of other types has no threshold
    other = events.with_columns(type=pl.when(pl.col("group_id") == 7).then(1018).otherwise(1).cast(pl.Int64))
    assert velocity_escalations(other, seen(OLD, (8, AT))).is_empty()


def test_a_group_of_unknown_age_never_escalates():
    assert velocity_escalations(happened(CALM, (8, [AT] * 10)), seen(OLD)).is_empty()


def test_nothing_escalates_without_a_week_of_counts_or_a_threshold():
    assert first(range(10), born=MONDAY + WEEK - MINUTE) == [9]  # the tenth comes after midnight
    assert first(range(10), born=MONDAY + WEEK - 10 * MINUTE) == []
    assert first(range(10), born=MONDAY + 3 * DAY) == []
    assert first(range(10), born=MONDAY + 3 * DAY, start=MONDAY - 4 * DAY) == [9]
    alone = happened((8, [AT + n * MINUTE for n in range(10)]))
    assert velocity_escalations(alone, seen((8, AT)), start=MONDAY).is_empty()


def test_the_threshold_is_that_of_the_last_midnight():
    # 1 an hour for two weeks, then 100 an hour: seen from the next midnight on
    loud = [AT + n * timedelta(seconds=36) for n in range(24 * 100)]
    events = happened((7, CALM[1][: 14 * 24] + loud), (8, [AT + DAY - 9 * MINUTE + n * MINUTE for n in range(15)]))
    ages = seen(OLD, (8, AT + DAY - 9 * MINUTE))
    found = velocity_escalations(events.filter(pl.col("group_id") != 8), seen(OLD))
    assert found.is_empty()
    found = velocity_escalations(events, ages)
    assert found.is_empty()  # nine before midnight; the tenth is held against 15 an hour
    one_earlier = events.with_columns(
        pl.when(pl.col("group_id") == 8)
        .then(pl.col("detected_at") - MINUTE)
        .otherwise("detected_at")
        .alias("detected_at")
    )
    found = velocity_escalations(one_earlier, seen(OLD, (8, AT + DAY - 10 * MINUTE)))
    assert found.select("escalated_at", "threshold").row(0) == (AT + DAY - MINUTE, 1.0)
    # the last hour of a day is that day's, too
    found = velocity_escalations(hourly_counts(one_earlier), seen(OLD, (8, AT + DAY - 10 * MINUTE)))
    assert found.select("times_seen", "threshold").row(0) == (10, 1.0)


def test_a_group_is_new_until_its_first_recorded_change():
    def change(at, kind):
        row = (1, 8, AT + at * MINUTE, kind, None, None, "activity")
        return pl.DataFrame([row], schema=frames.empty("StatusChanges").schema, orient="row")

    assert first(range(20), status_changes=change(8, "resolved")) == []
    assert first(range(20), status_changes=change(9, "escalating")) == [9]
    assert first(range(20), status_changes=change(8, "assigned")) == [9]
    assert first(range(20), status_changes=change(0, "new")) == [9]
    assert first(range(20), status_changes=change(-999, "first_seen")) == [9]


def test_with_hourly_counts_the_hour_is_known():
    events = happened(CALM, (8, [AT + at * MINUTE for at in [30, *[70] * 9]]))
    found = velocity_escalations(hourly_counts(events), seen(OLD, (8, AT + 30 * MINUTE)))
    assert found.select("escalated_at", "times_seen").row(0) == (AT + HOUR, 10)
    # never before it was seen
    events = happened(CALM, (8, [AT + 30 * MINUTE] * 10))
    found = velocity_escalations(hourly_counts(events), seen(OLD, (8, AT + 30 * MINUTE)))
    assert found["escalated_at"].to_list() == [AT + 30 * MINUTE]
    # the hour in which the first day ends is not judged
    late = happened(CALM, (8, [AT + 30 * MINUTE] + [AT + DAY + MINUTE] * 99))
    assert velocity_escalations(late, seen(OLD, (8, AT + 30 * MINUTE))).height == 1
    assert velocity_escalations(hourly_counts(late), seen(OLD, (8, AT + 30 * MINUTE))).is_empty()


def slow_escalations(events, ages, rule):
    """One event after the other, as they come."""
    counts, known = hourly_counts(events), as_dict(ages)
    begins = counts["hour"].min()
    times, fired, thresholds = {}, {}, {}
    for at in sorted(set(events["detected_at"])):
        arrived = events.filter(detected_at=at)
        for key in arrived.select("project_id", "group_id").rows():
            times[key] = times.get(key, 0) + 1
        for key in set(arrived.select("project_id", "group_id").rows()) - fired.keys():
            seen_at, kind = known.get(key, (None, None))
            midnight = at.replace(hour=0, minute=0)
            if seen_at is None or kind not in (None, 1) or midnight < begins + WEEK:
                continue
            if not timedelta(0) <= at - seen_at < rule.age_hours * HOUR or times[key] < rule.least_events:
                continue
            if (key[0], midnight) not in thresholds:
                past = counts.filter(pl.col("hour") < midnight)
                thresholds[key[0], midnight] = slow_threshold(past, known, key[0], midnight, rule)[0] or 0
            limit = thresholds[key[0], midnight]
            rate = times[key] / max((at - seen_at) / HOUR, 1)
            # a rate that equals the threshold but for the last bit is no matter
            if limit > 0 and rate > limit * (1 + 1e-13):
                fired[key] = (at, times[key], rate, limit)
    return fired


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), rule=st.sampled_from(RULES))
def test_escalations_are_those_of_each_event_as_it_comes(seed, rule):
    events, ages = random_project(np.random.default_rng(seed), days=14, groups=12)
    found = velocity_escalations(events, ages, rule=rule)
    frames.check(found, "Escalations")
    assert set(found["provenance"]) <= {"velocity"}
    ours = {(p, g): rest for p, g, *rest in found.drop("ended_at", "provenance").rows()}
    expected = slow_escalations(events, ages, rule)
    assert ours.keys() == expected.keys()
    for key, (at, times, rate, limit) in expected.items():
        assert ours[key] == [at, times, pytest.approx(rate, rel=1e-13), pytest.approx(limit, rel=1e-13)]
    assert_frame_equal(found, velocity_escalations(events.lazy(), ages.lazy(), rule=rule))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), exact=st.booleans())
def test_the_future_changes_nothing(seed, exact):
    rng = np.random.default_rng(seed)
    events, ages = random_project(rng, days=14, groups=12)
    cut = MONDAY + 7 * DAY + int(rng.integers(0, 7 * 24)) * HOUR
    more = events.with_columns(pl.col("detected_at") + int(rng.integers(0, 50)) * HOUR).filter(
        pl.col("detected_at") >= cut
    )
    past = events.filter(pl.col("detected_at") < cut)
    if past.is_empty():
        return
    later = pl.concat([past, *[more] * 30])
    if not exact:
        past, later = hourly_counts(past), hourly_counts(later)
    before = velocity_escalations(past, ages, rule=RULES[1])
    after = velocity_escalations(later, ages, rule=RULES[1]).filter(pl.col("escalated_at") < cut)
    # with counts, an escalation of the last hour that has ended is named by its start, or when the group was seen
    assert_frame_equal(before, after)


@pytest.mark.parametrize("seed", [3, 4])
def test_what_the_simulator_records_is_found_and_nothing_else(seed):
    sim = ia.simulate(groups=1500, days=42, seed=seed)
    ages = sim.groups.select("project_id", "group_id", "first_seen", "type")
    whole = sim.hourly_counts["hour"].min() + WEEK
    recorded = sim.status_changes.filter(pl.col("cause") == "velocity", pl.col("at") >= whole)
    others = sim.status_changes.filter((pl.col("cause") != "velocity").fill_null(value=True))
    found = velocity_escalations(sim.occurrences, ages, status_changes=others)
    assert recorded.height >= 5
    names = ["project_id", "group_id", "at"]
    assert found.select("project_id", "group_id", at="escalated_at").rows() == recorded.select(names).sort(names).rows()


# ---------------------------------------------------------------------------------------------------------------------
# What is refused


def test_frames_and_settings_that_make_no_sense_are_refused():
    counts, ages = counted((7, MONDAY, 3)), seen(OLD)
    with pytest.raises(SettingsError, match="inside an hour"):
        velocity_thresholds(counts, ages, MONDAY + MINUTE)
    with pytest.raises(FrameError, match="first_seen: no column first_seen"):
        velocity_thresholds(counts, ages.drop("first_seen"), AT)
    with pytest.raises(FrameError, match="not a time with a zone"):
        velocity_thresholds(counts, ages.with_columns(pl.col("first_seen").dt.replace_time_zone(None)), AT)
    with pytest.raises(FrameError, match="type is String"):
        velocity_escalations(counts, ages.with_columns(type=pl.lit("error")))
    with pytest.raises(FrameError, match="two rows have the same"):
        velocity_escalations(pl.concat([counts, counts]), ages)
    with pytest.raises(FrameError, match="no column"):
        velocity_escalations(pl.DataFrame({"gid": [1]}), ages)
    for wrong in ({"quantile": 95}, {"quantile": True}, {"least_events": 0}, {"age_hours": 1.5}, {"most_groups": None}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            VelocityRule(**wrong)


def test_no_counts_no_escalations():
    found = velocity_escalations(counted(), seen(OLD))
    assert found.is_empty()
    assert found.schema == velocity_escalations(happened(CALM, (8, [AT] * 10)), seen(OLD, (8, AT))).schema
    assert velocity_thresholds(counted(), seen(OLD), AT).is_empty()
