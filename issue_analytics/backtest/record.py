"""What the record says was done to groups, as the hours of a replay take it."""

from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from issue_analytics.backtest.clock import NAMES, UNKNOWN, WAKE, Actions, code_of
from issue_analytics.backtest.labels import CUT, recorded_states
from issue_analytics.backtest.policy import Policy
from issue_analytics.backtest.velocity import velocity_escalations
from issue_analytics.counts import HOUR, Panel
from issue_analytics.frames import KEY, whole_numbers
from issue_analytics.issues.group_types import group_type
from issue_analytics.issues.lifecycle import ARCHIVED_STATES, STATES, UNRESOLVED_STATES, makers
from issue_analytics.issues.ongoing import PASSING_STATES

__all__ = ["actions_of", "births", "by_velocity", "groups_of", "moments_of", "what_was_done"]

_FIRST_SEEN: Final = "first_seen"
_INSTANT: Final = timedelta(microseconds=1)
_ANY: Final = -1
"""All bits: possible from every state."""


def births(changes: pl.DataFrame) -> pl.DataFrame:
    """When each group was first seen, where the record says so: key, born."""
    return changes.filter(pl.col("kind") == _FIRST_SEEN).group_by(KEY).agg(born=pl.col("at").min())


def what_was_done(changes: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """What the record says was done to groups, without what the forecast and the clock did.

    Key, at, target, only, recorded, in the order of time.
    """
    kind, before = pl.col("kind"), pl.col("before")
    escalates = kind == "escalating"
    by_forecast = (escalates & (pl.col("cause") == "forecast")).any().over(*KEY, "at")
    new = changes.filter(kind == _FIRST_SEEN).select(*KEY, "at", kind=pl.lit("new"), cause=pl.lit(None, pl.String))
    table = pl.DataFrame(_targets(), orient="row", schema=["kind", "cause", "target", "only"])
    rows = (
        recorded_states(changes)
        .join(births(changes), on=KEY, how="left", maintain_order="left")
        .with_columns(before=before.fill_null(pl.when(pl.col("born") <= pl.col("at")).then(pl.lit("new"))))
        # a later cut: whether it was still archived between the two exports is not known
        .with_columns(
            kind=pl.when((kind.shift(-1).over(KEY) == CUT).fill_null(value=False)).then(pl.lit(CUT)).otherwise(kind)
        )
        # the clock makes these itself; one that is told twice says nothing new
        .filter(~((kind == "ongoing") & before.is_in([*PASSING_STATES, "ongoing"]).fill_null(value=False)))
        .filter(~(escalates & by_forecast))
        .filter(~((pl.col("cause") == "velocity").fill_null(value=False) & pl.lit(policy.velocity)))
        .with_columns(cause=pl.when(escalates).then(pl.col("cause").fill_null("platform")))
    )
    return (
        # a birth comes before what is done at the same time
        pl.concat([new, rows.select(new.columns)])
        .join(table, on=["kind", "cause"], how="left", nulls_equal=True, maintain_order="left")
        # of merged groups, of numbers nobody knows, and after a cut, no state is known
        .with_columns(target=pl.col("target").fill_null(UNKNOWN), only=pl.col("only").fill_null(_ANY))
        .sort(*KEY, "at", maintain_order=True)
        .select(*KEY, "at", "target", "only", recorded=pl.lit(value=True))
    )


def by_velocity(
    counts: pl.DataFrame,
    occurrences: pl.DataFrame | pl.LazyFrame | None,
    changes: pl.DataFrame,
    born: pl.DataFrame,
    types: pl.DataFrame | pl.LazyFrame | None,
    since: datetime,
) -> pl.DataFrame:
    """What the rule for new issues does to groups; by the hour at its end."""
    ages = born.rename({"born": "first_seen"})
    if types is not None:
        kinds = whole_numbers("types", types, (*KEY, "type")).group_by(KEY).agg(pl.col("type").min()).collect()
        ages = ages.join(kinds, on=KEY, how="left")
    others = changes.filter((pl.col("cause") != "velocity").fill_null(value=True))
    events = counts if occurrences is None else occurrences
    found = velocity_escalations(events, ages, status_changes=others, start=since)
    at = pl.col("escalated_at")
    return found.select(
        *KEY,
        at=at if occurrences is not None else at.dt.truncate("1h") + HOUR,
        target=pl.lit(code_of("escalating"), dtype=pl.Int64),
        only=pl.lit(_only("escalating", "velocity"), dtype=pl.Int64),
        recorded=pl.lit(value=False),
    )


def _only(after: str, by: str) -> int:
    """Bits of the states from which ``by`` leads to ``after``; one that does not say more may be any that it can be."""
    can = {state.name for state in STATES if by in makers(state.name, after)}
    vague = {
        "unknown": can,
        "unresolved": can.intersection(UNRESOLVED_STATES),
        "ignored": can.intersection(ARCHIVED_STATES),
    }
    return sum(1 << code_of(name) for name in can.union(name for name, some in vague.items() if some))


def _targets() -> list[tuple[str, str | None, int, int]]:
    """Kind and cause of a recorded change, the state it leads to, and bits of the states in which it does."""
    rows: list[tuple[str, str | None, int, int]] = [
        (name, None, code_of(name), _ANY) for name in NAMES if name not in ("unknown", "escalating", "regressed", "new")
    ]
    rows += [("deleted", None, code_of("pending_deletion"), _ANY), ("new", None, code_of("new"), 1 << UNKNOWN)]
    rows.append(("regressed", None, code_of("regressed"), _only("regressed", "regression")))
    escalating = code_of("escalating")
    rows += [("escalating", by, escalating, _only("escalating", by)) for by in ("velocity", "condition", "platform")]
    # a time that was over: before 2024 the tracker itself called that escalating
    rows.append(("escalating", "duration", escalating, _only("escalating", "condition")))
    return rows


def groups_of(changes: pl.DataFrame, born: pl.DataFrame, types: pl.DataFrame | pl.LazyFrame | None) -> pl.DataFrame:
    """Every group that has a record: key, when it was first seen, and whether its type can escalate."""
    groups = changes.select(KEY).unique().join(born, on=KEY, how="left")
    if types is None:
        return groups.with_columns(watched=True)
    kinds = whole_numbers("types", types, (*KEY, "type")).unique().collect()
    never = [number for number in kinds["type"].drop_nulls().unique() if not _escalates(number)]
    # of several types the group has one that can
    watched = kinds.group_by(KEY).agg(watched=(~pl.col("type").is_in(never)).fill_null(value=True).any())
    return groups.join(watched, on=KEY, how="left").with_columns(pl.col("watched").fill_null(value=True))


def _escalates(number: int) -> bool:
    return group_type(number).escalates is not False


def actions_of(about: pl.DataFrame, done: pl.DataFrame, policy: Policy, panel: Panel, ends: datetime) -> Actions:
    """What is done to the groups of a panel, in the order of time."""
    rows = about.select(*KEY, group=pl.col("row").cast(pl.Int64))
    recorded = done.join(rows, on=KEY).select(
        "group", "at", "target", "only", "recorded", effect=pl.col("at") + _INSTANT
    )
    born = about.select(pl.col("row").cast(pl.Int64).alias("group"), at="born")
    # the checks stop when a group is born, in its first occurrence already, and begin when it is old enough
    wakes = pl.concat([born, born.with_columns(pl.col("at") + timedelta(hours=policy.min_age_hours))])
    wakes = wakes.filter(pl.col("at").is_between(panel.start, ends)).with_columns(
        target=pl.lit(WAKE, dtype=pl.Int64),
        only=pl.lit(_ANY, dtype=pl.Int64),
        effect="at",
        recorded=pl.lit(value=False),
    )
    actions = pl.concat(
        [
            recorded,
            wakes.select(recorded.columns),
        ]
    ).sort("at", maintain_order=True)
    stamps = (actions[name].dt.epoch("us").to_numpy() for name in ("at", "effect"))
    others = (actions[name].to_numpy() for name in ("target", "only", "recorded"))
    return Actions(actions["group"].to_numpy(), *stamps, *others)


def moments_of(
    about: pl.DataFrame, occurrences: pl.DataFrame | pl.LazyFrame, panel: Panel, ends: datetime
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Times of occurrences, by group and time, each a whole number that says both."""
    length = (ends - panel.start) // timedelta(microseconds=1)
    at = (pl.col("detected_at") - panel.start).dt.total_microseconds()
    moments = (
        occurrences.lazy()
        .select(*KEY, "detected_at")
        .filter(pl.col("detected_at").is_between(panel.start, ends, closed="left"))
        .join(about.lazy().select(*KEY, pl.col("row").cast(pl.Int64)), on=KEY)
        .select(moment=pl.col("row") * length + at)
        .sort("moment")
        .collect()
    )
    return moments["moment"].to_numpy()
