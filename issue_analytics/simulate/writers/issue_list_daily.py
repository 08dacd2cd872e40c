"""A page of the issue list with a point a day, as the tracker gives it for longer periods.

Carries nothing that can be used: limits are events per hour, and a day does not say how its events lie. Readers refuse
it and say why. Points count up to the moment at which the hourly list was made too.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from issue_analytics.frames import KEY
from issue_analytics.simulate.writers.issue_list import PAGE, common, listed, page, points
from issue_analytics.simulate.writers.rest import counts_at, exported_at, zero_filled

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["write"]


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``issue-list-14d.json`` and ``issue-list-auto.json``: the first page with that ``groupStatsPeriod``."""
    moment = exported_at(sim)
    issues = listed(sim, moment).head(PAGE)
    today = moment.replace(hour=0, minute=0)
    daily = points(zero_filled(counts_at(sim, moment), issues, today - timedelta(days=13), today, "1d"))
    stats = issues.select(KEY).join(daily, on=KEY, how="left", maintain_order="left")["points"]
    for period in ("14d", "auto"):
        listing = issues.select(
            pl.concat_str(common(issues), pl.lit(f',"stats":{{"{period}":'), stats, pl.lit("}}")).alias("issue")
        ).to_series()
        yield f"issue-list-{period}.json", page(listing)
