"""Datasets of the Hugging Face hub: fetch the files of a split and import them like local files."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from app.errors import InvalidInput
from app.imports.mappings import GivenMapping
from app.imports.readers import Limits
from app.imports.service import DEFAULT_HELD_OUT, AddedDataset, add_files, checked_held_out, checked_name
from app.imports.splits import training_files
from app.settings import get_settings

_REPO_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")


class Hub(Protocol):
    """The operations we need from the hub."""

    def file_sizes(self, repo_id: str) -> Mapping[str, int]:
        """The repository's files with their sizes in bytes."""

    def fetch(self, repo_id: str, file: str, folder: Path) -> Path:
        """Copy a file into a folder and return its path."""


class HuggingFace:
    """The real hub. Its client reads HF_ENDPOINT and HF_TOKEN from the environment."""

    def file_sizes(self, repo_id: str) -> Mapping[str, int]:
        from huggingface_hub import HfApi

        info = HfApi().dataset_info(repo_id, files_metadata=True, timeout=15)
        return {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}

    def fetch(self, repo_id: str, file: str, folder: Path) -> Path:
        from huggingface_hub import hf_hub_download

        return Path(str(hf_hub_download(repo_id, file, repo_type="dataset", local_dir=folder)))


def add_from_hub(
    *,
    repo_id: str,
    name: str = "",
    mapping: GivenMapping | None = None,
    held_out: float = DEFAULT_HELD_OUT,
    split: str = "",
    limits: Limits | None = None,
    hub: Hub | None = None,
) -> AddedDataset:
    """Add a split of a hub dataset, such as `trl-lib/ultrafeedback_binarized`.

    Args:
        name: name of the dataset; by default the part of the id after the slash.
        split: the split to add; by default the training split.

    Raises:
        InvalidInput: an invalid id, no network, an unknown dataset, no readable file, or anything that
            `add_dataset` refuses.
    """
    repo_id = checked_repo_id(repo_id)
    name, held_out = checked_name(name or repo_id.rpartition("/")[2]), checked_held_out(held_out)
    hub, limits = hub or HuggingFace(), limits or Limits.of(get_settings())
    with tempfile.TemporaryDirectory() as folder:
        paths = fetch_files(repo_id, Path(folder), split=split, hub=hub, limits=limits)
        return add_files(
            paths=paths,
            name=name,
            source=f"hub: {repo_id}",
            mapping=mapping,
            held_out=held_out,
            limits=limits,
        )


def checked_repo_id(repo_id: str) -> str:
    """Validate a hub id, or extract it from a pasted address.

    Raises:
        InvalidInput: it is not an id such as `name/dataset`.
    """
    repo_id = re.sub(r"^(https?://)?(www\.)?huggingface\.co/datasets/", "", repo_id.strip()).strip("/")
    repo_id = "/".join(repo_id.split("/")[:2])
    if not _REPO_ID.fullmatch(repo_id) or ".." in repo_id:
        raise _bad_hub(
            f"{repo_id[:100]!r} is not a hub id; a hub id looks like trl-lib/ultrafeedback_binarized."
        )
    return repo_id


def fetch_files(repo_id: str, folder: Path, *, hub: Hub, limits: Limits, split: str = "") -> list[Path]:
    """Copy the files of a split, by default the training split, into a folder.

    Raises:
        InvalidInput: no network, an unknown dataset, no readable file, or too large.
    """
    try:
        sizes = hub.file_sizes(repo_id)
        wanted = training_files(list(sizes), split.strip())
        if not wanted:
            raise _bad_hub(f"{repo_id} holds no JSON, JSONL, CSV, Excel, Parquet or Arrow file.")
        if sum(sizes[file] for file in wanted) > limits.max_bytes:
            raise _bad_hub(
                f"{repo_id} is larger than {limits.max_bytes // 2**20} MiB. Raise "
                "HYPO_MAX_UPLOAD_MB, or add a part of it as a file."
            )
        return [hub.fetch(repo_id, file, folder) for file in wanted]
    except InvalidInput:
        raise
    except Exception as error:  # the client does not wrap the errors of its HTTP library
        raise _bad_hub(_why(repo_id, error)) from error


def _why(repo_id: str, error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return f"{repo_id} requires you to accept its terms. Accept them on the hub and set HF_TOKEN."
    if isinstance(error, RepositoryNotFoundError):
        return f"The hub has no dataset {repo_id}, or it is private. Check the id, or set HF_TOKEN."
    if isinstance(error, HfHubHTTPError):
        return f"The hub answered {error.response.status_code} for {repo_id}. Try again later."
    return (
        f"The hub cannot be reached ({type(error).__name__}), so {repo_id} was not fetched. "
        "Without a network, add the dataset as a file instead."
    )


def _bad_hub(message: str) -> InvalidInput:
    return InvalidInput(message, field="hub")
