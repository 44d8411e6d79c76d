"""The study's report as one HTML file. It has no script and loads nothing."""

from markupsafe import Markup

from app.i18n import _
from app.i18n.language import DEFAULT, current
from app.templates import render
from app.ui.report.document import POLICY, css
from app.ui.study import view
from app.ui.widgets import Html


def document(report: view.Report) -> Html:
    """The whole file."""
    return render(
        "report/document.html",
        policy=POLICY,
        css=Markup(css()),
        language=current() or DEFAULT,
        title=_("Does HyPO stay closer to the reference than DPO?"),
        lead=_(view.LEAD),
        body=view.body(report),
        reader="",
    )
