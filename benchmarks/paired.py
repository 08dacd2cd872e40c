"""Variants of one piece of work, each run in a process of its own, in turns; what comes out are ratios."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["one", "paired"]


def one(work: Callable[[], object]) -> None:
    """Do the work in this process and print how long it took, and the memory it took at most."""
    began, spent = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - began, time.process_time() - spent
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": _peak()}))


def _peak() -> int:
    """Memory of this process at most, in bytes; the usual figure would be that of its parent, where that had more."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def paired(script: str, variants: Sequence[str], rounds: int, *arguments: str) -> Mapping[str, list[dict[str, float]]]:
    """Run ``script variant arguments...`` for each variant in turn, first forwards, then backwards; print medians.

    Ratios are medians over the rounds of time to the first variant's in the same round.
    """
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    for turn in range(rounds):
        for name in variants if turn % 2 == 0 else variants[::-1]:
            done = subprocess.run(  # noqa: S603 - our own script
                [sys.executable, script, "--only", name, *arguments], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise SystemExit(f"{name}: {done.stderr[-2000:]}")
            runs[name].append(json.loads(done.stdout.splitlines()[-1]))
    first = runs[variants[0]]
    for name, times in runs.items():
        ratio = statistics.median(run["wall"] / base["wall"] for run, base in zip(times, first, strict=True))
        wall, cpu = (statistics.median(run[what] for run in times) for what in ("wall", "cpu"))
        peak = max(run["peak"] for run in times)
        print(f"  {name:36} {wall:8.2f} s {cpu:8.2f} s cpu {peak / 1e6:8,.0f} MB   {ratio:6.2f} x {variants[0]}")
    return runs
