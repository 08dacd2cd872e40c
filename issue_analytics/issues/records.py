"""The record of one occurrence of an issue, and of the evidence shown with it."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Self

from issue_analytics.errors import FrameError
from issue_analytics.issues.identity import fingerprint_hash, plain_id, stable_group_id
from issue_analytics.issues.payload import (
    Problems,
    as_fields,
    as_fingerprint,
    as_group_id,
    as_json,
    as_object,
    as_text,
    as_time,
    as_whole,
    copied,
    refuse,
    shown,
)

__all__ = ["IssueEvidence", "IssueOccurrence", "occurrences_by_event"]


@dataclass(frozen=True, slots=True)
class IssueEvidence:
    """One line of the evidence that the tracker shows with an occurrence.

    Args:
        name: what it is, such as ``"Transaction"``.
        value: what was found; text from the export, hostile until escaped.
        important: whether it is worth showing where there is room for one line only.
        extra: fields of the payload beyond these; kept, and written back by :meth:`to_dict`.

    Raises:
        FrameError: a field is of the wrong type; the message names each.

    >>> IssueEvidence("Region", "us", True).to_dict()
    {'name': 'Region', 'value': 'us', 'important': True}
    """

    name: str
    value: str
    important: bool
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    def __post_init__(self) -> None:
        problems: Problems = []
        for name in ("name", "value"):
            if (text := as_text(getattr(self, name), name, problems)) is None and not problems:
                problems.append(f"{name}: missing; text is needed")
            object.__setattr__(self, name, text)
        important: object = self.important
        if not isinstance(important, bool):
            problems.append(f"important: expected true or false, got {shown(important)}")
        object.__setattr__(self, "extra", _extra(self, problems))
        refuse("IssueEvidence", problems)

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any]) -> Self:
        """Build from an entry of ``evidence_display``; ``important`` left out is false.

        Raises:
            FrameError: it is no mapping, or has no ``name`` or ``value``, or one of another type.

        >>> IssueEvidence.from_dict({"name": "Region", "value": "us"})
        IssueEvidence(name='Region', value='us', important=False)
        """
        values = as_fields("IssueEvidence", payload)
        important = values.pop("important", None)
        return cls(values.pop("name", None), values.pop("value", None), important is not None and important, values)

    def to_dict(self) -> dict[str, Any]:
        """The entry of ``evidence_display``; :meth:`from_dict` reads it back equal."""
        return {"name": self.name, "value": self.value, "important": self.important, **copied(self.extra)}


@dataclass(frozen=True, slots=True, eq=False)
class IssueOccurrence:
    """One occurrence of an issue, as the issue platform stores it.

    Two records are equal, and hash alike, if they have the same ``id``: an occurrence that was exported twice, by two
    versions of the tracker, is one. Compare :meth:`to_dict` to compare all that they say.

    The constructor checks and brings to one form whatever a payload may hold: a UUID with dashes becomes 32 hex
    characters, a list a tuple, a time of any zone UTC. Half a surrogate pair is no character: it becomes U+FFFD, as it
    does when a file is read. Evidence and extra fields are copied, so that nobody else's changes reach the record;
    do not change them in place.

    Args:
        id: identifier of the occurrence; any text, usually a UUID.
        project_id: 0 or more.
        event_id: identifier of its event. Events have any number of occurrences, see :func:`occurrences_by_event`.
        fingerprint: at least one part, as written or as md5 hex; part 0 picks the group, see :attr:`group_hash`.
        issue_title: text from the export, hostile until escaped; None where it has none.
        subtitle: the same.
        resource_id: None where it has none.
        evidence_data: free form, whatever the detector knew; anything that JSON can say.
        evidence_display: what is shown of it, in order.
        type: group type id, see :func:`issue_analytics.issues.group_type`; None where the export has none.
        detection_time: when it happened; with a zone. Kept to the microsecond, in UTC.
        level: ``"info"`` where there is none.
        culprit: ``""`` where there is none.
        initial_issue_priority: 25 low, 50 medium, 75 high; None: the default of the group type.
        assignee: such as ``"user:123"`` or ``"team:45"``; None where there is none.
        transaction_duration: of old versions; 0 in all others.
        group_id: the tracker's own id of the group, where an export joined it; no tracker stores it here.
        extra: fields of the payload beyond these, such as the topic's ``event`` and ``payload_type``; kept, and written
            back by :meth:`to_dict`. An ``event`` must be of the same project.

    Raises:
        FrameError: a field is missing, of the wrong type, or makes no sense; the message names every such field.

    >>> occurrence = IssueOccurrence.from_dict(
    ...     {
    ...         "id": "6a7bc3ee-3c4f-4f6c-9b51-5f1c28d7a6c1",
    ...         "project_id": 3,
    ...         "event_id": "b" * 32,
    ...         "fingerprint": ["monitor-7"],
    ...         "issue_title": "Monitor failure",
    ...         "evidence_display": [{"name": "Reason", "value": "missed", "important": True}],
    ...         "type": 4001,
    ...         "detection_time": 1717713781.1,
    ...     }
    ... )
    >>> occurrence.detection_time.isoformat(), occurrence.level, occurrence.important_evidence_display.value
    ('2024-06-06T22:43:01.100000+00:00', 'info', 'missed')
    >>> IssueOccurrence.from_dict(occurrence.to_dict()) == occurrence
    True
    >>> IssueOccurrence.from_dict({"id": "a", "type": "cron", "fingerprint": ["b"], "detection_time": float("nan")})
    Traceback (most recent call last):
    issue_analytics.errors.FrameError: IssueOccurrence 'a': project_id: missing; a whole number is needed.
    event_id: missing, and no event.event_id to stand for it. type: expected a whole number, got 'cron'.
    detection_time: nan is no time; write seconds since 1970.
    """

    id: str
    project_id: int
    event_id: str
    fingerprint: tuple[str, ...]
    issue_title: str | None
    subtitle: str | None = field(repr=False)
    resource_id: str | None = field(repr=False)
    evidence_data: Mapping[str, Any] = field(repr=False)
    evidence_display: tuple[IssueEvidence, ...] = field(repr=False)
    type: int | None
    detection_time: datetime
    level: str = "info"
    culprit: str = field(default="", repr=False)
    initial_issue_priority: int | None = None
    assignee: str | None = field(default=None, repr=False)
    transaction_duration: int = field(default=0, repr=False)
    group_id: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        problems: Problems = []

        def text(name: str) -> str | None:
            return as_text(getattr(self, name), name, problems)

        def whole(name: str) -> int | None:
            return as_whole(getattr(self, name), name, problems)

        def missing(name: str, words: str) -> None:
            if getattr(self, name) in (None, ""):
                problems.append(f"{name}: missing{words}")

        values: dict[str, Any] = {}
        missing("id", "; a record needs one, rows without are for read_occurrences")
        values["id"] = plain_id(text("id") or "")
        missing("project_id", "; a whole number is needed")
        values["project_id"] = whole("project_id")
        missing("event_id", ", and no event.event_id to stand for it")
        values["event_id"] = plain_id(text("event_id") or "")
        values["fingerprint"] = as_fingerprint(self.fingerprint, problems)
        for name in ("issue_title", "subtitle", "resource_id"):
            values[name] = text(name)
        values["evidence_data"] = as_object(self.evidence_data, "evidence_data", problems)
        values["evidence_display"] = _evidence_display(self.evidence_display, problems)
        values["type"] = whole("type")
        values["detection_time"] = as_time(self.detection_time, "detection_time", problems)
        values["level"] = text("level") or "info"
        values["culprit"] = text("culprit") or ""
        values["initial_issue_priority"] = whole("initial_issue_priority")
        values["assignee"] = text("assignee")
        values["transaction_duration"] = whole("transaction_duration") or 0
        values["group_id"] = as_group_id(self.group_id, problems)
        values["extra"] = _extra(self, problems)
        _check_topic(values["extra"], values["project_id"], problems)
        refuse(f"IssueOccurrence {shown(self.id)}", problems)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, IssueOccurrence) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any]) -> Self:
        """Build from a payload of any version: as stored, or a message of the topic ``ingest-occurrences``.

        ``detection_time`` is seconds since 1970, or ISO 8601 text with a zone. The event's id may stand in ``event``
        only. Null is as good as absent. Fields that the record does not have are kept in ``extra``.

        Raises:
            FrameError: as the constructor; ``payload_type`` says that it is no occurrence; ``payload`` is no mapping.
        """
        values = as_fields("IssueOccurrence", payload)
        event = values.get("event")
        if values.get("event_id") in (None, "") and isinstance(event, Mapping):
            values["event_id"] = event.get("event_id")
        known = [part.name for part in fields(cls) if part.name != "extra"]
        return cls(**{name: values.pop(name, None) for name in known}, extra=values)

    def to_dict(self) -> dict[str, Any]:
        """The payload in the stored form of the present version; :meth:`from_dict` reads it back equal in every field.

        It is fit for JSON, and for the topic too. ``transaction_duration`` and ``group_id``, which the present version
        does not have, stand in it where they say something; then follow the fields of ``extra``, as they came. So
        nothing that a payload says is lost; only its spelling is (dashes, nulls for what is absent, a time as text).
        """
        old = {"transaction_duration": self.transaction_duration} if self.transaction_duration else {}
        joined = {"group_id": self.group_id} if self.group_id is not None else {}
        return {
            "id": self.id,
            "project_id": self.project_id,
            "event_id": self.event_id,
            "fingerprint": list(self.fingerprint),
            "issue_title": self.issue_title,
            "subtitle": self.subtitle,
            "resource_id": self.resource_id,
            "evidence_data": copied(self.evidence_data),
            "evidence_display": [evidence.to_dict() for evidence in self.evidence_display],
            "type": self.type,
            "detection_time": self.detection_time.timestamp(),
            "level": self.level,
            "culprit": self.culprit,
            "initial_issue_priority": self.initial_issue_priority,
            "assignee": self.assignee,
            **old,
            **joined,
            **copied(self.extra),
        }

    def to_row(self, group_id: int | None = None) -> dict[str, Any]:
        """The row of this occurrence in a frame of contract ``Occurrences``: what ``read_occurrences`` makes of it.

        Args:
            group_id: of its group; by default the record's own, else the hash of project and first fingerprint part,
                the same that readers give to occurrences without a group.

        >>> import polars as pl
        >>> from issue_analytics.frames import check, empty
        >>> occurrence = IssueOccurrence.from_dict(
        ...     {"id": "a", "project_id": 3, "event_id": "b", "fingerprint": ["c"], "detection_time": 1717713781.1}
        ... )
        >>> frame = pl.DataFrame([occurrence.to_row(group_id=8)], schema=empty("Occurrences").schema)
        >>> check(frame, "Occurrences").select("occurrence_id", "group_id", "level").rows()
        [('a', 8, 'info')]
        """
        own = self.group_id if group_id is None else group_id
        return {
            "occurrence_id": self.id,
            "event_id": self.event_id,
            "project_id": self.project_id,
            "group_id": stable_group_id(self.project_id, self.fingerprint[0]) if own is None else own,
            "type": self.type,
            "fingerprint": list(self.fingerprint),
            "title": self.issue_title or None,
            "level": self.level,
            "detected_at": self.detection_time,
            "received_at": self.received_at,
        }

    @property
    def important_evidence_display(self) -> IssueEvidence | None:
        """The first entry of ``evidence_display`` that is marked important; None where none is."""
        return next((evidence for evidence in self.evidence_display if evidence.important), None)

    @property
    def group_hash(self) -> str:
        """What picks the group within its project: the first fingerprint part, as md5 hex if it is not yet."""
        return fingerprint_hash(self.fingerprint[0])

    @property
    def storage_identifier(self) -> str:
        """The key under which the tracker stores the record.

        >>> IssueOccurrence.from_dict(
        ...     {"id": "a", "project_id": 3, "event_id": "b", "fingerprint": ["c"], "detection_time": 1717713781.1}
        ... ).storage_identifier
        'i-o:568ed31ef87811c4ba201063a6d13f85'
        """
        key = f"{self.id}::{self.project_id}".encode()
        return f"i-o:{hashlib.md5(key, usedforsecurity=False).hexdigest()}"

    @property
    def received_at(self) -> datetime | None:
        """When the tracker's server got it, UTC: ``received_at`` or the event's ``received``, if that is a time."""
        event = self.extra.get("event") or {}
        value = self.extra.get("received_at")
        return as_time(event.get("received") if value is None else value, "received_at", [])


def occurrences_by_event(
    occurrences: Iterable[IssueOccurrence], events: Iterable[str] = ()
) -> dict[str, tuple[IssueOccurrence, ...]]:
    """Put occurrences under their events: one event has any number of them.

    Args:
        occurrences: in any order; of those with the same id only the first counts.
        events: ids of further events, with or without dashes; those without an occurrence get an empty tuple.

    Returns:
        By event id, first those of ``events``, then as they came; within an event by time of detection, then id.

    >>> record = {"id": "a", "project_id": 3, "event_id": "b", "fingerprint": ["c"], "detection_time": 1717713781.1}
    >>> found = [IssueOccurrence.from_dict({**record, "id": name}) for name in "yx"]
    >>> {event: [one.id for one in ones] for event, ones in occurrences_by_event(found, events=["e"]).items()}
    {'e': [], 'b': ['x', 'y']}
    """
    found: dict[str, list[IssueOccurrence]] = {plain_id(event): [] for event in events}
    for occurrence in dict.fromkeys(occurrences):
        found.setdefault(occurrence.event_id, []).append(occurrence)
    return {event: tuple(sorted(ones, key=lambda one: (one.detection_time, one.id))) for event, ones in found.items()}


def _evidence_display(value: object, problems: Problems) -> tuple[IssueEvidence, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        problems.append(f"evidence_display: expected a list, got {shown(value)}")
        return ()
    found = []
    for index, entry in enumerate(value):
        try:
            found.append(entry if isinstance(entry, IssueEvidence) else IssueEvidence.from_dict(entry))
        except FrameError as error:
            words = str(error).removeprefix("IssueEvidence: ").removesuffix(".")
            problems.append(f"evidence_display[{index}]: {words}")
    return tuple(found)


def _extra(record: IssueEvidence | IssueOccurrence, problems: Problems) -> dict[str, Any]:
    value: object = record.extra
    if not isinstance(value, Mapping):
        problems.append(f"extra: expected a mapping, got {shown(value)}")
        return {}
    own = {part.name for part in fields(record)}
    problems += [f"extra: holds {name}, which is a field of its own" for name in value if name in own]
    return {str(name): as_json(part, str(name), problems) for name, part in value.items()}


def _check_topic(extra: Mapping[str, Any], project_id: int | None, problems: Problems) -> None:
    """What a message of the topic says besides the record must fit to it."""
    kind = extra.get("payload_type")
    if kind not in (None, "", "occurrence"):
        hint = "; read_status_changes reads such messages" if kind == "status_change" else ""
        problems.append(f"payload_type: {shown(kind)} is no occurrence{hint}")
    event = as_object(extra.get("event"), "event", problems)
    theirs = event.get("project_id")
    if None not in (theirs, project_id) and theirs not in (project_id, str(project_id)):
        problems.append(f"event.project_id: {shown(theirs)}, but project_id is {project_id}; both must be the same")
