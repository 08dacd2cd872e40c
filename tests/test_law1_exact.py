"""Law 1: the vectorised limit equals a slow one-group loop in exact arithmetic, for any history, any thresholds.

The referee below shares no line with the package: means, variances and square roots are rationals and integers, rounded
once, at the end, to the nearest double; only then come the formula's own double operations.
"""

import json
import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from issue_analytics import kernel
from issue_analytics.counts import Panel
from issue_analytics.forecast import forecast
from issue_analytics.formula import generate_issue_forecast
from issue_analytics.frames import RULES
from issue_analytics.kernel import limits_on
from issue_analytics.thresholds import LOOSER, STANDARD, TIGHTER, FormulaConstants, ThresholdVariables

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
PUBLISHED = Path(__file__).with_name("published_vectors.json")


def nearest_root(value: Fraction) -> float:
    """The double nearest to the square root, by integers alone."""
    if value == 0:
        return 0.0
    shift = 2 * max(0, 140 - value.numerator.bit_length() + value.denominator.bit_length())
    root = math.isqrt((value.numerator << shift) // value.denominator)
    # a sticky bit below 2^-70 relative: no rational square root lies that near to a midpoint without being one
    return float(Fraction(2 * root + 1, 2 * 2 ** (shift // 2)))


def referee(window: list[int], as_of: datetime, thresholds: ThresholdVariables, *, days: int, sparse: bool):
    """One group, one hour at a time."""
    busiest = max(window)
    if busiest == 0:
        return [(None, "none")] * days
    if sparse and sum(1 for count in window if count) < 168:
        return [(10 * busiest, "new")] * days
    n = len(window)
    mean_exact = Fraction(sum(window), n)
    variance = sum((Fraction(count) - mean_exact) ** 2 for count in window) / (n - 1)
    mean, deviation = float(mean_exact), nearest_root(variance)
    multiplier = 5 * math.exp(-0.65 * (deviation / mean))
    multiplier = max(thresholds.min_bursty_multiplier, multiplier)
    multiplier = min(multiplier, thresholds.max_bursty_multiplier)
    bursty = multiplier * busiest
    spread = (mean + thresholds.std_multiplier * deviation) / mean
    spread = min(max(spread, thresholds.min_spike_multiplier), thresholds.max_spike_multiplier)
    result = []
    for ahead in range(days):
        wanted = (as_of + timedelta(days=ahead)).weekday()
        top = bottom = 0
        for back, count in enumerate(reversed(window), start=1):
            weight = 2 if (as_of - timedelta(hours=back)).weekday() == wanted else 1
            top += weight * count
            bottom += weight
        spike = float(Fraction(top, bottom)) + spread * mean
        result.append((int(max(bursty, spike)), "bursty" if bursty >= spike else "spike"))
    return result


def panel_of(histories: np.ndarray, start: datetime) -> Panel:
    groups = pl.DataFrame({"project_id": [1] * len(histories), "group_id": range(len(histories))})
    return Panel(groups, start, np.asfortranarray(histories), np.zeros(len(histories), dtype=np.int64))


def generated_histories(rng: np.random.Generator, groups: int) -> np.ndarray:
    """Everything a week can look like: heavy tails, silence, constants, single spikes, counts to 10^7."""
    scale = 10 ** rng.uniform(-1.5, 7, size=(groups, 1))
    shape = 10 ** rng.uniform(-1.5, 2, size=(groups, 1))
    counts = np.minimum(rng.poisson(rng.gamma(shape, scale / shape, size=(groups, 168))), 10**7)
    kind = rng.integers(0, 10, size=groups)
    constant = np.broadcast_to(np.minimum(scale, 10**7).astype(np.int64) + 1, counts.shape)
    single = np.where(np.arange(168) == rng.integers(0, 168, size=(groups, 1)), constant, 0)
    counts = np.where((kind == 0)[:, None], constant, counts)
    counts = np.where((kind == 1)[:, None], single, counts)
    counts = np.where((kind == 2)[:, None], counts + 1, counts)  # no silent hour: old when sparse too
    counts = np.where((kind == 3)[:, None], constant + rng.integers(-1, 2, size=counts.shape), counts)
    counts = np.where((kind == 4)[:, None] & (np.arange(168) < rng.integers(0, 169, (groups, 1))), 0, counts)
    counts[0], counts[1], counts[2] = 0, 1, 10**7
    return np.maximum(counts, 0).astype(np.int64)


SETS = [
    STANDARD,
    LOOSER,
    TIGHTER,
    ThresholdVariables(0, 0, 0, 0, 0),
    ThresholdVariables(3.3, 1.1, 7.7, 1.3, 4.9),
    ThresholdVariables(2, 0, 100, 0, 5),  # nothing is clipped: the exponential decides
]


@pytest.mark.parametrize("buckets", ["sparse", "dense"])
@pytest.mark.parametrize("thresholds", SETS, ids=str)
def test_the_kernel_equals_exact_arithmetic(thresholds, buckets):
    rng = np.random.default_rng([1, SETS.index(thresholds), buckets == "sparse"])
    histories = generated_histories(rng, 1_700)  # 12 parameter sets: 20,400 histories
    start = MONDAY + timedelta(hours=int(rng.integers(0, 168)))
    as_of = start + timedelta(hours=168)
    limit, rule = limits_on(panel_of(histories, start), [as_of], thresholds=thresholds, buckets=buckets, days=3)
    for row, window in enumerate(histories.tolist()):
        expected = referee(window, as_of, thresholds, days=3, sparse=buckets == "sparse")
        got = [(int(at) if RULES[by] != "none" else None, RULES[by]) for at, by in zip(limit[row, 0], rule[row, 0])]
        assert got == expected, window


def test_every_rule_was_among_the_generated_histories():
    histories = generated_histories(np.random.default_rng(3), 1_700)
    _, dense = limits_on(panel_of(histories, MONDAY), [MONDAY + timedelta(days=7)], buckets="dense")
    _, sparse = limits_on(panel_of(histories, MONDAY), [MONDAY + timedelta(days=7)], buckets="sparse")
    assert {RULES[rule] for rule in np.unique(dense)} == {"bursty", "spike", "none"}
    assert {RULES[rule] for rule in np.unique(sparse)} == {"bursty", "spike", "new", "none"}


@settings(max_examples=150, deadline=None)
@given(
    window=st.lists(st.one_of(st.integers(0, 12), st.integers(0, 10**7)), min_size=168, max_size=168),
    values=st.tuples(*[st.floats(0, 12)] * 5),
    shift=st.integers(0, 167),
    sparse=st.booleans(),
)
def test_any_history_and_any_thresholds(window, values, shift, sparse):
    k, a, b, c, d = values
    thresholds = ThresholdVariables(k, min(a, b), max(a, b), min(c, d), max(c, d))
    as_of = MONDAY + timedelta(hours=168 + shift)
    panel = panel_of(np.array([window]), MONDAY + timedelta(hours=shift))
    limit, rule = limits_on(panel, [as_of], thresholds=thresholds, buckets="sparse" if sparse else "dense", days=14)
    expected = referee(window, as_of, thresholds, days=14, sparse=sparse)
    assert [
        (int(at) if RULES[by] != "none" else None, RULES[by]) for at, by in zip(limit[0, 0], rule[0, 0])
    ] == expected


def test_counts_too_large_for_int64_sums_are_still_exact():
    window = np.array([[3 * 10**12 + (hour * 7919) % 1013 for hour in range(168)]])
    as_of = MONDAY + timedelta(days=7)
    limit, rule = limits_on(panel_of(window, MONDAY), [as_of], days=2)
    expected = referee(window[0].tolist(), as_of, STANDARD, days=2, sparse=True)
    assert [(int(at), RULES[by]) for at, by in zip(limit[0, 0], rule[0, 0])] == expected


@pytest.mark.parametrize("window", [24, 168, 984])
@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_roots_are_correctly_rounded(window, dtype):
    rng = np.random.default_rng([5, window])
    denominator = window * (window - 1)
    numerators = np.concatenate(
        [rng.integers(0, 2**62, 3_000), rng.integers(0, 2**20, 3_000), np.arange(300) ** 2 * denominator]
    )
    if dtype is np.float64:
        numerators %= 2**53
    roots, doubt = kernel._root_of_ratio(numerators.astype(dtype), denominator)
    expected = [nearest_root(Fraction(int(top), denominator)) for top in numerators]
    assert not doubt.any()
    assert roots.tolist() == expected
    # the plain double root is not good enough: this test can fail
    assert np.sqrt(numerators / denominator).tolist() != expected


def test_a_root_next_to_a_rounding_boundary_is_in_doubt():
    # sqrt(2^60 + 2^8 k) is 2^30 + 2^-23 k but for a part in 2^106 of it: for odd k half way between two doubles
    steps = np.arange(1, 200)
    _, doubt = kernel._root_of_ratio(2**60 + 2**8 * steps, 1)
    assert (doubt == (steps % 2 == 1)).all()


@pytest.mark.parametrize("every", [1, 5, 6, 24, 36])
def test_a_schedule_gives_what_each_moment_gives_alone(every):
    rng = np.random.default_rng(every)
    histories = generated_histories(rng, 40)
    histories = np.concatenate([histories, generated_histories(rng, 40)], axis=1)
    start = MONDAY + timedelta(hours=9)
    moments = [start + timedelta(hours=hour) for hour in range(168, 337, every)]
    limit, rule = limits_on(panel_of(histories, start), moments, buckets="dense", days=9)
    for at, as_of in enumerate(moments):
        low = at * every
        alone = panel_of(histories[:, low : low + 168], as_of - timedelta(hours=168))
        one_limit, one_rule = limits_on(alone, [as_of], buckets="dense", days=9)
        assert (limit[:, at] == one_limit[:, 0]).all()
        assert (rule[:, at] == one_rule[:, 0]).all()


@pytest.mark.parametrize("every", [1, 24])
def test_how_work_is_cut_changes_nothing(monkeypatch, every):
    rng = np.random.default_rng(8)
    histories = np.concatenate([generated_histories(rng, 300), generated_histories(rng, 300)], axis=1)
    panel, moments = panel_of(histories, MONDAY), [MONDAY + timedelta(hours=hour) for hour in range(168, 216, every)]
    whole = limits_on(panel, moments, days=7)
    # few groups at a time: with small counts, whose sums are doubles, or with large ones, whose sums are not
    for name, cells in {"TILE_CELLS": 24 * 3, "CHUNK_CELLS": 100, "BLOCK_CELLS": 7}.items():
        monkeypatch.setattr(kernel, name, cells)
    parts = limits_on(panel, moments, days=7)
    assert (whole[0] == parts[0]).all()
    assert (whole[1] == parts[1]).all()


def test_a_group_of_large_counts_among_small_ones_is_exact():
    rng = np.random.default_rng(9)
    histories = rng.poisson(40, size=(60, 168)).astype(np.int64)
    # about where squares stop to fit 32 bits, sums do, sums of squares over two weeks are no longer exact in doubles
    edges = [9458, 9459, 9460, 65_536, 2**31 // 24, 2**31 // 24 + 1, 2**26 // 168, 2**27 // 168, 2**31, 2**33, 10**12]
    for group, most in enumerate(edges):
        histories[group] = most - rng.integers(0, 3, 168)
    as_of = MONDAY + timedelta(days=7)
    together = limits_on(panel_of(histories, MONDAY), [as_of], buckets="dense", days=2)
    for group, window in enumerate(histories.tolist()):
        expected = referee(window, as_of, STANDARD, days=2, sparse=False)
        got = [(int(at), RULES[by]) for at, by in zip(together[0][group, 0], together[1][group, 0])]
        alone = limits_on(panel_of(histories[group : group + 1], MONDAY), [as_of], buckets="dense", days=2)
        assert got == expected
        assert alone[0][0, 0].tolist() == [limit for limit, _ in expected]


@pytest.mark.parametrize(
    "constants", [FormulaConstants(window_hours=96), FormulaConstants(window_hours=336, weekday_weight=3)]
)
def test_other_constants_agree_with_the_one_group_definition(constants):
    hours = constants.window_hours
    histories = np.random.default_rng(2).poisson(40, size=(50, hours))
    as_of = MONDAY + timedelta(hours=hours + 11)
    stamps = [(as_of - timedelta(hours=hours - hour)).isoformat() for hour in range(hours)]
    start = as_of - timedelta(hours=hours)
    limit, _ = limits_on(panel_of(histories, start), [as_of], days=7, buckets="dense", constants=constants)
    for row, window in enumerate(histories.tolist()):
        one = generate_issue_forecast({"intervals": stamps, "data": window}, as_of, days=7, constants=constants)
        assert limit[row, 0].tolist() == [day["forecasted_value"] for day in one]


def test_published_vectors():
    published = json.loads(PUBLISHED.read_text())
    thresholds = ThresholdVariables(**published["thresholds"])
    assert len(published["cases"]) == 5
    for case in published["cases"]:
        start, first = (datetime.fromisoformat(case[name]) for name in ("start_time", "first_hour"))
        stamps = [first + timedelta(hours=hour) for hour in range(case["hours"])]
        intervals = [stamp.isoformat() for stamp in stamps]
        one = generate_issue_forecast({"intervals": intervals, "data": case["data"]}, start, thresholds)
        expected = case["expected"]
        assert [day["forecasted_value"] for day in one] == expected, case["name"]
        rows = [(1, 1, stamp, count) for stamp, count in zip(stamps, case["data"], strict=False)]
        schema = {"project_id": pl.Int64, "group_id": pl.Int64, "hour": pl.Datetime("us", "UTC"), "count": pl.Int64}
        counts = pl.DataFrame(rows, schema=schema, orient="row")
        if len(case["data"]) == 168:  # a window on the grid: silent hours are points in these vectors
            limits = forecast(counts, start, thresholds=thresholds, buckets="dense")
            assert limits["limit"].to_list() == expected, case["name"]
        elif case["data"]:
            limits = forecast(counts, start, thresholds=thresholds, buckets="sparse")
            assert limits["limit"].to_list() == expected, case["name"]
        else:
            assert forecast(counts, start, thresholds=thresholds).is_empty()
