"""When should an archived issue come back? The workbench for spike limits on issue occurrences.

The public names, in the order of the data's path: exports, dataset, counts, limits, alerts, truth, scores, report.
"""

from issue_analytics.backtest import (
    EVERY_HOUR,
    PRODUCTION,
    PRODUCTION_2023,
    BacktestResult,
    Comparison,
    Matching,
    Parity,
    Policy,
    Replay,
    Run,
    backtest,
    block_tallies,
    compare,
    label_escalations,
    open_run,
    parity,
    replay,
    write_run,
)
from issue_analytics.counts import hourly_counts
from issue_analytics.coverage import Coverage, coverage
from issue_analytics.dataset import Dataset, import_export, open_dataset
from issue_analytics.detection import detect
from issue_analytics.errors import (
    ConflictError,
    DatasetError,
    ExportError,
    FrameError,
    IssueAnalyticsError,
    SettingsError,
)
from issue_analytics.explain import Explanation, explain
from issue_analytics.exports import read_escalations, read_hourly_counts, read_occurrences, read_status_changes
from issue_analytics.forecast import forecast
from issue_analytics.forecast_records import ForecastRecord, is_escalating
from issue_analytics.formula import generate_issue_forecast
from issue_analytics.issues import IssueEvidence, IssueOccurrence, IssueService, Store, issue_service, open_store
from issue_analytics.reporting import (
    plot_binding,
    plot_coverage,
    plot_curve,
    plot_delay,
    plot_differences,
    plot_explanation,
    plot_intervals,
    plot_life,
    plot_limits,
    plot_murphy,
    plot_pit,
    plot_recommendation,
    plot_reliability,
    plot_scales,
    plot_stability,
    plot_summary,
    plot_sweep,
    write_report,
)
from issue_analytics.simulate import Simulation, simulate
from issue_analytics.threshold_files import ThresholdSet, load_thresholds, read_threshold_set, write_thresholds
from issue_analytics.thresholds import (
    LOOSER,
    PUBLISHED,
    STANDARD,
    TIGHTER,
    FormulaConstants,
    ThresholdVariables,
)
from issue_analytics.tuning import (
    Objective,
    Prepared,
    Recommendation,
    Search,
    SegmentThresholds,
    prepare,
    recommend,
    search,
    segment_thresholds,
    sweep,
)

__all__ = [  # noqa: RUF022 - in the order of the data's path
    # records
    "IssueOccurrence",
    "IssueEvidence",
    # issues
    "issue_service",
    "IssueService",
    "open_store",
    "Store",
    # exports
    "read_occurrences",
    "read_hourly_counts",
    "read_status_changes",
    "read_escalations",
    # dataset
    "import_export",
    "open_dataset",
    "Dataset",
    "coverage",
    "Coverage",
    # counts
    "hourly_counts",
    # limits
    "forecast",
    "generate_issue_forecast",
    "ThresholdVariables",
    "STANDARD",
    "LOOSER",
    "TIGHTER",
    "load_thresholds",
    "ThresholdSet",
    "write_thresholds",
    "read_threshold_set",
    "FormulaConstants",
    "PUBLISHED",
    # alerts
    "detect",
    "explain",
    "Explanation",
    # stored forecasts
    "ForecastRecord",
    "is_escalating",
    # truth and scores
    "label_escalations",
    "backtest",
    "Policy",
    "EVERY_HOUR",
    "PRODUCTION",
    "PRODUCTION_2023",
    "replay",
    "Replay",
    "parity",
    "Parity",
    "Matching",
    "BacktestResult",
    "compare",
    "Comparison",
    "block_tallies",
    "write_run",
    "open_run",
    "Run",
    # tuning
    "prepare",
    "Prepared",
    "sweep",
    "Objective",
    "recommend",
    "Recommendation",
    "segment_thresholds",
    "SegmentThresholds",
    "search",
    "Search",
    # pictures and reports
    "plot_coverage",
    "plot_limits",
    "plot_explanation",
    "plot_life",
    "plot_summary",
    "plot_delay",
    "plot_intervals",
    "plot_differences",
    "plot_scales",
    "plot_reliability",
    "plot_pit",
    "plot_murphy",
    "plot_sweep",
    "plot_binding",
    "plot_curve",
    "plot_recommendation",
    "plot_stability",
    "write_report",
    # planted truth
    "simulate",
    "Simulation",
    # errors
    "IssueAnalyticsError",
    "ExportError",
    "FrameError",
    "SettingsError",
    "DatasetError",
    "ConflictError",
]
