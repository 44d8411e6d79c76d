"""Campaigns: what is asked of people, and who may change it. Their prompts are in campaign_items.py."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NotFound, Refused
from app.store import users
from app.store.aspects import checked_names
from app.store.enums import CampaignStatus, SlotStatus
from app.store.models import Campaign, Comparison, Conversation, Label, Slot, Task, User
from app.text import clean_name, clean_text

MAX_VOTES_WANTED = 50
MAX_SAMPLES = 16
MAX_GUIDELINES_CHARS = 20_000
MAX_NAME_CHARS = 160
MAX_SHARE = 0.5


def get(campaign_id: int, *, session: Session) -> Campaign:
    """One campaign.

    Raises:
        NotFound: when the id does not exist.
    """
    campaign = session.get(Campaign, campaign_id)
    if campaign is None:
        raise NotFound(f"There is no campaign {campaign_id}; the campaigns page lists those that there are.")
    return campaign


def lock(campaign_id: int, *, session: Session) -> Campaign:
    """Lock a campaign against other writers until the transaction ends, and return its current state.

    Raises:
        NotFound: when the id does not exist.
    """
    query = select(Campaign).where(Campaign.id == campaign_id).with_for_update()
    campaign = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    return get(campaign_id, session=session) if campaign is None else campaign


def own(campaign_id: int, user: str, *, session: Session) -> Campaign:
    """Lock a campaign that its owner is about to change.

    Raises:
        NotFound: when the id does not exist.
        Refused: when it belongs to another person.
    """
    campaign = lock(campaign_id, session=session)
    owner = owner_of(campaign, session=session)
    if not may_change(owner, user):
        raise Refused(f"This campaign is {owner}'s; only its owner can change it.")
    return campaign


def may_change(owner: str, user: str) -> bool:
    """Whether a person may change another one's campaign.

    The user of the command line may change all, and everybody may change those made on the command line.
    """
    return owner == user or users.LOCAL in (owner, user)


def owner_of(campaign: Campaign, *, session: Session) -> str:
    """The name of a campaign's owner."""
    return session.get_one(User, campaign.user_id).name


def recent(
    *, session: Session, limit: int = 50, before: int | None = None, offset: int = 0
) -> Sequence[Campaign]:
    """Campaigns, newest first. With `before`, only those with a smaller id (keyset pagination)."""
    query = select(Campaign).order_by(Campaign.id.desc()).limit(limit).offset(offset)
    if before is not None:
        query = query.where(Campaign.id < before)
    return session.scalars(query).all()


def voted_in_and_not_closed(*, session: Session) -> Sequence[Campaign]:
    """The campaigns with votes in which people may still vote, oldest first."""
    voted = select(Comparison.campaign_id).join(Label, Label.comparison_id == Comparison.id)
    query = select(Campaign).where(Campaign.status != CampaignStatus.CLOSED, Campaign.id.in_(voted))
    return session.scalars(query.order_by(Campaign.id)).all()


def first_conversation(campaign_id: int, *, session: Session) -> Conversation | None:
    """The first prompt of a campaign, whose contenders are those of all its prompts."""
    query = select(Conversation).where(Conversation.campaign_id == campaign_id)
    return session.scalars(query.order_by(Conversation.id).limit(1)).first()


def set_status(campaign: Campaign, status: CampaignStatus) -> None:
    """Pause, resume or close a campaign.

    Raises:
        Refused: when it is closed, which is final.
    """
    if status is not CampaignStatus.CLOSED:
        check_not_closed(campaign)
    campaign.status = status


def check_not_closed(campaign: Campaign) -> None:
    """Check that a campaign is not closed.

    Raises:
        Refused: when it is, which is final.
    """
    if campaign.status is CampaignStatus.CLOSED:
        raise Refused(f"Campaign {campaign.id} is closed; start a new one.")


# --- what people enter -------------------------------------------------------------------------


