"""What is wanted of a setting: an alert budget, a least recall, or a price for what is missed."""

from dataclasses import dataclass, fields
from typing import Final, NamedTuple, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from issue_analytics.errors import SettingsError

__all__ = ["Objective", "Score", "Totals"]

Floats = NDArray[np.float64]

_Number = TypeVar("_Number", float, Floats, pl.Expr)

HOURS_PER_WEEK: Final = 168

_ROUNDING: Final = 1e-9
"""What is equal on paper may differ in the last bits: a budget of 0.1 per series-week is not broken by them."""

_LARGEST: Final = 1e9
"""Of a price or a budget. Far beyond it costs are infinite, and what misses more would tie with what does not."""


class Totals(NamedTuple):
    """Sums over clusters. The last axis of the last three is settings; other axes are data sets, such as resamples.

    Attributes:
        events: judged escalations of each data set.
        exposed_hours: judged hours.
        quiet_hours: judged hours outside every escalation.
        project_days: days of projects; nan where nobody counted them.
        alerts: of each setting on each data set.
        false_alarms: as ``alerts``.
        events_caught: as ``alerts``.
    """

    events: Floats
    exposed_hours: Floats
    quiet_hours: Floats
    project_days: Floats
    alerts: Floats
    false_alarms: Floats
    events_caught: Floats


