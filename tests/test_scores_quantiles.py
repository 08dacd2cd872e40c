"""Pinball, PIT, reliability and Murphy diagrams against loops over every hour, and against what theory says."""

from datetime import timedelta
from fractions import Fraction
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from histories import COUNTS, HOUR, MONDAY, random_counts, random_exposure
from hypothesis import example, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.stats import poisson

from issue_analytics.backtest import Policy, backtest
from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY
from issue_analytics.scores import group_days, quantiles
from issue_analytics.scores.quantiles import (
    judged_counts,
    mean_pinball,
    mid_p,
    murphy,
    pinball,
    pit_histogram,
    quantile_reliability,
    scaled_limits,
    window_ranks,
)
from issue_analytics.thresholds import ThresholdVariables

SENSITIVE = ThresholdVariables(0, 0.7, 0.7, 0, 0)
POLICIES = (Policy(), Policy(every="6h", offset="5h"), Policy(every="7d"))


def judged_by(seed, **options):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng)
    exposure = random_exposure(rng, counts) if seed % 4 else None
    buckets = ("sparse", "dense")[seed % 2]
    options = {"thresholds": SENSITIVE, "policy": POLICIES[seed % 3], "buckets": buckets} | options
    return backtest(counts, exposure=exposure, **options)


def frame_of(result):
    return judged_counts(result.exposure, result.limits, result.counts)


