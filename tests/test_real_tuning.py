"""Tuning on real series with experts' labels: every setting swept is as if backtested, and what is left of the best.

All of the series here are the development half of a larger collection. Time is cut in the middle of what is judged of
each series, a day's embargo after it, because they come from different years. Labels say "unusual", not "escalating":
part of what is missed nobody would want to be woken for.
"""

from datetime import timedelta

import polars as pl
import pytest
from histories import HOUR
from polars.testing import assert_frame_equal
from real_series import needs_real, real_labels, real_series

import issue_analytics as ia
from issue_analytics.detection import detect
from issue_analytics.scores import time_split
from issue_analytics.thresholds import ThresholdVariables
from issue_analytics.tuning.choosing import best_setting
from issue_analytics.tuning.objective import Objective
from issue_analytics.tuning.prepared import prepare

KEY = ["project_id", "group_id"]
WEEKLY = {
    "policy": ia.Policy(every="7d", offset="21h"),
    "matching": ia.Matching(lead_hours=1, grace_hours=1, open_hours=24, merge_hours=12),
}
HALVED = ThresholdVariables(2.5, 2.5, 4, 1, 2.5)
GRID = ThresholdVariables.grid(
    std_multiplier=[0, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8],
    min_spike_multiplier=[1, 1.5, 2, 2.5, 3, 4, 5, 6],
    max_spike_multiplier=[1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10],
    min_bursty_multiplier=[0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.4, 1.5, 1.6, 1.75, 2, 2.25, 2.5, 3],
    max_bursty_multiplier=[0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5],
)

pytestmark = needs_real


@pytest.fixture(scope="module")
def series():
    return real_series()


@pytest.fixture(scope="module")
def labels(series):
    return real_labels(series)


@pytest.fixture(scope="module")
def upward(labels):
    return labels.filter(direction="up").drop("direction")


@pytest.fixture(scope="module")
def halves(series, labels, upward):
    """(counts, escalations, exposure) of the earlier and of the later half of each series, and what is in neither.

    Hours of labels that are not upward are exposed in neither: nobody says whether an alert there is right.
    """
    judged = prepare(series, upward, silence="recorded", buckets="dense", **WEEKLY).exposure
    hours = judged.select(*KEY, start=pl.datetime_ranges("start", pl.col("end") - HOUR, "1h")).explode("start")
    other = labels.filter(pl.col("direction") != "up").select(*KEY, "escalated_at", "ended_at")
    near = hours.join(other, on=KEY).filter(
        pl.col("start") < pl.col("ended_at") + HOUR, pl.col("start") + HOUR > pl.col("escalated_at") - HOUR
    )
    spans = hours.join(near, on=[*KEY, "start"], how="anti").with_columns(end=pl.col("start") + HOUR).sort("start")
    splits = []
    for (group,), rows in spans.group_by("group_id"):
        only = [frame.filter(group_id=group) for frame in (series, upward)]
        splits.append(time_split(*only, rows, at=rows["start"][rows.height // 2], embargo=timedelta(days=1)))
    told = {
        side: [
            pl.concat([getattr(getattr(split, side), name) for split in splits])
            for name in ("counts", "escalations", "exposure")
        ]
        for side in ("train", "test")
    }
    return told | {"dropped": pl.concat([split.dropped for split in splits])}


@pytest.fixture(scope="module")
def made(halves):
    """What was prepared of each half; limits look back over the whole series."""
    parts = {}
    for side in ("train", "test"):
        counts, escalations, exposure = halves[side]
        parts[side] = prepare(counts, escalations, exposure=exposure, buckets="dense", **WEEKLY)
    return parts


@pytest.fixture(scope="module")
def swept(made):
    return {side: prepared.sweep(GRID, progress=False) for side, prepared in made.items()}


def found(table):
    return table.select("events_caught", "false_alarms").row(0)


@pytest.mark.parametrize(("buckets", "alerts"), [("dense", (17, 88)), ("sparse", (9, 45))])
def test_a_sweep_is_a_backtest_of_each_setting(series, upward, buckets, alerts):
    drawn = ThresholdVariables.sample(
        18, seed=6, std_multiplier=(0, 6), min_spike_multiplier=(0, 6), max_spike_multiplier=(1, 9),
        min_bursty_multiplier=(0, 3), max_bursty_multiplier=(0.5, 5),
    )  # fmt: skip
    settings = [ia.STANDARD, HALVED, *(ThresholdVariables(*row) for row in drawn.iter_rows())]
    options = WEEKLY | {"buckets": buckets, "silence": "recorded"}
    table = ia.sweep(series, upward, settings, **options)
    rows = pl.concat([ia.backtest(series, upward, thresholds=one, **options).summary() for one in settings])
    shared = [name for name in table.columns if name in rows.columns]
    assert len(shared) == len(table.columns) - 1  # a summary has no alerts per series-week
    assert_frame_equal(table.select(shared), rows.select(shared), rel_tol=1e-12, abs_tol=0)
    assert (table["alerts"].min(), table["alerts"].max()) == alerts


def test_standard_and_halved_multipliers_on_both_halves(halves, made):
    assert {side: part.events.height for side, part in made.items()} == {"train": 44, "test": 41}
    assert halves["dropped"].height == 7
    for setting, earlier, later in ((ia.STANDARD, (7, 0), (9, 2)), (HALVED, (10, 3), (12, 4))):
        assert [found(part.sweep([setting])) for part in made.values()] == [earlier, later]


@pytest.mark.parametrize(
    ("objective", "setting", "earlier", "later"),
    [
        (Objective(alerts_per_series_week=0.5), ThresholdVariables(4, 4, 8, 0.9, 0.9), (23, 14), (18, 25)),
        (Objective(cost_ratio=10), ThresholdVariables(3, 2, 4, 0.5, 0.5), (34, 35), (28, 46)),
        (Objective(cost_ratio=3), ThresholdVariables(3, 3, 4, 0.8, 0.8), (30, 22), (21, 40)),
    ],
    ids=["alert-budget", "misses-cost-10", "misses-cost-3"],
)
def test_the_best_of_the_earlier_half_is_worse_on_the_later_one(made, swept, objective, setting, earlier, later):
    """Of as much time it catches less and is wrong more often; in the search it looked better than it is."""
    row = best_setting(swept["train"], objective)
    assert [found(swept[side][row]) for side in ("train", "test")] == [earlier, later]
    assert [found(part.sweep([setting])) for part in made.values()] == [earlier, later]


@pytest.mark.parametrize(("divisor", "caught"), [(1, (7, 9)), (2, (20, 17))])
def test_catches_of_a_half_are_those_of_a_plain_recount(series, halves, made, divisor, caught):
    """A window is caught if an exposed hour of it, or within an hour of it, is over the limit.

    Limits divided by two are no setting of the variables: the weighted mean in them has no multiplier.
    """
    limits = made["test"].limits(ia.STANDARD).with_columns(pl.col("limit") // divisor)
    over = set(detect(series, limits, crossings="all").select("group_id", "hour").iter_rows())
    for side, number in zip(("train", "test"), caught, strict=True):
        _, escalations, exposure = halves[side]
        exposed = set(exposure.select("group_id", "start").iter_rows())
        high = over & exposed
        windows = escalations.select("group_id", "escalated_at", "ended_at").rows()
        judged = [one for one in windows if (one[0], one[1].replace(minute=0, second=0)) in exposed]
        assert len(judged) == made[side].events.height
        hit = [
            any(group == key and at < end + HOUR and at + HOUR > start - HOUR for group, at in high)
            for key, start, end in judged
        ]
        assert sum(hit) == number
