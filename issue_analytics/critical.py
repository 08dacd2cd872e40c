"""What a variable would have to be for an hour to be just over its limit: exact, one hour or millions at once.

An hour with count y is over the limit if ``y > bursty`` and ``y > spike``. Both are built of steps that never fall
when a variable grows, in floating point too, so that for each there is a largest value at which the hour still fires:

* ``bursty``, of ``busiest x factor``, the largest factor at which the hour is over it. What factor there is:
  ``min_bursty_multiplier`` where the decay is at or below the critical value, else ``max_bursty_multiplier``.
* ``spike``, of ``weighted + mean x factor``, the same of the spike factor. The hour is over it if
  ``max_spike_multiplier`` is at or below, or both ``min_spike_multiplier`` is and
* ``std``: the largest ``std_multiplier`` whose ``(mean + std_multiplier x deviation) / mean`` is not above ``spike``.

So every hour is told by four numbers, and a setting by comparing its variables with them. These are algebra on the
published formula.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from issue_analytics.thresholds import LARGEST, PUBLISHED, FormulaConstants

__all__ = ["Critical", "critical_values", "decay_of"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_ULPS = 8 * float(np.finfo(np.float64).eps)
"""Relative error that the exponential of one library may have against another's, with a wide margin."""


@dataclass(frozen=True, slots=True)
class Critical:
    """The largest value of each factor at which an hour is over that half of its limit; arrays of one shape.

    Attributes:
        bursty: of the bursty factor; ``inf`` where any allowed value (up to 1,000) is below, ``-inf`` where none is.
        spike: of the spike factor, in the same way.
        std: of ``std_multiplier``, in the same way.
        decay_fires: whether the decay ``5 e^(-0.65 cv)`` is at or below ``bursty``: then ``min_bursty_multiplier``
            decides about the hour, else ``max_bursty_multiplier``.
    """

    bursty: Floats
    spike: Floats
    std: Floats
    decay_fires: Bools


def critical_values(
    count: Ints,
    busiest: Ints,
    mean: Floats,
    deviation: Floats,
    weighted: Floats,
    *,
    constants: FormulaConstants = PUBLISHED,
) -> Critical:
    """Find the critical values of hours, each given by its count and by what its limit is made of.

    Args:
        count: events in the hour.
        busiest: events in the busiest hour of the window behind the limit; positive.
        mean: of the window, in events per hour.
        deviation: sample standard deviation of the window.
        weighted: mean of the window weighted by the weekday of the hour.
        constants: the constants of the formula.

    >>> found = critical_values(
    ...     np.array([80]), np.array([18]), np.array([10.0]), np.array([2.0]), np.array([12.0]))
    >>> found.bursty.round(3).item(), found.spike.round(3).item(), found.std.round(3).item()
    (4.444, 6.8, 29.0)
    """
    bursty = _largest(lambda factor: busiest * factor < count, count.shape)
    spike = _largest(lambda factor: weighted + mean * factor < count, count.shape)
    std = _largest(lambda multiplier: (mean + multiplier * deviation) / mean <= spike, count.shape)
    decay = decay_of(mean, deviation, constants)
    # where the last bit of the exponential decides, the definition's does
    for at in zip(*np.nonzero(np.abs(decay - bursty) <= _ULPS * decay), strict=True):
        decay[at] = constants.bursty_amplitude * math.exp(constants.bursty_rate * (deviation[at] / mean[at]))
    return Critical(bursty, spike, std, decay <= bursty)


def decay_of(mean: Floats, deviation: Floats, constants: FormulaConstants = PUBLISHED) -> Floats:
    """The bursty factor before it is clipped, ``5 e^(-0.65 cv)``, but for its last bit."""
    decay: Floats = constants.bursty_amplitude * np.exp(constants.bursty_rate * (deviation / mean))
    return decay


def _largest(holds: Callable[[Floats], Bools], shape: tuple[int, ...]) -> Floats:
    """The largest double from 0 to 1,000 at which ``holds``, which must not become true again once it was false.

    By bisection over the doubles themselves, which as whole numbers stand in the same order; no rounding can mislead
    it. ``-inf`` where it does not even hold at 0, ``inf`` where it still does at 1,000.
    """
    low = np.zeros(shape, dtype=np.int64)
    high = np.full(shape, np.float64(LARGEST).view(np.int64))
    never, always = ~holds(low.view(np.float64)), holds(high.view(np.float64))
    for _ in range(63):
        middle = low + (high - low) // 2
        below = holds(middle.view(np.float64))
        np.copyto(low, middle, where=below)
        np.copyto(high, middle, where=~below)
    found = low.view(np.float64)
    return np.where(never, -np.inf, np.where(always, np.inf, found))
