"""Scorings of a dataset's pairs: the operations shared by the page, the command line and the API."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import dispatch
from app.errors import InvalidInput, Refused
from app.settings import get_settings
from app.store import datasets, pair_scorings, run_checkpoints, runs, scored_pairs, users
from app.store.db import read_session, write_session
from app.store.enums import MarginKind, PairScoringStatus, Split
from app.store.models import Checkpoint, PairScoring, Run
from app.store.pair_scorings import PAIR_LEASES
from app.store.scored_pairs import Filter, Place, ScoredPair, Show
from app.text import clean_text
from hypo_engine.config import Need, parse_config

MAX_MODELS: Final = 2
BINS: Final = 40
MAX_SEARCH_CHARS: Final = 500
_PLACE: Final = re.compile(r"(-?\d[\d.e+-]{0,30})_(\d{1,9})")


# --- start, cancel ------------------------------------------------------------------------------


def start(dataset_id: int, run_id: int, *, step: int | None = None, user: str = users.LOCAL) -> int:
    """Score a dataset's pairs under a run's checkpoint, or continue a scoring that failed or was cancelled.

    Args:
        step: the checkpoint's step; the last one if None.

    Returns:
        The scoring's id. A scoring that waits or is finished is returned as it is.

    Raises:
        NotFound: when the dataset or the run does not exist.
        InvalidInput: when the run has no checkpoint of this step.
        Refused: while the run is not over, when it has no checkpoint, or when the dataset was deleted.
    """
    try:
        scoring_id = _queue(dataset_id, run_id, step, user)
    except IntegrityError:  # another request queued the same scoring meanwhile
        scoring_id = _queue(dataset_id, run_id, step, user)
    with read_session() as session:
        waits = pair_scorings.get(scoring_id, session=session).status is PairScoringStatus.QUEUED
    if waits and dispatch.send_comparison(scoring_id):
        with write_session() as session:
            PAIR_LEASES.mark_sent(scoring_id, session=session)
    return scoring_id


def _queue(dataset_id: int, run_id: int, step: int | None, user: str) -> int:
    with write_session() as session:
        dataset = datasets.get(dataset_id, session=session)
        if dataset.deleted_at is not None:
            raise Refused(f"{dataset.name} version {dataset.version} was deleted; score another version.")
        run = runs.get(run_id, session=session)
        checkpoint = _checkpoint(run, step, session)
        known = pair_scorings.find(dataset_id, checkpoint.id, session=session)
        if known is not None:
            pair_scorings.resume(known.id, session=session)
            return known.id
        kind, beta = margin_of(run)
        scoring = PairScoring(
            dataset_id=dataset_id,
            run_id=run.id,
            checkpoint_id=checkpoint.id,
            user_id=users.ensure(user, session=session).id,
            run_name=run.name,
            method=run.method,
            step=checkpoint.step,
            margin_kind=kind,
            beta=beta,
            total=dataset.rows,
        )
        session.add(scoring)
        session.flush()
        return scoring.id


def _checkpoint(run: Run, step: int | None, session: Session) -> Checkpoint:
    if not run.status.is_over:
        raise Refused(f"Run {run.id} is {run.status.value}; wait until it is over, then score pairs with it.")
    found = run_checkpoints.of_run(run.id, session=session)
    if not found:
        raise Refused(f"Run {run.id} has no checkpoint; resume it, or choose another run.")
    if step is None:
        return found[-1]
    for checkpoint in found:
        if checkpoint.step == step:
            return checkpoint
    steps = ", ".join(str(checkpoint.step) for checkpoint in found[:20])
    raise InvalidInput(
        f"step: run {run.id} has no checkpoint of step {step}; choose of {steps}.", field="step"
    )


def margin_of(run: Run) -> tuple[MarginKind, float]:
    """What a margin of the run is the difference of, and its factor beta (1 where there is none)."""
    config = parse_config(run.config)
    if Need.REWARDS in config.held_out_needs:
        return MarginKind.REWARD, 1.0
    if Need.REFERENCE in config.held_out_needs:
        return MarginKind.RELATIVE, config.beta
    return MarginKind.PER_TOKEN, config.beta if Need.REJECTED in config.needs else 1.0


def cancel(scoring_id: int) -> None:
    """Stop a scoring; the pairs that are scored stay, and `start` continues it.

    Raises:
        NotFound: when the id does not exist.
    """
    with write_session() as session:
        pair_scorings.get(scoring_id, session=session)
        pair_scorings.cancel(scoring_id, session=session)


def seconds_left(scoring: PairScoring) -> float | None:
    """The predicted time until all pairs are scored; None before the first ones, and when it is over."""
    if scoring.status is not PairScoringStatus.QUEUED or not scoring.done or not scoring.seconds:
        return None
    return scoring.seconds / scoring.done * (scoring.total - scoring.done)


# --- read ---------------------------------------------------------------------------------------


def of_dataset(dataset_id: int, *, session: Session) -> Sequence[PairScoring]:
    """The scorings of a dataset, newest first.

    Raises:
        NotFound: when the dataset does not exist.
    """
    datasets.get(dataset_id, session=session)
    return pair_scorings.of_dataset(dataset_id, session=session)


@dataclass(frozen=True, slots=True)
class PairPage:
    """A page of scored pairs; `following` is the place where the next page begins, empty on the last."""

    scorings: list[PairScoring]
    pairs: list[ScoredPair]
    following: str


def checked_filter(
    dataset_id: int,
    scoring_ids: Sequence[int],
    *,
    session: Session,
    show: str = Show.ALL,
    split: str = "",
    search: str = "",
) -> Filter:
    """Check which pairs are asked for. Without ids, the dataset's two newest scorings are taken.

    Raises:
        InvalidInput: too many scorings, one of another dataset, or an unknown order or side.
        NotFound: when a scoring does not exist.
        Refused: when no pair of the dataset was scored yet.
    """
    if len(set(scoring_ids)) > MAX_MODELS:
        raise InvalidInput(f"scorings: choose at most {MAX_MODELS} models.", field="scorings")
    for scoring_id in scoring_ids:
        if pair_scorings.get(scoring_id, session=session).dataset_id != dataset_id:
            raise InvalidInput(
                f"scorings: scoring {scoring_id} is not of dataset {dataset_id}; name one that is.",
                field="scorings",
            )
    known = [scoring.id for scoring in pair_scorings.of_dataset(dataset_id, session=session) if scoring.done]
    chosen = tuple(dict.fromkeys(scoring_ids)) or tuple(sorted(known[:MAX_MODELS]))
    if not chosen:
        raise Refused(
            f"No pair of dataset {dataset_id} is scored yet; "
            f"`hypo datasets score {dataset_id} --run NUMBER` scores them."
        )
    if show not in list(Show):
        raise InvalidInput(f"sort must be one of {', '.join(Show)}.", field="sort")
    if split and split not in list(Split):
        raise InvalidInput(f"split must be one of {', '.join(Split)}.", field="split")
    words = clean_text(search).strip()[:MAX_SEARCH_CHARS]
    return Filter(chosen, Show(show), Split(split) if split else None, words)


def page(dataset_id: int, wanted: Filter, *, session: Session, limit: int, after: str = "") -> PairPage:
    """A page of scored pairs.

    Args:
        after: `following` of the previous page.

    Raises:
        InvalidInput: for another `after`.
    """
    place = read_place(after) if after else None
    found = scored_pairs.page(dataset_id, wanted, session=session, limit=limit + 1, after=place)
    shown = found[:limit]
    following = write_place(shown[-1].place) if len(found) > limit else ""
    return PairPage(
        [pair_scorings.get(scoring, session=session) for scoring in wanted.scorings], shown, following
    )


def write_place(place: Place) -> str:
    """A place in the order as text, for addresses."""
    return f"{place.margin!r}_{place.position}"


def read_place(text: str) -> Place:
    """The inverse of `write_place`.

    Raises:
        InvalidInput: the text is no place.
    """
    found = _PLACE.fullmatch(text)
    try:
        if found is not None:
            return Place(float(found[1]), int(found[2]))
    except ValueError:
        pass
    raise InvalidInput("cursor must be the `next` of the previous page.", field="cursor")


State = tuple[tuple[int, datetime, int], ...]
"""What decides the scores of some scorings: id, time of creation and number of pairs scored."""


def _state(wanted: Filter, session: Session) -> State:
    found = [pair_scorings.get(one, session=session) for one in wanted.scorings]
    return tuple((one.id, one.created_at, one.done) for one in found)


def counts(dataset_id: int, wanted: Filter, *, session: Session) -> dict[Show, int]:
    """The number of pairs that each order shows, whatever the side and the search."""
    return _counts(get_settings().sqlalchemy_url, dataset_id, _state(wanted, session))


@lru_cache(maxsize=200)
def _counts(_database: str, dataset_id: int, state: State) -> dict[Show, int]:
    """As `counts`, cached: the scores of the first `done` pairs never change."""
    scorings = tuple(number for number, _, _ in state)
    with read_session() as session:
        return {
            show: scored_pairs.count(dataset_id, Filter(scorings, show), session=session) for show in Show
        }


# --- margins as a whole -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of each scoring's margins, or of rewards, in common bins. The outer ones hold the rest."""

    edges: list[float]
    counts: list[list[int]]


