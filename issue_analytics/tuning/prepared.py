"""The past, prepared once so that any setting is judged in no time."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from issue_analytics.backtest import EVERY_HOUR, Matching, Policy
from issue_analytics.backtest.judged import past, watched_spans, within
from issue_analytics.backtest.matching import watched_to_the_end, windows_of
from issue_analytics.backtest.spans import Silence
from issue_analytics.backtest.summary import Cluster, cluster_columns
from issue_analytics.backtest.tally import judged_hours
from issue_analytics.counts import HOUR, hours_in
from issue_analytics.errors import SettingsError
from issue_analytics.forecast import window_statistics
from issue_analytics.frames import KEY, RULES
from issue_analytics.kernel import Buckets
from issue_analytics.scores import ALERTS_PER_SERIES_WEEK, HEADLINE, Ratio, burden, strata
from issue_analytics.thresholds import PUBLISHED, STANDARD, FormulaConstants, ThresholdVariables
from issue_analytics.tuning.binding import binding
from issue_analytics.tuning.curve import curve
from issue_analytics.tuning.engine import Events, Outcome, evaluate, tallied
from issue_analytics.tuning.hours import Hours, hours_over, limits_from
from issue_analytics.tuning.settings import VARIABLES, array_of, as_frame, as_settings, digests_of
from issue_analytics.tuning.tallies import Tallies

__all__ = ["Prepared", "prepare", "sweep"]

_LOOSEST: Final = ThresholdVariables(0, 2, 2, 1, 1)
"""Hours over these limits are kept; looser settings are looked for anew when first asked for."""

_ALERTS_PER_PROJECT_DAY: Final = Ratio("alerts_per_project_day", pl.col("alerts"), pl.col("days"))

_COUNTED: Final = ("alerts", "duplicates", "unjudged", "false_alarms", "events_caught")
_TRUTH: Final = (
    *("duplicates", "unjudged", "false_alarms", "precision", "recall", "false_alarms_per_series_week"),
    "median_delay_hours",
)
"""Null where nothing is known to be true."""


def prepare(
    counts: pl.DataFrame | pl.LazyFrame,
    escalations: pl.DataFrame | pl.LazyFrame | None = None,
    *,
    exposure: pl.DataFrame | pl.LazyFrame | None = None,
    silence: Silence = "implied",
    policy: Policy = EVERY_HOUR,
    buckets: Buckets = "sparse",
    matching: Matching | None = None,
    first_seen: pl.DataFrame | pl.LazyFrame | None = None,
    leave_out: pl.DataFrame | pl.LazyFrame | None = None,
    types: pl.DataFrame | pl.LazyFrame | None = None,
    constants: FormulaConstants = PUBLISHED,
    history_hours: int | None = None,
) -> "Prepared":
    """Reduce a history to what thresholds act on: once, and then any number of settings cost next to nothing.

    A limit is made of a few statistics of its window, whatever the thresholds, and only hours over the loosest limits
    can fire at all.

    Args:
        counts: contract ``HourlyCounts``.
        escalations: contract ``Escalations``; None where nothing is known.
        exposure: as in :func:`~issue_analytics.backtest.judge.backtest`; so are ``silence`` and all that follow.
        silence: what a missing hour means.
        policy: when limits are refreshed; one without a lifecycle, because there who is watched depends on the setting.
        buckets: ``"sparse"`` or ``"dense"``.
        matching: when an alert and an escalation are about the same thing.
        first_seen: group_id, first_seen.
        leave_out: project_id, group_id: groups that are not judged.
        types: project_id, group_id, type.
        constants: the constants of the formula.
        history_hours: hours of data before the first hour that is judged, if more than the window; so that constants
            with different windows are judged on the same hours.

    Raises:
        FrameError: a frame breaks its contract, or the counts are too short to judge a single hour.
        SettingsError: a setting makes no sense, or the policy has a lifecycle.

    >>> from issue_analytics.simulate import simulate
    >>> sim = simulate(groups=40, days=21, seed=7)
    >>> prepared = prepare(sim.hourly_counts, sim.escalations, buckets="dense")
    >>> prepared.sweep([ThresholdVariables(), ThresholdVariables(5, 5, 8, 1.5, 5)])["events_caught"].to_list()
    [1, 1]
    """
    if policy.lifecycle:
        raise SettingsError(
            f"policy: {policy.name!r} replays the lifecycle, where who is watched depends on the setting; a sweep "
            "needs one without, such as EVERY_HOUR. Replay single settings with backtest()."
        )
    matching = matching or Matching()
    hours = max(history_hours or 0, constants.window_hours)
    known = past(counts, escalations, exposure=exposure, leave_out=leave_out, policy=policy, history_hours=hours)
    judged = within(known, watched_spans(known, silence, policy, hours))
    statistics = window_statistics(
        judged.history,
        policy.moments(known.first, known.end),
        buckets=buckets,
        days=policy.days,
        first_seen=first_seen,
        constants=constants,
    )
    windows = windows_of(known.escalations, judged.spans, matching)
    standard = _limit_rows(statistics, STANDARD, constants)
    exposed = judged_hours(judged.spans, windows).sort(KEY)
    kinds = strata(judged.history, judged.spans, standard, first_seen, types)
    events = watched_to_the_end(windows, judged.spans).sort(*KEY, "escalated_at")
    number = events.group_by(KEY).agg(events=pl.len().cast(pl.Int64))
    groups = (
        kinds.join(exposed, on=KEY, how="left")
        .join(number, on=KEY, how="left")
        .with_columns(pl.col("events").fill_null(0))
        .sort(KEY)
    )
    days = burden(judged.watched.clear().with_columns(verdict=pl.lit("false")), judged.spans)
    return Prepared(
        policy=policy,
        buckets=buckets,
        matching=matching,
        constants=constants,
        labelled=known.labelled,
        counts=known.counts,
        exposure=judged.spans,
        watched=judged.watched,
        statistics=statistics,
        groups=groups,
        escalations=known.escalations,
        windows=windows,
        events=events,
        project_days=days.group_by("project_id").agg(days=pl.len().cast(pl.Int64)).sort("project_id"),
    )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Prepared:
    """A history reduced to what thresholds act on; see :func:`prepare`.

    Attributes:
        policy: when limits are refreshed.
        buckets: ``"sparse"`` or ``"dense"``.
        matching: when an alert and an escalation are about the same thing.
        constants: of the formula.
        labelled: whether escalations were given.
        counts: contract ``HourlyCounts``.
        exposure: contract ``Exposure``: the judged hours.
        watched: contract ``HourlyCounts``: those within the exposure.
        statistics: a row per group, refresh and day: what its limit is made of, see
            :func:`~issue_analytics.forecast.window_statistics`.
        groups: a row per judged group: ``volume``, ``variation``, ``age``, ``branch`` (under the standard thresholds)
            and ``type``, ``exposed_hours``, ``quiet_hours``, ``events``.
        escalations: contract ``Escalations``.
        windows: the time in which an alert is about each escalation.
        events: judged escalations, and how long each was watched.
        project_days: days on which each project had a judged hour.
    """

    policy: Policy
    buckets: Buckets
    matching: Matching
    constants: FormulaConstants
    labelled: bool
    counts: pl.DataFrame
    exposure: pl.DataFrame
    watched: pl.DataFrame
    statistics: pl.DataFrame
    groups: pl.DataFrame
    escalations: pl.DataFrame
    windows: pl.DataFrame
    events: pl.DataFrame
    project_days: pl.DataFrame
    _found: list[tuple[ThresholdVariables, Hours]] = field(default_factory=list, init=False)

    def sweep(
        self, settings: "pl.DataFrame | Iterable[ThresholdVariables]", *, progress: bool | None = None
    ) -> pl.DataFrame:
        """Judge every setting exactly as :func:`~issue_analytics.backtest.judge.backtest` would.

        Args:
            settings: thresholds, or a frame with the five variables, such as ``ThresholdVariables.grid()`` makes.
            progress: None shows a bar if it takes more than two seconds, False never.

        Returns:
            A row per setting, in their order: the five variables, ``digest``; ``groups``, ``projects``,
            ``series_weeks`` (quiet); ``alerts``, ``duplicates``, ``unjudged``, ``events``, ``events_caught``,
            ``false_alarms``; ``precision``, ``recall``, ``false_alarms_per_series_week``, ``median_delay_hours``,
            ``alerts_per_series_week``, ``alerts_per_project_day``; ``buckets``, ``every``, ``offset``, ``policy``,
            ``matching``. Undefined is null. Columns are those of ``BacktestResult.summary``.

        Raises:
            SettingsError: there is no setting, or one is none; the message says which row.
        """
        values = as_settings(settings)
        with _bar(len(values), progress) as bar:
            outcome = evaluate(
                self.hours(values),
                self._events(),
                values,
                merge_hours=timedelta(hours=self.matching.merge_hours) // HOUR,
                one_to_one=self.matching.pairing == "one_to_one",
                advance=bar.update,
            )
        return self._table(values, outcome)

    def tallies(
        self, settings: "pl.DataFrame | Iterable[ThresholdVariables]", *, cluster: Cluster = "group"
    ) -> Tallies:
        """Count alerts, false alarms and escalations caught of every setting in every cluster.

        Args:
            settings: as in :meth:`sweep`; memory grows with settings times clusters.
            cluster: ``"group"`` or ``"project"``.

        Raises:
            SettingsError: ``cluster`` is neither, or a setting is none.
        """
        values, keys = as_settings(settings), cluster_columns(cluster)
        owners = self.groups.select(*keys, pl.col("events", "exposed_hours", "quiet_hours"))
        clusters = owners.group_by(keys, maintain_order=True).agg(pl.all().sum())
        place = owners.join(clusters.select(*keys, place=pl.int_range(pl.len())), on=keys, how="left")["place"]
        alerts, false, caught = tallied(
            self.hours(values),
            self._events(),
            values,
            place.to_numpy(),
            clusters.height,
            merge_hours=timedelta(hours=self.matching.merge_hours) // HOUR,
            one_to_one=self.matching.pairing == "one_to_one",
        )
        share = pl.col("exposed_hours") / pl.col("exposed_hours").sum().over("project_id")
        days = clusters.join(self.project_days, on="project_id", how="left", maintain_order="left")
        return Tallies(
            clusters=clusters.select(keys),
            events=clusters["events"].to_numpy(),
            exposed_hours=clusters["exposed_hours"].to_numpy(),
            quiet_hours=clusters["quiet_hours"].to_numpy(),
            alerts=alerts,
            false_alarms=false,
            events_caught=caught,
            project_days=days.select(pl.col("days") * share).to_series().to_numpy(),
        )

    def binding(self, thresholds: ThresholdVariables = STANDARD, *, by: str | None = None) -> pl.DataFrame:
        """On how many limits each variable is the active term; see :func:`~issue_analytics.tuning.binding.binding`.

        Args:
            thresholds: the setting looked at.
            by: a stratum to tell apart, such as ``"volume"``.

        Raises:
            SettingsError: ``by`` is no stratum.
        """
        return binding(self, thresholds, by=by)

    def curve(
        self,
        *variables: str,
        thresholds: ThresholdVariables = STANDARD,
        low: float | None = None,
        high: float | None = None,
    ) -> pl.DataFrame:
        """The exact curve along one variable or two; see :func:`~issue_analytics.tuning.curve.curve`.

        Args:
            *variables: one or two of the five.
            thresholds: the others.
            low: where the curve begins.
            high: where it ends.

        Raises:
            SettingsError: a variable is unknown, the range is empty, or there are more than two million cells.
        """
        return curve(self, *variables, thresholds=thresholds, low=low, high=high)

    def limits(
        self, thresholds: ThresholdVariables, *, group_id: int | None = None, project_id: int | None = None
    ) -> pl.DataFrame:
        """Limits of all groups, or of one, under a setting: contract ``Limits``, as the backtest makes them."""
        rows = self.statistics
        for name, value in (("group_id", group_id), ("project_id", project_id)):
            if value is not None:
                rows = rows.filter(pl.col(name) == value)
        return _limit_rows(rows, thresholds, self.constants)

    def __repr__(self) -> str:
        weeks = self.groups["exposed_hours"].sum() / 168
        return (
            f"Prepared({self.policy.schedule}, buckets={self.buckets}: {self.groups.height} groups, {weeks:.1f} "
            f"series-weeks exposed, {self.events.height} events, {self.statistics.height:,} limits)"
        )

    def hours(self, values: NDArray[np.float64]) -> Hours:
        """Hours that could fire under any of the settings (rows of five), from what was found before if it can be."""
        least = values.min(axis=0)
        for known, hours in self._found:
            if np.all(array_of(known) <= least):
                return hours
        wider = ThresholdVariables(*np.minimum(least, array_of(_LOOSEST)).tolist())
        hours = hours_over(
            wider,
            self.watched,
            self.statistics,
            self.groups.select(*KEY, group=pl.int_range(pl.len())),
            self.exposure,
            self.windows,
            self.events.select(*KEY, "escalated_at", event=pl.int_range(pl.len())),
            self.constants,
        )
        self._found[:] = [(wider, hours)]
        return hours

    def _events(self) -> Events:
        group = self.events.join(
            self.groups.select(*KEY, group=pl.int_range(pl.len())), on=KEY, how="left", maintain_order="left"
        )["group"]
        left = pl.when("cut_off").then(hours_in(pl.col("watched_until") - pl.col("escalated_at")))
        return Events(group.to_numpy(), self.events.select(left.fill_null(float("inf"))).to_series().to_numpy())

    def _table(self, values: NDArray[np.float64], outcome: Outcome) -> pl.DataFrame:
        frame = as_frame(values).with_columns(pl.Series(name, getattr(outcome, name)) for name in _COUNTED)
        sums = self.groups.select(pl.col("exposed_hours", "quiet_hours", "events").sum()).row(0, named=True)
        sums["days"] = self.project_days["days"].sum()
        table = frame.with_columns(
            digest=digests_of(values),
            groups=pl.lit(self.groups.height, pl.Int64),
            projects=pl.lit(self.groups["project_id"].n_unique(), pl.Int64),
            series_weeks=pl.lit(sums["quiet_hours"] / 168),
            # as columns of their own: by a literal polars divides in another way, which differs in the last bit
            **{name: np.full(len(values), value, dtype=np.int64) for name, value in sums.items()},
            median_delay_hours=pl.Series(outcome.median_delay).fill_nan(None),
            buckets=pl.lit(self.buckets),
            every=pl.lit(self.policy.every),
            offset=pl.lit(self.policy.offset),
            policy=pl.lit(self.policy.name),
            matching=pl.lit(str(self.matching)),
        ).with_columns(ratio.by_row() for ratio in (*HEADLINE, ALERTS_PER_SERIES_WEEK, _ALERTS_PER_PROJECT_DAY))
        if not self.labelled:
            table = table.with_columns(pl.lit(None, table.schema[name]).alias(name) for name in _TRUTH)
        return table.select(
            *VARIABLES,
            *("digest", "groups", "projects", "series_weeks", "alerts", "duplicates", "unjudged", "events"),
            *("events_caught", "false_alarms", "precision", "recall", "false_alarms_per_series_week"),
            *("median_delay_hours", "alerts_per_series_week", "alerts_per_project_day"),
            *("buckets", "every", "offset", "policy", "matching"),
        )


def sweep(
    counts: pl.DataFrame | pl.LazyFrame,
    escalations: pl.DataFrame | pl.LazyFrame | None,
    settings: "pl.DataFrame | Iterable[ThresholdVariables]",
    *,
    constants: FormulaConstants | Sequence[FormulaConstants] = PUBLISHED,
    progress: bool | None = None,
    **options: Any,
) -> pl.DataFrame:
    """Judge every setting exactly, and give a row for each: :func:`prepare` and then :meth:`Prepared.sweep`.

    Args:
        counts: contract ``HourlyCounts``.
        escalations: contract ``Escalations``; None where nothing is known.
        settings: thresholds, or a frame with the five variables, such as ``ThresholdVariables.grid()`` makes.
        constants: of the formula; or several, to vary them as well: all are judged on the same hours.
        progress: as in :meth:`Prepared.sweep`.
        **options: those of :func:`prepare`.

    Returns:
        As :meth:`Prepared.sweep`; with several constants the settings under each of them in turn, and columns
        ``bursty_amplitude``, ``bursty_rate``, ``new_multiplier``, ``window_hours``, ``weekday_weight`` in front.

    Raises:
        FrameError: a frame breaks its contract.
        SettingsError: a setting makes no sense.

    >>> from issue_analytics.simulate import simulate
    >>> sim = simulate(groups=40, days=21, seed=7)
    >>> grid = ThresholdVariables.grid(min_bursty_multiplier=[1.5, 2, 3])
    >>> table = sweep(sim.hourly_counts, sim.escalations, grid, buckets="dense")
    >>> table.select("min_bursty_multiplier", "alerts").rows()
    [(1.5, 11), (2.0, 4), (3.0, 2)]
    """
    if isinstance(constants, FormulaConstants):
        return prepare(counts, escalations, constants=constants, **options).sweep(settings, progress=progress)
    every = list(constants)
    if not every:
        raise SettingsError("constants: there are none.")
    frame = as_frame(as_settings(settings))
    hours = max(one.window_hours for one in every)
    parts = []
    for one in every:
        prepared = prepare(counts, escalations, constants=one, history_hours=hours, **options)
        told = [pl.lit(value).alias(name) for name, value in asdict(one).items()]
        parts.append(prepared.sweep(frame, progress=progress).select(*told, pl.all()))
    return pl.concat(parts, how="vertical_relaxed")


def _limit_rows(statistics: pl.DataFrame, thresholds: ThresholdVariables, constants: FormulaConstants) -> pl.DataFrame:
    """Contract ``Limits`` of rows of window statistics."""
    limit, rule = limits_from(statistics, thresholds, constants)
    return statistics.select(
        *KEY,
        "date",
        limit=pl.when(pl.col("busiest") > 0).then(pl.Series(limit)),
        rule=pl.Series(rule).cast(pl.UInt32).replace_strict(dict(enumerate(RULES)), return_dtype=pl.Enum(RULES)),
        as_of="as_of",
    )


def _bar(total: int, progress: bool | None) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="sweep", unit="setting", delay=2, leave=False, disable=progress is False)
