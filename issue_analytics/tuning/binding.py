"""Which of the five variables can matter at all: tuning one that never acts is tuning noise."""

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from issue_analytics.critical import decay_of
from issue_analytics.errors import SettingsError
from issue_analytics.formula import BURSTY, SPIKE
from issue_analytics.frames import KEY, RULES
from issue_analytics.scores.days import limit_spans, limits_of
from issue_analytics.scores.strata import STRATA
from issue_analytics.thresholds import STANDARD, ThresholdVariables, check_thresholds
from issue_analytics.tuning.hours import limits_from
from issue_analytics.tuning.settings import OUTCOME, VARIABLES

if TYPE_CHECKING:
    from issue_analytics.tuning.prepared import Prepared

__all__ = ["TERMS", "binding", "flat_variables"]

TERMS: Final = (*VARIABLES, "decay", "new", "none")
"""What a limit may hang on: one of the variables; the decay ``5 e^(-0.65 cv)`` between the bursty bounds; the rule for
new groups; or nothing, where the window was silent and there is no limit."""


def binding(prepared: "Prepared", thresholds: ThresholdVariables = STANDARD, *, by: str | None = None) -> pl.DataFrame:
    """On how many limits each variable is the active term: the one that a small change of moves the limit.

    Args:
        prepared: the history.
        thresholds: the setting looked at.
        by: a stratum to tell apart: ``"volume"``, ``"variation"``, ``"age"``, ``"branch"``, ``"type"`` or
            ``"project_id"``.

    Returns:
        A row per stratum and term, in the order of :data:`TERMS`: the stratum, ``term``, ``limit_days`` (pairs of a
        judged group and a UTC day, each limit that was in force on it), ``share`` (of the limit-days of the stratum).

    Raises:
        SettingsError: ``by`` is no stratum, or the setting is none.

    >>> from issue_analytics.simulate import simulate
    >>> from issue_analytics.tuning.prepared import prepare
    >>> sim = simulate(groups=40, days=21, seed=7)
    >>> shares = binding(prepare(sim.hourly_counts, sim.escalations, buckets="dense"))
    >>> shares.filter(pl.col("share") > 0.02).select("term", pl.col("share").round(2)).rows()
    [('min_bursty_multiplier', 0.89), ('decay', 0.03), ('none', 0.08)]
    """
    check_thresholds(thresholds)
    if by is not None and by not in STRATA:
        raise SettingsError(f"by: {by!r} is none of {', '.join(STRATA)}.")
    rows = prepared.statistics
    limit, rule = limits_from(rows, thresholds, prepared.constants)
    acts = rows["mean"].is_not_null().to_numpy()
    mean = np.where(acts, rows["mean"].to_numpy(), 1.0)
    deviation = np.where(acts, rows["deviation"].to_numpy(), 0.0)
    decay = decay_of(mean, deviation, prepared.constants)
    factor = (mean + thresholds.std_multiplier * deviation) / mean
    variable = {name: number for number, name in enumerate(TERMS)}
    bursty = np.select(
        [decay < thresholds.min_bursty_multiplier, decay > thresholds.max_bursty_multiplier],
        [variable["min_bursty_multiplier"], variable["max_bursty_multiplier"]],
        variable["decay"],
    )
    spike = np.select(
        [factor < thresholds.min_spike_multiplier, factor > thresholds.max_spike_multiplier],
        [variable["min_spike_multiplier"], variable["max_spike_multiplier"]],
        variable["std_multiplier"],
    )
    silent = rows["busiest"].to_numpy() == 0
    term = np.select(
        [silent, rule == BURSTY, rule == SPIKE], [variable["none"], bursty, spike], variable["new"]
    ).astype(np.uint32)
    told = rows.select(*KEY, "date", "as_of").with_columns(
        limit=limit, rule=pl.lit("new").cast(pl.Enum(RULES)), term=pl.Series(term)
    )
    days = (
        limits_of(limit_spans(prepared.exposure, told.drop("term")))
        .select(*KEY, "date", "as_of")
        .join(told.select(*KEY, "date", "as_of", "term"), on=[*KEY, "date", "as_of"], how="left")
        .with_columns(pl.col("term").replace_strict(dict(enumerate(TERMS)), return_dtype=pl.Enum(TERMS)))
    )
    strata: list[str] = []
    if by is not None:
        days = days.join(prepared.groups.select(*{*KEY, by}), on=KEY, how="left")
        strata = [by]
    found = days.group_by(*strata, "term").agg(limit_days=pl.len().cast(pl.Int64))
    every = pl.DataFrame({"term": pl.Series(TERMS, dtype=pl.Enum(TERMS))})
    whole = days.select(strata).unique().sort(strata).join(every, how="cross") if strata else every
    shares = whole.join(found, on=[*strata, "term"], how="left", nulls_equal=True, maintain_order="left")
    number = pl.col("limit_days").fill_null(0)
    total = number.sum().over(strata) if strata else number.sum()
    return shares.with_columns(limit_days=number, share=pl.when(total > 0).then(number / total))


def flat_variables(table: pl.DataFrame) -> pl.DataFrame:
    """Along which variables of a sweep nothing changes, whatever the others are.

    Args:
        table: a sweep.

    Returns:
        A row for each variable that takes several values in the table: ``variable``, ``values`` (how many), ``flat``
        (whether settings that differ in it alone come to the same alerts, escalations caught, false alarms and delay;
        null where no two settings differ in it alone, as in a random sample).

    Raises:
        SettingsError: a column is missing.

    >>> table = pl.DataFrame({name: [5.0, 5.0] for name in VARIABLES}).with_columns(
    ...     std_multiplier=pl.Series([4.0, 5.0]), **{name: pl.lit(1) for name in OUTCOME})
    >>> flat_variables(table).rows()
    [('std_multiplier', 2, True)]
    """
    if missing := [name for name in (*VARIABLES, *OUTCOME) if name not in table.columns]:
        raise SettingsError(f"table: no column {', '.join(missing)}; expected a sweep.")
    rows = []
    for name in VARIABLES:
        values = table[name].n_unique()
        if values < 2:
            continue
        others = [other for other in VARIABLES if other != name]
        alike = table.group_by(others).agg(
            pl.col(name).n_unique(), same=pl.all_horizontal(pl.col(OUTCOME).n_unique() == 1)
        )
        several = alike.filter(pl.col(name) > 1)
        rows.append((name, values, None if several.is_empty() else several["same"].all()))
    return pl.DataFrame(rows, {"variable": pl.String, "values": pl.Int64, "flat": pl.Boolean}, orient="row")
