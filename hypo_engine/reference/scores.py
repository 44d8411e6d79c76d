"""The cache of reference log-probabilities, shared between runs on the same data.

A file's name is a hash of everything that determines the values bit for bit: the base model's weights, the
arithmetic, the token ids (and so tokenizer, template, style and lengths), and what determines the batches,
since padding changes rounding. Twin runs share a file, and a run with other batches has its own. Only
pairs that a run will see are computed. A run that needs more fills the gaps, and concurrent runs keep each
other's work.
"""

import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hypo_engine.data.token_pairs import TokenPair
from hypo_engine.files.reference_cache import TENSOR, UseMark, cache_limit, locked, tidy
from hypo_engine.forward.logprobs import Ids
from hypo_engine.models.policy import Policy
from hypo_engine.prompts.encoder import Encoded
from hypo_engine.prompts.stored import StoredAnswers

_VERSION = "4"


def reference_key(
    model_identity: str, arithmetic: str, pairs: Sequence[TokenPair], *, layout: str = ""
) -> str:
    """SHA-256 of everything that determines the cached values.

    Args:
        model_identity: From :func:`hypo_engine.models.load.model_identity`.
        arithmetic: From :func:`hypo_engine.training.precision.reference_arithmetic`.
        layout: What determines the batches that the pairs are scored in.
    """
    digest = hashlib.sha256(repr((_VERSION, model_identity, arithmetic, layout)).encode())
    for pair in pairs:
        digest.update(repr((pair.prompt, pair.chosen, pair.rejected)).encode())
    return digest.hexdigest()


class ReferenceCache:
    """Reference log-probabilities of each pair's two answers; NaN means not computed yet."""

    def __init__(
        self,
        folder: Path | None,
        key: str,
        size: int,
        *,
        model: str = "",
        max_bytes: int | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Open the cache file of ``key``; if ``folder`` is None, the cache is in memory only.

        Args:
            model: Name of the base model, for listings of the folder.
            max_bytes: Largest total size of the folder; None reads it from the environment.
            warn: Called once if the file cannot be written; from then on the cache is in memory only.

        Raises:
            ConfigError: the limit in the environment is invalid.
        """
        self._warn = warn
        self._folder = folder
        self._path = folder / f"reference-{key[:40]}.safetensors" if folder else None
        self._key, self._model = key, model
        self._max_bytes = cache_limit() if folder and max_bytes is None else max_bytes or 0
        self.values = torch.full((size, 2), float("nan"), dtype=torch.float32)
        self._mark = self._open()

    @property
    def key(self) -> str:
        """The hash of what determines the values."""
        return self._key

    def missing(self, pair_indices: Sequence[int]) -> list[int]:
        """The ``pair_indices`` that are not computed yet."""
        return [i for i in pair_indices if bool(self.values[i].isnan().any())]

    def get(self, pair_indices: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
        """Reference log-probabilities of (chosen, rejected), each [len(pair_indices)] float32."""
        picked = self.values[list(pair_indices)].to(device)
        return picked[:, 0], picked[:, 1]

    def put(self, pair_indices: Sequence[int], chosen: Tensor, rejected: Tensor) -> None:
        """Store computed values, [len(pair_indices)] each; existing values are kept."""
        known, found = self.values[list(pair_indices)], torch.stack([chosen, rejected], dim=1).float().cpu()
        self.values[list(pair_indices)] = torch.where(known.isnan(), found, known)

    def save(self) -> None:
        """Replace the file atomically, merging values that another process has added.

        If the file cannot be written, this run continues; other runs merely cannot share its values.
        """
        if self._folder is None or self._path is None:
            return
        try:
            with locked(self._folder):
                self._merge()
                self._write(self._path)
                tidy(self._folder, self._max_bytes)
        except (OSError, SafetensorError) as error:
            self._path = None
            self._warn(f"Reference log-probabilities cannot be kept for other runs ({error}).")

    def _open(self) -> UseMark | None:
        """Read the file and mark it as used; None if the folder is not writable."""
        if self._folder is None or self._path is None:
            return None
        try:
            with locked(self._folder):
                mark = UseMark(self._path)
                self._merge()
                if self._path.exists():
                    os.utime(self._path)  # updates the time of last use
                return mark
        except OSError:
            self._merge()
            return None

    def _write(self, path: Path) -> None:
        temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        filled = int((~self.values.isnan().any(dim=1)).sum())
        said = {"key": self._key, "model": self._model, "filled": str(filled)}
        try:
            save_file({TENSOR: self.values}, temporary, metadata=said)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _merge(self) -> None:
        if self._path is None:
            return
        try:
            if not self._path.exists():
                return
            with safe_open(self._path, framework="pt") as file:
                stored = file.get_tensor(TENSOR) if (file.metadata() or {}).get("key") == self._key else None
        except (SafetensorError, OSError):
            return  # a damaged file counts as a cache miss
        if stored is not None and stored.shape == self.values.shape:
            self.values = torch.where(self.values.isnan(), stored, self.values)


def length_batches(
    pair_indices: Sequence[int], pairs: Sequence[TokenPair], batch_size: int
) -> list[list[int]]:
    """Pair indices in batches of similar length, longest first, to reduce padding."""
    ordered = sorted(pair_indices, key=lambda i: (-pairs[i].length, i))
    return [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]


def score_pairs(
    encode: Callable[[Sequence[Ids]], Encoded], pairs: Sequence[TokenPair]
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of (chosen, rejected) summed over tokens: each [pairs] float32; 0 without answer."""
    stored = StoredAnswers.of(pairs)
    return stored.by_pair(encode([p.prompt for p in pairs]).score(stored.rows, stored.completions).sums())


def fill_reference(
    cache: ReferenceCache,
    policy: Policy,
    pairs: Sequence[TokenPair],
    batches: Sequence[Sequence[int]],
    *,
    between: Callable[[int, int], None],
) -> None:
    """Score the batches with missing values; computed values are kept even if ``between`` raises.

    Batches are scored whole, as the policy will see them, so that reference and policy use the same
    arithmetic regardless of the cache's contents.

    Args:
        batches: Pair indices, batch by batch.
        between: Called before each batch with (pairs done, pairs in total).
    """
    missing = [batch for batch in batches if cache.missing(batch)]
    total, done = sum(map(len, missing)), 0
    try:
        for batch in missing:
            between(done, total)
            done += len(batch)
            with policy.reference() as encode:
                cache.put(batch, *score_pairs(encode, [pairs[i] for i in batch]))
    finally:
        if missing:
            cache.save()
