"""Charts and the doctor: pure functions on points."""

import json

import pytest

from app.ui import charts, doctor, theme
from app.ui.charts import Series


def test_one_point_is_seen() -> None:
    figure = charts.figure("loss", "Loss", [Series("HyPO", "hypo", [(1, 0.7)], smooth=True)])
    [trace] = figure["data"]
    assert "markers" in trace["mode"]


def test_a_value_that_is_no_number_is_a_gap_and_valid_json() -> None:
    figure = charts.figure(
        "loss", "Loss", [Series("HyPO", "hypo", [(1, float("nan")), (2, float("inf")), (3, 1.0)])]
    )
    assert figure["data"][0]["y"] == [None, None, 1.0]
    json.dumps(figure, allow_nan=False)


def test_methods_differ_by_more_than_colour() -> None:
    looks = [theme.role(method) for method in ("reference", "dpo", "hypo")]
    for trait in ("letter", "symbol", "dashes", "light", "dark"):
        assert len({getattr(look, trait) for look in looks}) == 3


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    points = [(float(i), float(i)) for i in range(10_001)]
    thin = charts.thin(points, 1200)
    assert len(thin) <= 1202
    assert (thin[0], thin[-1]) == (points[0], points[-1])


def test_smoothing_starts_at_the_first_value() -> None:
    assert charts.smoothed([2.0, 2.0, None, 2.0]) == pytest.approx([2.0, 2.0, None, 2.0])


def line(start: float, end: float, count: int = 20) -> list[tuple[float, float]]:
    return [(i, start + (end - start) * i / (count - 1)) for i in range(count)]


def levels(curves: doctor.Curves) -> dict[str, str]:
    return {finding.text: finding.level for finding in doctor.examine(curves)}


def test_chosen_falling_less_than_rejected_is_normal() -> None:
    found = levels({"logps/chosen": line(-100, -105), "logps/rejected": line(-100, -130)})
    assert list(found.values()) == ["info"]
    assert "normal" in next(iter(found))


@pytest.mark.parametrize(
    "curves",
    [
        {"logps/chosen": line(-100, -130), "logps/rejected": line(-100, -105)},
        {"logps/chosen": line(-100, -150), "logps/rejected": line(-100, -190)},
        {"loss": line(0.69, 1.4)},
        {"loss": [*line(0.69, 0.6), (21, float("nan"))]},
        {"eval_objective/kl": [(0, 0.0), (10, 3.0), (20, 30.0)]},
        {"completions/mean_length": line(40, 80)},
        {"completions/clipped_ratio": line(0.1, 0.9)},
        {"rewards/margins": line(0, 2), "eval_rewards/accuracies": [(0, 0.5), (20, 0.5)]},
        {
            "rewards/margins": line(0, 2),
            "rewards/accuracies": line(0.5, 1.0),
            "eval_rewards/accuracies": [(0, 0.5), (20, 0.6)],
        },
    ],
)
def test_what_turns_bad_is_told(curves: doctor.Curves) -> None:
    assert doctor.examine(curves)[0].level == "warning"


def test_few_points_say_nothing() -> None:
    assert doctor.examine({"loss": [(1, 0.7)], "logps/chosen": [(1, -3.0)]}) == []


def test_the_start_counts_as_a_coin_toss() -> None:
    found = levels({"rewards/margins": line(0, 2), "eval_rewards/accuracies": [(0, 0.0), (20, 0.51)]})
    assert any("surer, not better" in text for text in found)
    found = levels({"rewards/margins": line(0, 2), "eval_rewards/accuracies": [(0, 0.0), (20, 0.82)]})
    assert found["Held-out accuracy is 82%; a coin toss gives 50%."] == "good"
