"""Setup for tests of comparing and voting: a dataset, finished runs, a conversation with answers."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from sqlalchemy.orm import Session

from app.store import comparisons, conversations, dataset_writing, run_checkpoints, runs
from app.store.conversations import ContenderChoice, Decoding
from app.store.enums import GenerationStatus, RunStatus
from app.store.models import Comparison, Conversation, Dataset, Generation, Run
from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Kept, Pair
from hypo_engine.reporting import Prompt
from tests.transactions import within

_numbers = count(1)


def add_dataset(
    session: Session, name: str = "posts", *, prompt: Prompt = "Why?", held_out: float = 0.0
) -> Dataset:
    """A dataset with one pair, for training or held out."""
    return dataset_writing.create(
        write=within(session),
        name=name,
        sha256="0" * 64,
        format="trl",
        source="test",
        held_out=held_out,
        pairs=[Kept(1, Pair(prompt, "because", "so"))],
    )


def add_run(
    session: Session,
    method: str = "dpo",
    *,
    name: str = "",
    base_model: str = "demo",
    steps: Sequence[int] = (10,),
    status: RunStatus = RunStatus.FINISHED,
    dataset_id: int | None = None,
    twins: str | None = None,
) -> Run:
    """A run with checkpoints at the given steps; `twins` names the group that it is of."""
    config = TrainConfig.model_validate({"method": method, "model_name_or_path": base_model})
    run = runs.create(
        session=session,
        name=name or f"{method} run",
        config=config.model_dump(mode="json"),
        dataset_id=dataset_id or add_dataset(session, f"posts {next(_numbers)}").id,
        twin_group=twins,
    )
    run.status = status
    run.total_steps = run.step = max(steps, default=0)
    for step in steps:
        run_checkpoints.add(run.id, session=session, step=step, path=f"runs/{run.id}/{step}")
    session.flush()
    return run


def start(session: Session, choices: Sequence[ContenderChoice], **given: Any) -> Conversation:
    """Start a conversation, with defaults for all arguments."""
    values: dict[str, Any] = {"user": "local", "blind": False, "seed": 7, "decoding": Decoding()}
    return conversations.start(choices, session=session, **{**values, **given})


def answer(
    session: Session,
    comparison: Comparison,
    texts: Sequence[str],
    *,
    status: GenerationStatus = GenerationStatus.FINISHED,
) -> list[Generation]:
    """Write the answers of a comparison as a worker would."""
    rows = comparisons.answers(comparison.id, session=session)
    for number, (row, text) in enumerate(zip(rows, texts, strict=True), start=1):
        row.status, row.text, row.tokens, row.seconds = status, text, len(text.split()), 0.5
        row.policy_logp, row.reference_logp = -2.0 * number, -3.0 * number
        row.token_logps = [[f"{word} ", -1.0, -1.5] for word in text.split()]
    session.flush()
    return rows


def asked(
    session: Session,
    texts: Sequence[str] = ("first answer", "second answer"),
    *,
    question: str = "What is a tie?",
    blind: bool = False,
    **given: Any,
) -> Comparison:
    """A finished first turn of the reference, DPO, HyPO and an earlier DPO; one contender per text."""
    dpo = add_run(session, "dpo", steps=(5, 10))
    hypo = add_run(session, "hypo")
    early = run_checkpoints.of_run(dpo.id, session=session)[0].id
    choices = [
        ContenderChoice(base_model="demo"),
        ContenderChoice(run_id=dpo.id),
        ContenderChoice(run_id=hypo.id),
        ContenderChoice(run_id=dpo.id, checkpoint_id=early),
    ]
    conversation = start(session, choices[: len(texts)], blind=blind, **given)
    comparison = comparisons.ask(conversation.id, question, session=session)
    answer(session, comparison, texts)
    return comparison
