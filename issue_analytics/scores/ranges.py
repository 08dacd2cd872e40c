"""Scores of hours and of ranges: point-wise, point-adjusted, and range-based precision and recall.

All take the same three frames and give sums per group, which a :class:`Ratio` turns into a score for any rows:

- ``windows``: project_id, group_id, start, end: labelled time, [start, end), whole hours or not. An hour that a window
  touches is in it; windows of a group that overlap or meet are one.
- ``alarms``: project_id, group_id, hour: hours that fired. Hours one after another are one range of alarms.
- ``spans``: project_id, group_id, start, end: exposed whole hours, not overlapping (``result.exposure``). Only hours in
  them count, and time outside them takes no room: a window with a gap inside is one window, of its exposed hours.

These are secondary scores. Alerts and events (``ratios``) are the units that people meet; hours and ranges are what
other publications count, and long windows weigh more in them.
"""

from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from issue_analytics.errors import SettingsError
from issue_analytics.scores.line import Line, Ranges, Whole, lay, overlaps
from issue_analytics.scores.ratios import Ratio

__all__ = [
    "POINT_ADJUSTED_F1",
    "POINT_ADJUSTED_PRECISION",
    "POINT_ADJUSTED_RECALL",
    "POINT_F1",
    "POINT_IOU",
    "POINT_PRECISION",
    "POINT_RECALL",
    "RANGE_PRECISION",
    "RANGE_RECALL",
    "Bias",
    "Cardinality",
    "point_adjusted",
    "point_wise",
    "range_based",
]

Bias = Literal["flat", "front", "back"]
"""Which hours of a range weigh more: all the same, the early ones, or the late ones."""

Cardinality = Literal["one", "reciprocal"]
"""What a range hit in x pieces keeps of its score: all of it, or 1/x."""


def _ratios(prefix: str) -> tuple[Ratio, Ratio, Ratio, Ratio]:
    tp, fp, fn = (pl.col(f"{prefix}_{name}") for name in ("tp", "fp", "fn"))
    return (
        Ratio(f"{prefix}_precision", tp, tp + fp),
        Ratio(f"{prefix}_recall", tp, tp + fn),
        Ratio(f"{prefix}_f1", 2 * tp, 2 * tp + fp + fn),
        Ratio(f"{prefix}_iou", tp, tp + fp + fn),
    )


POINT_PRECISION, POINT_RECALL, POINT_F1, POINT_IOU = _ratios("point")
"""Of hours; see :func:`point_wise`."""

POINT_ADJUSTED_PRECISION, POINT_ADJUSTED_RECALL, POINT_ADJUSTED_F1, _ = _ratios("point_adjusted")
"""No measure of a detector; see :func:`point_adjusted`."""

RANGE_PRECISION: Final = Ratio("range_precision", pl.col("range_precision_sum"), pl.col("alarm_ranges"))
"""The mean over ranges of alarms; see :func:`range_based`."""

RANGE_RECALL: Final = Ratio("range_recall", pl.col("range_recall_sum"), pl.col("windows"))
"""The mean over windows; see :func:`range_based`."""


