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
    trouble: str = Field(description="Why it takes no messages; empty while it does.")
    started_at: datetime
    seen_at: datetime


class HealthShown(Shown):
    """Whether the app can do its work."""

    status: str = Field(description="`ok`, or `no_worker` where no worker of a queue takes messages.")
    database: str
    queues: dict[str, int] = Field(description="Workers that take messages, by queue.")
