"""What a report says of scores: rows for tables of headline, delay, burden, differences, strata."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from issue_analytics.reporting.text import number, percent, share, signed

if TYPE_CHECKING:
    from issue_analytics.backtest.comparison import Comparison
    from issue_analytics.backtest.result import BacktestResult

__all__ = [
    "burden_rows",
    "calibration_sentences",
    "change_rows",
    "delay_rows",
    "difference_rows",
    "exceedance_rows",
    "exposed_weeks",
    "false_alarm_rows",
    "headline_rows",
    "notes",
    "provenance_rows",
    "stratum_rows",
]

Row = dict[str, str]

_RATE: Final = "false alarms per quiet series-week"
_FALSE_ALARMS: Final = ("false alarms", _RATE, "95 %  ", "groups alike  ")


def exposed_weeks() -> pl.Expr:
    """Weeks in which one group was watched, escalations or not."""
    return (pl.col("exposed_hours").sum() / 168).alias("exposed_weeks")


def headline_rows(names: Sequence[str], results: "Sequence[BacktestResult]", *, events: bool) -> list[Row]:
    """One row per setting: each score with its n, its interval, and the mean of the groups' own scores."""
    rows = []
    for name, result in zip(names, results, strict=True):
        row = result.summary().row(0, named=True)
        exposed = result.groups.select(exposed_weeks()).item()
        cells = _headline(row, exposed, events=events)
        rows.append({"setting": name, **{key: cell for key, cell in cells.items() if key not in _FALSE_ALARMS}})
    return rows


def false_alarm_rows(names: Sequence[str], results: "Sequence[BacktestResult]") -> list[Row]:
    """One row per setting: false alarms, their rate, how sure it is, and if they came independently of each other."""
    from issue_analytics.scores import FALSE_ALARMS_PER_SERIES_WEEK

    rows = []
    for name, result in zip(names, results, strict=True):
        row = result.summary().row(0, named=True)
        cells = {"setting": name, **{key: _headline(row, 0, events=True)[key] for key in _FALSE_ALARMS}}
        ends = _interval(row, f"{FALSE_ALARMS_PER_SERIES_WEEK.name}_poisson")
        rows.append(
            cells | {"95 % if independent (exact Poisson)": ends, "quiet series-weeks": number(row["series_weeks"], 1)}
        )
    return rows


def stratum_rows(column: str, label: str, result: "BacktestResult", *, events: bool) -> list[Row]:
    """One row per stratum of a result's groups, in their order; those of few escalations are marked."""
    exposed = dict(result.groups.group_by(column).agg(exposed_weeks()).iter_rows())
    rows = []
    for row in result.summary_by(column).iter_rows(named=True):
        value = row[column]
        few = " *" if events and row["too_few"] else ""
        cells = _headline(row, exposed.get(value, 0.0), events=events)
        rows.append(
            {
                label: ("not known" if value is None else str(value)) + few,
                "groups": number(row["groups"]),
                **{name: cell for name, cell in cells.items() if not name.startswith("groups alike")},
            }
        )
    return rows


def provenance_rows(result: "BacktestResult") -> list[Row]:
    """One row per kind of label among the judged escalations; of alerts nothing can be said by kind."""
    return [
        {
            "labelled by": str(row["provenance"]) + (" *" if row["too_few"] else ""),
            "recall": share(row["events_caught"], row["events"]),
            "95 %": _interval(row, "recall", of=100),
            "groups alike": percent(row["recall_macro"]),
            "median delay, hours": number(row["median_delay_hours"]),
            "mean delay to 24 h, hours": number(row["mean_delay_hours"]),
        }
        for row in result.summary_by("provenance").iter_rows(named=True)
    ]


