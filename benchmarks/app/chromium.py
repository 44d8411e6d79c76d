"""A real Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


class NoChromium(Exception):
    """No Chromium can be started. The message says why, and what to do."""


def find_chromium() -> str | None:
    """The browser from HYPO_CHROMIUM or PATH; None selects Playwright's own."""
    return os.environ.get("HYPO_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def started_chromium() -> "Iterator[Browser]":
    """Start a browser without a window.

    Raises:
        NoChromium: there is none, or it does not start.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise NoChromium("Playwright is not installed; run `make setup`.") from error

    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(SWITCHES))
        except Error as error:
            raise NoChromium(
                f"{str(error).strip().splitlines()[0]}. Install a Chromium on the PATH or with "
                "`playwright install chromium`, or name its program in HYPO_CHROMIUM."
            ) from error
        yield browser
        browser.close()
