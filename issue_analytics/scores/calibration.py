"""How often limits are exceeded: shares with intervals, the classic tests of coverage, and whether strata agree.

A limit that is right for every group is exceeded equally often in every stratum. How often it should be, nobody says:
the published algorithm has no nominal level. The share of hours that stayed below, the implied level, is what it comes
to; tests against a level (:func:`kupiec`, :func:`conditional_coverage`) are for a level of the reader's own.

Hours of one group are not independent, and crossings come in runs. Tests that take them so (Kupiec's, Christoffersen's,
the exact interval) reject too often; what allows for it says so.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from numpy.typing import ArrayLike

from issue_analytics.counts import HOUR
from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY
from issue_analytics.scores.by import aggregated, columns_of, probability
from issue_analytics.scores.days import first_of, limit_spans
from issue_analytics.scores.intervals import clopper_pearson, cluster_interval, design_effect
from issue_analytics.scores.ratios import HOURS_PER_WEEK, Ratio

__all__ = [
    "CROSSINGS_PER_SERIES_WEEK",
    "EXCEEDANCE",
    "christoffersen",
    "clustering",
    "conditional_coverage",
    "exceedance",
    "homogeneity",
    "kupiec",
    "transitions",
]

Floats = npt.NDArray[np.float64]

_HELD: Final = pl.col("limit").fill_null(0) > 0

EXCEEDANCE: Final = Ratio(
    "exceedance",
    pl.when(_HELD).then("crossings").otherwise(0),
    pl.when(_HELD).then("hours").otherwise(0),
    share=True,
)
"""Share of judged hours over their limit, of group-days; those without a limit (null, or 0, which never fires) do not
take part."""

CROSSINGS_PER_SERIES_WEEK: Final = Ratio("crossings_per_series_week", EXCEEDANCE.top, EXCEEDANCE.bottom, HOURS_PER_WEEK)
"""The same as hours over the limit per week that one series is judged: 168 times as much."""


def exceedance(days: pl.DataFrame, by: str | Sequence[str] = (), *, confidence: float = 0.95) -> pl.DataFrame:
    """How often limits were exceeded, in each stratum, and how sure that is.

    Args:
        days: from :func:`~issue_analytics.scores.group_days`, with the columns of ``by`` joined to it where it has not
            got them: ``days.join(result.groups.select(*KEY, "volume"), on=KEY)``.
        by: columns whose values are told apart, such as ``["volume", "rule"]``; none: all together.
        confidence: how often such intervals hold the truth.

    Returns:
        One row per value of ``by``: ``groups`` (with hours under a limit), ``hours``, ``crossings``, ``exceedance``
        (their ratio) with ``exceedance_low`` and ``exceedance_high``, an interval that takes a group as one cluster
        (:func:`~issue_analytics.scores.intervals.cluster_interval`; null for a single group), ``exact_low`` and
        ``exact_high``, Clopper and Pearson's, as if hours were independent, ``design_effect`` (how many times larger
        clusters make the variance; null where the share is 0 or 1, or for a single group),
        ``crossings_per_series_week`` and ``implied_level``, 1 - exceedance: the quantile that the limits came to.
        Null where there are no hours.

    Raises:
        SettingsError: no such column, or ``confidence`` is not between 0 and 1.

    >>> days = pl.DataFrame({"project_id": 1, "group_id": [7, 8], "limit": [3, 3], "hours": [150, 100],
    ...     "crossings": [5, 0]})
    >>> exceedance(days).select("hours", "crossings", "exceedance", "implied_level").row(0)
    (250, 5, 0.02, 0.98)
    >>> exceedance(days).select(pl.col("exact_low", "exact_high").round(6)).row(0)
    (0.006525, 0.046054)
    """
    names = columns_of(days, by)
    confidence = probability("confidence", confidence)
    groups = _by_group(days, names)
    held = pl.col("hours") > 0
    table = aggregated(groups, names, held.sum().cast(pl.Int64).alias("groups"), pl.col("hours", "crossings").sum())
    top, bottom = (_by_stratum(groups, names, table, column) for column in ("crossings", "hours"))
    crossings, hours = (table[name].to_numpy().astype(np.float64) for name in ("crossings", "hours"))
    found = cluster_interval(top, bottom, share=True, confidence=confidence)
    exact_low, exact_high = clopper_pearson(crossings, hours, confidence=confidence)
    share = Ratio("exceedance", pl.col("crossings"), pl.col("hours"))
    return table.with_columns(
        share.by_row(),
        exceedance_low=pl.Series(found.low),
        exceedance_high=pl.Series(found.high),
        exact_low=pl.Series(exact_low),
        exact_high=pl.Series(exact_high),
        design_effect=pl.Series(design_effect(top, bottom)),
        crossings_per_series_week=HOURS_PER_WEEK * share.by_row(),
        implied_level=1 - share.by_row(),
    ).with_columns(pl.col("^(exceedance|exact)_(low|high)$", "design_effect").fill_nan(None))


def _by_group(days: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Hours under a limit and crossings of each group in each stratum; the stratum may name the group itself."""
    keys = [*names, *(key for key in KEY if key not in names)]
    return (
        days.group_by(keys)
        .agg(crossings=EXCEEDANCE.top.sum().cast(pl.Int64), hours=EXCEEDANCE.bottom.sum().cast(pl.Int64))
        .sort(keys)
    )


