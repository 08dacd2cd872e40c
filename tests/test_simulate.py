import gzip
import json
import os
import re
import subprocess
import sys
from bisect import bisect_right, insort
from datetime import UTC, datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sentry_kafka_schemas
from polars.testing import assert_frame_equal

from issue_analytics.counts import hourly_counts
from issue_analytics.errors import DatasetError, SettingsError
from issue_analytics.forecast import forecast_schedule
from issue_analytics.frames import KEY, check
from issue_analytics.simulate import Simulation, simulate
from issue_analytics.simulate.lifecycle import _triage_hours
from issue_analytics.simulate.plan import HOUR_MS, Plan, Settings, make_plan
from issue_analytics.simulate.series import Moments
from issue_analytics.simulate.texts import HOSTILE, TYPES

START = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
FRAMES = ("occurrences", "hourly_counts", "status_changes", "escalations", "groups", "planted", "disturbances")
SAMPLE = Path(__file__).parents[1] / "data" / "sample"


@pytest.fixture(scope="module")
def sim() -> Simulation:
    return simulate(groups=600, days=42, seed=3)


@pytest.fixture(scope="module")
def files(sim: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    sim.write(folder)
    return folder


def json_lines(path: Path) -> list[dict[str, object]]:
    # not splitlines(): it would also cut at separators inside a title
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).split(b"\n") if line]


def occurrence_records(folder: Path) -> list[dict[str, object]]:
    return [record for path in sorted(folder.glob("occurrences-*.jsonl.gz")) for record in json_lines(path)]


@pytest.fixture(scope="module")
def records(files: Path) -> list[dict[str, object]]:
    return occurrence_records(files)


# --- the frames ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "contract"),
    [
        ("occurrences", "Occurrences"),
        ("hourly_counts", "HourlyCounts"),
        ("status_changes", "StatusChanges"),
        ("escalations", "Escalations"),
    ],
)
def test_frames_keep_their_contracts(sim: Simulation, name: str, contract: str) -> None:
    frame = getattr(sim, name)
    assert check(frame, contract).height > 10
    assert frame.columns == check(frame, contract).columns


def test_hourly_counts_are_those_of_the_occurrences(sim: Simulation) -> None:
    assert_frame_equal(sim.hourly_counts, hourly_counts(sim.occurrences))


def test_occurrences_lie_inside_the_span_and_the_life_of_their_group(sim: Simulation) -> None:
    rows = sim.occurrences.join(sim.groups, on=KEY, suffix="_planned")
    assert rows.height == sim.occurrences.height
    inside = rows.select(
        pl.col("detected_at").is_between(START, START + 42 * DAY, closed="left")
        & (pl.col("detected_at") >= pl.col("first_seen"))
        & (pl.col("detected_at") < pl.col("ends_at")).fill_null(value=True)
    ).to_series()
    assert inside.all()
    assert sim.occurrences["detected_at"].is_sorted()


def test_new_issues_begin_with_their_first_seen(sim: Simulation) -> None:
    born = sim.groups.filter(pl.col("first_seen") >= START)
    first = sim.occurrences.group_by(KEY).agg(pl.col("detected_at").min())
    joined = born.join(first, on=KEY)
    assert joined.height == born.height > 50
    assert (joined["first_seen"] == joined["detected_at"]).all()


def test_identifiers_are_uuids_and_a_few_events_carry_several_occurrences(sim: Simulation) -> None:
    uuid4 = re.compile(r"[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}")
    for name in ("occurrence_id", "event_id"):
        assert all(uuid4.fullmatch(text) for text in sim.occurrences[name].to_list())
    per_event = sim.occurrences.group_by("event_id").agg(pl.len(), pl.col("group_id").n_unique())
    assert 0 < per_event.filter(pl.col("len") > 1).height < 0.05 * per_event.height
    assert per_event["group_id"].max() == 1


# --- what happens ----------------------------------------------------------------------------------------------------


