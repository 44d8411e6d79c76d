"""Runs that start from another run's model: their base model is `run:12`, or `run:12@40` for a checkpoint.

A run's weights are an adapter of its own base model, so the model of such a run is a chain: the base model of
the first run, and a checkpoint of each run up to the named one.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from app.errors import InvalidInput, Refused
from app.store import run_checkpoints, runs
from app.store.contenders import REWARD
from app.store.enums import RunStatus
from app.store.models import Checkpoint, Run
from hypo_engine.model_spec import RunModel, parse_run_model

LONGEST = 8
"""The largest number of runs in a chain."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A base model's name, taken apart.

    Attributes:
        base: The base model of the first run; the name itself if it is no run's.
        runs: The runs whose models follow each other, from the first to the named one.
        checkpoints: Of each of them, the one that is used.
    """

    base: str
    runs: tuple[Run, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()


def chain(name: str, *, session: Session) -> Chain:
    """Take a base model's name apart.

    Raises:
        InvalidInput: the name begins like a run's and is none, or the chain is too long.
        NotFound: a run does not exist.
        Refused: a run is not finished, writes no text, or does not have the checkpoint.
    """
    found: list[tuple[Run, Checkpoint]] = []
    base = name
    while (named := _parsed(base)) is not None:
        if len(found) == LONGEST:
            raise InvalidInput(
                f"{name} starts from more than {LONGEST} runs, one after the other; export it with --merged, "
                "and name the folder.",
                field="model_name_or_path",
            )
        run = runs.get(named.run, session=session)
        found.insert(0, (run, _checkpoint(run, named, session=session)))
        base = run.base_model
    return Chain(base, tuple(run for run, _ in found), tuple(checkpoint for _, checkpoint in found))


def _parsed(name: str) -> RunModel | None:
    try:
        return parse_run_model(name)
    except ValueError as error:
        raise InvalidInput(f"Base model {error}.", field="model_name_or_path") from error


def _checkpoint(run: Run, named: RunModel, *, session: Session) -> Checkpoint:
    """The checkpoint of a run that others may start from."""
    if run.method == REWARD:
        raise Refused(f"Run {run.id} trained a reward model, which writes no text; start from another run.")
    if run.status is not RunStatus.FINISHED:
        remedy = "resume it" if run.status.is_over else "wait for it to finish"
        raise Refused(f"Run {run.id} is {run.status.value}; {remedy}, or start from another run.")
    kept = run_checkpoints.of_run(run.id, session=session)
    if not kept:
        raise Refused(f"Run {run.id} has no checkpoint left; start from another run.")
    if named.step is None:
        return kept[-1]
    at = next((checkpoint for checkpoint in kept if checkpoint.step == named.step), None)
    if at is None:
        steps = ", ".join(str(checkpoint.step) for checkpoint in kept)
        raise Refused(f"Run {run.id} has no checkpoint of step {named.step}; it kept those of {steps}.")
    return at


def bottom(name: str, *, session: Session) -> str:
    """The base model of the first run of a chain; the name as far as the chain's runs exist."""
    for _ in range(LONGEST):
        try:
            named = parse_run_model(name)
        except ValueError:
            return name
        run = None if named is None else session.get(Run, named.run)
        if run is None:
            return name
        name = run.base_model
    return name


def startable(checkpoints: Collection[Checkpoint], *, session: Session) -> list[tuple[str, Run]]:
    """The checkpoints that a run may start from: their names as base models, and their runs."""
    found: dict[str, Run] = {}
    for checkpoint in checkpoints:
        run = runs.get(checkpoint.run_id, session=session)
        last = run_checkpoints.last(run.id, session=session)
        if run.status is RunStatus.FINISHED and run.method != REWARD:
            at = "" if last is not None and last.id == checkpoint.id else f"@{checkpoint.step}"
            found[f"run:{run.id}{at}"] = run
    return list(found.items())


def started_from(run_id: int, *, session: Session) -> Sequence[int]:
    """The runs whose base model is the model of a run, oldest first."""
    query = select(Run.id).where(starts_from([run_id], session=session), Run.deleted_at.is_(None))
    return session.scalars(query.order_by(Run.id)).all()


def starts_from(run_ids: Collection[int], *, session: Session) -> ColumnElement[bool]:
    """The condition that a run's base model is the last or a kept checkpoint of one of these runs."""
    kept = select(Checkpoint.run_id, Checkpoint.step).where(Checkpoint.run_id.in_(run_ids))
    steps = [f"run:{run_id}@{step}" for run_id, step in session.execute(kept)]
    return Run.base_model.in_([*(f"run:{run_id}" for run_id in run_ids), *steps])


def hold(name: str, *, session: Session) -> None:
    """Keep the run that a base model's name refers to from being deleted until the end of the transaction.

    Raises:
        NotFound: it was deleted.
    """
    if (named := _parsed(name)) is not None:
        runs.locked([named.run], session=session)
        runs.get(named.run, session=session)


def refuse_while_others_start_from(run_id: int, *, session: Session) -> None:
    """Refuse to delete a run whose model others need, to train and to answer.

    Raises:
        Refused: names these runs.
    """
    if found := started_from(run_id, session=session):
        which = f"Run {run_id} is the base model of {_named(found)}, which cannot train or answer without it"
        if len(found) > 1:
            raise Refused(f"{which}; delete those first, or archive this run.")
        raise Refused(f"{which}; delete that first, or archive this run.")


def _named(run_ids: Collection[int]) -> str:
    first = ", ".join(map(str, list(run_ids)[:5]))
    return f"runs {first}{' and others' if len(run_ids) > 5 else ''}" if len(run_ids) > 1 else f"run {first}"
