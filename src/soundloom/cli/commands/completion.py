"""`soundloom completion`: print a completion script for bash, zsh, or fish.

The scripts are generated from the options of the commands, so new flags need no change here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from soundloom.cli.commands import COMMANDS, default_action, every_command, load_command
from soundloom.cli.commands import actions_of as grouped_actions
from soundloom.cli.options.flags import flag
from soundloom.config.catalogue import CATALOGUE
from soundloom.errors import RequestError

_MODEL_FLAGS = ("--model", "--models", "--from")
_ACTIONS = {"models": ("list", "pull", "show", "verify"), "completion": ("bash", "zsh", "fish")}


@dataclass(frozen=True)
class Options:
    """Print a script that completes commands, flags, choices, and file names.

    bash: add `eval "$(soundloom completion bash)"` to ~/.bashrc

    zsh: add `eval "$(soundloom completion zsh)"` to ~/.zshrc, after compinit

    fish: run `soundloom completion fish > ~/.config/fish/completions/soundloom.fish`
    """

    shell: str = flag(metavar="bash|zsh|fish", help="the shell")


def run(options: Options) -> None:
    import sys

    if options.shell not in SCRIPTS:
        raise RequestError(f"there is no completion for {options.shell!r}", f"shells: {', '.join(SCRIPTS)}")
    sys.stdout.write(SCRIPTS[options.shell]())


@dataclass(frozen=True)
class Flag:
    """A flag of a command, its possible values, and a one-line summary."""

    names: tuple[str, ...]
    takes_value: bool
    values: tuple[str, ...]
    summary: str


def flags_of(command: str) -> list[Flag]:
    """Return all flags of a command, or of an action such as `lora info`, including `--help`.

    Those of a command with a default action are that action's.
    """
    found = [Flag(("-h", "--help"), False, (), "show the help")]
    action = "" if " " in command else default_action(command)
    for item in fields(load_command(f"{command} {action}".strip()).Options):
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


def actions_of(command: str) -> tuple[str, ...]:
    """Return possible values of the first positional argument, other than files."""
    if command == "train":
        from soundloom.training.stages.registry import EXPORT, STAGES

        return (*STAGES, EXPORT)
    return _ACTIONS.get(command) or tuple(grouped_actions(command))


# Shells


def bash() -> str:
    """Return the script for bash."""
    cases, values = [], []
    for command in every_command():
        flags = flags_of(command)
        names = " ".join(name for one in flags for name in one.names)
        actions = "" if " " in command else " ".join(actions_of(command))
        cases.append(f"    {_single(command)}) flags={_single(names)} actions={_single(actions)} ;;")
        for one in flags:
            pattern = "|".join(_single(f"{command}:{name}") for name in one.names)
            if one.values:
                values.append(f"    {pattern}) choices={_single(' '.join(one.values))} ;;")
            elif one.takes_value:
                values.append(f"    {pattern}) choices=' ' ;;")
    groups = "|".join(command for command in COMMANDS if grouped_actions(command))
    return BASH.format(commands=" ".join(COMMANDS), groups=groups, cases="\n".join(cases), values="\n".join(values))


def zsh() -> str:
    """Return the script for zsh, which emulates that of bash."""
    return f"autoload -U +X bashcompinit && bashcompinit\n{bash()}"


def fish() -> str:
    """Return the script for fish."""
    lines = [
        f"complete -c soundloom -n __fish_use_subcommand -f -a {_escaped(command)} -d {_escaped(summary)}"
        for command, summary in COMMANDS.items()
    ]
    for command in every_command():
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in command.split())
        condition = f"complete -c soundloom -n '{seen}'"
        if " " not in command and (actions := actions_of(command)):
            lines.append(f"{condition} -a {_escaped(' '.join(actions))}")
        for one in flags_of(command):
            names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in one.names)
            value = f" -x -a {_escaped(' '.join(one.values))}" if one.values else " -r" if one.takes_value else ""
            lines.append(f"{condition} {names}{value} -d {_escaped(one.summary)}")
    return "\n".join(lines) + "\n"


def _single(text: str) -> str:
    """Quote text for bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _escaped(text: str) -> str:
    """Quote text for fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


BASH = """\
_soundloom() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="" command="${{COMP_WORDS[1]}}" flags="" actions="" choices=""
  [ "$COMP_CWORD" -gt 1 ] && before="${{COMP_WORDS[COMP_CWORD-1]}}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '{commands} --help --version' -- "$word"))
    return
  fi
  case "$command" in
    {groups}) [ "$COMP_CWORD" -gt 2 ] && command="$command ${{COMP_WORDS[2]}}" ;;
  esac
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
  elif [ -n "$actions" ] && [ "$COMP_CWORD" -eq 2 ]; then
    COMPREPLY=($(compgen -W "$actions" -- "$word"))
  fi
}}
complete -o default -o bashdefault -F _soundloom soundloom
"""
SCRIPTS: dict[str, Callable[[], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
