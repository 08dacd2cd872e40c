"""Why an hour did not fire: each reason that applies, with its evidence and what the limit would be without it."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from issue_analytics.counts import HOUR
from issue_analytics.explain.week import Half, Terms, Week
from issue_analytics.explain.words import hours_text, number, plural, stamp
from issue_analytics.thresholds import ThresholdVariables

__all__ = ["Reason", "Situation", "reasons"]

_WORTH: Final = 0.1
"""What does not decide is told if it is worth a tenth of the limit."""

_MOST_MASKED: Final = 7
"""At most one hour in so many can stand out of a window: what is more is no exception."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason why an hour did not fire.

    Attributes:
        kind: ``"no_occurrence"``, ``"not_judged"`` (not exposed), ``"no_limit"`` (none in force), ``"silent"`` (nothing
            in the window), ``"zero_limit"``, ``"fallback"``, ``"new"`` (the rule), ``"contaminated"`` (an earlier
            escalation or hours far above the rest lie in the window), ``"stale"`` (the limit was made long before),
            ``"bursty"`` or ``"spike"`` (the count is within that half of the limit).
        text: the evidence, in sentences.
        limit: what the limit would be without it, events per clock hour; null where there would be none, or where
            nobody can tell.
        fires: whether the hour would then have fired; null where nobody can tell.
    """

    kind: str
    text: str
    limit: int | None = None
    fires: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """An hour that did not fire, and all that may tell why."""

    hour: datetime
    count: int
    limit: int | None
    rule: str | None  # None where no limit is in force
    as_of: datetime | None
    week: Week | None
    terms: Terms | None
    fresh: Week  # the window right before the hour
    counts: Mapping[datetime, int]
    thresholds: ThresholdVariables
    escalations: Sequence[tuple[datetime, datetime]]  # start and end of all of the group's
    exposed: bool | None

    def without(self, week: Week) -> tuple[int | None, bool]:
        """The limit that another window gives for the hour, and whether the hour is over it."""
        limit, _ = week.limit(self.hour.weekday(), self.thresholds)
        return limit, bool(limit) and self.count > (limit or 0)


def reasons(at: Situation) -> tuple[Reason, ...]:
    """Those that alone would have made the hour fire come first."""
    found = [*_of_the_hour(at), *(_of_the_limit(at) if at.count else ())]
    return tuple(sorted(found, key=lambda reason: reason.fires is not True))


def _of_the_hour(at: Situation) -> Iterator[Reason]:
    if at.count == 0:
        text = "The hour has no occurrence: no limit can be exceeded."
        yield Reason(kind="no_occurrence", text=text, limit=at.limit, fires=False)
    if at.exposed is False:
        over = bool(at.limit) and at.count > (at.limit or 0)
        yield Reason(
            kind="not_judged",
            text="The hour lies outside the exposed spans of the group: nobody would have looked at it.",
            limit=at.limit,
            fires=over,
        )


def _of_the_limit(at: Situation) -> Iterator[Reason]:
    if at.limit is None or at.week is None:
        yield from _no_limit(at)
    elif at.limit == 0:
        yield Reason(kind="zero_limit", text="The limit comes to less than 1, and a limit of 0 never fires.")
    elif at.count <= at.limit:
        if at.rule == "new":
            yield _new(at, at.week)
        if at.rule == "fallback":
            text = f"No forecast was stored, so the fallback of {number(at.limit)} was in force"
            yield _with_fresh(at, "fallback", text)
        else:
            yield from _contaminated(at, at.week)
        if at.terms is not None:
            yield from _halves(at, at.week, at.terms)
        yield from _stale(at)


def _no_limit(at: Situation) -> Iterator[Reason]:
    if at.rule is None:
        yield _with_fresh(at, "no_limit", "No limit was in force: none had been made, or it had lapsed")
        return
    before = [hour for hour, count in at.counts.items() if count and at.as_of is not None and hour < at.as_of]
    if before:
        last = max(before)
        seen = f"its last occurrence was {hours_text((at.as_of or at.hour) - last)} before, at {stamp(last)}"
    else:
        seen = "it had no occurrence yet"
    text = f"The {len(at.fresh.counts)} hours before the limit was to be made were silent ({seen}), so there is none"
    yield _with_fresh(at, "silent", text)


def _with_fresh(at: Situation, kind: str, text: str) -> Reason:
    limit, fires = at.without(at.fresh)
    told = f"{text}. Made right before the hour it would be {_told(limit, fires)}."
    return Reason(kind=kind, text=told, limit=limit, fires=fires)


def _told(limit: int | None, fires: bool) -> str:
    if limit is None:
        return "none either"
    return f"{number(limit)}, and the hour {'would have fired' if fires else 'would not have fired either'}"


def _new(at: Situation, week: Week) -> Reason:
    dense = Week(start=week.start, counts=week.counts, buckets="dense", new=False, constants=week.constants)
    limit, fires = at.without(dense)
    if week.buckets == "sparse":
        why = (
            f"Branch new: only {week.points} of the {len(week.counts)} hours had an occurrence, and fewer than "
            f"{len(week.counts)} points make a group new"
        )
        instead = "With silent hours as zeros (dense buckets) it would be"
    else:
        why = f"Branch new: the group was first seen less than {len(week.counts)} hours before"
        instead = "By the full formula it would be"
    text = (
        f"{why}. The limit is then {week.constants.new_multiplier} x the busiest hour ({number(week.busiest)}), "
        f"whatever the variables. {instead} {_told(limit, fires)}."
    )
    return Reason(kind="new", text=text, limit=limit, fires=fires)


def _contaminated(at: Situation, week: Week) -> Iterator[Reason]:
    labelled, begun = _labelled(at, week)
    outstanding = _far_above(at, week)
    masked = labelled | outstanding
    if not masked or len(masked) == len(week.counts):
        return
    limit, fires = at.without(_mask(week, masked))
    if not (fires or _takes_off(at, limit)):
        return
    told = []
    if labelled:
        told.append(f"{plural(len(labelled), 'hour')} of {' and '.join(begun)}")
    if outstanding:
        top = max(outstanding, key=lambda place: (week.counts[place], -place))
        told.append(
            f"{plural(len(outstanding), 'hour')} far above the rest (over the limit that the rest would make), the "
            f"busiest with {number(week.counts[top])} at {stamp(week.start + top * HOUR)}"
        )
    typical = _typical(week, masked)
    text = (
        f"Contaminated history: in the window lie {', and '.join(told)}. With these lowered to the median of the "
        f"others, {number(typical)}, the limit would be {_told(limit, fires)}."
    )
    yield Reason(kind="contaminated", text=text, limit=limit, fires=fires)


def _takes_off(at: Situation, limit: int | None) -> bool:
    """Whether the limit would be lower by a share worth telling, though the hour would not have fired."""
    return limit is None or limit <= (1 - _WORTH) * (at.limit or 0)


def _labelled(at: Situation, week: Week) -> tuple[set[int], list[str]]:
    """The hours of known escalations in the window, and what to call these."""
    places: set[int] = set()
    begun: list[str] = []
    for start, end in at.escalations:
        inside = [
            place
            for place in range(len(week.counts))
            if start < week.start + (place + 1) * HOUR and end > week.start + place * HOUR
        ]
        if inside:
            own = start < at.hour + HOUR and end > at.hour
            begun.append("this escalation itself" if own else f"the escalation of {stamp(start)}")
            places.update(inside)
    if len(begun) > 2:
        begun = [f"{len(begun)} known escalations"]
    return places, begun


def _far_above(at: Situation, week: Week) -> set[int]:
    """The most hours that all would have been over the limit which the rest of the window makes."""
    found: set[int] = set()
    for level in sorted(set(week.counts), reverse=True):
        places = {place for place, count in enumerate(week.counts) if count >= level}
        if level == 0 or len(places) > len(week.counts) // _MOST_MASKED:
            break
        limit, _ = at.without(_mask(week, places))
        if limit and level > limit:
            found = places
    return found


def _typical(week: Week, masked: set[int]) -> int:
    """The median of the other points."""
    rest = [count for place, count in enumerate(week.counts) if place not in masked]
    points = rest if week.buckets == "dense" else [count for count in rest if count] or [0]
    return statistics.median_low(points)


def _mask(week: Week, masked: set[int]) -> Week:
    typical = _typical(week, masked)
    counts = (min(count, typical) if place in masked else count for place, count in enumerate(week.counts))
    return week.with_counts(tuple(counts))


def _halves(at: Situation, week: Week, terms: Terms) -> Iterator[Reason]:
    both = {"bursty": terms.bursty, "spike": terms.spike}
    for name, half in both.items():
        if at.count > half.value:
            continue
        other = int(both["spike" if name == "bursty" else "bursty"].value)
        fires = 1 <= other < at.count
        if fires:
            told = "it alone kept the hour from firing"
        elif other:
            told = f"the other half, {number(other)}, did so too"
        else:
            told = "the other half alone would make a limit of 0, which never fires"
        what = _bursty(half, week, terms) if name == "bursty" else _spike(half, terms, at.thresholds)
        text = f"{number(at.count)} is within the {name} half of the limit, {number(half.value)}: {what}; {told}."
        yield Reason(kind=name, text=text, limit=other, fires=fires)


def _bursty(half: Half, week: Week, terms: Terms) -> str:
    busiest = f"the busiest hour, {number(week.busiest)} at {stamp(week.busiest_at or week.start)}"
    if half.bound is None:
        return f"the decay at a cv of {number(terms.cv)} asks for {number(half.factor)} x {busiest}"
    least = "never less than " if half.bound.startswith("min") else ""
    return f"{least}{half.bound} {number(half.factor)} x {busiest}"


def _spike(half: Half, terms: Terms, thresholds: ThresholdVariables) -> str:
    if half.bound is None:
        std = number(thresholds.std_multiplier)
        return (
            f"an uneven week (cv {number(terms.cv)}) asks for {number(half.factor)} x the mean, by std_multiplier {std}"
        )
    least = "never less than " if half.bound.startswith("min") else ""
    return f"{least}the weighted mean and {half.bound} {number(half.factor)} x the mean of {number(terms.mean)}"


def _stale(at: Situation) -> Iterator[Reason]:
    if at.as_of is None or at.rule == "fallback":
        return
    age = at.hour - at.as_of
    fresh, fires = at.without(at.fresh)
    # a limit of the day is none too old, unless the hours since would have told
    if age <= 0 * HOUR or not (fires or (age >= 24 * HOUR and _takes_off(at, fresh))):
        return
    text = f"The limit was made {hours_text(age)} before. Made right before the hour it would be {_told(fresh, fires)}."
    yield Reason(kind="stale", text=text, limit=fresh, fires=fires)
