"""The frame contracts: the whole vocabulary of the package in one file.

Every frame is a plain polars frame. A contract says what a row is, each column's type, unit and nulls, and what is
unique. Times are ``Datetime("us", "UTC")``; an hour is named by its start; counts are signed (unsigned ``1 - 5`` is
four thousand million). Frames may carry further columns.

pandera checks **eager** frames where data enters the package (:func:`issue_analytics.frames.check`); on a LazyFrame it
would look at names and types only. Rows are sorted out before that by the readers, with reasons: pandera's verdict is
a post-condition, never a filter.
"""

from typing import Annotated

import pandera.polars as pa
import polars as pl
from pandera.polars import Field

__all__ = [
    "CAUSES",
    "PROVENANCES",
    "RULES",
    "VERDICTS",
    "Alerts",
    "Corrections",
    "Escalations",
    "Exposure",
    "ForecastRecords",
    "HourlyCounts",
    "Limits",
    "Matches",
    "Occurrences",
    "RecordedForecasts",
    "Rejects",
    "StatusChanges",
]

from issue_analytics.frames import CAUSES, PROVENANCES, RULES, VERDICTS


class Occurrences(pa.DataFrameModel):
    """One row is one occurrence of an issue."""

    occurrence_id: pl.String = Field(unique=True, description="identifier of the occurrence; never null")
    event_id: pl.String = Field(nullable=True, description="identifier of its event; null where the export has none")
    project_id: pl.Int64 = Field(ge=0, description="0 where the export names no project")
    group_id: pl.Int64 = Field(ge=0, description="the tracker's id, else a stable 63-bit hash; see exports.identity")
    type: pl.Int64 = Field(nullable=True, description="group type id; null where the export has none")
    fingerprint: Annotated[pl.List, pl.String] = Field(nullable=True, description="as exported; part 0 picks the group")
    title: pl.String = Field(nullable=True, description="text from the export: hostile until escaped")
    level: pl.String = Field(description="'info' where the export has none")
    detected_at: Annotated[pl.Datetime, "us", "UTC"] = Field(description="when it happened, UTC")
    received_at: Annotated[pl.Datetime, "us", "UTC"] = Field(
        nullable=True, description="when the tracker's server got it, UTC; null where the export does not say"
    )


