"""What is read from a store, within one transaction."""

from collections.abc import Sequence
from typing import Any, Final

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from issue_analytics.frames import KEY
from issue_analytics.issues.store.columns import FRAMES
from issue_analytics.issues.store.database import frame_of, stage
from issue_analytics.issues.store.tables import forecasts, history, issues, labels, occurrences

__all__ = ["Filters", "alert_labels", "changes", "count", "find", "forecasts_of", "locked", "occurrences_of"]

Filters = dict[str, Any]
"""Column of issues -> the values it may have; ``text``: what title or culprit must hold; ``seen_since``: a time."""


_FEW: Final = 1000
"""Values of a filter that a statement has parameters for; PostgreSQL ends at 65,535 of them."""


def _where(connection: Connection, filters: Filters) -> list[sa.ColumnElement[bool]]:
    made: list[sa.ColumnElement[bool]] = []
    for name, wanted in filters.items():
        if wanted is None:
            continue
        if name == "text":
            made.append(
                sa.or_(*(column.icontains(wanted, autoescape=True) for column in (issues.c.title, issues.c.culprit)))
            )
        elif name == "seen_since":
            made.append(issues.c.last_seen >= wanted)
        elif len(wanted) <= _FEW:
            made.append(issues.c[name].in_(wanted))
        else:
            values = pl.DataFrame({name: pl.Series(wanted)}).unique()
            # the sum keeps SQLite from asking its index for each of the values, times each of another filter's
            made.append((issues.c[name] + 0).in_(sa.select(stage(connection, values, f"wanted_{name}"))))
    return made


def find(
    connection: Connection, filters: Filters, *, sort: str, descending: bool, limit: int | None, offset: int
) -> pl.DataFrame:
    """Issues that pass every filter; of equal ones the smaller key comes first, so that pages do not overlap."""
    column = issues.c[sort]
    order = (column.desc() if descending else column.asc()).nulls_last()
    query = (
        sa.select(issues).where(*_where(connection, filters)).order_by(order, *_key(issues)).limit(limit).offset(offset)
    )
    return frame_of(connection, query, "issues")


def count(connection: Connection, filters: Filters) -> int:
    """How many issues pass every filter."""
    query = sa.select(sa.func.count()).select_from(issues).where(*_where(connection, filters))
    return int(connection.execute(query).scalar_one())


def locked(connection: Connection, keys: pl.DataFrame) -> pl.DataFrame:
    """The issues of these keys that there are, by key; nobody else changes them until the transaction ends."""
    wanted = stage(connection, keys.select(KEY), "keys")
    query = (
        sa.select(issues)
        .join(wanted, _same(issues, wanted))
        .order_by(*_key(issues))  # two who take several take them in one order, and so never wait for each other
        .with_for_update(of=issues)
    )
    return frame_of(connection, query, "issues")


def changes(connection: Connection, keys: pl.DataFrame | None) -> pl.DataFrame:
    """The history of these issues, or of all, in the order it was recorded in for each."""
    query = sa.select(*(history.c[name] for name in FRAMES["history"]))
    query = query.order_by(*_key(history), history.c.id)
    return frame_of(connection, _narrowed(connection, query, history, keys), "history")


def occurrences_of(connection: Connection, keys: pl.DataFrame | None) -> pl.DataFrame:
    """The occurrences of these issues, or of all, by issue and time."""
    query = sa.select(occurrences)
    query = query.order_by(*_key(occurrences), occurrences.c.detected_at, occurrences.c.occurrence_id)
    return frame_of(connection, _narrowed(connection, query, occurrences, keys), "occurrences")


def forecasts_of(connection: Connection, keys: pl.DataFrame | None, *, latest: bool) -> pl.DataFrame:
    """The forecasts of these issues, or of all, by issue and time."""
    query = sa.select(forecasts)
    if latest:
        later = forecasts.alias("later")
        query = query.where(~sa.exists().where(_same(forecasts, later), later.c.date_added > forecasts.c.date_added))
    query = query.order_by(*_key(forecasts), forecasts.c.date_added)
    return frame_of(connection, _narrowed(connection, query, forecasts, keys), "forecasts")


def alert_labels(connection: Connection, keys: pl.DataFrame | None, *, superseded: bool) -> pl.DataFrame:
    """Labels of alerts, by alert; only the last of each, unless the superseded are asked for too."""
    query = sa.select(*(labels.c[name] for name in FRAMES["labels"]))
    if not superseded:
        later = labels.alias("later")
        query = query.where(
            ~sa.exists().where(_same(labels, later), later.c.hour == labels.c.hour, later.c.id > labels.c.id)
        )
    query = query.order_by(*_key(labels), labels.c.hour, labels.c.id)
    return frame_of(connection, _narrowed(connection, query, labels, keys), "labels")


def _narrowed(
    connection: Connection, query: sa.Select[Any], table: sa.Table, keys: pl.DataFrame | None
) -> sa.Select[Any]:
    if keys is None:
        return query
    wanted = stage(connection, keys.select(KEY), "keys")
    return query.join(wanted, _same(table, wanted))


def _key(table: sa.FromClause) -> Sequence[sa.ColumnElement[Any]]:
    return [table.c[name] for name in KEY]


def _same(one: sa.FromClause, other: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.and_(*(one.c[name] == other.c[name] for name in KEY))
