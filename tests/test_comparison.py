"""Two results held against each other: loops over escalations and alerts, paired draws, and what cannot be compared."""

import itertools
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

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
from polars.testing import assert_frame_equal

import issue_analytics as ia
from issue_analytics.backtest import Matching, Policy, backtest, compare
from issue_analytics.backtest.blocks import block_tallies
from issue_analytics.errors import DatasetError, FrameError, SettingsError
from issue_analytics.frames import KEY
from issue_analytics.scores import ALERTS_PER_SERIES_WEEK, HEADLINE, bootstrap, cluster_weights, delay_times, mcnemar
from issue_analytics.thresholds import STANDARD, TIGHTER, ThresholdVariables

SENSITIVE = ThresholdVariables(0, 0.7, 0.7, 0, 0)
MIDDLE = ThresholdVariables(0, 1.2, 1.2, 0, 0)
SCORES = (
    "precision",
    "precision_macro",
    "recall",
    "recall_macro",
    "false_alarms_per_series_week",
    "false_alarms_per_series_week_macro",
    "mean_delay_hours",
    "alerts_per_series_week",
)
CHANGES = ("gained", "lost", "both", "neither", "judged in first only", "judged in second only")


def history(seed, groups=8, number=30):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, groups=groups)
    return counts, random_escalations(rng, counts, number=number), rng


@pytest.fixture(scope="module")
def pair():
    counts, escalations, _ = history(1, groups=12, number=60)
    return [backtest(counts, escalations, thresholds=setting, buckets="dense") for setting in (MIDDLE, SENSITIVE)]


@pytest.fixture(scope="module")
def pairs():
    """Pairs that differ in thresholds; in the policy; in exposure; in the lifecycle; in nothing."""
    return list(make_pairs())


def make_pairs():
    for seed in range(4):
        counts, escalations, rng = history(seed)
        exposures = [random_exposure(rng, counts) if seed % 2 else None for _ in range(2)]
        yield [
            backtest(
                counts, escalations, exposure=exposure, thresholds=setting, policy=Policy(every=every), buckets="dense"
            )
            for exposure, setting, every in zip(exposures, (MIDDLE, SENSITIVE), ("1d", "6h"), strict=True)
        ]
    counts, escalations, rng = history(9)
    same = backtest(counts, escalations, thresholds=SENSITIVE)
    yield [same, same]
    yield [backtest(counts, escalations, thresholds=setting) for setting in (SENSITIVE, TIGHTER)]
    sim = ia.simulate(groups=60, days=28, seed=2)
    replayed = {"policy": ia.PRODUCTION, "status_changes": sim.status_changes}
    yield [backtest(sim.hourly_counts, sim.escalations, **how) for how in ({}, replayed)]


# ---- against loops ---- #


def slow_changes(first, second):
    """What became of every escalation and every alert, by two nested loops."""
    caught = [
        {row[:3]: row[3] is not None for row in side.matches.select(*KEY, "escalated_at", "caught_hour").iter_rows()}
        for side in (first, second)
    ]
    events = {}
    for event in caught[0].keys() | caught[1].keys():
        if event not in caught[1]:
            events[event] = "judged in first only"
        elif event not in caught[0]:
            events[event] = "judged in second only"
        else:
            events[event] = {
                (True, True): "both",
                (True, False): "lost",
                (False, True): "gained",
                (False, False): "neither",
            }[caught[0][event], caught[1][event]]
    ours, theirs = (side.alerts.select(*KEY, "hour", "last_hour").rows() for side in (first, second))

    def meet(one, other):
        return one[:2] == other[:2] and one[2] <= other[3] and other[2] <= one[3]

    alerts = [(*alert, "lost") for alert in ours if not any(meet(alert, other) for other in theirs)]
    alerts += [(*alert, "both" if any(meet(alert, other) for other in ours) else "gained") for alert in theirs]
    return events, sorted(alerts)


