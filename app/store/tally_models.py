"""Tables of the tallies: answerers, and the outcomes of votes for pairs of answers."""

from sqlalchemy import ForeignKey, Index, String, false
from sqlalchemy.orm import Mapped, mapped_column

from app.store.base import Base
from app.store.enums import Outcome

_TALLY = ("first_id", "second_id", "outcome", "open", "label_id", "prompt_id", "length_difference")
"""The columns that the win rates and the ranking read: a covering index."""


class Answerer(Base):
    """A model that answers, independent of the conversation: a run's checkpoint, or a base model.

    `sha256` is the hash of the other columns at insertion. A deleted run leaves a null `run_id`.
    """

    __tablename__ = "answerers"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(160))
    method: Mapped[str] = mapped_column(String(16))
    base_model: Mapped[str] = mapped_column(String(500))
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"), index=True)
    step: Mapped[int | None]


class Pair:
    """Columns of the outcome of a verdict for two of its answers."""

    outcome: Mapped[Outcome]
    open: Mapped[bool] = mapped_column(default=False, server_default=false())
    prompt_id: Mapped[int | None]
    length_difference: Mapped[int | None]


class LabelPair(Pair, Base):
    """The outcome of a vote for two of its answers, in the order in which the results list them.

    `open` votes are on conversations that are not blind: everybody may see their names. `prompt_id` is the
    prompt of the vote, the same for all of its pairs. It is no foreign key: the row goes with its vote, which
    goes with the answers to the prompt. `length_difference` is the first answer's length minus the second's,
    in characters. Both are null until the vote is counted by the present rules.
    """

    __tablename__ = "label_pairs"
    __table_args__ = (
        Index("ix_label_pairs_tally", *_TALLY),
        Index(None, "second_id"),
    )

    label_id: Mapped[int] = mapped_column(ForeignKey("labels.id", ondelete="CASCADE"), primary_key=True)
    first_id: Mapped[int] = mapped_column(ForeignKey("answerers.id"), primary_key=True)
    second_id: Mapped[int] = mapped_column(ForeignKey("answerers.id"), primary_key=True)


class AspectPair(Pair, Base):
    """The outcome of one aspect of a vote for two of its answers, as `LabelPair` has it for the vote itself.

    An aspect that was not asked, or does not apply, has no row.
    """

    __tablename__ = "aspect_pairs"
    __table_args__ = (Index(None, "first_id"), Index(None, "second_id"))

    label_id: Mapped[int] = mapped_column(ForeignKey("labels.id", ondelete="CASCADE"), primary_key=True)
    aspect: Mapped[str] = mapped_column(String(30), primary_key=True)
    first_id: Mapped[int] = mapped_column(ForeignKey("answerers.id"), primary_key=True)
    second_id: Mapped[int] = mapped_column(ForeignKey("answerers.id"), primary_key=True)
