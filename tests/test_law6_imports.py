"""Law 6: data flow one way. A module imports only what stands earlier on the path."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "issue_analytics"

PATH = (
    "errors", "frames", "schemas", "thresholds", "threshold_files", "counts", "issues", "exports", "dataset",
    "coverage", "formula", "kernel", "critical", "forecast", "detection", "explain", "forecast_records", "simulate",
    "scores", "backtest", "tuning", "reporting", "cli",
)  # fmt: skip
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")

# frames names contracts and loads them when first asked, so that importing the package does not pay for pandera
LATER_ON_PURPOSE = {("frames", "schemas"), ("schemas", "frames")}


def station(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path):
    stations = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = (
                [node.module] if node.module != "issue_analytics" else [f"issue_analytics.{a.name}" for a in node.names]
            )
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        stations |= {name.split(".")[1] for name in names if name.startswith("issue_analytics.")}
        assert "issue_analytics" not in names, "import the module, not the package"
    return stations


def test_every_module_has_its_place_on_the_path():
    assert {station(path) for path in MODULES} == set(PATH)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_data_flow_one_way(path):
    here = station(path)
    before = set(PATH[: PATH.index(here) + 1]) | {late for early, late in LATER_ON_PURPOSE if early == here}
    assert imported(path) <= before


def test_importing_the_package_loads_nothing_heavy():
    heavy = (
        "matplotlib",
        "scipy",
        "pandera",
        "jinja2",
        "great_tables",
        "pandas",
        "pyarrow",
        "IPython",
        "sqlalchemy",
        "psycopg",
    )
    code = f"import sys, issue_analytics; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
