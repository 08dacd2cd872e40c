"""The spike limit of all groups at once: the formula on sums over windows, equal to the definition to the last unit.

Sums and sums of squares stay integers, the square root is corrected to the last bit, and the few values so near an
integer that the last bit of an exponential could decide are settled by the definition (`formula.limit_of_one`). Groups
are processed in blocks that stay in a core's cache.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from issue_analytics.counts import HOUR, Panel
from issue_analytics.errors import SettingsError
from issue_analytics.formula import BURSTY, NEW, NONE, SPIKE, limit_of_one
from issue_analytics.thresholds import PUBLISHED, STANDARD, FormulaConstants, ThresholdVariables

__all__ = ["Buckets", "limits_on"]

Buckets = Literal["sparse", "dense"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BLOCK_CELLS: Final = 2**17
"""Cells the kernel works on at a time: 1 MB, which stays in a core's cache."""

_ULPS: Final = 8 * float(np.finfo(np.float64).eps)
"""Relative error that the exponential of one library may have against another's, with a wide margin."""


@dataclass(frozen=True, slots=True)
class _Windows:
    """Sums over the window before each moment; int64 arrays of shape (groups, moments)."""

    points: Ints  # hours with a count above 0
    total: Ints
    squares: Ints
    busiest: Ints
    weekday_total: Ints  # (groups, moments, 7), Monday first


