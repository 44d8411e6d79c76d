"""A run that starts from another run's model: trained, answered and scored with the merged weights."""

import math
from pathlib import Path

import pytest

from app import answers, artifacts
from app.errors import InvalidInput, Refused
from app.launch import launch
from app.settings import Settings
from app.store import metrics, run_checkpoints, runs
from app.store.conversations import ContenderChoice, Decoding
from app.store.db import read_session
from app.store.enums import RunStatus
from app.store.models import Run
from hypo_engine.models import load
from tests.worker.conftest import TINY_RUN, Launcher, answer_all
from worker.run_models import fetch_run_model
from worker.training import train_next

GREEDY = Decoding(max_new_tokens=6, temperature=0.0)


def train_all() -> None:
    while train_next(worker="here:1:train"):
        continue


def run_of(run_id: int) -> Run:
    with read_session() as session:
        return runs.get(run_id, session=session)


def test_a_run_starts_from_a_finished_runs_model(
    launch_tiny: Launcher, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "is_fast", lambda: False)  # float32 shows that it is the same model
    [first] = launch_tiny()
    with pytest.raises(InvalidInput, match=f"Run {first} is queued; wait for it to finish"):
        launch_tiny(model_name_or_path=f"run:{first}")
    train_all()
    [second] = launch_tiny("hypo", model_name_or_path=f"run:{first}")
    train_all()
    [third] = launch_tiny(model_name_or_path=f"run:{second}@2", lora_r=0, max_steps=1)
    train_all()
    assert not list(home.work_dir.glob("run-*"))
    for run_id in (second, third):
        assert (run_of(run_id).status, run_of(run_id).error) == (RunStatus.FINISHED, None)
    with read_session() as session:
        points = metrics.series([first, second], ["eval_loss", "eval_logps/chosen"], session=session)
    ended, began = points[first, "eval_logps/chosen"][-1][1], points[second, "eval_logps/chosen"][0][1]
    assert began == pytest.approx(ended, abs=1e-3)
    assert points[second, "eval_loss"][0][1] == pytest.approx(math.log(2), abs=1e-6)

    # in Compare its reference is the merged model, and run 1 on the first base is the same model
    choices = answers.contenders_of_runs([second], with_reference=True)
    assert choices[0] == ContenderChoice(base_model=f"run:{first}")
    asked = answers.begin([*choices, ContenderChoice(run_id=first)], "Say something.", decoding=GREEDY)
    answer_all()
    found = {answer.position: answer for answer in answers.look(asked.id).answers}
    assert [answer.error for answer in found.values()] == [None, None, None]
    assert found[0].text == found[2].text
    assert found[0].policy_logp == pytest.approx(found[2].policy_logp or 0, abs=1e-3)
    assert found[1].policy_logp != pytest.approx(found[1].reference_logp or 0, abs=1e-4)


def test_the_files_behind_a_name(launch_tiny: Launcher, tmp_path: Path, dataset_id: int) -> None:
    [first] = launch_tiny(max_steps=1)
    train_all()
    [full] = launch_tiny(max_steps=1, lora_r=0, model_name_or_path=f"run:{first}")
    train_all()
    [last] = launch_tiny(max_steps=1, model_name_or_path=f"run:{full}")
    train_all()
    assert fetch_run_model("demo", tmp_path / "none") is None
    one = fetch_run_model(f"run:{first}", tmp_path / "one")
    assert one is not None
    assert one.place == str(launch_tiny.model)
    assert [folder.name for folder in one.adapters] == [f"run-{first}"]
    two = fetch_run_model(f"run:{last}", tmp_path / "two")
    assert two is not None
    # a run that trained every weight needs nothing before it
    assert Path(two.place).name == f"run-{full}"
    assert [folder.name for folder in two.adapters] == [f"run-{last}"]
    with read_session() as session:
        checkpoint = run_checkpoints.last(last, session=session)
    assert checkpoint is not None
    artifacts.delete_folder(checkpoint.path)
    with pytest.raises(Refused, match="missing from the artifact store"):
        fetch_run_model(f"run:{last}", tmp_path / "three")
    [gone] = launch("dpo", dataset_id, {**TINY_RUN, "model_name_or_path": f"run:{last}"})
    train_all()
    assert "missing from the artifact store" in (run_of(gone.id).error or "")
