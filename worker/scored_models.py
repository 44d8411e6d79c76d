"""What is scored by which weights: a generation by those that wrote it, a pasted text by its contenders."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from app.errors import Refused
from app.store import comparisons, run_checkpoints, runs
from app.store.claims import Claim
from app.store.contenders import ENDPOINT, GIVEN, trained_in_4bit
from app.store.models import Checkpoint, Contender, Generation, ScoredText, Scoring
from app.store.scorings import MOST_TOKENS
from hypo_engine.generate import Served
from hypo_engine.token_scores import ScoreRequest
from worker.serving import ServedBase, ServedModel


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed scoring with its text and its weights.

    Attributes:
        beside: the models that answered the same prompt with the same base model.
        step: the training step of the weights; 0 is the base model.
    """

    claim: Claim
    model: ServedModel
    step: int | None
    prompt: Any
    text: str
    given: dict[str, Any]
    beside: tuple[ServedModel, ...] = ()

    def request(self, served: Served) -> ScoreRequest:
        """What the engine is asked for. Models beside it that could not be loaded are left out."""
        beside = tuple(model.adapter for model in self.beside if model.adapter in {None, *served.names})
        return ScoreRequest(
            self.prompt, self.text, self.model.adapter, beside=beside, most_tokens=MOST_TOKENS, **self.given
        )


def job_of(scoring: Scoring, *, session: Session) -> Job:
    """What a claimed scoring needs.

    Raises:
        Refused: the weights are not there: they were deleted, or the text was written elsewhere.
        NotFound: the run was deleted.
    """
    if scoring.scored_text_id is not None:
        text = session.get_one(ScoredText, scoring.scored_text_id)
        return _of_text(scoring, text, session=session)
    generation = session.get_one(Generation, scoring.generation_id)
    if generation.comparison_id is not None:
        return _of_answer(scoring, generation, session=session)
    return _of_sample(scoring, generation, session=session)


def _of_text(scoring: Scoring, scored: ScoredText, *, session: Session) -> Job:
    contender = scored.contenders[scoring.position]
    path, base = contender["path"], contender["base_model"]
    if path is not None and not run_checkpoints.is_kept(path, session=session):
        raise Refused(f"The checkpoint of {contender['name']} was deleted; score the text with another one.")
    model = ServedModel(base, path, bool(contender.get("in_4bit")))
    return Job(Claim.of(scoring), model, contender["step"], scored.prompt.content, scored.text, given={})


def _of_answer(scoring: Scoring, answer: Generation, *, session: Session) -> Job:
    comparison = comparisons.get(answer.comparison_id or 0, session=session)
    contenders = {one.position: one for one in comparison.conversation.contenders}
    contender = contenders[int(answer.position or 0)]
    if contender.method in (GIVEN, ENDPOINT):
        where = "a file" if contender.method == GIVEN else "an endpoint"
        raise Refused(
            f"This answer came from {where}, so there are no weights to score it with; "
            "score its text with a run or a base model."
        )
    model = ServedModel.of(contender, session=session)
    checkpoint = session.get(Checkpoint, contender.checkpoint_id) if contender.checkpoint_id else None
    return Job(
        Claim.of(scoring),
        model,
        0 if checkpoint is None else checkpoint.step,
        answer.prompt.content,
        answer.text,
        given={**_sampled(answer), "max_new_tokens": int(answer.parameters["max_new_tokens"])},
        beside=_beside(contender, list(contenders.values()), model.base, session=session),
    )


def _beside(
    contender: Contender, others: Sequence[Contender], base: ServedBase, *, session: Session
) -> tuple[ServedModel, ...]:
    """The models of contenders with the same base model, as far as they are still there."""
    found = []
    for other in others:
        if other.base_model != contender.base_model or other.method in (GIVEN, ENDPOINT):
            continue
        try:
            found.append(ServedModel.of(other, session=session))
        except Refused:
            continue
    return tuple(model for model in found if model.base == base)


def _of_sample(scoring: Scoring, sample: Generation, *, session: Session) -> Job:
    """A sample of a run, scored by the first checkpoint that was kept since its step."""
    run = runs.get(sample.run_id or 0, session=session)
    kept, step = run_checkpoints.of_run(run.id, session=session), sample.step or 0
    later = [checkpoint for checkpoint in kept if checkpoint.step >= step] or list(kept[-1:])
    if not later and step > 0:
        raise Refused(f"Run {run.id} has no checkpoint left, so the weights that wrote this are gone.")
    base = ServedModel(run.base_model, None, trained_in_4bit(run))
    tuned = replace(base, checkpoint_path=later[0].path) if later else None
    model = base if step == 0 or tuned is None else tuned
    return Job(
        Claim.of(scoring),
        model,
        later[0].step if step else 0,
        sample.prompt.content,
        sample.text,
        given={**_sampled(sample), "max_prompt_tokens": run.config.get("max_prompt_length")},
        beside=() if tuned is None else (tuned,),
    )


def _sampled(generation: Generation) -> dict[str, Any]:
    pieces = tuple(str(triple[0]) for triple in generation.token_logps or ())
    return {"ends": generation.complete, "pieces": pieces, "sampled_tokens": generation.tokens}
