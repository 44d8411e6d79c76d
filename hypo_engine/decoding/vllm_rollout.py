"""A run's samples from vLLM: the policy's weights are handed over once a step, before its first sample."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from hypo_engine.decoding.sampling import Response
from hypo_engine.decoding.vllm_engine import VllmEngine
from hypo_engine.errors import ModelError


@dataclass
class VllmRollout:
    """vLLM and what it samples from.

    Attributes:
        start: Starts it.
        weights: The policy's as they are now, by the names in its files.
    """

    start: Callable[[], VllmEngine]
    weights: Callable[[], Iterable[tuple[str, Tensor]]]
    _engine: VllmEngine | None = field(init=False, default=None)
    _taken: int | None = field(init=False, default=None)

    @contextmanager
    def running(self) -> Iterator[None]:
        """A scope in which vLLM runs."""
        engine = self._engine = self.start()
        try:
            yield
        finally:
            self._engine = self._taken = None
            engine.close()

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        step: int,
        seeds: Sequence[int],
        temperature: float,
        max_new_tokens: int,
        stop_ids: frozenset[int],
        watch: Callable[[], None],
    ) -> list[Response]:
        """Responses of the policy at a step, in which its weights do not change; see :class:`VllmEngine`."""
        assert self._engine is not None
        if step != self._taken:
            self._hand_over(self._engine)
            self._taken = step
        return self._engine.sample(
            prompts,
            seeds=seeds,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            stop_ids=stop_ids,
            watch=watch,
        )

    def _hand_over(self, engine: VllmEngine) -> None:
        """Give vLLM the weights. It cannot be used after a failure, which may leave it with half of them.

        Raises:
            ModelError: it has no room for them, or does not know them.
        """
        try:
            engine.take(self.weights())
        except ModelError:
            raise
        except Exception as error:
            kind, text = type(error).__name__, " ".join(str(error).split())[:200]
            raise ModelError(
                f"The policy's weights could not be handed to vLLM ({kind}: {text}); set rollout to engine."
            ) from error
