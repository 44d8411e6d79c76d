"""Log-probabilities and margins of single pairs under a trained checkpoint and its reference.

The arithmetic is that of an evaluation: the same tokens, the same forward pass, and the method's own margin.
A method without one (SFT) gets the difference of the answers' mean log-probabilities per token.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from hypo_engine.chat.thinking import leaves_room_for_thoughts
from hypo_engine.config import Need, TrainConfig
from hypo_engine.data.pair import Pair
from hypo_engine.data.token_pairs import TokenPair
from hypo_engine.data.tokenize import Tokenization, tokenize_pairs
from hypo_engine.distributed.out_of_memory import is_out_of_memory, release_cached_memory
from hypo_engine.errors import ModelError
from hypo_engine.methods.batch import Batch, BatchLoss
from hypo_engine.methods.objective import METHODS, pair_logps, pair_rewards
from hypo_engine.models.load import check_vocabulary, default_device, load_tokenizer
from hypo_engine.models.policy import Policy, load_policy
from hypo_engine.models.source import ModelSource, resolve_source
from hypo_engine.reference.scores import length_batches, score_pairs
from hypo_engine.training.checkpoint import load_weights, trained_folder


@dataclass(frozen=True, slots=True)
class PairScore:
    """What a checkpoint says about one pair.

    Attributes:
        margin: As the method defines it; positive where the checkpoint prefers the chosen answer.
        chosen, rejected: Log-probabilities in nats, summed over tokens; of a reward model, rewards.
        reference_chosen, reference_rejected: The reference's; None where the method reads no reference.
        chosen_tokens, rejected_tokens: Lengths of the answers, the end token included.
    """

    margin: float
    chosen: float
    rejected: float
    reference_chosen: float | None
    reference_rejected: float | None
    chosen_tokens: int
    rejected_tokens: int


@dataclass(frozen=True, slots=True)
class Unscored:
    """A pair that the run leaves out of training and evaluation, and the reason."""

    reason: str


@dataclass(frozen=True)
class PairScorer:
    """A checkpoint that scores pairs. Created by :func:`load_pair_scorer`."""

    config: TrainConfig
    policy: Policy
    tokenization: Tokenization
    method: BatchLoss

    @torch.no_grad()
    def score(
        self, pairs: Sequence[Pair], *, between: Callable[[], None] = lambda: None
    ) -> list[PairScore | Unscored]:
        """Score pairs in batches of similar length, as large as the run's.

        Args:
            between: Called before each batch; may raise to stop.

        Raises:
            ModelError: A token has no row in the embedding, or the chat template cannot be used.
        """
        found: dict[int, PairScore | Unscored] = {}
        tokens: list[TokenPair] = []
        for index, pair in enumerate(pairs):
            one = self._tokenize(pair)
            if isinstance(one, Unscored):
                found[index] = one
            else:
                tokens.append(replace(one, source_index=index))
        used = {i for pair in tokens for i in (*pair.prompt, *pair.chosen, *pair.rejected)}
        name = self.config.model_name_or_path
        check_vocabulary(self.policy.model, self.tokenization.tokenizer, name, used)
        batches = length_batches(range(len(tokens)), tokens, self.config.per_device_train_batch_size)
        for batch in batches:
            between()
            self._score_batch([tokens[i] for i in batch], found)
        return [found[index] for index in range(len(pairs))]

    def _tokenize(self, pair: Pair) -> TokenPair | Unscored:
        if pair.is_single:
            return Unscored("The row has one answer, and a margin compares two.")
        longest = self.config.max_completion_length
        kept, report = tokenize_pairs(
            [pair],
            self.tokenization,
            max_prompt_length=self.config.max_prompt_length,
            max_completion_length=longest,
        )
        if kept:
            return kept[0]
        if report.refused:
            return Unscored(report.refusal)
        return Unscored(f"An answer has more than {longest:,} tokens, its end included.")

    def _score_batch(self, pairs: Sequence[TokenPair], found: dict[int, PairScore | Unscored]) -> None:
        """Score a batch; if it does not fit into memory, each half of it alone."""
        try:
            found.update(self._scores(pairs))
        except Exception as error:
            if len(pairs) == 1 or not is_out_of_memory(error):
                raise
        else:
            return
        release_cached_memory()
        half = len(pairs) // 2
        for some in (pairs[:half], pairs[half:]):
            self._score_batch(some, found)

    def _scores(self, pairs: Sequence[TokenPair]) -> dict[int, PairScore]:
        reference: tuple[Tensor, Tensor] | None = None
        if Need.REWARDS in self.config.held_out_needs:
            encoded = self.policy.encode([pair.prompt for pair in pairs])
            rewards = pair_rewards(self.policy, encoded, pairs)
            batch, chosen, rejected = Batch(rewards=rewards), rewards.chosen, rewards.rejected
        else:
            if Need.REFERENCE in self.config.held_out_needs:
                with self.policy.reference() as encode:
                    reference = score_pairs(encode, pairs)
            chosen, rejected = score_pairs(self.policy.encode, pairs)
            batch = Batch(pair_logps(pairs, chosen, rejected, reference))
        margins = self.method.held_out(batch).get("rewards/margins")
        if margins is None:
            margins = _per_token(pairs, chosen, rejected)
        columns = [margins, chosen, rejected, *(reference or ())]
        rows = torch.stack([column.float() for column in columns], dim=1).tolist()
        return {pair.source_index: _score(pair, row) for pair, row in zip(pairs, rows, strict=True)}


def _score(pair: TokenPair, row: Sequence[float]) -> PairScore:
    margin, chosen, rejected, *reference = row
    reference_chosen, reference_rejected = reference or (None, None)
    lengths = len(pair.chosen), len(pair.rejected)
    return PairScore(margin, chosen, rejected, reference_chosen, reference_rejected, *lengths)


def _per_token(pairs: Sequence[TokenPair], chosen: Tensor, rejected: Tensor) -> Tensor:
    """Differences of the answers' mean log-probabilities per token: [pairs]."""
    lengths = chosen.new_tensor([[len(pair.chosen), len(pair.rejected)] for pair in pairs])
    return chosen / lengths[:, 0] - rejected / lengths[:, 1]


def load_pair_scorer(
    config: TrainConfig, checkpoint: Path, models_dir: Path, run_model: ModelSource | None = None
) -> PairScorer:
    """Load a checkpoint to score pairs.

    Args:
        config: Of the run that made the checkpoint.
        checkpoint: A folder with its adapter or model, and with the head of a reward model.
        run_model: The files of the run that the run's base model is, if it is one.

    Raises:
        ModelError: the base model cannot be loaded, or the checkpoint does not fit it.
    """
    source = resolve_source(config.model_name_or_path, models_dir, run_model)
    tokenizer = load_tokenizer(source.place)
    thinking = leaves_room_for_thoughts(trained_folder(checkpoint))
    tokenization = Tokenization(tokenizer, config.prompt_style, thinking=thinking)
    pad_id, device = tokenizer.eos_token_id, default_device()
    policy = load_policy(config, source.place, pad_id=pad_id, device=device, adapters=source.adapters)
    try:
        load_weights(policy, checkpoint)
    except (SafetensorError, RuntimeError, ValueError, KeyError, OSError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"The checkpoint cannot be loaded ({str(error)[:200]}); train the run again."
        ) from error
    for parameter in policy.parameters():
        parameter.requires_grad_(False)
    return PairScorer(config, policy, tokenization, METHODS[config.method](config))
