"""What another setting would have done: exact sweeps, choosing from them, and what of the winner is luck."""

from issue_analytics.tuning.prepared import Prepared, prepare, sweep

__all__ = ["Prepared", "prepare", "sweep"]
