"""The life of an issue, as tables: its states with their codes, and every way from one to another with who makes it.

Everything that knows states goes by these tables: what codes of exports are read as (``codes``), what the store allows,
which changes end an exposure, and the diagram in data/README.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import product
from typing import Final

from issue_analytics.errors import FrameError

__all__ = [
    "ARCHIVED_STATES",
    "MAKERS",
    "PRIORITY_CHANGES",
    "STATES",
    "TRANSITIONS",
    "UNRESOLVED_STATES",
    "Priority",
    "PriorityChange",
    "State",
    "Status",
    "Substatus",
    "Transition",
    "check_transition",
    "diagram",
    "documentation",
    "makers",
    "priority_after",
    "state_of",
]


class Status(IntEnum):
    """Statuses as the tracker numbers them; ``IGNORED`` is what its pages call archived."""

    UNRESOLVED = 0
    RESOLVED = 1
    IGNORED = 2
    PENDING_DELETION = 3
    DELETION_IN_PROGRESS = 4
    PENDING_MERGE = 5
    REPROCESSING = 6


class Substatus(IntEnum):
    """Substatuses as the tracker numbers them; a draft of early 2023 had other numbers for the last four."""

    UNTIL_ESCALATING = 1
    ESCALATING = 2
    ONGOING = 3
    UNTIL_CONDITION_MET = 4
    FOREVER = 5
    REGRESSED = 6
    NEW = 7


class Priority(IntEnum):
    """Priorities as the tracker numbers them."""

    LOW = 25
    MEDIUM = 50
    HIGH = 75


@dataclass(frozen=True, slots=True)
class State:
    """A state an issue can be in: a legal pair of status and substatus.

    Attributes:
        name: the word for it everywhere, such as in the column ``kind`` of status changes.
        status: its status.
        substatus: its substatus; None where the status has none.
    """

    name: str
    status: Status
    substatus: Substatus | None = None


STATES: Final = (
    State("new", Status.UNRESOLVED, Substatus.NEW),
    State("ongoing", Status.UNRESOLVED, Substatus.ONGOING),
    State("escalating", Status.UNRESOLVED, Substatus.ESCALATING),
    State("regressed", Status.UNRESOLVED, Substatus.REGRESSED),
    State("archived_until_escalating", Status.IGNORED, Substatus.UNTIL_ESCALATING),
    State("archived_until_condition_met", Status.IGNORED, Substatus.UNTIL_CONDITION_MET),
    State("archived_forever", Status.IGNORED, Substatus.FOREVER),
    State("resolved", Status.RESOLVED),
    State("pending_deletion", Status.PENDING_DELETION),
    State("deletion_in_progress", Status.DELETION_IN_PROGRESS),
    State("pending_merge", Status.PENDING_MERGE),
    State("reprocessing", Status.REPROCESSING),
)
"""Every state; no other pair of status and substatus is legal."""

UNRESOLVED_STATES: Final = tuple(state.name for state in STATES if state.status is Status.UNRESOLVED)
"""Names of the states of unresolved issues."""

ARCHIVED_STATES: Final = tuple(state.name for state in STATES if state.status is Status.IGNORED)
"""Names of the states of archived issues."""

_NAMES: Final = tuple(state.name for state in STATES)
_VISIBLE: Final = (*UNRESOLVED_STATES, *ARCHIVED_STATES, "resolved")
_TAKEN_AWAY: Final = ("pending_deletion", "pending_merge", "reprocessing")

MAKERS: Final = (
    "first_event",
    "user",
    "escalation",
    "velocity",
    "condition",
    "regression",
    "auto_ongoing",
    "platform",
    "deletion",
)
"""Who can change the state of an issue.

