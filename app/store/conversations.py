"""Conversations: side-by-side chats and their contenders. Their questions are in comparisons.py."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NotFound
from app.store import prompts, starts, users
from app.store.contenders import ENDPOINT, GIVEN, REFERENCE, read_contender, settle_references
from app.store.models import Contender, Conversation, User

MAX_CONTENDERS = 4


@dataclass(frozen=True, slots=True)
class ContenderChoice:
    """A requested contender: a base model, a run's checkpoint (by default the last one), or an endpoint.

    Of an endpoint, `base_model` is the model behind it.
    """

    run_id: int | None = None
    checkpoint_id: int | None = None
    base_model: str | None = None
    endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class Decoding:
    """Decoding parameters of all contenders. Temperature 0 selects the most likely token."""

    max_new_tokens: int = 128
    temperature: float = 0.7
    top_p: float = 1.0

    def check(self) -> None:
        if not 1 <= self.max_new_tokens <= 4096:
            raise InvalidInput("max_new_tokens must be between 1 and 4096.", field="max_new_tokens")
        if not 0 <= self.temperature <= 5:
            raise InvalidInput("temperature must be between 0 and 5.", field="temperature")
        if not 0 < self.top_p <= 1:
            raise InvalidInput("top_p must be above 0 and at most 1.", field="top_p")


def start(
    choices: Sequence[ContenderChoice],
    *,
    session: Session,
    user: str,
    blind: bool,
    seed: int,
    decoding: Decoding,
    opening: Sequence[Mapping[str, str]] = (),
) -> Conversation:
    """Start a conversation. With a single contender it is never blind. `opening` precedes the question.

    Raises:
        InvalidInput: for no or too many contenders, a bad opening, or decoding parameters out of bounds.
        NotFound: for a run that does not exist.
        Refused: for a run or checkpoint that cannot be compared (see `read_contender`).
    """
    check_seed(seed)
    decoding.check()
    contenders = read_contenders(choices, session=session)
    conversation = Conversation(
        user_id=users.ensure(user, session=session).id,
        blind=blind and len(contenders) > 1,
        seed=seed,
        opening=prompts.checked_opening(opening) or None,
        parameters=asdict(decoding),
    )
    session.add(conversation)
    session.flush()
    for position, contender in enumerate(contenders):
        contender.position = position
        contender.conversation_id = conversation.id
        session.add(contender)
    session.flush()
    session.refresh(conversation)
    return conversation


def check_seed(seed: int) -> None:
    """Validate a seed.

    Raises:
        InvalidInput: when it is out of bounds.
    """
    if not 0 <= seed < 2**31:
        raise InvalidInput("seed must be between 0 and 2147483647.", field="seed")


def read_contenders(
    choices: Sequence[ContenderChoice], *, session: Session, least: int = 1, given: Sequence[str] = ()
) -> list[Contender]:
    """The contenders of some choices, not yet stored, in the same order.

    Args:
        given: names of contenders whose answers are given. They follow the chosen ones.

    Raises:
        InvalidInput: for too few or too many contenders, for one that was chosen twice, or for a given name
            that another contender has.
        NotFound: for a run that does not exist.
        Refused: for a run or checkpoint that cannot be compared (see `read_contender`).
    """
    if not least <= len(choices) + len(given) <= MAX_CONTENDERS:
        raise InvalidInput(f"Choose between {least} and {MAX_CONTENDERS} contenders.", field="contenders")
    contenders = [
        read_contender(choice.run_id, choice.checkpoint_id, choice.base_model, session=session)
        if choice.endpoint is None
        else Contender(base_model=choice.base_model or "", name=choice.endpoint, method=ENDPOINT)
        for choice in choices
    ]
    for contender in contenders:
        if contender.method == REFERENCE:
            starts.chain(contender.base_model, session=session)  # a run's model has to be there
    settle_references(contenders)
    seats = {(c.method == ENDPOINT and c.name, c.base_model, c.run_id, c.checkpoint_id) for c in contenders}
    if len(seats) < len(contenders):
        raise InvalidInput("One contender was chosen twice; choose different models.", field="contenders")
    names = [*(contender.name for contender in contenders), *given]
    taken = next((name for name in given if names.count(name) > 1), None)
    if taken is not None:
        raise InvalidInput(f"Two contenders are named {taken}; give one another name.", field="answers")
    return contenders + [Contender(base_model="", name=name, method=GIVEN) for name in given]


def get(conversation_id: int, *, session: Session) -> Conversation:
    """One conversation.

    Raises:
        NotFound: when the id does not exist.
    """
    conversation = session.get(Conversation, conversation_id)
    if conversation is None:
        raise NotFound(f"There is no conversation {conversation_id}; start a new one on the compare page.")
    return conversation


def recent(
    *, session: Session, user: str | None = None, limit: int = 30, before: int | None = None
) -> Sequence[Conversation]:
    """Chats, newest first; a campaign's prompts are none. With `before`, only those with a smaller id."""
    chats = select(Conversation).where(Conversation.campaign_id.is_(None))
    query = chats.order_by(Conversation.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Conversation.id < before)
    if user is not None:
        query = query.join(User, Conversation.user_id == User.id).where(User.name == user)
    return session.scalars(query).all()
