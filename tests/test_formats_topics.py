"""Messages of the event stream, and snapshots of group attributes: every field, every trap, and both ways to read."""

import copy
import gzip
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import sentry_kafka_schemas
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import issue_analytics as ia
from issue_analytics.exports.formats import messages
from issue_analytics.exports.identity import stable_group_id
from issue_analytics.exports.reading import Options, read, read_file
from issue_analytics.frames import KEY

EXAMPLES = Path(sentry_kafka_schemas.__file__).parent / "examples"
AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
STAMP = "2026-01-05T09:00:00.250000Z"
A, B, C, D = (letter * 32 for letter in "abcd")
GONE = object()
LAW = settings(max_examples=70, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def without_gone(record, changes):
    return {name: value for name, value in {**record, **changes}.items() if value is not GONE}


def groups(*ids):
    state = {"is_new": False, "is_regression": False, "is_new_group_environment": False}
    return {**state, "queue": "q", "skip_consume": False, "group_states": [{"id": one, **state} for one in ids]}


def generic(occurrence=None, data=None, states=(), **changes):
    payload = {
        "group_id": 10001, "group_ids": [10001], "event_id": A, "organization_id": 1, "project_id": 101,
        "message": "a message", "platform": "python", "datetime": STAMP, "primary_hash": B, "retention_days": 90,
        "data": without_gone(
            {"event_id": A, "level": "error", "type": "generic", "title": "<untitled>", "timestamp": 1767603600.25,
             "received": 1767603601.5, "tags": [["level", "error"]]},
            data or {},
        ),
        "occurrence_id": C,
        "occurrence_data": without_gone(
            {"id": C, "project_id": 6633039, "event_id": A, "fingerprint": [B, "x"], "issue_title": "Slow DB Query",
             "subtitle": None, "resource_id": None, "type": 1001, "detection_time": 1767603666.1, "level": "info",
             "culprit": None},
            occurrence or {},
        ),
    }  # fmt: skip
    return [2, "insert", without_gone(payload, changes), groups(*states)]


def error(data=None, states=(), **changes):
    payload = {
        "group_id": 10001, "group_ids": [10001], "event_id": A, "organization_id": 1, "project_id": 101,
        "message": "a message", "platform": "python", "datetime": STAMP, "primary_hash": B, "retention_days": None,
        "occurrence_id": None, "occurrence_data": {},
        "data": without_gone(
            {"event_id": A, "level": "fatal", "type": "error", "title": "KeyError: 'locale'",
             "timestamp": 1767603600.25, "received": 1767603601.5, "fingerprint": ["{{ default }}"], "hashes": [B, D],
             "tags": [None, [None, "x"], ["level", "error"]]},
            data or {},
        ),
    }  # fmt: skip
    return [2, "insert", without_gone(payload, changes), groups(*states)]


def change(kind, **payload):
    return [2, kind, {"project_id": 101, "datetime": STAMP, **payload}]


def put(folder, *records, name="dump"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(record if isinstance(record, str) else json.dumps(record) for record in records))
    return path


def first_reasons(rejects):
    return rejects["reasons"].list.first().to_list()


@pytest.fixture(params=[True, False], ids=["quick", "slow"])
def look(request, tmp_path):
    """Writes records to a file and reads one kind of them: frame, rejects and tally."""

    def of(kind, *records, **options):
        return read(put(tmp_path, *records), kind, Options(**options), fast=request.param)[:3]

    return of


# --- inserts ---------------------------------------------------------------------------------------------------------


def test_an_occurrence_with_its_event_becomes_a_row(look):
    frame, rejects, _ = look("occurrences", generic())
    assert rejects.height == 0
    assert frame.row(0, named=True) == {
        "occurrence_id": C,
        "event_id": A,
        "project_id": 101,  # the event's, not the occurrence's
        "group_id": 10001,
        "type": 1001,
        "fingerprint": [B, "x"],
        "title": "Slow DB Query",
        "level": "info",
        "detected_at": AT + timedelta(milliseconds=250),  # the event's own time, not that of detection
        "received_at": AT + timedelta(seconds=1.5),
    }


def test_an_error_becomes_a_row(look):
    frame, rejects, _ = look("occurrences", error())
    assert rejects.height == 0
    assert frame.row(0, named=True) == {
        "occurrence_id": A,
        "event_id": A,
        "project_id": 101,
        "group_id": 10001,
        "type": 1,
        "fingerprint": [B],
        "title": "KeyError: 'locale'",
        "level": "fatal",
        "detected_at": AT + timedelta(milliseconds=250),
        "received_at": AT + timedelta(seconds=1.5),
    }


@pytest.mark.parametrize("one", [generic, error])
@pytest.mark.parametrize(
    ("record", "group"),
    [
        ({"group_id": "10001"}, 10001),
        ({"group_id": None}, 10001),
        ({"group_id": None, "group_ids": ["7"]}, 7),
        ({"group_id": None, "group_ids": [7, "7", None, 7]}, 7),
        ({"group_id": None, "group_ids": [], "states": ["124"]}, 124),
        ({"group_id": None, "group_ids": None, "states": [124]}, 124),
        ({"group_id": GONE, "group_ids": GONE, "states": ["124", 124]}, 124),
        ({"group_id": GONE, "group_ids": GONE}, stable_group_id(101, B)),
        ({"group_id": 10001, "group_ids": [7, 8], "states": [9]}, 10001),
    ],
)
def test_the_group_is_named_in_one_of_three_places(look, one, record, group):
    frame, rejects, _ = look("occurrences", one(**record))
    assert rejects.height == 0
    assert frame["group_id"].to_list() == [group]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"group_id": None, "group_ids": [7, 8]}, "group_id: missing, and the event is said to be in several groups"),
        ({"group_id": None, "group_ids": [], "primary_hash": None, "occurrence": {"fingerprint": []}},
         "group_id: missing, and no fingerprint to stand for it"),
        ({"group_id": {"a": 1}}, 'group_id: not a whole number: "{"a": 1}"'),
        ({"group_id": -1}, 'group_id: negative: "-1"'),
        ({"project_id": "shop"}, 'project_id: not a whole number: "shop"'),
        ({"datetime": "2026-01-05T09:00:00"}, "detected_at: no time zone"),
        ({"datetime": "soon"}, 'detected_at: not a time: "soon"'),
        ({"datetime": None, "data": {"timestamp": None}}, "detected_at: missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_accepted_says_why_and_keeps_its_line(look, changes, reason):
    record = generic(**changes)
    frame, rejects, tally = look("occurrences", generic(event_id=D, occurrence_id=D), record)
    assert (tally.read, frame.height) == (2, 1)
    assert first_reasons(rejects)[0].startswith(reason)
    assert rejects["row"].to_list() == [2]
    assert rejects["raw"].to_list() == [json.dumps(record)[:1_000]]


def test_ids_are_read_with_dashes_and_without(look):
    dashed = "6A7BC3EE-3C4F-4F6C-9B51-5F1C28D7A6C1"
    frame, _, _ = look("occurrences", error(event_id=dashed), generic(event_id=dashed, occurrence_id=dashed[::-1]))
    plain = dashed.replace("-", "").lower()
    assert frame.select("event_id").to_series().to_list() == [plain] * 2
    assert frame["occurrence_id"].to_list()[0] == plain


@pytest.mark.parametrize(
    ("record", "column", "value"),
    [
        (generic(occurrence_id=None), "occurrence_id", C),
        (generic(occurrence_id=B), "occurrence_id", B),
        (generic({"issue_title": None}), "title", "<untitled>"),
        (generic({"issue_title": ""}, {"title": GONE}), "title", "a message"),
        (generic({"level": None}), "level", "error"),
        (generic({"level": None}, {"level": GONE}), "level", "info"),
        (generic({"fingerprint": []}), "fingerprint", [B]),
        (generic({"type": 987654}), "type", 987654),
        (generic({"type": "a new kind"}), "type", None),
        (generic(data={"received": None}), "received_at", None),
        (generic(data={"received": "yesterday"}), "received_at", None),
        (generic(datetime=None), "detected_at", AT + timedelta(milliseconds=250)),
        (generic(project_id=None), "project_id", 0),
        (generic(event_id=None), "event_id", A),
        (error(data={"title": None}), "title", "a message"),
        (error(data={"title": GONE}, title="redacted"), "title", "redacted"),
        (error(data={"title": {"x": ['"']}}), "title", '{"x": ["\\""]}'),
        (error(data={"title": "[x] y"}), "title", "[x] y"),
        (error(data={"title": "\ud83d\ude00 \ud800"}), "title", "\U0001f600 �"),
        (error(data={"title": "}, {\"is_new\": 1}]"}), "title", "}, {\"is_new\": 1}]"),
        (error(data={"level": None}), "level", "info"),
        (error(data={"level": "sample"}), "level", "sample"),
        (error(data={"type": "csp"}), "type", 1),
        (error(data={"type": None}), "type", 1),
        (error(data={"type": "generic"}), "type", None),
        (error(data={"timestamp": 1}, datetime=None), "detected_at", None),
        (error(primary_hash=None), "fingerprint", None),
        (error(occurrence_data=None), "type", 1),
        (error(occurrence_data={"extra": 1}), "type", 1),
        (error(data={"received": 1767603601500}), "received_at", AT + timedelta(seconds=1.5)),
    ],
)  # fmt: skip
def test_what_is_missing_or_odd_is_made_up_for_where_it_can_be(look, record, column, value):
    frame, rejects, _ = look("occurrences", record)
    if column == "detected_at" and value is None:
        assert first_reasons(rejects) == ['detected_at: impossible: "1" lies outside the years 1990 to 2100']
    else:
        assert frame[column].to_list() == [value]


def test_a_message_may_lack_what_is_said_of_groups_and_have_more_than_that(look):
    bare, long = error()[:3], [*error(event_id=B), "more", {"is_new": True}]
    assert look("occurrences", bare, long)[0]["event_id"].to_list() == [A, B]


def test_transactions_are_counted_and_no_occurrences(tmp_path):
    path = put(tmp_path, error(), error(data={"type": "transaction"}), change("end_delete_tag", tag="x"))
    dataset = ia.import_export(path, tmp_path / "data")
    (source,) = dataset.manifest["sources"]
    assert source["ignored"] == {"transaction": 1, "end_delete_tag": 1}
    assert dataset.manifest["totals"]["occurrences"]["read"] == 1


@pytest.mark.parametrize("one", [generic, error])
def test_the_same_message_twice_is_a_duplicate(look, one):
    _, _, tally = look("occurrences", one(), one(message="again"))
    assert (tally.accepted, tally.duplicates) == (1, 1)


# --- what changes counts later ---------------------------------------------------------------------------------------

NOON = datetime(2026, 1, 5, 9, 0, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("message", "rows"),
    [
        (change("start_merge", previous_group_ids=[7, 8], new_group_id=9), [(7, None), (8, None), (9, None)]),
        (change("end_merge", previous_group_ids=["7"], new_group_id="9"), [(7, None), (9, None)]),
        (change("end_merge", previous_group_ids=[7, 7, "7"], new_group_id=7), [(7, None)]),
        (change("end_unmerge", previous_group_id=7, new_group_id=9, hashes=[A]), [(7, None), (9, None)]),
        (change("end_unmerge_hierarchical", previous_group_id=7, new_group_id=9), [(7, None), (9, None)]),
        (change("start_delete_groups", group_ids=[7, 8]), [(7, None), (8, None)]),
        (change("end_delete_groups", group_ids=[7]), [(7, None)]),
        (change("tombstone_events", event_ids=[A, B], old_primary_hash=None), [(None, A), (None, B)]),
        (change("replace_group", event_ids=[A, B.upper(), A], new_group_id=9), [(9, A), (9, B)]),
        (change("replace_group", event_ids=[], new_group_id=9), [(9, None)]),
        (change("exclude_groups", group_ids=[7]), [(7, None)]),
        (change("some_new_word", old_group_id=7, new_group_id=9), [(7, None), (9, None)]),
        (change("some_new_word", event_id=A, group_id=7), [(7, A)]),
    ],
)
def test_each_group_or_event_that_a_message_names_is_a_correction(look, message, rows):
    frame, rejects, tally = look("corrections", message)
    assert rejects.height == 0
    # "again" in one list is said once; events are told apart by their ids as they are read
    assert frame.select("group_id", "event_id").rows() == rows
    assert set(frame.select("project_id", "at", "kind").rows()) == {(101, NOON, message[1])}
    assert tally.read == tally.accepted + tally.duplicates


@pytest.mark.parametrize(
    ("message", "at"),
    [
        ([2, "exclude_groups", {"project_id": 101, "group_ids": [7]}], None),
        ([2, "tombstone_events", {"project_id": 101, "event_ids": [A]}], None),
        ([2, "tombstone_events", {"project_id": 101, "event_ids": [A], "from_timestamp": "2026-01-05T08:00:00Z",
                                  "to_timestamp": "2026-01-05T09:00:00.000000Z"}], AT),
        ([2, "tombstone_events", {"project_id": 101, "event_ids": [A], "from_timestamp": "2026-01-05T09:00:00Z"}], AT),
    ],
)  # fmt: skip
def test_a_correction_without_a_time_is_kept(tmp_path, message, at):
    dataset = ia.import_export(put(tmp_path, message), tmp_path / "data")
    assert dataset.corrections.collect()["at"].to_list() == [at]
    assert dataset.rejects.collect().height == 0
    again = ia.import_export(put(tmp_path, message, message, name="again"), tmp_path / "data")
    assert again.manifest["totals"]["corrections"] == {"read": 3, "accepted": 1, "rejected": 0, "duplicates": 2}


def test_a_correction_without_a_time_outlives_one_from_the_future(tmp_path):
    late = change("end_delete_groups", group_ids=[8], datetime="2090-01-01T00:00:00Z")
    path = put(tmp_path, late, [2, "exclude_groups", {"project_id": 101, "group_ids": [7]}])
    dataset = ia.import_export(path, tmp_path / "data")
    assert dataset.corrections.collect()["group_id"].to_list() == [7]
    assert dataset.manifest["totals"]["corrections"] == {"read": 2, "accepted": 1, "rejected": 1, "duplicates": 0}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (change("end_merge", previous_group_ids=[]), "end_merge: names neither a group nor an event"),
        (change("tombstone_events"), "tombstone_events: names neither a group nor an event"),
        (change("end_unmerge", hashes=[A]), "end_unmerge: names neither a group nor an event"),
        (change("end_merge", new_group_id="=1+1"), 'group_id: not a whole number: "=1+1"'),
        (change("end_merge", new_group_id=9, datetime="soon"), 'at: not a time: "soon"'),
    ],
)
def test_a_correction_that_says_too_little_is_refused(look, message, reason):
    _, rejects, _ = look("corrections", change("end_merge", new_group_id=1), message)
    assert first_reasons(rejects) == [reason]
    assert rejects["row"].to_list() == [2]


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (change("start_unmerge"), "start_unmerge"),
        (change("start_delete_tag", tag="x"), "start_delete_tag"),
        (change("a_word_of_tomorrow", x=1), "a_word_of_tomorrow"),
        (change("\x1b[31mred", x=1), "message of an unknown kind"),
        (change("", x=1), "message of an unknown kind"),
    ],
)
def test_messages_that_move_nothing_are_counted_by_name(tmp_path, message, name):
    parts = list(read_file(put(tmp_path, error(), message), Options()))
    assert sum(part.ignored.get(name, 0) for part in parts) == 1
    assert sum(sum(part.read.values()) for part in parts) == 1


