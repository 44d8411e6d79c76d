"""The scale of a trained reward model: mean and deviation of the reward of the reference's own answers.

Without it a reward has no origin, because Bradley-Terry only sees differences. The answers are sampled once,
after the last step.
"""

from statistics import fmean, stdev

import torch

from hypo_engine.decoding.sampling import Choice, sample_responses
from hypo_engine.seeds import derive_seed
from hypo_engine.training.run import Run
from hypo_engine.training.saving import has_whole_reward_model

_PROMPTS_AT_ONCE = 16


def measure_scale(run: Run) -> None:
    """Sample answers of the reference to ``eval_prompts`` prompts and store the scale of their rewards.

    The prompts are held out, or training prompts if fewer than two are. Only the main process measures.

    Raises:
        Interrupted: the reporter wishes to stop.
    """
    if run.policy.head is None or run.world.from_main(has_whole_reward_model(run)):
        return
    with run.world.synchronized():
        if not run.world.main:
            return
        rewards = _rewards(run)
        if len(rewards) < 2:
            run.policy.head.scale = 0.0, 1.0
            run.reporter.log(
                "info", "The scale of the rewards is not measured; set eval_prompts to 2 or more for that."
            )
            return
        run.policy.head.scale = fmean(rewards), stdev(rewards)
        run.reporter.log(
            "info",
            f"The reward of the reference's own answers is {fmean(rewards):.3g} ± {stdev(rewards):.3g} "
            f"({len(rewards)} answers); scores of this reward model are relative to it.",
        )


@torch.no_grad()
def _rewards(run: Run) -> list[float]:
    prompts = [prompt.ids for prompt in run.evaluation.prompts]
    if len(prompts) < 2:
        unique = {tuple(pair.prompt): None for pair in run.pairs[: 4 * run.config.eval_prompts]}
        prompts = [list(ids) for ids in unique][: run.config.eval_prompts]
    found: list[float] = []
    for start in range(0, len(prompts), _PROMPTS_AT_ONCE):
        run.between("measuring the scale of the rewards")
        found += _rewards_of(run, prompts[start : start + _PROMPTS_AT_ONCE], start)
    return found


def _rewards_of(run: Run, prompts: list[list[int]], start: int) -> list[float]:
    evaluation, rows = run.evaluation, range(len(prompts))
    with run.policy.reference() as encode:
        responses = sample_responses(
            encode(prompts).decoding(rows, evaluation.max_new_tokens),
            seeds=[derive_seed("scale", run.config.seed, start + row) for row in rows],
            choice=Choice.same(len(rows), run.policy.model.device, temperature=evaluation.temperature),
            max_new_tokens=[evaluation.max_new_tokens] * len(rows),
            stop_ids=evaluation.stop_ids,
            on_token=lambda *_: bool(evaluation.watch()),  # type: ignore[func-returns-value]
        )
    # every answer was trained with one end token: the one that ends the stored answers
    end = run.pairs[0].chosen[-1]
    answers = [[*(r.ids[:-1] if r.finished else r.ids), end] for r in responses]
    return run.policy.rewards(run.policy.encode(prompts), rows, answers).tolist()
