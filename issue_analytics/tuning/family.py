"""The settings of a search as one family: simplest first, each only once, and what they come to in any resample."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from issue_analytics.errors import SettingsError
from issue_analytics.thresholds import STANDARD, ThresholdVariables
from issue_analytics.tuning.objective import Objective, Totals
from issue_analytics.tuning.settings import array_of, as_settings
from issue_analytics.tuning.tallies import Tallies

__all__ = ["Chosen", "Family", "as_good", "simplicity"]

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
Marks = NDArray[np.uint64]

MOST: Final = 200_000_000
"""Settings times clusters that fit: three tables of so many numbers take 2.4 GB."""

_LEAST: Final = 0.01
"""Smaller multipliers are compared as this: a limit at a hundredth of the mean or of the busiest hour is as good as
none, and the ratio to 0 would be infinite."""

_CELLS: Final = 8_000_000
"""Numbers made at a time: 64 MB."""

_DENSE: Final = 0.1
"""Share of numbers other than 0 from which whole matrices are multiplied faster than sparse ones."""


def simplicity(values: Floats, reference: ThresholdVariables = STANDARD) -> tuple[Whole, Floats]:
    """How many variables of each setting differ from the reference, and by how much: the sum of ``|log ratio|``.

    Doubling a multiplier is as large a change as halving it. Multipliers below 0.01 are compared as 0.01.

    >>> changed, distance = simplicity(np.array([[5, 5, 8, 2, 5.0], [5, 10, 8, 1, 5]]))
    >>> changed.tolist(), distance.round(3).tolist()
    ([0, 2], [0.0, 1.386])
    """
    of = array_of(reference)
    # summed in the order of size, so that doubling one variable is to the last bit as far as doubling another
    apart = np.abs(np.log(np.maximum(values, _LEAST) / np.maximum(of, _LEAST)))
    return (values != of).sum(axis=1), np.sort(apart, axis=1).sum(axis=1)


def as_good(objective: Objective, totals: Totals, best: Whole, error: Floats) -> NDArray[np.bool_]:
    """Which settings keep the bound (or are nearest to it) and are at most ``error`` behind the best of each data set.

    Args:
        objective: what is asked.
        totals: data sets x settings.
        best: the number of the best setting of each data set.
        error: in the unit of the objective's score; nan counts as 0.
    """
    allowed, _ = objective.nearest(totals)
    score = objective.score(totals)
    top = np.take_along_axis(score.top, best[:, None], axis=-1)
    reach = np.nan_to_num(error) * score.bottom / score.scale
    behind = score.sign * (top - score.top)
    return allowed & (behind <= reach[:, None] + 1e-9 * (1 + np.abs(top)))


class Chosen(NamedTuple):
    """What was chosen on each of some data sets; settings are numbers in the family.

    Attributes:
        best: the best by the objective.
        recommended: the simplest that is as good as the best but for chance (the plateau rule).
        kept: whether any setting keeps the objective's bound; else both are among the nearest to it.
        error: the standard error of the best's score, in its unit.
        plateau: how many settings of the family were as good but for chance.
    """

    best: Whole
    recommended: Whole
    kept: NDArray[np.bool_]
    error: Floats
    plateau: Whole


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Family:
    """Settings of a search, simplest first; of those that do the same in every cluster only the simplest.

    Clusters in which nothing happened, and no setting ever did anything, count in sums of hours only.

    Attributes:
        values: settings x five variables.
        numbers: which settings of the search they are.
        copies: how many settings of the search do the same, itself included.
        family: for every setting of the search the number of the one in the family that does the same.
        events: of every cluster.
        exposed_hours: of every cluster.
        quiet_hours: of every cluster.
        project_days: of every cluster; nan where nobody counted them.
        active: which clusters have an escalation or an alert of some setting.
        alerts: settings x active clusters.
        false_alarms: as ``alerts``.
        events_caught: as ``alerts``.
    """

    values: Floats
    numbers: Whole
    copies: Whole
    family: Whole
    events: Floats
    exposed_hours: Floats
    quiet_hours: Floats
    project_days: Floats
    active: NDArray[np.bool_]
    alerts: NDArray[np.int32]
    false_alarms: NDArray[np.int32]
    events_caught: NDArray[np.int32]

    @classmethod
    def of(
        cls,
        tallies: Tallies,
        settings: pl.DataFrame | Iterable[ThresholdVariables],
        reference: ThresholdVariables = STANDARD,
    ) -> "Family":
        """Put the settings of tallies in order: fewest variables changed, smallest change, order of the search.

        Raises:
            SettingsError: there are not as many settings as the tallies have.
        """
        return cls.gathered(as_settings(settings), [tallies], reference)

    @classmethod
    def gathered(
        cls, values: Floats, parts: Iterable[Tallies], reference: ThresholdVariables, *, most: int = MOST
    ) -> "Family":
        """As :meth:`of`, from tallies that come some settings at a time, so that those that are alike need no room.

        Args:
            values: settings x five variables.
            parts: their tallies, in the same order.
            reference: what changes are counted from.
            most: of settings that differ times clusters.

        Raises:
            SettingsError: there are more than that, or not as many settings as the tallies have.
        """
        every: list[Marks] = []
        rows: list[list[NDArray[np.int32]]] = [[], [], []]
        seen: dict[bytes, int] = {}
        first: Tallies | None = None
        for part in parts:
            first = first or part
            marks = _marks(part)
            every.append(marks)
            new = []
            for at, mark in enumerate(marks):
                if (key := mark.tobytes()) not in seen:
                    seen[key] = len(seen)
                    new.append(at)
            if len(seen) * part.clusters.height > most:
                raise SettingsError(
                    f"more than {len(seen) - 1:,} settings that differ, on {part.clusters.height:,} clusters, are too "
                    f"many to draw again. Take a coarser grid, fewer variables, or a sample of the settings."
                )
            for kept, side in zip(rows, (part.alerts, part.false_alarms, part.events_caught), strict=True):
                kept.append(side[new])
        if first is None:
            raise SettingsError("there are no settings to choose from.")
        if len(values) != sum(map(len, every)):
            raise SettingsError(f"{len(values)} settings, but tallies of {sum(map(len, every))}.")
        changed, distance = simplicity(values, reference)
        order = np.lexsort((np.arange(len(values)), distance, changed))
        same = np.fromiter((seen[mark.tobytes()] for marks in every for mark in marks), np.int64, len(values))
        found, place = np.unique(same[order], return_index=True)
        rank = np.argsort(place)  # those that differ, simplest first
        number = np.empty(len(found), dtype=np.int64)
        number[found[rank]] = np.arange(len(found))
        sides = [np.concatenate(kept)[found[rank]] if len(kept) > 1 else kept[0][found[rank]] for kept in rows]
        active = np.logical_or.reduce([first.events > 0, *((side != 0).any(axis=0) for side in sides)])
        alerts, false, caught = (side if active.all() else side[:, active] for side in sides)
        numbers = order[place[rank]]
        days = first.project_days
        return cls(
            values=values[numbers],
            numbers=numbers,
            copies=np.bincount(number[same]),
            family=number[same],
            events=first.events.astype(np.float64),
            exposed_hours=first.exposed_hours.astype(np.float64),
            quiet_hours=first.quiet_hours.astype(np.float64),
            project_days=np.full(len(active), np.nan) if days is None else days,
            active=active,
            alerts=alerts,
            false_alarms=false,
            events_caught=caught,
        )

    @property
    def clusters(self) -> int:
        """How many clusters there are, also those where nothing happened."""
        return len(self.active)

    def find(self, setting: ThresholdVariables, values: Floats) -> int:
        """The number in the family of a setting of the search, whose settings are the rows of ``values``.

        Raises:
            SettingsError: the search did not try it.
        """
        (at,) = np.nonzero((values == array_of(setting)).all(axis=1))
        if not at.size:
            raise SettingsError(f"{setting} is not among the settings that were tried; add it to the grid.")
        return int(self.family[at[0]])

    def thresholds(self, number: int) -> ThresholdVariables:
        """The thresholds of one setting; whole numbers as ints.

        >>> zeros = np.zeros((1, 1), dtype=np.int32)
        >>> one = np.ones(1, dtype=np.int64)
        >>> tallies = Tallies(clusters=pl.DataFrame({"project_id": [1]}), events=one, exposed_hours=one,
        ...     quiet_hours=one, alerts=zeros, false_alarms=zeros, events_caught=zeros)
        >>> Family.of(tallies, [STANDARD]).thresholds(0)
        ThresholdVariables(5, 5, 8, 2, 5)
        """
        return ThresholdVariables(*(int(v) if v == int(v) else float(v) for v in self.values[number]))

    def totals(self, weights: Floats, which: NDArray[np.bool_] | None = None) -> Totals:
        """Sums over clusters by setting, each cluster counted as often as the resamples (rows of weights) say.

        Args:
            weights: resamples x clusters.
            which: clusters that count at all, such as those of a segment; None: all.
        """
        columns = None if which is None else which[self.active]
        drawn = np.ascontiguousarray(self._active(weights, which).T)
        sums = [_multiplied(side, drawn, columns) for side in (self.alerts, self.false_alarms, self.events_caught)]
        return Totals(*self._sums(weights, which), *sums)

    def picked(self, numbers: Whole, weights: Floats, which: NDArray[np.bool_] | None = None) -> Totals:
        """Sums over clusters of one setting for each resample, as :meth:`totals` with a last axis of one setting."""
        drawn = self._active(weights, which)
        sums = [
            np.einsum("ra,ra->r", drawn, self._of(counts, numbers, which))[:, None]
            for counts in (self.alerts, self.false_alarms, self.events_caught)
        ]
        return Totals(*self._sums(weights, which), *sums)

    def every(self, numbers: Whole | NDArray[np.bool_]) -> Totals:
        """What some settings come to in every active cluster, in place of sums: active clusters x settings."""
        hours = [side[self.active] for side in (self.events, self.exposed_hours, self.quiet_hours, self.project_days)]
        counts = [side[numbers].T.astype(np.float64) for side in (self.alerts, self.false_alarms, self.events_caught)]
        return Totals(*hours, *counts)

    def single(self, number: int) -> Totals:
        """What one setting comes to in every cluster, in place of sums: clusters x 1."""
        counts = []
        for side in (self.alerts, self.false_alarms, self.events_caught):
            whole = np.zeros((self.clusters, 1))
            whole[self.active, 0] = side[number]
            counts.append(whole)
        return Totals(self.events, self.exposed_hours, self.quiet_hours, self.project_days, *counts)

    def _active(self, weights: Floats, which: NDArray[np.bool_] | None) -> Floats:
        return weights[:, self.active if which is None else self.active & which]

    def _of(self, counts: NDArray[np.int32], numbers: Whole, which: NDArray[np.bool_] | None) -> NDArray[np.int32]:
        rows = counts[numbers]
        return rows if which is None else rows[:, which[self.active]]

    def _sums(self, weights: Floats, which: NDArray[np.bool_] | None) -> list[Floats]:
        hours = weights if which is None else weights * which
        return [hours @ side for side in (self.events, self.exposed_hours, self.quiet_hours, self.project_days)]

    def choose(self, objective: Objective, weights: Floats | None = None, *, errors: float = 1.0) -> Chosen:
        """Choose on each resample, by the objective and by the plateau rule.

        Args:
            objective: what is asked.
            weights: resamples x clusters; None: the data as they are, one row.
            errors: how many standard errors of the best's score a setting may be behind it.
        """
        weights = np.ones((1, self.clusters)) if weights is None else weights
        return self.choose_from(objective, self.totals(weights), weights, errors=errors)

    def choose_from(
        self,
        objective: Objective,
        totals: Totals,
        weights: Floats,
        *,
        which: NDArray[np.bool_] | None = None,
        errors: float = 1.0,
    ) -> Chosen:
        """As :meth:`choose`, with sums that were made before."""
        best, kept = objective.best(totals)
        error = self.error(objective, best, weights, which=which)
        within = as_good(objective, totals, best, errors * error)
        return Chosen(best, within.argmax(axis=-1), kept, error, within.sum(axis=-1))

    def error(
        self, objective: Objective, numbers: Whole, weights: Floats, *, which: NDArray[np.bool_] | None = None
    ) -> Floats:
        """Standard error, by cluster, of the objective's score of one setting for each resample; nan where unknown.

        :func:`~issue_analytics.scores.linearised_error` with a cluster counted as often as it was drawn.
        """
        some = self.active if which is None else self.active & which
        weights = weights if which is None else weights * which
        drawn = weights[:, some]
        part = objective.score(self._single(numbers, some, which))
        top, bottom = part.top[..., 0], part.bottom
        rest = self._bottom(objective)
        whole = weights @ rest
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = (drawn * top).sum(axis=1) / whole
            squares = (
                (drawn * top**2).sum(axis=1)
                - 2 * ratio * (drawn * top * bottom).sum(axis=1)
                + ratio**2 * (weights @ rest**2)
            )
            clusters = weights @ (rest > 0)
            # what rounding leaves of terms that cancel may be below 0
            error: Floats = np.sqrt(clusters / (clusters - 1) * np.maximum(squares, 0.0)) / whole * part.scale
        return np.where((clusters > 1) & (whole > 0), error, np.nan)

    def _single(self, numbers: Whole, some: NDArray[np.bool_], which: NDArray[np.bool_] | None) -> Totals:
        """The values of single clusters in place of sums: resamples x clusters x 1 setting."""
        hours = [side[some] for side in (self.events, self.exposed_hours, self.quiet_hours, self.project_days)]
        counts = [
            self._of(side, numbers, which).astype(np.float64)[..., None]
            for side in (self.alerts, self.false_alarms, self.events_caught)
        ]
        return Totals(*hours, *counts)

    def _bottom(self, objective: Objective) -> Floats:
        """The bottom of the objective's score of every cluster, also where nothing happened."""
        nothing = np.zeros((self.clusters, 1))
        every = Totals(self.events, self.exposed_hours, self.quiet_hours, self.project_days, nothing, nothing, nothing)
        return objective.score(every).bottom


