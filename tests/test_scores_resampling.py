"""The cluster bootstrap against resamples made one by one, and what a bootstrap of rows would get wrong."""

import numpy as np
import polars as pl
import pytest
from tallies import random_tallies

from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY
from issue_analytics.scores import (
    HEADLINE,
    PRECISION,
    RECALL,
    Ratio,
    bootstrap,
    cluster_weights,
    number_clusters,
    ratio_intervals,
    resampling,
)

ALL = [*HEADLINE, *(ratio.macro() for ratio in HEADLINE)]
SHARE = Ratio("share", pl.col("top"), pl.col("bottom"), share=True)


def changed(rng, tallies):
    """The same groups under another setting."""
    caught = rng.binomial(tallies["events"].to_numpy(), 0.5)
    judged = tallies["alerts"] - tallies["duplicates"]
    return tallies.with_columns(events_caught=caught, false_alarms=rng.binomial(judged.to_numpy(), 0.4))


# ---- weights ---- #


def test_weights_are_counts_of_draws_with_replacement():
    weights = np.concatenate(list(cluster_weights(50, resamples=4000, seed=1)))
    assert weights.shape == (4000, 50)
    assert (weights == np.round(weights)).all()
    assert (weights.sum(axis=1) == 50).all()
    # multinomial: mean 1, variance 1 - 1/50, covariance -1/50
    assert weights.mean(axis=0) == pytest.approx(np.ones(50), abs=0.08)
    assert weights.var(axis=0).mean() == pytest.approx(0.98, abs=0.01)
    assert np.cov(weights.T)[~np.eye(50, dtype=bool)].mean() == pytest.approx(-0.02, abs=1e-3)


def test_weights_do_not_depend_on_how_many_are_made_at_a_time(monkeypatch):
    expected = np.concatenate(list(cluster_weights(37, resamples=100, seed=5)))
    again = np.concatenate(list(cluster_weights(37, resamples=100, seed=5)))
    other = np.concatenate(list(cluster_weights(37, resamples=100, seed=6)))
    monkeypatch.setattr(resampling, "_CELLS", 200)
    parts = list(cluster_weights(37, resamples=100, seed=5))
    assert [len(part) for part in parts] == [5] * 20
    assert (np.concatenate(parts) == expected).all()
    assert (again == expected).all()
    assert (other != expected).any()


def test_weights_serve_statistics_that_are_no_ratio():
    """The mean delay, weighted by row, is the ratio of sums of the bootstrap."""
    rng = np.random.default_rng(2)
    matches = pl.DataFrame({"project_id": rng.integers(0, 9, 80), "delay": rng.exponential(3, 80)})
    (weights,) = cluster_weights(9, resamples=500, seed=3)
    of_row = weights[:, number_clusters(matches, ["project_id"])]
    means = of_row @ matches["delay"].to_numpy() / of_row.sum(axis=1)
    delay = Ratio("delay", pl.col("delay"), pl.lit(1), counts=False)
    (row,) = bootstrap(
        matches, [delay], cluster=["project_id"], resamples=500, seed=3, method="percentile"
    ).rows(named=True)  # fmt: skip
    assert row["estimate"] == pytest.approx(matches["delay"].mean(), rel=1e-12)
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), rel=1e-12)


# ---- the slow twin ---- #


def slow_draws(frames, ratio, cluster, weights):
    """Estimate and linearised error of rows repeated as often as their cluster was drawn, one resample at a time."""
    keys = sorted(set().union(*(frame.select(cluster).rows() for frame in frames)))

    def sides(frame):
        rows = frame.select(*cluster, top=ratio.top, bottom=ratio.bottom).rows()
        return {
            key: (sum(r[-2] for r in rows if r[:-2] == key), sum(r[-1] for r in rows if r[:-2] == key)) for key in keys
        }

    tables = [sides(frame) for frame in frames]
    signs = [1] if len(frames) == 1 else [-1, 1]
    for row in weights:
        drawn = [key for key, times in zip(keys, row) for _ in range(int(times))]
        adds = np.zeros(len(drawn))
        estimate = 0.0
        for sign, table in zip(signs, tables):
            top, bottom = (np.array([table[key][side] for key in drawn], dtype=float) for side in (0, 1))
            if not bottom.sum():
                estimate = np.nan
                continue
            share = top.sum() / bottom.sum()
            estimate += sign * share
            adds += sign * (top - share * bottom) / bottom.sum()
        yield estimate, np.sqrt((adds**2).sum())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("compared", [False, True])
