"""Pictures of searches show their numbers, and can be saved whatever is in them."""

import warnings
from io import BytesIO

import numpy as np
import polars as pl
import pytest
from histories import random_counts, random_escalations
from matplotlib.figure import Figure

from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.reporting import plot_binding, plot_curve, plot_recommendation, plot_stability, plot_sweep
from issue_analytics.thresholds import STANDARD, TIGHTER, ThresholdVariables
from issue_analytics.tuning import Objective, prepare, recommend
from issue_analytics.tuning.choosing import pareto_front

HOSTILE = ["$\\frac{a}{$", "<script>", "a\x1b[31m\u202e", "x" * 9999, "_hidden", "\n"]
RATE = "false_alarms_per_series_week"
GRID = ThresholdVariables.grid(
    min_bursty_multiplier=[0.4, 0.8, 1.2, 2], max_bursty_multiplier=[2, 5], min_spike_multiplier=[1, 5]
)


@pytest.fixture(scope="module")
def history():
    rng = np.random.default_rng(8)
    counts = random_counts(rng, groups=50, hours=700)
    return counts, random_escalations(rng, counts, number=160)


@pytest.fixture(scope="module")
def prepared(history):
    return prepare(*history, buckets="dense")


@pytest.fixture(scope="module")
def table(prepared):
    return prepared.sweep(GRID)


@pytest.fixture(scope="module")
def found(history):
    return recommend(*history, GRID, objective=Objective(cost_ratio=4), resamples=200, buckets="dense")


