"""Campaigns: the operations shared by the campaigns page, the command line and the API."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from app import dispatch
from app.errors import InvalidInput
from app.given_answers import covered
from app.launch import send_comparison
from app.settings import get_settings
from app.store import aspects as aspect_rules
from app.store import (
    campaign_items,
    campaign_progress,
    campaigns,
    names,
    run_checkpoints,
    runs,
    starts,
    users,
)
from app.store.campaign_items import BATCH, NOT_GIVEN, CampaignPrompt, GivenAnswers
from app.store.campaign_progress import Progress
from app.store.contenders import (
    ENDPOINT,
    GIVEN,
    REFERENCE,
    check_contenders_exist,
    check_contenders_write,
)
from app.store.conversations import ContenderChoice, Decoding, check_seed, read_contenders
from app.store.db import read_session, write_session
from app.store.enums import CampaignForm, CampaignOrder, CampaignStatus
from app.store.models import Campaign, Checkpoint, Contender

MAX_ITEMS = 1_000
WAKE_UPS = 8
"""Messages sent for a new campaign. A worker that wakes up goes on until nothing waits."""


@dataclass(frozen=True, slots=True)
class NewCampaign:
    """What a campaign is made of.

    Attributes:
        name: generated from the contenders if empty.
        answers: contenders whose answers were written elsewhere. They follow the chosen ones.
        only_answered: leave out the prompts that not all of `answers` answer, instead of refusing them.
        samples: answers of each contender to each prompt; each is judged.
        votes_wanted: people who judge each comparison.
        voters: names of those who may vote; empty means everybody.
        aspects: what voters are asked of each comparison besides the better answer.
        adjudicators: names of those who may decide disagreements, besides the owner.
        repeat_share: repeats per ordinary comparison of a person, up to 0.5.
        check_share: attention checks per ordinary comparison of a person, up to 0.5.
    """

    name: str
    choices: Sequence[ContenderChoice]
    prompts: Sequence[CampaignPrompt]
    answers: Sequence[GivenAnswers] = ()
    only_answered: bool = False
    decoding: Decoding = field(default_factory=Decoding)
    samples: int = 1
    votes_wanted: int = 1
    form: CampaignForm = CampaignForm.PAIRS
    order: CampaignOrder = CampaignOrder.INFORMATIVE
    guidelines: str = ""
    ask_reason: bool = False
    voters: Sequence[str] = ()
    aspects: Sequence[str] = ()
    adjudicators: Sequence[str] = ()
    repeat_share: float = 0.0
    check_share: float = 0.0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """A campaign with its owner's name, its contenders and its progress."""

    campaign: Campaign
    owner: str
    contenders: list[Contender]
    progress: Progress

    @property
    def queues(self) -> list[str]:
        """The queues whose workers have yet to write answers."""
        waiting = {
            dispatch.GENERATE_QUEUE: self.progress.unwritten - self.progress.requests,
            dispatch.ENDPOINTS_QUEUE: self.progress.requests,
        }
        return [queue for queue, answers in waiting.items() if answers > 0]

    @property
    def choices(self) -> list[ContenderChoice]:
        """The contenders as they are named in a request, without those whose answers were given."""
        return [
            ContenderChoice(
                found.run_id,
                found.checkpoint_id,
                found.base_model,
                found.name if found.method == ENDPOINT else None,
            )
            for found in self.contenders
            if found.method != GIVEN
        ]


def create(new: NewCampaign, *, user: str = users.LOCAL) -> int:
    """Store a campaign, queue its answers, and notify the workers after the commit.

    Returns:
        Its id.

    Raises:
        InvalidInput: for a value out of bounds, and for a prompt without an answer that is not to be written;
            `field` names it. Nothing is stored in that case.
        NotFound: for a run that does not exist.
        Refused: for a run or checkpoint that cannot be compared.
    """
    with read_session() as session:
        names = [given.name for given in new.answers]
        contenders = read_contenders(new.choices, session=session, least=2, given=names)
    asked = covered(new.prompts, new.answers, samples=new.samples, only_answered=new.only_answered)
    new = replace(new, prompts=asked)
    row = _checked(new if new.name else replace(new, name=_generated_name(contenders)))
    with write_session() as session:
        row.user_id = users.ensure(user, session=session).id
        session.add(row)
        session.flush()
        campaign_id = row.id
    given = dict(enumerate(new.answers, start=len(new.choices)))
    _add_items(campaign_id, contenders, new.prompts, given)
    return campaign_id


