"""Charts and findings: pure functions on points."""

import json

import pytest

from app.store.enums import RunStatus
from app.store.models import Run
from app.ui import charts, looks, theme, training
from app.ui.charts import Series
from app.ui.run import findings


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
    roles = [theme.role(method) for method in ("reference", "dpo", "hypo")]
    for trait in ("letter", "symbol", "dashes", "light", "dark"):
        assert len({getattr(one, trait) for one in roles}) == 3


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    points = [(float(i), float(i)) for i in range(10_001)]
    thin = charts.thin(points, 1200)
    assert len(thin) <= 1202
    assert (thin[0], thin[-1]) == (points[0], points[-1])


def test_a_run_has_one_look_wherever_it_appears() -> None:
    """It depends on the run's number alone, and runs launched in turn with other methods differ."""
    for stride in range(1, looks.LOOKS):
        seen = {looks.look_of(1 + stride * n) for n in range(looks.LOOKS)}
        assert len(seen) == looks.LOOKS
    assert looks.look_of(3) == looks.look_of(3 + looks.LOOKS)
    for method in theme.ROLES:
        every = range(looks.LOOKS)
        assert len({looks.dash_of(method, look) for look in every}) == looks.LOOKS
        assert len({looks.symbol_of(method, look) for look in every}) == looks.LOOKS
        assert all(looks.stroke_of(method, look) is not None for look in every)
    for trait in (looks.dash_of, looks.symbol_of):
        assert trait("dpo", looks.look_of(1)) != trait("hypo", looks.look_of(2)), "twins"
    alone = training.figures([run_of("dpo", RunStatus.FINISHED)], {(1, "loss"): [(1.0, 0.7)]})[0]
    beside = training.figures(
        [Run(id=9, name="b", method="dpo", status=RunStatus.FINISHED), run_of("dpo", RunStatus.FINISHED)],
        {(1, "loss"): [(1.0, 0.7)], (9, "loss"): [(1.0, 0.7)]},
    )[0]
    assert alone["data"][0] == next(trace for trace in beside["data"] if trace["meta"]["run"] == 1)
    assert beside["file"] == "run-9-1-loss"
    assert "run=9&run=1&name=loss" in beside["csv"]


@pytest.mark.parametrize("run", range(1, looks.LOOKS + 1))
@pytest.mark.parametrize("method", theme.ROLES)
def test_the_letter_of_a_badge_can_be_read(method: str, run: int) -> None:
    shades, style = theme.ROLES[method].light, looks.style_of(method, run)
    ink = "#131514" if "--hy-run-ink:#131514" in style else "#ffffff"
    shade = shades[looks.look_of(run) % len(shades)]
    assert f"--hy-{looks.colour(method, looks.look_of(run))[1:]})" in style
    assert contrast(ink, shade) >= 4.5


@pytest.mark.parametrize("method", theme.ROLES)
def test_the_letter_of_a_badge_can_be_read_in_the_dark(method: str) -> None:
    assert all(contrast("#131514", shade) >= 4.5 for shade in theme.ROLES[method].dark)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, as WCAG 2.2 defines it."""
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_a_legend_says_which_runs_look_alike() -> None:
    apart = charts.legend([("a", "dpo", 1), ("b", "dpo", 2)])
    assert 'data-curve="2"' in apart
    assert "look alike" not in apart
    assert "look alike" in charts.legend([("a", "dpo", 1), ("b", "dpo", 1 + looks.LOOKS)])


def run_of(method: str, status: RunStatus) -> Run:
    return Run(id=1, name="run", method=method, status=status)


def shown(method: str, status: RunStatus, points: training.Points) -> set[str]:
    return {figure["key"] for figure in training.figures([run_of(method, status)], points)}


def test_charts_that_nothing_will_fill_are_left_out() -> None:
    points: training.Points = {(1, "loss"): [(1.0, 0.7)], (1, "step_time"): [(1.0, 2.0)]}
    waiting = {"loss", "margins", "accuracies", "chosen", "rejected", "grad", "time"}
    assert shown("dpo", RunStatus.RUNNING, points) == waiting
    assert shown("hypo", RunStatus.RUNNING, points) == waiting | {"kl", "length"}
    assert shown("dpo", RunStatus.FINISHED, points) == {"loss", "time"}
    measured = {**points, (1, "eval_objective/kl"): [(0.0, 0.0)]}
    assert shown("dpo", RunStatus.RUNNING, measured) == waiting | {"kl"}


def line(start: float, end: float, count: int = 20) -> list[tuple[float, float]]:
    return [(i, start + (end - start) * i / (count - 1)) for i in range(count)]


N = {"eval_num_pairs": 32.0, "eval_num_prompts": 16.0}


def curves_of(**metrics: list[tuple[int, float, float]]) -> findings.Curves:
    """Curves of (step, mean, standard error), with an evaluation's counts; `__` in a name is a slash."""
    found: dict[str, list[tuple[float, float]]] = {}
    for name, points in metrics.items():
        metric = name.replace("__", "/")
        found[metric] = [(step, value) for step, value, _ in points]
        found[f"{metric}_stderr"] = [(step, error) for step, _, error in points]
        for count, n in N.items():
            found[count] = [(step, n) for step, _, _ in points]
    return found


