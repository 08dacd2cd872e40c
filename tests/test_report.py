import base64
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
from matplotlib import pyplot as plt

from issue_analytics import thresholds
from issue_analytics.backtest import Matching, backtest, compare
from issue_analytics.backtest.runs import open_run, write_run
from issue_analytics.errors import DatasetError, FrameError, SettingsError
from issue_analytics.frames import empty
from issue_analytics.reporting import write_report
from issue_analytics.reporting.cases import false_alarms, misses
from issue_analytics.reporting.report import PICTURE_BYTES
from issue_analytics.reporting.tables import table

HOUR = timedelta(hours=1)
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
HOSTILE = (
    "</td></table><script>alert(1)</script>",
    '"><img src=http://example.invalid/x onerror=alert(1)>',
    "{{ 7*7 }}{% include 'x' %}",
    r"$\frac{1}{0}$ $$ \undefined",
    "a\x00b\x1b[31mc\u202egnp.exe\u2066",
    "x" * 10_000,
    "<style>*{display:none}</style><!--",
    "=HYPERLINK(1)",
    "url(http://example.invalid) @import 'x'; &lt;b&gt; &#60;",
    "",
    None,
    "]]></svg>",
)
FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in {"meta", "img", "br", "link", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def words(self):
        return re.sub(r"\s+", " ", " ".join(self.text))

    def values(self, tag, name):
        return [value for of, attribute, value in self.attributes if (of, attribute) == (tag, name)]


def make_counts(groups=12, days=28, seed=3):
    """Groups of rising volume; each has one storm of many times its usual, and an hour that is hardly more."""
    random = np.random.default_rng(seed)
    hours = days * 24
    frames = []
    for group in range(1, groups + 1):
        count = random.poisson(0.2 * group, hours)
        count[300 + 10 * group] += 60 * group
        count[500] += 1 + group // 4
        frames.append(
            pl.DataFrame(
                {
                    "project_id": pl.Series([1] * hours, dtype=pl.Int64),
                    "group_id": pl.Series([group] * hours, dtype=pl.Int64),
                    "hour": pl.datetime_range(
                        MONDAY, MONDAY + hours * HOUR, HOUR, closed="left", eager=True, time_unit="us"
                    ),
                    "count": pl.Series(count, dtype=pl.Int64),
                }
            )
        )
    return pl.concat(frames).filter(pl.col("count") > 0)


def make_escalations(provenance="incident", groups=(1, 2, 3, 4)):
    """Of each group the planted storm, and an hour later in which nothing much happened."""
    rows = [
        (1, group, MONDAY + hour * HOUR, MONDAY + (hour + 3) * HOUR, provenance)
        for group in groups
        for hour in (300 + 10 * group, 500)
    ]
    return pl.DataFrame(rows, schema=empty("Escalations").schema, orient="row")


def make_titles():
    return pl.DataFrame(
        {"project_id": [1] * 12, "group_id": range(1, 13), "title": HOSTILE},
        schema={"project_id": pl.Int64, "group_id": pl.Int64, "title": pl.String},
    )


COUNTS = make_counts()


@pytest.fixture(scope="module")
def results():
    sets = (thresholds.STANDARD, thresholds.LOOSER, thresholds.ThresholdVariables(1, 1, 2, 0.5, 1))
    return [backtest(COUNTS, make_escalations(), thresholds=each, buckets="dense") for each in sets]


def report(results, folder, **options):
    options = {"cases": 1, **options}
    return write_report(results, Path(folder) / "report.html", **options).read_text(encoding="utf-8")


def cells(page, table_id):
    """The rows of a table as dictionaries by its headings; the second of a name is called ``name (2)``."""
    rows = re.findall(
        r"<tr[^>]*>(.*?)</tr>", re.search(rf'id="{table_id}-c0".*?</table>', page, re.DOTALL)[0], re.DOTALL
    )
    heads = re.findall(r"<th[^>]*>(.*?)</th>", re.search(rf'<th[^>]*id="{table_id}-c0".*?</tr>', page, re.DOTALL)[0])
    heads = [
        f"{head} ({heads[:nth].count(head) + 1})" if head in heads[:nth] else head for nth, head in enumerate(heads)
    ]
    return [dict(zip(heads, re.findall(r"<td[^>]*>(.*?)</td>", row), strict=True)) for row in rows if "<td" in row]


def pictures(page):
    sources = Page(page).values("img", "src")
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    return [base64.b64decode(source.partition(",")[2]).decode() for source in sources]


def test_a_report_is_one_page_that_asks_for_nothing_from_outside(results, tmp_path):
    text = report(results, tmp_path, titles=make_titles(), cases=3)
    page = Page(text)
    assert page.open == []
    assert not {"script", "link", "iframe", "object", "embed", "base", "form", "a", "svg"} & set(page.tags)
    assert {name for _, name, _ in page.attributes} <= {
        "lang", "charset", "http-equiv", "content", "name", "class", "id", "role", "src", "alt", "scope", "colspan",
        "rowspan", "headers", "data-quarto-disable-processing", "data-quarto-bootstrap",
    }  # fmt: skip
    assert page.values("meta", "http-equiv") == ["Content-Security-Policy"]
    assert POLICY in page.values("meta", "content")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert len(pictures(text)) == 4 + 3 + 3
    for picture in pictures(text):
        for element in ET.fromstring(picture).iter():  # noqa: S314 # our own
            assert element.tag.rpartition("}")[2] not in {"script", "foreignObject", "a", "image"}
            for name, value in element.attrib.items():
                assert not name.rpartition("}")[2].startswith("on")
                if name.rpartition("}")[2] == "href":
                    assert value.startswith("#")
    assert len(text.encode()) < 2_000_000


def test_a_report_can_be_read_aloud(results, tmp_path):
    page = Page(report(results, tmp_path))
    assert page.values("html", "lang") == ["en"]
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert len(page.values("img", "alt")) == page.tags.count("img")
    assert all(page.values("img", "alt"))
    identifiers = [value for _, name, value in page.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    assert {"th"} <= set(page.tags)


def test_hostile_titles_are_text(results, tmp_path):
    counts = report(results, tmp_path, titles=make_titles(), cases=12)
    harmless = report(results, tmp_path, titles=make_titles().with_columns(title=pl.lit("calm")), cases=12)
    page = Page(counts)
    assert page.tags == Page(harmless).tags  # no title adds or closes a tag
    assert not FORBIDDEN.search(counts)
    words = page.words()
    assert "</td></table><script>alert(1)</script>" in words
    assert "{{ 7*7 }}" in words
    assert r"$\frac{1}{0}$" in words
    assert "abcgnp.exe" in words
    assert "&lt;b&gt; &#60;" in words
    assert "xxxxxxxxxx…" in words
    assert "x" * 121 not in words
    for picture in pictures(counts):
        assert "alert" not in picture


def test_a_hostile_title_manifest_and_setting_are_text(results, tmp_path):
    manifest = {
        "versions": {"polars": HOSTILE[0]},
        "note": HOSTILE[4],
        "dataset": {
            "sources": [{"path": HOSTILE[1], "sha256": HOSTILE[0], "read": 3}, {"path": HOSTILE[5]}, HOSTILE[0]],
            "rejects_by_reason": {HOSTILE[0]: 3, HOSTILE[5]: 1},
            "totals": {HOSTILE[6]: 3},
            "span": [HOSTILE[0], None],
        },
    }
    run = SimpleNamespace(results=results, manifest=manifest, titles=None)
    text = report(run, tmp_path, title=HOSTILE[0])
    assert "script" not in Page(text).tags
    assert "img" in Page(text).tags
    assert not FORBIDDEN.search(text)
    assert "example.invalid" not in " ".join(Page(text).values("img", "src"))
    assert Page(text).open == []


def test_the_same_inputs_give_the_same_bytes(results, tmp_path):
    first = report(results, tmp_path, titles=make_titles(), cases=2)
    again = [
        backtest(make_counts(), make_escalations(), thresholds=each.thresholds, buckets="dense") for each in results
    ]
    with mpl.rc_context({"font.size": 20, "timezone": "Asia/Tokyo", "axes.grid": True, "svg.fonttype": "none"}):
        (tmp_path / "other").mkdir()
        second = report(again, tmp_path / "other", titles=make_titles().reverse(), cases=2)
    assert first == second


def test_nothing_global_is_touched(results, tmp_path):
    before, figures = dict(mpl.rcParams), plt.get_fignums()
    report(results, tmp_path)
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == figures


def per_cent(low, high):
    return f"{100 * low:.1f} to {100 * high:.1f}"


def test_the_summary_tables_say_what_the_results_say(results, tmp_path):
    text = report(results, tmp_path, cases=0)
    tables = [cells(text, name) for name in ("summary", "false_alarms", "burden", "delays")]
    for summary, rates, burden, delays, result in zip(*tables, results, strict=True):
        caught, events = result.matches["caught_hour"].count(), result.matches.height
        verdicts = result.alerts["verdict"].to_list()
        right, false = verdicts.count("caught"), verdicts.count("false")
        row = result.summary().row(0, named=True)
        assert summary["recall"] == f"{100 * caught / events:.0f} % ({caught} of {events})"
        assert summary["95 %"] == per_cent(row["recall_low"], row["recall_high"])
        assert summary["groups alike"] == f"{100 * row['recall_macro']:.0f} %"
        assert summary["precision"].endswith(f"({right} of {right + false})")
        assert summary["95 % (2)"] == per_cent(row["precision_low"], row["precision_high"])
        assert summary["groups alike (2)"] == f"{100 * row['precision_macro']:.0f} %"
        assert rates["false alarms"] == str(false)
        rate = "false_alarms_per_series_week"
        numbers = [float(end) for end in rates["95 %"].split(" to ")]
        assert numbers == pytest.approx([row[f"{rate}_low"], row[f"{rate}_high"]], rel=0.01)
        numbers = [float(end) for end in rates["95 % if independent (exact Poisson)"].split(" to ")]
        assert numbers == pytest.approx([row[f"{rate}_poisson_low"], row[f"{rate}_poisson_high"]], rel=0.01)
        assert float(rates["groups alike"]) == pytest.approx(row[f"{rate}_macro"], rel=0.01)
        assert burden["alerts"] == str(len(verdicts))
        assert burden["duplicates"] == str(verdicts.count("duplicate"))
        days = result.alerts.group_by(pl.col("hour").dt.date()).len().sort("len", "hour", descending=[True, False])
        assert burden["worst day"] == f"{days['len'][0]}, project 1, {days['hour'][0]}"
        assert delays["median delay, hours"] == "1"
        assert delays["caught within 1 h"] == delays["caught within 24 h"] == "50 %"
        assert float(delays["mean delay to 24 h, hours"]) == pytest.approx(row["mean_delay_hours"], rel=0.01)
        # each group has one caught at once and one missed: there is nothing to draw an interval from
        assert (row["mean_delay_hours_low"], delays["95 % (2)"]) == (None, "n/a")
    for rows in tables:
        assert [row["setting"] for row in rows] == ["standard", "looser", "(1, 1, 2, 0.5, 1)"]


def test_differences_are_to_the_first_setting(results, tmp_path):
    text = report(results, tmp_path, cases=0)
    rows, changes = cells(text, "differences"), cells(text, "changes")
    names = ["looser", "(1, 1, 2, 0.5, 1)"]
    assert [row["setting"] for row in changes] == names
    compared = [compare(results[0], other) for other in results[1:]]
    shown = {
        "precision": "precision", "recall": "recall", "mean_delay_hours": "mean delay to 24 h, hours",
        "false_alarms_per_series_week": "false alarms per quiet series-week",
        "alerts_per_series_week": "alerts per exposed series-week",
    }  # fmt: skip
    for name, found, change in zip(names, compared, changes, strict=True):
        mine = {row["score"]: row for row in rows if row["setting"] == name}
        assert set(mine) == set(shown.values())
        for score in found.scores.filter(pl.col("score").is_in(list(shown))).iter_rows(named=True):
            row = mine[shown[score["score"]]]
            told = float(row["difference"].replace("\N{MINUS SIGN}", "-").replace("±", "").removesuffix(" pp"))
            scale = 100 if score["score"] in ("precision", "recall") else 1
            assert told == pytest.approx(scale * score["difference"], rel=0.01, abs=0.05)
            assert row["difference"].endswith(" pp") == (scale == 100 and score["difference"] != 0)
            assert row["p"] == ("&lt; 0.001" if score["p"] < 0.001 else f"{score['p']:.3f}")
            assert row["p, adjusted"] == ("&lt; 0.001" if score["p_holm"] < 0.001 else f"{score['p_holm']:.3f}")
            assert row["note"] == (score["note"] or "")
            assert (row["95 %"] == "n/a") == (score["low"] is None)
            if score["low"] is not None:
                ends = [
                    float(end.replace("\N{MINUS SIGN}", "-").replace("±", "").removesuffix(" pp"))
                    for end in row["95 %"].split(" to ")
                ]
                assert ends == pytest.approx([scale * score["low"], scale * score["high"]], rel=0.01, abs=0.06)
        counts = {row["change"]: row for row in found.changes().to_dicts()}
        for kind in ("gained", "lost"):
            assert change[f"escalations {kind}"] == str(counts[kind]["events"])
            assert change[f"alerts {kind}"] == f"{counts[kind]['alerts']} ({counts[kind]['false']} false)"
        assert change["escalations both"] == str(counts["both"]["events"])
        assert change["caught by neither"] == str(counts["neither"]["events"])
    rates = [row["difference"] for row in rows if row["score"] == "false alarms per quiet series-week"]
    assert rates[0] == "±0"
    assert rates[1].startswith("+")
    deaf = backtest(
        COUNTS, make_escalations(), thresholds=thresholds.ThresholdVariables(9, 999, 999, 9, 9), buckets="dense"
    )
    [change] = cells(report([deaf, results[0]], tmp_path, cases=0), "changes")
    assert (change["escalations gained"], change["alerts gained"]) == ("4", "12 (8 false)")
    assert (change["escalations lost"], change["alerts lost"]) == ("0", "0 (0 false)")
    # of one setting there is nothing to say
    assert "Against the first setting" not in report(results[0], tmp_path, cases=0)


def test_what_cannot_be_compared_with_the_first_is_said(results, tmp_path):
    loose = backtest(COUNTS, make_escalations(), thresholds=thresholds.LOOSER, matching=Matching(grace_hours=3))
    text = report([results[0], loose, results[2]], tmp_path, cases=0)
    words = Page(text).words()
    assert words.count("Not compared with the first.") == 1
    assert "matching differs (lead 1 h, grace 1 h" in words
    assert {row["setting"] for row in cells(text, "differences")} == {"(1, 1, 2, 0.5, 1), dense"}
    alone = report([results[0], loose], tmp_path, cases=0)
    assert "Against the first setting" not in alone
    assert "Not compared with the first." in alone


def test_notes_say_what_to_be_careful_of(results, tmp_path):
    words = Page(report(results[0], tmp_path, cases=0)).words()
    note = results[0].summary()["note"].item()
    assert "too few clusters" in note
    assert f"Take care. standard: {note}." in words
    assert "Take care" not in Page(report(backtest(COUNTS), tmp_path, cases=0)).words()


def test_a_duplicate_is_neither_right_nor_wrong(tmp_path):
    storm = (pl.col("group_id") == 4) & (pl.col("hour") == MONDAY + 420 * HOUR)
    counts = COUNTS.with_columns(count=pl.when(storm).then(9000).otherwise("count"))
    truth = make_escalations(groups=(4,)).head(1).with_columns(ended_at=pl.lit(MONDAY + 430 * HOUR))
    text = report(backtest(counts.filter(pl.col("group_id") == 4), truth), tmp_path)
    [summary], [burden], [false] = (cells(text, name) for name in ("summary", "burden", "false_alarms"))
    assert (summary["precision"], burden["duplicates"], false["false alarms"]) == ("100 % (1 of 1)", "1", "0")


def test_an_unjudged_alert_is_neither_right_nor_wrong(tmp_path):
    start = MONDAY + 10 * 24 * HOUR
    exposure = pl.DataFrame(
        [(1, 4, start, MONDAY + 28 * 24 * HOUR)],
        schema=empty("Exposure").select("project_id", "group_id", "start", "end").schema,
        orient="row",
    )
    storm = pl.when(pl.col("hour") == start + 2 * HOUR).then(100).otherwise("count")
    counts = COUNTS.filter(pl.col("group_id") == 4).with_columns(count=storm)
    early = pl.DataFrame(
        [(1, 4, start - 2 * HOUR, start + 5 * HOUR, "human")], schema=empty("Escalations").schema, orient="row"
    )
    truth = pl.concat([early, make_escalations(groups=(4,)).head(1)])
    result = backtest(counts, truth, exposure=exposure, buckets="dense")
    verdicts = result.alerts["verdict"].to_list()
    assert (verdicts.count("unjudged"), verdicts.count("caught")) == (1, 1)
    text = report(result, tmp_path)
    [row] = cells(text, "summary")
    caught_or_false = 1 + verdicts.count("false")
    assert cells(text, "burden")[0]["unjudged"] == "1"
    assert row["precision"].endswith(f"(1 of {caught_or_false})")
    words = Page(text).words()
    assert "1 of the escalations given are not judged" in words
    assert "set aside as unjudged" in words
    assert "count nowhere" not in words


def test_burden_is_given_over_all_exposed_time_also_where_it_is_not_quiet(tmp_path):
    early = pl.DataFrame(
        [(1, 4, MONDAY + 160 * HOUR, MONDAY + 500 * HOUR, "human")], schema=empty("Escalations").schema, orient="row"
    )
    result = backtest(COUNTS.filter(pl.col("group_id") == 4), early)
    exposed, quiet = (result.groups[hours].item() / 168 for hours in ("exposed_hours", "quiet_hours"))
    assert exposed > quiet + 1
    text = report(result, tmp_path)
    for name in ("summary", "by_volume"):
        assert [row["exposed series-weeks"] for row in cells(text, name)] == [f"{exposed:.1f}"]


def test_what_was_not_exposed_is_said_to_be_so(tmp_path):
    result = backtest(COUNTS, make_escalations(), exposure=empty("Exposure"))
    text = report([result, replace(result, buckets="dense")], tmp_path, titles=make_titles())
    words = Page(text).words()
    assert words.count("Nothing was exposed.") == 2
    assert "nothing was exposed: no hour of any group was judged" in words
    assert cells(text, "summary")[0]["alerts per exposed series-week"] == "n/a"
    assert "Nothing was exposed" not in Page(report(backtest(COUNTS), tmp_path)).words()


def test_the_method_says_what_the_numbers_mean(results, tmp_path):
    text = report(results, tmp_path)
    words = Page(text).words()
    for sentence in (
        "A miss counts as never caught and stays in the denominator",
        "It ends where an escalation's time begins or ends",
        "fallback of 10 events per hour until a forecast is made",
        "the dotted line marked limit made",
        "quiet series-weeks are those outside every escalation's time",
    ):
        assert sentence in words
    # series-weeks are always said to be of one kind or the other
    spoken = words + " ".join(Page(text).values("img", "alt"))
    assert not re.findall(r"(?<!exposed )(?<!quiet )series-week", spoken, re.IGNORECASE)


def test_strata_and_branches_add_up(results, tmp_path):
    text = report(results[0], tmp_path)
    for column in ("volume", "variation"):
        strata = cells(text, f"by_{column}")
        assert len(strata) == results[0].groups[column].n_unique() > 1
        assert sum(int(row["groups"]) for row in strata) == results[0].groups.height
        assert sum(int(row["false alarms"]) for row in strata) == (results[0].alerts["verdict"] == "false").sum()
        events = [int(re.search(r"of (\d+)\)", row["recall"])[1]) for row in strata]
        assert sum(events) == results[0].matches.height
        # fewer than ten are marked
        assert all(next(iter(row.values())).endswith(" *") for row in strata)
    # of one kind there is nothing to tell apart; unknown types are one
    for column in ("branch", "type", "age", "provenance"):
        assert f'id="by_{column}' not in text
    [branches] = cells(text, "branches")
    days = [int(branches[name].partition("(")[2].rstrip(")").replace(",", "")) for name in
            ("new", "bursty", "spike", "fallback", "no limit")]  # fmt: skip
    assert sum(days) == int(branches["group-days"].replace(",", "")) == 12 * 21


def test_strata_with_enough_escalations_are_not_marked(tmp_path):
    many = pl.concat([make_escalations(groups=range(1, 13)), make_escalations(groups=range(1, 13)).with_columns(
        pl.col("escalated_at", "ended_at") + 40 * HOUR
    )])  # fmt: skip
    types = pl.DataFrame({"project_id": 1, "group_id": range(1, 13), "type": [1] * 11 + [1006]})
    text = report(backtest(COUNTS, many, buckets="dense", types=types), tmp_path, cases=0)
    rows = {row["occurrences per day"]: row for row in cells(text, "by_volume")}
    assert set(rows) == {"1-10/day *", "10-100/day"}
    kinds = cells(text, "by_type")
    assert [row["group type"] for row in kinds] == ["1", "1006 *"]
    assert "Kinds marked * have fewer than 10 escalations" in Page(text).words()
    without = report(backtest(COUNTS, buckets="dense", types=types), tmp_path, cases=0)
    assert [row["group type"] for row in cells(without, "by_type")] == ["1", "1006"]
    assert "marked *" not in Page(without).words()


def test_labels_of_several_kinds_are_told_apart(tmp_path):
    mixed = pl.concat([make_escalations("human"), make_escalations("incident", groups=range(5, 11))])
    result = backtest(COUNTS, mixed, buckets="dense")
    rows = cells(report(result, tmp_path, cases=0), "by_provenance")
    assert [row["labelled by"] for row in rows] == ["human *", "incident"]
    for row, kind in zip(rows, ("human", "incident"), strict=True):
        matches = result.matches.filter(provenance=kind)
        assert row["recall"].endswith(f"({matches['caught_hour'].count()} of {matches.height})")
    summary = result.summary_by("provenance")
    assert [row["95 %"] for row in rows] == [
        per_cent(*ends) for ends in summary.select("recall_low", "recall_high").iter_rows()
    ]


def test_calibration_says_how_often_limits_are_exceeded(results, tmp_path):
    result = results[2]
    text = report(result, tmp_path, cases=0)
    days = result.days().filter(pl.col("limit") > 0)
    rules = cells(text, "exceedance_rule")
    assert [row["branch"] for row in rules] == sorted(set(days["rule"]))
    for row in rules:
        mine = days.filter(rule=row["branch"])
        hours, over = mine["hours"].sum(), mine["crossings"].sum()
        assert (row["hours under a limit"], row["over it"]) == (f"{hours:,}", str(over))
        assert float(row["per week under a limit"]) == pytest.approx(over * 168 / hours, rel=0.01)
        if mine.n_unique(["project_id", "group_id"]) > 1:
            low, high = (float(end) for end in row["95 %"].split(" to "))
            assert low < over * 168 / hours < high
        assert row["implied level"] == f"{100 * (1 - over / hours):.4f} %"
    assert sum(int(row["over it"]) for row in rules) == result.crossings.height
    volumes = cells(text, "exceedance_volume")
    assert [row["occurrences per day"] for row in volumes] == ["1-10/day", "10-100/day"]
    assert sum(int(row["over it"]) for row in volumes) == result.crossings.height
    assert sum(int(row["groups"]) for row in volumes) == result.groups.height
    words = Page(text).words()
    assert "Over 2 volumes, limits are exceeded about equally often, as far as these data tell" in words
    assert "An hour over the limit is followed by another in" in words
    assert "From one day to the next, the limit of the median group changes by a factor of" in words
    assert "A week that holds an alert raises the limits made from it" in words
    alts = Page(text).values("img", "alt")
    assert sum(alt.startswith("Hours over the limit per week under a limit if all limits") for alt in alts) == 1
    # without a limit there is nothing to calibrate
    one = pl.DataFrame({"project_id": [1, 1], "group_id": [1, 1], "hour": [MONDAY, MONDAY + 400 * HOUR],
                        "count": [1, 1]}, schema=COUNTS.schema)  # fmt: skip
    silent = report(backtest(one.with_columns(count=pl.lit(0, pl.Int64))), tmp_path, cases=0)
    assert "No hour was judged against a limit." in Page(silent).words()


@pytest.mark.parametrize("provenance", ["algorithm", "human", "incident", "injected"])
def test_the_banner_is_there_if_and_only_if_the_truth_is_circular(provenance, tmp_path):
    mixed = pl.concat([make_escalations("human"), make_escalations(provenance, groups=(5,))])
    words = Page(report(backtest(COUNTS, mixed), tmp_path)).words()
    assert ("Circular truth" in words) == (provenance == "algorithm")
    if provenance == "algorithm":
        assert "20 % (2 of 10) of the judged escalations" in words


def test_escalations_that_were_not_judged_make_no_banner(tmp_path):
    early = make_escalations("algorithm").with_columns(
        pl.col("escalated_at", "ended_at") - timedelta(days=60),
    )
    assert "Circular truth" not in Page(report(backtest(COUNTS, early), tmp_path)).words()


def test_without_escalations_the_burden_is_told_and_nothing_is_zero_that_is_unknown(tmp_path):
    result = backtest(COUNTS)
    text = report([result, backtest(COUNTS, thresholds=thresholds.TIGHTER)], tmp_path, cases=2)
    words = Page(text).words()
    assert "No escalation is known" in words
    assert "Biggest storms" in words
    assert "Worst misses" not in words
    row = cells(text, "summary")[0]
    assert row["alerts"] == str(result.alerts.height)
    assert "recall" not in row
    assert "precision" not in row
    rate = result.alerts.height / (result.groups["exposed_hours"].sum() / 168)
    assert float(row["alerts per exposed series-week"]) == pytest.approx(rate, rel=0.01)
    ratios = [float(row["count / limit"]) for row in cells(text, "storms")]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] == pytest.approx((result.crossings["count"] / result.crossings["limit"]).max(), rel=0.01)


def test_undefined_is_written_as_such(tmp_path):
    calm = COUNTS.with_columns(pl.col("count").clip(0, 1))
    result = backtest(calm, make_escalations())
    assert result.alerts.is_empty()
    text = report(result, tmp_path)
    [row] = cells(text, "summary")
    assert row["precision"] == "n/a (0 of 0)"
    assert row["95 % (2)"] == row["groups alike (2)"] == "n/a"
    assert cells(text, "delays")[0]["median delay, hours"] == "n/a"
    assert cells(text, "delays")[0]["median time to reset, hours"] == "n/a"
    assert cells(text, "burden")[0]["worst day"] == "none"
    assert row["recall"] == "0 % (0 of 8)"
    assert "no known escalation explains: none." in Page(text).words()


def test_labelled_and_not_labelled_results_stand_side_by_side(tmp_path):
    text = report([backtest(COUNTS, make_escalations()), backtest(COUNTS)], tmp_path)
    assert cells(text, "summary")[1]["precision"] == cells(text, "false_alarms")[1]["false alarms"] == "n/a"
    assert "labelled differs (True; False)" in Page(text).words()


@pytest.mark.parametrize("labels", [True, False])
def test_one_group_is_enough(labels, tmp_path):
    one = COUNTS.filter(pl.col("group_id") == 4)
    text = report(backtest(one, make_escalations(groups=(4,)) if labels else None), tmp_path)
    assert "1 of 1" in Page(text).words()


def test_the_worst_misses_and_false_alarms_come_first_and_all_are_counted(results, tmp_path):
    result = results[2]
    missed, false = misses(result), false_alarms(result)
    assert missed.height == result.matches["caught_hour"].null_count() > 0
    assert false.height == (result.alerts["verdict"] == "false").sum() > 2
    worst = false.unique(["project_id", "group_id"], keep="first", maintain_order=True)
    assert worst.equals(false.head(worst.height))  # each group once before any comes again
    assert worst["ratio"].to_list() == sorted(worst["ratio"], reverse=True)
    text = report(result, tmp_path, cases=2)
    words = Page(text).words()
    assert f"explains: {false.height:,} in all, the worst 2 are shown." in words
    assert [row["group"] for row in cells(text, "false")] == [str(group) for group in worst["group_id"].head(2)]


def test_a_miss_without_a_limit_outranks_a_miss_below_it(tmp_path):
    new = pl.DataFrame(
        {"project_id": [1], "group_id": [99], "hour": [MONDAY + 400 * HOUR], "count": [50]}, schema=COUNTS.schema
    )
    truth = pl.concat(
        [
            make_escalations(),
            pl.DataFrame(
                [(1, 99, MONDAY + 400 * HOUR, None, "human")], schema=empty("Escalations").schema, orient="row"
            ),
        ]
    )
    result = backtest(pl.concat([COUNTS, new]), truth)
    first = misses(result).row(0, named=True)
    if 99 in result.groups["group_id"]:
        assert first["group_id"] == 99
        assert "no limit that could fire was in force" in Page(report(result, tmp_path)).words()


def test_a_run_tells_where_its_data_came_from(results, tmp_path):
    dataset = {
        "sources": [{"path": f"exports/{nth}.jsonl", "sha256": "ab" * 32, "read": 10} for nth in range(30)],
        "rejects": {"count is negative": 7, "no time zone": 1200},
        "totals": {"occurrences": {"read": 1235774, "accepted": 1234567, "rejected": 1207, "duplicates": 0}},
        "span": {"first_hour": "2026-01-05T00:00:00+00:00", "last_hour": "2026-02-01T00:00:00+00:00"},
        "skipped": [{"path": "exports/README", "why": "no export"}],
        "truth": "labels",
        "silence": "implied",
    }
    run = open_run(write_run(results, tmp_path / "run", dataset=dataset, titles=make_titles()))
    text = report(run, tmp_path)
    assert [row["reason"] for row in cells(text, "rejects")] == ["no time zone", "count is negative"]
    assert [row["rows"] for row in cells(text, "rejects")] == ["1,200", "7"]
    assert len(cells(text, "sources")) == 20
    words = Page(text).words()
    assert "Shown: 20 of 30 files." in words
    assert "read: 1,235,774, accepted: 1,234,567, rejected: 1,207, duplicates: 0" in words
    assert "first hour: 2026-01-05T00:00:00+00:00, last hour: 2026-02-01T00:00:00+00:00" in words
    assert "1: path: exports/README, why: no export" in words
    assert "dataset, truth labels" in words
    assert "abababababababab" in words
    assert results[0].thresholds.digest in words
    assert "not recorded" not in words
    without = report(open_run(write_run(results, tmp_path / "bare")), tmp_path)
    assert "not recorded" in Page(without).words()


def test_no_rejects_is_not_the_same_as_none_recorded(results, tmp_path):
    run = SimpleNamespace(results=results, titles=None, manifest={"dataset": {"rejects_by_reason": {}}})
    assert "None: every row was accepted." in Page(report(run, tmp_path)).words()


def test_many_pictures_do_not_make_a_large_file(tmp_path):
    wild = backtest(
        COUNTS, make_escalations(), thresholds=thresholds.ThresholdVariables(0, 0, 0, 0, 0.5), buckets="dense"
    )
    assert (wild.alerts["verdict"] == "false").sum() > 50
    text = report(wild, tmp_path, cases=50, titles=make_titles())
    assert len(text.encode()) < 2_000_000
    assert "Picture left out" in text
    assert sum(map(len, Page(text).values("img", "src"))) <= PICTURE_BYTES


def test_the_pictures_of_a_usual_report_all_have_room(results, tmp_path):
    text = report(results, tmp_path, cases=6)
    assert "Picture left out" not in text
    assert len(pictures(text)) >= 3 + 4 + 6


def test_a_report_appears_whole_or_not_at_all(results, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(DatasetError, match="No space left"):
            write_report(results, path, cases=0)
    assert path.read_text(encoding="utf-8") == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    assert write_report(results, path, cases=0) == path
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_folders_above_are_made(results, tmp_path):
    assert write_report(results[0], str(tmp_path / "a" / "b" / "report.html"), cases=0).is_file()


def test_mistakes_are_told(results, tmp_path):
    with pytest.raises(SettingsError, match="no result"):
        write_report([], tmp_path / "x.html")
    with pytest.raises(SettingsError, match="got str"):
        write_report("runs/first", tmp_path / "x.html")
    with pytest.raises(SettingsError, match="is a folder"):
        write_report(results, tmp_path)
    for cases in (-1, 51, True, 2.5):
        with pytest.raises(SettingsError, match="from 0 to 50"):
            write_report(results, tmp_path / "x.html", cases=cases)
    with pytest.raises(FrameError, match="titles: no column title"):
        write_report(results, tmp_path / "x.html", titles=make_titles().drop("title"))
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DatasetError, match="cannot be written"):
        write_report(results, tmp_path / "file" / "x.html", cases=0)
    assert not (tmp_path / "x.html").exists()


def test_settings_of_one_name_are_told_apart(results, tmp_path):
    standard = results[0]
    sparse = replace(standard, buckets="sparse")
    rows = cells(report([standard, sparse, standard], tmp_path, cases=0), "summary")
    assert [row["setting"] for row in rows] == ["standard, dense #1", "standard, sparse", "standard, dense #2"]


def test_a_table_is_plain_and_its_cells_are_text():
    made = table("t", [{"<b>": HOSTILE[0], "n": 3}], text=["<b>"])
    assert made == table("t", [{"<b>": HOSTILE[0], "n": 3}], text=["<b>"])
    page = Page(made)
    assert page.open == []
    assert set(page.tags) == {"table", "thead", "tr", "th", "tbody", "td"}
    assert "<b>" in page.words()
    assert HOSTILE[0] in page.words()
