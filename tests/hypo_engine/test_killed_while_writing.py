"""kill -9 at any write: the output folder stays consistent, and the run resumes exactly."""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from hypo_engine.__main__ import main
from hypo_engine.training.checkpoint import checkpoints, read_state
from tests.hypo_engine.test_resume import assert_the_same

_CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir"}


def attempt(config: str, folder: str, at: int, counted: str) -> None:
    """Run the command, and kill this process just before its n-th change of ``folder``."""
    torch.set_num_threads(1)
    changes = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal changes
        writes = event == "open" and set(str(arguments[1])) & set("wa+x")
        if (event in _CHANGES or writes) and str(arguments[0]).startswith(folder):
            changes += 1
            if changes == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    code = main([config, "--json"])
    Path(counted).write_text(str(changes))
    sys.exit(code)


@pytest.fixture
def run(tiny: Callable[[str], Path], tmp_path: Path) -> Callable[..., int]:
    """Run the command in a process forked from one with preloaded libraries; returns the exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tests.hypo_engine.test_killed_while_writing", "hypo_engine.training.loop", "peft"]
    )
    rows = [{"prompt": f"Question {i}", "chosen": f"Paris {i}.", "rejected": "No."} for i in range(12)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(row) for row in rows))

    def start(name: str, at: int = 0) -> int:
        values = {
            "model_name_or_path": str(tiny("llama")),
            "method": "hypo",
            "lora_r": 4,
            "max_steps": 3,
            "per_device_train_batch_size": 2,
            "max_completion_length": 10,
            "save_steps": 1,
            "dataset": str(tmp_path / "pairs.jsonl"),
            "output_dir": str(tmp_path / name),
            "cache_dir": str(tmp_path / f"cache of {name}"),
            "eval_fraction": 0.3,
            "eval_prompts": 1,
            "probe_prompts": 1,
        }
        config = tmp_path / f"{name}.yaml"
        config.write_text(yaml.safe_dump(values))
        process = context.Process(
            target=attempt, args=(str(config), str(tmp_path / name), at, str(tmp_path / "count"))
        )
        process.start()
        process.join()
        assert process.exitcode is not None
        return process.exitcode

    return start


def test_killed_before_any_write(run: Callable[..., int], tmp_path: Path) -> None:
    assert run("straight") == 0
    writes = int((tmp_path / "count").read_text())
    assert writes > 30  # three checkpoints of several files, and the lines of the metrics
    for at in range(2, writes + 1, writes // 4):
        name = f"killed{at}"
        assert run(name, at) == -signal.SIGKILL
        for checkpoint in checkpoints(tmp_path / name):
            read_state(checkpoint)  # every listed checkpoint is complete
        assert run(name) == 0
        assert_the_same(tmp_path / name, tmp_path / "straight")
