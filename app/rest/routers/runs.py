"""Runs: launch, list, watch, edit, cancel, resume, clone, delete, export."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response, StreamingResponse

from app import artifacts, launch, metrics_csv, run_edits
from app.deletion import delete_run as delete_run_and_files
from app.dispatch import TRAIN_QUEUE
from app.errors import InvalidInput
from app.launch_forecast import forecast_view
from app.presence import worker_missing
from app.presets import preset_values
from app.rest.caller import Caller
from app.rest.files import sent_file, streamed
from app.rest.once import OnceOnly
from app.rest.paging import Cursor, Limit, Page, cut, place_of
from app.rest.schemas.runs import (
    CheckpointShown,
    Clone,
    Edit,
    EventShown,
    Forecast,
    ForecastShown,
    Launch,
    MetricsShown,
    RunShown,
    RunsQueued,
    SampleShown,
)
from app.rest.types import Id, Name, PathId
from app.store import datasets, generations, metrics, run_checkpoints, run_log, run_transitions, runs
from app.store.db import read_session, write_session
from app.store.enums import GenerationKind, RunStatus, Shelf
from app.store.models import Run
from app.views import run_view, run_views
from hypo_engine.config import Method

router = APIRouter(prefix="/runs", tags=["runs"])

DEMO_MODEL = "demo"


@router.post("", status_code=201, response_model=RunsQueued)
def launch_runs(once: OnceOnly, user: Caller, given: Launch) -> Response:
    """Queue a training run, or one for each of several methods on the same data, order, seed and steps."""

    def act() -> RunsQueued:
        with read_session() as session:
            dataset_id = datasets.resolve(given.dataset, session=session).id
        values = _values(given)
        return _queued(
            launch.launch(
                given.method,
                dataset_id,
                values,
                name=given.name,
                judge=given.judge,
                sweep=given.sweep,
                trials=given.trials,
                user=user,
            )
        )

    return once.run(given, act)


@router.post("/forecast", response_model=ForecastShown)
def forecast_runs(given: Forecast) -> dict[str, Any]:
    """Tell what a launch would queue: the runs with their steps, memory and disk. Nothing is queued."""
    with read_session() as session:
        dataset_id = datasets.resolve(given.dataset, session=session).id
    planned = launch.checked_plan(
        given.method, dataset_id, _values(given), sweep=given.sweep, trials=given.trials
    )
    return forecast_view(planned, dataset_id)


def _values(given: Forecast) -> dict[str, Any]:
    """Options, which overrule the preset; the model may be named in either place, but only one."""
    values = {**(preset_values(given.preset) if given.preset else {}), **given.config}
    said = values.setdefault("model_name_or_path", given.model or DEMO_MODEL)
    if given.model and said != given.model:
        raise InvalidInput(
            f"model is {given.model!r} and config's model_name_or_path is {said!r}; give one of them.",
            field="model",
        )
    return values


@router.post("/{run_id}/clone", status_code=201, response_model=RunsQueued)
def clone_run(once: OnceOnly, run_id: PathId, given: Clone) -> Response:
    """Launch a run again, with changes if any are given."""

    def act() -> RunsQueued:
        with read_session() as session:
            run = runs.get(run_id, session=session)
        values = {**run.config, **given.config}
        method, name = str(values["method"]), given.name or run.name
        return _queued(launch.launch(method, run.dataset_id, values, name=name, parent_id=run.id))

    return once.run([run_id, given.model_dump()], act)


@router.get("", response_model=Page[RunShown])
def list_runs(
    method: Annotated[Method | None, Query(description="Only runs of this method.")] = None,
    status: Annotated[RunStatus | None, Query(description="Only runs in this state.")] = None,
    dataset: Annotated[Name, Query(description="Only runs on a dataset of this name, any version.")] = "",
    name: Annotated[Name, Query(description="Only runs whose name contains this.")] = "",
    tag: Annotated[Name, Query(description="Only runs with this tag.")] = "",
    show: Annotated[Shelf, Query(description="Runs that are not archived, archived ones, or all.")] = (
        Shelf.CURRENT
    ),
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List runs, newest first."""
    with read_session() as session:
        found = runs.find(
            session=session,
            method=method.value if method else None,
            status=status,
            dataset_name=dataset or None,
            name=name or None,
            tag=tag or None,
            shelf=show,
            limit=limit + 1,
            before=place_of(cursor),
        )
        shown, following = cut(found, limit, lambda run: run.id)
        return {"items": run_views(shown, session=session), "next": following}


@router.get("/metrics.csv", response_class=StreamingResponse)
def export_metrics(
    run: Annotated[list[Id], Query(min_length=1, max_length=metrics_csv.MAX_RUNS, description="The runs.")],
    name: Annotated[list[Name] | None, Query(max_length=100, description="Only these metrics.")] = None,
) -> StreamingResponse:
    """Download metrics of several runs as CSV: exact values, one row for each run, metric and step."""
    names = name or []
    return streamed(
        metrics_csv.pieces(run, names), metrics_csv.file_name(run, names), "text/csv; charset=utf-8"
    )


