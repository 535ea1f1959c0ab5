"""Every flag and command that a message of soundloom's names is one that the command line has."""

import ast
import re
from pathlib import Path

import pytest

import soundloom
from soundloom.cli.commands import COMMANDS
from soundloom.cli.commands.completion import flags_of

PACKAGE = Path(soundloom.__file__).parent
ALL_FLAGS = {name for command in COMMANDS for flag in flags_of(command) for name in flag.names} | {"--version"}
# Flags of other programs, and of modules that are run by themselves.
NOT_OURS = (
    *("checkpoints/hub.py", "testing/", "training/loop/distributed.py"),
    *("bench/", "audio/playback.py", "cli/commands/completion.py"),
)
VERBS = {"is", "asks", "does"}  # of sentences about soundloom


def texts(path):
    """The strings of a source file that may reach a user: all but docstrings, which describe Python."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and is_text(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def is_text(node):
    return bool(node.body) and isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant)


FILES = [str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py"))]


@pytest.mark.parametrize("file", [file for file in FILES if not file.startswith(NOT_OURS)])
def test_messages_name_flags_and_commands_that_exist(file):
    for line, text in texts(PACKAGE / file):
        flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text))
        assert flags <= ALL_FLAGS, f"{file}:{line}: {flags - ALL_FLAGS}"
        commands = set(re.findall(r"(?:^|`|: |, )soundloom ([a-z]+)\b", text)) - VERBS
        assert commands <= {*COMMANDS}, f"{file}:{line}: {commands - {*COMMANDS}}"
