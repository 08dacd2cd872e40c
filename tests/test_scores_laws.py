"""Law 5 for scores: neither the order of rows, nor who else is there, nor the size of a block changes a number."""

import inspect
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from histories import HOUR, MONDAY, random_counts, random_escalations
from polars.testing import assert_frame_equal

from issue_analytics import scores
from issue_analytics.backtest import Policy, backtest, block_tallies, compare
from issue_analytics.frames import KEY
from issue_analytics.scores import HEADLINE, burden, resampling, significance, survival
from issue_analytics.thresholds import ThresholdVariables

SENSITIVE, DULLER = ThresholdVariables(0, 0.7, 0.7, 0, 0), ThresholdVariables(0.5, 0.9, 0.9, 0, 0)
RATIOS = [one for ratio in HEADLINE for one in (ratio, ratio.macro())]
SPLIT = {"embargo": timedelta(hours=24)}


def parts_of(*splits):
    """Every frame of some splits, one below the other."""
    frames = []
    for number, split in enumerate(splits):
        for side in ("train", "test"):
            part = getattr(split, side)
            frames += [(number, side, name, getattr(part, name)) for name in ("counts", "escalations", "exposure")]
        frames.append((number, "dropped", "escalations", split.dropped))
    named = [frame.with_columns(where=pl.lit(str(where))) for *where, frame in frames if frame is not None]
    return pl.concat(named, how="diagonal")


# what each function that takes frames is called with; the frames are made below, and every one of them is shuffled
CALLS = {
    "affiliation": lambda f: scores.affiliation(f["windows"], f["alarms"], f["spans"]),
    "bootstrap": lambda f: scores.bootstrap(f["groups"], RATIOS, other=f["other"], resamples=50),
    "burden": lambda f: scores.burden(f["alerts"], f["exposure"]),
    "caught_within": lambda f: scores.caught_within(f["matches"]),
    "clustering": lambda f: scores.clustering(f["pairs"], "project_id"),
    "delay_curve": lambda f: scores.delay_curve(f["matches"]),
    "delay_intervals": lambda f: scores.delay_intervals(f["matches"], resamples=50),
    "delay_times": lambda f: scores.delay_times(f["matches"]),
    "exceedance": lambda f: scores.exceedance(f["days"], "rule"),
    "group_days": lambda f: scores.group_days(f["exposure"], f["limits"], f["counts"], f["crossings"]),
    "homogeneity": lambda f: scores.homogeneity(f["days"], "rule"),
    "inflated_days": lambda f: scores.inflated_days(f["inflated"], f["spikes"]),
    "inflation": lambda f: scores.inflation(
        f["limits"], f["counts"], f["spikes"], thresholds=SENSITIVE, buckets="dense"
    ),
    "inflation_summary": lambda f: scores.inflation_summary(f["inflated"], "project_id"),
    "judged_counts": lambda f: scores.judged_counts(f["exposure"], f["limits"], f["counts"]),
    "limit_stability": lambda f: scores.limit_stability(f["limits"]),
    "mark_small": lambda f: scores.mark_small(f["groups"]),
    "median_delay": lambda f: scores.median_delay(f["matches"]),
    "median_delay_hours": lambda f: pl.DataFrame({"hours": [scores.median_delay_hours(f["matches"])]}),
    "median_time": lambda f: scores.median_time(f["times"]),
    "murphy": lambda f: scores.murphy(f["judged"], 0.9),
    "nab": lambda f: scores.nab(f["windows"], f["alarms"], f["spans"]),
    "number_clusters": lambda f: f["groups"].with_columns(pl.Series(scores.number_clusters(f["groups"], KEY))),
    "pit_histogram": lambda f: scores.pit_histogram(f["ranked"], by="rule"),
    "point_adjusted": lambda f: scores.point_adjusted(f["windows"], f["alarms"], f["spans"]),
    "point_wise": lambda f: scores.point_wise(f["windows"], f["alarms"], f["spans"]),
    "pool_small": lambda f: scores.pool_small(f["groups"], "volume"),
    "project_split": lambda f: parts_of(scores.project_split(f["counts"], f["escalations"], f["exposure"])),
    "quantile_reliability": lambda f: scores.quantile_reliability(f["ranked"], by="rule"),
    "range_based": lambda f: scores.range_based(f["windows"], f["alarms"], f["spans"], bias="front"),
    "ratio_intervals": lambda f: scores.ratio_intervals(f["groups"], RATIOS, by="project_id"),
    "reset_times": lambda f: scores.reset_times(f["matches"], f["crossings"], f["exposure"]),
    "restricted_mean": lambda f: scores.restricted_mean(f["times"]),
    "rolling_origin": lambda f: parts_of(
        *scores.rolling_origin(
            f["counts"], f["escalations"], f["exposure"], first=MONDAY + 300 * HOUR, step=200 * HOUR, **SPLIT
        )
    ),
    "scaled_limits": lambda f: scores.scaled_limits(f["judged"], by="rule"),
    "share_within": lambda f: scores.share_within(f["times"]),
    "strata": lambda f: scores.strata(f["counts"], f["exposure"], f["limits"], f["seen"], f["types"]),
    "survival_curve": lambda f: scores.survival_curve(f["times"]),
    "swap_test": lambda f: scores.swap_test(f["groups"], f["other"], RATIOS),
    "time_split": lambda f: parts_of(
        scores.time_split(f["counts"], f["escalations"], f["exposure"], at=MONDAY + 400 * HOUR, **SPLIT)
    ),
    "time_to_detect": lambda f: scores.time_to_detect(f["matches"]),
    "transitions": lambda f: scores.transitions(f["exposure"], f["limits"], f["crossings"]),
    "window_ranks": lambda f: scores.window_ranks(f["judged"], f["counts"]),
    "worst_days": lambda f: scores.worst_days(f["burden"]),
}
IN_ORDER_OF_INPUT = (
    "delay_times", "inflated_days", "mark_small", "number_clusters", "pool_small", "project_split", "reset_times",
    "rolling_origin", "time_split", "window_ranks",
)  # fmt: skip
BY_GROUP = (
    "affiliation", "delay_times", "group_days", "inflated_days", "inflation", "judged_counts", "limit_stability", "nab",
    "point_adjusted", "point_wise", "range_based", "reset_times", "strata", "transitions", "window_ranks",
)  # fmt: skip


