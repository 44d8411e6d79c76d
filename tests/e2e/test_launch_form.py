"""The launch form in a browser: fractions step by ratio, deletions count, invalid fields are marked."""

from playwright.sync_api import Page, expect

from tests.e2e.conftest import App


def test_fractions_step_by_ratio_and_wrong_fields_are_marked(app: App, page: Page, dataset: str) -> None:
    page.goto("launch")
    expect(page.get_by_text("training pair").first).to_be_visible()
    expect(page.get_by_role("radio", name="Quick look")).to_be_checked()
    rate, beta = page.locator("#field-learning_rate input"), page.locator("#field-beta input")
    rate.fill("1e-4")
    for key, value in (("ArrowUp", "0.00015"), ("ArrowUp", "0.0002"), ("ArrowDown", "0.00015")):
        rate.press(key)
        expect(rate).to_have_value(value)
    expect(page.get_by_text("--set learning_rate=0.00015")).to_be_visible()
    weight = page.locator("#field-kl_coef input")
    weight.fill("0")
    weight.press("ArrowUp")
    expect(weight).to_have_value("0.0001")

    beta.fill("1,5")
    message = page.get_by_text("beta must be a number above 0 and at most 10, not 1,5.")
    expect(message).to_be_visible()
    expect(beta).to_have_attribute("aria-invalid", "true")
    expect(page.locator(f"#{beta.get_attribute('aria-describedby')}")).to_contain_text("beta must be")
    expect(page.get_by_text("Correct first: beta.")).to_be_visible()
    beta.fill("0.25")
    expect(message).to_be_hidden()
    expect(beta).not_to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("--set beta=0.25")).to_be_visible()
    beta.press("Backspace")
    expect(page.get_by_text("--set beta=0.2 ")).to_be_visible()

    methods = page.locator("#field-method")
    methods.get_by_role("checkbox", name="SFT", exact=True).check()
    expect(page.get_by_text("A DPO run, a HyPO run and an SFT run of 10 steps")).to_be_visible()
    expect(beta).to_be_visible()
    for other in ("DPO", "HyPO"):
        methods.get_by_role("checkbox", name=other, exact=True).uncheck()
    expect(page.get_by_text("An SFT run of 10 steps")).to_be_visible()
    expect(beta).to_be_hidden()  # SFT does not read it, so it is not set either
    expect(page.get_by_text("--set beta")).to_be_hidden()
    expect(rate).to_be_visible()
    methods.get_by_role("checkbox", name="DPO", exact=True).check()
    expect(beta).to_have_value("0.2")

    page.get_by_role("button", name="Sweep").click()
    page.get_by_role("textbox", name="Values to combine").fill("beta=0.1,0.2\nlearning_rate=1e-5..1e-3:3")
    expect(page.get_by_role("button", name="Launch 9 runs")).to_be_visible()
    expect(page.get_by_text("--sweep learning_rate=1e-05,0.0001,0.001")).to_be_visible()
    page.get_by_role("textbox", name="Values to combine").fill("betta=1")
    expect(page.get_by_text("there is no setting named betta")).to_be_visible()
