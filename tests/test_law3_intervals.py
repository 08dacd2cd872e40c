"""Law 3, with doubt: what was planted lies within the intervals, and detectors known to theory get its scores.

Everything goes through ``backtest``: counts are made so that limits fire where they are meant to. A quiet group has 2
occurrences every four hours, a limit of some 3 to 60, and fires at a planted hour of 100.
"""

from functools import cache

import numpy as np
import polars as pl
import pytest
from histories import COUNTS, ESCALATIONS, MONDAY

from issue_analytics.backtest import Matching, backtest
from issue_analytics.scores import delay_intervals, delay_times
from issue_analytics.thresholds import STANDARD, ThresholdVariables

WEEK = 168
WEEKS = 3  # judged, after one of history
MEAN = ThresholdVariables(0, 5, 5, 0, 0)  # the limit is six times the mean of the week before, whatever its peaks
EXACT = Matching(lead_hours=0, grace_hours=0, merge_hours=1)
LASTS = 6  # hours of an escalation
SLOT = 12  # hours in which one escalation lies, from the third to the eighth


def history(group, hour, level):
    """Counts of quiet groups with planted hours; ``group`` and ``hour`` say where these are."""
    groups = int(group.max()) + 1
    quiet = np.arange(0, (1 + WEEKS) * WEEK, 4)
    base = pl.DataFrame({"group": np.repeat(np.arange(groups), quiet.size), "at": np.tile(quiet, groups), "count": 2})
    planted = pl.DataFrame({"group": group, "at": hour, "count": level})
    return pl.concat([base, planted]).group_by("group", "at").agg(pl.col("count").max()).sort("group", "at")


def at(hour):
    return pl.lit(MONDAY) + pl.duration(hours=hour)


