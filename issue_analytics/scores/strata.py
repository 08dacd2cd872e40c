"""Strata: kinds of groups that limits treat differently, each told from what came before the group was first judged."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import polars as pl

from issue_analytics.counts import HOUR
from issue_analytics.detection import limit_in_force
from issue_analytics.errors import SettingsError
from issue_analytics.forecast import earliest_seen
from issue_analytics.frames import KEY, RULES, whole_numbers

__all__ = ["AGES", "STRATA", "VARIATIONS", "VOLUMES", "mark_small", "pool_small", "strata"]

VOLUMES: Final = ("silent", "<1/day", "1-10/day", "10-100/day", "100-1000/day", ">=1000/day")
"""By volume: occurrences per day in the week before a group is first judged."""

VARIATIONS: Final = ("silent", "<0.8", "0.8-1.4", ">=1.4")
"""By coefficient of variation (sample standard deviation / mean) of the 168 hourly counts before, silence as 0.

The edges are where the standard formula changes its mind: the spike multiplier ``1 + 5 cv`` is at its floor below 0.8
and at its ceiling above 1.4, where the bursty multiplier comes to its floor too (1.41).
"""

AGES: Final = ("<7 d", "7-28 d", ">=28 d", "unknown")
"""By age when first judged: a week is what limits look back on. Without ``first_seen`` a group may be older than its
data, so that only those with data of 28 days are known to be old."""

STRATA: Final = ("volume", "variation", "age", "branch", "type", "project_id")
"""The columns of a result's ``groups`` that it can be summed up by."""

_WEEK_HOURS: Final = 168
_VOLUME_EDGES: Final = ((1, "1-10/day"), (10, "10-100/day"), (100, "100-1000/day"), (1000, ">=1000/day"))
_OTHER: Final = "other"


def strata(
    history: pl.DataFrame,
    exposure: pl.DataFrame,
    limits: pl.DataFrame,
    first_seen: pl.DataFrame | pl.LazyFrame | None = None,
    types: pl.DataFrame | pl.LazyFrame | None = None,
) -> pl.DataFrame:
    """Tell of each judged group what kind it is, from the hours before it was first judged and from nothing later.

    Args:
        history: contract ``HourlyCounts``; hours at or after a group's first judged hour are not looked at.
        exposure: contract ``Exposure``: the judged spans, whole hours, such as ``result.exposure``.
        limits: contract ``Limits``.
        first_seen: group_id, first_seen and, where ids of projects collide, project_id.
        types: project_id, group_id, type; of several types the lowest counts.

    Returns:
        A row per group in ``exposure``, sorted: ``project_id``, ``group_id``, ``volume`` (of :data:`VOLUMES`),
        ``variation`` (of :data:`VARIATIONS`), ``age`` (of :data:`AGES`), ``branch`` (of ``RULES``: the branch of the
        limit in force in its first judged hour; ``none`` if there was none) and ``type`` (group type id; null if not
        known). All but ``type`` are enumerations in that order.

    Raises:
        FrameError: ``first_seen`` or ``types`` lacks a column, or has one of another type.

    >>> from datetime import UTC, datetime
    >>> from issue_analytics.frames import empty
    >>> start, group = datetime(2026, 1, 5, tzinfo=UTC), {"project_id": [1], "group_id": [7]}
    >>> week = pl.DataFrame(group).join(pl.DataFrame({"hour": [start + n * HOUR for n in range(168)]}), how="cross")
    >>> watched = pl.DataFrame({**group, "start": start + 168 * HOUR, "end": start + 240 * HOUR})
    >>> strata(week.with_columns(count=pl.lit(2)), watched, empty("Limits")).drop(KEY).rows()
    [('10-100/day', '<0.8', 'unknown', 'none', None)]
    """
    first = exposure.group_by(KEY).agg(first=pl.col("start").min())
    recent = pl.col("hour") >= pl.col("first") - timedelta(hours=_WEEK_HOURS)
    # floats: squares of the largest counts do not fit whole numbers
    count = pl.col("count").cast(pl.Float64)
    before = (
        history.lazy()
        .join(first.lazy(), on=KEY)
        .filter(pl.col("hour") < pl.col("first"), pl.col("count") > 0)
        .group_by(KEY)
        .agg(
            total=count.filter(recent).sum(),
            squares=(count.filter(recent) ** 2).sum(),
            began=pl.col("hour").min(),
        )
        .collect()
    )
    groups = first.join(before, on=KEY, how="left").with_columns(pl.col("total", "squares").fill_null(0.0))
    groups = _with_seen(groups, first_seen)
    groups = groups.join(_branches(first, limits), on=KEY, how="left")
    if types is None:
        groups = groups.with_columns(type=pl.lit(None, dtype=pl.Int64))
    else:
        known = whole_numbers("types", types, (*KEY, "type")).group_by(KEY).agg(pl.col("type").min()).collect()
        groups = groups.join(known, on=KEY, how="left")
    return groups.select(*KEY, _volume(), _variation(), _age(), "branch", "type").sort(KEY)