@pytest.mark.parametrize("nth", range(7))
def test_a_comparison_equals_plain_loops(pairs, nth):
    first, second = results = pairs[nth]
    found = compare(first, second, resamples=100)
    events, alerts = slow_changes(first, second)
    told = found.events
    assert dict(zip(told.select(*KEY, "escalated_at").rows(), told["change"], strict=True)) == events
    assert found.alerts.select(*KEY, "hour", "last_hour", "change").rows() == alerts
    summaries = [side.summary().row(0, named=True) for side in results]
    for row in found.scores.iter_rows(named=True):
        if row["score"] == "alerts_per_series_week":
            values = [side.alerts.height * 168 / side.groups["exposed_hours"].sum() for side in results]
        else:
            values = [summary[row["score"]] for summary in summaries]
        assert [row["first"], row["second"]] == pytest.approx(values)
        if None in values:
            assert row["difference"] is row["low"] is row["p"] is None
        else:
            assert row["difference"] == pytest.approx(values[1] - values[0], abs=1e-12)
            assert 0 < row["p"] <= 1
            assert row["low"] is None or row["low"] <= row["difference"] <= row["high"]
    assert tuple(found.scores["score"]) == SCORES
    kinds = list(events.values())
    changes = {row["change"]: row for row in found.changes().to_dicts()}
    assert tuple(changes) == CHANGES
    for change, row in changes.items():
        mine = found.alerts.filter(change=change)
        assert row["events"] == kinds.count(change)
        assert row["alerts"] == sum(alert[-1] == change for alert in alerts)
        assert row["false"] == mine["verdict"].to_list().count("false")
    lost, gained = kinds.count("lost"), kinds.count("gained")
    both_judged = [kind for kind in kinds if not kind.startswith("judged")]
    assert found.mcnemar == (float(mcnemar(lost, gained)) if both_judged else None)


def test_the_loops_saw_every_change(pairs):
    """The comparison above is worth something only if its pairs hold every kind of change."""
    events, alerts = set(), set()
    for first, second in pairs:
        found = compare(first, second, resamples=1)
        events |= set(found.events["change"])
        alerts |= set(found.alerts["change"])
    assert events == set(CHANGES)
    assert alerts == {"gained", "lost", "both"}


def test_an_event_tells_what_each_setting_made_of_it(pair):
    found = compare(*pair, resamples=1)
    for row in found.events.iter_rows(named=True):
        for side, result in zip(("first", "second"), pair, strict=True):
            match = result.matches.filter(
                pl.col("escalated_at") == row["escalated_at"], project_id=row["project_id"], group_id=row["group_id"]
            )
            match = match.row(0, named=True)
            for name in ("limit", "caught_hour", "delay_hours"):
                assert row[f"{name}_{side}"] == match[name]
            assert [row[name] for name in ("ended_at", "provenance", "peak")] == [
                match[name] for name in ("ended_at", "provenance", "peak")
            ]
    first, second = pair
    for row in found.alerts.iter_rows(named=True):
        source = first if row["change"] == "lost" else second
        alert = source.alerts.filter(
            pl.col("hour") == row["hour"], project_id=row["project_id"], group_id=row["group_id"]
        )
        for name in ("last_hour", "verdict", "peak", "count", "limit", "rule", "crossings"):
            assert row[name] == alert[name].item()


# ---- intervals and p ---- #


