from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest
from histories import COUNTS, HOUR, MONDAY, random_counts

from issue_analytics import frames, kernel
from issue_analytics.counts import Panel
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.forecast import forecast, forecast_schedule
from issue_analytics.formula import generate_issue_forecast
from issue_analytics.thresholds import PUBLISHED, ThresholdVariables

AS_OF = MONDAY + timedelta(days=7)


def group(counts, group_id=7, start=MONDAY):
    rows = [(1, group_id, start + hour * HOUR, count) for hour, count in enumerate(counts)]
    return pl.DataFrame(rows, schema=COUNTS, orient="row")


def test_limits_keep_their_contract_and_come_in_order():
    limits = forecast(random_counts(np.random.default_rng(1), hours=400), MONDAY + 400 * HOUR)
    frames.check(limits, "Limits")
    assert limits.height == 4 * 14
    assert limits.equals(limits.sort("project_id", "group_id", "date"))
    assert limits.filter(pl.col("limit").is_null())["rule"].unique().to_list() in ([], ["none"])


@pytest.mark.parametrize(("silent_hours", "rule"), [(0, "spike"), (1, "new"), (167, "new"), (168, "none")])
def test_sparse_buckets_make_a_group_with_one_silent_hour_new(silent_hours, rule):
    counts = group([0] * silent_hours + [6] * (168 - silent_hours))
    limits = forecast(counts, AS_OF, days=1)
    assert limits["rule"].item() == rule
    assert limits["limit"].item() == {"spike": 36, "new": 60, "none": None}[rule]


def test_a_recorded_silence_and_a_missing_row_are_the_same_silence():
    counts = group([0, 5, 0, 9] * 42)
    for buckets in ("sparse", "dense"):
        recorded = forecast(counts, AS_OF, buckets=buckets)
        assert recorded.equals(forecast(counts.filter(pl.col("count") > 0), AS_OF, buckets=buckets))


def test_dense_buckets_know_a_new_group_by_its_age_only():
    counts = group([0] * 100 + [6] * 68)
    old = forecast(counts, AS_OF, buckets="dense", days=1)
    assert old["rule"].item() == "spike"
    assert old["limit"].item() < 60
    ages = pl.DataFrame({"group_id": [7], "first_seen": [AS_OF - 167 * HOUR]})
    young = forecast(counts, AS_OF, buckets="dense", days=1, first_seen=ages)
    assert (young["rule"].item(), young["limit"].item()) == ("new", 60)
    aged = forecast(counts, AS_OF, buckets="dense", days=1, first_seen=ages.with_columns(first_seen=AS_OF - 168 * HOUR))
    assert aged.equals(old)
    stranger = ages.with_columns(group_id=pl.lit(8, dtype=pl.Int64))
    assert forecast(counts, AS_OF, buckets="dense", days=1, first_seen=stranger).equals(old)


def test_the_age_of_another_project_s_group_is_not_ours():
    counts = pl.concat([group([6] * 168), group([6] * 168).with_columns(project_id=pl.lit(2, dtype=pl.Int64))])
    ages = pl.DataFrame({"project_id": [2], "group_id": [7], "first_seen": [AS_OF - HOUR]})
    limits = forecast(counts, AS_OF, buckets="dense", days=1, first_seen=ages)
    assert limits["rule"].to_list() == ["spike", "new"]


def test_a_group_that_is_first_seen_at_as_of_has_no_limit_yet():
    counts = pl.concat([group([6] * 169), group([9], group_id=8, start=AS_OF)])
    assert forecast(counts, AS_OF)["group_id"].unique().to_list() == [7]
    schedule = forecast_schedule(counts, [AS_OF, AS_OF + HOUR])
    assert schedule.filter(group_id=8)["as_of"].to_list() == [AS_OF + HOUR]


def test_a_group_silent_for_a_week_has_no_limit():
    limits = forecast(group([6] * 24), MONDAY + timedelta(days=9), days=2)
    assert limits.select("limit", "rule").rows() == [(None, "none")] * 2


