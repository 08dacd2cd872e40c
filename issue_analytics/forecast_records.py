"""Forecasts as the tracker stores them: 14 limits of a group, good for 14 days, and the check against today's.

The tracker makes a forecast now and then, stores its 14 values under the group, and looks up today's whenever an event
arrives. What is stored may be days old, or have lapsed; where nothing is, a limit of 10 events an hour stands in.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

import polars as pl

from issue_analytics.counts import HOUR, hourly_counts, whole_hour
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.forecast import forecast
from issue_analytics.frames import KEY, check, empty, require
from issue_analytics.issues.payload import Problems, as_fields, as_time, as_whole, refuse, shown
from issue_analytics.kernel import Buckets
from issue_analytics.thresholds import STANDARD, ThresholdVariables

__all__ = [
    "DAYS",
    "FALLBACK",
    "LIFE",
    "SOURCES",
    "DayLimit",
    "EscalationCheck",
    "ForecastRecord",
    "forecast_records",
    "in_force",
    "is_escalating",
    "limits_at",
]

DAYS: Final = 14
"""Limits in a stored forecast, the first for the UTC day it was made on."""

LIFE: Final = timedelta(days=DAYS)
"""How long a stored forecast is kept."""

FALLBACK: Final = 10
"""The limit where no forecast is stored, events per clock hour."""

SOURCES: Final = ("stored", "last", "beyond", "fallback")
"""Where a limit comes from: a day's own value; the last value on day 14, or later still; or nothing was stored."""

_INSTANT: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class DayLimit:
    """The limit of one day, and how far that day lies from the making of the forecast.

    ``note`` says what is odd about it: the day is beyond those forecast. None where all is well.
    """

    limit: int
    index: int
    note: str | None = None


@dataclass(frozen=True, slots=True)
class ForecastRecord:
    """One forecast of one group, as the tracker stores it.

    Args:
        project_id: 0 or more.
        group_id: 0 or more.
        forecast: 14 limits in events per clock hour, the first for the UTC date of ``date_added``.
        date_added: when it was stored; with a zone. Kept in UTC, to the microsecond.

    Raises:
        FrameError: a field is missing, of the wrong type, or makes no sense; the message names every such field.

    >>> record = ForecastRecord(3, 7, [46] * 7 + [50] * 7, datetime(2026, 1, 5, 9, 30, tzinfo=UTC))
    >>> record.limit_at(datetime(2026, 1, 12, tzinfo=UTC))
    DayLimit(limit=50, index=7, note=None)
    >>> ForecastRecord.from_dict(record.to_dict()) == record
    True
    """

    project_id: int
    group_id: int
    forecast: tuple[int, ...]
    date_added: datetime

    def __post_init__(self) -> None:
        problems: Problems = []
        for name in KEY:
            if as_whole(getattr(self, name), name, problems) is None and getattr(self, name) is None:
                problems.append(f"{name}: missing; a whole number is needed")
        object.__setattr__(self, "forecast", _limits(self.forecast, problems))
        object.__setattr__(self, "date_added", as_time(self.date_added, "date_added", problems))
        refuse("ForecastRecord", problems)

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any]) -> Self:
        """Build from the stored form; fields other than the four are not looked at.

        Raises:
            FrameError: it is no mapping, or a field is missing or makes no sense.

        >>> ForecastRecord.from_dict({"project_id": 3, "group_id": 7, "forecast": [46], "date_added": 1767605400.0})
        Traceback (most recent call last):
        issue_analytics.errors.FrameError: ForecastRecord: forecast: expected 14 limits, got 1.
        """
        values = as_fields("ForecastRecord", payload)
        return cls(*(values.get(name) for name in ("project_id", "group_id", "forecast", "date_added")))  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """The stored form: ``forecast`` a list, ``date_added`` seconds since 1970."""
        return asdict(self) | {"forecast": list(self.forecast), "date_added": self.date_added.timestamp()}

    @property
    def expires_at(self) -> datetime:
        """From when on it is no longer there: 14 days after it was stored."""
        return self.date_added + LIFE

    def limit_at(self, at: datetime) -> DayLimit:
        """The limit of the UTC day of ``at``, whether the record is still there by then or not.

        The first value is for the day the record was stored on, the last one also for day 14. Further days get the last
        value too, as in the tracker, with a note that says so.

        Raises:
            FrameError: the day lies before the record was stored: counting back from the end, as a list does, would
                give a value that means another day.
            SettingsError: ``at`` has no zone.

        >>> record = ForecastRecord(3, 7, range(1, 15), datetime(2026, 1, 5, 9, 30, tzinfo=UTC))
        >>> record.limit_at(datetime(2026, 1, 20, tzinfo=UTC)).note
        'made on 2026-01-05, asked for 2026-01-20, 15 days later: the last of 14 limits stands in'
        >>> record.limit_at(datetime(2026, 1, 4, 23, tzinfo=UTC))
        Traceback (most recent call last):
        issue_analytics.errors.FrameError: ForecastRecord: made on 2026-01-05, asked for 2026-01-04: a forecast says ...
        """
        made, asked = self.date_added.date(), _aware(at).date()
        index = (asked - made).days
        if index < 0:
            raise FrameError(
                f"ForecastRecord: made on {made}, asked for {asked}: a forecast says nothing of days before it."
            )
        note = f"made on {made}, asked for {asked}, {index} days later: the last of {DAYS} limits stands in"
        return DayLimit(self.forecast[min(index, DAYS - 1)], index, note if index > DAYS else None)


