"""A take of 380 s (check 39): its waveform is there at once, and zoom and scroll keep up with the screen."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

RATE, SECONDS = 44_100, 380
MAX_SCRIPT_MS = 8.0  # of a frame
MAX_SHOWN_MS = 500.0  # from the click to the waveform
MAX_MEMORY = 600e6
SLACK = 1 if os.environ.get("SOUNDLOOM_STRICT_BUDGETS") else 8  # a machine that is busy with other tests

LONGEST = """
() => performance.getEntriesByName("draw").map((one) => one.duration).sort((one, other) => one - other)
"""
ZOOM = """
async ([steps, delta]) => {
  const stage = document.querySelector(".stage");
  const box = stage.getBoundingClientRect();
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const at = { clientX: box.left + box.width * 0.4, clientY: box.top + 99, bubbles: true, cancelable: true };
  performance.clearMeasures("draw");
  for (let step = 0; step < steps; step++) {
    stage.dispatchEvent(new WheelEvent("wheel", { ...at, deltaY: delta, ctrlKey: true }));
    await frame();
    stage.dispatchEvent(new WheelEvent("wheel", { ...at, deltaX: 40 }));
    await frame();
  }
}
"""


@pytest.fixture(scope="module")
def long_take(studio):
    random = np.random.default_rng(0)
    envelope = np.abs(np.sin(np.arange(RATE * SECONDS) * 2 * np.pi / RATE / 7))[:, None]
    samples = (random.uniform(-0.5, 0.5, (RATE * SECONDS, 2)) * envelope).astype(np.float32)
    studio.client.timeout = 300  # for 134 MB, on a busy machine
    source = studio.upload(samples, name="long.wav", subtype="FLOAT")
    request = {"prompt": "rain", "regions": [[100, 101]], "seed": 1}
    (take,) = studio.run({"kind": "inpaint", "source": source, "request": request})
    studio.client.get(f"/v1/takes/{take}/peaks").raise_for_status()
    return take


def memory_of(page):
    """Return the bytes of the largest process that draws pages, without files that it maps."""
    session = page.context.browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    found = []
    for process in processes:
        if process["type"] == "renderer":
            lines = Path(f"/proc/{process['id']}/status").read_text().splitlines()
            found += [1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")]
    return max(found)


@pytest.mark.slow
def test_check_39_a_take_of_380_s_zooms_smoothly(page, long_take, record_property):
    page.get_by_role("link", name="Library").click()
    page.evaluate("performance.mark('clicked')")
    page.locator(".take .name").first.click()
    page.wait_for_function("() => performance.getEntriesByName('waveform').length > 0")
    shown = page.evaluate("performance.measure('shown', 'clicked', 'waveform').duration")
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_enabled(timeout=60_000)
    figures = {"waveform after ms": shown}
    for name, steps, delta in (("in", 40, -150), ("out", 40, 150)):
        page.evaluate(ZOOM, [steps, delta])
        durations = page.evaluate(LONGEST)
        assert len(durations) >= steps
        figures[f"zoom {name}: median ms"] = durations[len(durations) // 2]
        figures[f"zoom {name}: 95 % ms"] = durations[int(0.95 * len(durations))]
    if sys.platform == "linux":
        figures["tab MB"] = memory_of(page) / 1e6
        assert figures["tab MB"] * 1e6 <= MAX_MEMORY
    print({name: round(value, 2) for name, value in figures.items()})
    assert shown <= MAX_SHOWN_MS * SLACK
    assert max(value for name, value in figures.items() if "95 %" in name) <= MAX_SCRIPT_MS * SLACK
