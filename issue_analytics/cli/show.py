"""What the command line prints: lines, tables of 80 columns, JSON; text from exports never reaches a terminal raw."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from issue_analytics.backtest import BacktestResult
    from issue_analytics.dataset import Dataset

__all__ = ["plain", "say", "say_json", "show_dataset", "show_results", "table"]


def plain(text: str) -> str:
    """Text from files without what a terminal would obey."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def say(text: str = "") -> None:
    """Print a line."""
    sys.stdout.write(plain(text) + "\n")


def say_json(value: object) -> None:
    """Print one JSON object."""
    sys.stdout.write(json.dumps(value, indent=1, default=str, allow_nan=False) + "\n")


def table(rows: Sequence[dict[str, Any]]) -> None:
    """A table that fits 80 columns; its cells are text, never markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(rows[0]):
        made.add_column(name, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*(Text(plain(str(cell))) for cell in row.values()))
    Console().print(made)


def show_dataset(dataset: "Dataset") -> None:
    """Print what became of each file, the rows by kind, and the rejects by reason."""
    for path, outcome in dataset.outcomes:
        say(f"  {path}: {outcome}")
    manifest = dataset.manifest
    totals = manifest["totals"]
    rows = [{"rows": kind, **{name: f"{number:,}" for name, number in tally.items()}} for kind, tally in totals.items()]
    if rows:
        table(rows)
    else:
        say("no rows")
    if manifest["rejects"]:
        say("\nrejected, by reason:")
        table([{"rows": f"{number:,}", "reason": why} for why, number in manifest["rejects"].items()])
    span = manifest["span"]
    if span["first_hour"]:
        say(f"\nhours {span['first_hour']} to {span['last_hour']}")
    say(f"dataset: {dataset.path}")


def show_results(results: "Sequence[BacktestResult]", truth: str) -> None:
    """Print a row of scores per setting, or of burden where nothing is known to be true."""
    import polars as pl

    from issue_analytics.counts import span

    first = results[0]
    exposed = first.groups["exposed_hours"].sum() / 168
    say(
        f"{first.groups.height:,} issues, {exposed:,.0f} exposed series-weeks; truth: {truth}; "
        f"limits {first.policy.schedule}, {first.buckets} buckets"
    )
    rows: list[dict[str, str]] = []
    for result in results:
        score = result.summary().row(0, named=True)
        row = {
            "setting": result.thresholds.name or "custom",
            "digest": score["digest"],
            "alerts": f"{score['alerts']:,}",
        }
        if result.labelled:
            row |= {
                "caught": f"{score['events_caught']:,} of {score['events']:,}",
                "recall": _share(score["recall"]),
                "precision": _share(score["precision"]),
                "false/week": _number(score["false_alarms_per_series_week"], 4),
                "delay": _number(score["median_delay_hours"], 1),
            }
        else:
            alerting = result.groups.filter(pl.col("alerts") > 0).height
            row |= {
                "issues alerting": f"{alerting:,}",
                "hours over": f"{result.crossings.height:,}",
                "alerts/week": _number(score["alerts"] / exposed if exposed else None, 4),
            }
        rows.append(row)
    table(rows)
    if first.labelled:
        say("false/week: false alarms per quiet series-week; delay: median hours, n/a if fewer than half are caught")
    else:
        say("alerts/week: per exposed series-week; whether they are right cannot be told without a truth")
    same = [row["setting"] for row, result in zip(rows[1:], results[1:], strict=True) if _same_alerts(first, result)]
    if same:
        inert = first.groups.select(pl.sum_horizontal("days_new", "days_none").sum()).item()
        days = first.groups.select(pl.sum_horizontal(pl.col("^days_.*$")).sum()).item()
        say(
            f"note: {' and '.join(same)} fired in exactly the same hours as {rows[0]['setting']}; no threshold acts on "
            f"the {inert / days:.1%} of group-days whose rule is new or none"
        )
    start, end = span(first.counts) or (None, None)
    if start and end and first.counts["hour"].dt.date().n_unique() < 0.1 * ((end - start).days + 1):
        say(f"warning: most days from {start:%Y-%m-%d} to {end:%Y-%m-%d} have no counts; is a clock wrong?")
    if (first.matches["provenance"] == "algorithm").any():
        say("warning: the truth is the algorithm's own flag; recall of the setting that ran is circular")


def _same_alerts(one: "BacktestResult", other: "BacktestResult") -> bool:
    hours = ("project_id", "group_id", "hour")
    return one.crossings.select(hours).equals(other.crossings.select(hours))


def _share(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.1%}"


def _number(value: float | None, digits: int) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"
