"""The walk of somebody who sees the studio for the first time, with the mouse and with the keyboard alone.

Both use what can be seen or heard by a screen reader: roles and names.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

MAX_ACTIONS = 14
PROMPT = "hi-hat loop, 120 BPM"
# Where the keyboard is: its name, whether its ring can be seen, and whether anything lies on top of it.
FOCUSED = """() => {
  const element = document.activeElement;
  const { left, top, width, height } = element.getBoundingClientRect();
  const styles = ["", "::before", "::after"].map((part) => getComputedStyle(element, part));
  const clamp = (at, end) => Math.max(1, Math.min(end - 1, at));
  const above = document.elementFromPoint(clamp(left + width / 2, innerWidth), clamp(top + height / 2, innerHeight));
  const group = above?.closest("[role=group]");
  return {
    role: element.getAttribute("role") || element.localName,
    name: element.ariaLabel || element.labels?.[0]?.textContent || element.textContent.trim(),
    ringed: styles.some((style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2),
    inside: top + height > 0 && top < innerHeight && left + width > 0 && left < innerWidth,
    covered: width > 0 && !(element.contains(above) || above?.contains(element) || group?.contains(element)),
  };
}"""


class Walk:
    """Count clicks, drags and keys that are no typing."""

    def __init__(self, page) -> None:
        self.page, self.actions = page, []

    def click(self, role: str, name) -> None:
        self.actions.append(f"click {getattr(name, 'pattern', name)}")
        self.page.get_by_role(role, name=name).first.click()

    def press(self, key: str) -> None:
        self.actions.append(f"press {key}")
        self.page.keyboard.press(key)

    def drag(self, start: float, end: float) -> None:
        """Draw over the waveform, from one share of its width to another."""
        self.actions.append(f"drag {start} to {end}")
        box = self.page.get_by_role("group", name="Waveform of").bounding_box()
        y = box["y"] + 0.6 * box["height"]
        self.page.mouse.move(box["x"] + start * box["width"], y)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + (start + end) / 2 * box["width"], y)
        self.page.mouse.move(box["x"] + end * box["width"], y)
        self.page.mouse.up()

    def type(self, label: str, text: str) -> None:
        """Type into a field that the keyboard reaches at once, or after a click."""
        self.page.get_by_label(label, exact=True).fill(text)


def takes_are_there(page, count: int) -> None:
    takes = page.get_by_role("region", name="New takes").get_by_role("button", name=re.compile("^Take"))
    expect(takes).to_have_count(count)
    expect(page.get_by_text("Done: ")).to_be_attached(timeout=90_000)


def test_a_newcomer_makes_a_loop_replaces_regions_compares_keeps_and_finds_it(page, studio, capsys):
    walk = Walk(page)
    walk.type("Prompt", PROMPT)
    walk.type("Takes", "2")  # a slow machine offers fewer
    walk.click("button", "Make 2")
    takes_are_there(page, 2)
    walk.click("button", re.compile("^Take 2"))
    walk.press("Enter")
    expect(page.get_by_role("heading", name=PROMPT, level=1)).to_be_visible()
    walk.drag(0.25, 0.35)
    walk.drag(0.6, 0.75)
    page.get_by_label("Takes", exact=True).fill("1")
    walk.click("button", "Remake 2 regions")
    expect(page.get_by_role("button", name=re.compile("^Take 1 of 1"))).to_be_visible()
    walk.click("button", re.compile("^Take 1 of 1"))
    walk.press("Enter")
    expect(page.get_by_text(re.compile("kept samples are identical", re.I))).to_be_visible()
    walk.click("button", re.compile("^A"))
    walk.click("button", re.compile("^B"))
    walk.click("link", "Library")
    page.get_by_role("searchbox").fill("hi-hat")
    expect(page.get_by_role("button", name=PROMPT)).to_have_count(3)
    made = studio.wait_for(1, kind="inpaint")
    assert [take["prompt"] for take in made] == [PROMPT]
    with capsys.disabled():
        print(f"\nwalk: {len(walk.actions)} actions of {MAX_ACTIONS}: {'; '.join(walk.actions)}")
    assert len(walk.actions) <= MAX_ACTIONS


class Keyboard:
    """Go through the page by keys, and see each time that the place can be seen."""

    def __init__(self, page) -> None:
        self.page = page

    def check(self) -> dict:
        found = self.page.evaluate(FOCUSED)
        assert found["ringed"], found
        assert found["inside"], found
        assert not found["covered"], found
        return found

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def to(self, name: str, key: str = "Tab", limit: int = 80) -> None:
        """Move to what has a name that begins with `name`."""
        seen = []
        for _ in range(limit):
            self.press(key)
            if self.page.evaluate("document.activeElement === document.body"):
                continue  # the end of the page, after which it begins again
            seen.append(self.check()["name"])
            if re.match(name, seen[-1]):
                return
        raise AssertionError(f"the keyboard does not reach {name}: {seen}")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_check_35_all_by_keyboard(open_studio, studio, theme):
    page = open_studio(theme=theme)
    expect(page.get_by_role("button", name="Make 4")).to_be_enabled()
    keyboard = Keyboard(page)
    keyboard.to("Prompt")
    keyboard.press("Control+a")
    page.keyboard.type(f"bell, A4 {theme}"[:8])
    keyboard.to("Takes")
    keyboard.press("Control+a", "2")
    keyboard.to("Prompt", "Shift+Tab")
    keyboard.press("Control+Enter")
    expect(page.get_by_text("Done: 2 takes are ready.")).to_be_attached()
    keyboard.to("Take 1 of 2")
    keyboard.press("ArrowRight")
    keyboard.check()
    keyboard.press("Enter")
    expect(page.get_by_role("heading", name="bell, A4", level=1)).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^(Play|Pause)$"))).to_be_enabled()
    keyboard.to("Playhead", "Shift+Tab")
    keyboard.press("Home", *["ArrowRight"] * 30, "[", *["ArrowRight"] * 40, "]")
    expect(page.get_by_role("table", name="Regions").get_by_role("row")).to_have_count(2)
    keyboard.to("Prompt", "Shift+Tab")
    before = len([take for take in studio.takes() if take["kind"] == "inpaint"])
    keyboard.press("Control+Enter")
    studio.wait_for(2 + before, kind="inpaint")
    expect(page.get_by_text("Done: 2 takes are ready.")).to_be_attached()
    expect(page.get_by_role("button", name=re.compile("^Take 1 of 2"))).to_be_visible()
    keyboard.to("Take 1 of")
    keyboard.press("Enter")
    expect(page.get_by_text(re.compile("kept samples are identical", re.I))).to_be_visible()
    keyboard.to("Playhead", "Shift+Tab")
    keyboard.press("x")
    keyboard.press("x")
    keyboard.press("f")
    keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("★ kind:inpaint")
    expect(page.locator(".library").get_by_role("button", name="bell, A4").first).to_be_visible()


def test_the_keyboard_leaves_every_part(page, studio):
    """Tab goes round the whole page; nothing keeps it, and everything that can be pressed is reached."""
    studio.make("bell, A4")
    page.goto("/#library")
    page.locator(".library").get_by_role("button", name="bell, A4").first.click()
    expect(page.get_by_role("heading", name="bell, A4", level=1)).to_be_visible()
    keyboard, names = Keyboard(page), []
    for _ in range(150):
        keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):  # then it begins again
            continue
        names.append(keyboard.check()["name"])
        if len(names) > 10 and names[0] in names[1:]:
            break
    assert len(names) < 120
    for name in ("Skip to the editor", "Prompt", "Playhead", "Play"):
        assert any(found.startswith(name) for found in names), name
