"""Pictures of searches: all settings, what limits hang on, the curve of one variable, what is left of a winner."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.reporting.intervals import UNITS
from issue_analytics.reporting.palette import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PLAIN,
    SKY,
    VERMILLION,
    YELLOW,
    axes_or_current,
    finish,
)
from issue_analytics.reporting.text import clean, number, share
from issue_analytics.thresholds import LARGEST, STANDARD, ThresholdVariables
from issue_analytics.tuning.choosing import pareto_front

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from issue_analytics.tuning.recommending import Recommendation

__all__ = ["plot_binding", "plot_curve", "plot_recommendation", "plot_stability", "plot_sweep"]

_RATE: Final = "false_alarms_per_series_week"
_OUTCOME: Final = ("false_alarms", "events_caught")

_TERMS: Final = {
    "std_multiplier": ("std multiplier", YELLOW, ""),
    "min_spike_multiplier": ("min spike multiplier", ORANGE, "///"),
    "max_spike_multiplier": ("max spike multiplier", VERMILLION, "..."),
    "min_bursty_multiplier": ("min bursty multiplier", BLUE, ""),
    "max_bursty_multiplier": ("max bursty multiplier", SKY, "\\\\\\"),
    "decay": ("decay between the bursty bounds", GREEN, "xxx"),
    "new": ("no variable: new issue", "#C8C8C8", ""),
    "none": ("no variable: no limit", "white", ""),
}
"""What a limit may hang on: what it is called, its colour and hatch."""


def plot_sweep(
    table: pl.DataFrame,
    *,
    default: ThresholdVariables = STANDARD,
    recommended: ThresholdVariables | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Plot recall against false alarms of every setting of a sweep, and the Pareto front that none of them beats.

    The best of a large search is partly luck: a point above and left of the default need not be better on other data.

    Args:
        table: a sweep of labelled data.
        default: what one has.
        recommended: what was chosen.
        ax: where to draw; by default the current axes of pyplot.

    Returns:
        The axes. They end a little beyond the front's last setting; what lies farther right catches no more, and the
        legend says how much of it there is. A marked setting that is not in the table, or whose recall is not defined,
        is named there too.

    Raises:
        FrameError: a column is missing.

    >>> from matplotlib.figure import Figure
    >>> table = pl.DataFrame({"digest": [STANDARD.digest, "0"], "events": 4, "events_caught": [2, 3],
    ...     "false_alarms": [1, 2], "recall": [0.5, 0.75], "false_alarms_per_series_week": [0.1, 0.2]})
    >>> plot_sweep(table, ax=Figure().subplots()).get_ylabel()
    'recall: share of events caught (%)'
    """
    ax = axes_or_current(ax)
    _need(table, ("digest", "events", *_OUTCOME, "recall", _RATE))
    known = table.filter(pl.col("recall").is_not_null(), pl.col(_RATE).is_not_null())
    # of a million settings few differ in what they do
    points = known.unique(_OUTCOME, keep="first", maintain_order=True)
    front = pareto_front(known) if known.height else known
    marked = [("default", default, "s", VERMILLION), ("recommended", recommended, "*", ORANGE)]
    found = [
        (name, setting, known.filter(digest=setting.digest).head(1), mark, colour)
        for name, setting, mark, colour in marked
        if setting is not None
    ]
    ends = [*front[_RATE].tail(1), *(value for _, _, row, _, _ in found for value in row[_RATE])]
    end = 1.1 * max(ends, default=0.0) or 1.0
    beyond = known.filter(pl.col(_RATE) > end).height
    inside = points.filter(pl.col(_RATE) <= end)
    label = f"{number(table.height)} settings, {number(points.height)} different outcomes"
    ax.plot(
        inside[_RATE].to_list(), [100 * value for value in inside["recall"]], ls="", marker="o", ms=4, mfc="#B5BEC4",
        mec="none", label=label + (f"; {number(beyond)} beyond the edge" if beyond else ""), zorder=2,
    )  # fmt: skip
    if front.height:
        x, y = front[_RATE].to_list(), [100 * value for value in front["recall"]]
        # between two of them one has the recall of the left one
        ax.plot([*x, end], [*y, y[-1]], color=BLUE, lw=1.4, drawstyle="steps-post", zorder=3)
        ax.plot(
            x,
            y,
            ls="",
            marker="o",
            ms=5.5,
            color=BLUE,
            label=f"Pareto front, {number(front.height)} settings",
            zorder=3,
        )
    for name, setting, row, mark, colour in found:
        style: dict[str, Any] = {
            "ls": "", "marker": mark, "color": colour, "ms": 14 if mark == "*" else 8, "mec": "black", "mew": 0.8,
            "clip_on": False,
        }  # fmt: skip
        told = f"{name}: {setting.name or setting.digest}"
        if row.is_empty():
            why = "not among the settings" if table.filter(digest=setting.digest).is_empty() else "not defined"
            ax.plot([], [], label=f"{told} ({why}, not drawn)", **style)
            continue
        one = row.row(0, named=True)
        told += f", recall {share(one['events_caught'], one['events'])}, {number(one['false_alarms'])} false"
        ax.plot([one[_RATE]], [100 * one["recall"]], label=told, zorder=5, **style)
    if known.is_empty():
        ax.text(0.5, 0.5, "n/a: no escalations judged", transform=ax.transAxes, ha="center", fontsize=9)
    ax.set_xlim(0, end)
    ax.set_ylim(0, 100)
    ax.set_xlabel("false alarms per quiet series-week", fontsize=9)
    ax.set_ylabel("recall: share of events caught (%)", fontsize=9)
    return finish(ax, columns=1)


