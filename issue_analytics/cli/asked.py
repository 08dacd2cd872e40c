"""Options that say which settings are tried, and what is wanted of them."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from issue_analytics.errors import SettingsError

if TYPE_CHECKING:
    import polars as pl

    from issue_analytics.tuning.objective import Objective

__all__ = ["Method", "Range", "Sample", "Seed", "Vary", "objective_of", "settings_of"]

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


def objective_of(budget: float | None, per: str, min_recall: float | None, cost_ratio: float | None) -> "Objective":
    """What is asked, of exactly one of three options."""
    from issue_analytics.tuning.objective import Objective

    given = {"--budget": budget, "--min-recall": min_recall, "--cost-ratio": cost_ratio}
    asked = [name for name, value in given.items() if value is not None]
    if len(asked) != 1:
        got = " and ".join(asked) or "none"
        raise SettingsError(f"give one of --budget 0.1, --min-recall 0.8 and --cost-ratio 10; got {got}.")
    weekly = budget if per == "series-week" else None
    daily = budget if per == "project-day" else None
    try:
        return Objective(
            alerts_per_series_week=weekly, alerts_per_project_day=daily, min_recall=min_recall, cost_ratio=cost_ratio
        )
    except SettingsError as error:
        raise SettingsError(f"{asked[0]}: {str(error).partition(': ')[2]}") from None


def settings_of(
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
