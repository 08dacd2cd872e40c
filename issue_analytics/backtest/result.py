"""What a backtest found: frames to go on with, and their summary."""

from dataclasses import dataclass

import polars as pl

from issue_analytics.backtest.policy import Matching, Policy
from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY
from issue_analytics.kernel import Buckets
from issue_analytics.scores import (
    false_alarms_per_series_week,
    median_delay_hours,
    precision,
    recall,
    series_weeks,
)
from issue_analytics.scores.strata import VOLUMES
from issue_analytics.thresholds import ThresholdVariables

__all__ = ["VOLUMES", "BacktestResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestResult:
    """One setting judged on one history.

    Attributes:
        thresholds: the five thresholds.
        policy: how limits were refreshed.
        buckets: whether silent hours were points.
        matching: when an alert and an escalation are about the same thing.
        counts: contract ``HourlyCounts``, as given: what was judged and the history before it.
        exposure: contract ``Exposure``: the judged spans, whole hours, not overlapping.
        escalations: contract ``Escalations``, as given, judged or not.
        left_out: project_id, group_id of groups with counts that were left out on purpose; ``counts``, ``exposure`` and
            ``escalations`` are without them.
        labelled: whether escalations were given at all; if not, alerts are burden and cannot be right or wrong.
        limits: contract ``Limits``: made on schedule, for the groups judged.
        crossings: contract ``Alerts``: every judged hour over its limit.
        alerts: contract ``Alerts``, one row per alert (crossings near each other are one; it ends with its exposed
            span, and where an escalation's time begins or ends), with ``last_hour``, ``crossings`` (hours over the
            limit), ``peak`` (largest count) and ``verdict``: ``caught`` (first to meet a judged escalation),
            ``duplicate`` (met one that was caught already), ``unjudged`` (met only escalations that began outside
            judged hours) or ``false``; null if not ``labelled``.
        matches: contract ``Matches``: one row per judged escalation (it began in a judged hour).
        groups: one row per judged group: ``project_id``, ``group_id``; ``volume``, ``variation``, ``age``, ``branch``
            and ``type``, told from before it was first judged, see :func:`~issue_analytics.scores.strata.strata`;
            ``occurrences`` (in judged hours), ``exposed_hours``, ``quiet_hours`` (exposed and outside every
            escalation), ``days_new``, ``days_bursty``, ``days_spike``, ``days_fallback``, ``days_none`` (judged days by
            the branch of their limit), ``alerts``, ``duplicates``, ``unjudged``, ``false_alarms`` (these three null if
            not ``labelled``), ``events``, ``events_caught``.
    """

    thresholds: ThresholdVariables
    policy: Policy
    buckets: Buckets
    matching: Matching
    counts: pl.DataFrame
    exposure: pl.DataFrame
    escalations: pl.DataFrame
    left_out: pl.DataFrame
    labelled: bool
    limits: pl.DataFrame
    crossings: pl.DataFrame
    alerts: pl.DataFrame
    matches: pl.DataFrame
    groups: pl.DataFrame

    def summary(self) -> pl.DataFrame:
        """One row: the five thresholds, ``digest``, what was judged, and the scores; undefined is null."""
        return self._score(self.groups, self.matches)

    def summary_by(self, column: str) -> pl.DataFrame:
        """The columns of :meth:`summary` for each value of a column of ``groups``, such as ``"volume"``.

        Raises:
            SettingsError: there is no such column.
        """
        if column not in self.groups.columns:
            raise SettingsError(f"no column {column} in groups. There are: {', '.join(self.groups.columns)}.")
        nothing = self._score(self.groups.clear(), self.matches.clear()).clear()
        parts = [nothing.insert_column(0, self.groups[column].clear())]
        for value in self.groups[column].unique().sort():
            groups = self.groups.filter(pl.col(column).eq_missing(value))
            matches = self.matches.join(groups.select(KEY), on=KEY, how="semi")
            parts.append(self._score(groups, matches).insert_column(0, groups[column].head(1)))
        return pl.concat(parts)

    def _score(self, groups: pl.DataFrame, matches: pl.DataFrame) -> pl.DataFrame:
        setting = {name: float(value) for name, value in self.thresholds.to_dict().items()}
        scores = groups.select(
            **{name: pl.lit(value) for name, value in setting.items()},
            digest=pl.lit(self.thresholds.digest),
            groups=pl.len().cast(pl.Int64),
            series_weeks=series_weeks(),
            alerts=pl.col("alerts").sum(),
            events=pl.col("events").sum(),
            events_caught=pl.col("events_caught").sum(),
            precision=precision(),
            recall=recall(),
            false_alarms=pl.col("false_alarms").sum(),
            false_alarms_per_series_week=false_alarms_per_series_week(),
            median_delay_hours=pl.lit(median_delay_hours(matches), dtype=pl.Float64),
            duplicates=pl.col("duplicates").sum(),
            unjudged=pl.col("unjudged").sum(),
            buckets=pl.lit(self.buckets),
            every=pl.lit(self.policy.every),
            policy=pl.lit(self.policy.name),
        )
        if self.labelled:
            return scores
        return scores.with_columns(
            pl.lit(None, dtype=scores.schema[name]).alias(name)
            for name in (
                "precision",
                "recall",
                "false_alarms",
                "false_alarms_per_series_week",
                "duplicates",
                "unjudged",
            )
        )

    def __repr__(self) -> str:
        weeks = self.groups["exposed_hours"].sum() / 168
        return (
            f"BacktestResult({self.thresholds}, {self.policy.schedule}, buckets={self.buckets}: "
            f"{self.groups.height} groups, {weeks:.1f} series-weeks exposed, {self.alerts.height} alerts, "
            f"{self.matches.height} events)"
        )
