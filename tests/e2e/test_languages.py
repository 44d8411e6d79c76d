"""The language follows the browser, and can be changed by hand; the walk of all pages looks at every text."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import App
from tests.e2e.untranslated import left_over

pytestmark = pytest.mark.browser

SETTLED_MS = 2500


def opened(page: Page, app: App, path: str) -> None:
    page.goto(f"{app.url}/{path}")
    page.wait_for_selector("h1")


def test_the_first_pages_are_russian_for_a_russian_browser(app: App, browser: Browser) -> None:
    context = browser.new_context(locale="ru-RU")
    for path, title in (("runs", "Запуски"), ("datasets", "Датасеты")):
        page = context.new_page()
        opened(page, app, path)
        page.wait_for_timeout(SETTLED_MS)
        assert page.locator("html").get_attribute("lang") == "ru"
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        assert left_over(page, app) == []
    context.close()


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
