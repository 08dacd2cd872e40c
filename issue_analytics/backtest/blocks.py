"""Tallies by group and block of time: what an outage that hits many groups at once is one draw of."""

from datetime import timedelta
from typing import Final

import polars as pl

from issue_analytics.backtest.matching import windows_of
from issue_analytics.backtest.policy import duration
from issue_analytics.backtest.result import BacktestResult
from issue_analytics.backtest.spans import whole_hours
from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY

__all__ = ["block_tallies"]

_TALLIED: Final = ("alerts", "duplicates", "unjudged", "false_alarms", "events", "events_caught")


def block_tallies(result: BacktestResult, every: str = "1w") -> pl.DataFrame:
    """Tally a result by group and block of time, so that blocks can be resampled beside groups.

    Alerts belong to the block they began in, escalations to the one they were labelled in. Summed over its blocks a
    group has the tallies of ``result.groups``. Blocks should be longer than the longest escalation; with fewer than
    some ten of them their resampling tells little.

    Args:
        result: of a backtest.
        every: length of a block, as polars truncates times: ``"1w"`` begins on Mondays.

    Returns:
        One row per judged group and block in which it was exposed: ``project_id``, ``group_id``, ``block`` (its start),
        ``exposed_hours``, ``quiet_hours``, ``alerts``, ``duplicates``, ``unjudged``, ``false_alarms`` (these three null
        if the result is not ``labelled``), ``events``, ``events_caught``.

    Raises:
        SettingsError: ``every`` is no duration.
    """
    if not duration("every", every):
        raise SettingsError(f"every: {every!r} is no length of a block.")
    pieces = _cut(result.exposure, every)
    windows = windows_of(result.escalations, result.exposure, result.matching)
    busy = whole_hours(windows.select(*KEY, start="opens", end="closes"))
    busy_hours = (
        pieces.join(busy.rename({"start": "opens", "end": "closes"}), on=KEY)
        .with_columns(hours=pl.min_horizontal("end", "closes") - pl.max_horizontal("start", "opens"))
        .filter(pl.col("hours") > timedelta(0))
        .group_by(*KEY, "block")
        .agg(busy_hours=pl.col("hours").dt.total_hours().sum())
    )
    verdict = pl.col("verdict")
    alerts = result.alerts.group_by(*KEY, block=pl.col("hour").dt.truncate(every)).agg(
        alerts=pl.len().cast(pl.Int64),
        duplicates=(verdict == "duplicate").sum().cast(pl.Int64),
        unjudged=(verdict == "unjudged").sum().cast(pl.Int64),
        false_alarms=(verdict == "false").sum().cast(pl.Int64),
    )
    events = result.matches.group_by(*KEY, block=pl.col("escalated_at").dt.truncate(every)).agg(
        events=pl.len().cast(pl.Int64), events_caught=pl.col("caught_hour").count().cast(pl.Int64)
    )
    exposed = pieces.group_by(*KEY, "block").agg(exposed_hours=(pl.col("end") - pl.col("start")).dt.total_hours().sum())
    tallies = exposed
    for part in (busy_hours, alerts, events):
        tallies = tallies.join(part, on=[*KEY, "block"], how="left")
    tallies = (
        tallies.with_columns(pl.col("busy_hours", *_TALLIED).fill_null(0))
        .with_columns(quiet_hours=pl.col("exposed_hours") - pl.col("busy_hours"))
        .select(*KEY, "block", "exposed_hours", "quiet_hours", *_TALLIED)
        .sort(*KEY, "block")
    )
    if result.labelled:
        return tallies
    unknown = ("duplicates", "unjudged", "false_alarms")
    return tallies.with_columns(pl.lit(None, pl.Int64).alias(name) for name in unknown)


def _cut(exposure: pl.DataFrame, every: str) -> pl.DataFrame:
    """Cut spans where blocks meet."""
    last = pl.col("end") - timedelta(microseconds=1)
    return (
        exposure.select(*KEY, "start", "end", block=pl.datetime_ranges(pl.col("start").dt.truncate(every), last, every))
        .explode("block")
        .with_columns(
            start=pl.max_horizontal("start", "block"),
            end=pl.min_horizontal("end", pl.col("block").dt.offset_by(every)),
        )
    )
