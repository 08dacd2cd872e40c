"""How steady limits are from day to day, and what a spike in their week does to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from issue_analytics.counts import HOUR, PANEL_CELLS, Panel, panels
from issue_analytics.errors import SettingsError
from issue_analytics.forecast import check_buckets
from issue_analytics.formula import NONE
from issue_analytics.frames import KEY, RULES, require
from issue_analytics.kernel import Buckets, limits_on
from issue_analytics.scores.by import aggregated
from issue_analytics.scores.ratios import Ratio
from issue_analytics.thresholds import PUBLISHED, STANDARD, FormulaConstants, ThresholdVariables, check_thresholds

__all__ = [
    "BRANCH_CHANGES",
    "flip_flop_index",
    "inflated_days",
    "inflation",
    "inflation_summary",
    "limit_stability",
]

Ints = npt.NDArray[np.int64]

BRANCH_CHANGES: Final = Ratio("branch_changes", pl.col("branches_changed"), pl.col("day_pairs"), share=True)
"""Share of days whose limit another branch made than the day before's, of the frame of :func:`limit_stability`."""


def flip_flop_index(values: str | pl.Expr) -> pl.Expr:
    """How much a sequence goes back and forth, in its own unit: 0 for one that only rises or only falls.

    ``(sum |x_i - x_(i-1)| - (max x - min x)) / (N - 2)`` over the N values that are not null, in the order of the rows;
    null for fewer than three. Griffiths, Foley, Ioannou and Leeuwenburg 2019.

    >>> pl.DataFrame({"limit": [50, 20, 40, 80]}).select(flip_flop_index("limit")).item()
    15.0
    """
    value = (pl.col(values) if isinstance(values, str) else values).drop_nulls().cast(pl.Float64)
    back_and_forth = value.diff().abs().sum() - (value.max() - value.min())
    return pl.when(value.len() > 2).then(back_and_forth / (value.len().cast(pl.Float64) - 2)).alias("flip_flop_index")


def limit_stability(limits: pl.DataFrame) -> pl.DataFrame:
    """Tell how much each group's limit changes from one day to the next.

    The limit of a day is the latest made for it. A day without a limit (null, or 0) has no ratio to its neighbours.

    Args:
        limits: contract ``Limits``; a result's ``limits``.

    Returns:
        One row per group: ``project_id``, ``group_id``, ``days`` (with a row), ``day_pairs`` (days whose day before has
        one too), ``ratios`` (pairs of days that both have a limit), ``largest_ratio`` and ``median_ratio``, of the
        larger to the smaller limit of such a pair (1: no change; the median is that of logarithms; null without pairs),
        ``flip_flop_index`` of the logarithm of limits, so that groups of any size compare (null for fewer than three
        limits), and ``branches_changed`` (pairs of days whose limits were made by different branches, ``none`` being
        one); by group.

    >>> from datetime import UTC, date, datetime
    >>> days = [date(2026, 1, day) for day in (5, 6, 7)]
    >>> limits = pl.DataFrame({"project_id": [1] * 3, "group_id": [7] * 3, "date": days, "limit": [10, 30, 20],
    ...     "rule": ["new", "bursty", "bursty"], "as_of": [datetime(2026, 1, day.day, tzinfo=UTC) for day in days]})
    >>> limit_stability(limits).select("largest_ratio", pl.col("median_ratio").round(3), "branches_changed").row(0)
    (3.0, 2.121, 1)
    """
    before = {f"{name}_before": pl.col(name).shift(1).over(KEY, order_by="date") for name in ("date", "limit", "rule")}
    follows = (pl.col("date") - pl.col("date_before") == timedelta(days=1)).fill_null(value=False)
    now, then = pl.col("limit").cast(pl.Float64), pl.col("limit_before").cast(pl.Float64)
    both = pl.col("follows") & (now > 0) & (then > 0)
    return (
        _in_force(limits)
        .with_columns(**before)
        .with_columns(follows=follows)
        .with_columns(
            ratio=pl.when(both).then(pl.max_horizontal(now / then, then / now)),
            changed=pl.col("follows") & (pl.col("rule") != pl.col("rule_before")).fill_null(value=False),
            size=pl.when(now > 0).then(now.log()),
        )
        .sort(*KEY, "date")
        .group_by(KEY, maintain_order=True)
        .agg(
            days=pl.len().cast(pl.Int64),
            day_pairs=pl.col("follows").sum().cast(pl.Int64),
            ratios=pl.col("ratio").count().cast(pl.Int64),
            largest_ratio=pl.col("ratio").max(),
            median_ratio=pl.col("ratio").log().median().exp(),
            flip_flop_index=flip_flop_index("size"),
            branches_changed=pl.col("changed").sum().cast(pl.Int64),
        )
    )


