import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hypo_engine.__main__ import main, split_pairs
from hypo_engine.formats import Pair


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
        ({"beta": -1}, "beta: "),
        ({"bata": 0.1}, "bata: there is no such option"),
        ({"dataset": None}, "does not say dataset"),
        ({"output_dir": None}, "does not say output_dir"),
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
    assert split_pairs(pairs, 0.0) == (pairs, [])


def test_a_mistake_costs_no_import_of_torch(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("beta: -1\ndataset: x\noutput_dir: y\n")
    script = (
        "import sys; from hypo_engine.__main__ import main; "
        f"code = main([{str(tmp_path / 'c.yaml')!r}]); sys.exit(code if 'torch' not in sys.modules else 9)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, capture_output=True).returncode == 1
