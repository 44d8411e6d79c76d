"""Errors of a field use its label and our own sentences."""

from typing import Any

import pytest

from hypo_engine.config import TrainConfig, field_errors, parse_config
from hypo_engine.field_text import bounds


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("learning_rate", 2, "Learning rate (learning_rate) must be a number above 0 and at most 1, not 2."),
        ("learning_rate", "x", "Learning rate (learning_rate) must be a number above 0 and at most 1, "
         "not x."),
        ("kl_coef", float("nan"), "kl_coef must be a number from 0 to 10, not nan."),
        ("beta", None, "beta is empty; it must be a number above 0 and at most 10."),
        ("max_steps", 2.5, "Steps (max_steps) must be a whole number from -1 to 10,000,000, not 2.5."),
        ("label_smoothing", 0.5, "Label smoothing (label_smoothing) must be a number from 0 to below 0.5, "
         "not 0.5."),
        ("precision", "int3", "Precision must be auto, float32 or bfloat16, not int3."),
        ("gradient_checkpointing", "maybe", "Gradient checkpointing (gradient_checkpointing) must be true or "
         "false, not maybe."),
        ("model_name_or_path", "", "Base model (model_name_or_path) is empty; it must be text of "
    "1 to 500 characters."),
        ("bata", 1, "bata is not an option; `hypo runs launch --help` lists the names."),
    ],
)  # fmt: skip
def test_sentences(name: str, value: Any, sentence: str) -> None:
    assert field_errors({name: value}) == {name: sentence}


def test_no_field_lets_a_sentence_of_pydantic_through() -> None:
    for name in TrainConfig.model_fields:
        for value in (None, "", [], {}, float("nan"), float("inf"), -1e30, 1e30, "x" * 5000, object()):
            for sentence in field_errors({name: value}).values():
                assert "Input" not in sentence
                assert "should" not in sentence


def test_bounds_in_words() -> None:
    fields = TrainConfig.model_fields
    named = {name: bounds(fields[name]) for name in ("beta", "kl_coef", "label_smoothing", "precision")}
    assert named == {
        "beta": "above 0, at most 10",
        "kl_coef": "0 to 10",
        "label_smoothing": "from 0 to below 0.5",
        "precision": "",
    }


@pytest.mark.parametrize(("field", "label"), [("model_name_or_path", "Base model"), ("beta", "beta")])
@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_a_blank_is_told_as_empty(field: str, label: str, blank: str) -> None:
    said = field_errors({field: blank})[field]
    assert said.startswith(label)
    assert " is empty; it must be " in said


def test_spaces_around_a_name_are_not_part_of_it() -> None:
    assert parse_config({"model_name_or_path": " demo "}).model_name_or_path == "demo"


@pytest.mark.parametrize("field", ["beta", "max_steps"])
def test_true_is_no_number(field: str) -> None:
    assert "not True." in field_errors({field: True})[field]
    assert field_errors({"insist": True, "gradient_checkpointing": False}) == {}
