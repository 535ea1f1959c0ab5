"""Batches, the queue, models, settings, and files that come in and go out."""

from __future__ import annotations

import base64
import io

import httpx
import numpy as np
import pytest
import soundfile
from playwright.sync_api import expect

DROP = """
([name, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }
}
"""
DROP_LARGE = """
() => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Blob(Array(200).fill("no sound at all\\n".repeat(65536)))], "long.wav"));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}
"""
DRAG = """
(link) => {
  const transfer = new DataTransfer();
  link.dispatchEvent(new DragEvent("dragstart", { dataTransfer: transfer, bubbles: true }));
  return transfer.getData("DownloadURL");
}
"""


@pytest.fixture(scope="module", autouse=True)
def _warm(studio):
    """Have the model loaded."""
    studio.make("rain", seconds=0.5)


def sound(rate=48000, subtype="PCM_24", seconds=1.0) -> str:
    file = io.BytesIO()
    audio = 0.3 * np.sin(2 * np.pi * 220 * np.arange(round(rate * seconds)) / rate)
    soundfile.write(file, audio, rate, format="WAV", subtype=subtype)
    return base64.b64encode(file.getvalue()).decode()


def test_a_batch_is_a_row_for_each_line_and_a_column_for_each_seed(open_studio, studio):
    page = open_studio(path="/#batch")
    page.get_by_label("Words, one prompt a line").fill("rain\n\nbell, A4\n")
    page.get_by_label("Takes of each line").fill("2")
    page.get_by_label("First seed").fill("7")
    page.get_by_label("Length in seconds").fill("1")
    page.get_by_role("button", name="Make 4").click()
    expect(page.get_by_text("4 of 4 made")).to_be_visible(timeout=60_000)
    assert page.get_by_role("columnheader").all_inner_texts() == ["Prompt", "Seed 7", "Seed 8"]
    assert page.get_by_role("rowheader").all_inner_texts() == ["rain", "bell, A4"]
    page.get_by_role("row", name="bell").get_by_role("button", name="Favorite").nth(1).click()
    expect(page.get_by_role("row", name="bell").get_by_role("button", name="Favorite").nth(1)).to_have_attribute(
        "aria-pressed", "true"
    )
    page.reload()
    expect(page.get_by_text("4 of 4 made")).to_be_visible()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export all").click()
    assert waiting.value.suggested_filename.startswith("soundloom-4-takes")
    page.get_by_role("row", name="rain").get_by_role("button", name="Open in the studio").first.click()
    expect(page.get_by_role("heading", level=1, name="rain")).to_be_visible()
    page.get_by_role("link", name="Batch").click()
    page.get_by_role("button", name="Clear the table").click()
    expect(page.get_by_text("Each line becomes a row", exact=False)).to_be_visible()


def test_the_queue_is_paused_ordered_and_cleared(page, studio):
    page.get_by_role("button", name="Queue", exact=True).click()
    panel = page.locator(".queue")
    panel.get_by_role("button", name="Pause after this").click()
    expect(panel.get_by_role("button", name="Go on")).to_be_visible()
    for prompt in ("rain", "siren", "bell, A4"):
        studio.client.post("/v1/jobs", json={"request": {"prompt": prompt, "seconds": 0.5}})
    jobs = panel.locator(".jobs").first.locator("li")
    expect(jobs).to_have_count(3)
    expect(jobs.first).to_contain_text("from another program")
    jobs.nth(2).get_by_role("button", name="Earlier").click()
    expect(jobs.nth(1)).to_contain_text("bell")
    jobs.first.get_by_role("button", name="Later").click()
    expect(jobs.first).to_contain_text("bell")
    jobs.nth(2).drag_to(jobs.first, target_position={"x": 20, "y": 3})
    expect(jobs.nth(1)).to_contain_text("bell")
    expect(jobs.first).to_contain_text("siren")
    jobs.first.drag_to(jobs.nth(1), target_position={"x": 20, "y": 40})
    expect(jobs.nth(1)).to_contain_text("siren")
    jobs.nth(2).get_by_role("button", name="Cancel").click()
    expect(jobs).to_have_count(2)
    panel.get_by_role("button", name="Go on").click()
    expect(jobs).to_have_count(0, timeout=20_000)
    ended = panel.locator(".jobs").nth(1).locator("li")
    ended.filter(has_text="canceled").get_by_role("button", name="Retry").click()
    expect(ended.filter(has_text="canceled")).to_have_count(0)
    expect(jobs).to_have_count(0, timeout=20_000)
    panel.get_by_role("button", name="Clear").click()
    expect(ended).to_have_count(0)
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()


