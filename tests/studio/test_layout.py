"""Phones, tablets, zoom and reduced motion: everything is there, and nothing scrolls sideways."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

SCREENS = ("studio", "library", "batch", "models")
ROLES = "button|textbox|spinbutton|combobox|slider|checkbox|searchbox|link|radio|switch"
DRAWERS = ("words", "history", "menu")
TARGETS = """
([least, inside]) => [...document.querySelector(inside).querySelectorAll(
  "button, a, select, input, textarea, summary")].flatMap((element) => {
  if (!element.checkVisibility({ visibilityProperty: true }) || element.closest(".hidden-text, .skip")) return [];
  const label = element.closest("label") ?? (element.id && document.querySelector(`label[for="${element.id}"]`));
  const { left, top, width, height } = (element.type === "checkbox" || element.type === "radio") && label
    ? label.getBoundingClientRect() : element.getBoundingClientRect();
  const name = element.getAttribute("aria-label") || element.textContent || element.id;
  const reaches = (dx, dy) => { // pixels from the middle; a small control may react around itself as well
    for (let away = 0; ; away++) {
      const found = document.elementFromPoint(left + width / 2 + dx * away, top + height / 2 + dy * away);
      if (away >= least || !element.contains(found)) return away;
    }
  };
  if (reaches(-1, 0) + reaches(1, 0) >= least && reaches(0, -1) + reaches(0, 1) >= least) return [];
  return width + 0.5 < least || height + 0.5 < least ? [`${name}: ${Math.round(width)} × ${Math.round(height)}`] : [];
})
"""


@pytest.fixture(scope="module", autouse=True)
def takes(studio):
    return studio.make("bell, A4", count=2)


def open_take(page):
    """Open the newest take of the library, and return to the studio."""
    page.goto("/#library")
    page.locator(".library").get_by_role("button", name="bell, A4").first.click()
    expect(page.get_by_role("heading", name="bell, A4", level=1)).to_be_visible()
    return page


def is_wide(page) -> bool:
    return page.evaluate("document.scrollingElement.scrollWidth > innerWidth")


def names(page) -> set[str]:
    """Return roles and names of what can be used now."""
    return set(re.findall(rf"""- '?((?:{ROLES}) "[^"]*")""", page.locator("body").aria_snapshot()))


def go(page, screen: str) -> None:
    """Show a screen; one that does not exist yet leaves the studio."""
    page.goto(f"/#{screen}")
    exists = page.get_by_role("navigation", include_hidden=True).locator(f'a[href="#{screen}"]').count()
    expect(page.locator(f".screen.{screen if exists else 'studio'}")).to_be_visible()


def drawer(page, name: str) -> None:
    page.locator(f".open-{name}").click()


@pytest.mark.parametrize("width", [320, 390, 768, 1024])
@pytest.mark.parametrize("screen", SCREENS)
def test_no_screen_scrolls_sideways(open_studio, width, screen):
    page = open_take(open_studio(width=width, height=800, touch=width < 1024))
    page.get_by_placeholder("1.0–1.5").fill("0.2-0.5")
    page.get_by_role("button", name="Add region").click()
    page.get_by_role("button", name="Play", exact=True).click()
    go(page, screen)
    assert not is_wide(page)


def test_check_37_at_400_percent_nothing_is_lost(open_studio):
    """A window of 1280 × 1024 pixels at 400 % has 320 × 256."""
    wide = names(open_take(open_studio(width=1280, height=1024)))
    page = open_take(open_studio(width=320, height=256))
    assert not is_wide(page)
    found = names(page)
    for name in DRAWERS:
        drawer(page, name)
        found |= names(page)
        assert not is_wide(page)
        page.keyboard.press("Escape")
    shared = {name for name in wide if not re.search("history|measuring", name, re.I)}
    assert shared - found == set()
    main = page.get_by_role("button", name="Make 4")
    main.scroll_into_view_if_needed()
    expect(main).to_be_in_viewport(ratio=1)


def test_text_may_be_spaced_out(open_studio):
    """WCAG 1.4.12."""
    page = open_take(open_studio(width=1280))
    page.evaluate(
        """() => {
          const sheet = new CSSStyleSheet();
          sheet.replaceSync("* { line-height: 1.5 !important; letter-spacing: 0.12em !important; "
            + "word-spacing: 0.16em !important } p { margin-bottom: 2em !important }");
          document.adoptedStyleSheets = [sheet];
        }"""
    )
    assert not is_wide(page)
    expect(page.get_by_role("button", name="Make 4")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("screen", SCREENS)
def test_targets_are_large_enough(open_studio, screen):
    page = open_take(open_studio())
    go(page, screen)
    assert page.evaluate(TARGETS, [24, "body"]) == []


@pytest.mark.parametrize("screen", SCREENS)
def test_targets_are_large_enough_to_touch(open_studio, screen):
    page = open_take(open_studio(width=390, touch=True))
    go(page, screen)
    assert page.evaluate(TARGETS, [44, "body"]) == []
    if screen == "studio":
        for name, inside in zip(DRAWERS, (".words", ".history", "header"), strict=True):
            drawer(page, name)
            assert page.evaluate(TARGETS, [44, inside]) == []
            page.keyboard.press("Escape")


def test_a_drawer_takes_the_keyboard_and_gives_it_back(open_studio):
    page = open_take(open_studio(width=768))
    page.get_by_role("button", name="History", exact=True).press("Enter")
    expect(page.get_by_role("button", name="Close history")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="History", exact=True)).to_be_focused()
    expect(page.get_by_role("button", name="Close history")).to_be_hidden()
    page.get_by_role("button", name="History", exact=True).click()
    page.get_by_role("heading", name="bell, A4", level=1).click(position={"x": 1, "y": 1})
    expect(page.get_by_role("button", name="Close history")).to_be_hidden()


def test_the_sheet_of_a_phone_shows_the_settings(open_studio):
    page = open_studio(width=390, touch=True)
    expect(page.get_by_label("Seed", exact=True)).to_be_hidden()
    page.get_by_role("button", name="More", exact=True).click()
    expect(page.get_by_label("Seed", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Make 4")).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="Less", exact=True).click()
    expect(page.get_by_label("Seed", exact=True)).to_be_hidden()


def test_check_38_with_reduced_motion_nothing_slides(open_studio):
    page = open_take(open_studio(width=768, reduced_motion="reduce"))
    page.get_by_role("button", name="History", exact=True).click()
    moving = """() => [...document.querySelectorAll("*")].filter((element) => {
      const style = getComputedStyle(element);
      const times = [style.transitionDuration, style.animationDuration].join().split(",").map(parseFloat);
      return times.some((time) => time > 0) || style.scrollBehavior === "smooth";
    }).map((element) => element.outerHTML.slice(0, 100))"""
    assert page.evaluate(moving) == []
    assert page.evaluate("document.getAnimations().length") == 0


def test_forced_colors_show_what_is_chosen(open_studio):
    page = open_studio(forced_colors="active")
    chosen = page.get_by_role("button", name="New", exact=True)
    assert chosen.evaluate("(one) => getComputedStyle(one).outlineStyle") == "solid"
