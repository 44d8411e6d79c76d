"""Named updates reach exactly the named outputs of the event."""

from dataclasses import dataclass
from inspect import signature
from typing import Any

import gradio as gr
import pytest

from app.ui.updates import Updates, connect, named, pick


@dataclass(frozen=True, slots=True)
class Section:
    """Two components of a page; the event passes their names through."""

    title: str = "the title"
    body: str = "the body"


class Event:
    """Records its arguments, with the signature of a component's event."""

    def __call__(self, handler: Any, inputs: Any, outputs: list[Any], **options: Any) -> "Event":
        self.handler, self.inputs, self.outputs, self.options = handler, inputs, outputs, options
        return self


def connected(handler: Any, *names: str) -> Event:
    event = Event()
    assert connect(event, handler, ["x"], pick(named(Section()), *names), queue=False) is event
    return event


def test_updates_come_in_the_order_of_the_outputs_and_the_rest_stays() -> None:
    def handler(x: int) -> Updates:
        return {"body": x}

    event = connected(handler, "title", "body")
    assert (event.inputs, event.outputs, event.options) == (
        ["x"], ["the title", "the body"], {"queue": False},
    )  # fmt: skip
    assert event.handler(3) == [gr.skip(), 3]


def test_a_single_output_gets_its_value_alone() -> None:
    assert connected(lambda: {"body": 1}, "body").handler() == 1


def test_a_name_that_is_no_output_is_an_error() -> None:
    with pytest.raises(KeyError, match="no output"):
        connected(lambda: {"other": 1}, "title", "body").handler()


def test_gradio_finds_the_request_in_a_handlers_signature() -> None:
    def handler(x: int, request: gr.Request) -> Updates:
        return {}

    found = connected(handler, "title", "body").handler
    assert signature(found).parameters["request"].annotation is gr.Request
    assert found.__name__ == "handler"
