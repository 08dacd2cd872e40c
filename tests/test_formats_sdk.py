"""Events of SDKs: one by one, and in envelopes with much else; what is damaged costs only what is damaged."""

import copy
import gzip
import itertools
import json
import re
import tempfile
import tracemalloc
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import sdk_recorder
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import issue_analytics as ia
from issue_analytics.errors import ExportError
from issue_analytics.exports import files
from issue_analytics.exports.formats import envelopes, format_of, sdk_events
from issue_analytics.exports.identity import stable_group_id
from issue_analytics.exports.lines import MAX_RECORD
from issue_analytics.exports.reading import Options, read, read_file

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
ID = "6a7bc3ee3c4f4f6c9b515f1c28d7a6c1"
LAW = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def frame(function, *, module="shop.cart", in_app=None, **more):
    marked = {} if in_app is None else {"in_app": in_app}
    return {"function": function, "module": module, "lineno": 7, **marked, **more}


def raised(type_="KeyError", value="'summer'", frames=()):
    return {"type": type_, "value": value, "module": None, "stacktrace": {"frames": list(frames)}}


def event(number=1, **changes):
    record = {
        "event_id": f"{number:032x}",
        "timestamp": "2026-01-05T09:00:00.250000Z",
        "platform": "python",
        "level": "fatal",
        "exception": {"values": [raised(frames=[frame("serve", in_app=True), frame("take_order", in_app=True)])]},
        "tags": {"stage": "canary"},
        "sdk": {"name": "sentry.python", "version": "2.75.0"},
    }
    return {name: value for name, value in {**record, **changes}.items() if value is not ...}


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def item(payload, type_="event", *, length=..., end=b"\n", **header):
    payload = payload if isinstance(payload, bytes) else compact(payload)
    says = {"length": len(payload)} if length is ... else {} if length is None else {"length": length}
    return compact({"type": type_, **header, **says}) + b"\n" + payload + end


def envelope(*items, event_id=None, dsn="https://public@o1.ingest.example.com/42", **header):
    named = {"event_id": event_id, "dsn": dsn, **header}
    return compact({name: value for name, value in named.items() if value is not None}) + b"\n" + b"".join(items)


def sent(number, *others, **changes):
    """One event in an envelope of its own, and what else is in there."""
    return envelope(item(event(number, **changes)), *others, event_id=f"{number:032x}")


def lines(*records):
    return b"".join(compact(record) + b"\n" for record in records)


