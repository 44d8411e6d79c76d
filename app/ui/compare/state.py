"""The data of the compare page, read in one session, and the contenders it offers."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app import answer_waits, answers, endpoints
from app.dispatch import GENERATE_QUEUE
from app.errors import InvalidInput, NotFound
from app.i18n import _
from app.store import (
    comparisons,
    conversations,
    judging,
    labels,
    names,
    run_checkpoints,
    run_lists,
    runs,
    stamps,
    workers,
)
from app.store.contenders import ENDPOINT, REFERENCE, REWARD
from app.store.conversations import ContenderChoice
from app.store.db import read_session
from app.store.enums import RunStatus
from app.store.judging import LETTERS
from app.store.models import Checkpoint, Comparison, Contender, Conversation, Generation, Label, Run, User
from app.text import read_id
from app.ui import formatting
from app.ui.compare.names import contender_name
from app.ui.theme import role

OFFERED_RUNS = 100
RECENT = 12


@dataclass(frozen=True, slots=True)
class Turn:
    """A question, its answers in display order with their contenders, and the reader's vote.

    `hidden` means that the reader may not see the names yet. `origin` is the side of the previous question
    whose answer all contenders continued. `waits` has what each queued answer waits for.
    """

    comparison: Comparison
    contenders: list[Contender]
    answers: list[Generation]
    label: Label | None
    hidden: bool
    origin: int | None
    waits: list[str]

    @property
    def over(self) -> bool:
        return all(answer.status.is_over for answer in self.answers)

    @property
    def problem(self) -> str:
        """The reason why the answers cannot be judged, as a sentence; empty when they can."""
        return judging.why_not_votable(self.answers)

    @property
    def votable(self) -> bool:
        return not self.problem

    @property
    def best(self) -> int | None:
        """Side of the answer voted best."""
        return self._side(self.label.best_id if self.label else None)

    @property
    def worst(self) -> int | None:
        """Side of the answer voted worst."""
        return self._side(self.label.worst_id if self.label else None)

    def title(self, side: int) -> str:
        """`A`, or `A · Reference` once the names are visible."""
        return LETTERS[side] if self.hidden else f"{LETTERS[side]} · {contender_name(self.contenders[side])}"

    def _side(self, answer_id: int | None) -> int | None:
        found = (side for side, answer in enumerate(self.answers) if answer.id == answer_id)
        return next(found, None) if answer_id is not None else None


@dataclass(frozen=True, slots=True)
class View:
    """A conversation as seen by one user; `stamp` changes with it."""

    conversation: Conversation
    turns: list[Turn]
    stamp: str

    @property
    def current(self) -> Turn:
        return self.turns[-1]


@dataclass(frozen=True, slots=True)
class RecentConversation:
    """An entry in the list of recent conversations."""

    id: int
    question: str
    names: list[str]
    turns: int
    conversation: Conversation


def read_view(conversation_id: int, user: str) -> View:
    """Read a conversation and record the names visible to the reader as shown.

    Raises:
        NotFound: if no conversation has this id, or if it is a prompt of a campaign.
    """
    with read_session() as session:
        conversation = conversations.get(conversation_id, session=session)
        if conversation.campaign_id is not None:
            raise NotFound(
                _(
                    "Conversation {conversation} is a prompt of campaign {campaign}; judge it on the Label "
                    "page.",
                    conversation=conversation_id,
                    campaign=conversation.campaign_id,
                )
            )
        asked = comparisons.turns(conversation_id, session=session)
        hidden = names.hidden_among(asked, user, session=session)
        shown = {comparison.id for comparison in asked} - hidden
        unrecorded = shown - names.seen_among(shown, user, session=session)
        turns: list[Turn] = []
        for comparison in asked:
            turns.append(_turn(comparison, turns, user, hidden=comparison.id in hidden, session=session))
        stamp = stamps.of_conversation(conversation_id, user, session=session)
    if unrecorded:
        answers.remember_shown(unrecorded, user=user)
        with read_session() as session:
            stamp = stamps.of_conversation(conversation_id, user, session=session)
    return View(conversation, turns, stamp)


def _turn(
    comparison: Comparison, earlier: Sequence[Turn], user: str, *, hidden: bool, session: Session
) -> Turn:
    contenders = {contender.position: contender for contender in comparison.conversation.contenders}
    replies = comparisons.answers(comparison.id, session=session)
    origin = comparison.continues_from
    models = [contenders[int(reply.position or 0)] for reply in replies]
    return Turn(
        comparison,
        models,
        replies,
        labels.of_user(comparison.id, user, session=session),
        hidden,
        earlier[-1].comparison.shown_order.index(origin) if earlier and origin is not None else None,
        answer_waits.waits(comparison, models, replies, hidden=hidden, session=session),
    )


def stamp(conversation_id: int, user: str) -> str:
    """A version stamp of a user's view of a conversation; one small query."""
    with read_session() as session:
        return stamps.of_conversation(conversation_id, user, session=session)


