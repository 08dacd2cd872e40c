"""Which of our limits was in force when the tracker recorded one, and what may be behind a difference."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from issue_analytics.backtest.made import WINDOW, History
from issue_analytics.backtest.policy import PRODUCTION, Policy
from issue_analytics.counts import HOUR
from issue_analytics.frames import KEY, RULES
from issue_analytics.kernel import Buckets
from issue_analytics.thresholds import NAMED, ThresholdVariables

__all__ = ["DIFFERENCES", "Study", "came", "recorded_limits", "spells"]

DIFFERENCES: Final = {
    "equal": "ours is the recorded one",
    "refreshed every 6 hours": "as in the tracker before December 2024; try --policy production-2023",
    "refreshed daily": "as in the tracker since December 2024; try --policy production",
    "made on archive": "the forecast of the archive was still in force: no refresh came after it",
    "running hour": "the tracker's 168 hours began and ended inside an hour (169 clock hours)",
    "fallback": "the tracker had no forecast stored, and took its fallback",
    "rounding": "one more or less",
    "standard thresholds": "made with the standard set",
    "looser thresholds": "made with the looser set, as for some organisations in 2023",
    "tighter thresholds": "made with the tighter set",
    "floor of 200": "the rule of spring 2023 for issues with less than 30 events in any hour",
    "sparse buckets": "hours without events were no data points",
    "dense buckets": "hours without events were zeros",
    "earlier refresh": "the forecast of an earlier refresh was still in force; cause_at says which",
    "another hour": "made at another hour of the last 24; cause_at says which",
    "altered counts": "events of the issue were merged, moved or deleted after the fact",
    "counts cut off": "the counts begin less than 7 days before the forecast",
    "counts differ": "the tracker counted an event, or up to a tenth, more or less",
    "no counts": "nothing was exported of the issue before",
    "unexplained": "none of these",
}
"""What a recorded limit and ours may have to do with each other; the first that is likely is told."""

_UTC_US: Final = pl.Datetime("us", "UTC")
_INSTANT: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)
_FLOOR: Final = 200
_FLOOR_BELOW: Final = 30
_LATE: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60))
"""How long after a refresh is due the tracker may have come to a group."""

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CAUSE: Final = pl.Enum(list(DIFFERENCES))
_GUESSES: Final[dict[str, pl.DataType]] = {"row": pl.UInt32(), "cause": _CAUSE, "cause_at": _UTC_US}


def recorded_limits(states: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """Recorded limits: row, key, source, at, date, recorded."""
    fired = states.filter(
        pl.col("kind") == "escalating", pl.col("cause") == "forecast", pl.col("forecast").is_not_null()
    )
    frames = [
        fired.select(*KEY, "at", source=pl.lit("escalation"), date=pl.col("at").dt.date(), recorded="forecast"),
        stored.select(*KEY, at="made_at", source=pl.lit("forecast"), date="date", recorded="limit"),
    ]
    found = pl.concat(frame.select(*KEY, "source", "at", "date", "recorded") for frame in frames).unique()
    return found.sort(*KEY, "at", "date", "source").with_row_index("row")


def spells(states: pl.DataFrame, recorded: pl.DataFrame) -> pl.DataFrame:
    """When groups were archived until escalating: key, ``archived`` (null: not in the record), since, until."""
    kind = pl.col("kind")
    states = states.with_columns(since=pl.col("at").shift(1).over(KEY), until=pl.col("at").shift(-1).over(KEY))
    recorded_spells = states.filter(kind == "archived_until_escalating").select(
        *KEY, archived="at", since="at", until="until"
    )
    # who escalated by forecast was archived, whether the record says so or not
    fired = recorded.filter(source="escalation").select(*KEY, "at")
    unseen = (
        states.join(fired, on=[*KEY, "at"], how="semi")
        .filter(kind == "escalating", pl.col("before").ne_missing("archived_until_escalating"))
        .select(*KEY, archived=pl.lit(None, _UTC_US), since="since", until="at")
    )
    return pl.concat([recorded_spells, unseen]).with_columns(pl.col("since").fill_null(_LONG_AGO)).sort("since")


def came(counts: pl.DataFrame, events: pl.DataFrame | None) -> pl.DataFrame:
    """Times of occurrences; hours without any known to the minute stand for all that came in them."""
    hours = counts.filter(pl.col("count") > 0).select(*KEY, "hour")
    exact = hours.clear() if events is None else events.select(*KEY, hour=pl.col("detected_at").dt.truncate("1h"))
    # somewhere in the hour: its last instant, so that it is found from anywhere in it
    coarse = hours.join(exact.unique(), on=[*KEY, "hour"], how="anti").select(
        *KEY, came=pl.col("hour") + HOUR - _INSTANT
    )
    return pl.concat([coarse] if events is None else [coarse, events.select(*KEY, came="detected_at")]).sort("came")


@dataclass(frozen=True)
class Study:
    """What is known of the groups with a recorded limit, and the setting.

    Attributes:
        recorded: see :func:`recorded_limits`.
        history: their counts.
        active: project_id, group_id, hour: their hours with an event.
        came: see :func:`came`.
        spells: see :func:`spells`.
        born: project_id, group_id, first_seen.
        altered: project_id, group_id: those whose counts were changed.
        begins: since when counts were recorded; None where there are none at all.
        thresholds, policy, buckets: the setting.
    """

    recorded: pl.DataFrame
    history: History
    active: pl.DataFrame
    came: pl.DataFrame
    spells: pl.DataFrame
    born: pl.DataFrame
    altered: pl.DataFrame
    begins: datetime | None
    thresholds: ThresholdVariables
    policy: Policy
    buckets: Buckets

    def compared(self) -> pl.DataFrame:
        """The rows of :class:`Parity`."""
        rows = self._ours()
        guessed = self._guessed(rows)
        ours, recorded = pl.col("ours"), pl.col("recorded")
        step = pl.when(pl.col("rule") == "new").then(10).otherwise(5)
        near = (ours - recorded).abs() <= pl.max_horizontal(step, recorded // 10)
        return (
            rows.join(guessed, on="row", how="left", maintain_order="left")
            .with_columns(
                cause=pl.when(~pl.col("counted"))
                .then(pl.lit("no counts"))
                .when(ours == recorded)
                .then(pl.lit("equal"))
                .when(pl.col("cause").is_not_null())
                .then(pl.col("cause").cast(pl.String))
                .when("altered")
                .then(pl.lit("altered counts"))
                .when(~pl.col("comparable"))
                .then(pl.lit("counts cut off"))
                .when(near)
                .then(pl.lit("counts differ"))
                .otherwise(pl.lit("unexplained"))
                .cast(_CAUSE),
                difference=ours - recorded,
                ratio=pl.when(recorded > 0).then(ours / recorded),
            )
            .sort("row")
            .select(
                *KEY, "source", "at", "date", "recorded", "ours", "rule", pl.col("made").alias("made_at"),
                "difference", "ratio", "comparable", "cause", "cause_at",
            )
        )  # fmt: skip

    def _ours(self) -> pl.DataFrame:
        """Recorded limits with ours: made, ours, rule, counted, comparable, altered."""
        fired = self._in_force(self.recorded.filter(source="escalation"), self.policy)
        stored = self.recorded.filter(source="forecast").with_columns(made="at", stored=pl.lit(value=True))
        rows = pl.concat([fired, stored]).sort("row")
        first = self.active.group_by(KEY).agg(first=pl.col("hour").min())
        altered = self.altered.with_columns(altered=pl.lit(value=True))
        rows = (
            rows.join(first, on=KEY, how="left", maintain_order="left")
            .join(altered, on=KEY, how="left", maintain_order="left")
            .with_columns(
                counted=(pl.col("first") < pl.col("at")).fill_null(value=False),
                altered=pl.col("altered").fill_null(value=False),
            )
        )
        made = self.history.limits(
            rows.with_columns(pl.col("made").fill_null(_LONG_AGO)), thresholds=self.thresholds, buckets=self.buckets
        )
        window = pl.coalesce("made", "at").dt.truncate("1h") - timedelta(hours=WINDOW)
        rule = pl.when("stored").then(pl.col("rule").cast(pl.String)).otherwise(pl.lit("fallback"))
        return (
            rows.with_columns(made)
            .with_columns(
                ours=pl.when("counted").then(
                    pl.when("stored").then("limit").otherwise(pl.lit(self.policy.fallback, dtype=pl.Int64))
                ),
                rule=pl.when("counted").then(rule).cast(pl.Enum(RULES)),
                made=pl.when(pl.col("counted") & pl.col("stored")).then("made"),
                comparable=pl.col("counted") & (window >= (self.begins or _LONG_AGO)),
            )
            .drop("limit", "first")
        )

    # which forecast was in force

    def _in_force(self, rows: pl.DataFrame, policy: Policy) -> pl.DataFrame:
        """Put ``made`` and ``stored`` beside escalations: when the forecast in force was made; null, False if none."""
        # at the end of every spell, whatever ended it: what was made in one may still be in force in the next
        ends = self.spells.filter(pl.col("until").is_not_null()).select(*KEY, "since", at="until")
        ends = ends.unique([*KEY, "at"]).sort(*KEY, "at").with_row_index("row")
        newest = self._makings(ends, policy).group_by("row").agg(pl.col("made").max())
        holds = timedelta(days=policy.hold_days)
        stored = (pl.col("at") - pl.col("made") < holds).fill_null(value=False)
        ends = ends.join(newest, on="row", how="left").with_columns(stored=stored)
        if policy.regenerate:
            ends = self._with_made_up(ends, policy, stored)
        ends = ends.with_columns(made=pl.when("stored").then("made"))
        rows = rows.join(ends.select(*KEY, "at", "made", "stored"), on=[*KEY, "at"], how="left", maintain_order="left")
        return rows.select(*self.recorded.columns, "made", pl.col("stored").fill_null(value=False))

    def _with_made_up(self, ends: pl.DataFrame, policy: Policy, stored: pl.Expr) -> pl.DataFrame:
        """Forecasts made because an occurrence found none, where ``ends`` lack one; they hold on as any other."""
        lacking = ends.filter(~pl.col("stored")).sort(*KEY, "at").with_columns(turn=pl.int_range(pl.len()).over(KEY))
        parts, last = [ends.filter("stored")], lacking.select(*KEY, last="made").clear()
        for turn in range(lacking["turn"].n_unique()):
            now = (
                lacking.filter(turn=turn)
                .drop("turn")
                .join(last, on=KEY, how="left")
                .with_columns(made=pl.max_horizontal("made", "last"))
                .drop("last")
                .with_columns(stored=stored)
            )
            found = self._made_up(now.filter(~pl.col("stored")), policy)
            now = (
                now.join(found, on="row", how="left")
                .with_columns(
                    made=pl.coalesce("made_up", "made"), stored=pl.col("stored") | pl.col("made_up").is_not_null()
                )
                .drop("made_up")
            )
            parts.append(now.select(ends.columns))
            last = pl.concat([last, now.select(*KEY, last="made")]).group_by(KEY).agg(pl.col("last").max())
        return pl.concat(parts)

    def _makings(self, rows: pl.DataFrame, policy: Policy) -> pl.DataFrame:
        """Every forecast made for a group before its escalation, for as long as it may matter: row, made."""
        # an old one that lapsed says since when there was none
        back = 2 * timedelta(days=policy.hold_days)
        refreshes = (
            _at_moments(rows, policy, back)
            .sort("made")
            .join_asof(
                self.spells.select(*KEY, "since", "until"),
                left_on="made",
                right_on="since",
                by=KEY,
                strategy="backward",
                allow_exact_matches=False,  # what is done at a refresh is done after it
                check_sortedness=False,
            )
            .filter(pl.col("since").is_not_null(), (pl.col("made") <= pl.col("until")).fill_null(value=True))
            .select("row", *KEY, "made", hours=pl.lit(min(WINDOW, 24 * policy.seen_days)))
        )
        frames = [refreshes]
        if policy.refresh_on_archive:
            frames.append(self._archives(rows, back).with_columns(hours=pl.lit(WINDOW)))
        # without an event in its window there is no forecast, and what was stored stays
        return (
            pl.concat(frames)
            .with_columns(hour=pl.col("made").dt.truncate("1h"))
            .sort("hour")
            .join_asof(
                self.active.select(*KEY, seen="hour"),
                left_on="hour",
                right_on="seen",
                by=KEY,
                strategy="backward",
                allow_exact_matches=False,
                check_sortedness=False,
            )
            .filter(pl.col("seen") >= pl.col("hour") - pl.duration(hours="hours"))
            .select("row", "made")
        )

    def _archives(self, rows: pl.DataFrame, back: timedelta) -> pl.DataFrame:
        """Archives before each escalation: row, key, made."""
        archives = self.spells.filter(pl.col("archived").is_not_null()).select(*KEY, made="archived")
        return (
            rows.select("row", *KEY, "at")
            .join(archives, on=KEY)
            .filter(pl.col("made") < pl.col("at"), pl.col("made") > pl.col("at") - back)
            .select("row", *KEY, "made")
        )

    def _made_up(self, lacking: pl.DataFrame, policy: Policy) -> pl.DataFrame:
        """When a forecast was made up for in the spell that ends at ``at``: row, made_up."""
        ripe = self.born.select(*KEY, ripe=pl.col("first_seen") + timedelta(hours=policy.min_age_hours))
        lapsed = pl.col("made") + timedelta(days=policy.hold_days)
        return (
            lacking.join(ripe, on=KEY, how="left")
            .with_columns(asks=pl.max_horizontal(pl.col("since") + _INSTANT, lapsed, "ripe"))
            .sort("asks")
            .join_asof(self.came, left_on="asks", right_on="came", by=KEY, strategy="forward", check_sortedness=False)
            # it holds from the next hour on
            .select("row", "at", made_up=pl.col("came").dt.truncate("1h") + HOUR)
            .filter(pl.col("made_up") <= pl.col("at"))
            .drop("at")
        )

    # why ours is another

    def _guessed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The likely cause of each difference that another way of making the limit explains: row, cause, cause_at."""
        open_rows = rows.filter("counted", pl.col("ours").ne_missing(pl.col("recorded")))
        found = [pl.DataFrame(schema=_GUESSES)]
        # those that have many ways to be right by chance come last
        for guesses in (self._settings, self._earlier, self._hours):
            if open_rows.is_empty():
                break
            frames = [pl.DataFrame(schema=_GUESSES), *(frame.cast(pl.Schema(_GUESSES)) for frame in guesses(open_rows))]
            found += _most_telling(pl.concat(frames))
            open_rows = open_rows.join(pl.concat(found), on="row", how="anti")
        return pl.concat(found)

    def _settings(self, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Rows that another rule, schedule or setting would explain."""
        fired = rows.filter(source="escalation")
        for every, cause in (("6h", "refreshed every 6 hours"), ("1d", "refreshed daily")):
            if every != self.policy.every:
                policy = replace(self.policy, every=every, offset="0h")
                other = self._in_force(fired.drop("made", "stored"), policy).filter("stored")
                yield self._equal(rows, other, cause)
        archived = (
            self._archives(fired, timedelta(days=self.policy.hold_days)).group_by("row").agg(pl.col("made").max())
        )
        yield self._equal(rows, archived, "made on archive")

        made = rows.filter(pl.col("made").is_not_null())
        for late in _LATE if self.buckets == "sparse" else ():
            yield self._to_the_minute(made, late)
        yield _because(rows, pl.col("recorded") == (self.policy.fallback or PRODUCTION.fallback), "fallback")
        yield _because(rows, (pl.col("ours") - pl.col("recorded")).abs() == 1, "rounding")
        for name, thresholds in NAMED.items():
            if thresholds != self.thresholds:
                yield self._equal(rows, made, f"{name} thresholds", thresholds=thresholds, tell=False)
        flat = made.with_columns(self.history.busiest(made)).filter(pl.col("busiest").is_between(1, _FLOOR_BELOW - 1))
        yield _because(flat, pl.col("recorded") == _FLOOR, "floor of 200")
        buckets: Buckets = "dense" if self.buckets == "sparse" else "sparse"
        yield self._equal(rows, made, f"{buckets} buckets", buckets=buckets, tell=False)

    def _earlier(self, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Rows that an earlier refresh would explain."""
        fired = rows.filter(source="escalation").drop("made")
        makings = self._makings(fired, self.policy).join(fired.select("row", "at"), on="row")
        kept = makings.filter(pl.col("at") - pl.col("made") < timedelta(days=self.policy.hold_days))
        yield self._equal(rows, kept, "earlier refresh")

    def _hours(self, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Rows that a forecast of another hour of the last day would explain."""
        hours = pl.DataFrame({"back": range(24)})
        hour = pl.col("at").dt.truncate("1h") - pl.duration(hours="back")
        yield self._equal(rows, rows.join(hours, how="cross").select("row", made=hour), "another hour")

    def _equal(
        self,
        rows: pl.DataFrame,
        makings: pl.DataFrame,
        cause: str,
        *,
        thresholds: ThresholdVariables | None = None,
        buckets: Buckets | None = None,
        tell: bool = True,
    ) -> pl.DataFrame:
        """Rows for which a forecast made then (row, made), with this setting, would be the recorded one."""
        pairs = rows.drop("made").join(makings.select("row", "made"), on="row")
        limits = self.history.limits(pairs, thresholds=thresholds or self.thresholds, buckets=buckets or self.buckets)
        return _because(pairs.with_columns(limits), pl.col("limit") == pl.col("recorded"), cause, tell=tell)

    def _to_the_minute(self, made: pl.DataFrame, late: timedelta) -> pl.DataFrame:
        """Rows that a window which begins and ends inside an hour would explain."""
        on_the_hour = pl.col("made") == pl.col("made").dt.truncate("1h")
        latest = pl.when(pl.col("source") == "escalation").then("at").otherwise(pl.col("made") + late)
        pairs = made.with_columns(
            until=pl.when(on_the_hour).then(pl.min_horizontal(pl.col("made") + late, latest)).otherwise("made")
        )
        limits = self.history.limits_to_the_minute(pairs, thresholds=self.thresholds)
        return _because(pairs.with_columns(limits), pl.col("limit") == pl.col("recorded"), "running hour")


def _at_moments(rows: pl.DataFrame, policy: Policy, back: timedelta) -> pl.DataFrame:
    """Each row with every refresh of the time before it, as ``made``: row, key, made."""
    if rows.is_empty():
        return rows.select("row", *KEY, made="at")
    first, last = rows.select(pl.col("at").min().alias("first"), pl.col("at").max().alias("last")).row(0)
    moments = pl.DataFrame({"made": policy.moments(first - back, last + _INSTANT)}, schema={"made": _UTC_US})
    low, high = (moments["made"].search_sorted(rows["at"] - edge, side="right") for edge in (back, timedelta(0)))
    numbers = rows.select("row", *KEY, number=pl.int_ranges(low, high)).explode("number", empty_as_null=False)
    return numbers.with_columns(made=moments["made"].gather(numbers["number"])).drop("number")


def _because(rows: pl.DataFrame, holds: pl.Expr, cause: str, *, tell: bool = False) -> pl.DataFrame:
    at = pl.col("made").max() if tell else pl.lit(None, dtype=_UTC_US)
    found = rows.filter(holds.fill_null(value=False))
    return found.group_by("row").agg(cause_at=at).select("row", cause=pl.lit(cause), cause_at="cause_at")


def _most_telling(guesses: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """One cause for each row: that which explains most rows, then that which explains most of the rest."""
    while not guesses.is_empty():
        best = guesses.group_by("cause").len().sort(-pl.col("len").cast(pl.Int64), "cause")["cause"][0]
        mine = guesses.filter(pl.col("cause") == best).unique("row", keep="any")
        yield mine
        guesses = guesses.join(mine, on="row", how="anti")
