from datetime import timedelta
from itertools import permutations

import polars as pl
import pytest
from histories import HOUR, MONDAY, UTC_US
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import issue_analytics as ia
from issue_analytics import frames
from issue_analytics.backtest import STATUS_KINDS, backtest, label_escalations
from issue_analytics.backtest.labels import recorded_states
from issue_analytics.exports.formats.activities import from_activity
from issue_analytics.frames import KEY
from issue_analytics.issues.lifecycle import STATES

SCHEMA = {
    "project_id": pl.Int64, "group_id": pl.Int64, "at": UTC_US, "kind": pl.String, "cause": pl.String,
    "forecast": pl.Int64, "source": pl.String,
}  # fmt: skip


def changes(*rows):
    """Rows of (hours after Monday, kind, cause)."""
    full = [
        (1, 7, MONDAY + timedelta(hours=at), kind, *(cause or [None]), None, "activity") for at, kind, *cause in rows
    ]
    return pl.DataFrame(full, schema=SCHEMA, orient="row")


def spans(exposure):
    return [
        tuple(None if at is None else (at - MONDAY) / HOUR for at in row)
        for row in exposure.select("start", "end").rows()
    ]


def test_exposure_runs_from_archiving_to_the_next_status_change():
    history = changes(
        (0, "archived_until_escalating"), (30, "escalating", "forecast"), (40, "archived_until_escalating")
    )
    escalations, exposure = label_escalations(history)
    # the instant of the escalation itself is exposed
    assert exposure["end"].to_list() == [MONDAY + 30 * HOUR + timedelta(microseconds=1), None]
    assert exposure["start"].to_list() == [MONDAY, MONDAY + 40 * HOUR]
    assert escalations.select("provenance", "ended_at").rows() == [("algorithm", None)]
    frames.check(escalations, "Escalations")
    frames.check(exposure, "Exposure")


@pytest.mark.parametrize(
    ("cause", "provenance"),
    [
        ("forecast", "algorithm"),
        ("velocity", "velocity"),
        ("condition", "condition"),
        ("platform", "platform"),
        (None, "platform"),
    ],
)
def test_the_cause_tells_where_a_label_comes_from(cause, provenance):
    escalations, _ = label_escalations(changes((5, "escalating", cause)))
    assert escalations["provenance"].to_list() == [provenance]


@pytest.mark.parametrize("kind", ["note", "assigned", "set_priority", "something_new", "status_quo"])
def test_what_changes_no_status_does_not_end_exposure(kind):
    _, exposure = label_escalations(changes((0, "archived_until_escalating"), (90, kind), (99, "resolved")))
    assert spans(exposure) == [(0, 99)]


ENDING = [state.name for state in STATES if state.name not in ("archived_until_escalating", "escalating")]
ENDING += ["merged", "unmerged", "deleted", "ignored", "unresolved", "reprocess", "status_77"]


@pytest.mark.parametrize("source", ["group_attributes", "status_change"])
@pytest.mark.parametrize("apart", [-60, -0.01, 0, 0.01, 60])
def test_what_tells_an_escalation_beside_its_activity_is_the_same_one(source, apart):
    """Also the two together, and in any order."""
    activities = changes((0, "archived_until_escalating"), (30, "escalating", "forecast"))
    at = MONDAY + 30 * HOUR + timedelta(seconds=apart)
    cause = "platform" if source == "status_change" else None
    echo = pl.DataFrame([(1, 7, at, "escalating", cause, None, source)], schema=SCHEMA, orient="row")
    other = echo.with_columns(pl.col("at") + timedelta(seconds=1), source=pl.lit("group_attributes"), cause=None)
    expected = label_escalations(activities)
    for told in ([activities, echo], [echo, activities], [activities, other, echo]):
        labels, exposure = label_escalations(pl.concat(told))
        assert_frame_equal(labels, expected[0])
        assert_frame_equal(exposure, expected[1])


