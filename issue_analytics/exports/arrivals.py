"""Rows that arrive at a dataset: checked against what is there, and written as parts."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from issue_analytics.errors import ExportError
from issue_analytics.exports.files import told
from issue_analytics.exports.formats import plain
from issue_analytics.exports.kinds import KINDS
from issue_analytics.exports.kinds.hourly_counts import DAILY, is_daily
from issue_analytics.exports.quarantine import RAW, REJECTS, WARNING, warnings_of
from issue_analytics.exports.reading import Part, Tally, merge, words_of
from issue_analytics.frames import check

__all__ = ["Arrivals", "Known"]

_HELD: Final = 100_000
"""Rejects held in memory before they are written."""

_PART_ROWS: Final = 2**18
"""Occurrences of one part; looking at each part for its contract takes a while, however few its rows."""

_AHEAD: Final = timedelta(days=1)
"""How far the clock of a sender may be ahead of ours. Later rows would make the future part of every history."""


def _hashes(ids: pl.Series) -> npt.NDArray[np.uint64]:
    # 64 bits: among fifty million ids, the chance that any two of them meet is below one in ten thousand
    return np.sort(ids.hash(seed=1).to_numpy())


def _among(wanted: npt.NDArray[np.uint64], run: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    if not run.size:
        return np.zeros(wanted.shape, dtype=np.bool_)
    place = np.minimum(np.searchsorted(run, wanted), run.size - 1)
    return np.asarray(run[place] == wanted)


class Known:
    """What a dataset holds already: hashes of its occurrence ids (8 bytes each), and where its other rows lie.

    ``sources`` are the entries of the manifest. Nothing is read before it is asked for.
    """

    def __init__(self, target: Path, sources: Sequence[Mapping[str, Any]]) -> None:
        self.target = target
        self.sources = list(sources)
        self._runs: list[npt.NDArray[np.uint64]] | None = None

    def parts(self, kind: str) -> dict[str, str]:
        """Paths of the parts of a kind, each with the path of the export it came from."""
        return {
            str(self.target / part): entry["path"] for entry in self.sources for part in entry["parts"].get(kind, ())
        }

    @property
    def runs(self) -> list[npt.NDArray[np.uint64]]:
        """Sorted hashes of all occurrence ids, in runs that at least double in length."""
        if self._runs is None:
            self._runs = []
            for part in self.parts("occurrences"):
                self.add(_hashes(pl.read_parquet(part, columns=["occurrence_id"], glob=False)["occurrence_id"]))
        return self._runs

    def add(self, run: npt.NDArray[np.uint64]) -> None:
        """Take up one more sorted run."""
        runs = self.runs
        runs.append(run)
        while len(runs) > 1 and runs[-2].size < 2 * runs[-1].size:
            last = runs.pop()
            runs[-1] = np.concatenate([runs[-1], last])
            runs[-1].sort(kind="stable")  # where it lies: hashes of fifty million ids are 400 MB

    def learn(self, entry: Mapping[str, Any]) -> None:
        """Take up a file that was committed; its occurrence ids were taken up as they came."""
        self.sources.append(entry)

    def forget(self, entry: Mapping[str, Any]) -> None:
        """Remove the parts of a file that will not be committed."""
        for named in entry["parts"].values():
            for part in named:
                (self.target / part).unlink(missing_ok=True)

    def restart(self) -> None:
        """Forget ids that came from a file which was thrown away."""
        self._runs = None


class Arrivals:
    """The rows of one file on their way into a dataset.

    Occurrences are written part by part; the other kinds are held until the file ends, since rows of one file may
    contradict each other wherever they stand. Used as a context: when it is left by an exception of any kind, nothing
    of the file stays behind.
    """

    def __init__(self, path: Path, target: Path, name: str, known: Known) -> None:
        self.path, self.target, self.name, self.known = path, target, name, known
        self.tallies: dict[str, Tally] = {}
        self.parts: dict[str, list[str]] = {}
        self.reasons: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()
        self.warnings: Counter[str] = Counter()
        self.found: str | None = None
        self.note: str | None = None
        self.held: dict[str, list[pl.DataFrame]] = {}
        self.waiting: list[pl.DataFrame] = []
        self.rejects: list[pl.DataFrame] = []
        self.span: list[str] | None = None
        self.dirty = False
        self.latest = datetime.now(UTC) + _AHEAD

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.known.forget({"parts": self.parts})
            if self.dirty:
                self.known.restart()

    def _tally(self, kind: str) -> Tally:
        return self.tallies.setdefault(kind, Tally())

    def _write(self, kind: str, frame: pl.DataFrame) -> None:
        named = self.parts.setdefault(kind, [])
        part = f"{kind}/{self.name}-{len(named):05d}.parquet"
        file = self.target / part
        file.parent.mkdir(exist_ok=True)
        named.append(part)
        frame.write_parquet(file, compression="zstd", compression_level=1, statistics=True)
        with file.open("rb") as written:
            os.fsync(written.fileno())

    def _accept(self, kind: str, frame: pl.DataFrame) -> None:
        if not frame.height:
            return
        self.warnings.update(warnings_of(frame))
        columns = [name for name in frame.columns if name not in ("row", "file", WARNING)]
        frame = check(frame.select(columns), KINDS[kind].contract)
        self._write(kind, frame)
        self._tally(kind).accepted += frame.height
        if kind in ("occurrences", "hourly_counts"):
            when = pl.col(KINDS[kind].dated)
            ends = frame.select(when.min().alias("low"), when.max().alias("high"))
            low, high = ends.select(pl.all().dt.truncate("1h").dt.to_string("%Y-%m-%dT%H:%M:%SZ")).row(0)
            self.span = [low, high] if self.span is None else [min(self.span[0], low), max(self.span[1], high)]

    def refuse(self, kind: str, rejects: pl.DataFrame) -> None:
        """Take up rejects of rows that count as read already, or of a whole file."""
        if not rejects.height:
            return
        self._tally(kind).rejected += rejects.height
        if self.tallies[kind].read == 0:
            self.tallies[kind].read = rejects.height
        # values differ from row to row; the manifest counts sentences
        said = rejects["reasons"].explode().str.replace_all(r'(?s)".*"', '"..."')
        # in order, so that the same files give the same manifest
        self.reasons.update(dict(said.to_frame().group_by("reasons", maintain_order=True).len().iter_rows()))
        self.rejects.append(rejects.select(list(REJECTS)))
        if sum(frame.height for frame in self.rejects) >= _HELD:
            self._flush()

    def _flush(self) -> None:
        if self.rejects:
            self._write("rejects", check(pl.concat(self.rejects), "Rejects"))
            self.rejects = []

    def add(self, part: Part) -> None:
        """Take up one part of the file."""
        self.found, self.note = part.found, part.note or self.note
        self.ignored.update(part.ignored)
        for kind, number in part.read.items():
            self._tally(kind).read += number
        for kind in part.rejects["kind"].unique(maintain_order=True) if part.rejects.height else ():
            self.refuse(kind, part.rejects.filter(pl.col("kind") == kind))
        for kind, arrived in part.accepted.items():
            frame = self._past(kind, arrived)
            if kind == "occurrences":
                self._occurrences(frame)
            else:
                self.held.setdefault(kind, []).append(frame)

    def _past(self, kind: str, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows that may have happened; the others are rejected."""
        dated = frame[KINDS[kind].dated]
        if not (dated > self.latest).any():
            return frame
        when = pl.col(KINDS[kind].dated)
        future = frame.filter(when > self.latest)
        at = when.dt.to_string("%Y-%m-%dT%H:%M:%SZ")
        sentence = pl.format(f'{KINDS[kind].dated}: in the future: "{{}}"; check the clock of the sender', at)
        rejects = future.select(
            "row",
            source=pl.lit(told(self.path)),
            reasons=pl.concat_list(sentence),
            raw=pl.struct(pl.exclude("row", WARNING)).struct.json_encode().str.slice(0, RAW),
        )
        self.refuse(kind, rejects)
        return frame.filter((when <= self.latest).fill_null(value=True))

    def _occurrences(self, frame: pl.DataFrame) -> None:
        single = frame
        hashes = single["occurrence_id"].hash(seed=1).to_numpy()
        order = np.argsort(hashes)
        if (np.diff(hashes[order]) == 0).any():  # the same id, or in all likelihood
            single, _, _ = merge("occurrences", frame)
            hashes = single["occurrence_id"].hash(seed=1).to_numpy()
            order = np.argsort(hashes)
        known = np.zeros(hashes.shape, dtype=np.bool_)
        for run in self.known.runs:
            known[order] |= _among(hashes[order], run)
        new = single.filter(pl.Series(~known)) if known.any() else single
        self.dirty = True
        self.known.add(hashes[order][~known[order]])
        self._tally("occurrences").duplicates += frame.height - new.height
        self.waiting.append(new)
        if sum(frame.height for frame in self.waiting) >= _PART_ROWS:
            self._write_waiting()

    def _write_waiting(self) -> None:
        if self.waiting:
            self._accept("occurrences", pl.concat(self.waiting))
            self.waiting = []

    def _against_known(self, kind: str, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, int]:
        """Part rows into new ones, rejects that contradict an earlier file, and a number of duplicates."""
        none = pl.DataFrame(schema=REJECTS)
        parts = self.known.parts(kind)
        if not parts:
            return frame, none, 0
        key, told = list(KINDS[kind].unique), list(KINDS[kind].told)
        there = (
            pl.scan_parquet(list(parts), glob=False, include_file_paths="part")
            .select("part", *key, *told)
            .join(frame.lazy().select(key), on=key, how="semi", nulls_equal=True)
            .unique(key)
            .collect()
        )
        if not there.height:
            return frame, none, 0
        words = words_of(told)
        there = there.with_columns(pl.col("part").replace_strict(parts, return_dtype=pl.String), words.alias("theirs"))
        both = frame.join(
            there.select(*key, "part", "theirs"), on=key, how="left", nulls_equal=True, maintain_order="left"
        )
        new = both.filter(pl.col("part").is_null()).select(frame.columns)
        same = both.filter(pl.col("part").is_not_null() & (words == pl.col("theirs"))).height
        clash = both.filter(pl.col("part").is_not_null() & (words != pl.col("theirs")))
        sentence = pl.format('contradicts "{}" of "{}", which was imported earlier; that one stays', "theirs", "part")
        rejects = clash.select(
            pl.col("file").alias("source"),
            "row",
            reasons=pl.concat_list(sentence),
            raw=pl.struct(*key, *told).struct.json_encode(),
        )
        return new, rejects.select(list(REJECTS)) if rejects.height else none, same

    def finish(self) -> dict[str, Any]:
        """Write what is held, and return the entry of the manifest.

        Raises:
            ExportError: the counts are daily.
        """
        self._write_waiting()
        for kind, frames in self.held.items():
            frame = pl.concat(frames).with_columns(pl.lit(told(self.path)).alias("file"))
            if kind == "hourly_counts" and is_daily(frame["hour"]):
                raise ExportError(f"{self.path}: {DAILY}.")
            single, clashes, duplicates = merge(kind, frame)
            new, later, again = self._against_known(kind, single)
            self._tally(kind).duplicates += duplicates + again
            self.refuse(kind, pl.concat([clashes, later]))
            self._accept(kind, new)
        self._flush()
        rows = {
            kind: {
                "read": tally.read,
                "accepted": tally.accepted,
                "rejected": tally.rejected,
                "duplicates": tally.duplicates,
            }
            for kind, tally in self.tallies.items()
        }
        return {
            # rows without nesting have no format but their kind
            "found": ", ".join(self.tallies) if self.found == plain.FORMAT.name else self.found,
            "note": self.note,
            "rows": rows,
            "ignored": dict(self.ignored),
            "parts": self.parts,
            "reasons": dict(self.reasons),
            "warnings": dict(self.warnings),
            "span": self.span,
            "error": None,
        }
