"""Artifacts: folders under one root, on this machine or on S3, moved with fsspec.

A checkpoint counts once its row is in the database, which is written after the last file: a half
uploaded folder is never read.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from app.errors import Refused
from app.model_card import model_card
from app.settings import Settings, get_settings
from app.store import runs
from app.store.db import read_session

ADAPTER_FOLDER = "adapter"
MODEL_FOLDER = "model"


def _place(key: str, settings: Settings) -> tuple[Any, str]:
    if ".." in Path(key).parts or key.startswith("/"):
        raise Refused(f"{key!r} is no key of an artifact.")
    filesystem, root = url_to_fs(settings.artifacts)
    return filesystem, f"{root.rstrip('/')}/{key}"


def save_folder(folder: Path, key: str) -> None:
    """Copy a local folder to the artifacts, in place of what lies under the key.

    Raises:
        OSError: when the disk is full or the store cannot be reached.
    """
    filesystem, place = _place(key, get_settings())
    if filesystem.exists(place):
        filesystem.rm(place, recursive=True)
    filesystem.makedirs(place, exist_ok=True)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        target = f"{place}/{file.relative_to(folder).as_posix()}"
        filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
        filesystem.put_file(str(file), target)


def fetch_folder(key: str, folder: Path) -> Path:
    """Copy an artifact to a local folder, whole or not at all; a folder that is there already is kept.

    Raises:
        Refused: when there is no such artifact.
    """
    if folder.is_dir():
        return folder
    filesystem, place = _place(key, get_settings())
    if not filesystem.exists(place):
        raise Refused(f"The files of {key} are gone from the artifacts; the run has to be trained again.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".fetching-", dir=folder.parent))
    try:
        for name in filesystem.find(place):
            relative = name[len(place) :].lstrip("/") if name.startswith(place) else Path(name).name
            target = partial / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            filesystem.get_file(name, str(target))
        partial.chmod(0o755)
        partial.replace(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def fetch_weights(checkpoint: str, folder: Path) -> Path:
    """Copy the weights of a checkpoint to a new local folder, without the optimiser's state.

    Raises:
        Refused: when the checkpoint's files are gone.
    """
    filesystem, place = _place(checkpoint, get_settings())
    adapted = filesystem.exists(f"{place}/{ADAPTER_FOLDER}")
    return fetch_folder(f"{checkpoint}/{ADAPTER_FOLDER if adapted else MODEL_FOLDER}", folder)


def check_store() -> None:
    """See that the artifacts' filesystem can be used at all, before a run relies on it.

    Raises:
        Refused: when its driver is not installed or the address is no address.
    """
    try:
        url_to_fs(get_settings().artifacts)
    except (ImportError, ValueError) as error:
        raise Refused(
            f"HYPO_ARTIFACTS_URL={get_settings().artifacts_url!r} cannot be used ({error}); "
            "for s3:// install the extra: pip install 'hypo-studio[s3]'."
        ) from error


def delete_folder(key: str) -> None:
    """Remove an artifact; one that is not there is no error."""
    filesystem, place = _place(key, get_settings())
    if filesystem.exists(place):
        filesystem.rm(place, recursive=True)


def export_run(run_id: int, output: Path) -> Path:
    """Write a run's last weights to a folder, as a PEFT adapter or a full model, with a model card.

    Raises:
        NotFound: for a run that does not exist.
        Refused: when the run has no checkpoint, or the folder exists and is not empty.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise Refused(f"{output} exists and is not empty; name a new folder.")
    with read_session() as session:
        run = runs.get(run_id, session=session)
        checkpoint = runs.last_checkpoint(run_id, session=session)
        if checkpoint is None:
            raise Refused(f"Run {run_id} has no checkpoint yet; wait for it to finish, then export it.")
        card = model_card(run, runs.final_metrics(run_id, session=session), checkpoint.step)
    with tempfile.TemporaryDirectory() as scratch:
        weights = fetch_weights(checkpoint.path, Path(scratch) / "weights")
        shutil.copytree(weights, output, dirs_exist_ok=True)
    (output / "README.md").write_text(card, encoding="utf-8")
    return output


def export_zip(run_id: int, folder: Path) -> Path:
    """Write a run's export as one zip file into a folder and return the file."""
    with tempfile.TemporaryDirectory() as scratch:
        exported = export_run(run_id, Path(scratch) / f"hypo-run-{run_id}")
        archive = shutil.make_archive(str(folder / exported.name), "zip", scratch, exported.name)
    return Path(archive)


__all__ = ["delete_folder", "export_run", "export_zip", "fetch_folder", "save_folder"]
