"""The commands on a store of issues: ``issue-analytics issues …``."""

import contextlib
import getpass
import re
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from issue_analytics.cli.show import plain, say, say_json, table
from issue_analytics.errors import FrameError, SettingsError

if TYPE_CHECKING:
    import polars as pl

    from issue_analytics.issues import Issue, Store

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Issues in a store: their states and histories, and what people say of alerts.\n\n"
    "ISSUE is PROJECT:GROUP, or the group alone where only one project has it. The store is a file or a PostgreSQL "
    "URL, or that of an organization or a region in issue_analytics.toml, or one of your own.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Place = Annotated[str | None, typer.Option("--store", metavar="PLACE", help="An SQLite file or a PostgreSQL URL.")]
Organization = Annotated[str | None, typer.Option(help="Id or slug, as in the configuration.")]
Region = Annotated[str | None, typer.Option(help="Name, as in the configuration.")]
Named = Annotated[list[str], typer.Argument(metavar="ISSUE...", help="PROJECT:GROUP, or GROUP.")]
One = Annotated[str, typer.Argument(metavar="ISSUE", help="PROJECT:GROUP, or GROUP.")]
Who = Annotated[str | None, typer.Option(help="Who does it. [default: your login]")]
_FORMATS: Final = ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ", "%Y-%m-%d"]
At = Annotated[datetime | None, typer.Option(formats=_FORMATS, help="When it happened, UTC. [default: now]")]

_BATCH: Final = 100_000
"""Rows that an import takes into memory at once, and a store in a second or two."""

_STATES: Final = {"archived_until_escalating": "until escalating", "archived_until_condition_met": "until condition"}
"""States whose names would break a table's lines."""

_TITLE: Final = 28
"""Characters of a title in a table of 80 columns."""

_LINE: Final = 200
"""Characters of any other text; --json has all of it."""


# ---- what there is ----


