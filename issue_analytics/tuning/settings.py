"""Settings as rows of five numbers: what a search is over."""

import hashlib
from collections.abc import Iterable
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from issue_analytics.errors import SettingsError
from issue_analytics.thresholds import LARGEST, ThresholdVariables

__all__ = ["OUTCOME", "VARIABLES", "array_of", "as_frame", "as_settings", "digests_of"]

VARIABLES: Final = tuple(ThresholdVariables().to_dict())
"""The five, in their usual order."""

OUTCOME: Final = ("alerts", "duplicates", "unjudged", "events_caught", "false_alarms", "median_delay_hours")
"""Columns of a sweep in which two settings that do different things may differ."""


def as_settings(settings: "pl.DataFrame | Iterable[ThresholdVariables]") -> NDArray[np.float64]:
    """The five variables of each setting, shape (settings, 5).

    Raises:
        SettingsError: there is none, a column is missing, or a row is no setting.

    >>> as_settings([ThresholdVariables(4, 4, 7, 2, 4)]).tolist()
    [[4.0, 4.0, 7.0, 2.0, 4.0]]
    """
    if isinstance(settings, pl.DataFrame):
        if missing := [name for name in VARIABLES if name not in settings.columns]:
            raise SettingsError(f"settings: no column {', '.join(missing)}. Found: {', '.join(settings.columns)}.")
        schema = settings.schema
        if wrong := [f"{name} is {schema[name]}" for name in VARIABLES if not schema[name].is_numeric()]:
            raise SettingsError(f"settings: {', '.join(wrong)}, not a number.")
        values = settings.select(pl.col(VARIABLES).cast(pl.Float64)).to_numpy()
    else:
        try:
            every = [settings] if isinstance(settings, ThresholdVariables) else list(settings)
        except TypeError:  # a lazy frame too
            raise SettingsError(f"settings: expected thresholds or a frame, got {type(settings).__name__}.") from None
        for number, one in enumerate(every):
            if not isinstance(one, ThresholdVariables):
                raise SettingsError(f"settings: number {number} is {one!r}, not ThresholdVariables.")
        values = np.array([array_of(one) for one in every]).reshape(-1, len(VARIABLES))
    if not len(values):
        raise SettingsError("settings: there is none.")
    values = np.ascontiguousarray(values, dtype=np.float64) + 0.0  # -0.0 is 0.0
    known = np.isfinite(values).all(axis=1)
    ordered = (values[:, 1] <= values[:, 2]) & (values[:, 3] <= values[:, 4])
    fine = known & ordered & (values >= 0).all(axis=1) & (values <= LARGEST).all(axis=1)
    if not fine.all():
        number = int(np.argmin(fine))
        try:
            ThresholdVariables(*values[number].tolist())
        except SettingsError as error:
            raise SettingsError(f"settings: row {number}: {error}") from None
    return values


def as_frame(values: NDArray[np.float64]) -> pl.DataFrame:
    """The rows of :func:`as_settings` as a frame of the five variables."""
    return pl.DataFrame(dict(zip(VARIABLES, values.T, strict=True)))


def array_of(thresholds: ThresholdVariables) -> NDArray[np.float64]:
    """The five variables of one setting."""
    return np.array(list(thresholds.to_dict().values()), dtype=np.float64)


def digests_of(values: NDArray[np.float64]) -> pl.Series:
    """``ThresholdVariables.digest`` of each row.

    >>> one = ThresholdVariables(4.5, -0.0, 7, 1e-7, 4)
    >>> digests_of(array_of(one)[None, :]).item() == one.digest
    True
    """
    texts = []
    for column in values.T:
        # as a digest takes them: no -0.0; written as json writes them, three times as fast
        distinct, place = np.unique(column + 0.0, return_inverse=True)
        texts.append(pl.Series(list(map(float.__repr__, distinct.tolist()))).gather(place))
    joined = pl.select(pl.concat_str(texts, separator=", ")).to_series()
    return pl.Series([hashlib.sha256(f"[{text}]".encode()).hexdigest()[:8] for text in joined], dtype=pl.String)
