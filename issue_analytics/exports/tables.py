"""CSV and Parquet to raw columns, in batches of rows; cells stay as they are, and are judged later."""

import codecs
import csv
import io
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Final

import polars as pl

from issue_analytics.errors import ExportError
from issue_analytics.exports.files import reason
from issue_analytics.exports.jsonlines import Batch, Wanted, rename
from issue_analytics.exports.lines import MAX_RECORD, TOO_LONG, pieces
from issue_analytics.exports.values import text

__all__ = ["csv_batches", "parquet_batches", "parquet_fields", "spooled"]

ROWS: Final = 2**18
_SLOW_ROWS: Final = 100_000
_SLOW_CELLS: Final = 2**22
"""Rows that are read one by one take much memory: so many at a time. Cells that are missing take as much as others."""

Broken = Sequence[tuple[int, str, str | None]]

# cells of 128 KiB and more are read like others
csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD))


def _texts(frame: pl.DataFrame) -> Callable[[Sequence[int]], list[str | None]]:
    """Rejected table rows are shown as one JSON object of their cells."""

    def texts(numbers: Sequence[int]) -> list[str | None]:
        # numbers of one batch, ascending: one filter finds them all
        chosen = frame.filter(pl.col("row").is_in(list(numbers))).drop("row")
        shown = chosen.select(
            column.bin.encode("hex") if column.dtype == pl.Binary else column for column in chosen.iter_columns()
        )
        return shown.select(pl.struct(pl.all()).struct.json_encode()).to_series().to_list()

    return texts


def _batch(frame: pl.DataFrame, wanted: Wanted, broken: Broken = ()) -> Batch:
    small = frame.select(name for name in frame.columns if name in {*_known(wanted), "row"})
    rows = [(wanted.kind, rename(small, wanted, wanted.kind))]
    adapt = wanted.format.adapt
    if adapt is not None and wanted.columns is None:
        rows = [part for kind, raw in rows for part in adapt(kind, raw)]
    return Batch(rows, broken, _texts(small))


def _known(wanted: Wanted) -> set[str]:
    """Names of the columns that matter, as they stand in the table."""
    fields = wanted.format.fields[wanted.kind]
    ours = {wanted.columns.get(name, name) if wanted.columns else name for name in fields}
    return ours | {alias for aliases in fields.values() for alias in aliases}


def _rows(words: str, separator: str, *, final: bool) -> Iterator[tuple[int, list[str], str | None]]:
    """Each row's end in the text, its cells, and what is wrong with it; a blank line has no cells.

    A quote that is never closed, or that ends before its cell does, spoils the line it stands in and no other: reading
    goes on with the next line. Up to where that showed, rows then end with their lines, or such quotes would take
    squares of time. Where the text is not final, a row that it cuts off is left out.
    """
    file = io.StringIO(words, newline="")
    reader = csv.reader(file, delimiter=separator, strict=True)
    start = alone = 0
    while start < len(words):
        wrong = None
        try:
            if start >= alone:
                cells = next(reader, [])
            elif '"' in (line := file.readline()):
                cells = next(csv.reader([line], delimiter=separator, strict=True))
            else:
                line = line.rstrip("\r\n")
                cells = line.split(separator) if line else []
            if file.tell() - start > MAX_RECORD:
                wrong, alone = TOO_LONG, file.tell()
        except csv.Error as error:
            wrong = "not CSV: a quote is not closed, or closed inside a cell"
            if start >= alone:
                cut_off = str(error) == "unexpected end of data"
                if cut_off and not final and len(words) - start <= MAX_RECORD:
                    return
                alone = len(words) if cut_off else words.rfind("\n", start, file.tell() - 1) + 1
        if wrong is not None:
            file.seek(start)
            cells = [file.readline().rstrip("\r\n")]
        start = file.tell()
        yield start, cells, wrong


