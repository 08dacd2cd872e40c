"""Pareto front, cost curve, plateau rule and families of settings against slow loops."""

import math

import numpy as np
import polars as pl
import pytest
from searches import FIRST, random_search, tallies_of

from issue_analytics.errors import SettingsError
from issue_analytics.scores import cluster_weights, linearised_error
from issue_analytics.thresholds import STANDARD, ThresholdVariables
from issue_analytics.tuning.choosing import best_setting, choose, cost_curve, pareto_front, within_error
from issue_analytics.tuning.family import Family, simplicity
from issue_analytics.tuning.objective import Objective
from issue_analytics.tuning.settings import as_settings

OBJECTIVES = [
    Objective(alerts_per_series_week=0.2),
    Objective(alerts_per_project_day=0.8),
    Objective(min_recall=0.5),
    Objective(cost_ratio=1.5),
]


def table_of(settings, tallies):
    """The columns of a sweep that choosing looks at."""
    sums = {name: getattr(tallies, name).sum(axis=1) for name in ("alerts", "false_alarms", "events_caught")}
    rows = [setting.to_dict() for setting in settings]
    days = tallies.project_days
    return pl.DataFrame(rows, schema=dict.fromkeys(STANDARD.to_dict(), pl.Float64)).with_columns(
        **{name: pl.Series(value, dtype=pl.Int64) for name, value in sums.items()},
        events=pl.lit(int(tallies.events.sum())),
        series_weeks=pl.lit(tallies.quiet_hours.sum() / 168),
        alerts_per_series_week=pl.Series(sums["alerts"] / tallies.exposed_hours.sum() * 168),
        alerts_per_project_day=pl.Series(sums["alerts"] / (1 if days is None else days.sum())),
    )


# ---- fronts and curves ---- #


def points(seed, rows=60, most=12):
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {"events_caught": rng.integers(0, most, rows), "false_alarms": rng.integers(0, most, rows), "at": range(rows)}
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_front_is_what_no_other_beats(seed):
    table = points(seed, most=[4, 12, 60][seed % 3])
    rows = table.rows()
    expected = {}
    for caught, false, at in rows:
        if not any(c >= caught and f <= false and (c, f) != (caught, false) for c, f, _ in rows):
            expected.setdefault((false, caught), []).append(at)
    assert [
        row[1:] + row[:1]
        for row in pareto_front(table).select("events_caught", "false_alarms", "at", "settings").rows()
    ] == [(false, ats[0], len(ats), caught) for (false, caught), ats in sorted(expected.items())]


@pytest.mark.parametrize("seed", range(20))
def test_a_cost_curve_knows_the_cheapest_setting_at_every_price(seed):
    table = points(seed, most=40)
    curve = cost_curve(table)
    false, caught = (table[name].to_numpy() for name in ("false_alarms", "events_caught"))
    assert curve["cost_ratio_from"][0] == 0
    assert curve["cost_ratio_to"][-1] == math.inf
    assert curve["cost_ratio_from"][1:].to_list() == curve["cost_ratio_to"][:-1].to_list()
    assert (curve["cost_ratio_from"] < curve["cost_ratio_to"]).all()
    ends = curve["cost_ratio_from"].to_list()[1:]
    for price in [1e-9, *np.random.default_rng(seed).gamma(0.5, 4, 50), *ends, 1e9]:
        row = curve.filter(pl.col("cost_ratio_from") <= float(price), pl.col("cost_ratio_to") > float(price))
        assert row.height == 1
        cost = row["false_alarms"].item() - price * row["events_caught"].item()
        assert cost == pytest.approx((false - price * caught).min(), rel=1e-9, abs=1e-9)
    # and nothing is listed that is best nowhere
    for low, high, row_caught, row_false, *_ in curve.rows():
        middle = low + 1 if high == math.inf else (low + high) / 2
        cost = false - middle * caught
        best = np.isclose(cost, cost.min(), atol=1e-9)
        assert best.any()
        assert (caught[best] == row_caught).all()
        assert (false[best] == row_false).all()


def test_a_front_of_one_point_and_of_none():
    table = points(1)
    assert cost_curve(table[:1]).row(0)[:2] == (0.0, math.inf)
    assert pareto_front(table.clear()).height == 0
    assert cost_curve(table.clear()).height == 0
    with pytest.raises(SettingsError, match="no column false_alarms"):
        pareto_front(table.drop("false_alarms"))


# ---- simplicity ---- #


