"""Status changes as a plain table in the columns of the contract ``StatusChanges``: as CSV and as Parquet.

Carries all that the tracker recorded, with the cause of an escalation and the limit in force. The two files say the
same.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from issue_analytics.simulate.writers.lines import ISO_MICROS, tables

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["write"]


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``status_changes-000.csv`` … and ``status_changes-000.parquet`` …, 200,000 rows to a file."""
    yield from tables("status_changes", sim.status_changes, ISO_MICROS)