@pytest.mark.parametrize("method", ["t", "percentile", "wider", None])
def test_bootstrap_equals_resamples_made_one_by_one(seed, compared, method):
    rng = np.random.default_rng(seed)
    tallies = random_tallies(rng, 25, projects=7)
    frames = [tallies, changed(rng, tallies).head(20)] if compared else [tallies]
    cluster = list(KEY) if seed % 2 else ["project_id"]
    confidence = 0.95 if seed % 3 else 0.8
    other = frames[1] if compared else None
    found = bootstrap(
        tallies, ALL, other=other, cluster=cluster, resamples=199, confidence=confidence, seed=seed, method=method
    )
    clusters = tallies.select(cluster).n_unique()
    weights = np.concatenate(list(cluster_weights(clusters, resamples=199, seed=seed)))
    for ratio, row in zip(ALL, found.rows(named=True), strict=True):
        ((estimate, error),) = slow_draws(frames, ratio, cluster, np.ones((1, clusters)))
        drawn = np.array(list(slow_draws(frames, ratio, cluster, weights)))
        drawn = drawn[~np.isnan(drawn[:, 0])]
        assert row["estimate"] == pytest.approx(estimate * ratio.scale, rel=1e-9)
        assert row["resamples"] == len(drawn)
        with np.errstate(divide="ignore", invalid="ignore"):
            far = (drawn[:, 0] - estimate) / drawn[:, 1]
        upper, lower = np.quantile(far, [(1 + confidence) / 2, (1 - confidence) / 2], method="nearest")
        studentised = estimate - upper * error, estimate - lower * error
        percentiles = np.quantile(drawn[:, 0], [(1 - confidence) / 2, (1 + confidence) / 2])
        wider = min(studentised[0], percentiles[0]), max(studentised[1], percentiles[1])
        low, high = {"t": studentised, "percentile": percentiles, "wider": wider}[
            method or ("wider" if compared else "t")
        ]
        highest = 1.0 if ratio.share else np.inf
        low, high = np.clip([low, high], -highest if compared else 0.0, highest)
        assert row["low"] == pytest.approx(low * ratio.scale, rel=1e-6, abs=1e-9)
        assert row["high"] == pytest.approx(high * ratio.scale, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("compared", [False, True])
def test_clusters_and_blocks_equal_cells_weighed_one_by_one(compared, monkeypatch):
    rng = np.random.default_rng(4)
    weeks = [random_tallies(np.random.default_rng(seed), 12).with_columns(week=pl.lit(seed)) for seed in range(5)]
    tallies = pl.concat(weeks).sample(fraction=0.8, seed=1)
    other = changed(rng, tallies) if compared else None
    cluster = ["group_id"]
    found = bootstrap(tallies, HEADLINE, other=other, cluster=cluster, block="week", resamples=99, seed=8)
    of_cluster = np.concatenate(list(cluster_weights(12, resamples=99, seed=8)))
    of_block = np.concatenate(list(cluster_weights(5, resamples=99, seed=(8, 1))))
    for ratio, row in zip(HEADLINE, found.rows(named=True), strict=True):
        drawn = np.zeros(99)
        for sign, frame in zip([-1, 1] if compared else [1], [tallies, other] if compared else [tallies]):
            group, week = number_clusters(frame, cluster), frame["week"].to_numpy()
            top, bottom = (frame.select(side).to_series().to_numpy() for side in (ratio.top, ratio.bottom))
            for at in range(99):
                weight = of_cluster[at][group] * of_block[at][week]
                drawn[at] += sign * ratio.scale * (weight @ top) / (weight @ bottom)
        assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), rel=1e-9)
    monkeypatch.setattr(resampling, "_CELLS", 500)
    again = bootstrap(tallies, HEADLINE, other=other, cluster=cluster, block="week", resamples=99, seed=8)
    numbers = [pl.col("estimate", "low", "high").round(12)]
    assert again.with_columns(numbers).equals(found.with_columns(numbers))


# ---- what would be wrong ---- #


@pytest.mark.parametrize("method", ["t", "percentile"])
def test_rows_of_a_cluster_are_drawn_together(method):
    """Each group's tally ten times over says nothing new. A bootstrap of rows would be sqrt(10) times narrower."""
    rng = np.random.default_rng(9)
    bottom = rng.poisson(3, 60)
    groups = pl.DataFrame({"group_id": range(60), "top": rng.binomial(bottom, rng.beta(1, 1, 60)), "bottom": bottom})
    (once,) = bootstrap(groups, [SHARE], cluster=["group_id"], method=method).rows(named=True)
    rows = pl.concat([groups.with_columns(row=pl.lit(row)) for row in range(10)])
    (tenfold,) = bootstrap(rows, [SHARE], cluster=["group_id"], method=method).rows(named=True)
    (by_row,) = bootstrap(rows, [SHARE], cluster=["group_id", "row"], method=method).rows(named=True)
    assert (tenfold["low"], tenfold["high"]) == pytest.approx((once["low"], once["high"]), rel=1e-9)
    ratio = (once["high"] - once["low"]) / (by_row["high"] - by_row["low"])
    assert ratio == pytest.approx(np.sqrt(10), rel=0.1)


