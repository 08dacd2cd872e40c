"""Messages of the tracker's event stream, ``[2, kind, payload, ...]``: events, and what moved or removed them later.

Two topics have them: ``events`` and ``generic-events``. Any message may stand in a dump of either.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from issue_analytics.exports.formats.form import Row, first_of, ignored, refused

__all__ = ["is_occurrence", "open_message"]

_ERROR: Final = 1
"""The type of error groups."""

_GROUPS: Final = (
    "previous_group_id", "previous_group_ids", "old_group_id", "group_id", "group_ids", "new_group_id",
)  # fmt: skip
"""Where a message names groups that lost or gained events."""

_MOVES: Final = re.compile(
    r"(?:start_|end_)?(?:merge|unmerge(?:_hierarchical)?|delete_groups|replace_group|tombstone_events|exclude_groups)"
)
"""Messages that move or remove events, or are about to."""

_SEVERAL: Final = "group_id: missing, and the event is said to be in several groups; an event of ours has one"


def is_occurrence(payload: Mapping[str, Any]) -> bool:
    """Whether an inserted event is of the issue platform; events of errors have these fields too, but empty.

    >>> is_occurrence({"occurrence_id": None, "occurrence_data": {}}), is_occurrence({"occurrence_data": {"type": 1}})
    (False, True)
    """
    return bool(payload.get("occurrence_id") or payload.get("occurrence_data"))


def open_message(record: list[Any], stem: str) -> Iterator[Row]:
    """The rows in one message: an occurrence, or one correction for each group or event that it names.

    Messages that change no count, such as those that delete a tag, are counted by their kind.
    """
    kind, payload = record[1], record[2]
    if kind == "insert":
        yield _inserted(payload, record)
    else:
        yield from _corrected(kind, payload, record)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[Any]:
    """The values in a list, each once, or the one value that stands in place of a list."""
    values = value if isinstance(value, list) else [value]
    return list({str(one): one for one in values if one is not None}.values())


def _group(payload: Mapping[str, Any], record: list[Any]) -> tuple[Any, str | None]:
    """The event's group, as the payload or else the states of its groups name it, and what is wrong with it."""
    if payload.get("group_id") is not None:
        return payload["group_id"], None
    states = _object(record[3]).get("group_states") if len(record) > 3 else None
    found = _listed(payload.get("group_ids")) or _listed(
        [_object(state).get("id") for state in states] if isinstance(states, list) else None
    )
    return (found[0] if found else None), (_SEVERAL if len(found) > 1 else None)


def _inserted(payload: dict[str, Any], record: list[Any]) -> Row:
    data, about = _object(payload.get("data")), _object(payload.get("occurrence_data"))
    if data.get("type") == "transaction" and not is_occurrence(payload):
        return ignored("transaction")
    group, problem = _group(payload, record)
    event_id = first_of(payload, "event_id") or first_of(data, "event_id")
    hashed = payload.get("primary_hash")
    own = [hashed] if hashed is not None else None
    at = first_of(payload, "datetime")
    values: dict[str, Any] = {
        "event_id": event_id,
        "project_id": payload.get("project_id"),
        "group_id": group,
        "detected_at": at if at is not None else first_of(data, "timestamp", "datetime"),
        "received_at": data.get("received"),
    }
    if is_occurrence(payload):
        title = first_of(about, "issue_title") or first_of(data, "title") or payload.get("message")
        values |= {
            "occurrence_id": first_of(payload, "occurrence_id") or about.get("id"),
            "type": about.get("type"),
            "fingerprint": about.get("fingerprint") or own,
            "title": title,
            "level": first_of(about, "level") or data.get("level"),
        }
    else:
        # what an event says of its fingerprint ("{{ default }}") picks no group: its hash does
        values |= {
            "occurrence_id": event_id,
            "type": None if data.get("type") == "generic" else _ERROR,
            "fingerprint": own,
            "title": first_of(data, "title") or first_of(payload, "title", "message"),
            "level": data.get("level"),
        }
    return Row("occurrences", values if problem is None else {**values, "problem": problem}, record)


def _corrected(kind: str, payload: Mapping[str, Any], record: list[Any]) -> Iterator[Row]:
    groups = _listed([group for name in _GROUPS for group in _listed(payload.get(name))])
    events = _listed(payload.get("event_ids")) or _listed(payload.get("event_id"))
    common = {
        "project_id": payload.get("project_id"),
        # some tombstones have no time of their own: they cannot be older than the events they remove
        "at": first_of(payload, "datetime", "to_timestamp", "from_timestamp"),
        "kind": kind,
    }
    if events:
        where = first_of(payload, "new_group_id", "group_id")
        for event in events:
            yield Row("corrections", {**common, "event_id": event, "group_id": where}, record)
    elif groups:
        for group in groups:
            yield Row("corrections", {**common, "group_id": group}, record)
    elif _MOVES.fullmatch(kind) and not kind.startswith("start_"):
        # of some messages only the end names the groups
        yield refused("corrections", f"{kind}: names neither a group nor an event", record)
    else:
        yield ignored(kind if re.fullmatch(r"[a-z_]{1,40}", kind) else "message of an unknown kind")
