"""Rows of the ClickHouse table ``search_issues``, as Parquet, as JSONEachRow and as CSVWithNames; all say the same.

Carries every occurrence of every group that is no error group. ``client_timestamp``, ``detection_timestamp`` and
``receive_timestamp`` are cut to the second; ``timestamp_ms`` has the milliseconds, except in the first week: the column
is younger than those rows. A few rows stand twice and a few are deleted: see
:func:`~issue_analytics.simulate.writers.clickhouse.as_rows`.

Text has times as ``2026-01-05 09:00:00``, which is UTC; JSONEachRow has 64-bit integers as numbers; Parquet is as older
servers wrote it, with times in whole seconds as numbers since 1970, and has UUIDs as text.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import polars as pl

from issue_analytics.simulate.writers.clickhouse import as_rows, as_table, dashed, seconds, shared
from issue_analytics.simulate.writers.lines import ERROR, ORGANIZATION, about_groups, received

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["write"]


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``clickhouse_search_issues-000.parquet`` …, then ``.jsonl.gz``, then ``.csv.gz``; 200,000 rows each."""
    occurrences = sim.occurrences.filter(pl.col("type") != ERROR)
    rows = as_rows(about_groups(occurrences, sim.groups, "subtitle", "culprit", "first_seen")).select(
        organization_id=pl.lit(ORGANIZATION, dtype=pl.UInt64),
        client_timestamp=seconds(pl.col("detected_at")),
        occurrence_id=dashed(pl.col("occurrence_id")),
        event_id=dashed(pl.col("event_id")),
        occurrence_type_id=pl.col("type").cast(pl.UInt16),
        **shared(),
        fingerprint="fingerprint",
        search_title="title",
        subtitle="subtitle",
        resource_id=pl.lit(None, dtype=pl.String),
        detection_timestamp=seconds(pl.col("detected_at")),
        receive_timestamp=seconds(received()),
        transaction_duration=pl.lit(0, dtype=pl.UInt32),
    )
    yield from as_table("clickhouse_search_issues", rows, quote_ids=False, as_numbers=True)
