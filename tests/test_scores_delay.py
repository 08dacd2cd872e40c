"""Delays and resets: published vectors, scipy, and loops over one observation at a time."""

import math
import time
import warnings
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from histories import EXPOSURE, HOUR, MONDAY, UTC_US, random_counts, random_escalations
from polars.testing import assert_frame_equal

from issue_analytics.backtest import Matching, backtest
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.frames import empty
from issue_analytics.scores.delay import (
    caught_within,
    delay_curve,
    delay_intervals,
    delay_times,
    median_delay,
    median_delay_hours,
    reset_times,
    time_to_detect,
)
from issue_analytics.scores.resampling import cluster_weights
from issue_analytics.scores.survival import (
    median_time,
    resampled_times,
    restricted_mean,
    share_within,
    survival_curve,
)
from issue_analytics.thresholds import ThresholdVariables

KEYS = {"project_id": pl.Int64, "group_id": pl.Int64}
FIRING = ThresholdVariables(0, 0.7, 0.7, 0, 0)


def times(hours, happened):
    frame = pl.DataFrame({"hours": hours, "happened": happened})
    return frame.cast({"hours": pl.Float64, "happened": pl.Boolean})


def matches_of(*delays, missed=(), cut_off=False):
    """Escalations caught after ``delays``, and ``missed`` ones that ended after so many hours, one hour of grace."""
    rows = [(delay, MONDAY + 48 * HOUR, MONDAY + 49 * HOUR, False) for delay in delays]
    rows += [(None, MONDAY + hours * HOUR, MONDAY + (hours + (not cut_off)) * HOUR, cut_off) for hours in missed]
    names = ("delay_hours", "ended_at", "watched_until", "cut_off")
    frame = pl.DataFrame(rows, schema=names, orient="row").cast({"delay_hours": pl.Float64})
    stamps = pl.col("ended_at", "watched_until").cast(pl.Datetime("us", "UTC"))
    return frame.with_columns(stamps, escalated_at=pl.lit(MONDAY).cast(pl.Datetime("us", "UTC"))).with_columns(
        project_id=pl.lit(1, pl.Int64), group_id=pl.int_range(pl.len(), dtype=pl.Int64)
    )


def random_times(rng, size):
    """Few distinct times, so that they tie; zeros, and some that never happen."""
    hours = rng.integers(0, 12, size) / 2
    happened = rng.random(size) < rng.random()
    never = ~happened & (rng.random(size) < 0.5 * rng.integers(0, 2))
    return np.where(never, np.inf, hours), happened


def slow_curve(hours, happened, weights=None):
    """Kaplan and Meier by the definition: (time, S, Greenwood's sum) where something happened, and what is known."""
    weights = [1] * len(hours) if weights is None else weights
    rows = list(zip(hours, happened, weights))
    survival, variance, curve = 1.0, 0.0, []
    for moment in sorted({hour for hour, done, weight in rows if done and weight}):
        at_risk = sum(weight for hour, _, weight in rows if hour >= moment)
        dying = sum(weight for hour, done, weight in rows if hour == moment and done)
        survival *= 1 - dying / at_risk
        variance += dying / (at_risk * (at_risk - dying)) if at_risk > dying else math.inf
        curve.append((moment, survival, variance))
    return curve


def slow_value(curve, at):
    return [1.0, *(survival for moment, survival, _ in curve if moment <= at)][-1]


def slow_known(hours, curve, to, weights=None):
    watched = [hour for hour, weight in zip(hours, [1] * len(hours) if weights is None else weights) if weight]
    return max(watched, default=-1) >= to or bool(curve and curve[-1][1] < 1e-12)


def slow_mean(curve, tau):
    """The area of the steps, one after the other."""
    edges = [0.0, *(moment for moment, _, _ in curve if moment < tau), tau]
    return sum((right - left) * slow_value(curve, left) for left, right in pairwise(edges))


