"""Hostile words: they are shown as they are, run nothing, and break no layout."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

HOSTILE = {
    "markup": '<img src=x onerror="document.title=1"><script>document.title=1</script>',
    "quotes": "\"'`${document.title=1}{{7*7}}&amp;&lt;",
    "right-to-left": "kick \u202egnp.exe\u2066 شلال ماء",
    "invisible": "a\u200b\u200d\ufeffb\u0301\u0301\u0301\u0301 \U0001f941",
    "long": "x" * 10_000,
    "words": "rain " * 2_000,
    "formula": '=HYPERLINK("http://example.org","x")',
}
FIELDS = ("title", "note")


@pytest.fixture(scope="module")
def named(studio):
    """Takes with hostile prompts, titles, notes and tags, as far as the server accepts them."""
    takes = studio.make("rain", count=len(HOSTILE))
    for take, text in zip(takes, HOSTILE.values(), strict=True):
        for field in FIELDS:
            for length in (10_000, 1000, 200, 100):  # the server has limits of its own
                if studio.client.patch(f"/v1/takes/{take}", json={field: text[:length]}).status_code == 200:
                    break
        studio.client.patch(f"/v1/takes/{take}", json={"tags": [text[:20].strip()]})
    return dict(zip(HOSTILE, takes, strict=True))


def is_wide(page) -> bool:
    return page.evaluate("document.scrollingElement.scrollWidth > innerWidth")


@pytest.mark.parametrize("width", [390, 1440])
def test_hostile_names_are_text(open_studio, studio, named, width):
    page = open_studio(width=width, path="/#library")
    expect(page.locator(".library").get_by_text("onerror").first).to_be_visible()
    assert not is_wide(page)
    for name, take in named.items():
        page.goto("/#library")
        title = studio.client.get(f"/v1/takes/{take}").json()["title"]
        page.locator(".library .takes").get_by_text(title, exact=True).first.click()
        heading = page.get_by_role("heading", level=1)
        expect(heading).to_contain_text(title.split()[0][:50])
        assert not is_wide(page), name
        assert page.title() != "1"
    assert page.locator("img, script:not([src])").count() == 0


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_words_can_be_typed(open_studio, name):
    page = open_studio(width=1024)
    prompt = page.get_by_label("Prompt", exact=True)
    prompt.fill(HOSTILE[name])
    expect(page.get_by_role("button", name="Make 4")).to_be_in_viewport(ratio=1)
    page.get_by_role("link", name="Library").click()
    page.get_by_role("searchbox").first.fill(HOSTILE[name][:200])
    expect(page.locator(".library")).to_be_visible()
    assert not is_wide(page)
    assert page.title() != "1"


def test_names_in_another_direction_leave_what_is_beside_them_alone(page, named):
    page.goto("/#library")
    name = page.locator(".library").get_by_text("شلال").first
    assert name.evaluate("(one) => getComputedStyle(one).unicodeBidi") in ("plaintext", "isolate", "isolate-override")
