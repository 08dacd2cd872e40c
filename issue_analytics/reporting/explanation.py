"""The picture of an explanation: the week behind a limit, its halves, and the hour they are held against."""

from typing import TYPE_CHECKING

from issue_analytics.counts import HOUR
from issue_analytics.explain import Explanation, Flip, Half, Terms
from issue_analytics.explain.words import inside
from issue_analytics.reporting.palette import BLUE, GREEN, GREY, ORANGE, PLAIN, PURPLE, VERMILLION, axes_or_current
from issue_analytics.reporting.plots import days_of, label_time, put_legend_below, scale_counts
from issue_analytics.reporting.text import clean, number, stamp

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_explanation"]


def plot_explanation(explanation: Explanation, *, title: str | None = None, ax: "Axes | None" = None) -> "Axes":
    """Plot an explanation: the hours behind the limit, what it is made of, the hour it judges, and what would flip it.

    Left lies the window with its busiest hour and its mean; from where the limit was made on, the limit (solid) and its
    two halves, of which it is the larger. The legend says what each half is made of, and its critical factor: below it
    the half would be under the count. The hour explained is filled in orange.

    The legend lies below the axes: make the figure with ``layout="constrained"``, or save it with
    ``bbox_inches="tight"``.

    Args:
        explanation: what :func:`~issue_analytics.explain.explain` found.
        title: what to call the group; text from an export is safe here.
        ax: where to draw; by default the current axes of pyplot.

    Returns:
        The axes. Time is in days as matplotlib counts them, UTC; counts are occurrences per clock hour.

    >>> from datetime import UTC, datetime
    >>> from matplotlib.figure import Figure
    >>> import polars as pl
    >>> from issue_analytics.explain import explain
    >>> monday = datetime(2026, 1, 5, tzinfo=UTC)
    >>> busy = [(1, 7, monday + hour * HOUR, 19 if hour == 200 else 3) for hour in range(240)]
    >>> counts = pl.DataFrame(busy, schema=["project_id", "group_id", "hour", "count"], orient="row")
    >>> ax = plot_explanation(explain(counts, 7, monday + 200 * HOUR), ax=Figure().subplots())
    >>> print(ax.get_title(loc="left"))
    group 7
    Fires: 19 > 18 (spike) at Tue 2026-01-13 08:00 UTC
    would stop at min_spike ≥ 5.3334, min_bursty = max_bursty ≥ 6.3334
    """
    ax = axes_or_current(ax)
    found = explanation
    _draw_counts(ax, found)
    highest = [float(found.hours["count"].to_numpy().max(initial=0)), float(found.limit or 0)]
    if found.terms is not None:
        highest += [found.terms.bursty.value, found.terms.spike.value]
    start, end = days_of(found.hours["hour"][0]), days_of(found.hours["hour"][-1] + HOUR)
    log = scale_counts(ax, max(1.0, *highest), found.limit)
    _draw_escalation(ax, found, start, end)
    _draw_limit(ax, found, start, end)
    _draw_week(ax, found)
    label_time(ax, start, end)
    ax.set_ylabel(f"occurrences per hour{' (log scale)' if log else ''}", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.grid(visible=True, axis="y", color="#DDDDDD", lw=0.5, zorder=0)
    ax.set_axisbelow(True)
    put_legend_below(ax, columns=2)
    name = clean(title, length=80) or f"group {found.group_id}"
    ax.set_title(f"{name}\n{_answer(found)}\n{_changes(found)}", loc="left", fontsize=9, **PLAIN)
    return ax


def _draw_counts(ax: "Axes", found: Explanation) -> None:
    import numpy as np

    hours = found.hours["hour"].to_list()
    edges = days_of(hours[0]) + np.arange(len(hours) + 1) / 24
    counts = found.hours["count"].to_numpy()
    ax.stairs(counts, edges, fill=True, fc="#9AA5AD", ec=GREY, lw=0.4, label="occurrences", zorder=2)
    at = hours.index(found.hour)
    ax.stairs(
        counts[at : at + 1], edges[at : at + 2], fill=True, fc=ORANGE, ec="black", lw=0.8, zorder=3,
        label=f"the hour explained: {number(found.count)}",
    )  # fmt: skip
    ax.plot(
        [(edges[at] + edges[at + 1]) / 2], [found.count], ls="", marker="v", ms=7, mfc=ORANGE, mec="black", mew=0.7,
        zorder=6, clip_on=False,
    )  # fmt: skip


def _draw_escalation(ax: "Axes", found: Explanation, start: float, end: float) -> None:
    if found.escalation is None:
        return
    began, ended = found.escalation
    first = max(days_of(began), start)
    ax.axvline(first, color=GREEN, lw=1.6, ls="--", zorder=3, label="actual escalation")
    if ended is not None:
        ax.axvspan(first, min(days_of(ended), end), fc=GREEN, alpha=0.15, lw=0, zorder=1)


def _draw_limit(ax: "Axes", found: Explanation, start: float, end: float) -> None:
    """The limit and its halves, from when it was made; hatched where there is none."""
    made = start if found.week is None else days_of(found.week.end)
    made = min(made, days_of(found.hour))
    ax.axvline(
        made, color="black", lw=0.9, ls=(0, (1, 2)), zorder=3, label="limit made" if found.limit else "limit due"
    )
    if found.limit is None:
        ax.axvspan(made, end, fc="#F1F1F1", ec="#969696", hatch="\\\\\\", lw=0.5, zorder=0.5, label="no limit")
        return
    ax.plot(
        [made, end], [found.limit, found.limit], color=VERMILLION, lw=2, zorder=4,
        label=f"limit {number(found.limit)} ({found.rule})",
    )  # fmt: skip
    if found.terms is None:
        return
    for half, name, colour, dashes in (
        (found.terms.bursty, "bursty", BLUE, "--"),
        (found.terms.spike, "spike", PURPLE, "-."),
    ):
        label = _half(half, name, found.terms, found.count)
        ax.plot([made, end], [half.value, half.value], color=colour, ls=dashes, lw=1.4, zorder=5, label=label)


def _half(half: Half, name: str, terms: Terms, count: int) -> str:
    if name == "bursty":
        made = f"{number(half.base)} x {number(half.factor)}"
    else:
        made = f"{number(half.added)} + {number(terms.mean)} x {number(half.factor)}"
    critical = (count - half.added) / half.base
    bound = "" if half.bound is None else f", {half.bound.removesuffix('_multiplier')}"
    return f"{name} {number(half.value)} = {made}{bound}; critical x {number(critical) if critical > 0 else 'none'}"


def _draw_week(ax: "Axes", found: Explanation) -> None:
    week = found.week
    if week is None or week.busiest_at is None:
        return
    if found.terms is not None:
        mean = found.terms.mean
        ax.plot(
            [days_of(week.start), days_of(week.end)], [mean, mean], color="black", lw=1.2, ls=":", zorder=4,
            label=f"mean {number(mean)} an hour",
        )  # fmt: skip
    ax.plot(
        [days_of(week.busiest_at + HOUR / 2)], [week.busiest], ls="", marker="D", ms=6, mfc="white", mec="black",
        zorder=6, clip_on=False, label=f"busiest hour {number(week.busiest)}",
    )  # fmt: skip


def _answer(found: Explanation) -> str:
    at, count = stamp(found.hour), number(found.count)
    if found.limit is None:
        return f"Does not fire: {count}, no limit, at {at}"
    sign = ">" if found.count > found.limit else "≤"
    verb = "Fires" if found.fires else "Does not fire"
    return f"{verb}: {count} {sign} {number(found.limit)} ({found.rule}) at {at}"


def _changes(found: Explanation) -> str:
    """What would flip the answer, in a line: variables alone, else those that need another."""
    verb = "would stop" if found.fires else "would fire"
    alone = [flip for flip in found.flips if flip.at is not None]
    if alone:
        return f"{verb} at {', '.join(map(_flip, alone))}"
    if found.nearest is None:
        return "no value of the five variables changes that"
    return f"{verb} only if several variables are changed"


def _flip(flip: Flip) -> str:
    if flip.at is None or flip.low is None or flip.high is None:
        return ""
    name = flip.variable.removesuffix("_multiplier")
    with_ = "" if flip.together is None else f" = {flip.together.removesuffix('_multiplier')}"
    return f"{name}{with_} {'≤' if flip.at == flip.high else '≥'} {inside(flip.at, flip.low, flip.high)}"
