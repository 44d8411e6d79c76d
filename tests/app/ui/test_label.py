"""The Label page without its script: the list of campaigns, and the addresses of its modules."""

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from app import migrate
from app.settings import Settings
from app.store import db
from app.store.models import Base
from app.ui import modules
from app.ui.label import layout, page
from tests.app import campaign_setup


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """An empty SQLite database; the tests of the service also run on PostgreSQL."""
    engine = db.get_engine()
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def at(user: str = "ada", **query: Any) -> Any:
    return SimpleNamespace(query_params=query, username=user)


def test_without_a_campaign_the_open_ones_are_listed(engine: Engine) -> None:
    assert "Nothing to judge" in page.show_list(at())
    campaign_id = campaign_setup.ready(name="<b>Which?</b>")
    campaign_setup.ready(name="Not hers", voters=["local"])
    shown = page.show_list(at())
    assert f'<a href="label?campaign={campaign_id}">&lt;b&gt;Which?&lt;/b&gt;</a>' in shown
    assert "Not hers" not in shown
    assert page.show_list(at(campaign=str(campaign_id))) == ""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_modules_are_served_and_kept_by_browsers(settings: Settings, browser: httpx.Client) -> None:
    migrate.upgrade()
    address = modules.address("label", "label.js")
    assert re.fullmatch(r"modules/label/[0-9a-f]{12}/label\.js", address)
    script = browser.get(f"/{address}")
    assert "immutable" in script.headers["cache-control"]
    for name in re.findall(r'from "\./(\w+\.js)"', script.text):
        assert browser.get(f"/{modules.address('label', name)}").status_code == 200
    older = browser.get("/modules/label/0123456789ab/label.js")
    assert (older.status_code, older.headers["cache-control"]) == (200, "no-store")
    for missing in ("label/0/page.py", "label/0/none.js", "compare/0/compare.js", "label/0/..%2fpage.js"):
        assert browser.get(f"/modules/{missing}").status_code == 404, missing


def test_the_help_names_every_key() -> None:
    keys = (layout.Path(layout.__file__).with_name("keys.js")).read_text(encoding="utf-8")
    named = {key for shown, _ in layout.KEYS for key in shown.split()} | {"?"}
    for key in ("0", "x", "s", "u", "r", "g", "?"):
        assert key in named
        assert re.search(rf'[{{ "]{re.escape(key)}"?: "', keys), key
