"""A report as plain values, ready for JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from app.judge_view import judge_view
from app.reports import cost, samples
from app.reports.figures import OF_ALL, Column, Figure
from app.reports.reading import CampaignPart, DataUsed, Experiment, Judged, RunLine
from app.reports.samples import Sample
from app.store import metrics, reports
from app.store.db import read_session
from app.store.models import Report
from app.views import campaign_view, dataset_view, ranking_view
from hypo_engine.measures import pairs_left_out

MOST_POINTS = 600
"""Points of a curve; longer ones become means of equally many steps."""


def list_view(found: Sequence[Report], *, session: Session) -> list[dict[str, Any]]:
    """Reports as a list shows them, with a fixed number of queries."""
    ids = [report.id for report in found]
    owners = reports.owners(found, session=session)
    of_runs = reports.runs_of(ids, session=session)
    of_campaigns = reports.campaigns_of(ids, session=session)
    return [
        {
            **_head(report, owners[report.user_id]),
            "runs": [row.run_id for row in of_runs[report.id]],
            "campaigns": [campaign.id for campaign in of_campaigns[report.id]],
        }
        for report in found
    ]


def _head(report: Report, owner: str) -> dict[str, Any]:
    return {
        "id": report.id,
        "question": report.question,
        "notes": report.notes,
        "owner": owner,
        "created_at": report.created_at.isoformat(),
        "changed_at": report.changed_at.isoformat(),
    }


def report_view(found: Experiment) -> dict[str, Any]:
    """Every number of a report except the curves. What its reader may not see yet is null."""
    costs = {one.run_id: asdict(one) for one in cost.of_runs(found)}
    spent = {one.campaign_id: asdict(one) for one in cost.of_campaigns(found)}
    return {
        **_head(found.report, found.owner),
        "as_of": found.as_of.isoformat(),
        "reader": found.reader,
        "columns": [asdict(column) for column in found.table.columns],
        "about_intervals": OF_ALL,
        "runs": [_run(line, found, costs.get(line.stored.run_id)) for line in found.lines],
        "campaigns": [_campaign(part, spent[part.id]) for part in found.campaigns],
        "datasets": [_data(used) for used in found.data],
        "samples": [_sample(sample) for sample in samples.draw(found)],
    }


def curves_view(found: Experiment) -> list[dict[str, Any]]:
    """The curves of all metrics of the report's runs."""
    ids = [run.id for run in found.runs]
    with read_session() as session:
        names = metrics.names_of(ids, session=session)
        points = metrics.thinned(ids, names, session=session, most=MOST_POINTS)
    return [
        {
            "run_id": run_id,
            "metric": name,
            "steps": [step for step, _ in series],
            "values": [value for _, value in series],
        }
        for (run_id, name), series in sorted(points.items())
    ]


def _run(line: RunLine, found: Experiment, spent: dict[str, Any] | None) -> dict[str, Any]:
    stored, run = line.stored, line.run
    head = {"id": stored.run_id, "name": stored.name, "method": stored.method, "deleted": run is None}
    if run is None:
        gone = ("status", "step", "total_steps", "dataset_id", "model", "seed", "config")
        return {
            **head,
            **dict.fromkeys(gone),
            "figures": {},
            "metrics": {},
            "pairs_left_out": "",
            "cost": None,
        }
    return {
        **head,
        "name": run.name,
        "status": run.status.value,
        "step": run.step,
        "total_steps": run.total_steps,
        "dataset_id": run.dataset_id,
        "model": run.base_model,
        "seed": run.seed,
        "config": run.config,
        "figures": _figures(run.id, found.table.columns, found),
        "metrics": dict(line.metrics),
        "pairs_left_out": pairs_left_out(line.metrics),
        "cost": spent,
    }


def _figures(run_id: int, columns: Sequence[Column], found: Experiment) -> dict[str, Any]:
    figures: dict[str, Figure | None] = {
        column.key: found.table.figures.get((run_id, column.key)) for column in columns
    }
    return {key: None if figure is None else asdict(figure) for key, figure in figures.items()}


def _campaign(part: CampaignPart, spent: dict[str, Any]) -> dict[str, Any]:
    return {
        **campaign_view(part.overview),
        "names_hidden": part.board is None,
        "board": None if part.board is None else ranking_view(part.board),
        "judges": [_judge(judged) for judged in part.judges],
        "cost": spent,
    }


def _judge(judged: Judged) -> dict[str, Any]:
    board = None if judged.board is None else ranking_view(judged.board)
    return {**judge_view(judged.report), "board": board}


def _data(used: DataUsed) -> dict[str, Any]:
    return {**dataset_view(used.dataset), "pairs": asdict(used.counts)}


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        "campaign_id": sample.campaign_id,
        "prompts": sample.of,
        "exchanges": [
            {
                "prompt": exchange.prompt,
                "answers": [
                    {
                        "name": reply.name,
                        "method": reply.method,
                        "step": reply.step,
                        "text": reply.answer.text,
                        "tokens": reply.answer.tokens,
                        "complete": reply.answer.complete,
                    }
                    for reply in exchange.replies
                ],
            }
            for exchange in sample.exchanges
        ],
    }