@app.command(name="list")
def list_(
    state: Annotated[
        list[str] | None,
        typer.Option(help="new, escalating, …; unresolved and archived stand for all of theirs; repeat."),
    ] = None,
    project: Annotated[list[int] | None, typer.Option(help="Id of a project; repeat.")] = None,
    text: Annotated[str | None, typer.Option(help="What the title or the culprit contains.")] = None,
    sort: Annotated[
        Literal["last_seen", "first_seen", "since", "times_seen", "priority", "group_id"],
        typer.Option(help="The latest or largest first."),
    ] = "last_seen",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Issues of a page.")] = 20,
    page: Annotated[int, typer.Option(min=1, max=10**9, help="Which page.")] = 1,
    store: Place = None,
    organization: Organization = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """List issues."""
    opened = _store(store, organization, region)
    filters: dict[str, Any] = {"state": state or None, "project_id": project or None, "text": text}
    found = opened.list(**filters, sort=sort, limit=limit, offset=limit * (page - 1))
    total = opened.count(**filters)
    if as_json:
        say_json({"store": opened.name, "total": total, "page": page, "issues": _rows(found)})
        return
    if not found.is_empty():
        table([_line(row) for row in found.iter_rows(named=True)], left=("state", "title"))
        say()
    first = limit * (page - 1) + 1
    shown = f"{first:,} to {first + found.height - 1:,} of " if total > found.height and found.height else ""
    say(f"{shown}{_number(total)} in {opened.name}")


@app.command()
def show(
    issue: One,
    store: Place = None,
    organization: Organization = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Show an issue with its history, and what was said of its alerts."""
    opened = _store(store, organization, region)
    [key] = _keys(opened, [issue])
    found = _get(opened, key)
    history, labels = opened.history(key), opened.labels(key, superseded=True)
    if as_json:
        say_json({"issue": _values(asdict(found)), "history": _rows(history), "labels": _rows(labels)})
        return
    say(f"{found.project_id}:{found.group_id}  {_short(found.title) or '(no title)'}")
    for name, value in _facts(found):
        say(f"  {name:<11} {value}")
    say("\nhistory:")
    rows = [
        {
            "when": _time(row["at"]),
            "what": _short(row["kind"]),
            "by": row["maker"] or _short(row["source"]),
            "who": _short(row["who"]),
            "limit": "" if row["forecast"] is None else f"{row['forecast']:,}",
            "note": _short(row["note"]),
        }
        for row in history.sort("at", "version").iter_rows(named=True)
    ]
    blank = [name for name in ("who", "limit", "note") if not any(row[name] for row in rows)]
    table(
        [{name: cell for name, cell in row.items() if name not in blank} for row in rows],
        left=("what", "by", "who", "note"),
    )
    if not labels.is_empty():
        say("\nlabels:")
        _label_table(labels, issue=False)


@app.command()
def labels(
    issues: Annotated[list[str] | None, typer.Argument(metavar="[ISSUE...]", help="Of these only.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also what was said before the last word.")] = False,
    store: Place = None,
    organization: Organization = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """List what people said of alerts."""
    opened = _store(store, organization, region)
    found = opened.labels(_keys(opened, issues, known=False) if issues else None, superseded=all_)
    if as_json:
        say_json({"store": opened.name, "labels": _rows(found)})
        return
    if not found.is_empty():
        _label_table(found)
        say()
    say(f"{_number(found.height, 'label')} in {opened.name}")


# ---- what is done to them ----


@app.command()
def create(
    issue: One,
    title: Annotated[str | None, typer.Option(help="Its title.")] = None,
    culprit: Annotated[str | None, typer.Option(help="Where it happens.")] = None,
    level: Annotated[str | None, typer.Option(help="Such as error.")] = None,
    type_: Annotated[int | None, typer.Option("--type", min=0, help="Its group type.")] = None,
    priority: Annotated[
        int | None, typer.Option(help="25 low, 50 medium, 75 high. [default: that of its type]")
    ] = None,
    first_seen: Annotated[datetime | None, typer.Option(formats=_FORMATS, help="UTC. [default: now]")] = None,
    store: Place = None,
    organization: Organization = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Make a new issue; ISSUE is PROJECT:GROUP."""
    key = _pair(issue)
    if key is None:
        raise SettingsError(f"{issue}: a new issue is named PROJECT:GROUP, such as 1:7.")
    opened = _store(store, organization, region, make=True)
    made = opened.create(
        *key, title=title, culprit=culprit, level=level, type=type_, priority=priority, first_seen=_utc(first_seen)
    )
    say_json({"issue": _values(asdict(made))}) if as_json else say(f"{issue}: {made.state}, in {opened.name}")


@app.command()
def update(
    issue: One,
    title: Annotated[str | None, typer.Option(help="Its title.")] = None,
    culprit: Annotated[str | None, typer.Option(help="Where it happens.")] = None,
    level: Annotated[str | None, typer.Option(help="Such as error.")] = None,
    type_: Annotated[int | None, typer.Option("--type", min=0, help="Its group type.")] = None,
    priority: Annotated[int | None, typer.Option(help="25 low, 50 medium, 75 high; no rule changes it then.")] = None,
    unlock: Annotated[bool, typer.Option("--unlock", help="Let rules set its priority again.")] = False,
    version: Annotated[
        int | None, typer.Option(help="The version that you saw: refuse if it was changed since. [default: as it is]")
    ] = None,
    who: Who = None,
    store: Place = None,
    organization: Organization = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Change what an issue is called, or its priority."""
    given = {"title": title, "culprit": culprit, "level": level, "type": type_, "priority": priority}
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if unlock:
        values["priority_locked_at"] = None
    if not values:
        raise SettingsError("nothing to change: give --title, --culprit, --level, --type, --priority or --unlock.")
    opened = _store(store, organization, region)
    [key] = _keys(opened, [issue])
    seen = version if version is not None else _get(opened, key).version
    now = opened.update(*key, version=seen, who=_who(who), **values)
    say_json({"issue": _values(asdict(now))}) if as_json else say(f"{key[0]}:{key[1]}: version {now.version}")


@app.command()
def archive(
    issues: Named,
    until: Annotated[
        Literal["escalating", "condition", "forever"], typer.Option(help="What brings it back.")
    ] = "escalating",
    count: Annotated[int | None, typer.Option(min=1, help="condition: so many events.")] = None,
    users: Annotated[int | None, typer.Option(min=1, help="condition: so many users.")] = None,
    window: Annotated[int | None, typer.Option(min=1, help="condition: within so many minutes.")] = None,
    expires: Annotated[datetime | None, typer.Option(formats=_FORMATS, help="condition: a time, UTC.")] = None,
    who: Who = None,
    at: At = None,
    store: Place = None,
    organization: Organization = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Archive issues."""
    parts = {"count": count, "users": users, "window": window, "until": _utc(expires)}
    condition = {name: value for name, value in parts.items() if value is not None}
    opened = _store(store, organization, region)
    changed = opened.archive(_keys(opened, issues), until, condition=condition or None, who=_who(who), at=_utc(at))
    _say_changed(changed, as_json)


@app.command()
def resolve(
    issues: Named,
    who: Who = None,
    at: At = None,
    store: Place = None,
    organization: Organization = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Mark issues as resolved."""
    opened = _store(store, organization, region)
    _say_changed(opened.resolve(_keys(opened, issues), who=_who(who), at=_utc(at)), as_json)


@app.command()
def escalate(
    issues: Named,
    forecast: Annotated[int | None, typer.Option(min=0, help="The limit that was exceeded, events per hour.")] = None,
    by: Annotated[
        Literal["escalation", "velocity", "condition", "platform"],
        typer.Option(help="What made them: the forecast, the rule for new issues, a condition, a message."),
    ] = "escalation",
    who: Who = None,
    at: At = None,
    store: Place = None,
    organization: Organization = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Make issues escalate."""
    opened = _store(store, organization, region)
    changed = opened.escalate(_keys(opened, issues), forecast=forecast, by=by, who=_who(who), at=_utc(at))
    _say_changed(changed, as_json)


@app.command()
def ongoing(
    days: Annotated[int, typer.Option(min=0, max=10_000, help="How long they have been so.")] = 7,
    issues: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ISSUE...]", help="These at once: unresolve, unarchive, or mark as reviewed."),
    ] = None,
    who: Who = None,
    at: At = None,
    store: Place = None,
    organization: Organization = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Bring to ongoing what has been new, regressed or escalating for a week, or the issues named."""
    opened = _store(store, organization, region)
    if issues:
        changed = opened.move(_keys(opened, issues), "ongoing", by="user", who=_who(who), at=_utc(at))
    else:
        changed = opened.ongoing(_utc(at), days=days, who=_who(who))
    _say_changed(changed, as_json)


@app.command()
def label(
    issue: One,
    hour: Annotated[datetime, typer.Argument(formats=_FORMATS, help="The hour of the alert, UTC.")],
    verdict: Annotated[Literal["escalated", "noise"], typer.Argument(help="What it was.")],
    note: Annotated[str | None, typer.Option(help="Why.")] = None,
    who: Who = None,
    store: Place = None,
    organization: Organization = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Say of an alert whether the issue really escalated.

    The last word counts; all is kept. A backtest takes what was labelled with store.human_escalations().
    """
    opened = _store(store, organization, region, make=True)
    [key] = _keys(opened, [issue], known=False)
    when = hour.replace(tzinfo=UTC, minute=0, second=0)
    opened.label(*key, when, verdict, note=note, who=_who(who))
    said = {"project_id": key[0], "group_id": key[1], "hour": when.isoformat(), "verdict": verdict}
    say_json(said) if as_json else say(f"{key[0]}:{key[1]} {_time(when)}: {verdict}")


@app.command()
def delete(
    issues: Named,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    who: Who = None,
    store: Place = None,
    organization: Organization = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Delete issues with their occurrences and forecasts; their history and labels stay."""
    opened = _store(store, organization, region)
    keys = _keys(opened, issues)
    if not yes:
        typer.confirm(f"Delete {_number(len(keys))} from {plain(opened.name)}?", abort=True, err=True)
    number = opened.delete(keys, who=_who(who))
    say_json({"deleted": number}) if as_json else say(f"{_number(number)} deleted")


# ---- from a dataset ----


@app.command(name="import")
def import_(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by issue-analytics import.")],
    store: Place = None,
    organization: Organization = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Take the issues of a dataset into the store, with their occurrences and recorded status changes.

    Importing the same again changes nothing, and what was deleted from the store stays so. Issues of which only counts
    are known come without occurrences.
    """
    import polars as pl
    from tqdm.auto import tqdm

    from issue_analytics.dataset import open_dataset
    from issue_analytics.frames import KEY
    from issue_analytics.issues.store.importing import deleted, take_in

    data = open_dataset(dataset)
    opened = _store(store, organization, region, make=True)
    known, changes = opened.list(), 0
    gone = deleted(opened, known)
    totals = data.manifest["totals"]
    rows = sum(totals.get(kind, {}).get("accepted", 0) for kind in ("occurrences", "status_changes"))
    parts = rows // _BATCH + 1
    for part in tqdm(range(parts), desc="import", unit="part", delay=2, leave=False, disable=as_json):
        # all of a group is in one part: what becomes of it does not depend on how many there are; ids may have gaps of
        # one size, their hashes have not
        mine = pl.col("group_id").hash() % parts == part
        frames = (data.occurrences, data.hourly_counts, data.status_changes)
        changes += take_in(
            opened, *(frame.filter(mine) for frame in frames), known=known.filter(mine), gone=gone.filter(mine)
        )
    seen = int(data.occurrences.select(pl.len()).collect().item())
    total = opened.count()
    left = gone.join(opened.list(), on=KEY, how="anti").height
    if as_json:
        say_json({"store": opened.name, "issues": total, "new_issues": total - known.height}
                 | {"new_status_changes": changes, "occurrences": seen, "left_deleted": left})  # fmt: skip
    else:
        say(f"{_number(total - known.height, 'new issue')}, {_number(changes, 'new status change')}")
        say(
            f"all occurrences of the dataset are recorded: {seen:,}" + (", but those of deleted issues" if left else "")
        )
        if left:
            say(f"{_number(left)} deleted from the store: left so")
        say(f"{_number(total)} in {opened.name}")


# ---- what these share ----


def _store(place: str | None, organization: str | None, region: str | None, *, make: bool = False) -> "Store":
    """The store that is meant; one that only is looked at must be there."""
    from issue_analytics.issues import issue_service, open_store

    if place is not None:
        if organization is not None or region is not None:
            raise SettingsError("--store: names the store already; leave out --organization and --region.")
        return open_store(place, create=make)
    found = issue_service.store(organization=organization, region=region, create=make)
    if found is None:
        what = (
            f"--organization {organization}" if organization is not None
            else f"--region {region}" if region is not None else "no --store"
        )  # fmt: skip
        raise SettingsError(f"{what}: the configuration names no store for it.")
    return found


def _pair(name: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"([0-9]{1,19}):([0-9]{1,19})", name)
    return (int(found[1]), int(found[2])) if found else None


def _keys(opened: "Store", names: list[str], *, known: bool = True) -> list[tuple[int, int]]:
    """Project and group of issues that are named; a group alone is looked up."""
    keys = []
    for name in names:
        key = _pair(name)
        if key is None:
            if not re.fullmatch("[0-9]{1,19}", name):
                raise SettingsError(f"{name}: no issue; write PROJECT:GROUP, such as 1:7.")
            found = opened.list(group_id=int(name)).select("project_id", "group_id").rows()
            if not found:
                hint = "" if known else "; write PROJECT:GROUP"
                raise FrameError(f"no issue of group {name} in {opened.name}{hint}.")
            if len(found) > 1:
                several = ", ".join(f"{project}:{group}" for project, group in found[:5])
                raise FrameError(f"group {name} is in several projects: {several}.")
            [key] = found
        keys.append(key)
    return keys


def _get(opened: "Store", key: tuple[int, int]) -> "Issue":
    found = opened.get(*key)
    if found is None:
        raise FrameError(f"no issue {key[0]}:{key[1]} in {opened.name}.")
    return found


def _who(who: str | None) -> str | None:
    if who is not None:
        return who
    with contextlib.suppress(OSError, KeyError, ImportError):  # a process need not have a login
        return getpass.getuser()
    return None


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC)


def _time(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"


def _number(number: int, what: str = "issue") -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _short(text: str | None, most: int = _LINE) -> str:
    """Text as one line of a few characters: neither its line breaks nor its length make a screen say other things."""
    line = " ".join((text or "")[: 10 * most].split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _rows(frame: "pl.DataFrame") -> list[dict[str, Any]]:
    """Rows for JSON, times as ISO 8601."""
    return [_values(row) for row in frame.iter_rows(named=True)]


def _values(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _line(row: dict[str, Any]) -> dict[str, str]:
    return {
        "issue": f"{row['project_id']}:{row['group_id']}",
        "state": _STATES.get(row["state"], row["state"].replace("_", " ")),
        "seen": f"{row['times_seen']:,}",
        "last seen": _time(row["last_seen"]),
        "title": _short(row["title"], _TITLE),
    }


def _facts(found: "Issue") -> list[tuple[str, str]]:
    locked = f", set by a user on {_time(found.priority_locked_at)}" if found.priority_locked_at else ""
    condition = ", ".join(f"{name} {value}" for name, value in (found.condition or {}).items())
    seen = f"{found.times_seen:,} times"
    if found.first_seen:
        seen += f", first {_time(found.first_seen)}"
    if found.last_seen:
        seen += f", last {_time(found.last_seen)}"
    facts = [
        ("state", f"{found.state} since {_time(found.since)} UTC"),
        ("until", condition),
        ("priority", f"{found.priority}{locked} (at first {found.initial_priority})"),
        ("seen", seen),
        ("type", "" if found.type is None else str(found.type)),
        ("culprit", _short(found.culprit)),
        ("level", _short(found.level)),
        ("version", str(found.version)),
    ]
    return [(name, value) for name, value in facts if value]


def _label_table(labels: "pl.DataFrame", *, issue: bool = True) -> None:
    rows = []
    for row in labels.iter_rows(named=True):
        name = {"issue": f"{row['project_id']}:{row['group_id']}"} if issue else {}
        rows.append(
            name
            | {
                "hour": _time(row["hour"]),
                "verdict": row["verdict"],
                "who": _short(row["who"]),
                "said": _time(row["at"]),
            }
            | {"note": _short(row["note"])}
        )
    table(rows, left=("hour", "verdict", "who", "note"))


def _say_changed(changed: "pl.DataFrame", as_json: bool) -> None:
    if as_json:
        say_json({"changed": changed.height, "issues": _rows(changed)})
        return
    for row in changed.head(20).iter_rows(named=True):
        say(f"{row['project_id']}:{row['group_id']}: {row['state']}, priority {row['priority']}")
    if changed.height > 20:
        say(f"… and {changed.height - 20:,} more")
    say(f"{_number(changed.height)} changed" if changed.height else "nothing to change")
