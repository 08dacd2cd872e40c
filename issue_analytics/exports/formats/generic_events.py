"""The topic ``generic-events``: occurrences of the issue platform with their events, ``[2, "insert", event, groups]``.

``detected_at`` is the event's own ``datetime``, which is the client's clock: the tracker's hourly counts, and so its
limits, are made of it, and not of ``detection_time`` or of when the server got the event (``received_at``). The project
is the event's: the one in ``occurrence_data`` may be another.
"""

from typing import Any, Final

from issue_analytics.exports.formats.form import Format, is_message
from issue_analytics.exports.formats.messages import is_occurrence, open_message, quick_messages

__all__ = ["FORMAT"]


def _knows(record: Any) -> bool:
    return is_message(record) and record[1] == "insert" and is_occurrence(record[2])


FORMAT: Final = Format("generic_events", _knows, open=open_message, quick=quick_messages, holds=is_message)
