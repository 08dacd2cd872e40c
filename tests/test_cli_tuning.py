"""``issue-analytics sweep`` and ``recommend`` as a user meets them."""

import itertools
import json
import os
import shutil
import tomllib
from datetime import date, datetime

import numpy as np
import polars as pl
import pytest
from commands import Shell
from histories import COUNTS, ESCALATIONS, HOUR, MONDAY, random_counts, random_escalations
from polars.testing import assert_frame_equal
from rich.cells import cell_len

import issue_analytics as ia
from issue_analytics.scores import time_split
from issue_analytics.tuning import Objective, flat_variables, recommend, segment_thresholds
from issue_analytics.tuning.choosing import pareto_front

SHELL = Shell()
VARY = ("--vary", "min_bursty_multiplier=0.5,1,2", "--vary", "max_spike_multiplier=5:8:4")
GRID = ia.ThresholdVariables.grid(min_bursty_multiplier=[0.5, 1, 2], max_spike_multiplier=[5, 6, 7, 8])
QUICK = ("--resamples", 150, *VARY)


def run(*arguments, cwd, code=0):
    done = SHELL.run(arguments, cwd=cwd, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert max(map(cell_len, done.stdout.splitlines()), default=0) <= 80 or "--json" in arguments
    return done


def told(*arguments, cwd):
    return json.loads(run(*arguments, "--json", cwd=cwd).stdout)


def refused(*arguments, cwd, code=2):
    """What is said of a mistake: one line on standard error, and nothing else."""
    done = run(*arguments, cwd=cwd, code=code)
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def imported(folder, counts, labels=None):
    exports = folder / "exports"
    exports.mkdir()
    counts.write_csv(exports / "counts.csv")
    if labels is not None:
        labels.write_csv(exports / "labels.csv")
    ia.import_export(exports, folder / "data")
    return folder


@pytest.fixture(scope="module")
def history():
    rng = np.random.default_rng(8)
    counts = random_counts(rng, groups=60, hours=700)
    return counts, random_escalations(rng, counts, number=160)


@pytest.fixture(scope="module")
def work(tmp_path_factory, history):
    return imported(tmp_path_factory.mktemp("tuning"), *history)


@pytest.fixture
def place(work, tmp_path):
    """A folder of its own with the dataset: names given from there are short enough for a line."""
    (tmp_path / "data").symlink_to(work / "data")
    return tmp_path


@pytest.fixture(scope="module")
def bare(tmp_path_factory, history):
    """The same without labels."""
    return imported(tmp_path_factory.mktemp("bare"), history[0])


# ---- sweep ---- #


def test_what_is_written_is_the_sweep(place, history):
    expected = ia.prepare(*history, buckets="dense").sweep(GRID)
    text = run("sweep", "data", *VARY, "--buckets", "dense", "--out", "t.parquet", cwd=place).stdout
    assert_frame_equal(pl.read_parquet(place / "t.parquet"), expected)
    assert text.endswith("\n12 rows in t.parquet\n")
    run("sweep", "data", *VARY, "--buckets", "dense", "--out", "t.csv", "--json", cwd=place)
    assert_frame_equal(pl.read_csv(place / "t.csv", schema=expected.schema), expected)
    assert sorted(path.name for path in place.iterdir()) == ["data", "t.csv", "t.parquet"]


def test_it_equals_a_backtest_with_the_same_options(work):
    options = ("--buckets", "dense", "--every", "7d", "--offset", "48h", "--lead", 3, "--grace", 5, "--open", 12)
    options += ("--merge", 2, "--pairing", "any", "--silence", "recorded")
    found = told("sweep", "data", "--vary", "std_multiplier=5", *options, cwd=work)
    run("backtest", "data", "--out", "run", *options, "--overwrite", cwd=work)
    summary = ia.open_run(work / "run").results[0].summary().row(0, named=True)
    for name in ("alerts", "duplicates", "unjudged", "events", "events_caught", "false_alarms", "median_delay_hours"):
        assert found["default"][name] == summary[name]
    assert found["default"]["series_weeks"] == pytest.approx(summary["series_weeks"])
    assert (found["matching"], found["silence"]) == (str(ia.open_run(work / "run").results[0].matching), "recorded")
    assert found["settings"] == 1
    asked = ia.Matching(lead_hours=3, grace_hours=5, open_hours=12, merge_hours=2, pairing="any")
    assert found["matching"] == str(asked) != str(ia.Matching())


def test_its_json_is_the_front_and_what_matters(work, history):
    prepared = ia.prepare(*history, buckets="dense")
    table = prepared.sweep(GRID)
    found = told("sweep", "data", *VARY, "--buckets", "dense", cwd=work)
    outcomes = [(row["false_alarms"], row["events_caught"], row["settings"]) for row in found["front"]]
    assert outcomes == pareto_front(table).select("false_alarms", "events_caught", "settings").rows()
    assert found["binding"] == prepared.binding().cast({"term": pl.String}).to_dicts()
    assert found["flat"] == flat_variables(table).to_dicts()
    assert found["default"]["digest"] == ia.STANDARD.digest
    assert (found["truth"], found["groups"]) == ("labels", prepared.groups.height)
    prices = [
        (row["cost_ratio_from"], row["cost_ratio_to"]) for row in found["front"] if row["cost_ratio_from"] is not None
    ]
    assert prices[0][0] == 0
    assert prices[-1][1] is None  # without end
    assert all(before[1] == after[0] for before, after in itertools.pairwise(prices))


def test_of_equals_the_nearest_to_the_default_is_told(work):
    for row in told("sweep", "data", *VARY, "--buckets", "dense", cwd=work)["front"]:
        if row["settings"] > 1:
            assert row["max_spike_multiplier"] == 8
            break
    else:
        pytest.fail("no settings do the same")


def test_it_says_what_limits_hang_on_and_what_is_flat(work):
    text = " ".join(run("sweep", "data", *VARY, cwd=work).stdout.split())
    assert "what limits hang on under the default, of " in text
    assert "no variable (the rule for new issues)" in text
    found = told("sweep", "data", *VARY, cwd=work)
    for row in found["flat"]:
        assert row["flat"] is not None
        part = text.split("flat: ")[1 if row["flat"] else -1]
        assert row["variable"] in part
    shares = {row["term"]: row["share"] for row in found["binding"]}
    assert sum(shares.values()) == pytest.approx(1)
    assert set(found["default"]) >= {"recall", "alerts"}


def test_a_flat_variable_is_announced(work):
    text = " ".join(run("sweep", "data", "--vary", "max_bursty_multiplier=6,7,8", cwd=work).stdout.split())
    assert "flat: max_bursty_multiplier: no value tried changes any outcome, whatever the others are" in text
    assert "3 settings, 1 different outcome d" not in text
    assert "not flat" not in text


def test_the_default_is_what_one_has(work):
    (work / "own.toml").write_text("std_multiplier = 4\nmax_spike_multiplier = 6\n")
    found = told("sweep", "data", *VARY, "--default", "own.toml", cwd=work)
    assert (found["default"]["std_multiplier"], found["default"]["max_spike_multiplier"]) == (4, 6)
    text = run("sweep", "data", *VARY, "--default", "own.toml", cwd=work).stdout
    assert f"default: {ia.load_thresholds(work / 'own.toml').digest}, ThresholdVariables(4, 5, 6, 2, 5)" in text


def test_samples_are_drawn_by_their_seed(place):
    arguments = ("--sample", 40, "--range", "std_multiplier=1:9", "--range", "min_bursty_multiplier=1:3")
    frames = []
    for more in ((), ("--seed", 3), ("--seed", 3, "--method", "random"), ("--seed", 3)):
        run("sweep", "data", *arguments, *more, "--out", "t.parquet", cwd=place)
        frames.append(pl.read_parquet(place / "t.parquet").select("std_multiplier", "min_bursty_multiplier"))
    assert frames[1].equals(frames[3])
    assert not frames[0].equals(frames[1])
    assert not frames[1].equals(frames[2])
    expected = ia.ThresholdVariables.sample(40, seed=3, std_multiplier=(1, 9), min_bursty_multiplier=(1, 3))
    assert frames[1].equals(expected.select(frames[1].columns))
    text = " ".join(run("sweep", "data", *arguments, cwd=place).stdout.split())
    assert "flat or not cannot be told where no two settings differ in one alone: std_multiplier" in text


def test_steps_are_the_numbers_that_were_meant(place):
    run("sweep", "data", "--vary", "min_bursty_multiplier=1.1:1.7:7", "--out", "t.parquet", cwd=place)
    values = pl.read_parquet(place / "t.parquet")["min_bursty_multiplier"].to_list()
    assert values == [1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]


def test_that_labels_of_alerts_say_nothing_of_what_nobody_was_alerted_to_is_said(place, history):
    counts, labels = history
    run("issues", "import", "data", "--store", "own.db", cwd=place)
    store = ia.open_store(place / "own.db")
    for alert in ia.backtest(counts, labels, buckets="dense").alerts.head(30).iter_rows(named=True):
        said = "escalated" if alert["verdict"] == "caught" else "noise"
        store.label(alert["project_id"], alert["group_id"], alert["hour"], said)
    arguments = ("--truth", "store", "--store", "own.db", "--buckets", "dense")
    text = " ".join(run("sweep", "data", *VARY, *arguments, cwd=place).stdout.split())
    assert "note: only hours of labelled alerts are judged" in text
    assert "labelled alerts are judged" not in run("sweep", "data", *VARY, cwd=place).stdout


def test_without_labels_only_burden_is_told(bare):
    text = run("sweep", "data", *VARY, "--buckets", "dense", cwd=bare).stdout
    assert "truth: none" in text
    assert "caught" not in text
    assert "Whether alerts are right cannot be told" in " ".join(text.split())
    found = told("sweep", "data", *VARY, "--buckets", "dense", cwd=bare)
    alerts = [row["alerts"] for row in found["front"]]
    assert alerts == sorted(set(alerts))
    assert sum(row["settings"] for row in found["front"]) == 12
    assert found["default"]["recall"] is None


def test_labels_that_meet_no_issue_and_circular_ones_are_warned_of(tmp_path, history):
    counts, labels = history
    own = labels.with_columns(provenance=pl.lit("algorithm"))
    strangers = own.with_columns(group_id=pl.col("group_id") + 900).head(3)
    imported(tmp_path, counts, pl.concat([own, strangers]))
    for command in (("sweep", *VARY), ("recommend", "--cost-ratio", 5, *QUICK)):
        text = " ".join(run(command[0], "data", *command[1:], cwd=tmp_path).stdout.split())
        assert "the truth is the algorithm's own flag" in text
        assert "3 are of issues that have no counts" in text


def test_wide_numbers_still_fit(tmp_path):
    group = 2**62 + 7
    hours = {at: 4_000_000_000 + at for at in range(200, 400, 7)}
    rows = [(2**61, group, MONDAY + at * HOUR, hours.get(at, 500_000_000 + 997 * (at % 13))) for at in range(500)]
    labels = [(2**61, group, MONDAY + at * HOUR, None, "human") for at in range(201, 480, 30)]
    imported(tmp_path, pl.DataFrame(rows, COUNTS, orient="row"), pl.DataFrame(labels, ESCALATIONS, orient="row"))
    values = "min_bursty_multiplier=0.123456789012"
    text = run("sweep", "data", "--vary", values, cwd=tmp_path).stdout
    assert "0.123" in text


# ---- recommend ---- #


def test_a_recommendation_is_that_of_the_library(work, history):
    found = told("recommend", "data", "--cost-ratio", 8, "--buckets", "dense", "--seed", 4, *QUICK, cwd=work)
    expected = recommend(*history, GRID, objective=Objective(cost_ratio=8), buckets="dense", seed=4, resamples=150)
    assert found["thresholds"] == expected.thresholds.to_dict()
    assert (found["better"], found["p"], found["events"]) == (expected.better, expected.p, expected.corrected.events)
    for name in ("table", "differences", "alternatives", "stability", "variables"):
        assert found[name] == getattr(expected, name).to_dicts()
    assert found["why"] == list(expected.why)
    text = run("recommend", "data", "--cost-ratio", 8, "--buckets", "dense", "--seed", 4, *QUICK, cwd=work).stdout
    flat = " ".join(text.split())
    for sentence in expected.why[1:]:
        assert sentence in flat
    row = expected.table.row(by_predicate=(pl.col("setting") == "default") & (pl.col("score") == "recall"), named=True)
    [line] = [line for line in text.splitlines() if line.startswith("recall ")]
    assert line.split()[1:] == ["default", *(f"{row[kind]:.1%}" for kind in ("apparent", "corrected", "held_out"))]
    assert f"recommended: {expected.thresholds}, digest {expected.thresholds.digest}" in text
    assert "cost/week" in text


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (("--budget", 0.5), Objective(alerts_per_series_week=0.5)),
        (("--budget", 3, "--per", "project-day"), Objective(alerts_per_project_day=3)),
        (("--min-recall", 0.2), Objective(min_recall=0.2)),
        (("--cost-ratio", 2), Objective(cost_ratio=2)),
    ],
)
def test_every_objective_can_be_asked(work, arguments, asked):
    text = run("recommend", "data", *arguments, *QUICK, "--held-out", 0, "--cluster", "group", cwd=work).stdout
    assert f"asked: {asked}" in " ".join(text.split())
    assert "nothing was held out" in " ".join(text.split())
    bounded = {"alerts_per_series_week": "alerts/week", "alerts_per_project_day": "alerts/project-day"}
    assert bounded.get(asked.name, "recall") in text


