"""What users hand to a store, brought to one form: groups, moments, texts, conditions, frames of issues."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import polars as pl

from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.frames import KEY, check, empty
from issue_analytics.issues.lifecycle import ARCHIVED_STATES, STATES, UNRESOLVED_STATES, Priority
from issue_analytics.issues.payload import Problems, as_text, as_time, as_whole, refuse, shown
from issue_analytics.issues.records import IssueOccurrence
from issue_analytics.issues.store.columns import GIVEN

__all__ = [
    "Groups",
    "checked_columns",
    "cleaned",
    "condition_text",
    "filters_of",
    "given_issues",
    "keys_of",
    "micros",
    "moment",
    "needed",
    "now",
    "seen_of",
    "states_of",
    "text_of",
]

Groups: TypeAlias = pl.DataFrame | pl.LazyFrame | Iterable[tuple[int, int]] | tuple[int, int]
"""Issues: a frame with project_id and group_id, pairs of these, or one pair."""

_LONGEST: Final = 200
"""Characters of an identifier that an index of every database can hold."""

_CONDITIONS: Final = ("count", "users", "window", "until")


def keys_of(groups: Groups) -> pl.DataFrame:
    """Each group once, by key.

    >>> keys_of((1, 7)).equals(keys_of([(1, 7), (1, 7)]))
    True
    """
    if isinstance(groups, pl.LazyFrame):
        groups = groups.collect()
    if isinstance(groups, pl.DataFrame):
        if missing := [name for name in KEY if name not in groups.columns]:
            raise FrameError(f"groups: no column {', '.join(missing)}. Found: {', '.join(groups.columns)}.")
        frame = groups.select(KEY)
        if frame.schema != dict.fromkeys(KEY, pl.Int64):
            raise FrameError("groups: project_id and group_id are not Int64. Cast with .cast(...) first.")
        if frame.null_count().sum_horizontal().item():
            raise FrameError("groups: project_id or group_id holds nulls.")
    else:
        pairs: list[Any] = list(groups)
        if len(pairs) == 2 and not any(isinstance(part, Iterable) for part in pairs):
            pairs = [pairs]
        problems: Problems = []
        for pair in pairs:
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise FrameError(f"groups: {shown(pair)} is no pair of project_id and group_id.")
            for name, part in zip(KEY, pair, strict=True):
                needed(as_whole(part, name, problems), name, problems)
        refuse("groups", problems)
        frame = pl.DataFrame([tuple(pair) for pair in pairs], schema=dict.fromkeys(KEY, pl.Int64), orient="row")
    return frame.unique().sort(KEY)


def needed(value: Any, name: str, problems: Problems) -> Any:
    """The value; a problem where there is none and none was told."""
    if value is None and not problems:
        problems.append(f"{name}: missing")
    return value


def moment(at: datetime | None, name: str = "at") -> datetime | None:
    """A moment in UTC; None stays None.

    Raises:
        SettingsError: it has no zone, or lies outside the years 1990 to 2100.
    """
    if at is None:
        return None
    problems: Problems = []
    found = as_time(at, name, problems)
    if problems:
        raise SettingsError(f"{problems[0]}.")
    return found


def text_of(value: object, name: str) -> str | None:
    """Text that every database takes."""
    problems: Problems = []
    text = as_text(value, name, problems)
    refuse("store", problems)
    return None if text is None else text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def states_of(states: str | Iterable[str] | None) -> list[str] | None:
    """Names of states; ``unresolved`` and ``archived`` stand for all of theirs.

    >>> states_of("archived")
    ['archived_until_escalating', 'archived_until_condition_met', 'archived_forever']
    """
    if states is None:
        return None
    groups = {"unresolved": UNRESOLVED_STATES, "archived": ARCHIVED_STATES}
    known = [state.name for state in STATES]
    found: list[str] = []
    for name in [states] if isinstance(states, str) else states:
        if name not in known and name not in groups:
            raise SettingsError(f"state {shown(name)}: known are {', '.join([*groups, *known])}.")
        found += groups.get(name, (name,))
    return list(dict.fromkeys(found))


def condition_text(condition: Mapping[str, Any] | None) -> str:
    """The condition an issue is archived under, as the store keeps it.

    Raises:
        SettingsError: it is empty, or a part is unknown or makes no sense.

    >>> condition_text({"count": 100, "window": 60})
    '{"count": 100, "window": 60}'
    """
    if not isinstance(condition, Mapping) or not condition:
        raise SettingsError(f"condition: name at least one of {', '.join(_CONDITIONS)}.")
    problems: Problems = []
    for name, value in condition.items():
        if name not in _CONDITIONS:
            problems.append(f"condition: {shown(name)} is none of {', '.join(_CONDITIONS)}")
        elif name != "until" and as_whole(value, name, problems) == 0:
            problems.append(f"{name}: 0 is met before it is waited for")
    if "window" in condition and not {"count", "users"} & set(condition):
        problems.append("window: minutes within which count or users are reached; name one of them")
    until = as_time(condition["until"], "until", problems) if "until" in condition else None
    if any(value is None for value in condition.values()) and not problems:
        problems.append("condition: leave out what is None")
    if problems:
        raise SettingsError(f"{'. '.join(problems)}.")
    plain = {**condition, **({"until": until.isoformat()} if until else {})}
    return json.dumps(plain, sort_keys=True)


def checked_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of columns of an issue, of the right kind."""
    problems: Problems = []
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name in ("title", "culprit", "level"):
            made[name] = text_of(value, name)
        elif name in ("type", "priority"):
            made[name] = as_whole(value, name, problems)
        else:
            made[name] = value
    known = [int(one) for one in Priority]
    if made.get("priority") is not None and made["priority"] not in known:
        problems.append(f"priority: {made['priority']} is none of {', '.join(map(str, known))}")
    refuse("issue", problems)
    return made


