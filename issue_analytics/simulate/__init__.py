"""Exports that a tracker could have written, with planted escalations whose beginning and end are known."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY
from issue_analytics.simulate.export import write_files
from issue_analytics.simulate.lifecycle import ACTIVITIES, NEW, Record, live
from issue_analytics.simulate.plan import (
    FIRST_GROUP,
    FIRST_PROJECT,
    HOUR_MS,
    PATTERNS,
    SHAPES,
    WARM_UP_DAYS,
    Ints,
    Plan,
    Settings,
    make_plan,
)
from issue_analytics.simulate.series import Moments, happen
from issue_analytics.simulate.texts import TYPES
from issue_analytics.simulate.writers import DEFAULT

__all__ = ["Simulation", "simulate"]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Simulation:
    """A simulated tracker: what it would export, and the plan behind it. All frames are eager.

    Attributes:
        occurrences: contract ``Occurrences``, in the order of time; ``received_at`` is null, since nothing is late.
        hourly_counts: contract ``HourlyCounts``; silent hours have no row.
        status_changes: contract ``StatusChanges``, what the tracker would have recorded; by group and time.
        escalations: contract ``Escalations``: exactly the planted ones, provenance ``injected``.
        groups: the plan; one row is a group. project_id, group_id, type, issue_type, title, subtitle, culprit,
            fingerprint, level, first_seen (before the start for groups older than the simulation), ends_at (when it
            dies; null if it does not), pattern (``steady``, ``cron``, ``sporadic``, ``constant``), occurrences_per_day
            (expected on an ordinary day), initial_priority, and priority, status and substatus at the end.
        planted: one row is a planted escalation: project_id, group_id, escalated_at, ended_at, shape, size (times the
            busiest hour of the week before; null for a slow ramp), growth_per_day (of a slow ramp, 0.1 is 10 %),
            busiest_before and peak_added (occurrences per hour).
        disturbances: one row is a deploy, an outage or a gap of a project: project_id, kind, start, end.
        activities: the status changes with what else an activity says: type (the tracker's name of it), value (the
            forecast, the number of events waited for, or a priority; -1 where there is none) and event_id.
    """

    occurrences: pl.DataFrame
    hourly_counts: pl.DataFrame
    status_changes: pl.DataFrame
    escalations: pl.DataFrame
    groups: pl.DataFrame
    planted: pl.DataFrame
    disturbances: pl.DataFrame
    activities: pl.DataFrame

    def __repr__(self) -> str:
        return (
            f"Simulation({self.groups.height} groups, {self.occurrences.height} occurrences, "
            f"{self.escalations.height} planted escalations, {self.status_changes.height} status changes)"
        )

    def write(
        self, folder: str | Path, *, formats: Iterable[str] = DEFAULT, progress: bool | None = None
    ) -> list[Path]:
        """Write the exports: each file is there whole or not at all; the same simulation writes the same bytes.

        Without ``formats``:

        ``occurrences-000.jsonl.gz`` … : occurrence records, one JSON object per line, 200,000 to a file.
        ``issues.jsonl.gz``: every issue as the tracker retrieves it, with its activities.
        ``planted.csv``: the planted escalations, columns as in the contract ``Escalations``; always written.

        Reading them back gives the frames of this simulation. ``formats`` names others, any number of them into one
        folder; ``issue_analytics.simulate.writers.FORMATS`` lists them, and the module of a format says what of the
        simulation it carries. ``progress``: None shows a bar if it takes more than two seconds, False never.

        Raises:
            DatasetError: the folder cannot be written, or holds files of a larger simulation.
            SettingsError: there is no such format.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in simulate(groups=5, days=8).write(folder)]
        ['occurrences-000.jsonl.gz', 'issues.jsonl.gz', 'planted.csv']
        """
        return write_files(Path(folder), self, formats, progress=progress)


def simulate(
    groups: int = 2000,
    days: int = 56,
    seed: int = 1,
    *,
    start: datetime = datetime(2026, 1, 5, tzinfo=UTC),
    projects: int = 5,
) -> Simulation:
    """Simulate a tracker's exports with planted escalations.

    The same arguments give the same frames and files on every run. A group's occurrences do not depend on how many
    groups there are: ``simulate(groups=100)`` has those of the first 100 groups of ``simulate(groups=200)``.

    What happens: volumes with a heavy tail (most groups a few times a week, few a thousand times a day); negative
    binomial counts with the daily and weekly rhythm of each project's time zone; cron groups (every day in the same
    minute); sporadic groups (quiet for days, then busy for one); constant groups (a machine at work, every hour of
    every day); issues born and issues that die; bad deploys (several groups of a project step up and decay); outages
    (silence, then most of what was held back in one hour) and gaps (silence, nothing comes back).

    **What counts as an escalation.** Only what was planted, from its first added occurrence to its end: something
    about this one issue that a person would have had to mend. Shapes: ``step``, ``spike``, ``ramp`` (over hours),
    ``slow ramp`` (so many per cent more each day, up to 4 to 20 times the ordinary rate, then fixed) and
    ``burst after silence`` (a week without occurrences, then a burst). Peaks are 1.5 to 30 times the busiest hour of
    the week before, but at least 3 an hour; a slow ramp knows only its growth. Deploys, outages, cron runs, busy days
    of sporadic groups and loud new issues are everyday noise that ends by itself: an alert on one is a false alarm.
    Nothing is planted in the first week, in a group's first two days or at the edge of an outage.

    **What the tracker records** in ``status_changes``: from the second week on people archive issues (mostly until
    they escalate) or resolve them; limits of the standard thresholds and sparse buckets, made on archive and daily at
    00:00 UTC, bring archived issues back at the occurrence that exceeds them (cause ``forecast``, with the limit in
    force); also met conditions, regressions, loud new issues (cause ``velocity``), and ongoing after a week.

    Args:
        groups: how many issues.
        days: length in days, from 8 on: limits need a week of history.
        seed: 0 or more; another seed is another tracker.
        start: midnight UTC, aware.
        projects: how many projects the groups are spread over.

    Raises:
        SettingsError: an argument makes no sense.

    >>> sim = simulate(groups=40, days=21, seed=7)
    >>> sim.escalations["provenance"].unique().to_list()
    ['injected']
    >>> sim.occurrences.height == sim.hourly_counts["count"].sum()
    True
    """
    plan = make_plan(_settings(groups, days, seed, start, projects))
    moments = happen(plan)
    record = live(plan, moments)
    people = _groups(plan, record)
    key = people.select(KEY)
    event = _hexadecimal(moments.event)

    order = np.lexsort((moments.group, moments.at))
    row = moments.group[order]
    occurrences = pl.DataFrame(
        {
            "occurrence_id": _hexadecimal(moments.identity[order]),
            "event_id": event.gather(order),
            **{name: people[name].gather(row) for name in (*KEY, "type", "fingerprint", "title", "level")},
            "detected_at": _stamps(plan, moments.at[order]),
        }
    ).with_columns(received_at=pl.lit(None, pl.Datetime("us", "UTC")))

    hours = plan.settings.hours
    cell, count = np.unique(moments.group * hours + moments.at // HOUR_MS, return_counts=True)
    hourly = pl.DataFrame(
        {
            **{name: key[name].gather(cell // hours) for name in KEY},
            "hour": _stamps(plan, cell % hours * HOUR_MS),
            "count": count.astype(np.int64),
        }
    ).sort(*KEY, "hour")

    activities = _activities(plan, record, people, event)
    planted = _planted(plan, moments, key)
    return Simulation(
        occurrences=occurrences,
        hourly_counts=hourly,
        status_changes=activities.select(
            *KEY,
            "at",
            "kind",
            "cause",
            forecast=pl.when(pl.col("cause") == "forecast").then("value"),
            source=pl.lit("activity"),
        ),
        escalations=planted.select(*KEY, "escalated_at", "ended_at", provenance=pl.lit("injected")),
        groups=people,
        planted=planted,
        disturbances=pl.DataFrame(
            {
                "project_id": FIRST_PROJECT + plan.disturbances.project,
                "kind": plan.disturbances.kind,
                "start": _stamps(plan, plan.disturbances.start * HOUR_MS),
                "end": _stamps(plan, plan.disturbances.end * HOUR_MS),
            },
            schema_overrides={"kind": pl.String},
        ),
        activities=activities,
    )


def _settings(groups: int, days: int, seed: int, start: datetime, projects: int) -> Settings:
    for name, value, least in (
        ("groups", groups, 1),
        ("days", days, WARM_UP_DAYS + 1),
        ("seed", seed, 0),
        ("projects", projects, 1),
    ):
        if isinstance(value, bool) or not isinstance(value, int):
            raise SettingsError(f"{name}: expected a whole number, got {value!r}.")
        if value < least:
            raise SettingsError(f"{name}: {value} is too few; at least {least}.")
    if not isinstance(start, datetime):
        raise SettingsError(f"start: expected a datetime, got {start!r}.")
    if start.tzinfo is None:
        raise SettingsError(f"start: {start.isoformat()} has no time zone; write datetime(..., tzinfo=timezone.utc).")
    start = start.astimezone(UTC)
    if start != start.replace(hour=0, minute=0, second=0, microsecond=0):
        raise SettingsError(f"start: {start.isoformat()} is not midnight UTC, when limits are made.")
    if start.year < 1992 or days > 365 * 100 or (start + timedelta(days=days)).year > 2099:
        raise SettingsError(f"start: {start.isoformat()} with {days} days does not lie in the years 1992 to 2099.")
    return Settings(groups, days, seed, start, projects)


def _hexadecimal(identity: npt.NDArray[np.uint8]) -> pl.Series:
    """Rows of bytes as text."""
    text = np.frombuffer(identity.tobytes().hex().encode(), dtype=f"S{2 * identity.shape[1]}")
    return pl.Series(text, dtype=pl.Binary).cast(pl.String)


def _stamps(plan: Plan, at: Ints) -> pl.Series:
    """Milliseconds since the start as stamps."""
    start = round(plan.settings.start.timestamp() * 1000)
    return pl.Series((at + start) * 1000, dtype=pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


_STATES = {
    NEW: ("unresolved", "new"),
    "ongoing": ("unresolved", "ongoing"),
    "escalating": ("unresolved", "escalating"),
    "regressed": ("unresolved", "regressed"),
    "resolved": ("resolved", None),
    "archived_until_escalating": ("ignored", "archived_until_escalating"),
    "archived_until_condition_met": ("ignored", "archived_until_condition_met"),
    "archived_forever": ("ignored", "archived_forever"),
}
"""Status and substatus after each kind of change."""


def _groups(plan: Plan, record: Record) -> pl.DataFrame:
    words = plan.wording
    kinds = [TYPES[i] for i in words.type_index.tolist()]
    states = [_STATES[NEW if at == NEW else ACTIVITIES[at][0]] for at in record.state.tolist()]
    dies = plan.death < plan.settings.hours
    return pl.DataFrame(
        {
            "project_id": FIRST_PROJECT + plan.project,
            "group_id": FIRST_GROUP + np.arange(plan.settings.groups),
            "type": [kind.id for kind in kinds],
            "issue_type": [kind.slug for kind in kinds],
            "title": words.title,
            "subtitle": words.subtitle,
            "culprit": words.culprit,
            "fingerprint": words.fingerprint,
            "level": words.level,
            "first_seen": _stamps(plan, plan.birth),
            "ends_at": _stamps(plan, plan.death * HOUR_MS).set(~pl.Series(dies), None),
            "pattern": [PATTERNS[i] for i in plan.pattern.tolist()],
            "occurrences_per_day": plan.per_day,
            "initial_priority": np.array([kind.priority for kind in kinds], dtype=np.int64),
            "priority": record.priority,
            "status": [status for status, _ in states],
            "substatus": [substatus for _, substatus in states],
        },
        schema_overrides={"substatus": pl.String},
    )


def _activities(plan: Plan, record: Record, people: pl.DataFrame, event: pl.Series) -> pl.DataFrame:
    """Status changes, and what else an activity says; one row is an activity, by group and time."""
    index = record.activity.tolist()
    by = pl.Series(record.occurrence)
    return pl.DataFrame(
        {
            **{name: people[name].gather(record.group) for name in (*KEY, "initial_priority")},
            "at": _stamps(plan, record.at),
            "kind": [ACTIVITIES[i][0] for i in index],
            "type": [ACTIVITIES[i][1] for i in index],
            "cause": [ACTIVITIES[i][2] for i in index],
            "value": record.value,
            "event_id": event.gather(by.set(by < 0, None)),
        },
        schema_overrides={"cause": pl.String},
    ).with_columns(value=pl.when(pl.col("kind") == "first_seen").then("initial_priority").otherwise("value"))


def _planted(plan: Plan, moments: Moments, key: pl.DataFrame) -> pl.DataFrame:
    planted = plan.planted
    shape = pl.Series("shape", [SHAPES[i] for i in planted.shape.tolist()], dtype=pl.String)
    is_slow = pl.col("shape") == "slow ramp"
    return pl.DataFrame(
        {
            **{name: key[name].gather(planted.group) for name in KEY},
            "escalated_at": _stamps(plan, planted.start),
            "ended_at": _stamps(plan, planted.end),
            "shape": shape,
            "size": planted.size,
            "busiest_before": moments.busiest_before,
            "peak_added": moments.planted_peak,
        }
    ).with_columns(
        size=pl.when(~is_slow & (pl.col("busiest_before") > 0)).then(pl.col("peak_added") / pl.col("busiest_before")),
        growth_per_day=pl.when(is_slow).then("size"),
    )
