"""Snuba's answers to the query for hourly counts, 10,000 rows to a page: ``{"data": …, "meta": …, "timing": …}``.

Carries the hourly counts of all groups, as if one query had been about both datasets; hours without occurrences have no
row. Rows are by project, group and hour. All pages are lines of ``snuba-000.jsonl.gz`` …; ``snuba-page.json`` is the
first of them once more, as somebody who asked without paging would have saved it.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import polars as pl

from issue_analytics.frames import KEY
from issue_analytics.simulate.writers.lines import ISO_OFFSET, pack, parts

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["write"]

_PAGE: Final = 10_000  # the most that one answer holds
_META: Final = [
    {"name": "project_id", "type": "UInt64"},
    {"name": "group_id", "type": "UInt64"},
    {"name": "hourBucket", "type": "DateTime"},
    {"name": "count()", "type": "UInt64"},
]


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``snuba-000.jsonl.gz`` …, 20 pages to a file, and ``snuba-page.json``."""
    rows = sim.hourly_counts.sort(*KEY, "hour").with_columns(page=pl.int_range(pl.len()) // _PAGE)
    asked = rows.select(pl.col("hour").max().dt.offset_by("1h").dt.epoch("s")).item() or 0
    for number, part in parts(rows):
        yield f"snuba-{number:03}.jsonl.gz", pack(_pages(part, asked))
    yield "snuba-page.json", pack(_pages(rows[:_PAGE], asked))


def _pages(rows: pl.DataFrame, asked: int) -> pl.Series:
    bucket = pl.col("hour").dt.strftime(ISO_OFFSET).alias("hourBucket")
    row = pl.struct(*KEY, bucket, pl.col("count").alias("count()")).struct.json_encode()
    data = rows.select("page", row=row).group_by("page", maintain_order=True).agg(pl.col("row").str.join(","))
    if data.is_empty():
        data = pl.DataFrame({"page": [0], "row": [""]})
    return data.select(
        pl.concat_str(
            pl.lit('{"data":['),
            "row",
            pl.lit(f'],"meta":{json.dumps(_META)},"timing":{{"timestamp":'),
            asked + pl.col("page"),  # page after page was asked for a second later
            pl.lit(',"duration_ms":41,"marks_ms":{"cache_get":2,"execute":36}}}'),
        )
    ).to_series()
