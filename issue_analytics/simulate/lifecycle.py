"""What the tracker would have recorded: people archive and resolve, the algorithm brings archived issues back.

The rules are those of the upstream lifecycle, without its lateness: counts are never cached, tasks run on time, a
forecast made on archive sees the 168 whole hours before the hour of the archive.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from issue_analytics.counts import Panel
from issue_analytics.formula import NONE
from issue_analytics.kernel import limits_on
from issue_analytics.simulate.plan import DAY_MS, HOUR_MS, NEVER, WARM_UP_DAYS, Bools, Floats, Ints, Plan, draws
from issue_analytics.simulate.series import Moments
from issue_analytics.simulate.texts import TYPES

__all__ = ["ACTIVITIES", "Record", "live"]

ACTIVITIES: Final = (
    # kind of the change, the tracker's activity type, what made it escalate
    ("first_seen", "first_seen", None),
    ("ongoing", "auto_set_ongoing", None),
    ("archived_until_escalating", "set_ignored", None),
    ("archived_until_condition_met", "set_ignored", None),
    ("archived_forever", "set_ignored", None),
    ("escalating", "set_escalating", "forecast"),
    ("escalating", "set_escalating", "condition"),
    ("escalating", "set_escalating", "velocity"),
    ("resolved", "set_resolved", None),
    ("regressed", "set_regression", None),
    ("set_priority", "set_priority", None),
    ("assigned", "assigned", None),
)
"""Everything that happens to a simulated issue."""

(
    FIRST_SEEN,
    ONGOING,
    UNTIL_ESCALATING,
    UNTIL_CONDITION,
    FOREVER,
    BY_FORECAST,
    BY_CONDITION,
    BY_VELOCITY,
    RESOLVED,
    REGRESSED,
    SET_PRIORITY,
    ASSIGNED,
) = range(len(ACTIVITIES))

NEW: Final = -1
"""State of a group that nothing happened to yet; other states are the activity that led there."""

_UNBORN: Final = -2
_UNSETTLED: Final = (NEW, BY_FORECAST, BY_CONDITION, BY_VELOCITY, REGRESSED)
_HOLDS_MS: Final = 14 * DAY_MS  # a forecast's life
_FALLBACK: Final = 10  # the limit where no forecast is stored
_MOST: Final = 100  # what the tracker shows of one issue's activities


@dataclass(frozen=True, slots=True)
class Record:
    """Everything recorded; one element is one activity.

    Attributes:
        group: index of the group.
        at: ms since the start, also before it.
        activity: index into :data:`ACTIVITIES`.
        value: the forecast, the number of events waited for, or the new priority; -1 where there is none.
        occurrence: index of the occurrence whose event did it, else -1.
        state: of each group at the end: :data:`NEW` or an index into :data:`ACTIVITIES`.
        priority: of each group at the end: 25, 50 or 75.
    """

    group: Ints
    at: Ints
    activity: Ints
    value: Ints
    occurrence: Ints
    state: Ints
    priority: Ints


class _Log:
    """Collects activities, arrays at a time."""

    def __init__(self) -> None:
        self.rows: list[tuple[Ints, Ints, Ints, Ints, Ints]] = []

    def add(self, group: Ints, at: Ints, activity: int, value: Ints | int = -1, occurrence: Ints | int = -1) -> None:
        value, occurrence, what = (
            np.broadcast_to(np.asarray(x, dtype=np.int64), group.shape) for x in (value, occurrence, activity)
        )
        self.rows.append((group.astype(np.int64), at.astype(np.int64), what, value, occurrence))


@dataclass(frozen=True, slots=True)
class _Tracker:
    """What the tracker knows while the days go by; the arrays change in place.

    Attributes of groups:
        state, changed: where each issue is, and since when (ms).
        priority, initial: its priority now and at first.
        due, due_by: when a condition is met or a resolved issue comes back, and the occurrence that does it.
        waits: number of events a condition waits for.
        forecast, made: limits of 14 days, and when they were made (ms).
    """

    plan: Plan
    moments: Moments
    counts: Ints
    so_far: Ints
    choice: Floats
    triage: Ints
    watched: Bools
    initial: Ints
    state: Ints
    changed: Ints
    priority: Ints
    due: Ints
    due_by: Ints
    waits: Ints
    forecast: Ints
    made: Ints
    log: _Log


def live(plan: Plan, moments: Moments) -> Record:
    """Play the lifecycle day by day over all groups at once."""
    tracker = _begin(plan, moments)
    settings, state, log = plan.settings, tracker.state, tracker.log
    velocity_at, velocity_by = _velocity(plan, moments, tracker.counts)
    day_of = moments.at // DAY_MS
    by_day = np.argsort(day_of, kind="stable")
    edges = np.searchsorted(day_of[by_day], np.arange(settings.days + 1))

    for day in range(settings.days):
        midnight, tomorrow = day * DAY_MS, (day + 1) * DAY_MS
        state[(state == _UNBORN) & (plan.birth < midnight)] = NEW
        tracker.changed[state == NEW] = plan.birth[state == NEW]

        # new forecasts for archived groups seen within a week; no events, no new forecast
        waiting = np.nonzero((state == UNTIL_ESCALATING) & tracker.watched)[0]
        _make_forecasts(tracker, waiting, day * 24, np.full(waiting.size, midnight))

        # a week after it became new, escalating or regressed, an unresolved issue is ongoing
        ongoing_at = _next_run(tracker.changed + 7 * DAY_MS)
        aged = np.nonzero(np.isin(state, _UNSETTLED) & (ongoing_at < tomorrow))[0]
        # a new issue is loud at an occurrence of its first day, which may be today
        loud = np.isin(state, (NEW, _UNBORN)) & (velocity_at >= midnight) & (velocity_at < tomorrow)

        busy = loud.copy()
        busy[aged] = True
        _look_through(tracker, day, busy)
        _settle(tracker, aged, ongoing_at[aged])

        _cross(tracker, day, by_day[edges[day] : edges[day + 1]])
        met = np.nonzero((state == UNTIL_CONDITION) & (tracker.due < tomorrow))[0]
        _escalate(tracker, day, met, BY_CONDITION, tracker.due[met], tracker.waits[met], tracker.due_by[met])
        young = np.nonzero(loud)[0]
        _escalate(tracker, day, young, BY_VELOCITY, velocity_at[young], -1, velocity_by[young])

        back = np.nonzero((state == RESOLVED) & (tracker.due < tomorrow))[0]
        log.add(back, tracker.due[back], REGRESSED, -1, tracker.due_by[back])
        state[back], tracker.changed[back] = REGRESSED, tracker.due[back]

    state[state == _UNBORN] = NEW
    return _finish(log, settings.days * DAY_MS, state, tracker.priority)


def _begin(plan: Plan, moments: Moments) -> _Tracker:
    """Everything before the first day: old issues were seen and became ongoing long ago."""
    settings, count = plan.settings, plan.settings.groups
    counts = np.bincount(moments.group * settings.hours + moments.at // HOUR_MS, minlength=count * settings.hours)
    initial = np.array([kind.priority for kind in TYPES], dtype=np.int64)[plan.wording.type_index]
    log = _Log()
    log.add(np.arange(count), plan.birth, FIRST_SEEN)
    old = np.nonzero(~plan.born_inside)[0]
    log.add(old, _next_run(plan.birth[old] + 7 * DAY_MS), ONGOING, 7)
    return _Tracker(
        plan=plan,
        moments=moments,
        counts=counts.reshape(count, settings.hours),
        so_far=_rank_in_hour(moments.group, moments.at),
        choice=draws(settings, "people", count, settings.days, 4),
        triage=_triage_hours(plan),
        watched=np.array([kind.escalates for kind in TYPES])[plan.wording.type_index],
        initial=initial,
        state=np.where(plan.born_inside, _UNBORN, ONGOING).astype(np.int64),
        changed=np.full(count, -NEVER, dtype=np.int64),
        priority=initial.copy(),
        due=np.full(count, NEVER, dtype=np.int64),
        due_by=np.full(count, -1, dtype=np.int64),
        waits=np.full(count, -1, dtype=np.int64),
        forecast=np.full((count, 14), _FALLBACK, dtype=np.int64),
        made=np.full(count, -NEVER, dtype=np.int64),
        log=log,
    )


def _make_forecasts(tracker: _Tracker, who: Ints, hour: int, at: Ints) -> None:
    """Store limits of 14 days from the 168 hours before ``hour``; a group without events there keeps what it has."""
    if who.size == 0:
        return
    start = tracker.plan.settings.start + timedelta(hours=hour - 168)
    window = np.asfortranarray(tracker.counts[who, hour - 168 : hour])
    panel = Panel(pl.DataFrame({"group_id": who}), start, window, np.zeros(who.size, dtype=np.int64))
    limit, rule = limits_on(panel, [start + timedelta(hours=168)], days=14)
    known = rule[:, 0, 0] != NONE
    tracker.forecast[who[known]], tracker.made[who[known]] = limit[known, 0], at[known]


def _look_through(tracker: _Tracker, day: int, busy: Bools) -> None:
    """People archive or resolve some of what is unresolved, in an hour of their project's morning."""
    triage, choice, state = tracker.triage[tracker.plan.project, day], tracker.choice[:, day], tracker.state
    mine = day * DAY_MS + triage * HOUR_MS + (choice[:, 0] * 3600).astype(np.int64) * 1000
    unresolved = np.isin(state, (*_UNSETTLED, ONGOING))
    eager = np.where(np.isin(state, (NEW, ONGOING)), 0.13, 0.35)
    looks = unresolved & ~busy & (triage >= 0) & (choice[:, 1] < eager)
    what = np.searchsorted([0.78, 0.88, 0.94], choice[:, 2], side="right")
    escalating, condition, forever, resolved = (np.nonzero(looks & (what == option))[0] for option in range(4))

    tracker.waits[condition] = 5 * 2 ** (choice[condition, 3] * 7).astype(np.int64)
    for chosen, activity, value in (
        (escalating, UNTIL_ESCALATING, -1),
        (condition, UNTIL_CONDITION, tracker.waits[condition]),
        (forever, FOREVER, -1),
        (resolved, RESOLVED, -1),
    ):
        state[chosen], tracker.changed[chosen] = activity, mine[chosen]
        tracker.log.add(chosen, mine[chosen], activity, value)
    for chosen, nth in ((condition, tracker.waits[condition]), (resolved, np.ones(resolved.size, dtype=np.int64))):
        tracker.due[chosen], tracker.due_by[chosen] = _nth_after(tracker, chosen, mine[chosen], nth)
    for hour in np.unique(triage[escalating]).tolist():
        who = escalating[(triage[escalating] == hour) & tracker.watched[escalating]]
        _make_forecasts(tracker, who, day * 24 + hour, mine[who])


