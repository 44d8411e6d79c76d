"""Preparation of a run: tokens, plan, model, optimiser, caches, and the checkpoint to resume from.

Checks that need no model come first, so that errors are reported before loading.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from hypo_engine.chat.template import TemplateRefusal
from hypo_engine.chat.thinking import leaves_room
from hypo_engine.config import Need, TrainConfig
from hypo_engine.data.formats import Pair
from hypo_engine.data.token_pairs import TokenPair, TokenPairs
from hypo_engine.data.tokenize import Tokenization, TokenReport, decode_text, tokenize_pairs, uses_row
from hypo_engine.decoding.sampling import Response
from hypo_engine.decoding.vllm_rollout import VllmRollout
from hypo_engine.distributed.world import World
from hypo_engine.errors import CheckpointError, ConfigError, DataError
from hypo_engine.methods.objective import Objective, make_objective
from hypo_engine.models.classifier import check_classifiable
from hypo_engine.models.load import (
    check_vocabulary,
    context_limit,
    default_device,
    load_tokenizer,
    model_identity,
    stop_token_ids,
)
from hypo_engine.models.policy import Policy, load_policy
from hypo_engine.models.source import ModelSource, resolve_source
from hypo_engine.reference.scores import ReferenceCache, reference_key
from hypo_engine.reporting import Prompt, Reporter
from hypo_engine.scorers.scorer import Scorer, checked_scores, load_scorer, std_of
from hypo_engine.training.checkpoint import (
    DamagedCheckpoint,
    checkpoints,
    load_checkpoint,
    remove_checkpoint,
)
from hypo_engine.training.evaluate import Evaluation, TokenPrompt
from hypo_engine.training.fingerprint import Fingerprint, data_key
from hypo_engine.training.memory_check import check_fits
from hypo_engine.training.optimizer import make_optimizer
from hypo_engine.training.plan import Plan, make_plan
from hypo_engine.training.precision import arithmetic_of, reference_arithmetic, settle_precision
from hypo_engine.training.run import Run, ask_wish
from hypo_engine.training.vllm import make_rollout, refuse_several_processes

_CANDIDATES = 8
"""Held-out pairs that are tokenised for each one needed, because some are too long."""

_WATCHING = {
    "logging_steps",
    "eval_steps",
    "eval_pairs",
    "eval_prompts",
    "probe_prompts",
    "save_steps",
    "save_total_limit",
    "metric_for_best_model",
    "stop_at_kl",
    "stop_at_tokens",
    "stop_at_samples",
    "stop_at_seconds",
    "insist",
    "sharding",
    "devices",
}
"""Fields that may differ on resume because they affect reporting, not the computation."""

_IN_THE_DATA = {"enable_thinking"}
"""Fields that affect the computation through the pairs' token ids only, which are compared instead."""

_MODEL = "model_name_or_path"
"""May differ too, because the model's content is compared and its path may differ between machines."""


def prepare_run(
    config: TrainConfig,
    pairs: Sequence[Pair],
    *,
    eval_pairs: Sequence[Pair],
    eval_prompts: Sequence[Prompt],
    output_dir: Path,
    reporter: Reporter,
    models_dir: Path,
    cache_dir: Path | None,
    reward_folder: Path | None,
    run_model: ModelSource | None,
    resume: bool,
    world: World,
) -> Run:
    """Do everything before the first step; arguments and errors as in :func:`.loop.train`."""
    _announce(reporter, "loading model")
    source = resolve_source(config.model_name_or_path, models_dir, run_model)
    tokenization = make_tokenization(config, tokenizer := load_tokenizer(source.place), pairs)
    tokens, counted = _tokenize(config, pairs, tokenization, reporter, "training")
    usable = (pair for pair in eval_pairs if uses_row(config.held_out_method, pair))
    candidates = list(islice(usable, _CANDIDATES * config.eval_pairs))
    readable, _ = _tokenize(config, candidates, tokenization, reporter, "evaluation")
    held_out = TokenPairs(readable[: config.eval_pairs])
    plan = _plan(config, len(tokens), world)
    _announce(reporter, "loading model")
    settled = settle_precision(config, source, output_dir, reporter, resume=resume)
    policy = _load_policy(settled, source, tokenization, tokens, held_out, reporter, world)
    identity = model_identity(source.place, policy.model, source.adapters)
    stop_ids = stop_token_ids(policy.model, tokenizer) | {tokenization.turn_end_id}
    scorer = _load_scorer(config, policy, reward_folder)
    open_cache = partial(_open_cache, config, policy, identity, cache_dir, partial(reporter.log, "warning"))
    parameters = policy.parameters()
    run = Run(
        config=config,
        reporter=reporter,
        output_dir=output_dir,
        source_pairs=pairs,
        pair_counts=counted.counts(),
        pairs=tokens,
        plan=plan,
        tokenizer=tokenizer,
        policy=policy,
        objective=_make_objective(config, scorer, tokenizer, pairs, stop_ids, make_rollout(settled, policy)),
        optimizer=make_optimizer(
            parameters, learning_rate=config.learning_rate, weight_decay=config.weight_decay
        ),
        reference=open_cache(_layout(config, plan, world), tokens)
        if config.precompute_ref_log_probs and Need.REFERENCE in config.needs
        else None,
        fingerprint=_fingerprint(config, plan, policy, tokens, identity),
        parameters=parameters,
        world=world,
    )
    reference = open_cache(f"in order, {config.per_device_train_batch_size}", held_out)
    prompts = _token_prompts(config, eval_prompts, tokenization)
    run.evaluation = _make_evaluation(run, held_out, reference, prompts, stop_ids, scorer)
    _go_on(run, resume=resume)
    _say_what_is_trained_on(run)
    return run


