"""Answers for the Compare page: a base model and its adapters, decoded together in one batch.

The base model is loaded once, and each row of the batch runs with its own adapter or none. Rows with the
same seed draw the same uniform numbers, so their answers differ only where their distributions do. Every
finished answer is scored under its model and under the base, at temperature 1. In float32 the decoder's own
log-probabilities are the model's, up to rounding; in bfloat16 they are not, and both are computed afterwards.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hypo_engine.answers import Answer as Answer
from hypo_engine.answers import GenerationRequest as GenerationRequest
from hypo_engine.chat.thinking import leaves_room_for_thoughts
from hypo_engine.config import Precision, PromptStyle
from hypo_engine.data.tokenize import Tokenization, decode_text
from hypo_engine.decoding.detokenize import TextStream
from hypo_engine.decoding.sampling import Choice, Response, sample_responses
from hypo_engine.errors import ConfigError, EngineError, ModelError
from hypo_engine.files.adapter import ADAPTER_CONFIG
from hypo_engine.forward.logprobs import Ids
from hypo_engine.forward.routed_lora import RoutedLora
from hypo_engine.forward.trial import vocabulary_size
from hypo_engine.models.adapters import check_adapter, quiet_peft
from hypo_engine.models.load import (
    check_vocabulary,
    context_limit,
    default_device,
    load_frozen,
    load_tokenizer,
    stop_token_ids,
)
from hypo_engine.models.source import ModelSource, resolve_source
from hypo_engine.prompts.encoder import Encoded, PromptEncoder

OnText = Callable[[int, str, int], None]
ShouldStop = Callable[[int], bool]


@dataclass
class Served:
    """A loaded base model to which adapters can be added. Created by :func:`load_served`."""

    base: Any
    tokenizer: Any
    tokenization: Tokenization
    stop_ids: frozenset[int]
    _encoders: dict[int, PromptEncoder] = field(default_factory=dict)
    _peft: Any = None
    _routed: RoutedLora | None = None
    _adapters: dict[str, str] = field(default_factory=dict)
    full_models: dict[str, Any] = field(default_factory=dict)
    _count: int = 0
    _thinking: set[str | None] = field(default_factory=set)

    @cached_property
    def thinking(self) -> Tokenization:
        """Tokenization with thinking, for adapters that were trained with it."""
        return Tokenization(self.tokenizer, self.tokenization.style, thinking=True)

    @cached_property
    def _vocabulary(self) -> int:
        return vocabulary_size(self.base)

    @cached_property
    def context(self) -> int | None:
        return context_limit(self.base)

    @property
    def shares_prompts(self) -> bool:
        """Whether each prompt is encoded once for its answers and their scores."""
        return self._encoders[id(self.base)].shares_prompts

    @property
    def names(self) -> list[str]:
        """Names of all added adapters and models."""
        return [*self._adapters, *self.full_models]

    def add_adapter(self, name: str, path: str | Path) -> None:
        """Load the folder of a LoRA adapter or of a fully fine-tuned model under a name.

        Raises:
            ModelError: the folder contains neither, or does not fit the base model.
        """
        if name in self.names:
            self.remove_adapter(name)
        folder = Path(path)
        if leaves_room_for_thoughts(folder):
            self._thinking.add(name)
        if (folder / ADAPTER_CONFIG).is_file():
            self._load_adapter(name, folder)
        elif (folder / "config.json").is_file():
            half = next(self.base.parameters()).dtype == torch.bfloat16
            precision = Precision.BFLOAT16 if half else Precision.FLOAT32
            model = load_frozen(str(folder), precision=precision, device=self.base.device)
            self.full_models[name] = model
            self._encoders[id(model)] = PromptEncoder(model, pad_id=self.tokenizer.eos_token_id)
        else:
            raise ModelError(
                f"{folder.name!r} contains neither an adapter nor a model; export the run's checkpoint again."
            )

    def remove_adapter(self, name: str) -> None:
        """Remove what was added under a name; a no-op for an unknown name."""
        self._thinking.discard(name)
        if (model := self.full_models.pop(name, None)) is not None:
            self._encoders.pop(id(model))
        inner = self._adapters.pop(name, None)
        if inner is None:
            return
        if self._adapters:
            self._peft.set_adapter(next(iter(self._adapters.values())))
            self._peft.delete_adapter(inner)
        else:
            assert self._routed is not None
            self._routed.release()
            self.base, self._peft, self._routed = self._peft.unload(), None, None

    def answer(
        self,
        requests: Sequence[GenerationRequest],
        on_text: OnText = lambda _row, _text, _tokens: None,
        should_stop: ShouldStop = lambda _row: False,
    ) -> list[Answer]:
        """Answer all requests; those for the base and its adapters run in one batch.

        Args:
            on_text: Called with (row, text so far, tokens so far) after each token.
            should_stop: Called with a row after each of its tokens; True ends that row.

        Raises:
            ModelError: a request names an adapter that was not added.
            ConfigError: a number of a request is out of bounds.
        """
        for request in requests:
            self.check(request)
        answers: dict[int, Answer] = {}
        rows = [row for row, request in enumerate(requests) if request.adapter not in self.full_models]
        groups = [(self.base, rows)] if rows else []
        for name, model in self.full_models.items():
            groups.append((model, [row for row, request in enumerate(requests) if request.adapter == name]))
        for model, rows in groups:
            if rows:
                batch = _Batch(self, model, rows, [requests[row] for row in rows], requests)
                answers.update(zip(rows, batch.answer(on_text, should_stop), strict=True))
        return [answers[row] for row in range(len(requests))]

    def refusal(self, request: GenerationRequest) -> EngineError | None:
        """Why a request cannot be answered, as far as is known in advance; None if it can."""
        try:
            self.check(request)
            self.prompt_ids(request)
        except EngineError as error:
            return error
        return None

    def prompt_ids(
        self, request: GenerationRequest, *, thinking: bool | None = None
    ) -> tuple[list[int], int]:
        """A request's prompt ids, trimmed on the left to the model's context, and its length limit.

        Args:
            thinking: Whether the prompt leaves thinking to the model; None means as the adapter was
                trained.

        Raises:
            DataError: the chat template rejects the prompt.
            ModelError: one of its tokens has no row in the embedding.
        """
        open_ended = request.adapter in self._thinking if thinking is None else thinking
        ids = (self.thinking if open_ended else self.tokenization).prompt_ids(request.prompt)
        if max(ids, default=0) >= self._vocabulary:
            check_vocabulary(self.base, self.tokenizer, "the base model", ids)
        limit = self.context
        if limit is None:
            return ids, request.max_new_tokens
        new_tokens = min(request.max_new_tokens, max(1, limit // 2), limit - 1)
        new_tokens = max(new_tokens, min(request.max_new_tokens, limit - len(ids)))
        return self.tokenization.trim(ids, limit - new_tokens), new_tokens

    def length(self, request: GenerationRequest) -> int:
        """Tokens of a request's prompt and of the longest possible answer.

        Raises:
            DataError, ModelError: as :meth:`prompt_ids`.
        """
        ids, limit = self.prompt_ids(request)
        return len(ids) + limit

    def thinks(self, request: GenerationRequest, beside: Sequence[GenerationRequest]) -> bool:
        """Whether prompts leave thinking to the model, as in training; the base follows the others."""
        if request.adapter is None:
            return None in self._thinking or any(other.adapter in self._thinking for other in beside)
        return request.adapter in self._thinking

    def encode(self, model: Any, prompts: Sequence[Ids], adapters: Sequence[str | None]) -> Encoded:
        """Encode prompts for a model; an adapter of None means the base (or the full model) alone."""

        def route(rows: Sequence[int]) -> None:
            if self._routed is not None:
                names = [adapters[row] for row in rows]
                inner = [None if name is None else self._adapters.get(name) for name in names]
                self._routed.route(inner, self.base.device)

        return self._encoders[id(model)](prompts, route=route)

    def _load_adapter(self, name: str, folder: Path) -> None:
        from peft import PeftModel

        inner = f"adapter{self._count}"  # module names do not allow every character
        config = check_adapter(self.base, folder)
        with quiet_peft():
            if self._peft is None:
                found = PeftModel.from_pretrained(self.base, folder, adapter_name=inner, config=config)
                self._peft = found.eval()
            else:
                self._peft.add_adapter(inner, config)
                self._peft.load_adapter(folder, adapter_name=inner, torch_device=str(self.base.device))
        if self._routed is not None:
            self._routed.release()
        self._routed = RoutedLora(self._peft)  # an adapter may have adapted further layers
        self._count += 1
        self._adapters[name] = inner
        self._peft.requires_grad_(False)

    def check(self, request: GenerationRequest) -> None:
        if request.adapter is not None and request.adapter not in self.names:
            raise ModelError(f"There is no adapter {request.adapter!r} here; add it first.")
        if request.max_new_tokens < 1 or request.temperature < 0 or not 0 < request.top_p <= 1:
            raise ConfigError(
                "An answer needs at least 1 token, a temperature of 0 or more and top_p in (0, 1]."
            )


class _Asked(NamedTuple):
    """A prompt's ids, and the adapter under which it is encoded."""

    adapter: str | None
    ids: tuple[int, ...]


