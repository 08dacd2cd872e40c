"""Pictures of calibration: quantiles against what came, the PIT, limits of another scale, Murphy diagrams."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from issue_analytics.errors import FrameError
from issue_analytics.reporting.palette import GREY, SKY, STYLES, axes_or_current, finish, label_of
from issue_analytics.reporting.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_murphy", "plot_pit", "plot_reliability", "plot_scales"]


def plot_reliability(curve: pl.DataFrame, *, by: str | None = None, ax: "Axes | None" = None) -> "Axes":
    """Plot how often hours were above the quantile of the week before, against how often they should have been.

    A bar spans from the share of hours above the quantile to that of hours at or above it, since counts are whole
    numbers; it crosses the diagonal where hours are like their week. Bars above it: hours are busier than their past.

    Args:
        curve: from :func:`~issue_analytics.scores.quantiles.quantile_reliability`.
        by: the column whose values are drawn apart, the first eight of them.
        ax: where to draw; by default the current axes of pyplot.

    Returns:
        The axes, both logarithmic. A share of 0 is drawn as an open triangle at the lower edge.

    Raises:
        FrameError: a column is missing.

    >>> from matplotlib.figure import Figure
    >>> curve = pl.DataFrame({"level": [0.5, 0.99], "hours": [1000, 1000], "at_or_below": [0.6, 0.985],
    ...     "below": [0.45, 0.98]})
    >>> plot_reliability(curve, ax=Figure().subplots()).get_xscale()
    'log'
    """
    ax = axes_or_current(ax)
    _need(curve, ("level", "hours", "at_or_below", "below"), by)
    known = curve.filter(pl.col("hours") > 0).with_columns(
        nominal=1 - pl.col("level"), above=1 - pl.col("at_or_below"), at_or_above=1 - pl.col("below")
    )
    positive = [*known["nominal"].to_list(), *known["above"].filter(known["above"] > 1e-12).to_list()]
    floor = min(positive, default=0.001) / 2
    ax.plot([floor, 1], [floor, 1], color=GREY, lw=1, label="as often as nominal", zorder=1)
    strata = list(_strata(known, by))
    for nth, (name, part) in enumerate(strata):
        colour, line, mark = STYLES[nth]
        # bars of several strata beside each other, not on each other
        x = [value * 1.06 ** (nth - (len(strata) - 1) / 2) for value in part["nominal"]]
        above = part["above"].clip(floor).to_list()
        ax.vlines(
            x,
            above,
            part["at_or_above"].clip(floor).to_list(),
            color=colour,
            lw=4 if len(strata) == 1 else 2,
            alpha=0.45,
            zorder=2,
        )
        label = label_of(name, _hours(part))
        ax.plot(x, above, color=colour, ls=line, marker=mark, ms=4, lw=1, label=label, zorder=3)
        _at_the_edge(ax, [at for at, share in zip(x, part["above"], strict=True) if share < floor], floor, colour)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(floor, 1)
    ax.set_ylim(floor, 1)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    ax.set_xlabel("nominal share of hours above the quantile of the week before", fontsize=9)
    ax.set_ylabel("share of later hours above it", fontsize=9)
    return finish(ax)


def plot_pit(histogram: pl.DataFrame, *, by: str | None = None, ax: "Axes | None" = None) -> "Axes":
    """Plot the histogram of the probability integral transform of hourly counts in their week before.

    Args:
        histogram: from :func:`~issue_analytics.scores.quantiles.pit_histogram`.
        by: the column whose values are drawn apart, the first eight of them.
        ax: where to draw; by default the current axes of pyplot.

    Returns:
        The axes; the flat line is what hours like their week would give.

    Raises:
        FrameError: a column is missing.

    >>> from matplotlib.figure import Figure
    >>> histogram = pl.DataFrame({"low": [0.0, 0.5], "high": [0.5, 1.0], "hours": [9, 9], "share": [0.4, 0.6],
    ...     "expected": [0.5, 0.5]})
    >>> len(plot_pit(histogram, ax=Figure().subplots()).patches)
    2
    """
    ax = axes_or_current(ax)
    _need(histogram, ("low", "high", "hours", "share", "expected"), by)
    known = histogram.filter(pl.col("share").is_not_null())
    strata = list(_strata(known, by))
    for nth, (name, part) in enumerate(strata):
        colour, line, _ = STYLES[nth]
        label = label_of(name, _hours(part))
        low, high, share = (part[column].to_list() for column in ("low", "high", "share"))
        heights = [100 * value for value in share]
        if len(strata) == 1:
            widths = [end - start for start, end in zip(low, high, strict=True)]
            ax.bar(low, heights, widths, align="edge", color=SKY, ec="black", lw=0.5, label=label)
        else:
            ax.stairs(heights, [*low, high[-1]], color=colour, ls=line, lw=1.6, label=label, baseline=None)
    if known.height:
        ax.axhline(100 * known["expected"][0], color=GREY, lw=1, label="if hours were like their week")
    ax.set_xlim(0, 1)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("place of an hour's count among the hours of the week before (0: fewest, 1: most)", fontsize=9)
    ax.set_ylabel("share of hours (%)", fontsize=9)
    return finish(ax)


def plot_scales(table: pl.DataFrame, *, by: str | None = None, ax: "Axes | None" = None) -> "Axes":
    """Plot how often limits of another scale would have been exceeded.

    Strata whose limits mean the same lie on each other; where they lie apart, one scale for all cannot be right.

    Args:
        table: from :func:`~issue_analytics.scores.quantiles.scaled_limits`.
        by: the column whose values are drawn apart, the first eight of them.
        ax: where to draw; by default the current axes of pyplot.

    Returns:
        The axes, both logarithmic. Where no hour was over the limit an open triangle stands at the lower edge.

    Raises:
        FrameError: a column is missing.

    >>> from matplotlib.figure import Figure
    >>> table = pl.DataFrame({"scale": [0.5, 1.0], "hours": [1680, 1680], "crossings": [30, 10],
    ...     "crossings_per_series_week": [3.0, 1.0]})
    >>> plot_scales(table, ax=Figure().subplots()).get_ylabel()
    'hours over the limit per series-week'
    """
    ax = axes_or_current(ax)
    _need(table, ("scale", "hours", "crossings", "crossings_per_series_week"), by)
    known = table.filter(pl.col("hours") > 0)
    rates = known["crossings_per_series_week"].filter(known["crossings"] > 0)
    floor = min(rates.to_list(), default=0.01) / 2
    for nth, (name, part) in enumerate(_strata(known, by)):
        colour, line, mark = STYLES[nth]
        label = label_of(name, _hours(part))
        some, none = part.filter(pl.col("crossings") > 0), part.filter(pl.col("crossings") == 0)
        ax.plot(
            some["scale"].to_list(), some["crossings_per_series_week"].to_list(), color=colour, ls=line, marker=mark,
            ms=4, lw=1.4, label=label,
        )  # fmt: skip
        _at_the_edge(ax, none["scale"].to_list(), floor, colour)
    ax.axvline(1, color=GREY, lw=1, label="limits as they were")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(bottom=floor)
    ax.set_xticks([0.1, 0.2, 0.5, 1, 2, 5], minor=False)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    ax.yaxis.set_major_formatter("{x:,g}")
    ax.set_xlabel("limits multiplied by", fontsize=9)
    ax.set_ylabel("hours over the limit per series-week", fontsize=9)
    return finish(ax)


def plot_murphy(
    curves: pl.DataFrame | Mapping[str, pl.DataFrame], *, level: float | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Plot Murphy diagrams: the mean elementary score of limits at each threshold; lower is better.

    Limits whose curve is nowhere above another's are better for whoever pays for idle headroom and missed counts in the
    proportion of the level, whatever the sizes that matter.

    Args:
        curves: from :func:`~issue_analytics.scores.quantiles.murphy`, or several by name, the first eight of them.
        level: of the quantile, to be named.
        ax: where to draw; by default the current axes of pyplot.

    Returns:
        The axes. The threshold is linear up to 1 and logarithmic above. A curve without hours is named and not drawn.

    Raises:
        FrameError: a column is missing.

    >>> from matplotlib.figure import Figure
    >>> curve = pl.DataFrame({"theta": [0.0, 1.0, 2.0], "score": [0.1, 0.05, 0.0], "hours": [10, 10, 10]})
    >>> len(plot_murphy({"a": curve, "b": curve}, ax=Figure().subplots()).lines)
    2
    """
    ax = axes_or_current(ax)
    named = curves if isinstance(curves, Mapping) else {"": curves}
    for (name, curve), (colour, line, _) in zip(named.items(), STYLES, strict=False):
        _need(curve, ("theta", "score", "hours"), None)
        known = curve.filter(pl.col("score").is_not_null())
        hours = _hours(known) if known.height else "no hours, not drawn"
        ax.plot(
            known["theta"].to_list(), known["score"].to_list(), color=colour, ls=line, lw=1.6, drawstyle="steps-post",
            label=label_of(name, hours),
        )  # fmt: skip
    ax.set_xscale("symlog", linthresh=1)
    ax.xaxis.set_major_formatter("{x:,g}")
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("threshold (occurrences per hour)", fontsize=9)
    quantile = "" if level is None else f" of the {level:g} quantile"
    ax.set_ylabel(f"mean elementary score{quantile}", fontsize=9)
    return finish(ax)


def _need(frame: pl.DataFrame, columns: tuple[str, ...], by: str | None) -> None:
    if missing := [name for name in (*columns, *([by] if by else [])) if name not in frame.columns]:
        raise FrameError(f"no column {', '.join(missing)}. Found: {', '.join(frame.columns) or 'no column at all'}.")


def _strata(frame: pl.DataFrame, by: str | None) -> Iterator[tuple[Any, pl.DataFrame]]:
    """Value and rows of each stratum, in the order of the frame; the whole frame without ``by``."""
    if by is None:
        parts = [(None, frame)] if frame.height else []
    else:
        parts = [(part[by][0], part) for part in frame.partition_by(by, maintain_order=True)]
    yield from parts[: len(STYLES)]


def _at_the_edge(ax: "Axes", x: list[float], floor: float, colour: str) -> None:
    """Mark what is 0, and so below every logarithmic axis; drawn over the frame."""
    if x:  # an empty line that is not clipped reaches, to layouts, down to 0
        ax.plot(x, [floor] * len(x), ls="", marker="v", ms=7, mfc="white", mec=colour, zorder=4, clip_on=False)


def _hours(part: pl.DataFrame) -> str:
    return f"{number(max(part['hours'].to_list()))} hours"
