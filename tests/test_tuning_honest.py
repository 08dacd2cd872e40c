"""The winner's curse and what is left after correction, against slow loops and planted truths."""

import numpy as np
import polars as pl
import pytest
from searches import FIRST, equal_settings, random_search, tallies_of
from test_tuning_choosing import OBJECTIVES, repeated

from issue_analytics.errors import SettingsError
from issue_analytics.scores import FALSE_ALARMS_PER_SERIES_WEEK, RECALL, cluster_weights, ratio_intervals
from issue_analytics.thresholds import ThresholdVariables
from issue_analytics.tuning import honest, reality
from issue_analytics.tuning.choosing import choose
from issue_analytics.tuning.honest import selection_corrected
from issue_analytics.tuning.objective import Objective
from issue_analytics.tuning.reality import superior_ability

BUDGET = Objective(alerts_per_series_week=5)


def score(found, setting, name="recall"):
    return found.scores.row(by_predicate=(pl.col("setting") == setting) & (pl.col("score") == name), named=True)


# ---- the winner's curse (statistics.md 2.5) ---- #


def test_the_winner_of_200_equal_settings_looks_like_88_percent_and_is_corrected_to_70():
    looks, left, better = [], [], []
    for seed in range(40):
        grid, tallies = equal_settings(np.random.default_rng(seed), [0.7] * 200)
        found = selection_corrected(tallies, grid, BUDGET, resamples=100, seed=seed)
        looks.append(score(found, "best")["apparent"])
        left.append([score(found, name)["corrected"] for name in ("default", "best", "recommended")])
        better.append(found.p <= 0.05)
    assert np.mean(looks) == pytest.approx(0.883, abs=0.01)
    # 40 data sets of 40 escalations: a standard error of a percent
    assert np.mean(left, axis=0) == pytest.approx([0.7, 0.7, 0.7], abs=0.03)
    assert np.mean(better) <= 0.15


def test_one_setting_that_is_better_is_found_and_keeps_its_score():
    truth = np.full(200, 0.7)
    truth[120] = 0.95
    left, found_it, p = [], 0, []
    for seed in range(20):
        grid, tallies = equal_settings(np.random.default_rng(seed), truth, 150)
        found = selection_corrected(tallies, grid, BUDGET, resamples=100, seed=seed)
        found_it += found.choice.best == grid[120]
        left.append(score(found, "best")["corrected"])
        p.append(found.p)
    assert found_it >= 19
    assert np.mean(left) == pytest.approx(0.95, abs=0.02)
    assert np.mean(np.array(p) <= 0.05) >= 0.9
    often = found.settings.row(0, named=True)
    assert often["std_multiplier"] == 6.2
    assert often["best"] > 0.9


def test_the_curse_is_of_clusters_not_of_escalations():
    """Ten escalations of a group stand or fall together: drawing them one by one would take the luck for skill."""
    rng = np.random.default_rng(3)
    truth = rng.random((60, 40)) < 0.7  # a setting catches all or none of a group
    events = np.full(40, 10)
    caught = truth * 10
    grid = [ThresholdVariables(std_multiplier=5 + number / 100) for number in range(60)]
    found = selection_corrected(tallies_of(events, caught, 0 * caught), grid, BUDGET, resamples=400)
    assert score(found, "best")["apparent"] > 0.8
    assert score(found, "best")["corrected"] < 0.78


