"""What really happened: escalations and exposure from recorded status changes."""

from datetime import timedelta
from typing import Final

import polars as pl

from issue_analytics.frames import KEY, FrameT, require

__all__ = ["STATUS_KINDS", "label_escalations"]

STATUS_KINDS: Final = (
    "archived_forever",
    "archived_until_condition_met",
    "archived_until_escalating",
    "deleted",
    "escalating",
    "merged",
    "new",
    "ongoing",
    "regressed",
    "resolved",
    "unmerged",
    "unresolved",
)
"""Kinds of status change that end a spell of exposure; other kinds (notes, assignments) change no status."""

SNAPSHOTS: Final = "group_attributes"
"""The source of rows that tell a state, whether it changed or not."""

_PROVENANCE: Final = {"forecast": "algorithm", "velocity": "velocity", "condition": "condition", "platform": "platform"}

_INSTANT: Final = timedelta(microseconds=1)
_NONE: Final = timedelta(0)

_NEW_GROUP: Final = timedelta(hours=24)
"""Younger groups are not checked against a forecast at all."""


def label_escalations(status_changes: FrameT) -> tuple[FrameT, FrameT]:
    """Read actual escalations, and the spans in which one could have happened, out of recorded status changes.

    An escalation's provenance follows its recorded cause: with a recorded forecast it is the ``algorithm`` itself, so
    judging limits by it is circular. Exposure runs from an archive-until-escalating to the group's next status change
    (an escalation is its last instant); the first 24 hours of a group's life, where known, are not exposed. Outside
    exposure nothing is known: no escalation there means nothing.

    Snapshots of group attributes repeat the status until it changes, and do not say why: only a change between two is
    an escalation, the first one of a group is a state; straight after an archive-until-escalating, the algorithm is
    taken to be the cause.

    Args:
        status_changes: contract ``StatusChanges``.

    Returns:
        Contracts ``Escalations`` (``ended_at`` is null: trackers do not record it) and ``Exposure`` (``end`` is null
        for a group still archived at the end), by group and time; lazy if the input was.

    Raises:
        FrameError: a column is missing.

    >>> from datetime import UTC, datetime
    >>> changes = pl.DataFrame({"project_id": [1, 1], "group_id": [7, 7], "forecast": [None, 46],
    ...     "at": [datetime(2026, 1, 5, 9, 30, tzinfo=UTC), datetime(2026, 1, 8, 16, 5, tzinfo=UTC)],
    ...     "kind": ["archived_until_escalating", "escalating"], "cause": [None, "forecast"], "source": "activity"})
    >>> escalations, exposure = label_escalations(changes)
    >>> escalations["provenance"].to_list(), exposure["end"].item()
    (['algorithm'], datetime.datetime(2026, 1, 8, 16, 5, 0, 1, tzinfo=zoneinfo.ZoneInfo(key='UTC')))
    """
    changes = require(status_changes, "StatusChanges")
    snapshot = pl.col("source") == SNAPSHOTS
    states = (
        changes.filter(pl.col("kind").is_in(STATUS_KINDS))
        # at one instant an archiving comes last: what it ended is over; a snapshot shows what an activity did
        .sort(*KEY, "at", pl.col("kind") == "archived_until_escalating", snapshot)
        .with_columns(before=pl.col("kind").shift(1).over(KEY))
        .filter(~(snapshot & (pl.col("kind") == pl.col("before")).fill_null(value=False)))
    )
    by_limit = snapshot & (pl.col("before") == "archived_until_escalating")
    escalations = (
        states.filter(pl.col("kind") == "escalating", ~(snapshot & pl.col("before").is_null()))
        .select(
            *KEY,
            escalated_at="at",
            ended_at=pl.lit(None, dtype=pl.Datetime("us", "UTC")),
            provenance=pl.when(by_limit & pl.col("cause").is_null())
            .then(pl.lit("algorithm"))
            .otherwise(pl.col("cause").replace_strict(_PROVENANCE, default="platform", return_dtype=pl.String)),
        )
        # recorded twice at one instant: circular truth must not hide behind another word
        .sort(*KEY, "escalated_at", pl.col("provenance") != "algorithm", "provenance")
        .unique([*KEY, "escalated_at"], keep="first", maintain_order=True)
    )
    first_seen = pl.col("at").filter(pl.col("kind") == "first_seen").min()
    born = changes.group_by(KEY).agg(matured=first_seen + _NEW_GROUP)
    exposure = (
        states.join(born, on=KEY, how="left", maintain_order="left")
        .with_columns(pl.col("at", "kind").shift(-1).over(KEY).name.prefix("next_"))
        # the instant of an escalation was still exposed, or it could not have happened
        .with_columns(
            end=pl.col("next_at") + pl.when(pl.col("next_kind") == "escalating").then(_INSTANT).otherwise(_NONE)
        )
        .filter(pl.col("kind") == "archived_until_escalating")
        .select(*KEY, start=pl.max_horizontal("at", "matured"), end="end")
        .filter((pl.col("start") < pl.col("end")).fill_null(value=True))
        .sort(*KEY, "start")
    )
    return escalations, exposure
