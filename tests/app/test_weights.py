"""Weights and margins of pairs in words."""

from app import weights
from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Account, Pair


def counted(*pairs: Pair) -> Account:
    account = Account()
    for pair in pairs:
        account.weigh(pair)
    return account


SOME = counted(Pair("q", "a", "b", 2.0), Pair("q", "a", "c", 5.0, 0.5), Pair("q", "c", "b"))


def test_launch_says_what_each_run_makes_of_them() -> None:
    dpo, rloo = TrainConfig(method="dpo"), TrainConfig(method="rloo", reward="length")
    said = "2 of 3 pairs have weights, of mean 3.5."
    assert weights.on_launch(SOME, 3, [dpo]) == [said]
    assert weights.on_launch(SOME, 3, [dpo, rloo]) == [f"{said} Not read by: RLOO."]
    assert weights.on_launch(SOME, 3, [TrainConfig(method="reward")]) == [
        said,
        "1 of 3 pairs has a margin of 0.5; the reward model subtracts it.",
    ]
    off = TrainConfig(method="reward", use_pair_weights=False)
    assert weights.on_launch(SOME, 3, [off]) == [f"{said} Not read by: Reward model."]
    assert weights.on_launch(Account(), 3, [dpo]) == []


def test_a_dataset_and_a_pair_show_what_they_have() -> None:
    assert weights.facts(SOME, 3) == {
        "Weights of pairs": "2 of 3, 3.5 on average",
        "Margins of pairs": "1 of 3, 0.5 on average",
    }
    assert weights.facts(Account(), 3) == {}
    assert weights.sentences(SOME) == ["2 pairs have weights, 3.5 on average.", "1 pair has a margin, 0.5."]
    assert weights.of_pair(Pair("q", "a", "b", 2.5, 0.125)) == ["weight 2.5", "margin 0.125"]
    assert weights.of_pair(Pair("q", "a", "b")) == []
