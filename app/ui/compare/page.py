"""Compare: up to four models answer the same question side by side, and people vote."""

from pathlib import Path
from typing import Any

import gradio as gr

from app import demo, held_out
from app.errors import NotFound
from app.store.conversations import MAX_CONTENDERS
from app.ui import events, formatting, query, widgets
from app.ui.compare import actions as compare_actions
from app.ui.compare import state as compare_state
from app.ui.compare import view as compare_view
from app.ui.compare.show import PARTS, SIDES, Seen, Shown

REFRESH_SECONDS = 0.3
_HERE = Path(__file__).parent
STYLE = f"<style>{(_HERE / 'compare.css').read_text(encoding='utf-8')}</style>"
VOTE_KEYS = (_HERE / "compare.js").read_text(encoding="utf-8")
LEAVE_QUESTION = """() => {
    if (document.getElementById("hy-vote-a")?.offsetParent) document.activeElement?.blur();
}"""
"""After a question between two, the arrow keys vote: the question box lets go of them."""

KEEP_ADDRESS = """(id) => {
    if (!id) return;
    const address = new URL(location.href);
    address.search = "?conversation=" + id;
    history.replaceState(null, "", address);
}"""

Parts = dict[str, Any]


def build() -> None:
    """Lay the page out, then say what happens."""
    parts: Parts = {}
    gr.HTML(STYLE, padding=False, visible="hidden")
    gr.HTML(
        widgets.page_header(
            "Compare", "Ask once; all answer with the same seed and decoding. Vote for the better answer."
        ),
        js_on_load=VOTE_KEYS,
    )
    parts["conversation"] = gr.Number(0, visible="hidden", precision=0)
    parts["seen"] = gr.State(Seen())
    parts["no_worker"] = gr.HTML(compare_view.no_worker(), visible=False)
    _lay_out_setup(parts)
    _lay_out_conversation(parts)
    _lay_out_voting(parts)
    _lay_out_question(parts)
    parts["recent"] = gr.HTML(elem_id="hy-recent")
    parts["timer"] = gr.Timer(REFRESH_SECONDS, active=False)
    parts["look"] = gr.Button("Look", visible="hidden", elem_id="hy-look")
    _wire(parts)


# --- layout ----------------------------------------------------------------------------------


def _lay_out_setup(parts: Parts) -> None:
    with gr.Group(visible=False) as parts["setup"]:
        with gr.Row(elem_classes="hy-setup"):
            parts["contenders"] = gr.Dropdown(
                [],
                multiselect=True,
                max_choices=MAX_CONTENDERS,
                label="Contenders",
                info="Up to four: the reference, and checkpoints of finished runs.",
                scale=4,
                min_width=280,
            )
            parts["blind"] = gr.Checkbox(
                True,
                label="Blind",
                info="At every question names are hidden and sides shuffled until you vote.",
                min_width=200,
                scale=1,
            )
        with gr.Accordion("Decoding", open=False), gr.Row():
            parts["seed"] = gr.Number(
                0, precision=0, minimum=0, maximum=2**31 - 1, label="Seed", min_width=120
            )
            parts["max_new_tokens"] = gr.Slider(
                1, 1024, 128, step=1, label="Longest answer, tokens", min_width=160
            )
            parts["temperature"] = gr.Slider(
                0, 2, 0.7, step=0.05, label="Temperature", info="0 takes the likeliest token.", min_width=160
            )
            parts["top_p"] = gr.Slider(0.05, 1, 1.0, step=0.05, label="Top-p", min_width=160)


def _lay_out_conversation(parts: Parts) -> None:
    parts["summary"] = gr.HTML(visible=False)
    parts["earlier"] = gr.HTML(visible=False)
    parts["question"] = gr.HTML(visible=False)
    with gr.Row(elem_classes="hy-panels", equal_height=True):
        for side in SIDES:
            _lay_out_side(parts, side)
    parts["stop_all"] = gr.Button("Stop all", size="sm", visible=False, elem_classes="hy-narrow")


def _lay_out_side(parts: Parts, side: int) -> None:
    with gr.Column(visible=False, min_width=240) as parts[f"column{side}"]:
        parts[f"panel{side}"] = gr.HTML()
        with gr.Row(elem_classes="hy-answer-actions"):
            parts[f"stop{side}"] = gr.Button("Stop", size="sm", scale=0, min_width=80, visible=False)
            parts[f"again{side}"] = gr.Button("Regenerate", size="sm", scale=0, min_width=110, visible=False)


