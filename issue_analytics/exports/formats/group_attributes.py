"""The topic ``group-attributes``: a snapshot of an issue each time something about it changed.

Kept over time the snapshots are a history of status, though not of causes: a snapshot does not say why an issue
escalates. Most repeat the status of the one before, as a comment or an assignment makes one too; the labels of a
backtest know that. Each snapshot also says when the issue was first seen; a batch of them says so once per issue.
"""

from typing import Any, Final

import polars as pl

from issue_analytics.exports.formats.form import Fields, Format
from issue_analytics.exports.quarantine import column
from issue_analytics.exports.values import text, times

__all__ = ["FORMAT", "SOURCE"]

SOURCE: Final = "group_attributes"
"""The ``source`` of such status changes."""

_FIELDS: Final[Fields] = {
    "project_id": ("project_id",),
    "group_id": ("group_id",),
    "at": ("timestamp",),
    "new_status": ("status",),
    "new_substatus": ("substatus",),
    "deleted": ("group_deleted",),
    "first_seen": ("first_seen",),
}


def _knows(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    return {"group_id", "status", "timestamp"} <= set(record) and not {"group_deleted", "substatus"}.isdisjoint(record)


def _adapt(kind: str, raw: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    gone = text(column(raw, "deleted")).str.to_lowercase().is_in(["true", "1"])
    states = raw.select(pl.exclude("deleted", "first_seen")).with_columns(
        pl.lit(SOURCE).alias("source"), pl.select(pl.when(gone).then(pl.lit("deleted")).alias("kind"))["kind"]
    )
    if "first_seen" not in raw.columns:
        return [(kind, states)]
    born = raw.filter(raw["first_seen"].is_not_null())
    keys = [name for name in ("project_id", "group_id", "first_seen") if name in born.columns]
    born = born.unique(keys, keep="first", maintain_order=True)
    at, problem = times(born["first_seen"], "first_seen")
    births = born.select(name for name in ("row", "project_id", "group_id") if name in born.columns).with_columns(
        at.alias("at"), pl.lit("first_seen").alias("kind"), pl.lit(SOURCE).alias("source")
    )
    if problem is not None:
        births = births.with_columns(problem.alias("problem"))
    return [(kind, states), (kind, births)]


FORMAT: Final = Format(
    SOURCE,
    _knows,
    {"status_changes": _FIELDS},
    adapt=_adapt,
    note=(
        "snapshots of group attributes do not say why an issue escalated: the state it left is taken to tell; where it "
        "was archived until it escalates, the algorithm is the cause"
    ),
)
