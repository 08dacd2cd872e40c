"""Parquet occurrences to hourly counts, against the bare scan of the same columns, each in a process of its own.

Run with ``python benchmarks/counts.py [--rows 50000000] [--rounds 5]``; 50 million rows take 300 MB of disk.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from paired import one, paired

from issue_analytics.counts import hourly_counts

GROUPS, DAYS, FILES = 20_000, 90, 10
START_US = 1_767_571_200_000_000  # 2026-01-05, a Monday
COLUMNS = ("project_id", "group_id", "detected_at")


def make(folder: Path, rows: int) -> None:
    """Occurrences in the order of time; volumes of groups have a heavy tail, as simulated ones have."""
    rng = np.random.default_rng(0)
    rate = np.minimum((GROUPS / (np.arange(GROUPS) + 0.5)) ** 1.25, 18_000)
    steps = np.cumsum(rate) / rate.sum()
    group = rng.permutation(GROUPS) + 4_000_000_000
    project = rng.integers(1, 51, GROUPS)
    step, part = DAYS * 86_400_000_000 // rows, rows // FILES
    for number in range(FILES):
        which = np.searchsorted(steps, rng.random(part))
        at = START_US + np.arange(number * part, (number + 1) * part) * step + rng.integers(0, step, part)
        pl.DataFrame(
            {
                "project_id": project[which],
                "group_id": group[which],
                "detected_at": pl.Series(at).cast(pl.Datetime("us")),
            }
        ).with_columns(pl.col("detected_at").dt.replace_time_zone("UTC")).write_parquet(folder / f"{number:02}.parquet")


def work(name: str, folder: str) -> None:
    frame = pl.scan_parquet(f"{folder}/*.parquet")
    hour = pl.col("detected_at").dt.truncate("1h").alias("hour")
    plan = {
        "scan": frame.select(pl.max(*COLUMNS)),
        "hourly_counts": hourly_counts(frame),
        "group_by three columns": frame.group_by("project_id", "group_id", hour).agg(count=pl.len()),
    }[name]
    one(plan.collect)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only")
    parser.add_argument("--folder")
    options = parser.parse_args()
    if options.only:
        work(options.only, options.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), options.rows)
        print(f"{options.rows:,} rows, {GROUPS:,} groups, {DAYS} days; medians of {options.rounds} rounds")
        names = ["scan", "hourly_counts", "group_by three columns"]
        paired(__file__, names, options.rounds, "--folder", folder)


if __name__ == "__main__":
    main()
