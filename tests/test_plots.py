import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from io import BytesIO

import matplotlib as mpl
import polars as pl
import pytest
from matplotlib import pyplot as plt
from matplotlib.dates import date2num
from matplotlib.figure import Figure

from issue_analytics.backtest import backtest
from issue_analytics.detection import detect
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.forecast import forecast, forecast_schedule
from issue_analytics.frames import RULES, empty
from issue_analytics.reporting import plot_coverage, plot_limits, plot_summary
from issue_analytics.reporting.palette import GREEN
from issue_analytics.reporting.text import clean, number, percent, share

HOUR = timedelta(hours=1)
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
HOSTILE = {
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "math": r"$\frac{a}{$ \undefined $$ ^_",
    "control": "a\x00b\x07c\x1b[31mred\x1b[0m\r\nd\x85\u2028e",
    "direction": "\u202egnp.exe\u2066\u200f",
    "long": "x" * 10_000,
    "surrogate": "half \ud800 pair",
    "formula": '=HYPERLINK("http://example.invalid","a")',
    "accents": "e" + "\u0301" * 300,
    "braces": "{{ 7*7 }} {% for %} %s {0}",
    "empty": " \t\n",
}


def frame_of(rows, *, group_id=7, project_id=1):
    """Hourly counts of one group from (hour after MONDAY, count)."""
    return pl.DataFrame(
        [(project_id, group_id, MONDAY + hour * HOUR, count) for hour, count in rows],
        schema={"project_id": pl.Int64, "group_id": pl.Int64, "hour": pl.Datetime("us", "UTC"), "count": pl.Int64},
        orient="row",
    )


def steady(days=21, spikes=()):
    extra = dict(spikes)
    return frame_of([(hour, extra.get(hour, 2 + hour % 3)) for hour in range(24 * days)])


def daily(counts, days=21, hold=1, every=1, **options):
    moments = [MONDAY + timedelta(days=day) for day in range(7, days, every)]
    return forecast_schedule(counts, moments, days=hold, **options)


def escalations_of(*spans):
    return pl.DataFrame(
        [(1, 7, began, ended, "human") for began, ended in spans], schema=empty("Escalations").schema, orient="row"
    )


def axes():
    return Figure().subplots()


def labelled(ax, label):
    return [line for line in ax.lines if line.get_label().startswith(label)]


def step_of(ax):
    [line] = labelled(ax, "limit in force")
    assert line.get_drawstyle() == "steps-post"  # a limit holds from its hour on
    return dict(zip(line.get_xdata().round(6).tolist(), line.get_ydata().tolist(), strict=True))


def spans_of(ax, hatch):
    return [patch for patch in ax.patches if patch.get_hatch() == hatch]


def texts_of(ax, part):
    return [text.get_text() for text in ax.texts if part in text.get_text()]


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def key(at):
    return round(float(date2num(at)), 6)


def title_of(ax):
    return ax.get_title(loc="left").split("\n")


@pytest.mark.parametrize(("hold", "every"), [(1, 1), (14, 1), (7, 7), (3, 7)])
def test_the_step_line_is_the_limit_in_force_of_every_hour(hold, every):
    counts = steady(spikes=[(200, 40), (260, 400)])
    limits = daily(counts, hold=hold, every=every)
    at = MONDAY + 260 * HOUR
    drawn = step_of(plot_limits(counts, limits, group_id=7, at=at, ax=axes()))
    # where no limit holds any more, the weeks meet at the midnight before
    boundary = MONDAY + timedelta(days=7 if hold == every == 7 else 10)
    for offset in range(-168, 168):
        hour = boundary + offset * HOUR
        in_force = [
            (row["as_of"], row["limit"])
            for row in limits.iter_rows(named=True)
            if row["date"] == hour.date() and row["as_of"] <= hour
        ]
        expected = max(in_force)[1] if in_force else None
        got = drawn[key(hour)]
        assert (None if math.isnan(got) else got) == expected


