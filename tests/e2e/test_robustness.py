"""Robustness: killed workers, several tabs, typing errors, back navigation, deleted objects."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from safetensors.torch import load_file, save_file

from tests.e2e.conftest import TINY_RUN, App, wait_for
from tests.e2e.test_journey import choose_model, fieldset, fill_form, shorten_answers

pytestmark = pytest.mark.browser

EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script> _em_'
PAGES = (
    "",
    "datasets",
    "pairs?dataset=1",
    "launch",
    "runs",
    "generations",
    "compare",
    "campaigns",
    "campaigns?new=1",
    "results",
    "score",
    "answer",
    "report",
    "lineage?dataset=1",
)


def test_a_run_goes_on_without_the_browser(
    app: App, browser: Browser, page: Page, dataset: str, tiny_model: Path
) -> None:
    """The browser is closed during the run; the run still finishes with all its points."""
    (run,) = app.launch("dpo", dataset, tiny_model, max_steps=40)
    gone = browser.new_context(base_url=app.url)
    gone.new_page().goto(f"run?id={run}")
    app.wait_for_step(run, 1)
    gone.close()
    app.wait_until_over(run)
    page.goto(f"run?id={run}")
    expect(page.get_by_role("button", name="Delete run")).to_be_visible()
    expect(page.get_by_role("group", name="Chart: Loss")).to_be_visible()
    steps = app.rows("SELECT step FROM metrics WHERE run_id = ? AND name = 'loss' ORDER BY step", run)
    assert [row["step"] for row in steps] == list(range(1, 41))


def test_a_killed_worker_costs_nothing(app: App, page: Page, dataset: str, tiny_model: Path) -> None:
    """kill -9 the train worker during the run: the run is resumed and finishes once."""
    (run,) = app.launch("dpo", dataset, tiny_model, max_steps=80, save_steps=2)
    app.wait_for_step(run, 5)
    worker = app.running.children["worker-train"]
    os.kill(worker, signal.SIGKILL)
    page.goto(f"run?id={run}")
    (ended,) = app.wait_until_over(run)
    assert (ended["status"], ended["step"], ended["attempt"]) == ("finished", 80, 2)
    assert app.running.children["worker-train"] != worker
    expect(page.get_by_role("button", name="Delete run")).to_be_visible()
    page.get_by_role("tab", name="Log").click()
    expect(page.get_by_text(re.compile("Started by worker"))).to_have_count(2)
    steps = app.rows("SELECT step FROM metrics WHERE run_id = ? AND name = 'loss' ORDER BY step", run)
    assert [row["step"] for row in steps] == list(range(1, 81))


def test_two_tabs_launch_at_once(app: App, context: BrowserContext, dataset: str, tiny_model: Path) -> None:
    before = app.value("SELECT count(*) FROM runs")
    tabs = [context.new_page(), context.new_page()]
    for tab in tabs:
        open_launch(tab)
        choose_model(tab, tiny_model)
        tab.get_by_role("checkbox", name="HyPO", exact=True).uncheck()
        tab.get_by_role("button", name="Advanced").click()
        fill_form(tab, {**TINY_RUN, "max_steps": 2})
        expect(tab.get_by_text("A DPO run of 2 steps")).to_be_visible()
    for tab in tabs:
        tab.get_by_role("button", name="Launch", exact=True).click(no_wait_after=True)
    for tab in tabs:
        tab.wait_for_url("**/run?id=*")
    ids = {int(tab.url.rpartition("=")[2]) for tab in tabs}
    assert len(ids) == 2
    assert app.value("SELECT count(*) FROM runs") == before + 2
    assert {run["status"] for run in app.wait_until_over(*ids)} == {"finished"}


def test_bad_values_are_told_beside_the_field(app: App, page: Page, dataset: str) -> None:
    before = app.value("SELECT count(*) FROM runs")
    open_launch(page)
    fill_form(page, {"beta": -3, "per_device_train_batch_size": 0})
    page.get_by_role("button", name="Launch both").click()
    expect(page.get_by_text("Nothing was queued")).to_be_visible()
    for name in ("beta", "per_device_train_batch_size"):
        beside = page.locator(".hy-field", has=page.locator(f"#field-{name}"))
        expect(beside.get_by_role("alert")).to_be_visible()
    assert app.value("SELECT count(*) FROM runs") == before
    fill_form(page, {"beta": 0.1, "per_device_train_batch_size": 2})
    expect(beside.get_by_role("alert")).to_have_count(0)


def test_a_failed_run_says_why(app: App, page: Page, dataset: str, tiny_model: Path, tmp_path: Path) -> None:
    """Non-finite weights are detected only when the worker runs the model."""
    damaged = Path(shutil.copytree(tiny_model, tmp_path / "damaged"))
    weights = load_file(damaged / "model.safetensors")
    for weight in weights.values():
        weight.fill_(float("nan"))
    save_file(weights, damaged / "model.safetensors", metadata={"format": "pt"})
    open_launch(page)
    choose_model(page, damaged)
    page.get_by_role("button", name="Launch both").click()
    page.wait_for_url("**/run?id=*")
    expect(page.get_by_role("alert")).to_contain_text("numbers that are not finite")
    page.get_by_role("link", name="Clone").click()
    expect(page.get_by_role("combobox", name="Base model")).to_have_value(str(damaged))


def test_a_model_that_cannot_be_right_is_not_queued(app: App, page: Page, dataset: str) -> None:
    before = app.value("SELECT count(*) FROM runs")
    open_launch(page)
    choose_model(page, Path("/no/such/model"))
    page.get_by_role("button", name="Launch both").click()
    expect(page.get_by_text("There is no folder '/no/such/model' on this machine").first).to_be_visible()
    assert app.value("SELECT count(*) FROM runs") == before


def open_launch(page: Page) -> None:
    """Open the form and wait for its initial values, which would overwrite earlier input."""
    page.goto("launch")
    expect(page.locator("#launch")).to_be_enabled()


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("run?id=999", "There is no run 999"),
        ("run?id=nonsense", "The address names no run"),
        ("run", "The address names no run"),
        ("datasets?id=999", "No dataset has the id 999"),
        ("compare?conversation=999", "There is no conversation 999"),
        ("launch?clone=999", "There is no run 999"),
    ],
)
def test_what_is_not_there_is_said(app: App, page: Page, address: str, sentence: str) -> None:
    page.goto(address)
    expect(page.get_by_text(sentence).first).to_be_visible()


def test_filters_survive_reload_and_back(app: App, page: Page, twins: list[int]) -> None:
    page.goto("runs")
    boxes = page.get_by_role("checkbox", name=re.compile("Choose run"))
    expect(page.get_by_role("checkbox", name=f"Choose run {twins[0]}", exact=True)).to_be_visible()
    page.get_by_role("combobox", name="Method").click()
    page.get_by_role("option", name="HyPO").click()
    expect(page.get_by_role("checkbox", name=f"Choose run {twins[0]}", exact=True)).to_have_count(0)
    page.wait_for_url("**/runs?method=hypo")
    page.reload()
    expect(page.get_by_role("combobox", name="Method")).to_have_value("HyPO")
    expect(page.get_by_role("checkbox", name=f"Choose run {twins[1]}", exact=True)).to_be_visible()
    expect(page.get_by_role("checkbox", name=f"Choose run {twins[0]}", exact=True)).to_have_count(0)
    page.get_by_role("checkbox", name=f"Choose run {twins[1]}", exact=True).check()
    page.get_by_role("button", name="Overlay 1").click()
    expect(page.get_by_role("group", name="Chart: Loss")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("combobox", name="Method")).to_have_value("HyPO")
    expect(page.get_by_role("group", name="Chart: Loss")).to_have_count(0)
    expect(boxes.first).to_be_visible()


def test_the_overlay_has_an_address(app: App, page: Page, twins: list[int]) -> None:
    page.goto(f"runs?compare={twins[0]},{twins[1]}")
    expect(page.get_by_role("group", name="Chart: Loss")).to_be_visible()
    expect(page.get_by_role("button", name="Overlay 2")).to_be_enabled()
    page.get_by_role("tab", name="Configuration").click()
    expect(page.get_by_role("table", name="Configurations")).to_be_visible()
    theme = page.locator(".hy-theme")
    expect(theme).to_have_accessible_name("Theme: system. Change to light")
    for chosen in ("light", "dark"):
        theme.press("Enter")
        expect(theme).to_have_accessible_name(re.compile(f"^Theme: {chosen}"))
    page.goto("launch")
    expect(theme).to_have_accessible_name(re.compile("^Theme: dark"))
    assert page.evaluate("document.body.classList.contains('dark')")


def test_markup_is_text_everywhere(app: App, page: Page, tmp_path: Path, tiny_model: Path) -> None:
    rows = [
        {"prompt": f"{EVIL} {n}", "chosen": f"{EVIL} good {n}", "rejected": f"{EVIL} bad {n}"}
        for n in range(12)
    ]
    path = tmp_path / "evil.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    added = app.add_dataset(path, "evil")
    lengths = {"max_prompt_length": 256, "max_completion_length": 128}
    (run,) = app.launch("hypo", str(added["id"]), tiny_model, name=EVIL, max_steps=1, **lengths)
    app.wait_until_over(run)
    asked = app.ask(EVIL, [run], max_new_tokens=4, blind=False)
    (conversation,) = app.rows("SELECT conversation_id FROM comparisons WHERE id = ?", asked["comparison_id"])
    addresses = [
        "",
        "datasets",
        f"datasets?id={added['id']}",
        f"launch?clone={run}",
        "runs",
        f"run?id={run}",
        f"compare?conversation={conversation[0]}",
    ]
    for address in addresses:
        page.goto(address)
        shown = "evil" if address == "datasets" else EVIL[:30]
        if not address.startswith("launch"):
            expect(page.get_by_text(shown).first).to_be_visible()
        expect(page.locator(".gradio-container img[src=x], .gradio-container em >> text=em")).to_have_count(0)
        assert page.evaluate("window.hacked") is None, address


def _side(shown: str, answer_id: int | None) -> int | None:
    """The side of an answer; a blind conversation shuffles the sides for each question."""
    return None if answer_id is None else json.loads(shown).index(answer_id)


def test_votes_change_and_go(app: App, page: Page, twins: list[int]) -> None:
    """Votes by buttons, by arrow keys, and on the results page."""
    page.goto(f"compare?runs={twins[0]},{twins[1]}")
    expect(page.get_by_text(f"#{twins[1]} ")).to_be_visible()
    page.get_by_role("button", name="Remove Reference").or_(page.locator(".token-remove")).first.click()
    shorten_answers(page)
    page.get_by_role("textbox", name="Question").fill("Which?")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_text("Your vote?")).to_be_visible()
    conversation = int(re.search(r"conversation=(\d+)", page.url)[1])  # type: ignore[index]

    def votes() -> list[str]:
        found = app.rows(
            "SELECT choice, best_id, shown FROM labels JOIN comparisons ON comparisons.id = comparison_id "
            "WHERE conversation_id = ?",
            conversation,
        )
        return [f"{row['choice']} {_side(row['shown'], row['best_id'])}" for row in found]

    page.keyboard.press("ArrowRight")
    wait_for(lambda: votes() == ["best 1"], "the vote of a key")
    expect(page.get_by_text("You voted: B")).to_be_visible()
    page.get_by_role("button", name="Tie").click()
    expect(page.get_by_text("You voted: tie")).to_be_visible()
    assert votes() == ["tie None"]
    page.reload()
    expect(page.get_by_text("You voted: tie")).to_be_visible()
    open_tokens(page)
    page.goto("results")
    strengths = page.get_by_role("table", name="Ranking")
    expect(strengths.get_by_role("row").filter(has_text="HyPO")).to_be_visible()
    expect(page.get_by_role("region", name="Win-rate matrix").get_by_text("50%").first).to_be_visible()
    page.get_by_role("row").filter(has_text="Which?").get_by_role("link", name="change").first.click()
    fieldset(page, "Verdict").get_by_role("radio").first.check()
    page.get_by_role("button", name="Save the vote").click()
    wait_for(lambda: votes() == ["best 0"], "the changed vote")
    page.goto(f"compare?conversation={conversation}")
    page.get_by_role("button", name="Withdraw vote").click()
    expect(page.get_by_text("Your vote?")).to_be_visible()
    assert votes() == []


def test_a_program_does_what_the_pages_do(app: App, dataset: str, tiny_model: Path) -> None:
    """Launch, ask, vote and export through the API of the running app."""
    (run,) = app.launch("dpo", dataset, tiny_model, max_steps=1)
    app.wait_until_over(run)
    asked = app.ask("Hello?", [run], max_new_tokens=6)
    assert [answer["status"] for answer in asked["answers"]] == ["finished", "finished"]
    with app.api() as api:
        assert api.get(f"runs/{run}").json()["status"] == "finished"
        assert api.put(f"comparisons/{asked['comparison_id']}/vote", json={"choice": "A"}).status_code == 200
        file = api.get("votes/export", params={"format": "raw", "file_type": "jsonl"})
    exported = [json.loads(line) for line in file.text.splitlines()]
    stored = app.rows("SELECT id, choice FROM labels ORDER BY id")
    assert [row["label_id"] for row in exported] == [row["id"] for row in stored]
    assert exported[-1]["comparison_id"] == asked["comparison_id"]


def open_tokens(page: Page) -> None:
    """An answer token by token, with the keyboard, and beside the other answer."""
    page.get_by_role("link", name="Token by token").last.click()
    tokens = page.get_by_role("listbox")
    expect(page.get_by_text("Reference's likeliest").or_(page.get_by_text("Likeliest here"))).to_be_visible()
    tokens.focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text(re.compile("Token (2 of|1 of 1)"))).to_be_visible()  # an answer may end at once
    page.get_by_role("combobox", name="Beside").select_option(index=1)
    expect(tokens).to_have_count(2)
    expect(page.get_by_role("button", name="Mark where they part")).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(tokens).to_have_count(2)


@pytest.mark.parametrize("address", PAGES)
def test_narrow_windows_do_not_scroll_sideways(app: App, page: Page, twins: list[int], address: str) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(address)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect_no_sideways(page)


def test_a_narrow_run_page(app: App, page: Page, twins: list[int]) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"run?id={twins[1]}")
    expect(page.get_by_role("group", name="Chart: Loss")).to_be_visible()
    for tab in ("Charts", "Samples", "Online samples", "Log", "Configuration"):
        seen = page.get_by_role("tab", name=tab, exact=True)
        if not seen.is_visible():
            page.locator(".overflow-menu > button").click()
            seen = page.locator(".overflow-dropdown").get_by_text(tab, exact=True)
        seen.click()
        expect_no_sideways(page)


def expect_no_sideways(page: Page) -> None:
    page.wait_for_timeout(700)  # rows arrive after the heading, without a signal that all are there
    widths = page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]")
    assert max(widths) <= 390, widths
