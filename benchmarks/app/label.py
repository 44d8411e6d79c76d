"""The section `label`: how long a person waits on the Label page, from a key to the next comparison."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.app.voters import served, share

if TYPE_CHECKING:
    from playwright.sync_api import Page

MEDIAN_MS, P95_MS = 100, 300
READ_MS = 270
"""Time between two keys, longer than the one in which a second key counts as a slip."""

TEXTS = ("**Bold** words and `code`, again and again. " * 60, "A plain answer of some length. " * 90)
"""The answers that are compared: one with formatting, and a longer one."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Milliseconds from each key until the next comparison is painted, as the page measures them."""

    milliseconds: list[float]

    @property
    def kept(self) -> bool:
        return share(self.milliseconds, 0.5) < MEDIAN_MS and share(self.milliseconds, 0.95) < P95_MS

    def line(self) -> str:
        """The result in words."""
        median, p95 = share(self.milliseconds, 0.5), share(self.milliseconds, 0.95)
        return (
            f"key to the next comparison, {len(self.milliseconds)} keys: median {median:.0f} ms, below "
            f"{MEDIAN_MS}; p95 {p95:.0f} ms, below {P95_MS}; most {max(self.milliseconds):.0f} ms"
            f"{'' if self.kept else '   over'}"
        )


def press_keys(page: "Page", keys: int) -> Waits:
    """Judge comparisons by key on an open Label page that has more of them than keys are pressed."""
    for pressed in range(1, keys + 1):
        page.wait_for_timeout(READ_MS)
        page.keyboard.press("1")
        page.wait_for_function(f"hyLabel.timings.length === {pressed}")
    return Waits(page.evaluate("hyLabel.timings"))


def run(*, keys: int) -> bool:
    """Measure in the settings' home, which is migrated; print, and return whether limits are kept.

    Raises:
        NoChromium: there is no browser to measure in.
    """
    from benchmarks.app import campaign
    from benchmarks.app.chromium import started_chromium

    with started_chromium() as browser, served() as url:
        campaign_id = campaign.of_base_models(keys + 1, contenders=len(TEXTS), votes_wanted=1, texts=TEXTS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{url}/label?campaign={campaign_id}")
        page.get_by_role("article").first.wait_for()
        waits = press_keys(page, keys)
    print(f"\nLabel page, in Chromium:\n\n{waits.line()}")
    return waits.kept