def plot_binding(binding: pl.DataFrame, *, ax: "Axes | None" = None) -> "Axes":
    """Plot what limits hang on, a bar for each stratum: tuning a variable that no limit hangs on moves nothing.

    Args:
        binding: from ``Prepared.binding``, with or without a stratum.
        ax: where to draw; by default the current axes of pyplot.

    Returns:
        The axes: shares of limits in force, by issue and day. What no limit hangs on is not in the legend.

    Raises:
        FrameError: a column is missing.

    >>> from matplotlib.figure import Figure
    >>> shares = pl.DataFrame({"term": ["std_multiplier", "new"], "limit_days": [1, 3], "share": [0.25, 0.75]})
    >>> plot_binding(shares, ax=Figure().subplots()).get_xlabel()
    'share of limits in force, by issue and day (%)'
    """
    from matplotlib import rc_context

    ax = axes_or_current(ax)
    _need(binding, ("term", "limit_days", "share"))
    strata = [name for name in binding.columns if name not in ("term", "limit_days", "share")]
    parts = binding.partition_by(strata, maintain_order=True) if strata else [binding] if binding.height else []
    shares = [dict(part.select(pl.col("term").cast(pl.String), "share").iter_rows()) for part in parts]
    names = [
        f"{_stratum(part, strata)}  ({_sum(part)})" if strata else
        f"{_sum(part)} limits" for part in parts
    ]  # fmt: skip
    left = [0.0] * len(parts)
    with rc_context({"hatch.linewidth": 0.6}):
        for term, (label, colour, hatch) in _TERMS.items():
            widths = [100 * (row.get(term) or 0.0) for row in shares]
            if not any(widths):
                continue
            ax.barh(
                range(len(parts)), widths, left=left, height=0.62, color=colour, hatch=hatch, ec="black", lw=0.5,
                label=label,
            )  # fmt: skip
            for y, (start, width) in enumerate(zip(left, widths, strict=True)):
                if width >= 6:
                    ax.text(
                        start + width / 2, y, f"{width:.0f} %", ha="center", va="center", fontsize=8,
                        color="white" if colour == BLUE else "black",
                        bbox={"fc": "white" if hatch else colour, "ec": "none", "pad": 1.5},
                    )  # fmt: skip
            left = [start + width for start, width in zip(left, widths, strict=True)]
    ax.set_yticks(range(len(parts)), names, fontsize=8, **PLAIN)
    ax.set_ylim(max(len(parts), 1) - 0.4, -0.6)
    ax.set_xlim(0, 100)
    ax.set_xlabel("share of limits in force, by issue and day (%)", fontsize=9)
    finish(ax, columns=3)
    ax.grid(visible=False, axis="y")
    return ax


