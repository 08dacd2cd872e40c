"""Alerts and escalations: which hours over the limit are one alert, and which alert is about which escalation."""

from datetime import timedelta

import polars as pl

from issue_analytics.backtest.policy import Matching
from issue_analytics.backtest.spans import inside, span_of
from issue_analytics.counts import HOUR, hours_in
from issue_analytics.detection import limit_in_force
from issue_analytics.frames import KEY

__all__ = ["delay_to", "escalations_met", "match", "meetings", "watched_to_the_end", "windows_of"]

_EVENT = (*KEY, "escalated_at")


def windows_of(escalations: pl.DataFrame, spans: pl.DataFrame, matching: Matching) -> pl.DataFrame:
    """Escalations with the time in which an alert is about them, [opens, closes), and whether they are judged.

    Judged is an escalation that began in a judged hour.
    """
    ended = pl.col("ended_at").fill_null(pl.col("escalated_at") + timedelta(hours=matching.open_hours))
    windows = escalations.select(*_EVENT, "ended_at", "provenance", until=ended).with_columns(
        opens=pl.col("escalated_at") - timedelta(hours=matching.lead_hours),
        closes=pl.col("until") + timedelta(hours=matching.grace_hours),
    )
    judged = inside(windows.select(_EVENT), spans, at="escalated_at").with_columns(judged=True)
    return windows.join(judged, on=_EVENT, how="left").with_columns(pl.col("judged").fill_null(value=False))


