"""What users would have seen: the tracker's rules played over the past, for all groups at once."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from issue_analytics.backtest.clock import NAMES, Clock
from issue_analytics.backtest.folder import write_folder
from issue_analytics.backtest.labels import label_escalations
from issue_analytics.backtest.policy import PRODUCTION, Policy
from issue_analytics.backtest.record import (
    actions_of,
    births,
    by_velocity,
    groups_of,
    moments_of,
    what_was_done,
)
from issue_analytics.counts import HOUR, Panel, panels, span, whole_hour
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.forecast import check_buckets
from issue_analytics.frames import KEY, RULES, check, eager, empty, require, whole_numbers
from issue_analytics.issues.ongoing import PASSING_STATES
from issue_analytics.kernel import Buckets
from issue_analytics.thresholds import PUBLISHED, STANDARD, FormulaConstants, ThresholdVariables, check_thresholds

__all__ = ["NOT_SIMULATED", "Replay", "replay"]

NOT_SIMULATED: Final = (
    "counts are not cached: the tracker may look at a count that is up to 60 seconds old",
    "every occurrence is there when it happened: late ones are counted in their hour, but not checked late",
    "tasks run on time: refreshes on the hour, issues become ongoing to the second",
    "limits are made from whole hours: the tracker's window also has the hour that is running, and cuts the first",
    "merges, unmerges and deletions move no counts: the state of such a group is unknown until it is archived again",
    "a limit that is made because none was stored holds from the next hour on, not some seconds later",
)
"""What the replay leaves out, in words fit for a report."""

_UTC_US: Final = pl.Datetime("us", "UTC")
_LONG_AGO: Final = -(2**61)
_INSTANT: Final = timedelta(microseconds=1)
_GROUP: Final[dict[str, Any]] = dict.fromkeys(KEY, pl.Int64)
_ALERTS: Final[dict[str, Any]] = {
    **_GROUP, "hour": _UTC_US, "count": pl.Int64, "limit": pl.Int64, "rule": pl.Enum(RULES), "at": _UTC_US,
    "as_of": _UTC_US, "ends": _UTC_US,
}  # fmt: skip
_STATES: Final[dict[str, Any]] = {**_GROUP, "at": _UTC_US, "state": pl.Int64, "recorded": pl.Int64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """One setting under one policy, played over one history.

    Attributes:
        thresholds, policy, buckets: the setting.
        opens: the first hour judged: the first refresh with a whole window of counts behind it.
        ends: the end of the counts.
        alerts: contract ``Alerts``, one row each time the replay brought a group back, with ``at`` (the occurrence that
            did it; null where only the hour is known) and ``as_of`` (when the limit was made).
        states: one row is a group and a span in which its state stayed the same: project_id, group_id, state (a state
            of the lifecycle; ``unresolved`` or ``ignored`` where an old record does not say more; ``unknown`` after a
            merge or where a history was cut off), start, end (null: to the end of the counts), and by (``record``;
            ``replay``: it escalated, or was archived again by rule; ``clock``: it became ongoing). Changes before the
            counts begin are there too.
        exposure: contract ``Exposure``: when each group was checked.
        limits: contract ``Limits``: the limit in force of every checked group, per day and whenever it changed.
        burden: one row is a project and a day (UTC): project_id, date, alerts, groups_checked.
        left_out: project_id, group_id of groups that were left out on purpose.
        not_simulated: what the tracker does and the replay does not, in words.
    """

    thresholds: ThresholdVariables
    policy: Policy
    buckets: Buckets
    opens: datetime
    ends: datetime
    alerts: pl.DataFrame
    states: pl.DataFrame
    exposure: pl.DataFrame
    limits: pl.DataFrame
    burden: pl.DataFrame
    left_out: pl.DataFrame
    not_simulated: tuple[str, ...] = NOT_SIMULATED

    def summary(self) -> pl.DataFrame:
        """One row: the five thresholds, ``digest``, ``policy``, groups and series-weeks checked, and the alerts."""
        spans = self.exposure.with_columns(pl.col("end").fill_null(self.ends))
        weeks = spans.select(((pl.col("end") - pl.col("start")) / timedelta(weeks=1)).sum()).item()
        days = (self.ends - self.opens) / timedelta(days=1)
        return pl.DataFrame(
            {
                **{name: float(value) for name, value in self.thresholds.to_dict().items()},
                "digest": self.thresholds.digest,
                "policy": self.policy.name,
                "groups": self.exposure.select(KEY).n_unique(),
                "series_weeks": float(weeks),
                "alerts": self.alerts.height,
                "alerts_per_day": self.alerts.height / days if days > 0 else None,
                "groups_alerted": self.alerts.select(KEY).n_unique(),
                "at_fallback": int((self.alerts["rule"] == "fallback").sum()),
            }
        )

    def against_record(self, status_changes: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
        """Hold the alerts against the escalations that the tracker's own algorithm recorded, hour by hour.

        Under the thresholds and the policy that ran, and from the counts that the tracker saw, all are in ``both``.

        Args:
            status_changes: contract ``StatusChanges``, as given to the replay.

        Returns:
            One row is a group and an hour: project_id, group_id, hour, recorded_at, recorded_limit, at, limit, rule,
            and ``in``: ``both``, ``record`` or ``replay``; by group and hour. Escalations outside the judged time, and
            of groups left out, are not there.

        Raises:
            FrameError: the frame breaks its contract.
        """
        changes = check(eager(status_changes), "StatusChanges").join(self.left_out, on=KEY, how="anti")
        recorded = (
            label_escalations(changes)[0]
            .filter(pl.col("provenance") == "algorithm")
            .filter(pl.col("escalated_at").is_between(self.opens, self.ends, closed="left"))
            .join(
                changes.filter(pl.col("forecast").is_not_null()).select(
                    *KEY, escalated_at="at", recorded_limit="forecast"
                ),
                on=[*KEY, "escalated_at"],
                how="left",
            )
            .with_columns(hour=pl.col("escalated_at").dt.truncate("1h"))
            .select(*KEY, "hour", recorded_at="escalated_at", recorded_limit="recorded_limit")
            .unique([*KEY, "hour"], keep="first")
        )
        ours = self.alerts.select(*KEY, "hour", "at", "limit", "rule").unique([*KEY, "hour"], keep="first")
        side = (
            pl.when(pl.col("recorded_at").is_null())
            .then(pl.lit("replay"))
            .when(pl.col("limit").is_null())
            .then(pl.lit("record"))
            .otherwise(pl.lit("both"))
        )
        return (
            recorded.join(ours, on=[*KEY, "hour"], how="full", coalesce=True)
            .with_columns(side.alias("in"))
            .sort(*KEY, "hour")
        )

    def write(self, path: str | Path) -> Path:
        """Write alerts, states, exposure, limits and burden as Parquet files, and the setting as JSON, in a new folder.

        The folder appears whole or not at all.

        Raises:
            DatasetError: it exists, or cannot be written.
        """
        setting = {
            "thresholds": self.thresholds.to_dict(),
            "policy": asdict(self.policy),
            "buckets": self.buckets,
            "opens": self.opens.isoformat(),
            "ends": self.ends.isoformat(),
            "not_simulated": self.not_simulated,
        }
        names = ("alerts", "states", "exposure", "limits", "burden", "left_out")
        return write_folder(path, {name: getattr(self, name) for name in names}, setting)

    def __repr__(self) -> str:
        return (
            f"Replay({self.thresholds}, {self.policy.name}, buckets={self.buckets}: "
            f"{self.exposure.select(KEY).n_unique()} groups checked, {self.alerts.height} alerts)"
        )


def replay(
    counts: pl.DataFrame | pl.LazyFrame,
    status_changes: pl.DataFrame | pl.LazyFrame,
    *,
    occurrences: pl.DataFrame | pl.LazyFrame | None = None,
    thresholds: ThresholdVariables = STANDARD,
    policy: Policy = PRODUCTION,
    buckets: Buckets = "sparse",
    types: pl.DataFrame | pl.LazyFrame | None = None,
    leave_out: pl.DataFrame | pl.LazyFrame | None = None,
    start: datetime | None = None,
    constants: FormulaConstants = PUBLISHED,
) -> Replay:
    """Play the tracker's rules over the past: who would have come back, when, and what each group's state was.

    What people and detectors did is taken from the record: archiving, resolving, messages, conditions. What the
    forecast did is not, nor what the clock did: those the replay does itself, with the thresholds and the policy given.
    A recorded change that is not possible in the replay, such as a condition met by a group that is no longer archived,
    does nothing. Archiving a group that the replay still holds archived makes its limits anew, as the tracker would.

    A group is checked while it is archived until it escalates, its type allows it and it is 24 hours old: at each
    occurrence, the count of its hour so far against the limit in force, strictly. Limits are made on archive and on
    the policy's schedule for groups seen in the last 7 days, from the 168 whole hours before and from nothing later;
    they serve 14 days, after which (and where there are none) the fallback of 10 holds. The first check that exceeds
    its limit brings the group back; it is checked again once it is archived again.

    Args:
        counts: contract ``HourlyCounts``.
        status_changes: contract ``StatusChanges``, also from before the counts begin. Groups without any are not
            played: nothing is known of them.
        occurrences: contract ``Occurrences``; with them the replay knows the very occurrence that crossed the limit.
            Without, or where their number in an hour is not its count, an hour counts as a whole: a group that was
            archived, or became old enough, in the middle of it is judged by all of it, and escalates at its end.
        thresholds: the five thresholds.
        policy: one with a lifecycle: ``PRODUCTION``, ``PRODUCTION_2023``, or your own.
        buckets: as in :func:`~issue_analytics.forecast.forecast`.
        types: project_id, group_id, type; groups of types that cannot escalate are not checked. Taken from
            ``occurrences`` if these are given; else, and where unknown, every group can escalate.
        leave_out: project_id, group_id: groups not to play, such as ``dataset.altered_groups``.
        start: since when counts were recorded, on the hour; by default their first hour.
        constants: the constants of the formula.

    Returns:
        The replay, see :class:`Replay`.

    Raises:
        FrameError: a frame breaks its contract, or the counts are too short to judge a single hour.
        SettingsError: a setting makes no sense, or the policy has no lifecycle.

    >>> from datetime import UTC
    >>> monday = datetime(2026, 1, 5, tzinfo=UTC)
    >>> busy = [(1, 7, monday + hour * HOUR, 90 if hour == 200 else 3) for hour in range(240)]
    >>> counts = pl.DataFrame(busy, schema=["project_id", "group_id", "hour", "count"], orient="row")
    >>> archived = pl.DataFrame({"project_id": [1], "group_id": [7], "at": [monday], "source": ["activity"],
    ...     "kind": ["archived_until_escalating"], "cause": pl.Series([None], dtype=pl.String),
    ...     "forecast": pl.Series([None], dtype=pl.Int64)})
    >>> played = replay(counts, archived)
    >>> played.alerts.select("count", "limit", "rule").rows()
    [(90, 18, 'spike')]
    >>> played.states["state"].to_list()
    ['archived_until_escalating', 'escalating']
    """
    if not policy.lifecycle:
        raise SettingsError(
            f"policy: {policy.name!r} has no lifecycle to replay; use PRODUCTION, or backtest() for it."
        )
    check_thresholds(thresholds)
    check_buckets(buckets)
    counts = check(eager(counts), "HourlyCounts").select(*KEY, "hour", "count")
    changes = check(eager(status_changes), "StatusChanges")
    if occurrences is not None:
        require(occurrences.lazy(), "Occurrences", columns=(*KEY, "detected_at", "type"))
        types = occurrences.lazy().select(*KEY, "type") if types is None else types
    left_out = counts.select(KEY).clear()
    if leave_out is not None:
        keys = whole_numbers("leave_out", leave_out).collect()
        left_out = counts.select(KEY).join(keys, on=KEY, how="semi").unique().sort(KEY)
        counts, changes = (frame.join(keys, on=KEY, how="anti") for frame in (counts, changes))

    ends = span(counts)
    since = whole_hour("start", start) if start is not None else ends[0] if ends else None
    window = timedelta(hours=constants.window_hours)
    moments = policy.moments(since + window, ends[1]) if ends and since else []
    if ends is None or since is None or not moments:
        length = (ends[1] - since) / HOUR if ends and since else 0
        raise FrameError(
            f"HourlyCounts: {length:.0f} hours are too few to judge any: limits look back "
            f"{constants.window_hours} hours, and the next refresh ({policy.schedule}) must lie in the data."
        )
    if since > ends[0]:
        raise SettingsError(f"start: {since.isoformat()} lies after the first hour of the counts, {ends[0]}.")

    done = what_was_done(changes, policy)
    born = births(changes)
    if policy.velocity:
        done = pl.concat([done, by_velocity(counts, occurrences, changes, born, types, since)])
    groups = groups_of(changes, born, types)
    # where there is no group there is no panel
    parts = {
        "alerts": [pl.DataFrame(schema=_ALERTS)], "states": [pl.DataFrame(schema=_STATES)], "limits": [empty("Limits")]
    }  # fmt: skip
    for panel in panels(counts, since, ends[1], groups=groups):
        about = panel.groups.join(groups, on=KEY, how="left", maintain_order="left").with_row_index("row")
        clock = Clock(
            panel,
            actions_of(about, done, policy, panel, ends[1]),
            moments=None if occurrences is None else moments_of(about, occurrences, panel, ends[1]),
            watched=about["watched"].to_numpy(),
            born=about["born"].dt.epoch("us").fill_null(_LONG_AGO).to_numpy(),
            opens=(moments[0] - since) // HOUR,
            thresholds=thresholds,
            policy=policy,
            buckets=buckets,
            constants=constants,
        )
        clock.run(moments)
        for name, frame in _frames(clock, panel).items():
            parts[name].append(frame)
    found = {name: pl.concat(frames) for name, frames in parts.items()}
    states = _spans(found["states"], policy, ends[1])
    exposure = _exposure(states, found["alerts"], groups, policy, (moments[0], ends[1]))
    return Replay(
        thresholds=thresholds,
        policy=policy,
        buckets=buckets,
        opens=moments[0],
        ends=ends[1],
        alerts=found["alerts"].drop("ends").sort(*KEY, "hour", "at"),
        states=states,
        exposure=exposure,
        limits=found["limits"].unique([*KEY, "date", "as_of"], keep="last").sort(*KEY, "as_of", "date"),
        burden=_burden(found["alerts"], exposure, ends[1]),
        left_out=left_out,
    )


def _frames(clock: Clock, panel: Panel) -> Mapping[str, pl.DataFrame]:
    """What the clock logged, as frames with the groups' keys."""
    alerts, states, limits = (pl.DataFrame(log.columns()) for log in (clock.alerts, clock.states, clock.limits))
    rule = pl.col("rule").replace_strict(dict(enumerate(RULES)), return_dtype=pl.Enum(RULES))

    def keyed(rows: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([panel.groups[rows["group"]], rows.drop("group")], how="horizontal")

    return {
        "alerts": keyed(alerts).select(
            *KEY,
            hour=pl.lit(panel.start, dtype=_UTC_US) + pl.duration(hours="hour"),
            count="count",
            limit="limit",
            rule=rule,
            at=pl.when(pl.col("at") >= 0).then("at").cast(_UTC_US),
            as_of=pl.col("made").cast(_UTC_US),
            ends=pl.col("ends").cast(_UTC_US),
        ),
        "states": keyed(states).select(*KEY, pl.col("at").cast(_UTC_US), "state", "recorded"),
        "limits": keyed(limits).select(
            *KEY,
            date=pl.col("day").cast(pl.Int32).cast(pl.Date),
            limit="limit",
            rule=rule,
            as_of=pl.col("made").cast(_UTC_US),
        ),
    }


def _spans(log: pl.DataFrame, policy: Policy, ends: datetime) -> pl.DataFrame:
    """States as spans; what stays unsettled for too long is ongoing from then on."""
    by = pl.when(pl.col("recorded") == 1).then(pl.lit("record")).otherwise(pl.lit("replay"))
    spans = (
        log.sort(*KEY, "at", maintain_order=True)
        .with_columns(end=pl.col("at").shift(-1).over(KEY), by=by)
        .with_columns(state=pl.col("state").replace_strict(dict(enumerate(NAMES)), return_dtype=pl.String))
        .select(*KEY, "state", "by", "end", start="at")
        .filter((pl.col("start") < pl.col("end")).fill_null(value=True) & (pl.col("start") < ends))
    )
    if policy.ongoing_days is None:
        return spans.select(*KEY, "state", "start", "end", "by")
    settles = pl.col("start") + timedelta(days=policy.ongoing_days)
    stays = pl.col("state").is_in(PASSING_STATES) & (settles < pl.col("end").fill_null(ends))
    settled = spans.filter(stays).with_columns(start=settles, state=pl.lit("ongoing"), by=pl.lit("clock"))
    spans = spans.with_columns(end=pl.when(stays).then(settles).otherwise("end"))
    return pl.concat([spans, settled]).select(*KEY, "state", "start", "end", "by").sort(*KEY, "start")


def _exposure(
    states: pl.DataFrame, alerts: pl.DataFrame, groups: pl.DataFrame, policy: Policy, judged: tuple[datetime, datetime]
) -> pl.DataFrame:
    """When each group was checked; the occurrence that brought it back is the last instant of that."""
    ripe = pl.col("born") + timedelta(hours=policy.min_age_hours)
    ended_by = alerts.filter(pl.col("at").is_not_null()).select(*KEY, end="ends", past=pl.lit(_INSTANT))
    return (
        states.filter(pl.col("state") == "archived_until_escalating")
        .join(groups.filter("watched").select(*KEY, "born"), on=KEY)
        .join(ended_by.unique(), on=[*KEY, "end"], how="left")
        .select(
            *KEY,
            start=pl.max_horizontal("start", pl.lit(judged[0]), pl.when(pl.col("born") <= pl.col("start")).then(ripe)),
            end=pl.col("end") + pl.col("past").fill_null(timedelta(0)),
        )
        .filter((pl.col("start") < pl.col("end")).fill_null(value=True) & (pl.col("start") < judged[1]))
        .sort(*KEY, "start")
    )


def _burden(alerts: pl.DataFrame, exposure: pl.DataFrame, ends: datetime) -> pl.DataFrame:
    """Alerts of each project and day, and how many of its groups were checked."""
    last = pl.col("end").fill_null(ends) - _INSTANT
    checked = (
        exposure.with_columns(date=pl.date_ranges(pl.col("start").dt.date(), last.dt.date()))
        .explode("date")
        .group_by("project_id", "date")
        .agg(groups_checked=pl.col("group_id").n_unique().cast(pl.Int64))
    )
    fired = alerts.group_by("project_id", pl.col("hour").dt.date().alias("date")).agg(alerts=pl.len().cast(pl.Int64))
    return (
        checked.join(fired, on=["project_id", "date"], how="full", coalesce=True)
        .select("project_id", "date", pl.col("alerts", "groups_checked").fill_null(0))
        .sort("project_id", "date")
    )