# Published vectors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("misses", ["never", "censored"])
def test_the_vector_of_the_statistics_2_2(misses):
    """Delays 1, 3, 3; 6 and 24 not caught; tau 24: S(1) = .8, S(3) = .4, mean 11.0 (of the caught alone: 2.33)."""
    matches = matches_of(1, 3, 3, missed=(6, 24))
    curve = delay_curve(matches, misses=misses)
    assert dict(curve.select("delay_hours", "survival").rows()) == pytest.approx(
        {1: 0.8, 3: 0.4} | ({6: 0.4, 24: 0.4} if misses == "censored" else {}), abs=1e-12
    )
    assert curve.select("at_risk", "caught").rows()[:2] == [(5, 1), (4, 2)]
    assert curve["censored"].sum() == (2 if misses == "censored" else 0)
    assert time_to_detect(matches, 24, misses=misses)["mean_delay_hours"].item() == pytest.approx(11.0, abs=1e-12)
    assert median_delay(matches, misses=misses)["median_delay_hours"].item() == 3.0
    assert caught_within(matches, (0.5, 1, 3, 24), misses=misses)["share"].to_list() == pytest.approx(
        [0, 0.2, 0.6, 0.6]
    )


# remission of acute myelogenous leukaemia, weeks (Miller 1981), the example of R's survival package
MAINTAINED = times([9, 13, 13, 18, 23, 28, 31, 34, 45, 48, 161], [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0])
OTHERS = times([5, 5, 8, 8, 12, 16, 23, 27, 30, 33, 43, 45], [1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1])


def test_restricted_means_are_those_of_r():
    """survival::survfit, ``print(fit, rmean=161)``: 52.6 (19.8) and 22.7 (4.18), medians 31 and 23."""
    for group, mean, error, median in ((MAINTAINED, 52.6, 19.8, 31.0), (OTHERS, 22.7, 4.18, 23.0)):
        row = restricted_mean(group, 161).row(0, named=True)
        assert row["mean_hours"] == pytest.approx(mean, abs=0.05)
        assert row["mean_hours_error"] == pytest.approx(error, rel=0.005)
        assert median_time(group)["median_hours"].item() == median


