"""From a question to stored answers, with the real engine on a tiny model."""

from pathlib import Path
from typing import Any

import pytest

from app import answers, artifacts
from app.settings import Settings
from app.store import generations, run_checkpoints, runs, workers
from app.store.conversations import ContenderChoice, Decoding
from app.store.db import read_session, write_session
from app.store.enums import GenerationStatus
from app.store.models import Checkpoint, Comparison, Generation
from hypo_engine.generate import Served
from tests.worker.conftest import Launcher, answer_all
from worker import serving
from worker.answer_stream import ChatStream
from worker.training import train_next

SHORT = Decoding(max_new_tokens=8, temperature=1.0)


@pytest.fixture
def contenders(launch_tiny: Launcher) -> list[ContenderChoice]:
    """The reference, a DPO run and a HyPO run."""
    twins = launch_tiny("twins")
    while train_next(worker="here:1:train"):
        continue
    return answers.contenders_of_runs(twins, with_reference=True)


def ask(contenders: list[ContenderChoice], question: str = "Say something.") -> Comparison:
    return answers.begin(contenders, question, seed=7, decoding=SHORT)


def in_order(comparison: Comparison) -> list[Generation]:
    """The answers in the contenders' order, independent of the display order."""
    return sorted(answers.look(comparison.id).answers, key=lambda answer: answer.position or 0)


def test_all_contenders_answer_with_log_probabilities(contenders: list[ContenderChoice]) -> None:
    comparison = ask(contenders)
    answer_all()
    present = answers.look(comparison.id)
    assert sorted(c.method for c in present.contenders) == ["dpo", "hypo", "reference"]
    assert {a.status for a in present.answers} == {GenerationStatus.FINISHED}
    reference, dpo, _ = in_order(comparison)
    assert reference.policy_logp == pytest.approx(reference.reference_logp, abs=1e-4)
    assert dpo.policy_logp != pytest.approx(dpo.reference_logp, abs=1e-4)
    for answer in present.answers:
        assert 1 <= answer.tokens <= 8
        assert answer.seconds is not None
        assert answer.token_logps is not None
        assert len(answer.token_logps) == answer.tokens
        assert sum(triple[1] for triple in answer.token_logps) == pytest.approx(answer.policy_logp, abs=1e-3)


def test_the_worker_says_that_it_loads_the_model(
    contenders: list[ContenderChoice], monkeypatch: pytest.MonkeyPatch
) -> None:
    load, seen = serving.load_served, list[list[str]]()

    def watched(*given: Any, **named: Any) -> Served:
        seen.append(answers.look(comparison.id).waits)
        return load(*given, **named)

    monkeypatch.setattr(serving, "load_served", watched)
    with write_session() as session:
        workers.beat("here:1:generate:aaaa", session=session, queues="generate", device="CPU")
    comparison = ask(contenders)
    answer_all()
    assert seen == [["loading the model"] * 3]
    with read_session() as session:
        assert [worker.loading for worker in workers.present(session=session)] == [""]
    assert answers.look(comparison.id).waits == [""] * 3


def test_the_same_seed_gives_the_same_answers(contenders: list[ContenderChoice]) -> None:
    texts = []
    for _ in range(2):
        comparison = ask(contenders)
        answer_all()
        texts.append([a.text for a in in_order(comparison)])
    assert texts[0] == texts[1]


def test_a_second_delivery_does_nothing(contenders: list[ContenderChoice]) -> None:
    comparison = ask(contenders[:1])
    answer_all()
    before = answers.look(comparison.id).answers[0]
    answer_all()
    after = answers.look(comparison.id).answers[0]
    assert (after.text, after.seconds) == (before.text, before.seconds)


