"""The command `soundloom`: finds the command that was named, imports it alone, and turns errors into sentences.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 asked wrongly, 130 stopped by Ctrl-C,
128 and the signal's number when stopped by another.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TextIO

from soundloom.cli import streams
from soundloom.cli.logs import warnings_to_stderr
from soundloom.cli.signals import Stopped, stopping_by_signals
from soundloom.errors import RequestError, SoundloomError, shown
from soundloom.version import __version__

COMMANDS = {
    "generate": "make sound from words",
    "vary": "make a variation of a sound",
    "inpaint": "make regions of a sound anew",
    "extend": "continue a sound, or precede it",
    "edit": "edit music by words: only the drums, no piano",
    "encode": "turn a sound into latents (.npy)",
    "decode": "turn latents into a sound",
    "models": "list, fetch, describe and verify models",
    "convert": "write a model in another layout",
    "quantize": "write a model in fewer bits, and measure what that costs",
    "train": "make a model from a recipe, or teach one that exists",
    "show": "say how a sound was made",
    "bench": "measure seconds and memory on this machine",
    "eval": "measure how well a model does what it is asked",
    "doctor": "report what this machine has and what soundloom uses of it",
}
STOPPED = 130
DEBUG = "SOUNDLOOM_DEBUG"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code."""
    streams.prepare()
    with warnings_to_stderr(), stopping_by_signals():
        try:
            code = _run(sys.argv[1:] if arguments is None else list(arguments))
            sys.stdout.flush()
            return code
        except KeyboardInterrupt as stop:
            _complain("stopped; no unfinished file is left")
            return stop.exit_code if isinstance(stop, Stopped) else STOPPED
        except BrokenPipeError:
            streams.give_up("stdout")
            return 1
        except Exception as error:
            if os.environ.get(DEBUG):
                raise
            return _failed(error)


def _failed(error: Exception) -> int:
    """Say what went wrong in one sentence; return the exit code."""
    if isinstance(error, OSError) and not _flushes(sys.stdout):
        streams.give_up("stdout")
        error = SoundloomError(f"the results could not be printed: {error.strerror or error}")
    elif not isinstance(error, SoundloomError | OSError | MemoryError):
        what = f"{type(error).__name__}: {shown(str(error))}" if str(error) else type(error).__name__
        error = SoundloomError(f"soundloom came upon something unforeseen: {what}", f"{DEBUG}=1 shows where; report it")
    _complain(streams.error_text(error))
    return error.exit_code if isinstance(error, SoundloomError) else 1


def _flushes(stream: TextIO) -> bool:
    try:
        stream.flush()
    except (OSError, ValueError):
        return False
    return True


def _run(arguments: list[str]) -> int:
    name = arguments[0] if arguments else ""
    if not name:
        return _ask()
    if name in ("-h", "--help", "help"):
        sys.stdout.write(usage())
        return 0
    if name in ("-V", "--version"):
        sys.stdout.write(f"soundloom {__version__}\n")
        return 0
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, 2)
        guess = f"did you mean {' or '.join(close)}? " if close else ""
        raise RequestError(f"there is no command {shown(name)!r}", f"{guess}commands: {', '.join(COMMANDS)}")
    from soundloom.cli.flags import parse

    command = import_module(f"soundloom.cli.{name}")
    options = parse(command.Options, arguments[1:], f"soundloom {name}")
    return int(command.run(options) or 0) if options is not None else 0


def usage() -> str:
    """The text of `soundloom --help`."""
    lines = ["usage: soundloom COMMAND ...", "", "Text to sound, and sound edited with words.", ""]
    lines += [f"  {name:<10}{summary}" for name, summary in COMMANDS.items()]
    lines += ["", "`soundloom COMMAND --help` describes a command; without one, soundloom asks what to make."]
    return "\n".join(lines) + "\n"


def _ask() -> int:
    """Bare in a terminal: choose a model, say what to make."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise RequestError(
            "nothing was asked for, and there is no terminal to ask in",
            'say what to make: soundloom generate "kick drum loop, 120 BPM"; or see soundloom --help',
        )
    from soundloom.cli.generate import run
    from soundloom.cli.picker import ask

    run(ask())
    return 0


def _complain(message: str) -> None:
    try:
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()
    except OSError:
        streams.give_up("stderr")
