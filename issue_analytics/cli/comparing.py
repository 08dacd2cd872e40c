"""The command that holds two runs, or two settings of one, against each other."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from issue_analytics.cli.options import AsJson, one_set
from issue_analytics.cli.show import fold, say, say_json
from issue_analytics.cli.show_scores import show_comparison
from issue_analytics.errors import SettingsError

if TYPE_CHECKING:
    from issue_analytics.backtest import BacktestResult, Run

__all__ = ["compare"]


def compare(
    first_run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder made by backtest.")],
    second_run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="The run to compare with; the same one if left out.")
    ] = None,
    first: Annotated[
        str | None,
        typer.Option(metavar="SET", help="Setting of the first run, if it has several: name, digest or file."),
    ] = None,
    second: Annotated[str | None, typer.Option(metavar="SET", help="Setting of the second run.")] = None,
    cluster: Annotated[
        Literal["group", "project"],
        typer.Option(help="What falls together: the alerts of an issue, or of all issues of a project."),
    ] = "group",
    block: Annotated[
        str | None,
        typer.Option(
            metavar="SPAN", help="Also draw blocks of time, such as 1w, for outages that hit many issues at once."
        ),
    ] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Draws behind the intervals.")] = 2000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder to write: scores, events and alerts, as Parquet.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two settings judged on the same data.

    How much their scores differ, how sure that is, and which events and alerts the second gains and loses.
    """
    from issue_analytics.backtest import compare as hold
    from issue_analytics.backtest import open_run

    one = open_run(first_run)
    other = one if second_run is None else open_run(second_run)
    if other is one and len(one.results) == 2 and first is None and second is None:
        results = one.results
    else:
        results = _chosen(one, first, "--first"), _chosen(other, second, "--second")
        if results[0] is results[1]:
            raise SettingsError(f"{first_run}: --first and --second are the same setting.")
    found = hold(*results, cluster=cluster, block=block, resamples=resamples, seed=seed, titles=one.titles)
    if out is not None:
        found.write(out)
    if as_json:
        say_json(
            {
                "first": {"run": str(first_run), "setting": found.first, "rules": found.rules[0]},
                "second": {"run": str(second_run or first_run), "setting": found.second, "rules": found.rules[1]},
                "matching": found.matching,
                "cluster": cluster,
                "block": block,
                "confidence": found.confidence,
                "resamples": resamples,
                "scores": found.scores.to_dicts(),
                "mcnemar_p": found.mcnemar,
                "changes": found.changes().to_dicts(),
                "events": found.events.filter(found.events["change"].is_in(["gained", "lost"])).to_dicts(),
                "alerts": found.alerts.filter(found.alerts["change"].is_in(["gained", "lost"])).to_dicts(),
                "out": None if out is None else str(out),
            }
        )
        return
    fold(f"first: {found.first}, {first_run}, {found.rules[0]}")
    fold(f"second: {found.second}, {second_run or first_run}, {found.rules[1]}")
    say(f"matching: {found.matching}\n")
    show_comparison(found)
    if out is not None:
        say(f"\nscores, events and alerts: {out}")


def _chosen(run: "Run", name: str | None, option: str) -> "BacktestResult":
    """The setting of a run that was named, or its only one."""
    known = {result.thresholds.name or result.thresholds.digest: result for result in run.results}
    if name is None and len(run.results) == 1:
        return run.results[0]
    wanted = one_set(name).digest if name and name.endswith((".toml", ".json")) else name
    found = [result for result in run.results if wanted in (result.thresholds.name, result.thresholds.digest)]
    if name is None or len(found) != 1:
        what = "has several settings" if name is None else f"has no setting {name!r}"
        raise SettingsError(f"{option}: {run.path} {what}. There are: {', '.join(known)}.")
    return found[0]