def results(seed):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, groups=8, hours=800)
    labels = random_escalations(rng, counts, number=50)
    seen = counts.group_by("group_id").agg(first_seen=pl.col("hour").min())
    types = counts.select(KEY).unique().with_columns(type=pl.col("group_id") % 3)
    return [
        backtest(
            counts,
            labels,
            thresholds=thresholds,
            buckets="dense",
            policy=Policy(every="6h"),
            first_seen=seen,
            types=types,
        )
        for thresholds in (SENSITIVE, DULLER)
    ], {"seen": seen, "types": types}


@pytest.fixture(scope="module")
def compared():
    return results(5)[0]


@pytest.fixture(scope="module")
def frames():
    (result, other), more = results(5)
    names = ("counts", "escalations", "exposure", "limits", "crossings", "alerts", "matches", "groups")
    found = more | {name: getattr(result, name) for name in names} | {"other": other.groups, "days": result.days()}
    windows = result.escalations.select(*KEY, start="escalated_at", end=pl.col("escalated_at") + 5 * HOUR)
    found |= {"windows": windows, "alarms": result.crossings.select(*KEY, "hour"), "spans": result.exposure}
    found["spikes"] = result.alerts.select(*KEY, start="hour", end=pl.col("last_hour") + HOUR)
    found["times"] = scores.delay_times(result.matches)
    found["burden"] = burden(result.alerts, result.exposure)
    for name, call in (("pairs", "transitions"), ("judged", "judged_counts"), ("inflated", "inflation")):
        found[name] = CALLS[call](found)
    found["ranked"] = CALLS["window_ranks"](found)
    return found


def in_order(name, frame):
    return frame.sort(pl.all()) if name in IN_ORDER_OF_INPUT else frame


def test_every_score_that_takes_a_frame_is_tried():
    functions = {name: getattr(scores, name) for name in scores.__all__}
    taking = {
        name for name, function in functions.items()
        if inspect.isfunction(function)
        and any("DataFrame" in str(one.annotation) for one in inspect.signature(function).parameters.values())
    }  # fmt: skip
    assert taking == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_rows_in_any_order_give_the_same_scores(name, frames):
    expected = in_order(name, CALLS[name](frames))
    assert not expected.is_empty()
    for seed in (1, 2):
        mixed = {
            what: frame.sample(fraction=1, shuffle=True, seed=seed + at)
            for at, (what, frame) in enumerate(sorted(frames.items()))
        }
        assert_frame_equal(in_order(name, CALLS[name](mixed)), expected, rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.parametrize("name", BY_GROUP)
def test_groups_one_by_one_give_what_all_give_together(name, frames):
    together = CALLS[name](frames)
    parts = []
    for project, group in frames["groups"].select(KEY).rows():
        keys = pl.DataFrame({"project_id": [project], "group_id": [group]})
        alone = {
            what: frame.join(keys, on=[key for key in KEY if key in frame.columns], how="semi")
            for what, frame in frames.items()
        }
        parts.append(CALLS[name](alone))
    assert_frame_equal(pl.concat(parts).sort(pl.all()), together.sort(pl.all()), rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.parametrize("cells", [1, 100])
@pytest.mark.parametrize("block", [None, "1w"])
def test_resampling_does_not_depend_on_how_many_are_drawn_at_a_time(compared, monkeypatch, cells, block):
    first, second = compared
    whole = compare(first, second, block=block, resamples=60, seed=3)
    delays = scores.delay_intervals(second.matches, cluster=KEY[:1], resamples=60)
    cut = scores.bootstrap(block_tallies(first), HEADLINE, block="block", resamples=60)
    for module, name in ((resampling, "_CELLS"), (significance, "_CELLS"), (survival, "_BLOCK_CELLS")):
        monkeypatch.setattr(module, name, cells)
    again = compare(first, second, block=block, resamples=60, seed=3)
    near = {"rel_tol": 1e-9, "abs_tol": 1e-12}
    assert_frame_equal(again.scores, whole.scores, **near)
    assert_frame_equal(scores.delay_intervals(second.matches, cluster=KEY[:1], resamples=60), delays, **near)
    assert_frame_equal(scores.bootstrap(block_tallies(first), HEADLINE, block="block", resamples=60), cut, **near)
