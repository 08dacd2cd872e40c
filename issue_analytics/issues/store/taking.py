"""What a store takes up in bulk: frames of issues, occurrences, and changes that a tracker recorded."""

from datetime import datetime
from typing import Final

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from issue_analytics.errors import ConflictError
from issue_analytics.frames import KEY
from issue_analytics.issues.lifecycle import STATES, Priority, check_transition
from issue_analytics.issues.store.columns import FRAMES, UTC_US
from issue_analytics.issues.store.database import frame_of, insert, plain_columns, stage
from issue_analytics.issues.store.reading import changes, locked
from issue_analytics.issues.store.rows import (
    MAKER,
    PLAIN,
    check_change,
    default_priority,
    insert_into,
    log,
    make,
    priorities,
    set_columns,
)
from issue_analytics.issues.store.tables import history, occurrences

__all__ = ["load", "put", "record"]


def put(connection: Connection, given: pl.DataFrame, *, who: str | None, now: datetime, new: bool) -> pl.DataFrame:
    """Make issues, and change those that are there; what a row leaves null stays as it is. Keys of what changed."""
    given = given.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in FRAMES["issues"].items() if name not in given.columns
    ).select(FRAMES["issues"].keys())
    moves = (pl.col("state") != "new").fill_null(value=False)
    born = pl.coalesce("first_seen", "since", pl.lit(now, UTC_US))
    initial = pl.coalesce("initial_priority", "priority", default_priority())
    fresh = given.with_columns(
        state=pl.lit("new"),
        goes_to=pl.when(moves).then("state").otherwise(pl.lit("new")),
        born=born,
        since=pl.when(moves).then(pl.max_horizontal(pl.coalesce("since", pl.lit(now, UTC_US)), born)).otherwise(born),
        given="priority",
        priority=initial,
        initial_priority=initial,
        times_seen=pl.col("times_seen").fill_null(0),
        version=1 + moves.cast(pl.Int64),
    )
    ways = fresh.filter(pl.col("goes_to") != "new").unique("goes_to", maintain_order=True)
    for after, *key in ways.select("goes_to", *KEY).rows():
        check_change(key, "new", after, "platform")
    fresh = fresh.with_columns(
        state="goes_to", priority=pl.coalesce("given", priorities(fresh, pl.col("goes_to")))
    ).drop("goes_to", "given")
    made = make(connection, fresh)
    if new and made.height < given.height:
        there = given.join(made, on=KEY, how="anti").row(0, named=True)
        raise ConflictError(f"issue {there['project_id']}:{there['group_id']} is there already; update it instead.")
    moved = made.filter(pl.col("state") != "new").with_columns(
        cause=pl.when(pl.col("state") == "escalating").then(pl.lit("platform"))
    )
    log(connection, moved, at="since", kind="state", maker="platform", cause=pl.col("cause"), who=who)
    changed = _overwrite(connection, given.join(made, on=KEY, how="anti"), who=who, now=now)
    return pl.concat([made.select(KEY), changed.select(KEY)]).sort(KEY)


def _overwrite(connection: Connection, given: pl.DataFrame, *, who: str | None, now: datetime) -> pl.DataFrame:
    found = locked(connection, given)
    both = found.join(given, on=KEY, how="left", suffix="_given").with_columns(
        moved=(pl.col("state") != pl.col("state_given")).fill_null(value=False)
    )
    ways = both.filter("moved").unique(["state", "state_given"], maintain_order=True)
    for before, after, *key in ways.select("state", "state_given", *KEY).rows():
        check_change(key, before, after, "platform")
    # a history is in order: no change is dated before the one before it
    at = pl.max_horizontal(pl.coalesce("since_given", pl.lit(now, UTC_US)), "since")
    both = both.with_columns(
        *(
            pl.coalesce(f"{name}_given", name).alias(f"{name}_after")
            for name in ("initial_priority", "times_seen", *PLAIN)
        ),
        state_after=pl.coalesce("state_given", "state"),
        since_after=pl.when("moved").then(at).otherwise("since"),
        priority_after=pl.coalesce("priority_given", priorities(both, pl.coalesce("state_given", "state"))),
    )
    names = ("state", "since", "priority", "initial_priority", "times_seen", *PLAIN)
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_after")) for name in names)
    both = both.with_columns(
        condition_after=pl.when("moved").then("condition_given").otherwise("condition_after")
    ).filter(differs)
    after = both.select(
        *KEY,
        *(pl.col(f"{name}_after").alias(name) for name in names),
        version=pl.col("version") + 1,
        kind=pl.when("moved").then("state_after").otherwise(pl.lit("edited")),
        at=pl.when("moved").then("since_after").otherwise(pl.max_horizontal(pl.lit(now, UTC_US), "since")),
        cause=pl.when(pl.col("moved") & (pl.col("state_after") == "escalating")).then(pl.lit("platform")),
    )
    set_columns(connection, after, (*names, "version"))
    log(connection, after, at="at", kind="kind", maker="platform", cause=pl.col("cause"), who=who)
    return after


