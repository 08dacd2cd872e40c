"""Series of hourly counts from the REST API: what is hourly, which hours are whole, and which group they are of."""

import json

import polars as pl
import pytest
from rest_payloads import DAY, HOUR, NINE, hours, issue, put, run, series, stats, timeseries, top_events

import issue_analytics as ia
from issue_analytics.exports.identity import stable_group_id
from issue_analytics.exports.reading import Options, read


def counts(path, *columns):
    frame, _, _, _ = read(path, "hourly_counts", Options())
    return frame.select(columns or ("hour", "count")).rows()


def reasons(path):
    return read(path, "hourly_counts", Options())[1]["reasons"].list.join(" | ").to_list()


def of_nine(*values):
    return list(zip(hours(*range(len(values))), values))


# --- stats of one issue ----------------------------------------------------------------------------------------------


def test_group_stats_are_of_the_issue_the_file_is_named_by(tmp_path):
    path = put(tmp_path, run(3, 0, 2), "10001.json")
    assert counts(path, "project_id", "group_id", "hour", "count") == [
        (0, 10001, hours(0)[0], 3), (0, 10001, hours(1)[0], 0),
    ]  # fmt: skip
    assert reasons(path) == ["partial hour: it was not over when the series was made; export it again"]


@pytest.mark.parametrize("name", ["stats.json", "10001-stats.json", "1e4.json", "٣.json"])
def test_group_stats_without_a_name_are_refused_once(tmp_path, name):
    path = put(tmp_path, run(*range(99)), name)
    put(tmp_path, run(3, 0, 2), "10001.json")
    said = "nothing in it can be used. The series names no issue; keep one issue to a file"
    assert sum(reason.startswith(said) for reason in reasons(tmp_path)) == 1
    with pytest.raises(ia.ExportError, match=r"names no issue; .* such as 10001\.json\."):
        ia.import_export(path, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_stamps_in_any_unit_and_any_order(tmp_path):
    points = [[str((NINE + 2 * HOUR) * 1_000), "2"], [NINE * 1_000, "3"], [float(NINE + HOUR), 0.0]]
    assert sorted(counts(put(tmp_path, points, "1.json"))) == of_nine(3, 0)


def test_the_latest_point_is_partial_wherever_it_stands(tmp_path):
    path = put(tmp_path, [*reversed(run(3, 0, 2)), [NINE + 2 * HOUR, 7]], "1.json")
    assert sorted(counts(path)) == of_nine(3, 0)
    assert len(reasons(path)) == 2


def test_a_series_that_repeats_itself_is_a_duplicate_and_a_lie_is_told(tmp_path):
    _, rejects, tally, _ = read(
        put(tmp_path, [*run(3, 4, 5, 6), [NINE, 3], [NINE + HOUR, 40]], "1.json"), "hourly_counts", Options()
    )
    assert (tally.accepted, tally.duplicates, tally.rejected) == (2, 1, 3)
    assert (
        rejects["reasons"]
        .list.first()
        .to_list()[-1]
        .startswith('contradicts another row of this group and hour: "4 and')
    )


def test_a_file_with_a_partial_hour_alone_is_no_error(tmp_path):
    frame, rejects = ia.read_hourly_counts(put(tmp_path, run(3), "1.json"))
    assert (frame.height, rejects.height) == (0, 1)


# --- events-stats ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "whole"),
    [
        (NINE, NINE + 4 * HOUR, [0, 1, 2, 3]),
        (NINE - 5, NINE + 9 * HOUR, [0, 1, 2, 3]),
        (NINE + 1, NINE + 4 * HOUR, [1, 2, 3]),
        (NINE, NINE + 4 * HOUR - 1, [0, 1, 2]),
        (NINE, NINE + 2 * HOUR, [0, 1]),
        (NINE + HOUR, None, [1, 2]),
        (None, NINE + 4 * HOUR, [1, 2, 3]),
        (None, None, [1, 2]),
        ("soon", {}, [1, 2]),
        (NINE * 1_000, "2026-01-05T13:00:00Z", [0, 1, 2, 3]),
        (NINE + DAY, NINE + 2 * DAY, []),
    ],
)
def test_start_and_end_tell_which_hours_are_whole(tmp_path, start, end, whole):
    put(tmp_path, stats(10, 11, 12, 13, start=start, end=end), "in/7.json")
    put(tmp_path, run(3, 0, 2), "in/8.json")
    frame, rejects, tally, _ = read(tmp_path / "in", "hourly_counts", Options())
    assert frame.filter(group_id=7).select("hour", "count").rows() == [(hours(n)[0], 10 + n) for n in whole]
    assert tally.read == tally.accepted + tally.rejected == 7
    assert rejects["reasons"].list.first().str.contains("^partial hour: it (had begun before|was not over)").all()


