"""Simulated frames as the files that a tracker's exports would be."""

import gzip
import io
import os
import re
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from issue_analytics.errors import DatasetError
from issue_analytics.frames import KEY
from issue_analytics.simulate.texts import TYPES

__all__ = ["write_files"]

RECORDS_PER_FILE: Final = 200_000

_STAMP: Final = "%Y-%m-%dT%H:%M:%S%.6fZ"
_PRIORITY: Final = {25: "low", 50: "medium", 75: "high"}

_CONDITION: Final = (
    '{"ignoreCount":%s,"ignoreDuration":null,"ignoreUntil":null,"ignoreUserCount":null,"ignoreUserWindow":null,'
    '"ignoreWindow":null,"ignoreUntilEscalating":%s}'
)


def write_files(
    folder: Path,
    occurrences: pl.DataFrame,
    groups: pl.DataFrame,
    activities: pl.DataFrame,
    escalations: pl.DataFrame,
    *,
    progress: bool | None = None,
) -> list[Path]:
    """Write everything under temporary names, then rename: a file is there whole or not at all."""
    from tqdm.auto import tqdm

    count = max(1, -(-occurrences.height // RECORDS_PER_FILE))
    names = [f"occurrences-{number:03}.jsonl.gz" for number in range(count)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if other := [
            path.name
            for path in sorted(folder.iterdir())
            if re.fullmatch(r"occurrences-\d+\.jsonl\.gz", path.name) and path.name not in names
        ]:
            raise DatasetError(
                f"{folder}: holds {', '.join(other)} of a larger simulation; the two would be read as one. "
                "Choose an empty folder, or remove them."
            )
        records = _records(groups)
        done: list[tuple[Path, Path]] = []
        try:
            bar = tqdm(names, desc="write", unit="file", delay=2, leave=False, disable=progress is False)
            for number, name in enumerate(bar):
                part = occurrences[number * RECORDS_PER_FILE : (number + 1) * RECORDS_PER_FILE]
                done.append(_put(folder / name, _lines(_occurrence_lines(part, records))))
            done.append(_put(folder / "issues.jsonl.gz", _lines(_issue_lines(occurrences, groups, activities))))
            done.append(_put(folder / "planted.csv", _planted_csv(escalations)))
            for temporary, path in done:
                temporary.replace(path)
        finally:
            for temporary, _ in done:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be written ({error.strerror or error}).") from None
    return [path for _, path in done]


def _put(path: Path, content: bytes) -> tuple[Path, Path]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            if path.suffix == ".gz":
                # no name and no clock in the header: same content, same bytes
                with gzip.GzipFile(filename="", mode="wb", compresslevel=3, fileobj=file, mtime=0) as packed:
                    packed.write(content)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:  # interrupted as well: nothing half written stays
        temporary.unlink(missing_ok=True)
        raise
    return temporary, path


def _lines(lines: pl.Series) -> bytes:
    out = io.BytesIO()
    # the lines are JSON, so no line break is inside; the CSV writer is by far the fastest way to put them out
    lines.to_frame("line").write_csv(out, include_header=False, quote_style="never")
    return out.getvalue()


def _records(groups: pl.DataFrame) -> pl.DataFrame:
    """What the occurrence records of a group have in common, as JSON without the opening brace."""
    shared = groups.select(
        "project_id",
        "fingerprint",
        issue_title="title",
        subtitle="subtitle",
        resource_id=pl.lit(None, dtype=pl.String),
        evidence_data=pl.struct(detector=pl.col("issue_type"), transaction=pl.col("culprit")),
        evidence_display=pl.concat_list(
            pl.struct(name=pl.lit("Transaction"), value=pl.col("culprit"), important=pl.lit(value=True)),
            pl.struct(name=pl.lit("Detector"), value=pl.col("issue_type"), important=pl.lit(value=False)),
        ),
        type="type",
        level="level",
        culprit="culprit",
        initial_issue_priority="initial_priority",
        assignee=pl.lit(None, dtype=pl.String),
        payload_type=pl.lit("occurrence"),
        group_id="group_id",
    )
    return groups.select(KEY).with_columns(rest=shared.to_struct("record").struct.json_encode().str.slice(1))


def _occurrence_lines(occurrences: pl.DataFrame, records: pl.DataFrame) -> pl.Series:
    milliseconds = pl.col("detected_at").dt.epoch("ms")
    return (
        occurrences.join(records, on=KEY, how="left", maintain_order="left")
        .select(
            line=pl.concat_str(
                pl.lit('{"id":"'),
                "occurrence_id",
                pl.lit('","event_id":"'),
                "event_id",
                pl.lit('","detection_time":'),
                milliseconds // 1000,
                pl.lit("."),
                (milliseconds % 1000).cast(pl.String).str.zfill(3),
                pl.lit(","),
                "rest",
            )
        )
        .to_series()
    )


def _issue_lines(occurrences: pl.DataFrame, groups: pl.DataFrame, activities: pl.DataFrame) -> pl.Series:
    """One issue per line as the tracker retrieves it, newest activity first."""
    category = {kind.id: kind.category for kind in TYPES}
    seen = occurrences.group_by(KEY).agg(last=pl.col("detected_at").max(), count=pl.len())
    frame = groups.join(seen, on=KEY, how="left", maintain_order="left").join(
        _activity_json(activities).group_by(KEY, maintain_order=True).agg(pl.col("activity").str.join(",")),
        on=KEY,
        how="left",
        maintain_order="left",
    )
    project = pl.format("project-{}", "project_id")
    issue = frame.select(
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
        firstSeen=pl.col("first_seen").dt.strftime(_STAMP),
        lastSeen=pl.coalesce("last", "first_seen").dt.strftime(_STAMP),
        count=pl.col("count").fill_null(0).cast(pl.String),
    )
    return (
        issue.select(start=pl.struct(pl.all()).struct.json_encode().str.strip_suffix("}"))
        .with_columns(frame["activity"])
        .select(pl.concat_str("start", pl.lit(',"statusDetails":{},"activity":['), "activity", pl.lit("]}")))
        .to_series()
    )


def _activity_json(activities: pl.DataFrame) -> pl.DataFrame:
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
                pl.col("at").dt.strftime(_STAMP),
                pl.lit('"}'),
            ).alias("activity"),
        )
        .reverse()
    )


def _planted_csv(escalations: pl.DataFrame) -> bytes:
    return escalations.write_csv(datetime_format="%Y-%m-%dT%H:%M:%SZ").encode()


def hexadecimal(identity: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> pl.Series:
    """Rows of bytes as text."""
    text = np.frombuffer(identity.tobytes().hex().encode(), dtype=f"S{2 * identity.shape[1]}")
    return pl.Series(text, dtype=pl.Binary).cast(pl.String)