def test_the_reach_of_errors_can_be_asked(work):
    options = ("recommend", "data", "--cost-ratio", 8, "--buckets", "dense", *QUICK)
    near, far = (told(*options, "--errors", errors, cwd=work) for errors in (0, 100))
    assert near["thresholds"] == near["best"]
    assert far["thresholds"] == far["default"] != near["thresholds"]


def test_an_interval_that_is_not_defined_is_left_away(tmp_path):
    """Without a false alarm all draws are alike: nothing is told of how sure the corrected score is."""
    rows, labels = [], []
    for group in range(24):
        counts = np.full(700, 10)
        counts[300 + group] = 200
        labels.append((1, group, MONDAY + (300 + group) * HOUR, MONDAY + (301 + group) * HOUR, "human"))
        rows += [(1, group, MONDAY + hour * HOUR, int(count)) for hour, count in enumerate(counts)]
    imported(tmp_path, pl.DataFrame(rows, COUNTS, orient="row"), pl.DataFrame(labels, ESCALATIONS, orient="row"))
    arguments = ("--vary", "min_bursty_multiplier=1,2", "--held-out", 0, "--resamples", 100)
    text = run("recommend", "data", "--cost-ratio", 2, *arguments, cwd=tmp_path).stdout
    assert "100.0%" in text
    assert "n/a" not in text