def _windows(counts: Ints, ends: Ints, midnight: int, monday: int, hours: int) -> _Windows:
    """Sum ``counts`` over the ``hours`` columns before each of ``ends``.

    Columns are first reduced to chunks that cross neither a midnight nor an end (whole days where limits are made at
    midnight), so that a moment costs a few additions and not 168.

    Args:
        counts: (groups, columns).
        ends: columns at which a window ends, exclusive; each at least ``hours``.
        midnight: the column of some midnight.
        monday: weekday of the day that begins there, Monday 0.
        hours: length of the window.
    """
    chunk = math.gcd(24, hours, *(ends - midnight).tolist())
    offset = midnight % chunk
    low = offset + (int(ends.min()) - hours - offset) // chunk * chunk
    high = int(ends.max())
    cut = counts[:, low:high].reshape(counts.shape[0], (high - low) // chunk, chunk)
    chunk_points = np.count_nonzero(cut, axis=2)
    chunk_total = cut.sum(axis=2)
    chunk_squares = np.einsum("gkc,gkc->gk", cut, cut)
    chunk_busiest = cut.max(axis=2)
    weekday = ((low + chunk * np.arange(cut.shape[1]) - midnight) // 24 + monday) % 7

    width = hours // chunk
    last = (ends - low) // chunk  # index of the first chunk after the window

    def over_window(chunks: Ints) -> Ints:
        running = np.zeros((chunks.shape[0], chunks.shape[1] + 1), dtype=np.int64)
        np.cumsum(chunks, axis=1, out=running[:, 1:])
        return running[:, last] - running[:, last - width]

    busiest = np.lib.stride_tricks.sliding_window_view(chunk_busiest, width, axis=1)[:, last - width].max(axis=2)
    return _Windows(
        points=over_window(chunk_points),
        total=over_window(chunk_total),
        squares=over_window(chunk_squares),
        busiest=busiest,
        weekday_total=np.stack([over_window(chunk_total * (weekday == day)) for day in range(7)], axis=2),
    )


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
    ends = np.array([(at - panel.start) // HOUR for at in as_of], dtype=np.int64)
    hours = constants.window_hours
    if ends.size == 0 or panel.counts.shape[0] == 0:
        shape = (panel.counts.shape[0], ends.size, days)
        return np.zeros(shape, dtype=np.int64), np.full(shape, NONE, dtype=np.uint8)
    if int(ends.min()) < hours or int(ends.max()) > panel.counts.shape[1]:
        raise SettingsError("a window reaches outside the panel.")
    midnight = -panel.start.hour % 24
    monday = (panel.start + midnight * HOUR).weekday()
    weekday = np.array([[(at.weekday() + ahead) % 7 for ahead in range(days)] for at in as_of])
    limit = np.empty((panel.counts.shape[0], ends.size, days), dtype=np.int64)
    rule = np.empty(limit.shape, dtype=np.uint8)
    block = max(1, BLOCK_CELLS // panel.counts.shape[1])
    for low in range(0, panel.counts.shape[0], block):
        part = slice(low, low + block)
        counts = panel.counts[part]
        windows = _windows(counts, ends, midnight, monday, hours)
        if new is not None:
            is_new = new[part]
        elif buckets == "sparse":
            is_new = windows.points < hours
        else:
            is_new = np.zeros(windows.points.shape, dtype=np.bool_)
        limit[part], rule[part], doubt = _limits(
            windows, ends, midnight, monday, weekday, is_new, thresholds, constants
        )
        for row, moment in np.argwhere(doubt).tolist():
            points = counts[row, ends[moment] - hours : ends[moment]].tolist()
            weekdays = [((hour - midnight) // 24 + monday) % 7 for hour in range(ends[moment] - hours, ends[moment])]
            for ahead in range(days):
                day = int(weekday[moment, ahead])
                value, limit_rule = limit_of_one(points, weekdays, day, thresholds, constants, new=False)
                limit[low + row, moment, ahead] = value or 0
                rule[low + row, moment, ahead] = limit_rule
    return limit, rule


def _limits(
    windows: _Windows,
    ends: Ints,
    midnight: int,
    monday: int,
    weekday: Ints,
    is_new: Bools,
    thresholds: ThresholdVariables,
    constants: FormulaConstants,
) -> tuple[Ints, npt.NDArray[np.uint8], Bools]:
    """The formula on sums: limits, rules, and which (group, moment) the exact definition has to settle."""
    n = constants.window_hours
    silent = windows.busiest == 0
    open_ = ~silent & ~is_new
    # the variance's numerator, n x squares - total^2, is exact in int64 below this; busier groups are settled exactly
    huge = open_ & (windows.busiest >= math.isqrt(2**63 - 1) // n)
    usable = open_ & ~huge
    total = np.where(usable, windows.total, n)
    mean = total / n
    numerator = np.where(usable, n * np.where(usable, windows.squares, 0) - total * total, 0)
    deviation, doubt = _root_of_ratio(numerator, n * (n - 1))
    decay = constants.bursty_amplitude * np.exp(constants.bursty_rate * (deviation / mean))
    clipped = np.minimum(np.maximum(thresholds.min_bursty_multiplier, decay), thresholds.max_bursty_multiplier)
    bursty = windows.busiest * clipped
    factor = (mean + thresholds.std_multiplier * deviation) / mean
    factor = np.minimum(np.maximum(factor, thresholds.min_spike_multiplier), thresholds.max_spike_multiplier)

    hours_on = _hours_on(ends, midnight, monday, weekday, n)
    on_weekday = np.take_along_axis(windows.weekday_total, weekday[None, :, :], axis=2)
    extra = constants.weekday_weight - 1
    weighted = (total[:, :, None] + extra * on_weekday) / (n + extra * hours_on)[None, :, :]
    spike = weighted + (mean * factor)[:, :, None]

    value = np.maximum(bursty[:, :, None], spike)
    limit = np.where(usable[:, :, None], value, 0.0).astype(np.int64)  # truncates, as int() does
    rule = np.where(bursty[:, :, None] >= spike, BURSTY, SPIKE).astype(np.uint8)

    # where the exponential acts and its last bit may decide: at an integer, or between the two branches
    tolerance = _ULPS * bursty
    near = np.abs(bursty - np.rint(bursty)) <= tolerance
    tied = (np.abs(bursty[:, :, None] - spike) <= tolerance[:, :, None]).any(axis=2)
    doubt |= (near | tied) & (decay >= clipped * (1 - _ULPS)) & (decay <= clipped * (1 + _ULPS))

    limit = np.where(is_new[:, :, None], constants.new_multiplier * windows.busiest[:, :, None], limit)
    rule[is_new] = NEW
    rule[silent] = NONE
    limit[silent] = 0
    return limit, rule, (doubt & usable) | huge


def _hours_on(ends: Ints, midnight: int, monday: int, weekday: Ints, hours: int) -> Ints:
    """How many hours of each window lie on the weekday asked for; 24 for every day when the window is a week."""
    if hours % 168 == 0:
        return np.full(weekday.shape, hours // 7, dtype=np.int64)
    back = np.arange(-hours, 0)
    days = ((ends[:, None] + back[None, :] - midnight) // 24 + monday) % 7
    on: Ints = np.count_nonzero(days[:, None, :] == weekday[:, :, None], axis=2)
    return on
