"""Messages that changed, after the fact, which events count for a group."""

import polars as pl

from issue_analytics.exports.quarantine import Given, column, groups, known_project, when
from issue_analytics.exports.values import nothing, text, times, uuids

__all__ = ["accept"]


def accept(raw: pl.DataFrame, given: Given) -> tuple[pl.DataFrame, list[pl.Series | None]]:
    """Read raw corrections into the columns of ``Corrections``, and each row's problems.

    Some messages carry no time; what was merged or removed is known all the same.
    """
    project, project_problem = known_project(raw)
    event = uuids(column(raw, "event_id"))
    group, group_problem = groups(raw, project, nothing(raw.height, pl.String), mapped=given.mapped_groups)
    if group_problem is not None:
        # an event alone says enough: its group is that of its occurrence
        named = text(column(raw, "group_id")).is_not_null()
        neither = pl.when(event.is_null()).then(pl.lit("group_id: missing, and no event_id to stand for it"))
        group_problem = pl.select(pl.when(named).then(group_problem).otherwise(neither))[:, 0]
    at, at_problem = times(column(raw, "at"), "at", required=False)
    kind = text(column(raw, "kind")).str.to_lowercase()
    nameless = when(kind.is_null(), "kind: missing; what was corrected?")
    frame = pl.DataFrame({"project_id": project, "group_id": group, "event_id": event, "at": at, "kind": kind})
    return frame, [project_problem, group_problem, at_problem, nameless]
