"""The benchmark of campaigns runs on a tiny model and prints its tables."""

from pathlib import Path

import pytest

from benchmarks.campaigns import main
from tests.tiny_model import write_tiny_model


def test_batches_and_contenders_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_tiny_model(tmp_path / "tiny")
    assert main(["--quick", "--model", str(model)]) == 0
    printed = capsys.readouterr().out
    assert "6 prompts, 3 contenders, 4 tokens an answer" in printed
    assert "| 9 | 2 |" in printed
    assert [line.split("|")[1].strip() for line in printed.splitlines() if line.count("|") == 4][2:] == [
        "1",
        "3",
        "6",
    ]
    assert "| 1.00 |" in printed