def test_predicted_escalations_are_the_crossings_in_view():
    counts = steady(spikes=[(200, 90), (250, 500), (251, 600), (490, 9000)])
    limits = daily(counts)
    crossings = detect(counts, limits, crossings="all")
    at = MONDAY + 250 * HOUR
    [drawn] = labelled(plot_limits(counts, limits, group_id=7, at=at, ax=axes()), "predicted")
    start, end = MONDAY + timedelta(days=3), MONDAY + timedelta(days=17)
    seen = crossings.filter(pl.col("hour").is_between(start, end, closed="left"))
    assert seen.height == 3
    assert [round(x, 6) for x in drawn.get_xdata()] == [key(hour + HOUR / 2) for hour in seen["hour"]]
    assert drawn.get_ydata().tolist() == seen["count"].to_list()
    # what is given is drawn, and no more
    [drawn] = labelled(plot_limits(counts, limits, group_id=7, at=at, alerts=seen.head(1), ax=axes()), "predicted")
    assert drawn.get_ydata().tolist() == seen["count"].head(1).to_list()
    assert not labelled(plot_limits(counts, limits, group_id=7, at=at, alerts=seen.head(0), ax=axes()), "predicted")


def test_counts_are_drawn_hour_by_hour_and_silence_is_nothing():
    counts = frame_of([(0, 5), (170, 3), (180, 9)])
    ax = plot_limits(counts, forecast(counts, MONDAY + 168 * HOUR), group_id=7, at=MONDAY + 180 * HOUR, ax=axes())
    values, edges = [], []
    for patch in ax.patches:
        if patch.get_label().startswith("occurrences"):
            data = patch.get_data()
            values += data.values.tolist()
            edges += data.edges.tolist()[:-1]
    drawn = {round(edge, 6): value for edge, value in zip(edges, values, strict=True)}
    assert len(drawn) == 336
    assert {edge: value for edge, value in drawn.items() if value} == {
        key(MONDAY): 5,
        key(MONDAY + 170 * HOUR): 3,
        key(MONDAY + 180 * HOUR): 9,
    }


def test_one_look_tells_whether_and_why_it_fired():
    counts = steady(spikes=[(100, 23), (250, 299)])
    limits = forecast(counts, MONDAY + 168 * HOUR, buckets="dense")
    limit = limits["limit"][0]
    ax = plot_limits(counts, limits, group_id=7, at=MONDAY + 250 * HOUR, title="disk full", ax=axes())
    assert title_of(ax)[0] == "disk full"
    assert title_of(ax)[1] == f"Fired: 299 > {limit} at Thu 2026-01-15 10:00 UTC"
    assert re.fullmatch(rf"bursty: \d\.\d\d x busiest hour 23 [=≈] {limit}", title_of(ax)[2])
    [note] = [text.get_text() for text in ax.texts if " at\n" in text.get_text()]
    assert note == f"299 > {limit} at\nThu 2026-01-15 10:00 UTC"
    # the same moment asked for from elsewhere in the week finds the first crossing
    other = plot_limits(counts, limits, group_id=7, at=MONDAY + 170 * HOUR, ax=axes())
    assert title_of(other)[1] == title_of(ax)[1]


def test_the_first_crossing_after_the_limit_was_made_is_told_and_the_hour_asked_for_if_it_fired():
    counts = steady(spikes=[(165, 700), (168, 7100), (169, 7200), (300, 7300)])
    limits = forecast(counts, MONDAY + 168 * HOUR, days=7).with_columns(limit=pl.lit(600, dtype=pl.Int64))
    first = plot_limits(counts, limits, group_id=7, at=MONDAY + 200 * HOUR, ax=axes())
    assert title_of(first)[1].startswith("Fired: 7,100 > 600")
    asked = plot_limits(counts, limits, group_id=7, at=MONDAY + 300 * HOUR, ax=axes())
    assert title_of(asked)[1].startswith("Fired: 7,300 > 600")


def test_a_count_equal_to_the_limit_does_not_fire():
    counts = frame_of([(0, 4), (200, 40), (210, 41)])
    limits = forecast(counts, MONDAY + 168 * HOUR)
    [drawn] = labelled(plot_limits(counts, limits, group_id=7, at=MONDAY + 200 * HOUR, ax=axes()), "predicted")
    assert drawn.get_ydata().tolist() == [41]