def _by_stratum(groups: pl.DataFrame, names: list[str], table: pl.DataFrame, column: str) -> Floats:
    """A row for each row of ``table`` with the values of its groups, filled up with zeros, which count for nothing."""
    if names:
        rows = table.select(names).with_row_index("row")
        placed = groups.join(rows, on=names, nulls_equal=True)
    else:
        placed = groups.with_columns(row=pl.lit(0, dtype=pl.UInt32))
    placed = placed.select("row", column, nth=pl.int_range(pl.len()).over("row"))
    widest = placed["nth"].max()
    cells = np.zeros((table.height, 1 + (widest if isinstance(widest, int) else 0)))
    cells[placed["row"].to_numpy(), placed["nth"].to_numpy()] = placed[column].to_numpy()
    return cells


def kupiec(crossings: ArrayLike, hours: ArrayLike, expected: ArrayLike) -> pl.DataFrame:
    """Test whether limits are exceeded as often as expected: unconditional coverage, hours taken as independent.

    ``-2 ln[(1 - p)^(n - x) p^x / ((1 - x/n)^(n - x) (x/n)^x)]``, chi-square with one degree of freedom; Kupiec 1995.

    Args:
        crossings: x, hours over the limit.
        hours: n, hours judged.
        expected: p, the share of hours that should be over it, between 0 and 1; for a limit at level 0.99 it is 0.01.

    Returns:
        One row per element: ``statistic`` and ``p``; null where there are no hours.

    Raises:
        SettingsError: an expected share is not between 0 and 1.

    >>> kupiec([5, 0], [250, 250], 0.01).select(pl.all().round(6)).rows()
    [(1.95681, 0.161855), (5.025168, 0.024982)]
    """
    x, n, p = _arrays(crossings, hours, expected)
    _check_shares(p)
    return _tested(_coverage_ratio(x, n, p), 1)


def christoffersen(n00: ArrayLike, n01: ArrayLike, n10: ArrayLike, n11: ArrayLike) -> pl.DataFrame:
    """Test whether an hour over the limit is as likely after another as after a quiet one: independence.

    ``-2 ln[L(pi) / L(pi01, pi11)]`` with ``pi`` the share of hours over the limit, ``pi01`` that after a quiet hour and
    ``pi11`` after one over it; chi-square with one degree of freedom; Christoffersen 1998. Of one series: series with
    different shares, added up, look dependent. For many at once, see :func:`clustering`.

    Args:
        n00: pairs of consecutive hours, neither over the limit.
        n01: only the later.
        n10: only the earlier.
        n11: both.

    Returns:
        One row per element: ``statistic`` and ``p``; null where no hour, or every hour, had one over the limit before.

    >>> christoffersen(241, 3, 3, 2).select(pl.all().round(6)).rows()
    [(9.894654, 0.001658)]
    """
    return _tested(_independence_ratio(*_arrays(n00, n01, n10, n11)), 1)