def test_the_file_says_where_its_numbers_came_from(place):
    out = place / "deep" / "acme.toml"
    arguments = ("recommend", "data", "--cost-ratio", 8, "--buckets", "dense", *QUICK, "--out", "deep/acme.toml")
    text = run(*arguments, "--date", "2026-08-03", cwd=place).stdout
    found = told("recommend", "data", "--cost-ratio", 8, "--buckets", "dense", *QUICK, cwd=place)
    made = ia.read_threshold_set(out)
    assert made.thresholds.to_dict() == found["thresholds"]
    assert made.checked
    assert made.by is None
    assert text.endswith("\nthresholds: deep/acme.toml\n")
    provenance = dict(made.provenance)
    assert provenance["date"] == date(2026, 8, 3)
    assert provenance["objective"].startswith("a missed escalation costs 8 false alarms")
    assert provenance["data"] == "data"
    assert provenance["errors"] == 1
    assert provenance["events"] == found["events"]
    assert provenance["settings_tried"] == 12
    rows = {(row["setting"], row["score"]): row for row in found["table"]}
    assert provenance["recall_corrected"] == pytest.approx(rows["recommended", "recall"]["corrected"], rel=1e-3)
    # again, nothing is changed; another date is another file
    before = out.read_bytes()
    run(*arguments, "--date", "2026-08-03", cwd=place)
    assert out.read_bytes() == before
    # what was found is shown all the same
    done = run(*arguments, "--date", "2026-08-04", cwd=place, code=2)
    assert "recommended:" in done.stdout
    assert "exists already" in done.stderr
    assert "add --overwrite" in done.stderr
    assert out.read_bytes() == before
    run(*arguments, "--date", "2026-08-04", "--overwrite", cwd=place)
    assert ia.read_threshold_set(out).provenance["date"] == date(2026, 8, 4)
    # no clock: without a date there is none
    run(*arguments, "--overwrite", cwd=place)
    assert "date" not in ia.read_threshold_set(out).provenance
    assert sorted(path.name for path in out.parent.iterdir()) == ["acme.toml"]


