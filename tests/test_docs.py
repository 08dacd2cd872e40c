"""The page on scores names every public score, and nothing that does not exist."""

import inspect
import re
from pathlib import Path

import pytest

import issue_analytics as ia
from issue_analytics import scores

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "scores.md").read_text()
NAMED = re.compile(r"`(?:ia\.)?([A-Za-z]\w*)`")


def rows():
    """Question, name, unit, formula, source and null of each row of the tables; a bar in a cell is escaped."""
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in PAGE.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in cells if row[0].strip() != "question"]


def names():
    return [name for row in rows() for name in NAMED.findall(row[1])]


def test_every_row_is_whole():
    assert len(rows()) > 40
    assert {len(row) for row in rows()} == {6}
    assert all(row[0] and row[1] for row in rows())


@pytest.mark.parametrize("name", scores.__all__)
def test_every_public_score_is_in_a_table(name):
    assert name in names(), f"{name} is not in docs/scores.md"


def test_every_name_in_a_table_exists():
    for name in names():
        place = ia if f"`ia.{name}`" in PAGE else scores
        assert hasattr(place, name), f"{name} of docs/scores.md does not exist"


def test_every_source_is_the_one_its_code_names():
    """A surname and a year of the table stand together in the code of the module that the row is about."""
    checked = 0
    for row in rows():
        modules = {inspect.getmodule(getattr(scores, name)) for name in NAMED.findall(row[1]) if hasattr(scores, name)}
        code = " ".join(
            " ".join(inspect.getsource(module).split())
            for module in modules
            if module is not None and module.__name__.startswith("issue_analytics")
        )
        for source in (part.strip().removeprefix("against it ") for part in row[4].split(";") if part):
            surname, year = re.match(r"\w+", source)[0], re.search(r"\d+$", source)[0]
            assert re.search(rf"\b{surname}\b.{{0,160}}?\b{year}\b", code), f"{source} is not in the code of {row[1]}"
            checked += 1
    assert checked > 25


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
