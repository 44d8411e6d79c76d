"""Adds a dataset from a file or the hub: preview, column mapping, import."""

from pathlib import Path
from typing import Any

from app.errors import AppError
from app.i18n import _
from app.imports import AddedDataset, FileLook, UnknownFormat, add_dataset, look_into
from app.imports.hub import add_from_hub
from app.security import files
from app.store import datasets
from app.store.db import read_session
from app.ui import widgets
from app.ui.datasets import mapping as dataset_mapping
from app.ui.datasets import view as dataset_view
from app.ui.updates import Updates
from app.ui.widgets import Html
from hypo_engine.errors import DataError


def dataset_list() -> Html:
    """The current list of datasets."""
    with read_session() as session:
        return dataset_view.dataset_list(datasets.find(session=session))


def look_at(file: str | None, name: str, split: str = "") -> Updates:
    """Preview a chosen file: its format, its first pairs and its columns."""
    if not file:
        return {"look": widgets.NOTHING, **dataset_mapping.hidden()}
    path = Path(file)
    try:
        found = look_into(path, split=split.strip())
        if found.format is None and (guess := _guess(path, split, found.proposal)):
            shown = dataset_view.guessed(guess)
        else:
            shown = dataset_view.look(found)
    except AppError as error:
        return {"look": widgets.error_banner(str(error)), **dataset_mapping.hidden()}
    suggested = name or path.name.partition(".")[0][:100]
    recognised = dataset_view.format_title(found.format.name) if found.format else ""
    offered = dataset_mapping.offered(found.columns, found.proposal, recognised=recognised)
    return {"look": shown, "name": suggested, **offered}


def _guess(path: Path, split: str, proposal: dict[str, Any]) -> FileLook | None:
    """The file read with the proposed mapping, or None if the proposal does not suffice."""
    try:
        return look_into(path, mapping=proposal, split=split.strip())
    except AppError:
        return None


def look_through(file: str | None, split: str, *fields: Any) -> Updates:
    """Preview the first pairs with the current mapping after one of its fields changed."""
    groups = dataset_mapping.shown_for(fields[0])
    if not file:
        return groups
    try:
        mapping = dataset_mapping.given(fields)
        if mapping is None and fields[0] != dataset_mapping.RECOGNISED:
            return {"look": widgets.NOTHING, **groups}
        found = look_into(Path(file), mapping=mapping, split=split.strip())
    except (AppError, DataError) as error:
        return {"look": widgets.notice(str(error), "warning"), **groups}
    return {"look": dataset_view.look(found), **groups, **dataset_mapping.values_of(found.format)}


def add_from_page(
    file: str | None, hub: str, name: str, held_out: float, split: str = "", *fields: Any
) -> Updates:
    """Add the file or the hub dataset; on an error all fields keep their values."""
    try:
        mapping = dataset_mapping.given(fields) if fields else None
        done = _add(file, hub, name, held_out, split.strip(), mapping)
    except UnknownFormat as error:
        offered = dataset_mapping.offered(error.columns, error.proposal, recognised="")
        return {"message": widgets.error_banner(str(error)), **offered}
    except (AppError, DataError) as error:
        return {"message": widgets.error_banner(str(error))}
    return {
        "message": dataset_view.added(done),
        "found": dataset_list(),
        "file": None,
        "hub": "",
        "name": "",
        "split_name": "",
        **dataset_mapping.hidden(),
    }


def _add(
    file: str | None, hub: str, name: str, held_out: float, split: str, mapping: dict[str, Any] | None
) -> AddedDataset:
    if not file and not hub.strip():
        raise DataError(_("Choose a file, or enter a hub id."))
    if not file:
        return add_from_hub(repo_id=hub, name=name, mapping=mapping, held_out=held_out, split=split)
    added = add_dataset(path=Path(file), name=name, mapping=mapping, held_out=held_out, split=split)
    files.discard(Path(file))
    return added
