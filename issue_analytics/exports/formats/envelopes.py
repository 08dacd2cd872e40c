"""Envelopes, as SDKs send and keep them: a line on the whole, then items, each a line on what follows, and that.

Any number of them may stand one after the other in a file. Items of type ``event`` are rows; other items (attachments,
sessions, reports of the client, transactions) are counted by their type, and passed over without being held in memory.

Each item of interest comes out as one line of JSON, with the project and the id that its envelope names, so that the
parser of records serves here too: ``[{…}, "item of an envelope", "42", "6a7b…"]``. What cannot be read is a problem
with its place in the unpacked file; reading goes on at the next line that can be a header.
"""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from issue_analytics.exports.formats.form import Format, Row, ignored, refused
from issue_analytics.exports.formats.sdk_events import NOTE, event_row, knows, name_of
from issue_analytics.exports.lines import MAX_RECORD, TOO_LONG, Piece

__all__ = ["FORMAT", "looks_like", "records"]

_MARK: Final = "item of an envelope"

_OF_ENVELOPES: Final = frozenset({"event_id", "dsn", "sent_at", "sdk", "trace"})
_OF_ITEMS: Final = frozenset(
    {"type", "length", "content_type", "filename", "attachment_type", "item_count", "platform"}
)  # fmt: skip

_SHOWN: Final = 1_000
_BLOCK: Final = 2**22
"""Bytes of events in one piece: they become Python objects, which take many times as much."""
_MANY: Final = 2**16
_TYPES: Final = 100
"""Types of items that are counted by name; a file with more of them is made to fill the memory."""


class _Broken(NamedTuple):
    shown: bytes
    problem: str


class _Input:
    """The bytes of a stream: a look ahead, by number or to the end of the line, and a step forward."""

    def __init__(self, stream: Iterator[bytes]) -> None:
        self._stream = stream
        self._held = bytearray()
        self._start = 0  # of what is ahead, in what is held
        self._before = 0  # bytes no longer held

    @property
    def place(self) -> int:
        """How many bytes lie behind."""
        return self._before + self._start

    @property
    def ahead(self) -> int:
        return len(self._held) - self._start

    def _more(self) -> bool:
        chunk = next((chunk for chunk in self._stream if chunk), None)
        if chunk is None:
            return False
        if self._start:
            del self._held[: self._start]
            self._before, self._start = self.place, 0
        self._held += chunk
        return True

    def ends(self) -> bool:
        return not self.ahead and not self._more()

    def look(self, size: int) -> bytes:
        """The next bytes; fewer where the stream ends."""
        while self.ahead < size and self._more():
            pass
        return bytes(self._held[self._start : self._start + size])

    def line(self) -> bytes | None:
        """The bytes before the next line break, or to the end; None where that are too many."""
        looked = 0
        while True:
            at = self._held.find(b"\n", self._start + looked)
            size = at - self._start if at >= 0 else self.ahead
            if size > MAX_RECORD:
                return None
            looked = self.ahead
            if at >= 0 or not self._more():
                return bytes(self._held[self._start : self._start + size])

    def step(self, size: int) -> int:
        """Go forward, whatever lies there; returns how far it went before the stream ended."""
        gone = 0
        while gone < size and not self.ends():
            part = min(size - gone, self.ahead)
            self._start += part
            gone += part
        return gone

    def step_line(self) -> bool:
        """Go past the next line break; whether there was one."""
        while not self.ends():
            at = self._held.find(b"\n", self._start)
            if at >= 0:
                self._start = at + 1
                return True
            self._start = len(self._held)
        return False

    def step_break(self) -> bool:
        """Go past a line break that comes next, or stay at the end of the stream; whether it is one of these."""
        found = self.look(2)
        size = 2 if found == b"\r\n" else 1
        if found and not found[:size].endswith(b"\n"):
            return False
        self._start += min(size, self.ahead)
        return True


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


_HEADER: Final = json.JSONDecoder(object_pairs_hook=_first_wins).decode
_PAYLOAD: Final = json.JSONDecoder(parse_constant=_no_constant).decode


def _header(line: bytes) -> dict[str, Any] | None:
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        value = _HEADER(line.decode())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _of_item(header: dict[str, Any]) -> bool:
    return isinstance(header.get("type"), str) and not knows(header)


def _of_envelope(header: dict[str, Any]) -> bool:
    """Whether this may be the first line of an envelope: many name nothing, others at least one of these."""
    named = not header or not _OF_ENVELOPES.isdisjoint(header)
    return named and "type" not in header and not knows(header)


