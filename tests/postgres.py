"""A PostgreSQL server of the tests' own: on loopback, on a free port, in a folder that goes with it."""

import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
TRIES = 3


def binaries():
    """The folder of the newest server there is; None where there is none."""
    found = [path for place in PLACES for path in Path("/").glob(place.lstrip("/")) if (path / "initdb").exists()]
    found.sort(key=lambda path: [int(number) for number in re.findall(r"\d+", str(path))])
    if not found and (initdb := shutil.which("initdb")):
        found = [Path(initdb).resolve().parent]
    return found[-1] if found else None


class Server:
    """Start a server; ``url`` is that of its database, ``stop`` ends it and removes its folder."""

    def __init__(self):
        self.bin = binaries()
        if self.bin is None:
            raise FileNotFoundError(
                "no PostgreSQL server: run sh tools/postgres.sh; ISSUE_ANALYTICS_NO_POSTGRESQL=1 skips its tests"
            )
        # the server refuses to run as root, and its user could not enter a folder of pytest's
        self.folder = Path(tempfile.mkdtemp(prefix="issue-analytics-postgres-"))
        self.identity = {}
        if os.geteuid() == 0:
            user = next(name for name in ("postgres", "nobody") if name in {entry.pw_name for entry in pwd.getpwall()})
            entry = pwd.getpwnam(user)
            self.identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        password = secrets.token_hex(8)
        (self.folder / "password").write_text(password)
        self._own(self.folder, self.folder / "password")
        self._run("initdb", "-D", self.data, "-U", "tests", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C",
                  "--no-sync", "--pwfile", self.folder / "password")  # fmt: skip
        for left in reversed(range(TRIES)):
            port = _free_port()
            # nothing here outlives the tests: durability would only cost time
            options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c fsync=off"
            try:
                self._run(
                    "pg_ctl", "-D", self.data, "-w", "-t", "60", "-l", self.folder / "log", "-o", options, "start"
                )
                break
            except RuntimeError:  # somebody was quicker to take the port
                if not left:
                    raise
        self.url = f"postgresql://tests:{password}@127.0.0.1:{port}/postgres"

    @property
    def data(self):
        return self.folder / "data"

    def stop(self):
        try:
            self._run("pg_ctl", "-D", self.data, "-w", "-m", "immediate", "stop")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _own(self, *paths):
        if self.identity:
            for path in paths:
                os.chown(path, self.identity["user"], self.identity["group"])

    def _run(self, program, *arguments):
        # output goes to a file: the server inherits it, and a pipe would stay open as long as the server runs
        output = self.folder / f"{program}.out"
        with output.open("w") as stream:
            done = subprocess.run(
                [self.bin / program, *arguments], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                cwd=self.folder, env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}, **self.identity,
            )  # fmt: skip
        if done.returncode:
            log = self.folder / "log"
            told = output.read_text() + (log.read_text() if log.exists() else "")
            raise RuntimeError(f"{program} ended with {done.returncode}:\n{told}")


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
