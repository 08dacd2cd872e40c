"""What the writers share: error events, stamps, lines of JSON put out fast, numbered files of a big format."""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import polars as pl

from issue_analytics.frames import KEY

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = [
    "ENVIRONMENT",
    "ERROR",
    "ISO_MICROS",
    "ISO_OFFSET",
    "ORGANIZATION",
    "PLATFORM",
    "RECEIVED_AFTER_MS",
    "RECORDS_PER_FILE",
    "RELEASE",
    "RETENTION_DAYS",
    "about_groups",
    "epoch",
    "errors",
    "pack",
    "parts",
    "received",
    "short_id",
    "tables",
]

ERROR: Final = 1
"""The type of error groups; all others are of the issue platform."""

RECEIVED_AFTER_MS: Final = 250
"""How long after it happened the server got an event, in formats that say so: nothing is late."""

RECORDS_PER_FILE: Final = 200_000

ISO_MICROS: Final = "%Y-%m-%dT%H:%M:%S%.6fZ"
"""The stamps of most of the tracker's own text: microseconds and a Z."""

ISO_OFFSET: Final = "%Y-%m-%dT%H:%M:%S+00:00"
"""The stamps of queries: whole seconds and an offset."""

ORGANIZATION: Final = 1
ENVIRONMENT: Final = "production"
PLATFORM: Final = "python"
RELEASE: Final = "shop@1.4.2"
RETENTION_DAYS: Final = 90


def errors(sim: "Simulation") -> pl.DataFrame:
    """The occurrences of error groups, in the order of time, each as an event of its own.

    An error has no occurrence apart from its event: the id of its occurrence serves as ``event_id``, which so is
    unique. Formats of events and of occurrence records then tell of the same occurrences, and read together they count
    once.
    """
    return sim.occurrences.filter(type=ERROR).with_columns(event_id="occurrence_id")


def about_groups(rows: pl.DataFrame, groups: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Add columns of the rows' groups; the order of the rows stays."""
    return rows.join(groups.select(*KEY, *columns), on=KEY, how="left", maintain_order="left")


def received(column: str = "detected_at") -> pl.Expr:
    """When the server got it."""
    return pl.col(column) + pl.duration(milliseconds=RECEIVED_AFTER_MS)


def epoch(moment: pl.Expr) -> pl.Expr:
    """A moment as seconds since 1970 with milliseconds as their fraction.

    >>> from datetime import UTC, datetime
    >>> frame = pl.DataFrame({"at": [datetime(2026, 1, 5, 0, 0, 50, 929_000, tzinfo=UTC)]})
    >>> frame.select(epoch(pl.col("at"))).item()
    1767571250.929
    """
    milliseconds = moment.dt.epoch("ms")
    # in two parts: dividing by a constant is done by multiplying, which is off by a last digit now and then
    return milliseconds // 1000 + (milliseconds % 1000) / 1000


def short_id() -> pl.Expr:
    """What people call an issue: its project's slug and a number."""
    return pl.format("PROJECT-{}-{}", "project_id", "group_id")


def pack(lines: pl.Series) -> bytes:
    """Put texts without line breaks, such as JSON objects, one on a line."""
    out = io.BytesIO()
    # the lines are JSON, so no line break is inside; the CSV writer is by far the fastest way to put them out
    lines.to_frame("line").write_csv(out, include_header=False, quote_style="never")
    return out.getvalue()


def parts(frame: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """Cut into numbered parts of 200,000 rows; an empty frame is one empty part.

    >>> [(number, part.height) for number, part in parts(pl.DataFrame({"a": range(450_000)}))]
    [(0, 200000), (1, 200000), (2, 50000)]
    """
    for number in range(max(1, -(-frame.height // RECORDS_PER_FILE))):
        yield number, frame[number * RECORDS_PER_FILE : (number + 1) * RECORDS_PER_FILE]


def tables(name: str, frame: pl.DataFrame, stamp: str) -> Iterator[tuple[str, bytes]]:
    """Yield a frame as CSV files with stamps of this form, and the same again as Parquet."""
    for number, part in parts(frame):
        yield f"{name}-{number:03}.csv", part.write_csv(datetime_format=stamp).encode()
    for number, part in parts(frame):
        out = io.BytesIO()
        part.write_parquet(out)
        yield f"{name}-{number:03}.parquet", out.getvalue()
