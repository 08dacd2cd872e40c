"""How late: from an escalation to its alert, and from its end until the count was back at or below the limit."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from issue_analytics.counts import HOUR, hours_in
from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY
from issue_analytics.scores.by import probability
from issue_analytics.scores.clusters import number_clusters
from issue_analytics.scores.exposed import exposed
from issue_analytics.scores.intervals import FEW_CLUSTERS
from issue_analytics.scores.resampling import cluster_weights
from issue_analytics.scores.survival import (
    median_time,
    resampled_times,
    restricted_mean,
    share_within,
    survival_curve,
)

__all__ = [
    "Misses",
    "caught_within",
    "delay_curve",
    "delay_intervals",
    "delay_times",
    "median_delay",
    "median_delay_hours",
    "reset_times",
    "time_to_detect",
]

Misses = Literal["never", "censored"]

_EVENT = (*KEY, "escalated_at")


def delay_times(matches: pl.DataFrame, *, misses: Misses = "never") -> pl.DataFrame:
    """How long each judged escalation went without an alert.

    A delay runs from ``escalated_at`` to the end of the hour that fired, because its count is not known before.

    Args:
        matches: contract ``Matches``.
        misses: what an escalation without an alert is. ``"never"``: it was watched to its end and never caught, so it
            is without an alert for ever, and leaving it out would reward a limit for missing the slow ones; only one
            whose end was not watched (``cut_off``) is censored, at ``watched_until``. ``"censored"``: nobody knows what
            would have come after its end, so that it is censored there, or where watching ended before (where the end
            is not known, at ``watched_until``). Nine short misses and one catch after 31 hours then have a median.

    Returns:
        A row for each match, in their order: ``project_id``, ``group_id``, ``escalated_at``, ``hours`` (``inf``: never)
        and ``happened`` (whether it was caught), to be summed up by :mod:`~issue_analytics.scores.survival`.

    Raises:
        SettingsError: ``misses`` is neither.

    >>> from datetime import UTC, datetime
    >>> start = datetime(2026, 1, 5, tzinfo=UTC)
    >>> matches = pl.DataFrame({"project_id": 1, "group_id": [7, 8], "escalated_at": start, "delay_hours": [2.5, None],
    ...     "ended_at": start + 3 * HOUR, "watched_until": start + 4 * HOUR, "cut_off": False})
    >>> delay_times(matches)["hours"].to_list(), delay_times(matches, misses="censored")["hours"].to_list()
    ([2.5, inf], [2.5, 3.0])
    """
    return matches.select(*_EVENT, *_until_caught(misses))


def delay_curve(matches: pl.DataFrame, *, misses: Misses = "never", confidence: float = 0.95) -> pl.DataFrame:
    """Share of judged escalations without an alert yet, by hours since they began: Kaplan and Meier's curve.

    Args:
        matches: contract ``Matches``.
        misses: as in :func:`delay_times`.
        confidence: of the point-wise interval.

    Returns:
        A row per distinct time: ``delay_hours``, ``at_risk``, ``caught``, ``censored``, ``survival``, ``survival_low``,
        ``survival_high``; see :func:`~issue_analytics.scores.survival.survival_curve`.

    Raises:
        SettingsError: a setting makes no sense.

    >>> from datetime import UTC, datetime
    >>> start = datetime(2026, 1, 5, tzinfo=UTC)
    >>> matches = pl.DataFrame({"project_id": 1, "group_id": [7, 8], "escalated_at": start, "delay_hours": [2.5, None],
    ...     "ended_at": start + 3 * HOUR, "watched_until": start + 4 * HOUR, "cut_off": False})
    >>> delay_curve(matches).select("delay_hours", "at_risk", "caught", "survival").rows()
    [(2.5, 2, 1, 0.5)]
    """
    curve = survival_curve(delay_times(matches, misses=misses), confidence=confidence)
    return curve.rename({"hours": "delay_hours", "happened": "caught"})


def median_delay(matches: pl.DataFrame, *, misses: Misses = "never", confidence: float = 0.95) -> pl.DataFrame:
    """Hours within which half of the judged escalations were caught, with the interval of Brookmeyer and Crowley.

    Args:
        matches: contract ``Matches``.
        misses: as in :func:`delay_times`.
        confidence: of the interval, which takes escalations as independent.

    Returns:
        One row: ``median_delay_hours``, ``median_delay_hours_low``, ``median_delay_hours_high``; null is "not reached".

    Raises:
        SettingsError: a setting makes no sense.

    >>> from issue_analytics.frames import empty
    >>> median_delay(empty("Matches")).row(0)
    (None, None, None)
    """
    median = median_time(delay_times(matches, misses=misses), confidence=confidence)
    return median.rename(lambda name: name.replace("median_hours", "median_delay_hours"))


def median_delay_hours(matches: pl.DataFrame) -> float | None:
    """Hours within which half of the judged escalations were caught; null if fewer than half were.

    Kaplan and Meier's median, with a miss kept at risk for ever: see :func:`delay_times`.

    Args:
        matches: contract ``Matches``.

    >>> from datetime import UTC, datetime
    >>> start = datetime(2026, 1, 5, tzinfo=UTC)
    >>> matches = pl.DataFrame({"delay_hours": [1.0, 3.0, None], "escalated_at": start, "watched_until": start,
    ...     "cut_off": False})
    >>> median_delay_hours(matches)
    3.0
    """
    if matches.is_empty():
        return None
    median: float | None = median_time(matches.select(_until_caught("never")))["median_hours"].item()
    return median


def caught_within(
    matches: pl.DataFrame,
    hours: Sequence[float] = (1, 3, 6, 24),
    *,
    misses: Misses = "never",
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Share of judged escalations that were caught within so many hours of their beginning, with Greenwood's interval.

    Args:
        matches: contract ``Matches``.
        hours: the times asked for.
        misses: as in :func:`delay_times`.
        confidence: of the interval, which takes escalations as independent.

    Returns:
        A row for each of ``hours``: ``within_hours``, ``share``, ``share_low``, ``share_high``. The share is null where
        none was watched so long; the interval is null too where the share is 0 or 1.

    Raises:
        SettingsError: a setting makes no sense.

    >>> from datetime import UTC, datetime
    >>> start = datetime(2026, 1, 5, tzinfo=UTC)
    >>> matches = pl.DataFrame({"project_id": 1, "group_id": [7, 8], "escalated_at": start, "delay_hours": [2.5, None],
    ...     "ended_at": start + 3 * HOUR, "watched_until": start + 4 * HOUR, "cut_off": False})
    >>> caught_within(matches, (1, 3)).select("within_hours", "share").rows()
    [(1.0, 0.0), (3.0, 0.5)]
    """
    return share_within(delay_times(matches, misses=misses), hours, confidence=confidence)


