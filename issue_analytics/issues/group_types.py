"""The registry of group types: what the number in an occurrence's ``type`` stands for.

As the tracker had it in 2026. The registry is open: trackers add types all the time, and plugins have their own, so an
unknown number is a group type too, one of which nothing else is known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final

__all__ = ["GROUP_TYPES", "GroupCategory", "GroupType", "group_type", "group_type_by_slug"]


class GroupCategory(IntEnum):
    """Categories as the tracker numbers them; the registry and the REST API name them in lower case.

    Numbers up to 9 are the old taxonomy, which the later ones replaced but for ``ERROR``, ``FEEDBACK`` and
    ``TEST_NOTIFICATION``.

    >>> GroupCategory[group_type(4001).category.upper()]
    <GroupCategory.OUTAGE: 10>
    """

    ERROR = 1
    PERFORMANCE = 2
    PROFILE = 3
    CRON = 4
    REPLAY = 5
    FEEDBACK = 6
    UPTIME = 7
    METRIC_ALERT = 8
    TEST_NOTIFICATION = 9
    OUTAGE = 10
    METRIC = 11
    DB_QUERY = 12
    HTTP_CLIENT = 13
    FRONTEND = 14
    MOBILE = 15
    AI_DETECTED = 16
    PREPROD = 17
    INSTRUMENTATION = 18
    CONFIGURATION = 19


@dataclass(frozen=True, slots=True)
class GroupType:
    """A type of group. ``pl.DataFrame(GROUP_TYPES)`` is the registry as a frame, to join on ``type``.

    Attributes:
        id: the number in an occurrence's ``type``.
        slug: its name in the REST API (``issueType``); None where it is not known.
        description: its name for people; None where it is not known.
        category: its present category; None where it has none (it was removed or never released) or is unknown.
        old_category: its category in the old taxonomy; None where it is younger, or unknown.
        default_priority: of its groups where the occurrence says none: 25 low, 50 medium, 75 high; None if unknown.
        escalates: whether the tracker makes limits for its groups; None if unknown. Of feedback, which does not, older
            versions did.
    """

    id: int
    slug: str | None = None
    description: str | None = None
    category: str | None = None
    old_category: str | None = None
    default_priority: int | None = None
    escalates: bool | None = None


_LOW, _MEDIUM, _HIGH = 25, 50, 75

GROUP_TYPES: Final = (
    GroupType(1, "error", "Error", "error", "error", _MEDIUM, True),
    GroupType(1001, "performance_slow_db_query", "Slow DB Query", "db_query", "performance", _LOW, True),
    GroupType(
        1004,
        "performance_render_blocking_asset_span",
        "Large Render Blocking Asset",
        "frontend",
        "performance",
        _LOW,
        True,
    ),
    GroupType(1006, "performance_n_plus_one_db_queries", "N+1 Query", "db_query", "performance", _LOW, True),
    GroupType(
        1007, "performance_consecutive_db_queries", "Consecutive DB Queries", "db_query", "performance", _LOW, True
    ),
    GroupType(1008, "performance_file_io_main_thread", "File IO on Main Thread", "mobile", "performance", _LOW, True),
    GroupType(1009, "performance_consecutive_http", "Consecutive HTTP", "http_client", "performance", _LOW, True),
    GroupType(1010, "performance_n_plus_one_api_calls", "N+1 API Call", "http_client", "performance", _LOW, True),
    GroupType(1011, "performance_m_n_plus_one_db_queries", "MN+1 Query", "db_query", "performance", _LOW, True),
    GroupType(1012, "performance_uncompressed_assets", "Uncompressed Asset", "frontend", "performance", _LOW, True),
    GroupType(1013, "performance_db_main_thread", "DB on Main Thread", "mobile", "performance", _LOW, True),
    GroupType(1015, "performance_large_http_payload", "Large HTTP payload", "http_client", "performance", _LOW, True),
    GroupType(1016, "performance_http_overhead", "HTTP/1.1 Overhead", "http_client", "performance", _LOW, True),
    GroupType(
        1017, "performance_duration_regression", "Transaction Duration Regression", None, "performance", _LOW, False
    ),
    GroupType(
        1018, "performance_p95_endpoint_regression", "Endpoint Regression", "metric", "performance", _MEDIUM, False
    ),
    GroupType(1019, "performance_streamed_spans_exp", "Streamed Spans", "metric", "performance", _LOW, False),
    GroupType(
        1020,
        "db_query_injection_vulnerability",
        "Potential Database Query Injection",
        "db_query",
        "performance",
        _MEDIUM,
        False,
    ),
    GroupType(
        1021, "query_injection_vulnerability", "Potential Query Injection", "db_query", "performance", _MEDIUM, False
    ),
    # tried out, never released
    GroupType(1906, "performance_n_plus_one_db_queries_experimental", None, None, None, _LOW, True),
    GroupType(1910, "performance_n_plus_one_api_calls_experimental", None, None, None, _LOW, True),
    GroupType(1911, "performance_m_n_plus_one_db_queries_experimental", None, None, None, _LOW, True),
    GroupType(2001, "profile_file_io_main_thread", "File I/O on Main Thread", "mobile", "performance", _LOW, True),
    GroupType(
        2002, "profile_image_decode_main_thread", "Image Decoding on Main Thread", "mobile", "performance", _LOW, True
    ),
    GroupType(
        2003, "profile_json_decode_main_thread", "JSON Decoding on Main Thread", "mobile", "performance", _LOW, True
    ),
    # four experiments on profiles, removed; their slugs are not on record
    GroupType(2004, None, None, None, "performance", _LOW, True),
    GroupType(2006, None, None, None, "performance", _LOW, True),
    GroupType(2007, "profile_regex_main_thread", "Regex on Main Thread", "mobile", "performance", _LOW, True),
    GroupType(2008, None, None, None, "performance", _LOW, True),
    GroupType(2009, "profile_frame_drop", "Frame Drop", "mobile", "performance", _LOW, True),
    GroupType(2010, None, None, None, "performance", _LOW, True),
    GroupType(2011, "profile_function_regression", "Function Regression", "metric", "performance", _MEDIUM, True),
    GroupType(3501, "llm_detected_experimental", "LLM Detected Issue", "ai_detected", None, _MEDIUM, False),
    GroupType(3502, "llm_detected_experimental_v2", "LLM Detected Issue", "ai_detected", None, _MEDIUM, False),
    GroupType(4001, "monitor_check_in_failure", "Crons Monitor Failed", "outage", "cron", _HIGH, True),
    # timeout and missed check-in before 4001 took them in
    GroupType(4002, None, None, None, "cron", _HIGH, True),
    GroupType(4003, None, None, None, "cron", _HIGH, True),
    GroupType(5001, "replay_click_dead", "Dead Click", None, "replay", _MEDIUM, True),
    GroupType(5002, "replay_click_rage", "Rage Click Detected", "frontend", "replay", _MEDIUM, True),
    GroupType(5003, "replay_hydration_error", "Hydration Error Detected", "frontend", "replay", _MEDIUM, True),
    GroupType(6001, "feedback", "Feedback", "feedback", "feedback", _MEDIUM, False),
    GroupType(7001, "uptime_domain_failure", "Uptime Domain Monitor Failure", "outage", "uptime", _HIGH, False),
    GroupType(8001, "metric_issue", "Metric issue triggered", "metric", "metric_alert", _HIGH, False),
    GroupType(8002, "metric_issue_poc", None, None, "metric_alert", _HIGH, False),
    GroupType(
        9001,
        "send-test-notification",  # hyphens, unlike all others
        "Send test notification",
        "test_notification",
        "test_notification",
        _MEDIUM,
        False,
    ),
    GroupType(9100, "gpu_crash", "GPU Crash", "outage", None, _HIGH, False),
    GroupType(10001, "web_vitals", "Web Vitals", "frontend", "performance", _MEDIUM, False),
    GroupType(11001, "preprod_static", "Static Analysis", "preprod", None, _LOW, False),
    GroupType(11002, "preprod_delta", "Delta", "preprod", None, _LOW, False),
    GroupType(11003, "preprod_size_analysis", "Size Analysis", "preprod", None, _LOW, False),
    GroupType(
        12001, "instrumentation_issue_experimental", "Instrumentation Issue", "instrumentation", None, _LOW, False
    ),
    GroupType(13001, "sourcemap_configuration", "Source Map Configuration Issue", "configuration", None, _LOW, False),
)
"""Every group type on record, by id."""

_BY_ID: Final[Mapping[int, GroupType]] = MappingProxyType({kind.id: kind for kind in GROUP_TYPES})
_BY_SLUG: Final[Mapping[str, GroupType]] = MappingProxyType({kind.slug: kind for kind in GROUP_TYPES if kind.slug})


def group_type(type_id: int) -> GroupType:
    """Return the group type of this number; of an unknown one nothing but the number is known.

    >>> group_type(7001).escalates
    False
    >>> group_type(424242)
    GroupType(id=424242, slug=None, description=None, category=None, old_category=None, default_priority=None,
              escalates=None)
    """
    return _BY_ID.get(type_id) or GroupType(type_id)


def group_type_by_slug(slug: str) -> GroupType | None:
    """Return the group type of this name; None where the registry has none: a name does not tell the number.

    >>> group_type_by_slug("monitor_check_in_failure").id
    4001
    >>> group_type_by_slug("no_such_type") is None
    True
    """
    return _BY_SLUG.get(slug)
