"""Thresholds of their own for projects, volumes or types: shared under one bound, drawn to the common ones, tested."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY
from issue_analytics.scores.by import probability
from issue_analytics.thresholds import STANDARD, ThresholdVariables
from issue_analytics.tuning.family import Family, simplicity
from issue_analytics.tuning.honest import MIN_EVENTS, between, drawn_weights, enough, joined, kind_of, sides
from issue_analytics.tuning.objective import Objective, Totals
from issue_analytics.tuning.settings import VARIABLES, as_settings
from issue_analytics.tuning.tallies import Tallies

__all__ = ["SegmentThresholds", "segment_thresholds"]

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

_STEPS: Final = 24
"""Halvings of the range of prices, which is nine powers of ten: to within a millionth of the price."""

_PRICES: Final = (np.log(1e-5), np.log(1e4))
"""Of one alert (or false alarm) in escalations caught, from next to nothing to more than all of them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SegmentThresholds:
    """Thresholds by segment, and whether having them pays.

    Attributes:
        objective: what was asked, of all segments together.
        by: what segments are told by.
        common: the one setting for all, by the plateau rule.
        segments: one row per segment, most escalations first: the value (text; null where it is not known),
            ``clusters``, ``events``, ``enough`` (events for thresholds of its own), the five variables, ``digest``,
            ``changed`` (variables other than in the common setting), ``alerts``, ``false_alarms``, ``events_caught``,
            the last three under the common setting too (``..._common``), and ``left``: the share of resamples in which
            the segment left the common setting.
        scores: a row for ``common`` and ``segments`` (column ``setting``) and each score: ``apparent`` and
            ``corrected``.
        differences: a row for each score, segments less common: ``apparent``; ``corrected`` with ``corrected_low`` and
            ``corrected_high``: chosen on the clusters drawn, both, and scored on those not drawn.
        pays: whether the split is better after correction: the interval of the objective's score excludes 0 on the good
            side, and on clusters not drawn the bound is kept, or kept no worse than by the common setting.
        why: the same in a sentence.
        resamples: how often clusters were drawn.
        confidence: of the interval.
    """

    objective: Objective
    by: str
    common: ThresholdVariables
    segments: pl.DataFrame
    scores: pl.DataFrame
    differences: pl.DataFrame
    pays: bool
    why: str
    resamples: int
    confidence: float

    def thresholds(self) -> dict[str | None, ThresholdVariables]:
        """The thresholds of every segment by its value, those that take the common ones included."""
        rows = self.segments.select(self.by, *VARIABLES).rows()
        return {value: ThresholdVariables(*(int(v) if v == int(v) else v for v in values)) for value, *values in rows}

    def __repr__(self) -> str:
        own = int((self.segments["changed"] > 0).sum())
        verdict = "pays" if self.pays else "does not pay"
        return f"SegmentThresholds(by {self.by}: {own} of {self.segments.height} leave {self.common}; it {verdict})"


