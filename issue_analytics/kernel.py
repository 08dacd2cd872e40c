"""The spike limit of all groups at once: the formula on sums over windows, equal to the definition to the last unit.

Sums and sums of squares stay integers, the square root is corrected to the last bit, and the few values so near an
integer that the last bit of an exponential could decide are settled by the definition (`formula`). Groups are
processed in blocks that stay in a core's cache.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from issue_analytics.counts import HOUR, Panel
from issue_analytics.errors import SettingsError
from issue_analytics.formula import BURSTY, NEW, NONE, SPIKE, halves_of, moments_of, weighted_mean
from issue_analytics.thresholds import PUBLISHED, STANDARD, FormulaConstants, ThresholdVariables

__all__ = ["Buckets", "Statistics", "limits_of", "limits_on", "statistics_on"]

Buckets = Literal["sparse", "dense"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BLOCK_CELLS: Final = 2**20
"""Cells the kernel works on at a time: 8 MB stay in the cache and spread the cost of a numpy call over many groups."""

_ULPS: Final = 8 * float(np.finfo(np.float64).eps)
"""Relative error that the exponential of one library may have against another's, with a wide margin."""


@dataclass(frozen=True, slots=True)
class _Windows:
    """Sums over the window before each moment; int64 arrays of shape (moments, groups)."""

    quietest: Ints | None  # only where it was asked for
    busiest: Ints
    total: Ints
    squares: Ints
    on_weekday: Ints  # (days, moments, groups): the part of the total on the weekday forecast