def test_what_tells_an_escalation_alone_or_of_another_time_is_one():
    archived = changes((0, "archived_until_escalating"))
    snapshot = pl.DataFrame(
        [(1, 7, MONDAY + HOUR, "escalating", None, None, "group_attributes")], schema=SCHEMA, orient="row"
    )
    message = snapshot.with_columns(cause=pl.lit("platform"), source=pl.lit("status_change"))
    assert label_escalations(pl.concat([archived, snapshot]))[0]["provenance"].to_list() == ["algorithm"]
    assert label_escalations(pl.concat([archived, message]))[0]["provenance"].to_list() == ["platform"]
    # archived between the two: two escalations
    again = changes((1 + 10 / 3600, "archived_until_escalating"), (1 + 20 / 3600, "escalating", "forecast"))
    assert label_escalations(pl.concat([archived, message, again]))[0].height == 2
    late = changes((1 + 61 / 3600, "escalating", "forecast"))
    assert label_escalations(pl.concat([archived, message, late]))[0].height == 2
    # of another group
    beside = changes((1, "escalating", "forecast")).with_columns(group_id=pl.lit(8, pl.Int64))
    assert label_escalations(pl.concat([archived, message, beside]))[0].height == 2


def test_kinds_that_end_exposure():
    assert set(STATUS_KINDS) == {*ENDING, "archived_until_escalating", "escalating"} - {"status_77"}


@pytest.mark.parametrize("kind", [*ENDING, "archived_until_escalating"])
def test_every_status_change_ends_exposure(kind):
    _, exposure = label_escalations(changes((0, "archived_until_escalating"), (9, kind)))
    assert spans(exposure)[0] == (0, 9)


def test_archived_forever_or_until_a_condition_is_not_exposed():
    _, exposure = label_escalations(changes((0, "archived_forever"), (9, "archived_until_condition_met")))
    assert exposure.is_empty()


def test_the_first_day_of_a_group_is_not_exposed():
    born = (0, "first_seen")
    _, exposure = label_escalations(changes(born, (5, "archived_until_escalating"), (60, "resolved")))
    assert spans(exposure) == [(24, 60)]
    _, exposure = label_escalations(changes(born, (5, "archived_until_escalating"), (20, "escalating", "velocity")))
    assert exposure.is_empty()
    _, exposure = label_escalations(changes(born, (5, "archived_until_escalating")))
    assert spans(exposure) == [(24, None)]


def test_groups_do_not_mix_and_order_does_not_matter():
    two = pl.concat([
        changes((0, "archived_until_escalating"), (30, "resolved")),
        changes((10, "archived_until_escalating"), (20, "resolved")).with_columns(group_id=pl.lit(8, dtype=pl.Int64)),
        changes((15, "archived_until_escalating")).with_columns(project_id=pl.lit(2, dtype=pl.Int64)),
    ])  # fmt: skip
    _, exposure = label_escalations(two.sample(fraction=1.0, shuffle=True, seed=1))
    assert spans(exposure) == [(0, 30), (10, 20), (15, None)]


def test_at_one_instant_archiving_comes_last():
    _, exposure = label_escalations(changes((0, "archived_until_escalating"), (0, "unresolved"), (9, "resolved")))
    assert spans(exposure) == [(0, 9)]


def test_lazy_in_lazy_out():
    escalations, exposure = label_escalations(changes((0, "archived_until_escalating")).lazy())
    assert isinstance(escalations, pl.LazyFrame)
    assert spans(exposure.collect()) == [(0, None)]


def test_two_records_of_one_escalation_keep_the_circular_one_in_any_order():
    both = changes((5, "escalating", "velocity"), (5, "escalating", "forecast"))
    for history in (both, both.reverse()):
        assert label_escalations(history)[0]["provenance"].to_list() == ["algorithm"]


def test_an_escalation_on_the_hour_is_judged():
    history = changes((0, "archived_until_escalating"), (200, "escalating", "forecast"))
    counts = pl.DataFrame(
        {"project_id": 1, "group_id": 7, "hour": [MONDAY + hour * HOUR for hour in range(300)]},
        schema_overrides={"project_id": pl.Int64, "group_id": pl.Int64, "hour": UTC_US},
    ).with_columns(count=pl.when(pl.int_range(pl.len()) == 200).then(90).otherwise(4).cast(pl.Int64))
    escalations, exposure = label_escalations(history)
    result = backtest(counts, escalations, exposure=exposure)
    assert result.matches["delay_hours"].to_list() == [1.0]
    assert result.alerts["verdict"].to_list() == ["caught"]


def snapshots(*rows):
    return changes(*rows).with_columns(source=pl.lit("group_attributes"))


def test_what_is_recorded_at_one_instant_is_read_alike_in_any_order():
    rows = [(0, "archived_until_escalating"), (10, "resolved"), (10, "unmerged"), (10, "escalating", "platform"),
            (10, "ongoing"), (20, "ongoing")]  # fmt: skip
    expected = recorded_states(changes(*rows))
    for order in permutations(rows[1:-1]):
        assert_frame_equal(recorded_states(changes(rows[0], *order, rows[-1])), expected)