def test_greenwood_by_hand():
    """Two of four happen at 1 and 2, nothing is censored: S(2) = 1/2, and Greenwood's sum is 1/12 + 1/6 = 1/4."""
    row = survival_curve(times([1.0, 2.0, math.inf, math.inf], [1, 1, 0, 0])).row(1, named=True)
    width = 1.959963984540054 * 0.5 / math.log(2)
    assert row["survival"] == pytest.approx(0.5, abs=1e-12)
    assert row["survival_low"] == pytest.approx(0.5 ** math.exp(width), abs=1e-12)
    assert row["survival_high"] == pytest.approx(0.5 ** math.exp(-width), abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_the_curve_is_that_of_scipy(seed):
    from scipy.stats import CensoredData, ecdf

    rng = np.random.default_rng(seed)
    hours, happened = random_times(rng, int(rng.integers(1, 40)))
    finite = np.where(np.isinf(hours), 1e9, hours)
    if not happened.any():
        happened[0], finite[0], hours[0] = True, 2.0, 2.0
    theirs = ecdf(CensoredData(uncensored=finite[happened], right=finite[~happened])).sf
    confidence = [0.95, 0.8][seed % 2]
    ours = survival_curve(times(hours, happened), confidence=confidence)
    real = theirs.quantiles < 1e9
    assert ours["hours"].to_list() == theirs.quantiles[real].tolist()
    assert ours["survival"].to_numpy() == pytest.approx(theirs.probabilities[real], abs=1e-12)
    inner = ((ours["survival"] > 1e-9) & (ours["survival"] < 1 - 1e-9)).to_numpy()
    if inner.any():
        with warnings.catch_warnings():  # of the rows without width, which we leave null
            warnings.simplefilter("ignore")
            band = theirs.confidence_interval(confidence_level=confidence, method="log-log")
        for name, side in (("survival_low", band.low), ("survival_high", band.high)):
            assert ours[name].to_numpy()[inner] == pytest.approx(side.probabilities[real][inner], abs=1e-9)
    assert ours.filter(~pl.Series(inner))["survival_low"].null_count() == (~inner).sum()


# Loops ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_summaries_equal_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    hours, happened = random_times(rng, int(rng.integers(0, 30)))
    frame, curve = times(hours, happened), slow_curve(hours, happened)
    asked, tau = (0, 1, 2.5, 4, 9), float(rng.integers(1, 9))
    for row in share_within(frame, asked).iter_rows(named=True):
        at = row["within_hours"]
        if slow_known(hours, curve, at):
            assert row["share"] == pytest.approx(1 - slow_value(curve, at), abs=1e-9)
        else:
            assert row["share"] is None
            assert row["share_low"] is None
    reached = [moment for moment, survival, _ in curve if survival <= 0.5 + 1e-12]
    assert median_time(frame)["median_hours"].item() == (reached[0] if reached else None)
    mean = restricted_mean(frame, tau).row(0, named=True)
    if slow_known(hours, curve, tau):
        assert mean["mean_hours"] == pytest.approx(slow_mean(curve, tau), abs=1e-9)
        variance, last = 0.0, 0.0
        for moment, _, greenwood in curve:
            if moment < tau and math.isfinite(greenwood):
                left = [(a, b) for a, b in slow_steps(curve, moment, tau)]
                area = sum(width * height for width, height in left)
                variance += area**2 * (greenwood - last)
                last = greenwood
        assert mean["mean_hours_error"] == pytest.approx(math.sqrt(variance), abs=1e-9)
    else:
        assert list(mean.values()) == [None] * 4


def slow_steps(curve, start, end):
    edges = [start, *(moment for moment, _, _ in curve if start < moment < end), end]
    return [(right - left, slow_value(curve, left)) for left, right in pairwise(edges)]


@pytest.mark.parametrize("seed", range(40))
def test_resamples_equal_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    size, clusters, resamples = int(rng.integers(0, 25)), int(rng.integers(1, 8)), 12
    hours, happened = random_times(rng, size)
    cluster = rng.integers(0, clusters, size)
    whole = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples).astype(float)
    weights = whole if seed % 2 else rng.random((resamples, clusters)) * (whole > 0)
    weights[0] = 0  # nobody drawn
    tau, asked = 4.0, (0, 1, 2.5, 9)
    got = resampled_times(hours, happened, weights, clusters=cluster, within=asked, tau=tau)
    for nth in range(resamples):
        own = weights[nth][cluster].tolist()
        curve = slow_curve(hours, happened, own)
        reached = [moment for moment, survival, _ in curve if survival <= 0.5 + 1e-12]
        drawn = sum(own) > 0
        expected = reached[0] if reached else math.inf if drawn else math.nan
        assert got.median[nth] == pytest.approx(expected, nan_ok=True)
        known = [slow_known(hours, curve, to, own) for to in (*asked, tau)]
        shares = [1 - slow_value(curve, at) if ok else math.nan for at, ok in zip(asked, known)]
        assert got.within[nth].tolist() == pytest.approx(shares, abs=1e-9, nan_ok=True)
        assert got.mean[nth] == pytest.approx(slow_mean(curve, tau) if known[-1] else math.nan, abs=1e-9, nan_ok=True)


def test_a_weight_of_one_for_all_gives_the_summaries_themselves():
    rng = np.random.default_rng(3)
    hours, happened = rng.integers(0, 12, 300) / 2, rng.random(300) < 0.7
    frame = times(hours, happened)
    got = resampled_times(hours, happened, np.ones((1, 300)), tau=5)
    assert got.median[0] == median_time(frame)["median_hours"].item()
    assert got.mean[0] == pytest.approx(restricted_mean(frame, 5)["mean_hours"].item(), abs=1e-12)
    shares = share_within(frame)["share"].cast(pl.Float64).fill_null(math.nan).to_list()
    assert got.within[0].tolist() == pytest.approx(shares, abs=1e-12, nan_ok=True)


def test_two_thousand_resamples_of_ten_thousand_events_take_no_time():
    """A second or two is what is asked for; time of the processor, because others may use the machine."""
    rng = np.random.default_rng(0)
    weights = rng.multinomial(10_000, np.full(10_000, 1e-4), size=2000).astype(float)
    hours, happened = rng.exponential(10, 10_000), rng.random(10_000) < 0.7
    hours[~happened & (hours > 5)] = np.inf
    begun = time.process_time()
    got = resampled_times(hours, happened, weights, clusters=rng.permutation(10_000))
    assert time.process_time() - begun < 3
    frame = times(hours, happened)
    # clusters of one are the case of Greenwood: both errors are the same, within that of 2,000 resamples
    assert got.mean.std() == pytest.approx(restricted_mean(frame)["mean_hours_error"].item(), rel=0.06)
    low, high = median_time(frame).select("median_hours_low", "median_hours_high").row(0)
    assert np.percentile(got.median, [2.5, 97.5]).tolist() == pytest.approx([low, high], abs=0.1)


