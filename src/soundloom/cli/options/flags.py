"""Declare command-line flags as the fields of a frozen dataclass, and parse arguments into it.

A base class becomes a group of the help text, titled by the first line of its docstring.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import math
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, field, fields
from typing import Any, NoReturn, TypeVar

from soundloom.errors import RequestError, shown

MAX_MESSAGE = 400  # characters; argparse quotes every argument in full

Options = TypeVar("Options")
Span = tuple[float, float]
_ARGUMENTS_SHOWN = 5


def flag(
    *names: str,
    default: Any = None,
    required: bool = False,
    hidden: Sequence[str] = (),
    signed: bool = False,
    **argparse_options: Any,
) -> Any:
    """Declare a flag, or a positional argument if there are no names.

    `hidden` are old spellings, which parse but appear neither in the help nor in completions. Values of a `signed` flag
    may start with a minus sign without being numbers. All further options go to `add_argument`. The help shows the
    default unless it mentions one itself.
    """
    metadata = {"names": names, "required": required, "hidden": hidden, "signed": signed, "options": argparse_options}
    return field(default=default, metadata=metadata)


def switch(*names: str, **options: Any) -> Any:
    """Declare a flag without a value; it is false unless given."""
    return flag(*names, default=False, action="store_true", **options)


def parse(options: type[Options], arguments: Sequence[str], prog: str) -> Options | None:
    """Parse arguments into the dataclass `options`, or print its help and return None. Raises RequestError."""
    items: Sequence[Field[Any]] = fields(options)  # type: ignore[arg-type]
    usage = " ".join([prog, *(_in_usage(item) for item in items if _is_required(item)), "[OPTIONS]"])
    parser = _Parser(
        prog=prog,
        usage=usage,
        description=inspect.getdoc(options),
        formatter_class=_HelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    groups: dict[str, Any] = {"Arguments": parser.add_argument_group("Arguments")}
    # A class that overrides a flag, for another help or default, leaves it in its group.
    owners = {name: owner for owner in options.__mro__ for name in inspect.get_annotations(owner)}
    for owner in options.__mro__:
        for item in items:
            if owners[item.name] is owner:
                title = _title(item, owner, options)
                if title not in groups:
                    groups[title] = parser.add_argument_group(title)
                _add(groups[title], item)
    if any(argument in ("-h", "--help") for argument in arguments):
        sys.stdout.write(parser.format_help())
        return None
    values, unknown = parser.parse_known_intermixed_args(_with_joined_values(arguments, items))
    if unknown:
        raise _unknown(unknown, [name for item in items for name in item.metadata["names"]], prog)
    missing = [_in_usage(item) for item in items if item.metadata["required"] and item.name not in values]
    if missing:
        raise RequestError(f"{prog} requires {' and '.join(missing)}", f"`{prog} --help` lists all options")
    return options(**vars(values))


def _with_joined_values(arguments: Sequence[str], items: Sequence[Field[Any]]) -> list[str]:
    """Join `--normalize -16lufs` to `--normalize=-16lufs`, which argparse would take for two flags."""
    signed = {name for item in items if item.metadata["signed"] for name in item.metadata["names"]}
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in signed and re.match(r"-[\d.]", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _is_required(item: Field[Any]) -> bool:
    return item.metadata["required"] or not item.metadata["names"]


def _in_usage(item: Field[Any]) -> str:
    options = item.metadata["options"]
    name, count = options["metavar"], options.get("nargs")
    if item.metadata["names"]:
        return f"{item.metadata['names'][0]} {name}"
    return {"*": f"[{name}]...", "+": f"{name}...", "?": f"[{name}]"}.get(count, name)


def _title(item: Field[Any], owner: type, options: type) -> str:
    if not item.metadata["names"]:
        return "Arguments"
    return "Options" if owner is options else (inspect.getdoc(owner) or "").rstrip(".")


def _unknown(arguments: Sequence[str], names: Sequence[str], prog: str) -> RequestError:
    """Return an error that names unrecognized arguments and suggests the closest flags."""
    guesses = []
    for argument in arguments:
        given = argument.partition("=")[0]
        if given.startswith("-"):
            longer = [name for name in names if name.startswith(f"--{given.lstrip('-')}")]
            guesses += (
                longer or difflib.get_close_matches(f"--{given.lstrip('-').replace('_', '-')}", names, 1, 0.75)
            )[:1]
    guess = f"did you mean {' and '.join(dict.fromkeys(guesses))}? " if guesses else ""
    listed = " ".join(shown(argument) for argument in arguments[:_ARGUMENTS_SHOWN])
    return RequestError(f"unrecognized arguments: {listed}", f"{guess}`{prog} --help` lists all options")


def _add(group: Any, item: Field[Any]) -> None:
    """Add a field to the parser. A flag that is not given stays absent, so that the dataclass's default applies."""
    names, hidden, options = item.metadata["names"], item.metadata["hidden"], dict(item.metadata["options"])
    options["default"] = argparse.SUPPRESS
    if options.get("type") is int:
        options["type"] = integer
    default = _shown_default(item.default)
    if names and default and "default" not in options.get("help", ""):
        options["help"] = f"{options['help']} (default: {default})" if "help" in options else f"default: {default}"
    if item.metadata["required"]:
        options["help"] += " (required)"
    if not names:
        group.add_argument(item.name, **options)
        return
    group.add_argument(*names, dest=item.name, **options)
    if hidden:
        group.add_argument(*hidden, dest=item.name, **options | {"help": argparse.SUPPRESS})


