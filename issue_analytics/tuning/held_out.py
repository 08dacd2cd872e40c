"""What was chosen, judged on clusters and time that had no part in it: two settings side by side."""

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from issue_analytics.backtest.summary import Cluster
from issue_analytics.scores import (
    ALERTS_PER_SERIES_WEEK,
    FALSE_ALARMS_PER_SERIES_WEEK,
    RECALL,
    Ratio,
    bootstrap,
    ratio_intervals,
)
from issue_analytics.tuning.objective import HOURS_PER_WEEK, Objective
from issue_analytics.tuning.segments import SegmentThresholds, values_of
from issue_analytics.tuning.tallies import Tallies

if TYPE_CHECKING:
    from issue_analytics.tuning.prepared import Prepared

__all__ = ["difference", "frame_of", "ratios_of", "segments_held_out"]

_ENDS = ("low", "high")


def segments_held_out(
    found: SegmentThresholds,
    later: "Prepared",
    *,
    cluster: Cluster = "group",
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> pl.DataFrame:
    """Judge thresholds by segment, and the one setting for all, on data that had no part in choosing them.

    Args:
        found: what was chosen, on other data.
        later: the data that judge; their groups are told into segments from before they were first judged there.
        cluster: what falls together in intervals.
        confidence: of the intervals.
        resamples: how many to draw for the interval of the difference.
        seed: the same seed gives the same answer.

    Returns:
        A row per score (``recall``, ``false_alarms_per_series_week``, ``alerts_per_series_week``,
        ``alerts_per_project_day`` and, for a cost ratio, ``cost_per_series_week``): ``score``; ``common`` and
        ``segments``, each with ``_low`` and ``_high``; ``difference`` (segments less common) with both ends, null where
        draws do not give them. Groups of a segment that was not known when choosing take the common setting.

    Raises:
        SettingsError: ``later`` has no such column to tell segments by.
    """
    chosen = found.thresholds()
    every = list(dict.fromkeys([found.common, *chosen.values()]))
    tallies = later.tallies(every, cluster=cluster)
    number = {value: every.index(one) for value, one in chosen.items()}
    own = np.array([number.get(value, 0) for value in values_of(tallies, later.groups, found.by)], dtype=np.int64)
    frames = [frame_of(tallies, np.zeros_like(own)), frame_of(tallies, own)]
    ratios = ratios_of(found.objective)
    keys = tallies.clusters.columns
    told = [
        ratio_intervals(frame, ratios, cluster=keys, confidence=confidence).select(
            score="name", **{name: "estimate"}, **{f"{name}_{end}": end for end in _ENDS}
        )
        for name, frame in zip(("common", "segments"), frames, strict=True)
    ]
    apart = difference(frames[0], frames[1], ratios, keys, confidence=confidence, resamples=resamples, seed=seed)
    return (
        told[0]
        .join(told[1], on="score", how="left", maintain_order="left")
        .join(
            apart.rename({"estimate": "difference", **{end: f"difference_{end}" for end in _ENDS}}),
            on="score",
            how="left",
            maintain_order="left",
        )
    )


def ratios_of(objective: Objective) -> list[Ratio]:
    """The scores that are told of a setting, as ratios over the rows of :func:`frame_of`."""
    ratios = [
        RECALL,
        FALSE_ALARMS_PER_SERIES_WEEK,
        ALERTS_PER_SERIES_WEEK,
        Ratio("alerts_per_project_day", pl.col("alerts"), pl.col("project_days")),
    ]
    if objective.cost_ratio is not None:
        cost = objective.cost(pl.col("false_alarms"), pl.col("events") - pl.col("events_caught"))
        ratios.append(Ratio("cost_per_series_week", cost, pl.col("exposed_hours"), HOURS_PER_WEEK, counts=False))
    return ratios


def frame_of(tallies: Tallies, setting: Any) -> pl.DataFrame:
    """One row per cluster, with what it comes to under a setting, or under one of its own: a number, or one each."""
    days, place = tallies.project_days, np.arange(tallies.clusters.height)
    return tallies.clusters.with_columns(
        events=pl.Series(tallies.events),
        exposed_hours=pl.Series(tallies.exposed_hours),
        quiet_hours=pl.Series(tallies.quiet_hours),
        project_days=pl.Series(np.zeros(tallies.clusters.height) if days is None else days),
        alerts=pl.Series(tallies.alerts[setting, place]).cast(pl.Int64),
        false_alarms=pl.Series(tallies.false_alarms[setting, place]).cast(pl.Int64),
        events_caught=pl.Series(tallies.events_caught[setting, place]).cast(pl.Int64),
    )


def difference(
    first: pl.DataFrame,
    second: pl.DataFrame,
    ratios: list[Ratio],
    cluster: list[str],
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> pl.DataFrame:
    """The second less the first, from the same draws: ``score``, ``estimate``, ``low``, ``high``."""
    found = bootstrap(
        first, ratios, other=second, cluster=cluster, confidence=confidence, resamples=resamples, seed=seed
    ).select("estimate", "low", "high", score="name")
    shares = [ratio.name for ratio in ratios if ratio.share]
    # where few clusters differ, draws may not bound a share at all: its end is then that of all shares
    bounded = (pl.col("low") > -1) & (pl.col("high") < 1) | ~pl.col("score").is_in(shares)
    # sums of draws add up in another order: what is equal may differ in the last bits
    return found.select(
        "score",
        pl.when(pl.col("estimate").abs() <= 1e-12).then(0.0).otherwise("estimate").alias("estimate"),
        pl.when(bounded).then(pl.col("low", "high")),
    )
