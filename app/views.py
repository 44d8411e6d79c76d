"""Rows as plain values, ready for JSON, for the command line and the API."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import combinations
from typing import Any

from sqlalchemy.orm import Session

from app.answers import Answers
from app.campaigns import Overview
from app.imports import AddedDataset
from app.ranking import Ranking
from app.store import run_dependencies, run_lists, run_tags
from app.store.aspects import in_letters
from app.store.enums import TaskStatus
from app.store.judging import LETTERS
from app.store.models import Contender, Dataset, Generation, Run, Worker
from app.store.vote_details import Vote
from hypo_engine.measures import HEADLINES, pairs_left_out


def dataset_view(dataset: Dataset) -> dict[str, Any]:
    """A dataset."""
    return {
        "id": dataset.id,
        "name": dataset.name,
        "version": dataset.version,
        "rows": dataset.rows,
        "left_out_count": dataset.left_out_count,
        "held_out": dataset.held_out,
        "format": dataset.format,
        "source": dataset.source,
        "sha256": dataset.sha256,
        "account": dataset.account,
        "created_at": _time(dataset.created_at),
    }


def added_view(added: AddedDataset, *, most: int = 100) -> dict[str, Any]:
    """The result of an import: the dataset, its account and the first rows left out."""
    return {
        "id": added.id,
        "name": added.name,
        "version": added.version,
        "format": added.format,
        "rows": added.rows,
        "left_out_count": added.left_out_count,
        "left_out": [{"row": line.row, "reason": line.reason} for line in added.left_out[:most]],
        "account": added.account.as_dict(),
        "remarks": list(added.remarks),
    }


def run_view(run: Run, *, session: Session) -> dict[str, Any]:
    """A run: its status, its last metrics and its error, if any.

    `results` holds the headline numbers as formatted text, each with its count or its standard error.
    """
    return run_views([run], session=session)[0]


def run_views(found: Sequence[Run], *, session: Session) -> list[dict[str, Any]]:
    """Several runs, with a fixed number of queries."""
    places = run_lists.places_in_queue(found, session=session)
    reached = run_lists.final_metrics([run.id for run in found], session=session)
    awaited = run_dependencies.awaited(found, session=session)
    tags = run_tags.of_runs([run.id for run in found], session=session)
    return [
        _run_view(run, places.get(run.id), awaited.get(run.id), reached.get(run.id, {}), tags[run.id])
        for run in found
    ]


def _run_view(
    run: Run, place: int | None, awaited: Run | None, last: dict[str, float], tags: Sequence[str]
) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "method": run.method,
        "status": run.status.value,
        "step": run.step,
        "total_steps": run.total_steps,
        "phase": run.phase,
        "place_in_queue": place,
        "waits_for": None if awaited is None else awaited.id,
        "dataset": {"id": run.dataset_id, "name": run.dataset.name, "version": run.dataset.version},
        "model": run.base_model,
        "seed": run.seed,
        "twin_group": run.twin_group,
        "notes": run.notes,
        "tags": list(tags),
        "archived_at": _time(run.archived_at),
        "attempt": run.attempt,
        "error": run.error,
        "created_at": _time(run.created_at),
        "started_at": _time(run.started_at),
        "finished_at": _time(run.finished_at),
        "results": results_view(last),
        "pairs_left_out": pairs_left_out(last),
        "metrics": last,
        "config": run.config,
    }


def results_view(metrics: Mapping[str, float]) -> dict[str, str]:
    """A run's results on held-out data, by label; empty before its first evaluation."""
    return {measure.label: measure.text(metrics) for measure in HEADLINES if measure.metric in metrics}


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def answers_view(present: Answers) -> dict[str, Any]:
    """A comparison's answers, in the order shown.

    While the names are hidden from the caller, every field that would reveal them is null: names, runs,
    tokens, seconds and log-probabilities. The error of a failed answer is replaced by a neutral sentence.
    """
    return {
        "conversation_id": present.conversation_id,
        "comparison_id": present.comparison_id,
        "names_hidden": present.hidden,
        "votable": not present.problem,
        "not_votable": present.problem or None,
        "answers": [
            {
                "letter": letter,
                "status": answer.status.value,
                "waiting": waiting or None,
                "complete": answer.complete if answer.status.is_over else None,
                "text": answer.text,
                "seed": answer.seed,
                **_who(contender, answer, hidden=present.hidden),
            }
            for letter, contender, answer, waiting in zip(
                LETTERS, present.contenders, present.answers, present.waits, strict=False
            )
        ],
    }