def test_altered_groups_are_known_to_the_dataset(tmp_path):
    path = put(
        tmp_path, error(group_id=5), error(group_id=6, event_id=B),
        change("end_merge", previous_group_ids=[7], new_group_id=8), change("tombstone_events", event_ids=[B]),
    )  # fmt: skip
    dataset = ia.import_export(path, tmp_path / "data")
    assert dataset.altered_groups.collect().rows() == [
        (101, 6, ["tombstone_events"]), (101, 7, ["end_merge"]), (101, 8, ["end_merge"]),
    ]  # fmt: skip


def test_one_dump_may_hold_messages_of_both_topics(tmp_path):
    records = [change("end_merge", new_group_id=9), generic(), error(event_id=B), generic(event_id=D, occurrence_id=D)]
    for order in (records, records[::-1]):
        for form in (None, "generic_events", "error_events"):
            path = put(tmp_path, *order)
            frame, rejects, tally, _ = read(path, "occurrences", Options(format=form))
            assert (frame.height, rejects.height, tally.other) == (3, 0, 1)
            assert frame.sort("occurrence_id")["type"].to_list() == [1, 1001, 1001]


# --- the examples of the published schemas ---------------------------------------------------------------------------


@pytest.mark.parametrize("topic", ["events", "generic-events", "group-attributes"])
def test_the_published_examples_load(topic):
    files = sorted((EXAMPLES / topic / "1").glob("*.json"))
    assert files
    for path in files:
        parts = list(read_file(path, Options()))
        assert {part.found for part in parts} == {
            {"events": "error_events", "generic-events": "generic_events"}.get(topic, "group_attributes")
        }, path
        assert not any(part.rejects.height for part in parts), path
        assert sum(sum(part.read.values()) + sum(part.ignored.values()) for part in parts) >= 1, path


