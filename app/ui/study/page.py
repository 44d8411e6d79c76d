"""The page of the study: its newest report in this home, or the one that came with the code."""

import json
from pathlib import Path
from typing import Any, Final

from app.i18n import N_, _
from app.settings import get_settings
from app.ui import widgets
from app.ui.opening import on_open
from app.ui.study import view
from app.ui.study.layout import lay_out
from app.ui.updates import Updates, named

COMMITTED: Final = Path(__file__).resolve().parents[3] / "docs" / "study" / "report.json"


def build() -> None:
    """Lay out the page, then wire its events."""
    on_open(N_("Study"), show, None, named(lay_out()))


def show() -> Updates:
    """Show the report."""
    found = newest()
    try:
        body = view.nothing_yet() if found is None else view.body(found)
    except (KeyError, TypeError, ValueError):
        sentence = _("The study's report is of another version; run `make study` again.")
        body = widgets.error_banner(sentence)
    return {"header": view.header(), "body": body}


def newest() -> dict[str, Any] | None:
    """The report of this home, else the committed one; None without a readable one."""
    for path in (get_settings().root / "study" / "report.json", COMMITTED):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(found, dict):
            return found
    return None
