"""Rows of issues and of their history: making, holding and setting them. What every change of a store is made of."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from issue_analytics.errors import FrameError
from issue_analytics.frames import KEY
from issue_analytics.issues.group_types import GROUP_TYPES
from issue_analytics.issues.lifecycle import Priority, check_transition, priority_after
from issue_analytics.issues.store.columns import FRAMES, UTC_US
from issue_analytics.issues.store.database import frame_of, insert, plain_columns, stage
from issue_analytics.issues.store.reading import locked
from issue_analytics.issues.store.tables import history, issues

__all__ = [
    "CAUSE",
    "MAKER",
    "OWN",
    "PLAIN",
    "all_there",
    "check_change",
    "default_priority",
    "insert_into",
    "log",
    "make",
    "moments",
    "priorities",
    "set_columns",
]

OWN: Final = "store"
"""The source of changes that were made in the store itself; others are those of exports."""

CAUSE: Final = {"escalation": "forecast", "velocity": "velocity", "condition": "condition", "platform": "platform"}
"""Who makes an issue escalate -> the cause on record."""

MAKER: Final = {cause: maker for maker, cause in CAUSE.items()}
"""The other way round."""

PLAIN: Final = ("priority_locked_at", "type", "title", "culprit", "level", "first_seen", "last_seen", "condition")
"""Columns of issues that no rule changes."""


def default_priority() -> pl.Expr:
    """The priority that issues of a type begin with; medium where the type is not known."""
    known = {kind.id: kind.default_priority for kind in GROUP_TYPES if kind.default_priority is not None}
    return pl.col("type").replace_strict(known, default=int(Priority.MEDIUM), return_dtype=pl.Int64)


def check_change(key: Sequence[int], before: str | None, after: str, by: str) -> None:
    """Refuse a change that the lifecycle does not know, naming the issue."""
    try:
        check_transition(before, after, by)
    except FrameError as error:
        raise FrameError(f"issue {key[0]}:{key[1]}: {error}") from None


def all_there(connection: Connection, keys: pl.DataFrame) -> pl.DataFrame:
    """The issues of these keys, held until the transaction ends; an error if one is not there."""
    found = locked(connection, keys)
    if found.height < keys.height:
        missing = keys.join(found, on=KEY, how="anti")
        project, group = missing.select(KEY).row(0)
        many = f" (and {missing.height - 1:,} more)" if missing.height > 1 else ""
        raise FrameError(f"no issue {project}:{group}{many} in the store.")
    return found


def make(connection: Connection, fresh: pl.DataFrame) -> pl.DataFrame:
    """Make those issues that are not there, by their first event at ``born``: the rows that were made."""
    check_transition(None, "new", "first_event")
    columns = list(FRAMES["issues"])
    fresh = fresh.sort(KEY)
    rows = fresh.select(
        pl.col(name) if name in fresh.columns else pl.lit(None, kind).alias(name)
        for name, kind in FRAMES["issues"].items()
    )
    staged = stage(connection, rows, "fresh")
    query = sa.select(staged).where(sa.true()).order_by(*(staged.c[name] for name in KEY))
    statement = insert_into(connection, issues).from_select(columns, query).on_conflict_do_nothing()
    made = frame_of(connection, statement.returning(*(issues.c[name] for name in KEY)), "issues")
    if made.height < fresh.height:
        fresh = fresh.join(made, on=KEY, how="semi", maintain_order="left")
    first = fresh.select(*KEY, at="born", kind=pl.lit("new"), version=pl.lit(1, pl.Int64))
    log(connection, first, at="at", kind="kind", maker="first_event")
    return fresh


def insert_into(connection: Connection, table: sa.Table) -> Any:
    """An INSERT of the database's own kind, which knows conflicts."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def set_columns(connection: Connection, after: pl.DataFrame, names: Iterable[str]) -> None:
    """Set these columns of issues to what the frame says."""
    if after.is_empty():
        return
    names = list(dict.fromkeys(names))
    staged = stage(connection, after.select(*KEY, *names), "after")
    connection.execute(
        sa.update(issues)
        .where(*(issues.c[name] == staged.c[name] for name in KEY))
        .values({name: staged.c[name] for name in names})
    )


def log(
    connection: Connection,
    changed: pl.DataFrame,
    *,
    at: str,
    kind: str,
    maker: str,
    cause: str | pl.Expr | None = None,
    forecast: int | None = None,
    who: str | None = None,
    note: str | None = None,
) -> None:
    """Append a row of history per changed issue; ``at`` and ``kind`` are columns of the frame."""
    rows = changed.select(
        *KEY,
        at=pl.col(at),
        kind=pl.col(kind),
        maker=pl.lit(maker),
        cause=cause if isinstance(cause, pl.Expr) else pl.lit(cause, pl.String),
        forecast=pl.lit(forecast, pl.Int64),
        who=pl.lit(who, pl.String),
        version=pl.col("version"),
        source=pl.lit(OWN),
        note=pl.lit(note, pl.String),
    )
    insert(connection, history, plain_columns(rows))


def moments(todo: pl.DataFrame, at: datetime | None, now: datetime) -> pl.Expr:
    """When the change is: as said, else now; never before the one before it."""
    if at is None:
        return pl.max_horizontal(pl.lit(now, UTC_US), "since")
    early = todo.filter(pl.col("since") > at)
    if not early.is_empty():
        row = early.row(0, named=True)
        raise FrameError(
            f"issue {row['project_id']}:{row['group_id']}: {row['state']} since {row['since']:%Y-%m-%d %H:%M:%S} UTC; "
            f"a change at {at:%Y-%m-%d %H:%M:%S} would come before it."
        )
    return pl.lit(at, UTC_US)


def priorities(before: pl.DataFrame, after: pl.Expr) -> pl.Series:
    """What becomes of each row's priority in its next state: the lifecycle's rule, asked once per case.

    ``after`` may name several states with commas between, which it comes into one after the other.
    """
    case = before.select(
        "state", "priority", "initial_priority", after=after, locked=pl.col("priority_locked_at").is_not_null()
    )
    cases = case.unique()
    found = [_along(*row) for row in cases.rows()]
    rules = cases.with_columns(found=pl.Series(found, dtype=pl.Int64))
    return case.join(rules, on=case.columns, how="left", maintain_order="left")["found"]


def _along(state: str, priority: int, initial: int, path: str, locked: bool) -> int:
    for after in path.split(","):
        if after != state:
            priority = int(priority_after(after, priority, initial, before=state, locked=locked))
        state = after
    return priority
