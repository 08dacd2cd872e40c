"""Status changes: activities of issues, messages and snapshots with codes, and tables in our own columns."""

from typing import Final

import polars as pl

from issue_analytics.exports.quarantine import Given, column, groups, known_project, when
from issue_analytics.exports.values import fingerprints, integers, nothing, text, times
from issue_analytics.frames import CAUSES
from issue_analytics.issues.codes import DEPRECATED_WORDS, STATUS_WORDS, SUBSTATUS_WORDS, read_state
from issue_analytics.issues.lifecycle import Substatus

__all__ = ["accept"]

Problems = list[pl.Series | None]

_UNKNOWN: Final = "?"
"""Stands for any substatus nobody knows, so that the pairs to be looked at are few."""


def _words(values: pl.Series) -> pl.Series:
    return text(values).str.strip_chars().str.to_lowercase()


def _statuses(values: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Numbers of statuses; words that are none are problems."""
    words = _words(values)
    known = words.is_in(list(STATUS_WORDS)).fill_null(value=False)
    if not known.any():
        return integers(values, "new_status", required=False)
    numbers = words.replace_strict(STATUS_WORDS, default=None, return_dtype=pl.Int64)
    others, problem = integers(pl.select(pl.when(~known).then(text(values)))[:, 0], "new_status", required=False)
    return numbers.fill_null(others), problem


def _substatuses(values: pl.Series) -> pl.Series:
    """Numbers of substatuses as text, words, and one sign for all that is neither."""
    if values.dtype.is_float():
        values = values.fill_nan(None)
    words = _words(values)
    numbers, _ = integers(values, "new_substatus", required=False)
    known = words.is_in(list(SUBSTATUS_WORDS))
    number = pl.when(numbers.is_in(list(Substatus))).then(numbers.cast(pl.String))
    return pl.select(
        pl.coalesce(number, pl.when(known).then(words), pl.when(words.is_not_null()).then(pl.lit(_UNKNOWN)))
    )[:, 0]


def _states(status: pl.Series, substatus: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The kinds that codes stand for, and what to warn of."""
    pairs = pl.DataFrame({"status": status, "substatus": substatus})
    single = pairs.unique()
    read = [read_state(*pair) for pair in single.iter_rows()]
    table = single.with_columns(
        kind=pl.Series([name for name, _ in read], dtype=pl.String),
        warning=pl.Series([warning for _, warning in read], dtype=pl.String),
    )
    joined = pairs.join(table, on=["status", "substatus"], how="left", nulls_equal=True, maintain_order="left")
    return joined["kind"], joined["warning"]


def _without_old_words(kind: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Kinds of a table, the words of old for states replaced, and what to warn of."""
    old = {word: read_state(None, word) for word in DEPRECATED_WORDS}
    if not kind.is_in(list(old)).any():
        return kind, nothing(len(kind), pl.String)
    warning = kind.replace_strict({word: said for word, (_, said) in old.items()}, default=None, return_dtype=pl.String)
    return kind.replace({word: name for word, (name, _) in old.items()}), warning


def accept(raw: pl.DataFrame, given: Given) -> tuple[pl.DataFrame, Problems]:
    """Read raw status changes into the columns of ``StatusChanges``, and each row's problems.

    One column more, ``warning``, says of a row whose state was told in an old or odd way how it was read; else null.
    """
    project, project_problem = known_project(raw)
    prints = fingerprints(column(raw, "fingerprint")).list.first()
    group, group_problem = groups(raw, project, prints, mapped=given.mapped_groups)
    payload = column(raw, "new_status").is_not_null()
    status, status_problem = _statuses(column(raw, "new_status"))
    kind, warning = _without_old_words(text(column(raw, "kind")).str.to_lowercase())
    cause = text(column(raw, "cause")).str.to_lowercase()
    source = text(column(raw, "source"))
    if payload.any():
        by_code = payload & kind.is_null()
        states, said = _states(status, _substatuses(column(raw, "new_substatus")))
        kind = pl.select(pl.when(by_code).then(states).otherwise(kind))[:, 0]
        warning = pl.select(pl.when(by_code).then(said).otherwise(warning))[:, 0]
        # a message sets the status from outside: it is no verdict of the forecast
        message = payload & source.is_null()
        cause = pl.select(
            pl.when(message & (kind == "escalating") & cause.is_null()).then(pl.lit("platform")).otherwise(cause)
        )[:, 0]
        source = pl.select(pl.when(payload & source.is_null()).then(pl.lit("status_change")).otherwise(source))[:, 0]
    at, at_problem = times(column(raw, "at"), "at")
    forecast, forecast_problem = integers(column(raw, "forecast"), "forecast", required=False)
    frame = pl.DataFrame(
        {
            "project_id": project,
            "group_id": group,
            "at": at,
            "kind": kind,
            "cause": cause,
            "forecast": forecast,
            "source": source.fill_null("table"),
            "warning": warning,
        }
    )
    nameless = when(kind.is_null(), "kind: missing; what did the status become?")
    strange = when(~cause.is_in(CAUSES), f"cause: unknown; one of {', '.join(CAUSES)}, or none")
    return frame, [
        project_problem, group_problem, at_problem, status_problem, forecast_problem, nameless, strange
    ]  # fmt: skip
