"""What the command line prints: lines, tables of 80 columns, JSON; text from exports never reaches a terminal raw."""

import json
import os
import sys
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import polars as pl

    from issue_analytics.backtest import Replay
    from issue_analytics.backtest.parity import Parity
    from issue_analytics.coverage import Coverage
    from issue_analytics.dataset import Dataset

__all__ = [
    "fold",
    "plain",
    "say",
    "say_json",
    "show_coverage",
    "show_dataset",
    "show_parity",
    "show_replays",
    "table",
]

_MOST_FILES: Final = 40
"""Files told one by one after an import."""

_NAME: Final = 31
"""Characters of a file's name in a table of 80 columns."""


def plain(text: str) -> str:
    """Text from files without what a terminal would obey."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def say(text: str = "") -> None:
    """Print a line."""
    sys.stdout.write(plain(text) + "\n")


def fold(text: str, *, indent: str = "  ") -> None:
    """Print a sentence in lines of at most 80 columns."""
    say(textwrap.fill(plain(text), 80, subsequent_indent=indent))


def say_json(value: object) -> None:
    """Print one JSON object."""
    sys.stdout.write(json.dumps(value, indent=1, default=str, allow_nan=False) + "\n")


def table(rows: Sequence[dict[str, Any]], *, left: Sequence[str] = ()) -> None:
    """A table that fits 80 columns; cells are text, never markup; numbers but for the first column and ``left``."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(rows[0]):
        made.add_column(name, justify="left" if number == 0 or name in left else "right", overflow="fold")
    for row in rows:
        made.add_row(*(Text(plain(str(cell))) for cell in row.values()))
    Console().print(made)


def show_dataset(dataset: "Dataset") -> None:
    """Print what was found in each file and what became of it, the rows by kind, and the rejects by reason."""
    manifest = dataset.manifest
    _files(dataset.outcomes, manifest)
    totals = manifest["totals"]
    rows = [{"rows": kind, **{name: f"{number:,}" for name, number in tally.items()}} for kind, tally in totals.items()]
    if rows:
        table(rows)
    else:
        say("no rows")
    if manifest["rejects"]:
        say("\nrejected, by reason:")
        reasons = [{"rows": f"{number:,}", "reason": why} for why, number in manifest["rejects"].items()]
        table(reasons, left=("rows", "reason"))
    span = manifest["span"]
    if span["first_hour"]:
        say(f"\nhours {span['first_hour']} to {span['last_hour']}")
    say(f"dataset: {dataset.path}")


def _files(outcomes: Sequence[tuple[str, str]], manifest: Mapping[str, Any]) -> None:
    """A row per imported file, or per format where there are many; a line for each that was not imported now."""
    entries = {source["path"]: source for source in manifest["sources"]}
    root = Path(os.path.commonpath([Path(path).parent for path, _ in outcomes])) if outcomes else Path()
    imported = {path: entries[path] for path, outcome in outcomes if outcome == "imported" and path in entries}
    if len(imported) <= _MOST_FILES:
        rows = [_row(_short(str(Path(path).relative_to(root))), [entry]) for path, entry in imported.items()]
    else:
        formats = sorted({str(entry["found"]) for entry in imported.values()})
        alike = [[entry for entry in imported.values() if str(entry["found"]) == name] for name in formats]
        rows = [_row(f"{len(some):,} {'file' if len(some) == 1 else 'files'}", some) for some in alike]
    if rows:
        table(rows, left=("accepted",))
    told = [(path, outcome) for path, outcome in outcomes if path not in imported]
    for path, outcome in told[:_MOST_FILES]:
        say(f"  {Path(path).relative_to(root)}: {outcome}")
    if len(told) > _MOST_FILES:
        say(f"  … and {len(told) - _MOST_FILES:,} more; manifest.json has them all")
    for note in dict.fromkeys(entry["note"] for entry in imported.values() if entry["note"]):
        say(f"note: {note}")
    warned: Counter[str] = Counter()
    for entry in imported.values():
        warned.update(entry.get("warnings", {}))  # datasets of old have none
    for warning, number in warned.items():
        say(f"warning: {number:,} status {'change' if number == 1 else 'changes'}: {warning}")
    if outcomes:
        say()