def test_an_answer_stops_on_request_while_others_go_on(
    contenders: list[ContenderChoice], monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = answers.begin(
        contenders, "Go on.", seed=1, decoding=Decoding(max_new_tokens=40, temperature=1.0)
    )
    heard = ChatStream.on_text

    def stop_second(self: ChatStream, row: int, text: str, tokens: int) -> None:
        heard(self, row, text, tokens)
        if tokens == 1:
            answers.stop(comparison.id, 1)

    monkeypatch.setattr(ChatStream, "on_text", stop_second)
    monkeypatch.setattr("worker.answer_stream.WRITE_SECONDS", 0.0)
    answer_all()
    first, second, third = answers.look(comparison.id).answers
    assert second.status is GenerationStatus.STOPPED
    assert second.tokens < 40
    assert first.status is third.status is GenerationStatus.FINISHED


def test_a_waiting_answer_that_is_stopped_is_never_written(contenders: list[ContenderChoice]) -> None:
    comparison = ask(contenders)
    with write_session() as session:
        generations.wish_stop([answers.look(comparison.id).answers[0].id], session=session)
    answer_all()
    first, second, _ = answers.look(comparison.id).answers
    assert (first.status, first.text) == (GenerationStatus.STOPPED, "")
    assert second.status is GenerationStatus.FINISHED


def test_a_later_turn_sees_the_answer_it_continues_from(contenders: list[ContenderChoice]) -> None:
    first = ask(contenders)
    answer_all()
    said = answers.look(first.id).answers[1].text
    second = answers.follow_up(first.conversation_id, "And then?", continues_from="B")
    answer_all()
    for answer in answers.look(second.id).answers:
        roles = [message["role"] for message in answer.prompt.content]
        assert roles == ["user", "assistant", "user"]
        assert answer.prompt.content[1]["content"] == said


def test_a_missing_model_fails_the_answer_in_one_sentence(home: Settings, tmp_path: Path) -> None:
    comparison = ask([ContenderChoice(base_model=str(tmp_path / "gone"))])
    answer_all()
    [answer] = answers.look(comparison.id).answers
    assert answer.status is GenerationStatus.FAILED
    assert answer.error is not None
    assert "gone" in answer.error


def test_a_run_deleted_meanwhile_fails_its_answer_alone(contenders: list[ContenderChoice]) -> None:
    comparison = ask(contenders)
    assert contenders[1].run_id is not None
    with write_session() as session:
        for path in (c.path for c in run_checkpoints.of_run(contenders[1].run_id, session=session)):
            artifacts.delete_folder(path)
        session.delete(runs.get(contenders[1].run_id, session=session))
    answer_all()
    reference, dpo, hypo = in_order(comparison)
    assert dpo.status is GenerationStatus.FAILED
    assert dpo.error is not None
    assert "deleted" in dpo.error
    assert reference.status is hypo.status is GenerationStatus.FINISHED


def test_an_answer_regenerated_while_another_streams_is_written_too(
    contenders: list[ContenderChoice], monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = answers.begin(
        contenders[:2], "Go on.", seed=1, decoding=Decoding(max_new_tokens=20, temperature=1.0)
    )
    answers.stop(comparison.id, 1)
    heard = ChatStream.on_text

    def regenerate_second(self: ChatStream, row: int, text: str, tokens: int) -> None:
        if tokens == 1 and answers.look(comparison.id).answers[1].take == 0:
            answers.regenerate(comparison.id, 1)
        heard(self, row, text, tokens)

    monkeypatch.setattr(ChatStream, "on_text", regenerate_second)
    answer_all()
    first, second = answers.look(comparison.id).answers
    assert (second.take, second.status) == (1, GenerationStatus.FINISHED)
    assert first.status is GenerationStatus.FINISHED


def test_a_contender_that_fails_leaves_the_others_their_answers(
    contenders: list[ContenderChoice], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: a damaged checkpoint also failed the reference's answer."""
    comparison = ask(contenders)
    with read_session() as session:
        broken = session.get(Checkpoint, comparison.conversation.contenders[1].checkpoint_id)
        assert broken is not None
        path = Path(settings.artifacts) / broken.path / "adapter" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    answer_all()
    reference, dpo, hypo = in_order(comparison)
    assert {reference.status, hypo.status} == {GenerationStatus.FINISHED}
    assert dpo.status == GenerationStatus.FAILED
    assert dpo.error is not None
    assert "cannot be read" in dpo.error


def test_a_batch_that_fails_is_answered_one_by_one(
    contenders: list[ContenderChoice], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = Served.answer
    comparison = ask(contenders)
    with read_session() as session:
        dpo = session.get(Checkpoint, comparison.conversation.contenders[1].checkpoint_id)
        assert dpo is not None
        path = dpo.path
    monkeypatch.setattr(
        Served, "answer", lambda self, requests, **told: fails(together, self, requests, path, told)
    )
    answer_all()
    found = in_order(comparison)
    assert [a.status for a in found] == [
        GenerationStatus.FINISHED,
        GenerationStatus.FAILED,
        GenerationStatus.FINISHED,
    ]
    assert found[1].error is not None
    assert "IndexError" in found[1].error
    assert "out of bounds" not in found[1].error  # only the log shows that


def fails(answer: Any, served: Served, requests: Any, path: str, told: Any) -> Any:
    """Answer, but fail if one of the requests uses the adapter at ``path``."""
    if any(request.adapter == path for request in requests):
        raise IndexError("index 9 is out of bounds for dimension 0 with size 4")
    return answer(served, requests, **told)
