"""The topic ``events``: errors as ``[2, "insert", event, group information]``, and messages that changed them later.

Carries every occurrence of every error group as an event of its own (see
:func:`~issue_analytics.simulate.writers.lines.errors`), with its group and when the server got it. Times are
milliseconds: text in ``datetime``, floats since 1970 in ``data``. ``primary_hash`` is the group's fingerprint, its
first part.

After the last event come messages about groups of one project, the one with the most error groups that occurred (of
several, the first). With them in the order of their ids, from the midnight after the last event on, a minute apart:

- ``start_merge``, ``end_merge``: the second into the first;
- ``start_unmerge``, ``end_unmerge``: the third, into a group that no insert names;
- ``start_delete_groups``, ``end_delete_groups``: the fourth;
- ``tombstone_events``: the first two events of the fifth;
- ``replace_group``: the first event of the sixth, into the first.

Where no project has six such groups there are none of these messages. The inserts are the whole simulation; what the
messages did came later.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from issue_analytics.frames import KEY
from issue_analytics.simulate.writers.generic_events import group_information, tags
from issue_analytics.simulate.writers.lines import (
    ENVIRONMENT,
    ISO_MICROS,
    ORGANIZATION,
    PLATFORM,
    RELEASE,
    RETENTION_DAYS,
    about_groups,
    epoch,
    errors,
    pack,
    parts,
    received,
)

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["write"]


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``error_events-000.jsonl.gz`` …, in the order of time, 200,000 events to a file."""
    events = errors(sim)
    # what stands before the first ": " of a title is the exception's type
    halves = pl.col("title").str.splitn(": ", 2).struct
    exception = pl.struct(type=halves.field("field_0"), value=halves.field("field_1").fill_null(""))
    groups = sim.groups.with_columns(
        tags=tags(sim.groups), metadata=exception, exception=pl.struct(values=pl.concat_list(exception))
    )
    cut = list(parts(events))
    for number, part in cut:
        lines = pack(_messages(about_groups(part, groups, "culprit", "first_seen", "tags", "metadata", "exception")))
        if number == cut[-1][0]:
            lines += b"".join(json.dumps(message).encode() + b"\n" for message in _changes(sim, events))
        yield f"error_events-{number:03}.jsonl.gz", lines


def _messages(rows: pl.DataFrame) -> pl.Series:
    event = pl.struct(
        group_id="group_id",
        group_ids=pl.concat_list("group_id"),
        event_id="event_id",
        organization_id=pl.lit(ORGANIZATION),
        project_id="project_id",
        message="title",
        platform=pl.lit(PLATFORM),
        datetime=pl.col("detected_at").dt.strftime(ISO_MICROS),
        data=pl.struct(
            event_id="event_id",
            level="level",
            version=pl.lit("7"),
            type=pl.lit("error"),
            logger=pl.lit(""),
            platform=pl.lit(PLATFORM),
            environment=pl.lit(ENVIRONMENT),
            release=pl.lit(RELEASE),
            timestamp=epoch(pl.col("detected_at")),
            received=epoch(received()),
            tags="tags",
            exception="exception",
            metadata="metadata",
            culprit="culprit",
            title="title",
            location=pl.lit(None, dtype=pl.String),
        ),
        primary_hash=pl.col("fingerprint").list.first(),
        retention_days=pl.lit(RETENTION_DAYS),
    )
    return rows.select(
        pl.concat_str(
            pl.lit('[2,"insert",'),
            event.struct.json_encode(),
            pl.lit(","),
            group_information("post_process_errors"),
            pl.lit("]"),
        )
    ).to_series()


def _changes(sim: "Simulation", events: pl.DataFrame) -> list[list[Any]]:
    """The messages after the last event."""
    groups = events.group_by(KEY).agg("event_id", "detected_at", pl.col("fingerprint").first()).sort(KEY)
    sizes = groups.group_by("project_id").len().sort("len", "project_id", descending=[True, False])
    if sizes.is_empty() or sizes["len"][0] < 6:
        return []
    project = sizes["project_id"][0]
    kept, merged, unmerged, deleted, entombed, moved = groups.filter(project_id=project)[:6].to_dicts()
    merge = {"previous_group_ids": [merged["group_id"]], "new_group_id": kept["group_id"]}
    unmerge = {
        "previous_group_id": unmerged["group_id"],
        "new_group_id": sim.groups["group_id"].to_list()[-1] + 1,
        "hashes": unmerged["fingerprint"][:1],
    }
    delete = {"group_ids": [deleted["group_id"]]}
    messages: list[tuple[str, dict[str, Any]]] = [
        ("start_merge", merge),
        ("end_merge", merge),
        ("start_unmerge", unmerge),
        ("end_unmerge", unmerge),
        ("start_delete_groups", delete),
        ("end_delete_groups", delete),
        ("tombstone_events", _of_events(entombed, 2) | {"old_primary_hash": None}),
        ("replace_group", _of_events(moved, 1) | {"new_group_id": kept["group_id"]}),
    ]
    midnight = events.select(pl.col("detected_at").max().dt.truncate("1d") + pl.duration(days=1)).item()
    return [
        [
            2,
            kind,
            {
                # a start and its end are one transaction
                "transaction_id": hashlib.md5(kind.split("_", 1)[1].encode(), usedforsecurity=False).hexdigest(),
                "project_id": project,
                **body,
                "datetime": _stamp(midnight + timedelta(minutes=number)),
            },
        ]
        for number, (kind, body) in enumerate(messages)
    ]


def _of_events(group: dict[str, Any], count: int) -> dict[str, Any]:
    moments = group["detected_at"][:count]
    return {
        "event_ids": group["event_id"][:count],
        "from_timestamp": _stamp(moments[0]),
        "to_timestamp": _stamp(moments[-1]),
    }


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
