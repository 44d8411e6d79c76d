"""Page updates by component name.

A handler that may change more than three components returns `Updates`: a new value or a `gr.update(...)`
for each component that changes. Components it does not name stay unchanged. Tests can call a handler as a
plain function; `connect` converts its result to the list that Gradio expects.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from typing import Any

import gradio as gr

Updates = dict[str, Any]

Components = Mapping[str, Any]
"""Components and states of a page, by name."""

Event = Callable[..., Any]
"""A Gradio event, such as `button.click`, `events.on_load` or `dependency.then`."""


def named(*sections: Any) -> dict[str, Any]:
    """The components of a page's sections by name; a section is a dataclass of components."""
    return {field.name: getattr(section, field.name) for section in sections for field in fields(section)}


def pick(components: Components, *names: str) -> dict[str, Any]:
    """A subset of the components."""
    return {name: components[name] for name in names}


def connect(
    event: Event, handler: Callable[..., Updates], inputs: Any, outputs: Components, **options: Any
) -> Any:
    """Attach a handler of named updates to an event.

    Returns:
        The event's dependency, whose `then` attaches a follow-up handler.
    """
    return event(_in_order(handler, tuple(outputs)), inputs, list(outputs.values()), **options)


def _in_order(handler: Callable[..., Updates], names: tuple[str, ...]) -> Callable[..., Any]:
    """Wrap a handler for Gradio: the wrapper returns one value per name, in order."""

    @wraps(handler)
    def called(*given: Any, **options: Any) -> Any:
        updates = handler(*given, **options)
        unknown = updates.keys() - set(names)
        if unknown:
            raise KeyError(f"{handler.__name__} names no output of its event: {sorted(unknown)}")
        values = [updates.get(name, gr.skip()) for name in names]
        return values if len(values) > 1 else values[0]

    return called
