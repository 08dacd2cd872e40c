"""The canonical dataset: a folder of Parquet parts, and the manifest that says which of them count.

The manifest is written last and whole, once per imported file. Parts it does not name are invisible, so a killed
import leaves the dataset as it was after its last whole file, and the next import goes on with the next one.
"""

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from issue_analytics.counts import hourly_counts
from issue_analytics.errors import DatasetError, ExportError
from issue_analytics.exports.ahead import ahead
from issue_analytics.exports.arrivals import Arrivals, Known
from issue_analytics.exports.files import Source, expand, hash_and_damage, reason, told
from issue_analytics.exports.manifest import DRAFT, FOLDERS, FORMAT, MANIFEST, PART, commit, load, nothing
from issue_analytics.exports.reading import Options, Part, UnknownFileError, read_file, whole_file_reject
from issue_analytics.frames import KEY

__all__ = ["Dataset", "import_export", "open_dataset"]

_LOCK: Final = ".lock"

_PARTS_AHEAD: Final = 4
"""Parts of a file that are read while its content is hashed, or earlier parts are written."""

_NAMED_BY_FILE: Final = ("activities", "events_stats", "events_timeseries", "group_stats")
"""Formats whose records may leave it to the name of the file which issue they are about."""

ALTERING: Final = (
    *("merged", "unmerged", "pending_merge", "reprocess", "reprocessing"),
    *("deleted", "pending_deletion", "deletion_in_progress"),
)
"""Kinds of status change after which a group's counts are no longer those the tracker acted on."""


@dataclass(frozen=True)
class Dataset:
    """Imported exports: lazy frames that keep the contracts of ``schemas``, and the manifest.

    ``manifest`` holds ``sources`` (path, size, hash, rows per kind, parts), ``totals`` per kind (read, accepted,
    rejected, duplicates), ``rejects`` by reason, ``span`` (first and last hour) and ``skipped`` files with the reason.
    ``outcomes`` says of each file of the import that gave this dataset what became of it; empty for an opened one.
    """

    path: Path
    manifest: Mapping[str, Any]
    outcomes: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    def _scan(self, kind: str) -> pl.LazyFrame:
        parts = [str(self.path / part) for source in self.manifest["sources"] for part in source["parts"].get(kind, ())]
        return pl.scan_parquet(parts, glob=False) if parts else nothing(kind).lazy()

    @property
    def occurrences(self) -> pl.LazyFrame:
        """One row is one occurrence (contract ``Occurrences``)."""
        return self._scan("occurrences")

    @property
    def hourly_counts(self) -> pl.LazyFrame:
        """One row is a group and an hour (contract ``HourlyCounts``), in no order.

        Where the count of a group and hour was exported, it counts; for all other hours, occurrences are counted. Never
        both: adding them up would count events twice.
        """
        counted = hourly_counts(self.occurrences)
        if not self.manifest["totals"].get("hourly_counts", {}).get("accepted"):
            return counted
        exported = self._scan("hourly_counts")
        hour = (*KEY, "hour")
        return pl.concat([exported, counted.join(exported.select(hour), on=hour, how="anti")])

    @property
    def status_changes(self) -> pl.LazyFrame:
        """One row is one recorded status change (contract ``StatusChanges``)."""
        return self._scan("status_changes")

    @property
    def escalations(self) -> pl.LazyFrame:
        """One row is one labelled escalation from an imported table (contract ``Escalations``)."""
        return self._scan("escalations")

    @property
    def recorded_forecasts(self) -> pl.LazyFrame:
        """One row is a limit that the tracker had stored for a group and day (contract ``RecordedForecasts``)."""
        return self._scan("recorded_forecasts")

    @property
    def corrections(self) -> pl.LazyFrame:
        """One row is a message that changed which events count for a group (contract ``Corrections``)."""
        return self._scan("corrections")

    @property
    def rejects(self) -> pl.LazyFrame:
        """One row is one input row that was not accepted (contract ``Rejects``)."""
        return self._scan("rejects")

    @property
    def occurrences_by_part(self) -> pl.LazyFrame:
        """As :attr:`occurrences`, with ``part``: which imported file a row came from."""
        parts = [
            pl.scan_parquet(
                [str(self.path / part) for part in source["parts"]["occurrences"]], glob=False
            ).with_columns(part=pl.lit(number, pl.Int64))
            for number, source in enumerate(self.manifest["sources"])
            if source["parts"].get("occurrences")
        ]
        return pl.concat(parts) if parts else nothing("occurrences").lazy().with_columns(part=pl.lit(0, pl.Int64))

    @property
    def altered_groups(self) -> pl.LazyFrame:
        """One row is a group whose events were merged, unmerged, moved or removed after the fact.

        ``project_id``, ``group_id`` and ``why``, the kinds of what was recorded, sorted. Counts of such a group are not
        those the tracker acted on, which is why backtests leave it out.
        """
        changes = self.status_changes.filter(pl.col("kind").is_in(ALTERING)).select(*KEY, "kind")
        corrections = self.corrections.select(*KEY, "event_id", "kind")
        by_event = (
            corrections.filter(pl.col("group_id").is_null(), pl.col("event_id").is_not_null())
            .drop("group_id")
            .join(self.occurrences.select(*KEY, "event_id"), on=["project_id", "event_id"])
        )
        named = corrections.filter(pl.col("group_id").is_not_null())
        return (
            pl.concat([frame.select(*KEY, "kind") for frame in (changes, named, by_event)])
            .group_by(KEY)
            .agg(why=pl.col("kind").unique().sort())
            .sort(KEY)
        )

    @property
    def titles(self) -> pl.LazyFrame:
        """One row is a group with the title of its last occurrence; null where that has none."""
        last = pl.col("title").sort_by("detected_at", "occurrence_id").last()
        return self.occurrences.group_by(*KEY).agg(last).sort(*KEY)

    def __repr__(self) -> str:
        first, last = self.manifest["span"]["first_hour"], self.manifest["span"]["last_hour"]
        lines = [f"Dataset {self.path}: {len(self.manifest['sources'])} sources, hours {first} to {last} (UTC)"]
        for kind, tally in self.manifest["totals"].items():
            numbers = ", ".join(f"{number:,} {name}" for name, number in tally.items())
            lines.append(f"  {kind}: {numbers}")
        return "\n".join(lines)


