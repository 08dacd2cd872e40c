"""The burden by project and day against loops over hours, and by hand."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from histories import EXPOSURE, HOUR, MONDAY, UTC_US, random_counts, random_escalations, random_exposure
from polars.testing import assert_frame_equal

from issue_analytics.backtest import backtest
from issue_analytics.errors import SettingsError
from issue_analytics.frames import empty
from issue_analytics.scores.burden import ALERTS_PER_PROJECT_DAY, alerts_per_project_day, burden, days_over, worst_days
from issue_analytics.thresholds import ThresholdVariables

ALERTS = {"project_id": pl.Int64, "group_id": pl.Int64, "hour": UTC_US, "verdict": pl.String}
FIRING = ThresholdVariables(0, 0.7, 0.7, 0, 0)


def spans(*rows):
    rows = [(project, group, MONDAY + start * HOUR, MONDAY + end * HOUR) for project, group, start, end in rows]
    return pl.DataFrame(rows, schema=EXPOSURE, orient="row")


def alerts_at(*rows):
    rows = [(project, group, MONDAY + hour * HOUR, verdict) for project, group, hour, verdict in rows]
    return pl.DataFrame(rows, schema=ALERTS, orient="row")


def slow_burden(alerts, exposure):
    groups, hours = {}, {}
    for project, group, start, end in exposure.iter_rows():
        hour = start
        while hour < end:
            groups.setdefault((project, hour.date()), set()).add(group)
            hours[project, hour.date()] = hours.get((project, hour.date()), 0) + 1
            hour += HOUR
    fired = alerts.select("project_id", "hour", "verdict").rows()
    rows = []
    for project, day in sorted(groups):
        mine = [verdict for p, hour, verdict in fired if (p, hour.date()) == (project, day)]
        rows.append((project, day, len(groups[project, day]), hours[project, day], len(mine), mine.count("false")))
    return rows


@pytest.mark.parametrize("seed", range(12))
def test_the_burden_equals_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, groups=6, hours=500, start=MONDAY + int(rng.integers(0, 30)) * HOUR)
    exposure = random_exposure(rng, counts) if seed % 2 else None
    result = backtest(counts, random_escalations(rng, counts), exposure=exposure, thresholds=FIRING, buckets="dense")
    days = burden(result.alerts, result.exposure)
    assert days.rows() == slow_burden(result.alerts, result.exposure)
    assert days["alerts"].sum() == result.alerts.height
    assert days["false_alarms"].sum() == result.summary()["false_alarms"].item()
    assert days["exposed_hours"].sum() == result.groups["exposed_hours"].sum()
    mixed = burden(result.alerts.sample(fraction=1, shuffle=True, seed=seed), result.exposure.reverse())
    assert_frame_equal(mixed, days)
    most = {}
    for project, day, _, _, number, _ in slow_burden(result.alerts, result.exposure):
        if number and number > most.get(project, (0, None))[0]:
            most[project] = (number, day)
    worst = worst_days(days)
    assert {p: (n, day) for p, day, n in worst.select("project_id", "date", "alerts").rows()} == most
    assert worst["alerts"].is_sorted(descending=True)
    over = days.select(days_over(1).of_sums()).item()
    assert over == pytest.approx((days["alerts"] > 1).mean()) if days.height else over is None


def test_days_without_an_alert_are_days():
    """Three days of one project, one of another; two groups on one day are one project-day."""
    watched = spans((1, 7, 0, 72), (1, 8, 24, 30), (2, 7, 0, 1))
    days = burden(alerts_at((1, 7, 23, "false"), (1, 7, 25, "caught"), (1, 8, 26, "false")), watched)
    monday, tuesday, wednesday = (date(2026, 1, day) for day in (5, 6, 7))
    assert days.rows() == [
        (1, monday, 1, 24, 1, 1),
        (1, tuesday, 2, 30, 2, 1),
        (1, wednesday, 1, 24, 0, 0),
        (2, monday, 1, 1, 0, 0),
    ]
    assert days.select(alerts_per_project_day()).item() == 3 / 4
    assert days.select(days_over(0).of_sums(), days_over(1).of_sums(), days_over(2).of_sums()).row(0) == (0.5, 0.25, 0)
    by = days.group_by("project_id").agg(ALERTS_PER_PROJECT_DAY.of_sums()).sort("project_id")
    assert by["alerts_per_project_day"].to_list() == [1.0, 0.0]
    assert worst_days(days).select("project_id", "date", "alerts").rows() == [(1, tuesday, 2)]


def test_midnight_belongs_to_the_new_day():
    days = burden(alerts_at((1, 7, 24, "false")), spans((1, 7, 0, 24), (1, 7, 24, 25)))
    assert days.select(pl.col("date").dt.day(), "exposed_hours", "alerts").rows() == [(5, 24, 0), (6, 1, 1)]


def test_without_labels_nothing_is_false():
    watched = spans((1, 7, 0, 48))
    unknown = burden(alerts_at((1, 7, 3, None)), watched)
    assert unknown.select("alerts", "false_alarms").rows() == [(1, None), (0, None)]
    assert_frame_equal(burden(alerts_at((1, 7, 3, None)).drop("verdict"), watched), unknown)


def test_nothing_watched_is_no_error():
    nothing = burden(empty("Alerts"), empty("Exposure"))
    assert nothing.is_empty()
    assert nothing.select(alerts_per_project_day()).item() is None
    assert worst_days(nothing).is_empty()
    for wrong in (-1, 1.5, True):
        with pytest.raises(SettingsError):
            days_over(wrong)


def test_the_rate_takes_a_cluster_interval():
    from issue_analytics.scores import ratio_intervals

    rng = np.random.default_rng(1)
    rows = [(project, 7, int(hour), "false") for project in range(40) for hour in rng.integers(0, 240, rng.poisson(3))]
    days = burden(alerts_at(*rows), spans(*((project, 7, 0, 240) for project in range(40))))
    row = ratio_intervals(days, [ALERTS_PER_PROJECT_DAY, days_over(1)], cluster=["project_id"]).row(0, named=True)
    assert row["estimate"] == pytest.approx(len(rows) / 400)
    assert row["low"] < row["estimate"] < row["high"]


def test_ten_thousand_groups_take_no_time():
    import time

    hours = 90 * 24
    keys = pl.DataFrame({"project_id": np.arange(10_000) % 200, "group_id": np.arange(10_000)})
    watched = keys.with_columns(start=pl.lit(MONDAY), end=pl.lit(MONDAY + timedelta(hours=hours))).cast(EXPOSURE)
    rng = np.random.default_rng(0)
    who = rng.integers(0, 10_000, 20_000)
    alerts = keys[who].with_columns(
        hour=MONDAY + pl.Series(rng.integers(0, hours, 20_000)) * HOUR, verdict=pl.lit("false")
    )
    begun = time.process_time()
    days = burden(alerts.cast(ALERTS), watched)
    assert time.process_time() - begun < 2
    assert days.height == 200 * 90
    assert days["alerts"].sum() == 20_000
