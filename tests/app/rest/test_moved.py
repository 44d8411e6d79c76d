"""A call to a function of Gradio's API fails with the REST call to use: real client, real server."""

import re

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from sqlalchemy import Engine

from app.rest import application
from app.rest.moved import MOVED
from tests.web_server import rest_api

pytestmark = [
    pytest.mark.parametrize("engine", ["sqlite"], indirect=True),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def test_gradio_client_is_told_the_rest_call_of_each_function(address: str) -> None:
    with pytest.raises(ValueError, match="REST API") as caught:
        Client(address, verbose=False)
    for name, call in MOVED.items():
        assert f"{name} is {call}" in str(caught.value)
        said = httpx.post(f"{address}/gradio_api/call/{name}", json={"data": []})
        assert said.status_code == 410
        assert call in said.text
    page = httpx.get(f"{address}/")
    assert page.status_code == 200
    assert "api/v1/docs" in page.text


def test_every_call_that_is_named_exists(engine: Engine) -> None:
    paths = rest_api().openapi()["paths"]
    for call in MOVED.values():
        method, path = call.split()
        assert method.lower() in paths[path.removeprefix(application.PREFIX)]


def test_gradio_has_no_functions_for_programs(engine: Engine, blocks: gr.Blocks) -> None:
    public = {str(fn.api_name) for fn in blocks.fns.values() if fn.api_visibility != "private"}
    assert public == set()
    assert not [name for name in MOVED if not re.fullmatch(r"\w+", name)]


def test_an_address_with_a_line_break_is_not_found_like_any_other(address: str) -> None:
    answer = httpx.get(f"{address}/api/v1/datasets/%0A/left-out")
    assert answer.status_code == 404
    assert answer.json()["error"] == "not_found"
    assert "error" not in httpx.get(f"{address}/nowhere").json()
