"""How an explanation writes times and numbers."""

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from issue_analytics.counts import HOUR

__all__ = ["hours_text", "inside", "number", "plural", "stamp"]

DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DECIMALS: Final = 4


def stamp(at: datetime) -> str:
    """A moment to the minute, UTC, with its weekday; strftime would follow the machine's language.

    >>> from datetime import UTC
    >>> stamp(datetime(2026, 1, 5, 9, tzinfo=UTC))
    'Mon 2026-01-05 09:00'
    """
    return f"{DAYS[at.weekday()][:3]} {at:%Y-%m-%d %H:%M}"


def number(value: float) -> str:
    """A number of four significant digits, or a whole one with its thousands in groups.

    >>> number(1234567), number(4.44444), number(12345.6), number(0.000123456)
    ('1,234,567', '4.444', '12,346', '0.0001235')
    """
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "hour"), plural(1200, "hour")
    ('1 hour', '1,200 hours')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def hours_text(span: timedelta) -> str:
    """A span in hours, or in days where it is long.

    >>> hours_text(timedelta(hours=7)), hours_text(timedelta(days=3, hours=12))
    ('7 hours', '3.5 days')
    """
    hours = span / HOUR
    if hours < 48:
        return f"{number(hours)} hour" + ("" if hours == 1 else "s")
    return f"{number(round(hours / 24, 1))} days"


def inside(at: float, low: float, high: float) -> str:
    """The end of a range of values in a few decimals, rounded into the range: what is printed is true as well.

    >>> inside(4.999999999999999, 0, 4.999999999999999), inside(4.444444, 4.444444, 1000)
    ('4.9999', '4.4445')
    """
    rounded: Callable[[float], int] = math.floor if at == high else math.ceil
    for decimals in range(_DECIMALS, 17):
        near = rounded(at * 10**decimals) / 10**decimals
        if low <= near <= high:
            return f"{near:.{decimals}f}".rstrip("0").rstrip(".")
    return repr(at)