def test_one_look_tells_how_far_below_it_stayed():
    counts = steady(spikes=[(100, 23), (250, 41)])
    limits = forecast(counts, MONDAY + 168 * HOUR)
    limit = limits["limit"][0]
    assert limit > 41
    ax = plot_limits(counts, limits, group_id=7, at=MONDAY + 170 * HOUR, ax=axes())
    assert title_of(ax)[1] == f"Not fired: peak 41, limit {limit} at Thu 2026-01-15 10:00 UTC"


@pytest.mark.parametrize(
    ("counts", "buckets", "expected"),
    [
        (frame_of([(0, 4), (200, 1)]), "sparse", "new: 10 x busiest hour 4 = 40"),
        (frame_of([(0, 23), (200, 1)]), "dense", "bursty: 2.00 x busiest hour 23 = 46"),
        (frame_of([(hour, 100) for hour in range(240)]), "dense", "spike: 6.00 x mean hour 100 = 600"),
    ],
)
def test_the_branch_is_named_with_its_numbers(counts, buckets, expected):
    limits = forecast(counts, MONDAY + 168 * HOUR, buckets=buckets)
    ax = plot_limits(counts, limits, group_id=7, at=MONDAY + 168 * HOUR, ax=axes())
    assert title_of(ax)[2] == expected


def test_a_factor_that_was_cut_is_not_called_equal():
    counts = frame_of([(hour, 1 + hour % 2) for hour in range(240)])
    limits = forecast(counts, MONDAY + 168 * HOUR).with_columns(
        limit=pl.lit(7, dtype=pl.Int64), rule=pl.lit("bursty", dtype=pl.Enum(RULES))
    )
    assert (
        title_of(plot_limits(counts, limits, group_id=7, at=MONDAY + 169 * HOUR, ax=axes()))[2]
        == "bursty: 3.50 x busiest hour 2 = 7"
    )
    third = counts.with_columns(pl.col("count") + 1)
    assert (
        title_of(plot_limits(third, limits, group_id=7, at=MONDAY + 169 * HOUR, ax=axes()))[2]
        == "bursty: 2.33 x busiest hour 3 ≈ 7"
    )


@pytest.mark.parametrize("buckets", ["sparse", "dense"])
def test_a_silent_week_has_no_limit_and_says_so(buckets):
    counts = frame_of([(0, 4), (400, 50)])
    limits = forecast(counts, MONDAY + timedelta(days=14), buckets=buckets)
    ax = plot_limits(counts, limits, group_id=7, at=MONDAY + 400 * HOUR, ax=axes())
    assert title_of(ax)[1] == "No limit in force: 50 at Wed 2026-01-21 16:00 UTC, nothing could fire"
    assert title_of(ax)[2].startswith("no limit: the 168 hours before")
    assert not labelled(ax, "limit in force")


def test_without_any_limit_the_counts_are_drawn_all_the_same():
    ax = plot_limits(frame_of([(3, 4)]), empty("Limits"), group_id=7, at=MONDAY + 3 * HOUR, ax=axes())
    assert title_of(ax)[2] == "no limit had been made for this hour"


def test_an_hour_over_the_limit_outside_the_given_alerts_is_not_called_fired():
    counts = frame_of([(0, 1), (200, 99)])
    limits = forecast(counts, MONDAY + 168 * HOUR)
    ax = plot_limits(counts, limits, group_id=7, at=MONDAY + 200 * HOUR, alerts=empty("Alerts"), ax=axes())
    assert title_of(ax)[1].startswith("Over the limit but no alert given: 99 > 10")


