"""The command line as a user meets it: real processes, real files."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from commands import Shell
from histories import HOUR, MONDAY

COMMAND = Path(sys.executable).with_name("issue-analytics")
SHELL = Shell()
REAL = Path(__file__).parents[2] / "shared" / "data" / "real"


def run(*arguments, cwd, code=0):
    done = SHELL.run(arguments, cwd=cwd, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A simulated export, imported, judged and reported."""
    folder = tmp_path_factory.mktemp("work")
    run("simulate", "--groups", 400, "--days", 28, "--seed", 3, "--out", "exports", cwd=folder)
    run("import", "exports", "data", cwd=folder)
    run("backtest", "data", "-t", "standard", "-t", "tighter", "--buckets", "dense", "--out", "runs/a", cwd=folder)
    return folder


def test_help_tells_every_command(tmp_path):
    text = run("--help", cwd=tmp_path).stdout
    commands = (
        "demo",
        "simulate",
        "import",
        "check",
        "forecast",
        "explain",
        "backtest",
        "replay",
        "parity",
        "compare",
        "sweep",
        "recommend",
        "report",
        "thresholds",
        "issues",
    )
    told = [line.split()[0] for line in text.split("Commands:")[1].split("Exit")[0].splitlines() if line.strip()]
    assert tuple(told) == commands
    for command in commands:
        assert "--help" in run(command, "--help", cwd=tmp_path).stdout
    assert "Exit codes" in text


