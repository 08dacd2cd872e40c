"""Sets of thresholds as files: the values, a digest that tells of edits by hand, and where the values came from."""

import hashlib
import json
import math
import re
import reprlib
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from numbers import Integral
from pathlib import Path
from typing import Any, Final

from issue_analytics.errors import DatasetError, SettingsError
from issue_analytics.thresholds import NAMED, STANDARD, ThresholdVariables, check_thresholds

__all__ = [
    "SEGMENTS",
    "ThresholdSet",
    "load_thresholds",
    "read_threshold_set",
    "segment_text",
    "write_text_whole",
    "write_thresholds",
]

SEGMENTS: Final = ("volume", "variation", "age", "branch", "type", "project_id")
"""The columns by which groups may have thresholds of their own: those of strata."""

_NUMBERED: Final = ("type", "project_id")
"""Those of them whose values are whole numbers, or not known; TOML's keys are text."""

_UNKNOWN: Final = "unknown"

_WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_INT64: Final = 2**63
_TOP: Final = ("digest", "by", "thresholds", "segments", "provenance")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}

_HEADING: Final = "# Thresholds for issue_analytics. The digest is that of the values, so that an edit by hand shows."


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdSet:
    """Thresholds with where they came from and, if some groups have their own, those.

    Sets are equal if they say the same, provenance included; they *do* the same if their ``digest`` is the same.

    Args:
        thresholds: the common ones: for every group that is in no segment.
        provenance: what the caller wants to be known: data, run, objective, date and the like. Text, numbers,
            true or false, dates, and times with a zone (kept in UTC), by name.
        by: the column that tells segments, one of :data:`SEGMENTS`.
        segments: thresholds by the value of that column: a whole number for projects and types, or None for groups of
            which it is not known; else text.
        checked: whether the file it was read from said a digest. If so, the values gave it.

    Raises:
        SettingsError: something of it is of another kind, or there are segments without a column.

    >>> own = ThresholdVariables(4, 4, 7, 2, 4)
    >>> made = ThresholdSet(thresholds=STANDARD, by="project_id", segments={17: own})
    >>> made.of(17), made.of(18)
    (ThresholdVariables(4, 4, 7, 2, 4), ThresholdVariables(5, 5, 8, 2, 5))
    """

    thresholds: ThresholdVariables
    # without a part in the hash, which dicts do not have; what is equal still has the same
    provenance: Mapping[str, str | int | float | bool | date] = field(default_factory=dict, hash=False)
    by: str | None = None
    segments: Mapping[str | int | None, ThresholdVariables] = field(default_factory=dict, hash=False)
    checked: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        check_thresholds(self.thresholds)
        for name in ("provenance", "segments"):
            if not isinstance(getattr(self, name), Mapping):
                raise SettingsError(f"{name}: expected values by name, got {_short(getattr(self, name))}.")
        if self.by is not None and self.by not in SEGMENTS:
            raise SettingsError(f"by: there are no segments by {_short(self.by)}. There are: {', '.join(SEGMENTS)}.")
        if self.segments and self.by is None:
            raise SettingsError(f"segments: by names their column; one of {', '.join(SEGMENTS)}.")
        # copies: a caller who goes on with his own dict must not change a frozen set
        facts = {_text("provenance", name): _fact(name, value) for name, value in self.provenance.items()}
        object.__setattr__(self, "provenance", facts)
        own = {_segment(self.by, value): thresholds for value, thresholds in self.segments.items()}
        if len(own) < len(self.segments):
            raise SettingsError(f"segments by {self.by}: one is there twice, as a number and as text.")
        for thresholds in own.values():
            check_thresholds(thresholds)
        object.__setattr__(self, "segments", own)

    @property
    def digest(self) -> str:
        """Eight hex characters for what the set does: that of the thresholds, if no segment differs from them.

        >>> ThresholdSet(thresholds=STANDARD, by="type", segments={1: STANDARD}).digest == STANDARD.digest
        True
        """
        common = _numbers(self.thresholds)
        own = {segment_text(value): _numbers(it) for value, it in self.segments.items() if it != self.thresholds}
        if not own:
            return self.thresholds.digest
        return hashlib.sha256(json.dumps([common, self.by, own], sort_keys=True).encode()).hexdigest()[:8]

    def of(self, value: str | int | None) -> ThresholdVariables:
        """The thresholds of groups with this value of the column; the common ones if it has none of its own."""
        return self.segments.get(value, self.thresholds)


