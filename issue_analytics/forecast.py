"""Daily spike limits of every group as a frame, made at one moment or on a schedule."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from issue_analytics.counts import HOUR, Panel, panels, whole_hour
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.formula import NONE
from issue_analytics.frames import KEY, RULES, FrameT, check, empty, require
from issue_analytics.kernel import Buckets, limits_on, statistics_on
from issue_analytics.thresholds import PUBLISHED, STANDARD, FormulaConstants, ThresholdVariables, check_thresholds

MOST_DAYS: Final = 366

_STATISTICS: Final = {
    "busiest": pl.Int64(),
    "new": pl.Boolean(),
    "mean": pl.Float64(),
    "deviation": pl.Float64(),
    "weighted_mean": pl.Float64(),
}

__all__ = ["check_buckets", "earliest_seen", "forecast", "forecast_schedule", "window_statistics"]


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


def window_statistics(
    counts: pl.DataFrame,
    as_of: Sequence[datetime],
    *,
    buckets: Buckets = "sparse",
    days: int = 1,
    first_seen: pl.DataFrame | pl.LazyFrame | None = None,
    constants: FormulaConstants = PUBLISHED,
) -> pl.DataFrame:
    """What limits are made of, whatever the thresholds; the rows of :func:`forecast_schedule`, in the same order.

    Args:
        counts: contract ``HourlyCounts``.
        as_of: moments on the hour.
        buckets: as in :func:`forecast`.
        days: how many days from each ``as_of`` on.
        first_seen: as in :func:`forecast`.
        constants: the constants of the formula.

    Returns:
        A row per group, moment and day: ``project_id``, ``group_id``, ``date``, ``as_of``; ``busiest`` (events in the
        busiest hour of the window; 0: silent, no limit), ``new`` (whether the rule for new groups applies), ``mean``,
        ``deviation`` (sample standard deviation) and ``weighted_mean`` in events per hour; these three null where no
        variable acts, because the window is silent or the group new.
    """
    check_buckets(buckets)
    moments = sorted({whole_hour("as_of", at) for at in as_of})
    schema = {**{name: empty("Limits").schema[name] for name in (*KEY, "date", "as_of")}, **_STATISTICS}
    frames = [pl.DataFrame(schema=schema)]
    if moments:
        ages = None if first_seen is None or buckets == "sparse" else earliest_seen(first_seen)
        for panel in panels(counts, moments[0] - constants.window_hours * HOUR, moments[-1]):
            shape = (panel.counts.shape[0], len(moments))
            busiest, new = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.bool_)
            mean, deviation, weighted = np.empty(shape), np.empty(shape), np.empty((*shape, days))
            is_new = _new(panel, moments, ages, constants)
            for some, found in statistics_on(
                panel, moments, buckets=buckets, days=min(days, 7), new=is_new, constants=constants
            ):
                busiest[some], new[some] = found.busiest.T, found.new.T
                mean[some], deviation[some] = found.mean.T, found.deviation.T
                for ahead in range(days):
                    weighted[some, :, ahead] = found.weighted[ahead % 7].T
            group, moment, keys = _rows(panel, moments, days)
            acts = pl.when((pl.col("busiest") > 0) & ~pl.col("new"))
            frames.append(
                keys.with_columns(
                    busiest=np.repeat(busiest[group, moment], days),
                    new=np.repeat(new[group, moment], days),
                    mean=np.repeat(mean[group, moment], days),
                    deviation=np.repeat(deviation[group, moment], days),
                    weighted_mean=weighted[group, moment].reshape(-1),
                ).with_columns(acts.then(pl.col("mean", "deviation", "weighted_mean")))
            )
    return pl.concat(frames)


def _limit_frames(
    panel: Panel,
    moments: list[datetime],
    thresholds: ThresholdVariables,
    buckets: Buckets,
    days: int,
    ages: pl.DataFrame | None,
    constants: FormulaConstants,
) -> Iterator[pl.DataFrame]:
    new = _new(panel, moments, ages, constants)
    limit, rule = limits_on(
        panel, moments, thresholds=thresholds, buckets=buckets, days=days, new=new, constants=constants
    )
    group, moment, keys = _rows(panel, moments, days)
    yield keys.with_columns(limit=limit[group, moment].reshape(-1), rule=rule[group, moment].reshape(-1)).select(
        *KEY,
        "date",
        limit=pl.when(pl.col("rule") != NONE).then(pl.col("limit")),
        rule=pl.col("rule").cat.to(pl.Enum(RULES)),
        as_of="as_of",
    )


def _new(
    panel: Panel, moments: Sequence[datetime], ages: pl.DataFrame | None, constants: FormulaConstants
) -> npt.NDArray[np.bool_] | None:
    """Whose age makes them new at each moment, shape (groups, moments); None where ages do not matter."""
    if ages is None:
        return None
    hour = _hours(panel, moments)
    seen = panel.groups.join(ages, on=[name for name in KEY if name in ages.columns], how="left", maintain_order="left")
    age_start = seen.select((pl.col("first_seen") - panel.start).dt.total_microseconds() / 3.6e9).to_series()
    # a group of unknown age is old: minus infinity
    known = age_start.fill_null(-math.inf).to_numpy()
    young: npt.NDArray[np.bool_] = hour[None, :] - known[:, None] < constants.window_hours
    return young


def _rows(
    panel: Panel, moments: Sequence[datetime], days: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], pl.DataFrame]:
    """Which groups have a forecast at which moments, and the keys of its rows, one per day.

    A group has limits from its first known hour on: later data must not add rows to the past.
    """
    group, moment = np.nonzero(panel.first[:, None] < _hours(panel, moments)[None, :])
    made = np.array([at.replace(tzinfo=None) for at in moments], dtype="datetime64[us]")
    dates = made.astype("datetime64[D]")[:, None] + np.arange(days)
    rows = np.repeat(group, days)
    keys = pl.DataFrame(
        {
            "project_id": panel.groups["project_id"].gather(rows),
            "group_id": panel.groups["group_id"].gather(rows),
            "date": dates[moment].reshape(-1),
            "as_of": np.repeat(made[moment], days),
        }
    )
    return group, moment, keys.with_columns(pl.col("as_of").dt.replace_time_zone("UTC"))


def _hours(panel: Panel, moments: Sequence[datetime]) -> npt.NDArray[np.int64]:
    return np.array([(at - panel.start) // HOUR for at in moments], dtype=np.int64)
