"""Occurrences to hourly counts, and hourly counts to the dense panel that the kernels work on."""

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.io.plugins import register_io_source

from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY, FrameT, require

__all__ = ["HOUR", "Panel", "hourly_counts", "hours_in", "panels", "span", "whole_hour"]

HOUR = timedelta(hours=1)

_HOUR_US: Final = 3_600_000_000
_MOST_HOUR: Final = 2**21 - 1
_MOST_GROUP: Final = 2**42 - 1
"""Largest hour since 1970 and largest group that fit one whole number together: hours to the year 2209."""

_BATCH: Final = 2**18
_STEP: Final = 2**12
_CELLS: Final = 2**22
_PAYS: Final = 16
"""Rows counted at a time; ids of groups that a table grows by; cells of a table, 32 MB; cells for a row that pay."""

_SCHEMA: Final = {
    "project_id": pl.Int64(),
    "group_id": pl.Int64(),
    "hour": pl.Datetime("us", "UTC"),
    "count": pl.Int64(),
}

PANEL_CELLS = 2**23
"""Cells of one panel: 64 MB, so that any number of groups over any number of years fits in memory block by block."""


def hourly_counts(occurrences: FrameT) -> FrameT:
    """Count occurrences per group and clock hour.

    One row of the result is a group and an hour with at least one occurrence (contract ``HourlyCounts``); silent hours
    have no row. Lazy in, lazy out: fifty million rows are counted in pieces, and come in no order, since sorting them
    takes longer than counting. An eager frame comes in the order of project, group and hour.

    Raises:
        FrameError: the frame is no frame of occurrences.

    >>> occurrences = pl.DataFrame({"project_id": [1, 1, 1], "group_id": [7, 7, 7], "detected_at": [
    ...     datetime(2026, 1, 5, 9, 1, tzinfo=UTC), datetime(2026, 1, 5, 9, 59, tzinfo=UTC),
    ...     datetime(2026, 1, 5, 12, 0, tzinfo=UTC)]})
    >>> hourly_counts(occurrences).select(pl.col("hour").dt.hour(), "count").rows()
    [(9, 2), (12, 1)]
    """
    require(occurrences, "Occurrences", columns=(*KEY, "detected_at"))
    if isinstance(occurrences, pl.DataFrame):
        return _grouped(occurrences.lazy()).sort(*KEY, "hour")
    return register_io_source(partial(_source, occurrences), schema=_SCHEMA, validate_schema=True)


def _source(
    occurrences: pl.LazyFrame,
    columns: list[str] | None,
    predicate: pl.Expr | None,
    rows: int | None,
    batch_size: int | None,
) -> Iterator[pl.DataFrame]:
    """The counts of lazy occurrences, once they are asked for."""
    groups = [] if predicate is None else predicate.meta.root_names()
    if predicate is not None and set(groups) <= set(KEY):
        # what is asked of groups only can be asked of their occurrences
        occurrences, predicate = occurrences.filter(predicate), None
    counts = _counted(occurrences)
    if predicate is not None:
        counts = counts.filter(predicate)
    if rows is not None:
        counts = counts.head(rows)
    yield counts if columns is None else counts.select(columns)


def _counted(occurrences: pl.LazyFrame) -> pl.DataFrame:
    """Counts in no order."""
    tallied = _tallied(occurrences)
    return _grouped(occurrences) if tallied is None else tallied


