"""A report as it stands now: its runs, its campaigns and its table, read from the present rows.

A campaign's board tells who wrote which answer. A reader who may still vote in the campaign gets neither the
board nor the answers, as on the campaign's page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from app import campaigns as campaign_service
from app import judges
from app.campaigns import Overview
from app.i18n import N_
from app.judges import JudgeReport
from app.ranking import Ranking, read_ranking
from app.reports.figures import (
    BY_JUDGE,
    BY_VOTES,
    MEASURED,
    Column,
    Figure,
    Measured,
    measured,
    win_rate_of_samples,
    won,
)
from app.store import clock, datasets, metrics, names, reports, run_judges, run_lists, runs, users
from app.store.datasets import SplitCounts
from app.store.db import read_session
from app.store.enums import VerdictStatus
from app.store.models import Dataset, Report, ReportRun, Run

VOTES: Final = "votes"
"""The key of the column of win rates by all votes, in a report without campaigns."""


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run of a report. `run` is None if it was deleted; `metrics` holds the last value of each metric."""

    stored: ReportRun
    run: Run | None
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Judged:
    """A judge of a campaign; `board` is None while it has no verdict or the reader may still vote."""

    report: JudgeReport
    board: Ranking | None


@dataclass(frozen=True, slots=True)
class CampaignPart:
    """A campaign of a report. `board` is None for a reader who may still vote in it."""

    overview: Overview
    board: Ranking | None
    judges: Sequence[Judged]

    @property
    def id(self) -> int:
        return self.overview.campaign.id


@dataclass(frozen=True, slots=True)
class Table:
    """The columns with at least one figure, and the figures by run and column."""

    columns: Sequence[Column]
    figures: Mapping[tuple[int, str], Figure]


@dataclass(frozen=True, slots=True)
class DataUsed:
    """A dataset that runs of the report were trained on."""

    dataset: Dataset
    counts: SplitCounts


@dataclass(frozen=True, slots=True)
class Experiment:
    """Everything that a report shows, as of `as_of`, for one reader."""

    report: Report
    owner: str
    reader: str
    as_of: datetime
    lines: Sequence[RunLine]
    campaigns: Sequence[CampaignPart]
    table: Table
    data: Sequence[DataUsed]

    @property
    def runs(self) -> list[Run]:
        """The runs that were not deleted."""
        return [line.run for line in self.lines if line.run is not None]


def read(report_id: int, *, user: str = users.LOCAL) -> Experiment:
    """Read a report for a person.

    Raises:
        NotFound: when the id does not exist.
    """
    with read_session() as session:
        report = reports.get(report_id, session=session)
        stored = reports.runs_of([report_id], session=session)[report_id]
        lines = _lines(stored, session)
        asked = [one.id for one in reports.campaigns_of([report_id], session=session)[report_id]]
        parts = [_campaign(campaign_id, user, session) for campaign_id in asked]
        overall = None if parts else read_ranking(session=session, viewer=user)
        return Experiment(
            report=report,
            owner=reports.owner_of(report, session=session),
            reader=user,
            as_of=clock.read(session=session),
            lines=lines,
            campaigns=parts,
            table=_table(lines, parts, overall, session),
            data=_data(lines, session),
        )


def _lines(stored: Sequence[ReportRun], session: Session) -> list[RunLine]:
    ids = [row.run_id for row in stored]
    present = {run.id: run for run in runs.of_ids(ids, session=session)}
    reached = run_lists.final_metrics(list(present), session=session)
    return [RunLine(row, present.get(row.run_id), reached.get(row.run_id, {})) for row in stored]


def _campaign(campaign_id: int, user: str, session: Session) -> CampaignPart:
    overview = campaign_service.overview(campaign_id)
    told = names.seen_in_campaign(campaign_id, user, session=session)
    board = read_ranking(session=session, viewer=user, campaign_id=campaign_id) if told else None
    judged = [
        Judged(
            one,
            judges.board(one.judge.id, user=user) if told and one.counts[VerdictStatus.JUDGED] else None,
        )
        for one in judges.reports(campaign_id)
    ]
    return CampaignPart(overview, board, judged)


def _data(lines: Sequence[RunLine], session: Session) -> list[DataUsed]:
    used = {line.run.dataset_id: line.run.dataset for line in lines if line.run is not None}
    return [
        DataUsed(dataset, datasets.split_counts(dataset.id, session=session)) for dataset in used.values()
    ]


def _table(
    lines: Sequence[RunLine], parts: Sequence[CampaignPart], overall: Ranking | None, session: Session
) -> Table:
    """The figures of each run; a column without a figure is left out.

    What automatic judges say of samples comes last, apart from what people say.
    """
    by_judges = _judged_samples(lines, session)
    figures = _measured(lines, [*MEASURED, *by_judges], session)
    columns = [one.column for one in MEASURED]
    for column, ranking in _boards(parts, overall):
        columns.append(column)
        for line in lines:
            if line.run is not None and (figure := _win_rate(ranking, line.run.id)) is not None:
                figures[line.run.id, column.key] = figure
    columns += [one.column for one in by_judges]
    filled = {key for _, key in figures}
    return Table([column for column in columns if column.key in filled], figures)


def _judged_samples(lines: Sequence[RunLine], session: Session) -> list[Measured]:
    """A column for each automatic judge of the runs' evaluations."""
    ids = [line.run.id for line in lines if line.run is not None]
    found = run_judges.metrics_of(ids, session=session)
    return [win_rate_of_samples(metric, metric.removeprefix(f"{run_judges.WIN_RATE}/")) for metric in found]


def _measured(
    lines: Sequence[RunLine], wanted: Sequence[Measured], session: Session
) -> dict[tuple[int, str], Figure]:
    ids = [line.run.id for line in lines if line.run is not None]
    at = metrics.last_steps(ids, [one.measure.metric for one in wanted], session=session)
    found: dict[tuple[int, str], Figure] = {}
    for line in lines:
        for one in wanted:
            run_id = line.stored.run_id
            figure = measured(one.measure, line.metrics, at.get((run_id, one.measure.metric)))
            if figure is not None:
                found[run_id, one.column.key] = figure
    return found


def _boards(parts: Sequence[CampaignPart], overall: Ranking | None) -> list[tuple[Column, Ranking]]:
    """A column for each board whose win rates the reader may see."""
    if overall is not None:
        return [(_win_column(VOTES, N_("Win rate, all votes"), N_("votes"), BY_VOTES), overall)]
    found = []
    for part in parts:
        if part.board is not None:
            title = N_("Win rate") if len(parts) == 1 else f"Win rate, campaign {part.id}"
            found.append((_win_column(f"campaign-{part.id}", title, N_("votes"), BY_VOTES), part.board))
        for judged in part.judges:
            if judged.board is not None:
                judge = judged.report.judge
                title = f"Win rate by {judge.name}, #{judge.id}"
                found.append(
                    (_win_column(f"judge-{judge.id}", title, N_("verdicts"), BY_JUDGE), judged.board)
                )
    return found


def _win_column(key: str, title: str, counted: str, does_not_show: str) -> Column:
    return Column(key, title, "share", counted, does_not_show)


def _win_rate(ranking: Ranking, run_id: int) -> Figure | None:
    """The win rate of a run's last checkpoint that met the reference."""
    met = [
        (model.step or 0, rate)
        for model, rate in zip(ranking.models, ranking.board.against, strict=True)
        if model.run_id == run_id and rate is not None
    ]
    if not met:
        return None
    step, rate = max(met, key=lambda one: one[0])
    return won(rate, step)
