from datetime import timedelta

import polars as pl
import pytest
from histories import COUNTS, HOUR, MONDAY, UTC_US

from issue_analytics.counts import hourly_counts, panels, span
from issue_analytics.errors import FrameError

EVENTS = {"project_id": pl.Int64, "group_id": pl.Int64, "detected_at": UTC_US}


def test_an_hour_is_closed_at_its_start_and_open_at_its_end():
    rows = [(1, 7, MONDAY), (1, 7, MONDAY + HOUR - timedelta(microseconds=1)), (1, 7, MONDAY + HOUR), (1, 8, MONDAY)]
    counts = hourly_counts(pl.DataFrame(rows, schema=EVENTS, orient="row"))
    assert counts.rows() == [(1, 7, MONDAY, 2), (1, 7, MONDAY + HOUR, 1), (1, 8, MONDAY, 1)]
    assert counts.schema == COUNTS


def test_lazy_in_lazy_out():
    events = pl.LazyFrame([(1, 7, MONDAY)], schema=EVENTS, orient="row")
    assert isinstance(hourly_counts(events), pl.LazyFrame)


def test_missing_columns_are_named():
    with pytest.raises(FrameError, match="detected_at"):
        hourly_counts(pl.DataFrame({"project_id": [1], "group_id": [1]}))


def test_panels_hold_every_group_and_hour_once():
    rows = [(1, 8, MONDAY + 3 * HOUR, 5), (1, 7, MONDAY, 2), (2, 7, MONDAY - HOUR, 9), (1, 9, MONDAY + 4 * HOUR, 1)]
    counts = pl.DataFrame(rows, schema=COUNTS, orient="row")
    [panel] = panels(counts, MONDAY, MONDAY + 4 * HOUR)
    assert panel.groups.rows() == [(1, 7), (1, 8), (2, 7)]  # 9 is not known before the end
    assert panel.counts.tolist() == [[2, 0, 0, 0], [0, 0, 0, 5], [0, 0, 0, 0]]
    assert panel.first.tolist() == [0, 3, -1]
    assert panel.counts.flags.f_contiguous
    blocks = list(panels(counts, MONDAY, MONDAY + 4 * HOUR, cells=4))
    assert [block.counts.tolist() for block in blocks] == [[row] for row in panel.counts.tolist()]


def test_the_span_of_nothing_is_none():
    assert span(pl.DataFrame(schema=COUNTS)) is None
    assert span(pl.DataFrame([(1, 8, MONDAY, 0)], schema=COUNTS, orient="row")) == (MONDAY, MONDAY + HOUR)
