"""JSON records to raw columns: polars on blocks of lines, Python where a block holds what polars would not read.

For formats without nesting, both ways give the same frame. The fast one knows the fields that matter and reads them as
text; it gives up on a block with a broken line, and then smaller blocks are tried. Records of nested formats hold
several rows each and are read one by one.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain
from typing import Any, Final

import numpy as np
import polars as pl

from issue_analytics.exports.formats import Format, plain, records_in
from issue_analytics.exports.formats.form import Row
from issue_analytics.exports.lines import Piece
from issue_analytics.exports.values import text

__all__ = ["Batch", "Wanted", "at_once", "parse", "rename"]

_SMALL: Final = 2**16
_MANY: Final = 2**19
"""Lines read at once: a block of ``{}`` would take two hundred times its size in columns."""

_LISTS: Final = ("fingerprint",)
_EVENT: Final = pl.Struct({"event_id": pl.String, "received": pl.String, "project_id": pl.String})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for: a format, and the kind of a record that does not tell; ``forced`` where the user named it.

    ``columns`` are the user's names for our columns, ``stem`` the file's name for records that name no issue, ``seen``
    the fields that its first records have, and the types of their values (see :class:`.sniff.Sniffed`).
    """

    format: Format
    kind: str
    forced: bool = False
    columns: Mapping[str, str] | None = None
    stem: str = ""
    seen: Mapping[str, type] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """Raw rows by kind, under our column names, with ``row``; records that could not be read; their texts.

    ``ignored`` counts what is no row of ours.
    """

    rows: Sequence[tuple[str, pl.DataFrame]]
    broken: Sequence[tuple[int, str, str | None]]
    texts: Callable[[Sequence[int]], list[str | None]]
    ignored: Mapping[str, int] = field(default_factory=dict)


def _type(name: str) -> Any:
    return pl.List(pl.String) if name in _LISTS else pl.String


_SURE: Final = ("detection_time", "fingerprint")
"""Where a record has these, it is an occurrence, unless its payload says that it is a status change."""


def _sure(frame: pl.DataFrame) -> bool:
    """Whether each record is an occurrence, whatever else it may hold."""
    if not set(_SURE) <= set(frame.columns) or any(frame[name].has_nulls() for name in _SURE):
        return False
    return not frame.select((_payload(frame) == "status_change").any()).item()


def _schema(wanted: Wanted) -> dict[str, Any]:
    fields = wanted.format.fields
    if wanted.columns is not None:
        theirs = {theirs: _type(ours) for ours, theirs in wanted.columns.items()}
        return {**{name: _type(name) for name in fields[wanted.kind] if name not in wanted.columns}, **theirs}
    names = (name for each in fields.values() for aliases in each.values() for name in aliases)
    schema = {name: _type(name) for name in dict.fromkeys(names)}
    return {**schema, "event": _EVENT} if wanted.format is plain.FORMAT else schema


_EXACT: Final = 2.0**53


_NUMBERS: Final = {
    "project_id", "group_id", "type", "detected_at", "received_at", "hour", "count", "at", "forecast", "new_status",
    "new_substatus", "escalated_at", "ended_at", "made_at", "limit",
}  # fmt: skip
"""Columns of ours that numbers may be read into as numbers; elsewhere their text matters."""


def _seems_sure(wanted: Wanted) -> bool:
    own = wanted.format is plain.FORMAT and wanted.columns is None and not wanted.forced
    return own and set(_SURE) <= wanted.seen.keys()


def _narrow(schema: Mapping[str, Any], wanted: Wanted) -> dict[str, Any]:
    """The schema of what the first records have. Polars stops at a value of any other field of ours, or other type.

    Where they are occurrences for certain, fields of other kinds are not looked for: each costs time in every record.
    Lists are read as text: as lists they cost more than all other columns together.
    """
    each = wanted.format.fields.values()
    words = {name for fields in each for ours, names in fields.items() if ours not in _NUMBERS for name in names}
    types = {int: pl.Int64, float: pl.Float64}
    narrow: dict[str, Any] = {}
    ours = plain.FIELDS["occurrences"].values() if _seems_sure(wanted) else ()
    looked_for = {"event", *chain.from_iterable(ours)} if ours else schema.keys()
    for name, kind in schema.items():
        if name not in looked_for:
            continue
        if name not in wanted.seen:
            narrow[name] = pl.Null
        elif isinstance(kind, pl.Struct):
            narrow[name] = kind
        else:
            number = name not in words and wanted.columns is None
            narrow[name] = types.get(wanted.seen[name], pl.String) if number else pl.String
    return narrow


