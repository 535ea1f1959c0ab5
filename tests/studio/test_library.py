"""The library: search, long lists, many takes at once, export, and what survives a crash."""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import zipfile
from contextlib import closing

import pytest
from playwright.sync_api import expect

from tests.studio.browser import Pages
from tests.studio.server import serving

SLACK = 1 if os.environ.get("SOUNDLOOM_STRICT_BUDGETS") else 8  # a machine that is busy with other tests
MANY = 10_000
SHOWN = """
async (share) => {
  const main = document.querySelector("main");
  const start = performance.now();
  main.scrollTop = share * main.scrollHeight;
  const middle = () => document.elementsFromPoint(innerWidth / 2, innerHeight / 2).find((one) => one.matches(".take"));
  do await new Promise(requestAnimationFrame); while (!middle() || middle().classList.contains("waiting"));
  return performance.now() - start;
}
"""
INSERT = """
INSERT INTO takes (id, artifact, record, prompt, kind, client, made) VALUES (?, ?, ?, ?, 'generate', 'test', ?)
"""
TIMES = """
performance.getEntriesByType("resource").filter((one) => one.name.includes("text=drone")).map((one) => one.duration)
"""


@pytest.fixture(scope="module")
def takes(studio):
    """Return the ids of five takes."""
    kicks = studio.make("kick drum loop, 120 BPM", seconds=2, count=3, seed=7)
    return [*kicks, *studio.make("rain", seconds=1), *studio.make("bell, A4", seconds=4)]


@pytest.fixture
def library(takes, studio, open_studio):
    """Return the library, with its takes as they were made."""
    for take in takes:
        studio.client.post(f"/v1/takes/{take}/restore")
        studio.client.patch(f"/v1/takes/{take}", json={"tags": [], "favorite": False, "title": "", "note": ""})
    page = open_studio(path="/#library")
    expect(rows(page)).to_have_count(5)
    return page


def rows(page):
    return page.locator(".library .take")


def search(page, text):
    page.get_by_role("searchbox", name="Search the library").fill(text)


def choose(page, index, **options):
    rows(page).nth(index).get_by_role("checkbox").click(**options)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        *(("kick", 3), ("kick seed:8", 1), ("len>1.5", 4), ("len<1.5", 1), ("bpm:120", 3), ("kind:made", 5)),
        *(("model:mini bell", 1), ("kind:varied", 0), ("★", 0), ("tag:drums", 0), ("len:4", 1)),
    ],
)
def test_words_of_the_search_find_takes(library, text, count):
    search(library, text)
    expect(rows(library)).to_have_count(count)
    if not count:
        library.get_by_role("button", name="Clear the search").click()
        expect(rows(library)).to_have_count(5)


def test_the_order_can_be_chosen(library):
    library.get_by_role("combobox", name="Sort by").select_option("Longest first")
    expect(rows(library).first).to_contain_text("bell")
    library.get_by_role("combobox", name="Sort by").select_option("Shortest first")
    expect(rows(library).first).to_contain_text("rain")


def test_takes_are_chosen_with_shift_and_changed_at_once(library, studio, takes):
    choose(library, 1)
    choose(library, 3, modifiers=["Shift"])
    expect(library.get_by_text("3 takes chosen")).to_be_visible()
    bar = library.locator(".selection")
    bar.get_by_role("button", name="Favorite").click()
    expect(library.get_by_text("3 takes marked as favorite.")).to_be_visible()
    search(library, "★")
    expect(rows(library)).to_have_count(3)
    library.get_by_role("button", name="Undo").click()
    expect(library.get_by_text("Nothing found.")).to_be_visible()
    search(library, "")
    bar.get_by_label("Add tag").fill("wet field")
    bar.get_by_role("button", name="Tag", exact=True).click()
    library.get_by_role("button", name="wet field").click()
    expect(library.get_by_role("searchbox", name="Search the library")).to_have_value('tag:"wet field"')
    expect(rows(library)).to_have_count(3)
    assert sum(one["tags"] == ["wet field"] for one in studio.takes()) == 3


