"""Times that not everybody was watched to the end of: Kaplan and Meier's curve, its median, shares and mean.

A frame of times has a row per observation, with ``hours`` (how long it was watched, or took; ``inf``: it will never
happen; null: not known, left out) and ``happened`` (whether it happened then; else it was only watched so long). Delays
(:func:`~issue_analytics.scores.delay.delay_times`) and resets (:func:`~issue_analytics.scores.delay.reset_times`) are
such frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.scores.by import probability

__all__ = ["Resampled", "median_time", "resampled_times", "restricted_mean", "share_within", "survival_curve"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_HALF: Final = 0.5 + 1e-12
"""Half, with room for the rounding of a product of some ten thousand factors."""

_NONE: Final = 1e-12
"""What is left of a curve that has come down to nothing, but for rounding."""

_BLOCK_CELLS: Final = 2**18
"""Numbers worked on at a time: 2 MB, so that they stay in the cache."""


@dataclass(frozen=True, slots=True)
class _Curve:
    """The curve at its distinct finite times, in numpy."""

    hours: Floats
    at_risk: Floats
    happened: Floats
    censored: Floats
    survival: Floats
    greenwood: Floats  # sum of d / (n (n - d)); infinite from where nobody is left
    last: float  # the longest time anybody was watched

    def known_to(self, hours: float) -> bool:
        """Whether the curve says anything of that time: somebody was watched so long, or nobody was left before."""
        return self.last >= hours or bool(self.survival.size and self.survival[-1] == 0)


def survival_curve(times: pl.DataFrame, *, confidence: float = 0.95) -> pl.DataFrame:
    """Share of what has not yet happened, by time: Kaplan and Meier's estimate with its point-wise interval.

    ``S(t) = product over times u <= t of (1 - d/n)``, with d happening at u and n at risk just before it. Greenwood's
    variance on the scale of ``log(-log S)``, so that the interval stays within 0 and 1:
    ``S ** exp(+-z sqrt(sum d / (n (n - d))) / log S)``. Kaplan & Meier 1958; Kalbfleisch & Prentice 1980.

    Args:
        times: with ``hours`` and ``happened``, see the module.
        confidence: of the interval.

    Returns:
        A row per distinct finite time: ``hours``, ``at_risk``, ``happened``, ``censored`` (numbers, at that time; what
        is censored at a time is at risk at it), ``survival``, ``survival_low`` and ``survival_high``. The interval is
        null where survival is 1 or 0: there is no width on that scale, not no doubt.

    Raises:
        FrameError: a column is missing, or hours are negative or NaN.
        SettingsError: ``confidence`` is not between 0 and 1.

    >>> times = pl.DataFrame({"hours": [1.0, 3.0, 3.0, 6.0, 24.0], "happened": [True, True, True, False, False]})
    >>> survival_curve(times).select(pl.col("hours", "at_risk", "survival").round(6)).rows()
    [(1.0, 5, 0.8), (3.0, 4, 0.4), (6.0, 2, 0.4), (24.0, 1, 0.4)]
    """
    curve = _curve(times)
    low, high = _interval(curve, confidence)
    whole = {"at_risk": curve.at_risk, "happened": curve.happened, "censored": curve.censored}
    return pl.DataFrame(
        {
            "hours": curve.hours,
            **{name: values.astype(np.int64) for name, values in whole.items()},
            "survival": curve.survival,
            "survival_low": low,
            "survival_high": high,
        }
    ).with_columns(pl.col("survival_low", "survival_high").fill_nan(None))


def median_time(times: pl.DataFrame, *, confidence: float = 0.95) -> pl.DataFrame:
    """Hours within which half of it happened, with the interval of Brookmeyer and Crowley.

    The first time at which ``S <= 1/2``; its limits are those at which the lower and the upper limit of S first are.
    Brookmeyer & Crowley 1982, on the scale of ``log(-log S)``.

    Args:
        times: with ``hours`` and ``happened``, see the module.
        confidence: of the interval.

    Returns:
        One row: ``median_hours``, ``median_hours_low``, ``median_hours_high``. Null is "not reached": half never
        happened while it was watched, or the data do not bound the median on that side.

    Raises:
        FrameError: a column is missing, or hours are negative or NaN.
        SettingsError: ``confidence`` is not between 0 and 1.

    >>> times = pl.DataFrame({"hours": [1.0, 3.0, 3.0, 6.0, 24.0], "happened": [True, True, True, False, False]})
    >>> median_time(times).rows()
    [(3.0, 1.0, None)]
    """
    curve = _curve(times)
    low, high = _interval(curve, confidence)

    def first(values: Floats) -> float | None:
        reached = values <= _HALF  # NaN is not
        return float(curve.hours[reached.argmax()]) if reached.any() else None

    names = ("median_hours", "median_hours_low", "median_hours_high")
    values = (first(curve.survival), first(low), first(high))
    return pl.DataFrame(dict(zip(names, ([value] for value in values), strict=True)), dict.fromkeys(names, pl.Float64))


def share_within(
    times: pl.DataFrame, hours: Sequence[float] = (1, 3, 6, 24), *, confidence: float = 0.95
) -> pl.DataFrame:
    """Share that happened within so many hours, ``1 - S(hours)``, with Greenwood's interval.

    Args:
        times: with ``hours`` and ``happened``, see the module.
        hours: the times asked for; a time at the very hour counts as within it.
        confidence: of the interval.

    Returns:
        A row for each of ``hours``: ``within_hours``, ``share``, ``share_low``, ``share_high``. The share is null where
        nobody was watched so long; the interval is null too where the share is 0 or 1, as in :func:`survival_curve`.

    Raises:
        FrameError: a column is missing, or hours are negative or NaN.
        SettingsError: ``confidence`` is not between 0 and 1, or a time asked for is negative.

    >>> times = pl.DataFrame({"hours": [1.0, 3.0, 3.0, 6.0, 24.0], "happened": [True, True, True, False, False]})
    >>> share_within(times, (3, 48)).with_columns(pl.col("share").round(6)).select("within_hours", "share").rows()
    [(3.0, 0.6), (48.0, None)]
    """
    asked = _times("hours", hours)
    curve = _curve(times)
    low, high = _interval(curve, confidence)
    place = np.searchsorted(curve.hours, asked, side="right")
    # before the first time nothing has happened
    survival, low, high = (np.concatenate([[start], part])[place] for start, part in
                           ((1.0, curve.survival), (np.nan, low), (np.nan, high)))  # fmt: skip
    unknown = [not curve.known_to(hour) for hour in asked.tolist()]
    for values in (survival, low, high):
        values[unknown] = np.nan
    frame = pl.DataFrame({"within_hours": asked, "share": 1 - survival, "share_low": 1 - high, "share_high": 1 - low})
    return frame.with_columns(pl.all().exclude("within_hours").fill_nan(None))


def restricted_mean(times: pl.DataFrame, tau: float = 24, *, confidence: float = 0.95) -> pl.DataFrame:
    """Mean of the hours it took, each counted as ``tau`` at most: the area under the curve up to ``tau``.

    ``integral of S from 0 to tau``; its variance is the sum over times u of ``(area from u to tau)^2 d / (n (n - d))``.
    Irwin 1949; Kaplan & Meier 1958; Royston & Parmar 2013.

    Args:
        times: with ``hours`` and ``happened``, see the module.
        tau: hours at which waiting ends.
        confidence: of the interval, which is normal, cut to 0 and ``tau``.

    Returns:
        One row: ``mean_hours``, ``mean_hours_error`` (standard error), ``mean_hours_low``, ``mean_hours_high``; all
        null where nobody was watched up to ``tau`` and it had not happened to all, because the curve ends before.

    Raises:
        FrameError: a column is missing, or hours are negative or NaN.
        SettingsError: ``confidence`` is not between 0 and 1, or ``tau`` is not positive.

    >>> times = pl.DataFrame({"hours": [1.0, 3.0, 3.0, 6.0, 24.0], "happened": [True, True, True, False, False]})
    >>> round(restricted_mean(times)["mean_hours"].item(), 6)
    11.0
    """
    tau = _end(tau)
    curve = _curve(times)
    names = ("mean_hours", "mean_hours_error", "mean_hours_low", "mean_hours_high")
    schema = dict.fromkeys(names, pl.Float64)
    z = _quantile(confidence)
    if not curve.known_to(tau):
        return pl.DataFrame({name: [None] for name in names}, schema)
    pieces = np.concatenate([[1.0], curve.survival]) * _widths(curve.hours, tau)
    after = pieces[::-1].cumsum()[::-1][1:]  # area from each time to tau
    left = curve.at_risk - curve.happened
    # what is left is 0 at the end only, where the area behind is 0 too
    terms = np.where(left > 0, after**2 * curve.happened / (curve.at_risk * np.maximum(left, 1)), 0.0)
    mean, error = float(pieces.sum()), float(np.sqrt(terms.sum()))
    values = (mean, error, max(0.0, mean - z * error), min(tau, mean + z * error))
    return pl.DataFrame(dict(zip(names, ([value] for value in values), strict=True)), schema)


@dataclass(frozen=True, slots=True)
class Resampled:
    """Summaries of one curve per resample.

    Attributes:
        median: hours, shape (resamples,); ``inf`` where half was not reached, NaN where no observation has weight.
        mean: restricted mean, hours, shape (resamples,); NaN where the curve ends before ``tau``.
        within: shares, shape (resamples, hours); NaN where the curve ends before the hours asked for.
    """

    median: Floats
    mean: Floats
    within: Floats


def resampled_times(
    hours: npt.ArrayLike,
    happened: npt.ArrayLike,
    weights: npt.ArrayLike,
    *,
    clusters: npt.ArrayLike | None = None,
    within: Sequence[float] = (1, 3, 6, 24),
    tau: float = 24,
) -> Resampled:
    """Median, restricted mean and shares for many weightings of the same times at once, such as a cluster bootstrap.

    A weight of 2 is an observation that is there twice. The same definitions as :func:`median_time`,
    :func:`restricted_mean` and :func:`share_within`; these are what a weight of 1 for all gives. Per cluster and
    distinct time there is one number, so that a resample costs a sparse product and sums along the times.

    Args:
        hours: of each observation, as in a frame of times; ``inf`` where it never happens, and no nulls.
        happened: of each observation.
        weights: shape (resamples, clusters), not negative.
        clusters: the column of ``weights`` that each observation belongs to; None: there is a column for each.
        within: the hours that shares are asked for.
        tau: where the restricted mean ends.

    Raises:
        SettingsError: shapes do not fit, a weight or a time is negative or NaN.

    >>> drawn = resampled_times([1, 3, 3, 6, 24], [1, 1, 1, 0, 0], [[1, 1, 1, 1, 1], [0, 0, 0, 1, 4]])
    >>> drawn.median.tolist(), drawn.mean.round(6).tolist()
    ([3.0, inf], [11.0, 24.0])
    """
    from scipy.sparse import csr_array

    time, done = _times("hours", hours), np.asarray(happened, dtype=np.bool_)
    weight = np.asarray(weights, dtype=np.float64)
    if weight.ndim != 2 or done.shape != time.shape:
        raise SettingsError("weights must have the shape (resamples, clusters), and hours and happened be as long.")
    column = np.arange(time.size) if clusters is None else np.asarray(clusters, dtype=np.int64)
    if clusters is None and time.size != weight.shape[1]:
        raise SettingsError(f"weights: {weight.shape[1]} columns for {time.size} times; say which is whose (clusters).")
    if column.shape != time.shape or (column.size and not 0 <= column.min() <= column.max() < weight.shape[1]):
        raise SettingsError(f"clusters: {weight.shape[1]} columns of weights do not fit {time.size} times.")
    if not (weight >= 0).all() or np.isinf(weight).any():
        raise SettingsError("weights: negative, NaN or infinite.")
    asked, end = _times("within", within), _end(tau)

    moments = np.unique(time[done & np.isfinite(time)])
    happens = done & np.isfinite(time)
    # the curve moves at these moments only: who leaves between two of them is counted together
    leaves = np.searchsorted(moments, time, side="right")
    ones = np.ones(time.size)
    clusters_of = weight.shape[1]
    gone = csr_array((ones, (leaves, column)), shape=(moments.size + 1, clusters_of))
    event = csr_array((ones[happens], (leaves[happens] - 1, column[happens])), shape=(moments.size, clusters_of))
    reach = np.append(asked, end)
    observation, edge = np.nonzero(time[:, None] >= reach[None, :])
    watched = csr_array((np.ones(edge.size), (edge, column[observation])), shape=(reach.size, clusters_of))
    place = np.searchsorted(moments, asked, side="right")
    widths = _widths(moments, end)

    resamples = weight.shape[0]
    median, mean = np.full(resamples, np.inf), np.empty(resamples)
    shares = np.empty((resamples, asked.size))
    block = max(1, _BLOCK_CELLS // (moments.size + clusters_of + 1))
    for low in range(0, resamples, block):
        some = slice(low, low + block)
        part = np.ascontiguousarray(weight[some].T)
        leaving = gone @ part
        at_risk = leaving[:0:-1].cumsum(axis=0)[::-1]
        dying = event @ part
        factor = np.ones_like(at_risk)
        # weights that are no whole numbers leave a rest of rounding where nobody is left
        np.divide(np.maximum(at_risk - dying, 0), at_risk, out=factor, where=dying > 0)
        survival = np.concatenate([np.ones((1, part.shape[1])), np.multiply.accumulate(factor, axis=0)])
        number = (survival > _HALF).sum(axis=0)  # S never rises
        reached = number <= moments.size
        median[some][reached] = moments[number[reached] - 1]
        median[some][~leaving.any(axis=0)] = np.nan
        known = ((watched @ part) > 0) | (survival[-1] < _NONE)
        shares[some] = np.where(known[:-1], 1 - survival[place], np.nan).T
        mean[some] = np.where(known[-1], widths @ survival, np.nan)
    return Resampled(median, mean, shares)


def _curve(times: pl.DataFrame) -> _Curve:
    if missing := [name for name in ("hours", "happened") if name not in times.columns]:
        raise FrameError(f"times: no column {', '.join(missing)}. Found: {', '.join(times.columns)}.")
    known = times.select(pl.col("hours").cast(pl.Float64), "happened").filter(pl.col("hours").is_not_null())
    hours, happened = known["hours"].to_numpy(), known["happened"].cast(pl.Boolean).to_numpy()
    if hours.size and not hours.min() >= 0:
        raise FrameError("times: hours are negative or NaN.")
    happened = happened & np.isfinite(hours)
    moments, place = np.unique(hours, return_inverse=True)
    everybody = np.bincount(place, minlength=moments.size).astype(np.float64)
    dying = np.bincount(place, weights=happened, minlength=moments.size)
    at_risk = everybody[::-1].cumsum()[::-1]
    finite = np.isfinite(moments)
    last = float(moments[-1]) if moments.size else -np.inf
    moments, everybody, dying, at_risk = (part[finite] for part in (moments, everybody, dying, at_risk))
    with np.errstate(divide="ignore"):
        # nobody left: infinite, and nothing comes after
        greenwood = np.where(dying > 0, dying / (at_risk * (at_risk - dying)), 0.0).cumsum()
    survival = ((at_risk - dying) / at_risk).cumprod()
    return _Curve(moments, at_risk, dying, everybody - dying, survival, greenwood, last)


def _interval(curve: _Curve, confidence: float) -> tuple[Floats, Floats]:
    """Point-wise limits of S; NaN where S is 1 or 0."""
    z = _quantile(confidence)
    inner = (curve.survival > 0) & (curve.survival < 1)
    survival, greenwood = np.where(inner, curve.survival, 0.5), np.where(inner, curve.greenwood, 0.0)
    width = z * np.sqrt(greenwood) / -np.log(survival)
    low, high = (np.where(inner, survival ** np.exp(sign * width), np.nan) for sign in (1, -1))
    return low, high


def _widths(moments: Floats, tau: float) -> Floats:
    """How long the curve holds each of its values before ``tau``: before the first moment, and after each."""
    return np.diff(np.concatenate([[0.0], moments, [np.inf]]).clip(max=tau))


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + probability("confidence", confidence)) / 2)


def _times(name: str, values: npt.ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not (array >= 0).all():
        raise SettingsError(f"{name}: expected hours, a list of numbers not below 0, got {values!r}.")
    return array


def _end(tau: float) -> float:
    if not 0 < tau < np.inf:
        raise SettingsError(f"tau: expected hours above 0, got {tau!r}.")
    return float(tau)
