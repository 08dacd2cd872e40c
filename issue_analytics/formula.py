"""The spike limit of one group: the definition, in plain and exact arithmetic.

The formula is the one published with the upstream's description of its escalation algorithm. For a window of n hourly
counts with mean m, sample standard deviation s, cv = s / m::

    n = 0 or all zero    no limit                                                        rule "none"
    n < 168              10 x max                                                        rule "new"
    otherwise            bursty = max x min(max(min_bursty, 5 e^(-0.65 cv)), max_bursty)
                         spike  = weighted mean + m x min(max((m + std s) / m, min_spike), max_spike)
                         limit  = int(max(bursty, spike))                                rule "bursty" or "spike"

The weighted mean counts points on the forecast day's weekday twice. A limit is a number of events per **clock hour**.
Mean and variance are rational and correctly rounded (`statistics` on integers); what follows is IEEE double arithmetic
in the order written above.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from issue_analytics.errors import FrameError
from issue_analytics.frames import RULES
from issue_analytics.thresholds import PUBLISHED, STANDARD, FormulaConstants, ThresholdVariables

__all__ = [
    "BURSTY",
    "NEW",
    "NONE",
    "SPIKE",
    "generate_issue_forecast",
    "halves_of",
    "limit_of_one",
    "moments_of",
    "weighted_mean",
]

NEW: Final = RULES.index("new")
BURSTY: Final = RULES.index("bursty")
SPIKE: Final = RULES.index("spike")
NONE: Final = RULES.index("none")


def limit_of_one(
    points: Sequence[int],
    weekdays: Sequence[int],
    day: int,
    thresholds: ThresholdVariables,
    constants: FormulaConstants,
    *,
    new: bool,
) -> tuple[int | None, int]:
    """The limit and rule for a day of the week (Monday 0); ``points`` and ``weekdays`` may differ in length."""
    busiest = max(points, default=0)
    if busiest == 0:
        return None, NONE
    if new:
        return constants.new_multiplier * busiest, NEW
    mean, deviation = moments_of(points)
    weighted = weighted_mean(points, weekdays, day, constants)
    bursty, spike = halves_of(busiest, mean, deviation, weighted, thresholds, constants)
    return (int(bursty), BURSTY) if bursty >= spike else (int(spike), SPIKE)


def moments_of(points: Sequence[int]) -> tuple[float, float]:
    """Mean and sample standard deviation of at least two counts, each correctly rounded."""
    # integers: Python's division is correctly rounded; exact variance, correctly rounded root
    return sum(points) / len(points), statistics.stdev(points)


def weighted_mean(points: Sequence[int], weekdays: Sequence[int], day: int, constants: FormulaConstants) -> float:
    """The mean in which points on the weekday ``day`` (Monday 0) weigh more."""
    weights = [constants.weekday_weight if weekday == day else 1 for weekday in weekdays]
    return sum(point * weight for point, weight in zip(points, weights, strict=False)) / sum(weights[: len(points)])


def halves_of(
    busiest: int,
    mean: float,
    deviation: float,
    weighted: float,
    thresholds: ThresholdVariables,
    constants: FormulaConstants,
) -> tuple[float, float]:
    """The two limits whose larger one counts, ``bursty`` and ``spike``, before ``int``."""
    decay = constants.bursty_amplitude * math.exp(constants.bursty_rate * (deviation / mean))
    bursty = busiest * min(max(thresholds.min_bursty_multiplier, decay), thresholds.max_bursty_multiplier)
    factor = (mean + thresholds.std_multiplier * deviation) / mean
    factor = min(max(factor, thresholds.min_spike_multiplier), thresholds.max_spike_multiplier)
    return bursty, weighted + mean * factor


def generate_issue_forecast(
    data: Mapping[str, Sequence[Any]],
    start_time: datetime,
    alg_params: ThresholdVariables = STANDARD,
    *,
    days: int = 14,
    constants: FormulaConstants = PUBLISHED,
) -> list[dict[str, str | int]]:
    """Forecast the daily limits of one group, as the upstream's function of this purpose is published to do.

    Args:
        data: ``{"intervals": [ISO stamp, ...], "data": [count, ...]}``. The points are taken as given: a zero is a
            point, and only the number of counts decides whether the group is new. The two lists may differ in length;
            stamps serve for weekdays only, each in its own offset.
        start_time: the first day forecast; only its date is used.
        alg_params: the five thresholds.
        days: how many days to forecast.
        constants: the constants of the formula.

    Returns:
        One ``{"forecasted_date": "YYYY-MM-DD", "forecasted_value": events per hour}`` for each day; an empty list if
        there are no counts or all are zero.

    Raises:
        FrameError: a list is missing, a count is no whole number or negative, or a stamp cannot be read.

    >>> from datetime import UTC
    >>> hours = [f"2026-01-05T{hour:02}:00:00+00:00" for hour in range(24)]
    >>> generate_issue_forecast({"intervals": hours, "data": [3] * 24}, datetime(2026, 1, 6, tzinfo=UTC))[0]
    {'forecasted_date': '2026-01-06', 'forecasted_value': 30}
    """
    if missing := [name for name in ("intervals", "data") if name not in data]:
        raise FrameError(
            f"no {' and no '.join(missing)}. Expected {{'intervals': [stamp, ...], 'data': [count, ...]}}."
        )
    points, stamps = list(data["data"]), list(data["intervals"])
    for point in points:
        if isinstance(point, bool) or not isinstance(point, int) or point < 0:
            raise FrameError(f"data: {point!r} is no count; expected whole numbers, 0 or more.")
    if not points or not stamps:
        return []
    weekdays = [_weekday(stamp) for stamp in stamps]
    result: list[dict[str, str | int]] = []
    for ahead in range(days):
        at = start_time + timedelta(days=ahead)
        new = len(points) < constants.window_hours
        limit, _ = limit_of_one(points, weekdays, at.weekday(), alg_params, constants, new=new)
        if limit is not None:
            result.append({"forecasted_date": at.strftime("%Y-%m-%d"), "forecasted_value": limit})
    return result


def _weekday(stamp: Any) -> int:
    try:
        return datetime.fromisoformat(stamp).weekday()
    except (TypeError, ValueError):
        raise FrameError(f"intervals: {stamp!r} is no ISO stamp such as '2026-01-05T23:00:00+00:00'.") from None
