"""Labels and exposure, the replay of a setting over the past, its scores, and runs on disk."""

from issue_analytics.backtest.judge import backtest
from issue_analytics.backtest.labels import STATUS_KINDS, label_escalations
from issue_analytics.backtest.policy import EVERY_HOUR, Matching, Policy
from issue_analytics.backtest.result import BacktestResult
from issue_analytics.backtest.runs import Run, open_run, write_run

__all__ = [
    "EVERY_HOUR",
    "STATUS_KINDS",
    "BacktestResult",
    "Matching",
    "Policy",
    "Run",
    "backtest",
    "label_escalations",
    "open_run",
    "write_run",
]
