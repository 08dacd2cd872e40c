"""What a dataset covers, and what it cannot tell: to be read before any conclusion is drawn from it."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from issue_analytics.counts import HOUR, span
from issue_analytics.dataset import Dataset
from issue_analytics.frames import KEY

__all__ = ["Coverage", "Finding", "coverage", "find_gaps", "hours_of"]

WEEK_HOURS: Final = 168
UNLIKELY: Final = 0.01
"""A silence is a gap where chance alone would make one like it in fewer than one in a hundred such datasets."""

SUSPICIOUS: Final = 0.05
"""Share of duplicates past which one should ask why."""

_OWN_ID: Final = r"^[0-9a-f]{16}-[0-9]+$"
"""Ids that an import made of a file and a row, as the export had none."""

Level = str
"""``fine``, ``look`` (read it before you trust the rest) or ``stop`` (nothing can be judged)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what was found, whether it matters, and what it means for what follows."""

    name: str
    found: str
    level: Level = "fine"
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a dataset covers.

    Attributes:
        findings: what was looked at, in the order to be read.
        facts: the same as numbers, fit for JSON; null where it is not known.
        hours: one row per hour of the span: ``hour``, ``groups`` (with a row in it) and ``count``.
        groups: one row per group with counts: ``project_id``, ``group_id``, ``first_hour``, ``last_hour``, ``hours``
            (rows), ``count``, ``history_hours`` (from its first row or recorded first seen to the end of the data).
        gaps: one row per silence that is no chance: ``project_id`` (null: of all projects), ``start``, ``end``,
            ``hours``.
    """

    findings: tuple[Finding, ...]
    facts: Mapping[str, Any]
    hours: pl.DataFrame
    groups: pl.DataFrame
    gaps: pl.DataFrame

    @property
    def verdict(self) -> str:
        """One sentence: whether to go on.

        >>> Coverage((Finding("gaps", "1", "look"),), {}, pl.DataFrame(), pl.DataFrame(), pl.DataFrame()).verdict
        '1 thing to look at before you trust what follows: gaps.'
        """
        stop = [finding.name for finding in self.findings if finding.level == "stop"]
        if stop:
            return f"Nothing can be judged on these data: {', '.join(stop)}."
        look = [finding.name for finding in self.findings if finding.level == "look"]
        if not look:
            return "Nothing speaks against trusting what follows."
        things = "thing" if len(look) == 1 else "things"
        return f"{len(look)} {things} to look at before you trust what follows: {', '.join(look)}."

    def __repr__(self) -> str:
        lines = [f"Coverage: {self.verdict}"]
        lines += [f"  [{finding.level}] {finding.name}: {finding.found}" for finding in self.findings]
        return "\n".join(lines)


def coverage(dataset: Dataset) -> Coverage:
    r"""Look at what a dataset covers: span, groups, gaps, partial hours, late and doubled rows, rejects and more.

    Reads all counts once, and of the occurrences their stamps. Nothing is changed.

    Raises:
        DatasetError: the dataset lost parts since it was opened.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from issue_analytics.dataset import import_export
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "app.csv"
    ...     _ = file.write_text("group_id,detected_at\n7,2026-01-05T09:00:00Z\n7,2026-01-05T10:30:00Z\n8,soon\n")
    ...     found = coverage(import_export(file, Path(folder) / "data"))
    >>> found.verdict
    'Nothing can be judged on these data: span.'
    >>> found.facts["hours"], found.facts["rejected"]
    (2, 1)
    """
    counts = dataset.hourly_counts.select(*KEY, "hour", "count").collect()
    changes = dataset.status_changes.collect()
    ends = span(counts)
    hours = hours_of(counts)
    gaps = find_gaps(counts)
    groups = _groups(counts, changes, ends)
    facts: dict[str, Any] = {}
    findings = [
        *_extent(dataset, hours, groups, ends, facts),
        _gaps(gaps, hours, facts),
        *_edges(dataset, ends, facts),
        _young(groups, facts),
        *_twins(groups, changes, facts),
        *_records(changes, ends, facts),
        _altered(dataset, groups, facts),
        _late(dataset, facts),
        *_doubles(dataset, facts),
        _rejects(dataset, facts),
        *_notes(dataset, facts),
    ]
    return Coverage(tuple(findings), facts, hours, groups, gaps)


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}" + (f" ({part / whole:.1%})" if whole else "")


