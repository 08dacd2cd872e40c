"""Scores, their intervals, and the tests that compare them: small functions on frames of verdicts.

``ratios`` are ratios of sums over tallies; ``delay`` takes matches.
"""

from issue_analytics.scores.days import group_days
from issue_analytics.scores.delay import median_delay_hours
from issue_analytics.scores.ratios import (
    FALSE_ALARMS_PER_SERIES_WEEK,
    HEADLINE,
    PRECISION,
    RECALL,
    Ratio,
    f_beta,
    false_alarms_per_series_week,
    precision,
    recall,
    series_weeks,
)

__all__ = [
    "FALSE_ALARMS_PER_SERIES_WEEK",
    "HEADLINE",
    "PRECISION",
    "RECALL",
    "Ratio",
    "f_beta",
    "false_alarms_per_series_week",
    "group_days",
    "median_delay_hours",
    "precision",
    "recall",
    "series_weeks",
]
