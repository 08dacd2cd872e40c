"""The five thresholds, the named sets, and the constants that the published formula hard-codes."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Final, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from issue_analytics.errors import SettingsError

__all__ = [
    "LOOSER",
    "NAMED",
    "PUBLISHED",
    "STANDARD",
    "TIGHTER",
    "FormulaConstants",
    "ThresholdVariables",
    "check_thresholds",
]


Floats = NDArray[np.float64]

LARGEST: Final = 1000
"""Of any multiplier: a limit of a thousand times the mean or the busiest hour is none. Keeps limits within int64."""


def _number(name: str, value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"{name}: expected a number, got {value!r}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(f"{name}: {value} is not a finite number.")
    if value < 0:
        raise SettingsError(f"{name}: {value} is negative; multipliers are 0 or more.")
    if value > LARGEST:
        raise SettingsError(f"{name}: more than {LARGEST:,}; such a limit would never fire.")
    return value


def _known(cls: type, values: Mapping[str, object]) -> None:
    names = [field.name for field in fields(cls)]
    if unknown := [name for name in values if name not in names]:
        # a name of a file may hold what would end the line of this message
        told = ", ".join(name if name.isidentifier() else repr(name) for name in map(str, unknown))
        raise SettingsError(f"no setting {told:.200}. There are: {', '.join(names)}.")


@dataclass(frozen=True, slots=True)
class ThresholdVariables:
    """The five variables of the spike limit; frozen, comparable, hashable.

    Each is a number from 0 to 1,000, an int or a float.

    Args:
        std_multiplier: standard deviations above the mean, in the spike factor ``(m + std_multiplier s) / m``.
        min_spike_multiplier: the spike factor is at least this.
        max_spike_multiplier: and at most this.
        min_bursty_multiplier: the bursty factor, times the busiest hour, is at least this.
        max_bursty_multiplier: and at most this. Above 5 it never acts: the formula's amplitude is 5.

    Raises:
        SettingsError: a value is out of range or no number, or a minimum exceeds its maximum.

    >>> STANDARD
    ThresholdVariables(5, 5, 8, 2, 5)
    >>> from dataclasses import replace
    >>> replace(STANDARD, std_multiplier=4.5)
    ThresholdVariables(4.5, 5, 8, 2, 5)
    >>> ThresholdVariables(min_spike_multiplier=9)
    Traceback (most recent call last):
    issue_analytics.errors.SettingsError: min_spike_multiplier 9 is above max_spike_multiplier 8.
    """

    std_multiplier: int | float = 5
    min_spike_multiplier: int | float = 5
    max_spike_multiplier: int | float = 8
    min_bursty_multiplier: int | float = 2
    max_bursty_multiplier: int | float = 5

    def __post_init__(self) -> None:
        for field in fields(self):
            _number(field.name, getattr(self, field.name))
        for kind in ("spike", "bursty"):
            low, high = getattr(self, f"min_{kind}_multiplier"), getattr(self, f"max_{kind}_multiplier")
            if low > high:
                raise SettingsError(f"min_{kind}_multiplier {low} is above max_{kind}_multiplier {high}.")

    def __repr__(self) -> str:
        return f"ThresholdVariables({', '.join(str(value) for value in self.to_dict().values())})"

    @property
    def digest(self) -> str:
        """Eight hex characters that stand for these values; the same on every machine, for 5 and 5.0, for 0.0 and -0.0.

        >>> STANDARD.digest == ThresholdVariables(5.0, 5, 8, 2, 5).digest
        True
        """
        text = json.dumps([value + 0.0 for value in self.to_dict().values()])
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def name(self) -> str | None:
        """The name of the set if it is a named one (``"standard"``, ``"looser"``, ``"tighter"``), else None."""
        return next((name for name, known in NAMED.items() if known == self), None)

    def to_dict(self) -> dict[str, int | float]:
        """The values by name, in the order of the upstream's positional sets."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """Build from values by name; a name left out takes its default, an unknown one is refused."""
        _known(cls, values)
        return cls(**{name: _number(name, value) for name, value in values.items()})

    def to_json(self) -> str:
        """One JSON object; ``from_json`` reads it back equal."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Build from :meth:`to_json`.

        Raises:
            SettingsError: the text is not a JSON object of known settings.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:  # a number of 5,000 digits, a thousand brackets
            raise SettingsError(f"not JSON: {error}.") from None
        if not isinstance(values, dict):
            raise SettingsError('expected a JSON object such as {"std_multiplier": 5}.')
        return cls.from_dict(values)

    @classmethod
    def grid(cls, **values: float | Iterable[float]) -> pl.DataFrame:
        """Every combination of some values of the variables, for a sweep.

        Args:
            **values: of a variable by its name, one or several; a variable left out stays at its default.

        Returns:
            A row per combination with the five variables, the last one named first in its values changing fastest.
            Combinations in which a minimum exceeds its maximum are no setting and left out.

        Raises:
            SettingsError: a name is unknown, a value out of range, or no combination is a setting.

        >>> ThresholdVariables.grid(min_bursty_multiplier=[1.5, 2], max_bursty_multiplier=[1.75, 5]).rows()
        [(5.0, 5.0, 8.0, 1.5, 1.75), (5.0, 5.0, 8.0, 1.5, 5.0), (5.0, 5.0, 8.0, 2.0, 5.0)]
        """
        _known(cls, values)
        columns = []
        for name, default in asdict(cls()).items():
            given = values.get(name, default)
            some = [given] if isinstance(given, int | float) else list(given)
            if not some:
                raise SettingsError(f"{name}: no value given.")
            plain = [value.item() if isinstance(value, np.generic) else value for value in some]
            columns.append([float(_number(name, value)) for value in plain])
        mesh = np.meshgrid(*columns, indexing="ij")
        frame = _ordered(dict(zip(asdict(cls()), (axis.ravel() for axis in mesh), strict=True)))
        if frame.is_empty():
            raise SettingsError("in every combination a minimum is above its maximum; there is no setting.")
        return frame

    @classmethod
    def sample(
        cls,
        settings: int,
        *,
        seed: int = 0,
        method: Literal["sobol", "random"] = "sobol",
        **ranges: tuple[float, float],
    ) -> pl.DataFrame:
        """Settings drawn from ranges of the variables, for a sweep that a grid would be too coarse for.

        Args:
            settings: how many.
            seed: 0 or more; another seed, other settings.
            method: ``"sobol"``, scrambled, which leaves no part of the space empty, or ``"random"``, independently and
                uniformly.
            **ranges: of a variable by its name, from and to; a variable left out stays at its default.

        Returns:
            A row per setting with the five variables. Draws in which a minimum exceeds its maximum are no setting;
            others take their place.

        Raises:
            SettingsError: a name is unknown, a range makes no sense, or holds hardly any setting.

        >>> drawn = ThresholdVariables.sample(64, min_bursty_multiplier=(1, 3), max_bursty_multiplier=(2, 5))
        >>> drawn.select((pl.col("min_bursty_multiplier") <= pl.col("max_bursty_multiplier")).all(), pl.len()).row(0)
        (True, 64)
        """
        _known(cls, ranges)
        if isinstance(settings, bool) or not isinstance(settings, int) or settings < 1:
            raise SettingsError(f"settings: expected a whole number from 1 on, got {settings!r}.")
        if method not in ("sobol", "random"):
            raise SettingsError(f"method: {method!r} is neither 'sobol' nor 'random'.")
        for name, ends in ranges.items():
            if not isinstance(ends, Sequence) or len(ends) != 2 or _number(name, ends[0]) > _number(name, ends[1]):
                raise SettingsError(f"{name}: expected a range (from, to), got {ends!r}.")
        if not ranges:
            raise SettingsError("no range is given: all settings would be the same.")
        draw = _sobol(len(ranges), seed) if method == "sobol" else _random(len(ranges), seed)
        parts, found, drawn = [], 0, 0
        while found < settings:
            if drawn >= 100 * settings + 10_000:
                raise SettingsError("hardly any draw from these ranges is a setting: a minimum is above its maximum.")
            unit = draw(settings)
            drawn += len(unit)
            columns = {name: np.full(len(unit), float(value)) for name, value in asdict(cls()).items()}
            for column, (name, (low, high)) in zip(unit.T, ranges.items(), strict=True):
                columns[name] = low + (high - low) * column
            parts.append(_ordered(columns))
            found += parts[-1].height
        return pl.concat(parts).head(settings)


def _ordered(columns: dict[str, Floats]) -> pl.DataFrame:
    """Settings from columns of variables, without those in which a minimum exceeds its maximum."""
    return pl.DataFrame(columns).filter(
        pl.col("min_spike_multiplier") <= pl.col("max_spike_multiplier"),
        pl.col("min_bursty_multiplier") <= pl.col("max_bursty_multiplier"),
    )


def _sobol(dimensions: int, seed: int) -> Callable[[int], Floats]:
    from scipy.stats.qmc import Sobol

    points = Sobol(dimensions, rng=np.random.default_rng(seed))

    def draw(number: int) -> Floats:
        # a power of two at a time, which is what keeps the points balanced
        every: Floats = points.random(2 ** math.ceil(math.log2(number)))
        return every

    return draw


def _random(dimensions: int, seed: int) -> Callable[[int], Floats]:
    rng = np.random.default_rng(seed)
    return lambda number: rng.random((number, dimensions))


STANDARD: Final = ThresholdVariables(5, 5, 8, 2, 5)
"""What upstream runs with."""

LOOSER: Final = ThresholdVariables(6, 5, 9, 2, 6)
"""The looser set of the 2023 experiment. Most of its limits equal STANDARD's."""