def write_thresholds(
    path: str | Path,
    thresholds: ThresholdVariables,
    *,
    provenance: Mapping[str, str | int | float | bool | date] | None = None,
    by: str | None = None,
    segments: Mapping[str | int | None, ThresholdVariables] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write thresholds as a TOML file that says where they came from, whole or not at all.

    The file appears beside its place and is moved there. One that says the same already is left as it is.

    Args:
        path: a file that ends in ``.toml``.
        thresholds: the common ones.
        provenance: what is to be known of them, by name: data, run, objective, date and the like. Nothing is added:
            no clock, no user.
        by: the column that tells segments, one of :data:`SEGMENTS`.
        segments: thresholds of groups by the value of that column.
        overwrite: replace a file of other thresholds or of another provenance, edited by hand or not; a file that
            holds no thresholds is never touched.

    Returns:
        The path.

    Raises:
        SettingsError: something of it is of the wrong kind, or there is another file.
        DatasetError: it cannot be written.

    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "acme.toml"
    >>> provenance = {"data": "acme, May to July", "date": date(2026, 8, 3), "recall": 0.61}
    >>> print(write_thresholds(path, STANDARD, provenance=provenance).read_text())
    # Thresholds for issue_analytics. The digest is that of the values, so that an edit by hand shows.
    digest = "9d2bd171"
    <BLANKLINE>
    [thresholds]
    std_multiplier = 5
    min_spike_multiplier = 5
    max_spike_multiplier = 8
    min_bursty_multiplier = 2
    max_bursty_multiplier = 5
    <BLANKLINE>
    [provenance]
    data = "acme, May to July"
    date = 2026-08-03
    recall = 0.61
    <BLANKLINE>
    >>> folder.cleanup()
    """
    path = Path(path)
    if path.suffix != ".toml":
        raise SettingsError(f"{path}: thresholds are written as TOML; let the name end in .toml.")
    made = ThresholdSet(thresholds=thresholds, provenance=provenance or {}, by=by, segments=segments or {})
    if path.exists():
        there = _there(path)
        if there == (made, made.digest):
            return path
        if there is None or not overwrite:
            raise SettingsError(
                f"{path}: holds no thresholds, and is left alone; choose another name."
                if there is None
                else f"{path}: exists already and says something else; choose another name, or allow overwriting."
            )
    write_text_whole(path, _toml(made))
    return path


def read_threshold_set(name_or_path: str | Path) -> ThresholdSet:
    """Find a set of thresholds by its name, or read it from a ``.toml`` or ``.json`` file.

    A file by hand needs no more than ``std_multiplier = 4.5``: what it leaves out is standard; what a segment leaves
    out is as in the common thresholds.

    Args:
        name_or_path: ``"standard"``, ``"looser"``, ``"tighter"``, or a file: TOML as :func:`write_thresholds` makes
            it, or a JSON object of values by name.

    Raises:
        SettingsError: no such set or file, it does not hold thresholds, or it says a digest that the values do not
            give: somebody edited it.

    >>> read_threshold_set("tighter").thresholds
    ThresholdVariables(4, 4, 7, 2, 4)
    """
    if (known := NAMED.get(str(name_or_path).lower())) is not None:
        return ThresholdSet(thresholds=known)
    path = Path(name_or_path)
    if path.suffix not in {".toml", ".json"}:
        raise SettingsError(
            f"{name_or_path}: no such set of thresholds. There are {', '.join(NAMED)}, or name a .toml or .json file."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark first
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: cannot be read ({error}).") from None
    try:
        if path.suffix == ".json":
            return ThresholdSet(thresholds=ThresholdVariables.from_json(text))
        found, said = _parsed(text)
        if said is not None and said != found.digest:
            raise SettingsError(
                f"says digest {_short(said)}, but its values give {found.digest!r}: they were edited, or damaged. Take "
                f'the file anew from where it came from; if the edit is meant, let it say digest = "{found.digest}".'
            )
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None
    return found


def load_thresholds(name_or_path: str | Path) -> ThresholdVariables:
    """Find thresholds by the name of a set, or read them from a ``.toml`` or ``.json`` file.

    Of a file with segments these are the common ones: :func:`read_threshold_set` has all.

    Raises:
        SettingsError: as for :func:`read_threshold_set`.

    >>> load_thresholds("tighter")
    ThresholdVariables(4, 4, 7, 2, 4)
    """
    return read_threshold_set(name_or_path).thresholds


def write_text_whole(path: Path, text: str) -> None:
    """Write a text beside its place and move it there: whole, or not at all.

    Raises:
        DatasetError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # a folder, so that the file has the rights that new files have here
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name[:50]}-") as scratch:
            draft = Path(scratch) / "new"
            draft.write_text(text, encoding="utf-8", newline="\n")
            draft.replace(path)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written ({error.strerror or error}).") from None


def segment_text(value: str | int | None) -> str:
    """The value of a segment as files and people read it."""
    return _UNKNOWN if value is None else str(value)


# ---- what may stand in a file ---- #


def _numbers(thresholds: ThresholdVariables) -> list[float]:
    """The values as a digest takes them: 5 as 5.0, -0.0 as 0.0."""
    return [value + 0.0 for value in thresholds.to_dict().values()]


