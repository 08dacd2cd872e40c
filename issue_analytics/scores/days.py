"""Group-days: each limit, how many judged hours it stood for, and how many of them exceeded it."""

from datetime import timedelta
from typing import Final

import polars as pl

from issue_analytics.counts import HOUR
from issue_analytics.detection import limit_in_force
from issue_analytics.frames import KEY, RULES

__all__ = ["group_days", "limit_spans"]

_DAY: Final = timedelta(days=1)
_LIMIT: Final = (*KEY, "date", "as_of")


def group_days(
    exposure: pl.DataFrame, limits: pl.DataFrame, counts: pl.DataFrame, crossings: pl.DataFrame
) -> pl.DataFrame:
    """Tell for every group, day and limit in force what became of it: the frame that calibration is computed from.

    Args:
        exposure: contract ``Exposure``, whole hours, not overlapping; a result's ``exposure``.
        limits: contract ``Limits``; a result's ``limits``.
        counts: contract ``HourlyCounts``; hours outside ``exposure`` are not looked at.
        crossings: contract ``Alerts``, every judged hour over its limit; a result's ``crossings``.

    Returns:
        One row per group, UTC day and limit: ``project_id``, ``group_id``, ``date``, ``as_of`` (when the limit was
        made; null where there was none), ``limit`` (events per clock hour; null), ``rule``, ``hours`` (judged hours in
        which it was in force), ``busy_hours`` (those with an occurrence), ``occurrences``, ``peak`` (largest count of
        one hour) and ``crossings`` (hours over the limit); by group, day and ``as_of``.

    >>> from datetime import UTC, date, datetime
    >>> monday = datetime(2026, 1, 5, tzinfo=UTC)
    >>> group = {"project_id": [1], "group_id": [7]}
    >>> exposure = pl.DataFrame(group | {"start": [monday], "end": [monday.replace(hour=20)]})
    >>> limits = pl.DataFrame(group | {"date": [date(2026, 1, 5)], "limit": [3], "rule": ["new"], "as_of": [monday]})
    >>> counts = pl.DataFrame(group | {"hour": [monday.replace(hour=9)], "count": [5]})
    >>> crossings = counts.with_columns(limit=3, rule=pl.lit("new"))
    >>> group_days(exposure, limits, counts, crossings).drop("project_id", "group_id", "date", "as_of").row(0)
    (3, 'new', 20, 1, 5, 5, 1)
    """
    days = _exposed_days(exposure)
    known = (
        _limit_spans(days, limits)
        .group_by(_LIMIT)
        .agg(pl.col("limit", "rule").first(), hours=(pl.col("end") - pl.col("start")).dt.total_hours().sum())
    )
    whole = days.group_by(*KEY, "date").agg(hours=(pl.col("end") - pl.col("start")).dt.total_hours().sum())
    without = (
        whole.join(known.group_by(*KEY, "date").agg(known=pl.col("hours").sum()), on=[*KEY, "date"], how="left")
        .select(*KEY, "date", hours=pl.col("hours") - pl.col("known").fill_null(0))
        .filter(pl.col("hours") > 0)
    )
    at = pl.col("hour").dt.date().alias("date")
    # an hour belongs to the limit in force at its start; one without a limit to the row without
    seen = limit_in_force(counts.lazy().select(*KEY, "hour", "count").filter(pl.col("count") > 0), limits.lazy())
    inside = (
        seen.with_columns(at)
        .join(days.lazy().select(*KEY, "date", "start", "end"), on=[*KEY, "date"])
        .filter(pl.col("hour") >= pl.col("start"), pl.col("hour") < pl.col("end"))
        .group_by(_LIMIT)
        .agg(
            busy_hours=pl.len().cast(pl.Int64),
            occurrences=pl.col("count").sum(),
            peak=pl.col("count").max(),
        )
        .collect()
    )
    over = (
        limit_in_force(crossings.lazy().select(*KEY, "hour"), limits.lazy())
        .with_columns(at)
        .group_by(_LIMIT)
        .agg(crossings=pl.len().cast(pl.Int64))
        .collect()
    )
    return (
        pl.concat([known, without], how="diagonal")
        .join(inside, on=_LIMIT, how="left", nulls_equal=True)
        .join(over, on=_LIMIT, how="left", nulls_equal=True)
        .with_columns(
            pl.col("busy_hours", "occurrences", "peak", "crossings").fill_null(0),
            rule=pl.col("rule").cast(pl.String).fill_null("none").cast(pl.Enum(RULES)),
        )
        .select(*KEY, "date", "as_of", "limit", "rule", "hours", "busy_hours", "occurrences", "peak", "crossings")
        .sort(*KEY, "date", "as_of")
    )


def limit_spans(exposure: pl.DataFrame, limits: pl.DataFrame) -> pl.DataFrame:
    """Spans of judged hours, each with the limit that was in force in it.

    Args:
        exposure: contract ``Exposure``, whole hours, not overlapping; a result's ``exposure``.
        limits: contract ``Limits``; a result's ``limits``.

    Returns:
        One row per group, UTC day, limit and span: ``project_id``, ``group_id``, ``date``, ``as_of``, ``limit``
        (null where the window was silent), ``rule``, ``start``, ``end``. Hours for which no limit was made are in none.
    """
    return _limit_spans(_exposed_days(exposure), limits)


def _exposed_days(exposure: pl.DataFrame) -> pl.DataFrame:
    """Cut spans at midnight UTC."""
    first, last = pl.col("start").dt.date(), (pl.col("end") - HOUR).dt.date()
    midnight = pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return (
        exposure.select(*KEY, "start", "end", date=pl.date_ranges(first, last))
        .explode("date")
        .with_columns(
            start=pl.max_horizontal("start", midnight),
            end=pl.min_horizontal("end", midnight + _DAY),
        )
    )


def _limit_spans(days: pl.DataFrame, limits: pl.DataFrame) -> pl.DataFrame:
    """Exposed hours of each day in which each of its limits was the latest one made, as spans."""
    # a limit made inside an hour judges from the next on
    made = pl.max_horizontal(
        (pl.col("as_of") + HOUR - timedelta(microseconds=1)).dt.truncate("1h"),
        pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
    )
    next_made = pl.col("made").shift(-1).over(*KEY, "date", order_by="as_of")
    held = limits.select(*_LIMIT, "limit", "rule", made=made).with_columns(until=next_made)
    return (
        days.join(held, on=[*KEY, "date"])
        .with_columns(
            start=pl.max_horizontal("start", "made"), end=pl.min_horizontal("end", pl.coalesce("until", "end"))
        )
        .filter(pl.col("start") < pl.col("end"))
        .select(*_LIMIT, "limit", "rule", "start", "end")
    )
