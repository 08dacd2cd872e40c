"""Replay the limits over the past and hold them against what really escalated."""

import polars as pl

from issue_analytics.backtest.judged import past, watched_spans, within
from issue_analytics.backtest.matching import match, windows_of
from issue_analytics.backtest.policy import EVERY_HOUR, Matching, Policy
from issue_analytics.backtest.replay import replay
from issue_analytics.backtest.result import BacktestResult
from issue_analytics.backtest.spans import Silence
from issue_analytics.backtest.tally import tally
from issue_analytics.detection import detect
from issue_analytics.errors import SettingsError
from issue_analytics.forecast import forecast_schedule
from issue_analytics.frames import KEY, empty
from issue_analytics.kernel import Buckets
from issue_analytics.thresholds import PUBLISHED, STANDARD, FormulaConstants, ThresholdVariables

__all__ = ["backtest"]


def backtest(
    counts: pl.DataFrame | pl.LazyFrame,
    escalations: pl.DataFrame | pl.LazyFrame | None = None,
    *,
    exposure: pl.DataFrame | pl.LazyFrame | None = None,
    silence: Silence = "implied",
    thresholds: ThresholdVariables = STANDARD,
    policy: Policy = EVERY_HOUR,
    buckets: Buckets = "sparse",
    matching: Matching | None = None,
    first_seen: pl.DataFrame | pl.LazyFrame | None = None,
    leave_out: pl.DataFrame | pl.LazyFrame | None = None,
    status_changes: pl.DataFrame | pl.LazyFrame | None = None,
    occurrences: pl.DataFrame | pl.LazyFrame | None = None,
    types: pl.DataFrame | pl.LazyFrame | None = None,
    constants: FormulaConstants = PUBLISHED,
) -> BacktestResult:
    """Judge one setting on a history: make the limits as they would have been made, and compare.

    Limits are made on the policy's schedule, each from the 168 hours before it and from nothing later. Every exposed
    hour is compared with the limit in force; the first refresh that has 168 hours of data behind it opens the judging,
    so that no limit is made from a history that was cut off.

    Under a policy with a lifecycle (``PRODUCTION``) the tracker's rules are replayed instead, and decide who is exposed
    when: an issue that came back is not exposed until it is archived again, so that an escalation that the setting
    foresaw by days is not judged. See :func:`~issue_analytics.backtest.replay.replay`.

    Args:
        counts: contract ``HourlyCounts``.
        escalations: contract ``Escalations``; None where nothing is known: alerts are then burden, and precision,
            recall and false alarms are null. (An empty frame says that nothing escalated.)
        exposure: contract ``Exposure``; None takes every group as watched from its first hour on, in the sense of
            ``silence``.
        silence: what a missing hour means where ``exposure`` is None. ``"implied"``: the counts cover one common span,
            and a missing hour is a silent one (event logs). ``"recorded"``: silent hours are rows with count 0, and
            each group was observed in the hours that have a row only. Limits know no such difference: in a window, an
            hour without a row is silent, so that a gap in the recording makes limits too low after it.
        thresholds: the five thresholds.
        policy: when limits are refreshed, and who is checked.
        buckets: as in :func:`~issue_analytics.forecast.forecast`.
        matching: when an alert and an escalation are about the same thing; default ``Matching()``.
        first_seen: group_id, first_seen; says who is young, to limits when dense and in the strata of the result.
        leave_out: project_id, group_id: groups that are not judged at all, such as ``dataset.altered_groups``, whose
            counts were changed after the fact by merges. The result says which of them had counts.
        status_changes: contract ``StatusChanges``; needed for a policy with a lifecycle, and used for no other.
        occurrences: contract ``Occurrences``; as in ``replay``, and where ``types`` are not given.
        types: project_id, group_id, type; as in ``replay``, and for the strata of the result.
        constants: the constants of the formula.

    Returns:
        The result, see :class:`BacktestResult`.

    Raises:
        FrameError: a frame breaks its contract, or the counts are too short to judge a single hour.
        SettingsError: a setting makes no sense.

    >>> from datetime import UTC, datetime
    >>> from issue_analytics.counts import HOUR
    >>> start = datetime(2026, 1, 5, tzinfo=UTC)
    >>> busy = [(1, 7, start + hour * HOUR, 90 if hour == 200 else 3) for hour in range(240)]
    >>> counts = pl.DataFrame(busy, schema=["project_id", "group_id", "hour", "count"], orient="row")
    >>> result = backtest(counts)
    >>> result.alerts.select("count", "limit", "rule").rows()
    [(90, 18, 'spike')]
    """
    matching = matching or Matching()
    known = past(
        counts,
        escalations,
        exposure=exposure,
        leave_out=leave_out,
        policy=policy,
        history_hours=constants.window_hours,
    )
    if policy.lifecycle:
        if status_changes is None or exposure is not None:
            raise SettingsError(
                f"policy: {policy.name!r} replays the lifecycle: give status_changes=, and no exposure=, which the "
                "replay finds itself."
            )
        played = replay(
            known.counts,
            status_changes,
            occurrences=occurrences,
            thresholds=thresholds,
            policy=policy,
            buckets=buckets,
            types=types,
            leave_out=leave_out,
            constants=constants,
        )
        judged, limits = within(known, played.exposure), played.limits
        # brought back twice in an hour is one crossing
        crossings = (
            played.alerts.select(empty("Alerts").columns).unique([*KEY, "hour"], keep="first").sort(*KEY, "hour")
        )
    else:
        judged = within(known, watched_spans(known, silence, policy, constants.window_hours))
        limits = forecast_schedule(
            judged.history,
            policy.moments(known.first, known.end),
            thresholds=thresholds,
            buckets=buckets,
            days=policy.days,
            first_seen=first_seen,
            constants=constants,
        )
        crossings = detect(judged.watched, limits, crossings="all")
    spans = judged.spans
    if types is None and occurrences is not None:
        types = occurrences.lazy().select(*KEY, "type").filter(pl.col("type").is_not_null())
    windows = windows_of(known.escalations, spans, matching)
    alerts, matches = match(crossings, windows, spans, judged.watched, limits, matching)
    groups = tally(judged.history, judged.watched, spans, limits, alerts, matches, windows, first_seen, types)
    if not known.labelled:
        alerts = alerts.with_columns(verdict=pl.lit(None, dtype=pl.String))
        unknown = pl.lit(None, dtype=pl.Int64)
        groups = groups.with_columns(duplicates=unknown, unjudged=unknown, false_alarms=unknown)
    return BacktestResult(
        thresholds=thresholds,
        policy=policy,
        buckets=buckets,
        matching=matching,
        counts=known.counts,
        exposure=spans,
        escalations=known.escalations,
        labelled=known.labelled,
        left_out=known.left_out,
        limits=limits,
        crossings=crossings,
        alerts=alerts,
        matches=matches,
        groups=groups,
    )
