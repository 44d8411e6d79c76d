"""Out of memory halves the micro-batch: the run continues with the same result and a warning."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.distributed.out_of_memory import is_out_of_memory
from hypo_engine.errors import EngineError, Interrupted
from hypo_engine.methods.objective import Objective
from hypo_engine.reference import scores as reference_module
from hypo_engine.reporting import Wish
from hypo_engine.training.loop import TrainResult, train
from tests.hypo_engine.conftest import Recorder, computed

FULL = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: not enough memory"),
]


@pytest.fixture
def run(tmp_path: Path, pairs: list[Pair]) -> Callable[..., tuple[TrainResult, Recorder]]:
    """Train without evaluation; returns result and recorder."""

    def start(
        config: TrainConfig, *, name: str = "out", recorder: Recorder | None = None
    ) -> tuple[TrainResult, Recorder]:
        recorder = recorder or Recorder()
        result = train(
            config, pairs, output_dir=tmp_path / name, models_dir=tmp_path / "models", reporter=recorder
        )
        return result, recorder

    return start


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Simulate an OOM error for batches with more pairs than given, from the second call on."""

    def limit(pairs: int, error: Exception, *, from_step: int = 0) -> list[int]:
        objective, sizes = Objective.__call__, []

        def full(self: Objective, policy: Any, batch: Any, **arguments: Any) -> Any:
            sizes.append(len(batch))
            if len(batch) > pairs and arguments["step"] >= from_step and len(sizes) > 1:
                raise error
            return objective(self, policy, batch, **arguments)

        monkeypatch.setattr(Objective, "__call__", full)
        return sizes

    return limit


def weights(result: TrainResult) -> dict[str, torch.Tensor]:
    return load_file(result.checkpoint_dir / "adapter" / "adapter_model.safetensors")


def test_the_run_goes_on_with_half_the_micro_batch_and_the_same_result(
    run: Any, config: Callable[..., TrainConfig], fits: Any
) -> None:
    settings = {"method": "hypo", "gradient_accumulation_steps": 2, "learning_rate": 1e-4}
    straight, expected = run(config(**settings), name="straight")
    sizes = fits(1, FULL[2])
    result, found = run(config(**settings))
    # the first batch of four produced gradients before the second failed
    assert sizes[:7] == [4, 4, 2, 1, 1, 1, 1]
    assert set(sizes[3:]) == {1}
    assert [message for message in found.messages if "per_device_train_batch_size" in message] == [
        f"warning: The memory is full; the step is done again with {half} pairs at once instead of "
        f"{2 * half}, as is the rest of the run; the result is the same. "
        f"A per_device_train_batch_size of {half} saves the attempt."
        for half in (2, 1)
    ]
    for step in (1, 2, 3):
        for name in ("loss", "grad_norm", "logps/chosen", "objective/kl", "num_tokens"):
            value = expected.values[step][name]
            assert found.values[step][name] == pytest.approx(value, rel=1e-3, abs=2e-4), (step, name)
    online = {row.seed: row.text for row in found.rows}
    assert len(found.rows) == len(online)  # discarded samples are not reported
    assert online == {row.seed: row.text for row in expected.rows}
    for name, tensor in weights(result).items():
        wanted = weights(straight)[name]
        assert float((tensor - wanted).norm()) <= 1e-2 * float(wanted.norm())


def test_one_pair_that_does_not_fit_ends_the_run_with_a_sentence(
    run: Any, config: Callable[..., TrainConfig], fits: Any
) -> None:
    fits(0, FULL[2])
    with pytest.raises(EngineError, match="The memory is full; lower the batch size"):
        run(config(method="dpo", gradient_accumulation_steps=2))


def test_other_errors_pass_as_they_are(run: Any, config: Callable[..., TrainConfig], fits: Any) -> None:
    sizes = fits(0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run(config(method="dpo", gradient_accumulation_steps=2))
    assert sizes == [4, 4]


def test_a_run_that_goes_on_keeps_the_size_that_fits(
    run: Any, config: Callable[..., TrainConfig], fits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"method": "hypo", "max_steps": 4, "learning_rate": 1e-3}
    sizes = fits(2, MemoryError(), from_step=1)
    straight, expected = run(config(**settings), name="straight")
    assert sizes[:4] == [4, 4, 2, 2]
    stop = Recorder(lambda r: Wish.YIELD if 2 in r.values else Wish.CONTINUE)
    with pytest.raises(Interrupted):
        run(config(**settings), name="parts", recorder=stop)
    monkeypatch.undo()  # memory suffices again, and the arithmetic is still that of the straight run
    result, rest = run(config(**settings), name="parts")
    assert set(rest.values) == {3, 4}
    assert [computed(rest)[step] for step in (3, 4)] == [computed(expected)[step] for step in (3, 4)]
    found, wanted = weights(result), weights(straight)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_the_reference_goes_on_with_half_as_many_pairs(
    run: Any, config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, expected = run(config(method="dpo"), name="straight")
    score, sizes = reference_module.score_pairs, []

    def full(encode: Any, batch: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) > 1:
            raise MemoryError
        return score(encode, batch)

    monkeypatch.setattr(reference_module, "score_pairs", full)
    _, found = run(config(method="dpo"))
    assert sizes[:3] == [4, 2, 1]
    assert any("the reference goes on with 1 pairs at once" in message for message in found.messages)
    for step in (1, 2, 3):
        assert found.values[step]["loss"] == pytest.approx(expected.values[step]["loss"], abs=1e-4)


@pytest.mark.parametrize("error", [*FULL, RuntimeError("shapes"), ValueError("can't allocate memory")])
def test_which_errors_say_that_memory_ran_out(error: Exception) -> None:
    assert is_out_of_memory(error) is (error in FULL)


SCRIPT = """
import json, resource, sys
from pathlib import Path
import torch
from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.methods.objective import Objective
from hypo_engine.training.loop import train
from tests.hypo_engine.conftest import Recorder

folder, model, room = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
torch.set_num_threads(1)
objective, sizes = Objective.__call__, []

def watched(self, policy, batch, **arguments):
    sizes.append(len(batch))
    if room and len(sizes) == 1:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.RLIM_INFINITY))
    return objective(self, policy, batch, **arguments)

Objective.__call__ = watched
recorder = Recorder()
config = TrainConfig(
    model_name_or_path=model, method="dpo", lora_r=4, max_steps=2, per_device_train_batch_size=16,
    learning_rate=1e-4, warmup_ratio=0.0, max_prompt_length=800, precompute_ref_log_probs=False,
)
pairs = [Pair(f"{i} " + "a b " * 300, f"yes {i}", "no " * 20) for i in range(16)]
train(config, pairs, output_dir=folder, models_dir=folder, reporter=recorder)
losses = {step: [values["loss"], values["grad_norm"]] for step, values in recorder.values.items() if step}
print(json.dumps({"sizes": sizes, "losses": losses, "messages": recorder.messages}))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and RLIMIT_AS")
def test_an_allocator_that_really_has_no_room(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """The process is limited to the memory of half a batch, so torch's own allocator fails."""

    def start(room: int) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path / str(room)), str(tiny("llama")), str(room)],
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    expected, found = start(0), start(40 * 2**20)
    assert expected["sizes"] == [16, 16]
    assert found["sizes"][0] == 16
    assert max(found["sizes"][1:]) < 16
    assert any("per_device_train_batch_size" in message for message in found["messages"])
    for step, values in expected["losses"].items():
        assert found["losses"][step] == pytest.approx(values, rel=1e-3)
