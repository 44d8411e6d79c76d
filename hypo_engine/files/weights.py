"""Names and shapes of a model's weights, from the headers of its safetensors files. No torch here."""

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from hypo_engine.errors import ModelError

Find = Callable[[str], Path | None]
"""File name -> path; None if the file does not exist."""

SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"

_LARGEST_HEADER: Final = 100_000_000
"""In bytes, as limited by the format."""

_FLOATS: Final = frozenset({"F64", "F32", "F16", "BF16"})

_UNREADABLE: Final = (OSError, ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError)
"""Errors of reading a file that is not JSON or not an index of weights."""

_LFS: Final = b"version https://git-lfs"
_FETCH: Final = "fetch the model again with all of its files"


def stored_tensors(find: Find, name: str, *, whole: bool) -> dict[str, tuple[int, ...]] | None:
    """The shape of every stored tensor, by name.

    Args:
        name: The model's name in errors.
        whole: Whether all files must exist; if False, a missing file gives None.

    Returns:
        None if there is neither a weights file nor an index.

    Raises:
        ModelError: a file in the index is missing, lacks a tensor, or is damaged.
    """
    single = find(SINGLE)
    if single is not None:
        return read_shapes(single, name)
    index = find(INDEX)
    if index is None:
        return None
    places = _read_index(index, name)
    files = {file: find(file) for file in sorted(set(places.values()))}
    missing = [file for file, path in files.items() if path is None]
    if missing and whole:
        raise ModelError(f"{name!r} lacks {some(missing)}, named in {INDEX}; {_FETCH}.")
    if missing:
        return None
    tensors = {file: read_shapes(path, name) for file, path in files.items() if path is not None}
    lost = sorted(tensor for tensor, file in places.items() if tensor not in tensors[file])
    if lost:
        raise ModelError(
            f"The weights of {name!r} are not those of {INDEX}: {len(lost)} missing ({some(lost)}); {_FETCH}."
        )
    return {tensor: shape for found in tensors.values() for tensor, shape in found.items()}


def some(names: list[str]) -> str:
    """The first names of a list, for a sentence."""
    return ", ".join([*names[:3], *(["..."] if len(names) > 3 else [])])


def _read_index(path: Path, name: str) -> Mapping[str, str]:
    try:
        places: Any = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{INDEX} of {name!r} cannot be read; {_FETCH}.") from error
    files = places.values() if isinstance(places, dict) else [None]
    if not all(isinstance(file, str) and Path(file).name == file for file in files):
        raise ModelError(f"{INDEX} of {name!r} does not say which file holds which weights; {_FETCH}.")
    return dict(places)


def read_shapes(path: Path, name: str) -> dict[str, tuple[int, ...]]:
    """The shapes in one file, whose length has to match its header."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            if start and _LFS.startswith(start):
                raise ModelError(
                    f"{path.name} of {name!r} is a pointer of Git LFS, not weights; run `git lfs pull` there."
                )
            (length,) = struct.unpack("<Q", start)
            if not 0 < length <= min(size - 8, _LARGEST_HEADER):
                raise ValueError("the header does not fit")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        shapes = {tensor: tuple(map(int, told["shape"])) for tensor, told in header.items()}
        end = max((int(told["data_offsets"][1]) for told in header.values()), default=0) + 8 + length
    except (*_UNREADABLE, AttributeError, struct.error) as error:
        raise ModelError(
            f"{path.name} of {name!r} is damaged or not a safetensors file; {_FETCH}."
        ) from error
    for tensor, told in header.items():
        if tensor.endswith(".weight") and len(shapes[tensor]) > 1 and told.get("dtype") not in _FLOATS:
            raise ModelError(
                f"{name!r} has quantised weights ({tensor} is {told.get('dtype')}), which cannot "
                "be trained here; choose the same model with weights in bfloat16 or float32."
            )
    if end != size:
        raise ModelError(
            f"{path.name} of {name!r} has {size:,} bytes where its header asks for {end:,}: it is "
            f"truncated; {_FETCH}."
        )
    return shapes


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
