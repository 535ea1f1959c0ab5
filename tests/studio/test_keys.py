"""Keys, and what they switch: the sheet, listening, new takes, screens."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

SECONDS = 2


@pytest.fixture(scope="module")
def takes(studio):
    """Return two takes of other words, with titles."""
    found = {
        title: studio.make(prompt, seconds=SECONDS, seed=2)[0]
        for title, prompt in (("a drum", "kick drum loop, 120 BPM"), ("some rain", "rain"))
    }
    for title, take in found.items():
        studio.client.patch(f"/v1/takes/{take}", json={"title": title})
    return found


@pytest.fixture
def keys(page, takes):
    """Return a page with both takes open, one after the other, and nothing in focus."""
    for title in takes:
        page.get_by_role("link", name="Library").click()
        page.get_by_role("button", name=title, exact=True).click()
        expect(page.get_by_role("heading", name=title)).to_be_visible()
    expect(button(page, "Play")).to_be_enabled()
    expect(button(page, "A: the take before")).to_be_enabled()
    page.evaluate("document.activeElement.blur()")
    return page


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def pressed(page, name):
    return expect(button(page, name)).to_have_attribute("aria-pressed", "true")


def test_space_plays_and_pauses_and_l_loops(keys):
    keys.keyboard.press("l")
    pressed(keys, "Loop")
    keys.keyboard.press(" ")
    expect(button(keys, "Pause")).to_be_visible()
    keys.keyboard.press(" ")
    expect(button(keys, "Play")).to_be_visible()


def test_x_switches_and_while_held_goes_back(keys):
    tap = """["keydown", "keyup"].forEach((kind) =>
        document.body.dispatchEvent(new KeyboardEvent(kind, { key: "x", bubbles: true })))"""
    keys.evaluate(tap)  # on a busy machine, keys of the browser come too slowly for a tap
    pressed(keys, "A: the take before")
    keys.evaluate(tap)
    pressed(keys, "B: the take in the editor")
    keys.keyboard.down("x")
    pressed(keys, "A: the take before")
    keys.wait_for_timeout(350)  # longer than a tap
    keys.keyboard.up("x")
    pressed(keys, "B: the take in the editor")


def test_arrows_go_by_beats_and_by_samples(keys):
    keys.get_by_role("link", name="Library").click()
    keys.get_by_role("button", name="a drum", exact=True).click()
    position = keys.get_by_role("group", name="Position")
    keys.evaluate("document.activeElement.blur()")
    keys.keyboard.press("Home")
    expect(position).to_contain_text("00:00.000")
    expect(position).to_contain_text("bar 1.1.1")
    keys.keyboard.press("ArrowRight")
    expect(position).to_contain_text("00:00.500")
    expect(position).to_contain_text("bar 1.2.1")
    keys.keyboard.press("Control+ArrowLeft")
    expect(position).to_contain_text("00:00.499")
    keys.keyboard.press("End")
    expect(position).to_contain_text("00:01.999")


def test_new_takes_are_heard_and_kept(keys):
    keys.get_by_role("textbox", name="Prompt", exact=True).fill("rain")
    keys.get_by_label("Takes", exact=True).fill("2")
    keys.keyboard.press("Control+Enter")
    expect(keys.locator(".strip .thumbnail")).to_have_count(2, timeout=60_000)
    keys.evaluate("document.activeElement.blur()")
    keys.keyboard.press("ArrowDown")
    expect(button(keys, "B: the new take")).to_be_enabled()
    expect(button(keys, "A: the take in the editor")).to_be_enabled()
    keys.keyboard.press("ArrowDown")
    keys.keyboard.press("Enter")
    expect(keys.get_by_role("heading", name="rain", exact=True)).to_be_visible()
    expect(button(keys, "A: the take before")).to_be_enabled()
    keys.keyboard.press("Control+z")
    expect(keys.get_by_role("heading", name="some rain")).to_be_visible()


def test_modes_and_screens_have_keys(keys):
    for key, name in (("e", "Extend"), ("v", "Vary"), ("i", "Remake")):
        keys.keyboard.press(key)
        pressed(keys, name)
    keys.keyboard.press("/")
    expect(keys.get_by_role("searchbox")).to_be_focused()
    keys.evaluate("document.activeElement.blur()")
    keys.keyboard.press("1")
    expect(keys.get_by_role("region", name="Editor")).to_be_visible()


def test_letters_are_letters_where_one_types(keys):
    prompt = keys.get_by_role("textbox", name="Prompt", exact=True)
    prompt.fill("")
    prompt.press_sequentially("x l? 1")
    expect(prompt).to_have_value("x l? 1")
    pressed(keys, "B: the take in the editor")
    expect(keys.locator("dialog[open]")).to_have_count(0)


def test_the_sheet_lists_the_keys_and_turns_those_of_one_letter_off(keys):
    keys.keyboard.press("?")
    sheet = keys.get_by_role("dialog", name="Keyboard shortcuts")
    expect(sheet.get_by_text("play, pause")).to_be_visible()
    sheet.get_by_role("checkbox", name="Shortcuts of one key").uncheck()
    keys.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    keys.evaluate("document.activeElement.blur()")
    keys.keyboard.press("l")
    keys.keyboard.press("?")
    expect(button(keys, "Loop")).to_have_attribute("aria-pressed", "false")
    expect(sheet).to_be_hidden()
    keys.get_by_role("button", name="Keyboard shortcuts").click()
    sheet.get_by_role("checkbox", name="Shortcuts of one key").check()


def test_a_blind_test_keeps_its_score_and_its_secret(keys):
    keys.evaluate("Math.random = () => 0.1")  # X is A
    keys.get_by_role("button", name="Listening").click()
    keys.get_by_role("button", name="Blind test").click()
    dialog = keys.get_by_role("dialog", name="Which one is it?")
    expect(dialog.get_by_text("No answers yet.")).to_be_visible()
    expect(keys.locator(".meter")).to_be_hidden()
    pressed(dialog, "Hear X")
    keys.keyboard.press("a")
    pressed(dialog, "Hear A")
    button(dialog, "X is A").click()
    expect(dialog.get_by_role("status")).to_contain_text("Right. 1 of 1 right.")
    button(dialog, "X is B").click()
    expect(dialog.get_by_role("status")).to_contain_text(
        "Wrong. 1 of 2 right. Guessing does as well in 75 of 100 tests."
    )
    button(dialog, "Close").click()
    expect(keys.locator(".meter")).to_be_visible()
    pressed(keys, "B: the take in the editor")


def test_the_tempo_is_typed_doubled_and_tapped(page, takes):
    page.get_by_role("link", name="Library").click()
    page.get_by_role("button", name="a drum", exact=True).click()
    facts = page.locator(".facts")
    expect(facts).to_have_text(re.compile("120 BPM asked"))
    facts.click()
    button(page, "Double the tempo").click()
    expect(facts).to_have_text(re.compile("240 BPM typed"))
    page.get_by_role("group", name="Tempo and key").get_by_label("Tempo", exact=True).fill("90")
    expect(facts).to_have_text(re.compile("90 BPM typed"))
    page.get_by_role("group", name="Tempo and key").get_by_label("Tempo", exact=True).fill("")
    expect(facts).to_have_text(re.compile("120 BPM asked"))
    for _ in range(3):
        button(page, "Tap the beat").click()
        page.wait_for_timeout(300)  # the taps
    expect(facts).to_have_text(re.compile(r"\d BPM typed"))


def test_any_of_the_takes_that_were_open_can_be_a(keys):
    keys.get_by_role("button", name="Listening").click()
    expect(keys.get_by_label("A is")).to_have_value(re.compile("."))
    expect(keys.get_by_label("A is").locator("option")).to_have_text([re.compile(r"^made: a drum · seed \d+$")])


def test_a_take_of_the_library_is_heard_and_left_with_its_screen(keys):
    keys.get_by_role("link", name="Library").click()
    row = keys.locator(".take", has_text="a drum")
    row.get_by_role("button", name="Listen").click()
    expect(button(keys, "B: the take that you chose to hear")).to_be_visible()
    expect(row.get_by_role("button", name="Pause")).to_be_visible()
    keys.get_by_role("link", name="Studio").click()
    pressed(keys, "B: the take in the editor")


def test_without_a_sound_device_the_page_says_so(open_studio, takes):
    page = open_studio()
    page.add_init_script("Object.defineProperty(BaseAudioContext.prototype, 'currentTime', { get: () => 0 })")
    page.reload()
    page.get_by_role("link", name="Library").click()
    page.get_by_role("button", name="a drum", exact=True).click()
    button(page, "Loop").click()
    button(page, "Play").click()
    expect(page.get_by_text("the browser has no sound device")).to_be_visible()


def test_menus_have_no_faults(keys):
    from axe_playwright_python.sync_playwright import Axe

    for name in ("Listening", "Tempo and key"):
        opener = keys.locator(".facts") if name == "Tempo and key" else keys.get_by_role("button", name=name)
        opener.click()
        expect(keys.get_by_role("group", name=name)).to_be_visible()
        results = Axe().run(keys)
        assert results.violations_count == 0, results.generate_report()
        keys.keyboard.press("Escape")
    keys.get_by_role("button", name="Listening").click()
    keys.get_by_role("button", name="Blind test").click()
    expect(keys.get_by_role("dialog", name="Which one is it?")).to_be_visible()
    results = Axe().run(keys)
    assert results.violations_count == 0, results.generate_report()
    keys.keyboard.press("Escape")
    keys.evaluate("document.activeElement.blur()")
    keys.keyboard.press("?")
    results = Axe().run(keys)
    assert results.violations_count == 0, results.generate_report()


def test_a_key_works_at_once_after_a_dialog_with_a_field_closed(keys):
    keys.keyboard.press("?")
    sheet = keys.get_by_role("dialog", name="Keyboard shortcuts")
    sheet.get_by_text("Change keys").click()
    sheet.get_by_label("Loop", exact=True).focus()
    keys.evaluate(
        """() => {
            const field = document.activeElement;
            field.closest("dialog").close();
            field.dispatchEvent(new KeyboardEvent("keydown", { key: "l", bubbles: true }));
        }"""
    )  # within one frame: the field still has the focus
    pressed(keys, "Loop")


def test_keys_can_be_changed_but_not_shared(keys):
    keys.keyboard.press("?")
    sheet = keys.get_by_role("dialog", name="Keyboard shortcuts")
    sheet.get_by_text("Change keys").click()
    loop = sheet.get_by_label("Loop", exact=True)
    loop.press("s")
    expect(sheet.get_by_text("S is taken by “Snap”; choose another key.")).to_be_visible()
    expect(loop).to_have_value("L")
    loop.press("q")
    expect(sheet.get_by_text("Loop: Q", exact=True)).to_be_visible()
    expect(sheet.locator("dl > div", has_text="loop").locator("kbd")).to_have_text("Q")
    keys.keyboard.press("Escape")
    keys.keyboard.press("l")
    expect(button(keys, "Loop")).to_have_attribute("aria-pressed", "false")
    keys.keyboard.press("q")
    pressed(keys, "Loop")
    keys.reload()
    expect(button(keys, "Loop")).to_be_enabled()
    keys.keyboard.press("?")
    sheet.get_by_text("Change keys").click()
    sheet.get_by_role("button", name="Reset keys").click()
    expect(loop).to_have_value("L")
