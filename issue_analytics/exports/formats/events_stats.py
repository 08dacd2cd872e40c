"""Answers of ``events-stats``: points ``[seconds, [{"count": n}]]`` of one query, or of each of the top groups.

A single series names no issue: it is of the one that its file is named by (``10001.json``). In an answer about top
events a label that is a number is the group's id; any other label (a short id, or several fields joined) is a text that
stands for the group. A count of null is not known: its point is one refused row, never a 0. ``start`` and ``end`` tell
which hours are whole; without them the first and the last are taken as partial.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from issue_analytics.exports.formats.form import Format, Row, refused
from issue_analytics.exports.formats.series import (
    COUNT,
    NAMELESS,
    NO_ISSUE,
    OTHER,
    Point,
    from_stem,
    hourly,
    named,
    seconds_of,
)

__all__ = ["FORMAT"]

_AXIS: Final = re.compile(r"[a-z0-9_]+\([^()]*\)")


def _is_point(point: Any) -> bool:
    return (
        isinstance(point, list)
        and len(point) == 2
        and isinstance(point[0], int | float)
        and not isinstance(point[0], bool)
        and isinstance(point[1], list)
    )


def _is_series(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        return False
    told = "isMetricsData" in value or "order" in value or {"start", "end"} <= set(value)
    return any(map(_is_point, value["data"][:50])) or (told and not value["data"])


def _axes(value: Any) -> dict[str, Any]:
    """Series of several axes, by axis."""
    if not isinstance(value, dict):
        return {}
    return {name: part for name, part in value.items() if _AXIS.fullmatch(name) and _is_series(part)}


def _knows(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    if _is_series(record):
        return True
    values = list(record.values())
    return all(isinstance(value, dict) for value in values) and any(
        _is_series(value) or _axes(value) for value in values
    )


def _point(point: Any) -> Point:
    counts = point[1] if _is_point(point) else None
    if isinstance(counts, list) and len(counts) == 1 and isinstance(counts[0], dict) and "count" in counts[0]:
        return Point(point[0], counts[0]["count"], point)
    return Point(None, None, point, 'not a point [time, [{"count": n}]]')


def _series(series: Mapping[str, Any], keys: Mapping[str, Any] | None) -> Iterator[Row]:
    points, meta = series["data"], series.get("meta")
    fields = meta.get("fields") if isinstance(meta, dict) else None
    problem = NAMELESS if keys is None else None
    if isinstance(fields, dict) and fields and not any(name in fields for name in COUNT):
        problem = f'a series of "{", ".join(map(str, fields))[:100]}", not of count(); only events are counted here'
    if keys is None or problem is not None:
        yield refused("hourly_counts", problem or NAMELESS, {**series, "data": points[:3]}, whole=True)
        return
    start, end = seconds_of(series.get("start")), seconds_of(series.get("end"))
    yield from hourly([_point(point) for point in points], keys, start=start, end=end)


def _of(value: Any, keys: Mapping[str, Any] | None) -> Iterator[Row]:
    """The rows of what belongs to one group: a series, or one of each axis."""
    axes = _axes(value)
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        yield from _series(value, keys)
    elif axes:
        for name, series in axes.items():
            if name in COUNT:
                yield from _series(series, keys)
            else:
                problem = f'a series of "{name[:60]}", not of count(); only events are counted here'
                yield refused("hourly_counts", problem, {**series, "data": series["data"][:3]}, whole=True)
    else:
        yield refused("hourly_counts", "not a series of points", value)


def _open(record: Any, stem: str) -> Iterator[Row]:
    if _is_series(record) or len(_axes(record)) == len(record):
        yield from _of(record, from_stem(stem))
        return
    for label, value in record.items():
        if label in ("Other", "unknown"):
            yield refused("hourly_counts", OTHER if label == "Other" else NO_ISSUE, {label: value}, whole=True)
        else:
            yield from _of(value, named(label))


FORMAT: Final = Format("events_stats", _knows, open=_open)