def open_dataset(path: str | Path) -> Dataset:
    """Open a dataset that :func:`import_export` wrote. Nothing is read but the manifest and the parts' last bytes.

    Raises:
        DatasetError: no dataset there, one written by a newer version, or one that lost parts or holds damaged ones.

    >>> open_dataset("/nowhere")
    Traceback (most recent call last):
    issue_analytics.errors.DatasetError: /nowhere: no dataset (no such folder). Make one with import_export(...
    """
    return Dataset(Path(path), load(Path(path)))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / _LOCK).open("ab")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written ({reason(error)}).") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DatasetError(f"{path}: another import is writing this dataset; wait until it is done.") from None
        yield


def _why(path: Path, error: ExportError) -> str:
    return told(str(error).removeprefix(f"{path}: "))


def _as_named(path: Path, digest: str, imported: Mapping[str, Mapping[str, Any]]) -> str:
    """What stands for a file: its content, and where an issue's file says nothing else of it, also the name.

    Two silent issues have the same points, and one that was refused for want of a name may have got one.
    """
    old = imported.get(digest)
    stem = path.name.split(".")[0]
    if old is None or not re.fullmatch(r"[0-9]+", stem) or stem == Path(old["path"]).name.split(".")[0]:
        return digest
    if old["error"] is None and old["found"] not in _NAMED_BY_FILE:
        return digest
    return hashlib.sha256(f"{stem}: {digest}".encode()).hexdigest()[:32]


class _ChangedError(ExportError):
    """A file that was written to while it was read: its hash need not be that of the rows that were seen."""


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None  # reading it says why
    return found.st_size, found.st_mtime_ns


def _import_file(
    path: Path, target: Path, digest: str, parts: Iterator[Part], known: Known, state: tuple[int, int] | None
) -> dict[str, Any]:
    """Write the parts of one file; returns its entry of the manifest, less what names the file."""
    with Arrivals(path, target, digest, known) as arrivals:
        for part in parts:
            arrivals.add(part)
        if _state(path) != state:
            raise _ChangedError(f"{path}: changed while it was read; import it again once it is whole.")
        return arrivals.finish()


