"""The exact sweep against the backtest, setting by setting, and against what could go wrong in bits."""

import math
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from histories import ESCALATIONS, HOUR, MONDAY, random_counts, random_escalations, random_exposure
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from issue_analytics.backtest import EVERY_HOUR, PRODUCTION, Matching, Policy, backtest
from issue_analytics.critical import critical_values
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.formula import halves_of
from issue_analytics.scores.survival import median_time
from issue_analytics.simulate import simulate
from issue_analytics.thresholds import PUBLISHED, STANDARD, FormulaConstants, ThresholdVariables
from issue_analytics.tuning import Prepared, flat_variables, prepare, sweep
from issue_analytics.tuning import engine as engine_module
from issue_analytics.tuning.bits import below, column_sums, to_bits, to_words
from issue_analytics.tuning.settings import VARIABLES, as_settings

ONLY_IN_A_SWEEP = ("alerts_per_series_week",)


def random_settings(rng, number):
    """Settings of all kinds: loose, tight, round and not, minimum and maximum equal, limits below 1."""
    found = []
    for _ in range(number):
        spike = sorted(rng.choice([0, 0.1, 0.5, 1, 1.5, 2, 3, 5, 8, 1000, rng.uniform(0, 9)], 2))
        bursty = sorted(rng.choice([0, 0.05, 0.3, 0.8, 1, 1.5, 2, 3, 5, 8, 1000, rng.uniform(0, 5)], 2))
        std = float(rng.choice([0, 1, 5, rng.uniform(0, 9)]))
        found.append(ThresholdVariables(std, *map(float, spike), *map(float, bursty)))
    return found


def at_bursts(rng, counts, *, number):
    """Escalations that begin up to some hours before the busiest hours, so that most are caught, sooner or later."""
    above = pl.col("count") / pl.col("count").mean().over("project_id", "group_id")
    busy = counts.filter(pl.col("hour") > MONDAY + 200 * HOUR).sort(above, descending=True).head(number)
    lead = pl.Series(rng.uniform(0, 9, busy.height).round(2))
    lasts = pl.Series(rng.choice([2.0, 30.0, np.nan], busy.height)).fill_nan(None)
    began = (pl.col("hour") - pl.duration(minutes=lead * 60)).dt.cast_time_unit("us")
    return (
        busy.select("project_id", "group_id", escalated_at=began)
        .with_columns(
            ended_at=(pl.col("escalated_at") + pl.duration(minutes=lasts * 60)).dt.cast_time_unit("us"),
            provenance=pl.lit("human"),
        )
        .unique(["project_id", "group_id", "escalated_at"])
    )


def one_by_one(counts, escalations, every, **options):
    """The same through the backtest, one setting at a time."""
    return pl.concat([backtest(counts, escalations, thresholds=one, **options).summary() for one in every])


def assert_equal_to_backtest(table, rows):
    assert set(table.columns) - set(rows.columns) == set(ONLY_IN_A_SWEEP)
    shared = [name for name in table.columns if name not in ONLY_IN_A_SWEEP]
    assert_frame_equal(table.select(shared), rows.select(shared), check_exact=True)


