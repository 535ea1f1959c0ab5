"""A real server with the bundled model, and Chromium with a page that fails a test for what it should not do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.studio.browser import Pages, chromium, launched
from tests.studio.server import Studio, serving


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a browser: together these tests take longer than all others."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Return Chromium, started once for all tests of this folder."""
    if (path := chromium()) is None:
        pytest.skip("the tests of the studio need Chromium: apt-get install chromium, or set SOUNDLOOM_CHROMIUM")
    with launched(path) as found:
        yield found


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Return a server that the tests of a module share."""
    with serving(tmp_path_factory.mktemp("studio")) as found:
        yield found


@pytest.fixture
def pages(browser: Any, studio: Studio) -> Iterator[Pages]:
    """Return what opens pages of the studio, and holds what went wrong on them. The test fails if anything did."""
    found = Pages(browser, studio)
    yield found
    found.close()
    assert not found.problems, "\n".join(found.problems)


@pytest.fixture
def open_studio(pages: Pages) -> Callable[..., Any]:
    """Return a function that opens a page: `open_studio(width=390, theme="dark", touch=True, path="/#library")`."""
    return pages.open


@pytest.fixture
def page(pages: Pages) -> Any:
    """Return a page that shows the studio, logged in, 1440 pixels wide, in the light theme."""
    return pages.open()
