"""The command line: parse, call, write; nothing else."""

import contextlib
import io
import os
import signal
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from issue_analytics.cli.show import (
    plain,
    say,
    say_json,
    show_coverage,
    show_dataset,
    show_parity,
    show_results,
    table,
)
from issue_analytics.errors import DatasetError, IssueAnalyticsError, SettingsError

if TYPE_CHECKING:
    import polars as pl

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
    typer.Option(
        "--thresholds",
        "-t",
        metavar="SET",
        help="standard, looser, tighter, or a .toml or .json file; repeat to compare.",
    ),
]
Buckets = Literal["sparse", "dense"]


def main() -> None:
    """Run the command line; a user's mistake is one line on standard error and an exit code."""
    if hasattr(signal, "SIGPIPE"):  # a reader that has left ends us quietly, as it ends other programs
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name may hold what the terminal's encoding does not
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except IssueAnalyticsError as error:
        sys.stderr.write(f"error: {plain(str(error))}\n")
        sys.exit(2 if isinstance(error, SettingsError) else 3)
    except OSError as error:  # our own output could not be written; whatever else fails is told by its own error
        sys.stderr.write(f"error: output cannot be written ({error.strerror or error})\n")
        os._exit(3)  # a second flush at exit would fail again


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        say(f"issue-analytics {version('issue-analytics')}")
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
    """Go the whole path once on simulated data.

    Simulates an export, imports it, backtests three settings, and writes a report.
    """
    say(f"1. simulate {groups} issues over {days} days")
    # in a folder of its own: exports of another simulation must not be imported together with these
    work = out / f"simulated-{groups}x{days}-{seed}"
    exports, dataset, run, report_file = work / "exports", work / "dataset", work / "run", out / "report.html"
    simulate(out=exports, groups=groups, days=days, seed=seed)
    say("\n2. import what was exported")
    import_(sources=[str(exports), str(dataset)])
    say("\n3. backtest three settings")
    backtest(dataset, thresholds=["standard", "looser", "tighter"], out=run, overwrite=True)
    say("\n4. report")
    report(run, out=report_file)


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="Folder to write the exports to.")],
    groups: Annotated[int, typer.Option(min=1, help="Issues to simulate.")] = 2000,
    days: Annotated[int, typer.Option(min=8, help="Days to simulate.")] = 56,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 1,
    format_: Annotated[
        list[str] | None,
        typer.Option(
            "--format", help="What the files look like; repeat, or say all. [default: occurrences and issues]"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write exports with planted escalations.

    The files are as a tracker could have written them; planted.csv says when each planted escalation began and ended.
    Several formats tell of the same occurrences. Formats: data/README.md.
    """
    from issue_analytics.simulate import simulate as make
    from issue_analytics.simulate.writers import DEFAULT, FORMATS, chosen

    # before simulating: a misspelt format is told at once
    formats = chosen(FORMATS if format_ and "all" in format_ else format_ or DEFAULT)
    simulation = make(groups=groups, days=days, seed=seed)
    files = simulation.write(out, formats=formats, progress=False if as_json else None)
    found = {
        "occurrences": simulation.occurrences.height,
        "status_changes": simulation.status_changes.height,
        "planted_escalations": simulation.escalations.height,
        "files": [str(file) for file in files],
    }
    if as_json:
        say_json(found)
        return
    say(
        f"{found['occurrences']:,} occurrences of {groups:,} issues, {found['status_changes']:,} status changes, "
        f"{found['planted_escalations']:,} planted escalations"
    )
    for file in files:
        say(f"  {file}")


@app.command(name="import")
def import_(
    sources: Annotated[
        list[str],
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
    """Import exports into a dataset.

    Validated Parquet, rejected rows with their reasons, and a manifest of what was read.
    Importing the same content again changes nothing. Formats: data/README.md.
    """
    from issue_analytics.dataset import import_export

    if len(sources) < 2 or not sources[-1]:
        raise SettingsError("import: name at least one source and, last, the dataset folder.")
    named: dict[str, str] = {}
    for ours, theirs in map(_pair, columns or []):
        if named.setdefault(ours, theirs) != theirs:
            raise SettingsError(f"--columns {ours}: named twice, {named[ours]} and {theirs}.")
    dataset = import_export(
        sources[:-1],
        sources[-1],
        columns=named or None,
        format=format_,
        provenance=provenance,
        progress=False if as_json else None,
    )
    if as_json:
        say_json(dataset.manifest)
    else:
        show_dataset(dataset)


def _pair(text: str) -> tuple[str, str]:
    ours, separator, theirs = text.partition("=")
    if not (separator and ours and theirs):
        raise SettingsError(f"--columns {text}: expected OURS=THEIRS, such as detected_at=timestamp.")
    return ours.strip(), theirs.strip()


@app.command()
def check(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by import.")],
    as_json: AsJson = False,
) -> None:
    """Say what a dataset covers, before anything is concluded from it.

    Span, gaps, partial hours, truncated histories, late and doubled rows, merged issues, rejects by reason; and whether
    to trust what follows.
    """
    from issue_analytics.coverage import coverage
    from issue_analytics.dataset import open_dataset

    data = open_dataset(dataset)
    found = coverage(data)
    if as_json:
        say_json(
            {
                "verdict": found.verdict,
                "facts": dict(found.facts),
                "findings": [asdict(finding) for finding in found.findings],
                "gaps": found.gaps.to_dicts(),
            }
        )
    else:
        show_coverage(data, found)


@app.command()
def forecast(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by import.")],
    as_of: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"], help="UTC; default: the end of the data."),
    ] = None,
    thresholds: Annotated[
        str, typer.Option("--thresholds", "-t", metavar="SET", help="A named set or a .toml or .json file.")
    ] = "standard",
    buckets: Annotated[
        Buckets, typer.Option(help="sparse: as in production; dense: silent hours are zeros.")
    ] = "sparse",
    days: Annotated[int, typer.Option(min=1, max=366, help="Days to forecast.")] = 14,
    out: Annotated[Path | None, typer.Option(help="Write a .parquet or .csv file; default: show the highest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Forecast the daily limit of every issue.

    From the 168 hours before a moment; a limit is in events per clock hour.
    """
    import polars as pl

    from issue_analytics.dataset import open_dataset
    from issue_analytics.forecast import forecast as make
    from issue_analytics.thresholds import load_thresholds

    if out is not None and out.suffix not in {".parquet", ".csv"}:
        raise SettingsError(f"--out {out}: name a .parquet or .csv file.")
    variables = load_thresholds(thresholds)
    counts = open_dataset(dataset).hourly_counts.collect()
    moment = _moment(counts, dataset, as_of)
    limits = make(counts, moment, thresholds=variables, buckets=buckets, days=days)
    by_rule = dict(limits.filter(pl.col("date") == moment.date()).group_by("rule").len().sort("rule").rows())
    if out is not None:
        _write_whole(limits, out)
    if as_json:
        say_json(
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
    say(f"limits made at {moment:%Y-%m-%d %H:%M} UTC with {variables} ({variables.digest}), {buckets} buckets: {rules}")
    if out is not None:
        say(f"{limits.height:,} rows in {out}")
        return
    top = limits.filter(pl.col("date") == moment.date()).sort("limit", descending=True, nulls_last=True).head(10)
    if not top.is_empty():
        table(top.select("project_id", "group_id", "date", "limit", "rule").to_dicts())


def _moment(counts: "pl.DataFrame", dataset: Path, as_of: datetime | None) -> datetime:
    from issue_analytics.counts import span

    ends = span(counts)
    if ends is None:
        raise DatasetError(f"{dataset}: holds no counts and no occurrences to count.")
    moment = as_of.replace(tzinfo=UTC) if as_of else ends[1]
    if not ends[0] < moment <= ends[1] + timedelta(days=7):
        raise SettingsError(
            f"--as-of {moment:%Y-%m-%d %H:%M}: the data are from {ends[0]:%Y-%m-%d} to {ends[1]:%Y-%m-%d}."
        )
    return moment


def _write_whole(frame: "pl.DataFrame", out: Path) -> None:
    import polars as pl

    draft = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(draft) if out.suffix == ".parquet" else frame.write_csv(draft)
        draft.replace(out)
    except (OSError, pl.exceptions.PolarsError) as error:  # polars tells of a full disk in its own way
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise DatasetError(f"{out}: cannot be written ({why}).") from None


@app.command()
def backtest(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by import.")],
    out: Annotated[Path, typer.Option(help="Folder for the run.")],
    thresholds: Thresholds = ["standard"],  # noqa: B006 - typer copies it
    buckets: Annotated[
        Buckets, typer.Option(help="sparse: as in production; dense: silent hours are zeros.")
    ] = "sparse",
    policy: Annotated[
        str,
        typer.Option(
            help="every-hour: every exposed hour is judged; production, production-2023: the tracker's rules are "
            "replayed, and an issue that came back is out until it is archived again."
        ),
    ] = "every-hour",
    every: Annotated[
        str | None, typer.Option(help="Time between refreshes of the limits: 6h, 1d, 7d, 1w … (the policy's own)")
    ] = None,
    offset: Annotated[str, typer.Option(help="How much later than 00:00 UTC (7d: Thursdays, 1w: Mondays).")] = "0h",
    truth: Annotated[
        Literal["auto", "labels", "activities", "store", "none"],
        typer.Option(
            help="What alerts are judged by: imported label tables, with all of the time observed; recorded status "
            "changes, with the time an issue was archived; what people said of alerts in a store, in those hours; or "
            "nothing. auto: labels if there are any."
        ),
    ] = "auto",
    store: Annotated[
        str | None, typer.Option(metavar="PLACE", help="For --truth store: an SQLite file or a PostgreSQL URL.")
    ] = None,
    silence: Annotated[
        Literal["auto", "implied", "recorded"],
        typer.Option(
            help="What a missing hour is: implied, a silent one; recorded, unknown, for counts that write their zeros. "
            "auto: recorded if there are zeros."
        ),
    ] = "auto",
    merged: Annotated[
        Literal["leave-out", "keep"],
        typer.Option(help="What to do with issues whose events were merged, moved or deleted after the fact."),
    ] = "leave-out",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Judge threshold settings on the past.

    What each would have caught, how late, and at how many false alarms.
    """
    from tqdm.auto import tqdm

    from issue_analytics.backtest import backtest as judge
    from issue_analytics.backtest import policy_named, write_run
    from issue_analytics.coverage import coverage
    from issue_analytics.dataset import open_dataset
    from issue_analytics.thresholds import load_thresholds

    if dataset.resolve() in (out.resolve(), *out.resolve().parents) or out.resolve() in dataset.resolve().parents:
        raise SettingsError(f"--out {out}: a run cannot lie in its dataset, nor around it.")
    rules = policy_named(policy)
    rules = replace(rules, every=every or rules.every, offset=offset)
    settings = [load_thresholds(name) for name in dict.fromkeys(thresholds)]
    data = open_dataset(dataset)
    counts = data.hourly_counts.collect()
    escalations, exposure, first_seen, used = _truth(data, truth, store)
    altered = data.altered_groups.collect() if merged == "leave-out" else None
    changes = occurrences = None
    if rules.lifecycle:
        changes, exposure = data.status_changes.collect(), None
        if changes.is_empty():
            raise DatasetError(f"{dataset}: nobody knows what was archived when; import activities.")
        known = data.manifest["totals"].get("occurrences", {}).get("accepted")
        occurrences = data.occurrences if known else None
    if silence == "auto":
        silence = "recorded" if (counts["count"] == 0).any() else "implied"
    results = [
        judge(
            counts, escalations, exposure=exposure, silence=silence, thresholds=variables, policy=rules,
            buckets=buckets, first_seen=first_seen, leave_out=altered, status_changes=changes, occurrences=occurrences,
        )
        for variables in tqdm(settings, desc="backtest", unit="setting", delay=2, leave=False, disable=as_json)
    ]  # fmt: skip
    if results[0].exposure.is_empty():
        raise DatasetError(
            f"{dataset}: nothing to judge: no issue was archived until escalating within the judged time. "
            "--truth none shows the burden of alerts on all issues."
        )
    covered = coverage(data)
    known = {name: data.manifest[name] for name in ("totals", "rejects", "span", "skipped")} | {
        "path": str(dataset),
        "sources": [{"path": source["path"], "hash": source["hash"]} for source in data.manifest["sources"]],
        "truth": used,
        "silence": silence,
        "merged": merged,
        "coverage": {"verdict": covered.verdict, "findings": [asdict(finding) for finding in covered.findings]},
    }
    write_run(results, out, dataset=known, titles=data.titles.collect(), overwrite=overwrite)
    if as_json:
        left_out = results[0].left_out.height
        say_json({"run": str(out), "truth": used, "silence": silence, "left_out": left_out, "coverage": covered.verdict}
                    | {"summary": [result.summary().row(0, named=True) for result in results]})  # fmt: skip
        return
    show_results(results, used)
    say(f"data: {covered.verdict} (issue-analytics check {dataset})")
    say(f"run: {out}")


def _truth(
    data: "Dataset", truth: str, place: str | None
) -> "tuple[pl.DataFrame | None, pl.DataFrame | None, pl.DataFrame | None, str]":
    """Escalations, exposure, first_seen, and which truth it is."""
    from issue_analytics.backtest import STATUS_KINDS, label_escalations

    totals = data.manifest["totals"]
    changes = data.status_changes.collect()
    first_seen = changes.filter(kind="first_seen").select("project_id", "group_id", first_seen="at")
    ages = None if first_seen.is_empty() else first_seen
    if (truth == "store") != (place is not None):
        raise SettingsError("--truth store and --store PLACE go together: the store in which alerts were labelled.")
    if place is not None:
        from issue_analytics.issues import open_store

        store = open_store(place, create=False)
        escalations, exposure = store.human_escalations(), store.human_exposure()
        if exposure.is_empty():
            raise SettingsError(f"--store {place}: nobody labelled an alert; see issue-analytics issues label --help.")
        return escalations, exposure, ages, "store"
    if truth in ("auto", "labels"):
        if totals.get("escalations", {}).get("accepted"):
            return data.escalations.collect(), None, ages, "labels"
        if truth == "labels":
            raise SettingsError(f"--truth labels: {data.path} holds no label table; import one with escalated_at.")
    if truth in ("auto", "activities"):
        # when issues were first seen is no record of what became of them
        if changes["kind"].is_in(STATUS_KINDS).any() or (truth == "activities" and not changes.is_empty()):
            escalations, exposure = label_escalations(changes)
            return escalations, exposure, ages, "activities"
        if truth == "activities":
            raise SettingsError(f"--truth activities: {data.path} holds no status changes; import activities.")
    return None, None, ages, "none"


@app.command()
def parity(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by import.")],
    thresholds: Annotated[
        str, typer.Option("--thresholds", "-t", metavar="SET", help="A named set or a .toml or .json file.")
    ] = "standard",
    policy: Annotated[str, typer.Option(help="When limits were made: production or production-2023.")] = "production",
    buckets: Annotated[
        Buckets, typer.Option(help="sparse: as in production; dense: silent hours are zeros.")
    ] = "sparse",
    out: Annotated[
        Path | None, typer.Option(help="Write a .parquet or .csv file with a row for each recorded limit.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hold our limits against those the tracker recorded.

    In activities of escalations, and in forecasts of retrieved issues. How many are equal, by which branch ours was
    made, and the likely cause of each difference.
    """
    from issue_analytics.backtest.parity import parity as compare
    from issue_analytics.backtest.policy import policy_named
    from issue_analytics.dataset import open_dataset
    from issue_analytics.thresholds import load_thresholds

    if out is not None and out.suffix not in {".parquet", ".csv"}:
        raise SettingsError(f"--out {out}: name a .parquet or .csv file.")
    variables, when = load_thresholds(thresholds), policy_named(policy)
    data = open_dataset(dataset)
    found = compare(
        data.hourly_counts, data.status_changes, data.recorded_forecasts, occurrences=data.occurrences,
        altered=data.altered_groups, thresholds=variables, policy=when, buckets=buckets,
    )  # fmt: skip
    if found.rows.is_empty():
        raise DatasetError(
            f"{dataset}: records no limits: no activity of an escalation with its forecast, and no stored forecast. "
            "Import issues as retrieved one by one, with their activities or with expand=forecast."
        )
    if out is not None:
        _write_whole(found.rows, out)
    if as_json:
        setting = {"thresholds": variables.to_dict(), "digest": variables.digest, "policy": policy, "buckets": buckets}
        frames = {"summary": found.summary(), "by_rule": found.by_rule(), "by_cause": found.by_cause()}
        say_json(
            setting
            | {name: frame.to_dicts() for name, frame in frames.items()}
            | {"out": None if out is None else str(out)}
        )
        return
    show_parity(data, found, out)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder made by backtest.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")],
    title: Annotated[str | None, typer.Option(help="Heading of the report.")] = None,
    cases: Annotated[int, typer.Option(min=0, help="Worst misses and false alarms to show, each.")] = 6,
    as_json: AsJson = False,
) -> None:
    """Write a run as one HTML file.

    It needs no network and no script, and prints on A4.
    """
    from issue_analytics.backtest import open_run
    from issue_analytics.reporting import write_report

    written = write_report(open_run(run), out, title=title, cases=cases, progress=False if as_json else None)
    size = written.stat().st_size
    if as_json:
        say_json({"report": str(written), "bytes": size})
    else:
        say(f"report: {written} ({size / 1e6:.1f} MB)")