def filters_of(
    project_id: int | Iterable[int] | None,
    group_id: int | Iterable[int] | None,
    state: str | Iterable[str] | None,
    priority: int | Iterable[int] | None,
    type_id: int | Iterable[int] | None,
    text: str | None,
    seen_since: datetime | None,
) -> dict[str, Any]:
    """Filters of issues, as queries take them: columns and the values they may have."""
    filters: dict[str, Any] = {"state": states_of(state), "text": text_of(text, "text") or None}
    problems: Problems = []
    for name, wanted in {"project_id": project_id, "group_id": group_id, "priority": priority, "type": type_id}.items():
        values = [wanted] if wanted is None or not isinstance(wanted, Iterable) else [*wanted]
        if wanted is not None:
            filters[name] = [needed(as_whole(value, name, problems), name, problems) for value in values]
    if problems:
        raise SettingsError(f"{'. '.join(problems)}.")
    since = moment(seen_since, "seen_since")
    if since is not None:
        filters["seen_since"] = micros(since)
    return filters


def given_issues(frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Issues as a user gives them: known columns of the right types, each issue once, values that make sense.

    Raises:
        FrameError: they are not; the message says which.
    """
    frame = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
    if missing := [name for name in KEY if name not in frame.columns]:
        raise FrameError(f"issues: no column {', '.join(missing)}. Found: {', '.join(frame.columns)}.")
    if unknown := [name for name in frame.columns if name not in GIVEN]:
        raise FrameError(f"issues: unknown column {', '.join(unknown)}. Known are {', '.join(GIVEN)}.")
    wrong = [
        f"{name} is {dtype}, not {GIVEN[name]}"
        for name, dtype in frame.schema.items()
        if dtype not in (GIVEN[name], pl.Null)
    ]
    if wrong:
        raise FrameError(f"issues: {'; '.join(wrong)}. Cast with .cast(...) first.")
    frame = cleaned(frame.cast({name: GIVEN[name] for name in frame.columns}))
    whole = [name for name, dtype in frame.schema.items() if dtype == pl.Int64]
    rules = {
        "two rows are of the same issue": frame.select(KEY).is_duplicated().any(),
        "project_id or group_id holds nulls": bool(frame.select(KEY).null_count().sum_horizontal().item()),
        "a number is negative": bool(frame.select(pl.any_horizontal(pl.col(whole) < 0).any()).item()),
    }
    for name in ("priority", "initial_priority"):
        if name in frame.columns:
            rules[f"{name}: one of {', '.join(str(int(one)) for one in Priority)}"] = not (
                frame[name].drop_nulls().is_in([int(one) for one in Priority]).all()
            )
    if "state" in frame.columns:
        names = [state.name for state in STATES]
        rules[f"state: one of {', '.join(names)}"] = not frame["state"].drop_nulls().is_in(names).all()
    if broken := [rule for rule, holds in rules.items() if holds]:
        raise FrameError(f"issues: {'; '.join(broken)}. {frame.height:,} rows were looked at.")
    return frame


def seen_of(occurrences: IssueOccurrence | Iterable[IssueOccurrence] | pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Occurrences as the store takes them: the columns of ``Occurrences``, with culprit and initial_priority."""
    extra: dict[str, type[pl.DataType]] = {"culprit": pl.String, "initial_priority": pl.Int64}
    if isinstance(occurrences, pl.LazyFrame):
        occurrences = occurrences.collect()
    if isinstance(occurrences, pl.DataFrame):
        frame = check(occurrences, "Occurrences").select(empty("Occurrences").columns)
        frame = frame.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in extra.items())
    else:
        records = [occurrences] if isinstance(occurrences, IssueOccurrence) else list(occurrences)
        if strange := [record for record in records if not isinstance(record, IssueOccurrence)]:
            raise FrameError(f"record: expected IssueOccurrence, or a frame of occurrences, got {shown(strange[0])}.")
        priorities = {int(one) for one in Priority}
        rows = [
            {
                **record.to_row(),
                "culprit": record.culprit or None,
                "initial_priority": record.initial_issue_priority
                if record.initial_issue_priority in priorities
                else None,
            }
            for record in records
        ]
        frame = pl.DataFrame(rows, schema={**empty("Occurrences").schema, **extra})
    frame = cleaned(frame)
    if (frame["occurrence_id"].str.len_chars() > _LONGEST).any():
        frame = frame.with_columns(pl.col("occurrence_id").map_elements(_short, return_dtype=pl.String))
    return frame


def _short(identifier: str) -> str:
    if len(identifier) <= _LONGEST:
        return identifier
    return f"{identifier[:100]}…{hashlib.blake2b(identifier.encode(), digest_size=16).hexdigest()}"


def cleaned(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame without the one character that databases refuse."""
    return frame.with_columns(pl.col(pl.String).str.replace_all("\0", "\N{REPLACEMENT CHARACTER}", literal=True))


def now() -> datetime:
    """The present moment, UTC."""
    return datetime.now(UTC)


def micros(at: datetime) -> int:
    """A moment as databases hold it.

    >>> micros(datetime(2026, 1, 5, tzinfo=UTC))
    1767571200000000
    """
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