class HourlyCounts(pa.DataFrameModel):
    """One row is a group and an hour. A row with count 0 is an observed silence, a missing row is none known."""

    project_id: pl.Int64 = Field(ge=0)
    group_id: pl.Int64 = Field(ge=0)
    hour: Annotated[pl.Datetime, "us", "UTC"] = Field(description="start of the hour, UTC")
    count: pl.Int64 = Field(ge=0, le=10**15, description="occurrences in [hour, hour + 1 h)")

    class Config:
        """A group has one row per hour."""

        unique = ("project_id", "group_id", "hour")

    @pa.dataframe_check
    @classmethod
    def hour_is_whole(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Hours are starts of hours."""
        hour = pl.col("hour")
        return data.lazyframe.select(hour == hour.dt.truncate("1h"))


class StatusChanges(pa.DataFrameModel):
    """One row is one recorded change in the life of an issue; kinds that change no status are kept as they came."""

    project_id: pl.Int64 = Field(ge=0)
    group_id: pl.Int64 = Field(ge=0)
    at: Annotated[pl.Datetime, "us", "UTC"] = Field(description="when it was recorded, UTC")
    kind: pl.String = Field(description="the status it led to, such as 'archived_until_escalating' or 'escalating'")
    cause: pl.String = Field(nullable=True, isin=CAUSES, description="what made it escalate; null for other kinds")
    forecast: pl.Int64 = Field(nullable=True, ge=0, description="limit in force, events per hour; null unless recorded")
    source: pl.String = Field(description="the kind of export it came from, such as 'activity'")


class Escalations(pa.DataFrameModel):
    """One row is one actual escalation, the events that alerts are judged against."""

    project_id: pl.Int64 = Field(ge=0)
    group_id: pl.Int64 = Field(ge=0)
    escalated_at: Annotated[pl.Datetime, "us", "UTC"] = Field(description="when it began, UTC")
    ended_at: Annotated[pl.Datetime, "us", "UTC"] = Field(nullable=True, description="when it ended; null if unknown")
    provenance: pl.String = Field(isin=PROVENANCES, description="who says so; 'algorithm' is circular truth")

    class Config:
        """A group escalates once at a time."""

        unique = ("project_id", "group_id", "escalated_at")

    @pa.dataframe_check
    @classmethod
    def ends_after_it_began(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """An escalation with a known end has a positive length."""
        return data.lazyframe.select((pl.col("ended_at") > pl.col("escalated_at")).fill_null(value=True))


class Exposure(pa.DataFrameModel):
    """One row is a span [start, end) in which a group could have escalated; outside its spans nothing is known."""

    project_id: pl.Int64 = Field(ge=0)
    group_id: pl.Int64 = Field(ge=0)
    start: Annotated[pl.Datetime, "us", "UTC"]
    end: Annotated[pl.Datetime, "us", "UTC"] = Field(
        nullable=True, description="null: still open at the end of the data"
    )

    @pa.dataframe_check
    @classmethod
    def ends_after_start(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A span has a positive length."""
        return data.lazyframe.select((pl.col("end") > pl.col("start")).fill_null(value=True))


class RecordedForecasts(pa.DataFrameModel):
    """One row is a group, a day, and the limit that the tracker itself had stored for it."""

    project_id: pl.Int64 = Field(ge=0)
    group_id: pl.Int64 = Field(ge=0)
    date: pl.Date = Field(description="UTC day the limit was made for")
    limit: pl.Int64 = Field(ge=0, description="events per clock hour")
    made_at: Annotated[pl.Datetime, "us", "UTC"] = Field(description="when the tracker made it, UTC")

    class Config:
        """One limit per group, day and moment of making."""

        unique = ("project_id", "group_id", "date", "made_at")


class Corrections(pa.DataFrameModel):
    """One row is a message that changed, after the fact, which events count for a group or an event.

    Merges move events from one group to another, unmerges move them back, deletions and tombstones remove them: counts
    exported later differ from those the tracker acted on.
    """

    project_id: pl.Int64 = Field(ge=0)
    group_id: pl.Int64 = Field(nullable=True, ge=0, description="group that lost or gained events; null if not named")
    event_id: pl.String = Field(nullable=True, description="event that was removed or moved; null for whole groups")
    at: Annotated[pl.Datetime, "us", "UTC"] = Field(
        nullable=True, description="when the message was sent, UTC; null where it does not say"
    )
    kind: pl.String = Field(description="the message's own word, such as 'end_merge'")


class Limits(pa.DataFrameModel):
    """One row is a group, a day, and the limit that a forecast made at ``as_of`` sets for that day."""

    project_id: pl.Int64 = Field(ge=0)
    group_id: pl.Int64 = Field(ge=0)
    date: pl.Date = Field(description="UTC day the limit holds for, from as_of on")
    limit: pl.Int64 = Field(nullable=True, ge=0, description="events per clock hour; null: no limit can be given")
    rule: Annotated[pl.Enum, RULES] = Field(description="which branch made the limit; 'none' where it is null")
    as_of: Annotated[pl.Datetime, "us", "UTC"] = Field(description="when it was made: only earlier hours were seen")

    class Config:
        """One limit per group, day and moment of making."""

        unique = ("project_id", "group_id", "date", "as_of")


class ForecastRecords(pa.DataFrameModel):
    """One row is a forecast of 14 days as it is stored for a group; it serves for 14 days from ``date_added`` on."""

    project_id: pl.Int64 = Field(ge=0)
    group_id: pl.Int64 = Field(ge=0)
    date_added: Annotated[pl.Datetime, "us", "UTC"] = Field(description="when it was stored, UTC")
    forecast: Annotated[pl.List, pl.Int64] = Field(
        description="14 limits in events per clock hour, the first for the UTC day of date_added"
    )

    class Config:
        """A group has one forecast stored at a time."""

        unique = ("project_id", "group_id", "date_added")

    @pa.dataframe_check
    @classmethod
    def forecast_has_14_limits(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Fourteen limits, none of them null or negative."""
        limits = pl.col("forecast")
        whole = limits.list.eval((pl.element() >= 0).fill_null(value=False)).list.all()
        return data.lazyframe.select((limits.list.len() == 14) & whole)


class Alerts(pa.DataFrameModel):
    """One row is one firing: an hour whose count exceeded the limit in force."""

    project_id: pl.Int64 = Field(ge=0)
    group_id: pl.Int64 = Field(ge=0)
    hour: Annotated[pl.Datetime, "us", "UTC"] = Field(description="start of the hour that fired, UTC")
    count: pl.Int64 = Field(ge=1, description="occurrences in that hour")
    limit: pl.Int64 = Field(ge=1, description="the limit it exceeded, events per hour")
    rule: Annotated[pl.Enum, RULES] = Field(description="the branch that made the limit")

    @pa.dataframe_check
    @classmethod
    def exceeds(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Strictly more than the limit."""
        return data.lazyframe.select(pl.col("count") > pl.col("limit"))


class Matches(pa.DataFrameModel):
    """One row is one judged escalation and what the alerts made of it."""

    project_id: pl.Int64 = Field(ge=0)
    group_id: pl.Int64 = Field(ge=0)
    escalated_at: Annotated[pl.Datetime, "us", "UTC"]
    ended_at: Annotated[pl.Datetime, "us", "UTC"] = Field(nullable=True)
    provenance: pl.String = Field(isin=PROVENANCES)
    caught_hour: Annotated[pl.Datetime, "us", "UTC"] = Field(nullable=True, description="first hour that fired in time")
    delay_hours: pl.Float64 = Field(
        nullable=True, ge=0, description="from escalated_at to the end of caught_hour; null if none"
    )
    peak_hour: Annotated[pl.Datetime, "us", "UTC"] = Field(nullable=True, description="busiest hour of the event")
    peak: pl.Int64 = Field(ge=0, description="count of that hour; 0 if the event has no count")
    limit: pl.Int64 = Field(nullable=True, ge=0, description="limit in force in that hour, events per hour")
    rule: Annotated[pl.Enum, RULES] = Field(description="the branch that made that limit")
    watched_until: Annotated[pl.Datetime, "us", "UTC"] = Field(description="end of what was watched of it, with grace")
    cut_off: pl.Boolean = Field(description="whether it went on, or its grace did, when watching ended")


class Rejects(pa.DataFrameModel):
    """One row is one input row that was not accepted, and every reason why."""

    source: pl.String = Field(description="the file it stood in")
    row: pl.Int64 = Field(ge=1, description="its number in the file, from 1: line, record or table row")
    reasons: Annotated[pl.List, pl.String] = Field(description="every reason that applies, and what to do")
    raw: pl.String = Field(nullable=True, description="the row as it stood there, cut after 1,000 characters")
