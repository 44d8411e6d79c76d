"""Generations: samples from training, and answers on the compare page while they are written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, delete, exists, func, insert, select, tuple_, update
from sqlalchemy.orm import Session

from app.settings import get_settings
from app.store import clock, prompts
from app.store.enums import GenerationKind, GenerationStatus
from app.store.models import Comparison, EndpointAnswer, Generation, Prompt


@dataclass(frozen=True, slots=True)
class TrainingSample:
    """A response sampled in training, ready to store; log-probabilities are sums in nats."""

    kind: GenerationKind
    step: int
    prompt: Any
    text: str
    seed: int
    tokens: int
    complete: bool
    policy_logp: float
    reference_logp: float
    score: float | None = None


def record_samples(run_id: int, samples: Iterable[TrainingSample], *, session: Session) -> None:
    """Store the responses that a run sampled.

    With RETURNING, SQLAlchemy sends one statement for many rows. FTS5 writes its index at the end of each.
    """
    made = list(samples)
    prompt_ids = prompts.keep_all([sample.prompt for sample in made], session=session)
    rows = [
        {
            "kind": sample.kind,
            "prompt_id": prompt_id,
            "run_id": run_id,
            "step": sample.step,
            "text": sample.text,
            "seed": sample.seed,
            "tokens": sample.tokens,
            "complete": sample.complete,
            "policy_logp": sample.policy_logp,
            "reference_logp": sample.reference_logp,
            "score": sample.score,
            **log_ratios(sample.policy_logp, sample.reference_logp, sample.tokens),
        }
        for sample, prompt_id in zip(made, prompt_ids, strict=True)
    ]
    if rows:
        session.execute(insert(Generation).returning(Generation.id), rows)


def log_ratios(
    policy_logp: float | None, reference_logp: float | None, tokens: int
) -> dict[str, float | None]:
    """The columns of the log-ratio of a text and of its mean per token, in nats; None where unknown."""
    if policy_logp is None or reference_logp is None:
        return {"log_ratio": None, "token_log_ratio": None}
    ratio = policy_logp - reference_logp
    return {"log_ratio": ratio, "token_log_ratio": ratio / tokens if tokens else None}


def forget_samples(run_id: int, *, session: Session, kind: GenerationKind, step: int) -> None:
    """Delete an earlier attempt's samples of a step that is repeated."""
    session.execute(
        delete(Generation).where(
            Generation.run_id == run_id, Generation.kind == kind, Generation.step == step
        )
    )


def of_run(
    run_id: int,
    *,
    session: Session,
    kind: GenerationKind,
    step: int | None = None,
    limit: int = 50,
    offset: int = 0,
) -> Sequence[Generation]:
    """Samples of a run, by step and then in the order sampled."""
    query = select(Generation).where(Generation.run_id == run_id, Generation.kind == kind)
    if step is not None:
        query = query.where(Generation.step == step)
    return session.scalars(query.order_by(Generation.step, Generation.id).limit(limit).offset(offset)).all()


def count_of_run(run_id: int, *, session: Session, kind: GenerationKind) -> int:
    query = select(func.count()).where(Generation.run_id == run_id, Generation.kind == kind)
    return session.scalar(query) or 0


def newest_of_run(
    run_id: int, *, session: Session, kind: GenerationKind, limit: int, offset: int = 0
) -> Sequence[Generation]:
    """Samples of a run, latest step first. Prompts of samples before `offset` are not read."""
    order = Generation.step.desc(), Generation.id.desc()
    ids = select(Generation.id).where(Generation.run_id == run_id, Generation.kind == kind).order_by(*order)
    shown = session.scalars(ids.limit(limit).offset(offset)).all()
    return session.scalars(select(Generation).where(Generation.id.in_(shown)).order_by(*order)).all()


def page_of_run(
    run_id: int,
    *,
    session: Session,
    kind: GenerationKind,
    step: int | None = None,
    limit: int = 50,
    before: tuple[int, int] | None = None,
) -> Sequence[Generation]:
    """Samples of a run, latest step first (keyset pagination).

    Args:
        before: step and id of the last sample of the previous page; None for the first page.
    """
    query = select(Generation).where(Generation.run_id == run_id, Generation.kind == kind)
    if step is not None:
        query = query.where(Generation.step == step)
    if before is not None:
        query = query.where(tuple_(Generation.step, Generation.id) < tuple_(*before))
    return session.scalars(query.order_by(Generation.step.desc(), Generation.id.desc()).limit(limit)).all()


def steps_of_run(run_id: int, *, session: Session, kind: GenerationKind) -> Sequence[int]:
    """The steps at which a run sampled, in order."""
    query = select(Generation.step).where(
        Generation.run_id == run_id, Generation.kind == kind, Generation.step.is_not(None)
    )
    return [step for step in session.scalars(query.distinct().order_by(Generation.step)) if step is not None]


def probe_prompts(run_id: int, *, session: Session) -> Sequence[Prompt]:
    """The prompts that a run answers at each evaluation, in the order of its first answers."""
    of_run = Generation.run_id == run_id, Generation.kind == GenerationKind.PROBE
    first = select(func.min(Generation.step)).where(*of_run).scalar_subquery()
    query = select(Prompt).join(Generation, Generation.prompt_id == Prompt.id)
    return (
        session.scalars(query.where(*of_run, Generation.step == first).order_by(Generation.id)).unique().all()
    )


