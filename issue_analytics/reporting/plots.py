"""Pictures: one group around one moment, and settings against each other.

Colours are Okabe and Ito's, and nothing is told by colour alone: line styles, hatches and markers differ as well.
matplotlib is loaded on the first call. Text from exports is drawn as text, never as mathematics.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from issue_analytics.counts import HOUR
from issue_analytics.reporting.look import Look, look
from issue_analytics.reporting.text import clean, number, share, stamp

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_look", "plot_branches", "plot_limits", "plot_summary"]

BLUE, SKY, ORANGE, VERMILLION, GREEN, GREY = "#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#009E73", "#595959"
YELLOW, PURPLE = "#F0E442", "#CC79A7"

BRANCHES = (("new", SKY, ""), ("bursty", BLUE, ""), ("spike", ORANGE, "//"), ("fallback", YELLOW, "\\\\"))
"""How each branch is drawn; ``none`` is white, as nothing was set."""

_PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}
_LOG_FROM = 12  # a highest count this many times the limit or more: on a linear axis the limit would lie on the ground
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def plot_limits(
    counts: pl.DataFrame | pl.LazyFrame,
    limits: pl.DataFrame | pl.LazyFrame,
    *,
    group_id: int,
    at: datetime,
    project_id: int | None = None,
    alerts: pl.DataFrame | pl.LazyFrame | None = None,
    escalations: pl.DataFrame | pl.LazyFrame | None = None,
    title: str | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Plot a group's hourly counts and its limits around ``at``: did it fire, why, or how far below did it stay.

    Left of the middle lies the week from which the limit in force at ``at`` was made, right of it the week after. The
    limit of each hour is the one made last, at that hour or before; where the line is missing no limit was in force.
    Where the counts tower above the limit the axis turns logarithmic, and says so. Limits of other days that lie far
    above all counts leave the axis; the label below says how high they are.

    Args:
        counts: contract ``HourlyCounts``; an hour without a row is drawn as 0.
        limits: contract ``Limits``, made at one moment or at many.
        group_id: the group.
        at: a moment, with a time zone.
        project_id: needed where ids of groups in several projects collide.
        alerts: contract ``Alerts``: the hours to mark as predicted escalations; by default each hour over its limit.
        escalations: contract ``Escalations``: actual ones, shaded to their end where it is known.
        title: what to call the group; text from an export is safe here.
        ax: where to draw; by default the current axes of pyplot.

    Returns:
        The axes. Time is in days as matplotlib counts them, UTC; counts are occurrences per clock hour.

    Raises:
        SettingsError: ``at`` has no zone, the group is unknown, or its id stands in several projects.
        FrameError: a frame lacks a column.

    >>> from matplotlib.figure import Figure
    >>> from issue_analytics.forecast import forecast
    >>> day = datetime(2026, 1, 6, tzinfo=UTC)
    >>> counts = pl.DataFrame({"project_id": [1, 1], "group_id": [7, 7], "hour": [day - HOUR, day + HOUR],
    ...     "count": [3, 31]})
    >>> ax = plot_limits(counts, forecast(counts, day), group_id=7, at=day, ax=Figure().subplots())
    >>> print(ax.get_title(loc="left"))
    group 7
    Fired: 31 > 30 at Tue 2026-01-06 01:00 UTC
    new: 10 x busiest hour 3 = 30
    """
    seen = look(
        counts,
        limits,
        group_id=group_id,
        at=at,
        project_id=project_id,
        alerts=alerts,
        escalations=escalations,
    )
    name = clean(title, length=80) or f"group {group_id}"
    return draw_look(seen, _axes(ax), title=f"{name}\n{seen.headline}\n{seen.reason}")


