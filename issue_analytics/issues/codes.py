"""What exports say of an issue's state, in numbers and words of all times, to the names of the lifecycle."""

from collections.abc import Mapping
from typing import Final

from issue_analytics.issues.lifecycle import STATES, Status, Substatus

__all__ = ["DEPRECATED_WORDS", "STATUS_WORDS", "SUBSTATUS_WORDS", "read_state"]

_NAMES: Final[dict[tuple[int, int | None], str]] = {(state.status, state.substatus): state.name for state in STATES}

DEPRECATED_WORDS: Final = {
    "until_escalating": Substatus.UNTIL_ESCALATING,
    "until_condition_met": Substatus.UNTIL_CONDITION_MET,
    "forever": Substatus.FOREVER,
}
"""Words that the API had for substatuses until it said ``archived_`` first."""

SUBSTATUS_WORDS: Final = {
    **{state.name: state.substatus for state in STATES if state.substatus is not None},
    **DEPRECATED_WORDS,
}
"""Words of the API for substatuses, those of old included."""

STATUS_WORDS: Final = {**{status.name.lower(): status for status in Status}, "muted": Status.IGNORED}
"""Words of the API for statuses; ``muted`` is an old one."""

_DRAFT: Final = {
    (Status.UNRESOLVED, 4): "regressed",
    (Status.UNRESOLVED, 5): "new",
    (Status.IGNORED, 6): "archived_forever",
    (Status.IGNORED, 7): "archived_until_condition_met",
}
"""Pairs of a draft of early 2023, which numbered substatuses otherwise. No pair has both of its meanings."""

_LATER: Final = "which of its states is not known"


def read_state(status: int | str | None, substatus: int | str | None) -> tuple[str | None, str | None]:
    """Return the name of the state that an export tells, and what to warn of, if anything.

    Tolerant of old data: words of the API as well as numbers (also as text), deprecated words, numbers of a draft of
    early 2023 where they would be no legal pair otherwise, a substatus that is missing or does not go with the status.

    Args:
        status: number or word; None where there is none.
        substatus: number or word; None where there is none.

    Returns:
        The name of a state; where the substatus does not tell which, ``unresolved`` or ``ignored``; of a status with
        an unknown number ``status_77``; None where nothing is known. And a sentence, the same for all such rows, or
        None where all is well.

    >>> read_state(2, 1), read_state("ignored", "archived_until_escalating")
    (('archived_until_escalating', None), ('archived_until_escalating', None))
    >>> read_state("ignored", "forever")
    ('archived_forever', "substatus 'forever' is an old word for 'archived_forever'")
    >>> read_state(2, 7)[0], read_state(0, None)
    ('archived_until_condition_met', ('unresolved', 'unresolved without substatus: which of its states is not known'))
    """
    above, below = _number(status, STATUS_WORDS), _number(substatus, SUBSTATUS_WORDS)
    if above is None:
        return _without_status(below, substatus) if status is None else (None, "unknown word for a status")
    if above not in set(Status):
        return f"status_{above}", "unknown status: kept as its number"
    name = Status(above).name.lower()
    if (found := _NAMES.get((above, below))) is not None and (below is None) == (substatus is None):
        return found, _old_word(substatus, found)
    if isinstance(below, int) and not _is_word(substatus) and (above, below) in _DRAFT:
        read = _DRAFT[Status(above), below]
        return read, f"substatus {below} of {name} is a number of early 2023: read as {read!r}"
    if substatus is None:
        return name, f"{name} without substatus: {_LATER}"
    what = Substatus(below).name.lower() if below in set(Substatus) else None
    odd = f"substatus {what!r} does not go with {name}" if what else f"unknown substatus of {name}"
    return name, f"{odd}: {_LATER}" if name in ("unresolved", "ignored") else odd


def _number(code: int | str | None, words: Mapping[str, int]) -> int | None:
    """The number of a code; None where there is none, or it is no known word."""
    if not isinstance(code, str):
        return code
    word = code.strip().lower()
    return int(word) if word.isdecimal() and word.isascii() and len(word) < 19 else words.get(word)


def _is_word(code: int | str | None) -> bool:
    return isinstance(code, str) and code.strip().lower() in SUBSTATUS_WORDS


def _old_word(substatus: int | str | None, name: str) -> str | None:
    word = substatus.strip().lower() if isinstance(substatus, str) else None
    return f"substatus {word!r} is an old word for {name!r}" if word in DEPRECATED_WORDS else None


def _without_status(below: int | None, substatus: int | str | None) -> tuple[str | None, str | None]:
    """Every substatus goes with one status: it tells the state, unless its number had another meaning once."""
    found = next((state for state in STATES if below is not None and state.substatus == below), None)
    if found is None:
        return None, "no status" if substatus is None else "no status, and an unknown substatus"
    if not _is_word(substatus) and any(below == number for _, number in _DRAFT):
        return found.name, f"substatus {below} without status: read as {found.name!r}, but early 2023 meant another"
    return found.name, _old_word(substatus, found.name)
