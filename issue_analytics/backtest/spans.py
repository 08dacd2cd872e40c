"""Which hours are judged: spans of whole hours, and what lies inside them."""

from datetime import datetime, timedelta
from typing import Literal

import polars as pl

from issue_analytics.backtest.policy import Policy
from issue_analytics.counts import HOUR
from issue_analytics.frames import KEY

__all__ = ["Silence", "clip", "inside", "observed", "whole_hours"]

Silence = Literal["implied", "recorded"]


def observed(
    counts: pl.DataFrame, silence: Silence, policy: Policy, window: timedelta, ends: tuple[datetime, datetime]
) -> pl.DataFrame:
    """Every group as watched from its first hour on."""
    groups = counts.group_by(KEY).agg(start=pl.col("hour").min(), end=pl.col("hour").max() + HOUR)
    if silence == "implied":
        return groups.with_columns(end=pl.lit(ends[1]))
    # a group's own first week is history only, up to the first refresh that saw all of it
    anchor = policy.moments(ends[0], ends[0] + policy.period)[0]
    behind = (pl.col("start") + window - anchor).dt.total_microseconds()
    period = policy.period // timedelta(microseconds=1)
    refreshes = (behind + period - 1) // period
    return groups.with_columns(start=pl.lit(anchor) + pl.duration(microseconds=refreshes * period))


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


def inside(hours: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """The rows whose hour lies in a span of their group; spans must not overlap."""
    return (
        hours.sort("hour")
        .join_asof(
            spans.sort("start"),
            left_on="hour",
            right_on="start",
            by=list(KEY),
            strategy="backward",
            check_sortedness=False,
        )
        .filter(pl.col("hour") < pl.col("end"))
        .drop("start", "end")
    )
