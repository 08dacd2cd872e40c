"""Hourly counts as a plain table in the columns of the contract ``HourlyCounts``: as CSV and as Parquet.

Carries every hour in which a group occurred; silent hours have no row. The two files say the same.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from issue_analytics.simulate.writers.lines import tables

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["write"]


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``hourly_counts-000.csv`` … and ``hourly_counts-000.parquet`` …, 200,000 rows to a file."""
    yield from tables("hourly_counts", sim.hourly_counts, "%Y-%m-%dT%H:%M:%SZ")
