"""How late: the delay of alerts behind the escalations they catch, with what was missed or cut off."""

from datetime import timedelta

import polars as pl

__all__ = ["median_delay_hours"]


def median_delay_hours(matches: pl.DataFrame) -> float | None:
    """Hours within which half of the judged escalations were caught; null if fewer than half were.

    Kaplan and Meier's median, with a miss kept at risk for ever: it was never caught, and leaving it out would reward a
    limit for missing the slow ones. Only an escalation of which the end was not watched (``cut_off``) is censored, at
    ``watched_until``. A delay runs to the end of the hour that fired, because its count is not known before.

    Args:
        matches: contract ``Matches``.

    >>> from datetime import UTC, datetime
    >>> start = datetime(2026, 1, 5, tzinfo=UTC)
    >>> matches = pl.DataFrame({"delay_hours": [1.0, 3.0, None], "escalated_at": start, "watched_until": start,
    ...     "cut_off": False})
    >>> median_delay_hours(matches)
    3.0
    """
    caught = matches["delay_hours"].drop_nulls().to_numpy()
    if not caught.size:
        return None
    from scipy.stats import CensoredData, ecdf

    watched = (pl.col("watched_until") - pl.col("escalated_at")) / timedelta(hours=1)
    never = pl.lit(1e9)
    missed = matches.filter(pl.col("delay_hours").is_null()).select(pl.when("cut_off").then(watched).otherwise(never))
    survival = ecdf(CensoredData(uncensored=caught, right=missed.to_series().to_numpy())).sf
    reached = survival.probabilities <= 0.5
    return float(survival.quantiles[reached.argmax()]) if reached.any() else None
