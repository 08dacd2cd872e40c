"""A folder that holds a file of each format is imported whole, and every example of the docs is what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import issue_analytics as ia
from issue_analytics.exports.formats import plain
from issue_analytics.exports.reading import NAMES, Options, read_file
from issue_analytics.simulate import writers

ROOT = Path(__file__).parents[1]
COMMAND = Path(sys.executable).with_name("issue-analytics")

# what a writer's files are found to be, where that is not the writer's own name
FOUND = {
    "issue_list": {"issues"}, "issue_list_daily": {"issues"}, "discover": {"discover_events", "discover_counts"},
}  # fmt: skip


@pytest.fixture(scope="module")
def sim():
    return ia.simulate(groups=60, days=21, seed=2)


@pytest.fixture(scope="module")
def everything(sim, tmp_path_factory):
    folder = tmp_path_factory.mktemp("everything")
    sim.write(folder / "exports", formats=list(writers.FORMATS), progress=False)
    return folder


def run(*arguments, cwd):
    done = subprocess.run([COMMAND, *map(str, arguments)], cwd=cwd, capture_output=True, text=True,
                          env={"COLUMNS": "80", "PATH": ""}, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_format_has_a_writer():
    written = set().union(*(FOUND.get(name, {name}) for name in writers.FORMATS))
    # tags have no hours, and forecasts and corrections come with issues and error events
    assert set(NAMES) - written == {"issues_by_tag", "recorded_forecasts", "corrections"}


def test_a_folder_of_everything_is_imported_and_told(everything, sim):
    text = run("import", "exports", "data", cwd=everything)
    dataset = ia.open_dataset(everything / "data")
    found = {source["found"] for source in dataset.manifest["sources"]}
    wanted = set().union(*(FOUND.get(name, {name}) for name in writers.FORMATS))
    assert wanted <= found | {None}
    for name in wanted:
        assert f"  {name} " in text
    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith(("note:", "error")))
    assert dataset.manifest["skipped"] == []
    for tally in dataset.manifest["totals"].values():
        assert tally["read"] == tally["accepted"] + tally["rejected"] + tally["duplicates"]
    # nothing of the simulation is missing, and nothing was made up
    ids = dataset.occurrences.select("occurrence_id").collect()["occurrence_id"]
    assert set(sim.occurrences["occurrence_id"]) <= set(ids)
    events = set(sim.occurrences["event_id"])
    assert set(ids) - set(sim.occurrences["occurrence_id"]) <= events
    assert run("check", "data", cwd=everything)


def sections():
    text = (ROOT / "data" / "README.md").read_text()
    parts = re.findall(r"\*\*[^*]+\*\* \(([^)]+)\)(.*?)(?=\n\*\*|\n### |\n## )", text, flags=re.DOTALL)
    for names, body in parts:
        fences = re.findall(r"^```(json|csv|text)\n(.*?)^```$", body, flags=re.MULTILINE | re.DOTALL)
        yield re.findall(r"`([a-z_]+)`", names), fences


def test_every_format_has_a_section_with_an_example():
    told = {name: fences for names, fences in sections() for name in names}
    assert set(told) == set(NAMES) - {"issues_by_tag", "recorded_forecasts", "corrections"}
    for name, fences in told.items():
        assert fences, name
        assert all(len(text.splitlines()) <= 8 for _, text in fences)


@pytest.mark.parametrize(("names", "fences"), [pytest.param(*part, id=part[0][0]) for part in sections()])
def test_every_example_is_read_as_what_it_says(names, fences, tmp_path):
    for kind, text in fences:
        path = tmp_path / f"10001.{kind}"
        path.write_text(text)
        parts = list(read_file(path, Options()))
        found = {part.found for part in parts}
        if found == {plain.FORMAT.name}:
            found = {kind for part in parts for kind in part.accepted}
        assert found
        assert found <= set(names)
        assert sum(frame.height for part in parts for frame in part.accepted.values()) > 0
