"""Contenders: models that may answer, answers that were written elsewhere, and their display names."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NotFound, Refused
from app.store.enums import RunStatus
from app.store.models import Checkpoint, Contender, Run
from hypo_engine.model_spec import is_run_model

REFERENCE: Final = "reference"
REWARD: Final = "reward"
"""The method of runs that score answers and write none."""
GIVEN: Final = "answers"
"""The method of a contender whose answers come from a file: no model of ours wrote them."""
ENDPOINT: Final = "endpoint"
"""The method of a contender that answers behind an endpoint; its `base_model` is the model there."""


def read_contender(
    run_id: int | None, checkpoint_id: int | None, base_model: str | None, *, session: Session
) -> Contender:
    """Return a base model, or a run's checkpoint. For a finished run the default is the last checkpoint.

    Raises:
        InvalidInput: when neither a run nor a base model is named.
        NotFound: for a run that does not exist.
        Refused: for a run that is not over, for a failed or cancelled run without a named checkpoint, and
            for a checkpoint that the run does not have.
    """
    if run_id is None:
        if not base_model:
            raise InvalidInput("A contender is a run, or the base model of one.", field="contenders")
        return Contender(base_model=base_model, name=reference_name(base_model), method=REFERENCE)
    run = session.get(Run, run_id)
    if run is None:
        raise NotFound(f"There is no run {run_id}; choose one from the list of runs.")
    if run.method == REWARD:
        raise Refused(f"Run {run.id} trains a reward model, which writes no answers; choose another run.")
    if not run.status.is_over:
        raise Refused(f"Run {run.id} is {run.status.value}; wait for it to finish, then compare.")
    if run.status is not RunStatus.FINISHED and checkpoint_id is None:
        raise Refused(f"Run {run.id} is {run.status.value}; only finished runs can be compared.")
    query = select(Checkpoint).where(Checkpoint.run_id == run.id).order_by(Checkpoint.step.desc())
    if checkpoint_id is not None:
        query = query.where(Checkpoint.id == checkpoint_id)
    checkpoint = session.scalars(query.limit(1)).first()
    if checkpoint is None:
        raise Refused(f"Run {run.id} has no such checkpoint; choose another run or checkpoint.")
    return Contender(
        base_model=run.base_model,
        run_id=run.id,
        checkpoint_id=checkpoint.id,
        name=checkpoint_name(run, checkpoint.step),
        method=run.method,
        in_4bit=trained_in_4bit(run),
    )


def reference_name(base_model: str, *, in_4bit: bool = False) -> str:
    """The name of a base model among contenders; that of a run's model says of which run.

    Args:
        in_4bit: Whether its weights are held in 4 bits, which makes it another model.
    """
    which = [*([base_model] if is_run_model(base_model) else []), *(["4-bit"] if in_4bit else [])]
    return f"Reference ({', '.join(which)})" if which else "Reference"


def settle_references(contenders: Sequence[Contender]) -> None:
    """Hold base models among new contenders in 4 bits if all runs beside them, trained from them, are."""
    for one in contenders:
        if one.method == REFERENCE:
            runs = [other for other in contenders if other.base_model == one.base_model and other.run_id]
            one.in_4bit = bool(runs) and all(run.in_4bit for run in runs)
            one.name = reference_name(one.base_model, in_4bit=one.in_4bit)


def trained_in_4bit(run: Run) -> bool:
    """Whether a run's frozen weights were held in 4 bits."""
    return bool(run.config.get("load_in_4bit"))


def checkpoint_name(run: Run, step: int) -> str:
    """The name of a run's weights after a step: that of the run if they are its last."""
    final = run.status is RunStatus.FINISHED and step == run.step
    return run.name if final else f"{run.name} @ {step}"


def check_contenders_exist(contenders: Sequence[Contender], *, blind: bool = False) -> None:
    """Check that all contenders have their weights: a deleted run and a step without a checkpoint have none.

    Args:
        blind: whether the sentence may not tell the name.

    Raises:
        Refused: when one has none.
    """
    for contender in contenders:
        name = "A contender" if blind else contender.name
        if was_deleted(contender.method, contender.run_id):
            raise Refused(f"{name} was deleted and cannot answer; start anew with other contenders.")
        if contender.run_id is not None and contender.checkpoint_id is None:
            raise Refused(
                f"{name} has no checkpoint at that step and cannot answer; start anew with other contenders."
            )


def check_contenders_write(contenders: Sequence[Contender]) -> None:
    """Check that all contenders can answer a new prompt; answers from a file cannot.

    Raises:
        Refused: when one cannot.
    """
    given = [contender.name for contender in contenders if contender.method == GIVEN]
    if given:
        raise Refused(
            f"The answers of {' and '.join(given)} come from a file, which has none to further prompts; "
            "start a new campaign with a file that answers all of them."
        )


def was_deleted(method: str, run_id: int | None) -> bool:
    """Whether a contender, or a model with votes, belonged to a run that was deleted."""
    return run_id is None and method not in (REFERENCE, GIVEN, ENDPOINT)


def origin(method: str, base_model: str, run_id: int | None) -> str:
    """Where the answers of a contender without a run come from, in a few words."""
    if was_deleted(method, run_id):
        return "run deleted"
    return "from a file" if method == GIVEN else base_model
