"""The store: issues, their states and histories, their occurrences and forecasts, and what people say of alerts."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import polars as pl

from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.frames import check, empty
from issue_analytics.issues.lifecycle import ARCHIVED_STATES, MAKERS, makers
from issue_analytics.issues.ongoing import AFTER_DAYS
from issue_analytics.issues.payload import Problems, as_whole, refuse, shown
from issue_analytics.issues.records import IssueOccurrence
from issue_analytics.issues.store.columns import GIVEN, UTC_US
from issue_analytics.issues.store.values import (
    Groups,
    checked_columns,
    cleaned,
    condition_text,
    filters_of,
    given_issues,
    keys_of,
    moment,
    now,
    seen_of,
    text_of,
)

if TYPE_CHECKING:
    from issue_analytics.issues.store.database import Database

__all__ = ["LABELS", "Issue", "Store", "open_store"]

LABELS: Final = ("escalated", "noise")
"""What a person can say of an alert."""

Until = Literal["escalating", "condition", "forever"]
Escalated = Literal["escalation", "velocity", "condition", "platform"]
Verdict = Literal["escalated", "noise"]
_ARCHIVED: Final = {
    "escalating": "archived_until_escalating",
    "condition": "archived_until_condition_met",
    "forever": "archived_forever",
}
_EDITABLE: Final = ("title", "culprit", "level", "type", "priority", "priority_locked_at")
_SORTS: Final = ("last_seen", "first_seen", "since", "times_seen", "priority", "group_id")
_GREATEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """An issue as it stands in a store.

    Attributes:
        project_id: of its project.
        group_id: its id within the project.
        state: name of its state, see :mod:`issue_analytics.issues.lifecycle`.
        since: when it came into that state, UTC.
        priority: 25 low, 50 medium, 75 high.
        initial_priority: the priority it was made with.
        priority_locked_at: when a user set the priority; None: rules set it.
        type: its group type; None where that is not known.
        title: text from exports, hostile until escaped; so are ``culprit`` and ``level``.
        culprit: where it happens.
        level: such as ``"error"``.
        first_seen: time of its first occurrence; None if there is none.
        last_seen: time of its last one.
        times_seen: how many there were.
        condition: what it is archived until: ``count`` events or ``users``, within ``window`` minutes, or a time,
            ``until``; None unless it is archived until a condition is met.
        version: how often it was changed; :meth:`Store.update` asks for it.
    """

    project_id: int
    group_id: int
    state: str
    since: datetime
    priority: int
    initial_priority: int
    priority_locked_at: datetime | None
    type: int | None
    title: str | None
    culprit: str | None
    level: str | None
    first_seen: datetime | None
    last_seen: datetime | None
    times_seen: int
    condition: Mapping[str, Any] | None
    version: int


def _issue(row: dict[str, Any]) -> Issue:
    return Issue(**{**row, "condition": json.loads(row["condition"]) if row["condition"] else None})


def open_store(place: str | Path, *, create: bool = True) -> "Store":
    """Open the store at a place, and make it if there is none.

    An older store is brought up to date.

    Args:
        place: an SQLite file, or a URL: ``sqlite:///issues.db``, ``postgresql://user:password@host/database``.
        create: False: a store that is not there is an error.

    Raises:
        DatasetError: it cannot be opened, holds something else, or was written by a newer version.
        SettingsError: the place makes no sense, or its driver is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = open_store(Path(folder) / "issues.db")
    ...     _ = store.create(1, 7, title="Timeout", first_seen=datetime.fromisoformat("2026-01-05T09:00Z"))
    ...     _ = store.archive((1, 7), who="ada")
    ...     _ = store.escalate((1, 7), forecast=46)
    ...     store.get(1, 7).state, store.history((1, 7))["kind"].to_list()
    ('escalating', ['new', 'archived_until_escalating', 'escalating'])
    """
    from issue_analytics.issues.store.database import Database

    return Store(Database(place, create=create))


class Store:
    """A store of issues; :func:`open_store` opens one.

    Every call is one transaction: it does all it says, or nothing. Whoever changes an issue holds it until the call is
    over, so that writers of several processes lose nothing of each other's. Changes of state are those of
    :mod:`issue_analytics.issues.lifecycle`, and each leaves a row of history.

    ``groups`` are a frame with project_id and group_id, pairs of these, or one pair. ``at`` is when something happened:
    with a zone, by default now, and not before the issue's last change. ``who`` is any name. Calls that change issues
    return those that changed, as they are now; what is in the asked-for state already is left as it is.

    Raises:
        FrameError: an issue is not there, or its state does not allow the change; then nothing was changed.
        SettingsError: an argument makes no sense.
        DatasetError: the database cannot be reached, or other writers hold it for a minute.
    """

    def __init__(self, database: "Database") -> None:
        self._database = database

    def __repr__(self) -> str:
        return f"Store {self.name}"

    @property
    def name(self) -> str:
        """The place it lies in; without the password."""
        return str(self._database.name)

    # ---- issues ----

    def create(
        self,
        project_id: int,
        group_id: int,
        *,
        title: str | None = None,
        culprit: str | None = None,
        level: str | None = None,
        type: int | None = None,  # noqa: A002 - the column's name
        priority: int | None = None,
        first_seen: datetime | None = None,
        who: str | None = None,
    ) -> Issue:
        """Make a new issue.

        Args:
            project_id: of its project.
            group_id: its id within the project.
            title: any text; so are ``culprit`` and ``level``.
            culprit: where it happens.
            level: such as ``"error"``.
            type: its group type.
            priority: 25, 50 or 75; default that of the type, else 50.
            first_seen: when it came up; default now.
            who: who makes it.

        Raises:
            ConflictError: it is there already.
        """
        values = {
            "title": title, "culprit": culprit, "level": level, "type": type, "priority": priority,
            "first_seen": moment(first_seen, "first_seen"),
        }  # fmt: skip
        keys = keys_of((project_id, group_id))
        frame = keys.with_columns(
            pl.lit(value, GIVEN[name]).alias(name) for name, value in checked_columns(values).items()
        )
        self._put(frame, who=who, new=True)
        return self._there(project_id, group_id)

    def get(self, project_id: int, group_id: int) -> Issue | None:
        """An issue; None if it is not there."""
        from issue_analytics.issues.store import reading

        key = keys_of((project_id, group_id)).row(0, named=True)
        filters = {name: [value] for name, value in key.items()}
        found = self._database.read(
            lambda connection: reading.find(connection, filters, sort="since", descending=True, limit=1, offset=0)
        )
        return None if found.is_empty() else _issue(found.row(0, named=True))

    def list(
        self,
        *,
        project_id: int | Iterable[int] | None = None,
        group_id: int | Iterable[int] | None = None,
        state: str | Iterable[str] | None = None,
        priority: int | Iterable[int] | None = None,
        type: int | Iterable[int] | None = None,  # noqa: A002 - the column's name
        text: str | None = None,
        seen_since: datetime | None = None,
        sort: str = "last_seen",
        descending: bool = True,
        limit: int | None = None,
        offset: int = 0,
    ) -> pl.DataFrame:
        """Issues that pass every filter: one row each, with the columns of :class:`Issue` (``condition`` as JSON).

        Args:
            project_id: one or several.
            group_id: one or several.
            state: one or several; ``"unresolved"`` and ``"archived"`` stand for all of theirs.
            priority: one or several.
            type: one or several.
            text: what the title or the culprit contains.
            seen_since: seen then or later.
            sort: ``last_seen``, ``first_seen``, ``since``, ``times_seen``, ``priority`` or ``group_id``.
            descending: the latest or largest first; nulls are last.
            limit: rows of a page; None for all.
            offset: rows before it.
        """
        from issue_analytics.issues.store import reading

        if sort not in _SORTS:
            raise SettingsError(f"sort {shown(sort)}: one of {', '.join(_SORTS)}.")
        rows = {"limit": limit, "offset": offset}
        for name, value in rows.items():
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _GREATEST
            ):
                raise SettingsError(f"{name}: {shown(value)} is no number of rows.")
        filters = filters_of(project_id, group_id, state, priority, type, text, seen_since)
        return self._database.read(
            lambda connection: reading.find(
                connection, filters, sort=sort, descending=descending, limit=limit, offset=offset
            )
        )

    def count(
        self,
        *,
        project_id: int | Iterable[int] | None = None,
        group_id: int | Iterable[int] | None = None,
        state: str | Iterable[str] | None = None,
        priority: int | Iterable[int] | None = None,
        type: int | Iterable[int] | None = None,  # noqa: A002 - the column's name
        text: str | None = None,
        seen_since: datetime | None = None,
    ) -> int:
        """How many issues pass every filter; filters as in :meth:`list`."""
        from issue_analytics.issues.store import reading

        filters = filters_of(project_id, group_id, state, priority, type, text, seen_since)
        return self._database.read(lambda connection: reading.count(connection, filters))

    def update(
        self,
        project_id: int,
        group_id: int,
        *,
        version: int,
        who: str | None = None,
        at: datetime | None = None,
        **values: str | int | datetime | None,
    ) -> Issue:
        """Change an issue's title, culprit, level, type, or priority, if nobody has changed it meanwhile.

        States are changed by the methods below. A priority that is set here is locked: no rule changes it any more,
        until it is unlocked with ``priority_locked_at=None``.

        Args:
            project_id: of its project.
            group_id: its id within the project.
            version: the version you saw: ``issue.version``.
            who: who changes it.
            at: when; default now.
            values: columns and what they become.

        Raises:
            ConflictError: the issue has another version by now; nothing was changed.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = open_store(Path(folder) / "issues.db")
        ...     seen = store.create(1, 7)
        ...     _ = store.update(1, 7, version=seen.version, priority=75)
        ...     store.update(1, 7, version=seen.version, priority=25)
        Traceback (most recent call last):
        issue_analytics.errors.ConflictError: issue 1:7 has version 2, not 1: somebody changed it meanwhile. ...
        """
        from issue_analytics.issues.store import writing

        if strange := [name for name in values if name not in _EDITABLE]:
            raise SettingsError(f"update: {', '.join(strange)} cannot be set; only {', '.join(_EDITABLE)} can.")
        if "priority" in values and values["priority"] is None:
            raise SettingsError("update: an issue has a priority; to let rules set it, priority_locked_at=None.")
        if (locked := values.get("priority_locked_at")) is not None:
            if not isinstance(locked, datetime):
                raise SettingsError(f"update: priority_locked_at: expected a datetime, got {shown(locked)}.")
            values["priority_locked_at"] = moment(locked, "priority_locked_at")
        key = keys_of((project_id, group_id)).row(0)
        checked, who, when = checked_columns(values), text_of(who, "who"), moment(at)
        edited = self._database.write(
            lambda connection: writing.edit(connection, key, version, checked, who=who, at=when, now=now())
        )
        return _issue(edited.row(0, named=True))

    def delete(self, groups: Groups, *, who: str | None = None) -> int:
        """Delete issues with their occurrences and forecasts; how many there were.

        Their history, with the deletion as its last rows, and labels of their alerts stay: they are a record of what
        people decided. An occurrence that is recorded later makes a new issue.
        """
        from issue_analytics.issues.store import writing

        keys, who = keys_of(groups), text_of(who, "who")
        return self._database.write(lambda connection: writing.delete(connection, keys, who=who, now=now()))

    def put(self, issues: pl.DataFrame | pl.LazyFrame, *, who: str | None = None) -> int:
        """Make any number of issues, and change those that are there, in one transaction; how many that were.

        A column left out, or a null, leaves what is there as it is. A state that differs from the present one is taken
        as a message of the platform's: any but ``new``, dated ``since``, by default now.

        Args:
            issues: project_id, group_id, and any of the columns of :class:`Issue` but ``condition`` and ``version``.
            who: who brings them.

        Raises:
            FrameError: a column is unknown or of another type, a value makes no sense, or an issue stands there twice.
        """
        return self._put(issues, who=who, new=False)

    def _put(self, issues: pl.DataFrame | pl.LazyFrame, *, who: str | None, new: bool) -> int:
        from issue_analytics.issues.store import taking

        given, who = given_issues(issues), text_of(who, "who")
        return self._database.write(
            lambda connection: taking.put(connection, given, who=who, now=now(), new=new).height
        )

    def _there(self, project_id: int, group_id: int) -> Issue:
        issue = self.get(project_id, group_id)
        if issue is None:  # deleted by somebody in the same instant
            raise FrameError(f"no issue {project_id}:{group_id} in the store.")
        return issue

    # ---- what happens to them ----

    def record(
        self, occurrences: IssueOccurrence | Iterable[IssueOccurrence] | pl.DataFrame | pl.LazyFrame
    ) -> pl.DataFrame:
        """Record occurrences: those whose id is not known yet; the issues they belong to, as they are then.

        An issue that is not there is made, new since its first occurrence. An occurrence after its resolution makes a
        resolved issue regressed. An issue's title, culprit, level and type are those of its last occurrence that says
        any. Recording changes no version: it is not what people decide.

        Args:
            occurrences: a record, several, or a frame of contract ``Occurrences``.

        Raises:
            FrameError: the frame breaks its contract.
        """
        from issue_analytics.issues.store import taking

        seen = seen_of(occurrences)
        return self._database.write(lambda connection: taking.record(connection, seen))

    def load(self, status_changes: pl.DataFrame | pl.LazyFrame) -> int:
        """Take changes that a tracker recorded into the history, each once; how many were new.

        An issue that is not there is made. An issue goes to the last state that its recorded changes tell, unless it
        was changed in the store since: what was recorded happened, whether the lifecycle knows such a change or not.

        Args:
            status_changes: contract ``StatusChanges``.
        """
        from issue_analytics.issues.store import taking

        frame = status_changes.collect() if isinstance(status_changes, pl.LazyFrame) else status_changes
        recorded = cleaned(check(frame, "StatusChanges").select(empty("StatusChanges").columns))
        return self._database.write(lambda connection: taking.load(connection, recorded).height)

    def archive(
        self,
        groups: Groups,
        until: Until = "escalating",
        *,
        condition: Mapping[str, Any] | None = None,
        who: str | None = None,
        at: datetime | None = None,
    ) -> pl.DataFrame:
        """Archive issues.

        Args:
            groups: which.
            until: ``"escalating"``: until an hour exceeds the day's limit; ``"condition"``; or ``"forever"``.
            condition: for ``"condition"``: ``count`` events, or ``users``, within ``window`` minutes if that is named;
                or ``until``, a time with a zone. The store keeps it; whoever watches for it calls :meth:`escalate`
                with ``by="condition"``.
            who: who does it.
            at: when; default now.
        """
        if until not in _ARCHIVED:
            raise SettingsError(f"until {shown(until)}: one of {', '.join(_ARCHIVED)}.")
        if until != "condition" and condition is not None:
            raise SettingsError(f"condition: archived until {until}, an issue waits for none.")
        kept = condition_text(condition) if until == "condition" else None
        return self._move(groups, _ARCHIVED[until], by="user", who=who, at=at, condition=kept)

    def resolve(self, groups: Groups, *, who: str | None = None, at: datetime | None = None) -> pl.DataFrame:
        """Mark issues as resolved; the next occurrence makes them regressed."""
        return self._move(groups, "resolved", by="user", who=who, at=at)

    def unresolve(self, groups: Groups, *, who: str | None = None, at: datetime | None = None) -> pl.DataFrame:
        """Bring resolved issues back to ongoing."""
        return self._move(groups, "ongoing", by="user", who=who, at=at, only_from=("resolved", "ongoing"))

    def unarchive(self, groups: Groups, *, who: str | None = None, at: datetime | None = None) -> pl.DataFrame:
        """Bring archived issues back to ongoing."""
        return self._move(groups, "ongoing", by="user", who=who, at=at, only_from=(*ARCHIVED_STATES, "ongoing"))

    def review(self, groups: Groups, *, who: str | None = None, at: datetime | None = None) -> pl.DataFrame:
        """Mark regressed or escalating issues as reviewed: they are ongoing, with the priority they began with."""
        return self._move(groups, "ongoing", by="user", who=who, at=at)

    def escalate(
        self,
        groups: Groups,
        *,
        forecast: int | None = None,
        by: Escalated = "escalation",
        who: str | None = None,
        at: datetime | None = None,
    ) -> pl.DataFrame:
        """Make issues escalate: their priority rises, unless a user has set it.

        Args:
            groups: which.
            forecast: the limit that was exceeded, events per hour; kept in the history.
            by: what makes them: ``"escalation"`` (the forecast; of those archived until escalating), ``"velocity"`` (of
                new ones), ``"condition"`` (of those archived until a condition is met), ``"platform"`` (of any).
            who: who reports it.
            at: when; default now.
        """
        problems: Problems = []
        limit = as_whole(forecast, "forecast", problems)
        refuse("escalate", problems)
        return self._move(groups, "escalating", by=by, who=who, at=at, forecast=limit)

    def move(
        self,
        groups: Groups,
        state: str,
        *,
        by: str,
        who: str | None = None,
        at: datetime | None = None,
        note: str | None = None,
    ) -> pl.DataFrame:
        """Bring issues into a state, as any maker of the lifecycle may: what the methods above do, and all the rest.

        Args:
            groups: which.
            state: the name of a state.
            by: who makes the change, one of ``lifecycle.MAKERS``.
            who: who reports it.
            at: when; default now.
            note: anything to be kept in the history.
        """
        return self._move(groups, state, by=by, who=who, at=at, note=text_of(note, "note"))

    def ongoing(self, at: datetime | None = None, *, days: int = AFTER_DAYS, who: str | None = None) -> pl.DataFrame:
        """Bring what has been new, regressed or escalating for so many days to ongoing.

        In one statement, conditional on the state: only issues that are still in such a state when it reaches them are
        changed. Escalating ones get their initial priority back, unless a user has set it. Done twice, the second time
        changes nothing.

        Args:
            at: as of when; default now.
            days: how long they have been so: new ones since they were first seen, others since their last change.
            who: who has it done.
        """
        from issue_analytics.issues.store import writing

        if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= 10_000:
            raise SettingsError(f"days: {shown(days)} is no number of days from 0 to 10,000.")
        when, who = moment(at) or now(), text_of(who, "who")
        cutoff = when - timedelta(days=days)
        return self._database.write(lambda connection: writing.ongoing(connection, when, cutoff, who))

    def _move(
        self, groups: Groups, state: str, *, by: str, who: str | None, at: datetime | None, **rest: Any
    ) -> pl.DataFrame:
        from issue_analytics.issues.store import writing

        # said now: an issue that is in the state already would not be asked about
        makers(None, state)
        if by not in MAKERS:
            raise SettingsError(f"by {shown(by)}: one of {', '.join(MAKERS)}.")
        keys, who, when = keys_of(groups), text_of(who, "who"), moment(at)
        return self._database.write(
            lambda connection: writing.move(connection, keys, state, by=by, who=who, at=when, now=now(), **rest)
        )

    def history(self, groups: Groups | None = None) -> pl.DataFrame:
        """What happened to these issues, or to all: contract ``StatusChanges``, by issue, in the order of recording.

        Further columns: ``maker`` (see ``lifecycle.MAKERS``; null where an export does not say), ``who``, ``version``
        of the issue after the change, ``note``. ``kind`` is the state it led to, or ``edited``; ``source`` is ``store``
        for what was done here.
        """
        from issue_analytics.issues.store import reading

        keys = None if groups is None else keys_of(groups)
        return self._database.read(lambda connection: reading.changes(connection, keys))

    def occurrences(self, groups: Groups | None = None) -> pl.DataFrame:
        """The recorded occurrences of these issues, or of all: contract ``Occurrences``, by issue and time."""
        from issue_analytics.issues.store import reading

        keys = None if groups is None else keys_of(groups)
        return self._database.read(lambda connection: reading.occurrences_of(connection, keys))

    # ---- forecasts ----

    def put_forecasts(self, forecasts: pl.DataFrame | pl.LazyFrame) -> int:
        """Store forecasts; how many. Of the same issue and ``date_added`` the later call counts.

        Args:
            forecasts: contract ``ForecastRecords``, of issues that are in the store.
        """
        from issue_analytics.issues.store import writing

        frame = forecasts.collect() if isinstance(forecasts, pl.LazyFrame) else forecasts
        made = check(frame, "ForecastRecords").select(empty("ForecastRecords").columns)
        return self._database.write(lambda connection: writing.put_forecasts(connection, made))

    def forecasts(self, groups: Groups | None = None, *, latest: bool = False) -> pl.DataFrame:
        """Stored forecasts: contract ``ForecastRecords``, by issue and time.

        Args:
            groups: which; None for all.
            latest: only the last one of each issue.
        """
        from issue_analytics.issues.store import reading

        keys = None if groups is None else keys_of(groups)
        return self._database.read(lambda connection: reading.forecasts_of(connection, keys, latest=latest))

    # ---- what people say of alerts ----

    def label(
        self,
        project_id: int,
        group_id: int,
        hour: datetime,
        verdict: Verdict,
        *,
        note: str | None = None,
        who: str | None = None,
        at: datetime | None = None,
    ) -> None:
        """Say of an alert whether the issue really escalated. What is said last counts, whoever says it; all is kept.

        Args:
            project_id: of the issue's project; the issue need not be in the store.
            group_id: its id within the project.
            hour: the hour of the alert; any moment within it.
            verdict: ``"escalated"`` or ``"noise"``.
            note: why.
            who: who says so.
            at: when it is said; default now.
        """
        from issue_analytics.issues.store import writing

        if verdict not in LABELS:
            raise SettingsError(f"verdict {shown(verdict)}: one of {', '.join(LABELS)}.")
        meant = moment(hour, "hour")
        if meant is None:
            raise SettingsError("hour: missing; which alert is meant?")
        said = keys_of((project_id, group_id)).with_columns(
            hour=pl.lit(meant.replace(minute=0, second=0, microsecond=0), UTC_US),
            verdict=pl.lit(verdict),
            note=pl.lit(text_of(note, "note"), pl.String),
            who=pl.lit(text_of(who, "who"), pl.String),
            at=pl.lit(moment(at) or now(), UTC_US),
        )
        self._database.write(lambda connection: writing.label(connection, said))

    def labels(self, groups: Groups | None = None, *, superseded: bool = False) -> pl.DataFrame:
        """What was said of alerts: one row each, project_id, group_id, hour, verdict, note, who, at; by alert.

        Args:
            groups: of which issues; None for all.
            superseded: also what was said before the last word, in the order it was said.
        """
        from issue_analytics.issues.store import reading

        keys = None if groups is None else keys_of(groups)
        return self._database.read(lambda connection: reading.alert_labels(connection, keys, superseded=superseded))

    def human_escalations(self, groups: Groups | None = None) -> pl.DataFrame:
        """Alerts that were labelled ``escalated``: contract ``Escalations``, by issue and time, a truth for backtests.

        Provenance ``human``; an escalation begins with the hour that was labelled, and its end is not known.
        """
        said = self.labels(groups).filter(pl.col("verdict") == "escalated")
        made = said.select(
            "project_id",
            "group_id",
            escalated_at="hour",
            ended_at=pl.lit(None, UTC_US),
            provenance=pl.lit("human"),
        )
        return check(made, "Escalations")

    def human_exposure(self, groups: Groups | None = None) -> pl.DataFrame:
        """The hours of alerts that were labelled, either way: contract ``Exposure``, by issue and time.

        Given to a backtest beside :meth:`human_escalations`, only these hours are judged. Of an alert that nobody
        labelled nothing is known; without this it would be called false.
        """
        said = self.labels(groups).select("project_id", "group_id", start="hour")
        return check(said.with_columns(end=pl.col("start") + timedelta(hours=1)), "Exposure")
