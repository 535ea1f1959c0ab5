"""Make the standard streams robust: closed streams, limited encodings, and control characters in messages.

Messages may quote untrusted text, such as names of files and tensors, prompts, and metadata. Control characters are
escaped, and lines after the first are indented, so that no line can pose as another message.
"""

from __future__ import annotations

import codecs
import os
import sys

from soundloom.errors import SoundloomError, escape

_STREAMS = ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w"))
_ERRORS = "soundloom.streams"


def prepare() -> None:
    """Replace closed streams with the null device, and escape characters that a stream cannot encode."""
    codecs.register_error(_ERRORS, _encode)
    for number, name, mode in _STREAMS:
        stream = getattr(sys, name)
        if stream is None or stream.closed:
            # Otherwise the next opened file would get the stream's descriptor.
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)


def give_up(name: str) -> None:
    """Redirect a broken stream to the null device, so that Python does not report it again at exit."""
    stream = getattr(sys, name)
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    except (OSError, ValueError):
        return


def escaped(text: str) -> str:
    """Escape control characters, except line breaks and tabs."""
    return escape(text, keep="\n\t")


def one_message(text: str) -> str:
    """Escape control characters, and indent all lines after the first."""
    return escaped(text).replace("\n", "\n  ")


def error_text(error: BaseException) -> str:
    """Format an error, with its hint on a separate line."""
    if isinstance(error, SoundloomError):
        hint = f"\nhint: {one_message(error.hint)}" if error.hint else ""
        return f"error: {one_message(str(error.args[0]))}{hint}"
    if isinstance(error, MemoryError):
        return "error: out of memory"
    if isinstance(error, OSError) and error.strerror:
        where = f": {one_message(os.fsdecode(error.filename))}" if isinstance(error.filename, str | bytes) else ""
        return f"error: {error.strerror}{where}"
    return f"error: {one_message(str(error)) or type(error).__name__}"


def _encode(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode undecodable bytes of file names as they are, and other unsupported characters as escapes."""
    assert isinstance(error, UnicodeEncodeError)
    part = error.object[error.start : error.end]
    return b"".join(_bytes_of(c) for c in part), error.end


def _bytes_of(character: str) -> bytes:
    if 0xDC80 <= ord(character) <= 0xDCFF:
        return bytes([ord(character) - 0xDC00])
    return character.encode("ascii", "backslashreplace")