def examined(curves: findings.Curves, kept: tuple[int, ...] = ()) -> dict[str, str]:
    return {finding.text: finding.level for finding in findings.examine(curves, beta=0.1, kept=kept)}


def rewards(chosen: float, rejected: float, error: float) -> findings.Curves:
    return curves_of(
        eval_rewards__chosen=[(0, 0, 0), (20, chosen, error)],
        eval_rewards__rejected=[(0, 0, 0), (20, rejected, error)],
        eval_rewards__margins=[(0, 0, 0), (20, chosen - rejected, error)],
    )


def test_training_batches_alone_say_nothing_of_the_labels() -> None:
    """Batches contain different pairs, so their log-probabilities differ without any learning."""
    batches = {
        "logps/chosen": line(-100, -150),
        "logps/rejected": line(-100, -105),
        "rewards/margins": line(0, 2),
        "rewards/accuracies": line(0.5, 1.0),
        "loss": line(0.69, 1.4),
        "completions/mean_length": line(40, 80),
    }
    assert examined(batches) == {}
    assert examined({**batches, **rewards(0.0012, 0.0, 0.0004)}) == {
        "Against the reference, on 32 held-out pairs at step 20: chosen answers +0.012 ± 0.004, "
        "rejected ones +0.000 ± 0.004 nats.": "good"
    }


@pytest.mark.parametrize(
    ("chosen", "rejected", "error", "level", "words"),
    [
        (-0.5, -3.0, 0.1, "info", "chosen answers -5.0 ± 1.0, rejected ones -30.0 ± 1.0 nats. Both may fall"),
        (0.5, -0.5, 0.1, "good", "chosen answers +5.0 ± 1.0"),
        (-3.0, -0.5, 0.1, "warning", "the opposite of the labels"),
        (-0.1, 0.0, 0.1, "info", "within its error of zero"),
        (0.1, 0.0, 0.1, "info", "within its error of zero"),
    ],
)
def test_chosen_and_rejected_are_read_beyond_their_error(
    chosen: float, rejected: float, error: float, level: str, words: str
) -> None:
    [(text, found)] = examined(rewards(chosen, rejected, error)).items()
    assert found == level
    assert words in text
    assert ("opposite" in text) == (level == "warning")


def accuracy(*points: tuple[float, float], n: float = 12.0) -> findings.Curves:
    return {"eval_rewards/accuracies": points, "eval_num_pairs": [(step, n) for step, _ in points]}


@pytest.mark.parametrize(
    ("curves", "level", "text"),
    [
        (accuracy((0, 0.5), (20, 11 / 12)), "good", "Held-out accuracy is 92% (11/12) at step 20; a coin"),
        (accuracy((0, 0.5), (20, 8 / 12)), "info", "67% (8/12) at step 20; with this many pairs that cannot"),
        (accuracy((0, 0.5), (20, 0.6), n=1000), "good", "60% (600/1,000) at step 20; a coin toss"),
        (accuracy((0, 0.5), (20, 0.3), n=1000), "warning", "30% (300/1,000) at step 20; a coin toss"),
    ],
)
def test_accuracy_is_told_with_its_count(curves: findings.Curves, level: str, text: str) -> None:
    [(said, found)] = examined(curves).items()
    assert found == level
    assert text in said


