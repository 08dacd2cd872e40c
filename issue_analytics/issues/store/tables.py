"""The tables of a store, as queries name them. How they came to be is in ``migrations``.

Times are whole microseconds since 1970, UTC: they compare alike on every database, and are what a polars ``Datetime``
holds already. Structured values are JSON text. What the columns are in frames is in ``columns``.
"""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text

__all__ = ["METADATA", "forecasts", "history", "issues", "labels", "occurrences", "schema_version"]

METADATA: Final = MetaData()


def _number(name: str, *, key: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, autoincrement=False)


def _text(name: str, *, key: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=key)


schema_version: Final = Table("schema_version", METADATA, _number("version", key=True), _number("at"))
"""One row is a migration that was carried out; the highest is the version of the store."""

issues: Final = Table(
    "issues",
    METADATA,
    _number("project_id", key=True),
    _number("group_id", key=True),
    _text("state"),
    _number("since"),
    _number("priority"),
    _number("initial_priority"),
    _number("priority_locked_at"),
    _number("type"),
    _text("title"),
    _text("culprit"),
    _text("level"),
    _number("first_seen"),
    _number("last_seen"),
    _number("times_seen"),
    _text("condition"),
    _number("version"),
)
"""One row is an issue. Its version counts its changes, that is the rows of its history; new events are no change."""

occurrences: Final = Table(
    "occurrences",
    METADATA,
    _text("occurrence_id", key=True),
    _text("event_id"),
    _number("project_id"),
    _number("group_id"),
    _number("type"),
    _text("fingerprint"),
    _text("title"),
    _text("level"),
    _number("detected_at"),
    _number("received_at"),
)
"""One row is an occurrence; it goes when its issue is deleted."""

history: Final = Table(
    "history",
    METADATA,
    Column("id", Integer, primary_key=True),
    _number("project_id"),
    _number("group_id"),
    _number("at"),
    _text("kind"),
    _text("maker"),
    _text("cause"),
    _number("forecast"),
    _text("who"),
    _number("version"),
    _text("source"),
    _text("note"),
)
"""One row is a change of an issue; it stays when the issue is deleted."""

forecasts: Final = Table(
    "forecasts",
    METADATA,
    _number("project_id", key=True),
    _number("group_id", key=True),
    _number("date_added", key=True),
    _text("forecast"),
)
"""One row is a forecast of an issue: its 14 limits, from the day it was added on. It goes when the issue is deleted."""

labels: Final = Table(
    "labels",
    METADATA,
    Column("id", Integer, primary_key=True),
    _number("project_id"),
    _number("group_id"),
    _number("hour"),
    _text("verdict"),
    _text("note"),
    _text("who"),
    _number("at"),
)
"""One row is what somebody once said of an alert; the last word on an alert counts. The issue need not be stored."""
