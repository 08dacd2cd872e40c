"""What several commands share: options, and writing a frame."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from issue_analytics.errors import DatasetError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["AsJson", "Buckets", "Merged", "Thresholds", "write_whole"]

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