def test_volumes_have_a_heavy_tail() -> None:
    sim = simulate()
    per_group = sim.occurrences.group_by("group_id").len().sort("len", descending=True)["len"].cast(pl.Int64)
    assert 250_000 < per_group.sum() < 650_000
    assert per_group[:20].sum() > 0.35 * per_group.sum()
    assert per_group.median() < 7 * 56
    assert per_group[0] > 500 * 56
    assert 300 < sim.escalations.height < 800


def test_there_is_a_daily_and_a_weekly_rhythm() -> None:
    sim = simulate()
    people = sim.groups.filter(pl.col("pattern") == "steady", pl.col("occurrences_per_day") < 20)
    counts = sim.hourly_counts.join(people.join(sim.planted, on=KEY, how="anti").select(*KEY), on=KEY)
    by_hour = counts.group_by("project_id", pl.col("hour").dt.hour()).agg(pl.col("count").sum())
    swing = by_hour.group_by("project_id").agg(pl.col("count").max() / pl.col("count").min())
    assert swing.height == 5
    assert swing["count"].min() > 1.4
    # in whole weeks of UTC; projects in other zones differ by some hours of the night
    weekend = pl.col("count").filter(pl.col("hour").dt.weekday() >= 6).sum() / 2
    workday = pl.col("count").filter(pl.col("hour").dt.weekday() < 6).sum() / 5
    ratio = counts.group_by("project_id").agg(ratio=weekend / workday)["ratio"]
    assert ratio.min() < 0.75
    assert ratio.max() < 1.2


def test_counts_are_overdispersed() -> None:
    sim = simulate(groups=1500, days=42, seed=3)
    busy = sim.groups.filter(pl.col("pattern") == "steady", pl.col("occurrences_per_day").is_between(24, 240))
    calm = busy.join(sim.planted, on=KEY, how="anti").select(*KEY)
    hours = pl.datetime_range(START, START + 42 * DAY, "1h", closed="left", eager=True)
    grid = calm.join(hours.to_frame("hour"), how="cross").join(
        sim.hourly_counts, on=[*KEY, "hour"], how="left", maintain_order="left"
    )
    # neighbouring hours have nearly the same rate, so what is left is chance: 1 for Poisson counts
    count = pl.col("count").fill_null(0)
    chance = grid.group_by(KEY).agg(((count - count.shift(1)) ** 2).mean() / 2 / count.mean())["count"]
    assert chance.len() > 5
    assert np.median(chance) > 1.5


def test_cron_groups_run_in_one_minute_of_the_day(sim: Simulation) -> None:
    cron = sim.groups.filter(pl.col("pattern") == "cron", pl.col("first_seen") < START)
    # planted occurrences and catch-ups come whenever they come
    calm = cron.join(sim.planted, on=KEY, how="anti")
    minutes = (
        sim.occurrences.join(calm.select(*KEY), on=KEY)
        .group_by(KEY)
        .agg(minutes=pl.col("detected_at").dt.minute().n_unique(), hours=pl.col("detected_at").dt.hour().n_unique())
    )
    assert minutes.height > 20
    assert minutes["minutes"].max() == 1
    assert minutes["hours"].median() == 1


def test_outages_are_silent_and_followed_by_a_catch_up() -> None:
    sim = simulate(groups=800, days=56, seed=5)
    silent = sim.disturbances.filter(pl.col("kind") != "deploy")
    assert {"outage", "gap"} <= set(silent["kind"])
    by_project = sim.occurrences.group_by("project_id", hour=pl.col("detected_at").dt.truncate("1h")).len()
    catch_up, usual = 0.0, 0.0
    for project, kind, start, end in silent.select("project_id", "kind", "start", "end").rows():
        counts = by_project.filter(pl.col("project_id") == project)
        during = counts.filter(pl.col("hour").is_between(start, end, closed="left"))
        # only planted escalations that began well before are heard
        assert during["len"].sum() <= 0.1 * (end - start) / HOUR * 30
        if kind == "outage":
            after = counts.filter(pl.col("hour") == end)["len"].sum()
            catch_up += after
            usual += counts["len"].sum() / (56 * 24)
    assert catch_up > 2 * usual


