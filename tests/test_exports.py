"""Each known export, and each thing that can be wrong with one."""

import gzip
import hashlib
import json
import re
import struct
import zlib
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import zstandard

from issue_analytics.counts import hourly_counts
from issue_analytics.errors import ExportError, IssueAnalyticsError, SettingsError
from issue_analytics.exports import (
    files,
    read_escalations,
    read_hourly_counts,
    read_occurrences,
    read_status_changes,
)
from issue_analytics.exports.identity import stable_group_id
from issue_analytics.exports.reading import Options, read

REAL = Path(__file__).parents[2] / "shared" / "data" / "real"
AT = datetime(2026, 1, 5, 9, tzinfo=UTC)


def occurrence(**changes):
    record = {
        "id": "6A7BC3EE-3C4F-4F6C-9B51-5F1C28D7A6C1",
        "project_id": 3,
        "event_id": "b" * 32,
        "fingerprint": ["slow", "x"],
        "issue_title": "Slow DB Query",
        "type": 1001,
        "detection_time": 1767603600.25,
        "level": None,
        "evidence_data": {"a": [1]},
    }
    return {**record, **changes}


def lines(*records):
    return "\n".join(record if isinstance(record, str) else json.dumps(record) for record in records)


def write(folder, name, text):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def first_reasons(rejects):
    return rejects["reasons"].list.first().to_list()


def test_an_occurrence_record_becomes_a_row(tmp_path):
    frame, rejects = read_occurrences(write(tmp_path, "o.jsonl", lines(occurrence())))
    assert rejects.height == 0
    assert frame.row(0, named=True) == {
        "occurrence_id": "6a7bc3ee3c4f4f6c9b515f1c28d7a6c1",
        "event_id": "b" * 32,
        "project_id": 3,
        "group_id": stable_group_id(3, "slow"),
        "type": 1001,
        "fingerprint": ["slow", "x"],
        "title": "Slow DB Query",
        "level": "info",
        "detected_at": datetime(2026, 1, 5, 9, 0, 0, 250000, tzinfo=UTC),
    }


def test_group_ids_are_the_same_for_ever():
    # upstream stores md5("slow"); the topic carries "slow": one group. The number is pinned: datasets hold it.
    assert stable_group_id(3, "slow") == 3656777819699403008
    assert stable_group_id(3, hashlib.md5(b"slow").hexdigest()) == 3656777819699403008  # noqa: S324


def test_a_mixed_topic_dump_holds_two_kinds(tmp_path):
    change = {
        "payload_type": "status_change", "fingerprint": ["slow"], "project_id": 3, "new_status": 2,
        "new_substatus": 1, "id": "c", "update_date": "2026-01-05T10:00:00+00:00",
    }  # fmt: skip
    odd = occurrence(id="d", payload_type="gossip")
    path = write(tmp_path, "topic.jsonl", lines(occurrence(payload_type="occurrence"), change, odd))
    frame, rejects, tally, _ = read(path, "occurrences", Options())
    assert (tally.read, tally.accepted, tally.rejected, tally.duplicates, tally.other) == (3, 1, 1, 0, 1)
    assert rejects.select("row").item() == 3
    changes, _ = read_status_changes(path)
    assert changes.select("group_id", "kind", "source").row(0) == (
        frame["group_id"][0],
        "archived_until_escalating",
        "status_change",
    )


def test_event_id_may_stand_in_the_event(tmp_path):
    path = write(tmp_path, "o.jsonl", lines(occurrence(event_id=None, event={"event_id": "C" * 32, "tags": {}})))
    assert read_occurrences(path)[0]["event_id"].item() == "c" * 32


SNUBA = {"project_id": 3, "group_id": 8, "hourBucket": "2026-01-05T23:00:00+00:00", "count()": 11}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(SNUBA),
        json.dumps([SNUBA]),
        json.dumps({"data": [SNUBA], "meta": [{"name": "count()", "type": "UInt64"}], "timing": {"marks_ms": {}}}),
        json.dumps({"data": [SNUBA], "meta": []}, indent=2),
        json.dumps([SNUBA], indent=2),
        "\ufeff" + json.dumps(SNUBA),
        "project_id,group_id,hour,count\n3,8,2026-01-05T23:00:00Z,11\n",
        "\ufeffproject_id;group_id;hour;count\r\n3;8;2026-01-05T23:00:00Z;11\r\n",
        'project_id\tgroup_id\t"hour"\tcount\n3\t8\t"2026-01-06 00:00:00+01:00"\t11.0',
        "project_id|group_id|hourBucket|count()\n3|8|1767654000000|11\n",
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_hourly_counts_in_every_dress(tmp_path, text, pack):
    counts, rejects = read_hourly_counts(write(tmp_path, "no-suffix", pack(text.encode())))
    assert rejects.height == 0
    assert counts.rows() == [(3, 8, datetime(2026, 1, 5, 23, tzinfo=UTC), 11)]


