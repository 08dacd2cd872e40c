"""Events as the official Python SDK makes them: one JSON object per line, without project and without group.

Carries the occurrences of error groups, each as an event of its own: those of the week before half past the last hour
in which anything occurred, and of these the newest 20,000. A file holds the events of one project, since they do not
say it. A group can be told by the first part of the fingerprint, where there is one of its own, else by the type of the
last exception and the innermost frame of the application: every group has a function of its own. What many groups share
is there too: frames around it, of libraries and of the standard library, and the exception that was the cause.
"""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from issue_analytics.frames import KEY
from issue_analytics.simulate.plan import FIRST_GROUP
from issue_analytics.simulate.writers.lines import ISO_MICROS, errors, pack
from issue_analytics.simulate.writers.rest import exported_at, recent

if TYPE_CHECKING:
    from issue_analytics.simulate import Simulation

__all__ = ["DEFAULT", "sdk_events", "write"]

DEFAULT: Final = "{{ default }}"
"""The part of a fingerprint that stands for the server's own grouping."""

_VERSION: Final = "2.75.0"
_MODULES: Final = {"flask": "3.1.2", "psycopg": "3.3.1", "sentry-sdk": _VERSION}


def write(sim: "Simulation") -> Iterator[tuple[str, bytes]]:
    """Yield ``sdk-events-<project id>.jsonl.gz``, each in the order of time."""
    for (project_id,), events in sdk_events(sim).group_by("project_id", maintain_order=True):
        yield f"sdk-events-{project_id}.jsonl.gz", pack(events["payload"])


