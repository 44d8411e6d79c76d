"""The pages, one folder each, and their shared parts: theme, widgets, charts and events.

`gr.Error` is raised only here.

Importing this package imports Gradio, without telemetry, and without the type stubs that Gradio writes
beside each of its components: for them it parses its own source in every process, a fifth of the app's start.
"""

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def _without_stubs() -> Iterator[None]:
    """Let Gradio's components look like classes without a file, of which it writes no stubs."""
    getfile = inspect.getfile

    def of(thing: Any) -> str:
        if isinstance(thing, type) and thing.__module__.startswith("gradio."):
            raise OSError  # as for a class without a file
        return getfile(thing)

    inspect.getfile = of  # type: ignore[assignment]
    try:
        yield
    finally:
        inspect.getfile = getfile


os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
with _without_stubs():
    import gradio as gradio
