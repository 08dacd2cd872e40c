"""Alerts, verdicts and delays under many settings at once: the rules of the backtest on bits.

Settings are evaluated 4,096 at a time. For each such block a row of bits per hour tells under which settings it fires;
what an alert is, and which escalation it caught, follows by operations on whole rows, so that the number of settings
costs next to nothing. The rules are those of :mod:`~issue_analytics.backtest.matching`, to which tests hold them.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from os import cpu_count
from typing import Final

import numpy as np
from numpy.typing import NDArray

from issue_analytics.critical import Critical
from issue_analytics.tuning.bits import Words, below, column_sums, to_bits, width
from issue_analytics.tuning.hours import Bools, Floats, Hours, Ints, fires

__all__ = ["Events", "Outcome", "evaluate", "tallied"]

SETTINGS: Final = 4096
"""Settings of a block."""

_CELLS: Final = 2**17
"""Words of a row-by-setting array that is worked on at a time: 1 MB stays in the cache."""

_STRETCH: Final = 256
"""Rows in which a certain set bit is looked for at a time."""

_HALF: Final = 0.5 + 1e-12
"""Half, with room for the rounding of a product; as in the survival curve of scores."""


@dataclass(frozen=True, slots=True)
class Events:
    """Judged escalations, sorted by group and start.

    Attributes:
        group: number of the group of each.
        cut_off: hours until watching ended, for those that went on then; ``inf`` for all others.
    """

    group: Ints
    cut_off: Floats


@dataclass(frozen=True, slots=True)
class Outcome:
    """Totals, one entry per setting.

    Attributes:
        alerts: all of them.
        duplicates: alerts about escalations caught already.
        unjudged: alerts that met only escalations that are not judged.
        false_alarms: alerts that met no escalation.
        events_caught: judged escalations with an alert.
        median_delay: hours; NaN where half was not reached.
    """

    alerts: Ints
    duplicates: Ints
    unjudged: Ints
    false_alarms: Ints
    events_caught: Ints
    median_delay: Floats


@dataclass(frozen=True, slots=True)
class _Rules:
    merge_hours: int
    one_to_one: bool


@dataclass(frozen=True, slots=True)
class _Fired:
    """What some hours come to under a block of settings; rows of bits."""

    begins: Words  # per hour: an alert begins in it
    takes: Words  # per pair: the escalation is caught by the alert that begins in the hour
    right: Words  # per hour: that alert caught one


def evaluate(
    hours: Hours,
    events: Events,
    settings: Floats,
    *,
    merge_hours: int,
    one_to_one: bool,
    advance: Callable[[int], object] = lambda _: None,
) -> Outcome:
    """Totals under each setting.

    Args:
        hours: that could fire, at least those over the loosest of the settings.
        events: the judged escalations.
        settings: shape (settings, 5), variables in their usual order.
        merge_hours: whole hours over the limit at most so far apart are one alert.
        one_to_one: whether an alert catches one escalation only.
        advance: is told of every number of settings done.
    """
    rules = _Rules(merge_hours, one_to_one)
    first, place = _cells(hours, settings)
    # settings that are alike in what prunes most stand together, so that a block needs few hours
    order = np.lexsort(settings[first].T[[4, 0, 2, 1, 3]])
    some, stands_for = settings[first[order]], np.bincount(place)[order]
    blocks = [slice(low, low + SETTINGS) for low in range(0, order.size, SETTINGS)]
    parts: list[Outcome] = []
    with ThreadPoolExecutor(cpu_count() if len(blocks) > 1 else 1) as workers:
        made = workers.map(lambda block: _totals(hours, events, some[block], rules), blocks)
        for block, part in zip(blocks, made, strict=True):
            parts.append(part)
            advance(int(stands_for[block].sum()))
    back = np.argsort(order)[place]
    return Outcome(*(np.concatenate([getattr(part, field.name) for part in parts])[back] for field in fields(Outcome)))


def _cells(hours: Hours, settings: Floats) -> tuple[Ints, Ints]:
    """Settings with no critical value between them fire alike: the first of each such cell, and the cell of each.

    In a grid most variables act in few hours, and most settings come to the same as another one.
    """
    if len(settings) <= SETTINGS // 64:
        return np.arange(len(settings)), np.arange(len(settings))
    loosest, tightest = settings.min(axis=0), settings.max(axis=0)
    told = hours.critical
    varies = fires(told, loosest) & ~fires(told, tightest)
    cuts: list[list[Floats]] = [[] for _ in range(5)]
    for critical, which in ((told, varies), (hours.floor, hours.floored)):
        held = which & (critical.spike < tightest[2])  # the spike half may hold these back
        cuts[0].append(critical.std[held & (critical.spike >= loosest[1])])
        cuts[1].append(critical.spike[held])
        cuts[2].append(critical.spike[held])
        cuts[3].append(critical.bursty[which & critical.decay_fires])
        cuts[4].append(critical.bursty[which & ~critical.decay_fires])
    cell, size = np.zeros(len(settings), dtype=np.int64), 1
    for values, parts in zip(settings.T, cuts, strict=True):
        rank = np.searchsorted(np.unique(np.concatenate(parts)), values)
        found, rank = np.unique(rank, return_inverse=True)
        if size * found.size >= 2**62:  # numbers that small again
            known, cell = np.unique(cell, return_inverse=True)
            size = known.size
        cell, size = cell * found.size + rank, size * found.size
    _, first, place = np.unique(cell, return_index=True, return_inverse=True)
    return first, place


def tallied(
    hours: Hours,
    events: Events,
    settings: Floats,
    cluster: Ints,
    clusters: int,
    *,
    merge_hours: int,
    one_to_one: bool,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Alerts, false alarms and escalations caught, each settings x clusters.

    Args:
        hours: as in :func:`evaluate`.
        events: as in :func:`evaluate`.
        settings: as in :func:`evaluate`.
        cluster: number of the cluster of each group.
        clusters: how many there are.
        merge_hours: as in :func:`evaluate`.
        one_to_one: as in :func:`evaluate`.
    """
    rules = _Rules(merge_hours, one_to_one)
    cells, cell = _cells(hours, settings)
    alerts, false, caught = (np.zeros((len(cells), clusters), dtype=np.int32) for _ in range(3))
    for low in range(0, len(cells), SETTINGS):
        block = settings[cells[low : low + SETTINGS]]
        # what lies in different cells may still fire in the same hours
        first, place = _alike(hours, block)
        some = block[first]
        found = [np.zeros((len(some), clusters), dtype=np.int32) for _ in range(3)]
        for part, fired in _pieces(hours, some, rules):
            owners = cluster[part.group], cluster[part.group], cluster[events.group[part.pair_event]]
            rows = fired.begins, np.where((part.about == 0)[:, None], fired.begins, np.uint64(0)), fired.takes
            for total, owner, bits in zip(found, owners, rows, strict=True):
                for which, sums in _sums_by(owner, bits):
                    total[:, which] += sums[:, : len(some)].T
        for whole, part_ in zip((alerts, false, caught), found, strict=True):
            whole[low : low + SETTINGS] = part_[place]
    return alerts[cell], false[cell], caught[cell]


