"""Launching of runs, shared by the form, the command line and the API."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy.orm import Session

from app import dispatch, endpoints, run_judges
from app.errors import InvalidInput
from app.estimates import refuse_what_cannot_fit
from app.launch_methods import PENDING, each_run, launch_problems, read_methods
from app.leaks import refuse_leaks
from app.local_models import wherever_read
from app.model_check import refuse_unusable_model
from app.reward_check import refuse_missing_reward, reward_run
from app.store import datasets, recovery, run_dependencies, runs, starts, users
from app.store.answering import ANSWER_LEASES
from app.store.db import read_session, write_session
from app.store.models import Run
from app.store.run_names import TWIN, copy_name
from app.store.run_transitions import RUN_LEASES
from app.text import clean_name, clean_text
from app.workload import refuse_what_keeps_no_pair
from hypo_engine.config import Method, TrainConfig
from hypo_engine.field_text import label


def check_configs(methods: Sequence[Method], values: Mapping[str, Any]) -> list[TrainConfig]:
    """Validate raw values as the configurations of a launch's runs, in the order in which they are queued.

    Raises:
        InvalidInput: names every invalid field; `field` is the first of them.
    """
    fields = TrainConfig.model_fields
    if found := launch_problems(methods, values):
        titles = [label(name, fields[name]) if name in fields else name for name in found]
        said = [f"{title} {problem}." for title, problem in zip(titles, found.values(), strict=True)]
        raise InvalidInput(" ".join(said), field=next(iter(found)))
    return [TrainConfig.model_validate(run) for run in each_run(methods, values)]


def launch(
    method: str | Sequence[str],
    dataset_id: int,
    values: Mapping[str, Any],
    *,
    name: str = "",
    parent_id: int | None = None,
    judge: str = "",
    user: str = users.LOCAL,
) -> list[Run]:
    """Queue a run for each method, and notify the workers after the commit.

    Several runs differ in the method alone. With the reward `train`, a reward model is trained first, on the
    same pairs, and the other runs wait for it.

    Args:
        method: a method, several with commas between, a list of them, or `twins`, short for `dpo,hypo`.
        values: raw TrainConfig values; a `method` among them is ignored.
        name: name of the runs; derived from method and dataset when empty.
        judge: judges every evaluation against the reference: `endpoint:NAME` or a scorer; empty: nobody.

    Raises:
        InvalidInput: for an invalid method, name, judge or configuration, for a base model that cannot be
            trained, and for length limits that leave no pair. Nothing is queued in these cases.
        NotFound: for a dataset that does not exist.
        Refused: for a dataset without training pairs, for a run whose evaluation uses prompts that it or its
            reward model is trained on, and for a run that needs more memory than this machine's workers
            have, unless `insist` is set.
    """
    chosen = read_methods(method)
    name = clean_name(name)
    values = {key: clean_text(value) if isinstance(value, str) else value for key, value in values.items()}
    if len(name) > 100:
        raise InvalidInput("The name has more than 100 characters; shorten it.", field="name")
    if isinstance(model := values.get("model_name_or_path"), str):
        values["model_name_or_path"] = wherever_read(model)
    configs = check_configs(chosen, values)
    if judge:
        run_judges.read_judge(judge)
    with read_session() as reading:
        datasets.require_training_pairs(dataset_id, session=reading)
    refuse_unusable_model(configs[-1])
    refuse_missing_reward(configs[-1])
    refuse_leaks(configs[-1], dataset_id)
    refuse_what_keeps_no_pair(configs[-1], dataset_id)
    refuse_what_cannot_fit(configs, dataset_id)
    with write_session() as session:
        queued = _queue(configs, dataset_id, name, parent_id, session=session)
        if judge:
            run_judges.add(judge, queued, user=user, session=session)
    _send_startable([run.id for run in queued])
    return queued


def _queue(
    configs: Sequence[TrainConfig], dataset_id: int, name: str, parent_id: int | None, *, session: Session
) -> list[Run]:
    """Queue a run for each configuration; the first is that of the reward model for which others wait."""
    group = str(uuid4()) if len(configs) > 1 else None
    if parent_id is not None and not name:
        name = copy_name(runs.get(parent_id, session=session), session=session, longest=90)
    name = TWIN.sub("", name) if group else name
    starts.hold(configs[0].model_name_or_path, session=session)
    queued: list[Run] = []
    for config in configs:
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
        title = config.method.label
        run.name = f"{name} · {title}" if name and group else name or f"{title} on {run.dataset.name}"
        queued.append(run)
    return queued


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
