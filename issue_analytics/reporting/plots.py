"""The picture of one group around one moment.

Colours are Okabe and Ito's, and nothing is told by colour alone: line styles, hatches and markers differ as well.
matplotlib is loaded on the first call. Text from exports is drawn as text, never as mathematics.
"""

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from issue_analytics.counts import HOUR
from issue_analytics.reporting.look import Look, look
from issue_analytics.reporting.palette import BLUE, GREEN, GREY, ORANGE, PLAIN, SKY, VERMILLION, axes_or_current
from issue_analytics.reporting.text import clean, number, stamp

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["days_of", "draw_limits_above", "draw_look", "label_time", "plot_limits", "put_legend_below", "scale_counts"]

_LOG_FROM = 12  # a highest count this many times the limit or more: on a linear axis the limit would lie on the ground
_LABEL_DAYS = 3  # what the values of a limit above the axis take of the two weeks
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
    limit of each hour is the one made last, at that hour or before. Hours without any limit are hatched and labelled; a
    limit far above all counts is a dashed line along the upper edge, with its value. Where the counts tower above the
    limit the axis turns logarithmic, and says so.

    The legend lies below the axes: make the figure with ``layout="constrained"``, or save it with
    ``bbox_inches="tight"``.

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
    return draw_look(seen, axes_or_current(ax), title=f"{name}\n{seen.headline}\n{seen.reason}")


