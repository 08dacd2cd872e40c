"""What every setting of a search comes to in every cluster: what choosing, resampling and testing work on."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from issue_analytics.errors import SettingsError

__all__ = ["Tallies"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tallies:
    """Counts by setting and cluster; clusters are the last axis everywhere.

    Attributes:
        clusters: one row per cluster, in the order of the columns of the arrays: ``project_id`` and, where groups are
            the clusters, ``group_id``; a group that was judged and did nothing is there too.
        events: judged escalations of each cluster.
        exposed_hours: judged hours of each cluster.
        quiet_hours: those outside every escalation.
        alerts: settings x clusters.
        false_alarms: as ``alerts``.
        events_caught: as ``alerts``.
        project_days: days on which a project had any judged hour; where groups are the clusters, a project's days are
            shared out over its groups by their exposed hours, so that they add up. None where nobody counted them.

    Raises:
        SettingsError: an array does not have the shape of the others.

    >>> two = pl.DataFrame({"project_id": [1, 1], "group_id": [7, 8]})
    >>> zeros = np.zeros((3, 2), dtype=np.int32)
    >>> Tallies(clusters=two, events=np.array([1, 0]), exposed_hours=np.array([336, 168]),
    ...     quiet_hours=np.array([330, 168]), alerts=zeros, false_alarms=zeros, events_caught=zeros)
    Tallies(3 settings, 2 clusters, 1 events, 3.0 series-weeks exposed)
    """

    clusters: pl.DataFrame
    events: NDArray[np.int64]
    exposed_hours: NDArray[np.int64]
    quiet_hours: NDArray[np.int64]
    alerts: NDArray[np.int32]
    false_alarms: NDArray[np.int32]
    events_caught: NDArray[np.int32]
    project_days: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        shape = self.alerts.shape
        for name in ("events", "exposed_hours", "quiet_hours", "project_days"):
            value = getattr(self, name)
            if value is not None and value.shape != (self.clusters.height,):
                raise SettingsError(f"{name}: {value.shape} for {self.clusters.height} clusters.")
        for name in ("alerts", "false_alarms", "events_caught"):
            if getattr(self, name).shape != shape or shape[1:] != (self.clusters.height,):
                raise SettingsError(
                    f"{name}: {getattr(self, name).shape} is not settings x {self.clusters.height} clusters."
                )

    def of_clusters(self, which: NDArray[np.bool_]) -> "Tallies":
        """The same of some clusters only, such as those of a segment."""
        return replace(
            self,
            clusters=self.clusters.filter(which),
            events=self.events[which],
            exposed_hours=self.exposed_hours[which],
            quiet_hours=self.quiet_hours[which],
            alerts=self.alerts[:, which],
            false_alarms=self.false_alarms[:, which],
            events_caught=self.events_caught[:, which],
            project_days=None if self.project_days is None else self.project_days[which],
        )

    def of_settings(self, which: NDArray[np.integer] | NDArray[np.bool_]) -> "Tallies":
        """The same of some settings only, in the order asked for."""
        return replace(
            self,
            alerts=self.alerts[which],
            false_alarms=self.false_alarms[which],
            events_caught=self.events_caught[which],
        )

    def __repr__(self) -> str:
        return (
            f"Tallies({len(self.alerts)} settings, {self.clusters.height} clusters, {self.events.sum()} events, "
            f"{self.exposed_hours.sum() / 168:.1f} series-weeks exposed)"
        )
