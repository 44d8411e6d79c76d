"""Automatic judges of campaigns and runs: start, follow, stop, resume, read, delete."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from app import judges, run_judges
from app.board_csv import BoardTable
from app.judge_view import judge_view, sample_verdict_view, verdict_view
from app.presence import worker_missing
from app.rest.board_files import Table, sent_board
from app.rest.caller import Caller
from app.rest.once import OnceOnly
from app.rest.paging import Cursor, Limit, Page, cut, place_of
from app.rest.schemas.board import BoardShown
from app.rest.schemas.judges import JudgeShown, JudgeWanted, SampleVerdictShown, VerdictShown
from app.rest.types import PathId
from app.views import ranking_view

router = APIRouter(tags=["judges"])


@router.post("/campaigns/{campaign_id}/judges", status_code=201, response_model=JudgeShown)
def start_judge(once: OnceOnly, user: Caller, campaign_id: PathId, given: JudgeWanted) -> Response:
    """Let a model judge all pairs of a campaign's answers, each in both orders; or let a scorer do it."""

    def act() -> JudgeShown:
        return _shown(judges.start(campaign_id, **given.model_dump(), user=user))

    return once.run([campaign_id, given.model_dump()], act)


@router.get("/campaigns/{campaign_id}/judges", response_model=list[JudgeShown])
def list_judges(campaign_id: PathId) -> list[dict[str, Any]]:
    """List the judges of a campaign, oldest first."""
    return [judge_view(report) for report in judges.reports(campaign_id)]


@router.post("/runs/{run_id}/judges", status_code=201, response_model=JudgeShown)
def start_run_judge(once: OnceOnly, user: Caller, run_id: PathId, given: JudgeWanted) -> Response:
    """Let a model or a scorer judge the samples of every evaluation of a run against the reference's."""

    def act() -> JudgeShown:
        return _shown(run_judges.start(run_id, **given.model_dump(), user=user))

    return once.run([run_id, given.model_dump()], act)


@router.get("/runs/{run_id}/judges", response_model=list[JudgeShown])
def list_run_judges(run_id: PathId) -> list[dict[str, Any]]:
    """List the judges of a run, oldest first. Their win rates are its metrics `eval_win_rate/...`."""
    return [judge_view(report) for report in judges.reports_of_run(run_id)]


@router.delete("/judges/{judge_id}", status_code=204)
def delete_run_judge(judge_id: PathId) -> None:
    """Delete a judge of a run, with its verdicts and win rates."""
    run_judges.delete(judge_id)


@router.get("/judges/{judge_id}/samples", response_model=Page[SampleVerdictShown])
def list_sample_verdicts(judge_id: PathId, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """List the verdicts of a run's judge with its raw replies."""
    found = run_judges.page_of_verdicts(judge_id, limit=limit + 1, after=place_of(cursor) or 0)
    shown, following = cut(found, limit, lambda one: one[1].verdict.id)
    return {"items": [sample_verdict_view(step, one) for step, one in shown], "next": following}


@router.get("/judges/{judge_id}", response_model=JudgeShown)
def get_judge(judge_id: PathId) -> JudgeShown:
    """Say how far a judge is, what its habits are, and how it agrees with people."""
    return _shown(judge_id)


@router.post("/judges/{judge_id}/stop", response_model=JudgeShown)
def stop_judge(user: Caller, judge_id: PathId) -> JudgeShown:
    """Stop a judge of a campaign of yours; its verdicts stay."""
    judges.stop(judge_id, user=user)
    return _shown(judge_id)


@router.post("/judges/{judge_id}/resume", response_model=JudgeShown)
def resume_judge(user: Caller, judge_id: PathId) -> JudgeShown:
    """Continue a judge: what was stopped or failed, and answers that were written since."""
    judges.resume(judge_id, user=user)
    return _shown(judge_id)


@router.get("/judges/{judge_id}/board", response_model=BoardShown)
def get_judge_board(user: Caller, judge_id: PathId) -> dict[str, Any]:
    """Rank a campaign's contenders by a judge, once you have seen its names. Ids are positions, from 0."""
    return ranking_view(judges.board(judge_id, user=user))


@router.get("/judges/{judge_id}/board.csv", response_class=StreamingResponse)
def export_judge_board(
    user: Caller, judge_id: PathId, table: Table = BoardTable.RANKING
) -> StreamingResponse:
    """Download a table of a judge's ranking as CSV: exact values, counts of verdicts, 95% intervals."""
    return sent_board(judges.board(judge_id, user=user), table, f"judge-{judge_id}")


@router.get("/judges/{judge_id}/verdicts", response_model=Page[VerdictShown])
def list_verdicts(user: Caller, judge_id: PathId, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """List a judge's verdicts with its raw replies, once you have seen the campaign's names."""
    found, contenders = judges.whole_verdicts(
        judge_id, limit=limit + 1, after=place_of(cursor) or 0, user=user
    )
    shown, following = cut(found, limit, lambda one: one.verdict.id)
    return {"items": [verdict_view(one, contenders) for one in shown], "next": following}


def _shown(judge_id: int) -> JudgeShown:
    report = judges.report(judge_id)
    note = (worker_missing(report.queue) or "") if report.waiting else ""
    return JudgeShown.model_validate({**judge_view(report), "note": note})
