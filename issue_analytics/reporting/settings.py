"""Results, one or many, and what to call the setting of each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from issue_analytics.errors import SettingsError

if TYPE_CHECKING:
    from issue_analytics.backtest.result import BacktestResult

__all__ = ["each_result", "setting_names"]


def each_result(run_or_results: Any) -> "list[BacktestResult]":
    """Return the results of a run, of one result, or of a sequence of them, as a list.

    Raises:
        SettingsError: it is none of the three.

    >>> each_result(42)
    Traceback (most recent call last):
    issue_analytics.errors.SettingsError: expected a run, a backtest result or a sequence of them, got int.
    """
    if hasattr(run_or_results, "summary"):
        return [run_or_results]
    results = getattr(run_or_results, "results", run_or_results)
    if isinstance(results, Sequence) and all(hasattr(result, "summary") for result in results):
        return list(results)
    raise SettingsError(f"expected a run, a backtest result or a sequence of them, got {type(results).__name__}.")


def setting_names(results: "Sequence[BacktestResult]") -> list[str]:
    """Name each result by its thresholds, and by buckets or policy where results differ in those.

    Results that still share a name are numbered: two points of one name would be a riddle.
    """
    parts = [[result.thresholds.name or f"({_values(result)})"] for result in results]
    for attribute in (lambda result: result.buckets, lambda result: str(result.policy.schedule)):
        if len({attribute(result) for result in results}) > 1:
            for part, result in zip(parts, results, strict=True):
                part.append(attribute(result))
    names = [", ".join(part) for part in parts]
    return [
        f"{name} #{names[: nth + 1].count(name)}" if names.count(name) > 1 else name for nth, name in enumerate(names)
    ]


def _values(result: "BacktestResult") -> str:
    return ", ".join(f"{value:g}" for value in result.thresholds.to_dict().values())
