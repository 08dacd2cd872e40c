"""The scores of 10,000 groups over 90 days, each step against the stateless backtest that they are the scores of.

Run with ``python benchmarks/scores.py [--rounds 3]``; each step runs in a process of its own, on results that were
written by an earlier one. ``nothing`` holds them and does nothing: what its peak of memory lacks is the step's own.
What a process loads only once, such as scipy, is loaded by the same step on few groups before the clock starts.
"""

import argparse
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import polars as pl
from paired import one, paired

import issue_analytics as ia
from issue_analytics import scores
from issue_analytics.frames import KEY
from issue_analytics.reporting.scores import calibration_sentences

GROUPS, PROJECTS, DAYS, FEW = 10_000, 1000, 90, 50
BURSTS, HOURS = 4, 3
START = datetime(2026, 1, 5, tzinfo=UTC)
RATIOS = [one for ratio in scores.HEADLINE for one in (ratio, ratio.macro())]


def history(days: int = DAYS) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Hourly counts of groups of very different volume, with bursts; every ninth burst is known as an escalation."""
    rng = np.random.default_rng(5)
    count = rng.poisson(10 ** rng.uniform(-2, 1, (GROUPS, 1)), (GROUPS, days * 24))
    group, at = np.repeat(np.arange(GROUPS), BURSTS), rng.integers(0, days * 24 - HOURS, GROUPS * BURSTS)
    size = rng.integers(1, 100, group.size)
    for hour in range(HOURS):
        np.add.at(count, (group, at + hour), size)
    row, column = np.nonzero(count)
    counts = pl.DataFrame({"group_id": row, "hour": column, "count": count[row, column]})
    labels = pl.DataFrame({"group_id": group, "hour": at}).gather_every(9)
    key = {"project_id": pl.col("group_id") % PROJECTS, "group_id": "group_id"}
    utc = pl.Datetime("us", "UTC")
    return (
        counts.select(**key, hour=(pl.lit(START) + pl.duration(hours="hour")).cast(utc), count="count"),
        labels.select(
            **key,
            escalated_at=(pl.lit(START) + pl.duration(hours="hour", minutes=20)).cast(utc),
            ended_at=(pl.lit(START) + pl.duration(hours=pl.col("hour") + HOURS)).cast(utc),
            provenance=pl.lit("injected"),
        ),
    )


def write(folder: str, name: str, counts: pl.DataFrame, escalations: pl.DataFrame) -> tuple[ia.BacktestResult, ...]:
    results = tuple(ia.backtest(counts, escalations, thresholds=one) for one in (ia.STANDARD, ia.TIGHTER))
    ia.write_run(results, f"{folder}/{name}")
    return results


def by_volume(result: ia.BacktestResult) -> pl.DataFrame:
    judged = scores.judged_counts(result.exposure, result.limits, result.counts)
    return scores.scaled_limits(judged.join(result.groups.select(*KEY, "volume"), on=KEY), by="volume")


def pairs(result: ia.BacktestResult) -> pl.DataFrame:
    return scores.clustering(scores.transitions(result.exposure, result.limits, result.crossings))


def ranks(result: ia.BacktestResult) -> pl.DataFrame:
    judged = scores.judged_counts(result.exposure, result.limits, result.counts)
    return scores.pit_histogram(scores.window_ranks(judged, result.counts))


STEPS: dict[str, Callable[[ia.BacktestResult, ia.BacktestResult], object]] = {
    "backtest": lambda a, b: ia.backtest(a.counts, a.escalations),
    "nothing": lambda a, b: None,
    "summary": lambda a, b: a.summary(),
    "summary, clusters are projects": lambda a, b: a.summary(cluster="project"),
    "summary by volume": lambda a, b: a.summary_by("volume"),
    f"summary by project ({PROJECTS:,})": lambda a, b: a.summary_by("project_id"),
    "headline, 2,000 resamples": lambda a, b: scores.bootstrap(a.groups, RATIOS),
    "delays, 2,000 resamples": lambda a, b: scores.delay_intervals(a.matches),
    "compare": lambda a, b: ia.compare(a, b),
    "compare, blocks of a week": lambda a, b: ia.compare(a, b, block="1w"),
    "days": lambda a, b: a.days(),
    "judged counts, limits of any scale": lambda a, b: by_volume(a),
    "judged counts, ranks, PIT": lambda a, b: ranks(a),
    "transitions, clustering": lambda a, b: pairs(a),
    "days, sentences on calibration": lambda a, b: calibration_sentences(
        a, a.days().join(a.groups.select(*KEY, "volume"), on=KEY)
    ),
}


def work(name: str, folder: str) -> None:
    few, every = (ia.open_run(f"{folder}/{part}").results for part in ("few", "all"))
    STEPS[name](*few)
    one(lambda: STEPS[name](*every))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only")
    parser.add_argument("--folder")
    options = parser.parse_args()
    if options.only:
        work(options.only, options.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        counts, escalations = history()
        few = pl.col("group_id") < FEW
        write(folder, "few", counts.filter(few), escalations.filter(few))
        result, _ = write(folder, "all", counts, escalations)
        print(
            f"{GROUPS:,} groups x {DAYS} days, {counts.height:,} counts, {result.alerts.height:,} alerts, "
            f"{result.matches.height:,} escalations; medians of {options.rounds} rounds"
        )
        del counts, escalations, result
        paired(__file__, list(STEPS), options.rounds, "--folder", folder)


if __name__ == "__main__":
    main()