def test_a_published_example_says_what_it_says():
    frame, _ = ia.read_occurrences(EXAMPLES / "generic-events" / "1" / "generic.json")
    row = frame.row(0, named=True)
    assert (row["project_id"], row["group_id"], row["type"]) == (1, 1, 4001)
    assert (row["detected_at"], row["received_at"]) == (
        datetime(2023, 6, 27, tzinfo=UTC), datetime.fromtimestamp(1687800001, UTC),
    )  # fmt: skip


# --- group attributes ------------------------------------------------------------------------------------------------


def snapshot(**changes):
    record = {
        "group_deleted": False, "project_id": 101, "group_id": 10001, "status": 2, "substatus": 1, "priority": 50,
        "first_release": None, "first_seen": "2025-11-02T08:00:00.000000Z", "num_comments": 0, "assignee_user_id": 7,
        "assignee_team_id": None, "owner_suspect_commit_user_id": None, "owner_ownership_rule_user_id": None,
        "owner_ownership_rule_team_id": None, "owner_codeowners_user_id": None, "owner_codeowners_team_id": None,
        "timestamp": "2026-01-05T09:00:00.000000Z",
    }  # fmt: skip
    return without_gone(record, changes)


BORN = datetime(2025, 11, 2, 8, tzinfo=UTC)