def test_bad_deploys_lift_several_groups_of_a_project() -> None:
    sim = simulate(groups=2000, days=28, seed=2)
    group, hour, times, _ = make_plan(Settings(2000, 28, 2, START, 5)).deploys
    assert sim.disturbances.filter(kind="deploy").height > 5
    assert len(group) > 3 * len(set(hour.tolist()))
    assert times.min() >= 2
    lifted = sim.groups.with_row_index("number").join(
        pl.DataFrame({"number": group.astype(np.uint32), "start": [START + at * HOUR for at in hour.tolist()]}),
        on="number",
    )
    counts = lifted.join(sim.hourly_counts, on=KEY)
    after, before = (
        counts.filter(pl.col("hour").is_between(pl.col("start") + at, pl.col("start") + at + 4 * HOUR, closed="left"))[
            "count"
        ]
        .clip(upper_bound=20)
        .sum()
        for at in (timedelta(0), -DAY)
    )
    assert after > 1.5 * before


# --- what is planted -------------------------------------------------------------------------------------------------


def test_planted_escalations_are_labelled_exactly(sim: Simulation) -> None:
    assert sim.escalations["provenance"].unique().to_list() == ["injected"]
    assert_frame_equal(
        sim.escalations.select(*KEY, "escalated_at", "ended_at"), sim.planted.select(*KEY, "escalated_at", "ended_at")
    )
    assert sim.escalations["escalated_at"].min() >= START + 7 * DAY
    assert sim.escalations["ended_at"].max() <= START + 42 * DAY


def test_a_planted_escalation_begins_with_an_occurrence(sim: Simulation) -> None:
    moments = sim.occurrences.select(*KEY, escalated_at="detected_at").unique()
    assert sim.escalations.join(moments, on=[*KEY, "escalated_at"], how="anti").height == 0


def test_planted_escalations_do_not_touch() -> None:
    sim = simulate(groups=1000, days=84, seed=6)
    ordered = sim.escalations.sort(*KEY, "escalated_at")
    gap = ordered.select(pl.col("escalated_at") - pl.col("ended_at").shift(1).over(KEY)).to_series().drop_nulls()
    assert gap.len() > 5
    assert gap.min() > HOUR


def test_planted_escalations_are_visible_in_the_counts() -> None:
    sim = simulate(groups=1500, days=56, seed=4)
    rows = sim.planted.with_row_index("event").join(sim.hourly_counts, on=KEY)
    inside = (pl.col("hour") + HOUR > pl.col("escalated_at")) & (pl.col("hour") < pl.col("ended_at"))
    week = pl.col("hour").is_between(pl.col("escalated_at") - 7 * DAY - HOUR, pl.col("escalated_at") - HOUR)
    late = inside & (pl.col("hour") > pl.col("ended_at") - (pl.col("ended_at") - pl.col("escalated_at")) / 4)
    seen = (
        rows.group_by("event", "shape", "size", "busiest_before", "peak_added")
        .agg(
            peak=pl.col("count").filter(inside).max(),
            before=pl.col("count").filter(week).max().fill_null(0),
            late=pl.col("count").filter(late).sum()
            * 4
            / ((pl.col("ended_at") - pl.col("escalated_at")).first() / HOUR),
            last_week=pl.col("count").filter(week).sum(),
        )
        .sort("event")
    )
    assert seen.height == sim.planted.height > 200
    sudden = seen.filter(pl.col("shape") != "slow ramp")
    assert (sudden["peak"] >= 1.4 * sudden["before"]).all()
    assert (sudden["peak"] >= sudden["peak_added"]).all()
    silent = seen.filter(pl.col("shape") == "burst after silence")
    assert silent.height > 10
    assert (silent["before"] == 0).mean() > 0.9  # type: ignore[operator] # the mean of booleans is a float
    slow = seen.filter(pl.col("shape") == "slow ramp")
    assert slow.height > 3
    # over the last quarter the ramp is well above the week before
    assert (slow["late"] > 2 * slow["last_week"] / 168).mean() > 0.8  # type: ignore[operator]
    sizes = sudden["size"].drop_nulls()
    assert sizes.min() < 2
    assert sizes.max() > 20


