"""Alerts and escalations: which hours over the limit are one alert, and which alert is about which escalation."""

from datetime import timedelta

import polars as pl

from issue_analytics.backtest.policy import Matching
from issue_analytics.backtest.spans import inside
from issue_analytics.counts import HOUR
from issue_analytics.detection import limit_in_force
from issue_analytics.frames import KEY

__all__ = ["episodes", "match", "windows_of"]


def episodes(crossings: pl.DataFrame, matching: Matching) -> pl.DataFrame:
    """Unite hours over the limit that lie near each other into alerts."""
    apart = pl.col("hour") - pl.col("hour").shift(1).over(KEY, order_by="hour")
    return (
        crossings.sort(*KEY, "hour")
        .with_columns(episode=(apart > timedelta(hours=matching.merge_hours)).fill_null(value=True).cum_sum())
        .group_by("episode", maintain_order=True)
        .agg(
            pl.col(*KEY, "hour", "count", "limit", "rule").first(),
            last_hour=pl.col("hour").last(),
            crossings=pl.len().cast(pl.Int64),
            peak=pl.col("count").max(),
        )
    )


def windows_of(escalations: pl.DataFrame, matching: Matching) -> pl.DataFrame:
    """Escalations with the time in which an alert is about them: [opens, closes)."""
    ended = pl.col("ended_at").fill_null(pl.col("escalated_at") + timedelta(hours=matching.open_hours))
    return escalations.select(*KEY, "escalated_at", "ended_at", "provenance", until=ended).with_columns(
        opens=pl.col("escalated_at") - timedelta(hours=matching.lead_hours),
        closes=pl.col("until") + timedelta(hours=matching.grace_hours),
    )


def match(
    alerts: pl.DataFrame,
    crossings: pl.DataFrame,
    windows: pl.DataFrame,
    spans: pl.DataFrame,
    counts: pl.DataFrame,
    limits: pl.DataFrame,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give every alert its verdict and every judged escalation its alert."""
    event = [*KEY, "escalated_at"]
    met = (
        crossings.select(*KEY, "hour")
        .join(windows.select(*event, "opens", "closes"), on=KEY)
        .filter(pl.col("hour") < pl.col("closes"), pl.col("hour") + HOUR > pl.col("opens"))
    )
    met = met.sort("hour").join_asof(
        alerts.select(*KEY, "episode", began="hour").sort("began"),
        left_on="hour",
        right_on="began",
        by=list(KEY),
        strategy="backward",
        check_sortedness=False,
    )
    # a window inside agg() would see one alert only, so it stands before it
    first = met.with_columns(first=pl.col("episode") == pl.col("episode").min().over(event))
    verdicts = first.group_by("episode").agg(caught=pl.col("first").any())
    alerts = (
        alerts.join(verdicts, on="episode", how="left", maintain_order="left")
        .with_columns(
            verdict=pl.when("caught")
            .then(pl.lit("caught"))
            .when(pl.col("caught").is_not_null())
            .then(pl.lit("duplicate"))
            .otherwise(pl.lit("false"))
        )
        .drop("episode", "caught")
        .select(*KEY, "hour", "count", "limit", "rule", "last_hour", "crossings", "peak", "verdict")
    )

    judged = inside(windows.with_columns(hour=pl.col("escalated_at").dt.truncate("1h")), spans).drop("hour")
    ended = judged.sort("escalated_at").join_asof(
        spans.select(*KEY, "start", watched_until="end").sort("start"),
        left_on="escalated_at",
        right_on="start",
        by=list(KEY),
        strategy="backward",
        check_sortedness=False,
    )
    caught = met.group_by(event).agg(caught_hour=pl.col("hour").min())
    during = (
        counts.join(judged.select(*event, "until"), on=KEY)
        .filter(pl.col("hour") < pl.col("until"), pl.col("hour") + HOUR > pl.col("escalated_at"))
        .sort("count", "hour", descending=[True, False])
        .group_by(event, maintain_order=True)
        .agg(peak_hour=pl.col("hour").first(), peak=pl.col("count").first())
    )
    matches = (
        ended.join(caught, on=event, how="left")
        .join(during, on=event, how="left")
        .with_columns(
            # the count of an hour is known at its end; an alert before the start is no negative delay
            delay_hours=((pl.col("caught_hour") + HOUR - pl.col("escalated_at")) / HOUR).clip(lower_bound=0),
            watched_until=pl.min_horizontal("watched_until", "closes"),
            hour=pl.coalesce("peak_hour", pl.col("escalated_at").dt.truncate("1h")),
            peak=pl.col("peak").fill_null(0),
        )
    )
    matches = (
        limit_in_force(matches.lazy(), limits.lazy())
        .with_columns(pl.col("rule").fill_null("none"))
        .select(
            *event,
            "ended_at",
            "provenance",
            "caught_hour",
            "delay_hours",
            "peak_hour",
            "peak",
            "limit",
            "rule",
            "watched_until",
        )
        .sort(event)
        .collect()
    )
    return alerts, matches
