"""The whole web app for tests that ask it as a browser or a program does."""

from collections.abc import Iterator

import gradio as gr
import httpx
import pytest

from app.settings import get_settings
from tests.web_server import served_app, shared_app, shared_blocks


@pytest.fixture(scope="session")
def _building(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Build the app in a home folder that outlives each test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYPO_HOME", str(tmp_path_factory.mktemp("app")))
        get_settings.cache_clear()
        shared_app()
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def web_address(_building: None) -> Iterator[str]:
    """The address of the whole web app, which reads the settings of each test."""
    with served_app(shared_app()) as found:
        yield found


@pytest.fixture
def browser(web_address: str) -> Iterator[httpx.Client]:
    """A client of the whole web app that follows redirects as a browser does."""
    with httpx.Client(base_url=web_address, follow_redirects=True, timeout=60) as client:
        yield client


@pytest.fixture
def blocks(_building: None) -> gr.Blocks:
    """All pages, as Gradio knows them."""
    return shared_blocks()
