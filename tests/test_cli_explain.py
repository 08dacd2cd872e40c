"""``issue-analytics explain`` as a user meets it: real files, 80 columns, no traceback."""

import json
import os
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from commands import Shell
from histories import HOUR, MONDAY, random_counts
from rich.cells import cell_len

import issue_analytics as ia

SHELL = Shell()
START = MONDAY + timedelta(days=10, hours=3, minutes=7, seconds=30)


def run(*arguments, cwd, code=0):
    done = SHELL.run(("explain", *arguments), cwd=cwd, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert max(map(cell_len, done.stdout.splitlines()), default=0) <= 80 or "--json" in arguments
    return done


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A dataset of counts and labels; ids of two projects collide; group 99 has one project and a burst."""
    folder = tmp_path_factory.mktemp("explain")
    counts = random_counts(np.random.default_rng(5), groups=6)
    steady = [(3, 99, MONDAY + place * HOUR, 4 if place != 100 else 40) for place in range(400)]
    steady[244] = (*steady[244][:3], 60)
    counts = pl.concat([counts, pl.DataFrame(steady, schema=counts.schema, orient="row")])
    (folder / "exports").mkdir()
    counts.write_csv(folder / "exports" / "counts.csv")
    labels = pl.DataFrame({
        "project_id": [3], "group_id": [99], "escalated_at": [START], "ended_at": [START + 4 * HOUR],
        "provenance": ["human"],
    })  # fmt: skip
    labels.write_csv(folder / "exports" / "labels.csv")
    ia.import_export(folder / "exports", folder / "data")
    return folder


def test_a_miss_is_explained_with_its_reasons(work):
    counts = ia.open_dataset(work / "data").hourly_counts.collect()
    text = run("data", "--group", 99, "--at", "2026-01-15T03:07", cwd=work).stdout
    found = ia.explain(
        counts, 99, START, escalations=ia.open_dataset(work / "data").escalations.collect(), missed=True
    )  # fmt: skip
    assert found.hour == MONDAY + 244 * HOUR
    assert text == found.text() + "\n"
    assert "Contaminated history" in text
    assert "60 is not over it" in text
    # the second, and another hour of the escalation
    assert run("data", "--group", 99, "--at", START.isoformat(), cwd=work).stdout == text
    other = run("data", "--group", 99, "--at", "2026-01-15 05:00", cwd=work).stdout
    assert "Thu 2026-01-15 05:00 UTC: 4 occurrences" in other


def test_the_truth_is_the_one_asked_for(work, tmp_path):
    options = ("data", "--group", 99, "--at", "2026-01-15T04:30")
    assert "In the escalation from Thu 2026-01-15 03:07" in run(*options, cwd=work).stdout
    assert "In the escalation" not in run(*options, "--truth", "none", cwd=work).stdout
    place = tmp_path / "issues.db"
    store = ia.open_store(place)
    store.create(3, 99)
    store.label(3, 99, MONDAY + 244 * HOUR, "escalated", who="ada")
    [start] = store.human_escalations()["escalated_at"].to_list()
    told = run(*options[:3], "--at", start.isoformat(), "--truth", "store", "--store", place, cwd=work).stdout
    assert f"In the escalation from {start:%a %Y-%m-%d %H:%M}" in told
    assert "go together" in run(*options, "--truth", "store", cwd=work, code=2).stderr


def test_schedule_setting_and_buckets_are_those_asked_for(work):
    data = ia.open_dataset(work / "data")
    counts, known = data.hourly_counts.collect(), data.escalations.collect()
    options = ("data", "--group", 99, "--at", "2026-01-21T10:30", "--json")
    for every, made in (("7d", MONDAY + timedelta(days=10)), ("6h", MONDAY + timedelta(days=16, hours=6))):
        told = json.loads(run(*options, "--every", every, "-t", "tighter", "--buckets", "dense", cwd=work).stdout)
        limits = ia.forecast(counts, made, thresholds=ia.TIGHTER, buckets="dense")
        found = ia.explain(
            counts, 99, MONDAY + timedelta(days=16, hours=10), limits=limits, thresholds=ia.TIGHTER, buckets="dense",
            escalations=known, missed=True,
        )  # fmt: skip
        assert told["as_of"] == made.isoformat()
        expected = found.to_dict()
        assert {name: told[name] for name in expected} == json.loads(json.dumps(expected))
        assert (told["every"], told["plot"], told["title"]) == (every, None, None)


def test_it_draws_a_picture(work):
    text = run("data", "--group", 99, "--at", "2026-01-15T03:07", "--plot", "new/a.png", cwd=work).stdout
    assert text.endswith("\npicture: new/a.png\n")
    assert (work / "new" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (work / "new").iterdir()] == ["a.png"]


def test_ids_that_collide_need_a_project(work):
    assert "stands in projects 1, 2" in refused("data", "--group", 10, "--at", "2026-01-15T03:07", cwd=work)
    text = run("data", "--group", 10, "--project", 2, "--at", "2026-01-15T03:07", cwd=work).stdout
    assert text.startswith("Group 10 of project 2, Thu 2026-01-15 03:00 UTC")


def refused(*arguments, cwd, code=2):
    done = run(*arguments, cwd=cwd, code=code)
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (["data", "--group", 12345, "--at", "2026-01-15"], 2, "group 12345: the counts do not know it"),
    (["data", "--group", -1, "--at", "2026-01-15"], 2, "do not know it"),
    (["data", "--group", 99, "--at", "yesterday"], 2, "--at yesterday: is no time"),
    (["data", "--group", 99, "--at", "\x1b[31m2026"], 2, "is no time"),
    (["data", "--group", 99, "--at", "0001-01-01T00:00+14:00"], 2, "is no time of ours"),
    (["data", "--group", 99, "--at", "9999-12-31T23:59-14:00"], 2, "is no time of ours"),
    (["data", "--group", 99, "--at", "2026-01-15", "--every", "5h"], 2, "every"),
    (["data", "--group", 99, "--at", "2026-01-15", "-t", "best"], 2, "no such set"),
    (["data", "--group", 99, "--at", "2026-01-15", "--plot", "a.gif"], 2, "name a .png, .svg or .pdf file"),
    (["data", "--group", 99, "--at", "2026-01-15", "--plot", "data/manifest.json/a.png"], 3, "cannot be written"),
    (["nowhere", "--group", 99, "--at", "2026-01-15"], 3, "nowhere"),
])  # fmt: skip
def test_mistakes_are_one_line(work, arguments, code, said):
    line = refused(*arguments, cwd=work, code=code)
    assert said in line
    assert "\x1b" not in line


def test_hostile_titles_are_harmless(tmp_path):
    """Titles come from exports: in the terminal and in the picture they are text."""
    title = "a\x1b[31mb\u202e$\\frac{$" + "x" * 400
    rows = [
        {"project_id": 1, "group_id": 7, "detected_at": (MONDAY + place * HOUR).isoformat(), "title": title}
        for place in range(200)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    ia.import_export(tmp_path / "rows.jsonl", tmp_path / "data")
    done = run("data", "--group", 7, "--at", "2026-01-12T12:00", "--plot", "a.png", cwd=tmp_path)
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert done.stdout.startswith("ab$\\frac{$xxx")
    assert (tmp_path / "a.png").exists()
