"""The window behind a limit: its points, and what the formula makes of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from issue_analytics.counts import HOUR
from issue_analytics.formula import halves_of, limit_of_one, moments_of, weighted_mean
from issue_analytics.frames import RULES
from issue_analytics.kernel import Buckets
from issue_analytics.thresholds import FormulaConstants, ThresholdVariables

__all__ = ["Half", "Terms", "Week", "terms_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """One of the two limits of which the larger counts.

    Attributes:
        value: in events per clock hour, before it is cut to a whole number.
        base: what the factor multiplies, in events per hour: the busiest hour, or the mean.
        added: what is added to that, in events per hour: 0, or the weighted mean.
        before: the factor before it is clipped.
        factor: the factor.
        bound: the variable that clips it; null where none does.
    """

    value: float
    base: float
    added: float
    before: float
    factor: float
    bound: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the formula makes of a window.

    Attributes:
        mean: events per hour.
        deviation: sample standard deviation, events per hour.
        cv: the one divided by the other.
        weighted: mean in which points on the weekday of the hour weigh more.
        bursty: the half made of the busiest hour.
        spike: the half made of the mean.
    """

    mean: float
    deviation: float
    cv: float
    weighted: float
    bursty: Half
    spike: Half


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """The hours before a limit was made, silence as 0.

    Attributes:
        start: of the first hour, UTC.
        counts: events in each hour.
        buckets: whether silent hours are points.
        new: whether the group takes the ``new`` rule.
        constants: the constants of the formula.
    """

    start: datetime
    counts: tuple[int, ...]
    buckets: Buckets
    new: bool
    constants: FormulaConstants

    @classmethod
    def before(
        cls,
        made: datetime,
        counts: Mapping[datetime, int],
        *,
        buckets: Buckets,
        constants: FormulaConstants,
        new: bool | None = None,
    ) -> "Week":
        """The window before ``made``; without ``new``, silent hours decide if sparse, and nobody is new if dense."""
        start = made.replace(minute=0, second=0, microsecond=0) - constants.window_hours * HOUR
        hours = tuple(counts.get(start + number * HOUR, 0) for number in range(constants.window_hours))
        is_new = (buckets == "sparse" and 0 in hours) if new is None else new
        return cls(start=start, counts=hours, buckets=buckets, new=is_new, constants=constants)

    @property
    def end(self) -> datetime:
        """The end of the last hour."""
        return self.start + len(self.counts) * HOUR

    @property
    def points(self) -> int:
        """How many hours are points."""
        return len(self.counts) if self.buckets == "dense" else len(self.counts) - self.silent

    @property
    def silent(self) -> int:
        """How many hours have no event."""
        return self.counts.count(0)

    @property
    def busiest(self) -> int:
        """Events in the busiest hour."""
        return max(self.counts)

    @property
    def busiest_at(self) -> datetime | None:
        """The busiest hour, the first of several; null in a silent window."""
        return self.start + self.counts.index(self.busiest) * HOUR if self.busiest else None

    @property
    def weekdays(self) -> list[int]:
        """The weekday of each hour, Monday 0."""
        return [(self.start + number * HOUR).weekday() for number in range(len(self.counts))]

    def limit(self, day: int, thresholds: ThresholdVariables) -> tuple[int | None, str]:
        """The limit for a weekday, and its rule."""
        limit, rule = limit_of_one(self.counts, self.weekdays, day, thresholds, self.constants, new=self.new)
        return limit, RULES[rule]

    def with_counts(self, counts: tuple[int, ...]) -> "Week":
        """The same window with other counts."""
        return replace(self, counts=counts)

    def place(self, hour: datetime) -> int:
        """The number of an hour in the window."""
        return (hour - self.start) // HOUR


def terms_of(week: Week, day: int, thresholds: ThresholdVariables) -> Terms | None:
    """The terms of a limit for a weekday; None where it has none: the window is silent, or the group is new."""
    if week.new or not week.busiest:
        return None
    constants = week.constants
    mean, deviation = moments_of(week.counts)
    weighted = weighted_mean(week.counts, week.weekdays, day, constants)
    bursty, spike = halves_of(week.busiest, mean, deviation, weighted, thresholds, constants)
    decay = constants.bursty_amplitude * math.exp(constants.bursty_rate * (deviation / mean))
    above = (mean + thresholds.std_multiplier * deviation) / mean
    return Terms(
        mean=mean,
        deviation=deviation,
        cv=deviation / mean,
        weighted=weighted,
        bursty=_half(bursty, week.busiest, 0.0, decay, "bursty", thresholds),
        spike=_half(spike, mean, weighted, above, "spike", thresholds),
    )


def _half(
    value: float,
    base: float,
    added: float,
    before: float,
    name: Literal["bursty", "spike"],
    thresholds: ThresholdVariables,
) -> Half:
    bounds = f"min_{name}_multiplier", f"max_{name}_multiplier"
    low, high = (getattr(thresholds, bound) for bound in bounds)
    bound = bounds[0] if before < low else bounds[1] if before > high else None
    factor = float(min(max(low, before), high))
    return Half(value=float(value), base=base, added=added, before=before, factor=factor, bound=bound)
