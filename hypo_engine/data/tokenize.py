"""Pairs -> token ids, as in generation.

Prompt and completion are tokenised separately and their ids are concatenated. A beginning-of-sequence token
stands once at the start if the tokenizer uses one, an end token once at the end of a completion.
:class:`TokenReport` counts everything that is trimmed or left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from hypo_engine.chat.template import ChatTemplate, Rendered, TemplateRefusal
from hypo_engine.chat.thinking import holds_thought, without_mark
from hypo_engine.config import Method, PromptStyle
from hypo_engine.data.pair import Pair
from hypo_engine.data.token_pairs import TokenPair, TokenPairs
from hypo_engine.errors import ConfigError, ModelError
from hypo_engine.reporting import Prompt

_A_WHILE: Final = 64
"""Pairs between two calls of `between`."""


@dataclass(slots=True)
class TokenReport:
    """Counts of what tokenising changed."""

    pairs: int = 0
    left_out: int = 0
    single: int = 0
    refused: int = 0
    refusal: str = ""
    stray_thoughts: int = 0
    missing_thoughts: int = 0
    trimmed_prompts: int = 0
    boundary_differences: int = 0

    def sentences(self, max_prompt_length: int, max_completion_length: int) -> list[str]:
        """One sentence per finding."""
        found = []
        if self.single:
            found.append(
                f"{self.single} of {self.pairs} rows were left out: they have one answer, from which the "
                "method does not learn. KTO uses every row, SFT those with a chosen answer."
            )
        if self.refused:
            found.append(f"{self.refused} of {self.pairs} pairs were left out. {self.refusal}")
        if self.stray_thoughts:
            found.append(
                f"{self.stray_thoughts} of {self.pairs} pairs have an answer with a thought, but "
                "prompts without room for one; set enable_thinking to on if answers should begin "
                "with thoughts."
            )
        if self.missing_thoughts:
            found.append(
                f"{self.missing_thoughts} of {self.pairs} pairs have an answer without a closed thought "
                "after a prompt that opens one: it is trained as a thought; set enable_thinking to off."
            )
        if self.left_out:
            found.append(
                f"{self.left_out} of {self.pairs} pairs were left out: an answer has more than "
                f"{max_completion_length} tokens, its end included."
            )
        if self.trimmed_prompts:
            found.append(
                f"{self.trimmed_prompts} of {self.pairs} prompts lost tokens on the left: "
                f"they have more than {max_prompt_length}."
            )
        if self.boundary_differences:
            found.append(
                f"{self.boundary_differences} of {self.pairs} pairs would be tokenised "
                "differently as one text; prompt and answer are tokenised separately, as in "
                "generation."
            )
        return found

    def counts(self) -> dict[str, float]:
        """The counts as metrics."""
        return {
            "num_train_pairs": float(self.pairs - self.refused - self.left_out - self.single),
            "num_train_pairs_refused": float(self.refused),
            "num_train_pairs_too_long": float(self.left_out),
            **({"num_train_pairs_single": float(self.single)} if self.single else {}),
        }

    def nothing_left(self, max_completion_length: int) -> str:
        """Why no pair is left to train on."""
        if self.single > self.refused + self.left_out:
            return (
                f"No pair is left: {self.single} of {self.pairs} rows have one answer; train them with KTO, "
                "or those with a chosen answer with SFT."
            )
        if self.refused > self.left_out:
            return f"No pair is left: {self.refused} of {self.pairs} are left out. {self.refusal}"
        return (
            f"No pair is left: {self.left_out} of {self.pairs} have an answer of more than "
            f"{max_completion_length} tokens; raise max_completion_length."
        )


class Tokenization:
    """Turns the prompts and completions of one run into token ids."""

    def __init__(self, tokenizer: Any, style: PromptStyle, *, thinking: bool = False) -> None:
        """thinking: Whether prompts leave thinking to the model, if its template supports that.

        Raises:
            ConfigError: ``chat`` is configured for a tokenizer without a chat template.
        """
        if style is PromptStyle.CHAT and not tokenizer.chat_template:
            raise ConfigError("prompt_style chat needs a tokenizer with a chat template; use auto or plain.")
        self.tokenizer, self.style, self.thinking = tokenizer, style, thinking

    @cached_property
    def template(self) -> ChatTemplate:
        """The tokenizer's chat template.

        Raises:
            ModelError: it cannot be used.
        """
        return ChatTemplate(self.tokenizer, thinking=self.thinking)

    @cached_property
    def turn_end_id(self) -> int:
        """The special token that the chat template writes after an answer; else the end-of-sequence token."""
        eos = int(self.tokenizer.eos_token_id)
        if not self.tokenizer.chat_template or self.style is PromptStyle.PLAIN:
            return eos
        try:
            before, after = self.template.before, self.template.after
        except ModelError:  # prompts that need the template report this
            return eos
        opening = self.tokenizer(before, add_special_tokens=False).input_ids
        ids = self.tokenizer(after.lstrip(), add_special_tokens=False).input_ids
        special = set(self.tokenizer.all_special_ids) | {
            i for i, t in self.tokenizer.added_tokens_decoder.items() if t.special
        }
        return int(ids[0]) if ids and ids[0] in special.difference(opening) else eos

    def uses_template(self, prompt: Prompt) -> bool:
        """Whether this prompt is rendered with the chat template."""
        if not self.tokenizer.chat_template or self.style is PromptStyle.PLAIN:
            return False
        return self.style is PromptStyle.CHAT or not isinstance(prompt, str)

    def render(self, prompt: Prompt) -> str:
        """The prompt as one text."""
        return self.rendered(prompt).text

    def rendered(self, prompt: Prompt) -> Rendered:
        """The prompt as one text, and the tag of a thought that it leaves open.

        Raises:
            TemplateRefusal: the chat template refuses it.
            ModelError: the chat template cannot be used.
        """
        if not self.uses_template(prompt):
            return Rendered(prompt if isinstance(prompt, str) else _plain_turns(prompt))
        turns = (
            [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(m) for m in prompt]
        )
        return self.template.render(turns)

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, at least one, with at most one beginning-of-sequence token.

        Raises:
            TemplateRefusal: the chat template refuses it.
            ModelError: the chat template cannot be used.
        """
        return self._ids(prompt, self.render(prompt))

    def _ids(self, prompt: Prompt, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=not self.uses_template(prompt)).input_ids
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        if (
            not self.uses_template(prompt)
            and len(ids) > 1
            and ids[-1] == eos
            and not text.endswith(self.tokenizer.eos_token)
        ):
            ids = ids[:-1]  # a tokenizer that ends every text with it
        while len(ids) > 1 and bos is not None and ids[0] == ids[1] == bos:
            ids = ids[1:]
        return ids or [bos if bos is not None else eos]

    def completion_ids(self, text: str, *, end_id: int) -> list[int]:
        """Token ids of a completion, with exactly one end token."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        while ids and ids[-1] in (end_id, self.tokenizer.eos_token_id):
            ids = ids[:-1]
        return [*ids, end_id]

    def end_id(self, prompt: Prompt) -> int:
        """The token that ends a completion of this prompt."""
        return int(self.turn_end_id if self.uses_template(prompt) else self.tokenizer.eos_token_id)

    def trim(self, ids: list[int], limit: int) -> list[int]:
        """Cut ids on the left to at most ``limit``, but keep a beginning-of-sequence token."""
        if len(ids) <= limit:
            return ids
        bos = self.tokenizer.bos_token_id
        if limit > 1 and ids[0] == bos and ids.count(bos) == 1:  # if it occurs more often, it opens turns
            return [ids[0], *ids[len(ids) - limit + 1 :]]
        return ids[len(ids) - limit :]


def uses_row(method: Method, pair: Pair) -> bool:
    """Whether a method learns from a row, which may have one answer."""
    return method.uses(bool(pair.chosen), bool(pair.rejected))


def tokenize_pairs(
    pairs: Sequence[Pair],
    tokenization: Tokenization,
    *,
    max_prompt_length: int,
    max_completion_length: int,
    weights: bool = False,
    margins: bool = False,
    uses: Callable[[Pair], bool] = lambda _: True,
    between: Callable[[], None] = lambda: None,
) -> tuple[TokenPairs, TokenReport]:
    """Tokenise pairs; leave out pairs with an overlong answer, and cut overlong prompts on the left.

    Args:
        max_completion_length: In tokens, including the end token.
        weights, margins: Whether the run reads those of the pairs.
        uses: Whether the run learns from a pair; others are left out and counted.
        between: Called every few pairs; may raise to stop.

    Raises:
        ModelError: the chat template cannot be used.
    """
    report = TokenReport(pairs=len(pairs))
    kept = TokenPairs()
    for source_index, pair in enumerate(pairs):
        if source_index % _A_WHILE == 0:
            between()
        if not uses(pair):
            report.single += 1
            continue
        try:
            rendered = tokenization.rendered(pair.prompt)
        except TemplateRefusal as refusal:
            report.refused += 1
            report.refusal = report.refusal or str(refusal)
            continue
        prompt, end_id = tokenization._ids(pair.prompt, rendered.text), tokenization.end_id(pair.prompt)
        answers = [without_mark(answer, rendered.opened) for answer in (pair.chosen, pair.rejected)]
        chosen = tokenization.completion_ids(answers[0], end_id=end_id) if pair.chosen else []
        rejected = tokenization.completion_ids(answers[1], end_id=end_id) if pair.rejected else []
        if max(len(chosen), len(rejected)) > max_completion_length:
            report.left_out += 1
            continue
        _count_thoughts(report, tokenization, pair, opened=bool(rendered.opened))
        text, ids = (
            rendered.text + (answers[0] if pair.chosen else answers[1]),
            [*prompt, *(chosen or rejected)[:-1]],
        )
        report.boundary_differences += _boundary_differs(tokenization, pair.prompt, text, ids)
        report.trimmed_prompts += len(prompt) > max_prompt_length
        trimmed = tokenization.trim(prompt, max_prompt_length)
        weight, margin = pair.weight if weights else 1.0, pair.margin if margins else 0.0
        kept.append(TokenPair(source_index, trimmed, chosen, rejected, weight, margin))
    return kept, report


def _count_thoughts(report: TokenReport, tokenization: Tokenization, pair: Pair, *, opened: bool) -> None:
    if not tokenization.uses_template(pair.prompt) or not tokenization.template.can_think:
        return
    thoughts = [holds_thought(answer) for answer in pair.answers]
    report.stray_thoughts += any(thoughts) and not tokenization.template.thinking
    report.missing_thoughts += not all(thoughts) and opened


def _boundary_differs(tokenization: Tokenization, prompt: Prompt, text: str, apart: list[int]) -> bool:
    special = not tokenization.uses_template(prompt)
    joined = tokenization.tokenizer(text, add_special_tokens=special).input_ids
    return bool(list(joined[: len(apart)]) != apart)


def _plain_turns(messages: Sequence[Any]) -> str:
    """Turns as plain text; a single user turn is left as it is, so that it equals the same plain prompt."""
    if len(messages) == 1 and messages[0]["role"] == "user":
        return str(messages[0]["content"])
    turns = [f"{str(m['role']).capitalize()}:\n{m['content']}\n\n" for m in messages]
    return "".join(turns) + "Assistant:\n"


def decode_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of a response, without its end token."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True))
