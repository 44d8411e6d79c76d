"""The Label page: keys, undo, reload, a lost connection, two people at once, a phone, and its speed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from app.store.campaign_items import CampaignPrompt
from app.store.enums import CampaignForm, CampaignStatus
from benchmarks.app.label import READ_MS, TEXTS, press_keys
from tests.e2e import judged
from tests.e2e.conftest import App, wait_for
from tests.e2e.watch import Watch

pytestmark = pytest.mark.browser


def opened(page: Page, campaign: int) -> Page:
    """Open the page of a campaign and wait for its first comparison."""
    page.goto(f"label?campaign={campaign}")
    expect(page.get_by_role("article").first).to_be_visible()
    return page


def question(page: Page) -> str:
    return page.locator("[data-part=question]").inner_text()


def answers(page: Page) -> list[str]:
    return [body.inner_text() for body in page.locator("article .hy-md").all()]


def press(page: Page, *keys: str) -> None:
    """Press keys, each after one has had time to see the comparison."""
    for key in keys:
        page.wait_for_timeout(READ_MS)
        page.keyboard.press(key)


def expect_question(page: Page, text: str) -> None:
    expect(page.locator("[data-part=question]")).to_have_text(text)


def sent(app: App, campaign: int, count: int) -> list[tuple[str, str, str | None, str]]:
    """The votes of a campaign, once there are this many."""
    wait_for(lambda: len(judged.votes(app, campaign)) == count, f"{count} votes")
    return judged.votes(app, campaign)


@contextmanager
def visitor(app: App, browser: Browser, *, watched: bool = True, **options: Any) -> Iterator[Page]:
    """A page of a separate browser; unless the test cuts the connection, nothing may fail in it."""
    context = browser.new_context(base_url=app.url, **{"viewport": {"width": 1280, "height": 900}, **options})
    context.set_default_timeout(20_000)
    watch = Watch(context)
    yield context.new_page()
    problems = watch.problems()
    context.close()
    assert not watched or not problems, "\n".join(problems)


def test_every_key(app: App, page: Page) -> None:
    campaign = judged.ready(app, [f"Question {n}?" for n in range(1, 8)], guidelines="Be **fair**.")
    opened(page, campaign)
    expect(page.get_by_role("region", name="Guidelines")).to_have_text("Be fair.")
    page.keyboard.press("g")
    expect(page.get_by_role("region", name="Guidelines")).to_be_hidden()
    chosen = []
    for key, number in (("1", 1), ("2", 2)):
        expect_question(page, f"Question {number}?")
        chosen.append(answers(page)[int(key) - 1])
        press(page, key)
        page.keyboard.press(key)  # pressed twice by mistake, it counts once
    press(page, "0", "x")
    expect_question(page, "Question 5?")
    press(page, "s")
    expect_question(page, "Question 6?")
    expect(page.get_by_text("4 judged, 2 to go for you")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    press(page, "1")
    page.keyboard.press("Escape")
    expect_question(page, "Question 6?")
    assert sent(app, campaign, 4) == [
        ("Question 1?", "best", chosen[0], ""),
        ("Question 2?", "best", chosen[1], ""),
        ("Question 3?", "tie", None, ""),
        ("Question 4?", "all_bad", None, ""),
    ]

    page.keyboard.press("u")
    expect_question(page, "Question 5?")
    page.keyboard.press("u")
    expect_question(page, "Question 4?")
    expect(page.get_by_text("3 judged, 4 to go for you")).to_be_visible()
    assert len(sent(app, campaign, 3)) == 3
    best = answers(page)[1]
    press(page, "2")
    expect_question(page, "Question 5?")
    assert sent(app, campaign, 4)[3] == ("Question 4?", "best", best, "")
    for number in (5, 6, 7):
        expect_question(page, f"Question {number}?")
        press(page, "1")
    expect(page.get_by_role("heading", name="You have judged everything")).to_be_visible()
    expect(page.get_by_role("link", name="Back to the campaign")).to_be_visible()
    assert len(sent(app, campaign, 7)) == 7
    page.keyboard.press("u")
    expect_question(page, "Question 7?")
    seconds = app.rows(
        "SELECT seconds FROM labels l JOIN comparisons c ON c.id = l.comparison_id WHERE c.campaign_id = ?",
        campaign,
    )
    assert all(0 < row["seconds"] < 60 for row in seconds)


def test_texts_are_formatted_or_raw_and_act_as_nothing(app: App, page: Page) -> None:
    evil = "**bold** <img src=x onerror=\"document.title='hacked'\"> [a](javascript:alert(1))"
    opening = [{"role": "system", "content": "<b>Be brief.</b>"}]
    campaign = judged.ready(
        app,
        [CampaignPrompt(opening, "# Why?")],
        text=lambda _, position: f"{evil}\n\n```\ncode {position}\n```",
    )
    opened(page, campaign)
    first = page.get_by_role("article").first
    expect(page.get_by_text("<b>Be brief.</b>")).to_be_visible()
    expect(first.locator("strong")).to_have_text("bold")
    expect(first.locator("pre")).to_contain_text("code")
    assert first.locator("img, a").count() == 0
    page.keyboard.press("r")
    expect(first).to_contain_text("**bold** <img src=x")
    page.reload()
    expect(first).to_contain_text("**bold** <img src=x")
    page.keyboard.press("r")
    expect(first.locator("strong")).to_have_text("bold")
    assert "hacked" not in page.title()


def test_the_best_and_the_worst_with_a_reason(app: App, page: Page) -> None:
    campaign = judged.ready(
        app,
        ["One?", "Two?"],
        contenders=4,
        form=CampaignForm.BEST_WORST,
        ask_reason=True,
        aspects=["helpful", "safe"],
    )
    opened(page, campaign)
    press(page, "3")
    expect(page.get_by_text("3 is best. Which is worst?")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_text("Which is best?")).to_be_visible()
    best = answers(page)[1]
    press(page, "2")
    press(page, "4")
    expect(page.get_by_text("helpful: which is best? 1 of 2")).to_be_visible()
    press(page, "1")
    expect(page.get_by_text("safe: which is best? 2 of 2")).to_be_visible()
    page.keyboard.press("u")
    expect(page.get_by_text("helpful: which is best? 1 of 2")).to_be_visible()
    press(page, "3", "x")
    field = page.get_by_role("textbox")
    expect(field).to_be_focused()
    page.keyboard.type("2 is clearer, s")  # no key acts while one types
    page.keyboard.press("Enter")
    expect_question(page, "Two?")
    press(page, "0", "0", "4")
    page.keyboard.press("Escape")
    assert sent(app, campaign, 2) == [("One?", "best", best, "2 is clearer, s"), ("Two?", "tie", None, "")]
    assert judged.aspects(app, campaign) == [
        {"helpful": 3, "safe": "not applicable"},
        {"helpful": "tie", "safe": 4},
    ]


def test_a_reload_and_another_device_keep_the_place(app: App, browser: Browser, page: Page) -> None:
    campaign = judged.ready(app, [f"Question {n}?" for n in range(1, 6)], repeat_share=0.4)
    opened(page, campaign)
    expect(page.get_by_text("0 judged, 7 to go for you")).to_be_visible()
    press(page, "1")
    expect_question(page, "Question 2?")
    shown = answers(page)
    sent(app, campaign, 1)
    page.reload()
    expect_question(page, "Question 2?")
    assert answers(page) == shown
    with visitor(app, browser) as other:
        opened(other, campaign)
        assert (question(other), answers(other)) == ("Question 2?", shown)
    for number in range(1, 7):  # two of them are repeats
        expect(page.get_by_text(f"{number} judged, {7 - number} to go for you")).to_be_visible()
        press(page, "1")
    expect(page.get_by_role("heading", name="You have judged everything")).to_be_visible()
    assert len(sent(app, campaign, 5)) == 5
    assert app.value("SELECT count(*) FROM control_votes WHERE withdrawn_at IS NULL") == 2


def test_a_vote_without_connection_waits_and_counts_once(app: App, browser: Browser) -> None:
    campaign = judged.ready(app, [f"Question {n}?" for n in range(1, 7)])
    with visitor(app, browser, watched=False) as page:
        opened(page, campaign)
        page.context.set_offline(True)
        press(page, "1")
        expect_question(page, "Question 2?")
        press(page, "2")
        expect(page.get_by_text("2 votes wait for the connection.")).to_be_visible()
        assert judged.votes(app, campaign) == []
        page.context.set_offline(False)
        expect(page.get_by_text("wait for the connection")).to_have_count(0)
        assert len(sent(app, campaign, 2)) == 2

        lost = []

        def lose_the_answer(route: Route) -> None:  # the vote arrives, its answer does not
            route.fetch()
            lost.append(route.request.headers["idempotency-key"])
            if len(lost) > 1:
                route.continue_()
            else:
                route.abort()

        page.route("**/slots/*/vote", lose_the_answer)
        press(page, "0")
        wait_for(lambda: page.wait_for_timeout(50) or len(lost) > 1, "the second attempt")
        assert lost[0] == lost[1]
        expect(page.get_by_text("waits for the connection")).to_have_count(0)
        page.unroute("**/slots/*/vote")
        assert [choice for _, choice, _, _ in sent(app, campaign, 3)] == ["best", "best", "tie"]
        changes = "SELECT count(*) FROM label_versions v JOIN comparisons c ON c.id = v.comparison_id"
        assert app.value(f"{changes} WHERE c.campaign_id = ?", campaign) == 0

        # A vote that was not sent outlives its page.
        page.context.set_offline(True)
        press(page, "x")
        expect(page.get_by_text("1 vote waits for the connection.")).to_be_visible()
        with page.context.expect_page() as next_page:
            page.evaluate("open('about:blank')")
        page.close()
        next_page.value.context.set_offline(False)
        opened(next_page.value, campaign)
        assert [choice for _, choice, _, _ in sent(app, campaign, 4)][3] == "all_bad"
        expect_question(next_page.value, "Question 5?")


def test_two_people_at_once_never_judge_beyond_what_is_wanted(app: App, browser: Browser) -> None:
    campaign = judged.ready(app, [f"Question {n}?" for n in range(1, 9)])
    headers = {"Authorization": f"Bearer {judged.token(app, 'bob')}"}
    seen: list[str] = []
    with visitor(app, browser) as ada, visitor(app, browser, extra_http_headers=headers) as bob:
        bodies: list[str] = []
        for page in (ada, bob):
            page.on("response", lambda found: bodies.append(found.text()) if "slots" in found.url else None)
            opened(page, campaign)
        assert question(ada) != question(bob)
        while len(seen) < 8:
            for page in (ada, bob):
                if page.locator(".hy-label[data-state=judging]").count() and len(seen) < 8:
                    seen.append(question(page))
                    press(page, "1")
        assert len(sent(app, campaign, 8)) == 8
        assert sorted(set(seen)) == sorted(seen)
        expect(ada.get_by_role("heading", name="You have judged everything")).to_be_visible()
        assert judged.NAME not in "".join(bodies) + ada.content() + bob.content()
    per_person = app.rows(
        "SELECT count(*) AS n FROM labels l JOIN comparisons c ON c.id = l.comparison_id"
        " WHERE c.campaign_id = ? GROUP BY l.user_id",
        campaign,
    )
    assert len(per_person) == 2


def test_a_phone_by_tap(app: App, browser: Browser) -> None:
    long = "\n\n".join(f"Paragraph {n}. " + "Words and words. " * 12 for n in range(20))
    campaign = judged.ready(
        app,
        ["One?", "Two?"],
        text=lambda _, position: f"{long} {position}",
        guidelines="Be fair.",
        aspects=["helpful"],
    )
    options: dict[str, Any] = {
        "viewport": {"width": 390, "height": 844},
        "has_touch": True,
        "is_mobile": True,
    }
    with visitor(app, browser, color_scheme="dark", **options) as page:
        opened(page, campaign)
        for name in ("1 is better", "Tie", "Both bad", "2 is better", "Skip", "Undo"):
            button = page.get_by_role("button", name=re.compile(f"^{name}"))
            expect(button).to_be_in_viewport(ratio=1)
            box = button.bounding_box()
            assert box is not None
            assert box["height"] >= 44
            assert box["width"] >= 44
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        second = page.get_by_role("article").nth(1)
        second.scroll_into_view_if_needed()
        page.wait_for_timeout(READ_MS)
        page.get_by_role("button", name="2 is better").tap()
        for name in ("1", "Equal", "Does not apply", "2"):
            expect(page.get_by_role("button", name=name, exact=True)).to_be_in_viewport(ratio=1)
        page.wait_for_timeout(READ_MS)
        page.get_by_role("button", name="Equal").tap()
        expect_question(page, "Two?")
        expect(page.locator(".hy-label-question")).to_be_in_viewport()
        page.get_by_role("button", name=re.compile("^Undo")).tap()
        expect_question(page, "One?")
        page.wait_for_timeout(READ_MS)
        page.get_by_role("button", name="Both bad").tap()
        assert accessible(page)
        page.get_by_role("button", name="Does not apply").tap()
        expect_question(page, "Two?")
    assert sent(app, campaign, 1)[0][1] == "all_bad"


def accessible(page: Page) -> bool:
    """Whether axe finds nothing."""
    found = Axe().run(page).response["violations"]
    assert not found, [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]]
    return True


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_state_is_accessible(app: App, browser: Browser, scheme: str) -> None:
    text = (
        "# Title\n\n- *one*\n\n[a link](https://a.example)\n\n```\n"
        + "code " * 60
        + "\n```\n\n|a|b|\n|-|-|\n|1|2|\n\n"
    )
    opening = [{"role": "system", "content": "Be brief."}]
    campaign = judged.ready(
        app,
        [CampaignPrompt(opening, "Why?")],
        contenders=3,
        form=CampaignForm.BEST_WORST,
        ask_reason=True,
        guidelines="Be *fair*.",
        text=lambda _, position: text * 8 + str(position),
    )
    paused = judged.ready(app, ["One?"], status=CampaignStatus.PAUSED)
    with visitor(app, browser, color_scheme=scheme) as page:
        opened(page, campaign)
        assert accessible(page)
        press(page, "1")
        press(page, "2")
        assert accessible(page)
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        assert accessible(page)
        page.goto(f"label?campaign={paused}")
        expect(page.get_by_role("heading", name="The campaign is paused")).to_be_visible()
        assert accessible(page)
        page.goto("label")
        expect(page.get_by_role("table", name="Open campaigns")).to_be_visible()
        assert accessible(page)


def test_a_disagreement_is_decided(app: App, page: Page) -> None:
    campaign = judged.ready(app, ["One?", "Two?"], votes_wanted=2)
    for user, choice in (("ada", "A"), ("bob", "tie")):
        with app.api() as api:
            api.headers["Authorization"] = f"Bearer {judged.token(app, user)}"
            for slot in api.post(f"campaigns/{campaign}/slots").json()["slots"]:
                api.put(f"slots/{slot['id']}/vote", json={"choice": choice, "reason": "So it is."})
    page.goto(f"campaigns?campaign={campaign}")
    page.get_by_label("Comparison to decide").click()
    page.get_by_role("option", name="1: One?").click()
    expect(page.get_by_role("article")).to_have_count(2)
    expect(page.get_by_text("So it is.")).to_have_count(2)
    page.get_by_role("radio", name="Both bad").check()
    assert accessible(page)
    page.get_by_role("button", name="Decide", exact=True).click()
    expect(page.get_by_text("Comparison 1 is decided.")).to_be_visible()
    expect(page.get_by_text("Question of comparison 2")).to_be_visible()
    expect(page.get_by_text("1 of them to decide")).to_be_visible()
    query = "SELECT choice FROM adjudications a JOIN comparisons c ON c.id = a.comparison_id"
    assert app.value(f"{query} WHERE c.campaign_id = ?", campaign) == "all_bad"
    assert judged.NAME not in "".join(page.get_by_role("article").all_inner_texts())


def test_what_is_not_there_is_told(app: App, browser: Browser) -> None:
    closed = judged.ready(app, ["One?"], status=CampaignStatus.CLOSED, voters=["ada"])
    with visitor(app, browser, watched=False) as page:
        page.goto("label?campaign=99999")
        expect(page.get_by_role("heading", name="There is no campaign 99999")).to_be_visible()
        expect(page.get_by_role("link", name="All campaigns")).to_be_visible()
        page.goto(f"label?campaign={closed}")
        expect(page.get_by_role("heading", name="local is not among the voters")).to_be_visible()


def test_the_next_comparison_is_there_before_the_key_is_up(
    app: App, page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = judged.ready(
        app, [f"Question {n}?" for n in range(21)], text=lambda _, position: TEXTS[position]
    )
    opened(page, campaign)
    waits = press_keys(page, 20)
    expect_question(page, "Question 20?")
    with capsys.disabled():
        print(f"\n{waits.line()}")
    assert waits.kept