def test_the_digest_of_the_data_is_of_their_content(work, history, tmp_path):
    digests = []
    for name, counts in (("a", history[0]), ("b", history[0]), ("c", history[0].head(-1))):
        (tmp_path / name).mkdir()
        imported(tmp_path / name, counts, history[1])
        found = told("recommend", "data", "--cost-ratio", 8, *QUICK, cwd=tmp_path / name)
        digests.append(found["provenance"]["data_digest"])
    assert digests[0] == digests[1] != digests[2]


def test_segments_are_chosen_on_the_part_of_time_that_chooses(work, history):
    arguments = ("--cost-ratio", 8, "--buckets", "dense", *QUICK, "--min-events", 10)
    found = told("recommend", "data", *arguments, "--by", "project_id", cwd=work)
    cut = found["cut"]
    assert cut is not None
    counts, labels = history
    whole = ia.prepare(counts, labels, buckets="dense")
    part = time_split(whole.counts, whole.escalations, whole.exposure, at=datetime.fromisoformat(cut)).train
    early = ia.prepare(part.counts, part.escalations, exposure=part.exposure, buckets="dense")
    expected = segment_thresholds(
        early.tallies(GRID), GRID, Objective(cost_ratio=8), early.groups, "project_id", resamples=150, min_events=10
    )
    assert found["segments"]["why"] == expected.why
    assert found["segments"]["segments"] == expected.segments.to_dicts()
    assert found["segments"]["common"] == expected.common.to_dict()
    text = run("recommend", "data", *arguments, "--by", "project_id", cwd=work).stdout
    assert f"by project_id: it {'pays' if expected.pays else 'does not pay'}" in text


