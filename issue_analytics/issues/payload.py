"""From what a payload holds to the values of a record, and what is wrong with them.

Each function returns the value, or something empty, and adds to ``problems`` one sentence for what it refuses: a user
is told everything at once. Null is as good as absent. What is taken agrees with what the readers of files take.
"""

import json
import re
import reprlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from issue_analytics.errors import FrameError

__all__ = [
    "Problems",
    "as_fields",
    "as_fingerprint",
    "as_group_id",
    "as_json",
    "as_object",
    "as_text",
    "as_time",
    "as_whole",
    "copied",
    "refuse",
    "shown",
]

Problems: TypeAlias = list[str]

_LARGEST: Final = 2**63 - 1

# what the readers of exports take for a time: the years in mean years, and only these ways to write ISO 8601
_FIRST, _LAST = (datetime.fromtimestamp((year - 1970) * 31_556_952, UTC) for year in (1990, 2100))
_ISO: Final = re.compile(
    r"\s*(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ](?P<minute>[0-9]{2}:[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9})|(?P<joined>[0-9]{6}))?)?"
    r"\s*(?:(?P<utc>[Zz]|UTC)|(?P<hours>[+-](?:0[0-9]|1[0-5])):?(?P<minutes>[0-5][0-9])?)?\s*"
)

_SHORT: Final = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def shown(value: object) -> str:
    r"""A value of an export as it may stand in a message: short, and without control characters.

    >>> shown("\x1b[31m" + "x" * 99)
    "'\\x1b[31mxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxxxxxxxxxx'"
    """
    try:
        return _SHORT.repr(value)
    except ValueError:  # a whole number of thousands of digits
        return f"a huge {type(value).__name__}"


def refuse(what: str, problems: Problems) -> None:
    """Raise a FrameError that names every problem, if there are any."""
    if problems:
        raise FrameError(f"{what}: {'. '.join(problems)}.")


def as_fields(what: str, payload: object) -> dict[str, Any]:
    """The fields of a payload, to take from; raises where it is no mapping at all."""
    if not isinstance(payload, Mapping):
        raise FrameError(f"{what}: expected a mapping, such as json.loads gives, got {shown(payload)}.")
    return dict(payload)


def as_text(value: object, name: str, problems: Problems) -> str | None:
    r"""Text as it is; half a surrogate pair is no character.

    >>> as_text("a\ud83d", "title", [])
    'a\ufffd'
    """
    if value is None:
        return None
    if not isinstance(value, str):
        problems.append(f"{name}: expected text, got {shown(value)}")
        return None
    return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def as_whole(value: object, name: str, problems: Problems) -> int | None:
    """A whole number that a frame can hold."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        problems.append(f"{name}: expected a whole number, got {shown(value)}")
        return None
    if not 0 <= value <= _LARGEST:
        problems.append(f"{name}: {shown(value)} is {'negative' if value < 0 else 'too large'}")
        return None
    return value


def as_group_id(value: object, problems: Problems) -> int | None:
    """A group's id; the REST API writes it as text, and so do exports that join it."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,19}", value):
        value = int(value)
    return as_whole(None if value == "" else value, "group_id", problems)


def as_fingerprint(value: object, problems: Problems) -> tuple[str, ...]:
    """Its parts, at least one."""
    if value is None:
        problems.append("fingerprint: missing; its first part picks the group")
        return ()
    if not isinstance(value, list | tuple):
        problems.append(f"fingerprint: expected a list of text, got {shown(value)}")
        return ()
    before = len(problems)
    parts = [as_text(part, f"fingerprint[{index}]", problems) for index, part in enumerate(value)]
    problems += [f"fingerprint[{index}]: null; text is needed" for index, part in enumerate(value) if part is None]
    if len(problems) == before and not (parts and parts[0]):
        problems.append("fingerprint: empty; its first part picks the group")
    return tuple(part for part in parts if part is not None)


def as_time(value: object, name: str, problems: Problems) -> datetime | None:
    """A time in UTC: seconds since 1970, ISO 8601 text with a zone, or a datetime with one.

    >>> as_time("2026-01-05 09:00+01:00", "detection_time", [])
    datetime.datetime(2026, 1, 5, 8, 0, tzinfo=datetime.timezone.utc)
    """
    if value is None:
        problems.append(f"{name}: missing; a time with a zone is needed")
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str | datetime):
        problems.append(f"{name}: expected seconds since 1970 or ISO 8601 text, got {shown(value)}")
        return None
    at = value if isinstance(value, datetime) else _iso(value) if isinstance(value, str) else _epoch(value)
    if at is None:
        hint = "" if isinstance(value, str) else "; write seconds since 1970"
        problems.append(f"{name}: {shown(value)} is no time{hint}")
    elif at.utcoffset() is None:
        problems.append(f"{name}: no time zone: {shown(value)}; write an offset such as +00:00 or Z")
    elif not _FIRST <= at <= _LAST:
        problems.append(f"{name}: {shown(value)} lies outside the years 1990 to 2100")
    else:
        return at.astimezone(UTC)
    return None


def _epoch(value: float) -> datetime | None:
    if not 0 <= value < 1e11:  # NaN is not, either
        return None
    # to the microsecond that the readers of files round to
    micros = value * 1_000_000 if isinstance(value, int) else round(value * 1e6)
    return datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)


def _iso(value: str) -> datetime | None:
    found = _ISO.fullmatch(value)
    if found is None:
        return None
    part = found.groupdict(default="")
    second = part["second"] or "00"
    micros = (part["fraction"] or part["joined"]).ljust(6, "0")[:6]
    zone = "+00:00" if part["utc"] else f"{part['hours']}:{part['minutes'] or '00'}" if part["hours"] else ""
    try:
        return datetime.fromisoformat(f"{part['day']}T{part['minute']}:{second}.{micros}{zone}")
    except ValueError:
        return None


def as_object(value: object, name: str, problems: Problems) -> dict[str, Any]:
    """A copy of a JSON object."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        problems.append(f"{name}: expected an object, got {shown(value)}")
        return {}
    copy: dict[str, Any] = as_json(dict(value), name, problems)
    return copy


def as_json(value: object, name: str, problems: Problems) -> Any:
    """A copy of a value as JSON says it: what passes can be written, and is read back the same."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        problems.append(f"{name}: cannot be written as JSON ({error})")
        return {}


def copied(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of what once passed, to the ground."""
    copy: dict[str, Any] = json.loads(json.dumps(value))
    return copy
