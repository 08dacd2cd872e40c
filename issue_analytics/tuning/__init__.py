"""What another setting would have done: exact sweeps, choosing from them, and what of the winner is luck."""

from issue_analytics.tuning.binding import flat_variables
from issue_analytics.tuning.prepared import Prepared, prepare, sweep

__all__ = ["Prepared", "flat_variables", "prepare", "sweep"]
