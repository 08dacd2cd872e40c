"""From the plan to counts per hour, and from counts to the moment of each occurrence."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from issue_analytics.simulate.plan import (
    BURST,
    CONSTANT,
    CRON,
    DAY_MS,
    HOUR_MS,
    RAMP,
    SLOW_RAMP,
    SPIKE,
    Bools,
    Floats,
    Ints,
    Plan,
    stream,
)

__all__ = ["Moments", "happen"]

_BLOCK_CELLS: Final = 2**22
"""Cells of one block: memory stays bounded however many groups there are."""

_DAY_SHAPE: Final = (12.0, 12.0, 0.15, 200.0)
"""By pattern: the shape of the gamma distribution that makes some days busier than others."""

_MOST_OF_ONE: Final = 4000
"""Occurrences that a planted escalation adds at most: the longest and largest at once would be the whole export."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Every occurrence, by group and time; one element is one occurrence.

    Attributes:
        group: index of the group.
        at: ms since the start.
        identity: 16 random bytes each, shape (occurrences, 16).
        event: the same for the event it belongs to; a few occurrences share one.
        planted_peak: of each planted escalation, the highest count it adds to an hour.
        busiest_before: of each planted escalation, the busiest hour of the 168 before it.
    """

    group: Ints
    at: Ints
    identity: npt.NDArray[np.uint8]
    event: npt.NDArray[np.uint8]
    planted_peak: Ints
    busiest_before: Ints


def happen(plan: Plan) -> Moments:
    """Let the plan happen."""
    # each block is an array per concern; streams go on from block to block
    parts = list(_blocks(plan))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    group, at, names, peak, busiest = columns
    order = np.lexsort((at, group))
    group, at = group[order], at[order]
    identity, event = names[order, :16], names[order, 16:]
    # an event may carry several occurrences: one in a hundred shares the event of the one before
    shared = np.zeros(group.size, dtype=np.bool_)
    shared[1:] = (event[1:, 0] < 3) & (group[1:] == group[:-1]) & (at[1:] - at[:-1] < 60_000)
    event[shared] = event[np.nonzero(shared)[0] - 1]
    for part in (identity, event):
        # version 4, variant 1: what makes random bits a UUID
        part[:, 6] = part[:, 6] & 0x0F | 0x40
        part[:, 8] = part[:, 8] & 0x3F | 0x80
    return Moments(group, at, identity, event, peak, busiest)


def _blocks(plan: Plan) -> Iterator[tuple[Ints, Ints, npt.NDArray[np.uint8], Ints, Ints]]:
    settings = plan.settings
    by_day, by_hour, poisson, second, extra, first, names, extra_names = (
        stream(settings, f"series.{concern}")
        for concern in ("day", "hour", "count", "second", "extra", "extra.second", "names", "extra.names")
    )
    size = max(1, _BLOCK_CELLS // settings.hours)
    for low in range(0, settings.groups, size):
        high = min(low + size, settings.groups)
        rate = _rates(plan, low, high)
        whole_days = np.array(_DAY_SHAPE)[plan.pattern[low:high], None]
        day = by_day.standard_gamma(whole_days, (high - low, settings.days)) / whole_days
        shape = plan.shape[low:high, None]
        rate *= by_hour.standard_gamma(shape, rate.shape) / shape
        rate *= np.repeat(day, 24, axis=1)
        counts = poisson.poisson(rate)
        group, at = _background(plan, low, counts, second)
        block_names = names.integers(0, 256, (group.size, 32), dtype=np.uint8)
        more_group, more_at, peak, busiest = _escalate(plan, low, high, counts, extra, first)
        born = low + np.nonzero(plan.born_inside[low:high])[0]
        more_group, more_at = np.concatenate([more_group, born]), np.concatenate([more_at, plan.birth[born]])
        # in the order of groups, so that names do not depend on the groups that follow
        order = np.argsort(more_group, kind="stable")
        more_names = extra_names.integers(0, 256, (more_group.size, 32), dtype=np.uint8)
        yield (
            np.concatenate([group, more_group[order]]),
            np.concatenate([at, more_at[order]]),
            np.concatenate([block_names, more_names]),
            peak,
            busiest,
        )


def _rates(plan: Plan, low: int, high: int) -> Floats:
    """Expected occurrences of each hour, before chance; shape (groups of the block, hours)."""
    hours = plan.settings.hours
    hour = np.arange(hours)
    per_day, birth = plan.per_day[low:high, None], plan.birth[low:high, None] // HOUR_MS
    rate: Floats = per_day / 24 * plan.rhythm[plan.project[low:high]]
    runs = hour % 24 == plan.hour_of_day[low:high, None]
    pattern = plan.pattern[low:high, None]
    rate = np.select([pattern == CRON, pattern == CONSTANT], [per_day * runs, per_day / 24], rate)

    group, start, times, decay = plan.deploys
    inside = (group >= low) & (group < high)
    pair = np.nonzero(inside)[0]
    ahead = np.arange(48)
    column = start[pair, None] + ahead
    added = plan.per_day[group[pair], None] / 24 * times[pair, None] * np.exp(-ahead / decay[pair, None])
    np.add.at(rate, (np.broadcast_to((group[pair] - low)[:, None], column.shape), column), added)

    age = np.maximum(hour - birth, 0)
    surge = plan.surge[low:high, None]
    rate *= 1 + np.where(birth >= 0, (surge - 1) * np.exp(-age / 36), 0.0)
    # the hour of birth holds the first occurrence only
    rate[(birth >= 0) & (hour <= birth)] = 0
    rate[hour >= plan.death[low:high, None]] = 0

    planted = plan.planted
    for at in np.nonzero((planted.shape == BURST) & (planted.group >= low) & (planted.group < high))[0].tolist():
        begin = int(planted.start[at]) // HOUR_MS
        rate[planted.group[at] - low, max(0, begin - 168) : begin] = 0

    happened = plan.disturbances
    for at, kind in enumerate(happened.kind):
        if kind == "deploy":
            continue
        rows = np.nonzero(plan.project[low:high] == happened.project[at])[0]
        begin, end = int(happened.start[at]), int(happened.end[at])
        if kind == "outage":
            # clients kept most of what they could not deliver
            rate[rows, end] += 0.8 * rate[rows, begin:end].sum(axis=1)
        rate[rows, begin:end] = 0
    return rate


def _background(plan: Plan, low: int, counts: Ints, second: np.random.Generator) -> tuple[Ints, Ints]:
    """Moments of everything that was not planted: anywhere in the hour, a cron group's in its minute."""
    row, hour = np.nonzero(counts)
    times = counts[row, hour]
    row, hour = np.repeat(row, times), np.repeat(hour, times)
    u = second.random(row.size)
    group = low + row
    inside = np.where(plan.pattern[group] == CRON, plan.minute[group] * 60_000 + (u * 60_000), u * HOUR_MS).astype(
        np.int64
    )
    return group, hour * HOUR_MS + inside


