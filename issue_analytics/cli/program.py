"""The command line as a whole: its commands in the order of the data's path, and what becomes of errors."""

import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from issue_analytics.cli import comparing, data, explaining, issues, judging, thresholds, tuning
from issue_analytics.cli.show import plain, say
from issue_analytics.errors import IssueAnalyticsError, SettingsError

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
    data.simulate(out=exports, groups=groups, days=days, seed=seed)
    say("\n2. import what was exported")
    data.import_(sources=[str(exports), str(dataset)])
    say("\n3. backtest three settings")
    judging.backtest(dataset, thresholds=["standard", "looser", "tighter"], out=run, overwrite=True)
    say("\n4. report")
    judging.report(run, out=report_file)


COMMANDS: Final[tuple[Callable[..., None], ...]] = (
    demo,
    data.simulate,
    data.import_,
    data.check,
    data.forecast,
    explaining.explain,
    judging.backtest,
    judging.replay,
    judging.parity,
    comparing.compare,
    tuning.sweep,
    tuning.recommend,
    judging.report,
)
for command in COMMANDS:
    app.command(name=command.__name__.rstrip("_"))(command)
app.add_typer(thresholds.app, name="thresholds")
app.add_typer(issues.app, name="issues")
