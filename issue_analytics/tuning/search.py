"""Search by Optuna where a grid has too many corners: settings of several segments at once, under one objective.

Optuna is an extra (``pip install 'issue-analytics[search]'``) and only proposes; what a proposal comes to is counted
exactly, and compared by the same :class:`~issue_analytics.tuning.objective.Objective` as everywhere.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from issue_analytics.errors import SettingsError
from issue_analytics.scores.strata import STRATA
from issue_analytics.thresholds import STANDARD, ThresholdVariables
from issue_analytics.tuning.objective import Objective, Totals
from issue_analytics.tuning.settings import VARIABLES

if TYPE_CHECKING:
    from optuna import Study, Trial

    from issue_analytics.tuning.prepared import Prepared

Floats = NDArray[np.float64]

__all__ = ["RANGES", "Search", "search"]

RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "std_multiplier": (1, 9),
    "min_spike_multiplier": (2, 8),
    "max_spike_multiplier": (3, 12),
    "min_bursty_multiplier": (1, 4),
    "max_bursty_multiplier": (2, 6),
}
"""Where each variable is looked for if nothing else is said: half to twice the standard setting, about."""

_WORST: Final = -1e9
_SEGMENTS: Final = 50


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Search:
    """What a search found.

    Attributes:
        objective: what was asked.
        by: the stratum whose values have settings of their own; None: one setting for all.
        thresholds: the best setting of each segment; with the one key None where all have the same.
        kept: whether it keeps the objective's bound.
        trials: a row per trial and segment, in their order: ``trial``, ``segment``, the five variables, ``alerts``,
            ``false_alarms``, ``events_caught`` (of all segments together), ``utility`` (the objective's score, turned
            so that more is better) and ``excess`` (how far from keeping the bound).
    """

    objective: Objective
    by: str | None
    thresholds: dict[Any, ThresholdVariables]
    kept: bool
    trials: pl.DataFrame

    def __repr__(self) -> str:
        number = self.trials["trial"].n_unique()
        return f"Search({self.objective}: {number} trials, {'kept' if self.kept else 'not kept'}, {self.thresholds})"


def search(
    prepared: "Prepared",
    objective: Objective,
    *,
    trials: int = 500,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    by: str | None = None,
    start: ThresholdVariables = STANDARD,
    storage: str | Path | None = None,
    seed: int = 0,
    batch: int = 32,
    progress: bool | None = None,
) -> Search:
    """Search settings, one for all groups or one for each segment jointly, by Optuna's multivariate TPE sampler.

    The score of the winner is apparent: nothing here corrects for the search. Judge it on data that had no part in it,
    see :func:`~issue_analytics.scores.time_split`.

    Args:
        prepared: the history, with escalations.
        objective: what is wanted.
        trials: how many in all, with those of earlier calls on the same ``storage``.
        ranges: of variables, from and to; others stay as in ``start``. By default all five, see :data:`RANGES`. A
            maximum proposed below its minimum is taken as equal to it.
        by: a stratum (``"volume"``, ``"variation"``, ``"age"``, ``"branch"``, ``"type"``, ``"project_id"``) whose
            values get settings of their own; they share one objective, so that a budget goes where it catches most.
        start: the first trial, for every segment.
        storage: a file that keeps the trials, so that an interrupted search goes on where it was; or a URL of a
            database as Optuna takes it. Trials of other data, objectives or ranges in it are left alone.
        seed: 0 or more.
        batch: trials proposed and counted at a time.
        progress: None shows a bar if it takes more than two seconds, False never.

    Raises:
        SettingsError: Optuna is not installed, nothing is known to be true, or a setting makes no sense.

    >>> from issue_analytics.simulate import simulate
    >>> from issue_analytics.tuning.prepared import prepare
    >>> sim = simulate(groups=40, days=21, seed=7)
    >>> prepared = prepare(sim.hourly_counts, sim.escalations, buckets="dense")
    >>> found = search(prepared, Objective(cost_ratio=5), trials=20)
    >>> found.kept, found.trials["trial"].n_unique()
    (True, 20)
    """
    chosen = _checked(prepared, ranges, by, trials, batch)
    segments = _segments(prepared, by)
    study = _study(storage, f"issue-analytics-{_fingerprint(prepared, objective, chosen, by, start)}", seed)
    # also where an earlier call was stopped before its first trials were counted
    if not _done(study):
        study.enqueue_trial(
            {
                _parameter(number, name): min(max(float(getattr(start, name)), low), high)
                for number in range(len(segments))
                for name, (low, high) in chosen.items()
            }
        )
    whole = _whole(prepared)
    left = trials - len(_done(study))
    from tqdm.auto import tqdm

    with tqdm(total=trials, initial=trials - max(left, 0), desc="search", unit="trial", delay=2, leave=False,
              disable=progress is False) as bar:  # fmt: skip
        while left > 0:
            asked = [study.ask() for _ in range(min(batch, left))]
            proposed = [[_proposal(trial, number, chosen, start) for trial in asked] for number in range(len(segments))]
            _tell(study, asked, objective, whole, _sums(prepared, segments, proposed))
            left -= len(asked)
            bar.update(len(asked))
    return _result(study, objective, by, segments, chosen, start)


def _checked(
    prepared: "Prepared", ranges: Mapping[str, tuple[float, float]] | None, by: str | None, trials: int, batch: int
) -> dict[str, tuple[float, float]]:
    if not prepared.labelled:
        raise SettingsError("nothing is known to be true: prepare the history with escalations.")
    if by is not None and by not in STRATA:
        raise SettingsError(f"by: {by!r} is none of {', '.join(STRATA)}.")
    for name, value in (("trials", trials), ("batch", batch)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SettingsError(f"{name}: expected a whole number from 1 on, got {value!r}.")
    chosen = dict(RANGES if ranges is None else ranges)
    if unknown := [name for name in chosen if name not in VARIABLES]:
        raise SettingsError(f"ranges: no variable {', '.join(unknown)}. There are: {', '.join(VARIABLES)}.")
    for name, ends in chosen.items():
        if len(ends) != 2 or not 0 <= ends[0] <= ends[1] <= 1000:
            raise SettingsError(f"ranges: {name}: expected (from, to) within 0 and 1,000, got {ends!r}.")
    if not chosen:
        raise SettingsError("ranges: there is none.")
    return {name: (float(low), float(high)) for name, (low, high) in chosen.items()}


def _study(storage: str | Path | None, name: str, seed: int) -> "Study":
    try:
        import optuna
    except ImportError:
        raise SettingsError("the search needs Optuna: pip install 'issue-analytics[search]'.") from None
    from sqlalchemy.exc import SQLAlchemyError

    said = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    place = None if storage is None else str(storage)
    if place is not None and "://" not in place:
        if "?" in place:
            raise SettingsError(f"storage: {place}: a name with a ? would be taken for options; choose another one.")
        place = f"sqlite:///{place}"
    try:
        study = optuna.create_study(storage=place, study_name=name, direction="maximize", load_if_exists=True)
        # the same seed again would propose again what was tried before the interruption
        study.sampler = optuna.samplers.TPESampler(
            seed=seed + len(study.get_trials(deepcopy=False)), multivariate=True, constant_liar=True
        )
        return study
    except (SQLAlchemyError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(f"storage: no trials can be kept there ({reason}); name a file or a database.") from None
    finally:
        optuna.logging.set_verbosity(said)


def _segments(prepared: "Prepared", by: str | None) -> list[tuple[Any, NDArray[np.bool_]]]:
    """Values of the stratum, and which groups are in each."""
    if by is None:
        return [(None, np.ones(prepared.groups.height, dtype=np.bool_))]
    values = prepared.groups[by].unique().sort().to_list()
    if len(values) > _SEGMENTS:
        raise SettingsError(
            f"by: {by!r} has {len(values):,} values; a joint search of more than {_SEGMENTS} is hopeless."
        )
    return [(value, prepared.groups[by].eq_missing(value).to_numpy()) for value in values]


def _parameter(segment: int, variable: str) -> str:
    return f"{segment}:{variable}"


def _proposal(
    trial: "Trial", segment: int, ranges: dict[str, tuple[float, float]], start: ThresholdVariables
) -> ThresholdVariables:
    values = {name: trial.suggest_float(_parameter(segment, name), *ends) for name, ends in ranges.items()}
    return _ordered(values, start)


def _ordered(values: Mapping[str, float], start: ThresholdVariables) -> ThresholdVariables:
    """A setting in which a maximum is never below its minimum: what was asked for of the two has its way."""
    every = {**start.to_dict(), **values}
    for kind in ("spike", "bursty"):
        low, high = f"min_{kind}_multiplier", f"max_{kind}_multiplier"
        if every[low] > every[high]:
            every[high if low in values else low] = every[low if low in values else high]
    return ThresholdVariables(**every)


def _whole(prepared: "Prepared") -> list[Floats]:
    """Events, exposed hours, quiet hours and days of projects of all groups together."""
    sums = prepared.groups.select(pl.col("events", "exposed_hours", "quiet_hours").sum()).row(0)
    return [np.asarray(value, dtype=np.float64) for value in (*sums, prepared.project_days["days"].sum())]


def _sums(prepared: "Prepared", segments: list[tuple[Any, Any]], proposed: list[list[ThresholdVariables]]) -> Floats:
    """Alerts, false alarms and escalations caught of each trial, over all segments."""
    total = np.zeros((3, len(proposed[0])))
    for (_, mine), settings in zip(segments, proposed, strict=True):
        if len(segments) == 1:
            table = prepared.sweep(settings, progress=False)
            return table.select("alerts", "false_alarms", "events_caught").to_numpy().T.astype(np.float64)
        tallies = prepared.tallies(settings)
        for row, side in zip(total, (tallies.alerts, tallies.false_alarms, tallies.events_caught), strict=True):
            row += side[:, mine].sum(axis=1)
    return total


def _tell(
    study: "Study",
    asked: "list[Trial]",
    objective: Objective,
    whole: list[Floats],
    sums: Floats,
) -> None:
    totals = Totals(*whole, *sums)
    utility, excess = objective.utility(totals), objective.excess(totals)
    for number, trial in enumerate(asked):
        for name, value in zip(("alerts", "false_alarms", "events_caught"), sums[:, number].tolist(), strict=True):
            trial.set_user_attr(name, value)
        trial.set_user_attr("excess", float(excess[number]))
        trial.set_constraint("excess", float(excess[number]))
        study.tell(trial, float(utility[number]) if np.isfinite(utility[number]) else _WORST)


def _done(study: "Study") -> list[Any]:
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _result(
    study: "Study",
    objective: Objective,
    by: str | None,
    segments: list[tuple[Any, Any]],
    ranges: dict[str, tuple[float, float]],
    start: ThresholdVariables,
) -> Search:
    done = _done(study)

    def setting(trial: Any, number: int) -> ThresholdVariables:
        return _ordered({name: trial.params[_parameter(number, name)] for name in ranges}, start)

    def rows() -> Iterator[dict[str, Any]]:
        for trial in done:
            counted = {name: int(trial.user_attrs[name]) for name in ("alerts", "false_alarms", "events_caught")}
            score = {"utility": trial.value, "excess": trial.user_attrs["excess"]}
            for number, (value, _) in enumerate(segments):
                floats = {name: float(one) for name, one in setting(trial, number).to_dict().items()}
                yield (
                    {"trial": trial.number, "segment": None if value is None else str(value)} | floats | counted | score
                )

    schema = {"trial": pl.Int64, "segment": pl.String, **dict.fromkeys(VARIABLES, pl.Float64)}
    counted = dict.fromkeys(("alerts", "false_alarms", "events_caught"), pl.Int64)
    table = pl.DataFrame(list(rows()), {**schema, **counted, "utility": pl.Float64, "excess": pl.Float64})
    # nearest to the bound, then the score, then what breaks ties, then the earliest
    first = "alerts" if objective.min_recall is not None else "false_alarms"
    best = min(
        done, key=lambda trial: (trial.user_attrs["excess"], -trial.value, trial.user_attrs[first], trial.number)
    )
    return Search(
        objective=objective,
        by=by,
        thresholds={value: setting(best, number) for number, (value, _) in enumerate(segments)},
        kept=best.user_attrs["excess"] <= 0,
        trials=table,
    )


def _fingerprint(
    prepared: "Prepared",
    objective: Objective,
    ranges: dict[str, tuple[float, float]],
    by: str | None,
    start: ThresholdVariables,
) -> str:
    """The same for the same data, question and ranges only: trials of another question say nothing about this one."""
    told = hashlib.sha256()
    if by is not None:  # who is in which segment hangs on types and first sightings too
        told.update(repr(prepared.groups[by].to_list()).encode())
    for frame in (prepared.watched, prepared.exposure, prepared.windows, prepared.statistics):
        numbers = frame.select(cs.numeric() | cs.temporal() | cs.boolean())
        for column in numbers.sort(numbers.columns[:4]):
            told.update(column.name.encode())
            told.update(column.to_physical().cast(pl.Float64).fill_null(float("nan")).to_numpy().tobytes())
    settings = (prepared.policy, prepared.buckets, prepared.matching, prepared.constants, objective, ranges, by, start)
    told.update(repr(settings).encode())
    return told.hexdigest()[:16]
