"""The topic ``group-attributes``: a snapshot of an issue each time something about it changed.

Carries the status changes as integers ``status`` and ``substatus``, one message for each (priorities and assignees as
well: their snapshots repeat the status), without the cause of an escalation and without limits. In the order of time;
snapshots of one issue at one moment in the order in which they happened.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import polars as pl

from issue_analytics.frames import KEY
from issue_analytics.simulate.writers.lines import ISO_MICROS, about_groups, pack, parts

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["write"]

_STATES: Final = {
    # kind of the change: status, substatus
    "first_seen": (0, 7),
    "ongoing": (0, 3),
    "escalating": (0, 2),
    "regressed": (0, 6),
    "resolved": (1, None),
    "archived_until_escalating": (2, 1),
    "archived_until_condition_met": (2, 4),
    "archived_forever": (2, 5),
}
_ASSIGNEE: Final = 7


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``group_attributes-000.jsonl.gz`` …, 200,000 messages to a file."""
    for number, part in parts(_snapshots(sim)):
        yield f"group_attributes-{number:03}.jsonl.gz", pack(part.to_struct().struct.json_encode())


def _snapshots(sim: "Simulation") -> pl.DataFrame:
    kind, nobody = pl.col("kind"), pl.lit(None, dtype=pl.Int64)
    changed = pl.when(kind.is_in(list(_STATES))).then("kind").forward_fill().over(KEY)
    priority = pl.when(kind.is_in(["first_seen", "set_priority"])).then("value").forward_fill().over(KEY)
    status, substatus = (
        changed.replace_strict({name: state[at] for name, state in _STATES.items()}, return_dtype=pl.Int64)
        for at in (0, 1)
    )
    return (
        about_groups(sim.activities, sim.groups, "first_seen")
        .select(
            "at",
            group_deleted=pl.lit(value=False),
            project_id="project_id",
            group_id="group_id",
            status=status,
            substatus=substatus,
            priority=priority,
            first_release=nobody,
            first_seen=pl.col("first_seen").dt.strftime(ISO_MICROS),
            num_comments=pl.lit(0),
            assignee_user_id=pl.when(kind == "assigned").then(_ASSIGNEE).forward_fill().over(KEY),
            assignee_team_id=nobody,
            owner_suspect_commit_user_id=nobody,
            owner_ownership_rule_user_id=nobody,
            owner_ownership_rule_team_id=nobody,
            owner_codeowners_user_id=nobody,
            owner_codeowners_team_id=nobody,
            timestamp=pl.col("at").dt.strftime(ISO_MICROS),
        )
        .sort("at", maintain_order=True)
        .drop("at")
    )
