"""How the tables of a store came to be: a list of steps, each carried out once, in a transaction of its own.

A step is never edited once it was released: a store somewhere was made by it. A change of the tables is a new step at
the end, and the same change in ``tables``; a test holds the two together.
"""

import time
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from issue_analytics.errors import DatasetError
from issue_analytics.issues.store.tables import METADATA, schema_version

__all__ = ["STEPS", "carry_out", "version_of"]

_SERIAL: Final = {
    "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "postgresql": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
}

STEPS: Final = (
    (
        "CREATE TABLE schema_version (version BIGINT PRIMARY KEY, at BIGINT NOT NULL)",
        """CREATE TABLE issues (
            project_id BIGINT NOT NULL, group_id BIGINT NOT NULL,
            state TEXT NOT NULL, since BIGINT NOT NULL,
            priority BIGINT NOT NULL, initial_priority BIGINT NOT NULL, priority_locked_at BIGINT,
            type BIGINT, title TEXT, culprit TEXT, level TEXT,
            first_seen BIGINT, last_seen BIGINT, times_seen BIGINT NOT NULL,
            condition TEXT, version BIGINT NOT NULL,
            PRIMARY KEY (project_id, group_id))""",
        "CREATE INDEX issues_by_state ON issues (state, since)",
        """CREATE TABLE occurrences (
            occurrence_id TEXT PRIMARY KEY, event_id TEXT, project_id BIGINT NOT NULL, group_id BIGINT NOT NULL,
            type BIGINT, fingerprint TEXT, title TEXT, level TEXT NOT NULL,
            detected_at BIGINT NOT NULL, received_at BIGINT,
            FOREIGN KEY (project_id, group_id) REFERENCES issues (project_id, group_id) ON DELETE CASCADE)""",
        "CREATE INDEX occurrences_by_issue ON occurrences (project_id, group_id, detected_at)",
        """CREATE TABLE history (
            id {serial}, project_id BIGINT NOT NULL, group_id BIGINT NOT NULL, at BIGINT NOT NULL,
            kind TEXT NOT NULL, maker TEXT, cause TEXT, forecast BIGINT, who TEXT, version BIGINT NOT NULL,
            source TEXT NOT NULL)""",
        "CREATE INDEX history_by_issue ON history (project_id, group_id, id)",
        """CREATE TABLE forecasts (
            project_id BIGINT NOT NULL, group_id BIGINT NOT NULL, date_added BIGINT NOT NULL, forecast TEXT NOT NULL,
            PRIMARY KEY (project_id, group_id, date_added),
            FOREIGN KEY (project_id, group_id) REFERENCES issues (project_id, group_id) ON DELETE CASCADE)""",
        """CREATE TABLE labels (
            id {serial}, project_id BIGINT NOT NULL, group_id BIGINT NOT NULL, hour BIGINT NOT NULL,
            verdict TEXT NOT NULL, note TEXT, who TEXT, at BIGINT NOT NULL)""",
        "CREATE INDEX labels_by_alert ON labels (project_id, group_id, hour, id)",
    ),
    (
        # what was edited, and why; and the order that issues are listed in
        "ALTER TABLE history ADD COLUMN note TEXT",
        "CREATE INDEX issues_by_last_seen ON issues (last_seen)",
    ),
)
"""Of each version its statements; ``{serial}`` is a number that the database gives."""

_LOCK: Final = 0x1551_57_0E
"""Key of the lock under which PostgreSQL stores are migrated: any number that others hardly take."""


def version_of(connection: Connection) -> int:
    """The version of the store behind a connection; 0 where there is none.

    Raises:
        DatasetError: there are tables in the way that are no store's.
    """
    names = set(sa.inspect(connection).get_table_names())
    if schema_version.name not in names:
        # a file is a store or it is not; on a server, others may have tables too, of other names
        theirs = sorted(names if connection.dialect.name == "sqlite" else names & set(METADATA.tables))
        if theirs:
            raise DatasetError(f"it holds tables that are no store's ({', '.join(theirs[:3])}); name another place")
        return 0
    columns = {column["name"] for column in sa.inspect(connection).get_columns(schema_version.name)}
    if columns != {"version", "at"}:
        raise DatasetError("its table schema_version is no store's; name another place")
    return int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(schema_version.c.version), 0))).scalar_one())


def carry_out(connection: Connection, number: int) -> None:
    """Carry out step ``number``, from 1, in the transaction of the connection; nothing if somebody else has by now."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    if version_of(connection) >= number:
        return
    for statement in STEPS[number - 1]:
        connection.exec_driver_sql(statement.replace("{serial}", _SERIAL[dialect]))
    connection.execute(schema_version.insert().values(version=number, at=time.time_ns() // 1000))