def _load_policy(
    config: TrainConfig,
    source: ModelSource,
    tokenization: Tokenization,
    tokens: TokenPairs,
    held_out: TokenPairs,
    reporter: Reporter,
    world: World,
) -> Policy:
    """Check that the run fits, load the policy, and check that its vocabulary covers the pairs."""
    refuse_several_processes(config, world)
    # a model to be sharded may not fit on one device
    device = torch.device("cpu") if world.lockstep else default_device()
    check_fits(config, source.place, tokens, device=device)
    tokenizer = tokenization.tokenizer
    policy = load_policy(
        config,
        source.place,
        pad_id=tokenizer.eos_token_id,
        device=device,
        separate=world.lockstep,
        adapters=source.adapters,
    )
    policy.thinking = tokenization.thinking
    if not config.method.writes:
        check_classifiable(policy.model, config.model_name_or_path)
    _check_context(config, policy.model)
    used = tokens.token_ids() | held_out.token_ids()
    check_vocabulary(policy.model, tokenizer, config.model_name_or_path, used)
    if not policy.shares_prompts:
        what = "A sharded model" if world.lockstep else "This model"
        reporter.log(
            "info", f"{what} cannot share prompts between answers: each answer encodes its own prompt."
        )
    return policy


def _load_scorer(config: TrainConfig, policy: Policy, reward_folder: Path | None) -> Scorer | None:
    if not config.reward or not config.method.writes:
        return None
    return load_scorer(config.reward, device=policy.model.device, run_folder=reward_folder)


def _make_objective(
    config: TrainConfig,
    scorer: Scorer | None,
    tokenizer: Any,
    pairs: Sequence[Pair],
    stop_ids: frozenset[int],
    vllm: VllmRollout | None,
) -> Objective:
    return make_objective(
        config,
        max_new_tokens=config.max_completion_length,
        stop_ids=stop_ids,
        score=partial(_score_responses, scorer, tokenizer, pairs) if scorer else None,
        score_std=std_of(scorer) if scorer else 1.0,
        vllm=vllm,
    )


def _score_responses(
    scorer: Scorer,
    tokenizer: Any,
    pairs: Sequence[Pair],
    of: Sequence[TokenPair],
    responses: Sequence[Response],
) -> list[float]:
    """Scores of responses to the prompts of ``of``, as texts."""
    prompts = [pairs[pair.source_index].prompt for pair in of]
    return checked_scores(scorer, prompts, [decode_text(tokenizer, r.ids) for r in responses])


def _make_evaluation(
    run: Run,
    held_out: TokenPairs,
    reference: ReferenceCache,
    prompts: Sequence[TokenPrompt],
    stop_ids: frozenset[int],
    scorer: Scorer | None,
) -> Evaluation:
    """Make the evaluation of the run."""
    config = run.config
    return Evaluation(
        pairs=held_out,
        reference=reference,
        prompts=prompts[: config.eval_prompts],
        probes=prompts[: config.probe_prompts],
        method=run.objective.method,
        needs=config.held_out_needs,
        temperature=config.temperature,
        max_new_tokens=config.max_completion_length,
        stop_ids=stop_ids,
        seed=config.seed,
        batch_size=config.per_device_train_batch_size,
        decode=partial(decode_text, run.tokenizer),
        score=partial(checked_scores, scorer) if scorer else None,
        between=run.between,
        watch=run.watch,
    )


def _plan(config: TrainConfig, pairs: int, world: World) -> Plan:
    return make_plan(
        pairs,
        pairs_per_step=config.pairs_per_device * world.size,
        max_steps=config.max_steps,
        epochs=config.num_train_epochs,
        seed=config.seed,
    )


def _announce(reporter: Reporter, phase: str) -> None:
    reporter.progress(0, 0, phase)
    ask_wish(reporter)


def make_tokenization(config: TrainConfig, tokenizer: Any, pairs: Sequence[Pair]) -> Tokenization:
    """Make the tokenization of the run."""
    answers = (answer for pair in pairs for answer in pair.answers)
    thinking = leaves_room(config.enable_thinking, answers)
    return Tokenization(tokenizer, config.prompt_style, thinking=thinking)


