"""The command line: parse, call, write; nothing else."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from issue_analytics.errors import IssueAnalyticsError, SettingsError

if TYPE_CHECKING:
    import polars as pl

    from issue_analytics.backtest import BacktestResult
    from issue_analytics.dataset import Dataset

__all__ = ["app", "main"]

app = typer.Typer(
    name="issue-analytics",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="When should an archived issue come back?\n\n"
    "Import exports of issue occurrences, forecast daily spike limits, backtest them against what really escalated, "
    "and report.",
    epilog="Exit codes: 0 fine, 2 a wrong option or setting, 3 data that cannot be used.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Thresholds = Annotated[
    list[str],
    typer.Option("--thresholds", "-t", help="standard, looser, tighter, or a .toml or .json file; repeat to compare."),
]
Buckets = Literal["sparse", "dense"]


def main() -> None:
    """Run the command line; a user's mistake is one line on standard error and an exit code."""
    try:
        app()
    except IssueAnalyticsError as error:
        sys.stderr.write(f"error: {_plain(str(error))}\n")
        sys.exit(2 if isinstance(error, SettingsError) else 3)
    except BrokenPipeError:  # the reader of our output has left
        sys.stderr.close()
        sys.exit(0)


def _plain(text: str) -> str:
    """Text from files without what a terminal would obey."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def _print(text: str = "") -> None:
    sys.stdout.write(_plain(text) + "\n")


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=1, default=str, allow_nan=False) + "\n")


def _table(rows: Sequence[dict[str, Any]]) -> None:
    """A table that fits 80 columns; its cells are text, never markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(rows[0]):
        table.add_column(name, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_plain(str(cell))) for cell in row.values()))
    Console().print(table)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        _print(f"issue-analytics {version('issue-analytics')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


# ---------------------------------------------------------------------------------------------------------------------
# The commands, in the order of the data's path


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the exports, the dataset, the run and the report.")] = Path(
        "reports/demo"
    ),
    groups: Annotated[int, typer.Option(min=1, help="Issues to simulate.")] = 2000,
    days: Annotated[int, typer.Option(min=8, help="Days to simulate.")] = 56,
    seed: Annotated[int, typer.Option(min=0)] = 1,
) -> None:
    """Simulate an export, import it, backtest three settings, and write a report."""
    _print(f"1. simulate {groups} issues over {days} days")
    exports, dataset, run, report_file = out / "exports", out / "dataset", out / "run", out / "report.html"
    simulate(out=exports, groups=groups, days=days, seed=seed)
    _print("\n2. import what was exported")
    import_(sources=[exports, dataset])
    _print("\n3. backtest three settings")
    backtest(dataset, thresholds=["standard", "looser", "tighter"], out=run, overwrite=True)
    _print("\n4. report")
    report(run, out=report_file)


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="Folder to write the exports to.")],
    groups: Annotated[int, typer.Option(min=1, help="Issues to simulate.")] = 2000,
    days: Annotated[int, typer.Option(min=8, help="Days to simulate.")] = 56,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Write exports a tracker could have written, with planted escalations of known start and end."""
    from issue_analytics.simulate import simulate as make

    simulation = make(groups=groups, days=days, seed=seed)
    files = simulation.write(out, progress=False if as_json else None)
    found = {
        "occurrences": simulation.occurrences.height,
        "status_changes": simulation.status_changes.height,
        "planted_escalations": simulation.escalations.height,
        "files": [str(file) for file in files],
    }
    if as_json:
        _print_json(found)
        return
    _print(
        f"{found['occurrences']:,} occurrences of {groups:,} issues, {found['status_changes']:,} status changes, "
        f"{found['planted_escalations']:,} planted escalations"
    )
    for file in files:
        _print(f"  {file}")


@app.command(name="import")
def import_(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE... DATASET", help="Files, folders or globs, and last the dataset folder."),
    ],
    columns: Annotated[
        list[str] | None,
        typer.Option("--columns", metavar="OURS=THEIRS", help="Name a column of any other table; repeat."),
    ] = None,
    format_: Annotated[str | None, typer.Option("--format", help="Say what the files are instead of sniffing.")] = None,
    provenance: Annotated[str, typer.Option(help="Who says so, for label tables that do not say.")] = "human",
    as_json: AsJson = False,
) -> None:
    """Import exports into a dataset: validated Parquet, rejects with reasons, and a manifest.

    Importing the same content again changes nothing. Formats: data/README.md.
    """
    from issue_analytics.dataset import import_export

    if len(sources) < 2:
        raise SettingsError("import: name at least one source and, last, the dataset folder.")
    named = dict(_pair(text) for text in columns or [])
    dataset = import_export(
        sources[:-1],
        sources[-1],
        columns=named or None,
        format=format_,
        provenance=provenance,
        progress=False if as_json else None,
    )
    if as_json:
        _print_json(dataset.manifest)
    else:
        _show_dataset(dataset)


def _pair(text: str) -> tuple[str, str]:
    ours, separator, theirs = text.partition("=")
    if not (separator and ours and theirs):
        raise SettingsError(f"--columns {text}: expected OURS=THEIRS, such as detected_at=timestamp.")
    return ours.strip(), theirs.strip()


def _show_dataset(dataset: "Dataset") -> None:
    for path, outcome in dataset.outcomes:
        _print(f"  {path}: {outcome}")
    manifest = dataset.manifest
    _table(
        [{"rows": kind, **{name: f"{n:,}" for name, n in tally.items()}} for kind, tally in manifest["totals"].items()]
    )
    if manifest["rejects"]:
        _print("\nrejected, by reason:")
        _table([{"rows": f"{number:,}", "reason": why} for why, number in manifest["rejects"].items()])
    span = manifest["span"]
    if span["first_hour"]:
        _print(f"\nhours {span['first_hour']} to {span['last_hour']}")
    _print(f"dataset: {dataset.path}")


@app.command()
def forecast(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by import.")],
    as_of: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"], help="UTC; default: the end of the data."),
    ] = None,
    thresholds: Annotated[
        str, typer.Option("--thresholds", "-t", help="A named set or a .toml or .json file.")
    ] = "standard",
    buckets: Annotated[
        Buckets, typer.Option(help="sparse: as in production; dense: silent hours are zeros.")
    ] = "sparse",
    days: Annotated[int, typer.Option(min=1, help="Days to forecast.")] = 14,
    out: Annotated[Path | None, typer.Option(help="Write a .parquet or .csv file; default: show the highest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Forecast the daily spike limits of every issue from the 168 hours before a moment."""
    import polars as pl

    from issue_analytics.dataset import open_dataset
    from issue_analytics.forecast import forecast as make
    from issue_analytics.thresholds import load_thresholds

    if out is not None and out.suffix not in {".parquet", ".csv"}:
        raise SettingsError(f"--out {out}: name a .parquet or .csv file.")
    variables = load_thresholds(thresholds)
    counts = open_dataset(dataset).hourly_counts.collect()
    moment = as_of.replace(tzinfo=UTC) if as_of else _end(counts, dataset)
    limits = make(counts, moment, thresholds=variables, buckets=buckets, days=days)
    by_rule = dict(limits.filter(pl.col("date") == moment.date()).group_by("rule").len().sort("rule").rows())
    if out is not None:
        _write_whole(limits, out)
    if as_json:
        _print_json(
            {
                "as_of": moment.isoformat(),
                "thresholds": variables.to_dict(),
                "digest": variables.digest,
                "buckets": buckets,
            }
            | {"groups_by_rule": by_rule, "out": None if out is None else str(out)}
        )
        return
    rules = ", ".join(f"{number:,} {rule}" for rule, number in by_rule.items())
    _print(
        f"limits made at {moment:%Y-%m-%d %H:%M} UTC with {variables} ({variables.digest}), {buckets} buckets: {rules}"
    )
    if out is not None:
        _print(f"{limits.height:,} rows in {out}")
        return
    top = limits.filter(pl.col("date") == moment.date()).sort("limit", descending=True, nulls_last=True).head(10)
    if not top.is_empty():
        _table(top.select("project_id", "group_id", "date", "limit", "rule").to_dicts())


