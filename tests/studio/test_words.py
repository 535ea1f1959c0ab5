"""The words panel: what can be asked for, what the page says about it, and what it sends (checks 1 to 10)."""

from __future__ import annotations

import json
import re

import numpy as np
from playwright.sync_api import expect


def prompt(page):
    return page.get_by_role("textbox", name="Prompt", exact=True)


def main(page):
    return page.locator(".words button.main")


def sent(page, action):
    """Return the body of the job that an action sends."""
    with page.expect_request(lambda one: one.url.endswith("/v1/jobs") and one.method == "POST") as found:
        action()
    return json.loads(found.value.post_data)


def pretend(page, studio, *names):
    """Answer GET /v1/models as if these models were here: their weights are not."""
    body = studio.client.get("/v1/models").json()
    for model in body["data"]:
        model["installed"] |= model["id"] in names
    page.route("**/v1/models", lambda route: route.fulfill(json=body))
    page.reload()


def length(page):
    return page.get_by_label("Length", exact=True).and_(page.locator(":visible"))


def test_check_2_the_model_is_called_a_demonstration_model(page):
    expect(page.get_by_text("demonstration model").first).to_be_in_viewport()


def test_check_4_a_word_that_mini_does_not_know_is_marked(page):
    prompt(page).fill("a violin and rain")
    expect(page.locator(".prompt mark")).to_have_text("violin")
    expect(page.get_by_text("mini does not know: violin.")).to_be_visible()
    prompt(page).fill("rain")
    expect(page.locator(".prompt mark")).to_have_count(0)
    prompt(page).fill("violin")
    expect(page.get_by_text("This names no sound that mini can make")).to_be_visible()


def test_kinds_of_sound_write_prompts_that_mini_knows(page):
    kinds = page.get_by_role("group", name="Kinds of sound")
    expect(kinds.get_by_role("button")).to_have_count(10)
    kinds.get_by_role("button", name="Rain").click()
    expect(prompt(page)).to_have_value(re.compile("rain|drizzle|downpour"))
    before = prompt(page).input_value()
    for _ in range(5):
        page.get_by_role("button", name="Another random prompt").click()
    expect(prompt(page)).not_to_have_value(before)
    expect(page.locator(".prompt mark")).to_have_count(0)


def test_a_prompt_that_is_too_long_shows_a_counter_and_its_end(page):
    prompt(page).fill("rain " * 40)
    expect(page.get_by_text("32 of 32 word parts")).to_be_visible()
    expect(page.get_by_text("Too long: the end is not read")).to_be_visible()


def test_earlier_prompts_come_back_with_the_arrow_key(page):
    for text in ("rain", "a siren"):
        prompt(page).fill(text)
        sent(page, lambda: page.keyboard.press("Control+Enter"))
    prompt(page).fill("a bell")
    for expected in ("a siren", "rain"):
        prompt(page).press("Home")
        prompt(page).press("ArrowUp")
        expect(prompt(page)).to_have_value(expected)
    prompt(page).press("End")
    prompt(page).press("ArrowDown")
    prompt(page).press("ArrowDown")
    expect(prompt(page)).to_have_value("a bell")


def test_a_loop_of_bars_at_the_tempo_of_the_prompt(page):
    prompt(page).fill("house drum loop, 120 BPM")
    page.get_by_role("group", name="Length in").get_by_role("button", name="bars").click()
    expect(page.locator(".words").get_by_label("Tempo")).to_have_attribute("placeholder", "120")
    expect(page.get_by_text("= 4 s")).to_have_attribute("title", "Exactly 176,400 samples at 44,100 Hz")
    length(page).fill("1")
    page.get_by_role("checkbox", name="Loop").check()
    body = sent(page, lambda: main(page).click())
    assert body["request"] == {"prompt": "house drum loop, 120 BPM", "bars": 1, "loop": True}
    prompt(page).fill("rain")
    expect(page.get_by_text("Say the tempo")).to_be_visible()
    expect(main(page)).to_be_disabled()


def test_a_number_that_cannot_be_used_becomes_the_nearest_one(page):
    for typed, found in (("-3", "0.1"), ("2", "2"), ("", "2")):
        length(page).fill(typed)
        length(page).press("Tab")
        expect(length(page)).to_have_value(found)
        expect(length(page)).to_have_attribute("aria-invalid", "false")


def test_a_length_beyond_the_model_says_its_passes(page):
    length(page).fill("12")
    expect(page.get_by_text("made in 4 passes")).to_be_visible()


