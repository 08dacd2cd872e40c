"""Messages of the tracker's event stream, ``[2, kind, payload, ...]``: events, and what moved or removed them later.

Two topics have them: ``events`` and ``generic-events``. Any message may stand in a dump of either.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl

from issue_analytics.exports.formats.form import Row, first_of, ignored, refused

__all__ = ["is_occurrence", "open_message", "quick_messages"]

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

_TELLING: Final = ("id", "type", "fingerprint", "issue_title")
"""What an event of the issue platform says of its occurrence; other events say nothing of one."""

_SEVERAL: Final = "group_id: missing, and the event is said to be in several groups; an event of ours has one"


def is_occurrence(payload: Mapping[str, Any]) -> bool:
    """Whether an inserted event is of the issue platform; events of errors have these fields too, but empty.

    >>> is_occurrence({"occurrence_id": None, "occurrence_data": {}}), is_occurrence({"occurrence_data": {"type": 1}})
    (False, True)
    """
    about = _object(payload.get("occurrence_data"))
    return payload.get("occurrence_id") is not None or first_of(about, *_TELLING) is not None


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


def _said(*values: Any) -> Any:
    """The first value that is there and not empty text."""
    return next((value for value in values if value is not None and value != ""), None)


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
    hashed = payload.get("primary_hash")
    own = None if hashed is None else [hashed]
    event_id = _said(payload.get("event_id"), data.get("event_id"))
    values: dict[str, Any] = {
        "event_id": event_id,
        "project_id": payload.get("project_id"),
        "group_id": group,
        "detected_at": payload.get("datetime"),
        "received_at": data.get("received"),
    }
    if values["detected_at"] is None:
        values["detected_at"] = first_of(data, "timestamp", "datetime")
    if is_occurrence(payload):
        values |= {
            "occurrence_id": _said(payload.get("occurrence_id"), about.get("id")),
            "type": about.get("type"),
            "fingerprint": about.get("fingerprint") or own,
            "title": _said(about.get("issue_title"), data.get("title"), payload.get("message")),
            "level": _said(about.get("level"), data.get("level")),
        }
    else:
        # what an event says of its fingerprint ("{{ default }}") picks no group: its hash does
        values |= {
            "occurrence_id": event_id,
            "type": None if data.get("type") == "generic" else _ERROR,
            "fingerprint": own,
            "title": _said(data.get("title"), payload.get("title"), payload.get("message")),
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


# ---------------------------------------------------------------------------------------------------------------------
# Many lines at a time. Nearly all messages of a dump are inserts without anything odd: polars reads them ten times as
# fast as Python, once each line is an object and no list. Whatever is out of the ordinary is left to ``open_message``.

_BEGIN: Final = re.compile(rb'\s*\[\s*[0-9]+\s*,\s*"insert"\s*,\s*(?=\{)')
_BETWEEN: Final = re.compile(
    rb'\}\s*,\s*\{\s*"(?:group_states|is_new|is_regression|is_new_group_environment|queue|skip_consume)"\s*:'
)
"""Between event and group information. Where it stands inside the event instead, what is cut there is no JSON."""
_LAST: Final = 600
"""In so many last bytes of a line the group information begins."""
_FEW: Final = 1_000

_TEXTS: Final = (
    "event_id", "group_id", "project_id", "datetime", "message", "title", "primary_hash", "occurrence_id",
)  # fmt: skip
_DATA: Final = ("received", "title", "level", "type")
_ABOUT: Final = ("id", "type", "issue_title", "level")


def _struct(names: Sequence[str], **more: Any) -> pl.Struct:
    return pl.Struct({**dict.fromkeys(names, pl.String), **more})


_SCHEMA: Final = {
    "event": _struct(_TEXTS, data=_struct(_DATA), occurrence_data=_struct(_ABOUT, fingerprint=pl.List(pl.String)))
}


def _as_object(line: bytes) -> bytes | None:
    begin = _BEGIN.match(line)
    line = line.rstrip()
    if begin is None or not line.endswith(b"]") or b"\\ud" in line or b"\\uD" in line:
        return None
    between = _BETWEEN.search(line, max(begin.end(), len(line) - _LAST))
    if between is None:
        return None
    middle = line.index(b",", between.start())
    return b"".join((b'{"event":', line[begin.end() : middle], b',"rest":', line[middle + 1 : -1], b"}"))


def _parsed(objects: Sequence[tuple[int, bytes]]) -> Iterator[pl.DataFrame]:
    if not objects:
        return
    places, texts = zip(*objects, strict=True)
    try:
        frame = pl.read_ndjson(b"\n".join(texts), schema=_SCHEMA)
    except (pl.exceptions.PolarsError, UnicodeDecodeError):
        frame = None
    if frame is not None and frame.height == len(texts):
        yield frame.unnest("event").with_columns(line=pl.Series(places, dtype=pl.Int64))
    elif len(objects) > _FEW:
        step = len(objects) // 8 + 1
        for start in range(0, len(objects), step):
            yield from _parsed(objects[start : start + step])


def quick_messages(lines: Sequence[bytes]) -> tuple[str, pl.DataFrame]:
    """Occurrences of all lines that are ordinary inserts: as ``open_message`` reads them, but fast."""
    objects = [(place, text) for place, line in enumerate(lines) if (text := _as_object(line)) is not None]
    frames = [_ordinary(frame) for frame in _parsed(objects)]
    return "occurrences", pl.concat(frames) if frames else pl.DataFrame(schema={"line": pl.Int64})


def _ordinary(frame: pl.DataFrame) -> pl.DataFrame:
    prefixed = [pl.col(name).name.prefix_fields(f"{name}.") for name in ("data", "occurrence_data")]
    frame = frame.with_columns(prefixed).unnest("data", "occurrence_data")
    occurs = pl.any_horizontal(pl.col("occurrence_id", *(f"occurrence_data.{name}" for name in _TELLING)).is_not_null())
    prints, hashed = pl.col("occurrence_data.fingerprint"), pl.col("primary_hash")
    odd = pl.any_horizontal(
        # an object or a list where a text should be, which polars writes out in its own way
        pl.col(pl.String).str.contains(r"^[\[{]"),
        prints.list.eval(pl.element().str.contains(r"^[\[{]")).list.any(),
        pl.col("event_id", "group_id", "datetime").is_null(),
        pl.col("event_id") == "",
        ~occurs & (pl.col("data.type") == "transaction"),
    )
    own = pl.when(hashed.is_not_null()).then(pl.concat_list(hashed))

    def said(*names: str) -> pl.Expr:
        return pl.coalesce(pl.col(name).replace("", None) for name in names)

    return frame.filter(~odd.fill_null(value=False)).select(
        "line",
        "event_id",
        "project_id",
        "group_id",
        detected_at="datetime",
        received_at="data.received",
        occurrence_id=pl.when(occurs).then(said("occurrence_id", "occurrence_data.id")).otherwise("event_id"),
        type=pl.when(occurs)
        .then("occurrence_data.type")
        .when(pl.col("data.type").ne_missing("generic"))
        .then(pl.lit(str(_ERROR))),
        fingerprint=pl.when(occurs & (prints.list.len() > 0)).then(prints).otherwise(own),
        title=pl.when(occurs)
        .then(said("occurrence_data.issue_title", "data.title", "message"))
        .otherwise(said("data.title", "title", "message")),
        level=pl.when(occurs).then(said("occurrence_data.level", "data.level")).otherwise(said("data.level")),
    )
