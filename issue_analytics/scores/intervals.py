"""How sure: intervals of shares and rates, exact where things come independently, by cluster where they do not.

Alerts of one group resemble each other, and so do groups of one project. Intervals that take them one by one are far
too narrow: at a nominal 95 % they were measured to hold the truth in 50 to 80 % of data sets that are alike within
groups, where those by cluster do in 94 to 96 % (``reports/validation.md``, made by ``make validate``). Functions of
arrays give nan where there is no answer, functions of frames null.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY
from issue_analytics.scores.by import columns_of, probability
from issue_analytics.scores.clusters import sum_by_cluster
from issue_analytics.scores.ratios import Ratio

__all__ = [
    "FEW_CARRIERS",
    "FEW_CLUSTERS",
    "ClusterInterval",
    "clopper_pearson",
    "cluster_interval",
    "design_effect",
    "linearised_error",
    "poisson_interval",
    "ratio_intervals",
    "wilson",
]

Floats = NDArray[np.float64]

FEW_CLUSTERS: Final = 30
"""Below so many clusters an interval says that they are too few (Cameron, Gelbach and Miller 2008)."""

FEW_CARRIERS: Final = 10
"""Below so many carriers (:class:`ClusterInterval`) an interval says so: it was measured to be rather too wide."""


def poisson_interval(count: ArrayLike, exposure: ArrayLike, *, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Exact interval of the rate at which independent things happen: low, high, per unit of exposure.

    ``[chi2(a/2; 2n) / 2, chi2(1 - a/2; 2n + 2) / 2] / exposure`` with ``a = 1 - confidence``; Garwood 1936. 0 things
    give a low end of 0; no exposure gives nan. Things that come in clusters are less sure than this:
    :func:`cluster_interval`.

    Args:
        count: things that happened.
        exposure: how long was watched, in any unit; divide hours by 168 for a rate per series-week.
        confidence: how often such intervals hold the truth, at least.

    Raises:
        SettingsError: ``confidence`` is not between 0 and 1, or a number is below 0.

    >>> low, high = poisson_interval(3, 16 / 168)
    >>> round(float(low), 4), round(float(high), 4)
    (6.4961, 92.0564)
    """
    from scipy.special import gammaincinv

    tail = _tail(confidence)
    count, exposure = _floats(count, exposure)
    known = np.where(exposure > 0, exposure, np.nan)
    low = np.where(count > 0, gammaincinv(np.where(count > 0, count, 1.0), tail), 0.0)
    return low / known, gammaincinv(count + 1, 1 - tail) / known


def clopper_pearson(part: ArrayLike, whole: ArrayLike, *, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Exact interval of the share of independent things: low, high; nan where ``whole`` is 0.

    Quantiles of ``Beta(x, n - x + 1)`` and ``Beta(x + 1, n - x)``; Clopper and Pearson 1934. Need not be whole numbers,
    so it also serves effective sizes (Korn and Graubard 1998).

    Args:
        part: how many had it.
        whole: of how many.
        confidence: how often such intervals hold the truth, at least.

    Raises:
        SettingsError: ``confidence`` is not between 0 and 1.

    >>> low, high = clopper_pearson(5, 250)
    >>> round(float(low), 6), round(float(high), 6)
    (0.006525, 0.046054)
    """
    from scipy.special import betaincinv

    tail = _tail(confidence)
    part, whole = _share_of(part, whole)
    rest = whole - part
    some, more = part > 0, rest > 0
    low = np.where(some, betaincinv(np.where(some, part, 1.0), np.where(some, rest + 1, 1.0), tail), 0.0)
    high = np.where(more, betaincinv(np.where(more, part + 1, 1.0), np.where(more, rest, 1.0), 1 - tail), 1.0)
    known = np.where(whole > 0, 0.0, np.nan)
    return low + known, high + known


def wilson(part: ArrayLike, whole: ArrayLike, *, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Score interval of the share of independent things: low, high; nan where ``whole`` is 0.

    The shares that a two-sided z-test does not reject; Wilson 1927. It holds the truth about as often as it says, where
    the exact interval does so at least as often.

    Args:
        part: how many had it.
        whole: of how many.
        confidence: how often such intervals hold the truth, about.

    Raises:
        SettingsError: ``confidence`` is not between 0 and 1.

    >>> low, high = wilson(5, 250)
    >>> round(float(low), 6), round(float(high), 6)
    (0.008572, 0.045956)
    """
    part, whole = _share_of(part, whole)
    z = _normal(1 - _tail(confidence))
    known = np.where(whole > 0, whole, np.nan)
    return _share_score(part / known, known, z)


def linearised_error(top: ArrayLike, bottom: ArrayLike) -> Floats:
    """Standard error of a ratio of sums over clusters, which are the last axis; nan for fewer than two.

    ``sqrt(G / (G - 1) * sum(e^2)) / sum(bottom)`` with ``e = top - ratio * bottom`` and G clusters that have a bottom:
    Taylor's, see Cochran 1977, 6.4. In the unit of ``top / bottom``.

    Args:
        top: of each cluster.
        bottom: of each cluster.

    >>> round(float(linearised_error([1, 4, 0], [2, 4, 2])), 6)
    0.301364
    """
    top, bottom = _floats(top, bottom)
    count, _, whole, _, residual = _parts(top, bottom)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count > 1, np.sqrt(count / (count - 1) * (residual**2).sum(-1)) / whole, np.nan)


