"""Scores as expressions over tallies: ratios of sums, with their n beside them, null where they are undefined.

A tally frame has one row per group (or per anything finer or coarser) with the columns ``alerts``, ``duplicates``,
``false_alarms``, ``events``, ``events_caught`` and ``quiet_hours``; every score here can be used in ``select``, in
``group_by().agg()`` and ``over``.
"""

from datetime import timedelta

import polars as pl

__all__ = [
    "false_alarms_per_series_week",
    "median_delay_hours",
    "precision",
    "recall",
    "series_weeks",
]


def _ratio(top: pl.Expr, bottom: pl.Expr) -> pl.Expr:
    return pl.when(bottom > 0).then(top / bottom)


def precision() -> pl.Expr:
    """Share of alerts that fall in an actual escalation; null when there were no alerts.

    ``(alerts - duplicates - false_alarms) / (alerts - duplicates)``: a further alert in an escalation that was caught
    already is neither a catch nor a false alarm.

    >>> tally = pl.DataFrame({"alerts": [5, 1], "duplicates": [1, 0], "false_alarms": [2, 1]})
    >>> tally.select(precision()).item()
    0.4
    """
    judged = pl.col("alerts").sum() - pl.col("duplicates").sum()
    return _ratio(judged - pl.col("false_alarms").sum(), judged).alias("precision")


def recall() -> pl.Expr:
    """Share of judged escalations that an alert caught; null when there were none.

    >>> pl.DataFrame({"events": [0], "events_caught": [0]}).select(recall()).item() is None
    True
    """
    return _ratio(pl.col("events_caught").sum(), pl.col("events").sum()).alias("recall")


def series_weeks() -> pl.Expr:
    """Quiet exposure in weeks of one series: exposed hours outside every actual escalation, / 168."""
    return (pl.col("quiet_hours").sum() / 168).alias("series_weeks")


def false_alarms_per_series_week() -> pl.Expr:
    """False alarms per week that one series is watched; null without quiet exposure.

    >>> tally = pl.DataFrame({"false_alarms": [3], "quiet_hours": [16]})
    >>> tally.select(false_alarms_per_series_week()).item()
    31.5
    """
    rate = _ratio(pl.col("false_alarms").sum() * 168.0, pl.col("quiet_hours").sum())
    return rate.alias("false_alarms_per_series_week")


def median_delay_hours(matches: pl.DataFrame, *, end: pl.Expr) -> float | None:
    """Median hours from an escalation's start to its alert, by Kaplan and Meier; null if half are never caught.

    An escalation that was missed is censored at its ``end``: leaving it out would reward a limit for missing the slow
    ones. The delay runs to the end of the hour that fired, because its count is not known before.

    Args:
        matches: contract ``Matches``.
        end: when each escalation, or the judged span, ended.
    """
    if matches.is_empty():
        return None
    from scipy.stats import CensoredData, ecdf

    caught = matches["delay_hours"].drop_nulls().to_numpy()
    watched = (end - pl.col("escalated_at")) / timedelta(hours=1)
    missed = matches.filter(pl.col("delay_hours").is_null()).select(watched.clip(0)).to_series().to_numpy()
    if not caught.size:
        return None
    survival = ecdf(CensoredData(uncensored=caught, right=missed)).sf
    reached = survival.probabilities <= 0.5
    return float(survival.quantiles[reached.argmax()]) if reached.any() else None
