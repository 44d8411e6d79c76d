"""Given texts, token by token: log-probabilities under a policy and its reference, and the likeliest tokens.

The policy (an adapter or a full model) and the reference (the base model) score a text in one pass if they
share their weights, after a prompt that is encoded once for each of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import torch

from hypo_engine.chat.thinking import without_mark
from hypo_engine.decoding.token_text import TokenTexts
from hypo_engine.errors import DataError
from hypo_engine.forward.logprobs import TopLogps
from hypo_engine.generate import GenerationRequest, Served
from hypo_engine.reporting import Prompt

TOP: Final = 5
"""Number of the likeliest tokens that are kept in the place of each token."""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """A text to score as the answer to a prompt.

    Attributes:
        adapter: The policy, a name that was passed to :meth:`Served.add_adapter`; None is the base model.
        beside: The adapters that answered beside it; they decide whether the base's prompt leaves room to
            think, as in :meth:`Served.thinks`.
        ends: Whether an end token follows the text.
        pieces: What each token of a sampled text added, its end token included, if that is known.
        sampled_tokens: The number of tokens of a sampled text, if only that is known.
        max_prompt_tokens: Prompts are cut on the left to so many tokens; None cuts none.
        max_new_tokens: The length limit of a sampled answer, which its prompt left room for; None for a text
            that was not sampled, whose prompt is not cut.
        most_tokens: The longest text, in tokens.
    """

    prompt: Prompt
    text: str
    adapter: str | None
    beside: tuple[str | None, ...] = ()
    ends: bool = True
    pieces: tuple[str, ...] = ()
    sampled_tokens: int | None = None
    max_prompt_tokens: int | None = None
    max_new_tokens: int | None = None
    most_tokens: int = 8192


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """One token; log-probabilities in nats, None where they are not finite.

    Attributes:
        text: What the token adds to the text; the bytes of a part of a character; the name of an end token.
        policy_top: The likeliest tokens in its place under the policy, with their log-probabilities.
    """

    text: str
    policy: float | None
    reference: float | None
    policy_top: list[tuple[str, float | None]]
    reference_top: list[tuple[str, float | None]]


@dataclass(frozen=True, slots=True)
class ScoredText:
    """A text under a policy and its reference.

    Attributes:
        as_sampled: Whether the tokens are those that were sampled. If they are not known, the tokenizer's own
            tokens of the text are scored.
    """

    tokens: list[ScoredToken]
    as_sampled: bool

    @property
    def policy_logp(self) -> float | None:
        """Log-probability of the text under the policy; None if it is not finite."""
        return _sum([token.policy for token in self.tokens])

    @property
    def reference_logp(self) -> float | None:
        """Log-probability of the text under the reference; None if it is not finite."""
        return _sum([token.reference for token in self.tokens])


class _Place(NamedTuple):
    """Where a text is scored: after which prompt, under which adapter of the base, or by which full model."""

    model: str | None
    adapter: str | None
    prompt: tuple[int, ...]


@dataclass
class _Row:
    """A request as tokens."""

    request: ScoreRequest
    prompt: tuple[int, ...]
    ids: list[int]
    as_sampled: bool
    logps: dict[bool, TopLogps] = field(default_factory=dict)


def score_texts(served: Served, requests: Sequence[ScoreRequest]) -> list[ScoredText]:
    """Score texts under their policies and under the base model, at temperature 1.

    Raises:
        ModelError: a request names an adapter that was not added.
        DataError: a text or its prompt is too long for the model, or the chat template rejects the prompt.
    """
    texts = TokenTexts(served.tokenizer)
    rows = [_tokenize(served, texts, request) for request in requests]
    work = dict[_Place, list[tuple[_Row, bool]]]()
    for row in rows:
        for place, is_policy in _places(served, row):
            if row.ids:
                work.setdefault(place, []).append((row, is_policy))
    for name in dict.fromkeys(place.model for place in work):
        _score(served, name, {place: wanted for place, wanted in work.items() if place.model == name})
    return [_scored(served, texts, row) for row in rows]


def _places(served: Served, row: _Row) -> list[tuple[_Place, bool]]:
    """The places where a row is scored, and whether that is its policy's; the base is both at once."""
    name, base = row.request.adapter, _Place(None, None, row.prompt)
    if name is None:
        return [(base, False)]
    full = name in served.full_models
    policy = _Place(name, None, row.prompt) if full else _Place(None, name, row.prompt)
    return [(policy, True), (base, False)]