def segment_thresholds(
    tallies: Tallies,
    settings: pl.DataFrame | Iterable[ThresholdVariables],
    objective: Objective,
    groups: pl.DataFrame,
    by: str,
    *,
    default: ThresholdVariables = STANDARD,
    errors: float = 1.0,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    min_events: int = MIN_EVENTS,
) -> SegmentThresholds:
    """Choose thresholds for each segment under one objective, and test whether that pays.

    The bound holds for all segments *together*. A budget of alerts is spent where alerts catch most: there is one price
    of an alert (of a false alarm, for a least recall) at which every segment is best off by itself and all of them
    together keep the bound (Everett 1963). The same budget for each would leave alerts unused where nothing escalates
    and miss escalations where much does; a cost ratio is such a price already. What the price leaves over is spent on
    one segment after the other.

    Then segments are drawn back to the common setting: one leaves it only where its gain at that price is more than
    ``errors`` standard errors of the gain, by cluster, both settings on the same clusters; and it goes only as far as
    the simplest setting (fewest variables other than the common one's, smallest change) that is within that error of
    its best. The error of the gain, not that of the segment's own score, because what makes a cluster hard is hard for
    both: the other is so wide that no segment would ever leave. If the bound is broken by that, segments go all the way
    again. Segments of fewer than ``min_events`` escalations, and groups of unknown segment, take the common setting.

    Whether it pays is told by clusters not drawn, as in
    :func:`~issue_analytics.tuning.honest.selection_corrected`: the common setting and those of segments are both chosen
    on the clusters drawn.

    Args:
        tallies: settings x clusters.
        settings: the settings, in the order of the tallies; the default must be one of them.
        objective: what is asked of all segments together.
        groups: one row per group with ``project_id``, ``group_id`` and ``by``, such as ``result.groups``. Strata told
            from the past only, such as ``"volume"``: what an escalation does must not decide where it is counted.
        by: what segments are told by; where clusters are projects, ``"project_id"``.
        default: what one has, and what changes of the common setting are counted from.
        errors: reach of both plateau rules in standard errors.
        resamples: how many to draw.
        confidence: of the intervals.
        seed: the same seed gives the same answer.
        min_events: escalations needed for thresholds of their own, and (with half as many clusters) to choose at all.

    Raises:
        SettingsError: there are too few escalations, no column ``by``, a project has several values of it where
            projects are the clusters, the default is not among the settings, or an argument makes no sense.

    >>> from issue_analytics.tuning.objective import Objective
    >>> group = {"project_id": [1] * 80, "group_id": range(80)}
    >>> busy = np.arange(80) < 40  # busy groups escalate where only the first setting fires; others need the second
    >>> caught = np.stack([busy, ~busy]).astype(np.int32)
    >>> hours = np.full(80, 1680)
    >>> tallies = Tallies(clusters=pl.DataFrame(group), events=np.ones(80, dtype=np.int64), exposed_hours=hours,
    ...     quiet_hours=hours, alerts=caught, false_alarms=0 * caught, events_caught=caught)
    >>> grid = [STANDARD, ThresholdVariables(min_bursty_multiplier=1)]
    >>> volumes = pl.DataFrame(group | {"volume": ["high" if one else "low" for one in busy]})
    >>> found = segment_thresholds(tallies, grid, Objective(cost_ratio=5), volumes, "volume", resamples=200)
    >>> found
    SegmentThresholds(by volume: 1 of 2 leave ThresholdVariables(5, 5, 8, 2, 5); it pays)
    """
    enough(tallies.events, min_events, kind=kind_of(tallies))
    confidence = probability("confidence", confidence)
    values = _values(tallies, groups, by)
    tried = as_settings(settings)
    family = Family.gathered(tried, [tallies], default)
    family.find(default, tried)
    # a null gets a name that no value has
    named, number = np.unique(("=" + values).fill_null("").to_numpy().astype(str), return_inverse=True)
    named = np.array([name[1:] for name in named], dtype=str)
    events = np.bincount(number, weights=tallies.events)
    known = values.is_not_null().to_numpy()
    own = [at for at in range(len(named)) if events[at] >= min_events and known[number == at].all()]
    # what is left takes the common setting; it comes last
    places = [number == at for at in own]
    rest = ~np.logical_or.reduce(places) if places else np.ones(len(number), dtype=bool)

    whole = np.ones((1, family.clusters))
    fitted = _fit(family, objective, places, rest, whole, errors)
    drawn, unseen = [], []
    for weights in drawn_weights(family, resamples, seed):
        fit = _fit(family, objective, places, rest, weights, errors)
        drawn.append(fit)
        unseen.append(_scored(family, fit, places, rest, (weights == 0).astype(np.float64)))
    apparent = _scored(family, fitted, places, rest, whole)
    scores, differences = _compared(
        apparent, {name: joined([one[name] for one in unseen]) for name in _SETTINGS}, objective, confidence
    )
    left = np.concatenate([(fit.own != fit.common).T for fit in drawn]).mean(axis=0) if own else np.zeros(0)
    pays, why = _verdict(objective, scores, differences, by, len(own), confidence)
    return SegmentThresholds(
        objective=objective,
        by=by,
        common=family.thresholds(int(fitted.common[0])),
        segments=_segments(family, fitted, values, own, named, number, left, by),
        scores=scores,
        differences=differences,
        pays=pays,
        why=why,
        resamples=resamples,
        confidence=confidence,
    )


