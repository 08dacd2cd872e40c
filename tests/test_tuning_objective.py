"""Objectives against a slow loop over settings, ties, bounds that nothing keeps, and what is no objective."""

import numpy as np
import pytest

from issue_analytics.errors import SettingsError
from issue_analytics.tuning.objective import Objective, Totals

OBJECTIVES = [
    Objective(alerts_per_series_week=0.7),
    Objective(alerts_per_project_day=0.4),
    Objective(min_recall=0.6),
    Objective(cost_ratio=2.5),
]


def random_totals(rng, sets=4, settings=40):
    events = rng.integers(0, 12, sets).astype(float)
    caught = rng.binomial(events[:, None].astype(int), 0.6, (sets, settings)).astype(float)
    false = rng.integers(0, 9, (sets, settings)).astype(float)
    hours = rng.integers(168, 168 * 30, sets).astype(float)
    return Totals(
        events, hours, hours - 10, hours / 50, caught + false + rng.integers(0, 2, false.shape), false, caught
    )


def slow_best(objective, totals, data):
    """One setting after the other, in words: is it allowed, and is it better than the best so far."""

    def order(setting):
        alerts, false, caught = (float(side[data, setting]) for side in totals[4:])
        events = totals.events[data]
        if objective.cost_ratio is not None:
            return 0.0, -(false + objective.cost_ratio * (events - caught)), -false
        if objective.min_recall is not None:
            return max(0.0, objective.min_recall * events - caught), -false, -alerts
        if objective.alerts_per_series_week is not None:
            allowed = objective.alerts_per_series_week * totals.exposed_hours[data] / 168
        else:
            allowed = objective.alerts_per_project_day * totals.project_days[data]
        return max(0.0, alerts - allowed), caught, -false

    best = 0
    for setting in range(1, totals.alerts.shape[1]):
        (over, *mine), (least, *theirs) = order(setting), order(best)
        over, least = round(over, 9), round(least, 9)
        mine, theirs = [round(value, 9) for value in mine], [round(value, 9) for value in theirs]
        if over < least or (over == least and mine > theirs):
            best = setting
    return best, round(order(best)[0], 9) == 0


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.name)
@pytest.mark.parametrize("seed", range(25))
def test_best_equals_a_slow_loop(objective, seed):
    totals = random_totals(np.random.default_rng(seed))
    best, kept = objective.best(totals)
    for data in range(len(best)):
        assert (best[data], kept[data]) == slow_best(objective, totals, data)


def one(alerts, false, caught, *, events=10, hours=1680.0, days=10.0):
    values = [np.asarray(side, dtype=float) for side in (alerts, false, caught)]
    return Totals(*(np.float64(value) for value in (events, hours, hours, days)), *values)


def test_a_budget_takes_what_is_just_within_it_and_breaks_ties_by_false_alarms():
    totals = one([1, 1, 1, 2], [1, 0, 0, 0], [5, 5, 5, 9])
    # 0.1 a week for ten weeks is one alert, whatever the bits say
    best, kept = Objective(alerts_per_series_week=0.1).best(totals)
    assert (best, kept) == (1, True)
    best, kept = Objective(alerts_per_project_day=0.1).best(totals)
    assert (best, kept) == (1, True)
    assert Objective(alerts_per_series_week=0.2).best(totals)[0] == 3
    assert 0.7 * (130 * 168) / 168 < 91
    assert Objective(alerts_per_series_week=0.7).best(one([91], [0], [9], hours=130 * 168.0)) == (0, True)


def test_where_nothing_keeps_the_bound_the_nearest_are_compared():
    totals = one([9, 7, 7], [4, 3, 1], [5, 4, 4])
    assert Objective(alerts_per_series_week=0.1).best(totals) == (2, False)
    assert Objective(min_recall=0.9).best(totals) == (0, False)
    assert Objective(min_recall=0.4).best(totals) == (2, True)


def test_a_least_recall_then_wants_few_false_alarms_then_few_alerts():
    totals = one([9, 8, 7], [2, 2, 2], [7, 6, 5])
    assert Objective(min_recall=0.6).best(totals)[0] == 1


def test_scores_have_the_sign_and_unit_people_read():
    totals = one([9], [4], [5])
    assert Objective(alerts_per_series_week=1).utility(totals).tolist() == [0.5]
    assert Objective(min_recall=0.1).utility(totals).tolist() == [-0.4]
    assert Objective(cost_ratio=2).utility(totals) == pytest.approx([-1.4])
    assert np.isnan(Objective(min_recall=0.1).utility(one([9], [4], [5], hours=0.0))).all()


def test_what_is_no_objective():
    with pytest.raises(SettingsError, match=r"exactly one of .* got none"):
        Objective()
    with pytest.raises(SettingsError, match="got min_recall, cost_ratio"):
        Objective(min_recall=0.5, cost_ratio=1)
    for wrong in (0, -1, float("nan"), float("inf"), True, "1"):
        with pytest.raises(SettingsError, match="alerts_per_series_week"):
            Objective(alerts_per_series_week=wrong)
    with pytest.raises(SettingsError, match="at most 1"):
        Objective(min_recall=1.5)
    with pytest.raises(SettingsError, match="days"):
        Objective(alerts_per_project_day=1).best(one([9], [4], [5], days=float("nan")))


def test_an_objective_says_what_it_asks():
    assert [str(objective) for objective in OBJECTIVES] == [
        "at most 0.7 alerts per series-week, then most escalations caught, then fewest false alarms",
        "at most 0.4 alerts per project and day, then most escalations caught, then fewest false alarms",
        "a recall of at least 0.6, then fewest false alarms, then fewest alerts",
        "a missed escalation costs 2.5 false alarms: lowest cost, then fewest false alarms",
    ]
    assert [objective.bound is None for objective in OBJECTIVES] == [False, False, False, True]