_PLAIN_LIST: Final = r'^\["[^"\\]*"(?:, "[^"\\]*")*\]$'
"""How polars writes a list of text as text, where nothing in it needs an escape."""


def _lists(values: pl.Series) -> pl.Series | None:
    """Lists of text from text; None where one does not come apart for certain."""
    unique = values.unique()
    if not unique.drop_nulls().str.contains(_PLAIN_LIST).all():
        return None
    parts = unique.str.slice(2).str.strip_suffix('"]').str.split('", "')
    table = pl.DataFrame({"text": unique, "parts": parts})
    whole = pl.DataFrame({"text": values}).join(table, on="text", how="left", maintain_order="left", nulls_equal=True)
    return whole["parts"].alias(values.name)


_HALF: Final = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|\\u[dD][c-fC-F]")
"""Half a pair of surrogates, which polars reads as NUL without a word."""


def _escapes(piece: Piece) -> tuple[bool, bool]:
    r"""Whether surrogates may stand escaped in the text, and whether a string may begin with ``["``.

    One look at what stands around the backslashes: searches for three patterns would each read all of the text.

    >>> [_escapes(Piece(text, 1)) for text in (rb'{"a": "\ud83d"}', rb'{"a": "[\"b\"]"}', rb'{"a": "\n"}      ')]
    [(True, False), (False, True), (False, False)]
    """
    data, at = np.frombuffer(piece.text, np.uint8), piece.backslashes
    at = at[(at > 0) & (at < data.size - 5)]  # after the last of a record's strings there is no room for more
    after = data[at + 1]
    listed = bool(((after == ord('"')) & (data[at - 1] == ord("["))).any())
    at = at[after == ord("u")]
    digits = [data[at + place] | 0x20 for place in (2, 3, 4, 5)]
    surrogates = bool((digits[0] == ord("d")).any())
    bracket, quote = (
        (digits[0] == ord("0") | 0x20)
        & (digits[1] == ord("0") | 0x20)
        & (digits[2] == (high | 0x20))
        & (digits[3] == low)
        for high, low in ((ord("5"), ord("b")), (ord("2"), ord("2") | 0x20))
    )
    return surrogates, listed or bool((bracket | quote).any())


def _read_narrow(piece: Piece, schema: Mapping[str, Any], wanted: Wanted) -> pl.DataFrame | None:
    """As :func:`_read`, for records like the first ones of their file, and twice as fast."""
    listed = [name for name in _LISTS if name in wanted.seen and isinstance(schema.get(name), pl.List)]
    escapes = _escapes(piece)
    if listed and escapes[1]:
        return None  # text that looks like a list could not be told from one
    frame = _read(piece, _narrow(schema, wanted), escapes[0], lists=listed)
    if frame is None or (_seems_sure(wanted) and not _sure(frame)):
        return None
    size = pl.col(pl.Float64).abs()
    if any(column.item() for column in frame.select(((size < 1) | (size >= _EXACT)).any())):
        return None  # the text of such a number says more than the float, or is written in another way
    for name in listed:
        parts = _lists(frame[name])
        if parts is None:
            return None
        frame = frame.with_columns(parts)
    return frame


def _alike(frame: pl.DataFrame, names: Sequence[str]) -> list[pl.Expr]:
    """Columns one of which may stand for another; as text where they are of types that do not mix."""
    types = [frame.schema[name] for name in names]
    if len(set(types)) <= 1:
        return [pl.col(name) for name in names]
    common = [kind.is_numeric() or kind in (pl.String, pl.Null) for kind in types]
    return [pl.col(name) if fine else pl.lit(text(frame[name])) for name, fine in zip(names, common, strict=True)]