def _alike(hours: Hours, settings: Floats) -> tuple[Ints, Ints]:
    """Settings that fire in other hours than all before them, and for each setting which of these fires as it does.

    Told by 128 sums, modulo 2, over random halves of the hours: two settings that differ in an hour agree in all of
    them once in 2^128 times.
    """
    sums = np.zeros((128, width(len(settings))), dtype=np.uint64)
    rng = np.random.default_rng(0)
    tables = [below(values) for values in settings.T]
    possible = hours.where(hours.possible(settings.min(axis=0)))
    rows = max(1, _CELLS // width(len(settings)))
    for low in range(0, possible.group.size, rows):
        fires = _fires(possible.between(low, min(low + rows, possible.group.size)), tables)
        for number, half in enumerate(rng.random((128, len(fires))) < 0.5):
            sums[number] ^= np.bitwise_xor.reduce(fires[half], axis=0)
    marks = np.packbits(to_bits(sums)[:, : len(settings)], axis=0).T
    _, first, place = np.unique(np.ascontiguousarray(marks).view("V16").ravel(), return_index=True, return_inverse=True)
    return first, place


def _sums_by(owner: Ints, rows: Words) -> Iterator[tuple[Ints, NDArray[np.int32]]]:
    """For runs of rows of the same owner, how many bits are set: owners, and an array owners x settings."""
    order = np.argsort(owner, kind="stable")
    owner, rows = owner[order], rows[order]
    for low in range(0, owner.size, 1024):
        some = owner[low : low + 1024]
        starts = np.flatnonzero(np.diff(some, prepend=-1))
        yield some[starts], np.add.reduceat(to_bits(rows[low : low + 1024]), starts, axis=0, dtype=np.int32)


def _totals(hours: Hours, events: Events, settings: Floats, rules: _Rules) -> Outcome:
    size = width(len(settings)) * 64
    judged, unjudged, false, caught, right = (np.zeros(size, dtype=np.int64) for _ in range(5))
    takes: list[tuple[Floats, Ints, Words]] = []
    for part, fired in _pieces(hours, settings, rules):
        free = part.about == 0
        false += column_sums(fired.begins[free])
        judged += column_sums(fired.begins[part.judged])
        unjudged += column_sums(fired.begins[~free & ~part.judged])
        some = fired.takes.any(axis=1)
        taken = fired.takes[some]
        caught += column_sums(taken)
        # one to one, as many alerts are right as escalations are caught
        if not rules.one_to_one:
            right += column_sums(fired.right[part.judged])
        takes.append((part.pair_delay[some], part.pair_event[some], taken))
    n = len(settings)
    return Outcome(
        alerts=(judged + unjudged + false)[:n],
        duplicates=(judged - (caught if rules.one_to_one else right))[:n],
        unjudged=unjudged[:n],
        false_alarms=false[:n],
        events_caught=caught[:n],
        median_delay=_median_delay(events, takes, caught)[:n],
    )


def _pieces(hours: Hours, settings: Floats, rules: _Rules) -> Iterator[tuple[Hours, _Fired]]:
    """Evaluate some whole groups at a time, in their order."""
    possible = hours.where(hours.possible(settings.min(axis=0)))
    tables = [below(values) for values in settings.T]
    edges = np.flatnonzero(np.diff(possible.group, prepend=-1, append=-1))
    low, rows = 0, max(1, _CELLS // width(len(settings)))
    while low < possible.group.size:
        # the last group that still ends within so many rows, but one group at least
        last = int(np.searchsorted(edges, low + rows, side="right")) - 1
        high = int(edges[max(last, int(np.searchsorted(edges, low, side="right")))])
        part = possible.between(low, high)
        yield part, _fired(part, tables, rules)
        low = high


def _fires(part: Hours, tables: list[tuple[Floats, Words]]) -> Words:
    """Under which settings hours fire."""
    fires = _over(part.critical, tables)
    if part.floored.any():
        some = np.flatnonzero(part.floored)
        floor = part.floor
        below_one = Critical(floor.bursty[some], floor.spike[some], floor.std[some], floor.decay_fires[some])
        fires[some] &= ~_over(below_one, tables)
    return fires


def _fired(part: Hours, tables: list[tuple[Floats, Words]], rules: _Rules) -> _Fired:
    fires = _fires(part, tables)
    begins = _begins(part, fires, rules.merge_hours)
    takes, right = _takes(part, begins, one_to_one=rules.one_to_one)
    return _Fired(begins, takes, right)


def _over(critical: Critical, tables: list[tuple[Floats, Words]]) -> Words:
    """Under which settings hours exceed both halves of the limit."""

    def at_most(variable: int, bound: Floats) -> Words:
        distinct, table = tables[variable]
        return table[np.searchsorted(distinct, bound, side="right")]

    decided = critical.decay_fires
    if decided.all():
        over = at_most(3, critical.bursty)
    else:
        over = np.empty((decided.size, tables[3][1].shape[1]), dtype=np.uint64)
        over[decided] = at_most(3, critical.bursty[decided])
        over[~decided] = at_most(4, critical.bursty[~decided])
    # where the largest of all is below the critical value, the spike half never holds an hour back
    open_ = np.flatnonzero(critical.spike < tables[2][0][-1])
    if open_.size:
        spike = at_most(1, critical.spike[open_])
        spike &= at_most(0, critical.std[open_])
        spike |= at_most(2, critical.spike[open_])
        over[open_] &= spike
    return over


def _begins(part: Hours, fires: Words, merge_hours: int) -> Words:
    """In which hours an alert begins: those whose last hour over the limit before does not belong to the same."""
    begins = fires.copy()
    # hours whose last hour over the limit is still looked for, and under which settings
    which, undecided = np.arange(part.group.size), fires
    back = 1
    while which.size:
        which, undecided = which[np.searchsorted(which, back) :], undecided[np.searchsorted(which, back) :]
        before = which - back
        near = (part.group[which] == part.group[before]) & (part.hour[which] - part.hour[before] <= merge_hours)
        which, before, undecided = which[near], before[near], undecided[near]
        met = undecided & fires[before]
        same = (part.span[which] == part.span[before]) & (part.about[which] == part.about[before])
        if same.all():
            begins[which] &= ~met
        else:
            begins[which[same]] &= ~met[same]
        undecided ^= met
        open_ = undecided.any(axis=1)
        which, undecided = which[open_], undecided[open_]
        back += 1
    return begins


def _takes(part: Hours, begins: Words, *, one_to_one: bool) -> tuple[Words, Words]:
    """Which alerts catch which escalations.

    In the order of time each escalation takes the first alert about it that none before it took. Only escalations that
    share an hour can be in each other's way; pairs are worked off in the order of (escalation, hour) within such a
    knot, the first ones of all knots together, then the second ones, and so on.
    """
    takes = np.zeros((part.pair_hour.size, begins.shape[1]), dtype=np.uint64)
    right = np.zeros_like(begins)
    some: Bools = np.asarray(begins.any(axis=1))
    alive = np.flatnonzero(some[part.pair_hour])
    if not alive.size:
        return takes, right
    event, hour = part.pair_event[alive], part.pair_hour[alive]
    knot = _knots(event, hour) if one_to_one else event
    order = np.lexsort((hour, event, knot))
    first = np.flatnonzero(np.diff(knot[order], prepend=-1))
    turn = np.empty(order.size, dtype=np.int64)
    turn[order] = np.arange(order.size) - np.repeat(first, np.diff(np.append(first, order.size)))
    by_turn = np.argsort(turn, kind="stable")
    ends = np.cumsum(np.bincount(turn))
    _, place = np.unique(event, return_inverse=True)
    caught = np.zeros((int(place.max()) + 1, begins.shape[1]), dtype=np.uint64)
    for low, high in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        pairs = by_turn[low:high]
        take = begins[hour[pairs]] & ~caught[place[pairs]]
        if one_to_one:
            take &= ~right[hour[pairs]]
            right[hour[pairs]] |= take
        else:  # several escalations may take one alert in the same turn
            np.bitwise_or.at(right, hour[pairs], take)
        caught[place[pairs]] |= take
        takes[alive[pairs]] = take
    return takes, right


def _knots(event: Ints, hour: Ints) -> Ints:
    """Number escalations so that those that share an hour, by way of others too, have the same number."""
    shared = np.flatnonzero(np.diff(hour) == 0)
    if not shared.size:
        return event
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    events, place = np.unique(event, return_inverse=True)
    link = coo_array((np.ones(shared.size), (place[shared], place[shared + 1])), shape=(events.size, events.size))
    _, knot = connected_components(link, directed=False)
    numbered: Ints = knot[place].astype(np.int64)
    return numbered


def _median_delay(events: Events, takes: list[tuple[Floats, Ints, Words]], caught: Ints) -> Floats:
    """Kaplan and Meier's median of the delays under each setting; NaN where half of the escalations was not reached.

    Between two times at which somebody is censored the curve falls by the same step with each escalation caught,
    ``1 / (number at risk at the beginning)`` of what it was there; so in such a stretch the median lies at a certain
    one of them.
    """
    median = np.full(caught.size, np.nan)
    number = events.group.size
    censored = np.sort(events.cut_off[np.isfinite(events.cut_off)])
    # even if all that were not watched to their end are left out, fewer than half were caught
    open_ = (caught > 0) & (caught >= (number - censored.size) / 2)
    if not open_.any():
        return median
    delay, event, rows = (np.concatenate(parts) for parts in zip(*takes, strict=True))
    order = np.argsort(delay, kind="stable")
    delay, rows = delay[order], rows[order]
    cut_off = events.cut_off[event[order]]
    survival, before, left = np.ones(caught.size), np.zeros(caught.size), np.zeros(caught.size)
    done = 0
    # who is censored at a time is at risk at it, and no longer after it
    for end in [*np.unique(censored).tolist(), np.inf]:
        until = int(np.searchsorted(delay, end, side="right"))
        risk = number - before - left
        # the first number of catches that brings the curve down to a half
        wanted = np.ceil(np.maximum(risk, 1) * (1 - _HALF / np.maximum(survival, _HALF)))
        stretch = rows[done:until]
        place, sums = _places(stretch, np.where(open_, np.maximum(wanted, 1), np.inf))
        found = place >= 0
        median[found] = delay[done:until][place[found]]
        open_ &= ~found
        if not open_.any():
            break
        survival *= 1 - sums / np.maximum(risk, 1)
        before += sums
        done = until
        if end < np.inf:
            # of those censored here, who was caught (whenever that was) left then and not now
            left += np.count_nonzero(censored == end) - column_sums(rows[cut_off == end])
    return median


def _places(rows: Words, wanted: Floats) -> tuple[Ints, Ints]:
    """For each setting the row that brings its bits to the number wanted (-1: none does), and how many there are."""
    place, sums = np.full(wanted.size, -1, dtype=np.int64), np.zeros(wanted.size, dtype=np.int64)
    for low in range(0, len(rows), _STRETCH):
        part = rows[low : low + _STRETCH]
        after = sums + column_sums(part)
        here = np.flatnonzero((sums < wanted) & (after >= wanted))
        if here.size:
            running = np.cumsum(to_bits(part)[:, here], axis=0, dtype=np.int64) + sums[here]
            place[here] = low + np.argmax(running >= wanted[here], axis=0)
        sums = after
    return place, sums
