"""Arbitrary values from a browser: a handler succeeds, or fails with one of our sentences."""

import asyncio
import inspect
import logging
import traceback
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.context import LocalContext
from gradio.state_holder import SessionState
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from app import main
from app.errors import Refused
from app.store.models import Base
from app.ui import guard

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

MARKUP = "<img src=x onerror=alert(1)>"
AS_OPENED = 1
"""In place of a value: each component has the one that the page opens with."""
HOSTILE: list[Any] = [MARKUP, 10**30, None]


async def _call(blocks: gr.Blocks, event: Any, value: Any, state: SessionState) -> list[Any]:
    given = [getattr(part, "value", None) if value is AS_OPENED else value for part in event.inputs]
    inputs = [
        None if getattr(part, "stateful", False) else one
        for part, one in zip(event.inputs, given, strict=True)
    ]
    names = ("id", "conversation", "clone", "compare", "vote", "dataset", "campaign", "runs")
    request = gr.Request(username="local", query_params=dict.fromkeys(names, str(value)), session_hash="x")
    LocalContext.blocks.set(blocks)
    answer = await blocks.process_api(event, inputs, state=state, request=request)
    return list(answer["data"])


def _comes_from_us(error: Exception) -> bool:
    ours = str(Path(main.__file__).parent)
    return any(frame.filename.startswith(ours) for frame in traceback.extract_tb(error.__traceback__))


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_no_handler_fails_raw_or_echoes_markup(
    engine: Engine, blocks: gr.Blocks, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # the tracebacks of invalid values

    async def walk() -> list[str]:
        found = []
        state = SessionState(blocks)  # one for all calls: Gradio takes a tenth of a second to make one
        for index, event in blocks.fns.items():
            for value in HOSTILE if event.fn is not None else ():
                try:
                    shown = await _call(blocks, event, value, state)
                except gr.Error:
                    continue
                except (
                    Exception
                ) as error:  # Gradio rejects values that no component accepts before it calls a handler
                    if _comes_from_us(error):
                        found.append(f"{index} {event.name} of {str(value)[:20]}: {error!r}")
                    continue
                pages = [
                    str(v) for part, v in zip(event.outputs, shown, strict=True) if isinstance(part, gr.HTML)
                ]
                found += [f"{index} {event.name} echoes markup" for page in pages if MARKUP in page]
        return found

    assert asyncio.run(walk()) == []


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (Refused("Ask again later."), "Ask again later."),
        (KeyError("x"), guard.NOT_UNDERSTOOD),
        (OperationalError("SELECT 1", {}, Exception("secret")), guard.NO_DATABASE),
        (OSError(5, "secret"), guard.NO_FILES),
        (RuntimeError("secret"), guard.UNEXPECTED),
        (gr.Error("Said already."), "Said already."),
    ],
)
def test_every_error_is_one_sentence(error: Exception, sentence: str) -> None:
    def fails() -> None:
        raise error

    with pytest.raises(gr.Error) as shown:
        guard.guarded(fails)()
    assert shown.value.message == sentence


def test_a_guarded_handler_keeps_its_signature() -> None:
    def handler(name: str, request: gr.Request) -> str:
        return name

    assert inspect.signature(guard.guarded(handler)) == inspect.signature(handler)
    assert guard.guarded(handler)("x", None) == "x"


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_page_that_cannot_be_opened_still_has_its_heading(
    engine: Engine, blocks: gr.Blocks, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    headed = {part.page for part in blocks.blocks.values() if "<h1" in str(getattr(part, "value", ""))}
    Base.metadata.drop_all(engine)

    async def walk() -> set[str]:
        failed, state = set(), SessionState(blocks)
        for event in blocks.fns.values():
            if event.fn is None or "load" not in {name for _, name in event.targets}:
                continue
            try:
                shown = "".join(map(str, await _call(blocks, event, AS_OPENED, state)))
            except gr.Error as error:
                shown = error.message
            if guard.NO_DATABASE in shown:
                failed.add(event.page)
            if "<h1" in shown:
                headed.add(event.page)
        return failed

    failed = asyncio.run(walk())
    assert {"lineage", "datasets", "report", "campaigns"} <= failed
    assert failed - headed == set()