def recent_conversations(user: str) -> list[RecentConversation]:
    """The newest conversations of a user; hidden names stay hidden."""
    with read_session() as session:
        found = []
        newest = conversations.recent(session=session, user=user, limit=RECENT)
        turns = comparisons.turns_of([conversation.id for conversation in newest], session=session)
        everything = [comparison for asked in turns.values() for comparison in asked]
        all_hidden = names.hidden_among(everything, user, session=session)
        for conversation in newest:
            asked = turns[conversation.id]
            hidden = all_hidden.intersection(comparison.id for comparison in asked)
            shown = [] if hidden else [contender_name(one) for one in conversation.contenders]
            question = asked[0].question if asked else ""
            found.append(RecentConversation(conversation.id, question, shown, len(asked), conversation))
        return found


def worker_present() -> bool:
    """Whether a worker is consuming the generate queue."""
    with read_session() as session:
        return bool(workers.consuming(session=session, queue=GENERATE_QUEUE))


# --- contenders ------------------------------------------------------------------------------


def offered_contenders() -> list[tuple[str, str]]:
    """Labels and keys of all contenders: references, runs with their checkpoints, newest first, endpoints."""
    with read_session() as session:
        finished = runs.find(
            session=session, status=RunStatus.FINISHED, without_method=REWARD, limit=OFFERED_RUNS
        )
        bases = list(dict.fromkeys(run.base_model for run in finished)) or ["demo"]
        offered = [(_("Reference · {model}", model=_short(base)), f"{REFERENCE}:{base}") for base in bases]
        kept = run_lists.checkpoints([run.id for run in finished], session=session)
        best = run_checkpoints.best_steps(finished, session=session)
        for run in finished:
            points = kept[run.id][::-1]
            for place, point in enumerate(points):
                shown = f"#{run.id} {run.name}"
                if place == 0:
                    offered.append((shown, f"run:{run.id}"))
                else:
                    said = _("{run} @ step {step}", run=shown, step=point.step)
                    if point.step == best.get(run.id):
                        said = _("{run} @ step {step}, the best", run=shown, step=point.step)
                    offered.append((said, f"run:{run.id}:{point.id}"))
    remote = [one.name for one in endpoints.configured()]
    return offered + [(_("{name} · endpoint", name=name), f"{ENDPOINT}:{name}") for name in remote]


def preselected(
    run_ids: Sequence[int], offered: Sequence[tuple[str, str]], *, checkpoint_ids: Sequence[int] = ()
) -> list[str]:
    """Keys of the reference, and of the given runs and checkpoints.

    If none of them is offered, those of the last twins that are all finished, or else of the newest finished
    run and its twins.
    """
    keys = {key for _name, key in offered}
    wanted = [f"run:{run_id}" for run_id in run_ids]
    with read_session() as session:
        for point in filter(None, (session.get(Checkpoint, one) for one in checkpoint_ids)):
            earlier, last = f"run:{point.run_id}:{point.id}", f"run:{point.run_id}"
            wanted.append(earlier if earlier in keys else last)
        wanted = [key for key in wanted if key in keys]
        if not wanted:
            twins = run_lists.last_complete_twins(session=session) or _newest(session)
            wanted = [f"run:{run.id}" for run in twins if f"run:{run.id}" in keys]
        wanted = wanted[: conversations.MAX_CONTENDERS - 1]
        bases = [runs.get(int(key.split(":")[1]), session=session).base_model for key in wanted]
    reference = f"{REFERENCE}:{bases[0]}" if bases else next((key for _name, key in offered), "")
    return [key for key in (reference, *wanted) if key in keys]