def point_wise(windows: pl.DataFrame, alarms: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """Count every exposed hour as right or wrong: a diagnosis, no headline.

    ``POINT_PRECISION`` is tp / (tp + fp), null without alarms; ``POINT_RECALL`` tp / (tp + fn), null without windows;
    ``POINT_F1`` 2 tp / (2 tp + fp + fn) (Dice), 0 where only one of alarms and windows is there and null without both;
    ``POINT_IOU`` tp / (tp + fp + fn) (Jaccard). A window of a hundred hours weighs as much as a hundred of one hour.

    Args:
        windows: project_id, group_id, start, end: labelled time; see the module.
        alarms: project_id, group_id, hour: hours that fired.
        spans: project_id, group_id, start, end: exposed whole hours.

    Returns:
        One row per exposed group, sorted: ``project_id``, ``group_id``, and numbers of hours: ``point_tp`` (fired, in a
        window), ``point_fp`` (fired, in none), ``point_fn`` (silent, in a window), ``point_tn`` (silent, in none).

    Raises:
        FrameError: a frame lacks one of these columns, a time is null, a window is empty, spans overlap, or spans or
            alarms are not of whole hours.

    >>> from datetime import UTC, datetime
    >>> at = lambda hour: datetime(2026, 1, 5, hour, tzinfo=UTC)
    >>> group = pl.DataFrame({"project_id": [1], "group_id": [7]})
    >>> windows, spans = group.with_columns(start=at(4), end=at(8)), group.with_columns(start=at(0), end=at(20))
    >>> alarms = group.join(pl.DataFrame({"hour": [at(2), at(6), at(7)]}), how="cross")
    >>> hours = point_wise(windows, alarms, spans)
    >>> hours.rows()
    [(1, 7, 2, 1, 2, 15)]
    >>> hours.select(POINT_RECALL.of_sums(), POINT_IOU.of_sums()).row(0)
    (0.5, 0.4)
    """
    line = lay(windows, alarms, spans)
    hit = line.count(line.alarms[line.windows.holding(line.alarms) >= 0])
    return _hours(line, "point", hit)


def point_adjusted(windows: pl.DataFrame, alarms: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """Count hours as in :func:`point_wise`, but all hours of a window as found if a single one of them fired.

    **Do not judge a detector by this.** Alarms thrown at random look excellent. Where each hour fires with probability
    p, and T hours hold K windows of L hours, a window counts as found with probability d = 1 - (1 - p)^L: recall is d,
    precision K L d / (K L d + (T - K L) p). T = 10,000, L = 100, K = 10 and p = 0.01 give F1 = 0.74, where F1 of hours
    is 0.02. It is here so that published figures can be reproduced, under this name only.

    Source: Xu et al. 2018 (origin); Kim et al. 2022, "Towards a rigorous evaluation of time-series anomaly detection"
    (why not).

    Args:
        windows: project_id, group_id, start, end: labelled time; see the module.
        alarms: project_id, group_id, hour: hours that fired.
        spans: project_id, group_id, start, end: exposed whole hours.

    Returns:
        One row per exposed group, sorted: ``project_id``, ``group_id``, and numbers of hours: ``point_adjusted_tp`` (in
        a window with an alarm), ``point_adjusted_fp``, ``point_adjusted_fn`` (in a window without) and
        ``point_adjusted_tn``; for ``POINT_ADJUSTED_PRECISION``, ``POINT_ADJUSTED_RECALL`` and ``POINT_ADJUSTED_F1``.

    Raises:
        FrameError: as :func:`point_wise`.

    >>> from datetime import UTC, datetime
    >>> at = lambda hour: datetime(2026, 1, 5, hour, tzinfo=UTC)
    >>> group = pl.DataFrame({"project_id": [1], "group_id": [7]})
    >>> windows, spans = group.with_columns(start=at(4), end=at(8)), group.with_columns(start=at(0), end=at(20))
    >>> alarms = group.join(pl.DataFrame({"hour": [at(2), at(7)]}), how="cross")
    >>> point_adjusted(windows, alarms, spans).rows()
    [(1, 7, 4, 1, 0, 15)]
    """
    line = lay(windows, alarms, spans)
    hit = np.zeros(line.windows.start.size, dtype=np.bool_)
    held = line.windows.holding(line.alarms)
    hit[held[held >= 0]] = True
    return _hours(line, "point_adjusted", line.add(line.windows.start[hit], line.windows.length[hit]).astype(np.int64))


def _hours(line: Line, prefix: str, found: Whole) -> pl.DataFrame:
    """The four counts, from the hours of windows that were found."""
    labelled = line.add(line.windows.start, line.windows.length).astype(np.int64)
    false = line.count(line.alarms[line.windows.holding(line.alarms) < 0])
    return line.keys.with_columns(
        pl.Series(f"{prefix}_tp", found),
        pl.Series(f"{prefix}_fp", false),
        pl.Series(f"{prefix}_fn", labelled - found),
        pl.Series(f"{prefix}_tn", line.groups.length - labelled - false),
    )


def range_based(
    windows: pl.DataFrame,
    alarms: pl.DataFrame,
    spans: pl.DataFrame,
    *,
    alpha: float = 0.0,
    bias: Bias = "flat",
    precision_bias: Bias = "flat",
    cardinality: Cardinality = "one",
) -> pl.DataFrame:
    """Judge every window by how much of it fired, and every range of alarms by how much of it was in windows.

    Recall of a window R with the ranges of alarms P that share hours with it, x in number:
    ``alpha [x > 0] + (1 - alpha) gamma(x) sum of omega(R, P)``, where omega is the share of R that P covers, its hours
    weighted by the bias, and gamma(x) is 1, or 1 / x with ``cardinality="reciprocal"``, which makes one catch in one
    piece better than the same hours in several. Precision of a range of alarms is the same the other way round, with
    alpha 0: that an alarm touches a window at all earns nothing. ``RANGE_RECALL`` and ``RANGE_PRECISION`` are the means
    over windows and over ranges; null where there are none. ``alpha=1`` is the share of windows that any alarm touched.

    Source: Tatbul, Lee, Zdonik, Alam, Gottschlich 2018, "Precision and recall for time series" (NeurIPS).

    Args:
        windows: project_id, group_id, start, end: labelled time; see the module.
        alarms: project_id, group_id, hour: hours that fired.
        spans: project_id, group_id, start, end: exposed whole hours.
        alpha: what recall gives for being touched at all, 0 to 1.
        bias: which hours of a window weigh more in recall; ``"front"`` (weights n, n - 1, ..., 1) rewards early alarms.
        precision_bias: which hours of a range of alarms weigh more in precision.
        cardinality: what is kept where a range was hit in several pieces, in recall and in precision.

    Returns:
        One row per exposed group, sorted: ``project_id``, ``group_id``, ``windows`` and ``alarm_ranges`` (numbers),
        ``range_recall_sum`` and ``range_precision_sum`` (their scores, each 0 to 1, added up).

    Raises:
        FrameError: as :func:`point_wise`.
        SettingsError: alpha is not between 0 and 1, or a bias or cardinality is unknown.

    >>> from datetime import UTC, datetime
    >>> at = lambda hour: datetime(2026, 1, 5, hour, tzinfo=UTC)
    >>> group = pl.DataFrame({"project_id": [1], "group_id": [7]})
    >>> windows, spans = group.with_columns(start=at(4), end=at(8)), group.with_columns(start=at(0), end=at(20))
    >>> alarms = group.join(pl.DataFrame({"hour": [at(2), at(7)]}), how="cross")
    >>> range_based(windows, alarms, spans).rows()
    [(1, 7, 1, 2, 0.25, 1.0)]
    >>> range_based(windows, alarms, spans, bias="front").select(RANGE_RECALL.of_sums()).item()
    0.1
    """
    if not 0 <= alpha <= 1:
        raise SettingsError(f"alpha: {alpha} is not between 0 and 1.")
    for name, value, known in (
        ("bias", bias, get_args(Bias)),
        ("precision_bias", precision_bias, get_args(Bias)),
        ("cardinality", cardinality, get_args(Cardinality)),
    ):
        if value not in known:
            raise SettingsError(f"{name}: {value!r} is none of {', '.join(known)}.")
    line = lay(windows, alarms, spans)
    recall = _covered(line.windows, line.runs, alpha, bias, cardinality)
    precision = _covered(line.runs, line.windows, 0.0, precision_bias, cardinality)
    return line.keys.with_columns(
        pl.Series("windows", line.count(line.windows.start)),
        pl.Series("alarm_ranges", line.count(line.runs.start)),
        pl.Series("range_recall_sum", line.add(line.windows.start, recall)),
        pl.Series("range_precision_sum", line.add(line.runs.start, precision)),
    )


def _covered(
    these: Ranges, those: Ranges, alpha: float, bias: Bias, cardinality: Cardinality
) -> npt.NDArray[np.float64]:
    """The score of each of these ranges for being covered by those."""
    one, _, shared = overlaps(these, those)
    number = these.start.size
    pieces = np.bincount(one, minlength=number)
    weight = _weight(shared.start - these.start[one], shared.length, these.length[one], bias)
    share = np.bincount(one, weights=weight, minlength=number) / _weight(0, these.length, these.length, bias)
    kept = np.maximum(pieces, 1) if cardinality == "reciprocal" else 1
    return np.asarray(alpha * (pieces > 0) + (1 - alpha) * share / kept)


def _weight(skipped: Whole | int, hours: Whole, length: Whole, bias: Bias) -> Whole:
    """The weights, added up, of so many hours of a range of some length after so many that are skipped."""
    if bias == "flat":
        return hours
    upward = hours * (2 * skipped + hours + 1) // 2  # 1 + ... + length over the whole range
    return upward if bias == "back" else hours * (length + 1) - upward
