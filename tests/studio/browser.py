"""Chromium, and pages of the studio that report what should never happen on them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.studio.server import Studio

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--autoplay-policy=no-user-gesture-required",
)
HEIGHTS = {390: 844, 1024: 768, 1440: 900}
TIMEOUT_MS = 30_000  # a busy machine is slow; what works is not waited for
# A violation of the policy is an error of the console in any case, but without the place.
REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error("CSP", event.violatedDirective, event.blockedURI, event.sourceFile, event.lineNumber));
"""
# Who presses a key must not be thrown to the start of the page because what had the focus was drawn anew.
REPORT_LOST_FOCUS = """
let focused = null;
addEventListener("focusin", (event) => (focused = event.target));
new MutationObserver(() => setTimeout(() => {
  if (focused && !focused.isConnected && document.activeElement === document.body) {
    console.error("the focus was lost with", focused.outerHTML.slice(0, 300));
    focused = null;
  }
})).observe(document, { childList: true, subtree: true });
"""


def chromium() -> str | None:
    """Return the path of Chromium, or None."""
    chosen = os.environ.get("SOUNDLOOM_CHROMIUM")
    return chosen or next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def launched(path: str) -> Iterator[Any]:
    """Run a browser of its own profile."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class Pages:
    """Open pages. `problems` lists errors of the console, exceptions, broken rules of the policy and foreign requests.

    `expect` names, as regular expressions, what a test causes on purpose, such as "status of 422".
    """

    def __init__(self, browser: Any, studio: Studio) -> None:
        self.browser, self.studio = browser, studio
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._expected: list[str] = []
        self._contexts: list[Any] = []

    def open(
        self,
        *,
        path: str = "/",
        width: int = 1440,
        height: int | None = None,
        theme: str = "light",
        touch: bool = False,
        logged_in: bool = True,
        **options: Any,
    ) -> Any:
        """Open a page in a context of its own; `options` are those of Playwright's `new_context`."""
        height = height or HEIGHTS.get(width, 900)
        size = {"width": width, "height": height}
        look = {"color_scheme": theme, "has_touch": touch, "is_mobile": touch, "locale": "en-US"}
        context = self.browser.new_context(base_url=self.studio.url, viewport=size, **{**look, **options})
        self._contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        context.add_init_script(REPORT_VIOLATIONS)
        context.add_init_script(REPORT_LOST_FOCUS)
        context.on("request", lambda request: self._see(request.url))
        context.on("console", self._see_message)
        context.on("weberror", lambda error: self._report(f"{error.error}\n{getattr(error.error, 'stack', '')}"))
        if logged_in:
            context.request.post("/login", form={"token": self.studio.token})
        page = context.new_page()
        page.goto(path)
        return page

    def expect(self, pattern: str) -> None:
        """Let what matches happen, also what did already."""
        self._expected.append(pattern)
        self.problems = [text for text in self.problems if not re.search(pattern, text)]

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _see(self, url: str) -> None:
        self.requests.append(url)
        if not url.startswith((self.studio.url + "/", "blob:", "data:")):
            self._report(f"a request to another host: {url}")

    def _see_message(self, message: Any) -> None:
        if message.type == "error":
            self._report(f"{message.text} {message.location.get('url', '')}")

    def _report(self, text: str) -> None:
        if not any(re.search(pattern, text) for pattern in self._expected):
            self.problems.append(text)
