"""The hours of a replay: the states of all groups of a panel, moved from hour to hour.

Groups are rows of arrays; the only loop is over time. An hour in which nobody touches a group costs it one comparison.
An hour in which something is done to a group is cut into pieces there, so that an occurrence is held against the limit
that was in force when it came.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from issue_analytics.backtest.policy import Policy
from issue_analytics.counts import HOUR, Panel
from issue_analytics.formula import NONE
from issue_analytics.frames import RULES
from issue_analytics.issues.lifecycle import STATES
from issue_analytics.kernel import Buckets, limits_on
from issue_analytics.thresholds import FormulaConstants, ThresholdVariables

__all__ = ["NAMES", "UNKNOWN", "Actions", "Clock", "Log", "code_of"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NAMES: Final = ("unknown", *(state.name for state in STATES), "unresolved", "ignored")
"""States of a replay; the last two are those of old records that do not say more."""

UNKNOWN: Final = 0

_HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * _HOUR_US
_NEVER: Final = 2**62
_FALLBACK: Final = RULES.index("fallback")
_SCHEDULE_CELLS: Final = 2**20
"""Limits made ahead at a time, over groups, moments and days: 8 MB."""


def code_of(name: str) -> int:
    """The number of a state in the arrays."""
    return NAMES.index(name)


_ARCHIVED: Final = code_of("archived_until_escalating")
_ESCALATING: Final = code_of("escalating")

WAKE: Final = -1
"""The target of what changes no state: a limit lapses, or a group comes of age."""


@dataclass(frozen=True, slots=True)
class Actions:
    """Things done to groups, in the order of ``at``; one element is one action.

    Attributes:
        group: row of the panel.
        at: when it was done, microseconds since 1970.
        effect: the first moment of an occurrence that finds it done: what an occurrence did lets it pass itself.
        target: the state it leads to, or ``WAKE``.
        only: bits of the states it is possible from; it does nothing in others.
        recorded: whether it stands in the record.
    """

    group: Ints
    at: Ints
    effect: Ints
    target: Ints
    only: Ints
    recorded: Bools

    def __getitem__(self, rows: slice | Ints | Bools) -> "Actions":
        return Actions(*(getattr(self, field.name)[rows] for field in fields(self)))


class Log:
    """Rows of whole numbers, collected arrays at a time."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.rows: list[tuple[Ints, ...]] = []

    def add(self, *columns: Ints | Bools | int) -> None:
        """Add as many rows as the first column has."""
        first = np.asarray(columns[0])
        self.rows.append(tuple(np.broadcast_to(np.asarray(c, dtype=np.int64), first.shape).copy() for c in columns))

    def columns(self) -> dict[str, Ints]:
        """What was collected, by name."""
        parts = zip(*self.rows, strict=True) if self.rows else [[np.empty(0, dtype=np.int64)] for _ in self.names]
        return dict(zip(self.names, (np.concatenate(list(part)) for part in parts), strict=True))


