"""The whole journey in a browser: bad rows, twins, a reload midway, a blind vote, the exported file."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import PATIENCE, TINY_RUN, App

pytestmark = pytest.mark.browser

STEPS = 24
EVIL = '<img src=x onerror="window.hacked=1"> **bold**'
FIELDS = {**TINY_RUN, "max_steps": STEPS, "max_prompt_length": 96}
EXPORTED = """
    SELECT labels.choice, labels.blind, labels.reason, prompts.content AS prompt,
           best.text AS chosen, worst.text AS rejected, best.complete, worst.complete AS worst_complete
    FROM labels JOIN generations best ON best.id = labels.best_id
    JOIN generations worst ON worst.id = labels.worst_id JOIN prompts ON prompts.id = best.prompt_id
"""


@pytest.fixture
def file_with_bad_rows(tmp_path: Path) -> Path:
    rows = [{"prompt": f"Count {n}.", "chosen": f" yes {n}", "rejected": f" no {n}"} for n in range(24)]
    rows[1] = {"prompt": EVIL, "chosen": " <b>yes</b>", "rejected": " <i>no</i>"}
    lines = [*map(json.dumps, rows), "{no json", '{"prompt": "p", "chosen": "same", "rejected": "same"}']
    path = tmp_path / "with-bad-rows.jsonl"
    path.write_text("\n".join(lines))
    return path


def test_from_a_file_to_the_votes(
    app: App, page: Page, tiny_model: Path, file_with_bad_rows: Path, tmp_path: Path
) -> None:
    add_dataset(page, file_with_bad_rows)
    see_what_was_left_out(page)
    runs = launch_twins(app, page, tiny_model)
    watch_them_end(app, page, runs)
    export_adapter(page, runs[1], tmp_path)
    ask_blind(page, runs)
    vote_blind(app, page)
    check_exported_file(app, page, tmp_path)
    use_votes_as_dataset(page)
    assert page.evaluate("window.hacked") is None


def add_dataset(page: Page, file: Path) -> None:
    page.goto("datasets")
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_text("TRL preference. Of the first 26 rows, 24 became pairs.")).to_be_visible()
    name = page.get_by_role("textbox", name="Name")
    expect(name).to_have_value("with-bad-rows")
    name.fill("journey")
    page.get_by_role("button", name="Add dataset").click()
    expect(page.get_by_text("Added journey version 1: 24 pairs. 2 rows left out")).to_be_visible()


def see_what_was_left_out(page: Page) -> None:
    page.get_by_role("link", name="journey").first.click()
    expect(page.get_by_role("heading", name="journey")).to_be_visible()
    expect(page.get_by_text(EVIL)).to_be_visible()
    page.get_by_role("tab", name="Left out").click()
    left_out = page.get_by_role("table", name="Rows left out")
    expect(left_out.get_by_role("row", name=re.compile("^25.*not JSON"))).to_be_visible()
    expect(left_out.get_by_role("row", name="26 chosen equals rejected")).to_be_visible()
    assert page.evaluate("window.hacked") is None


def fill_form(page: Page, values: Mapping[str, object]) -> None:
    """Fill in numbers on the launch form; Advanced must be open for most of them."""
    for name, value in values.items():
        page.locator(f"#field-{name} input").fill(str(value))


def choose_model(page: Page, folder: Path) -> None:
    model = page.get_by_role("combobox", name="Base model")
    model.fill(str(folder))
    model.press("Enter")


def launch_twins(app: App, page: Page, model: Path) -> tuple[int, int]:
    page.get_by_role("link", name="Launch a run on it").click()
    expect(page.get_by_role("combobox", name="Dataset")).to_have_value("journey v1 (24 pairs)")
    choose_model(page, model)
    page.get_by_role("button", name="Advanced").click()
    fill_form(page, FIELDS)
    page.locator("#field-name input").fill(f"Twins {EVIL}")
    expect(page.get_by_text(f"A DPO run and a HyPO run of {STEPS} steps")).to_be_visible()
    expect(page.get_by_text("--set lora_r=4")).to_be_visible()
    page.get_by_role("button", name="Launch both").click()
    page.wait_for_url("**/run?id=*")
    found = app.rows("SELECT id, method FROM runs ORDER BY id DESC LIMIT 2")
    assert [run["method"] for run in found] == ["hypo", "dpo"]
    expect(page.get_by_role("heading", name=f"Twins {EVIL}")).to_be_visible()
    return found[1]["id"], found[0]["id"]


def watch_them_end(app: App, page: Page, runs: tuple[int, int]) -> None:
    app.wait_for_step(runs[0], 2)
    page.reload()
    expect(page.get_by_role("link", name=re.compile("twin:"))).to_be_visible()
    page.goto(f"run?id={runs[1]}")
    app.wait_for_step(runs[1], 2)
    page.reload()
    expect(page.get_by_text(re.compile(f"step \\d+ of {STEPS}|{STEPS} steps")).first).to_be_visible()
    expect(page.get_by_role("button", name="Delete run")).to_be_visible(timeout=3 * PATIENCE * 1000)
    found = app.wait_until_over(*runs)
    assert [(run["status"], run["step"], run["attempt"]) for run in found] == [("finished", STEPS, 1)] * 2
    for title in ("Loss", "Reward margin", "KL to the reference"):
        expect(page.get_by_role("group", name=f"Chart: {title}")).to_be_visible()
    page.get_by_role("tab", name="Online samples").click()
    expect(page.get_by_role("table").filter(has_text="Prompt and response")).to_be_visible()
    page.get_by_role("tab", name="Log").click()
    expect(page.get_by_text("Queued.")).to_be_visible()


def export_adapter(page: Page, run: int, folder: Path) -> None:
    with page.expect_download() as download:
        page.get_by_role("button", name="Export adapter (zip)").click()
    assert download.value.suggested_filename == f"hypo-run-{run}.zip"
    download.value.save_as(folder / "adapter.zip")
    assert (folder / "adapter.zip").stat().st_size > 1000


def ask_blind(page: Page, runs: tuple[int, int]) -> None:
    page.get_by_role("link", name="Compare answers").click()
    expect(page.get_by_role("heading", name="Compare", exact=True)).to_be_visible()
    for run in runs:
        expect(page.get_by_text(f"#{run} Twins")).to_be_visible()
    page.get_by_role("checkbox", name="Blind").check()
    shorten_answers(page)
    question = page.get_by_role("textbox", name="Question")
    question.fill(f"What now? {EVIL}")
    question.press("Enter")
    page.wait_for_url("**/compare?conversation=*")
    page.reload()
    expect(page.get_by_text("Your vote?")).to_be_visible()
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_enabled()


def shorten_answers(page: Page) -> None:
    page.get_by_role("button", name="Decoding").click()
    longest = page.get_by_role("spinbutton", name=re.compile("Longest answer"))
    longest.fill("12")
    longest.press("Tab")


def vote_blind(app: App, page: Page) -> None:
    answers = page.get_by_role("article")
    expect(answers).to_have_count(3)
    expect(page.get_by_text("name hidden")).to_have_count(3)
    for shown in answers.all():
        assert not re.search("DPO|HyPO|Reference|log p", shown.inner_html())
    fieldset(page, "Best").get_by_role("radio", name="B").check()
    fieldset(page, "Worst").get_by_role("radio", name="C").check()
    page.get_by_role("textbox", name="Reason").fill("because")
    page.get_by_role("button", name="Vote best and worst").click()
    expect(page.get_by_text("You voted: B · ")).to_be_visible()
    expect(page.get_by_text("name hidden")).to_have_count(0)
    vote = app.rows("SELECT * FROM labels")[-1]
    assert (vote["choice"], vote["blind"], vote["reason"]) == ("best", 1, "because")


def fieldset(page: Page, label: str) -> Locator:
    return page.locator("fieldset").filter(has_text=re.compile(rf"^\s*{label}"))


def check_exported_file(app: App, page: Page, folder: Path) -> None:
    page.get_by_role("link", name="Results").click()
    expect(page.get_by_role("table", name="Win rates", exact=True)).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download", exact=True).click()
    download.value.save_as(folder / "votes.jsonl")
    rows = [json.loads(line) for line in (folder / "votes.jsonl").read_text().splitlines()]
    expected = [
        {
            "prompt": json.loads(vote["prompt"]),
            "chosen": [{"role": "assistant", "content": vote["chosen"]}],
            "rejected": [{"role": "assistant", "content": vote["rejected"]}],
            "chosen_cut": not vote["complete"],
            "rejected_cut": not vote["worst_complete"],
        }
        for vote in app.rows(f"{EXPORTED} WHERE labels.choice = 'best' ORDER BY labels.id")
    ]
    assert rows == expected
    assert rows[-1]["prompt"][-1] == {"role": "user", "content": f"What now? {EVIL}"}


def use_votes_as_dataset(page: Page) -> None:
    page.get_by_role("textbox", name="Dataset").fill("my votes")
    page.get_by_role("button", name="Use as dataset").click()
    page.get_by_role("link", name="Look at it").click()
    expect(page.get_by_role("heading", name="my votes")).to_be_visible()
    expect(page.get_by_text(f"What now? {EVIL}")).to_be_visible()
