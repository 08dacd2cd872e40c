"""Issues, their events and activities from the REST API, and answers of the query service."""

import json
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from rest_payloads import (
    ACTIVITIES,
    AT_NINE,
    DAY,
    NINE,
    SNUBA_ROW,
    event,
    hours,
    issue,
    put,
    retrieved,
    run,
    snuba,
)

import issue_analytics as ia
from issue_analytics.exports import formats
from issue_analytics.exports.formats.form import Format
from issue_analytics.exports.reading import Options, read


def rows_of(path, kind, *columns):
    frame, _, _, _ = read(path, kind, Options())
    return frame.select(columns).rows()


def reasons(path, kind):
    return read(path, kind, Options())[1]["reasons"].list.join(" | ").to_list()


def test_a_page_of_the_issue_list(tmp_path):
    page = [issue(), issue(id=10002, project={"id": 102}, firstSeen="2026-01-01T00:00:00.000001Z")]
    path = put(tmp_path, page, "page.json")
    frame, rejects, tally, _ = read(path, "hourly_counts", Options())
    assert frame.sort("group_id", "hour").rows() == [(101, 10001, *pair) for pair in zip(hours(0, 1), [3, 0])] + [
        (102, 10002, *pair) for pair in zip(hours(0, 1), [3, 0])
    ]
    assert (tally.read, tally.accepted, tally.rejected, tally.other) == (6 + 2, 4, 2, 2)
    assert rejects["raw"][0] == '{"project_id": "101", "group_id": "10001", "point": [1767610800, 2]}'
    changes = rows_of(path, "status_changes", "project_id", "group_id", "at", "kind", "source")
    assert changes == [
        (101, 10001, datetime(2025, 11, 2, 8, tzinfo=UTC), "first_seen", "issue"),
        (102, 10002, datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC), "first_seen", "issue"),
    ]


def test_no_count_of_an_issue_is_mixed_with_its_buckets(tmp_path):
    path = put(tmp_path, issue(count="123456", lifetime={"count": "99"}, filtered={"stats": {"24h": run(7, 7, 7)}}))
    assert rows_of(path, "hourly_counts", "count") == [(3,), (0,)]


def test_items_of_issues_stats_name_no_project(tmp_path):
    item = {
        "id": "10001",
        "count": "5",
        "userCount": 1,
        "firstSeen": "2025-11-02T08:00:00Z",
        "stats": {"24h": run(4, 1)},
    }
    assert rows_of(put(tmp_path, [item]), "hourly_counts", "project_id", "group_id", "count") == [(0, 10001, 4)]


@pytest.mark.parametrize("period", ["14d", "30d", "auto", "24h", "new"])
def test_daily_stats_are_refused_whatever_they_are_called(tmp_path, period):
    path = put(tmp_path, issue(stats={period: run(*range(14), start=NINE - 9 * 3600, step=DAY)}))
    dataset = ia.import_export(path, tmp_path / "data")
    assert dataset.manifest["totals"]["hourly_counts"]["rejected"] == 1
    reason = dataset.rejects.collect()["reasons"].item().item()
    assert reason.startswith("one point for a day: limits are events per hour")
    assert "groupStatsPeriod=24h" in reason
    with pytest.raises(ia.ExportError, match=r"10001\.json: nothing in it can be used\. One point for a day: .*1h\."):
        ia.read_hourly_counts(path)