def _csv_slow(
    text: str, names: Sequence[str], separator: str, first: int, *, final: bool
) -> Iterator[tuple[pl.DataFrame, Broken, int]]:
    """Rows and broken rows, some at a time, and how far in the text they go."""
    width = len(names)
    number = first
    rows = _rows(text, separator, final=final)
    most = min(_SLOW_ROWS, max(_SLOW_CELLS // width, 1))
    while some := list(islice(rows, most)):
        good: list[list[str | int | None]] = []
        broken: list[tuple[int, str, str | None]] = []
        for _, cells, wrong in some:
            if not cells:
                continue  # a blank line is no row
            whole = separator.join(cells)
            if not whole.isascii():
                shown = whole.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                wrong = wrong if shown == whole else "not UTF-8 text"
                whole = shown
            if wrong is None and len(cells) > width:
                wrong = f"{len(cells)} cells where the header has {width}"
            if wrong is None:
                good.append([number, *(cell or None for cell in cells), *[None] * (width - len(cells))])
            else:
                broken.append((number, wrong, whole[:4_000]))
            number += 1
        schema = {"row": pl.Int64, **dict.fromkeys(names, pl.String)}
        yield pl.DataFrame(good, schema=schema, orient="row"), broken, some[-1][0]


def _without_quoted(text: bytes, separator: str) -> bytes | None:
    """The text with a letter for each quoted cell; None where a quote stands elsewhere."""
    if b'"' not in text:
        return text
    mark = re.escape(separator).encode()
    quoted = rb"(?<![^\n" + mark + rb'])"[^"]*+(?:""[^"]*+)*+"(?=' + mark + rb"|\r?\n|\Z)"
    bare = re.sub(quoted, b"x", text)
    return None if b'"' in bare else bare


def _csv_fast(text: bytes, names: Sequence[str], separator: str, first: int) -> pl.DataFrame | None:
    bare = _without_quoted(text, separator)
    if bare is None or b"\r" in text.replace(b"\r\n", b""):
        return None
    if b"\n\n" in bare or b"\n\r\n" in bare or bare[:1] in b"\r\n" or bare.startswith(codecs.BOM_UTF8):
        return None  # blank lines, bare carriage returns, a mark at the beginning: readers differ about them
    try:
        frame = pl.read_csv(
            text, has_header=False, schema=dict.fromkeys(names, pl.String), separator=separator, infer_schema=False
        )  # fmt: skip
    except (pl.exceptions.PolarsError, UnicodeDecodeError):
        return None
    if frame.height != bare.count(b"\n") + (not bare.endswith(b"\n")):
        return None
    if bare is not text and (frame.select(pl.all().str.len_bytes().max()).max_horizontal() > MAX_RECORD).any():
        return None
    frame = frame.with_columns(pl.all().replace("", None))
    return frame.with_row_index("row", offset=first).with_columns(pl.col("row").cast(pl.Int64))


def csv_batches(
    stream: Iterator[bytes], names: Sequence[str], separator: str, wanted: Wanted, *, fast: bool = True
) -> Iterator[Batch]:
    """Read the rows of a CSV stream that begins with its header; rows are numbered from 1 after it.

    A row with too few cells is filled with nulls, one with too many is broken. Every line that is not blank is a row,
    is part of one, or is broken.
    """
    number = 1
    held = b""  # a row whose end is not there yet
    headed = False
    for piece in chain(pieces(stream), [None]):
        final = piece is None or piece.problem is not None
        text = held
        if piece is not None and not final:
            text += (piece.text if headed else piece.text.partition(b"\n")[2]) + b"\n"
            headed = True
        end = len(text)
        if not final and text.count(b'"') % 2:
            end = text.rfind(b"\n", 0, text.rfind(b'"')) + 1
        frame = _csv_fast(text[:end], names, separator, number) if fast and len(text) - end <= MAX_RECORD else None
        if frame is not None:
            held = text[end:]
            yield _batch(frame, wanted)
            number += frame.height
        elif text.strip():
            words = text.decode("utf-8", "surrogateescape")
            done = 0
            for some, broken, place in _csv_slow(words, names, separator, number, final=final):
                yield _batch(some, wanted, broken)
                number, done = number + some.height + len(broken), place
            held = words[done:].encode("utf-8", "surrogateescape")
        else:
            held = b""
        if piece is not None and piece.problem is not None:
            none = pl.DataFrame(schema={"row": pl.Int64, **dict.fromkeys(names, pl.String)})
            yield _batch(none, wanted, [(number, piece.problem, piece.text.decode("utf-8", "replace"))])
            number += 1


def _damaged(name: object, error: Exception) -> ExportError:
    return ExportError(f"{name}: damaged or truncated Parquet ({str(error).splitlines()[0][:200]}); export it again.")


def parquet_fields(path: Path, name: object) -> dict[str, pl.DataType]:
    """The columns of a Parquet file.

    Raises:
        ExportError: the file is damaged.
    """
    try:
        return dict(pl.scan_parquet(path, glob=False).collect_schema())
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise _damaged(name, error) from None


def parquet_batches(path: Path, name: object, fields: Mapping[str, pl.DataType], wanted: Wanted) -> Iterator[Batch]:
    """Read the rows of a Parquet file, the columns that matter only; rows are numbered from 1.

    Raises:
        ExportError: the file is damaged.
    """
    known = _known(wanted) | ({"event"} if wanted.columns is None else set())
    chosen = [field for field in fields if field in known]
    first = 1
    try:
        for frame in (
            pl.scan_parquet(path, glob=False).select(chosen).collect_batches(chunk_size=ROWS, maintain_order=True)
        ):
            if not frame.height:
                continue
            numbers = pl.int_range(first, first + frame.height, dtype=pl.Int64, eager=True).alias("row")
            # lists of text may be fingerprints; what else is nested is shown and judged as text
            odd = [column for column in frame if column.dtype.is_nested() and column.dtype != pl.List(pl.String)]
            yield _batch(
                frame.with_columns(text(column).alias(column.name) for column in odd).insert_column(0, numbers), wanted
            )
            first += frame.height
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        if isinstance(error, ExportError):
            raise
        raise _damaged(name, error) from None


def spooled(stream: Iterator[bytes], name: object) -> Path:
    """Write an unpacked Parquet stream to a temporary file, since Parquet is read from its end; remove it after use."""
    with tempfile.NamedTemporaryFile(suffix=".parquet", delete=False) as file:
        path = Path(file.name)
        try:
            for chunk in stream:
                file.write(chunk)
        except BaseException as error:
            path.unlink()
            if isinstance(error, OSError):
                raise ExportError(f"{name}: no room to unpack it ({reason(error)}); unpack it yourself.") from None
            raise
    return path
