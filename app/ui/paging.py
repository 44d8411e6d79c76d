"""Paging: the controls below a list and their state."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from markupsafe import Markup

from app.i18n import _
from app.ui.updates import Updates


@dataclass(frozen=True, slots=True)
class Pager:
    """The controls below a paged list: two buttons, the range of lines, and the page number.

    Attributes:
        name: prefix of the output names.
    """

    name: str
    page: gr.Number
    back: gr.Button
    place: gr.HTML
    on: gr.Button

    @property
    def outputs(self) -> dict[str, Any]:
        """The components by the names that `state` uses."""
        parts = {"page": self.page, "back": self.back, "place": self.place, "on": self.on}
        return {f"{self.name}_{part}": component for part, component in parts.items()}


def controls(name: str = "list", *, back: str = "", on: str = "") -> Pager:
    """Lay out the controls, hidden until the list has more than one page."""
    page = gr.Number(0, visible="hidden", precision=0)
    with gr.Row(elem_classes="hy-buttons hy-pager"):
        return Pager(
            name,
            page,
            gr.Button(back or _("Newer"), size="sm", scale=0, min_width=100, visible=False),
            gr.HTML(visible=False, padding=False),
            gr.Button(on or _("Older"), size="sm", scale=0, min_width=100, visible=False),
        )


def number_of(page: float | None) -> int:
    """A page number from 0, clamped because a browser may send any value."""
    return min(max(int(page or 0), 0), 1_000_000)


def state(number: int, size: int, lines: int, *, more: bool, name: str = "list") -> Updates:
    """Updates of the pager below a page of `lines` lines.

    Args:
        size: lines on a full page.
        more: whether there is a page after this one.
    """
    first = number * size + 1
    place = Markup('<p class="hy-note">{:,}–{:,}</p>').format(first, first + lines - 1)
    several = lines > 0 and (number > 0 or more)
    return {
        f"{name}_page": number,
        f"{name}_back": gr.update(visible=number > 0),
        f"{name}_place": gr.update(value=place if several else "", visible=several),
        f"{name}_on": gr.update(visible=more),
    }
