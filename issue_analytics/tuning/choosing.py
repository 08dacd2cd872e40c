"""Choosing from a sweep: what is not beaten, what each price makes best, and the simplest of what is as good."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from issue_analytics.errors import SettingsError
from issue_analytics.thresholds import STANDARD, ThresholdVariables
from issue_analytics.tuning.family import Family, as_good, simplicity
from issue_analytics.tuning.objective import HOURS_PER_WEEK, Objective, Totals
from issue_analytics.tuning.settings import VARIABLES, as_settings, digests_of
from issue_analytics.tuning.tallies import Tallies

__all__ = [
    "Choice",
    "best_setting",
    "check_errors",
    "choose",
    "choose_from",
    "cost_curve",
    "pareto_front",
    "within_error",
]

_COUNTED: Final = ("events", "events_caught", "false_alarms", "alerts")


def pareto_front(table: pl.DataFrame) -> pl.DataFrame:
    """The settings that no other beats: none catches more with as few false alarms, or as much with fewer.

    Args:
        table: one row per setting with ``events_caught`` and ``false_alarms``, such as a sweep.

    Returns:
        Rows of the table, fewest false alarms first, and ``settings``: how many rows come to the same two numbers; the
        first of them stands for all.

    Raises:
        SettingsError: a column is missing.

    >>> table = pl.DataFrame({"events_caught": [2, 5, 4, 5, 1], "false_alarms": [0, 7, 9, 7, 0]})
    >>> pareto_front(table).rows()
    [(2, 0, 1), (5, 7, 2)]
    """
    _columns(table, ("events_caught", "false_alarms"))
    points = table.lazy().select("false_alarms", "events_caught", at=pl.int_range(pl.len()))
    distinct = points.group_by("false_alarms", "events_caught").agg(
        pl.col("at").min(), settings=pl.len().cast(pl.Int64)
    )
    front = (
        distinct.sort("false_alarms", "events_caught", descending=[False, True])
        .filter(pl.col("events_caught") > pl.col("events_caught").cum_max().shift(1).fill_null(-1))
        .select("at", "settings")
        .collect()
    )
    return table[front["at"]].with_columns(front["settings"])


def cost_curve(table: pl.DataFrame) -> pl.DataFrame:
    """Which setting is best at each price of a missed escalation: the whole curve, not one point.

    At a cost ratio ``c`` a setting costs ``false alarms + c * misses``. As ``c`` grows from 0, the best one moves along
    the lower convex hull of (false alarms, misses) from the fewest false alarms to the fewest misses; other settings of
    the Pareto front are best at no price. Drummond and Holte 2006.

    Args:
        table: one row per setting with ``events_caught`` and ``false_alarms``, such as a sweep.

    Returns:
        Rows of the table, one for each setting that is best somewhere, in the order of prices; before them
        ``cost_ratio_from`` and ``cost_ratio_to`` (``inf`` in the last), the prices at which it is. At the price where
        two meet both cost the same.

    Raises:
        SettingsError: a column is missing.

    >>> table = pl.DataFrame({"events_caught": [2, 5, 3, 6], "false_alarms": [0, 6, 5, 20]})
    >>> cost_curve(table).rows()
    [(0.0, 2.0, 2, 0), (2.0, 14.0, 5, 6), (14.0, inf, 6, 20)]
    """
    front = pareto_front(table).drop("settings")
    hull: list[int] = []
    points = front.select("false_alarms", "events_caught").rows()
    for at, (false, caught) in enumerate(points):
        while len(hull) > 1:
            (before, less), (last, more) = points[hull[-2]], points[hull[-1]]
            # whole numbers: the last one is on or inside the line from the one before it to this one
            if (last - before) * (caught - more) < (false - last) * (more - less):
                break
            hull.pop()
        hull.append(at)
    found = front[hull]
    price = (pl.col("false_alarms") - pl.col("false_alarms").shift(1)) / (
        pl.col("events_caught") - pl.col("events_caught").shift(1)
    )
    prices = found.select(price.cast(pl.Float64).alias("cost_ratio_from")).with_columns(
        pl.col("cost_ratio_from").fill_null(0.0), cost_ratio_to=pl.col("cost_ratio_from").shift(-1).fill_null(np.inf)
    )
    return pl.concat([prices, found], how="horizontal")


def best_setting(table: pl.DataFrame, objective: Objective) -> int:
    """The number of the row that is best by an objective, the first of equals; the arg-best, which is partly luck.

    Where no setting keeps the objective's bound, it is the best of the nearest ones.

    Args:
        table: a sweep.
        objective: what is asked.

    Raises:
        SettingsError: a column is missing, or there are no rows.

    >>> table = pl.DataFrame({"events": 8, "events_caught": [2, 5, 6], "false_alarms": [0, 6, 20],
    ...     "alerts": [2, 11, 26], "series_weeks": 10.0, "alerts_per_series_week": [0.2, 1.1, 2.6]})
    >>> best_setting(table, Objective(alerts_per_series_week=2)), best_setting(table, Objective(cost_ratio=20))
    (1, 2)
    """
    return int(objective.best(_totals(table, objective))[0])


def within_error(
    table: pl.DataFrame, objective: Objective, error: float, *, reference: ThresholdVariables = STANDARD
) -> pl.DataFrame:
    """The plateau of a sweep: settings that are as good as the best but for chance, the simplest first.

    Of those that keep the bound (or are nearest to it), the ones whose score is at most ``error`` behind the best's.
    The first is what to take: fewest variables other than in ``reference``, then the smallest change (sum of ``|log
    ratio|``), then the order of the table. Breiman, Friedman, Olshen and Stone 1984, 3.4.3.

    Args:
        table: a sweep.
        objective: what is asked.
        error: the standard error of the best's score, in the score's unit: of the recall for a budget, of the false
            alarms per series-week for a least recall, of the cost per exposed series-week for a cost ratio.
            :func:`choose` computes it by cluster.
        reference: what changes are counted from.

    Returns:
        Rows of the table, with ``changed`` (variables), ``change`` (sum of ``|log ratio|``) and ``behind`` (the best,
        in the score's unit).

    Raises:
        SettingsError: a column is missing, or there are no rows.

    >>> table = pl.DataFrame({"std_multiplier": 5, "min_spike_multiplier": 5, "max_spike_multiplier": 8,
    ...     "min_bursty_multiplier": [1, 2, 3], "max_bursty_multiplier": 5, "events": 50, "events_caught": [41, 40, 30],
    ...     "false_alarms": [9, 6, 2], "alerts": [50, 46, 32], "series_weeks": 100.0,
    ...     "alerts_per_series_week": [0.5, 0.46, 0.32]})
    >>> within_error(table, Objective(alerts_per_series_week=1), 0.05).select("min_bursty_multiplier", "behind").rows()
    [(2, 0.02), (1, 0.0)]
    """
    totals = _totals(table, objective)
    best, _ = objective.best(totals)
    allowed, _ = objective.nearest(totals)
    utility = objective.utility(totals)
    behind = np.round(utility[best] - utility, 12)
    plateau = allowed & ~(behind > error * (1 + 1e-9) + 1e-12)
    changed, change = simplicity(as_settings(table), reference)
    told = table.with_columns(
        changed=pl.Series(changed), change=pl.Series(change), behind=pl.Series(behind).fill_nan(None)
    )
    order = np.lexsort((np.arange(len(changed)), change, changed))
    return told[order[plateau[order]]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """What a search comes to under an objective.

    Attributes:
        objective: what was asked.
        reference: what changes are counted from.
        best: the best by the objective; of a large search it is partly luck.
        recommended: the simplest within ``errors`` standard errors of it.
        kept: whether any setting keeps the objective's bound; if not, these are of the nearest ones.
        error: standard error of the best's score, by cluster; see :func:`choose`.
        errors: how many of them the plateau reaches.
        tried: how many settings were tried.
        distinct: how many of them differ in what they do in any cluster.
        plateau: one row per distinct setting within the errors, the simplest first: the five variables, ``digest``,
            ``settings`` (how many of those tried do the same), ``changed`` (variables other than in the reference),
            ``change`` (sum of ``|log ratio|``), ``alerts``, ``events``, ``events_caught``, ``false_alarms``, ``behind``
            (the best, in the score's unit).
    """

    objective: Objective
    reference: ThresholdVariables
    best: ThresholdVariables
    recommended: ThresholdVariables
    kept: bool
    error: float | None
    errors: float
    tried: int
    distinct: int
    plateau: pl.DataFrame

    def __repr__(self) -> str:
        lost = "" if self.kept else ", NO SETTING KEEPS THE BOUND"
        return (
            f"Choice({self.objective}: best {self.best}, simplest as good {self.recommended}, {self.plateau.height} of "
            f"{self.distinct} distinct settings within {self.errors:g} standard errors{lost})"
        )


def choose(
    tallies: Tallies,
    settings: pl.DataFrame | Iterable[ThresholdVariables],
    objective: Objective,
    *,
    reference: ThresholdVariables = STANDARD,
    errors: float = 1.0,
) -> Choice:
    """Choose the best setting, and the simplest one that is as good but for chance.

    The plateau rule: of all settings that keep the objective's bound and whose score is at most ``errors`` standard
    errors behind the best's, the one with the fewest variables other than in ``reference``, then the smallest change
    (sum of ``|log ratio|``), then the first of the search. The standard error is that of the *best's own score* over
    clusters, :func:`~issue_analytics.scores.linearised_error`: of its recall under a budget, of its false alarms per
    quiet series-week under a least recall, of its cost per exposed series-week under a cost ratio. It takes the bound
    as known: whether a setting keeps a budget is luck too, and how often it does on new data is what
    :func:`~issue_analytics.tuning.honest.selection_corrected` says. Where the best caught everything, or counted no
    false alarm, the error is 0 and only equals are on the plateau.

    Args:
        tallies: settings x clusters.
        settings: the settings, in the order of the tallies: a sweep, a frame of the five variables, or thresholds.
        objective: what is asked.
        reference: what changes are counted from.
        errors: how many standard errors; 0 takes the simplest of those that tie with the best.

    Raises:
        SettingsError: there are no settings, not as many as in the tallies, or ``errors`` is no number from 0 on.

    >>> caught, false = np.array([[1, 1, 0, 1], [1, 1, 1, 1]]), np.array([[0, 0, 0, 0], [1, 0, 3, 0]])
    >>> hours = np.full(4, 168)
    >>> tallies = Tallies(clusters=pl.DataFrame({"group_id": range(4)}), events=np.ones(4, dtype=np.int64),
    ...     exposed_hours=hours, quiet_hours=hours - 5, alerts=caught + false, false_alarms=false, events_caught=caught)
    >>> tighter = ThresholdVariables(min_bursty_multiplier=1)
    >>> choose(tallies, [STANDARD, tighter], Objective(alerts_per_series_week=2)).best == tighter
    True
    """
    return choose_from(Family.of(tallies, settings, reference), objective, reference, errors)[0]


def choose_from(
    family: Family, objective: Objective, reference: ThresholdVariables, errors: float
) -> tuple[Choice, tuple[int, int]]:
    """As :func:`choose`, of a family; and the numbers of the best and of the recommended setting in it."""
    check_errors(errors)
    totals = family.totals(np.ones((1, family.clusters)))
    chosen = family.choose(objective, errors=errors)
    best, error = int(chosen.best[0]), float(chosen.error[0])
    changed, change = simplicity(family.values, reference)
    utility = objective.utility(totals)[0]
    behind = np.round(utility[best] - utility, 12)
    on = np.flatnonzero(as_good(objective, totals, chosen.best, errors * chosen.error)[0])
    plateau = pl.DataFrame(family.values[on], schema=list(VARIABLES), orient="row").with_columns(
        digests_of(family.values[on]).alias("digest"),
        pl.Series("settings", family.copies[on]),
        pl.Series("changed", changed[on]),
        pl.Series("change", change[on]),
        *(pl.Series(name, getattr(totals, name)[0, on]).cast(pl.Int64) for name in ("alerts", "events_caught")),
        pl.Series("false_alarms", totals.false_alarms[0, on]).cast(pl.Int64),
        pl.Series("behind", behind[on]).fill_nan(None),
        events=pl.lit(int(totals.events[0]), dtype=pl.Int64),
    )
    order = [*VARIABLES, "digest", "settings", "changed", "change", "alerts", "events", "events_caught", "false_alarms"]
    recommended = int(chosen.recommended[0])
    choice = Choice(
        objective=objective,
        reference=reference,
        best=family.thresholds(best),
        recommended=family.thresholds(recommended),
        kept=bool(chosen.kept[0]),
        error=None if np.isnan(error) else error,
        errors=errors,
        tried=len(family.family),
        distinct=len(family.values),
        plateau=plateau.select(*order, "behind"),
    )
    return choice, (best, recommended)


def check_errors(errors: float) -> None:
    """Refuse a reach of the plateau that leaves not even the best on it.

    Raises:
        SettingsError: it is no number, or below 0.
    """
    if isinstance(errors, bool) or not isinstance(errors, int | float) or not 0 <= errors < np.inf:
        raise SettingsError(f"errors: expected a number of standard errors from 0 on, got {errors!r}.")


def _columns(table: pl.DataFrame, names: Sequence[str]) -> None:
    if missing := [name for name in names if name not in table.columns]:
        raise SettingsError(
            f"no column {', '.join(missing)} in the table of settings. Found: {', '.join(table.columns)}."
        )


def _totals(table: pl.DataFrame, objective: Objective) -> Totals:
    """Totals from a sweep; what alerts were divided by comes back from their sums over all settings."""
    budgets = ("alerts_per_series_week", "alerts_per_project_day")
    rates = [name for name in budgets if name in table.columns]
    asked = [objective.name] if objective.name in budgets else []
    # of a cost only the sums matter to the best, but its score is per exposed hour
    asked = ["alerts_per_series_week"] if objective.cost_ratio is not None else asked
    _columns(table, (*_COUNTED, "series_weeks", *asked))
    if table.is_empty():
        raise SettingsError("there are no settings to choose from.")
    counts = {name: table[name].cast(pl.Float64).to_numpy() for name in _COUNTED}
    alerts = counts["alerts"].sum()
    unit = {name: alerts / rate if name in rates and (rate := float(table[name].sum())) else np.nan for name in budgets}
    quiet = float(table["series_weeks"][0]) * HOURS_PER_WEEK
    # without any alert no budget is broken, whatever the hours
    hours = unit["alerts_per_series_week"] * HOURS_PER_WEEK if alerts else quiet
    days = unit["alerts_per_project_day"] if alerts else 0.0
    return Totals(
        np.asarray(counts["events"][0]),
        np.asarray(hours),
        np.asarray(quiet),
        np.asarray(days),
        counts["alerts"],
        counts["false_alarms"],
        counts["events_caught"],
    )