# --- what the tracker records ----------------------------------------------------------------------------------------

NO_STATUS = ("set_priority", "assigned")


def test_the_record_of_each_issue_makes_sense(sim: Simulation) -> None:
    first = sim.status_changes.group_by(KEY, maintain_order=True).first()
    assert first.height == sim.groups.height
    assert first["kind"].unique().to_list() == ["first_seen"]
    assert_frame_equal(first.select(*KEY, "at").sort(KEY), sim.groups.select(*KEY, at="first_seen").sort(KEY))
    assert sim.status_changes.is_duplicated().sum() == 0
    after = {
        # a change of status and what may come before it
        "archived_until_escalating": {"first_seen", "ongoing", "escalating", "regressed"},
        "archived_until_condition_met": {"first_seen", "ongoing", "escalating", "regressed"},
        "archived_forever": {"first_seen", "ongoing", "escalating", "regressed"},
        "resolved": {"first_seen", "ongoing", "escalating", "regressed"},
        "regressed": {"resolved"},
        "ongoing": {"first_seen", "escalating", "regressed"},
    }
    causes = {
        "forecast": {"archived_until_escalating"},
        "condition": {"archived_until_condition_met"},
        "velocity": {"first_seen"},
    }
    steps = sim.status_changes.filter(~pl.col("kind").is_in(NO_STATUS)).with_columns(
        before=pl.col("kind").shift(1).over(KEY)
    )
    for kind, cause, before in steps.filter(pl.col("before").is_not_null()).select("kind", "cause", "before").rows():
        assert before in (causes[cause] if kind == "escalating" else after[kind]), (kind, cause, before)
    assert set(steps["cause"].drop_nulls()) == set(causes)
    final = steps.group_by(KEY, maintain_order=True).last().join(sim.groups, on=KEY)
    for kind, substatus in final.select("kind", "substatus").rows():
        assert substatus == {"first_seen": "new", "resolved": None}.get(kind, kind)


def test_auto_ongoing_comes_a_week_later(sim: Simulation) -> None:
    steps = sim.status_changes.filter(~pl.col("kind").is_in(NO_STATUS))
    waited = steps.with_columns(wait=pl.col("at") - pl.col("at").shift(1).over(KEY)).filter(kind="ongoing")["wait"]
    assert waited.min() >= 7 * DAY
    assert waited.max() < 7 * DAY + timedelta(minutes=6)


def test_only_causes_by_forecast_record_a_limit(sim: Simulation) -> None:
    has_limit = sim.status_changes["forecast"].is_not_null()
    assert (has_limit == (sim.status_changes["cause"] == "forecast").fill_null(value=False)).all()


