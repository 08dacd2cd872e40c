"""The command line: parse, call, write; nothing else."""

from issue_analytics.cli.commands import app, main

__all__ = ["app", "main"]
