"""Stability of limits and what spikes do to them, against loops that make each limit by the definition."""

import math
import statistics
from datetime import timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from histories import COUNTS, EXPOSURE, HOUR, MONDAY, random_counts
from polars.testing import assert_frame_equal

from issue_analytics.backtest import Policy, backtest
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.formula import limit_of_one
from issue_analytics.frames import KEY, RULES, empty
from issue_analytics.scores import stability as module
from issue_analytics.scores.stability import (
    BRANCH_CHANGES,
    flip_flop_index,
    inflated_days,
    inflation,
    inflation_summary,
    limit_stability,
)
from issue_analytics.thresholds import PUBLISHED, STANDARD, ThresholdVariables

DAY = timedelta(days=1)
SENSITIVE = ThresholdVariables(0, 0.7, 0.7, 0, 0)
POLICIES = (Policy(), Policy(every="6h", offset="5h"), Policy(every="7d", offset="19h"))


def in_force(limits):
    latest = {}
    for p, g, date, limit, rule, as_of in limits.select(*KEY, "date", "limit", "rule", "as_of").iter_rows():
        if (p, g, date) not in latest or latest[p, g, date][2] < as_of:
            latest[p, g, date] = (limit, rule, as_of)
    return latest


def judged(seed, thresholds=SENSITIVE):
    counts = random_counts(np.random.default_rng(seed))
    buckets = ("sparse", "dense")[seed % 2]
    return backtest(counts, policy=POLICIES[seed % 3], thresholds=thresholds, buckets=buckets)


def spikes_of(result):
    return result.alerts.select(*KEY, start="hour", end=pl.col("last_hour") + HOUR)


def test_the_flip_flop_index():
    """(30 + 20 + 40 - (80 - 20)) / 2, the example of Griffiths and others 2019's definition."""
    one = pl.DataFrame({"x": [50, 20, 40, 80], "g": [1, 1, 1, 1]})
    assert one.select(flip_flop_index("x")).item() == 15.0
    assert one.group_by("g").agg(flip_flop_index("x"))["flip_flop_index"].to_list() == [15.0]
    gaps = pl.DataFrame({"x": [50, None, 20, 40, None, 80]})
    assert gaps.select(flip_flop_index("x")).item() == 15.0
    assert pl.DataFrame({"x": [1, 5, 9]}).select(flip_flop_index("x")).item() == 0
    assert pl.DataFrame({"x": [1, 5]}).select(flip_flop_index("x")).item() is None
    assert pl.DataFrame({"x": [None]}, schema={"x": pl.Int64}).select(flip_flop_index("x")).item() is None


@pytest.mark.parametrize("seed", range(9))
def test_stability_equals_a_loop_over_days(seed):
    result = judged(seed)
    limits = result.limits.sample(fraction=0.9, seed=seed, shuffle=True)  # gaps, in no order
    latest = in_force(limits)
    table = limit_stability(limits)
    assert table.height == limits.select(KEY).unique().height
    assert table.select(KEY).rows() == sorted(table.select(KEY).rows())
    for row in table.iter_rows(named=True):
        mine = {date: known for (p, g, date), known in latest.items() if (p, g) == (row["project_id"], row["group_id"])}
        ratios, pairs, changes = [], 0, 0
        for date in sorted(mine):
            if date - DAY in mine:
                (now, rule, _), (then, old, _) = mine[date], mine[date - DAY]
                pairs += 1
                changes += rule != old
                if now and then:
                    ratios.append(max(now, then) / min(now, then))
        assert (row["days"], row["day_pairs"], row["ratios"]) == (len(mine), pairs, len(ratios))
        assert row["branches_changed"] == changes
        if ratios:
            assert row["largest_ratio"] == pytest.approx(max(ratios), rel=1e-12)
            logs = [math.log(ratio) for ratio in ratios]
            assert math.log(row["median_ratio"]) == pytest.approx(statistics.median(logs), abs=1e-12)
        else:
            assert row["largest_ratio"] is row["median_ratio"] is None
        line = [math.log(mine[date][0]) for date in sorted(mine) if mine[date][0]]
        if len(line) < 3:
            assert row["flip_flop_index"] is None
        else:
            moved = sum(abs(b - a) for a, b in pairwise(line))
            expected = (moved - (max(line) - min(line))) / (len(line) - 2)
            assert row["flip_flop_index"] == pytest.approx(expected, abs=1e-9)
    share = table.select(BRANCH_CHANGES.of_sums()).item()
    assert share == pytest.approx(table["branches_changed"].sum() / table["day_pairs"].sum())


