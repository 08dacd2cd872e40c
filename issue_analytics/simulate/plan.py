"""The plan of a simulation: who the groups are, what happens to their projects, and what is planted.

Everything here is drawn before a single occurrence. Times are whole milliseconds, hours are columns, both counted from
the start of the simulation.
"""

import math
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from issue_analytics.simulate.texts import Wording, is_hostile, word

__all__ = [
    "DAY_MS",
    "FIRST_GROUP",
    "FIRST_PROJECT",
    "HOUR_MS",
    "NEVER",
    "PATTERNS",
    "SHAPES",
    "WARM_UP_DAYS",
    "Plan",
    "Settings",
    "draws",
    "make_plan",
    "stream",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
NEVER: Final = 2**62
WARM_UP_DAYS: Final = 7
"""Nothing is planted and nobody archives before the tracker has seen a whole week."""

FIRST_PROJECT: Final = 101
FIRST_GROUP: Final = 10_001

ZONES: Final = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Los_Angeles", "Australia/Sydney", "UTC")
PATTERNS: Final = ("steady", "cron", "sporadic", "constant")
STEADY, CRON, SPORADIC, CONSTANT = range(len(PATTERNS))
SHAPES: Final = ("step", "spike", "ramp", "slow ramp", "burst after silence")
STEP, SPIKE, RAMP, SLOW_RAMP, BURST = range(len(SHAPES))

_GOLDEN: Final = (math.sqrt(5) - 1) / 2
_SLOT_DAYS: Final = 24.5  # two chances of a planted escalation in eight weeks


@dataclass(frozen=True, slots=True)
class Settings:
    """The checked arguments of a simulation."""

    groups: int
    days: int
    seed: int
    start: datetime
    projects: int

    @property
    def hours(self) -> int:
        """Columns of the simulation."""
        return 24 * self.days


def stream(settings: Settings, concern: str) -> np.random.Generator:
    """A generator of its own for each concern: adding one does not move the others.

    Each draws in the order of the groups, so that a group's data do not depend on how many groups follow it.
    """
    key = zlib.crc32(concern.encode())
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(settings.seed, spawn_key=(key,))))


def draws(settings: Settings, concern: str, *shape: int) -> Floats:
    """Uniform numbers in [0, 1) from the concern's own stream."""
    return stream(settings, concern).random(shape)


@dataclass(frozen=True, slots=True)
class Disturbances:
    """What happens to whole projects; one element is one disturbance."""

    project: Ints
    kind: list[str]  # "deploy", "outage" or "gap"
    start: Ints  # hour
    end: Ints  # hour, exclusive


@dataclass(frozen=True, slots=True)
class Planted:
    """Planted escalations, in the order of groups and time; one element is one escalation."""

    group: Ints
    shape: Ints  # index into SHAPES
    start: Ints  # ms
    end: Ints  # ms
    size: Floats  # times the busiest hour of the week before; for a slow ramp the growth per day, 0.1 = 10 %


@dataclass(frozen=True, slots=True)
class Plan:
    """The groups (arrays in the order of the groups) and what happens to them."""

    settings: Settings
    project: Ints  # index from 0
    wording: Wording
    pattern: Ints  # index into PATTERNS
    per_day: Floats  # occurrences per day that the group has on an ordinary day
    shape: Floats  # of the gamma distribution that makes hourly counts negative binomial
    birth: Ints  # ms of the first occurrence; before 0 for groups older than the simulation
    death: Ints  # hour from which on nothing happens any more
    minute: Ints  # of a cron group's run
    hour_of_day: Ints  # of a cron group's run, UTC
    surge: Floats  # of a group born in the simulation: how many times its ordinary rate it begins with
    rhythm: Floats  # (projects, hours): mean 1 over a week
    disturbances: Disturbances
    deploys: tuple[Ints, Ints, Floats, Floats]  # group, hour, times the ordinary rate, hours of decay
    planted: Planted

    @property
    def born_inside(self) -> Bools:
        """Which groups have their first occurrence inside the simulation."""
        return self.birth >= 0


