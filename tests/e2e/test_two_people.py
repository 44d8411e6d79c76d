"""Two users with separate logins: neither learns the names from the other before voting."""

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import PATIENCE, ROOT, TINY_RUN, App, start_app, stop_app, wait_for
from tests.e2e.watch import Watch

pytestmark = pytest.mark.browser

PASSWORDS = {"ada": "first-secret", "bob": "second-secret"}
NAME = "Walnut"
"""The runs' name; no page shows it to a user who may still vote blind."""


@pytest.fixture(scope="module")
def two_logins(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, pairs: Path) -> Iterator[App]:
    """An app with two logins and finished twins."""
    home = tmp_path_factory.mktemp("two") / "home"
    app = start_app(home, HYPO_AUTH=",".join(f"{name}:{secret}" for name, secret in PASSWORDS.items()))
    hypo(app, "datasets", "add", str(pairs), "--name", "tiny", "--held-out", "0.3")
    options = [f"--set={name}={value}" for name, value in TINY_RUN.items() if name != "max_steps"]
    hypo(
        app, "runs", "launch", "--method", "twins", "--dataset", "tiny", "--model", str(tiny_model),
        "--name", NAME, "--set=max_steps=2", *options,
    )  # fmt: skip
    ids = [row["id"] for row in app.rows("SELECT id FROM runs ORDER BY id")]
    assert [run["status"] for run in app.wait_until_over(*ids)] == ["finished", "finished"]
    yield app
    assert stop_app(app) == []


