"""Escalations from a table of labels: when a person, an incident tool or a simulator says that it really escalated."""

import polars as pl

from issue_analytics.exports.quarantine import Given, column, groups, known_project, when
from issue_analytics.exports.values import nothing, text, times
from issue_analytics.frames import PROVENANCES

__all__ = ["accept"]


def accept(raw: pl.DataFrame, given: Given) -> tuple[pl.DataFrame, list[pl.Series | None]]:
    """Read raw labels into the columns of ``Escalations``, and each row's problems."""
    project, project_problem = known_project(raw)
    group, group_problem = groups(raw, project, nothing(raw.height, pl.String), mapped=given.mapped_groups)
    begin, begin_problem = times(column(raw, "escalated_at"), "escalated_at")
    end, end_problem = times(column(raw, "ended_at"), "ended_at", required=False)
    source = text(column(raw, "provenance")).str.to_lowercase().fill_null(given.provenance)
    unknown = when(~source.is_in(PROVENANCES), f"provenance: unknown; one of {', '.join(PROVENANCES)}")
    backwards = when(end <= begin, "ended_at: not after escalated_at")
    frame = pl.DataFrame(
        {"project_id": project, "group_id": group, "escalated_at": begin, "ended_at": end, "provenance": source}
    )
    return frame, [project_problem, group_problem, begin_problem, end_problem, unknown, backwards]
