"""What people save from Discover and Explore, as CSV or JSON lines: events, and counts of events by hour.

Columns are the fields that were asked for; functions are called ``count()`` or ``count``, as the exporter liked. Cells
that a spreadsheet would run had an apostrophe put in front, which is taken away again: a cell that began with an
apostrophe and such a sign in the first place cannot be told from those.

Groups are ``issue.id``, or else the short id in ``issue``: groups with the same short id are one, but an export with
``issue.id`` has other groups than one without. Take ``issue.id`` along.
"""

from collections.abc import Collection
from typing import Any, Final

import polars as pl

from issue_analytics.exports.formats.form import Fields, Format
from issue_analytics.exports.kinds.hourly_counts import DAILY
from issue_analytics.exports.quarantine import column
from issue_analytics.exports.values import text

__all__ = ["BY_TAG", "COUNTS", "EVENTS"]

_ISSUE: Final = ("issue.id", "issue_id", "issue")
_PROJECT: Final = ("project.id", "project_id")

_COUNT: Final = ("count()", "count")
_HOURS: Final = ("timestamp.to_hour()", "timestamp.to_hour", "timestamp_to_hour", "to_hour()", "to_hour")
_DAYS: Final = ("timestamp.to_day()", "timestamp.to_day", "timestamp_to_day", "to_day()", "to_day")
_MOMENTS: Final = ("timestamp",)

_UNUSABLE: Final = {
    "day": f"{DAILY}: add the column timestamp.to_hour",
    "moment": "counts by the second; export them with the column timestamp.to_hour instead of timestamp, or the events",
}
"""Why counts that are not by the hour are of no use."""

_ERRORS: Final = ("error", "default", "csp", "hpkp", "expectct", "expectstaple", "nel")
"""Types of events whose issues are errors, type 1."""

_EVENT_FIELDS: Final[Fields] = {
    "occurrence_id": ("id",),
    "event_id": ("id",),
    "project_id": _PROJECT,
    "group_id": _ISSUE,
    "event_type": ("event.type",),
    "title": ("title", "message"),
    "level": ("level",),
    "detected_at": ("timestamp",),
}

_COUNT_FIELDS: Final[Fields] = {
    "project_id": _PROJECT,
    "group_id": _ISSUE,
    "hour": (*_HOURS, *_DAYS, *_MOMENTS),
    "count": _COUNT,
    "by_hour": _HOURS,
    "day": _DAYS,
    "moment": _MOMENTS,
}

_TAG_FIELDS: Final[Fields] = {"group_id": ("value",), "hour": ("first_seen", "last_seen"), "count": ("times_seen",)}
_TAG: Final = "issues by tag have no hours, only how often each value of the tag was seen in all; export the events"


def _any(names: Collection[str], record: Collection[str]) -> bool:
    return any(name in record for name in names)


def _counts(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    return _any(_COUNT, record) and _any(_ISSUE, record) and _any((*_HOURS, *_DAYS, *_MOMENTS), record)


def _events(record: Any) -> bool:
    if not isinstance(record, dict) or "timestamp" not in record or _counts(record):
        return False
    return "issue.id" in record or ("issue" in record and _any(("id", "project.name", "event.type"), record))


def _by_tag(record: Any) -> bool:
    return isinstance(record, dict) and all(name in record for names in _TAG_FIELDS.values() for name in names)


def _given_back(raw: pl.DataFrame) -> pl.DataFrame:
    return raw.with_columns(pl.col(pl.String).str.replace(r"^'([=+\-@\t\r])", "$1"))


def _grouped(raw: pl.DataFrame) -> pl.DataFrame:
    """Group ids apart from short ids, and the problem of rows that are of no issue."""
    words = text(column(raw, "group_id"))
    frame = pl.DataFrame({"words": words, "number": words.cast(pl.Float64, strict=False)})
    name = pl.col("words")
    # 1E-5 is an issue of a project called 1e
    number = pl.when(~name.str.contains(r"^[0-9]+E-[0-9]+$")).then("number")
    unknown = (name.str.to_lowercase() == "unknown") | (number == 0)
    said = pl.format('issue: "{}": an event of no issue (a transaction, or one whose issue is gone)', name)
    nested = pl.format('issue: not an id: "{}"', name.str.slice(0, 60))
    return raw.with_columns(
        frame.select(
            group_id=pl.when(number.is_not_null()).then(name),
            group_key=pl.when(number.is_null()).then(name),
            problem=pl.when(unknown).then(said).when(name.str.contains(r"^[\[{]")).then(nested),
        )
    )


def _adapt_events(kind: str, raw: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    raw = _grouped(_given_back(raw))
    error = text(column(raw, "event_type")).str.to_lowercase().is_in(_ERRORS)
    types = pl.select(pl.when(error).then(pl.lit(1, pl.Int64)).alias("type"))["type"]
    return [(kind, raw.select(pl.exclude("event_type")).with_columns(types))]


def _adapt_counts(kind: str, raw: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    raw = _grouped(_given_back(raw))
    hourly = column(raw, "by_hour").is_not_null()
    # seconds spoil hours too: the rows of one hour would be taken for one row that stands several times
    there = {"day": column(raw, "day").is_not_null() & ~hourly, "moment": column(raw, "moment").is_not_null()}
    why = pl.lit(None, pl.String)
    for name, reason in _UNUSABLE.items():
        why = pl.when(there[name]).then(pl.lit(reason)).otherwise(why)
    raw = raw.with_columns(problem=pl.coalesce(why, "problem"))
    return [(kind, raw.select(pl.exclude("by_hour", *_UNUSABLE)))]


def _refuse_tags(kind: str, raw: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    return [(kind, raw.with_columns(problem=pl.lit(_TAG)))]


EVENTS: Final = Format("discover_events", _events, {"occurrences": _EVENT_FIELDS}, adapt=_adapt_events)
COUNTS: Final = Format("discover_counts", _counts, {"hourly_counts": _COUNT_FIELDS}, adapt=_adapt_counts)
BY_TAG: Final = Format("issues_by_tag", _by_tag, {"hourly_counts": _TAG_FIELDS}, adapt=_refuse_tags)