def test_help_loads_nothing_heavy(tmp_path):
    code = (
        "import sys; sys.argv = ['issue-analytics', '--help']\n"
        "from issue_analytics.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('pandera', 'scipy', 'matplotlib', 'jinja2', 'great_tables') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip().endswith("[]")


def test_what_is_imported_is_said(work):
    manifest = json.loads(run("import", "exports", "data", "--json", cwd=work).stdout)
    totals = manifest["totals"]
    assert totals["occurrences"]["accepted"] == totals["occurrences"]["read"] > 0
    text = run("import", "exports", "data", cwd=work).stdout
    assert "already imported" in text
    assert f"{totals['occurrences']['read']:,}" in text


def test_check_tells_in_a_minute_what_the_data_cover(work):
    text = run("check", "data", cwd=work).stdout
    assert all(len(line) <= 80 for line in text.splitlines()[1:])
    for name in ("span", "issues", "gaps", "first and last hour", "younger than 7 days", "truncated histories",
                 "merged or deleted", "late rows", "duplicates left out", "rejected rows"):  # fmt: skip
        assert name in text
    answer = json.loads(run("check", "data", "--json", cwd=work).stdout)
    assert answer["verdict"] in text
    assert answer["facts"]["groups"] > 300
    assert {finding["level"] for finding in answer["findings"]} <= {"fine", "look", "stop"}
    assert "no dataset" in run("check", "nowhere", cwd=work, code=3).stderr


def test_merged_issues_are_left_out_unless_kept(work):
    counts = json.loads(run("check", "data", "--json", cwd=work).stdout)["facts"]["groups"]
    issues = [{"id": str(10000 + n), "project": {"id": str(101 + n % 5)}, "activity": [
        {"id": "1", "type": "merge", "data": {"issues": []}, "dateCreated": "2026-01-20T00:00:00Z"}]}
        for n in range(8)]  # fmt: skip
    (work / "merges.json").write_text(json.dumps(issues))
    run("import", "exports", "merges.json", "merged", cwd=work)
    found = json.loads(run("check", "merged", "--json", cwd=work).stdout)["facts"]
    # what else is flagged did not come of these lines
    assert found["groups"] == counts
    assert found["altered_groups"] > 0
    out = json.loads(run("backtest", "merged", "--out", "runs/m", "--json", cwd=work).stdout)
    kept = json.loads(run("backtest", "merged", "--out", "runs/k", "--merged", "keep", "--json", cwd=work).stdout)
    assert (out["left_out"], kept["left_out"]) == (found["altered_groups"], 0)
    assert out["summary"][0]["groups"] == kept["summary"][0]["groups"] - found["altered_groups"]
    text = run("backtest", "merged", "--out", "runs/n", cwd=work).stdout
    assert f"left out: {found['altered_groups']} issues" in text


def test_a_backtest_says_its_scores(work):
    run("backtest", "data", "--out", "runs/b", "--buckets", "dense", cwd=work)
    text = run("backtest", "data", "--out", "runs/b", "--buckets", "dense", "--overwrite", cwd=work).stdout
    assert "standard" in text
    assert "dense buckets" in " ".join(text.split())
    assert all(len(line) <= 80 for line in text.splitlines() if "standard" in line)
    answer = json.loads(run("backtest", "data", "--out", "runs/c", "--buckets", "dense", "--json", cwd=work).stdout)
    [summary] = answer["summary"]
    assert answer["truth"] == "labels"
    assert summary["digest"] == "9d2bd171"
    assert summary["events"] > 0
    assert f"{summary['events_caught']:,} of {summary['events']:,}" in text
    lines = text.splitlines()
    below = {line[:24].strip(): after for line, after in itertools.pairwise(lines)}
    assert below["delay, median hours"].startswith("  95 %   ")
    assert below["recall"].startswith("  95 %   ")
    assert "if independent: as if each false alarm came by itself (exact Poisson)" in " ".join(text.split())
    assert [line for line in lines if len(line) > 80] == []


def test_labels_that_meet_no_issue_are_warned_of(tmp_path):
    """Ids of another project would otherwise make every alert look false without a word."""
    hours = [f"2026-01-{5 + at // 24:02}T{at % 24:02}:00:00Z" for at in range(400)]
    rows = "".join(f"1,7,{hour},{90 if at == 300 else 3}\n" for at, hour in enumerate(hours))
    (tmp_path / "counts.csv").write_text(f"project_id,group_id,hour,count\n{rows}")
    labels = [f"2,7,{hours[300]}", f"1,7,{hours[300]}", f"1,7,{hours[20]}"]
    (tmp_path / "labels.csv").write_text(
        "project_id,group_id,escalated_at,provenance\n" + "".join(f"{label},human\n" for label in labels)
    )
    run("import", "counts.csv", "labels.csv", "data", cwd=tmp_path)
    text = " ".join(run("backtest", "data", "--out", "run", cwd=tmp_path).stdout.split())
    assert (
        "warning: 2 of 3 escalations are not judged: 1 began outside the judged hours, 1 are of issues that have no "
        "counts (other project or group ids?)" in text
    )


def test_the_recorded_truth_is_warned_of_as_circular(work):
    text = run("backtest", "data", "--out", "runs/d", "--truth", "activities", cwd=work).stdout
    assert "circular" in text
    html = (run("report", "runs/d", "--out", "d.html", cwd=work), (work / "d.html").read_text())[1]
    assert "Circular truth" in html


def test_without_truth_there_is_only_burden(work):
    answer = json.loads(run("backtest", "data", "--out", "runs/e", "--truth", "none", "--json", cwd=work).stdout)
    [summary] = answer["summary"]
    assert summary["alerts"] is not None
    assert summary["precision"] is summary["recall"] is summary["false_alarms"] is None


def test_a_report_is_written(work):
    answer = json.loads(run("report", "runs/a", "--out", "reports/a.html", "--cases", 2, "--json", cwd=work).stdout)
    assert (work / answer["report"]).stat().st_size == answer["bytes"] > 10_000


def test_limits_are_shown_and_written(work):
    assert "limits made at" in run("forecast", "data", "--as-of", "2026-01-20", cwd=work).stdout
    for name in ("limits.parquet", "limits.csv"):
        run("forecast", "data", "--out", name, cwd=work)
    limits = pl.read_parquet(work / "limits.parquet")
    assert limits.height == pl.read_csv(work / "limits.csv").height > 0
    assert {"project_id", "group_id", "date", "limit", "rule", "as_of"} == set(limits.columns)
    run("forecast", "data", "--out", "limits.xlsx", cwd=work, code=2)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["backtest", "data", "--out", "x", "-t", "standart"], 2, "standard, looser, tighter"),
        (["backtest", "data", "--out", "x", "--every", "5h"], 2, "must divide a day"),
        (["backtest", "data", "--out", "runs/a"], 3, "exists already"),
        (["backtest", "data"], 2, "--out"),
        (["backtest", "nowhere", "--out", "x"], 3, "no dataset"),
        (["backtest", "data", "--out", "x", "--buckets", "both"], 2, "sparse"),
        (["report", "nowhere", "--out", "x.html"], 3, "no run"),
        (["import", "exports"], 2, "dataset folder"),
        (["import", "nowhere.csv", "x"], 3, "nowhere.csv"),
        (["import", "", "x"], 3, "empty path"),
        (["import", "exports", ""], 2, "dataset folder"),
        (["import", "exports", "x", "--columns", "detected_at"], 2, "OURS=THEIRS"),
        (["import", "exports", "x", "--format", "xml"], 2, "xml"),
        (["forecast", "data", "--as-of", "yesterday"], 2, "as-of"),
        (["forecast", "data", "--as-of", "2050-01-01"], 2, "the data are from 2026-01-05"),
        (["forecast", "data", "--as-of", "0001-01-01"], 2, "the data are from"),
        (["forecast", "data", "--days", "1000000000000"], 2, "days"),
        (["forecast", "data", "--out", "data/manifest.json/x.csv"], 3, "cannot be written"),
        (["backtest", "data", "--out", "data", "--overwrite"], 2, "cannot lie in its dataset"),
        (["backtest", "data", "--out", "data/run"], 2, "cannot lie in its dataset"),
        (["backtest", "data", "--out", ".", "--overwrite"], 2, "nor around it"),
        (["import", "exports", "x", "--columns", "level=a", "--columns", "level=b"], 2, "named twice"),
        (["simulate", "--groups", "0", "--out", "x"], 2, "groups"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_a_mistake_is_one_clear_message(work, arguments, code, message):
    done = run(*arguments, cwd=work, code=code)
    assert message in done.stderr
    assert not (work / "x").exists()


def test_hostile_names_reach_the_terminal_harmless(tmp_path):
    name = "\x1b[31mred\x1b[0m.csv"
    (tmp_path / name).write_text("what,is,this\n1,2,3\n")
    done = run("import", name, "data", cwd=tmp_path, code=3)
    assert "\x1b" not in done.stderr + done.stdout


def test_any_table_is_read_by_naming_its_columns(tmp_path):
    rows = [f"OOM | {n % 3},{(MONDAY + n * HOUR / 3).isoformat()}" for n in range(900)]
    (tmp_path / "app.csv").write_text("signature,ts\n" + "\n".join(rows) + "\nOOM | 0,yesterday\n")
    text = run(
        "import", "app.csv", "data/app", "--columns", "group_id=signature", "--columns", "detected_at=ts", cwd=tmp_path
    ).stdout  # fmt: skip
    assert "901" in text
    assert "yesterday" in json.dumps(pl.read_parquet(tmp_path / "data/app/rejects/*.parquet").to_dicts())
    answer = json.loads(run("backtest", "data/app", "--out", "run", "--json", cwd=tmp_path).stdout)
    assert answer["summary"][0]["groups"] == 3
    assert answer["truth"] == "none"


@pytest.mark.skipif(not REAL.exists(), reason="the real data are not beside this checkout")
@pytest.mark.parametrize(
    ("source", "title", "storm"),
    [
        ("apache_error_events", "group_key", (4001, "2005-11-03 16:00", 299, 46)),
        ("apache_error_events", "group_key", (4001, "2005-07-21 03:00", 520, 46)),
        ("linux_syslog_events", "group_key", (5001, "2005-11-21 02:00", 251, 64)),
    ],
)
def test_real_storms_fire_against_their_weekly_limits(tmp_path, source, title, storm):
    """Limits made weekly, Thursdays at 19:00 UTC: the hour in which the log of the largest group begins."""
    columns = ["--columns", "detected_at=timestamp", "--columns", f"title={title}"]
    run("import", REAL / f"{source}.parquet", "data", *columns, cwd=tmp_path)
    run("backtest", "data", "--every", "7d", "--offset", "19h", "--buckets", "dense", "--out", "run", cwd=tmp_path)
    group, hour, count, limit = storm
    crossings = pl.read_parquet(tmp_path / "run" / "9d2bd171" / "crossings.parquet")
    at = pl.col("hour") == pl.lit(hour).str.to_datetime("%Y-%m-%d %H:%M", time_zone="UTC")
    assert crossings.filter(at, group_id=group).select("count", "limit").row(0) == (count, limit)


def test_an_export_without_rows_is_no_mistake(tmp_path):
    (tmp_path / "empty.json").write_text('{"data": [], "meta": []}')
    assert "no rows" in run("import", "empty.json", "data", cwd=tmp_path).stdout


def test_a_reader_that_leaves_is_no_traceback(work):
    command = f"{COMMAND} import exports data | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=work, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_output_that_cannot_be_written_is_said(work):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([COMMAND, "backtest", "--help"], cwd=work, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_exposed_is_said(tmp_path):
    issue = {"id": "7", "project": {"id": "1"}, "activity": [
        {"id": "0", "type": "first_seen", "data": {}, "dateCreated": "2026-01-05T00:00:00Z"}]}  # fmt: skip
    (tmp_path / "issues.jsonl").write_text(json.dumps(issue))
    hours = [
        {"project_id": 1, "group_id": 7, "hourBucket": (MONDAY + n * HOUR).isoformat(), "count()": 3}
        for n in range(300)
    ]
    (tmp_path / "counts.jsonl").write_text("\n".join(map(json.dumps, hours)))
    run("import", "issues.jsonl", "counts.jsonl", "data", cwd=tmp_path)
    done = run("backtest", "data", "--truth", "activities", "--out", "run", cwd=tmp_path, code=3)
    assert "archived until escalating" in done.stderr
    assert not (tmp_path / "run").exists()
    # left to itself, the command takes it for what it is: no record at all
    answer = json.loads(run("backtest", "data", "--out", "run", "--json", cwd=tmp_path).stdout)
    assert answer["truth"] == "none"


def test_a_replay_tells_what_came_back(work):
    text = run("replay", "data", "-t", "standard", "-t", "tighter", cwd=work).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "an issue that came back is archived again when the record says so" in text
    assert "not simulated:" in text
    told = json.loads(run("replay", "data", "--json", "--out", "replayed", cwd=work).stdout)
    [summary], [record], [alerts] = told["summary"], told["record"], told["alerts"]
    # the record of the simulation is that of the algorithm itself
    assert record == {"both": summary["alerts"]}
    assert len(alerts) == summary["alerts"] > 3
    written = pl.read_parquet(work / "replayed" / summary["digest"] / "alerts.parquet")
    assert written.height == summary["alerts"]
    assert "exists already" in run("replay", "data", "--out", "replayed", cwd=work, code=3).stderr
    looser = json.loads(run("replay", "data", "--json", "--rearchive", "0h", "--every", "1w", cwd=work).stdout)
    assert looser["summary"][0]["alerts"] > summary["alerts"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--policy", "every-hour"), "no lifecycle to replay"),
        (("--policy", "soon"), "none of every-hour, production, production-2023"),
        (("--rearchive", "soon"), "nor 'record' or 'never'"),
        (("--every", "5h"), "must divide a day"),
    ],
)
def test_a_replay_of_nonsense_is_one_clear_message(work, arguments, message):
    assert message in run("replay", "data", *arguments, cwd=work, code=2).stderr