def design_effect(top: ArrayLike, bottom: ArrayLike) -> Floats:
    """How many times larger clusters make the variance of a share: :func:`linearised_error` over ``p (1 - p) / n``.

    Kish 1965. 1 for independent things; ``n / deff`` is how many independent things would tell as much. nan where the
    share is 0 or 1, or there are fewer than two clusters.

    Args:
        top: things of each cluster that had it; clusters are the last axis.
        bottom: things of each cluster.

    >>> float(design_effect([4, 0, 4, 0], [4, 4, 4, 4]))  # what is true of one is true of all in its cluster
    5.333333333333333
    """
    error = linearised_error(top, bottom)
    top, bottom = _floats(top, bottom)
    _, _, whole, share, _ = _parts(top, bottom)
    with np.errstate(divide="ignore", invalid="ignore"):
        effect = error**2 / (share * (1 - share) / whole)
    return np.where(np.isfinite(effect), effect, np.nan)


class ClusterInterval(NamedTuple):
    """A ratio of sums over clusters, and how sure it is.

    Attributes:
        estimate: nan where nothing is in any bottom.
        low: nan where there is no interval.
        high: as ``low``.
        clusters: how many have something in their bottom.
        carriers: the effective number of clusters (Kish's ``sum(x)^2 / sum(x^2)``) that hold the bottoms, the tops or,
            of a share, the rest, whichever is least. One noisy group of forty is one carrier, whatever the forty say.
    """

    estimate: Floats
    low: Floats
    high: Floats
    clusters: NDArray[np.int64]
    carriers: Floats


