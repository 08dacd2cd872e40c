"""What people and rules change in a store, within one transaction that the caller holds."""

from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from issue_analytics.errors import ConflictError, FrameError
from issue_analytics.frames import KEY
from issue_analytics.issues.lifecycle import check_transition
from issue_analytics.issues.ongoing import PASSING_STATES
from issue_analytics.issues.store.columns import FRAMES
from issue_analytics.issues.store.database import frame_of, insert, plain_columns, stage
from issue_analytics.issues.store.rows import (
    CAUSE,
    all_there,
    check_change,
    insert_into,
    log,
    moments,
    priorities,
    set_columns,
)
from issue_analytics.issues.store.tables import forecasts, issues, labels
from issue_analytics.issues.store.values import micros

__all__ = ["delete", "edit", "label", "move", "ongoing", "put_forecasts"]


def move(
    connection: Connection,
    keys: pl.DataFrame,
    after: str,
    *,
    by: str,
    at: datetime | None,
    now: datetime,
    who: str | None = None,
    forecast: int | None = None,
    note: str | None = None,
    condition: str | None = None,
    only_from: tuple[str, ...] | None = None,
) -> pl.DataFrame:
    """Bring issues into a state; those that are in it already, under the same condition, are left as they are."""
    found = all_there(connection, keys)
    if only_from is not None:
        for state, *key in found.filter(~pl.col("state").is_in(only_from)).select("state", *KEY).head(1).rows():
            raise FrameError(f"issue {key[0]}:{key[1]} is {state}; only {' or '.join(only_from)} is meant here.")
    other = pl.col("condition").ne_missing(pl.lit(condition, pl.String))
    todo = found.filter((pl.col("state") != after) | other)
    for before, project, group in todo.unique("state", maintain_order=True).select("state", *KEY).rows():
        if before != after:
            check_change((project, group), before, after, by)
    when = moments(todo, at, now)
    moved = todo.with_columns(
        state=pl.lit(after),
        since=when,
        priority=priorities(todo, pl.lit(after)),
        condition=pl.lit(condition, pl.String),
        version=pl.col("version") + 1,
    )
    set_columns(connection, moved, ("state", "since", "priority", "condition", "version"))
    cause = CAUSE.get(by) if after == "escalating" else None
    log(connection, moved, at="since", kind="state", maker=by, cause=cause, forecast=forecast, who=who, note=note)
    return moved


def ongoing(connection: Connection, at: datetime, cutoff: datetime, who: str | None) -> pl.DataFrame:
    """Bring what has been new, regressed or escalating since ``cutoff`` or longer to ongoing, in one statement.

    Only issues that are still in such a state when their row is reached are changed, whatever others do meanwhile.
    """
    for before in PASSING_STATES:
        check_transition(before, "ongoing", "auto_ongoing")
    c = issues.c
    moment, until = micros(at), micros(cutoff)
    since = sa.case((c.state == "new", sa.func.coalesce(c.first_seen, c.since)), else_=c.since)
    back = sa.and_(c.state == "escalating", c.priority_locked_at.is_(None))
    statement = (
        sa.update(issues)
        .where(c.state.in_(PASSING_STATES), since <= until, c.since <= moment)
        .values(
            state="ongoing",
            since=moment,
            priority=sa.case((back, c.initial_priority), else_=c.priority),
            version=c.version + 1,
        )
        .returning(*c)
    )
    moved = frame_of(connection, statement, "issues").sort(KEY)
    log(connection, moved, at="since", kind="state", maker="auto_ongoing", who=who)
    return moved


def edit(
    connection: Connection,
    key: tuple[int, int],
    version: int,
    values: dict[str, Any],
    *,
    who: str | None,
    at: datetime | None,
    now: datetime,
) -> pl.DataFrame:
    """Change columns of one issue, if it has still the version that the user saw."""
    keys = pl.DataFrame([key], schema=dict.fromkeys(KEY, pl.Int64), orient="row")
    found = all_there(connection, keys)
    seen = found["version"].item()
    if seen != version:
        raise ConflictError(
            f"issue {key[0]}:{key[1]} has version {seen}, not {version}: somebody changed it meanwhile. Get it again, "
            "look at its history, and decide anew."
        )
    before = found.row(0, named=True)
    differs = {name: value for name, value in values.items() if before[name] != value}
    if not differs:
        return found
    moment = moments(found, at, now)
    if "priority" in differs and "priority_locked_at" not in values:  # what a user has set, no rule changes
        differs["priority_locked_at"] = found.select(moment).item()
    edited = found.with_columns(
        *(pl.lit(value, FRAMES["issues"][name]).alias(name) for name, value in differs.items()),
        version=pl.col("version") + 1,
        edited_at=moment,
        edited=pl.lit("edited"),
    )
    set_columns(connection, edited, (*differs, "version"))
    note = ", ".join(f"{name}: {before[name]} -> {value}" for name, value in differs.items())
    log(connection, edited, at="edited_at", kind="edited", maker="user", who=who, note=note[:1000])
    return edited.drop("edited_at", "edited")


def delete(connection: Connection, keys: pl.DataFrame, *, who: str | None, now: datetime) -> int:
    """Delete issues with their occurrences and forecasts; what was done to them, and labels, stay on record."""
    found = all_there(connection, keys)
    here = found.filter(~pl.col("state").is_in(["pending_deletion", "deletion_in_progress"]))
    move(connection, here, "pending_deletion", by="user", at=None, now=now, who=who)
    going = found.filter(pl.col("state") != "deletion_in_progress")
    move(connection, going, "deletion_in_progress", by="deletion", at=None, now=now, who=who)
    gone = stage(connection, found.select(KEY), "gone")
    connection.execute(sa.delete(issues).where(sa.tuple_(issues.c.project_id, issues.c.group_id).in_(sa.select(gone))))
    return found.height


def put_forecasts(connection: Connection, made: pl.DataFrame) -> int:
    """Store forecasts; one that was added for the same issue at the same time is replaced."""
    all_there(connection, made.select(KEY).unique())
    names = list(FRAMES["forecasts"])
    made = made.select(names)
    staged = stage(connection, made.sort(*KEY, "date_added"), "forecasts")
    statement = insert_into(connection, forecasts).from_select(names, sa.select(staged).where(sa.true()))
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[*KEY, "date_added"], set_={"forecast": statement.excluded.forecast}
        )
    )
    return made.height


def label(connection: Connection, said: pl.DataFrame) -> int:
    """Append labels to what was said before."""
    insert(connection, labels, plain_columns(said))
    return said.height