def axes(width=7):
    return Figure(figsize=(width, 4), layout="constrained").subplots()


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def names_of(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def saved(ax):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # layouts that collapse, glyphs that are not there
        ax.figure.savefig(BytesIO(), format="png")


def drawn(ax, mark, size=None):
    lines = [line for line in ax.lines if line.get_marker() == mark and size in (None, line.get_ms())]
    [line] = [line for line in lines if len(line.get_xdata())]
    return sorted(zip(map(float, line.get_xdata()), map(float, line.get_ydata())))


# sweeps ---------------------------------------------------------------------------------------------------------------


def test_a_sweep_is_all_its_outcomes_the_front_and_the_marked_settings(table):
    recommended = ThresholdVariables(min_bursty_multiplier=1.2)
    ax = plot_sweep(table, recommended=recommended, ax=axes())
    front = pareto_front(table)
    assert drawn(ax, "o", 5.5) == [(x, pytest.approx(100 * y)) for x, y in front.select(RATE, "recall").rows()]
    end = ax.get_xlim()[1]
    outcomes = table.unique(("false_alarms", "events_caught"))
    inside = sorted(outcomes.filter(pl.col(RATE) <= end).select(RATE, "recall").rows())
    assert drawn(ax, "o", 4) == [(x, pytest.approx(100 * y)) for x, y in inside]
    for setting, mark in ((STANDARD, "s"), (recommended, "*")):
        row = table.row(by_predicate=pl.col("digest") == setting.digest, named=True)
        assert drawn(ax, mark) == [(row[RATE], pytest.approx(100 * row["recall"]))]
        [label] = [text for text in legend_of(ax) if (setting.name or setting.digest) in text]
        assert f"({row['events_caught']} of {row['events']}), {row['false_alarms']} false" in label
    assert f"16 settings, {outcomes.height} different outcomes" in legend_of(ax)[0]
    assert ax.get_ylim() == (0, 100)
    saved(ax)


def test_the_front_is_a_step_that_ends_with_the_axes(table):
    ax = plot_sweep(table, ax=axes())
    [step] = [line for line in ax.lines if line.get_drawstyle() == "steps-post"]
    front = pareto_front(table)
    assert list(step.get_xdata()) == [*front[RATE], ax.get_xlim()[1]]
    assert list(step.get_ydata()) == pytest.approx([100 * y for y in [*front["recall"], front["recall"][-1]]])


def test_what_lies_beyond_the_front_is_counted_and_not_drawn():
    table = pl.DataFrame(
        {
            "digest": ["a", "b", "c", STANDARD.digest],
            "events": 10,
            "events_caught": [5, 5, 4, 3],
            "false_alarms": [10, 100, 200, 2],
            "recall": [0.5, 0.5, 0.4, 0.3],
            RATE: [0.1, 1.0, 2.0, 0.02],
        }
    )
    ax = plot_sweep(table, ax=axes())
    assert legend_of(ax)[0] == "4 settings, 4 different outcomes; 2 beyond the edge"
    assert ax.get_xlim() == (0, pytest.approx(0.11))
    assert drawn(ax, "o", 4) == [(0.02, 30), (0.1, 50)]
    saved(ax)


def test_a_setting_that_is_not_there_is_named(table):
    ax = plot_sweep(table, default=TIGHTER, ax=axes())
    assert "default: tighter (not among the settings, not drawn)" in legend_of(ax)
    saved(ax)


def test_without_labels_nothing_is_drawn(prepared):
    table = prepare(prepared.counts, buckets="dense").sweep(GRID)
    ax = plot_sweep(table, ax=axes())
    assert [text.get_text() for text in ax.texts] == ["n/a: no escalations judged"]
    assert "default: standard (not defined, not drawn)" in legend_of(ax)
    saved(ax)
    saved(plot_sweep(table.clear(), ax=axes()))


def test_where_no_false_alarm_is_the_axes_still_have_a_width():
    table = pl.DataFrame(
        {"digest": ["a"], "events": [2], "events_caught": [1], "false_alarms": [0], "recall": [0.5], RATE: [0.0]}
    )
    ax = plot_sweep(table, ax=axes())
    assert ax.get_xlim() == (0, 1)
    saved(ax)


# what limits hang on --------------------------------------------------------------------------------------------------


def test_bars_are_the_shares_of_each_stratum(prepared):
    binding = prepared.binding(by="volume")
    ax = plot_binding(binding, ax=axes())
    strata = binding["volume"].unique(maintain_order=True).to_list()
    assert [name.split("  (")[0] for name in names_of(ax)] == [str(stratum) for stratum in strata]
    widths = {}
    for bars in ax.containers:
        for stratum, bar in zip(strata, bars):
            widths[bars.get_label(), stratum] = bar.get_width()
    labels = {
        "min_bursty_multiplier": "min bursty multiplier",
        "decay": "decay between the bursty bounds",
        "none": "no variable: no limit",
    }
    for term, label in labels.items():
        for stratum, share in binding.filter(term=term).select("volume", "share").rows():
            assert widths.get((label, stratum), 0) == pytest.approx(100 * share)
    for stratum in strata:
        assert sum(width for (_, of), width in widths.items() if of == stratum) == pytest.approx(100)
    shares = binding.group_by("term").agg(pl.col("share").sum())
    assert len(legend_of(ax)) == shares.filter(pl.col("share") > 0).height
    saved(ax)


def test_terms_are_told_apart_without_colour(prepared):
    terms = ["std_multiplier", "min_spike_multiplier", "max_spike_multiplier", "min_bursty_multiplier"]
    terms += ["max_bursty_multiplier", "decay", "new", "none"]
    ax = plot_binding(pl.DataFrame({"term": terms, "limit_days": 1, "share": 1 / 8}), ax=axes(10))
    bars = [bars[0] for bars in ax.containers]
    assert len({(bar.get_facecolor(), bar.get_hatch()) for bar in bars}) == len(bars) == len(legend_of(ax)) == 8
    assert names_of(ax) == ["8 limits"]
    saved(ax)


@pytest.mark.parametrize("name", [*HOSTILE, None])
def test_names_of_strata_are_drawn_as_they_are(name):
    binding = pl.DataFrame({"type": [name], "term": ["new"], "limit_days": [3], "share": [1.0]})
    ax = plot_binding(binding, ax=axes(10))
    assert not any(text.get_parse_math() for text in ax.get_yticklabels())
    assert "\x1b" not in names_of(ax)[0]
    assert len(names_of(ax)[0]) < 60
    saved(ax)


def test_binding_of_nothing(prepared):
    saved(plot_binding(prepared.binding().clear(), ax=axes()))
    empty = prepared.binding().with_columns(limit_days=pl.lit(0, pl.Int64), share=pl.lit(None, pl.Float64))
    saved(plot_binding(empty, ax=axes()))


# curves ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STANDARD.to_dict())
def test_a_curve_is_every_stretch_of_its_frame(prepared, name):
    curve = prepared.curve(name)
    ax = plot_curve(curve, ax=axes())
    [right] = [other for other in ax.figure.axes if other is not ax]
    for axis, column, scale in ((ax, "recall", 100), (right, RATE, 1)):
        line = axis.lines[0]
        x, y = np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)
        assert list(x[::2]) == curve[f"{name}_from"].to_list()
        assert list(y[::2]) == list(y[1::2]) == pytest.approx([scale * value for value in curve[column]])
        assert np.all(np.diff(x) >= 0)
        # up to where it holds, or to the edge
        assert list(x[1::2]) == np.minimum(curve[name].to_numpy(), ax.get_xlim()[1]).tolist()
    assert ax.get_xlim()[0] == curve[f"{name}_from"][0]
    here = STANDARD.to_dict()[name]
    assert f"default: {here}" in legend_of(ax)
    row = curve.row(
        by_predicate=(pl.col(f"{name}_from") < here) & (pl.col(name) >= here) | (pl.col(f"{name}_from") == here) &
        (pl.int_range(pl.len()) == 0), named=True,
    )  # fmt: skip
    [shaded] = [patch for patch in ax.patches if patch.get_label().startswith("nothing differs: ")]
    begin, end = shaded.get_x(), shaded.get_x() + shaded.get_width()
    assert begin == pytest.approx(row[f"{name}_from"])
    assert end == pytest.approx(min(row[name], ax.get_xlim()[1]))
    # what is said to be the same is the same
    default = prepared.sweep([STANDARD]).row(0, named=True)
    assert (row["recall"], row[RATE]) == (default["recall"], default[RATE])
    saved(ax)


