"""Exceptions that soundloom raises, and helpers that quote untrusted values in their messages.

A message says what was requested and what was found; the hint says what would work. The command line prints both
without a traceback and exits with `exit_code`. `docs/errors.md` describes each class.

    SoundloomError
    ├── RequestError            an invalid value: seconds, steps, regions, sampler names …
    ├── ConfigError             an invalid configuration file
    ├── ModelNotFoundError      no such model name, folder or file
    ├── CheckpointError         unusable weights
    │   ├── CorruptFileError    truncated, in an unexpected format, or with unsafe pickles
    │   └── MismatchError       tensors missing, unexpected or of a wrong shape
    ├── DownloadError           gated, offline, interrupted, or the license is not accepted
    ├── AudioError              an audio file that cannot be read, or audio that a format cannot store
    ├── WriteError              a file that cannot be written: no such folder, no permission, disk full
    ├── OutputError             unusable generated audio: not finite, silent, static
    ├── EngineError             no such engine or device, or too little memory
    ├── ServerError             a soundloom server that is not there, refuses the token, or has a fault
    ├── TrainingError           a training run that cannot continue, such as a loss that is not finite
    └── Canceled               the caller canceled between two steps
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

FETCH_AGAIN = "the file may be incomplete or in another format; download it again"
MAX_SHOWN = 80  # characters of a value that a message quotes


def escape(text: str, keep: str = "") -> str:
    """Escape characters that are not printable, except those in `keep`."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def shown(value: Any) -> str:
    """Return a value for a message: not printable characters escaped, at most 80 characters."""
    try:
        text = escape(value if isinstance(value, str) else repr(value))
    except ValueError:  # an integer with more digits than Python prints
        text = f"a {type(value).__name__} with very many digits"
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def utf8_name(name: str) -> str:
    """Return a file name as valid Unicode: bytes that are not UTF-8 become \\x and two digits."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def printable(name: Any) -> str:
    """Return a complete file name as valid Unicode, with characters that are not printable escaped."""
    return escape(utf8_name(str(name)))


class SoundloomError(Exception):
    """Base of all errors below. `hint` says what would work, or is empty."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\nhint: {self.hint}" if self.hint else message


class RequestError(SoundloomError, ValueError):
    """A request has an invalid value."""

    exit_code = 2


class ConfigError(SoundloomError, ValueError):
    """A model configuration has an unknown, missing or contradictory field."""


class ModelNotFoundError(SoundloomError, LookupError):
    """No catalogue entry, folder or file has this name."""

    exit_code = 2


class CheckpointError(SoundloomError):
    """A checkpoint cannot be used."""


class CorruptFileError(CheckpointError):
    """A file is truncated, in an unexpected format, or holds unsafe pickled objects."""


class MismatchError(CheckpointError):
    """The tensors of a checkpoint do not match its configuration."""


class DownloadError(SoundloomError):
    """Files could not be downloaded, or their license has not been accepted."""


class AudioError(SoundloomError):
    """An audio file cannot be read, or a format cannot store the audio."""


class WriteError(SoundloomError):
    """A file cannot be written to its path; no partial file is left."""


class OutputError(SoundloomError):
    """The generated audio is unusable. Of several clips, `errors` has those that are, by index; this is the first."""

    errors: Mapping[int, OutputError] = MappingProxyType({})


class EngineError(SoundloomError):
    """The requested engine or device is not available, or has too little memory."""


class ServerError(SoundloomError):
    """A soundloom server cannot be reached, refuses the client, or has a fault."""


class TrainingError(SoundloomError):
    """A training run cannot continue."""


class Canceled(SoundloomError):  # noqa: N818 (a request of the caller, not an error)
    """The caller canceled the work between two steps."""

    exit_code = 130
