"""Check 36: axe finds nothing on any screen and dialog, in both themes, at three widths."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

OPTIONS = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
MODES = ("Remake", "Edit", "New")
SIZES = [(theme, width) for theme in ("light", "dark") for width in (390, 1024, 1440)]


def check(page, where: str) -> None:
    """Fail with a report of what axe finds on a page."""
    page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished))")
    found = Axe().run(page, options=OPTIONS)
    assert found.violations_count == 0, f"{where}: {found.generate_report()}"


@pytest.fixture(scope="module")
def takes(studio):
    return studio.make("kick drum loop, 120 BPM", seconds=2, count=2)


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}-{size[1]}")
def shown(request, open_studio, takes):
    """Return a page of a theme and a width."""
    theme, width = request.param
    page = open_studio(theme=theme, width=width, touch=width == 390)
    expect(page.get_by_role("button", name="Make 4").first).to_be_enabled()
    return page


def is_narrow(page) -> bool:
    return page.viewport_size["width"] < 1024


def test_check_36_screens(shown):
    check(shown, "first visit")
    for link in shown.get_by_role("navigation", name="Screens", include_hidden=True).locator("a").all():
        screen = link.get_attribute("href").removeprefix("#")
        shown.goto(f"/#{screen}")
        expect(shown.locator(f".screen.{screen}")).to_be_visible()
        check(shown, screen)


def test_check_36_a_take_with_regions(shown):
    shown.goto("/#library")
    shown.locator(".library").get_by_role("button", name="kick drum loop, 120 BPM").first.click()
    expect(shown.get_by_role("heading", name="kick drum loop, 120 BPM", level=1)).to_be_visible()
    shown.get_by_placeholder("1.0–1.5").fill("0.5–1.0")
    shown.get_by_role("button", name="Add region").click()
    shown.get_by_role("button", name="Both", exact=True).click()
    for mode in MODES:
        shown.get_by_role("button", name=mode, exact=True).click()
        if is_narrow(shown):
            shown.locator(".open-words").click()
        folds = shown.locator(".words details:not([open]) > summary:visible")
        while folds.count():  # each one that opens leaves the list
            folds.first.click()
        check(shown, mode)
        if is_narrow(shown):
            shown.locator(".open-words").click()
    shown.get_by_role("button", name=re.compile("^Listening")).click()
    check(shown, "listening")


def test_check_36_dialogs(shown):
    for name in ("Keyboard shortcuts", "Settings"):
        if is_narrow(shown):
            shown.locator(".open-menu").click()
        button = shown.get_by_role("button", name=name, exact=True)
        if button.count():
            button.click()
            expect(shown.get_by_role("dialog")).to_be_visible()
            check(shown, name)
            shown.keyboard.press("Escape")
            expect(shown.get_by_role("dialog")).to_be_hidden()
        if is_narrow(shown):
            shown.locator(".open-menu").click()
    if is_narrow(shown):
        shown.locator(".open-menu").click()
        check(shown, "menu")
        shown.locator(".open-menu").click()
        shown.locator(".open-history").click()
        check(shown, "history")