@pytest.mark.parametrize(
    ("here", "stretch"), [(0, "0 to 3"), (3, "0 to 3"), (3.5, "3 to 5"), (5, "3 to 5"), (6, "from 5 on")]
)
def test_a_value_belongs_to_the_stretch_that_it_ends(here, stretch):
    values = [0.75, 0.5, 0.25]
    curve = pl.DataFrame(
        {"std_multiplier_from": [0.0, 3.0, 5.0], "std_multiplier": [3.0, 5.0, 1000.0], "recall": values, RATE: values,
         "alerts_per_series_week": values}
    )  # fmt: skip
    ax = plot_curve(curve, default=ThresholdVariables(std_multiplier=here), ax=axes())
    assert f"nothing differs: {stretch}" in legend_of(ax)
    saved(ax)


def test_a_curve_that_never_changes_says_so(prepared):
    curve = prepared.curve("max_bursty_multiplier", low=6)
    assert curve.height == 1
    ax = plot_curve(curve, default=ThresholdVariables(max_bursty_multiplier=7), ax=axes())
    assert "nothing differs: from 6 on" in legend_of(ax)
    assert ax.get_xlim()[1] < 20
    saved(ax)


def test_without_labels_a_curve_is_of_alerts(prepared):
    curve = prepare(prepared.counts, buckets="dense").curve("min_bursty_multiplier")
    ax = plot_curve(curve, ax=axes())
    [right] = [other for other in ax.figure.axes if other is not ax]
    assert list(right.lines[0].get_ydata()[::2]) == curve["alerts_per_series_week"].to_list()
    assert right.get_ylabel() == "alerts per exposed series-week"
    assert len(ax.lines[0].get_xdata()) == 0
    saved(ax)


