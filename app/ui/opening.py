"""Opening a page whose heading comes from its handler: a failure shows the heading and a sentence."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import gradio as gr

from app.i18n import _
from app.ui import events, guard, widgets
from app.ui.updates import Components, Updates, connect


def on_open(
    title: str, handler: Callable[..., Updates], inputs: Any, outputs: Components, **options: Any
) -> Any:
    """Attach a handler that fills in `header` to the opening of the page under construction.

    Args:
        title: the heading if the handler fails, marked with `N_`.
    """
    return connect(events.on_load, _headed(title, handler), inputs, outputs, **options)


def _headed(title: str, handler: Callable[..., Updates]) -> Callable[..., Updates]:
    guarded = guard.guarded(handler)

    @wraps(handler)
    def called(*given: Any, **named: Any) -> Updates:
        try:
            updates: Updates = guarded(*given, **named)
        except gr.Error as error:
            return {"header": widgets.page_header(_(title)) + widgets.error_banner(error.message)}
        return updates

    return called
