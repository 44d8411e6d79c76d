"""The identity of a run: everything that determines its bits, by name, to report differences."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hypo_engine.config import TrainConfig
from hypo_engine.data.token_pairs import TokenPairs
from hypo_engine.reference.scores import reference_key

_SHOWN = 60
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Everything that determines the bits of a run.

    Attributes:
        config: The fields of TrainConfig that affect the computation, as JSON values.
        pairs: Number of training pairs.
        data: SHA-256 of their token ids, and of their weights and margins if the run reads any.
        model: SHA-256 of the base model's configuration and weights.
        arithmetic: Device type and dtypes of the computation.
    """

    config: Mapping[str, Any]
    pairs: int
    data: str
    model: str
    arithmetic: str

    def facts(self) -> dict[str, Any]:
        """All values by name as stored in state.json, the configuration's first."""
        others = asdict(self)
        return {**others.pop("config"), **others}

    def completed(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Stored facts, plus the defaults of configuration fields that an earlier version did not have."""
        usual = TrainConfig().model_dump(mode="json")
        return {name: usual[name] for name in self.config if name in usual} | dict(stored)


def data_key(tokens: TokenPairs) -> str:
    """SHA-256 of token ids, and of the weights and margins that the run reads, if there are any."""
    key, weighing = reference_key("", "", tokens), tokens.weighing()
    return hashlib.sha256(f"{key} {weighing}".encode()).hexdigest() if weighing else key


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[str, str] | None:
    """The differences between two runs' facts, as ("beta 0.1, seed 0", "beta 0.2, seed 1"); None if equal."""
    names = [name for name in {**theirs, **ours} if theirs.get(name, _MISSING) != ours.get(name, _MISSING)]
    if not names:
        return None
    return ", ".join(_said(name, theirs) for name in names), ", ".join(_said(name, ours) for name in names)


def _said(name: str, facts: Mapping[str, Any]) -> str:
    if name not in facts:
        return f"no {name}"
    text = str(facts[name])
    return f"{name} {text if len(text) <= _SHOWN else text[: _SHOWN - 1] + '…'}"