def test_a_snapshot_is_a_status_and_says_when_the_group_was_first_seen(look):
    frame, rejects, tally = look("status_changes", snapshot(), snapshot(timestamp="2026-01-05T10:00:00Z"))
    assert rejects.height == 0
    assert frame.sort("at").rows() == [
        (101, 10001, BORN, "first_seen", None, None, "group_attributes"),
        (101, 10001, AT, "archived_until_escalating", None, None, "group_attributes"),
        (101, 10001, AT + timedelta(hours=1), "archived_until_escalating", None, None, "group_attributes"),
    ]
    assert (tally.read, tally.duplicates) == (3, 0)  # once a batch, however many snapshots say it


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"status": 0, "substatus": 2}, "escalating"),
        ({"status": "0", "substatus": "3"}, "ongoing"),
        ({"status": 0, "substatus": None}, "unresolved"),
        ({"status": 1, "substatus": GONE}, "resolved"),
        ({"status": 2, "substatus": 4}, "archived_until_condition_met"),
        ({"status": 2, "substatus": None}, "ignored"),
        ({"status": 2, "substatus": 99}, "ignored"),
        ({"status": 6, "substatus": None}, "reprocessing"),
        ({"status": 77, "substatus": 1}, "status_77"),
        ({"group_deleted": True, "status": 4, "substatus": None}, "deleted"),
        ({"group_deleted": True}, "deleted"),
        ({"group_deleted": None}, "archived_until_escalating"),
        # the draft of early 2023: what the number would mean today, that status cannot have
        ({"status": 0, "substatus": 4}, "regressed"),
        ({"status": 0, "substatus": 5}, "new"),
        ({"status": 2, "substatus": 6}, "archived_forever"),
        ({"status": 2, "substatus": 7}, "archived_until_condition_met"),
    ],
)
def test_codes_become_kinds_and_no_cause_is_made_up(look, changes, kind):
    frame, rejects, _ = look("status_changes", snapshot(first_seen=None, **changes))
    assert rejects.height == 0
    assert frame.select("kind", "cause", "source").rows() == [(kind, None, "group_attributes")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"group_id": None}, "group_id: missing, and no fingerprint to stand for it"),
        ({"status": "open"}, 'new_status: not a whole number: "open"'),
        (
            {"timestamp": "2026-01-05 09:00"},
            'at: no time zone: "2026-01-05 09:00"; write an offset such as +00:00 or Z',
        ),
        ({"first_seen": "once"}, 'first_seen: not a time: "once"'),
    ],
)
def test_a_snapshot_that_cannot_be_read_is_refused(look, changes, reason):
    frame, rejects, tally = look("status_changes", snapshot(group_id=9), snapshot(**changes))
    assert reason in first_reasons(rejects)
    assert set(rejects["row"]) == {2}
    assert tally.read == 4
    assert set(frame["group_id"]) <= {9, 10001}


