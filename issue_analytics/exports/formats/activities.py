"""Activities of issues: the record of what was done to each, newest first, at most a hundred."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from issue_analytics.exports.formats.form import Format, Row, first_of, refused

__all__ = ["FORMAT", "MOST", "from_activity", "issue_keys", "open_activities"]

MOST: Final = 100
"""Activities that the tracker shows of one issue; what was before cannot be exported."""

_KINDS: Final = {
    "auto_set_ongoing": "ongoing",
    "set_regression": "regressed",
    "set_escalating": "escalating",
    "set_unresolved": "unresolved",
    "merge": "merged",
    "unmerge_source": "unmerged",
    "unmerge_destination": "unmerged",
}
"""Activity types to kinds; ``set_ignored`` depends on its data, ``set_resolved...`` is one kind, others stay."""

_OTHERS: Final = {
    "merge": ("issues",),
    "unmerge_source": ("destination", "destinationid"),
    "unmerge_destination": ("source", "sourceid"),
    "reprocess": ("oldgroupid", "newgroupid"),
}
"""Where activities that move events name the other issues."""

_CONDITIONS: Final = ("ignorecount", "ignoreduration", "ignoreuntil", "ignoreusercount", "ignoreuserwindow")


def _data(activity: Mapping[str, Any]) -> dict[str, Any]:
    """What an activity says besides its type, under names in one spelling."""
    data = activity.get("data")
    return {str(key).replace("_", "").lower(): value for key, value in data.items()} if isinstance(data, dict) else {}


def _forecast(data: Mapping[str, Any]) -> int | None:
    value = data.get("forecast")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        return None
    return int(value)


def _only_time(snooze: Any) -> bool:
    """Whether an archive waited for a time, and for no number of events or users."""
    if not isinstance(snooze, dict):
        return False
    waits = {str(key).replace("_", "").lower() for key, value in snooze.items() if value is not None}
    return "until" in waits and waits.isdisjoint({"count", "usercount"})


def from_activity(activity: Mapping[str, Any]) -> dict[str, Any]:
    """Return kind, cause, forecast and time of one activity of an issue, raw.

    Keys in snake_case and in camelCase are one; ``data`` may be null. An unknown type is kept as the kind.

    >>> from_activity({"type": "set_escalating", "data": {"forecast": 42}, "dateCreated": "2026-01-05T09:00:00Z"})
    {'at': '2026-01-05T09:00:00Z', 'kind': 'escalating', 'cause': 'forecast', 'forecast': 42, 'source': 'activity'}
    """
    type_ = str(activity.get("type") or "").lower() or None
    data = _data(activity)
    kind, cause = _KINDS.get(type_ or "", type_), None
    forecast = _forecast(data)
    if type_ == "set_ignored":
        if data.get("ignoreuntilescalating"):
            kind = "archived_until_escalating"
        elif any(data.get(condition) for condition in _CONDITIONS):
            kind = "archived_until_condition_met"
        else:
            kind = "archived_forever"
    elif type_ is not None and type_.startswith("set_resolved"):
        kind = "resolved"
    elif type_ == "set_unresolved" and forecast is not None:
        kind = "escalating"  # before set_escalating existed, spring 2023
    if kind == "escalating":
        if forecast is not None:
            cause = "forecast"
        elif data.get("expiredsnooze") is not None:
            cause = "duration" if _only_time(data["expiredsnooze"]) else "condition"
        else:
            cause = "velocity" if data.get("eventid") is not None else "platform"
    return {
        "at": first_of(activity, "dateCreated", "date_created"),
        "kind": kind,
        "cause": cause,
        "forecast": forecast,
        "source": "activity",
    }


def issue_keys(issue: Mapping[str, Any], stem: str) -> dict[str, Any]:
    """Project and group of an issue, of a response about it, or of the file it lies in."""
    project = issue.get("project")
    project_id = project.get("id") if isinstance(project, dict) else None
    if project_id is None:
        project_id = first_of(issue, "project_id", "projectID", "projectId")
    group_id = first_of(issue, "issue_id", "issueId", "group_id", "groupID", "groupId")
    if group_id is None and any(name in issue for name in ("activity", "stats", "forecast", "firstSeen")):
        group_id = issue.get("id")
    if group_id is None and re.fullmatch(r"[0-9]+", stem):
        group_id = stem  # the last resort: activities/4711.json
    return {"project_id": project_id, "group_id": group_id}


def _rows(activity: Mapping[str, Any], keys: Mapping[str, Any]) -> Iterator[Row]:
    """The row of an activity, and where it moved events, one of each other issue that it names.

    The activities of those may not be in the export, and what a merge took up has none any more. A merge keeps to one
    project.
    """
    values = from_activity(activity)
    yield Row("status_changes", {**values, **keys}, activity)
    data = _data(activity)
    told = {str(keys["group_id"])}
    for name in _OTHERS.get(str(activity.get("type")).lower(), ()):
        others = data.get(name)
        for other in others if isinstance(others, list) else [others]:
            group_id = other.get("id") if isinstance(other, dict) else other
            if group_id is not None and str(group_id) not in told:
                told.add(str(group_id))
                yield Row("status_changes", {**values, **keys, "group_id": group_id}, activity)


def open_activities(activities: list[Any], keys: Mapping[str, Any]) -> Iterator[Row]:
    """One row per activity and issue it touches; one says since when the history is complete, where it was cut off."""
    for activity in activities:
        if isinstance(activity, dict):
            yield from _rows(activity, keys)
        else:
            yield refused("status_changes", "not an activity", activity)
    recorded = [one for one in activities if isinstance(one, dict) and one.get("type") != "first_seen"]
    if len(activities) >= MOST and recorded:
        at = first_of(recorded[-1], "dateCreated", "date_created")
        yield Row("status_changes", {"at": at, "kind": "history_truncated", "source": "activity", **keys}, recorded[-1])


def _knows(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    return isinstance(record.get("activity"), list) or {"type", "dateCreated", "data"} <= set(record)


def _open(record: Any, stem: str) -> Iterator[Row]:
    if isinstance(record.get("activity"), list):
        yield from open_activities(record["activity"], issue_keys(record, stem))
    else:
        keys = issue_keys({**record, "id": None}, stem)
        yield from _rows(record, keys)


FORMAT: Final = Format("activities", _knows, open=_open)
