"""Validation design: what settings are chosen on, and what they are judged on, kept apart.

Every part plugs into a backtest: ``ia.backtest(part.counts, part.escalations, exposure=part.exposure)``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Final

import numpy as np
import polars as pl

from issue_analytics.counts import HOUR, span, whole_hour
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.frames import KEY, check, eager

__all__ = ["Part", "Split", "project_split", "rolling_origin", "time_split"]

_DAY: Final = timedelta(days=1)
_PAST: Final = datetime(1, 1, 1, tzinfo=UTC)
_FUTURE: Final = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One side of a split.

    Attributes:
        counts: contract ``HourlyCounts``: what is judged, and the history that limits look back on. Where the data of
            the other side reached further, a row with count 0 says that these did too.
        escalations: contract ``Escalations``: those whose time lies in this part as a whole.
        exposure: contract ``Exposure``: the hours to judge; not those about escalations of neither side.
    """

    counts: pl.DataFrame
    escalations: pl.DataFrame
    exposure: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Two parts, and what is in neither.

    Attributes:
        train: what settings, cut-points and baselines may be fitted on.
        test: what they are judged on.
        dropped: contract ``Escalations``: those in neither part.
    """

    train: Part
    test: Part
    dropped: pl.DataFrame


def time_split(
    counts: pl.DataFrame | pl.LazyFrame,
    escalations: pl.DataFrame | pl.LazyFrame,
    exposure: pl.DataFrame | pl.LazyFrame | None = None,
    *,
    at: datetime,
    embargo: timedelta = _DAY,
    lead_hours: float = 1,
    grace_hours: float = 1,
    open_hours: float = 24,
) -> Split:
    """Split at a moment: train on what was known before it, test on what came an embargo later.

    The time of an escalation is [its start - lead, its end + grace), as in ``Matching``. Escalations whose time crosses
    the cut or the embargo go to neither side, and their hours are exposed on neither. Train ends ``lead_hours`` before
    the cut: whether an alert in these hours is early or false is known only after it. So nothing at or after the cut
    changes anything in train (that an escalation had not ended by then is known). Test has earlier counts as history,
    because limits look back; only hours after the embargo are exposed.

    Args:
        counts: contract ``HourlyCounts``.
        escalations: contract ``Escalations``.
        exposure: contract ``Exposure``; None: every group from its first hour to the end of the data.
        at: the cut, on the hour.
        embargo: how long after the cut nothing is judged; it should be as long as what a setting can be fitted to
            echoes, such as the usual escalation.
        lead_hours: as in ``Matching``.
        grace_hours: as in ``Matching``.
        open_hours: as in ``Matching``: how long an escalation without a recorded end is taken to last.

    Returns:
        The split; ``train``, ``test`` and ``dropped`` have every escalation once.

    Raises:
        FrameError: a frame breaks its contract, or there are no counts.
        SettingsError: ``at`` is not within the data or not on the hour, or a duration is negative.

    >>> start = datetime(2026, 1, 5, tzinfo=UTC)
    >>> hours = [start + n * HOUR for n in range(480)]
    >>> counts = pl.DataFrame({"project_id": [1] * 480, "group_id": [7] * 480, "hour": hours, "count": [3] * 480})
    >>> two = pl.DataFrame({"project_id": [1, 1], "group_id": [7, 7], "escalated_at": [hours[320], hours[400]],
    ...     "ended_at": [hours[340], hours[410]], "provenance": "human"})
    >>> split = time_split(counts, two, at=hours[336])
    >>> split.train.escalations.height, split.test.escalations.height, split.dropped.height
    (0, 1, 1)
    >>> split.train.exposure.select((pl.col("end") - start).dt.total_hours()).item()
    319
    """
    data = _data(counts, escalations, exposure, lead_hours, grace_hours, open_hours)
    return _time_split(data, _cut("at", at, data), None, _embargo(embargo))


def rolling_origin(
    counts: pl.DataFrame | pl.LazyFrame,
    escalations: pl.DataFrame | pl.LazyFrame,
    exposure: pl.DataFrame | pl.LazyFrame | None = None,
    *,
    first: datetime,
    step: timedelta,
    embargo: timedelta = _DAY,
    lead_hours: float = 1,
    grace_hours: float = 1,
    open_hours: float = 24,
) -> Iterator[Split]:
    """Split at ``first`` and every ``step`` after it: train on all before a cut, test up to the next one.

    Each is a :func:`time_split` of the data as they were at the next cut, so that no hour is tested twice. Escalations
    whose time crosses that one are dropped from the test too, and it ends ``lead_hours`` before it; the last test goes
    to the end of the data. Tune within a train part, never across folds (Varma & Simon 2006).

    Args:
        counts: contract ``HourlyCounts``.
        escalations: contract ``Escalations``.
        exposure: contract ``Exposure``; None: every group from its first hour to the end of the data.
        first: the first cut, on the hour.
        step: from one cut to the next, whole hours; longer than the embargo, and than most escalations.
        embargo: as in :func:`time_split`.
        lead_hours: as in ``Matching``.
        grace_hours: as in ``Matching``.
        open_hours: as in ``Matching``.

    Returns:
        Splits in the order of time, each made when it is asked for; ``dropped`` holds what comes after the test, too.

    Raises:
        FrameError: a frame breaks its contract, or there are no counts.
        SettingsError: ``first`` is not within the data or not on the hour, or a duration makes no sense.

    >>> start = datetime(2026, 1, 5, tzinfo=UTC)
    >>> from issue_analytics.frames import empty
    >>> hours = [start + n * HOUR for n in range(480)]
    >>> counts = pl.DataFrame({"project_id": [1] * 480, "group_id": [7] * 480, "hour": hours, "count": [3] * 480})
    >>> splits = rolling_origin(counts, empty("Escalations"), first=start + 240 * HOUR, step=timedelta(days=4))
    >>> [split.test.exposure.select((pl.col("start", "end") - start).dt.total_hours()).row(0) for split in splits]
    [(264, 335), (360, 431), (456, 480)]
    """
    embargo = _embargo(embargo)
    if not isinstance(step, timedelta) or step % HOUR or step <= embargo:
        raise SettingsError(f"step: expected whole hours, more than the embargo of {embargo}, got {step!r}.")
    data = _data(counts, escalations, exposure, lead_hours, grace_hours, open_hours)
    cut = _cut("first", first, data)
    cuts = [cut + number * step for number in range(-((cut + embargo - data.end) // step))]
    return (_time_split(data, at, until, embargo) for at, until in zip_longest(cuts, cuts[1:]))


def project_split(
    counts: pl.DataFrame | pl.LazyFrame,
    escalations: pl.DataFrame | pl.LazyFrame,
    exposure: pl.DataFrame | pl.LazyFrame | None = None,
    *,
    share: float = 0.3,
    seed: int = 0,
) -> Split:
    """Hold out whole projects, drawn at random: issues of one release are siblings, and no test of each other.

    Args:
        counts: contract ``HourlyCounts``.
        escalations: contract ``Escalations``.
        exposure: contract ``Exposure``; None: every group from its first hour to the end of the data.
        share: of the projects that are held out for the test; at least one is, and one is not.
        seed: of the draw.

    Returns:
        The split; nothing is dropped.

    Raises:
        FrameError: a frame breaks its contract, or there are counts of fewer than two projects.
        SettingsError: ``share`` is not between 0 and 1.

    >>> hours = [datetime(2026, 1, 5, tzinfo=UTC) + n * HOUR for n in range(4)]
    >>> counts = pl.DataFrame({"project_id": [1, 2, 3, 4], "group_id": [7] * 4, "hour": hours, "count": [5] * 4})
    >>> from issue_analytics.frames import empty
    >>> split = project_split(counts, empty("Escalations"), share=0.25)
    >>> split.train.counts["project_id"].n_unique(), split.test.counts["project_id"].n_unique()
    (3, 1)
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        raise SettingsError(f"share: expected a number between 0 and 1, got {share!r}.")
    data = _data(counts, escalations, exposure, 0, 0, 1)
    projects = data.counts["project_id"].unique().sort()
    if projects.len() < 2:
        raise FrameError("HourlyCounts: one project cannot be split; split by time.")
    number = min(max(1, round(share * projects.len())), projects.len() - 1)
    drawn = projects.gather(np.random.default_rng(seed).permutation(projects.len())[:number]).implode()
    tested = pl.col("project_id").is_in(drawn)
    train, test = (
        Part(
            counts=_reaching(data.counts.filter(side), data.start, data.end),
            escalations=data.escalations.filter(side),
            exposure=data.spans.filter(side),
        )
        for side in (~tested, tested)
    )
    return Split(train=train, test=test, dropped=data.escalations.clear())


