"""Automatic judges as values of the command line and the API."""

from dataclasses import asdict
from typing import Any

from app.judges import JudgeReport
from app.quality import Share
from app.store.judges import WholeVerdict


def judge_view(report: JudgeReport) -> dict[str, Any]:
    """A judge, its progress, its habits, and its agreement with people."""
    judge = report.judge
    return {
        "id": judge.id,
        "campaign_id": judge.campaign_id,
        "run_id": judge.run_id,
        "kind": judge.kind.value,
        "name": judge.name,
        "model": judge.model,
        "template": judge.template,
        "seed": judge.seed,
        "max_tokens": judge.max_tokens,
        "created_at": judge.created_at.isoformat(),
        "verdicts": {status.value: count for status, count in report.counts.items()},
        "flips": _share(report.flips),
        "longer": _share(report.longer),
        "replies": report.cost.replies,
        "cost": report.cost.cost,
        "failures": report.failures,
        "with_people": asdict(report.with_people),
        "among_people": asdict(report.among_people),
    }


def _share(share: Share) -> dict[str, Any]:
    low, high = share.interval or (None, None)
    return {"count": share.count, "of": share.of, "rate": share.rate, "low": low, "high": high}


def verdict_view(one: WholeVerdict, contenders: list[str]) -> dict[str, Any]:
    """A verdict with the raw replies, which tell the contenders."""
    sides = {"first": contenders[one.verdict.first], "second": contenders[one.verdict.second]}
    return {**_said(one), **sides}


def sample_verdict_view(step: int, one: WholeVerdict) -> dict[str, Any]:
    """A verdict on a sample of a run."""
    return {**_said(one), "step": step, "answer_id": one.verdict.answer_id}


def _said(one: WholeVerdict) -> dict[str, Any]:
    verdict = one.verdict
    return {
        "id": verdict.id,
        "question": one.question,
        "status": verdict.status.value,
        "outcome": None if verdict.outcome is None else verdict.outcome.value,
        "flipped": verdict.flipped,
        "first_score": verdict.first_score,
        "second_score": verdict.second_score,
        "forward": one.forward,
        "backward": one.backward,
        "error": verdict.error,
    }
