"""The planted escalations as a plain table in the columns of the contract ``Escalations``: as CSV and as Parquet.

Carries what ``planted.csv`` does. The two files say the same.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from issue_analytics.simulate.writers.lines import tables

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["write"]


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``escalations-000.csv`` … and ``escalations-000.parquet`` …, 200,000 rows to a file."""
    yield from tables("escalations", sim.escalations, "%Y-%m-%dT%H:%M:%SZ")