def conditional_coverage(
    crossings: ArrayLike,
    hours: ArrayLike,
    expected: ArrayLike,
    n00: ArrayLike,
    n01: ArrayLike,
    n10: ArrayLike,
    n11: ArrayLike,
) -> pl.DataFrame:
    """Test the share of hours over the limit and their independence at once: the sum of both statistics.

    :func:`kupiec`'s over all hours plus :func:`christoffersen`'s over pairs of them; chi-square with two degrees of
    freedom; Christoffersen 1998.

    Args:
        crossings: as in ``kupiec``.
        hours: as in ``kupiec``.
        expected: as in ``kupiec``.
        n00: as in ``christoffersen``.
        n01: as in ``christoffersen``.
        n10: as in ``christoffersen``.
        n11: as in ``christoffersen``.

    Returns:
        One row per element: ``statistic`` and ``p``; null where either is.

    Raises:
        SettingsError: an expected share is not between 0 and 1.

    >>> conditional_coverage(5, 250, 0.01, 241, 3, 3, 2).select(pl.all().round(6)).rows()
    [(11.851464, 0.00267)]
    """
    x, n, p, *pairs = _arrays(crossings, hours, expected, n00, n01, n10, n11)
    _check_shares(p)
    return _tested(_coverage_ratio(x, n, p) + _independence_ratio(*pairs), 2)


def transitions(exposure: pl.DataFrame, limits: pl.DataFrame, crossings: pl.DataFrame) -> pl.DataFrame:
    """Count pairs of consecutive judged hours by whether each was over its limit.

    Both hours of a pair lie in the exposure and have a limit above 0; which limit may change between them.

    Args:
        exposure: contract ``Exposure``, whole hours, not overlapping; a result's ``exposure``.
        limits: contract ``Limits``; a result's ``limits``.
        crossings: contract ``Alerts``, every judged hour over its limit; a result's ``crossings``.

    Returns:
        One row per group with hours under a limit: ``project_id``, ``group_id``, ``n00``, ``n01`` (quiet, then over),
        ``n10``, ``n11``; by group.

    Raises:
        FrameError: the exposure has open or overlapping spans, or hours in part.

    >>> from datetime import UTC, date, datetime
    >>> monday = datetime(2026, 1, 5, tzinfo=UTC)
    >>> group = {"project_id": [1], "group_id": [7]}
    >>> exposure = pl.DataFrame(group | {"start": [monday], "end": [monday.replace(hour=20)]})
    >>> limits = pl.DataFrame(group | {"date": [date(2026, 1, 5)], "limit": [3], "rule": ["new"], "as_of": [monday]})
    >>> hours = [monday.replace(hour=hour) for hour in (8, 9, 19)]
    >>> crossings = pl.DataFrame({"project_id": [1] * 3, "group_id": [7] * 3, "hour": hours})
    >>> transitions(exposure, limits, crossings).row(0)
    (1, 7, 15, 2, 1, 1)
    """
    pieces = (
        limit_spans(exposure, limits)
        .lazy()
        .filter(_HELD)
        .sort(*KEY, "start")
        .with_columns(opens=first_of(*KEY) | (pl.col("start") != pl.col("end").shift(1)))
        .group_by(*KEY, piece=pl.col("opens").cum_sum())
        .agg(pl.col("start").min(), pl.col("end").max())
        .collect()
    )
    over = (
        crossings.lazy()
        .select(*KEY, "hour")
        .sort("hour")
        .join_asof(
            pieces.lazy().sort("start"),
            left_on="hour",
            right_on="start",
            by=list(KEY),
            strategy="backward",
            check_sortedness=False,  # with `by` polars cannot check; both sides were sorted just now
        )
        .filter(pl.col("hour") < pl.col("end"))
        .with_columns(following=pl.col("hour").shift(-1).over(*KEY, "piece", order_by="hour"))
        .group_by(KEY)
        .agg(
            n11=(pl.col("following") == pl.col("hour") + HOUR).sum().cast(pl.Int64),
            before=(pl.col("hour") + HOUR < pl.col("end")).sum().cast(pl.Int64),
            after=(pl.col("hour") > pl.col("start")).sum().cast(pl.Int64),
        )
        .collect()
    )
    return (
        pieces.group_by(KEY)
        .agg(pairs=((pl.col("end") - pl.col("start")).dt.total_hours() - 1).sum())
        .join(over, on=KEY, how="left")
        .with_columns(pl.col("n11", "before", "after").fill_null(0))
        .select(
            *KEY,
            n00=pl.col("pairs") - pl.col("before") - pl.col("after") + pl.col("n11"),
            n01=pl.col("after") - pl.col("n11"),
            n10=pl.col("before") - pl.col("n11"),
            n11="n11",
        )
        .sort(KEY)
    )


