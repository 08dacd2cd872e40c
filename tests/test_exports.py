"""Each known export, and each thing that can be wrong with one."""

import gzip
import hashlib
import io
import json
import re
import struct
import tarfile
import tempfile
import time
import warnings
import zlib
from datetime import UTC, datetime, timedelta
from functools import partial
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
    reading,
    tables,
)
from issue_analytics.exports.identity import stable_group_id
from issue_analytics.exports.lines import pieces
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
        "received_at": None,
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
    path = write(tmp_path, "s.jsonl", lines(*records))
    with warnings.catch_warnings(record=True, action="always") as warned:
        changes, rejects = read_status_changes(path)
    assert sorted(str(one.message) for one in warned) == [
        f"{path}: ignored without substatus: which of its states is not known (rows: 1)",
        f"{path}: unknown status: kept as its number (rows: 1)",
        f"{path}: unresolved without substatus: which of its states is not known (rows: 1)",
    ]
    assert rejects.height == 0
    assert changes["kind"].to_list() == [
        "escalating", "ongoing", "regressed", "new", "unresolved", "resolved", "archived_until_escalating",
        "archived_until_condition_met", "archived_forever", "ignored", "pending_deletion", "status_9",
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


def tarred(name):
    """A packed archive whose member would climb out of the folder it is unpacked in."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(lines(SNUBA))
        archive.addfile(member, io.BytesIO(lines(SNUBA).encode()))
    return file.getvalue()


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
        ("all.tar.gz", tarred("../../evil.jsonl"), "tar archive"),
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


GOOD_ROWS = "".join(f"{row},2026-01-05T09:00:00Z,t\n" for row in (8, 9, 10))


def told(path, **options):
    """Groups accepted, rejected row numbers, and what all rows came to, which must add up."""
    frame, rejects, tally, _ = read(path, "occurrences", Options(**options))
    assert tally.read == tally.accepted + tally.rejected + tally.duplicates + tally.other
    return frame["group_id"].to_list(), rejects["row"].to_list(), tally


@pytest.mark.parametrize(
    ("rows", "groups", "bad"),
    [
        ('7,2026-01-05T09:00:00Z,"open\n' + GOOD_ROWS, [8, 9, 10], [1]),
        ('7,2026-01-05T09:00:00Z,"open\n\n' + GOOD_ROWS, [8, 9, 10], [1]),
        (GOOD_ROWS + '7,2026-01-05T09:00:00Z,"open', [8, 9, 10], [4]),
        ('7,2026-01-05T09:00:00Z,"o" pen\n' + GOOD_ROWS, [8, 9, 10], [1]),
        ('7,2026-01-05T09:00:00Z,"open\n6,2026-01-05T09:00:00Z,"two\nlines"\n' + GOOD_ROWS, [6, 8, 9, 10], [1]),
        ('7,2026-01-05T09:00:00Z,a "word"\n' + GOOD_ROWS, [7, 8, 9, 10], []),
        ('7,2026-01-05T09:00:00Z,6" pipe\n' + GOOD_ROWS, [7, 8, 9, 10], []),
    ],
)
@pytest.mark.parametrize("chunk", [3, 2**20])
def test_a_quote_that_is_not_closed_costs_its_line_only(tmp_path, monkeypatch, rows, groups, bad, chunk):
    monkeypatch.setattr(files, "CHUNK", chunk)
    path = write(tmp_path, "q.csv", "group_id,detected_at,title\n" + rows)
    assert told(path)[:2] == (groups, bad)
    if bad:
        assert first_reasons(read_occurrences(path)[1]) == ["not CSV: a quote is not closed, or closed inside a cell"]


def test_quotes_that_open_in_every_line_take_no_squares_of_time(tmp_path):
    # each line closes the quote of the one before and opens another, and the last is never closed
    rows = 'x",2026-01-05T09:00:00Z,"z\n' * 60_000
    begun = time.process_time()
    groups, bad, _ = told(write(tmp_path, "q.csv", 'group_id,detected_at,title\n1,2026-01-05T09:00:00Z,"a\n' + rows))
    assert (groups, len(bad)) == ([], 60_001)
    assert time.process_time() - begun < 10


def test_an_open_quote_before_many_rows_loses_none(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_RECORD", 2**16)
    monkeypatch.setattr(tables, "pieces", partial(pieces, block=2**17))
    rows = 'group_id,detected_at,title\n7,2026-01-05T09:00:00Z,"open\n' + "8,2026-01-05T09:00:00Z,t\n" * 20_000
    tally = told(write(tmp_path, "q.csv", rows))[2]
    assert (tally.read, tally.accepted, tally.rejected) == (20_001, 20_000, 1)


def test_a_csv_line_of_100_mb_is_refused_and_the_rest_is_read(tmp_path):
    for name, filling in {"title.csv": b"x" * 2**20, "commas.csv": b"," * 2**20, "quoted.csv": b'""' * 2**19}.items():
        with (tmp_path / name).open("wb") as file:
            file.write(b"group_id,detected_at,title\n7,2026-01-05T09:00:00Z,")
            for _ in range(100):
                file.write(filling)
            file.write(b"\n" + GOOD_ROWS.encode())
        assert told(tmp_path / name)[:2] == ([8, 9, 10], [1])
        rejects = read_occurrences(tmp_path / name)[1]
        assert "longer than 16 MiB" in first_reasons(rejects)[0]
        assert rejects["raw"].str.len_chars()[0] == 1000


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_a_long_cell_is_read_with_and_without_blank_lines(tmp_path, end):
    text = "group_id,detected_at,title\n7,2026-01-05T09:00:00Z," + "x" * 200_000 + "\n" + GOOD_ROWS
    assert told(write(tmp_path, "long.csv", text + end))[:2] == ([7, 8, 9, 10], [])


def test_each_row_has_its_own_id_or_one_of_its_place(tmp_path):
    with_id = [occurrence(id=f"o{number % 3}", event_id=f"e{number}") for number in range(4)]
    without = [occurrence(id=None, event_id=f"n{number}") for number in range(60)]
    change = {"payload_type": "status_change", "group_id": 1, "new_status": 1, "update_date": "2026-01-05T09:00:00Z"}
    changes = [change] * 60
    for name, records in {"a": without + with_id, "b": with_id + without, "c": changes + with_id + without}.items():
        tally = told(write(tmp_path, name + ".jsonl", lines(*records)))[2]
        assert (tally.accepted, tally.rejected, tally.duplicates) == (63, 0, 1)
    frame, _ = read_occurrences(tmp_path / "c.jsonl")
    assert frame["occurrence_id"].to_list()[:3] == ["o0", "o1", "o2"]


@pytest.mark.parametrize("indent", [None, 1])
def test_a_list_named_data_does_not_make_an_occurrence_a_response(tmp_path, indent):
    records = [occurrence(id="1", data=[]), occurrence(id="2", data=[1]), occurrence(id="3")]
    for record in records:
        del record["type"]
    text = json.dumps(records, indent=indent) if indent else lines(*records)
    frame, rejects = read_occurrences(write(tmp_path, "d.json", text))
    assert frame["occurrence_id"].to_list() == ["1", "2", "3"]
    assert rejects.height == 0


@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float16])
def test_numbers_of_few_digits_are_no_times_and_no_large_ids(tmp_path, dtype):
    path = tmp_path / "f.parquet"
    pl.DataFrame({"group_id": [1], "detected_at": [1767603600.0]}).with_columns(
        pl.col("detected_at").cast(pl.Float32).cast(dtype)
    ).write_parquet(path)
    assert first_reasons(read_occurrences(path)[1])[0].startswith(f"detected_at: a number of type {dtype.__name__}")
    groups = [1.0, 2.0**24 + 2] if dtype == pl.Float32 else [1.0, 4098.0]
    pl.DataFrame({"group_id": groups, "detected_at": [AT, AT]}).with_columns(
        pl.col("group_id").cast(dtype)
    ).write_parquet(path)
    frame, rejects = read_occurrences(path)
    assert frame["group_id"].to_list() == [1]
    assert "too large" in first_reasons(rejects)[0]


def test_texts_that_differ_are_groups_that_differ(tmp_path):
    texts = ["7", "7.0", "7e0", "+7", "007", " 7", "120000", "12e4", "-7", "9223372036854775808", "9223372036854775809"]
    columns = {"group_id": "signature", "detected_at": "ts"}
    rows = "".join(f"{text},2026-01-05T09:00:00Z\n" for text in texts)
    frame, _ = read_occurrences(write(tmp_path, "s.csv", "signature,ts\n" + rows), columns=columns)
    assert frame["group_id"].n_unique() == len(texts)
    assert frame["group_id"][0] == 7
    assert frame["title"].to_list() == [None if text in ("7", "120000") else text for text in texts]
    pl.DataFrame({"signature": [float("nan"), 7.0, 7.5], "ts": [AT] * 3}).write_parquet(tmp_path / "s.parquet")
    frame, rejects = read_occurrences(tmp_path / "s.parquet", columns=columns)
    assert frame.select("group_id", "title").rows() == [(7, None), (stable_group_id(0, "7.5"), "7.5")]
    assert first_reasons(rejects) == ["group_id: missing, and no fingerprint to stand for it"]


ODD_COLUMNS = {
    "list": pl.Series([[1, 2], None]),
    "array": pl.Series([[1, 2], None], dtype=pl.Array(pl.Int64, 2)),
    "duration": pl.Series([timedelta(1), None]),
    "time": pl.Series([AT.time(), None]),
    "binary": pl.Series([b"\xff\x00", None]),
    "struct": pl.Series([{"a": b"\xff", "b": timedelta(1)}, None]),
    "nested": pl.Series([[["a"], [None]], None]),
    "enum": pl.Series(["a", None], dtype=pl.Enum(["a"])),
}


@pytest.mark.parametrize("odd", ODD_COLUMNS)
@pytest.mark.parametrize("reader", [read_occurrences, read_hourly_counts, read_status_changes, read_escalations])
def test_columns_of_any_type_are_rows_or_rejects(tmp_path, reader, odd):
    whole = {
        read_occurrences: {"group_id": 1, "detected_at": AT, "type": 1, "fingerprint": ["a"], "level": "x", "id": "1"},
        read_hourly_counts: {"project_id": 1, "group_id": 1, "hour": AT, "count": 2},
        read_status_changes: {"group_id": 1, "at": AT, "kind": "new", "forecast": 2, "cause": None, "new_status": 0},
        read_escalations: {"group_id": 1, "escalated_at": AT, "ended_at": None, "provenance": "human"},
    }[reader]
    kind = reader.__name__.removeprefix("read_")
    for name in whole:
        table = pl.DataFrame([whole, whole]).with_columns(ODD_COLUMNS[odd].alias(name))
        table.write_parquet(tmp_path / "o.parquet")
        for columns in (None, {"group_id": "group_id"}):
            good, bad, tally, _ = read(tmp_path / "o.parquet", kind, Options(columns, kind))
            assert tally.read == 2 == good.height + bad.height + tally.duplicates
            assert all(reason for reason in first_reasons(bad))


def test_what_polars_cannot_do_is_an_export_error_of_the_file(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise pl.exceptions.ComputeError("cannot cast\nlong story")

    write(tmp_path, "a.jsonl", lines(occurrence()))
    monkeypatch.setattr(reading, "split", fails)
    with pytest.raises(ExportError, match=r"a\.jsonl: holds what cannot be read \(cannot cast\)"):
        read_occurrences(tmp_path / "a.jsonl")


@pytest.mark.parametrize("name", ["c[1].parquet", "data[1]/c.parquet", "c*.parquet", "c?.parquet"])
def test_a_path_is_no_pattern(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    pl.DataFrame({"other": [1]}).write_parquet(tmp_path / "c1.parquet")
    pl.DataFrame({"group_id": [1], "detected_at": [AT]}).write_parquet(path)
    assert told(path)[:2] == ([1], [])


def test_a_bomb_leaves_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BOMB_BYTES", 2**23)
    monkeypatch.setattr(files, "BOMB_RATIO", 100)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    path = write(tmp_path, "bomb", gzip.compress(b"PAR1\n" + bytes(2**24)))
    with pytest.raises(ExportError, match="decompression bomb"):
        read_occurrences(path)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_field_that_comes_late_is_read(tmp_path):
    columns = {"group_id": "gid", "detected_at": "ts", "level": "sev"}
    records = [{"gid": 1, "ts": 1767603600 + number} for number in range(90)] + [
        {"gid": 2, "ts": 1767603600, "sev": "fatal"}
    ]
    for order in (records, records[::-1]):
        frame, rejects = read_occurrences(write(tmp_path, "o.jsonl", lines(*order)), columns=columns)
        assert frame.filter(level="fatal")["group_id"].to_list() == [2]
        assert (frame.height, rejects.height) == (91, 0)
    with pytest.raises(ExportError, match="no column when"):
        read_occurrences(tmp_path / "o.jsonl", columns={**columns, "detected_at": "when"})


@pytest.mark.parametrize("count", [2**63 + 5, 2**70, f"{2**63 + 5}", "1e300", f"{2**63}.00"])
def test_whole_numbers_past_our_range_are_too_large(tmp_path, count):
    _, rejects = read_hourly_counts(write(tmp_path, "h.jsonl", lines({**SNUBA, "count()": count})))
    assert first_reasons(rejects)[0].startswith("count: too large")


def test_decimals_are_read_exactly(tmp_path):
    number = 12345678901234567
    frame = pl.DataFrame({"group_id": [f"{number}.00", "1.50"], "hour": ["1767603600.00"] * 2, "count": ["3.00"] * 2})
    frame.with_columns(pl.all().cast(pl.Decimal(20, 2))).write_parquet(tmp_path / "d.parquet")
    counts, rejects = read_hourly_counts(tmp_path / "d.parquet")
    assert counts.rows() == [(0, number, AT, 3)]
    assert first_reasons(rejects) == ['group_id: not a whole number: "1.50"']


def test_a_nameless_first_column_is_named_as_the_cause(tmp_path):
    for separator in ",\t":
        text = "\n".join(separator.join(row) for row in (("", "group_id", "hour", "count"), ("0", "1", "x", "2")))
        for start in ("", "\ufeff", "\n \t\n"):
            with pytest.raises(ExportError, match="the header has an empty or a repeated name"):
                read_hourly_counts(write(tmp_path, "p.csv", start + text))


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


def test_an_occurrence_and_its_event_are_of_one_project(tmp_path):
    same, other = ({"event_id": "b" * 32, "project_id": project} for project in (3, 4))
    path = write(tmp_path, "o.jsonl", lines(occurrence(event=same), occurrence(id="2", event=other)))
    for fast in (True, False):
        frame, rejects, _, _ = read(path, "occurrences", Options(), fast=fast)
        assert frame.height == 1
        assert rejects["row"].to_list() == [2]
        assert first_reasons(rejects) == ["event.project_id: not the project_id of the occurrence"]


@pytest.mark.parametrize(
    "extra",
    [
        {"hour": 1, "count": 2},
        {"at": 1, "kind": "x"},
        {"escalated_at": 1},
        {"new_status": 1},
        {"title": "other", "detected_at": 5},
    ],
)
def test_what_an_occurrence_carries_along_does_not_make_it_something_else(tmp_path, extra):
    path = write(tmp_path, "o.jsonl", lines(occurrence(), occurrence(id="2", **extra)))
    for fast in (True, False):
        frame, _, tally, _ = read(path, "occurrences", Options(), fast=fast)
        assert tally.accepted == 2
        assert frame["title"].to_list() == ["Slow DB Query"] * 2
        assert frame["detected_at"].n_unique() == 1
