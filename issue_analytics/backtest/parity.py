"""Our limits beside those that the tracker recorded: where they are equal, and why they may differ where they are not.

Two kinds of exports tell the tracker's own limits: an escalation by forecast records the limit that was in force, and a
retrieved issue may hold the forecast stored for it. Neither says what the tracker counted, nor the first when the limit
was made; so ours is made by the rules of a policy, and where it differs, other ways to make it are tried.
"""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from issue_analytics.backtest.differences import DIFFERENCES, Study, came, recorded_limits, spells
from issue_analytics.backtest.labels import COUNTS_CHANGED, CUT, recorded_states
from issue_analytics.backtest.made import History
from issue_analytics.backtest.policy import PRODUCTION, Policy
from issue_analytics.backtest.record import births
from issue_analytics.counts import span, whole_hour
from issue_analytics.errors import SettingsError
from issue_analytics.forecast import check_buckets
from issue_analytics.frames import KEY, check, eager, empty, require, whole_numbers
from issue_analytics.kernel import Buckets
from issue_analytics.thresholds import STANDARD, ThresholdVariables, check_thresholds

__all__ = ["DIFFERENCES", "Parity", "parity"]


@dataclass(frozen=True)
class Parity:
    """Recorded limits and ours.

    Attributes:
        thresholds, policy, buckets: the setting ours were made with.
        rows: one row is a recorded limit, by project, group, ``at`` and ``date``: project_id, group_id; ``source``
            (``escalation``: the limit in force when the group escalated; ``forecast``: a day of a stored forecast);
            ``at`` (of the escalation, or when the forecast was stored); ``date``, the UTC day the limit is for;
            ``recorded`` and ``ours``, events per clock hour (ours is null where there are no counts, or no limit can
            be given); ``rule``, the branch that made ours; ``made_at``, when ours was made (null for the fallback);
            ``difference``, ours - recorded, and ``ratio``, ours / recorded; ``comparable``, whether all of the 168
            hours behind ours were exported; ``cause``, see ``DIFFERENCES``; ``cause_at``, when the forecast was made
            where the cause is another moment.
    """

    thresholds: ThresholdVariables
    policy: Policy
    buckets: Buckets
    rows: pl.DataFrame

    def summary(self) -> pl.DataFrame:
        """One row for each source and one for both: limits, groups, comparable, equal, share_equal.

        The share is that of the comparable limits, null where there are none.
        """
        both = pl.concat([self.rows.with_columns(source=pl.lit("all")), self.rows])
        return (
            both.group_by("source", maintain_order=True)
            .agg(limits=pl.len().cast(pl.Int64), groups=pl.struct(KEY).n_unique().cast(pl.Int64), **_equal())
            .with_columns(share_equal=_share("equal", "comparable"))
        )

    def by_rule(self) -> pl.DataFrame:
        """One row for each branch that made ours, and how far the comparable ones are from those recorded.

        rule (null where we have no limit), comparable, equal, share_equal; of the difference the least, the median and
        the most; of the ratio the median.
        """
        difference = pl.col("difference")
        return (
            self.rows.filter("comparable")
            .group_by("rule")
            .agg(
                **_equal(),
                least=difference.min(),
                median=difference.median(),
                most=difference.max(),
                median_ratio=pl.col("ratio").median(),
            )
            .with_columns(share_equal=_share("equal", "comparable"))
            .select("rule", "comparable", "equal", "share_equal", "least", "median", "most", "median_ratio")
            .sort("rule")
        )

    def by_cause(self) -> pl.DataFrame:
        """One row for each cause, the most frequent first: cause, limits, share, median_difference and meaning."""
        return (
            self.rows.group_by("cause")
            .agg(limits=pl.len().cast(pl.Int64), median_difference=pl.col("difference").median())
            .with_columns(
                share=_share("limits", pl.col("limits").sum()),
                meaning=pl.col("cause").cast(pl.String).replace_strict(DIFFERENCES, return_dtype=pl.String),
            )
            .sort(pl.col("cause") != "equal", -pl.col("limits"), "cause")
            .select("cause", "limits", "share", "median_difference", "meaning")
        )

    def __repr__(self) -> str:
        equal, comparable = self.rows.select(**_equal()).select("equal", "comparable").row(0)
        return f"Parity({self.thresholds}, {self.policy.name}, {self.buckets}: {equal} of {comparable} equal)"


def _equal() -> dict[str, pl.Expr]:
    comparable = pl.col("comparable")
    return {
        "comparable": comparable.sum().cast(pl.Int64),
        "equal": (comparable & (pl.col("cause") == "equal")).sum().cast(pl.Int64),
    }


def _share(part: str, whole: str | pl.Expr) -> pl.Expr:
    whole = pl.col(whole) if isinstance(whole, str) else whole
    return pl.when(whole > 0).then(pl.col(part) / whole)