def hypo(app: App, *arguments: str) -> str:
    """Run a `hypo` command on the app's home."""
    done = subprocess.run(
        [sys.executable, "-c", "from app.cli import main; main()", *arguments],
        cwd=ROOT,
        env={**os.environ, "HYPO_HOME": str(app.home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def logged_in(app: App, browser: Browser, name: str, *, watched: bool = True) -> Iterator[Page]:
    """A separate browser context, logged in; unless the test cuts its connection, nothing may fail in it."""
    context = browser.new_context(
        base_url=app.url, viewport={"width": 1280, "height": 900}, accept_downloads=True
    )
    context.set_default_timeout(PATIENCE * 1000)
    watch = Watch(context)
    page = context.new_page()
    page.goto("login")
    page.get_by_label(re.compile("name", re.IGNORECASE)).fill(name)
    page.get_by_label(re.compile("password", re.IGNORECASE)).fill(PASSWORDS[name])
    page.get_by_role("button").click()
    page.wait_for_url(lambda address: "login" not in address)
    yield page
    problems = watch.problems()
    context.close()
    assert not watched or not problems, "\n".join(problems)


def blindness(app: App, name: str) -> list[bool]:
    """Whether each vote of a user counts as blind, in the order of the questions."""
    found = app.rows(
        "SELECT blind FROM labels JOIN users ON users.id = user_id WHERE name = ? ORDER BY comparison_id",
        name,
    )
    return [bool(row["blind"]) for row in found]


def test_nobody_learns_from_others_who_is_who(two_logins: App, browser: Browser, tmp_path: Path) -> None:
    app = two_logins
    with logged_in(app, browser, "ada") as ada, logged_in(app, browser, "bob") as bob:
        address = ask_blind(ada)
        other_tab = ada.context.new_page()
        other_tab.goto(address)
        expect(other_tab.get_by_text("Your vote?")).to_be_visible()
        ada.get_by_role("button", name="A is better").click()
        expect(ada.get_by_text(re.compile(f"You voted: A · {NAME}"))).to_be_visible()
        expect(other_tab.get_by_text(re.compile(f"You voted: A · {NAME}"))).to_be_visible(timeout=15_000)
        other_tab.close()

        expect_no_names(app, bob, address, tmp_path)
        ada.get_by_role("button", name="Withdraw vote").click()
        expect(ada.get_by_text("it will not count as blind")).to_be_visible()
        expect_no_names(app, bob, address, tmp_path)
        ada.get_by_role("button", name="B is better").click()
        expect(ada.get_by_text("You voted: B")).to_be_visible()
        assert blindness(app, "ada") == [False]

        expect_no_names(app, bob, address, tmp_path)
        bob.goto(address)
        bob.get_by_role("button", name="Tie").click()
        expect(bob.get_by_text("You voted: tie")).to_be_visible()
        expect(bob.get_by_role("article").first).to_contain_text(NAME)
        assert blindness(app, "bob") == [True]
        bob.goto("results")
        expect(bob.get_by_role("table", name="Votes").get_by_role("row").nth(1)).to_contain_text(NAME)

        follow_up_is_blind_again(app, ada, bob, address)


def ask_blind(page: Page) -> str:
    """Ask the twins with the page's defaults, which are blind; return the conversation's address."""
    page.goto("compare?runs=1,2")
    expect(page.get_by_text(f"#1 {NAME}")).to_be_visible()
    expect(page.get_by_role("checkbox", name="Blind")).to_be_checked()
    page.get_by_role("button", name="Remove Reference").or_(page.locator(".token-remove")).first.click()
    page.get_by_role("button", name="Decoding").click()
    longest = page.get_by_role("spinbutton", name=re.compile("Longest answer"))
    longest.fill("8")
    longest.press("Tab")
    page.get_by_role("textbox", name="Question").fill("Which?")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_url("**/compare?conversation=*")
    expect(page.get_by_text("Your vote?")).to_be_visible()
    expect(page.get_by_text("name hidden")).to_have_count(2)
    return page.url


def expect_no_names(app: App, page: Page, address: str, folder: Path) -> None:
    """Visit every view of a comparison as a user who may still vote blind, and expect no names."""
    page.goto(address)
    expect(page.get_by_text("name hidden")).to_have_count(2)
    expect(page.get_by_text("Your vote? The names appear after the vote.")).to_be_visible()
    assert not re.search(f"{NAME}|log p|seconds</dt>|run #", page.locator("main, body").first.inner_html())
    page.goto("results")
    votes = app.value("SELECT count(*) FROM labels")
    if votes == 0:
        expect(page.get_by_text("No votes yet")).to_be_visible()
        return
    row = page.get_by_role("table", name="Votes").get_by_role("row").nth(1)
    expect(row).to_contain_text("hidden until you vote")
    expect(page.get_by_role("table", name="Win rates")).to_have_count(0)
    assert NAME not in page.locator("body").inner_text()
    page.get_by_label("Format").click()
    page.get_by_role("option", name=re.compile("^raw")).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download", exact=True).click()
    download.value.save_as(folder / "raw.jsonl")
    written = (folder / "raw.jsonl").read_text()
    assert NAME not in written
    (vote,) = map(json.loads, written.splitlines())
    assert [vote[key] for key in ("names_hidden", "model_a", "best", "shown")] == [True, None, None, None]
    assert {answer["policy_logp"] for answer in vote["answers"]} == {None}


def follow_up_is_blind_again(app: App, ada: Page, bob: Page, address: str) -> None:
    """The next question hides the names again; a user who reveals them does not vote blind."""
    ada.goto(address)
    ada.set_viewport_size({"width": 390, "height": 844})
    expect(ada.get_by_role("button", name="Log out")).to_be_in_viewport(ratio=1)
    ada.set_viewport_size({"width": 1280, "height": 900})
    expect(ada.get_by_text("You voted: B")).to_be_visible()
    ada.get_by_role("textbox", name="Question").fill("And now?")
    ada.get_by_role("button", name="Ask", exact=True).click()
    expect(ada.get_by_text("Question 2")).to_be_visible()
    expect(ada.get_by_text("Your vote?")).to_be_visible()
    for page in (ada, bob):
        page.goto(address)
        expect(page.get_by_text("name hidden")).to_have_count(2)
    ada.get_by_role("button", name="A is better").click()
    expect(ada.get_by_text("name hidden")).to_have_count(0)
    wait_for(lambda: blindness(app, "ada") == [False, True], "Ada's second vote")
    bob.get_by_role("button", name="Show names without a vote").click()
    expect(bob.get_by_text("it will not count as blind")).to_be_visible()
    bob.get_by_role("button", name="A is better").click()
    wait_for(lambda: blindness(app, "bob") == [True, False], "Bob's second vote")


def test_a_campaign_from_prompts_to_the_next_run(two_logins: App, browser: Browser, tmp_path: Path) -> None:
    """Answers, the votes of two people, the board, the export, and a run trained on the votes."""
    app = two_logins
    with logged_in(app, browser, "ada") as ada, logged_in(app, browser, "bob", watched=False) as bob:
        campaign = start_campaign(ada, tmp_path)
        wait_for(lambda: tasks(app, campaign, "waiting") == 0, "the answers")
        wanted = tasks(app, campaign, "ready")
        assert wanted >= 20  # of 36 pairs; identical answers, which differ by processor, ask for no vote
        for page in (ada, bob):
            page.goto(f"label?campaign={campaign}")
        judge(ada, 5)
        ada.reload()
        judge(ada, 3)
        judge(bob, 2)
        wait_for(lambda: ballots(app, campaign) == [1] * 10, "ten votes")
        bob.context.set_offline(True)
        judge(bob, 2)
        expect(bob.get_by_text("2 votes wait for the connection.")).to_be_visible()
        bob.context.set_offline(False)
        wait_for(lambda: ballots(app, campaign) == [1] * 12, "the votes that waited")
        for page in (bob, ada):
            judge(page, wanted)
        assert ballots(app, campaign) == [1] * wanted
        assert NAME not in ada.locator("body").inner_text()
        see_the_board(ada, campaign)
        take_the_votes_away(ada, tmp_path)
        train_on_votes(app, ada)


def start_campaign(page: Page, folder: Path) -> int:
    """Let the twins and their reference answer a file of twelve prompts; return the campaign's number."""
    prompts = folder / "prompts.txt"
    prompts.write_text("\n".join(f"Say {number}." for number in range(12)))
    page.goto("campaigns?runs=1,2")
    page.get_by_role("radio", name="A file").check()
    page.locator("#campaign-file input[type=file]").set_input_files(prompts)
    expect(page.get_by_text("12 prompts")).to_be_visible()
    page.locator("#campaign-name input").fill("Round")
    page.get_by_role("button", name="Decoding").click()
    for name, value in (("Longest answer", "8"), ("Temperature", "2")):
        field = page.get_by_role("spinbutton", name=re.compile(name))
        field.fill(value)
        field.press("Tab")
    expect(page.get_by_text("36 votes")).to_be_visible()
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/campaigns?campaign=*")
    return int(page.url.rpartition("=")[2])


def judge(page: Page, votes: int) -> None:
    """Vote with alternating keys until this many votes are cast or nothing is left."""
    question = page.locator("[data-part=question]").filter(visible=True)
    over = page.get_by_role("heading", name=re.compile("judged everything|nothing to judge"))
    for number in range(votes):
        expect(question.or_(over).first).to_be_visible()
        if over.is_visible():
            return
        page.wait_for_function("hyLabel.current && performance.now() - hyLabel.shownAt > 260")  # no slip
        before = page.evaluate("hyLabel.mine.voted")
        page.keyboard.press("12"[number % 2])
        page.wait_for_function("before => hyLabel.mine.voted > before", arg=before)


def tasks(app: App, campaign: int, status: str) -> int:
    query = "SELECT count(*) FROM campaign_tasks WHERE campaign_id = ? AND status = ?"
    return int(app.value(query, campaign, status))


def ballots(app: App, campaign: int) -> list[int]:
    """The number of votes on each comparison that has any."""
    rows = app.rows(
        "SELECT count(*) AS votes FROM labels JOIN comparisons c ON c.id = comparison_id "
        "WHERE c.campaign_id = ? GROUP BY comparison_id",
        campaign,
    )
    return [row["votes"] for row in rows]


def see_the_board(page: Page, campaign: int) -> None:
    """The board appears once the names are shown."""
    page.goto(f"campaigns?campaign={campaign}")
    expect(page.get_by_role("heading", name="Quality of the votes")).to_be_visible()
    expect(page.get_by_role("heading", name="Ranking")).to_have_count(0)
    page.get_by_role("button", name="Show names and results").click()
    page.get_by_role("button", name="Yes, show them").click()
    expect(page.get_by_role("heading", name="Ranking")).to_be_visible()
    expect(page.get_by_role("table", name="Win-rate matrix").or_(page.locator(".hy-matrix"))).to_be_visible()


def take_the_votes_away(page: Page, folder: Path) -> None:
    """Download the pairs, one for each comparison, with a manifest that says so."""
    page.get_by_role("checkbox", name="One pair for each comparison").check()
    page.get_by_role("checkbox", name="With a manifest").check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download", exact=True).click()
    download.value.save_as(folder / "votes.zip")
    with zipfile.ZipFile(folder / "votes.zip") as archive:
        manifest = json.loads(archive.read("manifest.json"))
        [file] = [name for name in archive.namelist() if name.endswith(".jsonl")]
        pairs = archive.read(file).splitlines()
    assert len(pairs) == manifest["rows"] > 10
    assert "weight" in json.loads(pairs[0])


def train_on_votes(app: App, page: Page) -> None:
    """One click opens Launch on the votes, with the policy as base; the run finishes."""
    page.get_by_label("Dataset").fill("round")
    base = page.get_by_role("combobox", name="Base model")
    base.click()
    page.get_by_role("option", name=re.compile(f"{NAME}.*HyPO")).click()
    page.get_by_role("button", name="Launch the next round").click()
    page.wait_for_url("**/launch?dataset=*")
    expect(page.get_by_role("combobox", name="Dataset")).to_have_value(re.compile("round v1"))
    expect(page.get_by_role("combobox", name="Base model")).to_have_value(re.compile("Run 2: "))
    page.get_by_role("checkbox", name="HyPO", exact=True).uncheck()
    page.get_by_role("button", name="Advanced").click()
    for name, value in {**TINY_RUN, "max_completion_length": 128}.items():
        page.locator(f"#field-{name} input").fill(str(value))
    page.get_by_role("button", name="Launch", exact=True).click()
    page.wait_for_url("**/run?id=*")
    run = int(page.url.rpartition("=")[2])
    assert app.wait_until_over(run)[0]["status"] == "finished"
    expect(page.get_by_role("button", name="Delete run")).to_be_visible()
    assert app.value("SELECT base_model FROM runs WHERE id = ?", run) == "run:2"
