"""What the command line prints of searches: settings side by side, which variables matter, what is left of a winner."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from issue_analytics.cli.show import fold, say, table
from issue_analytics.cli.show_scores import hours, percent, rate, warn_circular, warn_unjudged

if TYPE_CHECKING:
    import polars as pl

    from issue_analytics.cli.history import History
    from issue_analytics.thresholds import ThresholdVariables
    from issue_analytics.tuning import Prepared
    from issue_analytics.tuning.recommending import Recommendation
    from issue_analytics.tuning.segments import SegmentThresholds

__all__ = ["show_recommendation", "show_sweep"]

Row = Mapping[str, Any]

_LISTED: Final = 16
"""Settings told one by one; where there are more, they are spread evenly."""

_ALTERNATIVES: Final = 8
"""Other settings that are told."""

_SCORES: Final = {
    "recall": "recall",
    "precision": "precision",
    "false_alarms_per_series_week": "false/week",
    "cost_per_series_week": "cost/week",
    "alerts_per_series_week": "alerts/week",
    "alerts_per_project_day": "alerts/project-day",
}

_TERMS: Final = {
    "decay": "the decay between the bursty bounds",
    "new": "no variable (the rule for new issues)",
    "none": "no variable (no limit after a silent week)",
}


def show_sweep(
    past: "History",
    prepared: "Prepared",
    settings: "pl.DataFrame",
    front: "pl.DataFrame",
    now: "pl.DataFrame",
    current: "ThresholdVariables",
    terms: "pl.DataFrame",
    flat: "pl.DataFrame",
) -> None:
    """Print the settings that no other beats, the one that one has, and which variables matter."""
    show_past(past, prepared)
    from issue_analytics.tuning.settings import OUTCOME

    distinct = settings.select(OUTCOME).n_unique()
    say(f"\n{settings.height:,} settings, {distinct:,} different outcome{'' if distinct == 1 else 's'}")
    has = now.row(0, named=True)
    if prepared.labelled:
        if not prepared.events.height:
            fold("no escalation began in a judged hour: all alerts are false, and the fewest are best")
        table([*map(_scored, _spread(front)), _scored(has) | {"best at": "default"}])
        fold(
            "these no other beats: none catches more with as few false alarms; of settings that do the same, the one "
            "nearest to the default. spike, bursty: minimum and maximum; false/week: false alarms per quiet "
            "series-week; delay: median hours, n/a where not half were caught; best at: how many false alarms a missed "
            "escalation must cost for the setting to be the best, empty where it is so at no price"
        )
    else:
        table([*map(_burden, _spread(front)), _burden(has) | {"": "default"}])
        fold(
            "a setting for each number of alerts, the one nearest to the default. spike, bursty: minimum and maximum. "
            "Whether alerts are right cannot be told without a truth"
        )
    if front.height > _LISTED:
        fold(f"{_LISTED} of {front.height:,}, evenly spread; --json has them all, and --out every setting")
    say(f"default: {current.name or current.digest}, {current}")
    say()
    _say_binding(terms)
    _say_flat(flat)


def show_recommendation(
    past: "History",
    prepared: "Prepared",
    found: "Recommendation",
    split: "SegmentThresholds | None",
    later: "pl.DataFrame | None" = None,
) -> None:
    """Print the recommended setting, its scores beside the default's, why, and what else one might take."""
    show_past(past, prepared)
    objective = found.objective
    fold(f"asked: {objective}")
    say()
    sets = {"default": found.default, "best": found.best, "recommended": found.thresholds}
    table(
        [{"": name, **values_of(one.to_dict()), "digest": one.digest} for name, one in sets.items()], left=("digest",)
    )
    say()
    _say_scores(found)
    say()
    for sentence in found.why[1:]:
        fold(f"- {sentence.replace('errors=0', '--errors 0')}")
    if not found.alternatives.is_empty():
        say("\nwhat else one might take, on the data that chose:")
        rows = found.alternatives.head(_ALTERNATIVES).iter_rows(named=True)
        table([{"setting": row["digest"], **_alternative(row)} for row in rows], left=("why",))
        if (more := found.alternatives.height - _ALTERNATIVES) > 0:
            say(f"and {more} more; --json has them all")
    if split is not None:
        _say_segments(split)
        if later is not None:
            _say_later(later, found.held_out_events or 0)
    say(f"\nrecommended: {found.thresholds}, digest {found.thresholds.digest}")


