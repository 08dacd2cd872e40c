"""Status changes: activities of an issue, ``status_change`` payloads, and tables in our own columns."""

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from issue_analytics.exports.quarantine import column, groups, known_project, when
from issue_analytics.exports.values import fingerprints, integers, text, times
from issue_analytics.frames import CAUSES

__all__ = ["accept", "from_activity"]

Problems = list[pl.Series | None]

_KINDS: Final = {
    "auto_set_ongoing": "ongoing",
    "set_regression": "regressed",
    "set_escalating": "escalating",
    "set_unresolved": "unresolved",
    "merge": "merged",
    "unmerge_source": "unmerged",
    "unmerge_destination": "unmerged",
}
"""Activity types to kinds; ``set_ignored`` depends on its data, ``set_resolved...`` is one kind, others stay."""

_CONDITIONS: Final = ("ignorecount", "ignoreduration", "ignoreuntil", "ignoreusercount", "ignoreuserwindow")

_CODES: Final = {
    (0, 2): "escalating",
    (0, 3): "ongoing",
    (0, 6): "regressed",
    (0, 7): "new",
    (2, 1): "archived_until_escalating",
    (2, 4): "archived_until_condition_met",
    (2, 5): "archived_forever",
}
"""Codes of status and substatus; an early draft of 2023 numbered some differently, which integers cannot tell."""

_STATUS: Final = {0: "unresolved", 1: "resolved", 2: "ignored", 3: "deleted", 4: "deleted", 5: "merged"}


def _forecast(data: Mapping[str, Any]) -> int | None:
    value = data.get("forecast")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        return None
    return int(value)


def from_activity(activity: Mapping[str, Any]) -> dict[str, str | None]:
    """Return kind, cause, forecast and time of one activity of an issue, as text for :func:`accept`.

    Keys in snake_case and in camelCase are one; ``data`` may be null. An unknown type is kept as the kind.

    >>> from_activity({"type": "set_escalating", "data": {"forecast": 42}, "dateCreated": "2026-01-05T09:00:00Z"})
    {'at': '2026-01-05T09:00:00Z', 'kind': 'escalating', 'cause': 'forecast', 'forecast': '42', 'source': 'activity'}
    """
    type_ = str(activity.get("type") or "").lower() or None
    data = activity.get("data")
    data = {key.replace("_", "").lower(): value for key, value in data.items()} if isinstance(data, dict) else {}
    kind, cause = _KINDS.get(type_ or "", type_), None
    forecast = _forecast(data)
    if type_ == "set_ignored":
        if data.get("ignoreuntilescalating"):
            kind = "archived_until_escalating"
        elif any(data.get(condition) for condition in _CONDITIONS):
            kind = "archived_until_condition_met"
        else:
            kind = "archived_forever"
    elif type_ is not None and type_.startswith("set_resolved"):
        kind = "resolved"
    elif type_ == "set_unresolved" and forecast is not None:
        kind = "escalating"  # before set_escalating existed, spring 2023
    if kind == "escalating":
        if forecast is not None:
            cause = "forecast"
        elif data.get("expiredsnooze") is not None:
            cause = "condition"
        else:
            cause = "velocity" if data.get("eventid") is not None else "platform"
    at = activity.get("dateCreated", activity.get("date_created"))
    return {
        "at": None if at is None else str(at),
        "kind": kind,
        "cause": cause,
        "forecast": None if forecast is None else str(forecast),
        "source": "activity",
    }


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


def accept(raw: pl.DataFrame, *, mapped_groups: bool = False) -> tuple[pl.DataFrame, Problems]:
    """Read raw status changes into the columns of ``StatusChanges``, and each row's problems.

    ``mapped_groups`` says that ``group_id`` was named by the user and may be text.
    """
    project, project_problem = known_project(raw)
    prints = fingerprints(column(raw, "fingerprint")).list.first()
    group, group_problem = groups(raw, project, prints, mapped=mapped_groups)
    payload = column(raw, "new_status").is_not_null()
    status, status_problem = integers(column(raw, "new_status"), "new_status", required=False)
    substatus, _ = integers(column(raw, "new_substatus"), "new_substatus", required=False)
    kind = text(column(raw, "kind")).str.to_lowercase()
    cause = text(column(raw, "cause")).str.to_lowercase()
    source = text(column(raw, "source"))
    if payload.any():
        kind = pl.select(pl.when(payload & kind.is_null()).then(_from_codes(status, substatus)).otherwise(kind))[:, 0]
        # a message sets the status from outside: it is no verdict of the forecast
        cause = pl.select(
            pl.when(payload & (kind == "escalating") & cause.is_null()).then(pl.lit("platform")).otherwise(cause)
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