# ---- against a slow loop ---- #


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.name)
@pytest.mark.parametrize("errors", [0.0, 1.0])
def test_correction_equals_choosing_and_scoring_resample_by_resample(objective, errors):
    settings, tallies = random_search(np.random.default_rng(7), clusters=40, days=0.9)
    found = selection_corrected(tallies, settings, objective, errors=errors, resamples=80, seed=4, min_events=10)
    weights = next(cluster_weights(40, resamples=80, seed=4))
    sums = {name: np.zeros((80, 5)) for name in ("default", "best", "recommended")}
    kept = dict.fromkeys(sums, 0)
    often = []
    for row, each in enumerate(weights):
        chosen = choose(repeated(tallies, each), settings, objective, errors=errors)
        often.append(chosen.recommended)
        out = each == 0
        picks = {"default": FIRST, "best": chosen.best, "recommended": chosen.recommended}
        for name, setting in picks.items():
            at = settings.index(setting)
            caught, false, alerts = (
                side[at, out].sum() for side in (tallies.events_caught, tallies.false_alarms, tallies.alerts)
            )
            events, exposed = tallies.events[out].sum(), tallies.exposed_hours[out].sum()
            sums[name][row] = caught, events, false, tallies.quiet_hours[out].sum(), alerts
            if objective.min_recall is not None:
                kept[name] += caught >= objective.min_recall * events - 1e-9
            elif objective.alerts_per_series_week is not None:
                kept[name] += alerts <= objective.alerts_per_series_week * exposed / 168 + 1e-9
            elif objective.alerts_per_project_day is not None:
                kept[name] += alerts <= objective.alerts_per_project_day * tallies.project_days[out].sum() + 1e-9
    shares = dict(found.kept.rows())
    for name, rows in sums.items():
        caught, events, false, quiet, _ = rows.T
        told = score(found, name)
        assert told["corrected"] == pytest.approx(caught.sum() / events.sum())
        ends = np.quantile((caught / events)[events > 0], [0.025, 0.975])
        less = 1 / np.sqrt(np.e - 1)
        middle = told["corrected"]
        if np.ptp((caught / events)[events > 0]) > 0:
            assert told["corrected_low"] == pytest.approx(middle + less * (ends[0] - middle))
            assert told["corrected_high"] == pytest.approx(middle + less * (ends[1] - middle))
        else:  # draws that are all alike do not tell how sure that is
            assert told["corrected_low"] is told["corrected_high"] is None
        assert score(found, name, "false_alarms_per_series_week")["corrected"] == pytest.approx(
            168 * false.sum() / quiet.sum()
        )
        assert shares[name] is None if objective.bound is None else shares[name] == pytest.approx(kept[name] / 80)
        if name != "default":
            gap = found.differences.row(by_predicate=(pl.col("setting") == name) & (pl.col("score") == "recall"))
            base = sums["default"]
            assert gap[3] == pytest.approx(middle - base[:, 0].sum() / base[:, 1].sum())
    for digest, share in found.settings.select("digest", "recommended").rows():
        assert share == pytest.approx(sum(setting.digest == digest for setting in often) / 80)
    for variable, value, share, _ in found.variables.rows():
        assert share == pytest.approx(sum(getattr(setting, variable) == value for setting in often) / 80)


def test_apparent_scores_are_those_of_a_summary():
    settings, tallies = random_search(np.random.default_rng(9), clusters=60)
    found = selection_corrected(tallies, settings, Objective(cost_ratio=2), resamples=10)
    at = settings.index(FIRST)
    frame = tallies.clusters.with_columns(
        events=tallies.events, quiet_hours=tallies.quiet_hours, events_caught=tallies.events_caught[at],
        false_alarms=tallies.false_alarms[at],
    )  # fmt: skip
    for name, *ends, _, _ in ratio_intervals(frame, [RECALL, FALSE_ALARMS_PER_SERIES_WEEK]).rows():
        told = score(found, "default", name)
        assert [told[key] for key in ("apparent", "apparent_low", "apparent_high")] == pytest.approx(ends)


def test_the_same_seed_gives_the_same_answer_however_much_is_made_at_a_time(monkeypatch):
    settings, tallies = random_search(np.random.default_rng(9), clusters=60)
    first = selection_corrected(tallies, settings, BUDGET, resamples=100, seed=2)
    monkeypatch.setattr(honest, "_CELLS", 60 * 7)
    monkeypatch.setattr(reality, "_CELLS", 60 * 7)
    again = selection_corrected(tallies, settings, BUDGET, resamples=100, seed=2)
    other = selection_corrected(tallies, settings, BUDGET, resamples=100, seed=3)
    assert again.scores.equals(first.scores)
    assert again.p == first.p
    assert not other.scores.equals(first.scores)


def test_too_few_escalations_are_refused_with_what_to_do():
    grid, tallies = equal_settings(np.random.default_rng(1), [0.7] * 5, 19)
    with pytest.raises(SettingsError, match=r"19 judged escalations are too few .* at least 20 .*min_events"):
        selection_corrected(tallies, grid, BUDGET)
    assert selection_corrected(tallies, grid, BUDGET, min_events=19, resamples=5).events == 19
    grid, tallies = equal_settings(np.random.default_rng(1), [0.7] * 5, 45, per_cluster=5)
    with pytest.raises(SettingsError, match=r"45 judged escalations lie in 9 groups: at least 10"):
        selection_corrected(tallies, grid, BUDGET)
    with pytest.raises(SettingsError, match="min_events"):
        selection_corrected(tallies, grid, BUDGET, min_events=0)