class Clock:
    """The hours of one panel under one policy; :meth:`run` moves through them once.

    Attributes:
        alerts: group, hour (column), count (of the hour), limit, rule, made (when the limit was), at (of the occurrence
            that did it; -1 where only the hour is known), ends (when the group escalated: then, or at the hour's end).
        states: group, at, state, recorded (0 where the replay itself did it).
        limits: group, day (since 1970), limit, rule, made.
    """

    def __init__(
        self,
        panel: Panel,
        actions: Actions,
        *,
        moments: Ints | None,
        watched: Bools,
        born: Ints,
        opens: int,
        thresholds: ThresholdVariables,
        policy: Policy,
        buckets: Buckets,
        constants: FormulaConstants,
    ) -> None:
        """Take what is known of the groups of a panel.

        Args:
            panel: the counts.
            actions: what is done to the groups, also before the panel begins.
            moments: times of occurrences by group and time, as ``row * span + microseconds since start``; or None.
            watched: who can escalate at all.
            born: when each group was first seen, microseconds since 1970; long ago where that is unknown.
            opens: the first column that is judged.
            thresholds: the five thresholds.
            policy: a policy with a lifecycle.
            buckets: as in ``forecast``.
            constants: of the formula.
        """
        groups, self.hours = panel.counts.shape
        self.panel, self.counts, self.moments = panel, panel.counts, moments
        self.watched, self.born, self.opens = watched, born, opens
        self.thresholds, self.policy, self.buckets, self.constants = thresholds, policy, buckets, constants
        self.start = (panel.start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        self.span = self.hours * _HOUR_US
        self.holds = policy.hold_days * _DAY_US
        self.ripe = born + policy.min_age_hours * _HOUR_US

        self.state = np.full(groups, UNKNOWN, dtype=np.int64)
        self.limit = np.full(groups, _NEVER, dtype=np.int64)
        """What a count has to exceed now."""
        self.lacking = np.zeros(groups, dtype=np.bool_)
        """Who is checked without a stored limit."""
        self.forecast = np.zeros((groups, 7), dtype=np.int64)  # the second week repeats the first
        self.rule = np.full((groups, 7), NONE, dtype=np.int64)
        self.made = np.full(groups, -_NEVER, dtype=np.int64)
        self.on_its_own = np.zeros(groups, dtype=np.bool_)
        """Whose record has ended, because the replay went another way."""
        self.asked: list[Ints] = []
        """Who was looked at in this hour without a stored limit."""

        self.alerts = Log("group", "hour", "count", "limit", "rule", "made", "at", "ends")
        self.states = Log("group", "at", "state", "recorded")
        self.limits = Log("group", "day", "limit", "rule", "made")

        self.actions = actions
        ends = self.start + _HOUR_US * np.arange(self.hours + 1)
        self.edges = np.searchsorted(actions.at, ends)
        self.later: dict[int, list[Actions]] = defaultdict(list)
        self.ever = np.unique(actions.group[actions.target == _ARCHIVED])
        self.hot = np.zeros(groups, dtype=np.bool_)
        """Who fired in this hour by its count alone."""

    def run(self, refreshes: Sequence[datetime]) -> None:
        """Move through all hours."""
        columns = [(at - self.panel.start) // HOUR for at in refreshes]
        schedule = _Schedule(self, refreshes)
        due = dict(zip(columns, range(len(columns)), strict=True))
        lapses = {column + self.holds // _HOUR_US for column in columns}
        self._before()
        # nothing is known of any group before the first thing that is done to one
        touched_at = int(self.actions.at[0]) if self.actions.at.size else self.start + self.span
        for hour in range(max(0, (touched_at - self.start) // _HOUR_US), self.hours):
            now = self.start + hour * _HOUR_US
            self.hot[:] = False
            if hour in due:
                self._refresh(hour, now, schedule, due[hour])
            if self.asked:
                self._make_up(hour, now)
            if hour in due or hour in lapses or hour == self.opens or now % _DAY_US == 0:
                self._set_limits(np.nonzero(self.state == _ARCHIVED)[0], now)
            first, last = self.edges[hour], self.edges[hour + 1]
            actions = [self.actions[first:last]] if last > first else []
            # a limit made anew since does not lapse yet
            actions += [
                one[(one.target != WAKE) | (one.at - self.made[one.group] == self.holds)]
                for one in self.later.pop(hour, [])
            ]
            touched = self._pieces(_together(actions), hour, now) if actions else None
            self._rest(touched, hour, now)

    # what happens at the start of an hour

    def _before(self) -> None:
        """Everything that was done before the first hour."""
        early = self.actions[: self.edges[0]]
        for turn in _turns(early):
            self._act(early[turn])

    def _refresh(self, hour: int, now: int, schedule: "_Schedule", number: int) -> None:
        """Make limits anew for archived groups that were seen lately."""
        if hour < self.constants.window_hours:
            return
        who = self.ever[(self.state[self.ever] == _ARCHIVED) & self.watched[self.ever]]
        if self.policy.seen_days * 24 < self.constants.window_hours:
            recent = self.counts[who, hour - self.policy.seen_days * 24 : hour]
            who = who[recent.any(axis=1)]
        self._store(who, *schedule.limits(who, number), now)

    def _make_up(self, hour: int, now: int) -> None:
        """Make limits for those that were looked at without one."""
        who = np.unique(np.concatenate(self.asked))
        self.asked.clear()
        who = who[(self.state[who] == _ARCHIVED) & (now - self.made[who] >= self.holds)]
        self._make(who, hour, np.full(who.size, now))
        self._set_limits(who, now)

    def _make(self, who: Ints, hour: int, at: Ints) -> None:
        """Make limits from the whole hours before ``hour``; a group that was silent in them keeps what it has."""
        hours = self.constants.window_hours
        if who.size == 0 or hour < hours:
            return
        start = self.panel.start + (hour - hours) * HOUR
        window = np.asfortranarray(self.counts[who, hour - hours : hour])
        panel = Panel(self.panel.groups[:0], start, window, np.zeros(who.size, dtype=np.int64))
        limit, rule = self._limits(panel, who, [start + hours * HOUR])
        self._store(who, limit[:, 0], rule[:, 0], at)
        self._plan(who, at + self.holds, WAKE)

    def _plan(self, who: Ints, at: Ints, target: int) -> None:
        """Have something done later, in an hour after this one."""
        column = (at - self.start) // _HOUR_US
        for hour in np.unique(column).tolist():
            mine = column == hour
            same = np.full(int(mine.sum()), target, dtype=np.int64)
            self.later[hour].append(
                Actions(who[mine], at[mine], at[mine], same, np.full_like(same, -1), np.zeros(same.size, np.bool_))
            )

    def _limits(self, panel: Panel, who: Ints, moments: list[datetime]) -> tuple[Ints, npt.NDArray[np.uint8]]:
        new = None
        if self.buckets == "dense":
            made = np.array([(at - self.panel.start) // HOUR for at in moments]) * _HOUR_US + self.start
            age = made[None, :] - self.born[who][:, None]
            new = (age >= 0) & (age < self.constants.window_hours * _HOUR_US)
        return limits_on(
            panel, moments, thresholds=self.thresholds, buckets=self.buckets, days=7, new=new, constants=self.constants
        )

    def _store(self, who: Ints, limit: Ints, rule: npt.NDArray[np.uint8], at: Ints | int) -> None:
        known = rule[:, 0] != NONE
        who = who[known]
        self.forecast[who], self.rule[who] = limit[known], rule[known]
        self.made[who] = at if isinstance(at, int) else at[known]

    def _set_limits(self, who: Ints, at: Ints | int) -> None:
        """Find what each group's counts have to exceed from ``at`` on."""
        at = np.broadcast_to(np.asarray(at), who.shape)
        # a record of birth that lies ahead is not known yet
        checked = (self.state[who] == _ARCHIVED) & self.watched[who]
        checked &= (at < self.born[who]) | (at >= self.ripe[who])
        checked &= at >= self.start + self.opens * _HOUR_US
        stored = at - self.made[who] < self.holds
        made = np.where(stored, self.made[who], at)
        # the first day and its 13 followers; an hour of the 15th day may still come before the end of the 14 days
        ahead = np.minimum(at // _DAY_US - made // _DAY_US, 13) % 7
        fallback = self.policy.fallback
        value = np.where(stored, self.forecast[who, ahead], fallback or 0)
        rule = np.where(stored, self.rule[who, ahead], _FALLBACK if fallback else NONE)
        self.limit[who] = np.where(checked & (value > 0), value, _NEVER)
        self.lacking[who] = checked & ~stored
        told = np.nonzero(checked & (rule != NONE))[0]
        self.limits.add(who[told], at[told] // _DAY_US, value[told], rule[told], made[told])

    # what happens within an hour

    def _rest(self, touched: Ints | None, hour: int, now: int) -> None:
        """An hour in which nothing is done to a group: one look at all of them."""
        over = self.counts[:, hour] > self.limit
        if touched is not None:
            over[touched] = False
        if self.policy.regenerate and self.lacking.any():
            asks = self.lacking & (self.counts[:, hour] > 0)
            if touched is not None:
                asks[touched] = False
            self._ask(np.nonzero(asks)[0], hour, now, now + _HOUR_US)
        self._watch(np.nonzero(over)[0], hour, now, now + _HOUR_US, now + _HOUR_US)

    def _pieces(self, actions: Actions, hour: int, now: int) -> Ints:
        """An hour in which something is done, cut into pieces for the groups it is done to: those are returned."""
        touched = np.unique(actions.group)
        since = np.full(touched.size, now, dtype=np.int64)
        for turn in _turns(actions):
            mine = actions[turn]
            place = np.searchsorted(touched, mine.group)
            # a count without times fires just before what is done, and not after it
            self._piece(mine.group, hour, since[place], mine.effect, mine.at)
            since[place] = mine.effect
            # a replay that went its own way is not told what others did in the record
            self._act(mine[~(self.on_its_own[mine.group] & mine.recorded)])
            self._set_limits(mine.group, mine.effect)
        end = np.full(touched.size, now + _HOUR_US)
        self._piece(touched, hour, since, end, end)
        return touched

    def _piece(self, who: Ints, hour: int, begin: Ints, end: Ints, fires: Ints) -> None:
        """A piece of an hour in which a group's limit stays the same."""
        if self.policy.regenerate:
            lacking = self.lacking[who]
            self._ask(who[lacking], hour, begin[lacking], end[lacking])
        self._watch(who, hour, begin, end, fires)

    def _ask(self, who: Ints, hour: int, begin: Ints | int, end: Ints | int) -> None:
        """Note who has an occurrence in a piece of the hour, and no stored limit."""
        if who.size:
            first, last, exact = self._between(who, hour, begin, end)[1:]
            there = np.where(exact, last > first, (self.counts[who, hour] > 0) & (begin < end))
            if there.any():
                self.asked.append(who[there])

    def _between(self, who: Ints, hour: int, begin: Ints | int, end: Ints | int) -> tuple[Ints, Ints, Ints, Bools]:
        """Index of the first occurrence of the hour, of the piece, and after the piece; and whether all are known."""
        if self.moments is None or who.size == 0:
            nothing = np.zeros(who.size, dtype=np.int64)
            return nothing, nothing, nothing, np.zeros(who.size, dtype=np.bool_)
        base = who * self.span - self.start
        now = self.start + hour * _HOUR_US
        opens, closes, first, last = (
            np.searchsorted(self.moments, base + edge) for edge in (now, now + _HOUR_US, begin, end)
        )
        return opens, first, last, closes - opens == self.counts[who, hour]

    def _watch(self, who: Ints, hour: int, begin: Ints | int, end: Ints | int, fires: Ints | int) -> None:
        """Hold a piece of an hour against the limit in force in it; a count without times fires at ``fires``."""
        if who.size == 0:
            return
        limit, count = self.limit[who], self.counts[who, hour]
        opens, first, last, exact = self._between(who, hour, begin, end)
        # the first occurrence of the piece that finds more than the limit, itself counted
        by = np.maximum(opens + limit, first)
        over = np.where(exact, by < last, (count > limit) & ~self.hot[who] & (begin < end))
        if not over.any():
            return
        who, limit, count, by, exact = (x[over] for x in (who, limit, count, by, exact))
        ends = np.broadcast_to(np.asarray(fires), over.shape)[over]
        at = np.full(who.size, -1, dtype=np.int64)
        if self.moments is not None:
            at[exact] = self.moments[by[exact]] - who[exact] * self.span + self.start
        ends = np.where(exact, at, ends)
        day = (self.start + hour * _HOUR_US) // _DAY_US
        ahead = np.minimum(day - self.made[who] // _DAY_US, 13) % 7
        rule = np.where(self.lacking[who], _FALLBACK, self.rule[who, ahead])
        made = np.where(self.lacking[who], self.start + hour * _HOUR_US, self.made[who])
        self.alerts.add(who, hour, count, limit, rule, made, at, ends)
        self.states.add(who, ends, _ESCALATING, 0)
        self.state[who], self.limit[who], self.lacking[who] = _ESCALATING, _NEVER, False
        self.hot[who[~exact]] = True
        if self.policy.rearchive != "record":
            self.on_its_own[who] = True
        after = self.policy.rearchive_after
        if after is not None:
            # not before the end of the hour: each occurrence of a loud hour would be an alert
            again = np.maximum(ends + after // timedelta(microseconds=1), self.start + (hour + 1) * _HOUR_US)
            self._plan(who, again, _ARCHIVED)

    def _act(self, actions: Actions) -> None:
        """Change states, where that is possible from the state each is in."""
        can = (actions.target != WAKE) & ((actions.only >> self.state[actions.group]) & 1 == 1)
        done = actions[can]
        if done.group.size == 0:
            return
        self.states.add(done.group, done.at, done.target, done.recorded)
        self.state[done.group], self.limit[done.group], self.lacking[done.group] = done.target, _NEVER, False
        if not self.policy.refresh_on_archive:
            return
        archived = done[(done.target == _ARCHIVED) & self.watched[done.group]]
        column = (archived.at - self.start) // _HOUR_US
        for hour in np.unique(column).tolist():
            self._make(archived.group[column == hour], hour, archived.at[column == hour])


class _Schedule:
    """Limits made at each refresh, for all groups that are ever archived, some refreshes ahead at a time."""

    def __init__(self, clock: Clock, refreshes: Sequence[datetime]) -> None:
        hours = clock.constants.window_hours
        self.clock = clock
        self.place = np.full(clock.state.size, -1, dtype=np.int64)
        self.place[clock.ever] = np.arange(clock.ever.size)
        self.refreshes = list(refreshes)
        self.at_once = max(1, _SCHEDULE_CELLS // max(1, 7 * clock.ever.size))
        self.first, self.made = -1, (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint8))
        self.earliest = clock.panel.start + hours * HOUR

    def limits(self, who: Ints, number: int) -> tuple[Ints, npt.NDArray[np.uint8]]:
        """Limits of seven days and their rules at one refresh, both of shape (groups, days)."""
        if not self.first <= number < self.first + self.at_once or self.first < 0:
            clock = self.clock
            moments = [at for at in self.refreshes[number : number + self.at_once] if at >= self.earliest]
            low = (moments[0] - clock.panel.start) // HOUR - clock.constants.window_hours
            high = (moments[-1] - clock.panel.start) // HOUR
            every = clock.ever.size == clock.state.size  # then a view will do
            counts = clock.counts[:, low:high] if every else np.asfortranarray(clock.counts[clock.ever, low:high])
            panel = Panel(
                clock.panel.groups[:0], clock.panel.start + low * HOUR, counts, np.zeros(counts.shape[0], np.int64)
            )
            self.first, self.made = number, clock._limits(panel, clock.ever, moments)
        limit, rule = self.made
        return limit[self.place[who], number - self.first], rule[self.place[who], number - self.first]


def _together(actions: list[Actions]) -> Actions:
    return Actions(*(np.concatenate([getattr(one, field.name) for one in actions]) for field in fields(Actions)))


def _turns(actions: Actions) -> list[Ints]:
    """Indices of each group's first action, of each one's second, and so on."""
    index = np.arange(actions.group.size)
    if index.size == 0:
        return []
    order = np.lexsort((index, actions.effect, actions.group))
    group = actions.group[order]
    opens = np.r_[True, group[1:] != group[:-1]]
    nth = index - np.maximum.accumulate(np.where(opens, index, 0))
    return [order[nth == turn] for turn in range(int(nth.max()) + 1)]