``escalation`` is the forecast's verdict, ``velocity`` that on new issues, ``condition`` a count or time that a user
set, ``platform`` a message of a detector, which may set any state but ``new``.
"""


@dataclass(frozen=True, slots=True)
class Transition:
    """A way from one state to another.

    Attributes:
        before: name of the state it leaves; None: the issue does not exist yet.
        after: name of the state it leads to.
        by: who makes it, one of ``MAKERS``.
        when: what has to happen, in a few words.
    """

    before: str | None
    after: str
    by: str
    when: str


def _ways(before: tuple[str, ...], after: tuple[str, ...], by: str, when: str) -> tuple[Transition, ...]:
    return tuple(Transition(one, other, by, when) for one, other in product(before, after) if one != other)


TRANSITIONS: Final = (
    Transition(None, "new", "first_event", "its first event"),
    *_ways(("new", "regressed", "escalating"), ("ongoing",), "auto_ongoing", "7 days without another change"),
    *_ways(("new",), ("escalating",), "velocity", "many events in its first 24 hours"),
    *_ways(("archived_until_escalating",), ("escalating",), "escalation", "an hour above the limit"),
    *_ways(("archived_until_condition_met",), ("escalating",), "condition", "the count or users it waits for"),
    *_ways(("archived_until_condition_met",), ("ongoing",), "condition", "the time it waits for"),
    *_ways(("resolved",), ("regressed",), "regression", "an event after resolution"),
    *_ways(UNRESOLVED_STATES, ARCHIVED_STATES, "user", "archive"),
    *_ways(ARCHIVED_STATES, ARCHIVED_STATES, "user", "archive otherwise"),
    *_ways((*UNRESOLVED_STATES, *ARCHIVED_STATES), ("resolved",), "user", "resolve"),
    *_ways(("regressed", "escalating"), ("ongoing",), "user", "mark as reviewed"),
    *_ways((*ARCHIVED_STATES, "resolved"), ("ongoing",), "user", "unarchive or unresolve"),
    *_ways(_VISIBLE, _TAKEN_AWAY, "user", "delete, merge or reprocess"),
    *_ways(("pending_deletion",), ("deletion_in_progress",), "deletion", "its data are being deleted"),
    *_ways(_NAMES, tuple(name for name in _NAMES if name != "new"), "platform", "a detector's status message"),
)
"""Every legal change of state. An ongoing issue does not escalate, unless a message of the platform says so."""

_BY_CODES: Final[dict[tuple[int, int | None], State]] = {(state.status, state.substatus): state for state in STATES}
_MAKERS: Final[dict[tuple[str | None, str], tuple[str, ...]]] = {
    way: tuple(one.by for one in TRANSITIONS if (one.before, one.after) == way)
    for way in {(one.before, one.after) for one in TRANSITIONS}
}


def state_of(status: int, substatus: int | None) -> State:
    """Return the state with these codes.

    Raises:
        FrameError: the pair is not legal.

    >>> state_of(2, 1).name
    'archived_until_escalating'
    >>> state_of(1, 3)
    Traceback (most recent call last):
    issue_analytics.errors.FrameError: status 1 (resolved) with substatus 3 (ongoing) is no state. Legal with it: ...
    """
    found = _BY_CODES.get((status, substatus))
    if found is None:
        legal = [_coded(state.substatus, Substatus) for state in STATES if state.status == status]
        fits = f"Legal with it: {', '.join(legal)}." if legal else f"Statuses are {_all(Status)}."
        raise FrameError(
            f"status {_coded(status, Status)} with substatus {_coded(substatus, Substatus)} is no state. {fits}"
        )
    return found


@dataclass(frozen=True, slots=True)
class PriorityChange:
    """What coming into a state does to the priority of an issue, unless a user has set it.

    Attributes:
        before: name of the state it left; None: any.
        after: name of the state it came into.
        priority: the priority it had; None: any.
        becomes: the priority it has then; None: the one it was made with.
    """

    before: str | None
    after: str
    priority: Priority | None
    becomes: Priority | None


PRIORITY_CHANGES: Final = (
    PriorityChange(None, "escalating", Priority.LOW, Priority.MEDIUM),
    PriorityChange(None, "escalating", Priority.MEDIUM, Priority.HIGH),
    PriorityChange("escalating", "ongoing", None, None),
)
"""Every change of a priority that a rule makes; at all other changes of state it stays."""


def _coded(code: int | None, codes: type[IntEnum]) -> str:
    if code is None:
        return "none"
    return f"{int(code)} ({codes(code).name.lower()})" if code in set(codes) else f"{code!r} (unknown)"


def _all(codes: type[IntEnum]) -> str:
    return ", ".join(_coded(code, codes) for code in codes)


def makers(before: str | None, after: str) -> tuple[str, ...]:
    """Return who can bring an issue from one state to another; ``()`` if nobody can, as for a state to itself.

    Args:
        before: name of a state; None: the issue does not exist yet.
        after: name of a state.

    Raises:
        FrameError: there is no such state.

    >>> makers("archived_until_escalating", "escalating"), makers("ongoing", "new")
    (('escalation', 'platform'), ())
    """
    for name in (before, after):
        if name not in _NAMES and not (name is None and name is before):
            raise FrameError(f"no state {name!r}. States are {', '.join(_NAMES)}.")
    return _MAKERS.get((before, after), ())


def check_transition(before: str | None, after: str, by: str) -> None:
    """Say nothing if this maker can bring an issue from one state to another.

    Raises:
        FrameError: it cannot, or there is no such state or maker; the message says what would be legal.

    >>> check_transition("ongoing", "archived_forever", "user")
    >>> check_transition("ongoing", "escalating", "escalation")
    Traceback (most recent call last):
    issue_analytics.errors.FrameError: ongoing -> escalating: not by escalation, only by platform. By escalation ...
    """
    if by not in MAKERS:
        raise FrameError(f"nobody called {by!r} changes states. Known are {', '.join(MAKERS)}.")
    able = makers(before, after)
    if by not in able:
        theirs = [f"{one.before or '(no issue yet)'} -> {one.after}" for one in TRANSITIONS if one.by == by]
        own = sorted(one.after for one in TRANSITIONS if one.by == by and one.before == before)
        others = f"not by {by}, only by {', '.join(able)}" if able else "no such change"
        hint = f"from {before or 'there'} to {', '.join(own)}" if own else "; ".join(theirs[:4])
        raise FrameError(f"{before or '(no issue yet)'} -> {after}: {others}. By {by} it goes {hint}.")


def priority_after(
    state: str, priority: int, initial: int, *, before: str | None = "escalating", locked: bool = False
) -> Priority:
    """Return the priority of an issue that has just come into a state.

    By ``PRIORITY_CHANGES``: escalating raises a low one to medium and any other to high; ongoing after escalating
    brings the initial one back; a priority that a user has set is locked, and stays.

    Args:
        state: name of the state it came into.
        priority: the priority it had.
        initial: the priority it was made with.
        before: name of the state it came from, which matters for ongoing only.
        locked: whether a user has set its priority.

    Raises:
        FrameError: there is no such state or priority.

    >>> priority_after("escalating", 25, 25), priority_after("ongoing", 75, 25)
    (<Priority.MEDIUM: 50>, <Priority.LOW: 25>)
    >>> priority_after("ongoing", 75, 25, before="new")
    <Priority.HIGH: 75>
    """
    if state not in _NAMES:
        raise FrameError(f"no state {state!r}. States are {', '.join(_NAMES)}.")
    strange = [one for one in (priority, initial) if one not in set(Priority)]
    if strange:
        raise FrameError(f"no priority {strange[0]!r}. Priorities are {_all(Priority)}.")
    for change in PRIORITY_CHANGES if not locked else ():
        if change.after == state and change.before in (None, before) and change.priority in (None, priority):
            return Priority(initial) if change.becomes is None else change.becomes
    return Priority(priority)


# ---- the tables for people ----

_GROUPS: Final = {
    "any": ("any state", _NAMES),
    "visible": ("unresolved, archived or resolved", _VISIBLE),
    "unresolved": ("any unresolved", UNRESOLVED_STATES),
    "archived": ("any archived", ARCHIVED_STATES),
}
"""Groups of states that stand for their members in the diagram, where something holds for all of them."""


def diagram() -> str:
    """Return the states and the changes between them as a mermaid ``stateDiagram-v2``, made from the tables.

    A change that one maker can make between all states of two groups is drawn once, between the groups. What the
    platform can do (set any state but ``new``) is left out.

    >>> print(diagram().splitlines()[0])
    stateDiagram-v2
    """
    drawn: dict[tuple[str, str], list[str]] = {}
    sides = [*((name, members) for name, (_, members) in _GROUPS.items()), *((name, (name,)) for name in _NAMES)]
    for by in (maker for maker in MAKERS if maker != "platform"):
        left = {(one.before or "[*]", one.after) for one in TRANSITIONS if one.by == by}
        for (one, befores), (other, afters) in product([*sides, ("[*]", ("[*]",))], sides):
            ways = {way for way in product(befores, afters) if way[0] != way[1]}
            # a group may stand for its members only where nothing else is said by it
            if ways and ways <= left:
                left -= ways
                drawn.setdefault((one, other), []).append(by)
    used = {name for way in drawn for name in way}
    lines = ["stateDiagram-v2"]
    lines += [f'    state "{words}" as any_{name}' for name, (words, _) in _GROUPS.items() if name in used]
    lines += [f"    {_node(one)} --> {_node(other)}: {', '.join(by)}" for (one, other), by in drawn.items()]
    return "\n".join(lines) + "\n"


def _node(name: str) -> str:
    return f"any_{name}" if name in _GROUPS else name


def documentation() -> str:
    """Return the tables and the diagram as Markdown, for data/README.md (``tools/lifecycle.py`` writes it there).

    >>> documentation().splitlines()[4]
    '| `new` | unresolved 0 | new 7 |'
    """
    states = [
        f"| `{one.name}` | {_words(one.status)} | {'none' if one.substatus is None else _words(one.substatus)} |"
        for one in STATES
    ]
    ways: dict[tuple[str, str], list[Transition]] = {}
    for one in TRANSITIONS:
        ways.setdefault((one.by, one.when), []).append(one)
    changes = [
        f"| {by} | {_named([one.before for one in some])} | {_named([one.after for one in some])} | {when} |"
        for (by, when), some in ways.items()
    ]
    priorities = [
        f"| {'any state' if one.before is None else f'`{one.before}`'} | `{one.after}` "
        f"| {'any' if one.priority is None else one.priority.name.lower()} "
        f"| {'the initial one' if one.becomes is None else one.becomes.name.lower()} |"
        for one in PRIORITY_CHANGES
    ]
    parts = [
        "States, and their codes:",
        "\n".join(["| state | status | substatus |", "|---|---|---|", *states]),
        "Who changes what (no change leads from a state to itself):",
        "\n".join(["| by | from | to | when |", "|---|---|---|---|", *changes]),
        "The same as a diagram, without what the platform may do:",
        f"```mermaid\n{diagram()}```",
        f"Priorities are {', '.join(_words(one) for one in Priority)}. Unless a user has set it, a priority changes "
        "where an issue comes into a state:",
        "\n".join(["| from | to | priority | becomes |", "|---|---|---|---|", *priorities]),
    ]
    return "\n\n".join(parts) + "\n"


def _words(code: IntEnum) -> str:
    return f"{code.name.lower().replace('_', ' ')} {int(code)}"


def _named(names: Sequence[str | None]) -> str:
    """Names of states, each once; groups where all of a group are among them."""
    left, words = dict.fromkeys(name or "no issue yet" for name in names), []
    if len(left) == len(_NAMES) - 1:
        return f"any state but {', '.join(f'`{name}`' for name in _NAMES if name not in left)}"
    for group, members in _GROUPS.values():
        if left.keys() >= set(members):
            words.append(group)
            left = dict.fromkeys(name for name in left if name not in members)
    return ", ".join([*words, *(f"`{name}`" if name in _NAMES else name for name in left)])
