"""A store's database: how it is reached, what a transaction is, and how frames go in and come out."""

import random
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Executable
from sqlalchemy.engine import URL, Connection, Engine

from issue_analytics.errors import DatasetError, SettingsError
from issue_analytics.issues.store.columns import FRAMES
from issue_analytics.issues.store.migrations import STEPS, carry_out, version_of

__all__ = ["Database", "frame_of", "insert", "plain_columns", "stage"]

Result = TypeVar("Result")

_PATIENCE: Final = 60
"""Seconds to wait for other writers."""

_TRIES: Final = 8
_NO_URL: Final = "store: the URL makes no sense; write postgresql://user:password@host/database."
_LOST: Final = {"40001", "40P01"}  # another transaction was in the way; nothing was done, and once more may go well
_TOLD: Final = {"42501", "3F000", "42P01"}  # no permission, no schema, no table: for the user to mend


class Database:
    """A database with the tables of a store.

    Every transaction has a connection of its own: none stays open between calls, so that none is shared with another
    thread or a forked process, or goes stale; a call costs a connection more.

    Args:
        place: a file, or a URL of SQLite or PostgreSQL.
        create: whether to make a store where there is none.

    Raises:
        DatasetError: it cannot be opened, is no store, or was written by a newer version.
        SettingsError: the place makes no sense, or its driver is missing.
    """

    def __init__(self, place: str | Path, *, create: bool = True) -> None:
        self.url = _url(place)
        self.name = _shown(self.url)
        if self.url.drivername == "sqlite":
            _there(Path(str(self.url.database)), create=create)
        self._engine = _engine(self.url)
        with self._told():
            self._migrate(create=create)

    def __reduce__(self) -> tuple[type["Database"], tuple[str]]:
        # a copy, in another process say, is the same place opened again
        return Database, (self.url.render_as_string(hide_password=False),)

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """What ``work`` finds, all of it at one moment."""
        with self._told(), self._engine.connect().execution_options(**self._snapshot) as connection, connection.begin():
            return work(connection)

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """What ``work`` changes, all or nothing; once more where another writer was in the way."""
        tries = 0
        while True:
            try:
                with (
                    self._told(),
                    self._engine.connect().execution_options(writes=True) as connection,
                    connection.begin(),
                ):
                    return work(connection)
            except _LostError:
                tries += 1
                if tries == _TRIES:
                    raise
                time.sleep(random.uniform(0, 0.05 * tries))  # noqa: S311 - no secret

    @property
    def _snapshot(self) -> dict[str, str]:
        # SQLite's transactions are snapshots already
        return {"isolation_level": "REPEATABLE READ"} if self.url.drivername != "sqlite" else {}

    def _migrate(self, *, create: bool) -> None:
        try:
            with self._engine.connect() as connection, connection.begin():
                found = version_of(connection)
        except DatasetError as error:
            raise DatasetError(f"{self.name}: {error}.") from None
        if found > len(STEPS):
            raise DatasetError(
                f"{self.name}: the store has version {found}, written by a newer issue_analytics; this one reads up to "
                f"{len(STEPS)}. Update the package."
            )
        if not found and not create:
            raise DatasetError(f"{self.name}: no store. issue-analytics issues import makes one.")
        if self.url.drivername == "sqlite":  # not before it is known whose file it is
            _let_read_while_writing(self._engine)
        for number in range(found + 1, len(STEPS) + 1):
            with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
                carry_out(connection, number)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say in our words what a user can mend, without the statement and its values."""
        try:
            yield
        except sa.exc.DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None)
            if state in _LOST:
                raise _LostError(f"{self.name}: other writers were in the way ({_first_line(error)}).") from None
            mendable = isinstance(error, sa.exc.OperationalError) or type(error) is sa.exc.DatabaseError
            never_sent = error.statement is None  # what connecting fails of is in the URL
            if not mendable and not never_sent and state not in _TOLD:
                raise
            raise DatasetError(f"{self.name}: {_first_line(error)}.") from None


class _LostError(DatasetError):
    """Another writer was in the way, and nothing was done."""


def _first_line(error: sa.exc.DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
    return lines[0].rstrip(".")


def _url(place: str | Path) -> URL:
    text = str(place)
    if not text or text == ":memory:" or "\0" in text:
        raise SettingsError(f"store {text!r}: name a file, or a URL such as postgresql://host/database.")
    if re.match(r"(?i)postgres(ql)?[+a-z0-9]*:(?!//)", text):  # no file anybody means, and it may hold a password
        raise SettingsError(_NO_URL)
    if isinstance(place, Path) or not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        return URL.create("sqlite", database=str(Path(text).expanduser()))
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise SettingsError(_NO_URL) from None
    kind = url.drivername.partition("+")[0]
    if kind == "sqlite" and url.database not in (None, "", ":memory:"):
        return URL.create("sqlite", database=url.database)
    if kind in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise SettingsError(f"store {_shown(url)}: known are sqlite:///file.db and postgresql://host/database.")


def _shown(url: URL) -> str:
    """A place without its password, which a URL may also hold among its options."""
    if url.drivername == "sqlite":
        return str(url.database)
    return url.set(drivername=url.drivername.partition("+")[0], query={}).render_as_string()


def _there(file: Path, *, create: bool) -> None:
    try:
        if not create and not file.exists():
            raise DatasetError(f"{file}: no store. issue-analytics issues import makes one.")
        if file.is_dir():
            raise DatasetError(f"{file}: a folder; a store is a file.")
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"{file}: cannot be opened ({error.strerror or error}).") from None


def _engine(url: URL) -> Engine:
    if url.drivername == "sqlite":
        engine = sa.create_engine(
            url, poolclass=sa.pool.NullPool, hide_parameters=True, connect_args={"timeout": _PATIENCE}
        )
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "begin", _begin)
        return engine
    try:
        engine = sa.create_engine(
            url,
            poolclass=sa.pool.NullPool,
            hide_parameters=True,
            connect_args={"connect_timeout": _PATIENCE},
        )
    except sa.exc.ArgumentError:
        raise SettingsError(_NO_URL) from None
    except ModuleNotFoundError:
        raise SettingsError(
            f"store {_shown(url)}: psycopg is missing; pip install 'issue-analytics[postgresql]'."
        ) from None
    sa.event.listen(engine, "begin", _be_patient)
    return engine


def _prepare(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # transactions begin where we say so, see _begin
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA temp_store = MEMORY")
    cursor.close()


def _let_read_while_writing(engine: Engine) -> None:
    """Switch the file's write-ahead log on: readers and one writer at the same time."""
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                cursor.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:  # of two who do it at once, one is refused at once
                if "locked" not in str(error) or time.monotonic() > until:
                    raise sa.exc.OperationalError(None, None, error) from None
                time.sleep(0.01)
        cursor.close()
    finally:
        connection.close()


