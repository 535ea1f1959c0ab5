"""Command line flags, declared once: a command's options are a frozen dataclass, and its fields are the flags.

A class that a command's options inherit from becomes a group of the help text, under the first line of its docstring.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import Field, field, fields
from typing import Any, NoReturn, TypeVar

from soundloom.errors import RequestError, shown

LONGEST_MESSAGE = 400  # characters; argparse repeats all that it was given

Options = TypeVar("Options")
Span = tuple[float, float]
_ARGUMENTS_SHOWN = 5


def flag(*names: str, default: Any = None, **argparse_options: Any) -> Any:
    """Declare a flag, or without names a positional argument; further options are those of `add_argument`."""
    return field(default=default, metadata={"names": names, "options": argparse_options})


def switch(*names: str, **argparse_options: Any) -> Any:
    """Declare a flag without a value, false unless given."""
    return flag(*names, default=False, action="store_true", **argparse_options)


def parse(options: type[Options], arguments: Sequence[str], prog: str) -> Options | None:
    """Read arguments into the dataclass `options`, or print its help and return None; raises RequestError."""
    positional = [item.metadata["options"]["metavar"] for item in fields(options) if not item.metadata["names"]]  # type: ignore[arg-type]
    usage = " ".join([prog, *positional, "[flags]"])
    parser = _Parser(prog=prog, usage=usage, description=inspect.getdoc(options), add_help=False, allow_abbrev=False)
    for owner in options.__mro__:
        own = [item for item in fields(options) if item.name in inspect.get_annotations(owner)]  # type: ignore[arg-type]
        if own:
            title = "of this command" if owner is options else (inspect.getdoc(owner) or "").rstrip(".")
            group = parser.add_argument_group(title)
            for item in own:
                _add(group, item)
    if any(argument in ("-h", "--help") for argument in arguments):
        sys.stdout.write(parser.format_help())
        return None
    values, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:
        raise _unknown(unknown, [name for item in fields(options) for name in item.metadata["names"]], prog)  # type: ignore[arg-type]
    return options(**vars(values))


def _unknown(arguments: Sequence[str], names: Sequence[str], prog: str) -> RequestError:
    """The error about arguments that nothing takes, with the flags that were perhaps meant."""
    guesses = []
    for argument in arguments:
        given = argument.partition("=")[0]
        if given.startswith("-"):
            longer = [name for name in names if name.startswith(f"--{given.lstrip('-')}")]
            guesses += (longer or difflib.get_close_matches(f"--{given.lstrip('-').replace('_', '-')}", names, 1))[:1]
    guess = f"did you mean {' and '.join(dict.fromkeys(guesses))}? " if guesses else ""
    listed = " ".join(shown(argument) for argument in arguments[:_ARGUMENTS_SHOWN])
    return RequestError(f"unrecognized arguments: {listed}", f"{guess}`{prog} --help` lists what can be given")


def _add(group: Any, item: Field[Any]) -> None:
    """Add a field to the parser. What is not given stays absent, so that the dataclass's default holds."""
    names, options = item.metadata["names"], dict(item.metadata["options"])
    if options.get("type") is int:
        options["type"] = whole_number
    if names:
        group.add_argument(*names, dest=item.name, default=argparse.SUPPRESS, **options)
    else:
        group.add_argument(item.name, default=argparse.SUPPRESS, **options)


class _Parser(argparse.ArgumentParser):
    """Raises its complaints, so that they look like all others."""

    def error(self, message: str) -> NoReturn:
        message = message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 1]}…"
        raise RequestError(message, f"`{self.prog} --help` lists what can be given")


# Values


def whole_number(text: str) -> int:
    """Read an integer that other programs can hold too."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)!r} is not an integer") from None
    if not -(2**63) <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{shown(text)} is beyond 64 bits")
    return number


class Extend(argparse.Action):
    """Gather comma-separated numbers of one or several flags: `--seconds 8,3` or `--seconds 8 --seconds 3`."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest, None) or ()), *values])


def numbers(kind: Callable[[str], float]) -> Callable[[str], list[float]]:
    """Return a reader of comma-separated numbers."""

    def read(text: str) -> list[float]:
        try:
            return [kind(part) for part in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"'{shown(text)}' is not {_NAMES[kind]}, or some with commas between"
            ) from None

    return read


_NAMES: dict[Any, str] = {int: "an integer", float: "a number"}


def ends(text: str) -> tuple[str, str] | None:
    """Split `4,7` or `4-7` into start and end; a minus may belong to a number, as in 1e-3."""
    first, comma, last = text.partition(",")
    if comma:
        return first.strip(), last.strip()
    found = re.fullmatch(r"\s*([\d.]+(?:e[+-]?\d+)?)\s*[-–]\s*([\d.]+(?:e[+-]?\d+)?)\s*", text, re.IGNORECASE)
    return (found[1], found[2]) if found else None


def span(text: str) -> Span:
    """Read `4,7` or `4-7`."""
    parts = ends(text)
    try:
        if parts is not None:
            return float(parts[0]), float(parts[1])
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"'{shown(text)}' is not two numbers with a comma between, such as 4,7")