def looks_like(lines: Sequence[bytes]) -> bool:
    r"""Whether there is an envelope's beginning in these lines: its header and that of an item.

    >>> looks_like([b'{"event_id":"a"}', b'{"type":"event","length":2}', b"{}"])
    True
    """
    headers = [_header(line) if len(line) < 2**16 else None for line in lines]
    for envelope, item in pairwise(headers):
        if envelope is not None and item is not None and _of_envelope(envelope) and _of_item(item):
            # records of other formats have a type too
            return isinstance(item.get("length"), int) or _OF_ITEMS.issuperset(item)
    return False


def _unreadable(payload: bytes) -> str | None:
    """Why a payload is no JSON; None where it is."""
    try:
        _PAYLOAD(payload.decode())
    except UnicodeDecodeError:
        return "not UTF-8 text"
    except RecursionError:
        return "nested too deeply"
    except ValueError as error:
        return f"not JSON: {getattr(error, 'msg', error)}"
    return None


def _suffix(header: dict[str, Any]) -> bytes:
    """What a line says of the envelope that its item comes from."""
    event_id, dsn = header.get("event_id"), header.get("dsn")
    project = re.search(r"/([0-9]{1,19})/?$", dsn) if isinstance(dsn, str) else None
    named = [_MARK, project[1] if project else None, event_id if isinstance(event_id, str) else None]
    return b"," + json.dumps(named)[1:].encode()


_NOWHERE: Final = _suffix({})


class _Envelopes:
    """Reading one file: where it is, whose items follow, and whether the way was lost."""

    def __init__(self, stream: Iterator[bytes]) -> None:
        self.source = _Input(stream)
        self.envelope = _NOWHERE
        self.lost = False
        self.types: set[str] = set()

    def items(self) -> Iterator[bytes | _Broken]:
        """Lines for the parser, and what cannot be read, in the order of the file."""
        source = self.source
        due: tuple[bytes, int] | None = None  # the header of an event's envelope, of which no item has come yet
        while not source.ends():
            start = source.place
            line = source.line()
            if line is None:
                if not self.lost:
                    yield self._lose(source.look(_SHOWN), f"a header {TOO_LONG}", start)
                source.step_line()
                self.envelope = _NOWHERE
                continue
            source.step(len(line))
            cut = source.ends()
            source.step_break()
            if not line.strip():
                continue
            header = _header(line)
            if header is None or not (_of_item(header) or _of_envelope(header)):
                if header is not None and knows(header):
                    yield self._lose(line, "an event without the header of its item", start)
                elif cut and header is None and not self.lost:
                    due = None  # one reject says so
                    yield self._problem(line, "the file ends inside a header: it is cut off", start)
                elif not self.lost:
                    what = "not JSON" if header is None else "neither of an envelope nor of an item"
                    yield self._lose(line, f"a header is {what}", start)
                self.envelope = _NOWHERE  # it may have been that of another one
                continue
            self.lost = False
            if "type" in header:
                due = None
                yield from self._item(header, line, start)
            else:
                self.envelope = _suffix(header)
                due = (line, start) if "event_id" in header else None
        if due is not None and not self.lost:
            yield self._problem(due[0], "the file ends after the header of an envelope: it is cut off", due[1])

    def _lose(self, shown: bytes, problem: str, place: int) -> _Broken:
        """A problem after which it is not known what the next line is."""
        self.lost = True
        return self._problem(shown, f"{problem}; reading goes on at the next header", place)

    def _problem(self, shown: bytes, problem: str, place: int) -> _Broken:
        return _Broken(shown[:_SHOWN], f"{problem} (byte {place} of the file)")

    def _cut(self, length: int, gone: int, type_: str) -> str:
        what = f"the file ends {gone} bytes after the header of this item ({type_})"
        return f"length: {length}, but {what}: it is cut off, or the length is wrong"

    def _wrong(self, length: int, type_: str) -> str:
        return f"length: {length} is wrong for this item ({type_}): no line ends there"

    def _item(self, header: dict[str, Any], line: bytes, start: int) -> Iterator[bytes | _Broken]:
        type_, length = name_of(header["type"]), header.get("length")
        if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 0):
            self.source.step_line()
            yield self._lose(line, f"length: not a whole number of 0 or more for this item ({type_})", start)
        elif type_ == "event":
            yield self._event(length, start)
        else:
            yield self._other(type_, length, line, start)

    def _other(self, type_: str, length: int | None, line: bytes, start: int) -> bytes | _Broken:
        """Pass over an item that is no event."""
        source = self.source
        if length is None:
            if source.ends():
                return self._problem(line, f"the file ends after the header of an item ({type_}): it is cut off", start)
            source.step_line()
        elif (gone := source.step(length)) < length:
            return self._problem(line, self._cut(length, gone, type_), start)
        elif not source.step_break():
            return self._lose(line, self._wrong(length, type_), start)
        if len(self.types) >= _TYPES and type_ not in self.types:
            type_ = name_of(None)
        self.types.add(type_)
        return json.dumps([type_, _MARK]).encode()

    def _event(self, length: int | None, start: int) -> bytes | _Broken:
        """Take an event, if all of it is there and its length is right."""
        source = self.source
        if length is None:
            return self._event_line(start)
        if length > MAX_RECORD:
            shown, first = source.look(_SHOWN), source.line()
            if first and _unreadable(first) is None:
                source.step_line()
                return self._lose(shown, self._wrong(length, "event"), start)
            gone = source.step(length)
            if gone < length:
                return self._problem(shown, self._cut(length, gone, "event"), start)
            if not source.step_break():
                return self._lose(shown, self._wrong(length, "event"), start)
            return self._problem(shown, TOO_LONG, start)
        found = source.look(length + 2)
        payload, after = found[:length], found[length:]
        problem = None
        if len(payload) < length:
            problem = self._cut(length, len(payload), "event")
        elif after and not after.startswith((b"\n", b"\r\n")):
            problem = self._wrong(length, "event")
        else:
            problem = _unreadable(payload)
            if problem is not None and b"\n" not in payload:
                source.step(length)
                source.step_break()
                return self._problem(payload, problem, start)
        if problem is not None:
            # the payload may reach into the items that follow: they are looked for from its second line on
            source.step_line()
            return self._lose(payload, problem, start)
        source.step(length)
        source.step_break()
        return self._line(payload)

    def _event_line(self, start: int) -> bytes | _Broken:
        source = self.source
        payload = source.line()
        if payload is None:
            shown = source.look(_SHOWN)
            source.step_line()
            return self._problem(shown, TOO_LONG, start)
        source.step(len(payload))
        cut = source.ends()
        source.step_break()
        problem = _unreadable(payload)
        if problem is None:
            return self._line(payload)
        return self._problem(payload, "the file ends inside an event: it is cut off" if cut else problem, start)

    def _line(self, payload: bytes) -> bytes:
        # it is JSON: a line break in it stands between tokens, as a blank may
        return b"[" + payload.replace(b"\n", b" ") + self.envelope


