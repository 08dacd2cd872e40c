"""One row that says what a setting came to: what was judged, the scores, and how sure they are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

import polars as pl

from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY
from issue_analytics.scores import (
    HEADLINE,
    alerts_per_project_day,
    burden,
    caught_within,
    median_delay,
    median_time,
    ratio_intervals,
    reset_times,
    series_weeks,
    time_to_detect,
)

if TYPE_CHECKING:
    from issue_analytics.backtest.result import BacktestResult

__all__ = ["OF_ALERTS", "WITHIN_HOURS", "Cluster", "cluster_columns", "summarise"]

Cluster = Literal["group", "project"]
"""What falls together: the alerts and escalations of a group, or of all groups of a project."""

WITHIN_HOURS: Final = (1, 3, 6, 24)
"""Delays of which a summary says how many escalations were caught within them."""

_ENDS: Final = ("", "_low", "_high")
_RATIOS: Final = tuple(f"{ratio.name}{part}{end}" for ratio in HEADLINE for part in ("", "_macro") for end in _ENDS)
_DELAYS: Final = (
    *(f"{name}{end}" for name in ("median_delay_hours", "mean_delay_hours") for end in _ENDS),
    *(f"caught_within_{hours}h" for hours in WITHIN_HOURS),
    "median_reset_hours",
)
_VERDICTS: Final = ("duplicates", "unjudged", "false_alarms")
_UNKNOWN: Final = (*_VERDICTS, *_RATIOS, "note")
"""Null where nothing is known to be true."""

OF_ALERTS: Final = (
    *("alerts", *_VERDICTS, "note", "alerts_per_project_day"),
    *(name for name in _RATIOS if not name.startswith("recall")),
)
"""What says nothing of some of a group's escalations only."""


def cluster_columns(cluster: Cluster) -> tuple[str, ...]:
    """Columns that tell clusters apart.

    Raises:
        SettingsError: ``cluster`` is neither ``"group"`` nor ``"project"``.
    """
    if cluster not in ("group", "project"):
        raise SettingsError(f"cluster: {cluster!r} is neither 'group' nor 'project'.")
    return KEY if cluster == "group" else KEY[:1]


def summarise(
    result: "BacktestResult", groups: pl.DataFrame, matches: pl.DataFrame, cluster: Sequence[str]
) -> pl.DataFrame:
    """One row about some groups of a result and their matches; the columns are those of ``BacktestResult.summary``."""
    exposure, alerts, crossings = (result.exposure, result.alerts, result.crossings)
    if groups.height < result.groups.height:
        exposure, alerts, crossings = (
            frame.join(groups.select(KEY), on=KEY, how="semi") for frame in (exposure, alerts, crossings)
        )
    counted = groups.select(
        *(pl.lit(float(value)).alias(name) for name, value in result.thresholds.to_dict().items()),
        digest=pl.lit(result.thresholds.digest),
        groups=pl.len().cast(pl.Int64),
        projects=pl.col("project_id").n_unique().cast(pl.Int64),
        series_weeks=series_weeks(),
        alerts=pl.col("alerts").sum(),
        duplicates=pl.col("duplicates").sum(),
        unjudged=pl.col("unjudged").sum(),
        events=pl.col("events").sum(),
        events_caught=pl.col("events_caught").sum(),
        false_alarms=pl.col("false_alarms").sum(),
    )
    ratios = _ratios(groups, cluster)
    row = pl.concat(
        [
            counted,
            ratios.drop("note"),
            _delays(matches, crossings, exposure),
            burden(alerts, exposure).select(alerts_per_project_day()),
            ratios.select("note"),
            pl.select(
                buckets=pl.lit(result.buckets),
                every=pl.lit(result.policy.every),
                policy=pl.lit(result.policy.name),
                matching=pl.lit(str(result.matching)),
            ),
        ],
        how="horizontal",
    )
    return row if result.labelled else row.with_columns(pl.lit(None, row.schema[name]).alias(name) for name in _UNKNOWN)


def _ratios(groups: pl.DataFrame, cluster: Sequence[str]) -> pl.DataFrame:
    """Headline ratios with their cluster intervals, macro after micro; notes of the micro ones."""
    ratios = [one for ratio in HEADLINE for one in (ratio, ratio.macro())]
    row: dict[str, float | None] = {}
    notes = []
    for name, estimate, low, high, _, note in ratio_intervals(groups, ratios, cluster=cluster).iter_rows():
        row |= dict(zip((f"{name}{end}" for end in _ENDS), (estimate, low, high), strict=True))
        if note and not name.endswith("_macro"):
            notes.append(f"{name.replace('_', ' ')}: {note}")
    return pl.DataFrame([row], dict.fromkeys(_RATIOS, pl.Float64)).with_columns(
        note=pl.lit(". ".join(notes) or None, dtype=pl.String)
    )


def _delays(matches: pl.DataFrame, crossings: pl.DataFrame, exposure: pl.DataFrame) -> pl.DataFrame:
    within = caught_within(matches, WITHIN_HOURS)
    shares = {f"caught_within_{hours}h": [share] for hours, share in zip(WITHIN_HOURS, within["share"], strict=True)}
    reset = reset_times(matches, crossings, exposure).filter(pl.col("hours").is_not_null())
    return pl.concat(
        [
            median_delay(matches),
            time_to_detect(matches).drop("mean_delay_hours_error"),
            pl.DataFrame(shares, dict.fromkeys(shares, pl.Float64)),
            median_time(reset).select(median_reset_hours="median_hours"),
        ],
        how="horizontal",
    ).select(_DELAYS)