def test_the_default_must_be_among_the_settings():
    grid, tallies = equal_settings(np.random.default_rng(1), [0.7] * 5)
    with pytest.raises(SettingsError, match="not among the settings"):
        selection_corrected(tallies, grid, BUDGET, default=ThresholdVariables(1, 1, 1, 1, 1))


# ---- better than the default with many tries ---- #


def slow_ability(gains, clusters, resamples, seed):
    """Hansen's test one resample and one setting after the other."""
    gains = np.concatenate([gains, np.zeros((len(gains), clusters - gains.shape[1]))], axis=1)
    gains = [gain for gain in gains if gain.var() > 1e-12]
    root = np.sqrt(clusters)
    found = max([0.0, *(root * gain.mean() / gain.std() for gain in gains)])
    if found == 0:
        return 1.0
    worst = -np.sqrt(2 * np.log(max(np.log(clusters), 1)))
    hits = 0
    for each in np.concatenate(list(cluster_weights(clusters, resamples=resamples, seed=seed))):
        which = np.repeat(np.arange(clusters), each.astype(int))
        largest = 0.0
        for gain in gains:
            centre = 0.0 if root * gain.mean() / gain.std() <= worst else gain.mean()
            drawn = gain[which]
            deviation = np.sqrt(max(drawn.var(), gain.var() / 2))
            largest = max(largest, root * (drawn.mean() - centre) / deviation)
        hits += largest >= found * (1 - 1e-9)
    return (1 + hits) / (1 + resamples)


@pytest.mark.parametrize("seed", range(6))
def test_superior_ability_equals_a_slow_loop(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    gains = rng.binomial(1, 0.3, (12, 25)) - rng.binomial(1, 0.2 + 0.5 * (np.arange(12)[:, None] == 3), (12, 25))
    gains[5] = 0
    expected = slow_ability(gains, 30, 60, seed)
    assert superior_ability(gains, clusters=30, resamples=60, seed=seed) == pytest.approx(expected)
    monkeypatch.setattr(reality, "_CELLS", 100)
    assert superior_ability(gains, clusters=30, resamples=60, seed=seed) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["share", "false alarms"])
def test_p_is_small_about_as_seldom_as_it_says_where_all_settings_are_equal(kind):
    p = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        if kind == "share":
            caught = rng.random((61, 60)) < 0.7
            gains = caught[1:].astype(float) - caught[0]
        else:
            rates = rng.gamma(0.5, 2, 100)
            false = rng.poisson(rates, (61, 100))
            gains = (false[0] - false[1:]).astype(float)
        p.append(superior_ability(gains, resamples=199, seed=seed))
    # three standard errors of 150 data sets above 5 and 20 %, and what is known to be a little too much at 60 clusters
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 0.02 + 3 * 0.018
    assert np.mean(np.array(p) <= 0.2) <= 0.2 + 0.05 + 3 * 0.033


def test_p_is_near_0_where_one_is_better_even_among_many_that_are_hopeless():
    rng = np.random.default_rng(1)
    gains = rng.normal(size=(100, 80))
    better = np.vstack([gains, rng.normal(0.6, 1, 80)])
    assert superior_ability(gains) > 0.05
    assert superior_ability(better) < 0.01
    hopeless = np.vstack([better, rng.normal(-5, 5, (2000, 80))])
    assert superior_ability(hopeless) < 0.02


def test_superior_ability_of_what_never_differs_and_of_what_always_does():
    assert superior_ability(np.zeros((3, 10))) == 1
    assert superior_ability(np.full((3, 10), -1.0)) == 1
    assert superior_ability(np.ones((1, 10)), resamples=99) == 0.01
    assert superior_ability(np.zeros((0, 10))) == 1
    for wrong, match in ((np.zeros(3), "a table"), (np.zeros((2, 0)), "at least one")):
        with pytest.raises(SettingsError, match=match):
            superior_ability(wrong)
    with pytest.raises(SettingsError, match="there are 5"):
        superior_ability(np.zeros((2, 6)), clusters=5)
