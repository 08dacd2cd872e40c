"""Segments judged on data that had no part in choosing them, against a backtest per segment."""

import polars as pl
import pytest

from issue_analytics.backtest import backtest
from issue_analytics.errors import SettingsError
from issue_analytics.scores import time_split
from issue_analytics.simulate import simulate
from issue_analytics.thresholds import STANDARD, ThresholdVariables
from issue_analytics.tuning import Objective, prepare, recommend, segment_thresholds, segments_held_out

KEY = ["project_id", "group_id"]


@pytest.fixture(scope="module")
def parts():
    sim = simulate(groups=500, days=56, seed=5)
    whole = prepare(sim.hourly_counts, sim.escalations, buckets="dense")
    middle = whole.exposure["start"].min() + (whole.exposure["end"].max() - whole.exposure["start"].min()) / 2
    cut = time_split(whole.counts, whole.escalations, whole.exposure, at=middle.replace(hour=0, minute=0, second=0))
    return [
        prepare(part.counts, part.escalations, exposure=part.exposure, buckets="dense")
        for part in (cut.train, cut.test)
    ]


@pytest.fixture(scope="module")
def chosen(parts):
    grid = ThresholdVariables.grid(min_bursty_multiplier=[1, 1.5, 2, 3, 4])
    early = parts[0]
    return segment_thresholds(
        early.tallies(grid),
        grid,
        Objective(cost_ratio=40),
        early.groups,
        "volume",
        errors=0,
        min_events=5,
        resamples=100,
    )


def test_segments_are_judged_as_backtests_of_each_judge_them(parts, chosen):
    late = parts[1]
    own = chosen.thresholds()
    assert len(set(own.values()) | {chosen.common}) > 1, "segments that are all alike test nothing"
    found = {row["score"]: row for row in segments_held_out(chosen, late, resamples=200).to_dicts()}
    sums = {"common": dict.fromkeys(("alerts", "false_alarms", "events_caught"), 0), "segments": {}}
    sums["segments"] = dict(sums["common"])
    for value in late.groups["volume"].unique():
        mine = late.groups.filter(volume=value).select(KEY)
        for name, thresholds in (("common", chosen.common), ("segments", own.get(value, chosen.common))):
            result = backtest(
                late.counts, late.escalations, exposure=late.exposure, thresholds=thresholds, buckets="dense"
            )
            groups = result.groups.join(mine, on=KEY)
            for count in sums[name]:
                sums[name][count] += groups[count].sum()
    whole = late.groups.select(pl.col("events", "exposed_hours", "quiet_hours").sum()).row(0, named=True)
    for name, counted in sums.items():
        assert found["recall"][name] == pytest.approx(counted["events_caught"] / whole["events"])
        rate = 168 * counted["false_alarms"] / whole["quiet_hours"]
        assert found["false_alarms_per_series_week"][name] == pytest.approx(rate)
        assert found["alerts_per_series_week"][name] == pytest.approx(168 * counted["alerts"] / whole["exposed_hours"])
        cost = counted["false_alarms"] + 40 * (whole["events"] - counted["events_caught"])
        assert found["cost_per_series_week"][name] == pytest.approx(168 * cost / whole["exposed_hours"])
        assert found["recall"][f"{name}_low"] < found["recall"][name] < found["recall"][f"{name}_high"]
    assert sums["common"] != sums["segments"]
    gap = found["alerts_per_series_week"]
    assert gap["difference"] == pytest.approx(gap["segments"] - gap["common"])
    assert gap["difference_low"] <= gap["difference"] <= gap["difference_high"]


def test_the_same_seed_gives_the_same_answer(parts, chosen):
    once, again, other = (segments_held_out(chosen, parts[1], resamples=200, seed=seed) for seed in (1, 1, 2))
    assert once.equals(again)
    assert not once.equals(other)


def test_segments_that_take_the_common_setting_do_not_differ_from_it(parts):
    early, late = parts
    grid = [STANDARD]
    alone = segment_thresholds(
        early.tallies(grid), grid, Objective(cost_ratio=3), early.groups, "volume", min_events=5, resamples=100
    )
    found = segments_held_out(alone, late, resamples=100)
    assert found["difference"].to_list() == [0.0] * 5
    assert found["difference_low"].null_count() == 5, "draws that are all alike give no interval"


def test_data_without_the_segments_are_refused(parts, chosen):
    from dataclasses import replace

    with pytest.raises(SettingsError, match="no column size"):
        segments_held_out(replace(chosen, by="size", segments=chosen.segments.rename({"volume": "size"})), parts[1])


def test_a_recommendation_by_segment_is_made_of_the_same(parts):
    sim = simulate(groups=500, days=56, seed=5)
    grid = ThresholdVariables.grid(min_bursty_multiplier=[1, 1.5, 2, 3, 4])
    options = {"objective": Objective(cost_ratio=40), "buckets": "dense", "min_events": 5, "resamples": 100}
    found = recommend(sim.hourly_counts, sim.escalations, grid, by="volume", held_out=0.5, errors=0, **options)
    cut = {"at": found.cut}
    whole = prepare(sim.hourly_counts, sim.escalations, buckets="dense")
    split = time_split(whole.counts, whole.escalations, whole.exposure, **cut)
    early, late = (
        prepare(part.counts, part.escalations, exposure=part.exposure, buckets="dense")
        for part in (split.train, split.test)
    )
    expected = segment_thresholds(
        early.tallies(grid), grid, options["objective"], early.groups, "volume", errors=0, min_events=5, resamples=100
    )
    assert found.segments.segments.equals(expected.segments)
    assert found.segments.why == expected.why
    assert found.segments_held_out.equals(segments_held_out(expected, late, resamples=100))
    alone = recommend(sim.hourly_counts, sim.escalations, grid, held_out=None, errors=0, by="volume", **options)
    assert alone.segments is not None
    assert alone.segments_held_out is None
    assert recommend(sim.hourly_counts, sim.escalations, grid, **options).segments is None
    with pytest.raises(SettingsError, match="by: 'size' is none of"):
        recommend(sim.hourly_counts, sim.escalations, grid, by="size", **options)
