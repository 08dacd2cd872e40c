"""Hours that could fire, with all that is needed to tell under which settings they do and what an alert there means.

An hour fires if its count exceeds both halves of the limit, so only those over the loosest limit asked about matter:
under one in a hundred for any sensible setting.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from issue_analytics.backtest.matching import delay_to, escalations_met, meetings
from issue_analytics.backtest.spans import span_of
from issue_analytics.counts import HOUR
from issue_analytics.critical import Critical, critical_values
from issue_analytics.detection import limit_in_force
from issue_analytics.frames import KEY
from issue_analytics.kernel import Statistics, limits_of
from issue_analytics.thresholds import FormulaConstants, ThresholdVariables

__all__ = ["Hours", "hours_over", "limits_from"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours that could fire, sorted by group and time; arrays of one entry each.

    Attributes:
        group: number of the group.
        hour: hours since 1970.
        span: number of the exposed span.
        about: number that stands for the escalations whose time it lies in; 0: none.
        judged: whether any of these is judged.
        critical: what its variables would have to be.
        floor: the same of an hour with one event under the same limit, where that might be below 1; such a limit is
            taken as 0, and never fires.
        floored: where ``floor`` matters.
        pair_hour: of each pair of an hour and a judged escalation it may catch, the number of the hour; sorted by it.
        pair_event: number of the escalation.
        pair_delay: hours until it would be caught.
    """

    group: Ints
    hour: Ints
    span: Ints
    about: Ints
    judged: Bools
    critical: Critical
    floor: Critical
    floored: Bools
    pair_hour: Ints
    pair_event: Ints
    pair_delay: Floats

    def where(self, keep: Bools) -> "Hours":
        """Some of the hours, and the pairs they are in."""
        if keep.all():
            return self
        number = np.cumsum(keep) - 1
        pairs = keep[self.pair_hour]
        return replace(
            self,
            **{name: getattr(self, name)[keep] for name in ("group", "hour", "span", "about", "judged", "floored")},
            critical=_where(self.critical, keep),
            floor=_where(self.floor, keep),
            pair_hour=number[self.pair_hour[pairs]],
            pair_event=self.pair_event[pairs],
            pair_delay=self.pair_delay[pairs],
        )

    def between(self, low: int, high: int) -> "Hours":
        """The hours numbered [low, high), and the pairs they are in."""
        if low == 0 and high == self.group.size:
            return self
        cut = slice(low, high)
        pairs = slice(*np.searchsorted(self.pair_hour, [low, high]).tolist())
        return replace(
            self,
            **{name: getattr(self, name)[cut] for name in ("group", "hour", "span", "about", "judged", "floored")},
            critical=_where(self.critical, cut),
            floor=_where(self.floor, cut),
            pair_hour=self.pair_hour[pairs] - low,
            pair_event=self.pair_event[pairs],
            pair_delay=self.pair_delay[pairs],
        )

    def possible(self, loosest: Floats) -> Bools:
        """Which hours exceed both halves of the limit under variables in their usual order."""
        return fires(self.critical, loosest)


def fires(critical: Critical, variables: Floats) -> Bools:
    """Whether each hour exceeds both halves of the limit under one setting, or (…, 5) against hours that broadcast."""
    std, min_spike, max_spike, min_bursty, max_bursty = np.moveaxis(np.asarray(variables), -1, 0)
    bursty = np.where(critical.decay_fires, min_bursty <= critical.bursty, max_bursty <= critical.bursty)
    spike = (max_spike <= critical.spike) | ((min_spike <= critical.spike) & (std <= critical.std))
    both: Bools = bursty & spike
    return both


def limits_from(
    statistics: pl.DataFrame, thresholds: ThresholdVariables, constants: FormulaConstants
) -> tuple[Ints, NDArray[np.uint8]]:
    """Limits (0 where there is none) and rules of rows of window statistics."""
    acts = statistics["mean"].is_not_null().to_numpy()
    found = Statistics(
        statistics["busiest"].to_numpy(),
        statistics["new"].to_numpy(),
        np.where(acts, statistics["mean"].to_numpy(), 1.0),
        np.where(acts, statistics["deviation"].to_numpy(), 0.0),
        np.where(acts, statistics["weighted_mean"].to_numpy(), 1.0),
    )
    return limits_of(found, thresholds, constants)


