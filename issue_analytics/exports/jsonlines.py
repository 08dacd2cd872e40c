"""JSON records to raw columns: polars on blocks of lines, Python where a block holds what polars would not read.

Both ways give the same frame. The fast one knows the fields that matter and reads them as text; it gives up on a block
with a broken line, or with a response that wraps many records, and then smaller blocks are tried.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import polars as pl

from issue_analytics.exports import status
from issue_analytics.exports.lines import Piece
from issue_analytics.exports.sniff import ALIASES, wraps

__all__ = ["Batch", "Wanted", "parse"]

_SMALL: Final = 2**16

_ACTIVITY: Final = "\x00activity"
"""A mark of ours: the record is an activity. No export has a field of that name."""

_LISTS: Final = ("fingerprint",)
_WRAPPERS: Final = ("data", "activity", "dateCreated")
_FIELDS: Final = (
    *dict.fromkeys(name for names in ALIASES.values() for aliases in names.values() for name in aliases),
    "payload_type",
    "event",
    *_WRAPPERS,
)
_EVENT: Final = pl.Struct({"event_id": pl.String})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for: the kind of a record that does not tell; ``forced`` where the user named it.

    ``columns`` are the user's names for our columns, ``stem`` the file's name for activities that name no issue.
    """

    kind: str
    forced: bool = False
    columns: Mapping[str, str] | None = None
    stem: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Raw rows by kind, under our column names, with ``row``; records that could not be read; their texts."""

    rows: Sequence[tuple[str, pl.DataFrame]]
    broken: Sequence[tuple[int, str, str | None]]
    texts: Callable[[Sequence[int]], list[str | None]]


def _schema(wanted: Wanted) -> dict[str, Any]:
    if wanted.columns is not None:
        ours = ALIASES[wanted.kind]
        named = {theirs: pl.List(pl.String) if name in _LISTS else pl.String for name, theirs in wanted.columns.items()}
        natural = {name: pl.List(pl.String) if name in _LISTS else pl.String for name in ours}
        return {**{name: kind for name, kind in natural.items() if name not in wanted.columns}, **named}
    special = {"fingerprint": pl.List(pl.String), "event": _EVENT}
    return {name: special.get(name, pl.String) for name in _FIELDS}


def rename(frame: pl.DataFrame, kind: str, columns: Mapping[str, str] | None) -> pl.DataFrame:
    """Bring raw columns under our names: by the user's names, else the first alias that has a value."""
    chosen: list[pl.Expr] = [pl.col("row")]
    for ours, aliases in ALIASES[kind].items():
        if columns is not None:
            theirs = columns.get(ours, ours)
            if theirs in frame.columns:
                chosen.append(pl.col(theirs).alias(ours))
            continue
        there = [pl.col(name) for name in aliases if name in frame.columns]
        if ours == "event_id" and isinstance(frame.schema.get("event"), pl.Struct):
            there.append(pl.col("event").struct.field("event_id"))
        if there:
            chosen.append(pl.coalesce(there).alias(ours) if len(there) > 1 else there[0].alias(ours))
    if kind == "occurrences" and columns is None and "payload_type" in frame.columns:
        chosen.append(pl.col("payload_type"))
    return frame.select(chosen)


def _by_kind(frame: pl.DataFrame, wanted: Wanted) -> list[tuple[str, pl.DataFrame]]:
    frame = frame.select(column for column in frame if column.name == "row" or column.null_count() < frame.height)
    if wanted.forced or wanted.columns is not None:
        return [(wanted.kind, rename(frame, wanted.kind, wanted.columns))]

    def has(*names: str) -> pl.Expr:
        return pl.any_horizontal(pl.lit(value=False), *(pl.col(n).is_not_null() for n in names if n in frame.columns))

    # the same order as sniff.kind_of
    tests = [
        ("status_changes", has(_ACTIVITY) | has("new_status") | (_payload(frame) == "status_change")),
        ("escalations", has("escalated_at")),
        ("hourly_counts", has("hour", "hourBucket")),
        ("status_changes", has("at") & has("kind")),
        ("occurrences", has("detected_at", "detection_time") | (has("fingerprint") & has("issue_title"))),
    ]
    kind = pl.lit(wanted.kind)
    for name, test in reversed(tests):
        kind = pl.when(test).then(pl.lit(name)).otherwise(kind)
    kinds = frame.select(kind.alias("kind"))["kind"]
    present = kinds.unique(maintain_order=True).to_list()
    if len(present) == 1:
        return [(present[0], rename(frame, present[0], None))]
    return [(name, rename(frame.filter(kinds == name), name, None)) for name in present]