def test_snapshots_load_as_tables_too(tmp_path):
    records = [snapshot(), snapshot(group_deleted=True, timestamp="2026-01-05T10:00:00Z")]
    truth = ia.read_status_changes(put(tmp_path, *records))[0]
    assert truth.height == 3
    table = pl.DataFrame(records)
    table.write_csv(tmp_path / "s.csv")
    table.write_parquet(tmp_path / "s.parquet")
    for name in ("s.csv", "s.parquet"):
        assert_frame_equal(ia.read_status_changes(tmp_path / name)[0], truth)


def test_users_of_snapshots_are_told_what_they_do_not_say(tmp_path):
    dataset = ia.import_export(put(tmp_path, snapshot()), tmp_path / "data")
    assert "do not say why" in dataset.manifest["sources"][0]["note"]


# --- sniffing --------------------------------------------------------------------------------------------------------

ONE = {"generic_events": generic(), "error_events": error(), "group_attributes": snapshot()}
KIND = {"generic_events": "occurrences", "error_events": "occurrences", "group_attributes": "status_changes"}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize(
    "dress",
    [
        lambda one: json.dumps(one),
        lambda one: "\ufeff" + json.dumps(one),
        lambda one: json.dumps(one, indent=2),
        lambda one: json.dumps(one, indent=2) + "\n" + json.dumps(one, indent=2),
        lambda one: json.dumps([one]),
        lambda one: json.dumps([one, one]),
        lambda one: json.dumps([one, one], indent=1),
        lambda one: json.dumps(one, separators=(",", ":")) + "\r\n\r\n" + json.dumps(one) + "\r\n",
        lambda one: "{broken\n" + json.dumps(one),
    ],
)
@pytest.mark.parametrize("form", ONE)
def test_each_is_told_from_its_content(tmp_path, form, dress, pack, named):
    path = tmp_path / "no-suffix"
    path.write_bytes(pack(dress(ONE[form]).encode()))
    parts = list(read_file(path, Options(format=form if named else None)))
    assert {part.found for part in parts} == {form}
    # the broken line is all that is refused
    assert sum(part.rejects.height for part in parts) == dress(ONE[form]).startswith("{broken")
    assert {kind for part in parts for kind in part.accepted} == {KIND[form]}