def probe_answers(run_id: int, prompt_id: int, *, session: Session) -> Sequence[Generation]:
    """A run's answers to one of these prompts, by step."""
    query = select(Generation).where(
        Generation.run_id == run_id,
        Generation.kind == GenerationKind.PROBE,
        Generation.prompt_id == prompt_id,
    )
    return session.scalars(query.order_by(Generation.step, Generation.id)).all()


# --- answers: queued -> running -> finished | stopped | failed --------------------------------


def unfinished_answers(comparison_ids: Sequence[int], *, session: Session) -> Sequence[Generation]:
    """The unfinished answers of some comparisons that generate workers write.

    Earlier takes of an answer are always over.
    """
    query = select(Generation).where(Generation.comparison_id.in_(comparison_ids), unfinished_here())
    return session.scalars(query.order_by(Generation.id)).all()


def start_answers(generation_ids: Sequence[int], *, session: Session) -> None:
    """queued or running -> running, with an empty text."""
    session.execute(
        update(Generation)
        .where(
            Generation.id.in_(generation_ids),
            Generation.status.in_([GenerationStatus.QUEUED, GenerationStatus.RUNNING]),
        )
        .values(status=GenerationStatus.RUNNING, text="", tokens=0)
    )


def grow_answer(generation_id: int, *, session: Session, text: str, tokens: int, seconds: float) -> None:
    """Store the text so far; pages poll it."""
    session.execute(
        update(Generation)
        .where(Generation.id == generation_id, Generation.status == GenerationStatus.RUNNING)
        .values(text=text, tokens=tokens, seconds=seconds)
    )


def finish_answer(
    generation_id: int,
    *,
    session: Session,
    status: GenerationStatus,
    text: str,
    tokens: int,
    seconds: float,
    complete: bool,
    policy_logp: float | None = None,
    reference_logp: float | None = None,
    token_logps: list[Any] | None = None,
) -> bool:
    """running -> finished or stopped, with its log-probabilities if known; False if it was not running."""
    written = session.execute(
        update(Generation)
        .where(Generation.id == generation_id, Generation.status == GenerationStatus.RUNNING)
        .values(
            status=status,
            text=text,
            tokens=tokens,
            seconds=seconds,
            complete=complete,
            policy_logp=policy_logp,
            reference_logp=reference_logp,
            **log_ratios(policy_logp, reference_logp, tokens),
            token_logps=token_logps,
            error=None,
        )
    )
    return bool(written.rowcount)  # type: ignore[attr-defined]


def fail_answer(generation_id: int, *, session: Session, error: str) -> None:
    """queued or running -> failed, with an error message for users."""
    session.execute(
        update(Generation)
        .where(
            Generation.id == generation_id,
            Generation.status.in_([GenerationStatus.QUEUED, GenerationStatus.RUNNING]),
        )
        .values(status=GenerationStatus.FAILED, error=error)
    )


def try_answer_again(generation_id: int, *, session: Session, error: str) -> None:
    """queued or running -> queued after the first failure, and -> failed after the second.

    The message of the first failure stays in the row until the answer is finished.
    """
    first = case((Generation.error.is_(None), GenerationStatus.QUEUED), else_=GenerationStatus.FAILED)
    session.execute(
        update(Generation)
        .where(
            Generation.id == generation_id,
            Generation.status.in_([GenerationStatus.QUEUED, GenerationStatus.RUNNING]),
        )
        .values(status=first, error=error)
    )


def wish_stop(generation_ids: Sequence[int], *, session: Session) -> None:
    """Stop queued answers at once, and request that running ones stop after the next token."""
    session.execute(
        update(Generation)
        .where(Generation.id.in_(generation_ids), Generation.status == GenerationStatus.QUEUED)
        .values(status=GenerationStatus.STOPPED, stop_wished=True)
    )
    session.execute(
        update(Generation)
        .where(Generation.id.in_(generation_ids), Generation.status == GenerationStatus.RUNNING)
        .values(stop_wished=True)
    )
    wished = select(Generation.comparison_id).where(Generation.id.in_(generation_ids), ~_of_endpoint())
    session.execute(
        update(Comparison)
        .where(Comparison.id.in_(wished), Comparison.lease_id.is_not(None), Comparison.stop_by.is_(None))
        .values(stop_by=clock.after(get_settings().cancel_seconds))
        .execution_options(synchronize_session=False)
    )


def stop_wishes(generation_ids: Sequence[int], *, session: Session) -> set[int]:
    """The subset of the answers with a stop request."""
    query = select(Generation.id).where(Generation.id.in_(generation_ids), Generation.stop_wished)
    return set(session.scalars(query))


def unfinished() -> ColumnElement[bool]:
    """The condition for unfinished answers.

    The states are literals, not bound parameters: otherwise the database could not use the partial index
    of unfinished answers.
    """
    states = bindparam(
        None,
        [GenerationStatus.QUEUED, GenerationStatus.RUNNING],
        Generation.status.type,
        expanding=True,
        literal_execute=True,
    )
    return Generation.status.in_(states)


def unfinished_here() -> ColumnElement[bool]:
    """The condition for unfinished answers that generate workers write, not endpoints."""
    return unfinished() & ~_of_endpoint()


def _of_endpoint() -> ColumnElement[bool]:
    return exists().where(EndpointAnswer.generation_id == Generation.id)
