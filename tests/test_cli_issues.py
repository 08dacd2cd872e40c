"""The commands on a store, as a user meets them: real processes, both databases."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from commands import Shell
from histories import HOUR, MONDAY, UTC_US

import issue_analytics as ia
from issue_analytics.issues.lifecycle import STATES

COMMAND = Path(sys.executable).with_name("issue-analytics")
SHELL = Shell()
HOSTILE = "red \x1b[31m [bold]title[/bold] \u202e"


def run(*arguments, cwd, code=0, answer=""):
    environment = {**os.environ, "COLUMNS": "80", "XDG_DATA_HOME": str(cwd / "home")}
    environment.pop("ISSUE_ANALYTICS_CONFIG", None)
    arguments = ["issues", *map(str, arguments)]
    if "--store" in arguments:
        done = SHELL.run(arguments, cwd=cwd, env=environment, answer=answer)
    else:  # a process looks for the configuration once
        done = subprocess.run([COMMAND, *arguments], cwd=cwd, capture_output=True, text=True, env=environment)
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A dataset of every kind of file that tells of issues."""
    folder = tmp_path_factory.mktemp("issues")
    sim = ia.simulate(groups=60, days=21, seed=5)
    sim.write(folder / "exports")
    ia.import_export(folder / "exports", folder / "data", progress=False)
    return folder / "data"


def test_a_dataset_becomes_issues_once(place, data, tmp_path):
    first = json.loads(run("import", data, "--store", place, "--json", cwd=tmp_path).stdout)
    dataset = ia.open_dataset(data)
    assert first["issues"] == first["new_issues"] == 60
    assert first["new_status_changes"] == dataset.status_changes.collect().unique().height
    again = json.loads(run("import", data, "--store", place, "--json", cwd=tmp_path).stdout)
    assert (again["new_issues"], again["new_status_changes"]) == (0, 0)
    store = ia.open_store(place)
    assert store.occurrences().height == dataset.occurrences.collect().height
    # the states are those that the export told last, or what events after a resolution made of it
    history = store.history().filter(pl.col("kind").is_in([state.name for state in STATES]))
    last = history.sort("at", "version").group_by("project_id", "group_id").last()
    both = store.list().join(last, on=["project_id", "group_id"])
    assert both.height == 60
    assert (both["state"] == both["kind"]).all()
    text = run("list", "--store", place, cwd=tmp_path).stdout
    assert "1 to 20 of 60 issues" in text
    assert all(len(line) <= 80 for line in text.splitlines()[:-1])


def dataset_of(folder, **frames):
    (folder / "exports").mkdir(parents=True)
    for kind, frame in frames.items():
        frame.write_parquet(folder / "exports" / f"{kind}.parquet")
    ia.import_export(folder / "exports", folder / "data", progress=False)
    return folder / "data"


def counts_of(*rows):
    schema = {"project_id": pl.Int64, "group_id": pl.Int64, "hour": UTC_US, "count": pl.Int64}
    return pl.DataFrame([(1, 7, hour, count) for hour, count in rows], schema=schema, orient="row")


def test_later_counts_do_not_move_the_beginning_of_an_issue(place, tmp_path):
    one = dataset_of(tmp_path / "one", hourly_counts=counts_of((MONDAY, 3), (MONDAY + HOUR, 2)))
    two = dataset_of(tmp_path / "two", hourly_counts=counts_of((MONDAY + 720 * HOUR, 10)))
    for data in (one, two, one, two):
        run("import", data, "--store", place, cwd=tmp_path)
    issue = ia.open_store(place).get(1, 7)
    assert (issue.first_seen, issue.last_seen, issue.times_seen) == (MONDAY, MONDAY + 720 * HOUR, 10)
    # made, and changed once
    assert issue.version == 2


