"""Daily spike limits of every group as a frame, made at one moment or on a schedule."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from issue_analytics.counts import HOUR, Panel, panels, whole_hour
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.formula import NONE
from issue_analytics.frames import KEY, RULES, FrameT, check, empty, require
from issue_analytics.kernel import Buckets, limits_on
from issue_analytics.thresholds import PUBLISHED, STANDARD, FormulaConstants, ThresholdVariables, check_thresholds

MOST_DAYS: Final = 366

__all__ = ["check_buckets", "earliest_seen", "forecast", "forecast_schedule"]


def check_buckets(buckets: str) -> None:
    """Raise a SettingsError unless ``buckets`` is one of the two modes."""
    if buckets not in ("sparse", "dense"):
        raise SettingsError(f"buckets: {buckets!r} is neither 'sparse' (as in production) nor 'dense' (silence is 0).")


def forecast(
    counts: FrameT,
    as_of: datetime,
    *,
    thresholds: ThresholdVariables = STANDARD,
    buckets: Buckets = "sparse",
    days: int = 14,
    first_seen: pl.DataFrame | pl.LazyFrame | None = None,
    constants: FormulaConstants = PUBLISHED,
) -> FrameT:
    """Forecast the daily spike limits of every group from the 168 hours before ``as_of``.

    Args:
        counts: contract ``HourlyCounts``; rows at or after ``as_of`` are not looked at. A row with count 0 and a
            missing row both count as silence.
        as_of: aware and on the hour.
        thresholds: the five thresholds.
        buckets: ``"sparse"``, as production does: an hour without events is no data point, so a group with fewer than
            168 non-empty hours takes the ``new`` rule. ``"dense"``: silent hours are 0, and the ``new`` rule is for
            groups whose ``first_seen`` is known to lie less than 168 hours back.
        days: how many days from ``as_of`` on, its own day first.
        first_seen: group_id, first_seen and, where ids of projects collide, project_id; used when dense. A group of
            unknown age is taken as old.
        constants: the constants of the formula.

    Returns:
        Contract ``Limits``: a row for each group seen before ``as_of`` and each day, by group and date; lazy if
        ``counts`` was. The limit is null, rule ``none``, where the window is silent.

    Raises:
        SettingsError: ``as_of`` has no zone or lies inside an hour; ``days`` below 1; unknown ``buckets``.
        FrameError: ``counts`` break their contract (a missing column, a negative count, an hour of a group twice), or
            ``first_seen`` lacks a column or a time zone. For lazy counts, values are checked when they are collected.

    >>> from datetime import UTC
    >>> counts = pl.DataFrame({"project_id": [1, 1], "group_id": [7, 7], "count": [2, 3], "hour": [
    ...     datetime(2026, 1, 5, 9, tzinfo=UTC), datetime(2026, 1, 5, 11, tzinfo=UTC)]})
    >>> forecast(counts, datetime(2026, 1, 6, tzinfo=UTC), days=1).select("date", "limit", "rule").rows()
    [(datetime.date(2026, 1, 6), 30, 'new')]
    """
    as_of = whole_hour("as_of", as_of)
    require(counts, "HourlyCounts")

    ages = None if first_seen is None else earliest_seen(first_seen)

    def limits(frame: pl.DataFrame) -> pl.DataFrame:
        return forecast_schedule(
            check(frame, "HourlyCounts"),
            [as_of],
            thresholds=thresholds,
            buckets=buckets,
            days=days,
            first_seen=ages,
            constants=constants,
        )

    check_buckets(buckets)
    before = counts.filter(pl.col("hour") < as_of)
    if isinstance(before, pl.LazyFrame):
        return before.map_batches(limits, schema=empty("Limits").schema)
    return limits(before)


def forecast_schedule(
    counts: pl.DataFrame,
    as_of: Sequence[datetime],
    *,
    thresholds: ThresholdVariables = STANDARD,
    buckets: Buckets = "sparse",
    days: int = 1,
    first_seen: pl.DataFrame | pl.LazyFrame | None = None,
    constants: FormulaConstants = PUBLISHED,
) -> pl.DataFrame:
    """Forecast as :func:`forecast` does, at many moments in one pass; rows by group, ``as_of`` and date.

    Windows of neighbouring moments overlap, so their sums are shared: a schedule costs a small part of as many calls.
    """
    check_buckets(buckets)
    check_thresholds(thresholds)
    if not 1 <= days <= MOST_DAYS:
        raise SettingsError(f"days: expected 1 to {MOST_DAYS}, got {days}.")
    moments = sorted({whole_hour("as_of", at) for at in as_of})
    frames = [empty("Limits")]
    if moments:
        known_ages = None if first_seen is None else earliest_seen(first_seen)
        ages = known_ages if buckets == "dense" else None
        start = moments[0] - constants.window_hours * HOUR
        for panel in panels(counts, start, moments[-1]):
            frames.extend(_limit_frames(panel, moments, thresholds, buckets, days, ages, constants))
    return pl.concat(frames)


def earliest_seen(first_seen: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """When each group was first seen, in UTC: group_id, first_seen and, where it is there, project_id.

    Raises:
        FrameError: a column is missing or has another type, or ``first_seen`` no time zone.
    """
    schema = first_seen.collect_schema()
    if missing := [name for name in ("group_id", "first_seen") if name not in schema]:
        raise FrameError(f"first_seen: no column {', '.join(missing)}. Found: {', '.join(schema)}.")
    on = [name for name in KEY if name in schema]
    if wrong := [f"{name} is {schema[name]}" for name in on if not schema[name].is_integer()]:
        raise FrameError(f"first_seen: {', '.join(wrong)}, not Int64.")
    stamp = schema["first_seen"]
    if not isinstance(stamp, pl.Datetime) or stamp.time_zone is None:
        raise FrameError(f"first_seen: first_seen is {stamp}, not a time with a zone such as Datetime('us', 'UTC').")
    seen = pl.col("first_seen").dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    return first_seen.lazy().group_by(pl.col(on).cast(pl.Int64)).agg(seen.min()).collect()


def _limit_frames(
    panel: Panel,
    moments: list[datetime],
    thresholds: ThresholdVariables,
    buckets: Buckets,
    days: int,
    ages: pl.DataFrame | None,
    constants: FormulaConstants,
) -> Iterator[pl.DataFrame]:
    hour = np.array([(at - panel.start) // HOUR for at in moments], dtype=np.int64)
    new = None
    if ages is not None:
        seen = panel.groups.join(
            ages, on=[name for name in KEY if name in ages.columns], how="left", maintain_order="left"
        )
        age_start = seen.select((pl.col("first_seen") - panel.start).dt.total_microseconds() / 3.6e9).to_series()
        # a group of unknown age is old: minus infinity
        known = age_start.fill_null(-math.inf).to_numpy()
        new = hour[None, :] - known[:, None] < constants.window_hours
    limit, rule = limits_on(
        panel, moments, thresholds=thresholds, buckets=buckets, days=days, new=new, constants=constants
    )
    # a group has limits from its first known hour on: later data must not add rows to the past
    group, moment = np.nonzero(panel.first[:, None] < hour[None, :])
    made = np.array([at.replace(tzinfo=None) for at in moments], dtype="datetime64[us]")
    dates = made.astype("datetime64[D]")[:, None] + np.arange(days)
    rows = np.repeat(group, days)
    yield pl.DataFrame(
        {
            "project_id": panel.groups["project_id"].gather(rows),
            "group_id": panel.groups["group_id"].gather(rows),
            "date": dates[moment].reshape(-1),
            "limit": limit[group, moment].reshape(-1),
            "rule": rule[group, moment].reshape(-1),
            "as_of": np.repeat(made[moment], days),
        }
    ).with_columns(
        limit=pl.when(pl.col("rule") != NONE).then(pl.col("limit")),
        rule=pl.col("rule").cat.to(pl.Enum(RULES)),
        as_of=pl.col("as_of").dt.replace_time_zone("UTC"),
    )
