"""The command line: parse, call, write; nothing else."""

from issue_analytics.cli.commands import app, main
from issue_analytics.cli.issues import app as issues
from issue_analytics.cli.replay import replay

__all__ = ["app", "main", "replay"]

app.add_typer(issues, name="issues")
