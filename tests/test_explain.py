"""An explanation agrees with the forecast, its values are exact to the last double, and its reasons are true."""

import itertools
import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from histories import ESCALATIONS, EXPOSURE, HOUR, MONDAY, random_counts, random_escalations
from hypothesis import given, settings
from hypothesis import strategies as st

import issue_analytics as ia
from issue_analytics.explain.flips import VARIABLES, distance
from issue_analytics.formula import limit_of_one
from issue_analytics.frames import empty

DAY = timedelta(days=1)
AS_OF = MONDAY + 7 * DAY
PARTNER = {f"{a}_{kind}_multiplier": f"{b}_{kind}_multiplier" for kind in ("spike", "bursty") for a, b in
           (("min", "max"), ("max", "min"))}  # fmt: skip


def history(week, *, hour=200, count=0, start=MONDAY, key=(1, 7), also=()):
    """A week of counts, and one hour later on."""
    rows = [(*key, start + place * HOUR, value) for place, value in enumerate(week) if value]
    rows += [(*key, start + hour * HOUR, count)]
    rows += [(*key, start + place * HOUR, value) for place, value in also]
    return pl.DataFrame(rows, schema=empty("HourlyCounts").schema, orient="row")


def escalated(*spans, key=(1, 7)):
    return pl.DataFrame([(*key, start, end, "human") for start, end in spans], schema=ESCALATIONS, orient="row")


def over(week, day, thresholds, count, constants=ia.PUBLISHED, *, new=False):
    """By the definition alone: whether a count fires."""
    weekdays = [(MONDAY + place * HOUR).weekday() for place in range(len(week))]
    limit, _ = limit_of_one(week, weekdays, day, thresholds, constants, new=new)
    return limit is not None and 0 < limit < count


multipliers = st.one_of(
    st.sampled_from([0, 1, 2, 5, 8, 1000]), st.floats(0, 12, allow_subnormal=False), st.floats(0, 1000)
)


@st.composite
def settings_of(draw):
    spike, bursty = (sorted(draw(st.tuples(multipliers, multipliers))) for _ in range(2))
    return ia.ThresholdVariables(draw(multipliers), *spike, *bursty)


