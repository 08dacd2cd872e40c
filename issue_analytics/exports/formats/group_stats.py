"""Stats of one issue: a list of points ``[seconds, count]`` that names neither issue nor project.

The issue is the one whose id the file is named by (``10001.json``); its project is not known. Points lie on full
intervals, so the first hour is whole; the last was still running.
"""

from collections.abc import Iterator
from typing import Any, Final

from issue_analytics.exports.formats.form import Format, Row, refused
from issue_analytics.exports.formats.series import ADVICE, NAMELESS, from_stem, hourly, pairs

__all__ = ["FORMAT"]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _knows(record: Any) -> bool:
    return isinstance(record, list) and any(
        isinstance(point, list) and len(point) == 2 and _number(point[0]) and (point[1] is None or _number(point[1]))
        for point in record[:50]
    )


def _open(record: Any, stem: str) -> Iterator[Row]:
    keys = from_stem(stem)
    if keys is None:
        yield refused("hourly_counts", NAMELESS, record[:20], whole=True)
    else:
        yield from hourly(pairs(record), keys, whole_start=True, advice=f"ask for resolution=1h, or {ADVICE}")


FORMAT: Final = Format("group_stats", _knows, open=_open)