def watched_to_the_end(windows: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """Judged escalations with ``watched_until`` and ``cut_off``, as contract ``Matches`` has them."""
    judged = windows.filter("judged")
    watched = (
        judged.select(*_EVENT, "closes")
        .join(spans, on=KEY)
        .filter(pl.col("start") < pl.col("closes"), pl.col("end") > pl.col("escalated_at"))
        .group_by(_EVENT)
        .agg(watched_until=pl.col("end").max())
    )
    return judged.join(watched, on=_EVENT, how="left").with_columns(
        watched_until=pl.min_horizontal("watched_until", "closes"), cut_off=pl.col("watched_until") < pl.col("closes")
    )


def delay_to(hour: str) -> pl.Expr:
    """Hours from ``escalated_at`` to the end of an hour: its count is not known before.

    An alert before the start is no negative delay.
    """
    return hours_in(pl.col(hour) + HOUR - pl.col("escalated_at")).clip(lower_bound=0)


def meetings(hours: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """Which of the hours lie in the time of which escalations: a row for each such pair."""
    return (
        hours.select(*KEY, "hour")
        .join(windows.select(*_EVENT, "opens", "closes", "judged"), on=KEY)
        .filter(pl.col("hour") < pl.col("closes"), pl.col("hour") + HOUR > pl.col("opens"))
    )


def match(
    crossings: pl.DataFrame,
    windows: pl.DataFrame,
    spans: pl.DataFrame,
    counts: pl.DataFrame,
    limits: pl.DataFrame,
    matching: Matching,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Unite crossings into alerts, give every alert its verdict and every judged escalation its alert."""
    met = meetings(crossings, windows)
    hours = _with_episode(crossings, met, spans, matching)
    pairs = met.join(hours.select(*KEY, "hour", "episode"), on=[*KEY, "hour"])
    caught = _pair(pairs.filter("judged"), matching)
    return _alerts(hours, pairs, caught), _matches(windows, caught, spans, counts, limits)


def _with_episode(crossings: pl.DataFrame, met: pl.DataFrame, spans: pl.DataFrame, matching: Matching) -> pl.DataFrame:
    """Number the alerts that hours over the limit belong to.

    Hours at most ``merge_hours`` apart are one alert, but it ends with its exposed span, and where an escalation's time
    begins or ends: else a chain of false hours of any length could hide behind one escalation.
    """
    about = escalations_met(met)
    before = pl.col("hour", "start", "about", "latest").shift(1).over(KEY, order_by="hour").name.prefix("last_")
    return (
        span_of(crossings, spans)
        .join(about, on=[*KEY, "hour"], how="left")
        .sort(*KEY, "hour")
        .with_columns(before)
        .with_columns(
            begins=pl.col("last_hour").is_null()
            | (pl.col("hour") - pl.col("last_hour") > timedelta(hours=matching.merge_hours))
            | (pl.col("start") != pl.col("last_start"))
            | pl.col("about").ne_missing(pl.col("last_about"))
            | pl.col("latest").ne_missing(pl.col("last_latest"))
        )
        .with_columns(episode=pl.col("begins").cum_sum())
    )


def escalations_met(met: pl.DataFrame) -> pl.DataFrame:
    """What hours are about: ``about`` (how many escalations) and ``latest`` (the last to begin of them).

    An escalation whose time began since another hour is later than all others, so these two tell whether the set is
    another one.
    """
    return met.group_by(*KEY, "hour").agg(about=pl.len(), latest=pl.col("escalated_at").max())


def _pair(pairs: pl.DataFrame, matching: Matching) -> pl.DataFrame:
    """Give each judged escalation the alert that caught it: escalated_at, episode and the hour it was caught in."""
    free = pairs.group_by(*_EVENT, "episode").agg(pl.col("hour").min())
    while True:
        first = free.filter(pl.col("episode") == pl.col("episode").min().over(_EVENT))
        if matching.pairing == "any":
            return first
        # several want the same alert: the earliest has it, the others look for their next. Who had it may still lose
        # it to an earlier one that comes back from another alert, so nothing is settled before nobody loses
        lost = first.filter(pl.col("escalated_at") > pl.col("escalated_at").min().over("episode"))
        if lost.is_empty():
            return first
        free = free.join(lost, on=[*_EVENT, "episode"], how="anti")


def _alerts(hours: pl.DataFrame, pairs: pl.DataFrame, caught: pl.DataFrame) -> pl.DataFrame:
    """One row per alert, with its verdict."""
    right = caught.select("episode", right=True).unique()
    verdicts = (
        pairs.join(right, on="episode", how="left")
        .group_by("episode")
        .agg(
            verdict=pl.when(pl.col("right").any())
            .then(pl.lit("caught"))
            .when(pl.col("judged").any())
            .then(pl.lit("duplicate"))
            .otherwise(pl.lit("unjudged"))
        )
    )
    return (
        hours.group_by("episode", maintain_order=True)
        .agg(
            pl.col(*KEY, "hour", "count", "limit", "rule").first(),
            last_hour=pl.col("hour").last(),
            crossings=pl.len().cast(pl.Int64),
            peak=pl.col("count").max(),
        )
        .join(verdicts, on="episode", how="left", maintain_order="left")
        .with_columns(pl.col("verdict").fill_null("false"))
        .drop("episode")
    )


def _matches(
    windows: pl.DataFrame, caught: pl.DataFrame, spans: pl.DataFrame, counts: pl.DataFrame, limits: pl.DataFrame
) -> pl.DataFrame:
    """One row per judged escalation."""
    judged = watched_to_the_end(windows, spans)
    caught = caught.select(*_EVENT, caught_hour="hour")
    during = (
        counts.join(judged.select(*_EVENT, "until"), on=KEY)
        .filter(pl.col("hour") < pl.col("until"), pl.col("hour") + HOUR > pl.col("escalated_at"))
        .sort("count", "hour", descending=[True, False])
        .group_by(_EVENT, maintain_order=True)
        .agg(peak_hour=pl.col("hour").first(), peak=pl.col("count").first())
    )
    matches = judged
    for part in (caught, during):
        matches = matches.join(part, on=_EVENT, how="left")
    matches = matches.with_columns(
        delay_hours=delay_to("caught_hour"),
        hour=pl.coalesce("peak_hour", pl.col("escalated_at").dt.truncate("1h")),
        peak=pl.col("peak").fill_null(0),
    )
    return (
        limit_in_force(matches.lazy(), limits.lazy())
        .with_columns(pl.col("rule").fill_null("none"))
        .select(
            *(*_EVENT, "ended_at", "provenance", "caught_hour", "delay_hours", "peak_hour", "peak", "limit", "rule"),
            *("watched_until", "cut_off"),
        )
        .sort(_EVENT)
        .collect()
    )
