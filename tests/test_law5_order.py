"""Law 5: splitting, shuffling or sharding never changes an answer."""

import numpy as np
import polars as pl
import pytest
from histories import HOUR, MONDAY, random_counts, random_escalations
from polars.testing import assert_frame_equal

from issue_analytics import counts as counts_module
from issue_analytics.backtest import backtest
from issue_analytics.counts import panels
from issue_analytics.detection import detect
from issue_analytics.forecast import forecast
from issue_analytics.thresholds import ThresholdVariables

SENSITIVE = ThresholdVariables(1, 1, 2, 0.8, 1.2)
AS_OF = MONDAY + 300 * HOUR


@pytest.fixture
def counts():
    return random_counts(np.random.default_rng(11), groups=9, hours=500)


@pytest.mark.parametrize("buckets", ["sparse", "dense"])
def test_rows_in_any_order_give_the_same_limits_and_alerts(counts, buckets):
    limits = forecast(counts, AS_OF, buckets=buckets, thresholds=SENSITIVE)
    shuffled = counts.sample(fraction=1.0, shuffle=True, seed=3)
    assert_frame_equal(limits, forecast(shuffled, AS_OF, buckets=buckets, thresholds=SENSITIVE))
    alerts = detect(counts, limits)
    assert not alerts.is_empty()
    assert_frame_equal(alerts, detect(shuffled, limits.sample(fraction=1.0, shuffle=True, seed=4)))


def test_groups_one_by_one_give_what_all_give_together(counts):
    escalations = random_escalations(np.random.default_rng(2), counts)
    together = backtest(counts, escalations, thresholds=SENSITIVE, buckets="dense")
    # the span of the data is common knowledge, so each shard is told it by one silent row at either end
    first, last = counts["hour"].min(), counts["hour"].max()
    parts = []
    for (project, group), _ in counts.group_by("project_id", "group_id"):
        mine = (pl.col("project_id") == project) & (pl.col("group_id") == group)
        ends = pl.DataFrame({"project_id": 99, "group_id": 99, "hour": [first, last], "count": 0}, schema=counts.schema)
        shard = pl.concat([counts.filter(mine), ends])
        parts.append(backtest(shard, escalations.filter(mine), thresholds=SENSITIVE, buckets="dense"))
    for name in ("limits", "crossings", "alerts", "matches", "groups"):
        united = pl.concat([getattr(part, name).filter(pl.col("project_id") != 99) for part in parts])
        keys = ["project_id", "group_id"]
        assert_frame_equal(getattr(together, name), united.sort(keys, maintain_order=True))


def test_the_size_of_a_panel_changes_nothing(counts, monkeypatch):
    whole = backtest(counts, thresholds=SENSITIVE)
    monkeypatch.setattr(counts_module.panels, "__kwdefaults__", {"groups": None, "cells": 1000})
    assert len(list(panels(counts, MONDAY, AS_OF))) > 1
    assert_frame_equal(backtest(counts, thresholds=SENSITIVE).limits, whole.limits)


def test_lazy_and_eager_agree(counts):
    limits = forecast(counts, AS_OF)
    lazy = forecast(counts.lazy(), AS_OF)
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.collect_schema() == limits.schema
    assert_frame_equal(lazy.collect(), limits)
    assert_frame_equal(detect(counts.lazy(), lazy).collect(), detect(counts, limits))
