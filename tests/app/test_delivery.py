"""Delivery of responses: compressed, small, and cached if the address depends on the content."""

import gzip

import httpx
import pytest

from app import main, migrate
from app.delivery import FOR_GOOD
from app.settings import Settings
from app.ui import plotly_js

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def client(settings: Settings, browser: httpx.Client) -> httpx.Client:
    migrate.upgrade()
    return browser


def test_pages_are_compressed_and_none_names_plotly_in_its_head(client: httpx.Client) -> None:
    for page in main.pages():
        answer = client.get(f"/{page.path}", headers={"Accept": "text/html", "Accept-Encoding": "gzip"})
        assert answer.headers["content-encoding"] == "gzip", page.name
        assert int(answer.headers["content-length"]) < 40_000, page.name
        assert '<script src="plotly' not in answer.text
        plain = client.get(f"/{page.path}", headers={"Accept": "text/html", "Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers


def test_plotly_is_compressed_and_kept_for_good_at_an_address_of_its_content(client: httpx.Client) -> None:
    plain = client.get(f"/{plotly_js.address()}", headers={"Accept-Encoding": "identity"})
    answer = client.get(f"/{plotly_js.address()}", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["cache-control"] == plain.headers["cache-control"] == FOR_GOOD
    assert answer.content == plain.content == plotly_js.bundle().read_bytes()
    assert int(answer.headers["content-length"]) == len(gzip.compress(plain.content, 9))
    assert b"plotly.js" in plain.content[:200]


def test_gradio_s_files_are_kept_by_their_names(client: httpx.Client) -> None:
    page = client.get("/").text
    name = page.split('src="./assets/')[1].split('"')[0] if 'src="./assets/' in page else ""
    name = name or page.split("/assets/")[1].split('"')[0]
    assert client.get(f"/assets/{name}").headers["cache-control"] == FOR_GOOD
    font = client.get("/static/fonts/IBMPlexSans/IBMPlexSans-Regular.woff2")
    assert font.headers["cache-control"] == "public, max-age=604800"
    assert "immutable" not in client.get("/assets/none-12345678.js").headers.get("cache-control", "")
    assert client.get("/").headers["cache-control"] == "no-store"
