"""What tests of several files share: the databases a store can lie in."""

import itertools
import os

import pytest
from postgres import Server

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def postgres():
    """The URL of a real PostgreSQL server, started when first asked for."""
    if os.environ.get("ISSUE_ANALYTICS_NO_POSTGRESQL"):
        pytest.skip("ISSUE_ANALYTICS_NO_POSTGRESQL is set")
    server = Server()
    yield server.url
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_place(request, tmp_path):
    """A function that gives a new, empty place for a store: a file, or a schema of the server."""
    if request.param == "sqlite":
        return lambda: str(tmp_path / f"store-{next(NUMBERS)}.db")
    url = request.getfixturevalue("postgres")

    def new_schema():
        import psycopg

        name = f"store_{next(NUMBERS)}"
        with psycopg.connect(url) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{url}?options=-csearch_path%3D{name}"

    return new_schema


@pytest.fixture
def place(new_place):
    """A new, empty place for a store."""
    return new_place()
