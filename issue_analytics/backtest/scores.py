"""Scores as expressions over tallies: ratios of sums, with their n beside them, null where they are undefined.

A tally frame has one row per group (or per anything finer or coarser) with the columns ``alerts``, ``duplicates``,
``unjudged``, ``false_alarms``, ``events``, ``events_caught`` and ``quiet_hours``; every score here can be used in
``select``, in ``group_by().agg()`` and ``over``.
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
    """Share of alerts that caught an actual escalation; null when there were none to judge.

    ``caught / (caught + false_alarms)``, where caught is ``alerts - duplicates - unjudged - false_alarms``: a further
    alert in an escalation that was caught already is neither a catch nor a false alarm, nor is one that meets only
    escalations which are not judged.

    >>> tally = pl.DataFrame({"alerts": [5, 1], "duplicates": [1, 0], "unjudged": [0, 0], "false_alarms": [2, 1]})
    >>> tally.select(precision()).item()
    0.4
    """
    judged = pl.sum("alerts") - pl.sum("duplicates") - pl.sum("unjudged")
    return _ratio(judged - pl.sum("false_alarms"), judged).alias("precision")


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


def median_delay_hours(matches: pl.DataFrame) -> float | None:
    """Hours within which half of the judged escalations were caught; null if fewer than half were.

    Kaplan and Meier's median, with a miss kept at risk for ever: it was never caught, and leaving it out would reward a
    limit for missing the slow ones. Only an escalation of which the end was not watched (``cut_off``) is censored, at
    ``watched_until``. A delay runs to the end of the hour that fired, because its count is not known before.

    Args:
        matches: contract ``Matches``.

    >>> from datetime import UTC, datetime
    >>> start = datetime(2026, 1, 5, tzinfo=UTC)
    >>> matches = pl.DataFrame({"delay_hours": [1.0, 3.0, None], "escalated_at": start, "watched_until": start,
    ...     "cut_off": False})
    >>> median_delay_hours(matches)
    3.0
    """
    caught = matches["delay_hours"].drop_nulls().to_numpy()
    if not caught.size:
        return None
    from scipy.stats import CensoredData, ecdf

    watched = (pl.col("watched_until") - pl.col("escalated_at")) / timedelta(hours=1)
    never = pl.lit(1e9)
    missed = matches.filter(pl.col("delay_hours").is_null()).select(pl.when("cut_off").then(watched).otherwise(never))
    survival = ecdf(CensoredData(uncensored=caught, right=missed.to_series().to_numpy())).sf
    reached = survival.probabilities <= 0.5
    return float(survival.quantiles[reached.argmax()]) if reached.any() else None
