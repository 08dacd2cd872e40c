"""What each section of a report says, from results and manifest: rows for tables, sentences for lists."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from issue_analytics.backtest.policy import Policy
from issue_analytics.backtest.replay import NOT_SIMULATED
from issue_analytics.counts import HOUR, span
from issue_analytics.frames import RULES
from issue_analytics.reporting.text import between, number, percent, share

if TYPE_CHECKING:
    from issue_analytics.backtest.result import BacktestResult

__all__ = [
    "branch_rows",
    "branch_shares",
    "circular",
    "coverage_rows",
    "coverage_verdict",
    "doubts",
    "facts",
    "method",
    "reject_rows",
    "setting_rows",
    "source_rows",
]

NOT_RECORDED = "not recorded"
ROWS = 20
"""Rows a table of sources or reasons has at most."""

Row = dict[str, str]


def setting_rows(names: Sequence[str], results: "Sequence[BacktestResult]") -> list[Row]:
    """One row per setting: what it is made of."""
    return [
        {
            "setting": name,
            "std": f"{result.thresholds.std_multiplier:g}",
            "spike, min to max": f"{result.thresholds.min_spike_multiplier:g} to "
            f"{result.thresholds.max_spike_multiplier:g}",
            "bursty, min to max": f"{result.thresholds.min_bursty_multiplier:g} to "
            f"{result.thresholds.max_bursty_multiplier:g}",
            "digest": result.thresholds.digest,
            "buckets": result.buckets,
            "limits made": result.policy.schedule,
            "policy": result.policy.name,
        }
        for name, result in zip(names, results, strict=True)
    ]


def facts(results: "Sequence[BacktestResult]", manifest: Mapping[str, Any] | None) -> list[Row]:
    """One row per fact about what was judged."""
    result = results[0]
    ends = span(result.counts)
    groups = result.groups
    judged = int(groups["exposed_hours"].sum())
    exposure = result.exposure.select(pl.col("start").min(), pl.col("end").max()).row(0)
    watched = (exposure[1] - exposure[0]) // HOUR * groups.height if exposure[0] is not None else 0
    known = result.counts.select("project_id", "group_id").n_unique()
    rows = [
        ("data span", between(*ends) if ends else "no counts"),
        ("judged span", between(*exposure)),
        ("groups judged, of those with counts", share(groups.height, known)),
        ("group-hours judged, of groups judged x judged span", share(judged, watched)),
        ("occurrences", f"{number(int(result.counts['count'].sum()))} in all, "
            f"{number(int(groups['occurrences'].sum()))} in judged hours"),
        ("groups left out as merged or deleted", number(result.left_out.height)),
        ("escalations", f"{number(result.escalations.height)} given, {number(result.matches.height)} judged"),
        ("judged escalations by provenance", _tally(result.matches["provenance"])),
        ("matching", str(result.matching)),
    ]  # fmt: skip
    rows += _recorded(manifest)
    return [{"fact": name, "value": value} for name, value in rows]


def _tally(series: pl.Series) -> str:
    counts = series.value_counts().sort("count", series.name, descending=[True, False])
    return ", ".join(f"{value}: {number(count)}" for value, count in counts.iter_rows()) or "none"


def _recorded(manifest: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """What only a run knows: where the data came from and what it ran with."""
    if manifest is None:
        versions = {"python": platform.python_version(), "polars": pl.__version__, **_package()}
        return [("versions, of this report", _pairs(versions)), ("run and dataset", NOT_RECORDED)]
    dataset = _mapping(manifest.get("dataset"))
    totals = _mapping(dataset.get("totals"))
    rows = [("versions", _pairs(_mapping(manifest.get("versions") or dataset.get("versions"))) or NOT_RECORDED)]
    rows += [(f"dataset, {_words(name)}", _value(dataset.get(name))) for name in ("span", "truth", "silence")]
    rows += [(f"rows, {_words(kind)}", _value(tally)) for kind, tally in totals.items()] or [("rows", NOT_RECORDED)]
    if isinstance(skipped := dataset.get("skipped"), list):
        rows.append(("files skipped as no exports", _skipped(skipped)))
    rows += [
        (f"run, {_words(name)}", _value(manifest[name]))
        for name in sorted(manifest)
        if name not in ("dataset", "format", "settings", "versions") and not isinstance(manifest[name], Mapping | list)
    ]
    return rows


def _skipped(files: list[object]) -> str:
    shown = "; ".join(_value(file) for file in files[:5])
    return f"{number(len(files))}{f': {shown}' if files else ''}{' …' if len(files) > 5 else ''}"


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _package() -> dict[str, str]:
    try:
        return {"issue_analytics": importlib.metadata.version("issue-analytics")}
    except importlib.metadata.PackageNotFoundError:
        return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return _pairs(value)
    if isinstance(value, list | tuple):
        return " to ".join(map(_value, value)) if len(value) == 2 else ", ".join(map(_value, value[:ROWS]))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    return NOT_RECORDED if value is None else str(value)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{_words(name)}: {_value(value)}" for name, value in values.items())


def source_rows(manifest: Mapping[str, Any] | None) -> tuple[list[Row], int]:
    """One row per source file of the dataset, and how many there are in all."""
    sources = _mapping((manifest or {}).get("dataset")).get("sources")
    if isinstance(sources, Mapping):
        sources = [{"path": path, **_mapping(facts)} for path, facts in sources.items()]
    if not isinstance(sources, list):
        return [], 0
    rows = []
    for source in sources[:ROWS]:
        known = _mapping(source) or {"path": source}
        hashes = [known[name] for name in ("sha256", "blake2b", "digest", "content", "hash") if name in known]
        rest = {
            name: value for name, value in known.items()
            if name in ("size", "formats", "format", "read", "accepted", "rejected", "duplicates", "rows")
        }  # fmt: skip
        rows.append(
            {
                "file": _value(known.get("path") or known.get("name")),
                "content hash": str(hashes[0])[:16] if hashes and hashes[0] is not None else NOT_RECORDED,
                "rows and format": _pairs(rest),
            }
        )
    if not any(row["rows and format"] for row in rows):
        rows = [{name: row[name] for name in ("file", "content hash")} for row in rows]
    return rows, len(sources)


def reject_rows(manifest: Mapping[str, Any] | None) -> tuple[list[Row] | None, int]:
    """One row per reason, most frequent first, and how many reasons there are; None if that was not recorded."""
    dataset = _mapping((manifest or {}).get("dataset"))
    reasons = dataset.get("rejects", dataset.get("rejects_by_reason"))
    if not isinstance(reasons, Mapping):
        return None, 0
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], str(item[0])))
    return [{"reason": str(reason), "rows": number(rows)} for reason, rows in ranked[:ROWS]], len(ranked)


def coverage_verdict(manifest: Mapping[str, Any] | None) -> str:
    """Whether what follows can be trusted, as far as was recorded."""
    verdict = _mapping(_mapping((manifest or {}).get("dataset")).get("coverage")).get("verdict")
    return (
        str(verdict)
        if verdict
        else "What the data cover was not looked at with these results; issue-analytics check DATASET tells."
    )


def coverage_rows(manifest: Mapping[str, Any] | None) -> list[Row]:
    """One row per thing looked at in the dataset: what was found, and what it means where it matters."""
    findings = _mapping(_mapping((manifest or {}).get("dataset")).get("coverage")).get("findings")
    known = list(map(_mapping, findings if isinstance(findings, list) else ()))
    matters = any(finding.get("level") != "fine" for finding in known)
    rows = []
    for finding in known:
        row = {"looked at": _value(finding.get("name")), "found": _value(finding.get("found"))}
        if matters:
            mark = {"look": "Look: ", "stop": "Stop: "}.get(str(finding.get("level")))
            row["what it means"] = mark + str(finding.get("meaning") or "ask why.") if mark else ""
        rows.append(row)
    return rows


def branch_shares(result: "BacktestResult") -> list[float]:
    """Share of judged group-days by branch, in the order of ``RULES``; zeros if there are no days."""
    days = [int(result.groups[f"days_{rule}"].sum()) for rule in RULES]
    return [part / (sum(days) or 1) for part in days]


def branch_rows(names: Sequence[str], results: "Sequence[BacktestResult]") -> list[Row]:
    """One row per setting: group-days by branch, each share with its n."""
    rows = []
    for name, result in zip(names, results, strict=True):
        days = {rule: int(result.groups[f"days_{rule}"].sum()) for rule in RULES}
        whole = sum(days.values())
        shares = {
            "no limit" if rule == "none" else rule: f"{percent(part / whole if whole else None)} ({number(part)})"
            for rule, part in days.items()
        }
        rows.append({"setting": name, **shares, "group-days": number(whole)})
    return rows


def circular(results: "Sequence[BacktestResult]") -> str | None:
    """Say so if any judged escalation comes from the algorithm's own flag, else None."""
    for result in results:
        flagged = int((result.matches["provenance"] == "algorithm").sum())
        if flagged:
            return (
                f"{share(flagged, result.matches.height)} of the judged escalations were recorded by the upstream's "
                "own algorithm, that is by the limit under test. Recall of the setting that was in production is then "
                "near 1 by construction, and any other setting is judged by its agreement with it. Escalations the "
                "limit did not see are not in the truth at all. Read recall and precision as agreement, not as quality."
            )
    return None


