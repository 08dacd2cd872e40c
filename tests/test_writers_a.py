"""Simulated topics, query results, ClickHouse rows, dashboard CSV, tables: plain tools find what was simulated."""

import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import polars as pl
import pytest
import sentry_kafka_schemas
from polars.testing import assert_frame_equal

from issue_analytics.errors import DatasetError, SettingsError
from issue_analytics.simulate import simulate
from issue_analytics.simulate.texts import HOSTILE
from issue_analytics.simulate.writers import DEFAULT, FORMATS, lines, writer

COMMAND = Path(sys.executable).with_name("issue-analytics")
MINE = (
    "occurrences", "issues", "hourly_counts", "status_changes", "escalations", "generic_events", "error_events",
    "group_attributes", "snuba", "discover", "clickhouse_errors", "clickhouse_search_issues",
)  # fmt: skip


@pytest.fixture(scope="module")
def sim():
    return simulate(groups=200, days=21, seed=7)


@pytest.fixture(scope="module")
def files(sim, tmp_path_factory):
    """The contents of all files, as they lie in the folder."""
    folder = tmp_path_factory.mktemp("exports")
    return {path.name: unpacked(path) for path in sim.write(folder, formats=MINE)}


@pytest.fixture(scope="module")
def generic(files):
    return json_lines(files["generic_events-000.jsonl.gz"])


@pytest.fixture(scope="module")
def errors(files):
    """The messages of the topic: inserts, then the others."""
    messages = json_lines(files["error_events-000.jsonl.gz"])
    first = next(number for number, message in enumerate(messages) if message[1] != "insert")
    return messages[:first], messages[first:]


def unpacked(path):
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def json_lines(content):
    # not splitlines(): it would also cut at separators inside a title
    return [json.loads(line) for line in content.split(b"\n") if line]


def table(content):
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def hourly(moments):
    """(project, group, start of the hour) to count, from (project, group, moment)."""
    return Counter(
        (int(project), int(group), at.replace(minute=0, second=0, microsecond=0)) for project, group, at in moments
    )


def known(sim, kept):
    """What the simulation knows of the groups whose type is kept, in the same form."""
    types = dict(sim.groups.select("group_id", "type").iter_rows())
    rows = sim.hourly_counts.select("project_id", "group_id", "hour", "count").iter_rows()
    return Counter({(project, group, hour): count for project, group, hour, count in rows if kept(types[group])})


def is_error(type_id):
    return type_id == 1


def is_platform(type_id):
    return type_id != 1


def by_id(sim):
    """Each occurrence's row, by its id, with what is known of its group."""
    rows = sim.occurrences.join(sim.groups.drop("type", "title", "level", "fingerprint"), on=["project_id", "group_id"])
    return {row["occurrence_id"]: row for row in rows.to_dicts()}


