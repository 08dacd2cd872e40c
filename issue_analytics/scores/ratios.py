"""Scores that are ratios of sums: one definition for a frame, a group of rows, a window, and every interval.

A tally frame has one row per group (or per anything finer or coarser, such as a group and a week) with the columns
``alerts``, ``duplicates``, ``unjudged``, ``false_alarms``, ``events``, ``events_caught`` and ``quiet_hours``. What is
summed stands in one place, :class:`Ratio`, so that a resample or a linearised error sums the same things.
"""

from dataclasses import dataclass, replace
from typing import Final

import polars as pl

__all__ = [
    "ALERTS_PER_SERIES_WEEK",
    "FALSE_ALARMS_PER_SERIES_WEEK",
    "HEADLINE",
    "PRECISION",
    "RECALL",
    "Ratio",
    "f_beta",
    "f_score",
    "false_alarms_per_series_week",
    "precision",
    "recall",
    "series_weeks",
]

HOURS_PER_WEEK: Final = 168


@dataclass(frozen=True, slots=True)
class Ratio:
    """A score that is a sum over rows divided by another: ``scale * sum(top) / sum(bottom)``.

    Attributes:
        name: the column it makes.
        top: of one row; an expression that looks at its own row only, never null.
        bottom: of one row, as ``top``.
        scale: what the ratio is multiplied by, to come out in the unit that people read.
        share: whether ``top`` is a part of ``bottom``, so that the unscaled ratio is never above 1; intervals of shares
            and of rates differ.
        counts: whether ``top`` counts things one by one; an interval is then never narrower than if the things came
            independently of each other.

    >>> Ratio("heads", pl.col("heads"), pl.col("throws")).name
    'heads'
    """

    name: str
    top: pl.Expr
    bottom: pl.Expr
    scale: float = 1.0
    share: bool = False
    counts: bool = True

    def of_sums(self) -> pl.Expr:
        """Micro: every alert, event or hour weighs the same; null where ``bottom`` sums to 0.

        Can be used in ``select``, in ``group_by().agg()`` and ``over``.

        >>> throws = pl.DataFrame({"heads": [1, 4], "throws": [2, 4]})
        >>> throws.select(Ratio("share", pl.col("heads"), pl.col("throws")).of_sums()).item()
        0.8333333333333334
        """
        bottom = self.bottom.sum()
        return pl.when(bottom > 0).then(self.scale * (self.top.sum() / bottom)).alias(self.name)

    def by_row(self) -> pl.Expr:
        """The score of each row alone; null where its ``bottom`` is 0."""
        return pl.when(self.bottom > 0).then(self.scale * (self.top / self.bottom)).alias(self.name)

    def macro(self) -> "Ratio":
        """The mean of the rows' own scores, over the rows that have one: every group weighs the same.

        It is a ratio of sums again, so everything that takes one takes it too.

        >>> throws = pl.DataFrame({"heads": [1, 4, 0], "throws": [2, 4, 0]})
        >>> throws.select(Ratio("share", pl.col("heads"), pl.col("throws")).macro().of_sums()).rows()
        [(0.75,)]
        """
        own = pl.when(self.bottom > 0).then(self.top / self.bottom).otherwise(0.0)
        has_one = (self.bottom > 0).fill_null(False).cast(pl.Int64)
        return replace(self, name=f"{self.name}_macro", top=own, bottom=has_one, counts=False)


_JUDGED: Final = pl.col("alerts") - pl.col("duplicates") - pl.col("unjudged")

PRECISION: Final = Ratio("precision", _JUDGED - pl.col("false_alarms"), _JUDGED, share=True)
"""Of alerts; see :func:`precision`."""

RECALL: Final = Ratio("recall", pl.col("events_caught"), pl.col("events"), share=True)
"""Of events; see :func:`recall`."""

