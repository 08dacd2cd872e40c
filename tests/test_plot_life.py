"""The picture of one group through a replay says what the replay says."""

from datetime import timedelta
from io import BytesIO
from itertools import pairwise

import polars as pl
import pytest
from histories import HOUR, MONDAY
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import issue_analytics as ia
from issue_analytics.frames import empty

DAY = timedelta(days=1)
OPENS, END = MONDAY + 7 * DAY, MONDAY + 21 * DAY
ARCHIVED = "archived_until_escalating"


def counts_of(extra, *, project=1):
    """Three an hour, and more in some hours after the first judged one."""
    hours = int((END - MONDAY) / HOUR)
    rows = [(project, 7, MONDAY + n * HOUR, extra.get(n - 168, 3)) for n in range(hours)]
    return pl.DataFrame(rows, schema=empty("HourlyCounts").schema, orient="row")


def changes_of(*changes, project=1):
    rows = [(project, 7, at, kind, None, None, "activity") for at, kind in changes]
    return pl.DataFrame(rows, schema=empty("StatusChanges").schema, orient="row")


@pytest.fixture(scope="module")
def life():
    counts = counts_of({30: 90, 150: 400})
    again = OPENS + 100 * HOUR + timedelta(minutes=30)
    played = ia.replay(counts, changes_of((OPENS + 5 * HOUR, ARCHIVED), (again, ARCHIVED)))
    return played, counts, again


def axes():
    return Figure(figsize=(9, 4), layout="constrained").subplots()


def days(at):
    return float(date2num(at))


def bands(ax):
    found = [patch for patch in ax.patches if isinstance(patch, Rectangle) and patch.get_y() > 0.5]
    return [(round(band.get_x(), 6), round(band.get_x() + band.get_width(), 6)) for band in found]


def line_of(ax, label):
    [line] = [line for line in ax.lines if line.get_label() == label]
    return line


def test_states_limits_and_alerts_are_those_of_the_replay(life):
    played, counts, again = life
    assert played.alerts.select("count", "limit").rows() == [(90, 18), (400, 180)]
    ax = ia.plot_life(played, counts, group_id=7, ax=axes())
    back, twice = OPENS + 31 * HOUR, OPENS + 151 * HOUR
    edges = [OPENS + 5 * HOUR, back, again, twice, twice + 7 * DAY, END]
    assert bands(ax) == [(round(days(a), 6), round(days(b), 6)) for a, b in pairwise(edges)]
    # a limit where the group is checked, and nowhere else
    line = line_of(ax, "limit in force")
    drawn = dict(zip(line.get_xdata().round(6).tolist(), line.get_ydata().tolist(), strict=True))
    known = {hour for hour, limit in drawn.items() if limit == limit}  # not NaN
    assert known == {round(days(OPENS + n * HOUR), 6) for n in [*range(5, 31), *range(100, 151)]}
    assert {drawn[round(days(OPENS + n * HOUR), 6)] for n in range(5, 31)} == {18}
    assert {drawn[round(days(OPENS + n * HOUR), 6)] for n in range(100, 151)} == {180}
    marks = line_of(ax, "came back")
    assert marks.get_xdata() == pytest.approx([days(OPENS + n * HOUR + HOUR / 2) for n in (30, 150)])
    assert marks.get_ydata().tolist() == [90, 400]
    assert ax.get_title(loc="left") == "group 7\ncame back 2 times under production: 90 > 18, 400 > 180"
    assert ax.get_xlim() == pytest.approx((days(MONDAY), days(END)))
    assert "occurrences per hour" in ax.get_ylabel()
    assert "UTC" in ax.get_xlabel()


def test_a_limit_above_all_counts_is_told_at_the_edge():
    calm = ia.replay(counts_of({30: 90}), changes_of((OPENS + 40 * HOUR, ARCHIVED)))
    ax = ia.plot_life(calm, counts_of({30: 9}), group_id=7, ax=axes())
    assert any("▲" in text.get_text() for text in ax.texts)
    assert ax.get_title(loc="left").endswith("did not come back under production")


@pytest.mark.parametrize("title", ["$\\frac{a}{$", "<script>", "a\x1b[31m\u202e", "x" * 9999])
def test_titles_are_drawn_as_they_are_and_pictures_can_be_saved(life, title):
    played, counts, _ = life
    ax = ia.plot_life(played, counts, group_id=7, title=title, ax=axes())
    ax.figure.savefig(BytesIO(), format="png")
    assert "\x1b" not in ax.get_title(loc="left")
    assert len(ax.get_title(loc="left").splitlines()[0]) <= 80


def test_a_group_nobody_knows_or_of_two_projects_is_refused(life):
    played, counts, _ = life
    with pytest.raises(ia.SettingsError, match="no group 8"):
        ia.plot_life(played, counts, group_id=8, ax=axes())
    both = pl.concat([counts, counts_of({}, project=2)])
    archived = [(OPENS + 5 * HOUR, ARCHIVED)]
    twins = ia.replay(both, pl.concat([changes_of(*archived), changes_of(*archived, project=2)]))
    with pytest.raises(ia.SettingsError, match=r"projects \[1, 2\]"):
        ia.plot_life(twins, both, group_id=7, ax=axes())
    ax = ia.plot_life(twins, both, group_id=7, project_id=2, ax=axes())
    assert "did not come back" in ax.get_title(loc="left")
    with pytest.raises(ia.FrameError, match="no column"):
        ia.plot_life(played, counts.drop("count"), group_id=7, ax=axes())