def test_segments_that_pay_are_in_the_file(tmp_path):
    """What escalates in one project is noise in the other, where only what is three times as high is real."""
    rows, labels = [], []
    for group in range(84):
        project = 1 + group % 2
        counts = np.full(700, 10)
        counts[::50] = 20
        if group >= 80:
            counts[210] = 29  # noise that a limit of 28 is under, and one of 30 is not
        for nth in range(3 if group < 80 else 0):  # more than a week apart, so that none is in the other's history
            at = 180 + 190 * nth + group // 8
            real = project == 1 or (group // 2 + nth) % 2 == 0
            counts[at] = 33 if project == 1 or not real else 100
            if real:
                labels.append((project, group, MONDAY + at * HOUR, MONDAY + (at + 1) * HOUR, "human"))
        rows += [(project, group, MONDAY + hour * HOUR, int(count)) for hour, count in enumerate(counts)]
    imported(tmp_path, pl.DataFrame(rows, COUNTS, orient="row"), pl.DataFrame(labels, ESCALATIONS, orient="row"))
    # the default is as good as the best but for chance, and so it is recommended; the best is what segments are held to
    (tmp_path / "now.toml").write_text(
        "min_spike_multiplier = 1\nmin_bursty_multiplier = 1\nmax_bursty_multiplier = 1.4\n"
    )
    vary = ("--vary", "min_bursty_multiplier=1,2", "--vary", "max_bursty_multiplier=1.4,1.5,2.5,5")
    vary += ("--vary", "min_spike_multiplier=1,5", "--default", "now.toml")
    arguments = ("--cost-ratio", 2, *vary, "--resamples", 150, "--by", "project_id", "--out", "own.toml")
    text = run("recommend", "data", *arguments, cwd=tmp_path).stdout
    made = ia.read_threshold_set(tmp_path / "own.toml")
    found = told("recommend", "data", *arguments, cwd=tmp_path)
    assert found["segments"]["pays"], found["segments"]["why"]
    assert "by project_id: it pays" in text
    assert made.by == "project_id"
    common = ia.ThresholdVariables.from_dict(found["segments"]["common"])
    rows = {int(row["project_id"]): row["digest"] for row in found["segments"]["segments"]}
    assert made.thresholds == common != ia.ThresholdVariables.from_dict(found["thresholds"])
    assert {value: made.of(value).digest for value in rows} == rows
    assert set(made.segments) == {value for value, digest in rows.items() if digest != common.digest} != set()
    # what is said of scores is said of what is written
    scores = {row["score"]: row for row in found["segments"]["scores"] if row["setting"] == "segments"}
    assert made.provenance["segments_pay"] is True
    assert made.provenance["recall_corrected"] == pytest.approx(scores["recall"]["corrected"], rel=1e-3)
    assert "recall_held_out" not in made.provenance
    assert f"one for all: the best of the search, {common}" in text
    assert not {"held_out_events", "better_than_default", "p"} & set(made.provenance)
    assert text.endswith(
        "thresholds: own.toml\n  they are the one for all and those by project_id, not the recommended one\n"
    )
    # no command judges a part of a set as if it were the whole
    for command in (
        ("sweep", "data", "--default", "own.toml"),
        ("recommend", "data", "--cost-ratio", 2, "--default", "own.toml"),
        ("backtest", "data", "--thresholds", "own.toml", "--out", "runs/own"),
        ("explain", "data", "--group", 1, "--at", "2026-01-20T09:00", "--thresholds", "own.toml"),
        ("forecast", "data", "--thresholds", "own.toml"),
    ):
        assert "own.toml: has thresholds of their own by project_id" in refused(*command, cwd=tmp_path)
    run("thresholds", "export", "own.toml", "--segment", "common", "--out", "common.json", cwd=tmp_path)
    run("forecast", "data", "--thresholds", "common.json", cwd=tmp_path)


def test_hostile_names_are_only_names(work, tmp_path):
    name = "d\x1b[31m\u202e\n[bold]x"
    shutil.copytree(work / "data", tmp_path / name)
    for command in (("sweep", name, *VARY), ("recommend", name, "--cost-ratio", 5, *QUICK, "--out", "own.toml")):
        text = run(*command, cwd=tmp_path).stdout
        assert not {character for character in text if character != "\n" and not character.isprintable()}
    assert tomllib.loads((tmp_path / "own.toml").read_text())["provenance"]["data"] == name
    assert "\x1b" not in (tmp_path / "own.toml").read_text()


# ---- mistakes ---- #


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vary", "std=3"], "no variable 'std'. There are: std_multiplier,"),
        (["--vary", "std_multiplier"], "--vary std_multiplier: expected NAME=…"),
        (["--vary", "std_multiplier=3:a:4"], "'a' is no number"),
        (["--vary", "std_multiplier=3,"], "'' is no number"),
        (["--vary", "std_multiplier=3:4:1"], "expected FROM:TO:NUMBER"),
        (["--vary", "std_multiplier=3:4"], "expected FROM:TO:NUMBER"),
        (["--vary", "std_multiplier=3:4:²"], "expected FROM:TO:NUMBER"),
        (["--vary", "std_multiplier=3:4:99999999"], "at most 2,000,000 settings"),
        (["--vary", "std_multiplier=nan"], "not a finite number"),
        (["--vary", "std_multiplier=-1"], "negative"),
        (["--vary", "std_multiplier=1001"], "more than 1,000"),
        (["--vary", "min_spike_multiplier=9"], "there is no setting"),
        (["--vary", "std_multiplier=3", "--vary", "std_multiplier=4"], "given twice"),
        (["--vary", "std_multiplier=1:9:9999", "--vary", "min_spike_multiplier=1:5:9999"], "99,980,001 combinations"),
        (["--sample", "9"], "--sample draws from ranges"),
        (["--sample", "9", "--range", "std_multiplier=1:2", "--vary", "std_multiplier=1"], "no --vary"),
        (["--sample", "9", "--range", "std_multiplier=2:1"], "expected a range"),
        (["--sample", "9", "--range", "std_multiplier=2"], "expected FROM:TO"),
        (["--sample", "9", "--range", "std_multiplier=2:x"], "'x' is no number"),
        (["--sample", "3000000", "--range", "std_multiplier=1:2"], "at most 2,000,000"),
        (["--range", "std_multiplier=1:2"], "--range goes with --sample"),
        (["--every", "5h"], "must divide a day"),
        (["--default", "absent"], "no such set of thresholds"),
    ],
)
def test_a_mistake_is_one_line(work, arguments, message):
    assert message in refused("sweep", "data", *arguments, cwd=work)
    assert message in refused("recommend", "data", "--cost-ratio", 3, *arguments, cwd=work)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of --budget 0.1, --min-recall 0.8 and --cost-ratio 10; got none."),
        (["--budget", "1", "--cost-ratio", "2"], "got --budget and --cost-ratio."),
        (["--budget", "0"], "--budget: expected a number above 0"),
        (["--min-recall", "80"], "--min-recall: expected a share above 0, at most 1, got 80.0."),
        (["--cost-ratio", "nan"], "--cost-ratio: expected a number above 0"),
        (["--cost-ratio", "1e308"], "--cost-ratio: expected a number above 0, at most 1e9, got 1e+308."),
        (["--budget", "1", "--out", "x.json"], "let the name end in .toml"),
        (["--budget", "1", "--min-events", "5000"], "at least 5000 are needed (--min-events)"),
        (["--budget", "1", "--cluster", "project"], "draw groups (--cluster group)"),
        (["--budget", "1", "--truth", "none"], "nothing is known of what escalated"),
    ],
)
def test_a_mistake_about_what_is_asked_is_one_line(work, arguments, message):
    line = refused("recommend", "data", *VARY, *arguments, cwd=work)
    assert message in line
    assert "min_events" not in line
    assert "held_out" not in line


