"""Commands that hold limits against what happened: backtest, replay, parity, report."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from issue_analytics.cli.history import (
    DatasetArgument,
    Grace,
    Lead,
    Merge,
    Offset,
    Open,
    Pairing,
    Silence,
    Store,
    Truth,
    history_of,
    matching_of,
)
from issue_analytics.cli.options import AsJson, Buckets, Merged, Thresholds, one_set, write_whole
from issue_analytics.cli.show import fold, say, say_json, show_parity, show_replays
from issue_analytics.cli.show_scores import show_results
from issue_analytics.errors import DatasetError, SettingsError

__all__ = ["backtest", "parity", "replay", "report"]


def backtest(
    dataset: DatasetArgument,
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
    offset: Offset = "0h",
    truth: Truth = "auto",
    store: Store = None,
    silence: Silence = "auto",
    lead: Lead = 1,
    grace: Grace = 1,
    open_: Open = 24,
    merge: Merge = 12,
    pairing: Pairing = "one-to-one",
    merged: Merged = "leave-out",
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

    if dataset.resolve() in (out.resolve(), *out.resolve().parents) or out.resolve() in dataset.resolve().parents:
        raise SettingsError(f"--out {out}: a run cannot lie in its dataset, nor around it.")
    rules = policy_named(policy)
    rules = replace(rules, every=every or rules.every, offset=offset)
    matching = matching_of(lead=lead, grace=grace, open_=open_, merge=merge, pairing=pairing)
    settings = [one_set(name) for name in dict.fromkeys(thresholds)]
    past = history_of(dataset, truth=truth, store=store, silence=silence, merged=merged)
    data, exposure = past.data, past.exposure
    changes = occurrences = None
    if rules.lifecycle:
        changes, exposure = data.status_changes.collect(), None
        if changes.is_empty():
            raise DatasetError(f"{dataset}: nobody knows what was archived when; import activities.")
        known = data.manifest["totals"].get("occurrences", {}).get("accepted")
        occurrences = data.occurrences if known else None
    results = [
        judge(
            past.counts, past.escalations, thresholds=variables, policy=rules, buckets=buckets, matching=matching,
            status_changes=changes, occurrences=occurrences, **past.options() | {"exposure": exposure},
        )
        for variables in tqdm(settings, desc="backtest", unit="setting", delay=2, leave=False, disable=as_json)
    ]  # fmt: skip
    if results[0].exposure.is_empty():
        raise DatasetError(
            f"{dataset}: nothing to judge: no issue was archived until escalating within the judged time. "
            "--truth none shows the burden of alerts on all issues."
        )
    covered = coverage(data)
    known = {name: data.manifest[name] for name in ("totals", "rejects", "span", "skipped")} | past.facts() | {
        "coverage": {"verdict": covered.verdict, "findings": [asdict(finding) for finding in covered.findings]},
    }  # fmt: skip
    write_run(results, out, dataset=known, titles=data.titles.collect(), overwrite=overwrite)
    if as_json:
        say_json(
            {
                "run": str(out),
                "truth": past.truth,
                "silence": past.silence,
                "left_out": results[0].left_out.height,
                "coverage": covered.verdict,
                "summary": [result.summary().row(0, named=True) for result in results],
            }
        )
        return
    show_results(results, past.truth)
    fold(f"data: {covered.verdict} (issue-analytics check {dataset})")
    say(f"run: {out}")


def replay(
    dataset: DatasetArgument,
    thresholds: Thresholds = ["standard"],  # noqa: B006 - typer copies it
    policy: Annotated[
        str, typer.Option(help="production: limits made daily; production-2023: every 6 hours.")
    ] = "production",
    every: Annotated[str | None, typer.Option(help="Another time between refreshes: 6h, 1d, 1w …")] = None,
    rearchive: Annotated[
        str,
        typer.Option(
            help="When an issue that came back is archived again: record, when the record says so; never; or after a "
            "while: 7d, 0h (at once)."
        ),
    ] = "record",
    velocity: Annotated[
        bool, typer.Option("--velocity", help="New issues escalate by the rule for their rate, not as recorded.")
    ] = False,
    buckets: Annotated[
        Buckets, typer.Option(help="sparse: as in production; dense: silent hours are zeros.")
    ] = "sparse",
    merged: Merged = "leave-out",
    out: Annotated[
        Path | None, typer.Option(help="Folder to write: alerts, states, exposure, limits and burden of each setting.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Play the tracker's rules over the past.

    Only issues archived until they escalate are checked, when an occurrence arrives, against limits that are refreshed,
    go stale and expire; one that came back is out until it is archived again. What would have come back, and when?
    """
    from tqdm.auto import tqdm

    from issue_analytics.backtest import policy_named
    from issue_analytics.backtest import replay as play
    from issue_analytics.dataset import open_dataset

    rules = replace(policy_named(policy), rearchive=rearchive, velocity=velocity)
    rules = rules if every is None else replace(rules, every=every, name=f"{policy}, every {every}")
    if not rules.lifecycle:
        raise SettingsError(f"--policy {policy}: it has no lifecycle to replay; use production or production-2023.")
    settings = [one_set(name) for name in dict.fromkeys(thresholds)]
    if out is not None and out.exists():
        raise DatasetError(f"--out {out}: exists already; choose another folder.")
    data = open_dataset(dataset)
    changes = data.status_changes.collect()
    if changes.is_empty():
        raise DatasetError(f"{dataset}: holds no status changes, so nobody knows what was archived; import activities.")
    counts = data.hourly_counts.collect()
    known = bool(data.manifest["totals"].get("occurrences", {}).get("accepted"))
    played = [
        play(
            counts, changes, occurrences=data.occurrences if known else None, thresholds=variables, policy=rules,
            buckets=buckets, leave_out=data.altered_groups if merged == "leave-out" else None,
        )
        for variables in tqdm(settings, desc="replay", unit="setting", delay=2, leave=False, disable=as_json)
    ]  # fmt: skip
    if out is not None:
        for one in played:
            one.write(out / one.thresholds.digest)
    if as_json:
        held = [one.against_record(changes) for one in played]
        say_json(
            {
                "dataset": str(dataset),
                "left_out": played[0].left_out.height,
                "summary": [one.summary().row(0, named=True) for one in played],
                "record": [dict(zip(*frame["in"].value_counts(), strict=True)) for frame in held],
                "alerts": [one.alerts.to_dicts() for one in played],
                "not_simulated": played[0].not_simulated,
                "out": None if out is None else str(out),
            }
        )
        return
    show_replays(data, played, changes)
    if out is not None:
        say(f"replay: {out}")


def parity(
    dataset: DatasetArgument,
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

    if out is not None and out.suffix not in {".parquet", ".csv"}:
        raise SettingsError(f"--out {out}: name a .parquet or .csv file.")
    variables, when = one_set(thresholds), policy_named(policy)
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
        write_whole(found.rows, out)
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
