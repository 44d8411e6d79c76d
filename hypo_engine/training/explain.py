"""Explains errors of a full disk, a full memory, a lost process or a model's code in a sentence."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hypo_engine.disk import no_room
from hypo_engine.distributed.out_of_memory import is_out_of_memory
from hypo_engine.distributed.world import lost_another
from hypo_engine.errors import EngineError, ModelError, memory_full
from hypo_engine.forward.trial import MODEL_ERRORS


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn errors of the machine's limits and of a model's code into an EngineError; others propagate."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        remedy = _without_vllm(error) or "lower the batch size, or turn gradient checkpointing on"
        raise EngineError(memory_full(remedy, memory="The accelerator's memory")) from error
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            remedy = _without_vllm(error) or "lower the batch size or choose a smaller model"
            raise EngineError(memory_full(remedy)) from error
        if lost_another(error):
            raise EngineError(
                "Another process of the run died; its last output says why. Start the run again: "
                "it continues from its last checkpoint."
            ) from error
        if sentence := _of_foreign_code(error):
            raise ModelError(sentence) from error
        raise
    except MODEL_ERRORS as error:
        if sentence := _of_foreign_code(error):
            raise ModelError(sentence) from error
        raise
    except OSError as error:
        if (sentence := no_room(error)) is None:
            raise
        raise EngineError(sentence) from error


def _without_vllm(error: Exception) -> str | None:
    """The remedy for memory that is full while vLLM runs; None while it does not."""
    if raised_by(error, "vllm."):
        return "lower the batch size, or set rollout to engine, since vLLM holds a second model"
    return None


def _of_foreign_code(error: Exception) -> str | None:
    """The sentence for an error of vLLM or of a model's code; None if it is the engine's own."""
    kind, text = type(error).__name__, " ".join(str(error).split())[:200]
    if raised_by(error, "vllm."):
        return (
            f"vLLM stopped with an error ({kind}: {text}): it cannot sample from this model here. "
            "Set rollout to engine, or install another version; the traceback says where it stopped."
        )
    return _OF_A_MODEL.format(kind=kind) if raised_by_model(error) else None


_OF_A_MODEL = (
    "The model's own code stopped with an error ({kind}): its architecture or its settings cannot be used "
    "here. Choose another model, or shorter prompts and answers; the traceback says where it stopped."
)


def raised_by_model(error: BaseException) -> bool:
    """Whether an error originates in the code of a model or an adapter, not in the engine's."""
    return raised_by(error, "transformers.models.", "peft.")


def raised_by(error: BaseException, *packages: str) -> bool:
    """Whether the code of packages, given by the beginnings of their modules' names, was running."""
    places = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(place.startswith(packages) for place in places)
