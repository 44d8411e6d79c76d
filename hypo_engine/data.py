"""Pairs -> token ids, the way generation sees them.

Prompt and completion are tokenised apart and their ids joined. The beginning-of-sequence token stands
once at the start where the tokenizer uses one, the end token once at the end of a completion. What is
trimmed or left out is counted in :class:`TokenReport`, never silent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypo_engine.config import PromptStyle
from hypo_engine.errors import ConfigError, DataError
from hypo_engine.formats import Pair
from hypo_engine.reporting import Prompt

_SENTINEL = "answer"


@dataclass(frozen=True, slots=True)
class TokenPair:
    """A pair as token ids. ``index`` is its place in the pairs given; completions end with an end token."""

    index: int
    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    @property
    def length(self) -> int:
        """Tokens of the longer of the two sequences."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))

    @property
    def tokens(self) -> int:
        """Distinct tokens that scoring the pair reads."""
        return len(self.prompt) + len(self.chosen) + len(self.rejected)


@dataclass(slots=True)
class TokenReport:
    """What tokenising did to the pairs."""

    pairs: int = 0
    left_out: int = 0
    trimmed_prompts: int = 0
    boundary_differences: int = 0

    def sentences(self, max_prompt_length: int, max_completion_length: int) -> list[str]:
        """One sentence for each thing worth knowing."""
        found = []
        if self.left_out:
            found.append(
                f"{self.left_out} of {self.pairs} pairs were left out: "
                f"an answer has more than {max_completion_length} tokens, its end included."
            )
        if self.trimmed_prompts:
            found.append(
                f"{self.trimmed_prompts} of {self.pairs} prompts lost tokens on the left: "
                f"they have more than {max_prompt_length}."
            )
        if self.boundary_differences:
            found.append(
                f"{self.boundary_differences} of {self.pairs} pairs would be tokenised otherwise as one; "
                "prompt and answer are tokenised apart, as generation sees them."
            )
        return found


class Tokenization:
    """How prompts and completions of one run become token ids."""

    def __init__(self, tokenizer: Any, style: PromptStyle) -> None:
        """Raises ConfigError when ``chat`` is asked of a tokenizer without a chat template."""
        if style is PromptStyle.CHAT and not tokenizer.chat_template:
            raise ConfigError("prompt_style chat needs a tokenizer with a chat template; use auto or plain.")
        self.tokenizer = tokenizer
        self.style = style
        self.turn_end_id = _turn_end_id(tokenizer) if tokenizer.chat_template else tokenizer.eos_token_id

    def uses_template(self, prompt: Prompt) -> bool:
        """Whether this prompt goes through the chat template."""
        if not self.tokenizer.chat_template or self.style is PromptStyle.PLAIN:
            return False
        return self.style is PromptStyle.CHAT or not isinstance(prompt, str)

    def render(self, prompt: Prompt) -> str:
        """The prompt as one text."""
        if not self.uses_template(prompt):
            return prompt if isinstance(prompt, str) else _plain_turns(prompt)
        turns = (
            [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(m) for m in prompt]
        )
        try:
            return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        except Exception as error:  # a template raises whatever its author chose
            raise DataError(
                f"The chat template refuses a prompt ({str(error)[:200]}); use prompt_style plain, "
                "or give turns in the order the template wants."
            ) from error

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, at least one; the beginning-of-sequence token not more than once."""
        text = self.render(prompt)
        ids: list[int] = self.tokenizer(text, add_special_tokens=not self.uses_template(prompt)).input_ids
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        if (
            not self.uses_template(prompt)
            and len(ids) > 1
            and ids[-1] == eos
            and not text.endswith(self.tokenizer.eos_token)
        ):
            ids = ids[:-1]  # a tokenizer that closes every text by itself
        while len(ids) > 1 and bos is not None and ids[0] == ids[1] == bos:
            ids = ids[1:]
        return ids or [bos if bos is not None else eos]

    def completion_ids(self, text: str, *, end_id: int) -> list[int]:
        """Token ids of a completion with its end token, once."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        while ids and ids[-1] in (end_id, self.tokenizer.eos_token_id):
            ids = ids[:-1]
        return [*ids, end_id]

    def end_id(self, prompt: Prompt) -> int:
        """The token that ends a completion of this prompt."""
        return int(self.turn_end_id if self.uses_template(prompt) else self.tokenizer.eos_token_id)

    def trim(self, ids: list[int], limit: int) -> list[int]:
        """At most ``limit`` ids: the left goes, a beginning-of-sequence token stays."""
        if len(ids) <= limit:
            return ids
        bos = self.tokenizer.bos_token_id
        if limit > 1 and ids[0] == bos and ids.count(bos) == 1:  # more often, it opens turns
            return [ids[0], *ids[len(ids) - limit + 1 :]]
        return ids[len(ids) - limit :]


def tokenize_pairs(
    pairs: Sequence[Pair], tokenization: Tokenization, *, max_prompt_length: int, max_completion_length: int
) -> tuple[list[TokenPair], TokenReport]:
    """Tokenise pairs; a pair with too long an answer is left out, too long a prompt loses its left.

    Args:
        max_completion_length: In tokens, the end token included.
    """
    report = TokenReport(pairs=len(pairs))
    kept: list[TokenPair] = []
    for index, pair in enumerate(pairs):
        prompt = tokenization.prompt_ids(pair.prompt)
        end_id = tokenization.end_id(pair.prompt)
        chosen, rejected = (
            tokenization.completion_ids(t, end_id=end_id) for t in (pair.chosen, pair.rejected)
        )
        if max(len(chosen), len(rejected)) > max_completion_length:
            report.left_out += 1
            continue
        report.boundary_differences += _boundary_differs(tokenization, pair, prompt, chosen)
        report.trimmed_prompts += len(prompt) > max_prompt_length
        kept.append(TokenPair(index, tokenization.trim(prompt, max_prompt_length), chosen, rejected))
    return kept, report


def _boundary_differs(tokenization: Tokenization, pair: Pair, prompt: list[int], chosen: list[int]) -> bool:
    text = tokenization.render(pair.prompt) + pair.chosen
    special = not tokenization.uses_template(pair.prompt)
    joined = tokenization.tokenizer(text, add_special_tokens=special).input_ids
    return bool(list(joined[: len(prompt) + len(chosen) - 1]) != [*prompt, *chosen[:-1]])


def _turn_end_id(tokenizer: Any) -> int:
    """The token a chat template writes after an answer, if it is a special one; else end-of-sequence."""
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": _SENTINEL}]
    try:
        after = tokenizer.apply_chat_template(turns, tokenize=False).rpartition(_SENTINEL)[2]
    except Exception:  # a template may refuse these turns; then nothing is learnt from it
        return int(tokenizer.eos_token_id)
    ids = tokenizer(after.lstrip(), add_special_tokens=False).input_ids
    special = set(tokenizer.all_special_ids) | {
        i for i, t in tokenizer.added_tokens_decoder.items() if t.special
    }
    return int(ids[0] if ids and ids[0] in special else tokenizer.eos_token_id)


def _plain_turns(messages: Sequence[Any]) -> str:
    """Turns as text; a user's only turn as it stands, so that asking is the same as giving a plain prompt."""
    if len(messages) == 1 and messages[0]["role"] == "user":
        return str(messages[0]["content"])
    turns = [f"{str(m['role']).capitalize()}:\n{m['content']}\n\n" for m in messages]
    return "".join(turns) + "Assistant:\n"


def decode_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of a response, without its end token."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True))