def cluster_interval(
    top: ArrayLike, bottom: ArrayLike, *, share: bool, counts: bool = True, confidence: float = 0.95
) -> ClusterInterval:
    """Interval of a ratio of sums over clusters, by formula: score interval at the effective size.

    The variance ``v`` is the jackknife's over clusters, ``(G - 1) / G * sum((e / (1 - h))^2) / sum(bottom)^2`` with
    ``h`` a cluster's part of all bottoms: one large cluster pulls the ratio towards itself and hides its own error. The
    design effect ``d`` is ``v`` over the variance of independent things (``p (1 - p) / n`` of a share, ``rate /
    exposure``), never below 1. What is above 1 was measured on few clusters, and is made larger by ``(t / z)^2`` with
    Student's t at ``carriers - 1`` degrees of freedom, 2 at least. At the size ``n / d`` stands Wilson's interval of a
    share, and of a rate the score interval of a Poisson rate.

    The effective size is Kish's (1965) and its use in binomial intervals Korn and Graubard's (1998); the jackknife in
    place of the plain sum of squares is Bell and McCaffrey's (2002) way out for few and unequal clusters. Which to
    combine was decided by coverage (``reports/validation.md``).

    Where all of a share is on one side, clusters cannot differ and ``d`` is unknown: each counts as one thing. Where a
    rate counted nothing, ``d`` is 1. There is no interval for one cluster, nor for a mean (``counts=False``) that does
    not vary.

    Args:
        top: of each cluster; clusters are the last axis, other axes are data sets.
        bottom: of each cluster.
        share: whether ``top`` is a part of ``bottom``.
        counts: whether ``top`` counts things; if not (a mean of the clusters' own ratios), ``d`` may be below 1.
        confidence: how often such intervals hold the truth.

    Raises:
        SettingsError: ``confidence`` is not between 0 and 1, or a share has a top above its bottom.

    >>> found = cluster_interval([3, 0, 4, 1], [4, 3, 4, 5], share=True)
    >>> [round(float(value), 3) for value in (found.estimate, found.low, found.high, found.carriers)]
    [0.5, 0.071, 0.929, 2.462]
    """
    from scipy.special import stdtrit

    tail = _tail(confidence)
    top, bottom = _floats(top, bottom)
    if share and (top > bottom * (1 + 1e-9)).any():
        raise SettingsError("a share whose top is above its bottom: is it a rate (share=False)?")
    clusters, total, whole, ratio, residual = _parts(top, bottom)
    with np.errstate(divide="ignore", invalid="ignore"):
        hidden = 1 - bottom / whole[..., None]
        pulled = np.where(hidden > 0, residual / hidden, 0.0)
        variance = (clusters - 1) / clusters * (pulled**2).sum(-1) / whole**2
        sides = (bottom, top, bottom - top) if share else (bottom, top)
        carriers = np.minimum.reduce([_effective(side) for side in sides])
        z = _normal(1 - tail)
        wider = (stdtrit(np.maximum(carriers - 1, 2), 1 - tail) / z) ** 2
        effect = variance / (ratio * (1 - ratio) if share else ratio) * whole
        effect = 1 + (np.maximum(effect, 1) - 1) * wider if counts else effect * wider
        none = (total <= 0) | (total >= whole) if share else total <= 0
        alone = whole / _effective(bottom) if share else (1.0 if counts else np.nan)
        effect = np.where(none, alone, effect)
        size = np.where((clusters > 1) & (effect > 0), whole / effect, np.nan)
        low, high = _share_score(ratio, size, z) if share else _rate_score(ratio, size, z)
    return ClusterInterval(ratio, low, high, clusters, carriers)


def ratio_intervals(
    tallies: pl.DataFrame,
    ratios: Sequence[Ratio],
    *,
    cluster: Sequence[str] = KEY,
    by: str | Sequence[str] = (),
    confidence: float = 0.95,
) -> pl.DataFrame:
    """One row per ratio: name, estimate, low, high, clusters, note; by the formula of :func:`cluster_interval`.

    Cheap and the same every time, so every summary has it. ``clusters`` have something in their bottom. ``note`` says
    what to be careful of, else it is null: ``nothing to judge`` (all null), ``one cluster`` (no interval), ``no
    variation`` (no interval), ``too few clusters`` (below 30), ``mostly in few clusters`` (what is counted, or what is
    missing from a share, sits in fewer than some 10 of them: the interval is rather too wide), ``none`` or ``all`` (of
    a share nothing or everything; each cluster counts as one thing) and ``none counted`` (of a rate; as if
    independent).

    Args:
        tallies: rows no coarser than ``cluster``.
        ratios: scores, micro or macro.
        cluster: what falls together: ``("project_id", "group_id")``, or ``("project_id",)`` which allows for groups of
            a project that resemble each other.
        by: columns whose values are told apart: a row for each of them and ratio, in their order, after the values.
        confidence: how often such intervals hold the truth.

    Raises:
        SettingsError: ``confidence`` is not between 0 and 1, a column is missing, a name occurs twice, or a share has a
            top above its bottom.

    >>> from issue_analytics.scores.ratios import RECALL
    >>> tallies = pl.DataFrame({"group_id": range(40), "events": [2, 5] * 20, "events_caught": [2, 3, 0, 4] * 10})
    >>> ratio_intervals(tallies, [RECALL], cluster=["group_id"]).with_columns(pl.col(pl.Float64).round(3)).rows()
    [('recall', 0.643, 0.561, 0.717, 40, None)]
    """
    if not cluster:
        raise SettingsError("no column to cluster by: none was named.")
    names = columns_of(tallies, by)
    sums = sum_by_cluster([tallies], ratios, [*names, *(name for name in cluster if name not in names)])
    rows = []
    for value, part in _parts_of(sums.keys, names):
        for at, ratio in enumerate(ratios):
            top, bottom = sums.top[0, part, at], sums.bottom[0, part, at]
            found = cluster_interval(top, bottom, share=ratio.share, counts=ratio.counts, confidence=confidence)
            ends = [float(end) * ratio.scale for end in (found.estimate, found.low, found.high)]
            note = _note(found, share=ratio.share, counts=ratio.counts)
            rows.append((*value, ratio.name, *ends, int(found.clusters), note))
    floats = dict.fromkeys(("estimate", "low", "high"), pl.Float64())
    schema = {name: tallies.schema[name] for name in names} | {"name": pl.String()} | floats
    return pl.DataFrame(rows, schema=schema | {"clusters": pl.Int64(), "note": pl.String()}, orient="row").with_columns(
        pl.col("estimate", "low", "high").fill_nan(None)
    )


