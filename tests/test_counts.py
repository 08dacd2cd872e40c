from collections import Counter
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from histories import COUNTS, HOUR, MONDAY, UTC_US
from hypothesis import given, settings
from hypothesis import strategies as st

from issue_analytics import counts as counting
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


IDS = st.sampled_from([0, 1, 7, 2**42 - 1, 2**42, 2**43 + 7, 2**63 - 1])
MONTHS = [(1969, 12), (1970, 1), (2026, 1), (2209, 4), (2300, 1)]
STAMPS = st.builds(
    lambda month, hour, minute: datetime(*month, 5, hour, minute, tzinfo=UTC),
    st.sampled_from(MONTHS),
    st.sampled_from([0, 23]),
    st.sampled_from([0, 59]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(IDS, IDS, STAMPS), max_size=30), st.sampled_from([(0, 2**63 - 1), (0, 7)]))
def test_counts_equal_a_plain_counter(rows, some):
    expected = Counter((project, group, at.replace(minute=0)) for project, group, at in rows)
    expected = sorted((*key, count) for key, count in expected.items())
    frame = pl.DataFrame(rows, schema=EVENTS, orient="row").with_columns(title=pl.lit("t"))
    counts = hourly_counts(frame)
    assert counts.rows() == expected
    assert counts.schema == hourly_counts(frame.lazy()).collect_schema()
    lazy = hourly_counts(frame.lazy())
    assert sorted(lazy.collect().rows()) == expected
    # what is asked afterwards may be moved before the counting: the answer is the same
    keep = [row for row in expected if row[1] in some]
    assert sorted(lazy.filter(pl.col("group_id").is_in(some)).collect().rows()) == keep
    assert sorted(lazy.filter(pl.col("count") > 1).collect().rows()) == [row for row in expected if row[3] > 1]
    both = pl.col("group_id").is_in(some) & (pl.col("hour") > datetime(2020, 1, 1, tzinfo=UTC))
    late = [row for row in keep if row[2].year >= 2026]
    assert sorted(lazy.filter(both).select("hour", "count").collect().rows()) == sorted(row[2:] for row in late)
    assert lazy.head(2).collect().height == min(2, len(expected))
    assert lazy.select(pl.len()).collect().item() == len(expected)


NEAR = st.tuples(st.integers(1, 3), st.integers(0, 40), st.integers(0, 30), st.integers(0, 59))


def small_tables():
    """Tables of few cells, so that a few rows fill several, and some rows fit none."""
    patch = pytest.MonkeyPatch()
    for name, value in {"_BATCH": 4, "_STEP": 4, "_CELLS": 200, "_PAYS": 200}.items():
        patch.setattr(counting, name, value)
    return patch


@settings(max_examples=300, deadline=None)
@given(st.lists(NEAR, max_size=60), st.booleans(), st.booleans())
def test_counts_by_tables_equal_a_plain_counter(drawn, ordered, alike):
    rows = [(group % 3 if alike else project, group, hour, minute) for project, group, hour, minute in drawn]
    rows = sorted(rows, key=lambda row: row[2]) if ordered else rows
    expected = Counter((project, group, MONDAY + hour * HOUR) for project, group, hour, _ in rows)
    events = [
        (project, group, MONDAY + hour * HOUR + timedelta(minutes=minute)) for project, group, hour, minute in rows
    ]
    patch = small_tables()
    try:
        counts = hourly_counts(pl.LazyFrame(events, schema=EVENTS, orient="row")).collect()
    finally:
        patch.undo()
    assert sorted(counts.rows()) == sorted((*key, count) for key, count in expected.items())
    assert counts.schema == COUNTS


def test_rows_by_time_are_counted_by_tables_and_others_are_grouped():
    def tallied(rows):
        patch = small_tables()
        try:
            return counting._tallied(pl.LazyFrame(rows, schema=EVENTS, orient="row"))
        finally:
            patch.undo()

    # ids that grow with time, an hour that several tables share, an hour without rows
    rows = [(1, 100 + at // 3, MONDAY + (at // 5 + at // 20) * HOUR) for at in range(60)]
    expected = sorted((*key, count) for key, count in Counter(rows).items())
    assert sorted(tallied(rows).rows()) == expected
    assert sorted(tallied(rows[::-1]).rows()) == expected
    assert tallied([]).rows() == []
    assert tallied([*rows, (2, 100, rows[-1][2])]) is None  # an id in two projects
    assert tallied([*rows[:-1], (2, *rows[-1][1:])]) is None  # in one batch
    assert tallied([*rows, (1, 2**63 - 1, rows[-1][2])]) is None  # far away
    assert tallied([*rows[:-1], (1, 119, MONDAY + 1000 * HOUR)]) is None
    assert tallied([*rows, (1, 119, None)]) is None
    assert tallied([*rows, (-1, 119, rows[-1][2])]) is None


def test_an_error_of_the_source_is_told_as_it_is(tmp_path):
    (tmp_path / "gone.parquet").write_bytes(b"PAR1")
    broken = pl.scan_parquet(tmp_path / "gone.parquet", schema=EVENTS)
    with pytest.raises(pl.exceptions.PolarsError):
        hourly_counts(broken).collect()
