"""Table of worker processes."""

from datetime import datetime

from sqlalchemy import String, false
from sqlalchemy.orm import Mapped, mapped_column

from app.store import clock
from app.store.base import Base


class Worker(Base):
    """A worker process and its last heartbeat. Pages and commands list the present workers.

    `trouble` is a sentence on why it consumes no messages; empty while it does. `loading` is the base model
    that it loads at the moment, to answer or to score with; empty otherwise.
    """

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    queues: Mapped[str] = mapped_column(String(100))
    device: Mapped[str] = mapped_column(String(100), default="")
    has_gpu: Mapped[bool] = mapped_column(default=False, server_default=false())
    trouble: Mapped[str] = mapped_column(String(300), default="", server_default="")
    loading: Mapped[str] = mapped_column(String(500), default="", server_default="")
    started_at: Mapped[datetime] = mapped_column(default=clock.now())
    seen_at: Mapped[datetime] = mapped_column(default=clock.now())
