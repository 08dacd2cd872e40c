"""Scores of how near alarms are to what happened: affiliation, and the score of the Numenta Anomaly Benchmark.

Frames are those of ``ranges``: ``windows`` (project_id, group_id, start, end), ``alarms`` (project_id, group_id, hour)
and ``spans`` (project_id, group_id, start, end). Only hours in spans count; time and distance are exposed hours, and
windows of a group that overlap or meet are one. Secondary scores both: alerts and events (``ratios``) come first.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from issue_analytics.errors import SettingsError
from issue_analytics.scores.line import Line, Ranges, Whole, lay, overlaps
from issue_analytics.scores.ratios import Ratio

__all__ = [
    "AFFILIATION_PRECISION",
    "AFFILIATION_PRECISION_RANDOM",
    "AFFILIATION_RECALL",
    "AFFILIATION_RECALL_RANDOM",
    "NAB_LOW_FN",
    "NAB_LOW_FP",
    "NAB_SCORE",
    "NAB_STANDARD",
    "NabProfile",
    "affiliation",
    "nab",
    "points_of_windows",
    "scaled_sigmoid",
]

Floats = npt.NDArray[np.float64]


def _mean(name: str) -> Ratio:
    """The mean over rows that have a value."""
    return Ratio(name, pl.col(name).fill_null(0.0), pl.col(name).is_not_null().cast(pl.Int64))


AFFILIATION_PRECISION: Final = _mean("affiliation_precision")
"""The mean over zones with alarms; see :func:`affiliation`."""

AFFILIATION_PRECISION_RANDOM: Final = _mean("affiliation_precision_random")
"""What alarms at random would have for ``AFFILIATION_PRECISION``, in the same zones; show it beside."""

AFFILIATION_RECALL: Final = _mean("affiliation_recall")
"""The mean over all zones; see :func:`affiliation`."""

AFFILIATION_RECALL_RANDOM: Final = _mean("affiliation_recall_random")
"""What as many alarms at random would have for ``AFFILIATION_RECALL``; show it beside."""


def affiliation(windows: pl.DataFrame, alarms: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """Judge alarms by their distance to the nearest window, against alarms thrown at random around it.

    A group's exposed hours are cut into zones, one for each window, in the middle between two windows. With Z the zone,
    W its window, A the alarms in it, and X a moment at random in Z:

    - precision: the mean over moments a of A of P(|X, W| >= |a, W|): 1 inside the window, less the farther away;
    - recall: the mean over moments w of W of P(|X, w| >= |A, w|): how near the nearest alarm came; 0 without A.

    Both are integrals of piecewise linear functions, exact here. Neither is about how many alarms there were.
    **A value near one half is what chance gives**: the columns ``_random`` say what alarms at random would have, and
    belong beside any figure. For precision that is (1 + s^2) / 2, with s the window's share of the zone; for recall
    m / (m + 1) with m moments at random, where m is the number of hours that fired in the zone (whole hours at random
    reach a little more in short zones).

    A group without a window has no zone, so its alarms are in no score: false alarms must be judged by their rate.

    Source: Huet, Navarro, Rossi 2022, "Local evaluation of time series anomaly detection algorithms" (KDD).

    Args:
        windows: project_id, group_id, start, end: labelled time, [start, end); widened to whole hours.
        alarms: project_id, group_id, hour: hours that fired.
        spans: project_id, group_id, start, end: exposed whole hours, not overlapping.

    Returns:
        One row per window with exposed hours, in the order of groups and time: ``project_id``, ``group_id``, ``start``
        and ``end`` (the window's whole hours, exposed or not), ``zone_hours``, ``window_hours``, ``alarm_hours`` (all
        exposed; an hour on a border is halved), ``affiliation_precision`` (null without alarms in the zone),
        ``affiliation_recall``, ``affiliation_precision_random`` (null where precision is),
        ``affiliation_recall_random``. ``AFFILIATION_PRECISION.of_sums()`` and so on average them, over all zones or in
        ``agg`` over those of each group; the mean over groups of the latter is macro.

    Raises:
        FrameError: a frame lacks one of these columns, a time is null, a window is empty, spans overlap, or spans or
            alarms are not of whole hours.

    >>> from datetime import UTC, datetime
    >>> at = lambda hour: datetime(2026, 1, 5, hour, tzinfo=UTC)
    >>> group = pl.DataFrame({"project_id": [1], "group_id": [7]})
    >>> windows, spans = group.with_columns(start=at(10), end=at(12)), group.with_columns(start=at(0), end=at(20))
    >>> zones = affiliation(windows, group.with_columns(hour=at(12)), spans)
    >>> zones.select(pl.col("^affiliation_.*$").round(3)).row(0)
    (0.85, 0.9, 0.505, 0.5)
    >>> affiliation(windows, group.with_columns(hour=at(12)).clear(), spans)["affiliation_precision"].item() is None
    True
    """
    line = lay(windows, alarms, spans)
    zones = _zones(line)
    # half hours are whole numbers, as are the borders of zones, until distances within a zone are taken
    halves = Ranges(2 * line.runs.start, 2 * line.runs.end)
    _, zone, shared = overlaps(halves, zones)
    begin, end = ((side - zones.start[zone]) / 2 for side in (shared.start, shared.end))
    opens, closes = ((2 * side - zones.start) / 2 for side in (line.windows.start, line.windows.end))
    hours = zones.length / 2
    number = hours.size

    def added(values: Floats) -> Floats:
        return np.bincount(zone, weights=values, minlength=number).astype(np.float64)

    inside = _between(np.maximum(begin, opens[zone]), np.minimum(end, closes[zone]))
    of_precision = inside + _worth_of_alarms(begin, end, opens[zone], closes[zone], hours[zone])
    of_recall = inside + _worth_of_moments(zone, begin, end, opens[zone], closes[zone], hours[zone])
    fired = added(end - begin)
    window_hours = closes - opens
    group = line.keys[line.groups.holding(line.windows.start)]
    scored = pl.concat([group, line.times], how="horizontal").with_columns(
        pl.Series("zone_hours", hours),
        pl.Series("window_hours", window_hours),
        pl.Series("alarm_hours", fired),
        pl.Series("affiliation_precision", added(of_precision) / np.where(fired > 0, fired, 1)),
        pl.Series("affiliation_recall", added(of_recall) / window_hours),
        pl.Series("affiliation_precision_random", (1 + (window_hours / hours) ** 2) / 2),
        pl.Series("affiliation_recall_random", fired / (fired + 1)),
    )
    defined = pl.col("affiliation_precision", "affiliation_precision_random")
    return scored.with_columns(pl.when(pl.col("alarm_hours") > 0).then(defined))


def _zones(line: Line) -> Ranges:
    """The part of the line nearest to each window, in half hours, to the ends of its group."""
    windows, group = line.windows, line.groups.holding(line.windows.start)
    start, end = 2 * line.groups.start[group], 2 * line.groups.end[group]
    together = group[1:] == group[:-1]
    middle = (windows.end[:-1] + windows.start[1:])[together]
    start[1:][together] = middle
    end[:-1][together] = middle
    return Ranges(start, end)


def _between(start: Floats, end: Floats) -> Floats:
    return np.maximum(end - start, 0.0, dtype=np.float64)


def _square(values: Floats) -> Floats:
    return np.square(np.maximum(values, 0.0), dtype=np.float64)


def _worth_of_alarms(begin: Floats, end: Floats, opens: Floats, closes: Floats, hours: Floats) -> Floats:
    """The integral of P(|X, W| >= |a, W|) over the moments a of a piece of alarms outside the window.

    At distance d that is (max(0, room before - d) + max(0, room after - d)) / hours. All but ``hours`` count from the
    zone's start.
    """
    before = (_between(np.minimum(end, opens), opens), _between(np.minimum(begin, opens), opens))
    after = (_between(closes, np.maximum(begin, closes)), _between(closes, np.maximum(end, closes)))
    worth = np.zeros_like(hours)
    for near, far in (before, after):
        for room in (opens, hours - closes):
            worth += (_square(room - near) - _square(room - far)) / 2
    return worth / hours


def _worth_of_moments(zone: Whole, begin: Floats, end: Floats, opens: Floats, closes: Floats, hours: Floats) -> Floats:
    """The integral of P(|X, w| >= |A, w|) over the silent moments w of the window that a piece of alarms is nearest to.

    These lie between the middle to the piece before and the middle to the piece after. X is as far from w as the edge
    of the piece if it lies beyond that edge, or beyond the edge mirrored at w.
    """
    together = zone[1:] == zone[:-1]
    middle = (end[:-1] + begin[1:]) / 2
    first, last = np.zeros_like(hours), hours.copy()
    first[1:][together] = middle[together]
    last[:-1][together] = middle[together]

    start, stop = np.maximum(first, opens), np.minimum(begin, closes)
    stop = np.maximum(start, stop)
    early = (hours - begin) * (stop - start) + (_square(2 * stop - begin) - _square(2 * start - begin)) / 4
    start, stop = np.maximum(end, opens), np.minimum(last, closes)
    stop = np.maximum(start, stop)
    late = end * (stop - start) + (_square(hours + end - 2 * start) - _square(hours + end - 2 * stop)) / 4
    worth: Floats = (early + late) / hours
    return worth


@dataclass(frozen=True, slots=True, kw_only=True)
class NabProfile:
    """What a find, a false alarm and a miss weigh in :func:`nab`.

    Attributes:
        tp: for a window found at once.
        fp: against an hour that fired far from any window.
        fn: against a window missed.

    >>> NabProfile(fn=3.0)
    NabProfile(tp=1.0, fp=0.11, fn=3.0)
    """

    tp: float = 1.0
    fp: float = 0.11
    fn: float = 1.0

    def __post_init__(self) -> None:
        for name in ("tp", "fp", "fn"):
            weight = getattr(self, name)
            if not isfinite(weight) or weight < 0:
                raise SettingsError(f"{name}: {weight} is no weight; it must be 0 or more.")


NAB_STANDARD: Final = NabProfile()
"""The benchmark's standard profile."""