def make_plan(settings: Settings) -> Plan:
    """Draw the plan."""
    count, days = settings.groups, settings.days
    weights = 1 / np.sqrt(np.arange(1, settings.projects + 1))
    project = np.searchsorted(np.cumsum(weights / weights.sum()), draws(settings, "project", count), side="right")
    project = np.minimum(project, settings.projects - 1).astype(np.int64)

    # a golden-ratio sequence: the heavy tail is there in every simulation, not only in lucky ones
    place = (draws(settings, "volume", 1)[0] + _GOLDEN * np.arange(1, count + 1)) % 1
    per_day = np.minimum(0.1 * (1 - place) ** -1.25, 1800.0)

    kind = draws(settings, "pattern", count, 3)
    pattern = np.searchsorted([0.77, 0.855, 0.995], kind[:, 0], side="right").astype(np.int64)
    pattern[(pattern == SPORADIC) & (per_day > 50)] = STEADY
    per_day = np.where(pattern == CRON, np.maximum(per_day, 2.0), per_day)
    # busy enough that no hour is empty: the only groups whose sparse history counts as a full week
    per_day = np.where(pattern == CONSTANT, 170 * 1.8 ** kind[:, 1], per_day)
    hostile = is_hostile(count)
    pattern[hostile] = STEADY
    per_day[hostile] = np.clip(per_day[hostile], 2.0, 20.0)

    life = draws(settings, "life", count, 4)
    born = (life[:, 0] < 0.22) & ~hostile
    birth = np.where(
        born,
        DAY_MS + (life[:, 1] * (days - 2) * 86_400).astype(np.int64) * 1000,
        -DAY_MS * 8 - (life[:, 1] * 400 * 86_400).astype(np.int64) * 1000,
    )
    death = np.where(
        (life[:, 2] < 0.12) & ~born & ~hostile, (life[:, 3] * settings.hours).astype(np.int64), settings.hours
    ).astype(np.int64)

    disturbances = _disturbances(settings)
    return Plan(
        settings=settings,
        project=project,
        wording=word(FIRST_PROJECT + project, draws(settings, "wording", count, 5)),
        pattern=pattern,
        per_day=per_day,
        shape=np.where(pattern == CONSTANT, 60.0, 0.4 * 20 ** draws(settings, "dispersion", count)),
        birth=birth,
        death=death,
        minute=(kind[:, 1] * 60).astype(np.int64),
        hour_of_day=(kind[:, 2] * 24).astype(np.int64),
        surge=np.where(draws(settings, "surge", count) < 0.35, 30 ** draws(settings, "surge.size", count), 1.0),
        rhythm=_rhythm(settings),
        disturbances=disturbances,
        deploys=_affected(settings, project, disturbances),
        planted=_planted(settings, project, pattern, per_day, birth, death, disturbances),
    )


def _rhythm(settings: Settings) -> Floats:
    """Daily and weekly rhythm of each project in its own time zone; shape (projects, hours)."""
    hours = pl.DataFrame(
        {
            "hour": pl.datetime_range(
                settings.start, settings.start + timedelta(days=settings.days), "1h", closed="left", eager=True
            )
        }
    )
    swing = draws(settings, "rhythm", settings.projects, 2)
    rows = []
    for number, (day, weekend) in enumerate(swing.tolist()):
        local = pl.col("hour").dt.convert_time_zone(ZONES[number % len(ZONES)])
        clock, weekday = hours.select(clock=local.dt.hour().cast(pl.Int64), day=local.dt.weekday()).get_columns()
        daily = 1 + (0.25 + 0.65 * day) * np.cos(2 * np.pi * (clock.to_numpy() - 15) / 24)
        quiet = 0.3 + 0.7 * weekend
        weekly = np.where(weekday.to_numpy() >= 6, quiet, 1.0) * 7 / (5 + 2 * quiet)
        rows.append(daily * weekly)
    return np.array(rows)


