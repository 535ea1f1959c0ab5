"""The form of the pages: links that lead somewhere, lists that render everywhere, lines and lengths within bounds.

`mkdocs build --strict` (make docs) checks anchors and the navigation as well.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

import soundloom
from tests.docs.pages import PAGES, ROOT

ALL_PAGES = sorted({*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")})
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
LIST_ITEM = re.compile(r"([-*]|\d+\.) ")
API = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.M)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)


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


def test_the_api_page_names_everything_public():
    named = {name.removeprefix("soundloom.") for name in API}
    assert named >= set(soundloom.__all__) - {"__version__", "SoundloomError"}
    assert "errors" in named  # SoundloomError among them