def test_check_32_negative_prompt_and_guidance_appear_only_where_they_act(page, studio):
    pretend(page, studio, "small-music-base")
    page.get_by_text("More settings").click()
    expect(page.get_by_text("A negative prompt would do nothing")).to_be_visible()
    expect(page.get_by_label("Not in the sound")).to_be_hidden()
    page.get_by_label("Model", exact=True).select_option("small-music-base")
    expect(page.get_by_text("A negative prompt would do nothing")).to_be_hidden()
    page.get_by_label("Not in the sound").fill("hum")
    page.get_by_label("Guidance").fill("5")
    with page.expect_request("**/v1/check") as found:
        page.get_by_label("Steps").fill("20")
    request = json.loads(found.value.post_data)["request"]
    assert (request["negative_prompt"], request["guidance"], request["steps"]) == ("hum", {"scale": 5}, 20)
    page.get_by_label("Model", exact=True).select_option("mini")
    body = sent(page, lambda: main(page).click())
    assert "negative_prompt" not in body["request"] and "guidance" not in body["request"]


def test_track_types_and_templates_write_what_models_were_trained_on(page, studio):
    pretend(page, studio, "small-music")
    page.get_by_label("Model", exact=True).select_option("small-music")
    expect(page.get_by_role("button", name="Effect")).to_be_disabled()
    expect(page.get_by_text("small-music knows music, not sound effects.")).to_be_visible()
    prompt(page).fill("warm piano")
    page.get_by_role("button", name="Music", exact=True).click()
    expect(prompt(page)).to_have_value("TrackType: Music, VocalType: Instrumental, warm piano")
    page.get_by_role("button", name="Instrument", exact=True).click()
    expect(prompt(page)).to_have_value("TrackType: Instrument, warm piano")
    page.get_by_role("button", name="Instrument", exact=True).click()
    expect(prompt(page)).to_have_value("warm piano")
    page.get_by_role("button", name="Write with a template").click()
    page.get_by_label("Genre", exact=True).fill("house")
    expect(prompt(page)).to_have_value("TrackType: Music, VocalType: Instrumental, Genre: House, warm piano")


def test_edits_by_words_show_how_they_are_understood(page, studio):
    pretend(page, studio, "instruct-musicgen")
    page.get_by_role("button", name="Edit", exact=True).first.click()
    expect(page.get_by_text("mini cannot edit by words.")).to_be_visible()
    page.get_by_role("button", name="Use instruct-musicgen").click()
    page.get_by_role("button", name="Only drums").click()
    expect(prompt(page)).to_have_value("Only drums")
    expect(page.get_by_text("Understood as “Music piece. Instruct: Only Drums.”")).to_be_visible()
    prompt(page).fill("remove the violin")
    expect(page.get_by_text("was not trained on this")).to_be_visible()


def test_a_refusal_of_the_server_stands_at_the_main_button(page, pages):
    pages.expect("status of 422")
    page.get_by_text("More settings").click()
    page.get_by_label("Second prompt").fill("(rain:99)")
    expect(page.get_by_text("the weight 99 of 'rain' must be between")).to_be_visible()
    expect(main(page)).to_be_disabled()


def test_words_stay_after_a_reload(page):
    prompt(page).fill("two beeps in C5")
    length(page).fill("3")
    expect(page.get_by_text("132,300 samples")).to_be_visible()
    kept = "() => localStorage.getItem('soundloom-words')"
    while '"seconds":3' not in (page.evaluate(kept) or ""):
        page.wait_for_timeout(20)
    page.reload()
    expect(prompt(page)).to_have_value("two beeps in C5")
    expect(length(page)).to_have_value("3")


def spectrum(samples):
    """Return the log spectrum (frames, bins) of the mean of the channels, in bels."""
    frames = np.lib.stride_tricks.sliding_window_view(samples.mean(axis=1), 2048)[::512] * np.hanning(2048)
    return np.log10(np.abs(np.fft.rfft(frames)) ** 2 + 1e-6)


def test_check_20_less_change_is_nearer_to_the_source(studio):
    """For mini; how far apart the two are with a large model is for ears."""
    (source,) = studio.make("kick drum loop, 120 BPM", seconds=2, seed=1)
    distances = []
    for noise in (0.2, 0.9):
        request = {"prompt": "a bell in A4", "noise": noise, "seed": 5}
        (take,) = studio.run({"kind": "vary", "source": source, "parent": source, "request": request})
        distances.append(np.abs(spectrum(studio.samples(take)) - spectrum(studio.samples(source))).mean())
    assert distances[0] < 0.75 * distances[1]