@pytest.mark.parametrize("seed", range(24))
def test_a_sweep_equals_the_backtest_of_each_setting(seed):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, groups=4, hours=500, silences=bool(seed % 2))
    make, most = ((random_escalations, 40), (at_bursts, 9))[seed % 2]
    escalations = make(rng, counts, number=int(rng.integers(0, most)))
    options = {
        "exposure": random_exposure(rng, counts) if seed % 3 == 0 else None,
        "silence": "recorded" if seed % 5 == 4 else "implied",
        "buckets": ("dense", "sparse")[seed // 2 % 2],
        "matching": Matching(
            pairing=("one_to_one", "any")[seed % 2],
            merge_hours=(12, 1, 3.5, 30)[seed % 4],
            open_hours=(24, 100)[seed % 2],
            lead_hours=(1, 0, 5)[seed % 3],
        ),
        "policy": Policy(
            every=("1d", "6h", "7d")[seed % 3], offset=("0h", "3h")[seed % 2], hold_days=(14, 2)[seed % 2]
        ),
        "constants": PUBLISHED if seed % 4 else FormulaConstants(bursty_amplitude=4, window_hours=72, weekday_weight=3),
    }
    every = random_settings(rng, 10)
    table = sweep(counts, escalations, every, **options)
    assert_equal_to_backtest(table, one_by_one(counts, escalations, every, **options))


def test_the_cases_of_the_property_are_no_empty_ones():
    """The histories above do fire, catch, miss, and take one escalation for another."""
    rng = np.random.default_rng(1)
    counts = random_counts(rng, groups=8, hours=600)
    for make, number in ((random_escalations, 60), (at_bursts, 12)):
        escalations = make(rng, counts, number=number)
        prepared = prepare(counts, escalations, buckets="dense", matching=Matching(open_hours=100, pairing="any"))
        table = prepared.sweep(random_settings(rng, 40))
        for name in ("alerts", "duplicates", "events_caught", "false_alarms"):
            assert table[name].n_unique() > 2, name
        if make is at_bursts:
            assert table["median_delay_hours"].n_unique() > 3
            assert table["median_delay_hours"].null_count() > 3
        else:
            assert table["unjudged"].n_unique() > 2


def test_settings_beyond_a_block_come_back_in_their_order(monkeypatch):
    rng = np.random.default_rng(5)
    counts = random_counts(rng, groups=6, hours=500)
    escalations = random_escalations(rng, counts, number=30)
    prepared = prepare(counts, escalations, buckets="dense")
    grid = ThresholdVariables.sample(
        700, seed=2, min_bursty_multiplier=(0.5, 3), max_bursty_multiplier=(1, 5), std_multiplier=(0, 9)
    )
    whole = prepared.sweep(grid)
    assert_frame_equal(whole.select(VARIABLES), grid)
    assert whole["alerts"].n_unique() > 5
    alone = [prepared.sweep(grid[number : number + 1]) for number in range(0, 700, 7)]
    assert_frame_equal(whole[::7], pl.concat(alone))
    few = prepared.tallies(grid[::70])
    assert (prepared.tallies(grid).alerts[::70] == few.alerts).all()
    monkeypatch.setattr(engine_module, "SETTINGS", 64)
    monkeypatch.setattr(engine_module, "_CELLS", 3)
    monkeypatch.setattr(engine_module, "_STRETCH", 2)
    assert_frame_equal(prepared.sweep(grid), whole)
    order = rng.permutation(grid.height)
    assert_frame_equal(prepared.sweep(grid[order]), whole[order])


def test_looser_settings_than_those_before_are_judged_as_exactly():
    """What was found for one sweep is used for the next; one that needs more hours must not miss them."""
    rng = np.random.default_rng(8)
    counts = random_counts(rng, groups=4, hours=500)
    escalations = random_escalations(rng, counts)
    prepared = prepare(counts, escalations, buckets="dense")
    tight, loose = ThresholdVariables(5, 5, 8, 3, 5), ThresholdVariables(0, 0, 0, 0.2, 0.3)
    prepared.sweep([tight])
    assert_equal_to_backtest(
        prepared.sweep([loose, tight]), one_by_one(counts, escalations, [loose, tight], buckets="dense")
    )


def test_a_sweep_of_a_simulated_tracker_equals_its_backtests():
    sim = simulate(groups=150, days=35, seed=4)
    every = [STANDARD, ThresholdVariables(5, 5, 8, 1.2, 5), ThresholdVariables(5, 5, 8, 4, 5)]
    table = sweep(sim.hourly_counts, sim.escalations, every, buckets="dense")
    assert_equal_to_backtest(table, one_by_one(sim.hourly_counts, sim.escalations, every, buckets="dense"))
    assert table["events_caught"].min() < table["events_caught"].max()


def test_where_nothing_is_known_only_alerts_are_counted():
    counts = random_counts(np.random.default_rng(3), groups=4, hours=500)
    every = [ThresholdVariables(1, 1, 2, 0.8, 1.2), STANDARD]
    table = sweep(counts, None, every, buckets="dense")
    assert table["alerts"].max() > 0
    assert table["precision"].null_count() == table["false_alarms"].null_count() == 2
    assert_equal_to_backtest(table, one_by_one(counts, None, every, buckets="dense"))


def test_limits_of_a_prepared_history_are_those_of_the_backtest():
    counts = random_counts(np.random.default_rng(3), groups=4, hours=500)
    prepared = prepare(counts, buckets="dense", policy=Policy(every="7d"))
    thresholds = ThresholdVariables(1, 1, 2, 0.8, 1.2)
    limits = backtest(counts, thresholds=thresholds, buckets="dense", policy=Policy(every="7d")).limits
    assert_frame_equal(prepared.limits(thresholds), limits)
    mine = prepared.limits(thresholds, project_id=1, group_id=10)
    assert_frame_equal(mine, limits.filter(pl.col("project_id") == 1, pl.col("group_id") == 10))
    assert not mine.is_empty()


def test_settings_with_no_critical_value_between_them_are_judged_together():
    """Loose limits, some below 1, on a fine grid: each of its settings is as it is alone."""
    rng = np.random.default_rng(15)
    counts = random_counts(rng, groups=6, hours=500)
    prepared = prepare(counts, at_bursts(rng, counts, number=8), buckets="dense")
    grid = ThresholdVariables.grid(
        std_multiplier=[0, 0.3, 2],
        min_spike_multiplier=[0.1, 0.9, 1.5, 1.6, 4],
        max_spike_multiplier=[0.9, 1.7, 3, 6],
        min_bursty_multiplier=[0.05, 0.4, 0.41, 0.8, 1.5],
        max_bursty_multiplier=[0.3, 0.5, 0.9, 1.5, 4],
    )
    first, place = engine_module._cells(prepared.hours(as_settings(grid)), as_settings(grid))
    assert 100 < first.size < grid.height
    assert (place[first] == np.arange(first.size)).all()
    table = prepared.sweep(grid)
    assert table["alerts"].n_unique() > 10
    some = rng.choice(grid.height, 150, replace=False)
    assert_frame_equal(table[some], pl.concat([prepared.sweep(grid[int(row) : int(row) + 1]) for row in some]))


def test_limits_below_one_are_their_own_cells():
    """Two events now and then, then ninety: where the limit is below 1 it is none, and nothing else tells where."""
    rows = [(1, 7, MONDAY + hour * HOUR, 2) for hour in range(0, 240, 60)] + [(1, 7, MONDAY + 250 * HOUR, 90)]
    counts = pl.DataFrame(rows, schema=["project_id", "group_id", "hour", "count"], orient="row")
    grid = ThresholdVariables.grid(min_bursty_multiplier=np.arange(1, 100) / 100, max_bursty_multiplier=1)
    alerts = sweep(counts, None, grid, buckets="dense")["alerts"]
    assert alerts.to_list() == [0] * 49 + [2] * 50  # the hour of 2 within the judged time as well
    for number in (48, 49):
        one = ThresholdVariables(*grid.row(number))
        assert backtest(counts, thresholds=one, buckets="dense").alerts.height == alerts[number]


@pytest.mark.parametrize("cluster", ["group", "project"])
@pytest.mark.parametrize("pairing", ["one_to_one", "any"])
def test_tallies_by_cluster_are_those_of_the_backtest(cluster, pairing):
    rng = np.random.default_rng(12)
    counts = random_counts(rng, groups=7, hours=600)
    escalations = random_escalations(rng, counts, number=40)
    options = {"buckets": "dense", "matching": Matching(pairing=pairing)}
    every = random_settings(rng, 8)
    prepared = prepare(counts, escalations, **options)
    found = prepared.tallies(every, cluster=cluster)
    keys = found.clusters.columns
    for number, one in enumerate(every):
        groups = backtest(counts, escalations, thresholds=one, **options).groups
        sums = groups.group_by(keys).agg(pl.col("^(alerts|false_alarms|events.*|.*_hours)$").sum()).sort(keys)
        assert_frame_equal(found.clusters, sums.select(keys))
        for name in ("alerts", "false_alarms", "events_caught"):
            assert getattr(found, name)[number].tolist() == sums[name].to_list()
        for name in ("events", "exposed_hours", "quiet_hours"):
            assert getattr(found, name).tolist() == sums[name].to_list()
    table = prepared.sweep(every)
    assert found.alerts.sum(axis=1).tolist() == table["alerts"].to_list()
    per_day = found.alerts.sum(axis=1) / found.project_days.sum()
    assert np.allclose(per_day, table["alerts_per_project_day"].to_numpy())


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("seed", [3, 4])
def test_the_exact_curve_holds_everywhere(variable, seed):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, groups=8, hours=700)
    escalations = random_escalations(rng, counts, number=30)
    thresholds = ThresholdVariables(1, 1, 9, 1, 4) if seed == 3 else ThresholdVariables(1, 0.2, 4, 0.4, 0.9)
    prepared = prepare(counts, escalations, buckets="dense")
    found = prepared.curve(variable, thresholds=thresholds, low=0.5 if seed == 4 and "min" in variable else None)
    begins, ends = found[f"{variable}_from"].to_numpy(), found[variable].to_numpy()
    assert (begins[1:] == ends[:-1]).all()
    edges = ends[:-1][:6]
    # at each edge, one step beyond it, and anywhere between
    asked = np.concatenate(
        [begins[:1], edges, np.nextafter(edges, np.inf), rng.uniform(begins[0], min(ends[-1], 9), 20)]
    )
    row = np.searchsorted(ends, asked)
    base = np.array(list(thresholds.to_dict().values()), dtype=float)
    every = np.repeat(base[None, :], asked.size, axis=0)
    every[:, VARIABLES.index(variable)] = asked
    rows = one_by_one(counts, escalations, [ThresholdVariables(*one) for one in every.tolist()], buckets="dense")
    for name in ("alerts", "duplicates", "events_caught", "false_alarms", "median_delay_hours"):
        assert found[name].gather(row).to_list() == rows[name].to_list()
    outcome = found.select("alerts", "duplicates", "unjudged", "events_caught", "false_alarms", "median_delay_hours")
    assert found.height == 1 or (outcome[1:].hash_rows() != outcome[:-1].hash_rows()).all()


