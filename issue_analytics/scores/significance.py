"""Could it be chance: tests of the difference between two settings judged on the same history, and many tests at once.

Give the difference and its interval first (``bootstrap``), the p second.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY
from issue_analytics.scores.clusters import sum_by_cluster
from issue_analytics.scores.ratios import Ratio

__all__ = ["benjamini_hochberg", "holm", "mcnemar", "swap_test"]

Floats = NDArray[np.float64]

_CELLS: Final = 2_000_000
"""Choices made at a time: 16 MB."""


def mcnemar(only_first: ArrayLike, only_second: ArrayLike) -> Floats:
    """Exact two-sided p that two settings catch the same, from the escalations that only one of them caught.

    If neither is better, each of the ``b + c`` discordant ones is as likely to be of either: twice the tail of
    ``Binomial(b + c, 1/2)``, at most 1. McNemar 1947. 1 where nothing is discordant. It takes escalations as
    independent; where several are of one group, :func:`swap_test` is the honest one.

    Args:
        only_first: how many only the first caught.
        only_second: how many only the second caught.

    Raises:
        SettingsError: a number is below 0, or none.

    >>> round(float(mcnemar(3, 12)), 12)
    0.03515625
    """
    from scipy.special import bdtr

    first, second = np.broadcast_arrays(np.asarray(only_first, np.float64), np.asarray(only_second, np.float64))
    if not ((np.minimum(first, second) >= 0) & (first % 1 == 0) & (second % 1 == 0)).all():
        raise SettingsError("a number of escalations is below 0 or no whole number.")
    tail: Floats = bdtr(np.minimum(first, second), (first + second).astype(np.int64), 0.5)
    return np.minimum(1.0, 2 * tail)


def swap_test(
    tallies: pl.DataFrame,
    other: pl.DataFrame,
    scores: Sequence[Ratio | str],
    *,
    cluster: Sequence[str] = KEY,
    swaps: int = 10_000,
    seed: int = 0,
) -> pl.DataFrame:
    """One row per score: name, difference (of ``other`` less ``tallies``), p, clusters, swaps, exact.

    If the two settings do not differ, each cluster's two tallies might as well be the other way round. So they are
    swapped in some clusters and not in others, and ``p`` is the share of swaps whose difference is at least as far from
    0 as the one found (two-sided; Fisher 1935, Edgington and Onghena 2007). For totals that is the sign-flip test of
    the clusters' differences; ratios are computed anew, as both sides of them change hands.

    ``clusters`` are those in which the two differ; the others cannot matter. If all ``2^clusters`` swaps are no more
    than ``swaps``, each is tried once (``exact``). Otherwise ``swaps`` are drawn, and what was found counts as one
    more: ``(1 + hits) / (1 + swaps)`` (Phipson and Smyth 2010), never 0. A swap that leaves a ratio without a bottom
    counts as a hit. ``difference`` and ``p`` are null where the ratio of one of the two is not defined.

    Args:
        tallies: rows no coarser than clusters.
        other: the same under another setting; a cluster that only one has counted nothing in the other.
        scores: ratios, or columns whose totals are compared.
        cluster: columns that tell clusters apart.
        swaps: how many are tried at most.
        seed: the same seed gives the same answer, whatever the order of rows.

    Raises:
        SettingsError: a column is missing, a name occurs twice, or there are no swaps.

    >>> tallies = pl.DataFrame({"group_id": range(6), "false_alarms": [3, 1, 4, 1, 5, 2]})
    >>> fewer = tallies.with_columns(pl.col("false_alarms") - 1)
    >>> swap_test(tallies, fewer, ["false_alarms"], cluster=["group_id"]).rows()
    [('false_alarms', -6.0, 0.03125, 6, 64, True)]
    """
    if swaps < 1:
        raise SettingsError(f"{swaps} swaps: there must be at least one.")
    frames = [tallies, other]
    ratios = [_total(score, frames) if isinstance(score, str) else score for score in scores]
    sums = sum_by_cluster(frames, ratios, cluster)
    total = np.array([isinstance(score, str) for score in scores], dtype=bool)
    sides = np.stack([sums.top, np.where(total, 0.0, sums.bottom)])
    differ = (sides[:, 0] != sides[:, 1]).any(axis=0)
    clusters = differ.sum(axis=0)
    exact = clusters < swaps.bit_length()  # as 2^clusters <= swaps
    found = _difference(sides.sum(axis=2), total)
    p = np.full(len(ratios), np.nan)
    drawn = ~exact & ~np.isnan(found)
    if drawn.any():
        hits = _hits(sides[..., drawn], total[drawn], _drawn(sums.keys.height, swaps, seed))
        p[drawn] = (1 + hits) / (1 + swaps)
    for at in np.flatnonzero(exact & ~np.isnan(found)):
        few = sides[:, :, :, [at]]
        rest = few[:, :, ~differ[:, at]].sum(axis=2, keepdims=True)
        few = np.concatenate([few[:, :, differ[:, at]], rest], axis=2)
        p[at] = _hits(few, total[[at]], _all(int(clusters[at])))[0] / 2 ** clusters[at]
    scale = np.array([ratio.scale for ratio in ratios])
    return pl.DataFrame(
        {
            "name": [ratio.name for ratio in ratios],
            "difference": found * scale,
            "p": p,
            "clusters": clusters,
            "swaps": np.where(exact, 2 ** np.where(exact, clusters, 0), swaps),
            "exact": exact,
        },
        schema={
            "name": pl.String,
            "difference": pl.Float64,
            "p": pl.Float64,
            "clusters": pl.Int64,
            "swaps": pl.Int64,
            "exact": pl.Boolean,
        },
    ).with_columns(pl.col("difference", "p").fill_nan(None))


def _total(column: str, frames: Sequence[pl.DataFrame]) -> Ratio:
    if any(column not in frame.columns for frame in frames):
        raise SettingsError(f"no column {column} to total.")
    return Ratio(column, pl.col(column), pl.lit(1))


def _difference(sums: Floats, total: NDArray[np.bool_]) -> Floats:
    """Second less first, of sums of shape (top, bottom) x frames x ... x scores; nan where a ratio is not defined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(total, sums[0], np.where(sums[1] > 0, sums[0] / sums[1], np.nan))
    difference: Floats = value[1] - value[0]
    return difference


