"""Flags and commands that messages mention exist."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

import soundloom
from soundloom.cli.commands import COMMANDS, actions_of, every_command, load_command
from soundloom.cli.commands.completion import flags_of

PACKAGE = Path(soundloom.__file__).parent
HIDDEN = {
    name
    for command in every_command()
    for item in fields(load_command(command).Options)
    for name in item.metadata["hidden"]
}
ALL_FLAGS = (
    {name for command in every_command() for flag in flags_of(command) for name in flag.names} | HIDDEN | {"--version"}
)
# These files name flags of other programs, or of modules with a command line of their own.
EXCEPTIONS = (
    *("checkpoints/hub.py", "training/loop/distributed.py", "testing/", "bench/", "audio/playback.py"),
    *("cli/commands/completion.py", "cli/options/old_spellings.py", "evaluation/embedders/fetch.py"),
)
VERBS = {"is", "asks", "does", "did", "self"}  # in sentences about soundloom, and in the name of its certificate


def texts(path):
    """Yield line and value of each string in a source file except docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and is_text(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def is_text(node):
    return bool(node.body) and isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant)


FILES = [str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py"))]


@pytest.mark.parametrize("file", [file for file in FILES if not file.startswith(EXCEPTIONS)])
def test_messages_name_flags_and_commands_that_exist(file):
    for line, text in texts(PACKAGE / file):
        flags = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9]", text))
        assert flags <= ALL_FLAGS, f"{file}:{line}: {flags - ALL_FLAGS}"
        commands = set(re.findall(r"(?:^|`|: |, )soundloom ([a-z]+)\b", text)) - VERBS
        assert commands <= {*COMMANDS}, f"{file}:{line}: {commands - {*COMMANDS}}"
        for group in ("lora", "eval"):
            actions = set(re.findall(rf"soundloom {group} ([a-z]+)\b", text)) - {"needs", "mini"}
            assert actions <= {*actions_of(group)}, f"{file}:{line}: {actions}"
