"""Answers of campaigns: written in batches, amid chats, and by whoever is alive."""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from app import answers, campaign_prompts, campaigns
from app.campaigns import NewCampaign
from app.settings import Settings, get_settings
from app.store import answering, campaign_tasks
from app.store.answering import ANSWER_LEASES, WAKE_UPS
from app.store.conversations import ContenderChoice, Decoding
from app.store.db import read_session, write_session
from app.store.enums import CampaignStatus, GenerationStatus, TaskStatus
from app.store.models import Campaign, Checkpoint, Comparison, Generation
from hypo_engine.generate import Served
from tests.app import campaign_setup
from tests.tiny_model import write_tiny_model
from tests.worker.conftest import Launcher, answer_all
from worker import answering as answering_of_worker
from worker.answer_stream import CampaignStream
from worker.answering import answer_next
from worker.serving import Serving
from worker.shutdown import shutting_down
from worker.training import train_next

WORKER = "here:1:generate:aaaa"
SHORT = Decoding(max_new_tokens=8, temperature=1.0)
PROMPTS = ("Why?", "Say something long about the sea.", "Who is there?", "Go on.")


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.answer_stream.PAUSE_SECONDS", 0.0)


@pytest.fixture
def two_bases(home: Settings, tiny_model: Path, tmp_path: Path) -> list[ContenderChoice]:
    other = write_tiny_model(tmp_path / "other", seed=1)
    return [ContenderChoice(base_model=str(tiny_model)), ContenderChoice(base_model=str(other))]


@pytest.fixture
def three(launch_tiny: Launcher) -> list[ContenderChoice]:
    """The reference, a DPO run and a HyPO run."""
    twins = launch_tiny("twins")
    while train_next(worker="here:1:train"):
        continue
    return answers.contenders_of_runs(twins, with_reference=True)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of answers of each batch that the engine was asked for."""
    asked: list[int] = []
    answer = Served.answer

    def noted(self: Served, requests: Sequence[Any], **told: Any) -> Any:
        asked.append(len(requests))
        return answer(self, requests, **told)

    monkeypatch.setattr(Served, "answer", noted)
    return asked


def create(choices: list[ContenderChoice], prompts: Sequence[str] = PROMPTS, **given: Any) -> int:
    made: dict[str, Any] = {"decoding": SHORT, "seed": 7, **given}
    asked = campaign_prompts.checked(prompts)
    return campaigns.create(NewCampaign(name="Which?", choices=choices, prompts=asked, **made))


def written(campaign_id: int) -> list[Generation]:
    """A campaign's answers, by prompt and contender."""
    query = (
        select(Generation)
        .join(Comparison, Generation.comparison_id == Comparison.id)
        .where(Comparison.campaign_id == campaign_id)
        .order_by(Generation.comparison_id, Generation.position)
    )
    with read_session() as session:
        return list(session.scalars(query))


def statuses(campaign_id: int) -> set[GenerationStatus]:
    return {row.status for row in written(campaign_id)}


def settled(campaign_id: int) -> set[TaskStatus]:
    return {task.status for task in campaign_setup.tasks(campaign_id)}


