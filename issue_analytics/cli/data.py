"""Commands from exports to limits: simulate, import, check, forecast."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from issue_analytics.cli.options import AsJson, Buckets, one_set, write_whole
from issue_analytics.cli.show import fold, say, say_json, show_coverage, show_dataset, table
from issue_analytics.errors import DatasetError, SettingsError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["check", "forecast", "import_", "simulate"]


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

    if out is not None and out.suffix not in {".parquet", ".csv"}:
        raise SettingsError(f"--out {out}: name a .parquet or .csv file.")
    variables = one_set(thresholds)
    counts = open_dataset(dataset).hourly_counts.collect()
    moment = _moment(counts, dataset, as_of)
    limits = make(counts, moment, thresholds=variables, buckets=buckets, days=days)
    by_rule = dict(limits.filter(pl.col("date") == moment.date()).group_by("rule").len().sort("rule").rows())
    if out is not None:
        write_whole(limits, out)
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
    made = f"limits made at {moment:%Y-%m-%d %H:%M} UTC"
    fold(f"{made} with {variables} ({variables.digest}), {buckets} buckets: {rules}")
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
