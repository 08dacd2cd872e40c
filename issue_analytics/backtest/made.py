"""Limits made for single groups at moments of their own: what a schedule would make for all would be mostly waste.

A limit depends on 168 counts and on where in the week they stand. So pairs of group and moment with the same hour of
the week are put side by side, as if they were one panel, and the kernel makes their limits in one go.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from issue_analytics.counts import HOUR, Panel
from issue_analytics.formula import NEW, NONE, limit_of_one
from issue_analytics.frames import KEY, RULES
from issue_analytics.kernel import Buckets, limits_on
from issue_analytics.thresholds import PUBLISHED, ThresholdVariables

__all__ = ["History"]

Ints = npt.NDArray[np.int64]

WINDOW: Final = 168
_HOUR_US: Final = 3_600_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PAIRS: Final = 2**14
"""Windows laid out at a time: 22 MB."""

_UNKNOWN: Final = -(2**61)


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Whole numbers for group and time, one for each occurrence, sorted."""

    key: Ints

    def between(self, low: Ints, high: Ints) -> Ints:
        number: Ints = np.maximum(np.searchsorted(self.key, high) - np.searchsorted(self.key, low), 0)
        return number


class History:
    """Hourly counts, laid out so that any windows of any groups are found at once.

    Pairs are frames of project_id, group_id, ``made`` (when a forecast is made) and ``date`` (the UTC day its limit is
    for). A forecast is made from the 168 whole hours before the hour of ``made``; the 14th limit also serves for later
    days.
    """

    def __init__(self, counts: pl.DataFrame, first_seen: pl.DataFrame, occurrences: pl.DataFrame | None = None) -> None:
        """Take the counts (contract ``HourlyCounts``), ages, and the occurrences where parts of hours are needed."""
        self.groups = counts.select(KEY).unique().sort(KEY).with_row_index("code")
        self.born = (
            self.groups.join(first_seen, on=KEY, how="left", maintain_order="left")["first_seen"]
            .dt.epoch("us")
            .fill_null(_UNKNOWN)
            .to_numpy()
        )
        hour = pl.col("hour").dt.epoch("us") // _HOUR_US
        rows = counts.join(self.groups, on=KEY).select(pl.col("code").cast(pl.Int64), hour=hour, count="count")
        hours = rows["hour"].to_numpy()
        first, last = (int(hours.min()), int(hours.max())) if hours.size else (0, 0)
        self.start, self.width = first - 1, last - first + 3
        rows = rows.filter(pl.col("count") > 0).sort("code", "hour")
        code, self.hour, self.count = (rows[name].to_numpy() for name in ("code", "hour", "count"))
        self.key = code * self.width + self.hour - self.start
        self.occurrences = None if occurrences is None else self._occurrences(occurrences)

    def _occurrences(self, occurrences: pl.DataFrame) -> _Sorted:
        at = pl.col("detected_at").dt.epoch("us") - self.start * _HOUR_US
        key = (
            occurrences.join(self.groups, on=KEY)
            .select(pl.col("code").cast(pl.Int64) * self.width * _HOUR_US + at)
            .to_series()
            .sort()
            .to_numpy()
        )
        return _Sorted(key)

    def limits(
        self, pairs: pl.DataFrame, *, thresholds: ThresholdVariables, buckets: Buckets = "sparse"
    ) -> pl.DataFrame:
        """Limit and rule of each pair, in its order; null and ``none`` where the window is silent or unknown."""
        code, hour, ahead = self._pairs(pairs)
        limit, rule = np.zeros(code.size, dtype=np.int64), np.full(code.size, NONE, dtype=np.uint8)
        new = None
        if buckets == "dense":
            new = hour * _HOUR_US - self.born[np.maximum(code, 0)] < WINDOW * _HOUR_US
        for rows in _alike(np.nonzero(code >= 0)[0], hour):
            window = self._windows(code[rows], hour[rows], WINDOW)
            start = _EPOCH + (int(hour[rows[0]]) - WINDOW) * HOUR
            panel = Panel(self.groups.select(KEY)[:0], start, np.asfortranarray(window), np.zeros(rows.size, np.int64))
            made, by = limits_on(
                panel,
                [start + WINDOW * HOUR],
                thresholds=thresholds,
                buckets=buckets,
                days=7,
                new=None if new is None else new[rows][:, None],
            )
            place = np.arange(rows.size)
            limit[rows], rule[rows] = made[place, 0, ahead[rows] % 7], by[place, 0, ahead[rows] % 7]
        return _told(limit, rule)

    def limits_to_the_minute(self, pairs: pl.DataFrame, *, thresholds: ThresholdVariables) -> pl.DataFrame:
        """As :meth:`limits`, sparse, from the 168 hours before ``until``, a time in the hour of ``made`` or its end.

        They touch 169 clock hours, of which the first and the last count in part; so the tracker's own query sees them.
        Without occurrences the two count as a whole.
        """
        code, hour, ahead = self._pairs(pairs)
        limit, rule = np.zeros(code.size, dtype=np.int64), np.full(code.size, NONE, dtype=np.uint8)
        until = pairs["until"].dt.epoch("us").to_numpy()
        for low in range(0, code.size, _PAIRS):
            rows = np.nonzero(code[low : low + _PAIRS] >= 0)[0] + low
            window = self._windows(code[rows], hour[rows] + 1, WINDOW + 1)
            if self.occurrences is not None:
                base = code[rows] * self.width * _HOUR_US - self.start * _HOUR_US
                opens = (hour[rows] - WINDOW) * _HOUR_US
                early = self.occurrences.between(base + opens, base + until[rows] - WINDOW * _HOUR_US)
                late = self.occurrences.between(base + until[rows], base + (hour[rows] + 1) * _HOUR_US)
                window[:, 0] -= np.minimum(early, window[:, 0])
                window[:, -1] -= np.minimum(late, window[:, -1])
            busiest = window.max(axis=1, initial=0)
            limit[rows] = PUBLISHED.new_multiplier * busiest
            rule[rows] = np.where(busiest > 0, NEW, NONE)
            for place in np.nonzero(np.count_nonzero(window, axis=1) >= WINDOW)[0].tolist():
                row = int(rows[place])
                labels = np.nonzero(window[place])[0]
                # counted from the first of 1970: it only matters which of them are the same
                weekdays = (hour[row] - WINDOW + labels) // 24 % 7
                day = (int(hour[row]) // 24 + int(ahead[row])) % 7
                value, rule[row] = limit_of_one(
                    window[place, labels].tolist(), weekdays.tolist(), day, thresholds, PUBLISHED, new=False
                )
                limit[row] = value or 0
        return _told(limit, rule)

    def busiest(self, pairs: pl.DataFrame) -> pl.Series:
        """The count of the busiest of the 168 hours; 0 where there is none."""
        code, hour, _ = self._pairs(pairs)
        found = np.zeros(code.size, dtype=np.int64)
        for low in range(0, code.size, _PAIRS):
            rows = np.nonzero(code[low : low + _PAIRS] >= 0)[0] + low
            found[rows] = self._windows(code[rows], hour[rows], WINDOW).max(axis=1, initial=0)
        return pl.Series("busiest", found)

    def _pairs(self, pairs: pl.DataFrame) -> tuple[Ints, Ints, Ints]:
        """Row of each group (-1: unknown), the hour each forecast is made in, and the days ahead it serves for."""
        rows = pairs.join(self.groups, on=KEY, how="left", maintain_order="left").select(
            pl.col("code").cast(pl.Int64).fill_null(-1),
            hour=pl.col("made").dt.epoch("us") // _HOUR_US,
            ahead=(pl.col("date") - pl.col("made").dt.date()).dt.total_days().clip(0, 13),
        )
        code, hour, ahead = (rows[name].to_numpy() for name in ("code", "hour", "ahead"))
        return code, hour, ahead

    def _windows(self, code: Ints, end: Ints, length: int) -> Ints:
        """Counts of the hours before each end; shape (pairs, length)."""
        base = code * self.width - self.start
        # what lies outside the counts is another group's in the packed numbers
        first = np.searchsorted(self.key, base + np.clip(end - length, self.start, self.start + self.width - 1))
        last = np.searchsorted(self.key, base + np.clip(end, self.start, self.start + self.width - 1))
        number = last - first
        window = np.zeros((code.size, length), dtype=np.int64)
        row = np.repeat(np.arange(code.size), number)
        at = np.arange(row.size) - np.repeat(np.cumsum(number) - number, number) + np.repeat(first, number)
        window[row, self.hour[at] - np.repeat(end - length, number)] = self.count[at]
        return window


def _alike(rows: Ints, hour: Ints) -> Iterator[Ints]:
    """Rows whose windows end in the same hour of the week, some at a time."""
    place = hour[rows] % WINDOW
    order = rows[np.argsort(place, kind="stable")]
    for part in np.split(order, np.nonzero(np.diff(np.sort(place)))[0] + 1):
        for low in range(0, part.size, _PAIRS):
            yield part[low : low + _PAIRS]


def _told(limit: Ints, rule: npt.NDArray[np.uint8]) -> pl.DataFrame:
    known = rule != NONE
    return pl.DataFrame(
        {"limit": pl.Series(limit).set(pl.Series(~known), None), "rule": [RULES[number] for number in rule.tolist()]},
        schema_overrides={"rule": pl.Enum(RULES)},
    )
