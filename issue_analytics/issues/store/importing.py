"""From the frames of a dataset to issues in a store."""

import polars as pl

from issue_analytics.frames import KEY
from issue_analytics.issues.store.store import Store

__all__ = ["deleted", "take_in"]


def deleted(store: Store, known: pl.DataFrame) -> pl.DataFrame:
    """Issues that were deleted in a store and are none of ``known``, those it has: key, and ``deleted``, when."""
    deletions = store.history().filter(pl.col("kind") == "deletion_in_progress", pl.col("source") == "store")
    return deletions.group_by(KEY).agg(deleted=pl.col("at").max()).join(known, on=KEY, how="anti")


def take_in(
    store: Store,
    occurrences: pl.LazyFrame,
    hourly_counts: pl.LazyFrame,
    status_changes: pl.LazyFrame,
    *,
    known: pl.DataFrame,
    gone: pl.DataFrame,
) -> int:
    """Take what a dataset tells of some groups into a store; how many status changes were new.

    The same again changes nothing, and an issue that was deleted stays so: only what happened after its deletion makes
    a new one. How often an issue was seen is what its occurrences say; where only counts are
    known, the largest sum that a dataset told.

    Args:
        store: where to.
        occurrences: contract ``Occurrences``.
        hourly_counts: contract ``HourlyCounts``.
        status_changes: contract ``StatusChanges``.
        known: the issues that the store had of these groups, as it lists them.
        gone: those that were deleted, as :func:`deleted` tells them.
    """
    if not gone.is_empty():
        occurrences, hourly_counts, status_changes = (
            _since(gone, *told)
            for told in ((occurrences, "detected_at"), (hourly_counts, "hour"), (status_changes, "at"))
        )
    seen = occurrences.collect()
    counted = (
        hourly_counts.filter(pl.col("count") > 0)
        .group_by(KEY)
        .agg(first_seen=pl.col("hour").min(), last_seen=pl.col("hour").max(), times_seen=pl.col("count").sum())
        .collect()
    )
    told = status_changes.filter(pl.col("kind") == "first_seen").group_by(KEY).agg(told=pl.col("at").min()).collect()
    began = seen.group_by(KEY).agg(
        first_seen=pl.col("detected_at").min(), type=pl.col("type").sort_by("detected_at").drop_nulls().last()
    )
    had = known.select(*KEY, had="times_seen", had_first="first_seen", had_last="last_seen")
    more = (pl.col("times_seen") > pl.col("had")).fill_null(value=True)
    only_counted = (
        counted.join(began, on=KEY, how="anti")
        .join(had, on=KEY, how="left")
        .filter(more)
        .with_columns(last_seen=pl.max_horizontal("last_seen", "had_last"))
    )
    # made before the changes are told, so that an issue is new when it was first seen, not when it first changed
    for born in (began.join(known, on=KEY, how="anti"), only_counted):
        first = born.join(told, on=KEY, how="left")
        firsts = [name for name in ("first_seen", "told", "had_first") if name in first.columns]
        first = first.with_columns(first_seen=pl.min_horizontal(firsts))
        store.put(first.drop("told", "had", "had_first", "had_last", strict=False))
    changes = store.load(status_changes)
    store.record(seen)
    return changes


def _since(gone: pl.DataFrame, frame: pl.LazyFrame, at: str) -> pl.LazyFrame:
    """Rows of groups that were not deleted, and of others what came after that."""
    told = frame.join(gone.lazy(), on=KEY, how="left")
    return told.filter((pl.col(at) > pl.col("deleted")).fill_null(value=True)).drop("deleted")
