"""Limits and sweeps of 10,000 groups over 12 weeks against four peers, in one run.

Run with ``python benchmarks/tuning.py [--rounds 3] [--markdown --date 2026-01-05]``; some minutes. The peers are the
one-group loop, polars' bare scan of the counts, statsforecast (``pip install -c constraints.txt -e '.[bench]'``; left
out with a message if it is not installed) and a loop of backtests, one per setting. That both sides give the same is
checked first.

All windows are dense: hours without events are points, so that every limit depends on the thresholds. Limits are
measured on one core, in one process, in turns, by processor time; everything else in a process of its own with all
cores, in turns too (`paired`), by the clock, with processor time of all cores beside it: where the two are far apart,
others were at work. Peaks of memory are those of a whole process, which has read the counts and prepared them before.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from paired import one, paired
from polars.testing import assert_frame_equal
from scores import GROUPS, START, history

import issue_analytics as ia
from issue_analytics.counts import Panel, panels
from issue_analytics.formula import generate_issue_forecast
from issue_analytics.kernel import limits_on

WEEKS, BACKTESTS, INTERACTIVE, LOOP_GROUPS, REPEATS, DAYS = 12, 5, 50, 100, 15, 14
WEEK = timedelta(weeks=1)
END = START + timedelta(weeks=WEEKS)
AS_OF = [START + timedelta(days=day) for day in range(7, 7 * WEEKS)]
RANGES = {
    "std_multiplier": (0.5, 10),
    "min_spike_multiplier": (2, 5),
    "max_spike_multiplier": (5, 12),
    "min_bursty_multiplier": (1, 3),
    "max_bursty_multiplier": (3, 8),
}
"""No minimum above its maximum: every combination is a setting."""

GRID = {name: np.linspace(*between, 16).tolist() for name, between in RANGES.items()}
CLOCKS = ("wall", "cpu")
COMPARED = ("alerts", "events", "events_caught", "false_alarms", "precision", "recall", "median_delay_hours")


def read(folder: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    counts, escalations = (pl.read_parquet(f"{folder}/{part}.parquet") for part in ("counts", "escalations"))
    return counts, escalations


def seconds(call: Callable[[], object]) -> float:
    """Time of the one core used; what others take of it meanwhile does not count."""
    began = time.process_time()
    call()
    return time.process_time() - began


def limits(folder: str) -> None:
    """Print seconds of each way to make limits; per group and moment for the loops, for all of them otherwise."""
    counts, _ = read(folder)
    [panel] = panels(counts, START, END, cells=GROUPS * WEEKS * 168)
    last = Panel(panel.groups, AS_OF[-1] - WEEK, np.asfortranarray(panel.counts[:, -192:-24]), panel.first)
    hours = [(START + timedelta(hours=hour)).isoformat() for hour in range(WEEKS * 168)]
    some = [(group, number) for number, group in enumerate(range(0, GROUPS, max(1, GROUPS // LOOP_GROUPS)))]

    def loop(moments: list[int], days: int) -> Callable[[], list[list[int]]]:
        asked = [(group, moments[number % len(moments)]) for group, number in some]
        windows = []
        for group, at in asked:
            window = slice(24 * at, 24 * at + 168)
            windows.append({"intervals": hours[window], "data": panel.counts[group, window].tolist()})

        def run() -> list[list[int]]:
            made = [
                generate_issue_forecast(window, AS_OF[at], days=days)
                for window, (_, at) in zip(windows, asked, strict=True)
            ]
            return [[int(day["forecasted_value"]) for day in group] or [0] * days for group in made]

        return run

    ways: dict[str, Callable[[], Any]] = {
        "daily loop": loop(list(range(len(AS_OF))), 1),
        "daily kernel": lambda: limits_on(panel, AS_OF, buckets="dense"),
        "daily pass": panel.counts.sum,
        "once loop": loop([len(AS_OF) - 1], DAYS),
        "once kernel": lambda: limits_on(last, AS_OF[-1:], buckets="dense", days=DAYS),
        "once pass": last.counts.sum,
    }
    daily, once = ways["daily kernel"]()[0], ways["once kernel"]()[0]
    assert ways["daily loop"]() == [daily[group, at % len(AS_OF)].tolist() for group, at in some], "limits disagree"
    assert ways["once loop"]() == [once[group, 0].tolist() for group, _ in some], "limits disagree"
    week = counts.filter(pl.col("hour") >= END - WEEK)
    try:
        from statsforecast import StatsForecast
        from statsforecast.models import Naive
    except ImportError:
        pass
    else:
        dense = panel.counts[:, -168:]
        long = pl.DataFrame({"unique_id": np.arange(GROUPS).repeat(168), "y": dense.ravel().astype(np.float64)})
        long = long.with_columns(
            ds=pl.lit(END.replace(tzinfo=None)) - pl.duration(hours=168 - pl.int_range(pl.len()) % 168)
        )
        model = StatsForecast(models=[Naive()], freq="1h", n_jobs=1)
        again = model.forecast(df=long.head(50 * 168), h=24)  # warm, and what is expected: the last count again
        assert again["Naive"].to_list() == dense[:50, -1].repeat(24).tolist(), "statsforecast was asked wrongly"
        ways["statsforecast"] = lambda: model.forecast(df=long, h=24)
        ways["forecast"] = lambda: ia.forecast(week, END, days=1, buckets="dense")
        ways["forecast"]()
    times = [{name: seconds(way) for name, way in ways.items()} for _ in range(REPEATS)]
    for turn in times:
        for which, moments in (("daily", len(AS_OF)), ("once", 1)):
            turn[f"{which} loop"] *= GROUPS * moments / len(some)
    print(json.dumps(times))


def brute_force(counts: pl.DataFrame, escalations: pl.DataFrame) -> list[ia.BacktestResult]:
    return [ia.backtest(counts, escalations, thresholds=one, buckets="dense") for one in first_settings()]


def first_settings() -> list[ia.ThresholdVariables]:
    rows = ia.ThresholdVariables.sample(BACKTESTS, **RANGES).iter_rows()
    return [ia.ThresholdVariables(*row) for row in rows]


def check(folder: str) -> None:
    """Every backtest of the brute force says what the sweep says."""
    counts, escalations = read(folder)
    swept = ia.sweep(counts, escalations, first_settings(), buckets="dense").select(COMPARED)
    single = pl.concat([result.summary().select(COMPARED) for result in brute_force(counts, escalations)])
    assert_frame_equal(swept, single, check_exact=False, abs_tol=0, rel_tol=1e-14)  # whole numbers, and their ratios
    print(f"{swept['alerts'].min():,} to {swept['alerts'].max():,} alerts, {swept['events'][0]:,} events")


SCAN, BRUTE, PREPARE = "bare scan of the counts", f"{BACKTESTS} backtests in a loop", "prepare"
THOUSAND, BY_GRID, SOBOL = "1,000 settings", f"{16**5:,} settings, a grid", "1,000,000 settings, Sobol"
SINGLE = f"{INTERACTIVE} settings, one by one"
SETTINGS: Mapping[str, Callable[[], pl.DataFrame]] = {
    THOUSAND: lambda: ia.ThresholdVariables.sample(1000, **RANGES),
    BY_GRID: lambda: ia.ThresholdVariables.grid(**GRID),
    SOBOL: lambda: ia.ThresholdVariables.sample(1_000_000, **RANGES),
}


def work(name: str, folder: str) -> None:
    """One variant in this process: what it needs is read and made before the clock starts."""
    if name == SCAN:
        one(pl.scan_parquet(f"{folder}/counts.parquet").select(pl.all().max()).collect)
        return
    counts, escalations = read(folder)
    few = counts.filter(pl.col("group_id") < 50), escalations.filter(pl.col("group_id") < 50)
    if name == BRUTE:
        brute_force(*few)  # what a process loads only once
        one(lambda: brute_force(counts, escalations))
        return
    ia.prepare(*few, buckets="dense").sweep(first_settings())
    if name == PREPARE:
        one(lambda: ia.prepare(counts, escalations, buckets="dense"))
        return
    prepared = ia.prepare(counts, escalations, buckets="dense")
    if name in SETTINGS:
        settings = SETTINGS[name]()
        one(lambda: prepared.sweep(settings, progress=False))
        return
    prepared.sweep(SETTINGS[THOUSAND]())  # the search before, after which somebody tries single settings
    tried = [ia.ThresholdVariables(*row) for row in ia.ThresholdVariables.sample(INTERACTIVE, seed=1, **RANGES).rows()]
    groups = prepared.groups["group_id"].sample(INTERACTIVE, seed=0).to_list()

    def try_all() -> None:
        for setting, group in zip(tried, groups, strict=True):
            prepared.sweep([setting])
            prepared.limits(setting, group_id=group)
            prepared.counts.filter(pl.col("group_id") == group)

    one(try_all)


def child(part: str, folder: str, **environment: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, __file__, "--only", part, "--folder", folder],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{part}: {done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1]


Row = tuple[str, str, str, str, str]


def times_faster(ratio: float) -> str:
    if ratio < 1:
        return f"{1 / ratio:.1f} times longer"
    return f"{ratio:,.{0 if ratio >= 20 else 1}f} times faster"


def limit_rows(times: list[dict[str, float]]) -> list[Row]:
    """What was done, how long it took, against what, the ratio, the goal."""

    def median(name: str) -> float:
        return statistics.median(pair[name] for pair in times)

    def ratio(slow: str, fast: str) -> float:
        return statistics.median(pair[slow] / pair[fast] for pair in times)

    rows = []
    for which, moments, days in (("once", 1, DAYS), ("daily", len(AS_OF), 1)):
        times_a_day = f"on {moments} days" if moments > 1 else "once"
        what = f"limits of {GROUPS:,} groups, made {times_a_day} for {days} day{'s' * (days > 1)}, one core"
        kernel = median(f"{which} kernel")
        rows += [
            (
                what,
                f"{kernel * 1e3:.1f} ms",
                f"one-group loop: {median(f'{which} loop'):,.1f} s",
                times_faster(ratio(f"{which} loop", f"{which} kernel")),
                "3,000 times faster",
            ),
            (
                "the same",
                f"{kernel * 1e3:.1f} ms",
                f"one pass over the counts: {median(f'{which} pass') * 1e3:.2f} ms",
                times_faster(ratio(f"{which} pass", f"{which} kernel")),
                "at most 10 times longer",
            ),
        ]
    if "forecast" in times[0]:
        rows.append(
            (
                f"limits of {GROUPS:,} groups for a day, frame in, frame out, one core",
                f"{median('forecast') * 1e3:.0f} ms",
                f"statsforecast's `Naive` on the same weeks: {median('statsforecast') * 1e3:.0f} ms",
                times_faster(ratio("statsforecast", "forecast")),
                "",
            )
        )
    return rows


def sweep_rows(runs: Mapping[str, list[dict[str, float]]]) -> list[Row]:
    def wall(name: str) -> float:
        return statistics.median(run["wall"] for run in runs[name])

    def total(turn: int, *names: str) -> float:
        return sum(runs[name][turn]["wall"] for name in names)

    def ratio(over: tuple[str, ...], under: tuple[str, ...]) -> float:
        turns = range(len(runs[BRUTE]))
        return statistics.median(total(turn, *over) / total(turn, *under) for turn in turns)

    def spent(*names: str) -> str:
        clock, cores = (sum(statistics.median(run[what] for run in runs[name]) for name in names) for what in CLOCKS)
        peak = max(run["peak"] for name in names for run in runs[name]) / 1e9
        return f"{clock:.1f} s ({cores:.1f} s of cores), {peak:.1f} GB"

    rows = [
        (
            "preparing the statistics of all windows, and what they are judged by",
            spent(PREPARE),
            f"polars' {SCAN}: {wall(SCAN):.2f} s",
            times_faster(ratio((SCAN,), (PREPARE,))),
            "",
        ),
        (
            f"{THOUSAND} exactly, preparing included",
            spent(PREPARE, THOUSAND),
            f"{BRUTE}: {spent(BRUTE)}",
            times_faster(ratio((BRUTE,), (PREPARE, THOUSAND))),
            "faster than 5 backtests",
        ),
    ]
    for name in (BY_GRID, SOBOL):
        settings = int(name.split()[0].replace(",", ""))
        each = settings / BACKTESTS
        rows.append(
            (
                f"{name}, exactly, once prepared",
                spent(name),
                f"as many backtests: {wall(BRUTE) * each / 86_400:,.0f} days",
                times_faster(ratio((BRUTE,), (name,)) * each),
                "60 s, 2 GB",
            )
        )
    each_single = [statistics.median(run[what] for run in runs[SINGLE]) / INTERACTIVE * 1e3 for what in CLOCKS]
    rows.append(
        (
            "one more setting: its summary, and the limits and counts of one group",
            f"{each_single[0]:.0f} ms ({each_single[1]:.0f} ms of cores)",
            f"one backtest: {wall(BRUTE) / BACKTESTS:.1f} s",
            times_faster(ratio((BRUTE,), (SINGLE,)) * INTERACTIVE / BACKTESTS),
            "50 ms",
        )
    )
    return rows


def machine() -> str:
    """The shape of the machine, in words."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{len(os.sched_getaffinity(0))} cores of {model}, {memory:.0f} GiB, Python {platform.python_version()}, "
        f"polars {pl.__version__}, numpy {np.__version__}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--markdown", action="store_true", help="print the table of the README; all else as errors")
    parser.add_argument("--date", help="the day to write under the table")
    parser.add_argument("--only")
    parser.add_argument("--folder")
    options = parser.parse_args()
    if options.only:
        parts: dict[str, Callable[[str], Any]] = {"limits": limits, "check": check}
        parts.get(options.only, lambda folder: work(options.only, folder))(options.folder)
        return
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        if options.markdown:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        counts, escalations = history(7 * WEEKS)
        counts.write_parquet(f"{folder}/counts.parquet")
        escalations.write_parquet(f"{folder}/escalations.parquet")
        print(f"{machine()}\n{GROUPS:,} groups x {WEEKS} weeks, dense: {counts.height:,} counts, ", end="", flush=True)
        del counts, escalations
        print(f"{child('check', folder)}; medians of {options.rounds} rounds", flush=True)
        one_core = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        rows = limit_rows(json.loads(child("limits", folder, **one_core)))
        if not any("statsforecast" in row[2] for row in rows):
            print("  statsforecast is not installed and left out: pip install -c constraints.txt -e '.[bench]'")
        variants = [BRUTE, SCAN, PREPARE, *SETTINGS, SINGLE]
        rows += sweep_rows(paired(__file__, variants, options.rounds, "--folder", folder))
        print()
        for what, took, peer, ratio, goal in rows:
            print(f"  {what}\n      {took}; {peer}; {ratio}{f' (goal: {goal})' if goal else ''}")
    if options.markdown:
        print("| what | takes | against | | goal |\n|---|---|---|---|---|")
        print("\n".join(f"| {' | '.join(row)} |" for row in rows))
        day = f"{options.date}, " if options.date else ""
        rounds = f"medians of {options.rounds} rounds in turns" if options.rounds > 1 else "one round"
        print(f"\n{day}{machine()}; {GROUPS:,} groups over {WEEKS} weeks, {rounds}.")


if __name__ == "__main__":
    main()
