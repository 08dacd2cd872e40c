from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from histories import COUNTS, HOUR, MONDAY, UTC_US, random_counts, slow_limit
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from issue_analytics import frames
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.forecast import forecast
from issue_analytics.forecast_records import ForecastRecord, forecast_records, is_escalating, limits_at
from issue_analytics.thresholds import TIGHTER

DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)
RISING = tuple(range(100, 114))
GROUPS = pl.DataFrame({"project_id": [1], "group_id": [7]})
SCHEMA = frames.empty("ForecastRecords").schema


def record(made, limits=RISING, group=7):
    return ForecastRecord(1, group, limits, made)


def stored(*records):
    return pl.DataFrame(
        [(r.project_id, r.group_id, r.date_added, list(r.forecast)) for r in records], schema=SCHEMA, orient="row"
    )


def occurrences(*stamps, group=7):
    return pl.DataFrame(
        [(1, group, at) for at in stamps],
        schema={"project_id": pl.Int64, "group_id": pl.Int64, "detected_at": UTC_US},
        orient="row",
    )


def one(records, at, **options):
    return limits_at(records, GROUPS, at, **options).select("limit", "source").row(0)


# ---------------------------------------------------------------------------------------------------------------------
# One record


@given(
    limits=st.lists(st.integers(0, 2**63 - 1), min_size=14, max_size=14),
    made=st.timedeltas(timedelta(days=-35 * 365), timedelta(days=70 * 365)).map(lambda after: MONDAY + after),
)
def test_the_stored_form_is_read_back_equal(limits, made):
    one = ForecastRecord(3, 7, limits, made)
    assert one.to_dict() == {"project_id": 3, "group_id": 7, "forecast": limits, "date_added": made.timestamp()}
    assert ForecastRecord.from_dict(one.to_dict()) == one
    assert one.date_added == made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"project_id": None}, "project_id: missing"),
        ({"group_id": "7"}, "group_id: expected a whole number, got '7'"),
        ({"group_id": -1}, "group_id: -1 is negative"),
        ({"forecast": [1] * 13}, "forecast: expected 14 limits, got 13"),
        ({"forecast": [1] * 13 + [True]}, r"forecast\[13\]: expected a whole number, got True"),
        ({"forecast": [1] * 13 + [None]}, r"forecast\[13\]: null"),
        ({"forecast": [-1] * 14}, r"forecast\[0\]: -1 is negative"),
        ({"forecast": [1.5] * 14}, r"forecast\[0\]: expected a whole number, got 1.5"),
        ({"forecast": "1" * 14}, "forecast: expected a list"),
        ({"forecast": {}}, "forecast: expected a list"),
        ({"date_added": "2026-01-05T09:30:00"}, "date_added: no time zone"),
        ({"date_added": None}, "date_added: missing"),
        ({"date_added": float("nan")}, "date_added: nan is no time"),
        ({"project_id": 1.0, "date_added": True}, "project_id: expected.*date_added: expected"),
    ],
)
def test_what_makes_no_record_is_refused(change, message):
    payload = record(MONDAY).to_dict() | change
    with pytest.raises(FrameError, match=message):
        ForecastRecord.from_dict(payload)
    with pytest.raises(FrameError, match="expected a mapping"):
        ForecastRecord.from_dict([payload])


@pytest.mark.parametrize("made", [MONDAY, MONDAY + timedelta(hours=9), MONDAY + DAY - INSTANT])
def test_the_day_index_counts_utc_dates_whatever_the_hour(made):
    for index in range(14):
        for at in (MONDAY + index * DAY, MONDAY + (index + 1) * DAY - INSTANT):
            found = record(made).limit_at(at)
            assert (found.limit, found.index, found.note) == (RISING[index], index, None)


def test_day_14_takes_the_last_value_and_later_days_say_so():
    assert record(MONDAY).limit_at(MONDAY + 14 * DAY).note is None
    assert record(MONDAY).limit_at(MONDAY + 15 * DAY - INSTANT).index == 14
    beyond = record(MONDAY).limit_at(MONDAY + 15 * DAY)
    assert (beyond.limit, beyond.index) == (RISING[-1], 15)
    assert "2026-01-05" in beyond.note
    assert "2026-01-20" in beyond.note