@pytest.mark.parametrize(
    ("type_", "data", "kind", "cause", "forecast"),
    [
        ("set_ignored", {"ignoreUntilEscalating": True}, "archived_until_escalating", None, None),
        ("set_ignored", {"ignore_until_escalating": True}, "archived_until_escalating", None, None),
        ("set_ignored", {"ignoreCount": 10, "ignoreWindow": None}, "archived_until_condition_met", None, None),
        ("set_ignored", {"ignoreDuration": 30}, "archived_until_condition_met", None, None),
        ("set_ignored", {}, "archived_forever", None, None),
        ("set_ignored", {"ignoreCount": None, "ignoreUntil": None}, "archived_forever", None, None),
        ("set_ignored", None, "archived_forever", None, None),
        ("set_escalating", {"forecast": 40, "event_id": "e"}, "escalating", "forecast", 40),
        ("set_escalating", {"eventId": "e", "expiredSnooze": {"count": 3}}, "escalating", "condition", None),
        ("set_escalating", {"event_id": "e"}, "escalating", "velocity", None),
        ("set_escalating", None, "escalating", "platform", None),
        ("set_unresolved", {"forecast": 7}, "escalating", "forecast", 7),
        ("set_unresolved", {}, "unresolved", None, None),
        ("auto_set_ongoing", {"afterDays": 7}, "ongoing", None, None),
        ("set_regression", {}, "regressed", None, None),
        ("set_resolved_in_release", {}, "resolved", None, None),
        ("merge", {"issues": [{}]}, "merged", None, None),
        ("unmerge_source", {}, "unmerged", None, None),
        ("first_seen", {"priority": "high"}, "first_seen", None, None),
        ("SEER_something_new", {"x": 1}, "seer_something_new", None, None),
    ],
)
def test_activities_become_status_changes(tmp_path, type_, data, kind, cause, forecast):
    activity = {"id": "1", "type": type_, "user": None, "data": data, "dateCreated": "2026-01-05T09:00:00Z"}
    expected = [(3, 8, AT, kind, cause, forecast, "activity")]
    issue = {"id": "8", "project": {"id": "3", "slug": "x"}, "activity": [activity], "stats": {}}
    for name, document in {
        "issue.json": issue,
        "pages.json": [issue],
        "response.json": {"activity": [activity], "groupID": 8, "project_id": "3"},
    }.items():
        for indent in (None, 1):
            changes, rejects = read_status_changes(write(tmp_path, name, json.dumps(document, indent=indent)))
            assert rejects.height == 0
            assert changes.rows() == expected


def test_a_group_named_by_the_file_only(tmp_path):
    response = {"activity": [{"id": "0", "type": "first_seen", "data": None, "dateCreated": "2026-01-05T09:00:00Z"}]}
    changes, _ = read_status_changes(write(tmp_path, "4711.json", json.dumps(response)))
    assert changes["group_id"].item() == 4711
    changes, rejects = read_status_changes([write(tmp_path, "page.json", json.dumps(response))])
    assert changes.height == 0
    assert first_reasons(rejects) == ["group_id: missing, and no fingerprint to stand for it"]


def test_every_code_of_a_status_message(tmp_path):
    pairs = [(0, 2), (0, 3), (0, 6), (0, 7), (0, None), (1, None), (2, 1), (2, 4), (2, 5), (2, None), (3, None), (9, 9)]
    records = [
        {"payload_type": "status_change", "group_id": 1, "project_id": 1, "new_status": status, "new_substatus": sub,
         "update_date": 1767603600 + index}
        for index, (status, sub) in enumerate(pairs)
    ]  # fmt: skip
    changes, rejects = read_status_changes(write(tmp_path, "s.jsonl", lines(*records)))
    assert rejects.height == 0
    assert changes["kind"].to_list() == [
        "escalating", "ongoing", "regressed", "new", "unresolved", "resolved", "archived_until_escalating",
        "archived_until_condition_met", "archived_forever", "ignored", "deleted", "status_9",
    ]  # fmt: skip
    assert changes["cause"].to_list() == ["platform"] + [None] * 11