def test_dates_are_those_of_as_of_on_and_weekdays_count_twice():
    counts = group([50] * 24 + [100] * 144 + [50] * 24)  # Mondays are quieter
    limits = forecast(counts, AS_OF + 5 * HOUR, days=14, thresholds=ThresholdVariables(0, 1, 1, 0, 0))
    assert limits["date"].to_list() == [date(2026, 1, 12) + timedelta(days=ahead) for ahead in range(14)]
    monday, tuesday = limits["limit"][0], limits["limit"][1]
    assert monday == limits["limit"][7] < tuesday == limits["limit"][8]


def test_as_of_must_have_a_zone_and_lie_on_the_hour():
    counts = group([6] * 168)
    with pytest.raises(SettingsError, match="no time zone"):
        forecast(counts, datetime(2026, 1, 12))  # noqa: DTZ001 - that is the mistake
    with pytest.raises(SettingsError, match="inside an hour"):
        forecast(counts, AS_OF + timedelta(minutes=30))
    half_hour_zone = timezone(timedelta(hours=5, minutes=30))
    with pytest.raises(SettingsError, match="inside an hour"):
        forecast(counts, datetime(2026, 1, 12, 6, tzinfo=half_hour_zone))
    other_zone = AS_OF.astimezone(timezone(timedelta(hours=-8)))
    assert forecast(counts, other_zone).equals(forecast(counts, AS_OF))


def test_wrong_frames_and_settings_are_refused():
    with pytest.raises(FrameError, match=r"no column group_id.*Found: project_id, gid"):
        forecast(group([6]).rename({"group_id": "gid"}), AS_OF)
    with pytest.raises(FrameError, match="count is Float64, not Int64"):
        forecast(group([6]).cast({"count": pl.Float64}), AS_OF)
    with pytest.raises(SettingsError, match="buckets"):
        forecast(group([6]), AS_OF, buckets="hourly")
    with pytest.raises(SettingsError, match="days"):
        forecast(group([6]), AS_OF, days=0)
    with pytest.raises(FrameError, match="first_seen"):
        forecast(group([6]), AS_OF, buckets="dense", first_seen=pl.DataFrame({"id": [1]}))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (pl.concat([group([5]), group([6])]), "two rows have the same project_id, group_id, hour"),
        (group([-5, 6]), r"count: not greater than or equal to\(0\)"),
        (group([5, None, 6]), "count holds nulls"),
        (group([5], start=MONDAY + timedelta(minutes=30)), "not in every row: hour is whole"),
    ],
)
def test_counts_that_break_their_contract_are_refused(counts, message):
    with pytest.raises(FrameError, match=message):
        forecast(counts, AS_OF)
    with pytest.raises(FrameError, match=message):
        forecast(counts.lazy(), AS_OF).collect()


def test_first_seen_may_come_in_any_zone_and_lazy_but_not_without_a_zone():
    counts = group([0] * 100 + [6] * 68)
    ages = pl.DataFrame({"group_id": [7], "first_seen": [AS_OF - 167 * HOUR]})
    young = forecast(counts, AS_OF, buckets="dense", days=1, first_seen=ages)
    elsewhere = ages.with_columns(
        pl.col("first_seen").dt.convert_time_zone("Asia/Kolkata").dt.cast_time_unit("ms"),
        pl.col("group_id").cast(pl.UInt32),
    )
    assert forecast(counts, AS_OF, buckets="dense", days=1, first_seen=elsewhere.lazy()).equals(young)
    for wrong in (
        ages.with_columns(pl.col("first_seen").dt.replace_time_zone(None)),
        ages.with_columns(pl.col("first_seen").cast(pl.String)),
        ages.with_columns(pl.col("group_id").cast(pl.String)),
    ):
        for buckets in ("dense", "sparse"):
            with pytest.raises(FrameError, match="first_seen"):
                forecast(counts, AS_OF, buckets=buckets, first_seen=wrong)