def replayed(sim: Simulation, days: int) -> list[tuple[int, int, datetime, int]]:
    """One archived episode at a time, one occurrence at a time: the slow referee of the day-by-day lifecycle."""
    steps = sim.status_changes.filter(~pl.col("kind").is_in(NO_STATUS)).with_columns(
        until=pl.col("at").shift(-1).over(KEY)
    )
    escalates = {kind.id for kind in TYPES if kind.escalates}
    archived = steps.filter(kind="archived_until_escalating").join(
        sim.groups.filter(pl.col("type").is_in(escalates)).select(*KEY, "first_seen"), on=KEY
    )
    midnights = [START + day * DAY for day in range(7, days)]
    hours = archived["at"].dt.truncate("1h").unique().to_list()
    limits = forecast_schedule(sim.hourly_counts, [*midnights, *hours], days=14)
    made = {
        (group, as_of): values
        for group, as_of, values in limits.filter(pl.col("limit").is_not_null())
        .sort("date")
        .group_by("group_id", "as_of", maintain_order=True)
        .agg("limit")
        .rows()
    }
    moments = dict(sim.occurrences.group_by("group_id").agg(pl.col("detected_at").sort()).rows())
    stored: dict[int, list[tuple[datetime, list[int]]]] = {}
    found = []
    for project, group, at, until, first_seen in (
        archived.sort(*KEY, "at").select(*KEY, "at", "until", "first_seen").rows()
    ):
        # a forecast made on archive has seen the whole hours before; one of an earlier episode is kept while it lives
        mine, forecasts = moments.get(group, []), stored.setdefault(group, [])
        end = until or START + days * DAY
        for when, as_of in [(at, at.replace(minute=0, second=0)), *((m, m) for m in midnights if at < m < end)]:
            if (group, as_of) in made:
                forecasts.append((when, made[group, as_of]))
        for moment in mine[bisect_right(mine, at) :]:
            if moment > end:
                break
            if moment - first_seen < DAY:
                continue
            known = [(when, values) for when, values in forecasts if when <= moment]
            limit = 10
            hour = moment.replace(minute=0, second=0, microsecond=0)
            if known and moment - known[-1][0] < 14 * DAY:
                ahead = (moment.date() - known[-1][0].date()).days
                limit = known[-1][1][min(ahead, 13)]
            else:  # who finds none has one made, for the next hour on
                again, counts = hour + HOUR, sim.hourly_counts.filter(project_id=project, group_id=group)
                if (group, again) not in made:
                    made[group, again] = forecast_schedule(counts, [again], days=14)["limit"].to_list()
                insort(forecasts, (again, made[group, again]))
            so_far = bisect_right(mine, moment) - bisect_right(mine, hour - timedelta(microseconds=1))
            if so_far > limit:
                found.append((project, group, moment, limit))
                break
    return sorted(found)


@pytest.mark.parametrize("seed", [3, 11])
def test_recorded_escalations_equal_a_replay_of_one_occurrence_at_a_time(seed: int) -> None:
    sim = simulate(groups=600, days=42, seed=seed)
    recorded = sim.status_changes.filter(cause="forecast").select(*KEY, "at", "forecast").rows()
    assert len(recorded) >= 9
    assert sorted(recorded) == replayed(sim, days=42)


