"""The editor: regions, extensions and what an edit kept (checks 11 to 19 of the design)."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import expect

BEAT = 22_050  # samples, at 120 BPM


@pytest.fixture(scope="module")
def loop(studio):
    return studio.make("kick drum loop, 120 BPM", seconds=4, seed=1)[0]


@pytest.fixture
def editor(page, studio, loop):
    return Editor(page, studio, loop)


class Editor:
    """A page with a take in its editor. Positions on the stage are shares of the take."""

    def __init__(self, page, studio, take):
        self.page, self.studio, self.take = page, studio, take
        studio.client.patch(f"/v1/takes/{take}", json={"title": f"take {take}"})
        page.get_by_role("link", name="Library").click()
        page.get_by_role("button", name=f"take {take}", exact=True).click()
        self.stage = page.get_by_role("group", name="Waveform of")
        self.main = page.locator(".words button.main")
        expect(self.stage).to_be_visible()
        expect(page.get_by_role("button", name="Play", exact=True)).to_be_enabled()

    def at(self, share, height=0.6):
        box = self.stage.bounding_box()
        return box["x"] + 31 + share * (box["width"] - 62), box["y"] + height * box["height"]

    def drag(self, start, end, height=0.6):
        mouse = self.page.mouse
        mouse.move(*self.at(start, height))
        mouse.down()
        for step in (0.3, 0.7, 1):
            mouse.move(*self.at(start + (end - start) * step, height))
        mouse.up()

    def regions(self):
        """Return the regions in samples, as the sliders say them."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        found = self.page.locator(".edge[data-region]")
        values = found.evaluate_all("(edges) => edges.map((edge) => Number(edge.ariaValueNow))")
        return list(zip(values[::2], values[1::2], strict=True))

    def submit(self, **changes):
        """Press the main button; return the take that it makes."""
        for label, value in changes.items():
            self.page.get_by_label(label, exact=True).fill(value)
        known = {take["id"] for take in self.studio.takes()}
        self.main.click()
        expect(self.page.locator(".strip .thumbnail").first).to_be_visible(timeout=60_000)
        made = [take["id"] for take in self.studio.takes() if take["id"] not in known]
        assert made
        return made[-1]

    def keep(self):
        self.page.locator(".strip button").first.click()
        self.page.keyboard.press("Enter")


def end_of(editor):
    """Return where the stage shows the end of the take, as far as no extension moved it."""
    more = editor.page.get_by_role("button", name="Add 8 s after").bounding_box()
    return more["x"] + more["width"] / 2 - 15, editor.at(0, 0.6)[1]


def compared(studio, before, after, spans):
    """Return how many samples outside spans are the same, and how many there are."""
    first, second = studio.samples(before), studio.samples(after)
    outside = np.ones(len(second), bool)
    for start, end in spans:
        outside[start:end] = False
    return int((first == second).all(axis=1)[outside].sum()), int(outside.sum())


def test_check_11_three_regions_in_three_drags_and_one_click(editor):
    for start in (0.1, 0.4, 0.7):
        editor.drag(start, start + 0.15)
    expect(editor.main).to_have_text("Remake 3 regions")
    editor.main.click()
    expect(editor.page.locator(".strip .thumbnail").first).to_be_visible(timeout=60_000)
    record = editor.studio.takes()[0]["record"]
    assert len(record["request"]["regions"]) == 3


def test_check_12_kept_samples_are_those_of_a_comparison_in_python(editor, loop):
    editor.drag(0.25, 0.5)
    regions = editor.regions()
    take = editor.submit(Takes="1", Seed="3")
    editor.keep()
    same, outside = compared(editor.studio, loop, take, regions)
    assert same == outside
    line = editor.page.get_by_text("Kept samples are identical")
    expect(line).to_have_text(f"Kept samples are identical ({same:,} of 176,400)")


def test_check_13_edges_typed_in_samples_come_back_in_the_record(editor):
    page = editor.page
    page.get_by_label("Unit of positions").select_option("samples")
    page.get_by_label("A range").fill("44101–66151")
    page.keyboard.press("Enter")
    page.get_by_label("A range").fill("100001-123457")
    page.keyboard.press("Enter")
    page.get_by_role("textbox", name="End of region A").fill("66149")
    page.keyboard.press("Tab")
    assert editor.regions() == [(44_101, 66_149), (100_001, 123_457)]
    take = editor.submit(Takes="1")
    record = editor.studio.client.get(f"/v1/takes/{take}").json()["record"]
    assert [[round(s * 44_100, 6) for s in span] for span in record["request"]["regions"]] == [
        [44_101, 66_149],
        [100_001, 123_457],
    ]