def _watching(policy: Policy) -> list[str]:
    """Who is checked, when, and against what, in sentences."""
    if not policy.lifecycle:
        return [
            "Limits are judged as if they were always fresh: there is no fallback limit and no stale one. Where the "
            "branch is none, production would use its fallback of 10 events per hour until a forecast is made; "
            "recorded escalations with a forecast of 10 come from there."
        ]
    again = {
        "record": "when the record says that people did so",
        "never": "never",
    }.get(policy.rearchive, f"{policy.rearchive} later")
    fallback = f"the fallback of {policy.fallback} holds" if policy.fallback is not None else "a group is not checked"
    return [
        f"The lifecycle is replayed (policy {policy.name}): a group is checked while it is archived until it escalates "
        f"and at least {policy.min_age_hours} hours old, when an occurrence arrives. Limits serve {policy.hold_days} "
        f"days; after that, and where none is stored, {fallback}. A group that came back is not exposed until it is "
        f"archived again: {again}. So an escalation that a setting foresaw by days is not judged.",
        f"Not simulated: {'; '.join(NOT_SIMULATED)}.",
    ]


def method(results: "Sequence[BacktestResult]") -> list[str]:
    """How the numbers came about, in sentences."""
    rule = results[0].matching
    modes = sorted({result.buckets for result in results})
    schedules = sorted({result.policy.schedule for result in results})
    lines = {
        "sparse": "Buckets are sparse, as in production: an hour without occurrences is no data point, so a group with "
        "fewer than 168 non-empty hours takes the branch new, however old it is.",
        "dense": "Buckets are dense: silent hours count as 0, as the published description intends; the branch new is "
        "then for groups known to be younger than 168 hours.",
    }
    return [
        *(lines[mode] for mode in modes),
        f"Limits are made {', '.join(schedules)}, from earlier hours only. The first 7 days of the data are warm-up: "
        "they serve as history and are not judged.",
        *_watching(results[0].policy),
        f"An alert is hours over the limit at most {rule.merge_hours:g} h apart, within one exposed span. It ends "
        "where an escalation's time begins or ends, so that a long chain of false hours cannot hide behind one "
        "escalation.",
        f"An escalation's time runs from {rule.lead_hours:g} h before its start to {rule.grace_hours:g} h after its "
        f"end; one without a recorded end is taken to last {rule.open_hours:g} h. An hour over the limit that overlaps "
        "this time belongs to the escalation. Judged is an escalation that began in an exposed hour.",
        "Recall is the share of judged escalations that an alert caught. Precision is the share of alerts that caught "
        "one, duplicates and unjudged alerts left out. A duplicate is a further alert in an escalation that was caught "
        "before; an unjudged alert meets only escalations that began outside the exposed hours.",
        "Exposed series-weeks are the weeks in which one group was watched (group-hours / 168); quiet series-weeks are "
        "those outside every escalation's time, judged or not. False alarms are given per quiet series-week.",
        "Median delay: half of the judged escalations were caught within this many hours of their start. A miss "
        "counts as never caught and stays in the denominator; an escalation cut off by the end of what was watched is "
        "censored (Kaplan and Meier); n/a if fewer than half were caught. A delay runs to the end of the hour that "
        "fired, since the count of an hour is not known before.",
        "Pictures show the week before and the week after the limit in force was made; the dotted line marked limit "
        "made stands between them. Grey hatched hours had no limit. A dashed line along the upper edge is a limit "
        "above the axis, with its value beside ▲.",
        "Volume is the mean number of occurrences per day in the week before a group is first judged.",
    ]


