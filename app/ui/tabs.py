"""Tabs whose place is in the page's address, as in `run?id=3&tab=log`: reloading and going back keep it."""

from collections.abc import Mapping

import gradio as gr

from app.ui import events, query


def remember(tabs: gr.Tabs, each: Mapping[str, gr.Tab]) -> None:
    """Write the chosen tab to the address, and choose the tab of the address when the page is opened.

    Args:
        each: the tabs by id; the first is chosen when the address names none.
    """
    first = next(iter(each))
    for name, tab in each.items():
        said = "" if name == first else name
        tab.select(None, None, None, js=f"() => {{ hySetQuery({{ tab: '{said}' }}); }}")

    def opened(request: gr.Request) -> object:
        wanted = query.value(request, "tab")
        return gr.Tabs(selected=wanted) if wanted in each and wanted != first else gr.skip()

    events.on_load(opened, None, tabs)