def test_what_was_deleted_stays_so_when_its_dataset_is_imported_again(tmp_path):
    """Only what happens after the deletion makes the issue anew; others are as they were."""
    sim = ia.simulate(groups=12, days=14, seed=3)
    sim.write(tmp_path / "exports")
    ia.import_export(tmp_path / "exports", tmp_path / "data", progress=False)
    run("import", "data", "--store", "a.db", cwd=tmp_path)
    store = ia.open_store(tmp_path / "a.db")
    before, history = store.list(), store.history().height
    gone = before.row(0, named=True)
    key = (gone["project_id"], gone["group_id"])
    assert store.delete(key) == 1
    text = run("import", "data", "--store", "a.db", cwd=tmp_path).stdout
    assert "1 issue deleted from the store: left so" in text
    assert store.get(*key) is None
    others = pl.col("group_id") != gone["group_id"]
    assert store.list().equals(before.filter(others))
    assert store.history().height == history + 2  # the deletion itself
    again = json.loads(run("import", "data", "--store", "a.db", "--json", cwd=tmp_path).stdout)
    assert (again["left_deleted"], again["new_issues"], again["new_status_changes"]) == (1, 0, 0)

    now = datetime.now(UTC) + timedelta(minutes=1)
    later = (
        sim.occurrences.filter(group_id=gone["group_id"])
        .head(3)
        .with_columns(detected_at=pl.lit(now, UTC_US), occurrence_id=pl.Series(["x1", "x2", "x3"]))
    )
    later.select("project_id", "group_id", "occurrence_id", "detected_at", "type", "title").write_parquet(
        tmp_path / "later.parquet"
    )
    ia.import_export(tmp_path / "later.parquet", tmp_path / "data", progress=False)
    text = run("import", "data", "--store", "a.db", cwd=tmp_path).stdout
    assert "left so" not in text
    born = store.get(*key)
    assert (born.state, born.times_seen, born.first_seen) == ("new", 3, now)


def test_an_imported_issue_begins_as_a_recorded_one_does(tmp_path):
    record = ia.IssueOccurrence.from_dict(
        {"id": "o", "project_id": 1, "event_id": "e", "fingerprint": ["f"], "type": 1001, "group_id": 7,
         "issue_title": "N+1", "level": "info", "detection_time": MONDAY.isoformat()}
    )  # fmt: skip
    recorded = ia.open_store(tmp_path / "recorded.db")
    recorded.record(record)
    data = dataset_of(tmp_path, occurrences=recorded.occurrences())
    said = run("import", data, "--store", "a.db", cwd=tmp_path).stdout
    assert said == (
        "1 new issue, 0 new status changes\nall occurrences of the dataset are recorded: 1\n1 issue in a.db\n"
    )
    assert ia.open_store(tmp_path / "a.db").get(1, 7) == recorded.get(1, 7)
    assert recorded.get(1, 7).priority == 25


def test_text_does_not_make_a_screen_say_other_things(tmp_path):
    store = ia.open_store(tmp_path / "a.db")
    fake = "Timeout\n\nhistory:\n2026-01-01 resolved root\n" + "x" * 1_000_000
    store.create(1, 7, title=fake, culprit=fake, level=fake)
    store.archive((1, 7), who=fake)
    store.move((1, 7), "ongoing", by="user", note=fake)
    store.label(1, 7, MONDAY, "noise", note=fake, who=fake)
    for command in ("show", "labels"):
        text = run(command, "7", "--store", "a.db", cwd=tmp_path).stdout
        assert len(text) < 8_000
        assert [line for line in text.splitlines() if line.startswith(("history:", "2026-01-01"))] == (
            ["history:"] if command == "show" else []
        )
    found = json.loads(run("show", "7", "--store", "a.db", "--json", cwd=tmp_path).stdout)
    assert found["issue"]["title"] == found["labels"][0]["note"] == fake
    # a moment is written in one way
    assert found["issue"]["since"] == found["history"][-1]["at"]