# ---------------------------------------------------------------------------------------------------------------------
# Frames


def hours_of(counts: pl.DataFrame) -> pl.DataFrame:
    """Every hour of the span: ``hour``, ``groups`` (with a row in it) and ``count``, 0 where there is no row."""
    ends = span(counts)
    there = counts.group_by("hour").agg(groups=pl.len().cast(pl.Int64), count=pl.col("count").sum())
    if ends is None:
        return there
    every = pl.datetime_range(ends[0], ends[1], "1h", closed="left", time_unit="us", time_zone="UTC", eager=True)
    return every.alias("hour").to_frame().join(there, on="hour", how="left").fill_null(0).sort("hour")


def _groups(counts: pl.DataFrame, changes: pl.DataFrame, ends: tuple[datetime, datetime] | None) -> pl.DataFrame:
    seen = changes.filter(kind="first_seen").group_by(KEY).agg(first_seen=pl.col("at").min())
    since = pl.min_horizontal("first_hour", "first_seen")
    return (
        counts.group_by(KEY)
        .agg(
            first_hour=pl.col("hour").min(),
            last_hour=pl.col("hour").max(),
            hours=pl.len().cast(pl.Int64),
            count=pl.col("count").sum(),
        )
        .join(seen, on=KEY, how="left")
        .with_columns(
            history_hours=(pl.lit(ends[1] if ends else None, pl.Datetime("us", "UTC")) - since).dt.total_hours()
        )
        .drop("first_seen")
        .sort(KEY)
    )


def find_gaps(counts: pl.DataFrame) -> pl.DataFrame:
    """Find silences that are no chance, of all projects together and of each one.

    A run of L hours without a row of any group, in a span of N hours of which the share q is silent elsewhere, is a gap
    if fewer than ``UNLIKELY`` such runs are to be expected: N q^L < 0.01, as if hours were silent independently. Where
    nights are silent q is large, and a night is no gap. Runs at the edges of the span are none: the span ends there.

    Returns:
        ``project_id`` (null: all projects), ``start``, ``end`` (UTC), ``hours``; longest first. A gap of all projects
        is not said again of each.
    """
    whole = _silences(counts.select(pl.lit(None, pl.Int64).alias("project_id"), "hour"))
    each = _silences(counts.select("project_id", "hour"))
    if counts["project_id"].n_unique() == 1:
        each = each.clear()
    said = each.join_where(whole, pl.col("start") >= pl.col("start_right"), pl.col("end") <= pl.col("end_right"))
    each = each.join(said, on=["project_id", "start"], how="anti")
    return (
        pl.concat([whole, each])
        .with_columns(pl.col("hours").cast(pl.Int64))
        .sort("hours", "start", "project_id", descending=[True, False, False])
    )


def _silences(hours: pl.DataFrame) -> pl.DataFrame:
    """Runs of silent hours between rows, by ``project_id``, that chance does not make."""
    runs = (
        hours.unique()
        .sort("project_id", "hour")
        .with_columns(following=pl.col("hour").shift(-1).over("project_id"))
        .with_columns(
            hours=(pl.col("following") - pl.col("hour")).dt.total_hours() - 1,
            whole=((pl.col("hour").max() - pl.col("hour").min()).dt.total_hours() + 1).over("project_id"),
        )
        .with_columns(silent=pl.col("hours").sum().over("project_id"))
    )
    rest = pl.col("whole") - pl.col("hours")
    # at least one silent hour elsewhere: where there is none, one hour of silence is still no gap
    quiet = pl.max_horizontal(pl.col("silent") - pl.col("hours"), 1) / rest
    return runs.filter(
        pl.col("hours") > 0, (pl.col("whole").log() + pl.col("hours") * quiet.log()) < math.log(UNLIKELY)
    ).select("project_id", start=pl.col("hour") + HOUR, end="following", hours="hours")


# ---------------------------------------------------------------------------------------------------------------------
# Findings


