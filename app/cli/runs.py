"""`hypo runs`: launch, list, show, edit, cancel, clone, delete, push."""

from typing import Annotated

import typer
import yaml

from app.cli.output import (
    BeforeId,
    JsonFlag,
    print_json,
    print_table,
    require_worker,
    say,
    say_more,
    warn,
)
from app.cli.pushing import PublicFlag, RepoArgument, UpdateFlag, YesFlag, agree, report
from app.cli.run_launch import assignments, launch_runs
from app.cli.waiting import report_runs, stands
from app.deletion import delete_run
from app.dispatch import TRAIN_QUEUE
from app.errors import InvalidInput
from app.launch import launch, resume
from app.pushing.runs import push_run
from app.run_columns import NEWEST, SORTABLE, order_of
from app.run_edits import Edit, edit
from app.store import run_checkpoints, run_events, run_transitions, runs
from app.store.db import read_session, write_session
from app.store.enums import RunStatus, Shelf
from app.views import run_view, run_views
from hypo_engine.measures import HEADLINES, MEASURES

cli = typer.Typer(help="Training runs.", no_args_is_help=True)

RunId = Annotated[int, typer.Argument(min=1, max=2**31 - 1, help="The run's number.")]


cli.command("launch")(launch_runs)


@cli.command("list")
def list_command(
    method: Annotated[str | None, typer.Option(help="Only runs of this method.")] = None,
    status: Annotated[RunStatus | None, typer.Option(help="State of the run.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Name of the dataset.")] = None,
    name: Annotated[str | None, typer.Option(help="Part of the run's name.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only runs with this tag.")] = None,
    show: Annotated[Shelf, typer.Option(help="Runs that are not archived, archived ones, or all.")] = (
        Shelf.CURRENT
    ),
    sort: Annotated[
        str, typer.Option(help=f"One of {', '.join(SORTABLE)}; with a minus, the largest first.")
    ] = NEWEST,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Maximum number of runs to list.")] = 1000,
    before: BeforeId = None,
    as_json: JsonFlag = False,
) -> None:
    """List runs, newest first; --before continues where a list ended."""
    order = order_of(sort)
    if before is not None and not order.is_newest_first:
        raise InvalidInput("--before continues a list of the newest first; leave --sort out.", field="before")
    with read_session() as session:
        found = runs.find(
            session=session,
            method=method,
            status=status,
            dataset_name=dataset,
            name=name,
            tag=tag,
            shelf=show,
            order=order,
            limit=limit + 1,
            before=before,
        )
        views = run_views(found[:limit], session=session)
    if as_json:
        print_json(views)
        return
    print_table(
        ["id", "name", "method", "state", "steps", "dataset", *(measure.label for measure in HEADLINES)],
        (
            (
                view["id"],
                view["name"],
                view["method"],
                view["status"],
                f"{view['step']}/{view['total_steps'] or '?'}",
                f"{view['dataset']['name']}@{view['dataset']['version']}",
                *(measure.text(view["metrics"]) for measure in HEADLINES),
            )
            for view in views
        ),
        empty="No runs yet; `hypo runs launch --help` says how to launch one.",
    )
    if order.is_newest_first:
        say_more(views, more=len(found) > limit)


@cli.command("show")
def show_command(run_id: RunId, as_json: JsonFlag = False) -> None:
    """Show one run: state, metrics, configuration, log."""
    with read_session() as session:
        run = runs.get(run_id, session=session)
        view = run_view(run, session=session)
        view["best_step"] = run_checkpoints.best_step_of(run, session=session)
        view["events"] = [
            {"at": event.at.isoformat(), "level": event.level.value, "message": event.message}
            for event in run_events.of_run(run_id, session=session)
        ]
    if as_json:
        print_json(view)
        return
    say(f"Run {run_id}: {view['name']}, {stands(view)}, step {view['step']} of {view['total_steps'] or '?'}")
    if view["best_step"] is not None:
        say(f"Best checkpoint: step {view['best_step']} ({run.config['metric_for_best_model']})")
    if view["tags"]:
        say(f"Tags: {', '.join(view['tags'])}")
    if view["notes"]:
        say(view["notes"])
    if view["error"]:
        warn(view["error"])
    if view["pairs_left_out"]:
        warn(view["pairs_left_out"])
    print_table(["metric", "value"], _metric_rows(view["metrics"]), empty="No metrics yet.")
    say(yaml.safe_dump(view["config"], sort_keys=False))
    for event in view["events"]:
        say(f"{event['at'][:19]} {event['level']:<7} {event['message']}")