def _reject_file(
    path: Path, target: Path, digest: str | None, options: Options, known: Known, error: ExportError
) -> dict[str, Any]:
    """As ``_import_file``, for a file that cannot be read: one reject stands for it."""
    kind, why = options.kind or "occurrences", _why(path, error)
    # without content there is no hash of it: path and reason stand for it
    name = digest or "unread-" + hashlib.blake2b(f"{told(path)}: {why}".encode(), digest_size=16).hexdigest()
    with Arrivals(path, target, name, known) as arrivals:
        arrivals.refuse(kind, whole_file_reject(path, error, kind))
        return {**arrivals.finish(), "error": why}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def _take_up(
    target: Path,
    manifest: dict[str, Any],
    known: Known,
    new: dict[str, Any] | None,
    skip: dict[str, str] | None,
    gone: dict[str, Any] | None,
) -> None:
    """Commit what came of a file, if anything: a new entry, a file skipped, an entry that holds no longer."""
    skips = [skip] if skip is not None and skip not in manifest["skipped"] else []
    if new is None and gone is None and not skips:
        return
    entries = [new] if new is not None else []
    manifest["sources"] = [entry for entry in manifest["sources"] if entry is not gone] + entries
    manifest["skipped"] = manifest["skipped"] + skips
    if manifest["sources"] or (target / MANIFEST).exists():
        try:
            commit(target, manifest)
        except OSError:
            for entry in entries:
                known.forget(entry)
            raise
    for entry in entries:
        known.learn(entry)
    if gone is not None:
        known.forget(gone)


def _strangers(target: Path) -> list[str]:
    """What lies in a folder without manifest, other than what a killed import leaves there."""
    found = []
    for entry in target.iterdir():
        if entry.name in FOLDERS and entry.is_dir() and not entry.is_symlink():
            inner = [f"{entry.name}/{part.name}" for part in entry.iterdir()]
            found += [name for name in inner if not PART.fullmatch(name)]
        elif entry.name not in (_LOCK, DRAFT):
            found.append(entry.name)
    return sorted(found)


def _there(target: Path) -> set[str] | None:
    """Names of what lies in the target already, None where it is new.

    Raises:
        DatasetError: the folder holds other files, or cannot be read.
    """
    try:
        if not target.exists():
            return None
        others = [target.name] if not target.is_dir() else [] if (target / MANIFEST).exists() else _strangers(target)
        names = {entry.name for entry in target.iterdir()} if not others else set()
    except OSError as error:
        raise DatasetError(f"{target}: cannot be read ({reason(error)}).") from None
    if others:
        raise DatasetError(
            f"{target}: holds other files ({told(', '.join(others))[:200]}); name a new or empty folder."
        )
    return names


@contextlib.contextmanager
def _tidied(target: Path, there: set[str] | None) -> Iterator[None]:
    """Leave nothing behind if no manifest comes of it. What lay ``there`` before stays, whatever it is."""
    try:
        yield
    finally:
        if not (target / MANIFEST).exists():
            # an import that fails takes its parts with it: only empty folders are left to go
            with contextlib.suppress(OSError):
                for kind in FOLDERS:
                    if kind not in (there or ()) and (target / kind).exists():
                        (target / kind).rmdir()
                if there is None:
                    (target / _LOCK).unlink(missing_ok=True)
                    target.rmdir()


def import_export(
    source: Source,
    target: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,
    provenance: str = "human",
    progress: bool | None = None,
) -> Dataset:
    r"""Import exports of any size and of all kinds into a dataset, and return it.

    Files are read one after the other and each is committed whole: after a kill, the same call goes on with the first
    file that is missing. A file whose content was imported before changes nothing. Rows already there are duplicates;
    counts that contradict imported ones are rejected, naming the earlier file. In a folder, a file that cannot be read
    becomes one reject, and a file that is no export is listed as skipped; a single file that is named must be readable.
    Rows dated more than a day after now are rejected: they tell of a wrong clock, and would stretch every history.

    Args:
        source: a path, a pattern, a folder (to any depth), or a list of these.
        target: the folder of the dataset, new or made by an earlier import.
        columns: the user's names for our columns, for any other table of events.
        format: the kind of rows, instead of sniffing it.
        provenance: what labelled escalations get that name none.
        progress: None shows a bar if it takes more than two seconds, False never.

    Raises:
        ExportError: nothing to read, or one named file that cannot be read.
        DatasetError: the folder is no dataset, is in use, or cannot be written; it is left as it was after the last
            whole file, and nothing in it is ever removed but what this import wrote.
        SettingsError: an unknown format, column or provenance.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "app.csv"
    ...     _ = file.write_text("group_id,detected_at\n7,2026-01-05T09:00:00Z\n7,2026-01-05T09:30:00Z\n8,soon\n")
    ...     dataset = import_export(file, Path(folder) / "data")
    ...     counts = dataset.hourly_counts.collect()
    ...     again = import_export(file, Path(folder) / "data")
    >>> counts.select("group_id", "count").rows(), dataset.manifest["totals"]["occurrences"]
    ([(7, 2)], {'read': 3, 'accepted': 2, 'rejected': 1, 'duplicates': 0})
    >>> again.outcomes[0][1]
    'already imported'
    """
    options = Options(columns, format, provenance)
    target = Path(target)
    files, single = expand(source)
    here = os.path.realpath(target)
    files = [file for file in files if Path(here) not in Path(os.path.realpath(file)).parents]
    there = _there(target)
    with _locked(target), _tidied(target, there):
        try:
            return _import_all(files, target, options, source, single=single, progress=progress)
        except (OSError, pl.exceptions.PolarsError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error).splitlines()[0]
            raise DatasetError(
                f"{target}: cannot be written ({why}); the dataset is as it was after its last whole file."
            ) from None


