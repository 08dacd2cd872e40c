"""Runs of points, ``[time, count]``, as the REST API gives them: whether they are hourly, and which hours are whole.

One point is one row. A series of another interval is one refused row; so is a point whose hour was not over when the
series was made, or that had begun before it: what it counts is not what occurred in [hour, hour + 1 h).
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from statistics import median_low
from typing import Any, Final, NamedTuple

from issue_analytics.exports.formats.form import Row, refused

__all__ = [
    "ADVICE",
    "COUNT",
    "HOUR",
    "INCOMPLETE",
    "NAMELESS",
    "NO_ISSUE",
    "OTHER",
    "Point",
    "every",
    "from_stem",
    "hourly",
    "named",
    "not_hourly",
    "pairs",
    "seconds_of",
]

HOUR: Final = 3_600

COUNT: Final = ("count()", "count")
"""What the API calls the number of events; every other axis counts something else."""

ADVICE: Final = "export events-timeseries or events-stats with interval=1h"

INCOMPLETE: Final = "partial hour: it was not over when the series was made; export it again"
_BEGUN: Final = "partial hour: it had begun before the series begins; begin the next export earlier"
_UNKNOWN: Final = "count: null, which is not known, not 0; export it again"

NAMELESS: Final = "the series names no issue; keep one issue to a file, and name the file by its id, such as 10001.json"
OTHER: Final = "the sum of all that are not among the top ones is no group; ask for the missing ones by themselves"
NO_ISSUE: Final = "events of which the tracker knows no issue"


class Point(NamedTuple):
    """A point as exported: its time, its count, and what is wrong with it, if its format can tell."""

    at: Any
    count: Any
    shown: Any
    problem: str | None = None


def pairs(series: Sequence[Any]) -> list[Point]:
    """Points of pairs ``[time, count]``; what is none becomes a point with that problem.

    >>> [point.problem for point in pairs([[1767603600, 3], "3"])]
    [None, 'not a point [time, count]']
    """
    return [
        Point(point[0], point[1], point)
        if isinstance(point, list) and len(point) == 2
        else Point(None, None, point, "not a point [time, count]")
        for point in series
    ]


def seconds_of(stamp: Any) -> float | None:
    """Seconds since 1970 of a stamp: a number of any unit, told by magnitude, or ISO 8601 with a zone; else None.

    >>> seconds_of(1767603600), seconds_of(1767603600000), seconds_of("2026-01-05T09:00:00Z"), seconds_of("soon")
    (1767603600.0, 1767603600.0, 1767603600.0, None)
    """
    if isinstance(stamp, bool) or not isinstance(stamp, int | float | str):
        return None
    try:
        number = float(stamp)
    except OverflowError:
        return None
    except ValueError:
        try:
            moment = datetime.fromisoformat(str(stamp))
        except ValueError:
            return None
        return None if moment.tzinfo is None else moment.timestamp()
    if not math.isfinite(number):
        return None
    while abs(number) >= 1e11:  # the same bounds between units as exports.values.times
        number /= 1_000
    return round(number, 6)


def every(points: Sequence[Point]) -> float | None:
    """The usual distance of points in seconds, None for fewer than two times.

    The usual one: a series with holes is still hourly, and one stamp that went wrong makes no daily series hourly.

    >>> every(pairs([[0, 1], [86400, 1], [172800, 1]]))
    86400.0
    """
    known = sorted({at for point in points if (at := seconds_of(point.at)) is not None})
    return median_low(later - earlier for earlier, later in pairwise(known)) if len(known) > 1 else None


def not_hourly(distance: float | None, advice: str = ADVICE) -> str:
    """Why a series with points so many seconds apart is refused, and what to do; None: it is known to be daily.

    >>> not_hourly(21600, "do").partition(":")[0]
    'one point for 6 hours'
    """
    seconds = 86_400 if distance is None else distance
    units = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
    name, size = next((unit for unit in units if seconds % unit[1] == 0), units[-1])
    words = f"a {name}" if seconds == size else f"{seconds / size:g} {name}s"
    return f"one point for {words}: limits are events per hour, and these points are not; {advice}"


def hourly(
    points: Sequence[Point],
    keys: Mapping[str, Any],
    *,
    start: float | None = None,
    end: float | None = None,
    whole_start: bool = False,
    advice: str = ADVICE,
) -> Iterator[Row]:
    """Rows of hourly counts, one for a point, or one refusal of a series that is not hourly.

    Args:
        points: in any order; none is no row.
        keys: what names the group: ``project_id``, and ``group_id`` or ``group_key``.
        start: since when events were counted, in seconds; not known: the first hour is taken as partial.
        end: until when; not known: the last hour is taken as partial.
        whole_start: the first hour is known to be whole.
        advice: how to get hourly counts instead.

    >>> rows = list(hourly(pairs([[1767603600, 3], [1767607200, 1]]), {"group_id": 7}, whole_start=True))
    >>> [row.values.get("count") for row in rows], rows[1].values["problem"].partition(":")[0]
    ([3, None], 'partial hour')
    """
    distance = every(points)
    if distance not in (None, HOUR):
        shown = {**keys, "points": [point.shown for point in points[:20]]}
        yield refused("hourly_counts", not_hourly(distance, advice), shown, whole=True)
        return
    times = [seconds_of(point.at) for point in points]
    known = [at for at in times if at is not None]
    if start is None and known and not whole_start:
        start = min(known) + 1
    if end is None and known:
        end = max(known) + 1
    for at, point in zip(times, points, strict=True):
        problem = point.problem
        if problem is None and at is not None and end is not None and at + HOUR > end:
            problem = INCOMPLETE
        elif problem is None and at is not None and start is not None and at < start:
            problem = _BEGUN
        elif problem is None and point.count is None:
            problem = _UNKNOWN
        if problem is None:
            yield Row("hourly_counts", {**keys, "hour": point.at, "count": point.count})
        else:
            yield refused("hourly_counts", problem, {**keys, "point": point.shown})


def named(label: Any) -> dict[str, Any]:
    """What a label says of its group: the id where it is a plain number, else a text that stands for the group.

    >>> named("10001"), named("SHOP-1Z")
    ({'group_id': '10001'}, {'group_key': 'SHOP-1Z'})
    """
    if isinstance(label, str) and label and not re.fullmatch(r"0|[1-9][0-9]*", label):
        return {"group_key": label}
    return {"group_id": label}


def from_stem(stem: str) -> dict[str, Any] | None:
    """The group that a file is named after, or None.

    >>> from_stem("10001"), from_stem("stats")
    ({'group_id': '10001'}, None)
    """
    return {"group_id": stem} if re.fullmatch(r"[0-9]+", stem) else None
