"""What a backtest found: frames to go on with, and their summary."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import polars as pl

from issue_analytics.backtest.policy import Matching, Policy
from issue_analytics.backtest.summary import OF_ALERTS, Cluster, cluster_columns, summarise
from issue_analytics.counts import HOUR
from issue_analytics.errors import SettingsError
from issue_analytics.explain import Explanation, explain
from issue_analytics.frames import KEY
from issue_analytics.kernel import Buckets
from issue_analytics.scores import group_days, mark_small, pool_small
from issue_analytics.scores.strata import VOLUMES
from issue_analytics.thresholds import PUBLISHED, FormulaConstants, ThresholdVariables

__all__ = ["VOLUMES", "BacktestResult"]

_COUNTED: Final = ("alerts", "duplicates", "unjudged", "false_alarms", "events", "events_caught")
"""Columns of groups that a summary has itself: it cannot be told by them too."""


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

    def summary(self, *, cluster: Cluster = "group") -> pl.DataFrame:
        """One row: what was judged, the scores, and how sure they are; undefined is null.

        Columns: the five thresholds, ``digest``; ``groups``, ``projects``, ``series_weeks`` (quiet); ``alerts``,
        ``duplicates``, ``unjudged``, ``events``, ``events_caught``, ``false_alarms``; ``precision``, ``recall`` and
        ``false_alarms_per_series_week``, each with ``_low`` and ``_high`` (95 %, by
        :func:`~issue_analytics.scores.ratio_intervals`), and again with ``_macro``, where every group weighs the same;
        ``false_alarms_per_series_week_poisson_low`` and ``_high``, exact, if false alarms came independently;
        ``median_delay_hours`` and ``mean_delay_hours`` (restricted to 24 h) with ``_low`` and ``_high`` (95 %, by
        :func:`~issue_analytics.scores.delay_intervals`); ``caught_within_1h``, ``_3h``, ``_6h``, ``_24h``;
        ``median_reset_hours`` of those caught; ``alerts_per_project_day``; ``note`` (what to be careful of, such as too
        few clusters); ``buckets``,
        ``every``, ``offset``, ``policy``, ``matching``.

        Args:
            cluster: what falls together in the intervals of ratios: the alerts and escalations of a group, or of all
                groups of a project.

        Raises:
            SettingsError: ``cluster`` is neither.
        """
        return summarise(self, self.groups, self.matches, cluster_columns(cluster))

    def summary_by(self, column: str, *, cluster: Cluster = "group", pool: bool = False) -> pl.DataFrame:
        """The columns of :meth:`summary` for each value of a column of ``groups``, and whether that is ``too_few``.

        Strata such as ``"volume"`` or ``"branch"`` are told from what came before a group was first judged. Of
        ``"provenance"``, which belongs to escalations and not to groups, nothing is said about alerts.

        Args:
            column: of ``groups``, but for what the summary counts itself, or ``"provenance"``.
            cluster: as in :meth:`summary`.
            pool: put values of fewer than 10 escalations together as ``other``, see
                :func:`~issue_analytics.scores.pool_small`; for projects and types, which may be many.

        Returns:
            One row per value, sorted: the value, ``too_few`` (it has fewer than 10 escalations), and the summary.

        Raises:
            SettingsError: there is no such column, or no such ``cluster``.
        """
        keys = cluster_columns(cluster)
        if column == "provenance":
            return self._by_provenance(keys, pool=pool)
        known = [name for name in self.groups.columns if name not in _COUNTED]
        if column not in known:
            raise SettingsError(f"no column {column} in groups to sum up by. There are: {', '.join(known)}.")
        values = (pool_small(self.groups, column) if pool else self.groups)[column]
        strata, numbers = _numbered(values)
        groups = self.groups.with_columns(numbers)
        matches = self.matches.join(groups.select(*KEY, "stratum"), on=KEY)
        return _beside(strata, summarise(self, groups, matches, keys, ["stratum"]))

    def _by_provenance(self, keys: Sequence[str], *, pool: bool) -> pl.DataFrame:
        every = self.matches
        if pool:
            every = pool_small(every.with_columns(events=pl.lit(1)), "provenance").drop("events")
        strata, numbers = _numbered(every["provenance"])
        matches = every.with_columns(numbers)
        mine = matches.group_by(*KEY, "stratum").agg(
            events=pl.len().cast(pl.Int64), events_caught=pl.col("caught_hour").count().cast(pl.Int64)
        )
        groups = (
            self.groups.drop("events", "events_caught")
            .join(strata.select("stratum"), how="cross")
            .join(mine, on=[*KEY, "stratum"], how="left")
            .with_columns(pl.col("events", "events_caught").fill_null(0))
        )
        rows = summarise(self, groups, matches, keys, ["stratum"])
        return _beside(strata, rows.with_columns(pl.lit(None, rows.schema[name]).alias(name) for name in OF_ALERTS))

    def days(self) -> pl.DataFrame:
        """What became of each limit: one row per group, UTC day and limit in force.

        See :func:`~issue_analytics.scores.group_days`; calibration is computed from it.
        """
        return group_days(self.exposure, self.limits, self.counts, self.crossings)

    def explain(
        self, group_id: int, at: datetime, *, project_id: int | None = None, constants: FormulaConstants = PUBLISHED
    ) -> Explanation:
        """Explain an hour by the limit that judged it, see :func:`~issue_analytics.explain.explain`.

        Args:
            group_id: the group.
            at: a moment in the hour; the exact start of an escalation stands for its busiest judged hour, which is the
                ``peak_hour`` of ``matches``.
            project_id: needed where ids of groups in several projects collide.
            constants: the constants of the formula, if the backtest was given any.

        Raises:
            SettingsError: ``at`` has no zone, the group is unknown, or its id stands in several projects.
        """
        known = self.escalations.with_columns(
            pl.col("ended_at").fill_null(pl.col("escalated_at") + timedelta(hours=self.matching.open_hours))
        )
        found = partial(
            explain, self.counts, group_id, project_id=project_id, thresholds=self.thresholds, buckets=self.buckets,
            limits=self.limits, escalations=known, exposure=self.exposure, constants=constants,
        )  # fmt: skip
        first = found(at)
        # a limit made within the hour, on archive, may be the one that fired
        fired = self.crossings.filter(project_id=first.project_id, group_id=first.group_id, hour=first.hour)
        if self.policy.lifecycle and not fired.is_empty() and fired.row(0, named=True)["limit"] != first.limit:
            return found(first.hour + HOUR - timedelta(microseconds=1))
        return first

    def __repr__(self) -> str:
        weeks = self.groups["exposed_hours"].sum() / 168
        return (
            f"BacktestResult({self.thresholds}, {self.policy.schedule}, buckets={self.buckets}: "
            f"{self.groups.height} groups, {weeks:.1f} series-weeks exposed, {self.alerts.height} alerts, "
            f"{self.matches.height} events)"
        )


def _numbered(values: pl.Series) -> tuple[pl.DataFrame, pl.Series]:
    """Distinct values in order, with their number as ``stratum``, and the number of each value."""
    strata = values.unique().sort().to_frame().select(stratum=pl.int_range(pl.len()), value=values.name)
    number = values.alias("value").to_frame().join(strata, on="value", nulls_equal=True, maintain_order="left")
    return strata.rename({"value": values.name}), number["stratum"]


def _beside(strata: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Each value with the row about it, and whether that rests on too few escalations."""
    marked = mark_small(rows)
    value = strata.drop("stratum")
    return pl.concat([value, marked.select("too_few"), marked.drop("too_few")], how="horizontal")