def test_a_snapshot_that_repeats_the_status_is_no_change():
    history = snapshots(
        (0, "archived_until_escalating"), (5, "archived_until_escalating"), (30, "escalating"), (31, "escalating"),
        (40, "ongoing"), (50, "escalating"),
    )  # fmt: skip
    escalations, exposure = label_escalations(history)
    # straight after an archive-until-escalating it was the algorithm, else nobody knows
    assert [(at - MONDAY) / HOUR for at in escalations["escalated_at"]] == [30, 50]
    assert escalations["provenance"].to_list() == ["algorithm", "platform"]
    assert exposure["start"].to_list() == [MONDAY]
    assert exposure["end"].to_list() == [MONDAY + 30 * HOUR + timedelta(microseconds=1)]
    shuffled, spans_again = label_escalations(history.sample(fraction=1, shuffle=True, seed=2).lazy())
    assert shuffled.collect().equals(escalations)
    assert spans_again.collect().equals(exposure)


def test_the_first_snapshot_tells_a_state_and_not_a_change():
    escalations, exposure = label_escalations(snapshots((0, "escalating"), (9, "archived_until_escalating")))
    assert escalations.is_empty()
    assert spans(exposure) == [(9, None)]
    # an activity is a change, also the first one
    assert label_escalations(changes((0, "escalating", "forecast")))[0].height == 1


def test_a_snapshot_beside_the_activity_adds_nothing():
    activity = changes((0, "archived_until_escalating"), (30, "escalating", "condition"))
    both = pl.concat([activity, snapshots((0, "archived_until_escalating"), (30, "escalating"), (33, "escalating"))])
    for one, other in zip(label_escalations(both), label_escalations(activity), strict=True):
        assert one.equals(other)


# --- where a label comes from ----------------------------------------------------------------------------------------


def labels_of(*activities):
    """Activities of one issue, as the tracker shows them, given as (hours after Monday, type, data)."""
    raw = [
        from_activity({"type": type_, "data": data, "dateCreated": MONDAY + at * HOUR})
        for at, type_, data in activities
    ]
    history = pl.DataFrame(raw, schema_overrides=SCHEMA).with_columns(project_id=pl.lit(1, pl.Int64))
    history = history.with_columns(pl.lit(7, pl.Int64).alias("group_id"), pl.col("at").cast(UTC_US))
    return label_escalations(history.select(list(SCHEMA)))


SNOOZE = {"until": None, "count": None, "window": None, "user_count": None, "user_window": None}


@pytest.mark.parametrize(
    ("type_", "data", "provenance"),
    [
        ("set_escalating", {"event_id": "a", "forecast": 42}, "algorithm"),
        ("set_escalating", {"forecast": 0}, "algorithm"),
        # before there was set_escalating, in spring 2023
        ("set_unresolved", {"forecast": 42}, "algorithm"),
        ("set_escalating", {"event_id": "a", "expired_snooze": {**SNOOZE, "count": 100, "window": 60}}, "condition"),
        ("set_escalating", {"eventId": "a", "expiredSnooze": {"userCount": 5}}, "condition"),
        # any of the two may have been met
        ("set_escalating", {"expired_snooze": {**SNOOZE, "until": "2023-06-01T00:00:00Z", "count": 9}}, "condition"),
        ("set_escalating", {"expired_snooze": SNOOZE}, "condition"),
        ("set_escalating", {"event_id": "a"}, "velocity"),
        ("set_escalating", {}, "platform"),
        ("set_escalating", None, "platform"),
        ("set_escalating", {"activity_data": {"a": 1}}, "platform"),
        # its time was over: called escalating before 2024, ongoing since
        ("set_escalating", {"event_id": "a", "expired_snooze": {**SNOOZE, "until": "2023-06-01T00:00:00Z"}}, None),
        ("auto_set_ongoing", {"after_days": 7}, None),
        ("set_unresolved", {}, None),
        ("set_unresolved", None, None),
    ],
)
def test_the_four_sources_and_records_of_old(type_, data, provenance):
    escalations, exposure = labels_of((0, "set_ignored", {"ignoreUntilEscalating": True}), (50, type_, data))
    assert escalations["provenance"].to_list() == ([provenance] if provenance else [])
    assert spans(exposure)[0][0] == 0
    assert exposure["end"].item() - MONDAY - 50 * HOUR == timedelta(microseconds=type_ != "auto_set_ongoing" and (
        provenance is not None or type_ == "set_escalating"))  # fmt: skip