def test_settings_are_compared_on_the_same_draws():
    """Two settings that agree on what is hard: their difference is surer than each, and certain if they are one."""
    rng = np.random.default_rng(10)
    bottom = rng.poisson(5, 80) + 1
    easy = rng.beta(0.5, 0.5, 80)
    tallies = pl.DataFrame({"group_id": range(80), "top": rng.binomial(bottom, easy), "bottom": bottom})
    better = tallies.with_columns(top=pl.min_horizontal(pl.col("top") + rng.binomial(1, 0.3, 80), "bottom"))
    (alone,) = bootstrap(tallies, [SHARE], cluster=["group_id"]).rows(named=True)
    (difference,) = bootstrap(tallies, [SHARE], other=better, cluster=["group_id"]).rows(named=True)
    assert difference["low"] > 0
    assert difference["high"] - difference["low"] < 0.5 * (alone["high"] - alone["low"])
    (back,) = bootstrap(better, [SHARE], other=tallies, cluster=["group_id"]).rows(named=True)
    assert back["estimate"] == -difference["estimate"]
    (none,) = bootstrap(tallies, [SHARE], other=tallies, cluster=["group_id"]).rows(named=True)
    assert (none["estimate"], none["low"], none["high"], none["note"]) == (0.0, None, None, "no variation")


@pytest.mark.parametrize(
    ("gained", "lost", "least"),
    [(3, 3, 0.93), (10, 0, 0.93), (4, 0, 0.93)],
    ids=["as many gained as lost", "ten gained", "four gained"],
)
def test_a_difference_that_few_groups_make_is_covered(gained, lost, least):
    """Studentised alone it is in 90 % of the first, percentiles alone in 87 % of the last."""
    rng = np.random.default_rng(7)
    held = known = 0
    for seed in range(200):
        kind = rng.random(200)
        won, gone = kind < gained / 200, (kind >= gained / 200) & (kind < (gained + lost) / 200)
        before = np.where(gone, 1, np.where(won, 0, rng.integers(0, 2, 200)))
        after = np.where(won, 1, np.where(gone, 0, before))
        first, second = (pl.DataFrame({"group_id": range(200), "top": top, "bottom": 1}) for top in (before, after))
        (row,) = bootstrap(
            first, [SHARE], other=second, cluster=["group_id"], resamples=499, seed=seed
        ).rows(named=True)  # fmt: skip
        if row["low"] is not None:
            known += 1
            held += row["low"] <= (gained - lost) / 200 <= row["high"]
    assert known > 190
    assert held >= least * known


def test_a_group_that_one_setting_does_not_have_counted_nothing_there():
    tallies = pl.DataFrame({"group_id": [1, 2, 3], "top": [1, 2, 0], "bottom": [4, 4, 0]})
    fuller = bootstrap(tallies, [SHARE], other=tallies.reverse(), cluster=["group_id"])
    sparser = bootstrap(tallies, [SHARE], other=tallies.head(2), cluster=["group_id"])
    assert sparser.equals(fuller)
    assert sparser["clusters"].to_list() == [2]


def test_shared_weeks_make_the_interval_wider():
    rng = np.random.default_rng(3)
    bad = rng.gamma(1, 1, 20)
    cells = pl.DataFrame(
        {"group_id": np.repeat(np.arange(60), 20), "week": np.tile(np.arange(20), 60), "top": 0, "bottom": 1}
    ).with_columns(top=pl.Series(rng.poisson(np.tile(bad, 60))))
    rate = Ratio("rate", pl.col("top"), pl.col("bottom"))
    (groups,) = bootstrap(cells, [rate], cluster=["group_id"]).rows(named=True)
    (both,) = bootstrap(cells, [rate], cluster=["group_id"], block="week").rows(named=True)
    assert both["high"] - both["low"] > 5 * (groups["high"] - groups["low"])
    assert both["note"] is None
    (few,) = bootstrap(cells.filter(pl.col("week") < 9), [rate], cluster=["group_id"], block="week").rows(named=True)
    assert few["note"] == "too few blocks"


