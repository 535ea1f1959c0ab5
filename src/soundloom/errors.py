"""Every error that soundloom raises on purpose.

A message says what was asked, what was found and, as the hint, what would work. The command line prints the
message and the hint without a traceback and exits with `exit_code`. `docs/errors.md` has a paragraph for each.

    SoundloomError
    ├── RequestError            a value that cannot be honored: seconds, steps, regions, names of samplers …
    ├── ConfigError             a model_config.json that does not parse
    ├── ModelNotFoundError      no such name, folder or file
    ├── CheckpointError         weights that cannot be used
    │   ├── CorruptFileError    truncated, not the format its name says, holding pickles
    │   └── MismatchError       keys missing, unexpected, or of another shape
    ├── DownloadError           gated, offline, interrupted, license not accepted
    ├── AudioError              a sound file that cannot be read, or a sound that a format cannot hold
    ├── WriteError              a file that cannot be written: no such folder, no permission, disk full
    ├── OutputError             the model made something that is not sound: not finite, silent, static
    ├── EngineError             no such engine or device here, or too little memory
    ├── TrainingError           a training run that cannot go on: its loss is not a finite number
    └── Canceled               stopped between two steps at the caller's wish
"""

from typing import Any

FETCH_AGAIN = "the file may be incomplete or of another format; fetch it again"  # the hint for files from elsewhere
LONGEST_SHOWN = 80  # characters of a value that a message quotes


def shown(value: Any) -> str:
    """Quote a value from outside for a message: control characters escaped, at most 80 characters."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except ValueError:  # an integer with more digits than Python prints
        text = f"a {type(value).__name__} with very many digits"
    text = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"


def printable(name: Any) -> str:
    """A file name whole as text that any stream, tag or JSON can hold: what is not Unicode or printable is escaped."""
    text = name if isinstance(name, str) else str(name)
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class SoundloomError(Exception):
    """Base of all errors below; `hint` says what would work, or is empty."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\nhint: {self.hint}" if self.hint else message


class RequestError(SoundloomError, ValueError):
    """The request cannot be honored as it stands."""

    exit_code = 2


class ConfigError(SoundloomError, ValueError):
    """A model configuration has an unknown, missing or contradictory field."""


class ModelNotFoundError(SoundloomError, LookupError):
    """No catalogue entry, folder or file has this name."""

    exit_code = 2


class CheckpointError(SoundloomError):
    """A checkpoint cannot be used."""


class CorruptFileError(CheckpointError):
    """A file is truncated, of another format than its name says, or holds pickled objects."""


class MismatchError(CheckpointError):
    """The tensors of a checkpoint are not those that its configuration asks for."""


class DownloadError(SoundloomError):
    """Files could not be fetched, or may not be before a license is accepted."""


class AudioError(SoundloomError):
    """A sound file cannot be read, or a format cannot hold a sound."""


class WriteError(SoundloomError):
    """A file cannot be written where it was asked for; nothing half written is left."""


class OutputError(SoundloomError):
    """What the model made is not usable sound."""


class EngineError(SoundloomError):
    """The engine or device that was asked for is not available here, or has too little memory."""


class TrainingError(SoundloomError):
    """A training run cannot go on."""


class Canceled(SoundloomError):  # noqa: N818 (a wish of the caller, not an error)
    """The caller stopped the work between two steps."""

    exit_code = 130
