"""Run commands of soundloom in forked processes, and kill one at its n-th file-system event.

Started as a program it reads a line of JSON for each run and answers with one: importing the frameworks once makes a
run take a fraction of a second. Events are those that Python's audit hooks tell of and whose paths lie in the folder
of the run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

EVENTS = {"open", "os.rename", "os.mkdir", "os.link", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}


class KillServer:
    """Client of the server, for tests."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, folder: Path, *arguments: object, at: int = 0, signal: int = 0) -> tuple[int, int, str]:
        """Exit code (negative for a signal), number of events, and what was printed on stderr."""
        job = {"folder": str(folder), "arguments": list(map(str, arguments)), "at": at, "signal": signal}
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        done = json.loads(self._process.stdout.readline())
        return done["code"], done["events"], done["error"]

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def serve() -> None:
    import torch  # noqa: F401

    import soundloom.pipeline.stable_audio.model  # noqa: F401
    from soundloom.cli.main import main

    for line in sys.stdin:
        job = json.loads(line)
        errors = Path(job["folder"]).parent / "stderr.txt"
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            redirect(errors)
            os.chdir(job["folder"])
            events = Events(job["folder"], job["at"], job["signal"])
            sys.addaudithook(events.hear)
            code = main(job["arguments"])
            os.write(writing, str(events.count).encode())
            os._exit(code)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            count = int(pipe.read() or 0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answer = {"code": code, "events": count, "error": errors.read_text(errors="replace")}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def redirect(errors: Path) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)


class Events:
    """Count file-system events in a folder, and send this process a signal at the n-th."""

    def __init__(self, folder: str, at: int, signal: int) -> None:
        self.folder, self.at, self.signal, self.count = folder, at, signal, 0

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in EVENTS and arguments and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100 (a hook must not cause events itself)
            if path.startswith(self.folder):
                self.count += 1
                if self.count == self.at:
                    os.kill(os.getpid(), self.signal)


if __name__ == "__main__":
    serve()
