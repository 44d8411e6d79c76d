"""A stopped and resumed run equals the straight run, file by file and bit by bit, except for the times."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.errors import CheckpointError
from hypo_engine.methods.objective import Objective
from hypo_engine.reporting import Wish
from hypo_engine.training import loop
from hypo_engine.training.checkpoint import checkpoints
from hypo_engine.training.jsonl_log import METRICS, SAMPLES, Record
from hypo_engine.training.loop import train
from hypo_engine.training.run import Run
from tests.forked import ForkedPython
from tests.hypo_engine.conftest import TIMES, Recorder

WAYS = [{"method": method, "lora_r": rank} for method in ("dpo", "hypo") for rank in (4, 0)]


def ways(*chosen: dict[str, Any]) -> Any:
    """Parametrize a test with these methods and LoRA ranks."""
    return pytest.mark.parametrize("way", chosen, ids=lambda way: f"{way['method']}-{way['lora_r']}")


STEPS = 7
SETTINGS: dict[str, Any] = {
    "max_steps": STEPS,  # three per epoch: 4, 4 and 2 pairs
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "lr_scheduler_type": "cosine",
    "learning_rate": 1e-3,
    "logging_steps": 3,  # so that checkpoints fall between two reports
    "eval_steps": 4,
    "save_steps": 2,
}


class Boom(Exception):
    """An injected failure."""


@pytest.fixture
def run(tmp_path: Path, pairs: list[Pair]) -> Callable[..., Recorder]:
    """Train in a folder of ``tmp_path``, as the command does; returns the reporter's record."""

    def start(config: TrainConfig, name: str, recorder: Recorder | None = None, **changes: Any) -> Recorder:
        recorder = recorder or Recorder()
        arguments: dict[str, Any] = {
            "pairs": pairs,
            "eval_pairs": pairs[:3],
            "eval_prompts": [pair.prompt for pair in pairs[:3]],
            "cache_dir": tmp_path / f"{name} cache",
        }
        train(
            config,
            output_dir=tmp_path / name,
            models_dir=tmp_path / "models",
            reporter=Record(recorder, tmp_path / name, recorder.wish),
            **(arguments | changes),
        )
        return recorder

    return start


def content(folder: Path) -> dict[str, Any]:
    """Every file below a folder, by name: its bytes, or its JSON without times."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".jsonl":
            found[name] = [timeless(json.loads(line)) for line in path.read_text().splitlines()]
        elif path.name == "state.json":
            found[name] = timeless(json.loads(path.read_text()))
        else:
            found[name] = path.read_bytes()
    return found


def timeless(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: timeless(inner) for name, inner in value.items() if name not in {*TIMES, "sha256"}}


def assert_the_same(folder: Path, straight: Path) -> None:
    found, expected = content(folder), content(straight)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []


class Dying(Recorder):
    """A reporter that raises at its n-th event; without n it counts them."""

    def __init__(self, at: int = 0) -> None:
        super().__init__()
        self.at, self.calls = at, 0

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise Boom

    def progress(self, step: int, total_steps: int, phase: str) -> None:
        self._count()

    def metrics(self, step: int, values: Any) -> None:
        self._count()

    def samples(self, rows: Any) -> None:
        self._count()

    def checkpoint(self, step: int, path: str) -> None:
        self._count()


@ways(WAYS[0], WAYS[3])
def test_an_exception_between_steps(run: Any, config: Any, tmp_path: Path, way: dict[str, Any]) -> None:
    """Failures at events spread over the whole run, from loading to the last evaluation."""
    settings = config(**SETTINGS, **way)
    counting = run(settings, "straight", Dying())
    for at in range(3, counting.calls, max(1, counting.calls // 3)):
        with pytest.raises(Boom):
            run(settings, f"at {at}", Dying(at))
        run(settings, f"at {at}")
        assert_the_same(tmp_path / f"at {at}", tmp_path / "straight")


@ways(WAYS[1], WAYS[2])
def test_an_exception_in_the_middle_of_a_step(
    run: Any, config: Any, tmp_path: Path, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repeated failures between two micro-batches, before the optimiser and right after it."""
    settings = config(**SETTINGS, **way)
    run(settings, "straight")
    places = (
        (Objective, "__call__", (2, 5)),
        (loop, "clip_gradients", (3,)),
        (Run, "count_step", (1, 4)),
    )
    for owner, name, calls in places:
        folder = f"in {name}"
        for at in calls:
            with monkeypatch.context() as patched:
                die_at_call(patched, owner, name, at)
                with pytest.raises(Boom):
                    run(settings, folder)
        run(settings, folder)
        assert_the_same(tmp_path / folder, tmp_path / "straight")


