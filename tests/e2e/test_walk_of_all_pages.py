"""Every page, light and dark, wide and narrow, in English and Russian: no axe violations, no layout shift
while it loads, and no text left in English.

Runs after the other files, which count the questions asked.
"""

import re
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.e2e.conftest import PATIENCE, App, wait_for
from tests.e2e.untranslated import left_over, texts

pytestmark = pytest.mark.browser

SETTLED_MS = 2500
API_DOCS = "api/v1/docs"
MOST_SHIFT = 0.1
"""Upper bound on cumulative layout shift; values up to 0.1 count as good."""

SHIFT = """() => new Promise(done => {
  const found = { sum: 0, moved: [] };
  new PerformanceObserver(list => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) {
      found.sum += entry.value;
      for (const { node } of entry.sources)
        if (entry.value > 0.02)
          found.moved.push(`${entry.value.toFixed(2)} ${node?.id || node?.className || node?.nodeName}`);
    }
  }).observe({ type: 'layout-shift', buffered: true });
  setTimeout(() => done(found), 200);
})"""


SCORED_PAIRS = "SELECT id FROM pair_scorings WHERE status = 'finished'"


def score(app: App, answer: object) -> None:
    """Have an answer scored token by token."""
    with app.api() as api:
        api.post(f"generations/{answer}/tokens")
        opened = api.get(f"generations/{answer}/tokens", params={"wait": 60}, timeout=90)
    assert opened.status_code == 200, opened.text


def scored_and_reported(app: App, twins: list[int]) -> tuple[object, int, int]:
    """Ids of a dataset whose pairs are being scored, and of a campaign and a report of the twins."""
    dataset = app.value("SELECT max(dataset_id) FROM runs")
    with app.api() as api:
        wanted = {"run_ids": twins, "prompts": ["Say 5."], "max_new_tokens": 12}
        campaign = api.post("campaigns", json=wanted).json()["id"]
        scored = api.post(f"datasets/{dataset}/scorings", json={"run_id": twins[0]})
        report = api.post("reports", json={"run_ids": twins, "campaign_ids": [campaign]}).json()["id"]
    assert scored.status_code == 201, scored.text
    return dataset, campaign, report


@pytest.fixture(scope="module")
def paths(app: App, twins: list[int]) -> list[str]:
    """Every page, with what twins, votes, a campaign, scored pairs and a report show."""
    judged = app.ask("Say 4.", twins, max_new_tokens=12)["comparison_id"]
    with app.api() as api:  # so that the results show a ranking
        vote = api.put(f"comparisons/{judged}/vote", json={"choice": "A", "worst": "B"})
    assert vote.status_code == 200, vote.text
    answer = app.value("SELECT max(id) FROM generations WHERE comparison_id = ?", judged)
    number = app.ask("Say 3.", twins, max_new_tokens=12)["comparison_id"]
    conversation = app.value("SELECT conversation_id FROM comparisons WHERE id = ?", number)
    dataset, campaign, report = scored_and_reported(app, twins)
    score(app, answer)
    wait_for(lambda: app.rows(SCORED_PAIRS), "the scored pairs")
    return [
        "",
        "datasets",
        f"datasets?id={dataset}",
        f"pairs?dataset={dataset}&pair=0",
        "launch",
        f"runs?compare={twins[0]},{twins[1]}&tab=frontier",
        f"run?id={twins[-1]}",
        "generations",
        "generations?id=1",
        "compare",
        f"compare?conversation={conversation}",
        f"answer?id={answer}",
        "score",
        "campaigns",
        "campaigns?new=1",
        f"campaigns?campaign={campaign}",
        f"lineage?campaign={campaign}",
        f"report?id={report}",
        "label",
        "results",
        "study",
        API_DOCS,
    ]


def looked_at(path: str, page: Page, app: App) -> list[str]:
    """What is wrong with a page: it jumps, has English text in Russian, or hinders somebody."""
    found = []
    shift = page.evaluate(SHIFT)
    if shift["sum"] >= MOST_SHIFT:  # all pages were loading at once; nobody does that, so load it alone
        page.reload()
        page.wait_for_selector("h1")
        page.wait_for_timeout(SETTLED_MS)
        shift = page.evaluate(SHIFT)
    if shift["sum"] >= MOST_SHIFT:
        found.append(f"{path}: what stands on the page jumps ({shift['sum']:.2f}): {shift['moved']}")
    if page.locator("html").get_attribute("lang") == "ru" and path != API_DOCS:
        if sum(bool(re.search("[а-яё]{2}", text)) for text in texts(page)) <= 10:
            found.append(f"{path}: is not in Russian")
        found += [f"{path}: in English: {text}" for text in left_over(page, app)]
    folded = page.locator("button.label-wrap:not(.open):visible")
    for _ in range(folded.count()):  # collapsed parts are checked too; an open one is no longer counted
        folded.first.click()
    for problem in Axe().run(page).response["violations"]:
        found += [f"{path}: {problem['id']}: {node['html'][:120]}" for node in problem["nodes"]]
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("scheme", "width", "locale"), [("light", 1440, "en-US"), ("dark", 390, "ru-RU")])
def test_every_page_is_accessible_stands_still_and_speaks_one_language(
    app: App, paths: list[str], browser: Browser, scheme: Literal["light", "dark"], width: int, locale: str
) -> None:
    context = browser.new_context(
        base_url=app.url, viewport={"width": width, "height": 900}, color_scheme=scheme, locale=locale
    )
    context.set_default_timeout(PATIENCE * 1000)
    pages = {path: context.new_page() for path in paths}
    for path, page in pages.items():
        page.goto(f"{app.url}/{path}")
        page.wait_for_selector("h1")
    pages[paths[-1]].wait_for_timeout(SETTLED_MS)
    found = []
    for path, page in pages.items():
        found += looked_at(path, page, app)
        page.close()  # its polling would slow the others down
    context.close()
    assert not found, "\n".join(found)