def test_an_array_of_messages_is_no_single_record(tmp_path):
    many = [error(event_id=f"{number:032x}", message="x" * 3_000) for number in range(7_000)]
    path = tmp_path / "array.json"
    path.write_text(json.dumps(many, indent=0))
    assert path.stat().st_size > 2**24
    frame, rejects = ia.read_occurrences(path)
    assert (frame.height, rejects.height) == (7_000, 0)


# --- laws ------------------------------------------------------------------------------------------------------------

odd = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.integers(0, 9), st.text(max_size=9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["", "7", "unknown", STAMP, "2026-01-05T09:00:00", "\ud800", "[x", "{", "true", 1767603600, 1e300, -0.0,
         10**400, [], {}, [[]], [{}], ["["], [None], {"id": 1}, [{"id": 1}, {"id": "2"}], "\\", '"', "},{\"is_new\":1"]
    ),
)  # fmt: skip


def places(value, path=()):
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield path
    for key, part in inner:
        yield from places(part, (*path, key))


def changed(record, path, new, how):
    if not path:
        return new
    record = copy.deepcopy(record)
    there = record
    for key in path[:-1]:
        there = there[key]
    last = path[-1]
    if how == "gone":
        del there[last]
    elif how == "more" and isinstance(there, list):
        there.insert(last, new)
    elif how == "more":
        there[str(new)[:9]] = there[last]
    else:
        there[last] = new
    return record


ANY = {
    "generic_events": [generic(), generic(occurrence_id=None)],
    "error_events": [
        error(), change("end_merge", previous_group_ids=[7], new_group_id=8), change("tombstone_events", event_ids=[A]),
        change("replace_group", event_ids=[A, B], new_group_id=8), change("start_unmerge"),
    ],
    "group_attributes": [snapshot(), snapshot(group_deleted=True)],
}  # fmt: skip


