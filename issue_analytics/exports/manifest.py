"""The manifest of a dataset: which parts count, what they came from, and what became of every row."""

import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import polars as pl

from issue_analytics.errors import DatasetError
from issue_analytics.exports.files import reason
from issue_analytics.exports.kinds import KINDS
from issue_analytics.exports.quarantine import REJECTS
from issue_analytics.frames import empty

__all__ = ["DRAFT", "FOLDERS", "FORMAT", "MANIFEST", "PART", "commit", "load", "nothing"]

FORMAT: Final = 2
"""2: occurrences have ``received_at``; folders of recorded forecasts and corrections."""
MANIFEST: Final = "manifest.json"
DRAFT: Final = f"{MANIFEST}.new"
FOLDERS: Final = (*KINDS, "rejects")
PART: Final = re.compile(rf"({'|'.join(FOLDERS)})/(unread-)?[0-9a-f]{{32}}-[0-9]{{5,}}\.parquet")
"""Path of a part: its kind, what stands for its source, a running number."""

_NAMES: Final = {"path", "hash", "error", "columns", "format", "provenance", "found", "note", "ignored", "rows"}

_ANEW: Final = "import the exports into a new folder"


def nothing(kind: str) -> pl.DataFrame:
    """A frame of this kind without rows."""
    return pl.DataFrame(schema=REJECTS) if kind == "rejects" else empty(KINDS[kind].contract)


def _sound(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is as we write them: its sums are those of its sources, its parts lie in their folders."""
    try:
        sources = manifest["sources"]
        parts = [(kind, part) for source in sources for kind, named in source["parts"].items() for part in named]
        return (
            all(PART.fullmatch(part) and part.startswith(f"{kind}/") for kind, part in parts)
            and all(source.keys() >= _NAMES for source in sources)
            and all({"path", "reason"} <= skip.keys() for skip in manifest["skipped"])
            and all(manifest[name] == value for name, value in _sums(sources).items())
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def load(path: Path) -> dict[str, Any]:
    """Read the manifest of a dataset, and see that its parts are there.

    Raises:
        DatasetError: no dataset, one written by a newer version, or parts that are missing or damaged.
    """
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
    if isinstance(found, int) and not isinstance(found, bool) and 0 < found < FORMAT:
        raise DatasetError(f"{path}: written by an older version (format {found}, this one reads {FORMAT}); {_ANEW}.")
    if found != FORMAT or not _sound(manifest):
        raise DatasetError(f"{path / MANIFEST}: not the manifest of a dataset; name another folder.")
    parts = {part: kind for entry in manifest["sources"] for kind, named in entry["parts"].items() for part in named}
    if lost := [part for part in parts if not (path / part).is_file()]:
        raise DatasetError(f"{path}: incomplete: {len(lost)} parts are missing, such as {lost[0]}; {_ANEW}.")
    if bad := [part for part, kind in parts.items() if not _is_part(path / part, kind)]:
        raise DatasetError(f"{path}: {len(bad)} parts are damaged, such as {bad[0]}; {_ANEW}.")
    return dict(manifest)


def _is_part(part: Path, kind: str) -> bool:
    try:
        with part.open("rb") as file:  # an open file, since polars would take a [ in a path for a pattern
            found = pl.read_parquet_schema(file)
    except (OSError, pl.exceptions.PolarsError):
        return False
    return nothing(kind).schema.items() <= found.items()


def commit(path: Path, manifest: dict[str, Any]) -> None:
    """Replace the manifest: whole, or not at all."""
    manifest |= {"issue_analytics": version("issue-analytics"), "polars": pl.__version__, **_sums(manifest["sources"])}
    draft = path / DRAFT
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(_written(manifest))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path / MANIFEST)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _written(manifest: Mapping[str, Any]) -> str:
    """The manifest as JSON, a line for each source.

    It is written once per file, and thousands of files are usual where each holds one issue: indented through and
    through it would take longer than they do. In ASCII: names of columns may hold what is no Unicode.
    """
    lines = {name: json.dumps(value) for name, value in manifest.items() if name != "sources"}
    lines["sources"] = "[\n  " + ",\n  ".join(map(json.dumps, manifest["sources"])) + "\n ]"
    return "{\n " + ",\n ".join(f"{json.dumps(name)}: {lines[name]}" for name in manifest) + "\n}\n"


def _sums(sources: list[dict[str, Any]]) -> dict[str, Any]:
    reasons = sum((Counter(source["reasons"]) for source in sources), Counter[str]())
    return {"totals": _totals(sources), "rejects": dict(reasons.most_common()), "span": _span(sources)}


def _totals(sources: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    totals: dict[str, dict[str, int]] = {}
    for source in sources:
        for kind, tally in source["rows"].items():
            total = totals.setdefault(kind, dict.fromkeys(tally, 0))
            for name, number in tally.items():
                total[name] += number
    return {kind: totals[kind] for kind in KINDS if kind in totals}


def _span(sources: list[dict[str, Any]]) -> dict[str, str | None]:
    spans = [source["span"] for source in sources if source["span"] is not None]
    return {
        "first_hour": min((first for first, _ in spans), default=None),
        "last_hour": max((last for _, last in spans), default=None),
    }
