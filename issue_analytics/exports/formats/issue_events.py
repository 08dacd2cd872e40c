"""Events of an issue, newest first: pages overlap where new events came in meanwhile, and repeat some.

The REST API names the event, not the occurrence: ``eventID`` is the occurrence's id here. For errors, an occurrence is
an event and the ids are the same in every export. An event of the issue platform may carry several occurrences, of
which one is counted; and its id is not that of its occurrence records: both together would count it twice.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from issue_analytics.exports.formats.form import Format, Row, first_of

__all__ = ["FORMAT"]

_ERRORS: Final = ("error", "default")
"""Event types of error groups, whose group type is 1; other events do not say which type their group has."""

NOTE: Final = (
    "events of the issue platform go by the id of their event: import them or their occurrence records, not both"
)


def _knows(record: Any) -> bool:
    return isinstance(record, dict) and "eventID" in record and ("groupID" in record or "dateCreated" in record)


def _tag(event: Mapping[str, Any], key: str) -> Any:
    """The value of a tag; tags are objects of key and value, pairs, or one object."""
    tags = event.get("tags")
    if isinstance(tags, dict):
        return tags.get(key)
    for tag in tags if isinstance(tags, list) else ():
        if isinstance(tag, dict) and tag.get("key") == key:
            return tag.get("value")
        if isinstance(tag, list) and len(tag) == 2 and tag[0] == key:
            return tag[1]
    return None


def _open(record: Any, stem: str) -> Iterator[Row]:
    event_id = first_of(record, "eventID", "id")
    kind = first_of(record, "event.type", "type")
    values = {
        "occurrence_id": event_id,
        "event_id": event_id,
        "project_id": first_of(record, "projectID", "projectId"),
        "group_id": first_of(record, "groupID", "groupId"),
        "type": 1 if kind in _ERRORS else None,
        "title": record.get("title"),
        "level": _tag(record, "level"),
        "detected_at": record.get("dateCreated"),
        "received_at": record.get("dateReceived"),
    }
    yield Row("occurrences", values, record)


FORMAT: Final = Format("issue_events", _knows, open=_open, note=NOTE)