class _Batch:
    """Requests that one model answers together. Each prompt is encoded once for each adapter."""

    def __init__(
        self,
        served: Served,
        model: Any,
        rows: Sequence[int],
        requests: Sequence[GenerationRequest],
        beside: Sequence[GenerationRequest],
    ) -> None:
        """beside: All requests of the call."""
        self._served, self._model, self._rows, self._requests = served, model, rows, requests
        thinking = [served.thinks(request, beside) for request in requests]
        pairs = [served.prompt_ids(r, thinking=on) for r, on in zip(requests, thinking, strict=True)]
        self._limits = [limit for _, limit in pairs]
        self._asked = [_Asked(r.adapter, tuple(ids)) for r, (ids, _) in zip(requests, pairs, strict=True)]
        self._row = {asked: row for row, asked in enumerate(dict.fromkeys(self._asked))}
        self._streams = [TextStream(served.tokenizer) for _ in requests]
        self._stopped = [False] * len(requests)

    @torch.no_grad()
    def answer(self, on_text: OnText, should_stop: ShouldStop) -> list[Answer]:
        served, places = self._served, range(len(self._requests))
        device = served.base.device

        def on_token(place: int, token: int) -> bool:
            stream, row = self._streams[place], self._rows[place]
            stream.add(token, special=token in served.stop_ids)
            on_text(row, stream.text, len(stream.pieces))
            self._stopped[place] = token not in served.stop_ids and should_stop(row)
            return self._stopped[place]

        encoded = served.encode(self._model, [x.ids for x in self._row], [x.adapter for x in self._row])
        responses = sample_responses(
            encoded.decoding([self._row[asked] for asked in self._asked], max(self._limits)),
            seeds=[request.seed for request in self._requests],
            choice=Choice(
                torch.tensor([r.temperature for r in self._requests], dtype=torch.float64, device=device),
                torch.tensor([r.top_p for r in self._requests], dtype=torch.float64, device=device),
            ),
            max_new_tokens=self._limits,
            stop_ids=served.stop_ids,
            on_token=on_token,
            unscaled=True,
        )
        policy, reference = self._score(encoded, responses)
        return [self._make(place, responses[place], policy, reference) for place in places]

    def _score(self, encoded: Encoded, responses: Sequence[Response]) -> tuple[list[Tensor], list[Tensor]]:
        """Log-probabilities under each row's own model and under the base, zero-padded: [tokens] each."""
        if next(self._model.parameters()).dtype == torch.float32:
            policy = [torch.tensor(response.logps) for response in responses]
        else:
            rows = [self._row[asked] for asked in self._asked]
            policy = list(encoded.score(rows, [response.ids for response in responses]).values)
        adapted = [place for place, asked in enumerate(self._asked) if asked.adapter is not None]
        reference = list(policy)
        if adapted:
            found = self._score_by_base(encoded, adapted, [responses[place].ids for place in adapted])
            for place, logps in zip(adapted, found, strict=True):
                reference[place] = logps
        return policy, reference

    def _score_by_base(self, encoded: Encoded, places: Sequence[int], completions: Sequence[Ids]) -> Tensor:
        """Log-probabilities of answers under the base, zero-padded: [places, tokens]."""
        served = self._served
        base = [_Asked(None, self._asked[place].ids) for place in places]
        row = self._row
        if not all(asked in row for asked in base):  # the base itself answers none of these prompts
            row = {asked: number for number, asked in enumerate(dict.fromkeys(base))}
            encoded = served.encode(served.base, [asked.ids for asked in row], [None] * len(row))
        return encoded.score([row[asked] for asked in base], completions).values

    def _make(self, place: int, response: Response, policy: list[Tensor], reference: list[Tensor]) -> Answer:
        count = len(response.ids)
        policy_logps = policy[place][:count].tolist()
        reference_logps = reference[place][:count].tolist()
        return Answer(
            text=decode_text(self._served.tokenizer, response.ids),
            tokens=count,
            finished=response.finished,
            stopped=self._stopped[place],
            policy_logp=sum(policy_logps),
            reference_logp=sum(reference_logps),
            token_texts=self._streams[place].pieces,
            policy_token_logps=policy_logps,
            reference_token_logps=reference_logps,
        )


