import copy
import dataclasses
import gzip
import hashlib
import json
import pickle
import re
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import polars as pl
import pytest
import sentry_kafka_schemas
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import issue_analytics as ia
from issue_analytics.errors import FrameError
from issue_analytics.exports.identity import stable_group_id
from issue_analytics.exports.values import times
from issue_analytics.frames import check, empty
from issue_analytics.issues import occurrences_by_event
from issue_analytics.issues.payload import as_time

A, B, C, D = (letter * 32 for letter in "abcd")

STORED = {
    "id": A,
    "project_id": 3,
    "event_id": B,
    "fingerprint": [C],
    "issue_title": "N+1 Query",
    "subtitle": "SELECT 1",
    "resource_id": None,
    "evidence_data": {"op": "db", "parent_span_ids": ["b3da1046fed392a3"]},
    "evidence_display": [
        {"name": "Transaction", "value": "/books/", "important": False},
        {"name": "Offending Spans", "value": "SELECT 1", "important": True},
        {"name": "Pattern", "value": "always", "important": True},
    ],
    "type": 1006,
    "detection_time": 1717713781.1,
    "level": "warning",
    "culprit": "/books/",
    "initial_issue_priority": 25,
    "assignee": "team:45",
}

# what the tracker wrote before it knew priorities
OLD = {name: value for name, value in STORED.items() if name not in ("initial_issue_priority", "assignee")} | {
    "transaction_duration": 250
}

# the message of a monitor, as producers send it: ids with dashes, raw fingerprint, its event within
TOPIC = {
    "id": str(UUID(A)),
    "project_id": 1,
    "fingerprint": ["monitor-7", "eu"],
    "issue_title": "Monitor failure: poll_service",
    "subtitle": "Your monitor has reached its failure threshold.",
    "resource_id": None,
    "evidence_data": {},
    "evidence_display": [{"name": "Failure reason", "value": "A missed check-in was detected", "important": True}],
    "type": 4001,
    "detection_time": 1717713781.1,
    "level": "error",
    "culprit": "",
    "initial_issue_priority": None,
    "assignee": None,
    "payload_type": "occurrence",
    "is_buffered_spans": False,
    "event": {
        "event_id": str(UUID(B)).upper(),
        "project_id": 1,
        "platform": "other",
        "received": "2024-06-06T22:43:02.100000+00:00",
        "timestamp": "2024-06-06T22:43:01.100000+00:00",
        "tags": {"monitor.slug": "poll_service"},
    },
}

# what the published schema asks for and a record cannot do without
LEAST = {"id": A, "project_id": 3, "event_id": B, "fingerprint": [C], "detection_time": 1717713781}

VERSIONS = {"stored": STORED, "old": OLD, "topic": TOPIC, "least": LEAST}

AT = datetime(2024, 6, 6, 22, 43, 1, 100_000, tzinfo=UTC)