def die_at_call(patched: pytest.MonkeyPatch, owner: Any, name: str, at: int) -> None:
    """Make the n-th call of a function raise after it has done its work."""
    original, calls = getattr(owner, name), iter(range(1, 1000))

    def dying(*arguments: Any, **named: Any) -> Any:
        result = original(*arguments, **named)
        if next(calls) == at:
            raise Boom
        return result

    patched.setattr(owner, name, dying)


@pytest.mark.parametrize("lost", ["cache", "nothing"])
def test_every_step_may_be_the_last_one_before_a_stop(
    run: Any, config: Any, tmp_path: Path, lost: str
) -> None:
    """A yield after every step: as many parts as steps."""
    settings = config(**(SETTINGS | {"save_steps": 1}), method="hypo")
    run(settings, "straight")
    for step in range(1, STEPS):
        with pytest.raises(Exception, match="stopped on request"):
            run(
                settings,
                "parts",
                Recorder(lambda r, s=step: Wish.YIELD if r.phases[-1][0] >= s else Wish.CONTINUE),
            )
        assert checkpoints(tmp_path / "parts")[0].name == f"checkpoint-{step:06d}"
        if lost == "cache":
            for file in (tmp_path / "parts cache").glob("reference-*"):
                file.unlink()
    run(settings, "parts")
    assert_the_same(tmp_path / "parts", tmp_path / "straight")


def damage(checkpoint: Path) -> None:
    with (checkpoint / "optimizer.pt").open("r+b") as file:
        file.truncate(99)


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    run: Any, config: Any, tmp_path: Path
) -> None:
    settings = config(**SETTINGS, method="hypo")
    run(settings, "straight")
    run(settings, "parts")
    damage(tmp_path / "parts" / "checkpoint-000007")
    damage(tmp_path / "parts" / "checkpoint-000006")
    again = run(settings, "parts")
    assert again.messages == [
        "warning: checkpoint-000007 is damaged: optimizer.pt is not the file that was written. "
        "It is not used; the checkpoint before it is, if there is one.",
        "warning: checkpoint-000006 is damaged: optimizer.pt is not the file that was written. "
        "It is not used; the checkpoint before it is, if there is one.",
        "info: Continuing from step 4.",
    ]
    assert_the_same(tmp_path / "parts", tmp_path / "straight")


def test_when_all_are_damaged_the_run_does_not_start_over_in_silence(
    run: Any, config: Any, tmp_path: Path
) -> None:
    settings = config(**(SETTINGS | {"max_steps": 4}), method="dpo")
    run(settings, "out")
    before = content(tmp_path / "out")
    for checkpoint in checkpoints(tmp_path / "out"):
        damage(checkpoint)
    with pytest.raises(CheckpointError) as refused:
        run(settings, "out")
    assert str(refused.value).startswith(
        f"Every checkpoint in {tmp_path / 'out'} is damaged (checkpoint-000004, "
    )
    assert "delete them to start over" in str(refused.value)
    assert content(tmp_path / "out")[METRICS] == before[METRICS]


