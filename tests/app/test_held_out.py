"""Held-out prompts for questions: whole conversations, and none that a contender was trained on."""

import pytest
from sqlalchemy import Engine

from app import held_out
from app.errors import NotFound
from app.store import comparisons, dataset_writing, voted_prompts
from app.store.conversations import ContenderChoice
from app.store.db import write_session
from hypo_engine.data.formats import Kept, Pair, prompt_key
from hypo_engine.reporting import Prompt
from tests.app import arena
from tests.transactions import within

SYSTEM = {"role": "system", "content": "Be brief."}
CHAT: list[dict[str, str]] = [
    SYSTEM,
    {"role": "user", "content": "Something sweet?"},
    {"role": "assistant", "content": "A cake."},
    {"role": "user", "content": "sweet but what if has a pin"},
]


def run_on(*prompts: Prompt, held_out: float) -> ContenderChoice:
    """A finished run on pairs with these prompts."""
    with write_session() as session:
        dataset = dataset_writing.create(
            write=within(session),
            name="chats",
            sha256="0" * 64,
            format="trl",
            source="test",
            held_out=held_out,
            pairs=[Kept(row, Pair(prompt, "a", "b")) for row, prompt in enumerate(prompts, start=1)],
        )
        return ContenderChoice(run_id=arena.add_run(session, dataset_id=dataset.id).id)


@pytest.mark.parametrize(
    ("prompt", "opening", "question"),
    [
        (CHAT, CHAT[:3], "sweet but what if has a pin"),
        ([SYSTEM, CHAT[1]], [SYSTEM], "Something sweet?"),
        ([CHAT[1]], [], "Something sweet?"),
        ("Plain text", [], "Plain text"),
    ],
)
def test_a_prompt_comes_with_all_that_stands_before_its_question(
    engine: Engine, prompt: Prompt, opening: list[dict[str, str]], question: str
) -> None:
    drawn = held_out.random_prompt([ContenderChoice(base_model="demo"), run_on(prompt, held_out=1.0)])
    assert (drawn.opening, drawn.question) == (opening, question)


def test_it_is_asked_as_it_stands(engine: Engine) -> None:
    drawn = held_out.random_prompt([run_on(CHAT, held_out=1.0)])
    with write_session() as session:
        conversation = arena.start(session, [ContenderChoice(base_model="demo")], opening=drawn.opening)
        comparison = comparisons.ask(conversation.id, drawn.question, session=session)
        (row,) = comparisons.answers(comparison.id, session=session)
    assert row.prompt.content == CHAT


def test_what_another_contender_was_trained_on_is_not_drawn(engine: Engine) -> None:
    keeps = run_on("One?", CHAT, held_out=1.0)
    trains = run_on([{"role": "user", "content": "One?"}], held_out=0.0)
    for _ in range(8):
        assert held_out.random_prompt([keeps, trains]).question == CHAT[-1]["content"]
    for _ in range(8):
        assert held_out.random_prompt([trains]).question not in ("One?", CHAT[-1]["content"])


def test_voted_prompts_are_not_drawn(engine: Engine) -> None:
    choice = run_on("One?", "Two?", held_out=1.0)
    with write_session() as session:
        keys = {prompt_key("One?")}
        found = voted_prompts.held_out_pairs_of(keys, session=session)
        voted_prompts.take_out_of_evaluation(found, session=session)
    assert {held_out.random_prompt([choice]).question for _ in range(8)} == {"Two?"}


def test_a_prompt_that_ends_in_an_answer_is_no_question(engine: Engine) -> None:
    choice = run_on(CHAT[:3], "Two?", held_out=1.0)
    assert {held_out.random_prompt([choice]).question for _ in range(8)} == {"Two?"}


def test_a_run_that_is_not_there_is_said(engine: Engine) -> None:
    with pytest.raises(NotFound, match="99"):
        held_out.random_prompt([ContenderChoice(run_id=99)])
