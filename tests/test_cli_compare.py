"""``issue-analytics compare`` as a user meets it."""

import json
import os
from dataclasses import asdict
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from commands import Shell
from histories import COUNTS, ESCALATIONS, EXPOSURE, HOUR, MONDAY, random_counts, random_escalations
from polars.testing import assert_frame_equal
from rich.cells import cell_len

from issue_analytics.backtest import Matching, backtest, compare, open_run, write_run
from issue_analytics.threshold_files import load_thresholds, write_thresholds
from issue_analytics.thresholds import STANDARD, TIGHTER, ThresholdVariables

SHELL = Shell()
LOWER = ThresholdVariables(0, 0.7, 0.7, 0, 0)
RULES = "limits every 1d, dense buckets, policy every-hour"
HOSTILE = "\x1b[31mred\x1b[0m [bold]b[/bold]\nalerts: 0 gained\r\x07 \u202egnp.exe </td><script>"


def run(*arguments, cwd, code=0):
    done = SHELL.run(("compare", *arguments), cwd=cwd, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert max(map(cell_len, done.stdout.splitlines()), default=0) <= 80 or "--json" in arguments
    return done


def refused(*arguments, cwd, code=2):
    """What is said of a mistake: one line on standard error, and nothing else."""
    done = run(*arguments, cwd=cwd, code=code)
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Runs of one history: a of one setting, b of another, two and three of several; others of other data."""
    folder = tmp_path_factory.mktemp("compare")
    rng = np.random.default_rng(1)
    counts = random_counts(rng, groups=12)
    escalations = random_escalations(rng, counts, number=60)
    keys = counts.select("project_id", "group_id").unique(maintain_order=True)
    titles = keys.with_columns(title=pl.format("issue {}", "group_id"))
    results = [
        backtest(counts, escalations, thresholds=setting, buckets="dense") for setting in (STANDARD, LOWER, TIGHTER)
    ]
    write_run(results[:1], folder / "a", titles=titles)
    write_run(results[1:2], folder / "b", titles=titles)
    write_run(results[:2], folder / "two", titles=titles)
    write_run(results, folder / "three", titles=titles)
    write_run([backtest(counts, thresholds=STANDARD)], folder / "bare")
    write_run([backtest(counts, thresholds=LOWER)], folder / "bare2")
    wide = Matching(grace_hours=6)
    write_run([backtest(counts, escalations, thresholds=LOWER, matching=wide)], folder / "wide")
    other = random_counts(np.random.default_rng(2), groups=12)
    write_run([backtest(other, escalations, thresholds=LOWER)], folder / "other")
    write_thresholds(folder / "lower.toml", LOWER)
    write_thresholds(folder / "unused.toml", ThresholdVariables(1, 2, 3, 4, 5))
    (folder / "broken.toml").write_text("std_multiplier = lots")
    return folder


# ---- what it says ---- #


def test_two_runs_are_held_against_each_other(work):
    text = run("a", "b", cwd=work).stdout
    assert text.startswith("first: standard, a, limits every 1d, dense buckets, policy every-hour\n")
    assert f"second: {LOWER.digest}, b, limits every 1d" in text
    assert "matching: lead 1 h, grace 1 h, open 24 h, merge 12 h, one to one" in text
    found = compare(
        open_run(work / "a").results[0], open_run(work / "b").results[0], titles=open_run(work / "a").titles
    )
    counts = {row["change"]: row for row in found.changes().to_dicts()}
    told = ", ".join(f"{counts[change]['events']} {change}" for change in ("gained", "lost", "both", "neither"))
    assert f"events: {told} (McNemar p " in text
    told = ", ".join(f"{counts[change]['alerts']} {change}" for change in ("gained", "lost", "both"))
    assert f"alerts: {told}" in text
    assert "2,000 paired draws of issues;" in " ".join(text.split())
    recall = found.scores.filter(score="recall").row(0, named=True)
    [line] = [line for line in text.splitlines() if line.startswith("recall ")]
    cells = line.split()
    assert cells[1:3] == [f"{recall[side]:.1%}" for side in ("first", "second")]
    assert cells[3:5] == [f"{100 * recall['difference']:+.1f}", "pp"]
    assert f"{100 * recall['low']:.1f}" in line
    assert cells[-2:] == ["<0.001" if recall[name] < 0.001 else f"{recall[name]:.3f}" for name in ("p", "p_holm")]
    gained = found.alerts.filter(change="gained").sort("peak", descending=True).head(10)
    assert gained.height == 10
    for hour, title in gained.select("hour", "title").iter_rows():
        assert any(f"{hour:%Y-%m-%d %H:%M}" in line and title in line for line in text.splitlines())
    assert f"… and {counts['gained']['alerts'] - 10} more; --out writes them all" in text


def test_its_help_says_what_it_takes(work):
    text = run("--help", cwd=work).stdout
    assert "compare [OPTIONS] {RUN} [RUN]\n" in text
    for option in ("--first", "--second", "--cluster", "--block", "--resamples", "--seed", "--out", "--json"):
        assert f"  {option} " in text


def test_one_run_of_two_settings_needs_no_names(work):
    assert run("two", cwd=work).stdout.replace(", two, ", ", a, ", 1).replace(", two, ", ", b, ") == (
        run("a", "b", cwd=work).stdout
    )


@pytest.mark.parametrize("name", [LOWER.digest, "lower.toml"])
def test_of_several_settings_two_are_named(work, name):
    expected = run("b", "a", "--json", cwd=work).stdout
    told = run("three", "--first", name, "--second", "standard", "--json", cwd=work).stdout
    assert json.loads(told) | {"first": 0, "second": 0} == json.loads(expected) | {"first": 0, "second": 0}
    assert json.loads(told)["second"] == {"run": "three", "setting": "standard", "rules": RULES}
    mixed = run("three", "a", "--first", name, "--json", cwd=work).stdout
    assert json.loads(mixed)["scores"] == json.loads(expected)["scores"]
    mixed = run("b", "three", "--second", "standard", "--json", cwd=work).stdout
    assert json.loads(mixed)["scores"] == json.loads(expected)["scores"]
    # two settings, and the other way round
    turned = run("two", "--first", name, "--second", "standard", "--json", cwd=work).stdout
    assert json.loads(turned)["scores"] == json.loads(expected)["scores"]


def test_json_has_everything(work):
    arguments = ("--cluster", "project", "--block", "1w", "--resamples", 150, "--seed", 3)
    told = json.loads(run("a", "b", *arguments, "--json", cwd=work).stdout)
    assert set(told) == {
        "first", "second", "matching", "cluster", "block", "confidence", "resamples", "scores", "mcnemar_p",
        "changes", "events", "alerts", "out",
    }  # fmt: skip
    results = [open_run(work / name).results[0] for name in ("a", "b")]
    found = compare(*results, cluster="project", block="1w", resamples=150, seed=3)
    assert told["first"] == {"run": "a", "setting": "standard", "rules": RULES}
    assert told["second"] == {"run": "b", "setting": LOWER.digest, "rules": RULES}
    assert (told["cluster"], told["block"], told["resamples"], told["confidence"]) == ("project", "1w", 150, 0.95)
    assert told["matching"] == str(Matching())
    assert told["scores"] == found.scores.to_dicts()
    assert told["mcnemar_p"] == found.mcnemar
    assert told["changes"] == found.changes().to_dicts()
    assert told["out"] is None
    for name in ("events", "alerts"):
        frame = getattr(found, name)
        moved = frame.filter(pl.col("change").is_in(["gained", "lost"]))
        assert len(told[name]) == moved.height
        assert [row["change"] for row in told[name]] == moved["change"].to_list()
        assert set(told[name][0]) == set(frame.columns)
    assert {row["change"] for row in told["alerts"]} == {"gained", "lost"} & set(found.alerts["change"])
    # with two projects only, draws hardly tell one seed from another
    told = json.loads(run("a", "b", "--resamples", 150, "--seed", 3, "--json", cwd=work).stdout)
    assert told["scores"] == compare(*results, resamples=150, seed=3).scores.to_dicts()
    assert told["scores"] != compare(*results, resamples=150, seed=4).scores.to_dicts()


def test_the_whole_is_written(work, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).symlink_to(work / name)
    out = tmp_path / "deep" / "found"
    text = run("a", "b", "--out", "deep/found", cwd=tmp_path).stdout
    assert text.endswith("\nscores, events and alerts: deep/found\n")
    results = [open_run(work / name).results[0] for name in ("a", "b")]
    found = compare(*results, titles=open_run(work / "a").titles)
    for name in ("scores", "events", "alerts"):
        assert_frame_equal(pl.read_parquet(out / f"{name}.parquet"), getattr(found, name))
    assert json.loads((out / "setting.json").read_text())["second"] == LOWER.digest
    assert "exists already" in refused("a", "b", "--out", out, cwd=work, code=3)
    told = json.loads(run("a", "b", "--out", tmp_path / "again", "--json", cwd=work).stdout)
    assert told["out"] == str(tmp_path / "again")


def test_without_labels_only_burden_is_told(work):
    for more in ((), ("--block", "1w")):
        text = run("bare", "bare2", *more, cwd=work).stdout
        assert "alerts/week" in text
        assert "recall" not in text
        assert "events:" not in text
        assert "gained" in text
        assert " n/a" in text  # no verdict
    told = json.loads(run("bare", "bare2", "--json", cwd=work).stdout)
    assert told["mcnemar_p"] is None
    assert told["events"] == []
    assert {row["false"] for row in told["changes"]} == {None}


def test_what_only_one_of_two_runs_judged_is_told(work, tmp_path):
    first = open_run(work / "a").results[0]
    middle = MONDAY + timedelta(days=13)
    spans = [
        (project, group, start, end)
        for project, group in first.groups.select("project_id", "group_id").iter_rows()
        for start, end in ((MONDAY, middle),)
    ]
    early = pl.DataFrame(spans, EXPOSURE, orient="row")
    late = early.with_columns(start=pl.col("end"), end=pl.lit(None, EXPOSURE["end"]))
    for name, exposure in (("early", early), ("late", late)):
        write_run([backtest(first.counts, first.escalations, exposure=exposure)], tmp_path / name)
    text = run("early", "late", cwd=tmp_path).stdout
    events = [open_run(tmp_path / name).results[0].matches.height for name in ("early", "late")]
    assert min(events) > 3
    assert "events: 0 gained, 0 lost, 0 both, 0 neither (McNemar p n/a)" in text
    assert f"  {events[0]} judged in first only\n  {events[1]} judged in second only" in text


def test_a_wide_table_still_fits(tmp_path):
    """Ids of 19 digits, counts of billions, and titles in letters of double width."""
    group = 2**62 + 7
    hours = {200: 4_000_000_000, 201: 5_000_000_000}
    rows = [(1, group, MONDAY + hour * HOUR, hours.get(hour, 500_000_000)) for hour in range(300)]
    counts = pl.DataFrame(rows, COUNTS, orient="row")
    labels = pl.DataFrame([(1, group, MONDAY + 200 * HOUR, None, "human")], ESCALATIONS, orient="row")
    titles = pl.DataFrame({"project_id": [1], "group_id": [group], "title": ["警告" * 30]})
    results = [
        backtest(counts, labels, thresholds=setting) for setting in (ThresholdVariables(9, 90, 90, 9, 9), STANDARD)
    ]
    write_run(results, tmp_path / "run", titles=titles)
    text = run("run", cwd=tmp_path).stdout
    assert "events: 1 gained" in text
    assert "警告" in text


@pytest.mark.parametrize("title", [HOSTILE, "\n".join(f"line {n}" for n in range(100)), "x" * 100_000, "[/]", "\x00"])
def test_a_title_is_only_a_title(work, tmp_path, title):
    first, second = open_run(work / "two").results
    keys = first.groups.select("project_id", "group_id")
    for name, text in (("plain", "calm"), ("hostile", title)):
        write_run([first, second], tmp_path / name, titles=keys.with_columns(title=pl.lit(text)))
    calm, told = (run(name, cwd=tmp_path).stdout for name in ("plain", "hostile"))
    assert len(told.splitlines()) == len(calm.splitlines())  # none is a line of its own
    assert not {character for character in told if character != "\n" and not character.isprintable()}
    assert told.count("alerts: ") <= calm.count("alerts: ") + 20
    # the file and the JSON have it as it is
    run("hostile", "--out", "out", cwd=tmp_path)
    assert set(pl.read_parquet(tmp_path / "out" / "alerts.parquet")["title"]) == {title}
    rows = json.loads(run("hostile", "--json", cwd=tmp_path).stdout)["alerts"]
    assert {row["title"] for row in rows} == {title}


# ---- mistakes ---- #


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere", "a"], 3, "nowhere: no run folder"),
        (["a", "nowhere"], 3, "nowhere: no run folder"),
        (["lower.toml"], 3, "no run folder"),
        (["a"], 2, "same setting"),
        (["three"], 2, "--first: three has several settings. There are: standard, 2ff97a73, tighter."),
        (["three", "--first", "standard"], 2, "--second: three has several settings"),
        (["three", "a"], 2, "--first: three has several settings"),
        (["a", "three"], 2, "--second: three has several settings"),
        (["three", "--first", "standard", "--second", "standard"], 2, "same setting"),
        (["three", "--first", "standart", "--second", "tighter"], 2, "no setting 'standart'. There are: standard"),
        (["three", "--first", "looser", "--second", "tighter"], 2, "no setting 'looser'"),
        (["three", "--first", "unused.toml", "--second", "tighter"], 2, "no setting 'unused.toml'"),
        (["three", "--first", "broken.toml", "--second", "tighter"], 2, "broken.toml"),
        (["three", "--first", "absent.toml", "--second", "tighter"], 2, "absent.toml"),
        (["a", "b", "--second", "standard"], 2, "no setting 'standard'"),
        (["a", "other"], 2, "different counts"),
        (["a", "wide"], 2, "matching differs"),
        (["a", "bare"], 2, "labelled differs"),
        (["a", "b", "--block", "a week"], 2, "no duration"),
        (["a", "b", "--block", "0h"], 2, "no length of a block"),
        (["a", "b", "--out", "lower.toml"], 3, "exists already"),
        (["a", "b", "--out", "lower.toml/x"], 3, "could not be written"),
    ],
)
def test_a_mistake_is_one_line(work, arguments, code, message):
    before = sorted(path.name for path in work.iterdir())
    assert message in refused(*arguments, cwd=work, code=code)
    assert sorted(path.name for path in work.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "RUN"),
        (["a", "b", "two"], "two"),
        (["a", "b", "--cluster", "team"], "team"),
        (["a", "b", "--resamples", "99"], "'--resamples': Input should be greater than or equal to 100"),
        (["a", "b", "--resamples", "many"], "'--resamples'"),
        (["a", "b", "--seed", "-1"], "'--seed': Input should be greater than or equal to 0"),
        (["a", "b", "--frist", "standard"], "--frist"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(work, arguments, message):
    done = run(*arguments, cwd=work, code=2)
    assert message in done.stderr
    assert done.stdout == ""


def test_a_damaged_run_is_said_to_be_one(work, tmp_path):
    first = open_run(work / "a").results[0]
    folder = write_run([first], tmp_path / "run")
    (folder / STANDARD.digest / "groups.parquet").write_bytes(b"PAR1 but no more")
    assert "damaged" in refused(folder, work / "b", cwd=work, code=3)


def test_the_run_of_a_backtest_is_what_it_takes(tmp_path):
    """The whole way once: export, import, two backtests by the command line, compared."""
    shell = {"cwd": tmp_path, "env": {**os.environ, "COLUMNS": "80"}}
    write_thresholds(tmp_path / "lower.toml", ThresholdVariables(0, 3, 4, 1.2, 2))
    for arguments in (
        ("simulate", "--groups", 120, "--days", 21, "--seed", 3, "--out", "exports"),
        ("import", "exports", "data"),
        ("backtest", "data", "--buckets", "dense", "--out", "a"),
        ("backtest", "data", "--buckets", "dense", "--out", "b", "-t", "lower.toml"),
    ):
        done = SHELL.run(arguments, **shell)
        assert done.returncode == 0, done.stderr
    told = json.loads(run("a", "b", "--second", "lower.toml", "--json", cwd=tmp_path).stdout)
    summaries = [open_run(tmp_path / name).manifest["settings"][0]["summary"] for name in ("a", "b")]
    scores = {row["score"]: row for row in told["scores"]}
    for name in ("recall", "precision", "false_alarms_per_series_week", "recall_macro", "mean_delay_hours"):
        told_by = [scores[name]["first"], scores[name]["second"]]
        assert told_by == pytest.approx([summary[name] for summary in summaries])
    gained = [row["title"] for row in told["alerts"] if row["change"] == "gained"]
    assert gained
    assert all(gained)
    assert told["second"]["setting"] == load_thresholds(str(tmp_path / "lower.toml")).digest
    assert asdict(open_run(tmp_path / "a").results[0].matching) == asdict(Matching())
