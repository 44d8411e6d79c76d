"""Check whether a base model can be trained, from its files on this machine, without torch or network.

Problems that the files do not show appear when the run loads the model.
"""

from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from app.errors import AppError, InvalidInput
from app.local.running import read_running
from app.local_models import find_file, local_folder
from app.settings import Settings, get_settings
from app.store import starts
from app.store.db import read_session
from hypo_engine.config import PromptStyle, TrainConfig
from hypo_engine.errors import ModelError
from hypo_engine.files.adapter import check_adapter_files, unstack
from hypo_engine.files.check import check_model_files, configured_context, read_model_config
from hypo_engine.files.tokenizer import ANY_OF
from hypo_engine.files.weights import INDEX, SINGLE
from hypo_engine.memory.shape import read_shape

FIELD: Final = "model_name_or_path"
_READ: Final = ("config.json", "adapter_config.json", "chat_template.jinja", SINGLE, INDEX, *ANY_OF)
"""Files whose change triggers a new check of a model."""


def refuse_unusable_model(config: TrainConfig) -> None:
    """Refuse a base model that cannot be trained, and lengths beyond its context.

    Raises:
        InvalidInput: with the reason and the remedy; `field` is the field to change.
    """
    for field, sentence in model_problems(config).items():
        raise InvalidInput(sentence, field=field)


def model_problems(config: TrainConfig) -> dict[str, str]:
    """Problems of a run's base model, by the field to change; empty if its files are not on this machine."""
    settings = get_settings()
    try:
        with read_session() as session:
            first = starts.chain(config.model_name_or_path, session=session).base
        name, adapters = unstack(first)
        for adapter in adapters:
            check_adapter_files(adapter, partial(find_file, name, settings=settings), name)
    except (AppError, ModelError) as error:
        return {FIELD: str(error)}
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
    if config.load_in_4bit and not _fits_four_bit(name, settings):
        return {
            "load_in_4bit": "The model has no linear layer that 4 bits can hold; set load_in_4bit to false."
        }
    wanted = config.max_prompt_length + config.max_completion_length
    if limit is not None and wanted > limit:
        return {
            "max_prompt_length": f"Prompt tokens and Completion tokens are {wanted:,} together, but the "
            f"model reads {limit:,}; lower one of them (max_prompt_length, max_completion_length)."
        }
    return {}


def _fits_four_bit(name: str, settings: Settings) -> bool:
    """Whether 4 bits can hold a model's layers; also true of an unknown architecture, which a run tries."""
    try:
        shape = read_shape(read_model_config(name, partial(find_file, name, settings=settings)))
    except ModelError:
        return True
    return shape.four_bit_parameters > 0


def _missing_folder(name: str, settings: Settings) -> str:
    """A sentence for a path that is not a folder, if this machine's own workers will train; else empty."""
    is_path = name.startswith(("/", "./", "../", "~"))
    running = read_running(settings)
    here = running is not None and "broker" in running.children
    if not is_path or not here or local_folder(name) is not None:
        return ""
    return f"There is no folder {name!r} on this machine; give a model's folder, a hub id, or `demo`."


def _stamps(name: str, settings: Settings) -> tuple[int, ...]:
    """Modification times of a model's folder and files, in ns; 0 for a missing one."""
    files = (find_file(name, file, settings) for file in _READ)
    return tuple(_written_at(path) for path in (local_folder(name), *files))


def _written_at(path: Path | None) -> int:
    try:
        return path.stat().st_mtime_ns if path else 0
    except OSError:
        return 0


@lru_cache(maxsize=64)
def _checked(name: str, style: PromptStyle, _stamps: tuple[int, ...], _models_dir: Path) -> int | None:
    """Check a model and return its context length. Cached until its files change.

    Raises:
        ModelError: the model cannot be trained. Such a result is not cached.
    """
    settings = get_settings()

    def find(file: str) -> Path | None:
        return find_file(name, file, settings)

    check_model_files(name, find, whole=local_folder(name) is not None, style=style)
    return configured_context(read_model_config(name, find))
