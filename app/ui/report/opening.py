"""Creates a report from a selection on another page, and goes to it."""

from collections.abc import Sequence

from markupsafe import Markup

from app.errors import AppError
from app.i18n import _
from app.reports import changing
from app.ui import widgets
from app.ui.widgets import Html


def create(run_ids: Sequence[int], campaign_ids: Sequence[int], user: str) -> Html:
    """Create the report; the page's script follows `data-next` to it. An error stays on the page."""
    try:
        report_id = changing.create(run_ids, campaign_ids, user=user)
    except AppError as error:
        return widgets.error_banner(str(error))
    address = widgets.url("report", id=report_id)
    return Markup('<p data-next="{}">{}</p>').format(address, _("Report {id} is created.", id=report_id))
