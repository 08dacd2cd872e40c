"""What must hold of a store whatever happens: several processes at once, and any sequence of calls."""

import itertools
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import polars as pl
import pytest
import sqlalchemy as sa
from histories import HOUR, MONDAY, UTC_US
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import issue_analytics as ia
from issue_analytics.issues.lifecycle import MAKERS, STATES, makers, priority_after
from issue_analytics.issues.store import database
from issue_analytics.issues.store.database import Database

NAMES = [state.name for state in STATES]
DAY = timedelta(days=1)

# ---- processes ----

WRITER = """
    import sys
    from datetime import UTC, datetime, timedelta
    import polars as pl
    import issue_analytics as ia

    place, me, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    monday = datetime(2026, 1, 5, tzinfo=UTC)
    store = ia.open_store(place)
    conflicts = 0
    for turn in range(rounds):
        # half of what a writer brings, the others bring too
        numbers = [*range(turn * 10, turn * 10 + 10), *range(10_000 * me + turn * 10, 10_000 * me + turn * 10 + 10)]
        store.record([
            ia.IssueOccurrence.from_dict({
                "id": f"o{number}", "project_id": 1, "event_id": "e", "fingerprint": ["f"], "group_id": number % 7,
                "type": 1, "detection_time": (monday + timedelta(minutes=number % 9_999)).isoformat(),
            })
            for number in numbers
        ])
        store.put(pl.DataFrame({"project_id": [2] * 50, "group_id": list(range(50)), "title": [f"{me}-{turn}"] * 50}))
        while True:
            seen = store.get(1, 0)
            try:
                # a counter in a text: only who has seen it as it is may count on
                store.update(1, 0, version=seen.version, culprit=str(int(seen.culprit or 0) + 1))
                break
            except ia.ConflictError:
                conflicts += 1
        store.move([(1, number) for number in range(1, 7)], "ongoing" if turn % 2 else "resolved", by="platform")
        store.label(1, 1, monday, "noise", who=str(me))
        store.ongoing(days=0)
    print(conflicts)
"""
WRITERS, ROUNDS = 3, 6


