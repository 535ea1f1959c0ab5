"""The scripts of the studio without a browser: types, rules, unit tests, and their size."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
STUDIO = ROOT / "src" / "soundloom" / "serving" / "studio"
MAX_LINES, MAX_COLUMNS, MAX_ICONS = 400, 180, 12_000  # the budgets of scripts and styles are in test_speed.py


def tool(name: str) -> str:
    """Return the path of a program that npm installed here; skip the test if there is none."""
    path = FOLDER / "node_modules" / ".bin" / name
    if shutil.which("node") is None or not path.exists():
        pytest.skip(f"{name} is not installed: npm ci --prefix tests/studio, which needs Node.js and a network")
    return str(path)


def passes(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_types():
    passes(tool("tsc"), "-p", "tests/studio/tsconfig.json")


def test_rules():
    passes(tool("eslint"), "--config", "tests/studio/eslint.config.js", str(STUDIO / "js"))


def test_units():
    """Run the tests of modules that know no page; they need only Node.js."""
    files = sorted((FOLDER / "unit").glob("*.test.js"))
    if shutil.which("node") is None:
        pytest.skip("the unit tests of the studio need Node.js")
    passes("node", "--test", *map(str, files))


def test_no_html_from_strings():
    """The same rule as eslint's, where there is no Node.js."""
    banned = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|cssText|DOMParser"
    )
    found = [f"{path.name}: {line.strip()}" for path in scripts() for line in lines(path) if banned.search(line)]
    assert not found


def test_nothing_comes_from_elsewhere():
    pattern = re.compile(r"""["'(]\s*(https?:)?//""")
    files = [*scripts(), *STUDIO.rglob("*.css"), STUDIO / "index.html"]
    found = [f"{path.name}: {line.strip()}" for path in files for line in lines(path) if pattern.search(line)]
    assert [text for text in found if "http://www.w3.org/2000/svg" not in text] == []


def test_files_are_short():
    long = {path.name: len(lines(path)) for path in scripts() if len(lines(path)) > MAX_LINES}
    assert not long
    assert not [path.name for path in scripts() for line in lines(path) if len(line) > MAX_COLUMNS]


def test_icons_are_small():
    assert (
        sum(path.stat().st_size for path in STUDIO.rglob("*") if path.suffix in (".svg", ".png", ".ico")) <= MAX_ICONS
    )


def scripts() -> list[Path]:
    return sorted(STUDIO.rglob("*.js"))


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()
