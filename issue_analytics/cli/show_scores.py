"""What the command line prints of scores: a column for each setting, a row for each score, intervals below."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from issue_analytics.cli.show import fold, say, table

if TYPE_CHECKING:
    import polars as pl

    from issue_analytics.backtest import BacktestResult
    from issue_analytics.backtest.comparison import Comparison

__all__ = ["hours", "percent", "points", "rate", "show_comparison", "show_results", "warn_circular", "warn_unjudged"]

_SIDE_BY_SIDE: Final = 4
"""Settings that fit 80 columns beside each other."""

_LISTED: Final = 10
"""Events and alerts told one by one, of each kind."""

Row = Mapping[str, Any]
Form = Callable[[float | None], str]


def show_results(results: "Sequence[BacktestResult]", truth: str) -> None:
    """Print the scores of each setting, or the burden where nothing is known to be true."""
    from issue_analytics.counts import span

    first = results[0]
    exposed = first.groups["exposed_hours"].sum() / 168
    fold(
        f"{first.groups.height:,} issues, {exposed:,.0f} exposed series-weeks; truth: {truth}; "
        f"limits {first.policy.schedule}, {first.buckets} buckets"
    )
    if left_out := first.left_out.height:
        fold(f"left out: {left_out:,} issues whose events were merged, moved or deleted after the fact (--merged keep)")
    if first.labelled:
        say(f"matching: {first.matching}")
    say()
    scores = [result.summary().row(0, named=True) for result in results]
    names = [_name(result) for result in results]
    for begin in range(0, len(results), _SIDE_BY_SIDE):
        some = slice(begin, begin + _SIDE_BY_SIDE)
        (_labelled if first.labelled else _burden)(names[some], scores[some], results[some])
    if first.labelled:
        fold(
            "95 %: interval of the score, alerts and events of an issue falling together; if independent: as if each "
            "false alarm came by itself (exact Poisson); issues alike: mean of the issues' own scores; n/a: not "
            "defined, or not half caught"
        )
        for name, score in zip(names, scores, strict=True):
            if score["note"]:
                fold(f"note, {name}: {score['note']}")
    else:
        say("whether alerts are right cannot be told without a truth")
    warn_unjudged(first.counts, first.escalations, first.matches.height)
    _warn_same(results, names)
    start, end = span(first.counts) or (None, None)
    if start and end and first.counts["hour"].dt.date().n_unique() < 0.1 * ((end - start).days + 1):
        fold(f"warning: most days from {start:%Y-%m-%d} to {end:%Y-%m-%d} have no counts; is a clock wrong?")
    warn_circular(first.matches)
    if first.labelled and not first.matches.is_empty() and first.matches["provenance"].n_unique() > 1:
        kinds = first.matches["provenance"].value_counts().sort("count", descending=True)
        say("events by who labelled them: " + ", ".join(f"{number:,} {kind}" for kind, number in kinds.iter_rows()))


def _labelled(names: Sequence[str], scores: Sequence[Row], results: "Sequence[BacktestResult]") -> None:
    rows: list[tuple[str, Callable[[Row], str]]] = [
        ("alerts", lambda score: f"{score['alerts']:,}"),
        ("  repeated (duplicates)", lambda score: f"{score['duplicates']:,}"),
        ("  about unjudged events", lambda score: f"{score['unjudged']:,}"),
        ("caught", lambda score: f"{score['events_caught']:,} of {score['events']:,}"),
        *_with_interval("recall", "recall", percent),
        *_with_interval("precision", "precision", percent),
        ("false alarms", lambda score: f"{score['false_alarms']:,}"),
        *_with_interval("false alarms/series-week", "false_alarms_per_series_week", rate)[:2],
        ("  95 % if independent", lambda score: _interval(score, "false_alarms_per_series_week_poisson", rate)),
        ("  issues alike", lambda score: rate(score["false_alarms_per_series_week_macro"])),
        ("delay, median hours", lambda score: hours(score["median_delay_hours"])),
        ("  95 %", lambda score: _interval(score, "median_delay_hours", hours)),
        ("delay, mean to 24 hours", lambda score: hours(score["mean_delay_hours"])),
        *(
            (f"caught within {limit} h", lambda score, limit=limit: percent(score[f"caught_within_{limit}h"]))
            for limit in (1, 3, 6, 24)
        ),
        ("reset, median hours", lambda score: hours(score["median_reset_hours"])),
        ("alerts/day and project", lambda score: rate(score["alerts_per_project_day"])),
    ]
    table(
        [{"": label, **{name: tell(score) for name, score in zip(names, scores, strict=True)}} for label, tell in rows]
    )
    say()


def _with_interval(label: str, name: str, form: Form) -> list[tuple[str, Callable[[Row], str]]]:
    return [
        (label, lambda score: form(score[name])),
        ("  95 %", lambda score: _interval(score, name, form)),
        ("  issues alike", lambda score: form(score[f"{name}_macro"])),
    ]


def _burden(names: Sequence[str], scores: Sequence[Row], results: "Sequence[BacktestResult]") -> None:
    import polars as pl

    rows = []
    for label, tell in (
        ("alerts", lambda score, _: f"{score['alerts']:,}"),
        ("issues alerting", lambda _, result: f"{result.groups.filter(pl.col('alerts') > 0).height:,}"),
        ("hours over the limit", lambda _, result: f"{result.crossings.height:,}"),
        ("alerts/exposed series-week", lambda score, result: rate(_per_week(score, result))),
        ("alerts/day and project", lambda score, _: rate(score["alerts_per_project_day"])),
    ):
        cells = {name: tell(score, result) for name, score, result in zip(names, scores, results, strict=True)}
        rows.append({"": label, **cells})
    table(rows)
    say()


def _per_week(score: Row, result: "BacktestResult") -> float | None:
    exposed = result.groups["exposed_hours"].sum() / 168
    return score["alerts"] / exposed if exposed else None


def warn_unjudged(counts: "pl.DataFrame", escalations: "pl.DataFrame", judged: int) -> None:
    """Say how many labels judge nothing; ids that do not meet would make every alert look false."""
    given, unjudged = escalations.height, escalations.height - judged
    if not unjudged:
        return
    key = ["project_id", "group_id"]
    strangers = escalations.join(counts.select(key).unique(), on=key, how="anti").height
    fold(
        f"{'warning' if strangers else 'note'}: {unjudged:,} of {given:,} escalations are not judged: "
        f"{unjudged - strangers:,} began outside the judged hours, {strangers:,} are of issues that have no counts"
        + (" (other project or group ids?)" if strangers else "")
    )


def warn_circular(events: "pl.DataFrame") -> None:
    """Say that a recall judged by the algorithm's own flags is no recall."""
    if (events["provenance"] == "algorithm").any():
        fold("warning: the truth is the algorithm's own flag; recall of the setting that ran is circular")


