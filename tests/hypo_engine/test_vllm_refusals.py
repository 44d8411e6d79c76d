"""Runs that ask for samples from vLLM where it cannot draw them; none of these tests needs vLLM."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hypo_engine.config import Method, RolloutEngine, TrainConfig, applies, field_errors
from hypo_engine.data.formats import Pair
from hypo_engine.distributed.world import World
from hypo_engine.errors import ConfigError, EngineError, ModelError
from hypo_engine.training.explain import plain_errors
from hypo_engine.training.loop import train
from hypo_engine.training.vllm import refuse_several_processes

Make = Callable[..., TrainConfig]


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"devices": 2}, "devices", "must be 1 when vLLM samples, in a single process so far"),
        ({"sharding": "fsdp"}, "sharding", "cannot shard a model that vLLM samples from yet; set it to none"),
        ({"rollout": "tgi"}, "rollout", "must be engine or vllm, not tgi"),
    ],
)
def test_a_configuration_that_vllm_cannot_serve_is_refused(
    changes: dict[str, Any], field: str, said: str
) -> None:
    values = {"method": "hypo", "rollout": "vllm", **changes}
    found = field_errors(values)
    assert list(found) == [field]
    assert said in found[field]
    if changes.keys() - {"rollout"}:
        assert field_errors({**values, "rollout": "engine"}) == {}
        assert field_errors({**values, "method": "dpo"}) == {}  # which samples nothing


def test_methods_that_sample_read_the_field() -> None:
    assert {method for method in Method if applies("rollout", method)} == {
        Method.HYPO, Method.RLOO, Method.PPO, Method.ONLINE_DPO
    }  # fmt: skip
    assert TrainConfig().rollout is RolloutEngine.ENGINE
    assert not TrainConfig(method=Method.DPO, rollout=RolloutEngine.VLLM).samples_with_vllm


def test_a_run_without_vllm_is_refused_before_anything_is_loaded(
    config: Make, pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)  # as if it were not installed
    wanted = config(method="hypo", rollout="vllm", model_name_or_path="/nowhere")
    with pytest.raises(ConfigError, match=r"rollout vllm needs the package vllm; install it as"):
        train(wanted, pairs, output_dir=tmp_path, models_dir=tmp_path)


def test_processes_of_torchrun_are_refused(config: Make) -> None:
    wanted = config(method="hypo", rollout="vllm")
    with pytest.raises(ConfigError, match="vLLM samples in a single process so far, and this run has 2"):
        refuse_several_processes(wanted, World(size=2))
    refuse_several_processes(wanted, World())
    refuse_several_processes(config(method="hypo"), World(size=2))


def test_an_error_of_vllm_is_a_sentence_and_one_of_the_engine_is_not() -> None:
    def failing(module: str, error: str = "ValueError('no kernel\\nfor this')") -> Callable[[], None]:
        scope: dict[str, Any] = {"__name__": module}
        exec(f"def fail():\n    raise {error}", scope)
        return scope["fail"]  # type: ignore[no-any-return]

    with (
        pytest.raises(ModelError, match=r"vLLM stopped with an error \(ValueError: no kernel for this\)"),
        plain_errors(),
    ):
        failing("vllm.v1.engine")()
    with pytest.raises(ValueError, match="no kernel"), plain_errors():
        failing("hypo_engine.decoding")()
    full = "MemoryError"
    with pytest.raises(EngineError, match="set rollout to engine, since vLLM holds"), plain_errors():
        failing("vllm.v1.engine", full)()
    with pytest.raises(EngineError, match="choose a smaller model"), plain_errors():
        failing("hypo_engine.decoding", full)()