def _row(name: str, entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    accepted, ignored = Counter[str](), Counter[str]()
    rejected = twice = 0
    for entry in entries:
        ignored.update(entry["ignored"])
        for kind, tally in entry["rows"].items():
            accepted[kind.replace("_", " ")] += tally["accepted"]
            rejected += tally["rejected"]
            twice += tally["duplicates"]
    kinds = [f"{number:,} {kind}" for kind, number in accepted.items() if number] or ["0 rows"]
    if ignored:
        kinds.append("not read: " + ", ".join(f"{number:,} {what}" for what, number in ignored.items()))
    return {
        "file, and what was found": f"{name}\n  {entries[0]['found']}",
        "accepted": "\n".join(kinds),
        "rejected": f"{rejected:,}",
        "twice": f"{twice:,}",
    }


def _short(name: str) -> str:
    """A name that leaves room for the rest of its line; its end tells more than its beginning."""
    return name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"


def show_coverage(dataset: "Dataset", found: "Coverage") -> None:
    """Print what a dataset covers: the verdict, each finding and what it means, the rejects by reason."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    say(f"{dataset.path}: {found.verdict}\n")
    made = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        made.add_column(overflow="fold")
    for finding in found.findings:
        mark = "" if finding.level == "fine" else finding.level
        made.add_row(Text(mark, "bold"), Text(plain(finding.name)), Text(plain(finding.found)))
        if finding.meaning and finding.level != "fine":
            made.add_row("", "", Text(plain(finding.meaning), "dim"))
    Console().print(made)
    if reasons := found.facts["rejects_by_reason"]:
        say("\nrejected, by reason:")
        table([{"rows": f"{number:,}", "reason": why} for why, number in reasons.items()], left=("rows", "reason"))


def show_parity(dataset: "Dataset", found: "Parity", out: Path | None) -> None:
    """Print how many recorded limits ours equal, by branch, and what the others may be due to."""
    both = found.summary().row(0, named=True)
    setting = found.thresholds.name or str(found.thresholds)
    say(f"{dataset.path}: {both['limits']:,} recorded limits of {both['groups']:,} issues")
    say(f"ours: {setting} thresholds, policy {found.policy.name}, {found.buckets} buckets")
    for row in found.summary().iter_rows(named=True):
        name = {"all": "equal", "escalation": "  of escalations", "forecast": "  of stored forecasts"}[row["source"]]
        if row["limits"] != both["limits"] or row["source"] == "all":
            say(f"{name}: {row['equal']:,} of {row['comparable']:,} comparable, {_share(row['share_equal'])}")
    say()
    rules = found.by_rule()
    if not rules.is_empty():
        table(
            [
                {
                    "our rule": row["rule"] or "no limit",
                    "comparable": f"{row['comparable']:,}",
                    "equal": f"{row['equal']:,}",
                    "share": _share(row["share_equal"]),
                    "ours - theirs": _ends(row["least"], row["median"], row["most"]),
                    "median ratio": _number(row["median_ratio"], 2),
                }
                for row in rules.iter_rows(named=True)
            ]
        )
        say("events per clock hour: least, median and most of ours - theirs\n")
    causes = [
        {"likely cause": row["cause"], "limits": f"{row['limits']:,}", "meaning": row["meaning"]}
        for row in found.by_cause().iter_rows(named=True)
    ]
    table(causes, left=("meaning",))
    if out is not None:
        say(f"\n{found.rows.height:,} rows in {out}")


def show_replays(dataset: "Dataset", played: "Sequence[Replay]", changes: "pl.DataFrame") -> None:
    """Print a row for each setting, the busiest days, and what the replay leaves out."""
    import polars as pl

    first = played[0]
    policy = first.policy
    say(f"{dataset.path}: {first.opens:%Y-%m-%d} to {first.ends:%Y-%m-%d}")
    say(f"policy {policy.name}, {first.buckets} buckets, limits {policy.schedule};")
    again = {"record": "when the record says so", "never": "never"}.get(policy.rearchive, f"after {policy.rearchive}")
    say(f"an issue that came back is archived again {again}")
    if left_out := first.left_out.height:
        say(f"left out: {left_out:,} issues whose events were merged, moved or deleted after the fact (--merged keep)")
    rows = []
    for one in played:
        score = one.summary().row(0, named=True)
        sides = dict(one.against_record(changes)["in"].value_counts().iter_rows())
        rows.append(
            {
                "setting": one.thresholds.name or score["digest"],
                "checked": f"{score['groups']:,}",
                "weeks": f"{score['series_weeks']:,.0f}",
                "alerts": f"{score['alerts']:,}",
                "issues": f"{score['groups_alerted']:,}",
                "at fallback": f"{score['at_fallback']:,}",
                "recorded": f"{sides.get('both', 0):,} of {sides.get('both', 0) + sides.get('record', 0):,}",
                "others": f"{sides.get('replay', 0):,}",
            }
        )
    table(rows)
    say("checked: issues archived until they escalate, and how many weeks in all;")
    say("issues: so many came back; recorded: escalations by the tracker's algorithm")
    say("that the replay has in the same hour; others: alerts that are not recorded")
    busy = first.burden.sort("alerts", "date", "project_id", descending=[True, False, False]).filter(
        pl.col("alerts") > 0
    )
    if not busy.is_empty():
        say(f"\nmost alerts of a project and day ({rows[0]['setting']}):")
        days = [{name: str(value) for name, value in row.items()} for row in busy.head(5).to_dicts()]
        table([{name.replace("_", " "): value for name, value in day.items()} for day in days])
    say("\nnot simulated:")
    for line in first.not_simulated:
        say(textwrap.fill(line, 80, initial_indent="- ", subsequent_indent="  "))


def _ends(*values: float | None) -> str:
    return "  ".join("n/a" if value is None else f"{value:,.0f}" for value in values)


def _share(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.1%}"


def _number(value: float | None, digits: int) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"