@dataclass(frozen=True, slots=True)
class _Data:
    counts: pl.DataFrame
    escalations: pl.DataFrame
    windows: pl.DataFrame  # of the escalations, in their order: project_id, group_id, opens, closes
    spans: pl.DataFrame  # without nulls
    start: datetime
    end: datetime
    lead: timedelta


def _data(
    counts: pl.DataFrame | pl.LazyFrame,
    escalations: pl.DataFrame | pl.LazyFrame,
    exposure: pl.DataFrame | pl.LazyFrame | None,
    lead_hours: float,
    grace_hours: float,
    open_hours: float,
) -> _Data:
    hours = {"lead_hours": lead_hours, "grace_hours": grace_hours, "open_hours": open_hours}
    for name, value in hours.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise SettingsError(f"{name}: expected a number of hours, not negative, got {value!r}.")
    counts = check(eager(counts), "HourlyCounts").select(*KEY, "hour", "count")
    escalations = check(eager(escalations), "Escalations")
    ends = span(counts)
    if ends is None:
        raise FrameError("HourlyCounts: there are no counts to split.")
    if exposure is None:
        spans = counts.group_by(KEY).agg(start=pl.col("hour").min()).with_columns(end=pl.lit(ends[1])).sort(KEY)
    else:
        spans = check(eager(exposure), "Exposure").select(*KEY, "start", pl.col("end").fill_null(ends[1]))
        spans = spans.filter(pl.col("start") < pl.col("end"))
    until = pl.col("ended_at").fill_null(pl.col("escalated_at") + timedelta(hours=open_hours))
    windows = escalations.select(
        *KEY,
        opens=pl.col("escalated_at") - timedelta(hours=lead_hours),
        closes=until + timedelta(hours=grace_hours),
    )
    return _Data(counts, escalations, windows, spans, *ends, timedelta(hours=lead_hours))


