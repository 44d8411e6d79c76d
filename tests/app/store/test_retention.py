"""Retention of a run's samples and optimiser states."""

import pytest
from sqlalchemy.orm import Session

from app.store import generations, retention, run_checkpoints
from app.store.enums import GenerationKind
from app.store.generations import TrainingSample
from tests.app import arena


def sample(kind: GenerationKind, step: int) -> TrainingSample:
    return TrainingSample(kind, step, "Say.", "yes", 1, 1, True, -1.0, -1.0)


def kept_steps(run_id: int, session: Session, kind: GenerationKind = GenerationKind.ONLINE) -> list[int]:
    return list(generations.steps_of_run(run_id, session=session, kind=kind))


@pytest.mark.parametrize(
    ("newest", "kept", "stride"),
    [(10, 0, 1), (200, 200, 1), (201, 200, 2), (300, 200, 2), (302, 200, 4), (10_000, 200, 128), (5, 1, 4)],
)
def test_older_steps_are_kept_ever_more_sparsely(newest: int, kept: int, stride: int) -> None:
    assert retention.sample_stride(newest, kept) == stride


def test_of_a_long_run_the_last_samples_and_some_earlier_ones_are_kept(session: Session) -> None:
    run, other = arena.add_run(session), arena.add_run(session)
    for step in range(1, 61):
        for kind in (GenerationKind.ONLINE, GenerationKind.PROBE):
            generations.record_samples(run.id, [sample(kind, step)] * 2, session=session)
        generations.record_samples(other.id, [sample(GenerationKind.ONLINE, step)], session=session)
        if step % 10 == 0:
            retention.thin_online_samples(run.id, session=session, newest=step, kept=20)
    assert kept_steps(run.id, session) == [8, 16, 24, 32, 40, 48, *range(51, 61)]
    assert generations.count_of_run(run.id, session=session, kind=GenerationKind.ONLINE) == 2 * 16
    assert kept_steps(run.id, session, GenerationKind.PROBE) == list(range(1, 61))
    assert kept_steps(other.id, session) == list(range(1, 61))


def test_all_samples_are_kept_where_the_setting_says_so(session: Session) -> None:
    run = arena.add_run(session)
    for step in range(1, 41):
        generations.record_samples(run.id, [sample(GenerationKind.ONLINE, step)], session=session)
    retention.thin_online_samples(run.id, session=session, newest=40, kept=0)
    assert kept_steps(run.id, session) == list(range(1, 41))


def test_earlier_checkpoints_lose_their_state_and_what_is_left_is_counted(session: Session) -> None:
    run = arena.add_run(session, steps=())
    assert retention.disk_use(run.id, session=session) == retention.DiskUse(0, 0, None)
    for step in (5, 10, 15, 20):
        run_checkpoints.add(run.id, session=session, step=step, path=f"runs/1/{step}", size_bytes=300)
    session.flush()
    heavy = retention.with_needless_state(run.id, session=session, keep=2)
    assert [checkpoint.step for checkpoint in heavy] == [5, 10]
    for checkpoint in heavy:
        retention.forget_state(checkpoint.id, session=session, size_bytes=100)
    assert retention.with_needless_state(run.id, session=session, keep=2) == []
    assert retention.disk_use(run.id, session=session) == retention.DiskUse(4, 2, 800)