def _multiplied(counts: NDArray[np.int32], drawn: Floats, columns: NDArray[np.bool_] | None) -> Floats:
    """Sums of counts (settings x clusters) under weights (clusters x resamples): resamples x settings.

    Most settings do nothing in most clusters, so that products without the zeros take a fraction of the time.
    """
    from scipy.sparse import csr_array

    out = np.empty((drawn.shape[1], len(counts)))
    step = max(1, _CELLS // max(1, drawn.shape[0]))
    for begin in range(0, len(counts), step):
        part = counts[begin : begin + step]
        part = part if columns is None else part[:, columns]
        few = np.count_nonzero(part) < _DENSE * part.size
        floats = csr_array(part, dtype=np.float64) if few else part.astype(np.float64)
        out[:, begin : begin + step] = (floats @ drawn).T
    return out


def _marks(tallies: Tallies) -> NDArray[np.uint64]:
    """A mark of what each setting does in all clusters; two that differ have the same with a chance of 2^-100."""
    rng = np.random.default_rng(20170701)
    marks = np.zeros((len(tallies.alerts), 2), dtype=np.uint64)
    for counts in (tallies.alerts, tallies.false_alarms, tallies.events_caught):
        factors = rng.integers(0, 2**64, size=(counts.shape[1], 2), dtype=np.uint64) | np.uint64(1)
        step = max(1, _CELLS // max(1, counts.shape[1]))
        for begin in range(0, len(counts), step):
            marks[begin : begin + step] += counts[begin : begin + step].astype(np.uint64) @ factors
    return marks
