"""What people save from Discover and Explore: CSV of events, CSV of hourly counts, and JSON lines with older names.

Carries the error groups, which is what Discover sees. ``discover-events-000.csv.gz`` …: a row is an event, ``id`` is
that of :func:`~issue_analytics.simulate.writers.lines.errors`, ``timestamp`` is cut to the second.
``discover-hourly-000.csv`` …: a row is a group and an hour in which it occurred, the count in a column ``count()``.
``discover-alias-000.jsonl`` …: the same rows with ``timestamp_to_hour`` and ``count``, as functions were called in
older exports.

Cells of the CSV files that a spreadsheet would run have an apostrophe in front: those that begin with ``=``, ``+``,
``-``, ``@``, a tab or a carriage return.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import polars as pl

from issue_analytics.frames import KEY
from issue_analytics.simulate.writers.lines import ISO_OFFSET, about_groups, errors, pack, parts, short_id

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["write"]


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield the files of events, then those of counts, then those with older names; 200,000 rows to a file."""
    for number, part in parts(errors(sim)):
        yield f"discover-events-{number:03}.csv.gz", _csv(_events(about_groups(part, sim.groups, "culprit")))
    hours = errors(sim).select(KEY).unique().join(sim.hourly_counts, on=KEY).sort(*KEY, "hour")
    named = hours.select(
        pl.col("group_id").alias("issue.id"),
        pl.col("project_id").alias("project.id"),
        pl.col("hour").dt.strftime(ISO_OFFSET).alias("timestamp.to_hour()"),
        pl.col("count").alias("count()"),
    )
    for number, part in parts(named):
        yield f"discover-hourly-{number:03}.csv", _csv(part)
    for number, part in parts(named.rename({"timestamp.to_hour()": "timestamp_to_hour", "count()": "count"})):
        yield f"discover-alias-{number:03}.jsonl", pack(part.to_struct().struct.json_encode())


def _events(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        pl.col("event_id").alias("id"),
        pl.col("detected_at").dt.strftime(ISO_OFFSET).alias("timestamp"),
        pl.col("group_id").alias("issue.id"),
        short_id().alias("issue"),
        "title",
        pl.col("project_id").alias("project.id"),
        pl.format("project-{}", "project_id").alias("project"),
        "level",
        "culprit",
    )


def _csv(frame: pl.DataFrame) -> bytes:
    harmless = frame.with_columns(pl.col(pl.String).str.replace(r"\A([=+\-@\t\r])", "'$1"))
    return harmless.write_csv(line_terminator="\r\n").encode()
