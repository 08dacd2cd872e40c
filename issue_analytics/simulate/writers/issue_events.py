"""Pages of the events of each issue, newest first, 100 at most on a page.

Carries occurrences of every type, those of the week before half past the last hour in which anything occurred, and of
these the newest 20,000. Each is an event of its own, whose id is that of the occurrence: events of errors are the same
in all formats.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import polars as pl

from issue_analytics.frames import KEY
from issue_analytics.simulate.writers.lines import ERROR, ISO_MICROS, pack
from issue_analytics.simulate.writers.rest import exported_at, recent

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["write"]

PER_PAGE: Final = 100


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``issue-events.jsonl.gz``: a page on each line, the pages of an issue one after another."""
    newest_first = recent(sim.occurrences, exported_at(sim)).reverse()
    listed = newest_first.join(_shared(sim.groups), on=KEY, how="left", maintain_order="left").select(
        *KEY,
        page=pl.int_range(pl.len()).over(KEY) // PER_PAGE,
        event=pl.concat_str(
            pl.lit('{"id":"'),
            "occurrence_id",
            pl.lit('","eventID":"'),
            "occurrence_id",
            pl.lit('","dateCreated":"'),
            pl.col("detected_at").dt.strftime(ISO_MICROS),
            pl.lit('",'),
            "rest",
        ),
    )
    pages = listed.group_by(*KEY, "page", maintain_order=True).agg(pl.format("[{}]", pl.col("event").str.join(",")))
    yield "issue-events.jsonl.gz", pack(pages.sort(*KEY, "page", maintain_order=True)["event"])


def _shared(groups: pl.DataFrame) -> pl.DataFrame:
    """What the events of a group have in common, as JSON without the opening brace."""
    tags = {"environment": pl.lit("production"), "level": pl.col("level"), "transaction": pl.col("culprit")}
    fields = groups.select(
        pl.col("group_id").cast(pl.String).alias("groupID"),
        pl.col("project_id").cast(pl.String).alias("projectID"),
        "title",
        message=pl.lit(""),
        location=pl.lit(None, pl.String),
        culprit="culprit",
        user=pl.lit(None, pl.String),
        tags=pl.concat_list(pl.struct(key=pl.lit(key), value=value) for key, value in tags.items()),
        platform=pl.lit("python"),
        type=pl.when(pl.col("type") == ERROR).then(pl.lit("error")).otherwise(pl.lit("generic")),
        crashFile=pl.lit(None, pl.String),
        metadata=pl.struct("title"),
    ).rename({"type": "event.type"})
    return groups.select(KEY).with_columns(rest=fields.to_struct("event").struct.json_encode().str.slice(1))
