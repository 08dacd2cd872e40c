"""Rows that say what a setting came to: what was judged, the scores, and how sure they are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

import polars as pl

from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY
from issue_analytics.scores import (
    FALSE_ALARMS_PER_SERIES_WEEK,
    HEADLINE,
    alerts_per_project_day,
    burden,
    delay_intervals,
    median_time,
    poisson_interval,
    ratio_intervals,
    reset_times,
    series_weeks,
)
from issue_analytics.scores.by import aggregated

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
_POISSON: Final = tuple(f"{FALSE_ALARMS_PER_SERIES_WEEK.name}_poisson{end}" for end in _ENDS[1:])
_VERDICTS: Final = ("duplicates", "unjudged", "false_alarms")
_UNKNOWN: Final = (*_VERDICTS, *_RATIOS, *_POISSON, "note")
"""Null where nothing is known to be true."""

OF_ALERTS: Final = (
    *("alerts", *_VERDICTS, "note", "alerts_per_project_day"),
    *(name for name in (*_RATIOS, *_POISSON) if not name.startswith("recall")),
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
    result: "BacktestResult",
    groups: pl.DataFrame,
    matches: pl.DataFrame,
    cluster: Sequence[str],
    by: Sequence[str] = (),
) -> pl.DataFrame:
    """One row about tallies of groups and their matches; the columns are those of ``BacktestResult.summary``.

    With ``by=["stratum"]``, a number from 0 in both, there is one row for each stratum, in their order; every stratum
    has groups.
    """
    counted = aggregated(
        groups,
        by,
        pl.len().cast(pl.Int64).alias("groups"),
        pl.col("project_id").n_unique().cast(pl.Int64).alias("projects"),
        series_weeks(),
        pl.col("alerts", "duplicates", "unjudged", "events", "events_caught", "false_alarms").sum(),
    )
    ratios = _ratios(groups, cluster, by, counted.height)
    row = pl.concat(
        [
            counted.select(
                *(pl.lit(float(value)).alias(name) for name, value in result.thresholds.to_dict().items()),
                pl.lit(result.thresholds.digest).alias("digest"),
                pl.all().exclude(by),
            ),
            ratios.drop("note"),
            _independent(counted),
            _delays(result, matches, cluster, by, counted.height),
            _per_project_day(result, groups, by),
            ratios.select(
                "note",
                buckets=pl.lit(result.buckets),
                every=pl.lit(result.policy.every),
                offset=pl.lit(result.policy.offset),
                policy=pl.lit(result.policy.name),
                matching=pl.lit(str(result.matching)),
            ),
        ],
        how="horizontal",
    )
    return row if result.labelled else row.with_columns(pl.lit(None, row.schema[name]).alias(name) for name in _UNKNOWN)


def _ratios(groups: pl.DataFrame, cluster: Sequence[str], by: Sequence[str], strata: int) -> pl.DataFrame:
    """Headline ratios with their cluster intervals, macro after micro; notes of the micro ones."""
    ratios = [one for ratio in HEADLINE for one in (ratio, ratio.macro())]
    rows: list[dict[str, float | None]] = [{} for _ in range(strata)]
    notes: list[list[str]] = [[] for _ in range(strata)]
    found = ratio_intervals(groups, ratios, cluster=cluster, by=by)
    for *stratum, name, estimate, low, high, _, note in found.iter_rows():
        at = stratum[0] if by else 0
        rows[at] |= dict(zip((f"{name}{end}" for end in _ENDS), (estimate, low, high), strict=True))
        if note and not name.endswith("_macro"):
            notes[at].append(f"{name.replace('_', ' ')}: {note}")
    told = pl.Series("note", [". ".join(some) or None for some in notes], dtype=pl.String)
    return pl.DataFrame(rows, dict.fromkeys(_RATIOS, pl.Float64)).with_columns(told)


def _independent(counted: pl.DataFrame) -> pl.DataFrame:
    """What the interval of the rate of false alarms would be if they came independently of each other."""
    ends = poisson_interval(counted["false_alarms"].to_numpy(), counted["series_weeks"].to_numpy())
    return pl.DataFrame(dict(zip(_POISSON, ends, strict=True))).fill_nan(None)


def _delays(
    result: "BacktestResult", matches: pl.DataFrame, cluster: Sequence[str], by: Sequence[str], strata: int
) -> pl.DataFrame:
    """How late escalations were caught, and how soon alerts stopped after them."""
    event = [*KEY, "escalated_at"]
    of = matches.with_columns(stratum=by[0] if by else pl.lit(0))
    resets = reset_times(matches, result.crossings, result.exposure).filter(pl.col("hours").is_not_null())
    parts = of.partition_by("stratum", as_dict=True)
    calm = resets.join(of.select(*event, "stratum"), on=event).partition_by("stratum", as_dict=True)
    rows = []
    for stratum in range(strata):
        delays = delay_intervals(parts.get((stratum,), matches.clear()), cluster=cluster, hours=WITHIN_HOURS)
        reset = median_time(calm.get((stratum,), resets.clear()))["median_hours"].item()
        ends = delays.head(2).select("estimate", "low", "high").rows()
        rows.append((*ends[0], *ends[1], *delays["estimate"][2:], reset))
    return pl.DataFrame(rows, dict.fromkeys(_DELAYS, pl.Float64), orient="row")


def _per_project_day(result: "BacktestResult", groups: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Alerts on a day of a project; one whose groups lie in several strata is one in each."""
    parts = groups.select(*by, "project_id").unique().with_row_index("part")
    numbers = groups.select(*KEY, *by).join(parts, on=[*by, "project_id"]).select(*KEY, "part")
    alerts, exposure = (
        frame.join(numbers, on=KEY).with_columns(project_id="part") for frame in (result.alerts, result.exposure)
    )
    days = burden(alerts, exposure).join(parts.select("part", *by), left_on="project_id", right_on="part")
    return aggregated(days, by, alerts_per_project_day()).drop(by)