def test_intervals_cover():
    """1,000 samples of known delays, a third of them censored: 95 % intervals hold the truth in 93 to 97 %."""
    rng = np.random.default_rng(11)
    rounds, size, held = 1000, 80, np.zeros(3)
    truth = (math.log(2) * 6, 6 * (1 - math.exp(-2)), 1 - math.exp(-0.5))
    for _ in range(rounds):
        delays, ends = rng.exponential(6, size), rng.uniform(6, 30, size)
        frame = times(np.minimum(delays, ends), delays <= ends)
        rows = (median_time(frame), restricted_mean(frame, 12), share_within(frame, (3,)))
        for nth, (row, name) in enumerate(zip(rows, ("median_hours", "mean_hours", "share"))):
            low, high = row[f"{name}_low"].item(), row[f"{name}_high"].item()
            held[nth] += (low is None or low <= truth[nth]) and (high is None or truth[nth] <= high)
    assert ((held / rounds > 0.93) & (held / rounds < 0.97)).all(), held / rounds


# Edges ----------------------------------------------------------------------------------------------------------------


def test_a_miss_stays_at_risk_unless_its_end_was_not_watched():
    """Nine short misses and one catch after 31 hours are no median of 31 hours (CONTRIBUTING)."""
    short = matches_of(31, missed=[2] * 9)
    assert median_delay_hours(short) is None
    assert median_delay(short, misses="censored")["median_delay_hours"].item() == 31.0
    assert median_delay_hours(matches_of(31, missed=[2] * 9, cut_off=True)) == 31.0
    # the grace after the end is watched too, but what is censored is censored at the end
    assert delay_times(matches_of(missed=[2]), misses="censored")["hours"].to_list() == [2.0]
    # without a known end, where watching ended
    unknown = matches_of(missed=[2]).with_columns(ended_at=pl.lit(None, pl.Datetime("us", "UTC")))
    assert delay_times(unknown, misses="censored")["hours"].to_list() == [3.0]


def test_nothing_to_judge_is_null():
    nothing = empty("Matches")
    assert delay_curve(nothing).is_empty()
    assert median_delay(nothing).row(0) == (None, None, None)
    assert time_to_detect(nothing).row(0) == (None,) * 4
    assert caught_within(nothing).rows() == [(hours, None, None, None) for hours in (1.0, 3.0, 6.0, 24.0)]
    assert reset_times(nothing, empty("Alerts"), empty("Exposure")).is_empty()
    for frame in (median_delay(nothing), time_to_detect(nothing), caught_within(nothing)):
        assert set(frame.dtypes) == {pl.Float64}
    never = matches_of(missed=[3, 4])
    assert caught_within(never, (1,)).rows() == [(1.0, 0.0, None, None)]
    assert time_to_detect(never)["mean_delay_hours"].item() == 24.0


def test_all_caught_at_once_before_it_began():
    assert median_delay_hours(matches_of(0, 0)) == 0.0
    assert time_to_detect(matches_of(0, 0)).row(0) == (0.0, 0.0, 0.0, 0.0)


def test_what_makes_no_sense_is_refused():
    some = times([1], [True])
    for wrong in (
        lambda: delay_times(matches_of(1), misses="forgotten"),
        lambda: survival_curve(some, confidence=1),
        lambda: restricted_mean(some, 0),
        lambda: share_within(some, (-1,)),
        lambda: resampled_times([1], [1], [[1, 2]]),
        lambda: resampled_times([1], [1], [1]),
        lambda: resampled_times([1], [1], [[-1]]),
        lambda: resampled_times([math.nan], [1], [[1]]),
        lambda: resampled_times([1], [1], [[1, 2]], clusters=[2]),
    ):
        with pytest.raises(SettingsError):
            wrong()
    for bad in (pl.DataFrame({"hours": [1.0]}), times([-1.0], [True]), times([math.nan], [True])):
        with pytest.raises(FrameError):
            survival_curve(bad)


