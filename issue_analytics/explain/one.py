"""Explain one hour of one group: find the limit in force, take it apart, and see what would change the answer."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import polars as pl

from issue_analytics.counts import HOUR
from issue_analytics.detection import limit_in_force
from issue_analytics.errors import SettingsError
from issue_analytics.explain.explanation import Explanation
from issue_analytics.explain.flips import VARIABLES, Arithmetic, Flip, distance, flips, nearest_flip
from issue_analytics.explain.reasons import Reason, Situation, reasons
from issue_analytics.explain.week import Terms, Week, terms_of
from issue_analytics.explain.words import number, stamp
from issue_analytics.forecast import check_buckets, earliest_seen
from issue_analytics.frames import KEY, check, require
from issue_analytics.kernel import Buckets
from issue_analytics.thresholds import PUBLISHED, STANDARD, FormulaConstants, ThresholdVariables, check_thresholds

__all__ = ["explain"]

_DAY: Final = timedelta(days=1)
_TIME: Final = pl.Datetime("us", "UTC")
_LAST_DAY: Final = 13
"""Days ahead that a stored forecast tells; the last one serves for what is left of its 14 days."""


class _Limit(NamedTuple):
    value: int | None
    rule: str | None
    as_of: datetime | None


def explain(
    counts: pl.DataFrame | pl.LazyFrame,
    group_id: int,
    at: datetime,
    *,
    project_id: int | None = None,
    thresholds: ThresholdVariables = STANDARD,
    buckets: Buckets = "sparse",
    limits: pl.DataFrame | pl.LazyFrame | None = None,
    escalations: pl.DataFrame | pl.LazyFrame | None = None,
    exposure: pl.DataFrame | pl.LazyFrame | None = None,
    missed: bool = False,
    first_seen: pl.DataFrame | pl.LazyFrame | None = None,
    constants: FormulaConstants = PUBLISHED,
) -> Explanation:
    """Explain why an hour of a group fired, or did not, and what would change the answer.

    The limit is taken apart into its terms; for each of the five variables the exact value is found at which the answer
    changes, and the nearest setting of all. For an hour that did not fire though an escalation is known, the reasons
    are given with their evidence, and with the limit as it would be without them.

    The result is the same as that of ``forecast`` and ``detect``, or of the backtest that made ``limits``.

    Args:
        counts: contract ``HourlyCounts``; a missing row is a silent hour.
        group_id: the group.
        at: a moment, with a time zone: its hour is explained, by the limit in force at that moment. The exact start of
            one of ``escalations`` stands for the busiest (exposed) hour of that escalation.
        project_id: needed where ids of groups in several projects collide.
        thresholds: the five thresholds.
        buckets: as in :func:`~issue_analytics.forecast.forecast`.
        limits: contract ``Limits``, made by these thresholds: the one in force is explained. By default a limit made
            at 00:00 UTC of the day.
        escalations: contract ``Escalations``: the known ones. One without a known end is taken to last 24 hours.
        exposure: contract ``Exposure``: when the group could have escalated; None: always.
        missed: give reasons though no escalation is known.
        first_seen: as in ``forecast``; not needed with ``limits``, which say who was new.
        constants: the constants of the formula.

    Returns:
        The explanation; ``print(explanation.text())`` shows it, ``plot_explanation`` draws it.

    Raises:
        SettingsError: ``at`` has no zone; the counts do not know the group, or its id stands in several projects; a
            limit in force was not made by these thresholds, buckets and counts.
        FrameError: a frame breaks its contract.

    >>> monday = datetime(2026, 1, 5, tzinfo=UTC)
    >>> busy = [(1, 7, monday + hour * HOUR, 17 if hour == 200 else 3) for hour in range(240)]
    >>> counts = pl.DataFrame(busy, schema=["project_id", "group_id", "hour", "count"], orient="row")
    >>> found = explain(counts, 7, monday + 200 * HOUR, missed=True)
    >>> found
    Explanation(group 7, Tue 2026-01-13 08:00: 17 does not fire at limit 18, rule spike)
    >>> [(flip.variable, round(flip.at, 6)) for flip in found.flips if flip.at is not None]
    [('min_spike_multiplier', 4.666667), ('max_spike_multiplier', 4.666667)]
    """
    check_thresholds(thresholds)
    check_buckets(buckets)
    at = _moment(at)
    others = {"Limits": limits, "Escalations": escalations, "Exposure": exposure}
    mine, project_id = _of_group(counts, group_id, project_id, others)
    count = dict(mine.select("hour", "count").iter_rows())
    key = (project_id, group_id)
    known = _spans(escalations, "Escalations", key, ("escalated_at", "ended_at"))
    exposed = None if exposure is None else _spans(exposure, "Exposure", key, ("start", "end"))
    at = _busiest(at, known, exposed, count)
    hour = at.replace(minute=0, second=0, microsecond=0)

    born = _born(first_seen, key)
    found, new = _in_force(limits, key, at) if limits is not None else (None, None)
    if found is None:
        midnight = hour.replace(hour=0)
        found = _Limit(None, "none", midnight)
        new = _young(born, midnight, buckets, constants)
    week = None
    day = hour.weekday()
    if found.as_of is not None and found.rule != "fallback":
        week = Week.before(found.as_of, count, buckets=buckets, constants=constants, new=new)
        if limits is None:
            value, rule = week.limit(day, thresholds)
            found = _Limit(value, rule, found.as_of)
        else:
            day = _checked(week, found, hour, thresholds)
    here = count.get(hour, 0)
    fires = found.value is not None and 0 < found.value < here
    terms = None if week is None else terms_of(week, day, thresholds)
    changed, nearest = _changes(here, week, terms, thresholds)
    escalation = next(((start, end) for start, end in known if _meets(start, end, hour)), None)
    told: tuple[Reason, ...] = ()
    if not fires and (missed or escalation is not None):
        fresh_new = _young(born, hour, buckets, constants) if first_seen is not None else (
            new if buckets == "dense" else None
        )  # fmt: skip
        told = reasons(
            Situation(
                hour=hour, count=here, limit=found.value, rule=found.rule, as_of=found.as_of, week=week, terms=terms,
                fresh=Week.before(hour, count, buckets=buckets, constants=constants, new=fresh_new),
                counts=count, thresholds=thresholds,
                escalations=[(start, _end(start, end)) for start, end in known],
                exposed=None if exposed is None else any(_overlaps(span, hour) for span in exposed),
            )
        )  # fmt: skip
    return Explanation(
        project_id=project_id,
        group_id=group_id,
        hour=hour,
        count=here,
        limit=found.value,
        rule=found.rule or "none",
        as_of=found.as_of,
        fires=fires,
        thresholds=thresholds,
        buckets=buckets,
        constants=constants,
        week=week,
        terms=terms,
        flips=changed,
        nearest=nearest,
        distance=None if nearest is None else distance(thresholds, nearest),
        escalation=escalation,
        reasons=told,
        hours=_hours(mine, week.start if week else hour - constants.window_hours * HOUR, hour),
    )


def _moment(at: datetime) -> datetime:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise SettingsError(f"at: expected a datetime with a time zone, got {at!r}; write datetime(..., tzinfo=UTC).")
    if not 1970 <= at.year < 3000:
        raise SettingsError(f"at: {at.isoformat()} is no time of ours.")
    return at.astimezone(UTC)


def _of_group(
    counts: pl.DataFrame | pl.LazyFrame,
    group_id: int,
    project_id: int | None,
    others: Mapping[str, pl.DataFrame | pl.LazyFrame | None],
) -> tuple[pl.DataFrame, int]:
    """The group's counts by hour, and its project; a group without any count may be known from elsewhere."""
    for name, value in (("group_id", group_id), ("project_id", project_id)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise SettingsError(f"{name}: expected a whole number, got {value!r}.")
    group = pl.col("group_id") == group_id
    if project_id is not None:
        group &= pl.col("project_id") == project_id
    lazy = require(counts.lazy(), "HourlyCounts").select(*KEY, "hour", "count")
    mine = check(lazy.filter(group).sort("hour").collect(), "HourlyCounts")
    projects = set(mine["project_id"])
    for contract, frame in others.items():
        if frame is not None:
            known = require(frame.lazy(), contract, columns=KEY).filter(group).select("project_id").collect()
            projects |= set(known["project_id"])
    if not projects:
        where = "" if project_id is None else f" of project {project_id}"
        raise SettingsError(f"group {group_id}{where}: the counts do not know it. Look up counts['group_id'].unique().")
    if len(projects) > 1:
        raise SettingsError(
            f"group {group_id} stands in projects {', '.join(map(str, sorted(projects)))}; say which with project_id="
        )
    return mine, projects.pop()


def _spans(
    frame: pl.DataFrame | pl.LazyFrame | None, contract: str, key: tuple[int, int], names: tuple[str, str]
) -> list[tuple[datetime, datetime | None]]:
    """The group's spans, by their start; an open end is None."""
    if frame is None:
        return []
    found = require(frame.lazy(), contract, columns=(*KEY, *names)).filter(project_id=key[0], group_id=key[1])
    return list(found.select(names).sort(names).collect().iter_rows())


def _end(start: datetime, end: datetime | None) -> datetime:
    return start + _DAY if end is None else end


def _meets(start: datetime, end: datetime | None, hour: datetime) -> bool:
    return start < hour + HOUR and _end(start, end) > hour


def _overlaps(span: tuple[datetime, datetime | None], hour: datetime) -> bool:
    return span[0] < hour + HOUR and (span[1] is None or span[1] > hour)


def _busiest(
    at: datetime,
    known: Sequence[tuple[datetime, datetime | None]],
    exposed: Sequence[tuple[datetime, datetime | None]] | None,
    count: Mapping[datetime, int],
) -> datetime:
    """The busiest exposed hour of the escalation that starts ``at``, the first of several; else ``at`` itself."""
    for start, end in known:
        if start == at:
            hours = [hour for hour in count if _meets(start, end, hour)]
            if exposed is not None:
                hours = [hour for hour in hours if any(_overlaps(span, hour) for span in exposed)] or hours
            return max(hours, key=lambda hour: (count[hour], at - hour), default=at)
    return at


def _in_force(limits: pl.DataFrame | pl.LazyFrame, key: tuple[int, int], at: datetime) -> tuple[_Limit, bool | None]:
    """The limit in force at a moment, and whether it is one of a new group."""
    mine = require(limits.lazy(), "Limits").filter(project_id=key[0], group_id=key[1])
    asked = pl.DataFrame([(*key, at)], schema=[*((name, pl.Int64) for name in KEY), ("hour", _TIME)], orient="row")
    row = limit_in_force(asked.lazy(), mine).collect().row(0, named=True)
    found = _Limit(row["limit"], row["rule"], row["as_of"])
    # a silent window tells nothing about age
    return found, None if found.rule in (None, "none") else found.rule == "new"


def _born(first_seen: pl.DataFrame | pl.LazyFrame | None, key: tuple[int, int]) -> datetime | None:
    if first_seen is None:
        return None
    seen = earliest_seen(first_seen)
    keys = dict(zip(KEY, key, strict=True))
    known = seen.filter(**{name: keys[name] for name in KEY if name in seen.columns})["first_seen"].to_list()
    return known[0] if known else None


def _young(born: datetime | None, made: datetime, buckets: Buckets, constants: FormulaConstants) -> bool | None:
    """Whether a group is new when a limit is made; None: silent hours decide."""
    if buckets == "sparse":
        return None
    return born is not None and made - born < constants.window_hours * HOUR


def _checked(week: Week, found: _Limit, hour: datetime, thresholds: ThresholdVariables) -> int:
    """The weekday a limit in force was made for.

    Raises:
        SettingsError: the window does not give that limit.
    """
    days = [hour.weekday()]
    if found.as_of is not None and (hour.date() - found.as_of.date()).days > _LAST_DAY:
        days.append((found.as_of + _LAST_DAY * _DAY).weekday())
    made = [week.limit(day, thresholds) for day in days]
    for day, limit in zip(days, made, strict=True):
        if limit == (found.value, found.rule):
            return day
    theirs, ours = (
        f"{'none' if value is None else number(value)} (branch {rule})"
        for value, rule in ((found.value, found.rule), made[0])
    )
    raise SettingsError(
        f"limits: in force at {stamp(hour)} is {theirs}, but these counts, thresholds and {week.buckets} buckets make "
        f"{ours}. Pass what the limits were made with."
    )


def _changes(
    count: int, week: Week | None, terms: Terms | None, thresholds: ThresholdVariables
) -> tuple[tuple[Flip, ...], ThresholdVariables | None]:
    """What each variable would have to be, and the nearest setting, for the other answer."""
    if week is None or terms is None or count == 0:
        inert = (Flip(variable=name, value=getattr(thresholds, name)) for name in VARIABLES)
        return tuple(inert), None
    hour = Arithmetic(
        count=count,
        busiest=week.busiest,
        mean=terms.mean,
        deviation=terms.deviation,
        weighted=terms.weighted,
        decay=terms.bursty.before,
        constants=week.constants,
    )
    return flips(hour, thresholds), nearest_flip(hour, thresholds)


def _hours(mine: pl.DataFrame, start: datetime, hour: datetime) -> pl.DataFrame:
    """Every hour from ``start`` to a day after ``hour``, as far as the group's counts reach."""
    known = mine["hour"].max()
    last = max(hour, min(hour + _DAY, known)) if isinstance(known, datetime) else hour
    hours = pl.datetime_range(start, last, HOUR, time_unit="us", time_zone="UTC", eager=True)
    return (
        pl.DataFrame({"hour": hours})
        .join(mine.select("hour", "count"), on="hour", how="left", maintain_order="left")
        .with_columns(pl.col("count").fill_null(0))
    )