def test_curves_do_change():
    rng = np.random.default_rng(3)
    counts = random_counts(rng, groups=8, hours=700)
    prepared = prepare(counts, random_escalations(rng, counts, number=30), buckets="dense")
    assert prepared.curve("min_bursty_multiplier").height > 3
    cells = prepared.curve("min_bursty_multiplier", "max_bursty_multiplier")
    assert cells.height > prepared.curve("min_bursty_multiplier").height
    assert (cells["min_bursty_multiplier"] <= cells["max_bursty_multiplier"]).all()


@pytest.mark.parametrize(
    "pair",
    [
        ("min_bursty_multiplier", "max_bursty_multiplier"),
        ("min_spike_multiplier", "max_spike_multiplier"),
        ("max_bursty_multiplier", "min_spike_multiplier"),
    ],
)
@pytest.mark.parametrize("seed", [3, 5, 11])
def test_every_setting_lies_in_one_cell_of_two_variables_and_comes_to_what_it_says(pair, seed):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, groups=6, hours=500)
    prepared = prepare(counts, at_bursts(rng, counts, number=6), buckets="dense")
    thresholds = ThresholdVariables(0.5, 1.5, 3, 0.4, 0.9) if "spike" in pair[0] else ThresholdVariables(1, 2, 9, 1, 4)
    cells = prepared.curve(*pair, thresholds=thresholds, low=0, high=9)
    one, other = pair
    edges = [cells[name].unique().to_list() for name in pair]
    every = []
    for _ in range(60):
        # anywhere, or on an edge, or one step beyond it
        values = [
            float(rng.choice([rng.uniform(0, 9), (edge := rng.choice(some)), np.nextafter(edge, 9)])) for some in edges
        ]
        if one.startswith("min") and other.startswith("max"):
            values.sort()
        every.append(dict(zip(pair, values)))
    settings_ = [
        ThresholdVariables(**{**thresholds.to_dict(), **values}) for values in every if legal(thresholds, values)
    ]
    table = prepared.sweep(settings_)
    assert len(settings_) > 20
    for row in table.iter_rows(named=True):
        inside = pl.lit(value=True)
        for name in pair:
            begins, value = pl.col(f"{name}_from"), row[name]
            inside &= (pl.col(name) >= value) & (
                (begins < value) | ((begins == value) & (begins == cells[f"{name}_from"].min()))
            )
        # a value where the curve begins may be a cell of its own, which lies in no other
        found = cells.filter(inside).head(1).row(0, named=True)
        for name in ("alerts", "duplicates", "events_caught", "false_alarms", "median_delay_hours"):
            assert found[name] == row[name]