def _disturbances(settings: Settings) -> Disturbances:
    """Deploys that go wrong, outages with a catch-up afterwards, and gaps that leave nothing behind."""
    weeks = -(-settings.days // 7)
    found: list[tuple[int, int, str, int]] = []
    silence = draws(settings, "outages", settings.projects, weeks, 4)
    deploys = draws(settings, "deploys", settings.projects, settings.days, 2)
    for project in range(settings.projects):
        for week in range(weeks):
            whether, kind, when, long = silence[project, week].tolist()
            if whether < 0.3:
                start = 168 * week + int(when * 160)
                found.append((project, start, "outage" if kind < 0.6 else "gap", start + 1 + int(long * 8)))
        for day in range(settings.days):
            whether, when = deploys[project, day].tolist()
            if whether < 0.08:
                start = 24 * day + 8 + int(when * 10)
                found.append((project, start, "deploy", start + 48))
    kept = sorted(row for row in found if row[3] < settings.hours)
    return Disturbances(
        project=np.array([row[0] for row in kept], dtype=np.int64),
        kind=[row[2] for row in kept],
        start=np.array([row[1] for row in kept], dtype=np.int64),
        end=np.array([row[3] for row in kept], dtype=np.int64),
    )


def _affected(settings: Settings, project: Ints, disturbances: Disturbances) -> tuple[Ints, Ints, Floats, Floats]:
    """Which groups step up after which deploy, and how much."""
    number = np.array([at for at, kind in enumerate(disturbances.kind) if kind == "deploy"], dtype=np.int64)
    lottery = draws(settings, "deploys.affected", settings.groups, max(1, number.size))[:, : number.size]
    hit = (lottery < 0.08) & (disturbances.project[number][None, :] == project[:, None])
    group, which = np.nonzero(hit)
    # within those hit, the same draw says how much and how long
    share = lottery[group, which] / 0.08
    return group, disturbances.start[number][which], 2 * 10**share, 2.0 + 10 * ((share * 97) % 1)


def _planted(
    settings: Settings,
    project: Ints,
    pattern: Ints,
    per_day: Floats,
    birth: Ints,
    death: Ints,
    disturbances: Disturbances,
) -> Planted:
    """Draw the planted escalations; see :func:`issue_analytics.simulate.simulate` for what they are."""
    free_days = settings.days - WARM_UP_DAYS
    slots = max(1, round(free_days / _SLOT_DAYS))
    width = free_days * DAY_MS // slots // 1000 * 1000  # whole seconds
    u = draws(settings, "planted", settings.groups, slots, 6)
    chance = np.where(pattern == CONSTANT, 0.6, np.where(per_day >= 1, 0.24, 0.1)) * min(
        1.0, width / (_SLOT_DAYS * DAY_MS)
    )
    group, slot = np.nonzero(u[:, :, 0] < chance[:, None])
    u = u[group, slot]

    shape = np.array([STEP, SPIKE, RAMP, BURST])[np.searchsorted([0.34, 0.66, 0.83], u[:, 1], side="right")]
    # a slow ramp needs a rate that can be seen to grow, and the days to grow in
    rate, room = per_day[group], 0.6 * width / HOUR_MS
    shape[(u[:, 5] < 0.3) & (rate > 3) & (rate < 150) & (room > 120)] = SLOW_RAMP
    shape[(shape == BURST) & (rate > 20)] = STEP
    is_slow = shape == SLOW_RAMP
    shortest = np.array([3.0, 3.0, 6.0, 1.0, 2.0])[shape]
    longest = np.array([36.0, 24.0, 72.0, 1.0, 12.0])[shape]
    becomes = 4 * 5 ** u[:, 2]  # times the ordinary rate, at the end of a slow ramp
    hours = np.where(
        is_slow, 24 * np.log(becomes) / np.log(1.1 + 0.2 * u[:, 4]), shortest * (longest / shortest) ** u[:, 2]
    )
    hours = np.minimum(hours, room)
    length = (hours * 3600).astype(np.int64) * 1000
    # the slot's first two hours stay free: escalations of neighbouring slots do not touch
    begin = WARM_UP_DAYS * DAY_MS + slot * width + 2 * HOUR_MS
    start = begin + ((width - 2 * HOUR_MS - length) * u[:, 3] / 1000).astype(np.int64) * 1000
    size = np.where(is_slow, becomes ** (24 / hours) - 1, 1.5 * 20 ** u[:, 4])

    alive = (birth[group] + 2 * DAY_MS <= start) & (death[group] * HOUR_MS >= start + length)
    for at, kind in enumerate(disturbances.kind):
        if kind != "deploy":
            # an outage would hide the beginning, its catch-up would be taken for it
            low, high = (int(hour) * HOUR_MS for hour in (disturbances.start[at] - 1, disturbances.end[at] + 3))
            seen = np.minimum(start + length, start + DAY_MS)
            alive &= ~((project[group] == disturbances.project[at]) & (start < high) & (seen > low))
    keep = np.nonzero(alive)[0]
    return Planted(group[keep], shape[keep], start[keep], (start + length)[keep], size[keep])
