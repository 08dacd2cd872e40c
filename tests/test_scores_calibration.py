"""Exceedance and its tests: vectors of the literature, loops over hours, and what happens under the null."""

import math
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from histories import HOUR, MONDAY, random_counts, random_exposure
from polars.testing import assert_frame_equal
from scipy.stats import chi2

from issue_analytics.backtest import Policy, backtest
from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY
from issue_analytics.scores import group_days
from issue_analytics.scores.calibration import (
    CROSSINGS_PER_SERIES_WEEK,
    EXCEEDANCE,
    christoffersen,
    clustering,
    conditional_coverage,
    exceedance,
    homogeneity,
    kupiec,
    transitions,
)
from issue_analytics.scores.intervals import clopper_pearson, design_effect
from issue_analytics.thresholds import ThresholdVariables

SENSITIVE = ThresholdVariables(0, 0.7, 0.7, 0, 0)


def judged(seed):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng)
    exposure = random_exposure(rng, counts) if seed % 4 else None
    policy = Policy(every=("1d", "6h", "7d")[seed % 3], offset="5h" if seed % 2 else "0h")
    return backtest(
        counts, exposure=exposure, policy=policy, thresholds=SENSITIVE, buckets=("sparse", "dense")[seed % 2]
    )


def days_of(result):
    days = group_days(result.exposure, result.limits, result.counts, result.crossings)
    return days.join(result.groups.select(*KEY, "volume"), on=KEY)


