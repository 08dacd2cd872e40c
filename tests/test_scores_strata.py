"""Strata against loops, by hand, and in the light of law 2: nothing after the first judged hour moves a group."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from histories import COUNTS, EXPOSURE, HOUR, MONDAY, random_counts, random_escalations, random_exposure
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import issue_analytics as ia
from issue_analytics.backtest import PRODUCTION, backtest
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.frames import KEY, RULES, empty
from issue_analytics.scores.strata import AGES, STRATA, VARIATIONS, VOLUMES, mark_small, pool_small, strata

KINDS = ["volume", "variation", "age", "branch", "type"]


def hours_of(counts, group=7):
    rows = [(1, group, MONDAY + hour * HOUR, count) for hour, count in counts.items()]
    return pl.DataFrame(rows, schema=COUNTS, orient="row")


def watched(start=168, group=7):
    return pl.DataFrame([(1, group, MONDAY + start * HOUR, MONDAY + 900 * HOUR)], schema=EXPOSURE, orient="row")


def one(counts, start=168, **more):
    return strata(hours_of(counts), watched(start), empty("Limits"), **more).row(0, named=True)


def first_seen(at):
    return pl.DataFrame({"group_id": [7], "first_seen": [at]})


def slow_strata(counts, exposure, limits, seen, types):
    rows = []
    for key in sorted({(p, g) for p, g, _, _ in exposure.iter_rows()}):
        first = min(start for p, g, start, _ in exposure.iter_rows() if (p, g) == key)
        mine = {hour: count for p, g, hour, count in counts.iter_rows() if (p, g) == key and hour < first and count}
        window = [mine.get(first - back * HOUR, 0) for back in range(1, 169)]
        per_day = sum(window) / 7
        volume = VOLUMES[0] if not per_day else VOLUMES[1 + sum(per_day >= edge for edge in (1, 10, 100, 1000))]
        cv = np.std(window, ddof=1) / np.mean(window) if per_day else None
        variation = VARIATIONS[0] if cv is None else VARIATIONS[1 + (cv >= 0.8) + (cv >= 1.4)]
        began = min(mine, default=None)
        known = [at for at in (seen.get(key), began) if at is not None]
        days = (first - min(known)) / timedelta(days=1) if known else 0
        age = AGES[2] if days >= 28 else AGES[3] if seen.get(key) is None else AGES[days >= 7]
        made = [
            (as_of, rule) for p, g, date, _, rule, as_of in limits.iter_rows()
            if (p, g) == key and date == first.date() and as_of < first + HOUR
        ]  # fmt: skip
        rows.append((*key, volume, variation, age, max(made)[1] if made else "none", types.get(key)))
    return rows


@pytest.mark.parametrize("seed", range(16))
def test_strata_equal_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, groups=8, hours=int(rng.integers(500, 1000)), silences=bool(seed % 3 == 0))
    keys = counts.select(KEY).unique().sort(KEY)
    seen = {key: MONDAY + int(rng.integers(-900, 400)) * HOUR for key in keys.rows() if rng.random() < 0.5}
    types = {key: int(rng.integers(1, 4)) for key in keys.rows() if rng.random() < 0.7}
    born = pl.DataFrame([(*key, at) for key, at in seen.items()], orient="row",
                        schema={**keys.schema, "first_seen": pl.Datetime("us", "UTC")})  # fmt: skip
    kinds = pl.DataFrame([(*key, kind) for key, kind in types.items()], orient="row",
                         schema={**keys.schema, "type": pl.Int64})  # fmt: skip
    exposure = random_exposure(rng, counts) if seed % 2 else None
    result = backtest(
        counts, exposure=exposure, buckets=["sparse", "dense"][seed % 4 // 2], first_seen=born, types=kinds
    )
    expected = slow_strata(counts, result.exposure, result.limits, seen, types)
    assert result.groups.select(*KEY, *KINDS).rows() == expected


def test_the_loops_saw_every_stratum():
    found = {name: set() for name in KINDS[:4]}
    for seed in range(16):
        rng = np.random.default_rng(seed)
        counts = random_counts(rng, groups=8, hours=int(rng.integers(500, 1000)), silences=bool(seed % 3 == 0))
        exposure = random_exposure(rng, counts) if seed % 2 else None
        born = counts.group_by("group_id").agg(first_seen=pl.col("hour").min() - timedelta(days=seed)).head(3)
        result = backtest(counts, exposure=exposure, buckets=["sparse", "dense"][seed % 4 // 2], first_seen=born)
        for name, values in found.items():
            values |= set(result.groups[name].cast(pl.String))
    assert found["volume"] >= set(VOLUMES[1:-1])
    assert found["variation"] == set(VARIATIONS)
    assert found["age"] == set(AGES)
    assert found["branch"] >= {"new", "bursty", "spike", "none"}


# By hand --------------------------------------------------------------------------------------------------------------


def test_volumes_and_variations_by_hand():
    """One busy hour of 168: mean 1/168, sd 1/sqrt(168), cv sqrt(168) = 13. Every hour the same: cv 0."""
    assert one({100: 1})["variation"] == ">=1.4"
    assert one(dict.fromkeys(range(168), 10**15))["variation"] == "<0.8"
    assert (one({})["volume"], one({})["variation"]) == ("silent", "silent")
    assert one({5: 0})["volume"] == "silent"  # an observed silence is silence
    assert one({5: 6})["volume"] == "<1/day"
    assert one({5: 7})["volume"] == "1-10/day"
    assert one({5: 7000})["volume"] == ">=1000/day"
    # b of 168 hours with one event each: cv^2 = (168 - b) 168 / (167 b), 0.8 at 102.5 and 1.4 at 57.0
    for busy, variation in ((103, "<0.8"), (102, "0.8-1.4"), (57, "0.8-1.4"), (56, ">=1.4")):
        assert one(dict.fromkeys(range(busy), 1))["variation"] == variation, busy


def test_only_the_week_before_tells_volume():
    assert one({31: 10_000, 32: 7}, start=200)["volume"] == "1-10/day"
    assert one({32: 7, 200: 10_000}, start=200)["volume"] == "1-10/day"


def test_ages_by_hand():
    at = MONDAY + 700 * HOUR
    week = timedelta(days=7)
    assert one({1: 1}, 700)["age"] == ">=28 d"  # 29 days of data: whatever it was before, it is old
    assert one({100: 1}, 700)["age"] == "unknown"
    assert one({1: 0, 100: 1}, 700)["age"] == "unknown"  # a recorded silence is no sign of life
    for seen, age in (
        (at - week + HOUR, "<7 d"),
        (at - week, "7-28 d"),
        (at - 4 * week, ">=28 d"),
        (at + HOUR, "<7 d"),
    ):
        assert one({650: 1}, 700, first_seen=first_seen(seen))["age"] == age
    # counts before first_seen are counts all the same
    assert one({400: 1}, 700, first_seen=first_seen(at))["age"] == "7-28 d"
    other = first_seen(at).with_columns(group_id=pl.lit(8))
    assert one({650: 1}, 700, first_seen=other)["age"] == "unknown"


def test_the_branch_is_that_of_the_first_judged_hour():
    start = MONDAY + 168 * HOUR
    rows = [
        (1, 7, start.date(), 5, "new", start - 24 * HOUR),
        (1, 7, start.date(), 5, "spike", start + timedelta(minutes=59)),
        (1, 7, start.date(), 5, "bursty", start + HOUR),
        (1, 7, start.date() + timedelta(days=1), 5, "fallback", start),
    ]
    limits = pl.DataFrame(rows, schema=empty("Limits").schema, orient="row")
    assert strata(hours_of({1: 1}), watched(), limits)["branch"].item() == "spike"
    assert strata(hours_of({1: 1}), watched(), limits[[0, 2, 3]])["branch"].item() == "new"
    assert strata(hours_of({1: 1}), watched(), limits[2:])["branch"].item() == "none"


def test_of_several_types_the_lowest_counts():
    types = pl.DataFrame({"project_id": 1, "group_id": [7, 7, 8], "type": [1006, 1, 3]})
    assert one({1: 1}, types=types)["type"] == 1
    assert one({1: 1}, types=types.tail(1))["type"] is None


def test_columns_are_enumerations_in_order():
    kinds = strata(hours_of({1: 1}), watched(), empty("Limits"))
    assert kinds.columns == [*KEY, *KINDS]
    names = {"volume": VOLUMES, "variation": VARIATIONS, "age": AGES, "branch": RULES}
    assert {name: kinds.schema[name] for name in names} == {name: pl.Enum(values) for name, values in names.items()}
    assert kinds.schema["type"] == pl.Int64
    nothing = strata(empty("HourlyCounts"), empty("Exposure"), empty("Limits"))
    assert_frame_equal(nothing, kinds.clear())


def test_wrong_frames_are_refused():
    with pytest.raises(FrameError, match="types: no column type"):
        one({1: 1}, types=pl.DataFrame({"project_id": [1], "group_id": [7]}))
    with pytest.raises(FrameError, match="first_seen"):
        one({1: 1}, first_seen=pl.DataFrame({"group_id": [7]}))


# Law 2 ----------------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), buckets=st.sampled_from(["sparse", "dense"]))
def test_no_count_after_the_first_judged_hour_changes_a_stratum(seed, buckets):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, groups=6, hours=460)
    exposure = random_exposure(rng, counts)
    born = counts.group_by(KEY).agg(first_seen=pl.col("hour").min() - timedelta(days=5))
    result = backtest(counts, exposure=exposure, buckets=buckets, first_seen=born)
    if result.groups.is_empty():
        return
    first = result.exposure.group_by(KEY).agg(first=pl.col("start").min())
    marked = counts.join(first, on=KEY, how="left")
    later = pl.col("hour") >= pl.col("first")
    other = pl.Series("other", rng.choice([0, 1, 50, 10**9], counts.height))
    changed = marked.with_columns(count=pl.when(later).then(other).otherwise("count")).drop("first")
    again = backtest(changed, exposure=exposure, buckets=buckets, first_seen=born)
    assert_frame_equal(result.groups.select(*KEY, *KINDS), again.groups.select(*KEY, *KINDS))


def test_one_leaked_hour_would_be_seen():
    """The first judged hour itself is the future of its strata."""
    calm, busy = one({100: 1, 168: 10_000}), one({100: 1, 167: 10_000})
    assert (calm["volume"], busy["volume"]) == ("<1/day", ">=1000/day")


# In a result ----------------------------------------------------------------------------------------------------------


def test_results_can_be_summed_up_by_every_stratum():
    rng = np.random.default_rng(3)
    counts = random_counts(rng, groups=10, hours=600)
    types = counts.select(KEY).unique(maintain_order=True).with_columns(type=pl.col("group_id") % 3 + 1)
    result = backtest(counts, random_escalations(rng, counts, number=15), types=types)
    whole = result.summary().row(0, named=True)
    for name in STRATA:
        by = result.summary_by(name)
        assert by[name].to_list() == sorted(result.groups[name].unique(), key=by[name].to_list().index)
        for total in ("groups", "alerts", "events", "events_caught", "false_alarms"):
            assert by[total].sum() == whole[total]


def test_a_replay_has_strata_too():
    sim = ia.simulate(groups=60, days=28, seed=2)
    occurrences = sim.occurrences
    result = backtest(sim.hourly_counts, sim.escalations, status_changes=sim.status_changes, occurrences=occurrences,
                      policy=PRODUCTION)  # fmt: skip
    assert result.groups.height > 10
    kinds = occurrences.group_by(KEY).agg(pl.col("type").min())
    assert (
        result.groups["type"].to_list()
        == result.groups.select(KEY).join(kinds, on=KEY, how="left", maintain_order="left")["type"].to_list()
    )
    assert result.groups["type"].n_unique() > 1
    # a limit is made on archive: all but those that were silent have a branch
    branches = result.groups["branch"].value_counts().rows()
    assert dict(branches).get("none", 0) < result.groups.height / 2


# Small strata ---------------------------------------------------------------------------------------------------------


def test_small_strata_are_pooled_before_they_are_scored():
    rng = np.random.default_rng(5)
    counts = random_counts(rng, groups=12, hours=600)
    types = counts.select(KEY).unique().with_columns(type=pl.col("group_id"))
    result = backtest(counts, random_escalations(rng, counts, number=25), types=types)
    sizes = result.groups.group_by("type").agg(pl.col("events").sum())
    least = sorted(sizes["events"])[3]
    pooled = replace(result, groups=pool_small(result.groups, "type", events=least)).summary_by("type")
    small = sizes.filter(pl.col("events") < least)
    assert small.height > 1
    assert pooled["type"].to_list()[-1] == "other"
    assert pooled["events"].sum() == result.summary()["events"].item()
    assert pooled["events"][-1] == small["events"].sum()
    in_pool = result.groups.join(small, on="type", how="semi")
    assert pooled.row(-1, named=True)["recall"] == pytest.approx(
        in_pool["events_caught"].sum() / in_pool["events"].sum() if in_pool["events"].sum() else None
    )
    assert mark_small(pooled, events=least)["too_few"].to_list() == [n < least for n in pooled["events"]]


def test_pooling_keeps_orders_and_nulls():
    groups = pl.DataFrame({"events": [10, 1, 2, 30], "volume": pl.Series(["silent", "<1/day", "1-10/day", "10-100/day"],
                           dtype=pl.Enum(VOLUMES)), "type": [5, None, 7, None]})  # fmt: skip
    assert pool_small(groups, "volume")["volume"].dtype == pl.Enum(["silent", "10-100/day", "other"])
    assert pool_small(groups, "volume")["volume"].to_list() == ["silent", "other", "other", "10-100/day"]
    assert pool_small(groups, "type")["type"].to_list() == ["5", None, "7", None]  # one alone: nothing to pool
    assert pool_small(groups, "type", events=32)["type"].to_list() == ["other"] * 4
    assert pool_small(groups, "type", events=0)["type"].to_list() == ["5", None, "7", None]
    assert pool_small(groups.clear(), "type").is_empty()
    with pytest.raises(SettingsError, match="no column colour"):
        pool_small(groups, "colour")
