"""A recommendation against backtests of its two parts of time, and what may and may not change it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

import issue_analytics as ia
from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY
from issue_analytics.scores import ALERTS_PER_SERIES_WEEK, FALSE_ALARMS_PER_SERIES_WEEK, RECALL, ratio_intervals
from issue_analytics.scores.splits import time_split
from issue_analytics.thresholds import STANDARD, ThresholdVariables
from issue_analytics.tuning.objective import Objective
from issue_analytics.tuning.recommending import recommend

GRID = ThresholdVariables.grid(min_spike_multiplier=[3, 5], min_bursty_multiplier=[1, 1.5, 2, 3])
COST = Objective(cost_ratio=8)
DENSE = {"buckets": "dense"}


@pytest.fixture(scope="module")
def sim():
    return ia.simulate(groups=700, days=49, seed=5)


@pytest.fixture(scope="module")
def found(sim):
    return recommend(sim.hourly_counts, sim.escalations, GRID, objective=COST, errors=0, resamples=200, **DENSE)


@pytest.fixture(scope="module")
def split(sim, found):
    whole = ia.backtest(sim.hourly_counts, sim.escalations, **DENSE)
    return time_split(whole.counts, whole.escalations, whole.exposure, at=found.cut)


def settings_of(found):
    return {"default": found.default, "best": found.best, "recommended": found.thresholds}


@pytest.mark.parametrize(("side", "column"), [("train", "apparent"), ("test", "held_out")])
def test_scores_are_those_of_a_backtest_of_their_part_of_time(found, split, side, column):
    part = getattr(split, side)
    for name, setting in settings_of(found).items():
        result = ia.backtest(part.counts, part.escalations, exposure=part.exposure, thresholds=setting, **DENSE)
        ratios = [RECALL, FALSE_ALARMS_PER_SERIES_WEEK, ALERTS_PER_SERIES_WEEK]
        for score, *ends, _, _ in ratio_intervals(result.groups, ratios).rows():
            row = found.table.row(by_predicate=(pl.col("setting") == name) & (pl.col("score") == score), named=True)
            assert [row[f"{column}{end}"] for end in ("", "_low", "_high")] == pytest.approx(ends)
            assert row["digest"] == setting.digest
        summary = result.summary().row(0, named=True)
        row = found.table.row(by_predicate=(pl.col("setting") == name) & (pl.col("score") == "precision"), named=True)
        assert row[column] == pytest.approx(summary["precision"])
        days = found.table.filter(setting=name, score="alerts_per_project_day")[column].item()
        assert days == pytest.approx(summary["alerts_per_project_day"])


def test_two_thirds_of_judged_time_choose(sim, found):
    exposure = ia.backtest(sim.hourly_counts, sim.escalations, **DENSE).exposure
    start, end = exposure["start"].min(), exposure["end"].max()
    assert abs((found.cut - start) / (end - start) - 2 / 3) < timedelta(days=1) / (end - start)
    assert found.cut.hour == 0


def test_the_later_part_of_time_changes_nothing_that_was_chosen_or_corrected(sim, found):
    rng = np.random.default_rng(1)
    later = pl.col("hour") >= found.cut
    counts = sim.hourly_counts.with_columns(
        count=pl.when(later).then(pl.Series(rng.integers(0, 500, sim.hourly_counts.height))).otherwise("count")
    )
    labels = sim.escalations.filter(pl.col("escalated_at") < found.cut)
    again = recommend(counts, labels, GRID, objective=COST, errors=0, resamples=200, held_out=found.cut, **DENSE)
    chose = (
        "setting",
        "digest",
        "score",
        *(f"{part}{end}" for part in ("apparent", "corrected") for end in ("", "_low", "_high")),
    )
    assert again.table.select(chose).equals(found.table.select(chose))
    assert again.stability.equals(found.stability)
    assert (again.thresholds, again.best, again.p) == (found.thresholds, found.best, found.p)
    assert again.held_out_events == 0
    assert again.table.filter(score="recall")["held_out"].null_count() == 3


def test_a_better_setting_is_found_defended_and_confirmed_later():
    """Bursts of 3 times the busiest hour: the default, at 3.8 times for counts as even as these, sees none of them."""
    rng = np.random.default_rng(2)
    start, days = datetime(2026, 1, 5, tzinfo=UTC), 42
    hours = [start + timedelta(hours=hour) for hour in range(24 * days)]
    counts = rng.poisson(6, (120, 24 * days))
    busiest = counts.max(axis=1)
    events = []
    for group in range(120):
        at = int(rng.integers(24 * 8, 24 * 40))
        counts[group, at] = 3 * busiest[group]
        events.append((1 + group % 7, group, hours[at], hours[at] + timedelta(hours=2), "human"))
    frame = pl.DataFrame({"group_id": np.repeat(np.arange(120), len(hours)), "count": counts.ravel()}).with_columns(
        pl.Series("hour", hours * 120, dtype=pl.Datetime("us", "UTC")), project_id=1 + pl.col("group_id") % 7
    )
    names = ["project_id", "group_id", "escalated_at", "ended_at", "provenance"]
    labels = pl.DataFrame(events, schema=names, orient="row").with_columns(
        pl.col("escalated_at", "ended_at").cast(pl.Datetime("us", "UTC"))
    )
    budget = Objective(alerts_per_series_week=0.5)
    grid = ThresholdVariables.grid(max_bursty_multiplier=[2, 2.5, 4, 5])
    found = recommend(frame, labels, grid, objective=budget, resamples=300, **DENSE)
    assert found.thresholds == ThresholdVariables(max_bursty_multiplier=2.5)
    assert found.better == "yes"
    assert found.p < 0.01
    row = found.differences.row(
        by_predicate=(pl.col("setting") == "recommended") & (pl.col("score") == "recall"), named=True
    )
    assert min(row["corrected_low"], row["held_out_low"]) > 0.5
    assert any(sentence.startswith("Better than the default? Yes: recall +") for sentence in found.why)
    assert any(sentence.startswith("Later, from") for sentence in found.why)
    assert found.on_all_data == found.thresholds
    assert found.stability.row(0, named=True)["digest"] == found.thresholds.digest
    by_project = recommend(
        frame, labels, grid, objective=budget, resamples=50, cluster="project", min_events=14, held_out=None, **DENSE
    )
    assert by_project.corrected.clusters == 7


def test_labels_at_random_make_no_setting_better(sim):
    rng = np.random.default_rng(6)
    keys = sim.hourly_counts.select(KEY).unique().sort(KEY)
    start = sim.hourly_counts["hour"].min()
    verdicts = []
    for _ in range(4):
        some = keys[np.sort(rng.permutation(keys.height)[:150])]
        begins = [start + timedelta(hours=int(hour)) for hour in rng.integers(24 * 8, 24 * 48, 150)]
        labels = some.with_columns(
            escalated_at=pl.Series(begins, dtype=pl.Datetime("us", "UTC")), provenance=pl.lit("human")
        ).with_columns(ended_at=pl.col("escalated_at") + timedelta(hours=3))
        labels = labels.select("project_id", "group_id", "escalated_at", "ended_at", "provenance")
        budget = Objective(alerts_per_series_week=0.05)
        verdicts.append(recommend(sim.hourly_counts, labels, GRID, objective=budget, resamples=100, **DENSE).better)
    assert "yes" not in verdicts


def test_alternatives_are_other_settings_each_once(found):
    digests = found.alternatives["digest"].to_list()
    assert len(set(digests)) == len(digests)
    assert found.thresholds.digest not in digests
    mine = found.table.filter(setting="recommended", score="recall")["apparent"].item() * found.corrected.events
    more = found.alternatives.filter(pl.col("why").str.starts_with("catches more"))
    assert (more["events_caught"] > mine).all()


def test_without_held_out_data_everything_chooses(sim):
    found = recommend(sim.hourly_counts, sim.escalations, GRID, objective=COST, held_out=None, resamples=50, **DENSE)
    assert found.cut is None
    assert found.held_out_events is None
    assert found.table["held_out"].null_count() == found.table.height
    assert found.on_all_data == found.thresholds
    whole = ia.backtest(sim.hourly_counts, sim.escalations, **DENSE).summary()
    row = found.table.filter(setting="default", score="recall")
    assert row["apparent"].item() == pytest.approx(whole["recall"].item())
    assert "all judged time" in found.why[1]


def test_options_reach_both_parts(sim):
    keys = sim.hourly_counts.select(KEY).unique().sort(KEY)
    few = recommend(
        sim.hourly_counts, sim.escalations, GRID, objective=COST, resamples=20, min_events=5, silence="recorded",
        leave_out=keys[:300], **DENSE,
    )  # fmt: skip
    assert few.corrected.clusters <= keys.height - 300
    result = ia.backtest(sim.hourly_counts, sim.escalations, silence="recorded", leave_out=keys[:300], **DENSE)
    later = time_split(result.counts, result.escalations, result.exposure, at=few.cut).test
    judged = ia.backtest(later.counts, later.escalations, exposure=later.exposure, **DENSE).groups["events"].sum()
    assert few.held_out_events == judged
    weeks = result.exposure.with_columns(end=pl.min_horizontal("end", pl.col("start") + timedelta(days=21)))
    short = recommend(
        sim.hourly_counts, sim.escalations, GRID, objective=COST, resamples=5, min_events=5, held_out=None,
        exposure=weeks, **DENSE,
    )  # fmt: skip
    judged = ia.backtest(sim.hourly_counts, sim.escalations, exposure=weeks, **DENSE)
    assert short.corrected.events == judged.groups["events"].sum()
    split = recommend(
        sim.hourly_counts, sim.escalations, GRID, objective=COST, resamples=5, min_events=5, exposure=weeks, **DENSE
    )
    assert split.cut < weeks["end"].max()
    assert split.corrected.events + split.held_out_events <= short.corrected.events


def test_the_default_is_tried_if_the_grid_lacks_it(sim):
    grid = ThresholdVariables.grid(min_bursty_multiplier=[1, 3])
    found = recommend(sim.hourly_counts, sim.escalations, grid, objective=COST, resamples=20, **DENSE)
    assert found.corrected.choice.tried == 3
    mine = ThresholdVariables(4, 4, 7, 2, 4)
    found = recommend(sim.hourly_counts, sim.escalations, grid, objective=COST, default=mine, resamples=20, **DENSE)
    assert found.default == mine
    assert found.corrected.choice.reference == mine
    assert found.default != STANDARD


def test_what_is_refused_says_why(sim):
    few = sim.escalations.head(12)
    with pytest.raises(SettingsError, match=r"before 2026.*: \d+ judged escalations are too few .*held_out"):
        recommend(sim.hourly_counts, few, GRID, objective=COST, **DENSE)
    with pytest.raises(SettingsError, match="held_out"):
        recommend(sim.hourly_counts, sim.escalations, GRID, objective=COST, held_out=1.5)
    with pytest.raises(SettingsError, match="expected an Objective"):
        recommend(sim.hourly_counts, sim.escalations, GRID, objective="recall")
    with pytest.raises(SettingsError, match="cluster"):
        recommend(sim.hourly_counts, sim.escalations, GRID, objective=COST, cluster="team")
    for errors in (-1, float("nan"), "1"):
        with pytest.raises(SettingsError, match="errors: expected a number"):
            recommend(sim.hourly_counts, sim.escalations, GRID, objective=COST, errors=errors)
    with pytest.raises(SettingsError, match="seed: expected 0 or more"):
        recommend(sim.hourly_counts, sim.escalations, GRID, objective=COST, seed=-1, resamples=20, **DENSE)


def test_a_short_run_shows_no_bar(sim, capsys):
    recommend(sim.hourly_counts, sim.escalations, GRID.head(2), objective=COST, resamples=20, **DENSE)
    assert capsys.readouterr().err == ""


def test_what_is_bounded_may_hold_the_luck_and_no_sentence_says_there_is_none(sim):
    """The false alarms of the best at a least recall look no better than they are; that it keeps the bound may."""
    bounded = Objective(min_recall=0.7)
    found = recommend(sim.hourly_counts, sim.escalations, GRID, objective=bounded, resamples=60, **DENSE)
    row = found.table.filter(setting="best", score=bounded.score_name).row(0, named=True)
    assert row["corrected"] < row["apparent"]
    [best] = [sentence for sentence in found.why if sentence.startswith("Best of the search")]
    assert best.endswith(f"{row['corrected']:.3g} on groups that had no part in choosing.")
    low = recommend(
        sim.hourly_counts, sim.escalations, GRID, objective=Objective(min_recall=0.6), resamples=60, **DENSE
    )
    assert any(sentence.endswith(" better than it is.") for sentence in low.why)


def test_a_bound_that_nothing_keeps_and_a_default_that_breaks_it_are_said(sim):
    tight = Objective(alerts_per_series_week=1e-4)
    found = recommend(sim.hourly_counts, sim.escalations, GRID, objective=tight, resamples=20, **DENSE)
    assert any(sentence.startswith("No setting keeps the bound") for sentence in found.why)
    assert not found.corrected.choice.kept
    assert found.better == "other bound"
    assert any("The default does not keep the bound" in sentence for sentence in found.why)
    circular = sim.escalations.with_columns(provenance=pl.lit("algorithm"))
    found = recommend(sim.hourly_counts, circular, GRID, objective=COST, resamples=20, **DENSE)
    assert "circular" in found.why[-1]
    assert repr(found).count("\n") == len(found.why)
