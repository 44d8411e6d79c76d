"""The HyPO training engine: torch, transformers and peft, usable without the rest of HyPO Studio.

The names below are loaded on first access, so importing the package does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hypo_engine.config import TrainConfig as TrainConfig
    from hypo_engine.data.formats import read_jsonl_pairs as read_jsonl_pairs
    from hypo_engine.data.pair import Pair as Pair
    from hypo_engine.errors import CheckpointError as CheckpointError
    from hypo_engine.errors import ConfigError as ConfigError
    from hypo_engine.errors import DataError as DataError
    from hypo_engine.errors import EngineError as EngineError
    from hypo_engine.errors import Interrupted as Interrupted
    from hypo_engine.errors import ModelError as ModelError
    from hypo_engine.generate import GenerationRequest as GenerationRequest
    from hypo_engine.generate import load_served as load_served
    from hypo_engine.reporting import Reporter as Reporter
    from hypo_engine.reporting import SilentReporter as SilentReporter
    from hypo_engine.training.loop import TrainResult as TrainResult
    from hypo_engine.training.loop import train as train

_MODULES: Final = {
    "TrainConfig": "config",
    "read_jsonl_pairs": "data.formats",
    "Pair": "data.pair",
    **dict.fromkeys(
        ("CheckpointError", "ConfigError", "DataError", "EngineError", "Interrupted", "ModelError"), "errors"
    ),
    "GenerationRequest": "generate",
    "load_served": "generate",
    "Reporter": "reporting",
    "SilentReporter": "reporting",
    "TrainResult": "training.loop",
    "train": "training.loop",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
