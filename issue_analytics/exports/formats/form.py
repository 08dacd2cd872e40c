"""What a format is, and small helpers that several of them need."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import polars as pl

__all__ = ["Fields", "Format", "Row", "first_of", "ignored", "is_message", "records_in", "refused"]

Fields: TypeAlias = Mapping[str, tuple[str, ...]]
"""Our columns of one kind of row, and the names a format has for them; the first that has a value counts."""


class Row(NamedTuple):
    """What a record holds: a row of a kind, under our column names, its values as the export has them.

    A key ``problem`` refuses the row with that reason. ``shown`` is what a reject shows of it, by default the values.
    An empty ``kind`` stands for something that is no row of ours and is only counted, by the name in ``shown``.
    """

    kind: str
    values: Mapping[str, Any]
    shown: Any = None


@dataclass(frozen=True, slots=True)
class Format:
    """A way that exports look.

    Attributes:
        name: what users call it (``--format``) and what tables of an import show.
        knows: whether a record, or a table with these columns (a mapping of names to None), looks like this format.
        fields: for records and tables without nesting, by kind of row: our columns and theirs. Such formats are read
            by polars, many rows at a time.
        open: for records that hold other records: the rows in one of them, given the record and the file's name
            without endings. Such formats are read one record at a time.
        adapt: brings raw rows of a kind to the common ways of writing values; may give rows of several kinds.
        note: what everybody who uses such rows must be told.
        holds: whether a record may stand in a file of this format, where that is more than ``knows`` says: some records
            of a format do not show that they are of it.
        quick: the same as ``open`` for the many lines of a big file that hold nothing out of the ordinary: their kind,
            and a frame of their raw rows, each with the place of its ``line`` among those given; the others are left to
            ``open``.
    """

    name: str
    knows: Callable[[Any], bool]
    fields: Mapping[str, Fields] = field(default_factory=dict)
    open: Callable[[Any, str], Iterable[Row]] | None = None
    adapt: Callable[[str, pl.DataFrame], list[tuple[str, pl.DataFrame]]] | None = None
    note: str | None = None
    holds: Callable[[Any], bool] | None = None
    quick: Callable[[Sequence[bytes]], tuple[str, pl.DataFrame]] | None = None


def first_of(record: Mapping[str, Any], *names: str) -> Any:
    """The first value that is there under one of the names.

    >>> first_of({"groupID": None, "group_id": 7}, "groupID", "group_id")
    7
    """
    for name in names:  # no generator: rows of answers are many
        value = record.get(name)
        if value is not None:
            return value
    return None


def ignored(what: str) -> Row:
    """Something in an export that is no row of ours: it is counted, under this name."""
    return Row("", {}, what)


def refused(kind: str, problem: str, shown: Any, *, whole: bool = False) -> Row:
    """A row that cannot be accepted, for a reason that only its format knows.

    ``whole``: it stands for a whole series or answer. A file in which there is nothing else is of no use, and an error.
    """
    return Row(kind, {"problem": problem, **({"whole": True} if whole else {})}, shown)


def is_message(record: Any) -> bool:
    """Whether a record is a message of the event stream: ``[2, kind, payload, ...]``.

    >>> is_message([2, "insert", {"event_id": "a"}]), is_message([[1767603600, 3]])
    (True, False)
    """
    return (
        isinstance(record, list)
        and len(record) >= 3
        and isinstance(record[0], int)
        and isinstance(record[1], str)
        and isinstance(record[2], dict)
    )


def records_in(record: Any) -> Iterator[Any]:
    """The records in a page: pages are lists of records, or lists of such lists.

    >>> list(records_in([[{"id": 1}], [{"id": 2}]])), list(records_in([[1767603600, 3]]))
    ([{'id': 1}, {'id': 2}], [[[1767603600, 3]]])
    """
    if isinstance(record, list) and record and all(isinstance(part, dict) for part in record):
        yield from record
    elif isinstance(record, list) and record and all(_is_page(part) for part in record):
        for page in record:
            yield from records_in(page)
    else:
        yield record


def _is_page(part: Any) -> bool:
    return (isinstance(part, list) and (not part or all(isinstance(one, dict) for one in part))) or is_message(part)
