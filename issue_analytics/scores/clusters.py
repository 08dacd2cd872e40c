"""Rows that stand or fall together: groups, or the groups of a project, numbered and summed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from issue_analytics.errors import SettingsError
from issue_analytics.scores.ratios import Ratio

__all__ = ["ClusterSums", "number_clusters", "sum_by_cluster"]


@dataclass(frozen=True, slots=True)
class ClusterSums:
    """What each cluster adds to the sums of some ratios, in one frame or in several on the same clusters.

    Attributes:
        keys: one row per cluster, in the order of its columns.
        top: frames x clusters x ratios, not scaled.
        bottom: as ``top``.
    """

    keys: pl.DataFrame
    top: NDArray[np.float64]
    bottom: NDArray[np.float64]


def sum_by_cluster(frames: Sequence[pl.DataFrame], ratios: Sequence[Ratio], cluster: Sequence[str]) -> ClusterSums:
    """Sum the two sides of each ratio within clusters; a null counts as nothing, as in every sum of polars.

    Rows may be finer than clusters, or clusters already: of a ratio of sums the answer is the same. The order of rows
    does not matter. A cluster that a frame does not have counted nothing there.

    Args:
        frames: tallies: the columns of ``cluster`` and those the ratios look at.
        ratios: what to sum.
        cluster: columns whose values tell clusters apart.

    Raises:
        SettingsError: a column of ``cluster`` or of a ratio is missing, or a name occurs twice among ``ratios``.

    >>> from issue_analytics.scores.ratios import RECALL
    >>> tallies = pl.DataFrame({"project_id": [2, 1, 2], "events": [1, 3, 4], "events_caught": [1, 0, 2]})
    >>> sums = sum_by_cluster([tallies], [RECALL], ["project_id"])
    >>> sums.keys.rows(), sums.top[0, :, 0].tolist(), sums.bottom[0, :, 0].tolist()
    ([(1,), (2,)], [0.0, 3.0], [3.0, 5.0])
    """
    missing = sorted({name for frame in frames for name in cluster if name not in frame.columns})
    if missing or not cluster:
        raise SettingsError(f"no column to cluster by: {', '.join(missing) or 'none was named'}.")
    names = [ratio.name for ratio in ratios]
    if len(set(names)) < len(names):
        raise SettingsError(f"a name occurs twice among the ratios: {', '.join(names)}.")
    sides = [ratio.top for ratio in ratios] + [ratio.bottom for ratio in ratios]
    columns = [side.cast(pl.Float64).alias(f"side {at}") for at, side in enumerate(sides)]
    try:
        summed = [frame.select(*cluster, *columns).group_by(cluster).sum() for frame in frames]
    except pl.exceptions.ColumnNotFoundError as error:
        raise SettingsError(f"tallies for {', '.join(names)}: {str(error).splitlines()[0]}.") from None
    keys = pl.concat([frame.select(cluster) for frame in summed]).unique().sort(cluster)
    placed = [
        keys.join(frame, on=cluster, how="left", nulls_equal=True, maintain_order="left").drop(cluster)
        for frame in summed
    ]
    values = np.stack([frame.fill_null(0.0).to_numpy().reshape(keys.height, len(sides)) for frame in placed])
    return ClusterSums(keys, values[:, :, : len(ratios)], values[:, :, len(ratios) :])


def number_clusters(rows: pl.DataFrame, cluster: Sequence[str]) -> NDArray[np.int64]:
    """The number of each row's cluster, from 0 in the order of keys: its column in the weights of a resample.

    >>> number_clusters(pl.DataFrame({"project_id": [7, 3, 7]}), ["project_id"]).tolist()
    [1, 0, 1]
    """
    number = pl.struct(cluster).rank("dense").cast(pl.Int64) - 1
    return rows.select(number).to_series().to_numpy()
