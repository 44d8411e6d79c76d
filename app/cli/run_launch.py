"""`hypo runs launch`: queue runs, or tell what they would take."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app import sweeps
from app.cli.forecast import show_forecast
from app.cli.output import JsonFlag, require_worker, warn
from app.cli.waiting import report_runs
from app.dispatch import TRAIN_QUEUE
from app.errors import InvalidInput
from app.launch import checked_plan, launch
from app.launch_forecast import forecast_view
from app.presence import worker_missing
from app.presets import preset_values
from app.run_yaml import RunYaml, read_run_yaml
from app.store import datasets as dataset_store
from app.store.db import read_session
from hypo_engine.assignments import parse_assignments
from hypo_engine.errors import ConfigError

SweepOption = Annotated[
    list[str] | None,
    typer.Option(help="NAME=V1,V2 or NAME=LOW..HIGH:COUNT: a run for each combination. May be repeated."),
]
TrialsOption = Annotated[
    int | None,
    typer.Option(min=1, max=sweeps.MOST, help="Draw this many combinations of a sweep at random."),
]
JudgeOption = Annotated[
    str,
    typer.Option(
        help="Judges the samples of every evaluation against the reference's: endpoint:NAME, or a scorer "
        "as for `hypo judge start`."
    ),
]


def launch_runs(
    dataset: Annotated[str | None, typer.Option(help="Dataset: NAME, NAME@VERSION or id.")] = None,
    method: Annotated[
        str | None,
        typer.Option(help="A method, or up to five on the same data: dpo,hypo,rloo; twins: dpo,hypo."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="demo (the default), a hub id, a folder, or run:NUMBER.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE for any TrainConfig field; may be repeated.")
    ] = None,
    sweep: SweepOption = None,
    trials: TrialsOption = None,
    preset: Annotated[str | None, typer.Option(help="Start from a preset of the launch page.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Start from a YAML file, as shown by the launch page.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    judge: JudgeOption = "",
    insist: Annotated[bool, typer.Option("--insist", help="Launch even if memory seems too small.")] = False,
    forecast: Annotated[
        bool, typer.Option("--forecast", help="Queue nothing; tell the runs with their memory and disk.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the runs are over.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Queue a run for each method. Options overrule the YAML file, which overrules the preset.

    With --sweep a run is queued for each combination of the values that its method reads.
    """
    given = RunYaml() if config is None else _read_yaml(config)
    values = {
        **({} if preset is None else preset_values(preset)),
        **given.values,
        **assignments(settings or []),
        **({} if model is None else {"model_name_or_path": model}),
        **({"insist": True} if insist else {}),
    }
    chosen = method or given.method
    wanted = dataset or given.dataset
    if chosen is None or wanted is None:
        raise InvalidInput("Give --method and --dataset, or a YAML file that names both.")
    with read_session() as session:
        dataset_id = dataset_store.resolve(wanted, session=session).id
    swept = sweeps.read_sweep(sweep or [])
    if forecast:
        planned = checked_plan(chosen, dataset_id, values, sweep=swept, trials=trials)
        show_forecast(forecast_view(planned, dataset_id), as_json=as_json)
        return
    if wait:
        require_worker(TRAIN_QUEUE)
    title = name or given.name or ""
    queued = launch(chosen, dataset_id, values, name=title, judge=judge, sweep=swept, trials=trials)
    if not wait and (missing := worker_missing(TRAIN_QUEUE)):
        warn(f"Queued, and waiting: {missing}")
    report_runs([run.id for run in queued], wait=wait, as_json=as_json)


def _read_yaml(path: Path) -> RunYaml:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}.", field="config") from error
    return read_run_yaml(text)


def assignments(given: list[str]) -> dict[str, Any]:
    """The values of --set options.

    Raises:
        InvalidInput: one is not NAME=VALUE.
    """
    try:
        return parse_assignments(given)
    except ConfigError as error:
        raise InvalidInput(f"--set: {error}", field="set") from error