def test_a_replay_needs_to_know_what_was_archived(tmp_path):
    rows = [{"project_id": 1, "group_id": 7, "hour": (MONDAY + n * HOUR).isoformat(), "count": 1} for n in range(300)]
    pl.DataFrame(rows).write_csv(tmp_path / "counts.csv")
    run("import", "counts.csv", "data", cwd=tmp_path)
    assert "import activities" in run("replay", "data", cwd=tmp_path, code=3).stderr
    assert (
        "import activities"
        in run("backtest", "data", "--policy", "production", "--out", "r", cwd=tmp_path, code=3).stderr
    )


def test_a_backtest_can_judge_what_users_would_have_seen(work):
    told = json.loads(
        run(
            "backtest", "data", "--policy", "production", "--truth", "activities", "--out", "runs/p", "--json", cwd=work
        ).stdout
    )
    [summary] = told["summary"]
    recorded = json.loads(run("replay", "data", "--json", cwd=work).stdout)["record"][0]["both"]
    # every recorded escalation of the algorithm is an alert; others of the record are not its business
    assert summary["alerts"] == summary["events_caught"] == recorded
    text = run("report", "runs/p", "--out", "p.html", cwd=work).stdout
    assert "report: p.html" in text
    page = (work / "p.html").read_text()
    assert "on archive and every 1d" in page
    assert "The lifecycle is replayed (policy production)" in page
    assert "the fallback of 10 holds" in page
    assert "Not simulated: counts are not cached" in page
    assert "as if they were always fresh" not in page