def test_a_reference_that_changed_is_refused(run: Any, config: Any, tmp_path: Path) -> None:
    """The shared cache has different numbers for the same key than those the run used."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    settings = config(**SETTINGS, method="dpo")
    with pytest.raises(Boom):
        run(settings, "out", Dying(40))
    [*files] = (tmp_path / "out cache").glob("reference-*.safetensors")
    for path in files:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata()
        save_file({name: tensor + 1e-3 for name, tensor in tensors.items()}, path, metadata=metadata)
    with pytest.raises(
        CheckpointError, match=r"made with other reference log-probabilities .* clear the ref"
    ):
        run(settings, "out")
    for path in files:
        path.unlink()
    run(settings, "out")
    run(settings, "straight")
    assert_the_same(tmp_path / "out", tmp_path / "straight")


@pytest.mark.parametrize(
    ("written", "step", "kept"),
    [
        (["a0", "t1", "t2", "e2", "t3"], 2, ["a0", "t1", "t2"]),
        (["a0", "t1", "t2", "e2", "t3"], 3, ["a0", "t1", "t2", "e2", "t3"]),
        (["a0", "t1", "t2", "e2", "t3"], 0, []),
        (["a0", "t1", "torn"], 5, ["a0", "t1"]),
    ],
)
def test_what_a_resumed_run_keeps_of_its_record(
    tmp_path: Path, written: list[str], step: int, kept: list[str]
) -> None:
    """a0, e2: evaluations after steps 0 and 2; t1: training of step 1."""
    lines = {
        "a0": '{"step": 0, "eval_loss": 0.5}\n',
        "t1": '{"step": 1, "loss": 0.5}\n',
        "t2": '{"step": 2, "loss": 0.4}\n',
        "e2": '{"step": 2, "eval_loss": 0.4}\n',
        "t3": '{"step": 3, "loss": 0.3}\n',
        "torn": '{"step": 2, "lo',
    }
    (tmp_path / METRICS).write_text("".join(lines[name] for name in written))
    kinds = {"a": "probe", "e": "eval", "t": "online"}
    samples = {
        name: json.dumps({"kind": kinds[name[0]], "step": int(name[1])}) + "\n"
        for name in lines
        if name != "torn"
    }
    (tmp_path / SAMPLES).write_text("".join((samples | {"torn": "{"})[name] for name in written))
    record = Record(Recorder(), tmp_path, lambda: Wish.CONTINUE)
    record.progress(0, 0, "loading model")
    assert (tmp_path / METRICS).read_text() == "".join(lines[name] for name in written)
    record.progress(step, 9, "training")
    record.progress(step + 1, 9, "training")
    assert (tmp_path / METRICS).read_text() == "".join(lines[name] for name in kept)
    assert (tmp_path / SAMPLES).read_text() == "".join(samples[name] for name in kept)


def test_the_record_is_json_whatever_was_measured(tmp_path: Path) -> None:
    record = Record(Recorder(), tmp_path / "new", lambda: Wish.CONTINUE)
    record.metrics(0, {"eval_objective/kl_stderr": float("nan"), "eval_loss": 1 / 3})
    [line] = (tmp_path / "new" / METRICS).read_text().splitlines()
    assert json.loads(line) == {"step": 0, "eval_objective/kl_stderr": None, "eval_loss": 1 / 3}


# --- the command itself, killed ---


@pytest.fixture
def command(tiny: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """Write the command's YAML for a run in a separate folder; runs share pairs and model."""
    rows = [{"prompt": f"Question {i}", "chosen": f"Paris {i}.", "rejected": "No."} for i in range(12)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(row) for row in rows))

    def write(name: str, **changes: Any) -> Path:
        values = {
            "model_name_or_path": str(tiny("llama")),
            "max_completion_length": 10,
            "probe_prompts": 1,
            "dataset": str(tmp_path / "pairs.jsonl"),
            "output_dir": str(tmp_path / name),
            "models_dir": str(tmp_path / "models"),
            "cache_dir": str(tmp_path / f"{name} cache"),
            "eval_fraction": 0.3,
            **SETTINGS,
            "max_steps": 25,  # too many to finish before the signal
            "save_steps": 1,
            "eval_steps": 0,
        } | changes
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def start(config: Path) -> ForkedPython:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return ForkedPython("hypo_engine", [str(config)], environment=environment, log=said_by(config))


def said_by(config: Path) -> Path:
    """The file with what the last start of the command said."""
    return config.with_suffix(".log")


def signal_at(config: Path, folder: Path, step: int, number: signal.Signals) -> tuple[int, str]:
    """Start the command and signal it once a step's checkpoint exists; returns exit code and output."""
    process = start(config)
    try:
        while not (folder / f"checkpoint-{step:06d}").exists() and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(number)
        code = process.wait(120)
    finally:
        process.kill()
    return code, said_by(config).read_text()


def test_the_command_survives_sigterm_kill_9_and_ctrl_c(command: Any, tmp_path: Path) -> None:
    whole = command("straight", method="hypo", lora_r=4)
    assert start(whole).wait(200) == 0, said_by(whole).read_text()
    config, folder = command("parts", method="hypo", lora_r=4), tmp_path / "parts"

    code, said = signal_at(config, folder, 2, signal.SIGTERM)
    kept = checkpoints(folder)[0]
    assert code == 143
    assert f"Stopped by SIGTERM. The run is kept in {kept}; the same command continues from there." in said
    assert "Traceback" not in said

    code, _ = signal_at(config, folder, int(kept.name[-6:]) + 5, signal.SIGKILL)
    assert code == -signal.SIGKILL

    code, said = signal_at(config, folder, int(checkpoints(folder)[0].name[-6:]) + 5, signal.SIGINT)
    assert code == 130
    assert "Stopped by SIGINT. The run is kept in " in said

    assert start(config).wait(200) == 0, said_by(config).read_text()
    assert "info: Continuing from step" in said_by(config).read_text()
    assert_the_same(folder, tmp_path / "straight")