def _shown_default(default: Any) -> str:
    if default in (None, MISSING, ()) or isinstance(default, bool):
        return ""
    if isinstance(default, tuple):
        return ",".join(map(_shown_default, default))
    if isinstance(default, float):
        return f"{default:g}" if math.isfinite(default) else ""
    return str(default)


class _Parser(argparse.ArgumentParser):
    """Raise RequestError instead of printing the usage and exiting."""

    def error(self, message: str) -> NoReturn:
        message = message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 1]}…"
        raise RequestError(message, f"`{self.prog} --help` lists all options")


class _HelpFormatter(argparse.HelpFormatter):
    """Preserve paragraphs and example commands of the description, and show a flag's metavar once."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = []
        for part in text.split("\n\n"):
            is_example = part.startswith("soundloom ")
            parts.append(f"  {part}" if is_example else "\n".join(self._split_lines(part, width)))
        return "\n\n".join(parts)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


# Values


def integer(text: str) -> int:
    """Parse an integer of at most 64 bits, which other programs can store too."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)!r} is not an integer") from None
    if not -(2**63) <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{shown(text)} does not fit in 64 bits")
    return number


class Extend(argparse.Action):
    """Collect comma-separated numbers of one or several flags: `--seconds 8,3` or `--seconds 8 --seconds 3`.

    With `nargs="+"`, numbers may also be separated by spaces.
    """

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        new = [number for part in values for number in part] if self.nargs == "+" else values
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest, None) or ()), *new])


def numbers(kind: Callable[[str], float]) -> Callable[[str], list[float]]:
    """Return a parser of comma-separated numbers."""

    def read(text: str) -> list[float]:
        try:
            return [kind(part) for part in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"'{shown(text)}' is not {_NAMES[kind]}, or several separated by commas"
            ) from None

    return read


_NAMES: dict[Any, str] = {int: "an integer", float: "a number"}


def ends(text: str) -> tuple[str, str] | None:
    """Split `4,7` or `4-7` into start and end; the minus sign of an exponent, as in 1e-3, does not split."""
    first, comma, last = text.partition(",")
    if comma:
        return first.strip(), last.strip()
    found = re.fullmatch(r"\s*([\d.]+(?:e[+-]?\d+)?)\s*[-–]\s*([\d.]+(?:e[+-]?\d+)?)\s*", text, re.IGNORECASE)
    return (found[1], found[2]) if found else None


def span(text: str) -> Span:
    """Parse `4,7` or `4-7`."""
    parts = ends(text)
    try:
        if parts is not None:
            return float(parts[0]), float(parts[1])
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"'{shown(text)}' is not two numbers separated by a comma, such as 4,7")
