"""The web app as a whole: it builds, stays small, and reports its health."""

import gradio as gr
import httpx
import pytest

from app import main, migrate
from app.settings import Settings
from app.ui import theme

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_pages_assets_and_health(settings: Settings, browser: httpx.Client) -> None:
    migrate.upgrade()
    assert browser.get("/healthz").json() == {"status": "ok", "database": "ok", "home": "ok"}
    for page in main.pages():
        assert browser.get(f"/{page.path}").status_code == 200, page.name


def test_health_tells_when_the_database_is_away(monkeypatch: pytest.MonkeyPatch, settings: object) -> None:
    from app import settings as settings_module

    monkeypatch.setenv("HYPO_DATABASE_URL", "postgresql+psycopg://hypo:secret@127.0.0.1:1/none")
    settings_module.get_settings.cache_clear()
    answer = main.healthz()
    assert answer.status_code == 503
    assert b"secret" not in answer.body


def test_nothing_comes_from_the_network() -> None:
    assert "http" not in theme.css() + theme.head()
    assert theme.Theme()._stylesheets == []


def test_no_handler_of_a_page_waits_for_somebody_elses(blocks: gr.Blocks) -> None:
    """Gradio runs one call per handler at a time by default; imports and exports run two at a time."""
    assert blocks._queue.default_concurrency_limit is None
    limited = {fn.concurrency_limit for fn in blocks.fns.values()}
    assert limited <= {None, "default", 2}


def test_what_stands_on_a_page_appears_at_once(blocks: gr.Blocks) -> None:
    """Two handlers finish in either order, and what comes above pushes down what is already read."""
    openings = [
        (fn.page, fn.name)
        for fn in blocks.fns.values()
        if any(event == "load" for _block, event in fn.targets)
        and not all(_in_tab(output) for output in fn.outputs)
    ]
    pages = [page for page, _name in openings]
    assert len(pages) > 10
    assert len(set(pages)) == len(pages), openings


def _in_tab(block: object) -> bool:
    """Whether a block is a row of tabs or stands in a tab, where nothing stands below it."""
    while block is not None:
        if isinstance(block, gr.Tab | gr.Tabs):
            return True
        block = getattr(block, "parent", None)
    return False
