"""Tallies for tests of scores: what groups came to, from a seed."""

import numpy as np
import polars as pl

TALLY = ("alerts", "duplicates", "unjudged", "false_alarms", "events", "events_caught", "quiet_hours")


def random_tallies(rng, groups=60, *, projects=12):
    alerts, events = rng.poisson(3, groups), rng.poisson(1.5, groups)
    judged = alerts - rng.binomial(alerts, 0.2)
    columns = {
        "project_id": rng.integers(0, projects, groups),
        "group_id": rng.permutation(groups) + 100,
        "alerts": alerts,
        "duplicates": alerts - judged,
        "unjudged": np.zeros(groups, dtype=np.int64),
        "false_alarms": rng.binomial(judged, rng.beta(1, 2, groups)),
        "events": events,
        "events_caught": rng.binomial(events, rng.beta(1, 1, groups)),
        "quiet_hours": rng.integers(0, 900, groups),
    }
    return pl.DataFrame(columns)
