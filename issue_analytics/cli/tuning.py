"""The commands that look for thresholds: sweep, recommend."""

import math
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from issue_analytics.cli.asked import Method, Range, Sample, Seed, Vary, objective_of, settings_of
from issue_analytics.cli.history import (
    DatasetArgument,
    Grace,
    History,
    Lead,
    Merge,
    Offset,
    Open,
    Pairing,
    Silence,
    Store,
    Truth,
    history_of,
    matching_of,
)
from issue_analytics.cli.options import AsJson, Buckets, Merged, one_set, write_whole
from issue_analytics.cli.show import say, say_json
from issue_analytics.cli.show_tuning import show_recommendation, show_sweep
from issue_analytics.errors import DatasetError, SettingsError

if TYPE_CHECKING:
    import polars as pl

    from issue_analytics.backtest import Matching, Policy
    from issue_analytics.thresholds import ThresholdVariables
    from issue_analytics.tuning import Prepared
    from issue_analytics.tuning.recommending import Recommendation
    from issue_analytics.tuning.segments import SegmentThresholds

__all__ = ["recommend", "sweep"]

Every = Annotated[str, typer.Option(help="Time between refreshes of the limits: 6h, 1d, 7d, 1w …")]
Default = Annotated[
    str,
    typer.Option(metavar="SET", help="What one has now: standard, looser, tighter, or a .toml or .json file."),
]
Dense = Annotated[Buckets, typer.Option(help="sparse: as in production; dense: silent hours are zeros.")]


def sweep(
    dataset: DatasetArgument,
    vary: Vary = None,
    sample: Sample = None,
    range_: Range = None,
    method: Method = "sobol",
    seed: Seed = 0,
    default: Default = "standard",
    buckets: Dense = "sparse",
    every: Every = "1d",
    offset: Offset = "0h",
    truth: Truth = "auto",
    store: Store = None,
    silence: Silence = "auto",
    lead: Lead = 1,
    grace: Grace = 1,
    open_: Open = 24,
    merge: Merge = 12,
    pairing: Pairing = "one-to-one",
    merged: Merged = "leave-out",
    out: Annotated[Path | None, typer.Option(help="Write a .parquet or .csv file with a row for each setting.")] = None,
    as_json: AsJson = False,
) -> None:
    """Judge very many settings exactly, in the time of a few backtests.

    Shows those that no other beats, what one has now, which variables limits hang on, and which change nothing. The
    best of many is partly luck: recommend says what is left of it.
    """
    from issue_analytics.backtest import Policy
    from issue_analytics.tuning.binding import flat_variables

    if out is not None and out.suffix not in {".parquet", ".csv"}:
        raise SettingsError(f"--out {out}: name a .parquet or .csv file.")
    settings = settings_of(vary, sample, range_, method, seed)
    current = one_set(default)
    matching = matching_of(lead=lead, grace=grace, open_=open_, merge=merge, pairing=pairing)
    policy = Policy(every=every, offset=offset)
    past = history_of(dataset, truth=truth, store=store, silence=silence, merged=merged)
    prepared = _prepared(past, policy, buckets, matching)
    table = prepared.sweep(settings, progress=False if as_json else None)
    now = prepared.sweep([current])
    flat, terms = flat_variables(table), prepared.binding(current)
    if out is not None:
        write_whole(table, out)
    front = _front(table, current, prepared.labelled)
    if as_json:
        say_json(
            {
                "dataset": str(dataset),
                "truth": past.truth,
                "silence": past.silence,
                "left_out": past.left_out,
                "groups": prepared.groups.height,
                "exposed_series_weeks": prepared.groups["exposed_hours"].sum() / 168,
                "buckets": buckets,
                "every": every,
                "offset": offset,
                "matching": str(matching),
                "settings": table.height,
                "default": now.row(0, named=True),
                "front": [_finite(row) for row in front.to_dicts()],
                "binding": terms.to_dicts(),
                "flat": flat.to_dicts(),
                "out": None if out is None else str(out),
            }
        )
        return
    show_sweep(past, prepared, table, front, now, current, terms, flat)
    if out is not None:
        say(f"\n{table.height:,} rows in {out}")