def test_check_14_beats_at_120_bpm_are_multiples_of_22050_samples(editor):
    editor.page.get_by_label("Snap").select_option("beat")
    editor.drag(0.13, 0.36)
    editor.drag(0.52, 0.91)
    found = editor.regions()
    assert len(found) == 2 and all(edge % BEAT == 0 for span in found for edge in span)


def test_check_16_a_region_on_the_spectrogram_is_the_same_request(editor):
    asked = []
    page = editor.page
    page.on("request", lambda request: request.url.endswith("/v1/jobs") and asked.append(request.post_data_json))
    editor.drag(0.2, 0.45)
    editor.submit(Takes="1", Seed="3")
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Spectrogram").click()
    editor.drag(0.2, 0.45)
    editor.main.click()
    expect(page.locator(".strip .thumbnail").first).to_be_visible(timeout=60_000)
    assert len(asked) == 2 and asked[0] == asked[1]


def test_check_17_regions_cannot_overlap(editor):
    page = editor.page
    editor.drag(0.1, 0.3)
    editor.drag(0.5, 0.7)
    editor.drag(0.4, 0.6)  # into the second
    expect(page.get_by_text(re.compile("The regions touched"))).to_be_visible()
    assert len(editor.regions()) == 2
    page.get_by_role("textbox", name="Start of region B").fill("0.9")
    page.keyboard.press("Tab")
    (one,) = editor.regions()
    assert one[0] == BEAT and one[1] > 2 * 44_100
    page.get_by_label("Editor").get_by_role("slider", name="End of region A").focus()
    page.keyboard.press("End")
    assert editor.regions()[0][1] == 176_400


@pytest.mark.parametrize("sides", [("after",), ("before",), ("before", "after")], ids="-".join)
def test_check_18_and_19_ends_that_are_dragged_extend_a_take(editor, sides):
    page = editor.page
    page.get_by_label("Snap").select_option("off")
    for side in sides:
        if side == "before":
            editor.drag(0, -0.035)
        else:
            page.mouse.move(*end_of(editor))
            page.mouse.down()
            page.mouse.move(end_of(editor)[0] + 27, end_of(editor)[1], steps=3)
            page.mouse.up()
    added = {side: float(page.get_by_label(side.title(), exact=True).input_value()) for side in sides}
    assert all(added.values())
    both = r"Extend by [\d.]+ s before, [\d.]+ s after"
    expect(editor.main).to_have_text(re.compile(both if len(sides) > 1 else r"Extend by [\d.]+ s"))
    take = editor.submit(Takes="1")
    editor.keep()
    old, new = editor.studio.samples(editor.take), editor.studio.samples(take)
    request = editor.studio.client.get(f"/v1/takes/{take}").json()["record"]["request"]
    assert request["seconds"] == pytest.approx(4 + sum(added.values()), abs=2e-4)
    assert request.get("offset", 0) == pytest.approx(added.get("before", 0), abs=1e-4)
    assert len(new) == round(request["seconds"] * 44_100) > len(old)
    offset = round(request.get("offset", 0) * 44_100)
    assert (new[offset : offset + len(old)] == old).all()
    expect(editor.page.get_by_text("Kept samples are identical")).to_contain_text("176,400 of")


def test_check_15_brackets_set_the_edges_where_the_ear_is(editor):
    page = editor.page
    page.evaluate("addEventListener('keydown', (event) => (window.pressed ??= []).push(event.timeStamp), true)")
    page.get_by_role("slider", name="Playhead").focus()
    page.get_by_role("button", name="Play", exact=True).click()
    head = page.get_by_role("slider", name="Playhead")
    expect(head).not_to_have_attribute("aria-valuenow", "0")
    for key, after in (("[", "0"), ("]", "1")):
        page.wait_for_function("(after) => document.querySelector('.playhead').ariaValueNow > 44100 * after", arg=after)
        shown = [int(head.get_attribute("aria-valuenow"))]
        page.keyboard.press(key)
        editor.regions()  # two frames later
        shown.append(int(head.get_attribute("aria-valuenow")))
        if key == "[":
            first = shown
    (region,) = editor.regions()
    for edge, (low, high) in zip(region, (first, shown), strict=True):
        assert low - 882 <= edge <= high + 882  # 20 ms
    pressed = page.evaluate("pressed")
    assert (region[1] - region[0]) / 44_100 == pytest.approx((pressed[1] - pressed[0]) / 1000, abs=0.02)


