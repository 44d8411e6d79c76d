"""Pages in Russian: no English text is left, no mark of a text, and the language can be changed by hand."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import App

pytestmark = pytest.mark.browser

SETTLED_MS = 2500
PAGES = (
    "",
    "datasets",
    "launch",
    "runs",
    "generations",
    "compare",
    "score",
    "campaigns",
    "campaigns?new=1",
    "label",
    "results",
)
"""Pages that show something without data."""

TEXTS = """() => {
  const apart = '[translate=no], [lang=en], #hy-compare-examples, ' +
    'code, pre, kbd, svg, script, style, noscript, textarea, input';
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const holder = node.parentElement;
    if (holder.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && !holder.closest(apart))
      found.push(node.textContent.trim());
  }
  for (const element of document.querySelectorAll('[aria-label], [title], [placeholder]')) {
    if (!element.closest('[translate=no], [lang=en]') && element.checkVisibility())
      for (const name of ['aria-label', 'title', 'placeholder']) found.push(element.getAttribute(name) || '');
  }
  return [...new Set(found)].filter(Boolean);
}"""
"""What a person reads on a page, apart from code and what people wrote."""

NAMES = re.compile(
    r"HyPO Studio|Hugging Face|length, regex|run:NUMBER|"
    r"Gradio footer navigation|Click to upload or drop files|(number input|range slider) for|"
    r"Reset to default value|Unfold line|Reset axes|Share chart|Zoom (in|out)|(DPO|HyPO|dpo|hypo) on \w+"
)
"""Names, and what Gradio and Plotly say in English in every language."""
ENGLISH = re.compile(r"[A-Za-z][a-z]+[,:]? [a-z]{2,}|[A-Z][a-z]{2,} [A-Z]?[a-z]{2,}")
"""Two English words or more."""


def texts(page: Page) -> list[str]:
    found: list[str] = page.evaluate(TEXTS)
    return found


def opened(page: Page, app: App, path: str) -> None:
    page.goto(f"{app.url}/{path}")
    page.wait_for_selector("h1")


WRITTEN = (
    "SELECT name FROM runs UNION SELECT name FROM datasets UNION SELECT name FROM campaigns "
    "UNION SELECT question FROM comparisons UNION SELECT error FROM runs"
)
"""What people wrote, and what a library said of a run that failed."""


def left_over(page: Page, app: App) -> list[str]:
    """Texts of a page in English that nobody wrote, and marks."""
    written = [str(row[0])[:12] for row in app.rows(WRITTEN) if row[0]]  # the page may clip it
    return [
        text
        for text in texts(page)
        if "~t" in text
        or "~h" in text
        or (ENGLISH.search(NAMES.sub("", text)) and not any(start in text for start in written))
    ]


def test_every_page_is_russian_for_a_russian_browser(app: App, browser: Browser) -> None:
    context = browser.new_context(locale="ru-RU")
    pages = {path: context.new_page() for path in PAGES}
    for path, page in pages.items():
        opened(page, app, path)
    page.wait_for_timeout(SETTLED_MS)
    found: dict[str, Any] = {}
    for path, page in pages.items():
        assert page.locator("html").get_attribute("lang") == "ru", path
        assert sum(bool(re.search("[а-яё]{2}", text)) for text in texts(page)) > 10, path
        found |= {path: left} if (left := left_over(page, app)) else {}
    context.close()
    assert found == {}


def test_a_run_and_the_list_of_runs_are_russian(app: App, twins: list[int], browser: Browser) -> None:
    context = browser.new_context(locale="ru-RU")
    page = context.new_page()
    found: dict[str, Any] = {}
    for path in (f"run?id={twins[0]}", "runs"):
        opened(page, app, path)
        page.wait_for_timeout(SETTLED_MS)
        assert page.locator("html").get_attribute("lang") == "ru", path
        found |= {path: left} if (left := left_over(page, app)) else {}
    context.close()
    assert found == {}


def test_the_language_is_changed_by_hand_and_kept(app: App, browser: Browser) -> None:
    context = browser.new_context(locale="ru-RU")
    page = context.new_page()
    opened(page, app, "runs")
    expect(page.get_by_role("heading", level=1)).to_have_text("Запуски")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    opened(page, app, "results")
    assert page.locator("html").get_attribute("lang") == "en"
    expect(page.get_by_role("link", name="Datasets").first).to_be_visible()
    page.get_by_role("button", name="Русский").click()
    expect(page.get_by_role("link", name="Датасеты").first).to_be_visible()
    context.close()
