"""Hourly counts as ``events-timeseries`` gives them: stamps in milliseconds, incomplete buckets marked as such.

Carries the ten issues with most occurrences in the 14 days before half past the last hour in which anything occurred,
and all others as one series that names no issue.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from issue_analytics.simulate.writers.events_stats import DAYS, top_series
from issue_analytics.simulate.writers.rest import compact, counts_at, exported_at, start_of_hour

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["write"]

_HOUR_MS: Final = 3_600_000


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``events-timeseries.json``."""
    moment = exported_at(sim)
    until = start_of_hour(moment)
    since = until - timedelta(days=DAYS) + timedelta(hours=1)
    last = int(until.timestamp())
    answer = {
        "timeSeries": [
            {
                "values": [{"timestamp": at * 1000, "value": count, "incomplete": at == last} for at, count in series],
                "yAxis": "count()",
                "groupBy": None if name is None else [{"key": "issue.id", "value": str(name)}],
                "meta": {
                    "valueType": "integer",
                    "valueUnit": None,
                    "interval": _HOUR_MS,
                    "order": order,
                    "isOther": name is None,
                },
            }
            for order, (name, series) in enumerate(top_series(counts_at(sim, moment), since, until))
        ],
        "meta": {
            "dataset": "discover",
            "start": int(since.timestamp()) * 1000,
            "end": int(moment.timestamp()) * 1000,
        },
    }
    yield "events-timeseries.json", compact(answer)
