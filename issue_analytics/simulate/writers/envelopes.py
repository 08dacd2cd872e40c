"""The events of :mod:`issue_analytics.simulate.writers.sdk_events` in envelopes, one after another in one file.

Carries what that carries, and the project of each event in the ``dsn`` of its envelope. Between and beside the events
lies what else SDKs send: attachments with line breaks, and lines in them that look like headers, sessions (whose
envelopes have an empty header), client reports and transactions. Some items do not say their length, which then goes to
the end of the line; some envelopes are followed by an empty line.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from issue_analytics.simulate.writers.lines import ISO_MICROS
from issue_analytics.simulate.writers.rest import compact
from issue_analytics.simulate.writers.sdk_events import sdk_events

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["write"]

_ATTACHMENT: Final = b'\x89PNG\r\n\x1a\n\x00\xff\xfe\n{"type":"event","length":2}\n{}\n\n{"event_id":"0"}\n'
"""Nothing in it is to be read: it ends after as many bytes as its header says."""

_JSON: Final = {"content_type": "application/json"}


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``events.envelope.gz``, events in the order of time."""
    events = sdk_events(sim).sort("detected_at", maintain_order=True)
    sent = (pl.col("detected_at") + timedelta(milliseconds=1250)).dt.strftime(ISO_MICROS)
    rows = events.select("event_id", "project_id", sent, pl.col("payload").cast(pl.Binary))
    yield (
        "events.envelope.gz",
        b"".join(part for number, row in enumerate(rows.iter_rows()) for part in _sent(number, *row)),
    )


def _sent(number: int, event_id: str, project_id: int, sent_at: str, payload: bytes) -> Iterator[bytes]:
    """The envelope of an event, and what is sent before it; which is a matter of the event's number."""
    here = {"sent_at": sent_at, "dsn": f"https://public@o1.ingest.example.com/{project_id}"}
    if number % 11 == 0:
        session = compact({"sid": f"{number:032x}", "init": True, "started": sent_at, "status": "exited", "errors": 0})
        yield b"{}\n" + _item("session", session)
    if number % 17 == 0:
        report = {
            "timestamp": sent_at,
            "discarded_events": [{"reason": "sample_rate", "category": "error", "quantity": 2}],
        }
        yield compact(here) + b"\n" + _item("client_report", compact(report))
    if number % 13 == 0:
        name = {"event_id": f"{number:032x}"}
        transaction = {
            **name,
            "type": "transaction",
            "transaction": "GET /",
            "timestamp": sent_at,
            "platform": "python",
        }
        yield compact({**name, **here}) + b"\n" + _item("transaction", compact(transaction))

    trace = {"trace_id": event_id, "environment": "production", "release": "shop@1.2.3", "public_key": "public"}
    yield compact({"event_id": event_id, **here, "trace": {**trace, "org_id": "1"}}) + b"\n"
    if number % 14 == 0:
        yield _attachment("before.png", _ATTACHMENT)
    yield _item("event", payload, says_length=number % 9 != 0)
    if number % 7 == 0:
        yield _attachment("after.png", _ATTACHMENT)
    if number % 35 == 0:
        yield _attachment("empty.txt", b"")
    if number % 10 == 0:
        yield b"\n"


def _item(type_: str, payload: bytes, *, says_length: bool = True, **header: Any) -> bytes:
    length = {"length": len(payload)} if says_length else {}
    return compact({"type": type_, **(header or _JSON), **length}) + b"\n" + payload + b"\n"


def _attachment(name: str, payload: bytes) -> bytes:
    return _item("attachment", payload, filename=name, content_type="application/octet-stream")
