"""The command line: parse, call, write; nothing else."""

from issue_analytics.cli.program import app, main

__all__ = ["app", "main"]
