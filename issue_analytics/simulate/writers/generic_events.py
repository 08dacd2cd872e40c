"""The topic ``generic-events``: events of the issue platform as ``[2, "insert", event, group information]``.

Carries every occurrence of every group that is no error group, with its event, its group and when the server got it
(:data:`~issue_analytics.simulate.writers.lines.RECEIVED_AFTER_MS` after it happened). Times are milliseconds: floats
since 1970 in ``data`` and ``occurrence_data``, text in ``datetime``. The ids in ``group_states`` are text for groups
with an even id, numbers for the others: the topic has both.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import polars as pl

from issue_analytics.simulate.writers.lines import (
    ENVIRONMENT,
    ERROR,
    ISO_MICROS,
    ORGANIZATION,
    PLATFORM,
    RELEASE,
    RETENTION_DAYS,
    about_groups,
    epoch,
    pack,
    parts,
    received,
)
from issue_analytics.simulate.writers.occurrences import stored

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["group_information", "write"]


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``generic_events-000.jsonl.gz`` …, in the order of time, 200,000 messages to a file."""
    groups = sim.groups.with_columns(tags=tags(sim.groups), record=pl.struct(stored()))
    for number, part in parts(sim.occurrences.filter(pl.col("type") != ERROR)):
        rows = about_groups(part, groups, "culprit", "first_seen", "tags", "record")
        yield f"generic_events-{number:03}.jsonl.gz", pack(_messages(rows))


def tags(groups: pl.DataFrame) -> pl.Series:
    """Tags of each group's events, as pairs."""
    return pl.Series([[["level", level], ["environment", ENVIRONMENT]] for level in groups["level"].to_list()])


def group_information(queue: str) -> pl.Expr:
    """The last element of a message about an event."""
    is_new = pl.when(pl.col("detected_at") == pl.col("first_seen")).then(pl.lit("true")).otherwise(pl.lit("false"))
    rest = pl.concat_str(
        pl.lit('"is_new":'), is_new, pl.lit(',"is_regression":false,"is_new_group_environment":'), is_new
    )
    number = pl.col("group_id").cast(pl.String)
    either = (
        pl.when(pl.col("group_id") % 2 == 0).then(pl.concat_str(pl.lit('"'), number, pl.lit('"'))).otherwise(number)
    )
    return pl.concat_str(
        pl.lit("{"), rest, pl.lit(f',"queue":"{queue}","skip_consume":false,"group_states":[{{"id":'), either,
        pl.lit(","), rest, pl.lit("}]}"),
    )  # fmt: skip


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
            type=pl.lit("generic"),
            logger=pl.lit(""),
            platform=pl.lit(PLATFORM),
            environment=pl.lit(ENVIRONMENT),
            release=pl.lit(RELEASE),
            timestamp=epoch(pl.col("detected_at")),
            received=epoch(received()),
            tags="tags",
            culprit="culprit",
            title="title",
            location=pl.lit(None, dtype=pl.String),
        ),
        primary_hash=pl.col("fingerprint").list.first(),
        retention_days=pl.lit(RETENTION_DAYS),
        occurrence_id="occurrence_id",
        occurrence_data=pl.col("record").struct.with_fields(
            pl.col("occurrence_id").alias("id"),
            pl.col("event_id"),
            epoch(pl.col("detected_at")).alias("detection_time"),
        ),
    )
    return rows.select(
        pl.concat_str(
            pl.lit('[2,"insert",'),
            event.struct.json_encode(),
            pl.lit(","),
            group_information("post_process_issue_platform"),
            pl.lit("]"),
        )
    ).to_series()
