"""A real model: SmolLM2-135M trains for two steps in the app and answers next to its reference."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import PATIENCE, TINY_RUN, App
from tests.e2e.test_journey import fill_form, shorten_answers
from tests.e2e.test_robustness import open_launch

pytestmark = pytest.mark.browser

SLOW = 4 * PATIENCE
FIELDS = {
    **TINY_RUN,
    "max_steps": 2,
    "per_device_train_batch_size": 1,
    "learning_rate": 0.0001,
    "max_completion_length": 16,
    "eval_pairs": 1,
    "eval_prompts": 1,
}


@pytest.mark.timeout(600)
def test_the_demo_model_trains_and_answers(app: App, page: Page, tmp_path: Path) -> None:
    rows = [
        {"prompt": f"Name a colour, please. ({n})", "chosen": "Blue.", "rejected": "I would rather not."}
        for n in range(12)
    ]
    path = tmp_path / "colours.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    page.goto("datasets")
    page.locator("input[type=file]").set_input_files(path)
    expect(page.get_by_role("textbox", name="Name")).to_have_value("colours")
    page.get_by_role("button", name="Add dataset").click()
    page.get_by_role("link", name="Launch a run on it").click()

    open_launch(page)
    page.get_by_role("checkbox", name="DPO", exact=True).uncheck()
    page.get_by_role("button", name="Advanced").click()
    fill_form(page, FIELDS)
    expect(page.get_by_text("A HyPO run of 2 steps")).to_be_visible()
    page.get_by_role("button", name="Launch", exact=True).click()
    page.wait_for_url("**/run?id=*")
    run = int(page.url.rpartition("=")[2])
    expect(page.get_by_role("button", name="Delete run")).to_be_visible(timeout=SLOW * 1000)
    (ended,) = app.wait_until_over(run)
    assert (ended["status"], ended["step"], ended["base_model"]) == ("finished", 2, "demo")

    page.get_by_role("link", name="Compare answers").click()
    expect(page.get_by_text(f"#{run} ")).to_be_visible()
    expect(page.get_by_text("Reference · demo")).to_be_visible()
    shorten_answers(page)
    page.get_by_role("textbox", name="Question").fill("Name a colour.")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_text("Your vote?")).to_be_visible(timeout=SLOW * 1000)
    answers = app.rows(
        "SELECT generations.* FROM generations JOIN comparisons ON comparisons.id = comparison_id "
        "WHERE question = 'Name a colour.' ORDER BY position"
    )
    assert [answer["status"] for answer in answers] == ["finished", "finished"]
    assert all(" ".join(answer["text"].split()).isprintable() for answer in answers)
    assert all(answer["reference_logp"] is not None for answer in answers)