def test_deleted_takes_come_back(library, studio):
    choose(library, 0)
    library.get_by_role("button", name="All 5").click()
    library.locator(".selection").get_by_role("button", name="Delete").click()
    expect(library.get_by_text("Your takes will be here.", exact=False)).to_be_visible()
    assert studio.takes() == []
    library.get_by_role("button", name="Undo").click()
    expect(rows(library)).to_have_count(5)
    rows(library).first.get_by_role("button", name="Delete").click()
    expect(rows(library)).to_have_count(4)
    library.get_by_role("combobox", name="Show").select_option("Deleted takes")
    expect(rows(library)).to_have_count(1)
    rows(library).first.get_by_role("button", name="Restore").click()
    expect(library.get_by_text("Nothing is deleted.")).to_be_visible()
    assert len(studio.takes()) == 5


def test_name_tags_and_note_are_kept(library, studio, takes):
    rows(library).first.get_by_role("button", name="About this take").click()
    dialog = library.get_by_role("dialog")
    dialog.get_by_label("Name").fill("The last bell")
    dialog.get_by_label("Tags").fill("break")
    dialog.get_by_label("Tags").press("Enter")
    dialog.get_by_label("Note").fill("for the bridge")
    dialog.get_by_role("button", name="Remove the tag break").click()
    expect(dialog.get_by_role("button", name="Remove the tag break")).to_be_hidden()
    dialog.get_by_label("Tags").fill("bridge")
    dialog.get_by_label("Tags").press("Enter")
    expect(dialog.get_by_role("button", name="Remove the tag bridge")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    search(library, "the last bridge")
    expect(rows(library)).to_have_count(1)
    found = studio.client.get(f"/v1/takes/{takes[-1]}").json()
    assert (found["title"], found["tags"], found["note"]) == ("The last bell", ["bridge"], "for the bridge")
    rows(library).first.get_by_role("button", name="About this take").click()
    dialog.get_by_role("button", name="More like this").click()
    expect(library.get_by_role("textbox", name="Prompt")).to_have_value("bell, A4")
    expect(library.get_by_role("spinbutton", name="Length")).to_have_value("4")
    expect(library.get_by_role("textbox", name="Seed")).to_have_value("")
    library.go_back()
    expect(rows(library)).to_have_count(1)


def test_the_arrows_walk_through_rows_and_one_row_is_a_tab_stop(library):
    search(library, "")
    library.get_by_role("searchbox", name="Search the library").press("ArrowDown")
    expect(rows(library).first.locator(".name")).to_be_focused()
    library.keyboard.press("End")
    expect(rows(library).nth(4).locator(".name")).to_be_focused()
    library.keyboard.press("ArrowUp")
    expect(rows(library).nth(3).locator(".name")).to_be_focused()
    assert (
        library.locator(".library .take [tabindex='0']").count()
        == rows(library).nth(3).locator("[tabindex='0']").count()
    )
    library.keyboard.press("Enter")
    expect(library.get_by_role("heading", level=1, name="kick drum loop")).to_be_visible()


def find_the_file(page, studio, take, copy):
    """Give a take its file back, which was lost while the server did not run."""
    for _ in range(200):
        if studio.client.get(f"/v1/takes/{take}").json()["audio"]["missing"]:
            break
    page.reload()
    row = page.locator(f".take[data-key='{take}']")
    expect(row.locator(".name")).to_have_css("text-decoration-line", "line-through")
    other = copy.with_name("another.wav")
    other.write_bytes(b"RIFF")
    for path in (other, copy):
        with page.expect_file_chooser() as chooser:
            row.get_by_role("button", name="Find the file of rain").click()
        chooser.value.set_files(path)
        if path == other:
            expect(page.get_by_text("another.wav is not the file of this take")).to_be_visible()
    expect(row.get_by_role("button", name="Listen")).to_be_visible()
    assert len(studio.samples(take)) == 44100


def test_check_27_a_killed_server_keeps_takes_and_tags_and_runs_the_job_again(browser, tmp_path):
    with serving(tmp_path) as studio:
        pages = Pages(browser, studio)
        pages.expect("Failed to load resource|ERR_|Expected")
        first = studio.make("rain")[0]
        file = studio.client.get(f"/v1/takes/{first}").json()["audio"]["id"]
        studio.client.patch(f"/v1/takes/{first}", json={"tags": ["wet"], "favorite": True})
        page = pages.open(path="/#library")
        expect(rows(page)).to_have_count(1)
        body = {"kind": "generate", "count": 40, "request": {"prompt": "rain", "seconds": 6, "steps": 50}}
        job = studio.client.post("/v1/jobs", json=body).json()["id"]
        for _ in range(200):
            if studio.client.get(f"/v1/jobs/{job}", params={"wait": 0.1}).json()["state"] == "running":
                break
        studio.stop(signal.SIGKILL)
        lost = next(studio.folder.rglob(f"{file}.wav"))
        copy = lost.rename(tmp_path / "a copy.wav")
        expect(page.get_by_text("Not connected, trying again.", exact=False)).to_be_visible()
        studio.start()
        expect(page.get_by_text("Not connected, trying again.", exact=False)).to_be_hidden(timeout=20_000)
        expect(page.locator(".take", has_text="wet").get_by_role("button", name="Favorite")).to_have_attribute(
            "aria-pressed", "true"
        )
        found = studio.client.get(f"/v1/jobs/{job}").json()
        assert found["attempt"] == 1 and found["state"] in ("queued", "running")
        studio.client.post(f"/v1/jobs/{job}/cancel")
        find_the_file(page, studio, first, copy)
        pages.close()
        assert not pages.problems, pages.problems


@pytest.fixture(scope="module")
def many(browser, tmp_path_factory):
    """Yield a function that opens pages of a server with 10,000 takes that share one file."""
    folder = tmp_path_factory.mktemp("many")
    with serving(folder) as studio:
        studio.make("rain")
        studio.stop()
        with closing(sqlite3.connect(next(folder.rglob("library.db")))) as base:
            artifact, record, made = base.execute("SELECT artifact, record, made FROM takes").fetchone()
            for number in range(1, MANY):
                prompt = f"{'exported' if number <= 100 else 'drone'} number {number}"
                base.execute(INSERT, (f"many{number:012}", artifact, record, prompt, made - 60 * number))
                base.execute("INSERT INTO takes_text (take, prompt) VALUES (?, ?)", (f"many{number:012}", prompt))
            base.commit()
        studio.start()
        pages = Pages(browser, studio)
        page = pages.open(path="/#library")
        expect(page.get_by_text("10,000 takes")).to_be_visible()
        yield page
        pages.close()
    assert not pages.problems, pages.problems


def test_check_31_a_hundred_takes_are_exported_as_zip(many):
    search(many, "exported")
    expect(many.get_by_text("100 takes", exact=True)).to_be_visible()
    choose(many, 0)
    many.get_by_role("button", name="All 100").click()
    with many.expect_download() as waiting:
        many.locator(".selection").get_by_role("button", name="Export").click()
    archive = zipfile.ZipFile(io.BytesIO(waiting.value.path().read_bytes()))
    assert archive.testzip() is None
    records = {one["file"]: one for one in json.loads(archive.read("takes.json"))}
    assert len(records) == 100 and {*archive.namelist()} == {*records, "takes.json"}
    assert {one["prompt"] for one in records.values()} == {f"exported number {n}" for n in range(1, 101)}
    assert all(archive.read(name)[:4] == b"RIFF" for name in records)
    many.get_by_role("button", name="None").click()


def test_check_40_ten_thousand_takes_are_searched_and_scrolled(many, capsys):
    search(many, "")
    expect(many.get_by_text("10,000 takes")).to_be_visible()
    waits = sorted(many.evaluate(SHOWN, share) for share in (0.5, 0.99, 0.25, 0.75, 0.1, 0.6, 0.9))
    assert rows(many).count() < 60
    search(many, "drone 77")
    expect(many.get_by_text("110 takes")).to_be_visible()
    times = many.evaluate(TIMES)
    with capsys.disabled():
        print(
            f"\n10,000 takes: search {max(times):.0f} ms, "
            f"rows after a jump {waits[3]:.0f} ms, at most {waits[-1]:.0f} ms"
        )
    assert max(times) <= 100 * SLACK
    assert waits[3] <= 100 * SLACK
