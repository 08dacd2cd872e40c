"""Which group an occurrence belongs to, where the export does not say."""

import polars as pl

from issue_analytics.issues.identity import stable_group_id

__all__ = ["group_ids", "stable_group_id"]


def group_ids(project_id: pl.Series, fingerprint: pl.Series) -> pl.Series:
    """Return :func:`stable_group_id` row by row; null where either is null. Each pair is hashed once.

    >>> group_ids(pl.Series([1, 1]), pl.Series(["ab", None])).is_null().to_list()
    [False, True]
    """
    keys = pl.DataFrame({"project_id": project_id.cast(pl.Int64), "fingerprint": fingerprint.cast(pl.String)})
    unique = keys.drop_nulls().unique()
    ids = [stable_group_id(project, part) for project, part in unique.iter_rows()]
    table = unique.with_columns(pl.Series("group_id", ids, dtype=pl.Int64))
    return keys.join(table, on=["project_id", "fingerprint"], how="left", maintain_order="left")["group_id"]
