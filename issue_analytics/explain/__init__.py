"""Why an hour of a group fired, or did not, and what would change the answer."""

from issue_analytics.explain.explanation import Explanation
from issue_analytics.explain.flips import Flip
from issue_analytics.explain.one import explain
from issue_analytics.explain.reasons import Reason
from issue_analytics.explain.week import Half, Terms

__all__ = ["Explanation", "Flip", "Half", "Reason", "Terms", "explain"]