def _generated_name(contenders: Sequence[Contender]) -> str:
    """The contenders' names, cut to the longest name of a campaign."""
    return " / ".join(contender.name for contender in contenders)[: campaigns.MAX_NAME_CHARS]


def _checked(new: NewCampaign) -> Campaign:
    """The row of a new campaign, without its owner."""
    seed = random.SystemRandom().randrange(2**30) if new.seed is None else new.seed
    check_seed(seed)
    new.decoding.check()
    samples = campaigns.checked_number(new.samples, campaigns.MAX_SAMPLES, "samples")
    _check_items(len(new.prompts), samples)
    return Campaign(
        name=campaigns.checked_name(new.name),
        form=new.form,
        order=new.order,
        votes_wanted=campaigns.checked_number(new.votes_wanted, campaigns.MAX_VOTES_WANTED, "votes_wanted"),
        samples=samples,
        seed=seed,
        parameters=asdict(new.decoding),
        guidelines=campaigns.checked_guidelines(new.guidelines),
        ask_reason=new.ask_reason,
        voters=campaigns.checked_voters(new.voters, known_voters()),
        aspects=aspect_rules.checked_names(new.aspects),
        adjudicators=campaigns.checked_voters(new.adjudicators, known_voters(), "adjudicators"),
        repeat_share=campaigns.checked_share(new.repeat_share, "repeat_share"),
        check_share=campaigns.checked_share(new.check_share, "check_share"),
    )


def _check_items(prompts: int, samples: int) -> None:
    if not prompts:
        raise InvalidInput("The campaign has no prompts; give at least one.", field="prompts")
    if prompts * samples > MAX_ITEMS:
        raise InvalidInput(
            f"{prompts:,} prompts with {samples} samples each are more than {MAX_ITEMS:,} answers of a "
            "contender; give fewer of one.",
            field="prompts",
        )


def known_voters() -> list[str]:
    """The names that may be voters: those with a login, or else the only user."""
    return [name for name, _ in get_settings().logins()] or [users.LOCAL]


def _add_items(
    campaign_id: int,
    contenders: Sequence[Contender],
    prompts: Sequence[CampaignPrompt],
    given: Mapping[int, GivenAnswers] = NOT_GIVEN,
) -> None:
    """Add prompts in short transactions; the workers begin with the first ones."""
    sent = 0
    with read_session() as session:
        samples = campaigns.get(campaign_id, session=session).samples
    for sample in range(samples):
        for start in range(0, len(prompts), BATCH):
            with write_session() as session:
                campaign = campaigns.lock(campaign_id, session=session)
                batch = prompts[start : start + BATCH]
                added = campaign_items.add(
                    campaign, contenders, batch, session=session, sample=sample, given=given
                )
            waiting = added if len(given) < len(contenders) else []
            for comparison_id in waiting[: max(0, WAKE_UPS - sent)]:
                send_comparison(comparison_id)
                sent += 1


def overview(campaign_id: int) -> Overview:
    """A campaign with its progress.

    Raises:
        NotFound: when the id does not exist.
    """
    with read_session() as session:
        campaign = campaigns.get(campaign_id, session=session)
        return Overview(
            campaign,
            campaigns.owner_of(campaign, session=session),
            campaign_progress.contenders(campaign_id, session=session),
            campaign_progress.read(campaign, session=session),
        )


@dataclass(frozen=True, slots=True)
class Starts:
    """The models that a next run may start from, as in `model_name_or_path`.

    Attributes:
        references: Base models of the contenders.
        policies: Their models (`run:7`, `run:7@40`), with names for people.
    """

    references: Sequence[str] = ()
    policies: Sequence[tuple[str, str]] = ()


def next_starts(campaign_id: int, user: str) -> Starts:
    """What a run on a campaign's votes may start from; nothing for those who may still judge it blind."""
    with read_session() as session:
        if not names.seen_in_campaign(campaign_id, user, session=session):
            return Starts()
        contenders = campaign_progress.contenders(campaign_id, session=session)
        ours = [one for one in contenders if one.run_id or one.method == REFERENCE]
        bases = dict.fromkeys(one.base_model for one in ours)
        points = [session.get(Checkpoint, one.checkpoint_id) for one in contenders if one.checkpoint_id]
        found = starts.startable([point for point in points if point is not None], session=session)
    return Starts(list(bases), [(name, run.name) for name, run in found])