# ---- the rest ---- #


def test_the_formula_and_the_bootstrap_agree_where_there_is_much():
    tallies = random_tallies(np.random.default_rng(6), 2000)
    ratios = ALL[:-1]  # the mean of rates of very short exposures has a tail too long for any agreement
    formulas = ratio_intervals(tallies, ratios).rows(named=True)
    for formula, drawn in zip(formulas, bootstrap(tallies, ratios).rows(named=True)):
        width = formula["high"] - formula["low"]
        assert drawn["low"] == pytest.approx(formula["low"], abs=0.15 * width)
        assert drawn["high"] == pytest.approx(formula["high"], abs=0.15 * width)


@pytest.mark.parametrize("block", [None, "project_id"])
def test_the_same_seed_gives_the_same_answer_in_any_order_of_rows(block):
    tallies = random_tallies(np.random.default_rng(7))
    expected = bootstrap(tallies, HEADLINE, cluster=["group_id"], block=block, resamples=300, seed=4)
    shuffled = tallies.sample(fraction=1, shuffle=True, seed=1)
    assert bootstrap(shuffled, HEADLINE, cluster=["group_id"], block=block, resamples=300, seed=4).equals(expected)
    others = bootstrap(tallies, HEADLINE, cluster=["group_id"], block=block, resamples=300, seed=5)
    assert not others.equals(expected)
    one = bootstrap(tallies, [PRECISION], cluster=["group_id"], block=block, resamples=300, seed=4)
    numbers = pl.col("estimate", "low", "high").round(9)
    assert one.with_columns(numbers).equals(expected.head(1).with_columns(numbers))


@pytest.mark.parametrize("method", ["t", "percentile"])
@pytest.mark.parametrize(
    ("top", "bottom", "estimate", "note"),
    [
        ([], [], None, "nothing to judge"),
        ([0, 0], [0, 0], None, "nothing to judge"),
        ([1], [2], 0.5, "one cluster"),
        ([1, 0], [2, 0], 0.5, "one cluster"),
        ([0] * 40, [3] * 40, 0.0, "no variation"),
        ([3] * 40, [3] * 40, 1.0, "no variation"),
        ([1] * 40, [3] * 40, 1 / 3, "no variation"),
    ],
)
def test_there_is_no_interval_of_width_zero(method, top, bottom, estimate, note):
    schema = {"group_id": pl.Int64, "top": pl.Int64, "bottom": pl.Int64}
    tallies = pl.DataFrame({"group_id": range(len(top)), "top": top, "bottom": bottom}, schema=schema)
    (row,) = bootstrap(tallies, [SHARE], cluster=["group_id"], resamples=200, method=method).rows(named=True)
    assert row["estimate"] == (None if estimate is None else pytest.approx(estimate))
    assert (row["low"], row["high"], row["note"]) == (None, None, note)


def test_few_clusters_and_undefined_resamples_are_said():
    tallies = pl.DataFrame({"group_id": range(5), "top": [1, 2, 0, 0, 0], "bottom": [2, 3, 0, 0, 0]})
    (row,) = bootstrap(tallies, [SHARE], cluster=["group_id"], method="percentile").rows(named=True)
    assert row["note"] == "too few clusters"
    assert row["clusters"] == 2
    # none of the two was drawn in (3/5)^5 of resamples
    assert row["resamples"] == pytest.approx(2000 * (1 - 0.6**5), abs=50)


def test_mistakes_are_said():
    tallies = random_tallies(np.random.default_rng(1))
    with pytest.raises(SettingsError, match="confidence"):
        bootstrap(tallies, HEADLINE, confidence=95)
    with pytest.raises(SettingsError, match="at least one"):
        bootstrap(tallies, HEADLINE, resamples=0)
    with pytest.raises(SettingsError, match=r'recall.*"events"'):
        bootstrap(tallies.drop("events"), HEADLINE)
    with pytest.raises(SettingsError, match="team"):
        bootstrap(tallies, HEADLINE, cluster=["team"])
    with pytest.raises(SettingsError, match="week"):
        bootstrap(tallies, HEADLINE, block="week")
    with pytest.raises(SettingsError, match="clusters and blocks"):
        bootstrap(tallies, HEADLINE, block="project_id", method="t")
    with pytest.raises(SettingsError, match="none of 't', 'percentile', 'wider'"):
        bootstrap(tallies, HEADLINE, method="BCa")
    with pytest.raises(SettingsError, match="twice"):
        bootstrap(tallies, [RECALL, RECALL])
    with pytest.raises(SettingsError, match="at least one"):
        cluster_weights(0)