NAB_LOW_FP: Final = NabProfile(fp=0.22)
"""The benchmark's profile that rewards few false alarms."""

NAB_LOW_FN: Final = NabProfile(fn=2.0)
"""The benchmark's profile that rewards few misses."""

_PROBATION_PERCENT: Final = 15
_PROBATION_HOURS: Final = 750
_FAR: Final = 3.0

NAB_SCORE: Final = Ratio(
    "nab_score",
    pl.col("nab_points") - pl.col("nab_points_null"),
    pl.col("nab_points_perfect") - pl.col("nab_points_null"),
    scale=100.0,
)
"""100 for every window found at once and nothing else, 0 for no alarm ever; null without windows; see :func:`nab`."""


def scaled_sigmoid(position: npt.ArrayLike) -> Floats:
    """The benchmark's worth of an alarm at a position: ``2 / (1 + e^(5 x)) - 1``, and -1 beyond 3.

    ``position`` is -1 at the start of a window, 0 at its end, 1 as far behind it as it is long.

    >>> scaled_sigmoid([-1, 0, 1, 3.5]).round(6).tolist()
    [0.986614, 0.0, -0.986614, -1.0]
    """
    position = np.asarray(position, dtype=np.float64)
    return np.where(position > _FAR, -1.0, 2 / (1 + np.exp(5 * np.minimum(position, _FAR))) - 1)