def test_the_lifecycle_equals_the_replay_on_rougher_data_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bursts after gaps of hours and of weeks, around the hour in which people archive, and right after birth."""
    rng = np.random.default_rng(8)

    def rough(plan: Plan) -> Moments:
        count, bursts, hours = plan.settings.groups, 30, plan.settings.hours
        archives = _triage_hours(plan).max(axis=1)[plan.project][:, None]
        of_day = np.where(rng.random((count, bursts)) < 0.5, archives, rng.integers(5, 19, (count, bursts)))
        hour = rng.integers(0, hours // 24, (count, bursts)) * 24 + of_day
        hour = np.concatenate([hour, plan.birth[:, None] // HOUR_MS + rng.integers(0, 30, (count, 10))], axis=1)
        # every other group is silent for three weeks
        hour[::2] = np.where((hour[::2] > 240) & (hour[::2] < 744), -1, hour[::2])
        size = 1 + (40 * rng.random(hour.shape) ** 4).astype(np.int64)
        group, moment = (np.repeat(x, size.ravel()) for x in (np.repeat(np.arange(count), hour.shape[1]), hour.ravel()))
        at = moment * HOUR_MS + rng.integers(0, HOUR_MS, moment.size)
        inside = (at >= np.maximum(plan.birth[group], 0)) & (at < hours * HOUR_MS)
        order = np.lexsort((at[inside], group[inside]))
        names = rng.integers(0, 256, (order.size, 16), dtype=np.uint8)
        none = np.zeros(plan.planted.group.size, dtype=np.int64)
        return Moments(group[inside][order], at[inside][order], names, names, none, none)

    # by name the package would give the function of the same name
    monkeypatch.setattr(import_module("issue_analytics.simulate"), "happen", rough)
    sim = simulate(groups=1200, days=42, seed=3)
    recorded = sim.status_changes.filter(cause="forecast").select(*KEY, "at", "forecast").rows()
    assert len(recorded) > 100
    assert sorted(recorded) == replayed(sim, days=42)


def test_some_planted_escalations_are_recorded_and_some_are_not() -> None:
    sim = simulate()
    recorded = sim.status_changes.filter(cause="forecast").select(*KEY, "at")
    hits = (
        sim.escalations.join(recorded, on=KEY)
        .filter(pl.col("at").is_between("escalated_at", "ended_at"))
        .unique([*KEY, "escalated_at"])
    )
    assert 0.05 < hits.height / sim.escalations.height < 0.6


# --- the same bytes --------------------------------------------------------------------------------------------------


def test_same_arguments_same_frames_and_another_seed_another_tracker() -> None:
    one, two, other = (simulate(groups=60, days=15, seed=seed) for seed in (5, 5, 6))
    for name in FRAMES:
        assert_frame_equal(getattr(one, name), getattr(two, name))
    assert not one.occurrences.equals(other.occurrences)
    assert not set(one.occurrences["occurrence_id"]) & set(other.occurrences["occurrence_id"])


def test_groups_do_not_depend_on_those_that_follow() -> None:
    few, many = simulate(groups=150, days=21, seed=2), simulate(groups=300, days=21, seed=2)
    first = few.groups.select(KEY)
    for name in ("occurrences", "hourly_counts", "escalations", "planted"):
        assert_frame_equal(getattr(few, name), getattr(many, name).join(first, on=KEY, maintain_order="left"))
    assert_frame_equal(
        few.groups.drop("priority", "status", "substatus"), many.groups[:150].drop("priority", "status", "substatus")
    )
    # a loud new issue is compared with all others of its project; everything else is the group's own
    loud = pl.concat(
        [frame.filter(cause="velocity").select(KEY) for frame in (few.status_changes, many.status_changes)]
    )
    alike = first.join(loud, on=KEY, how="anti")
    assert alike.height > 0.9 * first.height
    assert_frame_equal(
        *(frame.join(alike, on=KEY, maintain_order="left") for frame in (few.status_changes, many.status_changes))
    )


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = simulate(groups=150, days=15, seed=2)
    monkeypatch.setattr(import_module("issue_analytics.simulate.series"), "_BLOCK_CELLS", 15 * 24 * 7)
    blocks = simulate(groups=150, days=15, seed=2)
    for name in FRAMES:
        assert_frame_equal(getattr(whole, name), getattr(blocks, name))


def test_same_bytes_in_another_process_with_other_hashes_and_one_thread(tmp_path: Path) -> None:
    code = (
        "import sys; from issue_analytics.simulate import simulate; "
        "simulate(groups=120, days=15, seed=9).write(sys.argv[1])"
    )
    for name, hashes in (("one", "1"), ("two", "2")):
        threads = {"POLARS_MAX_THREADS": "1"} if name == "two" else {}
        environment = {**os.environ, "PYTHONHASHSEED": hashes, **threads}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=True, env=environment)
    written = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert written[0] == written[1]
    assert len(written[0]) == 3


def test_the_committed_sample_is_what_the_simulator_writes(tmp_path: Path) -> None:
    paths = simulate(groups=40, days=21, seed=7).write(tmp_path)
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < 400_000

    def content(path: Path) -> bytes:
        # what is packed must be the same; how it is packed is up to the machine's zlib
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()

    for path in paths:
        assert content(SAMPLE / path.name) == content(path), f"{path.name}: data/sample is out of date"


# --- the files -------------------------------------------------------------------------------------------------------


def test_occurrence_records_satisfy_the_published_schema(records: list[dict[str, object]]) -> None:
    codec = sentry_kafka_schemas.get_codec("ingest-occurrences")
    shapes: dict[str, dict[str, object]] = {}
    for record in records:
        shapes.setdefault(json.dumps({name: type(value).__name__ for name, value in record.items()}), record)
    assert shapes
    for record in shapes.values():
        codec.decode(json.dumps(record).encode())
    with pytest.raises(sentry_kafka_schemas.codecs.ValidationError):
        codec.decode(json.dumps({**record, "id": 7}).encode())


def test_occurrence_records_have_every_field_of_a_stored_occurrence(records: list[dict[str, object]]) -> None:
    wanted: dict[str, tuple[type, ...]] = {
        "id": (str,),
        "project_id": (int,),
        "event_id": (str,),
        "fingerprint": (list,),
        "issue_title": (str,),
        "subtitle": (str,),
        "resource_id": (str, type(None)),
        "evidence_data": (dict,),
        "evidence_display": (list,),
        "type": (int,),
        "detection_time": (float,),
        "level": (str,),
        "culprit": (str,),
        "initial_issue_priority": (int,),
        "assignee": (str, type(None)),
        "group_id": (int,),
    }
    assert all(isinstance(record[name], kinds) for record in records for name, kinds in wanted.items())
    assert {name for item in records[0]["evidence_display"] for name in item} == {"name", "value", "important"}  # type: ignore[attr-defined]
    types = {kind.id: kind for kind in TYPES}
    assert all(record["initial_issue_priority"] == types[record["type"]].priority for record in records)  # type: ignore[index]


def test_occurrence_records_give_back_the_frame(sim: Simulation, records: list[dict[str, object]]) -> None:
    names = {"id": "occurrence_id", "issue_title": "title"}
    columns = ("id", "event_id", "project_id", "group_id", "type", "fingerprint", "issue_title", "level")
    back = pl.DataFrame(
        {
            **{names.get(name, name): [record[name] for record in records] for name in columns},
            "detected_at": [round(record["detection_time"] * 1e6) for record in records],  # type: ignore[operator]
        }
    ).with_columns(pl.from_epoch("detected_at", "us").dt.replace_time_zone("UTC"))
    assert_frame_equal(back, sim.occurrences.drop("received_at"))


def test_planted_csv_gives_back_the_escalations(sim: Simulation, files: Path) -> None:
    text = (files / "planted.csv").read_text()
    assert re.search(r",\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ,", text)
    stamp = pl.col("escalated_at", "ended_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    assert_frame_equal(pl.read_csv(text.encode()).with_columns(stamp), sim.escalations)


def test_planted_escalations_begin_and_end_on_whole_seconds() -> None:
    planted = simulate(groups=60, days=280, seed=2).planted
    assert planted.height > 20
    for name in ("escalated_at", "ended_at"):
        assert (planted[name] == planted[name].dt.truncate("1s")).all()


def test_issues_give_back_the_status_changes(sim: Simulation, files: Path) -> None:
    rows = []
    for issue in json_lines(files / "issues.jsonl.gz"):
        activity = issue["activity"]
        assert isinstance(activity, list)
        assert isinstance(issue["project"], dict)
        assert (activity[-1]["id"], activity[-1]["type"]) == ("0", "first_seen")
        assert len(activity) <= 100
        stamps = [entry["dateCreated"] for entry in activity]
        assert stamps == sorted(stamps, reverse=True)
        for entry in activity:
            data, kind, cause = entry["data"], entry["type"], None
            if kind == "set_ignored":
                kind = "archived_" + (
                    "until_escalating"
                    if data["ignoreUntilEscalating"]
                    else "until_condition_met"
                    if data["ignoreCount"]
                    else "forever"
                )
            elif kind == "set_escalating":
                kind = "escalating"
                cause = "forecast" if "forecast" in data else "condition" if "expired_snooze" in data else "velocity"
            kind = {"auto_set_ongoing": "ongoing", "set_regression": "regressed", "set_resolved": "resolved"}.get(
                kind, kind
            )
            at = datetime.fromisoformat(entry["dateCreated"])
            rows.append(
                (int(issue["project"]["id"]), int(issue["id"]), at, kind, cause, data.get("forecast"), "activity")  # type: ignore[call-overload]
            )
    back = pl.DataFrame(rows, schema=sim.status_changes.schema, orient="row", infer_schema_length=None)
    everything = sim.status_changes.columns
    assert_frame_equal(back.sort(everything), sim.status_changes.sort(everything))


def test_escalations_name_an_event_that_was_exported(sim: Simulation, files: Path) -> None:
    events = set(
        sim.occurrences.select(
            pl.format("{} {} {}", "group_id", "event_id", pl.col("detected_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
        ).to_series()
    )
    seen = 0
    for issue in json_lines(files / "issues.jsonl.gz"):
        for entry in issue["activity"]:  # type: ignore[attr-defined]
            if entry["type"] == "set_escalating":
                seen += 1
                shared = f"{issue['id']} {entry['data']['event_id']} "
                assert any(text.startswith(shared) for text in (shared + entry["dateCreated"],) if text in events)
    assert seen > 20


def test_issues_look_like_retrieved_issues(sim: Simulation, files: Path) -> None:
    issues = json_lines(files / "issues.jsonl.gz")
    assert len(issues) == sim.groups.height
    counts = dict(sim.occurrences.group_by("group_id").len().rows())
    for issue in issues:
        assert isinstance(issue["id"], str)
        assert issue["count"] == str(counts.get(int(issue["id"]), 0))
        assert issue["status"] in ("unresolved", "resolved", "ignored")
        assert (issue["substatus"] is None) == (issue["status"] == "resolved")
        assert issue["firstSeen"] <= issue["lastSeen"]  # type: ignore[operator]
    assert [issue["title"] for issue in issues] == sim.groups["title"].to_list()


def test_hostile_titles_are_in_every_export(tmp_path: Path) -> None:
    sim = simulate(groups=40, days=21, seed=7)
    sim.write(tmp_path)
    titles = {record["issue_title"] for record in occurrence_records(tmp_path)}
    assert set(HOSTILE) <= titles
    text = "".join(HOSTILE)
    for needle in ("<script>", "$\\frac{1}{0}$", "=HYPERLINK(", "\x1b[31m", "\u202e", '"', "\n"):
        assert needle in text
    assert max(map(len, HOSTILE)) > 9_000


def test_files_are_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sim = simulate(groups=20, days=8)

    def full(_: pl.DataFrame) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(import_module("issue_analytics.simulate.export"), "_planted_csv", full)
    with pytest.raises(DatasetError, match="No space left"):
        sim.write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_smaller_simulation_is_not_mixed_with_a_larger_one(tmp_path: Path) -> None:
    (tmp_path / "occurrences-001.jsonl.gz").write_bytes(b"")
    with pytest.raises(DatasetError, match="larger simulation"):
        simulate(groups=5, days=8).write(tmp_path)


def test_a_file_in_the_way_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(DatasetError, match="cannot be written"):
        simulate(groups=5, days=8).write(tmp_path / "out")


# --- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": 0}, "groups: 0"),
        ({"groups": 2.5}, "groups: expected a whole number"),
        ({"groups": True}, "groups: expected a whole number"),
        ({"days": 7}, "days: 7"),
        ({"seed": -1}, "seed: -1"),
        ({"projects": 0}, "projects: 0"),
        ({"start": datetime(2026, 1, 5)}, "no time zone"),  # noqa: DTZ001 # that is the mistake
        ({"start": datetime(2026, 1, 5, 7, tzinfo=UTC)}, "not midnight UTC"),
        ({"start": "2026-01-05"}, "expected a datetime"),
        ({"start": datetime(2099, 12, 1, tzinfo=UTC)}, "1992 to 2099"),
    ],
)
def test_nonsense_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        simulate(**arguments)  # type: ignore[arg-type] # wrong types are part of the test


def test_midnight_utc_may_be_spelled_in_any_zone() -> None:
    other = datetime(2026, 1, 5, 2, tzinfo=timezone(timedelta(hours=2)))
    assert_frame_equal(simulate(5, 8, start=other).occurrences, simulate(5, 8, start=START).occurrences)


def test_the_smallest_simulations_work(tmp_path: Path) -> None:
    for seed in range(5):
        sim = simulate(groups=1, days=8, seed=seed, projects=1)
        for name, contract in (("occurrences", "Occurrences"), ("escalations", "Escalations")):
            check(getattr(sim, name), contract)
        sim.write(tmp_path / str(seed))