def test_limits_that_do_not_move_are_stable():
    rows = [(1, 7, MONDAY + nth * HOUR, 3) for nth in range(600)]
    result = backtest(pl.DataFrame(rows, schema=COUNTS, orient="row"))
    row = limit_stability(result.limits).row(0, named=True)
    assert (row["largest_ratio"], row["median_ratio"], row["flip_flop_index"], row["branches_changed"]) == (1, 1, 0, 0)
    assert limit_stability(result.limits.clear()).is_empty()


def slow_inflation(result, spikes):
    count = {row[:3]: row[3] for row in result.counts.select(*KEY, "hour", "count").iter_rows()}
    spiked = set()
    for p, g, start, end in spikes.iter_rows():
        hour = start.replace(minute=0, second=0, microsecond=0)
        while hour < (end or start + timedelta(microseconds=1)):
            spiked.add((p, g, hour))
            hour += HOUR
    for (p, g, date), (limit, rule, as_of) in in_force(result.limits).items():
        hours = [as_of - back * HOUR for back in range(168, 0, -1)]
        inside = [(p, g, hour) in spiked for hour in hours]
        if rule in ("none", "fallback") or not any(inside):
            continue
        points = [count.get((p, g, hour), 0) for hour in hours]
        others = [point for point, out in zip(points, inside, strict=True) if not out]
        middle = math.floor(statistics.median(others)) if others else 0
        masked = [middle if out else point for point, out in zip(points, inside, strict=True)]
        if result.buckets == "sparse":
            new = 0 in masked
            masked = [point for point in masked if point]
            weekdays = [hour.weekday() for hour in hours] if not new else [0] * len(masked)
        else:
            new, weekdays = False, [hour.weekday() for hour in hours]
        value, branch = limit_of_one(masked, weekdays, date.weekday(), result.thresholds, PUBLISHED, new=new)
        yield (p, g, date), (as_of, limit, rule, sum(inside), value, RULES[branch])


@pytest.mark.parametrize("seed", range(9))
@pytest.mark.parametrize("kind", ["alerts", "windows"])
def test_inflation_equals_a_loop_that_makes_each_limit_again(seed, kind, monkeypatch):
    result = judged(seed)
    spikes = spikes_of(result)
    if kind == "windows":  # of any length, overlapping, some without an end, not on the hour, before and after the data
        rng = np.random.default_rng(seed)
        keys = [*result.limits.select(KEY).unique().sort(KEY).rows(), (9, 9)]
        rows = []
        for _ in range(12):
            start = MONDAY + timedelta(minutes=int(rng.integers(-3000, 33000)))
            end = None if rng.random() < 0.3 else start + timedelta(minutes=int(10 ** rng.uniform(0, 4.2)))
            rows.append((*keys[rng.integers(len(keys))], start, end))
        spikes = pl.DataFrame(rows, schema=EXPOSURE, orient="row")
        monkeypatch.setattr(module, "PANEL_CELLS", 168 * 6)
    table = inflation(result.limits, result.counts, spikes, thresholds=SENSITIVE, buckets=result.buckets)
    got = {row[:3]: row[3:9] for row in table.rows()}
    assert got == dict(slow_inflation(result, spikes))
    assert table.height == len(got)
    for row in table.iter_rows(named=True):
        ratio = row["limit"] / row["masked_limit"] if row["masked_limit"] else None
        assert row["inflation"] == ratio


def test_panels_of_one_group_give_the_same(monkeypatch):
    result = judged(1)
    spikes = spikes_of(result)
    assert spikes.select(KEY).unique().height > 1
    whole = inflation(result.limits, result.counts, spikes, thresholds=SENSITIVE, buckets="dense")
    few = module.panels
    monkeypatch.setattr(module, "panels", lambda *args, **kwargs: few(*args, **kwargs, cells=1))
    again = inflation(result.limits, result.counts, spikes, thresholds=SENSITIVE, buckets="dense")
    assert_frame_equal(again, whole)
    assert_frame_equal(again, again.sort(*KEY, "date"))


