"""What is changed in a store, within one transaction that the caller holds; every change of a state is a legal one."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from issue_analytics.errors import ConflictError, FrameError
from issue_analytics.frames import KEY
from issue_analytics.issues.group_types import GROUP_TYPES
from issue_analytics.issues.lifecycle import STATES, Priority, check_transition, priority_after
from issue_analytics.issues.store.columns import FRAMES, UTC_US
from issue_analytics.issues.store.database import frame_of, insert, plain_columns, stage
from issue_analytics.issues.store.reading import changes, locked
from issue_analytics.issues.store.tables import forecasts, history, issues, labels, occurrences
from issue_analytics.issues.store.values import micros

__all__ = ["OWN", "delete", "edit", "label", "load", "move", "ongoing", "put", "put_forecasts", "record"]

OWN: Final = "store"
"""The source of changes that were made in the store itself; others are those of exports."""

_CAUSE: Final = {"escalation": "forecast", "velocity": "velocity", "condition": "condition", "platform": "platform"}
_MAKER: Final = {cause: maker for maker, cause in _CAUSE.items()}


def move(
    connection: Connection,
    keys: pl.DataFrame,
    after: str,
    *,
    by: str,
    at: datetime | None,
    now: datetime,
    who: str | None = None,
    forecast: int | None = None,
    note: str | None = None,
    condition: str | None = None,
    only_from: tuple[str, ...] | None = None,
) -> pl.DataFrame:
    """Bring issues into a state; those that are in it already, under the same condition, are left as they are."""
    found = _all_there(connection, keys)
    if only_from is not None:
        for state, *key in found.filter(~pl.col("state").is_in(only_from)).select("state", *KEY).head(1).rows():
            raise FrameError(f"issue {key[0]}:{key[1]} is {state}; only {' or '.join(only_from)} is meant here.")
    other = pl.col("condition").ne_missing(pl.lit(condition, pl.String))
    todo = found.filter((pl.col("state") != after) | other)
    for before, project, group in todo.unique("state", maintain_order=True).select("state", *KEY).rows():
        if before != after:
            _check((project, group), before, after, by)
    when = _moments(todo, at, now)
    moved = todo.with_columns(
        state=pl.lit(after),
        since=when,
        priority=_priorities(todo, pl.lit(after)),
        condition=pl.lit(condition, pl.String),
        version=pl.col("version") + 1,
    )
    _write(connection, moved, ("state", "since", "priority", "condition", "version"))
    cause = _CAUSE.get(by) if after == "escalating" else None
    _log(connection, moved, at="since", kind="state", maker=by, cause=cause, forecast=forecast, who=who, note=note)
    return moved


def ongoing(connection: Connection, at: datetime, cutoff: datetime, who: str | None) -> pl.DataFrame:
    """Bring what has been new, regressed or escalating since ``cutoff`` or longer to ongoing, in one statement.

    Only issues that are still in such a state when their row is reached are changed, whatever others do meanwhile.
    """
    for before in ("new", "regressed", "escalating"):
        check_transition(before, "ongoing", "auto_ongoing")
    c = issues.c
    moment, until = micros(at), micros(cutoff)
    since = sa.case((c.state == "new", sa.func.coalesce(c.first_seen, c.since)), else_=c.since)
    back = sa.and_(c.state == "escalating", c.priority_locked_at.is_(None))
    statement = (
        sa.update(issues)
        .where(c.state.in_(["new", "regressed", "escalating"]), since <= until, c.since <= moment)
        .values(
            state="ongoing",
            since=moment,
            priority=sa.case((back, c.initial_priority), else_=c.priority),
            version=c.version + 1,
        )
        .returning(*c)
    )
    moved = frame_of(connection, statement, "issues").sort(KEY)
    _log(connection, moved, at="since", kind="state", maker="auto_ongoing", who=who)
    return moved


def edit(
    connection: Connection,
    key: tuple[int, int],
    version: int,
    values: dict[str, Any],
    *,
    who: str | None,
    at: datetime | None,
    now: datetime,
) -> pl.DataFrame:
    """Change columns of one issue, if it has still the version that the user saw."""
    keys = pl.DataFrame([key], schema=dict.fromkeys(KEY, pl.Int64), orient="row")
    found = _all_there(connection, keys)
    seen = found["version"].item()
    if seen != version:
        raise ConflictError(
            f"issue {key[0]}:{key[1]} has version {seen}, not {version}: somebody changed it meanwhile. Get it again, "
            "look at its history, and decide anew."
        )
    before = found.row(0, named=True)
    differs = {name: value for name, value in values.items() if before[name] != value}
    if not differs:
        return found
    moment = _moments(found, at, now)
    if "priority" in differs:  # what a user has set, no rule changes
        differs.setdefault("priority_locked_at", found.select(moment).item())
    edited = found.with_columns(
        *(pl.lit(value, FRAMES["issues"][name]).alias(name) for name, value in differs.items()),
        version=pl.col("version") + 1,
        edited_at=moment,
        edited=pl.lit("edited"),
    )
    _write(connection, edited, (*differs, "version"))
    note = ", ".join(f"{name}: {before[name]} -> {value}" for name, value in differs.items())
    _log(connection, edited, at="edited_at", kind="edited", maker="user", who=who, note=note[:1000])
    return edited.drop("edited_at", "edited")


def put(connection: Connection, given: pl.DataFrame, *, who: str | None, now: datetime, new: bool) -> pl.DataFrame:
    """Make issues, and change those that are there; what a row leaves null stays as it is. Keys of what changed."""
    given = given.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in FRAMES["issues"].items() if name not in given.columns
    ).select(FRAMES["issues"].keys())
    moves = (pl.col("state") != "new").fill_null(value=False)
    born = pl.coalesce("first_seen", "since", pl.lit(now, UTC_US))
    initial = pl.coalesce("initial_priority", "priority", default_priority())
    fresh = given.with_columns(
        state=pl.lit("new"),
        goes_to=pl.when(moves).then("state").otherwise(pl.lit("new")),
        born=born,
        since=pl.when(moves).then(pl.max_horizontal(pl.coalesce("since", pl.lit(now, UTC_US)), born)).otherwise(born),
        given="priority",
        priority=initial,
        initial_priority=initial,
        times_seen=pl.col("times_seen").fill_null(0),
        version=1 + moves.cast(pl.Int64),
    )
    ways = fresh.filter(pl.col("goes_to") != "new").unique("goes_to", maintain_order=True)
    for after, *key in ways.select("goes_to", *KEY).rows():
        _check(key, "new", after, "platform")
    fresh = fresh.with_columns(
        state="goes_to", priority=pl.coalesce("given", _priorities(fresh, pl.col("goes_to")))
    ).drop("goes_to", "given")
    made = _make(connection, fresh)
    if new and made.height < given.height:
        there = given.join(made, on=KEY, how="anti").row(0, named=True)
        raise ConflictError(f"issue {there['project_id']}:{there['group_id']} is there already; update it instead.")
    moved = made.filter(pl.col("state") != "new").with_columns(
        cause=pl.when(pl.col("state") == "escalating").then(pl.lit("platform"))
    )
    _log(connection, moved, at="since", kind="state", maker="platform", cause=pl.col("cause"), who=who)
    changed = _overwrite(connection, given.join(made, on=KEY, how="anti"), who=who, now=now)
    return pl.concat([made.select(KEY), changed.select(KEY)]).sort(KEY)


def _overwrite(connection: Connection, given: pl.DataFrame, *, who: str | None, now: datetime) -> pl.DataFrame:
    found = locked(connection, given)
    both = found.join(given, on=KEY, how="left", suffix="_given").with_columns(
        moved=(pl.col("state") != pl.col("state_given")).fill_null(value=False)
    )
    ways = both.filter("moved").unique(["state", "state_given"], maintain_order=True)
    for before, after, *key in ways.select("state", "state_given", *KEY).rows():
        _check(key, before, after, "platform")
    # a history is in order: no change is dated before the one before it
    at = pl.max_horizontal(pl.coalesce("since_given", pl.lit(now, UTC_US)), "since")
    both = both.with_columns(
        *(
            pl.coalesce(f"{name}_given", name).alias(f"{name}_after")
            for name in ("initial_priority", "times_seen", *_PLAIN)
        ),
        state_after=pl.coalesce("state_given", "state"),
        since_after=pl.when("moved").then(at).otherwise("since"),
        priority_after=pl.coalesce("priority_given", _priorities(both, pl.coalesce("state_given", "state"))),
    )
    names = ("state", "since", "priority", "initial_priority", "times_seen", *_PLAIN)
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_after")) for name in names)
    both = both.with_columns(
        condition_after=pl.when("moved").then("condition_given").otherwise("condition_after")
    ).filter(differs)
    after = both.select(
        *KEY,
        *(pl.col(f"{name}_after").alias(name) for name in names),
        version=pl.col("version") + 1,
        kind=pl.when("moved").then("state_after").otherwise(pl.lit("edited")),
        at=pl.when("moved").then("since_after").otherwise(pl.max_horizontal(pl.lit(now, UTC_US), "since")),
        cause=pl.when(pl.col("moved") & (pl.col("state_after") == "escalating")).then(pl.lit("platform")),
    )
    _write(connection, after, (*names, "version"))
    _log(connection, after, at="at", kind="kind", maker="platform", cause=pl.col("cause"), who=who)
    return after


def record(connection: Connection, seen: pl.DataFrame) -> pl.DataFrame:
    """Take up occurrences that are not known yet; the issues they belong to, as they are then.

    ``seen`` has the columns of ``Occurrences``, and of the issue ``culprit`` and ``initial_priority``.
    """
    seen = seen.unique("occurrence_id", keep="first", maintain_order=True)
    ids = stage(connection, seen.select("occurrence_id"), "ids")
    known = sa.select(ids.c.occurrence_id).join(occurrences, occurrences.c.occurrence_id == ids.c.occurrence_id)
    seen = seen.join(frame_of(connection, known, "occurrences"), on="occurrence_id", how="anti")
    if seen.is_empty():
        return pl.DataFrame(schema=FRAMES["issues"])
    initial = pl.coalesce("initial_priority", default_priority())
    fresh = _last(seen).with_columns(
        state=pl.lit("new"),
        born=pl.col("first_seen"),
        since=pl.col("first_seen"),
        priority=initial,
        initial_priority=initial,
        times_seen=pl.lit(0, pl.Int64),
        version=pl.lit(1, pl.Int64),
    )
    _make(connection, fresh)
    found = locked(connection, fresh)
    seen = seen.join(_append(connection, seen), on="occurrence_id", how="semi")

    again = (
        seen.join(found.filter(pl.col("state") == "resolved").select(*KEY, "since"), on=KEY)
        .filter(pl.col("detected_at") > pl.col("since"))
        .group_by(KEY)
        .agg(again_at=pl.col("detected_at").min())
    )
    check_transition("resolved", "regressed", "regression")
    both = found.join(_last(seen), on=KEY, suffix="_now").join(again, on=KEY, how="left")
    later = (pl.col("last_seen_now") >= pl.col("last_seen")).fill_null(value=True)
    regresses = pl.col("again_at").is_not_null()
    after = both.with_columns(
        *(
            pl.when(later)
            .then(pl.coalesce(f"{name}_now", name))
            .otherwise(pl.coalesce(name, f"{name}_now"))
            .alias(name)
            for name in _TOLD
        ),
        first_seen=pl.min_horizontal("first_seen", "first_seen_now"),
        last_seen=pl.max_horizontal("last_seen", "last_seen_now"),
        times_seen=pl.col("times_seen") + pl.col("events"),
        state=pl.when(regresses).then(pl.lit("regressed")).otherwise("state"),
        since=pl.when(regresses).then("again_at").otherwise("since"),
        version=pl.col("version") + regresses.cast(pl.Int64),
    )
    _write(connection, after, (*_TOLD, "first_seen", "last_seen", "times_seen", "state", "since", "version"))
    _log(connection, after.filter(regresses), at="since", kind="state", maker="regression")
    return after.select(FRAMES["issues"].keys()).sort(KEY)


_TOLD: Final = ("type", "title", "culprit", "level")
"""Columns of issues that their last occurrence tells."""


def _last(seen: pl.DataFrame) -> pl.DataFrame:
    """A row per issue: what its last occurrence says that says anything, and when and how often it was seen."""
    return (
        seen.sort("detected_at", "occurrence_id")
        .group_by(KEY)
        .agg(
            pl.col(*_TOLD, "initial_priority").drop_nulls().last(),
            first_seen=pl.col("detected_at").first(),
            last_seen=pl.col("detected_at").last(),
            events=pl.len().cast(pl.Int64),
        )
        .sort(KEY)
    )


def _append(connection: Connection, seen: pl.DataFrame) -> pl.DataFrame:
    """Add occurrences; the ids of those that nobody else has added meanwhile."""
    names = occurrences.c.keys()
    staged = stage(connection, seen.select(names), "occurrences")
    # two who bring the same ones bring them in one order, and so never wait for each other
    query = sa.select(staged).where(sa.true()).order_by(staged.c.occurrence_id)
    statement = _insert(connection, occurrences).from_select(names, query).on_conflict_do_nothing()
    return frame_of(connection, statement.returning(occurrences.c.occurrence_id), "occurrences")


def load(connection: Connection, recorded: pl.DataFrame) -> pl.DataFrame:
    """Take up changes that a tracker recorded, each once: those that were taken up.

    An issue goes to the last state they tell, if that is later than the one it is in.
    """
    recorded = recorded.unique(maintain_order=True)
    todo = _not_known(connection, recorded)
    if todo.is_empty():
        return todo
    first_seen = pl.col("at").filter(pl.col("kind") == "first_seen").min()
    medium = pl.lit(int(Priority.MEDIUM), pl.Int64)
    fresh = (
        todo.group_by(KEY)
        .agg(born=pl.col("at").min(), first_seen=first_seen)
        .with_columns(
            state=pl.lit("new"),
            since="born",
            priority=medium,
            initial_priority=medium,
            times_seen=pl.lit(0, pl.Int64),
            version=pl.lit(1, pl.Int64),
        )
    )
    _make(connection, fresh)
    found = locked(connection, fresh)
    todo = _not_known(connection, todo).sort(*KEY, "at", maintain_order=True)  # somebody may have been quicker
    tells = pl.col("kind").replace_strict(_MEANT, default=None, return_dtype=pl.String)
    last = (
        todo.with_columns(tells=tells).filter(pl.col("tells").is_not_null()).group_by(KEY, maintain_order=True).last()
    )
    told = todo.group_by(KEY).agg(changes=pl.len().cast(pl.Int64), first_seen_told=first_seen)
    both = found.join(told, on=KEY).join(last.select(*KEY, "tells", "at"), on=KEY, how="left")
    moves = ((pl.col("at") >= pl.col("since")) & (pl.col("tells") != pl.col("state"))).fill_null(value=False)
    both = both.with_columns(goes_to=pl.when(moves).then("tells").otherwise("state"), moves=moves)
    ways = both.filter("moves").unique(["state", "goes_to"], maintain_order=True)
    for before, after, *key in ways.select("state", "goes_to", *KEY).rows():
        _check(key, before, after, "platform")
    after = both.with_columns(
        state="goes_to",
        since=pl.when("moves").then("at").otherwise("since"),
        priority=_priorities(both, pl.col("goes_to")),
        condition=pl.when(~pl.col("moves")).then("condition"),
        first_seen=pl.min_horizontal("first_seen", "first_seen_told"),
        version=pl.col("version") + pl.col("changes"),
    )
    _write(connection, after, ("state", "since", "priority", "condition", "first_seen", "version"))
    rows = todo.join(found.select(*KEY, "version"), on=KEY, maintain_order="left").with_columns(
        version=pl.col("version") + pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(KEY),
        maker=pl.col("cause").replace_strict(_MAKER, default=None, return_dtype=pl.String),
        who=pl.lit(None, pl.String),
        note=pl.lit(None, pl.String),
    )
    insert(connection, history, plain_columns(rows.select(*FRAMES["history"])))
    return todo


_MEANT: Final = {
    **{state.name: state.name for state in STATES if state.name != "new"},
    "unresolved": "ongoing",
    "ignored": "archived_forever",
}
"""Kind of a recorded change -> the state it leads to; of old records that do not say, what the tracker made of them."""


def _not_known(connection: Connection, recorded: pl.DataFrame) -> pl.DataFrame:
    """Those recorded changes that are not in the history yet."""
    known = changes(connection, recorded.select(KEY).unique()).select(_IDENTITY)
    return recorded.join(known, on=_IDENTITY, how="anti", maintain_order="left")


_IDENTITY: Final = (*KEY, "at", "kind", "source")
"""What tells recorded changes apart."""


def delete(connection: Connection, keys: pl.DataFrame, *, who: str | None, now: datetime) -> int:
    """Delete issues with their occurrences and forecasts; what was done to them, and labels, stay on record."""
    found = _all_there(connection, keys)
    here = found.filter(~pl.col("state").is_in(["pending_deletion", "deletion_in_progress"]))
    move(connection, here, "pending_deletion", by="user", at=None, now=now, who=who)
    going = found.filter(pl.col("state") != "deletion_in_progress")
    move(connection, going, "deletion_in_progress", by="deletion", at=None, now=now, who=who)
    gone = stage(connection, found.select(KEY), "gone")
    connection.execute(sa.delete(issues).where(sa.tuple_(issues.c.project_id, issues.c.group_id).in_(sa.select(gone))))
    return found.height


def put_forecasts(connection: Connection, made: pl.DataFrame) -> int:
    """Store forecasts; one that was added for the same issue at the same time is replaced."""
    _all_there(connection, made.select(KEY).unique())
    names = list(FRAMES["forecasts"])
    made = made.select(names)
    staged = stage(connection, made.sort(*KEY, "date_added"), "forecasts")
    statement = _insert(connection, forecasts).from_select(names, sa.select(staged).where(sa.true()))
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[*KEY, "date_added"], set_={"forecast": statement.excluded.forecast}
        )
    )
    return made.height


def label(connection: Connection, said: pl.DataFrame) -> int:
    """Append labels to what was said before."""
    insert(connection, labels, plain_columns(said))
    return said.height


# ---- what these share ----

_PLAIN: Final = ("priority_locked_at", "type", "title", "culprit", "level", "first_seen", "last_seen", "condition")
"""Columns of issues that no rule changes."""


def default_priority() -> pl.Expr:
    """The priority that issues of a type begin with; medium where the type is not known."""
    known = {kind.id: kind.default_priority for kind in GROUP_TYPES if kind.default_priority is not None}
    return pl.col("type").replace_strict(known, default=int(Priority.MEDIUM), return_dtype=pl.Int64)


def _check(key: Sequence[int], before: str | None, after: str, by: str) -> None:
    try:
        check_transition(before, after, by)
    except FrameError as error:
        raise FrameError(f"issue {key[0]}:{key[1]}: {error}") from None


def _all_there(connection: Connection, keys: pl.DataFrame) -> pl.DataFrame:
    found = locked(connection, keys)
    if found.height < keys.height:
        missing = keys.join(found, on=KEY, how="anti")
        project, group = missing.select(KEY).row(0)
        many = f" (and {missing.height - 1:,} more)" if missing.height > 1 else ""
        raise FrameError(f"no issue {project}:{group}{many} in the store.")
    return found


def _make(connection: Connection, fresh: pl.DataFrame) -> pl.DataFrame:
    """Make those issues that are not there, by their first event at ``born``: the rows that were made."""
    check_transition(None, "new", "first_event")
    columns = list(FRAMES["issues"])
    fresh = fresh.sort(KEY)
    rows = fresh.select(
        pl.col(name) if name in fresh.columns else pl.lit(None, kind).alias(name)
        for name, kind in FRAMES["issues"].items()
    )
    staged = stage(connection, rows, "fresh")
    query = sa.select(staged).where(sa.true()).order_by(*(staged.c[name] for name in KEY))
    statement = _insert(connection, issues).from_select(columns, query).on_conflict_do_nothing()
    made = frame_of(connection, statement.returning(*(issues.c[name] for name in KEY)), "issues")
    if made.height < fresh.height:
        fresh = fresh.join(made, on=KEY, how="semi", maintain_order="left")
    first = fresh.select(*KEY, at="born", kind=pl.lit("new"), version=pl.lit(1, pl.Int64))
    _log(connection, first, at="at", kind="kind", maker="first_event")
    return fresh


def _insert(connection: Connection, table: sa.Table) -> Any:
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def _write(connection: Connection, after: pl.DataFrame, names: Iterable[str]) -> None:
    """Set these columns of issues to what the frame says."""
    if after.is_empty():
        return
    names = list(dict.fromkeys(names))
    staged = stage(connection, after.select(*KEY, *names), "after")
    connection.execute(
        sa.update(issues)
        .where(*(issues.c[name] == staged.c[name] for name in KEY))
        .values({name: staged.c[name] for name in names})
    )


def _log(
    connection: Connection,
    changed: pl.DataFrame,
    *,
    at: str,
    kind: str,
    maker: str,
    cause: str | pl.Expr | None = None,
    forecast: int | None = None,
    who: str | None = None,
    note: str | None = None,
) -> None:
    """Append a row of history per changed issue; ``at`` and ``kind`` are columns of the frame."""
    rows = changed.select(
        *KEY,
        at=pl.col(at),
        kind=pl.col(kind),
        maker=pl.lit(maker),
        cause=cause if isinstance(cause, pl.Expr) else pl.lit(cause, pl.String),
        forecast=pl.lit(forecast, pl.Int64),
        who=pl.lit(who, pl.String),
        version=pl.col("version"),
        source=pl.lit(OWN),
        note=pl.lit(note, pl.String),
    )
    insert(connection, history, plain_columns(rows))


def _moments(todo: pl.DataFrame, at: datetime | None, now: datetime) -> pl.Expr:
    """When the change is: as said, else now; never before the one before it."""
    if at is None:
        return pl.max_horizontal(pl.lit(now, UTC_US), "since")
    early = todo.filter(pl.col("since") > at)
    if not early.is_empty():
        row = early.row(0, named=True)
        raise FrameError(
            f"issue {row['project_id']}:{row['group_id']}: {row['state']} since {row['since']:%Y-%m-%d %H:%M:%S} UTC; "
            f"a change at {at:%Y-%m-%d %H:%M:%S} would come before it."
        )
    return pl.lit(at, UTC_US)


def _priorities(before: pl.DataFrame, after: pl.Expr) -> pl.Series:
    """What becomes of each row's priority in its next state: the lifecycle's rule, asked once per case."""
    case = before.select(
        "state", "priority", "initial_priority", after=after, locked=pl.col("priority_locked_at").is_not_null()
    )
    cases = case.unique()
    found = [
        priority if state == was else int(priority_after(state, priority, initial, before=was, locked=locked))
        for was, priority, initial, state, locked in cases.rows()
    ]
    rules = cases.with_columns(found=pl.Series(found, dtype=pl.Int64))
    return case.join(rules, on=case.columns, how="left", maintain_order="left")["found"]