def rename(frame: pl.DataFrame, wanted: Wanted, kind: str) -> pl.DataFrame:
    """Bring raw columns under our names: by the user's names, else the first alias that has a value."""
    chosen: list[pl.Expr] = [pl.col("row")]
    event = frame.schema.get("event")
    nested = {"event_id": "event_id", "received_at": "received"} if isinstance(event, pl.Struct) else {}
    for ours, aliases in wanted.format.fields[kind].items():
        if wanted.columns is not None:
            theirs = wanted.columns.get(ours, ours)
            if theirs in frame.columns:
                chosen.append(pl.col(theirs).alias(ours))
            continue
        there = _alike(frame, [name for name in aliases if name in frame.columns])
        inner = nested.get(ours)
        if isinstance(event, pl.Struct) and inner in {part.name for part in event.fields}:
            there.append(pl.col("event").struct.field(inner))
        if there:
            chosen.append(pl.coalesce(there).alias(ours) if len(there) > 1 else there[0].alias(ours))
    if isinstance(event, pl.Struct) and kind == "occurrences" and "project_id" in {part.name for part in event.fields}:
        chosen.append(pl.col("event").struct.field("project_id").alias("event_project_id"))
    return frame.select(chosen)


def _by_kind(frame: pl.DataFrame, wanted: Wanted) -> list[tuple[str, pl.DataFrame]]:
    frame = frame.select(column for column in frame if column.name == "row" or column.null_count() < frame.height)
    if wanted.forced or wanted.columns is not None:
        return [(wanted.kind, rename(frame, wanted, wanted.kind))]
    if wanted.format is not plain.FORMAT:
        return [(kind, rename(frame, wanted, kind)) for kind in wanted.format.fields]
    if _sure(frame):  # as most are
        return [("occurrences", rename(frame, wanted, "occurrences"))]

    def has(*names: str) -> pl.Expr:
        return pl.any_horizontal(pl.lit(value=False), *(pl.col(n).is_not_null() for n in names if n in frame.columns))

    # the same order as plain.kind_of
    tests = [
        ("status_changes", _payload(frame) == "status_change"),
        ("occurrences", has("detection_time") & has("fingerprint")),
        ("status_changes", has("new_status")),
        ("escalations", has("escalated_at")),
        ("hourly_counts", has("hour", "hourBucket")),
        ("recorded_forecasts", has("limit") & has("made_at")),
        ("corrections", has("at") & has("kind") & has("event_id")),
        ("status_changes", has("at") & has("kind")),
        ("occurrences", has("detected_at", "detection_time") | (has("fingerprint") & has("issue_title"))),
    ]
    kind = pl.lit(wanted.kind)
    for name, test in reversed(tests):
        kind = pl.when(test).then(pl.lit(name)).otherwise(kind)
    kinds = frame.select(kind.alias("kind"))["kind"]
    present = kinds.unique(maintain_order=True).to_list()
    if len(present) == 1:
        return [(present[0], rename(frame, wanted, present[0]))]
    return [(name, rename(frame.filter(kinds == name), wanted, name)) for name in present]


def _payload(frame: pl.DataFrame) -> pl.Expr:
    return pl.col("payload_type") if "payload_type" in frame.columns else pl.lit(None, pl.String)


def _adapted(rows: list[tuple[str, pl.DataFrame]], wanted: Wanted) -> list[tuple[str, pl.DataFrame]]:
    adapt = wanted.format.adapt
    if adapt is None or wanted.columns is not None:
        return rows
    return [part for kind, raw in rows for part in adapt(kind, raw)]


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
    found = dict(pairs)
    return found if len(found) == len(pairs) else dict(reversed(pairs))


_DECODE: Final = json.JSONDecoder(object_pairs_hook=_first_wins, parse_constant=_no_constant).decode


def _decoded(line: bytes) -> Any:
    """The value on a line.

    Raises:
        ValueError: the line is no JSON; the message is a reason for a reject.
    """
    try:
        return _DECODE(line.decode())
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {getattr(error, 'msg', error)}") from None


def _opened(record: Any, wanted: Wanted) -> list[Row]:
    """The rows in a record of a nested format.

    Raises:
        ValueError: it is none of the format.
    """
    form = wanted.format
    if form.open is None or not (form.holds or form.knows)(record):
        found = ", ".join(map(str, record))[:200] if isinstance(record, dict) else type(record).__name__
        raise ValueError(f"not as {form.name} are; found: {found or 'nothing'}")
    try:
        return list(form.open(record, wanted.stem))
    except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        # what nobody thought of in a record must not stop the file
        raise ValueError(f"not as {form.name} are ({type(error).__name__}: {str(error)[:100]})") from None


