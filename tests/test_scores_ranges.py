"""Scores of hours, of ranges and of nearness: published cases, plain loops over lists of hours, and theory.

Cases A to D are those of statistics.md, section 2.6, where other implementations' values stand.
"""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import exp

import numpy as np
import polars as pl
import pytest
from histories import HOUR, MONDAY, UTC_US, random_counts, random_escalations
from polars.testing import assert_frame_equal

from issue_analytics.backtest import backtest
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.frames import KEY
from issue_analytics.scores import nearness, ranges
from issue_analytics.scores.line import lay
from issue_analytics.scores.nearness import (
    NAB_LOW_FN,
    NAB_LOW_FP,
    NAB_SCORE,
    NAB_STANDARD,
    NabProfile,
    affiliation,
    nab,
)
from issue_analytics.scores.ranges import (
    RANGE_PRECISION,
    RANGE_RECALL,
    point_adjusted,
    point_wise,
    range_based,
)
from issue_analytics.scores.ratios import f_score
from issue_analytics.thresholds import ThresholdVariables

IDS = {"project_id": pl.Int64, "group_id": pl.Int64}
SPANS = IDS | {"start": UTC_US, "end": UTC_US}
ALARMS = IDS | {"hour": UTC_US}


def at(hours):
    return MONDAY + timedelta(hours=hours)


def frames_of(groups):
    """Frames of {(project, group): (windows, alarms, spans)}, all in hours from Monday."""
    windows, alarms, spans = [], [], []
    for key, (labelled, fired, exposed) in groups.items():
        windows += [(*key, at(start), at(end)) for start, end in labelled]
        alarms += [(*key, at(hour)) for hour in fired]
        spans += [(*key, at(start), at(end)) for start, end in exposed]
    return (
        pl.DataFrame(windows, schema=SPANS, orient="row"),
        pl.DataFrame(alarms, schema=ALARMS, orient="row"),
        pl.DataFrame(spans, schema=SPANS, orient="row"),
    )


def one_group(windows, alarms, hours):
    return frames_of({(1, 7): (windows, alarms, [(0, hours)])})


CASE_A = one_group([(4, 10), (16, 18)], [2, 7, 8, 12, 17, 20, 21], 24)
CASE_B = one_group([(20, 22), (25, 28), (44, 48)], [19, 20, *range(23, 31), 37, 49], 50)
CASE_C = one_group([(3, 4), (7, 10)], [4, 8], 10)


def scores(frame, *expressions):
    return pytest.approx(frame.select(*expressions).row(0), abs=1e-12)


# ---- published cases ----


@pytest.mark.parametrize(
    ("case", "expected"),
    [(CASE_A, (3 / 7, 0.375, 0.4, 0.25)), (CASE_B, (1 / 3, 4 / 9, 0.3809523809523809, 4 / 17))],
    ids=["A", "B"],
)
def test_point_wise_of_published_cases(case, expected):
    """2.6: case A .428571 .375 .4 and IoU .25; case B .333333 .444444 .380952 (its IoU by hand)."""
    found = point_wise(*case)
    ratios = (ranges.POINT_PRECISION, ranges.POINT_RECALL, ranges.POINT_F1, ranges.POINT_IOU)
    assert expected == scores(found, *[ratio.of_sums() for ratio in ratios])
    assert found.select(pl.sum_horizontal(pl.exclude(KEY))).item() == len(hours_of(case[2]))


def test_point_adjusted_of_case_a():
    """2.6: .666667 1.0 .8."""
    ratios = (ranges.POINT_ADJUSTED_PRECISION, ranges.POINT_ADJUSTED_RECALL, ranges.POINT_ADJUSTED_F1)
    assert scores(point_adjusted(*CASE_A), *[ratio.of_sums() for ratio in ratios]) == (2 / 3, 1.0, 0.8)


@pytest.mark.parametrize(
    ("case", "setting", "expected"),
    [
        (CASE_A, {}, (0.4, 0.416667, None)),
        (CASE_A, {"bias": "front"}, (0.4, 0.285714, None)),
        (CASE_A, {"bias": "back"}, (0.4, 0.547619, None)),
        (CASE_A, {"alpha": 0.5}, (0.4, 0.708333, None)),
        (CASE_A, {"alpha": 0.5, "bias": "front"}, (0.4, 0.642857, 0.493151)),
        (CASE_A, {"alpha": 0.5, "bias": "back"}, (0.4, 0.773810, None)),
        (CASE_A, {"alpha": 0.5, "cardinality": "reciprocal"}, (0.4, 0.708333, 0.511278)),
        (CASE_B, {}, (0.21875, 0.5, 0.304348)),
        (CASE_B, {"bias": "front"}, (0.21875, 0.555556, 0.313901)),
        (CASE_B, {"bias": "back"}, (0.21875, 0.444444, 0.293194)),
        (CASE_B, {"alpha": 0.5}, (0.21875, 0.583333, 0.318182)),
    ],
)
def test_range_based_of_published_cases(case, setting, expected):
    """2.6: every cell of range precision, recall and F1 in cases A and B."""
    found = range_based(*case, **setting)
    precision, recall, f1 = found.select(
        RANGE_PRECISION.of_sums(), RANGE_RECALL.of_sums(), f_score(RANGE_PRECISION, RANGE_RECALL)
    ).row(0)
    assert (precision, recall) == pytest.approx(expected[:2], abs=5e-7)
    if expected[2] is not None:
        assert f1 == pytest.approx(expected[2], abs=5e-7)


