"""Scorings and scored pairs as plain values, for the command line and the API."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from app.pair_scoring import seconds_left
from app.store.datasets import pair_of
from app.store.models import PairScore, PairScoring
from app.store.scored_pairs import ScoredPair

_LOGPS = ("chosen", "rejected", "reference_chosen", "reference_rejected")


def scoring_view(scoring: PairScoring) -> dict[str, Any]:
    """A scoring as plain values."""
    return {
        "id": scoring.id,
        "dataset_id": scoring.dataset_id,
        "run_id": scoring.run_id,
        "run_name": scoring.run_name,
        "method": scoring.method,
        "step": scoring.step,
        "margin_kind": scoring.margin_kind.value,
        "beta": scoring.beta,
        "status": scoring.status.value,
        "total": scoring.total,
        "done": scoring.done,
        "unscored": scoring.unscored,
        "seconds_left": seconds_left(scoring),
        "error": scoring.error or "",
        "created_at": scoring.created_at.isoformat(),
    }


def pair_view(found: ScoredPair, scorings: Sequence[PairScoring]) -> dict[str, Any]:
    """A pair with its score under each model. Of a reward model, the log-probabilities are rewards."""
    pair = found.pair
    return {
        "position": pair.position,
        "row": pair.row,
        "split": pair.split,
        **asdict(pair_of(pair)),
        "scores": [
            _score_view(scoring, score) for scoring, score in zip(scorings, found.scores, strict=True)
        ],
    }


def _score_view(scoring: PairScoring, score: PairScore | None) -> dict[str, Any]:
    margin = None if score is None else score.margin
    return {
        "scoring_id": scoring.id,
        "margin": margin,
        "correct": None if margin is None else margin > 0,
        **{f"{name}_logp": getattr(score, name, None) for name in _LOGPS},
        "chosen_tokens": getattr(score, "chosen_tokens", None),
        "rejected_tokens": getattr(score, "rejected_tokens", None),
        "reason": "It is not scored yet." if score is None else score.reason or "",
    }
