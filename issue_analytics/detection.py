"""Hourly counts against limits: which hours exceed the limit in force."""

from collections.abc import Sequence
from typing import Literal

import polars as pl

from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY, FrameT, require

__all__ = ["detect", "limit_in_force"]


def limit_in_force(
    hours: pl.LazyFrame, limits: pl.LazyFrame, columns: Sequence[str] = ("limit", "rule")
) -> pl.LazyFrame:
    """Put ``limit``, ``rule`` and ``as_of`` beside rows of a group and an ``hour``; null where no limit is in force.

    In force is the latest limit for the hour's UTC day that was made at or before the start of the hour, so a limit
    never judges an hour it could have seen. Rows come back by hour.
    """
    return (
        hours.with_columns(date=pl.col("hour").dt.date())
        .sort("hour")
        .join_asof(
            limits.select(*KEY, "date", *columns, "as_of").sort("as_of"),
            left_on="hour",
            right_on="as_of",
            by=[*KEY, "date"],
            strategy="backward",
            coalesce=False,
            check_sortedness=False,  # with `by` polars cannot check; both sides were sorted just now
        )
        .drop("date")
    )


def detect(
    counts: FrameT, limits: pl.DataFrame | pl.LazyFrame, *, crossings: Literal["first", "all"] = "first"
) -> FrameT:
    """Find the hours whose count is strictly greater than the limit in force.

    A limit of 0 or null never fires, nor does an hour without a limit. Which limit is in force: :func:`limit_in_force`.

    Args:
        counts: contract ``HourlyCounts``.
        limits: contract ``Limits``, lazy or eager.
        crossings: ``"first"``, the first of each group and UTC day, or ``"all"``.

    Returns:
        Contract ``Alerts``, by group and hour; lazy if ``counts`` is.

    Raises:
        FrameError: a frame lacks a column.
        SettingsError: ``crossings`` is neither.

    >>> from datetime import UTC, datetime
    >>> from issue_analytics.forecast import forecast
    >>> monday = datetime(2026, 1, 5, tzinfo=UTC)
    >>> hours = [monday.replace(hour=9), *(monday.replace(day=6, hour=hour) for hour in (3, 4, 5))]
    >>> counts = pl.DataFrame({"project_id": [1] * 4, "group_id": [7] * 4, "hour": hours, "count": [3, 30, 31, 99]})
    >>> limits = forecast(counts, monday.replace(day=6))
    >>> detect(counts, limits).select(pl.col("hour").dt.hour(), "count", "limit", "rule").rows()
    [(4, 31, 30, 'new')]
    """
    if crossings not in ("first", "all"):
        raise SettingsError(f"crossings: {crossings!r} is neither 'first' nor 'all'.")
    require(counts, "HourlyCounts")
    require(limits.lazy(), "Limits")
    fired = limit_in_force(
        counts.lazy().filter(pl.col("count") > 0).select(*KEY, "hour", "count"), limits.lazy()
    ).filter(pl.col("limit") > 0, pl.col("count") > pl.col("limit"))
    if crossings == "first":
        fired = fired.filter(pl.col("hour") == pl.col("hour").min().over(*KEY, pl.col("hour").dt.date()))
    fired = fired.select(*KEY, "hour", "count", "limit", "rule").sort(*KEY, "hour")
    return fired if isinstance(counts, pl.LazyFrame) else fired.collect()