def _headline(row: Mapping[str, Any], exposed: float, *, events: bool) -> Row:
    if not events:
        return {
            "alerts": number(row["alerts"]),
            "exposed series-weeks": number(exposed, 1),
            "alerts per exposed series-week": number(row["alerts"] / exposed if exposed else None),
        }
    false = row["false_alarms"]
    # duplicates and unjudged alerts are neither catches nor false alarms
    counted = None if false is None else row["alerts"] - row["duplicates"] - row["unjudged"]
    # a column's name is its heading, so those that are alike end in spaces, which no page shows
    return {
        "recall": share(row["events_caught"], row["events"]),
        "95 %": _interval(row, "recall", of=100),
        "groups alike": percent(row["recall_macro"]),
        "precision": share(None if counted is None or false is None else counted - false, counted),
        "95 % ": _interval(row, "precision", of=100),
        "groups alike ": percent(row["precision_macro"]),
        "false alarms": number(false),
        _RATE: number(row["false_alarms_per_series_week"]),
        "95 %  ": _interval(row, "false_alarms_per_series_week"),
        "groups alike  ": number(row["false_alarms_per_series_week_macro"]),
    }


def delay_rows(names: Sequence[str], results: "Sequence[BacktestResult]") -> list[Row]:
    """One row per setting: how late escalations are caught, and how soon alerts stop after them."""
    rows = []
    for name, result in zip(names, results, strict=True):
        row = result.summary().row(0, named=True)
        rows.append(
            {
                "setting": name,
                "median delay, hours": number(row["median_delay_hours"]),
                "95 %": _interval(row, "median_delay_hours"),
                "mean delay to 24 h, hours": number(row["mean_delay_hours"]),
                "95 % ": _interval(row, "mean_delay_hours"),
                **{f"caught within {hours} h": percent(row[f"caught_within_{hours}h"]) for hours in (1, 3, 6, 24)},
                "median time to reset, hours": number(row["median_reset_hours"]),
            }
        )
    return rows


def burden_rows(names: Sequence[str], results: "Sequence[BacktestResult]") -> list[Row]:
    """One row per setting: how many alerts people get, and on their worst day."""
    from issue_analytics.scores import burden, worst_days

    rows = []
    for name, result in zip(names, results, strict=True):
        row = result.summary().row(0, named=True)
        worst = worst_days(burden(result.alerts, result.exposure)).head(1)
        told = "none"
        if worst.height:
            day = worst.row(0, named=True)
            told = f"{number(day['alerts'])}, project {day['project_id']}, {day['date']:%Y-%m-%d}"
        rows.append(
            {
                "setting": name,
                "alerts": number(row["alerts"]),
                "duplicates": number(row["duplicates"]),
                "unjudged": number(row["unjudged"]),
                "alerts per project and day": number(row["alerts_per_project_day"]),
                "worst day": told,
            }
        )
    return rows


_SCORES: Final = {
    "precision": "precision",
    "recall": "recall",
    "false_alarms_per_series_week": _RATE,
    "mean_delay_hours": "mean delay to 24 h, hours",
    "alerts_per_series_week": "alerts per exposed series-week",
}


def difference_rows(names: Sequence[str], comparisons: "Sequence[Comparison]") -> list[Row]:
    """One row per score and setting but the first: how it differs from the first, how sure that is."""
    rows = []
    for name, found in zip(names, comparisons, strict=True):
        for row in found.scores.iter_rows(named=True):
            if row["score"].endswith("_macro"):
                continue
            points = row["score"] in ("precision", "recall")
            low, high = row["low"], row["high"]
            ends = f"{signed(low, 0, points=points)} to {signed(high, 0, points=points)}"
            rows.append(
                {
                    "setting": name,
                    "score": _SCORES[row["score"]],
                    "difference": signed(row["second"], row["first"], points=points),
                    "95 %": "n/a" if low is None else ends,
                    "p": _p(row["p"]),
                    "p, adjusted": _p(row["p_holm"]),
                    "groups that bear on it": number(row["clusters"]),
                    "note": row["note"] or "",
                }
            )
    return rows


def change_rows(names: Sequence[str], comparisons: "Sequence[Comparison]") -> list[Row]:
    """One row per setting but the first: escalations and alerts gained and lost."""
    rows = []
    for name, found in zip(names, comparisons, strict=True):
        counts = {row["change"]: row for row in found.changes().to_dicts()}
        rows.append(
            {
                "setting": name,
                **{f"escalations {change}": number(counts[change]["events"]) for change in ("gained", "lost", "both")},
                "caught by neither": number(counts["neither"]["events"]),
                "p (McNemar)": _p(found.mcnemar),
                **{
                    f"alerts {change}": f"{number(counts[change]['alerts'])} ({number(counts[change]['false'])} false)"
                    for change in ("gained", "lost")
                },
            }
        )
    return rows