def record(connection: Connection, seen: pl.DataFrame) -> pl.DataFrame:
    """Take up occurrences that are not known yet; the issues they belong to, as they are then.

    ``seen`` has the columns of ``Occurrences``, and of the issue ``culprit`` and ``initial_priority``.
    """
    seen = seen.unique("occurrence_id", keep="first", maintain_order=True)
    ids = stage(connection, seen.select("occurrence_id"), "ids")
    known = sa.select(ids.c.occurrence_id).join(occurrences, occurrences.c.occurrence_id == ids.c.occurrence_id)
    seen = seen.join(frame_of(connection, known, "occurrences"), on="occurrence_id", how="anti")
    if seen.is_empty():
        return pl.DataFrame(schema=FRAMES["issues"])
    initial = pl.coalesce("initial_priority", default_priority())
    fresh = _last(seen).with_columns(
        state=pl.lit("new"),
        born=pl.col("first_seen"),
        since=pl.col("first_seen"),
        priority=initial,
        initial_priority=initial,
        times_seen=pl.lit(0, pl.Int64),
        version=pl.lit(1, pl.Int64),
    )
    make(connection, fresh)
    found = locked(connection, fresh)
    seen = seen.join(_append(connection, seen), on="occurrence_id", how="semi")

    again = (
        seen.join(found.filter(pl.col("state") == "resolved").select(*KEY, "since"), on=KEY)
        .filter(pl.col("detected_at") > pl.col("since"))
        .group_by(KEY)
        .agg(again_at=pl.col("detected_at").min())
    )
    check_transition("resolved", "regressed", "regression")
    both = found.join(_last(seen), on=KEY, suffix="_now").join(again, on=KEY, how="left")
    later = (pl.col("last_seen_now") >= pl.col("last_seen")).fill_null(value=True)
    regresses = pl.col("again_at").is_not_null()
    after = both.with_columns(
        *(
            pl.when(later)
            .then(pl.coalesce(f"{name}_now", name))
            .otherwise(pl.coalesce(name, f"{name}_now"))
            .alias(name)
            for name in _TOLD
        ),
        first_seen=pl.min_horizontal("first_seen", "first_seen_now"),
        last_seen=pl.max_horizontal("last_seen", "last_seen_now"),
        times_seen=pl.col("times_seen") + pl.col("events"),
        state=pl.when(regresses).then(pl.lit("regressed")).otherwise("state"),
        since=pl.when(regresses).then("again_at").otherwise("since"),
        version=pl.col("version") + regresses.cast(pl.Int64),
    )
    set_columns(connection, after, (*_TOLD, "first_seen", "last_seen", "times_seen", "state", "since", "version"))
    log(connection, after.filter(regresses), at="since", kind="state", maker="regression")
    return after.select(FRAMES["issues"].keys()).sort(KEY)


_TOLD: Final = ("type", "title", "culprit", "level")
"""Columns of issues that their last occurrence tells."""


def _last(seen: pl.DataFrame) -> pl.DataFrame:
    """A row per issue: what its last occurrence says that says anything, and when and how often it was seen."""
    return (
        seen.sort("detected_at", "occurrence_id")
        .group_by(KEY)
        .agg(
            pl.col(*_TOLD, "initial_priority").drop_nulls().last(),
            first_seen=pl.col("detected_at").first(),
            last_seen=pl.col("detected_at").last(),
            events=pl.len().cast(pl.Int64),
        )
        .sort(KEY)
    )


