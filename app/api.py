"""The app's API: what the pages do, as typed functions of Gradio's own API.

`gradio_client.Client(address).predict(..., api_name="/launch_run")` calls them, and the app's API page
documents them. They stay thin: the pages and the command line use the same services.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import gradio as gr
from gradio.components.base import Component
from gradio.context import Context
from gradio.data_classes import FileData
from gradio.events import api as endpoint
from gradio.utils import get_function_description

from app import answers, launch
from app.dispatch import GENERATE_QUEUE
from app.errors import AppError, InvalidInput, NotFound, Refused
from app.exports import labels as exports
from app.imports import service as imports
from app.presence import worker_missing
from app.security import files
from app.store import datasets, labels, runs
from app.store.conversations import ContenderChoice, Decoding
from app.store.db import read_session, write_session
from app.store.enums import RunStatus
from app.text import MAX_ID, clean_text
from app.ui.widgets import username
from app.views import answers_view, dataset_view, run_view, vote_view

MOST_LISTED = 1000
DEMO_MODEL = "demo"

P = ParamSpec("P")
T = TypeVar("T")


def _says_why(function: Callable[P, T]) -> Callable[P, T]:
    """Errors meant for people reach the client as their sentence."""

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except AppError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return called


@_says_why
def add_dataset(
    file: FileData,
    name: str,
    held_out: float = imports.DEFAULT_HELD_OUT,
    request: gr.Request | None = None,
) -> dict[str, Any]:
    """Add a file of preference pairs as the next version of a dataset.

    Args:
        file: JSON, JSONL, CSV or Parquet, plain or gzipped; gradio_client's handle_file(path) uploads it.
        name: what to call the dataset; a known name gets a new version.
        held_out: share of the prompts kept for evaluation, 0 to 0.9.

    Returns:
        id, name, version, format, rows, left_out_count, and the first rows left out, with reasons.
    """
    path, source = _uploaded(file, username(request))
    with write_session() as session:
        added = imports.add_dataset(session=session, path=path, name=name, source=source, held_out=held_out)
    return {
        "id": added.id,
        "name": added.name,
        "version": added.version,
        "format": added.format,
        "rows": added.rows,
        "left_out_count": added.left_out_count,
        "left_out": [{"row": line.row, "reason": line.reason} for line in added.left_out[:100]],
    }


@_says_why
def list_datasets() -> list[dict[str, Any]]:
    """List all datasets, newest first.

    Returns:
        A row for each version, with its number of rows, its format and where it is from.
    """
    listed: list[dict[str, Any]] = []
    with read_session() as session:
        while page := datasets.find(session=session, limit=MOST_LISTED, offset=len(listed)):
            listed += [dataset_view(dataset) for dataset in page]
    return listed


@_says_why
def launch_run(
    method: Literal["dpo", "hypo", "twins"],
    dataset: str,
    model: str = "",
    config: dict[str, Any] | None = None,
    name: str = "",
) -> list[dict[str, Any]]:
    """Queue a training run, or a DPO and a HyPO run on the same data, order, seed and budget.

    Args:
        method: dpo, hypo, or twins for both.
        dataset: name, name@version or id.
        model: demo, a hub id or a folder of the machine that trains; empty is what config says, else demo.
        config: other options by name, such as {"max_steps": 60, "beta": 0.1}; the rest keeps its default.
        name: what to call the run; made up when empty.

    Returns:
        The queued runs, as get_run describes them.
    """
    values = dict(config or {})
    said = values.setdefault("model_name_or_path", model or DEMO_MODEL)
    if model and said != model:
        raise InvalidInput(
            f"model is {model!r} and config's model_name_or_path is {said!r}; give one of them.",
            field="model",
        )
    with read_session() as session:
        dataset_id = datasets.resolve(clean_text(dataset), session=session).id
    queued = launch.launch(method, dataset_id, values, name=name)
    return [_run(run.id) for run in queued]


@_says_why
def get_run(run_id: int) -> dict[str, Any]:
    """Say where a run stands.

    Args:
        run_id: the run's number.

    Returns:
        status, step, total_steps, phase, place_in_queue, the last metrics, error, config and more.
    """
    return _run(_known("run", run_id))


@_says_why
def list_runs(
    method: Literal["", "dpo", "hypo"] = "",
    status: Literal["", "queued", "running", "finished", "failed", "cancelled"] = "",
    dataset: str = "",
    name: str = "",
) -> list[dict[str, Any]]:
    """List runs, newest first.

    Args:
        method: only dpo or hypo runs; empty for all.
        status: only queued, running, finished, failed or cancelled runs; empty for all.
        dataset: only runs on a dataset of this name, of any version; empty for all.
        name: only runs whose name contains this; empty for all.

    Returns:
        The runs, as get_run describes them.
    """
    with read_session() as session:
        found = runs.find(
            session=session,
            method=method or None,
            status=_status(status),
            dataset_name=clean_text(dataset) or None,
            name=clean_text(name) or None,
            limit=MOST_LISTED,
        )
        return [run_view(run, session=session) for run in found]


@_says_why
def cancel_run(run_id: int) -> dict[str, Any]:
    """Cancel a run: at once while it is queued, after the present step while it is running.

    Args:
        run_id: the run's number.

    Returns:
        The run, as get_run describes it.
    """
    with write_session() as session:
        runs.request_cancel(_known("run", run_id), session=session)
    return _run(run_id)


@_says_why
def generate(
    prompt: str,
    run_ids: list[int],
    include_reference: bool = True,
    max_new_tokens: int = 128,
    temperature: float = 0.7,
    top_p: float = 1.0,
    seed: int = 0,
    wait_seconds: float = 120.0,
    request: gr.Request | None = None,
) -> dict[str, Any]:
    """Ask the models of finished runs, and the reference they started from, one question with one seed.

    Answers that are late come on the compare page.

    Args:
        prompt: the question.
        run_ids: the runs whose last checkpoints answer; at most four contenders with the reference.
        include_reference: whether the base model answers as well.
        max_new_tokens: longest answer, in tokens.
        temperature: 0 takes the likeliest token.
        top_p: share of the likeliest tokens to sample from.
        seed: the same for every contender.
        wait_seconds: how long to wait, at most 600, which needs a worker; 0 queues the question and returns.

    Returns:
        comparison_id, for vote, note, on a worker that is missing, and the answers: letter, text and more.
    """
    missing = worker_missing(GENERATE_QUEUE)
    if missing and wait_seconds > 0:
        raise Refused(missing)
    asked = [_known("run", run_id) for run_id in run_ids]
    choices = answers.contenders_of_runs(asked, with_reference=include_reference)
    comparison = answers.begin(
        choices or [ContenderChoice(base_model=DEMO_MODEL)],
        prompt,
        user=username(request),
        seed=seed,
        decoding=Decoding(max_new_tokens, temperature, top_p),
    )
    seconds = min(max(wait_seconds, 0.0), answers.LONGEST_WAIT_SECONDS)
    return {**answers_view(answers.wait(comparison.id, seconds=seconds)), "note": missing or ""}


@_says_why
def vote(
    comparison_id: int,
    choice: Literal["A", "B", "C", "D", "tie", "both bad"],
    worst: Literal["", "A", "B", "C", "D"] = "",
    reason: str = "",
    request: gr.Request | None = None,
) -> dict[str, Any]:
    """Vote on a comparison; a second vote takes the place of the first.

    Args:
        comparison_id: as generate returned it.
        choice: letter of the best answer, tie, or both bad.
        worst: letter of the worst answer; needed for the best of more than two.
        reason: why, in words; may be empty.

    Returns:
        The vote, as list_labels describes it.
    """
    known = _known("comparison", comparison_id)
    label = answers.vote(known, choice, user=username(request), worst=worst, reason=reason)
    with read_session() as session:
        return vote_view(labels.details(label.id, session=session))


@_says_why
def list_labels() -> list[dict[str, Any]]:
    """List the newest 1000 votes, newest first; export_labels gives all.

    Returns:
        The votes: id, comparison_id, user, choice, best, worst, shown, blind, reason, question and more.
    """
    with read_session() as session:
        return [vote_view(vote) for vote in labels.votes(session=session, limit=MOST_LISTED)]


@_says_why
def export_labels(
    format: Literal["trl", "raw"] = "trl",
    file_type: Literal["jsonl", "csv", "parquet"] = "jsonl",
    request: gr.Request | None = None,
) -> FileData:
    """Write all votes to a file.

    Args:
        format: trl for prompt, chosen, rejected as conversations; raw for one row a vote with everything.
        file_type: jsonl, csv or parquet.

    Returns:
        The file; gradio_client downloads it and returns its path.
    """
    exported = exports.export_labels(format, file_type, folder=files.new_folder(username(request)))
    return served(exported.path)


FUNCTIONS: tuple[Callable[..., Any], ...] = (
    add_dataset,
    list_datasets,
    launch_run,
    get_run,
    list_runs,
    cancel_run,
    generate,
    vote,
    list_labels,
    export_labels,
)


def register() -> None:
    """Add the functions to the Blocks being built."""
    for function in FUNCTIONS:
        added = endpoint(function, api_name=function.__name__, concurrency_limit=8)
        _document(added, function)


def _document(added: Any, function: Callable[..., Any]) -> None:
    """Put what the docstring says of parameters and result on the API page, which takes the summary only."""
    if Context.root_block is None:
        raise RuntimeError("register() belongs inside the app's Blocks.")
    _, of_parameters, of_results = get_function_description(function)
    event = Context.root_block.fns[added["id"]]
    said = [*list(of_parameters.values())[: len(event.inputs)], *of_results]
    for component, words in zip([*event.inputs, *event.outputs], said, strict=True):
        if isinstance(component, Component):
            component.api_info()["description"] = words


def served(path: Path) -> FileData:
    """A file of a download folder, as clients take it."""
    return FileData(path=str(path), orig_name=path.name, size=path.stat().st_size)


def _uploaded(file: FileData | dict[str, Any] | str, user: str) -> tuple[Path, str]:
    """The uploaded file and its own name. Any other path of this machine is refused."""
    given = file.model_dump() if isinstance(file, FileData) else file
    path = given.get("path") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(path, str):
        raise InvalidInput("file must be an upload: pass handle_file(path) of gradio_client.", field="file")
    resolved = files.owned(path, user)
    if resolved is None:
        raise InvalidInput("file must be an upload: pass handle_file(path) of gradio_client.", field="file")
    return resolved, str(given.get("orig_name") or resolved.name)


def _known(what: str, number: int) -> int:
    """An id that rows can have; any other names nothing."""
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_ID:
        raise NotFound(f"There is no {what} {str(number)[:40]}.")
    return number


def _run(run_id: int) -> dict[str, Any]:
    with read_session() as session:
        return run_view(runs.get(run_id, session=session), session=session)


def _status(status: str) -> RunStatus | None:
    try:
        return RunStatus(status) if status else None
    except ValueError:
        known = ", ".join(RunStatus)
        raise InvalidInput(f"status must be one of {known}, not {status!r}.", field="status") from None
