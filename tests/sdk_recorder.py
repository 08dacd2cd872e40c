"""What the real ``sentry-sdk`` sends, recorded in files, and what a reader has to find in them.

The SDK runs in a process of its own, with a transport that keeps what it is given; there, any use of the network is an
error. Its envelopes name no project (that is in the address they are sent to), only an organization.
"""

import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ATTACHMENT = b'\x00binary\n{"type":"event"}\n\n\xff\n'
HOSTILE = '<b>"thé" \\ 🔥\n=1+1</b>\x1b[31m'


def record(folder: Path, project_id: int = 101) -> list[tuple[Path, dict[str, Any] | None]]:
    """Record a few events as envelopes, and once more each as its payload alone.

    Returns (path, expected) by path: ``NN-<group>.envelope`` as it would have been sent, ``NN-<group>.json`` the event
    in it. ``expected`` is None where there is no event (a session), else it has ``event_id``, ``level``, ``between``
    (two epoch floats), ``fingerprint`` (None where none was set), ``type``, ``value`` and ``function`` (of the last
    exception and the innermost frame of the application; None for messages), ``message`` (None for exceptions), and
    ``group``, a label that those events share which a reader must put in one group.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SENTRY_")}
    command = [sys.executable, __file__, str(folder), str(project_id)]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise AssertionError(done.stderr)
    return [(folder / name, expected) for name, expected in json.loads(done.stdout)]


# --- the recorded application ----------------------------------------------------------------------------------------


def take_order(coupon: str) -> None:
    {}[coupon]


def parse_order(text: str) -> Any:
    return json.loads(text)  # fails inside the standard library


def open_export(path: str) -> None:
    import click

    click.Path(exists=True).convert(path, None, None)  # fails inside an installed library


def charge() -> None:
    try:
        take_order("gift")
    except KeyError as error:
        raise RuntimeError("no such coupon") from error


def _record(folder: Path, project_id: int) -> list[tuple[str, dict[str, Any] | None]]:
    import sentry_sdk
    from sentry_sdk.envelope import Envelope
    from sentry_sdk.transport import Transport

    def refuse(name: str, _: tuple[Any, ...]) -> None:
        if name in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
            raise AssertionError(f"the recorder must not use the network: {name}")

    sys.addaudithook(refuse)
    sent: list[Envelope] = []

    class Recorder(Transport):
        def capture_envelope(self, envelope: Envelope) -> None:
            sent.append(envelope)

    sentry_sdk.init(
        dsn=f"https://public@o1.ingest.invalid/{project_id}",
        transport=Recorder,
        release="shop@1.2.3",
        environment="production",
        server_name="web-1",
        project_root=str(Path(__file__).parent),
        auto_enabling_integrations=False,
    )

    def caught(call: Callable[..., Any], *arguments: Any) -> None:
        try:
            call(*arguments)
        except Exception:  # whatever it is, it is recorded
            sentry_sdk.capture_exception()

    def in_scope(call: Callable[..., Any], *arguments: Any, fingerprint: list[str] | None = None) -> None:
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("stage", "canary")
            if fingerprint is None:
                scope.add_attachment(bytes=ATTACHMENT, filename="order.bin")
            else:
                scope.fingerprint = fingerprint
            call(*arguments)

    def session() -> None:
        scope = sentry_sdk.get_isolation_scope()
        scope.start_session()
        scope.end_session()

    def say(text: str) -> None:
        sentry_sdk.capture_message(text, level="warning")

    log = logging.getLogger("shop")
    log.addHandler(logging.NullHandler())
    log.propagate = False
    by_error: dict[str, Any] = {"level": "error", "fingerprint": None, "message": None}
    by_text: dict[str, Any] = {"fingerprint": None, "type": None, "value": None, "function": None}
    coupon = {**by_error, "group": "coupon", "type": "KeyError", "function": "take_order"}
    chosen = {"group": "gateway", "fingerprint": ["payment-gateway", "eu"]}
    scenes: list[tuple[Callable[[], None], dict[str, Any] | None]] = [
        (lambda: caught(take_order, "summer"), {**coupon, "value": "'summer'"}),
        (lambda: caught(take_order, "winter"), {**coupon, "value": "'winter'"}),
        (
            lambda: caught(parse_order, "{"),
            {
                **by_error,
                "group": "parse",
                "type": "JSONDecodeError",
                "value": "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
                "function": "parse_order",
            },
        ),
        (
            lambda: caught(open_export, "/nowhere"),
            {
                **by_error,
                "group": "export",
                "type": "BadParameter",
                "value": "Path '/nowhere' does not exist.",
                "function": "open_export",
            },
        ),
        (
            lambda: caught(charge),
            {**by_error, "group": "charge", "type": "RuntimeError", "value": "no such coupon", "function": "charge"},
        ),
        (lambda: say(HOSTILE), {**by_text, "group": "hostile", "level": "warning", "message": HOSTILE}),
        (
            lambda: log.error("Order %s failed", 7),
            {**by_text, "group": "order", "level": "error", "message": "Order 7 failed"},
        ),
        (
            lambda: in_scope(caught, take_order, "x", fingerprint=["payment-gateway", "eu"]),
            {**coupon, "value": "'x'", **chosen},
        ),
        (
            lambda: in_scope(say, "the gateway is slow", fingerprint=["payment-gateway", "eu"]),
            {**by_text, "level": "warning", "message": "the gateway is slow", **chosen},
        ),
        (
            lambda: in_scope(caught, take_order, "y", fingerprint=["{{ default }}"]),
            {**coupon, "value": "'y'", "fingerprint": ["{{ default }}"]},
        ),
        (lambda: in_scope(caught, take_order, "z"), {**coupon, "value": "'z'"}),
        (session, None),
    ]
    recorded: list[tuple[str, dict[str, Any] | None]] = []
    for number, (scene, expected) in enumerate(scenes):
        sent.clear()
        before = time.time()
        scene()
        sentry_sdk.flush()  # sessions are sent now, not when their minute is over
        (envelope,) = sent
        name = f"{number:02}-{expected['group'] if expected else 'session'}"
        if expected is not None:
            expected |= {"event_id": sentry_sdk.last_event_id(), "between": [before, time.time()]}
        (folder / f"{name}.envelope").write_bytes(envelope.serialize())
        recorded.append((f"{name}.envelope", expected))
        if expected is not None:
            (event,) = (item for item in envelope.items if item.type == "event")
            (folder / f"{name}.json").write_bytes(event.get_bytes() + b"\n")
            recorded.append((f"{name}.json", expected))
    sentry_sdk.get_client().close()
    try:
        socket.create_connection(("127.0.0.1", 9))
    except AssertionError:
        return recorded
    raise AssertionError("the network was not watched")


if __name__ == "__main__":
    print(json.dumps(_record(Path(sys.argv[1]), int(sys.argv[2]))))
