"""What the writers share: error events, stamps, lines of JSON put out fast, numbered files of a big format."""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["ERROR", "ISO_MICROS", "RECORDS_PER_FILE", "errors", "pack", "parts"]

ERROR: Final = 1
"""The type of error groups; all others are of the issue platform."""

RECORDS_PER_FILE: Final = 200_000

ISO_MICROS: Final = "%Y-%m-%dT%H:%M:%S%.6fZ"
"""The stamps of most of the tracker's own text: microseconds and a Z."""


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


def errors(sim: "Simulation") -> pl.DataFrame:
    """The occurrences of error groups, in the order of time, each as an event of its own.

    An error has no occurrence apart from its event. Where the simulation has several occurrences in one event, the
    first keeps the ``event_id``, and the others have their occurrence's id as theirs: ``event_id`` is unique.
    """
    first = pl.int_range(pl.len()).over("event_id") == 0
    return sim.occurrences.filter(type=ERROR).with_columns(
        event_id=pl.when(first).then("event_id").otherwise("occurrence_id")
    )