def _newest(session: Session) -> Sequence[Run]:
    """The newest finished run and its twins."""
    found = runs.find(session=session, status=RunStatus.FINISHED, without_method=REWARD, limit=1)
    return runs.twins_of(found[0], session=session) if found else []


@dataclass(frozen=True, slots=True)
class Twins:
    """The keys of the last twins that are all finished, with their reference, and what they are called."""

    keys: list[str]
    said: str


def last_twins() -> Twins | None:
    """The last twins that are all finished, with as many of them as a comparison has room for."""
    with read_session() as session:
        found = run_lists.last_complete_twins(session=session)[: conversations.MAX_CONTENDERS - 1]
    if not found:
        return None
    keys = [f"{REFERENCE}:{found[0].base_model}", *(f"run:{run.id}" for run in found)]
    names = [_("reference"), *(f"{role(run.method).label} #{run.id}" for run in found)]
    return Twins(keys, formatting.in_words(names))


def unfinished_runs() -> list[int]:
    """Ids of runs that are queued or running, oldest first."""
    with read_session() as session:
        running = runs.find(session=session, status=RunStatus.RUNNING)
        queued = run_lists.queued_first(session=session, limit=conversations.MAX_CONTENDERS)
    return sorted(run.id for run in (*running, *queued))


def setup_like(
    conversation_id: int, user: str, offered: Sequence[tuple[str, str]]
) -> tuple[list[str], Conversation]:
    """The sorted keys of a conversation's contenders that are still offered, and the conversation.

    A reader who may not see the names gets no keys, unless they own the conversation.

    Raises:
        NotFound: if no such conversation exists.
    """
    with read_session() as session:
        conversation = conversations.get(conversation_id, session=session)
        asked = comparisons.turns(conversation_id, session=session)
        owner = session.get(User, conversation.user_id)
        own = owner is not None and owner.name == user
        if not own and names.hidden_among(asked, user, session=session):
            return [], conversation
    known = {key for _name, key in offered}
    found = [
        next((key for key in keys_of(contender) if key in known), "") for contender in conversation.contenders
    ]
    return sorted(filter(None, found)), conversation


def keys_of(contender: Contender) -> list[str]:
    """The possible keys of a contender; the last checkpoint of a run is offered under the run's key only."""
    if contender.method == REFERENCE:
        return [f"{REFERENCE}:{contender.base_model}"]
    if contender.method == ENDPOINT:
        return [f"{ENDPOINT}:{contender.name}"]
    if contender.checkpoint_id is None:
        return []
    return [f"run:{contender.run_id}:{contender.checkpoint_id}", f"run:{contender.run_id}"]


def to_choice(key: str) -> ContenderChoice:
    """The contender for a key from `offered_contenders`.

    Raises:
        InvalidInput: if the key is malformed, or names no configured endpoint.
    """
    kind, _colon, rest = key.partition(":")
    if kind == ENDPOINT:
        return answers.contenders_of_endpoints([rest])[0]
    if kind == REFERENCE and rest:
        return ContenderChoice(base_model=rest)
    of_run, colon, of_checkpoint = rest.partition(":")
    run_id, checkpoint_id = read_id(of_run), read_id(of_checkpoint)
    if kind == "run" and run_id is not None and (checkpoint_id is not None or not colon):
        return ContenderChoice(run_id=run_id, checkpoint_id=checkpoint_id)
    raise InvalidInput(_("Choose the contenders from the list."), field="contenders")


def _short(base_model: str) -> str:
    """A model's name without its folder or owner."""
    return base_model.rstrip("/").rpartition("/")[2] or base_model


def random_seed() -> int:
    """A random seed of at most four digits."""
    return random.randrange(10_000)
