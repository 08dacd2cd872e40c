"""Frames on disk as one folder that appears whole or not at all."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from issue_analytics.errors import DatasetError

__all__ = ["write_folder"]


def write_folder(path: str | Path, frames: Mapping[str, pl.DataFrame], about: Mapping[str, Any]) -> Path:
    """Write each frame as ``<name>.parquet`` and what they are about as ``setting.json``, in a new folder.

    Raises:
        DatasetError: the folder exists, or cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise DatasetError(f"{path}: exists already; choose another folder.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
            folder = Path(scratch) / "new"
            folder.mkdir()
            for name, frame in frames.items():
                frame.write_parquet(folder / f"{name}.parquet")
            (folder / "setting.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
            folder.rename(path)
    except (OSError, pl.exceptions.PolarsError) as error:  # polars tells of a full disk in its own way
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise DatasetError(f"{path}: could not be written ({why}).") from None
    return path