def frames(counts, group, begins, projects):
    """Contract frames; a group's project is one of ``projects`` of equal size."""
    size = (int(counts["group"].max()) + 1) // projects
    keys = {"project_id": pl.col("group") // size, "group_id": pl.col("group")}
    counts = counts.select(**keys, hour=at(pl.col("at")), count="count").cast(COUNTS)
    labels = pl.DataFrame({"group": group, "begins": begins}).select(
        **keys,
        escalated_at=at(pl.col("begins")),
        ended_at=at(pl.col("begins") + LASTS),
        provenance=pl.lit("injected"),
    )
    return counts, labels.cast(ESCALATIONS)


# ---- planted recall, precision, delay and rate of false alarms ---- #

DATA_SETS = GROUPS = 100
NINETEEN_IN_TWENTY = pytest.approx(0.95, abs=0.065)  # of 100 data sets, give or take three standard errors
CAUGHT, RATE = 0.7, 1.5  # share of escalations, false alarms per week of a quiet series
LATE = np.array([0.5, 0.1, 0.1, 0.1, 0.1, 0.1])  # how many hours a caught one takes: half of the groups none at all


def volumes(rng, size):
    """Escalations of groups, of very different number."""
    return np.minimum(rng.poisson(np.exp(rng.normal(1.3, 0.7, size))), 30)


def truth():
    """What data sets of this kind come to, in the long run."""
    many = volumes(np.random.default_rng(0), 2_000_000).mean()
    caught = many * CAUGHT
    false = RATE * (WEEKS - many * LASTS / WEEK)
    delay = CAUGHT * (LATE @ np.arange(1, 7)) + (1 - CAUGHT) * 24
    return {
        "recall": CAUGHT,
        "recall_macro": CAUGHT,
        "precision": caught / (caught + false),
        "false_alarms_per_series_week": RATE,
        "false_alarms_per_series_week_macro": RATE,
        "mean_delay_hours": delay,
        "caught_within_1h": CAUGHT * LATE[0],
        "caught_within_3h": CAUGHT * LATE[:3].sum(),
    }


@cache
def planted(seed=1):
    """100 data sets of 100 groups, each a project; what becomes of one escalation of a group often becomes of all."""
    rng = np.random.default_rng(seed)
    groups = DATA_SETS * GROUPS
    number = volumes(rng, groups)
    # the first hour of a slot is the third after the last: even, as are the hours of false alarms
    order = rng.random((groups, WEEKS * WEEK // SLOT)).argsort(axis=1)
    of, nth = np.nonzero(np.arange(order.shape[1]) < number[:, None])
    begins = WEEK + SLOT * order[of, nth] + 2
    fires = rng.random(of.size) < rng.beta(CAUGHT, 1 - CAUGHT, groups)[of]
    slow = rng.random(groups) < 0.5
    late = np.where(slow[of], rng.integers(1, 6, of.size), 0)
    # false alarms: every other quiet hour by chance, so that no two are one alert
    even = np.arange(WEEK, (1 + WEEKS) * WEEK, 2)
    noise = rng.random((groups, even.size)) < (RATE * rng.gamma(1, 1, groups) / (WEEK / 2))[:, None]
    for hour in range(0, LASTS, 2):
        noise[of, (begins + hour - WEEK) // 2] = False
    noisy, place = np.nonzero(noise)
    group = np.concatenate([of[fires], noisy])
    hour = np.concatenate([(begins + late)[fires], even[place]])
    counts, labels = frames(history(np.append(group, groups - 1), np.append(hour, 0), 100), of, begins, DATA_SETS)
    result = backtest(counts, labels, thresholds=MEAN, buckets="dense", matching=EXACT)
    return result, (number, fires, late, noise)


def test_what_was_planted_is_found_to_the_last_alert():
    result, (number, fires, late, noise) = planted()
    row = result.summary().row(0, named=True)
    assert (row["events"], row["events_caught"]) == (number.sum(), fires.sum())
    assert (row["false_alarms"], row["alerts"]) == (noise.sum(), noise.sum() + fires.sum())
    hours = delay_times(result.matches).filter("happened")["hours"]
    assert sorted(hours) == sorted(late[fires] + 1.0)


def within(ends, value):
    low, high = ends
    return low <= value <= high


def test_planted_values_lie_within_the_intervals_of_summaries_nineteen_times_in_twenty():
    result, _ = planted()
    summary = result.summary_by("project_id")
    assert summary.height == DATA_SETS
    values = truth()
    for name, value in values.items():
        if name.startswith("caught"):
            continue
        ends = summary.select(f"{name}_low", f"{name}_high").rows()
        assert np.mean([within(pair, value) for pair in ends]) == NINETEEN_IN_TWENTY
        # and are not right by being wide
        assert np.median([high - low for low, high in ends]) < 0.6 * value
    # estimates lie on both sides
    for name, value in values.items():
        assert 0.3 < (summary[name] < value).mean() < 0.7


def test_planted_delays_lie_within_their_intervals_by_cluster():
    """Those that take escalations as independent hold the mean delay of such data in 62 % (seeds 2 to 5)."""
    result, _ = planted()
    values = {name: value for name, value in truth().items() if name.startswith(("mean", "caught"))}
    held = {name: [] for name in values}
    for matches in result.matches.partition_by("project_id"):
        found = {row["name"]: row for row in delay_intervals(matches, resamples=400).to_dicts()}
        for name, value in values.items():
            held[name].append(within((found[name]["low"], found[name]["high"]), value))
    for name in values:
        assert np.mean(held[name]) == NINETEEN_IN_TWENTY


# ---- detectors that theory knows ---- #

EACH = 5  # escalations of a group


def labelled(rng, groups):
    """Groups with five escalations of 6 hours each, and at least 4 quiet hours before and after each."""
    order = rng.random((groups, WEEKS * WEEK // SLOT)).argsort(axis=1)[:, :EACH]
    of = np.repeat(np.arange(groups), EACH)
    return of, (WEEK + SLOT * order + 2).ravel()


def stretches(begins, groups):
    """Lengths of the quiet stretches of every group, before, between and after its escalations."""
    edges = np.sort(begins.reshape(groups, EACH), axis=1)
    starts = np.concatenate([np.full((groups, 1), WEEK), edges + LASTS], axis=1)
    ends = np.concatenate([edges, np.full((groups, 1), (1 + WEEKS) * WEEK)], axis=1)
    return (ends - starts).ravel()


@pytest.mark.parametrize("chance", [0.02, 0.08])
def test_a_random_alarm_has_the_scores_of_chance(chance):
    """Every hour fires with probability p, whatever is escalating.

    With escalations of L hours, each found alone: recall ``1 - (1 - p)^L``; runs of hours that fire, in a stretch of m
    hours, ``p + (m - 1) p (1 - p)`` on average, so many false alarms in quiet stretches, and in an escalation
    duplicates but for the first; delay ``sum of k p (1 - p)^(k - 1)`` up to L, and 24 hours for what was missed.
    """
    rng = np.random.default_rng(7)
    groups = 400
    of, begins = labelled(rng, groups)
    group, hour = np.nonzero(rng.random((groups, (1 + WEEKS) * WEEK)) < chance)
    counts, labels = frames(history(np.append(group, groups - 1), np.append(hour, 0), 100), of, begins, 4)
    result = backtest(counts, labels, thresholds=MEAN, buckets="dense", matching=EXACT)
    row = result.summary().row(0, named=True)
    p, q, events = chance, 1 - chance, groups * EACH
    recall = 1 - q**LASTS
    quiet = stretches(begins, groups)
    false = (p + (quiet - 1) * p * q).sum()
    runs = events * (p + (LASTS - 1) * p * q)
    delay = sum(k * p * q ** (k - 1) for k in range(1, LASTS + 1)) + q**LASTS * 24
    # four standard errors; runs that fire are not more variable than hours that do
    close = 4 * np.sqrt(events * recall * (1 - recall))
    assert row["events_caught"] == pytest.approx(events * recall, abs=close)
    assert row["recall"] == pytest.approx(recall, abs=close / events)
    assert row["recall_macro"] == pytest.approx(recall, abs=close / events)
    assert row["false_alarms"] == pytest.approx(false, abs=4 * np.sqrt(false))
    assert row["false_alarms_per_series_week"] == pytest.approx(false * WEEK / quiet.sum(), rel=4 / np.sqrt(false))
    assert row["duplicates"] == pytest.approx(runs - events * recall, abs=4 * np.sqrt(runs - events * recall))
    precision = events * recall / (events * recall + false)
    assert row["precision"] == pytest.approx(precision, rel=4 / np.sqrt(events * recall))
    assert row["mean_delay_hours"] == pytest.approx(delay, abs=4 * 12 / np.sqrt(events))
    assert row["caught_within_3h"] == pytest.approx(1 - q**3, abs=close / events)
    # chance says that an alert is no more likely in an escalation than elsewhere
    fired = result.crossings.height / (groups * WEEKS * WEEK)
    assert fired == pytest.approx(p, rel=0.05)


def test_an_alarm_that_never_stops_has_full_recall_and_a_false_alarm_in_every_quiet_stretch():
    """Alerts end where an escalation's time does: n escalations are n right alerts and n + 1 wrong ones."""
    rng = np.random.default_rng(8)
    groups = 30
    of, begins = labelled(rng, groups)
    hours = np.arange((1 + WEEKS) * WEEK)
    # ever more: each count is above the mean of the week before it, which is the limit where all factors are 0
    rising = {"group": np.repeat(np.arange(groups), hours.size), "at": np.tile(hours, groups)}
    counts, labels = frames(pl.DataFrame(rising).with_columns(count=10 + pl.col("at")), of, begins, 3)
    result = backtest(
        counts, labels, thresholds=ThresholdVariables(0, 0, 0, 0, 0), buckets="dense", matching=EXACT
    )  # fmt: skip
    assert result.crossings.height == groups * WEEKS * WEEK
    row = result.summary().row(0, named=True)
    quiet = stretches(begins, groups)
    assert (row["recall"], row["recall_macro"], row["median_delay_hours"], row["mean_delay_hours"]) == (1, 1, 1, 1)
    assert row["caught_within_1h"] == 1
    assert row["false_alarms"] == groups * (EACH + 1) == (quiet > 0).sum()
    assert row["precision"] == pytest.approx(EACH / (2 * EACH + 1))
    assert row["false_alarms_per_series_week"] == pytest.approx(groups * (EACH + 1) * WEEK / quiet.sum())
    assert row["alerts_per_project_day"] == pytest.approx(row["alerts"] / (3 * WEEKS * 7))
    assert row["duplicates"] == row["unjudged"] == 0


def test_an_alarm_that_never_fires_catches_nothing_and_has_no_precision():
    rng = np.random.default_rng(9)
    of, begins = labelled(rng, 30)
    counts, labels = frames(history(np.array([29]), np.array([0]), 2), of, begins, 3)
    result = backtest(counts, labels, thresholds=STANDARD, buckets="dense", matching=EXACT)
    row = result.summary().row(0, named=True)
    assert (row["alerts"], row["false_alarms"], row["recall"], row["recall_macro"]) == (0, 0, 0.0, 0.0)
    assert row["precision"] is row["precision_macro"] is row["precision_low"] is None
    assert row["false_alarms_per_series_week"] == 0.0
    # none in 30 series over three weeks: in all there may still be some 3.84 to come (z^2 = 1.96^2)
    weeks = stretches(begins, 30).sum() / WEEK
    assert row["false_alarms_per_series_week_high"] == pytest.approx(1.96**2 / weeks, rel=0.02)
    assert 0 < row["recall_high"] < 0.15
    assert row["median_delay_hours"] is row["median_reset_hours"] is None
    assert row["mean_delay_hours"] == 24.0
    assert [row[f"caught_within_{hours}h"] for hours in (1, 3, 6, 24)] == [0.0] * 4
