"""The search by Optuna: what it counts is exact, what it keeps is resumed, and what it compares by is the objective."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from issue_analytics.errors import SettingsError
from issue_analytics.simulate import simulate
from issue_analytics.thresholds import STANDARD, ThresholdVariables
from issue_analytics.tuning import prepare
from issue_analytics.tuning.objective import Objective
from issue_analytics.tuning.search import RANGES, search
from issue_analytics.tuning.settings import VARIABLES

COUNTED = ("alerts", "false_alarms", "events_caught")


@pytest.fixture(scope="module")
def prepared():
    sim = simulate(groups=150, days=35, seed=4)
    return prepare(sim.hourly_counts, sim.escalations, buckets="dense")


def test_trials_are_counted_exactly_and_the_first_is_the_start(prepared):
    found = search(prepared, Objective(cost_ratio=5), trials=12, batch=5)
    table = prepared.sweep(found.trials.select(VARIABLES))
    assert_frame_equal(found.trials.select(COUNTED), table.select(COUNTED))
    assert found.trials.select(VARIABLES).row(0) == tuple(map(float, STANDARD.to_dict().values()))
    assert found.trials["alerts"].n_unique() > 4
    cost = found.trials["false_alarms"] + 5 * (prepared.events.height - found.trials["events_caught"])
    best = found.trials.filter(cost == cost.min())
    assert tuple(found.thresholds[None].to_dict().values()) in best.select(VARIABLES).rows()
    weeks = prepared.groups["exposed_hours"].sum() / 168
    assert np.allclose(found.trials["utility"], -cost / weeks)


def test_a_bound_is_kept_where_it_can_be(prepared):
    standard = prepared.sweep([STANDARD]).row(0, named=True)
    budget = standard["alerts_per_series_week"] * 0.8
    found = search(prepared, Objective(alerts_per_series_week=budget), trials=40)
    assert found.kept
    chosen = prepared.sweep(found.thresholds.values()).row(0, named=True)
    assert chosen["alerts_per_series_week"] <= budget < standard["alerts_per_series_week"]
    kept = found.trials.filter(pl.col("excess") <= 0)
    assert 0 < kept.height < found.trials.height
    assert chosen["events_caught"] == kept["events_caught"].max()
    least = search(prepared, Objective(alerts_per_series_week=1e-9), trials=5)
    assert not least.kept
    assert "not kept" in repr(least)


def test_an_interrupted_search_goes_on_where_it_was(prepared, tmp_path):
    storage = tmp_path / "trials.db"
    objective = Objective(cost_ratio=5)
    first = search(prepared, objective, trials=10, storage=storage)
    again = search(prepared, objective, trials=16, storage=str(storage))
    assert again.trials["trial"].to_list() == list(range(16))
    assert_frame_equal(again.trials.head(10), first.trials)
    assert_frame_equal(search(prepared, objective, trials=16, storage=f"sqlite:///{storage}").trials, again.trials)
    assert_frame_equal(search(prepared, objective, trials=3, storage=storage).trials, again.trials)
    # another question starts anew in the same file
    for other in (
        search(prepared, Objective(cost_ratio=6), trials=2, storage=storage),
        search(prepared, objective, trials=2, storage=storage, ranges={"min_bursty_multiplier": (1, 3)}),
    ):
        assert other.trials["trial"].to_list() == [0, 1]


def test_a_search_that_was_killed_tries_the_start_and_nothing_twice(prepared, tmp_path, monkeypatch):
    """The first trials were proposed, and the process ended before any was counted."""
    storage, objective = tmp_path / "trials.db", Objective(cost_ratio=5)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["issue_analytics.tuning.search"], "_sums", killed)
        with pytest.raises(KeyboardInterrupt):
            search(prepared, objective, trials=8, storage=storage, batch=4)
    found = search(prepared, objective, trials=6, storage=storage)
    standard = tuple(map(float, STANDARD.to_dict().values()))
    assert standard in found.trials.select(VARIABLES).rows()
    more = search(prepared, objective, trials=12, storage=storage)
    assert more.trials.select(VARIABLES).n_unique() == 12


def test_who_is_in_which_segment_is_part_of_the_question(tmp_path):
    sim = simulate(groups=60, days=28, seed=4)
    groups, storage = sim.hourly_counts.select("project_id", "group_id").unique(), tmp_path / "trials.db"
    found = [
        search(
            prepare(sim.hourly_counts, sim.escalations, buckets="dense", types=groups.with_columns(type=kind)),
            Objective(cost_ratio=5), trials=trials, by="type", storage=storage,
        )
        for kind, trials in ((pl.col("group_id") % 2, 3), (pl.col("group_id") // 2 % 2, 1))
    ]  # fmt: skip
    assert [one.trials["trial"].n_unique() for one in found] == [3, 1]


def test_other_data_start_anew(tmp_path):
    sim = simulate(groups=60, days=28, seed=4)
    storage, objective = tmp_path / "trials.db", Objective(cost_ratio=5)
    one = prepare(sim.hourly_counts, sim.escalations, buckets="dense")
    search(one, objective, trials=3, storage=storage)
    shuffled = prepare(sim.hourly_counts.sample(fraction=1, shuffle=True), sim.escalations, buckets="dense")
    assert search(shuffled, objective, trials=1, storage=storage).trials["trial"].len() == 3
    fewer = prepare(sim.hourly_counts, sim.escalations.head(sim.escalations.height - 1), buckets="dense")
    assert search(fewer, objective, trials=1, storage=storage).trials["trial"].len() == 1


def test_segments_are_searched_together(prepared):
    found = search(prepared, Objective(cost_ratio=5), trials=8, by="volume")
    values = prepared.groups["volume"].unique().sort().to_list()
    assert list(found.thresholds) == values
    for _, trial in found.trials.group_by("trial"):
        total = dict.fromkeys(COUNTED, 0)
        for value in values:
            mine = trial.filter(pl.col("segment") == value)
            tallies = prepared.tallies(mine.select(VARIABLES))
            which = (prepared.groups["volume"] == value).to_numpy()
            for name in COUNTED:
                total[name] += int(getattr(tallies, name)[0, which].sum())
        assert trial.select(COUNTED).unique().row(0, named=True) == total
    assert found.trials.filter(pl.col("trial") > 0).select(VARIABLES).n_unique() > len(values)


def test_fixed_variables_stay_and_a_maximum_is_no_lower_than_its_minimum(prepared):
    start = ThresholdVariables(3, 4, 6, 2, 4)
    found = search(prepared, Objective(cost_ratio=5), trials=10, start=start, ranges={"min_bursty_multiplier": (3, 6)})
    assert (found.trials["std_multiplier"] == 3).all()
    assert (found.trials["max_bursty_multiplier"] >= found.trials["min_bursty_multiplier"]).all()
    assert found.trials["max_bursty_multiplier"].max() > 4
    assert found.trials["min_bursty_multiplier"].is_between(3, 6).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trials": 0}, "trials: expected a whole number"),
        ({"batch": True}, "batch: expected a whole number"),
        ({"by": "size"}, "by: 'size' is none of"),
        ({"ranges": {}}, "ranges: there is none"),
        ({"ranges": {"std": (1, 2)}}, "no variable std"),
        ({"ranges": {"std_multiplier": (3, 2)}}, "std_multiplier: expected"),
        ({"storage": "nowhere://at/all"}, "storage: no trials can be kept there"),
        ({"storage": "no/such/folder/trials.db"}, "storage: no trials can be kept there"),
        ({"storage": "what?.db"}, "storage: what.*: a name with a"),
    ],
)
def test_what_makes_no_sense_is_refused(prepared, options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=said):
        search(prepared, Objective(cost_ratio=5), **{"trials": 2} | options)


def test_unlabelled_histories_are_refused(prepared):
    with pytest.raises(SettingsError, match="nothing is known to be true"):
        search(prepare(prepared.counts), Objective(cost_ratio=5), trials=2)


def test_without_optuna_the_rest_works_and_the_search_says_what_to_install():
    code = """
import sys
sys.modules["optuna"] = None
import issue_analytics as ia
sim = ia.simulate(groups=20, days=21, seed=7)
prepared = ia.prepare(sim.hourly_counts, sim.escalations)
try:
    ia.search(prepared, ia.Objective(cost_ratio=5), trials=2)
except ia.SettingsError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.stdout == "the search needs Optuna: pip install 'issue-analytics[search]'.\n", done.stderr


def test_ranges_hold_the_standard_setting():
    assert all(low <= getattr(STANDARD, name) <= high for name, (low, high) in RANGES.items())
