"""Thresholds by segment: against all combinations, slow loops, and planted truths."""

from itertools import product

import numpy as np
import polars as pl
import pytest
from searches import FIRST, random_search, tallies_of
from test_tuning_choosing import repeated

from issue_analytics.errors import SettingsError
from issue_analytics.scores import cluster_weights
from issue_analytics.thresholds import ThresholdVariables
from issue_analytics.tuning.family import simplicity
from issue_analytics.tuning.objective import Objective
from issue_analytics.tuning.segments import segment_thresholds
from issue_analytics.tuning.settings import as_settings

SHARED = [Objective(alerts_per_series_week=0.2), Objective(min_recall=0.5), Objective(cost_ratio=1.5)]


def groups_of(tallies, segments):
    return tallies.clusters.with_columns(volume=pl.Series(segments, dtype=pl.String))


def combined(tallies, settings, segments, choice):
    """Alerts, false alarms and catches where every segment has a setting of its own (number by segment)."""
    at = np.array([choice[segment] for segment in segments])
    every = np.arange(len(segments))
    return [side[at, every].sum() for side in (tallies.alerts, tallies.false_alarms, tallies.events_caught)]


def order(objective, tallies, alerts, false, caught):
    """Larger is better."""
    if objective.cost_ratio is not None:
        return 0.0, -(false + objective.cost_ratio * (tallies.events.sum() - caught))
    if objective.min_recall is not None:
        return min(0.0, round(caught - objective.min_recall * tallies.events.sum(), 9)), -false
    return min(0.0, round(objective.alerts_per_series_week * tallies.exposed_hours.sum() / 168 - alerts, 9)), caught


@pytest.mark.parametrize("objective", SHARED, ids=lambda objective: objective.name)
def test_segments_keep_one_bound_together_and_come_near_the_best_of_all_combinations(objective):
    behind, gained = [], []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        settings, tallies = random_search(rng, settings=14, clusters=45)
        segments = rng.choice(["a", "b", "c"], 45)
        found = segment_thresholds(
            tallies, settings, objective, groups_of(tallies, segments), "volume", errors=0, resamples=1, min_events=3
        )
        numbers = {name: settings.index(setting) for name, setting in found.thresholds().items()}
        ours = order(objective, tallies, *combined(tallies, settings, segments, numbers))
        common = settings.index(found.common)
        one = order(objective, tallies, *combined(tallies, settings, segments, dict.fromkeys("abc", common)))
        best = max(
            order(objective, tallies, *combined(tallies, settings, segments, dict(zip("abc", choice))))
            for choice in product(range(14), repeat=3)
        )
        assert one <= ours <= best
        behind.append(best[1] - ours[1])
        gained.append(best[1] - one[1])
    # a price for all finds most of what trying every combination would
    assert sum(gained) > 0
    assert sum(behind) <= (0 if objective.cost_ratio else 0.2 * sum(gained))


@pytest.mark.parametrize("objective", SHARED[:2], ids=lambda objective: objective.name)
def test_segments_drawn_to_the_common_setting_still_keep_the_bound(objective):
    """Some spend less where they stay behind, others more than was left for them."""
    left = 0
    for seed in range(70):
        rng = np.random.default_rng(seed)
        settings, tallies = random_search(rng, settings=14, clusters=45)
        segments = rng.choice(["a", "b", "c"], 45)
        groups = groups_of(tallies, segments)
        found = segment_thresholds(
            tallies, settings, objective, groups, "volume", errors=0.7, resamples=1, min_events=3
        )
        numbers = {name: settings.index(setting) for name, setting in found.thresholds().items()}
        one = dict.fromkeys("abc", settings.index(found.common))
        ours, common = (order(objective, tallies, *combined(tallies, settings, segments, c)) for c in (numbers, one))
        assert ours[0] >= common[0]
        left += found.thresholds() != dict.fromkeys("abc", found.common)
    assert left > 10


