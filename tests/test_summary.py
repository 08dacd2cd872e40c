"""Summaries of a result: what stands in them, and that strata are what their groups alone would come to."""

import re
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from histories import EXPOSURE, MONDAY, random_counts, random_escalations, random_exposure
from polars.testing import assert_frame_equal

from issue_analytics.backtest import BacktestResult, backtest
from issue_analytics.errors import SettingsError
from issue_analytics.frames import KEY
from issue_analytics.scores import (
    HEADLINE,
    RECALL,
    STRATA,
    delay_intervals,
    delay_times,
    poisson_interval,
    ratio_intervals,
)
from issue_analytics.thresholds import STANDARD, ThresholdVariables

SENSITIVE = ThresholdVariables(0, 0.7, 0.7, 0, 0)
ENDS = ("", "_low", "_high")
RATIOS = [
    f"{name}{part}{end}"
    for name in ("precision", "recall", "false_alarms_per_series_week")
    for part in ("", "_macro")
    for end in ENDS
]
POISSON = ["false_alarms_per_series_week_poisson_low", "false_alarms_per_series_week_poisson_high"]
COLUMNS = {
    **dict.fromkeys(STANDARD.to_dict(), pl.Float64),
    "digest": pl.String,
    **dict.fromkeys(("groups", "projects"), pl.Int64),
    "series_weeks": pl.Float64,
    **dict.fromkeys(("alerts", "duplicates", "unjudged", "events", "events_caught", "false_alarms"), pl.Int64),
    **dict.fromkeys([*RATIOS, *POISSON], pl.Float64),
    **dict.fromkeys(
        [f"{name}{end}" for name in ("median_delay_hours", "mean_delay_hours") for end in ENDS], pl.Float64
    ),
    **dict.fromkeys([f"caught_within_{hours}h" for hours in (1, 3, 6, 24)], pl.Float64),
    **dict.fromkeys(("median_reset_hours", "alerts_per_project_day"), pl.Float64),
    **dict.fromkeys(("note", "buckets", "every", "offset", "policy", "matching"), pl.String),
}
COUNTED = ("groups", "alerts", "duplicates", "unjudged", "events", "events_caught", "false_alarms")
OF_EVENTS = [
    "events", "events_caught",
    *(name for name in COLUMNS if name.startswith(("recall", "median_", "mean_", "caught_"))),
]  # fmt: skip
OF_ALERTS = [
    "alerts", "duplicates", "unjudged", "false_alarms", "note", "alerts_per_project_day",
    *(name for name in [*RATIOS, *POISSON] if not name.startswith("recall")),
]  # fmt: skip


def judged(seed, groups=20, number=150, **how):
    """A result with groups of several projects, types and ages, and escalations that several kinds of people saw."""
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, groups=groups)
    escalations = random_escalations(rng, counts, number=number)
    provenances = rng.choice(["human", "incident", "algorithm"], escalations.height, p=[0.7, 0.25, 0.05])
    escalations = escalations.with_columns(provenance=pl.Series(provenances, dtype=pl.String))
    keys = counts.select(KEY).unique(maintain_order=True)
    types = keys.with_columns(type=pl.Series(rng.choice([1, 1006, 9999], keys.height))).head(-3)
    seen = keys.select("group_id", first_seen=MONDAY - timedelta(days=30)).unique("group_id").head(4)
    how = {"exposure": random_exposure(rng, counts) if seed % 2 else None, "types": types, "first_seen": seen} | how
    return backtest(counts, escalations, thresholds=SENSITIVE, **how)


@pytest.fixture(scope="module", params=[0, 1])
def result(request):
    return judged(request.param)


def only(result, keys, **changes):
    """The result as if there had been no other groups than these."""
    frames = {
        name: getattr(result, name).join(keys, on=KEY, how="semi", maintain_order="left")
        for name in ("exposure", "crossings", "alerts", "matches", "groups")
    }
    return replace(result, **(frames | changes))


# ---- what stands in it ---- #