def _payload(frame: pl.DataFrame) -> pl.Expr:
    return pl.col("payload_type") if "payload_type" in frame.columns else pl.lit(None, pl.String)


def _plain(value: Any) -> str | None:
    """A JSON value as polars writes it into a column of text."""
    if value is None:
        return None
    if isinstance(value, str):
        # half a surrogate pair is no character
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f").removesuffix(".0")
    if isinstance(value, dict | list):
        return _plain(json.dumps(value, ensure_ascii=False))
    return str(value)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


_DECODE: Final = json.JSONDecoder(object_pairs_hook=_first_wins, parse_constant=_no_constant).decode


def _issue_keys(issue: Mapping[str, Any], stem: str) -> dict[str, str | None]:
    """Project and group of an issue, of an activity response, or of the file it lies in."""
    project = issue.get("project")
    project_id = project.get("id") if isinstance(project, dict) else None
    if project_id is None:
        project_id = issue.get("project_id", issue.get("projectID", issue.get("projectId")))
    names = ("issue_id", "issueId", "group_id", "groupID", "groupId")
    group_id = next((issue[name] for name in names if issue.get(name) is not None), None)
    if group_id is None and isinstance(issue.get("activity"), list):
        group_id = issue.get("id")
    if group_id is None and re.fullmatch(r"[0-9]+", stem):
        group_id = stem  # the last resort: activities/4711.json
    return {"project_id": _plain(project_id), "group_id": _plain(group_id)}


def _activity(activity: Any, keys: dict[str, str | None]) -> dict[str, Any]:
    flat = status.from_activity(activity) if isinstance(activity, dict) else {}
    return {**{name: _plain(value) for name, value in flat.items()}, **keys, _ACTIVITY: "1"}


def _open(record: dict[str, Any], stem: str) -> Iterator[tuple[Any, Any]]:
    """The records in a record, each with what it looked like: a response wraps many, most wrap none."""
    activity = record.get("activity")
    if isinstance(activity, list):
        keys = _issue_keys(record, stem)
        for one in activity:
            yield _activity(one, keys), one
    elif wraps(record):
        for row in record["data"]:
            yield row, row
    elif "dateCreated" in record and "type" in record and "data" in record:
        yield _activity(record, _issue_keys({**record, "id": None}, stem)), record
    else:
        yield record, None


def _slow(piece: Piece, wanted: Wanted, schema: Mapping[str, Any], first: int) -> tuple[Batch, int]:
    """One record at a time; returns the batch and the number that follows its last record."""
    rows: list[dict[str, Any]] = []
    broken: list[tuple[int, str, str | None]] = []
    raws: dict[int, str] = {}
    number = first
    mapped = wanted.columns is not None
    for line in piece.text.split(b"\n"):
        if not line.strip():
            number += 1
            continue
        shown = line[:4_000].decode("utf-8", "replace")
        try:
            record = _DECODE(line.decode())
        except UnicodeDecodeError:
            broken.append((number, "not UTF-8 text", shown))
            number += 1
            continue
        except RecursionError:
            broken.append((number, "nested too deeply", shown))
            number += 1
            continue
        except ValueError as error:
            broken.append((number, f"not JSON: {getattr(error, 'msg', error)}", shown))
            number += 1
            continue
        if not isinstance(record, dict):
            broken.append((number, "not a JSON object", shown))
            number += 1
            continue
        opened = _open(record, wanted.stem) if wanted.columns is None else iter([(record, None)])
        for flat, original in opened:
            raws[number] = shown if original is None else json.dumps(original, ensure_ascii=False)[:4_000]
            if isinstance(flat, dict):
                rows.append({"row": number, **_flat(flat, schema, mapped=mapped)})
            else:
                broken.append((number, "not a JSON object", raws[number]))
            number += 1
    frame = pl.DataFrame(rows, schema={"row": pl.Int64, **schema, _ACTIVITY: pl.String}, orient="row")
    kinds = _by_kind(frame, wanted) if frame.height else []
    return Batch(kinds, broken, lambda numbers: [_plain(raws[number]) for number in numbers]), number