def checked_name(name: str) -> str:
    """Sanitize a name for storage.

    Raises:
        InvalidInput: when it is empty or too long.
    """
    name = clean_name(name)
    if not name:
        raise InvalidInput("The campaign needs a name, such as the question that it answers.", field="name")
    if len(name) > MAX_NAME_CHARS:
        raise InvalidInput(f"name has more than {MAX_NAME_CHARS} characters; shorten it.", field="name")
    return name


def checked_guidelines(guidelines: str) -> str:
    """Sanitize guidelines for storage.

    Raises:
        InvalidInput: when they are too long.
    """
    guidelines = clean_text(guidelines).strip()
    if len(guidelines) > MAX_GUIDELINES_CHARS:
        raise InvalidInput(
            f"guidelines has more than {MAX_GUIDELINES_CHARS:,} characters; shorten it.", field="guidelines"
        )
    return guidelines


def checked_voters(voters: Sequence[str], known: Sequence[str], field: str = "voters") -> list[str]:
    """Validate the names of those who may vote, or do something else that `field` names.

    Raises:
        InvalidInput: for a name that has no login.
    """
    found = list(dict.fromkeys(name.strip() for name in voters if name.strip()))
    unknown = [name for name in found if name not in known]
    if unknown:
        raise InvalidInput(
            f"{field} names {unknown[0]!r}, who has no login; choose among {', '.join(known)}.", field=field
        )
    return found


def set_aspects(campaign: Campaign, names: Sequence[str], *, session: Session) -> None:
    """Change what voters are asked besides the better answer. Votes so far stay "not asked".

    Raises:
        InvalidInput: for a name that cannot be used.
        Refused: when an aspect would be removed that votes may have answered.
    """
    wanted = checked_names(names)
    removed = [name for name in campaign.aspects if name not in wanted]
    voted = select(Slot.id).join(Task, Slot.comparison_id == Task.comparison_id)
    voted = voted.where(Task.campaign_id == campaign.id, Slot.status == SlotStatus.VOTED).limit(1)
    if removed and session.scalar(voted) is not None:
        raise Refused(
            f"Votes have been asked about {removed[0]!r}; aspects can be added now, and no longer removed."
        )
    campaign.aspects = wanted


def checked_aspect(campaign: Campaign, aspect: str | None) -> str | None:
    """Validate the aspect that a reader asks for; None and "" are the vote itself.

    Raises:
        InvalidInput: when the campaign does not ask about it.
    """
    if aspect and aspect not in campaign.aspects:
        known = ", ".join(campaign.aspects) or "it has none"
        raise InvalidInput(
            f"{aspect!r} is no aspect of campaign {campaign.id}; choose among its aspects: {known}.",
            field="aspect",
        )
    return aspect or None


def set_shares(campaign: Campaign, repeat_share: float, check_share: float, *, session: Session) -> None:
    """Change how often controls come. They are counted from here on, so a higher share is not caught up.

    Raises:
        InvalidInput: for a share out of bounds.
    """
    shares = checked_share(repeat_share, "repeat_share"), checked_share(check_share, "check_share")
    if shares != (campaign.repeat_share, campaign.check_share):
        campaign.repeat_share, campaign.check_share = shares
        campaign.controls_from = session.scalar(select(func.max(Slot.id))) or 0


def checked_share(value: float, field: str) -> float:
    """Validate a share of controls.

    Raises:
        InvalidInput: when it is not between 0 and one half.
    """
    if not 0 <= value <= MAX_SHARE:
        raise InvalidInput(f"{field} must be between 0 and {MAX_SHARE:g}.", field=field)
    return float(value)


def checked_number(value: int, most: int, field: str) -> int:
    """Validate a count between 1 and `most`.

    Raises:
        InvalidInput: when it is out of bounds.
    """
    if not 1 <= value <= most:
        raise InvalidInput(f"{field} must be between 1 and {most}.", field=field)
    return value
