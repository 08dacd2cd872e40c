"""Limits that the tracker itself had stored, day by day."""

import polars as pl

from issue_analytics.exports.kinds.hourly_counts import MOST
from issue_analytics.exports.quarantine import Given, column, groups, known_project, when
from issue_analytics.exports.values import integers, nothing, text, times

__all__ = ["accept"]


def _dates(values: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    read = values if values.dtype == pl.Date else text(values).str.to_date("%Y-%m-%d", strict=False)
    return read, when(read.is_null(), "date: not a day such as 2026-01-05")


def accept(raw: pl.DataFrame, given: Given) -> tuple[pl.DataFrame, list[pl.Series | None]]:
    """Read raw forecasts into the columns of ``RecordedForecasts``, and each row's problems."""
    project, project_problem = known_project(raw)
    group, group_problem = groups(raw, project, nothing(raw.height, pl.String), mapped=given.mapped_groups)
    made, made_problem = times(column(raw, "made_at"), "made_at")
    date, date_problem = _dates(column(raw, "date"))
    limit, limit_problem = integers(column(raw, "limit"), "limit")
    absurd = when(limit > MOST, f"limit: above {MOST:,}; no hour holds so many")
    frame = pl.DataFrame({"project_id": project, "group_id": group, "date": date, "limit": limit, "made_at": made})
    return frame, [project_problem, group_problem, date_problem, made_problem, limit_problem, absurd]
