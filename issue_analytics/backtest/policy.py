"""How limits are refreshed, and how alerts are held against escalations: frozen settings."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from issue_analytics.errors import SettingsError

__all__ = ["EVERY_HOUR", "POLICIES", "PRODUCTION", "PRODUCTION_2023", "Matching", "Policy", "duration", "policy_named"]

_ANCHORS: Final = {
    "h": datetime(1970, 1, 1, tzinfo=UTC),
    "d": datetime(1970, 1, 1, tzinfo=UTC),
    "w": datetime(1970, 1, 5, tzinfo=UTC),
}
"""Refreshes are counted from here, as polars truncates times, so that they do not depend on where the data begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How often limits are made, how long they hold, and who is checked when.

    A policy is stateless, every exposed hour of every group is judged, unless it has a ``lifecycle``: then groups are
    checked as the tracker does, see :func:`~issue_analytics.backtest.replay.replay`. Only then do the later settings
    mean anything.

    Args:
        name: what reports call it.
        every: time between refreshes: ``"1d"``, ``"6h"``, ``"7d"``, ``"1w"`` …; it must divide a day or be whole days.
            Moments are those polars truncates to: whole hours or midnights UTC counted from 1970-01-01, for ``"7d"``
            Thursdays, for ``"1w"`` Mondays.
        offset: how much later than that: with ``every="1d"``, ``"16h"`` refreshes at 16:00 UTC.
        hold_days: days after which a limit that was not refreshed lapses, 14 upstream; rounded up to whole UTC dates
            if stateless, to the microsecond with a lifecycle.
        lifecycle: whether only groups archived until they escalate are checked, and leave when they do.
        refresh_on_archive: whether archiving a group makes its limits anew.
        seen_days: a refresh leaves out groups without an occurrence in so many days before it.
        fallback: the limit where none is stored, or it has lapsed; None: such a group is not checked.
        regenerate: whether an occurrence that finds no stored limit has one made, in force from the next hour on.
        min_age_hours: younger groups are not checked at all.
        rearchive: when a group that escalated in the replay is archived again: ``"record"``, when the record says so;
            ``"never"``; or after a while: ``"7d"``, ``"0h"`` (at the end of the hour that fired). In the last three
            the group's recorded changes end with its first escalation in the replay.
        ongoing_days: days after which a new, regressed or escalating issue is ongoing; None: never.
        velocity: whether new issues escalate by the rule for their rate, and not as recorded.

    Raises:
        SettingsError: a setting is none of these.

    >>> Policy(every="1w").moments(datetime(2026, 1, 7, tzinfo=UTC), datetime(2026, 1, 14, tzinfo=UTC))
    [datetime.datetime(2026, 1, 12, 0, 0, tzinfo=datetime.timezone.utc)]
    """

    name: str = "every-hour"
    every: str = "1d"
    offset: str = "0h"
    hold_days: int = 14
    lifecycle: bool = False
    refresh_on_archive: bool = True
    seen_days: int = 7
    fallback: int | None = 10
    regenerate: bool = True
    min_age_hours: int = 24
    rearchive: str = "record"
    ongoing_days: int | None = 7
    velocity: bool = False

    def __post_init__(self) -> None:
        hours = self.period // timedelta(hours=1)
        if not (hours and (hours % 24 == 0 or 24 % hours == 0)):
            raise SettingsError(f"every: {self.every!r} must divide a day (1h, 6h …) or be whole days (1d, 7d …).")
        if duration("offset", self.offset) >= self.period:
            raise SettingsError(f"offset: {self.offset!r} must be shorter than every, {self.every!r}.")
        for name, least, most in (
            ("hold_days", 1, 14 if self.lifecycle else 10_000),
            ("seen_days", 1, 7),
            ("fallback", 1, 10**15),
            ("min_age_hours", 0, 10**6),
            ("ongoing_days", 1, 10**4),
        ):
            value = getattr(self, name)
            if value is None and name in ("fallback", "ongoing_days"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise SettingsError(f"{name}: expected a whole number from {least} to {most:,}, got {value!r}.")
        for name in ("lifecycle", "refresh_on_archive", "regenerate", "velocity"):
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f"{name}: expected True or False, got {getattr(self, name)!r}.")
        if self.rearchive not in ("record", "never"):
            duration("rearchive", self.rearchive, also="'record' or 'never'")

    @property
    def period(self) -> timedelta:
        """``every`` as a duration."""
        return duration("every", self.every)

    @property
    def schedule(self) -> str:
        """When limits are refreshed, in a few words.

        >>> Policy(every="7d", offset="19h").schedule
        'every 7d, offset 19h'
        """
        archived = "on archive and " if self.lifecycle and self.refresh_on_archive else ""
        return f"{archived}every {self.every}" + (f", offset {self.offset}" if duration("offset", self.offset) else "")

    @property
    def days(self) -> int:
        """Calendar days that each forecast has to serve, its own day first."""
        day, offset = timedelta(days=1), duration("offset", self.offset)
        held = min(max(self.period, day), self.hold_days * day)
        # the last refresh of a day may serve past midnight
        return -(-(held + offset % min(self.period, day)) // day)  # rounded up

    @property
    def rearchive_after(self) -> timedelta | None:
        """How long after its escalation a group is archived again; None if by the record or never."""
        return None if self.rearchive in ("record", "never") else duration("rearchive", self.rearchive)

    def moments(self, start: datetime, end: datetime) -> list[datetime]:
        """The refreshes in [start, end)."""
        anchor = _ANCHORS[self.every[-1]] + duration("offset", self.offset)
        first, last = (-((anchor - edge) // self.period) for edge in (start, end))
        return [anchor + number * self.period for number in range(first, last)]


def duration(name: str, text: str, *, also: str = "") -> timedelta:
    """Read a duration of whole hours, days or weeks, such as ``"6h"``; ``name`` and ``also`` are for the message.

    Raises:
        SettingsError: it is none.

    >>> duration("every", "2w")
    datetime.timedelta(days=14)
    """
    if not isinstance(text, str) or not (match := re.fullmatch(r"([0-9]{1,4})([hdw])", text)):
        other = f", nor {also}" if also else ""
        raise SettingsError(f"{name}: {text!r} is no duration such as '6h', '1d' or '1w'{other}.")
    number = int(match[1])
    return {"h": timedelta(hours=number), "d": timedelta(days=number), "w": timedelta(weeks=number)}[match[2]]


EVERY_HOUR: Final = Policy()
"""Stateless: every exposed hour of every group is judged against the limit in force, refreshed daily at 00:00 UTC."""

PRODUCTION: Final = Policy(name="production", lifecycle=True)
"""The tracker since December 2024: limits made on archive and daily at 00:00 UTC, kept for 14 days, else 10."""

PRODUCTION_2023: Final = Policy(name="production-2023", lifecycle=True, every="6h")
"""The tracker from July 2023 to December 2024: as today, but refreshed every six hours."""

POLICIES: Final = (EVERY_HOUR, PRODUCTION, PRODUCTION_2023)


def policy_named(name: str) -> Policy:
    """Return the policy of that name.

    Raises:
        SettingsError: there is none; the message lists them.

    >>> policy_named("production-2023").every
    '6h'
    """
    for policy in POLICIES:
        if policy.name == name:
            return policy
    raise SettingsError(f"policy: {name!r} is none of {', '.join(policy.name for policy in POLICIES)}.")


_LONGEST: Final = 10**6
"""Hours: more than a century."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """When an alert and an escalation are about the same thing.

    An hour over the limit belongs to an escalation if it overlaps [start - lead, end + grace].

    Args:
        lead_hours: how much earlier than the escalation's start an hour may lie.
        grace_hours: how much later than its end.
        open_hours: how long an escalation without a recorded end is taken to last.
        merge_hours: hours over the limit at most this far apart are one alert.
        pairing: ``"one_to_one"``: in the order of time, each escalation is caught by the first alert about it that has
            caught no other, so that as many alerts as escalations are right; ``"any"``: by the first alert about it,
            which may catch several that overlap.

    Raises:
        SettingsError: a value is negative, ``open_hours`` or ``merge_hours`` is below 1, one is above a million, or
            ``pairing`` is none of these.

    >>> str(Matching(lead_hours=2))
    'lead 2 h, grace 1 h, open 24 h, merge 12 h, one to one'
    """

    lead_hours: float = 1
    grace_hours: float = 1
    open_hours: float = 24
    merge_hours: float = 12
    pairing: Literal["one_to_one", "any"] = "one_to_one"

    def __post_init__(self) -> None:
        for name, least in (("lead_hours", 0), ("grace_hours", 0), ("open_hours", 1), ("merge_hours", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise SettingsError(f"{name}: expected a number of hours, got {value!r}.")
            if not least <= value <= _LONGEST:
                raise SettingsError(f"{name}: {value} is no number of hours from {least} to {_LONGEST:,}.")
        if self.pairing not in ("one_to_one", "any"):
            raise SettingsError(f"pairing: {self.pairing!r} is neither 'one_to_one' nor 'any'.")

    def __str__(self) -> str:
        return (
            f"lead {self.lead_hours:g} h, grace {self.grace_hours:g} h, open {self.open_hours:g} h, "
            f"merge {self.merge_hours:g} h, {'one to one' if self.pairing == 'one_to_one' else 'any'}"
        )
