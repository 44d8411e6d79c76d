"""What a full disk, a full memory or a lost process raises, turned into a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hypo_engine.disk import no_room
from hypo_engine.distributed import lost_another
from hypo_engine.errors import EngineError
from hypo_engine.microbatch import is_out_of_memory


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what the machine's limits raise into an EngineError; other errors pass as they are."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EngineError(
            "The accelerator's memory is full; lower the batch size, or turn gradient checkpointing on."
        ) from error
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise EngineError(
                "The memory is full; lower the batch size or choose a smaller model."
            ) from error
        if lost_another(error):
            raise EngineError(
                "Another process of the run is gone; what it said last tells why. Start the run again: "
                "it goes on from its last checkpoint."
            ) from error
        raise
    except OSError as error:
        if (sentence := no_room(error)) is None:
            raise
        raise EngineError(sentence) from error
