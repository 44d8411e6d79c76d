"""`hypo runs export --merged` and `--gguf`: whole models of trained runs, written by a child process."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from app import model_export
from app.cli.main import run as hypo
from app.errors import Refused
from app.model_card import Form
from app.model_export import export_model
from app.store.db import write_session
from tests.app import arena
from tests.worker.conftest import Launcher
from tests.worker.test_run_models import train_all


@pytest.mark.parametrize("in_4bit", [False, True])
def test_a_run_that_started_from_a_run_is_exported_whole(
    launch_tiny: Launcher, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, in_4bit: bool
) -> None:
    [first] = launch_tiny(max_steps=1, load_in_4bit=in_4bit)
    train_all()
    [second] = launch_tiny(max_steps=1, model_name_or_path=f"run:{first}")
    train_all()
    output = tmp_path / "whole"
    assert hypo(["runs", "export", str(second), "--output", str(output), "--merged", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["output"] == str(output)
    assert told["checked"]["answers"] == 8
    assert told["checked"]["difference"] < 1e-4
    assert "A full set of weights of the merged model" in (output / "README.md").read_text()
    assert AutoModelForCausalLM.from_pretrained(output).config.model_type == "llama"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".whole")] == []
    with pytest.raises(Refused, match="exists and is not empty"):
        export_model(second, output, Form.GGUF)


def test_what_the_child_says_and_how_it_ends(
    home: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with write_session() as session:
        run, reward = arena.add_run(session).id, arena.add_run(session, "reward").id
        without = arena.add_run(session, steps=()).id
    monkeypatch.setattr("app.artifacts.fetch_policy", lambda path, folder: folder)

    def ending(code: int, said: str) -> None:
        def done(command: Any, **_: Any) -> SimpleNamespace:
            (Path(command[-1]).parent / "model").mkdir()
            return SimpleNamespace(returncode=code, stderr=said, stdout="")

        monkeypatch.setattr(model_export.subprocess, "run", done)

    ending(1, "noise\nThe model cannot be written as GGUF.\n")
    with pytest.raises(Refused, match=r"^The model cannot be written as GGUF\.$"):
        export_model(run, tmp_path / "out", Form.GGUF)
    ending(-9, "")
    with pytest.raises(Refused, match="stopped unexpectedly \\(exit status -9\\); nothing was kept"):
        export_model(run, tmp_path / "out", Form.MERGED)
    ending(1, "Traceback (most recent call last):\nValueError: no")
    with pytest.raises(Refused, match="It said: ValueError: no"):
        export_model(run, tmp_path / "out", Form.MERGED)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    with pytest.raises(Refused, match=r"trained a reward model, .*leave --gguf out"):
        export_model(reward, tmp_path / "out", Form.GGUF)
    with pytest.raises(Refused, match="has no checkpoint yet"):
        export_model(without, tmp_path / "out", Form.GGUF)
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="cannot be written to"):
        export_model(run, tmp_path / "file" / "out", Form.GGUF)


def test_one_form_at_a_time(home: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hypo(["runs", "export", "1", "--output", str(tmp_path / "out"), "--merged", "--gguf"]) == 1
    assert "give one of them" in capsys.readouterr().err