def legal(thresholds, values):
    try:
        ThresholdVariables(**{**thresholds.to_dict(), **values})
    except SettingsError:
        return False
    return True


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((), "one or two"),
        (("std_multiplier", "std_multiplier"), "one or two"),
        (("std",), "no variable std"),
    ],
)
def test_curves_of_nothing_are_refused(asked, said):
    prepared = prepare(random_counts(np.random.default_rng(3)), buckets="dense")
    with pytest.raises(SettingsError, match=said):
        prepared.curve(*asked)


def test_a_curve_with_no_room_is_refused():
    prepared = prepare(random_counts(np.random.default_rng(3)), buckets="dense")
    with pytest.raises(SettingsError, match="no range"):
        prepared.curve("min_bursty_multiplier", low=6)


@given(
    st.integers(1, 10**12), st.floats(0.01, 1e6), st.floats(0, 1e6), st.floats(0.01, 1e6), st.integers(1, 10**12),
    st.floats(0, 12), st.floats(0, 12), st.floats(0, 12),
)  # fmt: skip
@settings(deadline=None)
def test_critical_values_are_the_last_ones_that_fire(busiest, mean, deviation, weighted, count, std, spike, bursty):
    arrays = (np.array([value]) for value in (count, busiest, mean, deviation, weighted))
    found = critical_values(*arrays)

    def halves(**changes):
        variables = ThresholdVariables(
            **({"std_multiplier": std, **both(spike, "spike"), **both(bursty, "bursty")} | changes)
        )
        return halves_of(busiest, mean, deviation, weighted, variables, PUBLISHED)

    def both(value, kind):
        return {f"min_{kind}_multiplier": value, f"max_{kind}_multiplier": value}

    for kind, half in (("bursty", 0), ("spike", 1)):
        value = getattr(found, kind).item()
        if np.isfinite(value):
            assert count > halves(**both(value, kind))[half]
            if value < 1000:
                assert not count > halves(**both(float(np.nextafter(value, np.inf)), kind))[half]
        else:
            assert (count > halves(**both(1000 if value > 0 else 0, kind))[half]) == (value > 0)
    wide = {"min_spike_multiplier": 0, "max_spike_multiplier": 1000}
    value = found.std.item()
    if np.isfinite(value) and (mean + value * deviation) / mean < 1000:
        assert count > halves(**wide, std_multiplier=value)[1]
        assert not count > halves(**wide, std_multiplier=float(np.nextafter(value, np.inf)))[1]


