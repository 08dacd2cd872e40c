"""``issue-analytics replay``: what users would have seen."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from issue_analytics.cli.commands import AsJson, Buckets, Thresholds, app
from issue_analytics.cli.show import say, say_json, show_replays
from issue_analytics.errors import DatasetError, SettingsError

__all__ = ["replay"]


@app.command()
def replay(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by import.")],
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
    merged: Annotated[
        Literal["leave-out", "keep"],
        typer.Option(help="What to do with issues whose events were merged, moved or deleted after the fact."),
    ] = "leave-out",
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
    from issue_analytics.thresholds import load_thresholds

    rules = replace(policy_named(policy), rearchive=rearchive, velocity=velocity)
    rules = rules if every is None else replace(rules, every=every, name=f"{policy}, every {every}")
    if not rules.lifecycle:
        raise SettingsError(f"--policy {policy}: it has no lifecycle to replay; use production or production-2023.")
    settings = [load_thresholds(name) for name in dict.fromkeys(thresholds)]
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
