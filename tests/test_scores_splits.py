"""Splits: what is known at the cut, nothing twice and nothing lost, and backtests of parts that add up."""

from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from histories import (
    COUNTS,
    ESCALATIONS,
    EXPOSURE,
    HOUR,
    MONDAY,
    random_counts,
    random_escalations,
    random_exposure,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from issue_analytics.backtest import Matching, backtest
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.frames import KEY, check, empty
from issue_analytics.scores.splits import project_split, rolling_origin, time_split
from issue_analytics.thresholds import ThresholdVariables

SETTING = {"thresholds": ThresholdVariables(0, 0.7, 0.7, 0, 0), "buckets": "dense"}
WIDE = Matching(lead_hours=2.5, grace_hours=3, open_hours=48)


def timing(matching):
    return {name: getattr(matching, name) for name in ("lead_hours", "grace_hours", "open_hours")}


def history(seed, *, hours=900, number=25):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, groups=8, hours=hours)
    exposure = random_exposure(rng, counts) if seed % 2 else None
    return SimpleNamespace(
        rng=rng, counts=counts, escalations=random_escalations(rng, counts, number=number), exposure=exposure
    )


def escalations_at(*rows):
    rows = [
        (1, 7, MONDAY + at * HOUR, None if end is None else MONDAY + end * HOUR, "human") for at, end in rows
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=ESCALATIONS, orient="row")


def by_projects(counts):
    """A project for every two groups; the data of each begin some hours later."""
    counts = counts.with_columns(project_id=pl.col("group_id") - 9, group_id=pl.col("project_id"))
    return counts.filter(pl.col("hour") >= MONDAY + pl.col("project_id") * 5 * HOUR)


def steady(hours=480, level=4, **spikes):
    rows = [(1, 7, MONDAY + hour * HOUR, spikes.get(f"h{hour}", level)) for hour in range(hours)]
    return pl.DataFrame(rows, schema=COUNTS, orient="row")


def hours_of(part):
    """Exposed hours of the part: (project, group, hour)."""
    hours = set()
    for project, group, start, end in part.exposure.iter_rows():
        hour = start.replace(minute=0, second=0, microsecond=0)
        while hour < end:
            hours.add((project, group, hour))
            hour += HOUR
    return hours


def assert_same_part(one, other):
    for name in ("counts", "escalations", "exposure"):
        frames = [getattr(part, name) for part in (one, other)]
        assert_frame_equal(*(frame.sort(frame.columns) for frame in frames))


def judged(part, matching=None):
    return backtest(part.counts, part.escalations, exposure=part.exposure, matching=matching, **SETTING)


# By hand --------------------------------------------------------------------------------------------------------------