def clustering(pairs: pl.DataFrame, by: str | Sequence[str] = ()) -> pl.DataFrame:
    """Tell whether hours over the limit follow each other, for many groups at once.

    Mantel and Haenszel's test (1959) of the two-by-two tables of the groups, earlier hour by later hour: the hours over
    the limit that follow one are held against those expected in each group from its own share, so that groups with
    different shares do not look dependent, and a group with one crossing does no harm.

    Args:
        pairs: from :func:`transitions`, with the columns of ``by`` joined to it.
        by: columns whose values are told apart.

    Returns:
        One row per value of ``by``: ``groups``, ``pairs``, ``followed`` (n11), ``followed_expected`` (of independent
        hours), ``after_crossing`` and ``after_quiet`` (share of hours over the limit after one over it, and after a
        quiet one, over all groups; null without such), ``odds_ratio`` (Mantel and Haenszel's: 1 if independent; null
        where nothing could tell), ``statistic`` (chi-square with one degree of freedom, no continuity correction) and
        ``p``; null where no group has both hours over the limit and others.

    Raises:
        SettingsError: no such column.

    >>> pairs = pl.DataFrame({"n00": [241, 100], "n01": [3, 1], "n10": [3, 1], "n11": [2, 0]})
    >>> clustering(pairs).select("followed", pl.col("after_crossing", "after_quiet", "odds_ratio").round(3)).row(0)
    (2, 0.333, 0.012, 42.129)
    """
    n00, n01, n10, n11 = (pl.col(name) for name in ("n00", "n01", "n10", "n11"))
    n = n00 + n01 + n10 + n11
    earlier, later = (n10 + n11).cast(pl.Float64), (n01 + n11).cast(pl.Float64)
    expected = pl.when(n > 0).then(earlier * later / n)
    variance = pl.when(n > 1).then(earlier * (n - earlier) * later * (n - later) / (n.cast(pl.Float64) ** 2 * (n - 1)))
    for_it, against = (
        pl.when(n > 0).then(one.cast(pl.Float64) * other / n).sum() for one, other in ((n11, n00), (n10, n01))
    )
    table = aggregated(
        pairs,
        by,
        (n > 0).sum().cast(pl.Int64).alias("groups"),
        n.sum().alias("pairs"),
        n11.sum().alias("followed"),
        expected.sum().alias("followed_expected"),
        Ratio("after_crossing", n11, n10 + n11).of_sums(),
        Ratio("after_quiet", n01, n00 + n01).of_sums(),
        pl.when(against > 0).then(for_it / against).alias("odds_ratio"),
        variance.sum().alias("variance"),
    )
    surplus = (table["followed"] - table["followed_expected"]).to_numpy()
    spread = table["variance"].to_numpy()
    square = _ratio(surplus**2, spread)
    return pl.concat([table.drop("variance"), _tested(square, 1)], how="horizontal")


def homogeneity(days: pl.DataFrame, by: str | Sequence[str]) -> pl.DataFrame:
    """Test whether all strata exceed their limits equally often, with groups as clusters.

    Pearson's statistic on hours over and under the limit, with Rao and Scott's second-order correction (1984):
    crossings of a group come together, and by that alone Pearson's is large. The covariance of the strata's surplus of
    crossings is estimated from the groups (one may have hours in several strata), and its eigenvalues, the generalised
    design effects, say of which weighted sum of chi-squares the statistic is one. Satterthwaite's F stands for the sum;
    each of its degrees of freedom has one less than the number of groups behind it, as is usual for surveys.

    Args:
        days: from :func:`~issue_analytics.scores.group_days`, with the columns of ``by`` joined to it.
        by: columns that make the strata, such as ``"volume"``. A stratum of one group tells little.

    Returns:
        One row: ``strata`` (with hours under a limit), ``groups``, ``hours``, ``crossings``, ``smallest_groups`` (how
        many the stratum with fewest has), ``pearson`` (the statistic as if hours were independent), ``pearson_p``,
        ``design_effect`` (mean of the generalised ones: first-order correction), ``statistic`` (F), ``degrees`` and
        ``degrees_behind`` of F, and ``p``. Null with fewer than two strata or groups, or where all hours or none are
        over their limit.

    Raises:
        SettingsError: no such column, or none named.

    >>> days = pl.DataFrame({"project_id": 1, "group_id": range(8), "limit": 3, "hours": 100, "volume": ["a", "b"] * 4,
    ...     "crossings": [20, 0, 0, 10, 0, 0, 0, 0]})
    >>> homogeneity(days, "volume").select(pl.col("pearson_p", "design_effect", "p").round(3)).row(0)
    (0.063, 15.337, 0.649)
    """
    names = columns_of(days, by)
    if not names:
        raise SettingsError("by: name the columns that make the strata.")
    cells = _by_group(days, names).filter(pl.col("hours") > 0)
    strata, groups = cells.select(names).unique().sort(names), cells.select(KEY).unique().sort(KEY)
    placed = cells.join(strata.with_row_index("column"), on=names, nulls_equal=True).join(
        groups.with_row_index("row"), on=KEY
    )
    over, hours = np.zeros((2, groups.height, strata.height))
    at = placed["row"].to_numpy(), placed["column"].to_numpy()
    over[at], hours[at] = placed["crossings"].to_numpy(), placed["hours"].to_numpy()

    row: dict[str, float | int | None] = {
        "strata": strata.height,
        "groups": groups.height,
        "hours": int(hours.sum()),
        "crossings": int(over.sum()),
        "smallest_groups": int((hours > 0).sum(axis=0).min(initial=groups.height)),
    }
    scores = dict.fromkeys(
        ("pearson", "pearson_p", "design_effect", "statistic", "degrees", "degrees_behind", "p"), None
    )
    row |= scores if not 0 < over.sum() < hours.sum() else _rao_scott(over, hours) or scores
    whole = ("strata", "groups", "hours", "crossings", "smallest_groups")
    return pl.DataFrame([row], schema={name: pl.Int64 if name in whole else pl.Float64 for name in row})


