"""The commands that look for thresholds: sweep, recommend."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from issue_analytics.cli.history import (
    DatasetArgument,
    Grace,
    History,
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
from issue_analytics.cli.options import AsJson, Buckets, Merged, write_whole
from issue_analytics.cli.show import say, say_json
from issue_analytics.cli.show_tuning import show_sweep
from issue_analytics.errors import DatasetError, SettingsError

if TYPE_CHECKING:
    import polars as pl

    from issue_analytics.backtest import Matching, Policy
    from issue_analytics.thresholds import ThresholdVariables
    from issue_analytics.tuning import Prepared

__all__ = ["sweep"]

_GRID: Final[dict[str, tuple[float, ...]]] = {
    "std_multiplier": (3, 5, 8),
    "min_spike_multiplier": (2, 3, 4, 5, 7),
    "max_spike_multiplier": (4, 6, 8, 12),
    "min_bursty_multiplier": (1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4),
    "max_bursty_multiplier": (2, 3, 5),
}
"""What is tried if nothing is said: around the standard set, from half to about twice of what matters most."""

_MOST: Final = 2_000_000
"""Settings in one sweep: some 2 GB, and half a minute."""

Vary = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUES",
        help="Values of a variable: FROM:TO:NUMBER, such as min_bursty_multiplier=1.2:3:10, or listed, such as "
        "std_multiplier=3,5,7; repeat for others. Those not named stay as in the standard set. By default about "
        "a thousand settings around it.",
    ),
]
Sample = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Draw so many settings from the ranges instead of a grid.")
]
Range = Annotated[
    list[str] | None,
    typer.Option("--range", metavar="NAME=FROM:TO", help="For --sample: the range of a variable; repeat for others."),
]
Method = Annotated[
    Literal["sobol", "random"],
    typer.Option(help="For --sample: sobol leaves no part of the space empty; random: independently."),
]
Seed = Annotated[int, typer.Option(min=0, help="For all that is drawn by chance.")]
Every = Annotated[str, typer.Option(help="Time between refreshes of the limits: 6h, 1d, 7d, 1w …")]
Default = Annotated[
    str,
    typer.Option(metavar="SET", help="What one has now: standard, looser, tighter, or a .toml or .json file."),
]
Dense = Annotated[Buckets, typer.Option(help="sparse: as in production; dense: silent hours are zeros.")]


def sweep(
    dataset: DatasetArgument,
    vary: Vary = None,
    sample: Sample = None,
    range_: Range = None,
    method: Method = "sobol",
    seed: Seed = 0,
    default: Default = "standard",
    buckets: Dense = "sparse",
    every: Every = "1d",
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
    out: Annotated[Path | None, typer.Option(help="Write a .parquet or .csv file with a row for each setting.")] = None,
    as_json: AsJson = False,
) -> None:
    """Judge very many settings exactly, in the time of a few backtests.

    Shows those that no other beats, what one has now, which variables limits hang on, and which change nothing. The
    best of many is partly luck: recommend says what is left of it.
    """
    from issue_analytics.backtest import Policy
    from issue_analytics.threshold_files import load_thresholds
    from issue_analytics.tuning.binding import flat_variables

    if out is not None and out.suffix not in {".parquet", ".csv"}:
        raise SettingsError(f"--out {out}: name a .parquet or .csv file.")
    settings = _settings(vary, sample, range_, method, seed)
    current = load_thresholds(default)
    matching = matching_of(lead=lead, grace=grace, open_=open_, merge=merge, pairing=pairing)
    policy = Policy(every=every, offset=offset)
    past = history_of(dataset, truth=truth, store=store, silence=silence, merged=merged)
    prepared = _prepared(past, policy, buckets, matching)
    table = prepared.sweep(settings, progress=False if as_json else None)
    now = prepared.sweep([current])
    flat, terms = flat_variables(table), prepared.binding(current)
    if out is not None:
        write_whole(table, out)
    front = _front(table, current, prepared.labelled)
    if as_json:
        say_json(
            {
                "dataset": str(dataset),
                "truth": past.truth,
                "silence": past.silence,
                "left_out": past.left_out,
                "groups": prepared.groups.height,
                "exposed_series_weeks": prepared.groups["exposed_hours"].sum() / 168,
                "buckets": buckets,
                "every": every,
                "offset": offset,
                "matching": str(matching),
                "settings": table.height,
                "default": now.row(0, named=True),
                "front": [_finite(row) for row in front.to_dicts()],
                "binding": terms.to_dicts(),
                "flat": flat.to_dicts(),
                "out": None if out is None else str(out),
            }
        )
        return
    show_sweep(past, prepared, table, front, now, current, terms, flat)
    if out is not None:
        say(f"\n{table.height:,} rows in {out}")


def _prepared(past: History, policy: "Policy", buckets: Buckets, matching: "Matching") -> "Prepared":
    """The history, reduced to what thresholds act on."""
    from issue_analytics.tuning import prepare

    prepared = prepare(
        past.counts, past.escalations, policy=policy, buckets=buckets, matching=matching, **past.options()
    )
    if prepared.exposure.is_empty():
        raise DatasetError(
            f"{past.data.path}: nothing to judge: no issue was archived until escalating within the judged time. "
            "--truth none shows the burden of alerts on all issues."
        )
    return prepared


def _front(table: "pl.DataFrame", current: "ThresholdVariables", labelled: bool) -> "pl.DataFrame":
    """The settings that no other beats, or one for each number of alerts; of equals the one nearest to the current."""
    import polars as pl

    from issue_analytics.tuning.choosing import cost_curve, pareto_front
    from issue_analytics.tuning.family import simplicity
    from issue_analytics.tuning.settings import as_settings

    changed, change = simplicity(as_settings(table), current)
    nearest = table.with_columns(changed=pl.Series(changed), change=pl.Series(change)).sort(
        "changed", "change", maintain_order=True
    )
    nearest = nearest.drop("changed", "change")
    if not labelled:
        alike = nearest.group_by("alerts", maintain_order=True)
        return (
            alike.agg(pl.exclude("alerts").first(), settings=pl.len()).sort("alerts").select(*table.columns, "settings")
        )
    prices = cost_curve(nearest).select("digest", "cost_ratio_from", "cost_ratio_to")
    return pareto_front(nearest).join(prices, on="digest", how="left", maintain_order="left")


# ---- settings ---- #


def _settings(
    vary: Sequence[str] | None,
    sample: int | None,
    ranges: Sequence[str] | None,
    method: Literal["sobol", "random"],
    seed: int,
) -> "pl.DataFrame":
    """The settings that the options ask for."""
    from issue_analytics.thresholds import ThresholdVariables

    if sample is None and ranges:
        raise SettingsError("--range goes with --sample N; for a grid there is --vary NAME=FROM:TO:NUMBER.")
    if sample is not None:
        if vary or not ranges:
            raise SettingsError("--sample draws from ranges: give --range NAME=FROM:TO, and no --vary.")
        if sample > _MOST:
            raise SettingsError(f"--sample {sample}: at most {_MOST:,} settings at a time.")
        ends = {name: _range_of(name, text) for name, text in _named("--range", ranges).items()}
        return ThresholdVariables.sample(sample, seed=seed, method=method, **ends)
    values = {name: _values_of(name, text) for name, text in _named("--vary", vary or ()).items()} or _GRID
    if (number := math.prod(map(len, values.values()))) > _MOST:
        raise SettingsError(f"--vary: {number:,} combinations; at most {_MOST:,} at a time. Take fewer values.")
    return ThresholdVariables.grid(**values)


def _named(option: str, given: Sequence[str]) -> dict[str, str]:
    """Options of the form NAME=TEXT by name, each once and known."""
    from issue_analytics.thresholds import STANDARD

    known, found = STANDARD.to_dict(), dict[str, str]()
    for one in given:
        name, separator, text = one.partition("=")
        if not separator:
            raise SettingsError(f"{option} {one}: expected NAME=…, such as {option} std_multiplier=3:7{_MORE[option]}.")
        if name not in known:
            raise SettingsError(f"{option} {one}: no variable {name!r}. There are: {', '.join(known)}.")
        if name in found:
            raise SettingsError(f"{option} {one}: {name} is given twice.")
        found[name] = text
    return found


_MORE: Final = {"--vary": ":5", "--range": ""}
"""What the example of an option ends with."""


def _values_of(name: str, text: str) -> tuple[float, ...]:
    """The values of a grid: FROM:TO:NUMBER, or listed."""
    if ":" not in text:
        return tuple(_number("--vary", name, text, part) for part in text.split(","))
    parts = text.split(":")
    if len(parts) != 3 or not (parts[2].isascii() and parts[2].isdigit() and len(parts[2]) < 10 and int(parts[2]) > 1):
        raise SettingsError(f"--vary {name}={text}: expected FROM:TO:NUMBER, two values or more, such as 1.2:3:10.")
    low, high = (_number("--vary", name, text, part) for part in parts[:2])
    number = int(parts[2])
    if number > _MOST:
        raise SettingsError(f"--vary {name}={text}: at most {_MOST:,} settings at a time.")
    # 1.4, and not 1.4000000000000001
    return tuple(float(f"{low + (high - low) * step / (number - 1):.12g}") for step in range(number))


def _range_of(name: str, text: str) -> tuple[float, float]:
    parts = text.split(":")
    if len(parts) != 2:
        raise SettingsError(f"--range {name}={text}: expected FROM:TO, such as 1.2:3.")
    return _number("--range", name, text, parts[0]), _number("--range", name, text, parts[1])


def _number(option: str, name: str, text: str, part: str) -> float:
    try:
        return float(part)
    except ValueError:
        raise SettingsError(f"{option} {name}={text}: {part!r} is no number.") from None


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """A row for JSON, which knows no infinity: null is without end."""
    return {name: None if value == math.inf else value for name, value in row.items()}
