"""The lineage of a dataset, run or campaign."""

from datetime import datetime

from pydantic import Field

from app.rest.types import Shown
from app.store.lineage import Kind, Relation


class LineageNode(Shown):
    """A thing that another one comes from, or that was made with it."""

    key: str = Field(description="Kind and id, such as `run:12`; links name things by it.")
    kind: Kind = Field(
        description="source: what a dataset was imported from; votes: those of a campaign; chats: votes of "
        "the compare page."
    )
    id: int = Field(description="Of votes the campaign's id; of chats and sources the dataset's.")
    title: str
    detail: str = Field(description="What it is, in a few words.")
    state: str = Field(description="Status of a run or campaign; `deleted` of a deleted dataset; else empty.")
    method: str = Field(description="Method of a run or checkpoint; else empty.")
    run_id: int | None = Field(description="Run of a checkpoint.")
    notes: list[str] = Field(description="What was not recorded, is hidden from you, or was deleted.")
    created_at: datetime | None


class LineageLink(Shown):
    """A link from a thing to what was made with it."""

    source: str
    target: str
    relation: Relation = Field(
        description="imported: as a dataset; left_out: some pairs; trained: a run; rewarded: as the reward "
        "model of a run; started: a run, as its base model; saved: a checkpoint; answered: in a campaign or "
        "chat; asked: its prompts were; "
        "judged: in votes; became_pairs: of a dataset."
    )


class LineageShown(Shown):
    """All that a thing comes from, and all that was made with it, itself among them."""

    of: str = Field(description="The key of the thing at hand.")
    nodes: list[LineageNode]
    links: list[LineageLink]
    cut: bool = Field(description="Whether there are more things than are listed; the closest are.")
