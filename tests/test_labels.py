from datetime import timedelta

import polars as pl
import pytest
from histories import HOUR, MONDAY, UTC_US

from issue_analytics import frames
from issue_analytics.backtest import backtest, label_escalations

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


@pytest.mark.parametrize("kind", ["note", "assigned", "set_priority", "something_new"])
def test_what_changes_no_status_does_not_end_exposure(kind):
    _, exposure = label_escalations(changes((0, "archived_until_escalating"), (90, kind), (99, "resolved")))
    assert spans(exposure) == [(0, 99)]


@pytest.mark.parametrize("kind", ["resolved", "ongoing", "archived_forever", "archived_until_escalating", "unresolved"])
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