def test_what_people_said_of_alerts_is_a_truth(work):
    run("issues", "import", "data", "--store", "said.db", cwd=work)
    assert (
        "nobody labelled an alert"
        in run(
            "backtest", "data", "--truth", "store", "--store", "said.db", "--out", "runs/none", cwd=work, code=2
        ).stderr
    )
    alerts = pl.read_parquet(next((work / "runs/a").glob("*/alerts.parquet"))).head(3)
    for number, alert in enumerate(alerts.iter_rows(named=True)):
        verdict = "noise" if number else "escalated"
        issue, hour = f"{alert['project_id']}:{alert['group_id']}", f"{alert['hour']:%Y-%m-%dT%H:%MZ}"
        run("issues", "label", issue, hour, verdict, "--store", "said.db", cwd=work)
    arguments = ("--truth", "store", "--store", "said.db", "--buckets", "dense", "--json")
    told = json.loads(run("backtest", "data", *arguments, "--out", "runs/said", cwd=work).stdout)
    [summary] = told["summary"]
    assert told["truth"] == "store"
    assert (summary["alerts"], summary["events"], summary["events_caught"], summary["false_alarms"]) == (3, 1, 1, 2)
    assert summary["series_weeks"] == pytest.approx(2 / 168)
    for wrong in (("--truth", "store"), ("--store", "said.db")):
        assert "go together" in run("backtest", "data", *wrong, "--out", "runs/x", cwd=work, code=2).stderr
    missing = run("backtest", "data", "--truth", "store", "--store", "no.db", "--out", "runs/x", cwd=work, code=3)
    assert "no.db" in missing.stderr
