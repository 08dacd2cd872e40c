"""A recommendation in sentences: what was asked, what was found, and how much of it is luck."""

from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from issue_analytics.thresholds import ThresholdVariables
from issue_analytics.tuning.honest import SelectionCorrected
from issue_analytics.tuning.prepared import Prepared
from issue_analytics.tuning.settings import VARIABLES
from issue_analytics.tuning.tallies import Tallies

__all__ = ["FEW_EVENTS", "why_of"]

FEW_EVENTS: Final = 10
"""Escalations below which the part of time that was held out says too little, as a stratum does."""


def why_of(
    found: SelectionCorrected,
    table: pl.DataFrame,
    differences: pl.DataFrame,
    better: str,
    whole: Prepared,
    cut: datetime | None,
    embargo: timedelta,
    on_all: ThresholdVariables,
    default: ThresholdVariables,
    judged: Tallies | None,
    cluster: str,
) -> tuple[str, ...]:
    """The sentences, in the order of a person's questions."""
    choice, objective = found.choice, found.choice.objective
    score = objective.score_name
    words = _words(score)
    rows = {row["setting"]: row for row in table.filter(score=score).iter_rows(named=True)}
    when = "all judged time" if cut is None else f"judged time before {cut:%Y-%m-%d %H:%M} UTC"
    told = [
        f"Asked: {objective}.",
        f"Tried: {choice.tried:,} setting{'' if choice.tried == 1 else 's'} ({choice.distinct:,} differ in what they "
        f"do) on {found.events:,} escalations in {found.with_events:,} of {found.clusters:,} {cluster}s, {when}.",
    ]
    if not choice.kept:
        told.append(f"No setting keeps the bound of {objective.bound}; those nearest to it were compared.")
    best, mine, base = (rows[name] for name in ("best", "recommended", "default"))
    told.append(
        f"Best of the search: {choice.best}; {words} {_number(best['apparent'])} as it looks, "
        f"{_number(best['corrected'])} on {cluster}s that had no part in choosing{_luck(best, score)}."
    )
    same = "what you have" if choice.recommended == default else _changes(choice.recommended, default)
    reach = f"{choice.errors:g} standard error{'' if choice.errors == 1 else 's'}"
    told.append(
        f"Recommended: {choice.recommended}, {same}: the simplest of {choice.plateau.height:,} that differ and are "
        f"within {reach} ({_number(choice.error)}) of the best; {words} {_number(mine['apparent'])} as it looks, "
        f"{_number(mine['corrected'])} corrected, the default's {_number(base['apparent'])}."
    )
    if objective.bound is not None:
        shares = dict(found.kept.rows())
        told.append(
            f"On {cluster}s not drawn the bound ({objective.bound}) was kept in {shares['recommended']:.0%} of "
            f"resamples, by the default in {shares['default']:.0%}."
        )
    told.append(_verdict(found, differences, better, words, cluster, table))
    told.append(_stability(found))
    if judged is not None and cut is not None:
        told.append(_later(judged, mine, base, differences, words, cut + embargo))
        told.append(
            f"On all data the same rule takes {'the same setting' if on_all == choice.recommended else on_all}; "
            "nothing is left to judge that by."
        )
    if whole.labelled and (whole.escalations["provenance"] == "algorithm").any():
        told.append("Some labels are the algorithm's own flags: what they say of its thresholds is circular.")
    return tuple(told)


def _luck(row: dict[str, Any], score: str) -> str:
    if row["apparent"] is None or row["corrected"] is None:
        return ""
    luck = (row["apparent"] - row["corrected"]) * (1 if score == "recall" else -1)
    # of what is bounded nothing is said here: that may be where the luck is
    return f": it looks {_number(luck)} better than it is" if luck > 0 else ""


def _verdict(
    found: SelectionCorrected, differences: pl.DataFrame, better: str, words: str, cluster: str, table: pl.DataFrame
) -> str:
    objective, none = (
        found.choice.objective,
        f"p = {found.p:.3f} of the best's gain, if nothing tried were better than the default",
    )
    if better == "same":
        if found.p <= 1 - found.confidence:
            return (
                f"Better than the default? It does the same. Something tried seems better ({none}), but not by a "
                "standard error, and then the simplest is taken."
            )
        return f"Better than the default? It does the same: no change is called for ({none})."
    row = differences.row(
        by_predicate=(pl.col("setting") == "recommended") & (pl.col("score") == objective.score_name), named=True
    )
    told = (
        f"{words} {_signed(row['corrected'])} ({found.confidence:.0%} interval {_signed(row['corrected_low'])} to "
        f"{_signed(row['corrected_high'])}) on {cluster}s that had no part in choosing"
    )
    if objective.cost_ratio is None:
        other = "alerts_per_series_week" if objective.min_recall is None else "recall"
        by = differences.filter(setting="recommended", score=other)["corrected"].item()
        told += f", with {_words(other)} {_signed(by)}"
    if better == "other bound":
        bounded = "recall" if objective.min_recall is not None else objective.name
        value = table.filter(setting="default", score=bounded)["apparent"].item()
        return (
            f"Better than the default? The default does not keep the bound ({_words(bounded)} {_number(value)}); what "
            f"nearing it comes to: {told}."
        )
    return f"Better than the default? {better.capitalize()}: {told}; {none}."


def _stability(found: SelectionCorrected) -> str:
    often = found.settings.row(0, named=True)
    mine = found.settings.filter(digest=found.choice.recommended.digest)
    share = mine["recommended"].sum()
    told = f"Drawn again, the same setting was recommended in {share:.0%} of {found.resamples:,} resamples"
    if often["digest"] != found.choice.recommended.digest:
        most = ThresholdVariables(*(often[name] for name in VARIABLES))
        told += f"; most often, in {often['recommended']:.0%}, it was {most}"
    varied = found.variables.group_by("variable", maintain_order=True).agg(pl.len(), pl.col("recommended").max())
    loose = [name for name, number, most in varied.iter_rows() if number > 1 and most < 0.5]
    return told + (f". No value of {', '.join(loose)} came in half of them." if loose else ".")


def _later(
    judged: Tallies, mine: dict[str, Any], base: dict[str, Any], differences: pl.DataFrame, words: str, start: datetime
) -> str:
    row = differences.row(
        by_predicate=(pl.col("setting") == "recommended") & (pl.col("score") == mine["score"]), named=True
    )
    events = int(judged.events.sum())
    told = (
        f"Later, from {start:%Y-%m-%d %H:%M} UTC on, with {events:,} escalation{'' if events == 1 else 's'}"
        f"{', too few to judge by' if events < FEW_EVENTS else ''}: {words} {_number(mine['held_out'])}, the default's "
        f"{_number(base['held_out'])}"
    )
    if row["held_out_low"] is None:
        return f"{told}."
    low, high = _signed(row["held_out_low"]), _signed(row["held_out_high"])
    return f"{told}, difference {_signed(row['held_out'])} ({low} to {high})."


def _changes(setting: ThresholdVariables, default: ThresholdVariables) -> str:
    ours, theirs = setting.to_dict(), default.to_dict()
    return ", ".join(f"{name} {ours[name]:g} for {theirs[name]:g}" for name in VARIABLES if ours[name] != theirs[name])


def _words(score: str) -> str:
    return score.replace("series_week", "series-week").replace("_", " ")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3g}"


def _signed(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.3g}"
