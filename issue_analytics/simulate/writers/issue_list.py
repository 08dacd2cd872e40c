"""Issues from the REST API with their hourly counts: pages of the issue list, and retrieved issues with forecasts.

Carries hourly counts of the 24 hours up to half past the last hour in which anything occurred (the last point counts
half an hour), the limits of the standard thresholds that the tracker would have stored at midnight, and all status
changes. ``count`` is a string and counts the whole simulation up to the same moment.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import polars as pl

from issue_analytics.forecast import forecast
from issue_analytics.frames import KEY
from issue_analytics.simulate.texts import TYPES
from issue_analytics.simulate.writers.issues import activity_json, issue_fields
from issue_analytics.simulate.writers.lines import ISO_MICROS, pack
from issue_analytics.simulate.writers.rest import counts_at, exported_at, start_of_hour, zero_filled

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["PAGE", "common", "listed", "page", "points", "write"]

PAGE: Final = 100
"""Issues on a page of the list; the tracker gives no more."""

_FALLBACK: Final = "[" + ",".join(["10"] * 14) + "]"  # what the tracker answers where it has stored no forecast
_AFTER_MIDNIGHT: Final = timedelta(seconds=11.5)  # when the nightly task came to it: a fraction, as stamps have

_SAME_FOR_ALL: Final = (
    ',"shareId":null,"logger":null,"statusDetails":{},"isPublic":false,"numComments":0,"assignedTo":null,'
    '"isBookmarked":false,"isSubscribed":false,"subscriptionDetails":null,"hasSeen":false,"annotations":[],'
    '"priorityLockedAt":null,"isUnhandled":false,"filtered":null,"inbox":null'
)
_RETRIEVED: Final = ',"seenBy":[],"participants":[],"pluginActions":[],"firstRelease":null,"lastRelease":null,"tags":[]'


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``issue-list-000.json`` …, newest issues first, and ``issues-forecast.jsonl.gz``.

    The latter holds every issue as it is retrieved with ``expand=forecast``, one on a line: with activities, with
    ``stats`` of 24 hours and of 30 days, and with ``forecast``, which is null for types that have no limits, and 10 on
    all days, dated now, for issues that the tracker has stored no forecast of.
    """
    moment = exported_at(sim)
    counts = counts_at(sim, moment)
    issues = listed(sim, moment)
    hour = start_of_hour(moment)
    hourly = points(zero_filled(counts, issues, hour - timedelta(hours=23), hour))
    stats = issues.select(KEY).join(hourly, on=KEY, how="left", maintain_order="left")
    listing = issues.select(
        pl.concat_str(common(issues), pl.lit(',"stats":{"24h":'), stats["points"], pl.lit("}}")).alias("issue")
    ).to_series()
    for number in range(max(1, -(-listing.len() // PAGE))):
        yield f"issue-list-{number:03}.json", page(listing[number * PAGE : (number + 1) * PAGE])
    yield "issues-forecast.jsonl.gz", pack(_retrieved(sim, issues, stats["points"], counts, moment))


def listed(sim: "Simulation", moment: datetime) -> pl.DataFrame:
    """All groups with the time of their ``last`` occurrence before the moment and their ``count``, newest first."""
    before = sim.occurrences.filter(pl.col("detected_at") < moment)
    seen = before.group_by(KEY).agg(last=pl.col("detected_at").max(), count=pl.len().cast(pl.Int64))
    groups = sim.groups.join(seen, on=KEY, how="left", maintain_order="left")
    return groups.sort(pl.coalesce("last", "first_seen"), *KEY, descending=[True, False, False])


def page(issues: pl.Series) -> bytes:
    """A page of the list: a JSON array."""
    return f"[{','.join(issues)}]".encode()


def points(filled: pl.DataFrame) -> pl.DataFrame:
    """The series of each group as JSON, ``[[seconds, count], …]``, in the column ``points``."""
    point = pl.format("[{},{}]", pl.col("hour").dt.epoch("s"), "count")
    series = filled.group_by(KEY, maintain_order=True).agg(points=point.str.join(","))
    return series.with_columns(pl.format("[{}]", "points").alias("points"))


def common(issues: pl.DataFrame) -> pl.Series:
    """What the list and the retrieved issue have in common, as JSON without the closing brace."""
    fields = issue_fields(issues)
    # the tracker leaves out a fraction of zero; here every second issue was seen at whole seconds
    whole = issues["group_id"] % 2 == 0
    seen = {"firstSeen": pl.col("first_seen"), "lastSeen": pl.coalesce("last", "first_seen")}
    stamps = issues.select(
        pl.when(whole).then(at.dt.strftime("%Y-%m-%dT%H:%M:%SZ")).otherwise(at.dt.strftime(ISO_MICROS)).alias(name)
        for name, at in seen.items()
    )
    fields = fields.with_columns(stamps).with_columns(
        permalink=pl.format("https://sentry.example.com/organizations/acme/issues/{}/", "id"),
        platform=pl.lit("python"),
        metadata=pl.struct("title"),
        userCount=pl.lit(0),
        lifetime=pl.struct("count", pl.lit(0).alias("userCount"), "firstSeen", "lastSeen"),
    )
    start = pl.struct(pl.all()).struct.json_encode().str.strip_suffix("}")
    return fields.select(pl.concat_str(start, pl.lit(_SAME_FOR_ALL)).alias("start")).to_series()


def _retrieved(
    sim: "Simulation", issues: pl.DataFrame, hourly: pl.Series, counts: pl.DataFrame, moment: datetime
) -> pl.Series:
    midnight = moment.replace(hour=0, minute=0)
    daily = points(zero_filled(counts, issues, midnight - timedelta(days=29), midnight, "1d"))
    activity = activity_json(sim.activities).group_by(KEY, maintain_order=True).agg(pl.col("activity").str.join(","))
    more = (
        issues.select(*KEY, "type")
        .join(daily, on=KEY, how="left", maintain_order="left")
        .join(activity, on=KEY, how="left", maintain_order="left")
        .join(_limits(counts, midnight), on=KEY, how="left", maintain_order="left")
    )
    without = [kind.id for kind in TYPES if not kind.escalates]
    forecasts = pl.concat_str(
        pl.lit(',"forecast":{"data":'),
        pl.col("limits").fill_null(_FALLBACK),
        pl.lit(',"date_added":'),
        pl.when(pl.col("limits").is_null())
        .then(pl.lit(str(moment.timestamp())))
        .otherwise(pl.lit(str((midnight + _AFTER_MIDNIGHT).timestamp()))),
        pl.lit("}}"),
    )
    return more.select(
        pl.concat_str(
            common(issues),
            pl.lit(_RETRIEVED + ',"activity":['),
            "activity",
            pl.lit('],"stats":{"24h":'),
            hourly,
            pl.lit(',"30d":'),
            "points",
            pl.lit("}"),
            pl.when(pl.col("type").is_in(without)).then(pl.lit(',"forecast":null}')).otherwise(forecasts),
        ).alias("issue")
    ).to_series()


def _limits(counts: pl.DataFrame, midnight: datetime) -> pl.DataFrame:
    """The 14 limits of each group as JSON in the column ``limits``; groups without limits have no row."""
    made = forecast(counts, midnight).filter(pl.col("limit").is_not_null())
    series = made.group_by(KEY, maintain_order=True).agg(limits=pl.col("limit").cast(pl.String).str.join(","))
    return series.with_columns(pl.format("[{}]", "limits").alias("limits"))
