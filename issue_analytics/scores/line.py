"""Windows and alarms on one line: the exposed hours of all groups laid end to end.

Scores of ranges need lengths, positions and distances. On a line of whole numbers these are differences, hours that
were not watched take no room, and one sorted array holds every group: no score loops over groups, windows or hours.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from issue_analytics.errors import FrameError
from issue_analytics.frames import KEY

__all__ = ["Line", "Ranges", "lay", "overlaps"]

Whole = npt.NDArray[np.int64]

_HOUR_US: Final = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Ranges:
    """Ranges [start, end) of a line: whole hours, not empty, not overlapping, in order."""

    start: Whole
    end: Whole

    @property
    def length(self) -> Whole:
        """Exposed hours in each."""
        return self.end - self.start

    def holding(self, positions: Whole) -> Whole:
        """The number of the range that holds each position; -1 where none does."""
        last = np.searchsorted(self.start, positions, side="right") - 1
        held = last >= 0
        held[held] = positions[held] < self.end[last[held]]
        return np.where(held, last, -1)


@dataclass(frozen=True, slots=True)
class Line:
    """The exposed hours of every group, group after group.

    Attributes:
        keys: project_id, group_id: one row per exposed group, sorted.
        groups: the hours of each row of ``keys``.
        windows: exposed hours of labelled windows; windows of a group that overlap or meet are one.
        times: start, end: those of each row of ``windows`` in clock hours, exposed or not.
        alarms: positions of hours that fired, in order, each once.
        runs: hours that fired one after another; a span's end ends a run.
    """

    keys: pl.DataFrame
    groups: Ranges
    windows: Ranges
    times: pl.DataFrame
    alarms: Whole
    runs: Ranges

    def count(self, positions: Whole) -> Whole:
        """How many of these positions each group has."""
        return np.bincount(self.groups.holding(positions), minlength=self.keys.height).astype(np.int64)

    def add(self, positions: Whole, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The sum of the values at these positions in each group."""
        weights = np.asarray(values, dtype=np.float64)
        group = self.groups.holding(positions)
        return np.bincount(group, weights=weights, minlength=self.keys.height).astype(np.float64)


def lay(windows: pl.DataFrame, alarms: pl.DataFrame, spans: pl.DataFrame) -> Line:
    """Lay the exposed hours of all groups end to end, and put windows and alarms on them.

    Args:
        windows: project_id, group_id, start, end: labelled time, [start, end), whole hours or not. An hour that a
            window touches is in it.
        alarms: project_id, group_id, hour: hours that fired.
        spans: project_id, group_id, start, end: exposed whole hours, not overlapping in a group. What lies outside them
            does not count.

    Raises:
        FrameError: a column is missing or has another type, a time is null, a window or span is empty, or a span or an
            alarm is not of whole hours.
    """
    spans = _positive("spans", _times("spans", spans, "start", "end"))
    windows = _positive("windows", _times("windows", windows, "start", "end"))
    alarms = _times("alarms", alarms, "hour")
    keys = spans.select(KEY).unique().sort(KEY)
    numbered = keys.with_row_index("number").with_columns(pl.col("number").cast(pl.Int64))
    spans, windows, alarms = (frame.join(numbered, on=KEY) for frame in (spans, windows, alarms))
    number, (start, end) = _hours("spans", spans, "start", "end")
    window_number, (opens, closes) = _hours("windows", windows, "start", "end", widen=True)
    alarm_number, (hour,) = _hours("alarms", alarms, "hour")

    # one whole number orders groups and hours together, with room between groups so that nothing of two groups meets
    moments = np.concatenate([start, end, opens, closes, hour])
    first = moments.min(initial=0)
    room = moments.max(initial=0) - first + 2
    exposed = _sorted(number * room + start - first, number * room + end - first)
    if (exposed.start[1:] < exposed.end[:-1]).any():
        raise FrameError("spans: two spans of a group overlap. Unite them first.")
    labelled = _united(_sorted(window_number * room + opens - first, window_number * room + closes - first))
    fired = np.unique(alarm_number * room + hour - first)
    fired = fired[exposed.holding(fired) >= 0]

    before = np.concatenate([[0], np.cumsum(exposed.length)])

    def position(moment: Whole) -> Whole:
        """Exposed hours before a moment."""
        span = np.searchsorted(exposed.start, moment, side="right") - 1
        if not exposed.start.size:
            return np.zeros_like(moment)
        inside = np.minimum(moment - exposed.start[span], exposed.length[span])
        return np.where(span < 0, 0, before[span] + inside)

    placed = Ranges(position(labelled.start), position(labelled.end))
    kept = placed.length > 0
    clock = Ranges(labelled.start[kept], labelled.end[kept])
    at = position(fired)
    begins = np.flatnonzero(np.diff(fired, prepend=-2) != 1)  # of the clock: a gap in exposure has no length here
    edges = before[np.searchsorted(np.sort(number), np.arange(keys.height + 1))]
    return Line(
        keys=keys,
        groups=Ranges(edges[:-1], edges[1:]),
        windows=Ranges(placed.start[kept], placed.end[kept]),
        times=pl.DataFrame({name: _clock(getattr(clock, name) % room + first) for name in ("start", "end")}),
        alarms=at,
        runs=Ranges(at[begins], at[np.append(begins[1:], at.size) - 1] + 1) if at.size else Ranges(at, at),
    )


