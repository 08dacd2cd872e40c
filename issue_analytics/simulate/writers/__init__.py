"""Simulated exports, one module a format: each turns a simulation into the files that a tracker would have given.

A writer is ``write(sim) -> Iterator[tuple[str, bytes]]``: file names that no other format has, and contents. Files that
are named after issues lie in a folder of their format. Content of a name that ends in ``.gz`` is packed by
:mod:`issue_analytics.simulate.export`, which also sees to it that a file is there whole or not at all. Lines are built
by polars expressions, not by a loop over occurrences.

To add a format: a module of its name in this folder, and a line in :data:`FORMATS`.
"""

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Final

from issue_analytics.errors import SettingsError

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["DEFAULT", "FORMATS", "chosen", "writer"]

FORMATS: Final = {
    # our own columns, and the records of the tracker's topics
    "occurrences": "occurrence records, as stored and as in the topic ingest-occurrences",
    "hourly_counts": "a table of hourly counts (CSV, Parquet)",
    "status_changes": "a table of status changes (CSV, Parquet)",
    "escalations": "a table of the planted escalations (CSV, Parquet)",
    "generic_events": "the topic generic-events: occurrences with their events",
    "error_events": "the topic events: errors, and messages that merge, unmerge and delete",
    "group_attributes": "the topic group-attributes: a snapshot at each change of an issue",
    # queries
    "snuba": "Snuba's answers to the query for hourly counts, in pages",
    "clickhouse_errors": "rows of the ClickHouse table errors",
    "clickhouse_search_issues": "rows of the ClickHouse table search_issues",
    "clickhouse_counts": "hourly counts by SQL on the ClickHouse tables",
    # the REST API
    "issues": "issues retrieved one by one, with activities",
    "issue_list": "pages of the issue list with hourly stats; retrieved issues with expand=forecast",
    "issue_list_daily": "the issue list with daily stats, which is of no use here and refused",
    "issue_events": "pages of the events of an issue",
    "activities": "the activities of an issue, 100 at most",
    "group_stats": "the stats of an issue",
    "events_stats": "hourly counts from events-stats, single and top events",
    "events_timeseries": "hourly counts from events-timeseries, in milliseconds",
    # what people click together, and what applications send
    "discover": "CSV and JSON lines of Discover and Explore",
    "sdk_events": "events as SDKs send them, without group ids",
    "envelopes": "envelopes as SDKs send them",
}
"""The formats, and what each is; the module of the same name says what of a simulation it carries."""

DEFAULT: Final = ("occurrences", "issues")


def chosen(formats: Iterable[str]) -> list[str]:
    """Return the formats, each once, in the order given.

    Raises:
        SettingsError: there is no such format, or none is given.

    >>> chosen(["snuba", "snoba"])
    Traceback (most recent call last):
    issue_analytics.errors.SettingsError: formats: there is no snoba. There are: occurrences, hourly_counts, ...
    """
    wanted = list(dict.fromkeys([formats] if isinstance(formats, str) else formats))
    if unknown := [name for name in wanted if name not in FORMATS]:
        raise SettingsError(f"formats: there is no {', '.join(map(str, unknown))}. There are: {', '.join(FORMATS)}.")
    if not wanted:
        raise SettingsError(f"formats: none given. There are: {', '.join(FORMATS)}.")
    return wanted


def writer(name: str) -> "Callable[[Simulation], Iterator[tuple[str, bytes]]]":
    """The ``write`` of a format; its module is loaded only now."""
    write: Callable[[Simulation], Iterator[tuple[str, bytes]]] = import_module(f"{__name__}.{name}").write
    return write
