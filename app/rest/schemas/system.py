"""The app itself: its health, its workers, who asks."""

from datetime import datetime

from pydantic import Field

from app.rest.types import Shown


class CallerShown(Shown):
    """Who makes this call."""

    user: str = Field(description="The user whose votes and questions a call makes.")


class WorkerShown(Shown):
    """A worker that was seen lately."""

    id: str
    queues: list[str]
    device: str
    trouble: str = Field(description="Why it receives no messages; empty if it does.")
    loading: str = Field(description="The base model that it loads at the moment; empty if none.")
    started_at: datetime
    seen_at: datetime


class HealthShown(Shown):
    """Whether the app can do its work."""

    status: str = Field(description="`ok`, or `no_worker` if a queue has no worker that receives messages.")
    database: str
    queues: dict[str, int] = Field(description="Workers that receive messages, by queue.")