def test_data_that_cannot_be_used_are_refused(work, bare, tmp_path):
    for command in (("sweep",), ("recommend", "--budget", 1)):
        assert "no dataset" in refused(*command, "nowhere", cwd=work, code=3)
    assert "nothing is known of what escalated" in refused("recommend", "data", "--budget", 1, cwd=bare, code=3)
    assert "name a .parquet or .csv file" in refused("sweep", "data", "--out", "x.txt", cwd=work)
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(
        "sweep", "data", *VARY, "--out", tmp_path / "file" / "t.csv", cwd=work, code=3
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    short = random_counts(np.random.default_rng(1), hours=100)
    imported(tmp_path, short)
    line = refused("sweep", "data", *VARY, cwd=tmp_path, code=3)
    assert "168" in line


def test_their_help_says_what_they_take(work):
    text = run("sweep", "--help", cwd=work).stdout
    for option in ("--vary", "--sample", "--range", "--default", "--buckets", "--every", "--truth", "--out", "--json"):
        assert f"  {option} " in text
    text = run("recommend", "--help", cwd=work).stdout
    for option in ("--budget", "--per", "--min-recall", "--cost-ratio", "--by", "--held-out", "--date", "--out"):
        assert f"  {option} " in text
    assert "refuses (exit code 2)" in " ".join(text.split())
