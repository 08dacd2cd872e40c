"""Hourly counts: rows of the Snuba query behind the forecast, and any table of group, hour and count."""

import polars as pl

from issue_analytics.exports.quarantine import Given, column, groups, known_project, when
from issue_analytics.exports.values import integers, text, times

__all__ = ["DAILY", "MOST", "accept", "is_daily"]

MOST = 10**15
"""The contract's limit: sums and sums of squares over a week must stay whole numbers."""

DAILY = (
    "daily counts: every stamp is a midnight (UTC). Limits are events per hour; export the counts with an interval of "
    "one hour"
)


def accept(raw: pl.DataFrame, given: Given) -> tuple[pl.DataFrame, list[pl.Series | None]]:
    """Read raw counts into the columns of ``HourlyCounts``, and each row's problems.

    Where an export names a group by a text only, such as a short id, ``group_key`` is that text.
    """
    project, project_problem = known_project(raw)
    group, group_problem = groups(raw, project, text(column(raw, "group_key")), mapped=given.mapped_groups)
    hour, hour_problem = times(column(raw, "hour"), "hour")
    inside = when(hour != hour.dt.truncate("1h"), "hour: inside an hour (UTC); hourly counts need the start of an hour")
    count, count_problem = integers(column(raw, "count"), "count")
    absurd = when(count > MOST, f"count: above {MOST:,}; no hour holds so many")
    frame = pl.DataFrame({"project_id": project, "group_id": group, "hour": hour, "count": count})
    return frame, [project_problem, group_problem, hour_problem, inside, count_problem, absurd]


def is_daily(hours: pl.Series) -> bool:
    """Whether all hours are midnights, of three days or more.

    >>> from datetime import UTC, datetime
    >>> is_daily(pl.Series([datetime(2026, 1, day, tzinfo=UTC) for day in (5, 6, 7)]))
    True
    """
    return bool((hours.dt.hour() == 0).all()) and hours.n_unique() >= 3
