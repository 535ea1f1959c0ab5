"""Entry point of the command line: import the requested command, run it, and print errors.

Results go to stdout, everything else to stderr. Exit codes: 0 success, 1 failure, 2 invalid usage, 130 after Ctrl-C,
128 plus the signal's number after another signal.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TextIO

from soundloom.cli.commands import COMMANDS, actions_of, default_action, load_command, resolve
from soundloom.cli.options.old_spellings import with_current_spellings
from soundloom.cli.terminal import streams
from soundloom.cli.terminal.logs import warnings_to_stderr
from soundloom.cli.terminal.signals import Stopped, stopping_by_signals
from soundloom.errors import RequestError, SoundloomError, shown
from soundloom.version import __version__

STOPPED = 130
CLOSE = 0.75  # likeness of a word to an action, from which it is taken for one that is misspelled
MAX_QUOTED = 300  # characters of an argument that a message may quote in full
DEBUG = "SOUNDLOOM_DEBUG"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code."""
    streams.prepare()
    given = with_current_spellings(sys.argv[1:] if arguments is None else arguments)
    with warnings_to_stderr(), stopping_by_signals():
        try:
            code = _dispatch(given)
            sys.stdout.flush()
            return code
        except KeyboardInterrupt as stop:
            code = stop.exit_code if isinstance(stop, Stopped) else STOPPED
            return _fail(given, stop, "interrupted; no unfinished files remain", "", code)
        except BrokenPipeError:
            streams.give_up("stdout")
            return 1
        except Exception as error:
            if os.environ.get(DEBUG):
                raise
            return _handle(given, error)


def _handle(arguments: Sequence[str], error: Exception) -> int:
    """Print an exception as a message; return the exit code."""
    raised = error
    if isinstance(error, OSError) and not _flushes(sys.stdout):
        streams.give_up("stdout")
        error = SoundloomError(f"cannot write to stdout: {error.strerror or error}")
    elif not isinstance(error, SoundloomError | OSError | MemoryError):
        what = f"{type(error).__name__}: {shown(str(error))}" if str(error) else type(error).__name__
        error = SoundloomError(f"unexpected error: {what}", f"please report it; {DEBUG}=1 shows the traceback")
    message, _, hint = streams.error_text(error).partition("\nhint: ")
    return _fail(arguments, raised, message, hint, error.exit_code if isinstance(error, SoundloomError) else 1)


def _flushes(stream: TextIO) -> bool:
    try:
        stream.flush()
    except (OSError, ValueError):
        return False
    return True


def _dispatch(arguments: list[str]) -> int:
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
        raise _no_command(arguments)
    if actions_of(name) and arguments[1:2] in (["-h"], ["--help"], ["help"]):
        sys.stdout.write(usage(name))
        return 0
    if error := _no_action(name, arguments[1:2]):
        raise error
    name, given = resolve(arguments)
    if actions_of(name):
        given = given[:1]  # whose error names the actions
    from soundloom.cli.options.flags import parse

    command = load_command(name)
    options = parse(command.Options, given, f"soundloom {name}")
    return int(command.run(options) or 0) if options is not None else 0


def _no_command(arguments: Sequence[str]) -> RequestError:
    """Return an error about an unknown command, with a suggestion."""
    name = arguments[0]
    listed = f"commands: {', '.join(COMMANDS)}"
    if name.startswith("-"):
        return RequestError(f"expected a command, found the option '{shown(name)}'", listed)
    from soundloom.cli.options.prompts import quoted

    prompt = " ".join(takewhile(lambda word: not word.startswith("-"), arguments))
    close = difflib.get_close_matches(name, COMMANDS, 2)
    guess = f"did you mean {' or '.join(close)}? " if close else ""
    hint = f"{guess}to use it as a prompt: soundloom generate {quoted(prompt)}; {listed}"
    return RequestError(f"there is no command '{shown(name)}'", hint)


def _no_action(command: str, given: Sequence[str]) -> RequestError | None:
    """Return an error about a misspelled action of a command that also takes a model in its place."""
    actions, word = actions_of(command), next(iter(given), "")
    if not default_action(command) or word in actions:
        return None
    close = difflib.get_close_matches(word, actions, 2, CLOSE)
    from soundloom.config.catalogue import find_entry

    if not close or Path(word).exists() or find_entry(word):
        return None
    hint = f"did you mean {' or '.join(close)}? actions: {', '.join(actions)}"
    return RequestError(f"there is no action or model '{shown(word)}'", hint)


def usage(command: str = "") -> str:
    """Return the text of `soundloom --help`, or that of a command with actions."""
    if command:
        about, heading, summaries = f"{COMMANDS[command]}.", "Actions", actions_of(command)
    else:
        about, heading, summaries = "Generate and edit audio from text prompts.", "Commands", COMMANDS
    word = f"{command} ACTION" if command else "COMMAND"
    lines = [f"usage: soundloom {word} [OPTIONS]", "", about, "", f"{heading}:"]
    lines += [f"  {name:<12}{summary}" for name, summary in summaries.items()]
    lines += [""] if command else ["", "Without a command, soundloom asks for a model and a prompt.", ""]
    lines += [f"Use `soundloom {word} --help` for the options of {'an action' if command else 'a command'}."]
    return "\n".join(lines) + "\n"


def _ask() -> int:
    """Ask for a model and a prompt, and generate a clip."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise RequestError(
            "no command was given, and there is no terminal to ask for a prompt",
            'for example: soundloom generate "kick drum loop, 129 BPM"; see also soundloom --help',
        )
    from soundloom.cli.commands.audio.generate import run
    from soundloom.cli.interactive import ask

    run(ask())
    return 0


def _fail(arguments: Sequence[str], error: BaseException, message: str, hint: str, code: int) -> int:
    """Print an error to stderr, and with --json to stdout too; return the exit code."""
    message, hint = (_shortened(text, arguments) for text in (message, hint))
    lines = [*getattr(error, "__notes__", ()), message, *([f"hint: {hint}"] if hint else [])]
    try:
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
    except OSError:
        streams.give_up("stderr")
    if "--json" in arguments:  # the arguments may not parse
        from soundloom.cli.terminal.results import print_results, saved_files

        files = saved_files(error)
        found = {"error": message.removeprefix("error: "), "hint": hint, "exit_code": code}
        try:
            print_results(found | ({"files": files} if files else {}))
        except OSError:  # the failure may be stdout itself
            streams.give_up("stdout")
    return code


def _shortened(text: str, arguments: Sequence[str]) -> str:
    """Shorten long arguments, such as prompts, that a message quotes."""
    for argument in arguments:
        if len(argument) > MAX_QUOTED:
            for form in (argument, repr(argument)[1:-1], argument.partition("=")[2], argument.strip()):
                text = text.replace(form, shown(form)) if len(form) > MAX_QUOTED else text
    return text