@pytest.fixture(scope="module")
def one_spike():
    """Nine an hour, ninety in one: the example that can be worked by hand."""
    hours = 24 * 21
    rows = [(1, 7, MONDAY + nth * HOUR, 90 if nth == 200 else 9) for nth in range(hours)]
    counts = pl.DataFrame(rows, schema=COUNTS, orient="row")
    result = backtest(counts)
    spikes = pl.DataFrame([(1, 7, MONDAY + 200 * HOUR, MONDAY + 201 * HOUR)], schema=EXPOSURE, orient="row")
    return result, spikes


def test_a_spike_lifts_the_limits_of_a_week(one_spike):
    result, spikes = one_spike
    table = inflation(result.limits, result.counts, spikes)
    # a week at nine an hour: 9 + 5 x 9; with ninety in it max x 5 e^(-0.65 cv)
    assert table["masked_limit"].to_list() == [54] * 7
    assert table["limit"].to_list() == [293] * 7
    assert table["date"].to_list() == [(MONDAY + nth * DAY).date() for nth in range(9, 16)]
    per_spike = inflated_days(table, spikes)
    assert per_spike.select("days", "inflated_days", "largest_inflation").row(0) == (7, 7, 293 / 54)
    summary = inflation_summary(table).row(0, named=True)
    assert summary == {
        "groups": 1, "days": 7, "inflated_days": 7, "only_spike_days": 0, "median_inflation": 293 / 54,
        "mean_log_inflation": pytest.approx(math.log(293 / 54)), "largest_inflation": 293 / 54,
    }  # fmt: skip
    assert inflation_summary(table, KEY).select(KEY).rows() == [(1, 7)]
    elsewhere = spikes.with_columns(pl.col("start", "end") - 20 * HOUR)  # an hour like any other
    assert inflation_summary(inflation(result.limits, result.counts, elsewhere))["inflated_days"].item() == 0


def test_the_future_of_a_spike_is_not_looked_at(one_spike):
    result, _ = one_spike
    first = result.limits.filter(pl.col("as_of") == MONDAY + 9 * DAY)
    long = pl.DataFrame([(1, 7, MONDAY + 200 * HOUR, MONDAY + 400 * HOUR)], schema=EXPOSURE, orient="row")
    cut = long.with_columns(end=MONDAY + 9 * DAY)
    assert_frame_equal(
        inflation(first, result.counts, long),
        inflation(first, result.counts.filter(pl.col("hour") < MONDAY + 9 * DAY), cut),
    )


def test_a_week_with_nothing_but_the_spike_has_no_limit_without_it():
    rows = [(1, 7, MONDAY, 1), (1, 7, MONDAY + 200 * HOUR, 4), (1, 7, MONDAY + 500 * HOUR, 1)]
    counts = pl.DataFrame(rows, schema=COUNTS, orient="row")
    result = backtest(counts)
    spikes = pl.DataFrame([(1, 7, MONDAY + 200 * HOUR, None)], schema=EXPOSURE, orient="row")
    table = inflation(result.limits, counts, spikes)
    assert set(table.select("limit", "masked_limit", "masked_rule", "inflation").rows()) == {(40, None, "none", None)}
    summary = inflation_summary(table).row(0, named=True)
    assert (summary["days"], summary["inflated_days"], summary["only_spike_days"]) == (7, 7, 7)
    assert summary["median_inflation"] is None
    assert inflated_days(table, spikes).select("days", "inflated_days", "largest_inflation").row(0) == (7, 7, None)


@pytest.mark.parametrize("seed", range(4))
def test_inflated_days_equal_a_loop_over_spikes(seed):
    result = judged(seed)
    spikes = spikes_of(result)
    table = inflation(result.limits, result.counts, spikes, thresholds=SENSITIVE, buckets=result.buckets)
    per_spike = inflated_days(table, spikes)
    assert_frame_equal(per_spike.select(spikes.columns), spikes)
    for row in per_spike.iter_rows(named=True):
        mine = [
            other for other in table.iter_rows(named=True)
            if (other["project_id"], other["group_id"]) == (row["project_id"], row["group_id"])
            and row["start"] < other["as_of"] and row["end"] > other["as_of"] - 168 * HOUR
        ]  # fmt: skip
        higher = [other for other in mine if other["masked_limit"] is None or other["limit"] > other["masked_limit"]]
        assert (row["days"], row["inflated_days"]) == (len(mine), len(higher))
        known = [other["inflation"] for other in mine if other["inflation"] is not None]
        assert row["largest_inflation"] == max(known, default=None)


