"""The picture of how late: which share of escalations had no alert yet, by hours since they began."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from issue_analytics.errors import SettingsError
from issue_analytics.reporting.palette import GREY, STYLES, axes_or_current, finish, label_of
from issue_analytics.reporting.settings import each_result, setting_names
from issue_analytics.reporting.text import number

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes

__all__ = ["plot_delay"]


def plot_delay(results: Any, *, until_hours: float = 24, confidence: float = 0.95, ax: "Axes | None" = None) -> "Axes":
    """Plot the share of judged escalations that had no alert yet, by hours since they began.

    Kaplan and Meier's curve with its point-wise interval for each setting, see
    :func:`~issue_analytics.scores.delay_curve`. It falls where escalations are caught; what is left on the right was
    not. From where it is at or below the dotted line, half of them were caught. Small upright strokes are escalations
    that were not watched any longer. The legend gives n.

    Args:
        results: a run, one backtest result, a sequence of them, or results by name, the first eight of them.
        until_hours: where the axis ends.
        confidence: of the interval, which takes escalations as independent.
        ax: where to draw; by default the current axes of pyplot.

    Returns:
        The axes. A setting without judged escalations is named and not drawn.

    Raises:
        SettingsError: ``until_hours`` is not above 0, ``confidence`` not between 0 and 1, or there are no results in
            what was given.

    >>> from matplotlib.figure import Figure
    >>> plot_delay([], ax=Figure().subplots()).get_xlabel()
    'hours since the escalation began'
    """
    from issue_analytics.scores import delay_curve, median_delay_hours

    if not 0 < until_hours < float("inf"):
        raise SettingsError(f"until_hours: expected hours above 0, got {until_hours!r}.")
    ax = axes_or_current(ax)
    every = each_result(list(results.values()) if isinstance(results, Mapping) else results)
    names = list(results) if isinstance(results, Mapping) else setting_names(every)
    for name, result, (colour, line, _) in zip(names, every, STYLES, strict=False):
        matches = result.matches
        caught, median = matches["caught_hour"].count(), median_delay_hours(matches)
        n = f"{number(caught)} of {number(matches.height)} caught"
        n += f", half within {number(median)} h" if median is not None else ", half not reached"
        style: dict[str, Any] = {"color": colour, "ls": line, "lw": 1.6, "zorder": 3}
        if matches.is_empty():
            ax.plot([], [], label=label_of(name, "no escalations judged, not drawn"), **style)
            continue
        curve = delay_curve(matches, confidence=confidence)
        hours, left, low, high = _steps(curve, matches.height, until_hours)
        ax.fill_between(hours, low, high, step="post", color=colour, alpha=0.15, lw=0, zorder=1)
        ax.step(hours, left, where="post", label=label_of(name, n), **style)
        cut = curve.filter(curve["censored"] > 0)
        ax.plot(
            cut["delay_hours"].to_list(), (100 * cut["survival"]).to_list(), ls="", marker="|", ms=7, color=colour,
            zorder=3,
        )  # fmt: skip
    ax.axhline(50, color=GREY, lw=1, ls=":", zorder=2)
    ax.set_xlim(0, until_hours)
    ax.set_ylim(0, 100)
    if until_hours <= 48:
        ax.xaxis.set_major_locator(_every_three_hours())
    ax.set_xlabel("hours since the escalation began", fontsize=9)
    ax.set_ylabel("escalations without an alert yet (%)", fontsize=9)
    return finish(ax, columns=1)


def _steps(
    curve: "pl.DataFrame", escalations: int, until_hours: float
) -> tuple[list[float], list[float], list[float], list[float]]:
    """Hours, per cent left, and the ends of the interval, from 0 to where the curve is known."""
    missing = float("nan")
    hours = [0.0, *curve["delay_hours"].to_list()]
    left = [100.0, *(100 * curve["survival"]).to_list()]
    low, high = ([missing, *(100 * curve[f"survival_{end}"]).fill_null(missing).to_list()] for end in ("low", "high"))
    told = curve.select("caught", "censored").sum().row(0)
    # those that were watched to their end and never caught stay on the curve for ever
    if sum(told) < escalations or left[-1] == 0:
        hours, left, low, high = ([*part, part[-1]] for part in (hours, left, low, high))
        hours[-1] = max(until_hours, hours[-1])
    return hours, left, low, high


def _every_three_hours() -> Any:
    from matplotlib.ticker import MultipleLocator

    return MultipleLocator(3)