def test_a_day_before_the_forecast_is_an_error_that_names_both():
    with pytest.raises(FrameError, match=r"made on 2026-01-05, asked for 2026-01-04"):
        record(MONDAY).limit_at(MONDAY - INSTANT)


def test_days_are_those_of_utc_in_every_zone():
    berlin = ZoneInfo("Europe/Berlin")
    # the clocks go forward on 2026-03-29: its date begins in Berlin an hour before that of UTC
    made = datetime(2026, 3, 28, 12, tzinfo=berlin)
    late = datetime(2026, 3, 29, 0, 30, tzinfo=berlin)
    assert record(made).limit_at(late).index == 0
    assert record(made).limit_at(datetime(2026, 3, 30, 1, 59, tzinfo=berlin)).index == 1
    assert record(made).limit_at(datetime(2026, 3, 30, 2, 0, tzinfo=berlin)).index == 2
    assert record(made).date_added == made.astimezone(UTC)
    assert one(stored(record(made)), late) == (RISING[0], "stored")


def test_a_time_without_a_zone_is_refused():
    naive = MONDAY.replace(tzinfo=None)
    for call in (
        lambda: record(MONDAY).limit_at(naive),
        lambda: limits_at(stored(), GROUPS, naive),
        lambda: is_escalating(occurrences(MONDAY), naive),
    ):
        with pytest.raises(SettingsError, match="time zone"):
            call()


def test_a_list_of_records_is_a_frame():
    frame = pl.DataFrame([record(MONDAY)], schema_overrides={"date_added": UTC_US})
    assert_frame_equal(frame.select(SCHEMA.names()), stored(record(MONDAY)))


# ---------------------------------------------------------------------------------------------------------------------
# All groups at once


def test_records_of_a_forecast_hold_its_limits():
    counts = pl.concat([random_counts(np.random.default_rng(1)), pl.DataFrame(
        [(1, 99, MONDAY, 5)], schema=COUNTS, orient="row")])  # fmt: skip
    as_of = MONDAY + 14 * DAY
    limits = forecast(counts, as_of)
    records = forecast_records(limits.sample(fraction=1, shuffle=True, seed=1))
    frames.check(records, "ForecastRecords")
    assert limits.filter(group_id=99)["rule"].unique().to_list() == ["none"]
    assert 99 not in records["group_id"]
    for row in records.iter_rows(named=True):
        mine = limits.filter(project_id=row["project_id"], group_id=row["group_id"]).sort("date")
        assert row["forecast"] == mine["limit"].to_list()
        assert row["date_added"] == as_of
        assert [ForecastRecord(**row).limit_at(as_of + index * DAY).limit for index in range(14)] == row["forecast"]


def test_records_of_other_days_are_refused():
    counts = random_counts(np.random.default_rng(1), groups=1)
    as_of = MONDAY + 14 * DAY
    with pytest.raises(FrameError, match="7 days from day 0 on; a record holds 14"):
        forecast_records(forecast(counts, as_of, days=7))
    later = forecast(counts, as_of, days=15).filter(pl.col("date") > as_of.date())
    with pytest.raises(FrameError, match="14 days from day 1 on"):
        forecast_records(later)
    assert forecast_records(frames.empty("Limits")).schema == SCHEMA


def test_a_record_may_be_stored_later_on_its_day_only():
    limits = forecast(random_counts(np.random.default_rng(1), groups=1), MONDAY + 9 * HOUR + DAY)
    made = MONDAY + DAY + timedelta(hours=9, minutes=30)
    assert forecast_records(limits, date_added=made)["date_added"].to_list() == [made]
    for wrong in (MONDAY + DAY + timedelta(hours=8), MONDAY + 2 * DAY):
        with pytest.raises(SettingsError, match="not later on the UTC day"):
            forecast_records(limits, date_added=wrong)