def test_an_escalation_over_the_cut_goes_to_neither_side_and_is_exposed_on_neither():
    cut = MONDAY + 336 * HOUR
    truth = escalations_at((200, 210), (330, 340), (350, 400), (365, None), (450, 460))
    split = time_split(steady(), truth, at=cut)
    assert_frame_equal(split.train.escalations, truth[:1])
    assert_frame_equal(split.test.escalations, truth[3:])
    assert_frame_equal(split.dropped, truth[1:3])
    spans = [
        [tuple((at - MONDAY) // HOUR for at in span) for span in part.exposure.select("start", "end").iter_rows()]
        for part in (split.train, split.test)
    ]
    # train: an hour of lead before the escalation at 330; test: an hour of grace after the one that ended at 400
    assert spans == [[(0, 329)], [(401, 480)]]
    assert split.train.counts["hour"].max() == cut - HOUR
    assert_frame_equal(split.test.counts, steady())


def test_the_last_hours_of_train_are_those_whose_truth_is_known():
    """An alert in the hour before the cut may be early for what begins at it: nobody can know that at the cut."""
    cut = MONDAY + 336 * HOUR
    for lead, end in ((0, 336), (1, 335), (2.5, 333)):
        split = time_split(steady(), escalations_at((336, 340)), at=cut, lead_hours=lead)
        assert split.train.exposure["end"].item() == MONDAY + end * HOUR
    assert split.dropped.height == 1


def test_escalations_at_the_edges():
    cut = MONDAY + 336 * HOUR
    day = timedelta(days=1)
    for at, end, side in (
        (300, 334, "train"),  # with grace it ends where train does
        (300, 334.5, "dropped"),
        (309, None, "dropped"),  # taken to last a day
        (309, 310, "train"),
        (310, None, "dropped"),
        (308, None, "train"),
        (336 + 24, None, "dropped"),  # its lead is embargoed
        (336 + 25, None, "test"),
    ):
        split = time_split(steady(), escalations_at((at, end)), at=cut, embargo=day, open_hours=26)
        found = {"train": split.train.escalations, "test": split.test.escalations, "dropped": split.dropped}
        assert [name for name, frame in found.items() if frame.height] == [side], (at, end)


def test_overlapping_windows_leave_one_hole():
    truth = escalations_at((330, 340), (320, 339), (325, 326.5), (331, 400))
    split = time_split(steady(), truth, at=MONDAY + 336 * HOUR)
    assert split.train.exposure["end"].to_list() == [MONDAY + 319 * HOUR]
    assert split.test.exposure["start"].to_list() == [MONDAY + 401 * HOUR]
    assert split.train.escalations.height == 1  # within the hole, and so not judged
    assert judged(split.train).matches.is_empty()


def test_an_hour_between_two_escalations_within_a_third_is_no_gap():
    """One over both cuts; within it one over the first cut, and one over the second."""
    truth = escalations_at((330, 440), (332, 345), (430, 438))
    first, second = rolling_origin(
        steady(), truth, first=MONDAY + 336 * HOUR, step=timedelta(hours=100), embargo=timedelta(0)
    )
    assert first.test.exposure.is_empty()
    assert second.test.exposure["start"].item() == MONDAY + 441 * HOUR


def test_a_part_of_an_hour_about_a_dropped_escalation_is_not_exposed():
    truth = escalations_at((329.75, 337.25))
    split = time_split(steady(), truth, at=MONDAY + 336 * HOUR, embargo=timedelta(0))
    assert split.train.exposure["end"].item() == MONDAY + 328 * HOUR
    assert split.test.exposure["start"].item() == MONDAY + 339 * HOUR


def test_a_train_part_reaches_to_the_cut_though_nothing_happened_before_it():
    counts = steady().filter(~pl.col("hour").is_between(MONDAY + 300 * HOUR, MONDAY + 340 * HOUR))
    split = time_split(counts, escalations_at(), at=MONDAY + 336 * HOUR)
    assert judged(split.train).groups["exposed_hours"].item() == 335 - 168
    added = split.train.counts.join(counts, on=[*KEY, "hour"], how="anti")
    assert added.rows() == [(1, 7, MONDAY + 335 * HOUR, 0)]


def test_test_has_the_history_that_limits_look_back_on():
    """Judged from the first hour after the embargo on, against limits made from the week before the cut."""
    counts = steady(480, h400=90)
    split = time_split(counts, escalations_at((400, 402)), at=MONDAY + 336 * HOUR)
    result = judged(split.test)
    assert result.groups["exposed_hours"].item() == 480 - 360
    whole = backtest(counts, escalations_at((400, 402)), **SETTING)
    assert result.matches.rows() == whole.matches.rows()


# Laws -----------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(200, 700), wide=st.booleans())
def test_nothing_at_or_after_the_cut_changes_train(seed, cut, wide):
    given_ = history(seed)
    rng, at = given_.rng, MONDAY + cut * HOUR
    setting = {"at": at, "embargo": timedelta(hours=int(rng.integers(0, 50)))} | timing(WIDE if wide else Matching())
    before = time_split(given_.counts, given_.escalations, given_.exposure, **setting).train

    def moved(name):
        """Times at or after the cut, moved to others at or after the cut."""
        other = at + timedelta(minutes=int(rng.integers(0, 20_000)))
        return pl.when(pl.col(name) >= at).then(pl.lit(other)).otherwise(pl.col(name)).cast(pl.Datetime("us", "UTC"))

    future = {(1, int(rng.integers(8, 20)), at + int(rng.integers(0, 300)) * HOUR) for _ in range(40)}
    future |= {(1, 10, at)}
    new = pl.DataFrame([(*key, int(rng.choice([0, 3, 10**9]))) for key in future], schema=COUNTS, orient="row")
    counts = pl.concat([given_.counts.filter(pl.col("hour") < at), new])
    kept = given_.escalations.filter(pl.col("escalated_at") < at).with_columns(ended_at=moved("ended_at"))
    later = random_escalations(rng, new, number=20).filter(pl.col("escalated_at") >= at)
    exposure = given_.exposure
    if exposure is not None:
        exposure = exposure.filter((pl.col("start") < at) | (pl.lit(rng.random()) < 0.5))
        exposure = exposure.with_columns(end=moved("end")).filter(
            (pl.col("end") > pl.col("start")).fill_null(value=True)
        )
    after = time_split(counts, pl.concat([kept, later]), exposure, **setting).train
    assert_same_part(before, after)
    assert before.counts["hour"].max() < at
    for name in ("start", "end"):
        assert (before.exposure[name] <= at).all()
    assert (before.escalations.select(pl.max_horizontal("escalated_at", "ended_at")).to_series() < at).all()


@pytest.mark.parametrize("seed", range(12))
def test_every_escalation_is_on_one_side_or_dropped_and_no_hour_is_on_two(seed):
    given_ = history(seed)
    matching = WIDE if seed % 3 else Matching()
    cut, embargo = int(given_.rng.integers(200, 700)), int(given_.rng.integers(0, 60))
    at, later = MONDAY + cut * HOUR, MONDAY + (cut + embargo) * HOUR
    split = time_split(
        given_.counts, given_.escalations, given_.exposure, at=at, embargo=embargo * HOUR, **timing(matching)
    )
    for part in (split.train, split.test):
        check(part.counts, "HourlyCounts")
        check(part.escalations, "Escalations")
        check(part.exposure, "Exposure")
    together = pl.concat([split.train.escalations, split.test.escalations, split.dropped])
    assert_frame_equal(together.sort(together.columns), given_.escalations.sort(together.columns))
    train, test = hours_of(split.train), hours_of(split.test)
    assert not train & test
    # by a loop: an hour is exposed unless it lies between the sides or touches the time of what is on neither
    last = given_.counts["hour"].max() + HOUR
    spans = given_.exposure
    if spans is None:
        spans = given_.counts.group_by(KEY).agg(start=pl.col("hour").min()).with_columns(end=pl.lit(last))
    every = hours_of(SimpleNamespace(exposure=spans.with_columns(pl.col("end").fill_null(last))))
    closed = set()
    for project, group, start, end, _ in split.dropped.iter_rows():
        opens = start - matching.lead_hours * HOUR
        closes = (end or start + matching.open_hours * HOUR) + matching.grace_hours * HOUR
        closed |= {h for h in every if h[:2] == (project, group) and h[2] < closes and h[2] + HOUR > opens}
    known = at - matching.lead_hours * HOUR
    assert train == {hour for hour in every - closed if hour[2] + HOUR <= known}
    assert test == {hour for hour in every - closed if hour[2] >= later}


@pytest.mark.parametrize("seed", range(12))
def test_backtests_of_the_sides_of_a_time_split_add_up(seed):
    """To the backtest of all hours that are exposed on either side: verdict by verdict."""
    given_ = history(seed)
    matching = WIDE if seed % 3 else Matching()
    split = time_split(
        given_.counts, given_.escalations, given_.exposure, at=MONDAY + int(given_.rng.integers(300, 700)) * HOUR,
        embargo=int(given_.rng.integers(1, 40)) * HOUR, **timing(matching),
    )  # fmt: skip
    parts = [judged(part, matching) for part in (split.train, split.test)]
    exposure = pl.concat([split.train.exposure, split.test.exposure])
    whole = backtest(given_.counts, given_.escalations, exposure=exposure, matching=matching, **SETTING)
    for name in ("crossings", "alerts", "matches"):
        both = pl.concat([getattr(result, name) for result in parts])
        assert_frame_equal(both.sort(both.columns), getattr(whole, name).sort(both.columns))
    for name in ("exposed_hours", "quiet_hours", "occurrences", "alerts", "events", "false_alarms"):
        assert sum(result.groups[name].sum() for result in parts) == whole.groups[name].sum()


def test_without_embargo_lead_and_crossings_the_sides_are_the_whole():
    counts = steady(480, h250=90, h400=300)
    truth = escalations_at((249, 252), (399, 402))
    matching = Matching(lead_hours=0, grace_hours=0)
    split = time_split(counts, truth, at=MONDAY + 336 * HOUR, embargo=timedelta(0), **timing(matching))
    assert split.dropped.is_empty()
    whole = backtest(counts, truth, matching=matching, **SETTING)
    parts = [judged(part, matching) for part in (split.train, split.test)]
    assert sum(result.groups["exposed_hours"].sum() for result in parts) == whole.groups["exposed_hours"].sum()
    assert_frame_equal(pl.concat([result.alerts for result in parts]), whole.alerts)
    assert_frame_equal(pl.concat([result.matches for result in parts]), whole.matches)


@pytest.mark.parametrize("seed", range(8))
def test_projects_are_on_one_side_and_their_backtests_add_up_to_the_whole(seed):
    rng = np.random.default_rng(seed)
    counts = by_projects(random_counts(rng, groups=14, hours=600))
    truth = random_escalations(rng, counts, number=20)
    exposure = random_exposure(rng, counts) if seed % 2 else None
    split = project_split(counts, truth, exposure, share=[0.3, 0.5][seed % 2], seed=seed)
    sides = [set(part.counts["project_id"]) for part in (split.train, split.test)]
    assert not sides[0] & sides[1]
    assert len(sides[1]) == round([0.3, 0.5][seed % 2] * 7)
    assert split.dropped.is_empty()
    parts = [judged(part) for part in (split.train, split.test)]
    whole = backtest(counts, truth, exposure=exposure, **SETTING)
    for name in ("exposure", "crossings", "alerts", "matches", "groups"):
        both = pl.concat([getattr(result, name) for result in parts])
        assert_frame_equal(both.sort(both.columns), getattr(whole, name).sort(both.columns))


def test_the_draw_depends_on_the_seed_and_on_no_order():
    rng = np.random.default_rng(0)
    counts = by_projects(random_counts(rng, groups=40, hours=150))
    nothing = empty("Escalations")
    tests = [set(project_split(counts, nothing, seed=seed).test.counts["project_id"]) for seed in range(6)]
    assert len({frozenset(test) for test in tests}) == 6
    mixed = project_split(counts.sample(fraction=1, shuffle=True, seed=1).lazy(), nothing.lazy(), seed=2)
    assert set(mixed.test.counts["project_id"]) == tests[2]
    for share, number in ((0.001, 1), (0.999, 19)):
        assert len(set(project_split(counts, nothing, share=share).test.counts["project_id"])) == number


@pytest.mark.parametrize("seed", range(6))
def test_rolling_origins_are_time_splits_of_what_was_known_at_the_next_cut(seed):
    given_ = history(seed)
    first, step, embargo = MONDAY + 300 * HOUR, timedelta(hours=170), timedelta(hours=20)
    splits = list(
        rolling_origin(given_.counts, given_.escalations, given_.exposure, first=first, step=step, embargo=embargo)
    )
    assert len(splits) == 4
    seen = set()
    for number, split in enumerate(splits):
        at, following = first + number * step, first + (number + 1) * step
        train = time_split(given_.counts, given_.escalations, given_.exposure, at=at, embargo=embargo).train
        assert_same_part(split.train, train)
        test = hours_of(split.test)
        assert not test & seen
        seen |= test
        together = pl.concat([split.train.escalations, split.test.escalations, split.dropped])
        assert_frame_equal(together.sort(together.columns), given_.escalations.sort(together.columns))
        if number < 3:
            assert split.test.counts["hour"].max() == following - HOUR
            assert all(hour[2] + HOUR <= following - HOUR for hour in test)
            assert (split.test.escalations["escalated_at"] < following).all()
        else:
            last = time_split(given_.counts, given_.escalations, given_.exposure, at=at, embargo=embargo)
            assert_same_part(split.test, last.test)


def test_what_makes_no_sense_is_refused():
    counts, nothing, at = steady(), empty("Escalations"), MONDAY + 336 * HOUR
    for wrong in (
        lambda: time_split(counts, nothing, at=MONDAY),
        lambda: time_split(counts, nothing, at=MONDAY + 480 * HOUR),
        lambda: time_split(counts, nothing, at=at + timedelta(minutes=1)),
        lambda: time_split(counts, nothing, at=at.replace(tzinfo=None)),
        lambda: time_split(counts, nothing, at=at, embargo=-HOUR),
        lambda: time_split(counts, nothing, at=at, embargo=24),
        lambda: time_split(counts, nothing, at=at, lead_hours=-1),
        lambda: rolling_origin(counts, nothing, first=at, step=timedelta(hours=24)),
        lambda: rolling_origin(counts, nothing, first=at, step=timedelta(hours=24.5)),
        lambda: rolling_origin(counts, nothing, first=MONDAY - HOUR, step=timedelta(days=7)),
        lambda: project_split(counts, nothing, share=1),
    ):
        with pytest.raises(SettingsError):
            wrong()
    for wrong in (
        lambda: project_split(counts, nothing),
        lambda: time_split(counts.clear(), nothing, at=at),
        lambda: time_split(counts.drop("count"), nothing, at=at),
        lambda: time_split(counts, nothing, pl.DataFrame({"start": [at]}), at=at),
    ):
        with pytest.raises(FrameError):
            wrong()


def test_nothing_exposed_is_no_error():
    split = time_split(steady(), escalations_at((200, 210)), pl.DataFrame(schema=EXPOSURE), at=MONDAY + 336 * HOUR)
    assert split.train.exposure.is_empty()
    assert judged(split.train).groups.is_empty()
    # an exposure that begins where the data end, still open
    late = pl.DataFrame([(1, 7, MONDAY + 480 * HOUR, None)], schema=EXPOSURE, orient="row")
    assert time_split(steady(), escalations_at(), late, at=MONDAY + 336 * HOUR).test.exposure.is_empty()