def time_to_detect(
    matches: pl.DataFrame, tau: float = 24, *, misses: Misses = "never", confidence: float = 0.95
) -> pl.DataFrame:
    """Restricted mean time to detect: mean delay, where what was not caught within ``tau`` hours counts as ``tau``.

    Args:
        matches: contract ``Matches``.
        tau: hours.
        misses: as in :func:`delay_times`.
        confidence: of the interval, which takes escalations as independent.

    Returns:
        One row: ``mean_delay_hours``, ``mean_delay_hours_error`` (standard error), ``mean_delay_hours_low``,
        ``mean_delay_hours_high``; null where none was watched up to ``tau`` and some were not caught.

    Raises:
        SettingsError: a setting makes no sense.

    >>> from datetime import UTC, datetime
    >>> start = datetime(2026, 1, 5, tzinfo=UTC)
    >>> matches = pl.DataFrame({"project_id": 1, "group_id": [7, 8], "escalated_at": start, "delay_hours": [2.0, None],
    ...     "ended_at": start + 3 * HOUR, "watched_until": start + 4 * HOUR, "cut_off": False})
    >>> time_to_detect(matches)["mean_delay_hours"].item()
    13.0
    """
    mean = restricted_mean(delay_times(matches, misses=misses), tau, confidence=confidence)
    return mean.rename(lambda name: name.replace("mean_hours", "mean_delay_hours"))