def _short(value: object) -> str:
    """A value in a message: one line, and not the whole of what may be a book."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python does not write numbers of more than 4,300 digits
        return type(value).__name__


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{what}: expected text, got {_short(value)}.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SettingsError(f"{what}: {_short(value)} holds half of a surrogate pair, which no file can.") from None
    return str(value)


def _fact(name: str, value: object) -> str | int | float | bool | date:
    """A value of the provenance as a plain Python one that a file gives back equal."""
    what = f"provenance {_short(name)}"
    if isinstance(value, bool):  # before whole numbers, of which it is one
        return value
    if isinstance(value, str):
        return _text(what, value)
    if isinstance(value, Integral) and -_INT64 <= int(value) < _INT64:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise SettingsError(f"{what}: {value} has no zone; give it one, or give the date alone.")
        try:
            return value.astimezone(UTC)
        except OverflowError:
            raise SettingsError(f"{what}: {value} lies outside the years 1 to 9999 in UTC.") from None
    if isinstance(value, date):
        return value
    raise SettingsError(
        f"{what}: expected text, a finite number of at most 64 bits, true or false, a date, or a time with a zone, "
        f"got {type(value).__name__}."
    )


def _segment(by: str | None, value: object) -> str | int | None:
    """The value of a segment as its column has it; whole numbers may come as text, as TOML's keys do."""
    if by not in _NUMBERED:
        return _text(f"segments by {by}", value)
    if value is None or value == _UNKNOWN:
        return None
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if not isinstance(value, bool) and isinstance(value, Integral) and 0 <= int(value) < _INT64:
        return int(value)
    raise SettingsError(
        f"segments by {by}: expected a whole number of at most 63 bits, or {_UNKNOWN!r}, got {_short(value)}."
    )


# ---- TOML ---- #


def _toml(made: ThresholdSet) -> str:
    lines = [_HEADING, f"digest = {_quoted(made.digest)}"]
    if made.by is not None:
        lines.append(f"by = {_quoted(made.by)}")
    lines += ["", "[thresholds]", *_pairs(made.thresholds.to_dict())]
    for value, thresholds in made.segments.items():
        lines += ["", f"[segments.{_quoted(segment_text(value))}]", *_pairs(thresholds.to_dict())]
    if made.provenance:
        lines += ["", "[provenance]", *_pairs(made.provenance)]
    return "\n".join(lines) + "\n"


def _pairs(values: Mapping[str, str | int | float | bool | date]) -> list[str]:
    return [f"{name if _BARE.fullmatch(name) else _quoted(name)} = {_written(it)}" for name, it in values.items()]


def _written(value: str | float | bool | date) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, date):
        return value.isoformat()
    # a number of numpy has a repr of its own, which is not TOML
    return repr(int(value) if isinstance(value, int) else float(value))


def _quoted(text: str) -> str:
    """A string of TOML; escaped is also what is allowed but would turn, hide or end a line in an editor or a diff."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if (short := _SHORT.get(character)) is not None:
        return short
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def _parsed(text: str) -> tuple[ThresholdSet, str | None]:
    """What a TOML file holds, and the digest that it says."""
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"not TOML: {error}.") from None
    # the five may also stand without their heading
    common = _table("thresholds", values.get("thresholds", {k: v for k, v in values.items() if k not in _TOP}))
    if "thresholds" in values and (unknown := [name for name in values if name not in _TOP]):
        raise SettingsError(f"nothing is known of {_short(unknown[0])} beside [thresholds]. Known: {', '.join(_TOP)}.")
    if not common:
        raise SettingsError("no thresholds in it; expected a table such as [thresholds] with std_multiplier = 5.")
    said, by = values.get("digest"), values.get("by")
    if said is not None and not isinstance(said, str):
        raise SettingsError(f'digest: expected text such as digest = "{STANDARD.digest}".')
    thresholds = ThresholdVariables.from_dict(common)
    own: dict[str | int | None, ThresholdVariables] = {}
    for value, table in _table("segments", values.get("segments", {})).items():
        try:
            own[value] = ThresholdVariables.from_dict(thresholds.to_dict() | _table("its values", table))
        except SettingsError as error:
            raise SettingsError(f"segment {_short(value)}: {error}") from None
    provenance = _table("provenance", values.get("provenance", {}))
    made = ThresholdSet(thresholds=thresholds, provenance=provenance, by=by, segments=own, checked=said is not None)
    return made, said


def _table(what: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingsError(f"{what}: expected a table such as [thresholds] with std_multiplier = 5.")
    return value


def _there(path: Path) -> tuple[ThresholdSet, str | None] | None:
    """What a file holds that is there already; nothing if that is no thresholds."""
    try:
        return _parsed(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