def _in_force(limits: pl.DataFrame) -> pl.DataFrame:
    """The latest limit made for each day of each group."""
    latest = pl.col("limit", "rule", "as_of").sort_by("as_of").last()
    return limits.group_by(*KEY, "date").agg(latest)


def inflation(
    limits: pl.DataFrame,
    counts: pl.DataFrame,
    spikes: pl.DataFrame,
    *,
    thresholds: ThresholdVariables = STANDARD,
    buckets: Buckets = "sparse",
    constants: FormulaConstants = PUBLISHED,
) -> pl.DataFrame:
    """Compare limits that had a spike in their window with those that would have been made without it.

    The hours of all spikes in a window are replaced by the median of its other hours, silent ones as 0, rounded down.
    They are not left out: fewer points would be another rule (``new`` below 168 when sparse) and not the same limit
    without the spike. With the median a busy hour stays busy in a group that is busy, and is silent in one that mostly
    is. Hours of a spike after a limit was made are not looked at.

    Args:
        limits: contract ``Limits``; a result's ``limits``. Of each day the latest made is taken.
        counts: contract ``HourlyCounts`` that the limits were made from; a result's ``counts``.
        spikes: project_id, group_id, start, end: alerts (``start="hour", end=pl.col("last_hour") + HOUR``) or labelled
            windows. Hours that they touch are masked; of one without an end, its first.
        thresholds: that the limits were made with.
        buckets: that the limits were made with.
        constants: that the limits were made with.

    Returns:
        One row per group and day whose limit had a spike in its window: ``project_id``, ``group_id``, ``date``,
        ``as_of``, ``limit``, ``rule``, ``masked_hours``, ``masked_limit`` (events per hour; null where nothing is left
        of the window), ``masked_rule`` and ``inflation``, ``limit / masked_limit`` (null where that is null or 0); by
        group and day. Limits of the rule ``fallback`` are no function of counts and left out.

    Raises:
        SettingsError: the limits were not made from these counts with these settings.
        FrameError: ``spikes`` lack a column.

    >>> from datetime import UTC
    >>> from issue_analytics.forecast import forecast
    >>> start = datetime(2026, 1, 5, tzinfo=UTC)
    >>> rows = [(1, 7, start + hour * HOUR, 90 if hour == 20 else 9) for hour in range(168)]
    >>> counts = pl.DataFrame(rows, schema=["project_id", "group_id", "hour", "count"], orient="row")
    >>> limits = forecast(counts, start + 168 * HOUR, days=1)
    >>> spikes = pl.DataFrame({"project_id": [1], "group_id": [7], "start": [start + 20 * HOUR],
    ...     "end": [start + 21 * HOUR]})
    >>> inflation(limits, counts, spikes).select("limit", "masked_limit", "inflation").row(0)
    (293, 54, 5.425925925925926)
    """
    check_buckets(buckets)
    check_thresholds(thresholds)
    require(spikes, "Exposure")
    hours = constants.window_hours
    made = (
        _in_force(limits)
        .filter(~pl.col("rule").cast(pl.String).is_in(["none", "fallback"]))
        .with_columns(made=pl.col("as_of").dt.truncate("1h"))
        .join(spikes.select(KEY).unique(), on=KEY, how="semi")
        .sort(*KEY, "date")
    )
    parts = [_empty_inflation(made)]
    if made.height:
        first, last = made.select(pl.col("made").min().alias("first"), pl.col("made").max().alias("last")).row(0)
        start = first - hours * HOUR
        marks = _spiked_hours(spikes, start, last)
        groups = made.select(KEY).unique().sort(KEY)
        places = groups.with_columns(group=pl.int_range(pl.len(), dtype=pl.Int64))
        rows = made.join(places, on=KEY, maintain_order="left")
        setting = _Setting(thresholds, buckets, constants)
        low = 0
        blocks = zip(*(panels(frame, start, last, groups=groups) for frame in (counts, marks)), strict=True)
        for panel, marked in blocks:
            some = rows.filter(pl.col("group").is_between(low, low + panel.groups.height - 1))
            parts.extend(_inflated(panel, marked, some.with_columns(pl.col("group") - low), setting))
            low += panel.groups.height
    found = pl.concat(parts)
    if wrong := found.filter(pl.col("limit") != pl.col("again")).height:
        raise SettingsError(
            f"limits: {wrong} of {found.height} do not come out of these counts with these thresholds, buckets and "
            "constants. Give those that the limits were made with."
        )
    ratio = pl.when(pl.col("masked_limit") > 0).then(pl.col("limit") / pl.col("masked_limit"))
    return found.drop("again").with_columns(inflation=ratio).sort(*KEY, "date")


