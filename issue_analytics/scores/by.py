"""What score functions share: one row for each value of some columns, or one for all rows; checks of settings."""

from collections.abc import Sequence

import polars as pl

from issue_analytics.errors import SettingsError

__all__ = ["aggregated", "columns_of", "probability"]


def columns_of(frame: pl.DataFrame, by: str | Sequence[str]) -> list[str]:
    """The names of the columns to group by.

    Raises:
        SettingsError: the frame has no such column.
    """
    names = [by] if isinstance(by, str) else list(by)
    if missing := [name for name in names if name not in frame.columns]:
        raise SettingsError(f"by: no column {', '.join(missing)}. There are: {', '.join(frame.columns)}.")
    return names


def aggregated(frame: pl.DataFrame, by: str | Sequence[str], *sums: pl.Expr) -> pl.DataFrame:
    """Rows for each value of ``by``, in its order; one row of all where ``by`` is empty.

    >>> aggregated(pl.DataFrame({"a": [2, 1, 2], "n": [1, 2, 3]}), "a", pl.col("n").sum()).rows()
    [(1, 2), (2, 4)]
    """
    names = columns_of(frame, by)
    return frame.group_by(names).agg(sums).sort(names) if names else frame.select(sums)


def probability(name: str, value: float) -> float:
    """Return the value if it lies strictly between 0 and 1.

    Raises:
        SettingsError: it does not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise SettingsError(f"{name}: expected a number between 0 and 1, got {value!r}.")
    return float(value)