def test_simplicity_is_variables_first_then_logs_and_0_is_no_infinity():
    first = [STANDARD, ThresholdVariables(10, 5, 8, 2, 5), ThresholdVariables(2.5, 5, 8, 2, 5)]
    others = [ThresholdVariables(4, 4), ThresholdVariables(0), ThresholdVariables(0.001)]
    values = as_settings([*first, *others])
    changed, distance = simplicity(values)
    assert changed.tolist() == [0, 1, 1, 2, 1, 1]
    assert distance[1] == distance[2] == pytest.approx(math.log(2))
    assert distance[3] == pytest.approx(2 * math.log(1.25))
    assert distance[4] == distance[5] == pytest.approx(math.log(500))


# ---- families ---- #


@pytest.mark.parametrize("seed", range(8))
def test_a_family_holds_each_setting_that_differs_once_simplest_first(seed):
    settings, tallies = random_search(np.random.default_rng(seed), days=3.0)
    family = Family.of(tallies, settings)
    changed, distance = simplicity(as_settings(settings))
    rank = dict(enumerate(zip(changed, distance, range(len(settings)))))
    same = {}
    for at in range(len(settings)):
        rows = tallies.alerts[at], tallies.false_alarms[at], tallies.events_caught[at]
        same.setdefault(b"".join(row.tobytes() for row in rows), []).append(at)
    expected = sorted((min(ats, key=rank.get) for ats in same.values()), key=rank.get)
    assert family.numbers.tolist() == expected
    assert family.copies.sum() == len(settings)
    for ats in same.values():
        assert len({int(family.family[at]) for at in ats}) == 1
        assert family.copies[family.family[ats[0]]] == len(ats)
    whole = family.totals(np.ones((1, family.clusters)))
    assert whole.alerts[0].tolist() == tallies.alerts.sum(axis=1)[family.numbers].tolist()
    values = as_settings(settings)
    parts = [tallies.of_settings(np.arange(low, min(low + 7, len(settings)))) for low in range(0, len(settings), 7)]
    gathered = Family.gathered(values, parts, STANDARD)
    for name in ("values", "numbers", "copies", "family", "active", "alerts", "false_alarms", "events_caught"):
        assert (getattr(gathered, name) == getattr(family, name)).all(), name


def test_a_search_too_large_to_draw_again_is_refused():
    settings, tallies = random_search(np.random.default_rng(1))
    with pytest.raises(SettingsError, match="coarser grid"):
        Family.gathered(as_settings(settings), [tallies], STANDARD, most=100)
    with pytest.raises(SettingsError, match="5 settings, but tallies of 30"):
        Family.of(tallies, settings[:5])


def repeated(tallies, weights):
    """The clusters of a resample as data of their own."""
    which = np.repeat(np.arange(len(weights)), weights.astype(int))
    days = tallies.project_days
    return type(tallies)(
        clusters=tallies.clusters[which],
        **{name: getattr(tallies, name)[which] for name in ("events", "exposed_hours", "quiet_hours")},
        **{name: getattr(tallies, name)[:, which] for name in ("alerts", "false_alarms", "events_caught")},
        project_days=None if days is None else days[which],
    )


def slow_choice(settings, tallies, objective, errors):
    """The plateau rule in words: best, then everything within an error of it, then the simplest."""
    at = best_setting(table_of(settings, tallies), objective)
    if objective.cost_ratio is not None:
        top = tallies.false_alarms + objective.cost_ratio * (tallies.events - tallies.events_caught)
        bottom, scale, sign = tallies.exposed_hours, 168, -1
    elif objective.min_recall is not None:
        top, bottom, scale, sign = tallies.false_alarms, tallies.quiet_hours, 168, -1
    else:
        top, bottom, scale, sign = tallies.events_caught, tallies.events, 1, 1
    error = float(linearised_error(top[at], bottom)) * scale
    utility = sign * scale * top.sum(axis=1) / bottom.sum()
    excess = []
    for setting in range(len(settings)):
        alerts, caught = tallies.alerts[setting].sum(), tallies.events_caught[setting].sum()
        if objective.cost_ratio is not None:
            excess.append(0.0)
        elif objective.min_recall is not None:
            excess.append(max(0.0, round(objective.min_recall * tallies.events.sum() - caught, 9)))
        elif objective.alerts_per_series_week is not None:
            allowed = objective.alerts_per_series_week * tallies.exposed_hours.sum() / 168
            excess.append(max(0.0, round(alerts - allowed, 9)))
        else:
            excess.append(max(0.0, round(alerts - objective.alerts_per_project_day * tallies.project_days.sum(), 9)))
    plateau = [
        setting
        for setting in range(len(settings))
        if excess[setting] <= min(excess) and utility[at] - utility[setting] <= errors * error + 1e-9
    ]
    changed, distance = simplicity(as_settings(settings))
    simplest = min(plateau, key=lambda setting: (changed[setting], distance[setting], setting))
    return at, simplest, error, plateau, min(excess) == 0


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.name)
@pytest.mark.parametrize("seed", range(12))
def test_choosing_equals_the_rule_in_words(objective, seed):
    settings, tallies = random_search(np.random.default_rng(seed), days=0.9)
    errors = [0.0, 1.0, 2.0][seed % 3]
    at, simplest, error, plateau, kept = slow_choice(settings, tallies, objective, errors)
    found = choose(tallies, settings, objective, errors=errors)
    assert found.recommended == settings[simplest]
    assert found.kept == kept
    assert found.error == pytest.approx(error, abs=1e-12)
    assert found.plateau["settings"].sum() == len(plateau)
    totals = table_of(settings, tallies).select("alerts", "false_alarms", "events_caught").rows()
    assert totals[settings.index(found.best)] == totals[at]
    told = within_error(table_of(settings, tallies), objective, errors * error)
    assert told.height == len(plateau)
    assert told.row(0)[:5] == tuple(map(float, settings[simplest].to_dict().values()))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.name)
