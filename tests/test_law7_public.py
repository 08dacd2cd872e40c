"""Law 7: what is public exists, is documented, and its examples run."""

import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import issue_analytics as ia

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONSTANTS = {"STANDARD", "LOOSER", "TIGHTER", "PUBLISHED", "EVERY_HOUR", "PRODUCTION", "PRODUCTION_2023"}


@pytest.mark.parametrize("name", ia.__all__)
def test_every_public_name_exists_is_documented_and_in_the_readme(name):
    value = getattr(ia, name)
    assert re.search(rf"\b{name}\b", README), f"{name} is not in the README"
    if name not in CONSTANTS:
        assert len(inspect.getdoc(value) or "") > 40
        assert value.__module__.startswith("issue_analytics")


@pytest.mark.parametrize("name", [name for name in ia.__all__ if inspect.isfunction(getattr(ia, name))])
def test_every_parameter_is_explained(name):
    """Functions of several parameters say what each is for; a function of one says it in its prose."""
    function = getattr(ia, name)
    doc = inspect.getdoc(function)
    parameters = list(inspect.signature(function).parameters)
    if "Args:" in doc:
        assert all(re.search(rf"^\s+\*{{0,2}}{parameter}\b.*:", doc, re.MULTILINE) for parameter in parameters)


def fences(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_readme_python_runs(tmp_path):
    code = "\n".join(fences("python"))
    assert "import issue_analytics as ia" in code
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_readme_commands_run(tmp_path):
    """The commands of the README as they stand, only on fewer issues so that the test is quick: they escalate less."""
    lines = [line for block in fences("sh") for line in block.splitlines() if line.startswith("issue-analytics")]
    assert len(lines) >= 4
    script = "\n".join(lines).replace("--groups 2000", "--groups 120").replace("--days 56", "--days 28")
    script = script.replace("recommend data/acme", "recommend data/acme --min-events 5 --resamples 200")
    command = Path(sys.executable).with_name("issue-analytics")
    script = script.replace("issue-analytics", str(command))
    done = subprocess.run(["sh", "-ec", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "reports" / "first.html").stat().st_size > 10_000


def test_readme_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_the_version_is_said_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()
    command = Path(sys.executable).with_name("issue-analytics")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith(project["version"])