def test_a_count_of_null_is_not_known(tmp_path):
    path = put(tmp_path, stats(3, None, 0, None, end=NINE + 3 * HOUR), "7.json")
    assert counts(path) == [(hours(0)[0], 3), (hours(2)[0], 0)]
    assert [reason.split(";")[0] for reason in reasons(path)] == [
        "count: null, which is not known, not 0",
        "partial hour: it was not over when the series was made",
    ]


@pytest.mark.parametrize(
    "point",
    [
        [NINE, []],
        [NINE, [{"count": 1}, {"count": 2}]],
        [NINE, 3],
        [NINE, [3]],
        [NINE, [{"n": 3}]],
        [NINE],
        NINE,
        None,
        {},
    ],
)
def test_points_that_are_none(tmp_path, point):
    answer = stats(1, 2, 3)
    answer["data"].append(point)
    path = put(tmp_path, answer, "7.json")
    assert counts(path) == of_nine(1, 2, 3)
    assert reasons(path) == ['not a point [time, [{"count": n}]]']


def test_top_events_name_groups_by_id_or_by_text(tmp_path):
    path = put(tmp_path, {**top_events(), "10003,error": stats(5, 5, 5), "007": stats(7, 7, 7), "unknown": stats(8)})
    frame, rejects, tally, _ = read(path, "hourly_counts", Options())
    groups = {10001: 5, stable_group_id(0, "SHOP-2A"): 3, stable_group_id(0, "10003,error"): 15}
    groups[stable_group_id(0, "007")] = 21
    assert dict(frame.group_by("group_id").agg(pl.col("count").sum()).rows()) == groups
    assert (tally.read, tally.accepted, tally.rejected) == (14, 12, 2)
    assert rejects["reasons"].list.first().to_list() == [
        "the sum of all that are not among the top ones is no group; ask for the missing ones by themselves",
        "events of which the tracker knows no issue",
    ]


@pytest.mark.parametrize(
    "broken", [{}, {"data": None}, {"data": [], "order": 1}, {"data": [3], "order": 1}, {"x": {"data": 3}}]
)
def test_a_broken_series_costs_that_series_only(tmp_path, broken):
    path = put(tmp_path, {**top_events(), "10009": broken})
    frame, _, tally, _ = read(path, "hourly_counts", Options())
    assert frame["group_id"].n_unique() == 2
    assert tally.read == tally.accepted + tally.rejected + tally.other
    assert tally.rejected == (2 if broken.get("data") != [] else 1)


@pytest.mark.parametrize(
    ("answer", "rows", "said"),
    [
        (
            {"count()": stats(1, 2), "count_unique(user)": stats(8, 9)},
            of_nine(1, 2),
            'a series of "count_unique(user)"',
        ),
        (stats(1, 2, meta={"fields": {"count_unique_user": "integer"}}), None, 'a series of "count_unique_user"'),
        (stats(1, 2, meta={"fields": {"issue.id": "integer", "count()": "integer"}}), of_nine(1, 2), None),
        (stats(1, 2, meta={}), of_nine(1, 2), None),
        (stats(1, 2, meta=[3]), of_nine(1, 2), None),
    ],
)
def test_only_events_are_counted(tmp_path, answer, rows, said):
    path = put(tmp_path, answer, "7.json")
    if rows is None:
        with pytest.raises(ia.ExportError, match=said[2:]):
            read(path, "hourly_counts", Options())
    else:
        assert counts(path) == rows
        assert [reason.startswith(said) for reason in reasons(path)] == [True] * (said is not None)