def _rao_scott(over: Floats, hours: Floats) -> dict[str, float] | None:
    """Rao and Scott's test on (groups, strata) of hours over the limit and of all hours."""
    from scipy.stats import chi2, f

    groups, strata = hours.shape
    if strata < 2 or groups < 2:
        return None
    size = hours.sum(axis=0)
    share = over.sum() / size.sum()
    surplus = over - share * hours
    expected = size * share * (1 - share)
    pearson = float((surplus.sum(axis=0) ** 2 / expected).sum())
    # the common share is estimated from all hours, so a group's surplus moves what is expected everywhere
    influence = surplus - surplus.sum(axis=1, keepdims=True) * size / size.sum()
    scaled = influence / np.sqrt(expected)
    effects = np.linalg.eigvalsh(groups / (groups - 1) * scaled.T @ scaled)
    total, squares = float(effects.sum()), float((effects**2).sum())
    if total <= 0:
        return None
    degrees = total**2 / squares
    behind = degrees * (groups - 1)
    return {
        "pearson": pearson,
        "pearson_p": float(chi2.sf(pearson, strata - 1)),
        "design_effect": total / (strata - 1),
        "statistic": pearson / total,
        "degrees": degrees,
        "degrees_behind": behind,
        "p": float(f.sf(pearson / total, degrees, behind)),
    }


def _arrays(*values: ArrayLike) -> list[Floats]:
    """The same shape for all, in one dimension; null is nan."""
    return [
        np.atleast_1d(part) for part in np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in values))
    ]


def _check_shares(expected: Floats) -> None:
    if not ((expected > 0) & (expected < 1)).all():
        raise SettingsError("expected: the share of hours over the limit must lie between 0 and 1.")


def _likelihood(hits: Floats, trials: Floats, share: Floats) -> Floats:
    """Logarithm of ``share^hits (1 - share)^(trials - hits)``, where nothing to the power of 0 is 1."""
    from scipy.special import xlog1py, xlogy

    value: Floats = xlogy(hits, share) + xlog1py(trials - hits, -share)
    return value


def _ratio(top: Floats, bottom: Floats) -> Floats:
    known: Floats = np.where(bottom > 0, bottom, np.nan)
    return top / known


def _coverage_ratio(x: Floats, n: Floats, p: Floats) -> Floats:
    return -2 * (_likelihood(x, n, p) - _likelihood(x, n, _ratio(x, n)))


def _independence_ratio(n00: Floats, n01: Floats, n10: Floats, n11: Floats) -> Floats:
    quiet, over = n00 + n01, n10 + n11
    apart = _likelihood(n01, quiet, _ratio(n01, quiet)) + _likelihood(n11, over, _ratio(n11, over))
    return -2 * (_likelihood(n01 + n11, quiet + over, _ratio(n01 + n11, quiet + over)) - apart)


def _tested(statistic: Floats, degrees: int) -> pl.DataFrame:
    from scipy.stats import chi2

    # a ratio of likelihoods that are equal may come out a little below 0
    value = np.where(np.isnan(statistic), np.nan, np.maximum(statistic, 0.0))
    return pl.DataFrame({"statistic": value, "p": chi2.sf(value, degrees)}).fill_nan(None)
