"""Headline numbers include their count or standard error."""

import math

import pytest

from hypo_engine.measures import ACCURACY, KL, MARGIN, digits_of, mean, pairs_left_out, share


@pytest.mark.parametrize(
    ("value", "count", "text"),
    [
        (11 / 12, 12, "92% (11/12)"),
        (0.5, 12, "50% (6/12)"),
        (0.5, 11, "50% (5.5/11)"),
        (832 / 1024, 1024, "81% (832/1,024)"),
        (0.0, 3, "0% (0/3)"),
        (2 / 3, None, "67% (count unknown)"),
    ],
)
def test_a_share_says_of_how_many(value: float, count: float | None, text: str) -> None:
    assert share(value, count) == text


@pytest.mark.parametrize(
    ("value", "stderr", "count", "text"),
    [
        (8.7963, 0.6321, 16, "8.8 ± 0.6"),
        (20.21, 2.54, 8, "20 ± 3"),
        (6.43, 1.13, 8, "6.4 ± 1.1"),
        (0.0123, 0.00411, 32, "0.012 ± 0.004"),
        (1234.5, 56.7, 32, "1,234 ± 57"),
        (0.0, 0.0, 16, "0 ± 0"),
        (-0.0004, 0.12, 16, "0.00 ± 0.12"),
        (1.5, None, 1, "1.50 (n = 1)"),
        (1.5, math.nan, None, "1.50 (error unknown)"),
    ],
)
def test_a_mean_is_rounded_to_what_its_error_leaves(
    value: float, stderr: float | None, count: float | None, text: str
) -> None:
    assert mean(value, stderr, count) == text


def test_digits_of_an_error() -> None:
    assert [digits_of(e) for e in (0.6, 0.13, 0.096, 1.3, 25.0, 3e-9, 0.0)] == [1, 2, 2, 1, 0, 6, 0]


def test_a_run_says_its_headlines() -> None:
    metrics = {
        "eval_rewards/accuracies": 11 / 12,
        "eval_rewards/margins": 0.25,
        "eval_rewards/margins_stderr": 0.05,
        "eval_num_pairs": 12.0,
        "eval_objective/kl": 8.8,
        "eval_objective/kl_stderr": 0.6,
    }
    assert [m.text(metrics) for m in (ACCURACY, MARGIN, KL)] == ["92% (11/12)", "0.25 ± 0.05", "8.8 ± 0.6"]
    assert KL.text({**metrics, "eval_num_prompts": 1}) == "– (n = 1)"
    assert [m.text({}) for m in (ACCURACY, MARGIN, KL)] == ["–", "–", "–"]


@pytest.mark.parametrize(
    ("refused", "long", "sentence"),
    [
        (0, 0, ""),
        (1, 0, "1 of 4 training pairs was left out: the chat template refuses the prompt."),
        (0, 3, "3 of 6 training pairs were left out: an answer is longer than the limit."),
        (
            1,
            2,
            "3 of 6 training pairs were left out: an answer is longer than the limit (2) or "
            "the chat template refuses the prompt (1).",
        ),
    ],
)
def test_pairs_that_were_left_out_are_told_with_the_reason(refused: int, long: int, sentence: str) -> None:
    counts = {"num_train_pairs": 3.0, "num_train_pairs_refused": refused, "num_train_pairs_too_long": long}
    assert pairs_left_out(counts) == sentence
