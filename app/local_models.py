"""Lookup of base model files on this machine, without torch or network."""

from pathlib import Path

from app.settings import Settings
from app.store import starts
from app.store.db import read_session
from hypo_engine.errors import ModelError
from hypo_engine.files.adapter import unstack
from hypo_engine.files.demo import DEMO_FOLDER, DEMO_NAME
from hypo_engine.model_spec import PREFIX


def find_file(model: str, file: str, settings: Settings) -> Path | None:
    """Find a file of a base model, such as its config.json; None if it is not on this machine.

    Args:
        model: `demo`, a local folder, a hub id in the hub client's cache, or a run. A run's model and an
            adapter's have the files of the model that they were trained from.
    """
    model = whole_model(model)
    if model == DEMO_NAME:
        path = settings.models_dir / DEMO_FOLDER / file
        return path if path.is_file() else None
    try:
        if (folder := local_folder(model)) is not None:
            path = folder / file
            return path if path.is_file() else None
        return _in_hub_cache(model, file)
    except (OSError, ValueError):  # the name is neither a valid path nor a valid hub id
        return None


def whole_model(name: str) -> str:
    """The whole model from which a run or an adapter was trained; any other name as it is."""
    if name.startswith(PREFIX):
        with read_session() as session:
            name = starts.bottom(name, session=session)
    try:
        return unstack(name)[0]
    except ModelError:
        return name


def local_folder(model: str) -> Path | None:
    """The folder that a base model's name refers to; None if there is no such folder."""
    try:
        folder = Path(model).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, ValueError, RuntimeError):  # an invalid path, or the home of an unknown user
        return None


def wherever_read(model: str) -> str:
    """Make a base model's name independent of the working directory: a local folder becomes absolute."""
    folder = None if model == DEMO_NAME or model.startswith(PREFIX) else local_folder(model)
    return model if folder is None else str(folder.absolute())


def _in_hub_cache(name: str, file: str) -> Path | None:
    """Look up a file in the hub client's cache, without network. Raises ValueError for an invalid hub id."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, file)
    return Path(found) if isinstance(found, str) else None