FALSE_ALARMS_PER_SERIES_WEEK: Final = Ratio(
    "false_alarms_per_series_week", pl.col("false_alarms"), pl.col("quiet_hours"), HOURS_PER_WEEK
)
"""A rate; see :func:`false_alarms_per_series_week`."""

ALERTS_PER_SERIES_WEEK: Final = Ratio(
    "alerts_per_series_week", pl.col("alerts"), pl.col("exposed_hours"), HOURS_PER_WEEK
)
"""Burden: alerts, right or wrong, per week that one series is watched (``exposed_hours``)."""

HEADLINE: Final = (PRECISION, RECALL, FALSE_ALARMS_PER_SERIES_WEEK)
"""The three ratios every summary has, micro, macro and with intervals."""


def precision() -> pl.Expr:
    """Share of alerts that caught an actual escalation; null when there were none to judge.

    ``caught / (caught + false_alarms)``, where caught is ``alerts - duplicates - unjudged - false_alarms``: a further
    alert in an escalation that was caught already is neither a catch nor a false alarm, nor is one that meets only
    escalations which are not judged.

    >>> tally = pl.DataFrame({"alerts": [5, 1], "duplicates": [1, 0], "unjudged": [0, 0], "false_alarms": [2, 1]})
    >>> tally.select(precision()).item()
    0.4
    """
    return PRECISION.of_sums()


def recall() -> pl.Expr:
    """Share of judged escalations that an alert caught; null when there were none.

    >>> pl.DataFrame({"events": [0], "events_caught": [0]}).select(recall()).item() is None
    True
    """
    return RECALL.of_sums()


def f_beta(beta: float = 1.0) -> pl.Expr:
    """Weighted harmonic mean of precision (of alerts) and recall (of events); null where either is.

    ``(1 + beta^2) P R / (beta^2 P + R)``; 0 where both are 0. ``beta`` above 1 weighs recall more. Van Rijsbergen 1979.

    >>> tally = pl.DataFrame({"alerts": [5], "duplicates": [0], "unjudged": [0], "false_alarms": [3], "events": [2],
    ...     "events_caught": [2]})
    >>> round(tally.select(f_beta()).item(), 6)
    0.571429
    """
    return f_score(PRECISION, RECALL, beta)


def f_score(precision: Ratio, recall: Ratio, beta: float = 1.0) -> pl.Expr:
    """Weighted harmonic mean of two scores of the same rows; null where either is null, 0 where both are 0.

    ``(1 + beta^2) P R / (beta^2 P + R)``; ``beta`` above 1 weighs recall more. Van Rijsbergen 1979. For
    ``RANGE_PRECISION`` and ``RANGE_RECALL``, or those of affiliation; works in ``select``, ``agg`` and ``over``.

    >>> sums = pl.DataFrame({"hits": [2], "alarms": [5], "found": [2], "windows": [2]})
    >>> precision, recall = Ratio("p", pl.col("hits"), pl.col("alarms")), Ratio("r", pl.col("found"), pl.col("windows"))
    >>> round(sums.select(f_score(precision, recall)).item(), 6)
    0.571429
    """
    top, bottom = precision.of_sums(), recall.of_sums()
    weighted = beta**2 * top + bottom
    return pl.when(weighted == 0).then(0.0).otherwise((1 + beta**2) * top * bottom / weighted).alias(f"f_{beta:g}")


def series_weeks() -> pl.Expr:
    """Quiet exposure in weeks of one series: exposed hours outside every actual escalation, / 168."""
    return (pl.col("quiet_hours").sum() / HOURS_PER_WEEK).alias("series_weeks")


def false_alarms_per_series_week() -> pl.Expr:
    """False alarms per week that one series is watched; null without quiet exposure.

    >>> tally = pl.DataFrame({"false_alarms": [3], "quiet_hours": [16]})
    >>> tally.select(false_alarms_per_series_week()).item()
    31.5
    """
    return FALSE_ALARMS_PER_SERIES_WEEK.of_sums()