def test_axes_of_top_events(tmp_path):
    answer = {"10001": {"count()": stats(1, 2), "p95(x)": stats(8, 9), "order": 0}, "Other": {"count()": stats(3)}}
    path = put(tmp_path, answer)
    assert counts(path, "group_id", "count") == [(10001, 1), (10001, 2)]
    assert [reason[:20] for reason in reasons(path)] == ['a series of "p95(x)"', "the sum of all that "]


@pytest.mark.parametrize("step", [DAY, 300, 6 * HOUR])
def test_other_intervals_of_events_stats_are_refused(tmp_path, step):
    points = [[at, [{"count": count}]] for at, count in run(1, 2, 3, step=step)]
    path = put(tmp_path, {**top_events(), "10009": stats(data=points)})
    assert reasons(path)[-1].startswith("one point for ")
    assert "interval=1h" in reasons(path)[-1]
    assert 10009 not in [group for (group,) in counts(path, "group_id")]


# --- events-timeseries -----------------------------------------------------------------------------------------------


def test_milliseconds_and_incomplete_hours(tmp_path):
    one = series(3, 0, 2)
    one["values"][2]["incomplete"] = True
    path = put(tmp_path, timeseries(one), "answer.json")
    assert counts(path, "project_id", "group_id", "hour", "count") == [
        (0, 10001, hours(0)[0], 3), (0, 10001, hours(1)[0], 0),
    ]  # fmt: skip
    assert reasons(path) == ["partial hour: it was not over when the series was made; export it again"]


@pytest.mark.parametrize(
    ("meta", "flags", "whole"),
    [
        ({"start": NINE * 1_000, "end": (NINE + 3 * HOUR) * 1_000}, False, [3, 0, 2]),
        ({"start": NINE * 1_000 + 1, "end": (NINE + 3 * HOUR) * 1_000}, False, [0, 2]),
        ({"start": NINE * 1_000, "end": (NINE + 3 * HOUR) * 1_000 - 1}, False, [3, 0]),
        ({"start": NINE * 1_000}, False, [3, 0, 2]),
        ({"start": NINE * 1_000}, None, [3, 0]),
        ({}, False, [0, 2]),
        (None, None, [0]),
    ],
)
def test_which_hours_of_a_timeseries_are_whole(tmp_path, meta, flags, whole):
    one = series(3, 0, 2)
    for value in one["values"]:
        if flags is None:
            del value["incomplete"]
    path = put(tmp_path, {"timeSeries": [one], "meta": meta}, "answer.json")
    assert [count for _, count in counts(path)] == whole


ISSUE_ID = {"key": "issue.id", "value": "10001"}


