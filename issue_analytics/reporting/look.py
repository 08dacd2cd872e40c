"""What there is to see of one group around one moment: counts, the limits in force, what fired, and why in words.

Plots and the report say the same because both take it from here.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from issue_analytics.counts import HOUR
from issue_analytics.detection import limit_in_force
from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY, empty, require
from issue_analytics.reporting.text import number, stamp

__all__ = ["Focus", "Look", "look", "reason"]

WEEK = timedelta(days=7)
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Focus:
    """The hour a plot is about: its count, and the limit in force (null: none), with the branch that made it."""

    hour: datetime
    count: int
    limit: int | None
    rule: str
    as_of: datetime | None
    fired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Two weeks of one group, hour by hour.

    Attributes:
        hours: one row per hour of [start, end): hour, count (silence is 0), limit, rule, as_of (null where no limit was
            in force), fired (whether the hour is a predicted escalation).
        start: a week before ``boundary``.
        boundary: when the limit in force was made: history before, judged hours after.
        boundary_name: what ``boundary`` is; the midnight before the moment asked for where no limit was made.
        end: a week after ``boundary``.
        escalations: the group's actual escalations that overlap the two weeks: escalated_at, ended_at.
        focus: the hour the picture is about.
        headline: whether it fired, with the count and the limit.
        reason: how the limit came about.
    """

    hours: pl.DataFrame
    start: datetime
    boundary: datetime
    boundary_name: str
    end: datetime
    escalations: pl.DataFrame
    focus: Focus
    headline: str
    reason: str


def look(
    counts: pl.DataFrame | pl.LazyFrame,
    limits: pl.DataFrame | pl.LazyFrame,
    *,
    group_id: int,
    at: datetime,
    project_id: int | None = None,
    alerts: pl.DataFrame | pl.LazyFrame | None = None,
    escalations: pl.DataFrame | pl.LazyFrame | None = None,
    focus: bool = False,
) -> Look:
    """Gather what a plot of one group around ``at`` shows.

    Args:
        counts: contract ``HourlyCounts``.
        limits: contract ``Limits``.
        group_id: the group.
        at: aware; the two weeks meet where the limit in force at that hour was made.
        project_id: needed where ids of groups in several projects collide.
        alerts: contract ``Alerts``: the hours to mark; None marks every hour over its limit.
        escalations: contract ``Escalations``.
        focus: tell of the hour of ``at`` itself, and not of what fired first.

    Raises:
        SettingsError: ``at`` has no zone, the group is unknown, or its id stands in several projects.
        FrameError: a frame lacks a column.
    """
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise SettingsError(f"at: expected a datetime with a time zone, got {at!r}; write datetime(..., tzinfo=UTC).")
    at_hour = _hour_of(at)
    of_group = {
        name: _of_group(frame, name, group_id, project_id)
        for name, frame in (
            ("HourlyCounts", counts),
            ("Limits", limits),
            ("Alerts", alerts),
            ("Escalations", escalations),
        )
        if frame is not None
    }
    known = sorted({key for frame in of_group.values() for key in frame["project_id"].unique()})
    if not known:
        where = "" if project_id is None else f" of project {project_id}"
        raise SettingsError(f"group {group_id}{where}: neither counts nor limits know it. Look up .group_id.unique().")
    if len(known) > 1:
        raise SettingsError(
            f"group {group_id} stands in projects {', '.join(map(str, known))}; say which with project_id="
        )

    key = (known[0], group_id)
    at_once = _in_force(of_group["Limits"], pl.DataFrame({"hour": [at_hour]}, schema={"hour": _HOUR}), key=key)
    as_of: datetime | None = at_once["as_of"].item()
    # a limit held for longer than a week: show where it is used, and history up to there
    recent = as_of is not None and at_hour < as_of + WEEK
    # one that was made on archive, within an hour, is in force in whole hours from the next one on
    boundary = _hour_of(as_of + HOUR - _INSTANT) if as_of is not None and recent else at_hour.replace(hour=0)
    start, end = boundary - WEEK, boundary + WEEK
    hours = (
        _in_force(of_group["Limits"], _every_hour(start, end), key=key)
        .join(of_group["HourlyCounts"].select("hour", "count"), on="hour", how="left", maintain_order="left")
        .with_columns(pl.col("count").fill_null(0))
    )
    if alerts is None:
        fired = (pl.col("count") > pl.col("limit")) & (pl.col("limit") > 0)
    else:
        fired = pl.col("hour").is_in(of_group["Alerts"]["hour"].implode())
    hours = hours.with_columns(fired=fired.fill_null(value=False)).select(
        "hour", "count", "limit", "rule", "as_of", "fired"
    )
    chosen = _focus(hours, boundary, at_hour, only=focus)
    seen = _of_escalations(of_group.get("Escalations"), start, end)
    made = _hour_of(chosen.as_of or start)
    before = of_group["HourlyCounts"].filter(pl.col("hour").is_between(made - WEEK, made, closed="left"))
    return Look(
        hours=hours,
        start=start,
        boundary=boundary,
        boundary_name=_boundary_name(hours, boundary),
        end=end,
        escalations=seen,
        focus=chosen,
        headline=_headline(chosen),
        reason=reason(chosen, before),
    )