def _extent(
    dataset: Dataset,
    hours: pl.DataFrame,
    groups: pl.DataFrame,
    ends: tuple[datetime, datetime] | None,
    facts: dict[str, Any],
) -> list[Finding]:
    facts |= {
        "first_hour": ends and ends[0].isoformat(),
        "end": ends and ends[1].isoformat(),
        "hours": hours.height,
        "groups": groups.height,
        "projects": groups["project_id"].n_unique(),
        "occurrences": int(hours["count"].sum()),
        "silent_hours": hours.filter(pl.col("groups") == 0).height,
    }
    if ends is None:
        return [Finding("span", "no counts at all", "stop", "Import occurrences or hourly counts.")]
    days = hours.height / 24
    weeks = Finding("span", f"{_stamp(ends[0])} to {_stamp(ends[1])} UTC, {days:,.1f} days")
    if hours.height <= WEEK_HOURS:
        meaning = "Limits look back 7 days; judging begins after them. More than 7 days are needed."
        weeks = Finding(weeks.name, weeks.found, "stop", meaning)
    elif hours.height < 3 * WEEK_HOURS:
        meaning = "The first 7 days are history only, so little is left to judge."
        weeks = Finding(weeks.name, weeks.found, "look", meaning)
    total = sum(totals["accepted"] for totals in dataset.manifest["totals"].values())
    exported = dataset.manifest["totals"].get("hourly_counts", {}).get("accepted", 0)
    what = "counted occurrences" if not exported else "exported hourly counts"
    if exported and dataset.manifest["totals"].get("occurrences", {}).get("accepted", 0):
        what = "exported hourly counts where there are any, else counted occurrences"
    facts["accepted"] = total
    return [
        weeks,
        Finding(
            "issues",
            f"{groups.height:,} of {facts['projects']:,} projects, {facts['occurrences']:,} occurrences",
            meaning=f"From {what}.",
        ),
    ]


def _gaps(gaps: pl.DataFrame, hours: pl.DataFrame, facts: dict[str, Any]) -> Finding:
    whole = gaps.filter(pl.col("project_id").is_null())
    facts |= {"gaps": whole.height, "gap_hours": int(whole["hours"].sum()), "project_gaps": gaps.height - whole.height}
    silent = f"{_share(facts['silent_hours'], hours.height)} hours without any row"
    if gaps.is_empty():
        return Finding("gaps", f"none; {silent}")
    first = gaps.row(0, named=True)
    where = "all projects" if first["project_id"] is None else f"project {first['project_id']}"
    return Finding(
        "gaps",
        f"{gaps.height:,}; longest {first['hours']:,} h from {_stamp(first['start'])} ({where}); {silent}",
        "look",
        "Silences that are no chance: was it the export, or an outage? Limits made after a gap are too low.",
    )


def _edges(dataset: Dataset, ends: tuple[datetime, datetime] | None, facts: dict[str, Any]) -> list[Finding]:
    facts |= {"first_hour_partial": None, "last_hour_partial": None}
    if ends is None:
        return []
    stamps = dataset.occurrences.select("detected_at").filter(
        (pl.col("detected_at") < ends[0] + 2 * HOUR) | (pl.col("detected_at") >= ends[1] - 2 * HOUR)
    )
    at = stamps.collect()["detected_at"].sort()
    first = at.filter(at < ends[0] + HOUR)
    last = at.filter(at >= ends[1] - HOUR)
    if first.is_empty() or last.is_empty():
        return [Finding("first and last hour", "not known: these counts carry no minutes",
                        meaning="An export that began or ended inside an hour makes it too low.")]  # fmt: skip
    inner = at.filter((at >= ends[0] + HOUR) & (at < ends[0] + 2 * HOUR)).len()
    outer = at.filter((at < ends[1] - HOUR) & (at >= ends[1] - 2 * HOUR)).len()
    facts["first_hour_partial"] = _cut(first[0] - ends[0], inner)
    facts["last_hour_partial"] = _cut(ends[1] - last[-1], outer)
    partial = [name for name in ("first", "last") if facts[f"{name}_hour_partial"]]
    found = f"first occurrence {first[0]:%H:%M:%S}, last {last[-1]:%H:%M:%S}"
    if not partial:
        return [Finding("first and last hour", found)]
    are = "is" if len(partial) == 1 else "are"
    meaning = f"The {' and the '.join(partial)} hour {are} partial: counts are too low there."
    return [Finding("first and last hour", found, "look", meaning)]