def test_models_show_licenses_and_why_a_download_failed(page):
    page.goto("/#models")
    mini = page.locator("[data-model=mini]")
    expect(mini).to_contain_text("demonstration model")
    mini.get_by_role("button", name="Check files").click()
    expect(mini.get_by_text("tensors are as they should be", exact=False)).to_be_visible(timeout=20_000)
    for name, kind in (("small-music", "music"), ("small-sfx", "sound effects"), ("medium", "sounds and music")):
        expect(page.locator(f"[data-model={name}]").get_by_text(f"{kind} · ")).to_be_visible()
    card = page.locator("[data-model=small-music]")
    card.get_by_role("button", name="Get …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Stability AI Community License")
    dialog.get_by_role("button", name="Accept and download").click()
    expect(card.locator(".bad")).to_contain_text("downloads are disabled")


def test_a_download_is_paused_and_stopped_and_a_model_is_removed_once_it_is_agreed(page):
    """The hub is elsewhere, so the answers of the server are changed on their way."""
    total, asked = 3_453_407_884, []
    states = {"small-music": "running", "small-sfx": "paused"}

    def models(route):
        answer = route.fetch()
        found = answer.json()
        for model in found["data"]:
            if model["id"] in states:
                task = {"model": model["id"], "action": "pull", "state": states[model["id"]], "done": total // 2}
                model["task"] = {**task, "total": total, "result": {}}
            if model["id"] == "medium":
                model.update(installed=True, removable=10**10, memory=10**14)
        route.fulfill(response=answer, json=found)

    def act(route):
        asked.append((route.request.method, route.request.url.partition("/models/")[2]))
        route.fulfill(json={"model": "small-music", "bytes": 1})

    page.route("**/v1/models", models)
    page.route("**/v1/models/*/*", act)
    page.route("**/v1/models/medium", act)
    page.goto("/#models")
    page.reload()
    running, paused, medium = (page.locator(f"[data-model={name}]") for name in ("small-music", "small-sfx", "medium"))
    expect(running).to_contain_text("1.7 GB of 3.5 GB")
    expect(running).to_contain_text("Memory: needs about")
    expect(medium).to_contain_text("it may be very slow or not work")
    expect(paused).to_contain_text("Paused at 1.7 GB")
    running.get_by_role("button", name="Pause").click()
    paused.get_by_role("button", name="Go on").click()
    paused.get_by_role("button", name="Stop").click()
    medium.get_by_role("button", name="Remove").click()
    dialog = page.get_by_role("dialog", name="Remove medium?")
    expect(dialog).to_contain_text("This frees 10 GB")
    dialog.get_by_role("button", name="Cancel").click()
    medium.get_by_role("button", name="Remove").click()
    with page.expect_request("**/v1/models/medium"):
        dialog.get_by_role("button", name="Remove").click()
    expect(dialog).to_be_hidden()
    assert asked == [
        *(("POST", f"small-{path}") for path in ("music/pause", "sfx/resume", "sfx/stop")),
        ("DELETE", "medium"),
    ]
    page.unroute_all(behavior="ignoreErrors")


def test_settings_are_kept_and_files_are_named(page):
    page.get_by_role("button", name="Settings").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("None: no model was downloaded.")).to_be_visible()
    expect(dialog).to_contain_text("library.db")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Stays on this machine.").click()
    expect(page.get_by_role("dialog", name="What stays where")).to_contain_text("None: no model was downloaded.")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Settings").click()
    dialog.get_by_label("Save files as").select_option("FLAC")
    dialog.get_by_label("Look").select_option("Dark")
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.get_by_role("button", name="Settings").click()
    expect(dialog.get_by_label("Save files as")).to_have_value("FLAC")


