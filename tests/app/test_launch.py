"""Launching: refusals before queueing, twins, names, and messages to workers."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app import dispatch
from app import launch as launching
from app.errors import InvalidInput, NotFound, Refused
from app.launch import launch
from app.launch_methods import read_methods, written
from app.launch_plan import check_configs
from app.local.running import Running
from app.settings import Settings
from app.store import dataset_writing, runs
from app.store.db import read_session, write_session
from app.store.enums import RunStatus
from app.store.models import Run
from app.store.run_names import TWIN
from hypo_engine.config import Method
from hypo_engine.data.formats import Kept, Pair, prompt_fraction
from tests.app import arena
from tests.tiny_model import write_tiny_model
from tests.transactions import within


@pytest.fixture
def dataset_id(engine: Engine) -> int:
    with write_session() as session:
        return arena.add_dataset(session, "posts").id


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ids accepted by a broker; each row must be committed before its message is sent."""
    ids: list[int] = []

    def take(run_id: int) -> bool:
        with read_session() as session:
            assert runs.get(run_id, session=session).status is RunStatus.QUEUED
        ids.append(run_id)
        return True

    monkeypatch.setattr(dispatch, "send_run", take)
    return ids


def count() -> int:
    with read_session() as session:
        return session.scalar(select(func.count()).select_from(Run)) or 0


def stored(run_id: int) -> Run:
    with read_session() as session:
        return runs.get(run_id, session=session)


def test_one_run_is_queued_and_sent_after_the_commit(dataset_id: int, sent: list[int]) -> None:
    [run] = launch("dpo", dataset_id, {"beta": 0.2, "seed": 3}, name="  mine  ")
    row = stored(run.id)
    assert sent == [run.id]
    assert row.sent_at is not None
    assert (row.name, row.method, row.seed, row.twin_group) == ("mine", "dpo", 3, None)
    assert row.config["beta"] == 0.2


def test_twins_differ_in_the_method_alone(dataset_id: int, sent: list[int]) -> None:
    dpo, hypo = launch("twins", dataset_id, {"seed": 3, "method": "ignored"}, name="pair")
    assert (dpo.name, hypo.name) == ("pair · DPO", "pair · HyPO")
    assert dpo.twin_group == hypo.twin_group is not None
    assert {**dpo.config, "method": ""} == {**hypo.config, "method": ""}
    assert (dpo.method, hypo.method) == ("dpo", "hypo")
    assert sent == [dpo.id, hypo.id]


@pytest.mark.parametrize(
    ("held_out", "why"), [(True, "all of its pairs are held out"), (False, "it is empty")]
)
def test_a_dataset_without_training_pairs_is_refused_before_anything_is_queued(
    engine: Engine, sent: list[int], held_out: bool, why: str
) -> None:
    prompt = next(f"Why {n}?" for n in range(100) if prompt_fraction(f"Why {n}?") < 0.5)
    with write_session() as session:
        made = dataset_writing.create(
            write=within(session),
            name="votes",
            sha256="0" * 64,
            format="trl",
            source="votes",
            held_out=0.5,
            pairs=[Kept(1, Pair(prompt, "a", "b"))] if held_out else [],
        )
    with pytest.raises(Refused, match=f"votes version 1 has no training pairs: {why}"):
        launch("twins", made.id, {})
    assert (count(), sent) == (0, [])


def test_a_run_without_a_name_gets_one(dataset_id: int, sent: list[int]) -> None:
    names = [run.name for run in launch("twins", dataset_id, {})]
    assert names == ["DPO on posts", "HyPO on posts"]


def test_a_clone_knows_its_parent(dataset_id: int, sent: list[int]) -> None:
    [parent] = launch("hypo", dataset_id, {})
    [child] = launch("hypo", dataset_id, {}, parent_id=parent.id)
    assert stored(child.id).parent_id == parent.id


