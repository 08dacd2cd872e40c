"""Pictures of scores with their intervals: a row for each stratum or method, or for each setting against a first."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.reporting.palette import BLUE, GREY, ORANGE, PLAIN, axes_or_current, finish
from issue_analytics.reporting.text import clean, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from issue_analytics.backtest.comparison import Comparison

__all__ = ["UNITS", "plot_differences", "plot_intervals"]

_FAR: Final = 2.5
"""An axis ends at so many times what estimates and the median interval reach: an endless one would hide all others."""

UNITS: Final = {
    "precision": ("precision of alerts", "%", 100),
    "recall": ("recall of events", "%", 100),
    "false_alarms_per_series_week": ("false alarms per quiet series-week", "", 1),
    "alerts_per_series_week": ("alerts per exposed series-week", "", 1),
    "alerts_per_project_day": ("alerts per project and day", "", 1),
    "cost_per_series_week": ("cost per exposed series-week", "false alarms", 1),
    "median_delay_hours": ("median delay", "hours", 1),
    "mean_delay_hours": ("mean delay, at most 24 h", "hours", 1),
    "exceedance": ("hours over the limit", "%", 100),
}
"""What a score is called, its unit, and what it is multiplied by to be in it."""


class _Bar(NamedTuple):
    """An estimate and its interval, in the unit of the axis; None where there is none, or no bound on that side."""

    estimate: float | None
    low: float | None
    high: float | None


def plot_intervals(
    table: pl.DataFrame, score: str, *, by: str, n: str | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Plot a score and its interval for each row of a table, such as one of ``BacktestResult.summary_by``.

    Filled points weigh all alerts and events alike, open ones (where the table has ``<score>_macro``) all groups.
    Rows that are ``too_few`` have an asterisk. Intervals that go on beyond the axes, or have no bound, end in an arrow.

    Args:
        table: a row for each thing to compare, with the columns ``score``, ``<score>_low`` and ``<score>_high``; with
            or without ``<score>_macro`` and its two, and ``too_few``.
        score: the name of the score, such as ``"recall"``.
        by: the column that names the rows.
        n: the column whose number is written beside the name, such as ``"events"``.
        ax: where to draw; by default the current axes of pyplot.

    Returns:
        The axes, the first row at the top. A score that is not defined is written as n/a; one without an interval is a
        point.

    Raises:
        FrameError: a column is missing.

    >>> from matplotlib.figure import Figure
    >>> table = pl.DataFrame({"volume": ["<1/day"], "recall": [0.5], "recall_low": [0.2], "recall_high": [0.8]})
    >>> plot_intervals(table, "recall", by="volume", ax=Figure().subplots()).get_xlabel()
    'recall of events (%)'
    """
    needed = [by, *(f"{score}{end}" for end in ("", "_low", "_high")), *([] if n is None else [n])]
    if missing := [name for name in needed if name not in table.columns]:
        raise FrameError(f"no column {', '.join(missing)}. Found: {', '.join(table.columns) or 'no column at all'}.")
    called, unit, scale = UNITS.get(score, (score.replace("_", " "), "", 1))
    few = table["too_few"] if "too_few" in table.columns else pl.repeat(False, table.height, eager=True)
    names = [
        ("not known" if name is None else clean(name, length=40)) + ("*" if small else "") for name, small in
        zip(table[by].to_list(), few.to_list(), strict=True)
    ]  # fmt: skip
    if n is not None:
        names = [
            f"{name}  ({number(much)} {n.replace('_', ' ')})"
            for name, much in zip(names, table[n].to_list(), strict=True)
        ]
    micro = _bars(table, score, scale)
    macro = _bars(table, f"{score}_macro", scale) if f"{score}_macro" in table.columns else None
    ends = (0.0, 100.0) if score in ("precision", "recall") else _ends(micro + (macro or []))
    ax = _draw(ax, names, micro, macro, ends)
    ax.set_xlabel(f"{called} ({unit})" if unit else called, fontsize=9)
    return ax