def test_labels_take_the_provenance_given(tmp_path):
    text = (
        "group_id,escalated_at,ended_at,provenance\n1,2026-01-05T09:00Z,,\n2,2026-01-05T09:00Z,2026-01-05T08:00Z,\n"
        "3,2026-01-05T09:00Z,2026-01-05T10:00Z,incident\n4,2026-01-05T09:00Z,,rumour\n5,,,\n"
    )
    path = write(tmp_path, "l.csv", text)
    labels, rejects = read_escalations(path, provenance="injected")
    assert labels.select("group_id", "provenance").rows() == [(1, "injected"), (3, "incident")]
    assert rejects["row"].to_list() == [2, 4, 5]
    with pytest.raises(SettingsError, match="no provenance 'rumour'"):
        read_escalations(path, provenance="rumour")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"detection_time": "2026-01-05T09:00:00"}, 'detected_at: no time zone: "2026-01-05T09:00:00"; write'),
        ({"detection_time": "yesterday"}, 'detected_at: not a time: "yesterday"'),
        ({"detection_time": None}, "detected_at: missing"),
        ({"detection_time": 12}, 'detected_at: impossible: "12"'),
        ({"detection_time": "2026-02-30T00:00:00Z"}, "detected_at: not a time"),
        ({"detection_time": "2026-01-05T23:59:60Z"}, "detected_at: not a time"),
        ({"project_id": -1}, 'project_id: negative: "-1"'),
        ({"project_id": "p"}, "project_id: not a whole number"),
        ({"group_id": "abc"}, "group_id: not a whole number"),
        ({"fingerprint": None}, "group_id: missing"),
        ({"fingerprint": []}, "group_id: missing"),
        ({"id": None}, "occurrence_id: missing"),
    ],
)
def test_what_is_wrong_with_an_occurrence_is_said(tmp_path, change, reason):
    path = write(tmp_path, "o.jsonl", lines(occurrence(), occurrence(**{"id": "2", **change})))
    frame, rejects = read_occurrences(path)
    assert frame.height == 1
    assert rejects["row"].to_list() == [2]
    assert first_reasons(rejects)[0].startswith(reason)
    assert json.loads(rejects["raw"].item())["project_id"] == change.get("project_id", 3)


def test_every_reason_is_kept(tmp_path):
    bad = {"project_id": -1, "group_id": 2.5, "hour": "2026-01-05T09:30:00Z", "count": "NaN"}
    _, rejects = read_hourly_counts([write(tmp_path, "h.jsonl", lines(SNUBA, bad))])
    assert len(rejects["reasons"][0]) == 4


@pytest.mark.parametrize("count", [-1, 1.5, "NaN", "Infinity", "many", None, True, 10**15 + 1, 10**30, "1e400"])
def test_counts_that_are_none(tmp_path, count):
    counts, rejects = read_hourly_counts(
        write(tmp_path, "h.jsonl", lines(SNUBA, {**SNUBA, "group_id": 9, "count()": count}))
    )
    assert (counts.height, rejects.height) == (1, 1)


@pytest.mark.parametrize(
    ("stamp", "micros"),
    [
        ("2026-01-05T09:00:00Z", 0),
        ("2026-01-05 09:00:00.5+00:00", 500_000),
        ("2026-01-05T14:30:00.123456789+0530", 123_456),
        ("2026-01-05T09:00Z", 0),
        ("2026-01-05T06:00:00-03", 0),
        ("2026-01-05T09:00:00123456+00:00", 123_456),
        (1767603600, 0),
        (1767603600.5, 500_000),
        ("1767603600123", 123_000),
        (1767603600123456, 123_456),
        (1767603600123456789, 123_456),
    ],
)
def test_times_in_every_dress(tmp_path, stamp, micros):
    frame, rejects = read_occurrences(write(tmp_path, "o.jsonl", lines(occurrence(detection_time=stamp))))
    assert rejects.height == 0
    assert frame["detected_at"].item() == AT.replace(microsecond=micros)