def _warn_same(results: "Sequence[BacktestResult]", names: Sequence[str]) -> None:
    import polars as pl

    first = results[0]
    hours_over = ("project_id", "group_id", "hour")
    same = [
        name for name, result in zip(names[1:], results[1:], strict=True)
        if first.crossings.select(hours_over).equals(result.crossings.select(hours_over))
    ]  # fmt: skip
    if same:
        inert = first.groups.select(pl.sum_horizontal("days_new", "days_none").sum()).item()
        days = first.groups.select(pl.sum_horizontal(pl.col("^days_.*$")).sum()).item()
        fold(
            f"note: {' and '.join(same)} fired in exactly the same hours as {names[0]}; no threshold acts on "
            f"the {inert / days:.1%} of group-days whose rule is new or none"
        )


def show_comparison(found: "Comparison") -> None:
    """Print how the second setting differs from the first, and which events and alerts make the difference."""
    rows = []
    for score in found.scores.iter_rows(named=True):
        name = score["score"].removesuffix("_macro")
        form = percent if name in ("precision", "recall") else hours if name.endswith("hours") else rate
        step = points if form is percent else form
        rows.append(
            {
                "": _SCORES[name] if name == score["score"] else "  issues alike",
                "first": form(score["first"]),
                "second": form(score["second"]),
                "difference": _signed(score["difference"], step),
                f"{100 * found.confidence:g} % from": _signed(score["low"], step),
                "to": _signed(score["high"], step),
                "p": _p(score["p"]),
                "Holm": _p(score["p_holm"]),
            }
        )
    table(rows)
    noted = dict.fromkeys(found.scores["note"].drop_nulls())
    what = "issues" if found.cluster == "group" else "projects"
    drawn = f"{what} and blocks of {found.block}" if found.block else what
    fold(
        f"difference: second less first (pp: percentage points); {100 * found.confidence:g} %: of "
        f"{found.resamples:,} paired draws of {drawn}; p: by swapping the settings within {what}; Holm: p adjusted for "
        "the number of rows; issues alike: mean of the issues' own scores"
    )
    for note in noted:
        of = [_SCORES[name.removesuffix("_macro")] for name in found.scores.filter(note=note)["score"]]
        fold(f"note, {', '.join(dict.fromkeys(of))}: {note}")
    counts = {row["change"]: row for row in found.changes().to_dicts()}
    if found.events.height:
        told = ", ".join(f"{counts[change]['events']:,} {change}" for change in ("gained", "lost", "both", "neither"))
        say(f"\nevents: {told} (McNemar p {_p(found.mcnemar)})")
        for change in ("judged in first only", "judged in second only"):
            if counts[change]["events"]:
                say(f"  {counts[change]['events']:,} {change}")
        for change in ("gained", "lost"):
            _list(f"events {change}", found.events.filter(change=change), "escalated_at", _of_event)
    told = ", ".join(f"{counts[change]['alerts']:,} {change}" for change in ("gained", "lost", "both"))
    say(f"\nalerts: {told}")
    for change in ("gained", "lost"):
        _list(f"alerts {change}", found.alerts.filter(change=change), "hour", _of_alert)


