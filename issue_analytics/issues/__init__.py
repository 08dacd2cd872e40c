"""The tracker's own nouns: the record of an occurrence with its evidence, and the registry of group types.

The half of the package that knows single issues. Everything else works on frames of many: a record gives its row with
:meth:`IssueOccurrence.to_row`, and ``read_occurrences`` gives the same rows for a file of such records.
"""

from issue_analytics.issues.group_types import GROUP_TYPES, GroupCategory, GroupType, group_type, group_type_by_slug
from issue_analytics.issues.lifecycle import (
    PRIORITY_CHANGES,
    STATES,
    TRANSITIONS,
    Priority,
    State,
    Status,
    Substatus,
    Transition,
)
from issue_analytics.issues.ongoing import due_for_ongoing, transition_to_ongoing
from issue_analytics.issues.records import IssueEvidence, IssueOccurrence, occurrences_by_event
from issue_analytics.issues.service import IssueService, issue_service
from issue_analytics.issues.store import Issue, Store, open_store

__all__ = [
    "GROUP_TYPES",
    "PRIORITY_CHANGES",
    "STATES",
    "TRANSITIONS",
    "GroupCategory",
    "GroupType",
    "Issue",
    "IssueEvidence",
    "IssueOccurrence",
    "IssueService",
    "Priority",
    "State",
    "Status",
    "Store",
    "Substatus",
    "Transition",
    "due_for_ongoing",
    "group_type",
    "group_type_by_slug",
    "issue_service",
    "occurrences_by_event",
    "open_store",
    "transition_to_ongoing",
]
