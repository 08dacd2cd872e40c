"""What writers of the REST API share: the moment of the export, counts as of then, busy groups, compact JSON."""

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from issue_analytics.frames import KEY

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["MOST_RECORDS", "busiest", "compact", "counts_at", "exported_at", "recent", "start_of_hour", "zero_filled"]

MOST_RECORDS: Final = 20_000
"""Records of an export that has one for each event: of the last week, the newest."""


def exported_at(sim: "Simulation") -> datetime:
    """When answers of the REST API were given: half past the last hour in which anything occurred.

    Counts stop there, so the last point of a series is partial: an hour of which only half was over. Status, priority
    and activities are those at the end of the simulation.
    """
    frame, name = (sim.hourly_counts, "hour") if sim.hourly_counts.height else (sim.activities, "at")
    last: datetime = frame[name].dt.truncate("1h").sort()[-1]
    return last + timedelta(minutes=30)


def start_of_hour(moment: datetime) -> datetime:
    """The hour that a moment lies in, by its start."""
    return moment.replace(minute=0, second=0, microsecond=0)


def counts_at(sim: "Simulation", moment: datetime) -> pl.DataFrame:
    """Hourly counts as they were at a moment: contract ``HourlyCounts``, silent hours have no row."""
    hour = start_of_hour(moment)
    running = sim.occurrences.filter(pl.col("detected_at").is_between(hour, moment, closed="left"))
    partial = running.group_by(*KEY, hour=pl.col("detected_at").dt.truncate("1h")).agg(count=pl.len().cast(pl.Int64))
    return pl.concat([sim.hourly_counts.filter(pl.col("hour") < hour), partial]).sort(*KEY, "hour")


def zero_filled(
    counts: pl.DataFrame, groups: pl.DataFrame, since: datetime, until: datetime, every: str = "1h"
) -> pl.DataFrame:
    """The counts of each group in every bucket from ``since`` to ``until``, both included, by group and time.

    ``hour`` is the start of a bucket; ``since`` is on the boundary of one.
    """
    buckets = pl.DataFrame(
        {"hour": pl.datetime_range(since, until, every, time_unit="us", time_zone="UTC", eager=True)}
    )
    summed = (
        counts.filter(pl.col("hour") >= since)
        .group_by(*KEY, pl.col("hour").dt.truncate(every))
        .agg(pl.col("count").sum())
    )
    return (
        groups.select(KEY)
        .join(buckets, how="cross", maintain_order="left_right")
        .join(summed, on=[*KEY, "hour"], how="left", maintain_order="left")
        .with_columns(pl.col("count").fill_null(0))
    )


def busiest(counts: pl.DataFrame, most: int) -> pl.DataFrame:
    """The groups with the highest totals, highest first; equal ones by their ids."""
    total = counts.group_by(KEY).agg(pl.col("count").sum())
    return total.sort("count", *KEY, descending=[True, False, False]).head(most).select(KEY)


def recent(occurrences: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    """Occurrences of the week before a moment, the newest 20,000 of them, in the order of time."""
    week = pl.col("detected_at").is_between(moment - timedelta(days=7), moment, closed="left")
    return occurrences.filter(week).tail(MOST_RECORDS)


def compact(value: Any) -> bytes:
    """JSON as the tracker sends it.

    >>> compact({"data": [[1767603600, 3]]})
    b'{"data":[[1767603600,3]]}'
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
