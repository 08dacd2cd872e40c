"""Issues: items of the issue list and of issues-stats, with counts, and retrieved ones, with activities and forecast.

Counts come from ``stats`` alone: ``count`` is a text, is cut by retention and filters, and belongs to no hour. Of
``stats``, ``24h`` has a point an hour; ``14d`` and ``30d`` have one a day and are refused, or only counted where the
issue has hourly ones too, as every retrieved issue does. Points of 0 are observed silences; the last is partial.

``forecast`` holds a limit for each of 14 days from the UTC date of ``date_added`` on. Where the tracker has none
stored, it answers with fourteen tens, dated the moment of the call (and sets about making one). They are kept: an issue
whose busiest hour had one event gets the same fourteen by the rule for new issues. Only ``made_at`` can tell: stored
ones are made at the nightly refresh or when the issue is archived, not when you asked.

Items that were collapsed give what they have; one that has nothing is only counted.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from issue_analytics.exports.formats.activities import issue_keys, open_activities
from issue_analytics.exports.formats.form import Format, Row, ignored, refused
from issue_analytics.exports.formats.series import ADVICE, HOUR, Point, every, hourly, not_hourly, pairs, seconds_of

__all__ = ["DAYS", "FORMAT"]

DAYS: Final = 14
"""Limits in a forecast."""

_DAILY: Final = ("14d", "30d")
_ADVICE: Final = f"ask for groupStatsPeriod=24h, or {ADVICE}"


def _knows(record: Any) -> bool:
    if not isinstance(record, dict) or "id" not in record or "eventID" in record:
        return False
    nested = any(isinstance(record.get(name), dict) for name in ("stats", "forecast", "lifetime"))
    return nested or "shortId" in record or "firstSeen" in record


def _first_seen(record: Mapping[str, Any], keys: Mapping[str, Any]) -> Iterator[Row]:
    at, activities = record.get("firstSeen"), record.get("activity")
    told = isinstance(activities, list) and any(
        isinstance(one, dict) and one.get("type") == "first_seen" for one in activities
    )
    if at is not None and not told:
        values = {"at": at, "kind": "first_seen", "source": "issue", **keys}
        yield Row("status_changes", values, {**keys, "firstSeen": at})


def _is_hourly(period: str, points: list[Point]) -> bool:
    distance = every(points)
    return distance == HOUR or (distance is None and period not in _DAILY)


def _stats(stats: Any, keys: Mapping[str, Any]) -> Iterator[Row]:
    if not isinstance(stats, dict):
        yield refused("hourly_counts", "stats: no object of series", {**keys, "stats": stats})
        return
    series = {str(period): pairs(points) for period, points in stats.items() if isinstance(points, list)}
    usable = {period for period, points in series.items() if points and _is_hourly(period, points)}
    for period, points in stats.items():
        if not isinstance(points, list):
            yield refused("hourly_counts", "stats: not a list of points", {**keys, "stats": {period: points}})
        elif period in usable:
            yield from hourly(series[period], keys, whole_start=True)
        elif points and usable:
            yield ignored("coarser stats of issues that have hourly ones")
        elif points:
            problem = not_hourly(every(series[period]), _ADVICE)
            yield refused("hourly_counts", problem, {**keys, "stats": {period: points[:20]}}, whole=True)


def _forecasts(forecast: Any, keys: Mapping[str, Any]) -> Iterator[Row]:
    limits = forecast.get("data") if isinstance(forecast, dict) else None
    made = forecast.get("date_added") if isinstance(forecast, dict) else None
    at = seconds_of(made)
    try:
        day = None if at is None else datetime.fromtimestamp(at, UTC).date()
    except (OverflowError, OSError, ValueError):
        day = None
    problem = None
    if not isinstance(limits, list) or len(limits) != DAYS:
        problem = f"forecast: no list of {DAYS} limits, one a day"
    elif day is None:
        problem = "forecast: no time in date_added; from which day on do its limits hold?"
    if problem is not None or not isinstance(limits, list) or day is None:
        yield refused("recorded_forecasts", problem or "", {**keys, "forecast": forecast})
        return
    for index, limit in enumerate(limits):
        values = {"date": (day + timedelta(days=index)).isoformat(), "limit": limit, "made_at": made, **keys}
        yield Row("recorded_forecasts", values)


def _rows(record: Mapping[str, Any], keys: Mapping[str, Any]) -> Iterator[Row]:
    activities = record.get("activity")
    if isinstance(activities, list):
        yield from open_activities(activities, keys)
    elif activities is not None:
        yield refused("status_changes", "activity: not a list", {**keys, "activity": activities})
    yield from _first_seen(record, keys)
    if record.get("stats") is not None:
        yield from _stats(record["stats"], keys)
    if record.get("forecast") is not None:
        yield from _forecasts(record["forecast"], keys)


def _open(record: Any, stem: str) -> Iterator[Row]:
    keys = {"project_id": issue_keys(record, stem)["project_id"], "group_id": record["id"]}
    rows = list(_rows(record, keys))
    yield from rows or [ignored("issues that tell neither counts nor dates")]


FORMAT: Final = Format("issues", _knows, open=_open)
