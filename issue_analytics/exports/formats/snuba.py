"""Responses of the query service: rows in ``data``, or an error in their place."""

from collections.abc import Iterator
from typing import Any, Final

import polars as pl

from issue_analytics.exports.formats import plain
from issue_analytics.exports.formats.form import Fields, Format, Row, first_of, refused

__all__ = ["FORMAT", "reading"]


def _knows(record: Any) -> bool:
    if not isinstance(record, dict) or "type" in record or plain.FORMAT.knows(record):
        return False
    error, rows = record.get("error"), record.get("data")
    if isinstance(error, dict) and "message" in error:
        return True
    if not isinstance(rows, list) or any(isinstance(row, list) for row in rows[:50]):
        return False
    return "meta" in record or any(isinstance(row, dict) for row in rows[:50])


def _known(names: tuple[str, ...]) -> tuple[str, str, Fields] | None:
    """The format, the kind and the fields of rows with these names, or None."""
    from issue_analytics.exports.formats import table_format_of

    form = table_format_of(names)
    if form is None:
        return None
    kind = next(iter(form.fields)) if len(form.fields) == 1 else plain.kind_of(names)
    return None if kind is None else (form.name, kind, form.fields[kind])


def _open(record: Any, stem: str) -> Iterator[Row]:
    error = record.get("error")
    if isinstance(error, dict) and "data" not in record:
        said = f"{error.get('type')}: {error.get('message')}"[:300]
        yield refused("hourly_counts", f'the query failed: "{said}"; run it again', record, whole=True)
        return
    seen: dict[tuple[str, ...], tuple[str, str, Fields] | None] = {}  # rows are many, and all have the same columns
    for row in record["data"]:
        names = tuple(row) if isinstance(row, dict) else ()
        if names not in seen:
            seen[names] = _known(names)
        known = seen[names]
        if known is None:
            found = ", ".join(names)[:200] if isinstance(row, dict) else type(row).__name__
            yield refused("hourly_counts", f"not a row of a known kind; found: {found or 'nothing'}", row)
        else:
            form, kind, fields = known
            values = {ours: first_of(row, *theirs) for ours, theirs in fields.items()}
            yield Row(kind, {**values, "form": form}, row)


def _adapt(kind: str, raw: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Rows in a response are read as those of the format that knew them."""
    from issue_analytics.exports.formats import TABLES

    if "form" not in raw.columns:
        return [(kind, raw)]
    forms = {form.name: form for form in TABLES}
    parts: list[tuple[str, pl.DataFrame]] = []
    for (name,), rows in raw.group_by("form", maintain_order=True):
        adapt = forms[str(name)].adapt if name is not None else None
        parts += adapt(kind, rows.drop("form")) if adapt is not None else [(kind, rows.drop("form"))]
    return parts


def reading(kind: str) -> Format:
    """Responses whose rows are of this kind, because the user said so."""
    fields = plain.FIELDS[kind]

    def rows(record: Any, stem: str) -> Iterator[Row]:
        for row in record.get("data", ()):
            if isinstance(row, dict):
                yield Row(kind, {ours: first_of(row, *theirs) for ours, theirs in fields.items()}, row)
            else:
                yield refused(kind, "not a JSON object", row)

    return Format("snuba", _knows, open=rows)


FORMAT: Final = Format("snuba", _knows, open=_open, adapt=_adapt)
