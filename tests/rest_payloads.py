"""Answers of the REST API and of the query service, made by hand, for tests."""

import json
from datetime import UTC, datetime, timedelta

NINE = 1767603600
"""2026-01-05 09:00:00 UTC, in seconds."""

DAY = 86_400
HOUR = 3_600
AT_NINE = datetime(2026, 1, 5, 9, tzinfo=UTC)


def hours(*numbers):
    """Hours after nine, as datetimes."""
    return [AT_NINE + timedelta(hours=number) for number in numbers]


def run(*counts, start=NINE, step=HOUR):
    """Points [seconds, count]."""
    return [[start + step * place, count] for place, count in enumerate(counts)]


def issue(**changes):
    """An item of the issue list."""
    item = {
        "id": "10001", "shareId": None, "shortId": "SHOP-1Z", "title": "KeyError: 'locale'", "culprit": "shop.cart",
        "permalink": "https://sentry.example.com/issues/10001/", "level": "error", "status": "ignored",
        "substatus": "archived_until_escalating", "statusDetails": {}, "priority": "medium", "priorityLockedAt": None,
        "project": {"id": "101", "name": "shop", "slug": "shop", "platform": "python"}, "type": "error",
        "issueType": "error", "issueCategory": "error", "metadata": {"value": "'locale'"}, "count": "4711",
        "userCount": 17, "firstSeen": "2025-11-02T08:00:00Z", "lastSeen": "2026-01-05T11:10:00.123456Z",
        "stats": {"24h": run(3, 0, 2)}, "lifetime": {"count": "99999", "userCount": 1}, "filtered": None,
        "inbox": None, "isUnhandled": True, "seerFixabilityScore": 0.4, "derivedData": {"x": 1},
    }  # fmt: skip
    return {**item, **changes}


ACTIVITIES = [
    {"id": "9", "type": "set_escalating", "user": None, "sentry_app": None,
     "data": {"event_id": "7c1d", "forecast": 42}, "dateCreated": "2026-01-05T10:02:11Z"},
    {"id": "8", "type": "some_new_type", "user": {"id": "7"}, "data": None, "dateCreated": "2026-01-04T10:00:00Z"},
    {"id": "0", "type": "first_seen", "user": None, "data": {"priority": "high"},
     "dateCreated": "2025-11-02T08:00:00Z"},
]  # fmt: skip


def retrieved(**changes):
    """A retrieved issue, with expand=forecast."""
    more = {
        "activity": ACTIVITIES,
        "seenBy": [],
        "participants": [],
        "firstRelease": None,
        "tags": [],
        "stats": {"24h": run(3, 0, 2), "30d": run(*range(5), start=NINE - 5 * DAY, step=DAY)},
        "forecast": {"data": list(range(100, 114)), "date_added": 1767571211.5},
    }
    return {**issue(), **more, **changes}


def event(**changes):
    """An item of the events of an issue."""
    item = {
        "id": "A" * 32, "eventID": "A" * 32, "groupID": "10001", "projectID": "101",
        "dateCreated": "2026-01-05T09:00:00.25Z", "title": "KeyError", "message": "", "location": None, "culprit": "x",
        "user": None, "tags": [{"key": "level", "value": "fatal"}, {"key": "environment", "value": "production"}],
        "platform": "python", "event.type": "error", "crashFile": None, "metadata": {},
    }  # fmt: skip
    return {**item, **changes}


def stats(*counts, **changes):
    """An answer of events-stats about one query."""
    answer = {
        "data": [[at, [{"count": count}]] for at, count in run(*counts)],
        "start": NINE,
        "end": NINE + HOUR * len(counts),
        "isMetricsData": False,
        "meta": {"fields": {"count": "integer"}, "units": {"count": None}, "dataset": "discover"},
    }
    return {**answer, **changes}


def top_events():
    """An answer of events-stats about top events."""
    return {
        "10001": {**stats(3, 0, 2), "order": 0},
        "SHOP-2A": {**stats(1, 1, 1), "order": 1},
        "Other": {**stats(9, 9, 9), "order": 2},
    }


def series(*counts, **changes):
    """A series of events-timeseries."""
    one = {
        "values": [
            {"timestamp": at * 1_000, "value": count, "incomplete": False, "sampleCount": 1, "confidence": "high"}
            for at, count in run(*counts)
        ],
        "yAxis": "count()",
        "groupBy": [{"key": "issue.id", "value": "10001"}],
        "meta": {"valueType": "integer", "valueUnit": None, "interval": 3_600_000, "isOther": False, "order": 0},
    }
    return {**one, **changes}


def timeseries(*many, start=NINE, end=NINE + 3 * HOUR):
    """An answer of events-timeseries."""
    meta = {"dataset": "errors", "start": start * 1_000, "end": end * 1_000}
    return {"timeSeries": list(many), "meta": meta}


SNUBA_ROW = {"project_id": 101, "group_id": 10001, "hourBucket": "2026-01-05T09:00:00+00:00", "count()": 11}


def snuba(*rows):
    """An answer of the query service."""
    meta = [{"name": "project_id", "type": "UInt64"}, {"name": "count()", "type": "UInt64"}]
    return {"data": list(rows), "meta": meta, "timing": {"timestamp": 1767610800, "duration_ms": 41, "marks_ms": {}}}


PAYLOADS = {
    "issues": retrieved(),
    "issue_events": event(),
    "activities": {"issue_id": 10001, "project_id": "101", "activity": ACTIVITIES},
    "group_stats": run(3, 0, 2),
    "events_stats": top_events(),
    "events_timeseries": timeseries(series(3, 0, 2)),
    "snuba": snuba(SNUBA_ROW),
}
"""One of each format; a file of them is named 10001.json."""


def put(folder, payload, name="10001.json"):
    """Write a payload, or text or bytes as they are."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(payload, str | bytes):
        payload = json.dumps(payload)
    path.write_bytes(payload if isinstance(payload, bytes) else payload.encode())
    return path