def _append(connection: Connection, seen: pl.DataFrame) -> pl.DataFrame:
    """Add occurrences; the ids of those that nobody else has added meanwhile."""
    names = occurrences.c.keys()
    staged = stage(connection, seen.select(names), "occurrences")
    # two who bring the same ones bring them in one order, and so never wait for each other
    query = sa.select(staged).where(sa.true()).order_by(staged.c.occurrence_id)
    statement = insert_into(connection, occurrences).from_select(names, query).on_conflict_do_nothing()
    return frame_of(connection, statement.returning(occurrences.c.occurrence_id), "occurrences")


def load(connection: Connection, recorded: pl.DataFrame) -> pl.DataFrame:
    """Take up changes that a tracker recorded, each once: those that were taken up.

    An issue goes through the states they tell, those before the one it is in excepted.
    """
    recorded = recorded.unique(maintain_order=True)
    todo = _not_known(connection, recorded)
    if todo.is_empty():
        return todo
    first_seen = pl.col("at").filter(pl.col("kind") == "first_seen").min()
    medium = pl.lit(int(Priority.MEDIUM), pl.Int64)
    fresh = (
        todo.group_by(KEY)
        .agg(born=pl.col("at").min(), first_seen=first_seen)
        .with_columns(
            state=pl.lit("new"),
            since="born",
            priority=medium,
            initial_priority=medium,
            times_seen=pl.lit(0, pl.Int64),
            version=pl.lit(1, pl.Int64),
        )
    )
    make(connection, fresh)
    found = locked(connection, fresh)
    todo = _not_known(connection, todo).sort(*KEY, "at", maintain_order=True)  # somebody may have been quicker
    tells = pl.col("kind").replace_strict(_MEANT, default=None, return_dtype=pl.String)
    told = todo.group_by(KEY).agg(changes=pl.len().cast(pl.Int64), first_seen_told=first_seen)
    # those that came after what is known, one after the other: in how many portions they come makes no difference
    later = (
        todo.with_columns(tells=tells)
        .join(found.select(*KEY, "since"), on=KEY, maintain_order="left")
        .filter(pl.col("tells").is_not_null(), pl.col("at") >= pl.col("since"))
        .group_by(KEY, maintain_order=True)
        .agg(path=pl.col("tells").str.join(","), goes_to=pl.col("tells").last(), at=pl.col("at").last())
    )
    both = found.join(told, on=KEY).join(later, on=KEY, how="left")
    both = both.with_columns(
        pl.coalesce("path", "state"), pl.coalesce("goes_to", "state"), moves=pl.col("path").is_not_null()
    )
    ways = both.filter(pl.col("state") != pl.col("goes_to")).unique(["state", "goes_to"], maintain_order=True)
    for before, after, *key in ways.select("state", "goes_to", *KEY).rows():
        check_change(key, before, after, "platform")
    after = both.with_columns(
        state="goes_to",
        since=pl.when("moves").then("at").otherwise("since"),
        priority=priorities(both, pl.col("path")),
        condition=pl.when(~pl.col("moves")).then("condition"),
        first_seen=pl.min_horizontal("first_seen", "first_seen_told"),
        version=pl.col("version") + pl.col("changes"),
    )
    set_columns(connection, after, ("state", "since", "priority", "condition", "first_seen", "version"))
    rows = todo.join(found.select(*KEY, "version"), on=KEY, maintain_order="left").with_columns(
        version=pl.col("version") + pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(KEY),
        maker=pl.col("cause").replace_strict(MAKER, default=None, return_dtype=pl.String),
        who=pl.lit(None, pl.String),
        note=pl.lit(None, pl.String),
    )
    insert(connection, history, plain_columns(rows.select(*FRAMES["history"])))
    return todo


_MEANT: Final = {
    **{state.name: state.name for state in STATES if state.name != "new"},
    "unresolved": "ongoing",
    "ignored": "archived_forever",
}
"""Kind of a recorded change -> the state it leads to; of old records that do not say, what the tracker made of them."""


def _not_known(connection: Connection, recorded: pl.DataFrame) -> pl.DataFrame:
    """Those recorded changes that are not in the history yet."""
    known = changes(connection, recorded.select(KEY).unique()).select(_IDENTITY)
    return recorded.join(known, on=_IDENTITY, how="anti", maintain_order="left")


_IDENTITY: Final = (*KEY, "at", "kind", "source")
"""What tells recorded changes apart."""
