"""vLLM as the decoder of a step's samples: in this process, with weights that are handed over.

vLLM is an optional package and is imported when an engine starts. It gets a model's configuration and no
files: the engine has read those already, and the weights come from the policy.
"""

from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from hypo_engine.decoding.sampling import Response
from hypo_engine.decoding.vllm_globals import Replaced, at_threads, contained
from hypo_engine.errors import ConfigError, ModelError, needs_vllm

_CPU_BLOCK = 32
"""Tokens of a block of keys and values on a CPU, whose kernels want a multiple of it."""

_PROMPTS_AT_ONCE = 2048
"""Tokens of prompts that are read together."""


def require_vllm() -> None:
    """Refuse a run that samples with vLLM where it is not installed.

    Raises:
        ConfigError: says how to install it.
    """
    if find_spec("vllm") is None:
        raise ConfigError(needs_vllm())


class VllmEngine:
    """vLLM's engine with a model whose weights mean nothing before the first :meth:`take`."""

    def __init__(
        self,
        config: Any,
        *,
        dtype: torch.dtype,
        device: torch.device,
        rows: int,
        row_tokens: int,
        cache_bytes: int,
        seed: int,
    ) -> None:
        """Start vLLM, and let it write a token.

        Args:
            config: The model's, as transformers has it, with its class under ``architectures``.
            rows: Responses that are written together.
            row_tokens: Tokens of a prompt and its response at most.
            cache_bytes: Bytes of keys and values.

        Raises:
            ModelError: vLLM does not know the architecture.
            Exception: vLLM's own.
        """
        self._replaced, self._engine, self._count = Replaced(), None, 0
        try:
            with contained(self._replaced), TemporaryDirectory(prefix="hypo-vllm-") as folder:
                _refuse_unknown(config)
                config.to_json_file(Path(folder) / "config.json", use_diff=False)
                self._engine = _started(
                    model=folder,
                    dtype=str(dtype).removeprefix("torch."),
                    seed=seed,
                    max_model_len=row_tokens,
                    max_num_seqs=rows,
                    max_num_batched_tokens=max(_PROMPTS_AT_ONCE, rows),
                    kv_cache_memory_bytes=cache_bytes,
                    **({"enforce_eager": True, "block_size": _CPU_BLOCK} if device.type == "cpu" else {}),
                )
                self._threads = torch.get_num_threads()
            self._names = frozenset(self._on_model(lambda model: [n for n, _ in model.named_parameters()]))
            # what vLLM's kernels cannot compute shows here, not after the first evaluation
            self.sample(
                [[0]], seeds=[0], temperature=1.0, max_new_tokens=1, stop_ids=frozenset(), watch=lambda: None
            )
        except BaseException:
            self.close()
            raise

    def take(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take the weights of a model, by the names in its files.

        Raises:
            ModelError: some of vLLM's weights are not among them.
        """
        from vllm.model_executor.model_loader.reload import (
            finalize_layerwise_reload,
            initialize_layerwise_reload,
        )

        assert self._engine is not None
        settings = self._engine.vllm_config.model_config

        def reload(model: Any) -> set[str]:
            initialize_layerwise_reload(model)
            found: set[str] = model.load_weights(weights)
            finalize_layerwise_reload(model, settings)
            _pack_shared(model, found)
            return found

        with at_threads(self._threads), torch.no_grad():
            missing = sorted(self._names - self._on_model(reload))
            self._engine.reset_prefix_cache()
        if missing:
            raise ModelError(
                f"vLLM's model has weights that the policy does not have ({', '.join(missing[:3])}); "
                "set rollout to engine."
            )

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        seeds: Sequence[int],
        temperature: float,
        max_new_tokens: int,
        stop_ids: frozenset[int],
        watch: Callable[[], None],
    ) -> list[Response]:
        """One response to each prompt, in order; a response is a function of its seed up to rounding.

        Args:
            prompts: Token ids.
            watch: Called after each token of all rows; may raise to abandon them.
        """
        from vllm import SamplingParams

        assert self._engine is not None
        names = [str(self._count + row) for row in range(len(prompts))]
        self._count += len(names)
        ended: dict[str, Any] = {}
        try:
            with at_threads(self._threads):
                for name, prompt, seed in zip(names, prompts, seeds, strict=True):
                    wanted = SamplingParams(
                        temperature=temperature,
                        seed=seed,
                        max_tokens=max_new_tokens,
                        stop_token_ids=sorted(stop_ids),
                        ignore_eos=True,  # the end tokens are those of the run
                        detokenize=False,
                        logprobs=0,  # of the chosen token alone
                    )
                    self._engine.add_request(name, {"prompt_token_ids": list(prompt)}, wanted)
                while self._engine.has_unfinished_requests():
                    ended |= {found.request_id: found for found in self._engine.step() if found.finished}
                    watch()
        except BaseException:
            self._engine.abort_request([name for name in names if name not in ended])
            raise
        return [_response(ended[name].outputs[0], stop_ids) for name in names]

    def close(self) -> None:
        """Stop vLLM, and free its memory and its process group."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.engine_core.shutdown()
        elif torch.distributed.is_initialized():  # it failed while it started
            from vllm.distributed import cleanup_dist_env_and_memory

            cleanup_dist_env_and_memory()
        self._replaced.give_back_accelerator()

    def _on_model(self, call: Callable[[Any], Any]) -> Any:
        """The result of a call on vLLM's model."""
        assert self._engine is not None
        [found] = self._engine.collective_rpc(lambda worker: call(worker.model_runner.get_model()))
        return found


def _refuse_unknown(config: Any) -> None:
    from vllm.model_executor.models.registry import ModelRegistry

    [architecture] = config.architectures
    if architecture not in ModelRegistry.get_supported_archs():
        raise ModelError(f"vLLM does not know the architecture {architecture}; set rollout to engine.")


def _started(**settings: Any) -> Any:
    """vLLM's engine with dummy weights and without a tokenizer."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    return LLMEngine.from_engine_args(
        EngineArgs(
            load_format="dummy",
            skip_tokenizer_init=True,
            trust_remote_code=False,
            model_impl="vllm",
            generation_config="vllm",  # none of a model's own settings
            logprobs_mode="processed_logprobs",  # at the temperature
            gpu_memory_utilization=0.01,  # vLLM compares it with the free memory, and otherwise ignores it
            disable_log_stats=True,
            **settings,
        )
    )


def _pack_shared(model: Any, found: set[str]) -> None:
    """Pack weights again that a layer shares with one that was reloaded: reloading packs for that one alone.

    On a CPU an output head multiplies by a packed copy of the embeddings, which would stay that of before.
    """
    for name, layer in model.named_modules():
        method = getattr(layer, "quant_method", None)
        own = [f"{name}.{parameter}" for parameter, _ in layer.named_parameters(recurse=False)]
        if method is not None and own and found.isdisjoint(own):
            method.process_weights_after_loading(layer)


def _response(found: Any, stop_ids: frozenset[int]) -> Response:
    ids = list(found.token_ids)
    logps = [of_token[token].logprob for token, of_token in zip(ids, found.logprobs, strict=True)]
    return Response(ids, ids[-1] in stop_ids, logps)