def load_served(
    model_name: str,
    models_dir: Path,
    precision: Precision = Precision.AUTO,
    run_model: ModelSource | None = None,
    *,
    in_4bit: bool = False,
) -> Served:
    """Load a base model for answering.

    Args:
        run_model: The files of the run that ``model_name`` refers to, if it is one.
        in_4bit: Hold its weights in 4 bits, as a run with ``load_in_4bit`` does.

    Raises:
        ModelError: as :func:`hypo_engine.models.load.load_model`.
        ConfigError: 4-bit weights are not possible here, or for this model.
    """
    source = resolve_source(model_name, models_dir, run_model)
    tokenizer = load_tokenizer(source.place)
    device = default_device()
    model = load_frozen(
        source.place, precision=precision, device=device, adapters=source.adapters, in_4bit=in_4bit
    )
    check_vocabulary(model, tokenizer, model_name)
    tokenization = Tokenization(tokenizer, PromptStyle.AUTO)
    served = Served(
        base=model,
        tokenizer=tokenizer,
        tokenization=tokenization,
        stop_ids=stop_token_ids(model, tokenizer) | {tokenization.turn_end_id},
    )
    served._encoders[id(model)] = PromptEncoder(model, pad_id=tokenizer.eos_token_id)
    if leaves_room_for_thoughts(source.trained_folder):
        served._thinking.add(None)
    return served
