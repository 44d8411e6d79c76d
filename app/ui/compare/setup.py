"""The setup of a new conversation: contenders, decoding and a prompt."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from app import held_out
from app.errors import NotFound
from app.i18n import _
from app.ui import query
from app.ui.compare import actions
from app.ui.compare import state as compare_state
from app.ui.compare import view as compare_view
from app.ui.updates import Updates

_DECODING = ("max_new_tokens", "temperature", "top_p")


def remember(keys: list[str], blind: bool, *decoding: float) -> dict[str, Any]:
    """What this browser keeps for its next conversation: contenders, blindness and decoding."""
    return {"contenders": keys, "blind": blind, **dict(zip(_DECODING, decoding, strict=True))}


def offer(kept: Mapping[str, Any] | None = None, request: gr.Request | None = None) -> Updates:
    """The available contenders, the preselected ones, and a prompt.

    `?runs=3,4` and `?checkpoints=12` choose contenders; `?like=5` copies them and the decoding from a
    conversation; `?prompt=random` draws a prompt. What it does not say is as this browser asked last.
    """
    offered = compare_state.offered_contenders()
    asked = {name: query.ids(request, name) for name in ("runs", "checkpoints")}
    remembered, decoding = _kept(kept, offered)
    if any(asked.values()):
        remembered = []
    liked, like_decoding = _like(request, offered)
    chosen = (
        liked
        or remembered
        or compare_state.preselected(asked["runs"], offered, checkpoint_ids=asked["checkpoints"])
    )
    updates = {
        "contenders": gr.update(choices=offered, value=chosen),
        "seed": compare_state.random_seed(),
        "untrained": _untrained(offered),
        **decoding,
        **like_decoding,
        **choose(chosen),
    }
    if query.value(request, "prompt") == "random":
        updates |= random_prompt(chosen)
    return updates


def _kept(kept: Mapping[str, Any] | None, offered: list[tuple[str, str]]) -> tuple[list[str], Updates]:
    """The contenders that this browser asked last, if all are still offered, and the rest of its setup."""
    if not isinstance(kept, Mapping):
        return [], {}
    named, known = kept.get("contenders"), {key for _name, key in offered}
    keys = [key for key in named if key in known] if isinstance(named, list) else []
    rest = {name: kept[name] for name in _DECODING if isinstance(kept.get(name), int | float)}
    return keys if keys == named else [], rest | ({"blind": bool(kept["blind"])} if "blind" in kept else {})


def _like(request: gr.Request | None, offered: list[tuple[str, str]]) -> tuple[list[str], Updates]:
    """Contenders, blindness and decoding of the conversation in the `like` parameter."""
    ids = query.ids(request, "like")
    if not ids and not query.wrong_id(request, "like"):
        return [], {}
    try:
        chosen, conversation = compare_state.setup_like(
            ids[0] if ids else 0, query.username(request), offered
        )
    except NotFound:
        gr.Warning(_("The address names no conversation that exists; choose the contenders."), duration=8)
        return [], {}
    decoding = {name: conversation.parameters[name] for name in _DECODING}
    return chosen, {"blind": conversation.blind or len(conversation.contenders) == 1, **decoding}


def random_prompt(keys: list[str]) -> Updates:
    """A random held-out prompt, with the messages that precede it."""
    prompt = actions.showing_errors(
        lambda: held_out.random_prompt([compare_state.to_choice(key) for key in keys])
    )
    return {
        "ask_box": prompt.question,
        "opening": prompt.opening,
        "opening_shown": compare_view.history(prompt.opening) if prompt.opening else "",
        "opening_box": gr.update(visible=bool(prompt.opening)),
    }


def drop_opening() -> tuple[Any, ...]:
    """Remove the messages that precede the question."""
    return [], "", gr.update(visible=False)


def choose(keys: list[str]) -> Updates:
    """Whether these contenders can be asked, and the button for the last twins if they are others."""
    twins = compare_state.last_twins()
    other = twins is not None and set(keys) != set(twins.keys)
    offer = _("Compare the last twins: {names}", names=twins.said) if twins else ""
    return {
        "twins": gr.update(visible=other, value=offer),
        **compare_view.asking(ready=bool(keys), why=_("Choose a contender above, then ask.")),
    }


def choose_twins() -> Updates:
    """Choose the reference and the last twins."""
    twins = compare_state.last_twins()
    if twins is None:
        raise NotFound(_("The last twins are no longer there; choose the contenders from the list."))
    return {"contenders": gr.update(value=twins.keys), **choose(twins.keys)}


def _untrained(offered: list[tuple[str, str]]) -> Any:
    """What to do while no run can answer."""
    trained = any(key.startswith("run:") for _name, key in offered)
    return gr.update(
        visible=not trained,
        value="" if trained else compare_view.untrained(compare_state.unfinished_runs()),
    )
