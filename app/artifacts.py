"""Artifacts: folders under one root, on this machine or on S3, transferred with fsspec.

A checkpoint exists once its row is in the database. The row is written after the last file, so a partly
uploaded folder is never read.
"""

import errno
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from app.errors import Refused
from app.model_card import model_card
from app.settings import Settings, get_settings
from app.store import run_checkpoints, runs
from app.store.contenders import REWARD
from app.store.db import read_session
from app.store.enums import RunStatus
from app.store.starts import Chain
from hypo_engine.files.adapter import adapter_folder

ADAPTER_FOLDER = "adapter"
MODEL_FOLDER = "model"
CLASSIFIER_FOLDER = "classifier"
HEAD_FILE = "head.safetensors"


_S3_OPTIONS: dict[str, Any] = {
    "use_listings_cache": False,  # other machines write to the store too
    "config_kwargs": {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 1}},
}

_PASSING = {
    *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT),
    *(errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN, errno.EAGAIN),
    *(errno.ESTALE, errno.EBUSY, errno.EIO),
}
"""Errors of a server or a mounted folder that are usually transient."""

_PASSING_CODES = {
    *("SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "RequestTimeTooSkewed"),
    *("InternalError", "ServiceUnavailable", "BadGateway", "GatewayTimeout", "500", "502", "503", "504"),
}
"""Transient error codes of S3."""


class StoreUnavailable(Refused):
    """The artifact store cannot be reached. The error may be transient."""


@contextmanager
def _store() -> Iterator[None]:
    """Convert the errors that any library raises for an unreachable store to StoreUnavailable.

    Raises:
        StoreUnavailable: the store cannot be reached.
    """
    try:
        yield
    except StoreUnavailable:
        raise
    except Exception as error:
        if _passes(error):
            raise StoreUnavailable(
                f"The artifact store cannot be reached ({_first_line(error)}); try again later."
            ) from error
        raise


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _passes(error: BaseException | None) -> bool:
    """Whether an error, or one in its chain, means that the store is unreachable rather than refusing."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _PASSING:
            return True
        if isinstance(error, (ConnectionError, TimeoutError)):
            return True
        code = getattr(error, "response", None)
        if isinstance(code, dict) and str(code.get("Error", {}).get("Code")) in _PASSING_CODES:
            return True
        if type(error).__module__.partition(".")[0] in ("botocore", "aiohttp") and _is_transport(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_transport(error: BaseException) -> bool:
    """Whether an HTTP library failed to send or receive. Compares names, since S3's driver is an extra."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"HTTPClientError", "ConnectionError", "ClientConnectionError", "ClientPayloadError"})


def _place(key: str, settings: Settings) -> tuple[Any, str]:
    if ".." in Path(key).parts or key.startswith("/"):
        raise Refused(f"{key!r} is not the key of an artifact.")
    options = _S3_OPTIONS if settings.artifacts.startswith("s3://") else {}
    filesystem, root = url_to_fs(settings.artifacts, **options)
    return filesystem, f"{root.rstrip('/')}/{key}"


@_store()
def save_folder(folder: Path, key: str) -> int:
    """Copy a local folder to the store, replacing what the key holds. Returns the size in bytes.

    Raises:
        StoreUnavailable: when the store cannot be reached.
        OSError: when the disk is full.
    """
    filesystem, place = _place(key, get_settings())
    if filesystem.exists(place):
        filesystem.rm(place, recursive=True)
    filesystem.makedirs(place, exist_ok=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for file in files:
        target = f"{place}/{file.relative_to(folder).as_posix()}"
        filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
        filesystem.put_file(str(file), target)
    return sum(file.stat().st_size for file in files)


@_store()
def fetch_folder(key: str, folder: Path) -> Path:
    """Copy an artifact to a local folder, all or nothing. An existing folder is kept.

    Raises:
        StoreUnavailable: when the store cannot be reached.
        Refused: when the artifact does not exist.
    """
    if folder.is_dir():
        return folder
    filesystem, place = _place(key, get_settings())
    if not filesystem.exists(place):
        raise Refused(f"The files of {key} are missing from the artifact store; train the run again.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".fetching-", dir=folder.parent))
    try:
        for name in filesystem.find(place):
            relative = name[len(place) :].lstrip("/") if name.startswith(place) else Path(name).name
            target = partial / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            filesystem.get_file(name, str(target))
        partial.chmod(0o700)
        partial.replace(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


@_store()
def fetch_weights(checkpoint: str, folder: Path) -> Path:
    """Copy the weights of a checkpoint to a new local folder, without the optimiser's state.

    Of a finished reward model this is the whole classifier.

    Raises:
        StoreUnavailable: when the store cannot be reached.
        Refused: when the checkpoint's files are gone.
    """
    filesystem, place = _place(checkpoint, get_settings())
    folders = (CLASSIFIER_FOLDER, ADAPTER_FOLDER, MODEL_FOLDER)
    found = [name for name in folders if filesystem.exists(f"{place}/{name}")]
    return fetch_folder(f"{checkpoint}/{found[0] if found else MODEL_FOLDER}", folder)


@_store()
def fetch_policy(checkpoint: str, folder: Path) -> Path:
    """Copy what a checkpoint trained to a new local folder: adapter or model, and a reward model's head.

    Raises:
        StoreUnavailable: when the store cannot be reached.
        Refused: when the checkpoint's files are gone.
    """
    filesystem, place = _place(checkpoint, get_settings())
    adapted = filesystem.exists(f"{place}/{ADAPTER_FOLDER}")
    name = ADAPTER_FOLDER if adapted else MODEL_FOLDER
    fetch_folder(f"{checkpoint}/{name}", folder / name)
    if filesystem.exists(f"{place}/{HEAD_FILE}"):
        filesystem.get_file(f"{place}/{HEAD_FILE}", str(folder / HEAD_FILE))
    return folder


def fetch_chain(
    found: Chain, folder: Path, fetch: Callable[[str, Path], Path] = fetch_weights
) -> tuple[str, list[Path]]:
    """Copy the weights behind a base model that is a run's model to a local folder.

    A run that trained every weight has a whole model, so what it started from is not needed.

    Args:
        fetch: Copies the weights of a checkpoint to a new folder.

    Returns:
        The name or folder of a whole model, and the folders of the adapters to merge into it, in order.

    Raises:
        Refused: the files of a checkpoint are missing.
    """
    adapters: list[Path] = []
    for checkpoint in reversed(found.checkpoints):
        weights = fetch(checkpoint.path, folder / f"run-{checkpoint.run_id}")
        if adapter_folder(str(weights)) is None:
            return str(weights), adapters
        adapters.insert(0, weights.resolve())
    return found.base, adapters


def check_store() -> None:
    """Check that the artifact store's filesystem is usable before a run relies on it.

    Raises:
        Refused: when its driver is not installed or the address is invalid.
    """
    try:
        url_to_fs(get_settings().artifacts)
    except (ImportError, ValueError) as error:
        raise Refused(
            f"HYPO_ARTIFACTS_URL={get_settings().artifacts_url!r} cannot be used ({error}); "
            "for s3:// install the extra: pip install 'hypo-studio[s3]'."
        ) from error


@_store()
def delete_files(key: str, names: Sequence[str]) -> int:
    """Remove those of the named files that exist. Returns the remaining bytes of the artifact.

    Raises:
        StoreUnavailable: when the store cannot be reached.
    """
    filesystem, place = _place(key, get_settings())
    for name in names:
        if filesystem.exists(f"{place}/{name}"):
            filesystem.rm(f"{place}/{name}")
    return int(sum(facts["size"] for facts in filesystem.find(place, detail=True).values()))


@_store()
def delete_folder(key: str) -> None:
    """Remove an artifact. A missing artifact is not an error.

    Raises:
        StoreUnavailable: when the store cannot be reached.
    """
    filesystem, place = _place(key, get_settings())
    if filesystem.exists(place):
        filesystem.rm(place, recursive=True)


def refuse_used_folder(output: Path) -> None:
    """Refuse a folder for an export that exists and is not empty.

    Raises:
        Refused: names it.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise Refused(f"{output} exists and is not empty; give a new folder.")


def export_run(run_id: int, output: Path) -> Path:
    """Write a run's last weights and a model card to a folder, as a PEFT adapter or a full model.

    Raises:
        NotFound: for a run that does not exist.
        Refused: when the run has no checkpoint, or the folder exists and is not empty.
    """
    refuse_used_folder(output)
    with read_session() as session:
        run = runs.get(run_id, session=session)
        checkpoint = run_checkpoints.last(run_id, session=session)
        if checkpoint is None:
            raise Refused(f"Run {run_id} has no checkpoint yet; wait for it to finish, then export it.")
        if run.method == REWARD and run.status is not RunStatus.FINISHED:
            raise Refused(
                f"Run {run_id} has no whole reward model before its end; wait or resume it, then export."
            )
        card = model_card(run, runs.final_metrics(run_id, session=session), checkpoint.step)
    with tempfile.TemporaryDirectory() as scratch:
        weights = fetch_weights(checkpoint.path, Path(scratch) / "weights")
        shutil.copytree(weights, output, dirs_exist_ok=True)
    (output / "README.md").write_text(card, encoding="utf-8")
    return output


def export_zip(run_id: int, folder: Path) -> Path:
    """Write a run's export to a folder as one zip file and return its path."""
    with tempfile.TemporaryDirectory() as scratch:
        exported = export_run(run_id, Path(scratch) / f"hypo-run-{run_id}")
        archive = shutil.make_archive(str(folder / exported.name), "zip", scratch, exported.name)
    return Path(archive)


__all__ = ["delete_folder", "export_run", "export_zip", "fetch_folder", "save_folder"]
