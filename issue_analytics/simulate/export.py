"""Put a simulation's files into a folder: each is there whole or not at all."""

import gzip
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from issue_analytics.errors import DatasetError
from issue_analytics.simulate.writers import chosen, writer

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["write_files"]


def write_files(folder: Path, sim: "Simulation", formats: Iterable[str], *, progress: bool | None = None) -> list[Path]:
    """Write everything under temporary names, then rename: a file is there whole or not at all."""
    from tqdm.auto import tqdm

    contents = _contents(sim, chosen(formats))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        done: list[tuple[Path, Path]] = []
        try:
            bar = tqdm(contents, desc="write", unit="file", delay=2, leave=False, disable=progress is False)
            for name, content in bar:
                done.append(_put(folder / name, content))  # if one fails, those before are unlinked
            _refuse_leftovers(folder, {path for _, path in done})
            for temporary, path in done:
                temporary.replace(path)
        finally:
            for temporary, _ in done:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be written ({error.strerror or error}).") from None
    return [path for _, path in done]


def _contents(sim: "Simulation", formats: list[str]) -> Iterator[tuple[str, bytes]]:
    for name in formats:
        yield from writer(name)(sim)
    yield "planted.csv", _planted_csv(sim.escalations)


def _planted_csv(escalations: pl.DataFrame) -> bytes:
    return escalations.write_csv(datetime_format="%Y-%m-%dT%H:%M:%SZ").encode()


def _refuse_leftovers(folder: Path, written: set[Path]) -> None:
    """Raise if files of another simulation would stay among those of this one: numbered ones, or named after issues."""
    numbered = re.compile(r"(.*-)\d+(\..*)")
    families = {found.groups() for path in written if (found := numbered.fullmatch(path.name))}
    other = [
        path.relative_to(folder).as_posix()
        for inside in sorted({folder, *(path.parent for path in written)})
        for path in sorted(inside.iterdir())
        if path not in written
        and not path.name.startswith(".")  # our own, under their temporary names
        and (inside != folder or ((found := numbered.fullmatch(path.name)) and found.groups() in families))
    ]
    if other:
        raise DatasetError(
            f"{folder}: holds {', '.join(other)} of another or a larger simulation; the two would be read as one. "
            "Choose an empty folder, or remove them."
        )


def _put(path: Path, content: bytes) -> tuple[Path, Path]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(exist_ok=True)
    try:
        with temporary.open("wb") as file:
            if path.suffix == ".gz":
                # no name and no clock in the header: same content, same bytes
                with gzip.GzipFile(filename="", mode="wb", compresslevel=3, fileobj=file, mtime=0) as packed:
                    packed.write(content)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:  # interrupted as well: nothing half written stays
        temporary.unlink(missing_ok=True)
        raise
    return temporary, path
