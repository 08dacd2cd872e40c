"""Status changes: activities of issues, messages and snapshots with codes, and tables in our own columns."""

from typing import Final

import polars as pl

from issue_analytics.exports.quarantine import Given, column, groups, known_project, when
from issue_analytics.exports.values import fingerprints, integers, text, times
from issue_analytics.frames import CAUSES

__all__ = ["accept"]

Problems = list[pl.Series | None]

_CODES: Final = {
    (0, 2): "escalating",
    (0, 3): "ongoing",
    (0, 6): "regressed",
    (0, 7): "new",
    (2, 1): "archived_until_escalating",
    (2, 4): "archived_until_condition_met",
    (2, 5): "archived_forever",
    (0, 4): "regressed",
    (0, 5): "new",
    (2, 6): "archived_forever",
    (2, 7): "archived_until_condition_met",
}
"""Codes of status and substatus. The last four are those of a draft of early 2023, which numbered substatus otherwise:
such a number alone is ambiguous, but no status has both of its meanings."""

_STATUS: Final = {
    0: "unresolved", 1: "resolved", 2: "ignored", 3: "deleted", 4: "deleted", 5: "merged", 6: "reprocessing",
}  # fmt: skip


def _from_codes(status: pl.Series, substatus: pl.Series) -> pl.Series:
    pairs = pl.DataFrame({"status": status, "substatus": substatus})
    table = pairs.unique().with_columns(
        pl.struct("status", "substatus")
        .map_elements(
            lambda pair: (
                _CODES.get((pair["status"], pair["substatus"]))
                or _STATUS.get(pair["status"])
                or f"status_{pair['status']}"
            ),
            return_dtype=pl.String,
        )
        .alias("kind")
    )
    joined = pairs.join(table, on=["status", "substatus"], how="left", nulls_equal=True, maintain_order="left")
    return joined["kind"]


def accept(raw: pl.DataFrame, given: Given) -> tuple[pl.DataFrame, Problems]:
    """Read raw status changes into the columns of ``StatusChanges``, and each row's problems."""
    project, project_problem = known_project(raw)
    prints = fingerprints(column(raw, "fingerprint")).list.first()
    group, group_problem = groups(raw, project, prints, mapped=given.mapped_groups)
    payload = column(raw, "new_status").is_not_null()
    status, status_problem = integers(column(raw, "new_status"), "new_status", required=False)
    substatus, _ = integers(column(raw, "new_substatus"), "new_substatus", required=False)
    kind = text(column(raw, "kind")).str.to_lowercase()
    cause = text(column(raw, "cause")).str.to_lowercase()
    source = text(column(raw, "source"))
    if payload.any():
        kind = pl.select(pl.when(payload & kind.is_null()).then(_from_codes(status, substatus)).otherwise(kind))[:, 0]
        # a message sets the status from outside: it is no verdict of the forecast
        message = payload & source.is_null()
        cause = pl.select(
            pl.when(message & (kind == "escalating") & cause.is_null()).then(pl.lit("platform")).otherwise(cause)
        )[:, 0]
        source = pl.select(pl.when(payload & source.is_null()).then(pl.lit("status_change")).otherwise(source))[:, 0]
    at, at_problem = times(column(raw, "at"), "at")
    forecast, forecast_problem = integers(column(raw, "forecast"), "forecast", required=False)
    frame = pl.DataFrame(
        {
            "project_id": project,
            "group_id": group,
            "at": at,
            "kind": kind,
            "cause": cause,
            "forecast": forecast,
            "source": source.fill_null("table"),
        }
    )
    nameless = when(kind.is_null(), "kind: missing; what did the status become?")
    strange = when(~cause.is_in(CAUSES), f"cause: unknown; one of {', '.join(CAUSES)}, or none")
    return frame, [
        project_problem, group_problem, at_problem, status_problem, forecast_problem, nameless, strange
    ]  # fmt: skip