def _cut(silent: timedelta, neighbour: int) -> bool:
    """Whether so long a silence at the edge is no chance, at the neighbouring hour's rate."""
    return math.exp(-neighbour * (silent / HOUR)) < UNLIKELY


def _young(groups: pl.DataFrame, facts: dict[str, Any]) -> Finding:
    young = groups.filter(pl.col("history_hours") < WEEK_HOURS).height
    sparse = groups.filter(pl.col("hours") < WEEK_HOURS).height
    facts |= {"groups_under_7_days": young, "groups_under_168_rows": sparse}
    return Finding(
        "younger than 7 days",
        f"{_share(young, groups.height)} issues; {_share(sparse, groups.height)} have fewer than 168 hours with a row",
        "look" if groups.height and young > groups.height / 2 else "fine",
        "With sparse buckets, fewer than 168 hours with occurrences in 7 days mean the rule new: no threshold acts.",
    )


def _twins(groups: pl.DataFrame, changes: pl.DataFrame, facts: dict[str, Any]) -> list[Finding]:
    """Groups of project 0, where the export named none, whose id is also that of a group of a named project."""
    named = groups.filter(pl.col("project_id") != 0)
    # an answer about one issue, such as its activities, names no project
    told = pl.concat([groups.select(KEY), changes.select(KEY)]).unique()
    twins = told.filter(pl.col("project_id") == 0).join(named, on="group_id", how="semi").height
    facts["groups_without_project_twice"] = twins
    if not twins:
        return []
    meaning = (
        "Some exports name the project of these issues and others do not (project 0): they are taken for different "
        "issues. Import the ones that name it, or write it beside them (project_id)."
    )
    return [Finding("issues with and without a project", f"{twins:,}", "look", meaning)]


def _records(changes: pl.DataFrame, ends: tuple[datetime, datetime] | None, facts: dict[str, Any]) -> list[Finding]:
    truncated = changes.filter(kind="history_truncated").select(KEY).n_unique()
    known = changes.select(KEY).n_unique()
    facts |= {"status_changes": changes.height, "truncated_histories": truncated, "groups_with_history": known}
    if changes.is_empty():
        return [Finding("recorded changes", "none", meaning="Nothing recorded to judge by; labels may be imported.")]
    first, last = changes.select(pl.col("at").min().alias("first"), pl.col("at").max().alias("last")).row(0)
    found = [
        Finding("recorded changes", f"{changes.height:,} of {known:,} issues, {_stamp(first)} to {_stamp(last)} UTC")
    ]
    if ends is not None and (last < ends[0] or first > ends[1]):
        found = [Finding(found[0].name, found[0].found, "look", "They lie outside the span of the counts.")]
    if truncated:
        meaning = "The tracker shows the newest 100 activities; before them, status and escalations are unknown."
        found.append(Finding("truncated histories", f"{_share(truncated, known)} issues", "look", meaning))
    else:
        found.append(Finding("truncated histories", "none"))
    return found


def _altered(dataset: Dataset, groups: pl.DataFrame, facts: dict[str, Any]) -> Finding:
    # a merge also names issues of which there are no counts
    altered = dataset.altered_groups.collect().join(groups, on=KEY, how="semi")
    counted = altered.height
    facts["altered_groups"] = counted
    if not counted:
        return Finding("merged or deleted", "none")
    why = Counter(reason for reasons in altered["why"].to_list() for reason in reasons)
    return Finding(
        "merged or deleted",
        f"{_share(counted, groups.height)} issues ({', '.join(f'{n:,} {w}' for w, n in why.most_common(4))})",
        "look",
        "Their counts are not those the tracker saw; backtests leave them out unless told otherwise.",
    )


