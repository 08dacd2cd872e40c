"""Two results on the same data: how their scores differ, how sure that is, and which events and alerts make it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from issue_analytics.backtest.blocks import block_tallies
from issue_analytics.backtest.folder import write_folder
from issue_analytics.backtest.result import BacktestResult
from issue_analytics.backtest.summary import Cluster, cluster_columns
from issue_analytics.errors import FrameError, SettingsError
from issue_analytics.frames import KEY, whole_numbers
from issue_analytics.scores import (
    ALERTS_PER_SERIES_WEEK,
    HEADLINE,
    Ratio,
    bootstrap,
    cluster_weights,
    delay_times,
    holm,
    mcnemar,
    resampled_times,
    swap_test,
    time_to_detect,
)
from issue_analytics.scores.intervals import FEW_CARRIERS, FEW_CLUSTERS

__all__ = ["Comparison", "compare"]

_EVENT: Final = (*KEY, "escalated_at")
_DELAY: Final = "mean_delay_hours"
_TAU: Final = 24
"""Hours that a mean delay is restricted to, as in summaries."""

_CAPPED: Final = Ratio(_DELAY, pl.col("capped"), pl.col("known"), counts=False)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Comparison:
    """What changes from a first result to a second.

    Attributes:
        first: name of the first setting, else its digest, for reading.
        second: of the second.
        rules: how the limits of each were made and who was checked, in words: one setting may differ in that alone.
        matching: when an alert and an escalation are about the same thing, in words; the same for both.
        scores: one row per score: ``score``, ``first``, ``second``, ``difference`` (second less first), ``low`` and
            ``high`` (of the difference: both results computed from the same draws of clusters), ``p`` (swap test by
            cluster; of the delay, of the hours without an alert while watched, 24 at most), ``p_holm`` (adjusted for
            all rows), ``clusters``, ``note``. ``_macro`` rows weigh groups alike. Where the note says ``few clusters
            differ`` (below 10) the interval is rough: go by p.
        events: one row per escalation judged in either: its key, ``ended_at``, ``provenance``, ``title``, ``change``
            (``gained``: caught by the second only; ``lost``: by the first only; ``both``; ``neither``; ``judged in
            first only``, ``judged in second only``), ``peak``, and ``limit``, ``caught_hour``, ``delay_hours`` of each.
        alerts: one row per alert of either: ``change`` (``gained``: no alert of the first shares its time; ``lost``;
            ``both``, then as the second has it), ``title`` and the columns of ``BacktestResult.alerts``.
        mcnemar: exact p that both catch the same, escalations taken as independent; null where none was judged in both.
        cluster: what was taken to fall together: ``group`` or ``project``.
        block: length of the blocks of time drawn beside clusters, or None.
        confidence: of the intervals.
        resamples: draws behind them.
    """

    first: str
    second: str
    rules: tuple[str, str]
    matching: str
    scores: pl.DataFrame
    events: pl.DataFrame
    alerts: pl.DataFrame
    mcnemar: float | None
    cluster: str
    block: str | None
    confidence: float
    resamples: int

    def changes(self) -> pl.DataFrame:
        """How many events and alerts were gained, lost, and so on: ``change``, ``events``, ``alerts``, ``false``.

        ``false`` (of those alerts, false alarms) is null without labels.
        """
        events = self.events.group_by("change").agg(events=pl.len().cast(pl.Int64))
        alerts = self.alerts.group_by("change").agg(
            alerts=pl.len().cast(pl.Int64), false=(pl.col("verdict") == "false").sum().cast(pl.Int64)
        )
        counted = (
            pl.DataFrame({"change": _CHANGES})
            .join(events, on="change", how="left", maintain_order="left")
            .join(alerts, on="change", how="left", maintain_order="left")
            .with_columns(pl.col("events", "alerts", "false").fill_null(0))
        )
        labelled = "recall" in self.scores["score"]
        return counted if labelled else counted.with_columns(false=pl.lit(None, pl.Int64))

    def write(self, path: str | Path) -> Path:
        """Write scores, events and alerts as Parquet files, and what was compared as JSON, in a new folder.

        The folder appears whole or not at all.

        Raises:
            DatasetError: it exists, or cannot be written.
        """
        about = {
            name: getattr(self, name)
            for name in (
                "first", "second", "rules", "matching", "mcnemar", "cluster", "block", "confidence", "resamples",
            )
        }  # fmt: skip
        return write_folder(path, {"scores": self.scores, "events": self.events, "alerts": self.alerts}, about)

    def __repr__(self) -> str:
        counts = dict(self.events["change"].value_counts().iter_rows())
        told = ", ".join(f"{counts.get(change, 0)} {change}" for change in ("gained", "lost", "both", "neither"))
        return f"Comparison({self.first} -> {self.second}: events {told})"


_CHANGES: Final = ("gained", "lost", "both", "neither", "judged in first only", "judged in second only")


def compare(
    first: BacktestResult,
    second: BacktestResult,
    *,
    cluster: Cluster = "group",
    block: str | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    titles: pl.DataFrame | pl.LazyFrame | None = None,
) -> Comparison:
    """Compare two settings judged on the same history, event by event and with paired intervals.

    Both are computed from the same draws of groups (or projects), so that what makes a group hard is hard for both, and
    the interval of the difference is narrower than two intervals side by side would suggest. Give the difference and
    its interval first, the p second.

    Args:
        first: the reference.
        second: what it is compared with.
        cluster: what is drawn, ``"group"`` or ``"project"``: issues of one project, and of one release, are siblings.
        block: also draw blocks of time of this length, such as ``"1w"``, for outages that hit many groups at once; the
            intervals of ratios are then cautious.
        confidence: of the intervals.
        resamples: how many draws.
        seed: the same seed gives the same answer.
        titles: project_id, group_id, title: what the groups are called; text from an export, hostile until escaped.

    Returns:
        The comparison. Without labels, only the burden of alerts is compared.

    Raises:
        SettingsError: the two were not judged on the same counts and labels by the same rule, or an argument makes no
            sense.
        FrameError: ``titles`` lacks a column.

    >>> from datetime import UTC, datetime, timedelta
    >>> from issue_analytics.backtest.judge import backtest
    >>> from issue_analytics.thresholds import TIGHTER
    >>> start = datetime(2026, 1, 5, tzinfo=UTC)
    >>> busy = [(1, 7, start + timedelta(hours=hour), 17 if hour == 200 else 3) for hour in range(240)]
    >>> counts = pl.DataFrame(busy, schema=["project_id", "group_id", "hour", "count"], orient="row")
    >>> labels = pl.DataFrame({"project_id": [1], "group_id": [7], "escalated_at": [start + timedelta(hours=200)],
    ...     "ended_at": [start + timedelta(hours=203)], "provenance": ["human"]})
    >>> compare(backtest(counts, labels), backtest(counts, labels, thresholds=TIGHTER))
    Comparison(standard -> tighter: events 1 gained, 0 lost, 0 both, 0 neither)
    """
    columns = cluster_columns(cluster)
    if seed < 0:
        raise SettingsError(f"seed: {seed} is below 0.")
    _same(first, second)
    names = None if titles is None else _names(titles)
    events, alerts = (_titled(frame, names) for frame in (_events(first, second), _alerts(first, second)))
    judged = events.filter(pl.col("change").is_in(_CHANGES[:4]))["change"]
    lost, gained = int((judged == "lost").sum()), int((judged == "gained").sum())
    labelled = first.labelled
    return Comparison(
        first=_name(first),
        second=_name(second),
        rules=(_rules(first), _rules(second)),
        matching=str(first.matching),
        scores=_scores(first, second, columns, block, confidence, resamples, seed),
        events=events,
        alerts=alerts,
        mcnemar=float(mcnemar(lost, gained)) if labelled and judged.len() else None,
        cluster=cluster,
        block=block,
        confidence=confidence,
        resamples=resamples,
    )


def _name(result: BacktestResult) -> str:
    return result.thresholds.name or result.thresholds.digest


def _rules(result: BacktestResult) -> str:
    return f"limits {result.policy.schedule}, {result.buckets} buckets, policy {result.policy.name}"


def _same(first: BacktestResult, second: BacktestResult) -> None:
    """Refuse results that cannot be paired."""
    for name in ("labelled", "matching"):
        ours, theirs = getattr(first, name), getattr(second, name)
        if ours != theirs:
            raise SettingsError(f"compare: {name} differs ({ours}; {theirs}): a difference would come from that too.")
    for name in ("counts", "escalations", "left_out"):
        if not _same_rows(getattr(first, name), getattr(second, name)):
            raise SettingsError(f"compare: the two were judged on different {name}; backtest both on the same data.")


def _same_rows(ours: pl.DataFrame, theirs: pl.DataFrame) -> bool:
    """Whether two frames hold the same rows, in any order."""
    if ours.equals(theirs):
        return True
    key = [name for name in (*KEY, "hour", "escalated_at") if name in ours.columns]
    return ours.schema == theirs.schema and ours.height == theirs.height and ours.sort(key).equals(theirs.sort(key))


def _names(titles: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """One title for each group that has one."""
    whole_numbers("titles", titles)
    if "title" not in (found := titles.collect_schema()):
        raise FrameError(f"titles: no column title. Found: {', '.join(found)}.")
    names = titles.lazy().select(pl.col(KEY).cast(pl.Int64), pl.col("title").cast(pl.String))
    return names.unique(KEY, keep="first", maintain_order=True).collect()


def _titled(frame: pl.DataFrame, titles: pl.DataFrame | None) -> pl.DataFrame:
    if titles is None:
        return frame.with_columns(title=pl.lit(None, dtype=pl.String))
    return frame.join(titles, on=KEY, how="left", maintain_order="left")


def _scores(
    first: BacktestResult,
    second: BacktestResult,
    cluster: Sequence[str],
    block: str | None,
    confidence: float,
    resamples: int,
    seed: int,
) -> pl.DataFrame:
    """Rows of ``Comparison.scores``."""
    ratios = [ALERTS_PER_SERIES_WEEK]
    if first.labelled:
        ratios = [one for ratio in HEADLINE for one in (ratio, ratio.macro())] + ratios
    tallies = first.groups, second.groups
    drawn = tallies
    if block is not None:
        drawn = block_tallies(first, block), block_tallies(second, block)
    differences = bootstrap(
        drawn[0], ratios, other=drawn[1], cluster=cluster, block=None if block is None else "block",
        resamples=resamples, confidence=confidence, seed=seed,
    )  # fmt: skip
    macro = [ratio for ratio in ratios if ratio.name.endswith("_macro")]
    if block is not None and macro:
        # the macro means of blocks are not those of groups
        by_group = bootstrap(
            *tallies[:1], macro, other=tallies[1], cluster=cluster, resamples=resamples, confidence=confidence,
            seed=seed,
        )  # fmt: skip
        differences = pl.concat([differences.filter(~pl.col("name").is_in(by_group["name"].implode())), by_group])
    swapped = swap_test(*tallies, ratios, cluster=cluster, seed=seed)
    values = [
        groups.select(ratio.of_sums().alias(ratio.name) for ratio in ratios).unpivot(
            variable_name="name", value_name=side
        )
        for groups, side in zip(tallies, ("first", "second"), strict=True)
    ]
    rows = (
        pl.DataFrame({"name": [ratio.name for ratio in ratios]})
        .join(values[0], on="name", how="left", maintain_order="left")
        .join(values[1], on="name", how="left", maintain_order="left")
        .join(differences.drop("resamples"), on="name", how="left", maintain_order="left")
        .join(swapped.select("name", "p", differ="clusters"), on="name", how="left", maintain_order="left")
        # sums of the draws add up in another order, which would tell equal settings apart in the last digit
        .with_columns(estimate=pl.col("second") - pl.col("first"))
        .rename({"name": "score", "estimate": "difference"})
    )
    if first.labelled:
        delay = _delay(first, second, cluster, confidence, resamples, seed)
        rows = pl.concat([rows.head(-1), delay.select(rows.columns), rows.tail(1)])
    tested = rows["p"].is_not_null()
    adjusted = np.full(rows.height, np.nan)
    adjusted[tested.to_numpy()] = holm(rows["p"].drop_nulls().to_numpy())
    return rows.with_columns(p_holm=pl.Series(adjusted).fill_nan(None)).select(
        "score", "first", "second", "difference", "low", "high", "p", "p_holm", "clusters", _note()
    )


def _note() -> pl.Expr:
    few = pl.when(pl.col("low").is_not_null(), pl.col("differ") < FEW_CARRIERS).then(pl.lit("few clusters differ"))
    return pl.concat_str("note", few, separator="; ", ignore_nulls=True).replace("", None).alias("note")


def _delay(
    first: BacktestResult, second: BacktestResult, cluster: Sequence[str], confidence: float, resamples: int, seed: int
) -> pl.DataFrame:
    """Difference of the restricted mean delay, from the same draws of clusters for both."""
    keys = pl.concat([first.groups.select(cluster), second.groups.select(cluster)]).unique().sort(cluster)
    sides = [delay_times(result.matches) for result in (first, second)]
    means = [time_to_detect(result.matches, _TAU)[_DELAY].item() for result in (first, second)]
    known = [frame.filter(pl.col("hours").is_not_null()) for frame in sides]
    number = keys.with_row_index("number")
    row: dict[str, object] = {"score": _DELAY, "first": means[0], "second": means[1]}
    clusters = pl.concat([frame.select(cluster) for frame in known]).n_unique() if keys.height else 0
    row |= dict.fromkeys(("difference", "low", "high", "p", "differ"))
    row |= {"clusters": clusters, "note": "nothing to judge"}
    if None not in means:
        columns = [
            frame.join(number, on=list(cluster), how="left", maintain_order="left")["number"].to_numpy()
            for frame in known
        ]
        drawn = [
            np.subtract(
                *(
                    resampled_times(frame["hours"], frame["happened"], weights, clusters=column, tau=_TAU).mean
                    for frame, column in zip(known[::-1], columns[::-1], strict=True)
                )
            )
            for weights in cluster_weights(keys.height, resamples=resamples, seed=seed)
        ]
        differences = np.concatenate(drawn)
        differences = differences[np.isfinite(differences)]
        ends = [(1 - confidence) / 2, (1 + confidence) / 2]
        low, high = np.quantile(differences, ends) if differences.size else (0.0, 0.0)
        capped = [_capped(frame) for frame in sides]
        swapped = swap_test(capped[0], capped[1], [_CAPPED], cluster=cluster, seed=seed)
        row |= {"difference": means[1] - means[0], "p": swapped["p"].item(), "differ": swapped["clusters"].item()}
        row |= {"note": "too few clusters" if clusters < FEW_CLUSTERS else None}
        still = {"note": "one cluster" if clusters == 1 else "no variation"}
        row |= {"low": float(low), "high": float(high)} if low < high else still
    floats = dict.fromkeys(("first", "second", "difference", "low", "high", "p"), pl.Float64)
    schema = {"score": pl.String, "clusters": pl.Int64, "differ": pl.Int64, "note": pl.String} | floats
    return pl.DataFrame([row], schema=schema)


def _capped(times: pl.DataFrame) -> pl.DataFrame:
    """Delays as rows of a ratio: hours without an alert while watched, 24 at most.

    Both settings watched an escalation equally long, so that less is better. Without those that were cut off, a setting
    that catches some of them late would come out as the slower one.
    """
    return times.select(*KEY, capped=pl.col("hours").clip(upper_bound=_TAU), known=pl.lit(1))


def _events(first: BacktestResult, second: BacktestResult) -> pl.DataFrame:
    """One row per escalation judged in either, and what became of it in each."""
    told = ("caught_hour", "delay_hours", "peak", "limit")
    sides = [
        result.matches.select(*_EVENT, "ended_at", "provenance", *told)
        .with_columns(judged=True)
        .rename({name: f"{name}_{side}" for name in ("judged", *told)})
        for side, result in (("first", first), ("second", second))
    ]
    joined = sides[0].join(sides[1], on=_EVENT, how="full", coalesce=True, nulls_equal=True)
    caught = [pl.col(f"caught_hour_{side}").is_not_null() for side in ("first", "second")]
    return (
        joined.with_columns(pl.coalesce(name, f"{name}_right").alias(name) for name in ("ended_at", "provenance"))
        .with_columns(
            change=pl.when(pl.col("judged_first").is_null())
            .then(pl.lit("judged in second only"))
            .when(pl.col("judged_second").is_null())
            .then(pl.lit("judged in first only"))
            .when(caught[0] & caught[1])
            .then(pl.lit("both"))
            .when(caught[0])
            .then(pl.lit("lost"))
            .when(caught[1])
            .then(pl.lit("gained"))
            .otherwise(pl.lit("neither")),
            peak=pl.coalesce("peak_first", "peak_second"),
        )
        .select(
            *(*_EVENT, "ended_at", "provenance", "change", "peak"),
            *(f"{name}_{side}" for name in ("limit", "caught_hour", "delay_hours") for side in ("first", "second")),
        )
        .sort(_EVENT)
    )


def _alerts(first: BacktestResult, second: BacktestResult) -> pl.DataFrame:
    """One row per alert of either that the other does not have, and per alert of ``second`` that both have."""
    ours, theirs = ((result.alerts, other.alerts) for result, other in ((first, second), (second, first)))
    lost = _met(*ours).filter(~pl.col("met")).with_columns(change=pl.lit("lost"))
    other = _met(*theirs).with_columns(change=pl.when("met").then(pl.lit("both")).otherwise(pl.lit("gained")))
    columns = (*KEY, "hour", "last_hour", "change", "verdict", "peak", "count", "limit", "rule", "crossings")
    return pl.concat([lost.select(columns), other.select(columns)]).sort(*KEY, "hour")


def _met(alerts: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Say whether an alert shares its time, from its first hour to its last, with one of the others."""
    # alerts of one result do not overlap: the latest other that begins by its end is the one that reaches farthest
    return (
        alerts.sort("last_hour")
        .join_asof(
            others.select(*KEY, other_hour="hour", other_last="last_hour").sort("other_hour"),
            left_on="last_hour",
            right_on="other_hour",
            by=list(KEY),
            strategy="backward",
            check_sortedness=False,  # with `by` polars cannot check; both sides were sorted just now
        )
        .with_columns(met=(pl.col("other_last") >= pl.col("hour")).fill_null(value=False))
    )
