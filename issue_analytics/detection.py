"""Hourly counts against limits: which hours exceed the limit in force."""

from typing import Literal

import polars as pl

from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY, FrameT, require

__all__ = ["detect"]


def detect(counts: FrameT, limits: FrameT, *, crossings: Literal["first", "all"] = "first") -> FrameT:
    """Find the hours whose count is strictly greater than the limit in force.

    In force is the latest limit for the hour's UTC day that was made at or before the start of the hour, so a limit
    never judges an hour it could have seen. A limit of 0 or null never fires, nor does an hour without a limit.

    Args:
        counts: contract ``HourlyCounts``.
        limits: contract ``Limits``, of the same kind (lazy or eager) as ``counts``.
        crossings: ``"first"``, the first of each group and UTC day, or ``"all"``.

    Returns:
        Contract ``Alerts``, by group and hour.

    Raises:
        FrameError: a frame lacks a column.
        SettingsError: ``crossings`` is neither.

    >>> from datetime import UTC, date, datetime
    >>> from issue_analytics.frames import RULES
    >>> day = datetime(2026, 1, 6, tzinfo=UTC)
    >>> limits = pl.DataFrame({"project_id": 1, "group_id": 7, "date": date(2026, 1, 6), "limit": 30,
    ...     "rule": pl.Series(["new"], dtype=pl.Enum(RULES)), "as_of": day})
    >>> hours = [day.replace(hour=hour) for hour in (3, 4, 5)]
    >>> counts = pl.DataFrame({"project_id": [1] * 3, "group_id": [7] * 3, "hour": hours, "count": [30, 31, 99]})
    >>> detect(counts, limits).select(pl.col("hour").dt.hour(), "count", "limit", "rule").rows()
    [(4, 31, 30, 'new')]
    """
    if crossings not in ("first", "all"):
        raise SettingsError(f"crossings: {crossings!r} is neither 'first' nor 'all'.")
    require(counts, "HourlyCounts")
    require(limits, "Limits")
    fired = (
        counts.lazy()
        .filter(pl.col("count") > 0)
        .select(*KEY, "hour", "count", date=pl.col("hour").dt.date())
        .sort("hour")
        .join_asof(
            limits.lazy().select(*KEY, "date", "limit", "rule", "as_of").sort("as_of"),
            left_on="hour",
            right_on="as_of",
            by=[*KEY, "date"],
            strategy="backward",
            check_sortedness=False,  # with `by` polars cannot check; both sides were sorted just now
        )
        .filter(pl.col("limit") > 0, pl.col("count") > pl.col("limit"))
    )
    if crossings == "first":
        fired = fired.filter(pl.col("hour") == pl.col("hour").min().over(*KEY, "date"))
    fired = fired.select(*KEY, "hour", "count", "limit", "rule").sort(*KEY, "hour")
    return fired if isinstance(counts, pl.LazyFrame) else fired.collect()
