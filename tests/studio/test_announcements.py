"""Check 38: a screen reader hears that a job started, how far it is, and how it ended."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

LISTEN = """() => {
  window.heard = [];
  const region = [...document.querySelectorAll("body > [role=status].hidden-text")][0];
  new MutationObserver(() => window.heard.push(region.textContent)).observe(region, { childList: true });
}"""


@pytest.fixture
def heard(page):
    """Return a page, and a function that returns what its live region has said."""
    expect(page.get_by_role("button", name="Make 4")).to_be_enabled()
    page.evaluate(LISTEN)
    return page, lambda: page.evaluate("window.heard")


def test_check_38_start_and_end_are_announced_once(heard):
    page, said = heard
    page.get_by_role("button", name="Make 4").click()
    expect(page.get_by_text("Done: 4 takes are ready.")).to_be_attached()
    assert said() == ["Started: 4 takes.", "Done: 4 takes are ready."]


def test_check_38_a_canceled_job_is_announced(heard, studio):
    page, said = heard
    body = {"request": {"prompt": "rain", "seconds": 5, "steps": 1000, "sampler": "euler"}}
    job = studio.client.post("/v1/jobs", json=body).json()
    expect(page.get_by_text("Started: 1 take.")).to_be_attached()
    studio.client.post(f"/v1/jobs/{job['id']}/cancel", json={})
    expect(page.get_by_text("Canceled; 0 takes are ready.")).to_be_attached()
    assert said() == ["Started: 1 take.", "Canceled; 0 takes are ready."]


def test_jobs_of_before_are_not_announced(page, studio):
    page.evaluate(LISTEN)
    studio.make()
    expect(page.get_by_text("Done: 1 take is ready.")).to_be_attached()
    page.reload()
    expect(page.get_by_role("button", name="Make 4")).to_be_enabled()
    expect(page.get_by_text("Done: 1 take is ready.")).not_to_be_attached()
