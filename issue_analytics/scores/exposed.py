"""The hours that were watched, as every score needs them: whole hours, each once."""

from datetime import timedelta

import polars as pl

from issue_analytics.errors import FrameError
from issue_analytics.frames import KEY

__all__ = ["exposed"]


def exposed(exposure: pl.DataFrame) -> pl.DataFrame:
    """Return the key, start and end of exposed spans, by group and start, if no hour is in two of them or cut.

    Contract ``Exposure`` allows more: an hour in two spans would be counted twice, the end of an open span is unknown.
    A backtest unites and closes spans, so that a result's ``exposure`` is always good.

    Raises:
        FrameError: it is no eager frame, a column is missing, an end is null, a span is empty or not of whole hours, or
            two spans of a group overlap.

    >>> from datetime import UTC, datetime
    >>> monday = datetime(2026, 1, 5, tzinfo=UTC)
    >>> exposed(pl.DataFrame({"project_id": [1], "group_id": [7], "start": [monday], "end": [None]}))
    Traceback (most recent call last):
    issue_analytics.errors.FrameError: exposure: end holds nulls. Fill them, such as with the end of the data.
    """
    if not isinstance(exposure, pl.DataFrame):
        raise FrameError(f"exposure: expected an eager polars frame, got {type(exposure).__name__}.")
    if missing := [name for name in (*KEY, "start", "end") if name not in exposure.columns]:
        raise FrameError(f"exposure: no column {', '.join(missing)}. Found: {', '.join(exposure.columns)}.")
    spans = exposure.select(*KEY, "start", "end").sort(*KEY, "start")
    if spans["end"].null_count():
        raise FrameError("exposure: end holds nulls. Fill them, such as with the end of the data.")
    same = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in KEY)
    start, end, hour = pl.col("start"), pl.col("end"), pl.lit(timedelta(hours=1))
    told = {
        "start and end are not everywhere whole hours": pl.any_horizontal(
            pl.col(name) != pl.col(name).dt.truncate("1h") for name in ("start", "end")
        ),
        "not in every row: start is before end": end - start < hour,
        "two spans of a group overlap. Unite them first": same & (start < end.shift(1)),
    }
    wrong = spans.select(expression.any().alias(words) for words, expression in told.items()).row(0, named=True)
    for words, found in wrong.items():
        if found:
            raise FrameError(f"exposure: {words}.")
    return spans