def _who(contender: Contender, answer: Generation, *, hidden: bool) -> dict[str, Any]:
    """The fields that identify an answer's contender."""
    told = {
        "name": contender.name,
        "method": contender.method,
        "run_id": contender.run_id,
        "tokens": answer.tokens,
        "seconds": answer.seconds,
        "policy_logp": answer.policy_logp,
        "reference_logp": answer.reference_logp,
        "error": answer.error,
    }
    if not hidden:
        return told
    failed = "This answer failed; the error is shown with the names." if answer.error else None
    return {**dict.fromkeys(told), "error": failed}


def vote_view(vote: Vote) -> dict[str, Any]:
    """A vote with its choice and reason; fields hidden from the caller are null."""
    shown = not vote.hidden
    return {
        "id": vote.label.id,
        "comparison_id": vote.comparison.id,
        "conversation_id": vote.comparison.conversation_id,
        "user": vote.user,
        "names_hidden": vote.hidden,
        "choice": vote.label.choice.value if shown else None,
        "best": vote.best.contender.name if vote.best and shown else None,
        "worst": vote.worst.contender.name if vote.worst and shown else None,
        "best_letter": vote.best.letter if vote.best and shown else None,
        "worst_letter": vote.worst.letter if vote.worst and shown else None,
        "shown": [side.contender.name for side in vote.sides] if shown else None,
        "aspects": in_letters(vote.label.aspects, vote.label.shown) if shown else None,
        "blind": vote.label.blind,
        "reason": vote.label.reason if shown else None,
        "seconds": vote.label.seconds,
        "versions": 1 + len(vote.earlier),
        "question": vote.comparison.question,
        "created_at": _time(vote.label.created_at),
        "updated_at": _time(vote.label.updated_at),
    }


def ranking_view(ranking: Ranking) -> dict[str, Any]:
    """The ranking: models from the strongest on, and the pairs that met."""
    board, order = ranking.board, [*ranking.order, *ranking.unrated]
    reference = board.reference
    return {
        "games": ranking.games,
        "prompts": ranking.prompts,
        "hidden": ranking.hidden,
        "reference": None if reference is None else ranking.ids[reference],
        "models": [_rated(ranking, at) for at in order],
        "pairs": [
            {
                "first": ranking.ids[one],
                "second": ranking.ids[other],
                "rate": float(board.rates[one, other]),
                "low": _known(board.rates_low[one, other]),
                "high": _known(board.rates_high[one, other]),
                "games": int(board.counts[one, other]),
                "more_votes": ranking.more_votes(one, other),
            }
            for one, other in combinations(order, 2)
            if board.counts[one, other]
        ],
    }


def _known(bound: float) -> float | None:
    return None if math.isnan(bound) else float(bound)


def _rated(ranking: Ranking, at: int) -> dict[str, Any]:
    rate = ranking.board.against[at]
    return {
        "id": ranking.ids[at],
        **asdict(ranking.models[at]),
        "rank": ranking.rank(at),
        **asdict(ranking.board.ratings[at]),
        "against_reference": None if rate is None else asdict(rate),
    }


def campaign_view(overview: Overview) -> dict[str, Any]:
    """A campaign, its contenders, and its progress."""
    campaign, progress = overview.campaign, overview.progress
    return {
        "id": campaign.id,
        "name": campaign.name,
        "owner": overview.owner,
        "status": campaign.status.value,
        "form": campaign.form.value,
        "order": campaign.order.value,
        "votes_wanted": campaign.votes_wanted,
        "samples": campaign.samples,
        "seed": campaign.seed,
        "parameters": campaign.parameters,
        "guidelines": campaign.guidelines,
        "ask_reason": campaign.ask_reason,
        "voters": campaign.voters,
        "aspects": campaign.aspects,
        "adjudicators": campaign.adjudicators,
        "repeat_share": campaign.repeat_share,
        "check_share": campaign.check_share,
        "created_at": _time(campaign.created_at),
        "contenders": [
            {
                "name": contender.name,
                "method": contender.method,
                "base_model": contender.base_model,
                "run_id": contender.run_id,
                "checkpoint_id": contender.checkpoint_id,
            }
            for contender in overview.contenders
        ],
        "progress": {
            **asdict(progress),
            "tasks": {status.value: progress.tasks.get(status, 0) for status in TaskStatus},
        },
    }


def worker_view(worker: Worker) -> dict[str, Any]:
    """A worker; `trouble` is the reason it consumes no messages, `loading` the base model that it loads."""
    return {
        "id": worker.id,
        "queues": worker.queues.split(","),
        "device": worker.device,
        "trouble": worker.trouble,
        "loading": worker.loading,
        "started_at": _time(worker.started_at),
        "seen_at": _time(worker.seen_at),
    }
