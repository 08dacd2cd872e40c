"""Small histories for tests: hourly counts, escalations and exposure of a few groups, from a seed."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

HOUR = timedelta(hours=1)
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
UTC_US = pl.Datetime("us", "UTC")
COUNTS = {"project_id": pl.Int64, "group_id": pl.Int64, "hour": UTC_US, "count": pl.Int64}
ESCALATIONS = {
    "project_id": pl.Int64,
    "group_id": pl.Int64,
    "escalated_at": UTC_US,
    "ended_at": UTC_US,
    "provenance": pl.String,
}
EXPOSURE = {"project_id": pl.Int64, "group_id": pl.Int64, "start": UTC_US, "end": UTC_US}


def random_counts(rng, *, groups=4, hours=500, start=MONDAY, silences=False):
    """Counts with bursts; without ``silences`` silent hours have no row."""
    rows = []
    for group in range(groups):
        rate = 10 ** rng.uniform(-1.5, 1.5)
        born = int(rng.integers(0, hours // 2)) if rng.random() < 0.4 else 0
        counts = rng.poisson(rate, size=hours)
        for _ in range(int(rng.integers(0, 12))):
            at = int(rng.integers(0, hours))
            counts[at : at + int(rng.integers(1, 5))] += int(rng.integers(1, 80))
        rows += [
            (1 + group % 2, 10 + group // 2, start + hour * HOUR, int(counts[hour]))
            for hour in range(born, hours)
            if counts[hour] or silences
        ]
    rng.shuffle(rows)
    return pl.DataFrame(rows, schema=COUNTS, orient="row")


def random_escalations(rng, counts, *, number=6):
    keys = counts.select("project_id", "group_id").unique().sort("project_id", "group_id").rows()
    first, last = counts["hour"].min(), counts["hour"].max()
    rows = {}
    for _ in range(number):
        project, group = keys[int(rng.integers(0, len(keys)))]
        at = first + timedelta(minutes=int(rng.integers(0, (last - first) // timedelta(minutes=1))))
        ends = at + timedelta(minutes=int(rng.integers(1, 1500))) if rng.random() < 0.6 else None
        rows[project, group, at] = (project, group, at, ends, "human")
    return pl.DataFrame(list(rows.values()), schema=ESCALATIONS, orient="row")


def random_exposure(rng, counts):
    keys = counts.select("project_id", "group_id").unique().sort("project_id", "group_id").rows()
    first, last = counts["hour"].min(), counts["hour"].max()
    minutes = (last - first) // timedelta(minutes=1)
    rows = []
    for project, group in keys:
        for _ in range(int(rng.integers(0, 4))):
            start = first + timedelta(minutes=int(rng.integers(0, minutes)))
            end = start + timedelta(minutes=int(rng.integers(1, 9000))) if rng.random() < 0.7 else None
            rows.append((project, group, start, end))
    return pl.DataFrame(rows, schema=EXPOSURE, orient="row")


def slow_limit(window, as_of, day, thresholds, *, sparse):
    """The published formula in floating point, one group and one day: (limit, rule)."""
    busiest = max(window)
    if busiest == 0:
        return None, "none"
    if sparse and min(window) == 0:
        return 10 * busiest, "new"
    mean = np.mean(window)
    deviation = np.std(window, ddof=1)
    bursty = busiest * min(
        max(thresholds.min_bursty_multiplier, 5 * np.exp(-0.65 * deviation / mean)), thresholds.max_bursty_multiplier
    )
    weights = [2 if (as_of - (168 - back) * HOUR).weekday() == day else 1 for back in range(168)]
    factor = min(
        max((mean + thresholds.std_multiplier * deviation) / mean, thresholds.min_spike_multiplier),
        thresholds.max_spike_multiplier,
    )
    spike = np.average(window, weights=weights) + mean * factor
    return int(max(bursty, spike) + 1e-9), "bursty" if bursty >= spike else "spike"
