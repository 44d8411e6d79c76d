"""Base models that are runs' models: chains, refusals, and what depends on them."""

import pytest
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NotFound, Refused
from app.store import removal, starts
from app.store.conversations import ContenderChoice, read_contenders
from app.store.enums import RunStatus
from app.store.models import Run
from tests.app import arena


def test_a_chain_goes_back_to_the_first_base_model(session: Session) -> None:
    first = arena.add_run(session, steps=(5, 10))
    second = arena.add_run(session, base_model=f"run:{first.id}@5")
    name = f"run:{second.id}"
    found = starts.chain(name, session=session)
    assert (found.base, [run.id for run in found.runs]) == ("demo", [first.id, second.id])
    assert [checkpoint.step for checkpoint in found.checkpoints] == [5, 10]
    assert starts.chain("owner/name", session=session) == starts.Chain("owner/name")
    assert starts.bottom(name, session=session) == "demo"
    assert starts.bottom("run:999", session=session) == "run:999"


def test_what_no_run_can_start_from(session: Session) -> None:
    running = arena.add_run(session, status=RunStatus.RUNNING)
    failed = arena.add_run(session, status=RunStatus.FAILED)
    reward = arena.add_run(session, "reward")
    without = arena.add_run(session, steps=())
    steps = arena.add_run(session, steps=(5, 10))
    for name, said in {
        f"run:{running.id}": "is running; wait for it to finish",
        f"run:{failed.id}": "is failed; resume it",
        f"run:{reward.id}": "trained a reward model",
        f"run:{without.id}": "has no checkpoint left",
        f"run:{steps.id}@7": "no checkpoint of step 7; it kept those of 5, 10",
    }.items():
        with pytest.raises(Refused, match=said):
            starts.chain(name, session=session)
    with pytest.raises(NotFound):
        starts.chain("run:99999", session=session)
    with pytest.raises(InvalidInput, match="must be run:NUMBER"):
        starts.chain("run:one", session=session)


def test_a_chain_has_an_end(session: Session) -> None:
    name = "demo"
    for _ in range(starts.LONGEST + 1):
        name = f"run:{arena.add_run(session, base_model=name).id}"
    with pytest.raises(InvalidInput, match="more than 8 runs"):
        starts.chain(name, session=session)


def test_a_run_stays_while_others_start_from_it(session: Session) -> None:
    first = arena.add_run(session)
    other = arena.add_run(session, base_model=f"run:{first.id}1")  # another run's number
    second = arena.add_run(session, base_model=f"run:{first.id}@10")
    with pytest.raises(Refused, match=rf"base model of run {second.id}, .*delete that first"):
        removal.remove(first.id, session=session)
    removal.remove(second.id, session=session)
    with pytest.raises(NotFound):
        starts.hold(f"run:{second.id}", session=session)
    removal.remove(first.id, session=session)
    assert starts.started_from(first.id, session=session) == []
    assert starts.started_from(int(f"{first.id}1"), session=session) == [other.id]


def test_the_models_of_a_campaigns_runs(session: Session) -> None:
    run = arena.add_run(session, steps=(5, 10))
    early, last = (
        starts.chain(f"run:{run.id}@5", session=session),
        starts.chain(f"run:{run.id}", session=session),
    )
    found = starts.startable([*early.checkpoints, *last.checkpoints], session=session)
    assert [name for name, _ in found] == [f"run:{run.id}@5", f"run:{run.id}"]


def test_the_reference_of_a_started_run_is_a_contender_with_its_own_name(session: Session) -> None:
    first = arena.add_run(session)
    choices = [ContenderChoice(base_model="demo"), ContenderChoice(base_model=f"run:{first.id}")]
    found = read_contenders(choices, session=session)
    assert [one.name for one in found] == ["Reference", f"Reference (run:{first.id})"]
    with pytest.raises(NotFound):
        read_contenders([ContenderChoice(base_model="run:99999")], session=session)


def test_a_reference_is_in_4_bits_only_beside_runs_that_all_are(session: Session) -> None:
    packed, plain, elsewhere = (
        arena.add_run(session),
        arena.add_run(session),
        arena.add_run(session, base_model="org/other"),
    )
    packed.config = {**packed.config, "load_in_4bit": True}

    def reference_beside(*runs: Run) -> tuple[str, bool]:
        choices = [ContenderChoice(base_model="demo"), *(ContenderChoice(run_id=run.id) for run in runs)]
        found, *others = read_contenders(choices, session=session)
        assert [one.in_4bit for one in others] == [run is packed for run in runs]
        return found.name, found.in_4bit

    assert reference_beside(packed) == ("Reference (4-bit)", True)
    assert reference_beside(packed, elsewhere) == ("Reference (4-bit)", True)
    for beside in ((), (plain,), (packed, plain), (elsewhere,)):
        assert reference_beside(*beside) == ("Reference", False)
