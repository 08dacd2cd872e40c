"""Every way that exports look, one small file each; the first that knows a record reads it."""

from typing import Any, Final

from issue_analytics.exports.formats import (
    activities,
    clickhouse,
    discover,
    envelopes,
    error_events,
    events_stats,
    events_timeseries,
    generic_events,
    group_attributes,
    group_stats,
    issue_events,
    issues,
    plain,
    sdk_events,
    snuba,
)
from issue_analytics.exports.formats.form import Format, is_message, records_in

__all__ = ["FORMATS", "TABLES", "Format", "format_of", "is_message", "records_in", "table_format_of"]

FORMATS: Final[tuple[Format, ...]] = (
    generic_events.FORMAT,
    error_events.FORMAT,
    group_attributes.FORMAT,
    discover.COUNTS,
    discover.BY_TAG,
    discover.EVENTS,
    clickhouse.COUNTS,
    clickhouse.SEARCH_ISSUES,
    clickhouse.ERRORS,
    issue_events.FORMAT,
    issues.FORMAT,
    activities.FORMAT,
    events_timeseries.FORMAT,
    events_stats.FORMAT,
    group_stats.FORMAT,
    envelopes.FORMAT,
    sdk_events.FORMAT,
    snuba.FORMAT,
    plain.FORMAT,
)
"""In the order in which they are asked: the more telling a format's marks, the earlier."""

TABLES: Final = tuple(form for form in FORMATS if form.fields)
"""Formats without nesting: also those of CSV, Parquet, and rows inside a response."""


def format_of(record: Any) -> Format | None:
    """The format that knows this record, or None.

    >>> format_of({"data": [{"group_id": 8, "hourBucket": "2026-01-05T23:00:00+00:00", "count()": 11}]}).name
    'snuba'
    """
    return next((form for form in FORMATS if form.knows(record)), None)


def table_format_of(names: tuple[str, ...]) -> Format | None:
    """The format of a table with these columns, or None."""
    columns = dict.fromkeys(names)
    return next((form for form in TABLES if form.knows(columns)), None)
