"""Choice of the files that hold the wanted split among many files."""

import re
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from app.errors import InvalidInput

EXTENSIONS = (
    "parquet",
    "arrow",
    "feather",
    "jsonl",
    "ndjson",
    "json",
    "csv",
    "tsv",
    "xlsx",
    "xlsb",
    "xls",
    "ods",
)
"""File extensions that are read, the most reliable first."""

WHOLE_TABLES = ("parquet", "arrow", "feather")
KINDS = re.compile(rf"\.({'|'.join(EXTENSIONS)})(\.gz)?$", re.IGNORECASE)
NO_ROWS = re.compile(
    r"(^|/)(dataset_infos?|dataset_dict|config|state|[^/]*metadata[^/]*)\.json$"
    r"|(^|/)(cache|tmp)[^/]*\.arrow$|(^|/)\.|(^|/)__MACOSX/",
    re.IGNORECASE,
)
SPLITS = ("train_prefs", "train", "training")
_HELD_OUT = "tests?|testing|eval|evaluation|validation|valid|val|dev|holdout|heldout"
_EDGE = "[/_.= -]"
_SPLIT = re.compile(rf"(?:^|{_EDGE})((?:train|training|{_HELD_OUT})(?:_[a-z]+)?)(?={_EDGE}|$)", re.IGNORECASE)
_OTHER = re.compile(rf"(^|{_EDGE})({_HELD_OUT})({_EDGE}|$)", re.IGNORECASE)


def readable_files(files: Collection[str]) -> list[str]:
    """The files that may hold rows, sorted."""
    return sorted(file for file in files if KINDS.search(file) and not NO_ROWS.search(file))


def splits_of(files: Collection[str]) -> list[str]:
    """The splits that the file names indicate, sorted."""
    return sorted({found for file in files if (found := split_of(file))})


def split_of(file: str) -> str:
    """The split that a file's name indicates; "" if none."""
    names = _SPLIT.findall(file)
    return names[-1].lower() if names else ""


def training_files(files: Collection[str], split: str = "") -> list[str]:
    """The files of the given split, or of the training split.

    The training split is the first that exists of `train_prefs`, `train` and `training`. Without any of them,
    it is all files whose names indicate no other split.

    Raises:
        InvalidInput: there is no such split.
    """
    readable = readable_files(files)
    if split:
        named = _named(readable, split)
        if not named:
            there = ", ".join(splits_of(readable)) or "none"
            raise InvalidInput(f"There is no split {split[:100]!r}. The splits are: {there}.", field="split")
        return _each_once(named)
    for usual in SPLITS:
        named = _named(readable, usual)
        if named:
            return _each_once(named)
    return _each_once([file for file in readable if not _OTHER.search(file)] or readable)


def _named(files: Sequence[str], split: str) -> list[str]:
    pattern = re.compile(rf"(^|{_EDGE}){re.escape(split)}({_EDGE}|$)", re.IGNORECASE)
    return [file for file in files if pattern.search(file)]


def _each_once(files: list[str]) -> list[str]:
    """Drop duplicates: text files next to Parquet or Arrow, and further kinds of the same name."""
    tables = [file for file in files if _extension(file) in WHOLE_TABLES]
    best: dict[str, str] = {}
    for file in sorted(tables or files, key=lambda file: (EXTENSIONS.index(_extension(file)), file)):
        best.setdefault(KINDS.sub("", file), file)
    kept = set(best.values())
    return [file for file in files if file in kept]


def _extension(file: str) -> str:
    found = KINDS.search(file)
    return found[1].lower() if found else ""


def without_common_folder(files: Collection[str]) -> dict[str, str]:
    """Each file, keyed by its path below the common parent folder."""
    paths = [PurePosixPath(file) for file in files]
    shared = 0
    while len({path.parts[: shared + 1] for path in paths}) == 1 and len(paths[0].parts) > shared + 1:
        shared += 1
    return {"/".join(path.parts[shared:]): file for path, file in zip(paths, files, strict=True)}