def plot_differences(
    comparisons: "Comparison | Sequence[Comparison] | Mapping[str, Comparison]",
    *,
    score: str = "recall",
    ax: "Axes | None" = None,
) -> "Axes":
    """Plot how much a score differs from the first setting's, with its interval, for one or several comparisons.

    The interval is that of the difference: both settings were computed from the same draws of groups. Where it crosses
    the line at 0, the data do not tell which is better. Filled points weigh all alerts and events alike, open ones all
    groups.

    Args:
        comparisons: from :func:`~issue_analytics.compare`, one, several, or several by name.
        score: a ``score`` of ``Comparison.scores``, such as ``"recall"``, ``"precision"``, ``"mean_delay_hours"``.
        ax: where to draw; by default the current axes of pyplot.

    Returns:
        The axes, the first comparison at the top, with the number of groups (or projects) that bear on it, and p.

    Raises:
        SettingsError: a comparison has no such score.

    >>> from matplotlib.figure import Figure
    >>> plot_differences([], score="precision", ax=Figure().subplots()).get_xlabel()
    'precision of alerts: difference from the first setting (percentage points)'
    """
    if isinstance(comparisons, Mapping):
        named = list(comparisons.items())
    else:
        several = comparisons if isinstance(comparisons, Sequence) else [comparisons]
        named = [(found.second, found) for found in several]
    called, unit, scale = UNITS.get(score, (score.replace("_", " "), "", 1))
    names, micro, macro = [], [], []
    for name, found in named:
        rows = {row["score"]: row for row in found.scores.iter_rows(named=True)}
        if score not in rows:
            raise SettingsError(f"score: no {score!r} in the comparison. There are: {', '.join(rows)}.")
        row = rows[score]
        what = "groups" if found.cluster == "group" else "projects"
        p = "p n/a" if row["p"] is None else "p < 0.001" if row["p"] < 0.001 else f"p {row['p']:.3f}"
        names.append(f"{clean(name, length=40)}\n{number(row['clusters'])} {what}, {p}")
        micro.append(_bar(row, "difference", scale))
        if other := rows.get(f"{score}_macro"):
            macro.append(_bar(other, "difference", scale))
    ax = _draw(ax, names, micro, macro or None, _ends(micro + macro, signed=True))
    ax.axvline(0, color=GREY, lw=1, zorder=1)
    firsts = {found.first for _, found in named}
    first = clean(firsts.pop(), length=40) if len(firsts) == 1 else "the first setting"
    unit = {"%": " (percentage points)", "": ""}.get(unit, f" ({unit})")
    ax.set_xlabel(f"{called}: difference from {first}{unit}", fontsize=9, **PLAIN)
    return ax


def _bars(table: pl.DataFrame, score: str, scale: float) -> list[_Bar]:
    columns = [name for name in (score, f"{score}_low", f"{score}_high") if name in table.columns]
    rows = table.select(pl.col(columns).cast(pl.Float64) * scale).iter_rows()
    return [_Bar(*row, *[None] * (3 - len(columns))) for row in rows]


def _bar(row: Mapping[str, Any], score: str, scale: float) -> _Bar:
    return _Bar(*(None if row[name] is None else scale * row[name] for name in (score, "low", "high")))


def _draw(
    ax: "Axes | None",
    names: Sequence[str],
    micro: Sequence[_Bar],
    macro: Sequence[_Bar] | None,
    ends: tuple[float, float],
) -> "Axes":
    ax = axes_or_current(ax)
    begin, end = ends
    for bars, down, colour, mark, face, label in _kinds(micro, macro):
        for nth, bar in enumerate(bars):
            if bar.low is None and bar.high is None:
                continue
            low, high = (-math.inf if bar.low is None else bar.low), (math.inf if bar.high is None else bar.high)
            y = nth + down
            ax.plot([max(low, begin), min(high, end)], [y, y], color=colour, lw=2, zorder=2, solid_capstyle="butt")
            for beyond, edge, arrow in ((low < begin, begin, "<"), (high > end, end, ">")):
                if beyond:
                    ax.plot([edge], [y], marker=arrow, ms=6, color=colour, clip_on=False, zorder=4)
        drawn = [(bar.estimate, nth + down) for nth, bar in enumerate(bars) if bar.estimate is not None]
        ax.plot(
            [x for x, _ in drawn], [y for _, y in drawn], ls="", marker=mark, ms=6, color=colour, mfc=face, zorder=3,
            label=label, clip_on=False,
        )  # fmt: skip
        for nth, bar in enumerate(bars):
            if bar.estimate is None:
                ax.annotate(
                    "n/a", (0, nth + down), xycoords=ax.get_yaxis_transform(), xytext=(4, 0), va="center",
                    textcoords="offset points", fontsize=8, color=colour,
                )  # fmt: skip
    ax.set_xlim(begin, end)
    ax.set_yticks(range(len(names)), names, fontsize=8, **PLAIN)
    ax.set_ylim(max(len(names), 1) - 0.4, -0.6)
    finish(ax)
    ax.grid(visible=False, axis="y")
    return ax


def _kinds(
    micro: Sequence[_Bar], macro: Sequence[_Bar] | None
) -> list[tuple[Sequence[_Bar], float, str, str, str, str | None]]:
    """Rows of points with how far down they are drawn, colour, mark, its face, and what they are called."""
    if macro is None:
        return [(micro, 0.0, BLUE, "o", BLUE, None)]
    return [
        (micro, -0.12, BLUE, "o", BLUE, "all alerts and events alike"),
        (macro, 0.16, ORANGE, "D", "white", "all groups alike"),
    ]


def _ends(bars: Sequence[_Bar], *, signed: bool = False) -> tuple[float, float]:
    """Where the axis begins and ends."""
    reaches = sorted(reach for bar in bars if (reach := max((abs(end) for end in bar if end is not None), default=0.0)))
    usual = reaches[(len(reaches) - 1) // 2] if reaches else 1.0
    most = _FAR * max(usual, *(abs(bar.estimate) for bar in bars if bar.estimate is not None), 0.0)
    known = [end for bar in bars for end in bar if end is not None] + [0.0]
    high, low = min(most, max(known)), max(-most, min(known))
    room = 0.05 * (high - low or 1.0)
    return (low - room if signed else 0.0), high + room
