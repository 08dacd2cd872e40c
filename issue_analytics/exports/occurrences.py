"""Occurrences: records of the issue platform, stored or from its topic, and any table of events."""

import polars as pl

from issue_analytics.exports.quarantine import column, groups, known_project, when
from issue_analytics.exports.values import fingerprints, integers, text, times, uuids

__all__ = ["accept"]


def accept(
    raw: pl.DataFrame, *, digest: str | None = None, mapped_groups: bool = False
) -> tuple[pl.DataFrame, list[pl.Series | None]]:
    """Read raw occurrences into the columns of ``Occurrences``, and each row's problems.

    ``digest`` is the hash of the file, given where the export has no occurrence ids at all: an id is then made of it
    and the row number, so that the same file gives the same ids. ``mapped_groups`` says that ``group_id`` was named by
    the user and may be text. A type that is no whole number is null: it decides nothing.
    """
    project, project_problem = known_project(raw)
    prints = fingerprints(column(raw, "fingerprint"))
    group, group_problem = groups(raw, project, prints.list.first(), mapped=mapped_groups)
    title = text(column(raw, "title"))
    if mapped_groups:
        words = text(column(raw, "group_id"))
        named = integers(words, "group_id", required=False)[0].is_null() & words.is_not_null()
        if named.any():
            frame = pl.DataFrame({"words": words, "named": named, "title": title, "prints": prints})
            frame = frame.select(
                title=pl.when("named").then(pl.coalesce("title", "words")).otherwise("title"),
                prints=pl.when(pl.col("named") & pl.col("prints").is_null())
                .then(pl.concat_list("words"))
                .otherwise("prints"),
            )
            title, prints = frame["title"], frame["prints"]
    if digest is None:
        ids = uuids(column(raw, "occurrence_id"))
        nameless = when(ids.is_null(), "occurrence_id: missing, while other rows have one")
    else:
        ids = raw.select(pl.format(f"{digest}-{{}}", "row").alias("ids"))["ids"]
        nameless = None
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
        }
    )
    return frame, [nameless, project_problem, group_problem, at_problem, unknown]
