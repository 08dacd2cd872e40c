"""What a file holds: told from its first bytes and the fields of its first records, never from its name."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from issue_analytics.errors import ExportError
from issue_analytics.exports.formats import Format, envelopes, format_of, is_message, records_in, table_format_of
from issue_analytics.exports.lines import MAX_RECORD, documents, pieces

__all__ = ["Sniffed", "UnknownFileError", "sniff"]

_MAGIC: Final = (
    (b"PK\x03\x04", "a zip archive (or a spreadsheet); unpack it, or save it as CSV"),
    (b"\xff\xfe", "UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text; save it as UTF-8"),
    (b"BZh", "bzip2 data; unpack it first, or use gzip or Zstandard"),
    (b"\xfd7zXZ", "xz data; unpack it first, or use gzip or Zstandard"),
)

_HEAD: Final = 2**18


class UnknownFileError(ExportError):
    """A file of no known format: an error where it was named, skipped where a folder was."""


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What a file holds.

    ``content`` is ``"lines"``, ``"array"``, ``"document"`` (JSON), ``"envelope"``, ``"csv"`` or ``"parquet"``;
    ``format`` is the format of its first record that is of a known one, None where none was; ``fields`` are the fields
    of the first records; ``stream`` are all its bytes, for ``"parquet"`` too.
    """

    content: str
    format: Format | None
    fields: tuple[str, ...]
    stream: Iterator[bytes]
    separator: str = ","
    types: Mapping[str, type] = field(default_factory=dict)


def _json_head(content: str, head: bytes) -> list[Any]:
    """The first records, as many as the head holds whole, at most 50."""
    found: list[Any] = []
    seen = 0
    parts = pieces(iter([head])) if content == "lines" else documents(iter([head]), array=content == "array")
    for part in parts:
        for line in part.text.splitlines() if part.problem is None else ():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue  # cut by the end of the head, or broken: the reader will say so with its number
            found += records_in(value)
            seen += 1
            if len(found) >= 50 or seen >= 10_000:
                return found[:50]
    return found


def _types(records: list[Any]) -> dict[str, type]:
    found: dict[str, set[type]] = {}
    for record in records:
        for name, value in record.items() if isinstance(record, dict) else ():
            if value is not None:
                found.setdefault(name, set()).add(type(value))
    numbers = {frozenset({int}): int, frozenset({float}): float, frozenset({int, float}): float}
    return {name: numbers.get(frozenset(kinds), object) for name, kinds in found.items()}


def _json_content(head: bytes) -> str:
    """``lines``, ``array``, ``document`` or ``envelope`` for text that begins with ``{`` or ``[``."""

    def whole(line: bytes) -> bool:
        try:
            return isinstance(json.loads(line), dict | list)
        except (ValueError, RecursionError):
            return False

    lines = [line for line in head.split(b"\n")[:50] if line.strip()]
    first = lines[0].strip()
    if re.match(rb'\[\s*\[\s*[0-9]+\s*,\s*"', head):  # messages
        return "lines" if len(lines) > 1 and whole(first) else "array"
    if re.match(rb"\[\s*\[", head):
        return "lines" if whole(head.split(b"\n")[0]) else "document"  # a series of points, or pages: read as one
    if first.startswith(b"{"):
        if envelopes.looks_like(lines):
            return "envelope"
        # the first line may be broken or too long; a later one that is an object and not indented tells as much
        alone = whole(first) or any(line[:1] == b"{" and whole(line) for line in lines[1:])
        alone = alone or any(map(_is_message_line, lines[1:]))
        return "lines" if alone or (len(lines) == 1 and len(first) > MAX_RECORD) else "document"
    if (len(lines) > 1 and whole(first)) or any(map(_is_message_line, lines)):
        return "lines"
    return "document" if re.match(rb'\[\s*[0-9]+\s*,\s*"', head) else "array"


def _is_message_line(line: bytes) -> bool:
    try:
        return is_message(json.loads(line))
    except (ValueError, RecursionError):
        return False


def _header(path: object, head: bytes) -> tuple[str, ...] | None:
    """The separator and the names of a CSV header, or None for what is no table."""
    line = head.split(b"\n", 1)[0].rstrip(b"\r")
    if len(line) > MAX_RECORD:
        return None
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return None
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text):
        return None
    plain = re.sub(r'"[^"]*"', "", text)
    separator = max(",;\t|", key=plain.count)
    if not plain.count(separator):
        return None
    names = next(csv.reader(io.StringIO(text), delimiter=separator), [])
    names = [name.strip() for name in names]
    if "" in names or len(set(names)) < len(names):
        if table_format_of(tuple(names)) is None:
            return None
        raise ExportError(f"{path}: the header has an empty or a repeated name: {', '.join(names)[:300]}.")
    return (separator, *names)


def sniff(path: object, stream: Iterator[bytes]) -> Sniffed:
    """Look at the beginning of a file and say what it holds.

    Raises:
        UnknownFileError: nothing in it, or bytes that are no text and no Parquet.
        ExportError: it may well be an export, but in a form that is not read.
    """
    first: list[bytes] = []
    size = 0
    for chunk in stream:
        first.append(chunk)
        size += len(chunk)
        # enough to see the first record whole, if it is one that will be read at all
        if size >= _HEAD and (size > MAX_RECORD or b"\n" in chunk or any(b"\n" in part for part in first)):
            break
    head = b"".join(first)
    if head.startswith(b"PAR1"):
        return Sniffed("parquet", None, (), chain([head], stream))
    for magic, what in _MAGIC:
        if head.startswith(magic):
            raise ExportError(f"{path}: {what}.")
    if head[257:262] == b"ustar":
        raise ExportError(f"{path}: a tar archive; unpack it, and name the folder.")
    if head.startswith(b"\xef\xbb\xbf"):
        head = head[3:]
    body = head.lstrip()
    if not body:
        raise UnknownFileError(f"{path}: empty; there is nothing to read.")
    whole = chain([head], stream)
    if body[:1] in b"{[":
        content = _json_content(body)
        if content == "envelope":
            return Sniffed(content, envelopes.FORMAT, ("event",), whole)
        records = _json_head(content, body)
        known = next(filter(None, map(format_of, records)), None)
        fields = tuple(dict.fromkeys(str(name) for record in records if isinstance(record, dict) for name in record))
        return Sniffed(content, known, fields, whole, types=_types(records))
    body = re.sub(rb"\A(?:[^\S\n]*\n)+", b"", head)  # a tab in front of the header is an empty name
    header = _header(path, body)
    if header is None:
        what = "binary data" if b"\x00" in body[:4096] else "neither JSON nor a table with a header"
        raise UnknownFileError(
            f"{path}: {what}. Known are JSON lines, JSON, CSV and Parquet; plain, gzip or Zstandard."
        )
    separator, *names = header
    return Sniffed("csv", table_format_of(tuple(names)), tuple(names), chain([body], stream), separator)