def test_the_columns_are_those_documented_in_their_order(result):
    assert dict(result.summary().schema) == COLUMNS
    assert list(result.summary().columns) == list(COLUMNS)
    told = re.search(r"Columns: .*?\n\n", BacktestResult.summary.__doc__, re.DOTALL)[0]
    named = [name for name in re.findall(r"``(\w+)``", told) if not name.startswith("_")]
    places = [list(COLUMNS).index(name) for name in named]
    assert places == sorted(places)
    # what is not named is one of the five thresholds, or a name with an ending that is
    endings = [name for name in re.findall(r"``(\w+)``", told) if name.startswith("_")]
    stems = named + [f"{name}{end}" for name in named for end in endings if end in ("_low", "_high", "_macro")]
    stems += [f"{name}_macro{end}" for name in named for end in ENDS]
    stems += [name.replace("_low", "_high") for name in named] + [f"caught_within{end}" for end in endings]
    assert set(COLUMNS) - set(stems) == set(STANDARD.to_dict())


def test_its_numbers_are_those_of_loops(result):
    row = result.summary().row(0, named=True)
    verdicts = result.alerts["verdict"].to_list()
    caught = [hour is not None for hour in result.matches["caught_hour"]]
    assert row["digest"] == SENSITIVE.digest
    assert [row[name] for name in STANDARD.to_dict()] == list(SENSITIVE.to_dict().values())
    assert (row["groups"], row["alerts"]) == (result.groups.height, len(verdicts))
    assert row["projects"] == len(set(result.exposure["project_id"]))
    for name, verdict in (("duplicates", "duplicate"), ("unjudged", "unjudged"), ("false_alarms", "false")):
        assert row[name] == verdicts.count(verdict)
    assert (row["events"], row["events_caught"]) == (len(caught), sum(caught))
    assert row["recall"] == pytest.approx(sum(caught) / len(caught))
    right = verdicts.count("caught")
    assert row["precision"] == pytest.approx(right / (right + verdicts.count("false")))
    assert right == sum(caught)
    weeks = result.groups["quiet_hours"].sum() / 168
    assert row["series_weeks"] == pytest.approx(weeks)
    assert row["false_alarms_per_series_week"] == pytest.approx(verdicts.count("false") / weeks)
    own = {"recall": {}, "precision": {}, "false_alarms_per_series_week": {}}
    for group in result.groups.iter_rows(named=True):
        key = group["project_id"], group["group_id"]
        alerts = [verdict for *of, verdict in result.alerts.select(*KEY, "verdict").iter_rows() if tuple(of) == key]
        judged_alerts = alerts.count("caught") + alerts.count("false")
        if judged_alerts:
            own["precision"][key] = alerts.count("caught") / judged_alerts
        if group["events"]:
            own["recall"][key] = group["events_caught"] / group["events"]
        if group["quiet_hours"]:
            own["false_alarms_per_series_week"][key] = alerts.count("false") * 168 / group["quiet_hours"]
    for name, scores in own.items():
        assert row[f"{name}_macro"] == pytest.approx(np.mean(list(scores.values())))
    watched = {
        (project, start.date() + timedelta(days=day))
        for project, _, start, end in result.exposure.iter_rows()
        for day in range(((end - timedelta(hours=1)).date() - start.date()).days + 1)
    }
    assert row["alerts_per_project_day"] == pytest.approx(len(verdicts) / len(watched))
    # of those that were watched long enough or caught, so many within the hour; nothing is cut off so early
    times = delay_times(result.matches)
    assert not (~times["happened"] & (times["hours"] <= 1)).any()
    assert row["caught_within_1h"] == pytest.approx((times["happened"] & (times["hours"] <= 1)).mean())
    by_group = delay_intervals(result.matches, cluster=KEY)
    for name, *ends in by_group.head(2).select("name", "estimate", "low", "high").iter_rows():
        assert [row[f"{name}{end}"] for end in ENDS] == ends
    shares = [row[f"caught_within_{hours}h"] for hours in (1, 3, 6, 24)]
    assert shares == sorted(shares)
    for name in COLUMNS:
        if name.endswith("_low") and row.get(stem := name.removesuffix("_low")) is not None:
            assert row[name] <= row[stem] <= (np.inf if row[f"{stem}_high"] is None else row[f"{stem}_high"])
    ends = poisson_interval(verdicts.count("false"), weeks)
    assert [row[name] for name in POISSON] == pytest.approx([float(end) for end in ends])
    assert (row["buckets"], row["every"], row["policy"]) == ("sparse", "1d", "every-hour")
    assert row["matching"] == str(result.matching)