@st.composite
def spoilt(draw, form):
    record = draw(st.sampled_from(ANY[form]))
    for _ in range(draw(st.integers(0, 3))):
        where = draw(st.sampled_from(list(places(record))))
        record = changed(record, where, draw(odd), draw(st.sampled_from(["value", "gone", "more"])))
    return record


broken = st.sampled_from(["{", "null", "3", "[]", "{}", '[2, "insert"]', '[2,"insert",{"a":NaN}]', '[2,"insert",{},{]'])


@pytest.mark.parametrize("form", ANY)
@LAW
@given(data=st.data())
def test_nothing_is_lost_nothing_raises_and_both_ways_agree(form, data):
    record = spoilt(form).map(json.dumps) | broken
    # a record more costs nothing, a file more does
    records = data.draw(st.lists(record, min_size=1, max_size=3) | st.lists(record, min_size=8, max_size=20))
    with tempfile.TemporaryDirectory() as folder:
        put(Path(folder), *records, name="in/a")
        put(
            Path(folder),
            ONE[form],
            change("end_merge", new_group_id=9) if form != "group_attributes" else "",
            name="in/b",
        )
        tallies = []
        for kind in ("occurrences", "corrections") if form != "group_attributes" else ("status_changes",):
            both = [read(Path(folder) / "in", kind, Options(format=form), fast=fast) for fast in (True, False)]
            (frame, rejects, tally, _), (slow, slow_rejects, slow_tally, _) = both
            assert tally == slow_tally
            assert tally.read == tally.accepted + tally.rejected + tally.duplicates + tally.other
            assert (frame.height, rejects.height) == (tally.accepted, tally.rejected)
            assert_frame_equal(frame, slow)
            assert_frame_equal(rejects, slow_rejects)
            tallies.append(tally)
        dataset = ia.import_export(Path(folder) / "in", Path(folder) / "data", format=form, progress=False)
        for kind, total in dataset.manifest["totals"].items():
            assert total["read"] == total["accepted"] + total["rejected"] + total["duplicates"], kind
        assert sum(total["read"] for total in dataset.manifest["totals"].values()) == tallies[0].read


def test_a_line_that_polars_will_not_read_leaves_the_others_to_it(monkeypatch, tmp_path):
    monkeypatch.setattr(messages, "_FEW", 4)
    good = [error(event_id=f"{number:032x}") for number in range(90)]
    records = [json.dumps(record) for record in good]
    records[40] = json.dumps(error(data={"x": "HERE"})).replace('"HERE"', "10e99999")
    records[41] = json.dumps(changed(error(event_id=B), (2, "data"), "no object", "value"))
    place, frame = messages.quick_messages([record.encode() for record in records])
    assert place == "occurrences"
    assert set(range(90)) - set(frame["line"]) >= {40, 41}
    assert frame.height >= 80
    found, rejects, tally, _ = read(put(tmp_path, *records), "occurrences", Options())
    slow, slow_rejects, slow_tally, _ = read(put(tmp_path, *records), "occurrences", Options(), fast=False)
    assert_frame_equal(found, slow)
    assert_frame_equal(rejects, slow_rejects)
    assert (tally, tally.read) == (slow_tally, 90)


def test_ordinary_messages_are_read_the_quick_way():
    lines = [
        json.dumps(record).encode() for record in (error(), generic(), change("end_merge", new_group_id=9), error())
    ]
    assert messages.quick_messages(lines)[1]["line"].to_list() == [0, 1, 3]


def test_the_first_of_two_fields_of_one_name_counts(look):
    twice = json.dumps(error(), separators=(",", ":"))
    twice = twice.replace('"event_id":"', '"event_id":"' + D + '","event_id":"', 1)
    twice = twice.replace('"data":{', '"data":{"title":"first"},"data":{', 1)
    frame, _, _ = look("occurrences", twice)
    assert frame.select("event_id", "title", "level").rows() == [(D, "first", "info")]


# --- round trips -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sim():
    return ia.simulate(groups=60, days=16, seed=5)


@pytest.fixture(scope="module")
def folder(sim, tmp_path_factory):
    target = tmp_path_factory.mktemp("sim")
    sim.write(target, formats=["generic_events", "error_events", "group_attributes"], progress=False)
    return target


def millis(frame):
    return frame.with_columns(pl.col("detected_at").dt.truncate("1ms"))