def test_no_counts_give_no_limits():
    nothing = forecast(group([]), AS_OF)
    assert nothing.is_empty()
    frames.check(nothing, "Limits")


@pytest.mark.parametrize("ulps", [-6, -1, 1, 6])
def test_the_last_bits_of_the_exponential_decide_nothing(ulps, monkeypatch):
    """Exponentials differ between libraries in the last bits; at an integer the definition has to settle it."""
    rng = np.random.default_rng(7)
    exact = np.exp
    monkeypatch.setattr(kernel.np, "exp", lambda power: exact(power) * (1 + ulps * np.finfo(float).eps))
    thresholds = ThresholdVariables(0, 0, 0, 0, 1000)
    as_of, stamps = MONDAY + timedelta(days=7), [(MONDAY + hour * HOUR).isoformat() for hour in range(168)]
    for _ in range(200):
        window = rng.poisson(rng.gamma(0.3, 30, size=168)) + 1
        deviation, mean = np.std(window, ddof=1), window.mean()
        wanted = int(rng.integers(20, 500))
        amplitude = wanted / (window.max() * float(exact(-0.65 * deviation / mean)))
        constants = replace(PUBLISHED, bursty_amplitude=amplitude)
        one = generate_issue_forecast(
            {"intervals": stamps, "data": window.tolist()}, as_of, thresholds, constants=constants
        )
        panel = Panel(
            pl.DataFrame({"project_id": [1], "group_id": [7]}), MONDAY, window[None, :], np.zeros(1, dtype=np.int64)
        )
        limit, _ = kernel.limits_on(panel, [as_of], thresholds=thresholds, constants=constants)
        assert limit[0, 0, 0] == one[0]["forecasted_value"]


# One group ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("points", [0, 1, 24, 167])
def test_one_group_with_too_few_points_is_new(points):
    stamps = [(MONDAY + hour * HOUR).isoformat() for hour in range(points)]
    forecasts = generate_issue_forecast({"intervals": stamps, "data": [3] * points}, AS_OF)
    assert [day["forecasted_value"] for day in forecasts] == ([30] * 14 if points else [])


def test_one_group_takes_its_points_as_given():
    stamps = [(MONDAY + hour * HOUR).isoformat() for hour in range(168)]
    zeros = generate_issue_forecast({"intervals": stamps, "data": [0] * 168}, AS_OF)
    assert zeros == []
    # a zero is a point here: 168 points are no new group, however many are zero
    one = generate_issue_forecast({"intervals": stamps, "data": [0] * 167 + [20]}, AS_OF)
    assert one[0] == {"forecasted_date": "2026-01-12", "forecasted_value": 40}
    assert generate_issue_forecast({"intervals": [], "data": [3] * 168}, AS_OF) == []
    naive_start = datetime(2026, 1, 12)  # noqa: DTZ001 - upstream passes such a start
    assert generate_issue_forecast({"intervals": stamps, "data": [3] * 168}, naive_start)[0]["forecasted_value"] == 18


def test_one_group_with_nonsense_is_refused():
    with pytest.raises(FrameError, match="no intervals"):
        generate_issue_forecast({"data": [1]}, AS_OF)
    for nonsense in (-1, 1.5, None, True, "3"):
        with pytest.raises(FrameError, match="no count"):
            generate_issue_forecast({"intervals": ["2026-01-05T00:00:00Z"], "data": [nonsense]}, AS_OF)
    with pytest.raises(FrameError, match="'yesterday'"):
        generate_issue_forecast({"intervals": ["yesterday"], "data": [1]}, AS_OF)


def test_stamps_may_be_in_any_zone():
    assert datetime.fromisoformat("2026-01-05T00:00:00Z").tzinfo == UTC
    counts = {"intervals": ["2026-01-05T00:00:00Z", "2026-01-05T02:00:00+01:00"], "data": [3, 4]}
    assert generate_issue_forecast(counts, AS_OF, days=1) == [{"forecasted_date": "2026-01-12", "forecasted_value": 40}]