def test_actual_escalations_are_shaded_to_their_end_and_open_ones_only_begun():
    counts = steady()
    began, ended = MONDAY + 170 * HOUR, MONDAY + 180 * HOUR
    spans = escalations_of((began, ended), (MONDAY + 200 * HOUR, None), (MONDAY + 900 * HOUR, None))
    ax = plot_limits(counts, daily(counts), group_id=7, at=began, escalations=spans, ax=axes())
    dashed = [line for line in ax.lines if line.get_color() == GREEN and len(line.get_xdata())]
    assert sorted(round(line.get_xdata()[0], 6) for line in dashed) == [key(began), key(MONDAY + 200 * HOUR)]
    shaded = {(round(patch.get_x(), 6), round(patch.get_x() + patch.get_width(), 6)) for patch in spans_of(ax, "///")}
    assert shaded == {(key(began), key(ended))}
    assert [text.get_text() for text in ax.get_legend().get_texts()].count("actual escalation") == 1


def test_a_limit_far_below_a_spike_and_a_small_limit_can_both_be_read():
    small = frame_of([(hour, 1) for hour in range(0, 168, 40)] + [(200, 2)])
    ax = plot_limits(small, forecast(small, MONDAY + 168 * HOUR, buckets="dense"), group_id=7, at=MONDAY, ax=axes())
    ax = plot_limits(
        small, forecast(small, MONDAY + 168 * HOUR, buckets="dense"), group_id=7, at=MONDAY + 200 * HOUR, ax=axes()
    )
    low, high = ax.get_ylim()
    assert ax.get_yscale() == "linear"
    assert 0.2 < (2 - low) / (high - low) < 0.9
    huge = pl.concat([small, frame_of([(201, 100_000)])])
    limits = forecast(huge, MONDAY + 168 * HOUR, buckets="dense")
    ax = plot_limits(huge, limits, group_id=7, at=MONDAY + 201 * HOUR, ax=axes())
    assert ax.get_yscale() == "symlog"
    assert "log scale" in ax.get_ylabel()
    to_axes = (ax.transData + ax.transAxes.inverted()).transform
    assert 0.05 < to_axes((ax.get_xlim()[0], 2))[1] < 0.9
    assert to_axes((ax.get_xlim()[0], 100_000))[1] < 0.9


def test_a_limit_above_the_axis_lies_on_its_upper_edge_with_its_value():
    counts = steady(spikes=[(250, 90)])
    ax = plot_limits(counts, daily(counts), group_id=7, at=MONDAY + 250 * HOUR, ax=axes())
    drawn = step_of(ax)
    above = {at for at, value in drawn.items() if value > ax.get_ylim()[1]}
    assert above
    [edge] = labelled(ax, "limit above the axis")
    assert edge.get_linestyle() == "--"
    assert edge.get_ydata().tolist() == [1, 1]
    assert edge.get_transform() == ax.get_xaxis_transform()
    start, stop = edge.get_xdata().round(6).tolist()
    assert {at for at in drawn if start <= at < stop} == above - {stop}
    [highest] = {drawn[at] for at in above}
    assert texts_of(ax, "▲") == [f"▲ {number(highest)}"]
    assert "limit above the axis (▲)" in legend_of(ax)
    small = plot_limits(counts, forecast(counts, MONDAY + 168 * HOUR), group_id=7, at=MONDAY + 250 * HOUR, ax=axes())
    assert not labelled(small, "limit above the axis")
    assert not texts_of(small, "▲")


def test_values_of_limits_above_the_axis_that_change_daily_share_a_label():
    counts = steady()
    limits = daily(counts)
    high = [
        {10: 300, 12: 500}.get((date - MONDAY.date()).days, limit)
        for date, limit in limits.select("date", "limit").iter_rows()
    ]
    limits = limits.with_columns(limit=pl.Series(high, dtype=pl.Int64))
    at = MONDAY + timedelta(days=9, hours=2)
    ax = plot_limits(counts, limits, group_id=7, at=at, ax=axes())
    assert texts_of(ax, "▲") == ["▲ 300 to 500"]
    edges = [line for line in ax.lines if not line.get_clip_on()]
    dashed = [[round(x, 6) for x in line.get_xdata()] for line in edges]
    assert dashed == [[key(MONDAY + timedelta(days=day)), key(MONDAY + timedelta(days=day + 1))] for day in (10, 12)]