@pytest.mark.parametrize("cluster", ["group", "project"])
def test_intervals_are_those_of_clusters(result, cluster):
    row = result.summary(cluster=cluster).row(0, named=True)
    keys = KEY if cluster == "group" else ["project_id"]
    ratios = [one for ratio in HEADLINE for one in (ratio, ratio.macro())]
    found = ratio_intervals(result.groups, ratios, cluster=keys)
    for name, *numbers, _, note in found.iter_rows():
        assert [row[f"{name}{end}"] for end in ENDS] == pytest.approx(numbers)
        if note and not name.endswith("_macro"):
            assert f"{name.replace('_', ' ')}: {note}" in row["note"].replace("_", " ")
    assert "too few clusters" in row["note"]
    estimates = [name for name in COLUMNS if not name.endswith(("_low", "_high", "note"))]
    assert_frame_equal(result.summary(cluster=cluster).select(estimates), result.summary().select(estimates))
    if cluster == "project":
        assert result.summary(cluster=cluster)["recall_low"].item() != result.summary()["recall_low"].item()


def test_without_labels_nothing_is_right_or_wrong():
    result = judged(2)
    bare = backtest(result.counts, thresholds=SENSITIVE)
    assert dict(bare.summary().schema) == COLUMNS
    row = bare.summary().row(0, named=True)
    unknown = ["duplicates", "unjudged", "false_alarms", "note", *RATIOS, *POISSON]
    unknown += [name for name in COLUMNS if name.startswith(("median_", "mean_", "caught_"))]
    for name in unknown:
        assert row[name] is None
    assert row["alerts"] == bare.alerts.height > 5
    assert row["events"] == row["events_caught"] == 0
    assert row["alerts_per_project_day"] > 0
    by = bare.summary_by("volume")
    assert by.schema == result.summary_by("volume").schema
    assert by.select(unknown).null_count().row(0) == (by.height,) * len(unknown)
    assert by["alerts"].sum() == bare.alerts.height
    provenances = bare.summary_by("provenance")
    assert provenances.is_empty()
    assert provenances.schema == result.summary_by("provenance").schema


def test_nothing_exposed_is_a_row_of_nothing():
    result = judged(2, exposure=pl.DataFrame(schema=EXPOSURE))
    summary = result.summary()
    assert dict(summary.schema) == COLUMNS
    row = summary.row(0, named=True)
    for name in (*COUNTED, "projects", "series_weeks"):
        assert row[name] == 0
    for name in (*RATIOS, "alerts_per_project_day", "median_delay_hours", "caught_within_1h"):
        assert row[name] is None
    assert row["note"].count("nothing to judge") == 3
    whole = judged(2)
    for column in (*STRATA, "provenance"):
        for pool in (False, True):
            by = result.summary_by(column, pool=pool)
            assert by.is_empty()
            assert by.drop(column).schema == whole.summary_by(column).drop(column).schema
        assert result.summary_by(column).schema == whole.summary_by(column).schema


def test_no_escalation_and_no_alert_are_null_where_a_score_is_not_defined():
    calm = judged(2).counts.with_columns(count=pl.lit(1, pl.Int64))
    row = backtest(calm, judged(2).escalations.clear()).summary().row(0, named=True)
    assert (row["precision"], row["recall"], row["false_alarms_per_series_week"]) == (None, None, 0.0)
    assert row["false_alarms_per_series_week_high"] > 0
    assert row["note"].replace("_", " ") == (
        "precision: nothing to judge. recall: nothing to judge. "
        "false alarms per series week: too few clusters; none counted"
    )


# ---- strata ---- #


