"""Make a comparison of two stored answers to the same prompt, so that people can vote on them.

The answers are copied as finished ones. Their contenders are the models that wrote them: the run's
checkpoint at that step, or the reference where the weights were still its own. A step without a checkpoint is
a contender too, by its name, and cannot answer further questions.

The comparison is blind, with its sides drawn at random. Whoever makes it has just seen who wrote what, and so
has seen its names; others judge it blind.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NotFound, Refused
from app.store import generation_origins, names, prompts, users
from app.store.contenders import REFERENCE, checkpoint_name, reference_name, trained_in_4bit
from app.store.conversations import Decoding
from app.store.enums import GenerationKind, GenerationStatus
from app.store.generation_origins import Origin
from app.store.models import Checkpoint, Comparison, Contender, Conversation, Generation

PROMOTED: Final = "promoted"
"""The parameter of a conversation that names the generations it was made of."""

_COPIED: Final = (
    "text",
    "seed",
    "tokens",
    "complete",
    "seconds",
    "policy_logp",
    "reference_logp",
    "log_ratio",
    "token_log_ratio",
    "score",
    "token_logps",
)


def promote(generation_ids: Sequence[int], *, session: Session, user: str) -> Comparison:
    """Make a comparison of two stored answers.

    Raises:
        InvalidInput: unless there are two of them, to the same prompt, which ends with a question.
        NotFound: for a generation that this person may not see.
        Refused: for an answer that was stopped, or whose names are still hidden from this person: a vote on
            the copy would tell who wrote it.
    """
    if len(set(generation_ids)) != 2 or len(generation_ids) != 2:
        raise InvalidInput("Choose two answers to compare.", field="generations")
    found = [generation_origins.get(key, session=session, viewer=user) for key in generation_ids]
    opening, question = _common_prompt(found)
    for one in found:
        _check(one)
    conversation = Conversation(
        user_id=users.ensure(user, session=session).id,
        blind=True,
        seed=found[0].generation.seed % 2**31,
        opening=opening or None,
        parameters={**asdict(Decoding()), **decoding(found[0]), PROMOTED: list(generation_ids)},
        contenders=[_contender(one, position, session) for position, one in enumerate(found)],
    )
    session.add(conversation)
    session.flush()
    comparison = Comparison(
        conversation_id=conversation.id,
        turn=0,
        question=question,
        shown_order=names.order_of_sides(conversation, None),
    )
    session.add(comparison)
    session.flush()
    prompt_id = prompts.keep([*opening, {"role": "user", "content": question}], session=session)
    for position in comparison.shown_order:
        session.add(_copy(found[position], comparison, position, prompt_id))
    session.flush()
    names.record([comparison.id], user, session=session)
    return comparison


def decoding(one: Origin) -> dict[str, Any]:
    """The decoding parameters that a text was sampled with; empty if they are not known."""
    if one.run is None:
        return dict(one.generation.parameters)
    config = one.run.config
    greedy = one.generation.kind is GenerationKind.PROBE
    return {
        "max_new_tokens": config.get("max_completion_length") or Decoding().max_new_tokens,
        "temperature": 0.0 if greedy else config.get("temperature", 1.0),
        "top_p": 1.0,
    }


def weights_step(generation: Generation) -> int:
    """The step after which a run's weights sampled a text; 0 before training.

    A step's online samples are drawn before its update.
    """
    step = generation.step or 0
    return max(0, step - 1) if generation.kind is GenerationKind.ONLINE else step


def _common_prompt(found: Sequence[Origin]) -> tuple[list[dict[str, str]], str]:
    """The messages before the question of all answers, and the question."""
    asked = [prompts.split_off_question(one.generation.prompt.content) for one in found]
    if asked[0] != asked[1]:
        raise InvalidInput(
            "These answer different prompts; choose two answers to the same prompt.", field="generations"
        )
    if asked[0] is None:
        raise InvalidInput(
            "The prompt does not end with a question of a user, so its answers cannot be compared here.",
            field="generations",
        )
    return asked[0]


def _check(one: Origin) -> None:
    if one.hidden:
        raise Refused(
            f"Who wrote answer {one.generation.id} is still hidden from you; vote on its question first."
        )
    if one.generation.status is not GenerationStatus.FINISHED:
        raise Refused(
            f"Answer {one.generation.id} was stopped before its end, so it cannot be judged; choose another."
        )


def _contender(one: Origin, position: int, session: Session) -> Contender:
    """The model that wrote a text, at a position of the new conversation."""
    if one.contender is not None:
        copied = ("base_model", "run_id", "checkpoint_id", "name", "method", "in_4bit")
        return Contender(position=position, **{name: getattr(one.contender, name) for name in copied})
    if one.run is None:
        raise NotFound(f"The run of generation {one.generation.id} was deleted.")
    step, in_4bit = weights_step(one.generation), trained_in_4bit(one.run)
    if step == 0:
        return Contender(
            position=position,
            base_model=one.run.base_model,
            name=reference_name(one.run.base_model, in_4bit=in_4bit),
            method=REFERENCE,
            in_4bit=in_4bit,
        )
    stored = select(Checkpoint).where(Checkpoint.run_id == one.run.id, Checkpoint.step == step)
    checkpoint = session.scalars(stored).one_or_none()
    return Contender(
        position=position,
        base_model=one.run.base_model,
        run_id=one.run.id,
        checkpoint_id=None if checkpoint is None else checkpoint.id,
        name=checkpoint_name(one.run, step),
        method=one.run.method,
        in_4bit=in_4bit,
    )


def _copy(one: Origin, comparison: Comparison, position: int, prompt_id: int) -> Generation:
    return Generation(
        kind=GenerationKind.ANSWER,
        status=GenerationStatus.FINISHED,
        prompt_id=prompt_id,
        comparison_id=comparison.id,
        position=position,
        parameters=decoding(one),
        **{name: getattr(one.generation, name) for name in _COPIED},
    )