def histogram(wanted: Filter, *, session: Session) -> Histogram:
    """The distribution of margins; without edges if nothing is scored."""
    return _histogram(get_settings().sqlalchemy_url, _state(wanted, session))


@lru_cache(maxsize=200)
def _histogram(_database: str, state: State) -> Histogram:
    scorings = tuple(number for number, _, _ in state)
    with read_session() as session:
        bounds = [
            found
            for scoring in scorings
            for share in (0.005, 0.995)
            if (found := scored_pairs.margin_at(scoring, share, session=session)) is not None
        ]
        if not bounds:
            return Histogram([], [])
        edges = _edges(min(bounds), max(bounds))
        return Histogram(
            edges, [scored_pairs.histogram(scoring, edges, session=session) for scoring in scorings]
        )


def reward_histogram(scoring_id: int, *, session: Session) -> Histogram:
    """The distribution of a reward model's rewards of the chosen, and of the rejected answers."""
    return _reward_histogram(get_settings().sqlalchemy_url, _state(Filter((scoring_id,)), session))


@lru_cache(maxsize=200)
def _reward_histogram(_database: str, state: State) -> Histogram:
    [(scoring, _, _)] = state
    with read_session() as session:
        limits = scored_pairs.reward_range(scoring, session=session)
        if limits is None:
            return Histogram([], [])
        edges = _edges(*limits)
        return Histogram(edges, scored_pairs.reward_histogram(scoring, edges, session=session))


def _edges(low: float, high: float) -> list[float]:
    """Edges of equal bins that cover a range; zero is one of them, so that no bin has both signs."""
    low, high = min(low, 0.0), max(high, 0.0)
    width = (high - low) / (BINS - 2) or 1.0
    first = -int(-low / width) - 1
    last = int(high / width) + 1
    return [place * width for place in range(first, last + 1)]
