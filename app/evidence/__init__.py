"""Ratings of models from votes: pure statistics, without a database, a page or torch.

:func:`make_board` rates models, and :func:`agreement` measures how far voters agree. docs/evidence.md
explains each number and what it does not show.
"""

from app.evidence.agreement import Agreement, agreement
from app.evidence.board import Board, Missing, Rating, WinRate, make_board
from app.evidence.bootstrap import FEWEST_PROMPTS
from app.evidence.games import Games

__all__ = [
    "FEWEST_PROMPTS",
    "Agreement",
    "Board",
    "Games",
    "Missing",
    "Rating",
    "WinRate",
    "agreement",
    "make_board",
]
