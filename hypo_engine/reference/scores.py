"""Cached reference log-probabilities of pairs: computed once, shared between runs on the same data.

The file's name is a hash of everything the numbers depend on, to the last bit: the base model's weights,
the dtype they run in, the token ids themselves (so tokenizer, template, style and lengths count too), and
what decides which pairs are scored together, since a batch's padding rounds otherwise. So twins share, and
a run with other batches computes its own. Only pairs that a run will see are computed; a file with gaps is
filled by the run that needs more, and runs that fill one at once keep each other's work.
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

_VERSION = "3"


def reference_key(
    model_identity: str, arithmetic: str, pairs: Sequence[TokenPair], *, layout: str = ""
) -> str:
    """SHA-256 over all that cached numbers depend on.

    Args:
        model_identity: From :func:`hypo_engine.models.load.model_identity`.
        arithmetic: Device type and dtype the model runs in.
        layout: What decides the batches that the pairs are scored in.
    """
    digest = hashlib.sha256(repr((_VERSION, model_identity, arithmetic, layout)).encode())
    for pair in pairs:
        digest.update(repr((pair.prompt, pair.chosen, pair.rejected)).encode())
    return digest.hexdigest()


class ReferenceCache:
    """Reference log-probabilities of each pair's two answers; NaN marks what is not computed yet."""

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
        """Open the cache of ``key``; with ``folder`` None it stays in memory. Foreign files are ignored.

        Args:
            model: Name of the base model, for people who look at the folder.
            max_bytes: Most bytes of the folder's files together; None asks the environment.
            warn: Told, once, when the file cannot be written; from then on the cache stays in memory.

        Raises:
            ConfigError: the environment holds a bad limit.
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
        """What the values depend on, as a hash."""
        return self._key

    def missing(self, pair_indices: Sequence[int]) -> list[int]:
        """Those of ``pair_indices`` that are not computed yet."""
        return [i for i in pair_indices if bool(self.values[i].isnan().any())]

    def get(self, pair_indices: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
        """Reference log-probabilities of (chosen, rejected), each [len(pair_indices)] float32."""
        picked = self.values[list(pair_indices)].to(device)
        return picked[:, 0], picked[:, 1]

    def put(self, pair_indices: Sequence[int], chosen: Tensor, rejected: Tensor) -> None:
        """Store what was computed, [len(pair_indices)] each; what was there before stays as it is."""
        known, found = self.values[list(pair_indices)], torch.stack([chosen, rejected], dim=1).float().cpu()
        self.values[list(pair_indices)] = torch.where(known.isnan(), found, known)

    def save(self) -> None:
        """Write the file in one move, keeping what another process has added meanwhile.

        A file that cannot be written costs other runs their share of the work, and this run nothing.
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
        """Read the file and mark it as used; None where the folder cannot be written."""
        if self._folder is None or self._path is None:
            return None
        try:
            with locked(self._folder):
                mark = UseMark(self._path)
                self._merge()
                if self._path.exists():
                    os.utime(self._path)  # last used now
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
            return  # a damaged file is a cache miss
        if stored is not None and stored.shape == self.values.shape:
            self.values = torch.where(self.values.isnan(), stored, self.values)


def length_batches(
    pair_indices: Sequence[int], pairs: Sequence[TokenPair], batch_size: int
) -> list[list[int]]:
    """Pair indices in batches of similar length, longest first: less padding, and the same mean loss."""
    ordered = sorted(pair_indices, key=lambda i: (-pairs[i].length, i))
    return [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]


def score_pairs(
    encode: Callable[[Sequence[Ids]], Encoded], pairs: Sequence[TokenPair]
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of (chosen, rejected) summed over tokens: each [pairs] float32."""
    rows = range(len(pairs))
    completions = [*(p.chosen for p in pairs), *(p.rejected for p in pairs)]
    sums = encode([p.prompt for p in pairs]).score([*rows, *rows], completions).sums()
    return sums[: len(pairs)], sums[len(pairs) :]


def fill_reference(
    cache: ReferenceCache,
    policy: Policy,
    pairs: Sequence[TokenPair],
    batches: Sequence[Sequence[int]],
    *,
    between: Callable[[int, int], None],
) -> None:
    """Compute the batches with something missing; what was computed is kept even when ``between`` raises.

    A batch is scored whole, as the policy will see it: reference and policy are then the same arithmetic,
    whatever was in the cache before.

    Args:
        batches: Pair indices, batch by batch.
        between: Called before each batch with (pairs done, pairs to do).
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