@pytest.mark.parametrize("column", STRATA)
@pytest.mark.parametrize("cluster", ["group", "project"])
def test_a_stratum_is_what_its_groups_alone_would_come_to(result, column, cluster):
    by = result.summary_by(column, cluster=cluster)
    assert by.columns == [column, "too_few", *COLUMNS]
    values = result.groups[column].unique().sort()
    assert by[column].equals(values)
    assert by.height > 1
    for value in values:
        keys = result.groups.filter(pl.col(column).eq_missing(pl.lit(value, result.groups.schema[column]))).select(KEY)
        alone = only(result, keys).summary(cluster=cluster)
        mine = by.filter(pl.col(column).eq_missing(pl.lit(value, by.schema[column])))
        assert_frame_equal(mine.drop(column, "too_few"), alone, rel_tol=1e-9, abs_tol=1e-12)
        assert mine["too_few"].item() == (alone["events"].item() < 10)


@pytest.mark.parametrize("column", [*STRATA, "provenance"])
@pytest.mark.parametrize("pool", [False, True])
def test_counts_of_strata_add_up_to_the_whole(result, column, pool):
    by, whole = result.summary_by(column, pool=pool), result.summary()
    counted = ("events", "events_caught") if column == "provenance" else (*COUNTED, "series_weeks")
    for name in counted:
        assert by[name].sum() == pytest.approx(whole[name].item())
    assert whole["events"].item() > 40
    assert set(by["too_few"]) == {events < 10 for events in by["events"]}


def test_provenance_says_nothing_of_alerts(result):
    by = result.summary_by("provenance")
    kinds = sorted(set(result.matches["provenance"]))
    assert by["provenance"].to_list() == kinds
    assert len(kinds) == 3
    for kind in kinds:
        matches = result.matches.filter(provenance=kind)
        row = by.filter(provenance=kind).row(0, named=True)
        assert row["events"] == matches.height
        assert row["events_caught"] == matches["caught_hour"].count()
        for name in OF_ALERTS:
            assert row[name] is None
        mine = matches.group_by(KEY).agg(events=pl.len(), events_caught=pl.col("caught_hour").count())
        found = ratio_intervals(mine, [RECALL, RECALL.macro()])
        for name, *numbers, _, _ in found.iter_rows():
            assert [row[f"{name}{end}"] for end in ENDS] == pytest.approx(numbers)
        alone = replace(result, matches=matches).summary().row(0, named=True)
        for name in OF_EVENTS:
            if not name.startswith(("recall", "events")):
                assert row[name] == pytest.approx(alone[name])


def test_small_strata_are_put_together():
    result = judged(0)
    by = result.summary_by("provenance")
    small = by.filter("too_few")
    assert small.height == 1
    # a single small one keeps its name
    assert result.summary_by("provenance", pool=True)["provenance"].to_list() == by["provenance"].to_list()
    matches = result.matches.with_row_index("row").with_columns(
        provenance=pl.when(pl.col("row") < 3)
        .then(pl.lit("condition"))
        .when(pl.col("row") < 5)
        .then(pl.lit("velocity"))
        .otherwise(pl.lit("human"))
    )
    result = replace(result, matches=matches.drop("row"))
    pooled = result.summary_by("provenance", pool=True)
    assert pooled.select("provenance", "events").rows() == [("human", result.matches.height - 5), ("other", 5)]
    whole = result.summary_by("provenance").filter(pl.col("provenance") != "human")
    assert pooled["events_caught"][1] == whole["events_caught"].sum()
    groups = judged(1).summary_by("group_id", pool=True)
    assert groups["group_id"].to_list()[-1] == "other"
    assert (groups.filter(pl.col("group_id") != "other")["events"] >= 10).all()


# ---- what is refused ---- #


def test_what_cannot_be_summed_up_by_is_refused(result):
    for column in ("colour", "alerts", "events", "false_alarms", "too_few", "recall", ""):
        for pool in (False, True):
            with pytest.raises(SettingsError, match=f"no column {column} in groups.*volume"):
                result.summary_by(column, pool=pool)
    for column in ("volume", "provenance"):
        with pytest.raises(SettingsError, match="'team' is neither"):
            result.summary_by(column, cluster="team")
    with pytest.raises(SettingsError, match="'team' is neither"):
        result.summary(cluster="team")
