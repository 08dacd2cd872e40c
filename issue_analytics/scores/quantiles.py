"""Limits as quantiles of hourly counts: pinball, PIT, reliability, Murphy diagrams.

Everything here is computed from one frame, :func:`judged_counts`: how many judged hours had which count under which
limit. Silent hours are in it as one row for each limit, so that they count without a row for each of them.

A spike limit has no nominal level: the published algorithm names none. A level is therefore always the reader's own.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from issue_analytics.counts import HOUR, PANEL_CELLS, Panel, panels
from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY
from issue_analytics.scores.by import aggregated, columns_of, probability
from issue_analytics.scores.days import hours_in, limit_spans, limits_of
from issue_analytics.scores.ratios import HOURS_PER_WEEK, Ratio

__all__ = [
    "LEVELS",
    "SCALES",
    "judged_counts",
    "mean_pinball",
    "mid_p",
    "murphy",
    "pinball",
    "pit_histogram",
    "quantile_reliability",
    "scaled_limits",
    "window_ranks",
]

LEVELS: Final = (0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
"""Levels of a reliability curve. A week has 168 hours: above 1 - 1/168 = 0.994 its quantile is the busiest hour."""

SCALES: Final = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0)
"""What limits are multiplied by, to see what other limits would have given."""

_LIMIT: Final = (*KEY, "date", "as_of")
_HELD: Final = pl.col("limit").fill_null(0) > 0
_SLACK: Final = 1e-9
"""Shares of a week and levels are rounded: 126 of 168 hours are 0.75, not more and not less."""


def judged_counts(exposure: pl.DataFrame, limits: pl.DataFrame, counts: pl.DataFrame) -> pl.DataFrame:
    """Count the judged hours of each group, day and limit by what was counted in them.

    Args:
        exposure: contract ``Exposure``, whole hours, not overlapping; a result's ``exposure``.
        limits: contract ``Limits``; a result's ``limits``.
        counts: contract ``HourlyCounts``; hours outside ``exposure`` are not looked at.

    Returns:
        One row per group, UTC day, limit in force and count: ``project_id``, ``group_id``, ``date``, ``as_of``,
        ``limit`` (null where the window was silent), ``rule``, ``count`` (0: silent hours) and ``hours`` (how many had
        that count); by group, day, ``as_of`` and count. Hours for which no limit was made are left out.

    Raises:
        FrameError: the exposure has open or overlapping spans, or hours in part.

    >>> from datetime import UTC, date, datetime
    >>> monday = datetime(2026, 1, 5, tzinfo=UTC)
    >>> group = {"project_id": [1], "group_id": [7]}
    >>> exposure = pl.DataFrame(group | {"start": [monday], "end": [monday.replace(hour=20)]})
    >>> limits = pl.DataFrame(group | {"date": [date(2026, 1, 5)], "limit": [3], "rule": ["new"], "as_of": [monday]})
    >>> counts = pl.DataFrame(group | {"hour": [monday.replace(hour=9)], "count": [5]})
    >>> judged_counts(exposure, limits, counts).select("limit", "count", "hours").rows()
    [(3, 0, 19), (3, 5, 1)]
    """
    spans = limit_spans(exposure, limits)
    made = limits_of(spans)
    busy = (
        hours_in(spans, counts.lazy().select(*KEY, "hour", "count").filter(pl.col("count") > 0))
        .group_by("number", "count")
        .agg(hours=pl.len().cast(pl.Int64))
        .collect()
    )
    silent = (
        made.select("number", "hours")
        .join(busy.group_by("number").agg(busy=pl.col("hours").sum()), on="number", how="left")
        .select("number", count=pl.lit(0, dtype=pl.Int64), hours=pl.col("hours") - pl.col("busy").fill_null(0))
        .filter(pl.col("hours") > 0)
    )
    return (
        pl.concat([busy, silent])
        .sort("number", "count")
        .join(made.drop("hours"), on="number", maintain_order="left")
        .select(*_LIMIT, "limit", "rule", "count", "hours")
    )


def pinball(limit: str | pl.Expr, count: str | pl.Expr, level: float) -> pl.Expr:
    """Pinball loss of a limit taken as the quantile of a count: ``a (y - q)+ + (1 - a) (q - y)+``, events per hour.

    The proper score of a quantile forecast at level ``a``: smallest in the mean for the true quantile (Koenker and
    Bassett 1978; Gneiting 2011). Null where the limit or the count is.

    Args:
        limit: ``q``, a column or an expression.
        count: ``y``, as ``limit``.
        level: ``a``, between 0 and 1.

    Raises:
        SettingsError: the level is not between 0 and 1.

    >>> pl.DataFrame({"limit": [62], "count": [100]}).select(pinball("limit", "count", 0.99)).item()
    37.62
    """
    level = probability("level", level)
    q, y = (pl.col(of) if isinstance(of, str) else of for of in (limit, count))
    loss = pl.when(y > q).then(level * (y - q)).otherwise((1 - level) * (q - y))
    return pl.when(q.is_not_null() & y.is_not_null()).then(loss).alias("pinball")


def mean_pinball(level: float) -> Ratio:
    """Mean pinball loss of an hour, silent hours included, in events per hour: a ratio of sums over judged counts.

    Rows without a limit (null, or 0, which never fires) are left out of both sums. Lower is better, between limits that
    were in force in the same hours.

    Raises:
        SettingsError: the level is not between 0 and 1.

    >>> judged = pl.DataFrame({"limit": [10, 10, None], "count": [0, 30, 5], "hours": [9, 1, 4]})
    >>> round(judged.select(mean_pinball(0.9).of_sums()).item(), 9)
    2.7
    """
    loss = pl.col("hours") * pinball("limit", "count", level)
    top, bottom = pl.when(_HELD).then(loss).otherwise(0.0), pl.when(_HELD).then("hours").otherwise(0)
    return Ratio("pinball", top, bottom, counts=False)


def window_ranks(judged: pl.DataFrame, counts: pl.DataFrame, *, window_hours: int = HOURS_PER_WEEK) -> pl.DataFrame:
    """Put beside judged counts where they stand among the hours that their limit was made from.

    The predictive distribution is the group's own ``window_hours`` before ``as_of``, silent hours included, each hour
    as likely as another; nothing later is looked at.

    Args:
        judged: from :func:`judged_counts`.
        counts: contract ``HourlyCounts``, with the history before the judged hours; a result's ``counts``.
        window_hours: how far the limits look back.

    Returns:
        ``judged`` with ``below``, the share of the window's hours with fewer occurrences, P(Y <= y - 1), and ``upto``,
        that of hours with at most so many, P(Y <= y).

    Raises:
        SettingsError: ``window_hours`` is below 1.

    >>> from datetime import UTC, date, datetime
    >>> monday = datetime(2026, 1, 5, tzinfo=UTC)
    >>> judged = pl.DataFrame({"project_id": [1, 1], "group_id": [7, 7], "as_of": [monday.replace(hour=4)] * 2,
    ...     "count": [0, 5], "hours": [19, 1]})
    >>> counts = pl.DataFrame({"project_id": [1], "group_id": [7], "hour": [monday.replace(hour=2)], "count": [5]})
    >>> window_ranks(judged, counts, window_hours=4).select("count", "below", "upto").rows()
    [(0, 0.0, 0.75), (5, 0.75, 1.0)]
    """
    if window_hours < 1:
        raise SettingsError(f"window_hours: expected a whole number of at least 1, got {window_hours!r}.")
    below, upto = np.zeros(judged.height), np.zeros(judged.height)
    if judged.height:
        groups = judged.select(KEY).unique().sort(KEY)
        # limits are made from whole hours
        made = pl.col("as_of").dt.truncate("1h")
        first, last = judged.select(made.min().alias("first"), made.max().alias("last")).row(0)
        start = first - window_hours * HOUR
        table = (
            judged.select(*KEY, "count", opens=((made - first) / timedelta(hours=1)).round().cast(pl.Int64))
            .with_row_index("row")
            .join(groups.with_row_index("group"), on=KEY)
            .sort("group", "opens")
        )
        row, group, opens, count = (
            table[name].cast(pl.Int64).to_numpy() for name in ("row", "group", "opens", "count")
        )
        low = 0
        for panel in panels(counts, start, last, groups=groups):
            edges = np.searchsorted(group, (low, low + panel.groups.height))
            part = slice(*edges.tolist())
            found = _ranks_in(panel, group[part] - low, opens[part], count[part], window_hours)
            below[row[part]], upto[row[part]] = found
            low += panel.groups.height
    return judged.with_columns(below=pl.Series(below), upto=pl.Series(upto))


def _ranks_in(
    panel: Panel,
    group: npt.NDArray[np.int64],
    opens: npt.NDArray[np.int64],
    count: npt.NDArray[np.int64],
    hours: int,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Shares of windows below and up to counts; rows sorted by group and by the column where their window opens."""
    below, upto = np.empty(count.size), np.empty(count.size)
    if not count.size:
        return below, upto
    windows = np.lib.stride_tricks.sliding_window_view(panel.counts, hours, axis=1)
    is_first = np.r_[True, (np.diff(group) != 0) | (np.diff(opens) != 0)]
    window = np.cumsum(is_first) - 1
    heads = np.flatnonzero(is_first)
    # sorted windows laid end to end, each above the one before, are one sorted row to search in
    above = max(int(panel.counts.max(initial=0)), int(count.max())) + 1
    step = max(1, min(PANEL_CELLS // hours, 2**62 // above))
    for low in range(0, heads.size, step):
        some = heads[low : low + step]
        line = np.sort(windows[group[some], opens[some]], axis=1)
        line += above * np.arange(some.size)[:, None]
        here = slice(*np.searchsorted(window, (low, low + some.size)).tolist())
        nth = window[here] - low
        for side, share in (("left", below), ("right", upto)):
            found = np.searchsorted(line.reshape(-1), count[here] + above * nth, side=side)  # type: ignore[call-overload] # a literal in a loop
            share[here] = (found - nth * hours) / hours
    return below, upto


def mid_p() -> pl.Expr:
    """How surprising a count is: P(Y > y) + P(Y = y) / 2, of ``below`` and ``upto``; 1/2 in the mean if calibrated.

    Half of the count's own probability makes it fair for discrete distributions (Lancaster 1961).

    >>> pl.DataFrame({"below": [0.75], "upto": [1.0]}).select(mid_p()).item()
    0.125
    """
    return (1 - (pl.col("below") + pl.col("upto")) / 2).alias("mid_p")


def pit_histogram(ranked: pl.DataFrame, *, bins: int = 10, by: str | Sequence[str] = ()) -> pl.DataFrame:
    """Histogram of the probability integral transform of counts, not randomised; flat if hours are like their week.

    A count spreads its weight evenly from P(Y <= y - 1) to P(Y <= y); on a bound between two bins it belongs to the
    lower (Czado, Gneiting and Held 2009). A heap on the right means that hours are busier than their past, heaps on
    both sides that they vary more.

    Args:
        ranked: ``below`` and ``upto``, from :func:`window_ranks` or any other predictive distribution, and ``hours``,
            the weight of the row.
        bins: how many bins.
        by: columns whose values are told apart, such as ``"rule"``.

    Returns:
        One row per value of ``by`` and bin: ``low``, ``high``, ``hours`` (all of that value), ``share`` of the hours
        (null without hours) and ``expected``, 1 / bins.

    Raises:
        SettingsError: no such column, or ``bins`` is below 1.

    >>> ranked = pl.DataFrame({"below": [0.0, 0.75], "upto": [0.75, 1.0], "hours": [3, 1]})
    >>> pit_histogram(ranked, bins=4)["share"].to_list()
    [0.25, 0.25, 0.25, 0.25]
    """
    if bins < 1:
        raise SettingsError(f"bins: expected a whole number of at least 1, got {bins!r}.")
    names = columns_of(ranked, by)
    width = pl.col("upto") - pl.col("below")
    edges = [nth / bins for nth in range(bins + 1)]
    reached: list[pl.Expr] = []
    for nth, edge in enumerate(edges):
        spread = ((edge - pl.col("below")) / width).clip(0, 1)
        share = pl.when(width > 0).then(spread).otherwise((pl.col("upto") <= edge + _SLACK).cast(pl.Float64))
        inner = share if 0 < nth < bins else pl.lit(float(nth > 0))
        reached.append((pl.col("hours") * inner).sum().alias(str(nth)))
    sums = aggregated(ranked, names, pl.col("hours").sum(), *reached)
    whole = pl.col("hours")
    return (
        sums.with_columns(
            pl.concat_list(pl.col(str(nth + 1)) - pl.col(str(nth)) for nth in range(bins)).alias("weight"),
            low=pl.lit(edges[:-1]),
            high=pl.lit(edges[1:]),
        )
        .explode("weight", "low", "high")
        .select(
            *names, "low", "high", "hours", share=pl.when(whole > 0).then(pl.col("weight") / whole), expected=1 / bins
        )
    )


def quantile_reliability(
    ranked: pl.DataFrame, levels: Sequence[float] = LEVELS, *, by: str | Sequence[str] = ()
) -> pl.DataFrame:
    """How often later hours stay at or below the quantile of their week, for each nominal level.

    The quantile at level a is the smallest count that the share a of the window's hours does not exceed. Counts are
    whole numbers, so at or below happens more often than a, and strictly below more seldom: calibrated are hours for
    which a lies between the two (Gneiting, Wolffram, Resin, Kraus, Bracher, Dimitriadis, Hagenmeyer, Jordan, Lerch,
    Phipps and Schienle 2023).

    Args:
        ranked: from :func:`window_ranks`.
        levels: nominal levels, between 0 and 1.
        by: columns whose values are told apart.

    Returns:
        One row per value of ``by`` and level: ``level``, ``hours``, ``at_or_below`` and ``below``, shares of the hours
        (null without hours).

    Raises:
        SettingsError: no such column, or a level that is not between 0 and 1.

    >>> ranked = pl.DataFrame({"below": [0.0, 0.75], "upto": [0.75, 1.0], "hours": [3, 1]})
    >>> quantile_reliability(ranked, [0.5, 0.9]).rows()
    [(0.5, 4, 0.75, 0.0), (0.9, 4, 1.0, 0.75)]
    """
    names = columns_of(ranked, by)
    levels = [probability("levels", level) for level in levels]
    kinds = (("at_or_below", "below"), ("below", "upto"))
    shares = [
        Ratio(
            f"{kind} {nth}",
            pl.when(pl.col(column) < level - _SLACK).then(pl.col("hours")).otherwise(0),
            pl.col("hours"),
        ).of_sums()
        for nth, level in enumerate(levels)
        for kind, column in kinds
    ]
    wide = aggregated(ranked, names, pl.col("hours").sum().alias("all hours"), *shares)
    lists = [
        pl.concat_list(pl.col(f"{kind} {nth}").cast(pl.Float64) for nth in range(len(levels))).alias(kind)
        for kind, _ in kinds
    ]
    return (
        wide.select(*names, pl.lit(levels, dtype=pl.List(pl.Float64)).alias("level"), pl.col("all hours"), *lists)
        .explode("level", "at_or_below", "below")
        .rename({"all hours": "hours"})
        .select(*names, "level", "hours", "at_or_below", "below")
    )


def scaled_limits(
    judged: pl.DataFrame, scales: Sequence[float] = SCALES, *, by: str | Sequence[str] = ()
) -> pl.DataFrame:
    """What limits of another scale would have given: judged hours whose count is above ``scale * limit``.

    At scale 1 these are the crossings there were. Rows without a limit (null, or 0, which never fires) are left out;
    a limit that a small scale brings below 1 is exceeded by any occurrence.

    Args:
        judged: from :func:`judged_counts`.
        scales: what limits are multiplied by.
        by: columns whose values are told apart.

    Returns:
        One row per value of ``by`` and scale: ``scale``, ``hours`` (with a limit), ``crossings``, ``exceedance`` (share
        of the hours) and ``crossings_per_series_week`` (per week of one series); both null without hours.

    Raises:
        SettingsError: no such column, or a scale that is not above 0.

    >>> judged = pl.DataFrame({"limit": [10, 10], "count": [0, 30], "hours": [9, 1]})
    >>> scaled_limits(judged, [1, 3]).select("scale", "crossings", "exceedance").rows()
    [(1.0, 1, 0.1), (3.0, 0, 0.0)]
    """
    names = columns_of(judged, by)
    if wrong := [scale for scale in scales if isinstance(scale, bool) or not 0 < scale < float("inf")]:
        raise SettingsError(f"scales: expected numbers above 0, got {wrong}.")
    # the product of two numbers may come out a little low, and would be exceeded by the count it equals
    over = [
        pl.col("hours").filter(pl.col("count") > pl.col("limit") * (scale * (1 + 1e-12))).sum().alias(str(nth))
        for nth, scale in enumerate(scales)
    ]
    wide = aggregated(judged.filter(_HELD), names, pl.col("hours").sum().alias("all hours"), *over)
    ratio = Ratio("exceedance", pl.col("crossings"), pl.col("hours"))
    return (
        wide.select(
            *names,
            pl.lit([float(scale) for scale in scales], dtype=pl.List(pl.Float64)).alias("scale"),
            pl.col("all hours").alias("hours"),
            pl.concat_list(pl.col(str(nth)) for nth in range(len(scales))).alias("crossings"),
        )
        .explode("scale", "crossings")
        .with_columns(
            ratio.by_row(),
            Ratio("crossings_per_series_week", ratio.top, ratio.bottom, HOURS_PER_WEEK).by_row(),
        )
    )


def murphy(judged: pl.DataFrame, level: float, thetas: Sequence[float] | None = None) -> pl.DataFrame:
    """Murphy diagram of limits taken as quantiles: the mean elementary score at each threshold theta.

    The elementary score of a limit q and a count y is 1 - a where y <= theta < q, a where q <= theta < y, else 0. Every
    proper score of a quantile is a mixture of them, so limits whose curve is nowhere above another's are better for
    every reader (Ehm, Gneiting, Jordan and Krüger 2016). The area under the curve is the mean pinball loss. Compare
    only limits that were in force in the same hours.

    Args:
        judged: from :func:`judged_counts`. Rows without a limit (null, or 0, which never fires) are left out.
        level: a, between 0 and 1.
        thetas: thresholds, events per hour; by default up to 200 whole numbers from 0 to the largest limit or count,
            closer together at the low end. Between whole numbers the score does not change.

    Returns:
        One row per threshold: ``theta``, ``score`` (null without hours), ``hours``.

    Raises:
        SettingsError: the level is not between 0 and 1.

    >>> judged = pl.DataFrame({"limit": [2, 2], "count": [0, 3], "hours": [9, 1]})
    >>> murphy(judged, 0.9, [0, 1, 2, 3])["score"].round(9).to_list()
    [0.09, 0.09, 0.09, 0.0]
    """
    level = probability("level", level)
    held = judged.filter(_HELD)
    limit, count, hours = (held[name].to_numpy() for name in ("limit", "count", "hours"))
    if thetas is None:
        top = max(limit.max(initial=0), count.max(initial=0))
        at = np.unique(np.geomspace(1, top + 1, 200).astype(np.int64) - 1).astype(np.float64)
    else:
        at = np.asarray(thetas, dtype=np.float64)
    # hours with both above theta take no part: y <= theta < q are those with q above, less these
    both = _hours_above(np.minimum(limit, count), hours, at)
    idle, missed = _hours_above(limit, hours, at) - both, _hours_above(count, hours, at) - both
    whole = int(hours.sum())
    score = ((1 - level) * idle + level * missed) / whole if whole else np.full(at.size, np.nan)
    return pl.DataFrame({"theta": at, "score": score, "hours": np.full(at.size, whole)}).with_columns(
        pl.col("score").fill_nan(None)
    )


def _hours_above(
    values: npt.NDArray[np.int64], hours: npt.NDArray[np.int64], at: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Hours whose value is above each of ``at``."""
    order = np.argsort(values)
    running = np.r_[0, np.cumsum(hours[order])]
    above: npt.NDArray[np.int64] = running[-1] - running[np.searchsorted(values[order], at, side="right")]
    return above