def test_a_record_serves_for_fourteen_days_to_the_microsecond():
    made = MONDAY + timedelta(hours=9, minutes=30)
    records = stored(record(made))
    assert record(made).expires_at == made + 14 * DAY
    assert one(records, made - INSTANT) == (10, "fallback")
    assert one(records, made) == (100, "stored")
    assert one(records, MONDAY + DAY - INSTANT) == (100, "stored")
    assert one(records, MONDAY + DAY) == (101, "stored")
    assert one(records, MONDAY + 14 * DAY - INSTANT) == (113, "stored")
    assert one(records, MONDAY + 14 * DAY) == (113, "last")
    assert one(records, made + 14 * DAY - INSTANT) == (113, "last")
    assert one(records, made + 14 * DAY) == (10, "fallback")
    assert one(records, made + 14 * DAY, fallback=3) == (3, "fallback")
    assert one(records, made + 14 * DAY, expire=False) == (113, "last")
    assert one(records, MONDAY + 15 * DAY, expire=False) == (113, "beyond")


def test_the_newest_record_made_before_counts_even_if_another_would_last():
    records = stored(record(MONDAY + DAY, [7] * 14), record(MONDAY), record(MONDAY + 2 * DAY, [9] * 14))
    assert one(records, MONDAY + DAY - INSTANT) == (100, "stored")
    assert one(records, MONDAY + DAY) == (7, "stored")
    assert one(records, MONDAY + 2 * DAY - INSTANT) == (7, "stored")
    assert one(records, MONDAY + 12 * DAY) == (9, "stored")


def slow_lookup(records, project, group, at):
    mine = [
        one
        for one in (ForecastRecord(**row) for row in records.iter_rows(named=True))
        if (one.project_id, one.group_id) == (project, group) and one.date_added <= at
    ]
    newest = max(mine, key=lambda one: one.date_added, default=None)
    if newest is None or at >= newest.expires_at:
        return 10, "fallback", None
    found = newest.limit_at(at)
    return found.limit, "last" if found.index == 14 else "stored", newest.date_added


def random_records(rng):
    edges = np.array([0, 1, 3_600_000_000, 86_399_999_999, 86_400_000_000])
    us = rng.integers(0, 30, 12) * 86_400_000_000 + rng.choice(edges, 12)
    keys = set(zip(rng.integers(1, 3, 12).tolist(), rng.integers(7, 10, 12).tolist(), us.tolist(), strict=True))
    return stored(*(ForecastRecord(p, g, rng.integers(0, 40, 14).tolist(), MONDAY + us * INSTANT) for p, g, us in keys))


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_all_groups_at_once_are_each_group_alone(seed):
    rng = np.random.default_rng(seed)
    records = random_records(rng)
    at = MONDAY + int(rng.integers(0, 40)) * DAY + int(rng.choice([-1, 0, 1, 3_600_000_000])) * INSTANT
    groups = pl.DataFrame(
        [(p, g) for p in (1, 2) for g in range(7, 11)], schema=["project_id", "group_id"], orient="row"
    )
    found = limits_at(records, pl.concat([groups, groups]).sample(fraction=1, shuffle=True, seed=seed), at)
    assert found.select(groups.columns).equals(groups)
    for project, group, *rest in found.iter_rows():
        assert tuple(rest) == slow_lookup(records, project, group, at)


# ---------------------------------------------------------------------------------------------------------------------
# The check


AT = MONDAY + timedelta(days=8, hours=15, minutes=30)
START = AT.replace(minute=0)


def seen(count, *, before=()):
    return occurrences(*before, *(START + n * timedelta(seconds=1) for n in range(count)))


def test_only_strictly_more_escalates():
    records = stored(record(START, [5] * 14))
    for count, expected in ((4, False), (5, False), (6, True)):
        found = is_escalating(seen(count), AT, records=records, group=7)
        assert bool(found) is expected
        assert found.groups.row(0) == (1, 7, count, 5, "stored", START, expected)
    assert not is_escalating(seen(6), AT, records=stored(record(START, [0] * 14)), group=7)


def test_the_hour_runs_from_its_start_to_the_moment():
    edges = [START - INSTANT, START, AT - INSTANT, AT, AT + INSTANT]
    found = is_escalating(occurrences(*edges), AT)
    assert found.groups["count"].to_list() == [2]
    assert is_escalating(occurrences(*edges), START).groups["count"].to_list() == [0]
    assert is_escalating(occurrences(*edges), START + HOUR).groups["count"].to_list() == [0]