@torch.no_grad()
def _score(served: Served, name: str | None, work: dict[_Place, list[tuple[_Row, bool]]]) -> None:
    """Score all texts of one model in one pass: the base with its adapters, or a full model."""
    model = served.base if name is None else served.full_models[name]
    encoded = served.encode(model, [place.prompt for place in work], [place.adapter for place in work])
    numbers, wanted = list[int](), list[tuple[_Row, bool]]()
    for number, those in enumerate(work.values()):
        numbers += [number] * len(those)
        wanted += those
    found = encoded.top_logps(numbers, [row.ids for row, _ in wanted], TOP)
    for (row, is_policy), logps in zip(wanted, found, strict=True):
        row.logps[is_policy] = logps


def _tokenize(served: Served, texts: TokenTexts, request: ScoreRequest) -> _Row:
    asked = GenerationRequest(
        request.prompt, request.adapter, request.max_new_tokens or 1, temperature=0.0, top_p=1.0, seed=0
    )
    served.check(asked)
    beside = [GenerationRequest(request.prompt, name, 1, 0.0, 1.0, 0) for name in request.beside]
    thinking = served.thinks(asked, beside)
    tokenization = served.thinking if thinking else served.tokenization
    if request.max_new_tokens is None:
        rendered = tokenization.rendered(request.prompt)
        text, prompt = without_mark(request.text, rendered.opened), tokenization.prompt_ids(request.prompt)
    else:
        text, (prompt, _) = request.text, served.prompt_ids(asked, thinking=thinking)
    if request.max_prompt_tokens is not None:
        prompt = tokenization.trim(prompt, request.max_prompt_tokens)
    sampled = _sampled_ids(served, texts, request)
    ids = sampled
    if ids is None:
        ids = tokenization.completion_ids(text, end_id=tokenization.end_id(request.prompt))
        ids = ids if request.ends else ids[:-1]
    _check_lengths(served, len(prompt), len(ids), request)
    known = not request.pieces and request.sampled_tokens in (None, len(ids))
    return _Row(request, tuple(prompt), ids, as_sampled=sampled is not None or known)


def _sampled_ids(served: Served, texts: TokenTexts, request: ScoreRequest) -> list[int] | None:
    """The tokens that were sampled, told from the texts that they added; None if that is not possible."""
    pieces, end = list(request.pieces), list[int]()
    if not pieces:
        return None
    if request.ends:
        named = served.tokenizer.convert_tokens_to_ids(pieces.pop())
        if named not in served.stop_ids:
            return None
        end = [int(named)]
    ids = served.tokenizer("".join(pieces), add_special_tokens=False).input_ids
    found = list(ids) if texts.pieces(ids) == pieces else texts.ids_of(pieces)
    return None if found is None else found + end


def _check_lengths(served: Served, prompt: int, text: int, request: ScoreRequest) -> None:
    if text > request.most_tokens:
        raise DataError(
            f"The text has {text:,} tokens; at most {request.most_tokens:,} are scored. Shorten it."
        )
    limit = served.context
    if limit is not None and prompt + text > limit:
        raise DataError(
            f"Prompt and text have {prompt + text:,} tokens; the model reads at most {limit:,}. Shorten them."
        )


def _scored(served: Served, texts: TokenTexts, row: _Row) -> ScoredText:
    if not row.ids:
        return ScoredText([], row.as_sampled)
    reference = _Columns(texts, row.logps[False])
    policy = _Columns(texts, row.logps[True]) if True in row.logps else reference
    shown = texts.in_order(row.ids, served.stop_ids)
    tokens = [
        ScoredToken(text, policy.values[at], reference.values[at], policy.top(at), reference.top(at))
        for at, text in enumerate(shown)
    ]
    return ScoredText(tokens, row.as_sampled)


class _Columns:
    """Log-probabilities as plain numbers, and the likeliest tokens as texts."""

    def __init__(self, texts: TokenTexts, logps: TopLogps) -> None:
        self.values = [_finite(value) for value in logps.values.tolist()]
        self._texts, self._ids, self._top = texts, logps.top_ids.tolist(), logps.top.tolist()

    def top(self, at: int) -> list[tuple[str, float | None]]:
        pairs = zip(self._ids[at], self._top[at], strict=True)
        return [(self._texts.alone(token), _finite(logp)) for token, logp in pairs]


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None
