"""Settings for segments under one bound for all: one price, spent where it catches most, drawn to the common one."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from issue_analytics.tuning.family import Family, simplicity
from issue_analytics.tuning.objective import Objective, Totals

__all__ = ["Fit", "Worth", "added", "fit_segments", "paid_with", "sum_of", "taken", "value_of"]

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

_STEPS: Final = 24
"""Halvings of the range of prices, which is nine powers of ten: to within a millionth of the price."""

_PRICES: Final = (np.log(1e-5), np.log(1e4))
"""Of one alert (or false alarm) in escalations caught, from next to nothing to more than all of them."""


class Fit(NamedTuple):
    """What was chosen on each resample: the common setting, that of each segment (segments x resamples).

    And the price, and the one setting for all that is best at it, whether or not it keeps the bound.
    """

    common: Whole
    own: Whole
    price: Floats
    at_price: Whole


def fit_segments(
    family: Family,
    objective: Objective,
    places: Sequence[NDArray[np.bool_]],
    rest: NDArray[np.bool_],
    weights: Floats,
    errors: float,
) -> Fit:
    """Choose the common setting and those of segments on each resample."""
    parts = [family.totals(weights, which) for which in places]
    others = family.totals(weights, rest)
    total = added([*parts, others])
    common, _ = objective.best(total)
    if not parts:
        return Fit(common, np.zeros((0, len(weights)), dtype=np.int64), np.zeros(len(weights)), common)
    fixed = taken(others, common)
    price, at_price = _priced(objective, parts, fixed)
    best = _better(
        objective, parts, fixed, _filled(objective, parts, fixed, at_price),
        _filled(objective, parts, fixed, np.repeat(common[None], len(parts), axis=0)),
    )  # fmt: skip
    worth = Worth(np.ones(len(price)), price)
    own = np.stack(
        [
            _shrunk(family, value_of(objective, part, worth), which, weights, objective, worth, chosen, common, errors)
            for part, which, chosen in zip(parts, places, best, strict=True)
        ]
    )
    for segment in range(len(parts)):
        broken = objective.excess(sum_of(parts, own, fixed))[:, 0] > objective.excess(sum_of(parts, best, fixed))[:, 0]
        own[segment] = np.where(broken, best[segment], own[segment])
    return Fit(common, own, price, value_of(objective, total, worth).argmax(axis=1))


def paid_with(objective: Objective) -> str:
    """What has a price: alerts under a budget, else false alarms."""
    return "alerts" if objective.cost_ratio is None and objective.min_recall is None else "false_alarms"


class Worth(NamedTuple):
    """What an escalation caught is worth, and what an alert (or false alarm) costs, on each resample."""

    caught: Floats
    paid: Floats


def value_of(objective: Objective, totals: Totals, worth: Worth) -> Floats:
    """Escalations caught, less what is paid for them."""
    paid: Floats = getattr(totals, paid_with(objective))
    return worth.caught[:, None] * totals.events_caught - worth.paid[:, None] * paid


def _priced(objective: Objective, parts: Sequence[Totals], fixed: Totals) -> tuple[Floats, Whole]:
    """The price of an alert, in escalations, at which segments that look for themselves keep the bound together.

    Returns it for each resample, and what segments choose at it (segments x resamples).
    """
    resamples = len(fixed.events)

    def at(price: Floats) -> Whole:
        worth = Worth(np.ones(resamples), price)
        return np.stack([value_of(objective, part, worth).argmax(axis=1) for part in parts])

    if objective.cost_ratio is not None:
        price = np.full(resamples, 1 / objective.cost_ratio)
        return price, at(price)
    low, high = (np.full(resamples, end) for end in _PRICES)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        kept = objective.excess(sum_of(parts, at(np.exp(middle)), fixed))[:, 0] <= 0
        # a budget is kept from some price on, a least recall up to some price
        dearer = kept if objective.min_recall is not None else ~kept
        low, high = np.where(dearer, middle, low), np.where(dearer, high, middle)
    price = np.exp(low if objective.min_recall is not None else high)
    return price, at(price)


def _filled(objective: Objective, parts: Sequence[Totals], fixed: Totals, chosen: Whole) -> Whole:
    """Let one segment after the other take the best setting while the others keep theirs."""
    chosen = chosen.copy()
    for segment, part in enumerate(parts):
        others = added([fixed, *(taken(each, chosen[at]) for at, each in enumerate(parts) if at != segment)])
        better, _ = objective.best(added([part, others]))
        chosen[segment] = better
    return chosen


def _better(objective: Objective, parts: Sequence[Totals], fixed: Totals, first: Whole, second: Whole) -> Whole:
    """Of two sets of settings for each resample the better one by the objective; the first of equals."""
    both = [sum_of(parts, chosen, fixed) for chosen in (first, second)]
    pair = Totals(
        *both[0][:4],
        *(np.concatenate([one, other], axis=1) for one, other in zip(both[0][4:], both[1][4:], strict=True)),
    )
    which, _ = objective.best(pair)
    return np.where(which[None] == 0, first, second)


def _shrunk(
    family: Family,
    value: Floats,
    which: NDArray[np.bool_],
    weights: Floats,
    objective: Objective,
    worth: Worth,
    best: Whole,
    reference: Whole,
    errors: float,
) -> Whole:
    """The simplest setting, seen from the reference, that is within an error of the gain of the best on it."""
    rows = np.arange(len(best))
    gain = value[rows, best] - value[rows, reference]
    reach = errors * _error_of_gain(family, objective, which, weights, worth, best, reference)
    within = value >= (value[rows, best] - reach)[:, None] - 1e-9
    chosen = np.where(gain <= reach + 1e-9, reference, best)
    for setting in np.unique(reference):
        mine = np.flatnonzero((reference == setting) & (chosen != reference))
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
    worth: Worth,
    best: Whole,
    reference: Whole,
) -> Floats:
    """Standard error, by cluster, of the total gain of one setting on another in a segment."""
    columns, paid = which[family.active], getattr(family, paid_with(objective))
    value = [
        worth.caught[:, None] * family.events_caught[chosen][:, columns]
        - worth.paid[:, None] * paid[chosen][:, columns]
        for chosen in (best, reference)
    ]
    drawn = weights[:, family.active & which]
    each = value[0] - value[1]
    clusters = (weights * which).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = (drawn * each**2).sum(axis=1) - (drawn * each).sum(axis=1) ** 2 / clusters
        error: Floats = np.sqrt(clusters / (clusters - 1) * np.maximum(spread, 0.0))
    return np.nan_to_num(error, posinf=0.0)


def added(parts: Sequence[Totals]) -> Totals:
    """Sums over parts; a last axis of one setting goes with any."""
    total = parts[0]
    for part in parts[1:]:
        total = Totals(*(one + other for one, other in zip(total, part, strict=True)))
    return total


def taken(totals: Totals, numbers: Whole) -> Totals:
    """What one setting of each resample comes to."""
    return Totals(*totals[:4], *(np.take_along_axis(side, numbers[:, None], axis=1) for side in totals[4:]))


def sum_of(parts: Sequence[Totals], chosen: Whole, fixed: Totals) -> Totals:
    """What the settings of all segments come to together, and what does not belong to any."""
    return added([fixed, *(taken(part, numbers) for part, numbers in zip(parts, chosen, strict=True))])
