"""What the compare page shows, read from rows in one go; and the lists it offers."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app import demo
from app.dispatch import GENERATE_QUEUE
from app.errors import InvalidInput
from app.store import conversations, datasets, labels, runs, workers
from app.store.contenders import REFERENCE
from app.store.conversations import ContenderChoice
from app.store.db import read_session
from app.store.enums import GenerationStatus, RunStatus, Split
from app.store.labels import LETTERS
from app.store.models import Comparison, Contender, Conversation, Generation, Label
from app.text import read_id

OFFERED_RUNS = 100
RECENT = 12


@dataclass(frozen=True, slots=True)
class Turn:
    """A question, its answers in the order shown, and the reader's vote on it."""

    comparison: Comparison
    answers: list[Generation]
    label: Label | None

    @property
    def over(self) -> bool:
        return all(answer.status.is_over for answer in self.answers)

    @property
    def votable(self) -> bool:
        """Whether all answers are there to be judged."""
        return self.over and all(a.status is not GenerationStatus.FAILED for a in self.answers)

    @property
    def best(self) -> int | None:
        """Position of the answer voted best."""
        return self._position(self.label.best_id if self.label else None)

    @property
    def worst(self) -> int | None:
        """Position of the answer voted worst."""
        return self._position(self.label.worst_id if self.label else None)

    def _position(self, answer_id: int | None) -> int | None:
        found = (answer.position for answer in self.answers if answer.id == answer_id)
        return next(found, None) if answer_id is not None else None


@dataclass(frozen=True, slots=True)
class View:
    """A conversation as one person sees it."""

    conversation: Conversation
    turns: list[Turn]
    hidden: bool

    @property
    def contenders(self) -> Sequence[Contender]:
        return self.conversation.contenders

    @property
    def current(self) -> Turn:
        return self.turns[-1]

    def title(self, position: int) -> str:
        """`A`, or `A · Reference` once names may be seen."""
        letter = LETTERS[position]
        return letter if self.hidden else f"{letter} · {self.contenders[position].name}"


@dataclass(frozen=True, slots=True)
class RecentConversation:
    """A line of the list of conversations."""

    id: int
    question: str
    names: list[str]
    turns: int
    conversation: Conversation


def read_view(conversation_id: int, user: str) -> View:
    """A conversation as it stands now.

    Raises:
        NotFound: when there is none with this id.
    """
    with read_session() as session:
        conversation = conversations.get(conversation_id, session=session)
        turns = [
            Turn(
                comparison,
                conversations.answers(comparison.id, session=session),
                labels.of_user(comparison.id, user, session=session),
            )
            for comparison in conversations.turns(conversation_id, session=session)
        ]
        hidden = labels.names_hidden(conversation, user, session=session)
        return View(conversation, turns, hidden)


def recent_conversations(user: str) -> list[RecentConversation]:
    """The newest conversations of a person; who answered stays hidden where it still is."""
    with read_session() as session:
        found = []
        for conversation in conversations.recent(session=session, user=user, limit=RECENT):
            asked = conversations.turns(conversation.id, session=session)
            hidden = labels.names_hidden(conversation, user, session=session)
            names = [] if hidden else [contender.name for contender in conversation.contenders]
            question = asked[0].question if asked else ""
            found.append(RecentConversation(conversation.id, question, names, len(asked), conversation))
        return found


def worker_present() -> bool:
    """Whether somebody answers questions now."""
    with read_session() as session:
        return bool(workers.present(session=session, queue=GENERATE_QUEUE))


# --- who can answer --------------------------------------------------------------------------


def offered_contenders() -> list[tuple[str, str]]:
    """Label and key of all who can be chosen: references, then runs with their checkpoints, newest first."""
    with read_session() as session:
        finished = runs.find(session=session, status=RunStatus.FINISHED, limit=OFFERED_RUNS)
        bases = list(dict.fromkeys(run.base_model for run in finished)) or ["demo"]
        offered = [(f"Reference · {_short(base)}", f"{REFERENCE}:{base}") for base in bases]
        for run in finished:
            points = list(runs.checkpoints(run.id, session=session))[::-1]
            for place, point in enumerate(points):
                at = "" if place == 0 else f" @ step {point.step}"
                key = f"run:{run.id}" if place == 0 else f"run:{run.id}:{point.id}"
                offered.append((f"#{run.id} {run.name}{at}", key))
        return offered


def preselected(run_ids: Sequence[int], offered: Sequence[tuple[str, str]]) -> list[str]:
    """Keys of the runs of an address with the reference in front; the newest twins where it names none."""
    keys = {key for _, key in offered}
    wanted = [f"run:{run_id}" for run_id in run_ids if f"run:{run_id}" in keys]
    with read_session() as session:
        if not wanted:
            newest = runs.find(session=session, status=RunStatus.FINISHED, limit=1)
            twins = runs.twins_of(newest[0], session=session) if newest else []
            wanted = [f"run:{run.id}" for run in twins if f"run:{run.id}" in keys]
        wanted = wanted[: conversations.MAX_CONTENDERS - 1]
        bases = [runs.get(int(key.split(":")[1]), session=session).base_model for key in wanted]
    reference = f"{REFERENCE}:{bases[0]}" if bases else next((key for _, key in offered), "")
    return [key for key in (reference, *wanted) if key in keys]


def to_choice(key: str) -> ContenderChoice:
    """The contender of a key of `offered_contenders`.

    Raises:
        InvalidInput: for a key it never made.
    """
    kind, _, rest = key.partition(":")
    if kind == REFERENCE and rest:
        return ContenderChoice(base_model=rest)
    of_run, colon, of_checkpoint = rest.partition(":")
    run_id, checkpoint_id = read_id(of_run), read_id(of_checkpoint)
    if kind == "run" and run_id is not None and (checkpoint_id is not None or not colon):
        return ContenderChoice(run_id=run_id, checkpoint_id=checkpoint_id)
    raise InvalidInput("Choose the contenders from the list.", field="contenders")


def _short(base_model: str) -> str:
    """A model's name without the folder or the owner it is in."""
    return base_model.rstrip("/").rpartition("/")[2] or base_model


# --- what to ask -----------------------------------------------------------------------------


def held_out_question(keys: Sequence[str]) -> str:
    """A held-out prompt of a chosen run's dataset at random; one of the demo's where there is none."""
    with read_session() as session:
        for key in keys:
            choice = to_choice(key)
            if choice.run_id is None:
                continue
            run = runs.get(choice.run_id, session=session)
            question = _random_held_out(run.dataset_id, session)
            if question:
                return question
    return random.choice(demo.held_out_questions())


def _random_held_out(dataset_id: int, session: Session) -> str:
    """The last thing asked in a held-out pair; earlier turns cannot be put in the question box."""
    there = datasets.count_pairs(dataset_id, session=session, split=Split.HELD_OUT)
    if there == 0:
        return ""
    pairs = datasets.page_of_pairs(
        dataset_id, session=session, split=Split.HELD_OUT, limit=1, offset=random.randrange(there)
    )
    if not pairs:
        return ""
    prompt = pairs[0].prompt
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])


def random_seed() -> int:
    """A seed short enough to read out."""
    return random.randrange(10_000)
