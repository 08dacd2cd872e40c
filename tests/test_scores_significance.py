"""Tests of differences: published vectors, every swap tried by hand, and no finds where there is nothing."""

from itertools import product

import numpy as np
import polars as pl
import pytest
from scipy import stats
from tallies import random_tallies

from issue_analytics.errors import SettingsError
from issue_analytics.scores import (
    HEADLINE,
    RECALL,
    Ratio,
    benjamini_hochberg,
    holm,
    mcnemar,
    significance,
    swap_test,
)

P = (0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205)
SHARE = Ratio("share", pl.col("top"), pl.col("bottom"), share=True)


# ---- McNemar ---- #


def test_mcnemar_of_statistics_2_4():
    assert float(mcnemar(3, 12)) == pytest.approx(0.03515625, abs=1e-12)


def test_mcnemar_is_the_binomial_test_of_the_discordant():
    first, second = (np.array(side) for side in zip(*product(range(12), range(12))))
    both = [1.0 if a + b == 0 else stats.binomtest(int(a), int(a + b)).pvalue for a, b in zip(first, second)]
    assert mcnemar(first, second) == pytest.approx(np.array(both), abs=1e-12)
    assert float(mcnemar(0, 0)) == 1
    assert float(mcnemar(5, 5)) == 1
    assert float(mcnemar(0, 2000)) < 1e-300
    with pytest.raises(SettingsError, match="below 0"):
        mcnemar(-1, 3)


# ---- many tests ---- #


def test_holm_and_benjamini_hochberg_of_statistics_2_5():
    assert benjamini_hochberg(P).round(6).tolist() == [0.008, 0.032, 0.0672, 0.0672, 0.0672, 0.08, 0.084571, 0.205]
    assert holm(P).round(6).tolist() == [0.008, 0.056, 0.234, 0.234, 0.234, 0.234, 0.234, 0.234]


def slow_adjusted(p):
    """By definition: the smallest level at which the step-down and the step-up procedure reject."""
    order = sorted(range(len(p)), key=lambda at: p[at])
    down, up = [0.0] * len(p), [0.0] * len(p)
    for rank, at in enumerate(order):
        down[at] = min(1.0, max((len(p) - earlier) * p[order[earlier]] for earlier in range(rank + 1)))
        up[at] = min(1.0, min(len(p) / (later + 1) * p[order[later]] for later in range(rank, len(p))))
    return down, up


@pytest.mark.parametrize("seed", range(8))
def test_adjusted_p_equal_the_slow_ones_in_any_order(seed):
    rng = np.random.default_rng(seed)
    p = rng.choice([0.0, 1.0, 0.04, *rng.random(5)], rng.integers(1, 12)).tolist()
    down, up = slow_adjusted(p)
    assert holm(p) == pytest.approx(down, abs=1e-15)
    assert benjamini_hochberg(p) == pytest.approx(up, abs=1e-15)


def test_adjusting_nothing_and_what_is_no_p():
    for adjust in (holm, benjamini_hochberg):
        assert adjust([]).tolist() == []
        for wrong in ([0.5, float("nan")], [1.1], [-0.1], 0.5):
            with pytest.raises(SettingsError, match="between 0 and 1"):
                adjust(wrong)


# ---- swaps ---- #


def pair(rng, clusters, *, better=0.0):
    bottom = rng.poisson(3, clusters)
    own = rng.beta(1, 1, clusters)
    shift = rng.binomial(1, better, clusters) if better else 0
    return [
        pl.DataFrame(
            {
                "group_id": range(clusters),
                "top": np.minimum(rng.binomial(bottom, own) + each * shift, bottom),
                "bottom": bottom + each * rng.binomial(1, 0.0, clusters),
            }
        )
        for each in (0, 1)
    ]


def every_swap(first, second):
    """Differences of the share and of the total of tops, of every way to swap the tallies of clusters."""
    a, b = (frame.select("top", "bottom").to_numpy().astype(float) for frame in (first, second))
    for swap in product([False, True], repeat=len(a)):
        one = np.where(np.array(swap)[:, None], b, a).sum(axis=0)
        other = np.where(np.array(swap)[:, None], a, b).sum(axis=0)
        share = np.nan if not one[1] or not other[1] else other[0] / other[1] - one[0] / one[1]
        yield share, other[0] - one[0]