def small_batches(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setenv("HYPO_ANSWER_BATCH_ROWS", str(rows))
    get_settings.cache_clear()


def on_first_token(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Call `act` once, after the first token of a campaign's answer."""
    heard, done = CampaignStream.on_text, list[bool]()

    def acting(self: CampaignStream, row: int, text: str, tokens: int) -> None:
        if not done:
            done.append(True)
            act()
        heard(self, row, text, tokens)

    monkeypatch.setattr(CampaignStream, "on_text", acting)


def lose_workers() -> None:
    """Take back what dead workers hold."""
    with write_session() as session:
        leases = ANSWER_LEASES.all_held(session=session)
        ANSWER_LEASES.expire(leases, session=session)
        answering.reap(leases, session=session)


# --- batches -------------------------------------------------------------------------------------------


def test_all_answers_of_a_base_are_one_batch(three: list[ContenderChoice], batches: list[int]) -> None:
    campaign_id = create(three)
    assert answer_next(worker=WORKER)
    assert batches == [12]
    assert statuses(campaign_id) == {GenerationStatus.FINISHED}
    assert settled(campaign_id) <= {TaskStatus.READY, TaskStatus.IDENTICAL}
    assert not answer_next(worker=WORKER)
    with read_session() as session:
        campaign = session.get_one(Campaign, campaign_id)
        assert campaign.answered == 12
        assert campaign.answering_seconds > 0
        assert ANSWER_LEASES.all_held(session=session) == {}
        assert set(session.scalars(select(Comparison.attempt))) == {0}


def test_a_batch_gives_the_answers_of_one_comparison_after_the_other(
    three: list[ContenderChoice], batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = create(three)
    answer_all()
    small_batches(monkeypatch, 1)
    apart = create(three)
    answer_all()
    assert batches == [12, 3, 3, 3, 3]
    for one, other in zip(written(together), written(apart), strict=True):
        assert (one.text, one.tokens, one.complete) == (other.text, other.tokens, other.complete)
        assert one.policy_logp == pytest.approx(other.policy_logp, abs=1e-3)
        assert one.reference_logp == pytest.approx(other.reference_logp, abs=1e-3)
        assert one.seconds is not None


def test_every_base_has_its_batch(two_bases: list[ContenderChoice], batches: list[int]) -> None:
    campaign_id = create(two_bases)
    answer_all()
    assert batches == [4, 4]
    assert statuses(campaign_id) == {GenerationStatus.FINISHED}


def test_texts_of_similar_length_are_a_batch_with_a_limited_number_of_tokens(
    two_bases: list[ContenderChoice], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering_of_worker, "TOKENS_A_ROW", 3)
    answer, asked = Served.answer, list[list[int]]()

    def noted(self: Served, requests: Sequence[Any], **told: Any) -> Any:
        asked.append([self.length(request) for request in requests])
        return answer(self, requests, **told)

    monkeypatch.setattr(Served, "answer", noted)
    create(two_bases, prompts=["x " * 20, "y", "z " * 19, "w", "v " * 90])
    answer_all()
    first = asked[: len(asked) // 2]
    assert [len(batch) for batch in first] == [3, 1, 1]
    lengths = list(chain.from_iterable(first))
    assert lengths == sorted(lengths)
    assert sum(first[0]) <= 48 * 3 < sum(first[0]) + first[1][0]
    assert first[2][0] > 48 * 3


def test_campaigns_are_not_mixed(two_bases: list[ContenderChoice], batches: list[int]) -> None:
    for prompts in (PROMPTS[:1], PROMPTS[:2]):
        create(two_bases, prompts=prompts)
    answer_all()
    assert batches == [1, 1, 2, 2]


# --- chats ---------------------------------------------------------------------------------------------


def test_a_chat_is_answered_before_and_amid_a_campaign(
    two_bases: list[ContenderChoice], batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign_id = create(two_bases)
    first = answers.begin(two_bases[:1], "First.", seed=1, decoding=SHORT).id
    later = list[int]()

    def ask() -> None:
        assert answers.look(first).answers[0].status is GenerationStatus.FINISHED
        later.append(answers.begin(two_bases, "Now.", seed=1, decoding=SHORT).id)

    on_first_token(monkeypatch, ask)
    answer_next(worker=WORKER)
    answer_next(worker=WORKER)
    assert batches == [1, 4, 1, 1, 4]
    assert {row.status for row in answers.look(later[0]).answers} == {GenerationStatus.FINISHED}
    assert statuses(campaign_id) == {GenerationStatus.FINISHED}


def test_a_chat_amid_a_batch_leaves_the_batchs_checkpoints(
    three: list[ContenderChoice], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = create(three)
    answer_all()
    monkeypatch.setattr(answering_of_worker, "SERVING", Serving())
    monkeypatch.setattr("worker.serving.CHECKPOINTS_KEPT", 0)
    on_first_token(monkeypatch, lambda: [answers.begin([c], "Hm?", seed=1, decoding=SHORT) for c in three])
    amid = create(three)
    answer_all()
    assert [row.text for row in written(amid)] == [row.text for row in written(alone)]


# --- ends ----------------------------------------------------------------------------------------------


class Death(BaseException):
    """A worker's death."""


def test_the_next_worker_writes_what_a_dead_one_left(
    two_bases: list[ContenderChoice], batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign_id = create(two_bases)

    def die(*_: Any) -> None:
        if len(batches) == 2:
            raise Death

    with monkeypatch.context() as patched:
        patched.setattr(CampaignStream, "_read_stop_wishes", die)
        with pytest.raises(Death):
            answer_next(worker=WORKER)
    before = {row.id: row.seconds for row in written(campaign_id) if row.status is GenerationStatus.FINISHED}
    assert len(before) == 4
    assert not answer_next(worker=WORKER), "held until it is taken back"
    lose_workers()
    small_batches(monkeypatch, 16)
    answer_all()
    assert batches == [4, 4, 1, 1, 1, 1], "a batch is smaller after a death"
    after = written(campaign_id)
    assert {row.status for row in after} == {GenerationStatus.FINISHED}
    assert {row.id: row.seconds for row in after if row.id in before} == before


def test_a_worker_that_is_told_to_stop_gives_its_batch_back(
    two_bases: list[ContenderChoice], monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign_id = create(two_bases)
    with monkeypatch.context() as patched:
        on_first_token(patched, shutting_down.set)
        answer_next(worker=WORKER)
    assert GenerationStatus.FINISHED not in statuses(campaign_id)
    shutting_down.clear()
    with read_session() as session:
        assert {(row.attempt, row.lease_id) for row in session.scalars(select(Comparison))} == {(0, None)}
    answer_all()
    assert statuses(campaign_id) == {GenerationStatus.FINISHED}


def test_who_lost_the_lease_writes_nothing(
    two_bases: list[ContenderChoice], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPO_LEASE_SECONDS", "0.2")
    get_settings.cache_clear()
    campaign_id = create(two_bases)

    def lose() -> None:
        lose_workers()
        stream = streams[-1]
        assert stream._lost.wait(10)

    streams = list[CampaignStream]()
    started = CampaignStream.start
    monkeypatch.setattr(CampaignStream, "start", lambda self: (streams.append(self), started(self)))
    with monkeypatch.context() as patched:
        on_first_token(patched, lose)
        answer_next(worker=WORKER)
    assert GenerationStatus.FINISHED not in statuses(campaign_id)
    answer_all()
    assert statuses(campaign_id) == {GenerationStatus.FINISHED}


def test_a_closed_campaigns_answers_stop(
    two_bases: list[ContenderChoice], monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign_id = create(two_bases, decoding=Decoding(max_new_tokens=200, temperature=1.0))
    on_first_token(
        monkeypatch, lambda: campaigns.set_status(campaign_id, CampaignStatus.CLOSED, user="local")
    )
    answer_all()
    assert statuses(campaign_id) == {GenerationStatus.STOPPED}
    assert settled(campaign_id) == {TaskStatus.FAILED}
    assert max(row.tokens for row in written(campaign_id)) < 200


# --- failures ------------------------------------------------------------------------------------------


def failing(monkeypatch: pytest.MonkeyPatch, *, times: int, error: Exception, most: int = 0) -> list[int]:
    """Let batches with the question "Why?", or with more than `most` answers, fail; return their sizes."""
    answer, failed = Served.answer, list[int]()

    def fails(self: Served, requests: Sequence[Any], **told: Any) -> Any:
        asked = any("Why?" in str(request.prompt) for request in requests)
        if (len(requests) > most if most else asked) and len(failed) < times:
            failed.append(len(requests))
            raise error
        return answer(self, requests, **told)

    monkeypatch.setattr(Served, "answer", fails)
    return failed


def test_an_answer_that_fails_once_is_tried_again(
    two_bases: list[ContenderChoice], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = failing(monkeypatch, times=3, error=IndexError("no"))
    campaign_id = create(two_bases)
    answer_next(worker=WORKER)
    assert failed == [4, 2, 1]
    [waiting] = [row for row in written(campaign_id) if row.status is GenerationStatus.QUEUED]
    assert (waiting.take, settled(campaign_id)) == (0, {TaskStatus.WAITING, TaskStatus.READY})
    answer_all()
    assert {(row.status, row.error) for row in written(campaign_id)} == {(GenerationStatus.FINISHED, None)}
    assert TaskStatus.WAITING not in settled(campaign_id)


def test_an_answer_that_fails_twice_says_why_and_the_others_are_written(
    two_bases: list[ContenderChoice], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, times=99, error=IndexError("no"))
    campaign_id = create(two_bases)
    answer_all()
    rows = written(campaign_id)
    assert [row.status for row in rows] == [GenerationStatus.FAILED] * 2 + [GenerationStatus.FINISHED] * 6
    assert "IndexError" in str(rows[0].error)
    assert settled(campaign_id) == {TaskStatus.FAILED, TaskStatus.READY}


def test_a_contender_that_cannot_be_loaded_fails_alone(
    three: list[ContenderChoice], settings: Settings
) -> None:
    campaign_id = create(three)
    with read_session() as session:
        broken = session.scalars(select(Checkpoint).where(Checkpoint.run_id == three[1].run_id)).all()[-1]
        path = Path(settings.artifacts) / broken.path / "adapter" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    answer_all()
    rows = written(campaign_id)
    assert {row.status for row in rows if row.position != 1} == {GenerationStatus.FINISHED}
    assert {row.status for row in rows if row.position == 1} == {GenerationStatus.FAILED}
    assert "cannot be read" in str(rows[1].error)


def test_a_batch_that_does_not_fit_into_memory_is_halved(
    two_bases: list[ContenderChoice], batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = failing(monkeypatch, times=99, error=MemoryError(), most=2)
    campaign_id = create(two_bases)
    answer_all()
    assert failed == [4, 4]
    assert batches == [2, 2, 2, 2]
    assert {(row.status, row.error) for row in written(campaign_id)} == {(GenerationStatus.FINISHED, None)}


# --- claims --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
def test_comparisons_of_a_campaign_are_claimed_together_and_chats_first() -> None:
    campaign_id = campaign_setup.create(prompts=[f"{n}?" for n in range(5)])
    chat = answers.begin(campaign_setup.choices(1), "Hi.", seed=1).id

    def claim(lease: str, **given: Any) -> list[int]:
        with write_session() as session:
            found = answering.claim_next(
                session=session, worker="w", lease_seconds=60, lease=lease, **{"rows": 6, **given}
            )
            assert {row.lease_id for row in found} <= {lease}
            return [row.id for row in found]

    sources = sorted({row.comparison_id or 0 for row in written(campaign_id)})
    assert claim("a") == [chat]
    assert claim("b", chats_only=True) == []
    assert claim("b") == claim("b") == sources[:3]
    assert claim("c", rows=1) == sources[3:4]
    assert claim("d") == sources[4:]
    assert claim("e") == []
    with write_session() as session:
        held = ANSWER_LEASES.all_held(session=session)
        assert sorted(held) == ["a", "b", "c", "d"]
        ANSWER_LEASES.expire(["b"], session=session)
        answering.reap(["b"], session=session)
    assert claim("f", rows=16) == sources[:1]
    assert claim("g", rows=32) == sources[1:3]


@pytest.mark.usefixtures("engine")
def test_a_campaign_is_sent_again_once() -> None:
    """Regression: the keeper sent a message for each of a campaign's comparisons, every minute."""
    campaign_id = campaign_setup.create(prompts=[f"{n}?" for n in range(5)])
    chats = [answers.begin(campaign_setup.choices(1), text, seed=1).id for text in ("Hi.", "Ho.")]
    with write_session() as session:
        session.execute(update(Comparison).values(sent_at=None))
        assert WAKE_UPS.is_undelivered(session=session, resend_seconds=60)
        first = min(row.comparison_id or 0 for row in written(campaign_id))
        assert WAKE_UPS.take_undelivered(session=session, resend_seconds=60) == [first, *chats]


@pytest.mark.usefixtures("engine")
def test_answers_whose_workers_died_again_and_again_fail_and_settle_their_task() -> None:
    campaign_id = campaign_setup.create(prompts=["One?"])
    for attempt in range(answering.MAX_ANSWER_ATTEMPTS):
        with write_session() as session:
            [row] = answering.claim_next(
                session=session, worker="w", lease_seconds=60, lease=f"{attempt}", rows=9
            )
            assert row.attempt == attempt + 1
        lose_workers()
    assert statuses(campaign_id) == {GenerationStatus.FAILED}
    assert settled(campaign_id) == {TaskStatus.FAILED}
    with write_session() as session:
        campaign_tasks.settle_waiting(campaign_id, session=session)
