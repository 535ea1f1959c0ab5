"""The pages of reports and surveys in Chromium, opened from disk."""

import json
from pathlib import Path

import pytest

from soundloom.cli.main import main
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.record import Gate
from soundloom.evaluation.reports.survey import survey_report
from soundloom.evaluation.reports.write import write_report
from tests.evaluation.reports.made import made_report, sounds
from tests.studio.browser import chromium, launched

pytestmark = pytest.mark.browser
WIDTHS, THEMES = (390, 1200), ("light", "dark")


@pytest.fixture(scope="module")
def browser():
    pytest.importorskip("playwright")
    if (path := chromium()) is None:
        pytest.skip("the tests of pages need Chromium: apt-get install chromium, or set SOUNDLOOM_CHROMIUM")
    with launched(path) as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with two reports, their comparison, and surveys of both forms."""
    folder = tmp_path_factory.mktemp("pages")
    for name, level in (("a", 1.0), ("b", 0.5)):
        long = Metric(f"fad/{'clap-music-speech' * 2}/soundloom", 0.1, 1000, (0.08, 0.12), direction="lower")
        gates = (Gate("align/score", "at least 0.3", "failed", "0.2"),)
        report = made_report(8, name=f"model-{name}", gates=gates)
        audio = {key: (samples * level, rate) for key, (samples, rate) in sounds(report).items()}
        report = made_report(8, 0, f"model-{name}", level - 1, metrics=(*report.metrics, long), gates=gates)
        write_report(report, folder / name, audio, embed=name == "b")
    pair = [str(folder / name) for name in "ab"]
    assert main(["eval", "compare", *pair, "--out", str(folder / "compared")]) == 0
    assert main(["eval", "survey", *pair, "--out", str(folder / "pairwise"), "--trials", "3"]) == 0
    assert main(["eval", "survey", *pair, "--out", str(folder / "marks"), "--form", "marks", "--trials", "2"]) == 0
    return folder


@pytest.fixture
def opened(browser):
    """Return a function that opens a page, which fails the test on errors and foreign requests."""
    contexts, problems = [], []

    def see(url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:")):
            problems.append(url)

    def open_page(path: Path, width: int = 1200, theme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        contexts.append(context)
        context.on("request", lambda request: see(request.url))
        context.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        context.on("weberror", lambda error: problems.append(str(error.error)))
        page = context.new_page()
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


PAGES = ("a/report.html", "b/report.html", "compared/report.html", "pairwise/page/index.html", "marks/page/index.html")


@pytest.mark.parametrize("name", PAGES)
def test_pages_fit_and_are_accessible(folder, opened, name):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for width in WIDTHS:
        for theme in THEMES:
            page = opened(folder / name, width, theme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            results = axe.run(page)
            assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("name", ["a/report.html", "b/report.html", "pairwise/page/index.html"])
def test_players_find_their_sounds(folder, opened, name):
    page = opened(folder / name)
    wait = (
        "(e) => new Promise((done) => { e.onloadedmetadata = () => done(e.duration); e.preload = 'auto'; e.load(); })"
    )
    assert page.locator("audio").first.evaluate(wait) == pytest.approx(0.5, abs=0.01)
    assert all(width > 0 for width in page.locator("img").evaluate_all("(all) => all.map((one) => one.naturalWidth)"))


def test_a_blind_choice_by_keys_shows_which_is_which(folder, opened):
    page = opened(folder / "compared/report.html")
    trial = page.locator(".trial").first
    assert "model-" not in trial.inner_text()
    assert sorted(trial.locator("audio").evaluate_all("(all) => all.map((one) => one.volume)")) == [
        pytest.approx(0.5, abs=0.02),
        1,
    ]
    trial.get_by_role("button", name="1 is better").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    chosen = trial.locator(".answer").inner_text()
    assert chosen.startswith("You chose model-")
    assert {"model-a", "model-b"} <= set(chosen.replace(",", "").replace(".", "").split())
    assert trial.get_by_role("button", name="2 is better").get_attribute("aria-pressed") == "true"
    assert trial.get_by_role("button", name="1 is better").is_disabled()
    assert page.locator(".tally").inner_text() == chosen.split()[2].removesuffix(".") + ": 1"


def test_answers_of_a_listener_are_read_back(folder, opened):
    for form in ("pairwise", "marks"):
        page = opened(folder / form / "page/index.html")
        save = page.get_by_role("button", name="Save answers")
        assert save.is_disabled()
        for button in page.get_by_role("button", name="1 is better").all():
            button.click()
        for mark in page.get_by_role("slider").all():
            mark.focus()
            page.keyboard.press("ArrowRight")
        page.get_by_label("Your name").fill("Zoë 1")
        with page.expect_download() as download:
            save.click()
        count = 3 if form == "pairwise" else 2
        assert page.get_by_text(f"{count} of {count} answered").is_visible()
        path = folder / form / "answers" / download.value.suggested_filename
        download.value.save_as(path)
        assert json.loads(path.read_text())["listener"] == "Zoë 1"
        report = survey_report(folder / form)
        assert report.data["answers"] == count
    assert {metric.value for metric in report.metrics if "/mark/" in metric.name} == {51}