def pool_small(groups: pl.DataFrame, column: str, *, events: int = 10) -> pl.DataFrame:
    """Put strata of fewer than so many escalations together as ``other``: for projects and types, which may be many.

    Pool before summing up, so that rates and intervals are those of the pool: ``result.summary_by("project_id",
    pool=True)``. Strata in an order, such as volumes, are better marked: :func:`mark_small`.

    Args:
        groups: one row per group, with ``column`` and ``events``, such as ``result.groups``.
        column: what the strata are told by.
        events: the fewest escalations that a stratum can stand alone with.

    Returns:
        The frame with the column as an enumeration: what stands alone, in its order, then ``other``. A single small
        stratum keeps its name: there is nothing to put it together with.

    Raises:
        SettingsError: there is no such column.

    >>> groups = pl.DataFrame({"project_id": [9, 10, 10, 11], "events": [12, 8, 2, 9], "group_id": [1, 2, 3, 4]})
    >>> pool_small(groups, "project_id")["project_id"].to_list()
    ['9', '10', '10', '11']
    >>> pool_small(groups, "project_id", events=11)["project_id"].to_list()
    ['9', 'other', 'other', 'other']
    """
    if column not in groups.columns:
        raise SettingsError(f"no column {column} in groups. There are: {', '.join(groups.columns)}.")
    sizes = groups.group_by(column).agg(pl.col("events").sum()).sort(column)
    small = sizes.filter(pl.col("events") < events)[column]
    pooled = small.len() > 1
    alone = sizes.filter(pl.col("events") >= events)[column] if pooled else sizes[column]
    names = [*alone.drop_nulls().cast(pl.String), *([_OTHER] if pooled else [])]
    text = pl.col(column).cast(pl.String)
    if pooled:
        text = pl.when(pl.col(column).is_in(small.implode(), nulls_equal=True)).then(pl.lit(_OTHER)).otherwise(text)
    return groups.with_columns(text.cast(pl.Enum(names)).alias(column))


def mark_small(summary: pl.DataFrame, *, events: int = 10) -> pl.DataFrame:
    """Add ``too_few``: whether a row, such as one of ``result.summary_by``, rests on fewer escalations than ``events``.

    >>> mark_small(pl.DataFrame({"volume": ["silent", "<1/day"], "events": [3, 40]}))["too_few"].to_list()
    [True, False]
    """
    return summary.with_columns(too_few=pl.col("events") < events)


def _with_seen(groups: pl.DataFrame, first_seen: pl.DataFrame | pl.LazyFrame | None) -> pl.DataFrame:
    if first_seen is None:
        return groups.with_columns(first_seen=pl.lit(None, dtype=pl.Datetime("us", "UTC")))
    seen = earliest_seen(first_seen)
    return groups.join(seen, on=[name for name in KEY if name in seen.columns], how="left")


def _branches(first: pl.DataFrame, limits: pl.DataFrame) -> pl.DataFrame:
    # a limit may be made within the first judged hour: when its group is archived, from whole hours before that
    hours = first.lazy().with_columns(hour=pl.col("first") + HOUR - timedelta(microseconds=1))
    days = hours.select(*KEY, date=pl.col("hour").dt.date())
    return (
        limit_in_force(hours, limits.lazy().join(days, on=[*KEY, "date"], how="semi"))
        .select(*KEY, branch=pl.col("rule").cast(pl.String).fill_null("none").cast(pl.Enum(RULES)))
        .collect()
    )


def _volume() -> pl.Expr:
    return _banded(pl.col("total") / (_WEEK_HOURS / 24), "<1/day", _VOLUME_EDGES, VOLUMES).alias("volume")


def _variation() -> pl.Expr:
    n = _WEEK_HOURS
    square = n * (n * pl.col("squares") - pl.col("total") ** 2) / ((n - 1) * pl.col("total") ** 2)
    edges = ((0.8, "0.8-1.4"), (1.4, ">=1.4"))
    # rounding may leave the variance of a steady series just below 0
    return _banded(square.clip(lower_bound=0).sqrt(), "<0.8", edges, VARIATIONS).alias("variation")


def _banded(value: pl.Expr, lowest: str, edges: Sequence[tuple[float, str]], names: Sequence[str]) -> pl.Expr:
    band = pl.lit(lowest)
    for least, name in edges:
        band = pl.when(value >= least).then(pl.lit(name)).otherwise(band)
    return pl.when(pl.col("total") > 0).then(band).otherwise(pl.lit("silent")).cast(pl.Enum(names))


def _age() -> pl.Expr:
    days = (pl.col("first") - pl.min_horizontal("first_seen", "began")) / timedelta(days=1)
    old, known = days >= 28, pl.col("first_seen").is_not_null()
    age = pl.when(old).then(pl.lit(">=28 d")).when(~known).then(pl.lit("unknown"))
    return age.when(days >= 7).then(pl.lit("7-28 d")).otherwise(pl.lit("<7 d")).cast(pl.Enum(AGES)).alias("age")