@pytest.mark.parametrize("seed", range(4))
def test_one_budget_for_all_catches_no_less_than_the_same_for_each(seed):
    rng = np.random.default_rng(seed)
    settings, tallies = random_search(rng, settings=20, clusters=80)
    segments = np.where(np.arange(80) < 40, "busy", "quiet")
    # escalations in one half, false alarms in the other
    quiet = segments == "quiet"
    tallies = tallies_of(
        np.where(quiet, 0, tallies.events + 1), np.where(quiet, 0, tallies.events_caught),
        np.where(quiet, tallies.false_alarms, 0),
    )  # fmt: skip
    budget = Objective(alerts_per_series_week=0.05)
    found = segment_thresholds(
        tallies, settings, budget, groups_of(tallies, segments), "volume", errors=0, resamples=1, min_events=0 + 1
    )
    each = sum(
        max(
            (int(tallies.events_caught[at, part].sum()) for at in range(20)
             if tallies.alerts[at, part].sum() <= 0.05 * tallies.exposed_hours[part].sum() / 168),
            default=0,
        )
        for part in (quiet, ~quiet)
    )  # fmt: skip
    assert found.segments["events_caught"].sum() >= each


def slow_segments(tallies, settings, objective, segments, errors):
    """With a price for all there is nothing to share: each segment by itself, then back towards the common setting."""
    price = 1 / objective.cost_ratio

    def drawn_to(reference, part):
        each = tallies.events_caught[:, part] - price * tallies.false_alarms[:, part]
        net = each.sum(axis=1)
        best = int(np.argmax(np.round(net, 9)))
        gains = each[best] - each[reference]
        error = np.sqrt(len(gains) / (len(gains) - 1) * ((gains - gains.mean()) ** 2).sum())
        if net[best] - net[reference] <= errors * error + 1e-9:
            return reference
        within = [at for at in range(len(settings)) if net[at] >= net[best] - errors * error - 1e-9]

        def far(at):
            ours, theirs = (list(settings[one].to_dict().values()) for one in (at, reference))
            logs = [abs(np.log(max(a, 0.01) / max(b, 0.01))) for a, b in zip(ours, theirs)]
            return sum(a != b for a, b in zip(ours, theirs)), round(sum(logs), 9), at

        return min(within, key=far)

    misses = (tallies.events - tallies.events_caught).sum(axis=1)
    cost = tallies.false_alarms.sum(axis=1) + objective.cost_ratio * misses
    changed, distance = simplicity(as_settings(settings))
    common = min(
        range(len(settings)),
        key=lambda at: (round(cost[at], 9), tallies.false_alarms[at].sum(), changed[at], distance[at], at),
    )
    return settings[common], {name: settings[drawn_to(common, segments == name)] for name in sorted(set(segments))}


@pytest.mark.parametrize("seed", range(10))
def test_shrinkage_and_correction_equal_a_slow_loop(seed):
    rng = np.random.default_rng(seed)
    settings, tallies = random_search(rng, settings=12, clusters=60)
    # without settings that do the same, whose numbers the slow loop does not know
    _, first = np.unique(np.concatenate([tallies.alerts, tallies.events_caught], axis=1), axis=0, return_index=True)
    first = np.array(sorted({*first.tolist(), settings.index(FIRST)}))
    settings, tallies = [settings[at] for at in first], tallies.of_settings(first)
    segments = rng.choice(["a", "b"], 60)
    objective, errors = Objective(cost_ratio=1.7), [0.0, 0.5, 1.0][seed % 3]
    found = segment_thresholds(
        tallies, settings, objective, groups_of(tallies, segments), "volume", errors=errors, resamples=40, seed=seed,
        min_events=5,
    )  # fmt: skip
    common, chosen = slow_segments(tallies, settings, objective, segments, errors)
    assert found.common == common
    if errors:  # ties of the arg-best are taken by another order than the slow loop's
        assert {name: _sums(tallies, settings, segments == name, setting) for name, setting in chosen.items()} == {
            name: _sums(tallies, settings, segments == name, setting) for name, setting in found.thresholds().items()
        }
    sums = np.zeros((2, 2))
    for each in next(cluster_weights(60, resamples=40, seed=seed)):
        which = np.repeat(np.arange(60), each.astype(int))
        common, chosen = slow_segments(repeated(tallies, each), settings, objective, segments[which], errors)
        out = each == 0
        for name in ("a", "b"):
            part = out & (segments == name)
            for row, setting in enumerate((common, chosen.get(name, common))):
                _, false, caught = _sums(tallies, settings, part, setting)
                sums[row] += false + 1.7 * (tallies.events[part].sum() - caught), tallies.exposed_hours[part].sum()
    cost = found.differences.row(by_predicate=pl.col("score") == "cost_per_series_week", named=True)
    slow = 168 * (sums[1, 0] / sums[1, 1] - sums[0, 0] / sums[0, 1])
    assert cost["corrected"] == pytest.approx(slow, abs=2e-3 * abs(sums[0, 0] / sums[0, 1] * 168) + 1e-12)


