"""The form of the pages: links that lead somewhere, lists that render everywhere, lines and lengths within bounds.

`mkdocs build --strict` (make docs) checks anchors and the navigation as well.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
from pathlib import Path
from typing import Any

import pytest

import soundloom
from tests.docs.pages import PAGES, ROOT, code_spans, prose

ALL_PAGES = sorted({*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")})
MAX_WIDTH = 100  # characters of a line; a row of a table cannot be wrapped
MAX_WORDS = 21_000  # of README.md and docs/*.md
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
LIST_ITEM = re.compile(r"([-*]|\d+\.) ")
API = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.M)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", ALL_PAGES, ids=name_of)
def test_lines_are_short(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    long = [number for number, line in enumerate(lines, 1) if len(line) > MAX_WIDTH and not line.startswith("|")]
    assert long == []


@pytest.mark.parametrize("page", ALL_PAGES, ids=name_of)
def test_links_lead_to_files(page):
    targets = [target for target in LINK.findall(prose(page)) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", ALL_PAGES, ids=name_of)
def test_a_blank_line_precedes_each_list(page):
    """Without it GitHub shows a list, and the site a paragraph."""
    lines = prose(page).splitlines()
    starts = [
        line
        for before, line in itertools.pairwise(lines)
        if LIST_ITEM.match(line) and before.strip() and not LIST_ITEM.match(before) and not before.startswith(" ")
    ]
    assert starts == []


def test_contributing_names_existing_files():
    """Paths are relative to the root or to the package; NAME stands for any name."""
    spans = [span for span in code_spans(ROOT / "CONTRIBUTING.md") if re.fullmatch(r"[\w./-]+(/|/[\w.-]+)", span)]
    assert len(spans) > 20
    roots = (ROOT, ROOT / "src" / "soundloom")
    missing = [span for span in spans if not any([*root.glob(span.replace("NAME", "*").rstrip("/"))] for root in roots)]
    assert missing == []


def test_contributing_names_existing_identifiers():
    sources = [
        path.read_text(encoding="utf-8") for folder in ("src", "tests") for path in (ROOT / folder).rglob("*.py")
    ]
    known = set(re.findall(r"\w+", "\n".join(sources)))
    names = {span for span in code_spans(ROOT / "CONTRIBUTING.md") if re.fullmatch(r"\w*[A-Z_]\w*", span)}
    assert len(names) > 10
    assert names <= known | {"NAME"}


def test_the_guides_are_short():
    guides = [page for page in PAGES if page.name != "studio-keys.md"]  # which is a table that a test writes
    words = [word for page in guides for word in page.read_text(encoding="utf-8").split() if re.search(r"\w", word)]
    assert len(words) <= MAX_WORDS


def test_the_api_page_names_everything_public():
    named = {name.removeprefix("soundloom.") for name in API}
    assert named >= set(soundloom.__all__) - {"__version__", "SoundloomError"}
    assert "errors" in named  # SoundloomError among them


def resolve(path: str) -> Any:
    """Return the object that a dotted path names."""
    parts = path.split(".")
    for split in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for name in parts[split:]:
            found = getattr(found, name)
        return found
    raise LookupError(path)


def public_members(owner: Any) -> dict[str, Any]:
    """Return the public functions, properties and classes that a class inherits or a module defines."""
    if inspect.isclass(owner):
        members = {name: getattr(owner, name) for base in owner.__mro__ for name in vars(base)}
        return {
            name: member
            for name, member in members.items()
            if isinstance(member, property) or inspect.isroutine(member)
            if not name.startswith("_") and "soundloom" in (getattr(member, "__module__", None) or "soundloom")
        }
    members = vars(owner).items() if inspect.ismodule(owner) else ()
    return {name: member for name, member in members if getattr(member, "__module__", "") == owner.__name__}


@pytest.mark.parametrize("path", API)
def test_everything_on_the_api_page_has_a_docstring(path):
    found = resolve(path)
    documented = {path: found} | {f"{path}.{name}": member for name, member in public_members(found).items()}
    assert [name for name, member in documented.items() if not inspect.getdoc(member)] == []
