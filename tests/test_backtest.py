"""The backtest against a plain loop over one group, one hour at a time, and by hand."""

from dataclasses import replace
from datetime import timedelta

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
    slow_limit,
)
from polars.testing import assert_frame_equal

from issue_analytics import frames
from issue_analytics.backtest import Matching, Policy, backtest
from issue_analytics.detection import limit_in_force
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.frames import KEY
from issue_analytics.scores import median_delay_hours
from issue_analytics.thresholds import STANDARD, TIGHTER, ThresholdVariables

SENSITIVE = ThresholdVariables(
    0, 0.7, 0.7, 0, 0
)  # fires often: standard limits follow a spike up and see no second one


def slow_backtest(
    counts, escalations, exposure, *, thresholds, every_hours, sparse, matching, silence="implied", offset=0
):
    """Everything a backtest says, by loops and dictionaries; refreshes at multiples of ``every_hours`` from Monday."""
    count = {(p, g, h): c for p, g, h, c in counts.select("project_id", "group_id", "hour", "count").iter_rows()}
    keys = sorted({(p, g) for p, g, _ in count})
    first, last = counts["hour"].min(), counts["hour"].max()
    hours = [first + n * HOUR for n in range((last - first) // HOUR + 1)]
    refreshes = [
        hour for hour in hours if ((hour - MONDAY) // HOUR - offset) % every_hours == 0 and hour >= first + 168 * HOUR
    ]
    opening = refreshes[0]
    spans = {key: [] for key in keys}
    for key in keys:
        mine = [h for p, g, h in count if (p, g) == key]
        if exposure is None and silence == "implied":
            spans[key].append((min(mine), hours[-1] + HOUR))
        elif exposure is None:
            full = [hour for hour in hours + [last + n * HOUR for n in range(1, 200)] if hour >= min(mine) + 168 * HOUR]
            start = next(hour for hour in full if ((hour - MONDAY) // HOUR - offset) % every_hours == 0)
            spans[key] += [(hour, hour + HOUR) for hour in mine if hour >= start]
    if exposure is not None:
        for p, g, start, end in exposure.iter_rows():
            spans[p, g].append((start, end))

    totals = dict.fromkeys(
        ("alerts", "caught", "false", "duplicate", "unjudged", "events", "events_caught", "exposed", "quiet"), 0
    )
    firings, delays = [], {}
    for key in keys:
        born = min(h for p, g, h in count if (p, g) == key)
        exposed = [
            hour
            for hour in hours
            if hour >= opening and any(hour < (end or last + HOUR) and hour + HOUR > start for start, end in spans[key])
        ]
        mine = [
            (at, (until or at + timedelta(hours=matching.open_hours)))
            for p, g, at, until, _ in escalations.iter_rows()
            if (p, g) == key
        ]
        zone = [
            (at, at - timedelta(hours=matching.lead_hours), until + timedelta(hours=matching.grace_hours))
            for at, until in mine
        ]
        crossings = []
        for hour in exposed:
            made = max((refresh for refresh in refreshes if refresh <= hour), default=None)
            if made is None or made <= born:
                continue
            window = [count.get((*key, made - back * HOUR), 0) for back in range(168, 0, -1)]
            limit, _ = slow_limit(window, made, hour.weekday(), thresholds, sparse=sparse)
            if limit and count.get((*key, hour), 0) > limit:
                crossings.append(hour)

        def about(hour, zone=zone):
            return {at for at, opens, closes in zone if hour < closes and hour + HOUR > opens}

        judged = {at for at, _, _ in zone if any(hour <= at < hour + HOUR for hour in exposed)}
        episodes = []
        for hour in crossings:
            together = (
                episodes
                and hour - episodes[-1][-1] <= timedelta(hours=matching.merge_hours)
                and about(hour) == about(episodes[-1][-1])
                and all(episodes[-1][-1] + n * HOUR in exposed for n in range((hour - episodes[-1][-1]) // HOUR))
            )
            if together:
                episodes[-1].append(hour)
            else:
                episodes.append([hour])
        caught_by = {}
        for at in sorted(judged):
            mine = [n for n, episode in enumerate(episodes) if at in about(episode[0])]
            free = [n for n in mine if matching.pairing == "any" or n not in caught_by.values()]
            if free:
                caught_by[at] = free[0]
        for n, episode in enumerate(episodes):
            met = about(episode[0])
            if not met:
                verdict = "false"
            elif not met & judged:
                verdict = "unjudged"
            else:
                verdict = "caught" if n in caught_by.values() else "duplicate"
            totals[verdict] += 1
            totals["alerts"] += 1
            firings.append((*key, episode[0], len(episode), verdict))
        for at in judged:
            totals["events"] += 1
            totals["events_caught"] += at in caught_by
            hour = episodes[caught_by[at]][0] if at in caught_by else None
            delays[(*key, at)] = None if hour is None else max(0.0, (hour + HOUR - at) / HOUR)
        totals["exposed"] += len(exposed)
        totals["quiet"] += sum(
            not any(hour < closes and hour + HOUR > opens for _, opens, closes in zone) for hour in exposed
        )
    return totals, sorted(firings), delays


@pytest.mark.parametrize("seed", range(24))
def test_the_backtest_equals_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    recorded = bool(seed % 3 == 2)
    counts = random_counts(
        rng, hours=int(rng.integers(430, 560)), start=MONDAY + int(rng.integers(0, 48)) * HOUR, silences=recorded
    )
    escalations = random_escalations(rng, counts, number=6 if seed < 16 else 40)
    exposure = random_exposure(rng, counts) if seed % 3 == 1 else None
    every, every_hours = [("1d", 24), ("6h", 6), ("1w", 168), ("12h", 12)][seed % 4]
    offset = int(rng.integers(0, every_hours)) if seed % 2 else 0
    thresholds = [STANDARD, TIGHTER, SENSITIVE][int(rng.integers(0, 3))]
    buckets = ["sparse", "dense"][int(rng.integers(0, 2))]
    matching = Matching(lead_hours=2, grace_hours=3, open_hours=72, merge_hours=2) if seed % 2 else Matching()
    matching = replace(matching, pairing="any" if seed % 5 == 0 else "one_to_one")
    silence = "recorded" if recorded else "implied"
    result = backtest(
        counts, escalations, exposure=exposure, thresholds=thresholds, policy=Policy(every=every, offset=f"{offset}h"),
        buckets=buckets, matching=matching, silence=silence,
    )  # fmt: skip
    totals, firings, delays = slow_backtest(
        counts, escalations, exposure, thresholds=thresholds, every_hours=every_hours,
        sparse=buckets == "sparse", matching=matching, silence=silence, offset=offset,
    )  # fmt: skip
    assert result.alerts.select("project_id", "group_id", "hour", "crossings", "verdict").rows() == firings
    got = {
        row[:3]: row[3] for row in result.matches.select("project_id", "group_id", "escalated_at", "delay_hours").rows()
    }
    assert got == pytest.approx(delays)
    groups = result.groups
    assert groups["exposed_hours"].sum() == totals["exposed"]
    assert groups["quiet_hours"].sum() == totals["quiet"]
    summary = result.summary().row(0, named=True)
    for ours, theirs in {
        "alerts": "alerts",
        "false_alarms": "false",
        "duplicates": "duplicate",
        "events": "events",
        "unjudged": "unjudged",
    }.items():
        assert summary[ours] == totals[theirs]
    assert summary["events_caught"] == totals["events_caught"]
    frames.check(result.limits, "Limits")
    frames.check(result.alerts, "Alerts")
    frames.check(result.crossings, "Alerts")
    frames.check(result.matches, "Matches")


def test_the_plain_loop_saw_every_verdict():
    """The comparison above is worth something only if its histories hold every kind of outcome."""
    verdicts = set()
    for seed in range(0, 24, 2):
        rng = np.random.default_rng(seed)
        counts = random_counts(rng, hours=500)
        escalations = random_escalations(rng, counts, number=8)
        matching = Matching(open_hours=96, merge_hours=2)
        result = backtest(counts, escalations, thresholds=SENSITIVE, buckets="dense", matching=matching)
        verdicts |= set(result.alerts["verdict"]) | {
            "missed" for delay in result.matches["delay_hours"] if delay is None
        }
    assert verdicts == {"caught", "false", "duplicate", "unjudged", "missed"}


# By hand --------------------------------------------------------------------------------------------------------------


def steady(hours=336, level=4, **spikes):
    rows = [(1, 7, MONDAY + hour * HOUR, spikes.get(f"h{hour}", level)) for hour in range(hours)]
    return pl.DataFrame(rows, schema=COUNTS, orient="row")


def escalation(hour, until=None, minutes=0):
    at = MONDAY + hour * HOUR + timedelta(minutes=minutes)
    ends = None if until is None else MONDAY + until * HOUR
    return pl.DataFrame([(1, 7, at, ends, "human")], schema=ESCALATIONS, orient="row")


def test_a_steady_group_has_six_times_its_level_as_limit_and_a_spike_above_it_fires_once():
    result = backtest(steady(h200=25, h201=25), escalation(200, 202, minutes=20))
    assert result.limits["limit"][0] == 24
    assert result.alerts.select("count", "limit", "rule", "crossings", "verdict").row(0) == (
        25,
        24,
        "spike",
        2,
        "caught",
    )
    # the hour's count is known at its end: 40 minutes after 20 past
    assert result.matches["delay_hours"].item() == pytest.approx(2 / 3)
    summary = result.summary().row(0, named=True)
    assert (summary["precision"], summary["recall"], summary["false_alarms"]) == (1.0, 1.0, 0)
    # 168 judged hours; the escalation with lead and grace overlaps hours 199, 200, 201 and 202
    assert summary["series_weeks"] == pytest.approx((168 - 4) / 168)


def test_a_count_equal_to_the_limit_does_not_fire():
    assert backtest(steady(h200=24)).alerts.is_empty()
    assert backtest(steady(h200=25)).alerts.height == 1


@pytest.mark.parametrize("seed", range(40))
def test_escalations_take_their_alerts_in_the_order_of_time(seed):
    """Many overlapping escalations and few alerts: the rounds of the pairing against one escalation after the other."""
    rng = np.random.default_rng(seed)
    start = MONDAY + 200 * HOUR
    count = dict.fromkeys(rng.choice(np.arange(200, 330), size=12, replace=False), 500)
    counts = steady(**{f"h{hour}": level for hour, level in count.items()})
    spans = {int(at): int(at) + int(rng.integers(1, 60)) for at in rng.choice(120, size=10, replace=False)}
    rows = [(1, 7, start + at * HOUR, start + until * HOUR, "human") for at, until in spans.items()]
    escalations = pl.DataFrame(rows, schema=ESCALATIONS, orient="row")
    results = {}
    for pairing in ("one_to_one", "any"):
        matching = Matching(lead_hours=0, grace_hours=0, merge_hours=1, pairing=pairing)
        results[pairing] = backtest(counts, escalations, thresholds=SENSITIVE, matching=matching)
    one = results["one_to_one"]
    free = one.alerts["hour"].to_list()
    for at, until, caught in one.matches.sort("escalated_at").select("escalated_at", "ended_at", "caught_hour").rows():
        mine = [hour for hour in free if at <= hour < until]
        assert caught == (mine[0] if mine else None)
        free = [hour for hour in free if hour != caught]
    assert one.alerts.filter(verdict="caught").height == one.matches["caught_hour"].count()
    assert results["any"].matches["caught_hour"].count() >= one.matches["caught_hour"].count()


def test_one_alert_about_two_escalations_catches_one_of_them_or_both():
    counts = steady(h210=500)
    escalations = pl.concat([escalation(208, until=214), escalation(209, until=213)])
    one = backtest(counts, escalations)
    assert one.matches["caught_hour"].to_list() == [MONDAY + 210 * HOUR, None]
    assert one.summary().select("precision", "recall").row(0) == (1.0, 0.5)
    both = backtest(counts, escalations, matching=Matching(pairing="any"))
    assert both.summary().select("alerts", "precision", "recall").row(0) == (1, 1.0, 1.0)


def test_undefined_is_null():
    calm = backtest(steady(), pl.DataFrame(schema=ESCALATIONS)).summary().row(0, named=True)
    assert calm["precision"] is None
    assert calm["recall"] is None
    assert calm["median_delay_hours"] is None
    assert calm["false_alarms_per_series_week"] == 0.0
    unlabelled = backtest(steady(h200=90)).summary().row(0, named=True)
    assert unlabelled["alerts"] == 1
    for name in ("precision", "recall", "false_alarms", "false_alarms_per_series_week", "duplicates"):
        assert unlabelled[name] is None
    silent = backtest(steady(h200=90), pl.DataFrame(schema=ESCALATIONS)).summary().row(0, named=True)
    assert (silent["precision"], silent["false_alarms"]) == (0.0, 1)


def test_only_exposed_time_counts():
    inside = pl.DataFrame([(1, 7, MONDAY + 300 * HOUR, None)], schema=EXPOSURE, orient="row")
    result = backtest(steady(h200=90), escalation(200, 201), exposure=inside)
    assert result.alerts.is_empty()
    assert result.matches.is_empty()
    assert result.groups["exposed_hours"].item() == 36


def test_the_first_week_is_history_only():
    result = backtest(steady(h100=500), escalation(100, 101))
    assert result.alerts.is_empty()
    assert result.matches.is_empty()
    assert result.exposure["start"].item() == MONDAY + 168 * HOUR


def delays_of(*delays, watched=(), cut_off=False):
    missed = [None] * len(watched)
    return pl.DataFrame(
        {
            "delay_hours": pl.Series([*delays, *missed], dtype=pl.Float64),
            "escalated_at": MONDAY,
            "watched_until": [MONDAY] * len(delays) + [MONDAY + timedelta(hours=hours) for hours in watched],
            "cut_off": [False] * len(delays) + [cut_off] * len(watched),
        }
    )


def test_half_of_the_escalations_are_caught_within_the_median_delay():
    """Delays of 1, 3 and 3 hours, missed after 6 and 24: S(1) = .8, S(3) = .4 (statistics, section 2.2)."""
    assert median_delay_hours(delays_of(1, 3, 3, watched=(6, 24))) == 3.0
    assert median_delay_hours(delays_of(1, 3, 3, watched=(6, 24), cut_off=True)) == 3.0
    assert median_delay_hours(delays_of(1, watched=(6, 24))) is None
    assert median_delay_hours(delays_of(watched=(6, 24))) is None
    assert median_delay_hours(delays_of()) is None


def test_short_misses_do_not_make_one_slow_catch_the_median():
    """A miss is never caught: nine of ten missed is no median, however short the missed escalations were."""
    assert median_delay_hours(delays_of(31, watched=[2] * 9)) is None
    # but escalations of which the end was not watched may have been caught later
    assert median_delay_hours(delays_of(31, watched=[2] * 9, cut_off=True)) == 31.0


def test_case_a_of_the_statistics_notes():
    """Truth [4, 10), [16, 18); alarms 2; 7, 8; 12; 17; 20, 21: 5 alerts, 2 true, precision .4, recall 1, 31.5/week."""
    hours = {168 + hour: 90 for hour in (2, 7, 8, 12, 17, 20, 21)}
    counts = steady(192, **{f"h{hour}": count for hour, count in hours.items()})
    truth = pl.concat([escalation(168 + 4, 168 + 10), escalation(168 + 16, 168 + 18)])
    exact = Matching(lead_hours=0, grace_hours=0, merge_hours=1)
    summary = backtest(counts, truth, matching=exact).summary().row(0, named=True)
    assert (summary["alerts"], summary["events_caught"], summary["precision"], summary["recall"]) == (5, 2, 0.4, 1.0)
    assert summary["false_alarms_per_series_week"] == pytest.approx(3 / 16 * 168)
    delays = backtest(counts, truth, matching=exact).matches["delay_hours"].to_list()
    assert delays == [4.0, 2.0]  # from the start to the end of the hour that fired


def test_summary_by_volume_adds_up():
    rng = np.random.default_rng(4)
    counts = random_counts(rng, groups=8)
    result = backtest(counts, random_escalations(rng, counts), buckets="dense")
    by = result.summary_by("volume")
    for name in ("groups", "alerts", "events", "events_caught", "false_alarms"):
        assert by[name].sum() == result.summary()[name].item()
    assert by["volume"].is_sorted()
    with pytest.raises(SettingsError, match="no column colour"):
        result.summary_by("colour")


def test_too_short_a_history_is_refused():
    with pytest.raises(FrameError, match="168 hours"):
        backtest(steady(hours=160))


def test_wrong_settings_are_refused():
    with pytest.raises(SettingsError, match="silence"):
        backtest(steady(), silence="maybe")
    with pytest.raises(SettingsError, match="every"):
        Policy(every="5h")
    with pytest.raises(SettingsError, match="every"):
        Policy(every="daily")
    with pytest.raises(SettingsError, match="offset"):
        Policy(every="6h", offset="6h")
    with pytest.raises(SettingsError, match="merge_hours"):
        Matching(merge_hours=0)


def test_lazy_frames_are_taken():
    result = backtest(steady(h200=90).lazy(), escalation(200, 202).lazy())
    assert_frame_equal(result.alerts, backtest(steady(h200=90), escalation(200, 202)).alerts)


def test_the_hour_at_which_exposure_ends_is_not_judged():
    spike = steady(h200=90)
    for until, alerts in ((200, 0), (201, 1)):
        spans = pl.DataFrame([(1, 7, MONDAY, MONDAY + until * HOUR)], schema=EXPOSURE, orient="row")
        assert backtest(spike, exposure=spans).alerts.height == alerts
    # a limit is checked against the running count of the hour: an hour exposed in part is judged
    spans = pl.DataFrame([(1, 7, MONDAY, MONDAY + 200 * HOUR + timedelta(minutes=1))], schema=EXPOSURE, orient="row")
    assert backtest(spike, exposure=spans).alerts.height == 1


def test_a_second_alert_in_the_same_escalation_is_a_duplicate_and_no_false_alarm():
    result = backtest(steady(h200=90, h230=300), escalation(199, 260))
    assert result.alerts["verdict"].to_list() == ["caught", "duplicate"]
    summary = result.summary().row(0, named=True)
    assert (summary["alerts"], summary["duplicates"], summary["false_alarms"], summary["precision"]) == (2, 1, 0, 1.0)


def test_an_alert_about_an_escalation_that_is_not_judged_counts_neither_way():
    late = pl.DataFrame([(1, 7, MONDAY + 195 * HOUR, None)], schema=EXPOSURE, orient="row")
    result = backtest(steady(h200=90), escalation(190, 210), exposure=late)
    assert result.alerts["verdict"].to_list() == ["unjudged"]
    summary = result.summary().row(0, named=True)
    assert (summary["events"], summary["unjudged"], summary["false_alarms"], summary["precision"]) == (0, 1, 0, None)


def test_a_chain_of_false_hours_does_not_hide_behind_one_escalation():
    """A crossing every 12 hours for weeks, and an escalation on the last day: one alert before it, one in it."""
    chain = {f"h{hour}": 90 for hour in range(170, 600, 12)}
    firing = ThresholdVariables(0, 0, 0, 0, 0)
    result = backtest(steady(620, level=0, **chain), escalation(600, 620), thresholds=firing, buckets="dense")
    summary = result.summary().row(0, named=True)
    assert summary["false_alarms"] == summary["alerts"] == 1
    joined = backtest(steady(620, level=0, **chain), escalation(582, 620), thresholds=firing, buckets="dense")
    assert joined.alerts["verdict"].to_list() == ["false", "caught"]


def test_an_alert_ends_with_its_exposed_span():
    two = [(1, 7, MONDAY + start * HOUR, MONDAY + end * HOUR) for start, end in ((168, 201), (203, 300))]
    spans = pl.DataFrame(two, schema=EXPOSURE, orient="row")
    assert backtest(steady(h200=90, h203=200), exposure=spans).alerts.height == 2
    assert backtest(steady(h200=90, h203=200)).alerts.height == 1


def test_unrecorded_hours_are_not_exposed():
    counts = steady(400).filter(~pl.col("hour").is_between(MONDAY + 200 * HOUR, MONDAY + 300 * HOUR, closed="left"))
    assert backtest(counts, silence="recorded").groups["exposed_hours"].item() == 400 - 168 - 100
    assert backtest(counts, silence="implied").groups["exposed_hours"].item() == 400 - 168


def test_nothing_exposed_is_no_error():
    nothing = backtest(steady(), escalation(200), exposure=pl.DataFrame(schema=EXPOSURE))
    assert nothing.groups.is_empty()
    assert nothing.summary()["recall"].item() is None
    assert nothing.summary_by("volume").is_empty()
    assert nothing.summary_by("volume").columns == ["volume", "too_few", *nothing.summary().columns]


def test_a_limit_does_not_lapse_before_its_next_refresh():
    for policy in (
        Policy(every="1d", offset="16h", hold_days=1),
        Policy(every="6h", offset="5h"),
        Policy(every="1w", offset="50h"),
    ):
        result = backtest(steady(700), policy=policy)
        assert result.groups["days_none"].item() == 0
        hours = result.exposure.select((pl.col("end") - pl.col("start")).dt.total_hours()).item()
        assert limit_in_force(result.counts.lazy(), result.limits.lazy()).collect()["limit"].count() == hours


def test_groups_left_out_are_as_if_they_had_never_been():
    rng = np.random.default_rng(5)
    counts = random_counts(rng, hours=500)
    escalations = random_escalations(rng, counts)
    keys = counts.select(KEY).unique().sort(KEY)
    out = keys.head(2)
    without = [frame.join(out, on=KEY, how="anti") for frame in (counts, escalations)]
    result, expected = backtest(counts, escalations, leave_out=out.lazy()), backtest(*without)
    for name in ("counts", "escalations", "exposure", "limits", "alerts", "matches", "groups"):
        assert_frame_equal(getattr(result, name), getattr(expected, name))
    assert_frame_equal(result.left_out, out)
    assert expected.left_out.is_empty()
    # a group without counts was not left out: it was never there
    other = pl.DataFrame({"project_id": [99], "group_id": [99]})
    assert backtest(counts, escalations, leave_out=other).left_out.is_empty()
    exposure = backtest(counts, escalations).exposure
    assert (
        backtest(counts, escalations, exposure=exposure, leave_out=out)
        .exposure.join(out, on=KEY, how="semi")
        .is_empty()
    )
    with pytest.raises(FrameError, match="leave_out: no column project_id"):
        backtest(counts, leave_out=pl.DataFrame({"group_id": [1]}))
