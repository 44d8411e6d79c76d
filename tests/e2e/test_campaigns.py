"""A campaign from the page of twins: start it, follow it, pause, extend and close it; choices are kept."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import ENDPOINT_KEY, App
from tests.e2e.test_journey import shorten_answers
from tests.endpoint_server import EndpointServer

pytestmark = pytest.mark.browser

CHIPS = ".token"
"""The chosen contenders."""


def test_a_campaign_from_twins_to_its_end(
    app: App, page: Page, twins: list[int], endpoint: EndpointServer
) -> None:
    page.goto(f"run?id={twins[1]}")
    page.get_by_role("link", name="Judge many prompts").click()
    page.wait_for_url("**/campaigns?runs=*")
    expect(page.locator(CHIPS)).to_have_count(3)
    page.get_by_role("radio", name="Pasted lines").check()
    page.get_by_role("textbox", name="One prompt a line").fill("Say 1.\nSay 2.\n\nSay 3.")
    expect(page.get_by_text("3 prompts")).to_be_visible()  # a text that is set at once, as a pasted one is
    shorten_answers(page)
    page.get_by_role("textbox", name="Guidelines").fill("Be **fair**.")
    expect(page.get_by_text("9 votes")).to_be_visible()
    page.get_by_role("spinbutton", name="Votes on each comparison").fill("0")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("must be between 1 and 50").first).to_be_visible()
    page.get_by_role("spinbutton", name="Votes on each comparison").fill("2")
    expect(page.get_by_text("18 votes")).to_be_visible()
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/campaigns?campaign=*")
    expect(page.get_by_text("9 of 9 answers written")).to_be_visible()
    page.reload()
    expect(page.get_by_text("9 of 9 answers written")).to_be_visible()
    expect(page.get_by_role("link", name="Label")).to_have_attribute("href", re.compile(r"label\?campaign="))
    let_a_model_judge(app, page, endpoint)
    change_it(app, page)
    the_next_one_is_like_it(page)


def let_a_model_judge(app: App, page: Page, endpoint: EndpointServer) -> None:
    """Start a judge, and see what it has done; only its worker knows the key."""
    page.get_by_role("button", name="New judge").click()
    page.get_by_role("textbox", name="Question to the judge").fill("Which? {question} {answer_a}")
    page.get_by_role("button", name="Start judging").click()
    expect(page.get_by_text("template lacks {answer_b}")).to_be_visible()
    page.get_by_role("textbox", name="Question to the judge").fill("Which? {question} {answer_a} {answer_b}")
    page.get_by_role("button", name="Start judging").click()
    judged = page.get_by_role("table", name="Automatic judges")
    expect(judged).to_contain_text(re.compile(r"([1-9]) of \1"))
    expect(judged).to_contain_text("100%")  # of the orders disagree
    assert set(endpoint.keys) == {f"Bearer {ENDPOINT_KEY}"}
    assert ENDPOINT_KEY not in app.logs()


def change_it(app: App, page: Page) -> None:
    """Pause, resume, extend and close the campaign."""
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".hy-status")).to_contain_text("paused")
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Extend").click()
    page.get_by_role("radio", name="Pasted lines").last.check()
    page.get_by_role("textbox", name="One prompt a line").last.fill("Say 4.")
    page.get_by_role("button", name="Add prompts").click()
    expect(page.get_by_text("1 prompt is added.")).to_be_visible()
    expect(page.get_by_text("12 of 12 answers written")).to_be_visible()
    page.get_by_role("button", name="Close", exact=True).click()
    page.get_by_role("button", name="Yes, close it").click()
    expect(page.locator(".hy-status")).to_contain_text("closed")
    expect(page.get_by_role("link", name="Label")).to_have_count(0)
    assert app.value("SELECT status FROM campaigns ORDER BY id DESC") == "closed"


def the_next_one_is_like_it(page: Page) -> None:
    """The list leads to the campaign and to the form, and the back button to where one was."""
    page.get_by_role("link", name="All campaigns").click()
    expect(page.get_by_role("table", name="Campaigns, newest first")).to_be_visible()
    page.get_by_role("link", name="New campaign").first.click()
    expect(page.locator(CHIPS)).to_have_count(3)
    expect(page.get_by_role("spinbutton", name="Votes on each comparison")).to_have_value("2")
    page.get_by_role("button", name="Decoding").click()
    expect(page.get_by_role("spinbutton", name=re.compile("Longest answer"))).to_have_value("12")
    expect(page.get_by_role("textbox", name="One prompt a line").first).to_have_value("")
    add_answers(page)
    page.go_back()
    expect(page.get_by_role("table", name="Campaigns, newest first")).to_be_visible()


def add_answers(page: Page) -> None:
    """A file of answers is one more contender, and may bring the prompts."""
    page.get_by_role("button", name="Answers from files").click()
    rows = "prompt,answer\nSay 1.,1\nSay 2.,2\n"
    file = {"name": "gpt.csv", "mimeType": "text/csv", "buffer": rows.encode()}
    page.locator("#campaign-answer-files input[type=file]").set_input_files([file])
    page.get_by_role("radio", name="Those of the answers' file").check()
    expect(page.get_by_text("8 answers, 2 of them from files")).to_be_visible()


def test_a_new_conversation_keeps_what_was_chosen(app: App, page: Page, twins: list[int]) -> None:
    page.goto(f"compare?runs={twins[0]},{twins[1]}")
    expect(page.locator(CHIPS)).to_have_count(3)
    page.locator(".token-remove").first.click()
    expect(page.locator(CHIPS)).to_have_count(2)
    page.get_by_role("checkbox", name="Blind").uncheck()
    shorten_answers(page)
    page.get_by_role("textbox", name="Question").fill("Which?")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_url("**/compare?conversation=*")
    page.get_by_role("link", name="New conversation").click()
    expect(page.locator(CHIPS)).to_have_count(2)
    expect(page.get_by_role("checkbox", name="Blind")).not_to_be_checked()
    page.get_by_role("button", name="Decoding").click()
    expect(page.get_by_role("spinbutton", name=re.compile("Longest answer"))).to_have_value("12")
