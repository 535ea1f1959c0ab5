"""The pictures of the guides, and the trees of screen readers: of the same states, and compared with what is stored."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.studio.snapshots import DOCS, compare_picture, compare_text, compare_tree

PROMPT = "kick drum loop, 120 BPM"
NUMBERS = re.compile(r"(?<![\w.])−?\d+(?:[.,]\d+)*")  # seeds, times and levels; they depend on the machine
SCREENS = ("library", "batch", "models")


@pytest.fixture(scope="module")
def takes(studio):
    """A library of few takes, and the take that the pictures show: two of its regions were made again."""
    for prompt, seconds in (("rain", 3), ("bell, A4", 2), ("siren", 3), ("hi-hat loop, 120 BPM", 4)):
        studio.make(prompt, seconds=seconds, seed=7)
    made = studio.make(PROMPT, seconds=4, seed=3, count=2)
    regions = {"prompt": "snare drum loop, 120 BPM", "seed": 5, "regions": [[0.5, 1.0], [2.5, 3.0]], "crossfade": 0.01}
    body = {"kind": "inpaint", "source": made[0], "parent": made[0], "request": regions}
    changed = studio.run(body)[0]
    for take, title in ((made[0], "kick drum loop"), (changed, "kick and snare loop")):
        studio.client.patch(f"/v1/takes/{take}", json={"title": title})
    studio.client.patch(f"/v1/takes/{made[1]}", json={"favorite": True, "tags": ["drums"]})


def opened(open_studio, title: str, **options):
    """Open a take from the library."""
    page = open_studio(**options)
    page.goto("/#library")
    page.locator(".library").get_by_role("button", name=title, exact=True).click()
    expect(page.get_by_role("heading", name=title, level=1)).to_be_visible()
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_enabled()
    return page


def made_four(open_studio, **options):
    """Make four takes with a fixed seed, and keep the first."""
    page = open_studio(**options)
    page.get_by_label("Seed", exact=True).fill("3")
    page.get_by_role("button", name="Make 4").click()
    expect(page.get_by_text("Done: 4 takes are ready.")).to_be_attached()
    page.get_by_role("button", name=re.compile("^Take 1 of 4")).press("Enter")
    expect(page.get_by_role("heading", name=PROMPT, level=1)).to_be_visible()
    expect(page.locator(".strip").get_by_text("LUFS")).to_have_count(4)
    return page


def settled(page):
    """Wait until all canvases are drawn."""
    page.evaluate(
        "new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 400))"
    )
    return page


def tree(page) -> str:
    return NUMBERS.sub("N", re.sub(r"/v1/takes/\w+", "/v1/takes/ID", page.locator("body").aria_snapshot()))


def test_the_first_visit(open_studio):
    page = open_studio(height=860)
    expect(page.get_by_role("button", name="Make 4")).to_be_enabled()
    expect(page.get_by_text(re.compile("about .* s"))).to_be_visible()
    compare_tree("first", tree(page))
    compare_picture("first", settled(page).screenshot())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_takes_to_choose_from(open_studio, takes, theme):
    page = made_four(open_studio, theme=theme, height=860)
    compare_picture(f"takes-{theme}", settled(page).screenshot())
    if theme == "light":
        compare_tree("takes", tree(page))


def test_regions(open_studio, takes):
    page = opened(open_studio, "kick drum loop", height=860)
    for region in ("0.5–1.0", "2.5–3.0"):
        page.get_by_placeholder("1.0–1.5").fill(region)
        page.get_by_role("button", name="Add region").click()
    expect(page.get_by_role("button", name="Remake 2 regions")).to_be_enabled()
    page.get_by_label("Prompt", exact=True).fill("snare drum loop, 120 BPM")
    compare_tree("regions", tree(page))
    compare_picture("regions", settled(page).screenshot())


def test_what_an_edit_kept(open_studio, takes):
    page = opened(open_studio, "kick and snare loop")
    expect(page.get_by_text(re.compile("kept samples are identical", re.I))).to_be_visible()
    page.get_by_role("button", name="Both", exact=True).click()
    compare_picture("kept", settled(page).get_by_role("region", name="Editor").screenshot())


@pytest.mark.parametrize("screen", SCREENS)
def test_screens(open_studio, takes, screen):
    page = open_studio(height=700, path=f"/#{screen}")
    link = page.get_by_role("navigation", name="Screens").locator(f'a[href="#{screen}"]')
    if link.count() == 0:
        pytest.skip(f"there is no screen {screen}")
    expect(page.locator(f".screen.{screen}")).to_be_visible()
    compare_picture(screen, settled(page).screenshot())


def test_a_phone(open_studio):
    page = open_studio(width=390, touch=True)
    page.get_by_role("button", name="Make 4").click()
    expect(page.get_by_text("Done: 4 takes are ready.")).to_be_attached()
    page.get_by_role("button", name=re.compile("^Take 1 of 4")).press("Enter")
    expect(page.get_by_role("heading", name=PROMPT, level=1)).to_be_visible()
    page.locator(".middle").evaluate("(one) => one.scrollTo(0, 0)")
    compare_picture("phone", settled(page).screenshot())


def test_the_sheet_of_keys(open_studio):
    page = open_studio(height=900)
    expect(page.get_by_text(re.compile("about .* s"))).to_be_visible()
    page.get_by_role("button", name="Keyboard shortcuts").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    compare_tree("keys", tree(page))
    compare_picture("keys", page.get_by_role("dialog").screenshot())
    groups = page.locator("dialog.sheet section").evaluate_all(GROUPS)
    parts = [part for group in groups for part in (f"## {group['name']}", table(group["keys"]))]
    compare_text(DOCS / "studio-keys.md", "\n\n".join((KEYS_PAGE, *parts)))


GROUPS = """(sections) => sections.map((section) => ({
  name: section.querySelector("h3").textContent,
  keys: [...section.querySelectorAll("dl > div")].map((row) => [
    [...row.querySelectorAll("kbd")].map((key) => key.textContent), row.querySelector("dd").textContent]),
}))"""
KEYS_PAGE = """# Keys of the studio

The page lists them behind <kbd>?</kbd>, where shortcuts of one key can be switched off, or changed
under *Change keys*; two things cannot have the same key. On a Mac, <kbd>Ctrl</kbd> is <kbd>⌘</kbd>.
The test suite writes this page."""


def table(keys) -> str:
    rows = (f"| {' '.join(f'<kbd>{key}</kbd>' for key in names)} | {does} |" for names, does in keys)
    return "\n".join(("| keys | do |", "|---|---|", *rows))
