"""New issues that come faster than is usual in their project: the tracker's rule for the first day of an issue.

An issue of less than 24 hours has no week behind it to make a limit from. It escalates while it is new, once its events
per hour of life exceed what 95 % of its project's issues come to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from issue_analytics.backtest.labels import STATUS_KINDS
from issue_analytics.counts import HOUR, hourly_counts, span, whole_hour
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.frames import KEY, check, require

__all__ = ["VELOCITY", "VelocityRule", "velocity_escalations", "velocity_thresholds"]

_WEEK: Final = timedelta(days=7)
_DAY: Final = timedelta(days=1)
_INSTANT: Final = timedelta(microseconds=1)
_ERROR: Final = 1
_UTC_US: Final = pl.Datetime("us", "UTC")
_THRESHOLDS: Final = {"project_id": pl.Int64(), "at": _UTC_US, "threshold": pl.Float64(), "groups": pl.Int64()}
_BEFORE_ALL: Final = -(2**61)


@dataclass(frozen=True, slots=True, kw_only=True)
class VelocityRule:
    """The constants of the rule, as the tracker has them.

    Args:
        quantile: which share of a project's issues comes slower than its threshold; it was 0.9, then 0.99.
        least_events: an issue with fewer events does not escalate; it was 2.
        age_hours: an older issue does not escalate by this rule; whole hours.
        lookback_days: issues first seen earlier do not count for the threshold; None: all do. The tracker looks for
            first events in 90 days of data, where an older issue has one too.
        most_groups: so many issues of a project count, the oldest.

    Raises:
        SettingsError: a value is out of its range.
    """

    quantile: float = 0.95
    least_events: int = 10
    age_hours: int = 24
    lookback_days: int | None = None
    most_groups: int = 10_000

    def __post_init__(self) -> None:
        quantile: object = self.quantile
        if isinstance(quantile, bool) or not isinstance(quantile, int | float) or not 0 <= quantile <= 1:
            raise SettingsError(f"quantile: expected a number from 0 to 1, got {quantile!r}.")
        for name in ("least_events", "age_hours", "lookback_days", "most_groups"):
            value = getattr(self, name)
            if value is None and name == "lookback_days":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**9:
                raise SettingsError(f"{name}: expected a whole number, 1 or more, got {value!r}.")


VELOCITY: Final = VelocityRule()
"""The rule as the tracker has it."""


def velocity_thresholds(
    counts: pl.DataFrame | pl.LazyFrame,
    first_seen: pl.DataFrame | pl.LazyFrame,
    at: datetime | Sequence[datetime],
    *,
    rule: VelocityRule = VELOCITY,
) -> pl.DataFrame:
    """Find how many events per hour of life are much for a new issue of each project.

    The threshold is the 95th percentile of the hourly rates of a project's issues: those with more than one event in
    the 168 hours before ``at``, first seen more than one hour before. The rate is the events of the
    168 hours, divided by 168 for issues older than a week, else by the hour boundaries since they were first seen. Of
    more than 10,000 issues, the oldest count. Between two rates the percentile is interpolated linearly, as numpy does;
    the tracker's database estimates it from a sample where there are many, so that its threshold may differ a little.

    Args:
        counts: contract ``HourlyCounts``; rows at or after ``at`` are not looked at.
        first_seen: project_id, group_id, first_seen and, where known, type: issues of other types than errors do not
            count. A group of unknown age is taken as older than a week, one of unknown type as an error.
        at: one moment, or several: aware, and on the hour.
        rule: the constants.

    Returns:
        A row for each project and moment, by project and time: project_id, ``at``, ``threshold`` in events per hour,
        null where no issue counts (then nothing escalates), and ``groups``, the number of issues that counted.
        Projects are those with a count before ``at``.

    Raises:
        FrameError: a frame breaks its contract.
        SettingsError: ``at`` has no zone or lies inside an hour.

    >>> from datetime import UTC
    >>> monday = datetime(2026, 1, 5, tzinfo=UTC)
    >>> counts = pl.DataFrame({"project_id": [1, 1, 1], "group_id": [7, 8, 9], "count": [1680, 42, 1],
    ...     "hour": [monday, monday.replace(hour=21), monday]})
    >>> seen = pl.DataFrame({"project_id": [1, 1, 1], "group_id": [7, 8, 9], "first_seen": [
    ...     monday.replace(year=2025, month=12), monday.replace(hour=21, minute=50), monday]})
    >>> velocity_thresholds(counts, seen, monday.replace(day=6)).select("threshold", "groups").rows()
    [(13.8, 2)]
    """
    moments = [whole_hour("at", one) for one in ([at] if isinstance(at, datetime) else at)]
    known = check(require(counts.lazy(), "HourlyCounts").select(*KEY, "hour", "count").collect(), "HourlyCounts")
    return _thresholds(known, _ages(first_seen), moments, rule)


def velocity_escalations(
    events: pl.DataFrame | pl.LazyFrame,
    first_seen: pl.DataFrame | pl.LazyFrame,
    *,
    status_changes: pl.DataFrame | pl.LazyFrame | None = None,
    start: datetime | None = None,
    rule: VelocityRule = VELOCITY,
) -> pl.DataFrame:
    """Find the issues that escalated, or would have, in their first 24 hours because they came faster than usual.

    At each of its events an issue is held against its project's threshold, made at 00:00 UTC of the day from nothing
    later: it escalates if it is new, less than 24 hours old, has 10 events or more, this one included, and these are
    more per hour of its life (of at least one hour) than the threshold. A threshold needs 168 hours of counts behind
    it, so that nothing escalates in the first week of the data.

    Args:
        events: contract ``Occurrences``: escalations are then known to the event. Or ``HourlyCounts``: an issue is held
            against the threshold at the end of each hour, and ``escalated_at`` is the start of the first hour that
            exceeded it (or ``first_seen``, where that is later); an hour in which the 24 hours end is not judged.
        first_seen: as in :func:`velocity_thresholds`; an issue of unknown age never escalates. Where ``events`` have
            types, those hold for issues that have none here.
        status_changes: contract ``StatusChanges``: an issue is new until its first recorded change of status, that
            instant included. None: for all of its 24 hours.
        start: since when events were recorded, on the hour; by default the first hour with an event.
        rule: the constants.

    Returns:
        Contract ``Escalations``, at most one row for a group, by project and group: provenance ``velocity``,
        ``ended_at`` null. Also ``times_seen``, ``rate`` (events per hour of life) and ``threshold``.

    Raises:
        FrameError: a frame breaks its contract.
        SettingsError: ``start`` has no zone or lies inside an hour.

    >>> from datetime import UTC
    >>> monday = datetime(2026, 1, 5, tzinfo=UTC)
    >>> stamps = [monday + n * HOUR for n in range(0, 170, 10)] + [monday + n * timedelta(minutes=1)
    ...     for n in range(10_080, 10_092)]
    >>> occurrences = pl.DataFrame({"project_id": [1] * 29, "group_id": [7] * 17 + [8] * 12, "detected_at": stamps})
    >>> seen = pl.DataFrame({"project_id": [1, 1], "group_id": [7, 8], "first_seen": [
    ...     monday, monday.replace(day=12)]})
    >>> velocity_escalations(occurrences, seen).select("group_id", "escalated_at", "times_seen").row(0)
    (8, datetime.datetime(2026, 1, 12, 0, 9, tzinfo=zoneinfo.ZoneInfo(key='UTC')), 10)
    """
    ages = _ages(first_seen)
    lazy = events.lazy()
    exact = "detected_at" in lazy.collect_schema()
    if exact:
        ages = _with_types(ages, require(lazy, "Occurrences", columns=(*KEY, "detected_at")))
        counts = hourly_counts(lazy).collect()
    else:
        counts = check(require(lazy, "HourlyCounts").select(*KEY, "hour", "count").collect(), "HourlyCounts")
    ends = span(counts)
    if ends is None:
        return _labels(pl.LazyFrame(schema={**dict.fromkeys(KEY, pl.Int64), **_THRESHOLDS, **_STEPS}))
    begins = ends[0] if start is None else whole_hour("start", start)
    young = ages.filter((pl.col("type") == _ERROR).fill_null(value=True), pl.col("first_seen").is_not_null())
    steps = (_events(lazy, young, rule) if exact else _hours(counts, young, rule)).filter(
        pl.col("times_seen") >= rule.least_events
    )
    if status_changes is not None:
        steps = _while_new(steps, status_changes)
    steps = steps.with_columns(at=pl.col("step").dt.truncate("1d")).filter(pl.col("at") >= begins + _WEEK)
    found = steps.collect()
    moments = found["at"].unique().to_list()
    concerned = counts.join(found.select("project_id").unique(), on="project_id", how="semi")
    return _labels(found.lazy().join(_thresholds(concerned, ages, moments, rule).lazy(), on=["project_id", "at"]))


_STEPS: Final = {"step": _UTC_US, "escalated_at": _UTC_US, "times_seen": pl.Int64(), "first_seen": _UTC_US}


def _labels(steps: pl.LazyFrame) -> pl.DataFrame:
    """The first step of each group whose rate exceeds the threshold."""
    hours = (pl.col("step") - pl.col("first_seen")).dt.total_microseconds() / 3.6e9
    return (
        steps.with_columns(rate=pl.col("times_seen") / pl.max_horizontal(hours, 1.0))
        .filter(pl.col("threshold") > 0, pl.col("rate") > pl.col("threshold"))
        # of several events in one instant, the last has seen all of them
        .sort(*KEY, "step", "times_seen", descending=[False, False, False, True])
        .unique(KEY, keep="first", maintain_order=True)
        .select(
            *KEY,
            "escalated_at",
            ended_at=pl.lit(None, dtype=_UTC_US),
            provenance=pl.lit("velocity"),
            times_seen="times_seen",
            rate="rate",
            threshold="threshold",
        )
        .collect()
    )


def _ages(first_seen: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """project_id, group_id, first_seen, type; one row for a group."""
    schema = first_seen.collect_schema()
    if missing := [name for name in (*KEY, "first_seen") if name not in schema]:
        raise FrameError(f"first_seen: no column {', '.join(missing)}. Found: {', '.join(schema)}.")
    stamp = schema["first_seen"]
    if not isinstance(stamp, pl.Datetime) or stamp.time_zone is None:
        raise FrameError(f"first_seen: first_seen is {stamp}, not a time with a zone such as Datetime('us', 'UTC').")
    numbers = [name for name in (*KEY, "type") if name in schema]
    if wrong := [f"{name} is {schema[name]}" for name in numbers if not schema[name].is_integer()]:
        raise FrameError(f"first_seen: {', '.join(wrong)}, not Int64.")
    kind = pl.col("type").cast(pl.Int64).min() if "type" in schema else pl.lit(None, dtype=pl.Int64)
    return (
        first_seen.lazy()
        .group_by(pl.col(KEY).cast(pl.Int64))
        .agg(pl.col("first_seen").dt.convert_time_zone("UTC").dt.cast_time_unit("us").min(), type=kind)
        .collect()
    )


def _with_types(ages: pl.DataFrame, occurrences: pl.LazyFrame) -> pl.DataFrame:
    """Ages with the types of occurrences where there is none; groups of other types that have no age are added."""
    if "type" not in occurrences.collect_schema():
        return ages
    types = occurrences.group_by(KEY).agg(pl.col("type").min()).filter(pl.col("type").is_not_null()).collect()
    return ages.join(types, on=KEY, how="full", coalesce=True, suffix="_seen").select(
        *KEY, "first_seen", type=pl.coalesce("type", "type_seen")
    )


def _thresholds(
    counts: pl.DataFrame, ages: pl.DataFrame, moments: Sequence[datetime], rule: VelocityRule
) -> pl.DataFrame:
    """Thresholds of all projects at all moments at once."""
    at = pl.DataFrame({"at": sorted(set(moments))}, schema={"at": _UTC_US}).lazy()
    # sums between two moments or starts of windows are shared by all windows that hold them
    edges = pl.concat([at, at.with_columns(pl.col("at") - _WEEK)]).unique().sort("at")
    pieces = (
        counts.lazy()
        .sort("hour")
        .join_asof(
            edges.select(piece="at").with_columns(at="piece"), left_on="hour", right_on="at", strategy="backward"
        )
        .filter(pl.col("piece").is_not_null())
        .group_by(*KEY, "piece")
        .agg(pl.col("count").sum())
    )
    inside = edges.join(at.select(window="at"), how="cross").filter(
        pl.col("at") < pl.col("window"), pl.col("at") >= pl.col("window") - _WEEK
    )
    age = pl.col("at") - pl.col("first_seen")
    boundaries = (pl.col("at") - pl.col("first_seen").dt.truncate("1h")).dt.total_hours()
    counted = age > HOUR
    if rule.lookback_days is not None:
        counted &= age <= timedelta(days=rule.lookback_days)
    rates = (
        pieces.join(inside.select(piece="at", at="window"), on="piece")
        .group_by(*KEY, "at")
        .agg(pl.col("count").sum())
        .filter(pl.col("count") > 1)
        .join(ages.lazy(), on=KEY, how="left")
        .filter(counted.fill_null(value=True), (pl.col("type") == _ERROR).fill_null(value=True))
        .with_columns(rate=pl.col("count") / pl.when(age <= _WEEK).then(boundaries).otherwise(168))
        .with_columns(
            place=pl.struct(pl.col("first_seen").dt.epoch("us").fill_null(_BEFORE_ALL), "group_id")
            .rank("ordinal")
            .over("project_id", "at")
        )
        .filter(pl.col("place") <= rule.most_groups)
        .group_by("project_id", "at")
        .agg(
            threshold=pl.col("rate").quantile(rule.quantile, interpolation="linear"),
            groups=pl.len().cast(pl.Int64),
        )
    )
    projects = counts.lazy().group_by("project_id").agg(first=pl.col("hour").min())
    return (
        projects.join(at, how="cross")
        .filter(pl.col("first") < pl.col("at"))
        .join(rates, on=["project_id", "at"], how="left")
        .select("project_id", "at", "threshold", pl.col("groups").fill_null(0))
        .sort("project_id", "at")
        .collect()
    )


def _events(occurrences: pl.LazyFrame, young: pl.DataFrame, rule: VelocityRule) -> pl.LazyFrame:
    """Each event of an issue's first day, and how many the issue had by then."""
    return (
        occurrences.select(*KEY, step="detected_at")
        .join(young.lazy().select(*KEY, "first_seen"), on=KEY)
        .filter(pl.col("step") < pl.col("first_seen") + timedelta(hours=rule.age_hours))
        .sort(*KEY, "step")
        .with_columns(times_seen=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(KEY), escalated_at="step")
        # an event dated before the issue was seen counts, but nobody looked then
        .filter(pl.col("step") >= pl.col("first_seen"))
    )


