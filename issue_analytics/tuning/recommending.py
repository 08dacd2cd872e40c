"""The setting one can defend: chosen on earlier data, corrected for the search, judged on later data."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from issue_analytics.backtest.summary import Cluster, cluster_columns
from issue_analytics.errors import SettingsError
from issue_analytics.scores import (
    cluster_interval,
    time_split,
)
from issue_analytics.scores.by import probability
from issue_analytics.scores.strata import STRATA
from issue_analytics.thresholds import STANDARD, ThresholdVariables, check_thresholds
from issue_analytics.tuning.choosing import Choice, check_errors, choose_from, pareto_front
from issue_analytics.tuning.family import MOST, Family
from issue_analytics.tuning.held_out import difference, frame_of, ratios_of, segments_held_out
from issue_analytics.tuning.honest import MIN_EVENTS, ROWS, SelectionCorrected, corrected_of, enough, sides
from issue_analytics.tuning.objective import Objective, Totals
from issue_analytics.tuning.prepared import Prepared, prepare
from issue_analytics.tuning.segments import SegmentThresholds, segment_thresholds
from issue_analytics.tuning.settings import VARIABLES, array_of, as_frame, as_settings, digests_of
from issue_analytics.tuning.tallies import Tallies
from issue_analytics.tuning.why import why_of

__all__ = ["Recommendation", "recommend"]

Floats = NDArray[np.float64]

_DAY: Final = timedelta(days=1)
_CELLS: Final = 20_000_000
"""Settings times clusters tallied at a time: three tables of 80 MB."""

_PLATEAU: Final = 10
"""Settings as good as the best that are listed as alternatives; all are in ``corrected.choice.plateau``."""

_HELD_OUT: Final = ("held_out", "held_out_low", "held_out_high")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Recommendation:
    """A setting, what else could be taken, and why.

    ``thresholds``, ``best``, ``apparent`` and ``corrected`` come from the data before ``cut`` alone, ``held_out`` from
    those after it and the embargo alone. Without held-out data (``cut`` is None) all data chose.

    Attributes:
        thresholds: the recommended ones: the simplest within the standard error of the best.
        default: what one has.
        best: the best of the search by the objective; partly luck.
        on_all_data: what the same rule takes on all data; nothing is left to judge it by.
        objective: what was asked.
        table: a row for each of ``default``, ``best``, ``recommended`` (column ``setting``) and score: ``digest``,
            ``score``, and ``apparent``, ``corrected`` and ``held_out`` with their ``_low`` and ``_high``. Null: not
            defined, or nothing held out.
        differences: ``best`` and ``recommended`` less the default, for each score: ``apparent``, ``corrected`` and
            ``held_out`` difference, the last two with ``_low`` and ``_high``; of the same clusters.
        alternatives: a row per setting one might take instead: ``why``, the five variables, ``digest``, ``alerts``,
            ``events``, ``events_caught``, ``false_alarms`` (on the data that chose).
        stability: how often each setting was chosen on resamples, see ``SelectionCorrected.settings``.
        variables: how often each value of each variable was.
        p: of the best's gain, or a larger one, if no setting tried were better than the default; see
            :func:`~issue_analytics.tuning.reality.superior_ability`.
        better: whether the recommended setting is better than the default: ``"yes"`` if that interval of the corrected
            difference excludes 0 on the good side and p is at most 1 - confidence, ``"unsure"`` if one of the two,
            ``"not shown"`` if neither; ``"same"`` if it does what the default does; ``"other bound"`` if the default
            does not keep the objective's bound (or is not among the nearest), so that scores do not compare.
        why: what was asked, what was found, and how much of it is luck, in sentences.
        corrected: everything on the choosing.
        cut: where time was cut; None if nothing was held out.
        held_out_events: escalations judged after it.
        segments: thresholds of their own by ``by``, chosen on the same data as all else; None if not asked for.
        segments_held_out: what they come to after the cut, beside the one setting they are held against, see
            :func:`~issue_analytics.tuning.held_out.segments_held_out`; None if not asked for, or nothing was held out.
    """

    thresholds: ThresholdVariables
    default: ThresholdVariables
    best: ThresholdVariables
    on_all_data: ThresholdVariables
    objective: Objective
    table: pl.DataFrame
    differences: pl.DataFrame
    alternatives: pl.DataFrame
    stability: pl.DataFrame
    variables: pl.DataFrame
    p: float
    better: str
    why: tuple[str, ...]
    corrected: SelectionCorrected
    cut: datetime | None
    held_out_events: int | None
    segments: SegmentThresholds | None = None
    segments_held_out: pl.DataFrame | None = None

    def __repr__(self) -> str:
        return "\n".join([f"Recommendation({self.thresholds})", *(f"  {sentence}" for sentence in self.why)])


def recommend(
    counts: pl.DataFrame | pl.LazyFrame,
    escalations: pl.DataFrame | pl.LazyFrame,
    settings: pl.DataFrame | Iterable[ThresholdVariables],
    *,
    objective: Objective,
    default: ThresholdVariables = STANDARD,
    held_out: float | datetime | None = 1 / 3,
    embargo: timedelta = _DAY,
    by: str | None = None,
    cluster: Cluster = "group",
    errors: float = 1.0,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    min_events: int = MIN_EVENTS,
    progress: bool | None = None,
    **options: Any,
) -> Recommendation:
    """Search settings, take the simplest of what is as good as the best, and say what is left of it on unseen data.

    Time is cut. The earlier part chooses: every setting is swept, the best by the objective found, and the simplest
    within a standard error of it recommended (:func:`~issue_analytics.tuning.choosing.choose`); drawing clusters again
    says what the search made better than it is (:func:`~issue_analytics.tuning.honest.selection_corrected`). The later
    part judges the default, the best and the recommended setting, and nothing else. Two thirds choose, because a
    choice needs more escalations than a verdict on three settings.

    The recommended setting is the one that was judged. What the same rule takes on all data is ``on_all_data``: from
    more data, but without a verdict.

    Args:
        counts: contract ``HourlyCounts``.
        escalations: contract ``Escalations``: the truth; not the algorithm's own flags.
        settings: a grid, a sample, or thresholds; the default is added if it is not among them.
        objective: what is asked.
        default: what one has, and what changes are counted from.
        held_out: the share of judged time that is held out, the moment of the cut (on the hour), or None: nothing.
        embargo: as in :func:`~issue_analytics.scores.splits.time_split`.
        by: a stratum, such as ``"volume"``, by which thresholds of their own are tried as well, see
            :func:`~issue_analytics.tuning.segments.segment_thresholds`.
        cluster: what is drawn and falls together in intervals, ``"group"`` or ``"project"``: issues of one project are
            siblings; with enough projects it is the more honest choice.
        errors: reach of the plateau in standard errors; 0 takes the best.
        resamples: how many to draw.
        confidence: of the intervals.
        seed: the same seed gives the same answer.
        min_events: refuse to choose from fewer escalations, or from fewer than half as many clusters that have one.
        progress: None shows a bar if it takes more than two seconds, False never.
        **options: those of :func:`~issue_analytics.tuning.prepared.prepare`.

    Raises:
        SettingsError: there are too few escalations to choose by, too many settings for the clusters, or an argument
            makes no sense.
        FrameError: a frame breaks its contract, or there are too few hours.

    >>> from issue_analytics.simulate import simulate
    >>> sim = simulate(groups=600, days=42, seed=3)
    >>> grid = ThresholdVariables.grid(min_bursty_multiplier=[1, 1.5, 2, 3])
    >>> found = recommend(sim.hourly_counts, sim.escalations, grid, objective=Objective(cost_ratio=10), resamples=200)
    >>> found.table["setting"].unique(maintain_order=True).to_list()
    ['default', 'best', 'recommended']
    >>> print(found.why[0])
    Asked: a missed escalation costs 10 false alarms: lowest cost, then fewest false alarms.
    """
    check_thresholds(default)
    if not isinstance(objective, Objective):
        raise SettingsError(f"objective: expected an Objective, got {objective!r}.")
    cluster_columns(cluster)
    if by is not None and by not in STRATA:
        raise SettingsError(f"by: {by!r} is none of {', '.join(STRATA)}.")
    confidence = probability("confidence", confidence)
    check_errors(errors)
    values = _with_default(as_settings(settings), default)
    whole = prepare(counts, escalations, **options)
    cut = _cut(whole, held_out)
    early, late = (whole, None) if cut is None else _split(whole, cut, embargo, options)
    by_cluster = early.groups.group_by(cluster_columns(cluster)).agg(pl.col("events").sum())["events"]
    try:
        enough(by_cluster.to_numpy(), min_events, kind=f"{cluster}s")
    except SettingsError as error:
        if cut is None:
            raise
        raise SettingsError(
            f"before {cut:%Y-%m-%d %H:%M}: {error} held_out= moves the cut; None chooses on all data."
        ) from None
    from tqdm.auto import tqdm

    number = len(values) * (1 if late is None else 2)
    with tqdm(total=number, desc="recommend", unit="setting", delay=2, leave=False, disable=progress is False) as bar:
        family = Family.gathered(values, _parts(early, values, cluster, bar), default)
        _say(bar, "drawing again")
        found = corrected_of(
            family, family.find(default, values), objective, default=default, errors=errors, resamples=resamples,
            confidence=confidence, seed=seed,
        )  # fmt: skip
        choice = on_all = found.choice
        if late is not None:
            _say(bar, "all of the time")
            every = Family.gathered(values, _parts(whole, values, cluster, bar), default)
            on_all = choose_from(every, objective, default, errors)[0]
    split = split_later = None
    if by is not None:
        split = segment_thresholds(
            _whole_tallies(early, values, cluster), as_frame(values), objective, early.groups, by, default=default,
            errors=errors, resamples=resamples, confidence=confidence, seed=seed, min_events=min_events,
        )  # fmt: skip
        if late is not None:
            split_later = segments_held_out(
                split, late, cluster=cluster, confidence=confidence, resamples=resamples, seed=seed
            )
    three = [default, choice.best, choice.recommended]
    judged = None if late is None else late.tallies(three, cluster=cluster)
    table = _table(found, judged, objective, three, confidence)
    differences = _differences(found, judged, objective, confidence, resamples, seed)
    better = _better(found, objective, family, default, values)
    return Recommendation(
        thresholds=choice.recommended,
        default=default,
        best=choice.best,
        on_all_data=on_all.recommended,
        objective=objective,
        table=table,
        differences=differences,
        alternatives=_alternatives(family, choice, on_all.recommended if cut is not None else None, values),
        stability=found.settings,
        variables=found.variables,
        p=found.p,
        better=better,
        why=why_of(
            found, table, differences, better, whole, cut, embargo, on_all.recommended, default, judged, cluster
        ),
        corrected=found,
        cut=cut,
        held_out_events=None if judged is None else int(judged.events.sum()),
        segments=split,
        segments_held_out=split_later,
    )


def _with_default(values: Floats, default: ThresholdVariables) -> Floats:
    known = (values == array_of(default)).all(axis=1).any()
    return values if known else np.concatenate([array_of(default)[None], values])


def _cut(prepared: Prepared, held_out: float | datetime | None) -> datetime | None:
    """Where judged time is cut: after a whole UTC day, unless it was said."""
    if held_out is None or isinstance(held_out, datetime):
        return held_out
    share = probability("held_out", held_out)
    start, end = prepared.exposure["start"].min(), prepared.exposure["end"].max()
    if not (isinstance(start, datetime) and isinstance(end, datetime)):
        raise SettingsError("held_out: no hour is judged, so there is nothing to hold out.")
    cut = start + (1 - share) * (end - start)
    day = cut.replace(hour=0, minute=0, second=0, microsecond=0)
    return day if day > start else cut.replace(minute=0, second=0, microsecond=0)


def _split(whole: Prepared, cut: datetime, embargo: timedelta, options: dict[str, Any]) -> tuple[Prepared, Prepared]:
    """The two parts, each prepared from its own data; what is judged was decided on the whole."""
    matching = whole.matching
    split = time_split(
        whole.counts, whole.escalations, whole.exposure, at=cut, embargo=embargo, lead_hours=matching.lead_hours,
        grace_hours=matching.grace_hours, open_hours=matching.open_hours,
    )  # fmt: skip
    # these two have done their part in the whole
    rest = {name: value for name, value in options.items() if name not in ("exposure", "silence", "leave_out")}
    early, late = (
        prepare(part.counts, part.escalations, exposure=part.exposure, **rest) for part in (split.train, split.test)
    )
    return early, late


def _parts(prepared: Prepared, values: Floats, cluster: Cluster, bar: Any) -> Iterator[Tallies]:
    """Tallies, as many settings at a time as fit."""
    step = max(64, _CELLS // max(1, prepared.groups.height))
    for begin in range(0, len(values), step):
        rows = pl.DataFrame(values[begin : begin + step], schema=list(VARIABLES), orient="row")
        yield prepared.tallies(rows, cluster=cluster)
        bar.update(rows.height)


def _say(bar: Any, text: str) -> None:
    """What a bar is at; to show that at once would show the bar before its time."""
    bar.set_postfix_str(text, refresh=not bar.disable and bar.format_dict["elapsed"] > bar.delay)


def _whole_tallies(prepared: Prepared, values: Floats, cluster: Cluster) -> Tallies:
    """Tallies of all settings at once, which segments need."""
    if (cells := len(values) * prepared.groups.height) > MOST:
        raise SettingsError(
            f"by: {len(values):,} settings of {prepared.groups.height:,} groups are {cells:,} numbers; at most "
            f"{MOST:,}. Take fewer values."
        )
    return prepared.tallies(as_frame(values), cluster=cluster)


def _each(tallies: Tallies, setting: int) -> Totals:
    """What one setting comes to in every cluster, in place of sums."""
    days = tallies.project_days
    days = np.full(tallies.clusters.height, np.nan) if days is None else days
    hours = (tallies.events, tallies.exposed_hours, tallies.quiet_hours, days)
    counts = [
        side[setting].astype(np.float64)[:, None]
        for side in (tallies.alerts, tallies.false_alarms, tallies.events_caught)
    ]
    return Totals(*(side.astype(np.float64) for side in hours), *counts)


def _table(
    found: SelectionCorrected,
    judged: Tallies | None,
    objective: Objective,
    three: list[ThresholdVariables],
    confidence: float,
) -> pl.DataFrame:
    digests = dict(zip(ROWS, (setting.digest for setting in three), strict=True))
    rows: list[tuple[object, ...]] = []
    if judged is not None:
        for at, name in enumerate(ROWS):
            for score, side in sides(_each(judged, at), objective).items():
                interval = cluster_interval(
                    side.top, side.bottom, share=side.share, counts=side.counts, confidence=confidence
                )
                rows.append((name, score, *(float(value) * side.scale for value in interval[:3])))
    schema = {"setting": pl.String, "score": pl.String} | dict.fromkeys(_HELD_OUT, pl.Float64)
    held = pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col(_HELD_OUT).fill_nan(None))
    return (
        found.scores.join(held, on=["setting", "score"], how="left", maintain_order="left")
        .with_columns(digest=pl.col("setting").replace_strict(digests))
        .select("setting", "digest", "score", pl.all().exclude("setting", "digest", "score"))
    )


def _differences(
    found: SelectionCorrected,
    judged: Tallies | None,
    objective: Objective,
    confidence: float,
    resamples: int,
    seed: int,
) -> pl.DataFrame:
    schema = {"setting": pl.String, "score": pl.String} | dict.fromkeys(_HELD_OUT, pl.Float64)
    held = pl.DataFrame(schema=schema)
    if judged is not None:
        ratios = [
            ratio
            for ratio in ratios_of(objective)
            if ratio.name != "alerts_per_project_day" or judged.project_days is not None
        ]
        frames = [frame_of(judged, at) for at in range(len(ROWS))]
        parts = [
            difference(
                frames[0], frames[at], ratios, judged.clusters.columns, confidence=confidence, resamples=resamples,
                seed=seed,
            ).select(setting=pl.lit(name), score="score", held_out="estimate", held_out_low="low", held_out_high="high")
            for at, name in enumerate(ROWS)
            if at
        ]  # fmt: skip
        held = pl.concat(parts)
    return found.differences.join(held, on=["setting", "score"], how="left", maintain_order="left")


def _better(
    found: SelectionCorrected, objective: Objective, family: Family, default: ThresholdVariables, values: Floats
) -> str:
    reference = family.find(default, values)
    if reference == family.find(found.choice.recommended, values):
        return "same"
    allowed, _ = objective.nearest(family.totals(np.ones((1, family.clusters))))
    if not allowed[0, reference]:
        return "other bound"
    low, high = found.differences.row(
        by_predicate=(pl.col("setting") == "recommended") & (pl.col("score") == objective.score_name)
    )[4:6]
    good = low is not None and (low > 0 if objective.score_name == "recall" else high < 0)
    return ("not shown", "unsure", "yes")[good + (found.p <= 1 - found.confidence + 1e-9)]


def _alternatives(family: Family, choice: Choice, on_all: ThresholdVariables | None, values: Floats) -> pl.DataFrame:
    """Settings one might take instead, each once."""
    totals = family.totals(np.ones((1, family.clusters)))
    names = ("alerts", "events_caught", "false_alarms")
    table = (
        pl.DataFrame(family.values, schema=list(VARIABLES), orient="row")
        .with_columns(digests_of(family.values).alias("digest"), events=pl.lit(int(totals.events[0]), pl.Int64))
        .with_columns(pl.Series(name, getattr(totals, name)[0]).cast(pl.Int64) for name in names)
    )
    mine = table.row(family.find(choice.recommended, values), named=True)
    front = pareto_front(table)
    more = front.filter(pl.col("events_caught") > mine["events_caught"]).head(1)
    fewer = front.filter(pl.col("false_alarms") < mine["false_alarms"]).tail(1)
    near = table.filter(pl.col("digest").is_in(choice.plateau["digest"].head(_PLATEAU + 1).implode()))
    told = [
        (table[family.find(choice.best, values)], "best of the search"),
        (near, "as good as the best but for chance"),
        (more, "catches more: next on the Pareto front"),
        (fewer, "fewer false alarms: next on the Pareto front"),
    ]
    if on_all is not None:
        told.append((table[family.find(on_all, values)], "the same rule on all data, judged by none"))
    order = ["why", *VARIABLES, "digest", "alerts", "events", "events_caught", "false_alarms"]
    return (
        pl.concat([rows.select(table.columns).with_columns(why=pl.lit(why)) for rows, why in told])
        .filter(pl.col("digest") != mine["digest"])
        .unique("digest", keep="first", maintain_order=True)
        .select(order)
    )