def _flat(record: Mapping[str, Any], schema: Mapping[str, Any], *, mapped: bool) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name in (*schema, _ACTIVITY):
        value = record.get(name)
        if value is None or (name in _WRAPPERS and not mapped):
            continue
        kind = schema.get(name, pl.String)
        if isinstance(kind, pl.List):
            flat[name] = [_plain(part) for part in value] if isinstance(value, list) else [_plain(value)]
        elif isinstance(kind, pl.Struct):
            if isinstance(value, dict):
                flat[name] = {"event_id": _plain(value.get("event_id"))}
        else:
            flat[name] = _plain(value)
    return flat


def _read(text: bytes, schema: Mapping[str, Any], lines: int, *, mapped: bool) -> pl.DataFrame | None:
    """What polars makes of the block, or None where it would not see what Python sees."""
    if b"\\u" in text and re.search(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|\\u[dD][c-fC-F]", text):
        # escaped pairs of surrogates are common, halves are not; telling them apart is Python's part
        return None
    try:
        frame = pl.read_ndjson(text, schema=dict(schema))
    except (pl.exceptions.PolarsError, UnicodeDecodeError):
        return None
    if frame.height != lines:  # blank lines
        return None
    if not mapped and any(frame[name].null_count() < frame.height for name in _WRAPPERS):
        return None
    return None if _nested(frame, text) else frame


def _nested(frame: pl.DataFrame, text: bytes) -> bool:
    """Whether an object or a list may stand where text is wanted: polars writes it out without escapes."""
    like = r"^[\[{]"
    lists = pl.selectors.by_dtype(pl.List(pl.String)).list.eval(pl.element().str.contains(like)).list.any().any()
    if any(frame.select(lists).row(0)):
        return True
    found = frame.select(pl.col(pl.String).str.contains(like).any())
    suspects = [column.name for column in found if column.item()]
    if not suspects:
        return False
    # a title may well begin with a bracket; the text tells whether it stands in quotes
    names = b"|".join(re.escape(name).encode() for name in suspects)
    return re.search(rb'"(?:' + names + rb')"[ \t\r]*:[ \t\r]*[\[{]', text) is not None


def _lines_of(piece: Piece, first: int) -> Callable[[Sequence[int]], list[str | None]]:
    def texts(numbers: Sequence[int]) -> list[str | None]:
        lines = piece.text.split(b"\n")
        return [lines[number - first][:4_000].decode("utf-8", "replace") for number in numbers]

    return texts


def parse(piece: Piece, wanted: Wanted, *, first: int | None = None, fast: bool = True) -> Iterator[tuple[Batch, int]]:
    """Read a piece of records; yields batches, each with the number that follows its last record.

    ``first`` is the number of the piece's first record where earlier records wrapped others.
    """
    first = piece.first if first is None else first
    schema = _schema(wanted)
    mapped = wanted.columns is not None
    text = piece.text
    if fast:
        lines = text.count(b"\n") + 1
        frame = _read(text, schema, lines, mapped=mapped)
        if frame is not None:
            frame = frame.with_row_index("row", offset=first).with_columns(pl.col("row").cast(pl.Int64))
            yield Batch(_by_kind(frame, wanted), [], _lines_of(piece, first)), first + lines
            return
        step = max(_SMALL, len(text) // 8)
        if text.find(b"\n", step) >= 0:  # at least two parts, each smaller than the whole
            start = 0
            while start < len(text):
                end = text.find(b"\n", min(start + step, len(text)))
                if end < 0:  # the last lines; never the whole text again, however long its last line
                    end = text.rfind(b"\n") if start == 0 else len(text)
                for batch, following in parse(Piece(text[start:end], first), wanted, first=first):
                    yield batch, following
                    first = following
                start = end + 1
            return
    yield _slow(piece, wanted, schema, first)