def _limits(value: object, problems: Problems) -> tuple[int, ...]:
    if not isinstance(value, list | tuple | range):
        problems.append(f"forecast: expected a list of {DAYS} limits, got {shown(value)}")
        return ()
    if len(value) != DAYS:
        problems.append(f"forecast: expected {DAYS} limits, got {len(value)}")
    limits = [as_whole(limit, f"forecast[{day}]", problems) for day, limit in enumerate(value)]
    problems += [f"forecast[{day}]: null; a limit is needed" for day, limit in enumerate(value) if limit is None]
    return tuple(limit for limit in limits if limit is not None)


def _aware(at: datetime) -> datetime:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise SettingsError(f"at: expected a datetime with a time zone, got {at!r}; write datetime(..., tzinfo=UTC).")
    return at.astimezone(UTC)


# ---------------------------------------------------------------------------------------------------------------------
# All groups at once


def forecast_records(limits: pl.DataFrame, *, date_added: datetime | None = None) -> pl.DataFrame:
    """Turn limits of 14 days into the records that the tracker would store.

    Args:
        limits: contract ``Limits``, 14 days for each ``as_of``. Groups without a limit (rule ``none``) get no record:
            the tracker stores none where the week was silent.
        date_added: when the records are stored, where that is later on the day of ``as_of``; default: ``as_of``.

    Returns:
        Contract ``ForecastRecords``, by group and time.

    Raises:
        FrameError: the contract is broken, or a group and ``as_of`` has other days than the 14 from its date on.
        SettingsError: ``date_added`` has no zone, or lies on another UTC day than an ``as_of``, or before it.

    >>> from issue_analytics.forecast import forecast
    >>> counts = pl.DataFrame({"project_id": [1], "group_id": [7], "count": [3],
    ...     "hour": [datetime(2026, 1, 5, 9, tzinfo=UTC)]})
    >>> records = forecast_records(forecast(counts, datetime(2026, 1, 6, tzinfo=UTC)))
    >>> records["forecast"].to_list()[0][:3], ForecastRecord(**records.row(0, named=True)).expires_at.day
    ([30, 30, 30], 20)
    """
    known = check(limits, "Limits").filter(pl.col("limit").is_not_null())
    day = (pl.col("date") - pl.col("as_of").dt.date()).dt.total_days()
    made = (
        known.with_columns(day=day)
        .group_by(*KEY, "as_of")
        .agg(pl.col("day").sort(), forecast=pl.col("limit").sort_by("day"))
        .sort(*KEY, "as_of")
    )
    other = made.filter(pl.col("day") != list(range(DAYS)))
    if not other.is_empty():
        project, group, as_of, days, _ = other.row(0)
        raise FrameError(
            f"Limits: group {group} of project {project}, made at {as_of:%Y-%m-%d %H:%M}, has {len(days)} days from "
            f"day {days[0]} on; a record holds {DAYS} from day 0 on. Forecast with days={DAYS}."
        )
    stored = pl.col("as_of") if date_added is None else pl.lit(_stored(made["as_of"], date_added))
    return check(made.select(*KEY, date_added=stored, forecast="forecast"), "ForecastRecords")


def _stored(made: pl.Series, date_added: datetime) -> datetime:
    date_added = _aware(date_added)
    if not (made.is_empty() or ((made.dt.date() == date_added.date()) & (made <= date_added)).all()):
        raise SettingsError(f"date_added: {date_added.isoformat()} is not later on the UTC day of every as_of.")
    return date_added


