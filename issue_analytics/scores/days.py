"""Group-days: each limit, how many judged hours it stood for, and how many of them exceeded it."""

from datetime import timedelta
from typing import Final

import polars as pl

from issue_analytics.counts import HOUR
from issue_analytics.frames import KEY, RULES
from issue_analytics.scores.exposed import exposed

__all__ = ["first_of", "group_days", "hours_in", "limit_spans", "limits_of"]

_DAY: Final = timedelta(days=1)
_LIMIT: Final = (*KEY, "date", "as_of")
_MIDNIGHT: Final = pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


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

    Raises:
        FrameError: the exposure has open or overlapping spans, or hours in part.

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
    days, held = _exposed_days(exposure), _held(limits)
    spans = _numbered(pl.concat([_limited(days, held), _unlimited(days, held)]))
    inside = (
        hours_in(spans, counts.lazy().select(*KEY, "hour", "count").filter(pl.col("count") > 0))
        .group_by("number")
        .agg(
            busy_hours=pl.len().cast(pl.Int64),
            occurrences=pl.col("count").sum(),
            peak=pl.col("count").max(),
        )
        .collect()
    )
    over = (
        hours_in(spans, crossings.lazy().select(*KEY, "hour"))
        .group_by("number")
        .agg(crossings=pl.len().cast(pl.Int64))
        .collect()
    )
    return (
        limits_of(spans)
        .join(inside, on="number", how="left", maintain_order="left")
        .join(over, on="number", how="left", maintain_order="left")
        .with_columns(
            pl.col("busy_hours", "occurrences", "peak", "crossings").fill_null(0), pl.col("rule").cast(pl.Enum(RULES))
        )
        .select(*KEY, "date", "as_of", "limit", "rule", "hours", "busy_hours", "occurrences", "peak", "crossings")
    )


def limit_spans(exposure: pl.DataFrame, limits: pl.DataFrame) -> pl.DataFrame:
    """Spans of judged hours, each with the limit that was in force in it.

    Args:
        exposure: contract ``Exposure``, whole hours, not overlapping; a result's ``exposure``.
        limits: contract ``Limits``; a result's ``limits``.

    Returns:
        One row per group, UTC day, limit and span: ``project_id``, ``group_id``, ``date``, ``as_of``, ``limit``
        (null where the window was silent), ``rule``, ``start``, ``end``, and ``number``, which is the same for spans of
        one group, day and limit; by group, day, ``as_of`` and ``start``. Hours for which no limit was made are in none.

    Raises:
        FrameError: the exposure has open or overlapping spans, or hours in part.
    """
    return _numbered(_limited(_exposed_days(exposure), _held(limits)))


def limits_of(spans: pl.DataFrame) -> pl.DataFrame:
    """One row per ``number`` of spans, in order: the group, day, limit and rule, and ``hours``, how long it judged."""
    return spans.group_by("number", maintain_order=True).agg(
        pl.col(*_LIMIT, "limit", "rule").first(), hours=(pl.col("end") - pl.col("start")).dt.total_hours().sum()
    )


def hours_in(spans: pl.DataFrame, hours: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of ``hours`` (a group and an ``hour``) that lie in a span, with the ``number`` of it; in no order."""
    return (
        hours.sort("hour")
        .join_asof(
            spans.lazy().select(*KEY, "start", "end", "number").sort("start"),
            left_on="hour",
            right_on="start",
            by=list(KEY),
            strategy="backward",
            check_sortedness=False,  # with `by` polars cannot check; both sides were sorted just now
        )
        .filter(pl.col("hour") < pl.col("end"))
        .drop("start", "end")
    )


def first_of(*columns: str) -> pl.Expr:
    """Whether a row is the first of those that are alike in these columns, in a frame that is sorted by them.

    Many times quicker than a window over as many groups as there are group-days.
    """
    return pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in columns)


def _exposed_days(exposure: pl.DataFrame) -> pl.DataFrame:
    """Cut spans at midnight UTC."""
    first, last = pl.col("start").dt.date(), (pl.col("end") - HOUR).dt.date()
    return (
        exposed(exposure)
        .with_columns(date=pl.date_ranges(first, last))
        .explode("date")
        .with_columns(
            start=pl.max_horizontal("start", _MIDNIGHT),
            end=pl.min_horizontal("end", _MIDNIGHT + _DAY),
        )
    )


def _held(limits: pl.DataFrame) -> pl.DataFrame:
    """Limits in order, with the first hour each judges (``made``), and the first that the day's next one does."""
    # a limit made inside an hour judges from the next on
    whole = (pl.col("as_of") + HOUR - timedelta(microseconds=1)).dt.truncate("1h")
    following = pl.col("made").shift(-1)
    return (
        limits.select(*_LIMIT, "limit", "rule", made=pl.max_horizontal(whole, _MIDNIGHT))
        .sort(_LIMIT)
        .with_columns(first=first_of(*KEY, "date"))
        .with_columns(until=pl.when(~pl.col("first").shift(-1)).then(following))
    )


def _limited(days: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """Exposed hours of each day in which each of its limits was the latest one made, as spans."""
    return (
        days.join(held, on=[*KEY, "date"])
        .with_columns(
            start=pl.max_horizontal("start", "made"), end=pl.min_horizontal("end", pl.coalesce("until", "end"))
        )
        .filter(pl.col("start") < pl.col("end"))
        .select(*_LIMIT, "limit", "rule", "start", "end")
    )


def _unlimited(days: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """Exposed hours of each day before the first of its limits was made, as spans without a limit."""
    first = held.filter("first").select(*KEY, "date", until="made")
    never = {name: pl.lit(None, held.schema[name]) for name in ("as_of", "limit")}
    return (
        days.join(first, on=[*KEY, "date"], how="left")
        .with_columns(end=pl.min_horizontal("end", pl.coalesce("until", "end")))
        .filter(pl.col("start") < pl.col("end"))
        .with_columns(**never, rule=pl.lit("none", held.schema["rule"]))
        .select(*_LIMIT, "limit", "rule", "start", "end")
    )


def _numbered(spans: pl.DataFrame) -> pl.DataFrame:
    """Spans in order, with the number of the group, day and limit that they are of."""
    return spans.sort(*_LIMIT, "start").with_columns(number=first_of(*_LIMIT).cum_sum())