def _parts_of(keys: pl.DataFrame, names: Sequence[str]) -> list[tuple[tuple[Any, ...], slice]]:
    """The values of some columns that a frame is sorted by, and where their rows are; one part of all without any."""
    if not names:
        return [((), slice(None))]
    sizes = keys.group_by(names, maintain_order=True).len().with_columns(end=pl.col("len").cum_sum())
    return [(tuple(value), slice(end - size, end)) for *value, size, end in sizes.iter_rows()]


def _note(found: ClusterInterval, *, share: bool, counts: bool) -> str | None:
    if not found.clusters:
        return "nothing to judge"
    if found.clusters == 1:
        return "one cluster"
    nothing, everything = found.estimate <= 0, share and found.estimate >= 1
    if np.isnan(found.low):
        return "no variation"
    notes = ["too few clusters"] if found.clusters < FEW_CLUSTERS else []
    if nothing or everything:
        notes.append("all" if everything else "none" if share else "none counted")
    elif counts and found.carriers < FEW_CARRIERS:
        notes.append("mostly in few clusters")
    return "; ".join(notes) or None


def _parts(top: Floats, bottom: Floats) -> tuple[NDArray[np.int64], Floats, Floats, Floats, Floats]:
    """Of the clusters along the last axis: how many have a bottom, sum of tops, of bottoms, the ratio, residuals."""
    total, whole = top.sum(-1), bottom.sum(-1)
    ratio = total / np.where(whole > 0, whole, np.nan)
    return (bottom > 0).sum(-1), total, whole, ratio, top - ratio[..., None] * bottom


def _effective(side: Floats) -> Floats:
    """Kish's effective number of clusters: how many equal ones would hold it as evenly; 0 if there is nothing."""
    squares = (side**2).sum(-1)
    number: Floats = side.sum(-1) ** 2 / np.where(squares > 0, squares, 1.0)
    return number


def _share_score(share: Floats, size: Floats, z: float) -> tuple[Floats, Floats]:
    """Wilson's interval, with ends that are 0 and 1 to the last bit where the share is."""
    middle = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    known = size * 0
    low = np.where(share <= 0, known, np.clip(middle - half, 0, share))
    return low, np.where(share >= 1, 1 + known, np.clip(middle + half, share, 1))


def _rate_score(rate: Floats, exposure: Floats, z: float) -> tuple[Floats, Floats]:
    """The rates that a two-sided z-test of a Poisson count does not reject."""
    middle = rate + z**2 / (2 * exposure)
    half = z * np.sqrt(rate / exposure + z**2 / (4 * exposure**2))
    return np.where(rate <= 0, exposure * 0, np.maximum(middle - half, 0)), middle + half


def _tail(confidence: float) -> float:
    return (1 - probability("confidence", confidence)) / 2


def _normal(quantile: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(quantile))


def _floats(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    one, other = np.broadcast_arrays(np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64))
    if (np.minimum(one, other) < 0).any():
        raise SettingsError("a number of things, or of what they are counted against, is below 0.")
    return one, other


def _share_of(part: ArrayLike, whole: ArrayLike) -> tuple[Floats, Floats]:
    some, everything = _floats(part, whole)
    if (some > everything).any():
        raise SettingsError("a part is larger than its whole.")
    return some, everything