def in_force(
    moments: pl.DataFrame, records: pl.DataFrame, *, fallback: int = FALLBACK, expire: bool = True
) -> pl.DataFrame:
    """Put ``limit``, ``source`` and ``date_added`` beside groups and moments (project_id, group_id, ``at``).

    As :func:`limits_at` does, for a moment of its own in each row. Rows come back by time.
    """
    days = (pl.col("at").dt.date() - pl.col("date_added").dt.date()).dt.total_days()
    lapsed = pl.col("date_added").is_null()
    if expire:
        lapsed |= pl.col("at") - pl.col("date_added") >= LIFE
    return (
        moments.sort("at")
        .join_asof(
            records.select(*KEY, "date_added", "forecast").sort("date_added"),
            left_on="at",
            right_on="date_added",
            by=KEY,
            strategy="backward",
            coalesce=False,
            check_sortedness=False,  # with `by` polars cannot check; both sides were sorted just now
        )
        .with_columns(
            limit=pl.when(lapsed)
            .then(fallback)
            .otherwise(pl.col("forecast").list.get(pl.min_horizontal(days, DAYS - 1), null_on_oob=True)),
            source=pl.when(lapsed)
            .then(pl.lit("fallback"))
            .when(days < DAYS)
            .then(pl.lit("stored"))
            .when(days == DAYS)
            .then(pl.lit("last"))
            .otherwise(pl.lit("beyond"))
            .cast(pl.Enum(SOURCES)),
            date_added=pl.when(~lapsed).then("date_added"),
        )
        .drop("forecast")
    )


def limits_at(
    records: pl.DataFrame, groups: pl.DataFrame, at: datetime, *, fallback: int = FALLBACK, expire: bool = True
) -> pl.DataFrame:
    """Look up the limit that holds for each group at one moment.

    Args:
        records: contract ``ForecastRecords``. The newest made at or before ``at`` counts, if it is younger than 14
            days; an older one is as good as none.
        groups: project_id and group_id; further columns and repeated rows are not looked at.
        at: aware. Its UTC day picks the value.
        fallback: the limit where none is stored.
        expire: False for a store that does not delete what has lapsed: the last value goes on, source ``beyond``.

    Returns:
        A row for each group, by project and group: ``limit`` in events per clock hour; ``source``, one of
        ``stored`` (the day's own value), ``last`` (day 14: the last value), ``beyond`` (later: the last value) and
        ``fallback`` (nothing stored); ``date_added`` of the record, null where there is none.

    Raises:
        FrameError: the records break their contract, or a column of ``groups`` is missing.
        SettingsError: ``at`` has no zone, or ``fallback`` is negative.

    >>> records = pl.DataFrame([ForecastRecord(1, 7, [30] * 14, datetime(2026, 1, 6, tzinfo=UTC))],
    ...     schema_overrides={"date_added": pl.Datetime("us", "UTC")})
    >>> groups = pl.DataFrame({"project_id": [1, 1], "group_id": [7, 8]})
    >>> limits_at(records, groups, datetime(2026, 1, 7, 15, tzinfo=UTC)).select("group_id", "limit", "source").rows()
    [(7, 30, 'stored'), (8, 10, 'fallback')]
    """
    at, fallback = _aware(at), _whole("fallback", fallback)
    require(groups, "HourlyCounts", columns=KEY)
    moments = groups.select(KEY).unique().with_columns(at=pl.lit(at, pl.Datetime("us", "UTC")))
    found = in_force(moments, check(records, "ForecastRecords"), fallback=fallback, expire=expire)
    return found.select(*KEY, "limit", "source", "date_added").sort(KEY)


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SettingsError(f"{name}: expected a whole number, 0 or more, got {value!r}.")
    return value


@dataclass(frozen=True, eq=False)
class EscalationCheck:
    """What a check against the stored limits found; true if a group escalates.

    Attributes:
        groups: a row for each group checked, by project and group: ``count`` so far in the hour, ``limit``,
            ``source`` (see :func:`limits_at`), ``date_added`` of the record, and ``escalating``.
        regenerated: contract ``ForecastRecords``: what was missing and has been made since, to be stored. This check
            did not use it: the tracker answers with the fallback and has the forecast made meanwhile.
    """

    groups: pl.DataFrame
    regenerated: pl.DataFrame

    def __bool__(self) -> bool:
        return bool(self.groups["escalating"].any())