def test_only_the_curve_of_one_variable_is_drawn(prepared, table):
    two = prepared.curve("std_multiplier", "min_spike_multiplier")
    with pytest.raises(SettingsError, match="one variable, got std_multiplier, min_spike_multiplier"):
        plot_curve(two, ax=axes())
    with pytest.raises(SettingsError, match="got none"):
        plot_curve(table, ax=axes())
    saved(plot_curve(prepared.curve("std_multiplier").clear(), ax=axes()))


# recommendations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", [None, "recall", "precision", RATE, "alerts_per_project_day"])
def test_the_three_scores_stand_side_by_side_with_the_default(found, score):
    ax = plot_recommendation(found, score=score, ax=axes())
    name = score or "cost_per_series_week"
    scale = 100 if name in ("recall", "precision") else 1
    rows = found.table.filter(score=name)
    assert [label.split("\n")[0] for label in names_of(ax)] == ["default", "best", "recommended"]
    for kind, mark in (("apparent", "o"), ("corrected", "D"), ("held_out", "s")):
        points = [line for line in ax.lines if line.get_marker() == mark]
        assert list(points[0].get_xdata()) == pytest.approx([scale * value for value in rows[kind]])
        spans = [line for line in ax.lines if line.get_marker() == "None" and line.get_color() == points[0].get_color()]
        ends = [tuple(map(float, line.get_xdata())) for line in spans]
        expected = rows.select(pl.col(f"{kind}_low", f"{kind}_high") * scale).rows()
        assert ends == [pytest.approx(pair) for pair in expected]
    assert len(legend_of(ax)) == 3
    saved(ax)


def test_what_was_not_held_out_is_left_away(history):
    found = recommend(
        *history, GRID, objective=Objective(alerts_per_series_week=5), resamples=100, held_out=None, buckets="dense"
    )
    ax = plot_recommendation(found, ax=axes())
    assert legend_of(ax) == ["as it looks, on the data that chose", "corrected, on clusters that did not choose"]
    assert ax.get_xlabel() == "recall of events (%)"
    saved(ax)
    with pytest.raises(SettingsError, match=r"no 'f1'\. There are: alerts_per_project_day, "):
        plot_recommendation(found, score="f1", ax=axes())


def test_stability_is_how_often_each_value_was_chosen(found):
    ax = plot_stability(found.variables, recommended=found.thresholds, ax=axes())
    [bars] = ax.containers
    assert [bar.get_width() for bar in bars] == pytest.approx([100 * x for x in found.variables["recommended"]])
    [best] = [line for line in ax.lines if line.get_marker() == "D"]
    assert list(best.get_xdata()) == pytest.approx([100 * x for x in found.variables["best"]])
    chosen = found.thresholds.to_dict()
    for label, row in zip(names_of(ax), found.variables.to_dicts()):
        assert label.strip("★ ").endswith(f"{row['value']:g}")
        assert ("★" in label) == (chosen[row["variable"]] == row["value"])
    assert sum("multiplier" in label for label in names_of(ax)) == 5
    saved(ax)
    assert not any("★" in label for label in names_of(plot_stability(found.variables, ax=axes())))
    saved(plot_stability(found.variables.clear(), ax=axes()))


def test_a_missing_column_is_said(table, prepared, found):
    for draw, frame, column in (
        (plot_sweep, table, "recall"),
        (plot_binding, prepared.binding(), "share"),
        (plot_curve, prepared.curve("std_multiplier"), RATE),
        (plot_stability, found.variables, "best"),
    ):
        with pytest.raises(FrameError, match=f"no column {column}"):
            draw(frame.drop(column), ax=axes())
