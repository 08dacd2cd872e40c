"""Every exception the package raises on purpose; each says what was found and what to do.

All derive from :class:`IssueAnalyticsError`, a ``ValueError``, so one ``except`` catches what a user can mend.
Anything else that escapes is a bug of ours.
"""

__all__ = [
    "ConflictError",
    "DatasetError",
    "ExportError",
    "FrameError",
    "IssueAnalyticsError",
    "SettingsError",
]


class IssueAnalyticsError(ValueError):
    """Base of all errors raised on purpose; the message is fit to be shown to a user as it is."""


class ExportError(IssueAnalyticsError):
    """An export as a whole cannot be read: no such file, truncated, binary, of no known format."""


class FrameError(IssueAnalyticsError):
    """A frame or a record breaks its contract: a column or field is missing, of another type, or holds nonsense."""


class SettingsError(IssueAnalyticsError):
    """A setting makes no sense: thresholds, a policy, an ``as_of`` without a zone or inside an hour."""


class DatasetError(IssueAnalyticsError):
    """A dataset or run folder is missing, incomplete, busy, or was written by a newer version."""


class ConflictError(IssueAnalyticsError):
    """An issue in a store is not as it was when it was looked at: somebody changed, or made, it meanwhile."""
