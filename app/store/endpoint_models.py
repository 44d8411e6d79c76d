"""Table of the answers that endpoints write."""

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.store.base import Base
from app.store.claims import Leased
from app.store.comparison_models import Generation


class EndpointAnswer(Leased, Base):
    """The request for an answer that a model behind an endpoint writes.

    The row extends a generation. Its lease is apart from that of the comparison, whose other answers a
    generate worker writes at the same time. `cost` is in the currency of the endpoint's prices; null where a
    price or a count of tokens is unknown.
    """

    __tablename__ = "endpoint_answers"
    __table_args__ = (Index(None, "lease_until"),)

    generation_id: Mapped[int] = mapped_column(ForeignKey("generations.id", ondelete="CASCADE"), unique=True)
    endpoint: Mapped[str] = mapped_column(String(100))
    input_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    cost: Mapped[float | None]

    generation: Mapped[Generation] = relationship(lazy="joined", innerjoin=True)