def slow_hours(result):
    """Every judged hour for which a limit was made: key, hour, as_of, limit, rule, count, and the week before as_of."""
    count = {row[:3]: row[3] for row in result.counts.select(*KEY, "hour", "count").iter_rows()}
    made = {}
    for p, g, date, limit, rule, as_of in result.limits.select(*KEY, "date", "limit", "rule", "as_of").iter_rows():
        made.setdefault((p, g, date), []).append((as_of, limit, rule))
    for p, g, start, end in result.exposure.iter_rows():
        for nth in range((end - start) // HOUR):
            hour = start + nth * HOUR
            if past := [known for known in made.get((p, g, hour.date()), []) if known[0] <= hour]:
                as_of, limit, rule = max(past, key=lambda known: known[0])
                week = [count.get((p, g, as_of - back * HOUR), 0) for back in range(168, 0, -1)]
                yield (p, g), hour, as_of, limit, rule, count.get((p, g, hour), 0), week


@pytest.fixture(scope="module", params=range(8))
def history(request):
    result = judged_by(request.param)
    return result, frame_of(result), list(slow_hours(result))


def test_judged_counts_hold_every_hour_once(history):
    result, judged, hours = history
    tally = {}
    for key, hour, as_of, limit, rule, count, _ in hours:
        row = (*key, hour.date(), as_of, limit, rule, count)
        tally[row] = tally.get(row, 0) + 1
    assert {row[:-1]: row[-1] for row in judged.rows()} == tally
    assert judged.height == len(tally)
    days = group_days(result.exposure, result.limits, result.counts, result.crossings).filter(
        pl.col("as_of").is_not_null()
    )
    assert judged["hours"].sum() == days["hours"].sum()


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_mean_pinball_equals_a_loop_over_hours(history, level):
    result, judged, hours = history
    losses = []
    for *_, limit, _, count, _ in hours:
        if limit:
            losses.append(level * max(count - limit, 0) + (1 - level) * max(limit - count, 0))
    got = judged.select(mean_pinball(level).of_sums()).item()
    assert got == (pytest.approx(np.mean(losses), rel=1e-12) if losses else None)
    # the sum again, from crossings and days alone: (1 - a)(q n - sum y) + what crossings were above their limits
    days = group_days(result.exposure, result.limits, result.counts, result.crossings).filter(pl.col("limit") > 0)
    excess = (result.crossings["count"] - result.crossings["limit"]).sum()
    idle = (days["limit"] * days["hours"] - days["occurrences"]).sum()
    if losses:
        assert got * days["hours"].sum() == pytest.approx((1 - level) * idle + excess, rel=1e-9)


def test_the_vectors_of_pinball():
    """statistics.md 2.3, level 0.99."""
    assert pl.select(pinball(pl.lit(62), pl.lit(100), 0.99)).item() == pytest.approx(37.62, abs=1e-12)
    five = pl.DataFrame({"y": [3, 0, 12, 7, 50], "q": [5, 5, 10, 8, 20]})
    assert five.select(pinball("q", "y", 0.99)).mean().item() == pytest.approx(6.352, abs=1e-12)
    judged = five.select(limit="q", count="y", hours=1)
    assert judged.select(mean_pinball(0.99).of_sums()).item() == pytest.approx(6.352, abs=1e-12)


def test_pinball_is_null_where_limit_or_count_is():
    frame = pl.DataFrame({"limit": [None, 1], "count": [1, None]}, schema={"limit": pl.Int64, "count": pl.Int64})
    assert frame.select(pinball("limit", "count", 0.5))["pinball"].to_list() == [None, None]
    judged = pl.DataFrame({"limit": [None, 0], "count": [9, 9], "hours": [1, 1]})
    assert judged.select(mean_pinball(0.5).of_sums()).item() is None


def test_the_quantile_has_the_smallest_pinball():
    draws = np.random.default_rng(3).poisson(20, size=4000)
    losses = pl.select(
        *(pinball(pl.lit(q), pl.lit(pl.Series(draws)), 0.95).mean().alias(str(q)) for q in range(10, 45))
    )
    best = min(losses.columns, key=lambda name: losses[name].item())
    assert int(best) == np.quantile(draws, 0.95, method="inverted_cdf")


def test_ranks_equal_a_loop_over_weeks(history):
    result, judged, hours = history
    ranked = window_ranks(judged, result.counts)
    assert_frame_equal(ranked.drop("below", "upto"), judged)
    got = {(*row[:4], row[6]): row[8:] for row in ranked.rows()}
    for key, hour, as_of, _, _, count, week in hours:
        below, upto = got[(*key, hour.date(), as_of, count)]
        assert below == sum(past < count for past in week) / 168
        assert upto == sum(past <= count for past in week) / 168


def test_ranks_do_not_depend_on_blocks_or_order(history, monkeypatch):
    result, judged, _ = history
    whole = window_ranks(judged, result.counts)
    monkeypatch.setattr(quantiles, "PANEL_CELLS", 168 * 3)
    few = quantiles.panels
    monkeypatch.setattr(quantiles, "panels", lambda *args, **kwargs: few(*args, **kwargs, cells=1))
    shuffled = judged.sample(fraction=1, shuffle=True, seed=1)
    again = window_ranks(shuffled, result.counts.sample(fraction=1, shuffle=True, seed=2))
    assert_frame_equal(again.sort(*KEY, "date", "as_of", "count"), whole)


def test_ranks_know_nothing_later_than_the_limit(history):
    """Law 2: what comes at or after the first limit was made moves no rank of that limit."""
    result, judged, _ = history
    first = judged["as_of"].min()
    some = judged.filter(pl.col("as_of") == first)
    later = result.counts.with_columns(
        count=pl.when(pl.col("hour") >= first).then(pl.col("count") + 1000).otherwise("count")
    )
    assert_frame_equal(window_ranks(some, later), window_ranks(some, result.counts))


def test_ranks_take_counts_as_large_as_there_are():
    rows = [(1, 7, MONDAY + nth * HOUR, 10**15 - nth) for nth in range(400)]
    counts = pl.DataFrame(rows, schema=COUNTS, orient="row")
    result = backtest(counts, buckets="dense")
    ranked = window_ranks(frame_of(result), counts)
    assert ranked["upto"].max() == 0  # ever fewer


def slow_pit(pairs, bins):
    """Czado, Gneiting and Held 2009, with fractions: weights, (below, upto, hours)."""

    def reached(u, below, upto):
        if u == 1 or (u > 0 and upto <= u):
            return Fraction(1)
        return (u - below) / (upto - below) if u > below else Fraction(0)

    edges = [Fraction(nth, bins) for nth in range(bins + 1)]
    whole = sum(hours for *_, hours in pairs)
    mean = [sum(hours * reached(u, below, upto) for below, upto, hours in pairs) / whole for u in edges]
    return [float(b - a) for a, b in pairwise(mean)]


ranks = st.lists(
    st.tuples(st.integers(0, 168), st.integers(0, 168), st.integers(1, 9)).map(
        lambda it: (*sorted(it[:2]), it[2])  # some without any hour of their own: below equals upto
    ),
    min_size=1,
    max_size=30,
)


@example(rows=[(84, 84, 1), (42, 42, 2), (0, 0, 1), (168, 168, 1)], bins=12)
@given(rows=ranks, bins=st.sampled_from([1, 2, 7, 10, 12]))
def test_the_histogram_equals_exact_fractions(rows, bins):
    frame = pl.DataFrame([(b / 168, u / 168, h) for b, u, h in rows], schema=["below", "upto", "hours"], orient="row")
    got = pit_histogram(frame, bins=bins)
    exact = slow_pit([(Fraction(b, 168), Fraction(u, 168), h) for b, u, h in rows], bins)
    assert got["share"].to_list() == pytest.approx(exact, abs=1e-12)
    assert got["share"].sum() == pytest.approx(1)
    assert got["expected"].sum() == pytest.approx(1)


def test_the_vectors_of_poisson():
    """statistics.md 2.3: P(Y >= 3) and P(Y >= 9) of Poisson(3), and their mid-p."""
    y = np.array([3, 9])
    frame = pl.DataFrame({"below": poisson.cdf(y - 1, 3), "upto": poisson.cdf(y, 3)})
    assert (1 - frame["below"]).round(6).to_list() == [0.576810, 0.003803]
    assert frame.select(mid_p())["mid_p"].round(6).to_list() == [0.464789, 0.002453]


@pytest.mark.parametrize(("rate", "flat"), [(3, True), (0.2, True), (5, False), (2, False)])
def test_the_pit_of_the_true_distribution_is_flat(rate, flat):
    y = np.random.default_rng(5).poisson(rate, size=20_000)
    believed = rate if flat else 3
    frame = pl.DataFrame({"below": poisson.cdf(y - 1, believed), "upto": poisson.cdf(y, believed), "hours": 1})
    share = pit_histogram(frame)["share"].to_numpy()
    # ten bins of a tenth: a share varies by less than sqrt(.1 x .9 / 20,000) = 0.002
    assert bool(np.abs(share - 0.1).max() < 0.008) is flat


def test_steady_groups_are_calibrated_by_their_own_week():
    rng = np.random.default_rng(6)
    rows = [
        (1, group, MONDAY + nth * HOUR, count)
        for group in range(40)
        for nth, count in enumerate(rng.poisson(0.5 * 1.12**group, size=504).tolist())
        if count
    ]
    counts = pl.DataFrame(rows, schema=COUNTS, orient="row")
    ranked = window_ranks(frame_of(backtest(counts, buckets="dense")), counts)
    # 13,440 hours; the week itself is a sample, so that its tails are a little thin
    assert np.abs(pit_histogram(ranked, bins=5)["share"].to_numpy() - 0.2).max() < 0.015
    curve = quantile_reliability(ranked, [0.5, 0.9, 0.99])
    assert (curve["below"] - 0.015 < curve["level"]).all()
    assert (curve["level"] < curve["at_or_below"] + 0.015).all()
    # against a week of another group they are not
    other = window_ranks(
        frame_of(backtest(counts, buckets="dense")), counts.with_columns(group_id=39 - pl.col("group_id"))
    )
    assert np.abs(pit_histogram(other, bins=5)["share"].to_numpy() - 0.2).max() > 0.1


def test_reliability_equals_a_loop_over_hours(history):
    result, judged, hours = history
    levels = (0.5, 126 / 168, 1 / 168, 0.9, 0.99, 0.999)
    for by in ((), "rule"):
        curve = quantile_reliability(window_ranks(judged, result.counts), levels, by=by)
        slow = {}
        for *_, rule, count, week in hours:
            for level in levels:
                line = sorted(week)
                # the smallest count with at least the share `level` of the week at or below it
                rank = -(-Fraction(level).limit_denominator(10**6) * 168 // 1)
                quantile = line[int(rank) - 1]
                cell = slow.setdefault((rule if by else None, level), [0, 0, 0])
                cell[0] += 1
                cell[1] += count <= quantile
                cell[2] += count < quantile
        if not by:
            curve = curve.insert_column(0, pl.lit(None, dtype=pl.String).alias("none"))
        for rule, level, n, upto, below in curve.unique(curve.columns).rows():
            if n:
                seen = slow[rule, level]
                assert (n, upto * n, below * n) == pytest.approx(tuple(seen))


def test_scaled_limits_equal_a_loop_over_hours(history):
    result, judged, hours = history
    scales = (0.1, 0.29, 0.5, 0.7, 1, 1.1, 3)
    table = scaled_limits(judged, scales)
    held = [(limit, count) for *_, limit, _, count, _ in hours if limit]
    for scale, n, crossings, exceedance, rate in table.rows():
        exact = Fraction(str(scale))
        assert n == len(held)
        assert crossings == sum(count > exact * limit for limit, count in held)
        assert exceedance == (pytest.approx(crossings / n) if n else None)
        assert rate == (pytest.approx(168 * crossings / n) if n else None)
    by_group = scaled_limits(judged, scales, by=KEY)
    assert by_group["crossings"].sum() == table["crossings"].sum()
    at_one = table.filter(pl.col("scale") == 1)["crossings"].item()
    assert at_one == result.crossings.height


def test_a_count_that_equals_the_scaled_limit_is_not_over_it():
    assert 0.29 * 100 < 29  # as binary numbers
    judged = pl.DataFrame({"limit": [100, 100], "count": [29, 30], "hours": [1, 1]})
    assert scaled_limits(judged, [0.29])["crossings"].item() == 1


@pytest.mark.parametrize("level", [0.9, 0.99])
def test_murphy_equals_a_loop_and_its_area_is_the_pinball(history, level):
    _, judged, hours = history
    held = [(limit, count) for *_, limit, _, count, _ in hours if limit]
    top = max((max(pair) for pair in held), default=0)
    some = [0, 0.5, 1, 2, 7.5, 30, top - 1, top]
    for theta, score, n in murphy(judged, level, some).rows():
        slow = [(1 - level) * (y <= theta < q) + level * (q <= theta < y) for q, y in held]
        assert n == len(held)
        assert score == (pytest.approx(np.mean(slow), abs=1e-12) if held else None)
    if held:
        area = murphy(judged, level, range(top))["score"].sum()
        assert area == pytest.approx(judged.select(mean_pinball(level).of_sums()).item(), rel=1e-12)
        drawn = murphy(judged, level)
        assert drawn["theta"].is_sorted()
        assert drawn["theta"][0] == 0
        assert drawn["theta"][-1] == top


def test_nothing_judged():
    result = judged_by(1)
    judged = frame_of(result).clear()
    ranked = window_ranks(judged, result.counts)
    assert ranked.columns == [*judged.columns, "below", "upto"]
    assert judged.select(mean_pinball(0.9).of_sums()).item() is None
    assert pit_histogram(ranked)["share"].to_list() == [None] * 10
    assert pit_histogram(ranked, by="rule").is_empty()
    assert quantile_reliability(ranked, [0.5]).rows() == [(0.5, 0, None, None)]
    assert scaled_limits(judged, [1]).rows() == [(1.0, 0, 0, None, None)]
    assert murphy(judged, 0.9)["score"].to_list() == [None]
    assert judged_counts(result.exposure.clear(), result.limits, result.counts).is_empty()
    assert judged_counts(result.exposure, result.limits.clear(), result.counts).is_empty()
    quiet = judged_counts(result.exposure, result.limits, result.counts.clear())
    assert quiet["count"].to_list() == [0] * quiet.height
    assert quiet["hours"].sum() == frame_of(result)["hours"].sum()


def test_settings_that_make_no_sense_are_refused():
    judged = frame_of(judged_by(1))
    for level in (0, 1, -0.1, "a", True):
        with pytest.raises(SettingsError, match="between 0 and 1"):
            mean_pinball(level)
    with pytest.raises(SettingsError, match="no column colour"):
        scaled_limits(judged, by="colour")
    with pytest.raises(SettingsError, match="above 0"):
        scaled_limits(judged, [0])
    with pytest.raises(SettingsError, match="at least 1"):
        pit_histogram(judged, bins=0)
    with pytest.raises(SettingsError, match="at least 1"):
        window_ranks(judged, judged, window_hours=0)


def test_a_limit_made_inside_an_hour_is_made_from_whole_hours():
    rows = [(1, 7, MONDAY + nth * HOUR, 2 if nth < 200 else 5) for nth in range(240)]
    counts = pl.DataFrame(rows, schema=COUNTS, orient="row")
    judged = pl.DataFrame({"project_id": 1, "group_id": 7, "as_of": [MONDAY + 200 * HOUR + timedelta(minutes=59)]})
    ranked = window_ranks(judged.with_columns(count=5, hours=1), counts)
    assert ranked.select("below", "upto").row(0) == (1.0, 1.0)