def exceedance_rows(days: pl.DataFrame, column: str, label: str) -> list[Row]:
    """One row per stratum: how often its limits were exceeded, how sure that is, and the level that comes to."""
    from issue_analytics.scores import exceedance

    return [
        {
            label: "not known" if row[column] is None else str(row[column]),
            "groups": number(row["groups"]),
            "hours under a limit": number(row["hours"]),
            "over it": number(row["crossings"]),
            "per week under a limit": number(row["crossings_per_series_week"]),
            "95 %": _per_week(row["exceedance_low"], row["exceedance_high"]),
            "implied level": "n/a"
            if row["implied_level"] is None
            else f"{row['implied_level']:.4%}".replace("%", " %"),
            "design effect": number(row["design_effect"]),
        }
        for row in exceedance(days, column).iter_rows(named=True)
        if row["hours"]
    ]


def calibration_sentences(result: "BacktestResult", days: pl.DataFrame) -> list[str]:
    """Whether strata agree, whether crossings come in runs, how steady limits are, what spikes do to them."""
    from issue_analytics.counts import HOUR
    from issue_analytics.scores import (
        clustering,
        homogeneity,
        inflation,
        inflation_summary,
        limit_stability,
        transitions,
    )

    lines = []
    for column, what in (("volume", "volumes"), ("rule", "branches")):
        row = homogeneity(days, column).row(0, named=True)
        if row["p"] is not None:
            lines.append(
                f"Over {number(row['strata'])} {what}, limits are exceeded "
                f"{'not equally often' if row['p'] < 0.05 else 'about equally often, as far as these data tell'} "
                f"(p {_p(row['p'])}, groups as clusters; {_p(row['pearson_p'])} if hours were independent)."
            )
    pairs = clustering(transitions(result.exposure, result.limits, result.crossings)).row(0, named=True)
    if pairs["after_crossing"] is not None and pairs["after_quiet"] is not None:
        after, quiet = percent(pairs["after_crossing"]), percent(pairs["after_quiet"])
        lines.append(
            f"An hour over the limit is followed by another in {after} of cases, a quiet hour in {quiet} (p of no "
            f"connection {_p(pairs['p'])}, Mantel and Haenszel over groups)."
        )
    stable = limit_stability(result.limits)
    ratio, largest = stable["median_ratio"].median(), stable["largest_ratio"].max()
    if isinstance(ratio, float) and isinstance(largest, float):
        changed, days_beside = int(stable["branches_changed"].sum()), int(stable["day_pairs"].sum())
        lines.append(
            f"From one day to the next, the limit of the median group changes by a factor of {number(ratio)}, and of "
            f"any group by {number(largest)} at most; the branch changes on {share(changed, days_beside)} of days."
        )
    spikes = result.alerts.select("project_id", "group_id", start="hour", end=pl.col("last_hour") + HOUR)
    if spikes.height and not result.policy.lifecycle:
        raised = inflation_summary(
            inflation(result.limits, result.counts, spikes, thresholds=result.thresholds, buckets=result.buckets)
        ).row(0, named=True)
        if raised["days"]:
            lines.append(
                "A week that holds an alert raises the limits made from it: "
                f"{share(raised['inflated_days'], raised['days'])} of such group-days have a higher limit than without "
                f"the alert's hours, by a factor of {number(raised['median_inflation'])} in the median and "
                f"{number(raised['largest_inflation'])} at most."
            )
    return lines


def notes(names: Sequence[str], results: "Sequence[BacktestResult]") -> list[str]:
    """What to be careful of in the headline, in sentences."""
    lines = []
    for name, result in zip(names, results, strict=True):
        note = result.summary()["note"].item()
        if note:
            lines.append(f"{name}: {note}.")
    return lines


def _interval(row: Mapping[str, Any], name: str, *, of: float = 1) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if low is None and high is None:
        return "n/a"
    if of == 1:
        return f"{number(low)} to {number(high)}"
    return f"{of * low:.1f} to {of * high:.1f}"


def _per_week(low: float | None, high: float | None) -> str:
    return "n/a" if low is None or high is None else f"{number(168 * low)} to {number(168 * high)}"


def _p(value: float | None) -> str:
    return "n/a" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
