"""The light side of the contracts: enumerations, and checks that load pandera only when first asked.

``issue_analytics.schemas`` holds the contracts. This module lets every station of the path name one without paying for
pandera at import time.
"""

from copy import copy
from typing import TYPE_CHECKING, Final, TypeVar

import polars as pl

from issue_analytics.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Collection

    from pandera.polars import DataFrameModel, DataFrameSchema

__all__ = [
    "CAUSES",
    "KEY",
    "PROVENANCES",
    "RULES",
    "VERDICTS",
    "FrameT",
    "check",
    "eager",
    "empty",
    "require",
    "whole_numbers",
]

FrameT = TypeVar("FrameT", pl.DataFrame, pl.LazyFrame)

KEY: Final = ("project_id", "group_id")
"""What identifies a group: ids of different projects may collide."""

RULES: Final = ("new", "bursty", "spike", "fallback", "none")
"""Which branch made a limit."""

PROVENANCES: Final = ("algorithm", "velocity", "condition", "platform", "human", "incident", "injected")
"""Where a label comes from; ``algorithm`` is upstream's own flag and so circular truth."""

CAUSES: Final = ("forecast", "velocity", "condition", "platform", "duration")
"""What made a recorded issue escalate; ``duration``: a time was over, which was called so before 2024."""

_HASHED: Final = 2**20
"""Rows hashed at a time."""

VERDICTS: Final = ("caught", "duplicate", "unjudged", "false")
"""What an alert turned out to be."""


def _columns(contract: str) -> "tuple[type[DataFrameModel], dict[str, pl.DataType]]":
    from issue_analytics import schemas

    model: type[DataFrameModel] = getattr(schemas, contract)
    return model, {name: column.dtype.type for name, column in model.to_schema().columns.items()}


def require(frame: FrameT, contract: str, *, columns: "Collection[str] | None" = None) -> FrameT:
    """Return the frame as it came, if it has the contract's columns (or those named) with their types.

    Works on lazy frames (nothing is collected); says nothing about values.

    Raises:
        FrameError: a column is missing or has another type; the message lists what there is.

    >>> require(pl.DataFrame({"gid": [1]}), "Exposure")
    Traceback (most recent call last):
    issue_analytics.errors.FrameError: Exposure: no column project_id, group_id, start, end. Found: gid. ...
    """
    if not isinstance(frame, pl.DataFrame | pl.LazyFrame):
        raise FrameError(f"{contract}: expected a polars frame, got {type(frame).__module__}.{type(frame).__name__}.")
    found = frame.collect_schema()
    wanted = {name: dtype for name, dtype in _columns(contract)[1].items() if columns is None or name in columns}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise FrameError(
            f"{contract}: no column {', '.join(missing)}. Found: {', '.join(found) or 'no column at all'}. "
            "Rename with .rename({'theirs': 'ours'}), or add the column."
        )
    wrong = [f"{name} is {found[name]}, not {dtype}" for name, dtype in wanted.items() if found[name] != dtype]
    if wrong:
        raise FrameError(f"{contract}: {'; '.join(wrong)}. Cast with .cast(...) first.")
    return frame


def check(frame: pl.DataFrame, contract: str) -> pl.DataFrame:
    """Return the eager frame as it came, if every value keeps the contract.

    Raises:
        FrameError: the contract is broken; the message names each broken rule once.
    """
    from pandera.errors import SchemaErrors

    require(frame, contract)
    model, _ = _columns(contract)
    try:
        _rest(model, frame).validate(frame, lazy=True)
    except SchemaErrors as error:
        failures = [
            failure
            for kind in ("DATA", "SCHEMA")
            for failures in error.message.get(kind, {}).values()
            for failure in failures
        ]
        broken = {_words(model, str(failure["column"]), str(failure["check"])) for failure in failures}
        raise FrameError(f"{contract}: {'; '.join(sorted(broken))}. {frame.height:,} rows were looked at.") from None
    return frame


def _rest(model: "type[DataFrameModel]", frame: pl.DataFrame) -> "DataFrameSchema":
    """The rules of a contract without those on what is unique, where the frame plainly keeps them.

    Rows with different hashes are different, and hashes take an eighth of the memory that pandera counts rows in. Rows
    with equal hashes may still differ: then pandera has to look.
    """
    schema = copy(model.to_schema())
    if schema.unique and _all_differ(frame.select(schema.unique)):
        schema.unique = None
    sole = [name for name, column in schema.columns.items() if column.unique and _all_differ(frame.select(name))]
    schema.columns = {name: copy(column) for name, column in schema.columns.items()}
    for name in sole:
        schema.columns[name].unique = False
    return schema


def _all_differ(rows: pl.DataFrame) -> bool:
    # hashing takes twice the memory of the hashes: some rows at a time
    hashes = [part.hash_rows() for part in rows.iter_slices(_HASHED)]
    return not hashes or pl.concat(hashes).n_unique() == rows.height


def _words(model: "type[DataFrameModel]", column: str, check: str) -> str:
    if check == "multiple_fields_uniqueness":
        key = ", ".join(model.to_schema().unique or ())
        return f"two rows have the same {key}; add them up, or keep one"
    if check == "field_uniqueness":
        return f"{column} holds a value twice; keep one row of each"
    if check == "not_nullable":
        return f"{column} holds nulls"
    if column == model.__name__:  # a rule about rows, named for what it asks
        return f"not in every row: {check.replace('_', ' ')}"
    return f"{column}: not {check.replace('_', ' ')}"


def empty(contract: str) -> pl.DataFrame:
    """Return the contract's frame without rows.

    >>> empty("Exposure").columns
    ['project_id', 'group_id', 'start', 'end']
    """
    return pl.DataFrame(schema=_columns(contract)[1])


def eager(frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Return the frame, collected if it is lazy."""
    return frame.collect() if isinstance(frame, pl.LazyFrame) else frame


def whole_numbers(name: str, frame: pl.DataFrame | pl.LazyFrame, columns: "Collection[str]" = KEY) -> pl.LazyFrame:
    """Return only these columns of a frame that has no contract, such as the keys of some groups, as ``Int64``.

    Args:
        name: what the argument is called where it was given.
        frame: with these columns and any others.
        columns: their names.

    Raises:
        FrameError: a column is missing, or holds no whole numbers.

    >>> whole_numbers("leave_out", pl.DataFrame({"project_id": ["1"], "group_id": [7]}))
    Traceback (most recent call last):
    issue_analytics.errors.FrameError: leave_out: project_id is String, not Int64. Cast with .cast(...) first.
    """
    found = frame.collect_schema()
    if missing := [column for column in columns if column not in found]:
        raise FrameError(f"{name}: no column {', '.join(missing)}. Found: {', '.join(found)}.")
    if wrong := [f"{column} is {found[column]}" for column in columns if not found[column].is_integer()]:
        raise FrameError(f"{name}: {', '.join(wrong)}, not Int64. Cast with .cast(...) first.")
    return frame.lazy().select(pl.col(list(columns)).cast(pl.Int64))
