"""The page as a whole: it opens, and reports nothing."""

from __future__ import annotations

import re

from playwright.sync_api import expect


def test_it_opens_and_names_what_the_main_button_does(page):
    expect(page.get_by_role("button", name="Make 4")).to_be_enabled()
    expect(page.get_by_text("demonstration model").first).to_be_in_viewport()


def test_a_page_without_a_token_asks_for_it(open_studio, pages, studio):
    pages.expect("status of 401")
    page = open_studio(logged_in=False)
    page.get_by_label("Token").fill("not-the-token-of-this")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text(re.compile("does not know this token"))).to_be_visible()
    page.get_by_label("Token").fill(studio.token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Make 4")).to_be_enabled()


def test_check_3_no_foreign_request_no_error_no_report(page, pages, studio):
    """The other tests see to it as well: the fixture fails them."""
    page.get_by_role("button", name="Make 4").click()
    page.get_by_role("link", name="Library").click()
    assert pages.requests
    assert all(url.startswith(studio.url) for url in pages.requests)
