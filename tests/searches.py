"""Tallies of searches for tests of tuning: settings with known true scores, from a seed."""

from itertools import product

import numpy as np
import polars as pl

from issue_analytics.thresholds import ThresholdVariables
from issue_analytics.tuning.tallies import Tallies

FIRST = ThresholdVariables()


def tallies_of(events, caught, false, *, hours=1680, projects=None, days=None):
    """Tallies of settings x clusters; every alert is a catch or false."""
    clusters = len(events)
    exposed = np.broadcast_to(np.asarray(hours, dtype=np.int64), clusters).copy()
    project = np.ones(clusters, dtype=np.int64) if projects is None else projects
    return Tallies(
        clusters=pl.DataFrame({"project_id": project, "group_id": np.arange(clusters)}),
        events=np.asarray(events, dtype=np.int64),
        exposed_hours=exposed,
        quiet_hours=exposed - np.minimum(exposed, 3 * np.asarray(events, dtype=np.int64)),
        alerts=np.asarray(caught + false, dtype=np.int32),
        false_alarms=np.asarray(false, dtype=np.int32),
        events_caught=np.asarray(caught, dtype=np.int32),
        project_days=None if days is None else np.full(clusters, days),
    )


def random_search(rng, settings=30, clusters=25, *, days=None):
    """Settings near the default, and what each comes to: small numbers, so that many tie."""
    events = rng.poisson(0.8, clusters)
    caught = rng.binomial(events, rng.random((settings, 1)))
    false = rng.poisson(rng.gamma(0.5, 1, clusters) * rng.random((settings, 1)))
    for _ in range(settings // 4):  # settings that do the same
        one, other = rng.integers(0, settings, 2)
        caught[one], false[one] = caught[other], false[other]
    hours = rng.integers(200, 2000, clusters)
    return random_settings(rng, settings), tallies_of(events, caught, false, hours=hours, days=days)


def random_settings(rng, settings):
    choices = list(product([4, 5, 7], [0, 3, 5], [8, 9], [0, 1, 2, 2.5], [5, 6]))
    chosen = rng.permutation(len(choices))[: settings - 1]
    grid = [FIRST, *(ThresholdVariables(*choices[at]) for at in chosen if ThresholdVariables(*choices[at]) != FIRST)]
    while len(grid) < settings:
        grid.append(ThresholdVariables(std_multiplier=float(rng.random() * 10)))
    return [grid[at] for at in rng.permutation(settings)]


def equal_settings(rng, truth, events=40, *, per_cluster=1):
    """Settings that catch each escalation with a chance of their own, and nothing else."""
    truth = np.asarray(truth)
    each = np.full(events // per_cluster, per_cluster)
    caught = rng.binomial(each, truth[:, None] * np.ones(len(each)))
    grid = [ThresholdVariables(std_multiplier=5 + number / 100) for number in range(len(truth))]
    return grid, tallies_of(each, caught, 0 * caught)