def is_escalating(
    events: pl.DataFrame | pl.LazyFrame,
    at: datetime,
    *,
    records: pl.DataFrame | None = None,
    group: int | tuple[int, int] | None = None,
    thresholds: ThresholdVariables = STANDARD,
    buckets: Buckets = "sparse",
    first_seen: pl.DataFrame | pl.LazyFrame | None = None,
    fallback: int = FALLBACK,
    regenerate: bool = True,
) -> EscalationCheck:
    """Check the events of the hour of ``at`` against the stored limits, of one group or of all at once.

    A group escalates if its count since the hour began is strictly greater than today's limit; a limit of 0 never
    fires. Only what happened and was stored before is looked at. Whom the tracker would check at all (archived until
    escalating, older than 24 hours) is not asked: give the groups it would.

    Args:
        events: contract ``Occurrences`` (those in [start of the hour, ``at``) are counted, so that an occurrence at
            ``at`` itself is not) or ``HourlyCounts``. Hourly counts say nothing of part of an hour: the hour that ends
            at ``at`` is judged, as in its last instant.
        at: aware; on the hour where ``events`` are hourly counts.
        records: contract ``ForecastRecords``; None where nothing is stored.
        group: one group, a group_id or (project_id, group_id); None: every group with an event or a record before.
        thresholds: for forecasts that are made anew.
        buckets: the same, as in :func:`~issue_analytics.forecast.forecast`.
        first_seen: the same; only used when dense.
        fallback: the limit where none is stored.
        regenerate: make the forecasts that are missing, from the 168 whole hours before the hour judged.

    Returns:
        The check: true if a group escalates; ``.groups`` has the numbers, ``.regenerated`` what is to be stored. A
        group that was silent in the 168 hours gets no forecast.

    Raises:
        FrameError: a frame breaks its contract; ``group`` is in no row, or in two projects.
        SettingsError: ``at`` has no zone, or lies inside an hour of hourly counts; a setting makes no sense.

    >>> monday = datetime(2026, 1, 5, tzinfo=UTC)
    >>> stamps = [monday.replace(hour=9)] * 3 + [monday.replace(hour=20)] * 11
    >>> occurrences = pl.DataFrame({"project_id": [1] * 14, "group_id": [7] * 14, "detected_at": stamps})
    >>> found = is_escalating(occurrences, monday.replace(hour=20, minute=30), group=7)
    >>> bool(found), found.groups.select("count", "limit", "source").row(0), found.regenerated["forecast"][0][0]
    (True, (11, 10, 'fallback'), 30)
    >>> bool(is_escalating(occurrences, monday.replace(hour=20, minute=30), group=7, records=found.regenerated))
    False
    """
    fallback = _whole("fallback", fallback)
    records = empty("ForecastRecords") if records is None else require(records, "ForecastRecords")
    past, hour, moment = _past(events.lazy(), at)
    groups = _whom(group, past, records.filter(pl.col("date_added") <= moment))
    now = past.filter(pl.col("hour") == hour)
    found = (
        limits_at(records, groups, moment, fallback=fallback)
        .join(now.select(*KEY, "count"), on=KEY, how="left", maintain_order="left")
        .with_columns(pl.col("count").fill_null(0))
        .with_columns(escalating=(pl.col("limit") > 0) & (pl.col("count") > pl.col("limit")))
        .select(*KEY, "count", "limit", "source", "date_added", "escalating")
    )
    missing = found.filter(source="fallback") if regenerate else found.clear()
    history = past.join(missing, on=KEY, how="semi")
    limits = forecast(history, hour, thresholds=thresholds, buckets=buckets, days=DAYS, first_seen=first_seen)
    return EscalationCheck(found, forecast_records(limits, date_added=moment))


def _past(events: pl.LazyFrame, at: datetime) -> tuple[pl.DataFrame, datetime, datetime]:
    """Hourly counts of what happened before ``at``, the hour judged, and the moment at which it is."""
    if "detected_at" in events.collect_schema():
        at = _aware(at)
        occurrences = require(events, "Occurrences", columns=(*KEY, "detected_at"))
        counts = hourly_counts(occurrences.filter(pl.col("detected_at") < at)).collect()
        return counts, at.replace(minute=0, second=0, microsecond=0), at
    at = whole_hour("at", at)
    counts = require(events, "HourlyCounts").filter(pl.col("hour") < at).collect()
    # the whole hour is known in its last instant, when a forecast made at the next midnight is not there yet
    return check(counts, "HourlyCounts"), at - HOUR, at - _INSTANT


def _whom(group: int | tuple[int, int] | None, past: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    known = pl.concat([past.select(KEY), records.select(KEY)]).unique()
    if group is None:
        return known
    if isinstance(group, tuple):
        return pl.DataFrame([group], schema=dict.fromkeys(KEY, pl.Int64), orient="row")
    mine = known.filter(pl.col("group_id") == group)
    if mine.height != 1:
        projects = ", ".join(str(project) for project in mine["project_id"].sort())
        found = f"is in several projects ({projects})" if projects else "has no event and no record before"
        raise FrameError(f"group: {group} {found}; write (project_id, group_id).")
    return mine
