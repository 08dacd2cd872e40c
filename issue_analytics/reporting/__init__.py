"""Pictures and reports of what was computed before; nothing is computed here that a score depends on."""

from issue_analytics.reporting.calibration import plot_murphy, plot_pit, plot_reliability, plot_scales
from issue_analytics.reporting.delays import plot_delay
from issue_analytics.reporting.explanation import plot_explanation
from issue_analytics.reporting.intervals import plot_differences, plot_intervals
from issue_analytics.reporting.life import plot_life
from issue_analytics.reporting.overview import plot_coverage, plot_summary
from issue_analytics.reporting.plots import plot_limits
from issue_analytics.reporting.report import write_report
from issue_analytics.reporting.tuning import (
    plot_binding,
    plot_curve,
    plot_recommendation,
    plot_stability,
    plot_sweep,
)

__all__ = [
    "plot_binding",
    "plot_coverage",
    "plot_curve",
    "plot_delay",
    "plot_differences",
    "plot_explanation",
    "plot_intervals",
    "plot_life",
    "plot_limits",
    "plot_murphy",
    "plot_pit",
    "plot_recommendation",
    "plot_reliability",
    "plot_scales",
    "plot_stability",
    "plot_summary",
    "plot_sweep",
    "write_report",
]