def recommend(
    dataset: DatasetArgument,
    budget: Annotated[
        float | None, typer.Option(help="At most so many alerts, right or wrong; within that the most caught.")
    ] = None,
    per: Annotated[
        Literal["series-week", "project-day"],
        typer.Option(help="What the budget is per: a week that one issue is watched, or a day and project."),
    ] = "series-week",
    min_recall: Annotated[
        float | None, typer.Option(help="Catch at least this share of escalations, at the fewest false alarms.")
    ] = None,
    cost_ratio: Annotated[
        float | None, typer.Option(help="A missed escalation costs so many false alarms; the lowest cost.")
    ] = None,
    vary: Vary = None,
    sample: Sample = None,
    range_: Range = None,
    method: Method = "sobol",
    seed: Seed = 0,
    default: Default = "standard",
    by: Annotated[
        Literal["volume", "project_id", "type"] | None,
        typer.Option(help="Also thresholds of their own by this, and whether that pays."),
    ] = None,
    held_out: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.9,
            show_default="a third",
            help="Share of the time, the latest, that judges and does not choose; 0: none, all of it chooses.",
        ),
    ] = 1 / 3,
    cluster: Annotated[
        Literal["group", "project"],
        typer.Option(help="What falls together: the alerts of an issue, or of all issues of a project."),
    ] = "group",
    resamples: Annotated[int, typer.Option(min=100, help="Draws behind corrections and intervals.")] = 1000,
    min_events: Annotated[int, typer.Option(min=1, help="Refuse to choose by fewer escalations.")] = 20,
    errors: Annotated[
        float,
        typer.Option(
            min=0,
            help="Take the simplest setting within so many standard errors of the best; 0: the best itself.",
        ),
    ] = 1.0,
    buckets: Dense = "sparse",
    every: Every = "1d",
    offset: Offset = "0h",
    truth: Truth = "auto",
    store: Store = None,
    silence: Silence = "auto",
    lead: Lead = 1,
    grace: Grace = 1,
    open_: Open = 24,
    merge: Merge = 12,
    pairing: Pairing = "one-to-one",
    merged: Merged = "leave-out",
    out: Annotated[
        Path | None, typer.Option(help="Write the thresholds as a .toml file, with where they came from.")
    ] = None,
    date: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="For the file: the day to write into it; no clock is asked."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace other thresholds that are there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Recommend a setting, and say what is left of it.

    Give one of --budget, --min-recall and --cost-ratio. The earlier part of time chooses: the simplest setting that is
    as good as the best but for chance. Its scores as it looks, corrected for the search, and on the later part stand
    beside those of what one has now. With too few escalations to choose by it refuses (exit code 2).
    """
    from issue_analytics.backtest import Policy
    from issue_analytics.threshold_files import write_thresholds
    from issue_analytics.tuning.recommending import recommend as choose

    if out is not None and out.suffix != ".toml":
        raise SettingsError(f"--out {out}: thresholds are written as TOML; let the name end in .toml.")
    objective = objective_of(budget, per, min_recall, cost_ratio)
    settings = settings_of(vary, sample, range_, method, seed)
    current = one_set(default)
    matching = matching_of(lead=lead, grace=grace, open_=open_, merge=merge, pairing=pairing)
    policy = Policy(every=every, offset=offset)
    past = history_of(dataset, truth=truth, store=store, silence=silence, merged=merged)
    if past.escalations is None:
        raise (SettingsError if truth == "none" else DatasetError)(
            f"{dataset}: nothing is known of what escalated, so nothing can be recommended; import a label table or "
            "activities. sweep shows the burden of alerts."
        )
    prepared = _prepared(past, policy, buckets, matching)
    try:
        found = choose(
            past.counts, past.escalations, settings, objective=objective, default=current,
            held_out=held_out or None, cluster=cluster, errors=errors, resamples=resamples, seed=seed,
            min_events=min_events, by=by, types=_types(past) if by == "type" else None, policy=policy, buckets=buckets,
            matching=matching, **past.options(),
        )  # fmt: skip
    except SettingsError as error:
        raise SettingsError(_by_option(str(error))) from None
    split, later = found.segments, found.segments_held_out
    provenance = _provenance(past, prepared, found, split, cluster, seed, date)
    if as_json:
        answer = _recommended(past, prepared, found, split, later, provenance, out)
    else:  # what was found is shown even where the file cannot be written
        show_recommendation(past, prepared, found, split, later)
    if out is not None:
        common, own = _to_write(found, split)
        try:
            write_thresholds(
                out, common, provenance=provenance, by=by if own else None, segments=own, overwrite=overwrite
            )
        except SettingsError as error:
            raise SettingsError(str(error).replace("allow overwriting", "add --overwrite")) from None
    if as_json:
        say_json(answer)
    elif out is not None:
        say(f"\nthresholds: {out}")
        if split is not None and split.pays:
            say(f"  they are the one for all and those by {by}, not the recommended one")


def _by_option(message: str) -> str:
    """What a refusal says to do, in options instead of arguments."""
    for argument, option in (
        ("(min_events)", "(--min-events)"),
        ("half of min_events", "half of --min-events"),
        ("held_out= moves the cut; None chooses", "--held-out moves the cut; 0 chooses"),
        ('cluster="group"', "--cluster group"),
    ):
        message = message.replace(argument, option)
    return f"--{message}" if message.startswith("by: ") else message


def _types(past: History) -> "pl.DataFrame | pl.LazyFrame | None":
    """The type of each issue, where occurrences tell it."""
    import polars as pl

    if not past.data.manifest["totals"].get("occurrences", {}).get("accepted"):
        return None
    return past.data.occurrences.select("project_id", "group_id", "type").filter(pl.col("type").is_not_null()).unique()


def _to_write(
    found: "Recommendation", split: "SegmentThresholds | None"
) -> "tuple[ThresholdVariables, dict[str | int | None, ThresholdVariables]]":
    """The thresholds for a file: of segments if they pay, with the one setting that they were held against."""
    if split is None or not split.pays:
        return found.thresholds, {}
    own: dict[str | int | None, ThresholdVariables] = {
        value: one for value, one in split.thresholds().items() if one != split.common
    }
    return split.common, own


def _provenance(
    past: History,
    prepared: "Prepared",
    found: "Recommendation",
    split: "SegmentThresholds | None",
    cluster: str,
    seed: int,
    date: datetime | None,
) -> dict[str, Any]:
    """Where the numbers came from: enough to do it again, and to see what they were worth."""
    from importlib.metadata import version

    span, corrected = past.data.manifest["span"], found.corrected
    # of the one setting for all; nothing but the data that chose has judged those of segments
    of_one: dict[str, Any] = {}
    if split is None or not split.pays:
        of_one = {"held_out_events": found.held_out_events, "better_than_default": found.better, "p": found.p}
    told: dict[str, Any] = {
        "data": str(past.data.path).encode(errors="backslashreplace").decode(),  # names of files need be no text
        "data_digest": past.digest,
        "first_hour": span["first_hour"],
        "last_hour": span["last_hour"],
        "truth": past.truth,
        "silence": past.silence,
        "merged": past.merged,
        "limits": prepared.policy.schedule,
        "buckets": prepared.buckets,
        "matching": str(prepared.matching),
        "objective": str(found.objective),
        "default": found.default.digest,
        "settings_tried": corrected.choice.tried,
        "chosen_before": found.cut,
        "events": corrected.events,
        **of_one,
        "cluster": cluster,
        "errors": corrected.choice.errors,
        "resamples": corrected.resamples,
        "seed": seed,
    }
    kinds = ["apparent", "corrected", "held_out"]
    rows = found.table.filter(setting="recommended").to_dicts()
    if split is not None:
        told |= {"segments_by": split.by, "segments_pay": split.pays}
        if split.pays:  # the scores are those of what is written
            rows, kinds = split.scores.filter(setting="segments").to_dicts(), kinds[:2]
    for row in rows:
        if row["score"] in ("recall", "false_alarms_per_series_week", found.objective.score_name):
            told |= {f"{row['score']}_{kind}": row[kind] for kind in kinds}
    told |= {"issue_analytics": version("issue-analytics"), "date": None if date is None else date.date()}
    # four digits are more than any of these is sure of
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in told.items()
        if value is not None
    }


def _prepared(past: History, policy: "Policy", buckets: Buckets, matching: "Matching") -> "Prepared":
    """The history, reduced to what thresholds act on."""
    from issue_analytics.tuning import prepare

    prepared = prepare(
        past.counts, past.escalations, policy=policy, buckets=buckets, matching=matching, **past.options()
    )
    if prepared.exposure.is_empty():
        raise DatasetError(
            f"{past.data.path}: nothing to judge: no issue was archived until escalating within the judged time. "
            "--truth none shows the burden of alerts on all issues."
        )
    return prepared


def _recommended(
    past: History,
    prepared: "Prepared",
    found: "Recommendation",
    split: "SegmentThresholds | None",
    later: "pl.DataFrame | None",
    provenance: dict[str, Any],
    out: Path | None,
) -> dict[str, Any]:
    """A recommendation for JSON."""
    told = {
        "dataset": str(past.data.path),
        "left_out": past.left_out,
        "exposed_series_weeks": prepared.groups["exposed_hours"].sum() / 168,
        **{name: getattr(found, name).to_dict() for name in ("thresholds", "default", "best", "on_all_data")},
        "digest": found.thresholds.digest,
        "objective": str(found.objective),
        "kept": found.corrected.choice.kept,
        "better": found.better,
        "p": found.p,
        "cut": found.cut,
        "events": found.corrected.events,
        "held_out_events": found.held_out_events,
        "why": found.why,
    }
    for name in ("table", "differences", "alternatives", "stability", "variables"):
        told[name] = getattr(found, name).to_dicts()
    told["segments"] = None if split is None else {
        "by": split.by,
        "held_out": None if later is None else later.to_dicts(),
        "common": split.common.to_dict(),
        "pays": split.pays,
        "why": split.why,
        **{name: getattr(split, name).to_dicts() for name in ("segments", "scores", "differences")},
    }  # fmt: skip
    return told | {"provenance": provenance, "out": None if out is None else str(out)}


def _front(table: "pl.DataFrame", current: "ThresholdVariables", labelled: bool) -> "pl.DataFrame":
    """The settings that no other beats, or one for each number of alerts; of equals the one nearest to the current."""
    import polars as pl

    from issue_analytics.tuning.choosing import cost_curve, pareto_front
    from issue_analytics.tuning.family import simplicity
    from issue_analytics.tuning.settings import as_settings

    changed, change = simplicity(as_settings(table), current)
    nearest = table.with_columns(changed=pl.Series(changed), change=pl.Series(change)).sort(
        "changed", "change", maintain_order=True
    )
    nearest = nearest.drop("changed", "change")
    if not labelled:
        alike = nearest.group_by("alerts", maintain_order=True)
        return (
            alike.agg(pl.exclude("alerts").first(), settings=pl.len()).sort("alerts").select(*table.columns, "settings")
        )
    prices = cost_curve(nearest).select("digest", "cost_ratio_from", "cost_ratio_to")
    return pareto_front(nearest).join(prices, on="digest", how="left", maintain_order="left")


# ---- settings ---- #


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """A row for JSON, which knows no infinity: null is without end."""
    return {name: None if value == math.inf else value for name, value in row.items()}
