import re

import polars as pl
import pytest

from issue_analytics.issues import GROUP_TYPES, GroupCategory, GroupType, group_type, group_type_by_slug
from issue_analytics.simulate.texts import TYPES


@pytest.mark.parametrize("kind", GROUP_TYPES, ids=lambda kind: str(kind.id))
def test_every_group_type_is_found_and_makes_sense(kind):
    assert group_type(kind.id) is kind
    names = {category.name.lower() for category in GroupCategory}
    assert {kind.category, kind.old_category} - {None} <= names
    assert kind.default_priority in (25, 50, 75)
    assert isinstance(kind.escalates, bool)
    if kind.slug is not None:
        assert group_type_by_slug(kind.slug) is kind
        assert re.fullmatch(r"[a-z0-9_]+|send-test-notification", kind.slug)
    if kind.old_category is not None:
        assert GroupCategory[kind.old_category.upper()] <= GroupCategory.TEST_NOTIFICATION


def test_the_registry_is_in_order_and_names_nothing_twice():
    numbers = [kind.id for kind in GROUP_TYPES]
    slugs = [kind.slug for kind in GROUP_TYPES if kind.slug]
    assert numbers == sorted(set(numbers))
    assert len(slugs) == len(set(slugs))
    assert len(numbers) == 51


@pytest.mark.parametrize("number", [0, 2, 1002, 1003, 1005, 1014, 2000, 2005, 424242, -1, 2**70])
def test_an_unknown_number_is_a_group_type_too(number):
    kind = group_type(number)
    assert kind == GroupType(number)
    assert (kind.id, kind.category, kind.escalates, kind.default_priority, kind.slug) == (
        number,
        None,
        None,
        None,
        None,
    )


def test_an_unknown_name_has_no_number():
    assert group_type_by_slug("performance_novel") is None
    assert group_type_by_slug("") is None


@pytest.mark.parametrize(
    ("number", "slug", "category", "old_category", "priority", "escalates"),
    [
        (1, "error", "error", "error", 50, True),
        (1006, "performance_n_plus_one_db_queries", "db_query", "performance", 25, True),
        (1018, "performance_p95_endpoint_regression", "metric", "performance", 50, False),
        (1910, "performance_n_plus_one_api_calls_experimental", None, None, 25, True),
        (2004, None, None, "performance", 25, True),
        (2011, "profile_function_regression", "metric", "performance", 50, True),
        (4001, "monitor_check_in_failure", "outage", "cron", 75, True),
        (5001, "replay_click_dead", None, "replay", 50, True),
        (6001, "feedback", "feedback", "feedback", 50, False),
        (8001, "metric_issue", "metric", "metric_alert", 75, False),
        (9001, "send-test-notification", "test_notification", "test_notification", 50, False),
        (9100, "gpu_crash", "outage", None, 75, False),
        (11003, "preprod_size_analysis", "preprod", None, 25, False),
    ],
)
def test_some_group_types_as_recorded(number, slug, category, old_category, priority, escalates):
    kind = group_type(number)
    assert (kind.slug, kind.category, kind.old_category) == (slug, category, old_category)
    assert (kind.default_priority, kind.escalates) == (priority, escalates)


def test_types_without_limits_are_these():
    without = [kind.id for kind in GROUP_TYPES if not kind.escalates]
    assert without == [
        1017, 1018, 1019, 1020, 1021, 3501, 3502, 6001, 7001, 8001, 8002, 9001, 9100, 10001, 11001, 11002, 11003, 12001,
        13001,
    ]  # fmt: skip


def test_categories_are_numbered_as_the_tracker_does():
    assert [category.value for category in GroupCategory] == list(range(1, 20))
    assert (GroupCategory.CRON, GroupCategory.OUTAGE, GroupCategory.CONFIGURATION) == (4, 10, 19)


def test_the_registry_joins_as_a_frame():
    frame = pl.DataFrame(GROUP_TYPES)
    types = pl.DataFrame({"type": [4001, None, 424242]})
    joined = types.join(frame, left_on="type", right_on="id", how="left", maintain_order="left")
    assert joined["category"].to_list() == ["outage", None, None]


def test_simulated_types_are_in_the_registry():
    for kind in TYPES:
        known = group_type(kind.id)
        assert known in GROUP_TYPES
        assert (kind.slug, kind.category, kind.priority, kind.escalates) == (
            known.slug,
            known.category,
            known.default_priority,
            known.escalates,
        )