def test_without_a_record_the_limit_is_10_and_a_forecast_is_made():
    history = [MONDAY + timedelta(days=3, minutes=n) for n in range(4)]
    assert not is_escalating(seen(10, before=history), AT)
    found = is_escalating(seen(11, before=history), AT)
    assert found
    assert found.groups.select("limit", "source", "date_added").row(0) == (10, "fallback", None)
    assert found.regenerated.row(0) == (1, 7, AT, [40] * 14)
    # stored, it is what the next check goes by
    assert not is_escalating(seen(11, before=history), AT, records=found.regenerated)
    assert is_escalating(seen(11), AT, regenerate=False).regenerated.is_empty()
    # silent in the 168 hours before the hour: nothing can be made, and the group goes on with 10
    assert is_escalating(seen(11), AT).regenerated.is_empty()
    early = occurrences(START - 168 * HOUR, START - 168 * HOUR - INSTANT)
    assert is_escalating(early, AT).regenerated["forecast"].to_list() == [[10] * 14]


def test_a_lapsed_record_is_made_anew_and_another_kept():
    history = pl.concat([seen(1, before=[MONDAY + 3 * DAY]), seen(1).with_columns(group_id=pl.lit(8, pl.Int64))])
    records = stored(record(AT - 14 * DAY), record(AT - 14 * DAY + INSTANT, group=8))
    found = is_escalating(history, AT, records=records)
    assert found.groups["source"].to_list() == ["fallback", "last"]
    assert found.regenerated["group_id"].to_list() == [7]


def test_hourly_counts_are_judged_by_the_whole_hour_that_ended():
    counts = pl.DataFrame([(1, 7, START, 6), (1, 7, START + HOUR, 99)], schema=COUNTS, orient="row")
    records = stored(record(START, [5] * 14))
    found = is_escalating(counts, START + HOUR, records=records)
    assert found.groups["count"].to_list() == [6]
    assert is_escalating(counts.lazy(), START + HOUR, records=records)
    assert is_escalating(counts, START, records=records).groups.is_empty()
    with pytest.raises(SettingsError, match="inside an hour"):
        is_escalating(counts, AT, records=records)


def test_the_last_hour_of_a_day_is_judged_by_the_limit_of_that_day():
    midnight = MONDAY + 8 * DAY
    counts = pl.DataFrame([(1, 7, midnight - HOUR, 6)], schema=COUNTS, orient="row")
    records = stored(record(midnight - DAY, [5] + [50] * 13), record(midnight, [99] * 14))
    assert is_escalating(counts, midnight, records=records).groups["limit"].to_list() == [5]
    # and what is made anew is of that day, too
    week = pl.DataFrame([(1, 7, midnight - n * HOUR, 5 + n % 3) for n in range(1, 170)], schema=COUNTS, orient="row")
    made = is_escalating(week, midnight).regenerated
    assert made["date_added"].to_list() == [midnight - INSTANT]
    expected = forecast(week, midnight - HOUR)["limit"].to_list()
    assert made["forecast"].to_list() == [expected]


@pytest.mark.parametrize("buckets", ["sparse", "dense"])
def test_what_is_made_anew_is_the_limit_of_the_168_hours_before(buckets):
    rng = np.random.default_rng(5)
    counts = random_counts(rng, groups=6, hours=400)
    at = MONDAY + 300 * HOUR
    found = is_escalating(counts, at, thresholds=TIGHTER, buckets=buckets)
    assert found.regenerated.height > 2
    for row in found.regenerated.iter_rows(named=True):
        known = dict(
            counts.filter(project_id=row["project_id"], group_id=row["group_id"]).select("hour", "count").rows()
        )
        as_of = at - HOUR
        window = [known.get(as_of - back * HOUR, 0) for back in range(168, 0, -1)]
        expected = [
            slow_limit(window, as_of, (as_of + n * DAY).weekday(), TIGHTER, sparse=buckets == "sparse")[0]
            for n in range(14)
        ]
        assert row["forecast"] == expected