def plot_curve(curve: pl.DataFrame, *, default: ThresholdVariables = STANDARD, ax: "Axes | None" = None) -> "Axes":
    """Plot recall and false alarms along one variable, exactly: every step there is, and the flat stretches between.

    Args:
        curve: from ``Prepared.curve`` with one variable.
        default: what one has; the stretch on which nothing differs from it is shaded.
        ax: where to draw recall; by default the current axes of pyplot. False alarms have an axis of their own, on the
            right.

    Returns:
        The axes of recall. They end a little beyond the last change. Where no escalations are known there are only
        alerts, on the right.

    Raises:
        SettingsError: it is no curve of one variable.
        FrameError: a column is missing.

    >>> from matplotlib.figure import Figure
    >>> curve = pl.DataFrame({"std_multiplier_from": [0.0, 3.0], "std_multiplier": [3.0, 1000.0],
    ...     "recall": [0.75, 0.5], "false_alarms_per_series_week": [0.2, 0.1], "alerts_per_series_week": [0.4, 0.2]})
    >>> plot_curve(curve, ax=Figure().subplots()).get_xlabel()
    'std multiplier (standard deviations)'
    """
    varied = [name.removesuffix("_from") for name in curve.columns if name.endswith("_from")]
    if len(varied) != 1 or varied[0] not in default.to_dict():
        raise SettingsError(f"curve: expected that of one variable, got {', '.join(varied) or 'none'}; see Prepared.")
    [name] = varied
    _need(curve, (name, "recall", _RATE, "alerts_per_series_week"))
    ax = axes_or_current(ax)
    right = ax.twinx()
    labelled = curve["recall"].is_not_null().any()
    what, rate = ("false alarms", _RATE) if labelled else ("alerts", "alerts_per_series_week")
    steps = curve.select(
        pl.col(f"{name}_from").alias("low"), pl.col(name).alias("high"), "recall", rate=rate
    ).to_dicts()
    here = float(default.to_dict()[name])
    start, stop = _ends(steps, here)
    curves: list[tuple[Axes, str, float, dict[str, Any]]] = [
        (ax, "recall", 100, {"color": BLUE, "ls": "-", "lw": 1.8, "label": "recall (left)"}),
        (right, "rate", 1, {"color": VERMILLION, "ls": "--", "lw": 1.8, "label": f"{what} (right)"}),
    ]
    for axes, column, scale, style in curves:
        drawn = [step for step in steps if step[column] is not None]
        x = [end for step in drawn for end in (step["low"], max(step["low"], min(step["high"], stop)))]
        y = [scale * step[column] for step in drawn for _ in range(2)]
        axes.plot(x, y, zorder=3, **style)
        axes.set_ylim(0, 100 if axes is ax else 1.12 * max(y, default=0.0) or 1.0)
    ax.plot([], [], **curves[1][3])  # one legend for both
    ax.axvline(here, color="black", lw=1, ls=(0, (1, 2)), label=f"default: {here:g}", zorder=4)
    for nth, step in enumerate(steps):
        low, high = step["low"], step["high"]
        if low < here <= high or (nth == 0 and low == here):
            told = f"from {low:.4g} on" if high == LARGEST else f"{low:.4g} to {high:.4g}"
            ax.axvspan(low, min(high, stop), fc="#E4E4E4", ec="none", zorder=0, label=f"nothing differs: {told}")
    ax.set_xlim(start, stop)
    unit = "standard deviations" if name == "std_multiplier" else (
        "times the busiest hour" if "bursty" in name else "times the mean"
    )  # fmt: skip
    ax.set_xlabel(f"{name.replace('_', ' ')} ({unit})", fontsize=9)
    ax.set_ylabel("recall: share of events caught (%)", fontsize=9, color=BLUE)
    unit = "per quiet series-week" if labelled else "per exposed series-week"
    right.set_ylabel(f"{what} {unit}", fontsize=9, color=VERMILLION)
    right.tick_params(labelsize=8)
    return finish(ax, columns=2)


def plot_recommendation(found: "Recommendation", *, score: str | None = None, ax: "Axes | None" = None) -> "Axes":
    """Plot a score of the default, the best and the recommended setting: as it looks, corrected, and held out.

    What a search made better than it is lies between the first and the second; the third is what later data say.

    Args:
        found: from :func:`~issue_analytics.tuning.recommending.recommend`.
        score: a ``score`` of its table; by default the one it was chosen by.
        ax: where to draw; by default the current axes of pyplot.

    Returns:
        The axes, with intervals. A score that is not defined, or was not held out, is left away.

    Raises:
        SettingsError: there is no such score.

    >>> from types import SimpleNamespace
    >>> from matplotlib.figure import Figure
    >>> row = {"setting": "default", "score": "recall", "digest": "9d2bd171"} | {
    ...     f"{kind}{end}": 0.5 for kind in ("apparent", "corrected", "held_out") for end in ("", "_low", "_high")}
    >>> found = SimpleNamespace(table=pl.DataFrame([row]))
    >>> plot_recommendation(found, score="recall", ax=Figure().subplots()).get_xlabel()
    'recall of events (%)'
    """
    score = found.objective.score_name if score is None else score
    rows = found.table.filter(pl.col("score") == score).to_dicts()
    if not rows:
        raise SettingsError(f"score: no {score!r}. There are: {', '.join(found.table['score'].unique().sort())}.")
    ax = axes_or_current(ax)
    called, unit, scale = UNITS.get(score, (score.replace("_", " "), "", 1))
    for kind, down, colour, mark, label in (
        ("apparent", -0.2, GREY, "o", "as it looks, on the data that chose"),
        ("corrected", 0.0, BLUE, "D", "corrected, on clusters that did not choose"),
        ("held_out", 0.2, VERMILLION, "s", "held out, on later data"),
    ):
        drawn = [(nth + down, row) for nth, row in enumerate(rows) if row[kind] is not None]
        for y, row in drawn:
            low, high = row[f"{kind}_low"], row[f"{kind}_high"]
            if low is not None and high is not None:
                ax.plot([scale * low, scale * high], [y, y], color=colour, lw=2, solid_capstyle="butt", zorder=2)
        if drawn:
            ax.plot(
                [scale * row[kind] for _, row in drawn], [y for y, _ in drawn], ls="", marker=mark, ms=6, color=colour,
                mec="black", mew=0.5, label=label, zorder=3,
            )  # fmt: skip
    ax.set_yticks(range(len(rows)), [f"{row['setting']}\n{row['digest']}" for row in rows], fontsize=8, **PLAIN)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    if score in ("recall", "precision"):
        ax.set_xlim(0, 100)
    else:
        ax.set_xlim(left=0)
    ax.set_xlabel(f"{called} ({unit})" if unit else called, fontsize=9)
    finish(ax, columns=1)
    ax.grid(visible=False, axis="y")
    return ax


