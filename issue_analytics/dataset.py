"""The canonical dataset: a folder of Parquet parts, and the manifest that says which of them count.

The manifest is written last and whole, once per imported file. Parts it does not name are invisible, so a killed
import leaves the dataset as it was after its last whole file, and the next import goes on with the next one.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import polars as pl

from issue_analytics.counts import hourly_counts
from issue_analytics.errors import DatasetError, ExportError
from issue_analytics.exports.arrivals import Arrivals, Known
from issue_analytics.exports.files import Source, content_hash, expand, reason
from issue_analytics.exports.quarantine import REJECTS
from issue_analytics.exports.reading import CONTRACTS, Options, Unknown, read_file, whole_file_reject
from issue_analytics.frames import KEY, empty

__all__ = ["Dataset", "import_export", "open_dataset"]

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
_LOCK: Final = ".lock"
_OURS: Final = {*CONTRACTS, "rejects", _LOCK, MANIFEST, f"{MANIFEST}.new"}


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
        if not parts:
            return (pl.DataFrame(schema=REJECTS) if kind == "rejects" else empty(CONTRACTS[kind])).lazy()
        return pl.scan_parquet(parts, glob=False)

    @property
    def occurrences(self) -> pl.LazyFrame:
        """One row is one occurrence (contract ``Occurrences``)."""
        return self._scan("occurrences")

    @property
    def hourly_counts(self) -> pl.LazyFrame:
        """One row is a group and an hour (contract ``HourlyCounts``), in no order.

        Counts that were exported, for groups that have any; for all other groups, occurrences counted. Never both:
        adding them up would count events twice.
        """
        exported = self._scan("hourly_counts")
        counted = hourly_counts(self.occurrences.join(exported.select(KEY).unique(), on=KEY, how="anti"))
        return pl.concat([exported, counted])

    @property
    def status_changes(self) -> pl.LazyFrame:
        """One row is one recorded status change (contract ``StatusChanges``)."""
        return self._scan("status_changes")

    @property
    def escalations(self) -> pl.LazyFrame:
        """One row is one labelled escalation from an imported table (contract ``Escalations``)."""
        return self._scan("escalations")

    @property
    def rejects(self) -> pl.LazyFrame:
        """One row is one input row that was not accepted (contract ``Rejects``)."""
        return self._scan("rejects")

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


def _load(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = "a folder without a manifest" if path.is_dir() else "no such folder"
        raise DatasetError(
            f"{path}: no dataset ({what}). Make one with import_export(exports, {str(path)!r})."
        ) from None
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is no JSON"
        raise DatasetError(f"{path / MANIFEST}: cannot be read ({why}); import into a new folder.") from None
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise DatasetError(
            f"{path}: written by a newer version (format {found}, this one reads {FORMAT}); upgrade issue-analytics."
        )
    if found != FORMAT or not isinstance(manifest.get("sources"), list):
        raise DatasetError(f"{path / MANIFEST}: not the manifest of a dataset; name another folder.")
    return dict(manifest)


def open_dataset(path: str | Path) -> Dataset:
    """Open a dataset that :func:`import_export` wrote. Nothing is read but the manifest.

    Raises:
        DatasetError: no dataset there, one written by a newer version, or one that lost parts.

    >>> open_dataset("/nowhere")
    Traceback (most recent call last):
    issue_analytics.errors.DatasetError: /nowhere: no dataset (no such folder). Make one with import_export(...
    """
    path = Path(path)
    manifest = _load(path)
    parts = [part for source in manifest["sources"] for named in source["parts"].values() for part in named]
    if lost := [part for part in parts if not (path / part).is_file()]:
        raise DatasetError(f"{path}: incomplete: {len(lost)} parts are missing, such as {lost[0]}; import again.")
    return Dataset(path, manifest)


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


def _commit(path: Path, manifest: dict[str, Any]) -> None:
    """Replace the manifest: whole, or not at all."""
    manifest |= {
        "issue_analytics": version("issue-analytics"),
        "polars": pl.__version__,
        "totals": _totals(manifest["sources"]),
        "rejects": dict(sum((Counter(source["reasons"]) for source in manifest["sources"]), Counter()).most_common()),
        "span": _span(manifest["sources"]),
    }
    draft = path / f"{MANIFEST}.new"
    with draft.open("w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path / MANIFEST)


def _totals(sources: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    totals: dict[str, dict[str, int]] = {}
    for source in sources:
        for kind, tally in source["rows"].items():
            total = totals.setdefault(kind, dict.fromkeys(tally, 0))
            for name, number in tally.items():
                total[name] += number
    return {kind: totals[kind] for kind in CONTRACTS if kind in totals}


def _span(sources: list[dict[str, Any]]) -> dict[str, str | None]:
    spans = [source["span"] for source in sources if source["span"] is not None]
    return {
        "first_hour": min((first for first, _ in spans), default=None),
        "last_hour": max((last for _, last in spans), default=None),
    }


def _import_file(
    path: Path, target: Path, name: str, options: Options, known: Known, tell: Callable[[int], None]
) -> dict[str, Any]:
    """Write the parts of one file; returns its entry of the manifest, less path, size and hash."""
    arrivals = Arrivals(path, target, name, known)
    try:
        for part in read_file(path, options, tell=tell):
            arrivals.add(part)
        return arrivals.finish()
    except Unknown:
        arrivals.discard()
        raise
    except ExportError as error:
        arrivals.discard()
        kind = options.kind or "occurrences"
        arrivals = Arrivals(path, target, name, known)
        arrivals.refuse(kind, whole_file_reject(path, error, kind))
        return {**arrivals.finish(), "error": str(error)}


def import_export(
    source: Source,
    target: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,  # noqa: A002 - the word users know from the command line
    provenance: str = "human",
    progress: bool | None = None,
) -> Dataset:
    r"""Import exports of any size and of all kinds into a dataset, and return it.

    Files are read one after the other and each is committed whole: after a kill, the same call goes on with the first
    file that is missing. A file whose content was imported before changes nothing. Rows already there are duplicates;
    counts that contradict imported ones are rejected, naming the earlier file. In a folder, a file that cannot be read
    becomes one reject, and a file that is no export is listed as skipped; a single file that is named must be readable.

    Args:
        source: a path, a pattern, a folder (to any depth), or a list of these.
        target: the folder of the dataset, new or made by an earlier import.
        columns: the user's names for our columns, for any other table of events.
        format: the kind of rows, instead of sniffing it.
        provenance: what labelled escalations get that name none.
        progress: None shows a bar if it takes more than two seconds, False never.

    Raises:
        ExportError: nothing to read, or one named file that cannot be read.
        DatasetError: the folder is no dataset, is in use, or cannot be written; it is left as it was.
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
    here = target.resolve()
    files = [file for file in files if here not in file.resolve().parents]
    fresh = not (target / MANIFEST).exists()
    if fresh and target.exists():
        strangers = sorted({entry.name for entry in target.iterdir()} - _OURS) if target.is_dir() else [target.name]
        if strangers:
            raise DatasetError(
                f"{target}: holds other files ({', '.join(strangers)[:200]}); name a new or empty folder."
            )
    existed = target.exists()
    with _locked(target):
        try:
            return _import_all(files, target, options, source, single=single, progress=progress)
        except (OSError, pl.exceptions.PolarsError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error).splitlines()[0]
            raise DatasetError(f"{target}: cannot be written ({why}); the dataset is as it was before.") from None
        finally:
            if not (target / MANIFEST).exists():  # nothing came of it: leave nothing behind
                for name in _OURS - {_LOCK}:
                    shutil.rmtree(target / name, ignore_errors=True)
                if not existed:
                    shutil.rmtree(target, ignore_errors=True)


def _import_all(
    files: list[Path], target: Path, options: Options, source: Source, *, single: bool, progress: bool | None
) -> Dataset:
    from tqdm.auto import tqdm

    manifest: dict[str, Any] = {"format": FORMAT, "sources": [], "skipped": []}
    if (target / MANIFEST).exists():
        manifest = dict(open_dataset(target).manifest)
    settings = {"columns": dict(options.columns or {}), "format": options.format, "provenance": options.provenance}
    known = Known(target, manifest["sources"])
    outcomes: list[tuple[str, str]] = []
    sizes = {path: path.stat().st_size if path.is_file() else 0 for path in files}
    with tqdm(
        total=sum(sizes.values()),
        unit="B",
        unit_scale=True,
        desc="import",
        delay=2,
        leave=False,
        disable=progress is False,
    ) as bar:
        for path in files:
            hashes = {entry["hash"]: entry for entry in manifest["sources"]}
            try:
                digest = content_hash(path)
            except ExportError as error:
                if single:
                    raise
                # without content there is no hash: the path stands for it, and goes when the file can be read
                if not any(
                    entry["path"] == str(path) and entry["error"] == str(error) for entry in manifest["sources"]
                ):
                    arrivals = Arrivals(path, target, f"unread-{len(manifest['sources']):06d}", known)
                    arrivals.refuse("occurrences", whole_file_reject(path, error, "occurrences"))
                    entry = {"path": str(path), "size": 0, "hash": None, **settings, **arrivals.finish()}
                    manifest["sources"] = [*manifest["sources"], {**entry, "error": str(error)}]
                    _commit(target, manifest)
                outcomes.append((str(path), "rejected: " + str(error).removeprefix(f"{path}: ")))
                continue
            if digest in hashes:
                if any(hashes[digest][name] != value for name, value in settings.items()):
                    raise DatasetError(
                        f"{path}: already imported into {target} with other columns, format or provenance; "
                        "import it into a new dataset."
                    )
                bar.update(sizes[path])
                outcomes.append((str(path), "already imported"))
                continue
            try:
                entry = _import_file(path, target, digest, options, known, bar.update)
            except Unknown as error:
                if single:
                    raise
                why = str(error).removeprefix(f"{path}: ")
                outcomes.append((str(path), f"skipped: {why}"))
                skip = {"path": str(path), "reason": why}
                if skip not in manifest["skipped"]:
                    manifest["skipped"] = [*manifest["skipped"], skip]
                    if manifest["sources"]:
                        _commit(target, manifest)
                continue
            if single and entry["error"] is not None:
                known.forget(entry)
                raise ExportError(entry["error"])
            entry = {"path": str(path), "size": sizes[path], "hash": digest, **settings, **entry}
            kept = [old for old in manifest["sources"] if old["hash"] is not None or old["path"] != str(path)]
            manifest["sources"] = [*kept, entry]
            _commit(target, manifest)
            known.learn(entry)
            outcomes.append((str(path), "imported" if entry["error"] is None else f"rejected: {entry['error']}"))
    if not manifest["sources"]:
        first = outcomes[0][1] if outcomes else "they lie in the dataset itself"
        raise ExportError(f"{source}: none of {len(outcomes)} files is an export; the first: {first}")
    return Dataset(target, manifest, tuple(outcomes))
