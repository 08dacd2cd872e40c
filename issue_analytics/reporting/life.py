"""The picture of one group through a replay: its states, its counts, the limit in force, and when it came back."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import polars as pl

from issue_analytics.backtest import Replay
from issue_analytics.counts import HOUR
from issue_analytics.detection import limit_in_force
from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY, require
from issue_analytics.reporting.palette import BLUE, GREEN, GREY, ORANGE, PLAIN, PURPLE, SKY, VERMILLION, axes_or_current
from issue_analytics.reporting.plots import days_of, draw_limits_above, label_time, put_legend_below, scale_counts
from issue_analytics.reporting.text import clean, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

__all__ = ["plot_life"]

_BAND: Final = 0.08
"""Share of the axes above the counts in which the states are written."""

_LOOKS: Final = {
    "archived_until_escalating": ("#CDE7DC", GREEN, ""),
    "escalating": ("#FBE3B5", ORANGE, "///"),
    "regressed": ("#EBD3E0", PURPLE, "..."),
    "unknown": ("#FFFFFF", GREY, "xx"),
}
"""Fill, edge and hatch of states; other states are grey."""


def plot_life(
    played: Replay,
    counts: pl.DataFrame | pl.LazyFrame,
    *,
    group_id: int,
    project_id: int | None = None,
    title: str | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Plot one group through a replay: its states above, its hourly counts and the limit in force below.

    The limit is drawn where the group was checked, and only there: elsewhere no count brings it back. A triangle is an
    alert, at the occurrence that crossed the limit where that is known, else in the middle of its hour.

    The legend lies below the axes: make the figure with ``layout="constrained"``, or save it with
    ``bbox_inches="tight"``.

    Args:
        played: the replay.
        counts: contract ``HourlyCounts``, as given to the replay; an hour without a row is drawn as 0.
        group_id: the group.
        project_id: needed where ids of groups in several projects collide.
        title: what to call the group; text from an export is safe here.
        ax: where to draw; by default the current axes of pyplot.

    Returns:
        The axes. Time is in days as matplotlib counts them, UTC, from a week before the first hour judged; counts are
        occurrences per clock hour.

    Raises:
        SettingsError: the replay does not know the group, or its id stands in several projects.
        FrameError: ``counts`` lack a column.

    >>> from datetime import UTC
    >>> from matplotlib.figure import Figure
    >>> from issue_analytics.backtest import replay
    >>> monday = datetime(2026, 1, 5, tzinfo=UTC)
    >>> busy = [(1, 7, monday + hour * HOUR, 90 if hour == 200 else 3) for hour in range(240)]
    >>> counts = pl.DataFrame(busy, schema=["project_id", "group_id", "hour", "count"], orient="row")
    >>> archived = pl.DataFrame({"project_id": [1], "group_id": [7], "at": [monday], "source": ["activity"],
    ...     "kind": ["archived_until_escalating"], "cause": pl.Series([None], dtype=pl.String),
    ...     "forecast": pl.Series([None], dtype=pl.Int64)})
    >>> ax = plot_life(replay(counts, archived), counts, group_id=7, ax=Figure().subplots())
    >>> print(ax.get_title(loc="left"))
    group 7
    came back once under production: 90 > 18
    """
    import numpy as np

    require(counts.lazy(), "HourlyCounts")
    mine = pl.col("group_id") == group_id
    if project_id is not None:
        mine &= pl.col("project_id") == project_id
    states = played.states.filter(mine)
    projects = states["project_id"].unique().sort().to_list()
    if not projects:
        raise SettingsError(f"group_id: the replay knows no group {group_id}; see its states for those it knows.")
    if len(projects) > 1:
        raise SettingsError(f"group_id: {group_id} stands in projects {projects}; say which with project_id=.")

    start, end = played.opens - timedelta(days=7), played.ends
    hours = pl.DataFrame({"hour": pl.datetime_range(start, end - HOUR, "1h", time_zone="UTC", eager=True)})
    known = counts.lazy().filter(mine).select("hour", "count").collect()
    count = hours.join(known, on="hour", how="left", maintain_order="left")["count"].fill_null(0).to_numpy()
    edges = days_of(start) + np.arange(hours.height + 1) / 24
    limit = _limit(played, hours, mine).to_numpy()
    alerts = played.alerts.filter(mine)

    ax = axes_or_current(ax)
    highest = alerts["limit"].max()
    log = scale_counts(ax, float(max(1, count.max())), highest if isinstance(highest, int) else None)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high ** (1 + _BAND) * 2 if log else high * (1 + 2 * _BAND))
    _draw_states(ax, states, start, end)
    ax.stairs(count, edges, fill=True, fc=SKY, ec=BLUE, lw=0.4, label="occurrences", zorder=2)
    room = float(ax.transData.inverted().transform(ax.transAxes.transform((0, 1 - _BAND)))[1])
    line = np.where(limit > room, np.nan, limit)
    if not np.isnan(line).all():
        line = np.append(line, line[-1])
        ax.step(edges, line, where="post", color=VERMILLION, lw=1.8, label="limit in force", zorder=4)
    above = draw_limits_above(ax, edges, limit, room)
    if alerts.height:
        at = alerts.select(pl.col("at").fill_null(pl.col("hour") + HOUR / 2)).to_series()
        ax.plot(
            [days_of(moment) for moment in at], alerts["count"].to_numpy(), ls="", marker="v", ms=7, mfc=ORANGE,
            mec="black", mew=0.7, label="came back", zorder=5,
        )  # fmt: skip
    label_time(ax, float(edges[0]), float(edges[-1]))
    ax.set_ylabel(f"occurrences per hour{' (log scale)' if log else ''}", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.grid(visible=True, axis="y", color="#DDDDDD", lw=0.5, zorder=0)
    ax.set_axisbelow(True)
    put_legend_below(ax)
    name = clean(title, length=80) or f"group {group_id}"
    ax.set_title(f"{name}\n{_headline(played, alerts)}", loc="left", fontsize=9, pad=15 if above else None, **PLAIN)
    return ax


def _headline(played: Replay, alerts: pl.DataFrame) -> str:
    if alerts.is_empty():
        return f"did not come back under {played.policy.name}"
    times = "once" if alerts.height == 1 else f"{number(alerts.height)} times"
    shown = [f"{number(count)} > {number(limit)}" for count, limit in alerts.select("count", "limit").head(4).rows()]
    more = ", …" if alerts.height > len(shown) else ""
    return f"came back {times} under {played.policy.name}: {', '.join(shown)}{more}"


def _limit(played: Replay, hours: pl.DataFrame, mine: pl.Expr) -> pl.Series:
    """The limit in force at the start of each hour in which the group was checked; NaN in others."""
    group = played.states.filter(mine).select(KEY).head(1)
    spans = played.exposure.filter(mine).select(opens="start", closes=pl.col("end").fill_null(played.ends))
    checked = hours.join_where(spans, pl.col("hour") + HOUR > pl.col("opens"), pl.col("hour") < pl.col("closes"))
    limits = limit_in_force(hours.join(group, how="cross").lazy(), played.limits.filter(mine).lazy()).collect()
    # the hour in which a group was archived has its limit from that minute on
    value = pl.when(pl.col("hour").is_in(checked["hour"].implode())).then(pl.col("limit").backward_fill(1))
    return limits.sort("hour").select(value.cast(pl.Float64).fill_null(float("nan"))).to_series()


def _draw_states(ax: "Axes", states: pl.DataFrame, start: datetime, end: datetime) -> None:
    """A band along the upper edge, of a look for each state, with its name where there is room."""
    from matplotlib import rc_context

    unnamed: dict[str, Patch] = {}
    shown = states.with_columns(pl.col("end").fill_null(end)).filter(pl.col("end") > start, pl.col("start") < end)
    length = days_of(end) - days_of(start)
    for state, began, ended in shown.select("state", "start", "end").iter_rows():
        first, last = days_of(max(began, start)), days_of(min(ended, end))
        fill, edge, hatch = _LOOKS.get(state, ("#E6E6E6", GREY, ""))
        with rc_context({"hatch.linewidth": 0.4}):
            drawn = ax.axvspan(first, last, 1 - _BAND, 1, fc=fill, ec=edge, hatch=hatch, lw=0.6, zorder=3)
        ax.axvline(first, color=edge, lw=0.6, ls=(0, (1, 2)), zorder=1)
        words = state.replace("_", " ")
        if (last - first) / length > 0.011 * len(words):
            ax.text(
                (first + last) / 2, 1 - _BAND / 2, words, transform=ax.get_xaxis_transform(), ha="center", va="center",
                fontsize=7.5, zorder=6, bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8},
            )  # fmt: skip
        else:
            unnamed.setdefault(words, drawn)
    for words, patch in unnamed.items():
        patch.set_label(words)
