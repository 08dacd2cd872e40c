"""What is judged, whatever the thresholds: checked frames, watched hours, and when limits are refreshed."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from issue_analytics.backtest.policy import Policy
from issue_analytics.backtest.spans import Silence, clip, inside, observed, whole_hours
from issue_analytics.counts import HOUR, span
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.frames import KEY, check, eager, empty, whole_numbers

__all__ = ["Judged", "Past", "past", "watched_spans", "within"]


@dataclass(frozen=True, slots=True)
class Past:
    """Checked frames of what happened, without the groups left out.

    Attributes:
        counts: contract ``HourlyCounts``, its columns only.
        escalations: contract ``Escalations``; without a row where nothing is known.
        labelled: whether anything is known.
        exposure: contract ``Exposure``, as it was given.
        left_out: project_id, group_id: groups left out that had counts.
        start: the first hour of the data.
        first: the first refresh with a whole window of data behind it: where judging begins.
        end: the end of the data.
    """

    counts: pl.DataFrame
    escalations: pl.DataFrame
    labelled: bool
    exposure: pl.DataFrame | None
    left_out: pl.DataFrame
    start: datetime
    first: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Judged:
    """Hours that limits are compared with.

    Attributes:
        spans: contract ``Exposure``, whole hours within the judged time.
        history: contract ``HourlyCounts``: all counts of groups with a span.
        watched: those within a span.
    """

    spans: pl.DataFrame
    history: pl.DataFrame
    watched: pl.DataFrame


def past(
    counts: pl.DataFrame | pl.LazyFrame,
    escalations: pl.DataFrame | pl.LazyFrame | None,
    *,
    exposure: pl.DataFrame | pl.LazyFrame | None,
    leave_out: pl.DataFrame | pl.LazyFrame | None,
    policy: Policy,
    history_hours: int,
) -> Past:
    """Check the frames of a backtest, and find the time that can be judged, after so many hours of history.

    Raises:
        FrameError: a frame breaks its contract, or the counts are too short to judge a single hour.
    """
    counts = check(eager(counts), "HourlyCounts")
    labelled = escalations is not None
    known = check(eager(escalations), "Escalations") if escalations is not None else empty("Escalations")
    spans = check(eager(exposure), "Exposure") if exposure is not None else None
    left_out = counts.select(KEY).clear()
    if leave_out is not None:
        keys = whole_numbers("leave_out", leave_out).collect()
        left_out = counts.select(KEY).join(keys, on=KEY, how="semi").unique().sort(KEY)
        counts, known = (frame.join(keys, on=KEY, how="anti") for frame in (counts, known))
        spans = spans.join(keys, on=KEY, how="anti") if spans is not None else None
    ends = span(counts)
    window = timedelta(hours=history_hours)
    first = policy.moments(ends[0] + window, ends[1]) if ends else []
    if ends is None or not first:
        length = (ends[1] - ends[0]) if ends else timedelta(0)
        raise FrameError(
            f"HourlyCounts: {length / HOUR:.0f} hours are too few to judge any: limits look back "
            f"{history_hours} hours, and the next refresh ({policy.schedule}) must lie in the data."
        )
    counts = counts.select(*KEY, "hour", "count")
    return Past(counts, known, labelled, spans, left_out, ends[0], first[0], ends[1])


def watched_spans(known: Past, silence: Silence, policy: Policy, history_hours: int) -> pl.DataFrame:
    """The exposure that was given, or that silence tells of (see :func:`~issue_analytics.backtest.judge.backtest`).

    Raises:
        SettingsError: ``silence`` is neither of the two.
    """
    if silence not in ("implied", "recorded"):
        raise SettingsError(f"silence: {silence!r} is neither 'implied' nor 'recorded'.")
    if known.exposure is not None:
        return known.exposure.select(*KEY, "start", "end")
    window = timedelta(hours=history_hours)
    return observed(known.counts, silence, policy, window, (known.start, known.end))


def within(known: Past, spans: pl.DataFrame) -> Judged:
    """Cut spans to the judged time, and find the counts that are judged and those that limits are made from."""
    spans = whole_hours(clip(spans, known.first, known.end))
    history = known.counts.join(spans.select(KEY).unique(), on=KEY, how="semi")
    return Judged(spans, history, inside(history, spans))
