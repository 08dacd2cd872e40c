"""Labels and exposure, the replay of a setting over the past, its scores, and runs on disk."""

from issue_analytics.backtest.blocks import block_tallies
from issue_analytics.backtest.comparison import Comparison, compare
from issue_analytics.backtest.judge import backtest
from issue_analytics.backtest.labels import STATUS_KINDS, label_escalations
from issue_analytics.backtest.parity import Parity, parity
from issue_analytics.backtest.policy import (
    EVERY_HOUR,
    POLICIES,
    PRODUCTION,
    PRODUCTION_2023,
    Matching,
    Policy,
    policy_named,
)
from issue_analytics.backtest.replay import Replay, replay
from issue_analytics.backtest.result import BacktestResult
from issue_analytics.backtest.runs import Run, open_run, write_run
from issue_analytics.backtest.velocity import VELOCITY, VelocityRule, velocity_escalations, velocity_thresholds

__all__ = [
    "EVERY_HOUR",
    "POLICIES",
    "PRODUCTION",
    "PRODUCTION_2023",
    "STATUS_KINDS",
    "VELOCITY",
    "BacktestResult",
    "Comparison",
    "Matching",
    "Parity",
    "Policy",
    "Replay",
    "Run",
    "VelocityRule",
    "backtest",
    "block_tallies",
    "compare",
    "label_escalations",
    "open_run",
    "parity",
    "policy_named",
    "replay",
    "velocity_escalations",
    "velocity_thresholds",
    "write_run",
]