def test_hours_without_any_limit_are_shaded_labelled_and_no_others():
    counts = steady(spikes=[(250, 90)])
    limits = forecast(counts, MONDAY + 168 * HOUR, days=3)
    ax = plot_limits(counts, limits, group_id=7, at=MONDAY + 200 * HOUR, ax=axes())
    missing = {at for at, value in list(step_of(ax).items())[:-1] if math.isnan(value)}
    spans = [(round(patch.get_x(), 6), round(patch.get_x() + patch.get_width(), 6)) for patch in spans_of(ax, "\\\\\\")]
    assert spans == [(key(MONDAY + HOUR * first), key(MONDAY + HOUR * last)) for first, last in ((0, 168), (240, 336))]
    assert {at for at in step_of(ax) if any(start <= at < stop for start, stop in spans)} == missing
    assert texts_of(ax, "no limit") == ["no limit", "no limit"]
    assert legend_of(ax).count("no limit") == 1
    always = plot_limits(counts, daily(counts, hold=14), group_id=7, at=MONDAY + 400 * HOUR, ax=axes())
    assert not spans_of(always, "\\\\\\")
    assert "no limit" not in legend_of(always)


def test_the_legend_hides_nothing():
    counts = steady(spikes=[(250, 90)])
    event = escalations_of((MONDAY + 250 * HOUR, MONDAY + 300 * HOUR))
    for size in ((7.2, 2.9), (6.4, 4.8), (3, 3)):
        figure = Figure(figsize=size, layout="constrained")
        ax = figure.subplots()
        plot_limits(counts, daily(counts), group_id=7, at=MONDAY + 250 * HOUR, escalations=event, ax=ax)
        figure.draw_without_rendering()
        legend, label = ax.get_legend().get_window_extent(), ax.xaxis.label.get_window_extent()
        assert legend.y1 <= label.y0
        assert label.y1 < ax.get_window_extent().y0
        assert legend.y0 >= 0


def test_the_moment_the_limit_was_made_is_named():
    counts = steady()
    ax = plot_limits(counts, daily(counts), group_id=7, at=MONDAY + 250 * HOUR, ax=axes())
    [line] = labelled(ax, "limit made")
    assert round(line.get_xdata()[0], 6) == key(MONDAY + timedelta(days=10))
    assert "limit made" in legend_of(ax)
    silent = frame_of([(0, 4), (400, 50)])
    limits = forecast(silent, MONDAY + timedelta(days=14))
    ax = plot_limits(silent, limits, group_id=7, at=MONDAY + 400 * HOUR, ax=axes())
    assert "limit due, none made" in legend_of(ax)
    ax = plot_limits(silent, empty("Limits"), group_id=7, at=MONDAY + 403 * HOUR, ax=axes())
    assert "start of the day" in legend_of(ax)


def test_a_limit_made_on_archive_within_an_hour_is_told_and_drawn():
    counts = frame_of([(0, 23), (168, 99), (200, 50)])
    made = MONDAY + 168 * HOUR + timedelta(minutes=21, microseconds=55)
    limits = forecast(counts, MONDAY + 168 * HOUR, buckets="dense").with_columns(as_of=pl.lit(made))
    ax = plot_limits(counts, limits, group_id=7, at=MONDAY + 200 * HOUR, ax=axes())
    [line] = labelled(ax, "limit made")
    assert round(line.get_xdata()[0], 6) == key(MONDAY + 169 * HOUR)
    # from the whole hours before the one it was made in
    assert title_of(ax)[1:] == ["Fired: 50 > 46 at Tue 2026-01-13 08:00 UTC", "bursty: 2.00 x busiest hour 23 = 46"]


