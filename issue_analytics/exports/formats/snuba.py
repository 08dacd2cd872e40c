"""Responses of the query service: rows in ``data``, or an error in their place."""

from collections.abc import Iterator
from typing import Any, Final

import polars as pl

from issue_analytics.exports.formats import plain
from issue_analytics.exports.formats.form import Format, Row, first_of, refused

__all__ = ["FORMAT", "flat_row", "reading"]


def _knows(record: Any) -> bool:
    if not isinstance(record, dict) or "type" in record or plain.FORMAT.knows(record):
        return False
    error, rows = record.get("error"), record.get("data")
    if isinstance(error, dict) and "message" in error:
        return True
    if not isinstance(rows, list) or any(isinstance(row, list) for row in rows[:50]):
        return False
    return "meta" in record or any(isinstance(row, dict) for row in rows[:50])


def flat_row(record: Any) -> Row:
    """A record without nesting as a row, by the fields of the format that knows it, whose name is its ``form``."""
    from issue_analytics.exports.formats import TABLES

    if isinstance(record, dict):
        for form in TABLES:
            if form.knows(record):
                kind = next(iter(form.fields)) if len(form.fields) == 1 else plain.kind_of(record, None)
                if kind is not None:
                    fields = form.fields[kind]
                    values = {ours: first_of(record, *theirs) for ours, theirs in fields.items()}
                    return Row(kind, {**values, "form": form.name}, record)
    found = ", ".join(map(str, record))[:200] if isinstance(record, dict) else type(record).__name__
    return refused("hourly_counts", f"not a row of a known kind; found: {found or 'nothing'}", record)


def _open(record: Any, stem: str) -> Iterator[Row]:
    error = record.get("error")
    if isinstance(error, dict) and "data" not in record:
        said = f"{error.get('type')}: {error.get('message')}"[:300]
        yield refused("hourly_counts", f'the query failed: "{said}"; run it again', record, whole=True)
        return
    for row in record["data"]:
        yield flat_row(row)


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