def hours_over(
    loosest: ThresholdVariables,
    watched: pl.DataFrame,
    statistics: pl.DataFrame,
    groups: pl.DataFrame,
    spans: pl.DataFrame,
    windows: pl.DataFrame,
    events: pl.DataFrame,
    constants: FormulaConstants,
) -> Hours:
    """Find the watched hours over the limits of ``loosest``.

    Args:
        loosest: each variable at its smallest.
        watched: contract ``HourlyCounts``: judged hours.
        statistics: of :func:`~issue_analytics.forecast.window_statistics`.
        groups: project_id, group_id, ``group`` (their number).
        spans: contract ``Exposure``.
        windows: of :func:`~issue_analytics.backtest.matching.windows_of`.
        events: project_id, group_id, escalated_at and ``event`` (their number) of judged escalations.
        constants: the constants of the formula.
    """
    limit, _ = limits_from(statistics, loosest, constants)
    made = statistics.select(*KEY, "date", "as_of", row=pl.int_range(pl.len())).with_columns(least=limit)
    lowest = made.group_by(KEY).agg(lowest=pl.col("least").min())
    over = (
        limit_in_force(
            watched.lazy()
            .join(lowest.lazy(), on=KEY)
            .filter(pl.col("count") > pl.max_horizontal("lowest", pl.lit(0)))
            .select(*KEY, "hour", "count"),
            made.lazy(),
            ("row", "least"),
        )
        .filter(pl.col("count") > pl.col("least"))
        .sort(*KEY, "hour")
        .collect()
    )
    over = over.filter(statistics["busiest"].gather(over["row"]) > 0)
    met = meetings(over, windows)
    about = escalations_met(met)
    kinds = about.select("about", "latest").unique().with_row_index("kind", offset=1)
    about = about.join(kinds, on=["about", "latest"]).select(*KEY, "hour", about=pl.col("kind").cast(pl.Int64))
    told = (
        span_of(over, spans)
        .sort(*KEY, "hour")
        .join(about, on=[*KEY, "hour"], how="left")
        .join(met.group_by(*KEY, "hour").agg(judged=pl.col("judged").any()), on=[*KEY, "hour"], how="left")
        .join(groups, on=KEY, how="left")
        .sort("group", "hour")
        .with_columns(pl.col("about").fill_null(0), pl.col("judged").fill_null(value=False))
    )
    window = statistics[told["row"]]
    new = window["new"].to_numpy()
    values = [
        np.where(new, one, window[name].to_numpy())
        for name, one in (("mean", 1.0), ("deviation", 0.0), ("weighted_mean", 1.0))
    ]
    count, busiest = told["count"].to_numpy(), window["busiest"].to_numpy()
    floored = ~new & (told["least"].to_numpy() == 0)
    critical = _always(critical_values(count, busiest, *values, constants=constants), new)
    one = np.ones(int(floored.sum()), dtype=np.int64)
    floor = critical_values(one, busiest[floored], *(value[floored] for value in values), constants=constants)
    pairs = (
        met.filter("judged")
        .join(told.select(*KEY, "hour", number=pl.int_range(pl.len())), on=[*KEY, "hour"])
        .join(events.select(*KEY, "escalated_at", "event"), on=[*KEY, "escalated_at"])
        .select("number", "event", delay=delay_to("hour"))
        .sort("number", "event")
    )
    return Hours(
        group=told["group"].to_numpy(),
        hour=((told["hour"].dt.epoch("us")) // (HOUR // timedelta(microseconds=1))).to_numpy(),
        span=told["start"].dt.epoch("us").to_numpy(),
        about=told["about"].to_numpy(),
        judged=told["judged"].to_numpy(),
        critical=critical,
        floor=_spread(floor, floored),
        floored=floored,
        pair_hour=pairs["number"].to_numpy(),
        pair_event=pairs["event"].to_numpy(),
        pair_delay=pairs["delay"].to_numpy(),
    )


def _always(critical: Critical, new: Bools) -> Critical:
    """No variable acts on the limit of a new group: an hour above it fires under all."""
    return Critical(
        np.where(new, np.inf, critical.bursty),
        np.where(new, np.inf, critical.spike),
        np.where(new, np.inf, critical.std),
        critical.decay_fires | new,
    )


def _spread(some: Critical, where: Bools) -> Critical:
    """Put the values of some hours in their places; of others nothing is ever below them."""
    never = np.full(where.shape, -np.inf)
    every = Critical(never, never.copy(), never.copy(), np.ones(where.shape, dtype=np.bool_))
    for name in ("bursty", "spike", "std", "decay_fires"):
        getattr(every, name)[where] = getattr(some, name)
    return every


def _where(critical: Critical, keep: Bools | slice) -> Critical:
    return Critical(critical.bursty[keep], critical.spike[keep], critical.std[keep], critical.decay_fires[keep])
