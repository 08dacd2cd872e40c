import json
import os

import numpy as np
import pytest
from histories import random_counts, random_escalations
from polars.testing import assert_frame_equal

from issue_analytics.backtest import Matching, Policy, backtest, open_run, write_run
from issue_analytics.errors import DatasetError
from issue_analytics.thresholds import STANDARD, TIGHTER


@pytest.fixture(scope="module")
def results():
    rng = np.random.default_rng(3)
    counts = random_counts(rng, hours=500)
    escalations = random_escalations(rng, counts)
    how = {"policy": Policy(every="6h"), "buckets": "dense", "matching": Matching(lead_hours=2),
           "leave_out": counts.select("project_id", "group_id").head(1)}  # fmt: skip
    return [backtest(counts, escalations, thresholds=setting, **how) for setting in (STANDARD, TIGHTER)]


def test_a_run_reads_back_as_it_was(results, tmp_path):
    write_run(results, tmp_path / "run", dataset={"totals": {"occurrences": 3}})
    run = open_run(tmp_path / "run")
    assert run.manifest["dataset"] == {"totals": {"occurrences": 3}}
    for result, again in zip(results, run.results):
        for name in ("thresholds", "policy", "buckets", "matching", "labelled"):
            assert getattr(again, name) == getattr(result, name)
        for name in (
            "counts",
            "exposure",
            "escalations",
            "left_out",
            "limits",
            "crossings",
            "alerts",
            "matches",
            "groups",
        ):
            assert_frame_equal(getattr(again, name), getattr(result, name))
        assert_frame_equal(again.summary(), result.summary())
    assert run.manifest["settings"][0]["summary"]["digest"] == STANDARD.digest
    assert run.results[0].left_out.height == 1


def test_a_run_that_is_there_is_kept_unless_told_otherwise(results, tmp_path):
    write_run(results, tmp_path / "run")
    with pytest.raises(DatasetError, match="exists already"):
        write_run(results[:1], tmp_path / "run")
    assert len(open_run(tmp_path / "run").results) == 2
    write_run(results[:1], tmp_path / "run", overwrite=True)
    assert len(open_run(tmp_path / "run").results) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_is_no_run_is_never_overwritten(results, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    with pytest.raises(DatasetError, match="no run"):
        write_run(results, tmp_path / "precious", overwrite=True)
    assert (tmp_path / "precious" / "thesis.txt").exists()
    # a web application has a manifest too, and somebody may keep notes beside a run
    (tmp_path / "precious" / "manifest.json").write_text('{"name": "app"}')
    run = write_run(results, tmp_path / "run")
    (run / "notes.txt").write_text("worth keeping")
    for folder in (tmp_path / "precious", run):
        with pytest.raises(DatasetError, match="left alone"):
            write_run(results, folder, overwrite=True)
    assert (tmp_path / "precious" / "thesis.txt").exists()
    assert (run / "notes.txt").exists()


def test_a_failed_write_leaves_nothing(results, tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)  # at the manifest, which is written last
    with pytest.raises(DatasetError, match="No space left"):
        write_run(results, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_results_of_different_data_do_not_mix(results, tmp_path):
    other = backtest(random_counts(np.random.default_rng(4), hours=500), thresholds=TIGHTER)
    with pytest.raises(DatasetError, match="different counts"):
        write_run([results[0], other], tmp_path / "run")
    with pytest.raises(DatasetError, match="the same"):
        write_run([results[0], results[0]], tmp_path / "run")
    with pytest.raises(DatasetError, match="no results"):
        write_run([], tmp_path / "run")


def test_what_is_no_run_is_said_to_be_none(results, tmp_path):
    with pytest.raises(DatasetError, match=r"issue-analytics backtest"):
        open_run(tmp_path / "absent")
    (tmp_path / "manifest.json").write_text("{]")
    with pytest.raises(DatasetError, match="damaged"):
        open_run(tmp_path)
    run = write_run(results, tmp_path / "run")
    (run / STANDARD.digest / "alerts.parquet").unlink()
    with pytest.raises(DatasetError, match=r"alerts\.parquet"):
        open_run(run)
    newer = write_run(results, tmp_path / "newer")
    manifest = json.loads((newer / "manifest.json").read_text())
    (newer / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(DatasetError, match="newer version"):
        open_run(newer)


def test_a_run_of_an_older_version_says_so(results, tmp_path):
    run = write_run(results, tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "format": 1}))
    with pytest.raises(DatasetError, match="older version"):
        open_run(run)