def test_tables_in_our_own_columns():
    def table(kind, cause, forecast):
        row = (1, 7, MONDAY, kind, cause, forecast, "table")
        return label_escalations(pl.DataFrame([row], schema=SCHEMA, orient="row"))[0]["provenance"].to_list()

    # a limit is recorded by the algorithm only; without any cause, it was a message
    assert table("escalating", None, 42) == ["algorithm"]
    assert table("unresolved", None, 42) == ["algorithm"]
    assert table("escalating", None, None) == ["platform"]
    assert table("escalating", "velocity", 42) == ["velocity"]
    assert table("unresolved", None, None) == []
    # nobody can tell any more whether the time or the count was up
    assert table("escalating", "condition", None) == ["condition"]
    assert table("escalating", "duration", None) == []


@pytest.mark.parametrize(
    ("before", "provenance"),
    [
        ("archived_until_escalating", "algorithm"),
        ("archived_until_condition_met", "condition"),
        ("new", "velocity"),
        ("archived_forever", "platform"),
        ("ongoing", "platform"),
        ("resolved", "platform"),
        ("ignored", "platform"),
        ("status_77", "platform"),
    ],
)
def test_of_snapshots_the_state_before_tells_who_made_it(before, provenance):
    escalations, _ = label_escalations(snapshots((0, before), (9, before), (30, "escalating"), (40, "escalating")))
    assert escalations["provenance"].to_list() == [provenance]


# --- histories that were cut off -------------------------------------------------------------------------------------


def test_an_escalation_whose_archive_is_cut_off_is_known_and_its_exposure_is_not():
    history = changes((50, "escalating", "forecast"), (50, "history_truncated"), (0, "first_seen"), (60, "resolved"))
    escalations, exposure = label_escalations(history)
    assert escalations["provenance"].to_list() == ["algorithm"]
    assert exposure.is_empty()


def test_nothing_is_derived_from_before_the_oldest_activity_retained():
    old = [(0, "archived_until_escalating"), (20, "escalating", "forecast"), (30, "archived_until_escalating")]
    new = [(50, "ongoing"), (70, "archived_until_escalating"), (90, "resolved")]
    whole = changes(*old, *new)
    escalations, exposure = label_escalations(whole)
    assert (escalations.height, len(spans(exposure))) == (1, 3)
    for shuffled in (False, True):
        history = pl.concat([changes(*old).with_columns(source=pl.lit("status_change")), changes(*new),
                             changes((50, "history_truncated"))])  # fmt: skip
        history = history.sample(fraction=1, shuffle=True, seed=5) if shuffled else history
        escalations, exposure = label_escalations(history)
        assert escalations.is_empty()
        assert spans(exposure) == [(70, 90)]


def test_the_oldest_activity_itself_is_known():
    _, exposure = label_escalations(
        changes((50, "archived_until_escalating"), (50, "history_truncated"), (90, "ongoing"))
    )
    assert spans(exposure) == [(50, 90)]


def test_of_a_cut_history_it_is_known_when_the_group_was_first_seen():
    born = changes((40, "first_seen"), (50, "archived_until_escalating"), (50, "history_truncated"), (90, "ongoing"))
    assert spans(label_escalations(born)[1]) == [(64, 90)]


def test_a_span_over_the_beginning_of_a_later_export_is_not_known():
    archive, forecast = "archived_until_escalating", ("escalating", "forecast")
    first = [(0, "history_truncated"), (0, "resolved"), (10, archive), (20, *forecast), (30, archive)]
    later = [(50, "history_truncated"), (50, "ongoing"), (60, archive), (80, *forecast)]
    escalations, exposure = label_escalations(changes(*first, *later))
    # what the first export recorded is known all the same
    assert [(at - MONDAY) / HOUR for at in escalations["escalated_at"]] == [20, 80]
    assert [start for start, _ in spans(exposure)] == [10, 60]


def test_a_cut_history_cuts_its_own_group_only():
    other = changes((0, "archived_until_escalating"), (9, "resolved")).with_columns(group_id=pl.lit(8, dtype=pl.Int64))
    _, exposure = label_escalations(pl.concat([other, changes((50, "history_truncated"), (50, "ongoing"))]))
    assert exposure["group_id"].to_list() == [8]


