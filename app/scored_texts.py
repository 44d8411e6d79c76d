"""Pasted texts, scored as the answer to a prompt by several contenders and their reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.answer_tokens import send_scoring
from app.dispatch import GENERATE_QUEUE
from app.errors import InvalidInput, Refused
from app.local_models import find_file
from app.presence import worker_missing
from app.settings import get_settings
from app.store import campaigns, conversations, names, prompts, scorings, slots, users
from app.store.contenders import ENDPOINT
from app.store.conversations import ContenderChoice
from app.store.db import read_session, write_session
from app.store.enums import CampaignStatus, ScoringStatus
from app.store.models import Checkpoint, Comparison, Contender, Generation, Prompt, ScoredText, Scoring
from app.store.scorings import MOST_TOKENS
from app.text import clean_text
from app.tokens import load_counter


@dataclass(frozen=True, slots=True)
class Scores:
    """A scored text with its scorings, one for each contender in order.

    `note` says how to start a worker if a scoring waits for one; else it is empty.
    """

    text: ScoredText
    scorings: list[Scoring]
    note: str

    @property
    def over(self) -> bool:
        return all(one.status is not ScoringStatus.QUEUED for one in self.scorings)


def score(
    choices: Sequence[ContenderChoice],
    question: str,
    text: str,
    *,
    user: str = users.LOCAL,
    opening: Sequence[Mapping[str, str]] = (),
    as_text: bool = False,
) -> int:
    """Have a text scored by each contender and by its reference, and return the id of the scored text.

    Args:
        question: the prompt, or its last message.
        opening: the messages before the question.
        as_text: whether the prompt is plain text to continue, not a message.

    Raises:
        InvalidInput: for an empty or too long text or question, or for contenders that cannot be scored with.
        NotFound: for a run that does not exist.
        Refused: for a run that cannot be compared, and while the names of answers to this prompt are hidden
            from this person.
    """
    content: Any = _checked_text(question, "question", "the question that the text answers")
    if not as_text:
        content = [*prompts.checked_opening(opening), {"role": "user", "content": content}]
    text = _checked_text(text, "text", "the text to score")
    with read_session() as session:
        contenders = conversations.read_contenders(choices, session=session)
        _check_have_weights(contenders)
        _check_names_shown(content, user, session=session)
        rows = [_row(contender, session=session) for contender in contenders]
    _check_tokens(text, {contender.base_model for contender in contenders})
    with write_session() as session:
        prompt_id = prompts.keep(content, session=session)
        scored = scorings.want_text(prompt_id, text, rows, session=session, user=user)
        waiting = [one.id for one in scorings.of_text(scored.id, session=session)]
    for scoring_id in waiting[:1]:  # one worker takes all of them
        send_scoring(scoring_id)
    return scored.id


def look(scored_text_id: int, *, user: str = users.LOCAL) -> Scores:
    """A text that this person had scored, as far as it is scored.

    Raises:
        NotFound: when there is none with this id, or when it is another person's.
    """
    with read_session() as session:
        text = scorings.own_text(scored_text_id, user, session=session)
        found = list(scorings.of_text(scored_text_id, session=session))
    waits = any(one.status is ScoringStatus.QUEUED for one in found)
    return Scores(text, found, (worker_missing(GENERATE_QUEUE) or "") if waits else "")


def try_again(scored_text_id: int, *, user: str = users.LOCAL) -> None:
    """Queue the scorings of a text that failed again.

    Raises:
        NotFound: as `look`.
    """
    with write_session() as session:
        scorings.own_text(scored_text_id, user, session=session)
        scorings.try_text_again(scored_text_id, session=session)
        found = scorings.of_text(scored_text_id, session=session)
        waiting = [one.id for one in found if one.status is ScoringStatus.QUEUED]
    for scoring_id in waiting[:1]:
        send_scoring(scoring_id)


def _checked_text(text: str, field: str, what: str) -> str:
    text, most = clean_text(text or ""), get_settings().max_prompt_chars
    if not text.strip():
        raise InvalidInput(f"{field} is empty; give {what}.", field=field)
    if len(text) > most:
        raise InvalidInput(
            f"{field} has {len(text):,} characters; the limit is {most:,}. Shorten it.", field=field
        )
    return text


def _check_have_weights(contenders: Sequence[Contender]) -> None:
    for contender in contenders:
        if contender.method == ENDPOINT:
            raise InvalidInput(
                f"{contender.name} is an endpoint, whose log-probabilities are not known; choose runs "
                "and base models.",
                field="contenders",
            )


def _check_tokens(text: str, base_models: set[str]) -> None:
    """Count the text's tokens where a model's tokenizer is on this machine; workers check it again."""
    settings = get_settings()
    for base_model in sorted(base_models):
        path = find_file(base_model, "tokenizer.json", settings)
        counter = None if path is None else load_counter(path, path.stat().st_mtime_ns)
        count = 0 if counter is None else counter.count(text)
        if count >= MOST_TOKENS:  # an end token follows
            raise InvalidInput(
                f"text has {count:,} tokens; at most {MOST_TOKENS - 1:,} are scored. Shorten it.",
                field="text",
            )


def _check_names_shown(content: Any, user: str, *, session: Session) -> None:
    """Check that no answers to this prompt are left that the person may judge blind: scores would tell them.

    Raises:
        Refused: when there are some.
    """
    ids = (
        select(Generation.comparison_id)
        .join(Prompt, Generation.prompt_id == Prompt.id)
        .where(Prompt.sha256 == prompts.sha256_of(content))
    )
    asked = session.scalars(select(Comparison).where(Comparison.id.in_(ids))).all()
    hidden = names.hidden_among([one for one in asked if one.campaign_id is None], user, session=session)
    for comparison in asked:
        if comparison.id in hidden:
            raise Refused(
                "A question with this prompt hides its names from you, and scores would tell them. Vote "
                f"on it, or have its names shown: compare?conversation={comparison.conversation_id}."
            )
    for campaign_id in sorted({one.campaign_id for one in asked if one.campaign_id is not None}):
        campaign = campaigns.get(campaign_id, session=session)
        may_vote = campaign.status is not CampaignStatus.CLOSED and slots.may_vote(campaign, user)
        if may_vote and not names.seen_in_campaign(campaign_id, user, session=session):
            raise Refused(
                f"Campaign {campaign_id} asks this prompt and hides its names from you; scores would tell "
                "them. The campaign's page shows them, and you cannot vote there afterwards: "
                f"campaigns?campaign={campaign_id}."
            )


def _row(contender: Contender, *, session: Session) -> dict[str, Any]:
    """What is stored of a contender."""
    checkpoint = session.get(Checkpoint, contender.checkpoint_id) if contender.checkpoint_id else None
    return {
        "name": contender.name,
        "method": contender.method,
        "base_model": contender.base_model,
        "in_4bit": contender.in_4bit,
        "run_id": contender.run_id,
        "checkpoint_id": contender.checkpoint_id,
        "path": None if checkpoint is None else checkpoint.path,
        "step": 0 if checkpoint is None else checkpoint.step,
    }
