"""Reports: what they ask, and which runs and campaigns they are about."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.errors import NotFound, Refused
from app.store import clock, users
from app.store.campaigns import may_change
from app.store.models import Campaign, Report, ReportCampaign, ReportRun, Run, User


def add(
    question: str,
    *,
    session: Session,
    user: str,
    runs: Sequence[Run],
    campaigns: Sequence[Campaign],
    notes: str = "",
) -> Report:
    """Store a report of runs and campaigns, in their order."""
    report = Report(user_id=users.ensure(user, session=session).id, question=question, notes=notes)
    session.add(report)
    session.flush()
    for position, run in enumerate(runs):
        session.add(
            ReportRun(report_id=report.id, run_id=run.id, position=position, name=run.name, method=run.method)
        )
    for position, campaign in enumerate(campaigns):
        session.add(ReportCampaign(report_id=report.id, campaign_id=campaign.id, position=position))
    session.flush()
    return report


def get(report_id: int, *, session: Session) -> Report:
    """One report.

    Raises:
        NotFound: when the id does not exist.
    """
    report = session.get(Report, report_id)
    if report is None:
        raise NotFound(f"There is no report {report_id}; `hypo reports list` lists all reports.")
    return report


def own(report_id: int, user: str, *, session: Session) -> Report:
    """A report that its owner is about to change.

    Raises:
        NotFound: when the id does not exist.
        Refused: when it belongs to another person.
    """
    report = get(report_id, session=session)
    owner = owner_of(report, session=session)
    if not may_change(owner, user):
        raise Refused(f"This report is {owner}'s; only its owner can change it.")
    return report


def owner_of(report: Report, *, session: Session) -> str:
    """The name of a report's owner."""
    return session.get_one(User, report.user_id).name


def owners(reports: Collection[Report], *, session: Session) -> dict[int, str]:
    """The names of the owners, by the id of their row."""
    ids = {report.user_id for report in reports}
    return {user.id: user.name for user in session.scalars(select(User).where(User.id.in_(sorted(ids))))}


def find(*, session: Session, limit: int = 50, before: int | None = None, offset: int = 0) -> list[Report]:
    """Reports, newest first. With `before`, only those with a smaller id (keyset pagination)."""
    query = select(Report).order_by(Report.id.desc()).limit(limit).offset(offset)
    if before is not None:
        query = query.where(Report.id < before)
    return list(session.scalars(query))


def runs_of(report_ids: Collection[int], *, session: Session) -> dict[int, list[ReportRun]]:
    """The runs of reports, in their order, also deleted ones."""
    query = select(ReportRun).where(ReportRun.report_id.in_(sorted(report_ids)))
    found: dict[int, list[ReportRun]] = {report_id: [] for report_id in report_ids}
    for row in session.scalars(query.order_by(ReportRun.report_id, ReportRun.position)):
        found[row.report_id].append(row)
    return found


def campaigns_of(report_ids: Collection[int], *, session: Session) -> dict[int, list[Campaign]]:
    """The campaigns of reports, in their order."""
    query = select(ReportCampaign.report_id, Campaign).join(
        Campaign, ReportCampaign.campaign_id == Campaign.id
    )
    query = query.where(ReportCampaign.report_id.in_(sorted(report_ids)))
    found: dict[int, list[Campaign]] = {report_id: [] for report_id in report_ids}
    for report_id, campaign in session.execute(
        query.order_by(ReportCampaign.report_id, ReportCampaign.position)
    ):
        found[report_id].append(campaign)
    return found


def change(report: Report, *, session: Session, question: str | None, notes: str | None) -> None:
    """Change the question or the notes, whichever is given."""
    if question is not None:
        report.question = question
    if notes is not None:
        report.notes = notes
    report.changed_at = clock.read(session=session)


def remove(report: Report, *, session: Session) -> None:
    """Delete a report. Its runs, campaigns and votes stay."""
    session.execute(delete(Report).where(Report.id == report.id))