@st.composite
def weeks(draw):
    """Steady, bursty, rare, and constant weeks."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["steady", "bursts", "rare", "constant", "huge"]))
    if kind == "constant":
        return [draw(st.integers(1, 50))] * 168
    week = rng.poisson({"steady": 40, "bursts": 3, "rare": 0.05, "huge": 10**6}[kind], size=168)
    if kind != "steady":
        week[rng.integers(0, 168, size=3)] += rng.integers(1, 90, size=3)
    return week.tolist()


# ---- it agrees with what it explains ---- #


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**32), settings_of(), st.sampled_from(["sparse", "dense"]), st.booleans(), st.integers(0, 23),
    st.integers(1, 15),
)  # fmt: skip
def test_it_agrees_with_forecast_and_detect(seed, thresholds, buckets, ages, made, days):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, hours=700, silences=bool(seed % 2))
    first_seen = None
    if ages:
        first_seen = counts.group_by("project_id", "group_id").agg(first_seen=pl.col("hour").min())
    options = {"thresholds": thresholds, "buckets": buckets, "first_seen": first_seen}
    as_of = [MONDAY + (200 + made) * HOUR, MONDAY + 400 * HOUR]
    limits = pl.concat([ia.forecast(counts, moment, days=days, **options) for moment in as_of])
    fired = set(ia.detect(counts, limits, crossings="all").select("project_id", "group_id", "hour").rows())
    midnight = AS_OF + 6 * DAY
    daily = ia.forecast(counts, midnight, days=1, **options)
    busiest = counts.sort("count", descending=True).group_by("project_id", "group_id").head(5).rows()
    for project, group, *_ in counts.select("project_id", "group_id").unique().rows():
        hours = {hour for p, g, hour, _ in busiest if (p, g) == (project, group)}
        for hour in sorted(hours | {as_of[0], as_of[0] - HOUR, as_of[1], midnight + 5 * HOUR}):
            found = ia.explain(counts, group, hour, project_id=project, limits=limits, missed=True, **options)
            assert found.fires == ((project, group, hour) in fired)
            mine = limits.filter(
                pl.col("as_of") <= hour, project_id=project, group_id=group, date=hour.date()
            ).sort("as_of").tail(1)  # fmt: skip
            theirs = mine.select("limit", "rule", "as_of").rows() or [(None, "none", None)]
            assert (found.limit, found.rule, found.as_of) == theirs[0]
            assert found.fires or found.reasons
            check_page(found)
        found = ia.explain(counts, group, midnight + 5 * HOUR, project_id=project, **options)
        row = daily.filter(project_id=project, group_id=group).select("limit", "rule").rows() or [(None, "none")]
        assert ((found.limit, found.rule), found.as_of) == (row[0], midnight)


def check_page(found):
    page = found.text()
    assert max(map(len, page.splitlines())) <= 80, page
    json.dumps(found.to_dict(), allow_nan=False)
    assert "\t" not in page
    return page


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("policy", [
    ia.Policy(), ia.Policy(every="6h"), ia.Policy(every="7d", offset="30h"), ia.Policy(every="3d", hold_days=2)
])  # fmt: skip
def test_it_agrees_with_the_backtest(seed, policy):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, hours=800)
    escalations = random_escalations(rng, counts, number=12)
    buckets = ("sparse", "dense")[seed % 2]
    first_seen = counts.group_by("project_id", "group_id").agg(first_seen=pl.col("hour").min())
    result = ia.backtest(counts, escalations, policy=policy, buckets=buckets, first_seen=first_seen)
    for row in result.matches.iter_rows(named=True):
        key = {name: row[name] for name in ("project_id", "group_id")}
        found = result.explain(row["group_id"], row["escalated_at"], project_id=row["project_id"])
        assert (found.count, found.limit, found.rule) == (row["peak"], row["limit"], row["rule"])
        assert found.hour == (row["peak_hour"] or row["escalated_at"].replace(minute=0))
        assert found.fires == (not result.crossings.filter(**key, hour=found.hour).is_empty())
        assert found.fires or found.reasons
    for row in result.crossings.head(40).iter_rows(named=True):
        found = result.explain(row["group_id"], row["hour"] + 59 * timedelta(minutes=1), project_id=row["project_id"])
        assert found.fires
        assert (found.hour, found.limit, found.rule) == (row["hour"], row["limit"], row["rule"])
        assert found.reasons == ()


@pytest.mark.parametrize("policy", [ia.PRODUCTION, ia.PRODUCTION_2023, replace(ia.PRODUCTION, rearchive="0h")])
@pytest.mark.parametrize("buckets", ["sparse", "dense"])
def test_it_agrees_with_a_replay(policy, buckets):
    """Limits made on archive, within hours; fallbacks; limits of the 15th day."""
    sim = ia.simulate(groups=100, days=42, seed=4)
    result = ia.backtest(
        sim.hourly_counts, sim.escalations, policy=policy, buckets=buckets, status_changes=sim.status_changes
    )
    for row in result.crossings.iter_rows(named=True):
        found = result.explain(row["group_id"], row["hour"], project_id=row["project_id"])
        assert (found.limit, found.rule, found.fires) == (row["limit"], row["rule"], True)
    for row in result.matches.iter_rows(named=True):
        found = result.explain(row["group_id"], row["escalated_at"], project_id=row["project_id"])
        assert found.count == row["peak"]
        if row["limit"] is not None and not found.fires:
            assert (found.limit, found.rule) == (row["limit"], row["rule"])
            assert found.reasons
    limits = result.limits.with_columns(ahead=(pl.col("date") - pl.col("as_of").dt.date()).dt.total_days())
    within = limits.filter(pl.col("as_of") != pl.col("as_of").dt.truncate("1h"), pl.col("rule") != "fallback")
    parts = [limits.filter(rule="fallback"), limits.filter(pl.col("ahead") >= 13), within, limits]
    assert min(part.height for part in parts) > 0
    for row in pl.concat(part.sort("limit", "as_of").gather_every(part.height // 12 + 1) for part in parts).iter_rows(
        named=True
    ):
        end = datetime(row["date"].year, row["date"].month, row["date"].day, 23, tzinfo=UTC)
        at = max(row["as_of"], min(end, row["as_of"] + DAY)) if row["ahead"] == 0 else end
        last = limits.filter(
            pl.col("as_of") <= at, **{name: row[name] for name in ("project_id", "group_id", "date")}
        ).sort("as_of").row(-1, named=True)  # fmt: skip
        found = result.explain(row["group_id"], at, project_id=row["project_id"])
        assert (found.limit, found.rule, found.as_of) == (last["limit"], last["rule"], last["as_of"])
        check_page(found)


def archived(at):
    schema = {"project_id": pl.Int64, "group_id": pl.Int64, "at": pl.Datetime("us", "UTC"), "kind": pl.String,
              "cause": pl.String, "forecast": pl.Int64, "source": pl.String}  # fmt: skip
    return pl.DataFrame([(1, 7, at, "archived_until_escalating", None, None, "activity")], schema=schema, orient="row")


def occurred(*spans):
    moments = [at for at, number in spans for _ in range(number)]
    schema = {"project_id": pl.Int64, "group_id": pl.Int64, "detected_at": pl.Datetime("us", "UTC"), "type": pl.Int64}
    return pl.DataFrame([(1, 7, at, 1) for at in moments], schema=schema, orient="row")


def test_a_limit_made_within_the_hour_it_fired_in():
    counts = history([3] * 168, hour=268, count=100, also=[(place, 3) for place in range(168, 268)])
    middle = MONDAY + 268 * HOUR + timedelta(minutes=30)
    result = ia.backtest(
        counts, policy=ia.PRODUCTION, status_changes=archived(middle), buckets="dense",
        occurrences=occurred((middle + timedelta(minutes=9), 100)),
    )  # fmt: skip
    assert result.crossings.select("hour", "limit").rows() == [(MONDAY + 268 * HOUR, 18)]
    found = result.explain(7, MONDAY + 268 * HOUR)
    assert (found.fires, found.limit, found.as_of) == (True, 18, middle)
    assert found.week.end == MONDAY + 268 * HOUR
    assert "(within the hour)" in check_page(found)
    assert ia.explain(counts, 7, middle - timedelta(minutes=1), limits=result.limits, buckets="dense").limit is None


def test_the_last_limit_of_a_stored_forecast_serves_the_day_after():
    """It weighs the weekday of its own day, not that of the hour."""
    week = [40 + 6 * (place // 24) for place in range(168)]
    at = MONDAY + 21 * DAY
    result = ia.backtest(
        history(week, hour=504, count=900), policy=replace(ia.PRODUCTION, seen_days=1, fallback=None), buckets="dense",
        status_changes=archived(AS_OF + timedelta(minutes=10)), occurrences=occurred((at + timedelta(minutes=5), 900)),
    )  # fmt: skip
    [limit] = result.crossings.filter(hour=at)["limit"]
    own = ia.forecast(history(week), AS_OF, days=15, buckets="dense")["limit"]
    assert limit == own[13] != own[14]
    assert result.explain(7, at).limit == limit


def test_a_group_is_young_for_168_hours_to_the_hour():
    counts = history([3] * 400, hour=410, count=9)
    at = MONDAY + 340 * HOUR
    for late, rule in ((0, "spike"), (1, "new")):
        seen = pl.DataFrame({"group_id": [7], "first_seen": [AS_OF + late * timedelta(microseconds=1)]})
        assert ia.explain(counts, 7, at, buckets="dense", first_seen=seen).rule == rule


# ---- what each variable would have to be ---- #


def moved(thresholds, name, value):
    """The setting with a variable moved, and its partner taken along where it must be."""
    values = thresholds.to_dict() | {name: value}
    partner = PARTNER.get(name)
    if partner is not None:
        low, high = (name, partner) if name.startswith("min") else (partner, name)
        if values[low] > values[high]:
            values[partner] = value
    return ia.ThresholdVariables(**values)


@settings(max_examples=150, deadline=None)
@given(weeks(), settings_of(), st.integers(0, 6), st.data())
def test_values_that_flip_the_answer_are_exact(week, thresholds, day, data):
    """By the definition: the other answer at the value and at both ends, the old answer on the double before."""
    weekdays = [(MONDAY + place * HOUR).weekday() for place in range(168)]
    limit, _ = limit_of_one(week, weekdays, day, thresholds, ia.PUBLISHED, new=False)
    near = st.integers(max(1, (limit or 0) - 2), min((limit or 0) + 2, 10**15))
    count = data.draw(st.one_of(near, st.integers(1, 300), st.integers(1, 3)))
    hour = MONDAY + 7 * DAY + day * DAY
    counts = history(week, hour=168 + 24 * day, count=count)
    options = {"thresholds": thresholds, "buckets": "dense"}
    found = ia.explain(counts, 7, hour, limits=made(counts, AS_OF, **options), **options)
    fires = over(week, day, thresholds, count)
    assert found.fires == fires
    assert [flip.variable for flip in found.flips] == list(VARIABLES)
    for flip in found.flips:
        name, value = flip.variable, getattr(thresholds, flip.variable)
        assert flip.value == value
        if flip.at is None:
            others = data.draw(st.lists(multipliers, min_size=3, max_size=3))
            for other in (0, 1000, *others):
                assert over(week, day, moved(thresholds, name, other), count) == fires
            assert flip.together is None
            continue
        for other in (flip.at, flip.low, flip.high):
            assert over(week, day, moved(thresholds, name, other), count) != fires
        assert flip.at in (flip.low, flip.high)
        before = math.nextafter(flip.at, value)
        assert over(week, day, moved(thresholds, name, before), count) == fires
        for other in (math.nextafter(flip.low, -1), math.nextafter(flip.high, 2000)):
            if 0 <= other <= 1000:
                assert over(week, day, moved(thresholds, name, other), count) == fires
        along = {
            key for key, new in moved(thresholds, name, flip.at).to_dict().items() if new != getattr(thresholds, key)
        }
        assert along == {name} | ({flip.together} if flip.together else set())
    check_page(found)


def made(counts, as_of, **options):
    return ia.forecast(counts, as_of, days=7, **options)


@settings(max_examples=150, deadline=None)
@given(weeks(), settings_of(), st.integers(0, 2**32), st.data())
def test_no_setting_that_flips_the_answer_lies_nearer(week, thresholds, seed, data):
    """Against settings drawn around it, and all combinations of the values at which anything changes."""
    count = data.draw(st.one_of(st.integers(0, 300), st.integers(1, 3), st.integers(10**6, 9 * 10**6)))
    counts = history(week, hour=168, count=count)
    found = ia.explain(counts, 7, AS_OF, thresholds=thresholds, buckets="dense")
    if not any(week):
        assert found.nearest is None
        return
    fires = over(week, 0, thresholds, count)
    if found.nearest is not None:
        assert over(week, 0, found.nearest, count) != fires
        assert found.distance == distance(thresholds, found.nearest)
    rng = np.random.default_rng(seed)
    values = list(thresholds.to_dict().values())
    random = np.expm1(np.log1p(values) + rng.normal(0, rng.choice([0.01, 0.2, 1, 3]), (60, 5)))
    one = [[value, *(end for end in (flip.at, flip.low, flip.high) if end is not None)]
           for value, flip in zip(values, found.flips, strict=True)]  # fmt: skip
    ends = list(itertools.product(*(sorted(set(some)) for some in one)))
    rng.shuffle(ends)
    alone = [moved(thresholds, flip.variable, flip.at) for flip in found.flips if flip.at is not None]
    others = [
        ia.ThresholdVariables(std, *sorted(spike), *sorted(bursty))
        for std, *rest in (np.clip(row, 0, 1000).tolist() for row in [*random, *ends[:60]])
        for spike, bursty in [(rest[:2], rest[2:])]
    ]
    for other in (*others, *alone):
        if over(week, 0, other, count) != fires:
            assert found.nearest is not None
            assert found.distance <= distance(thresholds, other) + 1e-12


@pytest.mark.parametrize(("week", "thresholds", "count", "moved"), [
    # a decay of 5 that is cut to 3: the maximum alone raises it
    ([10] * 168, (0, 0, 0, 0, 3), 35, {"max_bursty_multiplier": 3.5}),
    # below the decay a minimum alone does nothing; above it, it is all there is
    ([10] * 168, (0, 0, 0, 2, 9), 55, {"min_bursty_multiplier": 5.5}),
    # two events in one hour of a week: nothing is nearer than a limit of 0, which never fires
    ([0] * 100 + [2] + [0] * 67, (0, 0, 0, 2, 2), 900, {"min_bursty_multiplier": 0.5}),
])  # fmt: skip
def test_the_nearest_setting_by_hand(week, thresholds, count, moved):
    one = ia.ThresholdVariables(*thresholds)
    found = ia.explain(history(week, hour=180, count=count), 7, MONDAY + 180 * HOUR, thresholds=one, buckets="dense")
    assert found.fires
    assert found.nearest.to_dict() == pytest.approx(one.to_dict() | moved, rel=1e-12)
    zero = "its limit is 0, which never fires" in " ".join(check_page(found).split())
    assert zero == (count == 900)


def test_a_worked_example():
    """By hand: 168 points of 10 but one of 20 on the day before, looked at on Monday."""
    week = [10] * 168
    week[150] = 20
    found = ia.explain(history(week, hour=168 + 9, count=70), 7, AS_OF + 9 * HOUR, missed=True)
    mean = 1690 / 168
    deviation = math.sqrt((167 * 10**2 + 20**2 - 1690**2 / 168) / 167)
    assert found.terms.mean == pytest.approx(mean)
    assert found.terms.deviation == pytest.approx(deviation)
    assert found.terms.weighted == pytest.approx((1690 + 240) / 192)
    decay = 5 * math.exp(-0.65 * deviation / mean)
    assert found.terms.bursty.value == pytest.approx(20 * decay)
    assert (found.terms.bursty.bound, found.terms.spike.bound) == (None, "min_spike_multiplier")
    assert found.terms.spike.value == pytest.approx(1930 / 192 + 5 * mean)
    assert (found.limit, found.rule) == (int(20 * decay), "bursty") == (95, "bursty")
    assert (found.week.points, found.week.busiest, found.week.busiest_at) == (168, 20, MONDAY + 150 * HOUR)
    flips = {flip.variable: flip for flip in found.flips}
    assert flips["max_bursty_multiplier"].at == math.nextafter(3.5, 0)
    assert [name for name, flip in flips.items() if flip.at is not None] == ["max_bursty_multiplier"]
    assert found.nearest == replace(ia.STANDARD, max_bursty_multiplier=flips["max_bursty_multiplier"].at)
    page = check_page(found)
    assert "max_bursty_multiplier       5  3.4999 or less\n" in page
    assert "bursty  95.14 = busiest 20 x 4.757\n" in page
    assert "Does not fire: 70 is not over it; 96 would be. Branch bursty, made Mon" in page


def test_bounds_that_have_to_move_together_are_said_so():
    week = [10] * 168
    low = ia.ThresholdVariables(0, 0, 0, 2, 5)
    found = ia.explain(history(week, hour=180, count=15), 7, MONDAY + 180 * HOUR, thresholds=low)
    assert (found.limit, found.rule) == (50, "bursty")
    flips = {flip.variable: flip for flip in found.flips}
    assert flips["max_bursty_multiplier"].together == "min_bursty_multiplier"
    assert flips["min_bursty_multiplier"].at is None
    low = flips["max_bursty_multiplier"].at
    assert found.nearest == ia.ThresholdVariables(0, 0, 0, low, low)
    assert "1.4999 or less, with min_bursty_multiplier" in check_page(found)


# ---- why it did not fire ---- #


def kinds(found):
    return [reason.kind for reason in found.reasons]


def of(found, kind):
    [reason] = [reason for reason in found.reasons if reason.kind == kind]
    return reason


def test_branch_new():
    week = [3] * 168
    week[5] = 0
    counts = history(week, hour=180, count=25)
    found = ia.explain(counts, 7, MONDAY + 180 * HOUR, missed=True)
    assert (found.limit, found.rule, found.fires) == (30, "new", False)
    assert kinds(found) == ["new"]
    new = of(found, "new")
    assert "only 167 of the 168 hours" in new.text
    assert (new.limit, new.fires) == (17, True)
    dense = ia.explain(counts, 7, MONDAY + 180 * HOUR, buckets="dense")
    assert (new.limit, new.fires) == (dense.limit, dense.fires)
    assert found.nearest is None
    assert "All five variables are inert" in check_page(found)
    # young when dense
    seen = pl.DataFrame({"group_id": [7], "first_seen": [MONDAY + 5 * HOUR]})
    young = ia.explain(counts, 7, MONDAY + 180 * HOUR, buckets="dense", first_seen=seen, missed=True)
    assert (young.rule, young.limit) == ("new", 30)
    assert "first seen less than 168 hours before" in of(young, "new").text


def test_a_labelled_escalation_in_the_window():
    week = [3] * 168
    week[50:54] = [40, 60, 50, 8]
    counts = history(week, hour=180, count=90)
    known = escalated(
        (MONDAY + 50 * HOUR, MONDAY + 54 * HOUR), (MONDAY + 180 * HOUR + timedelta(minutes=9), MONDAY + 182 * HOUR)
    )
    found = ia.explain(counts, 7, MONDAY + 180 * HOUR, escalations=known)
    assert found.limit == 120
    reason = of(found, "contaminated")
    assert "4 hours of the escalation of Wed 2026-01-07 02:00" in reason.text
    assert (reason.limit, reason.fires) == (18, True)
    assert found.reasons[0] == reason
    clean = ia.explain(history([3] * 168, hour=180, count=90), 7, MONDAY + 180 * HOUR)
    assert clean.limit == reason.limit
    # nobody labelled it: it stands out all the same, and needs no label
    alone = of(ia.explain(counts, 7, MONDAY + 180 * HOUR, missed=True), "contaminated")
    assert "3 hours far above the rest" in alone.text
    assert "the busiest with 60 at Wed 2026-01-07 03:00" in alone.text
    assert alone.fires
    # an escalation of another group, or one after the limit was made, is none
    other = escalated((MONDAY + 50 * HOUR, MONDAY + 54 * HOUR), key=(1, 8))
    later = escalated((MONDAY + 180 * HOUR, None))
    for labels in (other, later):
        found = ia.explain(counts, 7, MONDAY + 180 * HOUR, escalations=labels, missed=True)
        assert "escalation" not in of(found, "contaminated").text


def test_a_week_without_outstanding_hours_is_not_contaminated():
    found = ia.explain(history([3, 4, 5, 6] * 42, hour=180, count=20), 7, MONDAY + 180 * HOUR, missed=True)
    assert not found.fires
    assert "contaminated" not in kinds(found)
    # busier than the rest, yet within the limit that the rest makes
    week = [10] * 168
    week[20:25] = [25] * 5
    found = ia.explain(history(week, hour=180, count=65), 7, MONDAY + 180 * HOUR, missed=True)
    assert kinds(found) == ["bursty"]


def test_an_escalation_that_had_begun_before_its_limit_was_made():
    week = [3] * 168
    week[160:] = [50] * 8
    known = escalated((MONDAY + 160 * HOUR, MONDAY + 175 * HOUR))
    counts = history(week, hour=170, count=95)
    found = ia.explain(counts, 7, MONDAY + 170 * HOUR, escalations=known)
    assert "this escalation itself" in of(found, "contaminated").text
    assert of(found, "contaminated").fires
    # its start stands for its busiest hour
    assert ia.explain(counts, 7, MONDAY + 160 * HOUR, escalations=known).hour == MONDAY + 170 * HOUR
    assert ia.explain(counts, 7, MONDAY + 161 * HOUR, escalations=known).hour == MONDAY + 161 * HOUR
    span = pl.DataFrame([(1, 7, MONDAY + 160 * HOUR, MONDAY + 163 * HOUR)], schema=EXPOSURE, orient="row")
    found = ia.explain(counts, 7, MONDAY + 160 * HOUR, escalations=known, exposure=span)
    assert found.hour == MONDAY + 160 * HOUR  # the first of three equal ones
    elsewhere = pl.DataFrame([(1, 7, MONDAY, MONDAY + HOUR)], schema=EXPOSURE, orient="row")
    found = ia.explain(counts, 7, MONDAY + 160 * HOUR, escalations=known, exposure=elsewhere)
    assert found.hour == MONDAY + 170 * HOUR
    assert "not_judged" in kinds(found)


def test_quiet_hours_of_a_labelled_escalation_stay_as_they_are():
    week = [9] * 60 + [3] * 58 + [50] + [0] * 49
    known = escalated((MONDAY + 118 * HOUR, MONDAY + 168 * HOUR))
    counts = history(week, hour=180, count=80)
    found = ia.explain(counts, 7, MONDAY + 180 * HOUR, escalations=known, missed=True, buckets="dense")
    week[118] = 9  # the median of the others
    same = ia.forecast(history(week), AS_OF, days=1, buckets="dense")["limit"].item()
    assert of(found, "contaminated").limit == same


def test_a_silent_week():
    counts = history([4] * 24, hour=400, count=90)
    found = ia.explain(counts, 7, MONDAY + 400 * HOUR, missed=True, buckets="dense")
    assert (found.limit, found.rule) == (None, "none")
    assert kinds(found) == ["silent"]
    assert "its last occurrence was 15 days before, at Mon 2026-01-05 23:00" in of(found, "silent").text
    assert "It would be none either" in of(found, "silent").text or "would be none either" in of(found, "silent").text
    assert "without a limit nothing fires" in check_page(found)
    unseen = ia.explain(history([], hour=5, count=90), 7, MONDAY + 5 * HOUR, missed=True)
    assert "it had no occurrence yet" in of(unseen, "silent").text
    waking = ia.explain(history([4] * 24, hour=401, count=90, also=[(400, 2)]), 7, MONDAY + 401 * HOUR, missed=True)
    assert (of(waking, "silent").limit, of(waking, "silent").fires) == (20, True)


def test_a_stale_limit():
    week = [30] * 168 + [2] * 168
    counts = history(week, hour=336 + 5, count=80, also=[(336 + back, 2) for back in range(5)])
    limits = ia.forecast(counts, AS_OF, days=14)
    at = MONDAY + (336 + 5) * HOUR
    found = ia.explain(counts, 7, at, limits=limits, missed=True)
    assert (found.limit, found.as_of) == (180, AS_OF)
    stale = of(found, "stale")
    assert "made 7.2 days before" in stale.text
    assert (stale.limit, stale.fires) == (12, True)
    fresh = ia.explain(counts, 7, at, limits=ia.forecast(counts, at))
    assert (fresh.limit, fresh.fires) == (stale.limit, True)
    assert "stale" not in kinds(ia.explain(counts, 7, at + HOUR, missed=True))
    lapsed = ia.explain(counts, 7, at, limits=limits.filter(pl.col("date") < at.date()), missed=True)
    assert (lapsed.limit, lapsed.rule, lapsed.as_of, kinds(lapsed)) == (None, "none", None, ["no_limit"])
    assert of(lapsed, "no_limit").fires
    check_page(lapsed)


def test_the_half_that_keeps_an_hour_from_firing_and_its_bound():
    week = [4] * 168
    week[::12] = [40] * 14
    found = ia.explain(history(week, hour=180, count=80), 7, MONDAY + 180 * HOUR, missed=True)
    assert (found.limit, found.rule) == (80, "bursty")
    bursty = of(found, "bursty")
    assert "never less than min_bursty_multiplier 2 x the busiest hour, 40 at Mon 2026-01-05 00:00" in bursty.text
    assert bursty.fires
    assert bursty.limit == int(found.terms.spike.value) < 80
    steady = ia.explain(history([10] * 168, hour=180, count=49), 7, MONDAY + 180 * HOUR, missed=True)
    assert kinds(steady) == ["bursty", "spike"]
    assert "the decay at a cv of 0 asks for 5 x" in of(steady, "bursty").text
    assert "never less than the weighted mean and min_spike_multiplier 5 x the mean" in of(steady, "spike").text
    assert not of(steady, "spike").fires
    assert "the other half, 50, did so too" in of(steady, "spike").text
    rare = [0] * 168
    rare[20] = 2
    found = ia.explain(history(rare, hour=180, count=4), 7, MONDAY + 180 * HOUR, buckets="dense", missed=True)
    assert (found.limit, int(found.terms.spike.value)) == (4, 0)
    assert not of(found, "bursty").fires
    assert of(found, "bursty").text.endswith("the other half alone would make a limit of 0, which never fires.")


def test_an_hour_nobody_looked_at():
    counts = history([3] * 168, hour=180, count=90)
    span = pl.DataFrame([(1, 7, MONDAY, MONDAY + 180 * HOUR)], schema=EXPOSURE, orient="row")
    quiet = ia.explain(counts, 7, MONDAY + 179 * HOUR, exposure=span, missed=True)
    assert kinds(quiet)[0] == "no_occurrence"
    assert "not_judged" not in kinds(quiet)
    quiet = ia.explain(counts, 7, MONDAY + 181 * HOUR, exposure=span, missed=True)
    assert "not_judged" in kinds(quiet)


def test_reasons_are_given_for_misses_only():
    counts = history([3] * 168, hour=180, count=90)
    assert ia.explain(counts, 7, MONDAY + 180 * HOUR, missed=True).reasons == ()
    quiet = ia.explain(counts, 7, MONDAY + 190 * HOUR)
    assert (quiet.reasons, quiet.escalation) == ((), None)
    start = MONDAY + 190 * HOUR + timedelta(minutes=30)
    within = ia.explain(counts, 7, start - timedelta(minutes=20), escalations=escalated((start, None)))
    assert within.escalation == (start, None)
    assert kinds(within)[0] == "no_occurrence"
    assert "to an unknown end" in check_page(within)


def test_a_limit_of_zero_never_fires_and_what_would():
    week = [0] * 168
    week[3] = 1
    nothing = ia.ThresholdVariables(0, 0, 0, 0, 0)
    found = ia.explain(history(week, hour=180, count=9), 7, MONDAY + 180 * HOUR, thresholds=nothing, buckets="dense",
                       missed=True)  # fmt: skip
    assert (found.limit, found.fires, kinds(found)) == (0, False, ["zero_limit"])
    assert found.nearest is not None
    assert over(week, 0, found.nearest, 9)
    assert "a limit of 0 never fires" in check_page(found)


# ---- what it refuses, and what it is ---- #


def test_what_makes_no_sense_is_refused():
    counts = history([3] * 168, hour=180, count=90)
    at = MONDAY + 180 * HOUR
    with pytest.raises(ia.SettingsError, match="time zone"):
        ia.explain(counts, 7, at.replace(tzinfo=None))
    with pytest.raises(ia.SettingsError, match="expected a datetime"):
        ia.explain(counts, 7, date(2026, 1, 5))
    with pytest.raises(ia.SettingsError, match="group 8: the counts do not know it"):
        ia.explain(counts, 8, at)
    with pytest.raises(ia.SettingsError, match="group 7 of project 2"):
        ia.explain(counts, 7, at, project_id=2)
    with pytest.raises(ia.SettingsError, match="expected a whole number, got '7'"):
        ia.explain(counts, "7", at)
    twins = pl.concat([counts, history([1], key=(2, 7))])
    with pytest.raises(ia.SettingsError, match="stands in projects 1, 2; say which with project_id="):
        ia.explain(twins, 7, at)
    assert ia.explain(twins, 7, at, project_id=1).limit == 18
    with pytest.raises(ia.SettingsError, match="stands in projects 1, 3"):
        ia.explain(counts, 7, at, escalations=escalated((at, None), key=(3, 7)))
    bare = ia.explain(counts, 8, at, escalations=escalated((at, None), key=(3, 8)))
    assert (bare.project_id, bare.count, kinds(bare)) == (3, 0, ["no_occurrence"])
    with pytest.raises(ia.SettingsError, match="buckets"):
        ia.explain(counts, 7, at, buckets="thick")
    with pytest.raises(ia.SettingsError, match="thresholds"):
        ia.explain(counts, 7, at, thresholds="standard")
    with pytest.raises(ia.FrameError, match="no column hour"):
        ia.explain(counts.drop("hour"), 7, at)
    with pytest.raises(ia.FrameError, match="HourlyCounts"):
        ia.explain(counts.with_columns(count=-pl.col("count")), 7, at)
    limits = ia.forecast(counts, AS_OF, thresholds=ia.ThresholdVariables(5, 6, 8, 2, 5))
    with pytest.raises(ia.SettingsError, match=r"is 21 \(branch spike\), but these .* make 18 \(branch spike\)"):
        ia.explain(counts, 7, at, limits=limits)


def test_lazy_frames_other_zones_and_constants():
    counts = history([3] * 168, hour=180, count=90)
    at = MONDAY + 180 * HOUR
    eager = ia.explain(counts, 7, at)
    zone = datetime.fromisoformat("2026-01-12T14:30:00+02:00")
    assert ia.explain(counts.lazy(), 7, zone).to_dict() == eager.to_dict()
    assert eager.hour.tzinfo == UTC
    limits = ia.forecast(counts, at).lazy()
    assert ia.explain(counts, 7, at, limits=limits).limit is not None
    constants = ia.FormulaConstants(window_hours=96, bursty_amplitude=20, weekday_weight=3)
    varied = ia.explain(counts, 7, at, constants=constants, thresholds=ia.ThresholdVariables(5, 5, 8, 2, 30))
    same = ia.forecast(counts, AS_OF, constants=constants, thresholds=ia.ThresholdVariables(5, 5, 8, 2, 30))
    assert varied.limit == same["limit"][0] == 60
    assert len(varied.week.counts) == 96
    assert "20 e^(-0.65 x 0) = 20, not clipped" in check_page(varied)


def test_to_dict_holds_all_of_it():
    week = [10] * 168
    week[3] = 12
    found = ia.explain(history(week, hour=180, count=44), 7, MONDAY + 180 * HOUR, missed=True)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert set(told) == {name for name in found.__slots__ if name != "hours"}
    assert told["hour"] == "2026-01-12T12:00:00+00:00"
    assert told["thresholds"] == ia.STANDARD.to_dict()
    assert told["week"]["busiest_at"] == "2026-01-05T03:00:00+00:00"
    assert [flip["at"] for flip in told["flips"]] == [flip.at for flip in found.flips]
    assert [reason["kind"] for reason in told["reasons"]] == kinds(found)
    assert told["terms"]["bursty"]["value"] == found.terms.bursty.value
    assert repr(found) == "Explanation(group 7, Mon 2026-01-12 12:00: 44 does not fire at limit 60, rule spike)"
    assert found.hours.height == 181
    assert found.hours["count"].sum() == sum(week) + 44