def test_a_spike_leaves_the_window_with_its_last_hour(one_spike):
    result, _ = one_spike
    rows = [(1, 7, MONDAY + (end - 1) * HOUR, MONDAY + end * HOUR) for end in (216, 301)]
    spikes = pl.DataFrame(rows, schema=EXPOSURE, orient="row")
    per_spike = inflated_days(inflation(result.limits, result.counts, spikes), spikes)
    # the first ends at midnight of day 9: in the windows of days 9 to 15, and at the edge of that of day 16
    assert per_spike["days"].to_list() == [7, 7]


def test_no_spikes_and_no_limits(one_spike):
    result, spikes = one_spike
    columns = inflation(result.limits, result.counts, spikes)
    for limits, some in ((result.limits, spikes.clear()), (result.limits.clear(), spikes)):
        nothing = inflation(limits, result.counts, some)
        assert nothing.is_empty()
        assert nothing.schema == columns.schema
        assert inflation_summary(nothing).select("groups", "days", "median_inflation").row(0) == (0, 0, None)
    assert inflated_days(columns.clear(), spikes).select("days", "largest_inflation").row(0) == (0, None)


def test_settings_the_limits_were_not_made_with_are_refused(one_spike):
    result, spikes = one_spike
    with pytest.raises(SettingsError, match="7 of 7 do not come out"):
        inflation(result.limits, result.counts, spikes, thresholds=ThresholdVariables(5, 5, 8, 2, 3))
    with pytest.raises(SettingsError, match="buckets"):
        inflation(result.limits, result.counts, spikes, buckets="both")
    with pytest.raises(FrameError, match="no column end"):
        inflation(result.limits, result.counts, spikes.drop("end"))


def test_new_groups_stay_new_by_age_when_dense():
    rows = [(1, 7, MONDAY + nth * HOUR, 50 if nth == 180 else 2) for nth in range(150, 400)] + [(1, 8, MONDAY, 1)]
    counts = pl.DataFrame(rows, schema=COUNTS, orient="row")
    ages = pl.DataFrame({"group_id": [7], "first_seen": [MONDAY + 150 * HOUR]})
    result = backtest(counts, buckets="dense", first_seen=ages)
    spikes = pl.DataFrame([(1, 7, MONDAY + 180 * HOUR, None)], schema=EXPOSURE, orient="row")
    table = inflation(result.limits, counts, spikes, buckets="dense")
    new = table.filter(pl.col("rule") == "new")
    assert new.height > 3
    assert set(new.select("limit", "masked_limit", "masked_rule").rows()) == {(500, 20, "new")}
    assert table.filter(pl.col("rule") != "new")["masked_rule"].cast(pl.String).unique().to_list() != ["new"]


def test_limits_of_a_replay_go_through():
    rng = np.random.default_rng(3)
    counts = random_counts(rng, hours=600)
    keys = counts.select(KEY).unique().sort(KEY)
    changes = keys.with_columns(
        at=pl.lit(MONDAY + 171 * HOUR + timedelta(minutes=20)), kind=pl.lit("archived_until_escalating"),
        cause=pl.lit(None, dtype=pl.String), forecast=pl.lit(None, dtype=pl.Int64), source=pl.lit("activity"),
    ).select(empty("StatusChanges").columns)  # fmt: skip
    policy = Policy(name="p", lifecycle=True, rearchive="0h")
    result = backtest(counts, policy=policy, status_changes=changes, thresholds=STANDARD)
    assert (result.limits["as_of"].dt.minute() > 0).any()
    table = inflation(result.limits, counts, spikes_of(result))
    assert limit_stability(result.limits).height == result.limits.select(KEY).unique().height
    assert table.height > 0