def doubts(results: "Sequence[BacktestResult]", *, recorded: bool) -> list[str]:
    """What these data cannot tell, in sentences."""
    result = results[0]
    events, groups = result.matches.height, result.matches.n_unique(["project_id", "group_id"])
    unjudged = result.escalations.height - events
    lines = []
    if events:
        lines.append(
            f"Recall rests on {number(events)} escalations of {number(groups)} groups. Escalations of one group, and "
            "of one outage, are alike: the true uncertainty is larger than that many independent cases would have."
        )
        open_ended = int(result.matches["ended_at"].null_count())
        if open_ended:
            lines.append(f"{share(open_ended, events)} of the judged escalations have no recorded end.")
    elif result.groups.is_empty():
        lines.append("Nothing was exposed: no hour was judged, and nothing here tells anything about the settings.")
    else:
        lines.append("No escalation is known: whether these alerts were right cannot be said from these data.")
    if unjudged > 0:
        lines.append(
            f"{number(unjudged)} of the escalations given are not judged: they began outside the judged spans, or in "
            "groups that were not judged. They are neither caught nor missed; alerts that meet only them are set aside "
            "as unjudged, and the hours of their time are not quiet."
        )
    lines.append(
        "An escalation that nobody recorded makes a right alert look false; hours in which a group was not watched are "
        "left out, and are not taken as quiet."
    )
    none = branch_shares(result)[RULES.index("none")]
    if none > 0:
        lines.append(
            f"On {percent(none)} of group-days no limit could be given, as the week before was silent or the group was "
            "not known yet; nothing fires on them here, while production would fall back to 10 events per hour until a "
            "forecast is made."
        )
    if len(results) > 1:
        lines.append(
            "Settings are compared on the data they are chosen from: the best of several looks better than it is."
        )
    if not recorded:
        lines.append("Sources, rejected rows and hashes of the data were not recorded with these results.")
    return lines
