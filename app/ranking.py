"""The ranking of models from the votes that a person may see: from all votes, or from a campaign's.

`app.evidence` computes it from arrays. This module reads the votes, and keeps the last boards in memory by
the version of the votes from which they were computed.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from sqlalchemy.orm import Session

from app.board import Model, model_of
from app.errors import NotFound
from app.evidence import Board, Games, make_board
from app.store import label_queries, vote_games
from app.store.contenders import origin
from app.store.enums import Outcome
from app.store.models import Answerer
from app.store.vote_games import Game, Version

KEPT_BOARDS: Final = 16

_SCORES: Final = {Outcome.FIRST.value: 1.0, Outcome.SECOND.value: 0.0}
"""Ties and both bad score one half."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Two models that follow each other in the ranking. `more_votes` is 0 where the votes separate them."""

    stronger: int
    weaker: int
    more_votes: int | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """A board with its models. `ids` and `models` are in the order of the board's indices.

    `games` counts pairs of answers: a vote among three answers decides up to three of them. `hidden` counts
    votes on comparisons whose names the reader may not see yet. No other count includes them.
    """

    ids: Sequence[int]
    models: Sequence[Model]
    board: Board
    games: int
    prompts: int
    hidden: int

    @property
    def order(self) -> list[int]:
        """The rated models, the strongest first."""
        strengths = {at: rating.strength for at, rating in enumerate(self.board.ratings)}
        rated = [(-strength, at) for at, strength in strengths.items() if strength is not None]
        return [at for _, at in sorted(rated)]

    @property
    def unrated(self) -> list[int]:
        """The models that no votes connect with the rated ones."""
        return [at for at, rating in enumerate(self.board.ratings) if rating.strength is None]

    @property
    def has_intervals(self) -> bool:
        """Whether any strength has an interval. It needs votes on enough prompts."""
        return any(rating.low is not None for rating in self.board.ratings)

    def rank(self, model: int) -> int | None:
        """One more than the number of models that the votes separate from it as stronger.

        None without an interval. Models that the votes do not separate may share a rank.
        """
        if self.board.ratings[model].low is None:
            return None
        above = self.order[: self.order.index(model)]
        return 1 + sum(1 for other in above if self.board.more_votes[other, model] == 0)

    def more_votes(self, one: int, other: int) -> int | None:
        """About how many more votes would separate two models; 0 if they are separated, None if unknown."""
        votes = float(self.board.more_votes[one, other])
        return None if np.isnan(votes) else int(votes)

    @property
    def neighbours(self) -> list[Neighbours]:
        """Each model of the ranking with the next one."""
        order = self.order
        return [Neighbours(one, other, self.more_votes(one, other)) for one, other in pairwise(order)]

    @property
    def names(self) -> list[str]:
        """A text for each model that tells it from the others."""
        plain = [model.name for model in self.models]
        told = [
            name if plain.count(name) == 1 else _told_apart(model)
            for name, model in zip(plain, self.models, strict=True)
        ]
        return [
            name if told.count(name) == 1 else f"{name} [{key}]"
            for name, key in zip(told, self.ids, strict=True)
        ]


def read_ranking(
    *,
    session: Session,
    viewer: str | None = None,
    reference: int | None = None,
    campaign_id: int | None = None,
    aspect: str | None = None,
    adjudicated: bool = False,
) -> Ranking:
    """The ranking of all models, from memory if no vote has changed since it was last computed.

    Args:
        campaign_id: count only the votes of a campaign.
        aspect: rank by what the votes say of an aspect, instead of which answer is better.
        adjudicated: where a comparison has an adjudicated verdict, count that instead of its votes.
        viewer: the user who reads it. Votes whose names this user may not see yet are left out.
        reference: id of the model for the win rates against it, as in `Ranking.ids`. By default the base
            model, if exactly one has votes.

    Raises:
        NotFound: no model with votes has the id `reference`.
    """
    hidden = 0
    if viewer is not None:
        hidden = label_queries.count_hidden(viewer, session=session, campaign_id=campaign_id)
    version = vote_games.version(session=session, viewer=viewer if hidden else None)
    counted = _counted(_Wanted(version, reference, campaign_id, aspect, adjudicated), session)
    found = vote_games.answerers(counted.ids, session=session)
    models = [model_of(answerer) for answerer in found]
    return Ranking(counted.ids, models, counted.board, counted.games, counted.prompts, hidden)


@dataclass(frozen=True, slots=True)
class _Counted:
    ids: Sequence[int]
    board: Board
    games: int
    prompts: int


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a board is computed from."""

    version: Version
    reference: int | None
    campaign_id: int | None
    aspect: str | None
    adjudicated: bool


_kept: "OrderedDict[tuple[str, _Wanted], _Counted]" = OrderedDict()
_computing = threading.Lock()
"""One board is computed at a time: a second reader of the same board waits for the first."""


def _counted(wanted: _Wanted, session: Session) -> _Counted:
    key = (str(session.get_bind().engine.url), wanted)
    with _computing:
        found = _kept.get(key)
        if found is None:
            found = _kept[key] = _count(wanted, session)
        _kept.move_to_end(key)
        while len(_kept) > KEPT_BOARDS:
            _kept.popitem(last=False)
    return found


def _count(wanted: _Wanted, session: Session) -> _Counted:
    rows = vote_games.games(
        session=session,
        viewer=wanted.version.viewer,
        campaign_id=wanted.campaign_id,
        aspect=wanted.aspect,
        adjudicated=wanted.adjudicated,
    )
    ids = sorted({game.first for game in rows} | {game.second for game in rows})
    answerers = vote_games.answerers(ids, session=session)
    board = make_board(_arrays(rows, ids), len(ids), reference=_reference(answerers, wanted.reference))
    return _Counted(ids, board, len(rows), len({game.prompt for game in rows}))


def _arrays(rows: Sequence[Game], ids: Sequence[int]) -> Games:
    prompts, first, second, outcomes, lengths = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return Games(
        prompt=np.array(prompts, np.int64),
        first=np.searchsorted(ids, first).astype(np.int64),
        second=np.searchsorted(ids, second).astype(np.int64),
        score=np.array([_SCORES.get(outcome, 0.5) for outcome in outcomes], np.float64),
        length=np.array(lengths, np.float64),
    )


def _reference(answerers: Sequence[Answerer], chosen: int | None) -> int | None:
    """The index of the chosen model, or of the only base model."""
    if chosen is None:
        bases = [at for at, answerer in enumerate(answerers) if answerer.method == "reference"]
        return bases[0] if len(bases) == 1 else None
    found = [at for at, answerer in enumerate(answerers) if answerer.id == chosen]
    if not found:
        raise NotFound(f"No model {chosen} has votes that you may see; the board lists the models' ids.")
    return found[0]


def _told_apart(model: Model) -> str:
    if model.run_id is None:
        return f"{model.name} ({origin(model.method, model.base_model, model.run_id)})"
    return f"{model.name} (#{model.run_id}, step {model.step})"
