"""Pictures of calibration show the numbers they were given, and can be saved whatever is in them."""

import warnings
from io import BytesIO

import polars as pl
import pytest
from matplotlib.figure import Figure

from issue_analytics.errors import FrameError
from issue_analytics.reporting.calibration import plot_murphy, plot_pit, plot_reliability, plot_scales

HOSTILE = ["$\\frac{a}{$", "<script>", "a\x1b[31m\u202e", "x" * 9999, "_hidden", ""]


def curve(name="a", above=(0.4, 0.02, 0.0)):
    return pl.DataFrame(
        {
            "name": name,
            "level": [0.5, 0.99, 0.999],
            "hours": 1000,
            "at_or_below": [1 - share for share in above],
            "below": [0.35, 0.95, 0.999],
        }
    )


def histogram(name="a", share=(0.1, 0.5, 0.2, 0.2)):
    edges = [0.0, 0.25, 0.5, 0.75, 1.0]
    return pl.DataFrame(
        {"name": name, "low": edges[:-1], "high": edges[1:], "hours": 400, "share": share, "expected": 0.25}
    )


def scales(name="a", crossings=(30, 10, 0)):
    return pl.DataFrame(
        {
            "name": name,
            "scale": [0.5, 1.0, 2.0],
            "hours": 1680,
            "crossings": crossings,
            "crossings_per_series_week": [number / 10 for number in crossings],
        }
    )


def murphy_curve(scores=(0.1, 0.05, 0.0)):
    schema = {"theta": pl.Float64, "score": pl.Float64, "hours": pl.Int64}
    return pl.DataFrame({"theta": [0.0, 1.0, 2.0], "score": scores, "hours": 10}, schema=schema)


def axes():
    return Figure(layout="constrained").subplots(1, 2)[0]


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def saved(ax):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # layouts that collapse, glyphs that are not there
        ax.figure.savefig(BytesIO(), format="png")


def test_reliability_spans_from_above_to_at_or_above():
    ax = plot_reliability(curve(), ax=axes())
    [bars] = ax.collections
    segments = [(segment[0].tolist(), segment[1].tolist()) for segment in bars.get_segments()]
    floor = ax.get_ylim()[0]
    assert [x for (x, _), _ in segments] == pytest.approx([0.5, 0.01, 0.001])
    assert [low for (_, low), _ in segments] == pytest.approx([0.4, 0.02, floor])
    assert [high for _, (_, high) in segments] == pytest.approx([0.65, 0.05, 0.001])
    diagonal, line, edge = ax.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
    assert list(line.get_ydata()) == pytest.approx([0.4, 0.02, floor])
    # none of a thousand hours: an open mark at the edge, not a point that says something
    assert (edge.get_marker(), edge.get_markerfacecolor()) == ("v", "white")
    assert list(edge.get_xdata()) == pytest.approx([0.001])
    assert legend_of(ax) == ["as often as nominal", "1,000 hours"]
    assert ax.get_yscale() == ax.get_xscale() == "log"
    saved(ax)


def test_reliability_of_strata_side_by_side():
    both = pl.concat([curve("<1/day"), curve("1-10/day", (0.3, 0.1, 0.01))])
    ax = plot_reliability(both, by="name", ax=axes())
    assert legend_of(ax) == ["as often as nominal", "<1/day: 1,000 hours", "1-10/day: 1,000 hours"]
    one, other = (bars.get_segments()[0][0][0] for bars in ax.collections)
    assert one < 0.5 < other
    assert len({line.get_color() for line in ax.lines if line.get_marker() == "None" or line.get_ls() != "None"}) == 3
    saved(ax)


