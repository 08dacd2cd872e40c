"""Law 2: the future cannot change the past."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from histories import COUNTS, HOUR, MONDAY, random_counts, random_escalations
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from issue_analytics.backtest import Policy, backtest
from issue_analytics.forecast import forecast
from issue_analytics.thresholds import ThresholdVariables

SENSITIVE = ThresholdVariables(1, 1, 2, 0.8, 1.2)


def future(rng, after):
    """Anything at all from ``after`` on: known groups, new groups, huge counts, recorded silences."""
    rows = {
        (1, int(rng.integers(8, 14)), after + int(rng.integers(0, 300)) * HOUR): int(rng.choice([0, 1, 50, 10**9]))
        for _ in range(60)
    }
    return pl.DataFrame([(*key, count) for key, count in rows.items()], schema=COUNTS, orient="row")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), buckets=st.sampled_from(["sparse", "dense"]), shift=st.integers(0, 200))
def test_no_limit_changes_when_data_are_appended(seed, buckets, shift):
    rng = np.random.default_rng(seed)
    as_of = MONDAY + (200 + shift) * HOUR
    past = random_counts(rng, hours=200 + shift)
    alone = forecast(past, as_of, buckets=buckets)
    with_future = forecast(pl.concat([past, future(rng, as_of)]), as_of, buckets=buckets)
    assert_frame_equal(alone, with_future)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), every=st.sampled_from(["6h", "1d", "1w"]))
def test_a_backtest_says_the_same_of_the_past_when_it_goes_on(seed, every):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, hours=460)
    counts = pl.concat([counts, pl.DataFrame([(1, 10, MONDAY + 460 * HOUR, 1)], schema=COUNTS, orient="row")]).unique(
        ["project_id", "group_id", "hour"], keep="first"
    )
    escalations = random_escalations(rng, counts)
    end = MONDAY + 461 * HOUR
    longer = pl.concat([counts, future(rng, end)])
    setting = {"thresholds": SENSITIVE, "policy": Policy(every=every), "buckets": "dense"}
    before, after = backtest(counts, escalations, **setting), backtest(longer, escalations, **setting)
    assert_frame_equal(
        before.limits, after.limits.join(before.limits, on=["project_id", "group_id", "date", "as_of"], how="semi")
    )
    assert (
        before.limits.height
        == after.limits.filter(pl.col("as_of") < end, pl.col("date") <= before.limits["date"].max()).height
    )
    assert_frame_equal(before.crossings, after.crossings.filter(pl.col("hour") < end))
    # an alert may go on into the future, but it began when it began
    began = ["project_id", "group_id", "hour", "count", "limit", "rule"]
    assert_frame_equal(before.alerts.select(began), after.alerts.filter(pl.col("hour") < end).select(began))


@pytest.mark.parametrize("every", ["6h", "1d", "1w"])
@pytest.mark.parametrize("buckets", ["sparse", "dense"])
def test_no_limit_of_a_backtest_sees_the_hour_it_was_made_in(buckets, every):
    """Whatever the hours from a refresh on come to, by one or by a million, limits made until then stay."""
    rng = np.random.default_rng(3)
    counts = random_counts(rng, hours=460, silences=True)
    setting = {"thresholds": SENSITIVE, "policy": Policy(every=every), "buckets": buckets}
    before = backtest(counts, **setting)
    for as_of in before.limits["as_of"].unique().sort().gather_every(5):
        for more in (1, 10**6):
            now = pl.when(pl.col("hour") >= as_of).then(more).otherwise(0)
            after = backtest(counts.with_columns(pl.col("count") + now), **setting)
            known = [result.limits.filter(pl.col("as_of") <= as_of) for result in (before, after)]
            assert_frame_equal(*known)
            assert known[0].height > 0


@pytest.mark.parametrize("buckets", ["sparse", "dense"])
def test_one_leaked_hour_would_be_seen(buckets):
    """The count of the hour at ``as_of`` itself is the future: moving it an hour earlier changes the limit."""
    rows = [(1, 7, MONDAY + hour * HOUR, 5) for hour in range(168)] + [(1, 7, MONDAY + timedelta(days=7), 10**6)]
    counts = pl.DataFrame(rows, schema=COUNTS, orient="row")
    as_of = MONDAY + timedelta(days=7)
    assert forecast(counts, as_of, buckets=buckets, days=1)["limit"].item() == 30
    assert forecast(counts, as_of + HOUR, buckets=buckets, days=1)["limit"].item() > 10**6