TIGHTER: Final = ThresholdVariables(4, 4, 7, 2, 4)
"""The tighter set of the 2023 experiment."""

NAMED: Final[Mapping[str, ThresholdVariables]] = MappingProxyType(
    {"standard": STANDARD, "looser": LOOSER, "tighter": TIGHTER}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormulaConstants:
    """What the published formula hard-codes outside the thresholds; to be varied in research only.

    Args:
        bursty_amplitude: 5 in ``5 e^(-0.65 cv)``.
        bursty_rate: -0.65 in the same; at most 0.
        new_multiplier: 10, the limit of a group on the ``new`` rule in units of its busiest hour.
        window_hours: 168, the history a limit looks at, and the number of points below which a group is new; a
            multiple of 24, so that every day of the week is there in whole days.
        weekday_weight: 2, the weight of points on the day's own weekday in the weighted mean.

    Raises:
        SettingsError: a value is out of its range.
    """

    bursty_amplitude: int | float = 5
    bursty_rate: float = -0.65
    new_multiplier: int = 10
    window_hours: int = 168
    weekday_weight: int = 2

    def __post_init__(self) -> None:
        _number("bursty_amplitude", self.bursty_amplitude)
        _number("-bursty_rate", -self.bursty_rate)
        for name in ("new_multiplier", "window_hours", "weekday_weight"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST:
                raise SettingsError(f"{name}: expected a whole number from 1 to {LARGEST:,}, got {value!r}.")
        if self.window_hours % 24:
            raise SettingsError(f"window_hours: {self.window_hours} is no multiple of 24.")


PUBLISHED: Final = FormulaConstants()
"""The constants as published."""


def check_thresholds(thresholds: object) -> None:
    """Raise a SettingsError unless these are thresholds."""
    if not isinstance(thresholds, ThresholdVariables):
        raise SettingsError(f"thresholds: expected ThresholdVariables, got {thresholds!r}; see load_thresholds.")