def sdk_events(sim: "Simulation") -> pl.DataFrame:
    """Events by project and time; one row is an event: project_id, group_id, event_id, detected_at and ``payload``.

    Half of the stamps are text, half are seconds; half of the tags are an object, half are pairs.
    """
    recently = recent(errors(sim), exported_at(sim)).sort("project_id", maintain_order=True)
    groups = sim.groups.join(recently, on=KEY, how="semi", maintain_order="left")
    shared = groups.select(KEY).with_columns(
        rest=pl.Series([_rest(group) for group in groups.iter_rows(named=True)], dtype=pl.String),
        environment=pl.Series([_environment(group_id) for group_id in groups["group_id"]], dtype=pl.String),
    )
    milliseconds = pl.col("detected_at").dt.epoch("ms")
    seconds = pl.concat_str(milliseconds // 1000, pl.lit("."), (milliseconds % 1000).cast(pl.String).str.zfill(3))
    text = pl.concat_str(pl.lit('"'), pl.col("detected_at").dt.strftime(ISO_MICROS), pl.lit('"'))
    number = pl.int_range(pl.len())
    environment = pl.col("environment")
    return (
        recently.select(*KEY, "event_id", "detected_at")
        .join(shared, on=KEY, how="left", maintain_order="left")
        .select(
            *KEY,
            "event_id",
            "detected_at",
            payload=pl.concat_str(
                pl.lit('{"event_id":"'),
                "event_id",
                pl.lit('","timestamp":'),
                pl.when(number % 2 == 0).then(text).otherwise(seconds),
                pl.when(number % 4 < 2)
                .then(pl.concat_str(pl.lit(',"tags":{"stage":"'), environment, pl.lit('","retries":"0"}')))
                .otherwise(pl.concat_str(pl.lit(',"tags":[["stage","'), environment, pl.lit('"],["retries","0"]]'))),
                "rest",
            ),
        )
    )


def _environment(group_id: int) -> str:
    return "staging" if group_id % 7 == 0 else "production"


def _rest(group: dict[str, Any]) -> str:
    """What the events of a group have in common, as JSON without what is before: it begins with a comma."""
    group_id = group["group_id"]
    module, _, function = group["culprit"].partition(" in ")
    event: dict[str, Any] = {"level": group["level"]}
    if named := re.fullmatch(r"([A-Za-z_][\w.]*): (.*)", group["title"], re.DOTALL):
        event["exception"] = {"values": _exceptions(group_id, module, f"{function}_{group_id}", *named.groups())}
    elif group_id // 4 % 2 == 0:
        event["message"] = group["title"]
    else:
        event |= {"logger": module, "logentry": {"message": group["title"], "formatted": group["title"], "params": []}}
    if fingerprint := _fingerprint(group, is_message=named is None):
        event["fingerprint"] = fingerprint
    event |= {
        "transaction": group["culprit"],
        "transaction_info": {},
        "contexts": {
            "trace": {"trace_id": f"{group_id:032x}", "span_id": f"{group_id:016x}", "parent_span_id": None},
            "runtime": {"name": "CPython", "version": "3.11.2", "build": "3.11.2 (main)"},
        },
        "breadcrumbs": {"values": []},
        "extra": {"sys.argv": ["/srv/app/main.py"], "customer": "Zoë"},
        "modules": _MODULES,
        "release": "shop@1.2.3",
        "environment": _environment(group_id),
        "server_name": "web-1",
        "sdk": {
            "name": "sentry.python.flask",
            "version": _VERSION,
            "packages": [{"name": "pypi:sentry-sdk", "version": _VERSION}],
            "integrations": ["argv", "atexit", "dedupe", "excepthook", "flask", "logging", "modules", "stdlib"],
        },
        "platform": "python",
    }
    # the Python SDK sends ASCII only, others send letters as they are: a length in characters is not one in bytes
    return "," + json.dumps(event, ensure_ascii=group_id % 3 != 0, separators=(",", ":"))[1:]


def _fingerprint(group: dict[str, Any], *, is_message: bool) -> list[str] | None:
    """As the application set it: of its own, the server's, or the server's and something more; most set none.

    Parts are as written; the tracker stores their MD5, which is what the simulation's fingerprints are. A message has
    neither type nor frame to be told by, so it always has one.
    """
    number = group["group_id"] - FIRST_GROUP
    if is_message or number % 5 == 0:
        return [f"simulated-{group['project_id']}-{number}", "v2"][: len(group["fingerprint"])]
    return {1: [DEFAULT], 2: [DEFAULT, _environment(group["group_id"])]}.get(number % 5)


def _exceptions(group_id: int, module: str, function: str, type_: str, value: str) -> list[dict[str, Any]]:
    """What was raised, the last one last; every third was raised while another one was handled."""
    frames = [
        _frame("main", "serve", 12, in_app=True),
        _frame("flask.app", "dispatch_request", 919, in_app=False),
        _frame(module, function, 20 + group_id % 300, in_app=True),
    ]
    if group_id % 2 == 0:
        # it came out of a library, and there out of the standard library, whose frames the SDK does not mark at all
        frames += [_frame("psycopg.cursor", "execute", 117, in_app=False), _frame("json.decoder", "decode", 337)]
    last = _exception(type_, value, None if "." not in type_ else type_.rpartition(".")[0], frames)
    if group_id % 3:
        return [last]
    cause = [_frame("main", "serve", 12, in_app=True), _frame("app.database", "connect", 8, in_app=True)]
    return [_exception("OSError", "[Errno 104] Connection reset by peer", None, cause), last]


def _exception(type_: str, value: str, module: str | None, frames: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "mechanism": {"type": "generic", "handled": True},
        "module": module,
        "type": type_,
        "value": value,
        "stacktrace": {"frames": frames},
    }


def _frame(module: str, function: str, line: int, *, in_app: bool | None = None) -> dict[str, Any]:
    filename = module.replace(".", "/") + ".py"
    folder = {True: "/srv/app", False: "/srv/venv/lib/python3.11/site-packages", None: "/usr/lib/python3.11"}[in_app]
    frame: dict[str, Any] = {
        "filename": filename,
        "abs_path": f"{folder}/{filename}",
        "function": function,
        "module": module,
        "lineno": line,
        "pre_context": [],
        "context_line": f"    return {function}(request)",
        "post_context": [],
        "vars": {"request": "<Request>"},
    }
    return frame if in_app is None else frame | {"in_app": in_app}
