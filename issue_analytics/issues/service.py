"""The issue service: one object in front of the stores of several regions and organizations."""

import os
import tomllib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self, TypedDict, Unpack
from urllib.parse import quote

import polars as pl

from issue_analytics.errors import SettingsError
from issue_analytics.frames import empty
from issue_analytics.issues.ongoing import AFTER_DAYS
from issue_analytics.issues.payload import shown
from issue_analytics.issues.records import IssueOccurrence
from issue_analytics.issues.store import Groups, Issue, Store, open_store
from issue_analytics.issues.store.columns import nothing
from issue_analytics.issues.store.store import Escalated, Until, Verdict

__all__ = ["CONFIG", "ENVIRONMENT", "IssueService", "issue_service"]

ENVIRONMENT: Final = "ISSUE_ANALYTICS_CONFIG"
"""The environment variable that may name the configuration."""

CONFIG: Final = "issue_analytics.toml"
"""The configuration that is looked for in the working directory."""

_TABLES: Final = ("stores", "regions", "organizations")
_DEFAULT: Final = "default"


class Where(TypedDict, total=False):
    """Whose store a call goes to: one of the two, or neither for the default store."""

    organization: str | int | None
    region: str | None


class IssueService:
    """Stores behind one object: each call goes to the store of an organization or a region.

    Every method takes ``organization=`` (id or slug) or ``region=``, and what the method of the same name of
    :class:`~issue_analytics.issues.store.Store` takes. A call that names neither goes to the default store. Who is not
    in the configuration has no store: such a call does nothing and gives nothing (None, 0, or a frame without rows),
    and raises no error.

    The configuration is TOML::

        default = "eu"                      # for calls that name neither; may be left out

        [stores]
        eu = "issues.db"                    # a file, from where the configuration lies
        us = "postgresql://ia@db.example/issues"

        [regions]
        us = "us"

        [organizations]
        acme = "eu"
        42 = "us"

    It is read when the first call needs it: the one that was named, else that which ``ISSUE_ANALYTICS_CONFIG`` names,
    else ``issue_analytics.toml`` in the working directory. If there is none, there is one store and no organization:
    ``issues.db`` in ``$XDG_DATA_HOME/issue-analytics``, by default ``~/.local/share/issue-analytics``. What people said
    of alerts in one notebook is there in the next, whatever folder that lies in.

    Stores are opened when first needed. Passwords are better kept out of the file: PostgreSQL reads ``~/.pgpass``.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = str(Path(folder) / "acme.db")
    ...     service = IssueService.create_delegation({"stores": {"a": place}, "organizations": {"acme": "a"}})
    ...     _ = service.create(1, 7, organization="acme", title="Timeout")
    ...     service.get(1, 7, organization="acme").title, service.get(1, 7, organization="other")
    ('Timeout', None)
    """

    def __init__(self, config: str | Path | Mapping[str, Any] | None = None) -> None:
        self._config = config
        self._routes: dict[str, dict[str, str]] | None = None
        self._open: dict[str, Store] = {}

    @classmethod
    def create_delegation(cls, config: str | Path | Mapping[str, Any] | None = None) -> Self:
        """Make the object that calls go through; nothing is read or opened before the first call.

        Args:
            config: a TOML file, or what one holds; None: looked for, see the class.
        """
        return cls(config)

    def store(
        self, *, organization: str | int | None = None, region: str | None = None, create: bool = True
    ) -> Store | None:
        """The store of an organization or a region; None where the configuration knows none.

        Args:
            organization: id or slug.
            region: name of a region.
            create: False: a store that is configured but not there is an error, and is not made.

        Raises:
            SettingsError: both are named, or the configuration makes no sense.
            DatasetError: the store cannot be opened.
        """
        if organization is not None and region is not None:
            raise SettingsError("issue service: name the organization or the region, not both.")
        if self._routes is None:
            self._routes = _routes(self._config)
        routes = self._routes
        if organization is not None:
            name = routes["organizations"].get(str(organization))
        elif region is not None:
            name = routes["regions"].get(region)
        else:
            name = routes[_DEFAULT].get(_DEFAULT)
        if name is None:
            return None
        if name not in self._open:
            self._open[name] = open_store(routes["stores"][name], create=create)
        return self._open[name]

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
        **where: Unpack[Where],
    ) -> Issue | None:
        """Make a new issue; see :meth:`Store.create`."""
        store = self.store(**where)
        if store is None:
            return None
        return store.create(
            project_id, group_id, title=title, culprit=culprit, level=level, type=type, priority=priority,
            first_seen=first_seen, who=who,
        )  # fmt: skip

    def get(self, project_id: int, group_id: int, **where: Unpack[Where]) -> Issue | None:
        """An issue; None if it is not there; see :meth:`Store.get`."""
        store = self.store(**where)
        return None if store is None else store.get(project_id, group_id)

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
        **where: Unpack[Where],
    ) -> pl.DataFrame:
        """Issues that pass every filter; see :meth:`Store.list`."""
        store = self.store(**where)
        if store is None:
            return nothing("issues")
        return store.list(
            project_id=project_id, group_id=group_id, state=state, priority=priority, type=type, text=text,
            seen_since=seen_since, sort=sort, descending=descending, limit=limit, offset=offset,
        )  # fmt: skip

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
        **where: Unpack[Where],
    ) -> int:
        """How many issues pass every filter; see :meth:`Store.count`."""
        store = self.store(**where)
        if store is None:
            return 0
        return store.count(
            project_id=project_id, group_id=group_id, state=state, priority=priority, type=type, text=text,
            seen_since=seen_since,
        )  # fmt: skip

    def update(
        self,
        project_id: int,
        group_id: int,
        *,
        version: int,
        who: str | None = None,
        at: datetime | None = None,
        organization: str | int | None = None,
        region: str | None = None,
        **values: str | int | datetime | None,
    ) -> Issue | None:
        """Change an issue, if nobody has changed it meanwhile; see :meth:`Store.update`."""
        store = self.store(organization=organization, region=region)
        return None if store is None else store.update(project_id, group_id, version=version, who=who, at=at, **values)

    def delete(self, groups: Groups, *, who: str | None = None, **where: Unpack[Where]) -> int:
        """Delete issues; how many; see :meth:`Store.delete`."""
        store = self.store(**where)
        return 0 if store is None else store.delete(groups, who=who)

    def put(self, issues: pl.DataFrame | pl.LazyFrame, *, who: str | None = None, **where: Unpack[Where]) -> int:
        """Make and change any number of issues at once; how many; see :meth:`Store.put`."""
        store = self.store(**where)
        return 0 if store is None else store.put(issues, who=who)

    # ---- what happens to them ----

    def record(
        self,
        occurrences: IssueOccurrence | Iterable[IssueOccurrence] | pl.DataFrame | pl.LazyFrame,
        **where: Unpack[Where],
    ) -> pl.DataFrame:
        """Record occurrences; the issues they belong to; see :meth:`Store.record`."""
        store = self.store(**where)
        return nothing("issues") if store is None else store.record(occurrences)

    def load(self, status_changes: pl.DataFrame | pl.LazyFrame, **where: Unpack[Where]) -> int:
        """Take recorded changes into the history; how many were new; see :meth:`Store.load`."""
        store = self.store(**where)
        return 0 if store is None else store.load(status_changes)

    def archive(
        self,
        groups: Groups,
        until: Until = "escalating",
        *,
        condition: Mapping[str, Any] | None = None,
        who: str | None = None,
        at: datetime | None = None,
        **where: Unpack[Where],
    ) -> pl.DataFrame:
        """Archive issues; see :meth:`Store.archive`."""
        store = self.store(**where)
        return nothing("issues") if store is None else store.archive(groups, until, condition=condition, who=who, at=at)

    def resolve(
        self,
        groups: Groups,
        *,
        who: str | None = None,
        at: datetime | None = None,
        **where: Unpack[Where],
    ) -> pl.DataFrame:
        """Mark issues as resolved; see :meth:`Store.resolve`."""
        store = self.store(**where)
        return nothing("issues") if store is None else store.resolve(groups, who=who, at=at)

    def unresolve(
        self,
        groups: Groups,
        *,
        who: str | None = None,
        at: datetime | None = None,
        **where: Unpack[Where],
    ) -> pl.DataFrame:
        """Bring resolved issues back; see :meth:`Store.unresolve`."""
        store = self.store(**where)
        return nothing("issues") if store is None else store.unresolve(groups, who=who, at=at)

    def unarchive(
        self,
        groups: Groups,
        *,
        who: str | None = None,
        at: datetime | None = None,
        **where: Unpack[Where],
    ) -> pl.DataFrame:
        """Bring archived issues back; see :meth:`Store.unarchive`."""
        store = self.store(**where)
        return nothing("issues") if store is None else store.unarchive(groups, who=who, at=at)

    def review(
        self,
        groups: Groups,
        *,
        who: str | None = None,
        at: datetime | None = None,
        **where: Unpack[Where],
    ) -> pl.DataFrame:
        """Mark regressed or escalating issues as reviewed; see :meth:`Store.review`."""
        store = self.store(**where)
        return nothing("issues") if store is None else store.review(groups, who=who, at=at)

    def escalate(
        self,
        groups: Groups,
        *,
        forecast: int | None = None,
        by: Escalated = "escalation",
        who: str | None = None,
        at: datetime | None = None,
        **where: Unpack[Where],
    ) -> pl.DataFrame:
        """Make issues escalate; see :meth:`Store.escalate`."""
        store = self.store(**where)
        return nothing("issues") if store is None else store.escalate(groups, forecast=forecast, by=by, who=who, at=at)

    def move(
        self,
        groups: Groups,
        state: str,
        *,
        by: str,
        who: str | None = None,
        at: datetime | None = None,
        note: str | None = None,
        **where: Unpack[Where],
    ) -> pl.DataFrame:
        """Bring issues into a state; see :meth:`Store.move`."""
        store = self.store(**where)
        return nothing("issues") if store is None else store.move(groups, state, by=by, who=who, at=at, note=note)

    def ongoing(
        self,
        at: datetime | None = None,
        *,
        days: int = AFTER_DAYS,
        who: str | None = None,
        **where: Unpack[Where],
    ) -> pl.DataFrame:
        """Bring what has been new, regressed or escalating for long to ongoing; see :meth:`Store.ongoing`."""
        store = self.store(**where)
        return nothing("issues") if store is None else store.ongoing(at, days=days, who=who)

    def history(self, groups: Groups | None = None, **where: Unpack[Where]) -> pl.DataFrame:
        """What happened to issues; see :meth:`Store.history`."""
        store = self.store(**where)
        return nothing("history") if store is None else store.history(groups)

    def occurrences(self, groups: Groups | None = None, **where: Unpack[Where]) -> pl.DataFrame:
        """Recorded occurrences; see :meth:`Store.occurrences`."""
        store = self.store(**where)
        return nothing("occurrences") if store is None else store.occurrences(groups)

    # ---- forecasts ----

    def put_forecasts(self, forecasts: pl.DataFrame | pl.LazyFrame, **where: Unpack[Where]) -> int:
        """Store forecasts; how many; see :meth:`Store.put_forecasts`."""
        store = self.store(**where)
        return 0 if store is None else store.put_forecasts(forecasts)

    def forecasts(self, groups: Groups | None = None, *, latest: bool = False, **where: Unpack[Where]) -> pl.DataFrame:
        """Stored forecasts; see :meth:`Store.forecasts`."""
        store = self.store(**where)
        return nothing("forecasts") if store is None else store.forecasts(groups, latest=latest)

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
        **where: Unpack[Where],
    ) -> None:
        """Say of an alert whether the issue really escalated; see :meth:`Store.label`."""
        store = self.store(**where)
        if store is not None:
            store.label(project_id, group_id, hour, verdict, note=note, who=who, at=at)

    def labels(
        self,
        groups: Groups | None = None,
        *,
        superseded: bool = False,
        **where: Unpack[Where],
    ) -> pl.DataFrame:
        """What was said of alerts; see :meth:`Store.labels`."""
        store = self.store(**where)
        return nothing("labels") if store is None else store.labels(groups, superseded=superseded)

    def human_escalations(self, groups: Groups | None = None, **where: Unpack[Where]) -> pl.DataFrame:
        """Alerts that people called escalations, as a truth for backtests; see :meth:`Store.human_escalations`."""
        store = self.store(**where)
        return empty("Escalations") if store is None else store.human_escalations(groups)

    def human_exposure(self, groups: Groups | None = None, **where: Unpack[Where]) -> pl.DataFrame:
        """The hours of alerts that people labelled, either way; see :meth:`Store.human_exposure`."""
        store = self.store(**where)
        return empty("Exposure") if store is None else store.human_exposure(groups)