def fake_days(groups, *, hours=168 * 4, rng=None, excess=0.01, runs=5, strata=("a", "b", "c"), rules=1):
    """Groups with runs of crossings, each stratum as likely to cross as another unless told so."""
    rates = np.broadcast_to(excess, len(strata))
    rows = []
    for group in range(groups):
        nth = group % len(strata)
        for rule in range(rules):
            began = rng.poisson(rates[nth] * hours / runs / rules)
            rows.append((1, group, strata[nth], rule, 5, hours // rules, min(int(began) * runs, hours // rules)))
    schema = ["project_id", "group_id", "volume", "rule", "limit", "hours", "crossings"]
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("by", [[], ["volume"], ["rule", "volume"], ["group_id"], list(KEY)])
def test_exceedance_equals_a_loop_over_days(seed, by):
    days = days_of(judged(seed))
    slow = {}
    for row in days.iter_rows(named=True):
        cell = slow.setdefault(tuple(row[name] for name in by), {})
        if row["limit"]:
            group = cell.setdefault((row["project_id"], row["group_id"]), [0, 0])
            group[0] += row["crossings"]
            group[1] += row["hours"]
    table = exceedance(days, by)
    assert {row[: len(by)] for row in table.rows()} == (set(slow) or {()})
    for row in table.iter_rows(named=True):
        groups = list(slow.get(tuple(row[name] for name in by), {}).values())
        over, hours = (sum(group[side] for group in groups) for side in (0, 1))
        assert (row["groups"], row["hours"], row["crossings"]) == (len(groups), hours, over)
        if not hours:
            assert row["exceedance"] is row["implied_level"] is row["exact_low"] is row["exceedance_high"] is None
            continue
        assert row["exceedance"] == over / hours
        assert row["implied_level"] == 1 - over / hours
        assert row["crossings_per_series_week"] == pytest.approx(168 * over / hours)
        assert (row["exact_low"], row["exact_high"]) == tuple(clopper_pearson(over, hours))
        deff = float(design_effect(*np.transpose(groups)))
        assert row["design_effect"] == (None if math.isnan(deff) else pytest.approx(deff))
        if len(groups) > 1:
            assert row["exceedance_low"] <= row["exceedance"] <= row["exceedance_high"]
        else:
            assert row["exceedance_low"] is None


def test_exceedance_is_a_ratio_that_goes_everywhere():
    days = days_of(judged(1))
    [whole] = exceedance(days)["exceedance"].to_list()
    assert days.select(EXCEEDANCE.of_sums()).item() == whole
    assert days.select(CROSSINGS_PER_SERIES_WEEK.of_sums()).item() == pytest.approx(168 * whole)
    by_rule = days.group_by("rule").agg(EXCEEDANCE.of_sums()).sort("rule")
    assert_frame_equal(exceedance(days, "rule").select("rule", "exceedance"), by_rule)
    assert days.select(EXCEEDANCE.of_sums().over("rule")).height == days.height
    # hours without a limit could not exceed it
    without = days.with_columns(limit=pl.lit(None, dtype=pl.Int64))
    assert exceedance(without).select("groups", "hours", "exceedance").row(0) == (0, 0, None)


def test_clusters_widen_the_interval():
    days = fake_days(90, rng=np.random.default_rng(2), runs=12)
    row = exceedance(days).row(0, named=True)
    assert row["design_effect"] > 6
    assert row["exceedance_high"] - row["exceedance_low"] > 2 * (row["exact_high"] - row["exact_low"])
    alone = exceedance(fake_days(90, rng=np.random.default_rng(2), runs=1)).row(0, named=True)
    assert alone["design_effect"] == pytest.approx(1, abs=0.4)


@pytest.mark.parametrize(
    ("n", "x", "p", "statistic", "value"),
    [
        (250, 5, 0.01, 1.95681, 0.161855),
        (250, 10, 0.01, 12.955491, 0.000319),
        (250, 0, 0.01, 5.025168, 0.024982),
        (1000, 17, 0.01, 4.090973, 0.043113),
        (168, 0, 0.01, 3.376913, None),
    ],
)
def test_kupiec_vectors(n, x, p, statistic, value):
    """statistics.md 2.3."""
    got = kupiec(x, n, p).row(0)
    assert round(got[0], 6) == statistic
    assert value is None or round(got[1], 6) == value


def test_kupiec_at_the_edges_and_in_columns():
    # every hour over the limit: -2 n ln p
    assert kupiec(10, 10, 0.5).row(0)[0] == pytest.approx(-20 * math.log(0.5))
    assert kupiec(5, 10, 0.5).row(0) == (0.0, 1.0)
    assert kupiec(0, 0, 0.01).row(0) == (None, None)
    frame = pl.DataFrame({"x": [5, 10, None], "n": [250, 250, 250]})
    assert kupiec(frame["x"], frame["n"], 0.01)["statistic"].round(6).to_list() == [1.95681, 12.955491, None]
    for wrong in (0, 1, -0.5, math.nan):
        with pytest.raises(SettingsError, match="between 0 and 1"):
            kupiec(1, 2, wrong)


def test_christoffersen_vectors():
    """statistics.md 2.3: n = 250, hours 10, 11, 12, 100 and 200 over the limit."""
    exposure = pl.DataFrame({"project_id": [1], "group_id": [7], "start": [MONDAY], "end": [MONDAY + 250 * HOUR]})
    dates = [(MONDAY + nth * timedelta(days=1)).date() for nth in range(11)]
    limits = pl.DataFrame({"date": dates}).with_columns(
        project_id=pl.lit(1, dtype=pl.Int64), group_id=pl.lit(7, dtype=pl.Int64), limit=3, rule=pl.lit("new"),
        as_of=MONDAY,
    )  # fmt: skip
    crossings = pl.DataFrame(
        {"project_id": [1] * 5, "group_id": [7] * 5, "hour": [MONDAY + nth * HOUR for nth in (10, 11, 12, 100, 200)]}
    )
    pairs = transitions(exposure, limits, crossings)
    assert pairs.rows() == [(1, 7, 241, 3, 3, 2)]
    four = [pairs[name] for name in ("n00", "n01", "n10", "n11")]
    assert christoffersen(*four).select(pl.all().round(6)).row(0) == (9.894654, 0.001658)
    assert conditional_coverage(5, 250, 0.01, *four).select(pl.all().round(6)).row(0) == (11.851464, 0.002670)
    [days] = exceedance(group_days(exposure, limits, crossings.clear().with_columns(count=1), crossings)).rows()
    assert days[1:4] == (250, 5, 0.02)


def test_christoffersen_against_the_formula_in_logs_and_where_it_cannot_tell():
    n00, n01, n10, n11 = 90, 6, 5, 4
    pi, pi0, pi1 = 10 / 105, 6 / 96, 4 / 9
    logs = [(95, 1 - pi), (10, pi)], [(90, 1 - pi0), (6, pi0), (5, 1 - pi1), (4, pi1)]
    null, free = (sum(n * math.log(share) for n, share in side) for side in logs)
    assert christoffersen(n00, n01, n10, n11).row(0) == pytest.approx(
        (-2 * (null - free), chi2.sf(-2 * (null - free), 1))
    )
    for nothing in ((0, 0, 0, 0), (100, 0, 0, 0), (0, 0, 0, 50), (100, 1, 0, 0)):
        assert christoffersen(*nothing).row(0) == (None, None)
    assert christoffersen(100, 0, 1, 0).row(0)[0] == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("seed", range(8))
def test_transitions_equal_a_loop_over_hours(seed):
    result = judged(seed)
    over = set(result.crossings.select(*KEY, "hour").iter_rows())
    made = {}
    for p, g, date, limit, as_of in result.limits.select(*KEY, "date", "limit", "as_of").iter_rows():
        made.setdefault((p, g, date), []).append((as_of, limit))
    hours = {}
    for p, g, start, end in result.exposure.iter_rows():
        for nth in range((end - start) // HOUR):
            hour = start + nth * HOUR
            past = [known for known in made.get((p, g, hour.date()), []) if known[0] <= hour]
            if past and max(past)[1]:
                hours[p, g, hour] = (p, g, hour) in over
    slow = {}
    for (p, g, hour), fired in hours.items():
        pair = slow.setdefault((p, g), [0, 0, 0, 0])
        before = hours.get((p, g, hour - HOUR))
        if before is not None:
            pair[2 * before + fired] += 1
    pairs = transitions(result.exposure, result.limits, result.crossings)
    assert {row[:2]: list(row[2:]) for row in pairs.rows()} == slow
    assert pairs.height == len(slow)


def test_spans_that_touch_are_one():
    result = judged(4)
    halves = result.exposure.filter(pl.col("end") - pl.col("start") > 10 * HOUR)
    cut = pl.concat(
        [halves.with_columns(end=pl.col("start") + 7 * HOUR), halves.with_columns(start=pl.col("start") + 7 * HOUR)]
    )
    assert_frame_equal(
        transitions(cut, result.limits, result.crossings), transitions(halves, result.limits, result.crossings)
    )


def test_clustering_against_its_formula():
    rng = np.random.default_rng(8)
    tables = rng.integers(0, [200, 9, 9, 6], size=(30, 4))
    pairs = pl.DataFrame(tables, schema=["n00", "n01", "n10", "n11"], orient="row")
    followed = expected = variance = up = down = 0.0
    for a, b, c, d in tables.tolist():
        n, earlier, later = a + b + c + d, c + d, b + d
        followed += d
        expected += earlier * later / n
        variance += earlier * (n - earlier) * later * (n - later) / (n * n * (n - 1))
        up, down = up + d * a / n, down + b * c / n
    row = clustering(pairs).row(0, named=True)
    assert row["followed"] == followed
    assert row["followed_expected"] == pytest.approx(expected)
    assert row["odds_ratio"] == pytest.approx(up / down)
    assert row["statistic"] == pytest.approx((followed - expected) ** 2 / variance)
    assert row["p"] == pytest.approx(chi2.sf(row["statistic"], 1))
    nothing = clustering(pairs.clear()).row(0, named=True)
    assert (nothing["pairs"], nothing["after_crossing"], nothing["p"]) == (0, None, None)


def series_pairs(fired):
    before, after = fired[:, :-1], fired[:, 1:]
    kinds = {f"n{a}{b}": ((before == a) & (after == b)).sum(axis=1) for a in (0, 1) for b in (0, 1)}
    return pl.DataFrame(kinds)


def test_groups_of_different_shares_do_not_look_clustered():
    """Independent hours; added up as one series, Christoffersen's test is fooled, and ours is not."""
    rng = np.random.default_rng(9)
    ours, naive = [], []
    for _ in range(300):
        share = rng.choice([0.002, 0.2], size=40)
        pairs = series_pairs((rng.random((40, 300)) < share[:, None]).astype(int))
        ours.append(clustering(pairs)["p"].item())
        naive.append(christoffersen(*pairs.sum().row(0))["p"].item())
    assert np.mean(np.array(naive) < 0.05) > 0.9
    assert 0.02 < np.mean(np.array(ours) < 0.05) < 0.09
    runs = np.repeat((rng.random((40, 100)) < 0.05).astype(int), 3, axis=1)
    assert clustering(series_pairs(runs))["p"].item() < 1e-6


def slow_rao_scott(days):
    """The correction as it is written: eigenvalues of D^-1 V, V summed over groups one by one."""
    strata, groups = sorted(days["volume"].unique()), sorted(days["group_id"].unique())
    share = days["crossings"].sum() / days["hours"].sum()
    size = {s: days.filter(pl.col("volume") == s)["hours"].sum() for s in strata}
    whole = sum(size.values())
    covariance = np.zeros((len(strata), len(strata)))
    for group in groups:
        mine = days.filter(pl.col("group_id") == group)
        every = mine["crossings"].sum() - share * mine["hours"].sum()
        line = []
        for s in strata:
            part = mine.filter(pl.col("volume") == s)
            line.append(part["crossings"].sum() - share * part["hours"].sum() - every * size[s] / whole)
        covariance += np.outer(line, line) * len(groups) / (len(groups) - 1)
    expected = np.array([size[s] * share * (1 - share) for s in strata])
    surplus = [days.filter(pl.col("volume") == s)["crossings"].sum() - share * size[s] for s in strata]
    effects = np.linalg.eigvals(covariance / expected[:, None]).real
    return sum(np.square(surplus) / expected), sum(effects), sum(effects**2)


def test_homogeneity_against_a_loop_over_groups():
    rng = np.random.default_rng(10)
    days = fake_days(24, rng=rng, rules=3)
    days = days.with_columns(volume=pl.when(pl.col("rule") == 0).then(pl.lit("x")).otherwise("volume"))
    pearson, total, squares = slow_rao_scott(days)
    row = homogeneity(days, "volume").row(0, named=True)
    assert row["pearson"] == pytest.approx(pearson)
    assert row["statistic"] == pytest.approx(pearson / total)
    assert row["degrees"] == pytest.approx(total**2 / squares)
    assert row["design_effect"] == pytest.approx(total / (row["strata"] - 1))
    assert (row["strata"], row["groups"], row["smallest_groups"]) == (4, 24, 8)
    assert (row["hours"], row["crossings"]) == (days["hours"].sum(), days["crossings"].sum())


@pytest.mark.parametrize("rules", [1, 2])
def test_clustered_crossings_alone_do_not_make_strata_differ(rules):
    """1,000 data sets in which all strata are alike: the corrected p is below .05 in about 5 %, Pearson's in most."""
    rng = np.random.default_rng(11)
    by = "volume" if rules == 1 else "rule"
    tested = [homogeneity(fake_days(60, rng=rng, rules=rules, runs=8), by).row(0, named=True) for _ in range(1000)]
    assert 0.03 < np.mean([row["p"] < 0.05 for row in tested]) < 0.07
    assert np.mean([row["pearson_p"] < 0.05 for row in tested]) > 0.3


def test_strata_that_differ_are_found():
    rng = np.random.default_rng(12)
    found = [homogeneity(fake_days(150, rng=rng, excess=(0.005, 0.01, 0.03)), "volume")["p"].item() for _ in range(50)]
    assert np.mean(np.array(found) < 0.05) > 0.9


def test_homogeneity_where_nothing_can_differ():
    rng = np.random.default_rng(13)
    one = fake_days(10, rng=rng, strata=("a",))
    assert homogeneity(one, "volume").select("strata", "pearson", "p").row(0) == (1, None, None)
    never = fake_days(10, rng=rng, excess=0)
    assert homogeneity(never, "volume").select("strata", "crossings", "p").row(0) == (3, 0, None)
    nobody = homogeneity(one.clear(), "volume")
    assert nobody.select("strata", "groups", "hours", "smallest_groups", "p").row(0) == (0, 0, 0, 0, None)
    with pytest.raises(SettingsError, match="name the columns"):
        homogeneity(one, [])
    with pytest.raises(SettingsError, match="no column colour"):
        homogeneity(one, "colour")


def test_results_of_backtests_go_through():
    days = days_of(judged(2))
    row = homogeneity(days, "volume").row(0, named=True)
    assert row["hours"] == exceedance(days)["hours"].item()
    empty = days.clear()
    assert exceedance(empty).select("groups", "hours", "exceedance").row(0) == (0, 0, None)
    assert exceedance(empty, "rule").is_empty()
