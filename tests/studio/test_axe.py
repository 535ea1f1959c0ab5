"""Check 36: axe finds nothing on any screen, in both themes, at three widths."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

OPTIONS = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}


def check(page) -> None:
    """Fail with a report of what axe finds on a page."""
    found = Axe().run(page, options=OPTIONS)
    assert found.violations_count == 0, found.generate_report()


@pytest.fixture(scope="module")
def take(studio):
    return studio.make("bell, A4", count=2)[0]


@pytest.mark.parametrize("width", [390, 1024, 1440])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_check_36_axe_finds_nothing(open_studio, take, theme, width):
    page = open_studio(theme=theme, width=width, touch=width == 390)
    expect(page.get_by_role("button", name="Make 4").first).to_be_enabled()
    check(page)
    for screen in page.get_by_role("navigation", name="Screens").get_by_role("link").all():
        screen.click()
        check(page)