def _time_split(data: _Data, at: datetime, until: datetime | None, embargo: timedelta) -> Split:
    known = _floor(at - data.lead)
    begins = _floor(at + embargo + HOUR - timedelta(microseconds=1))
    known_later = _FUTURE if until is None else _floor(until - data.lead)
    in_train = data.windows.select(pl.col("closes") <= known).to_series()
    in_test = data.windows.select((pl.col("opens") >= begins) & (pl.col("closes") <= known_later)).to_series()
    train = Part(
        counts=_reaching(data.counts.filter(pl.col("hour") < at), data.start, at),
        escalations=data.escalations.filter(in_train),
        exposure=_exposed(data.spans, data.windows.filter(~in_train), _PAST, known),
    )
    later = data.counts if until is None else data.counts.filter(pl.col("hour") < until)
    test = Part(
        counts=_reaching(later, data.start, until or data.end),
        escalations=data.escalations.filter(in_test),
        exposure=_exposed(data.spans, data.windows.filter(~in_test), begins, known_later),
    )
    return Split(train=train, test=test, dropped=data.escalations.filter(~(in_train | in_test)))


def _exposed(spans: pl.DataFrame, others: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """What of the spans lies in [start, end), without the whole hours that touch the time of other escalations."""
    spans = spans.with_columns(pl.col("start").clip(lower_bound=start), pl.col("end").clip(upper_bound=end)).filter(
        pl.col("start") < pl.col("end")
    )
    holes = others.select(
        *KEY,
        opens=pl.col("opens").dt.truncate("1h"),
        closes=(pl.col("closes") + HOUR - timedelta(microseconds=1)).dt.truncate("1h"),
    )
    # between holes: from the latest end of those before to the beginning of the next
    latest = pl.col("closes").cum_max().shift(1).over(KEY, order_by="opens")
    between = holes.select(*KEY, free=latest.fill_null(_PAST), until="opens")
    after = holes.group_by(KEY).agg(free=pl.col("closes").max()).with_columns(until=pl.lit(_FUTURE))
    pieces = (
        spans.join(pl.concat([between, after.cast(between.schema)]), on=KEY)
        .select(*KEY, start=pl.max_horizontal("start", "free"), end=pl.min_horizontal("end", "until"))
        .filter(pl.col("start") < pl.col("end"))
    )
    return pl.concat([spans.join(holes, on=KEY, how="anti"), pieces]).sort(*KEY, "start", "end")


def _reaching(counts: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """Counts that begin and end where all of the data do: by a recorded silence, if nothing happened there.

    A backtest goes from the first hour to the last one with a row, and judges a week later.
    """
    edges = [
        counts.filter(pl.col("hour") == pl.col("hour").min()).sort(KEY).head(1).with_columns(hour=pl.lit(start)),
        counts.filter(pl.col("hour") == pl.col("hour").max()).sort(KEY).head(1).with_columns(hour=pl.lit(end - HOUR)),
    ]
    silent = pl.concat(edges).with_columns(count=pl.lit(0, dtype=pl.Int64)).cast(counts.schema)
    known = counts.select("hour").unique()
    return pl.concat([counts, silent.join(known, on="hour", how="anti").unique(maintain_order=True)])


def _cut(name: str, at: datetime, data: _Data) -> datetime:
    at = whole_hour(name, at)
    if not data.start < at < data.end:
        raise SettingsError(f"{name}: {at.isoformat()} is not within the data, {data.start} to {data.end}.")
    return at


def _embargo(embargo: timedelta) -> timedelta:
    if not isinstance(embargo, timedelta) or embargo < timedelta(0):
        raise SettingsError(f"embargo: expected a timedelta, not negative, got {embargo!r}.")
    return embargo


def _floor(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