def _late(dataset: Dataset, facts: dict[str, Any]) -> Finding:
    hour_over = pl.col("detected_at").dt.truncate("1h") + HOUR
    row = (
        dataset.occurrences.select("detected_at", "received_at")
        .select(
            rows=pl.len(),
            known=pl.col("received_at").count(),
            late=(pl.col("received_at") >= hour_over).sum(),
            worst=(pl.col("received_at") - hour_over).max(),
        )
        .collect()
        .row(0, named=True)
    )
    facts |= {"late_rows": row["late"] if row["known"] else None, "rows_with_server_time": row["known"]}
    if not row["known"]:
        return Finding("late rows", "not known: no server time in these exports")
    if not row["late"]:
        return Finding("late rows", f"none of {row['known']:,} with a server time")
    meaning = "Received after their hour was over: the tracker's own check did not see them, these counts do."
    worst = row["worst"] / HOUR
    share = f"{_share(row['late'], row['known'])}, by up to {worst:,.1f} h"
    return Finding("late rows", share, "look" if row["late"] > UNLIKELY * row["known"] else "fine", meaning)


def _doubles(dataset: Dataset, facts: dict[str, Any]) -> list[Finding]:
    totals = dataset.manifest["totals"].values()
    read, again = sum(tally["read"] for tally in totals), sum(tally["duplicates"] for tally in totals)
    same = ("project_id", "group_id", "detected_at", "title")
    twins = (
        dataset.occurrences_by_part.filter(pl.col("occurrence_id").str.contains(_OWN_ID))
        .group_by(same)
        .agg(rows=pl.len(), files=pl.col("part").n_unique())
        .filter(pl.col("files") > 1)
        .select(rows=pl.col("rows").sum(), extra=(pl.col("rows") - pl.col("rows") // pl.col("files")).sum())
        .collect(engine="streaming")
        .row(0, named=True)
    )
    facts |= {"read": read, "duplicates": again, "suspected_duplicates": twins["extra"]}
    found = [
        Finding(
            "duplicates left out",
            _share(again, read),
            "look" if again > SUSPICIOUS * read else "fine",
            "Seen before by id or by key. Overlapping exports explain them; nothing else should." if again else "",
        )
    ]
    if twins["extra"]:
        meaning = "Rows without ids that agree with one of another file in issue, time and title: imported twice?"
        found.append(Finding("suspected duplicates", f"{twins['extra']:,} rows", "look", meaning))
    return found


def _rejects(dataset: Dataset, facts: dict[str, Any]) -> Finding:
    rejected = sum(tally["rejected"] for tally in dataset.manifest["totals"].values())
    reasons: Mapping[str, int] = dataset.manifest["rejects"]
    facts |= {
        "rejected": rejected,
        "rejects_by_reason": dict(reasons),
        "skipped_files": len(dataset.manifest["skipped"]),
    }
    if not rejected:
        return Finding("rejected rows", "none")
    return Finding(
        "rejected rows",
        _share(rejected, facts["read"]),
        "look" if rejected > UNLIKELY * facts["read"] else "fine",
        f"Most often: {next(iter(reasons), 'unknown')}. All of them: dataset.rejects.",
    )


def _notes(dataset: Dataset, facts: dict[str, Any]) -> list[Finding]:
    ignored: Counter[str] = Counter()
    warned: Counter[str] = Counter()
    notes: dict[str, list[str]] = {}
    for source in dataset.manifest["sources"]:
        ignored.update(source["ignored"])
        warned.update(source.get("warnings", {}))  # datasets of old have none
        if source["note"]:
            notes.setdefault(source["note"], []).append(source["found"])
    facts |= {"ignored": dict(ignored), "notes": list(notes), "warnings": dict(warned)}
    found = [Finding(formats[0].replace("_", " "), _files(formats), "look", note) for note, formats in notes.items()]
    if warned:
        some = "; ".join(f"{warning} ({number:,})" for warning, number in warned.most_common(3))
        found.append(Finding("odd or old states", f"{warned.total():,} status changes", "look", f"{some}."))
    if ignored:
        some = ", ".join(f"{number:,} {name}" for name, number in ignored.most_common(6))
        found.append(Finding("counted, not read", some, meaning="Items in the exports that are no rows of ours."))
    if skipped := facts["skipped_files"]:
        found.append(Finding("files skipped", f"{skipped:,}", meaning="No exports of a known kind; see the manifest."))
    return found


def _files(names: Sequence[str]) -> str:
    return f"{len(names):,} {'file' if len(names) == 1 else 'files'}"