def _metric_rows(metrics: dict[str, float]) -> list[tuple[str, str]]:
    """The headline numbers with their standard errors, then every metric as measured."""
    headlines = [(measure.label, measure.text(metrics)) for measure in MEASURES if measure.metric in metrics]
    return headlines + [(name, f"{value:.6g}") for name, value in sorted(metrics.items())]


@cli.command("edit")
def edit_command(
    run_ids: Annotated[list[int], typer.Argument(min=1, max=2**31 - 1, help="The runs' numbers.")],
    name: Annotated[str | None, typer.Option(help="Another name, for one run.")] = None,
    notes: Annotated[str | None, typer.Option(help="Notes in Markdown; empty to remove them.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag to add; may be repeated.")] = None,
    untag: Annotated[list[str] | None, typer.Option(help="A tag to remove; may be repeated.")] = None,
    archive: Annotated[
        bool | None,
        typer.Option("--archive/--unarchive", help="Hide the runs from lists, or show them again."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Rename runs, write notes about them, tag them, or archive them."""
    change = Edit(name=name, notes=notes, tag=tag or (), untag=untag or (), archived=archive)
    if change == Edit(tag=(), untag=()):
        raise InvalidInput("Say what to change: --name, --notes, --tag, --untag, --archive or --unarchive.")
    edit(run_ids, change)
    with read_session() as session:
        views = run_views(runs.of_ids(run_ids, session=session), session=session)
    if as_json:
        print_json(views)
        return
    for view in views:
        tags = f", tagged {', '.join(view['tags'])}" if view["tags"] else ""
        say(f"Run {view['id']}: {view['name']}{tags}{', archived' if view['archived_at'] else ''}")


@cli.command("cancel")
def cancel_command(run_id: RunId, as_json: JsonFlag = False) -> None:
    """Cancel a queued or running run; a running one stops after its current step."""
    with write_session() as session:
        run = run_transitions.request_cancel(run_id, session=session)
        view = run_view(run, session=session)
    if as_json:
        print_json(view)
    elif run.status is RunStatus.CANCELLED:
        say(f"Run {run_id} is cancelled.")
    else:
        say(f"Run {run_id} was asked to stop; it stops after the current step.")


@cli.command("resume")
def resume_command(
    run_id: RunId,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the run is over.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Resume a failed or cancelled run from its last checkpoint."""
    if wait:
        require_worker(TRAIN_QUEUE)
    resume(run_id)
    report_runs([run_id], wait=wait, as_json=as_json)


@cli.command("clone")
def clone_command(
    run_id: RunId,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE to change; may be repeated.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the run is over.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Launch a run again, with changes if any are given."""
    if wait:
        require_worker(TRAIN_QUEUE)
    with read_session() as session:
        run = runs.get(run_id, session=session)
    values = {**run.config, **assignments(settings or [])}
    queued = launch(str(values["method"]), run.dataset_id, values, parent_id=run.id)
    report_runs([one.id for one in queued], wait=wait, as_json=as_json)


@cli.command("delete")
def delete_command(
    run_id: RunId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete a run with its metrics, samples and checkpoints; answers and votes stay."""
    if not yes and not as_json:
        typer.confirm(f"Delete run {run_id} and its checkpoints?", abort=True, err=True)
    delete_run(run_id)
    print_json({"deleted": run_id}) if as_json else say(f"Run {run_id} is deleted.")


@cli.command("push")
def push_command(
    run_id: RunId,
    repo: RepoArgument,
    public: PublicFlag = False,
    update: UpdateFlag = False,
    yes: YesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Push a run's last weights to the hub as a model, with a model card.

    The token comes from HF_TOKEN or the hub's own login, the hub's address from HF_ENDPOINT.
    """
    agree(repo, public=public, yes=yes)
    report(push_run(run_id, repo, public=public, update=update), as_json=as_json)