def _tokenize(
    config: TrainConfig, pairs: Sequence[Pair], tokenization: Tokenization, reporter: Reporter, what: str
) -> tuple[TokenPairs, TokenReport]:
    limits, training = (config.max_prompt_length, config.max_completion_length), what == "training"
    tokens, report = tokenize_pairs(
        pairs,
        tokenization,
        max_prompt_length=limits[0],
        max_completion_length=limits[1],
        weights=training and config.reads_weights,
        margins=training and config.reads_margins,
        uses=partial(uses_row, config.method) if training else lambda _: True,
        between=partial(ask_wish, reporter),
    )
    for sentence in report.sentences(*limits):
        reporter.log("warning", f"Of the {what} data: {sentence}")
    if pairs and not tokens and training:
        raise DataError(report.nothing_left(limits[1]))
    return tokens, report


def _say_what_is_trained_on(run: Run) -> None:
    """Log the number of training pairs and epochs of a run that starts."""
    if run.counters.step:
        return
    used, given, plan = len(run.pairs), len(run.source_pairs), run.plan
    of = f"{used:,}" if used == given else f"{used:,} of {given:,}"
    epochs = plan.total_steps / plan.steps_per_epoch
    run.reporter.log(
        "info",
        f"Training on {of} pairs: an epoch is {plan.steps_per_epoch:,} steps, "
        f"the run's {plan.total_steps:,} steps are {epochs:.3g} epochs.",
    )


def _token_prompts(
    config: TrainConfig, prompts: Sequence[Prompt], tokenization: Tokenization
) -> list[TokenPrompt]:
    """Token ids of the first prompts that the chat template accepts, as many as an evaluation needs."""
    found = []
    for prompt in prompts[: _CANDIDATES * max(config.eval_prompts, config.probe_prompts)]:
        try:
            ids = tokenization.prompt_ids(prompt)
        except TemplateRefusal:  # counted with the pairs
            continue
        found.append(TokenPrompt(prompt, tokenization.trim(ids, config.max_prompt_length)))
    return found


def _check_context(config: TrainConfig, model: Any) -> None:
    limit = context_limit(model)
    wanted = config.max_prompt_length + config.max_completion_length
    if limit is not None and wanted > limit:
        raise ConfigError(
            f"max_prompt_length + max_completion_length is {wanted}, but the model reads {limit} tokens; "
            "lower one of them."
        )


def _open_cache(
    config: TrainConfig,
    policy: Policy,
    identity: str,
    cache_dir: Path | None,
    warn: Callable[[str], None],
    layout: str,
    tokens: Sequence[TokenPair],
) -> ReferenceCache:
    key = reference_key(identity, reference_arithmetic(config, policy), tokens, layout=layout)
    return ReferenceCache(cache_dir, key, len(tokens), model=config.model_name_or_path, warn=warn)


def _layout(config: TrainConfig, plan: Plan, world: World) -> str:
    """What determines the batches of the first epoch, besides the number and the lengths of the pairs."""
    batches = f"seed {config.seed}, {config.per_device_train_batch_size} of {plan.pairs_per_step}"
    if world.size == 1:
        return batches
    return f"{batches}, {world.size} processes{', sharded' * world.lockstep}"


def _fingerprint(
    config: TrainConfig, plan: Plan, policy: Policy, tokens: TokenPairs, identity: str
) -> Fingerprint:
    # the number of processes and of micro-batches may change on resume, the pairs of a step may not
    fields = config.model_dump(
        mode="json", exclude=_WATCHING | _IN_THE_DATA | {_MODEL, "gradient_accumulation_steps"}
    )
    return Fingerprint(
        config=fields | {"pairs_per_step": plan.pairs_per_step},
        pairs=len(tokens),
        data=data_key(tokens),
        model=hashlib.sha256(identity.encode()).hexdigest(),
        arithmetic=arithmetic_of(config, policy),
    )


def _go_on(run: Run, *, resume: bool) -> None:
    """Load the latest intact checkpoint, or delete an earlier run's files to start over.

    Raises:
        CheckpointError: the latest belongs to another run, or all are damaged.
    """
    found = checkpoints(run.output_dir)
    if not resume:
        for old in found:
            remove_checkpoint(old)
        return
    for checkpoint in found:
        try:
            run.counters = load_checkpoint(
                checkpoint,
                policy=run.policy,
                optimizer=run.optimizer,
                reference=run.reference,
                fingerprint=run.fingerprint,
            )
        except DamagedCheckpoint as damaged:
            run.reporter.log(
                "warning", f"{damaged} It is not used; the checkpoint before it is, if there is one."
            )
            continue
        run.saved.checkpoint = checkpoint
        run.reporter.log("info", f"Continuing from step {run.counters.step}.")
        return
    if found:
        names = ", ".join(checkpoint.name for checkpoint in found)
        raise CheckpointError(
            f"Every checkpoint in {run.output_dir} is damaged ({names}); restore one from a copy, "
            "or delete them to start over."
        )