def _settle(tracker: _Tracker, who: Ints, at: Ints) -> None:
    """Become ongoing: the priority goes back to what it was at first."""
    tracker.log.add(who, at, ONGOING, 7)
    tracker.state[who], tracker.changed[who] = ONGOING, at
    lowered = tracker.priority[who] != tracker.initial[who]
    tracker.priority[who] = tracker.initial[who]
    tracker.log.add(who[lowered], at[lowered], SET_PRIORITY, tracker.initial[who[lowered]])


def _cross(tracker: _Tracker, day: int, today: Ints) -> None:
    """The first occurrence whose hour so far exceeds the limit in force brings an archived group back."""
    group, at = tracker.moments.group[today], tracker.moments.at[today]
    asked = (tracker.state[group] == UNTIL_ESCALATING) & tracker.watched[group] & (at > tracker.changed[group])
    asked &= at - tracker.plan.birth[group] >= DAY_MS
    today, group, at = today[asked], group[asked], at[asked]
    _make_up(tracker, group, at)
    made = tracker.made[group]
    # the limit of the day since it was made; the last one on day 14; 10 once the forecast is 14 days old
    ahead = np.clip(day - made // DAY_MS, 0, 13)
    stored = (at >= made) & (at - made < _HOLDS_MS)
    limit = np.where(stored, tracker.forecast[group, ahead], _FALLBACK)
    over = np.nonzero(tracker.so_far[today] > limit)[0]
    fired, first = np.unique(group[over], return_index=True)
    by = over[first]
    _escalate(tracker, day, fired, BY_FORECAST, at[by], limit[by], today[by])


def _make_up(tracker: _Tracker, group: Ints, at: Ints) -> None:
    """An occurrence that finds no stored forecast has one made, from the next hour on."""
    lacking = np.nonzero(at - tracker.made[group] >= _HOLDS_MS)[0]
    who, first = np.unique(group[lacking], return_index=True)
    hour = at[lacking[first]] // HOUR_MS + 1
    for next_hour in np.unique(hour).tolist():
        mine = who[hour == next_hour]
        _make_forecasts(tracker, mine, next_hour, np.full(mine.size, next_hour * HOUR_MS))


def _escalate(tracker: _Tracker, day: int, who: Ints, by: int, at: Ints, value: Ints | int, occurrence: Ints) -> None:
    """Enter the escalating state: the priority goes up, and sometimes somebody takes the issue on."""
    log, priority = tracker.log, tracker.priority
    log.add(who, at, by, value, occurrence)
    tracker.state[who], tracker.changed[who] = by, at
    higher = np.where(priority[who] == 25, 50, 75)
    raised = higher != priority[who]
    priority[who] = higher
    log.add(who[raised], at[raised], SET_PRIORITY, higher[raised])
    choice = tracker.choice[who, day]
    taken = choice[:, 3] < 0.3
    log.add(who[taken], at[taken] + 1000 * (60 + (choice[taken, 2] * 7000).astype(np.int64)), ASSIGNED)


def _finish(log: _Log, end: int, state: Ints, priority: Ints) -> Record:
    """Sort by group and time, drop what lies after the end, and keep what the tracker shows of each group."""
    group, at, activity, value, occurrence = (np.concatenate(column) for column in zip(*log.rows, strict=True))
    inside = np.nonzero(at < end)[0]
    inside = inside[np.lexsort((at[inside], group[inside]))]
    last = np.searchsorted(group[inside], group[inside], side="right") - 1
    newest = last - np.arange(inside.size) < _MOST - 1
    inside = inside[newest | (activity[inside] == FIRST_SEEN)]
    return Record(group[inside], at[inside], activity[inside], value[inside], occurrence[inside], state, priority)


def _next_run(at: Ints) -> Ints:
    """When the task that runs every five minutes comes to it."""
    return -(-at // 300_000) * 300_000 + 11_000


def _rank_in_hour(group: Ints, at: Ints) -> Ints:
    """The count of the hour so far, this occurrence included."""
    index = np.arange(group.size)
    hour = at // HOUR_MS
    opens = np.ones(group.size, dtype=np.bool_)
    opens[1:] = (group[1:] != group[:-1]) | (hour[1:] != hour[:-1])
    return index - np.maximum.accumulate(np.where(opens, index, 0)) + 1


def _nth_after(tracker: _Tracker, who: Ints, since: Ints, nth: Ints) -> tuple[Ints, Ints]:
    """Moment and index of each group's nth occurrence after ``since``; never and -1 where there is none."""
    group, at = tracker.moments.group, tracker.moments.at
    width = tracker.plan.settings.days * DAY_MS + 1
    index = np.searchsorted(group * width + at, who * width + since, side="right") + nth - 1
    inside = np.minimum(index, group.size - 1)
    there = (index < group.size) & (group[inside] == who)
    return np.where(there, at[inside], NEVER), np.where(there, inside, -1)


def _triage_hours(plan: Plan) -> Ints:
    """The hour (UTC) in which each project's people look through their issues; -1 on weekends and in the first week."""
    settings = plan.settings
    hour = 6 + (draws(settings, "triage", settings.projects) * 12).astype(np.int64)
    weekday = (settings.start.weekday() + np.arange(settings.days)) % 7
    open_day: Bools = (weekday < 5) & (np.arange(settings.days) >= WARM_UP_DAYS)
    return np.where(open_day[None, :], hour[:, None], -1)


def _velocity(plan: Plan, moments: Moments, counts: Ints) -> tuple[Ints, Ints]:
    """When each new error first exceeds its project's usual rate within its first day; never and -1 if it does not.

    The usual rate is the 95th percentile, over the project's errors with more than one occurrence in the past week, of
    occurrences per hour of that week or, for younger groups, of their life.
    """
    settings = plan.settings
    usual = np.zeros((settings.projects, settings.days))  # occurrences per hour
    total = np.concatenate([np.zeros((settings.groups, 1), dtype=np.int64), np.cumsum(counts, axis=1)], axis=1)
    error = np.array([kind.id for kind in TYPES])[plan.wording.type_index] == 1
    for day in range(1, settings.days):
        hour = 24 * day
        past = total[:, hour] - total[:, max(0, hour - 168)]
        lived = hour - plan.birth / HOUR_MS
        # of the young, clock hours that began since, as the tracker's database counts them
        rate = past / np.where(lived > 168, min(168, hour), np.maximum(hour - plan.birth // HOUR_MS, 1))
        for project in range(settings.projects):
            mine = rate[(plan.project == project) & (past > 1) & (lived > 1) & error]
            usual[project, day] = np.quantile(mine, 0.95) if mine.size else 0.0

    group, at = moments.group, moments.at
    born = plan.born_inside & error
    age = at - plan.birth[group]
    index = np.nonzero(born[group] & (age < DAY_MS))[0]
    who = group[index]
    seen = index - np.searchsorted(group, who) + 1
    threshold = usual[plan.project[who], at[index] // DAY_MS]
    speed = seen / np.maximum(age[index] / HOUR_MS, 1)
    loud = np.nonzero((seen >= 10) & (threshold > 0) & (speed > threshold))[0]
    fired, first = np.unique(who[loud], return_index=True)
    moment, by = np.full(settings.groups, NEVER, dtype=np.int64), np.full(settings.groups, -1, dtype=np.int64)
    moment[fired], by[fired] = at[index[loud[first]]], index[loud[first]]
    return moment, by