def test_a_naive_datetime_column_is_refused_row_by_row(tmp_path):
    path = tmp_path / "e.parquet"
    pl.DataFrame({"group_id": [1, 2], "detected_at": [datetime(2026, 1, 5)] * 2}).write_parquet(path)  # noqa: DTZ001
    frame, rejects = read_occurrences(path)
    assert (frame.height, rejects.height) == (0, 2)
    assert first_reasons(rejects)[0].startswith("detected_at: no time zone")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jsonl", b"", "empty"),
        ("blank.jsonl", b" \n\n", "empty"),
        ("cut.jsonl.gz", gzip.compress(lines(*[SNUBA] * 50).encode())[:-9], "truncated"),
        ("cut.zst", zstandard.compress(lines(*[SNUBA] * 50).encode())[:-3], "truncated"),
        ("bad.gz", gzip.compress(b"{}")[:10] + b"\x07" * 300, "damaged gzip"),
        ("bad.zst", zstandard.compress(b"{}" * 99)[:6] + b"\xff" * 30, "damaged Zstandard|truncated"),
        ("image.png", b"\x89PNG\r\n\x1a\n" + bytes(100), "binary data"),
        ("noise.bin", zlib.compress(bytes(range(256)) * 9), "binary data|neither JSON"),
        ("book.xlsx", b"PK\x03\x04" + bytes(100), "zip archive"),
        ("wide.csv", "group_id,hour,count\n".encode("utf-16"), "UTF-16"),
        ("README.md", b"# Exports\n\nSome words, and more of them.\n", "neither JSON|no known kind"),
        ("other.jsonl", b'{"name": 1, "value": 2}', "no known kind of export. Found: name, value"),
        ("other.csv", b"gid,ts\n1,2\n", "no known kind of export. Found: gid, ts.*--columns"),
        ("half.csv", b"hour,count\n2026-01-05T09:00:00Z,1\n", "no column group_id. Found: hour, count"),
        ("foot.parquet", b"PAR1" + bytes(50), "damaged or truncated Parquet"),
    ],
    # gzip stamps the time: names made of its bytes would differ from run to run
    ids=lambda value: value if isinstance(value, str) else "bytes",
)
def test_a_single_file_that_cannot_be_read_is_one_message(tmp_path, name, content, message):
    path = write(tmp_path, name, content)
    with pytest.raises(ExportError, match=message) as caught:
        read_hourly_counts(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_among_readable_files_a_bad_one_is_one_reject(tmp_path):
    write(tmp_path, "a.jsonl", lines(SNUBA))
    write(tmp_path, "b.jsonl.gz", gzip.compress(lines(*[SNUBA] * 50).encode())[:-9])
    write(tmp_path, "README.md", "# Hello, world\n")
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    counts, rejects, tally, skipped = read(tmp_path, "hourly_counts", Options())
    assert counts.height == 1
    assert rejects.select("source", "row").rows() == [
        (str(tmp_path / "b.jsonl.gz"), 1),
        (str(tmp_path / "gone.jsonl"), 1),
    ]
    assert (tally.read, tally.accepted, tally.rejected) == (3, 1, 2)
    assert [path for path, _ in skipped] == [str(tmp_path / "README.md")]


@pytest.mark.parametrize("source", ["nowhere.jsonl", "none/*.jsonl", "", []])
def test_nothing_there(tmp_path, source):
    with pytest.raises(ExportError):
        read_occurrences(source if isinstance(source, list) else str(tmp_path / "sub" / source))
    (tmp_path / "hollow").mkdir()
    with pytest.raises(ExportError, match="an empty folder"):
        read_occurrences(tmp_path / "hollow")


def test_no_columns_of_that_name(tmp_path):
    path = write(tmp_path, "a.csv", "gid,ts\n1,2026-01-05T09:00:00Z\n")
    with pytest.raises(ExportError, match=r"no column signature\. Found: gid, ts"):
        read_occurrences(path, columns={"group_id": "signature", "detected_at": "ts"})
    with pytest.raises(SettingsError, match="no column gruop of ours"):
        read_occurrences(path, columns={"gruop": "gid"})
    with pytest.raises(SettingsError, match="no format 'xml'"):
        read_occurrences(path, format="xml")


def test_the_wrong_reader_says_which_is_right(tmp_path):
    with pytest.raises(ExportError, match=r"1 rows of hourly_counts\. Read them with read_hourly_counts"):
        read_occurrences(write(tmp_path, "h.jsonl", lines(SNUBA)))


def test_daily_counts_are_refused(tmp_path):
    rows = [{**SNUBA, "hourBucket": f"2026-01-0{day}T00:00:00Z"} for day in (5, 6, 7)]
    with pytest.raises(ExportError, match=r"daily counts.*events per hour"):
        read_hourly_counts(write(tmp_path, "d.jsonl", lines(*rows)))
    rows[1]["hourBucket"] = "2026-01-06T01:00:00Z"
    assert read_hourly_counts(write(tmp_path, "d.jsonl", lines(*rows)))[0].height == 3


def test_one_line_of_100_mb_is_refused_and_the_rest_is_read(tmp_path):
    path = tmp_path / "long.jsonl"
    with path.open("wb") as file:
        file.write(lines(occurrence(id="1")).encode() + b'\n{"id": "')
        for _ in range(100):
            file.write(b"x" * 2**20)
        file.write(b'"}\n' + lines(occurrence(id="2"), occurrence(id="3"), "{").encode())
    frame, rejects = read_occurrences(path)
    assert frame["occurrence_id"].to_list() == ["1", "2", "3"]
    assert rejects["row"].to_list() == [2, 5]
    assert "longer than 16 MiB" in first_reasons(rejects)[0]
    assert rejects["raw"].str.len_chars()[0] == 1000


def test_a_broken_array_keeps_what_came_before(tmp_path):
    text = json.dumps([SNUBA, {**SNUBA, "group_id": 9}])[:-1] + ', {"project_id": '
    counts, rejects = read_hourly_counts(write(tmp_path, "a.json", text))
    assert counts.height == 2
    assert rejects["row"].to_list() == [3]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": ', "not JSON"),
        ("[1]", "not a JSON object"),
        ("null", "not a JSON object"),
        ('{"id": NaN}', "not JSON: NaN"),
        ("{} {}", "not JSON"),
        ('{"x": ' + "[" * 5000 + "]" * 5000 + "}", "occurrence_id|nested too deeply"),
    ],
)
def test_lines_that_are_no_records(tmp_path, line, reason):
    path = write(tmp_path, "o.jsonl", lines(occurrence(id="1"), "", line, occurrence(id="2")))
    frame, rejects = read_occurrences(path)
    assert frame.height == 2
    assert rejects["row"].to_list() == [3]
    assert re.search(reason, first_reasons(rejects)[0])


