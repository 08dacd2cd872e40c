"""Tallies by block of time against the groups they add up to, and against a loop over hours."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from histories import HOUR, random_counts, random_escalations, random_exposure
from polars.testing import assert_frame_equal

from issue_analytics.backtest import Matching, backtest
from issue_analytics.backtest.blocks import block_tallies
from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY
from issue_analytics.thresholds import ThresholdVariables

SENSITIVE = ThresholdVariables(0, 0.7, 0.7, 0, 0)
TALLIED = (
    "exposed_hours",
    "quiet_hours",
    "alerts",
    "duplicates",
    "unjudged",
    "false_alarms",
    "events",
    "events_caught",
)


@pytest.mark.parametrize("every", ["1w", "1d", "36h"])
@pytest.mark.parametrize("seed", range(6))
def test_blocks_add_up_to_groups(seed, every):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng)
    escalations = random_escalations(rng, counts, number=12)
    exposure = random_exposure(rng, counts) if seed % 2 else None
    result = backtest(counts, escalations, exposure=exposure, thresholds=SENSITIVE)
    blocks = block_tallies(result, every)
    summed = blocks.group_by(KEY).agg(pl.col(TALLIED).sum()).sort(KEY)
    assert_frame_equal(summed, result.groups.select(*KEY, *TALLIED))
    assert blocks.n_unique([*KEY, "block"]) == blocks.height


@pytest.mark.parametrize("seed", range(4))
def test_quiet_hours_of_a_block_equal_a_loop(seed):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng)
    matching = Matching(lead_hours=2, grace_hours=3, open_hours=30)
    escalations = random_escalations(rng, counts, number=12)
    result = backtest(counts, escalations, exposure=random_exposure(rng, counts), matching=matching)
    expected = {}
    for p, g, start, end in result.exposure.iter_rows():
        zones = [
            (at - timedelta(hours=2), (until or at + timedelta(hours=30)) + timedelta(hours=3))
            for q, h, at, until, _ in escalations.iter_rows()
            if (q, h) == (p, g)
        ]
        hour = start
        while hour < end:
            block = (p, g, hour.replace(hour=0))
            expected.setdefault(block, 0)
            expected[block] += not any(hour < closes and hour + HOUR > opens for opens, closes in zones)
            hour += HOUR
    got = block_tallies(result, "1d").select(*KEY, "block", "quiet_hours")
    assert {row[:3]: row[3] for row in got.iter_rows()} == expected


def test_without_labels_alerts_have_no_verdicts_but_are_counted():
    counts = random_counts(np.random.default_rng(3), groups=8)
    result = backtest(counts, thresholds=SENSITIVE)
    blocks = block_tallies(result)
    assert blocks.select("duplicates", "unjudged", "false_alarms").null_count().row(0) == (blocks.height,) * 3
    told = ["exposed_hours", "quiet_hours", "alerts", "events", "events_caught"]
    summed = blocks.group_by(KEY).agg(pl.col(told).sum()).sort(KEY)
    assert_frame_equal(summed, result.groups.select(*KEY, *told))
    assert summed["alerts"].sum() > 5


def test_what_cannot_be_tallied_is_refused():
    counts = random_counts(np.random.default_rng(1))
    result = backtest(counts, random_escalations(np.random.default_rng(1), counts))
    with pytest.raises(SettingsError, match="no duration"):
        block_tallies(result, "a week")
    with pytest.raises(SettingsError, match="no length"):
        block_tallies(result, "0h")
