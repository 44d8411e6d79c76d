"""Multi-process training for tests: torchrun on loopback starts this file, which trains a plan.

A plan is a list of :class:`Planned`. Every process trains all of them in sequence and writes its
observations of each to ``FOLDER/NAME/rank-N.pt``; ``observe`` does the same in the calling process.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from safetensors.torch import load_file

from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.reporting import Wish
from hypo_engine.training import loop
from hypo_engine.training import prepare as prepare_module
from hypo_engine.training import run as run_module
from hypo_engine.training.loop import train
from tests.hypo_engine.conftest import Recorder, computed

CLOSE = 1e-5
"""Relative tolerance between two ways of computing the same value."""

SECONDS = 240


@dataclass
class Planned:
    """A planned run.

    Attributes:
        pairs: (prompt, chosen, rejected).
        eval_pairs: Number of pairs used for evaluation.
        stop: (rank, steps, wish): the wish that the process's reporter returns after this many steps.
        plain: Encode only whole sequences, as sharded runs do.
        fail: (rank, steps, how): the failure of the process's objective after this many steps: "error",
            "memory" with more than one pair at once, or "wait" for another process to stop.
    """

    name: str
    config: dict[str, Any]
    pairs: list[tuple[Any, str, str]]
    eval_pairs: int = 0
    output: str = ""
    plain: bool = False
    stop: tuple[int, int, str] | None = None
    fail: tuple[int, int, str] | None = None


@dataclass
class Seen:
    """One process's observations of a run.

    Attributes:
        gradients: Every trained parameter's gradient before clipping, per optimiser step.
        held: Number of the policy's weights in this process between steps.
        error: The exception that ended the run, as "Type: message".
    """

    values: dict[int, dict[str, float]] = field(default_factory=dict)
    gradients: list[list[torch.Tensor]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    checkpoints: list[tuple[int, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    phases: int = 0
    sizes: list[int] = field(default_factory=list)
    held: int = 0
    error: str = ""


def observe(planned: Planned, folder: Path, rank: int = 0) -> Seen:
    """Train a run in this process and record its gradients."""
    seen = Seen()
    recorder = Recorder(_wishing(planned.stop, rank, seen))
    clip = loop.clip_gradients

    def watched(parameters: Sequence[torch.nn.Parameter], max_norm: float) -> torch.Tensor:
        seen.gradients.append([full(p.grad) for p in parameters])
        return clip(parameters, max_norm)

    pairs = [Pair(*pair) for pair in planned.pairs]
    with (
        patch.object(loop, "clip_gradients", watched),
        _failing(planned.fail, rank, seen),
        _weighing(seen),
        _loading(plain=planned.plain),
    ):
        try:
            train(
                TrainConfig(**planned.config),
                pairs,
                eval_pairs=pairs[: planned.eval_pairs],
                eval_prompts=[pair.prompt for pair in pairs[: planned.eval_pairs]],
                output_dir=folder / (planned.output or planned.name) / "out",
                models_dir=folder / "models",
                cache_dir=folder / planned.name / "cache",
                reporter=recorder,
            )
        except Exception as error:
            seen.error = f"{type(error).__name__}: {error}"
    seen.values, seen.checkpoints, seen.messages = computed(recorder), recorder.checkpoints, recorder.messages
    seen.rows, seen.phases = [asdict(row) for row in recorder.rows], len(recorder.phases)
    return seen


def full(tensor: torch.Tensor | None) -> torch.Tensor:
    """A copy of a gradient, with its shards gathered."""
    assert tensor is not None
    whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole.detach().clone()


def weights(seen: Seen) -> dict[str, torch.Tensor]:
    """The weights of a run's last checkpoint."""
    (file,) = Path(seen.checkpoints[-1][1]).glob("*/*.safetensors")
    return load_file(file)


def assert_close(found: torch.Tensor, expected: torch.Tensor, close: float = CLOSE) -> None:
    """Assert equality up to a fraction of the tensor's norm."""
    assert float((found - expected).norm()) <= close * float(expected.norm()) + 1e-12


