"""What is to be said of one hour of one group."""

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl

from issue_analytics.explain.flips import Flip, changes
from issue_analytics.explain.reasons import Reason
from issue_analytics.explain.week import Half, Terms, Week
from issue_analytics.explain.words import DAYS, hours_text, inside, number, plural, stamp
from issue_analytics.kernel import Buckets
from issue_analytics.thresholds import LARGEST, FormulaConstants, ThresholdVariables

__all__ = ["Explanation"]

_COLUMNS: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explanation:
    """Why one hour of one group fired, or did not, and what would change the answer.

    Attributes:
        project_id: of the group.
        group_id: the group.
        hour: the hour explained, its start in UTC.
        count: events in it.
        limit: the limit in force, events per clock hour; null where there is none.
        rule: the branch that made it: ``new``, ``bursty``, ``spike``, ``fallback``, or ``none``.
        as_of: when it was made, UTC; null if none was in force.
        fires: whether the hour is over the limit.
        thresholds: the five thresholds.
        buckets: whether silent hours are points.
        constants: the constants of the formula.
        week: the hours behind the limit (start, end, counts, points, silent, busiest, busiest_at); null if none was in
            force, or a fallback.
        terms: what the formula makes of them; null where it is not used (``new``, ``fallback``, ``none``).
        flips: for each of the five variables, what it would have to be for the other answer.
        nearest: the setting with the other answer that lies nearest, see ``distance``; null if none has it.
        distance: how far: the sum over variables of ``|log((1 + a) / (1 + b))|``; null if ``nearest`` is.
        escalation: start and end, UTC, of the known escalation that the hour belongs to; the end is null where it is
            not known; null if there is none.
        reasons: why it did not fire, if it should have; those that alone would have made it fire come first.
        hours: one row per hour from the beginning of the window to 24 hours after the hour explained, as far as the
            counts reach: hour, count.
    """

    project_id: int
    group_id: int
    hour: datetime
    count: int
    limit: int | None
    rule: str
    as_of: datetime | None
    fires: bool
    thresholds: ThresholdVariables
    buckets: Buckets
    constants: FormulaConstants
    week: Week | None
    terms: Terms | None
    flips: tuple[Flip, ...]
    nearest: ThresholdVariables | None
    distance: float | None
    escalation: tuple[datetime, datetime | None] | None
    reasons: tuple[Reason, ...]
    hours: pl.DataFrame

    def __repr__(self) -> str:
        answer = "fires" if self.fires else "does not fire"
        return (
            f"Explanation(group {self.group_id}, {stamp(self.hour)}: {self.count} {answer} at limit {self.limit}, "
            f"rule {self.rule})"
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it but the counts of single hours, as plain values: moments in ISO form, numbers exact."""
        parts = ("hours", "thresholds", "constants", "week", "terms", "flips", "nearest", "reasons")
        known: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__ if name not in parts}
        known["thresholds"] = self.thresholds.to_dict()
        known["constants"] = asdict(self.constants)
        of_week = ("start", "end", "points", "silent", "busiest", "busiest_at")
        known["week"] = None if self.week is None else {name: getattr(self.week, name) for name in of_week}
        known["terms"] = None if self.terms is None else asdict(self.terms)
        known["nearest"] = None if self.nearest is None else self.nearest.to_dict()
        known["flips"] = [asdict(flip) for flip in self.flips]
        known["reasons"] = [asdict(reason) for reason in self.reasons]
        return {name: _plain(value) for name, value in known.items()}

    def text(self) -> str:
        """A page of 80 columns."""
        lines = (line for part in self._parts() for line in part)
        return "\n".join(short for line in lines for short in _fold(line, " " * 10) or [""])

    def _parts(self) -> Iterator[list[str]]:
        yield self._answer()
        if self.week is not None:
            yield ["", *self._window(self.week)]
        if self.terms is not None:
            yield ["", *self._halves(self.terms)]
        yield ["", *self._flips()]
        if self.reasons:
            yield ["", "Why it did not fire:"]
            for reason in self.reasons:
                yield _fold(f"- {reason.text}", "  ")

    def _answer(self) -> list[str]:
        limit = "no limit" if self.limit is None else f"limit {number(self.limit)}"
        lines = _fold(
            f"Group {self.group_id} of project {self.project_id}, {stamp(self.hour)} UTC: "
            f"{plural(self.count, 'occurrence')}, {limit}"
        )
        if self.escalation is not None:
            start, end = self.escalation
            until = "an unknown end" if end is None else stamp(end)
            lines += _fold(f"In the escalation from {stamp(start)} to {until}")
        if self.fires:
            return [*lines, *_fold(f"FIRES: {number(self.count)} > {number(self.limit or 0)}. {self._made()}")]
        if self.limit:
            why = f"{number(self.count)} is not over it; {number(self.limit + 1)} would be"
        else:
            why = "a limit of 0 never fires" if self.limit == 0 else "without a limit nothing fires"
        return [*lines, *_fold(f"Does not fire: {why}. {self._made()}")]

    def _made(self) -> str:
        if self.as_of is None:
            return "None was in force."
        if self.rule == "fallback":
            return f"A fixed fallback: no forecast was stored at {stamp(self.as_of)}."
        age = "right before it" if self.as_of == self.hour else f"{hours_text(self.hour - self.as_of)} before"
        if self.hour < self.as_of:
            age = "within the hour"
        return f"Branch {self.rule}, made {stamp(self.as_of)} ({age}), {self.buckets} buckets."

    def _window(self, week: Week) -> list[str]:
        lines = [f"The {len(week.counts)} hours before, from {stamp(week.start)} to {stamp(week.end)}"]
        silent = f"{plural(week.silent, 'hour')} silent" if week.silent else "none silent"
        lines.append(f"  points    {number(week.points)} ({silent})")
        if week.busiest_at is not None:
            lines.append(f"  busiest   {number(week.busiest)} at {stamp(week.busiest_at)}")
        if self.rule == "new":
            lines.append(
                f"  limit     {self.constants.new_multiplier} x busiest = {number(self.limit or 0)}, "
                "whatever the variables"
            )
        if self.terms is not None:
            terms = self.terms
            weight = self.constants.weekday_weight
            lines += [
                f"  mean      {number(terms.mean)} an hour, deviation {number(terms.deviation)}, cv {number(terms.cv)}",
                f"  weighted  {number(terms.weighted)} (the mean with {DAYS[self.hour.weekday()]}s counted x {weight})",
            ]
        return lines

    def _halves(self, terms: Terms) -> list[str]:
        constants, variables = self.constants, self.thresholds
        bursty, spike = terms.bursty, terms.spike
        return [
            "Its limit is the larger of two, cut to a whole number",
            f"  bursty  {number(bursty.value)} = busiest {number(bursty.base)} x {number(bursty.factor)}",
            f"          {constants.bursty_amplitude} e^({constants.bursty_rate} x {number(terms.cv)}) = "
            f"{number(bursty.before)}, {_clip(bursty)}",
            f"  spike   {number(spike.value)} = weighted {number(spike.added)} + mean {number(spike.base)} x "
            f"{number(spike.factor)}",
            f"          ({number(terms.mean)} + {number(variables.std_multiplier)} x {number(terms.deviation)}) / "
            f"{number(terms.mean)} = {number(spike.before)}, {_clip(spike)}",
        ]

    def _flips(self) -> list[str]:
        verb = "stops firing" if self.fires else "fires"
        if all(flip.at is None for flip in self.flips) and self.nearest is None:
            return _fold("All five variables are inert: no value of them, alone or together, changes the answer.")
        lines = [f"What each variable alone would have to be, and then the hour {verb}"]
        for flip in self.flips:
            text = "inert: no value of it changes the answer"
            if flip.at is not None and flip.low is not None and flip.high is not None:
                text = f"{inside(flip.at, flip.low, flip.high)} or {'less' if flip.at == flip.high else 'more'}"
                if flip.together is not None:
                    text += f", with {flip.together}"
                if self.fires and flip.at < flip.value:
                    text += " (limit 0)"
            lines.append(f"  {flip.variable:<22} {number(flip.value):>6}  {text}")
        if self.nearest is not None:
            moves = ", ".join(
                f"{name} {number(getattr(self.thresholds, name))} to {_moved(getattr(self.thresholds, name), value)}"
                for name, value in changes(self.thresholds, self.nearest).items()
            )
            far = f"distance {number(self.distance or 0)}, the sum of |log((1+new)/(1+old))|"
            zero = self.fires and all(
                value <= getattr(self.thresholds, name) for name, value in self.nearest.to_dict().items()
            )
            note = "; its limit is 0, which never fires" if zero else ""
            lines += _fold(f"Nearest setting, {far}: {moves}{note}", "  ")
        return lines


def _clip(half: Half) -> str:
    if half.bound is None:
        return "not clipped"
    up = half.bound.startswith("min")
    return f"{'raised' if up else 'cut'} to {half.bound}"


def _moved(was: float, value: float) -> str:
    """Where a variable moves to, rounded on from where it was."""
    return inside(value, 0, value) if value < was else inside(value, value, LARGEST)


def _fold(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, _COLUMNS, subsequent_indent=indent, break_on_hyphens=False)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value
