"""Sweeps: how they are written, which runs they are, and what is refused."""

from typing import Any

import pytest

from app import sweeps
from app.errors import InvalidInput
from app.launch_plan import plan
from hypo_engine.config import Method


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("beta=0.03, 0.1,0.1", [0.03, 0.1]),
        ("learning_rate=1e-5..1e-3:3", [1e-5, 1e-4, 1e-3]),
        ("kl_coef=0..1:3", [0.0, 0.5, 1.0]),
        ("lora_r=4..64:3", [4, 16, 64]),
        ("seed=1..16:16", list(range(1, 17))),
        ("loss_type=sigmoid,ipo", ["sigmoid", "ipo"]),
        ("beta=0.10000001,0.10000002", [0.10000001, 0.10000002]),
        ("precompute_ref_log_probs=true,false", [True, False]),
    ],
)
def test_values_are_listed_or_a_range(text: str, values: list[Any]) -> None:
    name = text.partition("=")[0]
    assert sweeps.read_sweep([text]) == {name: values}
    assert sweeps.read_sweep(sweeps.written({name: values})) == {name: values}


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["beta"], "'beta' is not of the form NAME=VALUES; write beta=0.03,0.1 or"),
        (["beta=1", "beta=2"], "beta is there twice"),
        (["betta=1"], "there is no setting named betta"),
        (["method=dpo,hypo"], "method cannot be swept"),
        (["beta=1,,2"], "beta has an empty value"),
        (["beta=[1"], "beta: the value '[1' cannot be read."),
        (["beta=2..1:3"], "beta: a range needs LOW below HIGH"),
        (["beta=1..2:99"], "99 values are too many"),
        (["beta=1e-320..1:3"], "beta: a range needs LOW below HIGH"),
        (["beta=[1]"], "beta has a value that is neither a number nor a text"),
        (["beta=&a [*a]"], "beta has a value that is neither a number nor a text"),
        (["reward=vader,train"], "reward can be train for all runs only"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(texts: list[str], why: str) -> None:
    with pytest.raises(InvalidInput) as told:
        sweeps.read_sweep(texts)
    assert str(told.value).startswith("sweep: ")
    assert why in str(told.value)
    assert told.value.field == "sweep"


def test_random_combinations_are_some_of_the_grid_and_repeat_with_the_seed() -> None:
    sweep = {"beta": [0.1, 0.2, 0.3], "seed": list(range(20))}
    grid = [{"beta": beta, "seed": seed} for beta in sweep["beta"] for seed in sweep["seed"]]
    drawn = sweeps.combinations(sweep, trials=5, seed=1)
    assert [one for one in grid if one in drawn] == drawn
    assert len(drawn) == 5
    assert drawn == sweeps.combinations(sweep, trials=5, seed=1)
    assert drawn != sweeps.combinations(sweep, trials=5, seed=2)
    with pytest.raises(InvalidInput, match="60 combinations are too many, at most 32"):
        sweeps.combinations(sweep)
    assert sweeps.combinations({}) == [{}]


def titles(methods: list[Method], values: dict[str, Any], sweep: dict[str, list[Any]]) -> list[str]:
    return [one.title for one in plan(methods, values, sweep)]


def test_a_run_is_trained_once_for_each_combination_that_its_method_reads() -> None:
    sweep = {"beta": [0.1, 0.2], "kl_coef": [0.0, 0.01]}
    assert titles([Method.DPO, Method.HYPO], {}, sweep) == [
        "DPO · beta 0.1",
        "HyPO · beta 0.1, kl_coef 0",
        "HyPO · beta 0.1, kl_coef 0.01",
        "DPO · beta 0.2",
        "HyPO · beta 0.2, kl_coef 0",
        "HyPO · beta 0.2, kl_coef 0.01",
    ]
    configs = [one.config for one in plan([Method.HYPO], {"beta": 5}, sweep)]
    assert [(config.beta, config.kl_coef) for config in configs][:2] == [(0.1, 0.0), (0.1, 0.01)]


def test_a_reward_model_of_a_sweep_is_trained_once_and_first() -> None:
    planned = plan([Method.RLOO], {"reward": "train", "learning_rate": 1e-4}, {"learning_rate": [1e-3, 1e-2]})
    assert [one.title for one in planned] == [
        "Reward model",
        "RLOO · learning_rate 0.001",
        "RLOO · learning_rate 0.01",
    ]
    assert [one.config.learning_rate for one in planned] == [1e-4, 1e-3, 1e-2]


def test_a_bad_combination_names_its_field() -> None:
    with pytest.raises(InvalidInput, match="beta") as told:
        plan([Method.DPO], {}, {"beta": [0.1, -1]})
    assert told.value.field == "beta"
    with pytest.raises(InvalidInput, match="sweep: kl_coef is not read by DPO or SFT"):
        plan([Method.DPO, Method.SFT], {}, {"kl_coef": [0.1, 0.2]})
    with pytest.raises(InvalidInput, match="60 runs are too many"):
        plan([Method.DPO, Method.HYPO], {}, {"seed": list(range(30))})
