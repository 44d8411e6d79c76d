"""Scorings as plain values, ready for JSON."""

import math
from typing import Any

from app.answer_tokens import Author, Opened
from app.scored_texts import Scores
from app.store.enums import ScoringStatus
from app.store.models import Generation, Scoring


def opened_view(opened: Opened) -> dict[str, Any]:
    """An answer that was opened. Until it is scored, its tokens are those stored when it was written."""
    generation, comparison = opened.generation, opened.comparison
    return {
        "id": generation.id,
        "kind": generation.kind.value,
        "prompt_id": generation.prompt_id,
        "prompt": generation.prompt.content,
        "text": generation.text,
        "complete": generation.complete,
        "author": author_view(opened.author),
        "comparison_id": None if comparison is None else comparison.id,
        "conversation_id": None if comparison is None else comparison.conversation_id,
        "campaign_id": None if comparison is None else comparison.campaign_id,
        "scoring": None if opened.scoring is None else scoring_view(opened.scoring),
        "stored": [] if _finished(opened.scoring) else _stored(generation),
        "beside": [{"id": other.id, **author_view(author)} for other, author in opened.beside],
        "note": opened.note,
    }


def author_view(author: Author) -> dict[str, Any]:
    """Who wrote a text."""
    return {"name": author.name, "method": author.method, "run_id": author.run_id, "step": author.step}


def scores_view(scores: Scores) -> dict[str, Any]:
    """A scored text with what each contender says of it."""
    text = scores.text
    return {
        "id": text.id,
        "prompt": text.prompt.content,
        "text": text.text,
        "created_at": text.created_at.isoformat(),
        "over": scores.over,
        "contenders": [
            {
                "name": contender["name"],
                "method": contender["method"],
                "base_model": contender["base_model"],
                "run_id": contender["run_id"],
                "scoring": scoring_view(scoring),
            }
            for contender, scoring in zip(text.contenders, scores.scorings, strict=True)
        ],
        "note": scores.note,
    }


def scoring_view(scoring: Scoring) -> dict[str, Any]:
    """A scoring with its sums and its tokens, which are empty until it is finished."""
    tokens = scoring.tokens or []
    return {
        "status": scoring.status.value,
        "error": scoring.error,
        "step": scoring.step,
        "as_sampled": scoring.as_sampled,
        "policy": _sums(scoring.policy_logp, len(tokens)),
        "reference": _sums(scoring.reference_logp, len(tokens)),
        "log_ratio": _difference(scoring.policy_logp, scoring.reference_logp),
        "tokens": [
            {
                "text": text,
                "policy": policy,
                "reference": reference,
                "policy_top": one,
                "reference_top": other,
            }
            for text, policy, reference, one, other in tokens
        ],
    }


def _sums(logp: float | None, count: int) -> dict[str, float | None]:
    """The sum, the mean over tokens, and the perplexity."""
    if logp is None or not count:
        return {"logp": logp, "mean_logp": None, "perplexity": None}
    mean = logp / count
    return {"logp": logp, "mean_logp": mean, "perplexity": math.exp(-mean) if mean > -700 else None}


def _difference(policy: float | None, reference: float | None) -> float | None:
    return None if policy is None or reference is None else policy - reference


def _finished(scoring: Scoring | None) -> bool:
    return scoring is not None and scoring.status is ScoringStatus.FINISHED


def _stored(generation: Generation) -> list[dict[str, Any]]:
    """The tokens that were stored with the answer, without the likeliest ones in their places."""
    return [
        {"text": text, "policy": policy, "reference": reference, "policy_top": [], "reference_top": []}
        for text, policy, reference in generation.token_logps or []
    ]