def draw_look(seen: Look, ax: "Axes", *, title: str) -> "Axes":
    """Draw what :func:`issue_analytics.reporting.look.look` gathered; ``title`` is drawn as it is."""
    import numpy as np
    from matplotlib import rc_context

    hours = seen.hours
    edges = days_of(seen.start) + np.arange(hours.height + 1) / 24
    middle = days_of(seen.boundary)
    counts = hours["count"].to_numpy()
    limit = hours["limit"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    # limits of other days, made before or after the storm itself, may lie far above all that is to be seen here
    top = float(max(1, counts.max(), seen.focus.limit or 0))
    log = scale_counts(ax, top, seen.focus.limit)

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
    above = draw_limits_above(ax, edges, limit, ax.get_ylim()[1])
    with rc_context({"hatch.linewidth": 0.6}):
        _draw_no_limit(ax, edges, np.isnan(limit))
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
            label="predicted escalation",
            zorder=5,
        )
    ax.axvline(middle, color="black", lw=0.9, ls=(0, (1, 2)), zorder=3, label=seen.boundary_name)
    _point_at_focus(ax, seen)
    label_time(ax, float(edges[0]), float(edges[-1]))
    ax.set_ylabel(f"occurrences per hour{' (log scale)' if log else ''}", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.grid(visible=True, axis="y", color="#DDDDDD", lw=0.5, zorder=0)
    ax.set_axisbelow(True)
    put_legend_below(ax)
    # the values of limits above the axis stand between it and the title
    ax.set_title(title, loc="left", fontsize=9, pad=15 if above else None, **PLAIN)
    return ax


def scale_counts(ax: "Axes", top: float, limit: int | None) -> bool:
    """Set the vertical axis, with room above for what is written there; whether it is logarithmic."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator, SymmetricalLogLocator

    log = limit is not None and top >= _LOG_FROM * max(limit, 1)
    if log:
        ax.set_yscale("symlog", linthresh=1, linscale=0.6)
        ax.set_ylim(0, top**1.2 * 1.6 + 1)
        ax.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=1))
        ax.yaxis.set_minor_locator(NullLocator())
    else:
        ax.set_ylim(0, top * 1.3 + 0.3)
        ax.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    # numbers of the locale or in powers of ten would be another spelling than the report's
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    return log


def _runs(part: "NDArray[np.bool_]") -> list[tuple[int, int]]:
    """The stretches [first, last) in which ``part`` is true."""
    import numpy as np

    turns = np.flatnonzero(np.diff(part, prepend=False, append=False))
    return list(zip(turns[::2].tolist(), turns[1::2].tolist(), strict=True))


def draw_limits_above(ax: "Axes", edges: "NDArray[np.float64]", limit: "NDArray[np.float64]", top: float) -> bool:
    """Draw limits above ``top`` along the upper edge of the axes, with their values; whether there are any."""
    above = limit > top
    labels: list[tuple[int, int]] = []
    for nth, (first, last) in enumerate(_runs(above)):
        ax.plot(
            edges[[first, last]], [1, 1], transform=ax.get_xaxis_transform(), color=VERMILLION, lw=2.2,
            ls=(0, (3, 1.5)), clip_on=False, zorder=6, label="_" if nth else "limit above the axis (▲)",
        )  # fmt: skip
        if labels and edges[first] - edges[labels[-1][0]] < _LABEL_DAYS:
            labels[-1] = (labels[-1][0], last)  # too near for a label of its own
        else:
            labels.append((first, last))
    for first, last in labels:
        values = limit[first:last][above[first:last]]
        low, high = number(float(values.min())), number(float(values.max()))
        right = edges[first] > edges[-1] - _LABEL_DAYS
        ax.annotate(
            f"▲ {low}" if low == high else f"▲ {low} to {high}", (edges[last if right else first], 1),
            xycoords=ax.get_xaxis_transform(), xytext=(0, 3), textcoords="offset points",
            ha="right" if right else "left", fontsize=7.5, color="#8A3B00", annotation_clip=False, **PLAIN,
        )  # fmt: skip
    return bool(labels)


def _draw_no_limit(ax: "Axes", edges: "NDArray[np.float64]", missing: "NDArray[np.bool_]") -> None:
    """Shade the hours without any limit: nothing can fire there."""
    for nth, (first, last) in enumerate(_runs(missing)):
        start, stop = float(edges[first]), float(edges[last])
        ax.axvspan(
            start,
            stop,
            fc="#F1F1F1",
            ec="#969696",
            hatch="\\\\\\",
            lw=0.5,
            zorder=0.5,
            label="_" if nth else "no limit",
        )
        if stop - start >= 1:
            ax.text(
                (start + stop) / 2, 0.97, "no limit", transform=ax.get_xaxis_transform(), ha="center", va="top",
                fontsize=7.5, bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none"}, zorder=5,
            )  # fmt: skip


def _draw_escalations(ax: "Axes", seen: Look) -> None:
    for nth, (began, ended) in enumerate(seen.escalations.iter_rows()):
        start = days_of(max(began, seen.start))
        if ended is not None:
            stop = days_of(min(ended, seen.end))
            ax.axvspan(start, stop, fc=GREEN, alpha=0.15, lw=0, zorder=1)
            ax.axvspan(start, stop, fc="none", ec=GREEN, hatch="///", lw=0, alpha=0.7, zorder=1)
        if began >= seen.start:
            ax.axvline(start, color=GREEN, lw=1.6, ls="--", zorder=3, label=None if nth else "_")
    if seen.escalations.height:
        ax.plot([], [], color=GREEN, lw=1.6, ls="--", label="actual escalation")
    earlier = seen.escalations.filter(pl.col("escalated_at") < seen.start)
    if earlier.height:
        others = f" (and {number(earlier.height - 1)} more)" if earlier.height > 1 else ""
        ax.annotate(
            f"◀ since {stamp(earlier['escalated_at'][0])}{others}", (0, 0.8), xycoords="axes fraction", xytext=(4, 0),
            textcoords="offset points", ha="left", va="center", fontsize=7.5, color="#00553D",
            bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": GREEN, "lw": 0.5}, zorder=6, **PLAIN,
        )  # fmt: skip


def _point_at_focus(ax: "Axes", seen: Look) -> None:
    """Write count and limit beside the hour the picture is about, on the side with more room."""
    focus = seen.focus
    x = days_of(focus.hour + HOUR / 2)
    right = focus.hour < seen.boundary + timedelta(days=3)
    if focus.limit is None:
        text = f"{number(focus.count)}, no limit"
    else:
        sign = ">" if focus.count > focus.limit else "≤"
        text = f"{number(focus.count)} {sign} {number(focus.limit)}"
    text = f"{text} at\n{stamp(focus.hour)}"
    height = float((ax.transData + ax.transAxes.inverted()).transform((x, focus.count))[1])
    ax.annotate(
        text,
        xy=(x, focus.count),
        xytext=(x + (0.35 if right else -0.35), min(max(height, 0.5), 0.72)),
        textcoords=ax.get_xaxis_transform(),
        ha="left" if right else "right",
        va="center",
        fontsize=8,
        bbox={"boxstyle": "round,pad=0.25", "fc": "white", "ec": GREY, "lw": 0.5, "alpha": 0.9},
        arrowprops={"arrowstyle": "-", "color": "black", "lw": 0.7, "shrinkB": 3},
        zorder=6,
        **PLAIN,
    )


def put_legend_below(ax: "Axes", *, columns: int = 4) -> None:
    """Put the legend under the label of the time axis, in as many columns as fit: inside, it would hide data."""
    from matplotlib.transforms import ScaledTranslation

    points = ax.get_window_extent().width / ax.figure.dpi * 72
    ax.legend(
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=ax.transAxes + ScaledTranslation(0, -40 / 72, ax.figure.dpi_scale_trans),
        ncols=int(min(max(points // 100, 1), columns)),
        fontsize=7.5,
        handlelength=2.2,
        columnspacing=1.4,
        borderaxespad=0,
        frameon=False,
    )


def label_time(ax: "Axes", start: float, end: float) -> None:
    """Let the time axis run from ``start`` to ``end``, with a label for a day, or for every so many."""
    from matplotlib.dates import DayLocator
    from matplotlib.ticker import FuncFormatter

    def day(value: float, _: int | None) -> str:
        # strftime would name the days in the language of the machine
        at = _moment(value)
        return f"{_DAYS[at.weekday()]}\n{at:%m-%d}"

    ax.xaxis_date(tz="UTC")
    ax.set_xlim(start, end)
    interval = math.ceil((end - start) / 16)
    ax.xaxis.set_major_locator(DayLocator(interval=interval, tz=UTC))  # type: ignore[no-untyped-call] # matplotlib's dates are untyped
    ax.xaxis.set_major_formatter(FuncFormatter(day))
    ax.set_xlabel(f"UTC, {_moment(start):%Y-%m-%d} to {_moment(end):%Y-%m-%d}", fontsize=9)


def days_of(at: datetime) -> float:
    """A moment as matplotlib counts time."""
    from matplotlib.dates import date2num

    return float(date2num(at.astimezone(UTC)))  # type: ignore[no-untyped-call] # matplotlib's dates are untyped


def _moment(days: float) -> datetime:
    from matplotlib.dates import num2date

    at: datetime = num2date(days, tz=UTC)  # type: ignore[no-untyped-call] # matplotlib's dates are untyped
    return at