class Score(NamedTuple):
    """One score as a ratio of sums: ``scale * top / bottom``, and whether more of it is better (1) or less (-1).

    Attributes:
        name: as in a summary.
        top: of each setting.
        bottom: the same for all settings, but for precision.
        scale: brings it into the unit people read.
        sign: 1 if more is better, -1 if less is.
    """

    name: str
    top: Floats
    bottom: Floats
    scale: float
    sign: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is asked of a setting; exactly one of the four.

    Every objective is an order of settings: within its bound first (if it has one), then its score, then what breaks
    ties. Where no setting keeps the bound, those nearest to it are compared, and everything says so.

    Args:
        alerts_per_series_week: a budget: at most so many alerts, right or wrong, per week that one series is watched;
            within it the most escalations caught, then the fewest false alarms.
        alerts_per_project_day: the same by project and day.
        min_recall: at least this share of escalations caught; of those settings the fewest false alarms, then the
            fewest alerts.
        cost_ratio: a missed escalation costs as much as so many false alarms: the least ``false alarms + cost_ratio *
            misses``, then the fewest false alarms.

    Raises:
        SettingsError: none is given, or several, or a number makes no sense.

    >>> print(Objective(alerts_per_series_week=0.1))
    at most 0.1 alerts per series-week, then most escalations caught, then fewest false alarms
    >>> Objective(min_recall=0.8, cost_ratio=10)
    Traceback (most recent call last):
    issue_analytics.errors.SettingsError: objective: give exactly one of alerts_per_series_week, ...
    """

    alerts_per_series_week: float | None = None
    alerts_per_project_day: float | None = None
    min_recall: float | None = None
    cost_ratio: float | None = None

    def __post_init__(self) -> None:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        asked = {name: value for name, value in given.items() if value is not None}
        if len(asked) != 1:
            raise SettingsError(
                f"objective: give exactly one of {', '.join(given)}; got {', '.join(asked) if asked else 'none'}."
            )
        ((name, value),) = asked.items()
        most = 1.0 if name == "min_recall" else _LARGEST
        number = not isinstance(value, bool) and isinstance(value, int | float)
        if not (number and 0 < value <= most):
            least = "a share above 0, at most 1" if name == "min_recall" else "a number above 0, at most 1e9"
            raise SettingsError(f"{name}: expected {least}, got {value!r}.")

    @property
    def name(self) -> str:
        """Which of the four it is."""
        return next(field.name for field in fields(self) if getattr(self, field.name) is not None)

    @property
    def bound(self) -> str | None:
        """What must be kept, in words; None where everything has its price.

        >>> Objective(min_recall=0.8).bound
        'a recall of at least 0.8'
        """
        if self.alerts_per_series_week is not None:
            return f"at most {self.alerts_per_series_week:g} alerts per series-week"
        if self.alerts_per_project_day is not None:
            return f"at most {self.alerts_per_project_day:g} alerts per project and day"
        return None if self.min_recall is None else f"a recall of at least {self.min_recall:g}"

    @property
    def score_name(self) -> str:
        """The name of the score that settings within the bound are compared by."""
        if self.cost_ratio is not None:
            return "cost_per_series_week"
        return "recall" if self.min_recall is None else "false_alarms_per_series_week"

    def __str__(self) -> str:
        if self.cost_ratio is not None:
            return f"a missed escalation costs {self.cost_ratio:g} false alarms: lowest cost, then fewest false alarms"
        if self.min_recall is not None:
            return f"{self.bound}, then fewest false alarms, then fewest alerts"
        return f"{self.bound}, then most escalations caught, then fewest false alarms"

    def score(self, totals: Totals) -> Score:
        """What settings within the bound are compared by; its standard error is what the plateau rule looks at.

        For a budget it is the recall, for a least recall the false alarms per (quiet) series-week, for a cost ratio the
        cost per exposed series-week, in false alarms. The bottom is the same for all settings.

        Args:
            totals: sums; or the values of single clusters in their place, for errors.
        """
        if self.cost_ratio is not None:
            cost = self.cost(totals.false_alarms, totals.events[..., None] - totals.events_caught)
            return Score(self.score_name, cost, totals.exposed_hours, HOURS_PER_WEEK, -1)
        if self.min_recall is not None:
            return Score(self.score_name, totals.false_alarms, totals.quiet_hours, HOURS_PER_WEEK, -1)
        return Score(self.score_name, totals.events_caught, totals.events, 1.0, 1)

    def cost(self, false_alarms: _Number, misses: _Number) -> _Number:
        """What false alarms and misses cost together, in false alarms; of numbers, arrays or expressions.

        >>> Objective(cost_ratio=10).cost(3, 2)
        23
        """
        return false_alarms + (self.cost_ratio or 0) * misses

    def utility(self, totals: Totals) -> Floats:
        """The score of every setting, turned so that more is better; nan where it is not defined."""
        score = self.score(totals)
        bottom = np.where(score.bottom > 0, score.bottom, np.nan)[..., None]
        return score.sign * score.scale * score.top / bottom

    def excess(self, totals: Totals) -> Floats:
        """How far every setting is from keeping the bound: alerts too many, or catches too few; 0 where it does.

        Raises:
            SettingsError: days of projects were not counted.
        """
        if self.cost_ratio is not None:
            return np.zeros_like(totals.false_alarms)
        if self.min_recall is not None:
            needed = self.min_recall * totals.events[..., None]
            over = needed - totals.events_caught
            return np.where(over > _ROUNDING * (1 + needed), over, 0.0)
        if self.alerts_per_series_week is not None:
            over = totals.alerts - (self.alerts_per_series_week * totals.exposed_hours / HOURS_PER_WEEK)[..., None]
        else:
            if np.isnan(totals.project_days).any():
                raise SettingsError(
                    "alerts_per_project_day: the tallies do not say how many days projects were watched."
                )
            over = totals.alerts - ((self.alerts_per_project_day or 0.0) * totals.project_days)[..., None]
        return np.where(over > _ROUNDING * (1 + totals.alerts), over, 0.0)

    def nearest(self, totals: Totals) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which settings keep the bound or, where none does, are nearest to it; and whether any keeps it."""
        excess = self.excess(totals)
        least = excess.min(axis=-1)
        return excess <= least[..., None] + _ROUNDING, least <= 0

    def best(self, totals: Totals) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The best setting of each data set, the first of equals; and whether any setting keeps the bound.

        >>> caught, false = np.array([3.0, 5.0, 5.0]), np.array([0.0, 9.0, 4.0])
        >>> one = np.float64(1)
        >>> totals = Totals(8 * one, 168 * one, 160 * one, one, caught + false, false, caught)
        >>> [int(Objective(cost_ratio=ratio).best(totals)[0]) for ratio in (1, 10)]
        [0, 2]
        >>> at, kept = Objective(min_recall=0.9).best(totals)  # no setting catches 7.2 of 8
        >>> int(at), bool(kept)
        (2, False)
        """
        allowed, kept = self.nearest(totals)
        score = self.score(totals)
        ties = [-totals.false_alarms] if self.min_recall is None else [-totals.alerts]
        for value in (score.sign * score.top, *ties):
            among = np.where(allowed, value, -np.inf)
            top = among.max(axis=-1, keepdims=True)
            allowed = among >= top - _ROUNDING * (1 + np.abs(top))
        return allowed.argmax(axis=-1), kept