def overlaps(these: Ranges, those: Ranges) -> tuple[Whole, Whole, Ranges]:
    """Every pair of ranges that share an hour: the number of one, of the other, and what they share."""
    first = np.searchsorted(those.end, these.start, side="right")
    many = np.searchsorted(those.start, these.end, side="left") - first
    one = np.repeat(np.arange(these.start.size), many)
    other = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many) + np.repeat(first, many)
    shared = Ranges(
        np.maximum(these.start[one], those.start[other]),
        np.minimum(these.end[one], those.end[other]),
    )
    return one, other, shared


def _times(name: str, frame: pl.DataFrame, *times: str) -> pl.DataFrame:
    """The key and these times of a frame, in microseconds since 1970."""
    wanted = (*KEY, *times)
    found = frame.schema
    if missing := [column for column in wanted if column not in found]:
        raise FrameError(f"{name}: no column {', '.join(missing)}. Found: {', '.join(found) or 'no column at all'}.")
    wrong = [f"{column} is {found[column]}, not Int64" for column in KEY if found[column] != pl.Int64]
    utc = pl.Datetime("us", "UTC")
    wrong += [f"{column} is {found[column]}, not {utc}" for column in times if found[column] != utc]
    if wrong:
        raise FrameError(f"{name}: {'; '.join(wrong)}. Cast with .cast(...) first.")
    if nulls := [column for column in wanted if frame[column].null_count()]:
        raise FrameError(f"{name}: {', '.join(nulls)} holds nulls. Fill them, such as with the end of the data.")
    return frame.select(*KEY, pl.col(times).to_physical())


def _positive(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    if (frame["end"] <= frame["start"]).any():
        raise FrameError(f"{name}: not in every row: start is before end.")
    return frame


def _hours(name: str, frame: pl.DataFrame, *times: str, widen: bool = False) -> tuple[Whole, list[Whole]]:
    """The number of the group and these times in hours since 1970."""
    hours = []
    for column in times:
        moments = frame[column].to_numpy()
        if not widen and (moments % _HOUR_US).any():
            raise FrameError(f"{name}: {column} is not everywhere a whole hour.")
        hours.append(-(-moments // _HOUR_US) if column == "end" else moments // _HOUR_US)
    return frame["number"].to_numpy(), hours


def _sorted(start: Whole, end: Whole) -> Ranges:
    order = np.argsort(start, kind="stable")
    return Ranges(start[order], end[order])


def _united(ranges: Ranges) -> Ranges:
    """Sorted ranges with those that overlap or meet made one."""
    if not ranges.start.size:
        return ranges
    reach = np.maximum.accumulate(ranges.end)
    begins = np.flatnonzero(np.append(True, ranges.start[1:] > reach[:-1]))
    return Ranges(ranges.start[begins], reach[np.append(begins[1:], reach.size) - 1])


def _clock(hours: Whole) -> pl.Series:
    return pl.Series(hours * _HOUR_US, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
