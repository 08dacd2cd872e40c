"""Simulated exports of the REST API and of SDKs: plain JSON tools find in them what the simulation knows."""

import gzip
import hashlib
import json
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from sdk_recorder import ATTACHMENT, record

import issue_analytics as ia
from issue_analytics.errors import DatasetError
from issue_analytics.simulate import Simulation, simulate
from issue_analytics.simulate.texts import HOSTILE, TYPES
from issue_analytics.simulate.writers import FORMATS, writer
from issue_analytics.simulate.writers.rest import MOST_RECORDS, counts_at, exported_at, recent

MINE = (
    "issue_list", "issue_list_daily", "issue_events", "activities", "group_stats", "events_stats", "events_timeseries",
    "sdk_events", "envelopes",
)  # fmt: skip
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def sim() -> Simulation:
    return simulate(groups=230, days=21, seed=11)  # every hostile title is one of an error


@pytest.fixture(scope="module")
def files(sim):
    return {name: dict(writer(name)(sim)) for name in MINE}


@pytest.fixture(scope="module")
def moment(sim):
    return max(sim.hourly_counts["hour"].to_list()) + timedelta(minutes=30)


@pytest.fixture(scope="module")
def known(sim, moment):
    """(group, hour) to count, as a plain loop knows it at the moment of the export."""
    last = moment - timedelta(minutes=30)
    rows = sim.hourly_counts.select("group_id", "hour", "count").iter_rows()
    counts = Counter({(group, hour): count for group, hour, count in rows if hour < last})
    for group, at in sim.occurrences.select("group_id", "detected_at").iter_rows():
        if last <= at < moment:
            counts[group, last] += 1
    return counts