@pytest.mark.parametrize("seed", range(8))
def test_few_clusters_are_swapped_in_every_way(seed):
    rng = np.random.default_rng(seed)
    first, second = pair(rng, 8)
    second = second.with_columns(bottom=pl.col("bottom") + rng.binomial(1, 0.4, 8))
    found = swap_test(first, second, [SHARE, "top"], cluster=["group_id"])
    swaps = np.array(list(every_swap(first, second)))
    for at, row in enumerate(found.rows(named=True)):
        difference = swaps[0, at]
        as_far = ~(np.abs(swaps[:, at]) < abs(difference) - 1e-9)
        assert row["difference"] == pytest.approx(difference, abs=1e-12)
        assert row["exact"]
        assert row["p"] == pytest.approx(as_far.mean(), abs=1e-12)
        assert row["swaps"] == 2 ** row["clusters"]
    differ = (first["top"] != second["top"]) | (first["bottom"] != second["bottom"])
    assert found["clusters"].to_list() == [differ.sum(), (first["top"] != second["top"]).sum()]


def test_drawn_swaps_come_near_to_all_and_are_never_0():
    first, second = pair(np.random.default_rng(3), 14, better=0.5)
    exact = swap_test(first, second, [SHARE, "top"], cluster=["group_id"], swaps=20_000)
    drawn = swap_test(first, second, [SHARE, "top"], cluster=["group_id"], swaps=200)
    assert exact["exact"].all()
    assert not drawn["exact"].any()
    assert drawn["swaps"].to_list() == [200, 200]
    assert drawn["p"].to_numpy() == pytest.approx(exact["p"].to_numpy(), abs=0.08)
    sure = pl.DataFrame({"group_id": range(200), "top": 0, "bottom": 1})
    (row,) = swap_test(sure, sure.with_columns(top=1), [SHARE], cluster=["group_id"], swaps=99).rows(named=True)
    assert row["p"] == 1 / 100
    assert row["difference"] == 1


@pytest.mark.parametrize(("swaps", "exact"), [(63, False), (64, True), (65, True)])
def test_all_swaps_are_tried_if_they_are_no_more_than_asked_for(swaps, exact):
    tallies = pl.DataFrame({"group_id": range(6), "top": [3, 1, 4, 1, 5, 2]})
    (row,) = swap_test(tallies, tallies.with_columns(top=0), ["top"], cluster=["group_id"], swaps=swaps).rows(
        named=True
    )
    assert (row["swaps"], row["exact"]) == (64 if exact else swaps, exact)


def test_drawn_swaps_equal_swaps_made_one_by_one(monkeypatch):
    rng = np.random.default_rng(6)
    first, second = pair(rng, 40, better=0.2)
    found = swap_test(first, second, [SHARE], cluster=["group_id"], swaps=300, seed=9)
    a, b = (frame.select("top", "bottom").to_numpy().astype(float) for frame in (first, second))
    chosen = np.random.default_rng(9).integers(0, 2, size=(300, 40), dtype=np.int32)
    hits = 0
    for row in chosen[:, :, None] == 1:
        one, other = np.where(row, b, a).sum(axis=0), np.where(row, a, b).sum(axis=0)
        hits += abs(other[0] / other[1] - one[0] / one[1]) >= abs(found["difference"][0]) - 1e-9
    assert found["p"][0] == pytest.approx((1 + hits) / 301, abs=1e-12)
    monkeypatch.setattr(significance, "_CELLS", 400)
    assert swap_test(first, second, [SHARE], cluster=["group_id"], swaps=300, seed=9).equals(found)


@pytest.mark.parametrize("clusters", [9, 60])
def test_p_is_uniform_where_settings_do_not_differ(clusters):
    """Counts that hardly tie, so that p can take many values: p <= a in a share a of data sets."""
    rng = np.random.default_rng(clusters)
    keys = {"group_id": range(clusters), "bottom": 1}
    p = []
    for _ in range(600):
        level = rng.gamma(1, 500, clusters)
        frames = [pl.DataFrame(keys | {"top": rng.poisson(level * rng.gamma(5, 1 / 5, clusters))}) for _ in range(2)]
        found = swap_test(
            *frames, ["top", Ratio("rate", pl.col("top"), pl.col("bottom"))], cluster=["group_id"], swaps=511
        )
        p.append(found["p"].to_list())
    for each in np.array(p).T:
        for level in (0.05, 0.2, 0.5, 0.8):
            error = np.sqrt(level * (1 - level) / 600)
            assert (each <= level).mean() == pytest.approx(level, abs=3.3 * error + 1 / 256)