def run_starts(run_id: int) -> Starts:
    """What a run on the votes on a run's answers may start from: its model, or the model it started from.

    Raises:
        NotFound: when the run does not exist.
    """
    with read_session() as session:
        run = runs.get(run_id, session=session)
        last = run_checkpoints.last(run_id, session=session)
        found = starts.startable([last] if last else [], session=session)
        return Starts([run.base_model], [(name, one.name) for name, one in found])


def overviews(*, limit: int = 50, before: int | None = None, offset: int = 0) -> list[Overview]:
    """Campaigns with their progress, newest first. With `before`, only those with a smaller id."""
    with read_session() as session:
        recent = campaigns.recent(session=session, limit=limit, before=before, offset=offset)
        found = [campaign.id for campaign in recent]
    return [overview(campaign_id) for campaign_id in found]


def set_status(campaign_id: int, status: CampaignStatus, *, user: str = users.LOCAL) -> None:
    """Pause, resume or close a campaign. Closing stops the answers that are not written; votes stay.

    Raises:
        NotFound: when the id does not exist.
        Refused: when it is another person's, or closed.
    """
    with write_session() as session:
        campaigns.set_status(campaigns.own(campaign_id, user, session=session), status)
        if status is CampaignStatus.CLOSED:
            campaign_items.stop_answers(campaign_id, session=session)


def edit(
    campaign_id: int,
    *,
    user: str = users.LOCAL,
    name: str | None = None,
    guidelines: str | None = None,
    ask_reason: bool | None = None,
    voters: Sequence[str] | None = None,
    votes_wanted: int | None = None,
    aspects: Sequence[str] | None = None,
    adjudicators: Sequence[str] | None = None,
    repeat_share: float | None = None,
    check_share: float | None = None,
) -> None:
    """Change what is given of a campaign. Fewer votes wanted delete none, and lower shares no controls.

    Raises:
        InvalidInput: for a value out of bounds.
        NotFound: when the id does not exist.
        Refused: when it is another person's.
    """
    with write_session() as session:
        campaign = campaigns.own(campaign_id, user, session=session)
        if name is not None:
            campaign.name = campaigns.checked_name(name)
        if guidelines is not None:
            campaign.guidelines = campaigns.checked_guidelines(guidelines)
        if ask_reason is not None:
            campaign.ask_reason = ask_reason
        if voters is not None:
            campaign.voters = campaigns.checked_voters(voters, known_voters())
        if votes_wanted is not None:
            most = campaigns.MAX_VOTES_WANTED
            campaign.votes_wanted = campaigns.checked_number(votes_wanted, most, "votes_wanted")
        if adjudicators is not None:
            campaign.adjudicators = campaigns.checked_voters(adjudicators, known_voters(), "adjudicators")
        if aspects is not None:
            campaigns.set_aspects(campaign, aspects, session=session)
        shares = (
            campaign.repeat_share if repeat_share is None else repeat_share,
            campaign.check_share if check_share is None else check_share,
        )
        campaigns.set_shares(campaign, *shares, session=session)


def add_prompts(campaign_id: int, prompts: Sequence[CampaignPrompt], *, user: str = users.LOCAL) -> None:
    """Add prompts to a campaign, with the same contenders and decoding parameters.

    Raises:
        InvalidInput: for no or too many prompts.
        NotFound: when the id does not exist.
        Refused: when it is another person's, when it is closed, when a contender's run was deleted, or when a
            contender's answers come from a file.
    """
    with write_session() as session:
        campaign = campaigns.own(campaign_id, user, session=session)
        campaigns.check_not_closed(campaign)
        conversation = campaigns.first_conversation(campaign_id, session=session)
        contenders = [] if conversation is None else list(conversation.contenders)
        check_contenders_exist(contenders)
        check_contenders_write(contenders)
        present = campaign_progress.count_items(campaign_id, session=session)
        _check_items(len(prompts) + present // campaign.samples, campaign.samples)
    _add_items(campaign_id, contenders, prompts)


def show_names(campaign_id: int, *, user: str = users.LOCAL) -> None:
    """Reveal the names of all comparisons of a campaign to a person, who can then no longer vote in it.

    Raises:
        NotFound: when the id does not exist.
    """
    with read_session() as session:
        campaigns.get(campaign_id, session=session)
        hidden = campaign_items.comparison_ids(campaign_id, session=session)
    for start in range(0, len(hidden), names.BATCH):
        with write_session() as session:
            names.record(hidden[start : start + names.BATCH], user, session=session)
