"""The lifecycle of 10,000 groups over 90 days replayed, against the stateless backtest of the same counts.

Run with ``python benchmarks/replay.py [--rounds 5]``. Every group is archived four times, at random. The panel, against
which memory is held, is 10,000 groups x 2,160 hours of 8 bytes.
"""

import argparse
import tempfile
from datetime import UTC, datetime

import numpy as np
import polars as pl
from paired import one, paired

import issue_analytics as ia

GROUPS, DAYS = 10_000, 90
START = datetime(2026, 1, 5, tzinfo=UTC)
PANEL = GROUPS * DAYS * 24 * 8


def history() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Hourly counts of groups of very different volume, with bursts; every group is archived some time and again."""
    rng = np.random.default_rng(5)
    rate = 10 ** rng.uniform(-2, 1, GROUPS)
    rows = []
    for group in range(GROUPS):
        counts = rng.poisson(rate[group], DAYS * 24)
        for at in rng.integers(0, DAYS * 24, 3):
            counts[at : at + 3] += rng.integers(1, 100)
        hour = np.nonzero(counts)[0]
        rows.append(pl.DataFrame({"group_id": np.full(hour.size, group), "hour": hour, "count": counts[hour]}))
    counts = pl.concat(rows).select(
        project_id=pl.col("group_id") % 20,
        group_id="group_id",
        hour=pl.lit(START) + pl.duration(hours="hour"),
        count="count",
    )
    changes = pl.DataFrame(
        {
            "group_id": np.tile(np.arange(GROUPS), 4),
            "second": rng.integers(0, DAYS * 86_400, 4 * GROUPS),
        }
    ).select(
        project_id=pl.col("group_id") % 20,
        group_id="group_id",
        at=pl.lit(START) + pl.duration(seconds="second"),
        kind=pl.lit("archived_until_escalating"),
        cause=pl.lit(None, dtype=pl.String),
        forecast=pl.lit(None, dtype=pl.Int64),
        source=pl.lit("activity"),
    )
    utc = pl.Datetime("us", "UTC")
    return counts.cast({"hour": utc}), changes.cast({"at": utc})


def work(name: str, folder: str) -> None:
    counts, changes = (pl.read_parquet(f"{folder}/{part}.parquet") for part in ("counts", "changes"))
    one(
        {
            "backtest": lambda: ia.backtest(counts),
            "replay": lambda: ia.replay(counts, changes),
            "a panel": lambda: np.ones(PANEL // 8).sum(),
        }[name]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only")
    parser.add_argument("--folder")
    options = parser.parse_args()
    if options.only:
        work(options.only, options.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        counts, changes = history()
        counts.write_parquet(f"{folder}/counts.parquet")
        changes.write_parquet(f"{folder}/changes.parquet")
        print(f"{GROUPS:,} groups x {DAYS} days, {counts.height:,} counts; medians of {options.rounds} rounds")
        runs = paired(__file__, ["backtest", "replay", "a panel"], options.rounds, "--folder", folder)
    # what a process with the same input and nothing but one panel takes
    base = max(run["peak"] for run in runs["a panel"]) - PANEL
    for name in ("backtest", "replay"):
        more = max(run["peak"] for run in runs[name]) - base
        print(f"  {name:9} works in {more / PANEL:.1f} times the panel of {PANEL / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