def read_all(content, kind="occurrences", **options):
    """Everything a read gives of these bytes; law 4 holds for it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export"
        path.write_bytes(content)
        rows, rejects, tally, _ = read(path, kind, Options(**options))
        parts = list(read_file(path, Options(**options), fallback=kind))
    assert tally.read == tally.accepted + tally.rejected + tally.duplicates + tally.other
    assert (rows.height, rejects.height) == (tally.accepted, tally.rejected)
    ignored = sum((Counter(part.ignored) for part in parts), Counter())
    return rows, rejects, tally, dict(ignored), {part.found for part in parts}


def one(**changes):
    """The one row of an event with these changes."""
    rows, rejects, *_ = read_all(lines(event(**changes)))
    assert rejects.is_empty(), rejects["reasons"].to_list()
    return rows.row(0, named=True)


def reasons(rejects):
    return ["; ".join(listed) for listed in rejects.sort("row")["reasons"].to_list()]


# --- one event -------------------------------------------------------------------------------------------------------


def test_an_event_of_an_sdk_as_a_row():
    assert one(received=1767603602.5) == {
        "occurrence_id": f"{1:032x}",
        "event_id": f"{1:032x}",
        "project_id": 0,
        "group_id": stable_group_id(0, json.dumps(["exception", "KeyError", "shop.cart", "take_order"])),
        "type": 1,
        "fingerprint": None,
        "title": "KeyError: 'summer'",
        "level": "fatal",
        "detected_at": AT.replace(microsecond=250_000),
        "received_at": AT.replace(second=2, microsecond=500_000),
    }


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-01-05T09:00:00Z", AT),
        ("2026-01-05T10:00:00+01:00", AT),
        ("2026-01-05T09:00:00", AT),  # UTC if there is no zone
        ("2026-01-05 09:00:00.000000", AT),
        ("2026-01-05T09:00", AT),
        (1767603600, AT),
        (1767603600.25, AT.replace(microsecond=250_000)),
        ("1767603600", AT),
        (1767603600000, AT),  # old documents of the SDK show milliseconds
    ],
)
def test_times_are_text_or_numbers_and_utc_without_a_zone(stamp, expected):
    row = one(timestamp=stamp, received=stamp)
    assert (row["detected_at"], row["received_at"]) == (expected, expected)


def test_what_is_no_server_time_is_none():
    assert one(received="soon")["received_at"] is None
    late = one(received="2026-01-09T09:00:00")
    assert (late["detected_at"].day, late["received_at"].day) == (5, 9)  # late rows carry both


@pytest.mark.parametrize("id_", [ID, "6A7BC3EE-3C4F-4F6C-9B51-5F1C28D7A6C1"])
def test_ids_dashed_or_plain(id_):
    assert one(event_id=id_)["event_id"] == one(event_id=id_)["occurrence_id"] == ID


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"event_id": ...}, "event_id: missing"),
        ({"event_id": ""}, "event_id: missing"),
        ({"event_id": {"a": 1}}, "event_id: missing"),
        ({"event_id": None, "timestamp": None}, "event_id: missing.*; detected_at: missing"),
        ({"timestamp": ...}, "detected_at: missing"),
        ({"timestamp": "soon"}, 'detected_at: not a time: "soon"'),
        ({"timestamp": True}, "detected_at: not a time"),
        ({"timestamp": "0001-01-01T00:00:00"}, "detected_at: impossible"),
        ({"project": "shop"}, 'project_id: not a whole number: "shop"'),
        ({"project": "shop", "timestamp": -1}, "project_id: not a whole number.*; detected_at: impossible"),
    ],
)
def test_what_an_event_must_have(changes, words):
    rows, rejects, *_ = read_all(lines(event(1, **changes), event(2)))
    assert rows["event_id"].to_list() == [f"{2:032x}"]
    assert re.search(words, reasons(rejects)[0])
    assert rejects["row"].to_list() == [1]
    assert '"platform"' in rejects["raw"][0]


@pytest.mark.parametrize(
    ("changes", "project"),
    [({}, 0), ({"project": 7}, 7), ({"project": "7"}, 7), ({"project_id": 7}, 7), ({"project": {"id": "7"}}, 7)],
)
def test_projects(changes, project):
    assert one(**changes)["project_id"] == project


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({"level": ...}, "error"),
        ({"level": None}, "error"),
        ({"level": ["fatal"]}, "error"),
        ({"level": "shouting"}, "shouting"),
        ({"level": ..., "tags": {"level": "info"}}, "info"),
        ({"level": ..., "tags": [["stage", "x"], ["level", "info"], "odd", [1]]}, "info"),
        ({"level": ..., "tags": "level"}, "error"),
    ],
)
def test_levels(changes, level):
    assert one(**changes)["level"] == level


PLAIN = {"exception": ..., "transaction": "GET /"}


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"exception": {"values": [raised("OSError", "cause"), raised("RuntimeError", "x")]}}, "RuntimeError: x"),
        ({"exception": [raised("OSError", "cause"), raised("RuntimeError", "x")]}, "RuntimeError: x"),
        ({"exception": raised("RuntimeError", "x")}, "RuntimeError: x"),
        ({"exception": ..., "sentry.interfaces.Exception": {"values": [raised("E", "x")]}}, "E: x"),
        ({"exception": {"values": [raised("E", "x"), None, {}]}}, "E: x"),
        ({"exception": {"values": [raised("E", None)]}}, "E"),
        ({"exception": {"values": [raised(None, "only this")]}}, "only this"),
        ({"exception": {"values": [raised("E", "\n  first\nsecond")]}}, "E: first"),
        ({"exception": {"values": [raised("E", "é" * 5_000)]}}, f"E: {'é' * 200}…"),
        ({"exception": {"values": [raised("E", 404)]}}, "E: 404"),
        ({"exception": {"values": [raised("<b>", "=1+1 {{ 7 * 7 }}")]}}, "<b>: =1+1 {{ 7 * 7 }}"),
        ({**PLAIN, "message": "it is full"}, "it is full"),
        ({**PLAIN, "message": {"message": "%s is full", "formatted": "it is full"}}, "it is full"),
        ({**PLAIN, "logentry": {"message": "%s is full", "params": ["it"], "formatted": "it is full"}}, "it is full"),
        ({**PLAIN, "logentry": {"message": "%s is full", "params": ["it"]}}, "%s is full"),
        ({**PLAIN, "logentry": "it is full", "message": "other"}, "it is full"),
        ({**PLAIN, "sentry.interfaces.Message": {"message": "it is full"}}, "it is full"),
        ({**PLAIN, "exception": {"values": []}, "message": "it is full"}, "it is full"),
        ({**PLAIN, "exception": None, "message": None}, "GET /"),
        (PLAIN, "GET /"),
        ({"exception": ...}, "(no message)"),
        ({"exception": ..., "message": " \n ", "logentry": 7.5}, "7.5"),
        ({"exception": 7, "message": ["x"], "transaction": {}}, "(no message)"),
    ],
)
def test_titles(changes, title):
    assert one(**changes)["title"] == title


@pytest.mark.parametrize("type_", [None, "", "error", "default", "event", "csp"])
def test_types_that_are_errors(type_):
    assert one(type=type_)["type"] == 1


def test_what_is_no_error_is_counted_and_never_a_row():
    content = lines(event(1, type="transaction"), event(2), event(3, type="feedback"), event(4, type=["x"]))
    rows, rejects, tally, ignored, found = read_all(content)
    assert (rows.height, rejects.height, tally.read) == (1, 0, 1)
    assert ignored == {"transaction": 1, "feedback": 1, "of no known type": 1}
    assert found == {"sdk_events"}


# --- groups ----------------------------------------------------------------------------------------------------------

IN_APP = [frame("serve", in_app=True), frame("pay", in_app=True), frame("execute", module="psycopg", in_app=False)]


def trace(*frames, type_="E", value="x"):
    return {"exception": {"values": [raised(type_, value, frames)]}}


SAME = {
    "the value of an exception with frames": (trace(*IN_APP, value="1"), trace(*IN_APP, value="2")),
    "lines, and frames outside the innermost of the application": (
        trace(*IN_APP),
        trace(frame("other", in_app=True), frame("pay", in_app=True, lineno=999), frame("f", module="m", in_app=False)),
    ),
    "a cause": (
        trace(*IN_APP),
        {"exception": {"values": [raised("OSError", "c", IN_APP[:1]), raised("E", "x", IN_APP)]}},
    ),
    "the default fingerprint": (
        trace(*IN_APP),
        {**trace(*IN_APP), "fingerprint": ["{{ default }}"]},
        {**trace(*IN_APP), "fingerprint": [" {{default}}"]},
        {**trace(*IN_APP), "fingerprint": []},
        {**trace(*IN_APP), "fingerprint": ["", None]},
    ),
    "a fingerprint, whatever happened": (
        {**trace(*IN_APP), "fingerprint": ["gateway", 7]},
        {"exception": ..., "message": "slow", "fingerprint": ["gateway", "7"]},
    ),
    "a fingerprint of one part, as text": ({"fingerprint": "gateway"}, {"fingerprint": ["gateway"]}),
    "the template of a message": (
        {**PLAIN, "logentry": {"message": "order %s", "params": [1], "formatted": "order 1"}},
        {**PLAIN, "logentry": {"message": "order %s", "params": [2], "formatted": "order 2"}},
        {**PLAIN, "sentry.interfaces.Message": {"message": "order %s", "params": [3]}},
    ),
    "numbers and ids in a message without a template": (
        {**PLAIN, "message": "order 17 of 6a7bc3ee-3c4f-4f6c-9b51-5f1c28d7a6c1 at 0xffe1"},
        {**PLAIN, "logentry": {"message": "order 4 of 6A7BC3EE3C4F4F6C9B515F1C28D7A6C1 at 0x0"}},
    ),
    "the value of an exception without frames, but for what varies": (trace(value="port 80"), trace(value="port 81")),
    "a logger in its field or in a tag": (
        {**PLAIN, "message": "full", "logger": "shop"},
        {**PLAIN, "message": "full", "tags": [["logger", "shop"]]},
    ),
    "frames where the exception has none": (
        {**trace(), "stacktrace": {"frames": IN_APP}},
        {**trace(value="y"), "sentry.interfaces.Stacktrace": {"frames": IN_APP}},
    ),
    "no frame of the application": (
        trace(frame("a", in_app=False), frame("b")),
        trace(frame("c", in_app=None), frame("b", in_app=False)),
    ),
    "a file where there is no module": (
        trace(frame("b", module=None, filename="cart.js")),
        trace(frame("b", module="", filename="cart.js", abs_path="/x/cart.js")),
    ),
    "what the tracker made of it": (
        {**trace(*IN_APP), "hashes": [ID, "f" * 32]},
        {**trace(*IN_APP, type_="Other"), "hashes": [ID], "fingerprint": ["{{ default }}"]},
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_events_of_one_group(name):
    rows, rejects, *_ = read_all(lines(*(event(number, **changes) for number, changes in enumerate(SAME[name]))))
    assert rejects.is_empty()
    assert rows.height == len(SAME[name])
    assert rows["group_id"].n_unique() == 1


def test_events_of_other_groups():
    apart = [
        trace(*IN_APP),
        trace(*IN_APP, type_="F"),
        trace(*IN_APP[:1]),
        {**trace(*IN_APP), "fingerprint": ["{{ default }}", "eu"]},
        {**trace(*IN_APP, type_="F"), "fingerprint": ["{{ default }}", "eu"]},
        {**trace(*IN_APP), "fingerprint": ["gateway", "8"]},
        {**trace(*IN_APP), "fingerprint": ["gateway, 7"]},
        {**PLAIN, "message": "full"},
        {**PLAIN, "message": "full", "logger": "other"},
        {**PLAIN, "message": None, "transaction": "GET /2"},
        {**PLAIN, "logentry": {"message": "full %s", "params": [1]}},
        trace(value="port 80"),
        trace(value="other port 80"),
        trace(*IN_APP) | {"hashes": [ID]},
        trace(frame("pay", module="shop.other", in_app=True)),
        trace(frame("pay", module=None, filename="cart.js")),
        {"fingerprint": ["gateway"]},
        {"fingerprint": ["gateway", "gateway"]},
    ]
    rows, rejects, *_ = read_all(lines(*(event(number, **changes) for number, changes in enumerate(apart))))
    assert rejects.is_empty()
    assert rows["group_id"].n_unique() == rows.height == len(apart)


def test_fingerprints_stay_as_exported_and_agree_with_those_of_other_exports():
    row = one(fingerprint=["gateway"])
    assert row["fingerprint"] == ["gateway"]
    record = {"id": "a", "project_id": 0, "fingerprint": ["gateway"], "type": 1, "detection_time": 1767603600}
    assert row["group_id"] == read_all(lines(record))[0]["group_id"][0] == stable_group_id(0, "gateway")
    assert one(fingerprint=["gateway", 7, None])["fingerprint"] == ["gateway", "7", None]
    assert one(fingerprint=[])["fingerprint"] is None
    assert one(hashes=[ID])["group_id"] == stable_group_id(0, ID)  # what the tracker's other exports call primary_hash


def test_an_event_that_names_its_group_is_in_it():
    assert one(group_id=4711)["group_id"] == 4711
    rows, rejects, *_ = read_all(lines(event(group_id="x")))
    assert rows.is_empty()
    assert reasons(rejects) == ['group_id: not a whole number: "x"']


def test_groups_are_said_to_be_approximations(tmp_path):
    for name, content in (("a", lines(event(1))), ("b", sent(2))):
        (tmp_path / name).write_bytes(content)
        (part,) = read_file(tmp_path / name, Options())
        assert "approximations" in part.note
    assert "approximations" in json.dumps(ia.import_export(tmp_path, tmp_path / "data").manifest)


# --- told from content -----------------------------------------------------------------------------------------------

STORED = event(
    1, project=7, received=1767603601.5, type="error", version="7", key_id="1", hashes=[ID], culprit="shop.cart",
    tags=[["level", "error"]], metadata={"type": "KeyError"}, title="KeyError", location="cart.py",
    fingerprint=["{{ default }}"], logentry=None,
)  # fmt: skip
LEAST = {"event_id": ID, "timestamp": 1767603600, "platform": "other"}
EXAMPLES = {"sdk": event(1), "stored": STORED, "least": LEAST, "message": event(1, **PLAIN, message="full")}


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize("name", EXAMPLES)
def test_events_are_told_from_content(name, pack):
    record = EXAMPLES[name]
    whole = read_all(pack(compact(record) + b"\n"))
    assert whole[4] == {"sdk_events"}
    assert whole[0].height == 1
    for content in (
        compact(record),
        b"\xef\xbb\xbf" + compact(record),
        json.dumps(record, indent=2).encode(),
        compact([record]),
        json.dumps([record], indent=2).encode(),
        b"\r\n".join([compact(record)] * 3),
    ):
        again = read_all(pack(content))
        assert_frame_equal(again[0], whole[0])
        assert again[4] == {"sdk_events"}
    assert_frame_equal(read_all(pack(compact(record)), format="sdk_events")[0], whole[0])
    assert_frame_equal(read_all(pack(compact(record)), format="occurrences")[0], whole[0])


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize(
    "content",
    [
        sent(1),
        b"\n\r\n" + sent(1),
        b"\xef\xbb\xbf" + sent(1),
        b"{}\n" + item(b"{}", "session") + sent(1),
        envelope(item(b"x" * 300_000, "attachment"), item(event(1)), event_id="a"),
        compact({"event_id": "a"}) + b"\n" + item(event(1), length=None),
        envelope(item(STORED), trace={"trace_id": ID, "org_id": "1"}, dsn=None),
        b'{"event_id": broken}\n' + sent(1),
        sent(1).replace(b"\n", b"\r\n"),
    ],
)
def test_envelopes_are_told_from_content(content, pack):
    rows, _, _, _, found = read_all(pack(content))
    assert found == {"envelopes"}
    assert rows.height == 1
    assert_frame_equal(read_all(pack(content), format="envelopes")[0], rows)
    assert_frame_equal(read_all(pack(content), format="occurrences")[0], rows)


@pytest.mark.parametrize(
    "record",
    [
        {"event_id": ID, "project_id": 1, "group_id": 2, "timestamp": "2026-01-05 09:00:00", "platform": "python"},
        {"event_id": ID, "timestamp": 1, "id": "x", "issue_title": "t", "fingerprint": ["a"], "level": "info"},
        {"event_id": ID, "dsn": "https://a@b/1", "sent_at": "2026-01-05T09:00:00Z", "sdk": {"name": "x"}},
        {"type": "set_ignored", "dateCreated": "2026-01-05T09:00:00Z", "data": {}},
        {"type": "event", "length": 3},
        [event(1)],
        "event_id",
        None,
    ],
)
def test_what_is_of_another_format_is_no_event(record):
    assert not sdk_events.knows(record)
    assert format_of(record) not in (sdk_events.FORMAT, envelopes.FORMAT)


def test_other_lines_are_no_envelopes():
    changes = [{"type": "set_resolved", "dateCreated": "2026-01-05T09:00:00Z", "data": {}, "issue_id": 1}] * 2
    assert not envelopes.looks_like([compact(record) for record in changes])
    assert not envelopes.looks_like([b"{}", compact(changes[0])])
    assert not envelopes.looks_like([compact(event(1)), compact(event(2, type="error"))])
    assert read_all(lines(*changes), "status_changes")[4] == {"activities"}


def test_a_table_is_not_read_as_a_nested_format():
    with pytest.raises(ExportError, match="a table; sdk_events are JSON"):
        read_all(b"event_id,timestamp\na,2026-01-05T09:00:00Z\n", format="sdk_events")


# --- envelopes -------------------------------------------------------------------------------------------------------

BINARY = b'\x89PNG\r\n\x1a\n\x00\xff\xfe\n{"type":"event","length":2}\n{}\n\n{"event_id":"0"}\n'


def test_events_are_found_among_all_that_an_envelope_holds():
    content = (
        envelope(item(event(1)), item(BINARY, "attachment", filename="a.png"), event_id=f"{1:032x}")
        + b"\n"
        + envelope(item(BINARY, "attachment"), item(b"", "attachment"), item(event(2)), dsn="https://k@h/sentry/43/")
        + b"{}\n"
        + item({"sid": ID}, "session", length=None)
        + envelope(item({"reason": "x"}, "client_report"), item(event(9, type="transaction"), "transaction"))
        + envelope(item(event(3), length=None), dsn=None)
        + envelope(item(event(4, event_id=...)), event_id=ID, dsn="https://k@h/shop")
        + envelope(item(event(5, project=9)), item(b"\x00", "new/type+json;x"), item(event(6), end=b""))
    )
    rows, rejects, tally, ignored, found = read_all(content)
    assert rejects.is_empty()
    by_id = {row["event_id"].lstrip("0"): row["project_id"] for row in rows.iter_rows(named=True)}
    assert by_id == {"1": 42, "2": 43, "3": 0, ID: 0, "5": 9, "6": 42}
    assert tally.read == 6
    assert ignored == {
        "attachment": 3, "session": 1, "client_report": 1, "transaction": 1, "of no known type": 1,
    }  # fmt: skip
    assert found == {"envelopes"}


def test_an_event_reads_the_same_alone_and_in_an_envelope():
    events = [event(number, **changes) for number, changes in enumerate(itertools.chain(*SAME.values()))]
    alone = read_all(lines(*events))[0]
    for length in (..., None):
        content = b"".join(envelope(item(one, length=length), dsn=None) for one in events)
        assert_frame_equal(read_all(content)[0], alone)
    indented = b"".join(envelope(item(json.dumps(one, indent=1).encode()), dsn=None) for one in events)
    assert_frame_equal(read_all(indented)[0], alone)
    # the length is in bytes, whatever the letters; a break before a line's end belongs to the line
    assert_frame_equal(read_all(indented.replace(b"}\n{", b"}\r\n{"))[0], alone)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_how_the_bytes_arrive_changes_nothing(size):
    content = sent(1, item(BINARY, "attachment")) + b"broken\n" + sent(2, item(b"", "x")) + item(b"{", length=9)
    whole = list(envelopes.records(iter([content])))
    parts = (content[start : start + size] for start in range(0, len(content), size))
    assert list(envelopes.records(parts)) == whole
    assert list(envelopes.records(iter([b"", content[:5], b"", content[5:], b""]))) == whole


DAMAGE = {
    "a header that is no JSON": (b'{"event_id":\n' + item(event(2)), 1, ["a header is not JSON"]),
    "a header of an item that is no JSON": (
        envelope(b'{"type":"event"\n' + compact(event(2)) + b"\n"), 0,
        ["a header is not JSON", "an event without the header of its item"],
    ),
    "a header that is none": (b'{"colour":"red"}\n', 0, ["a header is neither of an envelope nor of an item"]),
    "a header that is a list": (b"[1]\n", 0, ["a header is not JSON"]),
    "a header with a type that is none": (envelope(item(event(2), 5)), 0, ["neither of an", "an event without"]),
    "a line of text": (b"it is full\n\n\nit is full\n", 0, ["a header is not JSON"]),
    "NULs": (bytes(3_000) + b"\n", 0, ["a header is not JSON"]),
    "NULs in front of a header": (b"\0\0" + compact({"event_id": ID}) + b"\n", 0, ["a header is not JSON"]),
    "UTF-16": (compact({}).decode().encode("utf-16-le") + b"\n", 0, ["a header is not JSON"]),
    "a NUL in an event": (envelope(item(b'{"event_id":"\0"}')), 0, ["not JSON: Invalid control character"]),
    "an event that is no JSON": (envelope(item(b'{"event_id":')), 0, ["not JSON"]),
    "an event that is no JSON, without a length": (envelope(item(b"{", length=None)), 0, ["not JSON"]),
    "an event that is empty": (envelope(item(b"")), 0, ["not JSON"]),
    "an event that is no text": (envelope(item(b'{"a":"\xff"}')), 0, ["not UTF-8 text"]),
    "an event that is no object": (envelope(item([event(2)])), 0, ["an event that is no JSON object"]),
    "an event with a number that is none": (envelope(item(b'{"a":NaN}')), 0, ["NaN is no JSON number"]),
    "an event that closes what is around it": (
        envelope(item(compact(event(2)) + b',"item of an envelope","7",null],["session"')), 0, ["not JSON: Extra data"],
    ),
    "an event nested too deeply": (envelope(item(b"[" * 9_000 + b"]" * 9_000)), 0, ["nested too deeply"]),
    "an event without an id": (envelope(item(event(2, event_id=...))), 0, ["event_id: missing"]),
    "an event without a header": (compact(event(2)) + b"\n", 0, ["an event without the header of its item"]),
    "a length that is too small": (envelope(item(event(2), length=20)), 0, ["length: 20 is wrong"]),
    "a length that is 0": (envelope(item(event(2), length=0)), 0, ["length: 0 is wrong"]),
    "a length that is too large": (
        envelope(item(event(2), length=len(compact(event(2))) + 30)), 0, ["is wrong for this item"],
    ),
    "a length that counts the break": (
        envelope(item(event(2), length=len(compact(event(2))) + 1)), 0, ["is wrong for this item"],
    ),
    "a length that swallows whole lines": (
        envelope(item(event(2), length=len(compact(event(2)) + b"\n" + item(b"{}", "session")) - 1),
                 item(b"{}", "session")), 0, ["not JSON: Extra data"],
    ),
    "a length past the end": (envelope(item(event(2), length=10_000)), 0, ["the file ends .* or the length is wrong"]),
    "a length past all measure": (envelope(item(event(2), length=10**15)), 0, ["is wrong for this item"]),
    "a length below 0": (envelope(item(event(2), length=-1)), 0, ["length: not a whole number"]),
    "a length that is text": (envelope(item(event(2), length="9")), 0, ["length: not a whole number"]),
    "a length that is a truth": (envelope(item(event(2), length=True)), 0, ["length: not a whole number"]),
    "a length with a fraction": (envelope(item(event(2), length=9.5)), 0, ["length: not a whole number"]),
    "an attachment with a length that is too small": (
        envelope(item(b"a\nb\n\x00" * 99, "attachment", length=9)), 0, ["length: 9 is wrong for this item .attachment"],
    ),
    "an attachment with a length below 0": (
        envelope(item(b"a\nb\n\x00" * 99, "attachment", length=-9)), 0, [r"not a whole number .* .attachment"],
    ),
    "two headers of one length": (envelope(item(event(2), length=20), item(event(3))), 1, ["length: 20 is wrong"]),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_costs_only_what_is_damaged(name):
    content, more, words = DAMAGE[name]
    rows, rejects, _, _, found = read_all(sent(90) + content + sent(91) + sent(92))
    assert found == {"envelopes"}
    healthy = rows.filter(pl.col("event_id").is_in([f"{number:032x}" for number in (90, 91, 92)]))
    assert healthy["project_id"].to_list() == [42, 42, 42]
    assert rows.height == 3 + more
    assert len(words) == rejects.height
    for said, found_there in zip(words, reasons(rejects), strict=True):
        assert re.search(said, found_there)
    assert rejects["row"].n_unique() == rejects.height
    assert rejects["row"].is_between(2, 1 + rejects.height).all()


def test_a_reject_says_where_and_shows_what_stood_there():
    start = len(sent(1))
    rows, rejects, *_ = read_all(sent(1) + b'{"event_id":"\xff\xfe"}\n' + sent(2) + envelope(item('{"thé":'.encode())))
    assert rows.height == 2
    assert [re.findall(r"byte (\d+) of the file", said) for said in reasons(rejects)] == [
        [str(start)],
        [str(len(sent(1) + b'{"event_id":"\xff\xfe"}\n' + sent(2) + envelope()))],
    ]
    assert rejects["raw"].to_list() == ['{"event_id":"��"}', '{"thé":']
    assert rejects["row"].to_list() == [2, 4]


def test_the_project_of_an_unreadable_header_is_not_that_of_the_envelope_before():
    rows, *_ = read_all(sent(1) + b'{"dsn":\n' + item(event(2)) + sent(3))
    assert dict(rows.select("event_id", "project_id").rows()) == {f"{1:032x}": 42, f"{2:032x}": 0, f"{3:032x}": 42}
    # while an event with a wrong length does not change what envelope the next one is in
    rows, *_ = read_all(envelope(item(event(1), length=3), item(event(2))))
    assert rows["project_id"].to_list() == [42]


def test_what_comes_before_the_cut_stays_and_one_reject_says_so():
    items = [item(event(1)), item(BINARY, "attachment"), item({"sid": ID}, "session"), item(event(2))]
    content = envelope(*items[:2], event_id="a") + b"{}\n" + items[2] + envelope(items[3], event_id="b") + b"\n"
    ends = [m.end() for m in re.finditer(re.escape(compact(event(1))) + b"|" + re.escape(compact(event(2))), content)]
    assert len(ends) == 2
    # a file may end after any item, and before or after the break that follows it
    whole = [len(envelope(items[0], event_id="a")), len(envelope(*items[:2], event_id="a"))]
    whole += [whole[1] + 3, whole[1] + 3 + len(items[2])]
    fine = {*whole, *(end - 1 for end in whole), len(content), len(content) - 1, len(content) - 2}
    told = len(envelope(items[0].split(b"\n")[0], event_id="a"))  # before, nobody can tell what it is
    # every byte near where something ends, and every ninth elsewhere: inside a value they are all alike
    breaks = [place for place, byte in enumerate(content) if byte == ord("\n")]
    near = {place + by for place in (*fine, *ends, *breaks, told) for by in range(-3, 4)}
    for cut in sorted({*near, *range(told, len(content), 9)} & {*range(told, len(content) + 1)}):
        rows, rejects, _, _, found = read_all(content[:cut])
        assert found == {"envelopes"}
        assert rows.height == sum(end <= cut for end in ends), cut
        assert rejects.height == (cut not in fine), (cut, reasons(rejects))
        assert all("the file ends" in said for said in reasons(rejects))


def test_a_truncated_container_is_no_shorter_file(tmp_path):
    path = tmp_path / "events.envelope.gz"
    path.write_bytes(gzip.compress(sent(1) + sent(2))[:-9])
    with pytest.raises(ExportError, match="truncated"):
        read(path, "occurrences", Options())


def test_a_record_of_16_mib_is_one_reject_and_an_attachment_of_any_size_none():
    long = compact(event(2, extra="x" * MAX_RECORD))
    for length in (..., None):
        content = sent(1) + envelope(item(long, length=length)) + sent(3)
        rows, rejects, *_ = read_all(content)
        assert rows.height == 2
        assert reasons(rejects)[0].startswith("longer than 16 MiB")
        assert rejects["raw"][0].startswith('{"event_id":"000')
    # and so is a line where a header should be
    rows, rejects, *_ = read_all(sent(1) + b"x" * (MAX_RECORD + 9) + b"\n" + sent(3))
    assert (rows.height, rejects.height) == (2, 1)
    assert reasons(rejects)[0].startswith("a header longer than 16 MiB")
    for wrong in (len(long) - 5, len(long) + 2):
        rows, rejects, *_ = read_all(sent(1) + envelope(item(long, length=wrong)) + sent(3) + sent(4))
        assert "is wrong for this item" in reasons(rejects)[0]
        assert f"{4:032x}" in rows["event_id"]
        assert rejects.height <= 2


def test_memory_does_not_depend_on_what_is_passed_over():
    chunk = bytes(files.CHUNK)

    def stream(chunks):
        yield sent(1)[: -len("\n")] + b"\n"
        yield compact({"type": "attachment", "length": len(chunk) * chunks}) + b"\n"
        yield from itertools.repeat(chunk, chunks)
        yield b"\n" + compact({"type": "session"}) + b"\n"
        yield from itertools.repeat(chunk, chunks)  # one line without a length
        yield b"\n" + sent(2)

    tracemalloc.start()
    got = list(envelopes.records(stream(300)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    texts = b"\n".join(piece.text for piece in got).split(b"\n")
    assert [text[:12] for text in texts] == [b'[{"event_id"', b'["attachment', b'["session", ', b'[{"event_id"']
    assert all(piece.problem is None for piece in got)
    assert peak < 8 * files.CHUNK


def test_events_come_in_blocks_of_bounded_size():
    one_event = sent(1, item(b"{}", "session"), extra="x" * 100_000)
    sizes = [len(piece.text) for piece in envelopes.records(itertools.repeat(one_event, 200))]
    assert sum(sizes) > 20_000_000
    assert max(sizes) < 2**22 + 200_000
    short = [piece.text.count(b"\n") for piece in envelopes.records(itertools.repeat(item(b"", "x"), 200_000))]
    assert max(short) < 2**16


def test_types_without_end_do_not_fill_the_memory():
    content = b"{}\n" + b"".join(item(b"", f"type-{number}") for number in range(500)) + sent(1)
    _, _, tally, ignored, _ = read_all(content)
    assert tally.read == 1
    assert sum(ignored.values()) == 500
    assert len(ignored) == 101
    assert ignored["of no known type"] == 400


def test_a_file_of_sessions_is_no_stranger(tmp_path):
    content = b"{}\n" + item({"sid": ID}, "session")
    rows, rejects, tally, ignored, found = read_all(content)
    assert (rows.height, rejects.height, tally.read, ignored, found) == (0, 0, 0, {"session": 1}, {"envelopes"})


# --- what any bytes and any values do --------------------------------------------------------------------------------

HEALTHY = (
    envelope(item(event(1)), item(BINARY, "attachment"), event_id=f"{1:032x}")
    + b"{}\n"
    + item({"sid": ID}, "session", length=None)
    + envelope(
        item({**STORED, "event_id": ID}), item(b"", "attachment"), item(event(2, **PLAIN, message="é"), length=None)
    )
    + envelope(item(event(3, type="transaction"), "transaction"))
    + b"\n"
    + sent(4)
)

changes_of_bytes = st.lists(
    st.tuples(
        st.integers(0, len(HEALTHY)),
        st.integers(0, 40),
        st.one_of(
            st.binary(max_size=12),
            st.sampled_from([
                b"", b"\n", b"\r\n", b"\0", b"{}\n", b"{", b"}", b'"', b",", b"9", b"-", b"\xff", b'{"type":"event"}\n',
                b'{"type":"x","length":9}\n', b'{"event_id":"0"}\n', HEALTHY[:300],
            ]),
        ),
    ),
    max_size=4,
)  # fmt: skip


@LAW
@given(changes=changes_of_bytes, cut=st.integers(0, 2 * len(HEALTHY)), form=st.sampled_from([None, "envelopes"]))
@example(changes=[], cut=2 * len(HEALTHY), form=None)
def test_any_bytes_are_read_or_rejected(changes, cut, form):
    content = HEALTHY
    for at, gone, put in changes:
        content = content[:at] + put + content[at + gone :]
    try:
        rows, rejects, tally, ignored, found = read_all(content[:cut], format=form)
    except ExportError:
        return
    assert tally.other == 0
    if not changes and cut >= len(HEALTHY):
        assert (rows.height, rejects.height, found) == (4, 0, {"envelopes"})
        assert ignored == {"attachment": 2, "session": 1, "transaction": 1}


@LAW
@given(content=st.binary(max_size=300))
def test_any_bytes_at_all_give_pieces_that_number_on(content):
    number = 1
    for piece in envelopes.records(iter([content])):
        assert piece.first == number
        number += 1 if piece.problem is not None else piece.text.count(b"\n") + 1


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=9),
    st.sampled_from(["", "\ud800", "2026-01-05T09:00:00", "{{ default }}", 1e400, ID]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["values", "frames", "type", "value", "message", "id"]), inner, max_size=3),
    ),
    max_leaves=6,
)
RICH = event(
    1, logentry={"message": "a %s", "params": [1], "formatted": "a 1"}, fingerprint=["a", "{{ default }}"],
    received=1767603601, project=7, hashes=[ID], stacktrace={"frames": IN_APP}, type="error", group_id=None,
    **{"sentry.interfaces.Exception": [raised()], "sentry.interfaces.Message": {"message": "x"}},
)  # fmt: skip


def paths_in(value, path=()):
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from paths_in(part, (*path, name))


def changed(value, path, new):
    if not path:
        return new
    value = copy.copy(value)
    if new is ... and len(path) == 1:
        del value[path[0]]
    else:
        value[path[0]] = changed(value[path[0]], path[1:], new)
    return value


@LAW
@given(
    changes=st.lists(
        st.tuples(st.sampled_from([path for path in paths_in(RICH) if path]), st.one_of(st.just(...), values)),
        min_size=1,
        max_size=3,
    )
)
def test_any_value_anywhere_in_an_event_is_read_or_rejected(changes):
    record = RICH
    for path, new in changes:
        try:
            record = changed(record, path, new)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    text = json.dumps(record).encode()
    rows, _, tally, ignored, _ = read_all(lines(event(2)) + text + b"\n", format="sdk_events")
    assert tally.read + sum(ignored.values()) == 2
    assert f"{2:032x}" in rows["event_id"]
    again = read_all(sent(2) + envelope(item(text), dsn=None))
    assert (again[2].read, again[3]) == (tally.read, ignored)
    if rows.height == 2:
        assert again[0].height == 2 or rows["event_id"][0] == rows["event_id"][1]
        own = pl.col("event_id") != f"{2:032x}"
        assert_frame_equal(again[0].filter(own), rows.filter(own))


# --- round trips -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sim():
    return ia.simulate(groups=60, days=21, seed=5)


@pytest.fixture(scope="module")
def written(sim, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdk")
    sim.write(folder, formats=["sdk_events", "envelopes"])
    return folder


def test_what_the_simulator_writes_comes_back(sim, written):
    events = sorted(written.rglob("sdk-events-*"))
    alone, rejects, tally, _ = read(events, "occurrences", Options())
    assert rejects.is_empty()
    assert tally.accepted > 200
    enclosed, rejects, again, _ = read(next(written.rglob("*.envelope.gz")), "occurrences", Options())
    assert rejects.is_empty()
    assert again == tally
    own = ["occurrence_id", "event_id", "type", "fingerprint", "title", "level", "detected_at", "received_at"]
    assert_frame_equal(alone.select(own).sort("event_id"), enclosed.select(own).sort("event_id"))

    truth = sim.occurrences.join(enclosed, on="occurrence_id", how="semi").sort("occurrence_id")
    found = enclosed.sort("occurrence_id")
    assert truth.height == found.height
    assert set(truth["type"]) == set(found["type"]) == {1}
    for column in ("project_id", "level", "detected_at"):
        assert_frame_equal(truth.select(column), found.select(column))
    pairs = pl.DataFrame({"ours": found["group_id"], "theirs": truth["group_id"]}).unique()
    assert pairs["ours"].is_unique().all()
    assert pairs["theirs"].is_unique().all()
    whole = truth["title"].str.split("\n").list.first().str.len_chars() < 100
    same = truth["title"].str.strip_chars() == found["title"].str.strip_chars()
    assert same.filter(whole & ~truth["title"].str.contains(r"[\r\n\x0b\x0c\x1c-\x1e\x85\x{2028}\x{2029}]")).all()


def test_an_import_says_what_was_found(written, tmp_path):
    dataset = ia.import_export(written, tmp_path / "data")
    totals = dataset.manifest["totals"]["occurrences"]
    # the same events twice: alone and in envelopes
    assert totals["rejected"] == 0
    assert totals["read"] == 2 * totals["accepted"] == 2 * totals["duplicates"]
    found = {source["found"]: source["ignored"] for source in dataset.manifest["sources"]}
    assert found["sdk_events"] == {}
    assert set(found["envelopes"]) == {"attachment", "session", "client_report", "transaction"}
    again = ia.import_export(written, tmp_path / "data")
    assert again.manifest["totals"]["occurrences"] == totals


def test_damaged_files_add_up_in_an_import(tmp_path):
    (tmp_path / "in").mkdir()
    for number, (content, *_) in enumerate(DAMAGE.values()):
        (tmp_path / "in" / f"{number:02}.envelope").write_bytes(sent(90) + content + sent(1000 + number))
    (tmp_path / "in" / "events_000001.jsonl.gz").write_bytes(
        gzip.compress(lines(STORED, event(5, event_id=...), event(6, type="transaction"), event(7, timestamp="soon")))
    )
    dataset = ia.import_export(tmp_path / "in", tmp_path / "data")
    totals = dataset.manifest["totals"]["occurrences"]
    assert totals["read"] == totals["accepted"] + totals["rejected"] + totals["duplicates"]
    assert totals["rejected"] == sum(len(words) for _, _, words in DAMAGE.values()) + 2
    assert dataset.rejects.collect().height == totals["rejected"]
    assert totals["duplicates"] >= len(DAMAGE) - 1  # number 90 is in each of them


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return sdk_recorder.record(tmp_path_factory.mktemp("recorded"), project_id=101)


def test_what_the_real_sdk_sends_is_read(recorded):
    groups = {}
    for path, expected in recorded:
        rows, rejects, tally, ignored, found = read_all(path.read_bytes())
        assert rejects.is_empty()
        assert found == {"envelopes" if path.suffix == ".envelope" else "sdk_events"}
        if expected is None:
            assert (tally.read, set(ignored)) == (0, {"sessions"} if "sessions" in ignored else {"session"})
            continue
        (row,) = rows.iter_rows(named=True)
        assert row["event_id"] == row["occurrence_id"] == expected["event_id"]
        assert row["level"] == expected["level"]
        assert row["fingerprint"] == expected["fingerprint"]
        assert (row["type"], row["project_id"], row["received_at"]) == (1, 0, None)
        low, high = expected["between"]
        assert low - 1e-3 <= row["detected_at"].timestamp() <= high + 1e-3
        title = expected["message"] or f"{expected['type']}: {expected['value']}"
        assert row["title"] == title.splitlines()[0]
        groups.setdefault(expected["group"], set()).add(row["group_id"])
    assert all(len(found) == 1 for found in groups.values()), groups
    assert len(set.union(*groups.values())) == len(groups) == 7


def test_recorded_envelopes_one_after_the_other_are_one_file(recorded):
    paths = [path for path, _ in recorded if path.suffix == ".envelope"]
    rows, rejects, _, ignored, _ = read_all(b"".join(path.read_bytes() for path in paths))
    assert rejects.is_empty()
    assert rows.height == sum(expected is not None for _, expected in recorded) / 2
    assert ignored["attachment"] == 1  # in which lines stand that look like headers
