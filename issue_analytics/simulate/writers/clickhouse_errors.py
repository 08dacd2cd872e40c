"""Rows of the ClickHouse table ``errors``, as Parquet, as JSONEachRow and as CSVWithNames; the three say the same.

Carries every occurrence of every error group as an event of its own (see
:func:`~issue_analytics.simulate.writers.lines.errors`). ``timestamp`` is cut to the second; ``timestamp_ms`` has the
milliseconds, except in the first week: the column is younger than those rows. A few rows stand twice and a few are
deleted: see :func:`~issue_analytics.simulate.writers.clickhouse.as_rows`.

Text has times as ``2026-01-05 09:00:00``, which is UTC; JSONEachRow has 64-bit integers as text; Parquet has times as
stamps and UUIDs as text.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import polars as pl

from issue_analytics.simulate.writers.clickhouse import as_rows, as_table, dashed, seconds, shared
from issue_analytics.simulate.writers.lines import about_groups, errors, received

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["write"]


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``clickhouse_errors-000.parquet`` …, then ``.jsonl.gz``, then ``.csv.gz``; 200,000 rows each."""
    rows = as_rows(about_groups(errors(sim), sim.groups, "culprit", "first_seen")).select(
        timestamp=seconds(pl.col("detected_at")),
        event_id=dashed(pl.col("event_id")),
        **shared(),
        title="title",
        type=pl.lit("error"),
        user=pl.lit(""),
        received=seconds(received()),
        sample_weight=pl.lit(None, dtype=pl.Float64),
    )
    yield from as_table("clickhouse_errors", rows, quote_ids=True, as_numbers=False)