def test_processes_that_write_at_once_lose_nothing(place):
    """None of them finds a store at first: they make it at once, too."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), place, str(me), str(ROUNDS)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for me in range(1, WRITERS + 1)
    ]  # fmt: skip
    for process in running:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    store = ia.open_store(place, create=False)
    shared = range(ROUNDS * 10)
    own = [range(10_000 * me, 10_000 * me + ROUNDS * 10) for me in range(1, WRITERS + 1)]
    numbers = list(itertools.chain(shared, *own))
    times_seen = dict(store.list(project_id=1).select("group_id", "times_seen").rows())
    assert times_seen == {group: sum(number % 7 == group for number in numbers) for group in range(7)}
    assert store.occurrences().height == len(numbers)
    assert store.get(1, 0).culprit == str(WRITERS * ROUNDS)
    assert store.labels(superseded=True).height == WRITERS * ROUNDS
    # every change has its row, and none has the number of another
    history = store.history()
    versions = {key: rows["version"].sort().to_list() for key, rows in history.group_by("project_id", "group_id")}
    for row in store.list().iter_rows(named=True):
        assert versions[row["project_id"], row["group_id"]] == list(range(1, row["version"] + 1))
    last = history.filter(pl.col("kind") != "edited").sort("version").group_by("project_id", "group_id").last()
    both = store.list().join(last, on=["project_id", "group_id"])
    assert both.height == 57
    assert (both["state"] == both["kind"]).all()


def test_a_call_that_fails_in_the_middle_changes_nothing(place, monkeypatch):
    from issue_analytics.issues.store import taking, writing

    store = ia.open_store(place)
    store.put(pl.DataFrame({"project_id": [1, 1], "group_id": [1, 2]}))
    before = store.list(), store.history()

    def power_cut(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "log", power_cut)
    monkeypatch.setattr(taking, "log", power_cut)
    for change in (lambda: store.resolve([(1, 1), (1, 2)]), lambda: store.create(1, 3), lambda: store.ongoing(days=0)):
        with pytest.raises(KeyboardInterrupt):
            change()
    monkeypatch.undo()
    assert store.list().equals(before[0])
    assert store.history().equals(before[1])
    assert store.resolve([(1, 1), (1, 2)]).height == 2


@pytest.mark.parametrize("new_place", ["postgresql"], indirect=True)  # a file has one writer
def test_two_who_wait_for_each_other_both_get_through(new_place):
    """A real deadlock: the server ends one of the two, and what that one did is done again."""
    place = new_place()
    store = ia.open_store(place)
    store.put(pl.DataFrame({"project_id": [1, 1], "group_id": [1, 2]}))
    met, tries = threading.Barrier(2), []

    def count_up(order):
        def work(connection):
            tries.append(order)
            for number, group in enumerate(order):
                statement = "UPDATE issues SET times_seen = times_seen + 1 WHERE group_id = :group"
                connection.execute(sa.text(statement), {"group": group})
                if number == 0 and len(tries) <= 2:
                    met.wait(30)

        Database(place).write(work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(count_up, [(1, 2), (2, 1)]))
    assert len(tries) == 3
    assert store.list()["times_seen"].to_list() == [2, 2]


def test_a_writer_that_stays_too_long_is_told(place, monkeypatch):
    ia.open_store(place).create(1, 7)
    monkeypatch.setattr(database, "_PATIENCE", 0.2)
    store = ia.open_store(place)
    with Database(place)._engine.connect().execution_options(writes=True) as other, other.begin():
        other.execute(sa.text("UPDATE issues SET title = 'mine'"))
        with pytest.raises(ia.DatasetError, match=r"database is locked|lock timeout"):
            store.resolve((1, 7))
        assert store.get(1, 7).state == "new"  # who only reads need not wait
    assert store.resolve((1, 7)).height == 1


# ---- any sequence of calls, against a dictionary ----


class Model:
    """What a store should be: plain dictionaries, one issue at a time."""

    def __init__(self):
        self.issues, self.ids, self.history, self.labels = {}, {}, [], []  # ids: of occurrences -> their issue

    def log(self, key, at, kind, maker, who=None):
        issue = self.issues[key]
        issue["version"] += 1
        self.history.append((*key, at, kind, maker, who, issue["version"]))

    def make(self, key, at, priority=50):
        self.issues[key] = {"state": "new", "since": at, "priority": priority, "initial": priority, "locked": False,
                            "title": None, "first": None, "last": None, "times": 0, "version": 0}  # fmt: skip
        self.log(key, at, "new", "first_event")

    def go(self, key, state, at, by, who=None):
        issue = self.issues[key]
        issue["priority"] = int(
            priority_after(state, issue["priority"], issue["initial"], before=issue["state"], locked=issue["locked"])
        )
        issue.update(state=state, since=at)
        self.log(key, at, state, by, who)

    def move(self, keys, state, at, by, who):
        if any(key not in self.issues for key in keys):
            return False
        todo = [key for key in sorted(keys) if self.issues[key]["state"] != state]
        if any(by not in makers(self.issues[key]["state"], state) or self.issues[key]["since"] > at for key in todo):
            return False
        for key in todo:
            self.go(key, state, at, by, who)
        return True

    def record(self, seen):
        seen = [one for number, one in enumerate(seen) if one[0] not in {other[0] for other in seen[:number]}]
        fresh = sorted((one for one in seen if one[0] not in self.ids), key=lambda one: (one[2], one[0]))
        for key in sorted({one[1] for one in fresh}):
            mine = [one for one in fresh if one[1] == key]
            if key not in self.issues:
                self.make(key, mine[0][2])
            issue = self.issues[key]
            if issue["title"] is None or issue["last"] is None or mine[-1][2] >= issue["last"]:
                issue["title"] = mine[-1][3]
            issue["first"] = min(filter(None, (issue["first"], mine[0][2])))
            issue["last"] = max(filter(None, (issue["last"], mine[-1][2])))
            issue["times"] += len(mine)
            after = [at for _, _, at, _ in mine if at > issue["since"]]
            if issue["state"] == "resolved" and after:
                self.go(key, "regressed", min(after), "regression")
        self.ids |= {one[0]: one[1] for one in fresh}

    def ongoing(self, at, days):
        for key, issue in sorted(self.issues.items()):
            since = issue["first"] if issue["state"] == "new" and issue["first"] else issue["since"]
            if (
                issue["state"] in ("new", "regressed", "escalating")
                and since <= at - days * DAY
                and issue["since"] <= at
            ):
                self.go(key, "ongoing", at, "auto_ongoing")

    def delete(self, keys):
        if any(key not in self.issues for key in keys):
            return False
        away = {"pending_merge", "reprocessing"}
        if any(self.issues[key]["state"] in away for key in keys):
            return False
        for key in sorted(keys):
            state = self.issues[key]["state"]
            for after, by in [("pending_deletion", "user"), ("deletion_in_progress", "deletion")]:
                if state not in (after, "deletion_in_progress"):
                    self.log(key, None, after, by)
            del self.issues[key]
            self.ids = {one: owner for one, owner in self.ids.items() if owner != key}
        return True

    def update(self, key, version, priority):
        issue = self.issues.get(key)
        if issue is None or issue["version"] != version:
            return False
        if issue["priority"] != priority:
            issue.update(priority=priority, locked=True)
            self.log(key, None, "edited", "user")
        return True

    def label(self, key, hour, verdict):
        self.labels.append((*key, hour, verdict))


KEYS = st.tuples(st.integers(1, 2), st.integers(1, 2))
SOME = st.lists(KEYS, min_size=1, max_size=3)
STEP = st.integers(0, 12)
CALLS = st.one_of(
    st.tuples(
        st.just("record"),
        st.lists(st.tuples(st.integers(0, 15), KEYS, st.integers(0, 40), st.sampled_from("abc")), max_size=5),
    ),
    st.tuples(st.just("move"), SOME, st.sampled_from(NAMES), STEP, st.sampled_from(MAKERS)),
    st.tuples(st.just("legal"), SOME, st.integers(0, 99), STEP),
    st.tuples(st.just("ongoing"), STEP, st.integers(0, 8)),
    st.tuples(st.just("delete"), SOME),
    st.tuples(st.just("update"), KEYS, st.sampled_from([25, 50, 75]), st.booleans()),
    st.tuples(st.just("label"), KEYS, st.integers(0, 3), st.sampled_from(["escalated", "noise"])),
    st.tuples(st.just("create"), KEYS),
)


def tried(call, *arguments, **options):
    """Whether a call was accepted."""
    try:
        call(*arguments, **options)
    except (ia.FrameError, ia.ConflictError):
        return False
    return True


def do(name, arguments, store, model, clock):
    """Do one thing to the store and to the model, which must agree on whether it can be done."""
    if name == "record":
        # an id is of one group, as those that a tracker gives are
        seen = [
            (f"o{n}-{key[0]}-{key[1]}", key, MONDAY + clock + hour * HOUR, text) for n, key, hour, text in arguments[0]
        ]
        frame = pl.DataFrame(
            [(one, None, *key, 1, None, text, "info", at, None) for one, key, at, text in seen],
            schema=store.occurrences().schema, orient="row",
        )  # fmt: skip
        if len({one[0] for one in seen}) < len(seen):
            frame = frame.unique("occurrence_id", keep="first", maintain_order=True)
        store.record(frame)
        model.record(seen)
    elif name == "legal":  # what somebody can do to the first of them
        keys, number, step = arguments
        before = model.issues[keys[0]]["state"] if keys[0] in model.issues else None
        ways = [(after, by) for after in NAMES for by in makers(before, after) if before is not None]
        if ways:
            after, by = ways[number % len(ways)]
            do("move", (keys[:1], after, step, by), store, model, clock)
    elif name == "move":
        keys, after, step, by = arguments
        at = MONDAY + clock + step * HOUR
        done = tried(store.move, keys, after, by=by, at=at, who="ada")
        assert model.move(set(keys), after, at, by, "ada") == done
    elif name == "ongoing":
        at = MONDAY + clock + arguments[0] * HOUR
        store.ongoing(at, days=arguments[1])
        model.ongoing(at, arguments[1])
    elif name == "delete":
        assert tried(store.delete, arguments[0]) == model.delete(set(arguments[0]))
    elif name == "update":
        key, priority, stale = arguments
        version = model.issues.get(key, {"version": 1})["version"] - stale
        done = tried(store.update, *key, version=version, priority=priority)
        assert model.update(key, version, priority) == done
    elif name == "label":
        key, hour, verdict = arguments
        store.label(*key, MONDAY + hour * HOUR, verdict)
        model.label(key, MONDAY + hour * HOUR, verdict)
    else:
        at = MONDAY + clock
        assert tried(store.create, *arguments[0], first_seen=at) == (arguments[0] not in model.issues)
        if arguments[0] not in model.issues:
            model.make(arguments[0], at)
            model.issues[arguments[0]]["first"] = at


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=[*HealthCheck])
@given(calls=st.lists(CALLS, min_size=1, max_size=25))
def test_any_sequence_of_calls_leaves_what_dictionaries_say(new_place, calls):
    store, model = ia.open_store(new_place()), Model()
    for number, (name, *arguments) in enumerate(calls):
        do(name, arguments, store, model, number * DAY)
    columns = [
        "state",
        "since",
        "priority",
        "initial_priority",
        "title",
        "first_seen",
        "last_seen",
        "times_seen",
        "version",
    ]
    found = {row[:2]: row[2:] for row in store.list().select("project_id", "group_id", *columns).rows()}
    names = ["state", "since", "priority", "initial", "title", "first", "last", "times", "version"]
    assert found == {key: tuple(issue[name] for name in names) for key, issue in model.issues.items()}
    history = store.history().select("project_id", "group_id", "at", "kind", "maker", "who", "version").rows()
    # what the store dates itself, the model leaves open
    dated = [(*row[:2], None if row[3] in ("edited", "pending_deletion", "deletion_in_progress") and row[5] is None
              else row[2], *row[3:]) for row in history]  # fmt: skip
    assert dated == sorted(model.history, key=lambda row: row[:2])
    said = store.labels(superseded=True).select("project_id", "group_id", "hour", "verdict").rows()
    assert said == sorted(model.labels, key=lambda row: row[:3])
    last = {row[:3]: row[3] for row in model.labels}
    assert store.human_escalations().height == sum(verdict == "escalated" for verdict in last.values())
    assert sorted(store.occurrences()["occurrence_id"]) == sorted(model.ids)
    assert store.occurrences().schema["detected_at"] == UTC_US
