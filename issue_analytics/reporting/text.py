"""Text for people: what exports say, made harmless; times, counts and shares, written the same way everywhere."""

import re
import unicodedata
from datetime import UTC, datetime

__all__ = ["between", "clean", "number", "share", "signed", "stamp"]

NOT_DEFINED = "n/a"
MINUS = "\N{MINUS SIGN}"

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,1000}(?:\x07|\x1b\\)?|\x1b[ -~]?")
_SPACE = re.compile(r"\s+")
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")  # strftime would follow the machine's locale
_MARKS = 2  # accents in a row; more than that is text that climbs over its neighbours


def clean(text: object, *, length: int = 100) -> str:
    r"""Return the text on one line, without what a terminal, a browser or a page would obey, cut at ``length``.

    Terminal escapes, control characters, direction marks, unpaired surrogates and unassigned code points go; runs of
    space become one; null becomes an empty string. Markup stays as it is: whoever writes HTML escapes it.

    >>> clean("disk\x00 full\n\x1b[31mred\x1b[0m \u202etxt.exe")
    'disk full red txt.exe'
    >>> clean("x" * 10_000, length=5)
    'xxxx…'
    """
    if text is None:
        return ""
    # a title is looked at no further than it can matter
    whole = _SPACE.sub(" ", _ESCAPES.sub("", str(text)[: 20 * length + 1000]))
    kept: list[str] = []
    marks = 0
    for character in whole:
        kind = unicodedata.category(character)
        marks = marks + 1 if kind[0] == "M" else 0
        if kind[0] != "C" and marks <= _MARKS:
            kept.append(character)
    line = _SPACE.sub(" ", "".join(kept)).strip()
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def stamp(at: datetime | None) -> str:
    """Write a moment with its weekday, to the minute, in UTC.

    >>> stamp(datetime(2005, 11, 3, 16, tzinfo=UTC))
    'Thu 2005-11-03 16:00 UTC'
    """
    if at is None:
        return NOT_DEFINED
    at = at.astimezone(UTC)
    return f"{_WEEKDAYS[at.weekday()]} {at:%Y-%m-%d %H:%M} UTC"


def number(value: float | None, digits: int | None = None) -> str:
    """Write a number with thousands in groups; undefined is ``n/a``, never 0.

    Without ``digits`` a fraction has three significant digits; a positive number is never written as 0.

    >>> number(1234567), number(0.0138), number(None), number(2.0), number(0.00004)
    ('1,234,567', '0.0138', 'n/a', '2', '4.00e-05')
    """
    if value is None or value != value:
        return NOT_DEFINED
    if digits is not None:
        return f"{value:,.{digits}f}"
    if value == int(value):
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}"


def share(part: int | None, whole: int | None) -> str:
    """Write a share with its n.

    >>> share(49, 207), share(0, 0), share(1, 4000)
    ('24 % (49 of 207)', 'n/a (0 of 0)', '0.03 % (1 of 4,000)')
    """
    if part is None or whole is None:
        return NOT_DEFINED
    of = f"({part:,} of {whole:,})"
    return f"{percent(part / whole)} {of}" if whole else f"{NOT_DEFINED} {of}"


def percent(value: float | None) -> str:
    """Write a fraction as a percentage; what is not none is not written as 0 %, nor what is not all as 100 %.

    >>> percent(0.237), percent(0.9996), percent(0.004), percent(None)
    ('24 %', '99.96 %', '0.4 %', 'n/a')
    """
    if value is None or value != value:
        return NOT_DEFINED
    hundredths = 100 * value
    for digits in (0, 1, 2):
        text = f"{hundredths:.{digits}f}"
        if (float(text) == 0) == (value == 0) and (float(text) == 100) == (value == 1):
            return f"{text} %"
    return "< 0.01 %" if value < 0.5 else "> 99.99 %"


def signed(value: float | None, reference: float | None, *, points: bool = False) -> str:
    """Write a difference with its sign, in percentage points if asked; undefined if either side is.

    >>> signed(0.30, 0.24, points=True), signed(0.5, 0.75), signed(2, 2), signed(None, 1)
    ('+6.0 pp', '\N{MINUS SIGN}0.250', '±0', 'n/a')
    """
    if value is None or reference is None:
        return NOT_DEFINED
    difference = (value - reference) * (100 if points else 1)
    if difference == 0:
        return "±0"
    text = f"{abs(difference):.1f} pp" if points else number(abs(difference))
    return f"{'+' if difference > 0 else MINUS}{text}"


def between(start: datetime | None, end: datetime | None) -> str:
    """Write a span [start, end) with its length in days.

    >>> between(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 15, 12, tzinfo=UTC))
    'Thu 2026-01-01 00:00 UTC to Thu 2026-01-15 12:00 UTC (14.5 days)'
    """
    if start is None or end is None:
        return NOT_DEFINED
    return f"{stamp(start)} to {stamp(end)} ({number((end - start).total_seconds() / 86400)} days)"