def _hits(sides: Floats, total: NDArray[np.bool_], choices: Iterator[Floats]) -> NDArray[np.int64]:
    """In how many choices of clusters to swap the difference is as far from 0 as it was found, of each score.

    ``sides`` are (top, bottom) x frames x clusters x scores.
    """
    sums = sides.sum(axis=2)
    # differences that are equal on paper may differ in the last bits
    least = np.abs(_difference(sums, total)) * (1 - 1e-9)
    moves = sides[:, 1] - sides[:, 0]
    hits = np.zeros(sides.shape[-1], dtype=np.int64)
    for chosen in choices:
        moved = np.einsum("rk,skn->srn", chosen, moves, optimize=True)
        swapped = np.stack([sums[:, 0, None] + moved, sums[:, 1, None] - moved], axis=1)
        hits += (~(np.abs(_difference(swapped, total)) < least)).sum(axis=0)
    return hits


def _all(clusters: int) -> Iterator[Floats]:
    """Every choice among so many clusters, as rows of 0 and 1, and a last cluster that is never chosen."""
    step = max(1, _CELLS // (clusters + 1))
    for begin in range(0, 2**clusters, step):
        number = np.arange(begin, min(2**clusters, begin + step))[:, None]
        yield ((number >> np.append(np.arange(clusters), 62)) & 1).astype(np.float64)


def _drawn(clusters: int, swaps: int, seed: int) -> Iterator[Floats]:
    """So many choices among clusters, drawn by coin, as rows of 0 and 1; the size of a block changes nothing."""
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // clusters)
    for begin in range(0, swaps, step):
        yield rng.integers(0, 2, size=(min(step, swaps - begin), clusters), dtype=np.int32).astype(np.float64)


def holm(p: ArrayLike) -> Floats:
    """Adjusted p of several tests, so that with ``adjusted <= a`` any false find at all has a chance of at most ``a``.

    In order of size ``p_(i) * (m - i + 1)``, never below the one before, at most 1; Holm 1979. Holds under any
    dependence.

    Args:
        p: of every test that was made, also of those that found nothing.

    Raises:
        SettingsError: a p is not between 0 and 1 (leave out tests that could not be made).

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    values = _checked(p)
    order = np.argsort(values)
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Adjusted p of several tests, so that of those with ``adjusted <= a`` at most a share ``a`` is false on average.

    From the largest down ``p_(i) * m / i``, never above the one before; Benjamini and Hochberg 1995, for tests that are
    independent or positively dependent. scipy's ``false_discovery_control``.

    Args:
        p: of every test that was made, also of those that found nothing.

    Raises:
        SettingsError: a p is not between 0 and 1 (leave out tests that could not be made).

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.04, 0.04]
    """
    from scipy.stats import false_discovery_control

    values = _checked(p)
    return np.asarray(false_discovery_control(values), dtype=np.float64) if values.size else values


def _checked(p: ArrayLike) -> Floats:
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise SettingsError("p must be a list of numbers between 0 and 1; leave out tests that could not be made.")
    return values