def test_bytes_that_are_no_text_reject_their_line(tmp_path):
    bad = lines(occurrence(id="2", issue_title="X")).encode().replace(b'"X"', b'"\xff"')
    for name, text in {
        "o.jsonl": lines(occurrence(id="1")).encode() + b"\n" + bad,
        "o.csv": b"group_id,detected_at,title\n1,2026-01-05T09:00:00Z,fine\n1,2026-01-05T09:00:00Z,\xff\n",
    }.items():
        frame, rejects = read_occurrences(write(tmp_path, name, text))
        assert frame.height == 1
        assert first_reasons(rejects) == ["not UTF-8 text"]


def test_hostile_text_stays_what_it_is(tmp_path):
    titles = ["<script>", "$x^2$", "\x1b[31m", "\u202eabc", "=1+1", "\x00", "a" * 10_000, "\ud83d\ude00", "\ud800"]
    records = [occurrence(id=str(index), issue_title=title) for index, title in enumerate(titles)]
    frame, rejects = read_occurrences(write(tmp_path, "o.jsonl", lines(*records)))
    assert rejects.height == 0
    assert frame["title"].to_list() == [*titles[:-2], "\U0001f600", "\ufffd"]


def test_csv_with_everything_a_spreadsheet_does(tmp_path):
    text = (
        '"group_id","detected_at","title"\r\n1,2026-01-05T09:00:00Z,"two\r\nlines, ""quoted"""\r\n'
        "2,2026-01-05T09:00:00Z\r\n3,2026-01-05T09:00:00Z,a,b\r\n"
    )
    frame, rejects = read_occurrences(write(tmp_path, "s.csv", text))
    assert frame.select("group_id", "title").rows() == [(1, 'two\r\nlines, "quoted"'), (2, None)]
    assert rejects["row"].to_list() == [3]
    assert first_reasons(rejects) == ["4 cells where the header has 3"]