# Resets ---------------------------------------------------------------------------------------------------------------


def reset_of(ended, over, watched=((0, 100),)):
    at = [None if hour is None else MONDAY + hour * HOUR for hour in (0, ended, 0)]
    names = ("escalated_at", "ended_at", "caught_hour")
    matches = pl.DataFrame([(1, 7, *at)], schema=KEYS | dict.fromkeys(names, UTC_US), orient="row")
    crossings = pl.DataFrame(
        [(1, 7, MONDAY + hour * HOUR) for hour in over], schema=KEYS | {"hour": UTC_US}, orient="row"
    )
    spans = [(1, 7, MONDAY + start * HOUR, MONDAY + end * HOUR) for start, end in watched]
    spans = pl.DataFrame(spans, schema=EXPOSURE, orient="row")
    return reset_times(matches, crossings, spans).select("hours", "happened").row(0)


@pytest.mark.parametrize(
    ("ended", "over", "watched", "expected"),
    [
        (5, [0, 1], [(0, 100)], (0.0, True)),  # was calm by then
        (5, [3, 4], [(0, 100)], (1.0, True)),  # over to its end; hour 5 is calm, and known to be at its end
        (5, [3, 5], [(0, 100)], (0.0, True)),  # calm in its last hour: what comes after is something else
        (5, [4, 5, 6, 8], [(0, 100)], (3.0, True)),
        (5.5, [5], [(0, 100)], (1.5, True)),
        (5.5, [4, 5, 6], [(0, 100)], (2.5, True)),
        (5, [4, 5, 6], [(0, 7)], (2.0, False)),  # still over when watching ended
        (5, [4, 5, 6], [(0, 8)], (3.0, True)),
        (5, [4, 5, 6], [(0, 7), (9, 20)], (2.0, False)),  # a gap is not calm
        (5, [3, 4], [(0, 5)], (0.0, False)),
        (5, [], [(6, 20)], (None, False)),  # its end was not watched
        (5, [1], [(0, 3)], (None, False)),
        (None, [0, 1], [(0, 100)], (None, False)),
    ],
)
def test_resets_by_hand(ended, over, watched, expected):
    assert reset_of(ended, over, watched) == expected