def test_after_a_cut_the_first_snapshot_is_a_state():
    history = pl.concat(
        [snapshots((0, "archived_until_escalating"), (60, "escalating")), changes((50, "history_truncated"))]
    )
    escalations, exposure = label_escalations(history)
    assert escalations.is_empty()
    assert exposure.is_empty()


# --- merges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["merged", "unmerged"])
def test_exposure_does_not_reach_past_a_merge(kind):
    archive = "archived_until_escalating"
    assert spans(label_escalations(changes((0, archive), (30, kind), (90, "resolved")))[1]) == [(0, 30)]
    again = changes((0, archive), (30, kind), (50, archive), (90, "resolved"))
    assert spans(label_escalations(again)[1]) == [(0, 30), (50, 90)]
    # a snapshot repeats the state that the merge left as it was: it archives nothing
    seen = pl.concat([changes((0, archive), (30, kind)), snapshots((0, archive), (30, archive), (40, archive))])
    assert spans(label_escalations(seen)[1]) == [(0, 30)]
    # the escalation is known all the same, and who made it
    seen = pl.concat([changes((0, archive), (30, kind)), snapshots((0, archive), (40, "escalating"))])
    assert label_escalations(seen)[0]["provenance"].to_list() == ["algorithm"]


# --- hours outside exposure are unknown ------------------------------------------------------------------------------


def test_the_hour_in_which_the_first_day_ends_is_judged_whole():
    born = changes((0.5, "first_seen"), (5, "archived_until_escalating"), (60, "resolved"))
    _, exposure = label_escalations(born)
    assert spans(exposure) == [(24.5, 60)]
    # the tracker compares the count of the whole hour so far, so that hour is judged as one
    result = backtest(loud([]), exposure=exposure.with_columns(pl.col("start", "end") + 168 * HOUR))
    assert spans(result.exposure) == [(168 + 24, 168 + 60)]


def loud(hours, growth=1):
    """Four an hour for three weeks, ninety in the first hour named, so many times more in each later one."""
    peaks = {hour: 90 * growth**index for index, hour in enumerate(sorted(hours))}
    return pl.DataFrame(
        {"project_id": 1, "group_id": 7, "hour": [MONDAY + hour * HOUR for hour in range(504)]},
        schema_overrides={"project_id": pl.Int64, "group_id": pl.Int64, "hour": UTC_US},
    ).with_columns(pl.Series("count", [peaks.get(hour, 4) for hour in range(504)], dtype=pl.Int64))


