"""Which group an occurrence belongs to, where the export does not say."""

import hashlib
import re

import polars as pl

__all__ = ["group_ids", "stable_group_id"]

_MD5 = re.compile(r"[0-9a-f]{32}")


def stable_group_id(project_id: int, fingerprint: str) -> int:
    """Return the id of the group that a project's fingerprint stands for: 63 bits, the same on every machine.

    Only the first part of a fingerprint picks the group. The tracker stores parts as md5 hex, while topics carry them
    as written, so a part that is not yet 32 lower-case hex characters is hashed first: both forms give one id. The
    group type takes no part: status changes carry none, and upstream's own key is project and hash.

    >>> stable_group_id(1, "ab") == stable_group_id(1, "187ef4436122d1cc2f40dc2b92f0eba0")
    True
    >>> stable_group_id(1, "ab") == stable_group_id(2, "ab")
    False
    """
    if _MD5.fullmatch(fingerprint) is None:
        # surrogatepass: a part need not be well-formed text to have an identity
        data = fingerprint.encode("utf-8", "surrogatepass")
        fingerprint = hashlib.md5(data, usedforsecurity=False).hexdigest()
    digest = hashlib.blake2b(f"{project_id}:{fingerprint}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


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
