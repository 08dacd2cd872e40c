"""The burden of alerts: how many a project's people get on a day."""

from datetime import timedelta
from typing import Final

import polars as pl

from issue_analytics.errors import SettingsError
from issue_analytics.scores.exposed import exposed
from issue_analytics.scores.ratios import Ratio

__all__ = ["ALERTS_PER_PROJECT_DAY", "alerts_per_project_day", "burden", "days_over", "worst_days"]

_DAY: Final = timedelta(days=1)
_WATCHED: Final = (pl.col("groups") > 0).cast(pl.Int64)

ALERTS_PER_PROJECT_DAY: Final = Ratio("alerts_per_project_day", pl.col("alerts"), _WATCHED)
"""Of rows of :func:`burden`; see :func:`alerts_per_project_day`."""


def burden(alerts: pl.DataFrame, exposure: pl.DataFrame) -> pl.DataFrame:
    """Count the alerts of each project and day; days on which it was watched and nothing fired are there with 0.

    Args:
        alerts: one row per alert: project_id, hour (of its beginning) and, for ``false_alarms``, verdict; such as
            ``result.alerts``.
        exposure: contract ``Exposure``: whole hours, not overlapping, such as ``result.exposure``.

    Returns:
        A row per project and UTC date with any exposed hour, sorted: ``project_id``, ``date``, ``groups`` (exposed on
        that day), ``exposed_hours`` (of all of them together), ``alerts`` (that began on it) and ``false_alarms`` (null
        where alerts have no verdict).

    Raises:
        FrameError: the exposure has open or overlapping spans, or hours in part.

    >>> from datetime import UTC, datetime
    >>> start = datetime(2026, 1, 5, 22, tzinfo=UTC)
    >>> watched = pl.DataFrame({"project_id": [1], "group_id": [7], "start": start, "end": start + timedelta(hours=30)})
    >>> alerts = pl.DataFrame({"project_id": [1], "group_id": [7], "hour": start, "verdict": "false"})
    >>> burden(alerts, watched).drop("project_id").rows()
    [(datetime.date(2026, 1, 5), 1, 2, 1, 1), (datetime.date(2026, 1, 6), 1, 24, 0, 0), ...]
    """
    last = pl.col("end") - timedelta(microseconds=1)
    pieces = exposed(exposure).lazy().with_columns(date=pl.date_ranges(pl.col("start").dt.date(), last.dt.date()))
    midnight = pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    watched = pl.min_horizontal("end", midnight + _DAY) - pl.max_horizontal("start", midnight)
    days = (
        pieces.explode("date")
        .group_by("project_id", "date")
        .agg(
            groups=pl.col("group_id").n_unique().cast(pl.Int64),
            exposed_hours=watched.dt.total_hours().sum(),
        )
    )
    known = "verdict" in alerts.columns and not (alerts.height and alerts["verdict"].is_null().all())
    false = (pl.col("verdict") == "false").sum().cast(pl.Int64) if known else pl.lit(None, dtype=pl.Int64)
    fired = (
        alerts.lazy()
        .group_by("project_id", date=pl.col("hour").dt.date())
        .agg(alerts=pl.len().cast(pl.Int64), false_alarms=false)
    )
    counted = days.join(fired, on=["project_id", "date"], how="left").with_columns(pl.col("alerts").fill_null(0))
    if known:
        counted = counted.with_columns(pl.col("false_alarms").fill_null(0))
    return counted.sort("project_id", "date").collect()


def alerts_per_project_day() -> pl.Expr:
    """Alerts on a day of a project, in the mean over the days it was watched; null without any.

    ``alerts / days``: a project and a day on which any of its groups was exposed is one.

    >>> days = pl.DataFrame({"groups": [5, 5, 1, 5], "alerts": [0, 3, 0, 0]})
    >>> days.select(alerts_per_project_day()).item()
    0.75
    """
    return ALERTS_PER_PROJECT_DAY.of_sums()


def days_over(budget: int) -> Ratio:
    """Share of watched days of a project with more alerts than its people want: a ratio over rows of :func:`burden`.

    Args:
        budget: alerts that a day may bring.

    Raises:
        SettingsError: the budget is no whole number, or negative.

    >>> days = pl.DataFrame({"groups": [5, 5, 1, 5], "alerts": [0, 3, 1, 0]})
    >>> days.select(days_over(1).of_sums()).item()
    0.25
    """
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 0:
        raise SettingsError(f"budget: expected a whole number of alerts, got {budget!r}.")
    return Ratio(f"days_over_{budget}", (pl.col("alerts") > budget).cast(pl.Int64), _WATCHED, share=True)


def worst_days(days: pl.DataFrame) -> pl.DataFrame:
    """The day with the most alerts of each project, the earliest of several, by number of alerts.

    Args:
        days: of :func:`burden`.

    Returns:
        Those rows, the worst first; projects without an alert have none.

    >>> from datetime import date
    >>> days = pl.DataFrame({"project_id": [1, 1, 2], "date": [date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 5)],
    ...     "alerts": [2, 2, 5]})
    >>> worst_days(days).rows()
    [(2, datetime.date(2026, 1, 5), 5), (1, datetime.date(2026, 1, 5), 2)]
    """
    return (
        days.filter(pl.col("alerts") > 0)
        .sort("alerts", "date", descending=[True, False])
        .unique("project_id", keep="first", maintain_order=True)
        .sort("alerts", "project_id", descending=[True, False])
    )
