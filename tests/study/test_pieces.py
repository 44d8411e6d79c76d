"""The parts of the study with known answers: prompts, gold reward, regimes, labels, comparisons, files."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hypo_engine.config import parse_config
from hypo_engine.data.formats import prompt_fraction
from study.compare import Curve, bootstrap, drop, frontier, kl_gap, overvalued
from study.gold import gold, is_word, repetition
from study.measure import distinct2, read_result, write_result
from study.plan import Plan, Setting, rates
from study.prompts import held_out_share, is_held_out, questions, some
from study.regimes import Pool, Regime, Sampled, TooFewPairs, chosen_probability, is_narrow, make_pairs
from study.verdicts import judge
from study.writer import answer

EQUAL = np.full(40, 1 / 40)


def test_no_two_of_the_500_prompts_are_alike_and_a_hundred_are_held_out() -> None:
    every = questions()
    assert len({one.text.lower() for one in every}) == len(every) == 500
    assert all(one.topic.lower() in one.text.lower() for one in every)
    share = held_out_share(every, 100)
    assert sum(is_held_out(one, share) for one in every) == 100
    assert all((prompt_fraction(one.turns) < share) is is_held_out(one, share) for one in every)


def test_every_planned_run_is_known_again_by_its_configuration() -> None:
    """Regression: RLOO and PPO have no configuration without a reward."""
    plan = Plan()
    planned = list(plan.runs())
    assert len({run.name for run in planned}) == len(planned) == 55
    assert {run.setting.family for run in planned} >= {"DPO", "HyPO", "IPO", "RLOO", "PPO"}
    for run in planned:
        reward = "" if run.setting is plan.proxy else "run:7"
        stored = parse_config({**plan.config(run), "reward": reward}).model_dump(mode="json")
        assert plan.has(run, stored), run.name
        assert not plan.has(run, {**stored, "max_steps": 7})


# --- the gold reward -----------------------------------------------------------------------------

GOOD = "The sea is a wonderful place, and I love to swim in it."


@pytest.mark.parametrize(
    ("worse", "part"),
    [
        ("The sea is a terrible place, and I hate to swim in it.", "sentiment"),
        ("The sea is a wonderful place, and I love to swim in", "no_end"),
        ("The hill is a wonderful place, and I love to walk on it.", "off_topic"),
        ("The sea is great, the sea is great, the sea is great, the sea is great.", "repetition"),
        ("sea wonderful love happy beautiful great lovely superb delight.", "no_language"),
        ("The sea is wonderfulXylo qwzx lov3 and th&e I it.", "no_language"),
    ],
)
def test_the_gold_reward_falls_with_each_fault(worse: str, part: str) -> None:
    better, found = gold("the sea", GOOD), gold("the sea", worse)
    assert found.total < better.total
    assert abs(getattr(found, part) - getattr(better, part)) > 0.2


def test_what_a_sentiment_score_loves_most_is_worth_less_than_a_sober_sentence() -> None:
    salad = "love happy great wonderful " * 6
    assert gold("the sea", salad).sentiment > 0.9
    assert gold("the sea", salad).total < gold("the sea", "The sea is cold in March.").total - 1


def test_an_empty_answer_has_every_penalty() -> None:
    assert gold("the sea", "  ").total == -4.0
    assert gold("the sea", "...").total == -4.0


def test_fluent_sentences_have_no_penalty_but_for_their_sentiment() -> None:
    for text in (GOOD, "It's 3 o'clock on Monday, and the sea-side café isn't open.".replace("é", "e")):
        found = gold("the sea", text)
        assert found.total == pytest.approx(found.sentiment)


def test_repetition_is_the_share_of_pairs_that_occurred_before() -> None:
    assert repetition(["a", "b", "c", "d"]) == 0
    assert repetition(["a", "a", "a", "a", "a"]) == pytest.approx(3 / 4)
    assert [is_word(word) for word in ("don't", "NASA", "12%", "sEa", "x1y", "a" * 19)] == [True] * 3 + [
        False
    ] * 3


# --- regimes and labels --------------------------------------------------------------------------


def a_pool(per_prompt: int = 10) -> Pool:
    """Answers of which every other one is short."""
    short, long = (
        "It is nice {}.",
        "It is said that {} is one of the many things that a person might like or not.",
    )
    return {
        one.text: [
            Sampled((short, long)[n % 2].format(f"{one.topic} {n}"), n % 7 > 0) for n in range(per_prompt)
        ]
        for one in some(100)
    }


def pairs_of(regime: Regime, training: int = 90) -> list[tuple[str, str, str]]:
    share = held_out_share(some(100), 20)
    made = make_pairs(regime, some(100), a_pool(), held_out=share, training=training)
    return [(str(pair.prompt[-1]["content"]), pair.chosen, pair.rejected) for pair in made]  # type: ignore[index]


def test_regimes_have_equal_sizes_and_train_on_no_held_out_prompt() -> None:
    share = held_out_share(some(100), 20)
    held = {one.text for one in some(100) if is_held_out(one, share)}
    for regime in Regime:
        prompts = Counter(prompt for prompt, _, _ in pairs_of(regime))
        trained = {prompt: count for prompt, count in prompts.items() if prompt not in held}
        assert sum(trained.values()) == 90
        assert {prompt: prompts[prompt] for prompt in held} == dict.fromkeys(held, 1)


def test_the_partial_regime_is_narrow_and_the_full_one_is_not() -> None:
    share = held_out_share(some(100), 20)
    held = {one.text for one in some(100) if is_held_out(one, share)}

    def narrow(regime: Regime) -> float:
        found = [
            is_narrow(text) for prompt, *texts in pairs_of(regime) if prompt not in held for text in texts
        ]
        return sum(found) / len(found)

    assert narrow(Regime.PARTIAL) == 1
    assert 0.2 < narrow(Regime.FULL) < 0.8


def test_the_other_writers_answers_are_not_of_the_pool() -> None:
    own = {sampled.text for answers in a_pool().values() for sampled in answers}
    assert not own & {text for _, *texts in pairs_of(Regime.OFF_POLICY) for text in texts}
    golds = [gold("the sea", answer("the sea", random.Random(n))).total for n in range(60)]
    assert max(golds) > 0.5
    assert min(golds) < -0.8


def test_too_small_a_pool_is_refused() -> None:
    with pytest.raises(TooFewPairs, match="partial pairs, and 500 are needed"):
        pairs_of(Regime.PARTIAL, training=500)


def test_labels_are_wrong_as_often_as_the_sigmoid_says() -> None:
    """Two answers with known gold rewards, labelled under many seeds."""
    [one] = some(1)
    texts = (f"I love {one.topic} and it is good.", f"I like {one.topic} and it is so.")
    better, worse = (gold(one.topic, text).total for text in texts)
    pool = {one.text: [Sampled(text, True) for text in texts]}
    likely = chosen_probability(better, worse)
    assert 0.55 < likely < 0.95
    chosen = [
        make_pairs(Regime.FULL, [one], pool, held_out=0.0, training=1, seed=seed)[0].chosen
        for seed in range(800)
    ]
    assert chosen.count(texts[0]) / 800 == pytest.approx(likely, abs=4 * (likely * (1 - likely) / 800) ** 0.5)


# --- comparisons ---------------------------------------------------------------------------------


def a_curve(family: str, gold_by_step: list[float], kl_by_step: list[float], *, seed: int = 0) -> Curve:
    """Three seeds and 40 prompts around the given means."""
    draw = np.random.default_rng(seed)
    shape = (3, len(gold_by_step), 40)
    golds = np.array(gold_by_step)[None, :, None] + 0.2 * draw.normal(size=shape)
    kls = np.array(kl_by_step)[None, :, None] * (1 + 0.2 * draw.normal(size=shape))
    return Curve(family, family, [1, 2, 3], list(range(len(gold_by_step))), golds, kls)


def test_a_planted_gap_is_found_and_none_is_not() -> None:
    dpo = [a_curve("DPO", [0, 0.5, 1.0], [0, 8, 20], seed=1)]
    near = [a_curve("HyPO", [0, 0.5, 1.0], [0, 2, 5], seed=2)]
    same = [a_curve("HyPO", [0, 0.5, 1.0], [0, 8, 20], seed=3)]
    found = bootstrap(lambda weights: kl_gap(dpo, near, weights), 40)
    assert found.verdict == "supported"
    assert 4 < found.value < 12
    assert bootstrap(lambda weights: kl_gap(near, dpo, weights), 40).verdict == "not_supported"
    assert bootstrap(lambda weights: kl_gap(dpo, same, weights), 40).verdict == "undecided"


def test_the_frontier_keeps_what_no_point_with_less_kl_reaches() -> None:
    flat = Curve("a", "DPO", [1], [0, 1, 2, 3], np.ones((1, 4, 40)), np.ones((1, 4, 40)))
    flat.gold[0] *= np.array([0.0, 0.5, 0.4, 0.9])[:, None]
    flat.kl[0] *= np.array([0.0, 2.0, 3.0, 4.0])[:, None]
    kl, golds = frontier([flat], EQUAL)
    assert kl.tolist() == pytest.approx([0, 2, 4])
    assert golds.tolist() == pytest.approx([0, 0.5, 0.9])
    worse = Curve("b", "HyPO", [1], [0, 1], np.zeros((1, 2, 40)) - [[[0], [1]]], np.ones((1, 2, 40)))
    assert np.isnan(kl_gap([flat], [worse], EQUAL))
    assert bootstrap(lambda weights: kl_gap([flat], [worse], weights), 40).verdict == "undecided"


def test_a_fall_from_a_peak_is_found_and_noise_is_none() -> None:
    bent = [a_curve("DPO", [0, 0.6, 1.0, 0.3], [0, 5, 10, 40], seed=4)]
    rising = [a_curve("DPO", [0, 0.6, 1.0, 1.4], [0, 5, 10, 40], seed=5)]
    assert bootstrap(lambda weights: drop(bent, weights), 40).verdict == "supported"
    assert drop(rising, EQUAL) == 0
    level = [drop([a_curve("DPO", [0] * 8, list(range(8)), seed=seed)], EQUAL) for seed in range(200)]
    assert abs(np.mean(level)) < 0.02  # the best of eight equal points would be 0.05 above the last


def test_a_proxy_that_rises_alone_is_overvalued() -> None:
    draw = np.random.default_rng(0)
    start = draw.normal(size=(2, 1, 40))
    proxy = np.concatenate([5 * start, 5 * start + 10], axis=1)  # two deviations
    stays = np.concatenate([start, start], axis=1)
    assert overvalued(proxy, stays, EQUAL) == pytest.approx(2, abs=0.5)
    assert overvalued(proxy, np.concatenate([start, start + 2], axis=1), EQUAL) == pytest.approx(0, abs=1e-9)


def test_the_proxy_is_judged_in_every_regime() -> None:
    draw = np.random.default_rng(0)

    def result(regime: Regime, rise: float) -> dict[str, Any]:
        start = draw.normal(size=40)
        first = {"step": 0, "proxy": start, "gold": start, "kl": 0 * start}
        last = {"step": 1, "proxy": start + rise, "gold": start, "kl": 1 + 0 * start}
        steps = [{key: np.asarray(of).tolist() for key, of in step.items()} for step in (first, last)]
        return {"family": "RLOO", "setting": "rloo", "regime": regime.value, "seed": 1, "steps": steps}

    rises = {Regime.FULL: 1, Regime.PARTIAL: 2, Regime.OFF_POLICY: 3}
    *_, found = judge([result(regime, rise) for regime, rise in rises.items()])
    values = {part.regime: part.estimate.value for part in found.parts}
    assert values == pytest.approx(rises, rel=0.4)
    assert found.estimate.value == pytest.approx(sum(values.values()) / 3)
    assert found.verdict == "supported"
    *_, none = judge([])
    assert none.verdict == "not_measured"


# --- the plan and its files ----------------------------------------------------------------------


def test_the_plan_starts_with_the_proxies_and_ends_with_the_last_seed() -> None:
    plan = Plan()
    runs = list(plan.runs())
    assert len({run.name for run in runs}) == len(runs)
    assert [run.setting.name for run in runs[:3]] == ["proxy"] * 3
    seeds = [run.seed for run in runs[3:]]
    assert seeds == sorted(seeds)
    assert plan.pairs == plan.common["max_steps"] * plan.common["per_device_train_batch_size"]
    hotter = Setting("dpo-0.05", "DPO", {"method": "dpo", "learning_rate": 1e-3})
    first = runs[3]
    other = type(first)(hotter, first.regime, first.seed)
    assert plan.digest(first, "a") != plan.digest(other, "a") != plan.digest(other, "b")


def test_trials_of_rates_differ_in_the_rate_alone() -> None:
    tried = [run for run in rates([1e-4, 3e-4]).runs() if run.setting.family == "DPO"]
    assert [run.name for run in tried] == ["full-dpo-0.05-0.0001-seed1", "full-dpo-0.05-0.0003-seed1"]
    first, second = (dict(Plan().config(run)) for run in tried)
    assert (first.pop("learning_rate"), second.pop("learning_rate")) == (1e-4, 3e-4)
    assert first == second


def test_a_file_that_was_cut_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "one.json"
    assert read_result(path) is None
    write_result(path, {"name": "one", "digest": "a", "steps": []})
    assert read_result(path) == {"name": "one", "digest": "a", "steps": []}
    path.write_text(path.read_text()[:-9])
    assert read_result(path) is None


def test_distinct_pairs_are_counted_over_all_texts() -> None:
    assert distinct2(["a b c", "a b d"]) == pytest.approx(3 / 4)
    assert distinct2(["a", ""]) == 0
