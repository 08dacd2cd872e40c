"""The topic ``events``: errors as ``[2, "insert", event, groups]``, and messages that merge, unmerge and delete groups.

An error has no occurrence apart from its event, so the event's id is that of the occurrence and its type is 1.
``detected_at`` is the event's ``datetime``, the client's clock, of which the tracker's hourly counts are made;
``received_at`` is the server's. The fingerprint is ``primary_hash``, which picks the group.

All other messages are corrections, under the message's own word: one for each group that lost or gained events, or for
each event that was removed or moved.
"""

from typing import Final

from issue_analytics.exports.formats.form import Format, is_message
from issue_analytics.exports.formats.messages import open_message, quick_messages

__all__ = ["FORMAT"]

FORMAT: Final = Format("error_events", is_message, open=open_message, quick=quick_messages)
