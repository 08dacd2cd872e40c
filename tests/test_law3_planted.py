"""Law 3: what was planted is found. On data with known truth, scores equal what is known beforehand."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from histories import COUNTS, ESCALATIONS, HOUR, MONDAY

from issue_analytics.backtest import backtest
from issue_analytics.detection import limit_in_force
from issue_analytics.frames import KEY
from issue_analytics.simulate import simulate

LEVEL, LIMIT = 4, 24  # a steady count c has the limit 6c


def planted(rng, groups=60):
    """Steady groups, each with a burst at a known hour: some labelled, some not; some over the limit, some on it."""
    rows, labels, truth = [], [], []
    for group in range(groups):
        begins = int(rng.integers(170, 300))
        late = int(rng.integers(0, 4))  # hours from the start of the escalation to its burst
        over, labelled = bool(rng.random() < 0.6), bool(rng.random() < 0.7)
        peak = int(rng.integers(LIMIT + 1, 500)) if over else LIMIT
        rows += [(1, group, MONDAY + h * HOUR, peak if h == begins + late else LEVEL) for h in range(336)]
        if labelled:
            at = MONDAY + begins * HOUR
            labels.append((1, group, at, at + 5 * HOUR, "injected"))
        truth.append((over, labelled, late + 1.0))
    counts = pl.DataFrame(rows, schema=COUNTS, orient="row")
    return counts, pl.DataFrame(labels, schema=ESCALATIONS, orient="row"), truth


@pytest.mark.parametrize("buckets", ["sparse", "dense"])
@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_what_was_planted(seed, buckets):
    counts, escalations, truth = planted(np.random.default_rng(seed))
    result = backtest(counts, escalations, buckets=buckets)
    score = result.summary().row(0, named=True)
    caught = [delay for over, labelled, delay in truth if over and labelled]
    false = sum(over and not labelled for over, labelled, _ in truth)
    events = sum(labelled for _, labelled, _ in truth)
    assert (score["events"], score["events_caught"], score["false_alarms"]) == (events, len(caught), false)
    assert score["alerts"] == len(caught) + false
    assert score["recall"] == pytest.approx(len(caught) / events)
    assert score["precision"] == pytest.approx(len(caught) / (len(caught) + false))
    # each escalation of 5 hours overlaps 7 hours with its lead and grace
    quiet = len(truth) * 168 - 7 * events
    assert score["false_alarms_per_series_week"] == pytest.approx(false * 168 / quiet)
    assert sorted(result.matches["delay_hours"].drop_nulls()) == sorted(caught)


@pytest.mark.parametrize("hours", [-1, 1])
def test_labels_an_hour_off_are_seen(hours):
    """One hour, and every delay is another: later by an hour, or sooner, which for none at all is no time."""
    counts, escalations, truth = planted(np.random.default_rng(1))
    shifted = escalations.with_columns(pl.col("escalated_at", "ended_at") + timedelta(hours=hours))
    caught = [delay for over, is_labelled, delay in truth if over and is_labelled]
    assert sorted(backtest(counts, escalations).matches["delay_hours"].drop_nulls()) == sorted(caught)
    assert sorted(backtest(counts, shifted).matches["delay_hours"].drop_nulls()) == sorted(
        delay - hours for delay in caught
    )
    # past the grace nothing is caught but by chance
    late = escalations.with_columns(pl.col("escalated_at", "ended_at") + timedelta(hours=7))
    assert backtest(counts, late).matches["caught_hour"].count() == 0


def test_labels_of_two_groups_swapped_are_seen():
    """Two groups caught at different times, their labels swapped: two more misses, two more false alarms."""
    counts, escalations, _ = planted(np.random.default_rng(1))
    right = backtest(counts, escalations)
    caught = right.matches.filter(pl.col("caught_hour").is_not_null()).sort("escalated_at")["group_id"]
    one, other = caught[0], caught[-1]
    swapped = escalations.with_columns(pl.col("group_id").replace({one: other, other: one}))
    before, after = (result.summary().row(0, named=True) for result in (right, backtest(counts, swapped)))
    assert after["events_caught"] == before["events_caught"] - 2
    assert after["false_alarms"] == before["false_alarms"] + 2
    assert (after["events"], after["alerts"]) == (before["events"], before["alerts"])


@pytest.mark.parametrize("buckets", ["sparse", "dense"])
def test_of_the_simulator_s_escalations_those_that_exceed_their_limit_are_caught(buckets):
    sim = simulate(groups=300, days=28, seed=5)
    result = backtest(sim.hourly_counts, sim.escalations, buckets=buckets)
    over = limit_in_force(sim.hourly_counts.lazy(), result.limits.lazy()).filter(pl.col("count") > pl.col("limit"))
    fired = {(p, g, hour) for p, g, hour in over.select(*KEY, "hour").collect().iter_rows()}
    judged = sim.escalations.filter(pl.col("escalated_at") >= MONDAY + timedelta(days=7)).rows()
    expected = set()
    for project, group, at, ended, _ in judged:
        first = (at - HOUR).replace(minute=0, second=0, microsecond=0)
        hours = [first + n * HOUR for n in range((ended - first) // HOUR + 3)]
        if any((project, group, h) in fired for h in hours if h < ended + HOUR and h + HOUR > at - HOUR):
            expected.add((project, group, at))
    caught = result.matches.filter(pl.col("caught_hour").is_not_null())
    assert result.matches.height == len(judged) > 20
    assert set(caught.select(*KEY, "escalated_at").rows()) == expected
    assert 0 < len(expected) < len(judged)
