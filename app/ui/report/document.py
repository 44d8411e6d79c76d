"""A report as one HTML file with everything in it.

The file has no script, loads nothing, and says so in a policy of its own. Charts are SVG. Links to pages of
the app are text, since the app is not where the file is.
"""

import re
from pathlib import Path
from typing import Final

from markupsafe import Markup

from app.i18n import _, in_language
from app.i18n.language import DEFAULT, current
from app.reports.reading import Experiment
from app.templates import render
from app.ui import svg_charts, theme, widgets
from app.ui.report import view
from app.ui.widgets import Html

POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
)
STYLE: Final = Path(__file__).with_name("document.css")
_LINK: Final = re.compile(
    r'<a (?:class="[^"]*" )?href="(?!https?://|mailto:)[^"]*"[^>]*>(.*?)</a>', re.DOTALL
)
_RULE: Final = re.compile(r"(?:^|\})\s*(\.dark\b[^{}]*)\{([^{}]*)(?=\})")


def document(found: Experiment) -> Html:
    """The whole file."""
    legend, figures = view.curves(found, switches=False)
    charts = widgets.NOTHING
    if figures:
        drawn = [legend, svg_charts.charts(figures), view.caveat(_(view.CURVES_CAVEAT))]
        charts = widgets.section(_("Curves"), widgets.join(drawn))
    return render(
        "report/document.html",
        policy=POLICY,
        css=Markup(css()),
        language=current() or DEFAULT,
        title=in_language(found.report.question),
        lead=view.lead(found),
        body=_without_links(widgets.join([view.top(found), charts, view.bottom(found)])),
        reader=found.reader,
    )


def _without_links(html: Html) -> Html:
    """Replace links to pages of the app by their texts. Texts are escaped: every `<a` is markup of ours."""
    return Markup(_LINK.sub(r"\1", str(html)))


def css() -> str:
    """The style sheet of the pages, with the dark mode of the reader's system instead of a class."""
    pages = re.sub(r"/\*.*?\*/", "", theme.css(), flags=re.DOTALL)
    dark = "".join(f"{_of_system(selector)} {{{body}}}\n" for selector, body in _RULE.findall(pages))
    own = STYLE.read_text(encoding="utf-8")
    return f"{pages}\n{own}\n@media (prefers-color-scheme: dark) {{\n{dark}}}"


def _of_system(selector: str) -> str:
    """A selector below `.dark`, without it."""
    parts = (part.strip().removeprefix(".dark").strip() or ":root" for part in selector.split(","))
    return ", ".join(parts)
