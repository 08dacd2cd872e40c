from datetime import timedelta

import polars as pl
import pytest
from histories import COUNTS, HOUR, MONDAY

from issue_analytics import frames
from issue_analytics.detection import detect
from issue_analytics.errors import FrameError, SettingsError


def limits(*rows):
    """Rows of (day, limit, hours after Monday midnight at which it was made)."""
    return pl.DataFrame(
        [(1, 7, (MONDAY + timedelta(days=day)).date(), limit, "new" if limit else "none", MONDAY + made * HOUR)
         for day, limit, made in rows],
        schema=frames.empty("Limits").schema, orient="row",
    )  # fmt: skip


def counts(*rows):
    return pl.DataFrame([(1, 7, MONDAY + hour * HOUR, count) for hour, count in rows], schema=COUNTS, orient="row")


def fired(alerts):
    return [
        ((hour - MONDAY) // HOUR, count, limit) for hour, count, limit in alerts.select("hour", "count", "limit").rows()
    ]


def test_only_strictly_more_fires():
    assert fired(detect(counts((1, 9), (2, 10), (3, 11)), limits((0, 10, 0)))) == [(3, 11, 10)]


def test_a_limit_of_zero_or_null_never_fires():
    assert detect(counts((1, 9)), limits((0, 0, 0))).is_empty()
    assert detect(counts((1, 9)), limits((0, None, 0))).is_empty()


def test_first_of_each_day_or_all():
    many = counts((1, 99), (2, 99), (30, 99), (31, 50))
    both = limits((0, 10, 0), (1, 60, 0))
    assert fired(detect(many, both)) == [(1, 99, 10), (30, 99, 60)]
    assert fired(detect(many, both, crossings="all")) == [(1, 99, 10), (2, 99, 10), (30, 99, 60)]


def test_the_latest_limit_made_before_the_hour_is_in_force():
    made = limits((0, 10, 0), (0, 50, 6), (0, 5, 12))
    assert fired(detect(counts((5, 20), (6, 20), (11, 20), (12, 20)), made, crossings="all")) == [
        (5, 20, 10),
        (12, 20, 5),
    ]


def test_a_limit_judges_no_hour_before_it_was_made():
    assert detect(counts((5, 99)), limits((0, 10, 6))).is_empty()


def test_a_limit_of_another_day_is_not_in_force():
    assert detect(counts((30, 99)), limits((0, 10, 0))).is_empty()
    # made on Monday for Tuesday, two days old: nothing newer is there for that day
    assert fired(detect(counts((30, 99)), limits((1, 10, 0)))) == [(30, 99, 10)]


def test_alerts_keep_their_contract():
    alerts = detect(counts((1, 99)), limits((0, 10, 0)))
    frames.check(alerts, "Alerts")
    frames.check(detect(counts(), limits()), "Alerts")


def test_nonsense_is_refused():
    with pytest.raises(SettingsError, match="crossings"):
        detect(counts((1, 9)), limits((0, 0, 0)), crossings="last")
    with pytest.raises(FrameError, match="Limits: no column limit"):
        detect(counts((1, 9)), limits((0, 0, 0)).drop("limit"))
