"""The calibration report: one HTML file that needs no network, no script and nobody to explain it."""

import base64
import io
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from issue_analytics.backtest.comparison import compare
from issue_analytics.errors import DatasetError, FrameError, SettingsError
from issue_analytics.frames import KEY, require
from issue_analytics.reporting import scores, sections
from issue_analytics.reporting.calibration import plot_scales
from issue_analytics.reporting.cases import Case, CaseList, case_lists, look_at, narrowed
from issue_analytics.reporting.overview import plot_branches, plot_coverage, plot_summary
from issue_analytics.reporting.plots import draw_look
from issue_analytics.reporting.settings import each_result, setting_names
from issue_analytics.reporting.tables import table
from issue_analytics.reporting.text import clean, number

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from issue_analytics.backtest.comparison import Comparison
    from issue_analytics.backtest.result import BacktestResult

__all__ = ["write_report"]

MAX_CASES: Final = 50
MAX_SETTINGS: Final = 24
DETAILED_SETTINGS: Final = 6
PICTURE_BYTES: Final = 1_400_000
"""What all pictures may take together, as they stand in the file: a report stays under 2 MB."""

_STYLE: Final = {
    # ids in an SVG are made from this and the content, and not by chance
    "svg.hashsalt": "issue_analytics",
    # text as outlines: it looks the same on a machine without the font
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
}


_STRATA: Final = (
    ("volume", "By volume: occurrences per day in the week before", "occurrences per day"),
    ("variation", "By coefficient of variation of the hourly counts in the week before", "variation"),
    ("age", "By age when first judged", "age"),
    ("branch", "By the branch of the first limit", "branch"),
    ("type", "By group type", "group type"),
)


def write_report(
    run_or_results: Any,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    titles: pl.DataFrame | pl.LazyFrame | None = None,
    cases: int = 6,
    progress: bool | None = None,
) -> Path:
    """Write a calibration report of one or several settings as a single HTML file.

    The first setting is the reference: differences are to it, and single cases are shown as it judged them. The file
    appears whole or not at all, and the same inputs give the same bytes.

    Args:
        run_or_results: a run (its manifest then tells of sources and rejects), one backtest result, or a sequence of
            them.
        path: the file to write; folders above it are made.
        title: of the report.
        titles: project_id, group_id, title: what the groups are called; by default those of the run.
        cases: how many misses and how many false alarms are shown with a picture, 0 to 50.
        progress: None shows a bar if it takes more than two seconds, False never.

    Returns:
        The path of the file.

    Raises:
        SettingsError: there is no result, ``cases`` is out of its range, or ``path`` is a folder.
        DatasetError: the file cannot be written.

    >>> from datetime import UTC, datetime, timedelta
    >>> from issue_analytics.backtest import backtest
    >>> start = datetime(2026, 1, 5, tzinfo=UTC)
    >>> busy = [(1, 7, start + timedelta(hours=hour), 90 if hour == 200 else 3) for hour in range(240)]
    >>> counts = pl.DataFrame(busy, schema=["project_id", "group_id", "hour", "count"], orient="row")
    >>> folder = tempfile.TemporaryDirectory()
    >>> write_report(backtest(counts), Path(folder.name) / "first.html", cases=1).name
    'first.html'
    >>> folder.cleanup()
    """
    results = each_result(run_or_results)
    if not results:
        raise SettingsError("no result to report: the run or sequence is empty.")
    if isinstance(cases, bool) or not isinstance(cases, int) or not 0 <= cases <= MAX_CASES:
        raise SettingsError(f"cases: expected a whole number from 0 to {MAX_CASES}, got {cases!r}.")
    path = Path(path)
    if path.is_dir():
        raise SettingsError(f"{path}: is a folder; name a file such as {path / 'report.html'}.")
    known = titles if titles is not None else getattr(run_or_results, "titles", None)
    manifest = getattr(run_or_results, "manifest", None)
    page = _page(
        results, manifest, clean(title, length=160) or "Spike limits: calibration report", known, cases, progress
    )
    _write_whole(path, page)
    return path