def _sums(tallies, settings, part, setting):
    at = settings.index(setting)
    return tuple(int(side[at, part].sum()) for side in (tallies.alerts, tallies.false_alarms, tallies.events_caught))


def response(rng, events_at, false_at, *, groups=300, grid=12):
    """Groups of two kinds: their escalations and false alarms stand so high that settings up to a level see them."""
    levels = np.linspace(1, 4, grid)
    kind = rng.integers(0, 2, groups)
    events = rng.poisson(1.0, groups)
    caught, false = (np.zeros((grid, groups), dtype=int) for _ in range(2))
    for group in range(groups):
        heights = np.exp(rng.normal(np.log(events_at[kind[group]]), 0.3, events[group]))
        caught[:, group] = (heights >= levels[:, None]).sum(axis=1)
        heights = 1 + rng.exponential(false_at[kind[group]], rng.poisson(2))
        false[:, group] = (heights >= levels[:, None]).sum(axis=1)
    settings = [ThresholdVariables(min_bursty_multiplier=float(level)) for level in levels]
    settings[int(np.argmin(np.abs(levels - 2)))] = FIRST
    return settings, tallies_of(events, caught, false), np.where(kind == 0, "low", "high")


@pytest.mark.parametrize("objective", [Objective(alerts_per_series_week=0.12), Objective(cost_ratio=2)], ids=str)
def test_a_split_pays_where_segments_differ_and_not_where_they_are_alike(objective):
    verdicts = {}
    for name, (events_at, false_at) in {"alike": ((2, 2), (0.6, 0.6)), "differ": ((1.4, 3), (0.1, 1.5))}.items():
        verdicts[name] = []
        for seed in range(12):
            settings, tallies, segments = response(np.random.default_rng(seed), events_at, false_at)
            found = segment_thresholds(
                tallies, settings, objective, groups_of(tallies, segments), "volume", resamples=150, seed=seed
            )
            verdicts[name].append(found.pays)
    assert sum(verdicts["alike"]) <= 1
    assert sum(verdicts["differ"]) >= 10
    assert "does not" not in repr(found)
    assert found.segments["left"].max() > 0.8
    assert found.thresholds()["high"].min_bursty_multiplier > found.thresholds()["low"].min_bursty_multiplier


def test_a_split_that_leaves_the_common_setting_nowhere_does_not_pay():
    """On draws a segment may leave it and gain; what was chosen does what the one setting for all does."""
    rng = np.random.default_rng(6)
    settings, tallies = random_search(rng, settings=8, clusters=60)
    groups = groups_of(tallies, rng.choice(["a", "b"], 60))
    found = segment_thresholds(tallies, settings, Objective(cost_ratio=4), groups, "volume", resamples=60, min_events=3)
    assert found.differences.filter(score="net_recall")["corrected_low"].item() > 0
    assert found.segments["changed"].sum() == 0
    assert not found.pays
    assert found.why == "No volume leaves the setting for all."


@pytest.mark.parametrize("objective", SHARED, ids=lambda objective: objective.name)
def test_one_segment_is_no_split(objective):
    settings, tallies = random_search(np.random.default_rng(3), clusters=60)
    one = groups_of(tallies, ["all"] * 60)
    found = segment_thresholds(tallies, settings, objective, one, "volume", resamples=30)
    assert found.segments["changed"].to_list() == [0]
    assert found.differences.filter(pl.col("score") == objective.score_name)["apparent"].to_list() == [0.0]
    assert found.differences.filter(pl.col("score") == "net_recall")["apparent"].item() <= 0
    assert not found.pays