def inflated_days(inflated: pl.DataFrame, spikes: pl.DataFrame, *, window_hours: int = 168) -> pl.DataFrame:
    """Tell for each spike how many days' limits had it in their window, and how many of them were higher for it.

    Spikes that share a window are masked together and share its inflation.

    Args:
        inflated: from :func:`inflation`.
        spikes: as given to it.
        window_hours: how far the limits look back.

    Returns:
        One row per spike: the columns of ``spikes``, ``days``, ``inflated_days`` (limit above the masked one, or none
        left without the spike) and ``largest_inflation`` (null where no ratio is known); in the order of ``spikes``.
    """
    made, of = pl.col("as_of").dt.truncate("1h"), pl.int_range(pl.len(), dtype=pl.Int64)
    numbered = spikes.with_columns(spike=of)
    ends = pl.col("end").fill_null(pl.col("start") + HOUR)
    inside = (
        numbered.lazy()
        .select("spike", *KEY, "start", ends)
        .join(inflated.lazy().select(*KEY, "as_of", "limit", "masked_limit", "inflation"), on=KEY)
        .filter(pl.col("start") < made, pl.col("end") > made - window_hours * HOUR)
        .group_by("spike")
        .agg(
            days=pl.len().cast(pl.Int64),
            inflated_days=_higher().sum().cast(pl.Int64),
            largest_inflation=pl.col("inflation").max(),
        )
        .collect()
    )
    return (
        numbered.join(inside, on="spike", how="left", maintain_order="left")
        .drop("spike")
        .with_columns(pl.col("days", "inflated_days").fill_null(0))
    )


def inflation_summary(inflated: pl.DataFrame, by: str | Sequence[str] = ()) -> pl.DataFrame:
    """How much spikes raise the limits after them, over all, or for each group with ``by=["project_id", "group_id"]``.

    Args:
        inflated: from :func:`inflation`, with the columns of ``by`` joined to it.
        by: columns whose values are told apart.

    Returns:
        One row per value of ``by``: ``groups``, ``days`` (whose limit had a spike in its window), ``inflated_days``
        (limit above the masked one, or none left without the spike), ``only_spike_days`` (none left), and of the ratio
        of limit to masked limit ``median_inflation``, ``mean_log_inflation`` (mean of its natural logarithm, so that
        ratios up and down weigh alike) and ``largest_inflation``; null where no ratio is known.

    Raises:
        SettingsError: no such column.
    """
    known = pl.col("inflation").filter(pl.col("inflation") > 0)
    return aggregated(
        inflated,
        by,
        pl.struct(KEY).n_unique().cast(pl.Int64).alias("groups"),
        pl.len().cast(pl.Int64).alias("days"),
        _higher().sum().cast(pl.Int64).alias("inflated_days"),
        pl.col("masked_limit").is_null().sum().cast(pl.Int64).alias("only_spike_days"),
        known.median().alias("median_inflation"),
        known.log().mean().alias("mean_log_inflation"),
        known.max().alias("largest_inflation"),
    )


def _higher() -> pl.Expr:
    return (pl.col("limit") > pl.col("masked_limit")).fill_null(value=True)


@dataclass(frozen=True, slots=True)
class _Setting:
    thresholds: ThresholdVariables
    buckets: Buckets
    constants: FormulaConstants


def _empty_inflation(made: pl.DataFrame) -> pl.DataFrame:
    return made.clear().select(
        *KEY, "date", "as_of", "limit", "rule",
        masked_hours=pl.lit(None, dtype=pl.Int64),
        again=pl.lit(None, dtype=pl.Int64),
        masked_limit=pl.lit(None, dtype=pl.Int64),
        masked_rule=pl.lit(None, dtype=pl.Enum(RULES)),
    )  # fmt: skip


