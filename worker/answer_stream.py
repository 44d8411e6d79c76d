"""Between the decoder and the rows: texts and stop requests of the answers that are decoded together."""

import threading
import time
from collections.abc import Callable, Sequence

from sqlalchemy.orm import Session

from app.errors import Refused
from app.store import answering, campaign_tasks, generations
from app.store.answering import ANSWER_LEASES
from app.store.claims import Claim
from app.store.enums import GenerationStatus
from app.store.models import Generation
from hypo_engine.generate import Answer
from worker.retry import retry_read, retry_write
from worker.shutdown import shutting_down

WRITE_SECONDS = 0.15
"""Seconds between two writes of a chat's growing texts."""

PAUSE_SECONDS = 0.5
"""Seconds of decoding for a campaign after which stop requests are read and chats are answered."""


class AnswerStream:
    """Reads requests to stop an answer, and writes the complete answers.

    Args:
        claims: claims on the comparisons, of one lease.
        lost: set once the lease is lost.
    """

    def __init__(self, claims: Sequence[Claim], rows: Sequence[Generation], lost: threading.Event) -> None:
        self.ids = [row.id for row in rows]
        self._claims = claims
        self._lost = lost
        self._seconds: dict[int, float] = {}
        self._stop: set[int] = set()
        self._started = time.perf_counter()

    def interrupted(self) -> bool:
        """Whether decoding stopped so that another worker can continue."""
        return self._lost.is_set() or shutting_down.is_set()

    def check_wanted(self, what: str, seconds: float) -> None:
        """Stop waiting for an unavailable store once the answers were stopped or another worker holds them.

        Raises:
            Refused: the answers were stopped, or the lease was lost.
        """
        self._read_stop_wishes()
        if self.interrupted() or self._stop.issuperset(self.ids):
            raise Refused(f"The {what} was away; ask again when it is back.")

    def start(self) -> None:
        self._started = time.perf_counter()
        retry_write(lambda session: generations.start_answers(self.ids, session=session))

    def on_text(self, row: int, text: str, tokens: int) -> None:
        """Record a row's text and its number of tokens so far."""
        self._seconds[row] = time.perf_counter() - self._started

    def should_stop(self, row: int) -> bool:
        return self.interrupted() or self.ids[row] in self._stop

    def finish(self, session: Session, answers: Sequence[Answer]) -> int:
        """Write the complete texts with their log-probabilities; return how many were not over before."""
        return sum(self._finish(session, row, answer) for row, answer in enumerate(answers))

    def fail(self, session: Session, error: str) -> None:
        """Record why the answers failed."""
        for generation_id in self.ids:
            generations.fail_answer(generation_id, session=session, error=error)

    def _read_stop_wishes(self) -> None:
        """Read the requests to stop, and acknowledge new ones."""
        stop = retry_read(lambda session: generations.stop_wishes(self.ids, session=session))
        if stop - self._stop:
            retry_write(lambda session: ANSWER_LEASES.acknowledge_cancel(*self._claims, session=session))
        self._stop = stop

    def _finish(self, session: Session, row: int, answer: Answer) -> bool:
        return generations.finish_answer(
            self.ids[row],
            session=session,
            status=GenerationStatus.STOPPED if answer.stopped else GenerationStatus.FINISHED,
            text=_storable(answer.text),
            tokens=answer.tokens,
            seconds=self._seconds.get(row, time.perf_counter() - self._started),
            complete=answer.finished,
            policy_logp=answer.policy_logp,
            reference_logp=answer.reference_logp,
            token_logps=[
                [_storable(text), policy, reference]
                for text, policy, reference in zip(
                    answer.token_texts, answer.policy_token_logps, answer.reference_token_logps, strict=True
                )
            ],
        )


class ChatStream(AnswerStream):
    """Also writes the growing texts, several times a second."""

    def __init__(self, claims: Sequence[Claim], rows: Sequence[Generation], lost: threading.Event) -> None:
        super().__init__(claims, rows, lost)
        self._latest: dict[int, tuple[str, int]] = {}
        self._written_at = 0.0

    def on_text(self, row: int, text: str, tokens: int) -> None:
        super().on_text(row, text, tokens)
        self._latest[row] = (text, tokens)
        if time.perf_counter() - self._written_at >= WRITE_SECONDS:
            retry_write(self._grow)
            self._written_at = time.perf_counter()
            self._latest.clear()
            self._read_stop_wishes()

    def _grow(self, session: Session) -> None:
        for row, (text, tokens) in self._latest.items():
            generations.grow_answer(
                self.ids[row],
                session=session,
                text=_storable(text),
                tokens=tokens,
                seconds=self._seconds[row],
            )


class CampaignStream(AnswerStream):
    """Writes no growing texts, answers chats amid the decoding, and settles the campaign's tasks.

    Args:
        answer_chats: answers the chats that wait.
    """

    def __init__(
        self,
        claims: Sequence[Claim],
        rows: Sequence[Generation],
        lost: threading.Event,
        *,
        campaign_id: int,
        answer_chats: Callable[[], None],
    ) -> None:
        super().__init__(claims, rows, lost)
        self._campaign_id = campaign_id
        self._comparisons = sorted({row.comparison_id for row in rows if row.comparison_id is not None})
        self._answer_chats = answer_chats
        self._paused_at = 0.0
        self._seconds_of_chats = 0.0

    def on_text(self, row: int, text: str, tokens: int) -> None:
        super().on_text(row, text, tokens)
        began = time.perf_counter()
        if began - self._paused_at >= PAUSE_SECONDS:
            self._read_stop_wishes()
            self._answer_chats()
            self._paused_at = time.perf_counter()
            self._seconds_of_chats += self._paused_at - began

    def finish(self, session: Session, answers: Sequence[Answer]) -> int:
        written = super().finish(session, answers)
        if written:
            seconds = time.perf_counter() - self._started - self._seconds_of_chats
            answering.add_answered(self._campaign_id, session=session, answers=written, seconds=seconds)
        campaign_tasks.settle(self._comparisons, session=session)
        return written

    def fail(self, session: Session, error: str) -> None:
        """Queue the answers again; those that failed before stay failed."""
        for generation_id in self.ids:
            generations.try_answer_again(generation_id, session=session, error=error)
        campaign_tasks.settle(self._comparisons, session=session)


def _storable(text: str) -> str:
    """The text without null characters, which PostgreSQL cannot store."""
    return text.replace("\x00", "\ufffd")
