"""A run's last weights as a model repository."""

import json
import tempfile
from pathlib import Path
from typing import Final

from app.artifacts import export_run
from app.errors import Refused
from app.pushing.hub import Pushed, Target, checked_repo_id, push_folder
from app.store import runs
from app.store.db import read_session

ENDINGS: Final = (".safetensors", ".json", ".md", ".txt", ".model", ".jinja")
_NAMING_FILES: Final = ("adapter_config.json", "config.json", "tokenizer_config.json")
_NAMING_KEYS: Final = ("base_model_name_or_path", "_name_or_path", "name_or_path")


def push_run(run_id: int, repo_id: str, *, public: bool = False, update: bool = False) -> Pushed:
    """Push a run's export: an adapter, a full model or a reward model, with its model card.

    Raises:
        NotFound: for a run that does not exist.
        Refused: without weights, for weights other than safetensors, and as `push_folder`.
        InvalidInput: for an invalid id.
    """
    target = Target(checked_repo_id(repo_id, "model"), "model", public=public, update=update)
    with read_session() as session:
        run = runs.get(run_id, session=session)
        values, name = [run.base_model, *run.config.values()], run.name
    with tempfile.TemporaryDirectory() as scratch:
        folder = export_run(run_id, Path(scratch) / "model")
        check_files(folder)
        hide_folders(folder, [value for value in values if isinstance(value, str)])
        return push_folder(folder, target, f"Run {run_id}: {name}"[:200])


def check_files(folder: Path) -> None:
    """Check that a folder holds safetensors and texts only.

    Raises:
        Refused: another kind of file, which may run code when it is loaded.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith(ENDINGS):
            raise Refused(f"{path.name} is neither safetensors nor text, so the run was not pushed.")


def hide_folders(folder: Path, values: list[str]) -> None:
    """Replace local folders by their last part, in the model card and in the names of base models."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8")
    for value in sorted(filter(_is_local, values), key=len, reverse=True):
        text = text.replace(value, Path(value).name)
    card.write_text(text, encoding="utf-8")
    for path in (folder / name for name in _NAMING_FILES):
        if not path.is_file():
            continue
        settings = json.loads(path.read_text(encoding="utf-8"))
        found = {key: settings[key] for key in _NAMING_KEYS if _is_local(settings.get(key))}
        if found:
            settings |= {key: Path(value).name for key, value in found.items()}
            path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _is_local(value: object) -> bool:
    return isinstance(value, str) and Path(value).is_absolute() and Path(value).name != ""