_SETTINGS: Final = ("common", "segments")


class _Fit(NamedTuple):
    """What was chosen on each resample: the common setting, and that of each segment (segments x resamples)."""

    common: Whole
    own: Whole


def _values(tallies: Tallies, groups: pl.DataFrame, by: str) -> pl.Series:
    """The segment of each cluster, as text; null where it is not known."""
    key = [name for name in KEY if name in tallies.clusters.columns]
    if missing := [name for name in (*key, by) if name not in groups.columns]:
        raise SettingsError(f"segments: no column {', '.join(missing)}. Found: {', '.join(groups.columns)}.")
    segment = groups.select(*key, pl.col(by).cast(pl.String).alias("segment")).unique()
    if segment.height > segment.select(key).n_unique():
        raise SettingsError(f"{by}: a cluster ({', '.join(key)}) lies in several segments; draw groups as clusters.")
    return tallies.clusters.join(segment, on=key, how="left", maintain_order="left")["segment"]


def _fit(
    family: Family,
    objective: Objective,
    places: Sequence[NDArray[np.bool_]],
    rest: NDArray[np.bool_],
    weights: Floats,
    errors: float,
) -> _Fit:
    """Choose the common setting and those of segments on each resample."""
    parts = [family.totals(weights, which) for which in places]
    others = family.totals(weights, rest)
    total = _added([*parts, others])
    common = family.choose_from(objective, total, weights, errors=errors).recommended
    if not parts:
        return _Fit(common, np.zeros((0, len(weights)), dtype=np.int64))
    fixed = _taken(others, common)
    price, at_price = _priced(objective, parts, fixed)
    best = _better(
        objective, parts, fixed, _filled(objective, parts, fixed, at_price),
        _filled(objective, parts, fixed, np.repeat(common[None], len(parts), axis=0)),
    )  # fmt: skip
    own = np.stack(
        [
            _shrunk(family, objective, part, which, weights, price, chosen, common, errors)
            for part, which, chosen in zip(parts, places, best, strict=True)
        ]
    )
    for segment in range(len(parts)):
        broken = objective.excess(_sum(parts, own, fixed))[:, 0] > objective.excess(_sum(parts, best, fixed))[:, 0]
        own[segment] = np.where(broken, best[segment], own[segment])
    return _Fit(common, own)


def _paid(objective: Objective) -> str:
    """What has a price: alerts under a budget, else false alarms."""
    return "alerts" if objective.cost_ratio is None and objective.min_recall is None else "false_alarms"


def _net(objective: Objective, totals: Totals, price: Floats) -> Floats:
    """Escalations caught, less the price of what is paid for them."""
    paid: Floats = getattr(totals, _paid(objective))
    return totals.events_caught - price[:, None] * paid


def _priced(objective: Objective, parts: Sequence[Totals], fixed: Totals) -> tuple[Floats, Whole]:
    """The price of an alert, in escalations, at which segments that look for themselves keep the bound together.

    Returns it for each resample, and what segments choose at it (segments x resamples).
    """
    resamples = len(fixed.events)

    def at(price: Floats) -> Whole:
        return np.stack([_net(objective, part, price).argmax(axis=1) for part in parts])

    if objective.cost_ratio is not None:
        price = np.full(resamples, 1 / objective.cost_ratio)
        return price, at(price)
    low, high = (np.full(resamples, end) for end in _PRICES)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        kept = objective.excess(_sum(parts, at(np.exp(middle)), fixed))[:, 0] <= 0
        # a budget is kept from some price on, a least recall up to some price
        dearer = kept if objective.min_recall is not None else ~kept
        low, high = np.where(dearer, middle, low), np.where(dearer, high, middle)
    price = np.exp(low if objective.min_recall is not None else high)
    return price, at(price)


def _filled(objective: Objective, parts: Sequence[Totals], fixed: Totals, chosen: Whole) -> Whole:
    """Let one segment after the other take the best setting while the others keep theirs."""
    chosen = chosen.copy()
    for segment, part in enumerate(parts):
        others = _added([fixed, *(_taken(each, chosen[at]) for at, each in enumerate(parts) if at != segment)])
        better, _ = objective.best(_added([part, others]))
        chosen[segment] = better
    return chosen