def parity(
    counts: pl.DataFrame | pl.LazyFrame,
    status_changes: pl.DataFrame | pl.LazyFrame,
    recorded_forecasts: pl.DataFrame | pl.LazyFrame | None = None,
    *,
    occurrences: pl.DataFrame | pl.LazyFrame | None = None,
    altered: pl.DataFrame | pl.LazyFrame | None = None,
    thresholds: ThresholdVariables = STANDARD,
    policy: Policy = PRODUCTION,
    buckets: Buckets = "sparse",
    start: datetime | None = None,
) -> Parity:
    """Compare every limit that the tracker recorded with ours for that group and day.

    For a recorded escalation ours is the limit in force at that moment, along the record: the newest that was made when
    the group was archived until escalating or, while it was, at a refresh of the policy, if it is younger than 14 days;
    else one that was made up for after an occurrence had found none; else the fallback. For a stored forecast it is
    the limit of the 168 whole hours before the hour in which it was stored.

    Where they differ, other ways of making the limit are tried. A way that leads to the recorded value is its likely
    cause; of several the one that explains most of all differences, since one tracker had one reason.

    Args:
        counts: contract ``HourlyCounts``.
        status_changes: contract ``StatusChanges``; where the archive before an escalation is missing, the group is
            taken to have been archived since its status before.
        recorded_forecasts: contract ``RecordedForecasts``.
        occurrences: contract ``Occurrences``: to know what came in parts of an hour. Without, such hours count as a
            whole.
        altered: project_id, group_id of groups whose events were moved or deleted after the fact, such as
            ``dataset.altered_groups``.
        thresholds: the five thresholds.
        policy: one with a lifecycle, such as ``PRODUCTION``.
        buckets: as in :func:`~issue_analytics.forecast.forecast`.
        start: since when counts were recorded, on the hour; by default their first hour.

    Returns:
        The comparison, see :class:`Parity`; without a row where nothing was recorded.

    Raises:
        FrameError: a frame breaks its contract.
        SettingsError: a setting makes no sense, or the policy has no lifecycle.

    >>> from datetime import UTC
    >>> from issue_analytics.counts import HOUR
    >>> monday = datetime(2026, 1, 5, tzinfo=UTC)
    >>> hours = [(1, 7, monday + n * HOUR, 3 + n % 2) for n in range(240)]
    >>> counts = pl.DataFrame(hours, schema=["project_id", "group_id", "hour", "count"], orient="row")
    >>> at = monday + 230 * HOUR
    >>> changes = pl.DataFrame({"project_id": [1, 1], "group_id": [7, 7], "at": [at - 20 * HOUR, at],
    ...     "kind": ["archived_until_escalating", "escalating"], "cause": [None, "forecast"], "forecast": [None, 22],
    ...     "source": ["activity", "activity"]})
    >>> parity(counts, changes).rows.select("recorded", "ours", "rule", "cause").rows()
    [(22, 21, 'spike', 'rounding')]
    """
    if not policy.lifecycle:
        raise SettingsError(f"policy: {policy.name!r} has no lifecycle; use PRODUCTION or one made from it.")
    check_thresholds(thresholds)
    check_buckets(buckets)
    changes = check(eager(status_changes), "StatusChanges")
    stored = empty("RecordedForecasts") if recorded_forecasts is None else eager(recorded_forecasts)
    # a history that was cut off lacks archives, which are taken to have been; and merges change no status
    told = recorded_states(changes.filter(pl.col("kind") != CUT)).filter(~pl.col("kind").is_in(COUNTS_CHANGED))
    recorded = recorded_limits(told, check(stored, "RecordedForecasts"))
    concerned = recorded.select(KEY).unique()
    known = check(eager(counts), "HourlyCounts")
    ends = span(known)
    begins = whole_hour("start", start) if start is not None else ends[0] if ends else None
    events = None
    if occurrences is not None:
        lazy = require(occurrences.lazy(), "Occurrences", columns=(*KEY, "detected_at"))
        events = lazy.select(*KEY, "detected_at").join(concerned.lazy(), on=KEY, how="semi").collect()
    known = known.join(concerned, on=KEY, how="semi").select(*KEY, "hour", "count")
    changes = changes.join(concerned, on=KEY, how="semi")
    born = births(changes).rename({"born": "first_seen"})
    keys = recorded.select(KEY).clear() if altered is None else whole_numbers("altered", altered).unique().collect()
    study = Study(
        recorded=recorded,
        history=History(known, born, events),
        active=known.filter(pl.col("count") > 0).select(*KEY, "hour").sort("hour"),
        came=came(known, events),
        spells=spells(told, recorded),
        born=born,
        altered=keys,
        begins=begins,
        thresholds=thresholds,
        policy=policy,
        buckets=buckets,
    )
    return Parity(thresholds, policy, buckets, study.compared())
