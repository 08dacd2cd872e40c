"""Group-days against a loop over every hour."""

import numpy as np
import polars as pl
import pytest
from histories import HOUR, random_counts, random_exposure

from issue_analytics.backtest import Policy, backtest
from issue_analytics.errors import FrameError
from issue_analytics.frames import KEY
from issue_analytics.scores import burden, group_days, judged_counts, reset_times, transitions
from issue_analytics.thresholds import ThresholdVariables

SENSITIVE = ThresholdVariables(0, 0.7, 0.7, 0, 0)


def slow_days(result):
    count = {row[:3]: row[3] for row in result.counts.select(*KEY, "hour", "count").iter_rows()}
    over = set(result.crossings.select(*KEY, "hour").iter_rows())
    made = {}
    for p, g, date, limit, rule, as_of in result.limits.select(*KEY, "date", "limit", "rule", "as_of").iter_rows():
        made.setdefault((p, g, date), []).append((as_of, limit, rule))
    rows = {}
    for p, g, start, end in result.exposure.iter_rows():
        hour = start
        while hour < end:
            past = [known for known in made.get((p, g, hour.date()), []) if known[0] <= hour]
            as_of, limit, rule = max(past, key=lambda known: known[0]) if past else (None, None, "none")
            row = rows.setdefault((p, g, hour.date(), as_of), [limit, rule, 0, 0, 0, 0, 0])
            seen = count.get((p, g, hour), 0)
            row[2] += 1
            row[3] += seen > 0
            row[4] += seen
            row[5] = max(row[5], seen)
            row[6] += (p, g, hour) in over
            hour += HOUR
    return {(*key, *row) for key, row in rows.items()}


@pytest.mark.parametrize("seed", range(12))
def test_group_days_equal_a_loop_over_hours(seed):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng)
    policy = Policy(every=("1d", "6h", "7d")[seed % 3], offset="5h" if seed % 2 else "0h")
    exposure = random_exposure(rng, counts) if seed % 4 else None
    result = backtest(
        counts, exposure=exposure, policy=policy, thresholds=SENSITIVE, buckets=("sparse", "dense")[seed % 2]
    )
    days = group_days(result.exposure, result.limits, result.counts, result.crossings)
    assert set(days.rows()) == slow_days(result)
    assert days.height == days.n_unique([*KEY, "date", "as_of"])
    assert days["hours"].sum() == result.groups["exposed_hours"].sum()
    assert days["crossings"].sum() == result.crossings.height
    by_rule = result.groups.select(pl.col("^days_.*$").sum())
    assert by_rule.sum_horizontal().item() == days.n_unique([*KEY, "date"])


def test_nothing_exposed_has_no_days():
    counts = random_counts(np.random.default_rng(1))
    exposure = pl.DataFrame(
        schema={**dict.fromkeys(KEY, pl.Int64), **dict.fromkeys(("start", "end"), counts.schema["hour"])}
    )
    result = backtest(counts, exposure=exposure)
    assert group_days(result.exposure, result.limits, result.counts, result.crossings).is_empty()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda spans: spans.with_columns(end=None), "end holds nulls"),
        (lambda spans: pl.concat([spans, spans]), "overlap"),
        (lambda spans: pl.concat([spans.with_columns(pl.col("start") + HOUR), spans]), "overlap"),
        (lambda spans: spans.with_columns(pl.col("start") + HOUR / 2), "whole hours"),
        (lambda spans: spans.with_columns(end="start"), "start is before end"),
        (lambda spans: spans.lazy(), "eager"),
        (lambda spans: spans.rename({"end": "until"}), "no column end"),
    ],
    ids=["open", "twice", "overlapping", "in part", "empty", "lazy", "nameless"],
)
def test_hours_in_part_twice_or_without_end_are_refused(spoil, why):
    """They would be counted twice, or not at all, and nobody would know."""
    counts = random_counts(np.random.default_rng(3))
    result = backtest(counts, thresholds=SENSITIVE, buckets="dense")
    spans = spoil(result.exposure.filter(pl.col("end") - pl.col("start") > HOUR))
    for call in (
        lambda: group_days(spans, result.limits, counts, result.crossings),
        lambda: judged_counts(spans, result.limits, counts),
        lambda: transitions(spans, result.limits, result.crossings),
        lambda: burden(result.alerts, spans),
        lambda: reset_times(result.matches, result.crossings, spans),
    ):
        with pytest.raises(FrameError, match=why):
            call()
