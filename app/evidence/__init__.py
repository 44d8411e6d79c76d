"""Ratings of models from votes: pure statistics, without a database, a page or torch.

:func:`make_board` is the entry. docs/evidence.md explains each number and what it does not show.
"""

from app.evidence.board import Board, Missing, Rating, WinRate, make_board
from app.evidence.bootstrap import FEWEST_PROMPTS
from app.evidence.games import Games

__all__ = ["FEWEST_PROMPTS", "Board", "Games", "Missing", "Rating", "WinRate", "make_board"]