def test_a_candidate_is_shown_in_place_of_the_take(editor):
    page = editor.page
    editor.drag(0.25, 0.5)
    editor.submit(Takes="2")
    page.locator(".strip button").first.click()
    expect(page.get_by_text("take 1 of 2 is shown and plays")).to_be_visible()
    editor.keep()
    expect(page.get_by_text("is shown and plays")).to_be_hidden()


def test_sliders_move_by_beats_10_ms_and_samples(editor):
    page = editor.page
    page.get_by_label("Snap").select_option("beat")
    head = page.get_by_role("slider", name="Playhead")
    head.focus()
    page.keyboard.press("ArrowRight")
    expect(head).to_have_attribute("aria-valuetext", "0.5 seconds, bar 1 beat 2")
    page.keyboard.press("Control+ArrowRight")
    expect(head).to_have_attribute("aria-valuenow", str(BEAT + 1))
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    page.get_by_role("button", name="Add region").click()
    assert editor.regions() == [(0, BEAT)]
    page.get_by_label("Snap").select_option("off")
    start = page.get_by_role("group", name="Waveform of").get_by_role("slider", name="Start of region A")
    start.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Control+ArrowLeft")
    assert editor.regions() == [(440, BEAT)]
    page.keyboard.press("Shift+ArrowRight")
    assert editor.regions() == [(881, BEAT + 441)]
    page.keyboard.press("Delete")
    assert editor.regions() == []
    page.keyboard.press("Control+z")
    assert editor.regions() == [(881, BEAT + 441)]


def touch(session, kind, *points):
    points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
    session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})


def test_fingers_draw_after_a_long_press_zoom_with_two_and_scroll_with_one(open_studio, studio, loop):
    editor = Editor(open_studio(width=1024, touch=True), studio, loop)
    page, session = editor.page, editor.page.context.new_cdp_session(editor.page)
    touch(session, "Start", editor.at(0.3))
    page.wait_for_timeout(450)  # a long press
    touch(session, "Move", editor.at(0.4))
    touch(session, "Move", editor.at(0.6))
    touch(session, "End")
    (region,) = editor.regions()
    assert region[0] < region[1]
    touch(session, "Start", editor.at(0.45), editor.at(0.55))
    touch(session, "Move", editor.at(0.3), editor.at(0.7))
    touch(session, "Move", editor.at(0.1), editor.at(0.9))
    touch(session, "End")
    expect(page.get_by_role("button", name="Show all of it")).to_be_enabled()
    frame = page.locator(".overview .frame")  # around what is in view
    before = frame.bounding_box()["x"]
    touch(session, "Start", editor.at(0.5))
    touch(session, "Move", editor.at(0.52))
    touch(session, "Move", editor.at(0.55))
    touch(session, "End")
    assert editor.regions() == [region] and frame.bounding_box()["x"] < before


def test_a_double_click_plays_a_region_and_a_click_seeks(editor):
    page = editor.page
    editor.drag(0.5, 0.75)
    page.mouse.click(*editor.at(0.25))
    head = page.get_by_role("slider", name="Playhead")
    expect(head).to_have_attribute("aria-valuenow", re.compile(r"^4[34]\d\d\d$"))
    page.mouse.dblclick(*editor.at(0.6))
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


def test_the_loop_is_drawn_on_the_ruler(editor):
    page = editor.page
    page.get_by_label("Snap").select_option("bar")
    editor.drag(0.02, 0.48, height=0.03)
    loop = page.get_by_role("group", name="Waveform of").get_by_role("slider", name="End of loop")
    expect(loop).to_have_attribute("aria-valuenow", "88200")
    expect(page.get_by_role("button", name="Loop", exact=True)).to_have_attribute("aria-pressed", "true")


def test_a_drag_beside_the_stage_scrolls(editor):
    page = editor.page
    page.get_by_label("Snap").select_option("off")
    for _ in range(3):
        page.get_by_role("button", name="Zoom in").click()
    frame = page.locator(".overview .frame")
    before = frame.evaluate("(frame) => frame.style.left")
    page.mouse.move(*editor.at(0.8))
    page.mouse.down()
    page.mouse.move(*editor.at(1.1), steps=3)
    page.wait_for_function("(left) => document.querySelector('.overview .frame').style.left !== left", arg=before)
    page.mouse.up()
    assert editor.regions()[0][1] > 0
    page.get_by_role("group", name="Waveform of").get_by_role("slider", name="Playhead").focus()
    page.keyboard.press("Home")
    expect(frame).to_have_css("left", re.compile(r"^\d(\.\d+)?px$"))