def test_a_planted_difference_is_found():
    first, second = pair(np.random.default_rng(5), 80, better=0.5)
    (row,) = swap_test(first, second, [SHARE], cluster=["group_id"]).rows(named=True)
    assert row["difference"] > 0
    assert row["p"] < 0.01


def test_rows_of_a_cluster_are_swapped_together():
    """The same tallies ten times over are no more evidence; rows swapped one by one would make them so."""
    first, second = pair(np.random.default_rng(8), 10, better=0.3)
    tenfold = [pl.concat([frame.with_columns(row=pl.lit(row)) for row in range(10)]) for frame in (first, second)]
    (once,) = swap_test(first, second, [SHARE], cluster=["group_id"]).rows(named=True)
    (many,) = swap_test(*tenfold, [SHARE], cluster=["group_id"]).rows(named=True)
    (by_row,) = swap_test(*tenfold, [SHARE], cluster=["group_id", "row"]).rows(named=True)
    assert (many["p"], many["clusters"]) == (once["p"], once["clusters"])
    assert by_row["p"] < 0.2 * once["p"]


def test_swaps_work_both_ways_in_any_order_of_rows():
    rng = np.random.default_rng(2)
    tallies = random_tallies(rng)
    other = tallies.with_columns(events_caught=rng.binomial(tallies["events"].to_numpy(), 0.5))
    there = swap_test(tallies, other, HEADLINE, seed=1)
    back = swap_test(other, tallies, HEADLINE, seed=1)
    assert back["p"].equals(there["p"])
    assert back["difference"].to_list() == (-there["difference"]).to_list()
    shuffled = other.sample(fraction=1, shuffle=True, seed=4)
    assert swap_test(tallies, shuffled, HEADLINE, seed=1).equals(there)
    # precision and false alarms are the same in both
    assert there["p"].to_list()[::2] == [1.0, 1.0]
    assert there["clusters"].to_list()[::2] == [0, 0]
    alone = swap_test(tallies, other, [RECALL], seed=1)
    assert alone.equals(there[1])


def test_what_is_not_defined_is_null_and_what_is_missing_counts_nothing():
    first = pl.DataFrame({"group_id": [1, 2], "top": [0, 0], "bottom": [0, 0]})
    second = pl.DataFrame({"group_id": [2, 3], "top": [1, 1], "bottom": [1, 2]})
    found = swap_test(first, second, [SHARE, "top"], cluster=["group_id"])
    assert found.rows() == [("share", None, None, 2, 4, True), ("top", 2.0, 0.5, 2, 4, True)]
    empty = swap_test(first.clear(), second.clear(), [SHARE, "top"], cluster=["group_id"])
    assert empty.rows() == [("share", None, None, 0, 1, True), ("top", 0.0, 1.0, 0, 1, True)]
    # of the four swaps two leave the first without a bottom: they are hits
    apart = [pl.DataFrame({"group_id": [1, 2], "top": [each, 1], "bottom": [1, 1 - each]}) for each in (0, 1)]
    apart = [
        frame.with_columns(pl.when(pl.col("bottom") == 0).then(0).otherwise("top").alias("top")) for frame in apart
    ]
    found = swap_test(*apart, [SHARE], cluster=["group_id"])
    assert found["p"][0] == (~(np.abs([s for s, _ in every_swap(*apart)]) < found["difference"].abs()[0] - 1e-9)).mean()


def test_mistakes_are_said():
    tallies = random_tallies(np.random.default_rng(1))
    with pytest.raises(SettingsError, match="at least one"):
        swap_test(tallies, tallies, HEADLINE, swaps=0)
    for wrong in (-1, 2.5, float("nan")):
        with pytest.raises(SettingsError, match="no whole number"):
            mcnemar([3, wrong], 12)
    with pytest.raises(SettingsError, match="team"):
        swap_test(tallies, tallies, HEADLINE, cluster=["team"])
    with pytest.raises(SettingsError, match="no column noise"):
        swap_test(tallies, tallies, ["noise"])
    with pytest.raises(SettingsError, match="twice"):
        swap_test(tallies, tallies, ["events", "events"])
