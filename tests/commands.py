"""The command line in a process of its own that stays, so that it need not load anew for every command.

A command has its own arguments, folder, environment and files to read and write, as if it had been started for itself.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

STREAMS = ("stdin", "stdout", "stderr")


class Shell:
    """The process, started with the first command and again if one ended it."""

    def __init__(self):
        self.process = None
        atexit.register(self.close)

    def run(self, arguments, *, cwd, env, answer=""):
        """Run one command to its end: as ``subprocess.run`` does, captured and as text."""
        if self.process is None or self.process.poll() is not None:
            self.close()
            command = [sys.executable, __file__]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with tempfile.TemporaryDirectory() as folder:
            paths = {name: str(Path(folder) / name) for name in STREAMS}
            Path(paths["stdin"]).write_text(answer)
            request = {"arguments": [str(one) for one in arguments], "cwd": str(cwd), "env": dict(env), **paths}
            print(json.dumps(request), file=self.process.stdin, flush=True)
            told = self.process.stdout.readline()
            # without an answer the command has ended its process
            code = int(told) if told else self.process.wait()
            out, err = (Path(paths[name]).read_text() for name in STREAMS[1:])
        return subprocess.CompletedProcess(request["arguments"], code, out, err)

    def close(self):
        if self.process is not None:
            with self.process:  # which closes its input, and so ends it
                self.process = None


def serve():
    """Run each command that is asked for, as the entry point of the command line does."""
    from issue_analytics.cli import main

    asked, told = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    for line in asked:
        request = json.loads(line)
        for number, name in enumerate(STREAMS):
            mode = "r" if name == "stdin" else "w"
            with Path(request[name]).open(mode) as opened:
                os.dup2(opened.fileno(), number)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        sys.argv = ["issue-analytics", *request["arguments"]]
        try:
            main()
            code = 0
        except SystemExit as done:
            code = done.code if isinstance(done.code, int) else 0 if done.code is None else 1
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        print(code, file=told, flush=True)


if __name__ == "__main__":
    serve()