def test_step_zero_is_no_evaluation_of_the_run() -> None:
    assert examined(accuracy((0, 0.5))) == {}
    assert examined({name: points[:1] for name, points in rewards(3, 0, 0.1).items()}) == {}
    # the loss at step 0 is log 2 by construction, so step 0 is never the better checkpoint
    assert examined(curves_of(eval_loss=[(0, 0.693, 0.0), (20, 0.9, 0.02)])) == {}


def test_a_loss_that_rose_names_only_a_checkpoint_that_was_kept() -> None:
    rose = curves_of(eval_loss=[(0, 0.693, 0), (10, 0.5, 0.02), (20, 0.8, 0.03)])
    [(text, level)] = examined(rose, kept=(20,)).items()
    assert level == "warning"
    assert "0.50 ± 0.02 at step 10 to 0.80 ± 0.03 at step 20" in text
    assert "checkpoint" not in text
    [(text, _)] = examined(rose, kept=(10, 20)).items()
    assert "The checkpoint of step 10 was kept" in text
    assert examined(curves_of(eval_loss=[(10, 0.5, 0.2), (20, 0.8, 0.3)])) == {}


def test_the_kl_is_told_with_its_error_and_warned_of_beyond_it() -> None:
    near = examined(curves_of(eval_objective__kl=[(0, 0, 0), (10, 3.0, 0.5), (20, 8.8, 0.6)]))
    assert near == {"The KL to the reference is 8.8 ± 0.6 nats a response (16 responses at step 20).": "info"}
    [(text, level)] = examined(curves_of(eval_objective__kl=[(10, 3.0, 0.5), (20, 30.0, 3.0)])).items()
    assert level == "warning"
    assert "30 ± 3 nats a response (16 responses at step 20), up from 3.0 ± 0.5 at step 10" in text
    [level] = examined(curves_of(eval_objective__kl=[(20, 30.0, 9.0)])).values()
    assert level == "info"


def test_lengths_are_those_of_the_same_prompts() -> None:
    length = "eval_completions/mean_length"
    found = curves_of(**{length.replace("/", "__"): [(0, 40, 2), (10, 41, 2), (20, 80, 4)]})
    [(text, level)] = examined(found).items()
    assert level == "warning"
    assert "100% longer: 40 ± 2 tokens before training, 80 ± 4 at step 20" in text
    assert examined(curves_of(**{length.replace("/", "__"): [(10, 40, 20), (20, 80, 30)]})) == {}


def test_what_was_cut_says_of_which_steps() -> None:
    online = [(step, 0.1 if step < 16 else 0.9) for step in range(1, 21)]
    [text] = examined({"completions/clipped_ratio": online})
    assert text.startswith("90% of the responses sampled in steps 17 to 20 were cut at the length limit")
    held_out = {"eval_completions/clipped_ratio": [(0, 1.0), (20, 0.75)], "eval_num_prompts": [(20, 16.0)]}
    [text] = examined({"completions/clipped_ratio": online, **held_out})
    assert text.startswith("75% (12/16) of the responses to held-out prompts at step 20 were cut")
    assert examined({"completions/clipped_ratio": [(20, 0.2)]}) == {}


def test_every_metric_that_is_read_is_loaded() -> None:
    counts = {"eval_num_pairs", "eval_num_prompts"}
    read = {*rewards(1, 0, 1), *curves_of(eval_loss=[], eval_objective__kl=[]), *counts}
    assert read <= set(findings.EXAMINED)


def test_few_points_say_nothing() -> None:
    assert examined({"loss": [(1, 0.7)], "logps/chosen": [(1, -3.0)], "eval_loss": [(20, 0.4)]}) == {}
