"""The single cases a report shows: the worst misses, the worst false alarms, the biggest storms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from issue_analytics.frames import KEY
from issue_analytics.reporting.look import Look, look
from issue_analytics.reporting.text import number, percent, stamp

if TYPE_CHECKING:
    from issue_analytics.backtest.result import BacktestResult

__all__ = ["Case", "CaseList", "case_lists", "false_alarms", "look_at", "misses", "narrowed", "storms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One group at one moment, and a sentence that says why it is shown."""

    project_id: int
    group_id: int
    at: datetime
    count: int
    limit: int | None
    rule: str
    why: str
    headline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseList:
    """A section of cases: ``rule`` says how many there are in all, and by what they were ranked."""

    key: str
    heading: str
    rule: str
    cases: list[Case]


def case_lists(result: "BacktestResult", name: str, most: int, *, events: bool) -> list[CaseList]:
    """Return the worst cases of a setting called ``name``, at most ``most`` of each kind.

    Misses and false alarms where escalations are known, else the biggest storms.
    """
    by_group = "the worst of each group comes before any group's second."
    by_count = f" Ranked by the count divided by the limit, then by the count; {by_group}"
    by_peak = (
        " Ranked by the peak divided by the limit in force at the peak (no limit counts as 1), then by the peak, the "
        f"branches of the limit in turn; {by_group}"
    )
    if not events:
        biggest = storms(result)
        alerts = f"Hours over the limit of {name}, in {number(result.alerts.height)} alerts"
        return [
            CaseList(
                key="storms",
                heading="Biggest storms",
                rule=f"{alerts}: {_how_many(biggest, most, by_count)}",
                cases=[fired_case(row, kind="Fired") for row in biggest.head(most).iter_rows(named=True)],
            )
        ]
    missed, false = misses(result), false_alarms(result)
    return [
        CaseList(
            key="misses",
            heading="Worst misses",
            rule=f"Escalations that {name} did not catch: {_how_many(missed, most, by_peak)}{_by_branch(missed)}",
            cases=[missed_case(row) for row in missed.head(most).iter_rows(named=True)],
        ),
        CaseList(
            key="false",
            heading="Worst false alarms",
            rule=f"Alerts of {name} that no known escalation explains: {_how_many(false, most, by_count)}",
            cases=[fired_case(row, kind="False alarm") for row in false.head(most).iter_rows(named=True)],
        ),
    ]


def _how_many(frame: pl.DataFrame, most: int, ranked: str) -> str:
    if frame.is_empty():
        return "none."
    shown = "" if frame.height <= most else f", the worst {most} are shown" if most else ", none is shown"
    return f"{number(frame.height)} in all{shown}.{ranked if most else ''}"


def _by_branch(missed: pl.DataFrame) -> str:
    if missed.is_empty():
        return ""
    branches = missed["rule"].value_counts(sort=True).rows()
    return " By the branch of the limit: " + ", ".join(f"{rule} {number(count)}" for rule, count in branches) + "."


def misses(result: "BacktestResult") -> pl.DataFrame:
    """Return the escalations that no alert caught, worst first: one row per escalation, as in ``Matches``.

    Worst is what came nearest to firing or passed it: the peak divided by the limit in force at the peak (no limit, and
    a limit of 0, count as 1), then the peak. Each group's worst comes before any group's second worst, and the branches
    take turns, because misses of one branch have one cause.
    """
    missed = result.matches.filter(pl.col("caught_hour").is_null())
    ranked = _worst_first(missed, pl.col("peak") / pl.max_horizontal("limit", 1), "peak", "escalated_at")
    return ranked.sort(pl.int_range(pl.len()).over("rule"), maintain_order=True)


def false_alarms(result: "BacktestResult") -> pl.DataFrame:
    """Return the alerts that no escalation explains, worst first: one row per alert.

    Worst is the highest count relative to the limit, then the highest count. Each group's worst comes before any
    group's second worst.
    """
    false = result.alerts.filter(pl.col("verdict") == "false")
    return _worst_first(false, pl.col("count") / pl.col("limit"), "count", "hour")


def storms(result: "BacktestResult") -> pl.DataFrame:
    """Return all crossings, ranked as :func:`false_alarms` are: all there is to see where no escalation is known."""
    return _worst_first(result.crossings, pl.col("count") / pl.col("limit"), "count", "hour")


def _worst_first(frame: pl.DataFrame, ratio: pl.Expr, size: str, when: str) -> pl.DataFrame:
    ranked = frame.with_columns(ratio=ratio).sort(
        "ratio", size, *KEY, when, descending=[True, True, False, False, False]
    )
    return ranked.with_columns(nth=pl.int_range(pl.len()).over(*KEY)).sort("nth", maintain_order=True).drop("nth")


def missed_case(row: Mapping[str, Any]) -> Case:
    """Tell why an escalation was missed."""
    peak, limit = row["peak"], row["limit"]
    at = row["peak_hour"] or row["escalated_at"]
    if peak == 0:
        why = f"The escalation of {stamp(row['escalated_at'])} has no occurrence in the counts: no limit can catch it."
    elif limit is None or limit == 0:
        why = f"The busiest hour had {number(peak)} occurrences, at {stamp(at)}; no limit that could fire was in force."
    elif peak > limit:
        why = (
            f"The busiest hour, {number(peak)} occurrences at {stamp(at)}, was over its limit of {number(limit)}, "
            "but no alert began within the time that counts as catching it."
        )
    else:
        needed = percent(peak / (limit + 1))
        why = (
            f"The busiest hour, {number(peak)} occurrences at {stamp(at)}, stayed within the limit of {number(limit)}: "
            f"{needed} of the {number(limit + 1)} that would have fired."
        )
    against = "no limit" if limit is None else f"limit {number(limit)}"
    return Case(
        project_id=row["project_id"],
        group_id=row["group_id"],
        at=at,
        count=peak,
        limit=limit,
        rule=row["rule"],
        why=why,
        headline=f"Missed: peak {number(peak)}, {against} at {stamp(at)}",
    )


def fired_case(row: Mapping[str, Any], *, kind: str) -> Case:
    """Tell why an alert fired; ``kind`` is what it is called in the headline."""
    times = number(row["count"] / row["limit"])
    return Case(
        project_id=row["project_id"],
        group_id=row["group_id"],
        at=row["hour"],
        count=row["count"],
        limit=row["limit"],
        rule=row["rule"],
        why=(
            f"{number(row['count'])} occurrences in the hour from {stamp(row['hour'])}, {times} times the limit of "
            f"{number(row['limit'])}."
        ),
        headline=f"{kind}: {number(row['count'])} > {number(row['limit'])} at {stamp(row['hour'])}",
    )


def look_at(result: "BacktestResult", case: Case) -> Look:
    """Gather the two weeks around a case, with the alerts of the backtest that judged it."""
    return look(
        result.counts,
        result.limits,
        group_id=case.group_id,
        project_id=case.project_id,
        at=case.at,
        alerts=result.crossings,
        escalations=result.escalations,
        focus=True,
    )


def narrowed(result: "BacktestResult", cases: Sequence[Case]) -> "BacktestResult":
    """Return the result with the frames a look reads cut down to the groups of the cases."""
    groups = [(case.project_id, case.group_id) for case in cases]
    keys = pl.DataFrame(groups, schema={"project_id": pl.Int64, "group_id": pl.Int64}, orient="row").unique()
    names = ("counts", "limits", "crossings", "escalations")
    return replace(result, **{name: getattr(result, name).join(keys, on=KEY, how="semi") for name in names})
