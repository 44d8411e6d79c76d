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
    started_at: datetime
    seen_at: datetime


class HealthShown(Shown):
    """Whether the app can do its work."""

    status: str = Field(description="`ok`, or `no_worker` where a queue has none.")
    database: str
    queues: dict[str, int] = Field(description="Workers by queue.")
