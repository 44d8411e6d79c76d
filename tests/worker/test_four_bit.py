"""Runs on 4-bit weights, served and scored on their own base, with bitsandbytes on a tiny model."""

import math
from collections import Counter

import pytest

from app import answers
from hypo_engine.generate import load_served
from tests.worker.conftest import Launcher, answer_all
from tests.worker.test_answering import SHORT
from worker import serving
from worker.training import train_next


def train_all() -> None:
    while train_next(worker="here:1:train"):
        continue


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Counter[bool]:
    """How often a base model was loaded for answers, in 4 bits or not."""
    counted = Counter[bool]()

    def counting(*given: object, in_4bit: bool, **named: object) -> object:
        counted[in_4bit] += 1
        return load_served(*given, in_4bit=in_4bit, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(serving, "load_served", counting)
    return counted


def test_a_4_bit_run_and_a_plain_one_do_not_share_a_base(
    launch_tiny: Launcher, loaded: Counter[bool]
) -> None:
    (first,), (second,) = launch_tiny("dpo", load_in_4bit=True), launch_tiny("dpo")
    train_all()
    alone = answers.begin(answers.contenders_of_runs([first], with_reference=True), "Go.", decoding=SHORT)
    answer_all()
    assert loaded == {True: 1}  # the reference beside it is what it was trained from
    both = answers.begin(
        answers.contenders_of_runs([first, second], with_reference=True), "Go.", decoding=SHORT
    )
    answer_all()
    assert loaded[False] == 1
    names = [
        [contender.name for contender in answers.look(one.id).contenders if contender.method == "reference"]
        for one in (alone, both)
    ]
    assert names == [["Reference (4-bit)"], ["Reference"]]
    for comparison in (alone, both):
        found = answers.look(comparison.id)
        for contender, answer in zip(found.contenders, found.answers, strict=True):
            assert answer.error is None
            same = math.isclose(answer.policy_logp or 0, answer.reference_logp or 0, abs_tol=1e-4)
            assert same == (contender.method == "reference")
