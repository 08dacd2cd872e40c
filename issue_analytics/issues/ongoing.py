"""Back to normal: what has been new, regressed or escalating for a week is ongoing, as a set operation on frames.

The same rule works on the rows of a store in ``Store.ongoing``, in one SQL statement.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.frames import KEY, FrameT
from issue_analytics.issues.lifecycle import TRANSITIONS

__all__ = ["AFTER_DAYS", "PASSING_STATES", "SOURCE", "due_for_ongoing", "transition_to_ongoing"]

AFTER_DAYS: Final = 7
"""Days after which the tracker makes such issues ongoing; in April 2023 it was 3 for new ones and 14 for others."""

PASSING_STATES: Final = tuple(str(one.before) for one in TRANSITIONS if one.by == "auto_ongoing")
"""States that become ongoing by themselves."""

SOURCE: Final = "auto_ongoing"
"""The ``source`` of the status changes that are made here."""

_TIME: Final = pl.Datetime("us", "UTC")
_NEEDED: Final = {
    "project_id": pl.Int64,
    "group_id": pl.Int64,
    "state": pl.String,
    "since": _TIME,
    "priority": pl.Int64,
    "initial_priority": pl.Int64,
}
_IF_THERE: Final = {"first_seen": _TIME, "priority_locked_at": _TIME}


def due_for_ongoing(issues: FrameT, at: datetime, days: int = AFTER_DAYS) -> FrameT:
    """Return the issues that have been new, regressed or escalating for so many days.

    Args:
        issues: one row is an issue: project_id, group_id, ``state`` (a name of the lifecycle), ``since`` (when that
            state began, UTC; null: not known, and so not due), priority and initial_priority (25, 50 or 75; null where
            not known). Where it has ``first_seen``, new issues count from that; other columns are kept. The frame that
            a store lists will do.
        at: as of when, with a time zone.
        days: how many days; those of exactly so many are due.

    Raises:
        FrameError: a column is missing or has another type.
        SettingsError: ``at`` has no time zone, or ``days`` is no number of days.

    >>> start = datetime(2026, 1, 5, tzinfo=UTC)
    >>> issues = pl.DataFrame({"project_id": [1, 1], "group_id": [7, 8], "state": ["new", "escalating"],
    ...     "since": [start, start + timedelta(days=1)], "priority": [50, 75], "initial_priority": [50, 50]})
    >>> due_for_ongoing(issues, start + timedelta(days=7))["group_id"].to_list()
    [7]
    """
    return issues.filter(_due(issues, at, days))


def transition_to_ongoing(issues: FrameT, at: datetime, days: int = AFTER_DAYS) -> tuple[FrameT, FrameT]:
    """Make those issues ongoing that are due: ``(issues, status_changes)``.

    Only issues that are in such a state at that moment are changed, so a second time changes nothing. The priority of
    an escalating issue goes back to its initial one, where that is known and no user has set the priority (a
    ``priority_locked_at`` that is not null).

    Args:
        issues: as in :func:`due_for_ongoing`.
        at: when it is done, with a time zone.
        days: how many days.

    Returns:
        All issues in the order they came in, with new state, since and priority; and contract ``StatusChanges``, by
        issue: a row of kind ``ongoing`` for each, and one of kind ``set_priority`` for each whose priority changed.
        Lazy if the input was.

    Raises:
        FrameError: a column is missing or has another type.
        SettingsError: ``at`` has no time zone, or ``days`` is no number of days.

    >>> start = datetime(2026, 1, 5, tzinfo=UTC)
    >>> issues = pl.DataFrame({"project_id": [1], "group_id": [7], "state": ["escalating"], "since": [start],
    ...     "priority": [75], "initial_priority": [50]})
    >>> after, changes = transition_to_ongoing(issues, start + timedelta(days=7))
    >>> after.select("state", "priority").rows(), changes["kind"].to_list()
    ([('ongoing', 50)], ['ongoing', 'set_priority'])
    >>> transition_to_ongoing(after, start + timedelta(days=70))[1].height
    0
    """
    due = _due(issues, at, days)
    free = (
        pl.col("priority_locked_at").is_null()
        if "priority_locked_at" in issues.collect_schema()
        else pl.lit(value=True)
    )
    back = due & (pl.col("state") == "escalating") & free & pl.col("initial_priority").is_not_null()
    moment = pl.lit(at.astimezone(UTC), dtype=_TIME)
    after = issues.with_columns(
        state=pl.when(due).then(pl.lit("ongoing")).otherwise("state"),
        since=pl.when(due).then(moment).otherwise("since"),
        priority=pl.when(back).then("initial_priority").otherwise("priority"),
    )
    changed = back & pl.col("initial_priority").ne_missing(pl.col("priority"))
    made = [
        issues.filter(which).select(
            *KEY,
            at=moment,
            kind=pl.lit(kind),
            cause=pl.lit(None, dtype=pl.String),
            forecast=pl.lit(None, dtype=pl.Int64),
            source=pl.lit(SOURCE),
        )
        for which, kind in ((due, "ongoing"), (changed, "set_priority"))
    ]
    changes = pl.concat(made).sort(*KEY, "kind")
    return after, changes


def _due(issues: FrameT, at: datetime, days: int) -> pl.Expr:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise SettingsError(f"at: expected a datetime with a time zone, got {at!r}.")
    if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= 10_000:
        raise SettingsError(f"days: {days!r} is no number of days from 0 to 10,000.")
    found = issues.collect_schema()
    if missing := [name for name in _NEEDED if name not in found]:
        raise FrameError(f"issues: no column {', '.join(missing)}. Found: {', '.join(found) or 'no column at all'}.")
    types = {**_NEEDED, **{name: dtype for name, dtype in _IF_THERE.items() if name in found}}
    if wrong := [f"{name} is {found[name]}, not {dtype}" for name, dtype in types.items() if found[name] != dtype]:
        raise FrameError(f"issues: {'; '.join(wrong)}. Cast with .cast(...) first.")
    since = pl.col("since")
    if "first_seen" in found:
        since = pl.when(pl.col("state") == "new").then(pl.coalesce("first_seen", since)).otherwise(since)
    due = pl.col("state").is_in(PASSING_STATES) & (since <= at.astimezone(UTC) - timedelta(days=days))
    return due.fill_null(value=False)
