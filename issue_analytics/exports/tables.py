"""CSV and Parquet to raw columns, in batches of rows; cells stay as they are, and are judged later."""

import csv
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from issue_analytics.errors import ExportError
from issue_analytics.exports.jsonlines import Batch, Wanted, rename
from issue_analytics.exports.lines import BLOCK, MAX_RECORD
from issue_analytics.exports.sniff import ALIASES

__all__ = ["csv_batches", "parquet_batches", "parquet_fields"]

ROWS: Final = 1_000_000


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


def _batch(frame: pl.DataFrame, wanted: Wanted, broken: Sequence[tuple[int, str, str | None]] = ()) -> Batch:
    known = {wanted.columns.get(name, name) if wanted.columns else name for name in ALIASES[wanted.kind]}
    known |= {alias for aliases in ALIASES[wanted.kind].values() for alias in aliases} | {"row", "payload_type"}
    small = frame.select(name for name in frame.columns if name in known)
    return Batch([(wanted.kind, rename(small, wanted.kind, wanted.columns))], broken, _texts(small))


def _row_blocks(stream: Iterator[bytes], block: int = BLOCK) -> Iterator[bytes]:
    """Cut CSV text after whole rows: at a line break with an even number of quotes before it."""
    held: list[bytes] = []
    size = quotes = 0
    for chunk in stream:
        held.append(chunk)
        size += len(chunk)
        if size < block:
            continue
        text = b"".join(held)
        end = text.rfind(b"\n")
        quotes = text.count(b'"', 0, max(end, 0))
        while end >= 0 and quotes % 2:
            before = text.rfind(b"\n", 0, end)
            quotes -= text.count(b'"', max(before, 0), end)
            end = before
        if end < 0:
            if size > block + 2 * MAX_RECORD:
                # a quote that is never closed: give what there is, row by row it will be told
                yield text
                held, size = [], 0
            else:
                held = [text]
            continue
        yield text[: end + 1]
        held = [text[end + 1 :]]
        size = len(held[0])
    if rest := b"".join(held):
        yield rest


def _csv_slow(
    text: bytes, names: Sequence[str], separator: str, first: int
) -> tuple[pl.DataFrame, list[tuple[int, str, str | None]], int]:
    rows: list[list[str | None]] = []
    numbers: list[int] = []
    broken: list[tuple[int, str, str | None]] = []
    width = len(names)
    number = first - 1
    reader = csv.reader(io.StringIO(text.decode("utf-8", "surrogateescape"), newline=""), delimiter=separator)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            number += 1
            broken.append((number, f"not CSV: {error}", None))
            continue
        if cells is None:
            break
        if not cells:
            continue  # a blank line is no row
        number += 1
        shown = separator.join(cells)[:4_000]
        try:
            shown.encode() if len(shown) < 4_000 else separator.join(cells).encode()
        except UnicodeEncodeError:
            shown = shown.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            broken.append((number, "not UTF-8 text", shown))
            continue
        if len(cells) > width:
            broken.append((number, f"{len(cells)} cells where the header has {width}", shown))
            continue
        numbers.append(number)
        rows.append([cell or None for cell in cells] + [None] * (width - len(cells)))
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    return frame.insert_column(0, pl.Series("row", numbers, dtype=pl.Int64)), broken, number + 1


def _csv_fast(text: bytes, names: Sequence[str], separator: str, first: int) -> pl.DataFrame | None:
    if b"\n\n" in text or b"\r" in text.replace(b"\r\n", b"") or b"\n\r\n" in text or text[:1] in b"\r\n":
        return None  # blank lines and bare carriage returns: readers differ about them
    try:
        frame = pl.read_csv(
            text, has_header=False, schema=dict.fromkeys(names, pl.String), separator=separator, infer_schema=False
        )  # fmt: skip
    except (pl.exceptions.PolarsError, UnicodeDecodeError):
        return None
    if b'"' not in text and frame.height != text.count(b"\n") + (not text.endswith(b"\n")):
        return None
    frame = frame.with_columns(pl.all().replace("", None))
    return frame.with_row_index("row", offset=first).with_columns(pl.col("row").cast(pl.Int64))


def csv_batches(
    stream: Iterator[bytes], names: Sequence[str], separator: str, wanted: Wanted, *, fast: bool = True
) -> Iterator[Batch]:
    """Read the rows of a CSV stream that begins with its header; rows are numbered from 1 after it.

    A row with too few cells is filled with nulls, one with too many is broken.
    """
    first = 1
    headed = False
    for block in _row_blocks(stream):
        text = block
        if not headed:
            text, headed = block.split(b"\n", 1)[1] if b"\n" in block else b"", True
        if not text.strip():
            continue
        frame = _csv_fast(text, names, separator, first) if fast else None
        broken: list[tuple[int, str, str | None]] = []
        if frame is None:
            frame, broken, first = _csv_slow(text, names, separator, first)
        else:
            first += frame.height
        yield _batch(frame, wanted, broken)


def _damaged(name: object, error: Exception) -> ExportError:
    return ExportError(f"{name}: damaged or truncated Parquet ({str(error).splitlines()[0][:200]}); export it again.")


def parquet_fields(path: Path, name: object) -> dict[str, pl.DataType]:
    """The columns of a Parquet file.

    Raises:
        ExportError: the file is damaged.
    """
    try:
        return dict(pl.read_parquet_schema(path))
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise _damaged(name, error) from None


def parquet_batches(path: Path, name: object, fields: Mapping[str, pl.DataType], wanted: Wanted) -> Iterator[Batch]:
    """Read the rows of a Parquet file, the columns that matter only; rows are numbered from 1.

    Raises:
        ExportError: the file is damaged.
    """
    known = {wanted.columns.get(ours, ours) if wanted.columns else ours for ours in ALIASES[wanted.kind]}
    if wanted.columns is None:
        known |= {alias for aliases in ALIASES[wanted.kind].values() for alias in aliases} | {"payload_type", "event"}
    chosen = [field for field in fields if field in known]
    first = 1
    try:
        for frame in (
            pl.scan_parquet(path, glob=False).select(chosen).collect_batches(chunk_size=ROWS, maintain_order=True)
        ):
            if not frame.height:
                continue
            numbers = pl.int_range(first, first + frame.height, dtype=pl.Int64, eager=True).alias("row")
            yield _batch(frame.insert_column(0, numbers), wanted)
            first += frame.height
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        if isinstance(error, ExportError):
            raise
        raise _damaged(name, error) from None


def spooled(stream: Iterator[bytes]) -> Path:
    """Write an unpacked Parquet stream to a temporary file, since Parquet is read from its end; remove it after use."""
    with tempfile.NamedTemporaryFile(suffix=".parquet", delete=False) as file:
        for chunk in stream:
            file.write(chunk)
    return Path(file.name)
