"""Occurrences: records of the issue platform, stored or from its topic, and any table of events."""

import polars as pl

from issue_analytics.exports.quarantine import Given, column, groups, known_project, signatures, when
from issue_analytics.exports.values import fingerprints, integers, text, times, uuids

__all__ = ["accept"]


def accept(raw: pl.DataFrame, given: Given) -> tuple[pl.DataFrame, list[pl.Series | None]]:
    """Read raw occurrences into the columns of ``Occurrences``, and each row's problems.

    A row without an id gets one made of the hash of the file and the row number: the same file gives the same ids.
    A type that is no whole number, and a ``received_at`` that is no time, are null: they decide nothing. Where a format
    groups by more than the first part of a fingerprint, ``group_key`` is the text that stands for the group.
    """
    project, project_problem = known_project(raw)
    prints = fingerprints(column(raw, "fingerprint"))
    first_part = prints.list.first() if "group_key" not in raw.columns else text(raw["group_key"])
    group, group_problem = groups(raw, project, first_part, mapped=given.mapped_groups)
    title = text(column(raw, "title"))
    if given.mapped_groups:
        numbers, words = signatures(column(raw, "group_id"))
        named = numbers.is_null() & words.is_not_null()
        if named.any():
            frame = pl.DataFrame({"words": words, "named": named, "title": title, "prints": prints})
            frame = frame.select(
                title=pl.when("named").then(pl.coalesce("title", "words")).otherwise("title"),
                prints=pl.when(pl.col("named") & pl.col("prints").is_null())
                .then(pl.concat_list("words"))
                .otherwise("prints"),
            )
            title, prints = frame["title"], frame["prints"]
    ids = uuids(column(raw, "occurrence_id"))
    if ids.has_nulls():
        ids = raw.select(pl.coalesce(ids, pl.format(f"{given.digest()}-{{}}", "row")).alias("ids"))["ids"]
    at, at_problem = times(column(raw, "detected_at"), "detected_at")
    payload = text(column(raw, "payload_type"))
    unknown = when(
        ~payload.is_in(("occurrence", "status_change")), "payload_type: neither occurrence nor status_change"
    )
    frame = pl.DataFrame(
        {
            "occurrence_id": ids,
            "event_id": uuids(column(raw, "event_id")),
            "project_id": project,
            "group_id": group,
            "type": integers(column(raw, "type"), "type", required=False)[0],
            "fingerprint": prints,
            "title": title,
            "level": text(column(raw, "level")).fill_null("info"),
            "detected_at": at,
            "received_at": times(column(raw, "received_at"), "received_at", required=False)[0],
        }
    )
    return frame, [project_problem, group_problem, at_problem, unknown, _other_project(raw, project)]


def _other_project(raw: pl.DataFrame, project: pl.Series) -> pl.Series | None:
    """A record and the event in it must be of one project, or nobody knows whose it is."""
    if "event_project_id" not in raw.columns:
        return None
    theirs, _ = integers(raw["event_project_id"], "event.project_id", required=False)
    return when((theirs != project).fill_null(value=False), "event.project_id: not the project_id of the occurrence")
