"""Pictures of delays, intervals and differences show their numbers, and can be saved whatever is in them."""

import warnings
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from histories import HOUR, MONDAY, random_counts, random_escalations
from matplotlib.figure import Figure

from issue_analytics.backtest import backtest, compare
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.frames import empty
from issue_analytics.reporting import plot_delay, plot_differences, plot_intervals
from issue_analytics.scores import delay_curve, exceedance, median_delay_hours
from issue_analytics.thresholds import STANDARD, ThresholdVariables

HOSTILE = ["$\\frac{a}{$", "<script>", "a\x1b[31m\u202e", "x" * 9999, "_hidden", "\n"]
HALVED = ThresholdVariables(5, 2.5, 4, 1, 2.5)


@pytest.fixture(scope="module")
def results():
    """Two settings on one history, with misses, and escalations whose end nobody watched."""
    rng = np.random.default_rng(3)
    counts = random_counts(rng, groups=8, hours=700)
    labels = random_escalations(rng, counts, number=40)
    return [backtest(counts, labels, thresholds=thresholds, buckets="dense") for thresholds in (STANDARD, HALVED)]


def axes():
    return Figure(layout="constrained").subplots(1, 2)[0]


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def names_of(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def saved(ax):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # layouts that collapse, glyphs that are not there
        ax.figure.savefig(BytesIO(), format="png")


def matches_of(*rows):
    """Matches from (delay or None, hours watched, whether that was cut off)."""
    return pl.DataFrame(
        [
            (1, nth, MONDAY, None, MONDAY if delay else None, delay, MONDAY + watched * HOUR, cut)
            for nth, (delay, watched, cut) in enumerate(rows)
        ],
        schema={
            **dict.fromkeys(("project_id", "group_id"), pl.Int64),
            **dict.fromkeys(("escalated_at", "ended_at", "caught_hour"), pl.Datetime("us", "UTC")),
            "delay_hours": pl.Float64,
            "watched_until": pl.Datetime("us", "UTC"),
            "cut_off": pl.Boolean,
        },
        orient="row",
    )


def result_of(matches):
    return SimpleNamespace(matches=matches, summary=None)


# delays ---------------------------------------------------------------------------------------------------------------


def test_delay_is_the_curve_of_the_statistics_worked_by_hand():
    # statistics.md 2.2: delays 1, 3, 3 caught, 6 and 24 only watched: S(1) = .8, S(3) = .4
    matches = matches_of((1.0, 9, False), (3.0, 9, False), (3.0, 9, False), (None, 6, True), (None, 24, True))
    ax = plot_delay({"all": result_of(matches)}, ax=axes())
    curve, strokes, half = ax.lines
    assert list(curve.get_xdata()) == [0, 1, 3, 6, 24]
    assert list(curve.get_ydata()) == pytest.approx([100, 80, 40, 40, 40])
    assert curve.get_drawstyle() == "steps-post"
    assert list(strokes.get_xdata()) == [6, 24]
    assert list(strokes.get_ydata()) == pytest.approx([40, 40])
    assert set(half.get_ydata()) == {50}
    assert legend_of(ax) == ["all: 3 of 5 caught, half within 3 h"]
    saved(ax)


def test_a_curve_ends_where_nobody_was_watched_any_longer_and_goes_on_where_misses_stay():
    ends = plot_delay({"a": result_of(matches_of((1.0, 9, False), (None, 6, True)))}, ax=axes())
    assert max(ends.lines[0].get_xdata()) == 6
    goes_on = plot_delay({"a": result_of(matches_of((1.0, 9, False), (None, 6, False)))}, until_hours=30, ax=axes())
    assert list(goes_on.lines[0].get_xdata()) == [0, 1, 30]
    all_caught = plot_delay({"a": result_of(matches_of((1.0, 9, False), (2.0, 6, False)))}, ax=axes())
    assert list(all_caught.lines[0].get_ydata()) == [100, 50, 0, 0]
    assert goes_on.get_xlim() == (0, 30)
    for ax in (ends, goes_on, all_caught):
        saved(ax)


def test_delay_of_results_is_that_of_the_scores_with_their_interval(results):
    ax = plot_delay(results, until_hours=48, ax=axes())
    for result, line, band in zip(results, ax.lines[::2], ax.collections):
        curve = delay_curve(result.matches)
        known = len(curve["delay_hours"])
        assert list(line.get_xdata())[1 : known + 1] == curve["delay_hours"].to_list()
        assert list(line.get_ydata())[1 : known + 1] == pytest.approx((100 * curve["survival"]).to_list())
        corners = np.concatenate([path.vertices for path in band.get_paths()])
        ends = 100 * curve.select("survival_low", "survival_high").to_numpy()
        assert np.nanmin(corners[:, 1]) == pytest.approx(np.nanmin(ends))
        assert np.nanmax(corners[:, 1]) == pytest.approx(np.nanmax(ends))
    for result, text in zip(results, legend_of(ax)):
        caught, median = result.matches["caught_hour"].count(), median_delay_hours(result.matches)
        assert f"{caught} of {result.matches.height} caught" in text
        assert ("half not reached" in text) == (median is None)
    assert legend_of(ax)[0].startswith("standard: ")
    assert len({(line.get_color(), line.get_ls()) for line in ax.lines[:4:2]}) == 2
    assert plot_delay(results[0], ax=axes()).lines[0].get_ydata()[0] == 100
    saved(ax)


def test_a_wider_interval_for_more_confidence(results):
    heights = []
    for confidence in (0.5, 0.99):
        [band] = plot_delay(results[0], confidence=confidence, ax=axes()).collections
        corners = np.concatenate([path.vertices for path in band.get_paths()])
        heights.append(np.nanmax(corners[:, 1]) - np.nanmin(corners[:, 1]))
    assert heights[0] < heights[1]


def test_delay_of_nothing(results):
    ax = plot_delay({"a": result_of(results[0].matches.clear())}, ax=axes())
    assert legend_of(ax) == ["a: no escalations judged, not drawn"]
    saved(ax)
    saved(plot_delay([], ax=axes()))


def test_delay_refuses_what_it_cannot_draw(results):
    with pytest.raises(SettingsError, match="until_hours"):
        plot_delay(results, until_hours=0, ax=axes())
    with pytest.raises(SettingsError, match="confidence"):
        plot_delay(results, confidence=1, ax=axes())
    with pytest.raises(SettingsError, match="expected a run"):
        plot_delay({"a": 3}, ax=axes())


# intervals ------------------------------------------------------------------------------------------------------------


def strata(**columns):
    table = {
        "volume": ["<1/day", "1-10/day", None],
        "too_few": [False, False, True],
        "events": [1200, 30, 2],
        "recall": [0.5, 0.7, None],
        "recall_low": [0.45, 0.5, None],
        "recall_high": [0.55, 0.85, None],
    }
    return pl.DataFrame(table | columns, schema_overrides={"recall_macro_low": pl.Float64})


def spans_of(ax):
    """Ends of the intervals drawn, by height."""
    lines = [line for line in ax.lines if line.get_marker() == "None" and line.get_lw() == 2]
    return [(*map(float, line.get_xdata()), float(line.get_ydata()[0])) for line in lines]


def points_of(ax, mark="o"):
    [points] = [line for line in ax.lines if line.get_marker() == mark]
    return list(zip(points.get_xdata(), points.get_ydata()))


def test_a_row_for_each_stratum_from_the_top():
    ax = plot_intervals(strata(), "recall", by="volume", n="events", ax=axes())
    assert names_of(ax) == ["<1/day  (1,200 events)", "1-10/day  (30 events)", "not known*  (2 events)"]
    assert points_of(ax) == [(pytest.approx(50), 0), (pytest.approx(70), 1)]
    assert spans_of(ax) == [(pytest.approx(45), pytest.approx(55), 0), (pytest.approx(50), pytest.approx(85), 1)]
    assert [(text.get_text(), text.xy[1]) for text in ax.texts] == [("n/a", 2)]  # undefined is not 0
    top, bottom = ax.get_ylim()[::-1]
    assert top < 0 < 2 < bottom
    assert ax.get_xlim() == (0, 100)
    assert ax.get_xlabel() == "recall of events (%)"
    saved(ax)


def test_macro_stands_beside_micro():
    macro = {
        "recall_macro": [0.4, 0.6, 0.5],
        "recall_macro_low": [0.3, None, None],
        "recall_macro_high": [0.5, None, 1],
    }
    ax = plot_intervals(strata(**macro), "recall", by="volume", ax=axes())
    assert legend_of(ax) == ["all alerts and events alike", "all groups alike"]
    below = points_of(ax, "D")
    assert [x for x, _ in below] == pytest.approx([40, 60, 50])
    assert all(micro < macro for (_, micro), (_, macro) in zip(points_of(ax), below))
    assert (pytest.approx(30), pytest.approx(50), pytest.approx(below[0][1])) in spans_of(ax)
    saved(ax)


def test_a_median_without_a_bound_goes_on_for_ever():
    table = pl.DataFrame(
        {
            "who": ["open", "not reached", "unknown", "open below"],
            "median_delay_hours": [2.0, None, None, 2.0],
            "median_delay_hours_low": [1.0, 3.0, None, None],
            "median_delay_hours_high": [None, None, None, 4.0],
        }
    )
    ax = plot_intervals(table, "median_delay_hours", by="who", ax=axes())
    end = ax.get_xlim()[1]
    assert spans_of(ax) == [(1, end, 0), (3, end, 1), (0, 4, 3)]
    assert [line.get_ydata()[0] for line in ax.lines if line.get_marker() == ">"] == [0, 1]
    assert [line.get_ydata()[0] for line in ax.lines if line.get_marker() == "<"] == [3]
    assert [(text.get_text(), text.xy[1]) for text in ax.texts] == [("n/a", 1), ("n/a", 2)]
    saved(ax)


def test_an_endless_interval_ends_in_an_arrow():
    rate = "false_alarms_per_series_week"
    table = pl.DataFrame(
        {"volume": ["a", "b"], rate: [0.1, 0.2], f"{rate}_low": [0.05, 0.1], f"{rate}_high": [0.3, 900.0]}
    )
    ax = plot_intervals(table, rate, by="volume", ax=axes())
    assert 0.5 <= ax.get_xlim()[1] < 1
    [arrow] = [line for line in ax.lines if line.get_marker() == ">"]
    assert list(arrow.get_ydata()) == [1]
    assert list(arrow.get_xdata()) == [ax.get_xlim()[1]]
    assert ax.get_xlabel() == "false alarms per quiet series-week"
    saved(ax)


def test_a_wide_interval_among_wide_ones_is_drawn_whole():
    table = pl.DataFrame(
        {"who": ["a", "b", "c"], "cost": [0.1, 0.2, 0.01], "cost_low": [0.0, 0.1, 0.0], "cost_high": [6.0, 9.0, 0.02]}
    )
    ax = plot_intervals(table, "cost", by="who", ax=axes())
    assert ax.get_xlim()[1] > 9
    assert [line for line in ax.lines if line.get_marker() == ">"] == []


def test_intervals_of_tables_that_scores_give(results):
    for result in results:
        by_volume = result.summary_by("volume")
        for score in ("recall", "precision", "false_alarms_per_series_week", "median_delay_hours", "mean_delay_hours"):
            ax = plot_intervals(by_volume, score, by="volume", n="events", ax=axes())
            assert len(points_of(ax)) == by_volume[score].count()
            assert len(names_of(ax)) == by_volume.height
            saved(ax)
        saved(plot_intervals(exceedance(result.days(), "rule"), "exceedance", by="rule", n="hours", ax=axes()))


def test_any_other_score_is_called_by_its_column():
    table = pl.DataFrame({"who": ["a"], "my_own": [3.0], "my_own_low": [2.0], "my_own_high": [4.0]})
    ax = plot_intervals(table, "my_own", by="who", ax=axes())
    assert ax.get_xlabel() == "my own"
    assert spans_of(ax) == [(2, 4, 0)]
    saved(ax)
    saved(plot_intervals(table.clear(), "my_own", by="who", ax=axes()))


def test_intervals_need_their_columns():
    with pytest.raises(FrameError, match="no column recall_high"):
        plot_intervals(strata().drop("recall_high"), "recall", by="volume", ax=axes())
    with pytest.raises(FrameError, match="no column branch, groups"):
        plot_intervals(strata(), "recall", by="branch", n="groups", ax=axes())


# differences ----------------------------------------------------------------------------------------------------------


def test_differences_are_those_of_the_comparison(results):
    found = compare(*results, resamples=200)
    scores = {row["score"]: row for row in found.scores.iter_rows(named=True)}
    for score, scale in (("recall", 100), ("false_alarms_per_series_week", 1), ("mean_delay_hours", 1)):
        ax = plot_differences({"halved": found}, score=score, ax=axes())
        row = scores[score]
        assert [x for x, _ in points_of(ax)] == [pytest.approx(scale * row["difference"])]
        drawn = [span[:2] for span in spans_of(ax)]
        assert drawn[0] == pytest.approx((scale * row["low"], scale * row["high"]))
        if f"{score}_macro" in scores:
            other = scores[f"{score}_macro"]
            assert drawn[1] == pytest.approx((scale * other["low"], scale * other["high"]))
        assert any(set(line.get_xdata()) == {0} for line in ax.lines)
        assert names_of(ax)[0].startswith(f"halved\n{row['clusters']} groups, p ")
        assert "difference from standard" in ax.get_xlabel()
        saved(ax)


def test_of_the_same_setting_there_is_no_interval(results):
    found = compare(results[0], results[0], cluster="project", resamples=100)
    ax = plot_differences([found, found], score="precision", ax=axes())
    assert [x for x, _ in points_of(ax)] == [0, 0]
    assert spans_of(ax) == []
    assert all("projects, p 1.000" in name for name in names_of(ax))
    saved(ax)


def test_without_labels_only_the_burden_differs(results):
    bare = [backtest(result.counts, None, thresholds=result.thresholds, buckets="dense") for result in results]
    found = compare(*bare, resamples=100)
    ax = plot_differences(found, score="alerts_per_series_week", ax=axes())
    assert points_of(ax)[0][0] > 0
    saved(ax)
    with pytest.raises(SettingsError, match=r"no 'recall' in the comparison\. There are: alerts_per_series_week"):
        plot_differences(found, ax=axes())


def test_what_is_not_defined_is_said(results):
    result = results[0]
    none = empty("Escalations")
    calm = [backtest(result.counts, none, thresholds=thresholds, buckets="dense") for thresholds in (STANDARD, HALVED)]
    ax = plot_differences(compare(*calm, resamples=100), score="recall", ax=axes())
    assert {text.get_text() for text in ax.texts} == {"n/a"}
    assert "p n/a" in names_of(ax)[0]
    saved(ax)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_drawn_as_they_are(name, results):
    found = compare(*results, resamples=100)
    table = strata(volume=[name, name, None])
    for ax in (
        plot_delay({name: results[0]}, ax=axes()),
        plot_intervals(table, "recall", by="volume", ax=axes()),
        plot_differences({name: found}, ax=axes()),
    ):
        saved(ax)
        texts = ax.get_yticklabels() + list(ax.get_legend().get_texts() if ax.get_legend() else [])
        assert not any(text.get_parse_math() for text in texts if text.get_text() not in ("", *map(str, range(101))))
        assert all("\x1b" not in text.get_text() and len(text.get_text()) < 120 for text in texts)


def test_more_settings_than_can_be_told_apart_are_not_drawn(results):
    ax = plot_delay({f"s{nth}": results[0] for nth in range(12)}, ax=axes())
    assert len(legend_of(ax)) == 8


def test_escalations_after_a_day_are_beyond_the_axis():
    late = matches_of((30.0, 50, False), (None, 50, False))
    ax = plot_delay({"late": result_of(late)}, ax=axes())
    assert ax.get_xlim() == (0, 24)
    assert ax.lines[0].get_ydata()[0] == 100
    assert max(ax.lines[0].get_xdata()) == 30
    saved(ax)
