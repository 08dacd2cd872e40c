"""Answers of ``events-timeseries``: series of points in milliseconds, each told whether it is complete.

A series is of one group where it is grouped by issue (``issue.id``, ``group_id``, or ``issue``, whose short id stands
for the group), beside it at most by project; grouped by anything else too, it is a part of the group's counts, and
refused. So are the sum of all others, other axes than ``count()``, and other intervals than an hour. A response with
one series that names no issue is of the issue that its file is named by.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from issue_analytics.exports.formats.form import Format, Row, first_of, refused
from issue_analytics.exports.formats.series import (
    COUNT,
    HOUR,
    INCOMPLETE,
    NAMELESS,
    NO_ISSUE,
    OTHER,
    Point,
    from_stem,
    hourly,
    named,
    not_hourly,
    seconds_of,
)

__all__ = ["FORMAT"]

_ISSUE: Final = ("issue.id", "group_id", "issue")
_PROJECT_ID: Final = ("project.id", "project_id")
_PROJECT: Final = (*_PROJECT_ID, "project", "project.name")


def _knows(record: Any) -> bool:
    return isinstance(record, dict) and isinstance(record.get("timeSeries"), list)


def _keys(series: Mapping[str, Any], stem: str, *, alone: bool) -> tuple[dict[str, Any], str | None]:
    """What names the group of a series, or why nothing does."""
    meta, grouped = series.get("meta"), series.get("groupBy") or []
    if isinstance(meta, dict) and meta.get("isOther"):
        return {}, OTHER
    if not grouped:
        keys = from_stem(stem) if alone else None
        return keys or {}, None if keys else NAMELESS if alone else OTHER
    if not isinstance(grouped, list) or not all(isinstance(one, dict) and "key" in one for one in grouped):
        return {}, "groupBy: not a list of keys and values"
    values = {str(one["key"]): one.get("value") for one in grouped}
    if values.keys().isdisjoint(_ISSUE):
        return {}, f'grouped by "{", ".join(values)[:100]}", not by issue; ask for groupBy=issue.id'
    if others := [name for name in values if name not in (*_ISSUE, *_PROJECT)]:
        return {}, f'grouped by "{", ".join(others)[:100]}" too, so no count is whole; ask for groupBy=issue.id alone'
    issue, project = first_of(values, *_ISSUE), first_of(values, *_PROJECT_ID)
    return {"project_id": project, **named(issue)}, NO_ISSUE if issue in (None, "", "unknown") else None


def _point(value: Any) -> Point:
    if not isinstance(value, dict) or "timestamp" not in value:
        return Point(None, None, value, "not a point with a timestamp and a value")
    return Point(value["timestamp"], value.get("value"), value, INCOMPLETE if value.get("incomplete") else None)


def _series(series: Any, answer: Mapping[str, Any], stem: str, *, alone: bool) -> Iterator[Row]:
    values = series.get("values") if isinstance(series, dict) else None
    if not isinstance(values, list):
        yield refused("hourly_counts", "not a series of values", series)
        return
    keys, problem = _keys(series, stem, alone=alone)
    meta = series["meta"] if isinstance(series.get("meta"), dict) else {}
    interval = meta.get("interval")
    if problem is None and series.get("yAxis") not in COUNT:
        problem = f'yAxis: "{str(series.get("yAxis"))[:60]}" is not count(); only events are counted here'
    if problem is None and interval is not None and interval != HOUR * 1_000:
        numeric = isinstance(interval, int | float) and not isinstance(interval, bool)
        problem = not_hourly(interval / 1_000) if numeric else "meta.interval: not 3600000, an hour in milliseconds"
    if problem is not None:
        yield refused("hourly_counts", problem, {**series, "values": values[:3]}, whole=True)
        return
    of_all = answer["meta"] if isinstance(answer.get("meta"), dict) else {}
    end = seconds_of(of_all.get("end"))
    if end is None and any(isinstance(value, dict) and value.get("incomplete") is not None for value in values):
        end = math.inf  # each point says for itself whether its hour was over
    yield from hourly([_point(value) for value in values], keys, start=seconds_of(of_all.get("start")), end=end)


def _open(record: Any, stem: str) -> Iterator[Row]:
    series = record["timeSeries"]
    for one in series:
        yield from _series(one, record, stem, alone=len(series) == 1)


FORMAT: Final = Format("events_timeseries", _knows, open=_open)
