"""Limits of 10,000 groups at once against the one-group loop, on one core, in one run.

Run with ``python benchmarks/kernel.py``.
Prints medians and the ratio. Both give the same 14 daily limits per group, which is checked first.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from issue_analytics.counts import Panel
from issue_analytics.formula import generate_issue_forecast
from issue_analytics.kernel import limits_on

GROUPS, LOOP_GROUPS, REPEATS, DAYS = 10_000, 200, 9, 14
KERNEL_CALLS = 20  # so that both halves of a pair take about as long
START = datetime(2026, 1, 5, tzinfo=UTC)
AS_OF = START + timedelta(days=7)


def seconds(call: Callable[[], object], times: int = 1) -> float:
    """Processor time of a call: what others take of the core meanwhile does not count."""
    began = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - began) / times


def main() -> None:
    counts = np.asfortranarray(np.random.default_rng(0).negative_binomial(1, 0.1, size=(GROUPS, 168)), dtype=np.int64)
    keys = pl.DataFrame({"project_id": np.ones(GROUPS, dtype=np.int64), "group_id": np.arange(GROUPS)})
    panel = Panel(keys, START, counts, np.zeros(GROUPS, dtype=np.int64))
    stamps = [(START + timedelta(hours=hour)).isoformat() for hour in range(168)]
    histories = [{"intervals": stamps, "data": row} for row in counts[:LOOP_GROUPS].tolist()]

    def kernel() -> np.ndarray:
        return limits_on(panel, [AS_OF], buckets="dense", days=DAYS)[0]

    def loop() -> list[list[int]]:
        forecasts = [generate_issue_forecast(history, AS_OF, days=DAYS) for history in histories]
        return [[int(day["forecasted_value"]) for day in forecast] for forecast in forecasts]

    assert kernel()[:LOOP_GROUPS, 0].tolist() == loop(), "the two do not agree"
    pairs = [
        (
            seconds(loop) / LOOP_GROUPS,
            seconds(kernel, KERNEL_CALLS) / GROUPS,
            seconds(panel.counts.sum, KERNEL_CALLS) / GROUPS,
        )
        for _ in range(REPEATS)
    ]
    one, many, read = (statistics.median(column) * 1e6 for column in zip(*pairs, strict=True))
    ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
    print(f"{GROUPS:,} groups x {DAYS} days, dense, one core; medians of {REPEATS} interleaved runs")
    print(f"  one-group loop, exact      {one:10.2f} microseconds per group ({LOOP_GROUPS} groups)")
    print(f"  kernel                     {many:10.2f} microseconds per group")
    print(f"  one pass over the counts   {read:10.2f} microseconds per group")
    print(f"  loop / kernel              {ratio:10,.0f}")
    print(f"  kernel / pass              {many / read:10.1f}")


if __name__ == "__main__":
    main()
