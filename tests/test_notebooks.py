"""Every notebook runs, from top to bottom, as a reader would run it; none is stored with outputs or with logic."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_there_are_notebooks_numbered_in_reading_order():
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"{number:02}" for number in range(1, len(NOTEBOOKS) + 1)]
    assert len(NOTEBOOKS) >= 2


def test_it_runs(notebook, tmp_path):
    # warnings are errors for a reader too
    NotebookClient(
        notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    warned = [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    assert warned == []
    assert any("image/png" in output.get("data", {}) for output in outputs)


def test_it_is_stored_clean_and_short(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) < 20
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    source = "\n".join(re.sub(r"^[%!].*$", "", cell.source, flags=re.MULTILINE) for cell in code)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno <= 3, f"{node.name} belongs in the package"
