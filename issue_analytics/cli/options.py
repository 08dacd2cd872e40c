"""What several commands share: options, and writing a frame."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from issue_analytics.errors import DatasetError, SettingsError

if TYPE_CHECKING:
    import polars as pl

    from issue_analytics.thresholds import ThresholdVariables

__all__ = ["AsJson", "Buckets", "Merged", "Thresholds", "one_set", "write_whole"]

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
Merged = Annotated[
    Literal["leave-out", "keep"],
    typer.Option(help="What to do with issues whose events were merged, moved or deleted after the fact."),
]


def one_set(name: str) -> "ThresholdVariables":
    """The thresholds of a set or a file, for all issues.

    Raises:
        SettingsError: there is no such set, or segments of it have their own: the common ones alone would be told as
            the whole set.
    """
    from issue_analytics.threshold_files import read_threshold_set

    found = read_threshold_set(name)
    if found.digest != found.thresholds.digest:
        raise SettingsError(
            f"{name}: has thresholds of their own by {found.by}, and here one set is for all issues. Take one of them: "
            "issue-analytics thresholds export FILE --segment common --out common.json."
        )
    return found.thresholds


def write_whole(frame: "pl.DataFrame", out: Path) -> None:
    """Write a frame as Parquet or CSV, whole or not at all."""
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