def _routes(config: str | Path | Mapping[str, Any] | None) -> dict[str, dict[str, str]]:
    """What a configuration says: stores by name, and names of stores by region, organization and default."""
    if isinstance(config, Mapping):
        return _read("configuration", config, Path())
    named = config or os.environ.get(ENVIRONMENT)
    file = Path(named or CONFIG).expanduser()
    if not named and not file.exists():
        home = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
        one = str(home / "issue-analytics" / "issues.db")
        return {"stores": {_DEFAULT: one}, "regions": {}, "organizations": {}, _DEFAULT: {_DEFAULT: _DEFAULT}}
    try:
        found = tomllib.loads(file.read_text())
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read ({error.strerror or error}).") from None
    except ValueError as error:  # no TOML, or no text
        raise SettingsError(f"{file}: {error}.") from None
    return _read(str(file), found, file.parent)


def _read(what: str, found: Mapping[str, Any], folder: Path) -> dict[str, dict[str, str]]:
    default = found.get(_DEFAULT)
    tables = {name: found.get(name, {}) for name in _TABLES}
    if strange := [name for name in found if name not in (*_TABLES, _DEFAULT)]:
        known = ", ".join((_DEFAULT, *_TABLES))
        raise SettingsError(f"{what}: unknown {', '.join(map(shown, strange))}; known are {known}.")
    for name, entries in tables.items():
        if not isinstance(entries, Mapping) or not all(isinstance(value, str) and value for value in entries.values()):
            raise SettingsError(f'{what}: [{name}] holds lines such as name = "text".')
    routes = {name: {str(key): value for key, value in entries.items()} for name, entries in tables.items()}
    routes[_DEFAULT] = {} if default is None else {_DEFAULT: default}
    names = ", ".join(map(shown, routes["stores"])) or "none at all"
    for table in ("regions", "organizations", _DEFAULT):
        for key, store in routes[table].items():
            if not isinstance(store, str) or store not in routes["stores"]:
                # what stands there is not shown: it may be a URL with a password
                raise SettingsError(f"{what}: {key}: [stores] names no such store, only {names}.")
    routes["stores"] = {name: _place(place, folder) for name, place in routes["stores"].items()}
    return routes


def _place(place: str, folder: Path) -> str:
    """A place of the configuration: files lie from its folder, those that are written as a URL too."""
    kind, mark, file = place.partition(":///")
    if kind == "sqlite" and not file.startswith("/"):
        return f"{kind}{mark}{quote(str(folder))}/{file}"
    return place if "://" in place else str(folder / Path(place).expanduser())


issue_service: Final = IssueService.create_delegation()
"""The service with the configuration that is found, see :class:`IssueService`."""
