"""Take the pictures of the documentation from a running app: `python scripts/screenshots.py --url URL`.

Without `--run`, `--runs`, `--conversation`, `--dataset`, `--campaign`, `--answer` or `--report` it takes the
newest that fit: finished twins, a conversation with votes, the dataset of the run. Pictures are PNG, 1440 by
900. Label opens the first campaign that asks for votes.
"""

import argparse
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, sync_playwright

SIZE = {"width": 1440, "height": 900}
SECONDS = 60
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Subjects:
    """The objects that the pictures show."""

    run: int
    runs: list[int]
    conversation: int | None
    dataset: int | None
    campaign: int | None
    answer: int | None
    report: int | None


def main() -> None:
    given = arguments()
    given.output.mkdir(parents=True, exist_ok=True)
    with opened_page(given.url.rstrip("/") + "/") as page:
        subjects = find_subjects(given, page)
        for name, address, prepare in pictures(subjects):
            take(page, name, address, prepare, given.output)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:7860", help="address of the running app")
    parser.add_argument("--output", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--run", type=int, help="run of the run page; its twin is drawn with it")
    parser.add_argument("--runs", type=id_list, help="runs laid over each other, as in 1,2")
    parser.add_argument("--conversation", type=int, help="conversation of the compare page")
    parser.add_argument("--dataset", type=int, help="dataset version of the dataset page")
    parser.add_argument("--campaign", type=int, help="campaign of its page and of the lineage")
    parser.add_argument("--answer", type=int, help="scored answer whose tokens are shown")
    parser.add_argument("--report", type=int, help="report of the report page")
    return parser.parse_args()


def id_list(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


@contextmanager
def opened_page(url: str) -> Iterator[Page]:
    browser_path = os.environ.get("HYPO_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path, args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
        )
        context = browser.new_context(
            base_url=url, viewport=SIZE, device_scale_factor=1, color_scheme="light"
        )
        context.set_default_timeout(SECONDS * 1000)
        yield context.new_page()
        browser.close()


def find_subjects(given: argparse.Namespace, page: Page) -> Subjects:
    """The subjects given on the command line; for each missing one, the newest that fits."""
    finished = listed(given, "runs", status="finished")
    if not finished:
        sys.exit("There is no finished run to take pictures of; start the app with `hypo up --demo` first.")
    twins = [run for run in finished if run["twin_group"]] or finished
    runs = given.runs or sorted(run["id"] for run in twins[:2])
    run_id = given.run or runs[-1]
    dataset_id = given.dataset or linked_id(page, f"run?id={run_id}", "datasets?id=")
    conversation = given.conversation or linked_id(page, "compare", "compare?conversation=")
    campaign = given.campaign or newest(given, "campaigns")
    report = given.report or newest(given, "reports")
    return Subjects(run_id, runs, conversation, dataset_id, campaign, given.answer, report)


def listed(given: argparse.Namespace, collection: str, **filters: str) -> list[dict[str, Any]]:
    """The first page of a collection of the REST API, newest first."""
    answer = httpx.get(f"{given.url.rstrip('/')}/api/v1/{collection}", params=filters)
    answer.raise_for_status()
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def newest(given: argparse.Namespace, collection: str) -> int | None:
    return next((item["id"] for item in listed(given, collection)), None)


def linked_id(page: Page, address: str, link: str) -> int | None:
    """The id in the first link of a page that contains this text."""
    page.goto(address)
    page.locator("h1").first.wait_for()
    settle(page)
    found = page.locator(f'main a[href*="{link}"], .gradio-container a[href*="{link}"]')
    address = found.first.get_attribute("href") or "" if found.count() else ""
    number = re.search(r"=(\d+)$", address)
    return int(number[1]) if number else None


Picture = tuple[str, str, Callable[[Page], None]]


def pictures(subjects: Subjects) -> list[Picture]:
    """Name, address and preparation of each picture."""
    overlaid = ",".join(map(str, subjects.runs))
    wanted: list[Picture] = [
        ("home", "", settle),
        ("datasets", "datasets", settle),
        ("launch", f"launch?clone={subjects.run}", settle),
        ("runs", "runs", settle),
        ("overlay", f"runs?compare={overlaid}", overlay),
        ("frontier", f"runs?compare={overlaid}&tab=frontier", overlay),
        ("run", f"run?id={subjects.run}", charts),
        ("run-samples", f"run?id={subjects.run}", samples),
        ("campaigns", "campaigns", settle),
        ("results", "results", settle),
        ("generations", f"generations?run={subjects.run}", settle),
        ("label", "label", first_comparison),
    ]
    if subjects.dataset:
        wanted.append(("dataset", f"datasets?id={subjects.dataset}", settle))
        wanted.append(("pairs", f"pairs?dataset={subjects.dataset}", settle))
    if subjects.campaign:
        wanted.append(("campaign", f"campaigns?campaign={subjects.campaign}", settle))
        wanted.append(("lineage", f"lineage?campaign={subjects.campaign}", settle))
    if subjects.answer:
        wanted.append(("tokens", f"answer?id={subjects.answer}", settle))
    if subjects.report:
        wanted.append(("report", f"report?id={subjects.report}", charts))
    if subjects.conversation:
        wanted.append(("compare", f"compare?conversation={subjects.conversation}", answers))
    return wanted


def settle(page: Page) -> None:
    """Wait for what loads, then a fixed time for rows and fonts, as polling pages are never idle."""
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(2500)
    loading = "one => one.checkVisibility() && one.textContent === 'Loading…'"
    page.wait_for_function(f"![...document.querySelectorAll('p, h2')].some({loading})")
    page.wait_for_timeout(500)


def charts(page: Page) -> None:
    page.get_by_role("group", name="Chart: Loss").wait_for()
    settle(page)


def overlay(page: Page) -> None:
    charts(page)
    page.locator("#overlay").evaluate("part => scrollBy(0, part.getBoundingClientRect().top - 16)")
    page.wait_for_timeout(500)


def samples(page: Page) -> None:
    page.get_by_role("tab", name="Samples", exact=True).click()
    settle(page)


def first_comparison(page: Page) -> None:
    """Open the first campaign that asks for votes."""
    page.get_by_role("table").get_by_role("link", name="Label", exact=True).first.click()
    answers(page)


def answers(page: Page) -> None:
    page.get_by_role("article").first.wait_for()
    settle(page)


def take(page: Page, name: str, address: str, prepare: Callable[[Page], None], output: Path) -> None:
    page.goto(address)
    page.locator("h1").first.wait_for()
    prepare(page)
    page.mouse.move(0, 0)
    path = output / f"{name}.png"
    page.screenshot(path=path)
    print(f"{path}  {path.stat().st_size // 1024} KB  {address or 'home'}")


if __name__ == "__main__":
    main()