def late(frame):
    return millis(frame).with_columns(
        received_at=pl.col("detected_at").dt.truncate("1ms") + pl.duration(milliseconds=250)
    )


@pytest.mark.parametrize("fast", [True, False])
def test_generic_events_come_back(sim, folder, fast):
    frame, rejects, tally, _ = read(str(folder / "generic_events-*"), "occurrences", Options(), fast=fast)
    truth = late(sim.occurrences.filter(pl.col("type") != 1))
    assert (rejects.height, tally.duplicates, tally.other) == (0, 0, 0)
    assert truth.height > 100
    assert_frame_equal(frame, truth.select(frame.columns), check_row_order=False)


@pytest.mark.parametrize("fast", [True, False])
def test_error_events_come_back(sim, folder, fast):
    frame, rejects, tally, _ = read(str(folder / "error_events-*"), "occurrences", Options(), fast=fast)
    truth = late(sim.occurrences.filter(type=1)).with_columns(
        event_id="occurrence_id", fingerprint=pl.col("fingerprint").list.head(1)
    )
    assert (rejects.height, tally.duplicates) == (0, 0)
    assert truth.height > 100
    assert_frame_equal(frame, truth.select(frame.columns), check_row_order=False)
    corrections, bad, _, _ = read(str(folder / "error_events-*"), "corrections", Options(), fast=fast)
    assert bad.height == 0
    kinds = dict(corrections.group_by("kind").len().iter_rows())
    assert kinds == {
        "start_merge": 2, "end_merge": 2, "start_unmerge": 2, "end_unmerge": 2, "start_delete_groups": 1,
        "end_delete_groups": 1, "tombstone_events": 2, "replace_group": 1,
    }  # fmt: skip
    removed = corrections.filter(kind="tombstone_events")["event_id"]
    assert set(removed) <= set(frame["event_id"])


def test_both_topics_together_are_the_whole_simulation(sim, folder, tmp_path):
    dataset = ia.import_export(folder, tmp_path / "data", progress=False)
    counts = dataset.hourly_counts.collect()
    assert_frame_equal(
        counts.sort(*KEY, "hour"), sim.hourly_counts.sort(*KEY, "hour").select(counts.columns), check_row_order=False
    )


def test_group_attributes_come_back(sim, folder):
    frame, rejects, _, _ = read(folder / "group_attributes-000.jsonl.gz", "status_changes", Options())
    assert rejects.height == 0
    assert set(frame["source"]) == {"group_attributes"}
    told = {
        "first_seen": "new", "ongoing": "ongoing", "escalating": "escalating", "regressed": "regressed",
        "resolved": "resolved", "archived_until_escalating": "archived_until_escalating",
        "archived_until_condition_met": "archived_until_condition_met", "archived_forever": "archived_forever",
    }  # fmt: skip
    truth = sim.status_changes.filter(pl.col("kind").is_in(list(told))).select(
        *KEY, pl.col("at").dt.truncate("1us"), pl.col("kind").replace_strict(told)
    )
    states = frame.filter(pl.col("kind") != "first_seen").select(*KEY, "at", "kind")
    missing = truth.join(states, on=truth.columns, how="anti")
    assert missing.is_empty()
    born = frame.filter(kind="first_seen").select(*KEY, at="at")
    assert_frame_equal(born, sim.groups.select(*KEY, at="first_seen"), check_row_order=False)


def test_labels_from_snapshots_are_those_from_activities(tmp_path):
    sim = ia.simulate(groups=300, days=35, seed=5)
    sim.write(tmp_path, formats=["group_attributes"], progress=False)
    snapshots = read(tmp_path / "group_attributes-000.jsonl.gz", "status_changes", Options())[0]
    told, exposure = ia.label_escalations(sim.status_changes)
    seen, seen_exposure = ia.label_escalations(snapshots)
    assert told.height > 5
    # the state before an escalation tells who made it
    assert_frame_equal(seen, told, check_row_order=False)
    assert_frame_equal(seen_exposure, exposure, check_row_order=False)
    # and both together tell of each escalation once
    both, both_exposure = ia.label_escalations(pl.concat([sim.status_changes, snapshots]))
    assert_frame_equal(both, told, check_row_order=False)
    assert_frame_equal(both_exposure, exposure, check_row_order=False)
