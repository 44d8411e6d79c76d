"""A run of the app that samples with vLLM."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from app.store.db import read_session
from app.store.enums import RunStatus
from app.store.models import Run
from tests.tiny_model import write_tiny_model
from tests.worker.conftest import Launcher
from worker.training import train_next


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
@pytest.mark.timeout(600)
def test_a_worker_trains_runs_with_vllm_and_then_others(launch_tiny: Launcher, tmp_path: Path) -> None:
    place = str(write_tiny_model(tmp_path / "fitting", head_dim=32))
    with_vllm = {"rollout": "vllm", "model_name_or_path": place}
    launched = [launch_tiny("hypo", **changes)[0] for changes in (with_vllm, with_vllm, {})]
    while train_next(worker="here:1:train"):
        continue
    with read_session() as session:
        found = [session.get_one(Run, one) for one in launched]
        assert [(run.status, run.error) for run in found] == [(RunStatus.FINISHED, None)] * 3
