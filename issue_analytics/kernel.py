"""The spike limit of all groups at once: the formula on sums over windows, equal to the definition to the last unit.

Sums and sums of squares stay integers, the square root is corrected to the last bit, and the few values so near an
integer that the last bit of an exponential could decide are settled by the definition (`formula`). Groups are
processed in blocks that stay in a core's cache.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
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
Numbers = npt.NDArray[np.float64] | npt.NDArray[np.int64]
Integers = npt.NDArray[np.signedinteger]

TILE_CELLS: Final = 2**18
"""Counts that several passes are made over before the next are fetched from memory."""

CHUNK_CELLS: Final = 2**20
"""Sums of chunks of hours (days, mostly) kept at a time: each of the four kinds takes 8 MB at most."""

BLOCK_CELLS: Final = 2**15
"""Windows worked on at a time: the dozen arrays made of them stay in a core's cache."""

_ULPS: Final = 8 * float(np.finfo(np.float64).eps)
"""Relative error that the exponential of one library may have against another's, with a wide margin."""


@dataclass(frozen=True, slots=True)
class _Chunks:
    """Runs of hours, none across a midnight or a moment, summed up; arrays of shape (chunks, groups).

    Sums are those of all chunks before, with a row more, so that two of them tell what lies between. They are whole
    numbers: in doubles where all that is made of them stays exact in doubles, else in int64.
    """

    hours: int  # in one of them: whole days where limits are made at midnight
    start: int  # the column of the panel the first begins at
    quietest: Ints | None  # only where it was asked for
    busiest: Ints
    total: Numbers
    squares: Numbers


