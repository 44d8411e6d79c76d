"""Scorings of datasets under checkpoints, on a generate worker: a few pairs under each claim, chats first."""

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from app import artifacts
from app.errors import Refused
from app.settings import get_settings
from app.store import pair_scorings
from app.store.claims import Claim
from app.store.pair_scorings import PAIR_LEASES, Work
from hypo_engine.config import parse_config
from hypo_engine.pair_scores import PairScore, PairScorer, Unscored, load_pair_scorer
from worker.answering import answer_chats
from worker.lease import LeaseRenewer
from worker.retry import SHUTDOWN_SECONDS, retry, retry_read, retry_write
from worker.run_models import fetch_run_model
from worker.shutdown import released_on_exit, shutting_down
from worker.training import describe

CLAIMED_PAIRS = 64
"""Pairs under one lease: few, because campaigns and judges wait meanwhile."""

PAUSE_SECONDS = 0.5
"""Between two looks at the chats that wait and at whether the scoring is still wanted."""

MAX_REASON_CHARS = 300
NOT_FINITE = "The model gives it no finite log-probability."

log = logging.getLogger(__name__)
_loaded: dict[str, PairScorer] = {}
"""The checkpoint of the last pairs, while more of them wait."""


class _Unwanted(Exception):
    """The scoring was cancelled or lost, or the worker shuts down."""


def score_pairs_next(*, worker: str) -> bool:
    """Claim the scoring that has waited longest, and score its next pairs; return False if none waits."""
    settings, lease = get_settings(), str(uuid4())
    work = retry_write(
        lambda session: pair_scorings.claim_next(
            session=session,
            worker=worker,
            lease_seconds=settings.lease_seconds,
            lease=lease,
            pairs=CLAIMED_PAIRS,
        )
    )
    if work is None:
        _loaded.clear()
        return False
    claim = Claim.of(work.scoring)

    def release(seconds: float | None = None) -> None:
        retry_write(lambda session: PAIR_LEASES.release(claim, session=session), seconds=seconds)

    renewer = LeaseRenewer(PAIR_LEASES, [claim], settings.lease_seconds)
    with renewer, released_on_exit(lambda: release(SHUTDOWN_SECONDS)):
        pause = _Pause(claim, worker)
        began = time.perf_counter()
        try:
            scores = _scores(work, pause)
        except _Unwanted:
            release()
        except Exception as error:
            log.error("Scoring %s failed", claim.id, exc_info=error)
            _loaded.clear()
            sentence = describe(error)
            retry_write(lambda session: pair_scorings.fail(claim, session=session, error=sentence))
        else:
            seconds = time.perf_counter() - began - pause.seconds
            first, total = work.scoring.done, work.scoring.total
            retry_write(
                lambda session: pair_scorings.write(
                    claim, scores, session=session, first=first, total=total, seconds=seconds
                )
            )
    return True


class _Pause:
    """Between batches: answers the chats that wait, and stops a scoring that is no longer wanted.

    Attributes:
        seconds: time spent on chats.
    """

    def __init__(self, claim: Claim, worker: str) -> None:
        self._claim, self._worker = claim, worker
        self._at = 0.0
        self.seconds = 0.0

    def __call__(self) -> None:
        began = time.perf_counter()
        if began - self._at < PAUSE_SECONDS:
            return
        if shutting_down.is_set() or not retry_read(
            lambda session: pair_scorings.is_wanted(self._claim, session=session)
        ):
            raise _Unwanted
        answer_chats(self._worker)
        self._at = time.perf_counter()
        self.seconds += self._at - began


def _scores(work: Work, pause: _Pause) -> list[dict[str, Any]]:
    if not work.pairs:
        return []
    scorer = _scorer(work)
    return [_columns(one) for one in scorer.score(work.pairs, between=pause)]


def _columns(score: PairScore | Unscored) -> dict[str, Any]:
    """The columns of a score; the same keys for every pair."""
    empty: dict[str, Any] = dict.fromkeys(PairScore.__dataclass_fields__)
    if isinstance(score, Unscored):
        return {**empty, "reason": score.reason[:MAX_REASON_CHARS]}
    columns = asdict(score)
    if all(math.isfinite(value) for value in columns.values() if value is not None):
        return {**columns, "reason": None}
    return {**empty, "reason": NOT_FINITE}


def _scorer(work: Work) -> PairScorer:
    if work.config is None:
        raise Refused("The run or its checkpoint was deleted; choose another run.")
    if work.checkpoint_path not in _loaded:
        _loaded.clear()
        _loaded[work.checkpoint_path] = _load(work.config, work.checkpoint_path)
    return _loaded[work.checkpoint_path]


def _load(config: Mapping[str, Any], checkpoint_path: str) -> PairScorer:
    with TemporaryDirectory(prefix="hypo-pairs-") as scratch:
        folder = retry(lambda: artifacts.fetch_policy(checkpoint_path, Path(scratch) / "checkpoint"))
        parsed = parse_config(config)
        run_model = retry(lambda: fetch_run_model(parsed.model_name_or_path, Path(scratch) / "base"))
        return load_pair_scorer(parsed, folder, get_settings().models_dir, run_model)
