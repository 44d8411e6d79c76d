"""Datasets: upload, list, look, delete."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Query, UploadFile
from fastapi.responses import Response

from app.errors import InvalidInput
from app.exports import labels as exports
from app.imports import service as imports
from app.imports.hub import add_from_hub
from app.imports.service import AddedDataset
from app.rest.caller import Caller
from app.rest.files import kept_upload
from app.rest.once import OnceOnly
from app.rest.paging import Cursor, Limit, Page, cut, place_of
from app.rest.schemas.datasets import (
    KINDS,
    Columns,
    DatasetAdded,
    DatasetDetails,
    DatasetShown,
    FromHub,
    FromVotes,
    LeftOutShown,
    PairShown,
)
from app.rest.types import Name, Text
from app.store import datasets
from app.store.db import read_session, write_session
from app.store.enums import Split
from app.store.label_queries import VoteFilter
from app.views import dataset_view

router = APIRouter(prefix="/datasets", tags=["datasets"])

FORM_BYTES = 1 << 20
"""Room for the fields of the form, beside the file."""

LEFT_OUT_SHOWN = 100


def add_upload_route(api: APIRouter, most_bytes: int) -> None:
    """Add the route that takes files; others take small bodies only."""
    api.add_api_route(
        "/datasets",
        add_dataset,
        methods=["POST"],
        status_code=201,
        response_model=DatasetAdded,
        tags=["datasets"],
        max_body_size=most_bytes + FORM_BYTES,
    )


def add_dataset(
    once: OnceOnly,
    user: Caller,
    file: Annotated[UploadFile, File(description=KINDS)],
    name: Annotated[Name, Form(description="The dataset's name; an existing name gets a new version.")],
    held_out: Annotated[
        float, Form(description="Share of the prompts kept for evaluation, 0 to 0.9.")
    ] = imports.DEFAULT_HELD_OUT,
    prompt_column: Annotated[
        Name, Form(description="For a file whose format is not recognised: the prompt's column.")
    ] = "",
    chosen_column: Annotated[Name, Form(description="The better answer's column.")] = "",
    rejected_column: Annotated[Name, Form(description="The worse answer's column.")] = "",
    system_column: Annotated[Name, Form(description="The system text's column.")] = "",
    a_column: Annotated[Name, Form(description="Answer A's column, where a column names the winner.")] = "",
    b_column: Annotated[Name, Form(description="Answer B's column.")] = "",
    winner_column: Annotated[Name, Form(description="The column that names the better answer.")] = "",
    a_wins: Annotated[
        Name,
        Form(description="Its values that mean A, separated by commas; bounds such as <0 are allowed."),
    ] = "",
    b_wins: Annotated[Name, Form(description="Its values that mean B.")] = "",
    split: Annotated[
        Name, Form(description="Split of a zip archive with several; empty selects the training split.")
    ] = "",
) -> Response:
    """Add a file of preference pairs as the next version of a dataset."""
    columns = {
        "prompt": prompt_column,
        "system": system_column,
        "chosen": chosen_column,
        "rejected": rejected_column,
        "a": a_column,
        "b": b_column,
        "winner": winner_column,
        "a_wins": a_wins,
        "b_wins": b_wins,
    }
    mapping = _form_mapping(columns)

    def act() -> DatasetAdded:
        with kept_upload(file, user) as path:
            added = imports.add_dataset(
                path=path,
                name=name,
                source=file.filename or "",
                mapping=mapping,
                held_out=held_out,
                split=split,
            )
        return _added(added)

    return once.run([name, held_out, split, *columns.values(), file.filename, file.size], act)


@router.post("/from-hub", status_code=201, response_model=DatasetAdded)
def add_dataset_from_hub(once: OnceOnly, given: FromHub) -> Response:
    """Add a split of a dataset of the Hugging Face hub."""

    def act() -> DatasetAdded:
        added = add_from_hub(
            repo_id=given.repo_id,
            name=given.name,
            mapping=_mapping(given.columns),
            held_out=given.held_out,
            split=given.split,
        )
        return _added(added)

    return once.run(given, act)


@router.post("/from-votes", status_code=201, response_model=DatasetAdded)
def add_dataset_from_votes(once: OnceOnly, given: FromVotes) -> Response:
    """Store the pairs that votes make as the next version of a dataset."""
    only = VoteFilter(
        given.user, given.choice, given.run_id, given.campaign_id, given.blind, given.adjudicated
    )

    def act() -> DatasetAdded:
        made = exports.use_as_dataset(
            given.name, only=only, leave_out_cut=given.whole, merge=given.merge, bad=given.bad
        )
        return _added(made)

    return once.run(given, act)


@router.get("", response_model=Page[DatasetShown])
def list_datasets(
    name: Annotated[Name, Query(description="Only datasets whose name contains this.")] = "",
    newest_only: Annotated[bool, Query(description="Only the newest version of each name.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List datasets, newest first; each version is one."""
    with read_session() as session:
        found = datasets.find(
            session=session,
            name=name or None,
            newest_only=newest_only,
            limit=limit + 1,
            before=place_of(cursor),
        )
    shown, following = cut(found, limit, lambda dataset: dataset.id)
    return {"items": [dataset_view(dataset) for dataset in shown], "next": following}


