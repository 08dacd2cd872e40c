"""Tables of a report, as HTML that carries no style, no script and no markup of the cells' own."""

from collections.abc import Collection, Mapping, Sequence

import polars as pl

from issue_analytics.reporting.text import clean

__all__ = ["table"]


def table(
    name: str,
    rows: Sequence[Mapping[str, object]],
    *,
    text: Collection[str] = (),
    columns: Sequence[str] = (),
    length: int = 160,
) -> str:
    """Render rows as one HTML table, every cell cleaned and escaped.

    Args:
        name: what the ids of the table begin with; each table of a page has its own.
        rows: cells by column name, ready to be read; columns in the order of the first row.
        text: columns to set flush left; all others hold numbers and stand flush right.
        columns: the column names, for a table that may have no rows.
        length: cells are cut there.

    >>> html = table("t", [{"group": "<script>alert(1)</script>", "n": 3}], text=["group"])
    >>> "<script>" in html, "&lt;script&gt;" in html
    (False, True)
    """
    from great_tables import GT, html

    names = list(rows[0]) if rows else list(columns)
    cells = {column: [clean(row[column], length=length) for row in rows] for column in names}
    # ids are made of the columns' names: plain ones here, the shown ones as labels
    plain = {column: f"c{nth}" for nth, column in enumerate(names)}
    frame = pl.DataFrame(
        {plain[column]: values for column, values in cells.items()},
        schema=dict.fromkeys(plain.values(), pl.String),
    )
    shown = GT(frame, id=name).cols_label({plain[column]: html(_escape(column)) for column in names})
    left = [plain[column] for column in names if column in text]
    right = [plain[column] for column in names if column not in text]
    if left:
        shown = shown.cols_align("left", columns=left)
    if right:
        shown = shown.cols_align("right", columns=right)
    page = shown.as_raw_html()
    # around the table stands a style sheet of 100 rules, the same for each; the page has its own
    return page[page.index("<table") : page.rindex("</table>") + len("</table>")]


def _escape(value: str) -> str:
    from html import escape

    return escape(clean(value))