def _escalate(
    plan: Plan, low: int, high: int, counts: Ints, extra: np.random.Generator, second: np.random.Generator
) -> tuple[Ints, Ints, Ints, Ints]:
    """Add the planted escalations of a block of groups to ``counts``; group and moment of each added occurrence."""
    planted = plan.planted
    chosen = slice(*np.searchsorted(planted.group, [low, high]).tolist())
    group, shape = planted.group[chosen], planted.shape[chosen]
    start, end, size = planted.start[chosen], planted.end[chosen], planted.size[chosen]
    first, last = start // HOUR_MS, (end - 1) // HOUR_MS
    cells = last - first + 1
    event = np.repeat(np.arange(group.size), cells)
    hour = np.arange(event.size) - np.repeat(np.cumsum(cells) - cells, cells) + first[event]
    begins = np.maximum(start[event], hour * HOUR_MS)
    ends = np.minimum(end[event], (hour + 1) * HOUR_MS)
    share = (ends - begins) / HOUR_MS
    opening = begins == start[event]
    slow = shape == SLOW_RAMP
    into = (ends - start[event]) / HOUR_MS - 1  # hours since the beginning, at the start of a whole hour
    outline = _outline(shape[event], into, (end - start)[event] / HOUR_MS)
    growth = (1 + size[event]) ** ((begins - start[event]) / DAY_MS) - 1
    rising = plan.per_day[group[event]] / 24 * growth

    chance = extra.random(event.size)
    added = np.zeros(event.size, dtype=np.int64)
    busiest = np.zeros(group.size, dtype=np.int64)
    turn = np.arange(group.size) - np.searchsorted(group, group)
    # a group's second escalation may have its first in the week before
    for number in range(int(turn.max(initial=-1)) + 1):
        now = turn == number
        week = first[now, None] + np.arange(-168, 0)
        busiest[now] = counts[group[now, None] - low, week].max(axis=1, initial=0)
        peak = np.where(now, np.maximum(np.ceil(size * np.maximum(busiest, 1)), 3.0), 0.0)
        wanted = np.where(slow[event], rising * now[event], peak[event] * outline) * share
        # beyond the cap an escalation is thinned as a whole, but never below one and a half times the week before
        total = np.bincount(event, wanted, minlength=group.size)
        least = np.where(slow, 0.0, 1.5 * busiest / np.maximum(peak, 1))
        wanted *= np.minimum(1.0, np.maximum(_MOST_OF_ONE / np.maximum(total, 1), least))[event]
        mine = now[event]
        added[mine] = np.floor(wanted + chance)[mine]
        added[mine & opening] = np.maximum(added[mine & opening], 1)
        np.add.at(counts, (group[event[mine]] - low, hour[mine]), added[mine])

    at = np.repeat(np.arange(event.size), added)
    moment = begins[at] + (second.random(at.size) * (ends - begins)[at]).astype(np.int64)
    # an escalation begins with its first occurrence
    is_first = np.zeros(at.size, dtype=np.bool_)
    is_first[np.searchsorted(at, np.nonzero(opening)[0])] = True
    moment[is_first] = start[event[at[is_first]]]
    highest = np.zeros(group.size, dtype=np.int64)
    np.maximum.at(highest, event, added)
    return group[event[at]], moment, highest, busiest


def _outline(shape: Ints, into: Floats, length: Floats) -> Floats:
    """Height of an escalation, 1 at its peak, ``into`` hours after it began."""
    into = np.maximum(into, 0)
    is_spike: Bools = shape == SPIKE
    # the first whole clock hour has the peak
    height = np.where(is_spike, np.exp(-np.maximum(into - 1, 0) / (length / 4)), 1.0)
    return np.where(shape == RAMP, (into + 1) / np.maximum(length, 1), height)