def test_check_28_a_dropped_file_keeps_its_format_when_it_is_edited(page, studio):
    page.evaluate(DROP, ["my voice.wav", sound()])
    expect(page.get_by_role("heading", level=1, name="my voice.wav")).to_be_visible()
    expect(page.get_by_text("Edited at 44.1 kHz, and given back at 48 kHz.")).to_be_visible()
    page.get_by_role("button", name="Vary", exact=True).first.click()
    page.get_by_label("Takes", exact=True).fill("1")
    page.locator(".words").get_by_role("button", name="Vary", exact=True).last.click()
    expect(page.locator(".card canvas")).to_be_visible(timeout=20_000)
    found = studio.takes()[0]
    data = studio.client.get(f"/v1/takes/{found['id']}/audio?download=true").content
    info = soundfile.info(io.BytesIO(data))
    assert found["kind"] == "vary"
    assert (info.samplerate, info.subtype, info.channels) == (48000, "PCM_24", 1)


def test_check_29_a_take_is_dragged_out_as_a_file(open_studio, studio):
    studio.make("rain", seconds=1, seed=3)
    page = open_studio(path="/#library")
    link = page.locator(".take").first.get_by_role("link", name="Drag to another program")
    link.hover()
    expect(link).to_have_attribute("data-ready", "")
    kind, name, url = link.evaluate(DRAG).split(":", 2)
    assert (kind, name) == ("audio/wav", "rain-3.wav")
    answer = httpx.get(url)  # as a desktop does: without a cookie
    assert answer.status_code == 200 and answer.content[:4] == b"RIFF"
    assert b"soundloom" in answer.content and b'"seed"' in answer.content.replace(b"\\", b"")
    assert httpx.get(url).status_code == 404
    with page.expect_download() as waiting:
        link.click()
    assert waiting.value.suggested_filename == "rain-3.wav"


def test_check_30_a_text_file_of_200_mb_named_wav_is_refused_with_a_sentence(page):
    page.evaluate(DROP_LARGE)
    expect(page.get_by_role("alert").filter(has_text="long.wav is not a sound file.")).to_be_visible()


@pytest.fixture(scope="module")
def chain(studio):
    """Return a take, ten edits of it one after another, and one of the first."""
    takes = studio.make("bell, A4", seconds=1)
    body = {"kind": "vary", "request": {"prompt": "bell, A4", "noise": 0.5}}
    for _ in range(10):
        takes += studio.run({**body, "source": takes[-1], "parent": takes[-1]})
    return [*takes, *studio.run({**body, "source": takes[0], "parent": takes[0]})]


def test_check_25_undo_to_the_start_and_another_branch_lose_nothing(page, studio, chain):
    *line, branch = chain
    current = "[aria-current=true]"

    def opened(take):
        expect(page.locator(f".lineage [data-key='{take}'] {current}")).to_be_visible()

    page.goto("/#library")
    page.locator(f".library .take[data-key='{line[0]}'] .name").click()
    opened(line[0])
    for take in line[1:]:
        page.locator(f".lineage [data-key='{take}'] button").first.click()
        opened(take)
    page.locator("main").focus()
    for take in line[-2::-1]:
        page.keyboard.press("Control+z")
        opened(take)
    page.locator(f".lineage [data-key='{branch}'] button").first.click()
    opened(branch)
    page.locator("main").focus()
    page.keyboard.press("Control+z")
    opened(line[0])
    page.keyboard.press("Control+Shift+z")
    opened(branch)
    page.locator(f".lineage [data-key='{line[-1]}'] button").first.click()
    opened(line[-1])
    play = page.get_by_role("button", name="Play", exact=True)
    expect(play).to_be_enabled()
    assert all(len(studio.samples(take)) == 44100 for take in chain)
