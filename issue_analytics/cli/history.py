"""The past that settings are judged on, as the command line takes it: its options, and reading it from a dataset."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from issue_analytics.errors import SettingsError

if TYPE_CHECKING:
    import polars as pl

    from issue_analytics.backtest import Matching
    from issue_analytics.dataset import Dataset

__all__ = [
    "DatasetArgument", "Grace", "History", "Lead", "Merge", "Offset", "Open", "Pairing", "Silence", "Store", "Truth",
    "history_of", "matching_of", "truth_of",
]  # fmt: skip

DatasetArgument = Annotated[Path, typer.Argument(metavar="DATASET", help="Folder made by import.")]
Offset = Annotated[str, typer.Option(help="How much later than 00:00 UTC (7d: Thursdays, 1w: Mondays).")]
Truth = Annotated[
    Literal["auto", "labels", "activities", "store", "none"],
    typer.Option(
        help="What alerts are judged by: imported label tables, with all of the time observed; recorded status "
        "changes, with the time an issue was archived; what people said of alerts in a store, in those hours; or "
        "nothing. auto: labels if there are any."
    ),
]
Store = Annotated[
    str | None, typer.Option(metavar="PLACE", help="For --truth store: an SQLite file or a PostgreSQL URL.")
]
Silence = Annotated[
    Literal["auto", "implied", "recorded"],
    typer.Option(
        help="What a missing hour is: implied, a silent one; recorded, unknown, for counts that write their zeros. "
        "auto: recorded if there are zeros."
    ),
]
Lead = Annotated[float, typer.Option(help="Hours before an escalation in which an alert is about it.")]
Grace = Annotated[float, typer.Option(help="Hours after its end.")]
Open = Annotated[float, typer.Option("--open", help="Hours that one without a recorded end is taken to last.")]
Merge = Annotated[float, typer.Option(help="Hours over the limit at most so far apart are one alert.")]
Pairing = Annotated[
    Literal["one-to-one", "any"],
    typer.Option(help="one-to-one: an alert catches one escalation, the first free one; any: all it meets."),
]


class History(NamedTuple):
    """What a dataset holds to judge settings by.

    Attributes:
        data: the dataset.
        counts: contract ``HourlyCounts``.
        escalations: contract ``Escalations``; None where nothing is known.
        exposure: contract ``Exposure``; None where all of the time was observed.
        first_seen: since when groups are known to exist; None where nobody says.
        altered: groups whose counts were changed after the fact; None where they are judged all the same.
        silence: what a missing hour is: implied or recorded.
        truth: what alerts are judged by.
        merged: what was asked of altered groups.
    """

    data: "Dataset"
    counts: "pl.DataFrame"
    escalations: "pl.DataFrame | None"
    exposure: "pl.DataFrame | None"
    first_seen: "pl.DataFrame | None"
    altered: "pl.DataFrame | None"
    silence: Literal["implied", "recorded"]
    truth: str
    merged: str

    def options(self) -> dict[str, Any]:
        """What is passed on to whatever judges: exposure, first_seen, leave_out and silence."""
        return {
            "exposure": self.exposure,
            "first_seen": self.first_seen,
            "leave_out": self.altered,
            "silence": self.silence,
        }

    @property
    def left_out(self) -> int:
        """How many groups that have counts are left out as altered after the fact."""
        if self.altered is None:
            return 0
        key = ["project_id", "group_id"]
        return self.counts.select(key).unique().join(self.altered, on=key, how="semi").height

    @property
    def digest(self) -> str:
        """What stands for the imported files: the same for the same files, whatever their names and order."""
        hashes = sorted(str(source["hash"]) for source in self.data.manifest["sources"])
        return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:16]

    def facts(self) -> dict[str, Any]:
        """What is to be known of the data that a number rests on, for a run or another file."""
        return {
            "path": str(self.data.path),
            "sources": [{"path": source["path"], "hash": source["hash"]} for source in self.data.manifest["sources"]],
            "truth": self.truth,
            "silence": self.silence,
            "merged": self.merged,
        }


def history_of(dataset: Path, *, truth: str, store: str | None, silence: str, merged: str) -> History:
    """Read a dataset as the options say.

    Raises:
        DatasetError: no dataset, or a damaged one.
        SettingsError: it does not hold the truth that was asked for.
    """
    from issue_analytics.dataset import open_dataset

    data = open_dataset(dataset)
    counts = data.hourly_counts.collect()
    escalations, exposure, first_seen, used = truth_of(data, truth, store)
    altered = data.altered_groups.collect() if merged == "leave-out" else None
    recorded = silence == "recorded" or (silence == "auto" and (counts["count"] == 0).any())
    return History(
        data, counts, escalations, exposure, first_seen, altered, "recorded" if recorded else "implied", used, merged
    )


def matching_of(*, lead: float, grace: float, open_: float, merge: float, pairing: str) -> "Matching":
    """When an alert and an escalation are about the same thing, as the options say."""
    from issue_analytics.backtest import Matching

    return Matching(
        lead_hours=lead, grace_hours=grace, open_hours=open_, merge_hours=merge,
        pairing="any" if pairing == "any" else "one_to_one",
    )  # fmt: skip


def truth_of(
    data: "Dataset", truth: str, place: str | None
) -> "tuple[pl.DataFrame | None, pl.DataFrame | None, pl.DataFrame | None, str]":
    """Return escalations, exposure, first_seen, and which truth it is."""
    from issue_analytics.backtest import STATUS_KINDS, label_escalations

    totals = data.manifest["totals"]
    changes = data.status_changes.collect()
    first_seen = changes.filter(kind="first_seen").select("project_id", "group_id", first_seen="at")
    ages = None if first_seen.is_empty() else first_seen
    if (truth == "store") != (place is not None):
        raise SettingsError("--truth store and --store PLACE go together: the store in which alerts were labelled.")
    if place is not None:
        from issue_analytics.issues import open_store

        store = open_store(place, create=False)
        escalations, exposure = store.human_escalations(), store.human_exposure()
        if exposure.is_empty():
            raise SettingsError(f"--store {place}: nobody labelled an alert; see issue-analytics issues label --help.")
        return escalations, exposure, ages, "store"
    if truth in ("auto", "labels"):
        if totals.get("escalations", {}).get("accepted"):
            return data.escalations.collect(), None, ages, "labels"
        if truth == "labels":
            raise SettingsError(f"--truth labels: {data.path} holds no label table; import one with escalated_at.")
    if truth in ("auto", "activities"):
        # when issues were first seen is no record of what became of them
        if changes["kind"].is_in(STATUS_KINDS).any() or (truth == "activities" and not changes.is_empty()):
            escalations, exposure = label_escalations(changes)
            return escalations, exposure, ages, "activities"
        if truth == "activities":
            raise SettingsError(f"--truth activities: {data.path} holds no status changes; import activities.")
    return None, None, ages, "none"
