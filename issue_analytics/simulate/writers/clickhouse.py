"""What the two ClickHouse formats share: rows that stand twice or were deleted, and three ways to save a table."""

import io
from collections.abc import Iterator
from typing import Final

import polars as pl

from issue_analytics.simulate.writers.lines import ENVIRONMENT, PLATFORM, RELEASE, RETENTION_DAYS, pack, parts

__all__ = ["EXTRA_EVERY", "as_rows", "as_table", "dashed", "seconds", "shared"]

EXTRA_EVERY: Final = 200
"""One row in so many stands twice, and another one in so many was deleted."""

_MILLIS: Final = "timestamp_ms"  # the one column with milliseconds; all other times are whole seconds
_SECONDS: Final = "%Y-%m-%d %H:%M:%S"


def as_rows(occurrences: pl.DataFrame) -> pl.DataFrame:
    """Add what a ReplacingMergeTree holds until it merges, and a column ``deleted``.

    Counted from 0, the rows 50, 250, 450 … stand once more at the end. After them, marked as deleted, come copies of
    the rows 150, 350, 550 … with their ids read backwards: occurrences that the simulation does not have. So the rows
    with ``deleted = 0``, each id once, are the simulation.
    """
    place = pl.int_range(pl.len()) % EXTRA_EVERY
    backwards = pl.col("occurrence_id", "event_id").str.reverse()
    kept = occurrences.with_columns(deleted=pl.lit(0, dtype=pl.UInt8))
    return pl.concat(
        [
            kept,
            kept.filter(place == EXTRA_EVERY // 4),
            kept.filter(place == EXTRA_EVERY * 3 // 4).with_columns(backwards, deleted=pl.lit(1, dtype=pl.UInt8)),
        ]
    )


def dashed(identity: pl.Expr) -> pl.Expr:
    """An id of 32 digits as ClickHouse writes UUIDs."""
    return identity.str.replace(r"\A(.{8})(.{4})(.{4})(.{4})(.{12})\z", "$1-$2-$3-$4-$5")


def seconds(moment: pl.Expr) -> pl.Expr:
    """A moment as a DateTime: whole seconds, UTC."""
    return moment.dt.truncate("1s").dt.cast_time_unit("ms")


def shared() -> dict[str, pl.Expr]:
    """Columns that both tables have, from rows of ``as_rows`` with what is known about their groups.

    ``timestamp_ms`` is null in the week that begins with the day of the first occurrence.
    """
    at, number = pl.col("detected_at"), pl.UInt64
    return {
        "project_id": pl.col("project_id").cast(number),
        "group_id": pl.col("group_id").cast(number),
        "primary_hash": dashed(pl.col("fingerprint").list.first()),
        _MILLIS: pl.when(at >= at.min().dt.truncate("1d").dt.offset_by("7d")).then(at.dt.cast_time_unit("ms")),
        "platform": pl.lit(PLATFORM),
        "environment": pl.lit(ENVIRONMENT),
        "release": pl.lit(RELEASE),
        "level": pl.col("level"),
        "culprit": pl.col("culprit"),
        "message": pl.col("title"),
        "tags.key": pl.concat_list(pl.lit("environment"), pl.lit("level")),
        "tags.value": pl.concat_list(pl.lit(ENVIRONMENT), "level"),
        "retention_days": pl.lit(RETENTION_DAYS, dtype=pl.UInt16),
        "group_first_seen": seconds(pl.col("first_seen")),
        "deleted": pl.col("deleted"),
    }


def as_table(name: str, rows: pl.DataFrame, *, quote_ids: bool, as_numbers: bool) -> Iterator[tuple[str, bytes]]:
    """Yield the rows as Parquet, JSONEachRow and CSVWithNames, 200,000 to a file.

    Args:
        name: of the format; the files begin with it.
        rows: typed as the table's columns are; times are UTC.
        quote_ids: whether JSONEachRow has 64-bit integers as text, which is a setting of the server.
        as_numbers: whether Parquet has times without milliseconds as seconds since 1970 in 32 bits, as older servers
            wrote them, or as stamps.
    """
    moments = pl.col([column for column, dtype in rows.schema.items() if dtype == pl.Datetime and column != _MILLIS])
    lists = [column for column, dtype in rows.schema.items() if dtype == pl.List]
    typed = rows.with_columns(moments.dt.epoch("s").cast(pl.UInt32)) if as_numbers else rows
    text = rows.with_columns(moments.dt.strftime(_SECONDS), pl.col(_MILLIS).dt.strftime(_SECONDS + "%.3f"))
    objects = text.with_columns(pl.col(pl.UInt64).cast(pl.String)) if quote_ids else text
    # what stands in the lists has no quotes
    cells = text.with_columns(pl.format("['{}']", pl.col(column).list.join("','")).alias(column) for column in lists)
    for number, part in parts(typed):
        out = io.BytesIO()
        part.write_parquet(out)
        yield f"{name}-{number:03}.parquet", out.getvalue()
    for number, part in parts(objects):
        yield f"{name}-{number:03}.jsonl.gz", pack(part.to_struct().struct.json_encode())
    for number, part in parts(cells):
        content = part.write_csv(quote_style="non_numeric", null_value=r"\N")
        yield f"{name}-{number:03}.csv.gz", content.encode()
