"""Issues as the tracker retrieves them one by one, with their activities: one JSON object per line.

Carries the status changes (what :attr:`Simulation.activities` knows), newest first and 100 at most; of the occurrences
only each group's number, first and last.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import polars as pl

from issue_analytics.frames import KEY
from issue_analytics.simulate.texts import TYPES
from issue_analytics.simulate.writers.lines import ISO_MICROS, pack

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["activity_json", "issue_fields", "write"]

_PRIORITY: Final = {25: "low", 50: "medium", 75: "high"}

_CONDITION: Final = (
    '{"ignoreCount":%s,"ignoreDuration":null,"ignoreUntil":null,"ignoreUserCount":null,"ignoreUserWindow":null,'
    '"ignoreWindow":null,"ignoreUntilEscalating":%s}'
)


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``issues.jsonl.gz``."""
    yield "issues.jsonl.gz", pack(_issue_lines(sim.occurrences, sim.groups, sim.activities))


def _issue_lines(occurrences: pl.DataFrame, groups: pl.DataFrame, activities: pl.DataFrame) -> pl.Series:
    """One issue per line as the tracker retrieves it, newest activity first."""
    seen = occurrences.group_by(KEY).agg(last=pl.col("detected_at").max(), count=pl.len())
    frame = groups.join(seen, on=KEY, how="left", maintain_order="left").join(
        activity_json(activities).group_by(KEY, maintain_order=True).agg(pl.col("activity").str.join(",")),
        on=KEY,
        how="left",
        maintain_order="left",
    )
    return (
        issue_fields(frame)
        .select(start=pl.struct(pl.all()).struct.json_encode().str.strip_suffix("}"))
        .with_columns(frame["activity"])
        .select(pl.concat_str("start", pl.lit(',"statusDetails":{},"activity":['), "activity", pl.lit("]}")))
        .to_series()
    )


def issue_fields(issues: pl.DataFrame) -> pl.DataFrame:
    """What the REST API says of an issue itself.

    ``issues`` are rows of :attr:`Simulation.groups` with the time of their ``last`` occurrence and their ``count``,
    null where there was none.
    """
    category = {kind.id: kind.category for kind in TYPES}
    project = pl.format("project-{}", "project_id")
    return issues.select(
        id=pl.col("group_id").cast(pl.String),
        shortId=pl.format("PROJECT-{}-{}", "project_id", "group_id"),
        project=pl.struct(
            id=pl.col("project_id").cast(pl.String), name=project, slug=project, platform=pl.lit("python")
        ),
        title="title",
        culprit="culprit",
        level="level",
        type=pl.when(pl.col("type") == 1).then(pl.lit("error")).otherwise(pl.lit("generic")),
        issueType="issue_type",
        issueCategory=pl.col("type").replace_strict(category, return_dtype=pl.String),
        status="status",
        substatus="substatus",
        priority=pl.col("priority").replace_strict(_PRIORITY, return_dtype=pl.String),
        firstSeen=pl.col("first_seen").dt.strftime(ISO_MICROS),
        lastSeen=pl.coalesce("last", "first_seen").dt.strftime(ISO_MICROS),
        count=pl.col("count").fill_null(0).cast(pl.String),
    )


def activity_json(activities: pl.DataFrame) -> pl.DataFrame:
    """Each activity as a JSON object, newest first; the first seen comes last and has the id 0."""
    kind, value = pl.col("kind"), pl.col("value")
    event = pl.format('"event_id":"{}"', "event_id")
    level = value.replace_strict(_PRIORITY, default=None, return_dtype=pl.String)
    activity_id = pl.int_range(1, pl.len() + 1)
    is_first = kind == "first_seen"
    by_user = pl.col("type").is_in(["set_ignored", "set_resolved", "assigned"])
    data = (
        pl.when(is_first)
        .then(pl.concat_str(pl.lit('{"priority":"'), level, pl.lit('"}')))
        .when(kind == "ongoing")
        .then(pl.lit('{"after_days":7}'))
        .when(kind == "archived_until_escalating")
        .then(pl.lit(_CONDITION % ("null", "true")))
        .when(kind == "archived_until_condition_met")
        .then(pl.concat_str(pl.lit('{"ignoreCount":'), value, pl.lit("," + _CONDITION.split(",", 1)[1] % "null")))
        .when(kind == "archived_forever")
        .then(pl.lit(_CONDITION % ("null", "null")))
        .when(pl.col("cause") == "forecast")
        .then(pl.concat_str(pl.lit("{"), event, pl.lit(',"forecast":'), value, pl.lit("}")))
        .when(pl.col("cause") == "condition")
        .then(
            pl.concat_str(
                pl.lit("{"),
                event,
                pl.lit(',"expired_snooze":{"until":null,"count":'),
                value,
                pl.lit(',"window":null,"user_count":null,"user_window":null}}'),
            )
        )
        .when(pl.col("cause") == "velocity")
        .then(pl.concat_str(pl.lit("{"), event, pl.lit("}")))
        .when(kind == "regressed")
        .then(pl.lit('{"version":""}'))
        .when(kind == "set_priority")
        .then(
            pl.concat_str(
                pl.lit('{"priority":"'),
                level,
                pl.lit('","reason":"'),
                pl.when(value == pl.col("initial_priority")).then(pl.lit("ongoing")).otherwise(pl.lit("escalating")),
                pl.lit('"}'),
            )
        )
        .when(kind == "assigned")
        .then(pl.lit('{"assignee":"7","assigneeEmail":"on-call@example.com","assigneeType":"user"}'))
        .otherwise(pl.lit("{}"))
    )
    return (
        activities.with_columns(number=pl.when(is_first).then(0).otherwise(activity_id))
        .select(
            *KEY,
            pl.concat_str(
                pl.lit('{"id":"'),
                "number",
                pl.lit('","type":"'),
                "type",
                pl.lit('","user":'),
                pl.when(by_user).then(pl.lit('{"id":"7","name":"On call"}')).otherwise(pl.lit("null")),
                pl.lit(',"data":'),
                data,
                pl.lit(',"dateCreated":"'),
                pl.col("at").dt.strftime(ISO_MICROS),
                pl.lit('"}'),
            ).alias("activity"),
        )
        .reverse()
    )