def _in_force(limits: pl.DataFrame, hours: pl.DataFrame, *, key: tuple[int, int]) -> pl.DataFrame:
    """Hours of one group with the limit in force, its rule, and when it was made."""
    keyed = hours.lazy().with_columns(
        pl.lit(value, dtype=pl.Int64).alias(name) for name, value in zip(KEY, key, strict=True)
    )
    return limit_in_force(keyed, limits.lazy()).with_columns(pl.col("rule").cast(pl.String)).drop(KEY).collect()


def reason(focus: Focus, before: pl.DataFrame) -> str:
    """Name the branch that made the limit, with the number of the week before that it rests on.

    Args:
        focus: the hour.
        before: the group's counts of the 168 hours before the limit was made; fewer, if less is at hand.

    >>> from datetime import UTC
    >>> at = datetime(2026, 1, 5, tzinfo=UTC)
    >>> reason(Focus(hour=at, count=9, limit=46, rule="bursty", as_of=at, fired=False),
    ...     pl.DataFrame({"hour": [at - HOUR], "count": [23]}))
    'bursty: 2.00 x busiest hour 23 = 46'
    """
    busiest = max(before["count"].to_list(), default=0)
    total = int(before["count"].sum())
    if focus.as_of is None:
        return "no limit had been made for this hour"
    if focus.limit is None:
        return "no limit: the 168 hours before it was to be made were silent"
    if focus.rule == "fallback":
        return f"fallback: a fixed limit of {number(focus.limit)}, no fresh forecast was at hand"
    if busiest == 0 or focus.rule not in ("new", "bursty", "spike"):
        return f"{focus.rule}: limit {number(focus.limit)}"
    if focus.rule == "spike":
        mean = total / (WEEK // HOUR)
        return f"spike: {focus.limit / mean:.2f} x mean hour {number(mean)} = {number(focus.limit)}"
    factor = focus.limit / busiest
    times = f"{factor:.0f}" if focus.rule == "new" and factor.is_integer() else f"{factor:.2f}"
    # a limit is a whole number: where it was cut, the factor is only nearly this
    equal = "=" if abs(factor - round(factor, 2)) < 1e-9 else "≈"
    return f"{focus.rule}: {times} x busiest hour {number(busiest)} {equal} {number(focus.limit)}"


def _headline(focus: Focus) -> str:
    count, at = number(focus.count), stamp(focus.hour)
    if focus.limit is None:
        return f"No limit in force: {count} at {at}, nothing could fire"
    limit = number(focus.limit)
    if focus.fired:
        return f"Fired: {count} > {limit} at {at}"
    if focus.count > focus.limit > 0:
        return f"Over the limit but no alert given: {count} > {limit} at {at}"
    return f"Not fired: peak {count}, limit {limit} at {at}"


def _boundary_name(hours: pl.DataFrame, boundary: datetime) -> str:
    first = hours.row(by_predicate=pl.col("hour") == boundary, named=True)
    if first["as_of"] is None or not boundary - HOUR < first["as_of"] <= boundary:
        return "start of the day"
    return "limit made" if first["limit"] is not None else "limit due, none made"


def _hour_of(at: datetime) -> datetime:
    return datetime.fromtimestamp(at.timestamp() // 3600 * 3600, tz=UTC)


def _focus(hours: pl.DataFrame, boundary: datetime, at: datetime, *, only: bool) -> Focus:
    judged = hours.filter(pl.col("hour") >= boundary)
    fired = judged.filter("fired")
    at_row = hours.filter(pl.col("hour") == at)
    if only or at_row["fired"].item():
        row = at_row
    elif fired.height:
        row = fired.head(1)
    elif at_row["limit"].item() is None and at_row["count"].item():
        row = at_row  # what was asked for happened without a limit: that is the answer
    else:
        # nearest to firing: hours without a limit come last, then the largest share of the limit, then the earliest
        share = pl.col("count") / pl.max_horizontal("limit", 1)
        row = judged.sort(pl.col("limit").is_null(), -share, -pl.col("count"), "hour").head(1)
    return Focus(**row.row(0, named=True))


def _every_hour(start: datetime, end: datetime) -> pl.DataFrame:
    return pl.DataFrame({"hour": pl.datetime_range(start, end, HOUR, closed="left", time_unit="us", eager=True)})


def _of_group(frame: pl.DataFrame | pl.LazyFrame, contract: str, group_id: int, project_id: int | None) -> pl.DataFrame:
    lazy = require(frame.lazy(), contract, columns=(*KEY, *_NEEDED[contract]))
    group = pl.col("group_id") == group_id
    if project_id is not None:
        group &= pl.col("project_id") == project_id
    return lazy.filter(group).select(*KEY, *_NEEDED[contract]).collect()


def _of_escalations(escalations: pl.DataFrame | None, start: datetime, end: datetime) -> pl.DataFrame:
    if escalations is None:
        return empty("Escalations").select("escalated_at", "ended_at")
    ended = pl.coalesce("ended_at", pl.col("escalated_at") + HOUR)
    return (
        escalations.filter(pl.col("escalated_at") < end, ended > start)
        .select("escalated_at", "ended_at")
        .sort("escalated_at")
    )


_HOUR = pl.Datetime("us", "UTC")

_NEEDED = {
    "HourlyCounts": ("hour", "count"),
    "Limits": ("date", "limit", "rule", "as_of"),
    "Alerts": ("hour",),
    "Escalations": ("escalated_at", "ended_at"),
}
