"""The files of a report: one HTML file with everything in it, the numbers as JSON, and a zip with votes."""

import json
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from zipfile import ZIP_DEFLATED, ZipFile

from app.exports.labels import Export, manifest_text
from app.exports.layouts import LabelFormat
from app.exports.writers import FileType
from app.reports import reading
from app.reports.reading import Experiment
from app.reports.view import curves_view, report_view
from app.store import users
from app.store.label_queries import VoteFilter
from app.ui.commands import to_yaml
from app.ui.report.document import document


class ReportFile(StrEnum):
    """`zip` holds the other two, the configurations, and the votes."""

    HTML = "html"
    JSON = "json"
    ZIP = "zip"


def write(report_id: int, kind: ReportFile, folder: Path, *, user: str = users.LOCAL) -> Path:
    """Write a report to a new file in a folder, with what this person may see.

    Raises:
        NotFound: when the id does not exist.
    """
    found = reading.read(report_id, user=user)
    path = folder / f"report-{report_id}.{kind.value}"
    _WRITERS[kind](found, path)
    return path


def numbers(found: Experiment) -> dict[str, Any]:
    """Every number of a report, with the curves."""
    return {**report_view(found), "curves": curves_view(found)}


def _write_html(found: Experiment, path: Path) -> None:
    path.write_text(document(found), encoding="utf-8")


def _write_json(found: Experiment, path: Path) -> None:
    path.write_text(_json(found), encoding="utf-8")


def _json(found: Experiment) -> str:
    return json.dumps(numbers(found), ensure_ascii=False, indent=1) + "\n"


def _write_zip(found: Experiment, path: Path) -> None:
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.writestr("report.html", str(document(found)))
        archive.writestr("report.json", _json(found))
        for run in found.runs:
            dataset = f"{run.dataset.name}@{run.dataset.version}"
            text = to_yaml(run.config, method=run.method, dataset=dataset, name=run.name)
            archive.writestr(f"configs/run-{run.id}.yaml", text)
        for place, only in _votes(found):
            _add_votes(
                archive, place, Export(LabelFormat.RAW, FileType.JSONL, only=only, viewer=found.reader)
            )


def _votes(found: Experiment) -> Iterator[tuple[str, VoteFilter]]:
    """Which votes go where: those of each campaign, or without campaigns those on answers of each run."""
    for part in found.campaigns:
        yield f"votes/campaign-{part.id}", VoteFilter(campaign_id=part.id)
    if not found.campaigns:
        for run in found.runs:
            yield f"votes/run-{run.id}", VoteFilter(run_id=run.id)


def _add_votes(archive: ZipFile, place: str, export: Export) -> None:
    with archive.open(f"{place}/{export.file_name}", "w", force_zip64=True) as file:
        for piece in export.pieces():
            file.write(piece)
    archive.writestr(f"{place}/manifest.json", manifest_text(export.manifest()))


_WRITERS: Final[dict[ReportFile, Callable[[Experiment, Path], None]]] = {
    ReportFile.HTML: _write_html,
    ReportFile.JSON: _write_json,
    ReportFile.ZIP: _write_zip,
}