@given(st.integers(1, 30), st.integers(1, 100), st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**32))
@settings(deadline=None)
def test_median_delays_on_bits_are_those_of_the_survival_curve(number, columns, often, cut, seed):
    """Escalations of which some were not watched to their end, each caught under some settings after some hours."""
    rng = np.random.default_rng(seed)
    cut_off = np.where(rng.random(number) < cut, rng.integers(1, 12, number).astype(float), np.inf)
    first = np.where(rng.random((number, columns)) < often, rng.integers(0, 15, (number, columns)) / 2, np.inf)
    pairs = [(event, delay) for event in range(number) for delay in np.unique(first[event]) if np.isfinite(delay)]
    event, delay = (np.array(part) for part in zip(*pairs)) if pairs else (np.zeros(0, dtype=int), np.zeros(0))
    rows = to_words(first[event] == delay[:, None])
    caught = column_sums(rows)
    events = engine_module.Events(np.zeros(number, dtype=np.int64), cut_off)
    median = engine_module._median_delay(events, [(delay, event, rows)], caught)[:columns]
    for setting in range(columns):
        happened = np.isfinite(first[:, setting])
        times = pl.DataFrame({"hours": np.where(happened, first[:, setting], cut_off), "happened": happened})
        expected = median_time(times)["median_hours"].item()
        assert np.isnan(median[setting]) if expected is None else median[setting] == expected


@given(st.integers(0, 40), st.integers(1, 200), st.integers(0, 2**32))
@settings(deadline=None)
def test_bits_are_counted_as_numbers(rows, columns, seed):
    bits = np.random.default_rng(seed).random((rows, columns)) < 0.4
    words = to_words(bits)
    assert (to_bits(words)[:, :columns] == bits).all()
    assert column_sums(words)[:columns].tolist() == bits.sum(axis=0).tolist()
    assert not column_sums(words)[columns:].any()


def test_tables_of_bounds_answer_every_bound():
    values = np.array([3.0, 1, 2, 2, 5] * 30)
    distinct, table = below(values)
    for bound in (-np.inf, 0.5, 1, 1.5, 2, 4.9, 5, np.inf):
        row = table[np.searchsorted(distinct, bound, side="right")]
        assert to_bits(row)[: values.size].tolist() == (values <= bound).astype(int).tolist()


def test_constants_are_varied_on_the_same_hours():
    rng = np.random.default_rng(6)
    counts = random_counts(rng, groups=5, hours=700)
    escalations = random_escalations(rng, counts, number=20)
    constants = [PUBLISHED, FormulaConstants(window_hours=336), FormulaConstants(bursty_amplitude=3)]
    every = [STANDARD, ThresholdVariables(1, 1, 2, 0.8, 1.2)]
    table = sweep(counts, escalations, every, constants=constants, buckets="dense")
    assert table["window_hours"].to_list() == [168, 168, 336, 336, 168, 168]
    assert table["series_weeks"].n_unique() == 1
    assert table["events"].n_unique() == 1
    alone = sweep(counts, escalations, every, constants=constants[1], buckets="dense")
    assert_frame_equal(table.filter(pl.col("window_hours") == 336).select(alone.columns), alone)
    assert table["alerts"].n_unique() > 2


