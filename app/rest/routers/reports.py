"""Reports of experiments: create, list, read, edit, delete, export."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response

from app.reports import changing, reading
from app.reports.view import list_view, report_view
from app.rest.caller import Caller
from app.rest.files import sent_file
from app.rest.once import OnceOnly
from app.rest.paging import Cursor, Limit, Page, cut, place_of
from app.rest.schemas.reports import ReportEdit, ReportListed, ReportShown, ReportWanted
from app.rest.types import PathId
from app.store import reports
from app.store.db import read_session
from app.ui.report import files
from app.ui.report.files import ReportFile

router = APIRouter(prefix="/reports", tags=["reports"])

MEDIA_TYPES = {
    ReportFile.HTML: "text/html; charset=utf-8",
    ReportFile.JSON: "application/json",
    ReportFile.ZIP: "application/zip",
}


@router.get("", response_model=Page[ReportListed])
def list_reports(limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """List reports, newest first."""
    with read_session() as session:
        found = reports.find(session=session, limit=limit + 1, before=place_of(cursor))
        shown, following = cut(found, limit, lambda report: report.id)
        return {"items": list_view(shown, session=session), "next": following}


@router.post("", status_code=201, response_model=ReportShown)
def create_report(once: OnceOnly, user: Caller, given: ReportWanted) -> Response:
    """Create a report of runs and campaigns."""

    def act() -> ReportShown:
        report_id = changing.create(
            given.run_ids, given.campaign_ids, question=given.question, notes=given.notes, user=user
        )
        return _shown(report_id, user)

    return once.run(given, act)


@router.get("/{report_id}", response_model=ReportShown)
def get_report(user: Caller, report_id: PathId) -> ReportShown:
    """Read a report with the numbers of this moment; boards and answers wait until you have seen names."""
    return _shown(report_id, user)


@router.patch("/{report_id}", response_model=ReportShown)
def edit_report(user: Caller, report_id: PathId, given: ReportEdit) -> ReportShown:
    """Change the question or the notes of a report of yours."""
    changing.edit(report_id, question=given.question, notes=given.notes, user=user)
    return _shown(report_id, user)


@router.delete("/{report_id}", status_code=204)
def delete_report(user: Caller, report_id: PathId) -> None:
    """Delete a report of yours; its runs, campaigns and votes stay."""
    changing.delete(report_id, user=user)


@router.get("/{report_id}/export", response_class=FileResponse)
def export_report(
    user: Caller,
    report_id: PathId,
    format: Annotated[
        ReportFile,
        Query(
            description="html: one file with everything in it; json: every number, with the curves; zip: "
            "both, the configurations as YAML, and the votes."
        ),
    ] = ReportFile.HTML,
) -> FileResponse:
    """Download a report with what you may see; names that you see in its votes are recorded as shown."""
    return sent_file(
        lambda folder: files.write(report_id, format, folder, user=user), MEDIA_TYPES[format], user
    )


def _shown(report_id: int, user: str) -> ReportShown:
    return ReportShown.model_validate(report_view(reading.read(report_id, user=user)))
