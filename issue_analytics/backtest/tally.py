"""What each judged group comes to: the tallies that every score is a ratio of."""

from datetime import timedelta

import polars as pl

from issue_analytics.backtest.spans import whole_hours
from issue_analytics.counts import HOUR
from issue_analytics.frames import KEY, RULES
from issue_analytics.scores.strata import strata

__all__ = ["judged_hours", "tally"]


def tally(
    history: pl.DataFrame,
    inside: pl.DataFrame,
    spans: pl.DataFrame,
    limits: pl.DataFrame,
    alerts: pl.DataFrame,
    matches: pl.DataFrame,
    windows: pl.DataFrame,
    first_seen: pl.DataFrame | pl.LazyFrame | None,
    types: pl.DataFrame | pl.LazyFrame | None,
) -> pl.DataFrame:
    """One row per judged group."""
    kinds = strata(history, spans, limits, first_seen, types)
    verdict = pl.col("verdict")
    parts = [
        inside.group_by(KEY).agg(occurrences=pl.col("count").sum()),
        judged_hours(spans, windows),
        _days_by_rule(spans, limits),
        alerts.group_by(KEY).agg(
            alerts=pl.len().cast(pl.Int64),
            duplicates=(verdict == "duplicate").sum().cast(pl.Int64),
            unjudged=(verdict == "unjudged").sum().cast(pl.Int64),
            false_alarms=(verdict == "false").sum().cast(pl.Int64),
        ),
        matches.group_by(KEY).agg(
            events=pl.len().cast(pl.Int64), events_caught=pl.col("caught_hour").count().cast(pl.Int64)
        ),
    ]
    groups = kinds
    for part in parts:
        groups = groups.join(part, on=KEY, how="left")
    days = [f"days_{rule}" for rule in RULES]
    return (
        groups.with_columns(pl.all().exclude(kinds.columns).fill_null(0))
        .select(
            *kinds.columns,
            "occurrences",
            "exposed_hours",
            "quiet_hours",
            *days,
            "alerts",
            "duplicates",
            "unjudged",
            "false_alarms",
            "events",
            "events_caught",
        )
        .sort(KEY)
    )


def judged_hours(spans: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """One row per judged group: ``exposed_hours``, and ``quiet_hours``, those outside the time of every escalation."""
    exposed = spans.group_by(KEY).agg(exposed_hours=(pl.col("end") - pl.col("start")).dt.total_hours().sum())
    busy = pl.col("busy_hours").fill_null(0)
    return exposed.join(_busy_hours(spans, windows), on=KEY, how="left").select(
        *KEY, "exposed_hours", quiet_hours=pl.col("exposed_hours") - busy
    )


def _busy_hours(spans: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """Exposed hours that overlap the time of some escalation."""
    if windows.is_empty():
        return pl.DataFrame(schema={"project_id": pl.Int64, "group_id": pl.Int64, "busy_hours": pl.Int64})
    busy = whole_hours(windows.select(*KEY, start="opens", end="closes"))
    return (
        spans.join(busy.rename({"start": "opens", "end": "closes"}), on=KEY)
        .with_columns(hours=pl.min_horizontal("end", "closes") - pl.max_horizontal("start", "opens"))
        .filter(pl.col("hours") > timedelta(0))
        .group_by(KEY)
        .agg(busy_hours=pl.col("hours").dt.total_hours().sum())
    )


def _days_by_rule(spans: pl.DataFrame, limits: pl.DataFrame) -> pl.DataFrame:
    """Judged days of each group by the branch of the limit in force at their end; a day without a limit is 'none'."""
    days = (
        spans.lazy()
        .select(*KEY, date=pl.date_ranges(pl.col("start").dt.date(), (pl.col("end") - HOUR).dt.date()))
        .explode("date")
        .unique()
    )
    last = limits.lazy().sort("as_of").group_by(*KEY, "date").agg(pl.col("rule").last())
    return (
        days.join(last, on=[*KEY, "date"], how="left")
        .with_columns(pl.col("rule").cast(pl.String).fill_null("none"))
        .group_by(KEY)
        .agg(**{f"days_{rule}": (pl.col("rule") == rule).sum().cast(pl.Int64) for rule in RULES})
        .collect()
    )