def records(stream: Iterator[bytes]) -> Iterator[Piece]:
    r"""Bring the items of envelopes to one line each, numbered as they come; what cannot be read is a problem.

    >>> sent = b'{"dsn":"https://key@host/42"}\n{"type":"event"}\n{"message":"full"}\n{"type":"session"}\n{}\n'
    >>> for piece in records(iter([sent])):
    ...     print(piece.first, piece.text.decode())
    1 [{"message":"full"},"item of an envelope", "42", null]
    ["session", "item of an envelope"]
    """
    lines: list[bytes] = []
    size, first = 0, 1
    for item in _Envelopes(stream).items():
        if isinstance(item, bytes):
            lines.append(item)
            size += len(item)
        if lines and (isinstance(item, _Broken) or size >= _BLOCK or len(lines) >= _MANY):
            yield Piece(b"\n".join(lines), first)
            first += len(lines)
            lines, size = [], 0
        if isinstance(item, _Broken):
            yield Piece(item.shown, first, item.problem)
            first += 1
    if lines:
        yield Piece(b"\n".join(lines), first)


def _knows(record: Any) -> bool:
    return isinstance(record, list) and len(record) in (2, 4) and record[1] == _MARK


def _open(record: Any, stem: str) -> Iterator[Row]:
    if len(record) == 2:
        yield ignored(record[0])
        return
    event, _, project_id, event_id = record
    if isinstance(event, dict):
        yield event_row(event, project_id=project_id, event_id=event_id)
    else:
        yield refused("occurrences", "an event that is no JSON object", event)


FORMAT: Final = Format("envelopes", _knows, open=_open, note=NOTE)