def _end(counts: "pl.DataFrame", dataset: Path) -> datetime:
    from issue_analytics.counts import span
    from issue_analytics.errors import DatasetError

    ends = span(counts)
    if ends is None:
        raise DatasetError(f"{dataset}: holds no counts and no occurrences to count.")
    return ends[1]


def _write_whole(frame: "pl.DataFrame", out: Path) -> None:
    from issue_analytics.errors import DatasetError

    draft = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(draft) if out.suffix == ".parquet" else frame.write_csv(draft)
        draft.replace(out)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise DatasetError(f"{out}: cannot be written ({error.strerror or error}).") from None


@app.command()
def backtest(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by import.")],
    out: Annotated[Path, typer.Option(help="Folder for the run.")],
    thresholds: Thresholds = ["standard"],  # noqa: B006 - typer copies it
    buckets: Annotated[
        Buckets, typer.Option(help="sparse: as in production; dense: silent hours are zeros.")
    ] = "sparse",
    every: Annotated[str, typer.Option(help="Time between refreshes of the limits: 6h, 1d, 7d, 1w …")] = "1d",
    offset: Annotated[str, typer.Option(help="How much later than 00:00 UTC (7d: Thursdays, 1w: Mondays).")] = "0h",
    truth: Annotated[
        Literal["auto", "labels", "activities", "none"],
        typer.Option(
            help="What alerts are judged by: imported label tables, with all of the time observed; recorded status "
            "changes, with the time an issue was archived; or nothing. auto: labels if there are any."
        ),
    ] = "auto",
    silence: Annotated[
        Literal["auto", "implied", "recorded"],
        typer.Option(
            help="What a missing hour is: implied, a silent one; recorded, unknown, for counts that write their zeros. "
            "auto: recorded if there are zeros."
        ),
    ] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Judge threshold settings on the past: what each would have caught, how late, at how many false alarms."""
    from tqdm.auto import tqdm

    from issue_analytics.backtest import Policy, write_run
    from issue_analytics.backtest import backtest as judge
    from issue_analytics.dataset import open_dataset
    from issue_analytics.thresholds import load_thresholds

    policy = Policy(every=every, offset=offset)
    settings = [load_thresholds(name) for name in dict.fromkeys(thresholds)]
    data = open_dataset(dataset)
    counts = data.hourly_counts.collect()
    escalations, exposure, first_seen, used = _truth(data, truth)
    if silence == "auto":
        silence = "recorded" if (counts["count"] == 0).any() else "implied"
    results = [
        judge(
            counts, escalations, exposure=exposure, silence=silence, thresholds=variables, policy=policy,
            buckets=buckets, first_seen=first_seen,
        )
        for variables in tqdm(settings, desc="backtest", unit="setting", delay=2, leave=False, disable=as_json)
    ]  # fmt: skip
    known = {name: data.manifest[name] for name in ("totals", "rejects", "span", "skipped")} | {
        "path": str(dataset),
        "sources": [{"path": source["path"], "hash": source["hash"]} for source in data.manifest["sources"]],
        "truth": used,
        "silence": silence,
    }
    write_run(results, out, dataset=known, titles=data.titles.collect(), overwrite=overwrite)
    if as_json:
        _print_json({"run": str(out), "truth": used, "silence": silence}
                    | {"summary": [result.summary().row(0, named=True) for result in results]})  # fmt: skip
        return
    _show_results(results, used)
    _print(f"run: {out}")


def _truth(data: "Dataset", truth: str) -> "tuple[pl.DataFrame | None, pl.DataFrame | None, pl.DataFrame | None, str]":
    """Escalations, exposure, first_seen, and which truth it is."""
    from issue_analytics.backtest import label_escalations

    totals = data.manifest["totals"]
    changes = data.status_changes.collect()
    first_seen = changes.filter(kind="first_seen").select("project_id", "group_id", first_seen="at")
    ages = None if first_seen.is_empty() else first_seen
    if truth in ("auto", "labels"):
        if totals.get("escalations", {}).get("accepted"):
            return data.escalations.collect(), None, ages, "labels"
        if truth == "labels":
            raise SettingsError(f"--truth labels: {data.path} holds no label table; import one with escalated_at.")
    if truth in ("auto", "activities"):
        if not changes.is_empty():
            escalations, exposure = label_escalations(changes)
            return escalations, exposure, ages, "activities"
        if truth == "activities":
            raise SettingsError(f"--truth activities: {data.path} holds no status changes; import activities.")
    return None, None, ages, "none"


def _show_results(results: "Sequence[BacktestResult]", truth: str) -> None:
    import polars as pl

    first = results[0]
    exposed = first.groups["exposed_hours"].sum() / 168
    _print(
        f"{first.groups.height:,} issues watched for {exposed:,.0f} series-weeks; truth: {truth}; "
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
    _table(rows)
    if first.labelled:
        _print("false/week: false alarms per series-week; delay: median hours, n/a if half are never caught")
    else:
        _print("alerts/week: per series-week; whether they are right cannot be told without a truth")
    same = [row["setting"] for row, result in zip(rows[1:], results[1:], strict=True) if _same_alerts(first, result)]
    if same:
        inert = first.groups.select(pl.sum_horizontal("days_new", "days_none").sum()).item()
        days = first.groups.select(pl.sum_horizontal(pl.col("^days_.*$")).sum()).item()
        _print(
            f"note: {' and '.join(same)} fired in exactly the same hours as {rows[0]['setting']}; no threshold acts on "
            f"the {inert / days:.0%} of group-days whose rule is new or none"
        )
    if (first.matches["provenance"] == "algorithm").any():
        _print("warning: the truth is the algorithm's own flag; recall of the setting that ran is circular")


def _same_alerts(one: "BacktestResult", other: "BacktestResult") -> bool:
    hours = ("project_id", "group_id", "hour")
    return one.crossings.select(hours).equals(other.crossings.select(hours))


def _share(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.1%}"


def _number(value: float | None, digits: int) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder made by backtest.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")],
    title: Annotated[str | None, typer.Option(help="Heading of the report.")] = None,
    cases: Annotated[int, typer.Option(min=0, help="Worst misses and false alarms to show, each.")] = 6,
    as_json: AsJson = False,
) -> None:
    """Write a run as one HTML file that needs no network."""
    from issue_analytics.backtest import open_run
    from issue_analytics.reporting import write_report

    written = write_report(open_run(run), out, title=title, cases=cases, progress=False if as_json else None)
    size = written.stat().st_size
    if as_json:
        _print_json({"report": str(written), "bytes": size})
    else:
        _print(f"report: {written} ({size / 1e6:.1f} MB)")