def test_shares_of_binding_variables_equal_a_loop_over_limits():
    rng = np.random.default_rng(9)
    counts = random_counts(rng, groups=8, hours=500)
    thresholds = ThresholdVariables(2, 1.5, 4, 1.2, 2.5)
    prepared = prepare(counts, buckets="dense")
    with pytest.raises(SettingsError, match="expected ThresholdVariables"):
        prepared.binding("standard")
    shares = prepared.binding(thresholds)
    tally = dict.fromkeys(shares["term"].to_list(), 0)
    exposed = prepared.exposure.rows()
    for row in prepared.statistics.iter_rows(named=True):
        judged = any(
            (row["project_id"], row["group_id"]) == key and start.date() <= row["date"] <= (end - HOUR).date()
            for *key, start, end in exposed
            for key in [tuple(key)]
        )
        if not judged:
            continue
        if row["busiest"] == 0:
            tally["none"] += 1
            continue
        bursty, spike = halves_of(
            row["busiest"], row["mean"], row["deviation"], row["weighted_mean"], thresholds, PUBLISHED
        )
        decay = 5 * np.exp(-0.65 * row["deviation"] / row["mean"])
        factor = (row["mean"] + 2 * row["deviation"]) / row["mean"]
        if bursty >= spike:
            low, high, name, between = 1.2, 2.5, "bursty", "decay"
            value = decay
        else:
            low, high, name, between = 1.5, 4, "spike", "std_multiplier"
            value = factor
        term = f"min_{name}_multiplier" if value < low else f"max_{name}_multiplier" if value > high else between
        tally[term] += 1
    assert dict(shares.select("term", "limit_days").rows()) == tally
    assert sum(number > 0 for number in tally.values()) >= 3
    assert shares["share"].sum() == pytest.approx(1)
    by_volume = prepared.binding(thresholds, by="volume")
    assert dict(by_volume.group_by("term").agg(pl.col("limit_days").sum()).rows()) == tally
    for _, part in by_volume.group_by("volume"):
        assert part["share"].sum() == pytest.approx(1)
    with pytest.raises(SettingsError, match="by: 'size' is none of"):
        prepared.binding(by="size")


def test_flat_variables_are_told_from_those_that_matter():
    rng = np.random.default_rng(3)
    counts = random_counts(rng, groups=8, hours=700)
    prepared = prepare(counts, random_escalations(rng, counts, number=30), buckets="dense")
    grid = ThresholdVariables.grid(std_multiplier=[3, 5, 7], min_bursty_multiplier=[1, 1.5, 2, 3])
    assert flat_variables(prepared.sweep(grid)).rows() == [
        ("std_multiplier", 3, True),
        ("min_bursty_multiplier", 4, False),
    ]
    drawn = ThresholdVariables.sample(20, std_multiplier=(1, 9), min_bursty_multiplier=(1, 3))
    assert flat_variables(prepared.sweep(drawn))["flat"].to_list() == [None, None]


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ([], "there is none"),
        (["standard"], "number 0 is 'standard'"),
        (5, "expected thresholds or a frame, got int"),
        (pl.LazyFrame({"std_multiplier": [5]}), "expected thresholds or a frame, got LazyFrame"),
        (pl.DataFrame({"std_multiplier": [5]}), "no column min_spike_multiplier"),
        (pl.DataFrame({key: ["5"] for key in VARIABLES}), "std_multiplier is String"),
        (pl.DataFrame({key: [5.0, float("nan")] for key in VARIABLES}), "row 1: std_multiplier: nan"),
        (pl.DataFrame({key: [5.0, None] for key in VARIABLES}), "row 1"),
        (pl.DataFrame({key: [5.0, 1001.0] for key in VARIABLES}), "row 1: std_multiplier: more than 1,000"),
        (
            pl.DataFrame({key: [5.0] for key in VARIABLES} | {"min_spike_multiplier": [9.0]}),
            "row 0: min_spike_multiplier",
        ),
    ],
)
def test_what_is_no_setting_is_refused(given_, said):
    with pytest.raises(SettingsError, match=said):
        as_settings(given_)


def test_policies_with_a_lifecycle_are_refused():
    counts = random_counts(np.random.default_rng(3))
    with pytest.raises(SettingsError, match="replays the lifecycle"):
        prepare(counts, policy=PRODUCTION)
    assert isinstance(prepare(counts, policy=EVERY_HOUR), Prepared)


def test_too_short_a_history_is_refused():
    counts = random_counts(np.random.default_rng(3), hours=100)
    with pytest.raises(FrameError, match="too few to judge any"):
        prepare(counts)
    short = random_counts(np.random.default_rng(3), hours=300)
    with pytest.raises(FrameError, match="too few to judge any: limits look back 400 hours"):
        prepare(short, history_hours=400)


