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
BUDGETS = {"js": 220_000, "css": 40_000, "icons": 12_000}  # bytes, as they are served
MAX_REQUESTS, MAX_LINES, MAX_COLUMNS = 45, 400, 180


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


def test_the_studio_keeps_its_budget(capsys):
    files = [path for path in STUDIO.rglob("*") if path.is_file()]
    kinds = {"js": (".js",), "css": (".css",), "icons": (".svg", ".png", ".ico")}
    sizes = {kind: sum(one.stat().st_size for one in files if one.suffix in ends) for kind, ends in kinds.items()}
    with capsys.disabled():
        used = ", ".join(f"{kind} {size / 1000:.1f} of {BUDGETS[kind] / 1000:.0f} KB" for kind, size in sizes.items())
        print(f"\nstudio: {used}, {len(files)} files of {MAX_REQUESTS}")
    assert all(size <= BUDGETS[kind] for kind, size in sizes.items())
    assert len(files) <= MAX_REQUESTS


def scripts() -> list[Path]:
    return sorted(STUDIO.rglob("*.js"))


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()