def _say_scores(found: "Recommendation") -> None:
    """Print each score as it looks, corrected and held out, of the default and of what was found."""
    objective = found.objective
    told = dict.fromkeys(("recall", "precision", "false_alarms_per_series_week", objective.score_name))
    if objective.name in _SCORES:
        told[objective.name] = None
    rows = []
    for score in told:
        form = percent if score in ("recall", "precision") else rate
        for row in found.table.filter(score=score).iter_rows(named=True):
            cells = {
                name: "" if kind == "held_out" and found.cut is None else _with_interval(row, kind, form)
                for name, kind in (("as it looks", "apparent"), ("corrected", "corrected"), ("held out", "held_out"))
            }
            rows.append(
                {"": _SCORES.get(score, score) if row["setting"] == "default" else "", "of": row["setting"], **cells}
            )
    table(rows, left=("of",))
    held = (
        f"judged later, by {found.held_out_events:,} escalations" if found.cut is not None else "nothing was held out"
    )
    fold(
        f"as it looks: on the {found.corrected.events:,} escalations that chose; corrected: on issues that had no part "
        f"in choosing; held out: {held}; below each its {100 * found.corrected.confidence:g} % interval"
    )


def _with_interval(row: Row, kind: str, form: Callable[[float | None], str]) -> str:
    value, low, high = row[kind], row[f"{kind}_low"], row[f"{kind}_high"]
    if low is None and high is None:  # a table has its lines all the same
        return f"{form(value)}\n"
    return f"{form(value)}\n{form(low).removesuffix('%')}-{form(high)}"


def _alternative(row: Row) -> dict[str, str]:
    return {
        **values_of(row),
        "caught": f"{row['events_caught']:,}",
        "false": f"{row['false_alarms']:,}",
        "why": row["why"],
    }


def _say_segments(split: "SegmentThresholds") -> None:
    say(f"\nby {split.by}: {'it pays' if split.pays else 'it does not pay'}")
    fold(split.why)
    say(f"one for all: the best of the search, {split.common}")
    rows = [
        {
            split.by: "not known" if row[split.by] is None else str(row[split.by]),
            "issues": f"{row['clusters']:,}",
            "events": f"{row['events']:,}",
            **values_of(row),
            "caught": f"{row['events_caught']:,} ({row['events_caught_common']:,})",
            "false": f"{row['false_alarms']:,} ({row['false_alarms_common']:,})",
            "left": "too few" if row["left"] is None else f"{row['left']:.0%}",
        }
        for row in split.segments.head(_LISTED).iter_rows(named=True)
    ]
    table(rows)
    fold(
        "in brackets: under the one for all; left: share of resamples in which a segment left it; too few: "
        "escalations, so that it takes the common one. Told by the data that chose"
    )
    if (more := split.segments.height - _LISTED) > 0:
        say(f"and {more} more; --json has them all")


def _say_later(later: "pl.DataFrame", events: int) -> None:
    from issue_analytics.tuning.why import FEW_EVENTS

    few = ", too few to judge by" if events < FEW_EVENTS else ""
    say(f"\njudged by the later {events:,} escalations{few}:")
    rows = []
    for row in later.iter_rows(named=True):
        if row["score"] not in _SCORES or row["common"] is None:
            continue
        form = percent if row["score"] == "recall" else rate
        gap, low, high = (
            None if value is None else ("+" if value > 0 else "") + form(value)
            for value in (row["difference"], row["difference_low"], row["difference_high"])
        )
        rows.append(
            {
                "": _SCORES[row["score"]],
                "one for all": form(row["common"]),
                "by segment": form(row["segments"]),
                "difference": gap or "n/a",
                "95 % interval": "n/a" if low is None or high is None else f"{low} to {high}",
            }
        )
    table(rows)


