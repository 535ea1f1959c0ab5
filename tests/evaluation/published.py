"""Pure functions of published packages, which tests compare with. Nothing is installed.

Only the functions that are compared run, from the wheels of the package index.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

SECONDS = 180  # for a download


@cache
def _folder() -> TemporaryDirectory[str]:
    """Return a folder that is removed when the process ends."""
    return TemporaryDirectory(prefix="soundloom-published-")


@cache
def wheel(name: str, version: str) -> Path:
    """Return the wheel of a package from the package index, or skip."""
    folder = Path(_folder().name) / name
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    try:
        done = subprocess.run(
            [*command, "--dest", str(folder), f"{name}=={version}"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        reason = done.stderr.strip().rpartition("\n")[2]
    except subprocess.TimeoutExpired:
        reason = f"no end after {SECONDS} s"
    found = list(folder.glob("*.whl"))
    if not found:
        pytest.skip(f"{name} {version} cannot be fetched; is this machine offline? {reason}")
    return found[0]


def definitions(package: Path, file: str, names: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    """Run the definitions of some functions and constants of a file in a wheel; skip if it lacks them.

    The packages import audio libraries, model code or loggers that these functions do not need. `given` are the names
    that they do need.
    """
    tree = ast.parse(zipfile.ZipFile(package).read(file))
    kept = [node for node in tree.body if _defined(node) in names]
    missing = set(names) - {_defined(node) for node in kept}
    if missing:
        pytest.skip(f"{package.name} has no {', '.join(sorted(missing))} in {file}")
    for node in kept:
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
            _drop_annotations(node)
    scope = dict(given)
    exec(compile(ast.Module(kept, []), file, "exec"), scope)
    return scope


def _defined(node: ast.stmt) -> str:
    if isinstance(node, ast.FunctionDef):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return ""


def _drop_annotations(function: ast.FunctionDef) -> None:
    """Annotations name types that are not there."""
    function.returns = None
    for argument in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs):
        argument.annotation = None