def test_digests_of_a_sweep_are_those_of_the_settings():
    counts = random_counts(np.random.default_rng(3))
    every = [STANDARD, ThresholdVariables(0.1, 1 / 3, 8, 2, 5), ThresholdVariables(1e-7, 5, 8, 2, 1000)]
    assert sweep(counts, None, every)["digest"].to_list() == [one.digest for one in every]


def test_a_grid_is_every_combination_that_is_a_setting():
    grid = ThresholdVariables.grid(
        std_multiplier=np.array([3, 5]), min_bursty_multiplier=[2, 4, 6], max_bursty_multiplier=(3, 5)
    )
    assert grid.rows() == [
        (std, 5, 8, low, high) for std in (3, 5) for low in (2, 4, 6) for high in (3, 5) if low <= high
    ]
    assert ThresholdVariables.grid().rows() == [(5, 5, 8, 2, 5)]
    for values, said in (
        ({"std": [1]}, "no setting std"),
        ({"std_multiplier": []}, "no value given"),
        ({"std_multiplier": ["a"]}, "expected a number"),
        ({"min_spike_multiplier": [9]}, "there is no setting"),
    ):
        with pytest.raises(SettingsError, match=said):
            ThresholdVariables.grid(**values)


@pytest.mark.parametrize("method", ["sobol", "random"])
def test_samples_fill_their_ranges(method):
    ranges = {"min_bursty_multiplier": (1, 4), "max_bursty_multiplier": (2, 5), "std_multiplier": (0, 9)}
    drawn = ThresholdVariables.sample(1000, seed=3, method=method, **ranges)
    assert drawn.height == 1000 == len(as_settings(drawn))
    assert_frame_equal(drawn, ThresholdVariables.sample(1000, seed=3, method=method, **ranges))
    assert not drawn.equals(ThresholdVariables.sample(1000, seed=4, method=method, **ranges))
    for name, (low, high) in ranges.items():
        assert low <= drawn[name].min() < low + 0.1 * (high - low)
        assert high >= drawn[name].max() > high - 0.1 * (high - low)
    assert (drawn["max_spike_multiplier"] == 8).all()
    # of the space in which the minimum is the smaller one, nothing is preferred
    expected = 1 - (0.5 * 2**2) / 9
    rejected = np.random.default_rng(0).random((10**5, 2)) * [3, 3] + [1, 2]
    assert (rejected[:, 0] <= rejected[:, 1]).mean() == pytest.approx(expected, abs=0.01)
    uniform = rejected[rejected[:, 0] <= rejected[:, 1]].mean(axis=0)
    means = drawn.select("min_bursty_multiplier", "max_bursty_multiplier").to_numpy().mean(axis=0)
    assert means == pytest.approx(uniform, abs=0.08)


def test_samples_that_make_no_sense_are_refused():
    for settings_, options, said in (
        (0, {"std_multiplier": (1, 2)}, "whole number"),
        (5, {}, "no range"),
        (5, {"std_multiplier": (2, 1)}, "from, to"),
        (5, {"std_multiplier": 3}, "from, to"),
        (5, {"std_multiplier": (1, 2), "method": "grid"}, "neither"),
        (5, {"min_spike_multiplier": (8.5, 9)}, "hardly any"),
    ):
        with pytest.raises(SettingsError, match=said):
            ThresholdVariables.sample(settings_, **options)


def test_an_hour_beside_an_empty_history_is_no_trouble():
    """One group, one hour that fires; nobody else in the data."""
    rows = [(1, 7, MONDAY + hour * HOUR, 90 if hour == 200 else 3) for hour in range(240)]
    counts = pl.DataFrame(rows, schema=["project_id", "group_id", "hour", "count"], orient="row")
    table = sweep(counts, None, [STANDARD, ThresholdVariables(5, 5, 8, 2, 2), ThresholdVariables(5, 29, 30, 2, 5)])
    assert table["alerts"].to_list() == [1, 1, 0]


def three_loud_hours():
    """One group, three an hour but for three loud hours, each two hours after the other."""
    return pl.DataFrame(
        [(1, 7, MONDAY + hour * HOUR, 90 if hour in (250, 252, 254) else 3) for hour in range(300)],
        schema=["project_id", "group_id", "hour", "count"],
        orient="row",
    )


