"""Hourly counts as ``events-stats`` gives them: of one issue, and of the top issues with all others as one series.

Carries the ten issues with most occurrences in the 14 days before half past the last hour in which anything occurred.
Silent hours are 0, the hour of the export counts half, and the two hours after the ``end`` are null: not known.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from issue_analytics.frames import KEY
from issue_analytics.simulate.writers.rest import busiest, compact, counts_at, exported_at, start_of_hour, zero_filled

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["DAYS", "TOP", "top_series", "write"]

TOP: Final = 10
"""Issues in an answer about top events; the tracker gives no more."""

DAYS: Final = 14

_META: Final = {
    "fields": {"count": "integer"},
    "units": {"count": None},
    "isMetricsData": False,
    "dataset": "discover",
    "datasetReason": "unchanged",
    "tips": {},
}


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``events_stats/<group id>.json`` of the busiest issue and ``events_stats/top-events.json``."""
    moment = exported_at(sim)
    until = start_of_hour(moment)
    since = until - timedelta(days=DAYS) + timedelta(hours=1)
    after = [[int((until + timedelta(hours=hours)).timestamp()), [{"count": None}]] for hours in (1, 2)]
    top: dict[str, Any] = {}
    for order, (name, series) in enumerate(top_series(counts_at(sim, moment), since, until)):
        top["Other" if name is None else str(name)] = {
            "data": [*([at, [{"count": count}]] for at, count in series), *after],
            "order": order,
            "start": int(since.timestamp()),
            "end": int(moment.timestamp()),
            "isMetricsData": False,
            "meta": _META,
        }
        if order == 0 and name is not None:
            single = {key: value for key, value in top[str(name)].items() if key != "order"}
            yield f"events_stats/{name}.json", compact(single)
    yield "events_stats/top-events.json", compact(top)


def top_series(
    counts: pl.DataFrame, since: datetime, until: datetime
) -> Iterator[tuple[int | None, list[tuple[int, int]]]]:
    """The ten busiest groups, busiest first, then None for all others, each with its points (seconds, count)."""
    inside = counts.filter(pl.col("hour") >= since)
    top = busiest(inside, TOP)
    nobody = pl.lit(0, pl.Int64)
    others = inside.join(top, on=KEY, how="anti").with_columns(project_id=nobody, group_id=nobody)
    rest = pl.DataFrame({name: [0] for name in KEY})
    filled = zero_filled(pl.concat([inside, others]), pl.concat([top, rest]), since, until)
    for (group_id,), series in filled.group_by("group_id", maintain_order=True):
        points = series.select(pl.col("hour").dt.epoch("s"), "count").rows()
        yield (group_id if isinstance(group_id, int) and group_id else None), points
