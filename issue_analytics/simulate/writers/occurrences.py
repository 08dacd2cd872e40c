"""Occurrence records: one JSON object per line, as the tracker stores them and as the topic ``ingest-occurrences`` has.

Carries every occurrence of every group, whatever its type, and with ``group_id`` (which the tracker's own record lacks)
all columns of the contract ``Occurrences``. Carries no status change.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import polars as pl

from issue_analytics.frames import KEY
from issue_analytics.simulate.writers.lines import pack, parts

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["stored", "write"]


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``occurrences-000.jsonl.gz`` …, in the order of time, 200,000 records to a file."""
    record = pl.struct(*stored(), payload_type=pl.lit("occurrence"), group_id="group_id")
    records = sim.groups.select(*KEY, rest=record.struct.json_encode().str.slice(1))
    for number, part in parts(sim.occurrences):
        yield f"occurrences-{number:03}.jsonl.gz", pack(_lines(part, records))


def stored() -> list[pl.Expr]:
    """What the stored records of a group's occurrences have in common, from the group's columns."""
    return [
        pl.col("project_id"),
        pl.col("fingerprint"),
        pl.col("title").alias("issue_title"),
        pl.col("subtitle"),
        pl.lit(None, dtype=pl.String).alias("resource_id"),
        pl.struct(detector=pl.col("issue_type"), transaction=pl.col("culprit")).alias("evidence_data"),
        pl.concat_list(
            pl.struct(name=pl.lit("Transaction"), value=pl.col("culprit"), important=pl.lit(value=True)),
            pl.struct(name=pl.lit("Detector"), value=pl.col("issue_type"), important=pl.lit(value=False)),
        ).alias("evidence_display"),
        pl.col("type"),
        pl.col("level"),
        pl.col("culprit"),
        pl.col("initial_priority").alias("initial_issue_priority"),
        pl.lit(None, dtype=pl.String).alias("assignee"),
    ]


def _lines(occurrences: pl.DataFrame, records: pl.DataFrame) -> pl.Series:
    milliseconds = pl.col("detected_at").dt.epoch("ms")
    return (
        occurrences.join(records, on=KEY, how="left", maintain_order="left")
        .select(
            line=pl.concat_str(
                pl.lit('{"id":"'),
                "occurrence_id",
                pl.lit('","event_id":"'),
                "event_id",
                pl.lit('","detection_time":'),
                milliseconds // 1000,
                pl.lit("."),
                (milliseconds % 1000).cast(pl.String).str.zfill(3),
                pl.lit(","),
                "rest",
            )
        )
        .to_series()
    )