def _windows(
    counts: Ints, ends: Ints, calendar: "_Calendar", weekday: Ints, hours: int, *, with_quietest: bool
) -> _Windows:
    """Sum ``counts`` over the ``hours`` rows before each of ``ends``.

    Rows are first reduced to chunks that cross neither a midnight nor an end (whole days where limits are made at
    midnight), so that a moment costs a few additions and not 168.

    Args:
        counts: (columns of the panel, groups).
        ends: where windows end, exclusive; each at least ``hours``.
        calendar: where days begin.
        weekday: (moments, days), the weekday of each day forecast.
        hours: length of the window.
        with_quietest: whether to find the smallest count of each window.
    """
    chunk = math.gcd(24, hours, *(ends - calendar.midnight).tolist())
    low, high = int(ends.min()) - hours, int(ends.max())
    cut = counts[low:high].reshape((high - low) // chunk, chunk, counts.shape[1])
    width = hours // chunk
    last = (ends - low) // chunk  # the chunk after each window

    running = np.zeros((cut.shape[0] + 1, counts.shape[1]), dtype=np.int64)
    np.cumsum(cut.sum(axis=1), axis=0, out=running[1:])
    squares = np.zeros_like(running)
    np.cumsum(np.einsum("kcg,kcg->kg", cut, cut), axis=0, out=squares[1:])

    # the hours of one weekday in a window: whole days, the first and the last perhaps cut
    on_weekday = np.zeros((weekday.shape[1], ends.size, counts.shape[1]), dtype=np.int64)
    today = ends - (ends - calendar.midnight) % 24
    day = today[:, None] - 24 * ((calendar.weekday(today)[:, None] - weekday) % 7)
    for weeks_back in range(hours // 168 + 2):
        start, end = (
            (np.clip(day - 168 * weeks_back + edge, ends[:, None] - hours, ends[:, None]) - low) // chunk
            for edge in (0, 24)
        )
        moment, ahead = np.nonzero(end > start)
        on_weekday[ahead, moment] += running[end[moment, ahead]] - running[start[moment, ahead]]
    return _Windows(
        quietest=_over_runs(np.minimum, cut.min(axis=1), width)[last - width] if with_quietest else None,
        busiest=_over_runs(np.maximum, cut.max(axis=1), width)[last - width],
        total=running[last] - running[last - width],
        squares=squares[last] - squares[last - width],
        on_weekday=on_weekday,
    )


def _over_runs(pick: np.ufunc, rows: Ints, width: int) -> Ints:
    """The smallest or largest of every ``width`` rows in a row, by doubling: a few passes for any width."""
    span, picked = 1, rows
    while 2 * span <= width:
        picked = pick(picked[:-span], picked[span:])
        span *= 2
    last: Ints = pick(picked[: rows.shape[0] - width + 1], picked[width - span :])
    return last


@dataclass(frozen=True, slots=True)
class _Calendar:
    """Where days begin in the columns of a panel."""

    midnight: int  # the column of the first midnight
    first: int  # the weekday that begins there, Monday 0

    def weekday(self, column: Ints) -> Ints:
        return ((column - self.midnight) // 24 + self.first) % 7


def _root_of_ratio(numerator: Ints, denominator: int) -> tuple[Floats, Bools]:
    """``sqrt(numerator / denominator)`` correctly rounded, and where that could not be made sure.

    One Newton step with a residual in doubled precision (Dekker's product) leaves an error near 2^-105; only a root
    that near to a rounding boundary is in doubt, which is rarer than one in 10^12.
    """
    high = numerator.astype(np.float64)
    low = (numerator - high.astype(np.int64)).astype(np.float64)
    root: Floats = np.sqrt(high / denominator)
    square, square_rest = _two_product(root, root)
    product, product_rest = _two_product(square, np.float64(denominator))
    residual = ((high - product) - product_rest) + (low - denominator * square_rest)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.where(root > 0, residual / (2 * denominator * root), 0.0)
    better = root + step
    left = np.abs(step - (better - root))
    half = np.spacing(better) / 2
    doubt = (np.abs(left - half) < 1e-9 * half) | (np.abs(left - half / 2) < 1e-9 * half)
    return better, doubt & (root > 0)


def _two_product(a: Floats, b: Floats | np.float64) -> tuple[Floats, Floats]:
    """Dekker's product: ``a * b`` rounded, and exactly what rounding took away."""
    splitter = 134217729.0  # 2^27 + 1
    product = a * b
    scaled = splitter * a
    a_high = scaled - (scaled - a)
    scaled_b = splitter * b
    b_high = scaled_b - (scaled_b - b)
    a_low, b_low = a - a_high, b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a limit is made of, whatever the thresholds: sufficient statistics of windows.

    Attributes:
        busiest: events in the busiest hour, shape (moments, groups); 0: the window is silent, there is no limit.
        new: whether the limit is that of a new group, same shape.
        mean: events per hour, same shape; where a window is silent or new, some positive number.
        deviation: sample standard deviation of the hourly counts, same shape, correctly rounded.
        weighted: mean with the weekday of the day forecast weighing more, shape (days, moments, groups).
    """

    busiest: Ints
    new: Bools
    mean: Floats
    deviation: Floats
    weighted: Floats


def statistics_on(
    panel: Panel,
    as_of: Sequence[datetime],
    *,
    buckets: Buckets = "sparse",
    days: int = 1,
    new: Bools | None = None,
    constants: FormulaConstants = PUBLISHED,
) -> Iterator[tuple[slice, Statistics]]:
    """Reduce the window before each of several moments to what limits depend on, a block of groups at a time.

    Args:
        panel: counts; every window must lie inside it.
        as_of: moments on the hour, one at least; only columns before each are looked at.
        buckets: as in :func:`limits_on`.
        days: how many days from each ``as_of`` on, its own day first; no more than 7, as they repeat by the week.
        new: as in :func:`limits_on`.
        constants: the constants of the formula.

    Returns:
        For each block which groups of the panel it is about, and their statistics.
    """
    ends = np.array([(at - panel.start) // HOUR for at in as_of], dtype=np.int64)
    hours = constants.window_hours
    if int(ends.min()) < hours or int(ends.max()) > panel.counts.shape[1]:
        raise SettingsError("a window reaches outside the panel.")
    midnight = -panel.start.hour % 24
    calendar = _Calendar(midnight, (panel.start + midnight * HOUR).weekday())
    weekday = np.array([[(at.weekday() + ahead) % 7 for ahead in range(days)] for at in as_of])
    block = max(1, BLOCK_CELLS // panel.counts.shape[1])
    for low in range(0, panel.counts.shape[0], block):
        some = slice(low, min(low + block, panel.counts.shape[0]))
        counts = panel.counts[some].T
        by_silence = new is None and buckets == "sparse"
        windows = _windows(counts, ends, calendar, weekday, hours, with_quietest=by_silence)
        if new is not None:
            is_new = new[some].T
        elif windows.quietest is not None:
            is_new = windows.quietest == 0
        else:
            is_new = np.zeros(windows.total.shape, dtype=np.bool_)
        found, doubt = _statistics(windows, ends, calendar, weekday, is_new, constants)
        for moment, group in np.argwhere(doubt).tolist():
            window = np.arange(ends[moment] - hours, ends[moment])
            points, on = counts[window, group].tolist(), calendar.weekday(window).tolist()
            found.mean[moment, group], found.deviation[moment, group] = moments_of(points)
            found.weighted[:, moment, group] = [weighted_mean(points, on, day, constants) for day in weekday[moment]]
        yield some, found


def limits_on(
    panel: Panel,
    as_of: Sequence[datetime],
    *,
    thresholds: ThresholdVariables = STANDARD,
    buckets: Buckets = "sparse",
    days: int = 1,
    new: Bools | None = None,
    constants: FormulaConstants = PUBLISHED,
) -> tuple[Ints, npt.NDArray[np.uint8]]:
    """Limits of all groups of a panel, made at each of several moments.

    Args:
        panel: counts; every window must lie inside it.
        as_of: moments on the hour; only columns before each are looked at.
        thresholds: the five thresholds.
        buckets: ``"sparse"`` (a group with an hour without events in its window is new) or ``"dense"``.
        days: how many days from each ``as_of`` on, its own day first.
        new: (groups, moments), who takes the ``new`` rule; by default nobody when dense, and those with fewer than 168
            non-empty hours when sparse.
        constants: the constants of the formula.

    Returns:
        Limits in events per clock hour and rules (an index into ``frames.RULES``), both of shape
        (groups, moments, days). Where the rule is ``none`` the limit is 0.
    """
    groups = panel.counts.shape[0]
    if not as_of or groups == 0:
        shape = (groups, len(as_of), days)
        return np.zeros(shape, dtype=np.int64), np.full(shape, NONE, dtype=np.uint8)
    # the days of the second week repeat those of the first
    week = min(days, 7)
    limit = np.empty((days, len(as_of), groups), dtype=np.int64)
    rule = np.empty(limit.shape, dtype=np.uint8)
    for some, found in statistics_on(panel, as_of, buckets=buckets, days=week, new=new, constants=constants):
        in_week, rule_in_week = limits_of(found, thresholds, constants)
        for ahead in range(days):
            limit[ahead, :, some] = in_week[ahead % 7]
            rule[ahead, :, some] = rule_in_week[ahead % 7]
    return limit.transpose(2, 1, 0), rule.transpose(2, 1, 0)


def _statistics(
    windows: _Windows, ends: Ints, calendar: _Calendar, weekday: Ints, is_new: Bools, constants: FormulaConstants
) -> tuple[Statistics, Bools]:
    """Statistics from sums, and where they have to be computed from the counts themselves."""
    n = constants.window_hours
    usable = (windows.busiest > 0) & ~is_new
    # the variance's numerator, n x squares - total^2, is exact in int64 below this
    huge = usable & (windows.busiest >= math.isqrt(2**63 - 1) // n)
    plain = usable & ~huge
    total = np.where(plain, windows.total, n)
    deviation, doubt = _root_of_ratio(np.where(plain, n * windows.squares - total * total, 0), n * (n - 1))
    extra = constants.weekday_weight - 1
    weights = n + extra * _hours_on(ends, calendar, weekday, n)
    weighted = (total + extra * windows.on_weekday) / weights.T[:, :, None]
    return Statistics(windows.busiest, is_new, total / n, deviation, weighted), (doubt & plain) | huge


def limits_of(
    found: Statistics, thresholds: ThresholdVariables, constants: FormulaConstants = PUBLISHED
) -> tuple[Ints, npt.NDArray[np.uint8]]:
    """The formula on statistics: limits (0 where there is none) and rules, of the shape of ``found.weighted``."""
    decay = constants.bursty_amplitude * np.exp(constants.bursty_rate * (found.deviation / found.mean))
    clipped = np.minimum(np.maximum(thresholds.min_bursty_multiplier, decay), thresholds.max_bursty_multiplier)
    bursty = found.busiest * clipped
    factor = (found.mean + thresholds.std_multiplier * found.deviation) / found.mean
    factor = np.minimum(np.maximum(factor, thresholds.min_spike_multiplier), thresholds.max_spike_multiplier)
    # where the exponential acts and its last bit may decide, which is at an integer, the definition's decides
    acts = (np.abs(decay - clipped) <= _ULPS * clipped) & ~found.new & (found.busiest > 0)
    for at in zip(*np.nonzero(acts & (np.abs(bursty - np.rint(bursty)) <= _ULPS * bursty)), strict=True):
        busiest, mean, deviation = (values[at].item() for values in (found.busiest, found.mean, found.deviation))
        bursty[at] = halves_of(busiest, mean, deviation, mean, thresholds, constants)[0]
    spike = found.weighted + found.mean * factor

    limit = np.maximum(bursty, spike).astype(np.int64)  # truncates, as int() does
    rule = np.where(bursty >= spike, BURSTY, SPIKE).astype(np.uint8)
    silent, new = found.busiest == 0, found.new
    limit = np.where(new, constants.new_multiplier * found.busiest, limit)
    rule[..., new] = NEW
    rule[..., silent] = NONE
    limit[..., silent] = 0
    return limit, rule


def _hours_on(ends: Ints, calendar: _Calendar, weekday: Ints, hours: int) -> Ints:
    """How many hours of each window lie on the weekday asked for; 24 for every day when the window is a week."""
    if hours % 168 == 0:
        return np.full(weekday.shape, hours // 7, dtype=np.int64)
    on = calendar.weekday(ends[:, None] + np.arange(-hours, 0))
    count: Ints = np.count_nonzero(on[:, None, :] == weekday[:, :, None], axis=2)
    return count