def in_passes(editor):
    """Give the second of two regions its own words."""
    page = editor.page
    for typed in ("0.5-1.0", "2.0-2.5"):
        page.get_by_label("A range").fill(typed)
        page.keyboard.press("Enter")
    page.get_by_role("button", name="Own words for region B").click()
    page.keyboard.type("snare violin")
    page.keyboard.press("Tab")
    expect(page.get_by_text("mini does not know: violin.")).to_be_visible()
    page.get_by_label("Own words for region B").last.fill("snare drum loop")
    expect(editor.main).to_have_text("Remake 2 regions in 2 passes")
    expect(page.get_by_label("Takes", exact=True)).to_be_hidden()


def test_regions_with_own_words_are_passes_that_go_on_after_a_reload(editor, studio, loop):
    page = editor.page
    in_passes(editor)
    known = {take["id"] for take in studio.takes()}
    studio.client.post("/v1/queue/pause")
    editor.main.click()
    expect(page.get_by_text("Pass 1 of 2 is being made; 1 pass follows.")).to_be_visible()
    page.wait_for_function("() => JSON.parse(localStorage['soundloom-words']).passes[0].at === 0")
    page.reload()
    expect(page.get_by_text("Pass 1 of 2 is being made; 1 pass follows.")).to_be_visible()
    studio.client.post("/v1/queue/resume")
    expect(page.get_by_text("Pass 1 of 2")).to_be_hidden()
    expect(page.locator(".strip .thumbnail")).to_be_visible()
    expect(page.get_by_text("Pass 2 of 2")).to_be_hidden()
    second, first = (take for take in studio.takes() if take["id"] not in known)
    assert [first["parent"], second["parent"]] == [loop, first["id"]]
    assert [one["record"]["request"]["regions"] for one in (first, second)] == [[[0.5, 1.0]], [[2.0, 2.5]]]
    assert second["prompt"] == "snare drum loop"
    same, outside = compared(studio, loop, second["id"], [(BEAT, 2 * BEAT), (4 * BEAT, 5 * BEAT)])
    assert same == outside
    assert page.evaluate("JSON.parse(localStorage['soundloom-words']).passes") == []


def test_what_follows_a_canceled_pass_is_named_and_can_be_left(editor, studio):
    page = editor.page
    in_passes(editor)
    studio.client.post("/v1/queue/pause")
    editor.main.click()
    expect(page.get_by_text("Pass 1 of 2 is being made")).to_be_visible()
    page.wait_for_function("() => JSON.parse(localStorage['soundloom-words']).passes[0].at === 0")
    (job,) = studio.client.get("/v1/jobs", params={"state": "queued"}).json()
    studio.client.post(f"/v1/jobs/{job['id']}/cancel")
    expect(page.get_by_text("Pass 1 of 2 was not finished, so 1 pass was not made.")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("Pass 1 of 2 is being made")).to_be_visible()
    studio.client.post(f"/v1/jobs/{job['id']}/cancel")
    studio.client.post("/v1/queue/resume")
    page.get_by_role("button", name="Leave it").click()
    expect(page.get_by_text("Pass 1 of 2")).to_be_hidden()


def test_the_first_beat_is_dragged_typed_and_moved_by_keys(editor):
    page = editor.page
    page.get_by_label("Snap").select_option("beat")
    first = page.get_by_role("slider", name="First beat")
    expect(first).to_have_attribute("aria-valuenow", "0")
    x, y = editor.at(0, 0.04)
    page.mouse.move(x - 6, y)
    page.mouse.down()
    page.mouse.move(*editor.at(0.05, 0.04), steps=3)
    page.mouse.up()
    expect(first).to_have_attribute("aria-valuetext", re.compile("bar 1 beat 1$"))
    dragged = int(first.get_attribute("aria-valuenow"))
    assert 8_000 < dragged < 11_000
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Control+ArrowRight")
    expect(first).to_have_attribute("aria-valuenow", str(dragged + 442))
    page.locator("button.facts").click()
    field = page.get_by_role("spinbutton", name="First beat")
    assert float(field.input_value()) == pytest.approx((dragged + 442) / 44_100, abs=1e-5)
    field.fill("0.1")
    expect(first).to_have_attribute("aria-valuenow", "4410")
    page.keyboard.press("Escape")
    editor.drag(0.2, 0.45)
    assert [edge % BEAT for edge in editor.regions()[0]] == [4410, 4410]