def test_nothing_outside_exposure_is_a_false_alarm_or_a_quiet_hour():
    history = changes((180, "archived_until_escalating"), (200, "resolved"), (300, "archived_until_escalating"))
    escalations, exposure = label_escalations(history)
    # each spike far above the one before: the limit follows them
    result = backtest(loud([170, 190, 250, 290, 350], growth=30), escalations, exposure=exposure)
    assert [(at - MONDAY) / HOUR for at in result.alerts["hour"]] == [190, 350]
    groups = result.groups.row(0, named=True)
    assert (groups["exposed_hours"], groups["quiet_hours"], groups["false_alarms"]) == (224, 224, 2)


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.integers(168, 503), max_size=12), st.lists(st.integers(170, 490), min_size=2, max_size=8, unique=True)
)
def test_what_happens_outside_exposure_changes_no_tally(spikes, moves):
    """Alerts, quiet hours and false alarms, counted one hour at a time."""
    kinds = ["archived_until_escalating", "resolved"]
    history = changes(*((at, kinds[index % 2]) for index, at in enumerate(sorted(moves))))
    escalations, exposure = label_escalations(history)
    result = backtest(loud(sorted(spikes)), escalations, exposure=exposure, matching=ia.Matching(merge_hours=1))
    exposed = {
        hour
        for start, end in zip(sorted(moves)[::2], [*sorted(moves)[1::2], 504], strict=False)
        for hour in range(start, end)
    }
    groups = result.groups.row(0, named=True)
    assert groups["exposed_hours"] == groups["quiet_hours"] == len(exposed)
    fired = {(at - MONDAY) // HOUR for at in result.crossings["hour"]}
    assert fired == {hour for hour in spikes if hour in exposed and hour in over(result, hour)}
    assert groups["false_alarms"] <= len(fired)
    assert fired or groups["false_alarms"] == 0


def over(result, hour):
    """The hour, if a spike is over the limit in force in it."""
    day = (MONDAY + hour * HOUR).date()
    limit = result.limits.filter(pl.col("date") == day).sort("as_of")["limit"]
    return {hour} if 90 > limit[-1] > 0 else set()


# --- planted truth ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sim():
    return ia.simulate(groups=400, days=42, seed=5)


MADE = {"forecast": "algorithm", "condition": "condition", "velocity": "velocity"}


def recorded(sim):
    """What the simulated tracker knows of its own escalations."""
    rows = sim.activities.filter(pl.col("kind") == "escalating").select(*KEY, "at", "cause").sort(*KEY, "at").rows()
    return [(project, group, at, MADE[cause]) for project, group, at, cause in rows]


def test_labels_are_what_the_simulated_tracker_did(sim):
    escalations, exposure = label_escalations(sim.status_changes)
    found = escalations.select(*KEY, "escalated_at", "provenance").rows()
    assert found == recorded(sim)
    assert {provenance for *_, provenance in found} == set(MADE.values())
    # every one that the forecast made, and no other, lies in a span of its group, at the end of it
    ends = set(exposure.select(*KEY, pl.col("end") - timedelta(microseconds=1)).rows())
    assert {tuple(key) for *key, provenance in found if provenance == "algorithm"} == {
        key for key in ends if key in {tuple(key) for *key, _ in found}
    }


def test_exposure_is_that_of_a_plain_loop(sim):
    expected = []
    for (project, group), rows in sim.status_changes.sort(*KEY, "at").group_by(KEY, maintain_order=True):
        born = rows.filter(pl.col("kind") == "first_seen")["at"][0]
        since = None
        for at, kind in [*rows.select("at", "kind").rows(), (None, "end")]:
            if kind in ("first_seen", "set_priority", "assigned"):
                continue
            if since is not None:
                end = at + timedelta(microseconds=kind == "escalating") if at else None
                start = max(since, born + timedelta(hours=24))
                if end is None or start < end:
                    expected.append((project, group, start, end))
            since = at if kind == "archived_until_escalating" else None
    _, exposure = label_escalations(sim.status_changes)
    assert exposure.rows() == expected
    assert len(expected) > 100


@pytest.mark.parametrize("form", ["issues", "group_attributes"])
def test_labels_of_exports_are_the_same(sim, tmp_path, form):
    sim.write(tmp_path, formats=[form], progress=False)
    history = pl.concat(
        [ia.read_status_changes(path)[0] for path in sorted(tmp_path.glob("*.jsonl.gz"))]
    )  # fmt: skip
    escalations, exposure = label_escalations(history)
    assert escalations.select(*KEY, "escalated_at", "provenance").rows() == recorded(sim)
    assert exposure.equals(label_escalations(sim.status_changes)[1])


def test_times_that_were_over_are_replayed_as_the_tracker_had_it(sim):
    cause = pl.when(pl.col("cause") == "condition").then(pl.lit("duration")).otherwise("cause")
    early = sim.status_changes.with_columns(cause=cause)
    assert label_escalations(early)[0]["provenance"].unique().sort().to_list() == ["algorithm", "velocity"]
    one, other = (ia.replay(sim.hourly_counts, changes).alerts for changes in (early, sim.status_changes))
    assert one.equals(other)
    assert one.height > 10


def test_cut_histories_only_take_away(sim):
    whole, spans_whole = label_escalations(sim.status_changes)
    last = (
        sim.status_changes.filter(pl.col("kind") != "first_seen")
        .sort("at")
        .group_by(KEY)
        .agg(pl.col("at").tail(4).min())
    )
    kept = sim.status_changes.join(last.rename({"at": "cut"}), on=KEY, how="left").filter(
        (pl.col("at") >= pl.col("cut")).fill_null(value=True) | (pl.col("kind") == "first_seen")
    )
    rows = last.with_columns(pl.lit("history_truncated").alias("kind"), pl.lit("activity").alias("source"))
    escalations, exposure = label_escalations(
        pl.concat([kept.drop("cut"), rows.select(*KEY, "at", "kind", "source")], how="diagonal")
    )
    assert 0 < escalations.height < whole.height
    assert escalations.join(whole, on=escalations.columns, how="anti", nulls_equal=True).is_empty()
    assert 0 < exposure.height < spans_whole.height
    assert exposure.join(spans_whole, on=exposure.columns, how="anti", nulls_equal=True).is_empty()