def random_occurrences(rng, days=20):
    stamps = [
        (int(rng.integers(1, 3)), int(rng.integers(7, 9)), MONDAY + int(at) * timedelta(minutes=1))
        for at in rng.choice([0, 1, 59, 60, 61, 1439, 1440], 600) + 60 * rng.integers(0, 24 * days, 600)
    ]
    return pl.DataFrame(
        stamps, schema={"project_id": pl.Int64, "group_id": pl.Int64, "detected_at": UTC_US}, orient="row"
    )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_check_is_that_of_each_event_counted_one_by_one_and_the_future_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    events, records = random_occurrences(rng), random_records(rng)
    records = records.with_columns(pl.col("forecast").list.eval(pl.element() // 15))
    at = MONDAY + int(rng.integers(0, 22 * 24 * 4)) * timedelta(minutes=15)
    found = is_escalating(events, at, records=records)
    start = at.replace(minute=0)
    past = [(p, g, t) for p, g, t in events.rows() if t < at]
    known = {(p, g) for p, g, _ in past} | {(p, g) for p, g, made, _ in records.rows() if made <= at}
    assert set(found.groups.select("project_id", "group_id").rows()) == known
    for project, group, count, limit, source, made, escalating in found.groups.rows():
        expected = sum((p, g) == (project, group) and start <= t for p, g, t in past)
        assert (limit, source, made) == slow_lookup(records, project, group, at)
        assert (count, escalating) == (expected, limit > 0 and expected > limit)
    alone = is_escalating(events, at, records=records, group=(1, 7))
    assert_frame_equal(alone.regenerated, found.regenerated.filter(project_id=1, group_id=7))
    if (1, 7) in known:
        assert_frame_equal(alone.groups, found.groups.filter(project_id=1, group_id=7))
    earlier = is_escalating(
        events.filter(pl.col("detected_at") < at), at, records=records.filter(pl.col("date_added") <= at)
    )
    assert_frame_equal(earlier.groups, found.groups)
    assert_frame_equal(earlier.regenerated, found.regenerated)
    assert bool(found) == any(row[-1] for row in found.groups.rows())


def test_a_group_is_named_by_its_id_or_with_its_project():
    both = pl.concat([seen(11), seen(12).with_columns(project_id=pl.lit(2, pl.Int64))])
    assert is_escalating(both, AT, group=(2, 7)).groups["count"].to_list() == [12]
    with pytest.raises(FrameError, match=r"7 is in several projects \(1, 2\)"):
        is_escalating(both, AT, group=7)
    with pytest.raises(FrameError, match="9 has no event and no record"):
        is_escalating(both, AT, group=9)
    # of a group never heard of, nothing is stored and nothing was counted
    assert is_escalating(both, AT, group=(1, 9)).groups.row(0)[2:5] == (0, 10, "fallback")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"forecast": [[1] * 13]}, "forecast has 14 limits"),
        ({"forecast": [[1] * 13 + [None]]}, "forecast has 14 limits"),
        ({"forecast": [[1] * 13 + [-1]]}, "forecast has 14 limits"),
        ({"forecast": [None]}, "forecast"),
        ({"group_id": [-7]}, "group_id: not greater than or equal to"),
    ],
)
def test_records_that_break_their_contract_are_refused(change, message):
    good = stored(record(MONDAY))
    bad = good.with_columns(**{name: pl.Series(value, dtype=SCHEMA[name]) for name, value in change.items()})
    with pytest.raises(FrameError, match=message):
        limits_at(bad, GROUPS, MONDAY)
    with pytest.raises(FrameError, match="two rows have the same"):
        limits_at(pl.concat([good, good]), GROUPS, MONDAY)


def test_a_setting_that_makes_no_sense_is_refused():
    for wrong in (-1, 1.5, True, None):
        with pytest.raises(SettingsError, match="fallback"):
            limits_at(stored(), GROUPS, MONDAY, fallback=wrong)
        with pytest.raises(SettingsError, match="fallback"):
            is_escalating(seen(1), AT, fallback=wrong)
    with pytest.raises(FrameError, match="no column"):
        is_escalating(pl.DataFrame({"gid": [1]}), MONDAY)
