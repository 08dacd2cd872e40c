"""Responses of the query service: rows in ``data``, or an error in their place."""

from collections.abc import Iterator
from typing import Any, Final

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
    """A record without nesting as a row, by the fields of the format that knows it."""
    from issue_analytics.exports.formats import TABLES

    if isinstance(record, dict):
        for form in TABLES:
            if form.knows(record):
                kind = next(iter(form.fields)) if len(form.fields) == 1 else plain.kind_of(record, None)
                if kind is not None:
                    fields = form.fields[kind]
                    return Row(kind, {ours: first_of(record, *theirs) for ours, theirs in fields.items()}, record)
    found = ", ".join(map(str, record))[:200] if isinstance(record, dict) else type(record).__name__
    return refused("hourly_counts", f"not a row of a known kind; found: {found or 'nothing'}", record)


def _open(record: Any, stem: str) -> Iterator[Row]:
    error = record.get("error")
    if isinstance(error, dict) and "data" not in record:
        said = f"{error.get('type')}: {error.get('message')}"[:300]
        yield refused("hourly_counts", f'the query failed: "{said}"; run it again', record)
        return
    for row in record["data"]:
        yield flat_row(row)


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


FORMAT: Final = Format("snuba", _knows, open=_open)
