"""Files that are dropped on a part of the page: words on the prompt, adapters on their fold."""

from __future__ import annotations

import base64

import pytest
from playwright.sync_api import expect

from soundloom.config.catalogue import require_entry
from soundloom.lora.files.write import write_adapter
from soundloom.lora.modules import module_shapes
from soundloom.testing.adapters import make_adapter
from tests.studio.server import serving
from tests.studio.test_work import sound

DROP = """
(target, [name, base64, type]) => {
  const bytes = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    target.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }
}
"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("studio"), "--lora-uploads") as found:
        yield found


def drop(target, name, data, kind=""):
    target.evaluate(DROP, [name, base64.b64encode(data).decode(), kind])


def test_words_are_dropped_on_the_prompt(page, studio):
    prompt = page.get_by_role("textbox", name="Prompt")
    drop(prompt, "words.txt", b"  bell, A4\n", "text/plain")
    expect(prompt).to_have_value("bell, A4")
    (take,) = studio.make("siren", seconds=0.5)
    drop(prompt, "made here.wav", studio.client.get(f"/v1/takes/{take}/audio?download=true").content)
    expect(prompt).to_have_value("siren")
    drop(prompt, "other.wav", base64.b64decode(sound(seconds=0.1)))
    expect(page.get_by_role("alert").filter(has_text="other.wav has no record of its words.")).to_be_visible()
    drop(prompt, "picture.png", bytes(range(256)))
    expect(page.get_by_role("alert").filter(has_text="picture.png is neither a text nor a sound file.")).to_be_visible()
    expect(prompt).to_have_value("siren")
    assert [one["prompt"] for one in studio.takes()] == ["siren"]  # what is dropped on the prompt is not opened


def test_an_adapter_is_added_from_the_page(page, pages, studio, tmp_path):
    path = tmp_path / "my voice.safetensors"
    write_adapter(path, make_adapter(module_shapes(require_entry("mini").parsed_config()), "lora", 1))
    fold = page.locator("details.fold").filter(has_text="Adapters (LoRA)").first
    fold.locator("summary").first.click()
    with page.expect_file_chooser() as chooser:
        fold.get_by_role("button", name="Add a file").click()
    chooser.value.set_files(path)
    fold.get_by_role("button", name="my voice").click()
    expect(page.get_by_role("slider", name="Strength of my voice")).to_be_visible()
    pages.expect("status of 422")
    drop(fold, "broken.safetensors", path.read_bytes()[:-100])
    expect(page.get_by_role("alert").filter(has_text="broken.safetensors")).to_be_visible()
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("region", name="Adapters")).to_contain_text("fits mini")