def _lay_out_voting(parts: Parts) -> None:
    with gr.Column(visible=False, elem_classes="hy-voting") as parts["voting"]:
        with gr.Row(visible=False, elem_classes="hy-votes") as parts["votes_two"]:
            for name, text in (
                ("vote_a", "A is better"),
                ("vote_tie", "Tie"),
                ("vote_bad", "Both bad"),
                ("vote_b", "B is better"),
            ):
                parts[name] = gr.Button(text, elem_id=f"hy-{name.replace('_', '-')}", min_width=150)
        with gr.Row(visible=False, elem_classes="hy-votes") as parts["votes_many"]:
            parts["best"] = gr.Radio([], label="Best", min_width=200, scale=3)
            parts["worst"] = gr.Radio([], label="Worst", min_width=200, scale=3)
            with gr.Column(scale=2, min_width=180):
                parts["vote_many"] = gr.Button("Vote best and worst")
                with gr.Row():
                    parts["vote_many_tie"] = gr.Button("All alike", min_width=80, size="md")
                    parts["vote_many_bad"] = gr.Button("All bad", min_width=80, size="md")
        parts["vote_note"] = gr.HTML()
        with gr.Row(elem_classes="hy-reason"):
            parts["reason"] = gr.Textbox(
                label="Reason (optional)", max_lines=3, max_length=4000, scale=5, min_width=240
            )
            parts["withdraw"] = gr.Button("Withdraw vote", size="sm", scale=0, min_width=140, visible=False)
            parts["show_names"] = gr.Button(
                "Show names without a vote", size="sm", scale=0, min_width=210, visible=False
            )


def _lay_out_question(parts: Parts) -> None:
    parts["continues"] = gr.Radio(
        [], label="The next question continues from answer", visible=False, elem_classes="hy-continues"
    )
    parts["opening"] = gr.State([])
    with gr.Column(visible=False) as parts["opening_box"]:
        parts["opening_shown"] = gr.HTML()
        parts["drop_opening"] = gr.Button("Ask without these messages", size="sm", elem_classes="hy-narrow")
    with gr.Row(visible=False, elem_classes="hy-ask", equal_height=False) as parts["ask_row"]:
        parts["ask_box"] = gr.Textbox(
            label="Question",
            placeholder="Enter sends, Shift+Enter starts a new line.",
            lines=1,
            max_lines=12,
            scale=6,
            min_width=260,
            elem_id="hy-question",
        )
        with gr.Column(scale=1, min_width=170):
            parts["ask"] = gr.Button("Ask", variant="primary", elem_id="hy-ask")
    with gr.Column(visible=False) as parts["prompts"]:
        parts["random"] = gr.Button("Random held-out prompt", size="sm", elem_classes="hy-narrow")
        examples = demo.held_out_questions()[:3]
        gr.Examples(
            [[text] for text in examples],
            [parts["ask_box"]],
            label="Held-out prompts of the demo",
            example_labels=[formatting.clip(text.split("\n")[0], 60) for text in examples],
            api_visibility="private",
        )


# --- handlers of the setup -------------------------------------------------------------------


SETUP = ("contenders", "seed", "blind", "max_new_tokens", "temperature", "top_p")
PROMPT = ("ask_box", "opening", "opening_shown", "opening_box")


def offer(request: gr.Request | None = None) -> list[Any]:
    """Who can be chosen and who is to begin with, then a prompt; in the order of SETUP and PROMPT.

    `?like=5` takes contenders and decoding of a conversation over, `?prompt=random` draws a prompt.
    """
    offered = compare_state.offered_contenders()
    chosen, setup = _like(request, offered)
    chosen = chosen or compare_state.preselected(query.ids(request, "runs"), offered)
    drawn = query.value(request, "prompt") == "random"
    prompt = random_prompt(chosen) if drawn else [gr.skip()] * len(PROMPT)
    return [gr.update(choices=offered, value=chosen), compare_state.random_seed(), *setup, *prompt]


def _like(request: gr.Request | None, offered: list[tuple[str, str]]) -> tuple[list[str], list[Any]]:
    """The contenders of the conversation that the address names, and the rest of SETUP after the seed."""
    ids = query.ids(request, "like")
    stays = [gr.skip()] * (len(SETUP) - 2)
    if not ids:
        return [], stays
    try:
        chosen, conversation = compare_state.setup_like(ids[0], query.username(request), offered)
    except NotFound:
        return [], stays
    given = conversation.parameters
    decoding = [given[name] for name in ("max_new_tokens", "temperature", "top_p")]
    return chosen, [conversation.blind or len(conversation.contenders) == 1, *decoding]


def random_prompt(keys: list[str]) -> list[Any]:
    """A held-out prompt with its history, in the order of PROMPT."""
    prompt = compare_actions.saying_why(
        lambda: held_out.random_prompt([compare_state.to_choice(key) for key in keys])
    )
    shown = compare_view.history(prompt.opening) if prompt.opening else ""
    return [prompt.question, prompt.opening, shown, gr.update(visible=bool(prompt.opening))]


