"""What a dataset covers: each finding is made to appear, and to stay away."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from issue_analytics.counts import HOUR
from issue_analytics.coverage import coverage, find_gaps
from issue_analytics.dataset import import_export

START = datetime(2026, 1, 5, tzinfo=UTC)


def rows(hours, project=1, group=7, per_hour=20):
    """Occurrences spread over the hours named."""
    return [
        {"id": f"{project}-{group}-{hour}-{n}", "project_id": project, "group_id": group, "issue_title": "t",
         "detection_time": START.timestamp() + 3600 * hour + 3600 * (n + 0.5) / per_hour}
        for hour in hours for n in range(per_hour)
    ]  # fmt: skip


def dataset_of(tmp_path, *files):
    folder = tmp_path / "exports"
    folder.mkdir()
    for number, records in enumerate(files):
        text = records if isinstance(records, str) else "\n".join(map(json.dumps, records))
        (folder / f"{number}.export").write_text(text)
    return import_export(folder, tmp_path / "data", progress=False)


def levels(found):
    return {finding.name: finding.level for finding in found.findings}


def test_a_clean_dataset_is_to_be_trusted(tmp_path):
    found = coverage(dataset_of(tmp_path, rows(range(24 * 22))))
    assert set(levels(found).values()) == {"fine"}
    assert found.verdict == "Nothing speaks against trusting what follows."
    assert found.facts["hours"] == found.hours.height == 24 * 22
    assert found.facts["occurrences"] == found.hours["count"].sum() == 20 * 24 * 22
    assert found.groups.select("hours", "history_hours").rows() == [(528, 528)]


@pytest.mark.parametrize(("hours", "level"), [(168, "stop"), (169, "look"), (503, "look"), (504, "fine")])
def test_a_short_span_is_told(tmp_path, hours, level):
    assert levels(coverage(dataset_of(tmp_path, rows(range(hours), per_hour=2))))["span"] == level


def test_no_counts_at_all_stop_everything(tmp_path):
    change = {"payload_type": "status_change", "project_id": 1, "group_id": 7, "new_status": 1,
              "update_date": "2026-01-05T00:00:00Z"}  # fmt: skip
    found = coverage(dataset_of(tmp_path, [change]))
    assert found.verdict == "Nothing can be judged on these data: span."
    assert found.facts["first_hour"] is None


def test_a_gap_is_found_and_a_night_is_none(tmp_path):
    days = [hour for hour in range(24 * 22) if 6 <= hour % 24 < 22]
    gap = range(24 * 10 + 6, 24 * 11 + 22)
    found = coverage(dataset_of(tmp_path, rows([hour for hour in days if hour not in gap])))
    assert found.gaps.select("project_id", "hours").rows() == [(None, 2 * 24 + 8)]
    assert found.gaps["start"].item() == START + timedelta(days=9, hours=22)
    assert levels(found)["gaps"] == "look"


def test_nights_alone_are_no_gaps(tmp_path):
    found = coverage(dataset_of(tmp_path, rows([hour for hour in range(24 * 22) if 6 <= hour % 24 < 22])))
    assert found.gaps.is_empty()


def test_a_gap_of_one_project_is_told_once_and_named(tmp_path):
    whole = range(24 * 22)
    quiet = [hour for hour in whole if not 200 <= hour < 210]
    found = coverage(dataset_of(tmp_path, rows(whole, 1, 7, 2), rows(quiet, 2, 8, 2)))
    assert found.gaps.select("project_id", "hours").rows() == [(2, 10)]
    both = [hour for hour in whole if not 300 <= hour < 305]
    found = find_gaps(
        pl.DataFrame(
            [(project, 7, START + hour * HOUR, 1) for project in (1, 2) for hour in both],
            schema=["project_id", "group_id", "hour", "count"], orient="row",
        )
    )  # fmt: skip
    assert found.select("project_id", "hours").rows() == [(None, 5)]


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 400), min_size=2))
def test_gaps_equal_a_plain_count_of_silent_hours(active):
    hours = sorted(active)
    whole = hours[-1] - hours[0] + 1
    silent = whole - len(hours)
    expected = []
    for one, following in pairwise(hours):
        length = following - one - 1
        if length and whole * (max(silent - length, 1) / (whole - length)) ** length < 0.01:
            expected.append((START + (one + 1) * HOUR, length))
    counts = pl.DataFrame(
        [(1, 7, START + hour * HOUR, 1) for hour in hours],
        schema=["project_id", "group_id", "hour", "count"],
        orient="row",
    )
    assert sorted(find_gaps(counts).select("start", "hours").rows()) == expected


def test_partial_edges_are_told(tmp_path):
    records = rows(range(24 * 22))
    cut = [r for r in records if START.timestamp() + 2700 <= r["detection_time"]]
    found = coverage(dataset_of(tmp_path, cut))
    assert (found.facts["first_hour_partial"], found.facts["last_hour_partial"]) == (True, False)
    assert levels(found)["first and last hour"] == "look"


def test_counts_without_minutes_do_not_tell_of_partial_hours(tmp_path):
    counts = [{"group_id": 7, "hour": START.timestamp() + 3600 * hour, "count": 3} for hour in range(24 * 22)]
    found = coverage(dataset_of(tmp_path, counts))
    assert found.facts["first_hour_partial"] is None
    assert levels(found)["first and last hour"] == "fine"


def test_recorded_changes_without_the_project_of_the_counts_are_told(tmp_path):
    history = [{"id": "0", "type": "first_seen", "data": None, "dateCreated": "2026-01-05T00:00:00Z"}]
    for number, (project, twins) in enumerate({None: 1, 1: 0}.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = coverage(dataset_of(folder, rows(range(24 * 22), group=7), [
            {"issue_id": 7, "project_id": project, "activity": history},
            {"issue_id": 9, "activity": history},
        ]))  # fmt: skip
        assert found.facts["groups_without_project_twice"] == twins
        assert ("issues with and without a project" in levels(found)) is bool(twins)


def test_truncated_histories_merges_and_young_issues_are_counted(tmp_path):
    activities = [{"id": "1", "type": "note", "data": None, "dateCreated": "2026-01-06T00:00:00Z"}] * 100
    taken = [{"id": str(number)} for number in range(20, 29)]  # issues without counts
    merged = [{"id": "1", "type": "merge", "data": {"issues": taken}, "dateCreated": "2026-01-06T00:00:00Z"}]
    issues = [
        {"id": "7", "project": {"id": "1"}, "activity": activities},
        {"id": "8", "project": {"id": "1"}, "activity": merged},
    ]
    old, new = rows(range(24 * 22), group=7, per_hour=1), rows(range(24 * 20, 24 * 22), group=8, per_hour=1)
    found = coverage(dataset_of(tmp_path, old, new, issues))
    assert found.facts["truncated_histories"] == 1
    assert found.facts["altered_groups"] == 1
    assert [finding.found for finding in found.findings if finding.name == "merged or deleted"] == [
        "1 of 2 (50.0%) issues (1 merged)"
    ]
    assert found.facts["groups_under_7_days"] == 1
    assert levels(found)["truncated histories"] == levels(found)["merged or deleted"] == "look"


def test_late_rows_are_those_received_after_their_hour(tmp_path):
    records = rows(range(24 * 22), per_hour=2)
    for number, record in enumerate(records):
        record["received_at"] = record["detection_time"] + (7200 if number % 10 == 0 else 1)
    found = coverage(dataset_of(tmp_path, records))
    late = sum(r["received_at"] >= (r["detection_time"] // 3600 + 1) * 3600 for r in records)
    assert found.facts["late_rows"] == late > 0
    assert levels(found)["late rows"] == "look"


def test_rows_without_ids_that_came_twice_are_suspected(tmp_path):
    table = "group_id,detected_at,title\n" + "".join(
        f"7,{(START + hour * HOUR).isoformat()},t\n" for hour in range(24 * 22)
    )
    found = coverage(dataset_of(tmp_path, table, table + "7,2026-02-01T00:00:00Z,t\n"))
    assert found.facts["suspected_duplicates"] == 24 * 22
    assert levels(found)["suspected duplicates"] == "look"
    assert found.facts["duplicates"] == 0


def test_duplicates_and_rejects_are_said_with_their_share(tmp_path):
    records = rows(range(24 * 22), per_hour=1)
    found = coverage(dataset_of(tmp_path, records + records[:100], [{**records[0], "detection_time": None}] * 10))
    assert (found.facts["duplicates"], found.facts["rejected"]) == (100, 10)
    assert levels(found)["duplicates left out"] == "look"
    assert levels(found)["rejected rows"] == "look"
    assert "detected_at: missing" in {f.name: f for f in found.findings}["rejected rows"].meaning


def test_an_issue_that_one_export_names_without_its_project_is_told(tmp_path):
    named, nameless = rows(range(24 * 22), per_hour=1), rows(range(24 * 22), project=0, per_hour=1)
    found = coverage(dataset_of(tmp_path, named, nameless, rows([5], project=0, group=9)))
    assert found.facts["groups_without_project_twice"] == 1
    assert levels(found)["issues with and without a project"] == "look"


def test_facts_fit_json(tmp_path):
    found = coverage(dataset_of(tmp_path, rows(range(24 * 8))))
    assert json.loads(json.dumps(dict(found.facts))) == dict(found.facts)


def test_the_picture_shows_every_hour_and_each_gap():
    from matplotlib.figure import Figure

    from issue_analytics.reporting import plot_coverage

    hours = [hour for hour in range(24 * 22) if not 300 <= hour < 310]
    counts = pl.DataFrame(
        [(1, 7, START + hour * HOUR, 5) for hour in hours] + [(2, 7, START + hour * HOUR, 1) for hour in hours[:250]]
        + [(2, 7, START + hour * HOUR, 1) for hour in hours[270:]],
        schema=["project_id", "group_id", "hour", "count"], orient="row",
    )  # fmt: skip
    ax = plot_coverage(counts.lazy(), ax=Figure().subplots())
    line = ax.get_lines()[0].get_ydata()
    assert len(line) == 24 * 22
    assert (line[0], line[260], line[305]) == (6, 5, 0)
    assert ax.get_legend_handles_labels()[1] == ["all issues, per hour", "gap of all projects", "gap of one project"]
    long = counts.with_columns(pl.col("hour") + pl.duration(days=pl.col("project_id") * 200))
    ax = plot_coverage(long, ax=Figure().subplots())
    assert ax.get_legend_handles_labels()[1][0] == "all issues, per hour, mean of each day"
    assert len(plot_coverage(counts.clear(), ax=Figure().subplots()).get_lines()) == 0
