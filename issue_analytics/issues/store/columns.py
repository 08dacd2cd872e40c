"""The columns of a store's tables as they are in frames; a test holds them together with ``tables``."""

from typing import Final

import polars as pl

__all__ = ["FRAMES", "GIVEN", "UTC_US", "nothing"]

UTC_US: Final = pl.Datetime("us", "UTC")

FRAMES: Final[dict[str, dict[str, pl.DataType | type[pl.DataType]]]] = {
    "issues": {
        "project_id": pl.Int64,
        "group_id": pl.Int64,
        "state": pl.String,
        "since": UTC_US,
        "priority": pl.Int64,
        "initial_priority": pl.Int64,
        "priority_locked_at": UTC_US,
        "type": pl.Int64,
        "title": pl.String,
        "culprit": pl.String,
        "level": pl.String,
        "first_seen": UTC_US,
        "last_seen": UTC_US,
        "times_seen": pl.Int64,
        "condition": pl.String,
        "version": pl.Int64,
    },
    "occurrences": {
        "occurrence_id": pl.String,
        "event_id": pl.String,
        "project_id": pl.Int64,
        "group_id": pl.Int64,
        "type": pl.Int64,
        "fingerprint": pl.List(pl.String),
        "title": pl.String,
        "level": pl.String,
        "detected_at": UTC_US,
        "received_at": UTC_US,
    },
    "history": {
        "project_id": pl.Int64,
        "group_id": pl.Int64,
        "at": UTC_US,
        "kind": pl.String,
        "maker": pl.String,
        "cause": pl.String,
        "forecast": pl.Int64,
        "who": pl.String,
        "version": pl.Int64,
        "source": pl.String,
        "note": pl.String,
    },
    "forecasts": {
        "project_id": pl.Int64,
        "group_id": pl.Int64,
        "date_added": UTC_US,
        "forecast": pl.List(pl.Int64),
    },
    "labels": {
        "project_id": pl.Int64,
        "group_id": pl.Int64,
        "hour": UTC_US,
        "verdict": pl.String,
        "note": pl.String,
        "who": pl.String,
        "at": UTC_US,
    },
}
"""Table -> its columns, in order, but for numbers that only the database needs."""

GIVEN: Final = {name: kind for name, kind in FRAMES["issues"].items() if name not in ("condition", "version")}
"""Columns of issues that a user can give."""


def nothing(table: str) -> pl.DataFrame:
    """A frame of a table without rows.

    >>> nothing("labels").shape
    (0, 7)
    """
    return pl.DataFrame(schema=FRAMES[table])