def test_numenta_like_of_case_b():
    """2.6, "Numenta-like (-n, front)" .333333/.555556/.416667: hours for precision, early ones for recall."""
    found = point_wise(*CASE_B).join(range_based(*CASE_B, bias="front"), on=KEY)
    ratios = (ranges.POINT_PRECISION, RANGE_RECALL)
    expected = pytest.approx((1 / 3, 5 / 9, 5 / 12), abs=1e-12)
    assert found.select(*[ratio.of_sums() for ratio in ratios], f_score(*ratios)).row(0) == expected


@pytest.mark.parametrize(
    ("case", "precision", "recall"),
    [
        (CASE_A, 0.572843823, 0.925990676),
        (CASE_B, 0.654069909, 0.850050659),
        (CASE_C, 0.818181818, 0.844276094),
    ],
    ids=["A", "B", "C"],
)
def test_affiliation_of_published_cases(case, precision, recall):
    """2.6: the reference package's values, to the nine digits given."""
    found = affiliation(*case).select(nearness.AFFILIATION_PRECISION.of_sums(), nearness.AFFILIATION_RECALL.of_sums())
    assert found.row(0) == pytest.approx((precision, recall), abs=6e-10)


def test_affiliation_of_each_event_in_case_a():
    """2.6: per event P .6153846,.5303030 R .8974359,.9545455; zones end in the middle, at hour 13."""
    zones = affiliation(*CASE_A)
    assert zones["affiliation_precision"].to_list() == pytest.approx([0.6153846, 0.5303030], abs=5e-8)
    assert zones["affiliation_recall"].to_list() == pytest.approx([0.8974359, 0.9545455], abs=5e-8)
    assert zones.select("zone_hours", "window_hours", "alarm_hours").rows() == [(13.0, 6.0, 4.0), (11.0, 2.0, 3.0)]
    assert zones.select("start", "end").rows() == [(at(4), at(10)), (at(16), at(18))]


def test_sigmoid_of_case_d():
    """2.6, case D, and 2.2: .98661."""
    assert nearness.scaled_sigmoid([-1, -0.5, 0, 1, 3.01]).tolist() == pytest.approx(
        [0.986614, 0.848284, 0, -0.986614, -1], abs=5e-7
    )


def test_sweep_of_case_d():
    """2.6, case D: thresholds 1.1, .5, .3, .2, 0 score -10, -3, 12, 22, 19; rows (score, window, worth), misses cost 5.

    The first row is a threshold that nothing reaches, the others each score once, falling; probation has no rows here.
    """
    rows = [(0.0, None, -3.0), (0.2, 0, 20.0), (0.3, 0, 10.0), (0.5, 1, 5.0), (0.5, None, -3.0)]
    totals = []
    for threshold in [1.1, *sorted({score for score, _, _ in rows}, reverse=True)]:
        fired = [(window, worth) for score, window, worth in rows if score >= threshold]
        window = np.array([window for window, _ in fired if window is not None], dtype=np.int64)
        worth = np.array([worth for window, worth in fired if window is not None])
        found = nearness.points_of_windows(window, worth, windows=2, fn=5.0).sum()
        totals.append(found + sum(worth for window, worth in fired if window is None))
    assert totals == [-10.0, -3.0, 12.0, 22.0, 19.0]


def test_revised_point_adjustment_of_others_is_made_of_our_counts():
    """2.6: Merlion's revised PA, found events over hours that are false: mixed units, so not shipped.

    Case A .333333 1.0 .5 and delays of 3 h and 1 h; with max_early 2 h P .4 R 1 F .571429; with max_delay 2 h P .142857
    R .5. Case B .2/.666667/.307692. The cell nab_score .833841 is that package's own variant, its formula is not given.
    """

    def revised(events, found, false):
        precision, recall = found / (found + false), found / events
        return precision, recall, 2 * precision * recall / (precision + recall)

    def counts(case):
        events, found = range_based(*case, alpha=1.0).select("windows", "range_recall_sum").row(0)
        return events, found, point_wise(*case)["point_fp"].item()

    def widened(case, early):
        windows, alarms, spans = case
        return windows.with_columns(pl.col("start") - timedelta(hours=early)), alarms, spans

    assert revised(*counts(CASE_A)) == pytest.approx((1 / 3, 1.0, 0.5))
    assert revised(*counts(CASE_B)) == pytest.approx((0.2, 2 / 3, 0.307692), abs=5e-7)
    assert revised(*counts(widened(CASE_A, 2))) == pytest.approx((0.4, 1.0, 0.571429), abs=5e-7)
    windows, alarms, spans = CASE_A
    first = windows.join(alarms, on=KEY).filter(pl.col("hour").is_between("start", "end", closed="left"))
    delays = first.group_by("start").agg((pl.col("hour") - pl.col("start")).min()).sort("start")["hour"]
    assert delays.to_list() == [3 * HOUR, HOUR]
    assert delays.mean() == 2 * HOUR
    # found too late is not found, and its hours are false
    in_time = windows.with_columns(pl.min_horizontal("end", pl.col("start") + timedelta(hours=3)))
    assert revised(*counts((in_time, alarms, spans)))[:2] == pytest.approx((0.142857, 0.5), abs=5e-7)