def drop_opening() -> list[Any]:
    """The question alone: the messages before it are not asked."""
    return [[], "", gr.update(visible=False)]


# --- wiring ----------------------------------------------------------------------------------


def _wire(parts: Parts) -> None:
    outputs = [parts[name] for name in PARTS]
    here = [parts["conversation"], parts["seen"]]
    quiet: dict[str, Any] = {**events.QUIET, "concurrency_limit": None}

    prompt = [parts[name] for name in PROMPT]
    events.on_load(offer, None, [*(parts[name] for name in SETUP), *prompt])
    # The question's place comes last, so that what stands above it does not push it down.
    events.on_load(compare_actions.open_page, None, outputs).then(
        compare_actions.show_question,
        parts["conversation"],
        [parts["ask_row"], parts["prompts"]],
        **quiet,
    )
    parts["timer"].tick(compare_actions.refresh, here, outputs, trigger_mode="once", **quiet)
    parts["conversation"].change(None, parts["conversation"], None, js=KEEP_ADDRESS)
    parts["look"].click(compare_actions.watch, here, outputs, trigger_mode="once", **quiet)
    parts["random"].click(random_prompt, parts["contenders"], prompt, **quiet)
    parts["drop_opening"].click(drop_opening, None, prompt[1:], **quiet)
    _wire_question(parts, here, outputs, quiet)
    _wire_voting(parts, here, outputs, quiet)
    for side in SIDES:
        stop, again = _side_handlers(side)
        parts[f"stop{side}"].click(stop, here, outputs, **quiet)
        parts[f"again{side}"].click(again, here, outputs, **quiet)
    parts["stop_all"].click(stop_all, here, outputs, **quiet)


def _wire_question(parts: Parts, here: list[Any], outputs: list[Any], quiet: dict[str, Any]) -> None:
    given = [
        parts[name]
        for name in (
            "contenders", "ask_box", "blind", "seed", "max_new_tokens", "temperature", "top_p", "continues",
            "opening",
        )
    ]  # fmt: skip
    gr.on(
        [parts["ask_box"].submit, parts["ask"].click],
        compare_actions.ask,
        [*here, *given],
        [*outputs, parts["ask_box"]],
        trigger_mode="once",
        **quiet,
    ).success(None, None, None, js=LEAVE_QUESTION)


def _wire_voting(parts: Parts, here: list[Any], outputs: list[Any], quiet: dict[str, Any]) -> None:
    reason = parts["reason"]
    for name, handler in (
        ("vote_a", vote_a),
        ("vote_b", vote_b),
        ("vote_tie", vote_tie),
        ("vote_bad", vote_bad),
        ("vote_many_tie", vote_tie),
        ("vote_many_bad", vote_bad),
    ):
        parts[name].click(handler, [*here, reason], outputs, **quiet)
    picked = [parts["best"], parts["worst"]]
    parts["vote_many"].click(vote_many, [*here, *picked, reason], outputs, **quiet)
    parts["withdraw"].click(compare_actions.withdraw, here, outputs, **quiet)
    parts["show_names"].click(compare_actions.show_names, here, outputs, **quiet)
    for event in (reason.submit, reason.blur):
        event(compare_actions.save_reason, [*here, reason], outputs, **quiet)


def vote_a(conversation_id: float, seen: Seen, reason: str, request: gr.Request | None = None) -> Shown:
    return compare_actions.vote("A", conversation_id, seen, "", reason, request)


def vote_b(conversation_id: float, seen: Seen, reason: str, request: gr.Request | None = None) -> Shown:
    return compare_actions.vote("B", conversation_id, seen, "", reason, request)


def vote_tie(conversation_id: float, seen: Seen, reason: str, request: gr.Request | None = None) -> Shown:
    return compare_actions.vote("tie", conversation_id, seen, "", reason, request)


def vote_bad(conversation_id: float, seen: Seen, reason: str, request: gr.Request | None = None) -> Shown:
    return compare_actions.vote("both bad", conversation_id, seen, "", reason, request)


def vote_many(
    conversation_id: float,
    seen: Seen,
    best: str | None,
    worst: str | None,
    reason: str,
    request: gr.Request | None = None,
) -> Shown:
    """Best and worst of three or four."""
    return compare_actions.vote(best or "", conversation_id, seen, worst or "", reason, request)


def stop_all(conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Shown:
    return compare_actions.stop(None, conversation_id, seen, request)


def _side_handlers(side: int) -> tuple[Any, Any]:
    def stop(conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Shown:
        return compare_actions.stop(side, conversation_id, seen, request)

    def again(conversation_id: float, seen: Seen, request: gr.Request | None = None) -> Shown:
        return compare_actions.regenerate(side, conversation_id, seen, request)

    return stop, again
