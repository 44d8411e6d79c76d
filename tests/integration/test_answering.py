"""Answering in a real generate worker: streamed into rows, stopped, and resumed after a crash."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.launch import send_comparison
from app.store import comparisons, conversations, generations
from app.store.conversations import ContenderChoice, Decoding
from app.store.db import read_session, write_session
from app.store.enums import GenerationStatus, RunStatus
from app.store.models import Generation
from tests.integration.cluster import Cluster, wait_for, wait_until_over

pytestmark = pytest.mark.servers

LaunchTiny = Callable[..., list[int]]


def ask(choices: list[ContenderChoice], *, tokens: int, temperature: float = 1.0) -> int:
    with write_session() as session:
        conversation = conversations.start(
            choices,
            session=session,
            user="local",
            blind=False,
            seed=1,
            decoding=Decoding(max_new_tokens=tokens, temperature=temperature),
        )
        comparison = comparisons.ask(conversation.id, "What is the capital of France?", session=session)
    send_comparison(comparison.id)
    return comparison.id


def answers_of(comparison_id: int) -> list[Generation]:
    with read_session() as session:
        return comparisons.answers(comparison_id, session=session)


def wait_for_answers(comparison_id: int) -> list[Generation]:
    def over() -> list[Generation] | None:
        found = answers_of(comparison_id)
        return found if all(answer.status.is_over for answer in found) else None

    return wait_for(over, "the answers")


def wait_for_tokens(comparison_id: int, tokens: int) -> None:
    wait_for(
        lambda: all(answer.tokens >= tokens for answer in answers_of(comparison_id)), "answers that grow"
    )


@pytest.fixture
def reference(cluster: Cluster, tiny_model: Path) -> ContenderChoice:
    return ContenderChoice(base_model=str(tiny_model))


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_all_contenders_answer(cluster: Cluster, launch_tiny: LaunchTiny, reference: ContenderChoice) -> None:
    worker = cluster.start_worker("train,generate")
    dpo, hypo = launch_tiny("twins")
    assert {run.status for run in wait_until_over(dpo, hypo)} == {RunStatus.FINISHED}
    choices = [reference, ContenderChoice(run_id=dpo), ContenderChoice(run_id=hypo)]
    comparison_id = ask(choices, tokens=12)
    answers = wait_for_answers(comparison_id)
    assert {(answer.status, answer.error) for answer in answers} == {(GenerationStatus.FINISHED, None)}
    for answer in answers:
        assert answer.policy_logp is not None
        assert answer.token_logps is not None
        assert len(answer.token_logps) == answer.tokens
    assert answers[0].policy_logp == pytest.approx(answers[0].reference_logp, abs=1e-4)
    assert worker.terminate() == 0


@pytest.fixture
def slow_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make workers decode without C; otherwise a tiny model would finish before the test can intervene."""
    monkeypatch.setenv("CC", "no-such-compiler")


@pytest.mark.usefixtures("slow_answers")
def test_an_answer_is_stopped_where_it_is(cluster: Cluster, reference: ContenderChoice) -> None:
    cluster.start_worker("generate")
    comparison_id = ask([reference], tokens=1800)
    wait_for_tokens(comparison_id, 10)
    with write_session() as session:
        generations.wish_stop([answer.id for answer in answers_of(comparison_id)], session=session)
    [answer] = wait_for_answers(comparison_id)
    assert answer.status is GenerationStatus.STOPPED
    assert 10 <= answer.tokens < 1800
    assert answer.text
    assert answer.policy_logp is not None


@pytest.mark.usefixtures("slow_answers")
@pytest.mark.parametrize("death", ["kill", "terminate"])
def test_an_answer_whose_worker_goes_is_written_by_the_next(
    cluster: Cluster, reference: ContenderChoice, death: str
) -> None:
    first = cluster.start_worker("generate")
    comparison_id = ask([reference], tokens=600)
    wait_for_tokens(comparison_id, 10)
    getattr(first, death)()
    assert answers_of(comparison_id)[0].status is GenerationStatus.RUNNING
    cluster.start_worker("generate", wait=False)
    [answer] = wait_for_answers(comparison_id)
    assert (answer.status, answer.error) == (GenerationStatus.FINISHED, None)
    assert answer.tokens == len(answer.token_logps or [])
