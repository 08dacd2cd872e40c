"""Thresholds of their own for projects, volumes or types: shared under one bound, drawn to the common ones, tested."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY
from issue_analytics.scores.by import probability
from issue_analytics.thresholds import STANDARD, ThresholdVariables
from issue_analytics.tuning.choosing import check_errors
from issue_analytics.tuning.family import Family, simplicity
from issue_analytics.tuning.honest import MIN_EVENTS, Side, between, drawn_weights, enough, joined, kind_of, sides
from issue_analytics.tuning.objective import Objective, Totals
from issue_analytics.tuning.segment_fit import Fit, Worth, added, fit_segments, paid_with, value_of
from issue_analytics.tuning.settings import VARIABLES, as_settings
from issue_analytics.tuning.tallies import Tallies

__all__ = ["SegmentThresholds", "segment_thresholds", "values_of"]

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

NET_RECALL: Final = "net_recall"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SegmentThresholds:
    """Thresholds by segment, and whether having them pays.

    Attributes:
        objective: what was asked, of all segments together.
        by: what segments are told by.
        common: the best setting for all by the objective.
        segments: one row per segment, most escalations first: the value (text; null where it is not known),
            ``clusters``, ``events``, ``enough`` (events for thresholds of its own), the five variables, ``digest``,
            ``changed`` (variables other than in the common setting), ``alerts``, ``false_alarms``, ``events_caught``,
            the last three under the common setting too (``..._common``), and ``left``: the share of resamples in which
            the segment left the common setting.
        scores: a row for ``common`` and ``segments`` (column ``setting``) and each score: ``apparent`` and
            ``corrected``.
        differences: a row for each score, segments less common: ``apparent``; ``corrected`` with ``corrected_low`` and
            ``corrected_high``: chosen on the clusters drawn, both, and scored on those not drawn. The last row,
            ``net_recall``, is ``(escalations caught - price * alerts) / escalations`` (or false alarms, where these are
            what is paid) less that of the best setting for all at this price, bound or no bound.
        price: of an alert (of a false alarm, for a least recall or a cost ratio), in escalations caught.
        pays: whether a segment leaves the common setting, and the split is better after correction: the interval of
            ``net_recall`` is above 0.
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
    price: float
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

    Then segments are drawn back to the common setting. One leaves it only where its gain at that price is more than
    ``errors`` standard errors of the gain, by cluster, both settings on the same clusters; and it goes only as far as
    the simplest setting (fewest variables other than the common one's, smallest change) that is within that error of
    its best. The error of the gain, not that of the segment's own score, because what makes a cluster hard is hard for
    both: the other is so wide that no segment would ever leave. If the bound is broken by that, segments go all the way
    again.

    The common setting is the best of the search, not the one of its plateau: held back by a standard error, it would
    make any split look good that is held back by less. Segments of fewer than ``min_events`` escalations, and groups of
    unknown segment, take it.

    Whether it pays is told by clusters not drawn, as in
    :func:`~issue_analytics.tuning.honest.selection_corrected`: one for all and those of segments are both chosen on the
    clusters drawn. It is told by the recall less what is paid for it (``net_recall``), against the best setting for all
    *at the same price*, whether or not it keeps the bound. Recall alone would do for no bound: two settings for any two
    halves use up a budget that the steps of a grid leave open, and so catch more by alerting more. (By this
    rule the split of two segments that were alike seemed to pay in 0 to 3 % of 60 data sets, by plain recall in half.)

    Args:
        tallies: settings x clusters.
        settings: the settings, in the order of the tallies; the default must be one of them.
        objective: what is asked of all segments together.
        groups: one row per group with ``project_id``, ``group_id`` and ``by``, such as ``result.groups``. Strata told
            from the past only, such as ``"volume"``: what an escalation does must not decide where it is counted.
        by: what segments are told by; where clusters are projects, ``"project_id"``.
        default: what one has; of settings that tie as the common one the simplest, seen from it, is taken.
        errors: how many standard errors of its gain a segment must gain to leave the common setting.
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
    check_errors(errors)
    values = values_of(tallies, groups, by)
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
    fitted = fit_segments(family, objective, places, rest, whole, errors)
    drawn, unseen = [], []
    for weights in drawn_weights(family, resamples, seed):
        fit = fit_segments(family, objective, places, rest, weights, errors)
        drawn.append(fit)
        unseen.append(_scored(family, fit, places, rest, (weights == 0).astype(np.float64)))
    apparent = _scored(family, fitted, places, rest, whole)
    price = float(fitted.price[0])
    told = {name: joined([one[name] for one in unseen]) for name in apparent}
    scores, differences = _compared(apparent, told, objective, price, confidence)
    left = np.concatenate([(fit.own != fit.common).T for fit in drawn]).mean(axis=0) if own else np.zeros(0)
    pays, why = False, f"No {by} has enough escalations for thresholds of its own."
    if own and (fitted.own == fitted.common).all():
        # on some draws a segment may have left it, and gained; what was chosen did not
        why = f"No {by} leaves the setting for all."
    elif own:
        pays, why = _verdict(objective, differences, by, price, confidence)
    return SegmentThresholds(
        objective=objective,
        by=by,
        common=family.thresholds(int(fitted.common[0])),
        segments=_segments(family, fitted, values, own, named, number, left, by),
        scores=scores,
        differences=differences,
        price=price,
        pays=pays,
        why=why,
        resamples=resamples,
        confidence=confidence,
    )


_SETTINGS: Final = ("common", "segments")


def values_of(tallies: Tallies, groups: pl.DataFrame, by: str) -> pl.Series:
    """The segment of each cluster, as text; null where it is not known."""
    key = [name for name in KEY if name in tallies.clusters.columns]
    if missing := [name for name in (*key, by) if name not in groups.columns]:
        raise SettingsError(f"segments: no column {', '.join(missing)}. Found: {', '.join(groups.columns)}.")
    segment = groups.select(*key, pl.col(by).cast(pl.String).alias("segment")).unique()
    if segment.height > segment.select(key).n_unique():
        raise SettingsError(f"{by}: a cluster ({', '.join(key)}) lies in several segments; draw groups as clusters.")
    return tallies.clusters.join(segment, on=key, how="left", maintain_order="left")["segment"]


def _scored(
    family: Family, fit: Fit, places: Sequence[NDArray[np.bool_]], rest: NDArray[np.bool_], weights: Floats
) -> dict[str, Totals]:
    """What the common setting and those of segments come to under weights, with a last axis of one setting."""
    parts = [family.picked(chosen, weights, which) for chosen, which in zip(fit.own, places, strict=True)]
    return {
        "common": family.picked(fit.common, weights),
        "at price": family.picked(fit.at_price, weights),
        "segments": added([*parts, family.picked(fit.common, weights, rest)]),
    }


def _net_recall(totals: Totals, objective: Objective, price: float) -> Side:
    one = np.ones(len(totals.events))
    return Side(value_of(objective, totals, Worth(one, price * one))[:, 0], totals.events, counts=False)


def _compared(
    apparent: dict[str, Totals], unseen: dict[str, Totals], objective: Objective, price: float, confidence: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    looks, told = (
        {
            name: sides(totals, objective) | {NET_RECALL: _net_recall(totals, objective, price)}
            for name, totals in one.items()
        }
        for one in (apparent, unseen)
    )
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
        against = "at price" if score == NET_RECALL else "common"
        base = told[against][score]
        seems = looks["segments"][score].pooled() - looks[against][score].pooled()
        found = side.pooled() - base.pooled()
        rest.append((score, seems, found, *between(side.each() - base.each(), found, tails)))
    floats = ("apparent", "corrected", "corrected_low", "corrected_high")
    schema = {"score": pl.String} | dict.fromkeys(floats, pl.Float64)
    differences = pl.DataFrame(rest, schema=schema, orient="row").with_columns(pl.col(floats).fill_nan(None))
    return scores.with_columns(pl.col("apparent", "corrected").fill_nan(None)), differences


def _verdict(
    objective: Objective, differences: pl.DataFrame, by: str, price: float, confidence: float
) -> tuple[bool, str]:
    """Whether the split pays, and why in a sentence."""
    rows = {row["score"]: row for row in differences.iter_rows(named=True)}
    net, paid = rows[NET_RECALL], paid_with(objective).replace("_", " ")
    low, high = net["corrected_low"], net["corrected_high"]
    if low is None:
        return False, "No escalation lies in clusters that were not drawn: the difference is not defined."
    pays = low > 0
    return pays, (
        f"By {by} against one for all, on clusters that were not drawn: recall {rows['recall']['corrected']:+.3g}, "
        f"alerts per series-week {rows['alerts_per_series_week']['corrected']:+.3g}, false alarms per series-week "
        f"{rows['false_alarms_per_series_week']['corrected']:+.3g}; with {paid} at their price of {price:.3g} "
        f"escalations each, recall {net['corrected']:+.3g} ({confidence:.0%} interval {low:+.3g} to {high:+.3g}), "
        f"which {'excludes' if pays else 'does not exclude'} 0 on the good side."
    )


def _segments(
    family: Family,
    fit: Fit,
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
