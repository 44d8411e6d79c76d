"""Page events: loading, timers, and their shared options."""

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.context import Context

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""Options of page-private events: no spinner, no entry in Gradio's API."""


GO = "(address) => { window.location.href = address; }"
"""Opens the address of its input."""

CLICK_DOWNLOAD = """() => setTimeout(() => {
    const place = document.getElementById("hy-download");
    const target = place?.matches("a, button") ? place : place?.querySelector("a, button");
    target?.click();
}, 250)"""
"""Clicks the hidden download button once its file is ready."""


def on_load(fn: Callable[..., Any], inputs: Any = None, outputs: Any = None, **options: Any) -> Any:
    """Call a function when the page under construction is opened; it may take a `gr.Request`."""
    if Context.root_block is None:
        raise RuntimeError("on_load() belongs inside the build() of a page.")
    return Context.root_block.load(
        fn, inputs, outputs, **{**QUIET, "queue": True, "concurrency_limit": None, **options}
    )


def edited(component: Any) -> Any:
    """The event of a reader's edit.

    Gradio's boxes of several lines fire `input` at keys alone, not at a pasted text. Their `change` follows
    both, and what the page fills in.
    """
    several = isinstance(component, gr.Textbox) and component.lines > 1
    return component.change if several else component.input


def poll(
    seconds: float, fn: Callable[..., Any], inputs: Any = None, outputs: Any = None, **options: Any
) -> gr.Timer:
    """Call a function periodically while the page is open; it returns `gr.skip()` when nothing changed."""
    timer = gr.Timer(seconds)
    tick(timer, fn, inputs, outputs, **options)
    return timer


BUSY_SECONDS, IDLE_SECONDS = 2.0, 10.0


def pace(*, busy: bool) -> gr.Timer:
    """The polling interval of a list, as an update of its timer; longer while no run is active."""
    return gr.Timer(BUSY_SECONDS if busy else IDLE_SECONDS, active=True)


def tick(
    timer: gr.Timer, fn: Callable[..., Any], inputs: Any = None, outputs: Any = None, **options: Any
) -> None:
    """Call a function at every tick of a timer; its outputs may stop the timer."""
    timer.tick(fn, inputs, outputs, **{**QUIET, "concurrency_limit": None, "trigger_mode": "once", **options})
