"""The three standard streams, however the command was started: closed, ASCII only, or full.

Text that comes from outside (names of files and tensors, prompts, records) cannot steer the terminal: in messages and
tables control characters are escaped, and lines behind the first are indented, so that none poses as a message.
"""

from __future__ import annotations

import codecs
import os
import sys

from soundloom.errors import SoundloomError, escape

_STREAMS = ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w"))
_ERRORS = "soundloom.streams"


def prepare() -> None:
    """Replace closed streams by the null device, and let no character that a stream cannot hold end the command."""
    codecs.register_error(_ERRORS, _encode)
    for number, name, mode in _STREAMS:
        stream = getattr(sys, name)
        if stream is None or stream.closed:
            # A file that is opened later would get the free number, and be written to as if it were the stream.
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)


def give_up(name: str) -> None:
    """Send a stream that cannot be written to nowhere: Python would complain about it once more at its exit."""
    stream = getattr(sys, name)
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    except (OSError, ValueError):
        return


def escaped(text: str) -> str:
    """A text whose control characters are visible; line breaks and tabs stay."""
    return escape(text, keep="\n\t")


def one_message(text: str) -> str:
    """A text for stderr: control characters visible, and every line behind the first indented."""
    return escaped(text).replace("\n", "\n  ")


def error_text(error: BaseException) -> str:
    """An error as it is printed, with its hint as a line of its own."""
    if isinstance(error, SoundloomError):
        hint = f"\nhint: {one_message(error.hint)}" if error.hint else ""
        return f"error: {one_message(str(error.args[0]))}{hint}"
    if isinstance(error, MemoryError):
        return "error: there is not enough memory for this"
    if isinstance(error, OSError) and error.strerror:
        where = f": {one_message(os.fsdecode(error.filename))}" if isinstance(error.filename, str | bytes) else ""
        return f"error: the system says: {error.strerror}{where}"
    return f"error: {one_message(str(error)) or type(error).__name__}"


def _encode(error: UnicodeError) -> tuple[str | bytes, int]:
    """Bytes of file names that are no text as they are; other characters that a stream lacks as escapes."""
    assert isinstance(error, UnicodeEncodeError)
    part = error.object[error.start : error.end]
    return b"".join(_bytes_of(c) for c in part), error.end


def _bytes_of(character: str) -> bytes:
    if 0xDC80 <= ord(character) <= 0xDCFF:
        return bytes([ord(character) - 0xDC00])
    return character.encode("ascii", "backslashreplace")
