"""Accepted rows and rejects: every row is one or the other, and a reject keeps every reason, its file, row and text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from issue_analytics.exports.identity import group_ids
from issue_analytics.exports.values import integers, nothing, text

__all__ = [
    "RAW",
    "REJECTS",
    "WARNING",
    "Given",
    "column",
    "groups",
    "known_project",
    "refuse",
    "signatures",
    "split",
    "warnings_of",
    "when",
]

RAW: Final = 1_000
"""Characters of the raw text that a reject keeps."""

REJECTS: Final[dict[str, Any]] = {"source": pl.String, "row": pl.Int64, "reasons": pl.List(pl.String), "raw": pl.String}

WARNING: Final = "warning"
"""A column beside those of a contract: how an accepted row was read where that leaves a doubt, else null."""


@dataclass(frozen=True, slots=True)
class Given:
    """What is known of a file besides its rows.

    Attributes:
        digest: gives the hash of its content.
        mapped_groups: ``group_id`` was named by the user, and may be any text.
        provenance: what labels get that name none.
    """

    digest: Callable[[], str]
    mapped_groups: bool = False
    provenance: str = "human"


Texts = Callable[[Sequence[int]], list[str | None]]
"""From row numbers to the rows as they stood in the file."""


def column(raw: pl.DataFrame, name: str) -> pl.Series:
    """The raw column, or nulls where the export has none."""
    return raw[name] if name in raw.columns else nothing(raw.height, pl.Null)


def when(mask: pl.Series, words: str) -> pl.Series | None:
    """These words where the mask is true; None where it is nowhere."""
    if not mask.any():
        return None
    return pl.select(pl.when(mask).then(pl.lit(words)).alias("problem"))["problem"]


def known_project(raw: pl.DataFrame) -> tuple[pl.Series, pl.Series | None]:
    """Project ids, 0 where the export names none, and problems."""
    project, problem = integers(column(raw, "project_id"), "project_id", required=False)
    return project.fill_null(0), problem


def signatures(own: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Groups named by any text: the number where it is one, else null; and the text.

    Only the one way to write a number is one: ``7.0`` and ``007`` are other texts than ``7``, and other groups.

    >>> [column.to_list() for column in signatures(pl.Series(["7", "007", "OOM", ""]))]
    [[7, None, None, None], ['7', '007', 'OOM', None]]
    """
    if own.dtype.is_float():
        own = own.fill_nan(None)
    words = text(own)
    numbers = integers(own, "group_id", required=False)[0]
    if not own.dtype.is_numeric():
        numbers = pl.select(pl.when(words.str.contains("^(?:0|[1-9][0-9]*)$")).then(numbers).alias("n"))["n"]
    return numbers, words


def groups(
    raw: pl.DataFrame, project: pl.Series, first_part: pl.Series, *, mapped: bool
) -> tuple[pl.Series, pl.Series | None]:
    """Group ids: the export's own, else the stable hash of project and first fingerprint part; and problems.

    A column that the user named (``mapped``) may hold any text, such as a signature: text that is no number is hashed
    as if it were a fingerprint of one part.
    """
    own = column(raw, "group_id")
    if mapped:
        numbers, words = signatures(own)
        own = words
        group = pl.select(pl.coalesce(numbers, group_ids(project, words)).alias("group_id"))["group_id"]
        wrong = None
    else:
        group, wrong = integers(own, "group_id", required=False)
    lacking = own.is_null() | (text(own).is_null() if own.dtype == pl.String else False)
    if lacking.any():
        group = pl.select(
            pl.when(lacking).then(group_ids(project, text(first_part))).otherwise(group).alias("group_id")
        )["group_id"]
        nameless = when(lacking & group.is_null(), "group_id: missing, and no fingerprint to stand for it")
        if nameless is not None:
            wrong = nameless if wrong is None else pl.select(pl.coalesce(wrong, nameless))[:, 0]
    return group, wrong


def split(
    frame: pl.DataFrame, problems: Sequence[pl.Series | None], rows: pl.Series, source: str, texts: Texts
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part a frame into the rows without a problem and the rejects."""
    found = [problem for problem in problems if problem is not None]
    if not found:
        return frame, pl.DataFrame(schema=REJECTS)
    table = pl.DataFrame([problem.alias(str(index)) for index, problem in enumerate(found)])
    bad = table.select(pl.any_horizontal(pl.all().is_not_null()))[:, 0]
    reasons = table.filter(bad).select(pl.concat_list(pl.all()).list.drop_nulls().alias("reasons"))["reasons"]
    return frame.filter(~bad), refuse(source, rows.filter(bad), reasons, texts)


def warnings_of(frame: pl.DataFrame) -> dict[str, int]:
    """How many rows there are with each warning.

    >>> warnings_of(pl.DataFrame({"warning": ["odd", None, "odd"]})), warnings_of(pl.DataFrame({"row": [1]}))
    ({'odd': 2}, {})
    """
    if WARNING not in frame.columns:
        return {}
    said = frame.filter(pl.col(WARNING).is_not_null()).group_by(WARNING, maintain_order=True).len()
    return dict(said.iter_rows())


def refuse(source: str, rows: pl.Series, reasons: pl.Series, texts: Texts) -> pl.DataFrame:
    """Rejects of these rows; ``reasons`` holds one list per row."""
    return pl.DataFrame(
        {
            "source": pl.Series([source], dtype=pl.String).new_from_index(0, len(rows)),
            "row": rows.cast(pl.Int64),
            "reasons": reasons.cast(pl.List(pl.String)),
            "raw": pl.Series([None if raw is None else raw[:RAW] for raw in texts(rows.to_list())], dtype=pl.String),
        },
        schema=REJECTS,
    )