def validated(topic, messages):
    """Check one message of each shape against the published schema."""
    codec = sentry_kafka_schemas.get_codec(topic)

    def shape(value):
        if isinstance(value, dict):
            return {name: shape(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [shape(inner) for inner in value]
        return type(value).__name__

    shapes = {}
    for message in messages:
        shapes.setdefault(json.dumps(shape(message)), message)
    for message in shapes.values():
        codec.decode(json.dumps(message).encode())
    return codec


# --- the topics ------------------------------------------------------------------------------------------------------


def test_generic_events_are_the_occurrences_of_the_issue_platform(sim, generic):
    truth = {key: row for key, row in by_id(sim).items() if is_platform(row["type"])}
    assert len(generic) == len(truth) > 1000
    moments, new = [], 0
    for version, kind, event, information in generic:
        assert (version, kind) == (2, "insert")
        row = truth.pop(event["occurrence_id"])
        at, seconds = row["detected_at"], row["detected_at"].timestamp()
        data, occurrence = event["data"], event["occurrence_data"]
        assert datetime.strptime(event["datetime"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC) == at
        assert (data["timestamp"], data["received"]) == (seconds, (at + timedelta(milliseconds=250)).timestamp())
        assert isinstance(data["timestamp"], float)
        assert ["level", row["level"]] in data["tags"]
        assert {pair[0] for pair in data["tags"]} == {"level", "environment"}
        assert all(inner["event_id"] == row["event_id"] for inner in (event, data, occurrence))
        assert all(inner["project_id"] == row["project_id"] for inner in (event, occurrence))
        assert event["primary_hash"] == row["fingerprint"][0]
        wanted = {
            "id": row["occurrence_id"],
            "fingerprint": row["fingerprint"],
            "issue_title": row["title"],
            "subtitle": row["subtitle"],
            "culprit": row["culprit"],
            "type": row["type"],
            "level": row["level"],
            "detection_time": seconds,
            "initial_issue_priority": row["initial_priority"],
        }
        assert {name: occurrence[name] for name in wanted} == wanted
        state = information["group_states"][0]
        assert state["id"] == (str(row["group_id"]) if row["group_id"] % 2 == 0 else row["group_id"])
        assert information["is_new"] is state["is_new"] is (row["first_seen"] == at)
        new += information["is_new"]
        moments.append((event["project_id"], event["group_id"], at))
    assert not truth
    assert hourly(moments) == known(sim, is_platform)
    stamps = [event["datetime"] for _, _, event, _ in generic]
    assert stamps == sorted(stamps)
    assert new > 3
    assert {type(state["id"]) for *_, about in generic for state in about["group_states"]} == {int, str}


def test_generic_events_satisfy_the_published_schema(generic):
    codec = validated("generic-events", generic)
    broken = json.loads(json.dumps(generic[0]))
    broken[2]["occurrence_data"]["detection_time"] = "2026-01-05T09:00:00Z"
    with pytest.raises(sentry_kafka_schemas.codecs.ValidationError):
        codec.decode(json.dumps(broken).encode())


def test_error_events_are_the_occurrences_of_errors(sim, errors):
    inserts, _ = errors
    truth = {key: row for key, row in by_id(sim).items() if is_error(row["type"])}
    assert len(inserts) == len(truth) > 1000
    moments = []
    for version, kind, event, information in inserts:
        assert (version, kind) == (2, "insert")
        row = truth.pop(event["event_id"])
        at, data = row["detected_at"], event["data"]
        assert datetime.strptime(event["datetime"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC) == at
        assert (data["timestamp"], data["received"]) == (at.timestamp(), (at + timedelta(milliseconds=250)).timestamp())
        assert (data["title"], data["level"], data["culprit"]) == (row["title"], row["level"], row["culprit"])
        assert event["primary_hash"] == row["fingerprint"][0]
        exception = data["exception"]["values"][0]
        assert row["title"] in (f"{exception['type']}: {exception['value']}", exception["type"])
        assert information["queue"] == "post_process_errors"
        moments.append((event["project_id"], event["group_id"], at))
    assert not truth
    assert hourly(moments) == known(sim, is_error)


def test_error_events_end_with_messages_that_change_groups(sim, errors):
    inserts, changes = errors
    validated("events", inserts + changes)
    assert [message[1] for message in changes] == [
        "start_merge", "end_merge", "start_unmerge", "end_unmerge", "start_delete_groups", "end_delete_groups",
        "tombstone_events", "replace_group",
    ]  # fmt: skip
    # the project with most error groups, and its first six in a plain loop
    groups = {}
    for _, _, event, _ in inserts:
        groups.setdefault(event["project_id"], {}).setdefault(event["group_id"], []).append(event)
    project = max(sorted(groups), key=lambda each: len(groups[each]))
    ids = sorted(groups[project])[:6]
    kept, merged, unmerged, deleted, entombed, moved = ids
    bodies = {message[1]: message[2] for message in changes}
    assert {body["project_id"] for body in bodies.values()} == {project}
    for edge in ("start", "end"):
        merge, unmerge = bodies[f"{edge}_merge"], bodies[f"{edge}_unmerge"]
        assert (merge["previous_group_ids"], merge["new_group_id"]) == ([merged], kept)
        assert unmerge["previous_group_id"] == unmerged
        assert unmerge["new_group_id"] not in set(sim.groups["group_id"])
        assert unmerge["hashes"] == [groups[project][unmerged][0]["primary_hash"]]
        assert bodies[f"{edge}_delete_groups"]["group_ids"] == [deleted]
    events = groups[project]
    assert bodies["tombstone_events"]["event_ids"] == [event["event_id"] for event in events[entombed][:2]]
    assert bodies["tombstone_events"]["from_timestamp"] == events[entombed][0]["datetime"]
    assert bodies["replace_group"]["event_ids"] == [events[moved][0]["event_id"]]
    assert bodies["replace_group"]["new_group_id"] == kept
    stamps = [message[2]["datetime"] for message in changes]
    assert stamps == [f"2026-01-26T00:{minute:02}:00.000000Z" for minute in range(8)]
    assert stamps[0] > inserts[-1][2]["datetime"]


def test_group_attributes_are_a_history_of_the_status(sim, files):
    messages = json_lines(files["group_attributes-000.jsonl.gz"])
    codec = validated("group-attributes", messages)
    with pytest.raises(sentry_kafka_schemas.codecs.ValidationError):
        codec.decode(json.dumps({**messages[0], "status": "resolved"}).encode())
    assert len(messages) == sim.status_changes.height
    kinds = {
        (0, 7): "first_seen", (0, 3): "ongoing", (0, 2): "escalating", (0, 6): "regressed", (1, None): "resolved",
        (2, 1): "archived_until_escalating", (2, 4): "archived_until_condition_met", (2, 5): "archived_forever",
    }  # fmt: skip
    steps, last = [], {}
    for message in messages:
        key, state = (message["project_id"], message["group_id"]), (message["status"], message["substatus"])
        at = datetime.strptime(message["timestamp"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        if key not in last or state != (last[key]["status"], last[key]["substatus"]):
            steps.append((*key, at, kinds[state]))
        last[key] = message
    changes = sim.status_changes.filter(~pl.col("kind").is_in(["set_priority", "assigned"]))
    assert sorted(steps) == sorted(changes.select("project_id", "group_id", "at", "kind").rows())
    assert [message["timestamp"] for message in messages] == sorted(message["timestamp"] for message in messages)
    statuses = {"unresolved": 0, "resolved": 1, "ignored": 2}
    for group in sim.groups.to_dicts():
        message = last[group["project_id"], group["group_id"]]
        assert message["status"] == statuses[group["status"]]
        assert message["priority"] == group["priority"]
        assert message["first_seen"] == group["first_seen"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert {message["assignee_user_id"] for message in messages} == {None, 7}


# --- queries ---------------------------------------------------------------------------------------------------------


def test_snuba_pages_are_the_hourly_counts(sim, files):
    (page,) = json_lines(files["snuba-000.jsonl.gz"])
    assert set(page) == {"data", "meta", "timing"}
    assert set(page["timing"]) == {"timestamp", "duration_ms", "marks_ms"}
    rows = page["data"]
    assert [column["name"] for column in page["meta"]] == list(rows[0])
    keys = [(row["project_id"], row["group_id"], row["hourBucket"]) for row in rows]
    assert keys == sorted(set(keys))
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:00:00\+00:00", bucket) for *_, bucket in keys)
    back = Counter({(*key[:2], datetime.fromisoformat(key[2])): row["count()"] for key, row in zip(keys, rows)})
    assert back == known(sim, lambda _: True)
    assert json.loads(files["snuba-page.json"]) == page


def test_snuba_answers_with_ten_thousand_rows_at_most(sim):
    more = pl.concat([sim.hourly_counts.with_columns(pl.col("group_id") + 1000 * number) for number in range(60)])
    assert more.height > 200_000
    parts = dict(writer("snuba")(replace(sim, hourly_counts=more)))
    assert list(parts) == ["snuba-000.jsonl.gz", "snuba-001.jsonl.gz", "snuba-page.json"]
    files = [json_lines(content) for content in parts.values()]
    assert len(files[0]) == 20
    pages = files[0] + files[1]
    assert [len(page["data"]) for page in pages[:-1]] == [10_000] * (len(pages) - 1)
    rows = [tuple(row.values()) for page in pages for row in page["data"]]
    stamp = pl.col("hour").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00")
    assert rows == more.sort("project_id", "group_id", "hour").with_columns(stamp).rows()
    assert files[2] == [pages[0]]
    asked = [page["timing"]["timestamp"] for page in pages]
    assert asked == list(range(asked[0], asked[0] + len(pages)))


CLICKHOUSE = {
    "clickhouse_errors": ("timestamp", "event_id", "title", is_error),
    "clickhouse_search_issues": ("client_timestamp", "occurrence_id", "search_title", is_platform),
}


def clickhouse_rows(files, name):
    """The rows of the three files, as the text that CSV would have."""

    def text(value):
        if value is None:
            return r"\N"
        if isinstance(value, list):
            return "[" + ",".join(f"'{item}'" for item in value) + "]"
        if isinstance(value, datetime):
            return value.strftime("%Y-%m-%d %H:%M:%S")
        return str(value)

    parquet = pl.read_parquet(io.BytesIO(files[f"{name}-000.parquet"]))
    stamps = [column for column in parquet.columns if column.endswith("_timestamp") or column == "group_first_seen"]
    if name == "clickhouse_search_issues":
        assert {parquet.schema[column] for column in stamps} == {pl.UInt32}
        parquet = parquet.with_columns(pl.from_epoch(pl.col(stamps).cast(pl.Int64), "s"))
    millis = parquet["timestamp_ms"].dt.strftime("%Y-%m-%d %H:%M:%S%.3f")
    return (
        [{key: text(value) for key, value in row.items()} for row in parquet.with_columns(millis).to_dicts()],
        [{key: text(value) for key, value in row.items()} for row in json_lines(files[f"{name}-000.jsonl.gz"])],
        table(files[f"{name}-000.csv.gz"]),
    )


@pytest.mark.parametrize("name", CLICKHOUSE)
def test_the_three_clickhouse_files_say_the_same(sim, files, name):
    time, identity, title, kept = CLICKHOUSE[name]
    from_parquet, from_json, from_csv = clickhouse_rows(files, name)
    assert from_parquet == from_json == from_csv
    truth = {key: row for key, row in by_id(sim).items() if kept(row["type"])}
    moments, first_week = {}, datetime(2026, 1, 12, tzinfo=UTC)
    for row in from_csv:
        if row["deleted"] != "0":
            continue
        own = truth[row[identity].replace("-", "")]
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", row[identity])
        assert row[time] == own["detected_at"].strftime("%Y-%m-%d %H:%M:%S")
        millis = own["detected_at"].isoformat(" ", "milliseconds").removesuffix("+00:00")
        assert row["timestamp_ms"] == (millis if own["detected_at"] >= first_week else r"\N")
        assert row[title] == row["message"] == own["title"]
        assert (row["level"], row["culprit"]) == (own["level"], own["culprit"])
        assert row["primary_hash"].replace("-", "") == own["fingerprint"][0]
        if name == "clickhouse_search_issues":
            assert row["occurrence_type_id"] == str(own["type"])
            assert row["event_id"].replace("-", "") == own["event_id"]
            assert row["fingerprint"] == "[" + ",".join(f"'{part}'" for part in own["fingerprint"]) + "]"
        at = datetime.strptime(row[time], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        moments[row[identity]] = (row["project_id"], row["group_id"], at)
    assert len(moments) == len(truth) > 1000
    assert hourly(moments.values()) == known(sim, kept)


@pytest.mark.parametrize("name", CLICKHOUSE)
def test_clickhouse_tables_have_rows_twice_and_deleted_rows(sim, files, name):
    _, identity, _, kept = CLICKHOUSE[name]
    rows = table(files[f"{name}-000.csv.gz"])
    total = sum(kept(type_id) for type_id in sim.occurrences["type"])
    own, extra = rows[:total], rows[total:]
    twice, deleted = own[50::200], own[150::200]
    assert len(twice) > 5
    assert extra[: len(twice)] == twice
    gone = extra[len(twice) :]
    assert len(gone) == len(deleted)
    assert not {row[identity].replace("-", "") for row in gone} & set(sim.occurrences["occurrence_id"])
    for row, source in zip(gone, deleted):
        ids = {name: source[name].replace("-", "")[::-1] for name in ("event_id", "occurrence_id") if name in source}
        plain = {name: row[name].replace("-", "") for name in ids}
        assert ids == plain
        assert {**row, **dict.fromkeys(ids)} == {**source, **dict.fromkeys(ids), "deleted": "1"}
    assert {row["deleted"] for row in (*own, *twice)} == {"0"}


def test_clickhouse_columns_are_typed_as_in_the_tables(files):
    errors = pl.read_parquet(io.BytesIO(files["clickhouse_errors-000.parquet"])).schema
    search = pl.read_parquet(io.BytesIO(files["clickhouse_search_issues-000.parquet"])).schema
    for schema in (errors, search):
        assert schema["project_id"] == schema["group_id"] == pl.UInt64
        assert schema["deleted"] == pl.UInt8
        assert schema["retention_days"] == pl.UInt16
        assert schema["tags.key"] == schema["tags.value"] == pl.List(pl.String)
        assert schema["timestamp_ms"] == pl.Datetime("ms", "UTC")
    assert errors["timestamp"] == errors["received"] == pl.Datetime("ms", "UTC")
    assert search["occurrence_type_id"] == pl.UInt16
    assert search["transaction_duration"] == pl.UInt32
    # 64-bit integers in JSON: text from one server, numbers from another
    for name, kind in (("clickhouse_errors", str), ("clickhouse_search_issues", int)):
        rows = json_lines(files[f"{name}-000.jsonl.gz"])
        assert {type(row[column]) for row in rows for column in ("project_id", "group_id")} == {kind}
        assert {type(row["deleted"]) for row in rows} == {int}
    # quoted text, bare numbers and nulls
    line = files["clickhouse_errors-000.csv.gz"].decode().split("\n")[1]
    assert re.match(r'"2026-01-05 \d\d:\d\d:\d\d","[0-9a-f-]{36}",\d+,\d+,"[0-9a-f-]{36}",\\N,', line)


# --- dashboards and tables -------------------------------------------------------------------------------------------

MACRO = ("=", "+", "-", "@", "\t", "\r")


def test_discover_has_events_and_hourly_counts_of_errors(sim, files):
    events = table(files["discover-events-000.csv.gz"])
    truth = {key: row for key, row in by_id(sim).items() if is_error(row["type"])}
    moments, neutralised = [], 0
    for event in events:
        row = truth.pop(event["id"])
        assert not any(cell.startswith(MACRO) for cell in event.values())
        wanted = "'" + row["title"] if row["title"].startswith(MACRO) else row["title"]
        assert (event["title"], event["level"]) == (wanted, row["level"])
        neutralised += wanted != row["title"]
        at = datetime.fromisoformat(event["timestamp"])
        assert event["timestamp"].endswith("+00:00")
        assert timedelta(0) <= row["detected_at"] - at < timedelta(seconds=1)
        assert event["issue"] == f"PROJECT-{row['project_id']}-{row['group_id']}"
        moments.append((event["project.id"], event["issue.id"], at))
    assert not truth
    assert hourly(moments) == known(sim, is_error)
    assert neutralised > 0

    counts = table(files["discover-hourly-000.csv"])
    assert list(counts[0]) == ["issue.id", "project.id", "timestamp.to_hour()", "count()"]
    older = json_lines(files["discover-alias-000.jsonl"])
    assert list(older[0]) == ["issue.id", "project.id", "timestamp_to_hour", "count"]
    for rows in (counts, older):
        back = Counter()
        for group, project, hour, count in (row.values() for row in rows):
            back[int(project), int(group), datetime.fromisoformat(hour)] += int(count)
        assert back == known(sim, is_error)
        assert len(back) == len(rows)


def test_discover_neutralises_what_a_spreadsheet_would_run():
    discover = import_module("issue_analytics.simulate.writers.discover")
    cells = ["=1", "+1", "-1", "@a", "\tx", "\rx", "a=1", " =1", "", "'=1", "\n=1"]
    back = table(discover._csv(pl.DataFrame({"cell": cells, "count": range(len(cells))})))
    assert [row["cell"] for row in back] == [("'" + cell if cell.startswith(MACRO) else cell) for cell in cells]


@pytest.mark.parametrize("name", ["hourly_counts", "status_changes", "escalations"])
def test_plain_tables_are_the_frames(sim, files, name):
    frame = getattr(sim, name)
    assert frame.height > 5
    assert_frame_equal(pl.read_parquet(io.BytesIO(files[f"{name}-000.parquet"])), frame)
    rows = table(files[f"{name}-000.csv"])

    def cell(value):
        if isinstance(value, datetime):
            return value
        return "" if value is None else str(value)

    stamps = [column for column, dtype in frame.schema.items() if dtype == pl.Datetime]
    for row in rows:
        for column in stamps:
            assert row[column].endswith("Z")
            row[column] = datetime.fromisoformat(row[column])
    assert rows == [{key: cell(value) for key, value in row.items()} for row in frame.to_dicts()]


def test_hostile_titles_arrive_unharmed(sim, files, generic, errors):
    """The titles of each format are those of its groups; between them they have every hostile title."""

    def titles(kept):
        groups = sim.groups.join(sim.occurrences, on="group_id", how="semi")
        return {row["title"] for row in groups.to_dicts() if kept(row["type"])}

    platform = {event["occurrence_data"]["issue_title"] for _, _, event, _ in generic}
    of_errors = {event["data"]["title"] for _, _, event, _ in errors[0]}
    assert set(HOSTILE) <= of_errors | platform
    assert of_errors == titles(is_error)
    assert platform == titles(is_platform)
    assert {row["title"] for row in table(files["clickhouse_errors-000.csv.gz"])} == of_errors
    assert {row["search_title"] for row in table(files["clickhouse_search_issues-000.csv.gz"])} == platform
    neutral = {"'" + title if title.startswith(MACRO) else title for title in of_errors}
    assert {row["title"] for row in table(files["discover-events-000.csv.gz"])} == neutral


# --- all of them -----------------------------------------------------------------------------------------------------


def test_each_format_is_a_module_that_says_what_it_carries():
    folder = Path(lines.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} >= set(FORMATS)
    for name in FORMATS:
        module = import_module(f"issue_analytics.simulate.writers.{name}")
        assert "Carries" in module.__doc__, name
        assert module.write.__doc__.startswith("Yield "), name
    assert set(DEFAULT) <= set(FORMATS)


def test_formats_have_file_names_of_their_own():
    small = simulate(groups=40, days=10, seed=2)
    names = [name for wanted in FORMATS for name, _ in writer(wanted)(small)]
    assert len(names) == len(set(names)) > 30
    assert "planted.csv" not in names


def test_big_formats_are_cut_into_files(sim, files, monkeypatch):
    monkeypatch.setattr(lines, "RECORDS_PER_FILE", 1000)
    for name in ("generic_events", "error_events", "clickhouse_errors"):
        parts = dict(writer(name)(sim))
        pieces = [content for part, content in parts.items() if re.fullmatch(rf"{name}-\d{{3}}\.jsonl\.gz", part)]
        assert len(pieces) > 1
        assert b"".join(pieces) == files[f"{name}-000.jsonl.gz"]
    frames = [pl.read_parquet(io.BytesIO(parts[part])) for part in parts if part.endswith(".parquet")]
    assert max(frame.height for frame in frames) == 1000
    assert_frame_equal(pl.concat(frames), pl.read_parquet(io.BytesIO(files["clickhouse_errors-000.parquet"])))
    rows = [row for part in parts if part.endswith(".csv.gz") for row in table(parts[part])]
    assert rows == table(files["clickhouse_errors-000.csv.gz"])


def test_same_bytes_in_another_process_with_other_hashes_and_one_thread(tmp_path):
    code = (
        "import sys; from issue_analytics.simulate import simulate; "
        f"simulate(groups=60, days=15, seed=9).write(sys.argv[1], formats={MINE})"
    )
    for name, hashes in (("one", "1"), ("two", "2")):
        threads = {"POLARS_MAX_THREADS": "1"} if name == "two" else {}
        environment = {**os.environ, "PYTHONHASHSEED": hashes, **threads}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=True, env=environment)
    written = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert written[0] == written[1]
    assert len(written[0]) == 23


@pytest.mark.parametrize("seed", range(3))
def test_the_smallest_simulations_are_written(seed, tmp_path):
    tiny = simulate(groups=1, days=8, seed=seed, projects=1)
    paths = {path.name: path for path in tiny.write(tmp_path, formats=MINE)}
    for name in ("generic_events-000.jsonl.gz", "error_events-000.jsonl.gz", "group_attributes-000.jsonl.gz"):
        json_lines(unpacked(paths[name]))
    inserts = [
        message
        for name in ("generic_events", "error_events")
        for message in json_lines(unpacked(paths[f"{name}-000.jsonl.gz"]))
    ]
    assert len(inserts) == tiny.occurrences.height
    page = json.loads(unpacked(paths["snuba-page.json"]))
    assert len(page["data"]) == tiny.hourly_counts.height
    for name in CLICKHOUSE:
        columns = pl.read_parquet(io.BytesIO(unpacked(paths[f"{name}-000.parquet"]))).columns
        assert unpacked(paths[f"{name}-000.csv.gz"]).decode().split("\n")[0].replace('"', "").split(",") == columns


def test_only_what_is_asked_for_is_written(tmp_path):
    small = simulate(groups=5, days=8)
    assert [path.name for path in small.write(tmp_path / "one", formats=["snuba"])] == [
        "snuba-000.jsonl.gz", "snuba-page.json", "planted.csv",
    ]  # fmt: skip
    # a name alone, and one twice
    assert len(small.write(tmp_path / "two", formats="snuba")) == 3
    assert len(small.write(tmp_path / "three", formats=["snuba", "snuba"])) == 3
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "planted.csv", "snuba-000.jsonl.gz", "snuba-page.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("formats", "message"), [(["snuba", "snoba"], "there is no snoba. There are: .*snuba"), ([], "none")]
)
def test_an_unknown_format_is_one_clear_message(formats, message, tmp_path):
    with pytest.raises(SettingsError, match=message):
        simulate(groups=5, days=8).write(tmp_path / "out", formats=formats)
    assert not (tmp_path / "out").exists()


def test_a_format_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(import_module("issue_analytics.simulate.writers.snuba"), "pack", full)
    with pytest.raises(DatasetError, match="No space left"):
        simulate(groups=5, days=8).write(tmp_path, formats=["hourly_counts", "snuba"])
    assert list(tmp_path.iterdir()) == []


def test_files_of_a_larger_simulation_are_not_mixed_in(tmp_path):
    (tmp_path / "error_events-001.jsonl.gz").write_bytes(b"")
    small = simulate(groups=5, days=8)
    small.write(tmp_path)  # other formats are no leftovers of these
    with pytest.raises(DatasetError, match=r"error_events-001\.jsonl\.gz of .*larger simulation"):
        small.write(tmp_path, formats=["error_events"])
    assert not (tmp_path / "error_events-000.jsonl.gz").exists()


def test_formats_are_chosen_on_the_command_line(tmp_path):
    def run(*formats, code=0):
        options = [part for name in formats for part in ("--format", name)]
        command = [COMMAND, "simulate", "--out", tmp_path / "out", "--groups", "40", "--days", "10", "--json", *options]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done

    names = {Path(file).name for file in json.loads(run("group_attributes", "discover").stdout)["files"]}
    assert names == {
        "group_attributes-000.jsonl.gz", "discover-events-000.csv.gz", "discover-hourly-000.csv",
        "discover-alias-000.jsonl", "planted.csv",
    }  # fmt: skip
    refused = run("snoba", code=2)
    assert refused.stderr.startswith("error: formats: there is no snoba. There are: occurrences, ")
    assert refused.stderr.count("\n") == 1
    everything = {Path(file).name for file in json.loads(run("all").stdout)["files"]}
    assert everything > names
    assert {"occurrences-000.jsonl.gz", "issues.jsonl.gz", "snuba-page.json", "events.envelope.gz"} <= everything