def test_an_escalation_that_began_before_the_picture_says_since_when():
    counts = steady()
    before, start = MONDAY + timedelta(minutes=190), MONDAY + timedelta(days=3)
    spans = escalations_of((before, MONDAY + 200 * HOUR))
    at = MONDAY + 250 * HOUR
    ax = plot_limits(counts, daily(counts), group_id=7, at=at, escalations=spans, ax=axes())
    assert texts_of(ax, "since") == ["◀ since Mon 2026-01-05 03:10 UTC"]
    assert {round(patch.get_x(), 6) for patch in spans_of(ax, "///")} == {key(start)}
    two = pl.concat([spans, escalations_of((before + HOUR, MONDAY + 230 * HOUR))])
    ax = plot_limits(counts, daily(counts), group_id=7, at=at, escalations=two, ax=axes())
    assert texts_of(ax, "since") == ["◀ since Mon 2026-01-05 03:10 UTC (and 1 more)"]
    inside = escalations_of((start, MONDAY + 200 * HOUR))
    ax = plot_limits(counts, daily(counts), group_id=7, at=at, escalations=inside, ax=axes())
    assert not texts_of(ax, "since")


def test_labels_have_units():
    counts = steady()
    ax = plot_limits(counts, daily(counts), group_id=7, at=MONDAY + 200 * HOUR, ax=axes())
    assert "occurrences per hour" in ax.get_ylabel()
    assert ax.get_xlabel().startswith("UTC, 2026-01-06 to 2026-01-20")
    assert [round(x, 6) for x in ax.get_xlim()] == [key(MONDAY + timedelta(days=day)) for day in (1, 15)]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_title_is_drawn_as_text(name):
    counts = steady(spikes=[(250, 90)])
    figure = Figure()
    ax = plot_limits(
        counts, daily(counts), group_id=7, at=MONDAY + 250 * HOUR, title=HOSTILE[name], ax=figure.subplots()
    )
    first, *rest = title_of(ax)
    assert len(rest) == 2
    assert 0 < len(first) <= 80
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", first)
    for parameters in ({}, {"svg.fonttype": "none"}):
        file = BytesIO()
        with mpl.rc_context(parameters):
            figure.savefig(file, format="svg")
        tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(file.getvalue()).iter()}  # noqa: S314 # our own
        assert not tags & {"script", "img", "a", "foreignObject"}
    if name == "math":
        assert first.startswith("$")


def test_the_axes_given_are_used_and_nothing_else_is_touched():
    counts = steady(spikes=[(250, 90)])
    before, open_figures = dict(mpl.rcParams), plt.get_fignums()
    ax = axes()
    assert plot_limits(counts, daily(counts), group_id=7, at=MONDAY + 250 * HOUR, ax=ax) is ax
    result = backtest(counts)
    other = axes()
    assert plot_summary(result, ax=other) is other
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == open_figures


def test_without_axes_the_current_ones_are_used():
    mpl.use("agg")
    counts = steady()
    figure, ax = plt.subplots()
    try:
        assert plot_limits(counts, daily(counts), group_id=7, at=MONDAY + 250 * HOUR) is ax
    finally:
        plt.close(figure)


def test_lazy_frames_do_as_well():
    counts = steady(spikes=[(250, 90)])
    limits = daily(counts)
    at = MONDAY + 250 * HOUR
    lazy = plot_limits(counts.lazy(), limits.lazy(), group_id=7, at=at, ax=axes())
    assert title_of(lazy) == title_of(plot_limits(counts, limits, group_id=7, at=at, ax=axes()))


def test_any_zone_and_any_minute_is_the_hour_it_lies_in():
    counts = steady(spikes=[(250, 90)])
    at = MONDAY + 250 * HOUR
    inside = (at + timedelta(minutes=59)).astimezone(datetime.strptime("+05:30", "%z").tzinfo)
    one, other = (plot_limits(counts, daily(counts), group_id=7, at=when, ax=axes()) for when in (at, inside))
    assert title_of(one) == title_of(other)


def test_mistakes_are_told():
    counts = steady()
    both = pl.concat([counts, counts.with_columns(project_id=pl.lit(2, dtype=pl.Int64))])
    limits = daily(counts)
    with pytest.raises(SettingsError, match="time zone"):
        plot_limits(counts, limits, group_id=7, at=datetime(2026, 1, 5), ax=axes())  # noqa: DTZ001 # the mistake
    with pytest.raises(SettingsError, match="group 8: neither counts nor limits know it"):
        plot_limits(counts, limits, group_id=8, at=MONDAY, ax=axes())
    with pytest.raises(SettingsError, match=r"projects 1, 2.*project_id="):
        plot_limits(both, daily(both), group_id=7, at=MONDAY, ax=axes())
    plot_limits(both, daily(both), group_id=7, project_id=2, at=MONDAY, ax=axes())
    with pytest.raises(FrameError, match="no column hour"):
        plot_limits(counts.drop("hour"), limits, group_id=7, at=MONDAY, ax=axes())


