"""The exact curve along one variable or two: no grid, but every value at which anything changes."""

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from issue_analytics.critical import Critical
from issue_analytics.errors import SettingsError
from issue_analytics.thresholds import LARGEST, STANDARD, ThresholdVariables
from issue_analytics.tuning.hours import Bools, Floats, fires
from issue_analytics.tuning.settings import OUTCOME, VARIABLES, array_of, as_frame

if TYPE_CHECKING:
    from issue_analytics.tuning.prepared import Prepared

__all__ = ["curve"]

_FROM: Final = {
    "std_multiplier": 0.0,
    "min_spike_multiplier": 2.0,
    "max_spike_multiplier": 2.0,
    "min_bursty_multiplier": 1.0,
    "max_bursty_multiplier": 1.0,
}
_MOST: Final = 2_000_000


def curve(
    prepared: "Prepared",
    *variables: str,
    thresholds: ThresholdVariables = STANDARD,
    low: float | None = None,
    high: float | None = None,
) -> pl.DataFrame:
    """Every value of one variable at which anything changes, and what all settings between two of them come to.

    An hour stops firing just above its critical value, so between neighbouring critical values nothing can change;
    neighbours with the same outcome are one row. For two variables the rows are the cells between the critical values
    of both.

    Args:
        prepared: the history.
        *variables: one or two of the five.
        thresholds: the others.
        low: where the curve begins; by default at a spike multiplier of 2, a bursty multiplier of 1, or 0 standard
            deviations.
        high: where it ends; by default where no more can change, or where a minimum meets its maximum.

    Returns:
        The columns of a sweep after ``<variable>_from``: a row holds for values above that (from it on in the first)
        up to and with the variable's own column.

    Raises:
        SettingsError: a variable is unknown, the range is empty, or there are more than two million cells.

    >>> from issue_analytics.simulate import simulate
    >>> from issue_analytics.tuning.prepared import prepare
    >>> sim = simulate(groups=40, days=21, seed=7)
    >>> found = curve(prepare(sim.hourly_counts, sim.escalations, buckets="dense"), "min_bursty_multiplier", low=1.8)
    >>> found.select(pl.col("^min_bursty.*$").round(3), "alerts").head(3).rows()
    [(1.8, 2.0, 11), (2.0, 2.25, 4), (2.25, 3.0, 3)]
    """
    if not 1 <= len(variables) <= 2 or len(set(variables)) < len(variables):
        raise SettingsError(f"variables: expected one or two different ones, got {', '.join(variables) or 'none'}.")
    if unknown := [name for name in variables if name not in VARIABLES]:
        raise SettingsError(f"no variable {', '.join(unknown)}. There are: {', '.join(VARIABLES)}.")
    ranges = {name: _range(name, variables, thresholds, low, high) for name in variables}
    loosest, tightest = array_of(thresholds), array_of(thresholds)
    for name, (start, end) in ranges.items():
        loosest[VARIABLES.index(name)], tightest[VARIABLES.index(name)] = start, end
    hours = prepared.hours(loosest[None, :])
    # hours over the limit everywhere or nowhere in the range move nothing
    moved = fires(hours.critical, loosest) & ~fires(hours.critical, tightest) | hours.floored
    cuts = {}
    for name, (start, end) in ranges.items():
        values = np.concatenate([_decisive(hours.critical, name, moved), _decisive(hours.floor, name, hours.floored)])
        inside = values[(values >= start) & (values < end)]
        cuts[name] = np.unique(np.append(inside, end))
    if {name.split("_", 1)[1] for name in cuts} in ({"spike_multiplier"}, {"bursty_multiplier"}) and len(cuts) == 2:
        # a minimum and its maximum: the same cuts for both, so that no cell lies across the line where they meet
        both = np.unique(np.concatenate(list(cuts.values())))
        cuts = {name: both[(both >= ranges[name][0]) & (both <= ranges[name][1])] for name in cuts}
    cells = int(np.prod([cut.size for cut in cuts.values()]))
    if cells > _MOST:
        sizes = " x ".join(f"{cut.size:,} values of {name}" for name, cut in cuts.items())
        raise SettingsError(f"{sizes} are more than {_MOST:,} cells; narrow the range with low= and high=.")
    mesh = np.meshgrid(*cuts.values(), indexing="ij")
    settings = np.repeat(array_of(thresholds)[None, :], cells, axis=0)
    begins = {}
    for name, axis in zip(cuts, mesh, strict=True):
        settings[:, VARIABLES.index(name)] = axis.ravel()
        before = np.concatenate([[ranges[name][0]], cuts[name][:-1]])
        begins[f"{name}_from"] = before[np.searchsorted(cuts[name], axis.ravel())]
    frame = as_frame(settings)
    orderly = (pl.col("min_spike_multiplier") <= pl.col("max_spike_multiplier")) & (
        pl.col("min_bursty_multiplier") <= pl.col("max_bursty_multiplier")
    )
    cells_of = pl.DataFrame(begins).hstack(frame).filter(orderly)
    found = cells_of.select(*begins).hstack(prepared.sweep(cells_of.select(VARIABLES)))
    return _united(found, variables[0]) if len(variables) == 1 else found


def _range(
    name: str, variables: tuple[str, ...], thresholds: ThresholdVariables, low: float | None, high: float | None
) -> tuple[float, float]:
    """Where the curve begins and ends: within what the other end of a minimum and maximum allows."""
    kind = name.split("_", 1)[1]
    start, end = _FROM[name] if low is None else float(low), float(LARGEST) if high is None else float(high)
    for other, pick in ((f"min_{kind}", max), (f"max_{kind}", min)):
        if other in VARIABLES and other != name and other not in variables:
            bound = float(getattr(thresholds, other))
            start, end = (pick(start, bound), end) if pick is max else (start, pick(end, bound))
    if not 0 <= start <= end <= LARGEST:
        raise SettingsError(f"{name}: from {start:g} to {end:g} is no range; values lie from 0 to {LARGEST:,}.")
    return start, end


def _decisive(critical: Critical, name: str, which: Bools) -> Floats:
    """Critical values of a variable, of hours that it can decide about."""
    if name == "std_multiplier":
        return critical.std[which]
    if name in ("min_spike_multiplier", "max_spike_multiplier"):
        return critical.spike[which]
    mine = critical.decay_fires if name == "min_bursty_multiplier" else ~critical.decay_fires
    return critical.bursty[which & mine]


def _united(found: pl.DataFrame, name: str) -> pl.DataFrame:
    """Unite neighbours with the same outcome: the first one's beginning, and otherwise the last one."""
    changes = pl.any_horizontal(pl.col(column).ne_missing(pl.col(column).shift(1)) for column in OUTCOME)
    run = found.select(changes.fill_null(value=True).cum_sum().alias("run")).to_series()
    ends: NDArray[np.int64] = np.flatnonzero(np.append(np.diff(run.to_numpy()) != 0, [True]))
    starts = np.concatenate([[0], ends[:-1] + 1])
    return found[ends].with_columns(found[f"{name}_from"].gather(starts).alias(f"{name}_from"))
