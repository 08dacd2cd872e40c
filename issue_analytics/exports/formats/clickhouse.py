"""Rows of the tracker's ClickHouse tables ``errors`` and ``search_issues``, and counts by hour as SQL names them.

Parquet, JSONEachRow and CSVWithNames. ClickHouse writes times without a zone, and the tracker's servers run in UTC:
here, and only here, a time without a zone is UTC. ``timestamp_ms``, where there is one, is the same moment with its
milliseconds.

Until the tables' engine merges them, a row may stand several times, as it was and as it became: the same event counts
once, and a row marked as deleted is refused, but the row that it replaces is not found. Select with ``FINAL``.
"""

import re
from collections.abc import Collection
from typing import Any, Final

import polars as pl

from issue_analytics.exports.formats.form import Fields, Format
from issue_analytics.exports.kinds.hourly_counts import DAILY
from issue_analytics.exports.quarantine import column, when
from issue_analytics.exports.values import fingerprints, text, times, uuids

__all__ = ["COUNTS", "ERRORS", "SEARCH_ISSUES"]

_NULL: Final = r"\N"
_NAIVE: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?$"

_DELETED: Final = "deleted: 1; the tracker merged, moved or removed this event. Select with FINAL, where deleted = 0"
_DAY: Final = f"{DAILY}: group by toStartOfHour"

_HOURS: Final = tuple(
    f"{function}({moment}{rest})"
    for function, rest in (("toStartOfHour", ""), ("toStartOfInterval", ", toIntervalHour(1)"))
    for moment in ("timestamp", "client_timestamp")
)
_DAYS: Final = tuple(
    f"{function}({moment})" for function in ("toStartOfDay", "toDate") for moment in ("timestamp", "client_timestamp")
)
_COUNTS: Final = ("uniqExact(event_id)", "uniqExact(occurrence_id)", "count()", "count")
"""Distinct ids first: until the engine merges them, rows that stand twice count twice."""

_SHARED: Final[Fields] = {
    "event_id": ("event_id",),
    "project_id": ("project_id",),
    "group_id": ("group_id",),
    "message": ("message",),
    "level": ("level",),
    "millis": ("timestamp_ms",),
    "hash": ("primary_hash",),
    "deleted": ("deleted",),
}

_ERROR_FIELDS: Final[Fields] = {
    **_SHARED,
    "occurrence_id": ("event_id",),
    "title": ("title",),
    "detected_at": ("timestamp",),
    "received_at": ("received",),
}

_ISSUE_FIELDS: Final[Fields] = {
    **_SHARED,
    "occurrence_id": ("occurrence_id",),
    "type": ("occurrence_type_id",),
    "fingerprint": ("fingerprint",),
    "title": ("search_title",),
    "detected_at": ("client_timestamp", "timestamp"),
    "received_at": ("receive_timestamp",),
}

_COUNT_FIELDS: Final[Fields] = {
    "project_id": ("project_id",),
    "group_id": ("group_id",),
    "hour": (*_HOURS, *_DAYS),
    "count": _COUNTS,
    "by_hour": _HOURS,
}


def _any(names: Collection[str], record: Collection[str]) -> bool:
    return any(name in record for name in names)


def _errors(record: Any) -> bool:
    if not isinstance(record, dict) or _any(("occurrence_id", "detected_at"), record):
        return False
    return {"event_id", "group_id", "project_id", "timestamp"} <= set(record)


def _search_issues(record: Any) -> bool:
    if not isinstance(record, dict) or not {"occurrence_id", "group_id"} <= set(record):
        return False
    return "client_timestamp" in record or {"occurrence_type_id", "timestamp"} <= set(record)


def _counts(record: Any) -> bool:
    if not isinstance(record, dict) or "group_id" not in record:
        return False
    return _any((*_HOURS, *_DAYS), record) and _any(_COUNTS, record)


def _readable(raw: pl.DataFrame) -> pl.DataFrame:
    """Text where servers write bytes, and nulls where they write their sign for it."""
    changed = []
    for values in raw.iter_columns():
        if values.dtype != pl.Binary:
            continue
        # UUIDs are 16 bytes; identifiers written as text are longer
        if values.name in ("occurrence_id", "event_id", "hash") and (values.bin.size() == 16).all():
            changed.append(values.bin.encode("hex"))
        else:
            changed.append(text(values).alias(values.name))
    return raw.with_columns(changed).with_columns(pl.col(pl.String).replace(_NULL, None))


def _utc(values: pl.Series) -> pl.Series:
    """Times without a zone as what they are here: UTC."""
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is None:
        return values.dt.replace_time_zone("UTC")
    if values.dtype != pl.String:
        return values
    frame = pl.DataFrame({"value": values})
    zoned = pl.when(pl.col("value").str.contains(_NAIVE)).then(pl.col("value") + "Z").otherwise("value")
    return frame.select(zoned.alias(values.name))[values.name]