@pytest.mark.parametrize(
    ("method", "values", "name", "field"),
    [
        ("grpo", {}, "", "method"),
        ("dpo", {}, "x" * 101, "name"),
        ("dpo", {"beta": 0}, "", "beta"),
        ("dpo", {"beta": "much"}, "", "beta"),
        ("twins", {"num_generations": 0}, "", "num_generations"),
        ("hypo", {"no_such_option": 1}, "", "no_such_option"),
        ("hypo", {"learning_rate": float("nan")}, "", "learning_rate"),
    ],
)
def test_a_bad_launch_queues_nothing_and_names_the_field(
    dataset_id: int, sent: list[int], method: str, values: dict[str, Any], name: str, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        launch(method, dataset_id, values, name=name)
    assert caught.value.field == field
    assert (count(), sent) == (0, [])


def test_a_model_that_cannot_be_trained_queues_nothing(
    dataset_id: int, sent: list[int], tmp_path: Path
) -> None:
    model = write_tiny_model(tmp_path / "model")
    weights = model / "model.safetensors"
    values = {"model_name_or_path": str(model), "max_prompt_length": 64, "max_completion_length": 64}
    assert launch("dpo", dataset_id, values)
    whole, before = weights.read_bytes(), count()
    weights.write_bytes(whole[:-10])
    with pytest.raises(InvalidInput, match="is truncated") as caught:
        launch("twins", dataset_id, values)
    assert caught.value.field == "model_name_or_path"
    weights.write_bytes(whole)
    with pytest.raises(InvalidInput, match="the model reads") as caught:
        launch("twins", dataset_id, values | {"max_prompt_length": 4000, "max_completion_length": 4000})
    assert caught.value.field == "max_prompt_length"
    config = json.loads((model / "config.json").read_text())
    del config["max_position_embeddings"]
    (model / "config.json").write_text(json.dumps(config | {"max_seq_len": 100}))  # MPT's name for it
    with pytest.raises(InvalidInput, match="128 together, but the model reads 100"):
        launch("hypo", dataset_id, values)
    assert count() == before


def test_a_relative_folder_is_queued_by_its_absolute_path(
    dataset_id: int, sent: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    lengths = {"max_prompt_length": 64, "max_completion_length": 64}
    [run] = launch("dpo", dataset_id, {"model_name_or_path": "./model", **lengths})
    assert run.base_model == run.config["model_name_or_path"] == str(tmp_path / "model")
    [run] = launch("dpo", dataset_id, {"model_name_or_path": "someone/model", **lengths})
    assert run.base_model == "someone/model"


def test_a_missing_folder_is_refused_where_this_machine_trains(
    dataset_id: int, sent: list[int], settings: Settings, tmp_path: Path
) -> None:
    values = {"model_name_or_path": str(tmp_path / "nowhere")}
    assert launch("dpo", dataset_id, values)  # a worker on another machine may have it
    settings.root.mkdir(parents=True, exist_ok=True)
    Running(os.getpid(), children={"broker": 1}).write(settings)
    with pytest.raises(InvalidInput, match="There is no folder"):
        launch("dpo", dataset_id, values)
    assert count() == 1


def test_every_bad_field_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_configs([Method.DPO], {"beta": -1, "lora_r": -1})
    assert "beta" in str(caught.value)
    assert "lora_r" in str(caught.value)


def test_an_unknown_dataset_queues_nothing(engine: Engine, sent: list[int]) -> None:
    with pytest.raises(NotFound):
        launch("twins", 4711, {})
    assert (count(), sent) == (0, [])


def test_without_a_broker_the_run_waits_in_the_database(dataset_id: int) -> None:
    [run] = launch("dpo", dataset_id, {})
    row = stored(run.id)
    assert (row.status, row.sent_at) == (RunStatus.QUEUED, None)


def test_a_broker_that_does_not_answer_fails_no_launch(
    dataset_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Settings(broker_url="redis://127.0.0.1:1/0")
    monkeypatch.setattr(dispatch, "get_settings", lambda: given)
    [run] = launch("dpo", dataset_id, {})
    assert stored(run.id).sent_at is None
    assert not dispatch.send_comparison(1)


def test_a_question_is_remembered_as_sent(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with write_session() as session:
        comparison = arena.asked(session)
    monkeypatch.setattr(dispatch, "send_comparison", lambda comparison_id: True)
    launching.send_comparison(comparison.id)
    with Session(engine) as session:
        again = session.get(type(comparison), comparison.id)
        assert again is not None
        assert again.sent_at is not None


def test_methods_of_a_launch() -> None:
    assert read_methods("hypo") == [Method.HYPO]
    assert read_methods("twins") == [Method.DPO, Method.HYPO]
    for given in ("rloo, hypo,dpo", ["hypo", "rloo", "dpo"], [Method.DPO, Method.HYPO, Method.RLOO]):
        assert written(read_methods(given)) == "dpo,hypo,rloo"
    assert all(read_methods(method.value) == [method] for method in Method)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "none was given"),
        ([], "none was given"),
        ("grpo", "must be one of dpo, hypo, .*, not 'grpo'"),
        ("dpo,twins", "not 'twins'"),
        ("dpo,", "not ''"),
        ("dpo,dpo", "names dpo more than once; name each method once"),
        (",".join(Method), "names 8 methods, and a launch trains at most 5"),
        ({"dpo": 1}, "must be one of"),
        ([1], "must be one of"),
        (7, "must be one of"),
    ],
)
def test_a_bad_choice_of_methods_is_told_in_a_sentence(given: Any, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as caught:
        read_methods(given)
    assert caught.value.field == "method"


def test_twins_of_five_methods_share_all_but_the_method(dataset_id: int, sent: list[int]) -> None:
    given = {"reward": "length", "max_steps": 7, "seed": 3}
    queued = launch("dpo,hypo,sft,rloo,online_dpo", dataset_id, given, name="five")
    assert [run.method for run in queued] == ["dpo", "hypo", "sft", "rloo", "online_dpo"]
    assert len({run.twin_group for run in queued}) == 1
    assert [run.name for run in queued][2:4] == ["five · SFT", "five · RLOO"]
    assert all({**run.config, "method": ""} == {**queued[0].config, "method": ""} for run in queued)
    assert sent == [run.id for run in queued]


@pytest.mark.parametrize("methods", ["hypo,rloo", "hypo,reward,rloo"])
def test_a_reward_model_is_trained_first_and_the_others_wait(
    dataset_id: int, sent: list[int], methods: str
) -> None:
    queued = launch(methods, dataset_id, {"reward": " train ", "max_steps": 7, "seed": 3}, name="set")
    reward, hypo, rloo = (stored(run.id) for run in queued)
    assert [run.name for run in (reward, hypo, rloo)] == ["set · Reward model", "set · HyPO", "set · RLOO"]
    assert (reward.depends_on_id, hypo.depends_on_id, rloo.depends_on_id) == (None, reward.id, reward.id)
    assert hypo.config["reward"] == rloo.config["reward"] == f"run:{reward.id}"
    assert (reward.config["reward"], reward.config["max_steps"], reward.seed) == ("", 7, 3)
    assert reward.dataset_id == rloo.dataset_id == dataset_id
    assert reward.twin_group == rloo.twin_group is not None
    assert sent == [reward.id]
    assert [run.name for run in launch("hypo,rloo", dataset_id, {"reward": "length"}, parent_id=rloo.id)] == [
        "set (2) · HyPO",
        "set (2) · RLOO",
    ]


def test_a_copy_of_a_twin_of_any_method_keeps_one_suffix() -> None:
    assert all(TWIN.sub("", f"set · {method.label}") == "set" for method in Method)


def test_one_method_may_train_its_reward_model_too(dataset_id: int, sent: list[int]) -> None:
    reward, rloo = launch("rloo", dataset_id, {"reward": "train"})
    assert (reward.method, rloo.depends_on_id, sent) == ("reward", reward.id, [reward.id])
    [alone] = launch("reward", dataset_id, {"reward": "train"})  # the method reads no reward
    assert (alone.config["reward"], alone.depends_on_id) == ("", None)


def test_what_one_of_several_methods_lacks_queues_nothing(dataset_id: int, sent: list[int]) -> None:
    with pytest.raises(InvalidInput, match="or train, to train a reward model first") as caught:
        launch("dpo,rloo", dataset_id, {})
    assert caught.value.field == "reward"
    with pytest.raises(InvalidInput, match="num_generations"):
        launch("dpo,rloo", dataset_id, {"reward": "train", "num_generations": 1})
    assert (count(), sent) == (0, [])


def test_a_sweep_is_one_group_with_names_that_fit(dataset_id: int, sent: list[int]) -> None:
    sweep = {"beta": [0.1, 0.2], "seed": [1, 2]}
    queued = launch("dpo", dataset_id, {}, name="n" * 100, sweep=sweep, trials=3)
    assert sent == [run.id for run in queued]
    assert len({run.twin_group for run in queued}) == 1
    assert len({(run.config["beta"], run.config["seed"]) for run in queued}) == 3
    rows = [stored(run.id).name for run in queued]
    assert all(
        name.startswith("nnn") and ("beta 0.1, seed" in name or "beta 0.2, seed" in name) for name in rows
    )
    assert max(map(len, rows)) <= 120
    with pytest.raises(InvalidInput, match="there is no setting"):
        launch("dpo", dataset_id, {}, sweep={"x": [1]})
    assert count() == 3


def test_a_copy_gets_a_name_of_its_own(dataset_id: int, sent: list[int]) -> None:
    [first] = launch("dpo", dataset_id, {}, name="mine")
    names = [launch("dpo", dataset_id, {}, parent_id=first.id)[0].name for _ in range(2)]
    assert names == ["mine (2)", "mine (3)"]
    [third] = launch("dpo", dataset_id, {}, name="other", parent_id=first.id)
    assert third.name == "other"
    twins = launch("twins", dataset_id, {}, name="pair")
    assert launch("dpo", dataset_id, {}, parent_id=twins[0].id)[0].name == "pair (2) · DPO"
    both = launch("twins", dataset_id, {}, parent_id=twins[1].id)
    assert [run.name for run in both] == ["pair (3) · DPO", "pair (3) · HyPO"]
    [long] = launch("dpo", dataset_id, {}, name="x" * 100)
    copies = [launch("dpo", dataset_id, {}, parent_id=long.id)[0].name for _ in range(2)]
    assert len({*copies, long.name}) == 3
    assert all(len(name) <= 100 for name in copies)