def test_small_and_unknown_segments_take_the_common_setting():
    settings, tallies, segments = response(np.random.default_rng(1), (1.4, 3), (0.1, 1.5))
    segments = np.where(np.arange(300) < 20, "tiny", segments).astype(object)
    segments[20:60] = None
    found = segment_thresholds(
        tallies, settings, Objective(cost_ratio=2), groups_of(tallies, segments), "volume", resamples=20, min_events=40
    )
    rows = {row["volume"]: row for row in found.segments.iter_rows(named=True)}
    assert [rows[name]["enough"] for name in ("high", "low", "tiny", None)] == [True, True, False, False]
    for name in ("tiny", None):
        assert found.thresholds()[name] == found.common
        assert rows[name]["left"] is None
        assert rows[name]["false_alarms"] == rows[name]["false_alarms_common"]
    assert sum(row["clusters"] for row in rows.values()) == 300
    assert sum(row["events"] for row in rows.values()) == tallies.events.sum()
    none = segment_thresholds(
        tallies, settings, Objective(cost_ratio=2), groups_of(tallies, [None] * 300), "volume", resamples=5
    )
    assert not none.pays
    assert "No volume has enough" in none.why


def test_the_verdict_is_on_what_is_left_of_the_gain_after_paying_for_it():
    settings, tallies, segments = response(np.random.default_rng(2), (1.4, 3), (0.1, 1.5))
    groups = groups_of(tallies, segments)
    budget = Objective(alerts_per_series_week=0.12)
    found = segment_thresholds(tallies, settings, budget, groups, "volume", resamples=150)
    rows = {row["score"]: row for row in found.differences.iter_rows(named=True)}
    assert found.pays == (rows["net_recall"]["corrected_low"] > 0)
    assert f"recall {rows['recall']['corrected']:+.3g}, alerts" in found.why
    alerts, caught, events = found.segments.select(pl.col("alerts", "events_caught", "events").sum()).row(0)
    one = (tallies.events_caught.sum(axis=1) - found.price * tallies.alerts.sum(axis=1)).max()
    assert rows["net_recall"]["apparent"] == pytest.approx((caught - found.price * alerts - one) / events)
    cost = segment_thresholds(tallies, settings, Objective(cost_ratio=4), groups, "volume", resamples=50)
    rows = {row["score"]: row for row in cost.differences.iter_rows(named=True)}
    assert cost.price == 0.25
    weeks, events = tallies.exposed_hours.sum() / 168, tallies.events.sum()
    assert rows["net_recall"]["apparent"] == pytest.approx(
        -rows["cost_per_series_week"]["apparent"] * weeks / events / 4
    )


def test_segments_by_project_where_projects_are_clusters_and_what_is_refused():
    settings, tallies, segments = response(np.random.default_rng(1), (1.4, 3), (0.1, 1.5))
    by = groups_of(tallies, segments)
    cost = Objective(cost_ratio=2)
    with pytest.raises(SettingsError, match="no column branch"):
        segment_thresholds(tallies, settings, cost, by, "branch")
    with pytest.raises(SettingsError, match="too few"):
        segment_thresholds(tallies, settings, cost, by, "volume", min_events=10_000)
    with pytest.raises(SettingsError, match="not among the settings"):
        segment_thresholds(tallies, settings, cost, by, "volume", default=ThresholdVariables(1, 1, 1, 1, 1))
    twice = pl.concat([by, by.with_columns(volume=pl.lit("other"))])
    with pytest.raises(SettingsError, match="several segments"):
        segment_thresholds(tallies, settings, cost, twice, "volume")
    ids = tallies.clusters.with_columns(project_id=pl.col("group_id") % 3)
    projects = type(tallies)(**{name: getattr(tallies, name) for name in tallies.__slots__} | {"clusters": ids})
    found = segment_thresholds(projects, settings, cost, ids, "project_id", resamples=20)
    assert sorted(found.thresholds()) == ["0", "1", "2"]
