"""What really happened: escalations and exposure from recorded status changes."""

from datetime import timedelta
from typing import Final

import polars as pl

from issue_analytics.frames import KEY, FrameT, require
from issue_analytics.issues.lifecycle import STATES, TRANSITIONS

__all__ = ["CUT", "STATUS_KINDS", "label_escalations", "recorded_states"]

_STATES: Final = tuple(state.name for state in STATES)

COUNTS_CHANGED: Final = ("merged", "unmerged")
"""Words of activities that change what counts for a group, and leave its state as it is."""

STATUS_KINDS: Final = tuple(sorted({*_STATES, *COUNTS_CHANGED, "deleted", "ignored", "reprocess", "unresolved"}))
"""Kinds of status change that end a spell of exposure: states, and words of activities and of old exports that tell no
one state. Other kinds (notes, assignments) change no status."""

_UNKNOWN_STATUS: Final = "^status_[0-9]+$"
"""A status by a number nobody knows: it is none in which a group can escalate."""

SNAPSHOTS: Final = "group_attributes"
"""The source of rows that tell a state, whether it changed or not."""

_SECOND_HAND: Final = (SNAPSHOTS, "status_change")
"""Sources that tell what an activity did, and may be dated a little before or after it."""

_ECHO: Final = timedelta(minutes=1)
"""How far apart they may be."""

CUT: Final = "history_truncated"
"""The kind of a row that says since when a group's activities are whole."""

_PROVENANCE: Final = {"forecast": "algorithm", "velocity": "velocity", "condition": "condition", "platform": "platform"}

_BY_MAKER: Final = {"escalation": "forecast", "velocity": "velocity", "condition": "condition"}
_BY_STATE_BEFORE: Final = {
    one.before: _BY_MAKER[one.by] for one in TRANSITIONS if one.after == "escalating" and one.by in _BY_MAKER
}
"""From the state that an issue left to escalate, to the cause: the platform apart, no state has two."""

_INSTANT: Final = timedelta(microseconds=1)
_NONE: Final = timedelta(0)

_NEW_GROUP: Final = timedelta(hours=24)
"""Younger groups are not checked against a forecast at all."""


