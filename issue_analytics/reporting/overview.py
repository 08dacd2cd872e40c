"""Pictures of the whole: what the data cover, settings against each other, the branches that made their limits."""

from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from issue_analytics.coverage import find_gaps, hours_of
from issue_analytics.frames import require
from issue_analytics.reporting.palette import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PLAIN,
    PURPLE,
    SKY,
    VERMILLION,
    YELLOW,
    axes_or_current,
)
from issue_analytics.reporting.settings import each_result, setting_names
from issue_analytics.reporting.text import clean, number, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_branches", "plot_coverage", "plot_summary"]

BRANCHES = (("new", SKY, ""), ("bursty", BLUE, ""), ("spike", ORANGE, "//"), ("fallback", YELLOW, "\\\\"))
"""How each branch is drawn; ``none`` is white, as nothing was set."""


_HOURLY: Final = 2_000
"""Points that can be told apart in a picture; longer spans are drawn by the day."""


def plot_coverage(counts: pl.DataFrame | pl.LazyFrame, *, ax: "Axes | None" = None) -> "Axes":
    """Plot the occurrences of all issues per hour over the span of the data, and the gaps in it.

    Args:
        counts: contract ``HourlyCounts``. Spans of more than 2,000 hours are drawn as the mean per hour of each day.
        ax: where to draw; by default the current axes of pyplot.

    Returns:
        The axes. Gaps are those of :func:`~issue_analytics.coverage.find_gaps`: grey where all projects are silent,
        an orange mark at the top where one is.

    >>> from datetime import UTC, datetime
    >>> from matplotlib.figure import Figure
    >>> counts = pl.DataFrame({"project_id": [1], "group_id": [7], "hour": [datetime(2026, 1, 5, tzinfo=UTC)],
    ...     "count": [3]})
    >>> plot_coverage(counts, ax=Figure().subplots()).get_ylabel()
    'occurrences per hour'
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    ax = axes_or_current(ax)
    counts = require(counts.lazy(), "HourlyCounts").select("project_id", "group_id", "hour", "count").collect()
    hours, gaps = hours_of(counts), find_gaps(counts)
    unit = "hour"
    if hours.height > _HOURLY:
        hours = hours.group_by(pl.col("hour").dt.truncate("1d")).agg(pl.col("count").mean()).sort("hour")
        unit = "hour, mean of each day"
    if hours.height:
        # numpy's stamps have no zone: they are UTC, and the axis says so
        at = hours["hour"].dt.replace_time_zone(None).to_numpy()
        ax.plot(
            at, hours["count"].to_numpy(), color=BLUE, lw=0.8, drawstyle="steps-post", label=f"all issues, per {unit}"
        )
        ax.set_xlim(at[0], at[-1] + np.timedelta64(1, "h"))
    told = set()
    naive = gaps.sort("project_id").with_columns(pl.col("start", "end").dt.replace_time_zone(None))
    for project, start, end in naive.select("project_id", "start", "end").iter_rows():
        label = "gap of all projects" if project is None else "gap of one project"
        style: dict[str, Any] = {"color": "#BBBBBB", "hatch": "///", "ec": GREY, "lw": 0}
        if project is not None:
            style = {"color": ORANGE, "ymin": 0.95, "lw": 0}
        ax.axvspan(start, end, label=None if label in told else label, zorder=0, **style)
        told.add(label)
    ax.set_yscale("symlog", linthresh=1)
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter("{x:,.0f}")
    locator = AutoDateLocator(tz=UTC, minticks=3, maxticks=8)  # type: ignore[no-untyped-call] # matplotlib's dates are untyped
    ax.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator, tz=UTC)  # type: ignore[no-untyped-call] # matplotlib's dates are untyped
    ax.xaxis.set_major_formatter(formatter)
    ax.set_xlabel("hour (UTC)", fontsize=9)
    ax.set_ylabel("occurrences per hour", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.xaxis.get_offset_text().set_fontsize(8)
    ax.grid(visible=True, axis="y", color="#DDDDDD", lw=0.5)
    ax.set_axisbelow(True)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, fontsize=8, frameon=False)
    return ax


def plot_summary(results: Any, *, ax: "Axes | None" = None) -> "Axes":
    """Plot event recall against false alarms per quiet series-week, a point for each setting of a run.

    Lines through a point are its 95 % intervals, see ``BacktestResult.summary``. Points are numbered; the legend names
    the settings and gives the n of each share. Points that lie on each other have one label.

    Args:
        results: a run, one backtest result, or a sequence of them.
        ax: where to draw; by default the current axes of pyplot.

    Returns:
        The axes. A setting whose recall or false alarm rate is not defined is named in the legend and not drawn.

    >>> from matplotlib.figure import Figure
    >>> ax = plot_summary([], ax=Figure().subplots())
    >>> ax.get_ylabel()
    'recall: share of events caught (%)'
    """
    ax = axes_or_current(ax)
    every = each_result(results)
    markers, colours = "osD^vPX*", (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, GREY, "black")
    points: list[tuple[float, float, str]] = []
    farthest = 0.0
    for nth, (result, name) in enumerate(zip(every, setting_names(every), strict=True)):
        row = result.summary().row(0, named=True)
        recall, rate = row["recall"], row["false_alarms_per_series_week"]
        label = f"{name}: recall {share(row['events_caught'], row['events'])}, {number(row['false_alarms'])} false"
        label = f"{nth + 1}  {label}" if len(every) > 1 else label
        style: dict[str, Any] = {
            "ls": "",
            "marker": markers[nth % len(markers)],
            "color": colours[nth % len(colours)],
            "ms": 8,
            "mec": "black",
            "mew": 0.6,
            "clip_on": False,
        }
        if recall is None or rate is None:
            ax.plot([], [], label=f"{label} (not drawn)", **style)
            continue
        points.append((rate, 100 * recall, str(nth + 1) if len(every) > 1 else name))
        ax.plot([rate], [100 * recall], label=label, zorder=3, **style)
        low, high = (row[f"false_alarms_per_series_week_{end}"] for end in ("low", "high"))
        bars: dict[str, Any] = {"color": style["color"], "lw": 1.2, "zorder": 2}
        if low is not None and high is not None:
            ax.hlines(100 * recall, low, high, **bars)
        if row["recall_low"] is not None:
            ax.vlines(rate, 100 * row["recall_low"], 100 * row["recall_high"], **bars)
        # an interval that reaches far beyond the points must not press them to the edge: it leaves the picture
        farthest = max(farthest, rate, min(high or 0, 3 * rate or 1))
    for rate, recall, name in _together(points, farthest):
        # on the left half to the right of the point, else to the left: names stay inside
        left = rate <= 0.7 * farthest or not farthest
        ax.annotate(
            name, (rate, recall), xytext=(8 if left else -8, 6), textcoords="offset points", fontsize=8,
            ha="left" if left else "right", **PLAIN,
        )  # fmt: skip
    ax.set_xlim(0, 1.1 * farthest or 1)
    ax.set_ylim(0, 100)
    ax.set_xlabel("false alarms per quiet series-week", fontsize=9)
    ax.set_ylabel("recall: share of events caught (%)", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.grid(visible=True, color="#DDDDDD", lw=0.5)
    ax.set_axisbelow(True)
    if every:
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.16), fontsize=8, frameon=False)
    return ax


def _together(points: Sequence[tuple[float, float, str]], farthest: float) -> list[tuple[float, float, str]]:
    """Give points too near each other for a label each a common one, at the first of them."""
    labels: list[tuple[float, float, list[str]]] = []
    for rate, recall, name in points:
        for other_rate, other_recall, names in labels:
            if abs(rate - other_rate) <= 0.1 * farthest and abs(recall - other_recall) <= 5:
                names.append(name)
                break
        else:
            labels.append((rate, recall, [name]))
    return [(rate, recall, ", ".join(names[:6]) + (" …" if len(names) > 6 else "")) for rate, recall, names in labels]


def plot_branches(names: Sequence[str], shares: Iterable[Sequence[float]], *, ax: "Axes | None" = None) -> "Axes":
    """Plot the share of group-days that each branch decided, a bar for each setting.

    Args:
        names: of the settings.
        shares: of each setting, five fractions in the order of ``RULES``.
        ax: where to draw; by default the current axes of pyplot.

    >>> from matplotlib.figure import Figure
    >>> plot_branches(["standard"], [(0.5, 0.25, 0.0, 0.0, 0.25)], ax=Figure().subplots()).get_xlabel()
    'share of group-days (%)'
    """
    from matplotlib import rc_context

    ax = axes_or_current(ax)
    rows = [list(row) for row in shares]
    with rc_context({"hatch.linewidth": 0.6}):
        left = [0.0] * len(rows)
        for nth, (branch, colour, hatch) in enumerate((*BRANCHES, ("no limit", "white", ""))):
            widths = [100 * row[nth] for row in rows]
            ax.barh(
                range(len(rows)), widths, left=left, height=0.6, color=colour, hatch=hatch, ec="black", lw=0.5,
                label=branch,
            )  # fmt: skip
            for y, (start, width) in enumerate(zip(left, widths, strict=True)):
                if width >= 6:
                    dark = colour == BLUE
                    box = {"fc": colour, "ec": "none", "pad": 1}
                    ax.text(
                        start + width / 2, y, f"{width:.0f} %", ha="center", va="center", fontsize=8,
                        color="white" if dark else "black", bbox=box,
                    )  # fmt: skip
            left = [start + width for start, width in zip(left, widths, strict=True)]
    ax.set_yticks(range(len(rows)), [clean(name, length=40) for name in names], fontsize=8, **PLAIN)
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    ax.set_xlabel("share of group-days (%)", fontsize=9)
    ax.tick_params(axis="x", labelsize=8)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5, fontsize=8, frameon=False, handlelength=1.4)
    return ax
