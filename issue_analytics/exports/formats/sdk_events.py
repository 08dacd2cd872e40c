"""Events as SDKs send them and as the tracker stores them: one JSON object tells all that is known of one event.

The tracker groups events on its server, by rules that are not in the event: here a group is an approximation.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from issue_analytics.exports.formats.form import Format, Row, first_of, ignored, refused

__all__ = ["FORMAT", "NOTE", "event_row", "group_key", "knows", "name_of"]

NOTE: Final = (
    "groups of SDK events are approximations (fingerprint, else type of the exception and innermost frame of the "
    "application, else logger and message): the tracker groups on its server, by rules that an event does not carry"
)
"""What everybody who uses such rows must be told."""

_TELLING: Final = (
    "exception", "sentry.interfaces.Exception", "logentry", "sentry.interfaces.Message", "stacktrace",
    "sentry.interfaces.Stacktrace", "threads", "breadcrumbs", "contexts", "modules",
)  # fmt: skip
"""Fields that nothing but an event has, if they hold an object or a list."""

_COMMON: Final = frozenset({"platform", "level", "message", "logger", "sdk", "tags", "extra", "transaction", *_TELLING})

_OTHERS: Final = frozenset(
    {"group_id", "group_ids", "primary_hash", "occurrence_id", "id", "detection_time", "issue_title", "dsn", "sent_at"}
)
"""Fields of other formats that carry an event's id and time too: rows of tables, occurrences, headers of envelopes."""

_ERRORS: Final = ("error", "default", "event", "csp", "hpkp", "expectct", "expectstaple", "nel")
"""Types of events that become issues of errors; what has none is one too."""

_TITLE: Final = 200

_NAME: Final = re.compile(r"[A-Za-z][\w.+/-]{0,39}", re.ASCII)
_DEFAULT: Final = re.compile(r"\s*\{\{\s*default\s*\}\}\s*")
_NO_ZONE: Final = re.compile(r"\s*[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,]?[0-9]+)?)?\s*")
_VARYING: Final = re.compile(r"[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}|0x[0-9a-fA-F]+|[0-9]+")


def knows(record: Any) -> bool:
    """Whether a record is an event, or was meant to be one: its id or its time may be missing.

    >>> knows({"event_id": "a", "timestamp": 1767603600, "platform": "python"}), knows({"event_id": "a", "dsn": "…"})
    (True, False)
    """
    if not isinstance(record, dict):
        return False
    keys = ("event_id" in record) + ("timestamp" in record)
    if keys and any(isinstance(record.get(name), dict | list) for name in _TELLING):
        return True
    return keys == 2 and not _COMMON.isdisjoint(record) and _OTHERS.isdisjoint(record)


def name_of(type_: object) -> str:
    """The name under which something that is no row of ours is counted.

    >>> name_of("transaction"), name_of(["x"])
    ('transaction', 'of no known type')
    """
    return type_ if isinstance(type_, str) and _NAME.fullmatch(type_) else "of no known type"


def _text(value: Any) -> str | None:
    """Text or a number as text; nothing for what is empty, and for what else stands where text should."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value) or None


def _text_of(record: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        if (found := _text(record.get(name))) is not None:
            return found
    return None


def _tag(event: Mapping[str, Any], name: str) -> str | None:
    """The value of a tag; tags are an object, or pairs."""
    tags = event.get("tags")
    if isinstance(tags, dict):
        return _text(tags.get(name))
    pairs = (pair for pair in tags if isinstance(pair, list) and len(pair) == 2) if isinstance(tags, list) else ()
    return next((_text(value) for key, value in pairs if key == name), None)


def _exception(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The last exception: what was raised, while those before it were handled."""
    held = first_of(event, "exception", "sentry.interfaces.Exception")
    if isinstance(held, dict):
        held = held.get("values", [held])
    found = [one for one in held if isinstance(one, dict)] if isinstance(held, list) else []
    return next((one for one in reversed(found) if _text_of(one, "type", "value")), None)