def _page(
    results: "list[BacktestResult]",
    manifest: Mapping[str, Any] | None,
    title: str,
    titles: pl.DataFrame | pl.LazyFrame | None,
    cases: int,
    progress: bool | None,
) -> str:
    import jinja2
    from matplotlib import style

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("issue_analytics.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # the reader's matplotlibrc must not reach into the report, nor the report into the reader's session
    with style.context(["default", _STYLE]):
        values = _values(results, manifest, titles, cases, progress)
    return environment.get_template("report.html.j2").render(title=title, **values)


def _values(
    results: "list[BacktestResult]",
    manifest: Mapping[str, Any] | None,
    titles: pl.DataFrame | pl.LazyFrame | None,
    cases: int,
    progress: bool | None,
) -> dict[str, Any]:
    from markupsafe import Markup

    def tabled(name: str, rows: Sequence[Mapping[str, object]], *, text: Sequence[str], length: int = 160) -> Markup:
        html = table(name, rows, text=text, length=length) if rows else ""
        return Markup(html)  # noqa: S704 - table() escapes the cells one by one

    first = results[0]
    names = setting_names(results)
    events = any(result.matches.height for result in results)
    shown, shown_names = results[:MAX_SETTINGS], names[:MAX_SETTINGS]
    some, some_names = results[:DETAILED_SETTINGS], names[:DETAILED_SETTINGS]
    rejects, reasons = sections.reject_rows(manifest)
    sources, files = sections.source_rows(manifest)
    against, compared, apart = _compared(some_names, some)
    reject_total = "not recorded." if rejects is None else "None: every row was accepted."
    values: dict[str, Any] = {
        "lead": _lead(first, names),
        "circular": sections.circular(results),
        "events": events,
        "exposed": any(result.groups.height for result in results),
        "summary": tabled("summary", scores.headline_rows(shown_names, shown, events=events), text=["setting"]),
        "false_alarms": tabled(
            "false_alarms", scores.false_alarm_rows(shown_names, shown) if events else [], text=["setting"]
        ),
        "notes": scores.notes(shown_names, shown) if events else [],
        "delays": tabled("delays", scores.delay_rows(shown_names, shown) if events else [], text=["setting"]),
        "burden": tabled("burden", scores.burden_rows(shown_names, shown), text=["setting", "worst day"]),
        "differences": tabled(
            "differences", scores.difference_rows(against, compared), text=["setting", "score", "note"]
        ),
        "changes": tabled("changes", scores.change_rows(against, compared) if events else [], text=["setting"]),
        "apart": apart,
        "summary_note": _summary_note(results, events=events),
        "summary_picture": "",
        "summary_alt": "",
        "coverage_verdict": sections.coverage_verdict(manifest),
        "coverage": tabled(
            "coverage", sections.coverage_rows(manifest), text=["looked at", "found", "what it means"], length=300
        ),
        "coverage_picture": _picture(lambda ax: plot_coverage(first.counts, ax=ax), 7.2, 2.2),
        "facts": tabled("facts", sections.facts(results, manifest), text=["fact", "value"], length=600),
        "settings": tabled(
            "settings", sections.setting_rows(shown_names, shown), text=["setting", "digest", "buckets", "policy"]
        ),
        "sources": tabled("sources", sources, text=["file", "content hash", "rows and format"], length=300),
        "sources_note": _capped(len(sources), files, "files"),
        "rejects": tabled("rejects", rejects or [], text=["reason"], length=300),
        "rejects_note": _capped(len(rejects or []), reasons, "reasons"),
        "rejects_none": reject_total.capitalize() if rejects is None else reject_total,
        "strata": [
            {"heading": heading, "table": tabled(f"by_{column}", rows, text=[label])}
            for column, heading, label in _STRATA
            if len(rows := scores.stratum_rows(column, label, first, events=events)) > (column != "volume")
        ],
        "provenances": tabled(
            "by_provenance",
            rows if len(rows := scores.provenance_rows(first)) > 1 else [],
            text=["labelled by"],
        ),
        **_calibration(first, tabled),
        "branches": tabled("branches", sections.branch_rows(shown_names, shown), text=["setting"]),
        "method": sections.method(results),
        "doubts": sections.doubts(results, recorded=manifest is not None),
    }
    if events:
        values["summary_picture"] = _picture(lambda ax: plot_summary(shown, ax=ax), 5.2, 2.6 + 0.2 * len(shown))
        values["summary_alt"] = (
            "Recall against false alarms per quiet series-week; the numbers stand in the table above."
        )
    shares = [sections.branch_shares(result) for result in some]
    values["branches_picture"] = _picture(
        lambda ax: plot_branches(some_names, shares, ax=ax), 7.2, 1.0 + 0.34 * len(some)
    )
    values["branches_alt"] = "Share of group-days by branch: " + "; ".join(
        f"{row['setting']}: "
        + ", ".join(f"{rule} {row[rule]}" for rule in row if rule not in ("setting", "group-days"))
        for row in sections.branch_rows(some_names, some)
    )
    pictures = ("coverage_picture", "summary_picture", "branches_picture", "scales_picture")
    taken = sum(len(values[name]) for name in pictures)
    values["cases"] = _case_sections(
        first, case_lists(first, names[0], cases, events=events), titles, PICTURE_BYTES - taken, tabled, progress
    )
    return values


def _compared(
    names: Sequence[str], results: "Sequence[BacktestResult]"
) -> "tuple[list[str], list[Comparison], list[str]]":
    """Names and comparisons of what can be held against the first result, and why the rest cannot."""
    first, against, compared, apart = results[0], [], [], []
    for name, other in zip(names[1:], results[1:], strict=True):
        try:
            found = compare(first, other)
        except SettingsError as error:
            apart.append(f"{name}: {str(error).removeprefix('compare: ')}")
        else:
            against.append(name)
            compared.append(found)
    return against, compared, apart


def _calibration(first: "BacktestResult", tabled: "Callable[..., Any]") -> dict[str, Any]:
    """How often the limits of the first setting are exceeded, by stratum, and what another scale would have given."""
    from issue_analytics.scores import judged_counts, scaled_limits

    volumes = first.groups.select(*KEY, "volume")
    days = first.days().join(volumes, on=KEY)
    parts = [
        {"heading": heading, "table": tabled(f"exceedance_{column}", rows, text=[label])}
        for column, heading, label in (
            ("rule", "By branch of the limit", "branch"),
            ("volume", "By volume: occurrences per day in the week before", "occurrences per day"),
        )
        if (rows := scores.exceedance_rows(days, column, label))
    ]
    if not parts:
        return {"calibration": [], "calibration_lines": [], "scales_picture": ""}
    judged = judged_counts(first.exposure, first.limits, first.counts).join(volumes, on=KEY)
    scaled = scaled_limits(judged, by="volume")
    return {
        "calibration": parts,
        "calibration_lines": scores.calibration_sentences(first, days),
        "scales_picture": _picture(lambda ax: plot_scales(scaled, by="volume", ax=ax), 7.2, 3.2),
    }


def _lead(first: "BacktestResult", names: Sequence[str]) -> str:
    many = f"{len(names)} settings" if len(names) > 1 else "One setting"
    weeks = first.groups.select(scores.exposed_weeks()).item()
    judged = (
        f"judged on {number(first.groups.height)} groups over {number(weeks, 0)} exposed series-weeks (weeks in which "
        "one group was watched)"
        if first.groups.height
        else "given, but nothing was exposed: no hour of any group was judged"
    )
    return (
        f"When should an archived issue come back? {many} {judged}. Reference: {setting_names([first])[0]}, "
        f"{first.buckets} buckets, limits made {first.policy.schedule}."
    )


def _summary_note(results: "Sequence[BacktestResult]", *, events: bool) -> str:
    note = "n/a: not defined for these data. Limits are occurrences per clock hour, UTC."
    if events:
        note = (
            "Each share stands with its n. 95 %: interval of the score, in per cent for shares; the alerts and "
            "escalations of a group are taken to fall together. Groups alike: mean of the groups' own scores, where "
            "every group weighs the same. Quiet series-weeks are weeks of one group outside every escalation. " + note
        )
    return note + _capped(min(len(results), MAX_SETTINGS), len(results), "settings", before=" ")


def _capped(shown: int, whole: int, what: str, *, before: str = "") -> str:
    return f"{before}Shown: {number(shown)} of {number(whole)} {what}." if shown < whole else ""


def _case_sections(
    result: "BacktestResult",
    parts: "Sequence[CaseList]",
    titles: pl.DataFrame | pl.LazyFrame | None,
    room: int,
    tabled: "Callable[..., Any]",
    progress: bool | None,
) -> list[dict[str, Any]]:
    """The sections of single cases, with as many pictures as there is room for."""
    from tqdm.auto import tqdm

    every = [case for part in parts for case in part.cases]
    small, known = narrowed(result, every), _titles(titles, every)
    many = len({case.project_id for case in every}) > 1
    written = []
    with tqdm(total=len(every), desc="report", unit="picture", delay=2, leave=False, disable=progress is False) as bar:
        for part in parts:
            rows, shown = [], []
            for nth, case in enumerate(part.cases, start=1):
                bar.update()
                title = known.get((case.project_id, case.group_id), "")
                rows.append(_case_row(nth, case, title, many=many))
                picture, alt = "", ""
                if room > 0:
                    seen = look_at(small, case)
                    alt = f"Hourly counts and limits of two weeks. {case.headline}. {seen.reason}."
                    picture = _picture(partial(draw_look, seen, title=f"{case.headline}\n{seen.reason}"), 7.2, 2.9)
                    room -= len(picture)
                ids = f"group {case.group_id}" + (f" of project {case.project_id}" if case.project_id else "")
                name = f"{title} ({ids})" if title else ids
                shown.append({"name": name, "why": case.why, "picture": picture if room >= 0 else "", "alt": alt})
            if not any(row["title"] for row in rows):
                rows = [{name: cell for name, cell in row.items() if name != "title"} for row in rows]
            made = tabled(part.key, rows, text=["group", "title", "branch", "hour (UTC)"], length=70)
            written.append({"heading": part.heading, "rule": part.rule, "table": made, "cases": shown})
    return written


def _case_row(nth: int, case: Case, title: str, *, many: bool) -> dict[str, str]:
    return {
        "#": str(nth),
        "group": f"{case.project_id}/{case.group_id}" if many else str(case.group_id),
        "title": title,
        "hour (UTC)": f"{case.at:%Y-%m-%d %H:%M}",
        "count": number(case.count),
        "limit": number(case.limit),
        "count / limit": number(case.count / case.limit if case.limit else None),
        "branch": case.rule,
    }


def _titles(titles: pl.DataFrame | pl.LazyFrame | None, cases: Sequence[Case]) -> dict[tuple[int, int], str]:
    """What the groups of the cases are called; only the titles needed are read."""
    if titles is None or not cases:
        return {}
    keys = pl.DataFrame([(case.project_id, case.group_id) for case in cases], schema=_KEYS, orient="row").unique()
    try:
        require(titles.lazy(), "Occurrences", columns=(*KEY, "title"))
    except FrameError as error:
        raise FrameError(f"titles: {str(error).removeprefix('Occurrences: ')}") from None
    found = titles.lazy().join(keys.lazy(), on=KEY, how="semi").select(*KEY, "title").collect()
    return {(project, group): clean(text, length=120) for project, group, text in found.iter_rows()}


_KEYS: Final = {"project_id": pl.Int64, "group_id": pl.Int64}


def _picture(draw: "Callable[[Axes], object]", width: float, height: float) -> str:
    """Draw into a figure of its own and return it as the address of an SVG picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    draw(figure.subplots())
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=nothing)
    return f"data:image/svg+xml;base64,{base64.b64encode(_smaller(file.getvalue()).encode()).decode()}"


def _smaller(svg: str) -> str:
    """Leave out what no eye can see: a third of the bytes, and the prologue, which names a document type elsewhere."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    # a hundredth of a point is enough for a place; scales of outlines are left as they are
    svg = re.sub(r' d="[^"]*"|translate\([^)]*\)', lambda part: re.sub(r"(\.\d\d)\d+", r"\1", part[0]), svg)
    svg = svg.replace("DejaVuSans-", "g")
    return re.sub(r">\s+<", "><", re.sub(r"\s*\n\s*", " ", svg))


def _write_whole(path: Path, page: str) -> None:
    """Write beside the place and move there: nobody ever sees half a report."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", newline="\n", dir=path.parent, prefix=f".{path.name[:50]}.", delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise DatasetError(f"{path}: the report cannot be written ({error.strerror or error}).") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