def _nested_rows(piece: Piece, wanted: Wanted, first: int, *, fast: bool) -> tuple[Batch, int]:
    """Records that hold rows, one at a time; returns the batch and the number that follows its last row."""
    lines = [line for line in piece.text.split(b"\n") if line.strip()]
    rows: dict[str, list[dict[str, Any]]] = {}
    broken: list[tuple[int, str, str | None]] = []
    raws: dict[int, Any] = {}
    others: Counter[str] = Counter()
    quick = None
    if fast and wanted.format.quick is not None:
        quick = wanted.format.quick(lines)
    done = set() if quick is None else set(quick[1]["line"].to_list())
    numbers: dict[int, int] = {}
    number = first
    for place, line in enumerate(lines):
        if place in done:
            numbers[place], raws[number] = number, line
            number += 1
            continue
        shown = line[:4_000].decode("utf-8", "replace")
        try:
            value = _decoded(line)
        except ValueError as error:
            broken.append((number, str(error), shown))
            number += 1
            continue
        for record in records_in(value):
            try:
                opened = _opened(record, wanted)
            except ValueError as error:
                broken.append((number, str(error), _text(record)))
                number += 1
                continue
            for kind, values, original in opened:
                if not kind:
                    others[str(original)[:60]] += 1
                    continue
                flat = {name: _list(part) if name in _LISTS else _plain(part) for name, part in values.items()}
                rows.setdefault(kind, []).append({"row": number, **flat})
                raws[number] = values if original is None else line if original is value else original
                number += 1
    frames = {}
    for kind, dicts in rows.items():
        names = dict.fromkeys(name for row in dicts for name in row)
        schema = {name: pl.Int64 if name == "row" else _type(name) for name in names}
        frames[kind] = pl.DataFrame(dicts, schema=schema)
    if quick is not None and quick[1].height:
        kind, frame = quick
        frame = frame.select(
            pl.col("line").replace_strict(numbers, return_dtype=pl.Int64).alias("row"), pl.exclude("line")
        )
        frames[kind] = pl.concat([frame, frames[kind]], how="diagonal").sort("row") if kind in frames else frame
    ordered = sorted(frames.items(), key=lambda item: item[1]["row"][0])
    batch = Batch(_adapted(ordered, wanted), broken, lambda asked: [_text(raws[n]) for n in asked], others)
    return batch, number


def _text(value: Any) -> str | None:
    """A value as rejects show it; a line as it stands."""
    if isinstance(value, bytes):
        return value[:4_000].decode("utf-8", "replace")
    return _plain(json.dumps(value, ensure_ascii=False, default=str)[:4_000])


def _list(value: Any) -> list[str | None] | None:
    if value is None:
        return None
    return [_plain(part) for part in value] if isinstance(value, list) else [_plain(value)]


def _slow(piece: Piece, wanted: Wanted, schema: Mapping[str, Any], first: int) -> tuple[Batch, int]:
    """One record at a time; returns the batch and the number that follows its last record."""
    rows: list[dict[str, Any]] = []
    broken: list[tuple[int, str, str | None]] = []
    raws: dict[int, str] = {}
    number = first
    for line in piece.text.split(b"\n"):
        if not line.strip():
            number += 1
            continue
        shown = line[:4_000].decode("utf-8", "replace")
        try:
            record = _decoded(line)
            if not isinstance(record, dict):
                raise ValueError("not a JSON object")
        except ValueError as error:
            broken.append((number, str(error), shown))
        else:
            raws[number] = shown
            rows.append({"row": number, **_flat(record, schema)})
        number += 1
    frame = pl.DataFrame(rows, schema={"row": pl.Int64, **schema}, orient="row")
    kinds = _by_kind(frame, wanted) if frame.height else []
    return Batch(_adapted(kinds, wanted), broken, lambda numbers: [_plain(raws[n]) for n in numbers]), number


