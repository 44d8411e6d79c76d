"""Whether a base model can be trained, as far as its files on this machine tell: no torch, no network.

What files do not tell is found when the run loads the model.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

from app.errors import InvalidInput
from app.local.running import read_running
from app.local_models import find_file, local_folder
from app.settings import Settings, get_settings
from hypo_engine.config import PromptStyle, TrainConfig
from hypo_engine.errors import ModelError
from hypo_engine.files.check import check_model_files, configured_context, read_model_config
from hypo_engine.files.tokenizer import ANY_OF
from hypo_engine.files.weights import INDEX, SINGLE

FIELD: Final = "model_name_or_path"
_READ: Final = ("config.json", "adapter_config.json", "chat_template.jinja", SINGLE, INDEX, *ANY_OF)
"""Files whose change makes a model be looked at again."""


def refuse_unusable_model(config: TrainConfig) -> None:
    """Refuse a base model that cannot be trained, and lengths that it cannot read.

    Raises:
        InvalidInput: with the reason and the remedy; `field` is what to change.
    """
    for field, sentence in model_problems(config).items():
        raise InvalidInput(sentence, field=field)


def model_problems(config: TrainConfig) -> dict[str, str]:
    """What is wrong with a run's base model, by the field to change; nothing if its files are elsewhere."""
    settings, name = get_settings(), config.model_name_or_path
    problem = _missing_folder(name, settings)
    if problem:
        return {FIELD: problem}
    stamps = _stamps(name, settings)
    if not any(stamps):
        return {}
    try:
        limit = _checked(name, config.prompt_style, stamps, settings.models_dir)
    except ModelError as error:
        return {FIELD: str(error)}
    wanted = config.max_prompt_length + config.max_completion_length
    if limit is not None and wanted > limit:
        return {
            "max_prompt_length": f"Prompt tokens and Completion tokens are {wanted:,} together, but the "
            f"model reads {limit:,}; lower one of them (max_prompt_length, max_completion_length)."
        }
    return {}


def _missing_folder(name: str, settings: Settings) -> str:
    """What to say of a path that is no folder, where this machine's own workers will train."""
    is_path = name.startswith(("/", "./", "../", "~"))
    running = read_running(settings)
    here = running is not None and "broker" in running.children
    if not is_path or not here or local_folder(name) is not None:
        return ""
    return f"There is no folder {name!r} on this machine; give a model's folder, a hub id, or `demo`."


def _stamps(name: str, settings: Settings) -> tuple[int, ...]:
    """When a model's folder and each of its files were written; 0 for what is not here."""
    files = (find_file(name, file, settings) for file in _READ)
    return tuple(_written_at(path) for path in (local_folder(name), *files))


def _written_at(path: Path | None) -> int:
    try:
        return path.stat().st_mtime_ns if path else 0
    except OSError:
        return 0


@lru_cache(maxsize=64)
def _checked(name: str, style: PromptStyle, _stamps: tuple[int, ...], _models_dir: Path) -> int | None:
    """The tokens that a model reads at most; looked at once while its files stay as they are.

    Raises:
        ModelError: it cannot be trained; such a model is looked at every time.
    """
    settings = get_settings()

    def find(file: str) -> Path | None:
        return find_file(name, file, settings)

    check_model_files(name, find, whole=local_folder(name) is not None, style=style)
    return configured_context(read_model_config(name, find))