@router.get("/{run_id}", response_model=RunShown)
def get_run(run_id: PathId) -> dict[str, Any]:
    """Say where a run stands."""
    return _shown(run_id)


@router.patch("/{run_id}", response_model=RunShown)
def edit_run(run_id: PathId, given: Edit) -> dict[str, Any]:
    """Rename a run, write notes about it, tag it, or archive it."""
    run_edits.edit([run_id], run_edits.Edit(**given.model_dump()))
    return _shown(run_id)


@router.post("/{run_id}/cancel", response_model=RunShown)
def cancel_run(run_id: PathId) -> dict[str, Any]:
    """Cancel a run: at once while it is queued, after the present step while it is running."""
    with write_session() as session:
        run_transitions.request_cancel(run_id, session=session)
    return _shown(run_id)


@router.post("/{run_id}/resume", response_model=RunShown)
def resume_run(run_id: PathId) -> dict[str, Any]:
    """Resume a failed or cancelled run from its last checkpoint."""
    launch.resume(run_id)
    return _shown(run_id)


@router.delete("/{run_id}", status_code=204)
def delete_run(run_id: PathId) -> None:
    """Delete a run that is over, with its metrics, samples and checkpoints; answers and votes stay."""
    delete_run_and_files(run_id)


@router.get("/{run_id}/events", response_model=Page[EventShown])
def list_events(run_id: PathId, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """List the lines of a run's log, newest first."""
    with read_session() as session:
        runs.get(run_id, session=session)
        found = run_log.page(run_id, session=session, limit=limit + 1, before=place_of(cursor))
    shown, following = cut(found, limit, lambda event: event.id)
    items = [{name: getattr(event, name) for name in EventShown.model_fields} for event in shown]
    return {"items": items, "next": following}


@router.get("/{run_id}/metrics", response_model=MetricsShown)
def get_metrics(
    run_id: PathId,
    name: Annotated[list[Name] | None, Query(max_length=100, description="Only these metrics.")] = None,
    after_step: Annotated[
        int, Query(ge=-1, lt=2**31, description="Only values measured after this step.")
    ] = -1,
) -> dict[str, Any]:
    """Read the curves of a run; to follow one, ask for what came after the last step that you have."""
    with read_session() as session:
        runs.get(run_id, session=session)
        names = name or metrics.names_of([run_id], session=session)
        found = metrics.series([run_id], names, session=session, after_step=after_step)
    return {"run_id": run_id, "series": [_series(key[1], points) for key, points in found.items()]}


def _series(name: str, points: list[tuple[int, float]]) -> dict[str, Any]:
    return {"name": name, "steps": [step for step, _ in points], "values": [value for _, value in points]}


@router.get("/{run_id}/samples", response_model=Page[SampleShown])
def list_samples(
    run_id: PathId,
    kind: Annotated[
        GenerationKind, Query(description="online: of a training step; eval, probe: of an evaluation.")
    ] = GenerationKind.ONLINE,
    step: Annotated[int | None, Query(ge=0, lt=2**31, description="Only samples of this step.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List what a run sampled in training, the latest step first."""
    with read_session() as session:
        runs.get(run_id, session=session)
        found = generations.page_of_run(
            run_id, session=session, kind=kind, step=step, limit=limit + 1, before=_place(cursor)
        )
        shown, following = cut(found, limit, lambda sample: f"{sample.step or 0}.{sample.id}")
        items = [
            {
                **{key: getattr(sample, key, None) for key in SampleShown.model_fields},
                "prompt": sample.prompt.content,
            }
            for sample in shown
        ]
    return {"items": items, "next": following}


def _place(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    step, _, last = cursor.partition(".")
    place = place_of(last)
    if not step.isdecimal() or len(step) > 10 or place is None:
        raise InvalidInput("cursor must be the `next` of the previous page.", field="cursor")
    return int(step), place


@router.get("/{run_id}/checkpoints", response_model=list[CheckpointShown])
def list_checkpoints(run_id: PathId) -> list[dict[str, Any]]:
    """List the weights that a run kept, oldest first."""
    with read_session() as session:
        best = run_checkpoints.best_step_of(runs.get(run_id, session=session), session=session)
        found = run_checkpoints.of_run(run_id, session=session)
    return [
        {"id": row.id, "step": row.step, "created_at": row.created_at, "best": row.step == best}
        for row in found
    ]


@router.get("/{run_id}/export", response_class=FileResponse)
def export_run(user: Caller, run_id: PathId) -> FileResponse:
    """Download a run's last weights as a zip file: a PEFT adapter, or the full model, with a model card."""
    return sent_file(lambda folder: artifacts.export_zip(run_id, folder), "application/zip", user)


def _shown(run_id: int) -> dict[str, Any]:
    with read_session() as session:
        return run_view(runs.get(run_id, session=session), session=session)


def _queued(launched: list[Run]) -> RunsQueued:
    views: list[Mapping[str, Any]] = [_shown(run.id) for run in launched]
    return RunsQueued.model_validate({"runs": views, "note": worker_missing(TRAIN_QUEUE) or ""})
