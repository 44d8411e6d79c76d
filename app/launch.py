"""Launching of runs, shared by the form, the command line and the API."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

from sqlalchemy.orm import Session

from app import dispatch, endpoints, run_judges
from app.errors import InvalidInput
from app.estimates import refuse_what_cannot_fit
from app.launch_methods import PENDING, read_methods
from app.launch_plan import Planned, plan
from app.leaks import refuse_leaks
from app.local_models import wherever_read
from app.model_check import refuse_unusable_model
from app.package_check import refuse_missing_packages
from app.reward_check import refuse_missing_reward, reward_run
from app.store import datasets, recovery, run_dependencies, runs, starts, users
from app.store.answering import ANSWER_LEASES
from app.store.db import read_session, write_session
from app.store.models import Run
from app.store.run_names import TWIN, copy_name
from app.store.run_transitions import RUN_LEASES
from app.sweeps import Sweep
from app.text import clean_name, clean_text
from app.usable_rows import refuse_unread_rows
from app.workload import refuse_what_keeps_no_pair

_MODEL: Final = "model_name_or_path"
_LONGEST: Final = 120
_LONGEST_TITLE: Final = 100
"""Characters of a run's name, and of the part that is its own in a launch."""


def launch(
    method: str | Sequence[str],
    dataset_id: int,
    values: Mapping[str, Any],
    *,
    name: str = "",
    parent_id: int | None = None,
    judge: str = "",
    sweep: Sweep | None = None,
    trials: int | None = None,
    user: str = users.LOCAL,
) -> list[Run]:
    """Queue a run for each method and combination of swept values; notify the workers after the commit.

    Without a sweep, several runs differ in the method alone. With the reward `train`, a reward model is
    trained first, on the same pairs, and the other runs wait for it.

    Args:
        method: a method, several with commas between, a list of them, or `twins`, short for `dpo,hypo`.
        values: raw TrainConfig values; a `method` among them is ignored.
        name: name of the runs; derived from method and dataset when empty.
        judge: judges every evaluation against the reference: `endpoint:NAME` or a scorer; empty: nobody.
        sweep: several values for some options, and
        trials: how many of their combinations are drawn at random; None means all.

    Raises:
        InvalidInput: for an invalid method, name, judge, sweep or configuration, for a base model that
            cannot be trained, for a missing package, and for length limits that leave no pair. Nothing is
            queued in these cases.
        NotFound: for a dataset that does not exist.
        Refused: for a dataset without training pairs, for a run whose evaluation uses prompts that it or its
            reward model is trained on, and for a run that needs more memory than this machine's workers
            have, unless `insist` is set.
    """
    name = clean_name(name)
    if len(name) > 100:
        raise InvalidInput("The name has more than 100 characters; shorten it.", field="name")
    if judge:
        run_judges.read_judge(judge)
    planned = checked_plan(method, dataset_id, values, sweep=sweep, trials=trials)
    refuse_missing_packages([one.config for one in planned])
    refuse_what_cannot_fit([one.config for one in planned], dataset_id)
    with write_session() as session:
        queued = _queue(planned, dataset_id, name, parent_id, session=session)
        if judge:
            run_judges.add(judge, queued, user=user, session=session)
    _send_startable([run.id for run in queued])
    return queued


def checked_plan(
    method: str | Sequence[str],
    dataset_id: int,
    values: Mapping[str, Any],
    *,
    sweep: Sweep | None = None,
    trials: int | None = None,
) -> list[Planned]:
    """The runs that `launch` would queue, whatever their memory.

    Raises:
        InvalidInput, NotFound, Refused: as `launch`, except for memory.
    """
    chosen = read_methods(method)
    values = {key: clean_text(value) if isinstance(value, str) else value for key, value in values.items()}
    values |= {_MODEL: _wherever_read(values[_MODEL])} if _MODEL in values else {}
    if sweep and _MODEL in sweep:
        sweep = {**sweep, _MODEL: list(map(_wherever_read, sweep[_MODEL]))}
    planned = plan(chosen, values, sweep, trials=trials)
    with read_session() as reading:
        datasets.require_training_pairs(dataset_id, session=reading)
        refuse_unread_rows(chosen, dataset_id, session=reading)
    for one in planned if sweep else planned[-1:]:
        refuse_unusable_model(one.config)
        refuse_missing_reward(one.config)
        refuse_leaks(one.config, dataset_id)
        refuse_what_keeps_no_pair(one.config, dataset_id)
    return planned


def _wherever_read(model: object) -> object:
    return wherever_read(model) if isinstance(model, str) else model


def _queue(
    planned: Sequence[Planned], dataset_id: int, name: str, parent_id: int | None, *, session: Session
) -> list[Run]:
    """Queue the planned runs; the first is that of the reward model for which others wait."""
    group = str(uuid4()) if len(planned) > 1 else None
    if parent_id is not None and not name:
        name = copy_name(runs.get(parent_id, session=session), session=session, longest=90)
    name = TWIN.sub("", name) if group else name
    for model in sorted({one.config.model_name_or_path for one in planned}):
        starts.hold(model, session=session)
    queued: list[Run] = []
    for one in planned:
        config = one.config
        if config.reward == PENDING:
            config = config.model_copy(update={"reward": f"run:{queued[0].id}"})
        run = runs.create(
            session=session,
            name=name,
            config=config.model_dump(mode="json"),
            dataset_id=dataset_id,
            twin_group=group,
            parent_id=parent_id,
            depends_on_id=reward_run(config),
        )
        run.name = _name(name, one, run.dataset.name, alone=group is None)
        queued.append(run)
    return queued


def _name(name: str, planned: Planned, dataset: str, *, alone: bool) -> str:
    """The name of a run. If it is too long, the part that the runs of a launch have in common is cut."""
    if not name:
        return f"{planned.title} on {dataset}"[:_LONGEST].rstrip()
    title = f" · {planned.title}"[:_LONGEST_TITLE].rstrip()
    return name if alone else name[: _LONGEST - len(title)].rstrip() + title


def resume(run_id: int) -> Run:
    """Queue a failed or cancelled run to resume from its last checkpoint, and notify the workers.

    Raises:
        NotFound: for a run that does not exist.
        Refused: for a run that is waiting, running or finished, and for one that depends on a failed or
            cancelled run.
    """
    with write_session() as session:
        run = recovery.resume(run_id, session=session)
    _send_startable([run_id])
    return run


def _send_startable(run_ids: Sequence[int]) -> None:
    """Notify the train workers of runs that may start; the others are sent when they may."""
    with read_session() as session:
        found = run_dependencies.startable(run_ids, session=session)
    for run_id in found:
        send_run(run_id)


def send_run(run_id: int) -> None:
    """Notify the train workers of a run and record that the message was sent."""
    if dispatch.send_run(run_id):
        with write_session() as session:
            RUN_LEASES.mark_sent(run_id, session=session)


def send_comparison(comparison_id: int) -> None:
    """Notify the workers of a question and record that the message was sent."""
    if dispatch.send_comparison(comparison_id):
        with write_session() as session:
            ANSWER_LEASES.mark_sent(comparison_id, session=session)
    if endpoints.configured():
        dispatch.send_request(comparison_id)