def points_of_windows(window: Whole, worth: Floats, *, windows: int, fn: float) -> Floats:
    """What each window earns: the best of its alarms, or ``-fn`` if it has none.

    Args:
        window: the number of the window of each alarm, from 0.
        worth: what each alarm is worth.
        windows: how many windows there are.
        fn: the weight of a miss.

    >>> points_of_windows(np.array([0, 0]), np.array([0.2, 0.9]), windows=2, fn=1.0).tolist()
    [0.9, -1.0]
    """
    best = np.full(windows, -np.inf)
    np.maximum.at(best, window, worth)
    return np.where(np.isneginf(best), -fn, best)


def nab(
    windows: pl.DataFrame, alarms: pl.DataFrame, spans: pl.DataFrame, *, profile: NabProfile = NAB_STANDARD
) -> pl.DataFrame:
    """Score hours that fired as the Numenta Anomaly Benchmark does: the earlier in a window, the better.

    An alarm in row i of a window of n rows (hours), i = 0 first, is worth ``tp * sigma((i - n) / n) / sigma(-1)``, with
    sigma as in :func:`scaled_sigmoid`; a window counts its best alarm, or ``-fn`` without one. Every hour that fired
    outside windows counts ``fp * sigma(k / n)``, where k is the number of rows it lies behind the last row of the
    window before it (of n rows), or ``-fp`` before the first. The first 15 % of a group's rows, at most 750, are
    probation and count as no rows at all: windows are cut there. ``NAB_SCORE`` is
    100 (S - S_null) / (S_perfect - S_null), where S_null is for no alarm and S_perfect for every window found in its
    first row and nothing else.

    To compare with others' figures only. Alarms are there or not: no best threshold is searched for. k / n behind a
    window is our reading of the paper. Windows of few hours make it coarse. Criticism: Singh and Olinsky 2017; Wu and
    Keogh 2021.

    Source: Lavin and Ahmad 2015, "Evaluating real-time anomaly detection algorithms: the Numenta Anomaly Benchmark".

    Args:
        windows: project_id, group_id, start, end: labelled time, [start, end); widened to whole hours.
        alarms: project_id, group_id, hour: hours that fired.
        spans: project_id, group_id, start, end: exposed whole hours, not overlapping: the rows, one after the other.
        profile: weights; ``NAB_STANDARD``, ``NAB_LOW_FP``, ``NAB_LOW_FN`` or your own.

    Returns:
        One row per exposed group, sorted: ``project_id``, ``group_id``, ``windows`` (with rows after probation),
        ``nab_points``, ``nab_points_perfect``, ``nab_points_null``.

    Raises:
        FrameError: as :func:`affiliation`.

    >>> from datetime import UTC, datetime
    >>> at = lambda hour: datetime(2026, 1, 5, hour, tzinfo=UTC)
    >>> group = pl.DataFrame({"project_id": [1], "group_id": [7]})
    >>> windows, spans = group.with_columns(start=at(10), end=at(14)), group.with_columns(start=at(0), end=at(20))
    >>> nab(windows, group.with_columns(hour=at(10)), spans).select(NAB_SCORE.of_sums()).item()
    100.0
    >>> nab(windows, group.with_columns(hour=at(4)), spans).select(NAB_SCORE.of_sums().round(2)).item()
    -5.5
    """
    line = lay(windows, alarms, spans)
    hours = line.groups.length
    opening = line.groups.start + np.minimum(hours * _PROBATION_PERCENT // 100, _PROBATION_HOURS)
    start = np.maximum(line.windows.start, opening[line.groups.holding(line.windows.start)])
    kept = start < line.windows.end
    judged = Ranges(start[kept], line.windows.end[kept])
    fired = line.alarms[line.alarms >= opening[line.groups.holding(line.alarms)]]

    window = judged.holding(fired)
    found, in_window = fired[window >= 0], window[window >= 0]
    position = (found - judged.end[in_window]) / judged.length[in_window]
    worth = profile.tp * scaled_sigmoid(position) / scaled_sigmoid(-1)
    earned = points_of_windows(in_window, worth, windows=judged.start.size, fn=profile.fn)

    stray = fired[window < 0]
    lost = -profile.fp * np.ones(stray.size)
    before = np.searchsorted(judged.end, stray, side="right") - 1
    behind = before >= 0
    behind[behind] = judged.start[before[behind]] >= opening[line.groups.holding(stray[behind])]
    last = before[behind]
    lost[behind] = profile.fp * scaled_sigmoid((stray[behind] - judged.end[last] + 1) / judged.length[last])

    many = line.count(judged.start)
    return line.keys.with_columns(
        pl.Series("windows", many),
        pl.Series("nab_points", line.add(judged.start, earned) + line.add(stray, lost)),
        pl.Series("nab_points_perfect", profile.tp * many),
        pl.Series("nab_points_null", -profile.fn * many),
    )
