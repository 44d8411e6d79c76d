"""A run as YAML text."""

import pytest

from app.errors import InvalidInput
from app.launch_methods import DEFAULT
from app.run_yaml import DEFAULTS, RunYaml, read_run_yaml
from app.ui.commands import to_yaml


def test_yaml_goes_there_and_back() -> None:
    config = {**DEFAULTS, "beta": 0.05, "learning_rate": 1.23456789e-05, "gradient_checkpointing": True}
    text = to_yaml(config, method="twins", dataset="pairs@1", name="Ünï: code #1")
    read = read_run_yaml(text)
    assert (read.method, read.dataset, read.name) == (list(DEFAULT), "pairs@1", "Ünï: code #1")
    assert {**read.values, "method": DEFAULTS["method"]} == config
    assert read.model == "demo"


def test_what_the_text_does_not_say_is_none() -> None:
    assert read_run_yaml("max_steps: 3") == RunYaml(values={"max_steps": 3})
    assert read_run_yaml("max_steps: 3").model is None


def test_numbers_are_read_where_numbers_belong() -> None:
    read = read_run_yaml("learning_rate: 1e-4\nmodel_name_or_path: 1e5\nname: 1e3\ndataset: '1'")
    assert read.values == {"learning_rate": 1e-4, "model_name_or_path": "1e5"}
    assert (read.name, read.dataset) == ("1e3", "1")
    assert read_run_yaml("dataset: 3").dataset == "3"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- 1",
        "beta: [1",
        "just words",
        "\x00",
        "beta: 2024-13-45",
        "beta: " + "[" * 3000,
        "bogus: 1",
        "1: 2",
        "method: grpo",
        "method: [dpo, grpo]",
        "method: {dpo: 1}",
        "method: 3",
        "dataset: [a]",
        "name: true",
    ],
)
def test_bad_yaml_is_told_in_a_sentence(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_run_yaml(text)
    assert "\n" not in str(caught.value)