def _message(event: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The message as shown, and what it is made of: the template, or the text without what varies in it."""
    for name in ("logentry", "sentry.interfaces.Message", "message"):
        held = event.get(name)
        if isinstance(held, dict):
            formatted, template = _text(held.get("formatted")), _text(held.get("message"))
            # without parameters a message is no template, whatever it is called
            template = template if held.get("params") or formatted not in (None, template) else None
            shown = formatted or _text(held.get("message"))
        else:
            shown, template = _text(held), None
        if shown is not None:
            return shown, template or _VARYING.sub("#", shown)
    return None, None


def _frames(record: Mapping[str, Any]) -> list[Any]:
    """The frames of an exception, or of an event that has them beside its exception, the innermost last."""
    trace = first_of(record, "stacktrace", "raw_stacktrace", "sentry.interfaces.Stacktrace")
    frames = trace.get("frames") if isinstance(trace, dict) else None
    return frames if isinstance(frames, list) else []


def _place(event: Mapping[str, Any], exception: Mapping[str, Any]) -> tuple[str, str] | None:
    """Module and function of the innermost frame of the application; of all frames where none is marked so."""
    innermost = None
    for frame in reversed(_frames(exception) or _frames(event)):
        if not isinstance(frame, dict):
            continue
        where = _text_of(frame, "module", "filename", "abs_path", "package")
        function = _text_of(frame, "function", "raw_function")
        if where or function:
            named = (where or "", function or "")
            if frame.get("in_app") is True:
                return named
            innermost = innermost or named  # of a library: only where no frame is of the application
    return innermost


def _default_key(event: Mapping[str, Any], exception: Mapping[str, Any] | None) -> str:
    logger = _text(event.get("logger")) or _tag(event, "logger")
    if exception is not None:
        type_, place = _text(exception.get("type")), _place(event, exception)
        if place is not None:
            return json.dumps(["exception", type_, *place])
        # all there is besides the type; upstream takes the value then, too
        return json.dumps(["exception", type_, _VARYING.sub("#", _text(exception.get("value")) or "")])
    template = _message(event)[1]
    return json.dumps(["message", logger, template or _text_of(event, "title", "transaction")])


def group_key(event: Mapping[str, Any]) -> str:
    """Return the text that stands for an event's group: what the tracker made of it, if it was stored there.

    Else the parts of the fingerprint, all together, in which ``{{ default }}`` is the text that an event without one
    has: type and innermost frame of the last exception, or the logger and the template of the message.

    >>> group_key({"logger": "shop", "logentry": {"message": "Order %s failed", "params": [7]}})
    '["message", "shop", "Order %s failed"]'
    >>> group_key({"fingerprint": ["payment-gateway"]})
    'payment-gateway'
    """
    hashes = event.get("hashes")
    stored = _text(hashes[0]) if isinstance(hashes, list) and hashes else None
    if stored is not None:
        return stored
    default = _default_key(event, _exception(event))
    given = event.get("fingerprint")
    parts = [_text(part) for part in given] if isinstance(given, list) else [_text(given)]
    named = [default if _DEFAULT.fullmatch(part) else part for part in parts if part is not None]
    if not named:
        return default
    return named[0] if len(named) == 1 else json.dumps(named)


def _line(text: str) -> str:
    """The first line that says something, cut where it is long."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= _TITLE else line[:_TITLE] + "…"


def _title(event: Mapping[str, Any]) -> str:
    exception = _exception(event)
    if exception is not None:
        type_, value = _text(exception.get("type")), _text(exception.get("value"))
        return ": ".join(_line(part) for part in (type_, value) if part and part.strip()) or "(no message)"
    shown = _message(event)[0] or _text_of(event, "title", "transaction")
    return _line(shown or "") or "(no message)"


def _utc(value: Any) -> Any:
    """A time without a zone is one of UTC: that is what SDKs and tracker agree on."""
    return f"{value}Z" if isinstance(value, str) and _NO_ZONE.fullmatch(value) else value


def event_row(event: Mapping[str, Any], *, project_id: str | None = None, event_id: str | None = None) -> Row:
    """One event as an occurrence; project and id stand for those that the event does not name itself.

    What is no error (a transaction) is only counted.

    >>> event_row({"event_id": "a", "timestamp": "2026-01-05T09:00:00", "message": "full"}).values["title"]
    'full'
    """
    type_ = event.get("type")
    if type_ not in (None, "", *_ERRORS):
        return ignored(name_of(type_))
    id_ = first_of(event, "event_id")
    id_ = event_id if id_ is None else id_
    if not isinstance(id_, str) or not id_.strip():
        problems = ["event_id: missing; without one an event cannot be told from its copies"]
        if event.get("timestamp") is None:
            problems.append("detected_at: missing; a time is needed")
        return refused("occurrences", "; ".join(problems), event)
    project = first_of(event, "project", "project_id")
    if isinstance(project, dict):
        project = project.get("id")
    values = {
        "occurrence_id": id_,
        "event_id": id_,
        "project_id": project_id if project is None else project,
        "group_id": event.get("group_id"),
        "group_key": group_key(event),
        "type": 1,
        "fingerprint": event.get("fingerprint") or None,
        "title": _title(event),
        "level": _text(event.get("level")) or _tag(event, "level") or "error",
        "detected_at": _utc(event.get("timestamp")),
        "received_at": _utc(event.get("received")),
    }
    return Row("occurrences", values, event)


def _open(record: Any, stem: str) -> Iterator[Row]:
    yield event_row(record)


FORMAT: Final = Format("sdk_events", knows, open=_open, note=NOTE)