def test_the_pit_is_bars_of_one_and_steps_of_many():
    ax = plot_pit(histogram(), ax=axes())
    assert [patch.get_height() for patch in ax.patches] == pytest.approx([10, 50, 20, 20])
    assert [patch.get_x() for patch in ax.patches] == [0, 0.25, 0.5, 0.75]
    [flat] = ax.lines
    assert set(flat.get_ydata()) == {25}
    saved(ax)
    ax = plot_pit(pl.concat([histogram("a"), histogram("b", (0.4, 0.2, 0.2, 0.2))]), by="name", ax=axes())
    assert [patch.get_data().values.tolist() for patch in ax.patches] == [
        pytest.approx([10, 50, 20, 20]), pytest.approx([40, 20, 20, 20]),
    ]  # fmt: skip
    assert set(legend_of(ax)) == {"a: 400 hours", "b: 400 hours", "if hours were like their week"}
    assert ax.get_ylim()[0] == 0
    saved(ax)


def test_scales_draw_rates_and_mark_none():
    ax = plot_scales(scales(), ax=axes())
    line, edge, now = ax.lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0.5, 1.0], [3.0, 1.0])
    assert (list(edge.get_xdata()), edge.get_marker()) == ([2.0], "v")
    assert list(edge.get_ydata()) == [ax.get_ylim()[0]]
    assert list(now.get_xdata()) == [1, 1]
    assert legend_of(ax) == ["1,680 hours", "limits as they were"]
    saved(ax)


def test_murphy_draws_each_curve():
    ax = plot_murphy({"standard": murphy_curve(), "tighter": murphy_curve((0.2, 0.01, 0.0))}, level=0.99, ax=axes())
    assert [list(line.get_ydata()) for line in ax.lines] == [[0.1, 0.05, 0.0], [0.2, 0.01, 0.0]]
    assert {line.get_drawstyle() for line in ax.lines} == {"steps-post"}  # constant up to the next whole number
    assert legend_of(ax) == ["standard: 10 hours", "tighter: 10 hours"]
    assert "0.99" in ax.get_ylabel()
    saved(ax)
    ax = plot_murphy({"a": murphy_curve((None, None, None))}, ax=axes())
    assert legend_of(ax) == ["a: no hours, not drawn"]
    saved(ax)
    assert legend_of(plot_murphy(murphy_curve(), ax=axes())) == ["10 hours"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_drawn_as_they_are(name):
    for ax in (
        plot_reliability(curve(name), by="name", ax=axes()),
        plot_pit(histogram(name), by="name", ax=axes()),
        plot_scales(scales(name), by="name", ax=axes()),
        plot_murphy({name: murphy_curve()}, ax=axes()),
    ):
        saved(ax)
        assert not any(text.get_parse_math() for text in ax.get_legend().get_texts())
        assert all("\x1b" not in label and len(label) < 80 for label in legend_of(ax))
        assert any("hours" in label for label in legend_of(ax))


def test_more_strata_than_can_be_told_apart_are_not_drawn():
    many = pl.concat([scales(f"s{nth}") for nth in range(12)])
    ax = plot_scales(many, by="name", ax=axes())
    assert sum("hours" in label for label in legend_of(ax)) == 8
    assert len({(line.get_color(), line.get_ls(), line.get_marker()) for line in ax.lines[:16:2]}) == 8


def test_nothing_to_draw():
    for ax in (
        plot_reliability(curve().clear(), ax=axes()),
        plot_pit(histogram().clear(), by="name", ax=axes()),
        plot_scales(scales().clear(), ax=axes()),
        plot_murphy({}, ax=axes()),
        plot_murphy(murphy_curve().clear(), ax=axes()),
    ):
        saved(ax)


def test_a_frame_without_its_columns_is_refused():
    with pytest.raises(FrameError, match="no column at_or_below"):
        plot_reliability(curve().drop("at_or_below"), ax=axes())
    with pytest.raises(FrameError, match="no column volume"):
        plot_pit(histogram(), by="volume", ax=axes())
    with pytest.raises(FrameError, match="no column scale"):
        plot_scales(scales().drop("scale"), ax=axes())
    with pytest.raises(FrameError, match="no column score"):
        plot_murphy(murphy_curve().drop("score"), ax=axes())