def _begin(connection: Connection) -> None:
    # who will write says so at once: turned from a reader into a writer, a transaction can only fail
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _be_patient(connection: Connection) -> None:
    # left to itself, the server lets a writer wait for another for ever
    if connection.get_execution_options().get("writes"):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_PATIENCE}s'")


# ---- frames in and out ----


def plain_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame as databases hold it: times as microseconds, lists as JSON."""
    made = []
    for name, dtype in frame.schema.items():
        column = pl.col(name)
        if isinstance(dtype, pl.Datetime):
            made.append(column.dt.cast_time_unit("us").cast(pl.Int64))
        elif isinstance(dtype, pl.List):
            # the writer of lists is a writer of structs
            text = pl.struct(column.alias("a")).struct.json_encode().str.slice(5).str.head(-1)
            made.append(pl.when(column.is_not_null()).then(text).alias(name))
        else:
            made.append(column if dtype == pl.String else column.cast(pl.Int64))
    return frame.select(made)


def frame_of(connection: Connection, query: Executable, table: str) -> pl.DataFrame:
    """What a query finds, its columns as those of the same name in ``FRAMES`` of the table."""
    result = connection.execute(query)
    kinds = FRAMES[table]
    names = [entry[0] for entry in result.cursor.description]
    raw = {name: pl.Int64 if kinds[name] == pl.Int64 or kinds[name].is_temporal() else pl.String for name in names}
    # straight from the driver: whole numbers and text need nothing done to them, row by row
    frame = pl.DataFrame(result.cursor.fetchall(), schema=raw, orient="row")
    result.close()
    made = []
    for name in names:
        kind = kinds[name]
        made.append(pl.col(name).str.json_decode(kind) if isinstance(kind, pl.List) else pl.col(name).cast(kind))
    return frame.select(made)


def stage(connection: Connection, frame: pl.DataFrame, name: str) -> sa.Table:
    """A temporary table with the rows of a frame: what joins and sets of any size go by, without a limit of parameters.

    It goes with the transaction, or at the latest with the connection.
    """
    plain = plain_columns(frame)
    table = sa.Table(
        f"staged_{name}",
        sa.MetaData(),
        *(
            sa.Column(column, sa.Text if dtype == pl.String else sa.BigInteger)
            for column, dtype in plain.schema.items()
        ),
        prefixes=["TEMPORARY"],
    )
    connection.execute(sa.schema.DropTable(table, if_exists=True))
    connection.execute(sa.schema.CreateTable(table))
    insert(connection, table, plain)
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"ANALYZE {table.name}"))  # or it is taken to be small
    return table


def insert(connection: Connection, table: sa.Table, plain: pl.DataFrame) -> None:
    """Append rows, as ``plain_columns`` gives them, in the fastest way the database has."""
    if plain.is_empty():
        return
    if connection.dialect.name == "sqlite":
        names = ", ".join(plain.columns)
        marks = ", ".join("?" * plain.width)
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", plain.rows())  # noqa: S608 - our own names
        return
    cursor = connection.connection.cursor()
    with cursor.copy(f"COPY {table.name} ({', '.join(plain.columns)}) FROM STDIN") as copy:
        for row in plain.iter_rows():
            copy.write_row(row)