@pytest.mark.parametrize("seed", range(8))
def test_resets_of_a_backtest_equal_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, hours=500)
    escalations = random_escalations(rng, counts, number=12)
    result = backtest(counts, escalations, thresholds=FIRING, buckets="dense", matching=Matching(open_hours=72))
    got = reset_times(result.matches, result.crossings, result.exposure)
    over = set(result.crossings.select("project_id", "group_id", "hour").rows())
    watched = {
        (p, g, start + n * HOUR)
        for p, g, start, end in result.exposure.iter_rows()
        for n in range((end - start) // HOUR)
    }
    expected = []
    for row in result.matches.filter(pl.col("caught_hour").is_not_null()).iter_rows(named=True):
        key, end = (row["project_id"], row["group_id"]), row["ended_at"]
        hour = None if end is None else MONDAY + -(-(end - MONDAY) // HOUR) * HOUR - HOUR
        if hour is None or (*key, hour) not in watched:
            expected.append((None, False))
        elif (*key, hour) not in over:
            expected.append((0.0, True))
        else:
            while (*key, hour) in over:
                hour += HOUR
            calm = (*key, hour) in watched
            expected.append(((hour + calm * HOUR - end) / HOUR, calm))
    assert [done for _, done in expected] == got["happened"].to_list()
    assert [hours for hours, _ in expected] == pytest.approx(got["hours"].to_list())
    # order of rows does not matter
    again = reset_times(result.matches, result.crossings.sample(fraction=1, shuffle=True, seed=seed), result.exposure)
    assert_frame_equal(again, got)


def test_the_loops_saw_resets_of_every_kind():
    seen = set()
    for seed in range(8):
        rng = np.random.default_rng(seed)
        counts = random_counts(rng, hours=500)
        result = backtest(counts, random_escalations(rng, counts, number=12), thresholds=FIRING, buckets="dense",
                          matching=Matching(open_hours=72))  # fmt: skip
        for hours, happened in (
            reset_times(result.matches, result.crossings, result.exposure).select("hours", "happened").iter_rows()
        ):
            seen.add("unknown" if hours is None else "at once" if hours == 0 else "later" if happened else "censored")
    assert {"unknown", "at once", "later"} <= seen


# Intervals by cluster -------------------------------------------------------------------------------------------------


def clustered_matches(rng, groups, each):
    """Escalations of groups that are slow or fast as a whole; a fifth of them is missed."""
    start = MONDAY
    rows = []
    for group in range(groups):
        pace = float(rng.choice([0.5, 15]))
        for nth in range(each):
            delay = None if rng.random() < 0.2 else float(rng.exponential(pace)) + 0.1
            at = start + 100 * nth * HOUR
            rows.append((group % 3, group, at, delay, at + 5 * HOUR, at + 6 * HOUR, False))
    columns = ["project_id", "group_id", "escalated_at", "delay_hours", "ended_at", "watched_until", "cut_off"]
    return pl.DataFrame(rows, schema=columns, orient="row")


@pytest.mark.parametrize("cluster", [("project_id", "group_id"), ("project_id",)])
def test_delay_intervals_equal_a_loop_over_draws(cluster):
    matches = clustered_matches(np.random.default_rng(3), 12, 4)
    found = delay_intervals(matches, cluster=cluster, hours=(1, 6), resamples=60, seed=5)
    keys = list(matches.select(cluster).unique().sort(cluster).iter_slices(1))
    drawn = {name: [] for name in found["name"]}
    for weights in cluster_weights(len(keys), resamples=60, seed=5):
        for row in weights:
            parts = [
                matches.join(key, on=cluster, how="semi") for key, times in zip(keys, row) for _ in range(int(times))
            ]
            again = pl.concat(parts)
            median = median_delay(again)["median_delay_hours"].item()
            drawn["median_delay_hours"].append(np.inf if median is None else median)
            drawn["mean_delay_hours"].append(time_to_detect(again)["mean_delay_hours"].item())
            for hours, share in caught_within(again, (1, 6)).select("within_hours", "share").rows():
                drawn[f"caught_within_{hours:g}h"].append(share)
    for name, low, high, clusters in found.drop("estimate", "note").iter_rows():
        ends = np.quantile(drawn[name], [0.025, 0.975], method="nearest")
        assert [low, high] == pytest.approx([end if np.isfinite(end) else None for end in ends.tolist()])
        assert clusters == len(keys)
    assert found["estimate"][1] == pytest.approx(time_to_detect(matches)["mean_delay_hours"].item())


def test_delays_of_groups_that_are_alike_within_are_less_sure_than_greenwood_says():
    matches = clustered_matches(np.random.default_rng(1), 60, 10)
    by_group = delay_intervals(matches).filter(name="mean_delay_hours").row(0, named=True)
    alone = time_to_detect(matches).row(0, named=True)
    width = by_group["high"] - by_group["low"]
    assert width > 1.3 * (alone["mean_delay_hours_high"] - alone["mean_delay_hours_low"])


def test_delay_intervals_of_nothing_one_cluster_and_no_variation():
    matches = clustered_matches(np.random.default_rng(1), 40, 1)
    assert set(delay_intervals(matches.clear())["note"]) == {"nothing to judge"}
    one = delay_intervals(matches.filter(group_id=3))
    assert set(one["note"]) == {"one cluster"}
    assert one["low"].null_count() == one.height
    same = delay_intervals(matches.with_columns(delay_hours=2.0))
    assert set(same["note"]) == {"no variation"}
    assert same["estimate"].to_list() == [2.0, 2.0, 0.0, 1.0, 1.0, 1.0]
    missed = delay_intervals(matches.with_columns(delay_hours=pl.lit(None, dtype=pl.Float64)))
    assert missed["estimate"].to_list() == [None, 24.0, 0.0, 0.0, 0.0, 0.0]
    with pytest.raises(SettingsError, match="confidence"):
        delay_intervals(matches, confidence=95)