def _better(objective: Objective, parts: Sequence[Totals], fixed: Totals, first: Whole, second: Whole) -> Whole:
    """Of two sets of settings for each resample the better one by the objective; the first of equals."""
    both = [_sum(parts, chosen, fixed) for chosen in (first, second)]
    pair = Totals(
        *both[0][:4],
        *(np.concatenate([one, other], axis=1) for one, other in zip(both[0][4:], both[1][4:], strict=True)),
    )
    which, _ = objective.best(pair)
    return np.where(which[None] == 0, first, second)


def _shrunk(
    family: Family,
    objective: Objective,
    part: Totals,
    which: NDArray[np.bool_],
    weights: Floats,
    price: Floats,
    best: Whole,
    common: Whole,
    errors: float,
) -> Whole:
    """The simplest setting, seen from the common one, that is within an error of the gain of the segment's best."""
    net = _net(objective, part, price)
    rows = np.arange(len(best))
    gain = net[rows, best] - net[rows, common]
    reach = errors * _error_of_gain(family, objective, which, weights, price, best, common)
    within = net >= (net[rows, best] - reach)[:, None] - 1e-9
    chosen = np.where(gain <= reach + 1e-9, common, best)
    for setting in np.unique(common):
        mine = np.flatnonzero((common == setting) & (chosen != common))
        if mine.size:
            changed, change = simplicity(family.values, family.thresholds(int(setting)))
            order = np.lexsort((np.arange(len(changed)), change, changed))
            chosen[mine] = order[within[mine][:, order].argmax(axis=1)]
    return chosen


def _error_of_gain(
    family: Family,
    objective: Objective,
    which: NDArray[np.bool_],
    weights: Floats,
    price: Floats,
    best: Whole,
    common: Whole,
) -> Floats:
    """Standard error, by cluster, of the total gain of one setting on another in a segment."""
    columns, paid = which[family.active], getattr(family, _paid(objective))
    net = [
        family.events_caught[chosen][:, columns] - price[:, None] * paid[chosen][:, columns]
        for chosen in (best, common)
    ]
    drawn = weights[:, family.active & which]
    each = net[0] - net[1]
    clusters = (weights * which).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = (drawn * each**2).sum(axis=1) - (drawn * each).sum(axis=1) ** 2 / clusters
        error: Floats = np.sqrt(clusters / (clusters - 1) * np.maximum(spread, 0.0))
    return np.nan_to_num(error, posinf=0.0)


def _scored(
    family: Family, fit: _Fit, places: Sequence[NDArray[np.bool_]], rest: NDArray[np.bool_], weights: Floats
) -> dict[str, Totals]:
    """What the common setting and those of segments come to under weights, with a last axis of one setting."""
    parts = [family.picked(chosen, weights, which) for chosen, which in zip(fit.own, places, strict=True)]
    return {
        "common": family.picked(fit.common, weights),
        "segments": _added([*parts, family.picked(fit.common, weights, rest)]),
    }


