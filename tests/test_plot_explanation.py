"""The picture of an explanation says what the explanation says."""

import json
from datetime import timedelta
from io import BytesIO

import polars as pl
import pytest
from histories import ESCALATIONS, HOUR, MONDAY
from matplotlib.dates import date2num
from matplotlib.figure import Figure

import issue_analytics as ia
from issue_analytics.frames import empty

AS_OF = MONDAY + timedelta(days=7)


def history(week, extra, *, key=(1, 7)):
    rows = [(*key, MONDAY + place * HOUR, count) for place, count in enumerate(week) if count]
    rows += [(*key, MONDAY + place * HOUR, count) for place, count in extra.items()]
    return pl.DataFrame(rows, schema=empty("HourlyCounts").schema, orient="row")


def axes():
    return Figure(figsize=(9, 5), layout="constrained").subplots()


def drawn(ax):
    """What stands in the legend, and where the lines lie: {label: (x, y)}."""
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines}


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def days(at):
    return float(date2num(at))


@pytest.fixture
def missed():
    week = [10] * 168
    week[150] = 20
    counts = history(week, {168 + 9: 70, 168 + 40: 3})
    start = AS_OF + 8 * HOUR
    known = pl.DataFrame([(1, 7, start, start + 4 * HOUR, "human")], schema=ESCALATIONS, orient="row")
    return ia.explain(counts, 7, start, escalations=known)


def test_it_draws_the_limit_its_halves_and_the_week(missed):
    ax = ia.plot_explanation(missed, ax=axes())
    lines = drawn(ax)
    end = days(missed.hours["hour"][-1] + HOUR)
    assert missed.hours["hour"][-1] == AS_OF + 33 * HOUR
    assert ax.get_xlim() == pytest.approx((days(MONDAY), end))
    assert lines["limit 95 (bursty)"] == (pytest.approx([days(AS_OF), end]), [95, 95])
    [bursty] = [label for label in lines if label.startswith("bursty")]
    assert bursty == "bursty 95.1 = 20 x 4.76; critical x 3.50"
    assert lines[bursty] == (pytest.approx([days(AS_OF), end]), [missed.terms.bursty.value] * 2)
    [spike] = [label for label in lines if label.startswith("spike")]
    assert spike == "spike 60.3 = 10.1 + 10.1 x 5, min_spike; critical x 5.96"
    assert lines["mean 10.1 an hour"] == (pytest.approx([days(MONDAY), days(AS_OF)]), [missed.terms.mean] * 2)
    assert lines["busiest hour 20"] == (pytest.approx([days(MONDAY + 150.5 * HOUR)]), [20])
    assert lines["actual escalation"][0] == pytest.approx([days(AS_OF + 8 * HOUR)] * 2)
    assert ax.get_title(loc="left").splitlines() == [
        "group 7",
        "Does not fire: 70 ≤ 95 (bursty) at Mon 2026-01-12 09:00 UTC",
        "would fire at max_bursty ≤ 3.4999",
    ]
    assert "the hour explained: 70" in legend(ax)
    assert ax.get_ylim()[1] > 95
    assert ax.get_ylabel() == "occurrences per hour"
    assert "UTC" in ax.get_xlabel()


def test_an_hour_that_fires_without_halves():
    found = ia.explain(history([3, 0] * 84, {180: 50}), 7, MONDAY + 180 * HOUR)
    ax = ia.plot_explanation(found, title="disk full", ax=axes())
    assert ax.get_title(loc="left").splitlines() == [
        "disk full",
        "Fires: 50 > 30 (new) at Mon 2026-01-12 12:00 UTC",
        "no value of the five variables changes that",
    ]
    assert not [label for label in drawn(ax) if label.startswith(("bursty", "spike", "mean"))]
    assert "limit 30 (new)" in legend(ax)


def test_where_there_is_no_limit_the_hours_are_hatched():
    counts = history([], {300: 9})
    for limits in (None, empty("Limits")):
        found = ia.explain(counts, 7, MONDAY + 300 * HOUR, limits=limits)
        ax = ia.plot_explanation(found, ax=axes())
        assert "Does not fire: 9, no limit, at" in ax.get_title(loc="left")
        assert "no limit" in legend(ax)
        ax.figure.savefig(BytesIO(), format="png")


def test_a_storm_far_above_the_limit_is_on_a_log_scale():
    found = ia.explain(history([3] * 168, {180: 9000}), 7, MONDAY + 180 * HOUR)
    ax = ia.plot_explanation(found, ax=axes())
    assert ax.get_yscale() == "symlog"
    assert "log scale" in ax.get_ylabel()


def test_a_stale_limit_is_drawn_from_when_it_was_made():
    counts = history([3] * 336, {340: 90})
    found = ia.explain(counts, 7, MONDAY + 340 * HOUR, limits=ia.forecast(counts, AS_OF))
    lines = drawn(ia.plot_explanation(found, ax=axes()))
    assert lines["limit 18 (spike)"][0][0] == pytest.approx(days(AS_OF))


@pytest.mark.parametrize("title", ["$\\frac{a}{$", "<script>", "a\x1b[31m\u202e", "x" * 9999])
def test_titles_are_drawn_as_they_are_and_pictures_can_be_saved(missed, title):
    ax = ia.plot_explanation(missed, title=title, ax=axes())
    ax.figure.savefig(BytesIO(), format="png")
    assert "\x1b" not in ax.get_title(loc="left")
    assert len(ax.get_title(loc="left").splitlines()[0]) <= 80


def test_drawing_changes_nothing(missed):
    before = json.dumps(missed.to_dict())
    ia.plot_explanation(missed, ax=axes())
    assert json.dumps(missed.to_dict()) == before