@pytest.mark.parametrize(
    ("stats", "said"),
    [
        ({"auto": run(1, 2, 3, step=6 * 3600)}, "one point for 6 hours:"),
        ({"auto": run(1, 2, 3, step=300)}, "one point for 5 minutes:"),
        ({"auto": [*run(1, 2, 3, step=DAY // 2), [NINE + DAY + 3600, 9]]}, "one point for 12 hours:"),
        ({"14d": run(3)}, "one point for a day:"),
        ({"24h": "many"}, "stats: not a list of points"),
        ([[NINE, 3]], "stats: no object of series"),
    ],
)
def test_stats_of_no_use(tmp_path, stats, said):
    path = put(tmp_path, [issue(stats=stats), issue(id="10002")])
    assert any(reason.startswith(said) for reason in reasons(path, "hourly_counts"))
    assert set(rows_of(path, "hourly_counts", "group_id")) == {(10002,)}


def test_an_hourly_series_with_holes_stays_hourly(tmp_path):
    points = [*run(1, 2, 3), [NINE + 7 * 3600, 4], [NINE + 8 * 3600, 5]]
    path = put(tmp_path, issue(stats={"auto": points}))
    assert rows_of(path, "hourly_counts", "hour", "count") == list(zip(hours(0, 1, 2, 7), [1, 2, 3, 4]))


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ([NINE + 3600, None], "count: null, which is not known, not 0"),
        ([NINE + 3600, -1], 'count: negative: "-1"'),
        ([NINE + 3600, 1.5], 'count: not a whole number: "1.5"'),
        ([NINE + 3600, {"a": 1}], 'count: not a whole number: "{"a": 1}"'),
        ([NINE + 3601, 1], "hour: inside an hour (UTC); hourly counts need the start of an hour"),
        (["soon", 1], 'hour: not a time: "soon"'),
        ([None, 1], "hour: missing; a time with a zone is needed"),
        ([NINE + 3600], "not a point [time, count]"),
        ("3", "not a point [time, count]"),
        ({"at": 3}, "not a point [time, count]"),
    ],
)
def test_a_point_that_is_none_costs_that_point_only(tmp_path, point, said):
    points = [[NINE, 3], point, *run(5, 6, 7, start=NINE + 7200)]
    path = put(tmp_path, issue(stats={"24h": points}))
    assert rows_of(path, "hourly_counts", "count") == [(3,), (5,), (6,)]
    assert [reason.startswith(said) for reason in reasons(path, "hourly_counts")] == [True, False]


def test_a_retrieved_issue(tmp_path):
    path = put(tmp_path, retrieved(), "issue.json")
    dataset = ia.import_export(path, tmp_path / "data")
    assert dataset.manifest["sources"][0]["found"] == "issues"
    assert dataset.manifest["sources"][0]["ignored"] == {"coarser stats of issues that have hourly ones": 1}
    changes = dataset.status_changes.collect().sort("at", descending=True)
    assert changes.select("kind", "cause", "forecast", "source").rows() == [
        ("escalating", "forecast", 42, "activity"),
        ("some_new_type", None, None, "activity"),
        ("first_seen", None, None, "activity"),
    ]
    forecasts = dataset.recorded_forecasts.collect()
    made = datetime(2026, 1, 5, 0, 0, 11, 500_000, tzinfo=UTC)
    assert forecasts.rows() == [
        (101, 10001, date(2026, 1, 5) + timedelta(days=day), 100 + day, made) for day in range(14)
    ]
    assert dataset.hourly_counts.collect()["count"].to_list() == [3, 0]


def test_first_seen_is_told_once(tmp_path):
    late = [one for one in ACTIVITIES if one["type"] != "first_seen"]
    path = put(tmp_path, [retrieved(), retrieved(id="10002", activity=late)], "issues.json")
    frame, _, tally, _ = read(path, "status_changes", Options())
    assert frame.filter(kind="first_seen").select("group_id", "source").rows() == [
        (10001, "activity"),
        (10002, "issue"),
    ]
    assert tally.duplicates == 0


def test_the_fallback_forecast_is_kept_with_the_moment_of_the_call(tmp_path):
    path = put(tmp_path, retrieved(forecast={"data": [10] * 14, "date_added": "2026-01-05T23:59:59.5Z"}))
    frame, _, _, _ = read(path, "recorded_forecasts", Options())
    assert frame["limit"].to_list() == [10] * 14
    assert (frame["date"].min(), frame["date"].max()) == (date(2026, 1, 5), date(2026, 1, 18))
    assert frame["made_at"].unique().to_list() == [datetime(2026, 1, 5, 23, 59, 59, 500_000, tzinfo=UTC)]


@pytest.mark.parametrize("forecast", [None, {"data": [5] * 14, "date_added": NINE * 1_000}])
def test_forecasts_that_are_fine(tmp_path, forecast):
    dataset = ia.import_export(put(tmp_path, retrieved(forecast=forecast)), tmp_path / "data")
    assert dataset.recorded_forecasts.collect().height == (14 if forecast else 0)
    assert dataset.rejects.collect()["reasons"].list.first().str.starts_with("partial").all()


@pytest.mark.parametrize(
    ("forecast", "accepted", "refused", "said"),
    [
        ({"data": [5] * 13, "date_added": NINE}, 0, 1, "forecast: no list of 14 limits, one a day"),
        ({"data": None, "date_added": NINE}, 0, 1, "forecast: no list of 14 limits, one a day"),
        ([5] * 14, 0, 1, "forecast: no list of 14 limits, one a day"),
        ({"data": [5] * 14}, 0, 1, "forecast: no time in date_added"),
        ({"data": [5] * 14, "date_added": True}, 0, 1, "forecast: no time in date_added"),
        ({"data": [5] * 14, "date_added": "2026-01-05T00:00:00"}, 0, 1, "forecast: no time in date_added"),
        ({"data": [5] * 14, "date_added": 10**400}, 0, 1, "forecast: no time in date_added"),
        ({"data": [5] * 14, "date_added": -(10**10)}, 0, 14, "made_at: impossible"),
        ({"data": [5] * 13 + [-1], "date_added": NINE}, 13, 1, 'limit: negative: "-1"'),
        ({"data": [5] * 13 + [None], "date_added": NINE}, 13, 1, "limit: missing"),
    ],
)
def test_forecasts_that_are_none(tmp_path, forecast, accepted, refused, said):
    path = put(tmp_path, [retrieved(forecast=forecast), retrieved(id="2")])
    _, rejects, tally, _ = read(path, "recorded_forecasts", Options())
    assert (tally.accepted, tally.rejected) == (accepted + 14, refused)
    assert all(any(reason.startswith(said) for reason in each) for each in rejects["reasons"].to_list())


def test_what_is_unknown_or_left_out_stops_nothing(tmp_path):
    bare = {"id": "5", "shortId": "SHOP-5", "isUnhandled": False}
    odd = issue(id="6", status="reprocessing", substatus="simmering", issueType="new_type", priority="urgent", level=7)
    without = issue(id="7", firstSeen=None)
    del without["stats"]
    path = put(tmp_path, [bare, odd, without], "page.json")
    dataset = ia.import_export(path, tmp_path / "data")
    source = dataset.manifest["sources"][0]
    assert source["ignored"] == {"issues that tell neither counts nor dates": 2}
    assert source["rows"]["hourly_counts"] == {"read": 3, "accepted": 2, "rejected": 1, "duplicates": 0}
    assert source["rows"]["status_changes"] == {"read": 1, "accepted": 1, "rejected": 0, "duplicates": 0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": None}, "group_id: missing"),
        ({"id": "SHOP-1"}, 'group_id: not a whole number: "SHOP-1"'),
        ({"project": {"id": "shop"}}, 'project_id: not a whole number: "shop"'),
        ({"firstSeen": "2025-11-02T08:00:00"}, 'at: no time zone: "2025-11-02T08:00:00"'),
        ({"activity": "none"}, "activity: not a list"),
        ({"activity": ["x"]}, "not an activity"),
    ],
)
def test_what_is_wrong_with_an_issue_is_said(tmp_path, change, said):
    path = put(tmp_path, [issue(**change), issue(id="2")])
    assert any(reason.startswith(said) for reason in reasons(path, "status_changes"))
    assert read(path, "status_changes", Options())[0]["group_id"].to_list()[-1] == 2


def test_a_page_of_events(tmp_path):
    path = put(
        tmp_path, [event(), event(id="b", eventID="b", dateReceived="2026-01-05T09:00:02Z", tags=[["level", "x"]])]
    )
    frame, rejects, _, _ = read(path, "occurrences", Options())
    assert rejects.height == 0
    assert frame.row(0, named=True) == {
        "occurrence_id": "a" * 32,
        "event_id": "a" * 32,
        "project_id": 101,
        "group_id": 10001,
        "type": 1,
        "fingerprint": None,
        "title": "KeyError",
        "level": "fatal",
        "detected_at": AT_NINE + timedelta(milliseconds=250),
        "received_at": None,
    }
    assert frame.row(1, named=True)["received_at"] == AT_NINE + timedelta(seconds=2)
    assert frame["level"].to_list() == ["fatal", "x"]


@pytest.mark.parametrize("tags", [None, {}, "x", ["x", {"key": "level"}], [[]], {"level": None}])
def test_events_without_a_level(tmp_path, tags):
    assert rows_of(put(tmp_path, [event(tags=tags)]), "occurrences", "level") == [("info",)]


@pytest.mark.parametrize(
    ("kind", "type_"),
    [("error", 1), ("default", 1), ("generic", None), ("transaction", None), ("new", None), ({}, None)],
)
def test_the_type_of_an_event(tmp_path, kind, type_):
    assert rows_of(put(tmp_path, event(**{"event.type": kind})), "occurrences", "type") == [(type_,)]


def test_an_event_of_no_group_is_rejected(tmp_path):
    path = put(tmp_path, [event(groupID=None), event(eventID="b", dateCreated=None), event(eventID="c")])
    assert rows_of(path, "occurrences", "occurrence_id") == [("c",)]
    assert [reason.split(";")[0].split(",")[0] for reason in reasons(path, "occurrences")] == [
        "group_id: missing",
        "detected_at: missing",
    ]


def test_overlapping_pages_count_once(tmp_path):
    # two pages on two lines, and two documents: newest first, and a new event pushed one onto the next page
    events = [event(eventID=f"{number:032x}", id=str(number)) for number in range(5)]
    put(tmp_path, "\n".join(map(json.dumps, (events[2:4], events[3:]))), "in/a.jsonl")
    put(tmp_path, events[:3], "in/b.json")
    frame, _, tally, _ = read(tmp_path / "in", "occurrences", Options())
    assert (tally.read, tally.accepted, tally.duplicates) == (7, 5, 2)
    assert frame["occurrence_id"].n_unique() == 5
    dataset = ia.import_export(tmp_path / "in", tmp_path / "data")
    assert dataset.manifest["totals"]["occurrences"] == {"read": 7, "accepted": 5, "rejected": 0, "duplicates": 2}
    assert "not both" in dataset.manifest["sources"][0]["note"]


def test_activities_are_complete_until_the_hundredth(tmp_path):
    def history(number):
        noted = [{"id": str(n), "type": "note", "data": None, "dateCreated": NINE - n} for n in range(number - 1)]
        return [*noted, {"id": "0", "type": "first_seen", "data": {}, "dateCreated": "2025-11-02T08:00:00Z"}]

    for number, cut in ((99, []), (100, [NINE - 98]), (101, [NINE - 99])):
        path = put(tmp_path, {"activity": history(number)})
        frame, _, tally, _ = read(path, "status_changes", Options())
        assert frame.filter(kind="history_truncated")["at"].dt.epoch("s").to_list() == cut
        assert tally.read == number + len(cut)
        assert frame.filter(kind="first_seen").height == 1


@pytest.mark.parametrize(
    ("activity", "said"),
    [
        ({"type": "note", "data": None}, "at: missing"),
        ({"type": "note", "data": None, "dateCreated": "soon"}, 'at: not a time: "soon"'),
        ({"type": None, "data": None, "dateCreated": NINE}, "kind: missing"),
        (None, "not an activity"),
        ([], "not an activity"),
    ],
)
def test_what_is_no_activity(tmp_path, activity, said):
    path = put(tmp_path, {"activity": [activity, ACTIVITIES[0]]})
    assert rows_of(path, "status_changes", "group_id", "kind") == [(10001, "escalating")]
    assert [reason.startswith(said) for reason in reasons(path, "status_changes")] == [True]


def test_activities_of_two_projects_with_one_id_are_of_two_groups(tmp_path):
    lines = [{"issue_id": 7, "project_id": project, "activity": ACTIVITIES} for project in (1, 2)]
    frame, _, tally, _ = read(put(tmp_path, lines), "status_changes", Options())
    assert (frame.select("project_id", "group_id").unique().height, tally.accepted) == (2, 6)


@pytest.mark.parametrize(
    ("type_", "data", "kind", "others"),
    [
        ("merge", {"issues": [{"id": "7", "shortId": "X-7"}, {"id": 8}, {"id": "7"}]}, "merged", [7, 8]),
        ("merge", {"issues": {"id": "7"}}, "merged", [7]),
        ("merge", {"issues": [{}, {"id": None}, None, {"id": "10001"}]}, "merged", []),
        ("merge", {"issues": None}, "merged", []),
        ("unmerge_source", {"fingerprints": ["a"], "destination": {"id": "7"}}, "unmerged", [7]),
        ("unmerge_destination", {"source_id": 7, "source": {"id": "7"}}, "unmerged", [7]),
        ("unmerge_destination", {"sourceId": 7}, "unmerged", [7]),
        ("reprocess", {"eventCount": 3, "oldGroupId": 7, "newGroupId": 10001}, "reprocess", [7]),
        ("note", {"issues": [{"id": "7"}], "source": {"id": "8"}}, "note", []),
    ],
)
def test_what_moves_events_is_told_of_every_issue_it_names(tmp_path, type_, data, kind, others):
    activity = {"id": "9", "type": type_, "data": data, "dateCreated": NINE}
    for number, record in enumerate(({"activity": [activity]}, retrieved(activity=[activity]), activity)):
        frame, rejects, tally, _ = read(put(tmp_path, record), "status_changes", Options())
        found = frame.filter(pl.col("kind") != "first_seen")
        assert found["group_id"].to_list() == [10001, *others]
        assert found.select("at", "kind", "source").unique().rows() == [(AT_NINE, kind, "activity")]
        assert (rejects.height, tally.read - tally.other) == (0, frame.height)
        dataset = ia.import_export(put(tmp_path, record), tmp_path / f"data-{number}")
        altered = [] if kind == "note" else [*others, 10001]
        assert dataset.altered_groups.collect()["group_id"].to_list() == altered


def test_a_merged_issue_that_is_none_is_a_reject(tmp_path):
    merge = {"type": "merge", "data": {"issues": [{"id": "=1+1"}, {"id": "7"}, [1]]}, "dateCreated": NINE}
    path = put(tmp_path, {"activity": [merge]})
    assert rows_of(path, "status_changes", "group_id", "kind") == [(10001, "merged"), (7, "merged")]
    assert reasons(path, "status_changes") == [
        'group_id: not a whole number: "=1+1"', 'group_id: not a whole number: "[1]"',
    ]  # fmt: skip


ERROR = {"error": {"type": "rate-limited", "message": "concurrent limit", "code": 8}, "timing": {}}


def test_many_pages_in_one_file(tmp_path):
    later = {**SNUBA_ROW, "hourBucket": "2026-01-05T10:00:00+00:00"}
    pages = [snuba(SNUBA_ROW), ERROR, snuba(), snuba(later, 7), snuba(SNUBA_ROW)]
    text = "\n".join(map(json.dumps, pages))
    indented = "\n".join(json.dumps(page, indent=2) for page in pages)
    for name, content in (
        ("a.jsonl", text),
        ("b.json", pages),
        ("c.json", indented),
        ("d.json", [pages[:3], pages[3:]]),
    ):
        frame, rejects, tally, _ = read(put(tmp_path, content, name), "hourly_counts", Options())
        assert (tally.read, tally.accepted, tally.rejected, tally.duplicates) == (5, 2, 2, 1), name
        assert frame["hour"].sort().to_list() == hours(0, 1)
        assert rejects["reasons"].list.first().to_list() == [
            'the query failed: "rate-limited: concurrent limit"; run it again',
            "not a row of a known kind; found: int",
        ]


def test_rows_in_a_response_are_adapted_by_the_format_that_knew_them(tmp_path, monkeypatch):
    def adapt(kind, raw):
        return [(kind, raw.with_columns(count=pl.col("count").cast(pl.Int64) * 2))]

    fields = {"hourly_counts": {"group_id": ("gid",), "hour": ("h",), "count": ("n",)}}
    odd = Format("odd", lambda record: isinstance(record, dict) and "gid" in record, fields, adapt=adapt)
    monkeypatch.setattr(formats, "TABLES", (odd, *formats.TABLES))
    path = put(tmp_path, snuba({"gid": 5, "h": NINE, "n": 21}, SNUBA_ROW))
    assert rows_of(path, "hourly_counts", "group_id", "count") == [(5, 42), (10001, 11)]


def test_a_response_with_an_error_alone_is_an_error(tmp_path):
    with pytest.raises(
        ia.ExportError, match=r'nothing in it can be used\. The query failed: "rate-limited: concurrent'
    ):
        ia.read_hourly_counts(put(tmp_path, ERROR))
