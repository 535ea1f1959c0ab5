"""Ask for a model and a prompt when `soundloom` runs without arguments in a terminal."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from soundloom.checkpoints.installed import is_installed
from soundloom.cli.commands.audio.generate import Options
from soundloom.config.catalogue import CATALOGUE
from soundloom.config.entries import ModelEntry

EXAMPLE = "kick drum loop, 129 BPM"
UP, DOWN, ENTER = ("\x1b[A", "\x1bOA", "k"), ("\x1b[B", "\x1bOB", "j"), ("\r", "\n")
STOP = ("\x1b", "q", "\x03", "\x04", "")  # Esc, q, Ctrl-C, Ctrl-D, a closed terminal
WINDOWS_KEYS = {"H": UP[0], "P": DOWN[0]}  # the second character of special keys
ESCAPE_SECONDS = 0.05


def ask() -> Options:
    """Ask for a model and a prompt. Raises KeyboardInterrupt if the user quits."""
    console = Console(stderr=True, highlight=False)
    entries = [entry for entry in CATALOGUE.values() if entry.kind == "generator" and entry.public]
    entries.sort(key=lambda entry: not is_installed(entry))  # installed models first, in catalogue order
    entry = entries[choose([_label(entry) for entry in entries], console)]
    console.print(f"{entry.name}. What do you want to generate? [dim](Enter: {EXAMPLE})[/dim]")
    answer = sys.stdin.readline()
    if not answer:
        raise KeyboardInterrupt
    return Options(model=entry.name, positional_prompts=[answer.strip() or EXAMPLE])


def _label(entry: ModelEntry) -> str:
    state = entry.notes if entry.is_packaged else "installed" if is_installed(entry) else "download"
    return f"{entry.name:<18} up to {entry.max_seconds:3g} s   {state}"


def choose(labels: Sequence[str], console: Console) -> int:
    """Choose with the arrow keys (or j and k) and Enter. Raises KeyboardInterrupt for q, Esc, and Ctrl-C."""
    place = 0
    with (
        keyboard() as read_key,
        Live(_menu(labels, place), console=console, auto_refresh=False, transient=True) as live,
    ):
        while (key := read_key()) not in ENTER:
            if key in STOP:
                raise KeyboardInterrupt
            place = (place + (key in DOWN) - (key in UP)) % len(labels)
            live.update(_menu(labels, place), refresh=True)
    return place


def _menu(labels: Sequence[str], place: int) -> Text:
    text = Text("Choose a model with the arrow keys, then press Enter.\n")
    for i, label in enumerate(labels):
        text.append(f"{'>' if i == place else ' '} {label}\n", style="bold cyan" if i == place else "")
    return text


@contextmanager
def keyboard() -> Iterator[Callable[[], str]]:
    """Yield a function that waits for a key, without echo; arrow keys are escape sequences of three characters."""
    if sys.platform == "win32":
        yield _windows_key
        return
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    try:
        yield lambda: _posix_key(terminal)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _posix_key(terminal: int) -> str:
    key = os.read(terminal, 1)
    # An arrow key sends more bytes at once; the Esc key sends a single one.
    if key == b"\x1b" and select.select([terminal], [], [], ESCAPE_SECONDS)[0]:
        key += os.read(terminal, 2)
    return key.decode(errors="replace")


def _windows_key() -> str:
    import msvcrt

    key: str = msvcrt.getwch()  # type: ignore[attr-defined]
    return WINDOWS_KEYS.get(msvcrt.getwch(), "") if key in ("\x00", "\xe0") else key  # type: ignore[attr-defined]
