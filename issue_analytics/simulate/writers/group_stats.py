"""The hourly counts of one issue: a list of points ``[seconds, count]`` that names neither issue nor project.

Carries the 20 issues with most occurrences, from the day of the first occurrence of all to half past the last hour in
which anything occurred: silent hours are 0, the last point counts half an hour.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import polars as pl

from issue_analytics.simulate.writers.rest import busiest, compact, counts_at, exported_at, start_of_hour, zero_filled

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["write"]

ISSUES: Final = 20


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``group_stats/<group id>.json``."""
    moment = exported_at(sim)
    counts = counts_at(sim, moment)
    if counts.is_empty():
        return
    since = counts["hour"].dt.truncate("1d").sort()[0]
    groups = busiest(counts, ISSUES)
    filled = zero_filled(counts, groups, since, start_of_hour(moment))
    for (group_id,), series in filled.group_by("group_id", maintain_order=True):
        points = series.select(pl.col("hour").dt.epoch("s"), "count").rows()
        yield f"group_stats/{group_id}.json", compact(points)