def _import_all(
    files: list[Path], target: Path, options: Options, source: Source, *, single: bool, progress: bool | None
) -> Dataset:
    from tqdm.auto import tqdm

    manifest: dict[str, Any] = {"format": FORMAT, "sources": [], "skipped": []}
    if (target / MANIFEST).exists():
        manifest = load(target)
    settings = {"columns": dict(options.columns or {}), "format": options.format, "provenance": options.provenance}
    known = Known(target, manifest["sources"])
    imported = {entry["hash"]: entry for entry in manifest["sources"] if entry["hash"] is not None}
    unread = {entry["path"]: entry for entry in manifest["sources"] if entry["hash"] is None}
    outcomes: list[tuple[str, str]] = []
    total = sum(map(_size, files))
    with tqdm(
        total=total, unit="B", unit_scale=True, desc="import", delay=2, leave=False, disable=progress is False
    ) as bar:
        for path in files:
            name = told(path)
            new = old = skip = digest = None
            before, state = bar.n, _state(path)
            try:
                # while the content is hashed, reading begins
                with ahead(read_file(path, options, tell=bar.update), _PARTS_AHEAD) as parts:
                    content, damage = hash_and_damage(path)
                    digest = _as_named(path, content, imported)
                    old = imported.get(digest)
                    if old is None and damage is not None:
                        raise damage  # a bomb holds too much to be read for nothing
                    if old is None:
                        new = _import_file(path, target, digest, parts, known, state)
                if old is not None and any(old[setting] != value for setting, value in settings.items()):
                    raise DatasetError(
                        f"{path}: already imported into {target} with other columns, format or provenance; "
                        "import it into a new dataset."
                    )
                if old is not None and single and old["error"] is not None:
                    raise ExportError(f"{path}: {old['error']}")
            except ExportError as error:
                if single:
                    raise
                if isinstance(error, _ChangedError):
                    digest = None  # nothing is known of its content, and the next import looks again
                if isinstance(error, UnknownFileError):
                    skip = {"path": name, "reason": _why(path, error)}
                elif digest is None and unread.get(name, {}).get("error") == _why(path, error):
                    old = unread[name]
                else:
                    new = _reject_file(path, target, digest, options, known, error)
            if new is not None:
                new = {"path": name, "size": _size(path), "hash": digest, **settings, **new}
            else:
                bar.update(before + _size(path) - bar.n)
            # what stood for this file, or for a folder around it, while that could not be read
            gone = next((unread[place] for place in map(told, (path, *path.parents)) if place in unread), None)
            if gone is old:
                gone = None
            if gone is not None:
                del unread[gone["path"]]
            _take_up(target, manifest, known, new, skip, gone)
            entry = new or old
            if skip is not None:
                outcome = f"skipped: {skip['reason']}"
            elif entry is not None and entry["error"] is not None:
                outcome = f"rejected: {entry['error']}"
            else:
                outcome = "imported" if new is not None else "already imported"
            outcomes.append((name, outcome))
            if new is not None and digest is not None:
                imported[digest] = new
    if not manifest["sources"]:
        first = outcomes[0][1] if outcomes else "they lie in the dataset itself"
        raise ExportError(f"{source}: none of {len(outcomes)} files is an export; the first: {first}")
    return Dataset(target, manifest, tuple(outcomes))
