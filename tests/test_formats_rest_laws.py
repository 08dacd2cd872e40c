"""Law 4, sniffing and round trips of the formats of the REST API and of the query service."""

import copy
import gzip
import json
import tempfile
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from rest_payloads import PAYLOADS, put

import issue_analytics as ia
from issue_analytics.exports.kinds import KINDS
from issue_analytics.exports.reading import Options, read, read_file
from issue_analytics.frames import KEY

HOLDS = {
    "issues": ("hourly_counts", "status_changes", "recorded_forecasts"),
    "issue_events": ("occurrences",),
    "activities": ("status_changes",),
    "group_stats": ("hourly_counts",),
    "events_stats": ("hourly_counts",),
    "events_timeseries": ("hourly_counts",),
    "snuba": ("hourly_counts",),
}


# --- law 4 -----------------------------------------------------------------------------------------------------------

odd = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.integers(0, 9), st.text(max_size=9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["", "7", "Other", "unknown", "2026-01-05T09:00:00Z", "2026-01-05T09:00:00", "\ud800", 1767603600, 1e300,
         1767603600000, 10**400, [], {}, [[]], [{}], {"data": []}, [[1767603600, 3]], [1767603600, [{"count": 3}]]]
    ),
)  # fmt: skip


def places(value, path=()):
    """Every place in a value, as keys and numbers."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield path
    for key, part in inner:
        yield from places(part, (*path, key))


def changed(payload, path, new, how):
    """The payload with something else at one place: a value, nothing, or a neighbour more."""
    if not path:
        return new
    payload = copy.deepcopy(payload)
    there = payload
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
    return payload


@st.composite
def spoilt(draw, form):
    payload = PAYLOADS[form]
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(list(places(payload))))
        payload = changed(payload, where, draw(odd), draw(st.sampled_from(["value", "gone", "more"])))
    return payload


@pytest.mark.parametrize("form", PAYLOADS)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_nothing_is_lost_and_nothing_raises(form, data):
    payload = data.draw(spoilt(form))
    options = Options(format=form if data.draw(st.booleans()) else None)
    kind = data.draw(st.sampled_from(HOLDS[form]))
    with tempfile.TemporaryDirectory() as folder:
        put(Path(folder), PAYLOADS[form], "10002.json")  # a good file beside it: a bad one is a reject
        path = put(Path(folder), json.dumps(payload))
        try:
            frame, rejects, tally, _ = read(folder, kind, options)
        except ia.ExportError as error:
            assert f"no {kind} in it" in str(error)  # noqa: PT017 - the message is what is looked at
        else:
            assert tally.read == tally.accepted + tally.rejected + tally.duplicates + tally.other
            assert (frame.height, rejects.height) == (tally.accepted, tally.rejected)
        try:
            parts = list(read_file(path, options))
        except ia.ExportError:
            return
        for part in parts:
            accepted = sum(frame.height for frame in part.accepted.values())
            assert sum(part.read.values()) == accepted + part.rejects.height


@pytest.mark.parametrize("form", PAYLOADS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_an_import_loses_nothing(form, data):
    payload = data.draw(spoilt(form))
    with tempfile.TemporaryDirectory() as folder:
        put(Path(folder), PAYLOADS[form], "in/10002.json")
        put(Path(folder), json.dumps(payload), "in/10001.json")
        dataset = ia.import_export(Path(folder) / "in", Path(folder) / "data", progress=False)
        totals = dataset.manifest["totals"]
        for kind, tally in totals.items():
            assert tally["read"] == tally["accepted"] + tally["rejected"] + tally["duplicates"], kind
        assert dataset.rejects.collect().height == sum(tally["rejected"] for tally in totals.values())


# --- sniffing --------------------------------------------------------------------------------------------------------


def one_line(payload):
    return json.dumps(payload).encode()


def many_lines(payload):
    return b"\n".join([one_line(payload)] * 3) + b"\n"


DRESSES = {
    "plain": one_line,
    "lines": many_lines,
    "gzip": lambda payload: gzip.compress(one_line(payload)),
    "zstd": lambda payload: zstandard.compress(many_lines(payload)),
    "indented": lambda payload: json.dumps(payload, indent=2).encode(),
    "bom": lambda payload: b"\xef\xbb\xbf" + one_line(payload),
    "array": lambda payload: one_line([payload]),
    "indented array": lambda payload: json.dumps([payload, payload], indent=1).encode(),
    "pages": lambda payload: one_line([[payload], [payload]]),
    "lines of pages": lambda payload: many_lines([payload, payload]),
}


def found(path, **options):
    parts = list(read_file(path, Options(**options)))
    accepted = {kind for part in parts for kind in part.accepted}
    return {part.found for part in parts}, accepted, sum(part.rejects.height for part in parts)


NESTED = ("array", "indented array", "pages", "lines of pages")
LOOKS = [(form, dress) for form in PAYLOADS for dress in DRESSES if form != "group_stats" or dress not in NESTED]
"""A list of points inside a list names no issue either."""


@pytest.mark.parametrize(("form", "dress"), LOOKS)
def test_each_format_is_told_from_its_content(tmp_path, form, dress):
    path = put(tmp_path, DRESSES[dress](PAYLOADS[form]), "10001.txt")
    forms, kinds, rejected = found(path)
    assert (forms, kinds) == ({form}, set(HOLDS[form]))
    assert (forms, kinds, rejected) == found(path, format=form)


@pytest.mark.parametrize("form", PAYLOADS)
@pytest.mark.parametrize("other", PAYLOADS)
def test_a_format_that_was_named_takes_no_other(tmp_path, form, other):
    path = put(tmp_path, PAYLOADS[other])
    try:
        forms, kinds, _ = found(path, format=form)
    except ia.ExportError:
        return
    # a retrieved issue has activities
    assert form == other or not kinds or (form, other) == ("activities", "issues")
    assert forms == {form}


def test_answers_without_a_row_are_no_strangers(tmp_path):
    for number, payload in enumerate(
        [[], {"activity": []}, {"timeSeries": [], "meta": {}}, {"data": [], "start": 1, "end": 2, "meta": {}},
         {"data": [], "meta": [], "timing": {}}, {"data": [], "isMetricsData": False}]
    ):  # fmt: skip
        put(tmp_path, payload, f"in/{number}.json")
    dataset = ia.import_export(tmp_path / "in", tmp_path / "data")
    assert dataset.manifest["skipped"] == []
    assert not any(tally["read"] for tally in dataset.manifest["totals"].values())


# --- round trips -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sim():
    return ia.simulate(groups=14, days=16, seed=5)


@pytest.fixture(scope="module")
def folder(sim, tmp_path_factory):
    target = tmp_path_factory.mktemp("sim")
    names = [
        "issue_list", "issue_list_daily", "issue_events", "activities", "group_stats", "events_stats",
        "events_timeseries", "snuba",
    ]  # fmt: skip
    sim.write(target, formats=names)
    return target


def of(path, kind):
    return read(path, kind, Options())


def whole_hours(sim, since=None):
    """The true counts of all hours that were over at half past the last one, silences too."""
    last = sim.hourly_counts["hour"].max()
    first = since or sim.hourly_counts["hour"].min().replace(hour=0)
    every = pl.datetime_range(first, last, "1h", closed="left", time_unit="us", time_zone="UTC", eager=True)
    groups = sim.groups.select(KEY).join(every.alias("hour").to_frame(), how="cross")
    return groups.join(sim.hourly_counts, on=[*KEY, "hour"], how="left").with_columns(pl.col("count").fill_null(0))


def same(frame, truth):
    columns = ["group_id", "hour", "count"]
    assert_frame_equal(frame.select(columns), truth.select(columns), check_row_order=False)


def test_the_issue_list_comes_back(sim, folder):
    last = sim.hourly_counts["hour"].max()
    frame, rejects, _, _ = of(str(folder / "issue-list-0*.json"), "hourly_counts")
    same(frame, whole_hours(sim, last - timedelta(hours=23)))
    assert frame["project_id"].unique().sort().to_list() == sim.groups["project_id"].unique().sort().to_list()
    assert rejects.height == sim.groups.height
    again, _, _, _ = of(folder / "issues-forecast.jsonl.gz", "hourly_counts")
    assert_frame_equal(frame, again, check_row_order=False)


def test_daily_lists_are_refused(folder):
    for period in ("14d", "auto"):
        with pytest.raises(ia.ExportError, match="One point for a day"):
            of(folder / f"issue-list-{period}.json", "hourly_counts")


def test_retrieved_issues_come_back(sim, folder):
    frame, rejects, _, _ = of(folder / "issues-forecast.jsonl.gz", "status_changes")
    assert rejects.height == 0
    assert_frame_equal(frame, sim.status_changes, check_row_order=False)


def test_recorded_forecasts_come_back(sim, folder):
    frame, rejects, _, _ = of(folder / "issues-forecast.jsonl.gz", "recorded_forecasts")
    assert rejects.height == 0
    last = sim.hourly_counts["hour"].max()
    midnight = last.replace(hour=0)
    stored = frame.filter(pl.col("made_at") < midnight + timedelta(minutes=1))
    truth = ia.forecast(sim.hourly_counts.filter(pl.col("hour") < midnight), midnight).drop_nulls("limit")
    columns = [*KEY, "date", "limit"]
    truth = truth.join(stored.select(KEY).unique(), on=KEY, how="semi")
    assert truth.height == stored.height > 0
    assert_frame_equal(stored.select(columns), truth.select(columns), check_row_order=False)
    fallback = frame.join(stored.select(KEY).unique(), on=KEY, how="anti")
    assert set(fallback["limit"]) <= {10}
    assert set(fallback["made_at"]) <= {last + timedelta(minutes=30)}


def test_events_come_back(sim, folder):
    frame, rejects, tally, _ = of(folder / "issue-events.jsonl.gz", "occurrences")
    assert (rejects.height, tally.duplicates) == (0, 0)
    moment = sim.hourly_counts["hour"].max() + timedelta(minutes=30)
    truth = sim.occurrences.filter(
        pl.col("detected_at").is_between(moment - timedelta(days=7), moment, closed="left")
    ).with_columns(
        event_id="occurrence_id",
        type=pl.when(type=1).then("type"),
        fingerprint=pl.lit(None, pl.List(pl.String)),
        received_at=pl.lit(None, pl.Datetime("us", "UTC")),
    )
    assert 0 < truth.height < 20_000
    assert_frame_equal(frame.select(truth.columns), truth, check_row_order=False)


def test_activities_come_back(sim, folder):
    dataset = of([folder / "activities.jsonl.gz", folder / "activities"], "status_changes")[0]
    drop = ["project_id"]  # answers in a file of their own name none
    assert_frame_equal(dataset.drop(drop), sim.status_changes.drop(drop), check_row_order=False)
    assert set(dataset["project_id"]) > {0}


def test_stats_of_issues_come_back(sim, folder):
    frame, rejects, _, _ = of(folder / "group_stats", "hourly_counts")
    truth = whole_hours(sim).join(frame.select("group_id").unique(), on="group_id", how="semi")
    same(frame, truth)
    assert rejects.height == frame["group_id"].n_unique() == sim.groups.height
    assert set(frame["project_id"]) == {0}


@pytest.mark.parametrize("name", ["events_stats/top-events.json", "events-timeseries.json"])
def test_series_of_top_issues_come_back(sim, folder, name):
    frame, rejects, _, _ = of(folder / name, "hourly_counts")
    last = sim.hourly_counts["hour"].max()
    truth = whole_hours(sim, last - timedelta(days=14) + timedelta(hours=1))
    assert frame["group_id"].n_unique() == 10
    same(frame, truth.join(frame.select("group_id").unique(), on="group_id", how="semi"))
    assert rejects["reasons"].list.first().str.starts_with("the sum of all").sum() == 1


def test_one_series_comes_back(sim, folder):
    path = next(path for path in (folder / "events_stats").iterdir() if path.stem != "top-events")
    frame, _, _, _ = of(path, "hourly_counts")
    top, _, _, _ = of(folder / "events_stats" / "top-events.json", "hourly_counts")
    same(frame, top.filter(group_id=int(path.stem)))


def test_answers_of_the_query_service_come_back(sim, folder):
    frame, rejects, tally, _ = of([folder / "snuba-000.jsonl.gz", folder / "snuba-page.json"], "hourly_counts")
    assert_frame_equal(frame, sim.hourly_counts.select(frame.columns), check_row_order=False)
    assert (rejects.height, tally.duplicates) == (0, min(10_000, frame.height))


def test_a_folder_of_all_of_them_agrees_with_itself(folder, tmp_path):
    dataset = ia.import_export(folder, tmp_path / "data", progress=False)
    reasons = dataset.rejects.collect()["reasons"].list.first()
    assert reasons.str.contains("contradicts").sum() == 0
    assert set(dataset.manifest["totals"]) == {*KINDS} - {"corrections", "escalations"} | (
        {"escalations"} & set(dataset.manifest["totals"])
    )
    assert {entry["found"] for entry in dataset.manifest["sources"]} >= set(PAYLOADS)