def test_a_table_of_signatures(tmp_path):
    text = (
        "signature,ts\nOutOfMemory,2026-01-05T09:00:00Z\n404,2026-01-05T09:00:00Z\nOutOfMemory,2026-01-05T09:00:00Z\n"
    )
    columns = {"group_id": "signature", "detected_at": "ts"}
    frame, _ = read_occurrences(write(tmp_path, "a.csv", text), columns=columns)
    again, _ = read_occurrences(write(tmp_path, "b.csv", text), columns=columns)
    assert frame.select("group_id", "title", "fingerprint").rows() == [
        (stable_group_id(0, "OutOfMemory"), "OutOfMemory", ["OutOfMemory"]),
        (404, None, None),
        (stable_group_id(0, "OutOfMemory"), "OutOfMemory", ["OutOfMemory"]),
    ]
    assert frame.equals(again)  # ids come from the content, not from the name


def test_contradicting_counts_are_all_rejected_wherever_they_stand(tmp_path):
    a = write(tmp_path, "a.jsonl", lines(SNUBA, SNUBA, {**SNUBA, "group_id": 9}))
    b = write(tmp_path, "b.jsonl", lines({**SNUBA, "count()": 12}))
    results = [read([*order], "hourly_counts", Options()) for order in ((a, b), (b, a))]
    for counts, rejects, tally, _ in results:
        assert counts["group_id"].to_list() == [9]
        assert (tally.read, tally.accepted, tally.rejected, tally.duplicates) == (4, 1, 3, 0)
        assert all('"11 and 12"' in reason for reason in first_reasons(rejects))


def test_the_same_occurrence_twice_counts_once(tmp_path):
    write(tmp_path, "a.jsonl", lines(occurrence(), occurrence(id="x")))
    write(tmp_path, "b.jsonl", lines(occurrence(id="6a7bc3ee3c4f4f6c9b515f1c28d7a6c1")))
    frame, _, tally, _ = read(tmp_path, "occurrences", Options())
    assert frame.height == 2
    assert (tally.read, tally.accepted, tally.duplicates) == (3, 2, 1)


def test_parquet_in_a_container_and_with_other_types(tmp_path):
    frame = pl.DataFrame(
        {"group_id": pl.Series([1], dtype=pl.UInt64), "hour": pl.Series([AT], dtype=pl.Datetime("ms", "Europe/Paris")),
         "count": [3.0]}
    )  # fmt: skip
    frame.write_parquet(tmp_path / "h.parquet")
    packed = write(tmp_path, "h.gz", gzip.compress((tmp_path / "h.parquet").read_bytes()))
    for path in (tmp_path / "h.parquet", packed):
        assert read_hourly_counts(path)[0].rows() == [(0, 1, AT, 3)]


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BOMB_BYTES", 2**20)
    monkeypatch.setattr(files, "BOMB_RATIO", 100)
    for pack in (gzip.compress, zstandard.compress):
        path = write(tmp_path, "bomb", pack(b'{"a":' + b" " * 2**24))
        with pytest.raises(ExportError, match="decompression bomb"):
            read_occurrences(path)


def test_no_error_of_a_library_escapes(tmp_path):
    samples = [
        struct.pack("<4sI", b"PAR1", 4) * 9,
        b"{" * 99,
        b"[" * 99,
        b"[{}",
        b'{"data": [1, 2]}',
        b"a,b,c\n\x00\n",
        b"[",
    ]
    for index, sample in enumerate(samples):
        for reader in (read_occurrences, read_hourly_counts, read_status_changes, read_escalations):
            try:
                reader(write(tmp_path, str(index), sample))
            except IssueAnalyticsError as error:
                assert str(error)  # noqa: PT017


@pytest.mark.skipif(not REAL.exists(), reason="the real series are not part of the repository")
def test_real_events_give_the_published_counts():
    path = REAL / "apache_error_events.parquet"
    frame, rejects = read_occurrences(path, columns={"detected_at": "timestamp", "title": "group_key"})
    assert rejects.height == 0
    counts = hourly_counts(frame).select("group_id", "hour", "count").sort("group_id", "hour")
    assert counts.equals(pl.read_parquet(REAL / "apache_error.parquet").select(counts.columns).sort("group_id", "hour"))