def everything(record):
    """All fields: records are equal by id alone."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def without(payload, *names):
    return {name: value for name, value in payload.items() if name not in names}


# --- versions of the payload -----------------------------------------------------------------------------------------


def test_the_stored_form_is_read_and_written_as_it_is():
    record = ia.IssueOccurrence.from_dict(STORED)
    assert record.to_dict() == STORED
    assert list(record.to_dict()) == list(STORED)
    assert (record.id, record.project_id, record.event_id, record.fingerprint) == (A, 3, B, (C,))
    assert (record.detection_time, record.type, record.level) == (AT, 1006, "warning")
    assert record.evidence_display[0] == ia.IssueEvidence("Transaction", "/books/", False)
    assert record.evidence_data == {"op": "db", "parent_span_ids": ["b3da1046fed392a3"]}
    assert (record.initial_issue_priority, record.assignee, record.transaction_duration) == (25, "team:45", 0)
    assert record.received_at is None


def test_the_old_form_keeps_its_duration():
    record = ia.IssueOccurrence.from_dict(OLD)
    assert record.transaction_duration == 250
    assert (record.initial_issue_priority, record.assignee) == (None, None)
    assert record.to_dict() == OLD | {"initial_issue_priority": None, "assignee": None}
    assert ia.IssueOccurrence.from_dict(OLD | {"transaction_duration": None}).transaction_duration == 0


def test_the_topic_form_keeps_its_event():
    record = ia.IssueOccurrence.from_dict(TOPIC)
    assert (record.id, record.event_id, record.fingerprint) == (A, B, ("monitor-7", "eu"))
    assert record.received_at == AT + timedelta(seconds=1)
    assert record.to_dict() == TOPIC | {"id": A, "event_id": B}
    assert set(record.extra) == {"payload_type", "is_buffered_spans", "event"}


def test_defaults_of_what_is_missing_or_null():
    names = ("issue_title", "subtitle", "resource_id", "evidence_data", "evidence_display", "type", "level", "culprit")
    nulls = LEAST | dict.fromkeys((*names, "initial_issue_priority", "assignee", "transaction_duration", "event"))
    for payload in (LEAST, nulls):
        record = ia.IssueOccurrence.from_dict(payload)
        assert (record.level, record.culprit, record.transaction_duration) == ("info", "", 0)
        assert (record.issue_title, record.subtitle, record.type, record.group_id) == (None, None, None, None)
        assert (record.evidence_data, record.evidence_display, record.important_evidence_display) == ({}, (), None)


def test_an_event_id_of_its_own_counts_first():
    assert ia.IssueOccurrence.from_dict(TOPIC | {"event_id": D}).event_id == D
    assert ia.IssueOccurrence.from_dict(TOPIC | {"event_id": None}).event_id == B


@pytest.mark.parametrize(
    "time",
    [
        1717713781.1,
        "2024-06-06T22:43:01.1Z",
        "2024-06-06T22:43:01.100000+00:00",
        "2024-06-07 00:43:01,1+02:00",
        AT,
        AT.astimezone(timezone(timedelta(hours=-5))),
    ],
)
def test_times_of_one_moment(time):
    record = ia.IssueOccurrence.from_dict(LEAST | {"detection_time": time})
    assert record.detection_time == AT
    assert record.detection_time.tzinfo is UTC
    assert record.to_dict()["detection_time"] == 1717713781.1


def test_fields_nobody_knows_are_kept():
    payload = STORED | {"novel": {"deep": [1, None]}, "evidence_display": [{"name": "a", "value": "b", "unit": "ms"}]}
    record = ia.IssueOccurrence.from_dict(payload)
    assert record.extra == {"novel": {"deep": [1, None]}}
    assert record.evidence_display[0].extra == {"unit": "ms"}
    evidence = {"name": "a", "value": "b", "important": False, "unit": "ms"}
    assert record.to_dict() == payload | {"evidence_display": [evidence]}


def test_unknown_types_levels_and_priorities_are_kept():
    record = ia.IssueOccurrence.from_dict(STORED | {"type": 424242, "level": "dire", "initial_issue_priority": 99})
    assert (record.type, record.level, record.initial_issue_priority) == (424242, "dire", 99)


# --- what a record is ------------------------------------------------------------------------------------------------


def test_equality_and_hash_are_by_id():
    record = ia.IssueOccurrence.from_dict(STORED)
    same = ia.IssueOccurrence.from_dict(STORED | {"id": str(UUID(A)), "issue_title": "another", "project_id": 4})
    other = ia.IssueOccurrence.from_dict(STORED | {"id": D})
    assert record == same
    assert hash(record) == hash(same)
    assert record != other
    assert record != A
    assert {record, same, other} == {record, other}


def test_the_first_important_evidence():
    assert ia.IssueOccurrence.from_dict(STORED).important_evidence_display.name == "Offending Spans"


def test_the_storage_identifier():
    for payload in (STORED, STORED | {"id": str(UUID(A))}):
        key = hashlib.md5(f"{A}::3".encode(), usedforsecurity=False).hexdigest()
        assert ia.IssueOccurrence.from_dict(payload).storage_identifier == f"i-o:{key}"


def test_raw_and_hashed_fingerprints_are_one_group():
    hashed = [hashlib.md5(part.encode(), usedforsecurity=False).hexdigest() for part in TOPIC["fingerprint"]]
    raw = ia.IssueOccurrence.from_dict(TOPIC)
    stored = ia.IssueOccurrence.from_dict(TOPIC | {"fingerprint": hashed})
    assert raw.group_hash == stored.group_hash == hashed[0]
    assert raw.to_row()["group_id"] == stored.to_row()["group_id"] == stable_group_id(1, "monitor-7")
    assert raw.to_row()["group_id"] == 1_843_607_334_818_930_373  # datasets hold such ids: they must stay as they are
    assert raw.to_row(group_id=8)["group_id"] == 8
    assert ia.IssueOccurrence.from_dict(TOPIC | {"fingerprint": ["monitor-7", "us"]}).group_hash == raw.group_hash


def test_a_record_is_frozen_and_nobody_elses():
    payload = copy.deepcopy(STORED)
    record = ia.IssueOccurrence.from_dict(payload)
    payload["evidence_data"]["parent_span_ids"].append("x")
    payload["fingerprint"].append("x")
    record.to_dict()["evidence_data"]["parent_span_ids"].append("x")
    record.to_dict()["fingerprint"].append("x")
    assert record.to_dict() == STORED
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.level = "error"


def test_a_record_travels_and_can_be_varied():
    record = ia.IssueOccurrence.from_dict(TOPIC)
    travelled = pickle.loads(pickle.dumps(record))  # noqa: S301 # our own bytes
    for same in (travelled, copy.deepcopy(record), dataclasses.replace(record)):
        assert everything(same) == everything(record)
    assert dataclasses.replace(record, level="fatal").level == "fatal"
    assert len({*record.evidence_display, ia.IssueEvidence("a", "b", False, {"unit": "ms"})}) == 2


def test_half_a_character_is_none():
    record = ia.IssueOccurrence.from_dict(STORED | {"issue_title": "a\ud83db", "fingerprint": ["\udc00"]})
    assert (record.issue_title, record.fingerprint) == ("a\ufffdb", ("\ufffd",))


def test_deep_evidence_is_no_matter():
    deep = {}
    for _ in range(200):
        deep = {"deeper": deep}
    assert ia.IssueOccurrence.from_dict(STORED | {"evidence_data": deep}).to_dict()["evidence_data"] == deep


# --- events ----------------------------------------------------------------------------------------------------------


def test_one_event_has_none_one_or_many_occurrences():
    def occurrence(name, event_id, time):
        return ia.IssueOccurrence.from_dict(LEAST | {"id": name, "event_id": event_id, "detection_time": time})

    late, early, tie = (occurrence(name, str(UUID(B)), time) for name, time in (("1", 9e8), ("3", 8e8), ("2", 8e8)))
    again, alone = occurrence("1", B, 7e8), occurrence("4", D, 8e8)
    found = occurrences_by_event(iter([alone, late, early, again, tie]), events=[str(UUID(C)), D])
    assert {event: [one.id for one in ones] for event, ones in found.items()} == {C: [], D: ["4"], B: ["2", "3", "1"]}
    assert list(found) == [C, D, B]
    assert found[B][2] is late
    assert occurrences_by_event([]) == {}


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": None}, "id: missing"),
        ({"id": ""}, "id: missing"),
        ({"id": 7}, "id: expected text, got 7"),
        ({"project_id": None}, "project_id: missing"),
        ({"project_id": "3"}, "project_id: expected a whole number, got '3'"),
        ({"project_id": True}, "project_id: expected a whole number, got True"),
        ({"project_id": -1}, "project_id: -1 is negative"),
        ({"project_id": 2**63}, "project_id: 9223372036854775808 is too large"),
        ({"event_id": None}, "event_id: missing, and no event.event_id"),
        ({"event_id": None, "event": {"event_id": 7}}, "event_id: expected text, got 7"),
        ({"event_id": None, "event": {"project_id": 3}}, "event_id: missing, and no event.event_id"),
        ({"fingerprint": None}, "fingerprint: missing"),
        ({"fingerprint": C}, f"fingerprint: expected a list of text, got '{C[:20]}"),
        ({"fingerprint": []}, "fingerprint: empty"),
        ({"fingerprint": [""]}, "fingerprint: empty"),
        ({"fingerprint": [C, 5]}, "fingerprint[1]: expected text, got 5"),
        ({"fingerprint": [None]}, "fingerprint[0]: null"),
        ({"issue_title": ["a"]}, "issue_title: expected text, got ['a']"),
        ({"type": "1006"}, "type: expected a whole number, got '1006'"),
        ({"type": 1006.0}, "type: expected a whole number, got 1006.0"),
        ({"type": 10**5000}, "type: a huge int is too large"),
        ({"detection_time": None}, "detection_time: missing; a time with a zone"),
        ({"detection_time": float("nan")}, "detection_time: nan is no time"),
        ({"detection_time": float("inf")}, "detection_time: inf is no time"),
        ({"detection_time": 10**400}, "detection_time: 100000"),
        ({"detection_time": 1717713781100}, "detection_time: 1717713781100 is no time; write seconds since 1970"),
        ({"detection_time": 5}, "detection_time: 5 lies outside the years 1990 to 2100"),
        ({"detection_time": True}, "detection_time: expected seconds since 1970 or ISO 8601 text, got True"),
        ({"detection_time": "noon"}, "detection_time: 'noon' is no time"),
        ({"detection_time": "2024-06-06T22:43:01"}, "detection_time: no time zone: '2024-06-06T22:43:01'"),
        ({"detection_time": "0001-01-01T00:00:00+14:00"}, "detection_time: '0001-01-01T00:00:00+14:00' lies outside"),
        ({"evidence_data": []}, "evidence_data: expected an object, got []"),
        ({"evidence_data": {"a": float("nan")}}, "evidence_data: cannot be written as JSON"),
        ({"evidence_data": {"a": AT}}, "evidence_data: cannot be written as JSON"),
        ({"evidence_display": {}}, "evidence_display: expected a list, got {}"),
        ({"evidence_display": ["a"]}, "evidence_display[0]: expected a mapping, such as json.loads gives, got 'a'"),
        (
            {"evidence_display": [{"name": "a", "value": "b"}, {"value": 3}]},
            "evidence_display[1]: name: missing; text is needed. value: expected text, got 3",
        ),
        (
            {"evidence_display": [{"name": "a", "value": "b", "important": 1}]},
            "evidence_display[0]: important: expected true or false, got 1",
        ),
        ({"level": 40}, "level: expected text, got 40"),
        ({"initial_issue_priority": "high"}, "initial_issue_priority: expected a whole number, got 'high'"),
        ({"assignee": 45}, "assignee: expected text, got 45"),
        ({"transaction_duration": 1.5}, "transaction_duration: expected a whole number, got 1.5"),
        ({"group_id": "SHOP-1"}, "group_id: expected a whole number, got 'SHOP-1'"),
        ({"payload_type": "status_change"}, "read_status_changes reads such messages"),
        ({"payload_type": "novel"}, "payload_type: 'novel' is no occurrence"),
        ({"payload_type": 0}, "payload_type: 0 is no occurrence"),
        ({"payload_type": {}}, "payload_type: {} is no occurrence"),
        ({"event": []}, "event: expected an object, got []"),
        ({"event": {"project_id": 4}}, "event.project_id: 4, but project_id is 3; both must be the same"),
        ({"novel": {1, 2}}, "novel: cannot be written as JSON"),
    ],
)
def test_a_wrong_payload_names_its_field(change, words):
    with pytest.raises(FrameError, match=re.escape(words)):
        ia.IssueOccurrence.from_dict(STORED | change)


def test_every_problem_is_told_at_once():
    payload = {"id": 7, "type": "x", "fingerprint": "a", "event": 3, "evidence_display": [{}], "detection_time": "noon"}
    with pytest.raises(FrameError) as raised:
        ia.IssueOccurrence.from_dict(payload)
    message = str(raised.value)
    assert message.startswith("IssueOccurrence 7: id: expected text")
    for field in ("project_id", "event_id", "type", "fingerprint", "event", "evidence_display[0]", "detection_time"):
        assert f" {field}: " in message


def test_hostile_text_stays_harmless_in_a_message():
    with pytest.raises(FrameError) as raised:
        ia.IssueOccurrence.from_dict(STORED | {"id": "\x1b[31m" + "x" * 9_000, "type": "\u202e\n" + "y" * 9_000})
    message = str(raised.value)
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize("payload", [None, 7, "{}", [STORED]])
def test_what_is_no_payload_at_all(payload):
    with pytest.raises(FrameError, match="expected a mapping"):
        ia.IssueOccurrence.from_dict(payload)
    with pytest.raises(FrameError, match="expected a mapping"):
        ia.IssueEvidence.from_dict(payload)


def test_the_constructor_refuses_a_naive_time_and_clashing_extras():
    record = ia.IssueOccurrence.from_dict(STORED)
    with pytest.raises(FrameError, match="detection_time: no time zone: datetime"):
        dataclasses.replace(record, detection_time=datetime(2024, 6, 6))  # noqa: DTZ001 # that is the mistake
    with pytest.raises(FrameError, match="extra: holds level"):
        dataclasses.replace(record, extra={"level": "error"})
    with pytest.raises(FrameError, match="extra: expected a mapping"):
        dataclasses.replace(record, extra=None)
    with pytest.raises(FrameError, match=r"IssueEvidence: name: missing; text is needed\. important: expected true"):
        ia.IssueEvidence(None, "b", "yes")


# --- any payload -----------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
ids = st.one_of(
    st.uuids().map(str),
    st.uuids().map(lambda uuid: uuid.hex),
    st.uuids().map(lambda uuid: str(uuid).upper()),
    st.text(min_size=1, max_size=12),
)
halves = st.characters(categories=["Cs"])
words = st.text(max_size=20) | st.text(st.characters() | halves, max_size=8) | st.just('["a"]') | st.just("{")
objects = st.dictionaries(st.text(max_size=6), json_values, max_size=3)
moments = st.datetimes(datetime(1990, 1, 2), datetime(2099, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 # with one
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
STYLES = (
    "%Y-%m-%dT%H:%M:%S.%fZ",
    "%Y-%m-%d %H:%M:%S,%f UTC",
    "%Y-%m-%dT%H:%M:%S%f+00",
    " %Y-%m-%dt%H:%Mz",
    "%FT%T.%f999-0000",
)
iso = st.builds(lambda at, zone: at.astimezone(zone).isoformat(), moments, zones) | st.builds(
    datetime.strftime, moments, st.sampled_from(STYLES)
)
epochs = moments.map(datetime.timestamp) | st.integers(700_000_000, 4_000_000_000) | st.floats(7e8, 4e9)
fingerprints = st.lists(st.text(min_size=1, max_size=9) | st.just(C) | st.just("[x"), min_size=1, max_size=3)
evidence = st.fixed_dictionaries(
    {"name": words, "value": words, "important": st.booleans()}, optional={"unit": json_values}
)
whole = st.integers(0, 2**63 - 1)


def maybe(strategy):
    return st.none() | strategy


@st.composite
def payloads(draw):
    """A payload of any version: stored (first, old and present) or of the topic."""
    project = draw(whole)
    shared = {"id": ids, "fingerprint": fingerprints, "type": maybe(whole), "detection_time": epochs | iso}
    usual = {
        "issue_title": maybe(words),
        "subtitle": maybe(words),
        "resource_id": maybe(words),
        "evidence_data": maybe(objects),
        "evidence_display": maybe(st.lists(evidence, max_size=3)),
        "level": maybe(st.sampled_from(["error", "warning", "info", "dire", ""])),
        "culprit": maybe(words),
    }
    newer = {"initial_issue_priority": maybe(st.sampled_from([25, 50, 75])), "assignee": maybe(words)}
    joined = {"group_id": maybe(whole | whole.map(str))}
    older = {"transaction_duration": maybe(st.integers(0, 10**6))}
    novel = {"x_novel": json_values, "x_other": json_values}
    payload = draw(st.fixed_dictionaries(shared, optional={**usual, **newer, **joined, **older, **novel}))
    payload["project_id"] = project
    event = {
        "platform": st.just("python"),
        "received": maybe(iso | epochs | st.just("yesterday") | st.just("2026-01-05T09:00:00")),
        "timestamp": iso,
        "tags": st.dictionaries(words, words, max_size=2) | st.lists(st.tuples(words, words).map(list), max_size=2),
        "contexts": objects,
    }
    if draw(st.booleans()):
        topic = {"payload_type": maybe(st.sampled_from(["occurrence", ""])), "is_buffered_spans": st.booleans()}
        payload |= draw(st.fixed_dictionaries({}, optional=topic))
        payload["event"] = draw(st.fixed_dictionaries({"event_id": ids}, optional=event)) | {"project_id": project}
        payload |= draw(st.fixed_dictionaries({}, optional={"event_id": maybe(ids)}))
    else:
        payload["event_id"] = draw(ids)
    names = draw(st.permutations(list(payload)))
    return {name: payload[name] for name in names}


def is_broken(value):
    return isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value)


@given(payloads())
@settings(max_examples=100, deadline=None)
def test_a_round_trip_loses_nothing(payload):
    record = ia.IssueOccurrence.from_dict(payload)
    written = record.to_dict()
    text = json.dumps(written, allow_nan=False)
    again = ia.IssueOccurrence.from_dict(json.loads(text))
    assert again == record
    assert everything(again) == everything(record)
    assert again.to_dict() == written
    spelled = {"id", "event_id", "detection_time", "group_id", "fingerprint", "evidence_display"}
    for name, value in payload.items():
        if name not in spelled and value not in (None, 0, "") and not is_broken(value):
            assert written[name] == value


def line(payload, escaped):
    text = json.dumps(payload, ensure_ascii=escaped)
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a character can only be escaped
        return json.dumps(payload).encode()


unique = st.lists(payloads(), min_size=1, max_size=8, unique_by=lambda one: ia.IssueOccurrence.from_dict(one).id)


@given(found=unique, escaped=st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_record_and_a_row_agree(tmp_path_factory, found, escaped):
    path = tmp_path_factory.getbasetemp() / "payloads.jsonl"
    path.write_bytes(b"\n".join(line(payload, escaped) for payload in found))
    rows = [ia.IssueOccurrence.from_dict(payload).to_row() for payload in found]
    expected = check(pl.DataFrame(rows, schema=empty("Occurrences").schema, orient="row"), "Occurrences")
    occurrences, rejects = ia.read_occurrences(path)
    assert rejects.rows() == []
    assert_frame_equal(occurrences.sort("occurrence_id"), expected.sort("occurrence_id"))


nearly_iso = st.from_regex(
    r"\A ?(19|20)[0-9]{2}-?[01][0-9]-?[0-3][0-9]([Tt ][0-2][0-9](:?[0-6][0-9]){0,2}([.,]?[0-9]{0,9}))?"
    r" ?(Z|z|UTC|[+-][01][0-9]:?([0-7][0-9])?(:00)?)?\Z"
)
odd = st.sampled_from(
    ["2024-W23-4T00:00:00Z", "20240606T224301Z", "2024-06-06T22Z", "2024-06-06T22:43:01+18:00", "noon"]
)


@given(st.lists(iso | nearly_iso | odd, min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_records_take_the_times_that_readers_take(texts):
    texts = [
        text for text in texts if not re.fullmatch(r"\s*[0-9]+\s*", text)
    ]  # readers of tables take text for numbers
    assert times(pl.Series(texts, dtype=pl.String), "at")[0].to_list() == [as_time(text, "at", []) for text in texts]


@given(st.lists(epochs | st.floats(0, 1e11) | st.integers(-5, 10**11 - 1), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_records_take_the_numbers_that_readers_take(numbers):
    found = [as_time(number, "at", []) for number in numbers]
    for number, at in zip(numbers, found):
        assert times(pl.Series([number]), "at")[0].to_list() == [at]


def test_rows_of_simulated_records_are_the_simulation(tmp_path):
    sim = ia.simulate(groups=40, days=10, seed=2)
    (path,) = [path for path in sim.write(tmp_path) if path.name.startswith("occurrences-")]
    lines = gzip.decompress(path.read_bytes()).split(b"\n")[:-1]
    records = [ia.IssueOccurrence.from_dict(json.loads(line)) for line in lines]
    assert [json.loads(line) for line in lines] == [record.to_dict() for record in records]
    rows = pl.DataFrame([record.to_row() for record in records], schema=sim.occurrences.schema, orient="row")
    assert_frame_equal(rows, sim.occurrences)


@given(payloads())
@settings(max_examples=100, deadline=None)
def test_a_written_record_satisfies_the_published_schema(payload):
    codec = sentry_kafka_schemas.get_codec("ingest-occurrences")
    written = ia.IssueOccurrence.from_dict(payload).to_dict()
    codec.decode(json.dumps(written).encode())


def test_the_published_example_is_read():
    examples = [example.load() for example in sentry_kafka_schemas.iter_examples("ingest-occurrences")]
    assert examples
    for example in examples:
        record = ia.IssueOccurrence.from_dict(example)
        assert record.to_dict() == example
        assert (record.detection_time, record.received_at) == (AT, AT)
        assert record.important_evidence_display.name == "Failure reason"
