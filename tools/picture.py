"""Draw the README's picture from simulated data: python tools/picture.py."""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import polars as pl

import issue_analytics as ia

mpl.use("Agg")
sim = ia.simulate(groups=2000, days=56, seed=1)
result = ia.backtest(sim.hourly_counts, sim.escalations, buckets="dense")
caught = result.matches.filter(pl.col("delay_hours") < 3, pl.col("peak").is_between(60, 400)).sort(
    "peak", descending=True
)
case = caught.row(0, named=True)
_, ax = plt.subplots(figsize=(10, 4.2), layout="constrained")
ia.plot_limits(
    sim.hourly_counts,
    result.limits,
    group_id=case["group_id"],
    project_id=case["project_id"],
    at=case["caught_hour"],
    alerts=result.crossings,
    escalations=sim.escalations,
    title=f"Issue {case['group_id']}: an escalation that the standard limit catches",
    ax=ax,
)
out = Path(__file__).parents[1] / "reports" / "example" / "limit.png"
out.parent.mkdir(parents=True, exist_ok=True)
plt.savefig(out, dpi=110, metadata={"Software": None})
