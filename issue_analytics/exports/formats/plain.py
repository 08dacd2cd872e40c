"""Rows without nesting: occurrence records, stored or from their topic, and tables in our own columns."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from issue_analytics.exports.formats.form import Fields, Format

__all__ = ["FIELDS", "FORMAT", "kind_of"]

FIELDS: Final[Mapping[str, Fields]] = {
    "occurrences": {
        "occurrence_id": ("occurrence_id", "id"),
        "event_id": ("event_id",),
        "project_id": ("project_id",),
        "group_id": ("group_id",),
        "type": ("type",),
        "fingerprint": ("fingerprint",),
        "title": ("issue_title", "title"),
        "level": ("level",),
        "detected_at": ("detection_time", "detected_at"),
        "received_at": ("received_at",),
        "payload_type": ("payload_type",),
    },
    "hourly_counts": {
        "project_id": ("project_id",),
        "group_id": ("group_id",),
        "hour": ("hour", "hourBucket"),
        "count": ("count", "count()"),
    },
    "status_changes": {
        "project_id": ("project_id",),
        "group_id": ("group_id",),
        "at": ("at", "update_date"),
        "kind": ("kind",),
        "cause": ("cause",),
        "forecast": ("forecast",),
        "source": ("source",),
        "fingerprint": ("fingerprint",),
        "new_status": ("new_status",),
        "new_substatus": ("new_substatus",),
    },
    "escalations": {
        "project_id": ("project_id",),
        "group_id": ("group_id",),
        "escalated_at": ("escalated_at",),
        "ended_at": ("ended_at",),
        "provenance": ("provenance",),
    },
    "recorded_forecasts": {
        "project_id": ("project_id",),
        "group_id": ("group_id",),
        "date": ("date",),
        "limit": ("limit",),
        "made_at": ("made_at",),
    },
    "corrections": {
        "project_id": ("project_id",),
        "group_id": ("group_id",),
        "event_id": ("event_id",),
        "at": ("at",),
        "kind": ("kind",),
    },
}


def kind_of(fields: Collection[str], payload_type: object = None) -> str | None:
    """Return the kind of a row with these fields, or None.

    >>> kind_of({"project_id", "group_id", "hourBucket", "count()"})
    'hourly_counts'
    >>> kind_of({"name", "value"}) is None
    True
    """
    if payload_type == "status_change":
        return "status_changes"
    if {"detection_time", "fingerprint"} <= set(fields):
        return "occurrences"  # whatever else a record carries along
    if "new_status" in fields:
        return "status_changes"
    if "escalated_at" in fields:
        return "escalations"
    if not {"hour", "hourBucket"}.isdisjoint(fields) and not {"count", "count()"}.isdisjoint(fields):
        return "hourly_counts"
    if {"limit", "made_at"} <= set(fields):
        return "recorded_forecasts"
    if {"at", "kind"} <= set(fields):
        return "corrections" if "event_id" in fields else "status_changes"
    if not {"detected_at", "detection_time"}.isdisjoint(fields) or {"fingerprint", "issue_title"} <= set(fields):
        return "occurrences"
    return None


def _knows(record: Any) -> bool:
    return isinstance(record, dict) and kind_of(record, record.get("payload_type")) is not None


FORMAT: Final = Format("plain", _knows, FIELDS)