def plot_stability(
    variables: pl.DataFrame, *, recommended: ThresholdVariables | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Plot how often each value of each variable was chosen when clusters were drawn again.

    A variable whose value changes from draw to draw is not told by the data.

    Args:
        variables: ``Recommendation.variables``.
        recommended: the recommended setting: its values are marked.
        ax: where to draw; by default the current axes of pyplot.

    Returns:
        The axes: bars are what was recommended, open marks the best of each draw.

    Raises:
        FrameError: a column is missing.

    >>> from matplotlib.figure import Figure
    >>> shares = pl.DataFrame({"variable": ["std_multiplier"], "value": [5.0], "recommended": [1.0], "best": [0.4]})
    >>> plot_stability(shares, ax=Figure().subplots()).get_xlabel()
    'share of resamples in which it was chosen (%)'
    """
    ax = axes_or_current(ax)
    _need(variables, ("variable", "value", "recommended", "best"))
    chosen = {} if recommended is None else recommended.to_dict()
    names, places, rows = [], [], variables.to_dicts()
    y, before = 0.0, None
    for row in rows:
        y += 0.0 if before is None else 1.0 if row["variable"] == before else 1.6
        places.append(y)
        mine = chosen.get(row["variable"]) == row["value"]
        head = "" if row["variable"] == before else f"{row['variable'].replace('_', ' ')}   "
        names.append(f"{head}{row['value']:g}{' ★' if mine else '  '}")
        before = row["variable"]
    ax.barh(
        places, [100 * row["recommended"] for row in rows], height=0.7, color=SKY, ec="black", lw=0.5,
        label="recommended (simplest as good)" + ("; ★ on all draws together" if chosen else ""),
    )  # fmt: skip
    ax.plot(
        [100 * row["best"] for row in rows], places, ls="", marker="D", ms=5, mfc="white", mec=VERMILLION, mew=1.4,
        label="best", clip_on=False, zorder=3,
    )  # fmt: skip
    ax.set_yticks(places, names, fontsize=8, **PLAIN)
    ax.set_ylim(max(places, default=0.0) + 0.7, -0.7)
    ax.set_xlim(0, 100)
    ax.set_xlabel("share of resamples in which it was chosen (%)", fontsize=9)
    finish(ax)
    ax.grid(visible=False, axis="y")
    return ax


def _need(frame: pl.DataFrame, columns: Iterable[str]) -> None:
    if missing := [name for name in columns if name not in frame.columns]:
        raise FrameError(f"no column {', '.join(missing)}. Found: {', '.join(frame.columns) or 'no column at all'}.")


def _stratum(part: pl.DataFrame, strata: Sequence[str]) -> str:
    values = part.select(strata).row(0)
    return ", ".join("not known" if value is None else clean(value, length=40) for value in values)


def _ends(steps: Sequence[Mapping[str, Any]], here: float) -> tuple[float, float]:
    """Where the axis of a curve begins and ends: a little beyond the last change, and what one has."""
    if not steps:
        return 0.0, 1.0
    start, last = steps[0]["low"], max(steps[-1]["low"], here)
    return start, min(last + (0.12 * (last - start) or 1.0), steps[-1]["high"])


def _sum(part: pl.DataFrame) -> str:
    return number(int(part["limit_days"].sum()))
