"""Bytes to JSON records, one to a line, in blocks of bounded size: JSON lines, arrays, and documents over many lines.

Whatever the file looked like, what comes out is text with one record per line and the number of its first record, so
that one parser serves all. A record past 16 MiB is not kept in memory: it comes out as a problem with its beginning.
"""

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["BLOCK", "MAX_RECORD", "TOO_LONG", "Piece", "documents", "pieces"]

BLOCK: Final = 2**24
"""Requests of 32 MiB and more are new pages from the system each time, which cost more than the copy."""

MAX_RECORD: Final = 2**24

_SLICE: Final = 2**20
"""Bytes looked at in one go: what is computed of all of a block are new pages, which cost more than the looking."""

_SHOWN: Final = 1_000
_MANY: Final = 2**18
"""Elements of an array in one block, however short: each may become a reject."""


@dataclass(frozen=True)
class Piece:
    """Records, one to each line of ``text``, from number ``first`` on; or one record that cannot be read, and why."""

    text: bytes
    first: int
    problem: str | None = None

    @cached_property
    def _marks(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        data = np.frombuffer(self.text, np.uint8)
        found = [np.zeros(0, np.intp)]
        for start in range(0, data.size, _SLICE):
            part = data[start : start + _SLICE]
            either = part == ord("\n")
            either |= part == ord("\\")
            found.append(np.flatnonzero(either) + start)
        places = np.concatenate(found)
        ends = data[places] == ord("\n")
        return places[ends], places[~ends]

    @property
    def breaks(self) -> npt.NDArray[np.intp]:
        """Where lines end."""
        return self._marks[0]

    @property
    def backslashes(self) -> npt.NDArray[np.intp]:
        """Where backslashes stand."""
        return self._marks[1]

    @property
    def lines(self) -> int:
        """Lines of the text, blank ones counted."""
        return self.breaks.size + 1

    def line(self, number: int) -> bytes:
        """A line, by its number from 0."""
        start = int(self.breaks[number - 1]) + 1 if number else 0
        return self.text[start : int(self.breaks[number]) if number < self.breaks.size else len(self.text)]


TOO_LONG: Final = f"longer than {MAX_RECORD // 2**20} MiB; a record of that size is refused"


def pieces(stream: Iterator[bytes], *, block: int = BLOCK, longest: int = MAX_RECORD) -> Iterator[Piece]:
    r"""Cut JSON lines into blocks of whole lines; numbers are line numbers, blank lines counted.

    >>> [(piece.text, piece.first) for piece in pieces(iter([b"{}\n{", b"}"]), block=1)]
    [(b'{}', 1), (b'{}', 2)]
    """
    held: list[bytes] = []  # whole lines, then the open one
    size = open_size = 0
    first = 1
    skipping = False
    for received in stream:
        chunk = received
        end = chunk.find(b"\n")
        if skipping:
            if end < 0:
                continue
            chunk, skipping = chunk[end + 1 :], False
            first += 1
            end = chunk.find(b"\n")
        if open_size + (end if end >= 0 else len(chunk)) > longest:
            text = b"".join([*held, chunk])
            start = size - open_size
            if start:
                done = Piece(text[: start - 1], first)
                yield done
                first += done.lines
            yield Piece(text[start : start + _SHOWN], first, TOO_LONG)
            held, size, open_size = [], 0, 0
            if end < 0:
                skipping = True
                continue
            chunk = chunk[end + 1 :]
            first += 1
        last = chunk.rfind(b"\n")
        size += len(chunk)
        open_size = len(chunk) - last - 1 if last >= 0 else open_size + len(chunk)
        if size >= block and last >= 0:
            done = Piece(b"".join([*held, memoryview(chunk)[:last]]), first)  # every byte is copied once
            yield done
            first += done.lines
            held, size = [chunk[last + 1 :]], open_size
        else:
            held.append(chunk)
            if size >= block and open_size < size:  # the last line end lies in an earlier chunk
                text = b"".join(held)
                done = Piece(text[: size - open_size - 1], first)
                yield done
                first += done.lines
                held, size = [text[size - open_size :]], open_size
    if rest := b"".join(held):
        yield Piece(rest.removesuffix(b"\n"), first)


def documents(
    stream: Iterator[bytes], *, array: bool, block: int = BLOCK, longest: int = MAX_RECORD
) -> Iterator[Piece]:
    r"""Bring the elements of one JSON array, or JSON values written one after the other, to one line each.

    Numbers are running numbers of the records. Where the text stops being JSON, one last piece says so.

    >>> [piece.text for piece in documents(iter([b'[{"a": 1},', b' {"a":', b' 2}]']), array=True)]
    [b'{"a": 1}\n{"a": 2}']
    """
    decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
    value_at = json.JSONDecoder().raw_decode
    text, place, ended = "", 0, False
    wanted = 1
    lines: list[bytes] = []
    size, first = 0, 1
    opened = not array

    def more() -> None:
        nonlocal text, place, ended, wanted
        parts = [text[place:]]
        got = 0
        for chunk in stream:
            parts.append(decode(chunk))
            got += len(chunk)
            if got >= wanted:
                break
        else:
            parts.append(decode(b"", final=True))
            ended = True
        text, place = "".join(parts), 0

    def skip(marks: str) -> None:
        nonlocal place
        while True:
            while place < len(text) and text[place] in marks:
                place += 1
            if place < len(text) or ended:
                return
            more()

    problem = None
    while True:
        skip(" \t\r\n" if not opened else " \t\r\n,")
        if place >= len(text):
            problem = "the array is not closed: the file is cut off" if array else None
            break
        if not opened:
            place, opened = place + 1, True
            continue
        if array and text[place] == "]":
            place += 1
            skip(" \t\r\n")
            if place < len(text):
                problem = "more text after the end of the array"
            break
        try:
            _, end = value_at(text, place)
            if end == len(text) and not ended:  # a number may go on in the next chunk
                more()
                continue
        except RecursionError:
            problem = "nested too deeply"
            break
        except ValueError as error:
            if not ended and len(text) - place <= longest:
                wanted = max(1, len(text) - place)  # twice as much each time: a long record is not parsed in squares
                more()
                continue
            too_long = len(text) - place > longest
            problem = TOO_LONG if too_long else f"not JSON: {error}"
            break
        wanted = 1
        # a raw line break cannot stand inside a JSON string: between tokens it is a blank
        lines.append(text[place:end].encode("utf-8", "surrogateescape").replace(b"\n", b" ").replace(b"\r", b" "))
        place = end
        size += len(lines[-1]) + 1
        if size >= block or len(lines) >= _MANY:
            yield Piece(b"\n".join(lines), first)
            first += len(lines)
            lines, size = [], 0
    if lines:
        yield Piece(b"\n".join(lines), first)
        first += len(lines)
    if problem is not None:
        shown = text[place : place + _SHOWN].encode("utf-8", "replace")
        yield Piece(shown, first, f"{problem}; nothing after this record could be read")
