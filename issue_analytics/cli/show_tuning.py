"""What the command line prints of searches: settings side by side, which variables matter, what is left of a winner."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from issue_analytics.cli.show import fold, say, table
from issue_analytics.cli.show_scores import hours, percent, rate, warn_circular, warn_unjudged

if TYPE_CHECKING:
    import polars as pl

    from issue_analytics.cli.history import History
    from issue_analytics.thresholds import ThresholdVariables
    from issue_analytics.tuning import Prepared

__all__ = ["show_sweep"]

Row = Mapping[str, Any]

_LISTED: Final = 16
"""Settings told one by one; where there are more, they are spread evenly."""

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
    outcomes = ["alerts", "duplicates", "unjudged", "events_caught", "false_alarms", "median_delay_hours"]
    distinct = settings.select(outcomes).n_unique()
    say(f"\n{settings.height:,} settings, {distinct:,} different outcome{'' if distinct == 1 else 's'}")
    has = now.row(0, named=True)
    if prepared.labelled:
        if not prepared.events.height:
            fold("no escalation began in a judged hour: all alerts are false, and the fewest are best")
        table([*(_scored(row, "") for row in _spread(front)), _scored(has, "now")])
        fold(
            "these no other beats: none catches more with as few false alarms; of settings that do the same, the one "
            "nearest to now. spike, bursty: minimum and maximum; false/week: false alarms per quiet series-week; "
            "delay: median hours, n/a where not half were caught; best at: how many false alarms a missed escalation "
            "must cost for the setting to be the best"
        )
    else:
        table([*(_burden(row, "") for row in _spread(front)), _burden(has, "now")])
        fold(
            "a setting for each number of alerts, the one nearest to now. spike, bursty: minimum and maximum. Whether "
            "alerts are right cannot be told without a truth"
        )
    if front.height > _LISTED:
        fold(f"{_LISTED} of {front.height:,}, evenly spread; --json has them all, and --out every setting")
    say(f"now: {current.name or current.digest}, {current}")
    say()
    _say_binding(terms)
    _say_flat(flat)


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
        warn_unjudged(prepared.counts, prepared.escalations, prepared.events.height)
        warn_circular(prepared.events)


def values_of(row: Row) -> dict[str, str]:
    """The five variables of a row in three cells, minimum and maximum as a range: scores need the room."""
    cells = {"std": f"{row['std_multiplier']:.4g}"}
    for kind in ("spike", "bursty"):
        cells[kind] = f"{row[f'min_{kind}_multiplier']:.4g}-{row[f'max_{kind}_multiplier']:.4g}"
    return cells


def _scored(row: Row, label: str) -> dict[str, str]:
    return {
        "": label,
        **values_of(row),
        "caught": f"{row['events_caught']:,}",
        "recall": percent(row["recall"]),
        "false": f"{row['false_alarms']:,}",
        "false/week": rate(row["false_alarms_per_series_week"]),
        "delay": hours(row["median_delay_hours"]),
        "best at": _prices(row),
    }


def _burden(row: Row, label: str) -> dict[str, str]:
    return {
        "": label,
        **values_of(row),
        "alerts": f"{row['alerts']:,}",
        "alerts/series-week": rate(row["alerts_per_series_week"]),
        "alerts/project-day": rate(row["alerts_per_project_day"]),
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
    fold(f"what limits hang on now, of {days:,} by issue and day: {told}")
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
