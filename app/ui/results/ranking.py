"""The ranking of the results page, and the model for the win rates against it."""

import gradio as gr

from app.ranking import Ranking, read_ranking
from app.store.db import read_session
from app.ui import query
from app.ui.results import ranking_view
from app.ui.results.ranking_files import RankingFiles
from app.ui.updates import Updates


def show(reference: str | None = None, request: gr.Request | None = None) -> Updates:
    """Updates of the ranking, with win rates against a model, given by its id.

    Without one they are against the base model, if exactly one has votes.
    """
    chosen = query.to_ids(reference or "")
    with read_session() as session:
        found = read_ranking(
            session=session, viewer=query.username(request), reference=chosen[0] if chosen else None
        )
    if len(found.models) < 2:
        return {
            "ranking": ranking_view.nothing_yet(found),
            "reference": gr.update(visible=False),
            "against": "",
        }
    files = RankingFiles(found)
    return {
        "ranking": ranking_view.ranking(found, files),
        "reference": _references(found),
        "against": ranking_view.against(found, files),
    }


def _references(found: Ranking) -> dict[str, object]:
    """An update of the choice of the reference: every model, the strongest first."""
    order, names = [*found.order, *found.unrated], ranking_view.names_of(found)
    choices = [(names[at], str(found.ids[at])) for at in order]
    reference = found.board.reference
    update: dict[str, object] = gr.update(
        choices=choices, value=None if reference is None else str(found.ids[reference]), visible=True
    )
    return update