def test_an_alert_ends_with_its_exposed_span():
    """Two hours over the limit in spans that do not meet are two alerts, however near."""
    edges = [(0, 251), (252, 300)]
    exposure = pl.DataFrame(
        [(1, 7, MONDAY + start * HOUR, MONDAY + end * HOUR) for start, end in edges],
        schema=["project_id", "group_id", "start", "end"],
        orient="row",
    )
    counts = three_loud_hours()
    table = sweep(counts, None, [STANDARD], buckets="dense", exposure=exposure)
    assert table["alerts"].item() == 2 == backtest(counts, buckets="dense", exposure=exposure).alerts.height
    assert sweep(counts, None, [STANDARD], buckets="dense")["alerts"].item() == 1


def test_an_alert_after_an_escalation_is_not_the_one_before_it():
    """The last hour over the limit before belongs to an escalation, the one before that does not: three alerts."""
    began = MONDAY + 252 * HOUR
    escalations = pl.DataFrame(
        {
            "project_id": [1],
            "group_id": [7],
            "escalated_at": [began],
            "ended_at": [began + HOUR],
            "provenance": ["human"],
        }
    )
    counts, strict = three_loud_hours(), Matching(lead_hours=0, grace_hours=0)
    table = sweep(counts, escalations, [STANDARD], buckets="dense", matching=strict)
    assert_equal_to_backtest(table, one_by_one(counts, escalations, [STANDARD], buckets="dense", matching=strict))
    assert table.select("alerts", "events_caught", "false_alarms").row(0) == (3, 1, 2)


@pytest.mark.parametrize("merge", [1.9999999999, (0.1 + 0.7) * 10 - 6, 2, 2.0000001, 3.9, 10**6])
def test_hours_are_merged_to_the_microsecond(merge):
    counts, matching = three_loud_hours(), Matching(merge_hours=merge)
    alerts = backtest(counts, buckets="dense", matching=matching).alerts.height
    assert sweep(counts, None, [STANDARD], buckets="dense", matching=matching)["alerts"].item() == alerts


def test_a_delay_of_six_minutes_is_a_tenth_of_an_hour_in_every_frame():
    """A tie between the hour that caught and the end of watching must not hang on the number of rows."""
    rows = [
        (1, 7, MONDAY + 251 * HOUR - timedelta(minutes=6), None, "human"),
        (1, 7, MONDAY + 253 * HOUR - timedelta(minutes=6), None, "human"),
    ]
    counts, matching = three_loud_hours(), Matching(lead_hours=1, grace_hours=0, open_hours=1)
    for some in (rows[:1], rows):
        escalations = pl.DataFrame(some, schema=ESCALATIONS, orient="row")
        options = {"buckets": "dense", "matching": matching}
        table = sweep(counts, escalations, [STANDARD], **options)
        assert table["median_delay_hours"].item() == 0.1
        assert_equal_to_backtest(table, one_by_one(counts, escalations, [STANDARD], **options))


@pytest.mark.parametrize("multiplier", [1000, 8])
def test_no_variable_acts_on_new_groups(multiplier):
    counts = three_loud_hours().filter(pl.col("hour") != MONDAY + 100 * HOUR)
    wide = ThresholdVariables(multiplier, multiplier, multiplier, multiplier, multiplier)
    table = sweep(counts, None, [wide, STANDARD], buckets="sparse")
    assert_equal_to_backtest(table, one_by_one(counts, None, [wide, STANDARD], buckets="sparse"))
    assert table["alerts"].to_list() == [1, 1]


def test_where_the_last_bit_of_the_exponential_decides_the_definition_does():
    """Counts so large that neighbouring doubles of the decay tell whole events apart."""
    rng = np.random.default_rng(2)
    busiest = rng.integers(5 * 10**14, 9 * 10**14, 3000)
    mean, deviation = rng.uniform(1, 9, 3000), rng.uniform(0, 9, 3000)
    decay = np.array([5 * math.exp(-0.65 * (one / other)) for one, other in zip(deviation, mean)])
    count = (busiest * decay).astype(np.int64) + rng.integers(0, 2, 3000)
    found = critical_values(count, busiest, mean, deviation, mean)
    assert (found.decay_fires == (busiest * decay < count)).all()
    assert 100 < found.decay_fires.sum() < 2900
    plain = 5 * np.exp(-0.65 * (deviation / mean))
    assert (plain != decay).any()


def test_minus_zero_is_zero():
    counts = three_loud_hours()
    frame = pl.DataFrame({name: [-0.0] for name in VARIABLES})
    assert sweep(counts, None, frame)["digest"].item() == ThresholdVariables(0, 0, 0, 0, 0).digest