@pytest.mark.parametrize("cluster", ["group", "project"])
@pytest.mark.parametrize("block", [None, "1w"])
def test_intervals_are_those_of_one_bootstrap_of_both(pair, cluster, block):
    keys = list(KEY) if cluster == "group" else ["project_id"]
    found = compare(*pair, cluster=cluster, block=block, resamples=300, confidence=0.8, seed=3)
    micro, macro = [*HEADLINE, ALERTS_PER_SERIES_WEEK], [ratio.macro() for ratio in HEADLINE]
    how = {"cluster": keys, "resamples": 300, "confidence": 0.8, "seed": 3}
    first, second = (side.groups for side in pair)
    expected = [bootstrap(first, macro, other=second, **how)]
    if block is None:
        expected.append(bootstrap(first, micro, other=second, **how))
    else:
        first, second = (block_tallies(side, block) for side in pair)
        expected.append(bootstrap(first, micro, other=second, block="block", **how))
    wanted = {row["name"]: row for row in pl.concat(expected).to_dicts()}
    for row in found.scores.filter(pl.col("score") != "mean_delay_hours").iter_rows(named=True):
        want = wanted[row["score"]]
        told = [row[name] for name in ("difference", "low", "high", "clusters")]
        assert told == [
            pytest.approx(want[name]) if isinstance(want[name], float) else want[name]
            for name in ("estimate", "low", "high", "clusters")
        ]
        assert (row["note"] or "").removesuffix("few clusters differ").removesuffix("; ") == (want["note"] or "")
    assert (found.cluster, found.block, found.confidence, found.resamples) == (cluster, block, 0.8, 300)
    assert found.scores["clusters"].max() == (2 if cluster == "project" else first.select(KEY).n_unique())


def mean_to(times, tau=24.0):
    """Area under Kaplan and Meier's curve up to ``tau``, one moment after the other; None where it ends before."""
    left, area, before = 1.0, 0.0, 0.0
    for moment in sorted({hours for hours, happened in times if happened and hours < tau}):
        area += left * (moment - before)
        at_risk = sum(hours >= moment for hours, _ in times)
        left *= 1 - sum(hours == moment and happened for hours, happened in times) / at_risk
        before = moment
    if left > 1e-12 and max(hours for hours, _ in times) < tau:
        return None
    return area + left * (tau - before)


