"""The comparison of precisions over whole runs."""

import json
from pathlib import Path

import pytest

from benchmarks import curves
from hypo_engine.config import Method, Precision
from tests.tiny_model import write_tiny_model


def test_bfloat16_is_held_to_the_spread_of_float32s_seeds() -> None:
    exact = [{(0, "eval_loss"): 0.69, (5, "eval_loss"): value} for value in (0.4, 0.5, 0.6)]
    near, far = [{(5, "eval_loss"): 0.65}], [{(5, "eval_loss"): 0.8}]
    [point] = curves.compare(Method.DPO, exact, near)
    assert (point.low, point.mean, point.high, point.half) == (0.4, pytest.approx(0.5), 0.6, 0.65)
    assert point.inside
    [other] = curves.compare(Method.DPO, exact, far)
    assert not other.inside
    said = curves.report([point, other])
    assert "| DPO | eval_loss | 5 | 0.500 | 0.400 to 0.600 | 0.800 | no |" in said
    assert said.endswith("1 of 2 points lie within the spread of float32's seeds.")


def test_both_methods_are_trained_in_both_precisions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_tiny_model(tmp_path / "tiny")
    rows = [{"prompt": f"Say {n}.", "chosen": f" yes {n}", "rejected": f" no {n}"} for n in range(20)]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    kept = tmp_path / "kept.jsonl"
    given = ["--model", str(model), "--pairs", str(file), "--steps", "2", "--seeds", "1", "--json", str(kept)]
    assert curves.main(given) == 0
    printed = capsys.readouterr()
    assert printed.err.count("done") == 4
    for method in ("DPO", "HyPO"):
        for metric in curves.METRICS:
            assert f"| {method} | {metric} | 2 |" in printed.out
    assert " of 16 points lie within" in printed.out
    kept.write_text("".join(kept.read_text().splitlines(keepends=True)[:3]))
    assert curves.main(given) == 0
    again = capsys.readouterr()
    done = [line for line in again.err.splitlines() if line.endswith("done")]
    assert done == ["HyPO, seed 0, bfloat16: done"], "the others were kept"
    assert again.out == printed.out
    other = curves.Finished(kept, pairs=str(file), model=str(model), steps=3)
    assert other.of(Method.DPO, Precision.FLOAT32, 0) is None