def series(known, group, since, until, step=HOUR):
    """[seconds, count] of each bucket from since to until, both included."""
    return [
        [int(at.timestamp()), sum(known[group, at + k * HOUR] for k in range(step // HOUR))]
        for at in (since + number * step for number in range((until - since) // step + 1))
    ]


def lines(content):
    return [json.loads(line) for line in content.decode().splitlines()]


def stamp(text):
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


def week_before(sim, moment):
    rows = sim.occurrences.filter(pl.col("detected_at").is_between(moment - timedelta(days=7), moment, closed="left"))
    return rows.sort("detected_at").to_dicts()


# --- all of them -----------------------------------------------------------------------------------------------------


def test_the_same_simulation_gives_the_same_bytes(sim, files):
    again = simulate(groups=230, days=21, seed=11)
    for name in MINE:
        assert dict(writer(name)(again)) == files[name], name


def test_every_file_has_a_name_of_its_own(files):
    names = [name for content in files.values() for name in content]
    assert len(set(names)) == len(names)
    assert set(MINE) <= set(FORMATS)


@pytest.mark.parametrize("name", MINE)
def test_a_simulation_in_which_nothing_occurs_can_be_written(name):
    silent = simulate(groups=1, days=8, seed=1, projects=1)
    assert silent.occurrences.is_empty()
    for file, content in writer(name)(silent):
        for line in content.decode().splitlines() if ".jsonl" in file else [content.decode()]:
            assert name == "envelopes" or json.loads(line) is not None


def test_files_named_after_issues_lie_in_folders_and_others_there_are_refused(sim, files, tmp_path):
    written = sim.write(tmp_path, formats=MINE)
    assert {path.relative_to(tmp_path).as_posix() for path in written} == {
        "planted.csv", *(name for content in files.values() for name in content)
    }  # fmt: skip
    for content in files.values():
        for name, data in content.items():
            there = (tmp_path / name).read_bytes()
            assert (gzip.decompress(there) if name.endswith(".gz") else there) == data
    assert sim.write(tmp_path, formats=MINE) == written  # once more is no other simulation
    (tmp_path / "group_stats" / "1.json").write_text("[]")
    with pytest.raises(DatasetError, match=r"group_stats/1\.json"):
        sim.write(tmp_path, formats=["group_stats"])


def test_the_last_hour_counts_half(sim, known, moment):
    assert exported_at(sim) == moment
    whole = {(group, hour): count for group, hour, count in sim.hourly_counts[:, 1:].iter_rows()}
    last = moment - timedelta(minutes=30)
    assert sum(known[group, hour] for group, hour in whole if hour == last) > 0
    assert any(known[key] < count for key, count in whole.items() if key[1] == last)
    rows = counts_at(sim, moment).select("group_id", "hour", "count").rows()
    assert {(group, hour): count for group, hour, count in rows} == {
        key: count for key, count in known.items() if count
    }


def test_of_many_records_the_newest_are_written(moment):
    at = pl.datetime_range(moment - timedelta(days=8), moment, "30s", time_unit="us", eager=True)
    some = pl.DataFrame({"detected_at": at}).with_columns(number=pl.int_range(pl.len()))
    kept = recent(some, moment)["number"].to_list()
    assert len(kept) == MOST_RECORDS == 20_000
    assert kept == list(range(len(at) - 1 - MOST_RECORDS, len(at) - 1))  # the last one is at the moment, not before it
    week = recent(some[::10], moment)["detected_at"].to_list()
    assert week[0] == moment - timedelta(days=7)


# --- issue lists -----------------------------------------------------------------------------------------------------


def list_pages(files):
    return [json.loads(content) for name, content in files["issue_list"].items() if name.startswith("issue-list-")]


def test_the_list_has_24_hours_of_every_issue(sim, files, known, moment):
    pages = list_pages(files)
    assert [len(page) for page in pages] == [100, 100, 30]
    issues = [issue for page in pages for issue in page]
    groups = {group["group_id"]: group for group in sim.groups.to_dicts()}
    last = moment - timedelta(minutes=30)
    assert sorted(int(issue["id"]) for issue in issues) == sorted(groups)
    total = Counter()
    for (group, _), count in known.items():
        total[group] += count
    for issue in issues:
        group = groups[int(issue["id"])]
        assert issue["stats"] == {"24h": series(known, group["group_id"], last - 23 * HOUR, last)}
        assert issue["count"] == issue["lifetime"]["count"] == str(total[group["group_id"]])
        assert issue["title"] == issue["metadata"]["title"] == group["title"]
        assert issue["project"]["id"] == str(group["project_id"])
        assert (issue["status"], issue["substatus"]) == (group["status"], group["substatus"])
        assert issue["statusDetails"] == {}
        assert stamp(issue["firstSeen"]) <= group["first_seen"] < stamp(issue["firstSeen"]) + timedelta(seconds=1)
        assert type(issue["userCount"]) is int
    assert {type(count) for issue in issues for _, count in issue["stats"]["24h"]} == {int}
    assert any(issue["stats"]["24h"][-1][1] for issue in issues)
    assert set(HOSTILE) <= {issue["title"] for issue in issues}
    assert {len(issue["lastSeen"]) for issue in issues} == {20, 27}  # whole seconds, and microseconds
    newest = [stamp(issue["lastSeen"]) for issue in issues]
    assert all(a >= b.replace(microsecond=0) for a, b in pairwise(newest))
    assert all(at < moment for at in newest)


def test_retrieved_issues_have_what_the_list_has_and_activities(sim, files):
    retrieved = {issue["id"]: issue for issue in lines(files["issue_list"]["issues-forecast.jsonl.gz"])}
    listed = {issue["id"]: issue for page in list_pages(files) for issue in page}
    assert retrieved.keys() == listed.keys()
    for key, issue in listed.items():
        more = retrieved[key]
        assert {name: more[name] for name in issue if name != "stats"} == {
            n: v for n, v in issue.items() if n != "stats"
        }
        assert more["stats"]["24h"] == issue["stats"]["24h"]
        assert more["activity"][-1]["type"] == "first_seen"
    assert sum(len(issue["activity"]) for issue in retrieved.values()) == sim.activities.height


def test_retrieved_issues_have_a_month_of_days(files, known, moment):
    today = moment.replace(hour=0, minute=0)
    for issue in lines(files["issue_list"]["issues-forecast.jsonl.gz"]):
        month = series(known, int(issue["id"]), today - timedelta(days=29), today, timedelta(days=1))
        assert issue["stats"]["30d"] == month


def test_forecasts_are_those_of_the_formula_at_midnight(sim, files, moment):
    midnight = moment.replace(hour=0, minute=0)
    window = defaultdict(lambda: {"intervals": [], "data": []})
    for group, hour, count in sim.hourly_counts.select("group_id", "hour", "count").iter_rows():
        if midnight - timedelta(hours=168) <= hour < midnight:
            window[group]["intervals"].append(hour.isoformat())
            window[group]["data"].append(count)
    types = dict(sim.groups.select("group_id", "type").iter_rows())
    escalates = {kind.id: kind.escalates for kind in TYPES}
    seen = Counter()
    for issue in lines(files["issue_list"]["issues-forecast.jsonl.gz"]):
        group, forecast = int(issue["id"]), issue["forecast"]
        if not escalates[types[group]]:
            assert forecast is None
            seen["no limits for this type"] += 1
            continue
        assert type(forecast["date_added"]) is float
        assert {type(limit) for limit in forecast["data"]} == {int}
        if group not in window:
            assert forecast == {"data": [10] * 14, "date_added": moment.timestamp()}
            seen["none stored"] += 1
            continue
        by_hand = ia.generate_issue_forecast(window[group], midnight)
        assert forecast["data"] == [day["forecasted_value"] for day in by_hand]
        assert forecast["date_added"] == midnight.timestamp() + 11.5
        assert by_hand[0]["forecasted_date"] == midnight.date().isoformat()
        seen["stored"] += 1
    assert min(seen["no limits for this type"], seen["none stored"]) >= 1
    assert seen["stored"] > 100


def test_daily_lists_have_a_point_a_day(files, known, moment):
    today = moment.replace(hour=0, minute=0)
    assert [*files["issue_list_daily"]] == ["issue-list-14d.json", "issue-list-auto.json"]
    for period in ("14d", "auto"):
        page = json.loads(files["issue_list_daily"][f"issue-list-{period}.json"])
        assert [issue["id"] for issue in page] == [issue["id"] for issue in list_pages(files)[0]]
        for issue in page:
            days = series(known, int(issue["id"]), today - timedelta(days=13), today, timedelta(days=1))
            assert issue["stats"] == {period: days}


# --- events and activities -------------------------------------------------------------------------------------------


def test_pages_of_events(sim, files, moment):
    pages = lines(files["issue_events"]["issue-events.jsonl.gz"])
    titles = dict(sim.groups.select("group_id", "title").iter_rows())
    listed = defaultdict(list)
    for before, page in zip([[], *pages], pages):
        (group,) = {event["groupID"] for event in page}
        assert 1 <= len(page) <= 100
        if group in listed:
            assert before[0]["groupID"] == group
            assert len(before) == 100
        listed[group] += page
    assert any(len(events) > 200 for events in listed.values())
    expected = defaultdict(list)
    for row in week_before(sim, moment):
        expected[str(row["group_id"])].append((row["occurrence_id"], str(row["project_id"]), row["detected_at"]))
    assert {
        group: [(event["eventID"], event["projectID"], stamp(event["dateCreated"])) for event in reversed(events)]
        for group, events in listed.items()
    } == expected
    for group, events in listed.items():
        for event in events:
            assert event["id"] == event["eventID"]
            assert event["title"] == titles[int(group)]
            assert all(set(tag) == {"key", "value"} for tag in event["tags"])
            assert event["event.type"] in ("error", "generic")
    assert set(HOSTILE) <= {event["title"] for events in listed.values() for event in events}


def snake(value):
    if isinstance(value, dict):
        return {"".join(f"_{c.lower()}" if c.isupper() else c for c in key): snake(one) for key, one in value.items()}
    return value


def test_activities_in_lines_and_in_files(sim, files):
    projects = dict(sim.groups.select("group_id", "project_id").iter_rows())
    listed, camel = {}, 0
    for name, content in files["activities"].items():
        if name == "activities.jsonl.gz":
            for line in lines(content):
                assert list(line) == ["issue_id", "project_id", "activity"]
                assert line["project_id"] == projects[line["issue_id"]]
                listed[line["issue_id"]] = line["activity"]
        else:
            answer = json.loads(content)
            assert list(answer) == ["activity"]
            folder, _, file = name.partition("/")
            assert folder == "activities"
            listed[int(file.removesuffix(".json"))] = answer["activity"]
    alone = [int(name[len("activities/") : -len(".json")]) for name in files["activities"] if "/" in name]
    assert len(alone) == 5
    assert min(len(listed[group]) for group in alone) >= max(len(v) for k, v in listed.items() if k not in alone)

    retrieved = {int(one["id"]): one["activity"] for one in lines(files["issue_list"]["issues-forecast.jsonl.gz"])}
    assert listed.keys() == retrieved.keys()
    for group, activities in listed.items():
        assert len(activities) <= 100
        assert (activities[-1]["id"], activities[-1]["type"]) == ("0", "first_seen")
        stamps = [activity["dateCreated"] for activity in activities]
        assert stamps == sorted(stamps, reverse=True)
        for activity, other in zip(activities, retrieved[group], strict=True):
            same_data = activity["data"] == other["data"]
            assert same_data or snake(activity["data"] or {}) == snake(other["data"])
            assert {**activity, "data": None} == {**other, "data": None}
            camel += not same_data
            if group % 4 == 0 and group not in alone:
                assert activity["data"] is None or not any("_" in key for key in activity["data"])
    assert camel > 50
    kinds = {activity["type"] for activities in listed.values() for activity in activities}
    assert {"set_escalating", "set_ignored", "auto_set_ongoing", "set_priority", "first_seen"} <= kinds


def test_camel_case_reaches_into_the_data():
    wide = simulate(groups=400, days=35, seed=2)
    answers = lines(dict(writer("activities")(wide))["activities.jsonl.gz"])
    data = [(line["issue_id"], one["data"] or {}) for line in answers for one in line["activity"]]
    snoozes = [one["expiredSnooze"] for _, one in data if "expiredSnooze" in one]
    assert len(snoozes) >= 2
    assert all(set(one) == {"until", "count", "window", "userCount", "userWindow"} for one in snoozes)
    assert {group % 4 for group, one in data if "expired_snooze" in one} <= {1, 2, 3}


# --- series ----------------------------------------------------------------------------------------------------------


def busiest(known, since, most):
    total = Counter()
    for (group, hour), count in known.items():
        if hour >= since:
            total[group] += count
    return [group for group, _ in sorted(total.items(), key=lambda item: (-item[1], item[0]))][:most]


def test_group_stats(sim, files, known, moment):
    first = min(sim.hourly_counts["hour"])
    assert first.hour == 0
    last = moment - timedelta(minutes=30)
    names = [f"group_stats/{group}.json" for group in busiest(known, first, 20)]
    assert list(files["group_stats"]) == names
    for name, content in files["group_stats"].items():
        group = int(name.partition("/")[2].removesuffix(".json"))
        assert json.loads(content) == series(known, group, first, last)
    assert any(json.loads(content)[-1][1] for content in files["group_stats"].values())


def test_group_stats_begin_with_a_day():
    quiet = simulate(groups=3, days=8, seed=2)
    first = quiet.occurrences["detected_at"][0]
    assert first.hour > 0
    for _, content in writer("group_stats")(quiet):
        assert json.loads(content)[0] == [first.replace(hour=0, minute=0, second=0, microsecond=0).timestamp(), 0]


def test_events_stats(sim, files, known, moment):
    last = moment - timedelta(minutes=30)
    since = last - 14 * 24 * HOUR + HOUR
    top = busiest(known, since, 10)
    content = files["events_stats"]
    assert list(content) == [f"events_stats/{top[0]}.json", "events_stats/top-events.json"]
    answer = json.loads(content["events_stats/top-events.json"])
    assert list(answer) == [*map(str, top), "Other"]
    others = Counter({(0, hour): 0 for _, hour in known})
    for (group, hour), count in known.items():
        others[0, hour] += count if group not in top else 0
    for order, (label, part) in enumerate(answer.items()):
        points = series(others, 0, since, last) if label == "Other" else series(known, int(label), since, last)
        after = [[points[-1][0] + 3600 * k, [{"count": None}]] for k in (1, 2)]
        assert part["data"] == [[at, [{"count": count}]] for at, count in points] + after
        assert part["order"] == order
        assert (part["start"], part["end"]) == (since.timestamp(), moment.timestamp())
    single = json.loads(content[f"events_stats/{top[0]}.json"])
    assert single["data"] == answer[str(top[0])]["data"]
    assert "order" not in single


def test_events_timeseries(files, moment):
    answer = json.loads(files["events_timeseries"]["events-timeseries.json"])
    top = json.loads(files["events_stats"]["events_stats/top-events.json"])
    labels = [[{"key": "issue.id", "value": label}] if label != "Other" else None for label in top]
    assert [one["groupBy"] for one in answer["timeSeries"]] == labels
    for one, (label, other) in zip(answer["timeSeries"], top.items()):
        assert one["yAxis"] == "count()"
        assert one["meta"]["interval"] == 3_600_000
        assert one["meta"]["isOther"] == (label == "Other")
        points = [[value["timestamp"] // 1000, value["value"]] for value in one["values"]]
        assert points == [[at, cells[0]["count"]] for at, cells in other["data"][:-2]]
        assert all(value["timestamp"] % 3_600_000 == 0 for value in one["values"])
        assert [value["incomplete"] for value in one["values"]] == [False] * (len(points) - 1) + [True]
    assert answer["meta"]["end"] == moment.timestamp() * 1000


# --- what SDKs send --------------------------------------------------------------------------------------------------


def told_by(event):
    """What an SDK event's group can be told by, without any knowledge of the simulation."""
    first = (event.get("fingerprint") or ["{{ default }}"])[0]
    if first != "{{ default }}":
        return first
    raised = event["exception"]["values"][-1]
    frame = [frame for frame in raised["stacktrace"]["frames"] if frame.get("in_app")][-1]
    return raised["type"], frame["module"], frame["function"]


def text_of(event):
    if "exception" in event:
        raised = event["exception"]["values"][-1]
        return f"{raised['type']}: {raised['value']}"
    return event["message"] if "message" in event else event["logentry"]["formatted"]


def at_of(event):
    at = event["timestamp"]
    return stamp(at) if isinstance(at, str) else datetime.fromtimestamp(at, tz=UTC)


def errors_of(sim, moment):
    return {row["occurrence_id"]: row for row in week_before(sim, moment) if row["type"] == 1}


def sdk_events(files):
    return {
        int(name.removeprefix("sdk-events-").removesuffix(".jsonl.gz")): lines(content)
        for name, content in files["sdk_events"].items()
    }


def test_sdk_events_are_the_errors_of_a_week(sim, files, moment):
    expected = errors_of(sim, moment)
    by_project = sdk_events(files)
    assert set(by_project) == set(sim.groups["project_id"])
    events = [(project, event) for project, listed in by_project.items() for event in listed]
    assert len(events) == len(expected)
    for project, event in events:
        row = expected[event["event_id"]]
        assert row["project_id"] == project
        assert text_of(event) == row["title"]
        assert event["level"] == row["level"]
        assert at_of(event) == row["detected_at"]
        assert not {"project", "project_id", "group_id"} & set(event)
    texts = [isinstance(event["timestamp"], str) for _, event in events]
    pairs = [isinstance(event["tags"], list) for _, event in events]
    assert {(a, b) for a, b in zip(texts, pairs)} == {(True, True), (True, False), (False, True), (False, False)}
    assert abs(sum(texts) / len(texts) - 0.5) < 0.01
    assert set(HOSTILE) <= {text_of(event) for _, event in events}
    assert {"message", "logentry"} <= {name for _, event in events for name in event}


def test_each_group_of_sdk_events_can_be_told(sim, files, moment):
    expected = errors_of(sim, moment)
    stored = dict(sim.groups.select("group_id", "fingerprint").iter_rows())
    group_of, how = {}, Counter()
    for event in (event for listed in sdk_events(files).values() for event in listed):
        group = expected[event["event_id"]]["group_id"]
        mark = told_by(event)
        assert group_of.setdefault(mark, group) == group
        if isinstance(mark, str):
            hashed = [hashlib.md5(part.encode(), usedforsecurity=False).hexdigest() for part in event["fingerprint"]]
            assert hashed == stored[group]
        how[tuple(event["fingerprint"]) if not isinstance(mark, str) and "fingerprint" in event else type(mark)] += 1
    assert len(group_of) == len({row["group_id"] for row in expected.values()}) > 50
    assert {str, tuple, ("{{ default }}",), ("{{ default }}", "production")} <= set(how)


def test_what_groups_share_tells_none_of_them(sim, files, moment):
    expected = errors_of(sim, moment)
    seen = defaultdict(set)
    for event in (event for listed in sdk_events(files).values() for event in listed if "exception" in event):
        values = event["exception"]["values"]
        frames = values[-1]["stacktrace"]["frames"]
        group = expected[event["event_id"]]["group_id"]
        seen["outermost", frames[0]["function"]].add(group)
        seen["innermost", frames[-1]["function"]].add(group)
        if len(values) > 1:
            seen["cause", values[0]["type"]].add(group)
    for shared in (("outermost", "serve"), ("innermost", "decode"), ("cause", "OSError")):
        assert len(seen[shared]) > 10


def read_envelopes(data):
    """Envelopes by the rules of their format: (header, [(item header, payload)]); an empty line ends one."""
    envelopes, at = [], 0
    while at < len(data):
        end = data.index(b"\n", at)
        line, at = data[at:end], end + 1
        if not line:
            continue
        header = json.loads(line)
        if "type" not in header:
            envelopes.append((header, []))
            continue
        end = at + header["length"] if "length" in header else data.index(b"\n", at)
        assert data[end : end + 1] == b"\n"
        envelopes[-1][1].append((header, data[at:end]))
        at = end + 1
    return envelopes


def test_envelopes_hold_the_same_events_with_their_project(sim, files, moment):
    data = files["envelopes"]["events.envelope.gz"]
    envelopes = read_envelopes(data)
    alone = {event["event_id"]: (project, event) for project, some in sdk_events(files).items() for event in some}
    kinds, order = Counter(), []
    for header, items in envelopes:
        kinds.update(item["type"] for item, _ in items)
        kinds.update("no length" for item, _ in items if "length" not in item)
        kinds.update("empty" for item, _ in items if item.get("length") == 0)
        kinds["attachment first"] += items[0][0]["type"] == "attachment"
        kinds["no header"] += header == {}
        for payload in (payload for item, payload in items if item["type"] == "event"):
            event = json.loads(payload)
            project, same = alone.pop(event["event_id"])
            assert event == same
            assert header["event_id"] == event["event_id"]
            assert header["dsn"].rsplit("/", 1)[1] == str(project)
            assert timedelta(0) < stamp(header["sent_at"]) - at_of(event) < timedelta(seconds=5)
            order.append(at_of(event))
            kinds["not ASCII"] += not payload.isascii()
    assert alone == {}
    assert order == sorted(order)
    assert kinds["event"] == len(errors_of(sim, moment))
    for kind in ("attachment", "session", "client_report", "transaction", "no length", "empty", "attachment first",
                 "no header", "not ASCII"):  # fmt: skip
        assert kinds[kind] >= 3, kind
    assert b"\n\n{" in data


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record(tmp_path_factory.mktemp("sdk"), project_id=7)


def test_the_recorder_gets_what_the_real_sdk_sends(recorded):
    """What other tests take from the recorder is so."""
    names = {path.name: expected for path, expected in recorded}
    assert all(path.stat().st_size > 100 for path, _ in recorded)
    labels = defaultdict(set)
    for path, expected in recorded:
        if path.suffix == ".json":
            event = json.loads(path.read_bytes())
        else:
            ((_, items),) = read_envelopes(path.read_bytes())
            found = [json.loads(payload) for item, payload in items if item["type"] == "event"]
            assert len(found) == (expected is not None)
            if expected is None:
                assert [item["type"] for item, _ in items] == ["session"]
                continue
            (event,) = found
            assert {payload for item, payload in items if item["type"] == "attachment"} <= {ATTACHMENT}
        assert (event["event_id"], event["level"]) == (expected["event_id"], expected["level"])
        assert expected["between"][0] - 1 < at_of(event).timestamp() < expected["between"][1] + 1
        assert event.get("fingerprint") == expected["fingerprint"]
        if expected["message"] is None:
            raised = event["exception"]["values"][-1]
            assert (raised["type"], raised["value"]) == (expected["type"], expected["value"])
            assert told_by({**event, "fingerprint": None})[2] == expected["function"]
        else:
            assert text_of(event) == expected["message"]
        labels[expected["group"]].add(told_by(event) if expected["message"] is None else text_of(event))
    assert len(names) == 23
    assert len(labels["coupon"]) == 1
    assert sum(path.suffix == ".envelope" and ATTACHMENT in path.read_bytes() for path, _ in recorded) == 1


FREE = {"modules", "extra", "vars", "tags"}
"""Objects whose keys the application chooses."""


def lacks(real, ours, where="event"):
    """Where our value has another type than the real one, or lacks what that has."""
    if real is None or ours is None:
        return []  # both have fields that may be null
    if type(real) is not type(ours):
        return [f"{where}: {type(ours).__name__} for {type(real).__name__}"]
    if isinstance(real, dict):
        missing = [f"{where}.{key}" for key in real if key not in ours and where.rsplit(".")[-1] not in FREE]
        return missing + [
            found for key in real.keys() & ours.keys() for found in lacks(real[key], ours[key], f"{where}.{key}")
        ]
    if isinstance(real, list) and real and ours:
        return lacks(real[-1], ours[-1], f"{where}[]")
    return []


def test_simulated_envelopes_have_all_that_the_real_sdk_sends(files, recorded):
    ours = [
        (header, item, json.loads(payload))
        for header, items in read_envelopes(files["envelopes"]["events.envelope.gz"])
        for item, payload in items
        if item["type"] == "event" and "length" in item
    ]

    def like(event):
        """The simulated event most like a real one: what it is about, how it is stamped, where its last frame lies."""
        frames = event["exception"]["values"][-1]["stacktrace"]["frames"] if "exception" in event else [{}]
        return (
            "exception" in event,
            "message" in event,
            "in_app" in frames[-1],
            isinstance(event["timestamp"], str),
            isinstance(event.get("tags", {}), dict),
            "fingerprint" in event,
        )

    by_likeness = {like(event): (header, item, event) for header, item, event in ours}
    compared = Counter()
    for path, expected in recorded:
        if path.suffix == ".envelope" and expected is not None:
            ((header, items),) = read_envelopes(path.read_bytes())
            ((item, event),) = [(item, json.loads(payload)) for item, payload in items if item["type"] == "event"]
            wanted = like(event)
            if not wanted[0]:
                wanted = (*wanted[:-1], True)  # simulated messages always have one
            simulated = by_likeness[wanted]
            assert lacks(header, simulated[0], "header") == []
            assert lacks(item, simulated[1], "item") == []
            assert lacks(event, simulated[2]) == []
            compared["exception" if "exception" in event else "message" if "message" in event else "logentry"] += 1
    assert compared == {"exception": 8, "message": 2, "logentry": 1}
