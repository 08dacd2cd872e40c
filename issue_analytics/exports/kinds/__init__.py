"""The kinds of rows that exports hold: what makes two of them the same, and how raw ones are read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from issue_analytics.exports.kinds import (
    corrections,
    escalations,
    hourly_counts,
    occurrences,
    recorded_forecasts,
    status_changes,
)
from issue_analytics.exports.quarantine import Given
from issue_analytics.frames import KEY

__all__ = ["KINDS", "Kind"]

Problems = list[pl.Series | None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of row.

    Attributes:
        contract: its contract in ``schemas``.
        unique: what makes a row the same as another.
        told: what such a row says: where two of the same differ in it, they contradict each other.
        needed: columns without which no row can be accepted (``group_id`` is left out where a fingerprint may stand
            for it).
        dated: when it happened.
        accept: reads raw columns.
    """

    contract: str
    unique: tuple[str, ...]
    told: tuple[str, ...]
    needed: tuple[str, ...]
    dated: str
    accept: Callable[[pl.DataFrame, Given], tuple[pl.DataFrame, Problems]]


KINDS: Final[Mapping[str, Kind]] = {
    "occurrences": Kind("Occurrences", ("occurrence_id",), (), ("detected_at",), "detected_at", occurrences.accept),
    "hourly_counts": Kind(
        "HourlyCounts", (*KEY, "hour"), ("count",), ("group_id", "hour", "count"), "hour", hourly_counts.accept
    ),
    "status_changes": Kind(
        "StatusChanges", (*KEY, "at", "kind", "cause", "forecast"), (), ("at",), "at", status_changes.accept
    ),
    "escalations": Kind(
        "Escalations",
        (*KEY, "escalated_at"),
        ("ended_at", "provenance"),
        ("group_id", "escalated_at"),
        "escalated_at",
        escalations.accept,
    ),
    "recorded_forecasts": Kind(
        "RecordedForecasts",
        (*KEY, "date", "made_at"),
        ("limit",),
        ("group_id", "date", "limit", "made_at"),
        "made_at",
        recorded_forecasts.accept,
    ),
    "corrections": Kind("Corrections", (*KEY, "event_id", "at", "kind"), (), ("kind",), "at", corrections.accept),
}
"""By name; datasets keep a folder of each."""