def test_summary_points_are_the_scores_and_what_is_undefined_is_not_drawn():
    counts = steady(spikes=[(250, 90), (400, 3)])
    event = escalations_of((MONDAY + 250 * HOUR, None), (MONDAY + 400 * HOUR, MONDAY + 402 * HOUR))
    known, unknown = backtest(counts, event), backtest(counts)
    ax = plot_summary([known, unknown], ax=axes())
    drawn = [(line.get_xdata(), line.get_ydata(), line.get_label()) for line in ax.lines]
    assert [list(x) for x, _, _ in drawn] == [[known.summary()["false_alarms_per_series_week"].item()], []]
    assert [list(y) for _, y, _ in drawn] == [[50.0], []]
    assert "50 % (1 of 2)" in drawn[0][2]
    assert "not drawn" in drawn[1][2]


def test_summary_points_have_their_intervals():
    counts = [
        steady(spikes=[(250, 90 if group % 2 else 5)]).with_columns(group_id=pl.lit(group)) for group in range(40)
    ]
    event = escalations_of((MONDAY + 250 * HOUR, MONDAY + 252 * HOUR))
    labels = pl.concat(event.with_columns(group_id=pl.lit(group)) for group in range(40)).cast({"group_id": pl.Int64})
    result = backtest(pl.concat(counts).cast({"group_id": pl.Int64}), labels)
    score = result.summary().row(0, named=True)
    across, up = (bar.get_segments()[0] for bar in plot_summary(result, ax=axes()).collections)
    assert across[:, 0].tolist() == [score[f"false_alarms_per_series_week_{end}"] for end in ("low", "high")]
    assert (score["recall"], score["false_alarms"]) == (0.5, 0)
    assert up[:, 1].tolist() == pytest.approx([100 * score["recall_low"], 100 * score["recall_high"]])


def test_matplotlib_is_loaded_by_the_first_plot_only():
    code = (
        "import sys, issue_analytics.reporting as r; "
        "print(sorted({'matplotlib', 'scipy', 'pandera', 'jinja2', 'great_tables'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("length", [1, 5, 100])
def test_clean_text_is_one_line_of_printable_characters(name, length):
    text = clean(HOSTILE[name], length=length)
    assert len(text) <= length
    assert text.isprintable()
    assert text == text.strip()
    assert clean(text, length=length) == text


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (number(None), "n/a"),
        (number(float("nan")), "n/a"),
        (number(0), "0"),
        (number(0.0), "0"),
        (number(1e-9), "1.00e-09"),
        (percent(1.0), "100 %"),
        (percent(0.999999), "> 99.99 %"),
        (percent(0.000001), "< 0.01 %"),
        (percent(0.0), "0 %"),
        (share(0, 0), "n/a (0 of 0)"),
        (share(0, 12), "0 % (0 of 12)"),
        (share(49, 207), "24 % (49 of 207)"),
    ],
)
def test_numbers_are_honest_at_the_edges(written, expected):
    assert written == expected


@pytest.mark.parametrize("days", [0.2, 3, 30, 100, 400, 1557, 4000])
def test_coverage_of_any_length_has_a_few_ticks(days):
    """matplotlib warns where it finds none for a span; a warning is an error here."""
    hours = [MONDAY, MONDAY + int(24 * days) * HOUR]
    counts = pl.DataFrame({"project_id": [1, 1], "group_id": [1, 1], "hour": hours, "count": [1, 3]})
    figure = Figure(figsize=(7.2, 2.2))
    ax = plot_coverage(counts, ax=figure.subplots())
    figure.canvas.draw()
    assert 3 <= len(ax.get_xticks()) <= 9
