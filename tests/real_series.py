"""Real series with experts' labels, where they lie beside this checkout: they are never part of the repository."""

from pathlib import Path

import polars as pl
import pytest

REAL = Path(__file__).parents[2] / "shared" / "data" / "real"
PROJECT = pl.lit(1, dtype=pl.Int64).alias("project_id")

needs_real = pytest.mark.skipif(not REAL.exists(), reason="the real data are not beside this checkout")


def real_series():
    """Counts of the series that are counts, or rates on a scale of counts; volumes in bytes are none."""
    kept = pl.read_parquet(REAL / "series.parquet").filter(pl.col("tier").is_in(["count", "rate_scaled"]))
    counts = pl.concat([pl.read_parquet(REAL / f"{source}.parquet") for source in ("ms_cloud", "nab")])
    return counts.join(kept, on="group_id", how="semi").select(PROJECT, "group_id", "hour", "count")


def real_labels(series):
    """Labelled windows of these series, of every direction: an alert at a fall is not false."""
    return (
        pl.read_parquet(REAL / "labels.parquet")
        .join(series, on="group_id", how="semi")
        .select(*(PROJECT, "group_id", "direction"), escalated_at="start", ended_at="end", provenance=pl.lit("human"))
    )