def _compared(
    apparent: dict[str, Totals], unseen: dict[str, Totals], objective: Objective, confidence: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    looks, told = ({name: sides(totals, objective) for name, totals in both.items()} for both in (apparent, unseen))
    rows = [
        (name, score, looks[name][score].pooled(), side.pooled())
        for name in _SETTINGS
        for score, side in told[name].items()
    ]
    scores = pl.DataFrame(
        rows,
        schema={"setting": pl.String, "score": pl.String, "apparent": pl.Float64, "corrected": pl.Float64},
        orient="row",
    )
    rest = []
    for score, side in told["segments"].items():
        base = told["common"][score]
        seems = looks["segments"][score].pooled() - looks["common"][score].pooled()
        found = side.pooled() - base.pooled()
        rest.append((score, seems, found, *between(side.each() - base.each(), found, tails)))
    floats = ("apparent", "corrected", "corrected_low", "corrected_high")
    schema = {"score": pl.String} | dict.fromkeys(floats, pl.Float64)
    differences = pl.DataFrame(rest, schema=schema, orient="row").with_columns(pl.col(floats).fill_nan(None))
    return scores.with_columns(pl.col("apparent", "corrected").fill_nan(None)), differences


_BOUNDS: Final = {"min_recall": ("recall", -1)}
"""The score that an objective bounds, and whether more of it (1) or less of it (-1) breaks the bound."""


def _verdict(
    objective: Objective, scores: pl.DataFrame, differences: pl.DataFrame, by: str, own: int, confidence: float
) -> tuple[bool, str]:
    """Whether the split pays, and why in a sentence."""
    if not own:
        return False, f"No {by} has enough escalations for thresholds of its own."
    name = objective.score_name
    _, _, mean, low, high = differences.row(by_predicate=pl.col("score") == name)
    words = name.replace("series_week", "series-week").replace("_", " ")
    if low is None or mean is None:
        return False, f"The difference in {words} is not defined on clusters that were not drawn."
    told = f"{words} {mean:+.3g} ({confidence:.0%} interval {low:+.3g} to {high:+.3g}) on clusters that were not drawn"
    if not (low > 0 if name == "recall" else high < 0):
        return False, f"By {by} against one for all: {told}; the interval does not exclude 0 on the good side."
    if objective.bound is not None:
        bounded, sign = _BOUNDS.get(objective.name, (objective.name, 1))
        corrected = dict(scores.filter(score=bounded).select("setting", "corrected").rows())
        asked = getattr(objective, objective.name)
        limit = max(sign * asked, sign * corrected["common"])
        if sign * corrected["segments"] > limit + 1e-9:
            return False, (
                f"By {by} against one for all: {told}; but {bounded.replace('_', ' ')} comes to "
                f"{corrected['segments']:.3g} there, not {asked:g}, and to {corrected['common']:.3g} with one for all."
            )
    return True, f"By {by} against one for all: {told}."


def _segments(
    family: Family,
    fit: _Fit,
    values: pl.Series,
    own: Sequence[int],
    named: NDArray[np.str_],
    number: Whole,
    left: Floats,
    by: str,
) -> pl.DataFrame:
    whole, common = np.ones((1, family.clusters)), fit.common
    reference = family.thresholds(int(common[0]))
    rows = []
    for at, name in enumerate(named):
        which = number == at
        place = own.index(at) if at in own else None
        chosen = common if place is None else fit.own[place]
        thresholds = family.thresholds(int(chosen[0]))
        counts = [family.picked(numbers, whole, which) for numbers in (chosen, common)]
        changed, _ = simplicity(family.values[chosen], reference)
        rows.append(
            {
                by: str(name) if values.filter(which).is_not_null().all() else None,
                "clusters": int(which.sum()),
                "events": int(counts[0].events[0]),
                "enough": place is not None,
                **{variable: float(value) for variable, value in thresholds.to_dict().items()},
                "digest": thresholds.digest,
                "changed": int(changed[0]),
                **{
                    f"{count}{end}": int(getattr(totals, count)[0, 0])
                    for end, totals in zip(("", "_common"), counts, strict=True)
                    for count in ("alerts", "false_alarms", "events_caught")
                },
                "left": None if place is None else float(left[place]),
            }
        )
    frame = pl.DataFrame(rows, schema_overrides={by: pl.String, "left": pl.Float64})
    return frame.sort("events", by, descending=[True, False], nulls_last=True)


def _added(parts: Sequence[Totals]) -> Totals:
    """Sums over parts; a last axis of one setting goes with any."""
    total = parts[0]
    for part in parts[1:]:
        total = Totals(*(one + other for one, other in zip(total, part, strict=True)))
    return total


def _taken(totals: Totals, numbers: Whole) -> Totals:
    """What one setting of each resample comes to."""
    return Totals(*totals[:4], *(np.take_along_axis(side, numbers[:, None], axis=1) for side in totals[4:]))


def _sum(parts: Sequence[Totals], chosen: Whole, fixed: Totals) -> Totals:
    """What the settings of all segments come to together, and what does not belong to any."""
    return _added([fixed, *(_taken(part, numbers) for part, numbers in zip(parts, chosen, strict=True))])