_SCORES: Final = {
    "precision": "precision",
    "recall": "recall",
    "false_alarms_per_series_week": "false/week",
    "alerts_per_series_week": "alerts/week",
    "mean_delay_hours": "delay, hours",
}


def _list(heading: str, frame: "pl.DataFrame", at: str, told: Callable[[Row], dict[str, str]]) -> None:
    """The rows with the largest peaks, under a heading: when (the column ``at``), what, and what is told of each."""
    if frame.is_empty():
        return
    say(f"\n{heading}:")
    rows = [
        {
            "when (UTC)": f"{row[at]:%Y-%m-%d %H:%M}",
            "issue": str(row["group_id"]),
            "title": _cut(row["title"]),
            "peak": f"{row['peak']:,}",
            **told(row),
        }
        for row in frame.sort("peak", descending=True).head(_LISTED).iter_rows(named=True)
    ]
    table(rows, left=("issue", "title", "verdict"))
    if frame.height > _LISTED:
        say(f"… and {frame.height - _LISTED:,} more; --out writes them all")


def _of_event(row: Row) -> dict[str, str]:
    delay = row["delay_hours_first"] if row["change"] == "lost" else row["delay_hours_second"]
    return {
        "after": f"{hours(delay)} h",
        "limits there": f"{_whole(row['limit_first'])} -> {_whole(row['limit_second'])}",
    }


def _of_alert(row: Row) -> dict[str, str]:
    return {"limit": f"{row['limit']:,}", "verdict": row["verdict"] or "n/a"}


def _cut(title: str | None) -> str:
    text = " ".join((title or "")[:240].split())  # a line break in a title must not make a row of its own
    return text if len(text) <= 24 else f"{text[:23]}…"


def _name(result: "BacktestResult") -> str:
    return result.thresholds.name or result.thresholds.digest


def percent(value: float | None) -> str:
    """A share, in per cent."""
    return "n/a" if value is None else f"{value:.1%}"


def points(value: float | None) -> str:
    """A difference of shares, in percentage points."""
    return "n/a" if value is None else f"{100 * value:.1f} pp"


def rate(value: float | None) -> str:
    """A rate, to three digits."""
    return "n/a" if value is None else f"{value:.3g}"


def hours(value: float | None) -> str:
    """Hours, to one place."""
    return "n/a" if value is None else f"{value:.1f}"


def _interval(score: Row, name: str, form: Form) -> str:
    low, high = score[f"{name}_low"], score[f"{name}_high"]
    return "n/a" if low is None and high is None else f"{form(low).removesuffix('%')}-{form(high)}"


def _signed(value: float | None, form: Form) -> str:
    return "n/a" if value is None else ("+" if value > 0 else "") + form(value)


def _p(value: float | None) -> str:
    return "n/a" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def _whole(value: int | None) -> str:
    return "none" if value is None else f"{value:,}"