def delay_intervals(
    matches: pl.DataFrame,
    *,
    cluster: Sequence[str] = KEY,
    hours: Sequence[float] = (1, 3, 6, 24),
    tau: float = 24,
    misses: Misses = "never",
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pl.DataFrame:
    """Median and mean delay and the shares caught within some hours, with intervals by drawing clusters again.

    Escalations of one group, or of one project, fall together; the intervals of the other functions here take them as
    independent. Percentiles of the bootstrap (Efron 1979) over groups, or projects, that have an escalation.

    Args:
        matches: contract ``Matches``.
        cluster: columns that tell clusters apart.
        hours: the times asked for.
        tau: what the mean is restricted to, hours.
        misses: as in :func:`delay_times`.
        confidence: of the intervals.
        resamples: how many to draw.
        seed: the same seed gives the same answer.

    Returns:
        A row each for ``median_delay_hours``, ``mean_delay_hours`` and ``caught_within_<n>h``: ``name``, ``estimate``,
        ``low``, ``high``, ``clusters``, ``note``. An end that was not reached (a median above all delays, in more
        draws than the interval leaves out) is null, and so is an interval of no width.

    Raises:
        SettingsError: a setting makes no sense.

    >>> from datetime import UTC, datetime
    >>> start = datetime(2026, 1, 5, tzinfo=UTC)
    >>> matches = pl.DataFrame({"project_id": 1, "group_id": range(40), "escalated_at": start,
    ...     "delay_hours": [1.0, 2.5, 4.0, None] * 10, "ended_at": start + 5 * HOUR, "watched_until": start + 6 * HOUR,
    ...     "cut_off": False})
    >>> found = delay_intervals(matches, hours=[3]).filter(name="caught_within_3h")
    >>> found.select(pl.col("estimate", "low", "high").round(2)).row(0)
    (0.5, 0.35, 0.65)
    """
    confidence = probability("confidence", confidence)
    times = delay_times(matches, misses=misses)
    names = ["median_delay_hours", "mean_delay_hours", *(f"caught_within_{hour:g}h" for hour in hours)]
    clusters = times.select(cluster).n_unique() if times.height else 0
    schema = {"name": pl.String, "estimate": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    schema |= {"clusters": pl.Int64, "note": pl.String}
    if not clusters:
        return pl.DataFrame([(name, None, None, None, 0, "nothing to judge") for name in names], schema, orient="row")
    number = number_clusters(times, cluster)

    def at(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        found = resampled_times(times["hours"], times["happened"], weights, clusters=number, within=hours, tau=tau)
        return np.column_stack([found.median, found.mean, found.within])

    estimates = at(np.ones((1, clusters)))[0]
    drawn = np.concatenate([at(weights) for weights in cluster_weights(clusters, resamples=resamples, seed=seed)])
    ends = ((1 - confidence) / 2, (1 + confidence) / 2)
    rows = []
    for name, estimate, values in zip(names, estimates, drawn.T, strict=True):
        known = values[~np.isnan(values)]
        # a median that was not reached is infinite, and there is nothing between it and the next
        low, high = np.quantile(known, ends, method="nearest") if known.size else (np.nan, np.nan)
        note = "too few clusters" if clusters < FEW_CLUSTERS else None
        if clusters == 1 or not low < high:
            low, high, note = np.nan, np.nan, "one cluster" if clusters == 1 else "no variation"
        told = [float(value) if np.isfinite(value) else None for value in (estimate, low, high)]
        rows.append((name, *told, clusters, note))
    return pl.DataFrame(rows, schema, orient="row")


def reset_times(matches: pl.DataFrame, crossings: pl.DataFrame, exposure: pl.DataFrame) -> pl.DataFrame:
    """How long each caught escalation was over the limit after its end: the reset time of the SRE Workbook, ch. 5.

    From ``ended_at`` to the end of the first watched hour at or below the limit, because its count is not known before;
    0 where the hour in which the escalation ended was at or below it already. Hours over the limit up to the end of the
    exposed span say no more than that it took longer: censored there. That a limit rises day by day, until what is
    still going on is below it, resets an alert too.

    Args:
        matches: contract ``Matches``.
        crossings: contract ``Alerts``: every exposed hour over the limit, such as ``result.crossings``.
        exposure: contract ``Exposure``: whole hours, not overlapping or touching, such as ``result.exposure``.

    Returns:
        A row for each caught escalation, in their order: ``project_id``, ``group_id``, ``escalated_at``, ``ended_at``,
        ``hours`` (null where the end is not known, or was not watched) and ``happened`` (whether it was reset while
        watched), to be summed up by :mod:`~issue_analytics.scores.survival`.

    Raises:
        FrameError: the exposure has open or overlapping spans, or hours in part.

    >>> from datetime import UTC, datetime
    >>> start = datetime(2026, 1, 5, tzinfo=UTC)
    >>> hours = [start, start + HOUR, start + 2 * HOUR]
    >>> key = {"project_id": 1, "group_id": 7}
    >>> matches = pl.DataFrame({**key, "escalated_at": [start], "ended_at": start + 1.5 * HOUR, "caught_hour": start})
    >>> watched = pl.DataFrame({**key, "start": [start], "end": start + 9 * HOUR})
    >>> reset_times(matches, pl.DataFrame({**key, "hour": hours}), watched)["hours"].to_list()
    [2.5]
    """
    caught = matches.filter(pl.col("caught_hour").is_not_null()).select(*_EVENT, "ended_at")
    # an end on the hour belongs to the hour before it
    last = (pl.col("ended_at") - timedelta(microseconds=1)).dt.truncate("1h")
    ended = caught.filter(pl.col("ended_at").is_not_null()).with_columns(hour=last)
    watched = (
        ended.sort("hour")
        .join_asof(
            exposed(exposure).sort("start"),
            left_on="hour",
            right_on="start",
            by=list(KEY),
            strategy="backward",
            check_sortedness=False,  # with `by` polars cannot check; both sides were sorted just now
        )
        .filter(pl.col("hour") < pl.col("end"))
    )
    gap = pl.col("hour") - pl.col("hour").shift(1).over(KEY, order_by="hour")
    runs = (
        crossings.select(*KEY, "hour")
        .sort(*KEY, "hour")
        .with_columns(run=(gap != HOUR).fill_null(value=True).cum_sum())
        .select(*KEY, "hour", calm=pl.col("hour").max().over("run") + HOUR)
    )
    went_on = hours_in(pl.min_horizontal(pl.col("calm") + HOUR, "end") - pl.col("ended_at"))
    reset = watched.join(runs, on=[*KEY, "hour"], how="left").select(
        *_EVENT,
        hours=pl.when(pl.col("calm").is_null()).then(0.0).otherwise(went_on),
        happened=pl.col("calm").is_null() | (pl.col("calm") < pl.col("end")),
    )
    return caught.join(reset, on=_EVENT, how="left", maintain_order="left").with_columns(
        pl.col("happened").fill_null(value=False)
    )


def _until_caught(misses: Misses) -> tuple[pl.Expr, pl.Expr]:
    """``hours`` and ``happened`` of matches."""
    if misses not in ("never", "censored"):
        raise SettingsError(f"misses: {misses!r} is neither 'never' nor 'censored'.")
    if misses == "never":
        until = pl.when("cut_off").then(pl.col("watched_until")).otherwise(None)
    else:
        until = pl.min_horizontal("ended_at", "watched_until")
    watched = hours_in(until - pl.col("escalated_at"))
    hours = pl.coalesce("delay_hours", watched, pl.lit(float("inf")))
    return hours.alias("hours"), pl.col("delay_hours").is_not_null().alias("happened")