@router.get("/{dataset}", response_model=DatasetDetails)
def get_dataset(dataset: Name) -> dict[str, Any]:
    """Describe a dataset named by NAME (its newest version), NAME@VERSION or id."""
    with read_session() as session:
        found = datasets.resolve(dataset, session=session)
        splits = asdict(datasets.split_counts(found.id, session=session))
    return {**dataset_view(found), "splits": splits}


@router.get("/{dataset}/pairs", response_model=Page[PairShown])
def list_pairs(
    dataset: Name,
    split: Annotated[Split | None, Query(description="Only one side of the split.")] = None,
    search: Annotated[Text, Query(max_length=500, description="Only pairs that contain this.")] = "",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List the pairs of a dataset, in the order of its source."""
    after = place_of(cursor)
    with read_session() as session:
        found = datasets.page_of_pairs(
            datasets.resolve(dataset, session=session).id,
            session=session,
            split=split,
            search=search,
            limit=limit + 1,
            from_position=after or 0,
        )
    shown, following = cut(found, limit, lambda pair: pair.position + 1)
    return {"items": [_pair_view(pair) for pair in shown], "next": following}


@router.get("/{dataset}/left-out", response_model=Page[LeftOutShown])
def list_left_out(dataset: Name, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """List the rows of the source that became no pair, with reasons; of very many the first are kept."""
    with read_session() as session:
        found = datasets.page_of_left_out(
            datasets.resolve(dataset, session=session).id,
            session=session,
            limit=limit + 1,
            after=place_of(cursor),
        )
    shown, following = cut(found, limit, lambda line: line.id)
    return {"items": [{"row": line.row, "reason": line.reason} for line in shown], "next": following}


@router.delete("/{dataset}", status_code=204)
def delete_dataset(dataset: Name) -> None:
    """Take one version off the lists. Its pairs stay, so that finished runs can still show them."""
    with write_session() as session:
        datasets.delete(datasets.resolve(dataset, session=session).id, session=session)


def _added(added: AddedDataset) -> DatasetAdded:
    with read_session() as session:
        view = dataset_view(datasets.get(added.id, session=session))
    left_out = [{"row": line.row, "reason": line.reason} for line in added.left_out[:LEFT_OUT_SHOWN]]
    return DatasetAdded.model_validate({**view, "left_out": left_out, "remarks": list(added.remarks)})


def _pair_view(pair: Any) -> dict[str, Any]:
    found = datasets.pair_of(pair)
    return {"position": pair.position, "row": pair.row, "split": pair.split, **asdict(found)}


def _mapping(columns: Columns | None) -> dict[str, Any] | None:
    return None if columns is None else columns.model_dump()


def _form_mapping(columns: dict[str, str]) -> dict[str, str] | None:
    if not any(columns.values()):
        return None
    if not columns["winner"] and not (columns["chosen"] and columns["rejected"]):
        raise InvalidInput(
            "Name both chosen_column and rejected_column, or a_column, b_column and winner_column, "
            "or leave all columns out.",
            field="chosen_column",
        )
    return columns