def label_escalations(status_changes: FrameT) -> tuple[FrameT, FrameT]:
    """Read actual escalations, and the spans in which one could have happened, out of recorded status changes.

    **Provenance** follows the recorded cause. With a recorded forecast it is the ``algorithm`` itself, so judging
    limits by it is circular; so are records of spring 2023, in which an issue with a forecast became unresolved.
    ``velocity``, ``condition`` and ``platform`` are the other three; without any cause it is ``platform`` too, since
    only a message leaves none. An archive whose time was over is no escalation: before 2024 the tracker called it one,
    and since then ongoing; a record of before 2024 that does not say which condition was met stays a ``condition``.

    **Exposure** runs from an archive-until-escalating to the group's next status change (an escalation is its last
    instant). The first 24 hours of a group's life, where known, are not exposed: the tracker consults no forecast
    then. The hour in which they end is exposed from that minute on. A merge or unmerge ends a span, because from then
    on other events count for the group; only a later archive opens the next. Outside exposure nothing is known: no
    escalation there means nothing.

    **Histories that were cut off** (``history_truncated``: the tracker shows a hundred activities): of what was before
    the oldest one shown, nothing is used but when the group was first seen. An escalation whose archive is cut off is
    known, its exposure is not. Where several exports of a group were cut off, a span that reaches over the beginning of
    a later one is not known either: what happened between the two may be missing.

    **Snapshots** of group attributes repeat the status until it changes, and do not say why: only a change between two
    is an escalation, the first one of a group is a state, and the state it left tells who made it: archived until
    escalating the algorithm, archived until a condition the condition, new the velocity, any other the platform.

    **Told twice**: a snapshot or a message that tells an escalation within a minute of its activity is the same one.

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
    states = recorded_states(changes)
    escalations = (
        states.filter(pl.col("kind") == "escalating", (pl.col("cause") != "duration").fill_null(value=True))
        # the first snapshot of what is known tells a state
        .filter(~(pl.col("snapshot") & (pl.col("before").is_null() | (pl.col("before") == CUT))))
        .select(
            *KEY,
            escalated_at="at",
            ended_at=pl.lit(None, dtype=pl.Datetime("us", "UTC")),
            provenance=pl.col("cause").replace_strict(_PROVENANCE, default="platform", return_dtype=pl.String),
        )
        # recorded twice at one instant: circular truth must not hide behind another word
        .sort(*KEY, "escalated_at", pl.col("provenance") != "algorithm", "provenance")
        .unique([*KEY, "escalated_at"], keep="first", maintain_order=True)
    )
    return escalations, _exposure(states, changes)


def recorded_states(changes: FrameT) -> FrameT:
    """What is known of each group's states, in order; ``before`` is the state it left, null where none is known.

    Nothing stands before the cut of a history; legacy records are read as what they mean; snapshots that tell no change
    are left out, as is what tells an escalation that an activity tells too; other snapshots of an escalation have the
    cause that the state before tells.
    """
    kind, snapshot = pl.col("kind"), pl.col("source") == SNAPSHOTS
    legacy = (kind == "unresolved") & pl.col("forecast").is_not_null()
    cut = pl.col("at").filter(kind == CUT).min().over(KEY)
    counts = kind.is_in(COUNTS_CHANGED)
    # rows of one escalation follow each other: nothing leads from it to itself
    first_hand = (kind == "escalating") & ~pl.col("source").is_in(_SECOND_HAND)
    goes_on = (kind == kind.shift(1).over(KEY)) & (pl.col("at") - pl.col("at").shift(1).over(KEY) <= _ECHO)
    echo = (kind == "escalating") & ~first_hand & first_hand.any().over(*KEY, "telling")
    untold = pl.col("snapshot") & (kind == "escalating") & pl.col("cause").is_null() & (pl.col("before") != CUT)
    return (
        changes.filter(kind.is_in([*STATUS_KINDS, CUT]) | kind.str.contains(_UNKNOWN_STATUS))
        .filter((pl.col("at") >= cut).fill_null(value=True))
        .with_columns(
            kind=pl.when(legacy).then(pl.lit("escalating")).otherwise(kind),
            # a limit is recorded by nobody but the algorithm
            cause=pl.when(
                legacy | (kind == "escalating") & pl.col("cause").is_null() & pl.col("forecast").is_not_null()
            )
            .then(pl.lit("forecast"))
            .otherwise("cause"),
            snapshot=snapshot,
        )
        # at one instant an archiving comes last: what it ended is over; a snapshot shows what an activity did; and
        # whatever order the rows came in, the answer is the same
        .sort(*KEY, "at", kind != CUT, kind == "archived_until_escalating", "snapshot", "kind", "cause", "forecast")
        .with_columns(telling=(~goes_on).fill_null(value=True).cum_sum().over(KEY))
        .filter(~echo)
        .with_columns(before=pl.when(~counts).then("kind").forward_fill().shift(1).over(KEY))
        .filter(~(pl.col("snapshot") & (kind == pl.col("before")).fill_null(value=False)))
        .with_columns(
            cause=pl.when(untold)
            .then(pl.col("before").replace_strict(_BY_STATE_BEFORE, default="platform", return_dtype=pl.String))
            .otherwise("cause")
        )
    )


def _exposure(states: FrameT, changes: FrameT) -> FrameT:
    """Spans from an archive-until-escalating to the next row of its group."""
    first_seen = pl.col("at").filter(pl.col("kind") == "first_seen").min()
    born = changes.group_by(KEY).agg(matured=first_seen + _NEW_GROUP)
    following = pl.col("next_kind")
    return (
        states.join(born, on=KEY, how="left", maintain_order="left")
        .with_columns(pl.col("at", "kind").shift(-1).over(KEY).name.prefix("next_"))
        .filter(pl.col("kind") == "archived_until_escalating", (following != CUT).fill_null(value=True))
        # the instant of an escalation was still exposed, or it could not have happened
        .with_columns(end=pl.col("next_at") + pl.when(following == "escalating").then(_INSTANT).otherwise(_NONE))
        .select(*KEY, start=pl.max_horizontal("at", "matured"), end="end")
        .filter((pl.col("start") < pl.col("end")).fill_null(value=True))
        .sort(*KEY, "start")
    )
