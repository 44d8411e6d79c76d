"""Tables of the lineage: where pairs and prompts come from. Other links are columns of their tables."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.store.base import Base


class DatasetVotes(Base):
    """A conversation whose votes became pairs of a dataset, and how many. A campaign's prompt is one too."""

    __tablename__ = "dataset_votes"

    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True)
    conversation_id: Mapped[int] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    pairs: Mapped[int]


class CampaignDataset(Base):
    """A dataset whose held-out prompts a campaign asks, and how many of them."""

    __tablename__ = "campaign_datasets"

    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.id", ondelete="CASCADE"), primary_key=True)
    dataset_id: Mapped[int] = mapped_column(
        ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    prompts: Mapped[int]