def _hours(counts: pl.DataFrame, young: pl.DataFrame, rule: VelocityRule) -> pl.LazyFrame:
    """The end of each hour of an issue's first day that has events, and how many the issue had by then."""
    return (
        counts.lazy()
        .join(young.lazy().select(*KEY, "first_seen"), on=KEY)
        # the last instant of the hour: its day is the hour's own
        .with_columns(step=pl.col("hour") + HOUR - _INSTANT)
        .filter(pl.col("step") < pl.col("first_seen") + timedelta(hours=rule.age_hours))
        .sort(*KEY, "hour")
        .with_columns(
            times_seen=pl.col("count").cum_sum().over(KEY), escalated_at=pl.max_horizontal("hour", "first_seen")
        )
        .filter(pl.col("count") > 0, pl.col("step") >= pl.col("first_seen"))
        .drop("hour", "count")
    )


def _while_new(steps: pl.LazyFrame, status_changes: pl.DataFrame | pl.LazyFrame) -> pl.LazyFrame:
    """Steps before or at the group's first change of status."""
    kinds = [kind for kind in STATUS_KINDS if kind != "new"]
    changed = (
        require(status_changes.lazy(), "StatusChanges")
        .filter(pl.col("kind").is_in(kinds))
        .group_by(KEY)
        .agg(changed=pl.col("at").min())
    )
    return (
        steps.join(changed, on=KEY, how="left")
        .filter((pl.col("step") <= pl.col("changed")).fill_null(value=True))
        .drop("changed")
    )
