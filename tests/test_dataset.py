"""The dataset: idempotent, incremental, resumable, whole or absent."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from issue_analytics.dataset import import_export, open_dataset
from issue_analytics.errors import DatasetError, ExportError
from issue_analytics.exports import files, read_hourly_counts, read_occurrences, read_status_changes, reading
from issue_analytics.frames import check

FRAMES = {
    "occurrences": "Occurrences",
    "hourly_counts": "HourlyCounts",
    "status_changes": "StatusChanges",
    "escalations": "Escalations",
    "rejects": "Rejects",
}


def occurrence(number, **changes):
    record = {"id": f"o{number}", "project_id": 1, "fingerprint": [f"f{number % 3}"], "issue_title": f"t{number}",
              "detection_time": 1767603600 + 600 * number}  # fmt: skip
    return {**record, **changes}


def snuba(group, hour, count):
    return {"project_id": 1, "group_id": group, "hourBucket": f"2026-01-05T{hour:02}:00:00+00:00", "count()": count}


def lines(*records):
    return "\n".join(record if isinstance(record, str) else json.dumps(record) for record in records).encode()


@pytest.fixture
def exports(tmp_path):
    folder = tmp_path / "exports"
    (folder / "deep").mkdir(parents=True)
    activity = {"id": "1", "type": "set_ignored", "data": {"ignoreUntilEscalating": True},
                "dateCreated": "2026-01-05T12:00:00Z"}  # fmt: skip
    change = {"payload_type": "status_change", "fingerprint": ["f1"], "project_id": 1, "new_status": 0,
              "new_substatus": 2, "update_date": "2026-01-05T13:00:00Z"}  # fmt: skip
    (folder / "a.jsonl").write_bytes(lines(*map(occurrence, range(6)), change, "{broken"))
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(lines(*map(occurrence, range(4, 9)))))
    (folder / "deep" / "c.json").write_bytes(
        json.dumps({"data": [snuba(7, 9, 3), snuba(7, 10, 0)], "meta": []}).encode()
    )
    (folder / "d.json").write_bytes(json.dumps({"id": "7", "project": {"id": "1"}, "activity": [activity]}).encode())
    (folder / "e.csv").write_text("group_id,escalated_at\n7,2026-01-05T09:00:00Z\n")
    (folder / "f.jsonl.gz").write_bytes(gzip.compress(lines(*map(occurrence, range(50, 60))))[:-9])
    (folder / "README.md").write_text("# What these are\n")
    return folder


def frames(dataset):
    return {kind: getattr(dataset, kind).collect() for kind in FRAMES}


def same(one, other):
    for kind, frame in frames(one).items():
        assert_frame_equal(frame, getattr(other, kind).collect(), check_row_order=kind != "hourly_counts")


def test_a_folder_of_everything(exports, tmp_path):
    dataset = import_export(exports, tmp_path / "data", progress=False)
    for kind, frame in frames(dataset).items():
        check(frame, FRAMES[kind])
    assert dataset.manifest["totals"] == {
        "occurrences": {"read": 13, "accepted": 9, "rejected": 2, "duplicates": 2},
        "hourly_counts": {"read": 2, "accepted": 2, "rejected": 0, "duplicates": 0},
        "status_changes": {"read": 2, "accepted": 2, "rejected": 0, "duplicates": 0},
        "escalations": {"read": 1, "accepted": 1, "rejected": 0, "duplicates": 0},
    }
    assert dataset.manifest["span"] == {"first_hour": "2026-01-05T09:00:00Z", "last_hour": "2026-01-05T10:00:00Z"}
    assert [Path(skip["path"]).name for skip in dataset.manifest["skipped"]] == ["README.md"]
    assert sum(dataset.manifest["rejects"].values()) == dataset.rejects.collect().height == 2
    assert Counter(text.split(":")[0] for _, text in dataset.outcomes) == {"imported": 5, "skipped": 1, "rejected": 1}
    assert "13 read, 9 accepted, 2 rejected, 2 duplicates" in repr(dataset)
    same(open_dataset(tmp_path / "data"), dataset)


def test_exported_counts_and_counted_occurrences_are_never_added_up(exports, tmp_path):
    group = read_occurrences(exports / "a.jsonl")[0]["group_id"][0]
    (exports / "g.jsonl").write_bytes(lines(snuba(group, 9, 1000)))
    counts = import_export(exports, tmp_path / "data", progress=False).hourly_counts.collect()
    assert counts.filter(pl.col("group_id") == group)["count"].to_list() == [1000]
    assert counts.filter(pl.col("group_id") == 7)["count"].sort().to_list() == [0, 3]
    assert counts["count"].sum() == 1000 + 3 + 6


def test_titles_are_the_last_ones(tmp_path):
    (tmp_path / "o.jsonl").write_bytes(
        lines(occurrence(3), occurrence(0), occurrence(1), occurrence(4, issue_title=None))
    )
    titles = import_export(tmp_path / "o.jsonl", tmp_path / "data", progress=False).titles.collect()
    assert sorted(titles["title"].to_list(), key=str) == [None, "t3"]


def test_the_same_content_again_changes_nothing(exports, tmp_path):
    first = import_export(exports, tmp_path / "data", progress=False)
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    os.rename(exports / "a.jsonl", exports / "z.jsonl")  # noqa: PTH104
    again = import_export(exports, tmp_path / "data", progress=False)
    assert {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()} == before
    assert again == first
    assert {text for path, text in again.outcomes if not path.endswith("README.md")} == {"already imported"}


def test_one_file_at_a_time_is_all_at_once(exports, tmp_path):
    whole = import_export(exports, tmp_path / "whole", progress=False)
    for path in sorted((path for path in exports.rglob("*") if path.is_file()), key=lambda path: path.parts):
        if path.name not in ("README.md", "f.jsonl.gz"):
            import_export(path, tmp_path / "parts", progress=False)
    same(import_export(exports, tmp_path / "parts", progress=False), whole)


def test_reading_and_importing_agree(exports, tmp_path):
    dataset = import_export(exports, tmp_path / "data", progress=False)
    for kind, reader in {"occurrences": read_occurrences, "status_changes": read_status_changes}.items():
        assert_frame_equal(getattr(dataset, kind).collect(), reader(exports)[0])
    # the truncated file is one reject of every read
    assert dataset.rejects.collect().height == read_occurrences(exports)[1].height


def test_counts_that_contradict_an_earlier_import_are_rejected(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines(snuba(1, 9, 3), snuba(1, 10, 4)))
    (tmp_path / "b.jsonl").write_bytes(lines(snuba(1, 9, 3), snuba(1, 10, 5), snuba(1, 11, 6)))
    dataset = import_export(tmp_path / "a.jsonl", tmp_path / "data", progress=False)
    dataset = import_export(tmp_path / "b.jsonl", tmp_path / "data", progress=False)
    assert dataset.hourly_counts.sort("hour").collect()["count"].to_list() == [3, 4, 6]
    assert dataset.rejects.collect()["reasons"].to_list() == [
        [f'contradicts "4" of "{tmp_path / "a.jsonl"}", which was imported earlier; that one stays']
    ]
    assert dataset.manifest["totals"]["hourly_counts"] == {"read": 5, "accepted": 3, "rejected": 1, "duplicates": 1}


def test_a_file_that_fails_half_way_leaves_no_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CHUNK", 4096)
    monkeypatch.setattr(reading, "pieces", small_pieces)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.jsonl.gz").write_bytes(gzip.compress(lines(*map(occurrence, range(5000))), 0)[:-9])
    (tmp_path / "x" / "b.jsonl").write_bytes(lines(*map(occurrence, range(5000))))
    dataset = import_export(tmp_path / "x", tmp_path / "data", progress=False)
    assert dataset.occurrences.collect().height == 5000  # and not taken for duplicates of rows thrown away
    assert dataset.rejects.collect().height == 1
    assert not list((tmp_path / "data" / "occurrences").glob(f"{dataset.manifest['sources'][0]['hash']}*"))


def small_pieces(stream):
    from issue_analytics.exports.lines import pieces

    return pieces(stream, block=10_000)


@pytest.mark.parametrize(
    "content", [b"", b'{"name": 1}', gzip.compress(lines(snuba(1, 9, 3)) * 9)[:-9]], ids=["empty", "unknown", "cut"]
)
def test_a_single_bad_file_leaves_no_dataset(tmp_path, content):
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(ExportError, match=r"x\.jsonl"):
        import_export(tmp_path / "x.jsonl", tmp_path / "data", progress=False)
    assert not (tmp_path / "data").exists()
    (tmp_path / "o.jsonl").write_bytes(lines(occurrence(1)))
    import_export(tmp_path / "o.jsonl", tmp_path / "data", progress=False)
    before = sorted((tmp_path / "data").rglob("*.parquet"))
    with pytest.raises(ExportError, match=r"x\.jsonl"):
        import_export(tmp_path / "x.jsonl", tmp_path / "data", progress=False)
    assert sorted((tmp_path / "data").rglob("*.parquet")) == before


def test_what_is_no_dataset(tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="a folder without a manifest"):
        open_dataset(tmp_path)
    (tmp_path / "o.jsonl").write_bytes(lines(occurrence(1)))
    with pytest.raises(DatasetError, match=r"holds other files \(o\.jsonl\)"):
        import_export(tmp_path / "o.jsonl", tmp_path, progress=False)
    with pytest.raises(DatasetError, match="holds other files"):
        import_export(tmp_path / "o.jsonl", tmp_path / "o.jsonl", progress=False)
    data = tmp_path / "data"
    import_export(tmp_path / "o.jsonl", data, progress=False)
    manifest = json.loads((data / "manifest.json").read_text())
    for text, message in {
        json.dumps({**manifest, "format": 99}): "newer version",
        json.dumps([]): "not the manifest",
        "{": "it is no JSON",
    }.items():
        (data / "manifest.json").write_text(text)
        with pytest.raises(DatasetError, match=message):
            open_dataset(data)
        with pytest.raises(DatasetError, match=message):
            import_export(tmp_path / "o.jsonl", data, progress=False)
    (data / "manifest.json").write_text(json.dumps(manifest))
    next((data / "occurrences").iterdir()).unlink()
    with pytest.raises(DatasetError, match="1 parts are missing"):
        open_dataset(data)


def test_the_same_content_under_other_columns_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("gid,other,ts\n1,2,2026-01-05T09:00:00Z\n")
    columns = {"group_id": "gid", "detected_at": "ts"}
    import_export(tmp_path / "a.csv", tmp_path / "data", columns=columns, progress=False)
    with pytest.raises(DatasetError, match="with other columns"):
        import_export(tmp_path / "a.csv", tmp_path / "data", columns={**columns, "group_id": "other"}, progress=False)


def test_an_unreadable_file_comes_in_once_it_is_there(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(lines(occurrence(1)))
    (folder / "b.jsonl").symlink_to(tmp_path / "late.jsonl")
    for _ in range(2):
        dataset = import_export(folder, tmp_path / "data", progress=False)
        assert dataset.rejects.collect()["source"].to_list() == [str(folder / "b.jsonl")]
    (tmp_path / "late.jsonl").write_bytes(lines(occurrence(2)))
    dataset = import_export(folder, tmp_path / "data", progress=False)
    assert (dataset.rejects.collect().height, dataset.occurrences.collect().height) == (0, 2)


SCRIPT = "import sys; from issue_analytics.dataset import import_export; import_export(*sys.argv[1:], progress=False)"


def many(folder, files=12, rows=4000):
    folder.mkdir()
    for number in range(files):
        start = number * rows // 2  # every file repeats half of the one before
        (folder / f"{number:02}.jsonl").write_bytes(lines(*map(occurrence, range(start, start + rows))))
    (folder / "counts.jsonl").write_bytes(
        lines(*(snuba(group, hour, group) for group in range(50) for hour in range(20)))
    )
    return folder


def test_a_killed_import_goes_on_where_it_stopped(tmp_path):
    folder, data = many(tmp_path / "x"), tmp_path / "killed"
    undisturbed = import_export(folder, tmp_path / "data", progress=False)
    resumed = 0
    for wait in (1, 3, 5):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), str(data)])
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and process.poll() is None:
            if (data / "manifest.json").exists() and len(open_dataset(data).manifest["sources"]) >= wait:
                break
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        seen = open_dataset(data)
        assert seen.occurrences.collect()["occurrence_id"].is_unique().all()
        resumed += len(seen.manifest["sources"]) < 13
    assert resumed  # at least one kill came in time
    same(import_export(folder, data, progress=False), undisturbed)


def test_two_imports_at_once_do_not_mix(tmp_path):
    import fcntl

    (tmp_path / "o.jsonl").write_bytes(lines(occurrence(1)))
    import_export(tmp_path / "o.jsonl", tmp_path / "data", progress=False)
    with (tmp_path / "data" / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DatasetError, match="another import is writing"):
            import_export(tmp_path / "o.jsonl", tmp_path / "data", progress=False)
        assert open_dataset(tmp_path / "data").occurrences.collect().height == 1


def test_a_full_disk_leaves_the_dataset_as_it_was(tmp_path):
    folder, data = tmp_path / "x", tmp_path / "data"
    many(folder, files=1, rows=20_000)
    (tmp_path / "o.jsonl").write_bytes(lines(occurrence(1)))
    before = import_export(tmp_path / "o.jsonl", data, progress=False)
    # a limit on the size of a file stands for the full disk: the write fails in the midst
    limited = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
    )
    run = subprocess.run(
        [sys.executable, "-c", limited + SCRIPT, str(folder), str(data)], capture_output=True, text=True, check=False
    )
    assert "DatasetError" in run.stderr
    assert "cannot be written" in run.stderr
    same(open_dataset(data), before)
    assert import_export(folder, data, progress=False).occurrences.collect().height == 20_000


def test_a_later_hour_widens_the_span(tmp_path):
    for name, hour in {"a.jsonl": 10, "b.jsonl": 23, "c.jsonl": 1}.items():
        (tmp_path / name).write_bytes(lines(snuba(1, hour, 1)))
        dataset = import_export(tmp_path / name, tmp_path / "data", progress=False)
    assert dataset.manifest["span"] == {"first_hour": "2026-01-05T01:00:00Z", "last_hour": "2026-01-05T23:00:00Z"}
    counts = dataset.hourly_counts.collect()
    assert counts["hour"].max() == datetime(2026, 1, 5, 23, tzinfo=UTC)
    assert_frame_equal(counts, read_hourly_counts(str(tmp_path / "[abc].jsonl"))[0], check_row_order=False)
