"""What a campaign's page shows of its automatic judges."""

from collections.abc import Sequence

import gradio as gr
from markupsafe import Markup

from app import judges
from app.i18n import N_, _
from app.judges import JudgeReport
from app.store.enums import VerdictStatus
from app.ui import widgets
from app.ui.judging import actions, view
from app.ui.results import ranking_view
from app.ui.results.ranking_files import RankingFiles
from app.ui.updates import Updates
from app.ui.widgets import Html

LEAD = N_("A model or a scorer can judge the answers as well. Its verdicts stay apart from votes.")
CAVEAT = N_(
    "Verdicts of judges are no votes: the ranking by people, the exports and the voters' agreement leave "
    "them out. A verdict counts only if both orders of the answers agree; otherwise it is a tie. Agreement "
    "with people does not show that a judge is right where people disagree with each other."
)


def show(found: Sequence[JudgeReport], user: str, *, own: bool, told: bool) -> Updates:
    """Updates of the section.

    Args:
        own: whether the reader may start and stop judges.
        told: whether the reader has seen the names, without which there are no boards.
    """
    return {
        "judges": gr.update(visible=bool(found) or own),
        "judged": view.section(found, lead=_(LEAD), caveat=_(CAVEAT)),
        **actions.buttons(found, own=own),
        "judge_boards": widgets.join([_board(report, user) for report in found]) if told else "",
    }


def _board(report: JudgeReport, user: str) -> Html:
    """The ranking by a judge, for a reader who has seen the names."""
    if not report.counts[VerdictStatus.JUDGED]:
        return widgets.NOTHING
    found = judges.board(report.judge.id, user=user)
    title = Markup('<h2 class="hy-h2" style="margin-top:18px">{}</h2>').format(
        _("By the judge {name}, #{id}", name=report.judge.name, id=report.judge.id)
    )
    note = Markup('<p class="hy-note">{}</p>').format(_("Below, votes are this judge's verdicts."))
    files = RankingFiles(found, "judge", report.judge.id, about=report.judge.name)
    return widgets.join([title, note, ranking_view.ranking(found, files)])
