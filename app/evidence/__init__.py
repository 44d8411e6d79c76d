"""Ratings of models from votes: pure statistics, without a database, a page or torch.

:func:`make_board` rates models. :func:`agreement` and :func:`agreement_rate` measure how far voters and
judges agree. :func:`mean_interval` bounds a mean. docs/evidence.md explains each number and what it does not
show.
"""

from app.evidence.agreement import Agreement, agreement
from app.evidence.board import Board, Missing, Rating, WinRate, make_board
from app.evidence.bootstrap import FEWEST_PROMPTS
from app.evidence.games import Games
from app.evidence.intervals import mean_interval
from app.evidence.judge_agreement import AgreementRate, agreement_rate

__all__ = [
    "FEWEST_PROMPTS",
    "Agreement",
    "AgreementRate",
    "Board",
    "Games",
    "Missing",
    "Rating",
    "WinRate",
    "agreement",
    "agreement_rate",
    "make_board",
    "mean_interval",
]