@pytest.mark.parametrize(
    ("grouped", "group"),
    [
        ([ISSUE_ID], (0, 10001)),
        ([{"key": "issue.id", "value": 10001}], (0, 10001)),
        ([{"key": "group_id", "value": "10001"}, {"key": "project.id", "value": 101}], (101, 10001)),
        ([{"key": "project_id", "value": "101"}, ISSUE_ID, {"key": "issue", "value": "SHOP-1"}], (101, 10001)),
        ([{"key": "project", "value": "shop"}, {"key": "issue", "value": "SHOP-1"}], (0, stable_group_id(0, "SHOP-1"))),
        (
            [{"key": "project.id", "value": 3}, {"key": "issue", "value": "SHOP-1"}],
            (3, stable_group_id(3, "SHOP-1")),
        ),
    ],
)
def test_what_a_series_is_grouped_by(tmp_path, grouped, group):
    path = put(tmp_path, timeseries(series(3, 0, 2, groupBy=grouped)), "answer.json")
    assert set(counts(path, "project_id", "group_id")) == {group}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"groupBy": [ISSUE_ID, {"key": "environment", "value": "prod"}]}, 'grouped by "environment" too'),
        ({"groupBy": [{"key": "environment", "value": "prod"}]}, 'grouped by "environment", not by issue'),
        ({"groupBy": [{"key": "issue", "value": "unknown"}]}, "events of which the tracker knows no issue"),
        ({"groupBy": [{"key": "issue.id", "value": None}]}, "events of which the tracker knows no issue"),
        ({"groupBy": None}, "the sum of all that are not among the top ones"),
        ({"groupBy": []}, "the sum of all that are not among the top ones"),
        ({"meta": {"isOther": True}}, "the sum of all that are not among the top ones"),
        ({"groupBy": "issue.id"}, "groupBy: not a list of keys and values"),
        ({"groupBy": [3]}, "groupBy: not a list of keys and values"),
        ({"groupBy": [{"value": 3}]}, "groupBy: not a list of keys and values"),
        ({"groupBy": {"key": 3}}, "groupBy: not a list of keys and values"),
        ({"yAxis": "count_unique(user)"}, 'yAxis: "count_unique(user)" is not count()'),
        ({"yAxis": None}, 'yAxis: "None" is not count()'),
        ({"meta": {"interval": 86_400_000}}, "one point for a day"),
        ({"meta": {"interval": 60_000}}, "one point for a minute"),
        ({"meta": {"interval": "1h"}}, "meta.interval: not 3600000"),
        ({"values": None}, "not a series of values"),
        (
            {"values": [*series(1, 2, 3)["values"][::2], {"timestamp": (NINE + 4 * HOUR) * 1000, "value": 1}]},
            "one point for 2",
        ),
    ],
)
def test_series_that_are_refused(tmp_path, change, said):
    path = put(
        tmp_path, timeseries(series(3, 0, 2, **change), series(1, 1, 1, groupBy=[{"key": "issue.id", "value": "2"}]))
    )
    assert set(counts(path, "group_id")) == {(2,)}
    assert [reason.startswith(said) for reason in reasons(path)] == [True]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "not a point with a timestamp and a value"),
        ({"value": 3}, "not a point with a timestamp and a value"),
        ({"timestamp": NINE * 1000 + HOUR * 3000}, "count: null, which is not known, not 0"),
        ({"timestamp": NINE * 1000 + HOUR * 3000, "value": 0.5}, 'count: not a whole number: "0.5"'),
        ({"timestamp": "x", "value": 1}, 'hour: not a time: "x"'),
    ],
)
def test_values_that_are_none(tmp_path, value, said):
    one = series(3, 0, 2)
    one["values"].append(value)
    path = put(tmp_path, timeseries(one, end=NINE + 9 * HOUR))
    assert counts(path) == of_nine(3, 0, 2)
    assert [reason.startswith(said) for reason in reasons(path)] == [True]


def test_one_series_alone_is_of_the_issue_the_file_is_named_by(tmp_path):
    alone = timeseries(series(3, 0, 2, groupBy=None))
    assert counts(put(tmp_path, alone, "7.json"), "group_id", "count") == [(7, 3), (7, 0), (7, 2)]
    with pytest.raises(ia.ExportError, match="names no issue"):
        read(put(tmp_path, alone, "answer.json"), "hourly_counts", Options())


# --- pulls that overlap ----------------------------------------------------------------------------------------------


def pull(first, *values):
    """The list as of some moment: the last hour is still running."""
    return [issue(stats={"24h": run(*values, start=NINE + first * HOUR)})]


def test_a_pull_each_day_gives_each_hour_once(tmp_path):
    # yesterday's last hour counted 1 when it was half over; today it counts 9, and that is no contradiction
    put(tmp_path, pull(0, 3, 0, 2, 1), "in/1.json")
    put(tmp_path, pull(1, 0, 2, 9, 5, 1), "in/2.json")
    frame, rejects, tally, _ = read(tmp_path / "in", "hourly_counts", Options())
    assert sorted(frame.select("hour", "count").rows()) == of_nine(3, 0, 2, 9, 5)
    assert tally.duplicates == 2
    assert rejects["reasons"].list.first().str.starts_with("partial hour").to_list() == [True, True]
    dataset = ia.import_export(tmp_path / "in" / "1.json", tmp_path / "data")
    dataset = ia.import_export(tmp_path / "in" / "2.json", tmp_path / "data")
    assert sorted(dataset.hourly_counts.collect().select("hour", "count").rows()) == of_nine(3, 0, 2, 9, 5)
    assert dataset.manifest["totals"]["hourly_counts"] == {"read": 9, "accepted": 5, "rejected": 2, "duplicates": 2}