def cut_off_results(seed, groups=9):
    """Escalations of which some were not watched to their end, caught late or never, in clusters."""
    rng = np.random.default_rng(seed)
    counts, labels, spans = [], [], []
    for group in range(groups):
        rows = dict.fromkeys(range(500), 4)
        for begins in (200 + int(rng.integers(0, 20)), 300, 400):
            peak = int(rng.choice([10, 18, 30]))
            rows[begins + int(rng.integers(0, 16))] = peak
            at = MONDAY + begins * HOUR + timedelta(minutes=int(rng.integers(0, 60)))
            labels.append((group % 3, group, at, at + 30 * HOUR, "injected"))
            watched = int(rng.choice([6, 14, 40]))
            spans.append((group % 3, group, MONDAY + (begins - 5) * HOUR, MONDAY + (begins + watched) * HOUR))
        counts += [(group % 3, group, MONDAY + hour * HOUR, count) for hour, count in rows.items()]
    counts = pl.DataFrame(counts, COUNTS, orient="row")
    labels = pl.DataFrame(labels, ESCALATIONS, orient="row")
    spans = pl.DataFrame(spans, EXPOSURE, orient="row")
    return [backtest(counts, labels, exposure=spans, thresholds=setting) for setting in (STANDARD, SENSITIVE)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("cluster", ["group", "project"])
def test_the_delay_is_compared_as_loops_would_when_events_are_cut_off(seed, cluster):
    results = cut_off_results(seed)
    assert results[0].matches["cut_off"].sum() > 5
    assert results[1].matches.filter("cut_off")["caught_hour"].count() > 0
    row = compare(*results, cluster=cluster, resamples=150, seed=seed).scores.filter(score="mean_delay_hours")
    row = row.row(0, named=True)
    keys = list(KEY) if cluster == "group" else ["project_id"]
    sides = [delay_times(side.matches) for side in results]
    names = sorted(set(results[0].groups.select(keys).rows()))
    times = [
        {name: [] for name in names} | {
            key: list(zip(part["hours"], part["happened"], strict=True))
            for key, part in side.partition_by(keys, as_dict=True).items()
        } for side in sides
    ]  # fmt: skip
    whole = [mean_to([time for name in names for time in side[name]]) for side in times]
    assert [row["first"], row["second"], row["difference"]] == pytest.approx([*whole, whole[1] - whole[0]])
    differences = []
    for weights in np.concatenate(list(cluster_weights(len(names), resamples=150, seed=seed))):
        drawn = [name for name, times_drawn in zip(names, weights, strict=True) for _ in range(int(times_drawn))]
        means = [mean_to([time for name in drawn for time in side[name]]) for side in times]
        if None not in means:
            differences.append(means[1] - means[0])
    assert [row["low"], row["high"]] == pytest.approx(list(np.quantile(differences, [0.025, 0.975])))
    # p: hours without an alert while watched, every choice of clusters to swap tried once
    waits = [np.array([sum(min(hours, 24) for hours, _ in side[name]) for name in names]) for side in times]
    number = sum(len(part) for part in times[0].values())
    apart = (waits[1] - waits[0]) / number
    hits = [
        abs(np.dot(signs, apart)) >= abs(apart.sum()) * (1 - 1e-9)
        for signs in itertools.product([1, -1], repeat=len(names))
    ]
    assert row["p"] == pytest.approx(np.mean(hits))


def test_late_catches_of_what_was_cut_off_are_no_slower_setting():
    """40 caught after 6 h by both, 5 by none, 20 cut off after 12 h, which the second catches after 8.

    Without those the first cannot judge, both have a mean of 8 hours and p is 1, though the second is 5 hours faster.
    """
    counts, labels, spans = [], [], []
    for group in range(65):
        kind = "both" if group < 40 else "none" if group < 45 else "late"
        peak = {"both": (205, 30), "none": (205, 4), "late": (207, 18)}[kind]
        counts += [(1, group, MONDAY + h * HOUR, peak[1] if h == peak[0] else 4) for h in range(300)]
        labels.append((1, group, MONDAY + 200 * HOUR, MONDAY + 230 * HOUR, "injected"))
        spans.append((1, group, MONDAY + 190 * HOUR, MONDAY + (212 if kind == "late" else 300) * HOUR))
    frames = [
        pl.DataFrame(rows, schema, orient="row")
        for rows, schema in ((counts, COUNTS), (labels, ESCALATIONS), (spans, EXPOSURE))
    ]
    first, second = (
        backtest(frames[0], frames[1], exposure=frames[2], thresholds=setting) for setting in (STANDARD, SENSITIVE)
    )
    assert second.matches["delay_hours"].drop_nulls().unique().sort().to_list() == [6.0, 8.0]
    assert (first.matches["caught_hour"].count(), second.matches["caught_hour"].count()) == (40, 60)
    row = compare(first, second).scores.filter(score="mean_delay_hours").row(0, named=True)
    assert row["difference"] < -4.5
    assert row["high"] < 0
    assert row["p"] < 0.001


def nearly_equal(seed, groups=80):
    """Two results that agree but for one group in twenty, on groups of which each is its own kind of hard."""
    rng = np.random.default_rng(seed)
    rows, labels = [], []
    for group in range(groups):
        hard = rng.beta(0.4, 0.4)
        peaks = {}
        for begins in range(180, 480, 30):
            if rng.random() < 0.7:
                at = MONDAY + begins * HOUR
                labels.append((1, group, at, at + 3 * HOUR, "injected"))
                peaks[begins + int(rng.integers(0, 3))] = 4 if rng.random() < hard else 30
            elif rng.random() < hard:
                peaks[begins] = 30
        if group % 20 == 0:
            peaks[479] = 18
        rows += [(1, group, MONDAY + hour * HOUR, peaks.get(hour, 4)) for hour in range(480)]
    counts = pl.DataFrame(rows, COUNTS, orient="row")
    escalations = pl.DataFrame(labels, ESCALATIONS, orient="row")
    # six times its level is the limit of a steady group; later ones see the peaks of the week before
    setting = ThresholdVariables(5, 5, 8, 0, 0)
    lower = ThresholdVariables(0, 3, 3, 0, 0)
    return [backtest(counts, escalations, thresholds=one, buckets="dense") for one in (setting, lower)]


def test_draws_are_paired():
    """Intervals of settings that are nearly one are far narrower than of either, also that of the delay."""
    first, second = nearly_equal(1)
    found = {row["score"]: row for row in compare(first, second).scores.to_dicts()}
    summary = first.summary().row(0, named=True)
    for name in ("precision", "false_alarms_per_series_week"):
        row = found[name]
        assert row["difference"] != 0
        assert row["high"] - row["low"] < 0.35 * (summary[f"{name}_high"] - summary[f"{name}_low"])
    # one event of many is caught an hour earlier
    sooner = pl.col("delay_hours").is_not_null().cum_sum() == 1
    matches = first.matches.with_columns(delay_hours=pl.when(sooner).then(0.5).otherwise("delay_hours"))
    row = compare(first, replace(first, matches=matches)).scores.filter(score="mean_delay_hours").row(0, named=True)
    assert row["difference"] < 0
    assert row["high"] - row["low"] < 0.1 * (summary["mean_delay_hours_high"] - summary["mean_delay_hours_low"])


def test_one_result_does_not_differ_from_itself(pair):
    for cluster, block in (("group", None), ("project", None), ("group", "1w")):
        found = compare(pair[1], pair[1], cluster=cluster, block=block, resamples=200)
        for row in found.scores.iter_rows(named=True):
            assert (row["difference"], row["p"], row["p_holm"]) == (0.0, 1.0, 1.0)
            assert (row["low"], row["high"], row["note"]) == (None, None, "no variation")
        assert found.mcnemar == 1.0
        assert set(found.events["change"]) <= {"both", "neither"}
        assert set(found.alerts["change"]) == {"both"}
        assert found.alerts.height == pair[1].alerts.height


@pytest.mark.parametrize("block", [None, "1w"])
def test_the_order_of_settings_flips_signs_and_nothing_else(pair, block):
    there, back = (compare(*order, block=block, resamples=999) for order in (pair, pair[::-1]))
    for row, other in zip(there.scores.to_dicts(), back.scores.to_dicts(), strict=True):
        assert [row["first"], row["second"]] == [other["second"], other["first"]]
        assert other["difference"] == pytest.approx(-row["difference"], abs=1e-12)
        if row["low"] is None:
            assert other["low"] is other["high"] is None
        else:
            assert [other["low"], other["high"]] == pytest.approx([-row["high"], -row["low"]], rel=1e-6)
        for name in ("p", "p_holm", "clusters", "note"):
            assert other[name] == row[name]
    assert there.mcnemar == back.mcnemar
    swap = {"gained": "lost", "lost": "gained"}
    assert back.events["change"].to_list() == [swap.get(change, change) for change in there.events["change"]]
    assert back.events["delay_hours_first"].equals(there.events["delay_hours_second"])
    gone = [there.alerts.filter(change="gained"), back.alerts.filter(change="lost")]
    assert_frame_equal(*(frame.drop("change") for frame in gone))


def test_the_seed_decides_and_the_order_of_rows_does_not(pair):
    first, second = pair
    expected = compare(first, second, resamples=200, seed=4)
    again = compare(first, second, resamples=200, seed=4)
    for name in ("scores", "events", "alerts"):
        assert_frame_equal(getattr(again, name), getattr(expected, name), check_exact=True)
    other = compare(first, second, resamples=200, seed=5)
    assert not other.scores["low"].equals(expected.scores["low"])
    assert_frame_equal(other.scores.select("score", "difference"), expected.scores.select("score", "difference"))
    shuffled = [frame.sample(fraction=1, shuffle=True, seed=7) for frame in (second.counts, second.escalations)]
    moved = compare(first, backtest(*shuffled, thresholds=SENSITIVE, buckets="dense"), resamples=200, seed=4)
    for name in ("scores", "events", "alerts"):
        assert_frame_equal(getattr(moved, name), getattr(expected, name))


def test_p_is_about_uniform_where_settings_differ_by_noise_only(pair):
    """In each of 20 projects both settings throw their coins alike; its three groups fall together: 90 data sets."""
    rng = np.random.default_rng(12)
    projects, groups = 20, 60
    project = np.repeat(np.arange(projects), 3)
    keys = {"project_id": project, "group_id": np.arange(groups)}
    found = {cluster: {} for cluster in ("project", "group")}
    for nth in range(90):
        events = rng.poisson(4, groups) + 1
        of = np.repeat(np.arange(groups), events)
        at = pl.Series([MONDAY + (200 + n) * HOUR for number in events for n in range(number)])
        sides = []
        for result in pair:
            caught = rng.random(of.size) < rng.beta(1, 1, projects)[project][of]
            delays = np.where(caught, np.ceil(20 * rng.exponential(0.3, of.size)) / 4, np.nan)
            matches = pl.DataFrame(
                {"project_id": project[of], "group_id": of, "escalated_at": at, "delay_hours": delays}
            ).with_columns(
                pl.col("delay_hours").fill_nan(None),
                ended_at=pl.col("escalated_at") + 5 * HOUR, watched_until=pl.col("escalated_at") + 6 * HOUR,
                provenance=pl.lit("human"), cut_off=False, peak=0, limit=0,
                caught_hour=pl.when(pl.Series(caught)).then("escalated_at"),
            )  # fmt: skip
            right = np.bincount(of, weights=caught, minlength=groups).astype(int)
            false = rng.poisson(6 * rng.gamma(1, 1, projects)[project])
            tallies = pl.DataFrame(
                keys | {"alerts": right + false, "false_alarms": false, "events": events, "events_caught": right}
            ).with_columns(duplicates=0, unjudged=0, quiet_hours=500, exposed_hours=520)
            sides.append(replace(result, groups=tallies, matches=matches, alerts=result.alerts.clear()))
        for cluster, numbers in list(found.items())[: 1 + (nth < 30)]:
            scores = compare(*sides, cluster=cluster, resamples=1).scores
            for name, p in scores.select("score", "p").iter_rows():
                numbers.setdefault(name, []).append(p)
    for name in SCORES:
        p = np.array(found["project"][name])
        for level in (0.1, 0.3, 0.5, 0.8):
            assert np.mean(p <= level) == pytest.approx(level, abs=3.3 * np.sqrt(level * (1 - level) / p.size))
        # to take its groups for independent is to see differences that are none
        if not name.endswith("_macro"):
            assert np.mean(np.array(found["group"][name]) <= 0.1) > 0.2


def test_an_interval_that_few_groups_make_is_said_to_be_none():
    """Of 80 groups nine differ, and the interval hangs on whether a draw has them; of ten nothing is said."""
    first, second = nearly_equal(1)
    base = first.groups.with_columns(events=4, events_caught=2)
    for differ in (9, 10):
        more = (pl.int_range(pl.len()) < differ).cast(pl.Int64)
        sides = [
            replace(one, groups=base.with_columns(events_caught=pl.col("events_caught") + more * extra))
            for one, extra in ((first, 0), (second, 1))
        ]
        rows = {row["score"]: row["note"] for row in compare(*sides, resamples=200).scores.to_dicts()}
        assert rows["recall"] == rows["recall_macro"] == ("few clusters differ" if differ < 10 else None)
    late = cut_off_results(0)
    note = compare(*late).scores.filter(score="mean_delay_hours")["note"].item()
    assert note == "too few clusters; few clusters differ"


def test_holm_counts_every_row(pair):
    scores = compare(*pair, resamples=1).scores
    ranked = scores.sort("p")
    assert ranked["p_holm"][0] == pytest.approx(min(1, ranked["p"][0] * scores.height))
    assert (scores["p_holm"] >= scores["p"]).all()


# ---- what there is little or nothing of ---- #


def test_without_labels_only_burden_is_compared():
    counts, _, _ = history(3)
    first, second = (backtest(counts, thresholds=setting) for setting in (STANDARD, SENSITIVE))
    for block in (None, "1w"):
        found = compare(first, second, block=block, resamples=200)
        assert found.scores["score"].to_list() == ["alerts_per_series_week"]
        assert found.scores["difference"].item() > 0
        assert found.mcnemar is None
        assert found.events.is_empty()
        assert found.alerts["verdict"].null_count() == found.alerts.height > 5
        _, alerts = slow_changes(first, second)
        assert found.alerts.select(*KEY, "hour", "last_hour", "change").rows() == alerts
        # nobody knows what is false
        assert found.changes()["false"].null_count() == len(CHANGES)


@pytest.mark.parametrize("block", [None, "1w"])
def test_nothing_exposed_is_nothing_to_compare(block, tmp_path):
    counts, escalations, _ = history(3)
    nothing = pl.DataFrame(schema=EXPOSURE)
    first, second = (
        backtest(counts, escalations, exposure=nothing, thresholds=setting) for setting in (STANDARD, TIGHTER)
    )
    found = compare(first, second, block=block)
    assert found.scores["score"].to_list() == list(SCORES)
    for name in ("first", "second", "difference", "low", "high", "p", "p_holm"):
        assert found.scores[name].null_count() == len(SCORES)
    assert set(found.scores["note"]) == {"nothing to judge"}
    assert found.events.is_empty()
    assert found.alerts.is_empty()
    assert found.mcnemar is None
    assert found.changes()["events"].sum() == 0
    found.write(tmp_path / "found")
    # and against something, what only the other judged is told
    some = backtest(counts, escalations, thresholds=SENSITIVE)
    for order, change in (((first, some), "judged in second only"), ((some, first), "judged in first only")):
        one_sided = compare(*order, block=block)
        assert set(one_sided.events["change"]) == {change}
        assert one_sided.mcnemar is None
        assert one_sided.scores["difference"].null_count() == len(SCORES)


def test_one_cluster_has_no_interval():
    first, second = cut_off_results(1, groups=1)
    scores = compare(first, second, resamples=100).scores
    assert scores.filter(pl.col("difference").is_not_null())["note"].unique().to_list() == ["one cluster"]
    assert scores["low"].null_count() == len(SCORES)


def test_one_draw_is_no_interval_and_no_error():
    """A draw may miss every group that has an escalation."""
    counts, escalations, _ = history(2, groups=12)
    escalations = escalations.filter(pl.col("group_id") == escalations["group_id"][0])
    first, second = (backtest(counts, escalations, thresholds=setting) for setting in (MIDDLE, SENSITIVE))
    for seed in range(12):
        scores = compare(first, second, resamples=1, seed=seed).scores
        assert scores["low"].null_count() == len(SCORES)


# ---- names ---- #


def test_titles_stand_beside_events_and_alerts_as_they_are(pair):
    hostile = "\x1b[31m</td><script>alert(1)</script>\n{{ 7*7 }}\u202e"
    known = pair[1].alerts.select(KEY).row(0)
    titles = pl.DataFrame(
        [(*known, hostile), (*known, "the same group again"), (99, 99, "elsewhere")],
        schema={"project_id": pl.Int64, "group_id": pl.Int64, "title": pl.String}, orient="row",
    )  # fmt: skip
    bare = compare(*pair, resamples=1)
    found = compare(*pair, resamples=1, titles=titles.lazy())
    for told, without in ((found.alerts, bare.alerts), (found.events, bare.events)):
        mine = told.filter(project_id=known[0], group_id=known[1])
        assert mine["title"].to_list() == [hostile] * mine.height
        assert told["title"].null_count() == told.height - mine.height
        assert_frame_equal(told.drop("title"), without.drop("title"))
        assert without["title"].null_count() == without.height
    assert found.alerts.filter(pl.col("title").is_not_null()).height > 0
    assert hostile not in repr(found)
    counts = found.events["change"].to_list()
    assert repr(found) == (
        f"Comparison({pair[0].thresholds.digest} -> {pair[1].thresholds.digest}: events "
        + ", ".join(f"{counts.count(change)} {change}" for change in CHANGES[:4]) + ")"
    )  # fmt: skip


def test_one_setting_under_two_rules_can_be_told_apart():
    """Names alone would say: standard against standard."""
    counts, escalations, _ = history(2, groups=3)
    sides = [
        backtest(counts, escalations, buckets=buckets, policy=Policy(every=every, offset=offset))
        for buckets, every, offset in (("sparse", "1d", "0h"), ("dense", "1w", "3h"))
    ]
    found = compare(*sides, resamples=10)
    assert (found.first, found.second) == ("standard", "standard")
    assert found.rules == (
        "limits every 1d, sparse buckets, policy every-hour",
        "limits every 1w, offset 3h, dense buckets, policy every-hour",
    )
    assert found.matching == "lead 1 h, grace 1 h, open 24 h, merge 12 h, one to one"


def test_a_comparison_is_written_whole(pair, tmp_path):
    found = compare(*pair, block="1w", resamples=100)
    folder = found.write(str(tmp_path / "a" / "b"))
    assert sorted(path.name for path in folder.iterdir()) == [
        "alerts.parquet", "events.parquet", "scores.parquet", "setting.json",
    ]  # fmt: skip
    for name in ("scores", "events", "alerts"):
        assert_frame_equal(pl.read_parquet(folder / f"{name}.parquet"), getattr(found, name))
    assert json.loads((folder / "setting.json").read_text()) == {
        name: getattr(found, name)
        for name in ("first", "second", "matching", "mcnemar", "cluster", "block", "confidence", "resamples")
    } | {"rules": list(found.rules)}
    with pytest.raises(DatasetError, match="exists already"):
        found.write(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="could not be written"):
        found.write(tmp_path / "file" / "x")


def test_or_not_at_all(pair, tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)  # of the last file
        with pytest.raises(DatasetError, match="No space left"):
            compare(*pair, resamples=1).write(tmp_path / "found")
    assert list(tmp_path.iterdir()) == []


# ---- what is refused ---- #


def test_what_was_not_judged_on_the_same_is_refused(pair):
    first, second = pair
    counts, escalations = first.counts, first.escalations
    how = {"thresholds": SENSITIVE, "buckets": "dense"}
    other_counts = counts.with_columns(count=pl.col("count") + (pl.int_range(pl.len()) == 5))
    gone = counts.select(KEY).head(1)
    refused = {
        "labelled": backtest(counts, **how),
        "matching": backtest(counts, escalations, matching=Matching(grace_hours=2), **how),
        "counts": backtest(other_counts, escalations, **how),
        "escalations": backtest(counts, escalations.tail(-1), **how),
        "left_out|counts": backtest(counts, escalations, leave_out=gone, **how),
    }
    for message, other in refused.items():
        for order in ((first, other), (other, first)):
            with pytest.raises(SettingsError, match=message):
                compare(*order)
    later = escalations.with_columns(pl.col("escalated_at") + timedelta(minutes=1))
    with pytest.raises(SettingsError, match="escalations"):
        compare(first, backtest(counts, later, **how))
    with pytest.raises(SettingsError, match="left_out"):
        compare(first, replace(second, left_out=gone))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cluster": "team"}, "neither 'group' nor 'project'"),
        ({"block": "1y"}, "no duration"),
        ({"block": "0h"}, "no length of a block"),
        ({"block": ""}, "no duration"),
        ({"confidence": 95}, "between 0 and 1|lies between"),
        ({"confidence": 0}, "between 0 and 1|lies between"),
        ({"resamples": 0}, "at least one"),
        ({"seed": -1}, "seed"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused(pair, arguments, message):
    with pytest.raises(SettingsError, match=message):
        compare(*pair, **arguments)


def test_titles_that_are_none_are_refused(pair):
    with pytest.raises(FrameError, match="titles: no column project_id"):
        compare(*pair, titles=pl.DataFrame({"title": ["a"]}))
    with pytest.raises(FrameError, match="titles: no column title"):
        compare(*pair, titles=pair[0].counts)
    with pytest.raises(FrameError, match="titles: group_id is String"):
        compare(*pair, titles=pl.DataFrame({"project_id": [1], "group_id": ["7"], "title": ["a"]}))