def test_choosing_on_resamples_equals_choosing_on_the_clusters_drawn(objective):
    settings, tallies = random_search(np.random.default_rng(5), clusters=40, days=0.9)
    family = Family.of(tallies, settings)
    weights = next(cluster_weights(40, resamples=60, seed=3))
    chosen = family.choose(objective, weights)
    for row, each in enumerate(weights):
        alone = choose(repeated(tallies, each), settings, objective)
        assert family.thresholds(int(chosen.recommended[row])) == alone.recommended
        assert chosen.error[row] == pytest.approx(alone.error, rel=1e-9, abs=1e-12)
        assert chosen.kept[row] == alone.kept


def test_sums_of_resamples_and_segments_equal_slow_ones(monkeypatch):
    settings, tallies = random_search(np.random.default_rng(2), clusters=40)
    family = Family.of(tallies, settings)
    weights = next(cluster_weights(40, resamples=7, seed=1))
    which = np.arange(40) % 3 == 0
    sparse = family.totals(weights, which)
    monkeypatch.setattr("issue_analytics.tuning.family._DENSE", 0.0)
    monkeypatch.setattr("issue_analytics.tuning.family._CELLS", 50)
    dense = family.totals(weights, which)
    for name in ("alerts", "false_alarms", "events_caught"):
        side = getattr(tallies, name)[family.numbers]
        slow = [[sum(w[g] * row[g] for g in range(40) if which[g]) for row in side] for w in weights]
        assert (getattr(sparse, name) == slow).all()
        assert (getattr(dense, name) == slow).all()
    assert sparse.events.tolist() == [(w * which) @ tallies.events for w in weights]
    numbers = np.arange(7) % len(family.values)
    picked = family.picked(numbers, weights, which)
    assert picked.false_alarms[:, 0].tolist() == sparse.false_alarms[np.arange(7), numbers].tolist()
    assert picked.quiet_hours.tolist() == sparse.quiet_hours.tolist()


def test_the_simplest_as_good_wins_over_the_arg_best():
    rng = np.random.default_rng(4)
    events = np.ones(100, dtype=np.int64)
    caught = np.stack([rng.random(100) < 0.70, rng.random(100) < 0.70, rng.random(100) < 0.95]).astype(int)
    caught[1] = caught[0]
    caught[1, np.flatnonzero(caught[0] == 0)[:3]] = 1  # three catches more than the default
    settings = [FIRST, ThresholdVariables(6, 4, 9, 1, 4), ThresholdVariables(min_bursty_multiplier=1)]
    budget = Objective(alerts_per_series_week=1)
    few = choose(tallies_of(events, caught[:2], 0 * caught[:2]), settings[:2], budget)
    assert (few.best, few.recommended) == (settings[1], FIRST)
    assert (
        choose(tallies_of(events, caught[:2], 0 * caught[:2]), settings[:2], budget, errors=0).recommended
        == settings[1]
    )
    assert choose(tallies_of(events, caught, 0 * caught), settings, budget).recommended == settings[2]


def test_what_cannot_be_chosen_from():
    settings, tallies = random_search(np.random.default_rng(1))
    table = table_of(settings, tallies)
    budget = Objective(alerts_per_series_week=1)
    with pytest.raises(SettingsError, match="no settings"):
        best_setting(table.clear(), budget)
    with pytest.raises(SettingsError, match="errors: expected a number"):
        choose(tallies, settings, budget, errors=-1)
    with pytest.raises(SettingsError, match="no column alerts_per_series_week"):
        best_setting(table.drop("alerts_per_series_week"), budget)
    assert best_setting(table.with_columns(alerts=0, false_alarms=0, events_caught=0), budget) == 0