def _exact(raw: pl.DataFrame) -> pl.Series:
    """When it happened, to the millisecond where that is known."""
    at = _utc(column(raw, "detected_at"))
    millis = times(_utc(column(raw, "millis")), "timestamp_ms", required=False)[0]
    if millis.null_count() == len(millis):
        return at
    best = pl.select(pl.coalesce(millis, times(at, "timestamp")[0]))[:, 0]
    if (best.is_null() & at.is_not_null()).any():
        # what could not be read stays as it stood there, to be refused
        best = pl.select(pl.coalesce(best.dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ"), text(at)))[:, 0]
    return best


_ARRAY: Final = re.compile(r"\[\s*(?:'(?:[^'\\]|\\.)*+'\s*,?\s*)*+\]", re.DOTALL)
_ELEMENT: Final = re.compile(r"'((?:[^'\\]|\\.)*+)'", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0"}


def _elements(array: str) -> list[str] | None:
    r"""The elements of an array as ClickHouse writes it into a cell; None for what is no such array.

    >>> _elements(r"['it\'s','b']"), _elements('["a"]')
    (["it's", 'b'], None)
    """
    if not _ARRAY.fullmatch(array):
        return None
    return [re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), one) for one in _ELEMENT.findall(array)]


def _arrays(values: pl.Series) -> pl.Series:
    """Fingerprints, in whatever way they are written; each text is looked at once."""
    if values.dtype != pl.String or not values.str.starts_with("['").any():
        return fingerprints(values)
    arrays = values.unique().drop_nulls()
    table = pl.DataFrame(
        {"value": arrays, "parts": pl.Series([_elements(one) for one in arrays], dtype=pl.List(pl.String))}
    )
    both = values.alias("value").to_frame().join(table, on="value", how="left", maintain_order="left")
    return both.select(pl.coalesce("parts", fingerprints(values)).alias("fingerprint"))["fingerprint"]


def _is_zero(values: pl.Series) -> pl.Series:
    """Whether it is the number 0, however it is written; null for what is no number."""
    numbers = values if values.dtype.is_numeric() else text(values)
    return numbers.cast(pl.Float64, strict=False).fill_nan(None) == 0


def _adapt_rows(raw: pl.DataFrame) -> pl.DataFrame:
    raw = _readable(raw)
    hashes = fingerprints(uuids(column(raw, "hash")))
    prints = _arrays(column(raw, "fingerprint"))
    flag, group = column(raw, "deleted"), column(raw, "group_id")
    deleted = (~_is_zero(flag)).fill_null(text(flag).str.to_lowercase() == "true").fill_null(value=False)
    raw = raw.with_columns(
        pl.select(pl.coalesce(pl.when(prints.list.len() > 0).then(prints), hashes).alias("fingerprint"))["fingerprint"],
        # no second name of the title: which of them has a value shows only when the sign for null is gone
        pl.select(pl.coalesce(text(column(raw, "title")), text(column(raw, "message"))).alias("title"))["title"],
        _exact(raw).alias("detected_at"),
        _utc(column(raw, "received_at")).alias("received_at"),
        # a table without nulls writes 0 for an event without a group
        pl.select(pl.when(~_is_zero(group).fill_null(value=False)).then(group).alias("group_id"))["group_id"],
    )
    if (problem := when(deleted, _DELETED)) is not None:
        raw = raw.with_columns(problem.alias("problem"))
    return raw.select(pl.exclude("hash", "message", "millis", "deleted"))


def _adapt_errors(kind: str, raw: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    return [(kind, _adapt_rows(raw).with_columns(type=pl.lit(1, pl.Int64)))]


def _adapt_search_issues(kind: str, raw: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    return [(kind, _adapt_rows(raw))]


def _adapt_counts(kind: str, raw: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    raw = _readable(raw)
    daily = column(raw, "by_hour").is_null() & column(raw, "hour").is_not_null()
    raw = raw.with_columns(_utc(column(raw, "hour")).alias("hour")).select(pl.exclude("by_hour"))
    if (problem := when(daily, _DAY)) is not None:
        raw = raw.with_columns(problem.alias("problem"))
    return [(kind, raw)]


ERRORS: Final = Format("clickhouse_errors", _errors, {"occurrences": _ERROR_FIELDS}, adapt=_adapt_errors)
SEARCH_ISSUES: Final = Format(
    "clickhouse_search_issues", _search_issues, {"occurrences": _ISSUE_FIELDS}, adapt=_adapt_search_issues
)
COUNTS: Final = Format("clickhouse_counts", _counts, {"hourly_counts": _COUNT_FIELDS}, adapt=_adapt_counts)