def test_an_issue_from_its_making_to_its_deletion(tmp_path):
    place = tmp_path / "a.db"

    def issues(*arguments, **options):
        return run(*arguments, "--store", place, cwd=tmp_path, **options)

    issues("create", "1:7", "--title", HOSTILE, "--first-seen", "2026-01-05", "--priority", 25)
    assert "1:7: version 2" in issues("update", "7", "--title", HOSTILE + "!", "--who", "ada").stdout
    assert "somebody changed it meanwhile" in issues("update", "7", "--level", "fatal", "--version", 1, code=3).stderr
    assert "version 3" in issues("update", "7", "--priority", 75, "--version", 2).stdout
    assert "set by a user" in issues("show", "7").stdout
    changed = json.loads(issues("update", "7", "--priority", 25, "--unlock", "--json").stdout)["issue"]
    assert (changed["version"], changed["priority"], changed["priority_locked_at"]) == (4, 25, None)
    assert "nothing to change: give --title" in issues("update", "7", code=2).stderr
    assert "1:7: archived_until_escalating" in issues("archive", "7", "--who", "ada", "--at", "2026-01-06").stdout
    assert "nothing to change" in issues("archive", "1:7").stdout
    assert "priority 50" in issues("escalate", "1:7", "--forecast", 46, "--at", "2026-01-07T09:30Z").stdout
    issues("label", "7", "2026-01-07T09:30:00Z", "noise", "--who", "ada")
    issues("label", "1:7", "2026-01-07T09:00Z", "escalated", "--note", HOSTILE, "--who", "bob")
    text = issues("show", "1:7").stdout
    assert "escalating since 2026-01-07 09:30 UTC" in text
    assert "\x1b" not in text
    assert "[bold]" in text
    assert "46" in text
    assert "bob" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    found = json.loads(issues("show", "1:7", "--json").stdout)
    kinds = ["new", "edited", "edited", "edited", "archived_until_escalating", "escalating"]
    assert [row["kind"] for row in found["history"]] == kinds
    assert found["history"][4]["who"] == found["history"][1]["who"] == "ada"
    assert [row["verdict"] for row in found["labels"]] == ["noise", "escalated"]
    assert "1 label in" in issues("labels").stdout
    assert len(json.loads(issues("labels", "1:7", "--all", "--json").stdout)["labels"]) == 2
    assert "1 issue changed" in issues("ongoing", "--at", "2026-01-20").stdout
    assert "nothing to change" in issues("ongoing", "--at", "2026-01-20").stdout
    assert "1:7: resolved" in issues("resolve", "1:7").stdout
    assert "1:7: ongoing" in issues("ongoing", "1:7").stdout
    assert json.loads(issues("list", "--state", "unresolved", "--text", "red", "--json").stdout)["total"] == 1
    issues("archive", "1:7", "--until", "condition", "--count", 10, "--window", 60, "--expires", "2026-12-01")
    assert "count 10" in issues("show", "1:7").stdout
    assert issues("delete", "1:7", answer="n\n", code=1)
    assert "1 issue deleted" in issues("delete", "1:7", answer="y\n").stdout
    assert "0 issues in" in issues("list").stdout


def test_mistakes_are_told_in_a_line(tmp_path):
    place = tmp_path / "a.db"
    run("create", "1:7", "--store", place, cwd=tmp_path)
    run("create", "2:7", "--store", place, cwd=tmp_path)
    for arguments, code, words in [
        (("show", "7"), 3, "group 7 is in several projects: 1:7, 2:7"),
        (("show", "8"), 3, "no issue of group 8"),
        (("show", "1:8"), 3, "no issue 1:8"),
        (("show", "seven"), 2, "write PROJECT:GROUP"),
        (("create", "7"), 2, "is named PROJECT:GROUP"),
        (("create", "1:7"), 3, "1:7 is there already"),
        (("create", "1:9", "--priority", 60), 3, "priority: 60"),
        (("create", f"1:{10**19 - 1}"), 3, "too large"),
        (("escalate", "1:7"), 3, "new -> escalating: not by escalation, only by velocity, platform"),
        (("archive", "1:7", "--count", 3), 2, "waits for none"),
        (("archive", "1:7", "--until", "condition"), 2, "name at least one"),
        (("list", "--state", "gone"), 2, "known are unresolved"),
        (("label", "1:7", "yesterday", "noise"), 2, "does not match"),
    ]:
        done = run(*arguments, "--store", place, cwd=tmp_path, code=code)
        assert words in " ".join(done.stderr.replace("│", " ").split())
    assert "no store" in run("list", "--store", "typo.db", cwd=tmp_path, code=3).stderr
    assert not (tmp_path / "typo.db").exists()
    assert "no store" in run("list", cwd=tmp_path, code=3).stderr
    assert "names no store" in run("list", "--organization", "acme", cwd=tmp_path, code=2).stderr
    assert "leave out" in run("list", "--store", place, "--region", "us", cwd=tmp_path, code=2).stderr


def test_the_store_of_an_organization_is_found_in_the_configuration(tmp_path):
    (tmp_path / "issue_analytics.toml").write_text(
        '[stores]\na = "a.db"\n[organizations]\nacme = "a"\n[regions]\nus = "a"'
    )
    run("create", "1:7", "--organization", "acme", cwd=tmp_path)
    assert "1:7" in run("list", "--region", "us", cwd=tmp_path).stdout
    assert (tmp_path / "a.db").exists()


def test_without_anything_named_there_is_a_store_of_ones_own(tmp_path):
    run("label", "1:7", "2026-01-07", "noise", cwd=tmp_path)
    assert "1 label in" in run("labels", cwd=tmp_path).stdout
    assert (tmp_path / "home" / "issue-analytics" / "issues.db").exists()
