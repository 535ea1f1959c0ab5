"""`soundloom completion`: what completes commands, flags, their choices and file names in a shell.

Everything comes from the commands' own dataclasses, so that a new flag is completed without anything being said here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from soundloom.cli.commands import COMMANDS, load_command
from soundloom.cli.options.flags import flag
from soundloom.config.catalogue import CATALOGUE
from soundloom.errors import RequestError

# Flags whose values are names of models.
_MODEL_FLAGS = ("--model", "--models", "--from")
_ACTIONS = {"models": ("list", "pull", "show", "verify"), "completion": ("bash", "zsh", "fish")}


@dataclass(frozen=True)
class Options:
    """Print a script that completes commands, flags, choices and file names in a shell.

    bash: eval "$(soundloom completion bash)" in ~/.bashrc; zsh: the same with zsh, in ~/.zshrc behind compinit; fish:
    soundloom completion fish > ~/.config/fish/completions/soundloom.fish
    """

    shell: str = flag(metavar="bash|zsh|fish", help="the shell")


def run(options: Options) -> None:
    import sys

    if options.shell not in SCRIPTS:
        raise RequestError(f"there is no completion for {options.shell!r}", f"known are {', '.join(SCRIPTS)}")
    sys.stdout.write(SCRIPTS[options.shell]())


@dataclass(frozen=True)
class Flag:
    """One flag of a command: its spellings, what may follow it, and what it does."""

    names: tuple[str, ...]
    takes_value: bool
    values: tuple[str, ...]
    summary: str


def flags_of(command: str) -> list[Flag]:
    """All flags of a command, `--help` among them."""
    found = [Flag(("-h", "--help"), False, (), "list all flags")]
    for item in fields(load_command(command).Options):
        names, options = item.metadata["names"], item.metadata["options"]
        if names:
            found += _spelled(names, options)
    return found


def _spelled(names: tuple[str, ...], options: dict[str, Any]) -> Iterator[Flag]:
    action = options.get("action")
    summary = str(options.get("help", "")).partition(";")[0].partition(" (default")[0]
    is_pair = isinstance(action, type) and action.__name__ == "BooleanOptionalAction"
    takes_value = not is_pair and action != "store_true"
    values = tuple(map(str, options.get("choices") or ()))
    if not values and any(name in _MODEL_FLAGS for name in names):
        values = tuple(entry.name for entry in CATALOGUE.values() if entry.public)
    yield Flag(tuple(names), takes_value, values, summary)
    if is_pair:
        yield Flag(tuple(f"--no-{name.removeprefix('--')}" for name in names), False, (), f"do not {names[0]}")


def words_of(command: str) -> tuple[str, ...]:
    """What may stand first behind a command, beside files."""
    if command == "train":
        from soundloom.cli.commands.train import EXPORT, FILES

        return (*FILES, EXPORT)
    return _ACTIONS.get(command, ())


# Shells


def bash() -> str:
    """A function for bash, which zsh runs as well."""
    cases, values = [], []
    for command in COMMANDS:
        flags = flags_of(command)
        names = " ".join(name for one in flags for name in one.names)
        cases.append(f"    {command}) flags={_single(names)} places={_single(' '.join(words_of(command)))} ;;")
        for one in flags:
            pattern = "|".join(f"{command}:{name}" for name in one.names)
            if one.values:
                values.append(f"    {pattern}) choices={_single(' '.join(one.values))} ;;")
            elif one.takes_value:
                values.append(f"    {pattern}) choices=' ' ;;")
    return BASH.format(commands=" ".join(COMMANDS), cases="\n".join(cases), values="\n".join(values))


def zsh() -> str:
    """The function for bash, in zsh's own layer for such functions."""
    return f"autoload -U +X bashcompinit && bashcompinit\n{bash()}"


def fish() -> str:
    """A line for each command and flag."""
    lines = [
        f"complete -c soundloom -n __fish_use_subcommand -f -a {_escaped(command)} -d {_escaped(summary)}"
        for command, summary in COMMANDS.items()
    ]
    for command in COMMANDS:
        condition = f"complete -c soundloom -n '__fish_seen_subcommand_from {command}'"
        if words := words_of(command):
            lines.append(f"{condition} -a {_escaped(' '.join(words))}")
        for one in flags_of(command):
            names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in one.names)
            value = f" -x -a {_escaped(' '.join(one.values))}" if one.values else " -r" if one.takes_value else ""
            lines.append(f"{condition} {names}{value} -d {_escaped(one.summary)}")
    return "\n".join(lines) + "\n"


def _single(text: str) -> str:
    """Text in single quotes for bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _escaped(text: str) -> str:
    """Text in single quotes for fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


BASH = """\
_soundloom() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="" command="${{COMP_WORDS[1]}}" flags="" places="" choices=""
  [ "$COMP_CWORD" -gt 1 ] && before="${{COMP_WORDS[COMP_CWORD-1]}}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '{commands} --help --version' -- "$word"))
    return
  fi
  case "$command" in
{cases}
    *) return ;;
  esac
  case "$command:$before" in
{values}
  esac
  if [ -n "${{choices// /}}" ]; then
    COMPREPLY=($(compgen -W "$choices" -- "$word"))
  elif [ -z "$choices" ] && [ "${{word#-}}" != "$word" ]; then
    COMPREPLY=($(compgen -W "$flags" -- "$word"))
  elif [ -n "$places" ] && [ "$COMP_CWORD" -eq 2 ]; then
    COMPREPLY=($(compgen -W "$places" -- "$word"))
  fi
}}
complete -o default -o bashdefault -F _soundloom soundloom
"""
SCRIPTS: dict[str, Callable[[], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
