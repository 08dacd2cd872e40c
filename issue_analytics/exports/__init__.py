"""Exports of an issue tracker to validated frames: any known format, sniffed from content; nothing is lost.

A ``source`` is a path, a pattern, a folder (searched to any depth) or a list of these; files are plain, gzip or
Zstandard; content is JSON lines, JSON, CSV or Parquet. Each reader returns the accepted rows and the rejects: every row
read is accepted, rejected with all its reasons, recognised as a duplicate, or of another known kind.

Any other table is read by naming its columns: ``columns={"group_id": "signature", "detected_at": "ts"}``; a
``group_id`` named so may be any text. ``format`` names the kind of rows instead of sniffing it.
"""

import warnings
from collections.abc import Mapping

import polars as pl

from issue_analytics.exports.files import Source
from issue_analytics.exports.reading import Options, read

__all__ = ["read_escalations", "read_hourly_counts", "read_occurrences", "read_status_changes"]


def read_occurrences(
    source: Source,
    *,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    r"""Read occurrences into memory: ``(occurrences, rejects)``.

    One row is one occurrence (contract ``Occurrences``); a second one with the same id is a duplicate and left out.
    Where a table has no ids, they are made of the file's content and the row number. Where it has no ``group_id``, the
    first fingerprint part stands for the group (see ``exports.identity``).

    Raises:
        ExportError: nothing to read, one named file that cannot be read, or no occurrences in it.
        SettingsError: an unknown format or column of ours.

    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "app.csv").write_text("signature,ts\nOOM,2026-01-05T09:00:00Z\nOOM,2026-01-05 10:00\n")
    ...     occurrences, rejects = read_occurrences(folder, columns={"group_id": "signature", "detected_at": "ts"})
    >>> occurrences.select("title", "level").rows()
    [('OOM', 'info')]
    >>> rejects.select("row", pl.col("reasons").list.first()).rows()
    [(2, 'detected_at: no time zone: "2026-01-05 10:00"; write an offset such as +00:00 or Z')]
    """
    return read(source, "occurrences", Options(columns, format))[:2]


def read_hourly_counts(
    source: Source,
    *,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read hourly counts into memory: ``(hourly_counts, rejects)``.

    One row is a group and an hour (contract ``HourlyCounts``). The same count twice is a duplicate; two counts of one
    group and hour contradict each other, and both are rejected.

    Raises:
        ExportError: nothing to read, one named file that cannot be read, daily instead of hourly counts.
        SettingsError: an unknown format or column of ours.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w") as file:
    ...     _ = file.write('{"project_id": 3, "group_id": 8, "hourBucket": "2026-01-05T23:00:00+00:00", "count()": 11}')
    ...     file.flush()
    ...     counts, rejects = read_hourly_counts(file.name)
    >>> counts.select("project_id", "group_id", "count").rows(), rejects.height
    ([(3, 8, 11)], 0)
    """
    return read(source, "hourly_counts", Options(columns, format))[:2]


def read_status_changes(
    source: Source,
    *,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read status changes into memory: ``(status_changes, rejects)``.

    One row is one recorded change (contract ``StatusChanges``), from activities of issues, ``status_change`` messages
    or tables; kinds nobody knows are kept. Equal rows are duplicates, whatever export they came from. States told in an
    old or odd way (a substatus that is missing, words and numbers of early 2023) are read with a ``UserWarning``.

    Raises:
        ExportError: nothing to read, one named file that cannot be read, or no status changes in it.
        SettingsError: an unknown format or column of ours.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w") as file:
    ...     _ = file.write('{"id": "8", "project": {"id": "3"}, "activity": [{"id": "0", "type": "first_seen", '
    ...                    '"data": null, "dateCreated": "2026-01-05T23:10:00Z"}]}')
    ...     file.flush()
    ...     changes, rejects = read_status_changes(file.name)
    >>> changes.select("project_id", "group_id", "kind", "source").rows()
    [(3, 8, 'first_seen', 'activity')]
    """
    changes, rejects, tally, _ = read(source, "status_changes", Options(columns, format))
    for warning, number in tally.warnings.items():
        warnings.warn(f"{source}: {warning} (rows: {number:,})", stacklevel=2)
    return changes, rejects


def read_escalations(
    source: Source,
    *,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,
    provenance: str = "human",
) -> tuple[pl.DataFrame, pl.DataFrame]:
    r"""Read a table of labels into memory: ``(escalations, rejects)``.

    One row is one actual escalation (contract ``Escalations``): ``group_id``, ``escalated_at``, and where known
    ``project_id``, ``ended_at`` and ``provenance``; rows without one get the ``provenance`` given here.

    Raises:
        ExportError: nothing to read, one named file that cannot be read, or no escalations in it.
        SettingsError: an unknown format, provenance or column of ours.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w") as file:
    ...     _ = file.write("group_id,escalated_at\n8,2026-01-05T23:00:00Z\n")
    ...     file.flush()
    ...     escalations, rejects = read_escalations(file.name, provenance="incident")
    >>> escalations.select("group_id", "provenance").rows()
    [(8, 'incident')]
    """
    return read(source, "escalations", Options(columns, format, provenance))[:2]
