"""History: the tree of takes, undo and redo, settings of earlier takes, recipes (checks 25 and 26 of the design)."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
from playwright.sync_api import expect

from soundloom.audio.clip import Clip


def nodes(page):
    return page.locator(".lineage button")


@pytest.fixture(scope="module")
def family(studio):
    """Return the ids of a take and of two variations."""
    (first,) = studio.make("bell, A4", seconds=1, seed=1)
    request = {"prompt": "bell, A4", "noise": 0.5, "seed": 2}
    body = {"kind": "vary", "model": "mini", "source": first, "parent": first, "request": request, "count": 2}
    job = studio.client.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"}).json()
    return first, *(item["take"] for item in job["items"])


def opened(page, take):
    page.add_init_script(f"localStorage.setItem('soundloom-words', JSON.stringify({{ take: '{take}' }}))")
    page.reload()
    expect(page.get_by_role("heading", level=1, name="bell, A4")).to_be_visible()
    expect(nodes(page)).to_have_count(3)


def test_a_family_is_a_tree_with_the_newest_on_top(page, family):
    opened(page, family[0])
    expect(nodes(page).nth(0)).to_contain_text("Varied, change 0.5")
    expect(nodes(page).nth(2)).to_contain_text("New")
    expect(nodes(page).nth(2)).to_have_attribute("aria-current", "true")
    nodes(page).nth(0).click()
    expect(nodes(page).nth(0)).to_have_attribute("aria-current", "true")
    page.get_by_role("button", name="Undo", exact=True).click()
    expect(nodes(page).nth(2)).to_have_attribute("aria-current", "true")
    page.get_by_role("button", name="Redo", exact=True).click()
    expect(nodes(page).nth(0)).to_have_attribute("aria-current", "true")


def test_a_take_gets_a_name(page, studio, family):
    opened(page, family[2])
    page.get_by_label("Name").fill("the quiet one")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="the quiet one")).to_be_visible()
    assert studio.client.get(f"/v1/takes/{family[2]}").json()["title"] == "the quiet one"
    page.get_by_label("Name").fill("")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="bell, A4")).to_be_visible()


@pytest.mark.slow
def test_check_26_copy_as_command_line_runs_and_gives_the_same_audio(pages, studio, family, tmp_path):
    page = pages.open()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened(page, family[1])
    page.get_by_role("button", name="Command line").click()
    expect(page.get_by_text("The command line is copied.")).to_be_visible()
    command = page.evaluate("navigator.clipboard.readText()")
    words = shlex.split(command)
    assert words[:2] == ["soundloom", "vary"]
    subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    (file,) = tmp_path.glob("*.wav")
    np.testing.assert_allclose(Clip.load(file).audio.T, studio.samples(family[1]), atol=1e-5)


def test_a_branch_is_hidden_and_comes_back(page, studio, family):
    opened(page, family[0])
    page.get_by_role("button", name="Hide this branch").click()
    expect(page.get_by_text("3 takes are hidden for 30 days")).to_be_visible()
    assert studio.client.get(f"/v1/takes/{family[2]}").json()["deleted"]
    page.get_by_role("group", name="This take").get_by_role("button", name="Undo").click()
    expect(nodes(page)).to_have_count(3)
    assert not studio.client.get(f"/v1/takes/{family[2]}").json()["deleted"]


def test_settings_of_a_take_come_back_with_what_it_was_made_from(page, family):
    opened(page, family[1])
    page.get_by_role("button", name="Use these settings").click()
    expect(page.get_by_role("button", name="Vary", exact=True).first).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".words").get_by_label("Seed", exact=True)).to_have_value("2")
    expect(page.locator(".words output:visible").filter(has_text="0.50")).to_be_visible()
    expect(nodes(page).nth(2)).to_have_attribute("aria-current", "true")
    with page.expect_request(lambda one: one.url.endswith("/v1/jobs") and one.method == "POST") as found:
        page.keyboard.press("Control+Enter")
    body = json.loads(found.value.post_data)
    assert (body["source"], body["request"]) == (family[0], {"prompt": "bell, A4", "noise": 0.5, "seed": 2})
