"""The command that explains one hour of one issue."""

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from issue_analytics.cli.history import DatasetArgument, Offset, Store, Truth, truth_of
from issue_analytics.cli.options import AsJson, Buckets, one_set
from issue_analytics.cli.show import fold, say, say_json
from issue_analytics.errors import DatasetError, SettingsError

if TYPE_CHECKING:
    from issue_analytics.explain import Explanation

__all__ = ["explain"]

_PICTURES = (".png", ".svg", ".pdf")


def explain(
    dataset: DatasetArgument,
    group: Annotated[int, typer.Option(help="Id of the issue.")],
    at: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="A moment in the hour, such as 2026-01-05T09:00; UTC unless it says otherwise. The start of a known "
            "escalation, to the minute, stands for its busiest hour.",
        ),
    ],
    project: Annotated[int | None, typer.Option(help="Its project, where ids of several projects collide.")] = None,
    thresholds: Annotated[
        str, typer.Option("--thresholds", "-t", metavar="SET", help="A named set or a .toml or .json file.")
    ] = "standard",
    buckets: Annotated[
        Buckets, typer.Option(help="sparse: as in production; dense: silent hours are zeros.")
    ] = "sparse",
    every: Annotated[str, typer.Option(help="Time between refreshes of the limits: 6h, 1d, 7d, 1w …")] = "1d",
    offset: Offset = "0h",
    truth: Truth = "auto",
    store: Store = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it as well: a .png, .svg or .pdf file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain why an hour of an issue fired, or did not.

    The limit in its terms, what each variable would have to be for the other answer, the nearest setting that has it,
    and for an hour that did not fire each reason with its evidence.
    """
    import polars as pl

    from issue_analytics.backtest import Policy
    from issue_analytics.dataset import open_dataset
    from issue_analytics.explain import explain as find
    from issue_analytics.forecast import forecast_schedule
    from issue_analytics.reporting.text import clean

    if plot is not None and plot.suffix not in _PICTURES:
        raise SettingsError(f"--plot {plot}: name a {', '.join(_PICTURES[:-1])} or {_PICTURES[-1]} file.")
    moment = _moment(at)
    variables, policy = one_set(thresholds), Policy(every=every, offset=offset)
    data = open_dataset(dataset)
    mine = pl.col("group_id") == group
    if project is not None:
        mine &= pl.col("project_id") == project
    counts = data.hourly_counts.filter(mine).collect()
    escalations, exposure, first_seen, _ = truth_of(data, truth, store)
    if escalations is not None:
        starts = escalations.filter(mine)["escalated_at"].to_list()
        moment = next((start for start in starts if moment in _rounded(start)), moment)
    # the busiest hour of an escalation may be any later one
    last = max([moment, *counts.sort("hour")["hour"].tail(1)]) + timedelta(hours=1)
    made = policy.moments(moment - policy.period - policy.days * timedelta(days=1), last)
    found = find(
        counts, group, moment, project_id=project, thresholds=variables, buckets=buckets,
        limits=forecast_schedule(
            counts, made, thresholds=variables, buckets=buckets, days=policy.days, first_seen=first_seen
        ),
        escalations=escalations, exposure=exposure, missed=True, first_seen=first_seen,
    )  # fmt: skip
    titles = data.titles.filter(mine, project_id=found.project_id).collect()["title"].to_list()
    title = clean(titles[0]) if titles else ""
    if plot is not None:
        _draw(found, title, plot)
    if as_json:
        told = {"dataset": str(dataset), "title": title or None, "every": every, "offset": offset}
        say_json(told | found.to_dict() | {"plot": None if plot is None else str(plot)})
        return
    if title:
        fold(title)
    say(found.text())
    if plot is not None:
        say(f"\npicture: {plot}")


def _moment(at: str) -> datetime:
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise SettingsError(f"--at {at}: is no time such as 2026-01-05T09:00.") from None
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        moment = datetime.min.replace(tzinfo=UTC)
    if not 1970 <= moment.year < 3000:
        raise SettingsError(f"--at {at}: is no time of ours.")
    return moment


def _rounded(start: datetime) -> tuple[datetime, ...]:
    """What a user may write for a moment: it, to the second, or to the minute."""
    return start, start.replace(microsecond=0), start.replace(second=0, microsecond=0)


def _draw(found: "Explanation", title: str, out: Path) -> None:
    """Draw into a file, whole or not at all."""
    from matplotlib.figure import Figure

    from issue_analytics.reporting import plot_explanation

    figure = Figure(figsize=(9, 5), layout="constrained")
    plot_explanation(found, title=title or None, ax=figure.subplots())
    draft = out.with_name(f".{out.stem}.partial{out.suffix}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(draft, dpi=150)
        draft.replace(out)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise DatasetError(f"{out}: cannot be written ({error.strerror or error}).") from None