def draw_look(seen: Look, ax: "Axes", *, title: str) -> "Axes":
    """Draw what :func:`issue_analytics.reporting.look.look` gathered; ``title`` is drawn as it is."""
    import numpy as np
    from matplotlib import rc_context

    hours = seen.hours
    edges = _days_of(seen.start) + np.arange(hours.height + 1) / 24
    middle = _days_of(seen.boundary)
    counts = hours["count"].to_numpy()
    limit = hours["limit"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    # limits of other days, made before or after the storm itself, may lie far above all that is to be seen here
    top = float(max(1, counts.max(), seen.focus.limit or 0))
    log = _scale(ax, top, seen.focus.limit)

    history = edges[:-1] < middle
    for part, colour, edge, label in (
        (history, "#9AA5AD", GREY, "occurrences, history"),
        (~history, SKY, BLUE, "occurrences"),
    ):
        low, high = np.flatnonzero(part)[[0, -1]]
        ax.stairs(
            counts[low : high + 1], edges[low : high + 2], fill=True, fc=colour, ec=edge, label=label, lw=0.4, zorder=2
        )
    if not np.isnan(limit).all():
        # a line that ends with the last hour: the step of an hour runs to the start of the next
        ax.step(
            edges, np.append(limit, limit[-1]), where="post", color=VERMILLION, lw=1.8, label="limit in force", zorder=4
        )
    with rc_context({"hatch.linewidth": 0.6}):
        _draw_escalations(ax, seen)
    fired = hours["fired"].to_numpy()
    if fired.any():
        ax.plot(
            (edges[:-1] + edges[1:])[fired] / 2,
            counts[fired],
            ls="",
            marker="v",
            ms=6,
            mfc=ORANGE,
            mec="black",
            mew=0.7,
            label="predicted escalation (count > limit)",
            zorder=5,
        )
    ax.axvline(middle, color="black", lw=0.8, ls=(0, (1, 2)), zorder=3)
    _point_at_focus(ax, seen, top, log=log)
    _label_time(ax, float(edges[0]), float(edges[-1]))
    if (highest := np.nanmax(limit, initial=0)) > ax.get_ylim()[1]:
        ax.set_xlabel(f"{ax.get_xlabel()}; limits beyond the axis: up to {number(float(highest))}")
    ax.set_ylabel(f"occurrences per hour{' (log scale)' if log else ''}", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.grid(visible=True, axis="y", color="#DDDDDD", lw=0.5, zorder=0)
    ax.set_axisbelow(True)
    legend = ax.legend(loc="upper left", ncols=3, fontsize=7.5, handlelength=1.8, columnspacing=1.2, borderaxespad=0.2)
    legend.get_frame().set(edgecolor="none", facecolor="white", alpha=0.85)
    legend.set_zorder(7)
    ax.set_title(title, loc="left", fontsize=9, **_PLAIN)
    return ax


def _scale(ax: "Axes", top: float, limit: int | None) -> bool:
    """Set the vertical axis, with room above for the legend; whether it is logarithmic."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator, SymmetricalLogLocator

    log = limit is not None and top >= _LOG_FROM * max(limit, 1)
    if log:
        ax.set_yscale("symlog", linthresh=1, linscale=0.6)
        ax.set_ylim(0, top**1.45 * 1.6 + 1)
        ax.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=1))
        ax.yaxis.set_minor_locator(NullLocator())
    else:
        ax.set_ylim(0, top * 1.42 + 0.3)
        ax.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    # numbers of the locale or in powers of ten would be another spelling than the report's
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    return log


def _draw_escalations(ax: "Axes", seen: Look) -> None:
    for nth, (began, ended) in enumerate(seen.escalations.iter_rows()):
        start = _days_of(max(began, seen.start))
        if ended is not None:
            stop = _days_of(min(ended, seen.end))
            ax.axvspan(start, stop, fc=GREEN, alpha=0.15, lw=0, zorder=1)
            ax.axvspan(start, stop, fc="none", ec=GREEN, hatch="///", lw=0, alpha=0.7, zorder=1)
        if began >= seen.start:
            ax.axvline(start, color=GREEN, lw=1.6, ls="--", zorder=3, label=None if nth else "_")
    if seen.escalations.height:
        ax.plot([], [], color=GREEN, lw=1.6, ls="--", label="actual escalation")


def _point_at_focus(ax: "Axes", seen: Look, top: float, *, log: bool) -> None:
    """Write count and limit beside the hour the picture is about, on the side with more room."""
    focus = seen.focus
    x = _days_of(focus.hour + HOUR / 2)
    right = focus.hour < seen.boundary + timedelta(days=3)
    if focus.limit is None:
        text = f"{number(focus.count)}, no limit"
    else:
        sign = ">" if focus.count > focus.limit else "≤"
        text = f"{number(focus.count)} {sign} {number(focus.limit)}"
    text = f"{text} at\n{stamp(focus.hour)}"
    height = top**1.12 if log else top * 1.1
    ax.annotate(
        text,
        xy=(x, focus.count),
        xytext=(x + (0.35 if right else -0.35), min(max(focus.count, 0.6 * height if not log else top**0.8), height)),
        ha="left" if right else "right",
        va="center",
        fontsize=8,
        bbox={"boxstyle": "round,pad=0.25", "fc": "white", "ec": GREY, "lw": 0.5, "alpha": 0.9},
        arrowprops={"arrowstyle": "-", "color": "black", "lw": 0.7, "shrinkB": 3},
        zorder=6,
        **_PLAIN,
    )


def _label_time(ax: "Axes", start: float, end: float) -> None:
    from matplotlib.dates import DayLocator
    from matplotlib.ticker import FuncFormatter

    def day(value: float, _: int | None) -> str:
        # strftime would name the days in the language of the machine
        at = _moment(value)
        return f"{_DAYS[at.weekday()]}\n{at:%m-%d}"

    ax.xaxis_date(tz="UTC")
    ax.set_xlim(start, end)
    ax.xaxis.set_major_locator(DayLocator(tz=UTC))  # type: ignore[no-untyped-call] # matplotlib's dates are untyped
    ax.xaxis.set_major_formatter(FuncFormatter(day))
    ax.set_xlabel(f"UTC, {_moment(start):%Y-%m-%d} to {_moment(end):%Y-%m-%d}", fontsize=9)


def plot_summary(results: Any, *, ax: "Axes | None" = None) -> "Axes":
    """Plot event recall against false alarms per series-week, a point for each setting of a run.

    Points are numbered; the legend names the settings and gives the n of each share. Points that lie on each other have
    one label.

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
    from issue_analytics.reporting.settings import each_result, setting_names

    ax = _axes(ax)
    every = each_result(results)
    markers, colours = "osD^vPX*", (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, GREY, "black")
    points: list[tuple[float, float, str]] = []
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
    farthest = max((rate for rate, _, _ in points), default=0)
    for rate, recall, name in _together(points, farthest):
        # on the left half to the right of the point, else to the left: names stay inside
        left = rate <= 0.7 * farthest or not farthest
        ax.annotate(
            name, (rate, recall), xytext=(8 if left else -8, 6), textcoords="offset points", fontsize=8,
            ha="left" if left else "right", **_PLAIN,
        )  # fmt: skip
    ax.set_xlim(0, 1.25 * farthest or 1)
    ax.set_ylim(0, 100)
    ax.set_xlabel("false alarms per series-week", fontsize=9)
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

    ax = _axes(ax)
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
    ax.set_yticks(range(len(rows)), [clean(name, length=40) for name in names], fontsize=8, **_PLAIN)
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    ax.set_xlabel("share of group-days (%)", fontsize=9)
    ax.tick_params(axis="x", labelsize=8)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5, fontsize=8, frameon=False, handlelength=1.4)
    return ax


def _axes(ax: "Axes | None") -> "Axes":
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.gca()


def _days_of(at: datetime) -> float:
    """A moment as matplotlib counts time."""
    from matplotlib.dates import date2num

    return float(date2num(at.astimezone(UTC)))  # type: ignore[no-untyped-call] # matplotlib's dates are untyped


def _moment(days: float) -> datetime:
    from matplotlib.dates import num2date

    at: datetime = num2date(days, tz=UTC)  # type: ignore[no-untyped-call] # matplotlib's dates are untyped
    return at