def _chunks(counts: Ints, start: int, hours: int, window: int, *, with_quietest: bool) -> _Chunks:
    """The smallest, the largest, the sum and the sum of squares of every ``hours`` rows.

    Memory is walked over once, in its order. What fits 32 bits is moved there, as most counts do: sums of half the
    width take half the time.

    Args:
        counts: (hours, groups).
        start: the column of the panel they begin at.
        hours: of a chunk.
        window: hours of a window.
        with_quietest: whether to find the smallest counts.
    """
    cut = counts.reshape(-1, hours, counts.shape[1])
    shape = cut.shape[0], cut.shape[2]
    quietest = np.empty(shape, dtype=np.int64) if with_quietest else None
    busiest, total, squares = (np.empty(shape, dtype=np.int64) for _ in range(3))
    width = min(shape[1], max(1, TILE_CELLS // hours))
    height = max(1, TILE_CELLS // (hours * width))
    short: Integers = np.empty((height, hours, width), dtype=np.int32)
    tile: Integers
    for top in range(0, shape[0], height):
        for left in range(0, shape[1], width):
            at = slice(top, top + height), slice(left, left + width)
            tile = whole = cut[at[0], :, at[1]]
            most = int(whole.max())
            if hours * most < 2**31:
                tile = short[: whole.shape[0], :, : whole.shape[2]]
                np.copyto(tile, whole, casting="same_kind")
            if quietest is not None:
                quietest[at] = tile.min(axis=1)
            busiest[at] = tile.max(axis=1)
            total[at] = tile.sum(axis=1, dtype=tile.dtype)
            squares[at] = np.einsum("kcg,kcg->kg", tile, tile)
            if tile is not whole and hours * most**2 >= 2**31:  # some squares do not fit
                large = busiest[at].max(axis=0) > math.isqrt((2**31 - 1) // hours)
                some = whole[:, :, large]
                squares[at][:, large] = np.einsum("kcg,kcg->kg", some, some)
    # bounds the squares of all hours, and the numerator of the variance of a window
    bound = max(window**2, counts.shape[0]) * int(busiest.max()) ** 2
    exact = np.float64 if bound < 2**53 else np.int64
    return _Chunks(hours, start, quietest, busiest, _running(total, exact), _running(squares, exact))


def _running(rows: Ints, dtype: type[np.float64 | np.int64]) -> Numbers:
    """Sums of the rows before each; row by row, since numpy's own goes down the columns and takes ten times as long."""
    running = np.zeros((rows.shape[0] + 1, rows.shape[1]), dtype=dtype)
    running[1:] = rows
    for before, row in pairwise(running):
        row += before
    return running


def _over_runs(pick: np.ufunc, rows: Ints, width: int) -> Ints:
    """The smallest or largest of every ``width`` rows in a row, by doubling: a few passes for any width."""
    span, picked = 1, rows
    while 2 * span <= width:
        picked = pick(picked[:-span], picked[span:])
        span *= 2
    last: Ints = pick(picked[: rows.shape[0] - width + 1], picked[width - span :])
    return last


def _rows(which: Ints) -> slice | Ints:
    """An index of rows that copies none where they are evenly spaced, as with limits made every day."""
    rows = which.tolist()
    even = range(rows[0], rows[-1] + 1, max(1, rows[1] - rows[0]) if len(rows) > 1 else 1)
    return slice(even.start, even.stop, even.step) if rows == list(even) else which


@dataclass(frozen=True, slots=True)
class _Windows:
    """Sums over the window before each moment; arrays of shape (moments, groups)."""

    quietest: Ints | None
    busiest: Ints
    total: Numbers
    squares: Numbers
    on_weekday: Numbers  # (days, moments, groups): the part of the total on the weekday forecast


def _windows(chunks: _Chunks, some: slice, ends: Ints, calendar: "_Calendar", weekday: Ints, hours: int) -> _Windows:
    """Sums over windows from sums over chunks, so that a moment costs a few additions and not 168.

    Args:
        chunks: of all hours that windows have.
        some: groups.
        ends: where windows end, exclusive, in columns of the panel.
        calendar: where days begin.
        weekday: (moments, days), the weekday of each day forecast.
        hours: length of the window.
    """
    width = hours // chunks.hours
    last = (ends - chunks.start) // chunks.hours  # the chunk after each window
    begin, end = _rows(last - width), _rows(last)
    total, squares = chunks.total[:, some], chunks.squares[:, some]

    # the hours of one weekday in a window: whole days, the first and the last perhaps cut
    today = ends - (ends - calendar.midnight) % 24
    day = (today[:, None] - 24 * ((calendar.weekday(today)[:, None] - weekday) % 7)).T
    on_weekday = np.zeros((*day.shape, total.shape[1]), dtype=total.dtype)
    for weeks_back in range(hours // 168 + 2):
        back = day - 168 * weeks_back
        dawn, dusk = ((at.clip(ends - hours, ends) - chunks.start) // chunks.hours for at in (back, back + 24))
        for ahead in np.flatnonzero((dawn < dusk).any(axis=1)).tolist():
            on_weekday[ahead] += total[_rows(dusk[ahead])]
            on_weekday[ahead] -= total[_rows(dawn[ahead])]
    quietest = None if chunks.quietest is None else _over_runs(np.minimum, chunks.quietest[:, some], width)
    return _Windows(
        quietest=None if quietest is None else quietest[begin],
        busiest=_over_runs(np.maximum, chunks.busiest[:, some], width)[begin],
        total=total[end] - total[begin],
        squares=squares[end] - squares[begin],
        on_weekday=on_weekday,
    )


@dataclass(frozen=True, slots=True)
class _Calendar:
    """Where days begin in the columns of a panel."""

    midnight: int  # the column of the first midnight
    first: int  # the weekday that begins there, Monday 0

    def weekday(self, column: Ints) -> Ints:
        return ((column - self.midnight) // 24 + self.first) % 7


def _root_of_ratio(numerator: Numbers, denominator: int) -> tuple[Floats, Bools]:
    """``sqrt(numerator / denominator)`` correctly rounded, and where that could not be made sure.

    What rounding took away from the quotient and from its root is found by multiplying both back in two halves, whose
    products are exact (Dekker); one Newton step then leaves a relative error below 2^-76. Only a root that near to a
    rounding boundary is in doubt, about one in a million. The denominator is below 2^21.
    """
    high = numerator.astype(np.float64, copy=False)
    quotient = high / denominator
    upper, lower = _halves(quotient, 21)
    upper *= denominator
    lower *= denominator
    rest = np.subtract(high, upper, out=upper)
    rest -= lower
    if numerator.dtype == np.int64:
        rest += numerator - high.astype(np.int64)
    rest /= denominator

    root: Floats = np.sqrt(quotient)
    upper, lower = _halves(root, 27)
    lower *= upper + root
    upper *= upper
    quotient -= upper
    quotient -= lower
    rest += quotient
    step = rest
    with np.errstate(invalid="ignore"):
        step /= 2 * root
    np.copyto(step, 0, where=root == 0)

    slack = root * 2.0**-73
    least = root + (step - slack)
    root += np.add(step, slack, out=slack)
    return root, root != least


def _halves(values: Floats, bits: int) -> tuple[Floats, Floats]:
    """Numbers without their last ``bits`` bits, and these: the two add up exactly."""
    upper: Floats = (values.view(np.int64) & -(1 << bits)).view(np.float64)
    return upper, values - upper


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
    by_silence = new is None and buckets == "sparse"
    low, high = int(ends.min()) - hours, int(ends.max())
    chunk = math.gcd(24, hours, *(ends - midnight).tolist())
    for part in _slices(0, panel.counts.shape[0], CHUNK_CELLS // ((high - low) // chunk)):
        chunks = _chunks(panel.counts[part].T[low:high], low, chunk, hours, with_quietest=by_silence)
        for some in _slices(part.start, part.stop, BLOCK_CELLS // ends.size):
            within = slice(some.start - part.start, some.stop - part.start)
            windows = _windows(chunks, within, ends, calendar, weekday, hours)
            if new is not None:
                is_new = new[some].T
            elif windows.quietest is not None:
                is_new = windows.quietest == 0
            else:
                is_new = np.zeros(windows.total.shape, dtype=np.bool_)
            found, doubt = _statistics(windows, ends, calendar, weekday, is_new, constants)
            for moment, group in np.argwhere(doubt).tolist():
                columns = np.arange(ends[moment] - hours, ends[moment])
                points, on = panel.counts[some.start + group, columns].tolist(), calendar.weekday(columns).tolist()
                found.mean[moment, group], found.deviation[moment, group] = moments_of(points)
                found.weighted[:, moment, group] = [
                    weighted_mean(points, on, day, constants) for day in weekday[moment]
                ]
            yield some, found


def _slices(start: int, stop: int, step: int) -> Iterator[slice]:
    step = max(1, step)
    for low in range(start, stop, step):
        yield slice(low, min(low + step, stop))


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
    """Statistics from sums, which are used up, and where they have to be computed from the counts themselves."""
    n = constants.window_hours
    total, squares, weighted = windows.total, windows.squares, windows.on_weekday
    odd = is_new | (windows.busiest == 0)
    # the variance's numerator, n x squares - total^2, is exact in int64 below this
    huge = (windows.busiest >= math.isqrt(2**63 - 1) // n) & ~odd
    odd |= huge
    np.copyto(total, n, where=odd)
    np.copyto(squares, 2 * n, where=odd)
    squares *= n
    squares -= total * total
    deviation, doubt = _root_of_ratio(squares, n * (n - 1))
    doubt &= ~odd
    extra = constants.weekday_weight - 1
    if extra != 1:
        weighted *= extra
    weighted += total
    weights = n + extra * _hours_on(ends, calendar, weekday, n)
    mean = weighted / weights.T[:, :, None]
    return Statistics(windows.busiest, is_new, total / n, deviation, mean), doubt | huge


def limits_of(
    found: Statistics, thresholds: ThresholdVariables, constants: FormulaConstants = PUBLISHED
) -> tuple[Ints, npt.NDArray[np.uint8]]:
    """The formula on statistics: limits (0 where there is none) and rules, of the shape of ``found.weighted``."""
    silent, new = found.busiest == 0, found.new
    # in place, in the order of the definition: each array is one pass over memory
    decay = found.deviation / found.mean
    decay *= constants.bursty_rate
    decay = np.exp(decay)
    decay *= constants.bursty_amplitude
    clipped = np.clip(decay, thresholds.min_bursty_multiplier, thresholds.max_bursty_multiplier)
    bursty = found.busiest * clipped
    factor = thresholds.std_multiplier * found.deviation
    factor += found.mean
    factor /= found.mean
    np.clip(factor, thresholds.min_spike_multiplier, thresholds.max_spike_multiplier, out=factor)
    # where the exponential acts and its last bit may decide, which is at an integer, the definition's decides
    decay -= clipped
    np.abs(decay, out=decay)
    clipped *= _ULPS
    near = decay <= clipped
    away = np.rint(bursty, out=decay)
    away -= bursty
    np.abs(away, out=away)
    near &= away <= np.multiply(bursty, _ULPS, out=clipped)
    near &= ~(new | silent)
    for at in zip(*np.nonzero(near), strict=True):
        busiest, mean, deviation = (values[at].item() for values in (found.busiest, found.mean, found.deviation))
        bursty[at] = halves_of(busiest, mean, deviation, mean, thresholds, constants)[0]
    factor *= found.mean
    spike = found.weighted + factor

    rule = np.full(spike.shape, SPIKE, dtype=np.uint8)
    np.copyto(rule, BURSTY, where=bursty >= spike)
    limit = np.maximum(bursty, spike, out=spike).astype(np.int64)  # truncates, as int() does
    if new.any():
        np.copyto(limit, constants.new_multiplier * found.busiest, where=new)
        np.copyto(rule, NEW, where=new)
    if silent.any():
        np.copyto(limit, 0, where=silent)
        np.copyto(rule, NONE, where=silent)
    return limit, rule


def _hours_on(ends: Ints, calendar: _Calendar, weekday: Ints, hours: int) -> Ints:
    """How many hours of each window lie on the weekday asked for; 24 for every day when the window is a week."""
    if hours % 168 == 0:
        return np.full(weekday.shape, hours // 7, dtype=np.int64)
    on = calendar.weekday(ends[:, None] + np.arange(-hours, 0))
    count: Ints = np.count_nonzero(on[:, None, :] == weekday[:, :, None], axis=2)
    return count
