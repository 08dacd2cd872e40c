"""The activities of each issue: newest first, 100 at most, the synthetic ``first_seen`` last.

Carries all status changes. The tracker's answer names no issue: here it stands on a line of its own with the ids beside
it, as somebody who asks for many issues would keep it, or in a file named after the issue, without a project.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import polars as pl

from issue_analytics.frames import KEY
from issue_analytics.simulate.writers.issues import activity_json
from issue_analytics.simulate.writers.lines import pack

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["write"]

FILES: Final = 5
"""The issues with most activities have a file each."""

_CAMEL: Final = {
    '"after_days":': '"afterDays":',
    '"event_id":': '"eventId":',
    '"expired_snooze":': '"expiredSnooze":',
    '"user_count":': '"userCount":',
    '"user_window":': '"userWindow":',
    '"data":{}': '"data":null',
}
"""How the tracker's newer storage of activities writes the same; no text from outside is in these objects."""


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``activities.jsonl.gz`` and, for the five issues with most of them, ``activities/<group id>.json``.

    Every fourth line, by group, has its data in camelCase.
    """
    grouped = activity_json(sim.activities).group_by(KEY, maintain_order=True)
    lists = grouped.agg(pl.format("[{}]", pl.col("activity").str.join(",")), number=pl.len()).sort(KEY)
    alone = lists.sort("number", *KEY, descending=[True, False, False]).head(FILES)
    others = lists.join(alone, on=KEY, how="anti", maintain_order="left")
    activity = pl.col("activity")
    spelled = (
        pl.when(pl.col("group_id") % 4 == 0)
        .then(activity.str.replace_many(list(_CAMEL), list(_CAMEL.values())))
        .otherwise(activity)
    )
    ids = pl.concat_str(pl.lit('{"issue_id":'), "group_id", pl.lit(',"project_id":'), "project_id")
    lines = pl.concat_str(ids, pl.lit(',"activity":'), spelled, pl.lit("}"))
    yield "activities.jsonl.gz", pack(others.select(lines.alias("line")).to_series())
    for group_id, text in alone.select("group_id", "activity").iter_rows():
        yield f"activities/{group_id}.json", b'{"activity":' + text.encode() + b"}"