def _flat(record: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, kind in schema.items():
        value = record.get(name)
        if value is None:
            continue
        if isinstance(kind, pl.List):
            flat[name] = _list(value)
        elif isinstance(kind, pl.Struct):
            if isinstance(value, dict):
                flat[name] = {part.name: _plain(value.get(part.name)) for part in kind.fields}
        else:
            flat[name] = _plain(value)
    return flat


def _read(
    piece: Piece, schema: Mapping[str, Any], surrogates: bool, *, lists: Sequence[str] = ()
) -> pl.DataFrame | None:
    """What polars makes of the block, or None where it would not see what Python sees.

    Columns named in ``lists`` are known to hold lists.
    """
    if surrogates and _HALF.search(piece.text):
        # escaped pairs of surrogates are common, halves are not; telling them apart is Python's part
        return None
    try:
        frame = pl.read_ndjson(piece.text, schema=dict(schema))
    except (pl.exceptions.PolarsError, UnicodeDecodeError):
        return None
    if frame.height != piece.lines:  # blank lines
        return None
    return None if _nested(frame.drop(lists), piece) else frame


def _nested(frame: pl.DataFrame, piece: Piece) -> bool:
    """Whether an object or a list may stand where text is wanted: polars writes it out without escapes."""

    def opens(text: pl.Expr) -> pl.Expr:
        return text.str.starts_with("[") | text.str.starts_with("{")

    lists = pl.selectors.by_dtype(pl.List(pl.String))
    if any(column.item() for column in frame.select(lists.explode().pipe(opens).any())):
        return True
    opening = frame.select(opens(pl.col(pl.String)).any())
    # a title may well begin with a bracket; its line tells whether it stands in quotes
    for name in (column.name for column in opening if column.item()):
        nested = re.compile(b'"' + re.escape(name).encode() + rb'"[ \t\r]*:[ \t\r]*[\[{]')
        rows = frame.select(opens(pl.col(name)).arg_true()).to_series()
        if any(nested.search(piece.line(row)) for row in rows):
            return True
    return False


def _lines_of(piece: Piece, first: int) -> Callable[[Sequence[int]], list[str | None]]:
    def texts(numbers: Sequence[int]) -> list[str | None]:
        lines = piece.text.split(b"\n")
        return [lines[number - first][:4_000].decode("utf-8", "replace") for number in numbers]

    return texts


def at_once(piece: Piece, wanted: Wanted) -> Batch | None:
    """All of a piece by polars, where its format has no nesting and polars sees in it what Python would see."""
    if piece.problem is not None or wanted.format.open is not None or piece.lines > _MANY:
        return None
    schema = _schema(wanted)
    frame = _read_narrow(piece, schema, wanted) if wanted.seen else None
    if frame is None:
        frame = _read(piece, schema, surrogates=True)
    if frame is None:
        return None
    frame = frame.with_row_index("row", offset=piece.first).with_columns(pl.col("row").cast(pl.Int64))
    return Batch(_adapted(_by_kind(frame, wanted), wanted), [], _lines_of(piece, piece.first))


def parse(piece: Piece, wanted: Wanted, *, first: int | None = None, fast: bool = True) -> Iterator[tuple[Batch, int]]:
    """Read a piece of records; yields batches, each with the number that follows its last record.

    ``first`` is the number of the piece's first record where earlier records held several rows. ``fast`` is for pieces
    that :func:`at_once` could not read: parts of them, it may.
    """
    first = piece.first if first is None else first
    if piece.lines > _MANY:
        yield from _in_parts(piece, wanted, first, fast=fast)
        return
    if wanted.format.open is not None:
        yield _nested_rows(piece, wanted, first, fast=fast)
        return
    if fast and piece.text.find(b"\n", _step(piece.text)) >= 0:  # at least two parts, each smaller than the whole
        yield from _in_parts(piece, wanted, first, fast=fast)
        return
    yield _slow(piece, wanted, _schema(wanted), first)


def _step(text: bytes) -> int:
    return max(_SMALL, len(text) // 8)


def _in_parts(piece: Piece, wanted: Wanted, first: int, *, fast: bool) -> Iterator[tuple[Batch, int]]:
    text, start = piece.text, 0
    while start <= len(text):  # a blank line at the end is one, too
        end = text.find(b"\n", min(start + _step(text), len(text)))
        if end < 0:  # the last lines; never the whole text again, however long its last line
            end = text.rfind(b"\n") if start == 0 else len(text)
        part = Piece(text[start:end], first)
        whole = at_once(part, wanted) if fast else None
        if whole is not None:
            yield whole, first + part.lines
            first += part.lines
        else:
            for batch, following in parse(part, wanted, first=first, fast=fast):
                yield batch, following
                first = following
        start = end + 1
