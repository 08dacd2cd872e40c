"""Runs on disk: the results of one backtest of several settings, complete enough to report from alone."""

import json
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import polars as pl

from issue_analytics.backtest.policy import Matching, Policy
from issue_analytics.backtest.result import BacktestResult
from issue_analytics.errors import DatasetError
from issue_analytics.frames import KEY
from issue_analytics.thresholds import ThresholdVariables

__all__ = ["Run", "open_run", "write_run"]

FORMAT: Final = 3
"""2: a run says which groups were left out; 3: how alerts and escalations were paired, and strata of groups."""

_SHARED: Final = ("counts", "exposure", "escalations", "left_out")
_OWN: Final = ("limits", "crossings", "alerts", "matches", "groups")


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder, opened.

    Attributes:
        path: the folder.
        manifest: versions, settings, summaries, and what was known of the dataset.
        results: one result for each setting, in the order they were given.
        titles: project_id, group_id, title; text from an export, hostile until escaped.
    """

    path: Path
    manifest: dict[str, Any]
    results: tuple[BacktestResult, ...]
    titles: pl.DataFrame


def write_run(
    results: Sequence[BacktestResult],
    path: str | Path,
    *,
    dataset: Mapping[str, Any] | None = None,
    titles: pl.DataFrame | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the results of several settings, judged on the same data, as one folder.

    The folder appears whole or not at all.

    Args:
        results: one or more results of the same counts, escalations, exposure and policy.
        path: the folder to make.
        dataset: what is known of the data, for the report; plain JSON values.
        titles: project_id, group_id, title.
        overwrite: replace a run that is there already; anything else that is there is never touched.

    Raises:
        DatasetError: the folder exists, or the results are not of the same data.
    """
    path = Path(path)
    if not results:
        raise DatasetError(f"{path}: no results to write.")
    if len({result.thresholds.digest for result in results}) < len(results):
        raise DatasetError(f"{path}: two of the settings are the same; give each once.")
    for result in results[1:]:
        for name in _SHARED:
            if not getattr(result, name).equals(getattr(results[0], name)):
                raise DatasetError(f"{path}: the results were judged on different {name}; write them as separate runs.")
    if path.exists() and not (overwrite and _is_run(path)):
        advice = "it is no run, and is left alone" if overwrite else "choose another folder, or allow overwriting"
        raise DatasetError(f"{path}: exists already; {advice}.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
            _write(results, Path(scratch) / "new", dataset, titles)
            if path.exists():
                path.rename(Path(scratch) / "old")
            (Path(scratch) / "new").rename(path)
    except (OSError, pl.exceptions.PolarsError) as error:  # polars tells of a full disk in its own way
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise DatasetError(f"{path}: the run could not be written ({why}).") from None
    return path


def _is_run(path: Path) -> bool:
    """Whether a folder holds a run and nothing else."""
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        ours = {setting["digest"] for setting in manifest["settings"]} | {"manifest.json", "titles.parquet"}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return {entry.name for entry in path.iterdir()} <= ours | {f"{name}.parquet" for name in _SHARED}


def _write(
    results: Sequence[BacktestResult], folder: Path, dataset: Mapping[str, Any] | None, titles: pl.DataFrame | None
) -> None:
    folder.mkdir()
    for name in _SHARED:
        getattr(results[0], name).write_parquet(folder / f"{name}.parquet")
    if titles is None:
        titles = pl.DataFrame(schema={**dict.fromkeys(KEY, pl.Int64), "title": pl.String})
    titles.select(*KEY, "title").sort(KEY).write_parquet(folder / "titles.parquet")
    for result in results:
        own = folder / result.thresholds.digest
        own.mkdir()
        for name in _OWN:
            getattr(result, name).write_parquet(own / f"{name}.parquet")
    manifest = {
        "format": FORMAT,
        "versions": {
            "issue_analytics": version("issue-analytics"),
            "polars": pl.__version__,
            "python": platform.python_version(),
        },
        "dataset": dict(dataset) if dataset is not None else None,
        "settings": [
            {
                "thresholds": result.thresholds.to_dict(),
                "name": result.thresholds.name,
                "digest": result.thresholds.digest,
                "policy": asdict(result.policy),
                "buckets": result.buckets,
                "matching": asdict(result.matching),
                "labelled": result.labelled,
                "summary": result.summary().row(0, named=True),
            }
            for result in results
        ],
    }
    text = json.dumps(manifest, indent=1, allow_nan=False) + "\n"
    with (folder / "manifest.json").open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def open_run(path: str | Path) -> Run:
    """Open a run folder.

    Raises:
        DatasetError: there is no run, a part of it is missing, or a newer version wrote it.
    """
    path = Path(path)
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        settings = manifest["settings"]
        if manifest["format"] > FORMAT:
            raise DatasetError(f"{path}: written by a newer version of issue_analytics; update to read it.")
        if manifest["format"] < FORMAT:
            raise DatasetError(f"{path}: written by an older version of issue_analytics; backtest again.")
        shared = {name: pl.read_parquet(path / f"{name}.parquet") for name in _SHARED}
        titles = pl.read_parquet(path / "titles.parquet")
        results = tuple(_result(path, setting, shared) for setting in settings)
    except FileNotFoundError as error:
        if not (path / "manifest.json").is_file():
            advice = f"Make one with: issue-analytics backtest DATASET --out {path}"
            raise DatasetError(f"{path}: no run folder. {advice}") from None
        raise DatasetError(f"{path}: a part of this run is missing ({error}).") from None
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path}: this is no run folder, or it is damaged ({type(error).__name__}).") from None
    return Run(path, manifest, results, titles)


def _result(path: Path, setting: Mapping[str, Any], shared: Mapping[str, pl.DataFrame]) -> BacktestResult:
    own = {name: pl.read_parquet(path / setting["digest"] / f"{name}.parquet") for name in _OWN}
    return BacktestResult(
        thresholds=ThresholdVariables.from_dict(setting["thresholds"]),
        policy=Policy(**setting["policy"]),
        buckets=setting["buckets"],
        matching=Matching(**setting["matching"]),
        labelled=setting["labelled"],
        **shared,
        **own,
    )