def _tallied(occurrences: pl.LazyFrame) -> pl.DataFrame | None:
    """Counts in no order, by tables of hours and groups; None where ids lie far apart, or rows in no order of time.

    A batch of rows as exports have them falls into a few hours, and a table of these is small and quick to count in:
    half the time of grouping. Where a table is written down before its hours are complete, they are added up at last.
    """
    hour = (pl.col("detected_at").dt.epoch("us") // _HOUR_US).cast(pl.Int32, strict=False)
    batches = occurrences.select(*KEY, hour=hour).collect_batches(chunk_size=_BATCH, maintain_order=True)
    with ThreadPoolExecutor(2) as aside:  # the next batch is fetched, and a table written down, while one is counted
        return _tally(batches, aside)


def _tally(batches: Iterator[pl.DataFrame], aside: Executor) -> pl.DataFrame | None:
    low = high = 0  # ids of groups in the table
    projects = np.empty(0, dtype=np.int64)  # of these groups, -1 where none is known
    table: dict[int, npt.NDArray[np.int64]] = {}
    done: list[Future[pl.DataFrame]] = []
    written: list[int] = []
    following = aside.submit(_numbers, batches)
    while (numbers := following.result()) is not None:
        following = aside.submit(_numbers, batches)
        if not numbers:
            return None
        project, group, at = numbers
        least, most = int(group.min()) // _STEP * _STEP, (int(group.max()) // _STEP + 1) * _STEP
        start, hours = int(at.min()), int(at.max()) - int(at.min()) + 1
        if not projects.size:
            low = high = least
        before, after = max(0, low - least), max(0, most - high)
        width = before + (high - low) + after
        if project.min() < 0 or width * hours > (_CELLS if projects.size else min(_CELLS, _PAYS * group.size)):
            return None
        if before or after or width * (len(table) + hours) > _CELLS:
            done.append(aside.submit(_rows, table, low, projects.copy()))
            written += table
            table = {}
            projects = np.pad(projects, (before, after), constant_values=-1)
            low, high = low - before, high + after
        place = group - low
        if not np.array_equal(projects[place], project):  # a group not seen before, or one id in two projects
            earlier = projects.copy()
            projects[place] = project
            if not np.array_equal(projects[place], project) or ((earlier != projects) & (earlier >= 0)).any():
                return None
        cell = (at - start) * np.int64(width)
        cell += place
        rows = np.bincount(cell, minlength=hours * width).reshape(hours, width)
        for number, row in enumerate(rows, start):
            table[number] = table[number] + row if number in table else row
    done.append(aside.submit(_rows, table, low, projects))
    written += table
    counts = pl.concat([part.result() for part in done])
    again = [number * _HOUR_US for number, times in Counter(written).items() if times > 1]
    if not again:
        return counts
    twice = pl.col("hour").is_in(pl.Series(again).cast(_SCHEMA["hour"]).implode())
    return pl.concat([counts.filter(~twice), counts.filter(twice).group_by(*KEY, "hour").agg(pl.col("count").sum())])


def _numbers(batches: Iterator[pl.DataFrame]) -> tuple[npt.NDArray[np.int64], ...] | None:
    """The columns of the next batch with rows; none where there are nulls, and None after the last batch."""
    for batch in batches:
        if batch.height:
            return () if any(column.has_nulls() for column in batch) else tuple(x.to_numpy() for x in batch)
    return None


def _rows(table: Mapping[int, npt.NDArray[np.int64]], low: int, projects: npt.NDArray[np.int64]) -> pl.DataFrame:
    """The cells of a table that are not 0; its first column is group ``low``."""
    if not table:
        return pl.DataFrame(schema=_SCHEMA)
    found = [np.flatnonzero(row) for row in table.values()]
    place = np.concatenate(found)
    return pl.DataFrame(
        {
            "project_id": projects[place],
            "group_id": place + low,
            "hour": np.repeat(np.array(list(table)) * _HOUR_US, [row.size for row in found]),
            "count": np.concatenate([row[some] for row, some in zip(table.values(), found, strict=True)]),
        }
    ).cast(_SCHEMA)  # type: ignore[arg-type]


def _grouped(occurrences: pl.LazyFrame) -> pl.DataFrame:
    """Counts in no order. One whole number for group and hour is grouped twice as fast as three columns."""
    hour = pl.col("detected_at").dt.epoch("us") // _HOUR_US
    fits = pl.col("group_id").is_between(0, _MOST_GROUP) & hour.is_between(0, _MOST_HOUR)
    packed = (
        occurrences.group_by(pl.when(fits).then(pl.col("group_id") * (_MOST_HOUR + 1) + hour).alias("key"))
        .agg(pl.len().alias("count"), pl.col("project_id").min().alias("low"), pl.col("project_id").max().alias("high"))
        .collect(engine="streaming")
    )
    if packed["key"].has_nulls() or (packed["low"] != packed["high"]).any():
        # ids too large to be packed, such as hashes, or one id in two projects
        at = pl.col("detected_at").dt.truncate("1h").alias("hour")
        counts = occurrences.group_by(*KEY, at).agg(count=pl.len()).collect(engine="streaming")
        return counts.select(*KEY, "hour", pl.col("count").cast(pl.Int64)).cast(_SCHEMA)  # type: ignore[arg-type]
    # pl.len() is unsigned: 1 - 5 would be four thousand million
    return packed.select(
        pl.col("low").alias("project_id"),
        (pl.col("key") // (_MOST_HOUR + 1)).alias("group_id"),
        ((pl.col("key") % (_MOST_HOUR + 1)) * _HOUR_US).cast(pl.Datetime("us", "UTC")).alias("hour"),
        pl.col("count").cast(pl.Int64),
    )


def whole_hour(name: str, at: datetime) -> datetime:
    """Return ``at`` in UTC if it has a zone and is the start of an hour.

    Raises:
        SettingsError: it has no zone, or lies inside an hour: hourly counts cannot be cut there.

    >>> whole_hour("as_of", datetime(2026, 1, 5, 9, 30, tzinfo=UTC))
    Traceback (most recent call last):
    issue_analytics.errors.SettingsError: as_of: 2026-01-05T09:30:00+00:00 lies inside an hour; hourly counts ...
    """
    if not isinstance(at, datetime):
        raise SettingsError(f"{name}: expected a datetime, got {at!r}.")
    if at.tzinfo is None:
        raise SettingsError(f"{name}: {at.isoformat()} has no time zone; write datetime(..., tzinfo=timezone.utc).")
    if not 1970 <= at.year < 3000:
        raise SettingsError(f"{name}: {at.isoformat()} is no time of ours.")
    at = at.astimezone(UTC)
    if at != at.replace(minute=0, second=0, microsecond=0):
        raise SettingsError(
            f"{name}: {at.isoformat()} lies inside an hour; hourly counts can only be cut on the hour (UTC)."
        )
    return at


def hours_in(length: pl.Expr) -> pl.Expr:
    """A duration in hours, to the microsecond, and the same number in a frame of any height.

    polars multiplies by the inverse of a constant in some frames and divides by it in others, which differs in the last
    bit: six minutes must not be a tenth of an hour here and a little less there.

    >>> lengths = pl.DataFrame({"length": [timedelta(minutes=6)] * 3})
    >>> lengths.select(hours_in(pl.col("length"))).to_series().to_list()
    [0.1, 0.1, 0.1]
    """
    return (length.dt.total_microseconds() / _HOUR_US).round(9)


def span(counts: pl.DataFrame) -> tuple[datetime, datetime] | None:
    """First hour of the counts and the end of the last one, or None where there are no counts."""
    first, last = counts.select(pl.col("hour").min().alias("first"), pl.col("hour").max().alias("last")).row(0)
    return None if first is None else (first, last + HOUR)


@dataclass(frozen=True, slots=True)
class Panel:
    """Counts of some groups over a run of hours, silence as 0.

    Attributes:
        groups: project_id and group_id, one row per row of ``counts``, sorted.
        start: the hour of the first column, UTC.
        counts: occurrences per group and hour, ``int64``, shape (groups, hours), in Fortran order: an hour of all
            groups lies in one piece, so that sums over a window are sums of whole rows of memory.
        first: column of each group's first known hour, known before ``start`` or not (then negative).
    """

    groups: pl.DataFrame
    start: datetime
    counts: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]


def panels(
    counts: pl.DataFrame,
    start: datetime,
    end: datetime,
    *,
    groups: pl.DataFrame | None = None,
    cells: int = PANEL_CELLS,
) -> Iterator[Panel]:
    """Cut hourly counts into dense panels over [start, end), a block of groups at a time.

    Every group with a row before ``end`` is in exactly one panel, or every one of ``groups`` (project_id, group_id), if
    these are given; rows outside [start, end) only tell that the group is known. Panels come in the order of the
    groups' keys, whatever the order of the rows.

    >>> counts = pl.DataFrame({"project_id": [1, 1], "group_id": [7, 7], "count": [2, 3], "hour": [
    ...     datetime(2026, 1, 5, 9, tzinfo=UTC), datetime(2026, 1, 5, 11, tzinfo=UTC)]})
    >>> [panel] = panels(counts, datetime(2026, 1, 5, 9, tzinfo=UTC), datetime(2026, 1, 5, 13, tzinfo=UTC))
    >>> panel.counts.tolist()
    [[2, 0, 3, 0]]
    """
    hours = (end - start) // HOUR
    column = (pl.col("hour") - start).dt.total_hours()
    known = counts.lazy().filter(pl.col("hour") < end)
    first = known.group_by(KEY).agg(first=column.min())
    if groups is not None:
        first = groups.lazy().select(KEY).unique().join(first, on=KEY, how="left").fill_null(hours)
    keys = first.sort(KEY).collect()
    # group and column in one number, and small numbers if they fit: a quarter of the memory of the rows
    whole = pl.UInt32 if keys.height * hours < 2**32 else pl.UInt64
    most = counts["count"].max()
    short = pl.Int32 if isinstance(most, int) and most < 2**31 else pl.Int64
    rows = (
        known.filter(pl.col("hour") >= start)
        .join(keys.lazy().select(*KEY, code=pl.int_range(pl.len(), dtype=pl.Int64)), on=KEY)
        .select(pl.col("count").cast(short), cell=(pl.col("code") * hours + column).cast(whole))
        .sort("cell")
        .collect(engine="streaming")
    )
    cell, count = rows["cell"].to_numpy(), rows["count"].to_numpy()
    block = max(1, cells // max(1, hours))
    for low in range(0, keys.height, block):
        part = keys[low : low + block]
        edges = np.array([low * hours, (low + part.height) * hours], dtype=cell.dtype)
        inside = slice(*np.searchsorted(cell, edges).tolist())
        dense = np.zeros((part.height, hours), dtype=np.int64, order="F")
        dense[cell[inside] // hours - low, cell[inside] % hours] = count[inside]
        yield Panel(part.select(KEY), start, dense, part["first"].to_numpy())