def assert_same_gradients(found: Seen, expected: Seen, close: float = 1e-5) -> None:
    """Assert that every step's gradients agree, tensor by tensor, to a fraction of the tensor's norm.

    A tensor with a relatively tiny gradient has fewer correct digits in float32, so its error is compared
    with a hundredth of the whole gradient.
    """
    for ours, wanted in zip(found.gradients, expected.gradients, strict=True):
        whole = float(torch.cat([gradient.flatten() for gradient in wanted]).norm())
        assert whole > 0.1
        for mine, gradient in zip(ours, wanted, strict=True):
            assert float((mine - gradient).norm()) <= close * max(float(gradient.norm()), whole / 100)


def _wishing(stop: tuple[int, int, str] | None, rank: int, seen: Seen) -> Callable[[Recorder], Wish]:
    if stop is None or stop[0] != rank:
        return lambda _: Wish.CONTINUE
    return lambda _: Wish(stop[2]) if len(seen.gradients) >= stop[1] else Wish.CONTINUE


@contextmanager
def _failing(fail: tuple[int, int, str] | None, rank: int, seen: Seen) -> Any:
    """Make the objective fail in one process, and record the number of pairs per call."""
    from hypo_engine.methods.objective import Objective

    objective = Objective.__call__

    def failing(self: Objective, policy: Any, batch: Any, **arguments: Any) -> Any:
        seen.sizes.append(len(batch))
        if fail is not None and (rank, arguments["step"]) == tuple(fail[:2]):
            if fail[2] == "error":
                raise ValueError("a broken part")
            if fail[2] == "wait":
                _wait(arguments["watch"])
            if len(batch) > 1:
                raise MemoryError
        return objective(self, policy, batch, **arguments)

    with patch.object(Objective, "__call__", failing), patch.object(run_module, "_WISH_SECONDS", 0.0):
        yield


def _wait(watch: Callable[[], None]) -> None:
    """Poll for a stop for a long time, as sampling does."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        watch()
        time.sleep(0.01)
    raise TimeoutError("nobody stopped")


@contextmanager
def _weighing(seen: Seen) -> Any:
    """Record the number of weights in the process before the first step."""
    share = run_module.Run.share_state

    def weighed(self: run_module.Run) -> None:
        share(self)
        for weight in self.policy.model.parameters():
            seen.held += (weight.to_local() if hasattr(weight, "to_local") else weight).numel()

    with patch.object(run_module.Run, "share_state", weighed):
        yield


@contextmanager
def _loading(*, plain: bool) -> Any:
    load = prepare_module.load_policy

    def loaded(*arguments: Any, **named: Any) -> Any:
        return load(*arguments, **(named | {"separate": plain or named["separate"]}))

    with patch.object(prepare_module, "load_policy", loaded):
        yield


def torchrun(command: Sequence[str], *, processes: int = 2) -> "subprocess.Popen[str]":
    """Start a module under torchrun, on loopback only."""
    root = Path(__file__).resolve().parents[2]
    place = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1"]
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), *place, *command],
        cwd=root,
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def trained(plan: Sequence[Planned], folder: Path, *, processes: int = 2) -> dict[str, list[Seen]]:
    """Train a plan in several processes; return the observations of each, by run name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(json.dumps([asdict(planned) for planned in plan]))
    process = torchrun(["-m", "tests.hypo_engine.processes", str(folder)], processes=processes)
    try:
        output, _ = process.communicate(timeout=SECONDS)
    finally:
        process.terminate()  # torchrun ends its processes; a no-op if it has already exited
        process.communicate(timeout=60)
    assert process.returncode == 0, output[-6000:]
    return {
        planned.name: [
            Seen(**torch.load(folder / planned.name / f"rank-{rank}.pt", weights_only=True))
            for rank in range(processes)
        ]
        for planned in plan
    }


def main(folder: Path) -> None:
    """The entry point of each torchrun process."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    for values in json.loads((folder / "plan.json").read_text()):
        planned = Planned(**values)
        seen = observe(planned, folder, rank)
        (folder / planned.name).mkdir(exist_ok=True)
        torch.save(asdict(seen), folder / planned.name / f"rank-{rank}.pt")
        dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