def show_past(past: "History", prepared: "Prepared") -> None:
    """Print what settings are judged on."""
    exposed = prepared.groups["exposed_hours"].sum() / 168
    events = f", {prepared.events.height:,} escalations" if prepared.labelled else ""
    fold(
        f"{past.data.path}: {prepared.groups.height:,} issues, {exposed:,.0f} exposed series-weeks{events}; "
        f"truth: {past.truth}; limits {prepared.policy.schedule}, {prepared.buckets} buckets"
    )
    if left_out := past.left_out:
        fold(f"left out: {left_out:,} issues whose events were merged, moved or deleted after the fact (--merged keep)")
    if prepared.labelled:
        say(f"matching: {prepared.matching}")
        if past.truth == "store":
            fold(
                "note: only hours of labelled alerts are judged, all of them over some limit: what a looser setting "
                "would catch elsewhere is not seen, recall is of alerts that were labelled, and rates are not those of "
                "a week that is watched"
            )
        warn_unjudged(prepared.counts, prepared.escalations, prepared.events.height)
        warn_circular(prepared.events)


def values_of(row: Row) -> dict[str, str]:
    """The five variables of a row in three cells, minimum and maximum as a range: scores need the room."""
    cells = {"std": f"{row['std_multiplier']:.3g}"}
    for kind in ("spike", "bursty"):
        cells[kind] = f"{row[f'min_{kind}_multiplier']:.3g}-{row[f'max_{kind}_multiplier']:.3g}"
    return cells


def _scored(row: Row) -> dict[str, str]:
    return {
        **values_of(row),
        "caught": f"{row['events_caught']:,}",
        "recall": percent(row["recall"]),
        "false": f"{row['false_alarms']:,}",
        "false/week": rate(row["false_alarms_per_series_week"]),
        "delay": hours(row["median_delay_hours"]),
        "best at": _prices(row),
    }


def _burden(row: Row) -> dict[str, str]:
    return {
        **values_of(row),
        "alerts": f"{row['alerts']:,}",
        "alerts/series-week": rate(row["alerts_per_series_week"]),
        "alerts/project-day": rate(row["alerts_per_project_day"]),
        "": "",
    }


def _prices(row: Row) -> str:
    low, high = row.get("cost_ratio_from"), row.get("cost_ratio_to")
    if low is None or high is None:
        return ""
    return f"{low:.3g}+" if high == float("inf") else f"{low:.3g}-{high:.3g}"


def _spread(rows: "pl.DataFrame") -> Sequence[Row]:
    """As many rows as are told, evenly spread, the first and the last among them."""
    if rows.height <= _LISTED:
        return rows.to_dicts()
    return rows[[round(at * (rows.height - 1) / (_LISTED - 1)) for at in range(_LISTED)]].to_dicts()


def _say_binding(terms: "pl.DataFrame") -> None:
    from issue_analytics.reporting.text import percent as share
    from issue_analytics.thresholds import STANDARD

    rows = [row for row in terms.sort("share", descending=True).to_dicts() if row["limit_days"]]
    if not rows:
        return
    days = sum(row["limit_days"] for row in rows)
    told = "; ".join(f"{_TERMS.get(row['term'], row['term'])} {share(row['share'])}" for row in rows)
    fold(f"what limits hang on under the default, of {days:,} by issue and day: {told}")
    idle = [name for name in STANDARD.to_dict() if name not in {row["term"] for row in rows}]
    if idle:
        fold(f"no limit hangs on: {', '.join(idle)}")


def _say_flat(flat: "pl.DataFrame") -> None:
    """Announce along which variables nothing changes."""
    flats, moving, unknown = (
        [row["variable"] for row in flat.iter_rows(named=True) if row["flat"] is kind] for kind in (True, False, None)
    )
    if flats:
        fold(f"flat: {', '.join(flats)}: no value tried changes any outcome, whatever the others are")
    if moving:
        fold(f"not flat: {', '.join(moving)}")
    if unknown:
        fold(f"flat or not cannot be told where no two settings differ in one alone: {', '.join(unknown)}")
