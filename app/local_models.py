"""Files of base models that are on this machine already: no torch, no network."""

from pathlib import Path

from app.settings import Settings
from hypo_engine.files.demo import DEMO_FOLDER, DEMO_NAME


def find_file(model: str, file: str, settings: Settings) -> Path | None:
    """A file of a base model, such as its config.json; None where it is not on this machine.

    Args:
        model: `demo`, a local folder, or a hub id that the hub's client has downloaded before.
    """
    if model == DEMO_NAME:
        path = settings.models_dir / DEMO_FOLDER / file
        return path if path.is_file() else None
    try:
        if (folder := local_folder(model)) is not None:
            path = folder / file
            return path if path.is_file() else None
        return _in_hub_cache(model, file)
    except (OSError, ValueError):  # a name that can be neither a path nor a hub id
        return None


def local_folder(model: str) -> Path | None:
    """The folder that a base model's name is a path of, if there is one."""
    try:
        folder = Path(model).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, ValueError, RuntimeError):  # no path, or the home of an unknown user
        return None


def wherever_read(model: str) -> str:
    """A base model's name as every process of this machine reads it: a relative path becomes absolute."""
    folder = None if model == DEMO_NAME else local_folder(model)
    return model if folder is None else str(folder.absolute())


def _in_hub_cache(name: str, file: str) -> Path | None:
    """What the hub's client has downloaded before; it asks nobody. Raises ValueError for no hub id."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, file)
    return Path(found) if isinstance(found, str) else None