# ---- plain loops ----


def hours_of(spans):
    return [
        start + n * HOUR for start, end in spans.select("start", "end").rows() for n in range((end - start) // HOUR)
    ]


def runs_of(hours):
    runs = []
    for hour in sorted(set(hours)):
        if runs and hour - runs[-1][-1] == HOUR:
            runs[-1].append(hour)
        else:
            runs.append([hour])
    return runs


class Slow:
    """One group as lists of hours; a row is an exposed hour, numbered from 0."""

    def __init__(self, windows, alarms, spans):
        self.exposed = sorted(hours_of(spans))
        self.row = {hour: row for row, hour in enumerate(self.exposed)}
        inside = set()
        for start, end in windows.select("start", "end").rows():
            hour = start.replace(minute=0, second=0, microsecond=0)
            while hour < end:
                inside.add(hour)
                hour += HOUR
        self.windows = [rows for run in runs_of(inside) if (rows := [self.row[h] for h in run if h in self.row])]
        self.alarms = sorted(self.row[hour] for hour in set(alarms["hour"].to_list()) if hour in self.row)
        fired = runs_of([self.exposed[row] for row in self.alarms])
        self.runs = [[self.row[hour] for hour in run] for run in fired]

    def points(self, adjusted):
        inside = {row for window in self.windows for row in window}
        fired = set(self.alarms)
        if adjusted:
            fired |= {row for window in self.windows if fired & set(window) for row in window}
        rows = range(len(self.exposed))
        return tuple(
            sum((row in fired) == hit and (row in inside) == labelled for row in rows)
            for hit, labelled in ((True, True), (True, False), (False, True), (False, False))
        )

    def ranged(self, alpha, bias, precision_bias, cardinality):
        def score(mine, theirs, alpha, bias):
            pieces = [other for other in theirs if set(other) & set(mine)]
            weight = [{"flat": 1, "front": len(mine) - i, "back": i + 1}[bias] for i in range(len(mine))]
            hit = sum(weight[i] for i, row in enumerate(mine) if any(row in other for other in pieces))
            kept = 1 / len(pieces) if cardinality == "reciprocal" and pieces else 1
            return alpha * bool(pieces) + (1 - alpha) * kept * hit / sum(weight)

        recall = sum(score(window, self.runs, alpha, bias) for window in self.windows)
        precision = sum(score(run, self.windows, 0, precision_bias) for run in self.runs)
        return len(self.windows), len(self.runs), recall, precision

    def affiliated(self):
        """By counting cells of a sixteenth of an hour: all borders and kinks of the integrands lie on their edges."""
        cells = 16
        zones = []
        edges = [0.0, *[(a[-1] + 1 + b[0]) / 2 for a, b in pairwise(self.windows)], float(len(self.exposed))]
        for (opens, closes), window in zip(pairwise(edges), self.windows):
            moments = (np.arange(opens * cells, closes * cells) + 0.5) / cells
            fired = np.isin(np.floor(moments), self.alarms)
            inside = (moments >= window[0]) & (moments < window[-1] + 1)
            away = np.maximum(np.maximum(window[0] - moments, moments - window[-1] - 1), 0)
            # of a cell that is as far as the alarm, half is farther
            farther = [1 if d == 0 else np.mean((away > d) + (away == d) / 2) for d in away[fired]]
            precision = np.mean(farther) if fired.any() else None
            recall = 0.0
            if fired.any():
                recall = np.mean([beyond(w, moments, moments[fired], cells) for w in moments[inside]])
            zones.append((closes - opens, len(window), fired.sum() / cells, precision, recall))
        return zones

    def nab(self, profile):
        def sigma(x):
            return -1.0 if x > 3 else 2 / (1 + exp(5 * x)) - 1

        opening = min(len(self.exposed) * 15 // 100, 750)
        windows = [rows for window in self.windows if (rows := [row for row in window if row >= opening])]
        total = 0.0
        for window in windows:
            worth = [profile.tp * sigma((i - len(window)) / len(window)) / sigma(-1) for i, row in enumerate(window)
                     if row in self.alarms]  # fmt: skip
            total += max(worth) if worth else -profile.fn
        for row in self.alarms:
            if row >= opening and not any(row in window for window in windows):
                before = [window for window in windows if window[-1] < row]
                total += profile.fp * (sigma((row - before[-1][-1]) / len(before[-1])) if before else -1)
        return len(windows), total, profile.tp * len(windows), -profile.fn * len(windows)


def beyond(moment, zone, fired, cells):
    """The share of the zone at least as far from the moment as the nearest alarm's edge."""
    nearest = max(np.abs(fired - moment).min() - 0.5 / cells, 0) if not np.isclose(fired, moment).any() else 0.0
    # a cell is split where its moments are nearer and farther: count what is beyond, in cells
    left = np.clip((moment - nearest) * cells - np.round(zone * cells - 0.5), 0, 1)
    right = np.clip(np.round(zone * cells + 0.5) - (moment + nearest) * cells, 0, 1)
    return np.minimum(left + right, 1).mean()


def random_groups(rng, groups=5):
    made = {}
    for group in range(groups):
        edge, spans = int(rng.integers(0, 5)), []
        for _ in range(int(rng.integers(1, 4))):
            end = edge + int(rng.integers(1, 30))
            spans.append((edge, end))
            edge = end + int(rng.choice([0, 1, 7]))  # spans may touch
        starts = rng.integers(-8, edge * 4, size=int(rng.integers(0, 6))) / 4
        windows = [(start, start + int(rng.integers(1, 40)) / 4) for start in starts]
        alarms = np.flatnonzero(rng.random(edge + 5) < rng.choice([0, 0.05, 0.3, 1])) - 2
        made[1 + group % 2, 10 - group // 2] = (windows, alarms.tolist(), spans)
    made[3, 1] = ([(0, 5)], [2], [])  # never exposed
    made[3, 2] = ([], [], [(0, 9)])
    return made


def slow_and_frames(seed):
    groups = random_groups(np.random.default_rng(seed))
    frames = frames_of(groups)
    slow = {key: Slow(*frames_of({key: group})) for key, group in sorted(groups.items()) if group[2]}
    # in any order, and hours that fired twice: once for two limits
    rng = np.random.default_rng(seed)
    frames = (frames[0], pl.concat([frames[1], frames[1].head(9)]), frames[2])
    return slow, [frame[rng.permutation(frame.height).tolist()] for frame in frames]


def close(frame, expected):
    assert len(expected) == frame.height
    for row, (key, values) in zip(frame.rows(), expected):
        assert row[:2] == key
        assert row[2:] == pytest.approx(values, abs=1e-9)


@pytest.mark.parametrize("seed", range(60))
def test_all_against_plain_loops(seed):
    slow, frames = slow_and_frames(seed)
    close(point_wise(*frames), [(key, group.points(adjusted=False)) for key, group in slow.items()])
    close(point_adjusted(*frames), [(key, group.points(adjusted=True)) for key, group in slow.items()])
    for alpha, bias, precision_bias, cardinality in (
        (0.0, "flat", "front", "one"),
        (0.3, "front", "back", "reciprocal"),
        (1.0, "back", "flat", "one"),
        (0.0, "back", "flat", "reciprocal"),
    ):
        setting = {"alpha": alpha, "bias": bias, "precision_bias": precision_bias, "cardinality": cardinality}
        close(range_based(*frames, **setting), [(key, group.ranged(**setting)) for key, group in slow.items()])
    for profile in (NAB_STANDARD, NAB_LOW_FP, NAB_LOW_FN, NabProfile(tp=0.5, fp=1, fn=0)):
        close(nab(*frames, profile=profile), [(key, group.nab(profile)) for key, group in slow.items()])


@pytest.mark.parametrize("seed", range(25))
def test_affiliation_against_counting_cells(seed):
    slow, frames = slow_and_frames(seed)
    columns = ("zone_hours", "window_hours", "alarm_hours", "affiliation_precision", "affiliation_recall")
    expected = [(key, zone) for key, group in slow.items() for zone in group.affiliated()]
    close(affiliation(*frames).select(*KEY, *columns), expected)


# ---- theory ----


@pytest.mark.parametrize("p", [0.01, 0.02, 0.05])
def test_random_alarms_look_excellent_point_adjusted_and_like_chance_otherwise(p):
    """2.2, Kim et al. 2022: F1 after adjustment .7355, .8473, .8135 at p .01, .02, .05; T 10,000, L 100, K 10.

    This is why ``point_adjusted`` is no headline. What is not adjusted stays where chance puts it: a tenth of alarms,
    hours or ranges, are in windows, because a tenth of hours are.
    """
    rng = np.random.default_rng(11)
    groups, hours, length, number = 600, 10_000, 100, 10
    key = pl.DataFrame({"project_id": 1, "group_id": range(groups)}, schema=IDS)
    windows = key.join(pl.DataFrame({"start": [at(500 + 1000 * n) for n in range(number)]}), how="cross")
    windows = windows.with_columns(end=pl.col("start") + timedelta(hours=length))
    spans = key.with_columns(start=at(0), end=at(hours))
    group, hour = np.nonzero(rng.random((groups, hours)) < p)
    alarms = pl.DataFrame({"project_id": 1, "group_id": group, "hour": hour}, schema_overrides=IDS).with_columns(
        hour=pl.lit(MONDAY) + pl.duration(hours="hour")
    )

    found = 1 - (1 - p) ** length
    precision = number * length * found / (number * length * found + (hours - number * length) * p)
    theory = 2 * precision * found / (precision + found)
    assert theory == pytest.approx({0.01: 0.7355, 0.02: 0.8473, 0.05: 0.8135}[p], abs=5e-5)
    adjusted = point_adjusted(windows, alarms, spans).select(ranges.POINT_ADJUSTED_F1.of_sums()).item()
    assert adjusted == pytest.approx(theory, abs=0.015)

    chance = 2 * 0.1 * p / (0.1 + p)
    assert p != 0.01 or chance == pytest.approx(0.0182, abs=5e-5)
    assert point_wise(windows, alarms, spans).select(ranges.POINT_F1.of_sums()).item() == pytest.approx(chance, rel=0.1)
    ranged = range_based(windows, alarms, spans)
    assert ranged.select(RANGE_PRECISION.of_sums()).item() == pytest.approx(0.1, abs=0.01)
    assert ranged.select(f_score(RANGE_PRECISION, RANGE_RECALL)).item() == pytest.approx(chance, rel=0.1)
    near = affiliation(windows, alarms, spans)
    beside = [nearness.AFFILIATION_PRECISION.of_sums(), nearness.AFFILIATION_PRECISION_RANDOM.of_sums()]
    precision, random = near.select(*beside).row(0)
    assert precision == pytest.approx(random, abs=0.01)
    assert random == pytest.approx(0.505, abs=0.005)
    # ten alarms or more in each zone: recall alone says nothing
    recall, random = near.select(
        nearness.AFFILIATION_RECALL.of_sums(), nearness.AFFILIATION_RECALL_RANDOM.of_sums()
    ).row(0)
    assert recall == pytest.approx(random, abs=0.015)
    assert recall > 0.85


@pytest.mark.parametrize("number", [1, 3])
def test_random_baselines_of_affiliation(number):
    """So many alarms at random in a zone of 200 hours: (1 + s^2) / 2 and m / (m + 1), by simulation."""
    rng = np.random.default_rng(3)
    groups, hours, window = 6000, 200, (120, 150)
    fired = {(1, g): ([window], rng.choice(hours, number, replace=False), [(0, hours)]) for g in range(groups)}
    zones = affiliation(*frames_of({key: (w, a.tolist(), s) for key, (w, a, s) in fired.items()}))
    precision, recall = zones.select(
        nearness.AFFILIATION_PRECISION.of_sums(), nearness.AFFILIATION_RECALL.of_sums()
    ).row(0)
    assert zones["affiliation_precision_random"].unique().to_list() == pytest.approx([(1 + 0.15**2) / 2])
    assert zones["affiliation_recall_random"].unique().to_list() == pytest.approx([number / (number + 1)])
    assert precision == pytest.approx((1 + 0.15**2) / 2, abs=0.01)
    assert recall == pytest.approx(number / (number + 1), abs=0.015)


ALWAYS = one_group([(4, 10), (16, 18)], range(24), 24)
NEVER = one_group([(4, 10), (16, 18)], [], 24)
QUIET = one_group([], [2, 3, 7], 24)


def test_a_detector_that_always_fires():
    """Precision is the share of hours labelled, or chance; recall is whole; a third of the hours are in windows."""
    assert point_wise(*ALWAYS).row(0)[2:] == (8, 16, 0, 0)
    assert range_based(*ALWAYS).row(0)[2:] == (2, 1, 2.0, pytest.approx(1 / 3))
    assert range_based(*ALWAYS, cardinality="reciprocal")["range_precision_sum"].item() == pytest.approx(1 / 6)
    zones = affiliation(*ALWAYS)
    assert zones["affiliation_recall"].to_list() == [1.0, 1.0]
    assert zones["affiliation_precision"].to_list() == pytest.approx(zones["affiliation_precision_random"].to_list())


def test_a_detector_that_never_fires_has_no_precision():
    """No alerts: precision is null, not 0 (2.6, edge vectors), and recall is 0."""
    points, adjusted, ranged = point_wise(*NEVER), point_adjusted(*NEVER), range_based(*NEVER)
    assert points.select(ranges.POINT_PRECISION.of_sums(), ranges.POINT_RECALL.of_sums()).row(0) == (None, 0.0)
    assert adjusted.select(ranges.POINT_ADJUSTED_PRECISION.of_sums(), ranges.POINT_ADJUSTED_RECALL.of_sums()).row(
        0
    ) == (
        None,
        0.0,
    )
    assert ranged.select(RANGE_PRECISION.of_sums(), RANGE_RECALL.of_sums()).row(0) == (None, 0.0)
    assert ranged.select(f_score(RANGE_PRECISION, RANGE_RECALL)).item() is None
    zones = affiliation(*NEVER)
    assert zones["affiliation_precision"].to_list() == zones["affiliation_precision_random"].to_list() == [None, None]
    assert zones["affiliation_recall"].to_list() == zones["affiliation_recall_random"].to_list() == [0.0, 0.0]
    assert zones.select(nearness.AFFILIATION_PRECISION.of_sums(), nearness.AFFILIATION_RECALL.of_sums()).row(0) == (
        None,
        0.0,
    )
    assert nab(*NEVER).select(NAB_SCORE.of_sums()).item() == 0.0


def test_no_events_leave_recall_undefined():
    points, ranged = point_wise(*QUIET), range_based(*QUIET)
    assert points.select(ranges.POINT_PRECISION.of_sums(), ranges.POINT_RECALL.of_sums()).row(0) == (0.0, None)
    assert ranged.row(0)[2:] == (0, 2, 0.0, 0.0)
    assert ranged.select(RANGE_PRECISION.of_sums(), RANGE_RECALL.of_sums()).row(0) == (0.0, None)
    assert ranged.select(f_score(RANGE_PRECISION, RANGE_RECALL)).item() is None
    assert affiliation(*QUIET).is_empty()
    assert affiliation(*QUIET).select(nearness.AFFILIATION_RECALL.of_sums()).item() is None
    # false alarms cost points, but there is no scale to put them on: the first 15 % (hours 0 to 2) are probation
    assert nab(*QUIET).row(0)[2:] == (0, pytest.approx(-0.22), 0.0, 0.0)
    assert nab(*QUIET).select(NAB_SCORE.of_sums()).item() is None


def test_f_score_is_0_where_both_are_0():
    apart = range_based(*one_group([(4, 10)], [2], 24))
    assert apart.select(f_score(RANGE_PRECISION, RANGE_RECALL)).item() == 0.0


# ---- edges ----


def test_empty_frames():
    frames = frames_of({})
    assert point_wise(*frames).is_empty()
    assert point_adjusted(*frames).is_empty()
    assert range_based(*frames).is_empty()
    assert affiliation(*frames).is_empty()
    assert nab(*frames).is_empty()
    schema = dict(affiliation(*CASE_A).schema)
    assert dict(affiliation(*frames).schema) == schema
    for function in (point_wise, point_adjusted, range_based, nab):
        assert function(*frames).schema == function(*CASE_A).schema
    assert schema["start"] == UTC_US
    assert point_wise(*CASE_A).schema["point_tp"] == range_based(*CASE_A).schema["windows"] == pl.Int64


def test_what_is_not_exposed_does_not_count():
    """A window over the edge of the data is cut there, one over a gap stays one, and alarms end at the gap."""
    windows = [(-3, 2), (8, 22), (40, 44)]
    frames = frames_of({(1, 7): (windows, [0, 9, 12, 20, 21, 41], [(0, 10), (20, 30)]), (1, 8): ([(2, 3)], [2], [])})
    # windows by hand: [0, 2), and [8, 10) with [20, 22); alarms: 0, then 9, then 20 and 21
    assert point_wise(*frames).rows() == [(1, 7, 4, 0, 2, 14)]
    assert range_based(*frames).rows() == [(1, 7, 2, 3, 0.5 + 0.75, 3.0)]
    assert range_based(*frames, cardinality="reciprocal")["range_recall_sum"].to_list() == [0.5 + 0.75 / 2]
    zones = affiliation(*frames)
    assert zones.select("start", "end").rows() == [(at(-3), at(2)), (at(8), at(22))]
    assert zones.select("zone_hours", "window_hours", "alarm_hours").rows() == [(5.0, 2.0, 1.0), (15.0, 4.0, 3.0)]


def test_an_hour_that_a_window_touches_is_in_it_and_windows_that_meet_are_one():
    frames = one_group([(4.5, 4.75), (5.25, 6), (6, 7), (9, 9.01)], [4, 8, 9], 12)
    assert point_wise(*frames).row(0)[2:] == (2, 1, 2, 7)
    assert range_based(*frames).row(0)[2:] == (2, 2, 1 / 3 + 1, 1.5)
    assert lay(*frames).windows.length.tolist() == [3, 1]


def test_times_far_from_ours():
    """A label without an end is often filled with the last moment there is; and clocks that were never set say 1970."""
    (windows, alarms, spans), never = CASE_A, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    early = windows.with_columns(start=datetime(1901, 1, 1, tzinfo=UTC), end=datetime(1969, 12, 31, 23, 30, tzinfo=UTC))
    assert_frame_equal(range_based(pl.concat([windows, early]), alarms, spans), range_based(*CASE_A))
    endless = windows.tail(1).with_columns(end=pl.lit(never))
    assert point_wise(endless, alarms, spans).row(0)[2:] == (3, 4, 5, 12)


def test_groups_of_the_same_number_in_two_projects_are_two():
    labelled, fired = [(4, 8)], [5, 6]
    frames = frames_of({(1, 7): (labelled, [], [(0, 10)]), (2, 7): ([], fired, [(0, 10)])})
    assert point_wise(*frames).rows() == [(1, 7, 0, 0, 4, 6), (2, 7, 0, 2, 0, 8)]


def test_labels_of_two_groups_swapped_or_an_hour_off_are_another_score():
    groups = {(1, 1): ([(4, 8)], [4, 5, 6, 7], [(0, 20)]), (1, 2): ([(12, 16)], [12, 13, 14, 15], [(0, 20)])}
    windows, alarms, spans = frames_of(groups)
    perfect = {"range_recall_sum": [1.0, 1.0], "range_precision_sum": [1.0, 1.0]}
    right = range_based(windows, alarms, spans)
    assert right.select(*perfect).to_dict(as_series=False) == perfect
    assert nab(windows, alarms, spans).select(NAB_SCORE.of_sums()).item() == pytest.approx(100)
    swapped = range_based(windows.with_columns(group_id=3 - pl.col("group_id")), alarms, spans)
    assert swapped["range_recall_sum"].to_list() == [0.0, 0.0]
    late = windows.with_columns(pl.col("start", "end") + HOUR)
    assert range_based(late, alarms, spans)["range_recall_sum"].to_list() == [0.75, 0.75]
    assert nab(late, alarms, spans).select(NAB_SCORE.of_sums()).item() < 100
    assert affiliation(late, alarms, spans)["affiliation_precision"].to_list() != [1.0, 1.0]


def test_other_groups_do_not_matter():
    """A group scores the same alone as among others."""
    groups = {key: group for key, group in random_groups(np.random.default_rng(5)).items() if group[2]}
    together = frames_of(groups)
    for function in (point_wise, point_adjusted, range_based, nab, affiliation):
        alone = pl.concat([function(*frames_of({key: groups[key]})) for key in sorted(groups)])
        assert_frame_equal(function(*together), alone, abs_tol=1e-12)


def test_ratios_in_select_agg_and_over():
    """Micro and macro of the same frame: ratios of sums, and the mean of the groups that have one."""
    groups = {(1, 1): ([(0, 8)], [1], [(0, 10)]), (1, 2): ([(0, 2)], [0, 1], [(0, 10)]), (2, 1): ([], [5], [(0, 10)])}
    hours = point_wise(*frames_of(groups))
    assert hours.select(ranges.POINT_RECALL.of_sums()).item() == 0.3
    assert hours.select(ranges.POINT_RECALL.macro().of_sums()).item() == (1 / 8 + 1) / 2
    per_project = hours.group_by("project_id").agg(ranges.POINT_RECALL.of_sums()).sort("project_id")
    assert per_project.rows() == [(1, 0.3), (2, None)]
    assert hours.select(ranges.POINT_PRECISION.of_sums().over("group_id")).to_series().to_list() == [0.5, 1.0, 0.5]
    zones = affiliation(*frames_of(groups))
    by_group = zones.group_by(KEY).agg(nearness.AFFILIATION_RECALL.of_sums()).sort(KEY)
    assert by_group["affiliation_recall"].to_list() == zones["affiliation_recall"].to_list()


def test_nab_by_hand():
    """Standard profile, 40 rows, probation to row 6: a window of 4 rows found in its second row, one missed, strays."""
    frames = one_group([(10, 14), (30, 32)], [2, 8, 11, 12, 15, 27], 40)

    def sigma(x):
        return 2 / (1 + exp(5 * x)) - 1

    found = sigma(-0.75) / sigma(-1)
    # row 2 is probation, row 8 before any window, 15 two rows behind the window's last, 27 more than three lengths
    lost = -1 + sigma(2 / 4) - 1
    assert nab(*frames).rows() == [(1, 7, 2, pytest.approx(found - 1 + 0.11 * lost), 2.0, -2.0)]
    score = nab(*frames).select(NAB_SCORE.of_sums()).item()
    assert score == pytest.approx(100 * (found - 1 + 0.11 * lost + 2) / 4)
    few_fp = nab(*frames, profile=NAB_LOW_FP)["nab_points"].item()
    assert few_fp == pytest.approx(found - 1 + 0.22 * lost)
    few_fn = nab(*frames, profile=NAB_LOW_FN)
    assert few_fn["nab_points"].item() == pytest.approx(found - 2 + 0.11 * lost)
    assert few_fn["nab_points_null"].item() == -4.0


@pytest.mark.parametrize(("hours", "opening"), [(100, 15), (19, 2), (4999, 749), (5000, 750), (9000, 750)])
def test_probation_is_15_percent_and_at_most_750_rows(hours, opening):
    """2.6, edge vectors: what fires before the first row that counts is no false alarm, and no window is there."""
    frames = one_group([(0, opening)], range(opening), hours)
    assert nab(*frames).row(0)[2:] == (0, 0.0, 0.0, 0.0)
    frames = one_group([(0, opening + 1)], [opening - 1], hours)
    assert nab(*frames).row(0)[2:] == (1, -1.0, 1.0, -1.0)
    frames = one_group([(0, opening + 1)], [opening], hours)
    assert nab(*frames).row(0)[2:] == (1, 1.0, 1.0, -1.0)


def test_frames_of_a_backtest_fit():
    """``result.crossings`` and ``result.exposure`` as they are, escalations with an end: judged hours count once."""
    rng = np.random.default_rng(2)
    counts = random_counts(rng)
    escalations = random_escalations(rng, counts, number=12)
    result = backtest(counts, escalations, thresholds=ThresholdVariables(0, 0.7, 0.7, 0, 0), buckets="dense")
    ended = pl.col("ended_at").fill_null(pl.col("escalated_at") + timedelta(hours=24))
    windows = result.escalations.select(*KEY, start="escalated_at", end=ended)
    frames = (windows, result.crossings, result.exposure)
    hours = point_wise(*frames)
    assert result.crossings.height > 20
    assert hours.select(pl.col("point_tp") + pl.col("point_fp")).to_series().sum() == result.crossings.height
    assert 0 < hours["point_tp"].sum() < result.crossings.height
    assert_frame_equal(hours.select(KEY), result.groups.select(KEY))
    in_all = hours.select(pl.sum_horizontal(pl.exclude(KEY))).to_series()
    assert in_all.to_list() == result.groups["exposed_hours"].to_list()
    slow = {key: Slow(*(frame.filter(pl.col("project_id") == key[0], pl.col("group_id") == key[1]) for frame in frames))
            for key in hours.select(KEY).rows()}  # fmt: skip
    close(nab(*frames), [(key, group.nab(NAB_STANDARD)) for key, group in slow.items()])


# ---- errors ----


@pytest.mark.parametrize(
    ("which", "change", "message"),
    [
        (0, lambda frame: frame.drop("end"), "windows: no column end. Found: project_id, group_id, start."),
        (0, lambda frame: frame.with_columns(end="start"), "windows: not in every row: start is before end."),
        (0, lambda frame: frame.with_columns(end=pl.lit(None, dtype=UTC_US)), "windows: end holds nulls."),
        (0, lambda frame: frame.with_columns(pl.col("group_id").cast(pl.Int32)), "group_id is Int32, not Int64"),
        (1, lambda frame: frame.with_columns(pl.col("hour").cast(pl.Datetime("ms", "UTC"))), "hour is Datetime"),
        (1, lambda frame: frame.with_columns(pl.col("hour") + timedelta(minutes=1)), "alarms: hour is not everywhere"),
        (2, lambda frame: frame.with_columns(pl.col("end") + timedelta(minutes=1)), "spans: end is not everywhere"),
        (2, lambda frame: pl.concat([frame, frame]), "spans: two spans of a group overlap"),
    ],
)
def test_frames_that_are_refused(which, change, message):
    frames = list(CASE_A)
    frames[which] = change(frames[which])
    for function in (point_wise, point_adjusted, range_based, affiliation, nab):
        with pytest.raises(FrameError) as caught:
            function(*frames)
        assert message in str(caught.value)


def test_settings_that_are_refused():
    with pytest.raises(SettingsError, match=r"alpha: 1\.5"):
        range_based(*CASE_A, alpha=1.5)
    with pytest.raises(SettingsError, match=r"alpha: nan"):
        range_based(*CASE_A, alpha=float("nan"))
    with pytest.raises(SettingsError, match="bias: 'middle' is none of flat, front, back"):
        range_based(*CASE_A, bias="middle")
    with pytest.raises(SettingsError, match="cardinality: 'two'"):
        range_based(*CASE_A, cardinality="two")
    for weight in (-0.1, float("nan"), float("inf")):
        with pytest.raises(SettingsError, match="fp: "):
            NabProfile(fp=weight)


def test_point_adjusted_warns_and_keeps_its_name():
    """A figure made by adjustment cannot be taken for another: every column and ratio says so, and so does the help."""
    assert "Do not judge a detector by this" in point_adjusted.__doc__
    assert all(name.startswith("point_adjusted_") for name in point_adjusted(*CASE_A).columns if name not in KEY)
    for ratio in (ranges.POINT_ADJUSTED_PRECISION, ranges.POINT_ADJUSTED_RECALL, ranges.POINT_ADJUSTED_F1):
        assert ratio.name.startswith("point_adjusted_")
