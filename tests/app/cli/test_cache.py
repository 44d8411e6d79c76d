"""`hypo cache` on files written by the engine."""

import io
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from app.cli.main import run
from app.settings import Settings
from hypo_engine.reference.scores import ReferenceCache
from tests.app.cli.test_commands import call, refuse


def made(folder: Path, letter: str, *, days_ago: float = 0, filled: int = 1) -> Path:
    cache = ReferenceCache(folder, letter * 64, 4, model=f"model-{letter}")
    cache.put(list(range(filled)), torch.ones(filled), torch.ones(filled))
    cache.save()
    path = folder / f"reference-{letter * 40}.safetensors"
    then = (datetime.now(UTC) - timedelta(days=days_ago)).timestamp()
    os.utime(path, (then, then))
    return path


def test_an_empty_cache_says_so(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "cache", "list") == []
    assert call(capsys, "cache", "clear") == {"removed": [], "kept_in_use": 0}
    assert run(["cache", "list"]) == 0
    assert "No cached reference log-probabilities yet" in capsys.readouterr().out
    assert run(["cache", "clear"]) == 0
    assert "nothing to delete" in capsys.readouterr().out


def test_files_are_listed_with_what_they_belong_to(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(settings.cache_dir, "a", days_ago=1)
    made(settings.cache_dir, "b", filled=3)
    second, first = call(capsys, "cache", "list")
    assert (second["model"], second["filled"]) == ("model-b", 3)
    assert first["model"] == "model-a"
    assert (first["pairs"], first["filled"], first["in_use"]) == (4, 1, False)
    assert first["bytes"] == path.stat().st_size
    assert run(["cache", "list"]) == 0
    table = capsys.readouterr().out
    assert "model-b  4      75%" in table
    assert "of at most 10.0 GiB" in table


def test_only_what_was_long_unused_is_cleared(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = made(settings.cache_dir, "a", days_ago=9), made(settings.cache_dir, "b", days_ago=2)
    cleared = call(capsys, "cache", "clear", "--older-than", "7")
    assert [file["path"] for file in cleared["removed"]] == [str(old)]
    assert (old.exists(), new.exists()) == (False, True)
    assert run(["cache", "clear", "--yes"]) == 0
    assert "Deleted 1 file, " in capsys.readouterr().out
    assert not new.exists()


def test_what_a_run_has_open_stays(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    path = made(settings.cache_dir, "a")
    open_cache = ReferenceCache(settings.cache_dir, "a" * 64, 4)
    assert call(capsys, "cache", "list")[0]["in_use"]
    assert call(capsys, "cache", "clear") == {"removed": [], "kept_in_use": 1}
    assert path.exists()
    del open_cache
    assert len(call(capsys, "cache", "clear")["removed"]) == 1


def test_another_folder_can_be_named(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path / "engine", "a")
    assert len(call(capsys, "cache", "list", "--folder", str(tmp_path / "engine"))) == 1


def test_no_is_no(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(settings.cache_dir, "a")
    for answer, stays in (("n\n", True), ("y\n", False)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        assert run(["cache", "clear"]) == (130 if stays else 0)
        assert "Delete 1 file" in capsys.readouterr().err
        assert path.exists() == stays


def test_mistakes_are_one_sentence(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["cache", "clear", "--older-than", "-1"], ["cache", "clear", "--older-than", "soon"]):
        assert len(refuse(capsys, *arguments).splitlines()) == 1
