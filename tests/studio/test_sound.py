"""What is heard, sample by sample: loops, comparing, loudness, beats (checks 15, 21 to 24 and 33 of the design)."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from soundloom.audio.loudness import integrated_loudness

SOUND = Path(__file__).parent / "sound"
RATE = 44_100


@pytest.fixture
def offline(open_studio):
    """Return a function that runs one of `sound/offline.js` in a page."""
    page = open_studio()
    _serve(page)

    def run(call):
        return page.evaluate(f"import('/studio/js/test/offline.js').then((tests) => tests.{call})")

    return run


def _serve(page):
    page.route(
        "**/studio/js/test/*.js",
        lambda route: route.fulfill(path=SOUND / route.request.url.rpartition("/")[2], content_type="text/javascript"),
    )


class Recorder:
    """A page whose sound is recorded."""

    def __init__(self, page, studio):
        self.page, self.studio = page, studio
        _serve(page)
        page.add_init_script(path=SOUND / "record.js")
        page.reload()

    def open(self, *takes):
        """Open takes in the editor one after the other; the last one is B, the one before A."""
        for take in takes:
            self.studio.client.patch(f"/v1/takes/{take}", json={"title": f"take {take}"})
            self.page.get_by_role("link", name="Library").click()
            self.page.get_by_role("button", name=f"take {take}", exact=True).click()
            expect(self.page.get_by_role("heading", name=f"take {take}")).to_be_visible()
        expect(self.button("Play")).to_be_enabled()
        if len(takes) > 1:
            expect(self.button("A: the take before")).to_be_enabled()
        self.button("Loop").click()
        self.button("Play").click()  # the recorder is made with the first sound
        self.button("Pause").click()
        self.page.evaluate("recording.ready()")
        self.button("To the start").click()

    def button(self, name):
        return self.page.get_by_role("button", name=name, exact=True)

    def start(self):
        self.until = 0.0
        self.page.evaluate("recording.start()")

    def stop(self):
        """Return the samples (n, 2) since the start, the frame of the first, and when keys were pressed."""
        found = self.page.evaluate("recording.stop()")
        samples = np.frombuffer(base64.b64decode(found["samples"]), np.float32).reshape(-1, 2)
        heard = np.flatnonzero(samples.any(axis=1))
        first = int(heard[0]) if len(heard) else len(samples)
        return samples[first:], found["frame"] + first, found["keys"]

    def wait(self, seconds):
        """Wait until so much was heard since the start, or since the last wait."""
        self.until += seconds
        while self.page.evaluate("recording.passed()") < self.until:
            self.page.wait_for_timeout(20)

    def check(self, label):
        self.button("Listening").click()
        self.page.get_by_role("checkbox", name=label).check()
        self.page.keyboard.press("Escape")


@pytest.fixture
def recorder(page, studio):
    return Recorder(page, studio)


@pytest.fixture(scope="module")
def rain(studio):
    """Return two takes with the same samples."""
    return [studio.make("rain", seconds=0.25, seed=5)[0] for _ in range(2)]


def repeated(samples, count):
    """Return so many samples of a loop, from the first that can be heard."""
    first = int(np.flatnonzero(samples.any(axis=1))[0])
    return np.tile(samples, (2 + count // len(samples), 1))[first : first + count]


def test_check_21_a_bar_of_two_seconds_played_20_times_is_exact(offline):
    assert offline("bar()") == 0


def test_loops_of_any_samples_and_rates_are_exact(offline):
    assert offline("loops(60)") == 0


def test_starts_and_ends_lie_on_whole_samples(offline):
    assert offline("span()") == 0


def test_check_22_switching_50_times_between_equal_takes_is_the_take(offline):
    found = offline("switches(50, true)")
    assert (found["furthest"], found["pure"]) == (0, 1)


def test_check_22_two_unlike_takes_are_faded_into_each_other(offline):
    found = offline("switches(50, false)")
    assert found["outside"] == 0
    assert found["pure"] > 0.85, "but for 5 ms a switch"


def test_check_24_a_minus_b_is_exact(offline):
    assert offline("difference()") == 0


def test_a_shorter_take_repeats_with_the_longer_one(offline):
    assert offline("shorter()") == 0


def test_a_take_with_a_new_beginning_is_in_time_with_the_one_before(offline):
    assert offline("leads()") == 0


def test_jumps_and_loops_that_change_leave_no_gap(offline):
    found = offline("jumps()")
    assert found["wrong"] == 0
    assert found["highest"] <= 0.25


def test_the_metronome_clicks_on_the_beats_of_a_loop(offline):
    assert offline("clicks()") == [1 + 11_025 * beat for beat in range(6)]  # a sine begins with 0


def test_check_21_a_loop_of_the_page_is_exact(recorder, studio, rain):
    own = studio.samples(rain[0])
    recorder.open(rain[0])
    recorder.start()
    recorder.button("Play").click()
    recorder.wait(20 * 0.25 + 0.2)
    heard, _, _ = recorder.stop()
    assert len(heard) >= 20 * len(own)
    assert np.array_equal(heard, repeated(own, len(heard)))


def test_check_22_switching_50_times_on_the_page_never_moves_the_position(recorder, studio, rain):
    own = studio.samples(rain[0])
    recorder.open(*rain)
    recorder.start()
    recorder.button("Play").click()
    for _ in range(50):
        recorder.page.keyboard.press("x")
    recorder.wait(1)
    heard, _, _ = recorder.stop()
    assert len(heard) > 10_000
    assert np.array_equal(heard, repeated(own, len(heard)))


def test_check_23_both_are_equally_loud_and_nothing_is_turned_up(recorder, studio):
    takes = [studio.make(prompt, seconds=1, seed=5)[0] for prompt in ("rain", "kick drum loop, 120 BPM")]
    own = [integrated_loudness(studio.samples(take).T, RATE) for take in takes]
    assert abs(own[0] - own[1]) > 0.5, "or there is nothing to see here"
    recorder.open(*takes)
    expect(recorder.page.locator(".offset")).to_have_text(f"{min(0, own[0] - own[1]):.1f} dB".replace("-", "−"))
    levels = []
    for side in ("A: the take before", "B: the take in the editor"):
        recorder.button(side).click()
        recorder.start()
        recorder.button("Play").click()
        recorder.wait(1.2)
        heard, _, _ = recorder.stop()
        recorder.button("Pause").click()
        recorder.button("To the start").click()
        levels.append(integrated_loudness(heard[:RATE].T, RATE))
    assert abs(levels[0] - levels[1]) < 0.2
    assert abs(levels[0] - min(own)) < 0.2


def test_check_24_the_difference_of_equal_takes_is_silent_on_the_page(recorder, rain):
    recorder.open(*rain)
    recorder.check("Only what differs")
    recorder.start()
    recorder.button("Play").click()
    recorder.wait(0.2)
    heard, _, _ = recorder.stop()
    assert len(heard) == 0


def test_a_region_of_an_edit_is_heard_as_it_was(recorder, studio):
    source = studio.make("rain", seconds=1, seed=8)[0]
    regions = [[0.1, 0.3], [0.6, 0.8]]
    request = {"prompt": "bell, A4", "regions": regions, "seed": 1}
    edit = studio.run({"kind": "inpaint", "source": source, "parent": source, "request": request})[0]
    before, after = studio.samples(source), studio.samples(edit)
    recorder.open(source, edit)
    recorder.button("Listening").click()
    recorder.button("Region B").click()
    recorder.page.keyboard.press("Escape")
    recorder.start()
    recorder.button("Play").click()
    recorder.wait(1.1)
    heard, _, _ = recorder.stop()
    expected = np.concatenate([after[: RATE // 2], before[RATE // 2 :]])
    assert not np.array_equal(expected, before) and not np.array_equal(expected, after)
    assert np.array_equal(heard, repeated(expected, len(heard)))
    recorder.button("Listening").click()
    recorder.button("Keep this mix").click()
    expect(recorder.page.locator(".lineage [aria-current=true]")).to_contain_text("1 region as before")
    (mixed,) = studio.wait_for(1, kind="mix")
    assert mixed["parent"] == edit
    expected = np.where(np.arange(RATE)[:, None] < RATE // 2, after, before)
    assert np.array_equal(studio.samples(mixed["id"]), expected)


def test_check_15_brackets_set_the_edges_where_the_ear_heard_them(recorder, studio):
    recorder.open(studio.make("rain", seconds=4, seed=6)[0])
    recorder.start()
    recorder.button("Play").click()
    recorder.page.locator(".editor").evaluate("(editor) => { editor.tabIndex = -1; editor.focus(); }")
    for key in ("[", "]"):
        recorder.wait(0.4)
        recorder.page.keyboard.press(key)
    _, frame, keys = recorder.stop()
    edges = recorder.page.locator(".edge[data-region]")
    expect(edges).to_have_count(2)
    marked = edges.evaluate_all("(edges) => edges.map((edge) => Number(edge.ariaValueNow))")
    pressed = [time * RATE - frame for key, time in keys if key in "[]"]
    assert len(pressed) == 2
    for sample, expected in zip(marked, pressed, strict=True):
        assert abs(sample - expected) < 0.02 * RATE


def test_check_33_tempo_asked_and_measured_are_two_things_and_rain_has_none(page, studio):
    takes = {
        "a drum": (
            studio.make("kick drum loop, 120 BPM", seconds=4, seed=1)[0],
            r"120 BPM asked · 1[12]\d(\.\d)? measured",
        ),
        "some rain": (studio.make("rain", seconds=3, seed=1)[0], r"– BPM"),
    }
    for title, (take, text) in takes.items():
        studio.client.patch(f"/v1/takes/{take}", json={"title": title})
        page.get_by_role("link", name="Library").click()
        page.get_by_role("button", name=title, exact=True).click()
        facts = page.locator(".facts")
        expect(facts).to_have_text(re.compile(text))
        measured = studio.client.get(f"/v1/takes/{take}/measure").json()["tempo"]
        assert (measured is None) == (title == "some rain")
