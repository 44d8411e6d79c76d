"""Comparisons: the questions of a conversation and their answers.

A new answer is a generation with the status `queued`. Workers claim comparisons through answering.py.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NotFound, Refused
from app.store import conversations, names, prompts
from app.store.contenders import ENDPOINT, GIVEN, check_contenders_exist
from app.store.enums import GenerationKind, GenerationStatus
from app.store.models import Comparison, Conversation, EndpointAnswer, Generation
from app.text import clean_text


def get(comparison_id: int, *, session: Session) -> Comparison:
    """One question of a conversation.

    Raises:
        NotFound: when the id does not exist.
    """
    comparison = session.get(Comparison, comparison_id)
    if comparison is None:
        raise NotFound(f"There is no comparison {comparison_id}.")
    return comparison


def turns(conversation_id: int, *, session: Session) -> Sequence[Comparison]:
    """The questions of a conversation, in order."""
    return session.scalars(
        select(Comparison)
        .where(Comparison.conversation_id == conversation_id, Comparison.source_id.is_(None))
        .order_by(Comparison.turn)
    ).all()


def turns_of(conversation_ids: Collection[int], *, session: Session) -> dict[int, list[Comparison]]:
    """The questions of several conversations, in order, by conversation."""
    query = select(Comparison).where(
        Comparison.conversation_id.in_(sorted(conversation_ids)), Comparison.source_id.is_(None)
    )
    found: dict[int, list[Comparison]] = {conversation_id: [] for conversation_id in conversation_ids}
    for comparison in session.scalars(query.order_by(Comparison.turn)):
        found[comparison.conversation_id].append(comparison)
    return found


def turn_ids(conversation_ids: Collection[int], *, session: Session) -> dict[int, list[int]]:
    """The ids of the questions of several conversations, in order, by conversation."""
    query = select(Comparison.conversation_id, Comparison.id).order_by(Comparison.turn)
    found: dict[int, list[int]] = {conversation_id: [] for conversation_id in conversation_ids}
    of_these = and_(Comparison.conversation_id.in_(sorted(conversation_ids)), Comparison.source_id.is_(None))
    for conversation_id, comparison_id in session.execute(query.where(of_these)):
        found[conversation_id].append(comparison_id)
    return found


def ask(
    conversation_id: int,
    question: str,
    *,
    session: Session,
    continues_from: int | None = None,
    max_chars: int = 32_000,
) -> Comparison:
    """Add a turn: put a question to all contenders and queue their answers.

    All contenders continue the answer on side `continues_from` of the last turn. With None, each continues
    its own answer. `names.order_of_sides` determines the display order.

    Raises:
        InvalidInput: for an empty or too long question, or a side that does not exist.
        Refused: while an earlier turn is still being answered, when a contender has no weights, when an
            answer that the question continues is empty, or when the conversation belongs to a campaign.
    """
    question = clean_text(question).strip()
    if not question:
        raise InvalidInput("The question is empty; write a question for the models.", field="question")
    if len(question) > max_chars:
        raise InvalidInput(
            f"The question has {len(question):,} characters; the limit is {max_chars:,}. Shorten it.",
            field="question",
        )
    conversation = conversations.get(conversation_id, session=session)
    _check_is_chat(conversation)
    lock(conversation_id, session=session)
    _check_can_answer(conversation)
    earlier = turns(conversation_id, session=session)
    sides = range(len(conversation.contenders))
    if continues_from is not None and continues_from not in sides:
        raise InvalidInput("continues_from names no contender.", field="continues_from")
    last = earlier[-1] if earlier else None
    if last is not None:
        _check_continues(answers(last.id, session=session), continues_from)
    comparison = Comparison(
        conversation_id=conversation_id,
        turn=len(earlier),
        question=question,
        continues_from=None if last is None or continues_from is None else last.shown_order[continues_from],
        shown_order=names.order_of_sides(conversation, last if continues_from is None else None),
    )
    session.add(comparison)
    session.flush()
    if last is not None and continues_from is None:
        names.inherit(comparison, last, session=session)
    for position in comparison.shown_order:
        _queue_answer(comparison, position, session, seed=conversation.seed, take=0)
    session.flush()
    session.refresh(comparison)
    return comparison


def _check_is_chat(conversation: Conversation) -> None:
    if conversation.campaign_id is not None:
        raise Refused(
            f"This question belongs to campaign {conversation.campaign_id}, in which its answers are judged; "
            "start a new conversation on the compare page."
        )


def _check_can_answer(conversation: Conversation) -> None:
    """Check that all contenders can write another answer.

    Raises:
        Refused: when the weights of one are gone, or when its answers come from a file.
    """
    check_contenders_exist(conversation.contenders, blind=conversation.blind)
    if any(contender.method == GIVEN for contender in conversation.contenders):
        raise Refused(
            "The answers of a contender come from a file, which has no others; start a new conversation."
        )


def _check_continues(replies: Sequence[Generation], continues_from: int | None) -> None:
    if any(not reply.status.is_over for reply in replies):
        raise Refused("The last question is still being answered; stop the answers or wait for them.")
    for side, reply in enumerate(replies):
        if continues_from in (None, side) and not reply.text.strip():
            letter = "ABCD"[side]
            raise Refused(f"Answer {letter} is empty; regenerate it or continue from another answer.")


def lock(conversation_id: int, *, session: Session) -> None:
    """Lock a conversation against other writers until the transaction ends. SQLite has one writer anyway."""
    session.execute(select(Conversation.id).where(Conversation.id == conversation_id).with_for_update())


def regenerate(comparison_id: int, side: int, *, session: Session, seed: int | None = None) -> Generation:
    """Queue another take of the answer on one side. The default seed is the next one.

    Raises:
        NotFound: when there is no answer on this side.
        Refused: while the current take is being written, when a later turn exists, after a vote, when a
            contender has no weights, or when the question belongs to a campaign.
    """
    from app.store.labels import has_votes

    comparison = get(comparison_id, session=session)
    _check_is_chat(comparison.conversation)
    lock(comparison.conversation_id, session=session)
    _check_can_answer(comparison.conversation)
    if comparison.turn + 1 != len(turns(comparison.conversation_id, session=session)):
        raise Refused("Later questions build on this answer; only the last turn can be regenerated.")
    shown = answers(comparison_id, session=session)
    if not 0 <= side < len(shown):
        raise NotFound(f"Comparison {comparison_id} has no answer {'ABCD'[side : side + 1] or side}.")
    present = shown[side]
    if not present.status.is_over or present.position is None:
        raise Refused("This answer is still being written; stop it first.")
    if has_votes(comparison_id, session=session):
        raise Refused("This turn has a vote; withdraw the vote first, then regenerate.")
    take = present.take + 1
    conversation = comparison.conversation
    fresh = _queue_answer(
        comparison,
        present.position,
        session,
        seed=conversation.seed + take if seed is None else seed,
        take=take,
    )
    comparison.sent_at = None
    comparison.attempt = 0
    session.flush()
    return fresh


def _queue_answer(
    comparison: Comparison, position: int, session: Session, *, seed: int, take: int
) -> Generation:
    messages = history(comparison, position, session=session)
    generation = Generation(
        kind=GenerationKind.ANSWER,
        status=GenerationStatus.QUEUED,
        prompt_id=prompts.keep(messages, session=session),
        comparison_id=comparison.id,
        position=position,
        take=take,
        seed=seed,
        parameters=dict(comparison.conversation.parameters),
    )
    session.add(generation)
    contender = comparison.conversation.contenders[position]
    if contender.method == ENDPOINT:
        session.add(EndpointAnswer(generation=generation, endpoint=contender.name))
    return generation


def history(comparison: Comparison, position: int, *, session: Session) -> list[dict[str, str]]:
    """The messages that a contender gets at a turn: the conversation so far, then the question."""
    messages: list[dict[str, str]] = list(comparison.conversation.opening or [])
    earlier = [t for t in turns(comparison.conversation_id, session=session) if t.turn < comparison.turn]
    if earlier:
        seen_as = position if comparison.continues_from is None else comparison.continues_from
        last = earlier[-1]
        reply = next((a for a in answers(last.id, session=session) if a.position == seen_as), None)
        messages = list(reply.prompt.content) if reply is not None else []
        messages.append({"role": "assistant", "content": reply.text if reply is not None else ""})
    messages.append({"role": "user", "content": comparison.question})
    return messages


def answers(comparison_id: int, *, session: Session) -> list[Generation]:
    """The last take of each contender's answer, in display order."""
    comparison = get(comparison_id, session=session)
    rows = session.scalars(
        select(Generation).where(Generation.comparison_id == comparison.answered_by).order_by(Generation.take)
    )
    last = {row.position: row for row in rows}
    return [last[position] for position in comparison.shown_order if position in last]


def count(*, session: Session) -> int:
    """The number of questions, of chats and of campaigns."""
    asked = select(func.count()).select_from(Comparison).where(Comparison.source_id.is_(None))
    return session.scalar(asked) or 0
