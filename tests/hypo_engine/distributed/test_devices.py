"""A run's other processes on this machine: started, joined, counted, and ended."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.distributed.devices import check_devices, other_processes
from hypo_engine.errors import ConfigError, EngineError
from hypo_engine.training.loop import train

MEMBER = """
import torch, torch.distributed as dist
from hypo_engine.distributed.devices import member
with member():
    found = [None] * dist.get_world_size()
    dist.all_gather_object(found, (dist.get_rank(), torch.get_num_threads()))
"""


def never() -> None:
    """Nothing stops the start."""


def test_they_join_one_group_and_share_the_cores(tmp_path: Path) -> None:
    threads, cores = torch.get_num_threads(), len(os.sched_getaffinity(0))
    with other_processes([sys.executable, "-c", MEMBER], devices=2, folder=tmp_path / "g", watch=never):
        found: list[Any] = [None, None]
        dist.all_gather_object(found, (dist.get_rank(), torch.get_num_threads()))
        share = max(1, cores // 2)
        assert found == [(0, share), (1, share)]
    assert not dist.is_initialized()
    assert torch.get_num_threads() == threads


def test_one_that_cannot_start_says_why(tmp_path: Path) -> None:
    dies = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with (
        pytest.raises(EngineError, match=r"Process 1 of the run ended before the first step.*no such model"),
        other_processes(dies, devices=2, folder=tmp_path / "g", watch=never),
    ):
        pytest.fail("the group is not complete")
    assert not dist.is_initialized()


def test_a_run_that_is_stopped_meanwhile_ends_them(tmp_path: Path) -> None:
    started: list[int] = []

    def stop() -> None:
        started.append(1)
        raise InterruptedError("stopped")

    waits = [sys.executable, "-c", "import time; time.sleep(600)"]
    with (
        pytest.raises(InterruptedError),
        other_processes(waits, devices=2, folder=tmp_path / "g", watch=stop),
    ):
        pytest.fail("nobody joined")
    assert started == [1]


def test_more_than_the_machine_has_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"devices is 100000, but the number of .*set devices to at most"):
        check_devices(100_000)


def test_a_single_process_is_not_two(config: Callable[..., TrainConfig], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="devices is 2, but the number of processes is 1"):
        train(
            config(devices=2),
            [Pair("a", "b", "c")],
            output_dir=tmp_path / "out",
            models_dir=tmp_path,
        )


def test_the_command_starts_as_many_as_the_file_says(
    config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """Two devices with one pair each take the step of one device with two pairs."""
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(f'{{"prompt": "p{i}", "chosen": "ab", "rejected": "c"}}\n' for i in range(4)))
    found = []
    for devices in (1, 2):
        fields = config(devices=devices, per_device_train_batch_size=2 // devices, precision="float32")
        path, output = tmp_path / f"{devices}.yaml", tmp_path / f"out-{devices}"
        places = {"dataset": pairs, "output_dir": output, "cache_dir": tmp_path / "cache", "eval_fraction": 0}
        path.write_text(fields.to_yaml() + "".join(f"{name}: {place}\n" for name, place in places.items()))
        done = subprocess.run(
            [sys.executable, "-m", "hypo_engine", str(path)], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        found.append([line for line in lines if "loss" in line])
    assert [line["step"] for line in found[0]] == [1, 2, 3]
    for one, two in zip(*found, strict=True):
        for name in ("step", "num_tokens", "loss", "rewards/margins"):
            assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-6), name
