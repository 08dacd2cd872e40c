"""What would change an answer: the value of each variable, and the nearest setting, at which an hour fires or stops.

Algebra on critical values (:mod:`issue_analytics.critical`): an hour fires where its limit, before it is cut to a whole
number, is at least 1 and below the count. The limit never falls when a variable grows, so the values of one variable
at which an hour fires are all those between two doubles, which are found exactly.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from issue_analytics.critical import critical_values
from issue_analytics.formula import halves_of
from issue_analytics.thresholds import LARGEST, FormulaConstants, ThresholdVariables

__all__ = ["Arithmetic", "Flip", "distance", "flips", "nearest_flip"]

VARIABLES: Final = tuple(ThresholdVariables().to_dict())

_PARTNER: Final = {
    "min_spike_multiplier": "max_spike_multiplier",
    "max_spike_multiplier": "min_spike_multiplier",
    "min_bursty_multiplier": "max_bursty_multiplier",
    "max_bursty_multiplier": "min_bursty_multiplier",
}
"""A minimum moves only up to its maximum, and a maximum down to its minimum: beyond, one takes the other along."""

_NEVER, _ALWAYS = -math.inf, math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """What one of the five variables would have to be, the others as they are, for the answer to be the other one.

    Attributes:
        variable: its name.
        value: what it is.
        at: the nearest value that changes the answer; null if none does, which makes the variable inert.
        low: the smallest value that does; null if inert.
        high: the largest one, up to 1,000; ``at`` is one of the two.
        together: the other bound of the same factor, where that would have to be moved to ``at`` too, since a minimum
            cannot exceed its maximum; null where the variable alone is enough.
    """

    variable: str
    value: float
    at: float | None = None
    low: float | None = None
    high: float | None = None
    together: str | None = None


@dataclass(frozen=True, slots=True)
class _Below:
    """The largest factors, and the largest ``std_multiplier``, at which a limit is below a level; ``-inf`` for none."""

    bursty: float
    spike: float
    std: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """What a limit is made of but for the thresholds, and the count it is held against."""

    count: int
    busiest: int
    mean: float
    deviation: float
    weighted: float
    decay: float
    constants: FormulaConstants

    def limit(self, thresholds: ThresholdVariables) -> float:
        """The limit before it is cut to a whole number."""
        return max(halves_of(self.busiest, self.mean, self.deviation, self.weighted, thresholds, self.constants))

    def fires(self, thresholds: ThresholdVariables) -> bool:
        """Whether the count is over the limit, and the limit one that can fire."""
        return 1 <= self.limit(thresholds) < self.count

    def below(self, level: int) -> _Below:
        """When the limit is below ``level``."""
        found = critical_values(
            np.array([level]), np.array([self.busiest]), np.array([self.mean]), np.array([self.deviation]),
            np.array([self.weighted]), constants=self.constants,
        )  # fmt: skip
        return _Below(found.bursty.item(), found.spike.item(), found.std.item())


def flips(hour: Arithmetic, thresholds: ThresholdVariables) -> tuple[Flip, ...]:
    """For each variable the values at which the answer is the other one."""
    fires, under, zero = hour.fires(thresholds), hour.below(hour.count), hour.below(1)
    return tuple(
        _flip(
            name, thresholds, fires,
            _largest(name, thresholds, zero, hour.decay), _largest(name, thresholds, under, hour.decay),
        )
        for name in VARIABLES
    )  # fmt: skip


def _flip(name: str, thresholds: ThresholdVariables, fires: bool, zero: float, most: float) -> Flip:
    """The hour fires at values above ``zero`` and up to ``most``."""
    value = float(getattr(thresholds, name))
    spans: list[tuple[float, float]] = []
    if fires:
        if zero > _NEVER:
            spans.append((0.0, zero))
        if most < LARGEST:
            spans.append((_above(most), float(LARGEST)))
    elif zero < most:
        spans.append((_above(zero), min(most, float(LARGEST))))
    found = []
    for low, high in spans:
        at = low if low > value else high
        bound = getattr(thresholds, _PARTNER[name]) if name in _PARTNER else None
        beyond = bound is not None and (at > bound if name.startswith("min") else at < bound)
        found.append((beyond, _step(value, at), Flip(
            variable=name, value=value, at=at, low=low, high=high, together=_PARTNER[name] if beyond else None
        )))  # fmt: skip
    return min(found, key=lambda one: one[:2])[2] if found else Flip(variable=name, value=value)


def _largest(name: str, thresholds: ThresholdVariables, below: _Below, decay: float) -> float:
    """The largest value of a variable, its partner taken along, at which the limit is below a level."""
    one = thresholds
    bursty = one.max_bursty_multiplier <= below.bursty or (
        one.min_bursty_multiplier <= below.bursty and decay <= below.bursty
    )
    steady = one.std_multiplier <= below.std  # the spike factor before it is clipped is low enough
    spike = one.max_spike_multiplier <= below.spike or (one.min_spike_multiplier <= below.spike and steady)
    if not (spike if "bursty" in name else bursty):
        return _NEVER  # the other half is not below it
    if name == "std_multiplier":
        if one.max_spike_multiplier <= below.spike:
            return _ALWAYS
        return below.std if one.min_spike_multiplier <= below.spike else _NEVER
    half = "bursty" if "bursty" in name else "spike"
    low, high = getattr(one, f"min_{half}_multiplier"), getattr(one, f"max_{half}_multiplier")
    level = below.bursty if half == "bursty" else below.spike
    free = decay <= below.bursty if half == "bursty" else steady
    if name.startswith("min"):
        return level if free or high <= level else _NEVER
    return _ALWAYS if free and low <= level else level


def nearest_flip(hour: Arithmetic, thresholds: ThresholdVariables) -> ThresholdVariables | None:
    """The setting with the other answer that lies nearest, by :func:`distance`; None if there is none.

    Each half of a limit can be brought below a level, or to it, in two ways, each the least move of the variables it
    needs; so the nearest of all settings is among a few.
    """
    fires = hour.fires(thresholds)
    if fires:
        found = [*_raised(thresholds, hour, hour.count), *_lowered(thresholds, hour, 1)]
    elif hour.limit(thresholds) < 1:
        found = list(_raised(thresholds, hour, 1))
    else:
        found = list(_lowered(thresholds, hour, hour.count))
    found = [one for one in found if hour.fires(one) != fires]
    return min(found, key=lambda one: (distance(thresholds, one), len(changes(thresholds, one))), default=None)


def distance(one: ThresholdVariables, other: ThresholdVariables) -> float:
    """How far apart settings lie: the sum over variables of ``|log((1 + a) / (1 + b))|``.

    For values well above 1 it is the sum of their log ratios; at 0, where ratios have no end, it is smooth.
    """
    return sum(_step(a, b) for a, b in zip(one.to_dict().values(), other.to_dict().values(), strict=True))


def changes(one: ThresholdVariables, other: ThresholdVariables) -> dict[str, float]:
    """The variables of ``other`` that are not as in ``one``."""
    return {name: value for name, value in other.to_dict().items() if value != getattr(one, name)}


def _step(a: float, b: float) -> float:
    return abs(math.log1p(a) - math.log1p(b))


def _above(value: float) -> float:
    """The next double; of 0 or less, 0 and what follows."""
    return 0.0 if value < 0 else math.nextafter(value, math.inf)


def _lowered(one: ThresholdVariables, hour: Arithmetic, level: int) -> Iterator[ThresholdVariables]:
    """Settings whose limit is below ``level``: for each half, its maximum brought down, or what is clipped by it."""
    below = hour.below(level)
    low, high, decay = one.min_bursty_multiplier, one.max_bursty_multiplier, hour.decay
    bursty, spike = [], []
    if below.bursty >= 0:
        bursty.append(_bursty(min(low, below.bursty), min(high, below.bursty)))
        if decay <= below.bursty:
            bursty.append(_bursty(min(low, below.bursty), high))
    low, high = one.min_spike_multiplier, one.max_spike_multiplier
    if below.spike >= 0:
        spike.append(_spike(min(low, below.spike), min(high, below.spike), one.std_multiplier))
        if below.std >= 0:
            spike.append(_spike(min(low, below.spike), high, min(one.std_multiplier, below.std)))
    for values in itertools.product(bursty, spike):
        yield replace(one, **values[0], **values[1])


def _raised(one: ThresholdVariables, hour: Arithmetic, level: int) -> Iterator[ThresholdVariables]:
    """Settings whose limit is ``level`` or more: one half is enough."""
    below = hour.below(level)
    least = _above(below.bursty)
    if least <= LARGEST:
        low, high = one.min_bursty_multiplier, max(one.max_bursty_multiplier, least)
        yield replace(one, **_bursty(max(low, least), high))
        if hour.decay > below.bursty:
            yield replace(one, **_bursty(low, high))
    least = _above(below.spike)
    if least <= LARGEST:
        low, high = one.min_spike_multiplier, max(one.max_spike_multiplier, least)
        yield replace(one, **_spike(max(low, least), high, one.std_multiplier))
        if _above(below.std) <= LARGEST:
            yield replace(one, **_spike(low, high, max(one.std_multiplier, _above(below.std))))


def _bursty(low: float, high: float) -> dict[str, float]:
    return {"min_bursty_multiplier": low, "max_bursty_multiplier": high}


def _spike(low: float, high: float, std: float) -> dict[str, float]:
    return {"min_spike_multiplier": low, "max_spike_multiplier": high, "std_multiplier": std}
