"""Which hours are judged: spans of whole hours, and what lies inside them."""

from datetime import datetime, timedelta
from typing import Literal

import polars as pl

from issue_analytics.backtest.policy import Policy
from issue_analytics.counts import HOUR
from issue_analytics.frames import KEY

__all__ = ["Silence", "clip", "inside", "observed", "span_of", "whole_hours"]

Silence = Literal["implied", "recorded"]


def observed(
    counts: pl.DataFrame, silence: Silence, policy: Policy, window: timedelta, ends: tuple[datetime, datetime]
) -> pl.DataFrame:
    """Every group as watched from its first hour on: to the end of the data, or in its recorded hours only."""
    if silence == "implied":
        return counts.group_by(KEY).agg(start=pl.col("hour").min()).with_columns(end=pl.lit(ends[1]))
    # a group's own first week is history only, up to the first refresh that saw all of it
    anchor = policy.moments(ends[0], ends[0] + policy.period)[0]
    behind = (pl.col("hour").min().over(KEY) + window - anchor).dt.total_microseconds()
    period = policy.period // timedelta(microseconds=1)
    opens = pl.lit(anchor) + pl.duration(microseconds=(behind + period - 1) // period * period)
    return counts.filter(pl.col("hour") >= opens).select(*KEY, start="hour", end=pl.col("hour") + HOUR)


def clip(spans: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """Cut spans to [start, end); a span still open ends there."""
    return spans.with_columns(
        pl.col("start").clip(lower_bound=start), pl.col("end").fill_null(end).clip(upper_bound=end)
    ).filter(pl.col("start") < pl.col("end"))


def whole_hours(spans: pl.DataFrame) -> pl.DataFrame:
    """Widen spans to clock hours and unite those of a group that meet.

    A limit is checked against the running count of the hour, so an hour that is exposed in part is judged as a whole.
    """
    behind = pl.col("end").cum_max().shift(1).over(KEY, order_by="start")
    return (
        spans.lazy()
        .select(
            *KEY,
            start=pl.col("start").dt.truncate("1h"),
            end=(pl.col("end") + HOUR - timedelta(microseconds=1)).dt.truncate("1h"),
        )
        .sort(*KEY, "start")
        .with_columns(opens=(pl.col("start") > behind).fill_null(value=True))
        .group_by(*KEY, piece=pl.col("opens").cum_sum())
        .agg(pl.col("start").min(), pl.col("end").max())
        .select(*KEY, "start", "end")
        .sort(*KEY, "start")
        .collect()
    )


def span_of(rows: pl.DataFrame, spans: pl.DataFrame, *, at: str = "hour") -> pl.DataFrame:
    """Put ``start`` and ``end`` beside each row: the latest span of its group that begins at or before ``at``."""
    return rows.sort(at).join_asof(
        spans.sort("start"),
        left_on=at,
        right_on="start",
        by=list(KEY),
        strategy="backward",
        check_sortedness=False,  # with `by` polars cannot check; both sides were sorted just now
    )


def inside(rows: pl.DataFrame, spans: pl.DataFrame, *, at: str = "hour") -> pl.DataFrame:
    """The rows whose time lies in a span of their group; spans must not overlap."""
    return span_of(rows, spans, at=at).filter(pl.col(at) < pl.col("end")).drop("start", "end")
