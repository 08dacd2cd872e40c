"""What another setting would have done: exact sweeps, choosing from them, and what of the winner is luck."""

from issue_analytics.tuning.binding import flat_variables
from issue_analytics.tuning.choosing import Choice, best_setting, choose, cost_curve, pareto_front
from issue_analytics.tuning.held_out import segments_held_out
from issue_analytics.tuning.honest import SelectionCorrected, selection_corrected
from issue_analytics.tuning.objective import Objective
from issue_analytics.tuning.prepared import Prepared, prepare, sweep
from issue_analytics.tuning.reality import superior_ability
from issue_analytics.tuning.recommending import Recommendation, recommend
from issue_analytics.tuning.search import Search, search
from issue_analytics.tuning.segments import SegmentThresholds, segment_thresholds
from issue_analytics.tuning.tallies import Tallies

__all__ = [
    "Choice",
    "Objective",
    "Prepared",
    "Recommendation",
    "Search",
    "SegmentThresholds",
    "SelectionCorrected",
    "Tallies",
    "best_setting",
    "choose",
    "cost_curve",
    "flat_variables",
    "pareto_front",
    "prepare",
    "recommend",
    "search",
    "segment_thresholds",
    "segments_held_out",
    "selection_corrected",
    "superior_ability",
    "sweep",
]
