"""The dataset: idempotent, incremental, resumable, whole or absent."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from issue_analytics import dataset as dataset_module
from issue_analytics.dataset import import_export, open_dataset
from issue_analytics.errors import DatasetError, ExportError
from issue_analytics.exports import files, read_hourly_counts, read_occurrences, read_status_changes, reading
from issue_analytics.exports.arrivals import Arrivals
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


def on_disk(data):
    return {str(path.relative_to(data)) for path in data.rglob("*.parquet")}


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
    # nine o'clock was exported, ten o'clock was not: there the one occurrence counts
    assert counts.filter(pl.col("group_id") == group).sort("hour")["count"].to_list() == [1000, 1]
    assert counts.filter(pl.col("group_id") == 7)["count"].sort().to_list() == [0, 3]
    assert counts["count"].sum() == 1000 + 1 + 3 + 6


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
    texts = Counter(text.split(":")[0] for _, text in again.outcomes)
    assert texts == {"already imported": 5, "skipped": 1, "rejected": 1}


def test_the_same_files_give_the_same_manifest(tmp_path):
    names = ("project_id", "group_id", "detection_time", "payload_type")
    wrong = [{name: value} for name in names for value in (-1, "x")]
    (tmp_path / "o.jsonl").write_bytes(lines(*(occurrence(number, **each) for number, each in enumerate(wrong))))
    datasets = [import_export(tmp_path / "o.jsonl", tmp_path / f"data{number}", progress=False) for number in range(8)]
    assert len({(dataset.path / "manifest.json").read_bytes() for dataset in datasets}) == 1
    assert [reason.split(":")[0] for reason in datasets[0].manifest["rejects"]] == [
        "payload_type", "project_id", "project_id", "group_id", "group_id", "detected_at", "detected_at",
    ]  # fmt: skip


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
    assert dataset.manifest["sources"][0]["hash"] is not None


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
        json.dumps({**manifest, "sources": [1]}): "not the manifest",
        json.dumps({**manifest, "totals": {}}): "not the manifest",
        json.dumps(manifest).replace('["occurrences/', '["../occurrences/'): "not the manifest",
        "{": "it is no JSON",
    }.items():
        (data / "manifest.json").write_text(text)
        with pytest.raises(DatasetError, match=message):
            open_dataset(data)
        with pytest.raises(DatasetError, match=message):
            import_export(tmp_path / "o.jsonl", data, progress=False)
    (data / "manifest.json").write_text(json.dumps(manifest))
    part = next((data / "occurrences").iterdir())
    whole = part.read_bytes()
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "other")
    for junk in (b"junk", b"", whole[:-1], (tmp_path / "other").read_bytes()):
        part.write_bytes(junk)
        for use in (open_dataset, lambda data: import_export(tmp_path / "o.jsonl", data, progress=False)):
            with pytest.raises(DatasetError, match="1 parts are damaged"):
                use(data)
    part.unlink()
    with pytest.raises(DatasetError, match="1 parts are missing"):
        open_dataset(data)


def test_nothing_of_the_user_is_removed_or_taken_for_ours(tmp_path):
    (tmp_path / "bad.txt").write_text("no export\n")
    for kind in ("occurrences", "rejects"):
        own = tmp_path / "exports" / kind / "a.jsonl"
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_bytes(lines(occurrence(1)))
    for source in (own.parent, tmp_path / "bad.txt"):
        with pytest.raises(DatasetError, match=r"holds other files \(occurrences/a\.jsonl, rejects/a\.jsonl\)"):
            import_export(source, tmp_path / "exports", progress=False)
    assert sorted(path.name for path in (tmp_path / "exports").rglob("*")) == ["a.jsonl"] * 2 + [
        "occurrences",
        "rejects",
    ]


def test_what_a_killed_import_left_is_no_obstacle_and_no_loss(tmp_path):
    (tmp_path / "o.jsonl").write_bytes(lines(occurrence(1)))
    (tmp_path / "bad.txt").write_text("no export\n")
    data = tmp_path / "data"
    left = [
        data / "occurrences" / f"{'a' * 32}-00000.parquet",
        data / "manifest.json.new",
        data / "rejects",
        data / ".lock",
    ]
    (data / "rejects").mkdir(parents=True)
    (data / "occurrences").mkdir()
    for path in (left[0], left[1], left[3]):
        path.touch()
    with pytest.raises(ExportError):
        import_export(tmp_path / "bad.txt", data, progress=False)
    assert all(path.exists() for path in left)
    assert import_export(tmp_path / "o.jsonl", data, progress=False).occurrences.collect().height == 1


def test_an_export_and_its_compressed_copies_are_one(tmp_path):
    import zstandard

    text = b"group_id,detected_at\n7,2026-01-05T09:00:00Z\n7,2026-01-05T09:00:00Z\n"
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "a.csv").write_bytes(text)
    (folder / "a.csv.gz").write_bytes(gzip.compress(text))
    (folder / "b.zst").write_bytes(zstandard.compress(text))
    dataset = import_export(folder, tmp_path / "data", progress=False)
    assert dataset.manifest["totals"]["occurrences"] == {"read": 2, "accepted": 2, "rejected": 0, "duplicates": 0}
    assert [text for _, text in dataset.outcomes] == ["imported", "already imported", "already imported"]
    assert read_occurrences(folder)[0].height == 2


def test_names_that_are_no_unicode(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9.csv")).write_text("group_id,detected_at\n7,2026-01-05T09:00:00Z\n8,soon\n")
    (folder / os.fsdecode(b"\xff")).symlink_to("nowhere")
    dataset = import_export(folder, tmp_path / "data", progress=False)
    told = str(folder / "caf\\udce9.csv")
    assert open_dataset(tmp_path / "data").manifest["sources"][0]["path"] == told
    assert dataset.rejects.collect()["source"].to_list() == [told, str(folder / "\\udcff")]
    again = import_export(folder, tmp_path / "data", progress=False)
    assert again == dataset
    assert again.outcomes[0] == (told, "already imported")


@pytest.mark.parametrize(
    "column",
    [
        pl.Series("group_id", [[1], [2]]),
        pl.Series("detected_at", [[1], [2]]),
        pl.Series("level", [{"a": b"\xff"}, {"a": b"x"}]),
        pl.Series("project_id", [b"\xff", b"1"]),
    ],
    ids=lambda column: column.name,
)
def test_a_table_of_strange_columns_stops_no_other_file(tmp_path, column):
    folder = tmp_path / "x"
    folder.mkdir()
    stamps = [datetime(2026, 1, 5, 9, tzinfo=UTC)] * 2
    frame = pl.DataFrame({"group_id": [1, 2], "detected_at": stamps}).with_columns(column)
    frame.write_parquet(folder / "a.parquet")
    (folder / "b.jsonl").write_bytes(lines(occurrence(1)))
    dataset = import_export(folder, tmp_path / "data", progress=False)
    assert dataset.outcomes[1][1] == "imported"
    total = dataset.manifest["totals"]["occurrences"]
    assert total["read"] == total["accepted"] + total["rejected"] + total["duplicates"]
    try:
        import_export(folder / "a.parquet", tmp_path / "single", progress=False)
    except ExportError as error:
        assert "a.parquet" in str(error)  # noqa: PT017 - either is right, any other error is not


def test_what_was_rejected_once_is_told_again(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(lines(*map(occurrence, range(99))))[:-9])
    (folder / "b.jsonl").write_bytes(lines(occurrence(1)))
    first, second = (import_export(folder, tmp_path / "data", progress=False) for _ in range(2))
    assert first.outcomes[0][1].startswith("rejected: truncated")
    assert second.outcomes[0] == first.outcomes[0]
    assert second == first
    with pytest.raises(ExportError, match=r"a\.jsonl\.gz: truncated"):
        import_export(folder / "a.jsonl.gz", tmp_path / "data", progress=False)


def test_a_reject_goes_when_the_file_turns_out_to_be_known(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(lines(occurrence(1)))
    (folder / "b.jsonl").symlink_to(tmp_path / "late.jsonl")
    (folder / "c.jsonl").symlink_to(tmp_path / "note.txt")
    assert import_export(folder, tmp_path / "data", progress=False).rejects.collect().height == 2
    (tmp_path / "late.jsonl").write_bytes(lines(occurrence(1)))
    (tmp_path / "note.txt").write_text("no export\n")
    dataset = import_export(folder, tmp_path / "data", progress=False)
    assert dataset.manifest["totals"]["occurrences"] == {"read": 1, "accepted": 1, "rejected": 0, "duplicates": 0}
    assert [text.split(":")[0] for _, text in dataset.outcomes] == ["already imported", "already imported", "skipped"]
    assert not any(part.startswith("rejects") for part in on_disk(tmp_path / "data"))
    assert open_dataset(tmp_path / "data") == dataset


def test_rejects_of_unreadable_files_never_overwrite_each_other(tmp_path):
    folder, data = tmp_path / "x", tmp_path / "data"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(lines(occurrence(1)))
    (folder / "b.jsonl").symlink_to(tmp_path / "late")
    import_export(folder, data, progress=False)
    os.mkfifo(tmp_path / "late")
    import_export(folder, data, progress=False)
    (folder / "c.jsonl").symlink_to(tmp_path / "never")
    import_export(folder, data, progress=False)
    (tmp_path / "late").unlink()
    (tmp_path / "late").write_bytes(lines(occurrence(2)))
    (folder / "d.jsonl").symlink_to(tmp_path / "never")
    dataset = import_export(folder, data, progress=False)
    assert dataset.rejects.collect()["source"].to_list() == [str(folder / "c.jsonl"), str(folder / "d.jsonl")]


def test_rows_of_the_future_are_rejected(tmp_path):
    def stamp(**ahead):
        return (datetime.now(UTC) + timedelta(**ahead)).strftime("%Y-%m-%dT%H:00:00Z")

    soon, late = stamp(hours=22), stamp(hours=26)
    rows = {
        "occurrences": "group_id,detected_at\n" + "".join(f"7,{at}\n" for at in (soon, late)),
        "hourly_counts": "group_id,hour,count\n" + "".join(f"7,{at},3\n" for at in (soon, late)),
        "status_changes": "group_id,at,kind\n" + "".join(f"7,{at},new\n" for at in (soon, late)),
        "escalations": "group_id,escalated_at\n" + "".join(f"7,{at}\n" for at in (soon, late)),
    }
    for kind, text in rows.items():
        (tmp_path / f"{kind}.csv").write_text(text)
        dataset = import_export(tmp_path / f"{kind}.csv", tmp_path / kind, progress=False)
        assert dataset.manifest["totals"] == {kind: {"read": 2, "accepted": 1, "rejected": 1, "duplicates": 0}}
        row, reasons, raw = dataset.rejects.collect().select("row", "reasons", "raw").row(0)
        assert (row, len(reasons)) == (2, 1)
        assert f'in the future: "{late}"; check the clock of the sender' in reasons[0]
        assert '"group_id":7' in raw


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


def test_issues_told_apart_by_the_names_of_their_files_only(tmp_path):
    folder, data = tmp_path / "x", tmp_path / "data"
    folder.mkdir()
    silent = json.dumps([[1767603600 + 3600 * hour, 0] for hour in range(24)])
    history = json.dumps({"activity": [{"type": "first_seen", "data": None, "dateCreated": "2026-01-05T09:00:00Z"}]})
    for number in (1, 2, 3):
        (folder / f"1000{number}.json").write_text(silent)
        (folder / f"{number}.activities.json").write_text(history)
    (folder / "stats.json").write_text(silent)
    (folder / "20260105.jsonl").write_bytes(lines(occurrence(1)))
    (folder / "20260106.jsonl").write_bytes(lines(occurrence(1)))
    read_at_once = read_hourly_counts(folder)[0]
    for _ in range(2):
        dataset = import_export(folder, data, progress=False)
        counts = dataset.hourly_counts.filter(project_id=0).collect()
        assert sorted(counts["group_id"].unique()) == [10001, 10002, 10003]
        assert_frame_equal(counts, read_at_once, check_row_order=False)
        assert sorted(dataset.status_changes.collect()["group_id"]) == [1, 2, 3]
        assert len(dataset.manifest["sources"]) == 7  # those of the occurrences name their issue
        (folder / "10001.json").unlink(missing_ok=True)
    assert [text for _, text in dataset.outcomes] == ["already imported"] * 8


def test_a_file_that_is_named_as_the_reject_says_is_read(tmp_path):
    points = json.dumps([[1767603600 + 3600 * hour, 0] for hour in range(24)])
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "o.jsonl").write_bytes(lines(occurrence(1)))
    (tmp_path / "x" / "stats.json").write_text(points)
    dataset = import_export(tmp_path / "x", tmp_path / "data", progress=False)
    assert "name the file by its id" in dataset.rejects.collect()["reasons"].item().item()
    (tmp_path / "x" / "stats.json").rename(tmp_path / "x" / "10001.json")
    dataset = import_export(tmp_path / "x", tmp_path / "data", progress=False)
    assert dataset.outcomes[0][1] == "imported"
    assert dataset.hourly_counts.collect().filter(group_id=10001).height == 23


def test_a_file_that_is_written_to_meanwhile_loses_no_row(tmp_path, monkeypatch):
    growing, data = tmp_path / "x" / "o.jsonl", tmp_path / "data"
    growing.parent.mkdir()
    growing.write_bytes(lines(*map(occurrence, range(3))))
    real = dataset_module.hash_and_damage

    def written_to(path):
        time.sleep(0.2)  # reading is ahead of it
        with path.open("ab") as file:
            file.write(b"\n" + lines(occurrence(9)))
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(dataset_module, "hash_and_damage", written_to)
        dataset = import_export(growing.parent, data, progress=False)
        with pytest.raises(ExportError, match="changed while it was read"):
            import_export(growing, data, progress=False)
    assert dataset.occurrences.collect().height == 0
    reason = "changed while it was read; import it again once it is whole."
    assert dataset.rejects.collect()["reasons"].to_list() == [[reason]]
    dataset = import_export(growing.parent, data, progress=False)
    assert dataset.occurrences.collect().height == 4
    assert dataset.rejects.collect().height == 0
    assert len(on_disk(data)) == 1


def test_a_file_that_does_not_unpack_is_not_read_to_that_end(tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    bomb = (lines(occurrence(1, issue_title="t" * 1_000)) + b"\n") * 2**15  # more than one block of it is read
    (tmp_path / "x" / "bomb.jsonl.gz").write_bytes(gzip.compress(bomb))
    monkeypatch.setattr(files, "BOMB_BYTES", 2**25)
    monkeypatch.setattr(files, "BOMB_RATIO", 10)
    written = []
    real = Arrivals.add
    monkeypatch.setattr(Arrivals, "add", lambda self, part: written.append(part) or real(self, part))
    dataset = import_export(tmp_path / "x", tmp_path / "data", progress=False)
    assert "decompression bomb" in dataset.outcomes[0][1]
    assert written == []


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
    assert "as it was after its last whole file" in run.stderr
    same(open_dataset(data), before)
    assert on_disk(data) == {part for source in before.manifest["sources"] for part in source["parts"]["occurrences"]}
    assert not (data / "manifest.json.new").exists()
    assert import_export(folder, data, progress=False).occurrences.collect().height == 20_000


def test_a_disk_that_fills_up_at_the_manifest_leaves_no_parts(tmp_path):
    folder, data = tmp_path / "x", tmp_path / "data"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02}.jsonl").write_bytes(lines(snuba(number, 9, 1)))
    limited = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)); "
    )
    run = subprocess.run(
        [sys.executable, "-c", limited + SCRIPT, str(folder), str(data)], capture_output=True, text=True, check=False
    )
    assert "as it was after its last whole file" in run.stderr
    sources = open_dataset(data).manifest["sources"]
    assert 0 < len(sources) < 40
    assert on_disk(data) == {part for source in sources for part in source["parts"]["hourly_counts"]}
    assert not (data / "manifest.json.new").exists()
    assert import_export(folder, data, progress=False).hourly_counts.collect().height == 40


def test_a_later_hour_widens_the_span(tmp_path):
    for name, hour in {"a.jsonl": 10, "b.jsonl": 23, "c.jsonl": 1}.items():
        (tmp_path / name).write_bytes(lines(snuba(1, hour, 1)))
        dataset = import_export(tmp_path / name, tmp_path / "data", progress=False)
    assert dataset.manifest["span"] == {"first_hour": "2026-01-05T01:00:00Z", "last_hour": "2026-01-05T23:00:00Z"}
    counts = dataset.hourly_counts.collect()
    assert counts["hour"].max() == datetime(2026, 1, 5, 23, tzinfo=UTC)
    assert_frame_equal(counts, read_hourly_counts(str(tmp_path / "[abc].jsonl"))[0], check_row_order=False)
