"""Every page, light and dark, wide and narrow: no axe violations and no layout shift while it loads.

Runs after the other files, which count the questions asked.
"""

from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.e2e.conftest import App, wait_for

pytestmark = pytest.mark.browser

SETTLED_MS = 2500
MOST_SHIFT = 0.1
"""Upper bound on cumulative layout shift; values up to 0.1 count as good."""

SHIFT = """() => new Promise(done => {
  let sum = 0;
  new PerformanceObserver(list => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) sum += entry.value;
  }).observe({ type: 'layout-shift', buffered: true });
  setTimeout(() => done(sum), 200);
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


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_every_page_is_accessible_and_stands_still(
    app: App, twins: list[int], browser: Browser, scheme: Literal["light", "dark"], width: int
) -> None:
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
    paths = [
        "",
        "datasets",
        f"datasets?id={dataset}",
        f"pairs?dataset={dataset}&pair=0",
        "launch",
        "runs",
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
        "api/v1/docs",
    ]
    context = browser.new_context(
        base_url=app.url, viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    pages = {path: context.new_page() for path in paths}
    for path, page in pages.items():
        page.goto(f"{app.url}/{path}")
        page.wait_for_selector("h1")
    pages[paths[-1]].wait_for_timeout(SETTLED_MS)
    found = []
    for path, page in pages.items():
        shift = float(page.evaluate(SHIFT))
        if shift >= MOST_SHIFT:
            found.append(f"{path}: what stands on the page jumps ({shift:.2f})")
        for folded in ("Advanced", "Load YAML", "Decoding"):  # collapsed parts are checked too
            button = page.get_by_role("button", name=folded)
            if button.count():
                button.click()
        for problem in Axe().run(page).response["violations"]:
            found += [f"{path}: {problem['id']}: {node['html'][:120]}" for node in problem["nodes"]]
        page.close()  # its polling would slow the others down
    context.close()
    assert found == []