def test_a_past_hour_that_changed_is_told_with_both_counts(tmp_path):
    put(tmp_path, pull(0, 3, 4, 2, 1), "in/1.json")
    put(tmp_path, pull(1, 40, 2, 9, 5, 1), "in/2.json")
    frame, rejects, _, _ = read(tmp_path / "in", "hourly_counts", Options())
    clash = rejects.filter(pl.col("reasons").list.first().str.starts_with("contradicts"))
    assert clash["source"].str.slice(-6).to_list() == ["1.json", "2.json"]
    assert clash["reasons"].list.first().unique().to_list() == [
        'contradicts another row of this group and hour: "4 and 40"; keep one of them, or export again'
    ]
    assert hours(1)[0] not in frame["hour"]
    for name in ("1.json", "2.json"):
        dataset = ia.import_export(tmp_path / "in" / name, tmp_path / "data")
    said = dataset.rejects.collect()["reasons"].list.first()
    assert said.filter(said.str.starts_with("contradicts")).to_list() == [
        f'contradicts "4" of "{tmp_path}/in/1.json", which was imported earlier; that one stays'
    ]


def test_two_kinds_of_export_tell_of_the_same_hours(tmp_path):
    put(tmp_path, stats(3, 0, 2), "in/a/10001.json")
    put(tmp_path, run(3, 0, 2, 1), "in/b/10001.json")
    put(tmp_path, timeseries(series(3, 0, 2)), "in/c.json")
    dataset = ia.import_export(tmp_path / "in", tmp_path / "data")
    assert dataset.manifest["totals"]["hourly_counts"] == {"read": 10, "accepted": 3, "rejected": 1, "duplicates": 6}


# --- files of no use -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        run(*range(14), step=DAY),
        stats(data=[[at, [{"count": count}]] for at, count in run(*range(14), step=DAY)]),
        timeseries(series(1, 2, 3, meta={"interval": 86_400_000}), series(1, groupBy=None)),
        [issue(stats={"14d": run(*range(14), step=DAY)}, firstSeen=None)] * 3,
    ],
)
def test_a_file_of_daily_series_is_an_error_alone_and_a_reject_among_others(tmp_path, payload):
    path = put(tmp_path, payload, "in/7.json")
    for look in (lambda: ia.read_hourly_counts(path), lambda: ia.import_export(path, tmp_path / "one")):
        with pytest.raises(
            ia.ExportError, match=r"7\.json: nothing in it can be used\. One point for a day: limits are"
        ):
            look()
    assert not (tmp_path / "one").exists()
    put(tmp_path, run(3, 0, 2), "in/8.json")
    _, rejects, tally, _ = read(tmp_path / "in", "hourly_counts", Options())
    assert (tally.read, tally.accepted, tally.rejected) == (4, 2, 2)
    assert rejects["source"].str.slice(-6).to_list() == ["7.json", "8.json"]
    dataset = ia.import_export(tmp_path / "in", tmp_path / "data")
    assert dataset.outcomes[0][1].startswith("rejected: nothing in it can be used. One point for a day")
    assert dataset.outcomes[1][1] == "imported"
    totals = dataset.manifest["totals"].values()
    assert sum(tally["read"] for tally in totals) == 4


def test_a_line_that_is_broken_is_told_beside_a_refused_series(tmp_path):
    # what could not be read might have been of use: no error stands for it
    path = put(tmp_path, json.dumps(run(*range(14), step=DAY)) + "\n{broken\n", "7.jsonl")
    said = reasons(path)
    assert (said[0].partition(":")[0], said[1].partition(":")[0]) == ("one point for a day", "not JSON")
