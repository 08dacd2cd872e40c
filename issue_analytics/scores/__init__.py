"""Scores, their intervals, and the tests that compare them: small functions on frames of verdicts.

``ratios`` are ratios of sums over tallies; ``delay`` takes matches.
"""

from issue_analytics.scores.clusters import number_clusters
from issue_analytics.scores.days import group_days
from issue_analytics.scores.delay import median_delay_hours
from issue_analytics.scores.intervals import (
    ClusterInterval,
    clopper_pearson,
    cluster_interval,
    design_effect,
    linearised_error,
    poisson_interval,
    ratio_intervals,
    wilson,
)
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
from issue_analytics.scores.resampling import bootstrap, cluster_weights
from issue_analytics.scores.significance import benjamini_hochberg, holm, mcnemar, swap_test

__all__ = [
    "FALSE_ALARMS_PER_SERIES_WEEK",
    "HEADLINE",
    "PRECISION",
    "RECALL",
    "ClusterInterval",
    "Ratio",
    "benjamini_hochberg",
    "bootstrap",
    "clopper_pearson",
    "cluster_interval",
    "cluster_weights",
    "design_effect",
    "f_beta",
    "false_alarms_per_series_week",
    "group_days",
    "holm",
    "linearised_error",
    "mcnemar",
    "median_delay_hours",
    "number_clusters",
    "poisson_interval",
    "precision",
    "ratio_intervals",
    "recall",
    "series_weeks",
    "swap_test",
    "wilson",
]
