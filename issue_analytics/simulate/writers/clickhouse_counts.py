"""Hourly counts as SQL on the ClickHouse tables gives them: JSONEachRow and CSVWithNames; the two say the same.

Carries every hourly count. The hour has the name of the function that made it, ``toStartOfHour(timestamp)``, and no
zone: it is UTC. JSONEachRow has 64-bit integers as text.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["write"]


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``clickhouse_counts-000.jsonl`` and ``clickhouse_counts-000.csv``."""
    rows = sim.hourly_counts.select(
        "project_id",
        "group_id",
        pl.col("hour").dt.strftime("%Y-%m-%d %H:%M:%S").alias("toStartOfHour(timestamp)"),
        pl.col("count").alias("count()"),
    )
    yield "clickhouse_counts-000.jsonl", rows.with_columns(pl.col(pl.Int64).cast(pl.String)).write_ndjson().encode()
    yield "clickhouse_counts-000.csv", rows.write_csv(quote_style="non_numeric").encode()