def _spiked_hours(spikes: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """The clock hours in [start, end) that a spike touches, as counts of 1."""
    instant = timedelta(microseconds=1)
    last = (pl.col("end") - instant).fill_null(pl.col("start"))
    return (
        spikes.lazy()
        .select(
            *KEY,
            first=pl.max_horizontal(pl.col("start").dt.truncate("1h"), pl.lit(start)),
            last=pl.min_horizontal(last, pl.lit(end - instant)),
        )
        .filter(pl.col("first") <= pl.col("last"))
        .select(*KEY, hour=pl.datetime_ranges("first", "last", "1h"))
        .explode("hour")
        .unique()
        .with_columns(count=pl.lit(1, dtype=pl.Int64))
        .collect()
    )


def _inflated(panel: Panel, marked: Panel, rows: pl.DataFrame, setting: _Setting) -> list[pl.DataFrame]:
    """The rows of a panel with a spike in their window, and what is made of it with and without."""
    hours = setting.constants.window_hours
    opens = rows.select((pl.col("made") - panel.start).dt.total_hours()).to_series().to_numpy() - hours
    group = rows["group"].to_numpy()
    running = np.zeros((marked.counts.shape[0], marked.counts.shape[1] + 1), dtype=np.int64)
    np.cumsum(marked.counts, axis=1, out=running[:, 1:])
    masked = running[group, opens + hours] - running[group, opens]
    hit = masked > 0
    if not hit.any():
        return []
    some = rows.filter(pl.Series(hit)).with_columns(
        masked_hours=pl.Series(masked[hit]),
        opens=pl.Series(opens[hit]),
        ahead=(pl.col("date") - pl.col("made").dt.date()).dt.total_days(),
        # weekdays matter only as the distance from the day forecast; of the moment the hour of the day is what is left
        clock=pl.col("made").dt.hour(),
    )
    most = max(1, PANEL_CELLS // (2 * hours))
    return [
        _made_again(panel, marked, part, setting)
        for same in some.partition_by("clock", maintain_order=True)
        for part in same.iter_slices(most)
    ]


def _made_again(panel: Panel, marked: Panel, rows: pl.DataFrame, setting: _Setting) -> pl.DataFrame:
    """Limits made at one hour of the day, from their windows as they were and with spikes masked."""
    hours = setting.constants.window_hours
    at = rows["group"].to_numpy(), rows["opens"].to_numpy()
    window, spiked = (
        np.lib.stride_tricks.sliding_window_view(one.counts, hours, axis=1)[at] for one in (panel, marked)
    )
    both = np.asfortranarray(np.concatenate([window, _masked(window, spiked > 0)]))
    moment = rows["made"][0]
    new = None
    if setting.buckets == "dense":  # by age, which no spike changes
        new = np.tile((rows["rule"].cast(pl.String) == "new").to_numpy(), 2)[:, None]
    ahead = rows["ahead"].to_numpy()
    limit, rule = limits_on(
        Panel(rows.select(KEY), moment - hours * HOUR, both, np.zeros(2 * rows.height, dtype=np.int64)),
        [moment],
        thresholds=setting.thresholds,
        buckets=setting.buckets,
        days=int(ahead.max()) + 1,
        new=new,
        constants=setting.constants,
    )
    nth = np.arange(rows.height)
    again, without = limit[nth, 0, ahead], limit[nth + rows.height, 0, ahead]
    branch = rule[nth + rows.height, 0, ahead]
    return rows.select(
        *KEY, "date", "as_of", "limit", "rule", "masked_hours",
        again=pl.Series(again),
        masked_limit=pl.when(pl.Series(branch != NONE)).then(pl.Series(without)),
        masked_rule=pl.Series(branch).cat.to(pl.Enum(RULES)),
    )  # fmt: skip


def _masked(window: Ints, spiked: npt.NDArray[np.bool_]) -> Ints:
    """Windows with spiked hours at the median of the others, rounded down; 0 where there are no others."""
    others = window.shape[1] - spiked.sum(axis=1)
    ordered = np.sort(np.where(spiked, np.iinfo(np.int64).max, window), axis=1)
    nth = np.arange(window.shape[0])
    middle = ordered[nth, np.maximum(others - 1, 0) // 2] + ordered[nth, np.minimum(others // 2, window.shape[1] - 1)]
    median = np.where(others > 0, middle // 2, 0)
    masked: Ints = np.where(spiked, median[:, None], window)
    return masked
