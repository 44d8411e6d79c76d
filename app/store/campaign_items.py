"""Items of a campaign: each prompt with its answers, written or given, and the tasks that people judge."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.store import campaign_tasks, generations, names, prompts
from app.store.contenders import ENDPOINT
from app.store.enums import CampaignForm, GenerationKind, GenerationStatus
from app.store.generations import unfinished
from app.store.models import (
    Campaign,
    CampaignDataset,
    Comparison,
    Contender,
    Conversation,
    EndpointAnswer,
    Generation,
    Task,
)

BATCH = 20
"""Items written in one transaction: few enough to hold a lock for only a few milliseconds."""


@dataclass(frozen=True, slots=True)
class CampaignPrompt:
    """A prompt: the messages before the question, and the question.

    `dataset_id` is the dataset that holds the prompt out, if it was drawn from one.
    """

    opening: list[dict[str, str]]
    question: str
    dataset_id: int | None = None

    @property
    def messages(self) -> list[dict[str, str]]:
        """The prompt as contenders get it."""
        return [*self.opening, {"role": "user", "content": self.question}]

    @property
    def key(self) -> str:
        """A hash that tells the prompt from others."""
        return prompts.sha256_of(self.messages)


@dataclass(frozen=True, slots=True)
class GivenAnswers:
    """The answers of a contender that were written elsewhere.

    Attributes:
        name: the contender's name.
        prompts: the answered prompts by key, in their order.
        texts: the answers by the prompt's key; those of one prompt are its samples.
    """

    name: str
    prompts: Mapping[str, CampaignPrompt]
    texts: Mapping[str, Sequence[str]]


NOT_GIVEN: Final[Mapping[int, GivenAnswers]] = MappingProxyType({})


def add(
    campaign: Campaign,
    contenders: Sequence[Contender],
    asked: Sequence[CampaignPrompt],
    *,
    session: Session,
    sample: int = 0,
    given: Mapping[int, GivenAnswers] = NOT_GIVEN,
) -> list[int]:
    """Add prompts to a campaign, and queue the contenders' answers.

    Whoever has seen all names of the campaign has seen those of the new comparisons too.

    Args:
        contenders: in the order of their positions; stored rows or new ones, which are copied.
        sample: number of the sample, added to the campaign's seed.
        given: by position, the contenders whose answers need not be written. They answer all prompts.

    Returns:
        Ids of the comparisons that hold the answers.
    """
    number = _next_number(campaign.id, session=session)
    knowing = names.who_has_seen(campaign.id, session=session)
    sources = []
    for prompt in asked:
        conversation = Conversation(
            user_id=campaign.user_id,
            blind=True,
            seed=campaign.seed + sample,
            parameters=dict(campaign.parameters),
            opening=prompt.opening or None,
            campaign_id=campaign.id,
            contenders=[_copy(contender, position) for position, contender in enumerate(contenders)],
        )
        session.add(conversation)
        session.flush()
        source = _comparison(conversation, prompt.question, range(len(contenders)), session=session)
        sources.append(source.id)
        _add_answers(source, prompt, given, sample, session=session)
        for task in _tasks(campaign, source, session=session):
            task.number = number
            number += 1
            session.add(task)
    session.flush()
    if sample == 0:
        _keep_datasets(campaign.id, asked, session=session)
    for user_id in knowing:
        names.record_of(user_id, sources, session=session)
    if len(given) == len(contenders):
        campaign_tasks.settle(sources, session=session)
    return sources


def _keep_datasets(campaign_id: int, asked: Sequence[CampaignPrompt], *, session: Session) -> None:
    """Count the prompts of each dataset; the campaign is locked."""
    drawn = Counter(prompt.dataset_id for prompt in asked if prompt.dataset_id is not None)
    for dataset_id, count in drawn.items():
        row = session.get(CampaignDataset, (campaign_id, dataset_id))
        if row is None:
            session.add(CampaignDataset(campaign_id=campaign_id, dataset_id=dataset_id, prompts=count))
        else:
            row.prompts += count


def _next_number(campaign_id: int, *, session: Session) -> int:
    highest = select(func.max(Task.number)).where(Task.campaign_id == campaign_id)
    return (session.scalar(highest) or 0) + 1


def _copy(contender: Contender, position: int) -> Contender:
    return Contender(
        position=position,
        base_model=contender.base_model,
        run_id=contender.run_id,
        checkpoint_id=contender.checkpoint_id,
        name=contender.name,
        method=contender.method,
        in_4bit=contender.in_4bit,
    )


def _comparison(
    conversation: Conversation,
    question: str,
    positions: Sequence[int],
    *,
    session: Session,
    turn: int = 0,
    source_id: int | None = None,
) -> Comparison:
    comparison = Comparison(
        conversation_id=conversation.id,
        turn=turn,
        question=question,
        shown_order=random.SystemRandom().sample(positions, len(positions)),  # tells nobody who is who
        source_id=source_id,
        campaign_id=conversation.campaign_id,
    )
    session.add(comparison)
    session.flush()
    return comparison


def _add_answers(
    source: Comparison,
    prompt: CampaignPrompt,
    given: Mapping[int, GivenAnswers],
    sample: int,
    *,
    session: Session,
) -> None:
    """Store the given answers to a prompt, and queue the others."""
    prompt_id, key = prompts.keep(prompt.messages, session=session), prompt.key
    for position in source.shown_order:
        contender = source.conversation.contenders[position]
        answer = Generation(
            kind=GenerationKind.ANSWER,
            status=GenerationStatus.QUEUED,
            prompt_id=prompt_id,
            comparison_id=source.id,
            position=position,
            seed=source.conversation.seed,
            parameters=dict(source.conversation.parameters),
        )
        if position in given:
            answer.status = GenerationStatus.FINISHED
            answer.text = given[position].texts[key][sample]
            answer.parameters = {}
        session.add(answer)
        if contender.method == ENDPOINT:
            session.add(EndpointAnswer(generation=answer, endpoint=contender.name))


def _tasks(campaign: Campaign, source: Comparison, *, session: Session) -> list[Task]:
    """The tasks of an item: one for each pair of contenders, or one for all of them.

    Two contenders are one pair, which is judged on the source comparison itself.
    """
    positions = sorted(source.shown_order)
    if campaign.form is CampaignForm.BEST_WORST and len(positions) > 2:
        return [Task(comparison_id=source.id, campaign_id=campaign.id)]
    if len(positions) == 2:
        return [Task(comparison_id=source.id, campaign_id=campaign.id, first=0, second=1)]
    found = []
    for turn, (first, second) in enumerate(combinations(positions, 2), start=1):
        pair = _comparison(
            source.conversation,
            source.question,
            [first, second],
            session=session,
            turn=turn,
            source_id=source.id,
        )
        found.append(Task(comparison_id=pair.id, campaign_id=campaign.id, first=first, second=second))
    return found


def comparison_ids(campaign_id: int, *, session: Session) -> Sequence[int]:
    """Ids of all comparisons of a campaign."""
    query = select(Comparison.id).where(Comparison.campaign_id == campaign_id)
    return session.scalars(query.order_by(Comparison.id)).all()


def stop_answers(campaign_id: int, *, session: Session) -> None:
    """Stop the answers of a campaign that are queued or being written."""
    query = (
        select(Generation.id)
        .join(Comparison, Generation.comparison_id == Comparison.id)
        .where(Comparison.campaign_id == campaign_id, unfinished())
    )
    generations.wish_stop(session.scalars(query).all(), session=session)
